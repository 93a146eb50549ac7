package org.lethe.format;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Random;
import org.jspecify.annotations.Nullable;
import org.lethe.model.LlamaConfig;
import org.lethe.model.LlamaConfig.RopeScaling;
import org.lethe.model.ParameterSource;

/** A Llama small enough to be in a test whole, with weights drawn at random. */
final class TinyLlama implements ParameterSource {
  static final RopeScaling LLAMA_3_1 = new RopeScaling(8, 1, 4, 8192);

  final LlamaConfig config;
  final Map<String, float[]> weights = new LinkedHashMap<>();

  private TinyLlama(LlamaConfig config) {
    this.config = config;
    Random random = new Random(7);
    shapes(config)
        .forEach(
            (name, shape) -> {
              float[] w = new float[Math.toIntExact(product(shape))];
              for (int i = 0; i < w.length; i++) {
                w[i] = (float) random.nextGaussian();
              }
              weights.put(name, w);
            });
  }

  /** Grouped heads, widths of one block of 32 and of two. */
  static TinyLlama of(boolean tied, @Nullable RopeScaling scaling) {
    return new TinyLlama(
        new LlamaConfig(11, 32, 64, 2, 4, 2, 16, 128, 1e-5, 5e5, scaling, tied, 1, 2));
  }

  static TinyLlama withWidth(int width, int feedForward) {
    return new TinyLlama(
        new LlamaConfig(11, width, feedForward, 1, 2, 1, 2, 128, 1e-6, 1e4, null, false, 1, 2));
  }

  /** Names and shapes, as transformers has them. */
  static Map<String, long[]> shapes(LlamaConfig c) {
    long q = (long) c.heads() * c.headSize();
    long kv = (long) c.kvHeads() * c.headSize();
    Map<String, long[]> shapes = new LinkedHashMap<>();
    shapes.put("model.embed_tokens.weight", new long[] {c.vocabulary(), c.width()});
    for (int i = 0; i < c.layers(); i++) {
      String layer = "model.layers." + i + ".";
      shapes.put(layer + "input_layernorm.weight", new long[] {c.width()});
      shapes.put(layer + "self_attn.q_proj.weight", new long[] {q, c.width()});
      shapes.put(layer + "self_attn.k_proj.weight", new long[] {kv, c.width()});
      shapes.put(layer + "self_attn.v_proj.weight", new long[] {kv, c.width()});
      shapes.put(layer + "self_attn.o_proj.weight", new long[] {c.width(), q});
      shapes.put(layer + "post_attention_layernorm.weight", new long[] {c.width()});
      shapes.put(layer + "mlp.gate_proj.weight", new long[] {c.feedForward(), c.width()});
      shapes.put(layer + "mlp.up_proj.weight", new long[] {c.feedForward(), c.width()});
      shapes.put(layer + "mlp.down_proj.weight", new long[] {c.width(), c.feedForward()});
    }
    shapes.put("model.norm.weight", new long[] {c.width()});
    if (!c.tiedHead()) {
      shapes.put("lm_head.weight", new long[] {c.vocabulary(), c.width()});
    }
    return shapes;
  }

  static long product(long[] shape) {
    return Arrays.stream(shape).reduce(1, Math::multiplyExact);
  }

  List<String> names() {
    return List.copyOf(weights.keySet());
  }

  float[] weight(String name) {
    return Objects.requireNonNull(weights.get(name), name);
  }

  @Override
  public void read(String name, long first, MemorySegment f32) {
    MemorySegment.copy(
        weight(name),
        (int) first,
        f32,
        ValueLayout.JAVA_FLOAT,
        0,
        (int) (f32.byteSize() / Float.BYTES));
  }
}
