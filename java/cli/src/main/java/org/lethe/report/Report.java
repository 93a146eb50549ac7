package org.lethe.report;

import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import org.lethe.eval.Evaluation;
import org.lethe.eval.Familiarity;
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
      body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #222; }
      table { border-collapse: collapse; margin: 1rem 0; }
      th, td { padding: .35rem .8rem; border-bottom: 1px solid #ddd; text-align: left; vertical-align: top; }
      td.number { text-align: right; font-variant-numeric: tabular-nums; }
      mark { background: #ffd9a8; }
      .prompt { color: #666; }
      pre { background: #f5f5f5; padding: 1rem; overflow-x: auto; }
      svg { max-width: 100%; height: auto; }
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
    summary(page);
    watchedPlots(page);
    lossPlots(page);
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
                    "%-12s %14.4f %12.2f %18.2f %22.2f%n",
                    name,
                    e.probability(),
                    e.familiarity(),
                    e.textPerplexity(),
                    e.unrelatedPerplexity())));
    return text.toString();
  }

  private void summary(StringBuilder page) {
    page.append(
        """
        <p><b>Known answers</b>: mean probability of the text's own next word. <b>Familiarity</b>: share of greedy
        completions that name something only the text has and their prompt does not. <b>Perplexity</b>: on the text
        to forget, and on unrelated prose; what unlearning costs shows in the last.</p>
        <table><tr><th></th><th>known answers</th><th>familiarity</th><th>perplexity, text</th><th>perplexity, unrelated</th></tr>
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
    page.append("</table>\n");
    Evaluation any = models.values().iterator().next();
    page.append(
        String.format(
            Locale.ROOT,
            "<p>%d known answers and %d completions; one completion is worth %.3f.</p>%n",
            any.answers().size(),
            any.completions().size(),
            1.0 / Math.max(1, any.completions().size())));
  }

  private static String number(String format, double value) {
    String shown = Double.isNaN(value) ? "" : String.format(Locale.ROOT, format, value);
    return "<td class=\"number\">" + shown + "</td>";
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
      page.append(new Plot("", "fine-tuning step", "probability", lines).svg());
    }
  }

  private void lossPlots(StringBuilder page) {
    page.append("<h2>Loss</h2>\n");
    var lines = new ArrayList<Line>();
    metrics.forEach(
        (phase, steps) -> {
          if (!steps.isEmpty()) {
            lines.add(
                new Line(
                    phase,
                    steps.stream().map(s -> (double) s.step()).toList(),
                    steps.stream().map(Step::loss).toList()));
          }
        });
    page.append(new Plot("", "step", "nats per labelled token", lines).svg());
  }

  private void completions(StringBuilder page) {
    page.append(
        "<h2>Completions side by side</h2>\n<p>What only the text has is <mark>marked</mark>.</p>\n<table><tr><th>prompt</th>");
    models.keySet().forEach(name -> page.append("<th>").append(escape(name)).append("</th>"));
    page.append("</tr>\n");
    int count = models.values().iterator().next().completions().size();
    for (int i = 0; i < count; i++) {
      int row = i;
      page.append("<tr><td class=\"prompt\">")
          .append(escape(models.values().iterator().next().completions().get(i).prompt().text()))
          .append("</td>");
      models
          .values()
          .forEach(
              e -> page.append("<td>").append(marked(e.completions().get(row))).append("</td>"));
      page.append("</tr>\n");
    }
    page.append("</table>\n");
  }

  private static String marked(Familiarity.Completion completion) {
    String text = escape(completion.text());
    for (String name : completion.named()) {
      text = text.replace(escape(name), "<mark>" + escape(name) + "</mark>");
    }
    return text;
  }

  private void answers(StringBuilder page) {
    page.append("<h2>Known answers</h2>\n<table><tr><th>prompt</th><th>answer</th>");
    models.keySet().forEach(name -> page.append("<th>").append(escape(name)).append("</th>"));
    page.append("</tr>\n");
    int count = models.values().iterator().next().answers().size();
    for (int i = 0; i < count; i++) {
      int row = i;
      var prompt = models.values().iterator().next().answers().get(i).prompt();
      page.append("<tr><td class=\"prompt\">")
          .append(escape(prompt.text()))
          .append("</td><td>")
          .append(escape(prompt.answer()))
          .append("</td>");
      models.values().forEach(e -> page.append(number("%.4f", e.answers().get(row).probability())));
      page.append("</tr>\n");
    }
    page.append("</table>\n");
  }

  private void reproduction(StringBuilder page) {
    page.append("<h2>How to make this again</h2>\n<pre>")
        .append(escape(String.join("\n", commands)))
        .append("</pre>\n<table>\n");
    new LinkedHashMap<>(sources)
        .forEach(
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
