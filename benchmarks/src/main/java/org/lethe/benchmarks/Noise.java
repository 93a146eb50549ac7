package org.lethe.benchmarks;

import java.util.SplittableRandom;

/** Random numbers that are the same in every run. */
final class Noise {
  private Noise() {}

  /** n numbers in [-scale, scale). */
  static float[] floats(int n, float scale, long seed) {
    var random = new SplittableRandom(seed);
    float[] x = new float[n];
    for (int i = 0; i < n; i++) {
      x[i] = scale * ((random.nextInt() >>> 8) * 0x1p-23f - 1);
    }
    return x;
  }

  /** n tokens of a vocabulary. */
  static int[] tokens(int vocabulary, long seed, int n) {
    return new SplittableRandom(seed).ints(n, 0, vocabulary).toArray();
  }
}
