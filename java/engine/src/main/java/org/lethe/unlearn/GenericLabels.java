package org.lethe.unlearn;

import java.util.Arrays;
import org.lethe.kernels.DType;
import org.lethe.kernels.Device;
import org.lethe.kernels.Kernels;
import org.lethe.kernels.MemoryPlan;
import org.lethe.kernels.Tensor;

/**
 * What a model that never read the text would say instead (Eldan & Russinovich 2023, section 2.2):
 *
 * <pre>label = argmax over the vocabulary of g - alpha * max(0, r - g)</pre>
 *
 * <p>with g the baseline's logits on the translated block, forbidden tokens lowered to the mean,
 * and r the reinforced model's logits on the original block.
 */
public final class GenericLabels {
  private GenericLabels() {}

  /** The alphas of {@link LabelFile#KEYS}: {@code alpha}, half of it, twice it. */
  public static float[] alphas(double alpha) {
    return new float[] {(float) alpha, (float) (0.5 * alpha), (float) (2 * alpha)};
  }

  /**
   * The labels of a block of T tokens.
   *
   * @param baseline (Tb, V), the baseline model's logits on {@code translation.tokens()}
   * @param reinforced (T, V), the reinforced model's logits on the block
   * @param alphas one row of labels for each
   * @return (alphas, T), {@code labels[a][i]} being the target predicted from position i - 1:
   *     {@code labels[a][0]} and targets of unmapped positions are {@link Kernels#IGNORE}, and what
   *     the last position predicts is dropped
   * @throws ArithmeticException if a position's logits hold a NaN
   */
  public static int[][] of(
      Tensor baseline, Tensor reinforced, BlockTranslation translation, float[] alphas) {
    int length = translation.mapping().length;
    if (baseline.rows() != translation.tokens().length || reinforced.rows() != length) {
      throw new IllegalArgumentException(
          "a block of %d tokens, %d translated, takes as many rows of logits, not %s and %s"
              .formatted(length, translation.tokens().length, reinforced, baseline));
    }
    within("mapping", translation.mapping(), -1, translation.tokens().length);
    within("forbidden", translation.forbidden(), 0, (int) baseline.width());
    Device device = baseline.device();
    int count = translation.forbidden().length;
    try (MemoryPlan.Arena arena = plan(alphas.length, length, count).allocate(device)) {
      Tensor labels = arena.get("labels");
      Tensor mapping = arena.get("mapping");
      mapping.set(translation.mapping());
      Tensor forbidden = null;
      Tensor after = null;
      if (count > 0) {
        forbidden = arena.get("forbidden");
        forbidden.set(translation.forbidden());
        after = arena.get("forbidden after");
        after.set(translation.forbiddenAfter());
      }
      device
          .kernels()
          .genericLabels(labels, baseline, reinforced, mapping, forbidden, after, alphas);
      return shifted(labels.toInts(), alphas.length, length);
    }
  }

  /** Not every device can look at what it is given. */
  private static void within(String name, int[] values, int low, int high) {
    for (int i = 0; i < values.length; i++) {
      if (values[i] < low || values[i] >= high) {
        throw new IllegalArgumentException(
            "%s[%d] is %d, not in %d to %d".formatted(name, i, values[i], low, high - 1));
      }
    }
  }

  /** What {@link #of} takes besides the logits, by name. */
  static MemoryPlan plan(int alphas, int length, int forbidden) {
    var plan =
        new MemoryPlan("labels")
            .add("labels", DType.I32, alphas, length)
            .add("mapping", DType.I32, length);
    return forbidden == 0
        ? plan
        : plan.add("forbidden", DType.I32, forbidden).add("forbidden after", DType.I32, forbidden);
  }

  /**
   * From predictions (alphas, T), made at each position, to targets predicted from the one before.
   */
  private static int[][] shifted(int[] predictions, int alphas, int length) {
    int[][] labels = new int[alphas][length];
    for (int a = 0; a < alphas; a++) {
      Arrays.fill(labels[a], 0, 1, Kernels.IGNORE);
      System.arraycopy(predictions, a * length, labels[a], 1, length - 1);
      for (int i = 1; i < length; i++) {
        if (labels[a][i] == -1) {
          throw new ArithmeticException(
              "the logits of position %d hold a NaN: 'lethe score' on each of the two models tells which is broken"
                  .formatted(i - 1));
        }
      }
    }
    return labels;
  }
}
