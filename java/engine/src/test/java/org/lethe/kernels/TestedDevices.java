package org.lethe.kernels;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;
import org.opentest4j.TestAbortedException;

/**
 * The one place that says what is tested: the system property {@code lethe.test.devices}, a
 * comma-separated list of {@code cpu}, {@code cpu:TIER}, {@code cuda}, {@code simt}; {@code cpu},
 * with the machine's best tier, when it is absent. A process takes one tier of the cpu: the build
 * runs the suite once for each.
 */
public final class TestedDevices {
  /** The highest first; the machine's best is tested as {@code cpu}. */
  private static final Map<String, List<String>> FLAGS = new LinkedHashMap<>();

  static {
    List<String> avx512 = List.of("avx512f", "avx512bw", "avx512dq", "avx512vl");
    List<String> bf16 = and(avx512, List.of("avx512_bf16"));
    FLAGS.put("avx512_amx", and(bf16, List.of("amx_tile", "amx_bf16")));
    FLAGS.put("avx512_bf16", bf16);
    FLAGS.put("avx512", avx512);
    FLAGS.put("avx2", List.of("avx2", "fma"));
  }

  private TestedDevices() {}

  private static List<String> and(List<String> some, List<String> more) {
    return Stream.concat(some.stream(), more.stream()).toList();
  }

  public static List<String> names() {
    return List.of(System.getProperty("lethe.test.devices", "cpu").split(","));
  }

  public static Device open(String name) {
    return open(name, 0);
  }

  /** The test that asks is skipped where the machine lacks the device or tests it anyway. */
  public static Device open(String name, int threads) {
    String why = skipped(name);
    if (why != null) {
      throw new TestAbortedException(why);
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

  /**
   * Why a device of the list is not tested here, or null: this machine lacks what it needs, asked
   * of the kernel and not of us, or it is the best tier, which is tested as {@code cpu}.
   */
  private static @Nullable String skipped(String name) {
    String tier = tier(name);
    if (!isCpu(name) || tier == null) {
      return null;
    }
    List<String> flags = flags();
    List<String> needs = FLAGS.getOrDefault(tier, List.of());
    for (String flag : needs) {
      if (!flags.contains(flag)) {
        return "this machine has no " + flag + ", which " + name + " needs";
      }
    }
    boolean best =
        FLAGS.values().stream().filter(flags::containsAll).findFirst().equals(Optional.of(needs));
    return best ? name + " is this machine's best tier, which is tested as cpu" : null;
  }

  private static List<String> flags() {
    try (Stream<String> lines = Files.lines(Path.of("/proc/cpuinfo"))) {
      String line = lines.filter(l -> l.startsWith("flags")).findFirst().orElse("");
      return List.of(line.split("\\s+"));
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }
}
