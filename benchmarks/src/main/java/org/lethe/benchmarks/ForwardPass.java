package org.lethe.benchmarks;

import org.openjdk.jmh.annotations.Benchmark;
import org.openjdk.jmh.annotations.OperationsPerInvocation;

/** Forward over 4 blocks of 512 tokens, with the loss of every position; per token. */
public class ForwardPass extends ModelOperation {
  private Rates.Work work;

  /** Made by JMH. */
  public ForwardPass() {}

  @Override
  void prepare() {
    load(false);
    work = work(steps.forwardFlops(), 0); // what moves bytes can hide behind products
  }

  /** A pass. */
  @Benchmark
  @OperationsPerInvocation(BLOCKS * LENGTH)
  public double loss(Rates rates, Machine machine) {
    rates.add(work);
    return steps.forward();
  }

  @Override
  void check() {
    double loss = steps.forward() / (BLOCKS * (LENGTH - 1));
    double chance = Math.log(steps.config().vocabulary());
    if (loss > 2 * chance) { // random tokens cannot be foretold, but nor can they be that wrong
      throw new IllegalStateException("the loss is " + loss + " a token, chance has " + chance);
    }
  }
}
