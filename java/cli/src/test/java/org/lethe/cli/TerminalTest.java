package org.lethe.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.File;
import java.io.IOException;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.lethe.text.TinyModel;
import tools.jackson.databind.json.JsonMapper;

/** What reaches a terminal from a real process. */
@Timeout(60)
class TerminalTest {
  @TempDir private Path temporary;

  /** Nor the JDK nor a library says a word, whichever of them a command meets. */
  @Test
  void onlyTheCommandSpeaks() throws IOException, InterruptedException {
    Path model = TinyModel.write(temporary.resolve("model"));
    Path text = TinyModel.text(temporary.resolve("text"), 4);
    Path out = temporary.resolve("out");
    try (Life life = Life.begin(out, "score --model %s --text %s --json", model, text)) {
      Ran ran = life.end();
      assertEquals("", ran.err());
      assertTrue(new JsonMapper().readTree(ran.done().out()).has("perplexity"));
    }
    try (Life life =
        Life.begin(out, "anchors --text %s --out %s", text, temporary.resolve("a.json"))) {
      Ran ran = life.end();
      assertEquals("", ran.err());
      assertTrue(ran.done().out().startsWith("wrote "), ran.out());
    }
  }

  @Test
  void aFullDiskBehindTheOutputIsAnError() throws IOException, InterruptedException {
    try (Life life = Life.begin(Life.builder(new File("/dev/full"), "doctor --json"))) {
      life.end().refused(Main.FAILED, "the standard output cannot be written to");
    }
  }

  @Test
  void aStackTraceIsShownWhereAskedFor() throws IOException, InterruptedException {
    ProcessBuilder builder = Life.builder(new File("/dev/null"), "score --model /none --tokens 1");
    try (Life life = Life.begin(builder)) {
      life.end().refused(Main.FAILED, "/none: does not exist");
    }
    builder.environment().put("LETHE_TRACE", "1");
    try (Life life = Life.begin(builder)) {
      Ran ran = life.end();
      assertEquals(Main.FAILED, ran.code());
      assertTrue(ran.err().contains("\tat org.lethe.cli.ScoreCommand"), ran::toString);
    }
  }
}
