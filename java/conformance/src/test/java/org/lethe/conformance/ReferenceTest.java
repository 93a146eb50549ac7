package org.lethe.conformance;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.util.Arrays;
import java.util.SplittableRandom;
import java.util.function.UnaryOperator;
import org.junit.jupiter.api.Test;
import org.lethe.kernels.Kernels;

/** The references' backward against central finite differences of their forward, in double. */
class ReferenceTest {
  private static final double STEP = 1e-5;

  private final SplittableRandom random = new SplittableRandom(1);

  private double[] normal(int n) {
    double[] x = new double[n];
    Arrays.setAll(x, i -> random.nextGaussian());
    return x;
  }

  /** gradient[i] must be the derivative of sum(forward(x) * dOut) by x[i]. */
  private void assertGradient(
      String of, double[] gradient, UnaryOperator<double[]> forward, double[] x, double[] dOut) {
    for (int i = 0; i < x.length; i++) {
      double slope = (along(forward, x, i, STEP, dOut) - along(forward, x, i, -STEP, dOut)) / 2;
      assertEquals(slope / STEP, gradient[i], 1e-7 * (1 + Math.abs(gradient[i])), of + " at " + i);
    }
  }

  private static double along(
      UnaryOperator<double[]> forward, double[] x, int i, double step, double[] dOut) {
    double[] moved = x.clone();
    moved[i] += step;
    double[] out = forward.apply(moved);
    double sum = 0;
    for (int j = 0; j < out.length; j++) {
      sum += out[j] * dOut[j];
    }
    return sum;
  }

  @Test
  void embedding() {
    int[] tokens = {2, 0, 2};
    double[] dOut = normal(3 * 4);
    double[] dTable = Reference.embeddingBackward(new double[3 * 4], dOut, tokens, 4);
    assertGradient(
        "embedding", dTable, table -> Reference.gatherRows(table, tokens, 4), normal(12), dOut);
  }

  @Test
  void rmsnorm() {
    double[] x = normal(3 * 7);
    double[] weight = normal(7);
    double[] dY = normal(3 * 7);
    double[] rstd = Reference.rstd(x, 7, 1e-2);
    assertGradient(
        "rmsnorm x",
        Reference.rmsnormBackwardX(dY, x, weight, rstd),
        moved -> Reference.rmsnorm(moved, Reference.rstd(moved, 7, 1e-2), weight),
        x,
        dY);
    assertGradient(
        "rmsnorm weight",
        Reference.rmsnormBackwardWeight(dY, x, rstd, 7),
        moved -> Reference.rmsnorm(x, rstd, moved),
        weight,
        dY);
  }

  @Test
  void ropeTurnedTheOtherWay() {
    double[] table = Reference.ropeTable(5, 6, 10000);
    int[] positions = {4, 1};
    double[] dOut = normal(2 * 2 * 6);
    assertGradient(
        "rope",
        Reference.rope(dOut, table, positions, true, 6),
        x -> Reference.rope(x, table, positions, false, 6),
        normal(2 * 2 * 6),
        dOut);
  }

  @Test
  void attentionWithGroupedHeads() {
    var h = new Kernels.Heads(2, 5, 4, 2, 3);
    double[] q = normal(2 * 5 * 4 * 3);
    double[] k = normal(2 * 5 * 2 * 3);
    double[] v = normal(2 * 5 * 2 * 3);
    double[] dOut = normal(q.length);
    var forward = Reference.attention(q, k, v, h);
    var g = Reference.attentionBackward(dOut, forward.out(), forward.lse(), q, k, v, h);
    assertGradient("attention q", g.dQ(), x -> Reference.attention(x, k, v, h).out(), q, dOut);
    assertGradient("attention k", g.dK(), x -> Reference.attention(q, x, v, h).out(), k, dOut);
    assertGradient("attention v", g.dV(), x -> Reference.attention(q, k, x, h).out(), v, dOut);
  }

  @Test
  void attentionForOneTokenIsTheLastRowOfAttention() {
    int T = 6;
    var h = new Kernels.Heads(1, T, 4, 2, 3);
    double[] q = normal(T * 4 * 3);
    double[] k = normal(T * 2 * 3);
    double[] v = normal(T * 2 * 3);
    double[] all = Reference.attention(q, k, v, h).out();
    double[] last = Arrays.copyOfRange(q, q.length - 12, q.length);
    double[] out =
        Reference.attentionDecode(
            last, headsFirst(k, T, 2, 3), headsFirst(v, T, 2, 3), h, T, new int[] {T});
    for (int i = 0; i < 12; i++) {
      assertEquals(all[all.length - 12 + i], out[i], 1e-14);
    }
  }

  /** (T, heads, D) as (heads, T, D). */
  private static double[] headsFirst(double[] x, int T, int heads, int D) {
    double[] y = new double[x.length];
    for (int i = 0; i < x.length; i++) {
      y[(i / D % heads * T + i / D / heads) * D + i % D] = x[i];
    }
    return y;
  }

  @Test
  void swiglu() {
    double[] gate = normal(10);
    double[] up = normal(10);
    double[] dOut = normal(10);
    double[] dGate = Reference.swigluBackwardGate(dOut, gate, up);
    double[] dUp = Reference.swigluBackwardUp(dOut, gate);
    assertGradient("swiglu gate", dGate, x -> Reference.swiglu(x, up), gate, dOut);
    assertGradient("swiglu up", dUp, x -> Reference.swiglu(gate, x), up, dOut);
  }

  @Test
  void matmulWhoseGradientsAreTheOtherLayouts() {
    double[] a = normal(3 * 4);
    double[] b = normal(5 * 4);
    double[] dC = normal(3 * 5);
    assertGradient(
        "matmul a",
        Reference.matmul(dC, b, Kernels.Layout.NN, 3, 4, 5),
        x -> Reference.matmul(x, b, Kernels.Layout.NT, 3, 5, 4),
        a,
        dC);
    assertGradient(
        "matmul b",
        Reference.matmul(dC, a, Kernels.Layout.TN, 5, 4, 3),
        x -> Reference.matmul(a, x, Kernels.Layout.NT, 3, 5, 4),
        b,
        dC);
  }

  @Test
  void crossEntropy() {
    int[] targets = {1, Kernels.IGNORE, 6};
    double[] logits = normal(3 * 7);
    double[] minusOnes = {-1, -1, -1};
    assertGradient(
        "cross entropy",
        Reference.crossEntropyBackward(logits, targets, 7, 1),
        x -> Reference.tokenLogprobs(x, targets, 7),
        logits,
        minusOnes);
  }
}
