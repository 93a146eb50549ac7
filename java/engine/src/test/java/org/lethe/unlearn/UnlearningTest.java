package org.lethe.unlearn;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.TreeSet;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.function.BooleanSupplier;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.lethe.kernels.DType;
import org.lethe.kernels.Device;
import org.lethe.model.Llama;
import org.lethe.text.TextBlocks;
import org.lethe.text.TinyModel;
import org.lethe.train.TrainingListener;
import org.lethe.train.TrainingOptions;

class UnlearningTest {
  @TempDir private Path temporary;
  private Path model = Path.of("");
  private Path text = Path.of("");
  private Path anchors = Path.of("");

  @BeforeEach
  void write() throws IOException {
    model = TinyModel.write(temporary.resolve("model"));
    text = TinyModel.text(temporary.resolve("text"), 8);
    anchors = TinyModel.anchors(temporary.resolve("anchors.json"));
  }

  private static TrainingOptions training(double holdout) {
    return new TrainingOptions(
        2,
        1e-3,
        0,
        2,
        2,
        0.9,
        0.98,
        1e-8,
        0,
        0,
        holdout,
        true,
        1,
        100,
        DType.BF16,
        DType.F32,
        DType.F32,
        Llama.Memory.DEFAULT);
  }

  private boolean run(Path run, TrainingListener listener, BooleanSupplier stop)
      throws IOException {
    try (Device device = Device.open("cpu", new Device.Options(1, null))) {
      return Unlearning.run(
          device,
          model,
          List.of(text),
          anchors,
          run,
          new Unlearning.Options(
              training(0),
              TextBlocks.Cutting.once(16),
              new Labelling.Options(5, TextBlocks.Cutting.once(64), 1, DType.BF16),
              training(0.2),
              "labels_2"),
          listener,
          (done, blocks, tokens, translation, labels) -> {},
          stop);
    }
  }

  /** Stopped at every third step or block, again and again, it makes what it makes at once. */
  @Test
  void stoppedAgainAndAgainItEndsTheSame() throws IOException {
    Path straight = temporary.resolve("straight");
    assertTrue(run(straight, TrainingListener.NONE, () -> false));
    Path stopped = temporary.resolve("stopped");
    int lives = 1;
    for (var asked = new AtomicInteger();
        !run(stopped, TrainingListener.NONE, () -> asked.incrementAndGet() > 10 + 3);
        asked.set(0)) {
      lives++;
      assertTrue(lives < 50, "it does not get on");
    }
    assertTrue(lives > 1, "it was never stopped");
    for (String file :
        List.of("reinforced/model.safetensors", "labels.jsonl", "unlearned/model.safetensors")) {
      assertEquals(-1, Files.mismatch(straight.resolve(file), stopped.resolve(file)), file);
    }
  }

  @Test
  void doneItIsDone() throws IOException {
    Path run = temporary.resolve("run");
    assertTrue(run(run, TrainingListener.NONE, () -> false));
    var phases = new TreeSet<String>();
    assertTrue(
        run(
            run,
            new TrainingListener() {
              @Override
              public void stepped(Step step, int steps, org.lethe.model.Llama llama) {
                phases.add(step.phase());
              }
            },
            () -> false));
    assertEquals(new TreeSet<>(), phases);
  }

  @Test
  void provenanceIsNamesAndChecksums() throws IOException {
    Path file = Files.writeString(temporary.resolve("abc"), "abc");
    String sha = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"; // FIPS 180-2
    assertEquals(Map.of("path", file.toString(), "sha256", sha), Provenance.of(file));
    Files.writeString(model.resolve("README.md"), "not what makes the model");
    Object sums = Provenance.of(model).get("sha256");
    assertTrue(sums instanceof Map<?, ?>);
    assertEquals(
        List.of("config.json", "model.safetensors", "tokenizer.json"),
        List.copyOf(((Map<?, ?>) sums).keySet()));
    assertFalse(Provenance.VERSION.isEmpty());
  }
}
