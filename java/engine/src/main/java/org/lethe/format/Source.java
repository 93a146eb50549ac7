package org.lethe.format;

import java.lang.foreign.MemorySegment;

/** Where the elements of a model's tensors come from: a {@link Checkpoint}, a model in memory. */
@FunctionalInterface
public interface Source extends org.lethe.model.ParameterSource {
  /**
   * Writes elements {@code first}.. of the tensor (row after row, in Hugging Face order) into
   * {@code f32} as F32, as many as fit.
   *
   * @param name its Hugging Face name
   */
  @Override
  void read(String name, long first, MemorySegment f32);
}
