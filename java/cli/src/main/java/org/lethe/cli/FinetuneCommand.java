package org.lethe.cli;

import java.io.IOException;
import java.nio.file.Path;
import java.util.concurrent.Callable;
import org.lethe.kernels.Device;
import org.lethe.train.Trainer;
import org.lethe.unlearn.TrainingPhase;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Spec;

/** {@code lethe finetune}. */
@Command(
    name = "finetune",
    mixinStandardHelpOptions = true,
    sortOptions = false,
    description = {
      "Fine-tunes a model on generic labels: the unlearned model of the method.",
      "The same command goes on where an interrupted one was."
    },
    footer = {
      "",
      "Example:",
      "  lethe finetune --model llama-2-7b --labels labels.jsonl --out unlearned --epochs 2 --lr 1e-6"
    })
final class FinetuneCommand implements Callable<Integer> {
  @Option(
      names = "--model",
      required = true,
      paramLabel = "M",
      description = "the baseline: a Hugging Face directory or a .gguf file")
  Path model;

  @Option(
      names = "--labels",
      required = true,
      paramLabel = "FILE",
      description = "what lethe label wrote, or JSON lines of the same form")
  Path labels;

  @Option(
      names = "--labels-key",
      paramLabel = "KEY",
      defaultValue = "labels",
      description =
          "which labels: labels, labels_0.5 or labels_2, half or twice alpha (default ${DEFAULT-VALUE})")
  String labelsKey;

  @Option(
      names = "--out",
      required = true,
      paramLabel = "DIR",
      description = "becomes a Hugging Face directory in F32")
  Path out;

  @Option(
      names = "--epochs",
      defaultValue = "2",
      description = "passes over the labels (default ${DEFAULT-VALUE})")
  int epochs;

  @Option(
      names = "--lr",
      defaultValue = "1e-6",
      description = "learning rate of the first step (default ${DEFAULT-VALUE})")
  double learningRate;

  @Option(
      names = "--holdout",
      defaultValue = "0.05",
      description = "share of the blocks to choose the best step by (default ${DEFAULT-VALUE})")
  double holdout;

  @Mixin TrainingFlags training = new TrainingFlags();
  @Mixin DeviceOption device = new DeviceOption();
  @Spec CommandSpec spec;

  @SuppressWarnings("NullAway.Init") // picocli fills the fields
  FinetuneCommand() {}

  @Override
  public Integer call() throws IOException {
    Interrupts.install();
    try (Device opened = device.open();
        Progress progress = new Progress()) {
      Trainer.Outcome outcome =
          TrainingPhase.onLabels(
              opened,
              model,
              labels,
              labelsKey,
              out,
              training.options(epochs, learningRate, holdout),
              progress,
              Interrupts::asked);
      return Ending.of(spec, outcome, out);
    }
  }
}
