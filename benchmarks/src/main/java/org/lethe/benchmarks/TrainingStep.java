package org.lethe.benchmarks;

import org.lethe.kernels.DType;
import org.lethe.kernels.Kernels;
import org.lethe.kernels.Tensor;
import org.lethe.model.LlamaParameters;
import org.openjdk.jmh.annotations.Benchmark;
import org.openjdk.jmh.annotations.OperationsPerInvocation;

/** Forward, backward and AdamW over 4 blocks of 512 tokens, all of them labelled; per token. */
public class TrainingStep extends ModelOperation {
  private static final float SCALE = 1f / (BLOCKS * (LENGTH - 1));

  private Tensor gradient;
  private LlamaParameters gradients;
  private Tensor m;
  private Tensor v;
  private int[] targets;
  private Rates.Work work;
  private double loss;
  private long step;

  /** Made by JMH. */
  public TrainingStep() {}

  @Override
  void prepare() {
    load(true);
    targets = targets();
    long n = weights.parameters().flat().elements();
    gradient = zeros(DType.F32, n);
    m = zeros(DType.F32, n);
    v = zeros(DType.F32, n);
    gradients = new LlamaParameters(config, gradient);
    work = work(StepCost.training(config, dtype, BLOCKS, LENGTH));
  }

  /** A step. */
  @Benchmark
  @OperationsPerInvocation(BLOCKS * LENGTH)
  public double step(Rates rates, Machine machine) {
    loss = llama.train(tokens, targets, BLOCKS, SCALE, gradients);
    kernels.adamw(
        weights.parameters().flat(),
        weights.low(),
        gradient,
        m,
        v,
        new Kernels.AdamW(1e-6f, 0.9f, 0.999f, 1e-8f, 0, 1, ++step, 1),
        0);
    kernels.fill(gradient, 0);
    rates.add(work);
    return loss;
  }

  @Override
  void check() {
    finite(loss);
    requireNumbers(m, v);
  }
}
