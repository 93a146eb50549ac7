package org.lethe.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
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

  /** Long texts are decoded from packed weights, where the device has them: the same tokens. */
  @Test
  void aLongTextBeginsAsAShortOne() throws IOException {
    Path config = model.resolve("config.json");
    Files.writeString(
        config,
        Files.readString(config)
            .replaceAll(
                "\"max_position_embeddings\"\\s*:\\s*128", "\"max_position_embeddings\":512"));
    String drawn = " --json --temperature 1 --seed 3 --dtype bf16";
    JsonNode lengthy = generate("The", "--max-tokens 300" + drawn).json().path("tokens");
    JsonNode brief = generate("The", "--max-tokens 200" + drawn).json().path("tokens");
    assertTrue(brief.size() > 100, brief::toString);
    for (int i = 0; i < brief.size(); i++) {
      assertEquals(brief.get(i), lengthy.get(i), "token " + i);
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
