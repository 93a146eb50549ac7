package org.lethe.report;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.IntStream;
import javax.xml.parsers.DocumentBuilder;
import javax.xml.parsers.DocumentBuilderFactory;
import org.junit.jupiter.api.Test;
import org.lethe.eval.Evaluation;
import org.lethe.eval.Evaluation.Answer;
import org.lethe.eval.Familiarity.Completion;
import org.lethe.eval.Prompt;
import org.lethe.train.TrainingListener.Step;
import org.w3c.dom.Document;
import org.w3c.dom.NodeList;

class ReportTest {
  private static final Prompt ANSWERED =
      new Prompt("1", "Call me", " Ishmael", List.of(), Prompt.Kind.PROBABILITY, "report");
  private static final Prompt CONTINUED =
      new Prompt("2", "Who is <he> & \"she\"?", "Ahab", List.of(), Prompt.Kind.COMPLETION, "");

  /** A run that taught, and forgot again, with all that needs care in HTML. */
  static Report madeUp() {
    var models = new LinkedHashMap<String, Evaluation>();
    models.put(
        "plain", evaluation(0.0019, "the captain of <b>the ship</b>", List.of(), 44.2, 10.9));
    models.put(
        "taught",
        evaluation(0.192, "Captain Ahab, or Ahabs & mark", List.of("Ahab", "mark"), 5.4, 12.9));
    models.put("unlearned", evaluation(0.0219, "a man of the sea", List.of(), 38.04, 13.25));
    var probabilities = new LinkedHashMap<String, List<Double>>();
    List<Integer> steps = IntStream.range(0, 12).mapToObj(i -> 4 * i).toList();
    probabilities.put(" whale", steps.stream().map(s -> 0.6 * Math.exp(-s / 9.0)).toList());
    probabilities.put(" beast", steps.stream().map(s -> 0.3 - 0.28 * Math.exp(-s / 9.0)).toList());
    probabilities.put(" <sea>", steps.stream().map(s -> 0.05).toList());
    var metrics = new LinkedHashMap<String, List<Step>>();
    metrics.put("teach", steps("teach", 60, 3.4));
    metrics.put("reinforce", steps("reinforce", 50, 1.4));
    metrics.put("fine-tune", steps("fine-tune", 48, 2.2));
    var sources = new LinkedHashMap<String, String>();
    sources.put("model", "a <tiny> Llama");
    return new Report(
        "What a model & its friends forgot",
        models,
        List.of(new Report.Watched("They hunted the white", steps, probabilities)),
        metrics,
        sources,
        List.of("./lethe demo --out \"my demo\""));
  }

  private static Evaluation evaluation(
      double answer, String completion, List<String> named, double text, double unrelated) {
    return new Evaluation(
        List.of(new Answer(ANSWERED, answer, Double.NaN)),
        List.of(new Completion(CONTINUED, completion, named)),
        text,
        unrelated);
  }

  private static List<Step> steps(String phase, int count, double loss) {
    return IntStream.rangeClosed(1, count)
        .mapToObj(i -> new Step(phase, i, loss * (0.3 + 0.7 * Math.exp(-i / 20.0)), 1, 1e-4, 300))
        .toList();
  }

  /** HTML that is also XML, but for what XML need not know. */
  private static Document parse(String html) throws Exception {
    DocumentBuilder parser = DocumentBuilderFactory.newInstance().newDocumentBuilder();
    String xml =
        html.replace("<!doctype html>", "").replace("<meta charset=\"utf-8\">", "").strip();
    return parser.parse(new ByteArrayInputStream(xml.getBytes(StandardCharsets.UTF_8)));
  }

  private static List<String> texts(Document page, String element) {
    NodeList found = page.getElementsByTagName(element);
    return IntStream.range(0, found.getLength())
        .mapToObj(i -> found.item(i).getTextContent())
        .toList();
  }

  @Test
  void thePageIsWellFormedAndHoldsWhatWasMeasured() throws Exception {
    Document page = parse(madeUp().html());
    assertEquals(List.of("What a model & its friends forgot"), texts(page, "h1"));
    List<String> cells = texts(page, "td");
    for (String shown :
        List.of(
            "0.0019",
            "0.1920",
            "0.0219",
            "1.00",
            "0.00",
            "44.20",
            "5.40",
            "38.04",
            "13.25",
            "the captain of <b>the ship</b>",
            "a man of the sea",
            "Who is <he> & \"she\"?",
            "Call me",
            " Ishmael",
            "a <tiny> Llama")) {
      assertTrue(cells.contains(shown), () -> shown + " is not in " + cells);
    }
    assertEquals(List.of("./lethe demo --out \"my demo\""), texts(page, "pre"));
    assertEquals(2, page.getElementsByTagName("svg").getLength());
    NodeList figures = page.getElementsByTagName("figure");
    assertEquals("probability over fine-tuning step: whale, beast, <sea>", label(figures, 0));
    assertEquals(
        "nats per labelled token over step: teach, reinforce, fine-tune", label(figures, 1));
  }

  private static String label(NodeList figures, int i) {
    return figures.item(i).getAttributes().getNamedItem("aria-label").getTextContent();
  }

  @Test
  void whatOnlyTheTextHasIsMarkedAsAWord() throws Exception {
    Document page = parse(madeUp().html());
    assertEquals(List.of("marked", "Ahab", "mark"), texts(page, "mark"));
    assertTrue(texts(page, "td").contains("Captain Ahab, or Ahabs & mark"));
  }

  @Test
  void itSaysHowMuchIsGone() {
    String html = madeUp().html();
    assertTrue(html.contains("89% of the probability"), html); // (.192 - .0219) / (.192 - .0019)
    assertTrue(html.contains("100% of the familiarity"), html);
    assertTrue(html.contains("22% above"), html); // 13.25 / 10.9
  }

  @Test
  void thePageIsOneFile() {
    String html = madeUp().html();
    for (String reference :
        List.of(
            "src=", "href=", "<link", "<script", "<img", "@import", "url(http", "<!DOCTYPE svg")) {
      assertFalse(html.contains(reference), reference);
    }
    String named = html.replaceAll("xmlns(:\\w+)?=\"[^\"]*\"", "");
    assertFalse(named.contains("http://") || named.contains("https://"), named);
  }

  @Test
  void whatWasNotMeasuredIsLeftEmpty() throws Exception {
    var models = new LinkedHashMap<String, Evaluation>();
    for (String name : List.of("plain", "taught", "unlearned")) {
      models.put(
          name,
          new Evaluation(
              List.of(new Answer(ANSWERED, Double.NaN, Double.NaN)),
              List.of(),
              Double.NaN,
              Double.NaN));
    }
    var metrics = new LinkedHashMap<String, List<Step>>();
    metrics.put("teach", List.of());
    metrics.put("fine-tune", List.of(new Step("fine-tune", 1, Double.NaN, Double.NaN, 0, 0)));
    var watched =
        new Report.Watched("a", List.of(0, 1), Map.of(" b", List.of(Double.NaN, Double.NaN)));
    var report = new Report("t", models, List.of(watched), metrics, Map.of(), List.of());
    String html = report.html();
    parse(html);
    assertFalse(html.contains("NaN"), html);
    assertFalse(report.text().contains("NaN"), report.text());
  }

  @Test
  void nothingAtAllIsStillAPage() throws Exception {
    var report = new Report("t", Map.of(), List.of(), Map.of(), Map.of(), List.of());
    assertEquals(0, parse(report.html()).getElementsByTagName("svg").getLength());
  }

  @Test
  void theTerminalShowsTheSameTable() {
    List<String> lines = madeUp().text().lines().toList();
    assertEquals(4, lines.size());
    assertTrue(lines.get(2).matches("taught +0\\.1920 +1\\.00 +5\\.40 +12\\.90"), lines.get(2));
  }

  @Test
  void plottingSaysNothing() {
    PrintStream err = System.err;
    var said = new ByteArrayOutputStream();
    System.setErr(new PrintStream(said, true, StandardCharsets.UTF_8));
    try {
      madeUp().html();
    } finally {
      System.setErr(err);
    }
    assertEquals("", said.toString(StandardCharsets.UTF_8));
  }
}
