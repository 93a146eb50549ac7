package org.lethe.text;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/**
 * Tokenizations equal those that llama.cpp ships beside its vocabularies: no BOS, special tokens in
 * the text are text.
 */
class ReferenceVectorsTest {
  private static final String SEPARATOR = "\n__ggml_vocab_test__\n";

  @ParameterizedTest
  @ValueSource(strings = {"llama-spm", "llama-bpe", "gpt-2", "starcoder", "falcon", "qwen2"})
  void agreesWithLlamaCpp(String vocabulary) throws IOException {
    String folder = System.getProperty("lethe.test.vocab");
    assumeTrue(folder != null, "lethe.test.vocab is not set");
    Path model = Path.of(folder, "ggml-vocab-" + vocabulary + ".gguf");
    String[] texts = Files.readString(Path.of(model + ".inp")).split(SEPARATOR, -1);
    List<String> expected = Files.readAllLines(Path.of(model + ".out"));
    try (Tokenizer tokenizer = Tokenizer.open(model)) {
      for (int i = 0; i < expected.size(); i++) {
        String text = texts[i];
        assertArrayEquals(ids(expected.get(i)), tokenizer.encode(text), () -> "'" + text + "'");
        assertEquals(text, tokenizer.decode(tokenizer.encode(text)));
      }
      assertEquals(
          "", String.join("", Arrays.asList(texts).subList(expected.size(), texts.length)));
    }
  }

  private static int[] ids(String line) {
    return line.isBlank()
        ? new int[0]
        : Arrays.stream(line.strip().split(" ")).mapToInt(Integer::parseInt).toArray();
  }
}
