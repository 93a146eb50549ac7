package org.lethe.benchmarks;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.List;
import java.util.Random;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;

class BootstrapTest {
  @Test
  void quantilesAreThoseOfANumberLine() {
    double[] sorted = {0, 10, 20, 30};
    assertEquals(0, Bootstrap.quantile(sorted, 0));
    assertEquals(15, Bootstrap.quantile(sorted, 0.5));
    assertEquals(30, Bootstrap.quantile(sorted, 1));
    assertEquals(7.5, Bootstrap.quantile(sorted, 0.25));
    assertEquals(3, Bootstrap.median(new double[] {5, 1, 3}));
    assertThrows(IllegalArgumentException.class, () -> Bootstrap.median(new double[0]));
  }

  @Test
  void withoutNoiseTheIntervalIsThePoint() {
    List<double[]> one = List.of(new double[] {2, 2}, new double[] {2, 2});
    List<double[]> other = List.of(new double[] {4, 4}, new double[] {4, 4});
    assertEquals(new Bootstrap.Interval(2, 2, 2), Bootstrap.ratioOfMedians(other, one, 0.99, 1));
  }

  @Test
  void theSameSeedGivesTheSameInterval() {
    var random = new Random(1);
    List<double[]> a = forks(random, 4, 8, 1, 0.05, 0.02);
    List<double[]> b = forks(random, 4, 8, 1, 0.05, 0.02);
    assertEquals(Bootstrap.ratioOfMedians(a, b, 0.95, 3), Bootstrap.ratioOfMedians(a, b, 0.95, 3));
  }

  /** Of 200 pairs of equal normal samples, about 5% fall outside 95% intervals; never a fifth. */
  @Test
  void theIntervalCoversTheTruthAboutAsOftenAsItSays() {
    var random = new Random(2);
    long covered =
        IntStream.range(0, 200)
            .filter(
                i ->
                    !Bootstrap.ratioOfMedians(
                            forks(random, 10, 10, 1.2, 0.05, 0.02),
                            forks(random, 10, 10, 1.0, 0.05, 0.02),
                            0.95,
                            i)
                        .excludes(1.2))
            .count();
    assertTrue(covered >= 175 && covered <= 200, covered + " of 200 intervals hold the truth");
  }

  /** Forks that differ more than their iterations widen the interval: they are the samples. */
  @Test
  void forksCountNotIterations() {
    var random = new Random(3);
    List<double[]> steady = forks(random, 5, 40, 1, 0.01, 0);
    List<double[]> scattered = forks(random, 5, 40, 1, 0.01, 0.1);
    assertTrue(
        width(scattered, steady) > 4 * width(steady, steady),
        "scattered %s, steady %s".formatted(width(scattered, steady), width(steady, steady)));
  }

  private static double width(List<double[]> a, List<double[]> b) {
    Bootstrap.Interval interval = Bootstrap.ratioOfMedians(a, b, 0.95, 1);
    return interval.high() - interval.low();
  }

  /** Normal iterations around a normal mean of each fork. */
  static List<double[]> forks(
      Random random, int forks, int iterations, double mean, double within, double between) {
    return IntStream.range(0, forks)
        .mapToObj(
            f -> {
              double centre = mean * (1 + between * random.nextGaussian());
              return IntStream.range(0, iterations)
                  .mapToDouble(i -> centre * (1 + within * random.nextGaussian()))
                  .toArray();
            })
        .toList();
  }
}
