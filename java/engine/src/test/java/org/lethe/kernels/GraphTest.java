package org.lethe.kernels;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assertions.fail;
import static org.junit.jupiter.api.Assumptions.assumeFalse;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;

/** Operations recorded once and launched often; a CPU has none of it and says so. */
@Tag("kernels")
class GraphTest {
  private final boolean cpu = TestedDevices.isCpu(TestedDevices.names().getFirst());
  private final Device device = TestedDevices.openAny();

  @AfterEach
  void close() {
    device.close();
  }

  @Test
  void aCpuHasNone() {
    assumeTrue(cpu);
    assertNull(device.record(() -> fail("was run")));
  }

  @Test
  void nothingIsDoneBeforeTheLaunchAndThenWithWhatTheTensorsHold() {
    assumeFalse(cpu);
    try (Tensor x = device.of("x", DType.F32, new float[] {1, 2, 3}, 3);
        Tensor y = device.of("y", DType.F32, new float[] {0, 0, 0}, 3);
        Graph graph = recorded(() -> device.kernels().convert(y, x))) {
      assertEquals(0, y.toFloats()[2]);
      graph.launch();
      assertEquals(3, y.toFloats()[2]);
      x.set(new float[] {4, 5, 6});
      graph.launch();
      assertEquals(6, y.toFloats()[2]);
    }
  }

  @Test
  void twoGraphsAndWhatIsBetweenThemKeepTheirOrder() {
    assumeFalse(cpu);
    Kernels kernels = device.kernels();
    try (Tensor one = device.of("one", DType.F32, new float[] {1}, 1, 1);
        Tensor sum = device.of("sum", DType.F32, new float[] {0}, 1, 1)) {
      Runnable add = () -> kernels.matmul(sum, one, one, Kernels.Layout.NT, true);
      try (Graph more = recorded(add);
          Graph twice =
              recorded(
                  () -> {
                    add.run();
                    add.run();
                  })) {
        more.launch();
        add.run();
        twice.launch();
        more.launch();
        assertEquals(5, sum.toFloats()[0]);
      }
    }
  }

  @Test
  void whatCannotBeRecordedIsRefusedAndTheDeviceGoesOn() {
    assumeFalse(cpu);
    try (Tensor x = device.of("x", DType.F32, new float[] {7}, 1)) {
      for (Runnable wrong :
          new Runnable[] {
            () -> device.allocate("y", DType.F32, 1).close(),
            x::toFloats,
            () -> x.set(new float[] {1}),
            device::synchronize
          }) {
        var e = assertThrows(DeviceException.class, () -> device.record(wrong));
        assertEquals(DeviceException.Status.INVALID_ARGUMENT, e.status(), e.getMessage());
        assertTrue(e.toString().contains("recorded"), e.getMessage());
      }
      var mine = new IllegalStateException("mine");
      var thrown =
          assertThrows(
              IllegalStateException.class,
              () ->
                  device.record(
                      () -> {
                        throw mine;
                      }));
      assertSame(mine, thrown);
      assertEquals(7, x.toFloats()[0]);
    }
  }

  private Graph recorded(Runnable operations) {
    Graph graph = device.record(operations);
    assertNotNull(graph, "no graph of device " + device.name());
    return graph;
  }
}
