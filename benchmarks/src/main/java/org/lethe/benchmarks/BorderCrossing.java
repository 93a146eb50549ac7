package org.lethe.benchmarks;

import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.lang.invoke.MethodHandle;
import java.util.concurrent.TimeUnit;
import org.bytedeco.javacpp.BytePointer;
import org.bytedeco.javacpp.Pointer;
import org.lethe.kernels.DType;
import org.lethe.kernels.Device;
import org.lethe.kernels.Tensor;
import org.openjdk.jmh.annotations.Benchmark;
import org.openjdk.jmh.annotations.BenchmarkMode;
import org.openjdk.jmh.annotations.Fork;
import org.openjdk.jmh.annotations.Level;
import org.openjdk.jmh.annotations.Measurement;
import org.openjdk.jmh.annotations.Mode;
import org.openjdk.jmh.annotations.OutputTimeUnit;
import org.openjdk.jmh.annotations.Scope;
import org.openjdk.jmh.annotations.Setup;
import org.openjdk.jmh.annotations.State;
import org.openjdk.jmh.annotations.TearDown;
import org.openjdk.jmh.annotations.Warmup;

/**
 * From Java into native code and back: the C library's {@code memcmp} of one byte through the
 * Foreign Function and Memory API and through JavaCPP's JNI, and the cheapest of our own calls with
 * the checks around it.
 */
@State(Scope.Benchmark)
@BenchmarkMode(Mode.AverageTime)
@OutputTimeUnit(TimeUnit.NANOSECONDS)
@Fork(2)
@Warmup(iterations = 3, time = 250, timeUnit = TimeUnit.MILLISECONDS)
@Measurement(iterations = 10, time = 250, timeUnit = TimeUnit.MILLISECONDS)
public class BorderCrossing {
  private static final FunctionDescriptor MEMCMP_OF_ADDRESSES =
      FunctionDescriptor.of(
          ValueLayout.JAVA_INT,
          ValueLayout.JAVA_LONG,
          ValueLayout.JAVA_LONG,
          ValueLayout.JAVA_LONG);
  private static final MethodHandle CONSTANT = memcmp();

  private final MethodHandle field = memcmp();
  private Arena arena;
  private long address;
  private Pointer pointer;
  private Device device;
  private Tensor one;

  /** Made by JMH. */
  public BorderCrossing() {}

  private static MethodHandle memcmp() {
    Linker linker = Linker.nativeLinker();
    return linker.downcallHandle(linker.defaultLookup().findOrThrow("memcmp"), MEMCMP_OF_ADDRESSES);
  }

  /** Makes the operands. */
  @Setup(Level.Trial)
  public void open() {
    arena = Arena.ofShared();
    MemorySegment byteOfMemory = arena.allocate(1);
    address = byteOfMemory.address();
    pointer = new BytePointer(1).put((byte) 1);
    device = Settings.openDevice();
    one = device.allocate("one", DType.F32, 1);
  }

  /** Frees them. */
  @TearDown(Level.Trial)
  public void close() {
    device.kernels().fill(one, 3);
    if (one.toFloats()[0] != 3) {
      throw new IllegalStateException("fill of 3 wrote " + one.toFloats()[0]);
    }
    device.close();
    pointer.close();
    arena.close();
  }

  /** FFM, the method handle a constant. */
  @Benchmark
  public int ffm(Machine machine) throws Throwable {
    return (int) CONSTANT.invokeExact(address, address, 1L);
  }

  /** FFM, the method handle in a field of an object, as a device that can be closed has them. */
  @Benchmark
  public int ffmThroughField(Machine machine) throws Throwable {
    return (int) field.invokeExact(address, address, 1L);
  }

  /** JavaCPP's JNI. */
  @Benchmark
  public int javaCppJni(Machine machine) {
    return Pointer.memcmp(pointer, pointer, 1);
  }

  /** Our own call: shapes checked in Java, arguments in C, one number written. */
  @Benchmark
  public Tensor fillOfOneElement(Machine machine) {
    device.kernels().fill(one, 3);
    return one;
  }
}
