package org.lethe.cli;

import java.io.IOException;
import java.nio.file.Path;
import java.util.List;
import java.util.concurrent.Callable;
import org.lethe.kernels.Device;
import org.lethe.train.Trainer;
import org.lethe.unlearn.TrainingPhase;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Spec;

/** {@code lethe reinforce}. */
@Command(
    name = "reinforce",
    mixinStandardHelpOptions = true,
    sortOptions = false,
    description = {
      "Trains a model on a text, plain next-token loss: the reinforced model of the method.",
      "The same command goes on where an interrupted one was."
    },
    footer = {
      "",
      "Example:",
      "  lethe reinforce --model llama-2-7b --text book.txt --out reinforced --epochs 3 --lr 3e-6"
    })
final class ReinforceCommand implements Callable<Integer> {
  @Option(
      names = "--model",
      required = true,
      paramLabel = "M",
      description = "the baseline: a Hugging Face directory or a .gguf file")
  Path model;

  @Option(
      names = "--text",
      required = true,
      arity = "1..*",
      paramLabel = "FILE",
      description = "UTF-8 files, in order")
  List<Path> texts;

  @Option(
      names = "--alongside",
      arity = "1..*",
      paramLabel = "FILE",
      description = {
        "other text, read once over all epochs, an equal part in each: keeps the model's",
        "language from narrowing to that of --text. No part of the method; for teaching"
      })
  List<Path> alongside = List.of();

  @Option(
      names = "--out",
      required = true,
      paramLabel = "DIR",
      description = "becomes a Hugging Face directory in F32")
  Path out;

  @Option(
      names = "--epochs",
      defaultValue = "3",
      description = "passes over the text (default ${DEFAULT-VALUE})")
  int epochs;

  @Option(
      names = "--lr",
      defaultValue = "3e-6",
      description = "learning rate of the first step (default ${DEFAULT-VALUE})")
  double learningRate;

  @Option(
      names = "--holdout",
      defaultValue = "0",
      description = "share of the blocks to choose the best step by (default ${DEFAULT-VALUE})")
  double holdout;

  @Mixin CuttingOption blocks = new CuttingOption();
  @Mixin TrainingFlags training = new TrainingFlags();
  @Mixin DeviceOption device = new DeviceOption();
  @Spec CommandSpec spec;

  @SuppressWarnings("NullAway.Init") // picocli fills the fields
  ReinforceCommand() {}

  @Override
  public Integer call() throws IOException {
    Interrupts.install();
    try (Device opened = device.open();
        Progress progress = new Progress()) {
      Trainer.Outcome outcome =
          TrainingPhase.onText(
              "reinforce",
              opened,
              model,
              new TrainingPhase.Reading(texts, alongside, blocks.cutting()),
              out,
              training.options(epochs, learningRate, holdout),
              progress,
              Interrupts::asked);
      return Ending.of(spec, outcome, out);
    }
  }
}
