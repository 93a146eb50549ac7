package org.lethe.benchmarks;

import java.util.Arrays;
import org.lethe.kernels.DType;
import org.lethe.kernels.Tensor;
import org.openjdk.jmh.annotations.Benchmark;
import org.openjdk.jmh.annotations.Param;

/** RMSNorm with the residual add in front of it, over (N, d). */
public class RmsNorm extends Operation {
  private static final float EPS = 1e-5f;

  private record Operands(Tensor x, Tensor residual, Tensor sum, Tensor y, Tensor rstd) {}

  /** Whose shapes. */
  @Param({"SMOLLM2", "LLAMA2", "ODD"})
  public Sizes sizes = Sizes.SMOLLM2;

  private Rotation<Operands> operands;
  private Tensor weight;
  private Tensor dWeight;
  private Rates.Work forward;
  private Rates.Work backward;

  /** Made by JMH. */
  public RmsNorm() {}

  @Override
  void prepare() {
    long n = sizes.tokens();
    long d = sizes.width;
    operands =
        rotation(
            bytes(4.0 * n * d),
            i ->
                new Operands(
                    random(dtype, 1, i, n, d),
                    random(dtype, 1, i + 1, n, d),
                    zeros(dtype, n, d),
                    random(dtype, 1, i + 2, n, d),
                    device.of("rstd", DType.F32, ones(n), n)));
    weight = random(dtype, 1, 0, d);
    dWeight = zeros(DType.F32, d);
    forward = work(5.0 * n * d, bytes(4.0 * n * d));
    backward = work(10.0 * n * d, bytes(4.0 * n * d));
  }

  private static float[] ones(long n) {
    float[] ones = new float[(int) n];
    Arrays.fill(ones, 1);
    return ones;
  }

  /** sum = x + residual, y = sum rstd weight. */
  @Benchmark
  public Tensor forward(Rates rates, Machine machine) {
    Operands o = operands.next();
    kernels.rmsnorm(o.y, o.rstd, o.sum, o.x, o.residual, weight, EPS);
    rates.add(forward);
    return o.y;
  }

  /** dx = dresidual + the gradient through the norm, dweight +=. */
  @Benchmark
  public Tensor backward(Rates rates, Machine machine) {
    Operands o = operands.next();
    kernels.rmsnormBackward(o.sum, dWeight, o.y, o.x, weight, o.rstd, o.residual);
    rates.add(backward);
    return o.sum;
  }

  @Override
  void check() {
    Operands o = operands.next();
    kernels.rmsnorm(o.y, o.rstd, o.sum, o.x, o.residual, weight, EPS);
    float[] sum = o.sum.rows(0, 1).toFloats();
    double squares = 0;
    for (float each : sum) {
      squares += (double) each * each;
    }
    double rstd = 1 / Math.sqrt(squares / sum.length + EPS);
    float[] w = weight.toFloats();
    requireNear("y's first element", sum[0] * rstd * w[0], o.y.rows(0, 1).toFloats()[0]);

    float[] x = o.x.rows(0, 1).toFloats();
    float[] dy = o.y.rows(0, 1).toFloats();
    double r = o.rstd.toFloats()[0];
    double mean = 0;
    for (int i = 0; i < x.length; i++) {
      mean += w[i] * dy[i] * x[i] * r / x.length;
    }
    kernels.rmsnormBackward(o.sum, dWeight, o.y, o.x, weight, o.rstd, o.residual);
    requireNear(
        "dx's first element",
        o.residual.rows(0, 1).toFloats()[0] + r * (w[0] * dy[0] - x[0] * r * mean),
        o.sum.rows(0, 1).toFloats()[0]);
    requireNumbers(dWeight);
  }
}
