package org.lethe.benchmarks;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.time.Instant;
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
import org.lethe.model.LlamaConfig;
import org.lethe.model.Operation;

/**
 * {@code benchmarks/roofline}: a training step operation by operation, as Markdown: what it
 * computes, what it moves, the least time that the ceilings of this run allow, and the time it took
 * as Flight Recorder saw its kernel calls.
 */
public final class Roofline {
  private static final int STEPS = 3;
  private static final String PRODUCT = "matmul ";

  /** The time of a kernel's calls in a step. */
  private record Measured(double calls, double seconds) {}

  private Roofline() {}

  /** Prints the table; {@code F32} or {@code BF16} may be given. */
  public static void main(String[] arguments) throws IOException {
    DType dtype = arguments.length == 0 ? DType.BF16 : DType.valueOf(arguments[0]);
    try (Device device = Settings.openDevice();
        var steps = new Steps(device, dtype, Sizes.SMOLLM2.config(), 4, 512, true)) {
      Ceilings before = Ceilings.measure(device, dtype);
      steps.train();
      steps.train();
      var measured = new HashMap<String, Measured>();
      double wall = record(steps, measured);
      Ceilings ceilings = before.or(Ceilings.measure(device, dtype)); // a machine has its moments
      print(dtype, ceilings, byKernel(steps.training(), steps.config()), measured, wall);
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
              kernel(event.getString("operation"), event.getString("numbers")),
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
  private static String kernel(String called, String numbers) {
    if (!called.equals("matmul")) {
      return called;
    }
    // ld_c, c_dtype, ld_a, ld_b, dtype, layout, accumulate, M, N, K
    String[] n = numbers.split(" ", -1);
    return switch (n[5]) {
      case "0" -> product("NN", Long.parseLong(n[9]), Long.parseLong(n[8]));
      case "1" -> product("NT", Long.parseLong(n[8]), Long.parseLong(n[9]));
      default -> product("TN", Long.parseLong(n[7]), Long.parseLong(n[8]));
    };
  }

  private static String product(String layout, long out, long in) {
    return PRODUCT + layout + " " + out + " " + in;
  }

  /** The kernel of what {@link Steps#training} lists, as {@link #kernel(String, String)} has it. */
  private static String kernel(String operation, LlamaConfig c) {
    String layout =
        operation.endsWith("d_weight") ? "TN" : operation.endsWith("d_input") ? "NN" : "NT";
    return switch (operation.replaceFirst(", d_.*|^forward ", "")) {
      case "embedding" -> "embedding";
      case "input norm", "post norm", "last norm", "backward norms, forward" -> "rmsnorm";
      case "qkv", "backward qkv" -> product(layout, c.queryWidth() + 2L * c.kvWidth(), c.width());
      case "rope", "backward rope" -> "rope";
      case "attention" -> "attention";
      case "output", "backward output" -> product(layout, c.width(), c.queryWidth());
      case "gate and up", "backward gate and up" ->
          product(layout, 2L * c.feedForward(), c.width());
      case "swiglu", "backward swiglu, forward" -> "swiglu";
      case "down", "backward down" -> product(layout, c.width(), c.feedForward());
      case "head gather" -> "gather_rows";
      case "head logits", "head d_weight", "head d_input" ->
          product(layout, c.vocabulary(), c.width());
      case "head cross entropy" -> "cross_entropy";
      case "head scatter" -> "scatter_rows";
      case "backward last norm", "backward norms" -> "rmsnorm_backward";
      case "backward swiglu" -> "swiglu_backward";
      case "backward attention" -> "attention_backward";
      case "backward embedding" -> "embedding_backward";
      case "AdamW" -> "adamw";
      default -> throw new IllegalStateException("no kernel is known for '" + operation + "'");
    };
  }

  private static void print(
      DType dtype,
      Ceilings ceilings,
      Map<String, Operation> operations,
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
    double flops = 0;
    double bytes = 0;
    for (var entry : operations.entrySet()) {
      Measured found = left.remove(entry.getKey());
      if (found == null) {
        throw new IllegalStateException("a step did not call " + entry.getKey());
      }
      Operation operation = entry.getValue();
      double floor = operation.seconds(ceilings.flops(), ceilings.bytes());
      floors += floor;
      sum += found.seconds;
      flops += operation.flops();
      bytes += operation.bytes();
      line(operation, found.calls, floor, found.seconds);
    }
    double others = left.values().stream().mapToDouble(Measured::seconds).sum();
    double calls = left.values().stream().mapToDouble(Measured::calls).sum();
    line(called("others (copies of tokens and losses, zeroed norms)"), calls, 0, others);
    line(called("recording the calls, Java between them"), 0, 0, wall - sum - others);
    line(new Operation("the step", flops, bytes, false), 0, floors, wall);
    System.out.printf(
        Locale.ROOT,
        "%n%.0f trained tokens a second; the floors allow %.0f%n",
        2048 / wall,
        2048 / floors);
  }

  private static Operation called(String name) {
    return new Operation(name, 0, 0, false);
  }

  /**
   * By kernel, in the order of the first: one that several operations call is measured once, and
   * goes by its own name.
   */
  private static Map<String, Operation> byKernel(List<Operation> operations, LlamaConfig config) {
    var byKernel = new LinkedHashMap<String, Operation>();
    for (Operation each : operations) {
      String kernel = kernel(each.name(), config);
      String name = kernel.startsWith(PRODUCT) ? each.name() : kernel.replace('_', ' ');
      byKernel.merge(
          kernel,
          new Operation(name, each.flops(), each.bytes(), false),
          (a, b) -> new Operation(name, a.flops() + b.flops(), a.bytes() + b.bytes(), false));
    }
    return byKernel;
  }

  private static void line(Operation operation, double calls, double floor, double measured) {
    double gflop = operation.flops() / 1e9;
    double gbyte = operation.bytes() / 1e9;
    System.out.printf(
        Locale.ROOT,
        "| %s | %s | %s | %s | %.2f | %.2f | %s |%n",
        operation.name(),
        calls == 0 ? "" : String.valueOf(Math.round(calls)),
        gflop == 0 ? "" : Table.number(gflop),
        gbyte == 0 ? "" : Table.number(gbyte),
        1e3 * floor,
        1e3 * measured,
        floor == 0 || measured == 0 ? "" : "%.0f%%".formatted(100 * floor / measured));
  }
}
