package org.lethe.cli;

import org.lethe.train.TrainingOptions;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Spec;

/** The training options that all phases share. */
final class TrainingFlags {
  @Option(
      names = "--warmup",
      defaultValue = "0",
      description = "steps over which the learning rate rises (default ${DEFAULT-VALUE})")
  int warmup;

  @Option(
      names = "--beta1",
      defaultValue = "0.9",
      description = "AdamW's decay of the first moment (default ${DEFAULT-VALUE})")
  double beta1;

  @Option(
      names = "--beta2",
      defaultValue = "0.98",
      description = "AdamW's decay of the second moment (default ${DEFAULT-VALUE})")
  double beta2;

  @Option(
      names = "--eps",
      defaultValue = "1e-8",
      description = "AdamW's (default ${DEFAULT-VALUE})")
  double eps;

  @Option(
      names = "--weight-decay",
      defaultValue = "0",
      description = "AdamW's (default ${DEFAULT-VALUE})")
  double weightDecay;

  @Option(
      names = "--clip",
      defaultValue = "0",
      description = "largest global gradient norm; 0 does not clip (default)")
  double clip;

  @Option(
      names = "--shuffle",
      negatable = true,
      defaultValue = "true",
      fallbackValue = "true",
      description = "another order of the blocks in every epoch (default) or not")
  boolean shuffle;

  @Option(
      names = "--seed",
      defaultValue = "1",
      description = "same seed, same bits (default ${DEFAULT-VALUE})")
  long seed;

  @Option(
      names = "--checkpoint-every",
      paramLabel = "STEPS",
      defaultValue = "100",
      description = "steps between checkpoints (default ${DEFAULT-VALUE})")
  int checkpointEvery;

  @Mixin PassFlags pass = new PassFlags();

  @Spec(Spec.Target.MIXEE)
  CommandSpec command;

  @SuppressWarnings("NullAway.Init") // picocli fills the spec
  TrainingFlags() {}

  TrainingOptions options(int epochs, double learningRate, double holdout) {
    return options(epochs, learningRate, holdout, pass.batch);
  }

  TrainingOptions options(int epochs, double learningRate, double holdout, int batch) {
    return Usage.checked(command, () -> checked(epochs, learningRate, holdout, batch));
  }

  private TrainingOptions checked(int epochs, double learningRate, double holdout, int batch) {
    return new TrainingOptions(
        epochs,
        learningRate,
        warmup,
        batch,
        pass.accumulate,
        beta1,
        beta2,
        eps,
        weightDecay,
        clip,
        holdout,
        shuffle,
        seed,
        checkpointEvery,
        pass.dtype(),
        pass.gradientType.dtype(),
        pass.momentType.dtype(),
        pass.memory());
  }
}
