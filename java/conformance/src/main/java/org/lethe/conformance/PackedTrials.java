package org.lethe.conformance;

import java.util.Arrays;
import org.lethe.kernels.DType;
import org.lethe.kernels.Kernels.Layout;

/** Packed weights and their products. */
final class PackedTrials {
  /** The weights that are packed. */
  private enum Weights {
    /** Alike, as a model's are. */
    NORMAL,
    /** Of every size that a normal number has: more upper bytes in a row than a code can tell. */
    ALL_SIZES,
    /** Alike, but for one in about a hundred. */
    OUTLIERS;

    double[] of(Trial t, int n) {
      double[] values = t.normal(n);
      for (int i = 0; i < n; i++) {
        double size = Math.scalb(1.0, t.random().nextInt(-60, 60));
        switch (this) {
          case NORMAL -> {}
          case ALL_SIZES -> values[i] *= size;
          case OUTLIERS -> values[i] *= t.random().nextInt(100) == 0 ? size : 1;
        }
      }
      return values;
    }
  }

  private PackedTrials() {}

  static void addTo(Trials trials) {
    for (int K : new int[] {1, 31, 33, 64, 65, 127, 576, 4230}) {
      for (Weights weights : Weights.values()) {
        trials.addForReals(
            "pack", "K=%d, %s".formatted(K, weights), (t, dtype) -> pack(t, dtype, K, weights));
        for (int M : new int[] {1, 2, 4, 6, 7}) {
          product(trials, M, 9, K, weights, DType.BF16, 0);
          product(trials, M, 70, K, weights, DType.F32, M);
        }
      }
    }
    product(trials, 64, 33, 130, Weights.OUTLIERS, DType.BF16, 0);
    product(trials, 65, 33, 130, Weights.OUTLIERS, DType.BF16, 0);
    product(trials, 300, 65, 65, Weights.OUTLIERS, DType.F32, 3);
    product(trials, 2, 1500, 130, Weights.OUTLIERS, DType.BF16, 0);
    trials.addForReals("matmul_packed", "with a NaN and infinities", PackedTrials::strange);
  }

  /** What was packed, weight by weight: products with rows that are zeros but for a single one. */
  private static void pack(Trial t, DType dtype, int K, Weights weights) {
    int N = 5;
    int M = Math.min(K, 16);
    int[] picked = new int[M];
    double[] a = new double[M * K];
    for (int i = 0; i < M; i++) {
      picked[i] = i == 0 ? K - 1 : t.random().nextInt(K);
      a[i * K + picked[i]] = 1;
    }
    Operand left = t.input("a", dtype, M, K).set(a);
    Operand b = t.inputView("b", dtype, 3, N, K).set(weights.of(t, N * K));
    Operand c = t.result("c", DType.F32, M, N);
    t.workspace(k -> k.packedBytes(dtype, N, K));
    t.call(
        k -> {
          k.pack(t.workspace(), b.on());
          for (int i = 0; i < M; i++) { // one by one: so few are read packed everywhere
            k.matmulPacked(c.on().rows(i, 1), left.on().rows(i, 1), t.workspace(), b.on());
          }
        });
    double[] values = b.values();
    double[] expected = new double[M * N];
    Arrays.setAll(expected, i -> values[i % N * K + picked[i / N]]);
    t.expect(c, expected);
  }

  private static void product(
      Trials trials, int M, int N, int K, Weights weights, DType result, int gap) {
    var shape = "M=%d N=%d K=%d gap=%d, %s, into %s".formatted(M, N, K, gap, weights, result);
    trials.add("matmul_packed", DType.BF16, shape, t -> product(t, M, N, K, weights, result, gap));
  }

  private static void product(
      Trial t, int M, int N, int K, Weights weights, DType result, int gap) {
    Operand a = t.inputView("a", DType.BF16, gap, M, K);
    Operand b = t.inputView("b", DType.BF16, 2 * gap, N, K).set(weights.of(t, N * K));
    compare(t, a, b, result, gap);
  }

  private static void strange(Trial t, DType dtype) {
    int K = 70;
    double[] values = t.normal(3 * K);
    values[2] = Double.NaN;
    values[K + 66] = Double.POSITIVE_INFINITY;
    values[2 * K + 5] = Double.NEGATIVE_INFINITY;
    Operand a = t.input("a", dtype, 4, K);
    Operand b = t.input("b", dtype, 3, K).set(values);
    compare(t, a, b, DType.F32, 0);
  }

  /** Against the reference, and against the product of what was not packed, bit for bit. */
  private static void compare(Trial t, Operand a, Operand b, DType result, int gap) {
    Operand c = t.resultView("c", result, gap, a.rows, b.rows);
    Operand plain = t.resultView("c of matmul", result, gap, a.rows, b.rows);
    t.workspace(k -> k.packedBytes(a.dtype, b.rows, b.width));
    t.call(
        k -> {
          k.pack(t.workspace(), b.on());
          k.matmulPacked(c.on(), a.on(), t.workspace(), b.on());
          k.matmul(plain.on(), a.on(), b.on(), Layout.NT, false);
        });
    t.expect(
        c,
        Reference.matmul(a.values(), b.values(), Layout.NT, a.rows, b.rows, b.width),
        Math.sqrt(b.width) / 4);
    t.expectSameBits(c, plain);
  }
}
