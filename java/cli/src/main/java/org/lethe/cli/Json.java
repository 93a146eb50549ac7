package org.lethe.cli;

import java.io.PrintWriter;
import tools.jackson.databind.ObjectMapper;
import tools.jackson.databind.json.JsonMapper;

/** What {@code --json} prints: one object on a line of its own. */
final class Json {
  private static final ObjectMapper MAPPER = new JsonMapper();

  private Json() {}

  static void print(PrintWriter out, Object value) {
    out.println(MAPPER.writeValueAsString(value));
    out.flush();
  }
}
