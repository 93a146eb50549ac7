package org.lethe.model;

import java.util.Arrays;
import java.util.List;
import java.util.Objects;
import java.util.function.ToLongFunction;
import java.util.stream.IntStream;
import org.jspecify.annotations.Nullable;
import org.lethe.kernels.DType;
import org.lethe.kernels.Graph;
import org.lethe.kernels.Kernels;
import org.lethe.kernels.Kernels.Layout;
import org.lethe.kernels.MemoryPlan;
import org.lethe.kernels.Tensor;
import org.lethe.model.Activations.Keep;
import org.lethe.model.Activations.Selection;

/**
 * A Llama (Touvron et al. 2023), forward and backward by hand: RMSNorm, RoPE, grouped-query
 * attention, SwiGLU, each a kernel. N = B T tokens; (N, d) is the residual stream.
 *
 * <p>Activations are allocated at the first pass of a size and kept for the next of that size.
 * Blocks are padded at their end until all of them together are a multiple of 64 tokens (of 8, up
 * to 64 of them), and so are the rows of the head: a matrix product is compiled for its sizes, and
 * texts come in all of them. Causal attention keeps the padding from what stands before it; it has
 * no label.
 */
public final class Llama implements AutoCloseable {
  private static final int PADDING = 64;
  private static final int PADDING_OF_FEW = 8;

  private final LlamaWeights weights;
  private final LlamaConfig config;
  private final LlamaParameters parameters;
  private final Kernels kernels;
  private final float eps;
  private final Memory memory;
  private @Nullable Activations activations;
  private @Nullable Activations decoding;
  private MemoryPlan.@Nullable Arena ropeTable;
  private @Nullable KeyValueCache stepped; // the cache that the latest single tokens went into
  private @Nullable Graph step; // the operations of such a token, where the device has graphs
  private boolean recordable = true; // until it turns out that it has none

  /**
   * What of a pass is in memory at a time.
   *
   * @param recompute keep each layer's input alone, and run the layer forward again in the backward
   *     pass: the same bits, a third more work
   * @param headRows rows of logits at a time, a multiple of 64: with few, a vocabulary of any size
   *     fits; with many, the head's gradient is read and written less often
   */
  public record Memory(boolean recompute, int headRows) {
    /** All that the backward reads; 512 rows of logits. */
    public static final Memory DEFAULT = new Memory(false, 512);

    /** Refuses rows that are no multiple of the padding. */
    public Memory {
      if (headRows < PADDING || headRows % PADDING != 0) {
        throw new IllegalArgumentException(
            "head rows are %d, must be a multiple of %d".formatted(headRows, PADDING));
      }
    }

    private Keep keep() {
      return recompute ? Keep.INPUTS : Keep.ALL;
    }
  }

  /** A Llama that computes with {@code weights}, which stay the caller's to close. */
  public Llama(LlamaWeights weights) {
    this(weights, Memory.DEFAULT);
  }

  /** The same, with that in memory. */
  public Llama(LlamaWeights weights, Memory memory) {
    this.memory = memory;
    this.weights = weights;
    this.config = weights.config();
    this.parameters = weights.parameters();
    this.kernels = weights.device().kernels();
    this.eps = (float) config.normEps();
  }

  /** The sizes. */
  public LlamaConfig config() {
    return config;
  }

  /** What it computes with. */
  public LlamaWeights weights() {
    return weights;
  }

  /**
   * What a pass over blocks allocates, besides the weights.
   *
   * @param blocks B
   * @param length tokens in the longest of them
   * @param training whether a backward follows
   * @param workspace bytes that the device's attention backward needs, {@link
   *     Kernels#attentionBackwardWorkspace}
   */
  public static List<MemoryPlan> plan(
      LlamaConfig config,
      DType dtype,
      int blocks,
      int length,
      boolean training,
      Memory memory,
      ToLongFunction<Kernels.Heads> workspace) {
    int padded = padded(blocks, length);
    Kernels.Heads heads = Activations.heads(config, blocks, padded);
    Keep keep = training ? memory.keep() : Keep.NOTHING;
    return List.of(
        Activations.plan(config, dtype, heads, keep, memory.headRows, workspace),
        RopeTable.plan(config, padded));
  }

  // ---- training ---------------------------------------------------------------------------------

  /**
   * Forward and backward over B blocks of T tokens: cross entropy of the labelled positions and its
   * gradients. A step's first pass writes its gradients, whatever was there, which saves zeroing
   * them and reading them back; further passes add theirs.
   *
   * @param tokens B T, block after block
   * @param targets B T: the token that position i is to predict, or {@link Kernels#IGNORE}
   * @param scale of the gradient: 1 / labelled tokens of the optimizer step
   * @param gradients written, or added to
   * @param add whether to what {@code gradients} hold
   * @return the sum of the labelled positions' losses, in nats
   */
  public double train(
      int[] tokens,
      int[] targets,
      int blocks,
      float scale,
      LlamaParameters gradients,
      boolean add) {
    Activations a = prepare(tokens, blocks, memory.keep());
    Selection selection = select(a, tokens.length, targets);
    if (selection == null) {
      if (!add) {
        kernels.fill(gradients.flat(), 0);
      }
      return 0;
    }
    if (!add) {
      zeroAllButProducts(gradients);
    }
    forward(a, null);
    finalNorm(a);
    head(a, selection, scale, gradients, add);
    double loss = a.sumOfLosses(selection);
    backward(a, gradients, add);
    return loss;
  }

  /** The gradients that no product writes: those of the norms, and of an embedding of its own. */
  private void zeroAllButProducts(LlamaParameters gradients) {
    kernels.fill(gradients.norm(), 0);
    for (int l = 0; l < config.layers(); l++) {
      kernels.fill(gradients.layers().get(l).inputNorm(), 0);
      kernels.fill(gradients.layers().get(l).postNorm(), 0);
    }
    if (!config.tiedHead()) {
      kernels.fill(gradients.embedding(), 0);
    }
  }

  /**
   * The same loss without gradients.
   *
   * @return the sum of the labelled positions' losses, in nats
   */
  public double loss(int[] tokens, int[] targets, int blocks) {
    Activations a = prepare(tokens, blocks, Keep.NOTHING);
    Selection selection = select(a, tokens.length, targets);
    if (selection == null) {
      return 0;
    }
    score(a, selection);
    return a.sumOfLosses(selection);
  }

  /**
   * The losses without gradients, one by one.
   *
   * @return those of the labelled positions, in their order, in nats
   */
  public float[] losses(int[] tokens, int[] targets, int blocks) {
    Activations a = prepare(tokens, blocks, Keep.NOTHING);
    Selection selection = select(a, tokens.length, targets);
    if (selection == null) {
      return new float[0];
    }
    score(a, selection);
    return selection.loss().toFloats();
  }

  private void score(Activations a, Selection selection) {
    forward(a, null);
    finalNorm(a);
    head(a, selection, 0, null, false);
  }

  /** Puts the labelled positions and their targets on the device; null where there are none. */
  private @Nullable Selection select(Activations a, int tokens, int[] targets) {
    if (targets.length != tokens) {
      throw new IllegalArgumentException(targets.length + " targets for " + tokens + " tokens");
    }
    boolean any = false;
    for (int i = 0; i < tokens; i++) {
      if (targets[i] != Kernels.IGNORE) {
        checkToken(targets[i], "target", i);
        any = true;
      }
    }
    return any ? a.select(targets) : null;
  }

  /** Output head and cross entropy over the selected rows, chunk by chunk; leaves d_normed. */
  private void head(
      Activations a,
      Selection selection,
      float scale,
      @Nullable LlamaParameters gradients,
      boolean add) {
    kernels.gatherRows(selection.selected(), a.normed, selection.rows());
    for (int i = 0; i < selection.chunks().size(); i++) {
      Activations.Chunk x = selection.chunks().get(i);
      weights.multiply(x.logits(), x.inputs(), parameters.head());
      if (gradients == null) {
        kernels.crossEntropy(x.loss(), null, x.logits(), x.targets(), 0);
      } else {
        kernels.crossEntropy(x.loss(), x.logits(), x.logits(), x.targets(), scale);
        kernels.matmul(gradients.head(), x.logits(), x.inputs(), Layout.TN, add || i > 0);
        kernels.matmul(
            Objects.requireNonNull(x.dInputs()), x.logits(), parameters.head(), Layout.NN, false);
      }
    }
    if (gradients != null) {
      kernels.scatterRows(
          a.get("d_normed"), Objects.requireNonNull(selection.dSelected()), selection.counted());
    }
  }

  // ---- forward ----------------------------------------------------------------------------------

  /** From tokens to the residual stream: the last layer's two summands are left in place. */
  private void forward(Activations a, @Nullable KeyValueCache cache) {
    kernels.embedding(a.layers.getFirst().input(), parameters.embedding(), a.tokens);
    for (int l = 0; l < config.layers(); l++) {
      LlamaParameters.Layer w = parameters.layers().get(l);
      Activations.Layer x = a.layers.get(l);
      if (l == 0) {
        kernels.rmsnorm(a.normed, a.rstd, null, x.input(), null, w.inputNorm(), eps);
      } else {
        Tensor before = a.layers.get(l - 1).middle();
        kernels.rmsnorm(a.normed, a.rstd, x.input(), before, a.branch, w.inputNorm(), eps);
      }
      layer(a, l, cache);
      kernels.swiglu(a.swiglu, x.gate(), x.up());
      weights.multiply(a.branch, a.swiglu, w.down());
    }
  }

  /** A layer from its normed input to gate and up: all that its backward reads. */
  private void layer(Activations a, int l, @Nullable KeyValueCache cache) {
    LlamaParameters.Layer w = parameters.layers().get(l);
    Activations.Layer x = a.layers.get(l);
    weights.multiply(x.qkv(), a.normed, w.qkv());
    kernels.rope(x.qk(), table(), a.positions, false);
    attend(a, x, l, cache);
    weights.multiply(a.branch, x.attention(), w.output());

    kernels.rmsnorm(a.normed, a.rstd, x.middle(), x.input(), a.branch, w.postNorm(), eps);
    weights.multiply(x.gateUp(), a.normed, w.gateUp());
  }

  /** The same again, from the layer's input. */
  private void recompute(Activations a, int l) {
    Tensor weight = parameters.layers().get(l).inputNorm();
    kernels.rmsnorm(a.normed, a.rstd, null, a.layers.get(l).input(), null, weight, eps);
    layer(a, l, null);
  }

  private void attend(Activations a, Activations.Layer x, int l, @Nullable KeyValueCache cache) {
    if (cache != null) {
      kernels.cacheWrite(cache.keys(l), cache.values(l), x.k(), x.v(), a.positions, a.heads);
      if (cache.filled()) {
        kernels.attentionDecode(
            x.attention(), x.q(), cache.keys(l), cache.values(l), a.positions, a.heads);
        return;
      }
    }
    kernels.attention(x.attention(), a.training() ? x.lse() : null, x.q(), x.k(), x.v(), a.heads);
  }

  private void finalNorm(Activations a) {
    kernels.rmsnorm(
        a.normed,
        a.outputRstd,
        a.output,
        a.layers.getLast().middle(),
        a.branch,
        parameters.norm(),
        eps);
  }

  // ---- backward ---------------------------------------------------------------------------------

  /** From d_normed, the gradient of the last norm's output, down to the embedding. */
  private void backward(Activations a, LlamaParameters g, boolean add) {
    Tensor dStream = a.get("d_stream");
    Tensor dNormed = a.get("d_normed");
    Tensor dAttention = a.get("d_attention");
    Tensor dSwiglu = a.get("d_swiglu");
    Tensor workspace = a.get("attention workspace");
    Activations.QkvGradient d = Objects.requireNonNull(a.dQkv);

    kernels.rmsnormBackward(
        dStream, g.norm(), dNormed, a.output, parameters.norm(), a.outputRstd, null);
    for (int l = config.layers() - 1; l >= 0; l--) {
      LlamaParameters.Layer w = parameters.layers().get(l);
      LlamaParameters.Layer dW = g.layers().get(l);
      Activations.Layer x = a.layers.get(l);
      if (a.keep == Keep.INPUTS && l < config.layers() - 1) { // the last is still there
        recompute(a, l);
      }

      kernels.rmsnorm(a.normed, a.rstd, null, x.middle(), null, w.postNorm(), eps);
      kernels.swiglu(a.swiglu, x.gate(), x.up());
      kernels.matmul(dW.down(), dStream, a.swiglu, Layout.TN, add);
      kernels.matmul(dSwiglu, dStream, w.down(), Layout.NN, false);
      kernels.swigluBackward(x.gate(), x.up(), dSwiglu, x.gate(), x.up());
      kernels.matmul(dW.gateUp(), x.gateUp(), a.normed, Layout.TN, add);
      kernels.matmul(dNormed, x.gateUp(), w.gateUp(), Layout.NN, false);
      kernels.rmsnormBackward(
          dStream, dW.postNorm(), dNormed, x.middle(), w.postNorm(), a.rstd, dStream);

      kernels.rmsnorm(a.normed, a.rstd, null, x.input(), null, w.inputNorm(), eps);
      kernels.matmul(dW.output(), dStream, x.attention(), Layout.TN, add);
      kernels.matmul(dAttention, dStream, w.output(), Layout.NN, false);
      kernels.attentionBackward(
          d.dQ(),
          d.dK(),
          d.dV(),
          dAttention,
          x.attention(),
          x.lse(),
          x.q(),
          x.k(),
          x.v(),
          a.heads,
          workspace);
      kernels.rope(d.dQk(), table(), a.positions, true);
      kernels.matmul(dW.qkv(), d.dQkv(), a.normed, Layout.TN, add);
      kernels.matmul(dNormed, d.dQkv(), w.qkv(), Layout.NN, false);
      kernels.rmsnormBackward(
          dStream, dW.inputNorm(), dNormed, x.input(), w.inputNorm(), a.rstd, dStream);
    }
    kernels.embeddingBackward(g.embedding(), dStream, a.tokens);
  }

  // ---- running ----------------------------------------------------------------------------------

  /**
   * The logits of one block.
   *
   * @param logits F32 (T, V), written
   */
  public void logits(int[] tokens, Tensor logits) {
    Activations a = prepare(tokens, 1, Keep.NOTHING);
    forward(a, null);
    finalNorm(a);
    weights.multiply(logits, a.normed.rows(0, tokens.length), parameters.head());
  }

  /**
   * The logits of blocks of any lengths, side by side.
   *
   * @param logits F32 (B T, V), written, with T what the longest is {@link #padded} to: position i
   *     of block b is row b T + i, and rows behind a block's end are of no consequence
   */
  public void logits(List<int[]> blocks, Tensor logits) {
    if (blocks.isEmpty() || blocks.stream().anyMatch(block -> block.length == 0)) {
      throw new IllegalArgumentException(
          "logits of %d blocks, one of 0 tokens or none at all".formatted(blocks.size()));
    }
    blocks.forEach(this::checkTokens);
    int longest = blocks.stream().mapToInt(block -> block.length).max().orElseThrow();
    Activations a = activations(blocks.size(), padded(blocks.size(), longest), Keep.NOTHING);
    table(Math.toIntExact(a.heads.T()));
    a.set(blocks, new int[blocks.size()]);
    forward(a, null);
    finalNorm(a);
    weights.multiply(logits, a.normed, parameters.head());
  }

  /**
   * Log-probabilities of a block's own tokens, in nats.
   *
   * @return T values; the first, which nothing predicts, is NaN
   */
  public float[] logprobs(int[] tokens) {
    Activations a = prepare(tokens, 1, Keep.NOTHING);
    float[] result = new float[tokens.length];
    result[0] = Float.NaN;
    int n = tokens.length - 1;
    if (n == 0) {
      return result;
    }
    int padded = padded(1, n);
    int[] targets = Arrays.copyOfRange(tokens, 1, 1 + padded);
    Arrays.fill(targets, n, padded, Kernels.IGNORE);
    a.targets.view("targets", 0, padded).set(targets);
    forward(a, null);
    finalNorm(a);
    for (long first = 0; first < padded; first += a.headRows) {
      long chunk = Math.min(a.headRows, padded - first);
      Tensor logits = a.logits.rows(0, chunk);
      weights.multiply(logits, a.normed.rows(first, chunk), parameters.head());
      kernels.tokenLogprobs(
          a.loss.view("logprobs", first, chunk), logits, a.targets.view("targets", first, chunk));
    }
    System.arraycopy(a.loss.view("logprobs", 0, n).toFloats(), 0, result, 1, n);
    return result;
  }

  /**
   * Reads tokens after those in the cache and appends them to it, B sequences side by side.
   *
   * @param tokens of each sequence: any number into an empty cache, afterwards one at a time
   * @return logits F32 (B, V) of the last token of each; valid until the next call
   */
  public Tensor decode(List<int[]> tokens, KeyValueCache cache) {
    check(tokens, cache);
    table(cache.capacity()); // at once: a recorded step keeps the table's address
    int longest = 0;
    for (int b = 0; b < tokens.size(); b++) {
      longest = Math.max(longest, tokens.get(b).length);
    }
    Activations a = prepare(tokens.size(), longest, Keep.NOTHING);
    a.set(tokens, cache.lengths);
    if (cache.filled()) {
      step(a, tokens, cache);
    } else {
      read(a, tokens, cache);
    }
    for (int b = 0; b < tokens.size(); b++) {
      cache.lengths[b] += tokens.get(b).length;
    }
    return a.lastLogits;
  }

  private void check(List<int[]> tokens, KeyValueCache cache) {
    if (tokens.size() != cache.sequences()) {
      throw new IllegalArgumentException(
          "%d sequences for a cache of %d".formatted(tokens.size(), cache.sequences()));
    }
    if (tokens.size() > memory.headRows) {
      throw new IllegalArgumentException(
          "%d sequences side by side, at most %d: decode them in parts"
              .formatted(tokens.size(), memory.headRows));
    }
    for (int b = 0; b < tokens.size(); b++) {
      int count = tokens.get(b).length;
      if (count == 0) {
        throw new IllegalArgumentException("0 tokens cannot be decoded");
      }
      if (cache.filled() && count != 1) {
        throw new IllegalArgumentException(
            "a cache that holds tokens takes one at a time, not " + count);
      }
      if (cache.length(b) + count > cache.capacity()) {
        throw new IllegalArgumentException(
            "%d tokens after %d do not fit a cache of %d"
                .formatted(count, cache.length(b), cache.capacity()));
      }
      checkTokens(tokens.get(b));
    }
  }

  /** From tokens to the logits of the last of each sequence. */
  private void read(Activations a, List<int[]> tokens, KeyValueCache cache) {
    forward(a, cache);
    finalNorm(a);
    weights.multiply(a.lastLogits, a.last(kernels, tokens), parameters.head());
  }

  /**
   * One token behind those in the cache. Only what lies in its token and its position differs from
   * token to token: after a first one, by which the device has loaded and planned what it needs,
   * its operations are recorded and launched as one.
   */
  private void step(Activations a, List<int[]> tokens, KeyValueCache cache) {
    if (cache != stepped) {
      forgetStep();
      stepped = cache;
    } else if (step == null && recordable) {
      step = weights.device().record(() -> read(a, tokens, cache));
      recordable = step != null;
    }
    if (step != null) {
      step.launch();
    } else {
      read(a, tokens, cache);
    }
  }

  private void forgetStep() {
    stepped = null;
    if (step != null) {
      step.close();
      step = null;
    }
  }

  /**
   * The most probable next tokens after {@code tokens}.
   *
   * @return the k most probable, most probable first
   */
  public List<TokenProbability> next(int[] tokens, int k) {
    if (k < 1 || k > config.vocabulary()) {
      throw new IllegalArgumentException(
          "%d of the most probable tokens of a vocabulary of %d".formatted(k, config.vocabulary()));
    }
    try (KeyValueCache cache = new KeyValueCache(weights, tokens.length);
        Tensor index = weights.device().allocate("top k", DType.I32, 1, k);
        Tensor probability = weights.device().allocate("top k", DType.F32, 1, k)) {
      kernels.topK(index, probability, decode(List.of(tokens), cache));
      int[] ids = index.toInts();
      float[] p = probability.toFloats();
      return IntStream.range(0, k).mapToObj(i -> new TokenProbability(ids[i], p[i])).toList();
    }
  }

  /** A token and how probable it is. */
  public record TokenProbability(int token, float probability) {}

  // ---- preparation ------------------------------------------------------------------------------

  /** Puts blocks of tokens on the device. */
  private Activations prepare(int[] tokens, int blocks, Keep kept) {
    if (tokens.length == 0 || blocks < 1 || tokens.length % blocks != 0) {
      throw new IllegalArgumentException(
          tokens.length + " tokens do not make " + blocks + " equal blocks");
    }
    checkTokens(tokens);
    Activations a = prepare(blocks, tokens.length / blocks, kept);
    a.set(tokens);
    return a;
  }

  /** Room for blocks of up to {@code length} tokens. */
  private Activations prepare(int blocks, int length, Keep kept) {
    int padded = length == 1 ? 1 : padded(blocks, length);
    Activations a = activations(blocks, padded, kept);
    table(padded);
    return a;
  }

  /** Those of this size, from the last pass or new; decoding's are kept beside the others. */
  private Activations activations(int blocks, int length, Keep kept) {
    boolean single = length == 1 && kept == Keep.NOTHING;
    Activations a = single ? decoding : activations;
    if (a != null && a.keep == kept && a.heads.B() == blocks && a.heads.T() == length) {
      return a;
    }
    if (a != null) {
      if (single) {
        forgetStep();
        decoding = null;
      } else {
        activations = null;
      }
      a.close();
    }
    a =
        new Activations(
            weights.device(), config, weights.dtype(), blocks, length, kept, memory.headRows);
    if (single) {
      decoding = a;
    } else {
      activations = a;
    }
    return a;
  }

  /** The most that blocks of so many tokens are padded to, however many they are. */
  static int mostPadded(int length) {
    return Math.ceilDiv(length, PADDING) * PADDING;
  }

  /**
   * The tokens that each of {@code blocks} is padded to, so that all of them together are a
   * multiple of 64, or of 8 where they are not more than 64.
   *
   * @param length of the longest
   */
  public static int padded(int blocks, int length) {
    int whole = (long) blocks * length <= PADDING ? PADDING_OF_FEW : PADDING;
    int step = whole / Math.min(whole, Integer.lowestOneBit(blocks)); // lcm(blocks, whole) / blocks
    return Math.ceilDiv(length, step) * step;
  }

  private void checkTokens(int[] tokens) {
    for (int i = 0; i < tokens.length; i++) {
      checkToken(tokens[i], "token", i);
    }
  }

  private void checkToken(int token, String what, int at) {
    if (token < 0 || token >= config.vocabulary()) {
      throw new IllegalArgumentException(
          "%s %d at %d is not in the vocabulary of %d"
              .formatted(what, token, at, config.vocabulary()));
    }
  }

  private Tensor table() {
    return Objects.requireNonNull(ropeTable).get(RopeTable.NAME);
  }

  /** Makes the table cover {@code positions}. */
  private void table(int positions) {
    if (ropeTable != null && table().rows() >= positions) {
      return;
    }
    if (ropeTable != null) {
      forgetStep();
      ropeTable.close();
      ropeTable = null;
    }
    ropeTable = RopeTable.create(weights.device(), config, positions);
  }

  @Override
  public void close() {
    forgetStep();
    if (activations != null) {
      activations.close();
      activations = null;
    }
    if (decoding != null) {
      decoding.close();
      decoding = null;
    }
    if (ropeTable != null) {
      ropeTable.close();
      ropeTable = null;
    }
  }
}
