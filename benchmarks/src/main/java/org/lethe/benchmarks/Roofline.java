package org.lethe.benchmarks;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import jdk.jfr.Recording;
import jdk.jfr.consumer.RecordedEvent;
import jdk.jfr.consumer.RecordingFile;
import org.lethe.kernels.DType;
import org.lethe.kernels.Device;

/**
 * {@code benchmarks/roofline}: a training step operation by operation, as Markdown: what it
 * computes, what it moves, the least time that the ceilings of this run allow, and the time it took
 * as Flight Recorder saw its kernel calls.
 */
public final class Roofline {
  private static final int STEPS = 3;

  /** The time of a kernel's calls in a step. */
  private record Measured(double calls, double seconds) {}

  private Roofline() {}

  /** Prints the table; {@code F32} or {@code BF16} may be given. */
  public static void main(String[] arguments) throws IOException {
    DType dtype = arguments.length == 0 ? DType.BF16 : DType.valueOf(arguments[0]);
    try (Device device = Settings.openDevice();
        var steps = new Steps(device, dtype, Sizes.SMOLLM2.config(), 4, 512, true)) {
      Ceilings ceilings = Ceilings.measure(device, dtype);
      steps.train();
      steps.train();
      var measured = new HashMap<String, Measured>();
      double wall = record(steps, measured);
      print(dtype, ceilings, steps.trainingCosts(), measured, wall);
    }
  }

  /** The seconds of a step, and of the calls in it: the same steps give both. */
  private static double record(Steps steps, Map<String, Measured> measured) throws IOException {
    Path file = Files.createTempFile("lethe", ".jfr");
    try (var recording = new Recording()) {
      recording.enable("org.lethe.KernelCall").withThreshold(Duration.ZERO);
      recording.start();
      steps.train(); // the event is compiled into the calls
      Instant began = Instant.now();
      long start = System.nanoTime();
      for (int i = 0; i < STEPS; i++) {
        steps.train();
      }
      double wall = (System.nanoTime() - start) / 1e9 / STEPS;
      recording.stop();
      recording.dump(file);
      for (RecordedEvent event : RecordingFile.readAllEvents(file)) {
        if (event.getEventType().getName().equals("org.lethe.KernelCall")
            && event.getStartTime().isAfter(began)) {
          double seconds = event.getDuration().toNanos() / 1e9 / STEPS;
          measured.merge(
              key(event.getString("operation"), event.getString("numbers")),
              new Measured(1.0 / STEPS, seconds),
              (a, b) -> new Measured(a.calls + b.calls, a.seconds + b.seconds));
        }
      }
      return wall;
    } finally {
      Files.delete(file);
    }
  }

  /** A matrix product goes by its layout and its weight's sizes, others by their name. */
  private static String key(String operation, String numbers) {
    if (!operation.equals("matmul")) {
      return operation;
    }
    // ld_c, c_dtype, ld_a, ld_b, dtype, layout, accumulate, M, N, K
    String[] n = numbers.split(" ", -1);
    return switch (n[5]) {
      case "0" -> StepCost.matmul("NN", Long.parseLong(n[9]), Long.parseLong(n[8]));
      case "1" -> StepCost.matmul("NT", Long.parseLong(n[8]), Long.parseLong(n[9]));
      default -> StepCost.matmul("TN", Long.parseLong(n[7]), Long.parseLong(n[8]));
    };
  }

  private static void print(
      DType dtype,
      Ceilings ceilings,
      List<StepCost.Cost> costs,
      Map<String, Measured> measured,
      double wall) {
    System.out.printf(
        Locale.ROOT,
        "%s, 4 blocks of 512 tokens; ceilings of this run: %.0f GFLOP/s, %.1f GB/s%n%n",
        dtype,
        ceilings.flops() / 1e9,
        ceilings.bytes() / 1e9);
    System.out.println(
        "| operation | calls | GFLOP | GB | floor, ms | measured, ms | of the floor |");
    System.out.println("|---|---:|---:|---:|---:|---:|---:|");
    Map<String, Measured> left = new HashMap<>(measured);
    double floors = 0;
    double sum = 0;
    for (StepCost.Cost cost : merged(costs)) {
      Measured found = left.getOrDefault(cost.kernel(), new Measured(0, Double.NaN));
      left.remove(cost.kernel());
      double floor = cost.seconds(ceilings);
      floors += floor;
      sum += found.seconds;
      line(cost.name(), cost.calls(), cost.flop() / 1e9, cost.bytes() / 1e9, floor, found.seconds);
    }
    double others = left.values().stream().mapToDouble(Measured::seconds).sum();
    double calls = left.values().stream().mapToDouble(Measured::calls).sum();
    line("others (copies of tokens and losses)", Math.round(calls), 0, 0, 0, others);
    line("recording the calls, Java between them", 0, 0, 0, 0, wall - sum - others);
    line("the step", 0, StepCost.flop(costs) / 1e9, StepCost.bytes(costs) / 1e9, floors, wall);
    System.out.printf(
        Locale.ROOT,
        "%n%.0f trained tokens a second; the floors allow %.0f%n",
        2048 / wall,
        2048 / floors);
  }

  /** Costs of the same calls together: a kernel that is used twice in a step is measured once. */
  private static List<StepCost.Cost> merged(List<StepCost.Cost> costs) {
    Map<String, StepCost.Cost> merged = new LinkedHashMap<>();
    for (StepCost.Cost each : costs) {
      merged.merge(
          each.kernel(),
          each,
          (a, b) ->
              new StepCost.Cost(
                  a.name(),
                  a.kernel(),
                  a.calls() + b.calls(),
                  a.flop() + b.flop(),
                  a.bytes() + b.bytes()));
    }
    return new ArrayList<>(merged.values());
  }

  private static void line(
      String name, long calls, double gflop, double gbyte, double floor, double measured) {
    System.out.printf(
        Locale.ROOT,
        "| %s | %s | %s | %s | %.2f | %.2f | %s |%n",
        name,
        calls == 0 ? "" : String.valueOf(calls),
        gflop == 0 ? "" : Table.number(gflop),
        gbyte == 0 ? "" : Table.number(gbyte),
        1e3 * floor,
        1e3 * measured,
        floor == 0 || measured == 0 ? "" : "%.0f%%".formatted(100 * floor / measured));
  }
}
