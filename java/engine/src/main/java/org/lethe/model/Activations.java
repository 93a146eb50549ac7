package org.lethe.model;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.function.ToLongFunction;
import org.jspecify.annotations.Nullable;
import org.lethe.kernels.DType;
import org.lethe.kernels.Device;
import org.lethe.kernels.Kernels;
import org.lethe.kernels.MemoryPlan;
import org.lethe.kernels.Tensor;

/**
 * Everything a pass over N = B T tokens writes, in one allocation. To train, each layer keeps what
 * its backward reads (norms and SwiGLU are computed again instead: cheaper than their memory), or
 * its input alone; what is not kept, all layers share.
 */
final class Activations implements AutoCloseable {
  /** What the layers keep of a pass. */
  enum Keep {
    /** Nothing: no backward follows. */
    NOTHING,
    /** Their inputs: the backward runs each layer forward again. */
    INPUTS,
    /** All that the backward reads. */
    ALL
  }

  /**
   * What a layer writes; (N, ...) each.
   *
   * @param input the residual stream before the layer (d)
   * @param qkv queries, keys and values side by side, turned by RoPE
   * @param attention (Hq D)
   * @param lse (B, Hq, T)
   * @param middle the residual stream between attention and feed-forward (d)
   * @param gateUp (2 F)
   */
  record Layer(
      Tensor input,
      Tensor qkv,
      Tensor q,
      Tensor k,
      Tensor v,
      Tensor qk,
      Tensor attention,
      Tensor lse,
      Tensor middle,
      Tensor gateUp,
      Tensor gate,
      Tensor up) {}

  final Kernels.Heads heads;
  final Keep keep;
  final List<Layer> layers = new ArrayList<>();
  final Tensor tokens; // (N)
  final Tensor positions; // (N)
  final Tensor normed; // (N, d): what the products of a layer read
  final Tensor rstd; // (N)
  final Tensor branch; // (N, d): what a half of a layer adds to the residual stream
  final Tensor swiglu; // (N, F)
  final Tensor output; // (N, d): the residual stream after the last layer
  final Tensor outputRstd; // (N)

  // The head: S <= N selected rows, at most headRows of them at a time.
  final Tensor rows; // (N): which
  final Tensor selected; // (N, d)
  final Tensor targets; // (N)
  final Tensor loss; // (N)
  final int headRows;
  final Tensor logits; // (headRows, V)
  final Tensor lastLogits; // (B, V): those of decoding

  final @Nullable QkvGradient dQkv; // null without training

  /** The gradients of queries, keys and values: views of one tensor. */
  record QkvGradient(Tensor dQkv, Tensor dQ, Tensor dK, Tensor dV, Tensor dQk) {}

  /**
   * The rows that go through the head, and some of them at a time.
   *
   * @param count how many
   * @param selected they (S, d), padded to S
   * @param rows which (S)
   * @param chunks of them, in order
   * @param loss of each (count)
   * @param losses room for them on the host
   * @param dSelected the gradient of those that count (count, d); null without training
   * @param counted which those are (count)
   */
  record Selection(
      int count,
      Tensor selected,
      Tensor rows,
      List<Chunk> chunks,
      Tensor loss,
      MemorySegment losses,
      @Nullable Tensor dSelected,
      Tensor counted) {}

  /** Some rows of a selection, C at a time: inputs (C, d), logits (C, V), targets, losses. */
  record Chunk(
      Tensor inputs, Tensor logits, Tensor targets, Tensor loss, @Nullable Tensor dInputs) {}

  private final MemoryPlan.Arena arena;
  private final LlamaConfig config;
  private final Arena host = Arena.ofShared();
  private final MemorySegment staged; // 4 N bytes, kept: a step allocates nothing
  private final int[] firsts; // the position of each block's first token, as the device has it
  private final int[] beginnings; // B zeros
  private @Nullable Selection selection; // the latest, for as many rows again

  @SuppressWarnings("MustBeClosedChecker") // they own their arena and close it
  Activations(
      Device device, LlamaConfig config, DType dtype, long B, long T, Keep keep, int headRows) {
    this.config = config;
    this.heads = heads(config, B, T);
    this.keep = keep;
    this.headRows = headRows;
    ToLongFunction<Kernels.Heads> workspace =
        h -> device.kernels().attentionBackwardWorkspace(dtype, h);
    arena = plan(config, dtype, heads, keep, headRows, workspace).allocate(device);
    for (int l = 0; l < config.layers(); l++) {
      layers.add(layer(training() ? l : 0, keep == Keep.ALL ? l : 0));
    }
    tokens = arena.get("tokens");
    positions = arena.get("positions");
    normed = arena.get("normed");
    rstd = arena.get("rstd");
    branch = arena.get("branch");
    swiglu = arena.get("swiglu");
    output = training() ? arena.get("output") : layers.getFirst().input;
    outputRstd = arena.get("output rstd");
    rows = arena.get("rows");
    selected = arena.get("selected");
    targets = arena.get("targets");
    loss = arena.get("loss");
    logits = arena.get("logits");
    lastLogits = logits.rows(0, Math.min(B, logits.rows()));
    firsts = new int[Math.toIntExact(B)];
    Arrays.fill(firsts, -1);
    beginnings = new int[firsts.length];
    dQkv = training() ? qkvGradient() : null;
    staged = host.allocate(tokens() * Integer.BYTES, Long.BYTES);
  }

  static Kernels.Heads heads(LlamaConfig config, long B, long T) {
    return new Kernels.Heads(B, T, config.heads(), config.kvHeads(), config.headSize());
  }

  /**
   * What such a pass takes, by name.
   *
   * @param workspace bytes that the device's attention backward needs
   */
  static MemoryPlan plan(
      LlamaConfig config,
      DType dtype,
      Kernels.Heads h,
      Keep keep,
      int headRows,
      ToLongFunction<Kernels.Heads> workspace) {
    boolean training = keep != Keep.NOTHING;
    long n = h.B() * h.T();
    long d = config.width();
    long f = config.feedForward();
    long qkv = config.queryWidth() + 2L * config.kvWidth();
    var plan = new MemoryPlan("activations");
    for (int l = 0; l < (training ? config.layers() : 1); l++) {
      plan.add("input." + l, dtype, n, d);
    }
    for (int l = 0; l < (keep == Keep.ALL ? config.layers() : 1); l++) {
      plan.add("qkv." + l, dtype, n, qkv)
          .add("attention." + l, dtype, n, config.queryWidth())
          .add("lse." + l, DType.F32, h.B(), h.Hq(), h.T())
          .add("gate_up." + l, dtype, n, 2 * f);
      if (training) {
        plan.add("middle." + l, dtype, n, d);
      }
    }
    plan.add("tokens", DType.I32, n)
        .add("positions", DType.I32, n)
        .add("normed", dtype, n, d)
        .add("rstd", DType.F32, n)
        .add("branch", dtype, n, d)
        .add("swiglu", dtype, n, f)
        .add("output rstd", DType.F32, n)
        .add("rows", DType.I32, n)
        .add("selected", dtype, n, d)
        .add("targets", DType.I32, n)
        .add("loss", DType.F32, n)
        .add("logits", training ? dtype : DType.F32, Math.min(n, headRows), config.vocabulary());
    if (training) {
      plan.add("output", dtype, n, d)
          .add("d_stream", dtype, n, d)
          .add("d_normed", dtype, n, d)
          .add("d_selected", dtype, n, d)
          .add("d_attention", dtype, n, config.queryWidth())
          .add("d_qkv", dtype, n, qkv)
          .add("d_swiglu", dtype, n, f)
          .add("attention workspace", DType.BYTE, Math.max(1, workspace.applyAsLong(h)));
    }
    return plan;
  }

  /** A layer whose input is the one of layer {@code l}, and all else of set {@code s}. */
  private Layer layer(int l, int s) {
    Tensor qkv = arena.get("qkv." + s);
    Tensor gateUp = arena.get("gate_up." + s);
    Tensor input = arena.get("input." + l);
    long queries = config.queryWidth();
    long keys = config.kvWidth();
    long f = config.feedForward();
    return new Layer(
        input,
        qkv,
        qkv.columns(0, queries),
        qkv.columns(queries, keys),
        qkv.columns(queries + keys, keys),
        qkv.columns(0, queries + keys),
        arena.get("attention." + s),
        arena.get("lse." + s),
        training() ? arena.get("middle." + s) : input,
        gateUp,
        gateUp.columns(0, f),
        gateUp.columns(f, f));
  }

  /** Puts B blocks of tokens, padded to T with token 0, on the device; they begin at position 0. */
  void set(int[] values) {
    int length = values.length / firsts.length;
    staged.fill((byte) 0);
    for (int b = 0; b < firsts.length; b++) {
      stage(values, b * length, length, b);
    }
    tokens.copyFrom(staged);
    setPositions(beginnings);
  }

  /** The same for blocks of any lengths up to T, the first token of each at that position. */
  void set(List<int[]> blocks, int[] positions) {
    staged.fill((byte) 0);
    for (int b = 0; b < firsts.length; b++) {
      stage(blocks.get(b), 0, blocks.get(b).length, b);
    }
    tokens.copyFrom(staged);
    setPositions(positions);
  }

  private void stage(int[] values, int from, int count, int block) {
    long start = block * heads.T() * Integer.BYTES;
    MemorySegment.copy(values, from, staged, ValueLayout.JAVA_INT, start, count);
  }

  private void setPositions(int[] wanted) {
    if (Arrays.equals(firsts, wanted)) {
      return;
    }
    int length = Math.toIntExact(heads.T());
    for (int i = 0; i < tokens(); i++) {
      staged.setAtIndex(ValueLayout.JAVA_INT, i, wanted[i / length] + i % length);
    }
    positions.copyFrom(staged);
    System.arraycopy(wanted, 0, firsts, 0, wanted.length);
  }

  /** The last of each block's rows of {@code normed}, as (B, d). */
  Tensor last(Kernels kernels, List<int[]> blocks) {
    if (heads.T() == 1) {
      return normed;
    }
    for (int b = 0; b < firsts.length; b++) {
      long row = b * heads.T() + blocks.get(b).length - 1;
      staged.setAtIndex(ValueLayout.JAVA_INT, b, Math.toIntExact(row));
    }
    rows.copyFrom(staged);
    Tensor gathered = selected.rows(0, firsts.length);
    kernels.gatherRows(gathered, normed, rows.view("rows", 0, firsts.length));
    return gathered;
  }

  /** Puts the positions that {@code wanted} has a target for, and the targets, on the device. */
  Selection select(int[] wanted) {
    int length = wanted.length / Math.toIntExact(heads.B());
    int padded = Math.toIntExact(heads.T());
    int count = 0;
    staged.fill((byte) 0);
    for (int i = 0; i < wanted.length; i++) {
      if (wanted[i] != Kernels.IGNORE) {
        staged.setAtIndex(ValueLayout.JAVA_INT, count++, i / length * padded + i % length);
      }
    }
    rows.copyFrom(staged);
    long n = tokens();
    for (int i = 0; i < n; i++) {
      staged.setAtIndex(ValueLayout.JAVA_INT, i, Kernels.IGNORE);
    }
    int target = 0;
    for (int wantedToken : wanted) {
      if (wantedToken != Kernels.IGNORE) {
        staged.setAtIndex(ValueLayout.JAVA_INT, target++, wantedToken);
      }
    }
    targets.copyFrom(staged);
    if (selection == null || selection.count != count) {
      selection = selection(count);
    }
    return selection;
  }

  private Selection selection(int count) {
    long padded = Math.min(Llama.padded(1, count), tokens());
    Tensor some = selected.rows(0, padded);
    Tensor dSome = training() ? get("d_selected").rows(0, padded) : null;
    var chunks = new ArrayList<Chunk>();
    for (long from = 0; from < padded; from += headRows) {
      long size = Math.min(headRows, padded - from);
      chunks.add(
          new Chunk(
              some.rows(from, size),
              logits.rows(0, size),
              targets.view("targets", from, size),
              loss.view("loss", from, size),
              dSome == null ? null : dSome.rows(from, size)));
    }
    return new Selection(
        count,
        some,
        rows.view("rows", 0, padded),
        chunks,
        loss.view("loss", 0, count),
        staged.asSlice(0, (long) count * Float.BYTES),
        dSome == null ? null : dSome.rows(0, count),
        rows.view("rows", 0, count));
  }

  /** The sum of a selection's losses. */
  double sumOfLosses(Selection s) {
    s.loss.copyTo(s.losses);
    double sum = 0;
    for (int i = 0; i < s.count; i++) {
      sum += s.losses.getAtIndex(ValueLayout.JAVA_FLOAT, i);
    }
    return sum;
  }

  private QkvGradient qkvGradient() {
    Tensor dQkv = get("d_qkv");
    long queries = config.queryWidth();
    long keys = config.kvWidth();
    return new QkvGradient(
        dQkv,
        dQkv.columns(0, queries),
        dQkv.columns(queries, keys),
        dQkv.columns(queries + keys, keys),
        dQkv.columns(0, queries + keys));
  }

  /** Whether a backward follows. */
  boolean training() {
    return keep != Keep.NOTHING;
  }

  /** A tensor that only training has. */
  Tensor get(String name) {
    return arena.get(name);
  }

  long tokens() {
    return heads.B() * heads.T();
  }

  @Override
  public void close() {
    host.close();
    arena.close();
  }
}
