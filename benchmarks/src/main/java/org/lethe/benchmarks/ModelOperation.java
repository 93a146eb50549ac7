package org.lethe.benchmarks;

import java.nio.file.Path;
import java.util.List;
import org.lethe.format.Checkpoint;
import org.lethe.kernels.Kernels;
import org.lethe.model.Llama;
import org.lethe.model.LlamaConfig;
import org.lethe.model.LlamaWeights;
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

  LlamaConfig config;
  LlamaWeights weights;
  Llama llama;
  int[] tokens;

  /** Made by JMH. */
  protected ModelOperation() {}

  /** Loads it; exact weights can be trained. */
  final void load(boolean exact) {
    Path path = Settings.model();
    if (path == null) {
      config = Sizes.SMOLLM2.config();
      weights = LlamaWeights.load(device, config, new RandomModel(), dtype, exact);
    } else {
      try (Checkpoint checkpoint = Checkpoint.open(path)) {
        config = checkpoint.config();
        weights = LlamaWeights.load(device, config, checkpoint, dtype, exact);
      }
    }
    llama = new Llama(weights);
    tokens = Noise.tokens(config.vocabulary(), 1, BLOCKS * LENGTH);
  }

  /** Each position's next token; the last of a block has none. */
  final int[] targets() {
    int[] targets = new int[tokens.length];
    for (int i = 0; i < tokens.length; i++) {
      targets[i] = (i + 1) % LENGTH == 0 ? Kernels.IGNORE : tokens[i + 1];
    }
    return targets;
  }

  final Rates.Work work(List<StepCost.Cost> costs) {
    return work(StepCost.flop(costs), 0); // bytes overlap with products: they are no floor here
  }

  static double finite(double loss) {
    if (!(loss > 0 && Double.isFinite(loss))) {
      throw new IllegalStateException("the loss is " + loss);
    }
    return loss;
  }

  @Override
  final void finish() {
    llama.close();
    weights.close();
  }
}
