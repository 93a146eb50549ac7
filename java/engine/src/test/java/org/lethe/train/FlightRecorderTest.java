package org.lethe.train;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.sun.management.ThreadMXBean;
import java.io.IOException;
import java.lang.management.ManagementFactory;
import java.nio.file.Path;
import java.util.Comparator;
import java.util.List;
import jdk.jfr.Recording;
import jdk.jfr.consumer.RecordedEvent;
import jdk.jfr.consumer.RecordingFile;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.lethe.kernels.DType;
import org.lethe.kernels.Device;
import org.lethe.kernels.Tensor;

/** What Flight Recorder sees of a training run. */
class FlightRecorderTest {
  @TempDir Path temporary;

  @Test
  void aRunLeavesItsStepsAllocationsAndCheckpoints() throws IOException {
    var run = new TinyRun();
    run.checkpointEvery = 2;
    List<RecordedEvent> events;
    try (Device device = Device.open("cpu")) { // before the recording
      events =
          recorded(
              false,
              () -> run.run(device, temporary.resolve("run")),
              () -> run.run(device, temporary.resolve("run")));
    }
    List<RecordedEvent> steps = named("TrainingStep", events);
    assertEquals(
        List.of(1, 2, 3, 4, 5, 6, 5, 6), steps.stream().map(e -> e.getInt("step")).toList());
    for (RecordedEvent step : steps) {
      assertEquals("teach", step.getString("phase"));
      assertTrue(step.getDouble("loss") > 0 && step.getDouble("gradientNorm") > 0, step::toString);
      assertTrue(step.getLong("tokens") > 0 && step.getDuration().toNanos() > 0, step::toString);
    }
    List<RecordedEvent> checkpoints = named("Checkpoint", events);
    assertEquals(
        List.of("written", "written", "read"),
        checkpoints.stream().map(e -> e.getString("kind")).toList());
    assertTrue(checkpoints.getLast().getString("folder").endsWith("checkpoint-4"));
    assertTrue(checkpoints.getLast().getLong("bytes") > 1000);
    assertTrue(
        named("DeviceAllocation", events).stream()
            .anyMatch(
                e -> e.getString("tensor").equals("training state") && e.getLong("bytes") > 1000));
    assertEquals(List.of(), named("KernelCall", events), "kernel calls are off unless asked for");
  }

  @Test
  void kernelCallsCarryOperationAndSizes() throws IOException {
    try (Device device = Device.open("cpu");
        Tensor x = device.allocate("x", DType.F32, 37)) {
      List<RecordedEvent> events = recorded(true, () -> device.kernels().fill(x, 1));
      assertEquals(1, named("KernelCall", events).size());
      RecordedEvent call = named("KernelCall", events).getFirst();
      assertEquals("fill", call.getString("operation"));
      assertEquals("0 37", call.getString("numbers")); // dtype, n
      assertEquals(0, call.getInt("status"));
      assertEquals(1, x.toFloats()[36]);
    }
  }

  /** With nobody recording, not even a byte a call. */
  @Test
  void kernelCallsAllocateNothingWhileOff() {
    try (Device device = Device.open("cpu");
        Tensor x = device.allocate("x", DType.F32, 1)) {
      var threads = (ThreadMXBean) ManagementFactory.getThreadMXBean();
      long least = Long.MAX_VALUE;
      for (int round = 0; round < 50; round++) { // until it is compiled
        long before = threads.getCurrentThreadAllocatedBytes();
        for (int i = 0; i < 2000; i++) {
          device.kernels().fill(x, round);
        }
        least = Math.min(least, threads.getCurrentThreadAllocatedBytes() - before);
      }
      assertTrue(least < 2000, least + " bytes for 2000 calls");
    }
  }

  private interface Work {
    void run() throws IOException;
  }

  private List<RecordedEvent> recorded(boolean kernelCalls, Work... works) throws IOException {
    try (var recording = new Recording()) {
      if (kernelCalls) {
        recording.enable("org.lethe.KernelCall");
      }
      recording.start();
      for (Work work : works) {
        work.run();
      }
      recording.stop();
      Path file = temporary.resolve("recording.jfr");
      recording.dump(file);
      return RecordingFile.readAllEvents(file).stream()
          .filter(e -> e.getEventType().getName().startsWith("org.lethe."))
          .sorted(Comparator.comparing(RecordedEvent::getStartTime))
          .toList();
    }
  }

  private static List<RecordedEvent> named(String name, List<RecordedEvent> events) {
    return events.stream()
        .filter(e -> e.getEventType().getName().equals("org.lethe." + name))
        .toList();
  }
}
