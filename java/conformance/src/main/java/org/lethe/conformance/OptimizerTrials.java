package org.lethe.conformance;

import java.util.Arrays;
import org.lethe.kernels.DType;
import org.lethe.kernels.Kernels;

/** AdamW on fp32 and on halves, and the sum of squares. */
final class OptimizerTrials {
  private OptimizerTrials() {}

  static void addTo(Trials trials) {
    var first = new Kernels.AdamW(1e-2f, 0.9f, 0.999f, 1e-8f, 0.1f, 0.5f, 1, 42);
    var later = new Kernels.AdamW(1e-3f, 0.9f, 0.98f, 1e-6f, 0, 1, 1000, 43);
    for (int n : Trials.SIZES) {
      for (DType gradient : Trials.REALS) {
        for (DType moments : Trials.REALS) {
          for (Kernels.AdamW how : new Kernels.AdamW[] {first, later}) {
            String title =
                "n=%d gradients %s moments %s step %d".formatted(n, gradient, moments, how.step());
            trials.add("adamw", DType.F32, title, t -> adamw(t, n, false, gradient, moments, how));
            trials.add(
                "adamw",
                DType.F32,
                title + " in halves",
                t -> adamw(t, n, true, gradient, moments, how));
          }
        }
      }
      trials.addForReals(
          "sum_of_squares", "n=" + n, (t, dtype) -> sumOfSquares(t, t.input("x", dtype, n)));
    }
    trials.addForReals(
        "sum_of_squares", "n=100003", (t, dtype) -> sumOfSquares(t, t.input("x", dtype, 100003)));
    for (double strange : new double[] {1e30, Double.NaN, Double.NEGATIVE_INFINITY}) {
      trials.addForReals(
          "sum_of_squares",
          "with " + strange,
          (t, dtype) -> {
            double[] values = t.normal(1000);
            values[997] = strange;
            sumOfSquares(t, t.input("x", dtype, 1000).set(values));
          });
    }
  }

  private static void adamw(
      Trial t, int n, boolean halves, DType gradient, DType moments, Kernels.AdamW how) {
    Operand exact = t.updated("weight", halves ? DType.BF16 : DType.F32, n);
    Operand low = null;
    double[] weights = exact.values();
    if (halves) {
      int[] bits =
          Arrays.stream(t.normal(n)).mapToInt(x -> Float.floatToRawIntBits((float) x)).toArray();
      exact.setBits(MovingTrials.high(bits));
      low = t.updated("low", DType.I16, n).setBits(bits);
      weights = Arrays.stream(bits).mapToDouble(Float::intBitsToFloat).toArray();
    }
    Operand lowHalf = low;
    Operand g = t.input("gradient", gradient, n);
    Operand m = t.updated("m", moments, n);
    Operand v = t.updated("v", moments, n);
    v.set(Arrays.stream(v.values()).map(Math::abs).toArray());
    t.call(
        k ->
            k.adamw(
                exact.on(), lowHalf == null ? null : lowHalf.on(), g.on(), m.on(), v.on(), how, 7));
    var expected = Reference.adamw(weights, g.values(), m.values(), v.values(), how);
    t.expect(m, expected.m(), 0.1);
    t.expect(v, expected.v(), 0.1);
    t.expect(
        "weight",
        lowHalf == null ? exact::found : () -> join(exact, lowHalf),
        expected.weight(),
        // a moment rounded to bf16 moves the step by half a percent
        moments == DType.BF16
            ? 6e-3 * how.learningRate()
            : Tolerance.of("adamw", DType.F32, DType.F32),
        1);
  }

  private static double[] join(Operand hi, Operand lo) {
    int[] high = hi.foundBits();
    int[] low = lo.foundBits();
    double[] joined = new double[high.length];
    Arrays.setAll(joined, i -> Float.intBitsToFloat((high[i] << 16) + (short) low[i]));
    return joined;
  }

  private static void sumOfSquares(Trial t, Operand x) {
    Operand result = t.result("result", DType.F64, 1);
    t.call(k -> k.sumOfSquares(result.on(), x.on()));
    t.expect(result, new double[] {Reference.sumOfSquares(x.values())});
  }
}
