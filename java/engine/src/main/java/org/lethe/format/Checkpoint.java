package org.lethe.format;

import java.lang.foreign.MemorySegment;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.jspecify.annotations.Nullable;
import org.lethe.model.LlamaConfig;
import org.lethe.model.ParameterSource;

/**
 * A Llama on disk: a Hugging Face directory ({@code config.json} with {@code model.safetensors} or
 * the shards that {@code model.safetensors.index.json} lists) or a GGUF file. Opening checks
 * configuration, names, shapes and places of all tensors against each other and against the file,
 * without reading their data; what is open is safe to read. Reads may come from several threads.
 */
public interface Checkpoint extends ParameterSource, AutoCloseable {

  /**
   * Opens {@code path}, a folder or a {@code .gguf} file.
   *
   * @throws ModelFormatException where it is missing, malformed, or no Llama
   */
  static Checkpoint open(Path path) {
    if (Files.isDirectory(path)) {
      return HuggingFaceCheckpoint.open(path);
    }
    if (path.toString().endsWith(".safetensors")) {
      throw new ModelFormatException(
          path, "is one file of a model; give the folder that it lies in");
    }
    return GgufCheckpoint.open(path);
  }

  /**
   * The sizes and constants of a model, of whose folder only {@code config.json} need be there.
   *
   * @throws ModelFormatException where it is missing, malformed, or no Llama
   */
  static LlamaConfig configOf(Path path) {
    if (Files.isDirectory(path)) {
      return HuggingFaceConfig.read(path.resolve(HuggingFaceCheckpoint.CONFIG));
    }
    try (Checkpoint checkpoint = open(path)) {
      return checkpoint.config();
    }
  }

  /** The folder or file that was opened. */
  Path path();

  /** Its sizes and constants. */
  LlamaConfig config();

  /**
   * Hugging Face names of all tensors: embedding, then layer after layer, the last norm, and {@code
   * lm_head.weight} unless the head is tied.
   */
  List<String> tensors();

  /** How the file stores a tensor. */
  Stored stored(String name);

  /**
   * {@inheritDoc}
   *
   * @throws IllegalArgumentException for a tensor that the model does not have or elements beyond
   *     it
   */
  @Override
  void read(String name, long first, MemorySegment f32);

  /**
   * The tensor's bytes in the file, mapped, valid until {@link #close}, where they are plain and
   * aligned F32 or BF16 in Hugging Face order; else null, and {@link #read} gives the elements.
   */
  @Nullable MemorySegment raw(String name);

  @Override
  default @Nullable MemorySegment bf16(String name) {
    return stored(name).type() == StoredType.BF16 ? raw(name) : null;
  }

  /** Lets go of the files. */
  @Override
  void close();

  /**
   * How a tensor is stored.
   *
   * @param shape (rows, columns) of a matrix, (elements) of a norm's weight
   */
  @SuppressWarnings("ArrayRecordComponent") // made anew for each caller
  record Stored(StoredType type, long[] shape) {}
}
