package org.lethe.eval;

import java.util.ArrayList;
import java.util.Collection;
import java.util.List;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * Prompts made from the text itself, for texts nobody has written prompts for: places where an
 * expression that only the text has begins, and has not been named for a while.
 */
public final class PromptDraft {
  /** Prompts of each kind that are enough for most texts. */
  public static final int COUNT = 40;

  private static final int CONTEXT = 160;
  private static final int ANSWER = 160;

  private PromptDraft() {}

  /**
   * Drafts up to {@code count} prompts of each kind, spread over the text, halved into {@code tune}
   * and {@code report}.
   */
  public static List<Prompt> of(String text, Collection<String> unique, int count) {
    List<int[]> places = places(text, unique);
    var prompts = new ArrayList<Prompt>();
    int wanted = Math.min(count, places.size());
    for (int i = 0; i < wanted; i++) {
      int[] place = places.get((int) ((long) i * places.size() / wanted));
      String split = i % 2 == 0 ? "tune" : "report";
      String before = text.substring(start(text, place[0] - CONTEXT), place[0]).stripTrailing();
      prompts.add(
          new Prompt(
              "probability-" + (i + 1),
              before,
              " " + text.substring(place[0], place[1]),
              List.of(),
              Prompt.Kind.PROBABILITY,
              split));
      // A completion stops short of the name, so that a model that knows the text gets there.
      String opening = before.substring(0, before.length() / 2).stripTrailing();
      int end = Math.min(text.length(), place[1] + ANSWER);
      if (!opening.isBlank()) {
        prompts.add(
            new Prompt(
                "completion-" + (i + 1),
                opening,
                before.substring(opening.length()) + " " + text.substring(place[0], end),
                List.of(),
                Prompt.Kind.COMPLETION,
                split));
      }
    }
    return prompts;
  }

  /** Where an expression begins and ends that the context before it does not name. */
  private static List<int[]> places(String text, Collection<String> unique) {
    var places = new ArrayList<int[]>();
    if (unique.isEmpty()) {
      return places;
    }
    String any = String.join("|", unique.stream().map(Pattern::quote).toList());
    Matcher matcher = Pattern.compile("(?<=[ ])(?:" + any + ")(?![\\p{L}\\p{N}])").matcher(text);
    while (matcher.find()) {
      int from = matcher.start() - CONTEXT;
      if (from >= 0 && !Familiarity.names(text.substring(from, matcher.start()), matcher.group())) {
        places.add(new int[] {matcher.start(), matcher.end()});
      }
    }
    return places;
  }

  /** The first start of a word from {@code from} on. */
  private static int start(String text, int from) {
    int at = Math.max(0, from);
    while (at > 0 && at < text.length() && !Character.isWhitespace(text.charAt(at - 1))) {
      at++;
    }
    return at;
  }
}
