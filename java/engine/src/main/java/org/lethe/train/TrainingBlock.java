package org.lethe.train;

import java.util.Arrays;
import org.lethe.kernels.Kernels;

/**
 * One sequence to train on.
 *
 * @param inputs its tokens
 * @param labels {@code labels[i]} is the token to be predicted from position i - 1, or {@link
 *     Kernels#IGNORE}; {@code labels[0]} is always ignored
 */
public record TrainingBlock(int[] inputs, int[] labels) {
  /** Refuses labels that do not belong to the inputs. */
  public TrainingBlock {
    if (inputs.length == 0 || inputs.length != labels.length) {
      throw new IllegalArgumentException(
          inputs.length + " inputs and " + labels.length + " labels make no block");
    }
  }

  /** A block to be predicted itself: plain next-token loss. */
  public static TrainingBlock nextToken(int[] tokens) {
    int[] labels = tokens.clone();
    Arrays.fill(labels, 0, Math.min(1, labels.length), Kernels.IGNORE);
    return new TrainingBlock(tokens, labels);
  }

  /** Positions that have a label. */
  int labelled() {
    int n = 0;
    for (int i = 1; i < labels.length; i++) {
      n += labels[i] == Kernels.IGNORE ? 0 : 1;
    }
    return n;
  }
}
