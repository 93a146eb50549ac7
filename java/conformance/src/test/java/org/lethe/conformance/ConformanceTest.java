package org.lethe.conformance;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNull;
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
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestFactory;
import org.junit.jupiter.api.TestInstance;
import org.lethe.kernels.Device;
import org.lethe.kernels.Header;
import org.lethe.kernels.TestedDevices;

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

  private void conforms(String name, Trial.Case c) {
    Device device = open.computeIfAbsent(name, TestedDevices::open);
    assertNull(Conformance.attempt(device, c).fault(), () -> device.name() + ", " + c);
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

  @Test
  void everyKernelHasTrials() {
    var kernels = new ArrayList<>(Header.kernels().keySet());
    kernels.remove("attention_backward_workspace"); // asked by every trial of attention_backward
    assertEquals(kernels, List.copyOf(Conformance.operations(null)));
  }

  private static Map<String, Integer> digests(String name, int threads) {
    var digests = new LinkedHashMap<String, Integer>();
    try (Device device = TestedDevices.open(name, threads)) {
      Trials.all()
          .forEach(
              c -> {
                Trial.Outcome outcome = c.prepare().run(device, Placement.DEVICE);
                assertNull(outcome.fault(), c::toString);
                assertNull(digests.put(c.toString(), outcome.digest()), () -> "two cases: " + c);
              });
    }
    return digests;
  }
}
