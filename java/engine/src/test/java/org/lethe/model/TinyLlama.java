package org.lethe.model;

import java.io.IOException;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import org.lethe.kernels.DType;
import org.lethe.kernels.Device;

/**
 * A Llama small enough for a test, with weights computed from their names: those of {@code
 * golden_llama.py}, which repeats {@link #noise} and {@link #weight}.
 */
public final class TinyLlama implements ParameterSource {
  private final LlamaConfig config;

  /** A Llama of these sizes; the weights of equal sizes are equal. */
  public TinyLlama(LlamaConfig config) {
    this.config = config;
  }

  /** Head and embedding are one, four query heads share two key/value heads. */
  public static TinyLlama tied() {
    return new TinyLlama(
        new LlamaConfig(257, 32, 56, 2, 4, 2, 8, 64, 1e-5, 10_000, null, true, 1, 2));
  }

  /** A head of its own, Llama 3's RoPE, heads wider together (6 x 10) than the model (42). */
  public static TinyLlama untied() {
    var scaling = new LlamaConfig.RopeScaling(8, 1, 4, 32);
    return new TinyLlama(
        new LlamaConfig(131, 42, 52, 2, 6, 2, 10, 64, 1e-6, 500_000, scaling, false, 1, 2));
  }

  /** The model of the golden files of that name. */
  public static TinyLlama named(String name) {
    return switch (name) {
      case "tied" -> tied();
      case "untied" -> untied();
      default -> throw new IllegalArgumentException(name);
    };
  }

  /** The sizes. */
  public LlamaConfig config() {
    return config;
  }

  /** Its weights on a device, exact; the caller closes them. */
  public LlamaWeights load(Device device, DType dtype) throws IOException {
    return LlamaWeights.load(device, config, this, dtype, true);
  }

  /** Tokens of its vocabulary, as random as {@code name}. */
  public int[] tokens(String name, int n) {
    float[] x = noise(name, n);
    int[] tokens = new int[n];
    Arrays.setAll(tokens, i -> (int) ((x[i] + 1) / 2 * config.vocabulary()));
    return tokens;
  }

  @Override
  public void read(String name, long first, MemorySegment f32) {
    float[] weight = weight(name);
    long count = f32.byteSize() / Float.BYTES;
    for (long i = 0; i < count; i++) {
      f32.setAtIndex(ValueLayout.JAVA_FLOAT_UNALIGNED, i, weight[Math.toIntExact(first + i)]);
    }
  }

  /** A parameter: norms lie around 1, embeddings in [-1, 1), other matrices in [-1/4, 1/4). */
  public float[] weight(String name) {
    LlamaParameters.Parameter p =
        LlamaParameters.layout(config).stream()
            .filter(each -> each.name().equals(name))
            .findFirst()
            .orElseThrow(() -> new IllegalArgumentException(name));
    float[] x = noise(name, Math.toIntExact(p.elements()));
    for (int i = 0; i < x.length; i++) {
      if (p.norm()) {
        x[i] = 1 + 0.25f * x[i];
      } else if (!name.contains("embed")) {
        x[i] *= 0.25f;
      }
    }
    return x;
  }

  /**
   * n numbers in [-1, 1): the top 24 bits of splitmix64 at positions 1, 2, ... of the stream that
   * FNV-1a makes of {@code name}.
   */
  public static float[] noise(String name, int n) {
    long stream = 0xCBF29CE484222325L;
    for (byte b : name.getBytes(StandardCharsets.UTF_8)) {
      stream = (stream ^ (b & 0xff)) * 0x100000001B3L;
    }
    float[] x = new float[n];
    for (int i = 0; i < n; i++) {
      long z = stream + (i + 1L) * 0x9E3779B97F4A7C15L;
      z = (z ^ (z >>> 30)) * 0xBF58476D1CE4E5B9L;
      z = (z ^ (z >>> 27)) * 0x94D049BB133111EBL;
      z ^= z >>> 31;
      x[i] = (z >>> 40) * 0x1p-23f - 1;
    }
    return x;
  }
}
