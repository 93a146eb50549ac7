package org.lethe.conformance;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.Arrays;
import org.jspecify.annotations.Nullable;
import org.lethe.kernels.DType;
import org.lethe.kernels.Tensor;

/**
 * One tensor of a trial: what its memory holds before the call and what was found after it. All
 * that is not an input's element holds {@link #SENTINEL}s: results before they are written, and the
 * gaps between the rows of a view, which must never be written.
 */
final class Operand {
  /**
   * A byte of NaN in F32 and BF16, of -1 in the integers: poison to read, a trace if overwritten.
   */
  static final byte SENTINEL = (byte) 0xFF;

  /** What the call may do to an operand. */
  enum Role {
    /** Only read. */
    INPUT,
    /** Overwritten, whatever it held. */
    RESULT,
    /** Read and written. */
    UPDATED,
    /** Written with nothing promised. */
    WORKSPACE
  }

  final String name;
  final DType dtype;
  final Role role;
  final long[] shape;
  final int rows;
  final int width;
  final int stride;
  final byte[] before;
  byte @Nullable [] after;
  @Nullable Tensor tensor;

  Operand(String name, DType dtype, Role role, int gap, long... shape) {
    this.name = name;
    this.dtype = dtype;
    this.role = role;
    this.shape = shape;
    this.rows = (int) shape[0];
    this.width = elements(shape) / rows;
    this.stride = width + gap;
    this.before = new byte[span() * dtype.bytes()];
    Arrays.fill(before, SENTINEL);
  }

  /** The product of the sizes. */
  static int elements(long... shape) {
    return Math.toIntExact(Arrays.stream(shape).reduce(1, Math::multiplyExact));
  }

  /** Elements from the first to the last, gaps between rows included. */
  int span() {
    return (rows - 1) * stride + width;
  }

  int elements() {
    return rows * width;
  }

  /** The tensor where the present run has placed it. */
  Tensor on() {
    if (tensor == null) {
      throw new IllegalStateException(name + " is not placed");
    }
    return tensor;
  }

  private int at(int element) {
    return (element / width * stride + element % width) * dtype.bytes();
  }

  /** Fills it, rounded to its dtype. */
  Operand set(double[] values) {
    if (values.length != elements()) {
      throw new IllegalArgumentException(name + " takes " + elements() + ", not " + values.length);
    }
    ByteBuffer bytes = ByteBuffer.wrap(before).order(ByteOrder.nativeOrder());
    for (int i = 0; i < values.length; i++) {
      switch (dtype) {
        case F32 -> bytes.putFloat(at(i), (float) values[i]);
        case BF16 -> bytes.putShort(at(i), DType.toBf16((float) values[i]));
        case I32 -> bytes.putInt(at(i), (int) values[i]);
        case I16 -> bytes.putShort(at(i), (short) values[i]);
        case F64 -> bytes.putDouble(at(i), values[i]);
        case BYTE -> bytes.put(at(i), (byte) values[i]);
      }
    }
    return this;
  }

  /** Fills it with raw 16-bit or 32-bit patterns. */
  Operand setBits(int[] bits) {
    ByteBuffer bytes = ByteBuffer.wrap(before).order(ByteOrder.nativeOrder());
    for (int i = 0; i < bits.length; i++) {
      if (dtype.bytes() == 4) {
        bytes.putInt(at(i), bits[i]);
      } else {
        bytes.putShort(at(i), (short) bits[i]);
      }
    }
    return this;
  }

  /** Its elements before the call, as the kernel sees them. */
  double[] values() {
    return decode(before);
  }

  /** Its elements after the call. */
  double[] found() {
    return decode(bytesAfter());
  }

  /** The raw patterns of its elements after the call; 16-bit ones without sign. */
  int[] foundBits() {
    ByteBuffer bytes = ByteBuffer.wrap(bytesAfter()).order(ByteOrder.nativeOrder());
    int[] bits = new int[elements()];
    Arrays.setAll(
        bits, i -> dtype.bytes() == 4 ? bytes.getInt(at(i)) : bytes.getShort(at(i)) & 0xFFFF);
    return bits;
  }

  private byte[] bytesAfter() {
    if (after == null) {
      throw new IllegalStateException(name + " has not been run");
    }
    return after;
  }

  private double[] decode(byte[] from) {
    ByteBuffer bytes = ByteBuffer.wrap(from).order(ByteOrder.nativeOrder());
    double[] values = new double[elements()];
    Arrays.setAll(
        values,
        i ->
            switch (dtype) {
              case F32 -> bytes.getFloat(at(i));
              case BF16 -> DType.fromBf16(bytes.getShort(at(i)));
              case I32 -> bytes.getInt(at(i));
              case I16 -> bytes.getShort(at(i));
              case F64 -> bytes.getDouble(at(i));
              case BYTE -> bytes.get(at(i));
            });
    return values;
  }

  /** True for a byte of {@link #before} that the call may write. */
  boolean mayChange(int offset) {
    return role != Role.INPUT && offset / dtype.bytes() % stride < width;
  }

  @Override
  public String toString() {
    String view = stride == width ? "" : " in rows of " + stride;
    return "%s %s%s%s".formatted(name, dtype, Arrays.toString(shape), view);
  }
}
