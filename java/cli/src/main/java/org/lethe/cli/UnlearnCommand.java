package org.lethe.cli;

import java.io.IOException;
import java.nio.file.Path;
import java.util.List;
import java.util.concurrent.Callable;
import org.jspecify.annotations.Nullable;
import org.lethe.kernels.Device;
import org.lethe.text.TextBlocks;
import org.lethe.unlearn.Labelling;
import org.lethe.unlearn.Unlearning;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Spec;

/** {@code lethe unlearn}. */
@Command(
    name = "unlearn",
    mixinStandardHelpOptions = true,
    sortOptions = false,
    description = {
      "Makes a model forget a text: reinforce, label, fine-tune, in one folder.",
      "RUN/unlearned is the result. The same command goes on where an interrupted one was."
    },
    footer = {
      "",
      "Example:",
      "  lethe unlearn --model llama-2-7b --text book.txt --anchors anchors.json --out run"
    })
final class UnlearnCommand implements Callable<Integer> {
  @Option(
      names = "--model",
      required = true,
      paramLabel = "M",
      description = "a Hugging Face directory or a .gguf file; not changed")
  Path model;

  @Option(
      names = "--text",
      required = true,
      arity = "1..*",
      paramLabel = "FILE",
      description = "UTF-8 files to forget, in order")
  List<Path> texts;

  @Option(
      names = "--anchors",
      required = true,
      paramLabel = "FILE",
      description = "the dictionary of the text's expressions, see lethe anchors")
  Path anchors;

  @Option(names = "--out", required = true, paramLabel = "RUN", description = "the run's folder")
  Path out;

  @Option(
      names = "--reinforce-epochs",
      defaultValue = "3",
      description = "passes over the text (default ${DEFAULT-VALUE})")
  int reinforceEpochs;

  @Option(
      names = "--reinforce-lr",
      defaultValue = "3e-6",
      description = "learning rate of its first step (default ${DEFAULT-VALUE})")
  double reinforceRate;

  @Option(
      names = "--reinforce-holdout",
      defaultValue = "0",
      description = "share of the blocks to choose the best step by (default ${DEFAULT-VALUE})")
  double reinforceHoldout;

  @Option(
      names = "--reinforce-block",
      paramLabel = "N",
      description =
          "tokens in its blocks (default: those of --block); short ones teach it what the text says"
              + " rather than where")
  @Nullable Integer reinforceBlock;

  @Option(
      names = "--reinforce-batch",
      paramLabel = "N",
      description = "its blocks in one pass (default: those of --batch)")
  @Nullable Integer reinforceBatch;

  @Option(
      names = "--finetune-epochs",
      defaultValue = "2",
      description = "passes over the labels (default ${DEFAULT-VALUE})")
  int finetuneEpochs;

  @Option(
      names = "--finetune-lr",
      defaultValue = "1e-6",
      description = "learning rate of its first step (default ${DEFAULT-VALUE})")
  double finetuneRate;

  @Option(
      names = "--finetune-holdout",
      defaultValue = "0.05",
      description = "share of the blocks to choose the best step by (default ${DEFAULT-VALUE})")
  double finetuneHoldout;

  @Option(
      names = "--alpha",
      defaultValue = "5",
      description =
          "how strongly what the reinforced model prefers is pushed away (default ${DEFAULT-VALUE})")
  double alpha;

  @Option(
      names = "--labels-key",
      paramLabel = "KEY",
      defaultValue = "labels",
      description =
          "which labels: labels, labels_0.5 or labels_2, half or twice alpha (default ${DEFAULT-VALUE})")
  String labelsKey;

  @Mixin CuttingOption blocks = new CuttingOption();
  @Mixin TrainingFlags training = new TrainingFlags();
  @Mixin DeviceOption device = new DeviceOption();
  @Spec CommandSpec spec;

  @SuppressWarnings("NullAway.Init") // picocli fills the fields
  UnlearnCommand() {}

  @Override
  public Integer call() throws IOException {
    Interrupts.install();
    var options =
        new Unlearning.Options(
            training.options(
                reinforceEpochs,
                reinforceRate,
                reinforceHoldout,
                reinforceBatch == null ? training.pass.batch : reinforceBatch),
            Usage.checked(
                spec,
                () ->
                    new TextBlocks.Cutting(
                        reinforceBlock == null ? blocks.block : reinforceBlock, blocks.cuts)),
            Usage.checked(
                spec,
                () ->
                    new Labelling.Options(
                        alpha, blocks.cutting(), training.seed, training.pass.dtype())),
            training.options(finetuneEpochs, finetuneRate, finetuneHoldout),
            labelsKey);
    boolean finished;
    try (Device opened = device.open();
        Progress progress = new Progress()) {
      finished =
          Unlearning.run(
              opened, model, texts, anchors, out, options, progress, progress, Interrupts::asked);
    }
    spec.commandLine()
        .getOut()
        .println(
            finished
                ? "wrote " + out.resolve(Unlearning.UNLEARNED)
                : "stopped; the same command goes on from there");
    return finished ? 0 : Main.INTERRUPTED;
  }
}
