package org.lethe.unlearn;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.lethe.train.TrainingBlock;

class LabelFileTest {
  private static final byte[] MAKES = {'{', '}'};
  private static final int[][] NONE = {{-100}, {-100}, {-100}};

  @TempDir private Path folder;

  private Path file(String... lines) throws IOException {
    return Files.write(folder.resolve("labels.jsonl"), List.of(lines));
  }

  private static IllegalArgumentException refused(Path file, String key) {
    return assertThrows(IllegalArgumentException.class, () -> LabelFile.read(file, key, 100));
  }

  @Test
  void whatIsWrittenIsReadByEachKey() throws Exception {
    Path file = folder.resolve("labels.jsonl");
    int[] first = {1, 99, 7};
    int[] second = {5};
    try (LabelFile.Writer writer = LabelFile.create(file, MAKES)) {
      writer.write(first, new int[][] {{-100, 3, 7}, {-100, 99, 7}, {-100, 0, -100}});
      writer.write(second, new int[][] {{-100}, {-100}, {-100}});
      writer.commit();
    }
    assertEquals(
        List.of(
            "{\"input_ids\": [1, 99, 7], \"labels\": [-100, 3, 7], \"labels_0.5\": [-100, 99, 7], \"labels_2\": [-100, 0, -100]}",
            "{\"input_ids\": [5], \"labels\": [-100], \"labels_0.5\": [-100], \"labels_2\": [-100]}"),
        Files.readAllLines(file));

    int[][] expected = {{-100, 3, 7}, {-100, 99, 7}, {-100, 0, -100}};
    for (int a = 0; a < expected.length; a++) {
      List<TrainingBlock> blocks = LabelFile.read(file, LabelFile.KEYS.get(a), 100);
      assertEquals(2, blocks.size());
      assertArrayEquals(first, blocks.getFirst().inputs());
      assertArrayEquals(expected[a], blocks.getFirst().labels());
      assertArrayEquals(second, blocks.getLast().inputs());
    }
  }

  @Test
  void nothingAppearsBeforeItIsWhole() throws Exception {
    Path file = file("the file before");
    try (LabelFile.Writer writer = LabelFile.create(file, MAKES)) {
      writer.write(new int[] {1}, NONE);
    }
    assertEquals(List.of("the file before"), Files.readAllLines(file));
  }

  @Test
  void theSameLabelsGoOnBehindTheLastWholeLine() throws Exception {
    Path file = folder.resolve("labels.jsonl");
    try (LabelFile.Writer writer = LabelFile.create(file, MAKES)) {
      assertEquals(0, writer.lines());
      writer.write(new int[] {1}, NONE);
      writer.write(new int[] {2}, NONE);
      var error = assertThrows(IOException.class, () -> LabelFile.create(file, MAKES));
      assertEquals(
          "another run is writing " + folder.resolve("labels.jsonl.part"), error.getMessage());
    }
    Path aside = folder.resolve("labels.jsonl.part");
    String cut = Files.readString(aside);
    Files.writeString(aside, cut.substring(0, cut.length() - 3)); // killed while it wrote
    try (LabelFile.Writer writer = LabelFile.create(file, MAKES)) {
      assertEquals(1, writer.lines());
      writer.write(new int[] {3}, NONE);
      assertEquals(2, writer.lines());
    }
    try (LabelFile.Writer writer = LabelFile.create(file, new byte[] {'0'})) {
      assertEquals(0, writer.lines(), "other labels");
    }
    assertFalse(Files.exists(aside), "empty");
    try (LabelFile.Writer writer = LabelFile.create(file, MAKES)) {
      writer.write(new int[] {4}, NONE);
      writer.commit();
    }
    assertEquals(1, LabelFile.read(file, "labels", 100).size());
    try (Stream<Path> left = Files.list(folder)) {
      assertEquals(List.of(file), left.toList());
    }
  }

  @Test
  void labelsOfAnotherLengthAreNotWritten() throws Exception {
    try (LabelFile.Writer writer = LabelFile.create(folder.resolve("labels.jsonl"), MAKES)) {
      int[] inputIds = {1, 2};
      int[][] labels = {{-100, 3}, {-100}, {-100, 3}};
      var error =
          assertThrows(IllegalArgumentException.class, () -> writer.write(inputIds, labels));
      assertEquals("1 labels_0.5 for 2 tokens", error.getMessage());
    }
  }

  @Test
  void keysThatNobodyAskedForAreSkipped() throws Exception {
    Path file =
        file(
            "{\"note\": {\"a\": [1, {\"b\": 2}]}, \"labels\": [-100], \"input_ids\": [4], \"x\": null}");
    assertArrayEquals(new int[] {4}, LabelFile.read(file, "labels", 100).getFirst().inputs());
  }

  @Test
  void theInputsCanBeTheirOwnLabels() throws Exception {
    Path file = file("{\"input_ids\": [4, 5]}");
    assertArrayEquals(new int[] {4, 5}, LabelFile.read(file, "input_ids", 100).getFirst().labels());
  }

  @Test
  void aMissingKeyIsNamedWithThoseFound() throws Exception {
    Path file = file("{\"input_ids\": [4], \"labels\": [-100], \"labels_2\": [-100]}");
    assertEquals(
        file + ", line 1: there is no 'labels_4'; it has: input_ids, labels, labels_2",
        refused(file, "labels_4").getMessage());
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      quoteCharacter = '`',
      value = {
        "{\"input_ids\": [1, 2], \"labels\": [-100]}| 2 input_ids and 1 labels",
        "{\"input_ids\": [], \"labels\": []}| 0 input_ids and 0 labels",
        "{\"input_ids\": [100], \"labels\": [-100]}| 'input_ids'[0] is 100, the model's vocabulary has tokens 0 to 99",
        "{\"input_ids\": [-100], \"labels\": [-100]}| 'input_ids'[0] is -100",
        "{\"input_ids\": [1, 2], \"labels\": [-100, -1]}| 'labels'[1] is -1",
        "{\"input_ids\": [1, 2], \"labels\": [-100, 100]}| 'labels'[1] is 100",
        "{\"input_ids\": [1.5], \"labels\": [-100]}| 'input_ids'[0] must be a whole number",
        "{\"input_ids\": [[1]], \"labels\": [-100]}| 'input_ids'[0] must be a whole number",
        "{\"input_ids\": [99999999999], \"labels\": [-100]}| out of range",
        "{\"input_ids\": 1, \"labels\": [-100]}| 'input_ids' must be a list of whole numbers",
        "{\"input_ids\": [1], \"input_ids\": [1], \"labels\": [-100]}| 'input_ids' comes twice",
        "[1]| there must be one object a line",
        "{\"input_ids\": [1, 2| ",
        "{\"input_ids\": [1], \"labels\": [-100]} {}| there must be one object a line",
        "{\"input_ids\": [1], \"labels\": [-100]} x| ",
      })
  void aMalformedLineIsRefusedWithItsNumber(String line, String message) throws Exception {
    Path file = file("{\"input_ids\": [4], \"labels\": [-100]}", "", line);
    String found = String.valueOf(refused(file, "labels").getMessage());
    assertTrue(found.startsWith(file + ", line 3: "), found);
    assertTrue(found.contains(message == null ? "" : message), found);
  }

  @Test
  void anObjectOverSeveralLinesIsRefused() throws Exception {
    Path file = file("{\"input_ids\": [1],", "\"labels\": [-100]}");
    assertEquals(
        file + ", line 1: the object does not end on its line",
        refused(file, "labels").getMessage());
  }

  @Test
  void anEmptyFileIsRefused() throws Exception {
    Path file = file();
    assertEquals(file + " has no lines: label a text first", refused(file, "labels").getMessage());
  }

  @Test
  void aBlockWithoutEndIsRefusedBeforeItFillsTheMemory() throws Exception {
    Path file = file("{\"input_ids\": [" + "1,".repeat(1 << 20) + "1], \"labels\": [-100]}");
    assertEquals(
        file + ", line 1: 'input_ids' has more than 1048576 entries",
        refused(file, "labels").getMessage());
  }
}
