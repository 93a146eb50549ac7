package org.lethe.benchmarks;

import org.lethe.kernels.Tensor;
import org.openjdk.jmh.annotations.Benchmark;
import org.openjdk.jmh.annotations.Param;

/** SwiGLU over (N, F), gate and up side by side as the packed product leaves them. */
public class SwiGlu extends Operation {
  private record Operands(Tensor gate, Tensor up, Tensor out, Tensor dGate, Tensor dUp) {}

  /** Whose shapes. */
  @Param({"SMOLLM2", "LLAMA2", "ODD"})
  public Sizes sizes = Sizes.SMOLLM2;

  private Rotation<Operands> operands;
  private Rates.Work forward;
  private Rates.Work backward;

  /** Made by JMH. */
  public SwiGlu() {}

  @Override
  void prepare() {
    long n = sizes.tokens();
    long f = sizes.feedForward;
    operands = rotation(bytes(3.0 * n * f), i -> operands(i, n, f));
    forward = work(5.0 * n * f, bytes(3.0 * n * f));
    backward = work(12.0 * n * f, bytes(5.0 * n * f));
  }

  private Operands operands(int seed, long n, long f) {
    Tensor packed = random(dtype, 3, seed, n, 2 * f);
    Tensor gradient = zeros(dtype, n, 2 * f);
    return new Operands(
        packed.columns(0, f),
        packed.columns(f, f),
        random(dtype, 1, seed + 1, n, f),
        gradient.columns(0, f),
        gradient.columns(f, f));
  }

  /** out = silu(gate) up. */
  @Benchmark
  public Tensor forward(Rates rates, Machine machine) {
    Operands o = operands.next();
    kernels.swiglu(o.out, o.gate, o.up);
    rates.add(forward);
    return o.out;
  }

  /** dgate and dup; the gradient of out is what out holds. */
  @Benchmark
  public Tensor backward(Rates rates, Machine machine) {
    Operands o = operands.next();
    kernels.swigluBackward(o.dGate, o.dUp, o.out, o.gate, o.up);
    rates.add(backward);
    return o.dGate;
  }

  @Override
  void check() {
    Operands o = operands.next();
    kernels.swiglu(o.out, o.gate, o.up);
    float gate = o.gate.rows(0, 1).toFloats()[0];
    float up = o.up.rows(0, 1).toFloats()[0];
    double sigmoid = 1 / (1 + Math.exp(-gate));
    float out = o.out.rows(0, 1).toFloats()[0];
    requireNear("out's first element", gate * sigmoid * up, out);
    requireNumbers(o.out);
    kernels.swigluBackward(o.dGate, o.dUp, o.out, o.gate, o.up);
    requireNear(
        "dgate's first element",
        out * up * sigmoid * (1 + gate * (1 - sigmoid)),
        o.dGate.rows(0, 1).toFloats()[0]);
    requireNear("dup's first element", out * gate * sigmoid, o.dUp.rows(0, 1).toFloats()[0]);
  }
}
