package org.lethe.benchmarks;

import java.util.ArrayList;
import java.util.List;
import java.util.function.IntFunction;

/** Equal sets of buffers, taken in turn: together larger than any cache, so that each is cold. */
final class Rotation<T> {
  private static final int MOST = 256;

  private final List<T> sets = new ArrayList<>();
  private int at;

  /**
   * Makes as many sets as it takes.
   *
   * @param bytes of one set
   */
  Rotation(long bytes, IntFunction<T> make) {
    long count = Math.clamp(Math.ceilDiv(LastLevelCache.BEYOND, bytes), 1, MOST);
    for (int i = 0; i < count; i++) {
      sets.add(make.apply(i));
    }
  }

  T next() {
    at = at + 1 == sets.size() ? 0 : at + 1;
    return sets.get(at);
  }

  /** The set that {@link #next} gave last. */
  T current() {
    return sets.get(at);
  }
}
