package org.lethe.format;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.lethe.model.LlamaConfig;

/**
 * The real model, where {@code -Dlethe.test.smollm2} names its Q4_1 GGUF. The expected numbers are
 * gguf-py's: {@code dequantize(t.data, t.tensor_type)}, k with its rows put back in order.
 */
final class SmolLm2Test {

  @Test
  void theGgufReadsAsGgufPyReadsIt() {
    String file = System.getProperty("lethe.test.smollm2", "");
    assumeTrue(!file.isEmpty(), "lethe.test.smollm2 names no file");
    try (Checkpoint checkpoint = Checkpoint.open(Path.of(file))) {
      assertEquals(
          new LlamaConfig(49152, 576, 1536, 30, 9, 3, 64, 8192, 1e-5, 100_000, null, true, 1, 2),
          checkpoint.config());
      assertEquals(272, checkpoint.tensors().size());
      assertEquals(StoredType.Q8_0, checkpoint.stored("model.embed_tokens.weight").type());
      check(
          checkpoint,
          "model.embed_tokens.weight",
          List.of(
              -15353.04449415207,
              520415.71544763993,
              0.032978057861328125,
              0.14854049682617188,
              -0.0417022705078125));
      check(
          checkpoint,
          "model.layers.3.self_attn.k_proj.weight",
          List.of(
              -52.82200622558594,
              6939.367781823268,
              0.06451416015625,
              -0.12347412109375,
              -0.5703125));
      check(
          checkpoint,
          "model.layers.29.mlp.down_proj.weight",
          List.of(
              49.83570861816406,
              29667.074891592143,
              0.186279296875,
              0.259002685546875,
              0.056640625));
    }
  }

  /** Sum, sum of squares, and the elements at three places. */
  private static void check(Checkpoint checkpoint, String name, List<Double> expected) {
    float[] w = RoundTripTest.read(checkpoint, name);
    double sum = 0;
    double squares = 0;
    for (float x : w) {
      sum += x;
      squares += (double) x * x;
    }
    assertEquals(expected.get(0), sum, 1e-6 * squares, name);
    assertEquals(expected.get(1), squares, 1e-9 * squares, name);
    assertEquals(expected.get(2).floatValue(), w[1], name);
    assertEquals(expected.get(3).floatValue(), w[w.length / 2 + 577], name);
    assertEquals(expected.get(4).floatValue(), w[w.length - 1], name);
  }
}
