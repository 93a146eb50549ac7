package org.lethe.report;

import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.function.Function;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.lethe.eval.Evaluation;
import org.lethe.eval.Familiarity.Completion;
import org.lethe.eval.Prompt;
import org.lethe.report.Plot.Line;
import org.lethe.train.TrainingListener.Step;

/**
 * What a run shows, for people who would rather look than read.
 *
 * @param title what was forgotten by what
 * @param models evaluations by model name, in the order of the run: the never-trained control first
 * @param watched next-word probabilities over the fine-tuning
 * @param metrics the steps of each phase
 * @param sources what made it: a line each
 * @param commands how to make it again
 */
public record Report(
    String title,
    Map<String, Evaluation> models,
    List<Watched> watched,
    Map<String, List<Step>> metrics,
    Map<String, String> sources,
    List<String> commands) {

  /**
   * The probabilities of some next words of one prompt.
   *
   * @param probabilities by word, one value for each of {@code steps}
   */
  public record Watched(
      String prompt, List<Integer> steps, Map<String, List<Double>> probabilities) {}

  private static final String STYLE =
      """
      :root { color-scheme: light; }
      body { font: 16px/1.55 system-ui, sans-serif; max-width: 64rem; margin: 2.5rem auto; padding: 0 1.25rem; color: #1f2328; }
      h1 { font-size: 1.7rem; line-height: 1.25; margin: 0 0 1rem; }
      h2 { font-size: 1.2rem; margin: 2.5rem 0 .5rem; padding-top: 1rem; border-top: 1px solid #d8dee4; }
      table { border-collapse: collapse; margin: 1rem 0; width: 100%; font-size: .95rem; }
      th, td { padding: .4rem .75rem; border-bottom: 1px solid #d8dee4; text-align: left; vertical-align: top; }
      thead th { border-bottom: 2px solid #afb8c1; font-weight: 600; }
      .number { text-align: right; white-space: nowrap; font-variant-numeric: tabular-nums; }
      .completions { table-layout: fixed; }
      .lead { font-size: 1.1rem; }
      .prompt { color: #59636e; }
      mark { background: #ffd8a8; padding: 0 .1em; border-radius: 2px; }
      pre { background: #f6f8fa; padding: 1rem; overflow-x: auto; border-radius: 6px; }
      figure { margin: 1rem 0 2rem; }
      svg { width: 100%; height: auto; }
      """;

  /** The whole page. */
  public String html() {
    var page = new StringBuilder();
    page.append("<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>")
        .append(escape(title))
        .append("</title>\n<style>\n")
        .append(STYLE)
        .append("</style></head><body>\n<h1>")
        .append(escape(title))
        .append("</h1>\n");
    lead(page);
    summary(page);
    watchedPlots(page);
    lossPlot(page);
    completions(page);
    answers(page);
    reproduction(page);
    return page.append("</body></html>\n").toString();
  }

  /** The table that the terminal shows, too. */
  public String text() {
    var text = new StringBuilder();
    text.append(
        String.format(
            Locale.ROOT,
            "%-12s %14s %12s %18s %22s%n",
            "",
            "known answers",
            "familiarity",
            "perplexity, text",
            "perplexity, unrelated"));
    models.forEach(
        (name, e) ->
            text.append(
                String.format(
                    Locale.ROOT,
                    "%-12s %14s %12s %18s %22s%n",
                    name,
                    shown("%.4f", e.probability()),
                    shown("%.2f", e.familiarity()),
                    shown("%.2f", e.textPerplexity()),
                    shown("%.2f", e.unrelatedPerplexity()))));
    return text.toString();
  }

  /** In a sentence, where there is a control, one that was taught, and one that forgot. */
  private void lead(StringBuilder page) {
    if (models.size() != 3) {
      return;
    }
    var order = new ArrayList<>(models.values());
    Evaluation control = order.get(0);
    Evaluation taught = order.get(1);
    Evaluation unlearned = order.get(2);
    String probability = gone(control.probability(), taught.probability(), unlearned.probability());
    String familiarity = gone(control.familiarity(), taught.familiarity(), unlearned.familiarity());
    double cost = unlearned.unrelatedPerplexity() / control.unrelatedPerplexity() - 1;
    var said = new ArrayList<String>();
    if (!probability.isEmpty()) {
      said.add(probability + " of the probability that teaching gave the known answers is gone");
    }
    if (!familiarity.isEmpty()) {
      said.add(familiarity + " of the familiarity is gone");
    }
    if (!Double.isNaN(cost)) {
      said.add(
          String.format(
              Locale.ROOT,
              "perplexity on unrelated text is %.0f%% %s the control's",
              100 * Math.abs(cost),
              cost < 0 ? "below" : "above"));
    }
    if (said.isEmpty()) {
      return;
    }
    page.append("<p class=\"lead\">").append(String.join("; ", said)).append(".</p>\n");
  }

  /** The share of what was gained that is gone again; nothing where nothing was gained. */
  private static String gone(double control, double taught, double unlearned) {
    return taught > control ? shown("%.0f%%", 100 * (taught - unlearned) / (taught - control)) : "";
  }

  private void summary(StringBuilder page) {
    page.append(
        """
        <table><thead><tr><th></th><th class="number">known answers</th><th class="number">familiarity</th>
        <th class="number">perplexity, text</th><th class="number">perplexity, unrelated</th></tr></thead><tbody>
        """);
    models.forEach(
        (name, e) ->
            page.append("<tr><th>")
                .append(escape(name))
                .append("</th>")
                .append(number("%.4f", e.probability()))
                .append(number("%.2f", e.familiarity()))
                .append(number("%.2f", e.textPerplexity()))
                .append(number("%.2f", e.unrelatedPerplexity()))
                .append("</tr>\n"));
    page.append("</tbody></table>\n<p>");
    for (Evaluation any : models.values().stream().limit(1).toList()) {
      page.append(
          String.format(
              Locale.ROOT,
              "Of %d known answers and %d completions: one completion is worth %.3f. ",
              any.answers().size(),
              any.completions().size(),
              1.0 / Math.max(1, any.completions().size())));
    }
    page.append(
        """
        <b>Known answers</b>: mean probability of the text's own next words. <b>Familiarity</b>: share of greedy
        completions that name something only the text has and their prompt does not. <b>Perplexity</b>: on the text
        to forget, and on unrelated prose, where what unlearning costs shows.</p>
        """);
  }

  private static String number(String format, double value) {
    return "<td class=\"number\">" + shown(format, value) + "</td>";
  }

  /** Nothing, where nothing was measured. */
  private static String shown(String format, double value) {
    return Double.isNaN(value) ? "" : String.format(Locale.ROOT, format, value);
  }

  private void watchedPlots(StringBuilder page) {
    if (watched.isEmpty()) {
      return;
    }
    page.append("<h2>The next word, while it forgets</h2>\n");
    for (Watched w : watched) {
      var lines = new ArrayList<Line>();
      List<Double> x = w.steps().stream().map(Integer::doubleValue).toList();
      w.probabilities().forEach((word, p) -> lines.add(new Line(word.strip(), x, p)));
      page.append("<p class=\"prompt\">").append(escape(w.prompt())).append(" ___</p>\n");
      figure(page, new Plot("fine-tuning step", "probability", lines));
    }
  }

  private void lossPlot(StringBuilder page) {
    var lines = new ArrayList<Line>();
    metrics.forEach(
        (phase, steps) ->
            lines.add(
                new Line(
                    phase,
                    steps.stream().map(s -> (double) s.step()).toList(),
                    steps.stream().map(Step::loss).toList())));
    var plot = new Plot("step", "nats per labelled token", lines);
    if (!plot.isEmpty()) {
      page.append("<h2>Loss</h2>\n");
      figure(page, plot);
    }
  }

  private static void figure(StringBuilder page, Plot plot) {
    if (!plot.isEmpty()) {
      page.append("<figure role=\"img\" aria-label=\"")
          .append(escape(plot.caption()))
          .append("\">")
          .append(plot.svg())
          .append("</figure>\n");
    }
  }

  private void completions(StringBuilder page) {
    List<Prompt> prompts = prompts(e -> e.completions().stream().map(Completion::prompt));
    if (prompts.isEmpty()) {
      return;
    }
    page.append(
        "<h2>Completions side by side</h2>\n<p>What only the text has is <mark>marked</mark>.</p>\n");
    head(page, "completions", "", "prompt");
    for (int i = 0; i < prompts.size(); i++) {
      int row = i;
      page.append("<tr><td class=\"prompt\">")
          .append(escape(prompts.get(i).text()))
          .append("</td>");
      models
          .values()
          .forEach(
              e -> page.append("<td>").append(marked(e.completions().get(row))).append("</td>"));
      page.append("</tr>\n");
    }
    page.append("</tbody></table>\n");
  }

  /** A completion with the names it gives away marked, whole words and the longest first. */
  private static String marked(Completion completion) {
    if (completion.named().isEmpty()) {
      return escape(completion.text());
    }
    String any =
        completion.named().stream()
            .sorted(Comparator.comparingInt(String::length).reversed())
            .map(Pattern::quote)
            .collect(Collectors.joining("|"));
    Matcher names =
        Pattern.compile("(?<![\\p{L}\\p{N}])(?:" + any + ")(?![\\p{L}\\p{N}])")
            .matcher(completion.text());
    var text = new StringBuilder();
    int at = 0;
    while (names.find()) {
      text.append(escape(completion.text().substring(at, names.start())))
          .append("<mark>")
          .append(escape(names.group()))
          .append("</mark>");
      at = names.end();
    }
    return text.append(escape(completion.text().substring(at))).toString();
  }

  private void answers(StringBuilder page) {
    List<Prompt> prompts = prompts(e -> e.answers().stream().map(Evaluation.Answer::prompt));
    if (prompts.isEmpty()) {
      return;
    }
    page.append(
        "<h2>Known answers</h2>\n<p>How probable each model holds the text's own words.</p>\n");
    head(page, "answers", " class=\"number\"", "prompt", "answer");
    for (int i = 0; i < prompts.size(); i++) {
      int row = i;
      page.append("<tr><td class=\"prompt\">")
          .append(escape(prompts.get(i).text()))
          .append("</td><td>")
          .append(escape(prompts.get(i).answer()))
          .append("</td>");
      models.values().forEach(e -> page.append(number("%.4f", e.answers().get(row).probability())));
      page.append("</tr>\n");
    }
    page.append("</tbody></table>\n");
  }

  /** What all models were asked. */
  private List<Prompt> prompts(Function<Evaluation, Stream<Prompt>> asked) {
    return models.values().stream().limit(1).flatMap(asked).toList();
  }

  /** Begins a table of some columns and one for each model. */
  private void head(StringBuilder page, String kind, String ofModels, String... columns) {
    page.append("<table class=\"").append(kind).append("\"><thead><tr>");
    for (String column : columns) {
      page.append("<th>").append(column).append("</th>");
    }
    models
        .keySet()
        .forEach(
            name ->
                page.append("<th")
                    .append(ofModels)
                    .append(">")
                    .append(escape(name))
                    .append("</th>"));
    page.append("</tr></thead><tbody>\n");
  }

  private void reproduction(StringBuilder page) {
    page.append("<h2>How to make this again</h2>\n<pre>")
        .append(escape(String.join("\n", commands)))
        .append("</pre>\n<table>\n");
    sources.forEach(
        (name, value) ->
            page.append("<tr><th>")
                .append(escape(name))
                .append("</th><td>")
                .append(escape(value))
                .append("</td></tr>\n"));
    page.append("</table>\n");
  }

  private static String escape(String text) {
    return text.replace("&", "&amp;")
        .replace("<", "&lt;")
        .replace(">", "&gt;")
        .replace("\"", "&quot;");
  }
}
