package org.lethe.unlearn;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.function.BooleanSupplier;
import java.util.stream.Stream;
import org.lethe.format.StoredType;
import org.lethe.kernels.Device;
import org.lethe.text.LanguageModel;
import org.lethe.text.TextBlocks;
import org.lethe.train.RunFolder;
import org.lethe.train.Trainer;
import org.lethe.train.TrainingBlock;
import org.lethe.train.TrainingListener;
import org.lethe.train.TrainingOptions;
import tools.jackson.databind.JsonNode;

/**
 * A training phase of the method, from files to a folder: reinforcement on a text, fine-tuning on
 * labels. The folder ends as a Hugging Face directory in F32 with {@code run.json} (what made it),
 * {@code metrics.jsonl} and {@code result.json}; until then it holds checkpoints, and the same call
 * goes on from them.
 */
public final class TrainingPhase {
  private static final String RESULT = "result.json";

  private TrainingPhase() {}

  /**
   * What a phase on text reads.
   *
   * @param texts UTF-8 files to learn, all of them in every epoch
   * @param alongside other UTF-8 files, read once over all epochs, an equal part in each: what a
   *     model reads besides keeps its language from narrowing to that of {@code texts}; may be
   *     empty
   * @param cutting how both become blocks
   */
  public record Reading(List<Path> texts, List<Path> alongside, TextBlocks.Cutting cutting) {
    /** Copies the lists. */
    public Reading {
      texts = List.copyOf(texts);
      alongside = List.copyOf(alongside);
    }

    /** Nothing alongside, as METHOD.md has it. */
    public static Reading of(List<Path> texts, TextBlocks.Cutting cutting) {
      return new Reading(texts, List.of(), cutting);
    }
  }

  /**
   * Trains on a text, plain next-token loss: the reinforcement (section 1 of the paper).
   *
   * @param phase what metrics and progress call it
   * @param model the baseline: a Hugging Face directory or a GGUF file
   * @param reading the text to learn, and what is read alongside
   * @param out the run's folder, created if need be
   * @param stop asked at every step's boundary
   */
  public static Trainer.Outcome onText(
      String phase,
      Device device,
      Path model,
      Reading reading,
      Path out,
      TrainingOptions options,
      TrainingListener listener,
      BooleanSupplier stop)
      throws IOException {
    Inputs.texts(reading.texts);
    Inputs.texts(reading.alongside);
    var record = record(device, phase, model, options);
    record.put("text", Provenance.of(reading.texts));
    if (!reading.alongside.isEmpty()) {
      record.put("alongside", Provenance.of(reading.alongside));
    }
    record.put("block", reading.cutting.block());
    record.put("cuts", reading.cutting.cuts());
    return run(
        device,
        model,
        out,
        record,
        phase,
        options,
        listener,
        stop,
        language ->
            new Blocks(
                nextTokens(language, reading.texts, reading.cutting),
                reading.alongside.isEmpty()
                    ? List.of()
                    : nextTokens(language, reading.alongside, reading.cutting)));
  }

  private static List<TrainingBlock> nextTokens(
      LanguageModel language, List<Path> texts, TextBlocks.Cutting cutting) {
    return language.blocks(texts, cutting).stream().map(TrainingBlock::nextToken).toList();
  }

  /**
   * Trains on generic labels (section 2 of the paper).
   *
   * @param labels a file that {@link LabelFile} reads
   * @param key which of its labels: {@code labels}, {@code labels_0.5}, {@code labels_2}
   */
  public static Trainer.Outcome onLabels(
      Device device,
      Path model,
      Path labels,
      String key,
      Path out,
      TrainingOptions options,
      TrainingListener listener,
      BooleanSupplier stop)
      throws IOException {
    Map<String, Object> checksum = Provenance.of(labels);
    var record = record(device, "finetune", model, options);
    record.put("labels", checksum);
    record.put("labels_key", key);
    return run(
        device,
        model,
        out,
        record,
        "finetune",
        options,
        listener,
        stop,
        language ->
            new Blocks(
                LabelFile.read(labels, key, language.weights().config().vocabulary()), List.of()));
  }

  private static Map<String, Object> record(
      Device device, String phase, Path model, TrainingOptions options) throws IOException {
    Inputs.model(model);
    Map<String, Object> record = Provenance.record(device, model);
    record.put("phase", phase);
    record.put("options", options);
    return record;
  }

  private record Blocks(List<TrainingBlock> training, List<TrainingBlock> alongside) {}

  private interface Source {
    Blocks of(LanguageModel model) throws IOException;
  }

  private static Trainer.Outcome run(
      Device device,
      Path model,
      Path out,
      Map<String, Object> record,
      String phase,
      TrainingOptions options,
      TrainingListener listener,
      BooleanSupplier stop,
      Source source)
      throws IOException {
    try (RunFolder folder = RunFolder.open(out, record)) {
      JsonNode result = folder.readJson(RESULT);
      if (result != null) {
        return outcome(result);
      }
      try (LanguageModel language = LanguageModel.openExact(device, model, options.dtype())) {
        Blocks blocks = source.of(language);
        var trainer =
            new Trainer(
                phase, language.weights(), blocks.training, blocks.alongside, options, listener);
        Trainer.Outcome outcome = trainer.run(folder, stop);
        if (outcome.finished()) {
          publish(language, out);
          folder.writeJson(RESULT, result(outcome, device));
          Trainer.clear(folder);
        }
        return outcome;
      }
    }
  }

  /** Puts the model into the run's folder; {@code config.json}, without which it is none, last. */
  private static void publish(LanguageModel language, Path out) throws IOException {
    Path aside = out.resolve("model.tmp");
    if (Files.exists(aside)) {
      for (Path left : files(aside)) {
        Files.delete(left);
      }
      Files.delete(aside);
    }
    language.write(aside, StoredType.F32);
    for (Path file : files(aside)) {
      Files.move(
          file,
          out.resolve(file.getFileName()),
          StandardCopyOption.ATOMIC_MOVE,
          StandardCopyOption.REPLACE_EXISTING);
    }
    Files.delete(aside);
  }

  private static List<Path> files(Path folder) throws IOException {
    try (Stream<Path> list = Files.list(folder)) {
      return list.sorted(
              Comparator.comparing((Path f) -> f.endsWith("config.json"))
                  .thenComparing(Comparator.naturalOrder()))
          .toList();
    }
  }

  private static Map<String, Object> result(Trainer.Outcome outcome, Device device) {
    var result = new LinkedHashMap<String, Object>();
    result.put("steps", outcome.steps());
    result.put("best_step", outcome.bestStep());
    if (outcome.bestStep() > 0) {
      result.put("held_out_loss", outcome.heldOutLoss());
    }
    result.put("java", Runtime.version().toString());
    result.put("device", new tools.jackson.databind.json.JsonMapper().readTree(device.describe()));
    return result;
  }

  private static Trainer.Outcome outcome(JsonNode result) {
    int steps = result.path("steps").asInt();
    return new Trainer.Outcome(
        true,
        steps,
        steps,
        result.path("best_step").asInt(),
        result.path("held_out_loss").asDouble(Double.NaN));
  }
}
