package org.lethe.train;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import tools.jackson.core.JacksonException;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

/** {@code metrics.jsonl}: a line a step. */
public final class Metrics {
  /** The file's name in a run's folder. */
  public static final String FILE = "metrics.jsonl";

  private static final JsonMapper JSON = new JsonMapper();

  private final Path file;

  /**
   * The metrics of a folder; lines of steps after {@code step} are of a run that was cut off, and
   * go.
   */
  Metrics(Path directory, int step) throws IOException {
    file = directory.resolve(FILE);
    if (Files.exists(file)) {
      var kept = new StringBuilder();
      for (String line : wholeLines(file)) {
        if (JSON.readTree(line).path("step").intValue(0) > step) {
          break;
        }
        kept.append(line).append('\n');
      }
      RunFolder.writeAtomically(file, kept.toString().getBytes(StandardCharsets.UTF_8));
    }
  }

  void add(TrainingListener.Step step) throws IOException {
    Map<String, Object> line = new LinkedHashMap<>();
    line.put("phase", step.phase());
    line.put("step", step.step());
    line.put("loss", step.loss());
    line.put("grad_norm", step.gradientNorm());
    line.put("lr", step.learningRate());
    line.put("tokens_per_second", step.tokensPerSecond());
    Files.writeString(
        file,
        JSON.writeValueAsString(line) + "\n",
        StandardOpenOption.CREATE,
        StandardOpenOption.APPEND);
  }

  /** The lines before one that a kill, a power cut or a full disk tore. */
  private static List<String> wholeLines(Path file) throws IOException {
    var whole = new ArrayList<String>();
    String text = new String(Files.readAllBytes(file), StandardCharsets.UTF_8);
    for (String line : text.lines().toList()) {
      try {
        if (!JSON.readTree(line).isObject()) {
          break;
        }
      } catch (JacksonException e) {
        break;
      }
      whole.add(line);
    }
    return whole;
  }

  /** Reads a folder's metrics back, in order; none if there is no file. */
  public static List<TrainingListener.Step> read(Path directory) throws IOException {
    var steps = new ArrayList<TrainingListener.Step>();
    Path file = directory.resolve(FILE);
    if (Files.exists(file)) {
      for (String line : wholeLines(file)) {
        JsonNode n = JSON.readTree(line);
        steps.add(
            new TrainingListener.Step(
                n.path("phase").asString(),
                n.path("step").asInt(),
                n.path("loss").asDouble(),
                n.path("grad_norm").asDouble(),
                n.path("lr").asDouble(),
                n.path("tokens_per_second").asDouble()));
      }
    }
    return steps;
  }
}
