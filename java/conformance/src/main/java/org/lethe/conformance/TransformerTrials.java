package org.lethe.conformance;

import java.util.List;
import org.jspecify.annotations.Nullable;
import org.lethe.kernels.DType;
import org.lethe.kernels.Kernels;
import org.lethe.kernels.Tensor;

/** Norm, rotary positions, gated units and matrix products. */
final class TransformerTrials {
  private static final float EPS = 1e-5f;

  /** Rows of a model of 7e9 weights, and rows too long to be kept in a GPU's registers. */
  private static final List<Integer> WIDE = List.of(4096, 9000);

  private TransformerTrials() {}

  static void addTo(Trials trials) {
    for (int d : Trials.SIZES) {
      for (int N : new int[] {1, 3, 65}) {
        rmsnorm(trials, N, d);
        rmsnormBackward(trials, N, d);
        swiglu(trials, N, d);
      }
    }
    for (int d : WIDE) {
      rmsnorm(trials, 2, d);
      rmsnormBackward(trials, 3, d);
    }
    rmsnormOfStrangeNumbers(trials);
    swigluOfStrangeNumbers(trials);
    rope(trials);
    matmul(trials);
  }

  private static double[] rounded(double[] x, DType dtype) {
    return new Operand("rounded", dtype, Operand.Role.INPUT, 0, x.length).set(x).values();
  }

  // ---- rmsnorm ----------------------------------------------------------------------------------

  private enum Sum {
    NONE,
    NO_RESIDUAL,
    OWN,
    IS_X,
    IS_RESIDUAL
  }

  private static void rmsnorm(Trials trials, int N, int d) {
    for (Sum how : Sum.values()) {
      trials.addForReals(
          "rmsnorm",
          "N=%d d=%d sum %s".formatted(N, d, how),
          (t, dtype) -> {
            Operand y = t.result("y", dtype, N, d);
            Operand rstd = how == Sum.IS_X ? null : t.result("rstd", DType.F32, N);
            Operand x = how == Sum.IS_X ? t.updated("x", dtype, N, d) : t.input("x", dtype, N, d);
            Operand residual =
                switch (how) {
                  case NONE, NO_RESIDUAL -> null;
                  case OWN, IS_X -> t.input("residual", dtype, N, d);
                  case IS_RESIDUAL -> t.updated("residual", dtype, N, d);
                };
            Operand sum =
                switch (how) {
                  case NONE -> null;
                  case NO_RESIDUAL, OWN -> t.result("sum", dtype, N, d);
                  case IS_X -> x;
                  case IS_RESIDUAL -> residual;
                };
            Operand weight = t.input("weight", dtype, d);
            t.call(
                k -> k.rmsnorm(y.on(), on(rstd), on(sum), x.on(), on(residual), weight.on(), EPS));
            double[] added =
                residual == null
                    ? x.values()
                    : rounded(Reference.add(x.values(), residual.values()), dtype);
            double[] rstdOfSum = Reference.rstd(added, d, EPS);
            if (sum != null) {
              t.expect(sum.toString(), sum::found, added, 0, 0);
            }
            if (rstd != null) {
              t.expect(rstd, rstdOfSum);
            }
            t.expect(y, Reference.rmsnorm(added, rstdOfSum, weight.values()));
          });
    }
  }

  private static @Nullable Tensor on(@Nullable Operand operand) {
    return operand == null ? null : operand.on();
  }

  private enum Into {
    OWN,
    OWN_WITH_RESIDUAL,
    RESIDUAL,
    D_Y
  }

  private static void rmsnormBackward(Trials trials, int N, int d) {
    for (Into how : Into.values()) {
      for (DType gradient : Trials.REALS) {
        trials.addForReals(
            "rmsnorm_backward",
            "N=%d d=%d d_x into %s, weights' gradient %s".formatted(N, d, how, gradient),
            (t, dtype) -> {
              Operand dY =
                  how == Into.D_Y ? t.updated("d_y", dtype, N, d) : t.input("d_y", dtype, N, d);
              Operand dResidual =
                  switch (how) {
                    case OWN -> null;
                    case OWN_WITH_RESIDUAL, D_Y -> t.input("d_residual", dtype, N, d);
                    case RESIDUAL -> t.updated("d_residual", dtype, N, d);
                  };
              Operand dX =
                  switch (how) {
                    case OWN, OWN_WITH_RESIDUAL -> t.result("d_x", dtype, N, d);
                    case RESIDUAL -> java.util.Objects.requireNonNull(dResidual);
                    case D_Y -> dY;
                  };
              Operand x = t.input("x", dtype, N, d);
              Operand weight = t.input("weight", dtype, d);
              Operand rstd = t.input("rstd", DType.F32, N);
              rstd.set(Reference.rstd(x.values(), d, EPS));
              Operand dWeight = t.updated("d_weight", gradient, d);
              t.call(
                  k ->
                      k.rmsnormBackward(
                          dX.on(),
                          dWeight.on(),
                          dY.on(),
                          x.on(),
                          weight.on(),
                          rstd.on(),
                          on(dResidual)));
              double[] through =
                  Reference.rmsnormBackwardX(
                      dY.values(), x.values(), weight.values(), rstd.values());
              // with d = 1 the norm passes no gradient: both terms cancel
              t.expect(
                  dX,
                  dResidual == null ? through : Reference.add(through, dResidual.values()),
                  d == 1 ? 1 : 0.01);
              t.expect(
                  dWeight,
                  Reference.add(
                      dWeight.values(),
                      Reference.rmsnormBackwardWeight(dY.values(), x.values(), rstd.values(), d)),
                  0.01);
            });
      }
    }
  }

  private static void rmsnormOfStrangeNumbers(Trials trials) {
    trials.addForReals(
        "rmsnorm",
        "a NaN, an infinity and zeros in rows of their own",
        (t, dtype) -> {
          int N = 5;
          int d = 67;
          double[] values = t.normal(N * d);
          values[d + 66] = Double.NaN;
          values[2 * d + 3] = Double.POSITIVE_INFINITY;
          java.util.Arrays.fill(values, 3 * d, 4 * d, 0);
          Operand x = t.input("x", dtype, N, d).set(values);
          Operand y = t.result("y", dtype, N, d);
          Operand rstd = t.result("rstd", DType.F32, N);
          Operand weight = t.input("weight", dtype, d);
          t.call(k -> k.rmsnorm(y.on(), rstd.on(), null, x.on(), null, weight.on(), EPS));
          double[] expected = Reference.rstd(x.values(), d, EPS);
          for (int n = 0; n < N; n++) {
            int row = n;
            double[] one = {expected[n]};
            t.expect("rstd of row " + n, () -> new double[] {rstd.found()[row]}, one, 1e-6, 0);
          }
          double[] normed = Reference.rmsnorm(x.values(), expected, weight.values());
          t.expect(y, normed);
        });
  }

  // ---- rope -------------------------------------------------------------------------------------

  private static void rope(Trials trials) {
    int P = 300;
    for (int D : new int[] {2, 6, 64, 80, 128}) {
      for (int heads : new int[] {1, 3}) {
        for (int N : new int[] {1, 3, 65}) {
          for (int gap : new int[] {0, 5}) {
            for (boolean inverse : new boolean[] {false, true}) {
              trials.addForReals(
                  "rope",
                  "N=%d heads=%d D=%d gap=%d%s"
                      .formatted(N, heads, D, gap, inverse ? " inverse" : ""),
                  (t, dtype) -> {
                    Operand x = t.updatedView("x", dtype, gap, N, (long) heads * D);
                    Operand table =
                        t.input("table", DType.F32, P, D / 2, 2)
                            .set(Reference.ropeTable(P, D, 10000));
                    int[] positions = t.below(P, N);
                    positions[0] = P - 1;
                    Operand at = t.input("positions", positions);
                    t.call(k -> k.rope(x.on(), table.on(), at.on(), inverse));
                    t.expect(x, Reference.rope(x.values(), table.values(), positions, inverse, D));
                  });
            }
          }
        }
      }
    }
  }

  // ---- swiglu -----------------------------------------------------------------------------------

  private static void swiglu(Trials trials, int N, int F) {
    for (int gap : new int[] {0, 7}) {
      String title = "N=%d F=%d gap=%d".formatted(N, F, gap);
      trials.addForReals(
          "swiglu",
          title,
          (t, dtype) -> {
            Operand gate = t.inputView("gate", dtype, gap, N, F);
            Operand up = t.inputView("up", dtype, gap, N, F);
            Operand out = t.result("out", dtype, N, F);
            t.call(k -> k.swiglu(out.on(), gate.on(), up.on()));
            t.expect(out, Reference.swiglu(gate.values(), up.values()));
          });
      trials.addForReals(
          "swiglu_backward",
          title,
          (t, dtype) -> {
            Operand gate = t.inputView("gate", dtype, gap, N, F);
            Operand up = t.inputView("up", dtype, gap, N, F);
            Operand dOut = t.input("d_out", dtype, N, F);
            Operand dGate = t.resultView("d_gate", dtype, gap / 2, N, F);
            Operand dUp = t.resultView("d_up", dtype, gap / 2, N, F);
            t.call(k -> k.swigluBackward(dGate.on(), dUp.on(), dOut.on(), gate.on(), up.on()));
            expectSwigluBackward(t, dGate, dUp, dOut, gate, up);
          });
      trials.addForReals(
          "swiglu_backward",
          title + " in place",
          (t, dtype) -> {
            Operand gate = t.updatedView("gate", dtype, gap, N, F);
            Operand up = t.updatedView("up", dtype, gap, N, F);
            Operand dOut = t.input("d_out", dtype, N, F);
            t.call(k -> k.swigluBackward(gate.on(), up.on(), dOut.on(), gate.on(), up.on()));
            expectSwigluBackward(t, gate, up, dOut, gate, up);
          });
    }
  }

  private static void expectSwigluBackward(
      Trial t, Operand dGate, Operand dUp, Operand dOut, Operand gate, Operand up) {
    // floors: one element alone may lie where the derivative of silu vanishes
    t.expect(dGate, Reference.swigluBackwardGate(dOut.values(), gate.values(), up.values()), 0.1);
    t.expect(dUp, Reference.swigluBackwardUp(dOut.values(), gate.values()), 0.01);
  }

  private static void swigluOfStrangeNumbers(Trials trials) {
    double[] strange = {100, -100, 1e4, -1e4, 0, -0.0, Double.NaN, Double.POSITIVE_INFINITY};
    trials.addForReals(
        "swiglu",
        "gates far out, NaN and infinite",
        (t, dtype) -> {
          int F = 41;
          double[] values = t.normal(3 * F);
          System.arraycopy(strange, 0, values, F + 5, strange.length);
          Operand gate = t.input("gate", dtype, 3, F).set(values);
          Operand up = t.input("up", dtype, 3, F);
          Operand out = t.result("out", dtype, 3, F);
          t.call(k -> k.swiglu(out.on(), gate.on(), up.on()));
          t.expect(out, Reference.swiglu(gate.values(), up.values()));
          double[] first = java.util.Arrays.copyOf(Reference.swiglu(gate.values(), up.values()), F);
          t.expect(
              "the first row",
              () -> java.util.Arrays.copyOf(out.found(), F),
              first,
              Tolerance.of("swiglu", dtype, dtype),
              0);
        });
  }

  // ---- matmul -----------------------------------------------------------------------------------

  private record Product(int m, int n, int k) {}

  private static void matmul(Trials trials) {
    var products = new java.util.LinkedHashSet<Product>();
    for (int s : List.of(1, 2, 3, 63, 64, 65, 127)) {
      products.add(new Product(s, s, s));
      products.add(new Product(s, 65, 3));
      products.add(new Product(3, s, 65));
      products.add(new Product(65, 3, s));
      products.add(new Product(1, 127, s));
    }
    products.add(new Product(1000, 65, 63));
    products.add(new Product(65, 1000, 63));
    products.add(new Product(63, 65, 1000));
    products.add(new Product(1, 1000, 1000));
    products.add(new Product(5, 70, 130));
    products.add(new Product(16, 9, 33));
    int gap = 0;
    for (Product p : products) {
      for (Kernels.Layout layout : Kernels.Layout.values()) {
        for (boolean accumulate : new boolean[] {false, true}) {
          matmul(trials, DType.F32, DType.F32, layout, accumulate, gap, p);
          matmul(trials, DType.BF16, DType.BF16, layout, accumulate, gap, p);
          matmul(trials, DType.BF16, DType.F32, layout, accumulate, gap, p);
          gap = 3 - gap;
        }
        gap = 3 - gap; // so that each layout meets every pair of the two
      }
    }
    // What is larger than the blocks that a kernel may cut its operands into.
    matmul(trials, DType.BF16, DType.BF16, Kernels.Layout.NT, false, 0, new Product(300, 50, 4200));
    matmul(trials, DType.BF16, DType.BF16, Kernels.Layout.NN, true, 3, new Product(50, 300, 4200));
    matmul(trials, DType.BF16, DType.F32, Kernels.Layout.TN, true, 0, new Product(300, 50, 4200));
    matmul(
        trials, DType.BF16, DType.BF16, Kernels.Layout.NN, false, 0, new Product(1030, 1050, 4100));
    for (Kernels.Layout layout : Kernels.Layout.values()) {
      for (int S : new int[] {13, 65, 72}) {
        trials.addForReals(
            "matmul",
            "%s of %d with a NaN in one row of A's".formatted(layout, S),
            (t, dtype) -> {
              double[] values = t.normal(S * S);
              int last = (S - 1) / 8 * 8;
              values[(layout == Kernels.Layout.TN ? 7 * S + last : last * S)] = Double.NaN;
              Operand a = t.input("a", dtype, S, S).set(values);
              Operand b = t.input("b", dtype, S, S);
              Operand c = t.result("c", dtype, S, S);
              t.call(k -> k.matmul(c.on(), a.on(), b.on(), layout, false));
              t.expect(c, Reference.matmul(a.values(), b.values(), layout, S, S, S));
            });
      }
    }
  }

  private static void matmul(
      Trials trials,
      DType dtype,
      DType result,
      Kernels.Layout layout,
      boolean accumulate,
      int gap,
      Product p) {
    trials.add(
        "matmul",
        dtype,
        "%s%s M=%d N=%d K=%d gap=%d into %s"
            .formatted(layout, accumulate ? " +=" : "", p.m, p.n, p.k, gap, result),
        t -> {
          Operand a =
              layout == Kernels.Layout.TN
                  ? t.inputView("a", dtype, gap, p.k, p.m)
                  : t.inputView("a", dtype, gap, p.m, p.k);
          Operand b =
              layout == Kernels.Layout.NT
                  ? t.inputView("b", dtype, 2 * gap, p.n, p.k)
                  : t.inputView("b", dtype, 2 * gap, p.k, p.n);
          Operand c =
              accumulate
                  ? t.updatedView("c", result, gap, p.m, p.n)
                  : t.resultView("c", result, gap, p.m, p.n);
          t.call(k -> k.matmul(c.on(), a.on(), b.on(), layout, accumulate));
          double[] product = Reference.matmul(a.values(), b.values(), layout, p.m, p.n, p.k);
          t.expect(
              c, accumulate ? Reference.add(c.values(), product) : product, Math.sqrt(p.k) / 4);
        });
  }
}
