#include "references.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "lethe.h"

namespace reference {
namespace {

size_t index(int64_t i) { return static_cast<size_t>(i); }

double dot(const double *a, const double *b, int64_t n) { return std::inner_product(a, a + n, b, 0.0); }

double log_sum_exp(const double *x, int64_t n) {
  const double largest = *std::max_element(x, x + n);
  double sum = 0;
  for (int64_t i = 0; i < n; i++) sum += std::exp(x[i] - largest);
  return largest + std::log(sum);
}

}  // namespace

Norm rmsnorm(const Values &x, const Values &residual, const Values &weight, int64_t N, int64_t d, double eps) {
  Norm norm{x, {}, Values(x.size())};
  for (size_t i = 0; i < residual.size(); i++) norm.sum[i] += residual[i];
  for (int64_t row = 0; row < N; row++) {
    const double *const in = &norm.sum[index(row * d)];
    norm.rstd.push_back(1 / std::sqrt(dot(in, in, d) / static_cast<double>(d) + eps));
    for (int64_t i = 0; i < d; i++) norm.y[index(row * d + i)] = in[i] * norm.rstd.back() * weight[index(i)];
  }
  return norm;
}

NormGradients rmsnorm_backward(const Values &d_y, const Values &x, const Values &weight, const Values &rstd, const Values &d_residual,
                               int64_t N, int64_t d) {
  NormGradients gradients{d_residual.empty() ? Values(x.size()) : d_residual, Values(index(d))};
  for (int64_t row = 0; row < N; row++) {
    const double r = rstd[index(row)];
    double mean = 0;
    for (int64_t i = 0; i < d; i++) {
      const size_t at = index(row * d + i);
      gradients.d_weight[index(i)] += d_y[at] * x[at] * r;
      mean += d_y[at] * weight[index(i)] * x[at] * r / static_cast<double>(d);
    }
    for (int64_t i = 0; i < d; i++) {
      const size_t at = index(row * d + i);
      gradients.d_x[at] += r * (d_y[at] * weight[index(i)] - x[at] * r * mean);
    }
  }
  return gradients;
}

Values rope(const Values &x, const Values &table, const Indices &positions, bool inverse, int64_t heads, int64_t D) {
  Values turned(x.size());
  for (size_t row = 0; row < positions.size(); row++) {
    for (int64_t head = 0; head < heads; head++) {
      for (int64_t i = 0; i < D / 2; i++) {
        const size_t low = row * index(heads * D) + index(head * D + i), high = low + index(D / 2);
        const size_t at = index((positions[row] * (D / 2) + i) * 2);
        const double c = table[at], s = inverse ? -table[at + 1] : table[at + 1];
        turned[low] = x[low] * c - x[high] * s;
        turned[high] = x[high] * c + x[low] * s;
      }
    }
  }
  return turned;
}

Attended attention(const Values &q, const Values &k, const Values &v, const AttentionShape &s) {
  Attended attended{Values(q.size()), Values(index(s.B * s.Hq * s.T))};
  for (int64_t b = 0; b < s.B; b++) {
    for (int64_t h = 0; h < s.Hq; h++) {
      for (int64_t t = 0; t < s.T; t++) {
        const auto of_kv = [&](int64_t at) { return index(((b * s.T + at) * s.Hkv + h / (s.Hq / s.Hkv)) * s.D); };
        const size_t own = index(((b * s.T + t) * s.Hq + h) * s.D);
        Values scores;
        for (int64_t at = 0; at <= t; at++) scores.push_back(s.scale() * dot(&q[own], &k[of_kv(at)], s.D));
        const double lse = attended.lse[index((b * s.Hq + h) * s.T + t)] = log_sum_exp(scores.data(), t + 1);
        for (int64_t at = 0; at <= t; at++) {
          const double p = std::exp(scores[index(at)] - lse);
          for (int64_t i = 0; i < s.D; i++) attended.out[own + index(i)] += p * v[of_kv(at) + index(i)];
        }
      }
    }
  }
  return attended;
}

AttentionGradients attention_backward(const Values &d_out, const Values &out, const Values &lse, const Values &q, const Values &k,
                                      const Values &v, const AttentionShape &s) {
  AttentionGradients gradients{Values(q.size()), Values(k.size()), Values(v.size())};
  for (int64_t b = 0; b < s.B; b++) {
    for (int64_t h = 0; h < s.Hq; h++) {
      for (int64_t t = 0; t < s.T; t++) {
        const size_t own = index(((b * s.T + t) * s.Hq + h) * s.D);
        const double delta = dot(&d_out[own], &out[own], s.D);
        for (int64_t at = 0; at <= t; at++) {
          const size_t kv = index(((b * s.T + at) * s.Hkv + h / (s.Hq / s.Hkv)) * s.D);
          const double p = std::exp(s.scale() * dot(&q[own], &k[kv], s.D) - lse[index((b * s.Hq + h) * s.T + t)]);
          const double d_s = p * (dot(&d_out[own], &v[kv], s.D) - delta) * s.scale();
          for (size_t i = 0; i < index(s.D); i++) {
            gradients.d_v[kv + i] += p * d_out[own + i];
            gradients.d_k[kv + i] += d_s * q[own + i];
            gradients.d_q[own + i] += d_s * k[kv + i];
          }
        }
      }
    }
  }
  return gradients;
}

Values attention_decode(const Values &q, const Values &k_cache, const Values &v_cache, const AttentionShape &s, const Indices &position,
                        int64_t capacity) {
  Values out(q.size());
  for (int64_t row = 0; row < s.B * s.Hq; row++) {
    const size_t own = index(row * s.D), kv = index(row / (s.Hq / s.Hkv) * capacity * s.D);
    const int64_t length = position[index(row / s.Hq)] + 1;
    Values scores;
    for (int64_t at = 0; at < length; at++) scores.push_back(s.scale() * dot(&q[own], &k_cache[kv + index(at * s.D)], s.D));
    const double lse = log_sum_exp(scores.data(), length);
    for (int64_t at = 0; at < length; at++) {
      for (int64_t i = 0; i < s.D; i++) out[own + index(i)] += std::exp(scores[index(at)] - lse) * v_cache[kv + index(at * s.D + i)];
    }
  }
  return out;
}

Values swiglu(const Values &gate, const Values &up) {
  Values out;
  for (size_t i = 0; i < gate.size(); i++) out.push_back(gate[i] / (1 + std::exp(-gate[i])) * up[i]);
  return out;
}

SwigluGradients swiglu_backward(const Values &d_out, const Values &gate, const Values &up) {
  SwigluGradients gradients;
  for (size_t i = 0; i < gate.size(); i++) {
    const double sigmoid = 1 / (1 + std::exp(-gate[i]));
    gradients.d_gate.push_back(d_out[i] * up[i] * sigmoid * (1 + gate[i] * (1 - sigmoid)));
    gradients.d_up.push_back(d_out[i] * gate[i] * sigmoid);
  }
  return gradients;
}

Values matmul(const Values &a, const Values &b, int32_t layout, int64_t M, int64_t N, int64_t K) {
  Values c(index(M * N));
  for (int64_t m = 0; m < M; m++) {
    for (int64_t n = 0; n < N; n++) {
      for (int64_t k = 0; k < K; k++) {
        c[index(m * N + n)] += a[index(layout == LETHE_TN ? k * M + m : m * K + k)] * b[index(layout == LETHE_NT ? n * K + k : k * N + n)];
      }
    }
  }
  return c;
}

Losses cross_entropy(const Values &logits, const Indices &targets, int64_t V, double scale) {
  Losses losses{{}, Values(logits.size())};
  for (size_t row = 0; row < targets.size(); row++) {
    const size_t start = row * index(V);
    if (targets[row] == LETHE_IGNORE) {
      losses.loss.push_back(0);
      continue;
    }
    const double lse = log_sum_exp(&logits[start], V);
    losses.loss.push_back(lse - logits[start + index(targets[row])]);
    for (size_t i = 0; i < index(V); i++) {
      losses.d_logits[start + i] = (std::exp(logits[start + i] - lse) - (i == index(targets[row]) ? 1 : 0)) * scale;
    }
  }
  return losses;
}

Ranked top_k(const Values &logits, int64_t V, int64_t k) {
  Ranked ranked;
  for (size_t start = 0; start < logits.size(); start += index(V)) {
    Indices order(index(V));
    std::iota(order.begin(), order.end(), 0);
    std::stable_sort(order.begin(), order.end(), [&](int32_t a, int32_t b) { return logits[start + index(a)] > logits[start + index(b)]; });
    const double lse = log_sum_exp(&logits[start], V);
    for (size_t i = 0; i < index(k); i++) {
      ranked.index.push_back(order[i]);
      ranked.probability.push_back(std::exp(logits[start + index(order[i])] - lse));
    }
  }
  return ranked;
}

Indices generic_labels(const Values &baseline, const Values &reinforced, const Indices &mapping, const Indices &forbidden,
                       const Indices &forbidden_after, const std::vector<float> &alphas, int64_t V) {
  Indices labels;
  for (const double alpha : alphas) {
    for (size_t t = 0; t < mapping.size(); t++) {
      if (mapping[t] < 0) {
        labels.push_back(LETHE_IGNORE);
        continue;
      }
      const auto row = baseline.begin() + mapping[t] * V;
      Values g(row, row + V);
      const double mean = std::accumulate(g.begin(), g.end(), 0.0) / static_cast<double>(V);
      for (size_t j = 0; j < forbidden.size(); j++) {
        if (mapping[t] > forbidden_after[j]) g[index(forbidden[j])] = mean;
      }
      for (size_t i = 0; i < g.size(); i++) g[i] -= alpha * std::max(0.0, reinforced[t * index(V) + i] - g[i]);
      labels.push_back(static_cast<int32_t>(std::max_element(g.begin(), g.end()) - g.begin()));
    }
  }
  return labels;
}

}  // namespace reference
