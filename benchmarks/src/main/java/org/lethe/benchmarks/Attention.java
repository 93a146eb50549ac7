package org.lethe.benchmarks;

import org.lethe.kernels.DType;
import org.lethe.kernels.Kernels;
import org.lethe.kernels.Tensor;
import org.openjdk.jmh.annotations.Benchmark;
import org.openjdk.jmh.annotations.Param;

/** Causal attention with grouped key/value heads over B blocks of T tokens. */
public class Attention extends Operation {
  private record Operands(
      Tensor q, Tensor k, Tensor v, Tensor out, Tensor lse, Tensor dQ, Tensor dK, Tensor dV) {}

  /** Whose shapes. */
  @Param({"SMOLLM2", "LLAMA2", "ODD"})
  public Sizes sizes = Sizes.SMOLLM2;

  private Rotation<Operands> operands;
  private Kernels.Heads heads;
  private Tensor workspace;
  private Rates.Work forward;
  private Rates.Work backward;

  /** Made by JMH. */
  public Attention() {}

  @Override
  void prepare() {
    Sizes s = sizes;
    heads = new Kernels.Heads(s.blocks, s.length, s.heads, s.kvHeads, s.headSize);
    long n = s.tokens();
    double moved = bytes(n * 2.0 * (s.queryWidth() + s.kvWidth()));
    operands =
        rotation(
            moved,
            i ->
                new Operands(
                    random(dtype, 1, i, n, s.queryWidth()),
                    random(dtype, 1, i + 1, n, s.kvWidth()),
                    random(dtype, 1, i + 2, n, s.kvWidth()),
                    zeros(dtype, n, s.queryWidth()),
                    zeros(DType.F32, s.blocks, s.heads, s.length),
                    zeros(dtype, n, s.queryWidth()),
                    zeros(dtype, n, s.kvWidth()),
                    zeros(dtype, n, s.kvWidth())));
    workspace =
        device.allocate(
            "workspace", DType.BYTE, Math.max(1, kernels.attentionBackwardWorkspace(dtype, heads)));
    for (int i = 0; i < MOST_SETS; i++) { // what backward reads of forward
      Operands o = operands.next();
      kernels.attention(o.out, o.lse, o.q, o.k, o.v, heads);
    }
    // Two products of T x T x D a head, five backward; the causal half of them.
    double product = 2.0 * s.blocks * s.heads * s.headSize * (s.length * (s.length + 1.0) / 2);
    forward = work(2 * product, moved);
    backward = work(5 * product, 2 * moved);
  }

  private static final int MOST_SETS = 256;

  /** out = softmax(q kᵀ / √D) v. */
  @Benchmark
  public Tensor forward(Rates rates, Machine machine) {
    Operands o = operands.next();
    kernels.attention(o.out, o.lse, o.q, o.k, o.v, heads);
    rates.add(forward);
    return o.out;
  }

  /** dq, dk, dv; the gradient of out is q. */
  @Benchmark
  public Tensor backward(Rates rates, Machine machine) {
    Operands o = operands.next();
    kernels.attentionBackward(o.dQ, o.dK, o.dV, o.q, o.out, o.lse, o.q, o.k, o.v, heads, workspace);
    rates.add(backward);
    return o.dQ;
  }

  @Override
  void check() {
    Operands o = operands.current();
    requireNumbers(o.out, o.lse);
    float[] v = o.v.rows(0, 1).toFloats();
    float[] out = o.out.rows(0, 1).toFloats();
    requireNear("what the first token attends to", v[0], out[0]); // itself alone

    // A block's last key is seen by its last query alone: dv = p dout, over the heads that share
    // it.
    kernels.attentionBackward(o.dQ, o.dK, o.dV, o.q, o.out, o.lse, o.q, o.k, o.v, heads, workspace);
    requireNumbers(o.dQ, o.dK);
    int last = sizes.length - 1;
    float[] q = o.q.rows(last, 1).toFloats();
    float[] k = o.k.rows(last, 1).toFloats();
    float[] lse = o.lse.toFloats();
    double expected = 0;
    for (int h = 0; h < sizes.heads / sizes.kvHeads; h++) {
      double score = 0;
      for (int i = 0; i < sizes.headSize; i++) {
        score += q[h * sizes.headSize + i] * k[i] / Math.sqrt(sizes.headSize);
      }
      expected += Math.exp(score - lse[h * sizes.length + last]) * q[h * sizes.headSize];
    }
    requireNear("dv of a block's last token", expected, o.dV.rows(last, 1).toFloats()[0]);
  }
}
