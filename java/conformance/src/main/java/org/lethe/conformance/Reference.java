package org.lethe.conformance;

import java.util.Arrays;
import org.lethe.kernels.Kernels;

/**
 * What every operation of {@code lethe.h} computes, as plain formulas in double on contiguous
 * row-major arrays: the truth that kernels are measured against. Backward stands beside forward;
 * {@link ReferenceTest} holds it against finite differences.
 */
final class Reference {
  private Reference() {}

  // ---- rows -------------------------------------------------------------------------------------

  /** target (rows, width) = source[index[r]]. */
  static double[] gatherRows(double[] source, int[] index, int width) {
    double[] target = new double[index.length * width];
    for (int r = 0; r < index.length; r++) {
      System.arraycopy(source, index[r] * width, target, r * width, width);
    }
    return target;
  }

  /** target (targetRows, width) = 0, then target[index[r]] = source[r]. */
  static double[] scatterRows(double[] source, int[] index, int targetRows, int width) {
    double[] target = new double[targetRows * width];
    for (int r = 0; r < index.length; r++) {
      System.arraycopy(source, r * width, target, index[r] * width, width);
    }
    return target;
  }

  /** dTable + the rows of dOut (N, d), each at its token. */
  static double[] embeddingBackward(double[] dTable, double[] dOut, int[] tokens, int d) {
    double[] sum = dTable.clone();
    for (int n = 0; n < tokens.length; n++) {
      for (int i = 0; i < d; i++) {
        sum[tokens[n] * d + i] += dOut[n * d + i];
      }
    }
    return sum;
  }

  static double[] add(double[] a, double[] b) {
    double[] sum = new double[a.length];
    Arrays.setAll(sum, i -> a[i] + b[i]);
    return sum;
  }

  // ---- rmsnorm ----------------------------------------------------------------------------------

  /** rstd (N) = 1 / sqrt(mean(x²) + eps). */
  static double[] rstd(double[] x, int d, double eps) {
    double[] rstd = new double[x.length / d];
    for (int n = 0; n < rstd.length; n++) {
      double squares = 0;
      for (int i = 0; i < d; i++) {
        squares += x[n * d + i] * x[n * d + i];
      }
      rstd[n] = 1 / Math.sqrt(squares / d + eps);
    }
    return rstd;
  }

  /** y (N, d) = x * rstd * weight. */
  static double[] rmsnorm(double[] x, double[] rstd, double[] weight) {
    int d = weight.length;
    double[] y = new double[x.length];
    Arrays.setAll(y, i -> x[i] * rstd[i / d] * weight[i % d]);
    return y;
  }

  /** dX (N, d) = rstd (w dy - x rstd² mean(w dy x)). */
  static double[] rmsnormBackwardX(double[] dY, double[] x, double[] weight, double[] rstd) {
    int d = weight.length;
    double[] dX = new double[x.length];
    for (int n = 0; n < rstd.length; n++) {
      double mean = 0;
      for (int i = 0; i < d; i++) {
        mean += weight[i] * dY[n * d + i] * x[n * d + i] / d;
      }
      for (int i = 0; i < d; i++) {
        int at = n * d + i;
        dX[at] = rstd[n] * (weight[i] * dY[at] - x[at] * rstd[n] * rstd[n] * mean);
      }
    }
    return dX;
  }

  /** dWeight (d) = sum over rows of dy x rstd. */
  static double[] rmsnormBackwardWeight(double[] dY, double[] x, double[] rstd, int d) {
    double[] dWeight = new double[d];
    for (int i = 0; i < x.length; i++) {
      dWeight[i % d] += dY[i] * x[i] * rstd[i / d];
    }
    return dWeight;
  }

  // ---- rope -------------------------------------------------------------------------------------

  /** Turns each pair (i, i + D/2) of every head of x (N, heads * D) by its position's angle. */
  static double[] rope(double[] x, double[] table, int[] positions, boolean inverse, int D) {
    double[] y = new double[x.length];
    int half = D / 2;
    int width = x.length / positions.length;
    for (int n = 0; n < positions.length; n++) {
      for (int head = n * width; head < (n + 1) * width; head += D) {
        for (int i = 0; i < half; i++) {
          double c = table[(positions[n] * half + i) * 2];
          double s = table[(positions[n] * half + i) * 2 + 1] * (inverse ? -1 : 1);
          y[head + i] = x[head + i] * c - x[head + i + half] * s;
          y[head + i + half] = x[head + i + half] * c + x[head + i] * s;
        }
      }
    }
    return y;
  }

  /** cos and sin of p / theta^(2i/D): (P, D/2, 2). */
  static double[] ropeTable(int P, int D, double theta) {
    double[] table = new double[P * D];
    for (int p = 0; p < P; p++) {
      for (int i = 0; i < D / 2; i++) {
        double angle = p / Math.pow(theta, 2.0 * i / D);
        table[(p * D / 2 + i) * 2] = Math.cos(angle);
        table[(p * D / 2 + i) * 2 + 1] = Math.sin(angle);
      }
    }
    return table;
  }

  // ---- attention --------------------------------------------------------------------------------

  /**
   * Causal attention of q (B*T, Hq, D) with k and v (B*T, Hkv, D).
   *
   * @param out (B*T, Hq, D)
   * @param lse (B, Hq, T), log-sum-exp of the scaled scores
   */
  @SuppressWarnings("ArrayRecordComponent") // several results at once, never compared
  record Attention(double[] out, double[] lse) {}

  static Attention attention(double[] q, double[] k, double[] v, Kernels.Heads h) {
    int T = (int) h.T();
    int D = (int) h.D();
    int Hq = (int) h.Hq();
    int Hkv = (int) h.Hkv();
    double[] out = new double[q.length];
    double[] lse = new double[(int) h.B() * Hq * T];
    for (int b = 0; b < h.B(); b++) {
      for (int head = 0; head < Hq; head++) {
        for (int t = 0; t < T; t++) {
          int at = ((b * T + t) * Hq + head) * D;
          double[] scores = new double[t + 1];
          for (int j = 0; j <= t; j++) {
            int key = ((b * T + j) * Hkv + head / (Hq / Hkv)) * D;
            scores[j] = dot(q, at, k, key, D) / Math.sqrt(D);
          }
          double l = logSumExp(scores, 0, t + 1);
          lse[(b * Hq + head) * T + t] = l;
          for (int j = 0; j <= t; j++) {
            int value = ((b * T + j) * Hkv + head / (Hq / Hkv)) * D;
            double probability = Math.exp(scores[j] - l);
            for (int i = 0; i < D; i++) {
              out[at + i] += probability * v[value + i];
            }
          }
        }
      }
    }
    return new Attention(out, lse);
  }

  @SuppressWarnings("ArrayRecordComponent") // several results at once, never compared
  record AttentionGradient(double[] dQ, double[] dK, double[] dV) {}

  /** With P = exp(s - lse): dV = Pᵀ dO, dS = P (dO vᵀ - rowsum(dO out)), dQ = dS k, dK = dSᵀ q. */
  static AttentionGradient attentionBackward(
      double[] dOut,
      double[] out,
      double[] lse,
      double[] q,
      double[] k,
      double[] v,
      Kernels.Heads h) {
    int T = (int) h.T();
    int D = (int) h.D();
    int Hq = (int) h.Hq();
    int Hkv = (int) h.Hkv();
    double scale = 1 / Math.sqrt(D);
    var g = new AttentionGradient(new double[q.length], new double[k.length], new double[v.length]);
    for (int b = 0; b < h.B(); b++) {
      for (int head = 0; head < Hq; head++) {
        for (int t = 0; t < T; t++) {
          int at = ((b * T + t) * Hq + head) * D;
          double delta = dot(dOut, at, out, at, D);
          for (int j = 0; j <= t; j++) {
            int kv = ((b * T + j) * Hkv + head / (Hq / Hkv)) * D;
            double p = Math.exp(scale * dot(q, at, k, kv, D) - lse[(b * Hq + head) * T + t]);
            double dS = scale * p * (dot(dOut, at, v, kv, D) - delta);
            for (int i = 0; i < D; i++) {
              g.dV[kv + i] += p * dOut[at + i];
              g.dQ[at + i] += dS * k[kv + i];
              g.dK[kv + i] += dS * q[at + i];
            }
          }
        }
      }
    }
    return g;
  }

  /**
   * q (B, Hq, D) against the first {@code lengths[b]} entries of the caches (B, Hkv, capacity, D).
   */
  static double[] attentionDecode(
      double[] q, double[] kCache, double[] vCache, Kernels.Heads h, int capacity, int[] lengths) {
    int D = (int) h.D();
    int group = (int) (h.Hq() / h.Hkv());
    double[] out = new double[q.length];
    for (int row = 0; row < q.length / D; row++) {
      int b = row / (int) h.Hq();
      int length = lengths[b];
      int head = row % (int) h.Hq() / group;
      int cache = (b * (int) h.Hkv() + head) * capacity * D;
      double[] scores = new double[length];
      for (int j = 0; j < length; j++) {
        scores[j] = dot(q, row * D, kCache, cache + j * D, D) / Math.sqrt(D);
      }
      double l = logSumExp(scores, 0, length);
      for (int j = 0; j < length; j++) {
        double probability = Math.exp(scores[j] - l);
        for (int i = 0; i < D; i++) {
          out[row * D + i] += probability * vCache[cache + j * D + i];
        }
      }
    }
    return out;
  }

  // ---- swiglu -----------------------------------------------------------------------------------

  static double sigmoid(double x) {
    return 1 / (1 + Math.exp(-x));
  }

  /** silu(gate) * up. */
  static double[] swiglu(double[] gate, double[] up) {
    double[] out = new double[gate.length];
    Arrays.setAll(out, i -> gate[i] * sigmoid(gate[i]) * up[i]);
    return out;
  }

  /** dOut up (s + gate s (1 - s)) with s = sigmoid(gate). */
  static double[] swigluBackwardGate(double[] dOut, double[] gate, double[] up) {
    double[] dGate = new double[gate.length];
    Arrays.setAll(
        dGate,
        i -> {
          double s = sigmoid(gate[i]);
          return dOut[i] * up[i] * (s + gate[i] * s * (1 - s));
        });
    return dGate;
  }

  /** dOut silu(gate). */
  static double[] swigluBackwardUp(double[] dOut, double[] gate) {
    return swiglu(gate, dOut);
  }

  // ---- matmul -----------------------------------------------------------------------------------

  /** C (M, N) = op(A) op(B), as the layout transposes them. */
  static double[] matmul(double[] a, double[] b, Kernels.Layout layout, int M, int N, int K) {
    double[] c = new double[M * N];
    for (int m = 0; m < M; m++) {
      for (int k = 0; k < K; k++) {
        double x = a[layout == Kernels.Layout.TN ? k * M + m : m * K + k];
        for (int n = 0; n < N; n++) {
          c[m * N + n] += x * b[layout == Kernels.Layout.NT ? n * K + k : k * N + n];
        }
      }
    }
    return c;
  }

  // ---- losses and labels ------------------------------------------------------------------------

  /** log softmax(logits (N, V))[targets], 0 for ignored rows. */
  static double[] tokenLogprobs(double[] logits, int[] targets, int V) {
    double[] logprobs = new double[targets.length];
    for (int n = 0; n < targets.length; n++) {
      if (targets[n] != Kernels.IGNORE) {
        logprobs[n] = logits[n * V + targets[n]] - logSumExp(logits, n * V, V);
      }
    }
    return logprobs;
  }

  /** (softmax - onehot) * scale, 0 for ignored rows. */
  static double[] crossEntropyBackward(double[] logits, int[] targets, int V, double scale) {
    double[] d = new double[logits.length];
    for (int n = 0; n < targets.length; n++) {
      if (targets[n] == Kernels.IGNORE) {
        continue;
      }
      double l = logSumExp(logits, n * V, V);
      for (int v = 0; v < V; v++) {
        d[n * V + v] = (Math.exp(logits[n * V + v] - l) - (v == targets[n] ? 1 : 0)) * scale;
      }
    }
    return d;
  }

  /** Indices of the k largest of each row, the lower first among equals. */
  static int[] topK(double[] logits, int V, int k) {
    int[] index = new int[logits.length / V * k];
    for (int n = 0; n < logits.length / V; n++) {
      boolean[] taken = new boolean[V];
      for (int i = 0; i < k; i++) {
        int best = -1;
        for (int v = 0; v < V; v++) {
          if (!taken[v] && (best < 0 || logits[n * V + v] > logits[n * V + best])) {
            best = v;
          }
        }
        taken[best] = true;
        index[n * k + i] = best;
      }
    }
    return index;
  }

  /** The largest of each row, the lower of equals; -1 with a NaN. */
  static int[] argmax(double[] logits, int V) {
    int[] index = new int[logits.length / V];
    for (int n = 0; n < index.length; n++) {
      index[n] = argmax(Arrays.copyOfRange(logits, n * V, (n + 1) * V));
    }
    return index;
  }

  private static int argmax(double[] row) {
    int best = 0;
    for (int v = 0; v < row.length; v++) {
      if (Double.isNaN(row[v])) {
        return -1;
      }
      if (row[v] > row[best]) {
        best = v;
      }
    }
    return best;
  }

  /** argmax of g - alpha max(0, r - g), g with forbidden tokens at the row's mean: (A, T). */
  static int[] genericLabels(
      double[] baseline,
      double[] reinforced,
      int[] mapping,
      int[] forbidden,
      int[] forbiddenAfter,
      float[] alphas,
      int V) {
    int T = mapping.length;
    int[] labels = new int[alphas.length * T];
    for (int t = 0; t < T; t++) {
      int m = mapping[t];
      double[] r = Arrays.copyOfRange(reinforced, t * V, (t + 1) * V);
      double[] g = m < 0 ? new double[V] : Arrays.copyOfRange(baseline, m * V, (m + 1) * V);
      boolean nan = argmax(g) < 0 || argmax(r) < 0;
      double mean = Arrays.stream(g).average().orElseThrow();
      for (int j = 0; j < forbidden.length; j++) {
        if (m > forbiddenAfter[j]) {
          g[forbidden[j]] = mean;
        }
      }
      for (int a = 0; a < alphas.length; a++) {
        double alpha = alphas[a];
        double[] score = new double[V];
        Arrays.setAll(score, v -> g[v] - alpha * Math.max(0, r[v] - g[v]));
        labels[a * T + t] = m < 0 ? Kernels.IGNORE : nan ? -1 : argmax(score);
      }
    }
    return labels;
  }

  // ---- the optimizer ----------------------------------------------------------------------------

  @SuppressWarnings("ArrayRecordComponent") // several results at once, never compared
  record AdamWStep(double[] weight, double[] m, double[] v) {}

  /** One bias-corrected step with decoupled weight decay. */
  static AdamWStep adamw(
      double[] weight, double[] gradient, double[] m, double[] v, Kernels.AdamW how) {
    int n = weight.length;
    var next = new AdamWStep(new double[n], new double[n], new double[n]);
    double beta1 = how.beta1();
    double beta2 = how.beta2();
    for (int i = 0; i < n; i++) {
      double g = gradient[i] * how.gradientScale();
      next.m[i] = beta1 * m[i] + (1 - beta1) * g;
      next.v[i] = beta2 * v[i] + (1 - beta2) * g * g;
      double mHat = next.m[i] / (1 - Math.pow(beta1, (double) how.step()));
      double vHat = next.v[i] / (1 - Math.pow(beta2, (double) how.step()));
      double direction = mHat / (Math.sqrt(vHat) + how.eps()) + how.weightDecay() * weight[i];
      next.weight[i] = weight[i] - how.learningRate() * direction;
    }
    return next;
  }

  static double sumOfSquares(double[] x) {
    return Arrays.stream(x).map(a -> a * a).sum();
  }

  // ---- shared -----------------------------------------------------------------------------------

  static double logSumExp(double[] x, int from, int count) {
    double max = Double.NEGATIVE_INFINITY;
    for (int i = from; i < from + count; i++) {
      max = Math.max(max, x[i]);
    }
    double sum = 0;
    for (int i = from; i < from + count; i++) {
      sum += Math.exp(x[i] - max);
    }
    return max + Math.log(sum);
  }

  private static double dot(double[] a, int from, double[] b, int other, int count) {
    double sum = 0;
    for (int i = 0; i < count; i++) {
      sum += a[from + i] * b[other + i];
    }
    return sum;
  }
}
