package org.lethe.anchors;

import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.util.HashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Objects;
import tools.jackson.core.type.TypeReference;
import tools.jackson.databind.json.JsonMapper;

/**
 * Generic expressions to hand out, from pools by kind: never a name that the text uses itself, and
 * no name twice, since two names that became one would contradict the text. An empty pool starts
 * again with compounds, "Thomas Warren" or "New Portland".
 */
final class StandIns {
  private static final List<String> AGAIN =
      List.of("Little", "New", "Old", "North", "South", "East", "West", "Upper", "Lower", "Great");

  private final Map<String, List<String>> pools;
  private final Map<String, Integer> taken = new HashMap<>();

  /** Stand-ins for a text. */
  StandIns(String text) {
    pools = new HashMap<>(read());
    pools.replaceAll(
        (kind, all) -> {
          boolean names = Character.isUpperCase(all.getFirst().charAt(0));
          List<String> free =
              all.stream().filter(value -> !names || !text.contains(value)).toList();
          return free.size() < 2 ? all : free;
        });
  }

  private static Map<String, List<String>> read() {
    try (InputStream in =
        Objects.requireNonNull(StandIns.class.getResourceAsStream("stand-ins.json"))) {
      return new JsonMapper().readValue(in, new TypeReference<Map<String, List<String>>>() {});
    } catch (IOException e) {
      throw new UncheckedIOException("stand-ins.json in the class path is damaged", e);
    }
  }

  /** Two of a pool. */
  List<String> two(String pool) {
    return List.of(next(pool), next(pool));
  }

  private String next(String pool) {
    List<String> values = values(pool);
    int index = taken.merge(pool, 1, Integer::sum) - 1;
    int round = index / values.size();
    String value = values.get(index % values.size());
    if (round == 0 || !Character.isUpperCase(value.charAt(0))) {
      return value;
    }
    return switch (pool) {
      case "male", "female" -> value + " " + values("family").get(round % values("family").size());
      case "family" -> value + "-" + values.get((index + round) % values.size());
      default -> AGAIN.get(round % AGAIN.size()) + " " + value;
    };
  }

  private List<String> values(String pool) {
    return Objects.requireNonNull(pools.get(pool), pool);
  }

  /**
   * Two names of as many words: given and family name for a person; the head of a place is kept.
   */
  List<String> twoFor(Kind kind, List<String> words) {
    return switch (kind) {
      case MAN, WOMAN -> persons(kind == Kind.MAN ? "male" : "female", words.size() > 1);
      case FAMILY -> two("family");
      case MEMBER -> two("member");
      case MEMBERS -> two("members");
      case SHIP -> two("ship");
      case PLACE -> places(words);
    };
  }

  private List<String> persons(String pool, boolean withFamily) {
    List<String> given = two(pool);
    if (!withFamily) {
      return given;
    }
    List<String> family = two("family");
    return List.of(
        given.getFirst() + " " + family.getFirst(), given.getLast() + " " + family.getLast());
  }

  private List<String> places(List<String> words) {
    boolean headLast = words.size() > 1 && isHead(words.getLast());
    boolean headFirst = words.size() > 1 && isHead(words.getFirst());
    return two("place").stream()
        .map(
            value ->
                headLast
                    ? value + " " + words.getLast()
                    : headFirst ? words.getFirst() + " " + value : value)
        .toList();
  }

  private static boolean isHead(String word) {
    return Kind.PLACE_HEADS.contains(word.toLowerCase(Locale.ROOT));
  }
}
