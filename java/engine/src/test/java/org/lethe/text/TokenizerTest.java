package org.lethe.text;

import static java.nio.charset.StandardCharsets.UTF_8;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.lethe.model.LlamaConfig;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.node.ObjectNode;

class TokenizerTest {
  private static final int THE = 257;

  @TempDir Path folder = Path.of("");

  private static LlamaConfig config(int vocabulary) {
    return new LlamaConfig(
        vocabulary,
        8,
        16,
        1,
        2,
        1,
        4,
        64,
        1e-5,
        1e4,
        null,
        true,
        TinyTokenizer.BOS,
        TinyTokenizer.EOS);
  }

  @Test
  void encodesWithoutBosAndDecodes() throws IOException {
    try (Tokenizer tokenizer = TinyTokenizer.open(TinyTokenizer.gguf(), folder)) {
      assertArrayEquals(new int[] {THE, 'n'}, tokenizer.encode("then"));
      assertArrayEquals(new int[0], tokenizer.encode(""));
      String text = "\u0000 Ahab\u2019s \uD83D\uDC0B , isn ' t it .\n";
      assertEquals(text, tokenizer.decode(tokenizer.encode(text)));
      assertEquals(TinyTokenizer.SIZE, tokenizer.vocabulary());
    }
  }

  @Test
  void nothingIsCutOrPadded() throws IOException {
    ObjectNode json = json();
    json.putObject("truncation")
        .put("direction", "Right")
        .put("max_length", 4)
        .put("strategy", "LongestFirst")
        .put("stride", 0);
    try (Tokenizer tokenizer = TinyTokenizer.open(bytes(json), folder)) {
      assertEquals(20_000, tokenizer.encode("x".repeat(20_000)).length);
      assertEquals(1, tokenizer.encode("x").length);
    }
  }

  @Test
  void textThatSpellsASpecialTokenIsText() throws IOException {
    try (Tokenizer tokenizer = TinyTokenizer.open(TinyTokenizer.gguf(), folder)) {
      assertArrayEquals(new int[] {'<', 's', '>', 'a'}, tokenizer.encode("<s>a"));
      int[] tokens = {TinyTokenizer.BOS, 'a', TinyTokenizer.EOS};
      assertEquals("a", tokenizer.decode(tokens));
      assertEquals("<s>a</s>", tokenizer.decode(tokens, false));
      assertTrue(tokenizer.isSpecial(TinyTokenizer.BOS));
      assertFalse(tokenizer.isSpecial(THE));
    }
  }

  @Test
  void addedTokensKeepTheirNumbersAndOrdinaryOnesAreFound() throws IOException {
    ObjectNode json = json();
    add(json, 300, "whale");
    try (Tokenizer tokenizer = TinyTokenizer.open(bytes(json), folder)) {
      assertArrayEquals(new int[] {'a', 300, 's'}, tokenizer.encode("awhales"));
      assertEquals("awhales", tokenizer.decode(new int[] {'a', 300, 's'}));
      assertEquals(301, tokenizer.vocabulary());
    }
  }

  @Test
  void tokensThatAreNoneAreRefusedOrEmpty() throws IOException {
    try (Tokenizer tokenizer = TinyTokenizer.open(TinyTokenizer.gguf(), folder)) {
      assertEquals("a", tokenizer.decode(new int[] {'a', 100_000}));
      assertThrows(IllegalArgumentException.class, () -> tokenizer.decode(new int[] {-1}));
      IllegalArgumentException half =
          assertThrows(IllegalArgumentException.class, () -> tokenizer.encode("a\uD83D"));
      assertEquals("text has half of a surrogate pair, \\ud83d, at index 1", half.getMessage());
    }
  }

  @Test
  void sentencePieceMergesByScoreAndFallsBackToBytes() throws IOException {
    try (Tokenizer tokenizer = TinyTokenizer.open(TinyTokenizer.sentencePiece(), folder)) {
      assertArrayEquals(new int[] {259}, tokenizer.encode("the"));
      assertArrayEquals(new int[] {260, 267, 263, 263, 259}, tokenizer.encode("ta   the"));
      assertArrayEquals(new int[] {263, 3 + 0xC3, 3 + 0xA9, 3 + '\n'}, tokenizer.encode("é\n"));
      assertEquals("ta   the é\n", tokenizer.decode(tokenizer.encode("ta   the é\n")));
      assertEquals(" the", tokenizer.decode(tokenizer.encode(" the")));
    }
    Map<String, Object> bare = TinyTokenizer.sentencePiece();
    bare.put("tokenizer.ggml.add_space_prefix", false);
    try (Tokenizer tokenizer = TinyTokenizer.open(bare, folder)) {
      assertArrayEquals(new int[] {264, 261}, tokenizer.encode("the"));
      assertEquals("the", tokenizer.decode(new int[] {264, 261}));
    }
  }

  @Test
  void aVocabularyLargerThanTheModelsIsRefused() throws IOException {
    try (Tokenizer tokenizer = TinyTokenizer.open(TinyTokenizer.gguf(), folder)) {
      tokenizer.check(config(TinyTokenizer.SIZE));
      tokenizer.check(config(TinyTokenizer.SIZE + 4));
      ObjectNode json = json();
      add(json, 260, "one too many");
      try (Tokenizer larger = TinyTokenizer.open(bytes(json), folder)) {
        TextException refused =
            assertThrows(TextException.class, () -> larger.check(config(TinyTokenizer.SIZE)));
        assertStarts(
            folder.resolve("tokenizer.json")
                + ": the tokenizer has 261 tokens, the model 260: they do not belong together",
            refused);
      }
    }
  }

  private static ObjectNode json() {
    byte[] json = new GgufVocabulary(TinyTokenizer.gguf(), "tiny.gguf").tokenizerJson();
    return (ObjectNode) TokenizerJson.MAPPER.readTree(json);
  }

  private static void add(ObjectNode json, int id, String content) {
    ObjectNode token = json.withArray("added_tokens").addObject();
    token.put("id", id).put("content", content);
    for (String flag : List.of("single_word", "lstrip", "rstrip", "normalized", "special")) {
      token.put(flag, false);
    }
  }

  private static byte[] bytes(JsonNode json) {
    return json.toString().getBytes(UTF_8);
  }

  @Test
  void mergesWrittenTheOlderWayAreRead() throws IOException {
    ObjectNode json = json();
    ((ObjectNode) json.get("model")).putArray("merges").add("t h").add("th e"); // the older way
    try (Tokenizer tokenizer = TinyTokenizer.open(bytes(json), folder)) {
      assertArrayEquals(new int[] {THE}, tokenizer.encode("the"));
    }
  }

  /** At the JSON pointer's place in a good tokenizer.json stands something else. */
  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      quoteCharacter = '`',
      value = {
        "/model | 7 | model is no JSON object",
        "/model/type | 'Unigram' | model.type is 'Unigram', only BPE is read",
        "/model/vocab | [] | vocab is no JSON object",
        "/model/vocab | {} | model.vocab is empty",
        "/model/vocab/the | -1 | model.vocab gives 'the' number -1, must be 0 to 16777215",
        "/model/vocab/the | 4000000000 | model.vocab gives 'the' number 4000000000, must be 0 to 16777215",
        "/model/vocab/the | 2000000000 | model.vocab gives 'the' number 2000000000, must be 0 to 16777215",
        "/model/vocab/the | 1.5 | model.vocab gives 'the' number 1.5, must be 0 to 16777215",
        "/model/vocab/the | 'x' | model.vocab gives 'the' number \"x\", must be 0 to 16777215",
        "/model/vocab/the | 104 | model.vocab gives 'the' number 104 again",
        "/model/merges | null | model.merges is no array",
        "/model/merges | [['t','x']] | model.merges[0] needs 'tx', which is no token",
        "/model/merges | [['t','h'],['the','\u2603']] | model.merges[1] needs '\u2603', which is no token",
        "/model/merges | ['th'] | model.merges[0] is no pair of tokens",
        "/model/merges | [[1,2]] | model.merges[0] is no pair of tokens",
        "/model/unk_token | '?!' | model.unk_token '?!' is no token",
        "/model/continuing_subword_prefix | '##' | model.continuing_subword_prefix is set, which no Llama's tokenizer has",
        "/model/byte_fallback | 'perhaps' | refused by the tokenizer: ",
        "/added_tokens | {} | added_tokens is no array",
        "/added_tokens | [{'id':1}] | added_tokens has an entry without content",
        "/added_tokens | [{'id':1,'content':'the'}] | added_tokens gives 'the' number 1, model.vocab 257",
        "/added_tokens | [{'id':1,'content':'new'}] | added_tokens gives 'new' number 1 again",
        "/added_tokens | [{'content':'new'}] | added_tokens gives 'new' number , must be 0 to 16777215",
        "/pre_tokenizer | {'type':'Magic'} | pre_tokenizer 'Magic' is not read, only ",
        "/pre_tokenizer | {'type':'Sequence'} | pre_tokenizer: Sequence without the list 'pretokenizers'",
        "/pre_tokenizer | {'type':'Split','pattern':{'Regex':'('},'behavior':'Isolated','invert':false} | refused by the tokenizer: ",
        "/normalizer | {'type':'Precompiled','precompiled_charsmap':'AAAA'} | normalizer 'Precompiled' is not read, only ",
        "/decoder | {'type':'Strip','content':' ','start':1,'stop':1} | decoder 'Strip' with stop 1, only 0 is read",
        "/normalizer | {'type':'Prepend','prepend':''} | normalizer 'Prepend' without text to put in front",
        "/normalizer | {'type':'Replace','pattern':{'String':''},'content':'x'} | normalizer 'Replace' without a text to look for (pattern.String)",
        "/decoder | 'ByteLevel' | decoder '' is not read, only ",
      })
  void aMalformedTokenizerIsRefusedInOneLine(String pointer, String value, String message)
      throws IOException {
    ObjectNode json = json();
    int slash = pointer.lastIndexOf('/');
    ObjectNode parent = (ObjectNode) json.at(pointer.substring(0, slash));
    parent.set(
        pointer.substring(slash + 1), TokenizerJson.MAPPER.readTree(value.replace('\'', '"')));
    assertRefused(bytes(json), message);
  }

  @Test
  void whatIsNoJsonIsRefused() throws IOException {
    assertRefused("{\"model\":".getBytes(UTF_8), "no JSON: ");
    assertRefused(new byte[0], "a JSON object expected, found MISSING");
    assertRefused("[]".getBytes(UTF_8), "a JSON object expected, found ARRAY");
    assertRefused("{}".getBytes(UTF_8), "model is missing: no tokenizer.json");
    assertRefused(new byte[] {'{', '"', (byte) 0xFF, '"', ':', '1', '}'}, "no JSON: ");
    assertRefused("[".repeat(100_000).getBytes(UTF_8), "no JSON: ");
    ObjectNode deep = json();
    ObjectNode step = deep.putObject("normalizer");
    for (int i = 0; i < 200; i++) {
      step = step.put("type", "Sequence").putArray("normalizers").addObject();
    }
    step.put("type", "NFC");
    assertRefused(bytes(deep), "refused by the tokenizer: ");
  }

  private void assertRefused(byte[] json, String message) {
    TextException refused =
        assertThrows(TextException.class, () -> TinyTokenizer.open(json, folder).close());
    assertStarts(folder.resolve("tokenizer.json") + ": " + message, refused);
  }

  @Test
  void aMissingTokenizerIsNamed() {
    TextException refused = assertThrows(TextException.class, () -> Tokenizer.open(folder));
    assertEquals(folder.resolve("tokenizer.json") + ": does not exist", refused.getMessage());
    assertFalse(Files.exists(folder.resolve("tokenizer.json")));
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      quoteCharacter = '`',
      value = {
        "model | bert | tokenizer.ggml.model is 'bert', only gpt2 and llama are read",
        "model | | tokenizer.ggml.model is '', only gpt2 and llama are read",
        "pre | wordy | tokenizer.ggml.pre is 'wordy', only these are read: gpt-2, ",
        "tokens | | tokenizer.ggml.tokens is missing",
        "tokens | text | tokenizer.ggml.tokens must be an array of strings, found string",
        "merges | | tokenizer.ggml.merges is missing",
        "token_type | text | tokenizer.ggml.token_type must be an array of 32-bit integers, found string",
        "bos_token_id | text | tokenizer.ggml.bos_token_id must be a 32-bit integer, found string",
        "add_bos_token | text | tokenizer.ggml.add_bos_token must be true or false, found string",
      })
  void aMalformedGgufVocabularyIsRefused(String key, String value, String message) {
    Map<String, Object> metadata = TinyTokenizer.gguf();
    if (value == null) {
      metadata.remove("tokenizer.ggml." + key);
    } else {
      metadata.put("tokenizer.ggml." + key, value);
    }
    assertGgufRefused(metadata, message);
  }

  @Test
  void ggufListsThatDisagreeAreRefused() {
    assertGgufRefused(
        with(TinyTokenizer.gguf(), "token_type", new int[3]),
        "tokenizer.ggml.token_type has 3 entries, tokenizer.ggml.tokens 260");
    assertGgufRefused(
        with(TinyTokenizer.gguf(), "bos_token_id", 260),
        "tokenizer.ggml.bos_token_id is 260, must be 0 to 259");
    assertGgufRefused(
        with(TinyTokenizer.gguf(), "eos_token_id", -1),
        "tokenizer.ggml.eos_token_id is -1, must be 0 to 259");
    assertGgufRefused(
        with(TinyTokenizer.gguf(), "tokens", List.of("a", "b", "a")),
        "tokenizer.ggml.tokens has 'a' at 0 and 2");
    assertGgufRefused(
        with(TinyTokenizer.gguf(), "tokens", List.of()), "tokenizer.ggml.tokens is empty");
    assertGgufRefused(
        with(TinyTokenizer.gguf(), "tokens", List.of("a", 1)),
        "tokenizer.ggml.tokens must be an array of strings");
    assertGgufRefused(
        with(TinyTokenizer.gguf(), "tokens", List.of("x".repeat(5_000))),
        "tokenizer.ggml.tokens[0] is 5000 characters long, at most 4096 are read");
    assertGgufRefused(
        with(TinyTokenizer.gguf(), "merges", List.of("t h", "the")),
        "tokenizer.ggml.merges[1] is no pair of tokens: 'the'");
    assertGgufRefused(
        with(TinyTokenizer.gguf(), "merges", List.of("x y")),
        "model.merges[0] needs 'xy', which is no token");
    assertGgufRefused(
        with(TinyTokenizer.sentencePiece(), "scores", new float[2]),
        "tokenizer.ggml.scores has 2 entries, tokenizer.ggml.tokens 268");
    Map<String, Object> none = TinyTokenizer.sentencePiece();
    none.remove("tokenizer.ggml.scores");
    assertGgufRefused(none, "tokenizer.ggml.scores is missing");
    float[] scores = new float[268];
    scores[260] = Float.NaN;
    assertGgufRefused(
        with(TinyTokenizer.sentencePiece(), "scores", scores), "tokenizer.ggml.scores[260] is NaN");
  }

  private static Map<String, Object> with(Map<String, Object> metadata, String key, Object value) {
    metadata.put("tokenizer.ggml." + key, value);
    return metadata;
  }

  private static void assertGgufRefused(Map<String, Object> metadata, String message) {
    TextException refused =
        assertThrows(
            TextException.class,
            () ->
                TokenizerJson.read(
                        new GgufVocabulary(metadata, "tiny.gguf").tokenizerJson(), "tiny.gguf")
                    .merges());
    assertStarts("tiny.gguf: " + message, refused);
  }

  private static void assertStarts(String expected, TextException refused) {
    String message = String.valueOf(refused.getMessage());
    assertTrue(message.startsWith(expected), () -> message + "\n    is not\n" + expected);
    assertEquals(1, message.lines().count());
  }
}
