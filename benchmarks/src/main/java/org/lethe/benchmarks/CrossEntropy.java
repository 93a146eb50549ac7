package org.lethe.benchmarks;

import org.lethe.kernels.DType;
import org.lethe.kernels.Tensor;
import org.openjdk.jmh.annotations.Benchmark;
import org.openjdk.jmh.annotations.Param;

/** Cross entropy over a chunk of logits (512, V), with its gradient in place, and without. */
public class CrossEntropy extends Operation {
  private static final int ROWS = 512;

  private record Operands(Tensor logits, Tensor gradient, Tensor targets, Tensor loss) {}

  /** Whose shapes. */
  @Param({"SMOLLM2", "LLAMA2", "ODD"})
  public Sizes sizes = Sizes.SMOLLM2;

  private Rotation<Operands> operands;
  private Rates.Work forward;
  private Rates.Work backward;

  /** Made by JMH. */
  public CrossEntropy() {}

  @Override
  void prepare() {
    int n = Math.min(ROWS, sizes.tokens());
    int v = sizes.vocabulary;
    double logits = (double) n * v;
    operands =
        rotation(
            bytes(logits),
            i ->
                new Operands(
                    random(dtype, 4, i, n, v),
                    zeros(dtype, n, v),
                    tokens(v, i, n),
                    zeros(DType.F32, n)));
    forward = work(4 * logits, bytes(logits));
    backward = work(8 * logits, bytes(2 * logits));
  }

  /** The losses. */
  @Benchmark
  public Tensor forward(Rates rates, Machine machine) {
    Operands o = operands.next();
    kernels.crossEntropy(o.loss, null, o.logits, o.targets, 0);
    rates.add(forward);
    return o.loss;
  }

  /** The losses and the gradient. */
  @Benchmark
  public Tensor withGradient(Rates rates, Machine machine) {
    Operands o = operands.next();
    kernels.crossEntropy(o.loss, o.gradient, o.logits, o.targets, 1f);
    rates.add(backward);
    return o.gradient;
  }

  /** Log-probabilities of the targets. */
  @Benchmark
  public Tensor logProbabilities(Rates rates, Machine machine) {
    Operands o = operands.next();
    kernels.tokenLogprobs(o.loss, o.logits, o.targets);
    rates.add(forward);
    return o.loss;
  }

  @Override
  void check() {
    Operands o = operands.next();
    kernels.crossEntropy(o.loss, o.gradient, o.logits, o.targets, 1f);
    requireNumbers(o.gradient, o.loss);
    double sum = 0;
    for (float each : o.gradient.rows(0, 1).toFloats()) {
      sum += each; // softmax less one-hot
    }
    requireNear("the sum of a row's gradient", 0, sum);
  }
}
