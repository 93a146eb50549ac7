package org.lethe.anchors;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collection;
import java.util.Comparator;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import org.lethe.anchors.ProperNames.Mention;
import org.lethe.anchors.TaggedText.Sentence;
import org.lethe.anchors.TaggedText.Token;
import tools.jackson.databind.json.JsonMapper;

/**
 * Drafts a dictionary of anchored expressions (METHOD.md, section 2) for a person to edit: the
 * proper names of a text, marked unique, and the common nouns that it uses often and ordinary
 * English seldom, each with two generic stand-ins of its kind.
 *
 * <p>Nothing is learned and nothing drawn: the same text gives the same draft.
 */
public final class AnchorDraft {
  /** A common noun is the text's own from this many uses on. */
  private static final int OFTEN = 3;

  private static final int CONTEXT_LENGTH = 120;
  private static final Pattern SPACE = Pattern.compile("\\s+");

  private final Ordinary ordinary = new Ordinary();
  private final StandIns standIns;
  private final TaggedText tagged;

  /**
   * An expression, what may stand for it, and what a person needs to judge both.
   *
   * @param to two generic stand-ins of the same kind
   * @param kind person, place, ship or thing
   * @param unique whether it gives the text away: names do
   * @param count how often it is mentioned
   * @param context from the sentence of its first mention
   */
  public record Entry(
      String expression, List<String> to, String kind, boolean unique, int count, String context) {
    /** Copies {@code to}. */
    public Entry {
      to = List.copyOf(to);
    }
  }

  private AnchorDraft(String text) {
    this.standIns = new StandIns(text);
    this.tagged = TaggedText.of(text);
  }

  /** The entries of a draft: those that hold another come before it, else the commonest first. */
  public static List<Entry> draft(String text) {
    var draft = new AnchorDraft(text);
    var entries = new ArrayList<>(draft.names());
    entries.addAll(draft.commonNouns());
    return longerBeforeItsParts(entries);
  }

  private List<Entry> names() {
    var byCount = new ArrayList<>(ProperNames.of(tagged, ordinary).entrySet());
    byCount.sort(Comparator.comparingInt(name -> -name.getValue().size()));
    var standInsOf = new LinkedHashMap<String, List<String>>();
    var entries = new ArrayList<Entry>();
    for (Map.Entry<String, List<Mention>> name : byCount) {
      Kind kind = Kind.of(name.getValue());
      List<String> to = derived(name.getKey(), standInsOf);
      if (to.isEmpty()) {
        List<String> words = List.of(SPACE.split(name.getKey()));
        to = standIns.twoFor(kind, words);
        standInsOf.put(name.getKey(), to);
      } else {
        kind = name.getKey().endsWith("s") ? Kind.MEMBERS : Kind.MEMBER;
      }
      Mention first = name.getValue().getFirst();
      entries.add(
          new Entry(
              name.getKey(),
              to,
              kind.written(),
              true,
              name.getValue().size(),
              context(first.sentence(), name.getKey())));
    }
    return entries;
  }

  /** "Nantucketers" become Portlanders where Nantucket became Portland. */
  private static List<String> derived(String name, Map<String, List<String>> standInsOf) {
    for (String suffix : List.of("ers", "er", "rs", "r")) {
      List<String> of =
          name.endsWith(suffix)
              ? standInsOf.get(name.substring(0, name.length() - suffix.length()))
              : null;
      if (of != null) {
        String full = suffix.startsWith("e") ? suffix : "e" + suffix;
        return of.stream().map(v -> v.endsWith("e") ? v + full.substring(1) : v + full).toList();
      }
    }
    return List.of();
  }

  /** Nouns in small letters that are not ordinary. */
  private List<Entry> commonNouns() {
    var uses = new TreeMap<String, Integer>();
    var asNoun = new HashMap<String, Integer>();
    var first = new HashMap<String, Sentence>();
    for (Sentence sentence : tagged.sentences()) {
      for (Token token : sentence.tokens()) {
        if (token.isWord() && token.text().equals(token.lower()) && token.text().length() > 3) {
          uses.merge(token.text(), 1, Integer::sum);
          first.putIfAbsent(token.text(), sentence);
          if (token.tag().equals("NOUN")) {
            asNoun.merge(token.text(), 1, Integer::sum);
          }
        }
      }
    }
    var entries = new ArrayList<Entry>();
    uses.forEach(
        (word, count) -> {
          Sentence sentence = first.get(word);
          boolean noun = 2 * asNoun.getOrDefault(word, 0) > count;
          if (sentence != null && count >= OFTEN && noun && !ordinary.has(word)) {
            String pool = poolOf(word);
            String kind = pool.startsWith("worker") ? "person" : "thing";
            entries.add(
                new Entry(word, standIns.two(pool), kind, false, count, context(sentence, word)));
          }
        });
    entries.sort(Comparator.comparingInt(entry -> -entry.count()));
    return entries;
  }

  private static String poolOf(String noun) {
    if (noun.endsWith("ing")) {
      return "activity";
    }
    if (noun.matches(".*(men|mates|[^t]ers|eers|ilors|ators|itors)")) {
      return "workers";
    }
    if (noun.matches(".*(man|mate|[^t]er|eer|ilor|ator|itor)")) {
      return "worker";
    }
    return noun.endsWith("s") && !noun.endsWith("ss") ? "objects" : "object";
  }

  /** The dictionary's first match wins, so "Martha's Vineyard" must come before "Vineyard". */
  private static List<Entry> longerBeforeItsParts(Collection<Entry> entries) {
    var ordered = new ArrayList<Entry>();
    for (Entry entry : entries) {
      int at = ordered.size();
      for (int i = ordered.size() - 1; i >= 0; i--) {
        if (entry.expression().contains(ordered.get(i).expression())) {
          at = i;
        }
      }
      ordered.add(at, entry);
    }
    return List.copyOf(ordered);
  }

  private static String context(Sentence sentence, String expression) {
    String written = sentence.text();
    int at = Math.max(0, written.indexOf(expression));
    int start = Math.max(0, at - (CONTEXT_LENGTH - expression.length()) / 2);
    int end = Math.min(written.length(), start + CONTEXT_LENGTH);
    return (start > 0 ? "..." : "")
        + written.substring(start, end)
        + (end < written.length() ? "..." : "");
  }

  /** The dictionary as JSON, an entry a line. */
  public static String toJson(List<Entry> entries) {
    var json = new JsonMapper();
    return entries.stream()
        .map(
            entry -> {
              var fields = new LinkedHashMap<String, Object>();
              fields.put("to", entry.to());
              fields.put("kind", entry.kind());
              fields.put("unique", entry.unique());
              fields.put("count", entry.count());
              fields.put("context", entry.context());
              return "  "
                  + json.writeValueAsString(entry.expression())
                  + ": "
                  + json.writeValueAsString(fields);
            })
        .collect(Collectors.joining(",\n", "{\n", "\n}\n"));
  }

  /** Writes {@link #toJson}. */
  public static void write(List<Entry> entries, Path file) throws IOException {
    Files.writeString(file, toJson(entries));
  }
}
