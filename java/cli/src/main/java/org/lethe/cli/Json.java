package org.lethe.cli;

import java.io.PrintWriter;
import org.jspecify.annotations.Nullable;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.ObjectMapper;
import tools.jackson.databind.json.JsonMapper;

/** What {@code --json} prints: one object on a line of its own. */
final class Json {
  private static final ObjectMapper MAPPER = new JsonMapper();

  private Json() {}

  static void print(PrintWriter out, Object value) {
    out.println(text(value));
    out.flush();
  }

  static String text(Object value) {
    return MAPPER.writeValueAsString(value);
  }

  static JsonNode parsed(String text) {
    return MAPPER.readTree(text);
  }

  /** JSON has no NaN and no infinity: what could not be measured is null. */
  static @Nullable Double number(double value) {
    return Double.isFinite(value) ? value : null;
  }
}
