package org.lethe.anchors;

import java.util.ArrayList;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.lethe.anchors.TaggedText.Sentence;
import org.lethe.anchors.TaggedText.Token;

/**
 * The proper names of a text: runs of capitalised words whose capitals are not grammar's, without
 * titles and epithets ("old Captain Peleg" is Peleg), each with the places where it stands.
 */
final class ProperNames {
  static final Set<String> TITLES =
      Set.of(
          "captain",
          "capt.",
          "mr.",
          "mrs.",
          "ms.",
          "miss",
          "dr.",
          "doctor",
          "father",
          "mother",
          "deacon",
          "aunt",
          "uncle",
          "cousin",
          "sir",
          "lady",
          "lord",
          "king",
          "queen",
          "prince",
          "princess",
          "rev.",
          "reverend",
          "professor",
          "colonel",
          "major",
          "general",
          "sergeant",
          "brother",
          "sister",
          "saint",
          "st.",
          "squire",
          "madam",
          "master",
          "judge",
          "count");

  /** Names that every English text may use: they give no text away. */
  private static final Set<String> EVERYBODYS =
      Set.of(
          ("god lord christ jesus christian christians bible heaven hell devil satan catholic"
                  + " protestant pagan pagans jew jews hebrew christmas easter sabbath monday tuesday"
                  + " wednesday thursday friday saturday sunday january february march april may june"
                  + " july august september october november december america american americans"
                  + " england english englishman british france french frenchman germany german italy"
                  + " italian spain spanish spaniard dutch dutchman portuguese russia russian greece"
                  + " greek roman rome europe european asia africa african india indian indians china"
                  + " chinese japan japanese london paris atlantic pacific arctic antarctic oriental"
                  + " i aye hallo halloa hello holloa hurrah shan")
              .split(" "));

  private final Ordinary ordinary;
  private final Map<String, Integer> capitalsInside = new HashMap<>();
  private final Map<String, Integer> capitals = new HashMap<>();
  private final Map<String, Integer> properTags = new HashMap<>();
  private final Map<String, Integer> lowerCase = new HashMap<>();

  /** Where a name stands: tokens from {@code start} to before {@code end}, after its titles. */
  record Mention(Sentence sentence, int start, int end, List<String> titles) {
    List<Token> tokens() {
      return sentence.tokens().subList(start, end);
    }
  }

  private ProperNames(Ordinary ordinary) {
    this.ordinary = ordinary;
  }

  /** Names as written, "Martha's Vineyard" too, in the order of their first mention. */
  static Map<String, List<Mention>> of(TaggedText text, Ordinary ordinary) {
    var names = new ProperNames(ordinary);
    text.sentences().forEach(names::count);
    var runs = new ArrayList<Mention>();
    text.sentences().forEach(sentence -> names.addRuns(sentence, runs));
    return names.resolved(runs);
  }

  private void count(Sentence sentence) {
    for (Token token : sentence.tokens()) {
      if (token.isCapitalised()) {
        capitals.merge(token.text(), 1, Integer::sum);
        if (!token.opens()) {
          capitalsInside.merge(token.text(), 1, Integer::sum);
        }
        if (token.tag().equals("PROPN")) {
          properTags.merge(token.text(), 1, Integer::sum);
        }
      } else {
        lowerCase.merge(token.text(), 1, Integer::sum);
      }
    }
  }

  private void addRuns(Sentence sentence, List<Mention> runs) {
    List<Token> tokens = sentence.tokens();
    int start = 0;
    while (start < tokens.size()) {
      if (!isNameWord(tokens.get(start))) {
        start++;
        continue;
      }
      int end = start + 1;
      while (end < tokens.size()) {
        if (isNameWord(tokens.get(end)) && !tokens.get(end).opens()) {
          end++;
        } else if (end + 1 < tokens.size()
            && tokens.get(end).text().equals("'s")
            && isNameWord(tokens.get(end + 1))) {
          end += 2;
        } else {
          break;
        }
      }
      var titles = new ArrayList<String>();
      int name = start;
      while (name < end && TITLES.contains(tokens.get(name).lower())) {
        titles.add(tokens.get(name++).lower());
      }
      if (name < end) {
        runs.add(new Mention(sentence, name, end, List.copyOf(titles)));
      }
      start = end;
    }
  }

  /**
   * A capital is a name's where grammar does not ask for it, or where English knows no such word.
   */
  private boolean isNameWord(Token token) {
    String word = token.text();
    if (!token.isCapitalised()) {
      return false;
    }
    if (TITLES.contains(token.lower())) {
      return true;
    }
    if (word.length() < 3 || EVERYBODYS.contains(token.lower())) {
      return false;
    }
    int all = capitals.getOrDefault(word, 0);
    int inside = capitalsInside.getOrDefault(word, 0);
    int lower = lowerCase.getOrDefault(token.lower(), 0);
    boolean proper = 2 * properTags.getOrDefault(word, 0) >= all;
    if (token.opens() && ordinary.has(token.lower())) {
      return inside > lower;
    }
    return inside > 0 ? inside >= lower || proper : proper && lower == 0;
  }

  private Map<String, List<Mention>> resolved(List<Mention> runs) {
    var alone = new HashMap<String, Integer>();
    for (Mention run : runs) {
      alone.merge(written(run), 1, Integer::sum);
    }
    var names = new LinkedHashMap<String, List<Mention>>();
    for (Mention run : runs) {
      Mention name = withoutEpithets(run, alone);
      if (!isOfSeveral(name, alone)) {
        add(name, names);
        continue;
      }
      for (int i = name.start(); i < name.end(); i++) {
        if (name.sentence().tokens().get(i).isWord()) {
          List<String> titles = i == name.start() ? name.titles() : List.of();
          add(new Mention(name.sentence(), i, i + 1, titles), names);
        }
      }
    }
    return names;
  }

  /**
   * Whether a run is of names that stand alone as well: "Ahasuerus Daggoo", "Queequeg's Ramadan",
   * not "Martha's Vineyard", though there is a Vineyard.
   */
  private boolean isOfSeveral(Mention run, Map<String, Integer> alone) {
    List<Token> tokens = run.tokens();
    boolean owned = tokens.stream().anyMatch(token -> !token.isWord());
    return tokens.size() > 1
        && tokens.stream()
            .limit(owned ? 1 : tokens.size())
            .anyMatch(t -> alone.containsKey(t.text()) && !ordinary.has(t.lower()));
  }

  /** "Old Ahab" is Ahab where Ahab stands alone as well; "Old Thunder" stays. */
  private Mention withoutEpithets(Mention run, Map<String, Integer> alone) {
    Mention name = run;
    while (name.end() - name.start() > 1 && ordinary.has(name.tokens().getFirst().lower())) {
      var rest = new Mention(name.sentence(), name.start() + 1, name.end(), name.titles());
      boolean known = alone.containsKey(written(rest));
      boolean more =
          rest.end() - rest.start() > 1 && ordinary.has(rest.tokens().getFirst().lower());
      if (!known && !more) {
        break;
      }
      name = rest;
    }
    return name;
  }

  /** An ordinary word alone, seldom in capitals or small as well ("Death"), is no name. */
  private void add(Mention name, Map<String, List<Mention>> names) {
    List<Token> tokens = name.tokens();
    Token token = tokens.getFirst();
    if (tokens.size() == 1 && ordinary.has(token.lower())) {
      int upper = capitals.getOrDefault(token.text(), 0);
      int lower = lowerCase.getOrDefault(token.lower(), 0);
      if (upper < 3 || 2 * lower >= upper) {
        return;
      }
    }
    names.computeIfAbsent(written(name), key -> new ArrayList<>()).add(name);
  }

  /** The tokens with their spaces: none before {@code 's}. */
  private static String written(Mention mention) {
    var written = new StringBuilder();
    for (Token token : mention.tokens()) {
      if (!written.isEmpty() && token.isWord()) {
        written.append(' ');
      }
      written.append(token.text());
    }
    return written.toString();
  }
}
