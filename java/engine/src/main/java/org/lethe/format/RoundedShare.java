package org.lethe.format;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteOrder;

/**
 * How much of a training's change is left in a rounded copy. A step of fine-tuning is often smaller
 * than half a unit of a 16-bit weight: what is reported about a published model is to be measured
 * on the published file.
 *
 * @param changed share of the weights that differ from the baseline's before rounding
 * @param kept share of the weights whose rounded value differs from the baseline's rounded alike
 */
public record RoundedShare(double changed, double kept) {
  private static final int CHUNK = 1 << 20;

  /**
   * Compares a model with its baseline, exactly and as published.
   *
   * @param published the model as it was written
   * @throws IllegalArgumentException if the baseline has other tensors
   */
  public static RoundedShare of(Checkpoint baseline, Checkpoint model, Checkpoint published) {
    long all = 0;
    long changed = 0;
    long kept = 0;
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment before = arena.allocate(4L * CHUNK, 4);
      MemorySegment after = arena.allocate(4L * CHUNK, 4);
      MemorySegment rounded = arena.allocate(4L * CHUNK, 4);
      float[] values = new float[CHUNK];
      MemorySegment stored = arena.allocate(4L * CHUNK, 4);
      for (String name : model.tensors()) {
        StoredType type = published.stored(name).type();
        long n = elements(model, name);
        if (elements(baseline, name) != n) {
          throw new IllegalArgumentException(
              name + " has another shape in " + baseline.path() + ": it is no baseline of this");
        }
        for (long at = 0; at < n; at += CHUNK) {
          int count = (int) Math.min(CHUNK, n - at);
          baseline.read(name, at, before.asSlice(0, 4L * count));
          model.read(name, at, after.asSlice(0, 4L * count));
          published.read(name, at, rounded.asSlice(0, 4L * count));
          for (int i = 0; i < count; i++) {
            values[i] = before.getAtIndex(ValueLayout.JAVA_FLOAT, i);
            changed += values[i] != after.getAtIndex(ValueLayout.JAVA_FLOAT, i) ? 1 : 0;
          }
          type.encode(values, count, stored.asByteBuffer().order(ByteOrder.LITTLE_ENDIAN));
          type.decode(stored, 0, before.asSlice(0, 4L * count));
          for (int i = 0; i < count; i++) {
            kept +=
                before.getAtIndex(ValueLayout.JAVA_FLOAT, i)
                        != rounded.getAtIndex(ValueLayout.JAVA_FLOAT, i)
                    ? 1
                    : 0;
          }
        }
        all += n;
      }
    }
    return new RoundedShare((double) changed / all, (double) kept / all);
  }

  private static long elements(Checkpoint checkpoint, String name) {
    long n = 1;
    for (long size : checkpoint.stored(name).shape()) {
      n *= size;
    }
    return n;
  }
}
