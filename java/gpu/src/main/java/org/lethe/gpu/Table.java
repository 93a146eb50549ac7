package org.lethe.gpu;

import java.io.PrintWriter;
import java.util.List;
import java.util.Map;
import tools.jackson.databind.JsonNode;

/** The results for people. */
final class Table {
  private final Map<Step, List<JsonNode>> found;
  private final List<Map<String, String>> failures;
  private final List<Map<String, String>> cut;
  private final double flopsPerSecond; // NaN where not measured
  private final double bytesPerSecond;

  Table(
      Map<Step, List<JsonNode>> found,
      List<Map<String, String>> failures,
      List<Map<String, String>> cut) {
    this.found = found;
    this.failures = failures;
    this.cut = cut;
    flopsPerSecond = ceiling("matrix product");
    bytesPerSecond = ceiling("copy");
  }

  private List<JsonNode> rows(Step step) {
    return found.getOrDefault(step, List.of());
  }

  private double ceiling(String item) {
    return rows(Step.CEILINGS).stream()
        .filter(row -> row.path("item").asString().equals(item))
        .mapToDouble(row -> row.path("per_second").doubleValue(Double.NaN))
        .findFirst()
        .orElse(Double.NaN);
  }

  void print(PrintWriter out) {
    rows(Step.DEVICE).forEach(row -> out.println(row.path("described")));
    int trials = rows(Step.SUITE).stream().mapToInt(row -> row.path("trials").intValue(0)).sum();
    out.printf("kernel suite: %d trials of %d operations%n", trials, rows(Step.SUITE).size());
    if (!rows(Step.SANITIZER).isEmpty()) {
      out.printf("compute-sanitizer: %d operations%n", rows(Step.SANITIZER).size());
    }
    out.printf(
        "ceilings: %.1f TFLOP/s, %.0f GB/s%n%n", flopsPerSecond / 1e12, bytesPerSecond / 1e9);
    kernels(out);
    rows(Step.LAYER).forEach(row -> layer(out, row));
    rows(Step.TRAINING).forEach(row -> training(out, row));
    rows(Step.DECODING).forEach(row -> decoding(out, row));
    entries(out, "failed", failures);
    entries(out, "left out", cut);
  }

  /** The share is of the ceiling that binds: the longer of the two least times. */
  private void kernels(PrintWriter out) {
    String line = "%-30s %7s %12s %10s %10s %8s%n";
    out.printf(line, "kernel", "tokens", "µs", "TFLOP/s", "GB/s", "share");
    for (JsonNode row : rows(Step.KERNELS)) {
      if (row.has("fault")) {
        continue;
      }
      double seconds = row.path("seconds").doubleValue();
      double flops = row.path("flops").doubleValue();
      double bytes = row.path("bytes").doubleValue();
      double floor = Math.max(flops / flopsPerSecond, bytes / bytesPerSecond);
      out.printf(
          line,
          row.path("item").asString(),
          row.path("tokens").intValue(),
          "%.1f".formatted(1e6 * seconds),
          "%.1f".formatted(flops / seconds / 1e12),
          "%.0f".formatted(bytes / seconds / 1e9),
          "%.0f%%".formatted(100 * floor / seconds));
    }
    out.println();
  }

  private void layer(PrintWriter out, JsonNode row) {
    if (row.has("fault")) {
      return;
    }
    double both = row.path("forward_backward_seconds").doubleValue();
    out.printf(
        "a layer, %d tokens: forward %.3f ms, forward and backward %.3f ms, %.0f%% of the ceiling%n",
        row.path("tokens").intValue(),
        1e3 * row.path("forward_seconds").doubleValue(),
        1e3 * both,
        100 * row.path("forward_backward_flops").doubleValue() / both / flopsPerSecond);
  }

  private void training(PrintWriter out, JsonNode row) {
    if (row.has("fault")) {
      return;
    }
    double seconds = row.path("seconds").doubleValue();
    out.printf(
        "training, %d layers, %d tokens a step: %.1f ms, %.0f tokens/s, %.0f%% of the ceiling%n",
        row.path("layers").intValue(),
        row.path("tokens").intValue(),
        1e3 * seconds,
        row.path("tokens_per_second").doubleValue(),
        100 * row.path("flops").doubleValue() / seconds / flopsPerSecond);
  }

  private void decoding(PrintWriter out, JsonNode row) {
    if (row.has("fault")) {
      return;
    }
    double seconds = row.path("seconds").doubleValue();
    out.printf(
        "decoding, %d layers: %.2f ms a token, %.1f tokens/s, %.0f%% of the ceiling%n",
        row.path("layers").intValue(),
        1e3 * seconds,
        row.path("tokens_per_second").doubleValue(),
        100 * row.path("bytes").doubleValue() / seconds / bytesPerSecond);
  }

  private static void entries(PrintWriter out, String title, List<Map<String, String>> entries) {
    for (Map<String, String> each : entries) {
      out.printf("%s: %s %s: %s%n", title, each.get("step"), each.get("item"), each.get("why"));
    }
  }
}
