package org.lethe.model;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import org.lethe.kernels.DType;
import org.lethe.kernels.Device;
import org.lethe.kernels.Tensor;
import org.lethe.kernels.TestedDevices;

/** Llama against transformers' LlamaForCausalLM: logits, loss, every parameter's gradient. */
@Tag("model")
class GoldenLlamaTest {
  private static final double F32_DISTANCE = 1e-4;

  private Device device;

  @BeforeEach
  void open() {
    device = TestedDevices.openAny();
  }

  @AfterEach
  void everythingIsFreed() {
    assertEquals(0, device.allocatedBytes(), () -> device.allocations().toString());
    device.close();
  }

  @ParameterizedTest
  @ValueSource(strings = {"tied", "untied"})
  void logits(String name) throws IOException {
    Golden golden = Golden.read(name);
    float[] expected = golden.tensor("logits");
    int vocabulary = golden.llama().config().vocabulary();
    try (LlamaWeights weights = golden.llama().load(device, DType.F32);
        Llama llama = new Llama(weights)) {
      for (int b = 0; b < golden.blocks(); b++) {
        int[] tokens = golden.tokens(b);
        try (Tensor logits = device.allocate("logits", DType.F32, tokens.length, vocabulary)) {
          llama.logits(tokens, logits);
          int size = tokens.length * vocabulary;
          float[] block = Arrays.copyOfRange(expected, b * size, (b + 1) * size);
          assertBelow(
              F32_DISTANCE, Golden.distance(logits.toFloats(), block), "logits, block " + b);
        }
      }
    }
  }

  @ParameterizedTest
  @ValueSource(strings = {"tied", "untied"})
  void lossAndEveryGradient(String name) throws IOException {
    Golden golden = Golden.read(name);
    List<String> far = new ArrayList<>();
    try (LlamaWeights weights = golden.llama().load(device, DType.F32);
        Gradients gradients = new Gradients(weights, DType.F32)) {
      double loss = gradients.train(golden);
      assertEquals(golden.json().path("loss").asDouble(), loss, 1e-5 * loss);
      for (String parameter : golden.parameters()) {
        double distance =
            Golden.distance(gradients.of(parameter), golden.tensor("gradient." + parameter));
        if (!(distance < F32_DISTANCE)) {
          far.add(parameter + " " + distance);
        }
      }
    }
    assertEquals(List.of(), far, "gradients farther than " + F32_DISTANCE);
  }

  @ParameterizedTest
  @ValueSource(strings = {"tied", "untied"})
  void bf16GradientsPointTheSameWay(String name) throws IOException {
    Golden golden = Golden.read(name);
    for (DType gradientType : new DType[] {DType.F32, DType.BF16}) {
      float[] all = new float[0];
      float[] expectedAll = new float[0];
      List<String> far = new ArrayList<>();
      try (LlamaWeights weights = golden.llama().load(device, DType.BF16);
          Gradients gradients = new Gradients(weights, gradientType)) {
        double loss = gradients.train(golden);
        assertEquals(golden.json().path("loss").asDouble(), loss, 0.01 * loss);
        for (String parameter : golden.parameters()) {
          float[] gradient = gradients.of(parameter);
          float[] expected = golden.tensor("gradient." + parameter);
          double cosine = Golden.cosine(gradient, expected);
          if (!(cosine > 0.99)) {
            far.add(parameter + " " + cosine);
          }
          all = concatenate(all, gradient);
          expectedAll = concatenate(expectedAll, expected);
        }
      }
      assertEquals(List.of(), far, "cosines of " + gradientType + " gradients below 0.99");
      double cosine = Golden.cosine(all, expectedAll);
      assertTrue(cosine > 0.999, "cosine of the whole gradient in " + gradientType + ": " + cosine);
    }
  }

  @ParameterizedTest
  @ValueSource(strings = {"tied", "untied"})
  void ropeTurnsAtTheSameFrequencies(String name) {
    Golden golden = Golden.read(name);
    double[] expected = Golden.doubles(golden.json().path("inv_freq"));
    assertRelative(expected, RopeTable.frequencies(golden.llama().config()));
  }

  @Test
  void ropeOfThePublishedLlama31() {
    double[] expected = Golden.doubles(Golden.read("untied").json().path("inv_freq_llama_3_1"));
    var scaling = new LlamaConfig.RopeScaling(8, 1, 4, 8192);
    var config =
        new LlamaConfig(
            128256, 4096, 14336, 32, 32, 8, 128, 131072, 1e-5, 500_000, scaling, false, 0, 1);
    assertRelative(expected, RopeTable.frequencies(config));
  }

  @ParameterizedTest
  @ValueSource(strings = {"tied", "untied"})
  void sizesAndWeightsAreThoseOfTheScript(String name) throws IOException {
    Golden golden = Golden.read(name);
    LlamaConfig config = golden.llama().config();
    assertEquals(config.vocabulary(), golden.json().path("config").path("vocab_size").asInt());
    assertEquals(config.parameters(), elements(golden));
    assertArrayEquals(golden.tokens(), golden.llama().tokens("tokens", golden.tokens().length));
    try (LlamaWeights weights = golden.llama().load(device, DType.BF16)) {
      for (String parameter : golden.parameters()) {
        assertArrayEquals(golden.llama().weight(parameter), Gradients.read(weights, parameter));
      }
    }
  }

  private static long elements(Golden golden) {
    return golden.parameters().stream()
        .mapToLong(parameter -> golden.tensor("gradient." + parameter).length)
        .sum();
  }

  private static void assertRelative(double[] expected, double[] actual) {
    assertEquals(expected.length, actual.length);
    for (int i = 0; i < expected.length; i++) {
      assertEquals(expected[i], actual[i], 1e-6 * expected[i], "pair " + i);
    }
  }

  private static void assertBelow(double limit, double value, String what) {
    assertTrue(value < limit, what + ": " + value + " is not below " + limit);
  }

  private static float[] concatenate(float[] a, float[] b) {
    float[] both = Arrays.copyOf(a, a.length + b.length);
    System.arraycopy(b, 0, both, a.length, b.length);
    return both;
  }
}
