package org.lethe.eval;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.lethe.model.Refusals.refusedIo;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.util.HashSet;
import java.util.List;
import org.junit.jupiter.api.Test;

/** Prompts, read and drafted. */
class PromptTest {
  private static final String FILLER = "The sea was grey, and the wind went round and about. ";

  private static List<Prompt> parse(String json) throws IOException {
    return Prompt.parse("p.json", json.getBytes(StandardCharsets.UTF_8));
  }

  @Test
  void theSchemaOfMethodMd() throws IOException {
    assertEquals(
        List.of(
            new Prompt(
                "a", "Call me", " Ishmael", List.of(" Tom"), Prompt.Kind.PROBABILITY, "tune"),
            new Prompt("2", "Who?", "Ahab", List.of(), Prompt.Kind.COMPLETION, "")),
        parse(
            """
            [{"id": "a", "prompt": "Call me", "answer": " Ishmael", "distractors": [" Tom"],
              "kind": "probability", "split": "tune"},
             {"prompt": "Who?", "answer": "Ahab", "kind": "completion", "note": "ignored"}]
            """));
    assertEquals(List.of(), parse("[]"));
  }

  @Test
  void whatIsNoPromptIsRefusedWithItsPlace() {
    refusedIo("p.json is not JSON", () -> parse("[{"));
    refusedIo("p.json is not a JSON array of prompts", () -> parse("{\"prompt\": \"a\"}"));
    String good = "{\"prompt\": \"a\", \"answer\": \"b\", \"kind\": \"completion\"}";
    refusedIo(
        "p.json: prompt 2 has no text 'prompt'",
        () -> parse("[" + good + ", " + good.replace("prompt", "text") + "]"));
    refusedIo(
        "p.json: prompt 1 has no text 'answer'",
        () -> parse("[{\"prompt\": \"a\", \"kind\": \"completion\"}]"));
    refusedIo(
        "p.json: prompt 1 has no text 'answer'",
        () -> parse("[" + good.replace("\"b\"", "\"\"") + "]"));
    refusedIo(
        "p.json: prompt 1: kind is 'guess', must be completion or probability",
        () -> parse("[" + good.replace("completion", "guess") + "]"));
  }

  @Test
  void draftsComeFromTheText() {
    String text = (FILLER.repeat(5) + "Then Captain Ahab rose. ").repeat(12);
    List<Prompt> drafted = PromptDraft.of(text, List.of("Captain Ahab", "Pequod"), 5);
    assertEquals(10, drafted.size(), "five of each kind");
    assertEquals(10, new HashSet<>(drafted.stream().map(Prompt::id).toList()).size());
    for (Prompt prompt : drafted) {
      assertTrue(text.contains(prompt.text() + prompt.answer()), prompt::toString);
      assertFalse(prompt.text().contains("Ahab"), prompt::toString);
      assertTrue(prompt.split().equals("tune") || prompt.split().equals("report"));
      switch (prompt.kind()) {
        case PROBABILITY -> assertEquals(" Captain Ahab", prompt.answer());
        case COMPLETION -> assertTrue(prompt.answer().contains(" Captain Ahab"));
      }
    }
    assertEquals(drafted, PromptDraft.of(text, List.of("Captain Ahab", "Pequod"), 5));
  }

  @Test
  void whereNothingIsUniqueNothingIsDrafted() {
    assertEquals(List.of(), PromptDraft.of(FILLER.repeat(20), List.of(), 5));
    assertEquals(List.of(), PromptDraft.of(FILLER.repeat(20), List.of("Ahab"), 5));
    assertEquals(List.of(), PromptDraft.of("Ahab. " + FILLER, List.of("Ahab"), 5), "no context");
    String often = "Ahab went on and on. ".repeat(30);
    assertEquals(List.of(), PromptDraft.of(often, List.of("Ahab"), 5), "named just before");
  }
}
