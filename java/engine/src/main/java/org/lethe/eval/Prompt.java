package org.lethe.eval;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import tools.jackson.core.JacksonException;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

/**
 * A question about the text.
 *
 * @param id unique name
 * @param text what the model is given
 * @param answer how the text goes on
 * @param distractors other ways it might
 * @param kind what is asked
 * @param split which part of the prompts it belongs to: {@code report} is reported, settings are
 *     chosen on others; empty if there are no parts
 */
public record Prompt(
    String id, String text, String answer, List<String> distractors, Kind kind, String split) {
  /** What is asked of the model. */
  public enum Kind {
    /** To go on; the completion is looked at. */
    COMPLETION,
    /** How probable the answer is. */
    PROBABILITY
  }

  /**
   * Reads a JSON array of {@code {"prompt", "answer", "distractors", "kind"}}.
   *
   * @throws IOException if it is something else; says where
   */
  public static List<Prompt> read(Path file) throws IOException {
    return parse(file.toString(), Files.readAllBytes(file));
  }

  /** The same from memory; {@code name} is what errors call it. */
  public static List<Prompt> parse(String name, byte[] json) throws IOException {
    JsonNode root;
    try {
      root = new JsonMapper().readTree(json);
    } catch (JacksonException e) {
      throw new IOException(name + " is not JSON: " + e.getOriginalMessage(), e);
    }
    if (!root.isArray()) {
      throw new IOException(name + " is not a JSON array of prompts");
    }
    var prompts = new ArrayList<Prompt>();
    for (JsonNode node : root) {
      prompts.add(prompt(name, prompts.size(), node));
    }
    return prompts;
  }

  private static Prompt prompt(String name, int index, JsonNode node) throws IOException {
    String at = name + ": prompt " + (index + 1);
    var distractors = new ArrayList<String>();
    for (JsonNode d : node.path("distractors")) {
      distractors.add(d.asString());
    }
    Kind kind;
    try {
      kind = Kind.valueOf(string(at, node, "kind").toUpperCase(Locale.ROOT));
    } catch (IllegalArgumentException e) {
      throw new IOException(
          at + ": kind is '" + string(at, node, "kind") + "', must be completion or probability",
          e);
    }
    return new Prompt(
        node.path("id").asString(String.valueOf(index + 1)),
        string(at, node, "prompt"),
        string(at, node, "answer"),
        List.copyOf(distractors),
        kind,
        node.path("split").asString(""));
  }

  private static String string(String at, JsonNode node, String key) throws IOException {
    JsonNode value = node.path(key);
    if (!value.isString() || value.asString().isEmpty()) {
      throw new IOException(at + " has no text '" + key + "'");
    }
    return value.asString();
  }
}
