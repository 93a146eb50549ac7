package org.lethe.train;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.lethe.model.Refusals.refusedIo;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Who may write in a run's folder, and what it refuses before any damage. */
class RunFolderTest {
  @TempDir private Path temporary;

  @Test
  void theSameRecordGoesOn() throws IOException {
    Path directory = temporary.resolve("a/b/run");
    var record = new LinkedHashMap<String, Object>();
    record.put("lr", 1e-6);
    record.put("seed", 1L << 40);
    record.put("small", 3L);
    record.put("share", 0.1f);
    record.put("text", List.of("Ahab \"ß\" \u2028", "\ud83d\udc0b"));
    record.put("none", null);
    record.put("options", Map.of("shuffle", true, "batch", 8));
    try (RunFolder folder = RunFolder.open(directory, record)) {
      assertTrue(folder.isFresh());
      assertEquals(directory, folder.directory());
    }
    byte[] written = Files.readAllBytes(directory.resolve("run.json"));
    try (RunFolder folder = RunFolder.open(directory, record)) {
      assertFalse(folder.isFresh());
    }
    assertTrue(Arrays.equals(written, Files.readAllBytes(directory.resolve("run.json"))));
  }

  @Test
  void anotherRecordIsRefusedWithWhatDiffers() throws IOException {
    RunFolder.open(temporary, Map.of("lr", 1e-6, "options", Map.of("batch", 8, "seed", 1))).close();
    Files.writeString(temporary.resolve("metrics.jsonl"), "{}");
    String message =
        refusedIo(
            "was made by another run",
            () ->
                RunFolder.open(
                    temporary, Map.of("lr", 2e-6, "options", Map.of("batch", 8, "epochs", 3))));
    assertEquals(
        List.of(
            "lr: there 1.0E-6, now 2.0E-6",
            "options.epochs: there nothing, now 3",
            "options.seed: there 1, now nothing"),
        message.lines().skip(1).map(String::strip).toList());
    assertTrue(message.contains(temporary.toString()), message);
    RunFolder.open(temporary, Map.of("lr", 1e-6, "options", Map.of("batch", 8, "seed", 1))).close();
  }

  @Test
  void theSameFilesElsewhereAreTheSame() throws IOException {
    RunFolder.open(temporary, recordOf("/here/book.txt", "cafe")).close();
    Files.writeString(temporary.resolve("metrics.jsonl"), "{}");
    RunFolder.open(temporary, recordOf("/there/moby.txt", "cafe")).close();
    refusedIo(
        "text[0].sha256: there \"cafe\", now \"beef\"",
        () -> RunFolder.open(temporary, recordOf("/here/book.txt", "beef")));
  }

  private static Map<String, ?> recordOf(String path, String sha256) {
    return Map.of("text", List.of(Map.of("path", path, "sha256", sha256)));
  }

  /** A run that failed before its first step can be mended; one below it, likewise. */
  @Test
  void aFolderInWhichNothingWasMadeTakesAnotherRecord() throws IOException {
    RunFolder.open(temporary, Map.of("lr", 1e-6)).close();
    Path below = temporary.resolve("reinforced");
    RunFolder.open(below, Map.of("lr", 1e-6)).close();
    RunFolder.open(temporary, Map.of("lr", 2e-6)).close();
    RunFolder.open(below, Map.of("lr", 2e-6)).close();
    Files.writeString(below.resolve("metrics.jsonl"), "{}");
    refusedIo("now 1.0E-6", () -> RunFolder.open(temporary, Map.of("lr", 1e-6)));
  }

  @Test
  void oneRunAtATime() throws IOException {
    try (RunFolder folder = RunFolder.open(temporary, TinyRun.RECORD)) {
      refusedIo("another run is working in", () -> RunFolder.open(temporary, TinyRun.RECORD));
      assertEquals(temporary, folder.directory());
    }
    RunFolder.open(temporary, TinyRun.RECORD).close();
  }

  @Test
  void aFolderOfOtherThingsIsLeftAlone() throws IOException {
    Files.writeString(temporary.resolve("thesis.txt"), "Call me Ishmael.");
    refusedIo("holds files but no run.json", () -> RunFolder.open(temporary, TinyRun.RECORD));
    assertEquals(List.of("thesis.txt"), TinyRun.names(temporary));
  }

  @Test
  void whatAKillAtTheStartLeftIsNoOtherThing() throws IOException {
    Files.writeString(temporary.resolve(".lock"), "");
    Files.writeString(temporary.resolve("run.json.tmp"), "{");
    try (RunFolder folder = RunFolder.open(temporary, TinyRun.RECORD)) {
      assertTrue(folder.isFresh());
    }
  }

  @Test
  void aFolderThatCannotBeWrittenIsRefused() throws IOException {
    Path file = Files.writeString(temporary.resolve("file"), "Call me Ishmael.");
    refusedIo(file + " cannot be written in", () -> RunFolder.open(file, TinyRun.RECORD));
    Path below = file.resolve("run");
    refusedIo(below + " cannot be written in", () -> RunFolder.open(below, TinyRun.RECORD));
    Path proc = Path.of("/proc/lethe-run"); // not even root may
    refusedIo(proc + " cannot be written in", () -> RunFolder.open(proc, TinyRun.RECORD));
    assertEquals("Call me Ishmael.", Files.readString(file));
  }

  @Test
  void aDiskTooSmallIsRefused() throws IOException {
    try (RunFolder folder = RunFolder.open(temporary, TinyRun.RECORD)) {
      folder.requireSpace(1);
      String message = refusedIo("left, this run needs", () -> folder.requireSpace(1L << 62));
      assertTrue(message.startsWith(temporary.toString()), message);
    }
  }

  @Test
  void jsonFilesComeBack() throws IOException {
    try (RunFolder folder = RunFolder.open(temporary, TinyRun.RECORD)) {
      assertNull(folder.readJson("result.json"));
      folder.writeJson("result.json", Map.of("loss", 1.5));
      folder.writeJson("result.json", Map.of("loss", 2.5));
      var result = folder.readJson("result.json");
      assertEquals(2.5, result == null ? Double.NaN : result.path("loss").asDouble());
      assertEquals(List.of(".lock", "result.json", "run.json"), TinyRun.names(temporary));
      Files.writeString(temporary.resolve("result.json"), "{\"loss\":");
      refusedIo("result.json is not JSON", () -> folder.readJson("result.json"));
    }
    Files.write(temporary.resolve("run.json"), "{".getBytes(StandardCharsets.UTF_8));
    refusedIo("run.json is not JSON", () -> RunFolder.open(temporary, TinyRun.RECORD));
  }
}
