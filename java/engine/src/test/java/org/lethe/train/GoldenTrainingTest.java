package org.lethe.train;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

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

/** Ten steps of AdamW against torch.optim.AdamW on transformers' Llama. */
@Tag("model")
class GoldenTrainingTest {
  @ParameterizedTest
  @CsvSource({"tied, 0.0", "tied, 0.1", "untied, 0.0", "untied, 0.1"})
  void tenStepsOfAdamW(String name, double decay, @TempDir Path directory) throws IOException {
    Golden golden = Golden.read(name);
    List<Double> losses = new ArrayList<>();
    TinyRun run = run(golden, decay, losses);
    try (Device device = TestedDevices.openAny()) {
      TinyRun.Result result = run.run(device, directory);
      assertLosses(golden, decay, losses, 1e-4);
      if (decay == golden.json().path("trained_decay").asDouble()) {
        for (String parameter : golden.parameters()) {
          float[] trained = result.weight(parameter);
          float[] expected = golden.tensor("trained." + parameter);
          double distance = Golden.distance(trained, expected);
          assertTrue(distance < 1e-4, parameter + ": " + distance);
          float[] start = golden.llama().weight(parameter);
          double way = Golden.distance(minus(trained, start), minus(expected, start));
          assertTrue(way < 1e-3, "the way that " + parameter + " went: " + way);
        }
      }
    }
  }

  @ParameterizedTest
  @CsvSource({"tied, 0.0, F32, F32", "untied, 0.1, F32, F32", "untied, 0.1, BF16, BF16"})
  void tenStepsInBf16(
      String name, double decay, DType gradientType, DType momentType, @TempDir Path directory)
      throws IOException {
    Golden golden = Golden.read(name);
    List<Double> losses = new ArrayList<>();
    TinyRun run = run(golden, decay, losses);
    run.dtype = DType.BF16;
    run.gradientType = gradientType;
    run.momentType = momentType;
    try (Device device = TestedDevices.openAny()) {
      TinyRun.Result result = run.run(device, directory);
      assertLosses(golden, decay, losses, 0.01);
      for (String parameter : golden.parameters()) {
        float[] start = golden.llama().weight(parameter);
        double cosine =
            Golden.cosine(
                minus(result.weight(parameter), start),
                minus(golden.tensor("trained." + parameter), start));
        assertTrue(cosine > 0.99, "the way that " + parameter + " went: cosine " + cosine);
      }
    }
  }

  private static TinyRun run(Golden golden, double decay, List<Double> losses) {
    var run = new TinyRun();
    run.llama = golden.llama();
    run.blocks = new ArrayList<>();
    for (int b = 0; b < golden.blocks(); b++) {
      run.blocks.add(new TrainingBlock(golden.tokens(b), golden.labels(b)));
    }
    run.epochs = 10;
    run.batch = golden.blocks();
    run.accumulate = 1;
    run.shuffle = false;
    run.learningRate = golden.json().path("adamw").path("lr").asDouble();
    run.weightDecay = decay;
    run.listener =
        new TrainingListener() {
          @Override
          public void stepped(Step step, int steps, org.lethe.model.Llama llama) {
            losses.add(step.loss());
          }
        };
    return run;
  }

  private static void assertLosses(
      Golden golden, double decay, List<Double> losses, double tolerance) {
    double[] expected = Golden.doubles(golden.json().path("losses").path(Double.toString(decay)));
    assertEquals(expected.length, losses.size());
    for (int s = 0; s < expected.length; s++) {
      assertEquals(expected[s], losses.get(s), tolerance * expected[s], "step " + (s + 1));
    }
  }

  private static float[] minus(float[] a, float[] b) {
    float[] difference = a.clone();
    for (int i = 0; i < b.length; i++) {
      difference[i] -= b[i];
    }
    return difference;
  }
}
