package org.lethe.anchors;

import java.util.List;
import java.util.Set;
import org.lethe.anchors.ProperNames.Mention;
import org.lethe.anchors.TaggedText.Token;

/** What a name names, judged by the words around its mentions. */
enum Kind {
  MAN("person"),
  WOMAN("person"),
  /** Known by a family name: mostly titles stand before it. */
  FAMILY("person"),
  /** One of a people, "a Nantucketer". */
  MEMBER("person"),
  MEMBERS("person"),
  PLACE("place"),
  SHIP("ship");

  private static final Set<String> SPEECH =
      Set.of(
          ("said says cried cries answered asked replied muttered murmured exclaimed shouted roared"
                  + " whispered thought added continued returned groaned called")
              .split(" "));
  static final Set<String> PLACE_HEADS =
      Set.of(
          ("cape head island islands isle isles street alley road lane river bay ocean sea lake"
                  + " harbor harbour church town city village mount mountain hill valley vineyard land"
                  + " port inn square castle house coast strait straits forest")
              .split(" "));
  private static final Set<String> WITHIN =
      Set.of("in", "at", "near", "off", "leaving", "toward", "towards", "island", "town", "city");
  private static final Set<String> TO_AND_FRO = Set.of("from", "to", "of", "round", "around");

  /** "A native of Tisbury". */
  private static final Set<String> OF_PLACES =
      Set.of("native", "island", "town", "city", "village", "coast", "shore", "shores", "out");

  private static final Set<String> SHIP_WORDS =
      Set.of(
          ("ship vessel craft aboard board deck crew sail sails sailed voyage mast masts hull bow bows"
                  + " captain harpooneers boats schooner brig anchor")
              .split(" "));
  private static final Set<String> OF_HERS = Set.of("she", "her", "hers", "herself");
  private static final Set<String> OF_HIS = Set.of("he", "his", "him", "himself");
  private static final Set<String> WOMENS_TITLES =
      Set.of(
          "mrs.", "ms.", "miss", "mother", "aunt", "lady", "queen", "princess", "sister", "madam");
  private static final Set<String> FAMILY_TITLES =
      Set.of(
          "captain",
          "capt.",
          "mr.",
          "mrs.",
          "ms.",
          "miss",
          "dr.",
          "doctor",
          "deacon",
          "rev.",
          "reverend",
          "professor",
          "colonel",
          "major",
          "general",
          "sergeant",
          "judge");

  private final String written;

  Kind(String written) {
    this.written = written;
  }

  /** As dictionaries write it: person, place or ship. */
  String written() {
    return written;
  }

  static Kind of(List<Mention> mentions) {
    var cues = new Cues();
    mentions.forEach(cues::add);
    return cues.verdict(mentions);
  }

  /** Points for each kind; the weights were set by eye on English novels. */
  private static final class Cues {
    /** Where nothing speaks for anything, a name is a person's. */
    private int person = 1;

    private int place;
    private int ship;
    private int member;
    private int hers;
    private int his;
    private int titles;

    void add(Mention mention) {
      List<Token> tokens = mention.sentence().tokens();
      String before = word(tokens, mention.start() - 1);
      String after = word(tokens, mention.end());
      String next =
          after.equals(",") || after.equals("\"") ? word(tokens, mention.end() + 1) : after;
      for (String title : mention.titles()) {
        person += 4;
        titles += FAMILY_TITLES.contains(title) ? 1 : 0;
        hers += WOMENS_TITLES.contains(title) ? 4 : 0;
        his += WOMENS_TITLES.contains(title) ? 0 : 1;
      }
      if (SPEECH.contains(before) || SPEECH.contains(next)) {
        person += 3;
      }
      if (tag(tokens, mention.end()).equals("VERB") || next.equals("who") || next.equals("whom")) {
        person += 1;
      }
      boolean vocative = before.equals(",") || before.equals("\"");
      if (vocative && (after.equals(",") || after.equals("!") || after.equals("?"))) {
        person += 1;
      }
      if (mention.titles().isEmpty()) {
        place += WITHIN.contains(before) ? 3 : TO_AND_FRO.contains(before) ? 1 : 0;
        place +=
            before.equals("of") && OF_PLACES.contains(word(tokens, mention.start() - 2)) ? 3 : 0;
      }
      if (mention.tokens().stream().anyMatch(token -> PLACE_HEADS.contains(token.lower()))) {
        place += 5;
      }
      if (before.equals("the") || before.equals("ship") || before.equals("this")) {
        boolean atSea = tokens.stream().anyMatch(token -> SHIP_WORDS.contains(token.lower()));
        ship += atSea ? 3 : 1;
      }
      if (Set.of("a", "an", "each", "no", "every", "these", "those").contains(before)) {
        member += 4;
      }
      addPronouns(tokens, mention.end());
    }

    private void addPronouns(List<Token> tokens, int from) {
      for (Token token : tokens.subList(from, Math.min(tokens.size(), from + 10))) {
        if (OF_HERS.contains(token.lower())) {
          hers++;
        } else if (OF_HIS.contains(token.lower())) {
          his++;
          person++;
        }
      }
    }

    Kind verdict(List<Mention> mentions) {
      List<Token> tokens = mentions.getFirst().tokens();
      String last = tokens.getLast().lower();
      boolean several = last.endsWith("ers") || last.endsWith("ians") || last.endsWith("oes");
      if (several && place < 5) {
        return MEMBERS;
      }
      int most = Math.max(Math.max(person, place), Math.max(ship, member));
      if (most == person) {
        return 2 * titles > mentions.size() && tokens.size() == 1 && hers <= his
            ? FAMILY
            : hers > his ? WOMAN : MAN;
      }
      return most == place ? PLACE : most == ship ? SHIP : MEMBER;
    }

    private static String word(List<Token> tokens, int index) {
      return index < 0 || index >= tokens.size() ? "" : tokens.get(index).lower();
    }

    private static String tag(List<Token> tokens, int index) {
      return index >= tokens.size() ? "" : tokens.get(index).tag();
    }
  }
}
