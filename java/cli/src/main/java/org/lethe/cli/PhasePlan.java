package org.lethe.cli;

import java.util.List;
import java.util.function.ToLongFunction;
import org.lethe.kernels.Kernels;
import org.lethe.kernels.MemoryPlan;
import org.lethe.model.LlamaConfig;
import org.lethe.model.Operation;
import org.lethe.train.Trainer;
import org.lethe.train.TrainingOptions;
import org.lethe.unlearn.Labelling;

/**
 * What a phase of the method takes and does at a time: an optimizer step of a training, a block of
 * the labelling.
 *
 * @param memory all that is allocated at the peak
 * @param work the operations of that time, in order
 * @param tokens that they are for
 */
record PhasePlan(List<MemoryPlan> memory, List<Operation> work, long tokens) {

  /** Reinforcement or fine-tuning on blocks of {@code length} tokens. */
  static PhasePlan training(
      LlamaConfig config,
      TrainingOptions options,
      int length,
      ToLongFunction<Kernels.Heads> workspace) {
    return new PhasePlan(
        Trainer.plan(config, options, length, workspace),
        Trainer.work(config, options, length),
        (long) options.batch() * options.accumulate() * length);
  }

  /** Labelling, with translations as long as their blocks and nothing held down. */
  static PhasePlan labelling(LlamaConfig config, Labelling.Options options) {
    int blocks = Labelling.together(options);
    int length = options.cutting().block();
    return new PhasePlan(
        Labelling.plan(config, options, blocks, length, length, 0),
        Labelling.work(config, options, blocks, length),
        (long) blocks * length);
  }

  long bytes() {
    return memory.stream().mapToLong(MemoryPlan::bytes).sum();
  }

  double seconds(Machine.Ceilings at) {
    return work.stream()
        .mapToDouble(o -> o.seconds(at.flopsPerSecond(), at.bytesPerSecond()))
        .sum();
  }

  double tokensPerSecond(Machine.Ceilings at) {
    return tokens / seconds(at);
  }

  /** Share of the ceiling's products that are the model's: what is computed again is not. */
  double modelFlopUtilisation(Machine.Ceilings at) {
    double flops = work.stream().filter(o -> !o.again()).mapToDouble(Operation::flops).sum();
    return flops / seconds(at) / at.flopsPerSecond();
  }
}
