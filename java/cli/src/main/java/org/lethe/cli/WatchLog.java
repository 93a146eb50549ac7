package org.lethe.cli;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.lethe.eval.NextWords;
import org.lethe.model.Llama;
import org.lethe.report.Report;
import org.lethe.text.Tokenizer;
import org.lethe.train.RunFolder;
import tools.jackson.core.JacksonException;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

/** {@code watch.jsonl}: next-word probabilities of some prompts over the steps of a run. */
final class WatchLog {
  private static final JsonMapper JSON = new JsonMapper();

  private final Path file;
  private final List<NextWords> prompts;
  private final Tokenizer tokenizer;

  WatchLog(Path file, List<NextWords> prompts, Tokenizer tokenizer) {
    this.file = file;
    this.prompts = prompts;
    this.tokenizer = tokenizer;
  }

  /** Forgets what was written of steps after {@code step}: a run goes on from there. */
  void resume(int step) {
    try {
      var kept = new StringBuilder();
      for (JsonNode line : lines()) {
        if (line.path("step").asInt() <= step) {
          kept.append(line).append('\n');
        }
      }
      RunFolder.writeAtomically(file, kept.toString().getBytes(StandardCharsets.UTF_8));
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  /** Asks the model as it is after {@code step}. */
  void look(int step, Llama trained) {
    // A pass of its own, so that the training's activations stay as they are.
    try (Llama llama = new Llama(trained.weights())) {
      for (int i = 0; i < prompts.size(); i++) {
        var line = new LinkedHashMap<String, Object>();
        line.put("step", step);
        line.put("prompt", i);
        line.put("probabilities", prompts.get(i).probabilities(llama, tokenizer));
        Files.writeString(
            file,
            JSON.writeValueAsString(line) + "\n",
            StandardOpenOption.CREATE,
            StandardOpenOption.APPEND);
      }
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  private List<JsonNode> lines() throws IOException {
    var lines = new ArrayList<JsonNode>();
    if (Files.exists(file)) {
      for (String line : Files.readAllLines(file)) {
        try {
          lines.add(JSON.readTree(line));
        } catch (JacksonException e) {
          break; // the line a kill cut short
        }
      }
    }
    return lines;
  }

  /** What was seen, for the report. */
  List<Report.Watched> watched() throws IOException {
    var result = new ArrayList<Report.Watched>();
    List<JsonNode> lines = lines();
    for (int i = 0; i < prompts.size(); i++) {
      var steps = new ArrayList<Integer>();
      Map<String, List<Double>> probabilities = new LinkedHashMap<>();
      for (JsonNode line : lines) {
        if (line.path("prompt").asInt() == i) {
          steps.add(line.path("step").asInt());
          for (var p : line.path("probabilities").properties()) {
            probabilities
                .computeIfAbsent(p.getKey(), word -> new ArrayList<>())
                .add(p.getValue().asDouble());
          }
        }
      }
      if (!steps.isEmpty()) {
        result.add(new Report.Watched(prompts.get(i).prompt(), steps, probabilities));
      }
    }
    return result;
  }
}
