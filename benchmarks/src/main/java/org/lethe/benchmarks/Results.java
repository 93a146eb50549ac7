package org.lethe.benchmarks;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collection;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.concurrent.TimeUnit;
import java.util.stream.Stream;
import org.openjdk.jmh.annotations.Mode;
import org.openjdk.jmh.infra.BenchmarkParams;
import org.openjdk.jmh.results.BenchmarkResult;
import org.openjdk.jmh.results.IterationResult;
import org.openjdk.jmh.results.Result;
import org.openjdk.jmh.results.RunResult;
import tools.jackson.databind.json.JsonMapper;

/**
 * What a run of the bench measured, as {@code --json} writes it and {@code --against} reads it.
 *
 * @param about machine, date, versions
 * @param benchmarks in the order they ran
 */
record Results(Map<String, String> about, List<Measured> benchmarks) {
  private static final String PACKAGE = Results.class.getPackageName() + ".";
  private static final double MOSTLY = 0.9;
  private static final List<String> MACHINE = List.of("machineArithmetic", "machineMemory");

  /**
   * A benchmark with its parameters.
   *
   * @param name class and method
   * @param params by name
   * @param forks each with its iterations
   * @param counters whatever else JMH or its profilers counted, by name; rates a second
   */
  record Measured(
      String name, Map<String, String> params, List<Fork> forks, Map<String, Double> counters) {

    /** Name and parameters: equal for what can be compared. */
    String id() {
      return name + " " + parameters();
    }

    /** As tables show them. */
    String parameters() {
      return String.join(" ", new TreeMap<>(params).values());
    }

    /** Seconds per operation, of all iterations. */
    double[] seconds() {
      return forks.stream().flatMapToDouble(f -> Arrays.stream(f.seconds)).toArray();
    }

    double counter(String counter) {
      return counters.getOrDefault(counter, 0.0);
    }

    /**
     * Whether the memory decides how long it takes: it moves bytes nearly as fast as reading does.
     */
    boolean movesMemory() {
      double[] reading = forks.stream().flatMapToDouble(f -> Arrays.stream(f.memory)).toArray();
      return 1e9 * counter("gbytes") > MOSTLY * Calibration.bytesRead() / Bootstrap.median(reading);
    }

    /** This and the same in other processes. */
    private Measured with(Measured more) {
      Map<String, Double> means = new TreeMap<>(counters);
      more.counters.forEach(
          (name, value) ->
              means.merge(
                  name,
                  value,
                  (mine, other) ->
                      (mine * forks.size() + other * more.forks.size())
                          / (forks.size() + more.forks.size())));
      return new Measured(
          name, params, Stream.concat(forks.stream(), more.forks.stream()).toList(), means);
    }
  }

  /**
   * A process of its own; a value an iteration.
   *
   * @param seconds per operation
   * @param arithmetic the calibration's, just before the iteration
   * @param memory the same
   */
  @SuppressWarnings("ArrayRecordComponent")
  record Fork(double[] seconds, double[] arithmetic, double[] memory) {}

  static Results of(Map<String, String> about, Collection<RunResult> runs) {
    Map<String, Measured> benchmarks = new LinkedHashMap<>();
    for (RunResult run : runs) {
      Measured each = measured(run);
      benchmarks.merge(each.id(), each, Measured::with);
    }
    return new Results(about, List.copyOf(benchmarks.values()));
  }

  private static Measured measured(RunResult run) {
    BenchmarkParams params = run.getParams();
    Map<String, String> values = new TreeMap<>();
    params.getParamsKeys().forEach(key -> values.put(key, params.getParam(key)));
    Map<String, Double> counters = new TreeMap<>();
    run.getSecondaryResults().forEach((name, result) -> counters.put(name, result.getScore()));
    counters.keySet().removeAll(MACHINE);
    counters.values().removeIf(value -> !Double.isFinite(value));
    return new Measured(
        params.getBenchmark().replace(PACKAGE, ""),
        values,
        run.getBenchmarkResults().stream().map(fork -> fork(params, fork)).toList(),
        counters);
  }

  private static Fork fork(BenchmarkParams params, BenchmarkResult result) {
    List<double[]> rows = new ArrayList<>();
    for (IterationResult each : result.getIterationResults()) {
      rows.add(
          new double[] {
            seconds(params, each.getPrimaryResult().getScore()),
            score(each, MACHINE.get(0)),
            score(each, MACHINE.get(1))
          });
    }
    return new Fork(column(rows, 0), column(rows, 1), column(rows, 2));
  }

  private static double score(IterationResult iteration, String counter) {
    Result<?> result = iteration.getSecondaryResults().get(counter);
    return result == null ? 1 : result.getScore();
  }

  private static double[] column(List<double[]> rows, int column) {
    return rows.stream().mapToDouble(row -> row[column]).toArray();
  }

  /** Seconds per operation of a score in the benchmark's mode and unit. */
  static double seconds(BenchmarkParams params, double score) {
    double unit = params.getTimeUnit().toNanos(1) / (double) TimeUnit.SECONDS.toNanos(1);
    return params.getMode() == Mode.Throughput ? unit / score : unit * score;
  }

  byte[] json() {
    return new JsonMapper().writerWithDefaultPrettyPrinter().writeValueAsBytes(this);
  }

  static Results fromJson(byte[] json) {
    return new JsonMapper().readValue(json, Results.class);
  }
}
