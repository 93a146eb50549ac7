package org.lethe.benchmarks;

import org.openjdk.jmh.annotations.Benchmark;
import org.openjdk.jmh.annotations.OperationsPerInvocation;

/** Forward, backward and AdamW over 4 blocks of 512 tokens, all of them labelled; per token. */
public class TrainingStep extends ModelOperation {
  private Rates.Work work;

  /** Made by JMH. */
  public TrainingStep() {}

  @Override
  void prepare() {
    load(true);
    work = work(steps.trainingFlops(), 0); // what moves bytes can hide behind products
  }

  /** A step. */
  @Benchmark
  @OperationsPerInvocation(BLOCKS * LENGTH)
  public double step(Rates rates, Machine machine) {
    rates.add(work);
    return steps.train();
  }

  @Override
  void check() {
    requireNumbers(steps.weights().parameters().flat());
  }
}
