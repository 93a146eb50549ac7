package org.lethe.text;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * A vocabulary small enough to read: the printable stand-ins of ASCII's bytes and of the bytes of
 * longer UTF-8, a few merges, BOS and EOS.
 */
public final class TinyTokenizer {
  /** After 256 bytes and two merges. */
  public static final int BOS = 258;

  /** Ends a text. */
  public static final int EOS = 259;

  /** Tokens in all. */
  public static final int SIZE = 260;

  private TinyTokenizer() {}

  /** GGUF metadata, to be changed at will. */
  static Map<String, Object> gguf() {
    List<String> tokens = new ArrayList<>(byteAlphabet());
    tokens.addAll(List.of("th", "the", "<s>", "</s>"));
    int[] types = new int[tokens.size()];
    Arrays.fill(types, 1);
    types[BOS] = 3;
    types[EOS] = 3;
    Map<String, Object> metadata = new LinkedHashMap<>();
    metadata.put("general.architecture", "llama");
    metadata.put("tokenizer.ggml.model", "gpt2");
    metadata.put("tokenizer.ggml.pre", "gpt-2");
    metadata.put("tokenizer.ggml.tokens", tokens);
    metadata.put("tokenizer.ggml.token_type", types);
    metadata.put("tokenizer.ggml.merges", List.of("t h", "th e"));
    metadata.put("tokenizer.ggml.bos_token_id", BOS);
    metadata.put("tokenizer.ggml.eos_token_id", EOS);
    return metadata;
  }

  /** Its {@code tokenizer.json}, for a model in a test. */
  public static byte[] json() {
    return new GgufVocabulary(gguf(), "tiny.gguf").tokenizerJson();
  }

  /** A SentencePiece vocabulary: unk, BOS, EOS, the bytes, then pieces by falling score. */
  static Map<String, Object> sentencePiece() {
    List<String> tokens = new ArrayList<>(List.of("<unk>", "<s>", "</s>"));
    for (int b = 0; b < 256; b++) {
      tokens.add("<0x%02X>".formatted(b));
    }
    tokens.addAll(List.of("\u2581the", "\u2581t", "he", "th", "\u2581", "t", "h", "e", "a"));
    int[] types = new int[tokens.size()];
    float[] scores = new float[tokens.size()];
    for (int i = 0; i < types.length; i++) {
      types[i] = i == 0 ? 2 : i < 3 ? 3 : i < 259 ? 6 : 1;
      scores[i] = i < 259 ? 0 : 258 - i;
    }
    Map<String, Object> metadata = new LinkedHashMap<>();
    metadata.put("tokenizer.ggml.model", "llama");
    metadata.put("tokenizer.ggml.tokens", tokens);
    metadata.put("tokenizer.ggml.token_type", types);
    metadata.put("tokenizer.ggml.scores", scores);
    return metadata;
  }

  /** Opens {@code metadata}'s tokenizer by way of a Hugging Face folder. */
  static Tokenizer open(Map<String, Object> metadata, Path folder) throws IOException {
    return open(new GgufVocabulary(metadata, "tiny.gguf").tokenizerJson(), folder);
  }

  static Tokenizer open(byte[] json, Path folder) throws IOException {
    Files.write(folder.resolve("tokenizer.json"), json);
    return Tokenizer.open(folder);
  }

  /** GPT-2's characters for the bytes 0 to 255: those that print stand for themselves. */
  private static List<String> byteAlphabet() {
    List<String> alphabet = new ArrayList<>();
    int next = 256;
    for (int b = 0; b < 256; b++) {
      boolean prints = (b >= '!' && b <= '~') || (b >= 0xA1 && b <= 0xAC) || b >= 0xAE;
      alphabet.add(Character.toString(prints ? b : next++));
    }
    return alphabet;
  }
}
