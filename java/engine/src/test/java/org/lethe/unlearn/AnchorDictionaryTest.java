package org.lethe.unlearn;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.lethe.unlearn.AnchorDictionary.Anchor;

class AnchorDictionaryTest {
  private static AnchorDictionary parse(String json) {
    return AnchorDictionary.parse("anchors.json", json.getBytes(StandardCharsets.UTF_8));
  }

  private static List<String> expressions(AnchorDictionary dictionary) {
    return dictionary.anchors().stream().map(Anchor::expression).toList();
  }

  private static List<String> pruned(AnchorDictionary dictionary) {
    return dictionary.pruned().stream().map(p -> p.anchor().expression()).toList();
  }

  @Test
  void readsStringsListsAndObjectsInTheOrderOfTheFile(@TempDir Path folder) throws Exception {
    Path file =
        Files.writeString(
            folder.resolve("anchors.json"),
            """
            {"Hogwarts": ["Mystic Academy", "Grey Hall"],
             "Harry": "Jon",
             "Pequod": {"to": ["Gull", "Heron"], "kind": "ship", "unique": true},
             "whale": {"unique": false, "to": "beast"}}
            """);
    assertEquals(
        List.of(
            new Anchor("Hogwarts", List.of("Mystic Academy", "Grey Hall"), true, "thing"),
            new Anchor("Harry", List.of("Jon"), true, "thing"),
            new Anchor("Pequod", List.of("Gull", "Heron"), true, "ship"),
            new Anchor("whale", List.of("beast"), false, "thing")),
        AnchorDictionary.read(file).anchors());
  }

  @Test
  void dropsThePossessiveOfAKey() {
    AnchorDictionary dictionary =
        parse("{\"Harry's\": \"Jon's\", \"Ron's\": \"Tom's\", \"Harry\": \"Jon\"}");
    assertEquals(List.of("Ron's", "Harry"), expressions(dictionary));
    assertEquals(List.of("Harry's"), pruned(dictionary));
    assertEquals("'Harry' is an expression of its own", dictionary.pruned().getFirst().reason());
  }

  @Test
  void dropsAKeyWhoseWordsAreAllKeys() {
    AnchorDictionary dictionary =
        parse(
            "{\"Harry Potter\": \"Jon Cup\", \"Harry\": \"Jon\", \"Potter\": \"Cup\", \"Harry Dursley\": \"Jon Hill\"}");
    assertEquals(List.of("Harry", "Potter", "Harry Dursley"), expressions(dictionary));
    assertEquals(List.of("Harry Potter"), pruned(dictionary));
    assertEquals(
        "'Harry', 'Potter' are expressions of their own", dictionary.pruned().getFirst().reason());
  }

  @Test
  void prunedKeysCountAsKeysThemselves() {
    AnchorDictionary dictionary =
        parse(
            "{\"Harry's wand\": \"Jon's stick\", \"Harry\": \"Jon\", \"Harry's\": \"Jon's\", \"wand\": \"stick\"}");
    assertEquals(List.of("Harry", "wand"), expressions(dictionary));
    assertEquals(List.of("Harry's wand", "Harry's"), pruned(dictionary));
  }

  @Test
  void aKeyOfOneWordIsNotItsOwnWords() {
    assertEquals(List.of("Harry"), expressions(parse("{\"Harry\": \"Jon\"}")));
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      quoteCharacter = '`',
      value = {
        "[1]| line 1, column 1: a dictionary is an object",
        "{\"Harry\": 3}| line 1, column 11: 'Harry': what stands in for it must be a string, not 3",
        "{\"Harry\": [\"Jon\", null]}| line 1, column 19: 'Harry': what stands in for it must be a string, not null",
        "{\"Harry\": []}| line 1, column 2: 'Harry' has no values",
        "{\"Harry\": \" \"}| line 1, column 2: a value of 'Harry' is empty",
        "{\"\": \"Jon\"}| line 1, column 2: an expression is empty",
        "{\"Harry \": \"Jon\"}| line 1, column 2: an expression, 'Harry ', has white space around it",
        "{\"Harry\": {}}| line 1, column 2: 'Harry' has no values",
        "{\"Harry\": {\"to\": \"Jon\", \"unique\": 1}}| line 1, column 35: 'Harry': 'unique' must be true or false, not 1",
        "{\"Harry\": {\"to\": \"Jon\", \"kind\": \"owl\"}}| line 1, column 2: 'Harry' has the kind 'owl'; there is: person, place, ship, thing",
        "{\"Harry\": {\"too\": \"Jon\"}}| 'Harry' has an unknown field 'too'; there is: to, kind, unique",
        "{\"Harry\": \"Jon\", \"Harry\": \"Tom\"}| line 1, column 25: Duplicate Object property \"Harry\"",
        "{\"Harry\": \"Jon\"} {}| line 1, column 18: something follows",
        "{\"Harry\": \"Jon\"| line 1, column",
        "{\"Harry\": [\"Jon\"| line 1, column",
        "{\"Harry\": {\"to\": \"Jon\"| line 1, column",
        "``| anchors.json",
      })
  void refusesWhatIsNoDictionary(String json, String message) {
    var error = assertThrows(IllegalArgumentException.class, () -> parse(json));
    String found = String.valueOf(error.getMessage());
    assertTrue(found.startsWith("anchors.json") && found.contains(message), found);
  }

  @Test
  void anErrorHasItsLine() {
    var error =
        assertThrows(
            IllegalArgumentException.class,
            () -> parse("{\n  \"Harry\": \"Jon\",\n  \"Ron\": true\n}"));
    assertEquals(
        "anchors.json, line 3, column 10: 'Ron': what stands in for it must be a string, not true",
        error.getMessage());
  }

  @Test
  void refusesTheSameExpressionTwice() {
    Anchor harry = new Anchor("Harry", List.of("Jon"), true, "person");
    var error =
        assertThrows(
            IllegalArgumentException.class, () -> AnchorDictionary.of(List.of(harry, harry)));
    assertEquals("'Harry' comes twice: merge its values into one list", error.getMessage());
  }
}
