package org.lethe.benchmarks;

import java.util.Arrays;
import org.lethe.kernels.DType;
import org.lethe.kernels.Tensor;
import org.openjdk.jmh.annotations.Benchmark;
import org.openjdk.jmh.annotations.Param;

/** Rotary embedding of queries and keys side by side (N, (Hq + Hkv) D), in place. */
public class Rope extends Operation {
  /** Whose shapes. */
  @Param({"SMOLLM2", "LLAMA2", "ODD"})
  public Sizes sizes = Sizes.SMOLLM2;

  private Rotation<Tensor> operands;
  private Tensor table;
  private Tensor positions;
  private Rates.Work work;

  /** Made by JMH. */
  public Rope() {}

  @Override
  void prepare() {
    Sizes s = sizes;
    long n = s.tokens();
    long width = s.queryWidth() + s.kvWidth();
    operands = rotation(bytes(n * width), i -> random(dtype, 1, i, n, width));
    float[] turns = new float[s.length * s.headSize];
    for (int i = 0; i < turns.length; i += 2) {
      turns[i] = (float) Math.cos(i);
      turns[i + 1] = (float) Math.sin(i);
    }
    table = device.of("table", DType.F32, turns, s.length, s.headSize / 2, 2);
    int[] at = new int[s.tokens()];
    Arrays.setAll(at, i -> i % s.length);
    positions = device.of("positions", at, n);
    work = work(3.0 * n * width, bytes(2.0 * n * width));
  }

  /** Turns by the angles of the positions. */
  @Benchmark
  public Tensor forward(Rates rates, Machine machine) {
    Tensor x = operands.next();
    kernels.rope(x, table, positions, false);
    rates.add(work);
    return x;
  }

  /** Turns back. */
  @Benchmark
  public Tensor backward(Rates rates, Machine machine) {
    Tensor x = operands.next();
    kernels.rope(x, table, positions, true);
    rates.add(work);
    return x;
  }

  @Override
  void check() {
    Tensor x = operands.current();
    requireNumbers(x);
    float[] before = x.rows(1, 1).toFloats();
    kernels.rope(x, table, positions, false);
    float[] turned = x.rows(1, 1).toFloats();
    int half = sizes.headSize / 2; // the pair of a head's first element
    requireNear(
        "the first turned element",
        before[0] * Math.cos(sizes.headSize) - before[half] * Math.sin(sizes.headSize),
        turned[0]);
    kernels.rope(x, table, positions, true);
    requireNear("it, turned back", before[0], x.rows(1, 1).toFloats()[0]);
  }
}
