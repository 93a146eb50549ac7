package org.lethe.benchmarks;

import org.lethe.kernels.Kernels;
import org.lethe.kernels.Tensor;
import org.openjdk.jmh.annotations.Benchmark;
import org.openjdk.jmh.annotations.Param;

/** Decoding's attention: one token against the cached ones; and writing it into the cache. */
public class AttentionOfOneToken extends Operation {
  private record Operands(Tensor q, Tensor k, Tensor v, Tensor out, Tensor keys, Tensor values) {}

  /** Whose shapes. */
  @Param({"SMOLLM2", "LLAMA2", "ODD"})
  public Sizes sizes = Sizes.SMOLLM2;

  /** Tokens in the cache. */
  @Param({"128", "2048"})
  public int cached = 128;

  private Rotation<Operands> operands;
  private Kernels.Heads heads;
  private Tensor last;
  private Rates.Work attend;
  private Rates.Work write;

  /** Made by JMH. */
  public AttentionOfOneToken() {}

  @Override
  void prepare() {
    Sizes s = sizes;
    heads = new Kernels.Heads(1, 1, s.heads, s.kvHeads, s.headSize);
    last = device.of("position", new int[] {cached - 1}, 1);
    double cache = 2.0 * cached * s.kvWidth();
    operands =
        rotation(
            bytes(cache),
            i ->
                new Operands(
                    random(dtype, 1, i, 1, s.queryWidth()),
                    random(dtype, 1, i, 1, s.kvWidth()),
                    random(dtype, 1, i + 1, 1, s.kvWidth()),
                    zeros(dtype, 1, s.queryWidth()),
                    random(dtype, 1, i + 2, 1, s.kvHeads, cached, s.headSize),
                    random(dtype, 1, i + 3, 1, s.kvHeads, cached, s.headSize)));
    attend = work(4.0 * s.heads * s.headSize * cached, bytes(cache + 2.0 * s.queryWidth()));
    write = work(0, bytes(4.0 * s.kvWidth()));
  }

  /** out (Hq D) of one q (Hq D) and the cache. */
  @Benchmark
  public Tensor attend(Rates rates, Machine machine) {
    Operands o = operands.next();
    kernels.attentionDecode(o.out, o.q, o.keys, o.values, last, heads);
    rates.add(attend);
    return o.out;
  }

  /** k and v (Hkv D) into the cache's last place. */
  @Benchmark
  public Tensor cacheWrite(Rates rates, Machine machine) {
    Operands o = operands.next();
    kernels.cacheWrite(o.keys, o.values, o.k, o.v, last, heads);
    rates.add(write);
    return o.keys;
  }

  @Override
  void check() {
    Operands o = operands.current();
    kernels.attentionDecode(o.out, o.q, o.keys, o.values, last, heads);
    requireNumbers(o.out, o.keys, o.values);
  }
}
