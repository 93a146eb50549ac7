package org.lethe.benchmarks;

import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.SplittableRandom;
import tools.jackson.databind.json.JsonMapper;

/** A text that reads like prose to a tokenizer, and a tokenizer that knows its words. */
final class MadeText {
  private static final String[] SYLLABLES = {
    "the", "an", "ing", "sea", "wh", "ale", "or", "ship", "cap", "tain", "mast", "er", "wind",
    "and", "of", "to", "in", "is", "al", "low", "hand", "er", "night", "deep", "est", "har", "poon",
    "boat", "so", "ly"
  };
  private static final int WORDS = 2000;

  private MadeText() {}

  /** Sentences of words of one to four syllables, frequent ones short, as Zipf has it. */
  static String prose(int characters) {
    var random = new SplittableRandom(7);
    String[] words = new String[WORDS];
    for (int i = 0; i < WORDS; i++) {
      var word = new StringBuilder();
      for (int s = 0; s <= Math.min(3, i / 40 + random.nextInt(2)); s++) {
        word.append(SYLLABLES[random.nextInt(SYLLABLES.length)]);
      }
      words[i] = word.toString();
    }
    var text = new StringBuilder();
    while (text.length() < characters) {
      int rank = (int) Math.pow(WORDS, random.nextDouble()) - 1;
      text.append(words[rank]).append(random.nextInt(12) == 0 ? ". " : " ");
    }
    return text.substring(0, characters);
  }

  /** A byte-level BPE: its merges put together every word of the text from left to right. */
  static byte[] tokenizerJson(String text) {
    Map<String, Integer> vocabulary = new LinkedHashMap<>();
    for (String character : byteAlphabet()) {
      vocabulary.put(character, vocabulary.size());
    }
    Set<List<String>> merges = new LinkedHashSet<>();
    for (String word : new LinkedHashSet<>(List.of(text.split("[. ]+")))) {
      String made = "\u0120"; // a space, as GPT-2 writes it
      for (char c : word.toCharArray()) {
        merges.add(List.of(made, String.valueOf(c)));
        made += c;
        vocabulary.putIfAbsent(made, vocabulary.size());
      }
    }
    Map<String, Object> pieces =
        Map.of(
            "type",
            "ByteLevel",
            "add_prefix_space",
            false,
            "trim_offsets",
            true,
            "use_regex",
            true);
    Map<String, Object> json = new LinkedHashMap<>();
    json.put("version", "1.0");
    json.put("added_tokens", List.of());
    json.put("pre_tokenizer", pieces);
    json.put("decoder", pieces);
    json.put("model", Map.of("type", "BPE", "vocab", vocabulary, "merges", List.copyOf(merges)));
    return new JsonMapper().writeValueAsBytes(json);
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
