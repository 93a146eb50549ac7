package org.lethe.benchmarks;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.stream.Stream;
import org.lethe.format.Checkpoint;
import org.lethe.format.ModelWriter;
import org.lethe.format.StoredType;
import org.lethe.kernels.DType;
import org.lethe.kernels.Device;
import org.lethe.model.KeyValueCache;
import org.lethe.model.Llama;
import org.lethe.model.LlamaConfig;
import org.lethe.model.LlamaWeights;
import org.lethe.model.LlamaWork;

/**
 * {@code benchmarks/large-model}: writes a Llama2-7b of random weights (13.5 GB in BF16, streamed),
 * maps it, scores a block of 512 tokens, decodes some from the weights and from packed ones.
 */
public final class LargeModel {
  private static final int LENGTH = 512;
  private static final int REPEATS = 3;
  private static final int DECODED = 9;

  private LargeModel() {}

  /**
   * {@code write FOLDER}, {@code score FOLDER}; {@code write-small} is a trial at SmolLM2-135M's
   * sizes.
   */
  public static void main(String[] arguments) throws IOException {
    if (arguments.length != 2) {
      System.err.println("usage: benchmarks/large-model write|write-small|score FOLDER");
      System.exit(2);
    }
    Path folder = Path.of(arguments[1]);
    switch (arguments[0]) {
      case "write" -> write(folder, Sizes.LLAMA2.config());
      case "write-small" -> write(folder, Sizes.SMOLLM2.config());
      case "score" -> score(folder);
      default -> {
        System.err.println("large-model takes write, write-small or score, not " + arguments[0]);
        System.exit(2);
      }
    }
  }

  private static void write(Path folder, LlamaConfig config) {
    long start = System.nanoTime();
    ModelWriter.writeHuggingFace(folder, config, StoredType.BF16, Map.of(), new RandomModel());
    double gigabytes = 2e-9 * config.parameters();
    System.out.printf(
        Locale.ROOT, "wrote %.1f GB in %.0f s to %s%n", gigabytes, seconds(start), folder);
  }

  private static void score(Path folder) throws IOException {
    try (Device device = Settings.openDevice()) {
      Ceilings ceilings = Ceilings.measure(device, DType.BF16);
      long start = System.nanoTime();
      try (Checkpoint checkpoint = Checkpoint.open(folder);
          LlamaWeights weights =
              LlamaWeights.map(device, checkpoint.config(), checkpoint, DType.BF16);
          var llama = new Llama(weights)) {
        double loading = seconds(start);
        LlamaConfig config = checkpoint.config();
        int[] tokens = Noise.tokens(config.vocabulary(), 1, LENGTH);
        double first = score(llama, tokens);
        double best = first;
        for (int i = 0; i < REPEATS; i++) {
          best = Math.min(best, score(llama, tokens));
        }
        double flop = LlamaWork.flops(LlamaWork.losses(config, DType.BF16, 1, LENGTH));
        System.out.printf(
            Locale.ROOT,
            "%.2f billion parameters: mapped in %.1f s, %d tokens scored in %.2f s the first time, %.2f s then: %.1f tokens/s,"
                + " %.0f GFLOP/s, %.0f%% of the %.0f that a product of 2048 cubed reaches; peak resident memory %.1f GB%n",
            config.parameters() / 1e9,
            loading,
            LENGTH,
            first,
            best,
            LENGTH / best,
            flop / best / 1e9,
            100 * flop / best / ceilings.flops(),
            ceilings.flops() / 1e9,
            peakBytes() / 1e9);
        decode(weights, llama);
      }
    }
  }

  private static void decode(LlamaWeights weights, Llama llama) throws IOException {
    double plain = secondsPerToken(weights, llama);
    long start = System.nanoTime();
    boolean packed = weights.pack();
    double packing = seconds(start);
    double matrices = 2 * LlamaWork.matrices(weights.config());
    System.out.printf(
        Locale.ROOT, "decoding %.2f tokens/s, %.1f GB/s", 1 / plain, matrices / plain / 1e9);
    if (packed) {
      double less = secondsPerToken(weights, llama);
      System.out.printf(
          Locale.ROOT,
          "; weights packed in %.1f s: %.2f tokens/s, %.1f GB/s; peak resident memory %.1f GB",
          packing,
          1 / less,
          weights.packedBytes() / less / 1e9,
          peakBytes() / 1e9);
    }
    System.out.println();
  }

  /** The median of some tokens after a first. */
  private static double secondsPerToken(LlamaWeights weights, Llama llama) {
    double[] seconds = new double[DECODED];
    try (var cache = new KeyValueCache(weights, DECODED + 1)) {
      for (int i = 0; i <= DECODED; i++) {
        long start = System.nanoTime();
        llama.decode(List.of(new int[] {i}), cache);
        seconds[Math.max(0, i - 1)] = seconds(start);
      }
    }
    return Bootstrap.median(seconds);
  }

  private static double score(Llama llama, int[] tokens) {
    long start = System.nanoTime();
    float[] logprobs = llama.logprobs(tokens);
    double seconds = seconds(start);
    for (int i = 1; i < logprobs.length; i++) {
      if (!(logprobs[i] < 0)) {
        throw new IllegalStateException("the log-probability of token " + i + " is " + logprobs[i]);
      }
    }
    return seconds;
  }

  private static double seconds(long start) {
    return (System.nanoTime() - start) / 1e9;
  }

  private static double peakBytes() throws IOException {
    try (Stream<String> lines = Files.lines(Path.of("/proc/self/status"))) {
      String line = lines.filter(each -> each.startsWith("VmHWM:")).findFirst().orElseThrow();
      return 1024 * Double.parseDouble(line.replaceAll("[^0-9]", ""));
    }
  }
}
