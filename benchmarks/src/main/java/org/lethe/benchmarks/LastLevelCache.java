package org.lethe.benchmarks;

import java.io.IOException;
import java.nio.file.DirectoryStream;
import java.nio.file.Files;
import java.nio.file.Path;

/** How much must be touched so that memory is what is measured, and no cache. */
final class LastLevelCache {
  private static final Path CACHES = Path.of("/sys/devices/system/cpu/cpu0/cache");

  /** Where the machine does not say: more than desktop machines have. */
  private static final long LEAST = 48L << 20;

  private static final long MOST = 512L << 20;

  /** Bytes that it cannot hold: twice its size. */
  static final long BEYOND = 2 * Math.clamp(size(), LEAST, MOST);

  private LastLevelCache() {}

  private static long size() {
    long largest = 0;
    try (DirectoryStream<Path> caches = Files.newDirectoryStream(CACHES, "index*")) {
      for (Path cache : caches) {
        largest = Math.max(largest, bytes(Files.readString(cache.resolve("size")).strip()));
      }
    } catch (IOException e) {
      return 0; // a machine that keeps it to itself
    }
    return largest;
  }

  /** Of {@code 2048K} or {@code 300M}; 0 of anything else. */
  static long bytes(String size) {
    if (!size.matches("[0-9]{1,9}[KM]")) {
      return 0;
    }
    long number = Long.parseLong(size.substring(0, size.length() - 1));
    return number << (size.endsWith("K") ? 10 : 20);
  }
}
