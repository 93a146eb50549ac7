package org.lethe.unlearn;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;

class TokenVariantsTest {
  @Test
  void differWhereTheSpaceBelongsToTheToken() {
    var words = WordTokenizer.keepingSpaces();
    TokenVariants variants = TokenVariants.of("Moby Dick", words);
    assertEquals(" Moby Dick", words.decode(variants.afterSpace()));
    assertEquals("Moby Dick", words.decode(variants.atLineStart()));
    assertFalse(variants.equal());
  }

  @Test
  void areEqualWhereSpacesMakeNoDifference() {
    var words = WordTokenizer.ignoringSpaces();
    TokenVariants variants = TokenVariants.of("Moby Dick", words);
    assertEquals("Moby Dick", words.decode(variants.afterSpace()));
    assertTrue(variants.equal());
  }

  @Test
  void aTokenInFrontOfEveryTextMakesNoDifference() {
    var words = WordTokenizer.keepingSpaces();
    int bos = 99;
    TokenVariants variants =
        TokenVariants.of(
            "Ahab",
            text ->
                IntStream.concat(IntStream.of(bos), IntStream.of(words.encode(text))).toArray());
    assertArrayEquals(words.encode(" Ahab"), variants.afterSpace());
    assertArrayEquals(words.encode("Ahab"), variants.atLineStart());
  }

  @Test
  void areRefusedWhereTheTokenizerMergesAcrossTheBorder() {
    // Characters are tokens, but a line break takes the character after it along.
    TokenVariants.Encoder merging =
        text -> text.replaceAll("\n(.)", "$1\0").replace("\0", "").chars().toArray();
    var error =
        assertThrows(IllegalArgumentException.class, () -> TokenVariants.of("Ahab", merging));
    assertEquals(
        "the tokens [97, 65, 104, 97, 98] of 'a\\nAhab' do not go on from the tokens [97, 10] of 'a\\n': "
            + "this tokenizer gives the expression no tokens of its own, take it out of the dictionary",
        error.getMessage());
  }

  @Test
  void areRefusedWhereTheExpressionHasNoTokens() {
    TokenVariants.Encoder lettersOnly =
        text -> text.chars().filter(c -> Character.isLetter(c) || c == '\n').toArray();
    var error =
        assertThrows(IllegalArgumentException.class, () -> TokenVariants.of("!!", lettersOnly));
    assertTrue(String.valueOf(error.getMessage()).contains("of 'a !!'"));
  }
}
