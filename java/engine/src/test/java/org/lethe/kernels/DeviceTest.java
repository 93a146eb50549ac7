package org.lethe.kernels;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

/** Opening, describing, memory and closing. */
@Tag("kernels")
class DeviceTest {
  private static JsonNode describe(Device device) {
    return JsonMapper.shared().readTree(device.describe());
  }

  @Test
  void anUnknownDeviceListsThoseThatExist() {
    var e = assertThrows(IllegalArgumentException.class, () -> Device.open("abacus"));
    assertTrue(e.toString().contains("abacus") && e.toString().contains("cpu"), e.getMessage());
  }

  @Test
  void optionsThatDoNotExistAreRefusedByName() {
    for (var options :
        List.of(
            new Device.Options(0, "sse9"),
            new Device.Options(-1, null),
            new Device.Options(1025, null),
            new Device.Options(0, "avx2 color=blue"))) {
      var e = assertThrows(DeviceException.class, () -> Device.open("cpu", options));
      assertEquals(DeviceException.Status.INVALID_ARGUMENT, e.status(), e.getMessage());
      String wrong = options.text("cpu").replaceAll(".*=", "");
      assertTrue(e.toString().contains(wrong), wrong + " is not in: " + e.getMessage());
    }
  }

  @Test
  void theFileOfCublasReachesTheLibraryWhateverItsName() {
    System.setProperty("lethe.cublas", "/opt/a b/50%/libcublasLt.so.12");
    try {
      assertEquals(
          "cublas=%2Fopt%2Fa%20b%2F50%25%2FlibcublasLt.so.12", Device.Options.DEFAULT.text("cuda"));
      assertEquals("", Device.Options.DEFAULT.text("simt"));
    } finally {
      System.clearProperty("lethe.cublas");
    }
  }

  @Test
  void itSaysWhatItIs() {
    try (Device device = TestedDevices.open(TestedDevices.names().getFirst(), 2);
        Tensor _ = device.allocate("x", DType.F32, 100)) {
      JsonNode says = describe(device);
      assertTrue(says.path("allocated_bytes").asLong() >= 400, device::describe);
      assertTrue(says.path("memory_bytes").asLong() > 1 << 20, device::describe);
      boolean cpu = TestedDevices.isCpu(TestedDevices.names().getFirst());
      List<String> texts =
          cpu
              ? List.of("name", "tier", "why")
              : List.of("name", "compute_capability", "cublas", "cublas_file", "cuda_driver");
      for (String key : texts) {
        assertTrue(says.path(key).isString(), key + " is not in " + device.describe());
      }
      assertEquals(cpu ? 2 : 0, says.path("threads").asInt(), device::describe);
      String[] asked = TestedDevices.names().getFirst().split(":", 2);
      if (asked.length == 2) {
        assertEquals(asked[1], says.path("tier").asString());
      }
    }
  }

  @Test
  void aSecondTierInTheSameProcessIsRefused() {
    assumeTrue(TestedDevices.isCpu(TestedDevices.names().getFirst()));
    try (Device device = TestedDevices.openAny()) {
      String tier = describe(device).path("tier").asString();
      String other = tier.equals("avx2") ? "avx512" : "avx2";
      var e =
          assertThrows(
              DeviceException.class, () -> Device.open("cpu", new Device.Options(0, other)));
      assertEquals(DeviceException.Status.UNSUPPORTED, e.status(), e.getMessage());
    }
  }

  @Test
  void aCopyOfTheLibraryRunsBesideIt(@TempDir Path temporary) throws IOException {
    assumeTrue(TestedDevices.isCpu(TestedDevices.names().getFirst()));
    try (Device device = TestedDevices.openAny()) {
      assertEquals(4, square(device, 2));
      Path copy = Files.copy(device.library(), temporary.resolve("libcopy.so"));
      String tier = describe(device).path("tier").asString();
      try (Device other = Device.open("cpu", new Device.Options(1, tier, copy))) {
        assertEquals(copy, other.library());
        assertEquals(9, square(other, 3));
      }
    }
  }

  private static float square(Device device, float x) {
    try (Tensor a = device.of("a", DType.F32, new float[] {x}, 1, 1);
        Tensor c = device.allocate("c", DType.F32, 1, 1)) {
      device.kernels().matmul(c, a, a, Kernels.Layout.NN, false);
      return c.toFloats()[0];
    }
  }

  @Test
  void aDeviceOutlivesAnotherThatIsClosed() {
    try (Device one = TestedDevices.openAny();
        Tensor a = one.of("a", DType.F32, new float[] {1, 2}, 2)) {
      TestedDevices.openAny().close();
      assertEquals(2, a.toFloats()[1]);
      one.kernels().fill(a, 3);
      assertEquals(3, a.toFloats()[1]);
    }
  }

  @Test
  void anAbsurdAllocationSaysWhatIsAllocated() {
    try (Device device = TestedDevices.openAny();
        Tensor _ = device.allocate("the weights", DType.F32, 1000)) {
      var e =
          assertThrows(
              OutOfDeviceMemoryException.class,
              () -> device.allocate("the logits", DType.F32, 1L << 40, 1L << 18));
      assertEquals(
          List.of(new OutOfDeviceMemoryException.Allocation("the weights", 4000)), e.allocations());
      for (String part : List.of("the logits", "the weights", "4,000")) {
        assertTrue(e.toString().contains(part), part + " is not in: " + e.getMessage());
      }
      assertThrows(
          IllegalArgumentException.class,
          () -> device.allocate("more", DType.F32, 1L << 40, 1L << 40));
      assertThrows(
          IllegalArgumentException.class, () -> device.allocate("more", DType.F32, 1L << 62));
      assertEquals(4000, device.allocatedBytes());
    }
  }

  @Test
  void whatIsClosedCannotBeUsed() {
    Device device = TestedDevices.openAny();
    Tensor closed = device.allocate("closed", DType.F32, 8);
    Tensor left = device.allocate("left", DType.F32, 8);
    Tensor view = left.rows(2, 3);
    closed.close();
    closed.close();
    var e = assertThrows(IllegalStateException.class, () -> device.kernels().fill(closed, 1));
    assertTrue(e.toString().contains("closed"), e.getMessage());
    device.close();
    device.close();
    assertThrows(IllegalStateException.class, () -> device.kernels().fill(left, 1));
    assertThrows(IllegalStateException.class, view::toFloats);
    assertThrows(IllegalStateException.class, () -> device.allocate("x", DType.F32, 1));
    assertThrows(IllegalStateException.class, device::describe);
    assertThrows(IllegalStateException.class, device::synchronize);
    left.close();
  }

  @Test
  void copiesOfAnySizeArriveWholeAndAlone() {
    try (Device device = TestedDevices.openAny();
        Arena host = Arena.ofConfined()) {
      for (int bytes : new int[] {1, (8 << 20) - 1, 8 << 20, (13 << 20) + 12345}) {
        byte[] values = new byte[bytes + 6];
        new Random(bytes).nextBytes(values);
        MemorySegment sent = host.allocateFrom(ValueLayout.JAVA_BYTE, values);
        MemorySegment received = host.allocate(bytes + 6);
        try (Tensor x = device.allocate("x", DType.BYTE, bytes + 6)) {
          x.copyFrom(host.allocate(bytes + 6));
          x.view("part", 3, bytes).copyFrom(sent.asSlice(3, bytes));
          x.copyTo(received);
        }
        sent.asSlice(0, 3).fill((byte) 0);
        sent.asSlice(bytes + 3, 3).fill((byte) 0);
        assertEquals(-1, sent.mismatch(received), bytes + " bytes");
      }
    }
  }

  @Test
  @Tag("resident")
  void memoryThatIsFreedIsFree() throws IOException {
    try (Device device = TestedDevices.openAny()) {
      long before = 0;
      for (int i = 0; i < 400; i++) {
        try (Tensor x = device.allocate("x", DType.F32, 1 << 20)) {
          device.kernels().fill(x, i);
        }
        if (i == 50) {
          before = residentBytes();
        }
      }
      assertEquals(0, device.allocatedBytes());
      assertEquals(0, describe(device).path("allocated_bytes").asLong());
      long grown = residentBytes() - before;
      assertTrue(grown < 64 << 20, "350 tensors of 4 MiB left " + grown + " bytes behind");
    }
  }

  /** A device may keep memory for later, but no more than was in use at a time. */
  @Test
  @Tag("resident")
  void whatIsKeptWasOnceInUse() throws IOException {
    try (Device device = TestedDevices.openAny()) {
      long before = residentBytes();
      for (int i = 0; i < 48; i++) {
        long megabytes = 4L * (1 + i * 7 % 16);
        try (Tensor x = device.allocate("x", DType.F32, megabytes << 18)) {
          device.kernels().fill(x, i);
          assertEquals(i, x.view("last", x.elements() - 1, 1).toFloats()[0]);
        }
      }
      long grown = residentBytes() - before;
      assertTrue(grown < 128 << 20, "tensors of at most 64 MiB left " + grown + " bytes behind");
    }
  }

  /** Whatever the order in which its neighbours come back, a block takes the place of several. */
  @Test
  @Tag("resident")
  void blocksThatCameBackAreOneForALargerBlock() throws IOException {
    assumeTrue(TestedDevices.isCpu(TestedDevices.names().getFirst()));
    for (List<Integer> order : List.of(List.of(0, 1, 2), List.of(2, 0, 1), List.of(0, 2, 1))) {
      try (Device device = TestedDevices.openAny()) {
        var blocks = new ArrayList<Tensor>();
        for (int i = 0; i < 3; i++) {
          blocks.add(device.allocate("block", DType.F32, 16 << 20));
          device.kernels().fill(blocks.get(i), i);
        }
        long before = residentBytes();
        for (int i : order) {
          blocks.get(i).close();
        }
        try (Tensor whole = device.allocate("whole", DType.F32, 48 << 20)) {
          long lost = before - residentBytes();
          assertTrue(lost < 64 << 20, lost + " bytes of 192 MiB were given up");
          device.kernels().fill(whole, 1);
          long grown = residentBytes() - before;
          assertTrue(grown < 64 << 20, grown + " bytes were added to 192 MiB");
        }
      }
    }
  }

  @Test
  void devicesThatAreClosedLeaveNothingBehind() throws IOException {
    long before = 0;
    for (int i = 0; i < 60; i++) {
      try (Device device = TestedDevices.openAny()) {
        device.kernels().fill(device.allocate("left", DType.F32, 1 << 20), i);
      }
      if (i == 20) {
        before = residentBytes();
      }
    }
    long grown = residentBytes() - before;
    assertTrue(grown < 64 << 20, "40 devices with 4 MiB each left " + grown + " bytes behind");
  }

  private static long residentBytes() throws IOException {
    String[] pages = Files.readString(Path.of("/proc/self/statm")).split(" ", 3);
    return Long.parseLong(pages[1]) * 4096;
  }
}
