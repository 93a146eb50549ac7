package org.lethe.train;

import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;
import java.util.Random;
import java.util.function.BooleanSupplier;
import java.util.function.ToLongFunction;
import java.util.stream.Stream;
import org.lethe.kernels.Kernels;
import org.lethe.kernels.MemoryPlan;
import org.lethe.model.Llama;
import org.lethe.model.LlamaConfig;
import org.lethe.model.LlamaWeights;
import org.lethe.model.LlamaWork;
import org.lethe.model.Operation;

/**
 * Trains a Llama on blocks: AdamW on exact fp32 weights, a linear schedule, gradient accumulation
 * with the mean over all labelled tokens of a step. Resumes from the last checkpoint in its folder
 * to the bits of a run that was never interrupted.
 */
public final class Trainer {
  /** How often the held-out loss is measured over a run, besides its end. */
  private static final int EVALUATIONS = 10;

  /**
   * How a run ended.
   *
   * @param finished false if it was asked to stop before its last step
   * @param step steps taken
   * @param steps in all
   * @param bestStep the step whose weights were kept; 0 if nothing was held out
   * @param heldOutLoss of those weights; NaN if nothing was held out
   */
  public record Outcome(boolean finished, int step, int steps, int bestStep, double heldOutLoss) {}

  private final String phase;
  private final LlamaWeights weights;
  private final TrainingOptions options;
  private final TrainingListener listener;
  private final List<TrainingBlock> training;
  private final List<TrainingBlock> heldOut;
  private final List<TrainingBlock> alongside;

  /**
   * Splits the blocks; nothing is allocated yet.
   *
   * @param phase what metrics call it
   * @param weights trained in place; exact
   * @param blocks trained on in every epoch, but for those held out
   * @param alongside trained on once, an equal part of them mixed into each epoch; what is left by
   *     the division is not used; may be empty
   * @throws IllegalArgumentException if no block, or no label, is left to train on, if {@code
   *     alongside} has fewer blocks than there are epochs, or the weights are not exact ones of the
   *     options' dtype
   */
  public Trainer(
      String phase,
      LlamaWeights weights,
      List<TrainingBlock> blocks,
      List<TrainingBlock> alongside,
      TrainingOptions options,
      TrainingListener listener) {
    if (!weights.isExact()) {
      throw new IllegalArgumentException(
          "weights without their low halves cannot be trained: load them exact");
    }
    if (weights.dtype() != options.dtype()) {
      throw new IllegalArgumentException(
          "the weights are %s, the options say %s: load them as that"
              .formatted(weights.dtype(), options.dtype()));
    }
    this.phase = phase;
    this.weights = weights;
    this.options = options;
    this.listener = listener;
    int held = heldOut(blocks.size(), options.holdout());
    List<TrainingBlock> order = new ArrayList<>(blocks);
    Collections.shuffle(order, new Random(options.seed()));
    var chosen = Collections.newSetFromMap(new java.util.IdentityHashMap<TrainingBlock, Boolean>());
    chosen.addAll(order.subList(0, held));
    heldOut = blocks.stream().filter(chosen::contains).toList();
    training = blocks.stream().filter(b -> !chosen.contains(b)).toList();
    this.alongside = List.copyOf(alongside);
    if (!alongside.isEmpty() && alongsideAnEpoch() == 0) {
      throw new IllegalArgumentException(
          "%d blocks of text alongside for %d epochs: give more of it, or fewer epochs"
              .formatted(alongside.size(), options.epochs()));
    }
    if (labelled(training) == 0) {
      throw new IllegalArgumentException(
          "%d blocks, %d held out: no labelled position is left to train on"
              .formatted(blocks.size(), held));
    }
  }

  private static int labelled(List<TrainingBlock> blocks) {
    return blocks.stream().mapToInt(TrainingBlock::labelled).sum();
  }

  /** A share of the blocks, at least one where it is not 0, never all. */
  private static int heldOut(int blocks, double share) {
    return share == 0 ? 0 : Math.clamp(Math.round(blocks * share), 1, Math.max(1, blocks - 1));
  }

  /** Optimizer steps in all. */
  public int steps() {
    return options.epochs() * stepsPerEpoch();
  }

  private int stepsPerEpoch() {
    return Math.ceilDiv(
        training.size() + alongsideAnEpoch(), options.batch() * options.accumulate());
  }

  private int alongsideAnEpoch() {
    return alongside.size() / options.epochs();
  }

  /**
   * Trains from the last checkpoint in {@code folder} (or from the start) to the end, or until
   * {@code stop} says so at a step's boundary. Stopped, it leaves a checkpoint. Finished, it leaves
   * the weights to keep, the best where blocks were held out, else the last, for the caller to
   * write, and no checkpoint of the last step, which would be several times as large: a process
   * killed before the weights are written takes the steps since the last checkpoint again.
   *
   * @throws TrainingDivergedException if a loss or gradient is no longer finite
   */
  public Outcome run(RunFolder folder, BooleanSupplier stop) throws IOException {
    Path directory = folder.directory();
    int steps = steps();
    try (TrainingState state = new TrainingState(weights, options);
        Llama llama = new Llama(weights, options.memory())) {
      TrainingState.Position position = state.restore(directory);
      if (position == null) {
        position = TrainingState.Position.START;
        folder.requireSpace(2 * state.checkpointBytes() + 2 * state.weightBytes());
      }
      var metrics = new Metrics(directory, position.step());
      listener.started(phase, position.step(), steps, llama);
      int saved = position.step();
      while (position.step() < steps && !stop.getAsBoolean()) {
        TrainingListener.Step step = step(position.step(), steps, llama, state);
        position =
            new TrainingState.Position(step.step(), position.bestStep(), position.bestLoss());
        metrics.add(step);
        listener.stepped(step, steps, llama);
        if (evaluates(position.step(), steps)) {
          position = evaluate(position, llama, state, directory);
        }
        if (position.step() < steps && position.step() % options.checkpointEvery() == 0) {
          state.save(directory, position);
          saved = position.step();
          listener.checkpointed(saved);
        }
      }
      boolean finished = position.step() == steps;
      if (!finished && saved != position.step()) {
        state.save(directory, position);
        listener.checkpointed(position.step());
      }
      if (finished && position.bestStep() > 0) {
        state.restoreBest(directory, position);
      }
      return new Outcome(
          finished,
          position.step(),
          steps,
          position.bestStep(),
          position.bestStep() > 0 ? position.bestLoss() : Double.NaN);
    }
  }

  /**
   * What training allocates at its largest, the weights and all.
   *
   * @param length tokens in the longest block
   * @param workspace bytes that the device's attention backward needs, {@link
   *     Kernels#attentionBackwardWorkspace}
   */
  public static List<MemoryPlan> plan(
      LlamaConfig config,
      TrainingOptions options,
      int length,
      ToLongFunction<Kernels.Heads> workspace) {
    var plans = new ArrayList<MemoryPlan>();
    plans.add(LlamaWeights.plan(config, options.dtype(), true));
    plans.add(TrainingState.plan(config, options));
    plans.addAll(
        Llama.plan(
            config, options.dtype(), options.batch(), length, true, options.memory(), workspace));
    return plans;
  }

  /**
   * What an optimizer step over full batches of {@code length} tokens a block does.
   *
   * @return its operations, in order
   */
  public static List<Operation> work(LlamaConfig config, TrainingOptions options, int length) {
    List<Operation> passes =
        LlamaWork.training(
            config,
            options.dtype(),
            options.gradientType(),
            options.batch(),
            options.accumulate(),
            length,
            options.memory());
    return Stream.concat(passes.stream(), TrainingState.work(config, options).stream()).toList();
  }

  /** Deletes the checkpoints of a run whose result is written elsewhere. */
  public static void clear(RunFolder folder) throws IOException {
    TrainingState.clear(folder.directory());
  }

  private TrainingListener.Step step(int done, int steps, Llama llama, TrainingState state) {
    long start = System.nanoTime();
    var event = new TrainingStep();
    event.begin();
    List<TrainingBlock> blocks = blocksOf(done);
    int labelled = labelled(blocks);
    double loss = 0;
    for (int i = 0; i < blocks.size(); i += options.batch()) {
      Batch batch = Batch.of(blocks.subList(i, Math.min(blocks.size(), i + options.batch())));
      loss +=
          llama.train(
              batch.tokens,
              batch.targets,
              batch.blocks,
              1f / Math.max(1, labelled),
              state.gradients(),
              i > 0);
    }
    loss /= Math.max(1, labelled);
    double norm = state.gradientNorm();
    if (!Double.isFinite(loss) || !Double.isFinite(norm)) {
      throw diverged(done + 1, loss, state);
    }
    double rate = options.learningRate(done, steps);
    double scale = options.clip() > 0 && norm > options.clip() ? options.clip() / norm : 1;
    state.update(
        new Kernels.AdamW(
            (float) rate,
            (float) options.beta1(),
            (float) options.beta2(),
            (float) options.eps(),
            (float) options.weightDecay(),
            (float) scale,
            done + 1L,
            options.seed()));
    long tokens = blocks.stream().mapToLong(b -> b.inputs().length).sum();
    double seconds = (System.nanoTime() - start) / 1e9;
    var step = new TrainingListener.Step(phase, done + 1, loss, norm, rate, tokens / seconds);
    event.commit(step, tokens);
    return step;
  }

  private static TrainingDivergedException diverged(int step, double loss, TrainingState state) {
    String parameter = state.firstNonFinite();
    String tensor = Double.isFinite(loss) && parameter != null ? parameter : "loss";
    return new TrainingDivergedException(
        step,
        tensor,
        "step %d: %s is not finite (loss %s%s); the last checkpoint is untouched: try a lower learning rate, or clipping"
            .formatted(
                step,
                tensor.equals("loss") ? "the loss" : "the gradient of " + tensor,
                loss,
                parameter == null ? "" : ", first gradient " + parameter));
  }

  /** The blocks of step {@code step} (from 0): the next of its epoch's order. */
  private List<TrainingBlock> blocksOf(int step) {
    int epoch = step / stepsPerEpoch();
    List<TrainingBlock> order = new ArrayList<>(training);
    order.addAll(alongside.subList(epoch * alongsideAnEpoch(), (epoch + 1) * alongsideAnEpoch()));
    if (options.shuffle()) {
      Collections.shuffle(order, new Random(31 * options.seed() + epoch + 1));
    }
    int size = options.batch() * options.accumulate();
    int from = step % stepsPerEpoch() * size;
    return order.subList(from, Math.min(order.size(), from + size));
  }

  private boolean evaluates(int step, int steps) {
    return labelled(heldOut) > 0 && (step == steps || step % Math.ceilDiv(steps, EVALUATIONS) == 0);
  }

  private TrainingState.Position evaluate(
      TrainingState.Position position, Llama llama, TrainingState state, Path directory)
      throws IOException {
    double loss = heldOutLoss(llama);
    boolean best = loss < position.bestLoss();
    listener.evaluated(position.step(), loss, best);
    if (!best) {
      return position;
    }
    var improved = new TrainingState.Position(position.step(), position.step(), loss);
    state.saveBest(directory, improved);
    return improved;
  }

  private double heldOutLoss(Llama llama) {
    double loss = 0;
    for (TrainingBlock block : heldOut) {
      Batch batch = Batch.of(List.of(block));
      loss += llama.loss(batch.tokens, batch.targets, 1);
    }
    return loss / labelled(heldOut);
  }

  /**
   * Blocks side by side, padded at the end to the longest: causal attention keeps padding from what
   * is before it, and it has no label.
   */
  private record Batch(int[] tokens, int[] targets, int blocks) {
    static Batch of(List<TrainingBlock> list) {
      int length = list.stream().mapToInt(b -> b.inputs().length).max().orElseThrow();
      int[] tokens = new int[list.size() * length];
      int[] targets = new int[tokens.length];
      Arrays.fill(targets, Kernels.IGNORE);
      for (int b = 0; b < list.size(); b++) {
        int[] inputs = list.get(b).inputs();
        int[] labels = list.get(b).labels();
        System.arraycopy(inputs, 0, tokens, b * length, inputs.length);
        System.arraycopy(labels, 1, targets, b * length, labels.length - 1);
      }
      return new Batch(tokens, targets, list.size());
    }
  }
}
