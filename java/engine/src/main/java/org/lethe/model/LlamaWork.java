package org.lethe.model;

import java.util.ArrayList;
import java.util.List;
import org.lethe.kernels.DType;
import org.lethe.kernels.Kernels;

/**
 * What the passes of {@link Llama} compute and move, kernel by kernel in its order. Attention
 * counts the causal half of its products; a token counts where padding makes it one.
 */
public final class LlamaWork {
  private final LlamaConfig config;
  private final Llama.Memory memory;
  private final double e; // bytes of an activation or weight
  private final double g; // bytes of a gradient
  private final double n; // tokens of a pass
  private final double pairs; // of a query and a key that it sees, over all heads
  private final double d;
  private final double f;
  private final double queries;
  private final double qkv;
  private double gradientMoves = 1; // of an element of a gradient, in a pass
  private final List<Operation> operations = new ArrayList<>();

  private LlamaWork(
      LlamaConfig config, DType dtype, DType gradientType, Llama.Memory memory, Kernels.Heads h) {
    this.config = config;
    this.memory = memory;
    e = dtype.bytes();
    g = gradientType.bytes();
    n = h.B() * h.T();
    pairs = n * (h.T() + 1) / 2 * h.Hq();
    d = config.width();
    f = config.feedForward();
    queries = config.queryWidth();
    qkv = config.queryWidth() + 2.0 * config.kvWidth();
  }

  /**
   * Forward and backward over {@code passes} times {@code blocks} of {@code length} tokens, every
   * one labelled. The first pass writes its gradients, the others add theirs.
   */
  public static List<Operation> training(
      LlamaConfig config,
      DType dtype,
      DType gradientType,
      int blocks,
      int passes,
      int length,
      Llama.Memory memory) {
    Kernels.Heads heads = Activations.heads(config, blocks, Llama.padded(blocks, length));
    var work = new LlamaWork(config, dtype, gradientType, memory, heads);
    work.gradientMoves = (2.0 * passes - 1) / passes;
    work.forward();
    work.head(true);
    work.backward();
    return work.operations.stream().map(operation -> operation.times(passes)).toList();
  }

  /** The losses of {@code blocks} blocks of {@code length} tokens, every one labelled. */
  public static List<Operation> losses(LlamaConfig config, DType dtype, int blocks, int length) {
    Kernels.Heads heads = Activations.heads(config, blocks, Llama.padded(blocks, length));
    var work = new LlamaWork(config, dtype, dtype, Llama.Memory.DEFAULT, heads);
    work.forward();
    work.head(false);
    return work.operations;
  }

  /** One token after {@code cached} others, of one sequence. */
  public static Operation decoding(LlamaConfig config, DType dtype, int cached) {
    double matrices = matrices(config);
    double read = (double) config.layers() * cached;
    return new Operation(
        "decoding",
        2 * matrices + 4 * read * config.queryWidth(),
        dtype.bytes() * (matrices + 2 * read * config.kvWidth()),
        false);
  }

  /** The weights that a token is multiplied with: those of the layers' matrices and the head. */
  public static double matrices(LlamaConfig config) {
    double norms = (2.0 * config.layers() + 1) * config.width();
    double embedding = config.tiedHead() ? 0 : (double) config.vocabulary() * config.width();
    return config.parameters() - norms - embedding;
  }

  /** The floating-point operations of all of them. */
  public static double flops(List<Operation> operations) {
    return operations.stream().mapToDouble(Operation::flops).sum();
  }

  /** The logits of {@code blocks} blocks of {@code length} tokens. */
  public static List<Operation> logits(LlamaConfig config, DType dtype, int blocks, int length) {
    Kernels.Heads heads = Activations.heads(config, blocks, Llama.padded(blocks, length));
    var work = new LlamaWork(config, dtype, dtype, Llama.Memory.DEFAULT, heads);
    work.forward();
    work.add("head logits", work.product(work.n, config.vocabulary(), work.d, 4));
    return work.operations;
  }

  private void forward() {
    int layers = config.layers();
    add("forward embedding", moved(2 * n * d));
    add("forward input norm", moved(4 * n * d).times(layers));
    layer("forward ", false, layers);
    add("forward swiglu", moved(3 * n * f).times(layers));
    add("forward down", product(n, d, f, e).times(layers));
    add("forward last norm", moved(4 * n * d));
  }

  /** From the normed input to gate and up. */
  private void layer(String pass, boolean again, int times) {
    add(pass + "qkv", again, product(n, qkv, d, e).times(times));
    add(pass + "rope", again, moved(2 * n * (queries + config.kvWidth())).times(times));
    add(pass + "attention", again, attention(2, qkv + queries).times(times));
    add(pass + "output", again, product(n, d, queries, e).times(times));
    add(pass + "post norm", again, moved(4 * n * d).times(times));
    add(pass + "gate and up", again, product(n, 2 * f, d, e).times(times));
  }

  private void head(boolean training) {
    double v = config.vocabulary();
    double rows = Math.min(n, memory.headRows());
    double chunks = n / rows;
    add("head gather", moved(2 * n * d));
    add("head logits", product(rows, v, d, e).times(chunks));
    add("head cross entropy", moved((training ? 2 : 1) * n * v));
    if (!training) {
      return;
    }
    double moves = (2 * chunks - 2) / chunks + gradientMoves / chunks;
    add("head d_weight", weightGradient(v, d, rows, moves).times(chunks));
    add("head d_input", product(rows, d, v, e).times(chunks));
    add("head scatter", moved(2 * n * d));
  }

  private void backward() {
    int layers = config.layers();
    add("backward last norm", moved(3 * n * d));
    if (memory.recompute()) {
      int again = layers - 1;
      add("again input norm", true, moved(2 * n * d).times(again));
      layer("again ", true, again);
    }
    add("backward norms, forward", moved(2 * 2 * n * d).times(layers));
    add("backward swiglu, forward", moved(3 * n * f).times(layers));
    add("backward down, d_weight", weightGradient(d, f, n, gradientMoves).times(layers));
    add("backward down, d_input", product(n, f, d, e).times(layers));
    add("backward swiglu", moved(5 * n * f).times(layers));
    add("backward gate and up, d_weight", weightGradient(2 * f, d, n, gradientMoves).times(layers));
    add("backward gate and up, d_input", product(n, d, 2 * f, e).times(layers));
    add("backward norms", moved(2 * 4 * n * d).times(layers));
    add("backward output, d_weight", weightGradient(d, queries, n, gradientMoves).times(layers));
    add("backward output, d_input", product(n, queries, d, e).times(layers));
    add("backward attention", attention(5, 2 * qkv + 2 * queries).times(layers));
    add("backward rope", moved(2 * n * (queries + config.kvWidth())).times(layers));
    add("backward qkv, d_weight", weightGradient(qkv, d, n, gradientMoves).times(layers));
    add("backward qkv, d_input", product(n, d, qkv, e).times(layers));
    add("backward embedding", new Operation("", 0, n * d * (e + 2 * g), false));
  }

  /** (rows, columns) of {@code bytes} an element = (rows, inner) (inner, columns). */
  private Operation product(double rows, double columns, double inner, double bytes) {
    return new Operation(
        "",
        2 * rows * columns * inner,
        e * (rows * inner + inner * columns) + bytes * rows * columns,
        false);
  }

  /** (rows, columns) = or += over {@code tokens}. */
  private Operation weightGradient(double rows, double columns, double tokens, double moves) {
    return product(rows, columns, tokens, moves * g);
  }

  /** {@code products} of D over every pair; {@code width} elements a token read and written. */
  private Operation attention(int products, double width) {
    double lse = 4 * n * config.heads();
    return new Operation(
        "", products * 2.0 * config.headSize() * pairs, e * n * width + lse, false);
  }

  private Operation moved(double elements) {
    return new Operation("", 0, e * elements, false);
  }

  private void add(String name, Operation what) {
    add(name, false, what);
  }

  private void add(String name, boolean again, Operation what) {
    operations.add(new Operation(name, what.flops(), what.bytes(), again));
  }
}
