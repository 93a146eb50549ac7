package org.lethe.kernels;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.MemorySegment.Scope;
import java.lang.foreign.ValueLayout;
import java.util.Arrays;
import org.jspecify.annotations.Nullable;

/**
 * Numbers on a device: a dtype, a shape, an address. Row-major; a view of some columns of a matrix
 * keeps the matrix's row stride ({@link #stride}). A tensor from {@link Device#allocate} owns its
 * memory and frees it when closed; views own nothing.
 */
public final class Tensor implements AutoCloseable {
  private final Device device;
  private final String name;
  private final DType dtype;
  private final long[] shape;
  private final long stride;
  private final boolean owner;
  private final @Nullable Scope host; // that of its memory, where it is not the device's own
  private final long elements;
  private final long width;
  private long address;

  /** Memory of the device's own, which the tensor owns. */
  Tensor(Device device, String name, DType dtype, long[] shape, long address) {
    this(device, name, dtype, shape, width(shape), address, true, null);
  }

  /** The host's memory, for as long as its scope lives. */
  Tensor(Device device, String name, DType dtype, long[] shape, MemorySegment host) {
    this(device, name, dtype, shape, width(shape), host.address(), false, host.scope());
  }

  private Tensor(
      Device device,
      String name,
      DType dtype,
      long[] shape,
      long stride,
      long address,
      boolean owner,
      @Nullable Scope host) {
    this.device = device;
    this.name = name;
    this.dtype = dtype;
    this.shape = shape;
    this.stride = stride;
    this.address = address;
    this.owner = owner;
    this.host = host;
    this.elements = elements(shape);
    this.width = width(shape);
  }

  /** The product of the sizes, each at least 1; its bytes fit a long whatever the dtype. */
  static long elements(long... shape) {
    long n = 1;
    for (long size : shape) {
      if (size < 1) {
        throw new IllegalArgumentException("sizes start at 1: " + Arrays.toString(shape));
      }
      if (n > Long.MAX_VALUE / Long.BYTES / size) {
        throw new IllegalArgumentException("too many elements: " + Arrays.toString(shape));
      }
      n *= size;
    }
    return n;
  }

  private static long width(long[] shape) {
    long n = 1;
    for (int i = 1; i < shape.length; i++) {
      n *= shape[i];
    }
    return n;
  }

  public Device device() {
    return device;
  }

  public String name() {
    return name;
  }

  public DType dtype() {
    return dtype;
  }

  public long[] shape() {
    return shape.clone();
  }

  /** The size of dimension {@code i}. */
  public long size(int i) {
    return shape[i];
  }

  /** How many dimensions it has. */
  public int rank() {
    return shape.length;
  }

  /** Rows: the first dimension. */
  public long rows() {
    return shape[0];
  }

  /** Elements in a row: the product of all dimensions but the first. */
  public long width() {
    return width;
  }

  /** Elements from the start of a row to the start of the next. */
  public long stride() {
    return stride;
  }

  /** True if rows follow each other without a gap. */
  public boolean isContiguous() {
    return stride == width || rows() == 1;
  }

  public long elements() {
    return elements;
  }

  public long bytes() {
    return elements() * dtype.bytes();
  }

  /** The device address of the first element. */
  public long address() {
    if (address == 0) {
      throw new IllegalStateException("tensor '" + name + "' is closed");
    }
    if (host != null && !host.isAlive()) {
      throw new IllegalStateException("what tensor '" + name + "' lies in is closed");
    }
    device.handle();
    return address;
  }

  /** A view of {@code count} rows from row {@code from} on. */
  public Tensor rows(long from, long count) {
    checkRange("rows", from, count, rows());
    long[] s = shape.clone();
    s[0] = count;
    return part(name, dtype, s, stride, from * stride * dtype.bytes());
  }

  /** A view (rows, count) of the columns {@code from} on of a matrix; its stride stays. */
  public Tensor columns(long from, long count) {
    checkRange("columns", from, count, width());
    return part(name, dtype, new long[] {rows(), count}, stride, from * dtype.bytes());
  }

  /** A view of a contiguous tensor's elements from {@code first} on, as another shape. */
  public Tensor view(String viewName, long first, long... viewShape) {
    if (!isContiguous()) {
      throw new IllegalArgumentException(
          this + " has gaps between its rows: it cannot be reshaped");
    }
    checkRange("elements", first, elements(viewShape), elements());
    return part(viewName, dtype, viewShape.clone(), width(viewShape), first * dtype.bytes());
  }

  /** The same bytes, from {@code first} (a byte) on, as elements of another dtype. */
  public Tensor cast(String viewName, DType viewType, long first, long... viewShape) {
    checkRange("bytes", first, Math.multiplyExact(elements(viewShape), viewType.bytes()), bytes());
    if (!isContiguous() || first % viewType.bytes() != 0) {
      throw new IllegalArgumentException(
          this + " cannot be seen as " + viewType + " from " + first);
    }
    return part(viewName, viewType, viewShape.clone(), width(viewShape), first);
  }

  /**
   * A view (count, width) of a contiguous tensor's elements from the first on, each row {@code gap}
   * elements after the end of the one before.
   */
  public Tensor spaced(long count, long width, long gap) {
    long apart = Math.addExact(width, gap);
    checkRange(
        "elements", 0, Math.addExact(Math.multiplyExact(count - 1, apart), width), elements());
    if (!isContiguous() || count < 1 || width < 1 || gap < 0) {
      throw new IllegalArgumentException(
          "%s cannot be seen as %d rows of %d, %d apart".formatted(this, count, width, apart));
    }
    return part(name, dtype, new long[] {count, width}, apart, 0);
  }

  private Tensor part(String partName, DType type, long[] partShape, long apart, long firstByte) {
    return new Tensor(device, partName, type, partShape, apart, address() + firstByte, false, host);
  }

  private void checkRange(String what, long from, long count, long of) {
    if (from < 0 || count < 1 || from > of - count) {
      throw new IllegalArgumentException(
          "%s %d to %d of %s, which has %d".formatted(what, from, from + count, this, of));
    }
  }

  /** Copies {@code source}, exactly as many bytes as the tensor has, to the device. */
  public void copyFrom(MemorySegment source) {
    checkHost(source);
    device.kernels().copyToDevice(address(), source, bytes());
  }

  /** Copies the tensor to {@code target}, exactly as many bytes. */
  public void copyTo(MemorySegment target) {
    checkHost(target);
    device.kernels().copyToHost(target, address(), bytes());
  }

  private void checkHost(MemorySegment segment) {
    if (!isContiguous()) {
      throw new IllegalArgumentException(this + " has gaps between its rows: it cannot be copied");
    }
    if (!segment.isNative() || segment.byteSize() != bytes()) {
      throw new IllegalArgumentException(
          "%s takes %d bytes of native memory, not %d"
              .formatted(this, bytes(), segment.byteSize()));
    }
  }

  /** Copies {@code values} to an F32 or BF16 tensor, rounded to nearest even where narrower. */
  public void set(float[] values) {
    checkLength(values.length);
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment staged = Device.stage(arena, bytes());
      switch (dtype) {
        case F32 -> MemorySegment.copy(values, 0, staged, ValueLayout.JAVA_FLOAT, 0, values.length);
        case BF16 -> {
          for (int i = 0; i < values.length; i++) {
            staged.setAtIndex(ValueLayout.JAVA_SHORT, i, DType.toBf16(values[i]));
          }
        }
        default -> throw new IllegalArgumentException(this + " does not hold real numbers");
      }
      copyFrom(staged.asSlice(0, bytes()));
    }
  }

  /** Copies {@code values} to an I32 tensor. */
  public void set(int[] values) {
    checkLength(values.length);
    checkType(DType.I32);
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment staged = Device.stage(arena, bytes());
      MemorySegment.copy(values, 0, staged, ValueLayout.JAVA_INT, 0, values.length);
      copyFrom(staged.asSlice(0, bytes()));
    }
  }

  /** The elements of an F32 or BF16 tensor. */
  public float[] toFloats() {
    float[] values = new float[Math.toIntExact(elements())];
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment staged = Device.stage(arena, bytes());
      copyTo(staged.asSlice(0, bytes()));
      switch (dtype) {
        case F32 -> MemorySegment.copy(staged, ValueLayout.JAVA_FLOAT, 0, values, 0, values.length);
        case BF16 -> {
          for (int i = 0; i < values.length; i++) {
            values[i] = DType.fromBf16(staged.getAtIndex(ValueLayout.JAVA_SHORT, i));
          }
        }
        default -> throw new IllegalArgumentException(this + " does not hold real numbers");
      }
    }
    return values;
  }

  /** The elements of an I32 tensor. */
  public int[] toInts() {
    checkType(DType.I32);
    int[] values = new int[Math.toIntExact(elements())];
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment staged = Device.stage(arena, bytes());
      copyTo(staged.asSlice(0, bytes()));
      MemorySegment.copy(staged, ValueLayout.JAVA_INT, 0, values, 0, values.length);
    }
    return values;
  }

  /** The elements of an F64 tensor. */
  public double[] toDoubles() {
    checkType(DType.F64);
    double[] values = new double[Math.toIntExact(elements())];
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment staged = Device.stage(arena, bytes());
      copyTo(staged.asSlice(0, bytes()));
      MemorySegment.copy(staged, ValueLayout.JAVA_DOUBLE, 0, values, 0, values.length);
    }
    return values;
  }

  private void checkLength(long length) {
    if (length != elements()) {
      throw new IllegalArgumentException(this + " takes " + elements() + " values, not " + length);
    }
  }

  private void checkType(DType wanted) {
    if (dtype != wanted) {
      throw new IllegalArgumentException(this + " is not " + wanted);
    }
  }

  /** Frees the memory if the tensor owns it. Closing twice is allowed. */
  @Override
  public void close() {
    if (owner && address != 0) {
      device.free(address);
    }
    address = 0;
  }

  /** Its name, dtype and shape, as errors show it. */
  @Override
  public String toString() {
    return "'" + name + "' " + dtype + Arrays.toString(shape);
  }
}
