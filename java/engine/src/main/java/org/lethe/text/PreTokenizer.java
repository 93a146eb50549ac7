package org.lethe.text;

import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.node.ArrayNode;
import tools.jackson.databind.node.JsonNodeFactory;
import tools.jackson.databind.node.ObjectNode;

/**
 * How text falls into words before byte-level BPE merges inside them, by the name that GGUF's
 * {@code tokenizer.ggml.pre} has for it. Each expression in turn splits what the ones before it
 * left; what matches and what lies between are words.
 *
 * @param names the names in GGUF that mean this; the first is written
 * @param splits regular expressions, in order
 * @param wholeWords whether a word that is a token as it stands is taken without merging ({@code
 *     ignore_merges})
 */
record PreTokenizer(List<String> names, List<String> splits, boolean wholeWords) {
  /** GPT-2's (Radford et al. 2019), which Hugging Face's {@code ByteLevel} has built in. */
  private static final String GPT2 =
      "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";

  /** Llama 3's, after cl100k_base; {@code %s} is how many digits stay together. */
  private static final String CL100K =
      "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}%s|"
          + " ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";

  private static final String LLAMA3 = CL100K.formatted("{1,3}");
  private static final String ONE_DIGIT = "\\p{N}";
  private static final String THREE_DIGITS = "[0-9][0-9][0-9]";

  private static final List<PreTokenizer> KNOWN =
      List.of(
          of("gpt-2 phi-2 mpt olmo jais exaone4 roberta-bpe", false, GPT2),
          of(
              "smollm starcoder refact command-r codeshell exaone minerva-7b",
              false,
              ONE_DIGIT,
              GPT2),
          of("llama-bpe llama3 llama-v3 falcon3 pixtral lfm2", true, LLAMA3),
          of("smaug-bpe dbrx", false, LLAMA3),
          of("qwen2 stablelm2 deepseek-r1-qwen megrez", false, CL100K.formatted("")),
          of("falcon", false, "[\\p{P}\\$\\+<=>\\^~\\|`]+", GPT2, THREE_DIGITS),
          of("default", false, "[\\p{P}\\$\\+<=>\\^~\\|]+", GPT2, "\\p{N}+", THREE_DIGITS));

  private static PreTokenizer of(String names, boolean wholeWords, String... splits) {
    return new PreTokenizer(List.of(names.split(" ")), List.of(splits), wholeWords);
  }

  /** The one that GGUF calls {@code name}. */
  static Optional<PreTokenizer> named(String name) {
    return KNOWN.stream().filter(p -> p.names.contains(name)).findFirst();
  }

  /** All names, for a message. */
  static String knownNames() {
    return KNOWN.stream().flatMap(p -> p.names.stream()).collect(Collectors.joining(", "));
  }

  /**
   * The one that a {@code tokenizer.json} describes.
   *
   * @param preTokenizer its {@code pre_tokenizer}
   * @param wholeWords its {@code ignore_merges}
   */
  static Optional<PreTokenizer> describedBy(JsonNode preTokenizer, boolean wholeWords) {
    Stream<JsonNode> steps =
        preTokenizer.path("type").asString("").equals("Sequence")
            ? preTokenizer.path("pretokenizers").valueStream()
            : Stream.of(preTokenizer);
    List<String> splits = new ArrayList<>();
    for (JsonNode step : steps.toList()) {
      switch (step.path("type").asString("")) {
        case "Split" -> splits.add(step.path("pattern").path("Regex").asString("?"));
        case "Digits" ->
            splits.add(step.path("individual_digits").asBoolean(false) ? ONE_DIGIT : "\\p{N}+");
        case "ByteLevel" -> {
          if (step.path("add_prefix_space").asBoolean(true)) {
            return Optional.empty();
          }
          if (step.path("use_regex").asBoolean(true)) {
            splits.add(GPT2);
          }
        }
        default -> {
          return Optional.empty();
        }
      }
    }
    return KNOWN.stream()
        .filter(p -> p.splits.equals(splits) && p.wholeWords == wholeWords)
        .findFirst();
  }

  /** As {@code pre_tokenizer} of a {@code tokenizer.json}. */
  ObjectNode json() {
    ObjectNode sequence = JsonNodeFactory.instance.objectNode().put("type", "Sequence");
    ArrayNode steps = sequence.putArray("pretokenizers");
    for (String split : splits) {
      ObjectNode step = steps.addObject().put("type", "Split");
      step.putObject("pattern").put("Regex", split);
      step.put("behavior", "Isolated").put("invert", false);
    }
    byteLevel(steps.addObject()).put("use_regex", false);
    return sequence;
  }

  /** {@code ByteLevel}: a byte a character, among those that print. */
  static ObjectNode byteLevel(ObjectNode node) {
    return node.put("type", "ByteLevel").put("add_prefix_space", false).put("trim_offsets", true);
  }
}
