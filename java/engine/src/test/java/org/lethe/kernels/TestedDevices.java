package org.lethe.kernels;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;
import org.opentest4j.TestAbortedException;

/**
 * The one place that says what is tested: the system property {@code lethe.test.devices}, a
 * comma-separated list of {@code cpu}, {@code cpu:TIER}, {@code cuda}, {@code simt}; {@code cpu},
 * with the machine's best tier, when it is absent. A process takes one tier of the cpu: the build
 * runs the suite once for each.
 */
public final class TestedDevices {
  private static final Map<String, List<String>> FLAGS =
      Map.of(
          "avx2", List.of("avx2", "fma"),
          "avx512", List.of("avx512f", "avx512bw", "avx512dq", "avx512vl"),
          "avx512_bf16", List.of("avx512f", "avx512bw", "avx512dq", "avx512vl", "avx512_bf16"));

  private TestedDevices() {}

  public static List<String> names() {
    return List.of(System.getProperty("lethe.test.devices", "cpu").split(","));
  }

  public static Device open(String name) {
    return open(name, 0);
  }

  /** The test that asks is skipped where the machine lacks the device. */
  public static Device open(String name, int threads) {
    String missing = lacks(name);
    if (missing != null) {
      throw new TestAbortedException(missing);
    }
    int computing = isCpu(name) ? threads : 0;
    return Device.open(device(name), new Device.Options(computing, tier(name)));
  }

  /** The first of the list, for tests of what does not depend on the device. */
  public static Device openAny() {
    return open(names().getFirst());
  }

  /** Tiers and threads are a CPU's. */
  public static boolean isCpu(String name) {
    return device(name).equals("cpu");
  }

  private static String device(String name) {
    return name.split(":", 2)[0];
  }

  private static @Nullable String tier(String name) {
    String[] parts = name.split(":", 2);
    return parts.length == 1 ? null : parts[1];
  }

  /** What this machine lacks for a device of the list, or null: asked of the kernel, not of us. */
  static @Nullable String lacks(String name) {
    String tier = tier(name);
    if (!isCpu(name) || tier == null) {
      return null;
    }
    try {
      String line =
          Files.readAllLines(Path.of("/proc/cpuinfo")).stream()
              .filter(l -> l.startsWith("flags"))
              .findFirst()
              .orElse("");
      List<String> have = List.of(line.split("\\s+"));
      for (String flag : FLAGS.getOrDefault(tier, List.of())) {
        if (!have.contains(flag)) {
          return "this machine has no " + flag + ", which " + name + " needs";
        }
      }
      return null;
    } catch (IOException e) {
      return "cannot read /proc/cpuinfo: " + e.getMessage();
    }
  }
}
