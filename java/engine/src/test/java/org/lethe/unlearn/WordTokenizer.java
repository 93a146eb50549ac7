package org.lethe.unlearn;

import java.util.ArrayList;
import java.util.List;
import java.util.regex.MatchResult;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import java.util.stream.IntStream;

/** A tokenizer of whole words and line breaks, so that tests read like the rules they check. */
final class WordTokenizer implements TokenVariants.Encoder, BlockView.Decoder {
  private static final Pattern TOKEN = Pattern.compile(" ?[^ \n]+|\n");

  private final boolean spaceMatters;
  private final List<String> words = new ArrayList<>();

  private WordTokenizer(boolean spaceMatters) {
    this.spaceMatters = spaceMatters;
  }

  /** A word is the same token after a space and at the start of a line: variants are equal. */
  static WordTokenizer ignoringSpaces() {
    return new WordTokenizer(false);
  }

  /** The space before a word belongs to its token, as in GPT-2: variants differ. */
  static WordTokenizer keepingSpaces() {
    return new WordTokenizer(true);
  }

  @Override
  public int[] encode(String text) {
    return TOKEN.matcher(text).results().map(MatchResult::group).mapToInt(this::token).toArray();
  }

  private int token(String piece) {
    String word = spaceMatters ? piece : piece.replace(" ", "");
    int known = words.indexOf(word);
    if (known < 0) {
      words.add(word);
    }
    return known < 0 ? words.size() - 1 : known;
  }

  @Override
  public String decode(int token) {
    return words.get(token);
  }

  String decode(int[] tokens) {
    return IntStream.of(tokens)
        .mapToObj(this::decode)
        .collect(Collectors.joining(spaceMatters ? "" : " "));
  }
}
