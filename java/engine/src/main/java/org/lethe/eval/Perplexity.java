package org.lethe.eval;

import java.util.Arrays;
import java.util.List;
import org.lethe.kernels.Kernels;
import org.lethe.model.Llama;

/** How surprised a model is by a text: exp of the mean loss of a token, in nats. */
public final class Perplexity {
  private Perplexity() {}

  /** Over blocks, each on its own, its first token not counted. */
  public static double of(Llama llama, List<int[]> blocks) {
    double loss = 0;
    long count = 0;
    for (int[] block : blocks) {
      if (block.length > 1) {
        int[] targets = Arrays.copyOfRange(block, 1, block.length + 1);
        targets[block.length - 1] = Kernels.IGNORE;
        loss += llama.loss(block, targets, 1);
        count += block.length - 1;
      }
    }
    return Math.exp(loss / count);
  }
}
