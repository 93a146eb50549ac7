package org.lethe.model;

import java.lang.foreign.MemorySegment;
import org.jspecify.annotations.Nullable;

/** Where parameters come from: a file, or a model in memory. */
public interface ParameterSource {
  /**
   * Reads elements of a parameter as F32.
   *
   * @param name as Hugging Face calls it
   * @param first the first element wanted
   * @param f32 filled: as many elements as it holds
   */
  void read(String name, long first, MemorySegment f32);

  /** The whole parameter as stored, where that is plain BF16; else null. */
  default @Nullable MemorySegment bf16(String name) {
    return null;
  }
}
