package org.lethe.cli;

import java.io.PrintWriter;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.Callable;
import java.util.function.Function;
import java.util.function.ToDoubleFunction;
import java.util.stream.Collectors;
import org.jspecify.annotations.Nullable;
import org.lethe.format.Checkpoint;
import org.lethe.kernels.Device;
import org.lethe.kernels.MemoryPlan;
import org.lethe.model.LlamaConfig;
import org.lethe.model.Operation;
import org.lethe.train.TrainingOptions;
import org.lethe.unlearn.Labelling;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Spec;

/** {@code lethe plan}. */
@Command(
    name = "plan",
    mixinStandardHelpOptions = true,
    sortOptions = false,
    description = {
      "Says what a phase of the method will take: memory by name, to the byte what a run allocates;",
      "time by operation, at best, from what it computes and moves against two ceilings, matrix",
      "products and memory; and the hours of the paper's run. Nothing is loaded or allocated."
    },
    footer = {
      "",
      "Example:",
      "  lethe plan --model llama2-7b --gpu h100-80gb --phase finetune --gradient-dtype bf16 \\",
      "             --moment-dtype bf16"
    })
final class PlanCommand implements Callable<Integer> {
  /** Tokens of the paper's text, and with what it generated beside (Eldan & Russinovich 2023). */
  private static final long[] PAPER = {2_100_000, 3_100_000};

  /** The phases of the method. */
  enum Phase {
    reinforce,
    label,
    finetune
  }

  @Option(
      names = "--model",
      required = true,
      paramLabel = "M",
      description =
          "a Hugging Face directory (config.json is enough), a .gguf file, or a name:"
              + " llama2-7b, llama3-8b, tinyllama-1.1b, smollm2-135m")
  String model;

  @Option(
      names = "--phase",
      defaultValue = "finetune",
      description = "reinforce, label or finetune (default ${DEFAULT-VALUE})")
  Phase phase;

  @Option(
      names = "--gpu",
      paramLabel = "NAME|FILE",
      description =
          "h100-80gb, a100-80gb, rtx4090-24gb or a JSON file of that form (default: what --device names)")
  @Nullable String gpu;

  @Option(
      names = "--matrix-rate",
      paramLabel = "TFLOP/S",
      description = "matrix products that the machine really reaches, shown beside the datasheet's")
  @Nullable Double matrixRate;

  @Option(
      names = "--memory-rate",
      paramLabel = "GB/S",
      description = "memory that it really reaches")
  @Nullable Double memoryRate;

  @Option(
      names = "--block",
      defaultValue = "512",
      description = "tokens in a block (default ${DEFAULT-VALUE})")
  int block;

  @Option(names = "--json", description = "print one JSON object")
  boolean json;

  @Mixin PassFlags pass = new PassFlags();
  @Mixin DeviceOption device = new DeviceOption();
  @Spec CommandSpec spec;

  @SuppressWarnings("NullAway.Init") // picocli fills the fields
  PlanCommand() {}

  @Override
  public Integer call() {
    LlamaConfig config = Usage.checked(spec, this::config);
    String described = gpu;
    if (described != null) {
      Machine machine = Usage.checked(spec, () -> Machine.gpu(described, pass.dtype()));
      Usage.checked(spec, () -> print(config, given(machine)));
      return 0;
    }
    try (Device opened = device.open()) {
      boolean measure = matrixRate == null || memoryRate == null;
      Machine machine = Machine.device(opened, pass.dtype(), measure);
      Usage.checked(spec, () -> print(config, given(machine)));
      return 0;
    }
  }

  private LlamaConfig config() {
    LlamaConfig named = NamedModel.all().get(model);
    if (named != null) {
      return named;
    }
    Path path = Path.of(model);
    if (!Files.exists(path)) {
      throw new IllegalArgumentException(
          "there is no model '%s', neither a file nor a name; names are: %s"
              .formatted(model, String.join(", ", NamedModel.all().keySet())));
    }
    return Checkpoint.configOf(path);
  }

  /** The machine with the rates of the command line, where there are any. */
  private Machine given(Machine machine) {
    if (matrixRate == null && memoryRate == null) {
      return machine;
    }
    Machine.Ceilings known = machine.ceilings().values().stream().findFirst().orElse(null);
    double flops =
        matrixRate != null || known == null ? 1e12 * value(matrixRate) : known.flopsPerSecond();
    double bytes =
        memoryRate != null || known == null ? 1e9 * value(memoryRate) : known.bytesPerSecond();
    var ceilings = new LinkedHashMap<>(machine.ceilings());
    ceilings.put(Machine.GIVEN, new Machine.Ceilings(flops, bytes, "the command line"));
    return new Machine(machine.name(), machine.usableBytes(), ceilings, machine.workspace());
  }

  private static double value(@Nullable Double rate) {
    if (rate == null || !(rate > 0)) {
      throw new IllegalArgumentException("a rate is " + rate + ", must be above 0");
    }
    return rate;
  }

  private TrainingOptions options(int batch) {
    TrainingOptions o =
        phase == Phase.reinforce ? TrainingOptions.reinforce() : TrainingOptions.finetune();
    return new TrainingOptions(
        o.epochs(),
        o.learningRate(),
        o.warmup(),
        batch,
        pass.accumulate,
        o.beta1(),
        o.beta2(),
        o.eps(),
        o.weightDecay(),
        o.clip(),
        o.holdout(),
        o.shuffle(),
        o.seed(),
        o.checkpointEvery(),
        pass.dtype(),
        pass.gradientType.dtype(),
        pass.momentType.dtype(),
        pass.memory());
  }

  private PhasePlan training(LlamaConfig config, Machine machine, int batch) {
    return PhasePlan.training(
        config,
        options(batch),
        block,
        heads -> machine.workspace().applyAsLong(pass.dtype(), heads));
  }

  private PhasePlan labelling(LlamaConfig config) {
    Labelling.Options o = Labelling.Options.DEFAULT;
    return PhasePlan.labelling(
        config, new Labelling.Options(o.alpha(), block, o.seed(), pass.dtype()));
  }

  /** The largest batch that fits; 0 if none does. */
  private int largestBatch(LlamaConfig config, Machine machine) {
    int fits = 0;
    int fails = 4097; // batches end at 4096
    while (fails - fits > 1) {
      int batch = (fits + fails) / 2;
      if (training(config, machine, batch).bytes() <= machine.usableBytes()) {
        fits = batch;
      } else {
        fails = batch;
      }
    }
    return fits;
  }

  // ---- what it says -----------------------------------------------------------------------------

  private boolean print(LlamaConfig config, Machine machine) {
    PhasePlan training = training(config, machine, pass.batch);
    PhasePlan labelling = labelling(config);
    PhasePlan plan = phase == Phase.label ? labelling : training;
    int largest = phase == Phase.label ? 1 : largestBatch(config, machine);
    PrintWriter out = spec.commandLine().getOut();
    if (json) {
      Json.print(out, report(config, machine, plan, largest, training, labelling));
      return true;
    }
    out.printf("%s, %,d parameters: %s on %s%n", model, config.parameters(), phase, machine.name());
    out.println(
        phase == Phase.label
            ? "a block of %d tokens through both models".formatted(block)
            : "a step of %d passes over %d blocks of %d tokens; gradients %s, moments %s, %s"
                .formatted(
                    pass.accumulate,
                    pass.batch,
                    block,
                    pass.gradientType,
                    pass.momentType,
                    pass.recompute ? "layers recomputed" : "nothing recomputed"));
    printMemory(out, machine, plan);
    if (phase != Phase.label) {
      out.println(
          largest > 0
              ? "  largest batch that fits: " + largest
              : "  not even a batch of 1 fits: it lacks %,d"
                  .formatted(training(config, machine, 1).bytes() - machine.usableBytes()));
    }
    printTime(out, machine, plan);
    printPaper(out, machine, training, labelling);
    return true;
  }

  private static void printMemory(PrintWriter out, Machine machine, PhasePlan plan) {
    out.printf("%nmemory, bytes%n");
    for (MemoryPlan allocation : plan.memory()) {
      out.printf("  %,16d  %s%n", allocation.bytes(), allocation.name());
      Map<String, Long> entries = entries(allocation);
      if (entries.size() > 1) {
        entries.forEach((name, bytes) -> out.printf("    %,16d  %s%n", bytes, name));
      }
    }
    long free = machine.usableBytes() - plan.bytes();
    out.printf(
        "  %,16d  in all, of %,d: %s%n",
        plan.bytes(),
        machine.usableBytes(),
        free >= 0 ? "fits, %,d free".formatted(free) : "does not fit, by %,d".formatted(-free));
  }

  private static void printTime(PrintWriter out, Machine machine, PhasePlan plan) {
    out.printf("%n%-30s %9s %9s%s%n", "time, ms, at best", "TFLOP", "GB", heads(machine));
    for (Operation o : plan.work()) {
      out.printf(
          "  %-28s %9.3f %9.3f%s%n",
          o.name(),
          o.flops() / 1e12,
          o.bytes() / 1e9,
          row(machine, at -> 1e3 * o.seconds(at.flopsPerSecond(), at.bytesPerSecond()), "%.2f"));
    }
    out.printf(
        "  %-28s %9.3f %9.3f%s%n",
        "in all",
        plan.work().stream().mapToDouble(Operation::flops).sum() / 1e12,
        plan.work().stream().mapToDouble(Operation::bytes).sum() / 1e9,
        row(machine, at -> 1e3 * plan.seconds(at), "%.2f"));
    out.printf("%n%-50s%s%n", "", heads(machine));
    line(out, machine, "ceiling of products, TFLOP/s", at -> at.flopsPerSecond() / 1e12, "%.2f");
    line(out, machine, "ceiling of memory, GB/s", at -> at.bytesPerSecond() / 1e9, "%.1f");
    line(out, machine, "tokens/s", plan::tokensPerSecond, "%,.0f");
    line(out, machine, "model FLOP utilisation", plan::modelFlopUtilisation, "%.3f");
    Machine.Ceilings sheet = machine.ceilings().get(Machine.DATASHEET);
    if (sheet != null && machine.ceilings().size() > 1) {
      line(
          out,
          machine,
          "  of the datasheet's rate",
          at -> plan.modelFlopUtilisation(at) * at.flopsPerSecond() / sheet.flopsPerSecond(),
          "%.3f");
    }
    if (!machine.ceilings().containsKey(Machine.MEASURED)) {
      out.println("not measured: no rate of this machine's own is known");
    }
  }

  private static void printPaper(
      PrintWriter out, Machine machine, PhasePlan training, PhasePlan labelling) {
    for (long tokens : PAPER) {
      out.printf(
          "%n%-50s%s%n", "the paper's run, %,d tokens; hours".formatted(tokens), heads(machine));
      paper(tokens, training, labelling)
          .forEach(
              (name, seconds) ->
                  line(out, machine, name, at -> seconds.applyAsDouble(at) / 3600, "%.3f"));
    }
  }

  /** Seconds of each phase of the paper's run: 3 epochs, a labelling, 2 epochs. */
  private static Map<String, ToDoubleFunction<Machine.Ceilings>> paper(
      long tokens, PhasePlan training, PhasePlan labelling) {
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

  private static void line(
      PrintWriter out,
      Machine machine,
      String name,
      ToDoubleFunction<Machine.Ceilings> value,
      String format) {
    out.printf("  %-48s%s%n", name, row(machine, value, format));
  }

  private static String heads(Machine machine) {
    return machine.ceilings().keySet().stream()
        .map("%12s"::formatted)
        .collect(Collectors.joining());
  }

  private static String row(
      Machine machine, ToDoubleFunction<Machine.Ceilings> value, String format) {
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

  // ---- the same as JSON -------------------------------------------------------------------------

  private Map<String, Object> report(
      LlamaConfig config,
      Machine machine,
      PhasePlan plan,
      int largest,
      PhasePlan training,
      PhasePlan labelling) {
    var report = new LinkedHashMap<String, Object>();
    report.put("model", model);
    report.put("parameters", config.parameters());
    report.put("machine", machine.name());
    report.put("phase", phase.name());
    var memory = new ArrayList<Map<String, Object>>();
    for (MemoryPlan allocation : plan.memory()) {
      memory.add(
          Map.of(
              "name",
              allocation.name(),
              "bytes",
              allocation.bytes(),
              "tensors",
              entries(allocation)));
    }
    report.put("memory", memory);
    report.put("bytes", plan.bytes());
    report.put("usable_bytes", machine.usableBytes());
    report.put("fits", plan.bytes() <= machine.usableBytes());
    if (phase != Phase.label) {
      report.put("largest_batch", largest);
    }
    report.put("tokens", plan.tokens());
    report.put("operations", plan.work());
    report.put("ceilings", machine.ceilings());
    report.put("seconds", each(machine, plan::seconds));
    report.put("tokens_per_second", each(machine, plan::tokensPerSecond));
    report.put("model_flop_utilisation", each(machine, plan::modelFlopUtilisation));
    var paper = new LinkedHashMap<String, Object>();
    for (long tokens : PAPER) {
      paper.put(
          String.valueOf(tokens),
          paper(tokens, training, labelling).entrySet().stream()
              .collect(
                  Collectors.toMap(
                      e -> e.getKey().replace(' ', '_'),
                      e -> each(machine, at -> e.getValue().applyAsDouble(at) / 3600),
                      (a, _) -> a,
                      LinkedHashMap::new)));
    }
    report.put("paper_hours", paper);
    return report;
  }

  private static Map<String, Double> each(
      Machine machine, ToDoubleFunction<Machine.Ceilings> value) {
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
