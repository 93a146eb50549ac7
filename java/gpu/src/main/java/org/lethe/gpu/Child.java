package org.lethe.gpu;

import java.io.IOException;
import java.io.PrintWriter;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Set;
import org.lethe.kernels.Device;
import org.lethe.kernels.DeviceException;
import org.lethe.kernels.OutOfDeviceMemoryException;
import tools.jackson.databind.json.JsonMapper;

/** A step in a process of its own: a JSON line as an item begins, another with what came of it. */
final class Child {
  /** How it exits when the device is of no use any more. */
  static final int LOST = 3;

  private static final int FEWEST_TOKENS = 64;

  private final Step step;
  private final PrintWriter lines;

  private Child(Step step, PrintWriter lines) {
    this.step = step;
    this.lines = lines;
  }

  /**
   * Runs the items of a step.
   *
   * @param done items that are not to be run
   * @return the exit code
   */
  static int run(Step step, String device, Sizes sizes, Set<String> done, Path file) {
    try (var lines =
            new PrintWriter(
                Files.newBufferedWriter(
                    file,
                    StandardCharsets.UTF_8,
                    StandardOpenOption.CREATE,
                    StandardOpenOption.APPEND),
                true);
        Device opened = Device.open(device)) {
      var child = new Child(step, lines);
      for (String item : step.items(sizes)) {
        if (!done.contains(item) && !child.item(item, opened, sizes)) {
          return LOST;
        }
      }
      return 0;
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  /** Returns whether the device can go on. */
  private boolean item(String item, Device device, Sizes sizes) {
    print(Map.of("begins", item));
    var row = new LinkedHashMap<String, Object>();
    row.put("item", item);
    try {
      row.putAll(fitting(item, device, sizes));
      device.synchronize();
    } catch (DeviceException | IllegalArgumentException | ArithmeticException e) {
      row.put("fault", String.valueOf(e.getMessage()));
    }
    print(row);
    try {
      device.synchronize();
      return true;
    } catch (DeviceException e) {
      return false;
    }
  }

  /** With fewer tokens where memory lacks. */
  private Map<String, Object> fitting(String item, Device device, Sizes sizes) {
    try (var bench = new Bench(device, sizes)) {
      return step.run(item, bench);
    } catch (OutOfDeviceMemoryException e) {
      if (sizes.tokens() / 2 < FEWEST_TOKENS) {
        throw e;
      }
    }
    return fitting(item, device, sizes.halved());
  }

  private void print(Map<String, Object> row) {
    lines.println(JsonMapper.shared().writeValueAsString(row));
  }
}
