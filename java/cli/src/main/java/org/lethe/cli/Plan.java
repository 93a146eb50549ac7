package org.lethe.cli;

import java.io.PrintWriter;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.function.Function;
import java.util.function.ToDoubleFunction;
import java.util.stream.Collectors;
import org.jspecify.annotations.Nullable;
import org.lethe.kernels.MemoryPlan;
import org.lethe.model.Operation;
import org.lethe.train.TrainingOptions;

/**
 * What {@code lethe plan} says, to people and to programs.
 *
 * @param title what is planned, in lines
 * @param phase the phase that was asked for
 * @param batches what would fit; null for labelling, whose blocks side by side are given
 * @param training a step of either training
 * @param labelling a group of its blocks
 */
record Plan(
    List<String> title,
    Machine machine,
    PhasePlan phase,
    @Nullable Batches batches,
    PhasePlan training,
    PhasePlan labelling) {
  /** Tokens of the paper's text, and with what it generated beside (Eldan & Russinovich 2023). */
  private static final long[] PAPER = {2_100_000, 3_100_000};

  /**
   * Batches that fit.
   *
   * @param largest 0 if none does
   * @param least bytes of a batch of one
   */
  record Batches(int largest, long least) {}

  // ---- for people -------------------------------------------------------------------------------

  void print(PrintWriter out) {
    title.forEach(out::println);
    printMemory(out);
    printTime(out);
    printPaper(out);
    out.flush();
  }

  private void printMemory(PrintWriter out) {
    out.printf("%nmemory, bytes%n");
    for (MemoryPlan allocation : phase.memory()) {
      out.printf("  %,16d  %s%n", allocation.bytes(), allocation.name());
      Map<String, Long> entries = entries(allocation);
      if (entries.size() > 1) {
        entries.forEach((name, bytes) -> out.printf("    %,16d  %s%n", bytes, name));
      }
    }
    long free = machine.usableBytes() - phase.bytes();
    out.printf(
        "  %,16d  in all, of %,d: %s%n",
        phase.bytes(),
        machine.usableBytes(),
        free >= 0 ? "fits, %,d free".formatted(free) : "does not fit, by %,d".formatted(-free));
    if (batches != null) {
      out.println(
          batches.largest() > 0
              ? "  largest batch that fits: " + batches.largest()
              : "  not even a batch of 1 fits: it lacks %,d"
                  .formatted(batches.least() - machine.usableBytes()));
    }
  }

  private void printTime(PrintWriter out) {
    out.printf("%n%-30s %9s %9s%s%n", "time, ms, at best", "TFLOP", "GB", heads());
    for (Operation o : phase.work()) {
      out.printf(
          "  %-28s %9.3f %9.3f%s%n",
          o.name(),
          o.flops() / 1e12,
          o.bytes() / 1e9,
          row(at -> 1e3 * o.seconds(at.flopsPerSecond(), at.bytesPerSecond()), "%.2f"));
    }
    out.printf(
        "  %-28s %9.3f %9.3f%s%n",
        "in all",
        phase.work().stream().mapToDouble(Operation::flops).sum() / 1e12,
        phase.work().stream().mapToDouble(Operation::bytes).sum() / 1e9,
        row(at -> 1e3 * phase.seconds(at), "%.2f"));
    out.printf("%n%-50s%s%n", "", heads());
    line(out, "ceiling of products, TFLOP/s", at -> at.flopsPerSecond() / 1e12, "%.2f");
    line(out, "ceiling of memory, GB/s", at -> at.bytesPerSecond() / 1e9, "%.1f");
    line(out, "tokens/s", phase::tokensPerSecond, "%,.0f");
    line(out, "model FLOP utilisation", phase::modelFlopUtilisation, "%.3f");
    Machine.Ceilings sheet = machine.ceilings().get(Machine.DATASHEET);
    if (sheet != null && machine.ceilings().size() > 1) {
      line(
          out,
          "  of the datasheet's rate",
          at -> phase.modelFlopUtilisation(at) * at.flopsPerSecond() / sheet.flopsPerSecond(),
          "%.3f");
    }
    if (!machine.ceilings().containsKey(Machine.MEASURED)) {
      out.println("not measured: no rate of this machine's own is known");
    }
  }

  private void printPaper(PrintWriter out) {
    for (long tokens : PAPER) {
      out.printf("%n%-50s%s%n", "the paper's run, %,d tokens; hours".formatted(tokens), heads());
      paper(tokens)
          .forEach(
              (name, seconds) -> line(out, name, at -> seconds.applyAsDouble(at) / 3600, "%.3f"));
    }
  }

  /** Seconds of each phase of the paper's run: 3 epochs, a labelling, 2 epochs. */
  private Map<String, ToDoubleFunction<Machine.Ceilings>> paper(long tokens) {
    int first = TrainingOptions.reinforce().epochs();
    int second = TrainingOptions.finetune().epochs();
    var hours = new LinkedHashMap<String, ToDoubleFunction<Machine.Ceilings>>();
    hours.put("reinforce", at -> first * tokens / training.tokensPerSecond(at));
    hours.put("label", at -> tokens / labelling.tokensPerSecond(at));
    hours.put("finetune", at -> second * tokens / training.tokensPerSecond(at));
    List<ToDoubleFunction<Machine.Ceilings>> all = List.copyOf(hours.values());
    hours.put("in all", at -> all.stream().mapToDouble(each -> each.applyAsDouble(at)).sum());
    return hours;
  }

  private void line(
      PrintWriter out, String name, ToDoubleFunction<Machine.Ceilings> value, String format) {
    out.printf("  %-48s%s%n", name, row(value, format));
  }

  private String heads() {
    return machine.ceilings().keySet().stream()
        .map("%12s"::formatted)
        .collect(Collectors.joining());
  }

  private String row(ToDoubleFunction<Machine.Ceilings> value, String format) {
    return machine.ceilings().values().stream()
        .map(at -> "%12s".formatted(format.formatted(value.applyAsDouble(at))))
        .collect(Collectors.joining());
  }

  /** Bytes by name, those of all layers together. */
  private static Map<String, Long> entries(MemoryPlan plan) {
    return plan.entries().stream()
        .collect(
            Collectors.groupingBy(
                entry -> entry.name().replaceFirst("\\.\\d+$", ""),
                LinkedHashMap::new,
                Collectors.summingLong(MemoryPlan.Entry::bytes)));
  }

  // ---- for programs -----------------------------------------------------------------------------

  Map<String, Object> report() {
    var report = new LinkedHashMap<String, Object>();
    report.put("title", title);
    report.put("machine", machine.name());
    var memory = new ArrayList<Map<String, Object>>();
    for (MemoryPlan allocation : phase.memory()) {
      var line = new LinkedHashMap<String, Object>();
      line.put("name", allocation.name());
      line.put("bytes", allocation.bytes());
      line.put("tensors", entries(allocation));
      memory.add(line);
    }
    report.put("memory", memory);
    report.put("bytes", phase.bytes());
    report.put("usable_bytes", machine.usableBytes());
    report.put("fits", phase.bytes() <= machine.usableBytes());
    if (batches != null) {
      report.put("largest_batch", batches.largest());
    }
    report.put("tokens", phase.tokens());
    report.put("operations", phase.work());
    report.put("flops_per_second", each(Machine.Ceilings::flopsPerSecond));
    report.put("bytes_per_second", each(Machine.Ceilings::bytesPerSecond));
    report.put("seconds", each(phase::seconds));
    report.put("tokens_per_second", each(phase::tokensPerSecond));
    report.put("model_flop_utilisation", each(phase::modelFlopUtilisation));
    var paper = new LinkedHashMap<String, Object>();
    for (long tokens : PAPER) {
      var hours = new LinkedHashMap<String, Object>();
      paper(tokens)
          .forEach(
              (name, seconds) ->
                  hours.put(name.replace(' ', '_'), each(at -> seconds.applyAsDouble(at) / 3600)));
      paper.put(String.valueOf(tokens), hours);
    }
    report.put("paper_hours", paper);
    return report;
  }

  private Map<String, Double> each(ToDoubleFunction<Machine.Ceilings> value) {
    return machine.ceilings().entrySet().stream()
        .collect(
            Collectors.toMap(
                Map.Entry::getKey,
                (Function<Map.Entry<String, Machine.Ceilings>, Double>)
                    e -> value.applyAsDouble(e.getValue()),
                (a, _) -> a,
                LinkedHashMap::new));
  }
}
