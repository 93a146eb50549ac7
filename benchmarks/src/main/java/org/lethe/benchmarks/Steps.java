package org.lethe.benchmarks;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.ArrayList;
import java.util.List;
import org.jspecify.annotations.Nullable;
import org.lethe.format.Checkpoint;
import org.lethe.kernels.DType;
import org.lethe.kernels.Device;
import org.lethe.kernels.Kernels;
import org.lethe.kernels.Tensor;
import org.lethe.model.KeyValueCache;
import org.lethe.model.Llama;
import org.lethe.model.LlamaConfig;
import org.lethe.model.LlamaParameters;
import org.lethe.model.LlamaWeights;
import org.lethe.model.LlamaWork;
import org.lethe.model.Operation;
import org.lethe.model.ParameterSource;

/** Whole passes of a model over random tokens: training steps, forward passes, decoded tokens. */
final class Steps implements AutoCloseable {
  /** Tokens that decoding goes on for before it begins again. */
  static final int CACHE = 256;

  private final Device device;
  private final LlamaConfig config;
  private final DType dtype;
  private final int blocks;
  private final int length;
  private final LlamaWeights weights;
  private final Llama llama;
  private final int[] tokens;
  private final int[] targets;
  private final int[] token = new int[1];
  private final List<int[]> latest = List.of(token);
  private final Tensor best;
  private final Arena host = Arena.ofShared();
  private final MemorySegment staged = host.allocate(ValueLayout.JAVA_INT);
  private @Nullable Tensor gradient;
  private @Nullable Tensor m;
  private @Nullable Tensor v;
  private @Nullable LlamaParameters gradients;
  private @Nullable KeyValueCache cache;
  private long step;

  /** Random weights; {@code training} keeps them exact and makes room for gradients and moments. */
  Steps(Device device, DType dtype, LlamaConfig config, int blocks, int length, boolean training) {
    this(device, dtype, config, new RandomModel(), blocks, length, training);
  }

  /** The weights of a checkpoint. */
  Steps(
      Device device, DType dtype, Checkpoint checkpoint, int blocks, int length, boolean training) {
    this(device, dtype, checkpoint.config(), checkpoint, blocks, length, training);
  }

  private Steps(
      Device device,
      DType dtype,
      LlamaConfig config,
      ParameterSource source,
      int blocks,
      int length,
      boolean training) {
    this.device = device;
    this.dtype = dtype;
    this.config = config;
    this.blocks = blocks;
    this.length = length;
    weights = LlamaWeights.load(device, config, source, dtype, training);
    llama = new Llama(weights);
    best = device.allocate("best", DType.I32, 1);
    tokens = Noise.tokens(config.vocabulary(), 1, blocks * length);
    targets = targets(tokens, length);
    if (training) {
      long n = weights.parameters().flat().elements();
      gradient = zeros("gradients", n);
      m = zeros("first moments", n);
      v = zeros("second moments", n);
      gradients = new LlamaParameters(config, gradient);
    }
  }

  private Tensor zeros(String name, long n) {
    Tensor tensor = device.allocate(name, DType.F32, n);
    device.kernels().fill(tensor, 0);
    return tensor;
  }

  /** Each position's next token; the last of a block has none. */
  private static int[] targets(int[] tokens, int length) {
    int[] targets = new int[tokens.length];
    for (int i = 0; i < tokens.length; i++) {
      targets[i] = (i + 1) % length == 0 ? Kernels.IGNORE : tokens[i + 1];
    }
    return targets;
  }

  LlamaConfig config() {
    return config;
  }

  LlamaWeights weights() {
    return weights;
  }

  /** Forward, backward and AdamW; the sum of the losses. */
  double train() {
    if (gradient == null || gradients == null || m == null || v == null) {
      throw new IllegalStateException("these steps were not made to train");
    }
    double loss =
        llama.train(tokens, targets, blocks, 1f / (blocks * (length - 1)), gradients, false);
    device
        .kernels()
        .adamw(
            weights.parameters().flat(),
            weights.low(),
            gradient,
            m,
            v,
            new Kernels.AdamW(1e-6f, 0.9f, 0.999f, 1e-8f, 0, 1, ++step, 1),
            0);
    return finite(loss);
  }

  /** Forward with the loss of every position; their sum. */
  double forward() {
    return finite(llama.loss(tokens, targets, blocks));
  }

  /** One more token, greedily, after up to 255 others. */
  int decode() {
    if (cache == null) {
      cache = new KeyValueCache(weights, CACHE);
    }
    if (cache.length(0) == CACHE) {
      cache.clear();
    }
    device.kernels().argmax(best, llama.decode(latest, cache));
    best.copyTo(staged);
    token[0] = staged.get(ValueLayout.JAVA_INT, 0);
    if (token[0] < 0 || token[0] >= config.vocabulary()) {
      throw new IllegalStateException("the next token is " + token[0]);
    }
    return token[0];
  }

  /** What {@link #train} does, in order. */
  List<Operation> training() {
    var training =
        new ArrayList<>(
            LlamaWork.training(config, dtype, DType.F32, blocks, 1, length, Llama.Memory.DEFAULT));
    // Gradients read, weights and two moments read and written.
    double bytes = 7.0 * Float.BYTES * config.parameters();
    training.add(new Operation("AdamW", 0, bytes, false));
    return training;
  }

  /** The floating-point operations of {@link #train}. */
  double trainingFlops() {
    return LlamaWork.flops(training());
  }

  /** The floating-point operations of {@link #forward}. */
  double forwardFlops() {
    return LlamaWork.flops(LlamaWork.losses(config, dtype, blocks, length));
  }

  private static double finite(double loss) {
    if (!(loss > 0 && Double.isFinite(loss))) {
      throw new IllegalStateException("the loss is " + loss);
    }
    return loss;
  }

  @Override
  public void close() {
    if (cache != null) {
      cache.close();
    }
    best.close();
    host.close();
    llama.close();
    for (Tensor tensor : new @Nullable Tensor[] {gradient, m, v}) {
      if (tensor != null) {
        tensor.close();
      }
    }
    weights.close();
  }
}
