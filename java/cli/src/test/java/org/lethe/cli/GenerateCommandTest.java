package org.lethe.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.lethe.text.TinyModel;
import org.lethe.text.Tokenizer;
import tools.jackson.databind.JsonNode;

class GenerateCommandTest {
  @TempDir private Path temporary;
  private Path model = Path.of("");

  @BeforeEach
  void write() {
    model = TinyModel.write(temporary.resolve("model"));
  }

  private Ran generate(String prompt, String how) {
    return Ran.computing("generate --model %s --prompt %s %s", model, prompt, how);
  }

  @Test
  void greedyIsTheDefault() {
    JsonNode said = generate("The", "--max-tokens 12 --json").json();
    assertEquals(List.of("text", "tokens"), List.copyOf(said.propertyNames()));
    int[] tokens = said.path("tokens").valueStream().mapToInt(JsonNode::asInt).toArray();
    assertTrue(tokens.length > 0 && tokens.length <= 12, said::toString);
    try (Tokenizer tokenizer = Tokenizer.open(model)) {
      assertEquals(tokenizer.decode(tokens), said.path("text").asString(), "only what is new");
    }
    assertEquals(said, generate("The", "--max-tokens 12 --json --temperature 0 --seed 9").json());
  }

  @Test
  void theSeedDecidesWhatIsDrawn() {
    String drawn = "--max-tokens 20 --json --temperature 9 --top-p 0.99 --seed ";
    JsonNode first = generate("The", drawn + 1).json();
    assertEquals(first, generate("The", drawn + 1).json());
    assertNotEquals(first, generate("The", drawn + 2).json());
  }

  /** Bytes at random: most make no character, some do, of which each comes whole. */
  @Test
  void theTextIsPrintedAsItComes() {
    for (int seed = 1; seed <= 8; seed++) {
      String drawn = "--max-tokens 60 --temperature 9 --seed " + seed;
      assertEquals(
          generate("The", drawn + " --json").json().path("text").asString()
              + System.lineSeparator(),
          generate("The", drawn).done().out());
    }
  }

  @Test
  void anEmptyPromptIsBosAlone() {
    assertTrue(generate("''", "--max-tokens 3 --json").json().path("tokens").size() > 0);
  }

  @Test
  void whatCannotBeGeneratedIsRefused() {
    generate("a", "--max-tokens 0").refused(Main.USAGE, "--max-tokens is 0");
    generate("a", "--max-tokens 1 --temperature -1").refused(Main.USAGE, "temperature -1");
    generate("a", "--max-tokens 1 --top-p 0").refused(Main.USAGE, "top-p 0");
    generate("a", "--max-tokens 1000").refused(Main.FAILED, "context of 128");
    generate("a", "--json").refused(Main.USAGE, "--max-tokens");
  }
}
