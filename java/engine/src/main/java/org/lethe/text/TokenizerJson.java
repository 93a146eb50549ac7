package org.lethe.text;

import java.io.StringWriter;
import java.nio.ByteBuffer;
import java.nio.CharBuffer;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.BitSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Set;
import org.jspecify.annotations.Nullable;
import tools.jackson.core.JacksonException;
import tools.jackson.core.JsonGenerator;
import tools.jackson.core.JsonParser;
import tools.jackson.core.JsonToken;
import tools.jackson.core.TokenStreamFactory;
import tools.jackson.core.json.JsonFactory;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;
import tools.jackson.databind.node.ObjectNode;

/**
 * A Hugging Face {@code tokenizer.json} with a BPE model, read and checked: what is handed on to
 * native code holds nothing that the native side would stumble over. Its vocabulary and its merges
 * are most of it; they are handed on as they stand, and the native side looks at the merges.
 */
final class TokenizerJson {
  /** Without a table of names met before: a vocabulary is tens of thousands that come once. */
  static final JsonMapper MAPPER =
      new JsonMapper(
          JsonFactory.builder()
              .disable(TokenStreamFactory.Feature.CANONICALIZE_PROPERTY_NAMES)
              .build());

  /** A vocabulary beyond this is taken for a broken file. */
  private static final int LARGEST = 1 << 24;

  private static final Set<String> NORMALIZERS =
      Set.of("Prepend", "Replace", "NFC", "NFD", "NFKC", "NFKD", "Lowercase", "Strip");
  private static final Set<String> PRE_TOKENIZERS =
      Set.of("ByteLevel", "Split", "Digits", "Metaspace", "Punctuation", "Whitespace");
  private static final Set<String> DECODERS =
      Set.of("ByteLevel", "Replace", "ByteFallback", "Fuse", "Strip", "Metaspace");

  private final String name;
  private final ObjectNode root = MAPPER.createObjectNode();
  private final ObjectNode model;

  /** Every token's number, added tokens included; in the order of the file. */
  private final Map<String, Integer> ids = new LinkedHashMap<>();

  private final BitSet used = new BitSet();
  private final BitSet special = new BitSet();
  private final BitSet added = new BitSet();

  /** {@code model.vocab} without its last brace; what only {@code added_tokens} has behind it. */
  private final StringBuilder vocabularyText = new StringBuilder();

  /** {@code model.merges}. */
  private String mergesText = "";

  /** Two tokens that become one; the earlier in the list, the sooner. */
  record Merge(String left, String right) {
    String whole() {
      return left + right;
    }
  }

  private TokenizerJson(String name, CharBuffer json, JsonParser parser) {
    this.name = name;
    read(json, parser);
    this.model = object(root, "model");
    checkModel();
    readAddedTokens();
    checkSteps("normalizer", "normalizers", NORMALIZERS, root.path("normalizer"));
    checkSteps("pre_tokenizer", "pretokenizers", PRE_TOKENIZERS, root.path("pre_tokenizer"));
    checkSteps("decoder", "decoders", DECODERS, root.path("decoder"));
  }

  /**
   * Reads {@code json}.
   *
   * @param name the file, for messages
   * @throws TextException where it is malformed or of another kind
   */
  static TokenizerJson read(byte[] json, String name) {
    CharBuffer chars;
    try {
      chars = StandardCharsets.UTF_8.newDecoder().decode(ByteBuffer.wrap(json));
    } catch (CharacterCodingException e) {
      throw new TextException(name, "no JSON: it is no UTF-8", e);
    }
    try (JsonParser parser =
        MAPPER.createParser(chars.array(), chars.arrayOffset(), chars.remaining())) {
      return new TokenizerJson(name, chars, parser);
    } catch (JacksonException e) {
      throw new TextException(name, "no JSON: " + e.getOriginalMessage(), e);
    }
  }

  /** One more than the largest token. */
  int vocabulary() {
    return used.length();
  }

  /** Tokens that stand for no text: begin, end and the like. */
  BitSet special() {
    return special;
  }

  /** Tokens that are looked for in the text before anything else, special ones among them. */
  BitSet added() {
    return added;
  }

  Map<String, Integer> ids() {
    return ids;
  }

  /** The number of a token that there is. */
  int id(String token) {
    return Objects.requireNonNull(ids.get(token));
  }

  /**
   * The merges, written as {@code ["a", "b"]}, by older files as {@code "a b"}.
   *
   * @throws TextException where they are malformed, or of what is no token
   */
  List<Merge> merges() {
    var merges = new ArrayList<Merge>();
    try (JsonParser parser = MAPPER.createParser(mergesText)) {
      parser.nextToken();
      for (JsonToken next = parser.nextToken();
          next != JsonToken.END_ARRAY;
          next = parser.nextToken()) {
        String[] pair =
            next == JsonToken.VALUE_STRING ? parser.getString().split(" ", -1) : strings(parser);
        if (pair.length != 2) {
          throw problem("model.merges[%d] is no pair of tokens".formatted(merges.size()));
        }
        Merge merge = new Merge(pair[0], pair[1]);
        for (String token : List.of(merge.left, merge.right, merge.whole())) {
          if (!ids.containsKey(token)) {
            throw problem(
                "model.merges[%d] needs '%s', which is no token"
                    .formatted(merges.size(), shown(token)));
          }
        }
        merges.add(merge);
      }
    }
    return merges;
  }

  JsonNode preTokenizer() {
    return root.path("pre_tokenizer");
  }

  boolean byteFallback() {
    return model.path("byte_fallback").asBoolean(false);
  }

  boolean wholeWords() {
    return model.path("ignore_merges").asBoolean(false);
  }

  /** Whether a space is put before the text. */
  boolean prefixSpace() {
    return root.path("normalizer").findValuesAsString("type").contains("Prepend")
        || !root.path("pre_tokenizer").path("prepend_scheme").asString("never").equals("never");
  }

  /** The token that stands for what the vocabulary cannot spell, or null. */
  @Nullable Integer unknown() {
    JsonNode unknown = model.path("unk_token");
    return unknown.isString() ? ids.get(unknown.stringValue()) : null;
  }

  /** Whether its post-processor puts {@code token} in front of a text. */
  boolean putsInFront(int token) {
    return root.path("post_processor").findValues("single").stream()
        .map(single -> single.path(0).path("SpecialToken").path("id").asString(""))
        .anyMatch(first -> Integer.valueOf(token).equals(ids.get(first)));
  }

  String name() {
    return name;
  }

  /**
   * What is handed to the native tokenizer: special tokens are ordinary entries of the vocabulary,
   * which no merge makes, so that text that spells one stays text; nothing cuts, pads, adds or
   * draws.
   */
  String runnable() {
    var kept = root.arrayNode();
    for (JsonNode token : root.path("added_tokens")) {
      if (!token.path("special").asBoolean(false)) {
        kept.add(token);
      }
    }
    var text = new StringWriter();
    try (JsonGenerator json = MAPPER.createGenerator(text)) {
      json.writeStartObject().writeStringProperty("version", "1.0");
      for (String step : List.of("normalizer", "pre_tokenizer", "decoder")) {
        json.writeName(step).writeTree(root.has(step) ? root.get(step) : root.nullNode());
      }
      json.writeName("added_tokens").writeTree(kept);
      json.writeObjectPropertyStart("model");
      ObjectNode plain = model.deepCopy().put("type", "BPE").putNull("dropout");
      plain
          .without(List.of("vocab", "merges"))
          .properties()
          .forEach(e -> json.writeName(e.getKey()).writeTree(e.getValue()));
      json.writeName("vocab").writeRawValue(vocabularyText + "}");
      json.writeName("merges").writeRawValue(mergesText);
      json.writeEndObject().writeEndObject();
    }
    return text.toString();
  }

  /** A tree, but for the vocabulary and the merges, which are long. */
  private void read(CharBuffer json, JsonParser parser) {
    if (parser.nextToken() != JsonToken.START_OBJECT) {
      @Nullable JsonNode other = parser.readValueAsTree(); // null: an empty file
      throw problem(
          "a JSON object expected, found " + (other == null ? "MISSING" : other.getNodeType()));
    }
    for (String key = parser.nextName(); key != null; key = parser.nextName()) {
      if (parser.nextToken() == JsonToken.START_OBJECT && key.equals("model")) {
        readModel(json, parser, root.putObject(key));
      } else {
        root.set(key, parser.readValueAsTree());
      }
    }
    if (parser.nextToken() != null) {
      throw problem("no JSON: something follows its end");
    }
  }

  private void readModel(CharBuffer json, JsonParser parser, ObjectNode others) {
    for (String key = parser.nextName(); key != null; key = parser.nextName()) {
      JsonToken token = parser.nextToken();
      int start = place(parser);
      if (key.equals("vocab") && token == JsonToken.START_OBJECT) {
        others.putObject(key);
        readVocabulary(parser);
        vocabularyText.append(json, start, place(parser));
      } else if (key.equals("merges") && token == JsonToken.START_ARRAY) {
        others.putArray(key);
        parser.skipChildren();
        mergesText = json.subSequence(start, place(parser) + 1).toString();
      } else {
        others.set(key, parser.readValueAsTree());
      }
    }
  }

  private static int place(JsonParser parser) {
    return Math.toIntExact(parser.currentTokenLocation().getCharOffset());
  }

  private void readVocabulary(JsonParser parser) {
    for (String key = parser.nextName(); key != null; key = parser.nextName()) {
      if (parser.nextToken() == JsonToken.VALUE_NUMBER_INT
          && parser.getNumberType() == JsonParser.NumberType.INT) {
        add(key, parser.getIntValue(), "model.vocab");
      } else {
        throw badNumber(key, parser.readValueAsTree(), "model.vocab");
      }
    }
  }

  /** The strings of an array; none where it is no array or holds anything else. */
  private static String[] strings(JsonParser parser) {
    var strings = new ArrayList<String>();
    if (parser.currentToken() == JsonToken.START_ARRAY) {
      while (parser.nextToken() == JsonToken.VALUE_STRING) {
        strings.add(parser.getString());
      }
    }
    return parser.currentToken() == JsonToken.END_ARRAY
        ? strings.toArray(String[]::new)
        : new String[0];
  }

  private void checkModel() {
    object(model, "vocab");
    if (ids.isEmpty()) {
      throw problem("model.vocab is empty");
    }
    if (!model.path("merges").isArray()) {
      throw problem("model.merges is " + (model.has("merges") ? "no array" : "missing"));
    }
    String type = model.path("type").asString("BPE");
    if (!type.equals("BPE")) {
      throw problem("model.type is '" + type + "', only BPE is read");
    }
    for (String affix : List.of("continuing_subword_prefix", "end_of_word_suffix")) {
      JsonNode value = model.path(affix);
      if (!value.isMissingNode() && !value.isNull() && !value.asString("?").isEmpty()) {
        throw problem("model." + affix + " is set, which no Llama's tokenizer has");
      }
    }
  }

  private void readAddedTokens() {
    JsonNode tokens = root.path("added_tokens");
    if (!tokens.isArray() && !tokens.isMissingNode() && !tokens.isNull()) {
      throw problem("added_tokens is no array");
    }
    for (JsonNode token : tokens) {
      String content = token.path("content").asString("");
      if (content.isEmpty()) {
        throw problem("added_tokens has an entry without content");
      }
      Integer known = ids.get(content);
      if (known == null) {
        known = add(content, token.path("id"), "added_tokens");
        vocabularyText
            .append(',')
            .append(MAPPER.writeValueAsString(content))
            .append(':')
            .append(known);
      } else if (!token.path("id").isInt() || token.path("id").intValue() != known) {
        throw problem(
            "added_tokens gives '%s' number %s, model.vocab %d"
                .formatted(shown(content), token.path("id"), known));
      }
      added.set(known);
      if (token.path("special").asBoolean(false)) {
        special.set(known);
      }
    }
    JsonNode unknown = model.path("unk_token");
    if (unknown.isString() && !ids.containsKey(unknown.stringValue())) {
      throw problem("model.unk_token '%s' is no token".formatted(shown(unknown.stringValue())));
    }
  }

  private int add(String token, JsonNode number, String where) {
    if (!number.isInt()) {
      throw badNumber(token, number, where);
    }
    return add(token, number.intValue(), where);
  }

  private int add(String token, int id, String where) {
    if (id < 0 || id >= LARGEST) {
      throw badNumber(token, id, where);
    }
    if (used.get(id)) {
      throw problem("%s gives '%s' number %d again".formatted(where, shown(token), id));
    }
    used.set(id);
    ids.put(token, id);
    return id;
  }

  private TextException badNumber(String token, Object number, String where) {
    return problem(
        "%s gives '%s' number %s, must be 0 to %d"
            .formatted(where, shown(token), shown(number.toString()), LARGEST - 1));
  }

  /** A step is null, one of {@code known}, or a {@code Sequence} of such. */
  private void checkSteps(String what, String inner, Set<String> known, JsonNode step) {
    if (step.isMissingNode() || step.isNull()) {
      return;
    }
    String type = step.path("type").asString("");
    if (type.equals("Sequence")) {
      if (!step.path(inner).isArray()) {
        throw problem(what + ": Sequence without the list '" + inner + "'");
      }
      step.path(inner).forEach(s -> checkSteps(what, inner, known, s));
    } else if (!known.contains(type)) {
      throw problem(
          "%s '%s' is not read, only %s and Sequence"
              .formatted(what, shown(type), String.join(", ", known.stream().sorted().toList())));
    } else {
      checkStep(what + " '" + type + "'", type, step);
    }
  }

  /** What the native side takes without a word and then stumbles over, ending the process. */
  private void checkStep(String what, String type, JsonNode step) {
    if (type.equals("Prepend") && step.path("prepend").asString("").isEmpty()) {
      throw problem(what + " without text to put in front");
    }
    if (type.equals("Replace") && step.path("pattern").path("String").asString("").isEmpty()) {
      throw problem(what + " without a text to look for (pattern.String)");
    }
    if (type.equals("Strip") && step.path("stop").asInt(0) != 0) {
      throw problem(
          what + " with stop " + shown(step.path("stop").toString()) + ", only 0 is read");
    }
  }

  private ObjectNode object(ObjectNode parent, String field) {
    if (parent.path(field) instanceof ObjectNode object) {
      return object;
    }
    throw problem(
        field + " is " + (parent.has(field) ? "no JSON object" : "missing: no tokenizer.json"));
  }

  private TextException problem(String message) {
    return new TextException(name, message);
  }

  /** A token for a message: on one line, not too long. */
  static String shown(String token) {
    String start = token.length() > 40 ? token.substring(0, 40) + "..." : token;
    return start.replace("\n", "\\n").replace("\r", "\\r");
  }
}
