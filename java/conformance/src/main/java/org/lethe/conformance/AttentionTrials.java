package org.lethe.conformance;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.lethe.kernels.DType;
import org.lethe.kernels.Kernels;

/** Causal attention, its backward, its cache, and one new token against the cache. */
final class AttentionTrials {
  private AttentionTrials() {}

  private record Shape(Kernels.Heads heads, int gap) {
    @Override
    public String toString() {
      return "B=%d T=%d Hq=%d Hkv=%d D=%d gap=%d"
          .formatted(heads.B(), heads.T(), heads.Hq(), heads.Hkv(), heads.D(), gap);
    }
  }

  private static List<Shape> shapes() {
    var shapes = new ArrayList<Shape>();
    for (int T : new int[] {1, 2, 3, 63, 64, 65, 127, 257}) {
      shapes.add(new Shape(new Kernels.Heads(1, T, 3, 3, 64), 0));
      shapes.add(new Shape(new Kernels.Heads(2, T, 6, 2, 64), 9));
    }
    for (int D : new int[] {1, 2, 3, 16, 63, 65, 80, 96, 127, 128, 256}) {
      shapes.add(new Shape(new Kernels.Heads(2, 37, 4, 2, D), 0));
      shapes.add(new Shape(new Kernels.Heads(1, 70, 2, 1, D), 3));
    }
    shapes.add(new Shape(new Kernels.Heads(1, 130, 9, 3, 64), 0));
    shapes.add(new Shape(new Kernels.Heads(3, 5, 8, 1, 128), 1));
    return shapes;
  }

  static void addTo(Trials trials) {
    for (Shape s : shapes()) {
      trials.addForReals("attention", s.toString(), (t, dtype) -> forward(t, dtype, s));
      trials.addForReals("attention_backward", s.toString(), (t, dtype) -> backward(t, dtype, s));
      trials.addForReals("cache_write", s.toString(), (t, dtype) -> cacheWrite(t, dtype, s));
      trials.addForReals("attention_decode", s.toString(), (t, dtype) -> decode(t, dtype, s));
    }
    trials.addForReals("attention", "scores of hundreds", AttentionTrials::largeScores);
    for (int j : new int[] {0, 40, 63, 64, 99}) {
      for (String what : List.of("k", "v", "q")) {
        trials.addForReals(
            "attention",
            "a NaN in %s at %d is not seen before it".formatted(what, j),
            (t, dtype) -> nanIsCausal(t, dtype, what, j));
      }
    }
  }

  private static Operand queries(Trial t, String name, DType dtype, Shape s) {
    Kernels.Heads h = s.heads;
    return t.inputView(name, dtype, s.gap, h.B() * h.T(), h.Hq() * h.D());
  }

  private static Operand keys(Trial t, String name, DType dtype, Shape s) {
    Kernels.Heads h = s.heads;
    return t.inputView(name, dtype, s.gap * 2, h.B() * h.T(), h.Hkv() * h.D());
  }

  private static void forward(Trial t, DType dtype, Shape s) {
    forward(t, dtype, s, queries(t, "q", dtype, s), keys(t, "k", dtype, s), keys(t, "v", dtype, s));
  }

  private static void forward(Trial t, DType dtype, Shape s, Operand q, Operand k, Operand v) {
    Kernels.Heads h = s.heads;
    Operand out = t.resultView("out", dtype, s.gap + 1, h.B() * h.T(), h.Hq() * h.D());
    Operand lse = t.result("lse", DType.F32, h.B(), h.Hq(), h.T());
    t.call(kernels -> kernels.attention(out.on(), lse.on(), q.on(), k.on(), v.on(), h));
    var expected = Reference.attention(q.values(), k.values(), v.values(), h);
    t.expect(out, expected.out());
    t.expect(lse, expected.lse(), 1);
  }

  /** fp32 knows a score of 1000 to 1e-4, and with it the probabilities. */
  private static void largeScores(Trial t, DType dtype) {
    var s = new Shape(new Kernels.Heads(1, 70, 2, 1, 64), 0);
    Operand q = queries(t, "q", dtype, s);
    Operand k = keys(t, "k", dtype, s);
    Operand v = keys(t, "v", dtype, s);
    q.set(Arrays.stream(q.values()).map(x -> x * 16).toArray());
    k.set(Arrays.stream(k.values()).map(x -> x * 16).toArray());
    Operand out = t.result("out", dtype, 70, 128);
    t.call(kernels -> kernels.attention(out.on(), null, q.on(), k.on(), v.on(), s.heads));
    double tolerance = Math.max(1e-3, Tolerance.of("attention", dtype, dtype));
    var expected = Reference.attention(q.values(), k.values(), v.values(), s.heads);
    t.expect("out", out::found, expected.out(), tolerance, 0);
  }

  private static void nanIsCausal(Trial t, DType dtype, String what, int j) {
    var s = new Shape(new Kernels.Heads(1, 100, 4, 2, 64), 0);
    Operand q = queries(t, "q", dtype, s);
    Operand k = keys(t, "k", dtype, s);
    Operand v = keys(t, "v", dtype, s);
    Operand struck =
        switch (what) {
          case "q" -> q;
          case "k" -> k;
          default -> v;
        };
    double[] values = struck.values();
    values[j * struck.width + 5] = Double.NaN;
    struck.set(values);
    forward(t, dtype, s, q, k, v);
  }

  private static void backward(Trial t, DType dtype, Shape s) {
    Kernels.Heads h = s.heads;
    Operand q = queries(t, "q", dtype, s);
    Operand k = keys(t, "k", dtype, s);
    Operand v = keys(t, "v", dtype, s);
    Operand dOut = queries(t, "d_out", dtype, s);
    var forward = Reference.attention(q.values(), k.values(), v.values(), h);
    Operand out = queries(t, "out", dtype, s).set(forward.out());
    Operand lse = t.input("lse", DType.F32, h.B(), h.Hq(), h.T()).set(forward.lse());
    long rows = h.B() * h.T();
    Operand dQ = t.resultView("d_q", dtype, s.gap, rows, h.Hq() * h.D());
    Operand dK = t.resultView("d_k", dtype, s.gap, rows, h.Hkv() * h.D());
    Operand dV = t.resultView("d_v", dtype, s.gap, rows, h.Hkv() * h.D());
    t.workspace(kernels -> kernels.attentionBackwardWorkspace(dtype, h));
    t.call(
        kernels ->
            kernels.attentionBackward(
                dQ.on(),
                dK.on(),
                dV.on(),
                dOut.on(),
                out.on(),
                lse.on(),
                q.on(),
                k.on(),
                v.on(),
                h,
                t.workspace()));
    var g =
        Reference.attentionBackward(
            dOut.values(), out.values(), lse.values(), q.values(), k.values(), v.values(), h);
    // floors: with T = 1 the gradients of q and k vanish
    t.expect(dQ, g.dQ(), 0.1);
    t.expect(dK, g.dK(), 0.1);
    t.expect(dV, g.dV(), 0.1);
  }

  private static void cacheWrite(Trial t, DType dtype, Shape s) {
    Kernels.Heads h = s.heads;
    int T = (int) h.T();
    int D = (int) h.D();
    int heads = (int) h.Hkv();
    int capacity = T + 7;
    int[] positions = new int[(int) h.B() * T]; // a sequence's begin at 0, the next one's at 3, ...
    for (int row = 0; row < positions.length; row++) {
      positions[row] = row / T * 3 % 8 + row % T;
    }
    Operand k = keys(t, "k", dtype, s);
    Operand v = keys(t, "v", dtype, s);
    Operand kCache = t.updated("k_cache", dtype, h.B(), heads, capacity, D);
    Operand vCache = t.updated("v_cache", dtype, h.B(), heads, capacity, D);
    Operand at = t.input("position", positions);
    t.call(kernels -> kernels.cacheWrite(kCache.on(), vCache.on(), k.on(), v.on(), at.on(), h));
    for (Operand[] pair : new Operand[][] {{kCache, k}, {vCache, v}}) {
      double[] expected = pair[0].values();
      double[] written = pair[1].values();
      for (int i = 0; i < written.length; i++) {
        int row = i / D / heads;
        int line = (row / T * heads + i / D % heads) * capacity + positions[row];
        expected[line * D + i % D] = written[i];
      }
      t.expect(pair[0], expected);
    }
  }

  private static void decode(Trial t, DType dtype, Shape s) {
    Kernels.Heads h = s.heads;
    int[] lengths = new int[(int) h.B()]; // all of the first sequence, fewer of the others
    for (int b = 0; b < lengths.length; b++) {
      lengths[b] = Math.max(1, (int) h.T() - 29 * b);
    }
    int capacity = (int) h.T() + s.gap;
    Operand q = t.inputView("q", dtype, s.gap, h.B(), h.Hq() * h.D());
    Operand kCache = cache(t, "k_cache", dtype, h, capacity, lengths);
    Operand vCache = cache(t, "v_cache", dtype, h, capacity, lengths);
    Operand out = t.result("out", dtype, h.B(), h.Hq() * h.D());
    Operand at = t.input("position", Arrays.stream(lengths).map(n -> n - 1).toArray());
    t.call(
        kernels -> kernels.attentionDecode(out.on(), q.on(), kCache.on(), vCache.on(), at.on(), h));
    t.expect(
        out,
        Reference.attentionDecode(
            q.values(), kCache.values(), vCache.values(), h, capacity, lengths));
  }

  /** A cache with NaN beyond what is filled. */
  private static Operand cache(
      Trial t, String name, DType dtype, Kernels.Heads h, int capacity, int[] lengths) {
    Operand cache = t.input(name, dtype, h.B(), h.Hkv(), capacity, h.D());
    double[] values = cache.values();
    for (int i = 0; i < values.length; i++) {
      if (i / h.D() % capacity >= lengths[(int) (i / h.D() / capacity / h.Hkv())]) {
        values[i] = Double.NaN;
      }
    }
    return cache.set(values);
  }
}
