package org.lethe.benchmarks;

import org.lethe.kernels.DType;
import org.lethe.kernels.Device;
import org.lethe.kernels.Kernels.Layout;
import org.lethe.kernels.Tensor;

/**
 * What this machine reaches at best, measured in the fork that the benchmark runs in: a matrix
 * product of 2048 cubed, and reading what no cache holds.
 *
 * @param flops floating-point operations a second
 * @param bytes bytes a second
 */
record Ceilings(double flops, double bytes) {
  /** Nothing is measured: shares are 0. */
  static final Ceilings UNKNOWN = new Ceilings(Double.POSITIVE_INFINITY, Double.POSITIVE_INFINITY);

  private static final int SIDE = 2048;
  private static final long ROW = 4096;
  private static final long READ =
      Math.max(64L << 20, LastLevelCache.BEYOND / Float.BYTES / ROW * ROW);
  private static final int REPEATS = 5;

  static Ceilings measure(Device device, DType dtype) {
    return new Ceilings(
        2.0 * SIDE * SIDE * SIDE / product(device, dtype),
        (double) READ * Float.BYTES / reading(device));
  }

  /** The higher of each. */
  Ceilings or(Ceilings other) {
    return new Ceilings(Math.max(flops, other.flops), Math.max(bytes, other.bytes));
  }

  private static double product(Device device, DType dtype) {
    try (Tensor a = device.allocate("a", dtype, SIDE, SIDE);
        Tensor b = device.allocate("b", dtype, SIDE, SIDE);
        Tensor c = device.allocate("c", dtype, SIDE, SIDE)) {
      device.kernels().fill(a, 0.5f);
      device.kernels().fill(b, 0.25f);
      return best(device, () -> device.kernels().matmul(c, a, b, Layout.NN, false));
    }
  }

  /** By what reads fastest: a sum, or the product of one row with all of it. */
  private static double reading(Device device) {
    try (Tensor x = device.allocate("x", DType.F32, READ / ROW, ROW);
        Tensor row = device.allocate("row", DType.F32, 1, ROW);
        Tensor y = device.allocate("y", DType.F32, 1, READ / ROW);
        Tensor sum = device.allocate("sum", DType.F64, 1)) {
      device.kernels().fill(x, 0.5f);
      device.kernels().fill(row, 0.25f);
      return Math.min(
          best(device, () -> device.kernels().sumOfSquares(sum, x)),
          best(device, () -> device.kernels().matmul(y, row, x, Layout.NT, false)));
    }
  }

  private static double best(Device device, Runnable work) {
    double best = Double.POSITIVE_INFINITY;
    for (int i = 0; i <= REPEATS; i++) {
      long start = System.nanoTime();
      work.run();
      device.synchronize();
      double seconds = (System.nanoTime() - start) / 1e9;
      best = i == 0 ? best : Math.min(best, seconds);
    }
    return best;
  }
}
