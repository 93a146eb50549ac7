package org.lethe.benchmarks;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.lethe.benchmarks.Results.Fork;
import org.lethe.benchmarks.Results.Measured;

/**
 * The regression gate: holds a run against a baseline, benchmark by benchmark.
 *
 * <p>Each iteration's time is divided by the process's median calibration, that of memory where it
 * bounds the benchmark, else that of arithmetic. A benchmark is slower if the ratio of the medians
 * is above the threshold and its 99% interval lies above 1; faster likewise.
 */
final class Gate {
  private static final double CONFIDENCE = 0.99;

  /** What a comparison says. */
  enum Verdict {
    FASTER("faster"),
    SAME("no difference"),
    SLOWER("SLOWER");

    final String text;

    Verdict(String text) {
      this.text = text;
    }
  }

  /**
   * A benchmark against its baseline.
   *
   * @param ratio time now over time then, on an equally fast machine
   * @param machine how much slower the machine is now: 1.1 is 10%
   */
  record Comparison(
      Measured baseline, Measured now, Bootstrap.Interval ratio, double machine, Verdict verdict) {}

  private final double threshold;

  /**
   * @param threshold the least difference that counts: 0.05 is 5%
   */
  Gate(double threshold) {
    if (!(threshold >= 0 && threshold < 10)) {
      throw new IllegalArgumentException(
          "the threshold is " + threshold + ", must be a share such as 0.05");
    }
    this.threshold = threshold;
  }

  /** Compares what both runs measured; what only one has is left out. */
  List<Comparison> compare(Results baseline, Results now) {
    Map<String, Measured> before = new HashMap<>();
    baseline.benchmarks().forEach(each -> before.put(each.id(), each));
    List<Comparison> comparisons = new ArrayList<>();
    for (Measured each : now.benchmarks()) {
      Measured then = before.get(each.id());
      if (then != null) {
        comparisons.add(compare(then, each));
      }
    }
    return comparisons;
  }

  Comparison compare(Measured then, Measured now) {
    boolean memory = then.movesMemory();
    Bootstrap.Interval ratio =
        Bootstrap.ratioOfMedians(
            calibrated(now, memory), calibrated(then, memory), CONFIDENCE, now.id().hashCode());
    double machine =
        Bootstrap.median(calibrations(now, memory)) / Bootstrap.median(calibrations(then, memory));
    return new Comparison(then, now, ratio, machine, verdict(ratio));
  }

  private Verdict verdict(Bootstrap.Interval ratio) {
    if (ratio.estimate() > 1 + threshold && ratio.low() > 1) {
      return Verdict.SLOWER;
    }
    if (ratio.estimate() < 1 / (1 + threshold) && ratio.high() < 1) {
      return Verdict.FASTER;
    }
    return Verdict.SAME;
  }

  private static double[] calibrations(Measured measured, boolean memory) {
    return measured.forks().stream()
        .flatMapToDouble(f -> Arrays.stream(memory ? f.memory() : f.arithmetic()))
        .toArray();
  }

  private static List<double[]> calibrated(Measured measured, boolean memory) {
    return measured.forks().stream().map(fork -> calibrated(fork, memory)).toList();
  }

  /**
   * Times over the fork's median calibration: one of a single moment would add its own noise to
   * every time.
   */
  private static double[] calibrated(Fork fork, boolean memory) {
    double machine = Bootstrap.median(memory ? fork.memory() : fork.arithmetic());
    return Arrays.stream(fork.seconds()).map(seconds -> seconds / machine).toArray();
  }
}
