package org.lethe.format;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.function.Executable;
import org.junit.jupiter.api.io.TempDir;
import org.lethe.model.LlamaConfig;
import org.lethe.model.ParameterSource;

/** A writer writes all of a model, or leaves the folder as it found it. */
final class ModelWriterTest {
  @TempDir Path folder;

  private final TinyLlama llama = TinyLlama.of(false, null);

  private static String refusal(Executable write) {
    return String.valueOf(assertThrows(ModelFormatException.class, write).getMessage());
  }

  private void writeDirectory(Path path, ParameterSource source) {
    ModelWriter.writeHuggingFace(path, llama.config, StoredType.F16, Map.of(), source);
  }

  private void writeGguf(Path path, ParameterSource source) {
    ModelWriter.writeGguf(path, llama.config, StoredType.F16, Map.of(), source);
  }

  @Test
  void whatExistsIsNotOverwritten() throws IOException {
    Path target = folder.resolve("model.gguf");
    Files.write(target, new byte[] {1, 2, 3});
    String expected = target + ": exists already; it is not overwritten";
    assertEquals(expected, refusal(() -> writeGguf(target, llama)));
    assertEquals(expected, refusal(() -> writeDirectory(target, llama)));
    assertArrayEquals(new byte[] {1, 2, 3}, Files.readAllBytes(target));
    assertEquals(List.of("model.gguf"), RoundTripTest.files(folder));
  }

  @Test
  void aMissingFolderIsNamed() {
    Path target = folder.resolve("no/such/model");
    assertEquals(
        target + ": cannot be written: there is no folder " + folder.resolve("no/such"),
        refusal(() -> writeDirectory(target, llama)));
    assertEquals(List.of(), RoundTripTest.files(folder));
  }

  @Test
  void aSourceThatFailsMidwayLeavesNothing() {
    ParameterSource failing =
        (name, first, f32) -> {
          if (name.equals("model.layers.1.mlp.up_proj.weight")) {
            throw new IllegalStateException("the source failed");
          }
          llama.read(name, first, f32);
        };
    Path target = folder.resolve("model");
    assertThrows(IllegalStateException.class, () -> writeDirectory(target, failing));
    assertThrows(IllegalStateException.class, () -> writeGguf(target, failing));
    assertEquals(List.of(), RoundTripTest.files(folder));
  }

  @Test
  void whatTheTypeCannotHoldIsNotWritten() {
    for (float bad : new float[] {Float.NaN, Float.NEGATIVE_INFINITY, 70_000}) {
      llama.weight("model.norm.weight")[5] = 1;
      llama.weight("model.layers.0.mlp.up_proj.weight")[5] = bad;
      Path target = folder.resolve("model");
      String message =
          target
              + ": tensor 'model.layers.0.mlp.up_proj.weight' cannot be written as F16: it has the"
              + " element "
              + bad
              + " (element 5 of (64, 32))";
      assertEquals(message, refusal(() -> writeDirectory(target, llama)));
      assertEquals(message, refusal(() -> writeGguf(target, llama)));
      assertEquals(List.of(), RoundTripTest.files(folder));
    }
  }

  @Test
  void aModelLargerThanTheDiskIsRefusedBeforeItIsRead() {
    LlamaConfig huge =
        new LlamaConfig(
            1 << 24, 1 << 24, 1 << 24, 4096, 1, 1, 2, 128, 1e-5, 1e4, null, false, 1, 2);
    ParameterSource unread =
        (name, first, f32) -> {
          throw new AssertionError("read " + name);
        };
    Path target = folder.resolve("model.gguf");
    String message =
        refusal(() -> ModelWriter.writeGguf(target, huge, StoredType.F16, Map.of(), unread));
    assertTrue(
        message.matches(".*model.gguf: takes [0-9,]+ bytes, its disk has [0-9,]+ free"), message);
    assertEquals(List.of(), RoundTripTest.files(folder));
  }

  @Test
  void aTokenizerOfAnotherSizeIsRefused() {
    Path target = folder.resolve("model.gguf");
    assertEquals(
        target + ": the tokenizer has 2 tokens, the model 11",
        refusal(
            () ->
                ModelWriter.writeGguf(
                    target,
                    llama.config,
                    StoredType.F32,
                    Map.of("tokenizer.ggml.tokens", List.of("a", "b")),
                    llama)));
  }

  @Test
  void extraFilesCannotStandInForTheModelsOwnOrClimbOut() {
    for (String name : List.of("", "../x", "config.json", "model.safetensors", ".hidden")) {
      assertThrows(
          IllegalArgumentException.class,
          () ->
              ModelWriter.writeHuggingFace(
                  folder.resolve("model"),
                  llama.config,
                  StoredType.F32,
                  Map.of(name, new byte[0]),
                  llama),
          name);
    }
    assertEquals(List.of(), RoundTripTest.files(folder));
  }

  @Test
  void kindsThatAreOnlyReadAreRefused() {
    Path target = folder.resolve("model");
    for (StoredType type : List.of(StoredType.Q4_0, StoredType.Q4_1)) {
      assertThrows(
          IllegalArgumentException.class,
          () -> ModelWriter.writeGguf(target, llama.config, type, Map.of(), llama));
    }
    assertThrows(
        IllegalArgumentException.class,
        () -> ModelWriter.writeHuggingFace(target, llama.config, StoredType.Q8_0, Map.of(), llama));
    assertEquals(List.of(), RoundTripTest.files(folder));
  }
}
