package org.lethe.benchmarks;

import java.util.Arrays;
import java.util.List;
import java.util.SplittableRandom;

/**
 * Confidence intervals by resampling (Efron 1979), in two levels: forks, then the iterations of
 * each (Davison & Hinkley 1997, section 3.8). Iterations of a process share its memory layout and
 * its compiled code, and so its luck: taken as independent, they would promise too much.
 */
final class Bootstrap {
  private static final int RESAMPLES = 4000;

  /**
   * An estimate and where the truth lies with the confidence asked for.
   *
   * @param low its lower bound
   * @param estimate from the samples as they are
   * @param high its upper bound
   */
  record Interval(double low, double estimate, double high) {
    boolean excludes(double value) {
      return value < low || value > high;
    }
  }

  private Bootstrap() {}

  /**
   * The median of {@code numerator} over the median of {@code denominator}.
   *
   * @param confidence such as 0.99
   * @param seed the same samples and seed give the same interval
   */
  static Interval ratioOfMedians(
      List<double[]> numerator, List<double[]> denominator, double confidence, long seed) {
    var random = new SplittableRandom(seed);
    double[] ratios = new double[RESAMPLES];
    for (int i = 0; i < RESAMPLES; i++) {
      ratios[i] = median(resample(numerator, random)) / median(resample(denominator, random));
    }
    Arrays.sort(ratios);
    double tail = (1 - confidence) / 2;
    return new Interval(
        quantile(ratios, tail),
        median(pooled(numerator)) / median(pooled(denominator)),
        quantile(ratios, 1 - tail));
  }

  private static double[] resample(List<double[]> forks, SplittableRandom random) {
    double[][] drawn = new double[forks.size()][];
    for (int f = 0; f < drawn.length; f++) {
      double[] fork = forks.get(random.nextInt(forks.size()));
      drawn[f] = new double[fork.length];
      for (int i = 0; i < fork.length; i++) {
        drawn[f][i] = fork[random.nextInt(fork.length)];
      }
    }
    return pooled(Arrays.asList(drawn));
  }

  private static double[] pooled(List<double[]> forks) {
    return forks.stream().flatMapToDouble(Arrays::stream).toArray();
  }

  /** The middle value, or the mean of the two. */
  static double median(double[] values) {
    double[] sorted = values.clone();
    Arrays.sort(sorted);
    return quantile(sorted, 0.5);
  }

  /** Of sorted values, interpolated between neighbours. */
  static double quantile(double[] sorted, double share) {
    if (sorted.length == 0) {
      throw new IllegalArgumentException("no value, no quantile");
    }
    double at = share * (sorted.length - 1);
    int below = (int) at;
    int above = Math.min(below + 1, sorted.length - 1);
    return sorted[below] + (at - below) * (sorted[above] - sorted[below]);
  }
}
