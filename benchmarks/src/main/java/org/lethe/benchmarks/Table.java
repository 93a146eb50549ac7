package org.lethe.benchmarks;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Set;
import java.util.stream.Collectors;
import org.lethe.benchmarks.Results.Measured;

/** Tables for people: one of a run, one of a comparison. */
final class Table {
  private static final Set<String> COLUMNS = Set.of("gflops", "gbytes", "ceiling");

  private final List<String[]> rows = new ArrayList<>();

  private Table(String... header) {
    rows.add(header);
  }

  /** A line a benchmark; what profilers counted follows at its end. */
  static String of(Results results) {
    var table =
        new Table(
            "benchmark",
            "parameters",
            "median",
            "spread",
            "a second",
            "GFLOP/s",
            "GB/s",
            "of ceiling",
            "");
    for (Measured each : results.benchmarks()) {
      double[] seconds = each.seconds();
      Arrays.sort(seconds);
      double median = Bootstrap.quantile(seconds, 0.5);
      double spread =
          (Bootstrap.quantile(seconds, 0.9) - Bootstrap.quantile(seconds, 0.1)) / 2 / median;
      table.rows.add(
          new String[] {
            each.name(),
            each.parameters(),
            time(median),
            "±%.1f%%".formatted(100 * spread),
            number(1 / median),
            rate(each.counter("gflops")),
            rate(each.counter("gbytes")),
            share(each.counter("ceiling")),
            others(each.counters())
          });
    }
    return table.text(2);
  }

  /** A line a benchmark with its verdict. */
  static String of(List<Gate.Comparison> comparisons) {
    var table =
        new Table(
            "benchmark",
            "parameters",
            "baseline",
            "now",
            "time ratio",
            "99% interval",
            "machine",
            "verdict");
    for (Gate.Comparison each : comparisons) {
      table.rows.add(
          new String[] {
            each.now().name(),
            each.now().parameters(),
            time(Bootstrap.median(each.baseline().seconds())),
            time(Bootstrap.median(each.now().seconds())),
            "%.3f".formatted(each.ratio().estimate()),
            "%.3f to %.3f".formatted(each.ratio().low(), each.ratio().high()),
            "%.3f".formatted(each.machine()),
            each.verdict().text
          });
    }
    return table.text(2);
  }

  private static String others(Map<String, Double> counters) {
    return counters.entrySet().stream()
        .filter(e -> !COLUMNS.contains(e.getKey()))
        .map(e -> e.getKey() + " " + number(e.getValue()))
        .collect(Collectors.joining("  "));
  }

  static String time(double seconds) {
    if (seconds >= 1) {
      return number(seconds) + " s";
    }
    if (seconds >= 1e-3) {
      return number(seconds * 1e3) + " ms";
    }
    return seconds >= 1e-6 ? number(seconds * 1e6) + " µs" : number(seconds * 1e9) + " ns";
  }

  /** Three significant digits, or all of a whole number's. */
  static String number(double x) {
    double size = Math.abs(x);
    if (size >= 100) {
      return String.format(Locale.ROOT, "%,.0f", x);
    }
    if (size >= 10) {
      return String.format(Locale.ROOT, "%.1f", x);
    }
    return size >= 0.01 || x == 0
        ? String.format(Locale.ROOT, "%.2f", x)
        : String.format(Locale.ROOT, "%.2g", x);
  }

  private static String rate(double perSecond) {
    return perSecond > 0 ? number(perSecond) : "-";
  }

  private static String share(double ceiling) {
    return ceiling > 0 ? "%.0f%%".formatted(100 * ceiling) : "-";
  }

  /** Columns as wide as what they hold: the first {@code left} start left, numbers end right. */
  private String text(int left) {
    int columns = rows.getFirst().length;
    int[] widths = new int[columns];
    for (String[] row : rows) {
      for (int c = 0; c < columns; c++) {
        widths[c] = Math.max(widths[c], row[c].length());
      }
    }
    var text = new StringBuilder();
    for (String[] row : rows) {
      var line = new StringBuilder();
      for (int c = 0; c < columns; c++) {
        String padding = " ".repeat(widths[c] - row[c].length());
        boolean words = c < left || c == columns - 1;
        line.append(c == 0 ? "" : "  ").append(words ? row[c] + padding : padding + row[c]);
      }
      text.append(line.toString().stripTrailing()).append('\n');
    }
    return text.toString();
  }
}
