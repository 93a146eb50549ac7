package org.lethe.cli;

import java.util.LinkedHashMap;
import java.util.Map;
import java.util.concurrent.Callable;
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
      JsonNode description = new JsonMapper().readTree(opened.describe());
      for (var property : description.properties()) {
        found.put(property.getKey(), property.getValue());
      }
    } catch (DeviceException e) {
      found.put("device", device.device);
      found.put("problem", e.getMessage());
      code = Main.FAILED;
    }
    var out = spec.commandLine().getOut();
    if (json) {
      Json.print(out, found);
    } else {
      found.forEach(
          (key, value) ->
              out.printf(
                  "%-18s %s%n",
                  key.replace('_', ' '), value instanceof JsonNode n ? n.asString("") : value));
    }
    return code;
  }
}
