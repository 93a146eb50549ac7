package org.lethe.benchmarks;

import java.util.concurrent.TimeUnit;
import java.util.function.IntFunction;
import org.lethe.kernels.DType;
import org.lethe.kernels.Device;
import org.lethe.kernels.Kernels;
import org.lethe.kernels.Tensor;
import org.openjdk.jmh.annotations.BenchmarkMode;
import org.openjdk.jmh.annotations.Fork;
import org.openjdk.jmh.annotations.Level;
import org.openjdk.jmh.annotations.Measurement;
import org.openjdk.jmh.annotations.Mode;
import org.openjdk.jmh.annotations.OutputTimeUnit;
import org.openjdk.jmh.annotations.Param;
import org.openjdk.jmh.annotations.Scope;
import org.openjdk.jmh.annotations.Setup;
import org.openjdk.jmh.annotations.State;
import org.openjdk.jmh.annotations.TearDown;
import org.openjdk.jmh.annotations.Warmup;

/**
 * What benchmarks of a device's operations share: the device, operands of random numbers that no
 * cache holds, the ceilings of this fork, and a look at what came out.
 */
@State(Scope.Benchmark)
@BenchmarkMode(Mode.Throughput)
@OutputTimeUnit(TimeUnit.SECONDS)
@Fork(2)
@Warmup(iterations = 2, time = 250, timeUnit = TimeUnit.MILLISECONDS)
@Measurement(iterations = 10, time = 250, timeUnit = TimeUnit.MILLISECONDS)
public abstract class Operation {
  /** The storage type of activations and weights. */
  @Param({"BF16", "F32"})
  public DType dtype = DType.BF16;

  Device device;
  Kernels kernels;
  private Ceilings ceilings;
  private Tensor sum;

  /** Made by JMH. */
  protected Operation() {}

  /** Opens the device, measures its ceilings, and lets the operation make its operands. */
  @Setup(Level.Trial)
  public final void open() {
    device = Settings.openDevice();
    kernels = device.kernels();
    ceilings = Settings.ceilings() ? Ceilings.measure(device, dtype) : Ceilings.UNKNOWN;
    sum = device.allocate("sum", DType.F64, 1);
    prepare();
  }

  /** Looks at the last outputs, and closes the device. */
  @TearDown(Level.Trial)
  public final void close() {
    check();
    finish();
    device.close();
  }

  /** Makes the operands. */
  abstract void prepare();

  /** Looks at what the last call wrote; throws if it cannot be right. */
  abstract void check();

  /** Closes what is not the device's. */
  void finish() {}

  /** What a call has to do, with the least time for it. */
  final Rates.Work work(double flop, double bytes) {
    return new Rates.Work(
        flop / 1e9, bytes / 1e9, Math.max(flop / ceilings.flops(), bytes / ceilings.bytes()));
  }

  /** Sets of operands, as many as no cache holds: each of about {@code bytes}. */
  final <T> Rotation<T> rotation(double bytes, IntFunction<T> make) {
    return new Rotation<>((long) bytes, make);
  }

  /** A tensor of uniform random numbers in [-1, 1) times {@code scale}, another for each seed. */
  final Tensor random(DType type, float scale, int seed, long... shape) {
    Tensor tensor = device.allocate("operand", type, shape);
    long n = tensor.elements();
    Tensor scaled = device.of("scaled", DType.F32, Noise.floats(1 << 16, scale, seed), 1 << 16);
    for (long at = 0; at < n; at += scaled.elements()) {
      long count = Math.min(scaled.elements(), n - at);
      kernels.convert(tensor.view("part", at, count), scaled.view("part", 0, count));
    }
    scaled.close();
    return tensor;
  }

  /** An output, with zeros. */
  final Tensor zeros(DType type, long... shape) {
    Tensor tensor = device.allocate("output", type, shape);
    kernels.fill(tensor, 0);
    return tensor;
  }

  /** Random tokens of a vocabulary. */
  final Tensor tokens(int vocabulary, int seed, int n) {
    return device.of("tokens", Noise.tokens(vocabulary, seed, n), n);
  }

  /** Refuses outputs that are all zero or not finite. */
  final void requireNumbers(Tensor... outputs) {
    for (Tensor output : outputs) {
      kernels.sumOfSquares(sum, output);
      double squares = sum.toDoubles()[0];
      if (!(squares > 0 && Double.isFinite(squares))) {
        throw new IllegalStateException(output + " came out with a sum of squares of " + squares);
      }
    }
  }

  /** Refuses what is further from the expected than rounding explains. */
  final void requireNear(String what, double expected, double found) {
    double tolerance = (dtype == DType.BF16 ? 0.02 : 1e-4) * Math.max(1, Math.abs(expected));
    if (!(Math.abs(expected - found) <= tolerance)) {
      throw new IllegalStateException("%s is %s, should be %s".formatted(what, found, expected));
    }
  }

  /** Bytes of that many elements of the activations' type. */
  final double bytes(double elements) {
    return elements * dtype.bytes();
  }
}
