package org.lethe.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.lethe.text.TinyModel;
import org.lethe.unlearn.Unlearning;

/** {@code lethe unlearn} in a real process, cut off in each of its phases. */
class InterruptedRunTest {
  private static final List<String> PHASES = List.of("reinforce", "label", "finetune");

  /** Some 1,000 blocks, 64 steps a phase: enough to be cut off amid each. */
  private static final String COMMAND =
      "unlearn --model %s --text %s --anchors %s --out %s --block 32 --batch 32 --accumulate 1"
          + " --reinforce-epochs 2 --reinforce-lr 1e-3 --finetune-epochs 2 --finetune-lr 1e-3"
          + " --checkpoint-every 3 --threads 1";

  @TempDir private Path temporary;
  private Path model = Path.of("");
  private Path text = Path.of("");
  private Path anchors = Path.of("");

  @BeforeEach
  void write() throws IOException {
    model = TinyModel.write(temporary.resolve("model"));
    text = TinyModel.text(temporary.resolve("text"), 300);
    anchors = TinyModel.anchors(temporary.resolve("anchors.json"));
  }

  private Life unlearn(Path run) throws IOException {
    return Life.begin(temporary.resolve("out"), COMMAND, model, text, anchors, run);
  }

  @Test
  @Timeout(120)
  void stoppedByCtrlCInEachPhaseAndStartedAgain() throws IOException, InterruptedException {
    Path run = temporary.resolve("interrupted");
    for (String phase : PHASES) {
      try (Life life = unlearn(run)) {
        life.await(phase);
        life.interrupt();
        Ran ran = life.end();
        assertEquals(Main.INTERRUPTED, ran.code(), ran::toString);
        assertTrue(ran.err().contains("stopping at the end of this step"), ran::toString);
        assertEquals("stopped; the same command goes on from there\n", ran.out());
        assertCutOff(run, phase);
        switch (phase) {
          case "reinforce" -> assertCheckpoint(run.resolve(Unlearning.REINFORCED));
          case "finetune" -> assertCheckpoint(run.resolve(Unlearning.UNLEARNED));
          default -> assertFalse(Files.exists(run.resolve(Unlearning.LABELS)));
        }
      }
    }
    assertEndsLikeOneLeftAlone(run);
  }

  @Test
  @Timeout(120)
  void killedInEachPhaseAndStartedAgain() throws IOException, InterruptedException {
    Path run = temporary.resolve("killed");
    for (String phase : PHASES) {
      try (Life life = unlearn(run)) {
        life.await(phase);
      }
      assertCutOff(run, phase);
    }
    assertEndsLikeOneLeftAlone(run);
  }

  @Test
  @Timeout(60)
  void oneRunAtATimeInAFolder() throws IOException {
    Path run = temporary.resolve("run");
    try (Life life = unlearn(run)) {
      life.await("reinforce");
      Ran.lethe(COMMAND, model, text, anchors, run)
          .refused(Main.FAILED, "another run is working in " + run);
    }
  }

  /** It was cut off amid the phase, not after it. */
  private static void assertCutOff(Path run, String phase) {
    Path result =
        switch (phase) {
          case "reinforce" -> run.resolve(Unlearning.REINFORCED).resolve("result.json");
          case "label" -> run.resolve(Unlearning.LABELS);
          default -> run.resolve(Unlearning.UNLEARNED).resolve("result.json");
        };
    assertFalse(Files.exists(result), phase + " was over before it was cut off");
  }

  private static void assertCheckpoint(Path folder) throws IOException {
    try (Stream<Path> files = Files.list(folder)) {
      assertTrue(
          files.anyMatch(file -> file.getFileName().toString().startsWith("checkpoint-")),
          "no checkpoint in " + folder);
    }
  }

  private void assertEndsLikeOneLeftAlone(Path run) throws IOException, InterruptedException {
    try (Life life = unlearn(run)) {
      Ran ran = life.end().done();
      assertTrue(
          ran.err().lines().allMatch(line -> line.startsWith("finetune ")),
          "it computed again what was done, or something else was said: " + ran.err());
    }
    Path straight = temporary.resolve("straight");
    Ran.lethe(COMMAND, model, text, anchors, straight).done();
    for (String file :
        List.of(
            "reinforced/model.safetensors",
            "reinforced/config.json",
            "labels.jsonl",
            "unlearned/model.safetensors",
            "unlearned/tokenizer.json",
            "run.json")) {
      assertEquals(-1, Files.mismatch(straight.resolve(file), run.resolve(file)), file);
    }
    assertEquals(tree(straight), tree(run), "nothing is left over");
  }

  private static List<String> tree(Path folder) throws IOException {
    try (Stream<Path> files = Files.walk(folder)) {
      return files.map(file -> folder.relativize(file).toString()).sorted().toList();
    }
  }
}
