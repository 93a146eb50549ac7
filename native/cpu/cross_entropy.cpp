// Cross entropy with its gradient, and log-probabilities of given tokens: both stand on a row's log-sum-exp.
#include "softmax.h"

namespace lethe::LETHE_TIER {
namespace {

// log softmax(row)[target], from differences: no large numbers cancel
template <class T>
inline float log_probability(const T *row, const Softmax &s, int32_t target) {
  return (widen(row[target]) - s.largest) - __builtin_logf(s.sum);
}

// gradient (V) = (softmax(row) - onehot(target)) scale; gradient may be row
template <class T>
inline void softmax_gradient(T *gradient, const T *row, const Softmax &s, int64_t V, int32_t target, float scale) {
  const float p = __builtin_expf(widen(row[target]) - s.largest) / s.sum;
  const Floats shift = all(s.largest), factor = all(scale / s.sum);
  vectors(0, V, [&](int64_t i, auto part) { store(gradient + i, exp(load(row + i, part) - shift) * factor, part); });
  store_scalar(gradient + target, (p - 1.0f) * scale);
}

}  // namespace

// loss (N), d_logits (N, V) or NULL, logits (N, V)
lethe_status cross_entropy(lethe_device *device, float *loss, void *d_logits, const void *logits, const int32_t *targets, int32_t dtype,
                           int64_t N, int64_t V, float scale, lethe_stream *) {
  with_type(dtype, [&](auto type) {
    using T = decltype(type);
    parallel(device, N, V, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; i++) {
        const T *row = static_cast<const T *>(logits) + i * V;
        T *gradient = d_logits == nullptr ? nullptr : static_cast<T *>(d_logits) + i * V;
        if (targets[i] == LETHE_IGNORE) {
          loss[i] = 0.0f;
          if (gradient != nullptr) std::memset(gradient, 0, static_cast<size_t>(V) * sizeof(T));
          continue;
        }
        const Softmax s = softmax(row, V);
        loss[i] = -log_probability(row, s, targets[i]);
        if (gradient != nullptr) softmax_gradient(gradient, row, s, V, targets[i], scale);
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
        const T *row = static_cast<const T *>(logits) + i * V;
        logprobs[i] = targets[i] == LETHE_IGNORE ? 0.0f : log_probability(row, softmax(row, V), targets[i]);
      }
    });
  });
  return LETHE_OK;
}

}  // namespace lethe::LETHE_TIER
