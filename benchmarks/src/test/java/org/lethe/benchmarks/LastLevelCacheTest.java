package org.lethe.benchmarks;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import org.junit.jupiter.api.Test;

class LastLevelCacheTest {
  @Test
  void readsWhatLinuxWrites() {
    assertEquals(307_200L << 10, LastLevelCache.bytes("307200K"));
    assertEquals(32L << 20, LastLevelCache.bytes("32M"));
    assertEquals(0, LastLevelCache.bytes(""));
    assertEquals(0, LastLevelCache.bytes("K"));
    assertEquals(0, LastLevelCache.bytes("99999999999999K"));
  }

  @Test
  void beyondIsNoLessThanTwiceADesktopsAndNoMoreThanAGibibyte() {
    assertTrue(LastLevelCache.BEYOND >= 96L << 20 && LastLevelCache.BEYOND <= 1L << 30);
  }
}
