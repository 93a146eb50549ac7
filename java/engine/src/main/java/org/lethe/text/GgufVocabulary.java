package org.lethe.text;

import static org.lethe.text.TokenizerJson.shown;

import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.BitSet;
import java.util.Collections;
import java.util.Comparator;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.regex.Pattern;
import org.jspecify.annotations.Nullable;
import org.lethe.model.LlamaConfig;
import org.lethe.text.TokenizerJson.Merge;
import tools.jackson.databind.node.ArrayNode;
import tools.jackson.databind.node.JsonNodeFactory;
import tools.jackson.databind.node.ObjectNode;

/**
 * The tokenizer that a GGUF file carries, turned into a Hugging Face {@code tokenizer.json}, and
 * back. GGUF's {@code gpt2} is byte-level BPE with the pre-tokenizer that {@code
 * tokenizer.ggml.pre} names; its {@code llama} is SentencePiece's BPE, whose merges are not listed
 * but follow from the scores.
 *
 * @see <a href="https://github.com/ggml-org/ggml/blob/master/docs/gguf.md">the specification</a>
 */
final class GgufVocabulary {
  private static final String MODEL = "tokenizer.ggml.model";
  private static final String PRE = "tokenizer.ggml.pre";
  private static final String TOKENS = "tokenizer.ggml.tokens";
  private static final String TYPES = "tokenizer.ggml.token_type";
  private static final String SCORES = "tokenizer.ggml.scores";
  private static final String MERGES = "tokenizer.ggml.merges";
  private static final String BOS = "tokenizer.ggml.bos_token_id";
  private static final String EOS = "tokenizer.ggml.eos_token_id";
  private static final String UNKNOWN = "tokenizer.ggml.unknown_token_id";
  private static final String ADD_BOS = "tokenizer.ggml.add_bos_token";
  private static final String PREFIX_SPACE = "tokenizer.ggml.add_space_prefix";
  private static final String CHAT_TEMPLATE = "tokenizer.chat_template";

  // tokenizer.ggml.token_type
  private static final int NORMAL = 1;
  private static final int UNKNOWN_TYPE = 2;
  private static final int CONTROL = 3;
  private static final int USER_DEFINED = 4;
  private static final int UNUSED = 5;
  private static final int BYTE = 6;

  /** SentencePiece's stand-in for a space. */
  private static final String SPACE = "\u2581";

  private static final Pattern BYTE_TOKEN = Pattern.compile("<0x[0-9A-F]{2}>");

  /** Longer tokens are taken for a broken file: every split of a token is looked at. */
  private static final int LONGEST_TOKEN = 4096;

  private final Map<String, Object> metadata;
  private final String name;
  private final List<String> tokens;
  private final Map<String, Integer> ids;
  private final BitSet special = new BitSet();
  private final BitSet userDefined = new BitSet();

  /**
   * @param metadata of the GGUF file
   * @param name the file, for messages
   * @throws TextException where the vocabulary is malformed
   */
  GgufVocabulary(Map<String, Object> metadata, String name) {
    this.metadata = metadata;
    this.name = name;
    this.tokens = tokens();
    this.ids = HashMap.newHashMap(tokens.size());
    for (int i = 0; i < tokens.size(); i++) {
      Integer other = ids.put(tokens.get(i), i);
      if (other != null) {
        throw problem("%s has '%s' at %d and %d".formatted(TOKENS, shown(tokens.get(i)), other, i));
      }
    }
    readTypes();
  }

  /** The keys that describe a tokenizer, to be carried over as they are. */
  static Map<String, Object> tokenizerKeys(Map<String, Object> metadata) {
    Map<String, Object> keys = new LinkedHashMap<>(metadata);
    keys.keySet().removeIf(key -> !key.startsWith("tokenizer."));
    return Collections.unmodifiableMap(keys);
  }

  /** The vocabulary as a {@code tokenizer.json}. */
  byte[] tokenizerJson() {
    ObjectNode root = JsonNodeFactory.instance.objectNode();
    root.put("version", "1.0").putNull("truncation").putNull("padding");
    ArrayNode added = root.putArray("added_tokens");
    for (int i = 0; i < tokens.size(); i++) {
      if (special.get(i) || userDefined.get(i)) {
        ObjectNode token = added.addObject().put("id", i).put("content", tokens.get(i));
        for (String flag : List.of("single_word", "lstrip", "rstrip", "normalized")) {
          token.put(flag, false);
        }
        token.put("special", special.get(i));
      }
    }
    String kind = string(MODEL, "");
    switch (kind) {
      case "gpt2" -> byteLevel(root);
      case "llama" -> sentencePiece(root);
      default ->
          throw problem("%s is '%s', only gpt2 and llama are read".formatted(MODEL, shown(kind)));
    }
    return root.toString().getBytes(StandardCharsets.UTF_8);
  }

  private void byteLevel(ObjectNode root) {
    // A file without the key means llama.cpp's default, which is nobody's own.
    String pre = string(PRE, "default");
    PreTokenizer preTokenizer =
        PreTokenizer.named(pre)
            .orElseThrow(
                () ->
                    problem(
                        "%s is '%s', only these are read: %s"
                            .formatted(PRE, shown(pre), PreTokenizer.knownNames())));
    root.putNull("normalizer");
    root.set("pre_tokenizer", preTokenizer.json());
    addBos(root, preTokenizer.names().contains("llama-bpe"));
    PreTokenizer.byteLevel(root.putObject("decoder")).put("use_regex", true);
    List<Merge> merges = new ArrayList<>();
    for (String line : strings(MERGES)) {
      int space = line.indexOf(' ', 1);
      if (space < 0) {
        throw problem(
            "%s[%d] is no pair of tokens: '%s'".formatted(MERGES, merges.size(), shown(line)));
      }
      merges.add(new Merge(line.substring(0, space), line.substring(space + 1)));
    }
    ObjectNode model = bpe(root, merges).putNull("unk_token");
    model.put("fuse_unk", false).put("byte_fallback", false);
    model.put("ignore_merges", preTokenizer.wholeWords());
  }

  private void sentencePiece(ObjectNode root) {
    boolean prefixSpace = bool(PREFIX_SPACE, true);
    ArrayNode normalizers =
        root.putObject("normalizer").put("type", "Sequence").putArray("normalizers");
    if (prefixSpace) {
      normalizers.addObject().put("type", "Prepend").put("prepend", SPACE);
    }
    replace(normalizers.addObject(), " ", SPACE);
    root.putNull("pre_tokenizer");
    addBos(root, true);
    ArrayNode decoders = root.putObject("decoder").put("type", "Sequence").putArray("decoders");
    replace(decoders.addObject(), SPACE, " ");
    decoders.addObject().put("type", "ByteFallback");
    decoders.addObject().put("type", "Fuse");
    if (prefixSpace) {
      decoders.addObject().put("type", "Strip").put("content", " ").put("start", 1).put("stop", 0);
    }
    String unknown = tokens.get(token(UNKNOWN, 0));
    ObjectNode model = bpe(root, mergesByScore()).put("unk_token", unknown);
    model.put("fuse_unk", true).put("byte_fallback", true).put("ignore_merges", false);
  }

  private static void replace(ObjectNode step, String from, String to) {
    step.put("type", "Replace").put("content", to).putObject("pattern").put("String", from);
  }

  private ObjectNode bpe(ObjectNode root, List<Merge> merges) {
    ObjectNode model = root.putObject("model").put("type", "BPE").putNull("dropout");
    model.putNull("continuing_subword_prefix").putNull("end_of_word_suffix");
    ObjectNode vocab = model.putObject("vocab");
    for (int i = 0; i < tokens.size(); i++) {
      vocab.put(tokens.get(i), i);
    }
    ArrayNode list = model.putArray("merges");
    merges.forEach(merge -> list.addArray().add(merge.left()).add(merge.right()));
    return model;
  }

  /** transformers puts BOS in front by the post-processor. */
  private void addBos(ObjectNode root, boolean byDefault) {
    if (!bool(ADD_BOS, byDefault)) {
      root.putNull("post_processor");
      return;
    }
    int id = token(BOS, 1);
    String bos = tokens.get(id);
    ObjectNode template = root.putObject("post_processor").put("type", "TemplateProcessing");
    for (List<String> sequences : List.of(List.of("A"), List.of("A", "B"))) {
      ArrayNode pieces = template.putArray(sequences.size() == 1 ? "single" : "pair");
      for (int i = 0; i < sequences.size(); i++) {
        pieces.addObject().putObject("SpecialToken").put("id", bos).put("type_id", i);
        pieces.addObject().putObject("Sequence").put("id", sequences.get(i)).put("type_id", i);
      }
    }
    ObjectNode token = template.putObject("special_tokens").putObject(bos).put("id", bos);
    token.putArray("ids").add(id);
    token.putArray("tokens").add(bos);
  }

  /**
   * SentencePiece joins, again and again, the two neighbours whose joint piece scores highest.
   * Listed as merges: every split of every piece into two pieces, by falling score of the whole.
   */
  private List<Merge> mergesByScore() {
    float[] scores = scores();
    Integer[] order = new Integer[tokens.size()];
    Arrays.setAll(order, i -> i);
    Arrays.sort(order, Comparator.comparingDouble((Integer i) -> scores[i]).reversed());
    List<Merge> merges = new ArrayList<>();
    for (int id : order) {
      String whole = tokens.get(id);
      if (!isPiece(whole)) {
        continue;
      }
      for (int cut = 1; cut < whole.length(); cut++) {
        Merge merge = new Merge(whole.substring(0, cut), whole.substring(cut));
        if (isPiece(merge.left()) && isPiece(merge.right())) {
          merges.add(merge);
        }
      }
    }
    return merges;
  }

  /** Whether merging can meet this: neither special nor standing for a byte. */
  private boolean isPiece(String token) {
    Integer id = ids.get(token);
    return id != null && !special.get(id) && !BYTE_TOKEN.matcher(token).matches();
  }

  private List<String> tokens() {
    List<String> words = new ArrayList<>(strings(TOKENS));
    if (words.isEmpty()) {
      throw problem(TOKENS + " is empty");
    }
    for (int i = 0; i < words.size(); i++) {
      if (words.get(i).length() > LONGEST_TOKEN) {
        throw problem(
            "%s[%d] is %d characters long, at most %d are read"
                .formatted(TOKENS, i, words.get(i).length(), LONGEST_TOKEN));
      }
      if (words.get(i).isEmpty()) {
        words.set(i, "[EMPTY_" + i + "]"); // as llama.cpp names it
      }
    }
    return words;
  }

  private void readTypes() {
    if (metadata.containsKey(TYPES)) {
      int[] types = get(TYPES, int[].class, "an array of 32-bit integers");
      checkLength(TYPES, types.length);
      for (int i = 0; i < types.length; i++) {
        special.set(i, types[i] == CONTROL || types[i] == UNKNOWN_TYPE);
        userDefined.set(i, types[i] == USER_DEFINED);
      }
    }
    boolean sentencePiece = string(MODEL, "").equals("llama");
    for (String key : List.of(BOS, EOS, UNKNOWN)) {
      if (sentencePiece || metadata.containsKey(key)) {
        special.set(token(key, key.equals(UNKNOWN) ? 0 : key.equals(BOS) ? 1 : 2));
      }
    }
  }

  private float[] scores() {
    float[] scores = get(SCORES, float[].class, "an array of 32-bit floats");
    checkLength(SCORES, scores.length);
    for (int i = 0; i < scores.length; i++) {
      if (Float.isNaN(scores[i])) {
        throw problem(SCORES + "[" + i + "] is NaN");
      }
    }
    return scores;
  }

  private void checkLength(String key, int length) {
    if (length != tokens.size()) {
      throw problem("%s has %d entries, %s %d".formatted(key, length, TOKENS, tokens.size()));
    }
  }

  private int token(String key, int otherwise) {
    int id = metadata.containsKey(key) ? get(key, Integer.class, "a 32-bit integer") : otherwise;
    if (id < 0 || id >= tokens.size()) {
      throw problem("%s is %d, must be 0 to %d".formatted(key, id, tokens.size() - 1));
    }
    return id;
  }

  private boolean bool(String key, boolean otherwise) {
    return metadata.containsKey(key) ? get(key, Boolean.class, "true or false") : otherwise;
  }

  private String string(String key, String otherwise) {
    return metadata.containsKey(key) ? get(key, String.class, "a string") : otherwise;
  }

  private List<String> strings(String key) {
    List<?> list = get(key, List.class, "an array of strings");
    List<String> strings = new ArrayList<>(list.size());
    for (Object element : list) {
      if (!(element instanceof String string)) {
        throw problem(key + " must be an array of strings");
      }
      strings.add(string);
    }
    return strings;
  }

  private <T> T get(String key, Class<T> type, String expected) {
    Object value = metadata.get(key);
    if (value == null) {
      throw problem(key + " is missing");
    }
    if (!type.isInstance(value)) {
      throw problem(
          "%s must be %s, found %s"
              .formatted(key, expected, value.getClass().getSimpleName().toLowerCase(Locale.ROOT)));
    }
    return type.cast(value);
  }

  private TextException problem(String message) {
    return new TextException(name, message);
  }

  /**
   * The least {@code tokenizer_config.json} that transformers' {@code AutoTokenizer} needs.
   *
   * @param gguf the GGUF file's own keys, or null; its chat template is carried over
   */
  static byte[] configJson(
      TokenizerJson tokenizer, LlamaConfig config, @Nullable Map<String, Object> gguf) {
    ObjectNode root = JsonNodeFactory.instance.objectNode();
    root.put("tokenizer_class", "PreTrainedTokenizerFast");
    String[] tokens = words(tokenizer, config.vocabulary());
    root.put("bos_token", tokens[config.bosToken()]).put("eos_token", tokens[config.eosToken()]);
    Integer unknown = tokenizer.unknown();
    if (unknown != null) {
      root.put("unk_token", tokens[unknown]);
    }
    root.put("model_max_length", config.positions());
    root.put("clean_up_tokenization_spaces", false);
    if (gguf != null && gguf.get(CHAT_TEMPLATE) instanceof String template) {
      root.put("chat_template", template);
    }
    return root.toPrettyString().getBytes(StandardCharsets.UTF_8);
  }

  /** What a GGUF file says about {@code tokenizer}: {@code tokenizer.ggml.*}. */
  static Map<String, Object> metadata(TokenizerJson tokenizer, LlamaConfig config) {
    String[] tokens = words(tokenizer, config.vocabulary());
    Map<String, Object> metadata = new LinkedHashMap<>();
    boolean sentencePiece = tokenizer.byteFallback();
    metadata.put(MODEL, sentencePiece ? "llama" : "gpt2");
    metadata.put(PRE, sentencePiece ? "default" : preTokenizer(tokenizer));
    metadata.put(TOKENS, List.of(tokens));
    metadata.put(TYPES, types(tokenizer, tokens));
    if (sentencePiece) {
      metadata.put(SCORES, scores(tokenizer, tokens.length));
      metadata.put(PREFIX_SPACE, tokenizer.prefixSpace());
    } else {
      metadata.put(
          MERGES, tokenizer.merges().stream().map(m -> m.left() + " " + m.right()).toList());
    }
    metadata.put(BOS, config.bosToken());
    metadata.put(EOS, config.eosToken());
    Integer unknown = tokenizer.unknown();
    if (unknown != null) {
      metadata.put(UNKNOWN, unknown);
    }
    metadata.put(ADD_BOS, tokenizer.putsInFront(config.bosToken()));
    return Collections.unmodifiableMap(metadata);
  }

  private static String preTokenizer(TokenizerJson tokenizer) {
    return PreTokenizer.describedBy(tokenizer.preTokenizer(), tokenizer.wholeWords())
        .orElseThrow(
            () ->
                new TextException(
                    tokenizer.name(),
                    "its pre_tokenizer is none that GGUF has a known name for: "
                        + PreTokenizer.knownNames()))
        .names()
        .getFirst();
  }

  /** Every token by its number, up to the model's vocabulary; rows of padding get a name. */
  private static String[] words(TokenizerJson tokenizer, int vocabulary) {
    String[] words = new String[vocabulary];
    Arrays.setAll(words, i -> "[PAD" + i + "]");
    tokenizer.ids().forEach((word, id) -> words[id] = word);
    return words;
  }

  private static int[] types(TokenizerJson tokenizer, String[] words) {
    int[] types = new int[words.length];
    Arrays.fill(types, UNUSED);
    tokenizer
        .ids()
        .forEach(
            (word, id) ->
                types[id] =
                    tokenizer.special().get(id)
                        ? CONTROL
                        : tokenizer.added().get(id)
                            ? USER_DEFINED
                            : tokenizer.byteFallback() && BYTE_TOKEN.matcher(word).matches()
                                ? BYTE
                                : NORMAL);
    Integer unknown = tokenizer.unknown();
    if (unknown != null) {
      types[unknown] = UNKNOWN_TYPE;
    }
    return types;
  }

  /** The earlier a piece can be made, the higher it scores; what no merge makes scores lowest. */
  private static float[] scores(TokenizerJson tokenizer, int vocabulary) {
    float[] scores = new float[vocabulary];
    List<Merge> merges = tokenizer.merges();
    Arrays.fill(scores, -merges.size());
    for (int rank = merges.size() - 1; rank >= 0; rank--) {
      scores[tokenizer.id(merges.get(rank).whole())] = -rank;
    }
    return scores;
  }
}
