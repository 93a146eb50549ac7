package org.lethe.benchmarks;

import java.util.concurrent.BrokenBarrierException;
import java.util.concurrent.CyclicBarrier;

/**
 * How fast the machine is at this moment, by work that never changes: plain Java, none of the code
 * under test, on as many threads as there are cores, as slow as the slowest of them, as kernels
 * are. Measured around every iteration, so that a slow machine is not taken for slow code.
 */
final class Calibration {
  /** Steps, each waiting for the one before: no compiler makes them faster or slower. */
  private static final int CHAIN = 1 << 19;

  private static final int TRIES = 5;

  /** Longs a thread reads: 32 MiB, so that all threads together overflow a shared cache. */
  private static final int READ = 4 << 20;

  private final Thread[] threads;
  private final CyclicBarrier barrier;
  private final long[][] read;
  private volatile boolean reading;
  private volatile double consumed;

  /** Starts daemon threads that wait for work. */
  Calibration() {
    int cores = Runtime.getRuntime().availableProcessors();
    threads = new Thread[cores];
    barrier = new CyclicBarrier(cores + 1);
    read = new long[cores][READ];
    for (int t = 0; t < cores; t++) {
      int thread = t;
      threads[t] = new Thread(() -> serve(thread), "calibration-" + t);
      threads[t].setDaemon(true);
      threads[t].start();
    }
    for (int i = 0; i < 5; i++) { // until it is compiled
      arithmetic();
      memory();
    }
  }

  /** What {@link #memory} reads. */
  static long bytesRead() {
    return (long) Runtime.getRuntime().availableProcessors() * READ * Long.BYTES;
  }

  /** Seconds that a fixed chain of operations on registers took, at best. */
  double arithmetic() {
    return least(false);
  }

  /** Seconds that reading a fixed number of bytes from memory took, at best. */
  double memory() {
    return least(true);
  }

  /** A single try varies threefold: a thread wakes late, a core is shared for a moment. */
  private double least(boolean memory) {
    double least = Double.POSITIVE_INFINITY;
    for (int i = 0; i < TRIES; i++) {
      least = Math.min(least, run(memory));
    }
    return least;
  }

  private double run(boolean memory) {
    reading = memory;
    long start = System.nanoTime();
    await();
    await();
    return (System.nanoTime() - start) / 1e9;
  }

  private void serve(int thread) {
    while (true) {
      await();
      double result = reading ? sum(read[thread]) : chain(thread + 1);
      consumed = result;
      await();
    }
  }

  /** Marsaglia's xorshift. */
  private static long chain(long x) {
    for (int i = 0; i < CHAIN; i++) {
      x ^= x << 13;
      x ^= x >>> 7;
      x ^= x << 17;
    }
    return x;
  }

  private static double sum(long[] x) {
    long sum = 0;
    for (long each : x) {
      sum += each;
    }
    return sum;
  }

  private void await() {
    try {
      barrier.await();
    } catch (InterruptedException | BrokenBarrierException e) {
      throw new IllegalStateException("the calibration was cut off", e);
    }
  }
}
