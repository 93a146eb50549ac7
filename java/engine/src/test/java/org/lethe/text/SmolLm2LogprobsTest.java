package org.lethe.text;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.io.IOException;
import java.io.InputStream;
import java.nio.file.Path;
import java.util.Arrays;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.lethe.kernels.DType;
import org.lethe.kernels.Device;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

/** SmolLM2 on the first 512 tokens of Moby-Dick against transformers in fp32. */
class SmolLm2LogprobsTest {
  private static JsonNode golden() throws IOException {
    try (InputStream in =
        SmolLm2LogprobsTest.class.getResourceAsStream("/org/lethe/model/smollm2.json")) {
      return new JsonMapper().readTree(in);
    }
  }

  private static int[] tokens(JsonNode golden) {
    int[] tokens = new int[golden.path("tokens").size()];
    Arrays.setAll(tokens, i -> golden.path("tokens").get(i).asInt());
    return tokens;
  }

  private static Path model() {
    String file = System.getProperty("lethe.test.smollm2");
    assumeTrue(file != null, "needs -Dlethe.test.smollm2=FILE.gguf");
    return Path.of(file);
  }

  @Test
  void tokensAreTransformersOwn() throws IOException {
    Path model = model();
    String book = System.getProperty("lethe.test.mobydick");
    assumeTrue(book != null, "needs -Dlethe.test.mobydick=FOLDER");
    int[] wanted = tokens(golden());
    try (Tokenizer tokenizer = Tokenizer.open(model)) {
      int[] found = tokenizer.encode(TextBlocks.read(Path.of(book, "chapter_1.txt")));
      assertArrayEquals(
          Arrays.copyOfRange(wanted, 1, wanted.length), Arrays.copyOf(found, wanted.length - 1));
    }
  }

  @ParameterizedTest(name = "in {0}, largest difference below {1}, mean below {2}")
  @CsvSource({"F32, 2e-3, 1e-4", "BF16, 1.0, 6e-2"})
  void logprobsAreTransformersOwn(DType dtype, double most, double mean) throws IOException {
    Path model = model();
    JsonNode golden = golden();
    try (Device device = Device.open("cpu");
        LanguageModel language = LanguageModel.open(device, model, dtype)) {
      float[] found = language.llama().logprobs(tokens(golden));
      double sum = 0;
      double largest = 0;
      for (int i = 1; i < found.length; i++) {
        double difference = Math.abs(found[i] - golden.path("logprobs").get(i - 1).asDouble());
        sum += difference;
        largest = Math.max(largest, difference);
      }
      double average = sum / (found.length - 1);
      assertTrue(
          largest < most && average < mean,
          "%s: largest difference %g (allowed %g), mean %g (allowed %g)"
              .formatted(dtype, largest, most, average, mean));
    }
  }
}
