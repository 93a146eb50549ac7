package org.lethe.unlearn;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.List;
import org.junit.jupiter.api.Test;

class BlockViewTest {
  private final WordTokenizer words = WordTokenizer.keepingSpaces();

  private String render(String text, String labels, int ignoreFrom, int ignoreTo, int width) {
    var dictionary =
        AnchorDictionary.of(
            List.of(
                new AnchorDictionary.Anchor("Moby Dick", List.of("Big White Fish"), true, "thing"),
                new AnchorDictionary.Anchor("Ahab", List.of("Jon"), true, "person")));
    int[] block = words.encode(text);
    int[] targets = words.encode(labels);
    targets[0] = -100;
    for (int i = ignoreFrom; i < ignoreTo; i++) {
      targets[i] = -100;
    }
    return BlockView.render(
        block,
        new BlockTranslator(dictionary, words, 1).translate(block, 0),
        targets,
        words,
        width);
  }

  @Test
  void textTranslationAndLabelStandUnderEachOther() {
    assertEquals(
        """
        text    He ▁saw [▁Moby] ▁Dick        \\n ▁and ▁Ahab
        generic He ▁saw ▁Big    ▁White ▁Fish \\n ▁and ▁Jon
        label   ·  ▁saw ▁the    ·            \\n ▁and ▁him

        """,
        render("He saw Moby Dick\n and Ahab", "He saw the x\n and him", 3, 4, 80));
  }

  @Test
  void linesBreakBetweenColumns() {
    assertEquals(
        """
        text    He ▁saw
        generic He ▁saw
        label   ·  ▁saw

        text    ▁the ▁sea
        generic ▁the ▁sea
        label   ▁a   ▁sea

        """,
        render("He saw the sea", "He saw a sea", 0, 0, 19));
  }

  @Test
  void aColumnWiderThanTheLineStandsAlone() {
    String shown = render("He saw", "He saw", 0, 0, 1);
    assertTrue(shown.startsWith("text    He\n"), shown);
    assertTrue(shown.contains("text    ▁saw\n"), shown);
  }

  @Test
  void controlCharactersAreSpelledOut() {
    String shown =
        BlockView.render(
            new int[] {0},
            new BlockTranslation(new int[] {0}, new int[] {0}, new int[0], new int[0], List.of()),
            new int[] {-100},
            token -> "\t\r\u0007",
            80);
    assertTrue(shown.startsWith("text    \\t\\u000d\\u0007\n"), shown);
  }
}
