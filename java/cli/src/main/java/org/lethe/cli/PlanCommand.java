package org.lethe.cli;

import java.io.PrintWriter;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.concurrent.Callable;
import org.jspecify.annotations.Nullable;
import org.lethe.format.Checkpoint;
import org.lethe.kernels.Device;
import org.lethe.model.LlamaConfig;
import org.lethe.text.TextBlocks;
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
      "products and memory; and the hours of the paper's run. Without --gpu the device's own ceilings are measured."
    },
    footer = {
      "",
      "Example:",
      "  lethe plan --model llama2-7b --gpu h100-80gb --phase finetune --gradient-dtype bf16 \\",
      "             --moment-dtype bf16"
    })
final class PlanCommand implements Callable<Integer> {
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
      say(config, Usage.checked(spec, () -> Machine.gpu(described, pass.dtype())));
      return 0;
    }
    try (Device opened = device.open()) {
      boolean measure = matrixRate == null || memoryRate == null;
      say(config, Machine.device(opened, pass.dtype(), measure));
      return 0;
    }
  }

  private void say(LlamaConfig config, Machine machine) {
    Plan plan = Usage.checked(spec, () -> plan(config, given(machine)));
    PrintWriter out = spec.commandLine().getOut();
    if (json) {
      Json.print(out, plan.report());
    } else {
      plan.print(out);
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
        config,
        new Labelling.Options(o.alpha(), TextBlocks.Cutting.once(block), o.seed(), pass.dtype()));
  }

  private Plan plan(LlamaConfig config, Machine machine) {
    PhasePlan training = training(config, machine, pass.batch);
    PhasePlan labelling = labelling(config);
    boolean labels = phase == Phase.label;
    String title =
        "%s, %,d parameters: %s on %s".formatted(model, config.parameters(), phase, machine.name());
    String step =
        labels
            ? "a block of %d tokens through both models".formatted(block)
            : "a step of %d passes over %d blocks of %d tokens; gradients %s, moments %s, %s"
                .formatted(
                    pass.accumulate,
                    pass.batch,
                    block,
                    pass.gradientType,
                    pass.momentType,
                    pass.recompute ? "layers recomputed" : "nothing recomputed");
    return new Plan(
        List.of(title, step),
        machine,
        labels ? labelling : training,
        labels ? null : batches(config, machine),
        training,
        labelling);
  }

  private Plan.Batches batches(LlamaConfig config, Machine machine) {
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
    return new Plan.Batches(fits, training(config, machine, 1).bytes());
  }
}
