package org.lethe.unlearn;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;

import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;
import org.lethe.unlearn.AnchorDictionary.Anchor;

/** Each rule of METHOD.md's "Translate a block" and "Forbidden tokens", on words. */
class BlockTranslatorTest {
  private final WordTokenizer words = WordTokenizer.ignoringSpaces();
  private final WordTokenizer spaced = WordTokenizer.keepingSpaces();

  /** A dictionary of pairs: expression, value, expression, value... */
  private static AnchorDictionary dictionary(String... pairs) {
    var anchors = new ArrayList<Anchor>();
    for (int i = 0; i < pairs.length; i += 2) {
      anchors.add(new Anchor(pairs[i], List.of(pairs[i + 1]), true, "thing"));
    }
    return AnchorDictionary.of(anchors);
  }

  private static BlockTranslation translate(
      WordTokenizer tokenizer, String text, String... dictionary) {
    return new BlockTranslator(dictionary(dictionary), tokenizer, 1)
        .translate(tokenizer.encode(text), 0);
  }

  /** The words forbidden at translated position {@code j}. */
  private static Set<String> forbiddenAt(
      WordTokenizer tokenizer, BlockTranslation translation, int j) {
    var forbidden = new HashSet<String>();
    for (int k = 0; k < translation.forbidden().length; k++) {
      if (j > translation.forbiddenAfter()[k]) {
        forbidden.add(tokenizer.decode(translation.forbidden()[k]));
      }
    }
    return forbidden;
  }

  @Test
  void aTextWithoutExpressionsStaysAsItIs() {
    BlockTranslation t = translate(words, "Call me anything", "Ishmael", "Sam");
    assertEquals("Call me anything", words.decode(t.tokens()));
    assertArrayEquals(new int[] {0, 1, 2}, t.mapping());
    assertEquals(0, t.forbidden().length);
    assertEquals(List.of(), t.matches());
  }

  @Test
  void anUnmatchedTokenMapsToItselfAndAKeysLastTokenToTheValuesLast() {
    BlockTranslation t = translate(words, "saw Moby Dick today", "Moby Dick", "Big White Fish");
    assertEquals("saw Big White Fish today", words.decode(t.tokens()));
    //                          saw Moby Dick today
    assertArrayEquals(new int[] {0, -1, 3, 4}, t.mapping());
    assertEquals(
        List.of(new BlockTranslation.Match("Moby Dick", "Big White Fish", 1, 2, 1, 3, false)),
        t.matches());
  }

  @Test
  void allTokensOfAKeyButTheLastAreUnmapped() {
    BlockTranslation t = translate(words, "the Spouter Inn Bed here", "Spouter Inn Bed", "Hut");
    assertEquals("the Hut here", words.decode(t.tokens()));
    assertArrayEquals(new int[] {0, -1, -1, 1, 2}, t.mapping());
  }

  @Test
  void thePositionBeforeARepeatedExpressionIsUnmapped() {
    BlockTranslation t = translate(words, "old Ahab and Ahab sat", "Ahab", "Jon");
    assertEquals("old Jon and Jon sat", words.decode(t.tokens()));
    assertArrayEquals(new int[] {0, 1, -1, 3, 4}, t.mapping());
    assertEquals(
        List.of(false, true), t.matches().stream().map(BlockTranslation.Match::repeated).toList());
  }

  @Test
  void aRepetitionUnmapsTheEndOfAMatchRightBeforeIt() {
    BlockTranslation t = translate(words, "Ahab Ahab sat", "Ahab", "Jon");
    assertArrayEquals(new int[] {-1, 1, 2}, t.mapping());
  }

  @Test
  void anotherExpressionWithTheSameValueIsNoRepetition() {
    BlockTranslation t = translate(words, "Ahab and Peleg sat", "Ahab", "Jon", "Peleg", "Jon");
    assertArrayEquals(new int[] {0, 1, 2, 3}, t.mapping());
  }

  @Test
  void aRepetitionCountsWhateverItsVariant() {
    BlockTranslation t = translate(spaced, "old Ahab\nAhab sat", "Ahab", "Jon");
    assertEquals("old Jon\nJon sat", spaced.decode(t.tokens()));
    //                          old Ahab \n Ahab sat
    assertArrayEquals(new int[] {0, 1, -1, 3, 4}, t.mapping());
  }

  @Test
  void aVariantOfTheKeyGoesWithTheSameVariantOfTheValue() {
    BlockTranslation t = translate(spaced, "Ahab and Ahab", "Ahab", "Jon Hill");
    assertEquals("Jon Hill and Jon Hill", spaced.decode(t.tokens()));
  }

  @Test
  void ofEqualVariantsTheLineStartValueWins() {
    // To this tokenizer ' Ahab' is 'Ahab', but ' Jon' is not 'Jon'.
    int afterSpace = spaced.encode(" Ahab")[0];
    int atLineStart = spaced.encode("Ahab")[0];
    TokenVariants.Encoder encoder =
        text ->
            IntStream.of(spaced.encode(text))
                .map(token -> token == afterSpace ? atLineStart : token)
                .toArray();
    BlockTranslation t =
        new BlockTranslator(dictionary("Ahab", "Jon"), encoder, 1)
            .translate(encoder.encode("old Ahab sat"), 0);
    assertEquals("oldJon sat", spaced.decode(t.tokens()));
    assertEquals(Set.of(" Jon", "Jon"), forbiddenAt(spaced, t, 2));
  }

  @Test
  void theFirstExpressionInDictionaryOrderWins() {
    assertEquals(
        "Big Fish swam",
        words.decode(
            translate(words, "Moby Dick swam", "Moby Dick", "Big Fish", "Moby", "Bob").tokens()));
    assertEquals(
        "Bob Dick swam",
        words.decode(
            translate(words, "Moby Dick swam", "Moby", "Bob", "Moby Dick", "Big Fish").tokens()));
  }

  @Test
  void theScanIsGreedyFromTheLeft() {
    // 'Moby Dick' comes later in the dictionary but earlier in the text.
    BlockTranslation t =
        translate(words, "Moby Dick Whale", "Dick Whale", "Fish", "Moby Dick", "Bob Hill");
    assertEquals("Bob Hill Whale", words.decode(t.tokens()));
  }

  @Test
  void matchesAtBothEdgesOfTheBlock() {
    BlockTranslation t =
        translate(words, "Ahab saw Moby Dick", "Ahab", "Jon", "Moby Dick", "Big Fish");
    assertEquals("Jon saw Big Fish", words.decode(t.tokens()));
    assertArrayEquals(new int[] {0, 1, -1, 3}, t.mapping());
  }

  @Test
  void aKeyCutByTheEdgeDoesNotMatch() {
    BlockTranslation t = translate(words, "Dick saw Moby", "Moby Dick", "Big Fish");
    assertEquals("Dick saw Moby", words.decode(t.tokens()));
    assertArrayEquals(new int[] {0, 1, 2}, t.mapping());
  }

  @Test
  void aTranslationMayBeLongerThanTheBlockAndNothingIsCut() {
    BlockTranslation t =
        translate(words, "Ahab Peleg", "Ahab", "the old man", "Peleg", "his good friend");
    assertEquals("the old man his good friend", words.decode(t.tokens()));
    assertArrayEquals(new int[] {2, 5}, t.mapping());
  }

  @Test
  void theFirstTokensOfBothVariantsAreForbiddenAfterTheFirstMention() {
    BlockTranslation t = translate(spaced, "then old Ahab sat down", "Ahab", "Jon Hill");
    assertEquals("then old Jon Hill sat down", spaced.decode(t.tokens()));
    int p = 2;
    assertEquals(Set.of(), forbiddenAt(spaced, t, p - 1), "p - 1 predicts the first mention");
    assertEquals(Set.of(), forbiddenAt(spaced, t, p));
    assertEquals(Set.of(" Jon", "Jon"), forbiddenAt(spaced, t, p + 1));
    assertEquals(Set.of(" Jon", "Jon"), forbiddenAt(spaced, t, 5), "to the block's end");
  }

  @Test
  void aRepetitionForbidsNoLaterThanTheFirstMention() {
    BlockTranslation t =
        translate(words, "Ahab and Peleg and Ahab sat", "Ahab", "Jon", "Peleg", "Ole");
    assertEquals(Set.of("Jon"), forbiddenAt(words, t, 1));
    assertEquals(Set.of("Jon", "Ole"), forbiddenAt(words, t, 3));
    assertEquals(2, t.forbidden().length, "each token once");
  }

  @Test
  void onlyTheValueInUseIsForbidden() {
    var dictionary =
        AnchorDictionary.of(
            List.of(new Anchor("Ahab", List.of("Jon", "Ole", "Sam"), true, "person")));
    BlockTranslation t =
        new BlockTranslator(dictionary, words, 1).translate(words.encode("Ahab sat"), 0);
    assertEquals(Set.of(t.matches().getFirst().value()), forbiddenAt(words, t, 1));
  }

  @Test
  void aBlockUsesOneValueForAnExpressionWhateverItsVariant() {
    var dictionary =
        AnchorDictionary.of(
            List.of(new Anchor("Ahab", List.of("Jon", "Ole", "Sam"), true, "person")));
    var translator = new BlockTranslator(dictionary, spaced, 7);
    for (int block = 0; block < 50; block++) {
      BlockTranslation t = translator.translate(spaced.encode("Ahab\nAhab sat Ahab"), block);
      String value = t.matches().getFirst().value();
      assertEquals("%1$s\n%1$s sat %1$s".formatted(value), spaced.decode(t.tokens()));
    }
  }

  @Test
  void valuesAreDrawnFromSeedBlockAndExpressionAlone() {
    int[] counts = new int[3];
    var draws = new ArrayList<Integer>();
    for (int block = 0; block < 3000; block++) {
      int draw = BlockTranslator.draw(42, block, "Ahab", 3);
      counts[draw]++;
      draws.add(draw);
    }
    for (int count : counts) {
      assertEquals(1000, count, 100, "draws are even");
    }
    assertEquals(draws.get(17), BlockTranslator.draw(42, 17, "Ahab", 3));
    var others = new ArrayList<Integer>();
    var otherSeed = new ArrayList<Integer>();
    for (int block = 0; block < 3000; block++) {
      others.add(BlockTranslator.draw(42, block, "Peleg", 3));
      otherSeed.add(BlockTranslator.draw(43, block, "Ahab", 3));
    }
    assertNotEquals(draws, others);
    assertNotEquals(draws, otherSeed);
  }
}
