package org.lethe.anchors;

import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Objects;
import java.util.regex.Pattern;
import opennlp.tools.postag.POSModel;
import opennlp.tools.postag.POSTaggerME;
import opennlp.tools.sentdetect.SentenceDetectorME;
import opennlp.tools.sentdetect.SentenceModel;

/** A text as sentences of words with their parts of speech (Universal Dependencies' tags). */
record TaggedText(List<Sentence> sentences) {
  private static final Pattern PARAGRAPH_BREAK = Pattern.compile("\\R\\s*\\R");

  /**
   * A hyphenated word is one token, since names have hyphens; what follows an apostrophe is
   * another, since {@code X's} is about X.
   */
  private static final Pattern TOKEN =
      Pattern.compile(
          "(?:Mr|Mrs|Ms|Dr|St|Rev|Capt)\\.|(?<=\\p{L})['’]\\p{L}+|[\\p{L}\\p{M}\\d]+(?:-[\\p{L}\\p{M}\\d]+)*|\\S");

  /**
   * A word or a mark.
   *
   * @param tag NOUN, PROPN, VERB, ...
   * @param opens whether grammar or a quotation mark makes its initial a capital whatever it is
   */
  record Token(String text, String tag, boolean opens) {
    boolean isWord() {
      return Character.isLetter(text.charAt(0));
    }

    boolean isCapitalised() {
      return Character.isUpperCase(text.charAt(0))
          && (text.length() == 1 || !text.equals(text.toUpperCase(Locale.ROOT)));
    }

    String lower() {
      return text.toLowerCase(Locale.ROOT);
    }
  }

  /** A sentence as written, its white space made single, and its tokens. */
  record Sentence(String text, List<Token> tokens) {}

  static TaggedText of(String text) {
    var detector = new SentenceDetectorME(sentenceModel());
    var tagger = new POSTaggerME(tagModel());
    var sentences = new ArrayList<Sentence>();
    for (String paragraph : PARAGRAPH_BREAK.splitAsStream(text).toList()) {
      String flat = paragraph.replaceAll("\\s+", " ").strip();
      if (flat.isEmpty() || isHeading(flat)) {
        continue;
      }
      for (String sentence : detector.sentDetect(flat)) {
        sentences.add(tagged(sentence, tagger));
      }
    }
    return new TaggedText(List.copyOf(sentences));
  }

  private static Sentence tagged(String sentence, POSTaggerME tagger) {
    String[] words = TOKEN.matcher(sentence).results().map(r -> r.group()).toArray(String[]::new);
    String[] tags = tagger.tag(words);
    var tokens = new ArrayList<Token>(words.length);
    for (int i = 0; i < words.length; i++) {
      boolean opens = i == 0 || "\"“‘'.!?:—([_*".contains(words[i - 1]);
      tokens.add(new Token(words[i], tags[i], opens));
    }
    return new Sentence(sentence, List.copyOf(tokens));
  }

  /** A short paragraph with most words in capitals: their initials say nothing about names. */
  private static boolean isHeading(String paragraph) {
    List<String> words =
        TOKEN
            .matcher(paragraph)
            .results()
            .map(r -> r.group())
            .filter(word -> Character.isLetter(word.charAt(0)))
            .toList();
    long capitals = words.stream().filter(word -> Character.isUpperCase(word.charAt(0))).count();
    return words.size() > 1
        && words.size() <= 12
        && paragraph.indexOf('"') < 0
        && 2 * capitals > words.size();
  }

  private static SentenceModel sentenceModel() {
    try (InputStream in = resource("/opennlp-en-ud-ewt-sentence-1.3-2.5.4.bin")) {
      return new SentenceModel(in);
    } catch (IOException e) {
      throw new UncheckedIOException("the sentence model in the class path is damaged", e);
    }
  }

  private static POSModel tagModel() {
    try (InputStream in = resource("/opennlp-en-ud-ewt-pos-1.3-2.5.4.bin")) {
      return new POSModel(in);
    } catch (IOException e) {
      throw new UncheckedIOException("the part-of-speech model in the class path is damaged", e);
    }
  }

  private static InputStream resource(String name) {
    return Objects.requireNonNull(
        TaggedText.class.getResourceAsStream(name), name + " is not in the class path");
  }
}
