package org.lethe.format;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.lang.foreign.MemorySegment;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.Random;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

final class StoredTypeTest {
  private static final int BLOCKS = 40;

  /** What a half stands for, from its definition. */
  static double half(int bits) {
    int exponent = (bits >> 10) & 31;
    double fraction = (bits & 1023) / 1024.0;
    double size =
        exponent == 0 ? fraction * Math.pow(2, -14) : (1 + fraction) * Math.pow(2, exponent - 15);
    return (bits & 0x8000) == 0 ? size : -size;
  }

  /** Element {@code i} of {@code bytes}, from the definition of {@code type}. */
  static double element(StoredType type, ByteBuffer bytes, int i) {
    int block = i / 32;
    int k = i % 32;
    return switch (type) {
      case F32 -> bytes.getFloat(4 * i);
      case F16 -> half(bytes.getShort(2 * i));
      case BF16 -> Float.intBitsToFloat(bytes.getShort(2 * i) << 16);
      case Q8_0 -> half(bytes.getShort(34 * block)) * bytes.get(34 * block + 2 + k);
      case Q4_0 -> half(bytes.getShort(18 * block)) * (nibble(bytes, 18 * block + 2, k) - 8);
      case Q4_1 ->
          half(bytes.getShort(20 * block)) * nibble(bytes, 20 * block + 4, k)
              + half(bytes.getShort(20 * block + 2));
    };
  }

  private static int nibble(ByteBuffer bytes, int at, int k) {
    int b = Byte.toUnsignedInt(bytes.get(at + k % 16));
    return k < 16 ? b % 16 : b / 16;
  }

  /** Random bytes whose halves and floats are finite. */
  static ByteBuffer randomBlocks(StoredType type, int elements) {
    byte[] bytes = new byte[(int) type.bytes(elements)];
    new Random(3).nextBytes(bytes);
    ByteBuffer buffer = ByteBuffer.wrap(bytes).order(ByteOrder.LITTLE_ENDIAN);
    int block = (int) type.bytes(type.blockElements());
    for (int at = 0; at + block <= bytes.length; at += block) {
      switch (type) {
        case F32 -> bytes[at + 3] &= 0x3f;
        case BF16, F16, Q8_0, Q4_0 -> bytes[at + 1] &= (byte) 0xbf;
        case Q4_1 -> {
          bytes[at + 1] &= (byte) 0xbf;
          bytes[at + 3] &= (byte) 0xbf;
        }
      }
    }
    return buffer;
  }

  @ParameterizedTest
  @EnumSource(StoredType.class)
  void everyElementDecodesAsItsDefinitionSays(StoredType type) {
    ByteBuffer bytes = randomBlocks(type, 32 * BLOCKS);
    float[] decoded = new float[32 * BLOCKS];
    type.decode(MemorySegment.ofBuffer(bytes), 0, MemorySegment.ofArray(decoded));
    for (int i = 0; i < decoded.length; i++) {
      assertEquals((float) element(type, bytes, i), decoded[i], "element " + i);
    }
  }

  @ParameterizedTest
  @EnumSource(StoredType.class)
  void anyStretchDecodesLikeTheWhole(StoredType type) {
    int elements = 32 * 1200; // longer than what is decoded at a time
    MemorySegment bytes = MemorySegment.ofBuffer(randomBlocks(type, elements));
    float[] whole = new float[elements];
    type.decode(bytes, 0, MemorySegment.ofArray(whole));
    int[][] stretches = {
      {0, 0}, {0, 1}, {31, 2}, {5, 20}, {33, 31}, {7, 20_000}, {elements - 1, 1}
    };
    for (int[] stretch : stretches) {
      float[] part = new float[stretch[1]];
      type.decode(bytes, stretch[0], MemorySegment.ofArray(part));
      for (int i = 0; i < part.length; i++) {
        assertEquals(whole[stretch[0] + i], part[i], stretch[0] + " + " + i);
      }
    }
  }

  @ParameterizedTest
  @EnumSource(
      value = StoredType.class,
      names = {"F32", "F16", "BF16"})
  void whatWasDecodedEncodesToTheSameBytes(StoredType type) {
    ByteBuffer bytes = randomBlocks(type, 32 * BLOCKS);
    float[] decoded = new float[32 * BLOCKS];
    type.decode(MemorySegment.ofBuffer(bytes), 0, MemorySegment.ofArray(decoded));
    ByteBuffer encoded = ByteBuffer.allocate(bytes.capacity()).order(ByteOrder.LITTLE_ENDIAN);
    type.encode(decoded, decoded.length, encoded);
    assertEquals(bytes.rewind(), encoded.rewind());
  }

  @Test
  void q8TakesTheNearestOf255StepsUpToTheLargestElement() {
    Random random = new Random(5);
    float[] x = new float[32 * BLOCKS];
    for (int i = 32; i < x.length; i++) { // the first block is zeros
      x[i] = (float) (random.nextGaussian() * Math.pow(10, i / 32 % 6 - 3));
    }
    ByteBuffer encoded = ByteBuffer.allocate(34 * BLOCKS).order(ByteOrder.LITTLE_ENDIAN);
    StoredType.Q8_0.encode(x, x.length, encoded);
    for (int block = 0; block < BLOCKS; block++) {
      double largest = 0;
      for (int i = 0; i < 32; i++) {
        largest = Math.max(largest, Math.abs(x[32 * block + i]));
      }
      double d = half(encoded.getShort(34 * block));
      assertEquals(largest / 127, d, largest / 127 / 2048 + 3e-8, "scale of block " + block);
      for (int i = 0; i < 32; i++) {
        double q = encoded.get(34 * block + 2 + i);
        double exact = largest == 0 ? 0 : x[32 * block + i] * 127 / largest;
        assertTrue(Math.abs(q - exact) <= 0.5001, q + " for " + exact);
      }
    }
  }

  @Test
  void theLargestNumberOfEachTypeStaysFiniteAndTheNextDoesNot() {
    for (StoredType type : new StoredType[] {StoredType.F16, StoredType.BF16}) {
      ByteBuffer bytes = ByteBuffer.allocate(4).order(ByteOrder.LITTLE_ENDIAN);
      type.encode(new float[] {type.largest(), Math.nextUp(type.largest())}, 2, bytes);
      float[] back = new float[2];
      type.decode(bytes, back, 2);
      assertTrue(Float.isFinite(back[0]), type + " " + back[0]);
      assertEquals(Float.POSITIVE_INFINITY, back[1], type.toString());
    }
  }

  @Test
  void kindsThatAreOnlyReadAreNotWritten() {
    assertThrows(
        IllegalArgumentException.class,
        () -> StoredType.Q4_0.encode(new float[32], 32, ByteBuffer.allocate(18)));
  }
}
