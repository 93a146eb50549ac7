package org.lethe.train;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeFalse;

import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.lethe.kernels.DType;
import org.lethe.kernels.Device;
import org.lethe.kernels.TestedDevices;
import org.lethe.model.Golden;
import org.lethe.model.Llama;
import org.lethe.model.TinyLlama;

/** A small Llama learns on the tested device what it learns on the cpu, step by step. */
@Tag("model")
class TwoDevicesTest {
  private record Course(List<Double> losses, TinyRun.Result result) {}

  /**
   * @param loss by how much of itself a step's loss may differ; in BF16 that depends on the order
   *     in which this machine's matrix products add: 0.0032 with AMX, less without
   * @param way how far apart, norm-wise, the ways may be that all weights went
   */
  @ParameterizedTest
  @CsvSource({
    "tied, F32, F32, 1e-5, 1e-3",
    "untied, F32, F32, 1e-5, 1e-3",
    "tied, BF16, F32, 0.01, 0.1",
    "untied, BF16, BF16, 0.01, 0.1"
  })
  void trainsAlike(
      String name, DType dtype, DType other, double loss, double way, @TempDir Path temporary)
      throws IOException {
    String tested = TestedDevices.names().getFirst();
    assumeFalse(TestedDevices.isCpu(tested), "the cpu is what others are compared with");
    TinyLlama llama = TinyLlama.named(name);
    Course here = train("cpu", llama, dtype, other, temporary.resolve("cpu"));
    Course there = train(tested, llama, dtype, other, temporary.resolve(tested));
    int steps = here.losses.size();
    assertEquals(steps, there.losses.size());
    assertTrue(here.losses.getLast() < 0.9 * here.losses.getFirst(), () -> "" + here.losses);
    for (int s = 0; s < steps; s++) {
      double expected = here.losses.get(s);
      assertEquals(expected, there.losses.get(s), loss * expected, "step " + (s + 1));
    }
    double distance = 0;
    double length = 0;
    for (String parameter : here.result.weights().keySet()) {
      float[] start = llama.weight(parameter);
      float[] a = here.result.weight(parameter);
      float[] b = there.result.weight(parameter);
      for (int i = 0; i < start.length; i++) {
        distance += Math.pow(a[i] - b[i], 2);
        length += Math.pow(a[i] - start[i], 2);
      }
      double apart = Golden.distance(b, a);
      assertTrue(apart < way, parameter + " is " + apart + " apart");
    }
    double apart = Math.sqrt(distance / length);
    assertTrue(apart < way, "the ways that all weights went are " + apart + " apart");
  }

  private static Course train(
      String device, TinyLlama llama, DType dtype, DType other, Path directory) throws IOException {
    var losses = new ArrayList<Double>();
    var run = new TinyRun();
    run.llama = llama;
    run.blocks = TinyRun.blocks(llama, 12, 16);
    run.dtype = dtype;
    run.gradientType = other;
    run.momentType = other;
    run.epochs = 5; // 15 steps
    run.warmup = 3;
    run.weightDecay = 0.01;
    run.clip = 1;
    run.learningRate = 3e-3;
    run.listener =
        new TrainingListener() {
          @Override
          public void stepped(Step step, int steps, Llama model) {
            losses.add(step.loss());
          }
        };
    try (Device on = TestedDevices.open(device)) {
      return new Course(losses, run.run(on, directory));
    }
  }
}
