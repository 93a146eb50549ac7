package org.lethe.train;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HexFormat;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.function.BooleanSupplier;
import java.util.stream.Stream;
import org.lethe.kernels.DType;
import org.lethe.kernels.Device;
import org.lethe.kernels.Kernels;
import org.lethe.model.Gradients;
import org.lethe.model.Llama;
import org.lethe.model.LlamaParameters;
import org.lethe.model.LlamaWeights;
import org.lethe.model.TinyLlama;

/** A training run of a tiny Llama, every argument of it open to change. */
final class TinyRun {
  static final Map<String, String> RECORD = Map.of("test", "tiny");

  TinyLlama llama = TinyLlama.untied();
  int epochs = 2;
  double learningRate = 1e-3;
  int warmup = 0;
  int batch = 2;
  int accumulate = 2;
  double weightDecay = 0;
  double clip = 0;
  double holdout = 0;
  boolean shuffle = true;
  long seed = 1;
  int checkpointEvery = 100;
  DType dtype = DType.F32;
  DType gradientType = DType.F32;
  DType momentType = DType.F32;
  boolean recompute = false;
  int headRows = 512;
  List<TrainingBlock> blocks = blocks(llama, 12, 16);
  List<TrainingBlock> alongside = List.of();
  TrainingListener listener = TrainingListener.NONE;
  BooleanSupplier stop = () -> false;

  /**
   * How it went.
   *
   * @param weights every parameter after the run, by name
   */
  record Result(Trainer.Outcome outcome, Map<String, float[]> weights) {
    float[] weight(String name) {
      return Objects.requireNonNull(weights.get(name));
    }
  }

  /** Blocks of {@code length} tokens and less, of which some, and the first, have no label. */
  static List<TrainingBlock> blocks(TinyLlama llama, int count, int length) {
    var blocks = new ArrayList<TrainingBlock>();
    for (int b = 0; b < count; b++) {
      int[] tokens = llama.tokens("block " + b, length - b % 3);
      int[] labels = llama.tokens("labels " + b, length - b % 3);
      Arrays.fill(labels, 0, 1 + b % 5, Kernels.IGNORE);
      blocks.add(new TrainingBlock(tokens, labels));
    }
    return blocks;
  }

  TrainingOptions options() {
    return new TrainingOptions(
        epochs,
        learningRate,
        warmup,
        batch,
        accumulate,
        0.9,
        0.98,
        1e-8,
        weightDecay,
        clip,
        holdout,
        shuffle,
        seed,
        checkpointEvery,
        dtype,
        gradientType,
        momentType,
        new Llama.Memory(recompute, headRows));
  }

  Trainer trainer(LlamaWeights weights) {
    return new Trainer("teach", weights, blocks, alongside, options(), listener);
  }

  /** Trains the weights as they come, in {@code directory}, from where a run before it stopped. */
  Result run(Device device, Path directory) throws IOException {
    try (LlamaWeights weights = llama.load(device, dtype);
        RunFolder folder = RunFolder.open(directory, RECORD)) {
      Trainer.Outcome outcome = trainer(weights).run(folder, stop);
      return new Result(outcome, read(weights));
    }
  }

  static Map<String, float[]> read(LlamaWeights weights) {
    var all = new LinkedHashMap<String, float[]>();
    for (LlamaParameters.Parameter p : LlamaParameters.layout(weights.config())) {
      all.put(p.name(), Gradients.read(weights, p.name()));
    }
    return all;
  }

  /** Names of what lies in a folder, sorted. */
  static List<String> names(Path directory) throws IOException {
    try (Stream<Path> files = Files.list(directory)) {
      return files.map(file -> file.getFileName().toString()).sorted().toList();
    }
  }

  /** SHA-256 of the checkpoints and best weights in a folder: names and bytes of every file. */
  static String digest(Path directory) throws IOException {
    MessageDigest sha;
    try {
      sha = MessageDigest.getInstance("SHA-256");
    } catch (NoSuchAlgorithmException e) {
      throw new IllegalStateException(e);
    }
    try (Stream<Path> tree = Files.walk(directory)) {
      for (Path file : tree.filter(Files::isRegularFile).sorted().toList()) {
        String name = directory.relativize(file).toString();
        if (name.startsWith("checkpoint-") || name.startsWith("best-")) {
          sha.update(name.getBytes(StandardCharsets.UTF_8));
          sha.update(Files.readAllBytes(file));
        }
      }
    }
    return HexFormat.of().formatHex(sha.digest());
  }
}
