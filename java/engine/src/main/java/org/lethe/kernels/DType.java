package org.lethe.kernels;

/** How an element of a {@link Tensor} is stored. */
public enum DType {
  /** IEEE 754 binary32. */
  F32(4, 0),
  /** The upper half of a binary32: 8 bits of exponent, 7 of fraction. */
  BF16(2, 1),
  /** 16-bit integers: the low halves of exact fp32 weights. */
  I16(2, -1),
  /** 32-bit integers: tokens, positions, targets. */
  I32(4, -1),
  /** IEEE 754 binary64: sums that a reduction returns. */
  F64(8, -1),
  /** Untyped bytes: workspace. */
  BYTE(1, -1);

  private final int bytes;
  private final int code;

  DType(int bytes, int code) {
    this.bytes = bytes;
    this.code = code;
  }

  /** Bytes an element takes. */
  public int bytes() {
    return bytes;
  }

  /** True where kernels compute with it: {@link #F32} and {@link #BF16}. */
  public boolean isReal() {
    return code >= 0;
  }

  /** The number that {@code lethe.h} gives it. */
  int code() {
    if (code < 0) {
      throw new IllegalArgumentException("kernels compute in F32 or BF16, not in " + this);
    }
    return code;
  }

  /** The nearest bf16 to {@code x}, ties to even; NaN stays NaN. */
  public static short toBf16(float x) {
    int bits = Float.floatToRawIntBits(x);
    if (Float.isNaN(x)) {
      return (short) ((bits >>> 16) | 0x40);
    }
    return (short) ((bits + 0x7fff + ((bits >>> 16) & 1)) >>> 16);
  }

  /** The value a bf16 stands for, exactly. */
  public static float fromBf16(short bits) {
    return Float.intBitsToFloat(bits << 16);
  }
}
