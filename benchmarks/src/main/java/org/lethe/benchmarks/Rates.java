package org.lethe.benchmarks;

import org.openjdk.jmh.annotations.AuxCounters;
import org.openjdk.jmh.annotations.Scope;
import org.openjdk.jmh.annotations.State;

/** What an operation did, which JMH divides by the seconds it took. */
@State(Scope.Thread)
@AuxCounters(AuxCounters.Type.OPERATIONS)
public class Rates {
  /** Floating-point operations, in 10⁹: GFLOP/s. */
  public double gflops;

  /** Bytes that must move between memory and cores, in 10⁹: GB/s. */
  public double gbytes;

  /** Seconds that the slower of the two ceilings asks for: a share of 1 is as fast as can be. */
  public double ceiling;

  /** Set up by JMH. */
  public Rates() {}

  void add(Work work) {
    gflops += work.gflop();
    gbytes += work.gbyte();
    ceiling += work.floorSeconds();
  }

  /**
   * What a call has to do.
   *
   * @param gflop 10⁹ floating-point operations
   * @param gbyte 10⁹ bytes read or written, each operand once
   * @param floorSeconds the least time it can take under this fork's ceilings
   */
  record Work(double gflop, double gbyte, double floorSeconds) {}
}
