package org.lethe.conformance;

import java.util.Locale;
import org.lethe.kernels.DType;

/**
 * The table of what an operation may be wrong by: ||found - reference|| / ||reference|| at most. A
 * bf16 result carries its own rounding (2⁻⁸ = 3.9e-3 for the worst single element, 1.7e-3 over
 * many), and where products are taken in bf16 that of an intermediate as well. Zero asks for the
 * exact number.
 */
enum Tolerance {
  FILL(0, 0, 0),
  CONVERT(0, 0, 0),
  SPLIT(0, 0, 0),
  JOIN(0, 0, 0),
  GATHER_ROWS(0, 0, 0),
  SCATTER_ROWS(0, 0, 0),
  EMBEDDING(0, 0, 0),
  EMBEDDING_BACKWARD(1e-6, 4e-3, 1e-6),
  RMSNORM(1e-6, 4e-3, 1e-6),
  RMSNORM_BACKWARD(2e-6, 4e-3, 2e-6),
  ROPE(1e-6, 4e-3, 1e-6),
  ATTENTION(2e-6, 5e-3, 1e-3),
  ATTENTION_BACKWARD(5e-6, 1e-2, 1e-3),
  CACHE_WRITE(0, 0, 0),
  ATTENTION_DECODE(2e-6, 5e-3, 1e-3),
  SWIGLU(1e-6, 4e-3, 1e-6),
  SWIGLU_BACKWARD(2e-6, 4e-3, 2e-6),
  MATMUL(2e-6, 4e-3, 2e-6),
  PACK(0, 0, 0),
  MATMUL_PACKED(2e-6, 4e-3, 2e-6),
  CROSS_ENTROPY(1e-5, 4e-3, 1e-5),
  TOKEN_LOGPROBS(1e-6, 1e-6, 1e-6),
  TOP_K(3e-6, 3e-6, 3e-6),
  ARGMAX(0, 0, 0),
  GENERIC_LABELS(0, 0, 0),
  ADAMW(3e-7, 6e-3, 3e-7),
  SUM_OF_SQUARES(1e-14, 1e-14, 1e-14);

  private final double f32;
  private final double bf16;
  private final double mixed;

  /**
   * @param f32 fp32 results of fp32 operands
   * @param bf16 bf16 results
   * @param mixed fp32 results of bf16 operands
   */
  Tolerance(double f32, double bf16, double mixed) {
    this.f32 = f32;
    this.bf16 = bf16;
    this.mixed = mixed;
  }

  /** The row of an operation; rows are in the order of {@code lethe.h}. */
  static Tolerance of(String operation) {
    return valueOf(operation.toUpperCase(Locale.ROOT));
  }

  static double of(String operation, DType operands, DType result) {
    Tolerance row = of(operation);
    return switch (result) {
      case BF16 -> row.bf16;
      case F32, F64 -> operands == DType.BF16 ? row.mixed : row.f32;
      case I16, I32, BYTE -> 0;
    };
  }
}
