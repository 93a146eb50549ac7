package org.lethe.benchmarks;

import java.nio.file.Path;
import org.lethe.format.Checkpoint;
import org.openjdk.jmh.annotations.Fork;
import org.openjdk.jmh.annotations.Measurement;
import org.openjdk.jmh.annotations.Warmup;

/**
 * What benchmarks of whole passes share: a model, that of {@code --model} or random weights of
 * SmolLM2-135M's sizes, and tokens. What a pass costs does not depend on the weights.
 */
@Fork(2)
@Warmup(iterations = 1, time = 4)
@Measurement(iterations = 5, time = 4)
public abstract class ModelOperation extends Operation {
  static final int BLOCKS = 4;
  static final int LENGTH = 512;

  Steps steps;

  /** Made by JMH. */
  protected ModelOperation() {}

  /** Loads it. */
  final void load(boolean training) {
    Path path = Settings.model();
    if (path == null) {
      steps = new Steps(device, dtype, Sizes.SMOLLM2.config(), BLOCKS, LENGTH, training);
    } else {
      try (Checkpoint checkpoint = Checkpoint.open(path)) {
        steps = new Steps(device, dtype, checkpoint, BLOCKS, LENGTH, training);
      }
    }
  }

  @Override
  void finish() {
    steps.close();
  }
}
