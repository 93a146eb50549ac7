package org.lethe.benchmarks;

import org.openjdk.jmh.annotations.AuxCounters;
import org.openjdk.jmh.annotations.Level;
import org.openjdk.jmh.annotations.Scope;
import org.openjdk.jmh.annotations.Setup;
import org.openjdk.jmh.annotations.State;

/** The speed of the machine just before each iteration, which the regression gate divides by. */
@State(Scope.Thread)
@AuxCounters(AuxCounters.Type.EVENTS)
public class Machine {
  private Calibration calibration;
  private double arithmetic;
  private double memory;

  /** Set up by JMH. */
  public Machine() {}

  /** Starts the calibration's threads. */
  @Setup(Level.Trial)
  public void start() {
    calibration = new Calibration();
  }

  /** Measures. */
  @Setup(Level.Iteration)
  public void measure() {
    arithmetic = calibration.arithmetic();
    memory = calibration.memory();
  }

  /** Seconds of {@link Calibration#arithmetic}. */
  public double machineArithmetic() {
    return arithmetic;
  }

  /** Seconds of {@link Calibration#memory}. */
  public double machineMemory() {
    return memory;
  }
}
