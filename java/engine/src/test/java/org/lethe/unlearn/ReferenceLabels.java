package org.lethe.unlearn;

import java.util.Arrays;
import org.lethe.kernels.Kernels;

/** METHOD.md's label formula in double, as plainly as it can be said. */
final class ReferenceLabels {
  private ReferenceLabels() {}

  /**
   * The labels of a block.
   *
   * @param baseline (Tb, V)
   * @param reinforced (T, V)
   * @return (T): labels[i] is the target predicted from position i - 1
   */
  static int[] of(
      double[][] baseline, double[][] reinforced, BlockTranslation translation, double alpha) {
    int[] labels = new int[reinforced.length];
    Arrays.fill(labels, Kernels.IGNORE);
    for (int i = 0; i + 1 < reinforced.length; i++) {
      int j = translation.mapping()[i];
      if (j != BlockTranslation.UNMAPPED) {
        labels[i + 1] = label(lowered(baseline[j], translation, j), reinforced[i], alpha);
      }
    }
    return labels;
  }

  /** The logits at translated position j, forbidden tokens put to the mean of the raw logits. */
  private static double[] lowered(double[] raw, BlockTranslation translation, int j) {
    double mean = Arrays.stream(raw).average().orElseThrow();
    double[] g = raw.clone();
    for (int k = 0; k < translation.forbidden().length; k++) {
      if (j > translation.forbiddenAfter()[k]) {
        g[translation.forbidden()[k]] = mean;
      }
    }
    return g;
  }

  private static int label(double[] g, double[] r, double alpha) {
    int best = 0;
    double bestScore = Double.NEGATIVE_INFINITY;
    for (int v = 0; v < g.length; v++) {
      double score = g[v] - alpha * Math.max(0, r[v] - g[v]);
      if (score > bestScore) {
        best = v;
        bestScore = score;
      }
    }
    return best;
  }
}
