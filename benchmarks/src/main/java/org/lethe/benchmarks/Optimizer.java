package org.lethe.benchmarks;

import org.lethe.kernels.DType;
import org.lethe.kernels.Kernels;
import org.lethe.kernels.Tensor;
import org.openjdk.jmh.annotations.Benchmark;
import org.openjdk.jmh.annotations.Param;

/** AdamW on exact fp32 weights, and the gradient's norm, over 16 million parameters. */
public class Optimizer extends Operation {
  private static final long N = 16L << 20;

  /** What moments are kept in. */
  @Param({"F32", "BF16"})
  public DType moments = DType.F32;

  private Tensor weight;
  private Tensor low;
  private Tensor gradient;
  private Tensor m;
  private Tensor v;
  private Tensor norm;
  private Rates.Work update;
  private Rates.Work squares;
  private Rates.Work halves;
  private long step;

  /** Made by JMH. */
  public Optimizer() {}

  @Override
  void prepare() {
    weight = random(dtype, 1, 1, N);
    if (dtype == DType.BF16) {
      low = device.allocate("low", DType.I16, N);
      kernels.fill(low.cast("low", DType.BF16, 0, N), 0);
    }
    gradient = random(DType.F32, 1, 2, N);
    m = zeros(moments, N);
    v = zeros(moments, N);
    norm = device.allocate("norm", DType.F64, 1);
    update = work(12.0 * N, N * (2.0 * Float.BYTES + Float.BYTES + 4.0 * moments.bytes()));
    squares = work(2.0 * N, N * (double) Float.BYTES);
    halves = work(0, 2.0 * N * Float.BYTES);
  }

  /** One step of AdamW: weights read and written, gradients read, both moments read and written. */
  @Benchmark
  public Tensor adamw(Rates rates, Machine machine) {
    kernels.adamw(
        weight,
        low,
        gradient,
        m,
        v,
        new Kernels.AdamW(1e-6f, 0.9f, 0.999f, 1e-8f, 0, 1, ++step, 1),
        0);
    rates.add(update);
    return weight;
  }

  /** The sum of the gradient's squares. */
  @Benchmark
  public Tensor sumOfSquares(Rates rates, Machine machine) {
    kernels.sumOfSquares(norm, gradient);
    rates.add(squares);
    return norm;
  }

  /** Exact weights joined from their halves, as saving does; F32 weights are copied. */
  @Benchmark
  public Tensor join(Rates rates, Machine machine) {
    if (low == null) {
      kernels.convert(gradient, weight);
    } else {
      kernels.join(gradient, weight, low);
    }
    rates.add(halves);
    return gradient;
  }

  @Override
  void check() {
    kernels.sumOfSquares(norm, gradient);
    requireNumbers(weight, gradient);
    if (step > 0) {
      requireNumbers(m, v);
    }
  }
}
