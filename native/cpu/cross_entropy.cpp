// Cross entropy with its gradient, and log-probabilities of given tokens: both stand on a row's log-sum-exp.
#include "softmax.h"

namespace lethe::LETHE_TIER {
namespace {

// A row as its target sees it. The others are summed without it: where the target has nearly all, what is left of loss and
// gradient is their sum, which 1 - p would have lost.
struct Row {
  float largest;
  float target;  // the target's logit - largest, not above 0
  float others;  // sum of e^(x - largest) over all but the target

  float sum() const { return others + __builtin_expf(target); }
  float loss() const { return target == 0.0f ? __builtin_log1pf(others) : __builtin_logf(sum()) - target; }
};

template <class T>
inline Row row_of(const T *logits, int64_t V, int32_t target) {
  const float top = largest(logits, V);
  const float others = sum_of_exponentials(logits, target, top) + sum_of_exponentials(logits + target + 1, V - target - 1, top);
  return {top, widen(logits[target]) - top, others};
}

// gradient (V) = (softmax(logits) - onehot(target)) scale; gradient may be logits
template <class T>
inline void softmax_gradient(T *gradient, const T *logits, const Row &row, int64_t V, int32_t target, float scale) {
  const Floats shift = all(row.largest), factor = all(scale / row.sum());
  vectors(0, V, [&](int64_t i, auto part) { store(gradient + i, exp(load(logits + i, part) - shift) * factor, part); });
  store_scalar(gradient + target, -(row.others / row.sum()) * scale);
}

}  // namespace

// loss (N), d_logits (N, V) or NULL, logits (N, V)
lethe_status cross_entropy(lethe_device *device, float *loss, void *d_logits, const void *logits, const int32_t *targets, int32_t dtype,
                           int64_t N, int64_t V, float scale, lethe_stream *) {
  with_type(dtype, [&](auto type) {
    using T = decltype(type);
    parallel(device, N, V, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; i++) {
        const T *x = static_cast<const T *>(logits) + i * V;
        T *gradient = d_logits == nullptr ? nullptr : static_cast<T *>(d_logits) + i * V;
        if (targets[i] == LETHE_IGNORE) {
          loss[i] = 0.0f;
          if (gradient != nullptr) std::memset(gradient, 0, static_cast<size_t>(V) * sizeof(T));
          continue;
        }
        const Row row = row_of(x, V, targets[i]);
        loss[i] = row.loss();
        if (gradient != nullptr) softmax_gradient(gradient, x, row, V, targets[i], scale);
      }
    });
  });
  return LETHE_OK;
}

// logprobs (N), logits (N, V)
lethe_status token_logprobs(lethe_device *device, float *logprobs, const void *logits, const int32_t *targets, int32_t dtype, int64_t N,
                            int64_t V, lethe_stream *) {
  with_type(dtype, [&](auto type) {
    using T = decltype(type);
    parallel(device, N, V, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; i++) {
        logprobs[i] = targets[i] == LETHE_IGNORE ? 0.0f : -row_of(static_cast<const T *>(logits) + i * V, V, targets[i]).loss();
      }
    });
  });
  return LETHE_OK;
}

}  // namespace lethe::LETHE_TIER
