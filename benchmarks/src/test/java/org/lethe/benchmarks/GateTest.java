package org.lethe.benchmarks;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;
import org.lethe.benchmarks.Gate.Comparison;
import org.lethe.benchmarks.Gate.Verdict;
import org.lethe.benchmarks.Results.Fork;
import org.lethe.benchmarks.Results.Measured;

class GateTest {
  private static final double NOISE = 0.03;
  private static final double FORKS_DIFFER = 0.01;

  private final Random random = new Random(1);
  private final Gate gate = new Gate(0.05);

  @Test
  void aTenthSlowerIsFoundEachTime() {
    long found = count(1.1, 1, Verdict.SLOWER);
    assertEquals(50, found, found + " of 50 slowdowns by 10% were found");
  }

  @Test
  void aTenthFasterIsFoundEachTime() {
    assertEquals(50, count(1 / 1.1, 1, Verdict.FASTER));
  }

  @Test
  void equalCodeIsNotAccused() {
    long same = count(1, 1, Verdict.SAME);
    assertTrue(same >= 49, same + " of 50 equal pairs were called equal");
  }

  @Test
  void aSlowMachineIsNotTakenForSlowCode() {
    long same = count(1, 1.3, Verdict.SAME);
    assertTrue(same >= 49, same + " of 50 equal pairs on a slowed machine were called equal");
  }

  @Test
  void aFastMachineDoesNotHideSlowCode() {
    assertEquals(50, count(1.1, 0.8, Verdict.SLOWER));
  }

  @Test
  void aSlowdownBelowTheThresholdPasses() {
    Comparison comparison = gate.compare(steady(1), steady(1.04));
    assertEquals(Verdict.SAME, comparison.verdict());
    assertEquals(1.04, comparison.ratio().estimate(), 1e-12);
  }

  @Test
  void theMachineIsTheOneThatBoundsTheBenchmark() {
    double calibrated = Calibration.bytesRead() / 1e9; // GB/s of a machine that takes a second
    assertTrue(measured(1, 1, Map.of("gbytes", 0.95 * calibrated)).movesMemory());
    assertFalse(measured(1, 1, Map.of("gbytes", 0.85 * calibrated)).movesMemory());
    assertFalse(measured(1, 1, Map.of()).movesMemory());
  }

  @Test
  void onlyWhatBothRunsMeasuredIsCompared() {
    var both = steady(1);
    var other = new Measured("Other.forward", Map.of(), both.forks(), Map.of());
    List<Comparison> comparisons =
        gate.compare(
            new Results(Map.of(), List.of(both, other)), new Results(Map.of(), List.of(both)));
    assertEquals(List.of(both.id()), comparisons.stream().map(c -> c.now().id()).toList());
  }

  @Test
  void aThresholdIsAShare() {
    assertEquals(0.05, Bench.share("5%"));
    assertEquals(0.05, Bench.share("0.05"));
    assertThrows(IllegalArgumentException.class, () -> Bench.share("five"));
    assertThrows(IllegalArgumentException.class, () -> new Gate(-1));
  }

  @Test
  void optionsThatAreNotTheBenchsAreJmhs() {
    Bench bench =
        Bench.parse(new String[] {"-f", "3", "--threshold", "10%", "--quick", "-prof", "gc"});
    assertEquals(List.of("-f", "3", "-prof", "gc"), bench.jmhArguments());
    assertEquals(0.1, bench.threshold());
    assertThrows(IllegalArgumentException.class, () -> Bench.parse(new String[] {"--threshold"}));
    assertThrows(
        IllegalArgumentException.class, () -> Bench.parse(new String[] {"--device", "abacus"}));
  }

  @Test
  void resultsComeBackFromTheirFile() {
    Results results =
        new Results(Map.of("cpu", "a good one"), List.of(measured(1, 1, Map.of("gflops", 3.0))));
    Results back = Results.fromJson(results.json());
    assertEquals(results.about(), back.about());
    Measured one = results.benchmarks().getFirst();
    Measured other = back.benchmarks().getFirst();
    assertEquals(one.id(), other.id());
    assertEquals(one.counters(), other.counters());
    assertEquals(Arrays.toString(one.seconds()), Arrays.toString(other.seconds()));
    assertEquals(Verdict.SAME, gate.compare(one, other).verdict());
  }

  @Test
  void theTableHasALineForEachAndItsNumbers() {
    String table =
        Table.of(
            new Results(
                Map.of(),
                List.of(
                    new Measured(
                        "SwiGlu.forward",
                        Map.of("sizes", "ODD"),
                        steady(0.0025).forks(),
                        Map.of("gflops", 12.5, "ceiling", 0.5)))));
    String[] lines = table.lines().toArray(String[]::new);
    assertEquals(2, lines.length);
    assertTrue(
        lines[1].matches("SwiGlu.forward +ODD +2.50 ms +±0.0% +400 +12.5 +- +50%"), lines[1]);
  }

  private long count(double slowdown, double machine, Verdict verdict) {
    return IntStream.range(0, 50)
        .filter(
            i ->
                gate.compare(
                            measured(1, 1, Map.of()),
                            measured(slowdown * machine, machine, Map.of()))
                        .verdict()
                    == verdict)
        .count();
  }

  private static Measured steady(double seconds) {
    double[] ones = {1, 1, 1};
    double[] times = {seconds, seconds, seconds};
    Fork fork = new Fork(times, ones, ones);
    return new Measured("A.b", Map.of("dtype", "BF16"), List.of(fork, fork), Map.of());
  }

  /** Five forks of eight iterations, as noisy as a quiet machine; calibrations as noisy. */
  private Measured measured(double seconds, double machine, Map<String, Double> counters) {
    List<double[]> times = BootstrapTest.forks(random, 5, 8, seconds, NOISE, FORKS_DIFFER);
    List<double[]> calibrations = BootstrapTest.forks(random, 5, 8, machine, NOISE, 0);
    List<Fork> forks =
        IntStream.range(0, 5)
            .mapToObj(f -> new Fork(times.get(f), calibrations.get(f), calibrations.get(f)))
            .toList();
    return new Measured("A.b", Map.of("dtype", "BF16"), forks, counters);
  }
}
