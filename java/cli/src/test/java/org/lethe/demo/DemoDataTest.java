package org.lethe.demo;

import static java.nio.charset.StandardCharsets.UTF_8;
import static org.junit.jupiter.api.Assertions.assertAll;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.io.IOException;
import java.io.InputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Set;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.lethe.unlearn.AnchorDictionary;
import org.lethe.unlearn.AnchorDictionary.Anchor;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

/**
 * The demo's committed data keeps its promises.
 *
 * <p>A <b>probability</b> prompt is a passage of the text (60 to 200 characters) that ends right
 * before a unique name it does not contain; names after "Captain Ahab" are left out, since any
 * model knows that one. A <b>completion</b> prompt is a passage (15 to 40 words) without any unique
 * name, two to eight words before one. Settings were chosen on the splits tune and dev, of which
 * dev is made less strictly. The split seen was reported until too many had looked at it; report
 * was made by a script (benchmarks/unseen-prompts) when an earlier set of settings stood, and none
 * was chosen on it.
 */
final class DemoDataTest {
  private static final JsonMapper JSON = new JsonMapper();

  private static AnchorDictionary dictionary = AnchorDictionary.of(List.of());
  private static JsonNode prompts = JSON.createArrayNode();
  private static Pattern uniqueNames = Pattern.compile("");

  @BeforeAll
  static void read() throws IOException {
    dictionary = AnchorDictionary.parse("anchors.json", resource("anchors.json"));
    prompts = JSON.readTree(resource("prompts.json"));
    uniqueNames =
        Pattern.compile(
            dictionary.anchors().stream()
                .filter(Anchor::unique)
                .map(anchor -> Pattern.quote(anchor.expression()))
                .collect(Collectors.joining("|", "(?<!\\w)(?:", ")(?!\\w)")));
  }

  private static byte[] resource(String name) throws IOException {
    try (InputStream in = DemoDataTest.class.getResourceAsStream(name)) {
      return Objects.requireNonNull(in, name).readAllBytes();
    }
  }

  @Test
  void theDictionaryHasAtLeast45ExpressionsAndNoneIsPruned() {
    assertTrue(dictionary.anchors().size() >= 45, dictionary.anchors().size() + " expressions");
    assertEquals(List.of(), dictionary.pruned());
  }

  @Test
  void eachExpressionHasTwoOrMoreStandInsThatKeepItsInitial() {
    assertAll(
        dictionary.anchors().stream()
            .map(
                anchor ->
                    () -> {
                      assertTrue(anchor.values().size() >= 2, anchor::toString);
                      for (String value : anchor.values()) {
                        assertEquals(
                            Character.isUpperCase(anchor.expression().charAt(0)),
                            Character.isUpperCase(value.charAt(0)),
                            anchor::toString);
                        assertFalse(uniqueNames.matcher(value).find(), anchor::toString);
                      }
                    }));
  }

  @Test
  void twoPersonsNeverShareAStandInWhereBothAreNamed() {
    Map<String, String> holder = new HashMap<>();
    for (Anchor anchor : dictionary.anchors()) {
      if (anchor.unique() && anchor.kind().equals("person")) {
        for (String value : anchor.values()) {
          String other = holder.put(value, anchor.expression());
          assertTrue(other == null, () -> value + ": " + other + " and " + anchor.expression());
        }
      }
    }
  }

  @Test
  void eachSplitHasAtLeast20PromptsOfEachKindAndNoneReportedWasAskedBefore() {
    Map<String, Integer> counts = new HashMap<>();
    Set<String> ids = new HashSet<>();
    Set<String> questions = new HashSet<>();
    for (JsonNode prompt : prompts) {
      counts.merge(text(prompt, "kind") + "/" + text(prompt, "split"), 1, Integer::sum);
      assertTrue(ids.add(text(prompt, "id")), prompt::toString);
      boolean asked = !questions.add(text(prompt, "prompt"));
      assertFalse(asked && text(prompt, "split").equals("report"), prompt::toString);
    }
    assertEquals(8, counts.size(), counts::toString);
    counts.forEach((half, count) -> assertTrue(count >= 20, half + " has " + count));
  }

  @Test
  void promptsEndRightBeforeAndDoNotNameWhatTheyAskFor() {
    for (JsonNode prompt : prompts) {
      if (text(prompt, "split").equals("dev")) {
        continue;
      }
      String asked = text(prompt, "prompt");
      String answer = text(prompt, "answer");
      assertFalse(uniqueNames.matcher(asked).find(), prompt::toString);
      assertTrue(uniqueNames.matcher(answer).find(), prompt::toString);
      if (text(prompt, "kind").equals("probability")) {
        assertTrue(asked.length() >= 60 && asked.length() <= 200, prompt::toString);
        assertTrue(uniqueNames.matcher(answer.strip()).matches(), prompt::toString);
        assertEquals(3, prompt.get("distractors").size(), prompt::toString);
        for (JsonNode distractor : prompt.get("distractors")) {
          assertTrue(distractor.stringValue().startsWith(" "), prompt::toString);
        }
      } else {
        int words = asked.strip().split("\\s+").length;
        assertTrue(words >= 15 && words <= 40, prompt::toString);
      }
    }
  }

  @Test
  void promptsAndAnswersStandInTheChaptersWordForWord() throws IOException {
    String book = System.getProperty("lethe.test.mobydick");
    assumeTrue(book != null, "-Dlethe.test.mobydick=FOLDER of chapter_N.txt");
    var text = new StringBuilder();
    for (JsonNode chapter : JSON.readTree(resource("demo.json")).get("chapters")) {
      Path file = Path.of(String.valueOf(book), "chapter_" + chapter.intValue() + ".txt");
      text.append(Files.readString(file)).append('\n');
    }
    String chapters = normalised(text.toString());
    for (JsonNode prompt : prompts) {
      String passage = normalised(text(prompt, "prompt") + text(prompt, "answer"));
      assertTrue(chapters.contains(passage), passage);
    }
    for (JsonNode watched : JSON.readTree(resource("watch.json"))) {
      String passage = text(watched, "prompt") + watched.get("words").get(0).stringValue();
      assertTrue(chapters.contains(normalised(passage)), passage);
    }
  }

  @Test
  void unrelatedProseNamesNothingOfTheBook() throws IOException {
    String prose = new String(resource("unrelated.txt"), UTF_8);
    assertFalse(uniqueNames.matcher(prose).find());
    assertTrue(prose.split("\\s+").length > 2_000);
  }

  private static String text(JsonNode node, String field) {
    return node.get(field).stringValue();
  }

  private static String normalised(String text) {
    return text.replaceAll("\\s+", " ");
  }
}
