package org.lethe.cli;

import java.io.PrintWriter;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.concurrent.Callable;
import org.jspecify.annotations.Nullable;
import org.lethe.kernels.Device;
import org.lethe.kernels.DeviceException;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Spec;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

/** {@code lethe doctor}. */
@Command(
    name = "doctor",
    mixinStandardHelpOptions = true,
    description = "Says what this machine computes with, and why.",
    footer = {"", "Example:", "  lethe doctor"})
final class DoctorCommand implements Callable<Integer> {
  @Option(names = "--json", description = "print one JSON object")
  boolean json;

  @Mixin DeviceOption device = new DeviceOption();
  @Spec CommandSpec spec;

  @SuppressWarnings("NullAway.Init") // picocli fills the fields
  DoctorCommand() {}

  @Override
  public Integer call() {
    Map<String, Object> found = new LinkedHashMap<>();
    found.put("java", Runtime.version().toString());
    found.put("java_heap_bytes", Runtime.getRuntime().maxMemory());
    int code = 0;
    try (Device opened = device.open()) {
      found.putAll(describe(opened));
    } catch (DeviceException e) {
      found.put("device", device.device);
      found.put("problem", e.getMessage());
      code = Main.FAILED;
    }
    Map<String, Map<String, Object>> others = others();
    var out = spec.commandLine().getOut();
    if (json) {
      found.put("other_devices", others);
      Json.print(out, found);
    } else {
      found.forEach((key, value) -> print(out, key, value));
      others.forEach(
          (name, other) ->
              print(out, "--device " + name, other.getOrDefault("problem", other.get("name"))));
    }
    return code;
  }

  /** What the devices that were not asked for say of themselves, or what they lack. */
  private Map<String, Map<String, Object>> others() {
    Map<String, Map<String, Object>> others = new LinkedHashMap<>();
    for (String name : Device.names()) {
      if (!name.equals(device.device)) {
        try (Device other = Device.open(name)) {
          others.put(name, describe(other));
        } catch (DeviceException e) {
          others.put(name, Map.of("problem", String.valueOf(e.getMessage())));
        }
      }
    }
    return others;
  }

  private static Map<String, Object> describe(Device device) {
    Map<String, Object> description = new LinkedHashMap<>();
    for (var property : new JsonMapper().readTree(device.describe()).properties()) {
      description.put(property.getKey(), property.getValue());
    }
    return description;
  }

  private static void print(PrintWriter out, String key, @Nullable Object value) {
    out.printf(
        "%-18s %s%n", key.replace('_', ' '), value instanceof JsonNode n ? n.asString("") : value);
  }
}
