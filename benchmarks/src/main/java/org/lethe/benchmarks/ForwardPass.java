package org.lethe.benchmarks;

import org.openjdk.jmh.annotations.Benchmark;
import org.openjdk.jmh.annotations.OperationsPerInvocation;

/** Forward over 4 blocks of 512 tokens, with the loss of every position; per token. */
public class ForwardPass extends ModelOperation {
  private int[] targets;
  private Rates.Work work;
  private double loss;

  /** Made by JMH. */
  public ForwardPass() {}

  @Override
  void prepare() {
    load(false);
    targets = targets();
    work = work(StepCost.forward(config, dtype, BLOCKS, LENGTH));
  }

  /** A pass. */
  @Benchmark
  @OperationsPerInvocation(BLOCKS * LENGTH)
  public double loss(Rates rates, Machine machine) {
    loss = llama.loss(tokens, targets, BLOCKS);
    rates.add(work);
    return loss;
  }

  @Override
  void check() {
    finite(loss);
  }
}
