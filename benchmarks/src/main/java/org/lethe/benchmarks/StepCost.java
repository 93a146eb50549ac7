package org.lethe.benchmarks;

import java.util.ArrayList;
import java.util.List;
import org.lethe.kernels.DType;
import org.lethe.model.Llama;
import org.lethe.model.LlamaConfig;
import org.lethe.model.LlamaParameters;

/**
 * The floating-point operations and bytes of a pass, operation by operation: what its equations ask
 * for, each operand moved once. Activations are of {@code dtype}, gradients and moments F32.
 */
final class StepCost {
  /**
   * All calls of an operation in a pass.
   *
   * @param name the kernel, and which of its uses
   * @param kernel as {@code lethe.h} has it, without its prefix; products as {@link #matmul} has
   *     them
   * @param calls in a pass
   * @param flop of all calls
   * @param bytes of all calls
   */
  record Cost(String name, String kernel, long calls, double flop, double bytes) {
    double seconds(Ceilings ceilings) {
      return Math.max(flop / ceilings.flops(), bytes / ceilings.bytes());
    }
  }

  private final LlamaConfig c;
  private final DType dtype;
  private final double tokens; // N
  private final int length; // T
  private final List<Cost> costs = new ArrayList<>();

  private StepCost(LlamaConfig config, DType dtype, int blocks, int length) {
    this.c = config;
    this.dtype = dtype;
    this.tokens = (double) blocks * length;
    this.length = length;
  }

  /** Forward, backward (norms and SwiGLU computed again), and AdamW. */
  static List<Cost> training(LlamaConfig config, DType dtype, int blocks, int length) {
    var step = new StepCost(config, dtype, blocks, length);
    step.layers(true);
    step.head(true);
    step.optimizer();
    return step.costs;
  }

  /** Forward with the loss of every position. */
  static List<Cost> forward(LlamaConfig config, DType dtype, int blocks, int length) {
    var step = new StepCost(config, dtype, blocks, length);
    step.layers(false);
    step.head(false);
    return step.costs;
  }

  /** One token after {@code cached} others: every weight is read once. */
  static Cost decoding(LlamaConfig config, DType dtype, int cached) {
    double matrices = matrices(config);
    double cache = 2.0 * cached * config.kvWidth() * config.layers();
    double attention = 4.0 * cached * config.queryWidth() * config.layers();
    return new Cost(
        "decoding", "", 1, 2 * matrices + attention, dtype.bytes() * (matrices + cache));
  }

  static double flop(List<Cost> costs) {
    return costs.stream().mapToDouble(Cost::flop).sum();
  }

  static double bytes(List<Cost> costs) {
    return costs.stream().mapToDouble(Cost::bytes).sum();
  }

  /** Numbers that a token is multiplied with: all matrices, the head among them. */
  static double matrices(LlamaConfig c) {
    double layer =
        (double) c.width() * (2.0 * c.queryWidth() + 2.0 * c.kvWidth())
            + 3.0 * c.width() * c.feedForward();
    return c.layers() * layer + (double) c.vocabulary() * c.width();
  }

  /** A product by its layout and its weight (out, in). */
  static String matmul(String layout, long out, long in) {
    return "matmul %s %d %d".formatted(layout, out, in);
  }

  private void layers(boolean training) {
    long l = c.layers();
    int again = training ? 2 : 1; // forward and once more in the backward
    double d = tokens * c.width();
    double f = tokens * c.feedForward();
    double q = tokens * c.queryWidth();
    double kv = tokens * c.kvWidth();
    add("embedding", "embedding", 1, 0, 2 * d);
    add("rmsnorm", "rmsnorm", 2 * l + 1, 5 * d, 4 * d);
    product("q, k, v", l, l, c.queryWidth() + 2L * c.kvWidth(), c.width(), tokens, training);
    product("attention output", l, l, c.width(), c.queryWidth(), tokens, training);
    product("gate, up", l, l, 2L * c.feedForward(), c.width(), tokens, training);
    product("down", l, l, c.width(), c.feedForward(), tokens, training);
    add("rope", "rope", again * l, 3 * (q + kv), 2 * (q + kv));
    double scores = 2 * q * (length + 1) / 2; // a product of queries and keys, the causal half
    add("attention", "attention", l, 2 * scores, 2 * (q + kv));
    add("swiglu", "swiglu", again * l, 5 * f, 3 * f);
    if (training) {
      add("rmsnorm again", "rmsnorm", 2 * l, 4 * d, 2 * d);
      add("rmsnorm backward", "rmsnorm_backward", 2 * l + 1, 10 * d, 4 * d);
      add("attention backward", "attention_backward", l, 5 * scores, 4 * (q + kv));
      add("swiglu backward", "swiglu_backward", l, 12 * f, 5 * f);
      costs.add(
          new Cost(
              "embedding backward", "embedding_backward", 1, d, d * (dtype.bytes() + 2.0 * 4)));
    }
  }

  private void head(boolean training) {
    double logits = tokens * c.vocabulary();
    long chunks = Math.ceilDiv((long) tokens, Llama.Memory.DEFAULT.headRows());
    product("head", chunks, 1, c.vocabulary(), c.width(), tokens / chunks, training);
    double part = logits / chunks;
    add(
        "cross entropy",
        "cross_entropy",
        chunks,
        (training ? 8 : 4) * part,
        (training ? 2 : 1) * part);
    add("select rows", "gather_rows", 1, 0, 2 * tokens * c.width());
    if (training) {
      add("select rows backward", "scatter_rows", 1, 0, 2 * tokens * c.width());
    }
  }

  private void optimizer() {
    double n = LlamaParameters.elements(c);
    costs.add(new Cost("adamw", "adamw", 1, 12 * n, n * (2 * 4 + 4 + 4 * 4)));
  }

  /**
   * y (rows, out) = x (rows, in) Wᵀ; backward dx = dy W and dW (F32) = or += dyᵀ x: the first call
   * for each of the weights writes it.
   */
  private void product(
      String name, long calls, long weights, long out, long in, double rows, boolean training) {
    double flop = 2 * rows * out * in;
    double operands = rows * in + (double) out * in + rows * out;
    add(name, matmul("NT", out, in), calls, flop, operands);
    if (training) {
      add(name + ", d input", matmul("NN", out, in), calls, flop, operands);
      costs.add(
          new Cost(
              name + ", d weight",
              matmul("TN", out, in),
              calls,
              calls * flop,
              calls * dtype.bytes() * rows * (in + out) + (2.0 * calls - weights) * 4 * out * in));
    }
  }

  private void add(String name, String kernel, long calls, double flop, double elements) {
    costs.add(new Cost(name, kernel, calls, calls * flop, calls * elements * dtype.bytes()));
  }
}
