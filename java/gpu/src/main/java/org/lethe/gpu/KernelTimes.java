package org.lethe.gpu;

import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.function.Function;
import java.util.stream.IntStream;
import org.lethe.kernels.DType;
import org.lethe.kernels.Device;
import org.lethe.kernels.Kernels;
import org.lethe.kernels.Kernels.Heads;
import org.lethe.kernels.Kernels.Layout;
import org.lethe.kernels.Tensor;
import org.lethe.model.LlamaConfig;

/**
 * Every kernel at the model's shapes, in BF16: its time, and the operations and bytes that its
 * definition asks for, every operand once. Norms, RoPE and SwiGLU count bytes alone.
 */
final class KernelTimes implements AutoCloseable {
  /** A call and what it has to do. */
  private record Work(Runnable call, double flops, double bytes) {}

  private static final Map<String, Function<KernelTimes, Work>> ALL = new LinkedHashMap<>();

  static {
    ALL.put("fill", k -> k.fill());
    ALL.put("split", k -> k.halves(true));
    ALL.put("join", k -> k.halves(false));
    ALL.put("gather_rows", k -> k.rows(true));
    ALL.put("scatter_rows", k -> k.rows(false));
    ALL.put("embedding", k -> k.embedding());
    ALL.put("embedding_backward", k -> k.embeddingBackward());
    ALL.put("rmsnorm", k -> k.rmsnorm());
    ALL.put("rmsnorm_backward", k -> k.rmsnormBackward());
    ALL.put("rope", k -> k.rope());
    ALL.put("attention, one block", k -> k.attention(k.tokens, false));
    ALL.put("attention, blocks", k -> k.attention(k.block, false));
    ALL.put("attention_backward, one block", k -> k.attention(k.tokens, true));
    ALL.put("attention_backward, blocks", k -> k.attention(k.block, true));
    ALL.put("cache_write", k -> k.cacheWrite());
    ALL.put("attention_decode", k -> k.attentionDecode());
    ALL.put("swiglu", k -> k.swiglu(false));
    ALL.put("swiglu_backward", k -> k.swiglu(true));
    for (String weight : List.of("qkv", "output", "gate and up", "down", "head")) {
      for (Layout layout : List.of(Layout.NT, Layout.NN, Layout.TN)) {
        ALL.put("matmul " + layout + ", " + weight, k -> k.matmul(weight, layout));
      }
    }
    ALL.put("cross_entropy", k -> k.logits("cross_entropy"));
    ALL.put("token_logprobs", k -> k.logits("token_logprobs"));
    ALL.put("top_k", k -> k.logits("top_k"));
    ALL.put("argmax", k -> k.logits("argmax"));
    ALL.put("generic_labels", k -> k.genericLabels());
    ALL.put("adamw, moments f32", k -> k.adamw(DType.F32));
    ALL.put("adamw, moments bf16", k -> k.adamw(DType.BF16));
    ALL.put("sum_of_squares", k -> k.sumOfSquares());
  }

  static final List<String> NAMES = List.copyOf(ALL.keySet());

  private final Bench bench;
  private final Device device;
  private final Kernels kernels;
  private final LlamaConfig config;
  private final List<Tensor> operands = new ArrayList<>();
  private final int tokens; // N
  private final int block; // T of a training block
  private final int d;
  private final int f;

  private KernelTimes(Bench bench) {
    this.bench = bench;
    this.device = bench.device;
    this.kernels = device.kernels();
    this.config = bench.sizes.config();
    tokens = bench.sizes.tokens();
    block = bench.sizes.block();
    d = config.width();
    f = config.feedForward();
  }

  static Map<String, Object> measure(String name, Bench bench) {
    Function<KernelTimes, Work> kernel = ALL.get(name);
    if (kernel == null) {
      throw new IllegalArgumentException("there is no kernel '" + name + "'");
    }
    try (var times = new KernelTimes(bench)) {
      Work work = kernel.apply(times);
      double seconds = Bench.finite("the time of " + name, bench.seconds(work.call));
      return Map.of(
          "tokens", times.tokens, "seconds", seconds, "flops", work.flops, "bytes", work.bytes);
    }
  }

  // ---- operands ---------------------------------------------------------------------------------

  private Tensor real(DType dtype, long... shape) {
    Tensor tensor = device.allocate("operand", dtype, shape);
    operands.add(tensor);
    bench.randomize(tensor.view("operand", 0, tensor.elements()));
    return tensor;
  }

  private Tensor bf16(long... shape) {
    return real(DType.BF16, shape);
  }

  private Tensor f32(long... shape) {
    return real(DType.F32, shape);
  }

  private Tensor bytes(DType dtype, long... shape) {
    Tensor tensor = device.allocate("operand", dtype, shape);
    operands.add(tensor);
    return tensor;
  }

  private Tensor i32(int... values) {
    Tensor tensor = device.of("operand", values, values.length);
    operands.add(tensor);
    return tensor;
  }

  private Tensor countedTo(int n) {
    return i32(IntStream.range(0, n).toArray());
  }

  @Override
  public void close() {
    operands.forEach(Tensor::close);
  }

  // ---- moving -----------------------------------------------------------------------------------

  private Work fill() {
    Tensor x = f32(tokens, d);
    return new Work(() -> kernels.fill(x, 1), 0, x.bytes());
  }

  private Work halves(boolean split) {
    Tensor x = f32(tokens, d);
    Tensor hi = bf16(tokens, d);
    Tensor lo = bytes(DType.I16, tokens, d);
    kernels.split(hi, lo, x);
    return new Work(
        () -> {
          if (split) {
            kernels.split(hi, lo, x);
          } else {
            kernels.join(x, hi, lo);
          }
        },
        0,
        2.0 * x.bytes());
  }

  private Work rows(boolean gather) {
    Tensor target = bf16(tokens, d);
    Tensor source = bf16(tokens, d);
    Tensor index = countedTo(tokens);
    return new Work(
        () -> {
          if (gather) {
            kernels.gatherRows(target, source, index);
          } else {
            kernels.scatterRows(target, source, index);
          }
        },
        0,
        2.0 * source.bytes());
  }

  private Work embedding() {
    Tensor out = bf16(tokens, d);
    Tensor table = bf16(config.vocabulary(), d);
    Tensor ids = i32(bench.tokens(tokens));
    return new Work(() -> kernels.embedding(out, table, ids), 0, 2.0 * out.bytes());
  }

  private Work embeddingBackward() {
    Tensor dTable = f32(config.vocabulary(), d);
    Tensor dOut = bf16(tokens, d);
    Tensor ids = i32(bench.tokens(tokens));
    return new Work(
        () -> kernels.embeddingBackward(dTable, dOut, ids),
        0,
        dOut.bytes() + 2.0 * Float.BYTES * dOut.elements());
  }

  // ---- the transformer --------------------------------------------------------------------------

  private Work rmsnorm() {
    Tensor y = bf16(tokens, d);
    Tensor sum = bf16(tokens, d);
    Tensor x = bf16(tokens, d);
    Tensor residual = bf16(tokens, d);
    Tensor weight = bf16(d);
    Tensor rstd = f32(tokens);
    return new Work(
        () -> kernels.rmsnorm(y, rstd, sum, x, residual, weight, 1e-5f), 0, 4.0 * x.bytes());
  }

  private Work rmsnormBackward() {
    Tensor dX = bf16(tokens, d);
    Tensor dWeight = f32(d);
    Tensor dY = bf16(tokens, d);
    Tensor x = bf16(tokens, d);
    Tensor weight = bf16(d);
    Tensor rstd = f32(tokens);
    Tensor residual = bf16(tokens, d);
    return new Work(
        () -> kernels.rmsnormBackward(dX, dWeight, dY, x, weight, rstd, residual),
        0,
        4.0 * x.bytes());
  }

  private Work rope() {
    Tensor x = bf16(tokens, config.queryWidth() + config.kvWidth());
    Tensor table = f32(tokens, config.headSize() / 2, 2);
    Tensor positions = countedTo(tokens);
    return new Work(() -> kernels.rope(x, table, positions, false), 0, 2.0 * x.bytes());
  }

  private Work attention(int length, boolean backward) {
    var heads =
        new Heads(tokens / length, length, config.heads(), config.kvHeads(), config.headSize());
    Tensor q = bf16(tokens, config.queryWidth());
    Tensor k = bf16(tokens, config.kvWidth());
    Tensor v = bf16(tokens, config.kvWidth());
    Tensor out = bf16(tokens, config.queryWidth());
    Tensor lse = f32(heads.B(), heads.Hq(), heads.T());
    // a product over the causal half of T x T, for every head
    double product = 2.0 * heads.D() * heads.B() * heads.Hq() * length * (length + 1.0) / 2;
    double operandBytes = q.bytes() + k.bytes() + v.bytes() + out.bytes();
    kernels.attention(out, lse, q, k, v, heads);
    if (!backward) {
      return new Work(
          () -> kernels.attention(out, lse, q, k, v, heads),
          2 * product,
          operandBytes + lse.bytes());
    }
    Tensor dQ = bf16(tokens, config.queryWidth());
    Tensor dK = bf16(tokens, config.kvWidth());
    Tensor dV = bf16(tokens, config.kvWidth());
    Tensor dOut = bf16(tokens, config.queryWidth());
    Tensor workspace =
        bytes(DType.BYTE, Math.max(1, kernels.attentionBackwardWorkspace(DType.BF16, heads)));
    return new Work(
        () -> kernels.attentionBackward(dQ, dK, dV, dOut, out, lse, q, k, v, heads, workspace),
        5 * product,
        2 * operandBytes + lse.bytes());
  }

  private Work cacheWrite() {
    var heads = new Heads(1, tokens, config.heads(), config.kvHeads(), config.headSize());
    Tensor keys = bf16(1, config.kvHeads(), tokens, config.headSize());
    Tensor values = bf16(1, config.kvHeads(), tokens, config.headSize());
    Tensor k = bf16(tokens, config.kvWidth());
    Tensor v = bf16(tokens, config.kvWidth());
    Tensor positions = countedTo(tokens);
    return new Work(
        () -> kernels.cacheWrite(keys, values, k, v, positions, heads),
        0,
        2.0 * (k.bytes() + v.bytes()));
  }

  private Work attentionDecode() {
    var heads = new Heads(1, 1, config.heads(), config.kvHeads(), config.headSize());
    Tensor keys = bf16(1, config.kvHeads(), tokens, config.headSize());
    Tensor values = bf16(1, config.kvHeads(), tokens, config.headSize());
    Tensor q = bf16(1, config.queryWidth());
    Tensor out = bf16(1, config.queryWidth());
    Tensor position = i32(tokens - 1);
    return new Work(
        () -> kernels.attentionDecode(out, q, keys, values, position, heads),
        4.0 * tokens * config.queryWidth(),
        keys.bytes() + values.bytes());
  }

  private Work swiglu(boolean backward) {
    Tensor gateUp = bf16(tokens, 2L * f);
    Tensor gate = gateUp.columns(0, f);
    Tensor up = gateUp.columns(f, f);
    Tensor out = bf16(tokens, f);
    if (!backward) {
      return new Work(() -> kernels.swiglu(out, gate, up), 0, 3.0 * out.bytes());
    }
    Tensor d = bf16(tokens, 2L * f);
    return new Work(
        () -> kernels.swigluBackward(d.columns(0, f), d.columns(f, f), out, gate, up),
        0,
        5.0 * out.bytes());
  }

  /** y (N, out) = x (N, in) Wᵀ; dx = dy W; dW (F32) += dyᵀ x. */
  private Work matmul(String weight, Layout layout) {
    long out =
        switch (weight) {
          case "qkv" -> config.queryWidth() + 2L * config.kvWidth();
          case "gate and up" -> 2L * f;
          case "head" -> config.vocabulary();
          default -> d;
        };
    long in = weight.equals("down") ? f : weight.equals("output") ? config.queryWidth() : d;
    long n = weight.equals("head") ? Math.min(tokens, 512) : tokens; // logits come in chunks
    Tensor x = bf16(n, in);
    Tensor y = bf16(n, out);
    Tensor w = layout == Layout.TN ? f32(out, in) : bf16(out, in);
    double flops = 2.0 * n * out * in;
    double all = x.bytes() + y.bytes() + (layout == Layout.TN ? 2.0 : 1) * w.bytes();
    return switch (layout) {
      case NT -> new Work(() -> kernels.matmul(y, x, w, Layout.NT, false), flops, all);
      case NN -> new Work(() -> kernels.matmul(x, y, w, Layout.NN, false), flops, all);
      case TN -> new Work(() -> kernels.matmul(w, y, x, Layout.TN, true), flops, all);
    };
  }

  // ---- losses, labels, the optimizer ------------------------------------------------------------

  private Work logits(String operation) {
    int n = Math.min(tokens, 512);
    Tensor logits = bf16(n, config.vocabulary());
    Tensor result = f32(n);
    Tensor targets = i32(bench.tokens(n));
    return switch (operation) {
      case "cross_entropy" ->
          new Work(
              () -> kernels.crossEntropy(result, logits, logits, targets, 1e-3f),
              0,
              2.0 * logits.bytes());
      case "token_logprobs" ->
          new Work(() -> kernels.tokenLogprobs(result, logits, targets), 0, logits.bytes());
      case "argmax" -> new Work(() -> kernels.argmax(targets, logits), 0, logits.bytes());
      default -> {
        Tensor index = bytes(DType.I32, n, 5);
        Tensor probability = f32(n, 5);
        yield new Work(() -> kernels.topK(index, probability, logits), 0, logits.bytes());
      }
    };
  }

  private Work genericLabels() {
    int n = Math.min(tokens, 512);
    Tensor baseline = bf16(n, config.vocabulary());
    Tensor reinforced = bf16(n, config.vocabulary());
    Tensor labels = bytes(DType.I32, 1, n);
    Tensor mapping = countedTo(n);
    return new Work(
        () ->
            kernels.genericLabels(
                labels, baseline, reinforced, mapping, null, null, new float[] {5}),
        0,
        2.0 * baseline.bytes());
  }

  /** Over the parameters of a layer. */
  private Work adamw(DType moments) {
    long n = (config.parameters() - 2L * config.vocabulary() * d - d) / config.layers();
    Tensor weight = bf16(n);
    Tensor low = bytes(DType.I16, n);
    kernels.fill(low.cast("low", DType.BF16, 0, n), 0);
    Tensor gradient = f32(n);
    Tensor m = real(moments, n);
    Tensor v = bytes(moments, n);
    kernels.fill(v, 1e-4f);
    var how = new Kernels.AdamW(1e-6f, 0.9f, 0.98f, 1e-8f, 0, 1, 1, 1);
    return new Work(
        () -> kernels.adamw(weight, low, gradient, m, v, how, 0),
        0,
        2.0 * (weight.bytes() + low.bytes() + m.bytes() + v.bytes()) + gradient.bytes());
  }

  private Work sumOfSquares() {
    Tensor x = f32(tokens, f);
    Tensor result = bytes(DType.F64, 1);
    return new Work(() -> kernels.sumOfSquares(result, x), 0, x.bytes());
  }
}
