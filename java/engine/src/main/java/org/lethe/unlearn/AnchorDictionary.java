package org.lethe.unlearn;

import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;
import tools.jackson.core.JacksonException;
import tools.jackson.core.JsonParser;
import tools.jackson.core.JsonToken;
import tools.jackson.core.ObjectReadContext;
import tools.jackson.core.StreamReadFeature;
import tools.jackson.core.TokenStreamLocation;
import tools.jackson.core.json.JsonFactory;

/**
 * Idiosyncratic expressions of a text and generic ones to stand in for them (Eldan & Russinovich
 * 2023, section 2.2), in the order of their file: where two match, the first wins.
 *
 * <p>In JSON, an entry's value is a string, a list of strings to draw from, or an object with
 * {@code to} (either of those), {@code kind} and {@code unique}:
 *
 * <pre>{@code
 * {"Hogwarts": ["Mystic Academy", "Grey Hall"],
 *  "Harry": "Jon",
 *  "whale": {"to": "beast", "kind": "thing", "unique": false}}
 * }</pre>
 *
 * <p>Two sorts of expression are pruned, since others do their work: {@code X's} where {@code X} is
 * a key, and one of several words where each word is a key (a key of the file, pruned or not).
 */
public final class AnchorDictionary {
  /** What an expression can name. */
  public static final List<String> KINDS = List.of("person", "place", "ship", "thing");

  private static final String DEFAULT_KIND = "thing";
  private static final Pattern WHITE_SPACE = Pattern.compile("\\s+");

  private final List<Anchor> anchors;
  private final List<Pruned> pruned;

  /**
   * An expression and what may stand for it.
   *
   * @param values at least one; {@link BlockTranslator} draws one of them for each block
   * @param unique whether the expression gives the text away (a name does, {@code whale} does not):
   *     familiarity counts only unique ones. True unless the file says otherwise
   * @param kind one of {@link #KINDS}; {@code thing} unless the file says otherwise
   */
  public record Anchor(String expression, List<String> values, boolean unique, String kind) {
    /** Refuses what no text can hold: see {@link AnchorDictionary#of}. */
    public Anchor {
      values = List.copyOf(values);
      checkText("an expression", expression);
      if (values.isEmpty()) {
        throw new IllegalArgumentException("'" + expression + "' has no values: give at least one");
      }
      for (String value : values) {
        checkText("a value of '" + expression + "'", value);
      }
      if (!KINDS.contains(kind)) {
        throw new IllegalArgumentException(
            "'%s' has the kind '%s'; there is: %s"
                .formatted(expression, kind, String.join(", ", KINDS)));
      }
    }
  }

  /** An expression left out, and the rule that says so. */
  public record Pruned(Anchor anchor, String reason) {}

  private AnchorDictionary(List<Anchor> anchors, List<Pruned> pruned) {
    this.anchors = List.copyOf(anchors);
    this.pruned = List.copyOf(pruned);
  }

  /**
   * A dictionary of {@code all}, in their order, pruned.
   *
   * @throws IllegalArgumentException if an expression comes twice
   */
  public static AnchorDictionary of(List<Anchor> all) {
    Set<String> keys = new HashSet<>();
    for (Anchor anchor : all) {
      if (!keys.add(anchor.expression())) {
        throw new IllegalArgumentException(
            "'" + anchor.expression() + "' comes twice: merge its values into one list");
      }
    }
    var kept = new ArrayList<Anchor>();
    var pruned = new ArrayList<Pruned>();
    for (Anchor anchor : all) {
      String reason = reasonToPrune(anchor.expression(), keys);
      if (reason == null) {
        kept.add(anchor);
      } else {
        pruned.add(new Pruned(anchor, reason));
      }
    }
    return new AnchorDictionary(kept, pruned);
  }

  private static @Nullable String reasonToPrune(String expression, Set<String> keys) {
    if (expression.endsWith("'s")) {
      String owner = expression.substring(0, expression.length() - 2);
      if (keys.contains(owner)) {
        return "'" + owner + "' is an expression of its own";
      }
    }
    List<String> words = List.of(WHITE_SPACE.split(expression));
    if (words.size() > 1 && keys.containsAll(words)) {
      return words.stream().collect(Collectors.joining("', '", "'", "'"))
          + " are expressions of their own";
    }
    return null;
  }

  /**
   * Reads a dictionary from a JSON file.
   *
   * @throws IOException if the file cannot be read
   * @throws IllegalArgumentException if it is no such dictionary; the message has the line, the
   *     column and the expression
   */
  public static AnchorDictionary read(Path file) throws IOException {
    try (InputStream json = Files.newInputStream(file)) {
      return read(file.toString(), json);
    }
  }

  /**
   * As {@link #read}, from memory.
   *
   * @param name what errors call it
   */
  public static AnchorDictionary parse(String name, byte[] json) {
    return read(name, new ByteArrayInputStream(json));
  }

  private static AnchorDictionary read(String name, InputStream json) {
    JsonFactory factory =
        JsonFactory.builder().enable(StreamReadFeature.STRICT_DUPLICATE_DETECTION).build();
    try (JsonParser parser = factory.createParser(ObjectReadContext.empty(), json)) {
      return of(new Reading(name, parser).anchors());
    } catch (JacksonException e) {
      throw at(name, e.getLocation(), e.getOriginalMessage());
    }
  }

  /** The expressions to translate, in the order of the file. */
  public List<Anchor> anchors() {
    return anchors;
  }

  /** The expressions, pruned or not, that give the text away. */
  public List<String> unique() {
    return Stream.concat(anchors.stream(), pruned.stream().map(Pruned::anchor))
        .filter(Anchor::unique)
        .map(Anchor::expression)
        .toList();
  }

  /** The expressions left out, with the reason. */
  public List<Pruned> pruned() {
    return pruned;
  }

  /** The tokens around an expression bring their own white space: {@link TokenVariants}. */
  private static void checkText(String what, String text) {
    if (text.isBlank()) {
      throw new IllegalArgumentException(what + " is empty");
    }
    if (!text.strip().equals(text)) {
      throw new IllegalArgumentException(
          "%s, '%s', has white space around it: take it away".formatted(what, text));
    }
  }

  private static IllegalArgumentException at(
      String name, @Nullable TokenStreamLocation where, String what) {
    return new IllegalArgumentException(
        where == null
            ? name + ": " + what
            : "%s, line %d, column %d: %s"
                .formatted(name, where.getLineNr(), where.getColumnNr(), what));
  }

  /** One pass over a file. */
  private record Reading(String name, JsonParser parser) {
    List<Anchor> anchors() {
      if (parser.nextToken() != JsonToken.START_OBJECT) {
        throw fail("a dictionary is an object, {\"expression\": \"stand-in\", ...}");
      }
      var anchors = new ArrayList<Anchor>();
      while (parser.nextToken() == JsonToken.PROPERTY_NAME) {
        anchors.add(anchor(parser.currentName()));
      }
      if (parser.nextToken() != null) {
        throw fail("something follows the dictionary's closing brace");
      }
      return anchors;
    }

    private Anchor anchor(String key) {
      TokenStreamLocation where = parser.currentTokenLocation();
      List<String> values = List.of();
      boolean unique = true;
      String kind = DEFAULT_KIND;
      if (parser.nextToken() != JsonToken.START_OBJECT) {
        values = values(key);
      } else {
        while (parser.nextToken() == JsonToken.PROPERTY_NAME) {
          String field = parser.currentName();
          parser.nextToken();
          switch (field) {
            case "to" -> values = values(key);
            case "unique" -> unique = unique(key);
            case "kind" -> kind = string(key, "'kind'");
            case "count", "context" -> parser.skipChildren(); // a draft's, for its editor
            default ->
                throw fail(
                    "'%s' has an unknown field '%s'; there is: to, kind, unique, count, context"
                        .formatted(key, field));
          }
        }
      }
      try {
        return new Anchor(key, values, unique, kind);
      } catch (IllegalArgumentException e) {
        throw at(name, where, String.valueOf(e.getMessage()));
      }
    }

    private List<String> values(String key) {
      if (parser.currentToken() != JsonToken.START_ARRAY) {
        return List.of(string(key, "what stands in for it"));
      }
      var values = new ArrayList<String>();
      while (parser.nextToken() != JsonToken.END_ARRAY) {
        values.add(string(key, "what stands in for it"));
      }
      return values;
    }

    private String string(String key, String what) {
      if (parser.currentToken() != JsonToken.VALUE_STRING) {
        throw fail("'%s': %s must be a string, not %s".formatted(key, what, parser.getString()));
      }
      return parser.getString();
    }

    private boolean unique(String key) {
      return switch (parser.currentToken()) {
        case VALUE_TRUE -> true;
        case VALUE_FALSE -> false;
        default ->
            throw fail(
                "'%s': 'unique' must be true or false, not %s".formatted(key, parser.getString()));
      };
    }

    private IllegalArgumentException fail(String what) {
      return at(name, parser.currentTokenLocation(), what);
    }
  }
}
