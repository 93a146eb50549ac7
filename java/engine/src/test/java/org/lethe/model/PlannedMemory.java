package org.lethe.model;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.util.List;
import java.util.stream.Stream;
import org.lethe.kernels.Device;
import org.lethe.kernels.MemoryPlan;

/** What was planned is what was allocated. */
public final class PlannedMemory {
  private PlannedMemory() {}

  /** The allocations of the device's peak are those of the plans, name by name, byte for byte. */
  public static void isThePeak(List<MemoryPlan> plans, Device device) {
    assertEquals(
        table(plans.stream().map(p -> "%s: %d".formatted(p.name(), p.bytes()))),
        table(device.peak().stream().map(a -> "%s: %d".formatted(a.name(), a.bytes()))));
  }

  private static String table(Stream<String> lines) {
    return String.join("\n", lines.sorted().toList());
  }
}
