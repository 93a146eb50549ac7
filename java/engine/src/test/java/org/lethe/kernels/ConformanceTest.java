package org.lethe.kernels;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.DynamicContainer.dynamicContainer;
import static org.junit.jupiter.api.DynamicTest.dynamicTest;

import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.DynamicNode;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.TestFactory;
import org.junit.jupiter.api.TestInstance;

/** Every case of {@link Trials} on every one of {@link TestedDevices}. */
@Tag("kernels")
@TestInstance(TestInstance.Lifecycle.PER_CLASS)
class ConformanceTest {
  private final Map<String, Device> open = new LinkedHashMap<>();

  @AfterAll
  void closeDevices() {
    open.values().forEach(Device::close);
  }

  @TestFactory
  Stream<DynamicNode> kernelsAgreeWithTheirReferencesWhereverTheirOperandsLie() {
    return TestedDevices.names().stream()
        .map(
            name ->
                dynamicContainer(
                    name,
                    byOperation().entrySet().stream()
                        .map(e -> dynamicContainer(e.getKey(), tests(name, e.getValue())))));
  }

  private static Map<String, List<Trial.Case>> byOperation() {
    return Trials.all()
        .collect(
            Collectors.groupingBy(
                Trial.Case::operation,
                LinkedHashMap::new,
                Collectors.toCollection(ArrayList::new)));
  }

  private Stream<DynamicNode> tests(String name, List<Trial.Case> cases) {
    return cases.stream().map(c -> dynamicTest(c.toString(), () -> conforms(name, c)));
  }

  /**
   * Right, with nothing else touched, and with the same bits wherever and however often it runs.
   */
  private void conforms(String name, Trial.Case c) {
    Device device = open.computeIfAbsent(name, TestedDevices::open);
    Trial trial = c.prepare();
    int first = trial.run(device, Placement.DEVICE);
    assertEquals(first, trial.run(device, Placement.DEVICE), "other bits when repeated: " + c);
    if (device.name().equals("cpu") || device.name().equals("simt")) {
      for (var placement : List.of(Placement.BEFORE_GUARD, Placement.AFTER_GUARD)) {
        assertEquals(first, trial.run(device, placement), "other bits " + placement + ": " + c);
      }
    }
  }

  /** A device opened anew gives the same bits; any number of threads gives right ones. */
  @TestFactory
  Stream<DynamicNode> aReopenedDeviceGivesTheSameBits() {
    return TestedDevices.names().stream()
        .map(
            name ->
                dynamicTest(
                    name,
                    () -> {
                      assertEquals(digests(name, 3), digests(name, 3));
                      digests(name, 1);
                    }));
  }

  private static Map<String, Integer> digests(String name, int threads) {
    var digests = new LinkedHashMap<String, Integer>();
    try (Device device = TestedDevices.open(name, threads)) {
      Trials.all()
          .forEach(
              c -> {
                Integer other =
                    digests.put(c.toString(), c.prepare().run(device, Placement.DEVICE));
                if (other != null) {
                  throw new AssertionError("two cases are called " + c);
                }
              });
    }
    return digests;
  }
}
