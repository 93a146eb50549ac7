package org.lethe.conformance;

import java.util.Arrays;
import java.util.List;
import java.util.TreeSet;
import org.lethe.kernels.DType;
import org.lethe.kernels.Kernels;

/** Cross entropy, log-probabilities, top-k, argmax and the method's labels. */
final class LossTrials {
  private LossTrials() {}

  static void addTo(Trials trials) {
    for (int V : Trials.SIZES) {
      for (int N : new int[] {1, 3, 65}) {
        crossEntropy(trials, N, V);
        ranks(trials, N, V);
        labels(trials, N, V);
      }
    }
    crossEntropyOfStrangeNumbers(trials);
    ranksOfStrangeNumbers(trials);
    labelsOfStrangeNumbers(trials);
    crossEntropy(trials, 2, 49152);
    for (int V : new int[] {12260, 24500}) { // rows that fill a GPU's 48 KiB of shared memory
      crossEntropy(trials, 2, V);
    }
    ranks(trials, 2, 49152);
    labels(trials, 2, 49152);
  }

  // ---- cross entropy ----------------------------------------------------------------------------

  private enum Gradient {
    NONE,
    OWN,
    IN_PLACE
  }

  /** Some targets ask for nothing. */
  private static int[] targets(Trial t, int N, int V) {
    int[] targets = t.below(V, N);
    for (int n = 1; n < N; n += 5) {
      targets[n] = Kernels.IGNORE;
    }
    return targets;
  }

  private static void crossEntropy(Trials trials, int N, int V) {
    for (Gradient how : Gradient.values()) {
      trials.addForReals(
          "cross_entropy",
          "N=%d V=%d gradient %s".formatted(N, V, how),
          (t, dtype) -> {
            Operand logits =
                how == Gradient.IN_PLACE
                    ? t.updated("logits", dtype, N, V)
                    : t.input("logits", dtype, N, V);
            logits.set(Arrays.stream(logits.values()).map(x -> 4 * x).toArray());
            crossEntropy(t, dtype, how, logits, targets(t, N, V), 1f / 3);
          });
    }
    trials.addForReals(
        "token_logprobs",
        "N=%d V=%d".formatted(N, V),
        (t, dtype) -> {
          Operand logits = t.input("logits", dtype, N, V);
          tokenLogprobs(t, logits, targets(t, N, V));
        });
  }

  private static void crossEntropy(
      Trial t, DType dtype, Gradient how, Operand logits, int[] targets, float scale) {
    int V = logits.width;
    Operand loss = t.result("loss", DType.F32, targets.length);
    Operand wanted = t.input("targets", targets);
    double[] expected =
        Arrays.stream(Reference.tokenLogprobs(logits.values(), targets, V))
            .map(x -> 0 - x)
            .map(x -> x == 0 ? 0 : x)
            .toArray();
    t.expect(loss, expected, 1);
    t.expectEach(loss, expected, 1e-2);
    if (how == Gradient.NONE) {
      t.call(k -> k.crossEntropy(loss.on(), null, logits.on(), wanted.on(), scale));
      return;
    }
    Operand gradient =
        how == Gradient.OWN ? t.result("d_logits", dtype, targets.length, V) : logits;
    t.call(k -> k.crossEntropy(loss.on(), gradient.on(), logits.on(), wanted.on(), scale));
    double[] expectedGradient = Reference.crossEntropyBackward(logits.values(), targets, V, scale);
    // few tokens: p - 1 at the target cancels, and with one it vanishes
    t.expect(gradient, expectedGradient, V < 10 ? scale : 0);
    t.expectEach(gradient, expectedGradient, (V < 10 ? 1e-2 : 1e-3) * scale);
  }

  private static void tokenLogprobs(Trial t, Operand logits, int[] targets) {
    Operand logprobs = t.result("logprobs", DType.F32, targets.length);
    Operand wanted = t.input("targets", targets);
    t.call(k -> k.tokenLogprobs(logprobs.on(), logits.on(), wanted.on()));
    t.expect(logprobs, Reference.tokenLogprobs(logits.values(), targets, logits.width), 1);
  }

  private static double[] strangeLogits(Trial t, int N, int V) {
    double[] values = t.normal(N * V);
    values[V + 3] = Double.NEGATIVE_INFINITY;
    values[V + 64] = Double.NEGATIVE_INFINITY;
    values[2 * V + 66] = Double.NaN;
    values[3 * V + 5] = 3e4;
    values[4 * V + 1] = Double.NaN;
    Arrays.fill(values, 5 * V, 6 * V, -2e4);
    return values;
  }

  private static void crossEntropyOfStrangeNumbers(Trials trials) {
    int N = 7;
    int V = 67;
    // a finite target beside -inf, NaN, far out, NaN but ignored, all equal
    int[] targets = {4, 5, 1, 5, Kernels.IGNORE, 66, 0};
    for (Gradient how : Gradient.values()) {
      trials.addForReals(
          "cross_entropy",
          "logits -inf, NaN, far out, all equal; gradient " + how,
          (t, dtype) -> {
            Operand logits =
                how == Gradient.IN_PLACE
                    ? t.updated("logits", dtype, N, V)
                    : t.input("logits", dtype, N, V);
            logits.set(strangeLogits(t, N, V));
            crossEntropy(t, dtype, how, logits, targets, 1);
          });
    }
    trials.addForReals(
        "token_logprobs",
        "logits -inf, NaN, far out, all equal",
        (t, dtype) -> {
          Operand logits = t.input("logits", dtype, N, V).set(strangeLogits(t, N, V));
          tokenLogprobs(t, logits, targets);
        });
  }

  // ---- top-k and argmax -------------------------------------------------------------------------

  /** On a GPU a row is a thread block of its own: more rows than these are tried in one variant. */
  private static final int FEW_ROWS = 3;

  private static void ranks(Trials trials, int N, int V) {
    List<Integer> ks = N > FEW_ROWS ? List.of(5) : List.of(1, 2, 5, 64, V);
    for (int k : new TreeSet<>(ks)) {
      if (k <= V && k <= 1000) {
        trials.addForReals(
            "top_k",
            "N=%d V=%d k=%d".formatted(N, V, k),
            (t, dtype) -> topK(t, t.input("logits", dtype, N, V), k));
      }
    }
    trials.addForReals(
        "argmax",
        "N=%d V=%d".formatted(N, V),
        (t, dtype) -> argmax(t, t.input("logits", dtype, N, V)));
  }

  private static void topK(Trial t, Operand logits, int k) {
    int V = logits.width;
    Operand index = t.result("index", DType.I32, logits.rows, k);
    Operand probability = t.result("probability", DType.F32, logits.rows, k);
    t.call(kernels -> kernels.topK(index.on(), probability.on(), logits.on()));
    double[] x = logits.values();
    int[] expected = Reference.topK(x, V, k);
    double[] probabilities = new double[expected.length];
    for (int row = 0; row < logits.rows; row++) {
      double lse = Reference.logSumExp(x, row * V, V);
      for (int i = row * k; i < (row + 1) * k; i++) {
        probabilities[i] = Math.exp(x[row * V + expected[i]] - lse);
      }
    }
    t.expect(index, expected);
    t.expect(probability, probabilities);
    t.expectEach(probability, probabilities, 1e-6);
  }

  private static void argmax(Trial t, Operand logits) {
    Operand index = t.result("index", DType.I32, logits.rows);
    t.call(k -> k.argmax(index.on(), logits.on()));
    t.expect(index, Reference.argmax(logits.values(), logits.width));
  }

  private static void ranksOfStrangeNumbers(Trials trials) {
    for (int V : Trials.SIZES) {
      trials.addForReals(
          "argmax",
          "few different values, V=" + V,
          (t, dtype) ->
              argmax(t, t.input("logits", dtype, 9, V).set(Trial.doubles(t.below(3, 9 * V)))));
      trials.addForReals(
          "top_k",
          "few different values, V=" + V,
          (t, dtype) ->
              topK(
                  t,
                  t.input("logits", dtype, 9, V).set(Trial.doubles(t.below(3, 9 * V))),
                  Math.min(V, 70)));
      trials.addForReals(
          "argmax",
          "a NaN, infinities, V=" + V,
          (t, dtype) -> {
            double[] values = t.normal(6 * V);
            values[t.random().nextInt(V)] = Double.NaN;
            values[V + V / 2] = Double.POSITIVE_INFINITY;
            values[3 * V - 1] = Double.NaN;
            Arrays.fill(values, 3 * V, 4 * V, Double.NEGATIVE_INFINITY);
            Arrays.fill(values, 4 * V, 5 * V, -3e38);
            argmax(t, t.input("logits", dtype, 6, V).set(values));
          });
    }
    trials.addForReals(
        "top_k",
        "logits of -inf",
        (t, dtype) -> {
          double[] values = t.normal(3 * 67);
          values[67] = Double.NEGATIVE_INFINITY;
          values[67 + 66] = Double.NEGATIVE_INFINITY;
          topK(t, t.input("logits", dtype, 3, 67).set(values), 67);
        });
  }

  // ---- generic labels ---------------------------------------------------------------------------

  private static final float[] ALPHAS = {5, 2.5f, 10};

  /**
   * Multiples of 1/8 in rows whose mean is one as well: all that a label compares is exact in fp32,
   * so labels must be equal, ties included.
   */
  private static double[] eighths(Trial t, int rows, int V) {
    long[] x = Arrays.stream(t.normal(rows * V)).mapToLong(a -> Math.round(a * 8)).toArray();
    for (int row = 0; row < rows; row++) {
      long sum = Arrays.stream(x, row * V, (row + 1) * V).sum();
      for (int v = 0; v < Math.floorMod(-sum, V); v++) {
        x[row * V + v]++;
      }
    }
    return Arrays.stream(x).mapToDouble(a -> a / 8.0).toArray();
  }

  private static void labels(Trials trials, int N, int V) {
    for (int F : N > FEW_ROWS ? new int[] {20} : new int[] {0, 1, 20}) {
      for (int A : N > FEW_ROWS ? new int[] {3} : new int[] {1, 3}) {
        trials.addForReals(
            "generic_labels",
            "T=%d Tb=%d V=%d F=%d A=%d".formatted(N, N + 2, V, F, A),
            (t, dtype) -> {
              Operand baseline = t.input("baseline", dtype, N + 2, V).set(eighths(t, N + 2, V));
              Operand reinforced = t.input("reinforced", dtype, N, V).set(eighths(t, N, V));
              int[] mapping = t.below(N + 2, N);
              for (int n = 2; n < N; n += 4) {
                mapping[n] = -1;
              }
              labels(t, baseline, reinforced, mapping, F, Arrays.copyOf(ALPHAS, A));
            });
      }
    }
  }

  private static void labels(
      Trial t, Operand baseline, Operand reinforced, int[] mapping, int F, float[] alphas) {
    int V = baseline.width;
    int[] forbidden = t.below(V, F);
    int[] after = t.below(baseline.rows, F);
    if (F > 0 && mapping[0] >= 0) {
      // what would win in the first row is forbidden there
      forbidden[0] = Reference.argmax(baseline.values(), V)[mapping[0]];
      forbidden[0] = Math.max(0, forbidden[0]);
      after[0] = mapping[0] - 1;
    }
    Operand labels = t.result("labels", DType.I32, alphas.length, mapping.length);
    Operand rows = t.input("mapping", mapping);
    Operand tokens = F == 0 ? null : t.input("forbidden", forbidden);
    Operand from = F == 0 ? null : t.input("forbidden_after", after);
    t.call(
        k ->
            k.genericLabels(
                labels.on(),
                baseline.on(),
                reinforced.on(),
                rows.on(),
                tokens == null ? null : tokens.on(),
                from == null ? null : from.on(),
                alphas));
    t.expect(
        labels,
        Reference.genericLabels(
            baseline.values(), reinforced.values(), mapping, forbidden, after, alphas, V));
  }

  private static void labelsOfStrangeNumbers(Trials trials) {
    trials.addForReals(
        "generic_labels",
        "NaN in either, few different values, 16 alphas",
        (t, dtype) -> {
          int V = 67;
          double[] baseline = Trial.doubles(t.below(3, 6 * V));
          double[] reinforced = Trial.doubles(t.below(3, 6 * V));
          baseline[V + 66] = Double.NaN;
          reinforced[3 * V] = Double.NaN;
          reinforced[5 * V + 1] = Double.NaN;
          float[] alphas = new float[16];
          for (int a = 0; a < 16; a++) {
            alphas[a] = a / 4f;
          }
          labels(
              t,
              t.input("baseline", dtype, 6, V).set(baseline),
              t.input("reinforced", dtype, 6, V).set(reinforced),
              new int[] {0, 1, 2, 3, 4, -1},
              9,
              alphas);
        });
  }
}
