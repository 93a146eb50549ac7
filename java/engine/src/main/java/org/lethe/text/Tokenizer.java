package org.lethe.text;

import ai.djl.engine.EngineException;
import ai.djl.huggingface.tokenizers.HuggingFaceTokenizer;
import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.BitSet;
import java.util.Map;
import org.jspecify.annotations.Nullable;
import org.lethe.format.Gguf;
import org.lethe.model.LlamaConfig;

/**
 * Text to tokens and back, by the tokenizer that belongs to a model: Hugging Face's own, run
 * natively through DJL.
 *
 * <p>Opening the first one sets the system property {@code ai.djl.offline} to {@code true} where
 * the application has not set it, since DJL would else look for a network; and DJL unpacks its
 * native library once into {@code ~/.djl.ai} (or where {@code DJL_CACHE_DIR} says).
 *
 * <p>Any number of threads may encode and decode at once.
 */
public final class Tokenizer implements AutoCloseable {
  private static final long LARGEST_FILE = 200_000_000;

  private final String name;
  private final HuggingFaceTokenizer nativeTokenizer;
  private final int vocabulary;
  private final BitSet special;
  private final byte[] json;
  private final byte @Nullable [] configJson;
  private final @Nullable Map<String, Object> gguf;

  private Tokenizer(
      TokenizerJson tokenizer,
      byte[] json,
      byte @Nullable [] configJson,
      @Nullable Map<String, Object> gguf) {
    this.name = tokenizer.name();
    this.vocabulary = tokenizer.vocabulary();
    this.special = tokenizer.special();
    this.json = json;
    this.configJson = configJson;
    this.gguf = gguf;
    this.nativeTokenizer = start(tokenizer);
  }

  /**
   * Opens the tokenizer of a model.
   *
   * @param model a folder with {@code tokenizer.json}, or a GGUF file
   * @throws TextException where there is none, or it is malformed or of a kind that is not read
   */
  public static Tokenizer open(Path model) {
    if (!Files.isDirectory(model)) {
      Map<String, Object> metadata = Gguf.open(model).metadata();
      byte[] json = new GgufVocabulary(metadata, model.toString()).tokenizerJson();
      return new Tokenizer(
          TokenizerJson.read(json, model.toString()),
          json,
          null,
          GgufVocabulary.tokenizerKeys(metadata));
    }
    Path file = model.resolve("tokenizer.json");
    Path config = model.resolve("tokenizer_config.json");
    byte[] json = read(file);
    return new Tokenizer(
        TokenizerJson.read(json, file.toString()),
        json,
        Files.exists(config) ? read(config) : null,
        null);
  }

  private static byte[] read(Path file) {
    try {
      if (Files.size(file) > LARGEST_FILE) {
        throw new TextException(file, Files.size(file) + " bytes are no tokenizer's");
      }
      return Files.readAllBytes(file);
    } catch (IOException e) {
      throw TextException.of(file, e);
    }
  }

  private static HuggingFaceTokenizer start(TokenizerJson tokenizer) {
    if (System.getProperty("ai.djl.offline") == null) {
      System.setProperty("ai.djl.offline", "true");
    }
    try {
      return HuggingFaceTokenizer.newInstance(
          new ByteArrayInputStream(tokenizer.runnable().getBytes(StandardCharsets.UTF_8)),
          Map.of(
              "truncation", "false",
              "padding", "false",
              "addSpecialTokens", "false",
              "modelMaxLength", String.valueOf(Integer.MAX_VALUE)));
    } catch (EngineException e) {
      throw new TextException(
          tokenizer.name(),
          "DJL's native library does not load; it is unpacked into ~/.djl.ai, or where the"
              + " environment variable DJL_CACHE_DIR says",
          e);
    } catch (IOException | RuntimeException e) {
      var _ = tokenizer.merges(); // says more exactly what is wrong, if it is there
      throw new TextException(tokenizer.name(), "refused by the tokenizer: " + e.getMessage(), e);
    }
  }

  /**
   * The tokens of {@code text}; none is added in front or behind. Text that happens to spell a
   * special token ({@code <|im_start|>}) is text like any other, as in llama.cpp with {@code
   * parse_special} off; tokens added to the vocabulary that are not special are found first.
   *
   * @throws IllegalArgumentException where half of a surrogate pair stands alone
   */
  public int[] encode(String text) {
    requirePairs(text);
    return Arrays.stream(nativeTokenizer.encode(text, false, false).getIds())
        .mapToInt(Math::toIntExact)
        .toArray();
  }

  /** The text of {@code tokens}, without special tokens. */
  public String decode(int[] tokens) {
    return decode(tokens, true);
  }

  /**
   * The text of {@code tokens}. Bytes that make no UTF-8 become U+FFFD; a number that the model has
   * and the vocabulary lacks (rows of padding) gives nothing.
   *
   * @param skipSpecial whether special tokens are left out, or spelled
   */
  public String decode(int[] tokens, boolean skipSpecial) {
    for (int token : tokens) {
      if (token < 0) {
        throw new IllegalArgumentException("token " + token + " is negative");
      }
    }
    long[] kept =
        Arrays.stream(tokens)
            .filter(token -> !(skipSpecial && special.get(token)))
            .asLongStream()
            .toArray();
    return kept.length == 0 ? "" : nativeTokenizer.decode(kept, false);
  }

  /** One more than the largest token; a model's own number may be larger, padded. */
  public int vocabulary() {
    return vocabulary;
  }

  /** Whether {@code token} stands for no text: begin, end and the like. */
  public boolean isSpecial(int token) {
    return special.get(token);
  }

  /**
   * Refuses a tokenizer that makes tokens that the model does not know.
   *
   * @throws TextException where the vocabulary is larger than the model's
   */
  public void check(LlamaConfig config) {
    if (vocabulary > config.vocabulary()) {
      throw new TextException(
          name,
          "the tokenizer has %d tokens, the model %d: they do not belong together"
              .formatted(vocabulary, config.vocabulary()));
    }
  }

  /** {@code tokenizer.json}, to be written beside a model; as it was read, where it was. */
  public byte[] json() {
    return json.clone();
  }

  /**
   * {@code tokenizer_config.json}, to be written beside a model: as it was read, or the least that
   * transformers' {@code AutoTokenizer} needs.
   */
  public byte[] configJson(LlamaConfig config) {
    check(config);
    return configJson != null
        ? configJson.clone()
        : GgufVocabulary.configJson(TokenizerJson.read(json, name), config, gguf);
  }

  /**
   * What a GGUF file says about this tokenizer, {@code tokenizer.*}: carried over from the GGUF
   * file it came from, or made from {@code tokenizer.json}. Values are of the types that {@link
   * Gguf#metadata()} has.
   *
   * @throws TextException where GGUF has no name for how this tokenizer splits text
   */
  public Map<String, Object> gguf(LlamaConfig config) {
    check(config);
    return gguf != null ? gguf : GgufVocabulary.metadata(TokenizerJson.read(json, name), config);
  }

  /** Frees the native tokenizer; the second time does nothing. */
  @Override
  public void close() {
    nativeTokenizer.close();
  }

  private static void requirePairs(String text) {
    for (int i = 0; i < text.length(); i++) {
      char c = text.charAt(i);
      if (Character.isHighSurrogate(c)
          && i + 1 < text.length()
          && Character.isLowSurrogate(text.charAt(i + 1))) {
        i++;
      } else if (Character.isSurrogate(c)) {
        throw new IllegalArgumentException(
            "text has half of a surrogate pair, \\u%04x, at index %d".formatted((int) c, i));
      }
    }
  }
}
