package org.lethe.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.ByteArrayOutputStream;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.regex.Matcher;
import java.util.stream.Stream;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

/** A command that ran in this process: its exit code and what it printed. */
record Ran(int code, String out, String err) {

  /** Runs a command on one thread, the tiny models' best. */
  static Ran computing(String command, Object... values) {
    return lethe(command + " --threads 1", values);
  }

  /**
   * Runs a command: words with spaces between, {@code %s} for each value, {@code ''} for an empty
   * argument.
   */
  static Ran lethe(String command, Object... values) {
    PrintStream out = System.out;
    PrintStream err = System.err;
    var said = new ByteArrayOutputStream();
    var complained = new ByteArrayOutputStream();
    System.setOut(new PrintStream(said, true, StandardCharsets.UTF_8));
    System.setErr(new PrintStream(complained, true, StandardCharsets.UTF_8));
    try {
      int code = Main.execute(words(command, values));
      return new Ran(
          code, said.toString(StandardCharsets.UTF_8), complained.toString(StandardCharsets.UTF_8));
    } finally {
      Interrupts.finished(); // or it would keep this process from ending
      System.setOut(out);
      System.setErr(err);
    }
  }

  static String[] words(String command, Object... values) {
    String filled = command;
    for (Object value : values) {
      filled = filled.replaceFirst("%s", Matcher.quoteReplacement(value.toString()));
    }
    return Stream.of(filled.split(" +"))
        .filter(word -> !word.isEmpty())
        .map(word -> word.equals("''") ? "" : word)
        .toArray(String[]::new);
  }

  /** It did what it was asked to. */
  Ran done() {
    assertEquals(0, code, this::toString);
    return this;
  }

  /** It failed with that code, one line that holds {@code part} and nothing else. */
  String refused(int expected, String part) {
    return refused(expected, part, 1);
  }

  /** The same, but in that many lines. */
  String refused(int expected, String part, int lines) {
    assertEquals(expected, code, this::toString);
    assertEquals("", out);
    assertTrue(err.contains(part), this::toString);
    assertEquals(lines, err.lines().count(), this::toString);
    assertTrue(err.startsWith("lethe"), this::toString);
    assertFalse(err.contains("fault in lethe"), this::toString);
    return err;
  }

  /** The one JSON object that it printed, and nothing else. */
  JsonNode json() {
    done();
    assertEquals(1, out.lines().count(), out);
    return new JsonMapper().readTree(out);
  }
}
