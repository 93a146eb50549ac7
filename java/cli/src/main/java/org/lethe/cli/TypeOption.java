package org.lethe.cli;

import org.lethe.kernels.DType;
import picocli.CommandLine.Option;

/** {@code --dtype}: what activations and products are computed in. */
final class TypeOption {
  /** As users write it. */
  enum Type {
    bf16(DType.BF16),
    f32(DType.F32);

    private final DType dtype;

    Type(DType dtype) {
      this.dtype = dtype;
    }

    DType dtype() {
      return dtype;
    }
  }

  @Option(
      names = "--dtype",
      paramLabel = "TYPE",
      defaultValue = "bf16",
      description = "bf16 (accumulated in fp32; default) or f32")
  Type type = Type.bf16;

  DType dtype() {
    return type.dtype();
  }
}
