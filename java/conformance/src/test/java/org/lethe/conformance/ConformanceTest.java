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

  /** Operation by operation, and then all on a device opened anew, which gives the same bits. */
  @TestFactory
  Stream<DynamicNode> kernelsAgreeWithTheirReferencesWhereverTheirOperandsLie() {
    TestedDevices.names().forEach(name -> opened(name, 0)); // or all is skipped at once
    return TestedDevices.names().stream()
        .map(
            name -> {
              var digests = new LinkedHashMap<String, Integer>();
              Stream<DynamicNode> operations =
                  byOperation().entrySet().stream()
                      .map(e -> dynamicContainer(e.getKey(), tests(name, e.getValue(), digests)));
              Stream<DynamicNode> reopened =
                  Stream.of(dynamicTest("reopened", () -> assertEquals(digests, digests(name))));
              return dynamicContainer(name, Stream.concat(operations, reopened));
            });
  }

  private static Map<String, List<Trial.Case>> byOperation() {
    return Trials.all()
        .collect(
            Collectors.groupingBy(
                Trial.Case::operation,
                LinkedHashMap::new,
                Collectors.toCollection(ArrayList::new)));
  }

  private Stream<DynamicNode> tests(
      String name, List<Trial.Case> cases, Map<String, Integer> digests) {
    return cases.stream().map(c -> dynamicTest(c.toString(), () -> conforms(name, c, digests)));
  }

  private void conforms(String name, Trial.Case c, Map<String, Integer> digests) {
    Device device = opened(name, 0);
    // any number of threads gives right results
    Device[] others =
        TestedDevices.isCpu(name) ? new Device[] {opened(name, 1), opened(name, 3)} : new Device[0];
    Conformance.Attempt attempt = Conformance.attempt(device, c, others);
    assertNull(attempt.fault(), () -> device.name() + ", " + c);
    assertNull(digests.put(c.toString(), attempt.digest()), () -> "two cases: " + c);
  }

  private Device opened(String name, int threads) {
    return open.computeIfAbsent(name + " " + threads, _ -> TestedDevices.open(name, threads));
  }

  @Test
  void everyKernelHasTrials() {
    var kernels = new ArrayList<>(Header.kernels().keySet());
    // asked by every trial of what needs the memory
    kernels.removeAll(List.of("attention_backward_workspace", "packed_bytes"));
    assertEquals(kernels, List.copyOf(Conformance.operations(null)));
  }

  private static Map<String, Integer> digests(String name) {
    var digests = new LinkedHashMap<String, Integer>();
    try (Device device = TestedDevices.open(name)) {
      Trials.all()
          .forEach(
              c -> {
                Trial.Outcome outcome = c.prepare().run(device, Placement.DEVICE);
                assertNull(outcome.fault(), c::toString);
                digests.put(c.toString(), outcome.digest());
              });
    }
    return digests;
  }
}
