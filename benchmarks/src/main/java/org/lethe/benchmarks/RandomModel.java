package org.lethe.benchmarks;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import org.lethe.model.ParameterSource;

/**
 * Random weights of any Llama, computed as they are asked for: no memory of their own. Norms are 1,
 * the rest is uniform in [-1/32, 1/32), about what training starts from, so that activations and
 * losses stay in range at any depth. What is computed does not depend on what weights are.
 */
final class RandomModel implements ParameterSource {
  private static final int PERIOD = 1 << 16;

  private final float[] noise = Noise.floats(PERIOD + 4099, 1f / 32, 1);

  @Override
  public void read(String name, long first, MemorySegment f32) {
    long count = f32.byteSize() / Float.BYTES;
    if (name.endsWith("norm.weight")) {
      for (long i = 0; i < count; i++) {
        f32.setAtIndex(ValueLayout.JAVA_FLOAT_UNALIGNED, i, 1);
      }
      return;
    }
    int shift = Math.floorMod(name.hashCode(), 4099); // another stretch of the noise for each name
    for (long done = 0; done < count; ) {
      int at = (int) ((first + done) % PERIOD);
      int n = (int) Math.min(count - done, PERIOD - at);
      MemorySegment.copy(
          noise, at + shift, f32, ValueLayout.JAVA_FLOAT_UNALIGNED, done * Float.BYTES, n);
      done += n;
    }
  }
}
