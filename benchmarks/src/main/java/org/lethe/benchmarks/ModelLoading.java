package org.lethe.benchmarks;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.Comparator;
import java.util.Map;
import java.util.stream.Stream;
import org.lethe.format.Checkpoint;
import org.lethe.format.ModelWriter;
import org.lethe.format.StoredType;
import org.lethe.model.LlamaWeights;
import org.openjdk.jmh.annotations.Benchmark;
import org.openjdk.jmh.annotations.Measurement;
import org.openjdk.jmh.annotations.Warmup;

/**
 * A model's weights from files in the file cache to the device: those of {@code --model}, or random
 * ones of SmolLM2-135M's sizes in BF16 safetensors. Time a load.
 */
@Warmup(iterations = 1, time = 2)
@Measurement(iterations = 5, time = 2)
public class ModelLoading extends Operation {
  private Path model;
  private boolean temporary;
  private Rates.Work run;
  private Rates.Work train;

  /** Made by JMH. */
  public ModelLoading() {}

  @Override
  void prepare() {
    Path given = Settings.model();
    temporary = given == null;
    try {
      model = temporary ? Files.createTempDirectory("lethe-bench") : given;
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
    if (temporary) {
      Path folder = model.resolve("model");
      ModelWriter.writeHuggingFace(
          folder, Sizes.SMOLLM2.config(), StoredType.BF16, Map.of(), new RandomModel());
    }
    try (Checkpoint checkpoint = Checkpoint.open(folder())) {
      double parameters = checkpoint.config().parameters();
      double stored = 0;
      for (String tensor : checkpoint.tensors()) {
        Checkpoint.Stored each = checkpoint.stored(tensor);
        stored += each.type().bytes(Arrays.stream(each.shape()).reduce(1, (a, b) -> a * b));
      }
      run = work(0, stored + bytes(parameters));
      train = work(0, stored + Float.BYTES * parameters);
    }
  }

  private Path folder() {
    return temporary ? model.resolve("model") : model;
  }

  /** To run. */
  @Benchmark
  public boolean toRun(Rates rates, Machine machine) {
    rates.add(run);
    return load(false);
  }

  /** Exact, to train. */
  @Benchmark
  public boolean toTrain(Rates rates, Machine machine) {
    rates.add(train);
    return load(true);
  }

  private boolean load(boolean exact) {
    try (Checkpoint checkpoint = Checkpoint.open(folder());
        LlamaWeights weights =
            LlamaWeights.load(device, checkpoint.config(), checkpoint, dtype, exact)) {
      return weights.isExact();
    }
  }

  @Override
  void check() {
    try (Checkpoint checkpoint = Checkpoint.open(folder());
        LlamaWeights weights =
            LlamaWeights.load(device, checkpoint.config(), checkpoint, dtype, false)) {
      requireNumbers(weights.parameters().flat());
    }
  }

  @Override
  void finish() {
    if (!temporary) {
      return;
    }
    try (Stream<Path> tree = Files.walk(model)) {
      for (Path each : tree.sorted(Comparator.reverseOrder()).toList()) {
        Files.delete(each);
      }
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }
}
