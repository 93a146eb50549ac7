package org.lethe.anchors;

import static java.nio.charset.StandardCharsets.UTF_8;

import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.UncheckedIOException;
import java.util.HashSet;
import java.util.Objects;
import java.util.Set;

/**
 * The eleven thousand commonest words of English, from the levels 10 and 20 of SCOWL (Kevin
 * Atkinson's Spell Checker Oriented Word Lists), which rank words by how frequent they are.
 */
final class Ordinary {
  private final Set<String> words = new HashSet<>();

  Ordinary() {
    try (var reader =
        new BufferedReader(
            new InputStreamReader(
                Objects.requireNonNull(Ordinary.class.getResourceAsStream("ordinary-english.txt")),
                UTF_8))) {
      reader.lines().forEach(words::add);
    } catch (IOException e) {
      throw new UncheckedIOException("ordinary-english.txt in the class path is damaged", e);
    }
  }

  /** Whether a word in lower case, or what its plural is of, is common. */
  boolean has(String word) {
    return words.contains(word)
        || (word.endsWith("s") && words.contains(word.substring(0, word.length() - 1)));
  }
}
