package org.lethe.benchmarks;

import java.nio.file.Path;
import org.jspecify.annotations.Nullable;
import org.lethe.kernels.Device;

/**
 * What {@code lethe bench} tells its forks, by system properties: {@code lethe.bench.device},
 * {@code lethe.bench.model}, {@code lethe.bench.threads}, {@code lethe.bench.ceilings}.
 */
final class Settings {
  static final String DEVICE = "lethe.bench.device";
  static final String MODEL = "lethe.bench.model";
  static final String THREADS = "lethe.bench.threads";
  static final String CEILINGS = "lethe.bench.ceilings";

  private Settings() {}

  static Device openDevice() {
    return Device.open(
        System.getProperty(DEVICE, "cpu"),
        new Device.Options(Integer.getInteger(THREADS, 0), null));
  }

  /** The model to measure, or null for random weights of SmolLM2's sizes. */
  static @Nullable Path model() {
    String path = System.getProperty(MODEL);
    return path == null ? null : Path.of(path);
  }

  /** Whether forks measure their ceilings: the gate's do without. */
  static boolean ceilings() {
    return !System.getProperty(CEILINGS, "true").equals("false");
  }
}
