package org.lethe.format;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import org.lethe.kernels.DType;

/**
 * How a file stores the elements of a tensor. The quantised kinds are ggml's: blocks of 32 elements
 * of one row, each with its scale d (F16) and, for {@link #Q4_1}, its minimum m (F16).
 */
public enum StoredType {
  /** IEEE 754 binary32. */
  F32(0, 1, 4, Float.MAX_VALUE) {
    @Override
    void decode(ByteBuffer in, float[] out, int count) {
      in.asFloatBuffer().get(out, 0, count);
    }

    @Override
    void encode(float[] in, int count, ByteBuffer out) {
      out.asFloatBuffer().put(in, 0, count);
    }
  },
  /** IEEE 754 binary16. */
  F16(1, 1, 2, 0x1.ffdffep15f) {
    @Override
    void decode(ByteBuffer in, float[] out, int count) {
      for (int i = 0; i < count; i++) {
        out[i] = Float.float16ToFloat(in.getShort(2 * i));
      }
    }

    @Override
    void encode(float[] in, int count, ByteBuffer out) {
      for (int i = 0; i < count; i++) {
        out.putShort(2 * i, Float.floatToFloat16(in[i]));
      }
    }
  },
  /** The upper half of a binary32. */
  BF16(30, 1, 2, 0x1.fefffep127f) {
    @Override
    void decode(ByteBuffer in, float[] out, int count) {
      for (int i = 0; i < count; i++) {
        out[i] = DType.fromBf16(in.getShort(2 * i));
      }
    }

    @Override
    void encode(float[] in, int count, ByteBuffer out) {
      for (int i = 0; i < count; i++) {
        out.putShort(2 * i, DType.toBf16(in[i]));
      }
    }
  },
  /** x = d q, q in -127..127: a block is d and 32 bytes. */
  Q8_0(8, 32, 34, 127 * 65504f) {
    @Override
    void decode(ByteBuffer in, float[] out, int count) {
      for (int block = 0, at = 0; block < count; block += 32, at += 34) {
        float d = Float.float16ToFloat(in.getShort(at));
        for (int i = 0; i < 32; i++) {
          out[block + i] = d * in.get(at + 2 + i);
        }
      }
    }

    @Override
    void encode(float[] in, int count, ByteBuffer out) {
      for (int block = 0, at = 0; block < count; block += 32, at += 34) {
        float largest = 0;
        for (int i = 0; i < 32; i++) {
          largest = Math.max(largest, Math.abs(in[block + i]));
        }
        float d = largest / 127;
        float inverse = d == 0 ? 0 : 1 / d;
        out.putShort(at, Float.floatToFloat16(d));
        for (int i = 0; i < 32; i++) {
          float x = in[block + i] * inverse;
          float size = Math.abs(x);
          int q = (int) size + (int) (2 * (size - (int) size)); // ties away from zero, as ggml's
          out.put(at + 2 + i, (byte) (x < 0 ? -q : q));
        }
      }
    }
  },
  /** x = d (q - 8), q in 0..15: a block is d and 16 bytes, low halves first. */
  Q4_0(2, 32, 18, Float.NaN) {
    @Override
    void decode(ByteBuffer in, float[] out, int count) {
      for (int block = 0, at = 0; block < count; block += 32, at += 18) {
        float d = Float.float16ToFloat(in.getShort(at));
        for (int i = 0; i < 16; i++) {
          int q = in.get(at + 2 + i);
          out[block + i] = d * ((q & 15) - 8);
          out[block + 16 + i] = d * (((q >> 4) & 15) - 8);
        }
      }
    }
  },
  /** x = d q + m, q in 0..15: a block is d, m and 16 bytes, low halves first. */
  Q4_1(3, 32, 20, Float.NaN) {
    @Override
    void decode(ByteBuffer in, float[] out, int count) {
      for (int block = 0, at = 0; block < count; block += 32, at += 20) {
        float d = Float.float16ToFloat(in.getShort(at));
        float m = Float.float16ToFloat(in.getShort(at + 2));
        for (int i = 0; i < 16; i++) {
          int q = in.get(at + 4 + i);
          out[block + i] = d * (q & 15) + m;
          out[block + 16 + i] = d * ((q >> 4) & 15) + m;
        }
      }
    }
  };

  /** Elements decoded at a time: what a read holds on the heap. */
  private static final int CHUNK = 1 << 14;

  private final int ggmlCode;
  private final int blockElements;
  private final int blockBytes;
  private final float largest;

  StoredType(int ggmlCode, int blockElements, int blockBytes, float largest) {
    this.ggmlCode = ggmlCode;
    this.blockElements = blockElements;
    this.blockBytes = blockBytes;
    this.largest = largest;
  }

  /** The number by which GGUF names it. */
  int ggmlCode() {
    return ggmlCode;
  }

  /** Elements that share a block; the columns of a tensor are a multiple of it. */
  public int blockElements() {
    return blockElements;
  }

  /** Bytes that {@code elements} take, a multiple of {@link #blockElements}. */
  public long bytes(long elements) {
    return Math.multiplyExact(elements / blockElements, blockBytes);
  }

  /** The largest number that does not become infinite when it is written. */
  float largest() {
    return largest;
  }

  /** {@code count} elements, whole blocks, from the start of {@code in} (little-endian). */
  abstract void decode(ByteBuffer in, float[] out, int count);

  /** {@code count} elements, whole blocks, to the start of {@code out} (little-endian). */
  void encode(float[] in, int count, ByteBuffer out) {
    throw new IllegalArgumentException(this + " is read, not written: F32, F16, BF16, Q8_0 are");
  }

  /**
   * Elements {@code first}.. of the tensor stored in {@code blocks}, as F32, until {@code f32} is
   * full.
   */
  void decode(MemorySegment blocks, long first, MemorySegment f32) {
    long count = f32.byteSize() / Float.BYTES;
    int skip = (int) (first % blockElements);
    int room =
        (int) Math.min(CHUNK, (skip + count + blockElements - 1) / blockElements * blockElements);
    float[] values = new float[room];
    byte[] stored = new byte[(int) bytes(room)];
    ByteBuffer in = ByteBuffer.wrap(stored).order(ByteOrder.LITTLE_ENDIAN);
    for (long done = 0; done < count; ) {
      long start = first + done;
      skip = (int) (start % blockElements);
      int wanted = (int) Math.min(room - skip, count - done);
      int whole = (skip + wanted + blockElements - 1) / blockElements * blockElements;
      int size = (int) bytes(whole);
      MemorySegment.copy(blocks, bytes(start - skip), MemorySegment.ofArray(stored), 0, size);
      decode(in, values, whole);
      MemorySegment.copy(
          values, skip, f32, ValueLayout.JAVA_FLOAT_UNALIGNED, done * Float.BYTES, wanted);
      done += wanted;
    }
  }
}
