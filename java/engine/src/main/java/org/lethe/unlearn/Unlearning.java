package org.lethe.unlearn;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.function.BooleanSupplier;
import org.lethe.kernels.Device;
import org.lethe.text.TextBlocks;
import org.lethe.train.RunFolder;
import org.lethe.train.Trainer;
import org.lethe.train.TrainingListener;
import org.lethe.train.TrainingOptions;

/**
 * The whole method in one folder: {@code reinforced/}, {@code labels.jsonl}, {@code unlearned/},
 * and {@code run.json}, which says what made them. Cut off anywhere, the same call goes on.
 */
public final class Unlearning {
  /** The reinforced model's folder in a run. */
  public static final String REINFORCED = "reinforced";

  /** The label file of a run. */
  public static final String LABELS = "labels.jsonl";

  /** The unlearned model's folder in a run. */
  public static final String UNLEARNED = "unlearned";

  /**
   * How to run the three phases.
   *
   * @param reinforceCutting how the text is cut for the reinforced model. In short blocks it has
   *     little to go by, and so comes to expect the text's names everywhere; in long ones it learns
   *     their places by heart, and labels put a name where another one was (README)
   * @param labelsKey which labels to fine-tune on
   */
  public record Options(
      TrainingOptions reinforce,
      TextBlocks.Cutting reinforceCutting,
      Labelling.Options label,
      TrainingOptions finetune,
      String labelsKey) {
    /** The paper's. */
    public static final Options DEFAULT =
        new Options(
            TrainingOptions.reinforce(),
            Labelling.Options.DEFAULT.cutting(),
            Labelling.Options.DEFAULT,
            TrainingOptions.finetune(),
            LabelFile.KEYS.getFirst());
  }

  private Unlearning() {}

  /**
   * Makes {@code model} forget {@code texts}.
   *
   * @param model a Hugging Face directory or a GGUF file; not changed
   * @param texts UTF-8 files
   * @param anchors the dictionary of the text's expressions
   * @param run the run's folder; the result is its {@code unlearned/}
   * @param stop asked at every step and block
   * @return whether it finished
   */
  public static boolean run(
      Device device,
      Path model,
      List<Path> texts,
      Path anchors,
      Path run,
      Options options,
      TrainingListener training,
      Labelling.Listener labelling,
      BooleanSupplier stop)
      throws IOException {
    AnchorDictionary dictionary = AnchorDictionary.read(anchors);
    Inputs.texts(texts);
    Inputs.model(model);
    Map<String, Object> record = Provenance.record(device, model);
    record.put("text", Provenance.of(texts));
    record.put("anchors", Provenance.of(anchors));
    record.put("options", options);
    try (RunFolder folder = RunFolder.open(run, record)) {
      Path reinforced = folder.directory().resolve(REINFORCED);
      Trainer.Outcome outcome =
          TrainingPhase.onText(
              "reinforce",
              device,
              model,
              TrainingPhase.Reading.of(texts, options.reinforceCutting()),
              reinforced,
              options.reinforce(),
              training,
              stop);
      if (!outcome.finished()) {
        return false;
      }
      Path labels = folder.directory().resolve(LABELS);
      if (!Files.exists(labels)
          && !Labelling.run(
              device,
              model,
              reinforced,
              texts,
              dictionary,
              labels,
              options.label(),
              labelling,
              stop)) {
        return false;
      }
      return TrainingPhase.onLabels(
              device,
              model,
              labels,
              options.labelsKey(),
              folder.directory().resolve(UNLEARNED),
              options.finetune(),
              training,
              stop)
          .finished();
    }
  }
}
