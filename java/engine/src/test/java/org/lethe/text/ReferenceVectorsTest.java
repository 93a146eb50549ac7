package org.lethe.text;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import org.lethe.format.Gguf;
import org.lethe.model.LlamaConfig;

/**
 * Tokenizations equal those that llama.cpp ships beside its vocabularies: no BOS, special tokens in
 * the text are text.
 */
class ReferenceVectorsTest {
  private static final String SEPARATOR = "\n__ggml_vocab_test__\n";

  @TempDir Path folder = Path.of("");

  @ParameterizedTest
  @ValueSource(strings = {"llama-spm", "llama-bpe", "gpt-2", "starcoder", "falcon", "qwen2"})
  void agreesWithLlamaCppAlsoAfterARoundTrip(String vocabulary) throws IOException {
    String cache = System.getProperty("lethe.test.vocab");
    assumeTrue(cache != null, "lethe.test.vocab is not set");
    Path model = Path.of(cache, "ggml-vocab-" + vocabulary + ".gguf");
    String[] texts = Files.readString(Path.of(model + ".inp")).split(SEPARATOR, -1);
    List<String> tokens = Files.readAllLines(Path.of(model + ".out"));
    try (Tokenizer tokenizer = Tokenizer.open(model)) {
      check(tokenizer, texts, tokens);
      Files.write(folder.resolve("tokenizer.json"), tokenizer.json());
      assertRoundTrip(tokenizer, Gguf.open(model).metadata(), texts, tokens);
    }
  }

  /** GGUF, to a Hugging Face folder, to GGUF. */
  private void assertRoundTrip(
      Tokenizer original, Map<String, Object> metadata, String[] texts, List<String> tokens)
      throws IOException {
    LlamaConfig config =
        new LlamaConfig(
            original.vocabulary(),
            8,
            8,
            1,
            2,
            1,
            4,
            64,
            1e-5,
            1e4,
            null,
            true,
            (int) metadata.getOrDefault("tokenizer.ggml.bos_token_id", -1),
            (int) metadata.getOrDefault("tokenizer.ggml.eos_token_id", -1));
    try (Tokenizer written = Tokenizer.open(folder)) {
      check(written, texts, tokens);
      Map<String, Object> again = written.gguf(config);
      for (String key : List.of("model", "tokens", "merges")) {
        String name = "tokenizer.ggml." + key;
        assertEquals(metadata.get(name), again.get(name), name);
      }
      assertEquals(pre(metadata), pre(again));
      byte[] json = new GgufVocabulary(again, "again").tokenizerJson();
      try (Tokenizer reread = TinyTokenizer.open(json, folder)) {
        check(reread, texts, tokens);
      }
    }
  }

  /** Several names may mean the same. */
  private static Optional<PreTokenizer> pre(Map<String, Object> metadata) {
    return PreTokenizer.named(String.valueOf(metadata.get("tokenizer.ggml.pre")));
  }

  private static void check(Tokenizer tokenizer, String[] texts, List<String> expected) {
    for (int i = 0; i < expected.size(); i++) {
      String text = texts[i];
      assertArrayEquals(ids(expected.get(i)), tokenizer.encode(text), () -> "'" + text + "'");
      assertEquals(text, tokenizer.decode(tokenizer.encode(text)));
    }
    assertEquals("", String.join("", Arrays.asList(texts).subList(expected.size(), texts.length)));
  }

  private static int[] ids(String line) {
    return line.isBlank()
        ? new int[0]
        : Arrays.stream(line.strip().split(" ")).mapToInt(Integer::parseInt).toArray();
  }
}
