package org.lethe.anchors;

import static org.junit.jupiter.api.Assertions.assertAll;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.io.IOException;
import java.io.InputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Objects;
import java.util.Set;
import java.util.function.Function;
import java.util.stream.Collectors;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.Test;
import org.lethe.anchors.AnchorDraft.Entry;
import org.lethe.unlearn.AnchorDictionary;
import org.lethe.unlearn.AnchorDictionary.Anchor;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

final class AnchorDraftTest {
  private static final String STORY =
      """
      CHAPTER 1. The Road to Hollowmere.

      "You are late," said Captain Brannock, and he looked at his watch. Tamsin, who had walked from
      Hollowmere, put down her basket. Death was not what she feared.

      "The ship is in the harbour," answered Tamsin. She had seen the crew on the deck of the
      Kestrelwing. Old Captain Brannock shook his head. "In Hollowmere they talk of death, and no
      Hollowmerer sails on the Kestrelwing," said he.

      So Tamsin laughed. When she laughed, Brannock laughed as well, and took out a zwieback. A
      zwieback, he said, is better than two zwiebacks. Tamsin ate her zwieback in silence, and
      together they went aboard the Kestrelwing. Morning came to Hollowmere.
      """;

  @Test
  void aStorysNamesAreFoundWithTheirKindsAndNothingElse() {
    List<Entry> names = AnchorDraft.draft(STORY).stream().filter(Entry::unique).toList();
    assertEquals(
        Set.of(
            "Tamsin person",
            "Brannock person",
            "Hollowmere place",
            "Hollowmerer person",
            "Kestrelwing ship"),
        names.stream().map(e -> e.expression() + " " + e.kind()).collect(Collectors.toSet()));
  }

  @Test
  void standInsAreOfTheSameKindTwoAndDistinct() {
    var entries =
        AnchorDraft.draft(STORY).stream()
            .collect(Collectors.toMap(Entry::expression, Function.identity()));
    assertEquals(List.of("Portlander", "Halifaxer"), to(entries.get("Hollowmerer")));
    assertEquals(List.of("Portland", "Halifax"), to(entries.get("Hollowmere")));
    assertEquals(List.of("Warren", "Hughes"), to(entries.get("Brannock")));
    assertEquals(List.of("Margaret", "Helen"), to(entries.get("Tamsin")));
    assertEquals(List.of("Aurora", "Comet"), to(entries.get("Kestrelwing")));
  }

  @Test
  void aNounThatEnglishSeldomUsesIsFoundAndIsNotUnique() {
    Entry zwieback =
        AnchorDraft.draft(STORY).stream()
            .filter(entry -> entry.expression().equals("zwieback"))
            .findFirst()
            .orElseThrow();
    assertEquals(3, zwieback.count());
    assertEquals("thing", zwieback.kind());
    assertFalse(zwieback.unique());
    assertTrue(zwieback.context().contains("took out a zwieback"), zwieback.context());
  }

  @Test
  void whatHoldsAnotherExpressionComesBeforeIt() {
    List<String> order = AnchorDraft.draft(STORY).stream().map(Entry::expression).toList();
    assertTrue(order.indexOf("Hollowmerer") < order.indexOf("Hollowmere"), order::toString);
  }

  @Test
  void theSameTextGivesTheSameDraftAndItsJsonReadsBack() {
    String json = AnchorDraft.toJson(AnchorDraft.draft(STORY));
    assertEquals(json, AnchorDraft.toJson(AnchorDraft.draft(STORY)));
    JsonNode read = new JsonMapper().readTree(json);
    assertEquals("Warren", read.get("Brannock").get("to").get(0).stringValue());
    assertTrue(read.get("Brannock").get("unique").booleanValue());
  }

  @Test
  void aTextWithoutNamesGivesAnEmptyDictionary() {
    assertEquals(List.of(), AnchorDraft.draft(""));
    assertEquals("{\n\n}\n", AnchorDraft.toJson(List.of()));
  }

  /** The issue asks for 80% of the names in the hand-made dictionary. */
  @Test
  void onTheDemosChaptersItFindsTheNamesOfTheHandMadeDictionary() throws IOException {
    String book = System.getProperty("lethe.test.mobydick");
    assumeTrue(book != null, "-Dlethe.test.mobydick=FOLDER of chapter_N.txt");
    var text = new StringBuilder();
    for (JsonNode chapter : new JsonMapper().readTree(demo("demo.json")).get("chapters")) {
      Path file = Path.of(String.valueOf(book), "chapter_" + chapter.intValue() + ".txt");
      text.append(Files.readString(file)).append('\n');
    }
    List<Entry> draft = AnchorDraft.draft(text.toString());
    Set<String> found = draft.stream().map(Entry::expression).collect(Collectors.toSet());
    List<Anchor> names =
        AnchorDictionary.parse("anchors.json", demo("anchors.json")).anchors().stream()
            .filter(anchor -> anchor.unique() && !anchor.kind().equals("thing"))
            .filter(anchor -> text.indexOf(anchor.expression()) >= 0)
            .toList();
    List<String> missed =
        names.stream().map(Anchor::expression).filter(name -> !found.contains(name)).toList();
    assertAll(
        () -> assertTrue(names.size() >= 25, names.size() + " names"),
        () ->
            assertTrue(
                missed.size() <= 0.2 * names.size(), missed + " of " + names.size() + " missed"));
  }

  private static List<String> to(@Nullable Entry entry) {
    return Objects.requireNonNull(entry).to();
  }

  private static byte[] demo(String name) throws IOException {
    try (InputStream in = AnchorDraftTest.class.getResourceAsStream("/org/lethe/demo/" + name)) {
      return Objects.requireNonNull(in, name).readAllBytes();
    }
  }
}
