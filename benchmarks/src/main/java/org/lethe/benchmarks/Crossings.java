package org.lethe.benchmarks;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import jdk.jfr.Recording;
import jdk.jfr.consumer.RecordingFile;
import org.lethe.kernels.DType;
import org.lethe.kernels.Device;
import org.lethe.kernels.Tensor;
import org.openjdk.jmh.annotations.AuxCounters;
import org.openjdk.jmh.annotations.Scope;
import org.openjdk.jmh.annotations.State;

/** What crossing the border between Java and native code costs of a step. */
@State(Scope.Thread)
@AuxCounters(AuxCounters.Type.OPERATIONS)
public class Crossings {
  private static final int CALLS = 200_000;

  /** Seconds of crossing, which JMH divides by the seconds it all took: a share. */
  public double crossings;

  /** Set up by JMH. */
  public Crossings() {}

  /**
   * The seconds that the native calls of {@code step} would take if they did nothing: as many, as
   * Flight Recorder counts them, as of the cheapest call there is, with all its checks in Java.
   */
  static double seconds(Device device, Runnable step) {
    try (Tensor one = device.allocate("one", DType.F32, 1)) {
      double call = Double.POSITIVE_INFINITY;
      for (int round = 0; round < 5; round++) {
        long start = System.nanoTime();
        for (int i = 0; i < CALLS; i++) {
          device.kernels().fill(one, 0);
        }
        call = Math.min(call, (System.nanoTime() - start) / 1e9 / CALLS);
      }
      return count(step) * call;
    }
  }

  private static long count(Runnable step) {
    try (var recording = new Recording()) {
      recording.enable("org.lethe.KernelCall");
      recording.start();
      step.run();
      recording.stop();
      Path file = Files.createTempFile("lethe", ".jfr");
      try {
        recording.dump(file);
        long calls =
            RecordingFile.readAllEvents(file).stream()
                .filter(e -> e.getEventType().getName().equals("org.lethe.KernelCall"))
                .count();
        if (calls == 0) {
          throw new IllegalStateException("Flight Recorder saw no kernel call");
        }
        return calls;
      } finally {
        Files.delete(file);
      }
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }
}
