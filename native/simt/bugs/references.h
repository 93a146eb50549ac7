// What the operations of lethe.h compute, in double, as their equations say it.
#pragma once

#include <cstdint>
#include <vector>

namespace reference {

using Values = std::vector<double>;
using Indices = std::vector<int32_t>;

struct Norm {
  Values sum, rstd, y;
};
Norm rmsnorm(const Values &x, const Values &residual, const Values &weight, int64_t N, int64_t d, double eps);

struct NormGradients {
  Values d_x, d_weight;
};
NormGradients rmsnorm_backward(const Values &d_y, const Values &x, const Values &weight, const Values &rstd, const Values &d_residual,
                               int64_t N, int64_t d);

// x (N, heads, D), table (P, D/2, 2)
Values rope(const Values &x, const Values &table, const Indices &positions, bool inverse, int64_t heads, int64_t D);

struct AttentionShape {
  int64_t B, T, Hq, Hkv, D;
  double scale() const { return 0.3; }
};
struct Attended {
  Values out, lse;  // (B*T, Hq, D), (B, Hq, T)
};
Attended attention(const Values &q, const Values &k, const Values &v, const AttentionShape &shape);

struct AttentionGradients {
  Values d_q, d_k, d_v;
};
// out and lse as they were kept
AttentionGradients attention_backward(const Values &d_out, const Values &out, const Values &lse, const Values &q, const Values &k,
                                      const Values &v, const AttentionShape &shape);

// (B, Hq, D), the caches (B, Hkv, capacity, D)
Values attention_decode(const Values &q, const Values &k_cache, const Values &v_cache, const AttentionShape &shape,
                        const Indices &position, int64_t capacity);

Values swiglu(const Values &gate, const Values &up);
struct SwigluGradients {
  Values d_gate, d_up;
};
SwigluGradients swiglu_backward(const Values &d_out, const Values &gate, const Values &up);

// op(A) (M, K) op(B) (K, N), each stored as `layout` of lethe.h says
Values matmul(const Values &a, const Values &b, int32_t layout, int64_t M, int64_t N, int64_t K);

struct Losses {
  Values loss, d_logits;
};
Losses cross_entropy(const Values &logits, const Indices &targets, int64_t V, double scale);

// The indices of the k largest of each row, the lower of two equal ones first, and their probabilities
struct Ranked {
  Indices index;
  Values probability;
};
Ranked top_k(const Values &logits, int64_t V, int64_t k);

Indices generic_labels(const Values &baseline, const Values &reinforced, const Indices &mapping, const Indices &forbidden,
                       const Indices &forbidden_after, const std::vector<float> &alphas, int64_t V);

}  // namespace reference
