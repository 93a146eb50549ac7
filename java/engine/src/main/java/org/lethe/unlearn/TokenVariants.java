package org.lethe.unlearn;

import java.util.Arrays;

/**
 * The two tokenizations of an expression X in running text.
 *
 * @param afterSpace the tokens of {@code "a X"} without those of {@code "a"}
 * @param atLineStart the tokens of {@code "a\nX"} without those of {@code "a\n"}
 */
public record TokenVariants(int[] afterSpace, int[] atLineStart) {

  /** Text to tokens, as the model's tokenizer does it. */
  @FunctionalInterface
  public interface Encoder {
    /** The tokens of {@code text}, with or without a leading BOS, but always alike. */
    int[] encode(String text);
  }

  /**
   * The variants of {@code expression}.
   *
   * @throws IllegalArgumentException if one cannot be told from what precedes it: the tokenizer
   *     merges across the border, or makes no token of the expression. Such a variant has no tokens
   *     of its own, so a translation would also take away, or double, a piece of its surroundings
   */
  public static TokenVariants of(String expression, Encoder encoder) {
    return new TokenVariants(
        without("a", "a " + expression, encoder), without("a\n", "a\n" + expression, encoder));
  }

  private static int[] without(String prefix, String text, Encoder encoder) {
    int[] before = encoder.encode(prefix);
    int[] all = encoder.encode(text);
    if (all.length <= before.length
        || !Arrays.equals(before, 0, before.length, all, 0, before.length)) {
      throw new IllegalArgumentException(
          "the tokens %s of '%s' do not go on from the tokens %s of '%s': this tokenizer gives the expression no tokens of its own, take it out of the dictionary"
              .formatted(
                  Arrays.toString(all), shown(text), Arrays.toString(before), shown(prefix)));
    }
    return Arrays.copyOfRange(all, before.length, all.length);
  }

  private static String shown(String text) {
    return text.replace("\n", "\\n");
  }

  /** True if an occurrence does not tell which variant it is. */
  public boolean equal() {
    return Arrays.equals(afterSpace, atLineStart);
  }
}
