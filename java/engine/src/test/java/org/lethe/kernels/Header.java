package org.lethe.kernels;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/** The prototypes of {@code lethe.h}, read from the file itself. */
public final class Header {
  /** The file, from the folder of a Java module, where its tests run. */
  static final Path FILE = Path.of("../../native/include/lethe.h");

  private static final Pattern PROTOTYPE =
      Pattern.compile("LETHE_API\\s+([^;(]*?)lethe_(\\w+)\\(([^)]*)\\);");

  private Header() {}

  /** A parameter, as {@code void *} and {@code x}. */
  public record Parameter(String type, String name) {
    boolean isPointer() {
      return type.endsWith("*");
    }

    /** What it is in the border's eyes. */
    Class<?> carrier() {
      if (isPointer()) {
        return long.class;
      }
      return switch (type) {
        case "int32_t" -> int.class;
        case "int64_t" -> long.class;
        case "float" -> float.class;
        default -> throw new IllegalArgumentException(type + " " + name);
      };
    }

    /** Bytes of the element pointed to; untyped memory is taken as fp32. */
    int alignment() {
      return type.contains("16_t") ? 2 : type.contains("double") ? 8 : 4;
    }
  }

  /** By name without {@code lethe_}, in the header's order. */
  static Map<String, List<Parameter>> prototypes() {
    String text;
    try {
      text = Files.readString(FILE).replaceAll("(?s)/\\*.*?\\*/", "");
    } catch (IOException e) {
      throw new AssertionError("cannot read " + FILE.toAbsolutePath(), e);
    }
    var prototypes = new LinkedHashMap<String, List<Parameter>>();
    Matcher matcher = PROTOTYPE.matcher(text);
    while (matcher.find()) {
      var parameters = new ArrayList<Parameter>();
      for (String declaration : matcher.group(3).strip().split("\\s*,\\s*", -1)) {
        if (!declaration.equals("void")) {
          int name = declaration.split("\\w+$", -1)[0].length();
          parameters.add(
              new Parameter(
                  declaration.substring(0, name).strip().replaceAll("\\s+", " "),
                  declaration.substring(name)));
        }
      }
      prototypes.put(matcher.group(2), parameters);
    }
    return prototypes;
  }

  /** The kernels: all that follows the device, its memory and its streams. */
  public static Map<String, List<Parameter>> kernels() {
    var kernels = new LinkedHashMap<String, List<Parameter>>();
    boolean reached = false;
    for (var e : prototypes().entrySet()) {
      reached |= e.getKey().equals("fill");
      if (reached) {
        kernels.put(e.getKey(), e.getValue());
      }
    }
    return kernels;
  }
}
