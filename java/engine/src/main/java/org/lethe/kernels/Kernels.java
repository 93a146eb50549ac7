package org.lethe.kernels;

import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.MemoryLayout;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.lang.invoke.MethodHandle;
import java.util.Arrays;
import org.jspecify.annotations.Nullable;

/**
 * The operations of a device, one method each, in the order of {@code native/include/lethe.h},
 * which defines them. Shapes are checked here, so that no size that does not fit its memory ever
 * crosses the border; what the device refuses or fails at is thrown as a {@link DeviceException}.
 *
 * <p>Shapes in comments: N tokens (B blocks of T), d the model's width, V the vocabulary, Hq and
 * Hkv heads of size D, F the width of the feed-forward layer.
 */
public final class Kernels {
  /** A target that asks for nothing: loss 0, gradient 0. */
  public static final int IGNORE = -100;

  /** Which operands of a matrix product are transposed. */
  public enum Layout {
    /** C = A B, with A (M, K) and B (K, N). */
    NN(0),
    /** C = A Bᵀ, with A (M, K) and B (N, K). */
    NT(1),
    /** C = Aᵀ B, with A (K, M) and B (K, N). */
    TN(2);

    private final int code;

    Layout(int code) {
      this.code = code;
    }
  }

  private static final int HOST_TO_DEVICE = 0;
  private static final int DEVICE_TO_HOST = 1;
  private static final long DEFAULT_STREAM = 0;

  private final Device device;
  private final NativeLibrary library;
  private final Bound open = new Bound("open", "pp");
  private final Bound close = new Bound("close", "p");
  private final Bound describe = new Bound("describe", "ppl");
  private final Bound allocate = new Bound("allocate", "plp");
  private final Bound free = new Bound("free", "pp");
  private final Bound copy = new Bound("copy", "ppplip");
  private final Bound synchronize = new Bound("synchronize", "pp");
  private final Bound eventCreate = new Bound("event_create", "pp");
  private final Bound eventDestroy = new Bound("event_destroy", "pp");
  private final Bound eventRecord = new Bound("event_record", "ppp");
  private final Bound eventMilliseconds = new Bound("event_milliseconds", "pppp");
  private final Bound graphBegin = new Bound("graph_begin", "pp");
  private final Bound graphEnd = new Bound("graph_end", "ppp");
  private final Bound graphLaunch = new Bound("graph_launch", "ppp");
  private final Bound graphDestroy = new Bound("graph_destroy", "pp");
  private final Bound fill = new Bound("fill", "ppilfp");
  private final Bound convert = new Bound("convert", "ppipilp");
  private final Bound split = new Bound("split", "pppplp");
  private final Bound join = new Bound("join", "pppplp");
  private final Bound gatherRows = new Bound("gather_rows", "ppppilllp");
  private final Bound scatterRows = new Bound("scatter_rows", "ppppilllp");
  private final Bound embedding = new Bound("embedding", "ppppilllp");
  private final Bound embeddingBackward = new Bound("embedding_backward", "ppppiilllp");
  private final Bound rmsnorm = new Bound("rmsnorm", "pppppppillfp");
  private final Bound rmsnormBackward = new Bound("rmsnorm_backward", "ppppppppiillp");
  private final Bound rope = new Bound("rope", "pplppiillllp");
  private final Bound attention = new Bound("attention", "pplpplpplilllllfp");
  private final Bound attentionBackwardWorkspace =
      new Bound("attention_backward_workspace", "ppilllll");
  private final Bound attentionBackward =
      new Bound("attention_backward", "pplpplplplpplpplilllllfplp");
  private final Bound cacheWrite = new Bound("cache_write", "ppppplpilllllp");
  private final Bound attentionDecode = new Bound("attention_decode", "ppplpppilllllfp");
  private final Bound swiglu = new Bound("swiglu", "pppplillp");
  private final Bound swigluBackward = new Bound("swiglu_backward", "ppplppplillp");
  private final Bound matmul = new Bound("matmul", "ppliplpliiilllp");
  private final Bound packedBytes = new Bound("packed_bytes", "ppill");
  private final Bound pack = new Bound("pack", "pplplillp");
  private final Bound matmulPacked = new Bound("matmul_packed", "ppliplplplilllp");
  private final Bound crossEntropy = new Bound("cross_entropy", "pppppillfp");
  private final Bound tokenLogprobs = new Bound("token_logprobs", "ppppillp");
  private final Bound topK = new Bound("top_k", "ppppilllp");
  private final Bound argmax = new Bound("argmax", "pppillp");
  private final Bound genericLabels = new Bound("generic_labels", "ppppppppilllllp");
  private final Bound adamw = new Bound("adamw", "ppppppiiilfffffflllp");
  private final Bound sumOfSquares = new Bound("sum_of_squares", "pppilp");

  Kernels(Device device, NativeLibrary library) {
    this.device = device;
    this.library = library;
  }

  /**
   * A function of the library, bound when it is first called: that takes milliseconds, and few
   * programs call them all. Pointers are passed as the 64-bit integers they are: no object per
   * call.
   */
  final class Bound {
    private final String operation;
    private final String parameters;
    private @Nullable MethodHandle handle;

    /**
     * @param parameters a letter each: p pointer, l and i integer, f float
     */
    Bound(String operation, String parameters) {
      this.operation = operation;
      this.parameters = parameters;
    }

    MethodHandle handle() {
      MethodHandle bound = handle;
      if (bound == null) {
        bound = bind();
        handle = bound;
      }
      return bound;
    }

    private MethodHandle bind() {
      var layouts = new MemoryLayout[parameters.length()];
      for (int i = 0; i < layouts.length; i++) {
        layouts[i] =
            switch (parameters.charAt(i)) {
              case 'p', 'l' -> ValueLayout.JAVA_LONG;
              case 'i' -> ValueLayout.JAVA_INT;
              case 'f' -> ValueLayout.JAVA_FLOAT;
              default -> throw new AssertionError(parameters);
            };
      }
      MethodHandle call =
          library.bind("lethe_" + operation, FunctionDescriptor.of(ValueLayout.JAVA_INT, layouts));
      return RecordedCall.of(call, operation, parameters);
    }
  }

  // ---- the device -------------------------------------------------------------------------------

  long open(String options) {
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment result = arena.allocate(ValueLayout.JAVA_LONG);
      done(
          (int) open.handle().invokeExact(arena.allocateFrom(options).address(), result.address()));
      return result.get(ValueLayout.JAVA_LONG, 0);
    } catch (Throwable t) {
      throw rethrow(t);
    }
  }

  void close(long handle) {
    try {
      done((int) close.handle().invokeExact(handle));
    } catch (Throwable t) {
      throw rethrow(t);
    }
  }

  String describe() {
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment buffer = arena.allocate(8192);
      done(
          (int)
              describe.handle().invokeExact(device.handle(), buffer.address(), buffer.byteSize()));
      return buffer.getString(0);
    } catch (Throwable t) {
      throw rethrow(t);
    }
  }

  long allocate(long bytes) {
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment result = arena.allocate(ValueLayout.JAVA_LONG);
      done((int) allocate.handle().invokeExact(device.handle(), bytes, result.address()));
      return result.get(ValueLayout.JAVA_LONG, 0);
    } catch (Throwable t) {
      throw rethrow(t);
    }
  }

  void free(long address) {
    try {
      done((int) free.handle().invokeExact(device.handle(), address));
    } catch (Throwable t) {
      throw rethrow(t);
    }
  }

  void copyToDevice(long target, MemorySegment source, long bytes) {
    try {
      done(
          (int)
              copy.handle()
                  .invokeExact(
                      device.handle(),
                      target,
                      source.address(),
                      bytes,
                      HOST_TO_DEVICE,
                      DEFAULT_STREAM));
    } catch (Throwable t) {
      throw rethrow(t);
    }
  }

  void copyToHost(MemorySegment target, long source, long bytes) {
    try {
      done(
          (int)
              copy.handle()
                  .invokeExact(
                      device.handle(),
                      target.address(),
                      source,
                      bytes,
                      DEVICE_TO_HOST,
                      DEFAULT_STREAM));
    } catch (Throwable t) {
      throw rethrow(t);
    }
  }

  void synchronize() {
    try {
      done((int) synchronize.handle().invokeExact(device.handle(), DEFAULT_STREAM));
    } catch (Throwable t) {
      throw rethrow(t);
    }
  }

  long eventCreate() {
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment result = arena.allocate(ValueLayout.JAVA_LONG);
      done((int) eventCreate.handle().invokeExact(device.handle(), result.address()));
      return result.get(ValueLayout.JAVA_LONG, 0);
    } catch (Throwable t) {
      throw rethrow(t);
    }
  }

  void eventDestroy(long event) {
    try {
      done((int) eventDestroy.handle().invokeExact(device.handle(), event));
    } catch (Throwable t) {
      throw rethrow(t);
    }
  }

  void eventRecord(long event) {
    try {
      done((int) eventRecord.handle().invokeExact(device.handle(), event, DEFAULT_STREAM));
    } catch (Throwable t) {
      throw rethrow(t);
    }
  }

  double eventMilliseconds(long from, long to) {
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment result = arena.allocate(ValueLayout.JAVA_DOUBLE);
      done(
          (int)
              eventMilliseconds.handle().invokeExact(device.handle(), from, to, result.address()));
      return result.get(ValueLayout.JAVA_DOUBLE, 0);
    } catch (Throwable t) {
      throw rethrow(t);
    }
  }

  /** False where the device has no graphs. */
  boolean graphBegin() {
    try {
      int status = (int) graphBegin.handle().invokeExact(device.handle(), DEFAULT_STREAM);
      if (DeviceException.Status.of(status) == DeviceException.Status.UNSUPPORTED) {
        return false;
      }
      done(status);
      return true;
    } catch (Throwable t) {
      throw rethrow(t);
    }
  }

  long graphEnd() {
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment result = arena.allocate(ValueLayout.JAVA_LONG);
      done((int) graphEnd.handle().invokeExact(device.handle(), DEFAULT_STREAM, result.address()));
      return result.get(ValueLayout.JAVA_LONG, 0);
    } catch (Throwable t) {
      throw rethrow(t);
    }
  }

  void graphLaunch(long graph) {
    try {
      done((int) graphLaunch.handle().invokeExact(device.handle(), graph, DEFAULT_STREAM));
    } catch (Throwable t) {
      throw rethrow(t);
    }
  }

  void graphDestroy(long graph) {
    try {
      done((int) graphDestroy.handle().invokeExact(device.handle(), graph));
    } catch (Throwable t) {
      throw rethrow(t);
    }
  }

  // ---- moving and converting --------------------------------------------------------------------

  /** x = value. */
  public void fill(Tensor x, float value) {
    contiguous("fill", x);
    try {
      done(
          (int)
              fill.handle()
                  .invokeExact(
                      device.handle(),
                      at(x),
                      x.dtype().code(),
                      x.elements(),
                      value,
                      DEFAULT_STREAM));
    } catch (Throwable t) {
      throw rethrow(t);
    }
  }

  /** target = source, rounded to nearest even where narrowed. */
  public void convert(Tensor target, Tensor source) {
    contiguous("convert", target, source);
    if (target.elements() != source.elements()) {
      throw misfit("convert", target, source);
    }
    try {
      done(
          (int)
              convert
                  .handle()
                  .invokeExact(
                      device.handle(),
                      at(target),
                      target.dtype().code(),
                      at(source),
                      source.dtype().code(),
                      source.elements(),
                      DEFAULT_STREAM));
    } catch (Throwable t) {
      throw rethrow(t);
    }
  }

  /** Exact fp32 x as a BF16 high half and an I16 low half. */
  public void split(Tensor hi, Tensor lo, Tensor x) {
    halves("split", hi, lo, x);
    try {
      done(
          (int)
              split
                  .handle()
                  .invokeExact(
                      device.handle(), at(hi), at(lo), at(x), x.elements(), DEFAULT_STREAM));
    } catch (Throwable t) {
      throw rethrow(t);
    }
  }

  /** Undoes {@link #split}, bit for bit. */
  public void join(Tensor x, Tensor hi, Tensor lo) {
    halves("join", hi, lo, x);
    try {
      done(
          (int)
              join.handle()
                  .invokeExact(
                      device.handle(), at(x), at(hi), at(lo), x.elements(), DEFAULT_STREAM));
    } catch (Throwable t) {
      throw rethrow(t);
    }
  }

  private void halves(String operation, Tensor hi, Tensor lo, Tensor x) {
    contiguous(operation, hi, lo, x);
    if (!(hi.dtype() == DType.BF16
        && lo.dtype() == DType.I16
        && x.dtype() == DType.F32
        && hi.elements() == x.elements()
        && lo.elements() == x.elements())) {
      throw misfit(operation, hi, lo, x);
    }
  }

  /** target (rows, w) = source[index[r]], index I32 (rows). */
  public void gatherRows(Tensor target, Tensor source, Tensor index) {
    contiguous("gather_rows", target, source, index);
    if (!(sameType(target, source)
        && index.dtype() == DType.I32
        && index.elements() == target.rows()
        && target.width() == source.width())) {
      throw misfit("gather_rows", target, source, index);
    }
    try {
      done(
          (int)
              gatherRows
                  .handle()
                  .invokeExact(
                      device.handle(),
                      at(target),
                      at(source),
                      at(index),
                      target.dtype().code(),
                      target.rows(),
                      source.rows(),
                      target.width(),
                      DEFAULT_STREAM));
    } catch (Throwable t) {
      throw rethrow(t);
    }
  }

  /** target = 0, then target[index[r]] = source[r], index I32 (rows) without repeats. */
  public void scatterRows(Tensor target, Tensor source, Tensor index) {
    contiguous("scatter_rows", target, source, index);
    if (!(sameType(target, source)
        && index.dtype() == DType.I32
        && index.elements() == source.rows()
        && target.width() == source.width())) {
      throw misfit("scatter_rows", target, source, index);
    }
    try {
      done(
          (int)
              scatterRows
                  .handle()
                  .invokeExact(
                      device.handle(),
                      at(target),
                      at(source),
                      at(index),
                      target.dtype().code(),
                      source.rows(),
                      target.rows(),
                      target.width(),
                      DEFAULT_STREAM));
    } catch (Throwable t) {
      throw rethrow(t);
    }
  }

  // ---- the transformer --------------------------------------------------------------------------

  /** out (N, d) = table (V, d)[tokens (N)]. */
  public void embedding(Tensor out, Tensor table, Tensor tokens) {
    contiguous("embedding", out, table, tokens);
    if (!(sameType(out, table)
        && tokens.dtype() == DType.I32
        && tokens.elements() == out.rows()
        && out.width() == table.width())) {
      throw misfit("embedding", out, table, tokens);
    }
    try {
      done(
          (int)
              embedding
                  .handle()
                  .invokeExact(
                      device.handle(),
                      at(out),
                      at(table),
                      at(tokens),
                      out.dtype().code(),
                      out.rows(),
                      table.rows(),
                      out.width(),
                      DEFAULT_STREAM));
    } catch (Throwable t) {
      throw rethrow(t);
    }
  }

  /** dTable (V, d) += rows of dOut (N, d). */
  public void embeddingBackward(Tensor dTable, Tensor dOut, Tensor tokens) {
    contiguous("embedding_backward", dTable, dOut, tokens);
    if (!(tokens.dtype() == DType.I32
        && tokens.elements() == dOut.rows()
        && dOut.width() == dTable.width())) {
      throw misfit("embedding_backward", dTable, dOut, tokens);
    }
    try {
      done(
          (int)
              embeddingBackward
                  .handle()
                  .invokeExact(
                      device.handle(),
                      at(dTable),
                      at(dOut),
                      at(tokens),
                      dOut.dtype().code(),
                      dTable.dtype().code(),
                      dOut.rows(),
                      dTable.rows(),
                      dOut.width(),
                      DEFAULT_STREAM));
    } catch (Throwable t) {
      throw rethrow(t);
    }
  }

  /**
   * sum = x + residual, y = sum * rstd * weight; all (N, d), rstd F32 (N), weight (d).
   *
   * @param rstd null if no backward follows
   * @param sum null only if {@code residual} is
   * @param residual null if nothing is added
   */
  public void rmsnorm(
      Tensor y,
      @Nullable Tensor rstd,
      @Nullable Tensor sum,
      Tensor x,
      @Nullable Tensor residual,
      Tensor weight,
      float eps) {
    contiguous("rmsnorm", y, rstd, sum, x, residual, weight);
    if (!(sameShape(y, x)
        && sameType(y, x)
        && sameType(weight, x)
        && weight.elements() == x.width()
        && (rstd == null || (rstd.dtype() == DType.F32 && rstd.elements() == x.rows()))
        && (sum == null || (sameShape(sum, x) && sameType(sum, x)))
        && (residual == null
            || (sum != null && sameShape(residual, x) && sameType(residual, x))))) {
      throw misfit("rmsnorm", y, rstd, sum, x, residual, weight);
    }
    try {
      done(
          (int)
              rmsnorm
                  .handle()
                  .invokeExact(
                      device.handle(),
                      at(y),
                      address(rstd),
                      address(sum),
                      at(x),
                      address(residual),
                      at(weight),
                      x.dtype().code(),
                      x.rows(),
                      x.width(),
                      eps,
                      DEFAULT_STREAM));
    } catch (Throwable t) {
      throw rethrow(t);
    }
  }

  /**
   * dX = dResidual + the gradient through the norm, dWeight +=; dX may be dResidual or dY.
   *
   * @param dResidual null if nothing is added
   */
  public void rmsnormBackward(
      Tensor dX,
      Tensor dWeight,
      Tensor dY,
      Tensor x,
      Tensor weight,
      Tensor rstd,
      @Nullable Tensor dResidual) {
    contiguous("rmsnorm_backward", dX, dWeight, dY, x, weight, rstd, dResidual);
    if (!(sameShape(dX, x)
        && sameShape(dY, x)
        && sameType(dX, x)
        && sameType(dY, x)
        && sameType(weight, x)
        && weight.elements() == x.width()
        && dWeight.elements() == x.width()
        && rstd.dtype() == DType.F32
        && rstd.elements() == x.rows()
        && (dResidual == null || (sameShape(dResidual, x) && sameType(dResidual, x))))) {
      throw misfit("rmsnorm_backward", dX, dWeight, dY, x, weight, rstd, dResidual);
    }
    try {
      done(
          (int)
              rmsnormBackward
                  .handle()
                  .invokeExact(
                      device.handle(),
                      at(dX),
                      at(dWeight),
                      at(dY),
                      at(x),
                      at(weight),
                      at(rstd),
                      address(dResidual),
                      x.dtype().code(),
                      dWeight.dtype().code(),
                      x.rows(),
                      x.width(),
                      DEFAULT_STREAM));
    } catch (Throwable t) {
      throw rethrow(t);
    }
  }

  /**
   * Rotates the heads of x (N, heads * D) in place by the angles of their positions.
   *
   * @param table F32 (P, D / 2, 2): cosine and sine by position and pair
   * @param positions I32 (N), each below P
   * @param inverse turns back: the gradient
   */
  public void rope(Tensor x, Tensor table, Tensor positions, boolean inverse) {
    contiguous("rope", table, positions);
    long headSize = table.rank() == 3 ? table.size(1) * 2 : 0;
    if (!(table.rank() == 3
        && table.size(2) == 2
        && table.dtype() == DType.F32
        && positions.dtype() == DType.I32
        && positions.elements() == x.rows()
        && x.width() % headSize == 0)) {
      throw misfit("rope", x, table, positions);
    }
    try {
      done(
          (int)
              rope.handle()
                  .invokeExact(
                      device.handle(),
                      at(x),
                      x.stride(),
                      at(table),
                      at(positions),
                      inverse ? 1 : 0,
                      x.dtype().code(),
                      x.rows(),
                      x.width() / headSize,
                      headSize,
                      table.rows(),
                      DEFAULT_STREAM));
    } catch (Throwable t) {
      throw rethrow(t);
    }
  }

  /**
   * The sizes of an attention.
   *
   * @param B blocks
   * @param T tokens in a block
   * @param Hq query heads
   * @param Hkv key/value heads, a divisor of Hq
   * @param D size of a head
   */
  public record Heads(long B, long T, long Hq, long Hkv, long D) {
    float scale() {
      return (float) (1 / Math.sqrt((double) D));
    }

    private boolean fit(Tensor q, Tensor k, Tensor v) {
      return q.rows() == B * T
          && k.rows() == B * T
          && v.rows() == B * T
          && q.width() == Hq * D
          && k.width() == Hkv * D
          && v.width() == Hkv * D
          && k.stride() == v.stride();
    }
  }

  /**
   * Causal attention: out (B*T, Hq*D) from q (B*T, Hq*D), k and v (B*T, Hkv*D), scores scaled by
   * 1/√D.
   *
   * @param lse F32 (B, Hq, T): log-sum-exp of the scores, null if no backward follows
   */
  public void attention(Tensor out, @Nullable Tensor lse, Tensor q, Tensor k, Tensor v, Heads h) {
    contiguous("attention", lse);
    if (!(h.fit(q, k, v)
        && sameShape(out, q)
        && sameType(out, q)
        && sameType(k, q)
        && sameType(v, q)
        && (lse == null || (lse.dtype() == DType.F32 && lse.elements() == h.B * h.Hq * h.T)))) {
      throw misfit("attention", out, lse, q, k, v);
    }
    try {
      done(
          (int)
              attention
                  .handle()
                  .invokeExact(
                      device.handle(),
                      at(out),
                      out.stride(),
                      address(lse),
                      at(q),
                      q.stride(),
                      at(k),
                      at(v),
                      k.stride(),
                      q.dtype().code(),
                      h.B,
                      h.T,
                      h.Hq,
                      h.Hkv,
                      h.D,
                      h.scale(),
                      DEFAULT_STREAM));
    } catch (Throwable t) {
      throw rethrow(t);
    }
  }

  /** Bytes of workspace that {@link #attentionBackward} needs; may be 0. */
  public long attentionBackwardWorkspace(DType dtype, Heads h) {
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment result = arena.allocate(ValueLayout.JAVA_LONG);
      done(
          (int)
              attentionBackwardWorkspace
                  .handle()
                  .invokeExact(
                      device.handle(), result.address(), dtype.code(), h.B, h.T, h.Hq, h.Hkv, h.D));
      return result.get(ValueLayout.JAVA_LONG, 0);
    } catch (Throwable t) {
      throw rethrow(t);
    }
  }

  /** dQ, dK, dV, shaped as q, k, v. */
  public void attentionBackward(
      Tensor dQ,
      Tensor dK,
      Tensor dV,
      Tensor dOut,
      Tensor out,
      Tensor lse,
      Tensor q,
      Tensor k,
      Tensor v,
      Heads h,
      Tensor workspace) {
    contiguous("attention_backward", lse, workspace);
    if (!(h.fit(q, k, v)
        && h.fit(dQ, dK, dV)
        && sameShape(out, q)
        && sameShape(dOut, q)
        && sameType(out, q)
        && sameType(dOut, q)
        && sameType(k, q)
        && sameType(v, q)
        && sameType(dQ, q)
        && sameType(dK, q)
        && sameType(dV, q)
        && lse.dtype() == DType.F32
        && lse.elements() == h.B * h.Hq * h.T)) {
      throw misfit("attention_backward", dQ, dK, dV, dOut, out, lse, q, k, v);
    }
    try {
      done(
          (int)
              attentionBackward
                  .handle()
                  .invokeExact(
                      device.handle(),
                      at(dQ),
                      dQ.stride(),
                      at(dK),
                      at(dV),
                      dK.stride(),
                      at(dOut),
                      dOut.stride(),
                      at(out),
                      out.stride(),
                      at(lse),
                      at(q),
                      q.stride(),
                      at(k),
                      at(v),
                      k.stride(),
                      q.dtype().code(),
                      h.B,
                      h.T,
                      h.Hq,
                      h.Hkv,
                      h.D,
                      h.scale(),
                      at(workspace),
                      workspace.bytes(),
                      DEFAULT_STREAM));
    } catch (Throwable t) {
      throw rethrow(t);
    }
  }

  /**
   * Puts k and v (B*T, Hkv*D) into the caches (B, Hkv, capacity, D).
   *
   * @param positions I32 (B*T): where each token goes, those of a sequence all different
   */
  public void cacheWrite(
      Tensor kCache, Tensor vCache, Tensor k, Tensor v, Tensor positions, Heads h) {
    contiguous("cache_write", kCache, vCache, positions);
    if (!(kCache.rank() == 4
        && sameShape(kCache, vCache)
        && kCache.size(0) == h.B
        && kCache.size(1) == h.Hkv
        && kCache.size(3) == h.D
        && sameType(kCache, k)
        && sameType(vCache, k)
        && sameType(v, k)
        && k.rows() == h.B * h.T
        && v.rows() == h.B * h.T
        && k.width() == h.Hkv * h.D
        && v.width() == h.Hkv * h.D
        && k.stride() == v.stride()
        && h.T <= kCache.size(2)
        && positions.dtype() == DType.I32
        && positions.elements() == h.B * h.T)) {
      throw misfit("cache_write", kCache, vCache, k, v, positions);
    }
    try {
      done(
          (int)
              cacheWrite
                  .handle()
                  .invokeExact(
                      device.handle(),
                      at(kCache),
                      at(vCache),
                      at(k),
                      at(v),
                      k.stride(),
                      at(positions),
                      k.dtype().code(),
                      h.B,
                      h.T,
                      h.Hkv,
                      h.D,
                      kCache.size(2),
                      DEFAULT_STREAM));
    } catch (Throwable t) {
      throw rethrow(t);
    }
  }

  /**
   * One token a sequence, q (B, Hq*D), against the cached ones.
   *
   * @param positions I32 (B): that of each sequence's token, which sees 0 to there
   */
  public void attentionDecode(
      Tensor out, Tensor q, Tensor kCache, Tensor vCache, Tensor positions, Heads h) {
    contiguous("attention_decode", out, kCache, vCache, positions);
    if (!(kCache.rank() == 4
        && sameShape(kCache, vCache)
        && kCache.size(0) == h.B
        && kCache.size(1) == h.Hkv
        && kCache.size(3) == h.D
        && sameShape(out, q)
        && q.rows() == h.B
        && q.width() == h.Hq * h.D
        && sameType(out, q)
        && sameType(kCache, q)
        && sameType(vCache, q)
        && positions.dtype() == DType.I32
        && positions.elements() == h.B)) {
      throw misfit("attention_decode", out, q, kCache, vCache, positions);
    }
    try {
      done(
          (int)
              attentionDecode
                  .handle()
                  .invokeExact(
                      device.handle(),
                      at(out),
                      at(q),
                      q.stride(),
                      at(kCache),
                      at(vCache),
                      at(positions),
                      q.dtype().code(),
                      h.B,
                      h.Hq,
                      h.Hkv,
                      h.D,
                      kCache.size(2),
                      h.scale(),
                      DEFAULT_STREAM));
    } catch (Throwable t) {
      throw rethrow(t);
    }
  }

  /** out (N, F) = silu(gate) * up; gate and up (N, F) share a stride. */
  public void swiglu(Tensor out, Tensor gate, Tensor up) {
    contiguous("swiglu", out);
    if (!(sameShape(out, gate)
        && sameShape(up, gate)
        && sameType(out, gate)
        && sameType(up, gate)
        && gate.stride() == up.stride())) {
      throw misfit("swiglu", out, gate, up);
    }
    try {
      done(
          (int)
              swiglu
                  .handle()
                  .invokeExact(
                      device.handle(),
                      at(out),
                      at(gate),
                      at(up),
                      gate.stride(),
                      out.dtype().code(),
                      out.rows(),
                      out.width(),
                      DEFAULT_STREAM));
    } catch (Throwable t) {
      throw rethrow(t);
    }
  }

  /** dGate and dUp from dOut (N, F); they may be gate and up. */
  public void swigluBackward(Tensor dGate, Tensor dUp, Tensor dOut, Tensor gate, Tensor up) {
    contiguous("swiglu_backward", dOut);
    if (!(sameShape(dOut, gate)
        && sameShape(up, gate)
        && sameShape(dGate, gate)
        && sameShape(dUp, gate)
        && sameType(dOut, gate)
        && sameType(up, gate)
        && sameType(dGate, gate)
        && sameType(dUp, gate)
        && gate.stride() == up.stride()
        && dGate.stride() == dUp.stride())) {
      throw misfit("swiglu_backward", dGate, dUp, dOut, gate, up);
    }
    try {
      done(
          (int)
              swigluBackward
                  .handle()
                  .invokeExact(
                      device.handle(),
                      at(dGate),
                      at(dUp),
                      dGate.stride(),
                      at(dOut),
                      at(gate),
                      at(up),
                      gate.stride(),
                      dOut.dtype().code(),
                      dOut.rows(),
                      dOut.width(),
                      DEFAULT_STREAM));
    } catch (Throwable t) {
      throw rethrow(t);
    }
  }

  /** c = op(a) op(b), or += if {@code accumulate}; a and b share a dtype, c may be F32. */
  public void matmul(Tensor c, Tensor a, Tensor b, Layout layout, boolean accumulate) {
    long m = layout == Layout.TN ? a.width() : a.rows();
    long k = layout == Layout.TN ? a.rows() : a.width();
    long n = layout == Layout.NT ? b.rows() : b.width();
    long kOfB = layout == Layout.NT ? b.width() : b.rows();
    if (!(k == kOfB
        && c.rows() == m
        && c.width() == n
        && sameType(a, b)
        && (sameType(c, a) || c.dtype() == DType.F32))) {
      throw misfit("matmul " + layout, c, a, b);
    }
    try {
      done(
          (int)
              matmul
                  .handle()
                  .invokeExact(
                      device.handle(),
                      at(c),
                      c.stride(),
                      c.dtype().code(),
                      at(a),
                      a.stride(),
                      at(b),
                      b.stride(),
                      a.dtype().code(),
                      layout.code,
                      accumulate ? 1 : 0,
                      m,
                      n,
                      k,
                      DEFAULT_STREAM));
    } catch (Throwable t) {
      throw rethrow(t);
    }
  }

  /**
   * Bytes that a weight (n, k) takes packed without loss, for the products of few rows to read
   * less; 0 where the device has no packed form of it.
   */
  public long packedBytes(DType dtype, long n, long k) {
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment result = arena.allocate(ValueLayout.JAVA_LONG);
      done(
          (int)
              packedBytes
                  .handle()
                  .invokeExact(device.handle(), result.address(), dtype.code(), n, k));
      return result.get(ValueLayout.JAVA_LONG, 0);
    } catch (Throwable t) {
      throw rethrow(t);
    }
  }

  /**
   * Packs a weight, which stays as it is.
   *
   * @param packed as many bytes as {@link #packedBytes} says, written
   * @param b (N, K)
   */
  public void pack(Tensor packed, Tensor b) {
    contiguous("pack", packed);
    try {
      done(
          (int)
              pack.handle()
                  .invokeExact(
                      device.handle(),
                      at(packed),
                      packed.bytes(),
                      at(b),
                      b.stride(),
                      b.dtype().code(),
                      b.rows(),
                      b.width(),
                      DEFAULT_STREAM));
    } catch (Throwable t) {
      throw rethrow(t);
    }
  }

  /**
   * c (M, N) = a (M, K) bᵀ, b (N, K): the bits of {@link #matmul}.
   *
   * @param packed what {@link #pack} made of b as it is now
   */
  public void matmulPacked(Tensor c, Tensor a, Tensor packed, Tensor b) {
    contiguous("matmul_packed", packed);
    if (!(a.width() == b.width()
        && c.rows() == a.rows()
        && c.width() == b.rows()
        && sameType(a, b)
        && (sameType(c, a) || c.dtype() == DType.F32))) {
      throw misfit("matmul_packed", c, a, b);
    }
    try {
      done(
          (int)
              matmulPacked
                  .handle()
                  .invokeExact(
                      device.handle(),
                      at(c),
                      c.stride(),
                      c.dtype().code(),
                      at(a),
                      a.stride(),
                      at(packed),
                      packed.bytes(),
                      at(b),
                      b.stride(),
                      a.dtype().code(),
                      a.rows(),
                      b.rows(),
                      a.width(),
                      DEFAULT_STREAM));
    } catch (Throwable t) {
      throw rethrow(t);
    }
  }

  // ---- losses and labels ------------------------------------------------------------------------

  /**
   * loss F32 (N) of logits (N, V) against targets I32 (N), and dLogits = (softmax - onehot) *
   * scale.
   *
   * @param dLogits may be logits itself (in place); null for no gradient
   */
  public void crossEntropy(
      Tensor loss, @Nullable Tensor dLogits, Tensor logits, Tensor targets, float scale) {
    contiguous("cross_entropy", loss, dLogits, logits, targets);
    if (!(loss.dtype() == DType.F32
        && loss.elements() == logits.rows()
        && targets.dtype() == DType.I32
        && targets.elements() == logits.rows()
        && (dLogits == null || (sameShape(dLogits, logits) && sameType(dLogits, logits))))) {
      throw misfit("cross_entropy", loss, dLogits, logits, targets);
    }
    try {
      done(
          (int)
              crossEntropy
                  .handle()
                  .invokeExact(
                      device.handle(),
                      at(loss),
                      address(dLogits),
                      at(logits),
                      at(targets),
                      logits.dtype().code(),
                      logits.rows(),
                      logits.width(),
                      scale,
                      DEFAULT_STREAM));
    } catch (Throwable t) {
      throw rethrow(t);
    }
  }

  /** logprobs F32 (N) = log softmax(logits (N, V))[targets I32 (N)]. */
  public void tokenLogprobs(Tensor logprobs, Tensor logits, Tensor targets) {
    contiguous("token_logprobs", logprobs, logits, targets);
    if (!(logprobs.dtype() == DType.F32
        && logprobs.elements() == logits.rows()
        && targets.dtype() == DType.I32
        && targets.elements() == logits.rows())) {
      throw misfit("token_logprobs", logprobs, logits, targets);
    }
    try {
      done(
          (int)
              tokenLogprobs
                  .handle()
                  .invokeExact(
                      device.handle(),
                      at(logprobs),
                      at(logits),
                      at(targets),
                      logits.dtype().code(),
                      logits.rows(),
                      logits.width(),
                      DEFAULT_STREAM));
    } catch (Throwable t) {
      throw rethrow(t);
    }
  }

  /** The k most probable tokens of each row: index I32 (N, k), probability F32 (N, k). */
  public void topK(Tensor index, Tensor probability, Tensor logits) {
    contiguous("top_k", index, probability, logits);
    if (!(index.dtype() == DType.I32
        && probability.dtype() == DType.F32
        && sameShape(index, probability)
        && index.rows() == logits.rows()
        && index.width() <= logits.width())) {
      throw misfit("top_k", index, probability, logits);
    }
    try {
      done(
          (int)
              topK.handle()
                  .invokeExact(
                      device.handle(),
                      at(index),
                      at(probability),
                      at(logits),
                      logits.dtype().code(),
                      logits.rows(),
                      logits.width(),
                      index.width(),
                      DEFAULT_STREAM));
    } catch (Throwable t) {
      throw rethrow(t);
    }
  }

  /** index I32 (N): the largest logit of each row, the lowest of equals; -1 for a row with NaN. */
  public void argmax(Tensor index, Tensor logits) {
    contiguous("argmax", index, logits);
    if (!(index.dtype() == DType.I32 && index.elements() == logits.rows())) {
      throw misfit("argmax", index, logits);
    }
    try {
      done(
          (int)
              argmax
                  .handle()
                  .invokeExact(
                      device.handle(),
                      at(index),
                      at(logits),
                      logits.dtype().code(),
                      logits.rows(),
                      logits.width(),
                      DEFAULT_STREAM));
    } catch (Throwable t) {
      throw rethrow(t);
    }
  }

  /**
   * The generic label of every mapped position, for several alphas at once (Eldan & Russinovich
   * 2023, section 2): argmax of g - alpha * max(0, r - g).
   *
   * @param labels I32 (alphas, T)
   * @param baseline (Tb, V): logits on the translated block
   * @param reinforced (T, V): logits on the original block
   * @param mapping I32 (T): the row of {@code baseline} of each position, or -1
   * @param forbidden I32 (F) tokens, each in force on rows after its entry in {@code
   *     forbiddenAfter}; null when there is none
   */
  public void genericLabels(
      Tensor labels,
      Tensor baseline,
      Tensor reinforced,
      Tensor mapping,
      @Nullable Tensor forbidden,
      @Nullable Tensor forbiddenAfter,
      float[] alphas) {
    contiguous("generic_labels", labels, baseline, reinforced, mapping, forbidden, forbiddenAfter);
    if (!(labels.dtype() == DType.I32
        && labels.elements() == alphas.length * reinforced.rows()
        && baseline.width() == reinforced.width()
        && sameType(baseline, reinforced)
        && mapping.dtype() == DType.I32
        && mapping.elements() == reinforced.rows()
        && (forbidden == null) == (forbiddenAfter == null)
        && (forbidden == null
            || forbiddenAfter == null
            || (forbidden.dtype() == DType.I32
                && forbiddenAfter.dtype() == DType.I32
                && forbidden.elements() == forbiddenAfter.elements())))) {
      throw misfit(
          "generic_labels", labels, baseline, reinforced, mapping, forbidden, forbiddenAfter);
    }
    try (Arena arena = Arena.ofConfined()) {
      done(
          (int)
              genericLabels
                  .handle()
                  .invokeExact(
                      device.handle(),
                      at(labels),
                      at(baseline),
                      at(reinforced),
                      at(mapping),
                      address(forbidden),
                      address(forbiddenAfter),
                      arena.allocateFrom(ValueLayout.JAVA_FLOAT, alphas).address(),
                      baseline.dtype().code(),
                      reinforced.rows(),
                      baseline.rows(),
                      baseline.width(),
                      forbidden == null ? 0L : forbidden.elements(),
                      (long) alphas.length,
                      DEFAULT_STREAM));
    } catch (Throwable t) {
      throw rethrow(t);
    }
  }

  // ---- the optimizer ----------------------------------------------------------------------------

  /**
   * What an AdamW step needs besides its tensors.
   *
   * @param learningRate of this step
   * @param gradientScale multiplies every gradient first: clipping, or 1
   * @param step counted from 1
   * @param seed of the stochastic rounding of bf16 moments
   */
  public record AdamW(
      float learningRate,
      float beta1,
      float beta2,
      float eps,
      float weightDecay,
      float gradientScale,
      long step,
      long seed) {}

  /**
   * Updates exact fp32 weights and their moments in place.
   *
   * @param weight F32, or the BF16 high halves
   * @param low the I16 low halves; null when {@code weight} is F32
   * @param first index of the first element among all parameters, for the stochastic rounding
   */
  public void adamw(
      Tensor weight,
      @Nullable Tensor low,
      Tensor gradient,
      Tensor m,
      Tensor v,
      AdamW how,
      long first) {
    contiguous("adamw", weight, low, gradient, m, v);
    long n = weight.elements();
    if (!((weight.dtype() == DType.F32) == (low == null)
        && (low == null || (low.dtype() == DType.I16 && low.elements() == n))
        && gradient.elements() == n
        && m.elements() == n
        && v.elements() == n
        && sameType(m, v))) {
      throw misfit("adamw", weight, low, gradient, m, v);
    }
    try {
      done(
          (int)
              adamw
                  .handle()
                  .invokeExact(
                      device.handle(),
                      at(weight),
                      address(low),
                      at(gradient),
                      at(m),
                      at(v),
                      weight.dtype().code(),
                      gradient.dtype().code(),
                      m.dtype().code(),
                      n,
                      how.learningRate(),
                      how.beta1(),
                      how.beta2(),
                      how.eps(),
                      how.weightDecay(),
                      how.gradientScale(),
                      how.step(),
                      how.seed(),
                      first,
                      DEFAULT_STREAM));
    } catch (Throwable t) {
      throw rethrow(t);
    }
  }

  /** result F64 (1) = the sum of x², in double. */
  public void sumOfSquares(Tensor result, Tensor x) {
    contiguous("sum_of_squares", result, x);
    if (!(result.dtype() == DType.F64 && result.elements() == 1)) {
      throw misfit("sum_of_squares", result, x);
    }
    try {
      done(
          (int)
              sumOfSquares
                  .handle()
                  .invokeExact(
                      device.handle(),
                      at(result),
                      at(x),
                      x.dtype().code(),
                      x.elements(),
                      DEFAULT_STREAM));
    } catch (Throwable t) {
      throw rethrow(t);
    }
  }

  // ---- checks -----------------------------------------------------------------------------------

  private static boolean sameShape(Tensor a, Tensor b) {
    return a.rows() == b.rows() && a.width() == b.width();
  }

  private static boolean sameType(Tensor a, Tensor b) {
    return a.dtype() == b.dtype();
  }

  private long address(@Nullable Tensor tensor) {
    return tensor == null ? 0 : at(tensor);
  }

  /** Another device's address would be read as one of this device. */
  private long at(Tensor tensor) {
    if (tensor.device() != device) {
      throw new IllegalArgumentException(
          "%s is on another device ('%s') than the operation ('%s')"
              .formatted(tensor, tensor.device().name(), device.name()));
    }
    return tensor.address();
  }

  private static void contiguous(String operation, @Nullable Tensor t) {
    if (t != null && !t.isContiguous()) {
      throw new IllegalArgumentException(operation + ": " + t + " has gaps between its rows");
    }
  }

  // For any number of tensors without an array of them: a call allocates nothing.

  private static void contiguous(String operation, @Nullable Tensor a, @Nullable Tensor b) {
    contiguous(operation, a);
    contiguous(operation, b);
  }

  private static void contiguous(
      String operation, @Nullable Tensor a, @Nullable Tensor b, @Nullable Tensor c) {
    contiguous(operation, a, b);
    contiguous(operation, c);
  }

  private static void contiguous(
      String operation,
      @Nullable Tensor a,
      @Nullable Tensor b,
      @Nullable Tensor c,
      @Nullable Tensor d) {
    contiguous(operation, a, b, c);
    contiguous(operation, d);
  }

  private static void contiguous(
      String operation,
      @Nullable Tensor a,
      @Nullable Tensor b,
      @Nullable Tensor c,
      @Nullable Tensor d,
      @Nullable Tensor e) {
    contiguous(operation, a, b, c, d);
    contiguous(operation, e);
  }

  private static void contiguous(
      String operation,
      @Nullable Tensor a,
      @Nullable Tensor b,
      @Nullable Tensor c,
      @Nullable Tensor d,
      @Nullable Tensor e,
      @Nullable Tensor f) {
    contiguous(operation, a, b, c, d, e);
    contiguous(operation, f);
  }

  private static void contiguous(
      String operation,
      @Nullable Tensor a,
      @Nullable Tensor b,
      @Nullable Tensor c,
      @Nullable Tensor d,
      @Nullable Tensor e,
      @Nullable Tensor f,
      @Nullable Tensor g) {
    contiguous(operation, a, b, c, d, e, f);
    contiguous(operation, g);
  }

  private static IllegalArgumentException misfit(String operation, @Nullable Tensor... tensors) {
    return new IllegalArgumentException(
        operation + ": shapes or dtypes do not fit: " + Arrays.toString(tensors));
  }

  private void done(int status) {
    if (status != 0) {
      String message;
      try {
        MethodHandle last =
            library.bind("lethe_message", FunctionDescriptor.of(ValueLayout.ADDRESS));
        message = ((MemorySegment) last.invokeExact()).reinterpret(65536).getString(0);
      } catch (Throwable t) {
        throw rethrow(t);
      }
      var kind = DeviceException.Status.of(status);
      throw kind == DeviceException.Status.OUT_OF_MEMORY
          ? new OutOfDeviceMemoryException(message, device.allocations())
          : new DeviceException(kind, message);
    }
  }

  private static RuntimeException rethrow(Throwable t) {
    if (t instanceof Error e) {
      throw e;
    }
    if (t instanceof RuntimeException e) {
      return e;
    }
    throw new AssertionError(t);
  }
}
