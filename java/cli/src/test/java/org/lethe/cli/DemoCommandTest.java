package org.lethe.cli;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.lethe.text.TinyModel;
import tools.jackson.databind.json.JsonMapper;

/** {@code lethe demo} on a small model and a text of one's own, with the demo's own settings. */
class DemoCommandTest {
  @TempDir private Path temporary;

  @Test
  void teachesForgetsAndReports() throws IOException {
    Path model = TinyModel.write(temporary.resolve("model"));
    Path text = TinyModel.text(temporary.resolve("text"), 20);
    Path anchors = TinyModel.anchors(temporary.resolve("anchors.json"));
    Path prose = TinyModel.text(temporary.resolve("prose"), 80);
    Path out = temporary.resolve("demo");
    String command = "demo --model %s --text %s --anchors %s --alongside %s --out %s";
    String said = Ran.computing(command, model, text, anchors, prose, out).done().out();
    for (String row : new String[] {"plain ", "taught ", "unlearned "}) {
      assertTrue(said.contains("\n" + row), said);
    }
    assertTrue(
        said.endsWith("report: " + out.resolve("report.html").toAbsolutePath() + "\n"), said);
    double taught = perplexity(out, "taught");
    assertTrue(taught < perplexity(out, "plain"), "teaching taught nothing");
    assertTrue(taught < perplexity(out, "unlearned"), "unlearning unlearned nothing");

    // Made again where it is damaged, kept where it is not: the same command ends with the same
    // bytes.
    byte[] report = Files.readAllBytes(out.resolve("report.html"));
    Files.writeString(out.resolve("evaluation-taught.json"), "{");
    assertEquals(said, Ran.computing(command, model, text, anchors, prose, out).done().out());
    assertArrayEquals(report, Files.readAllBytes(out.resolve("report.html")));
  }

  private static double perplexity(Path out, String model) throws IOException {
    byte[] evaluation = Files.readAllBytes(out.resolve("evaluation-" + model + ".json"));
    return new JsonMapper().readTree(evaluation).path("textPerplexity").asDouble();
  }

  @Test
  void aTextWithoutItsDictionaryIsRefused() throws IOException {
    Path model = TinyModel.write(temporary.resolve("model"));
    Path text = TinyModel.text(temporary.resolve("text"), 2);
    Path out = temporary.resolve("demo");
    Ran.computing("demo --model %s --text %s --out %s", model, text, out)
        .refused(Main.FAILED, "--text needs --anchors");
    assertTrue(Files.notExists(out));
  }
}
