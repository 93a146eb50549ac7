package org.lethe.kernels;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.ValueLayout;
import java.lang.invoke.MethodHandle;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/**
 * A kernel that writes where it must not loses the device, in a process of its own: the emulator,
 * as a GPU, is lost to the whole process.
 */
@Tag("kernels")
class LostDeviceTest {
  @Test
  @Timeout(60)
  void everyLaterCallTellsOfTheFirstFailure() throws IOException, InterruptedException {
    assumeTrue(TestedDevices.names().getFirst().equals("simt"), "only the emulator fails at will");
    Process process =
        new ProcessBuilder(
                Path.of(System.getProperty("java.home"), "bin", "java").toString(),
                "--enable-native-access=ALL-UNNAMED",
                "--sun-misc-unsafe-memory-access=allow",
                "-cp",
                System.getProperty("java.class.path"),
                LostDeviceTest.class.getName())
            .redirectErrorStream(true)
            .start();
    String said = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
    assertEquals(0, process.waitFor(), said);
  }

  /** The process: exits with 0 if all is as it should be. */
  public static void main(String[] arguments) throws Throwable {
    try (Arena arena = Arena.ofConfined();
        Device device = Device.open("simt")) {
      Tensor x = device.allocate("x", DType.F32, 5); // freed with the device, which is lost by then
      var library = NativeLibrary.load("simt", null, arena);
      MethodHandle fill =
          library.bind(
              "lethe_fill",
              FunctionDescriptor.of(
                  ValueLayout.JAVA_INT,
                  ValueLayout.JAVA_LONG,
                  ValueLayout.JAVA_LONG,
                  ValueLayout.JAVA_INT,
                  ValueLayout.JAVA_LONG,
                  ValueLayout.JAVA_FLOAT,
                  ValueLayout.JAVA_LONG));
      int status =
          (int) fill.invokeExact(device.handle(), x.address(), DType.F32.code(), 6L, 1f, 0L);
      require(status == 0, "a kernel runs behind the call: status " + status);
      String first = lost(device::synchronize);
      for (String part :
          List.of("synchronize", "IllegalAddress", "20 bytes", "at or before this operation")) {
        require(first.contains(part), part + " is not in: " + first);
      }
      for (Runnable later :
          List.<Runnable>of(
              x::toFloats,
              () -> x.set(new float[5]),
              () -> device.kernels().fill(x, 1),
              () -> device.allocate("y", DType.F32, 1),
              device::describe,
              device::synchronize)) {
        String again = lost(later);
        require(again.contains(first), "not the first failure: " + again);
      }
    }
  }

  /** What a call says that fails since the device is lost. */
  private static String lost(Runnable call) {
    try {
      call.run();
    } catch (DeviceException e) {
      require(e.status() == DeviceException.Status.DEVICE_LOST, e.status() + ": " + e.getMessage());
      return String.valueOf(e.getMessage());
    }
    throw new AssertionError("it went well");
  }

  private static void require(boolean holds, String otherwise) {
    if (!holds) {
      throw new AssertionError(otherwise);
    }
  }
}
