package org.lethe.benchmarks;

import org.lethe.kernels.DType;
import org.lethe.kernels.Kernels.Layout;
import org.lethe.kernels.Tensor;
import org.openjdk.jmh.annotations.Benchmark;
import org.openjdk.jmh.annotations.Param;

/**
 * The matrix products of a layer and of the head, as a step makes them: y = x Wᵀ forward, dx = dy W
 * and dW += dyᵀ x (in F32) backward.
 */
public class MatrixProduct extends Operation {
  /** Whose weights: queries, keys and values packed, gate and up packed. */
  public enum Product {
    /** (Hq D + 2 Hkv D, d). */
    QKV,
    /** (d, Hq D). */
    OUTPUT,
    /** (2 F, d). */
    GATE_UP,
    /** (d, F). */
    DOWN,
    /** (V, d), for 512 rows at most. */
    HEAD;

    long outputs(Sizes s) {
      return switch (this) {
        case QKV -> s.queryWidth() + 2L * s.kvWidth();
        case OUTPUT, DOWN -> s.width;
        case GATE_UP -> 2L * s.feedForward;
        case HEAD -> s.vocabulary;
      };
    }

    long inputs(Sizes s) {
      return switch (this) {
        case QKV, GATE_UP, HEAD -> s.width;
        case OUTPUT -> s.queryWidth();
        case DOWN -> s.feedForward;
      };
    }

    long rows(Sizes s) {
      return this == HEAD ? Math.min(s.tokens(), 512) : s.tokens();
    }
  }

  private record Operands(Tensor x, Tensor weight, Tensor y, Tensor dX, Tensor dWeight) {}

  /** Whose shapes. */
  @Param({"SMOLLM2", "LLAMA2", "ODD"})
  public Sizes sizes = Sizes.SMOLLM2;

  /** Which product. */
  @Param({"QKV", "OUTPUT", "GATE_UP", "DOWN", "HEAD"})
  public Product product = Product.QKV;

  private Rotation<Operands> operands;
  private Rates.Work product3;
  private Rates.Work gradient;

  /** Made by JMH. */
  public MatrixProduct() {}

  @Override
  void prepare() {
    long n = product.rows(sizes);
    long in = product.inputs(sizes);
    long out = product.outputs(sizes);
    operands =
        rotation(
            bytes(n * in + out * in + n * out),
            i ->
                new Operands(
                    random(dtype, 1, i, n, in),
                    random(dtype, 1, i + 1, out, in),
                    random(dtype, 1, i + 2, n, out),
                    zeros(dtype, n, in),
                    zeros(DType.F32, out, in)));
    double flop = 2.0 * n * in * out;
    product3 = work(flop, bytes(n * in + out * in + n * out));
    gradient = work(flop, bytes(n * in + n * out) + 2.0 * Float.BYTES * out * in);
  }

  /** y (N, out) = x (N, in) Wᵀ, W (out, in). */
  @Benchmark
  public Tensor forward(Rates rates, Machine machine) {
    Operands o = operands.next();
    kernels.matmul(o.y, o.x, o.weight, Layout.NT, false);
    rates.add(product3);
    return o.y;
  }

  /** dx (N, in) = dy (N, out) W. */
  @Benchmark
  public Tensor backwardInput(Rates rates, Machine machine) {
    Operands o = operands.next();
    kernels.matmul(o.dX, o.y, o.weight, Layout.NN, false);
    rates.add(product3);
    return o.dX;
  }

  /** dW (out, in) += dyᵀ x, in F32. */
  @Benchmark
  public Tensor backwardWeight(Rates rates, Machine machine) {
    Operands o = operands.next();
    kernels.matmul(o.dWeight, o.y, o.x, Layout.TN, true);
    rates.add(gradient);
    return o.dWeight;
  }

  @Override
  void check() {
    Operands o = operands.next();
    kernels.matmul(o.y, o.x, o.weight, Layout.NT, false);
    float[] x = o.x.rows(o.x.rows() - 1, 1).toFloats();
    float[] w = o.weight.rows(o.weight.rows() - 1, 1).toFloats();
    double expected = 0;
    for (int i = 0; i < x.length; i++) {
      expected += (double) x[i] * w[i];
    }
    float[] y = o.y.rows(o.y.rows() - 1, 1).toFloats();
    requireNear("the last element of y", expected, y[y.length - 1]);
  }
}
