package org.lethe.model;

import java.util.Comparator;
import java.util.SplittableRandom;
import java.util.stream.IntStream;

/**
 * How the next token is drawn from logits.
 *
 * @param temperature divides the logits; 0 takes the most probable token always
 * @param topP draws among the fewest most probable tokens whose probabilities reach it (Holtzman et
 *     al. 2020); 1 among all
 * @param seed same seed, same tokens
 */
public record Sampling(double temperature, double topP, long seed) {
  /** The most probable token, always. */
  public static final Sampling GREEDY = new Sampling(0, 1, 1);

  /** Refuses numbers that make no distribution. */
  public Sampling {
    if (!(temperature >= 0 && Double.isFinite(temperature))) {
      throw new IllegalArgumentException(
          "temperature " + temperature + " is not a number from 0 on");
    }
    if (!(topP > 0 && topP <= 1)) {
      throw new IllegalArgumentException("top-p " + topP + " is not in (0, 1]");
    }
  }

  /** True if nothing is drawn. */
  public boolean greedy() {
    return temperature == 0;
  }

  /** Draws a token. */
  int draw(float[] logits, SplittableRandom random) {
    double max = Double.NEGATIVE_INFINITY;
    for (float logit : logits) {
      max = Math.max(max, logit);
    }
    double[] weight = new double[logits.length];
    double total = 0;
    for (int i = 0; i < logits.length; i++) {
      weight[i] = Math.exp((logits[i] - max) / temperature);
      total += weight[i];
    }
    int[] order =
        topP == 1
            ? IntStream.range(0, logits.length).toArray()
            : IntStream.range(0, logits.length)
                .boxed()
                .sorted(Comparator.comparingDouble((Integer i) -> -weight[i]))
                .mapToInt(Integer::intValue)
                .toArray();
    double kept = 0;
    int count = 0;
    while (count < order.length && (count == 0 || kept < topP * total)) {
      kept += weight[order[count++]];
    }
    double left = random.nextDouble() * kept;
    for (int i = 0; i < count; i++) {
      left -= weight[order[i]];
      if (left < 0) {
        return order[i];
      }
    }
    return order[count - 1];
  }
}
