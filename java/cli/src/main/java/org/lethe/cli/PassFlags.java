package org.lethe.cli;

import org.lethe.kernels.DType;
import org.lethe.model.Llama;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

/** The training options that decide how much memory and time a step takes. */
final class PassFlags {
  @Option(
      names = "--batch",
      defaultValue = "8",
      description = "blocks in one pass (default ${DEFAULT-VALUE})")
  int batch;

  @Option(
      names = "--accumulate",
      defaultValue = "16",
      description = "passes in one optimizer step (default ${DEFAULT-VALUE})")
  int accumulate;

  @Option(
      names = "--recompute",
      negatable = true,
      defaultValue = "false",
      fallbackValue = "true",
      description =
          "keep only the layers' inputs, and run each layer forward again in the backward pass:"
              + " less memory, a third more work, the same bits (default: no)")
  boolean recompute;

  @Option(
      names = "--head-rows",
      paramLabel = "N",
      defaultValue = "512",
      description = "rows of logits in memory at a time (default ${DEFAULT-VALUE})")
  int headRows;

  @Option(
      names = "--gradient-dtype",
      paramLabel = "TYPE",
      defaultValue = "f32",
      description = "f32 (default) or bf16")
  TypeOption.Type gradientType = TypeOption.Type.f32;

  @Option(
      names = "--moment-dtype",
      paramLabel = "TYPE",
      defaultValue = "f32",
      description = "AdamW's moments: f32 (default), or bf16, rounded stochastically")
  TypeOption.Type momentType = TypeOption.Type.f32;

  @Mixin TypeOption type = new TypeOption();

  DType dtype() {
    return type.dtype();
  }

  Llama.Memory memory() {
    return new Llama.Memory(recompute, headRows);
  }
}
