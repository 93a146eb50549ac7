// Cross entropy with its gradient, and log-probabilities of given tokens: both stand on a row's log-sum-exp.
//
// Operations: some 10 an element and one e^x, twice with the gradient. Bytes: every logit read once, every gradient written once;
// what of a row is beyond kKeptBytes is read a second time, soon after the first, mostly from the second cache. Floor: bytes /
// bandwidth. Expected: 80% of a copy's rate for V = 32000 in bf16 (a row is kept whole; three blocks a multiprocessor, of which one
// reads while another writes), 65% from V = 128k on.
#include "softmax.h"

namespace lethe::gpu {

constexpr int kRowThreads = 512;
constexpr int64_t kKeptBytes = 72 * 1024;  // of a row in shared memory: three blocks on sm_90, two on sm_80, one on sm_89

// A row as its target sees it. The others are summed without it: where the target has nearly all, what is left of loss and
// gradient is their sum, which 1 - p would have lost.
struct Row {
  float largest;
  float target;  // the target's logit - largest, not above 0
  float others;  // sum of e^(x - largest) over all but the target

  __device__ float sum() const { return others + expf(target); }
  __device__ float loss() const { return target == 0.0f ? log1pf(others) : logf(sum()) - target; }
};

// Also puts the row's first `keep` elements (whole groups, or all) into `kept`.
template <bool kWide, class Float>
__device__ inline Row row_of(const Float *logits, int64_t V, int32_t target, Float *kept, int64_t keep) {
  constexpr int kCount = kGroup<Float>;
  const float of_target = to_float(logits[target]);
  Softmax softmax{of_target, 0.0f};  // what the target is masked with is then never the largest
  block_groups<kWide, 2>(logits, V, -INFINITY, [&](int64_t i, float(&x)[kCount]) {
    if (i < keep) store_wide(kept + i, pack(x));
    if (i <= target && target < i + kCount) {
#pragma unroll
      for (int j = 0; j < kCount; j++) {
        if (i + j == target) x[j] = -INFINITY;
      }
    }
    softmax.take(x);
  });
  softmax = block_softmax(softmax);
  return {softmax.largest, of_target - softmax.largest, softmax.sum};
}

// (softmax(logits) - onehot(target)) scale, for the group at i
template <class Float, int kCount>
__device__ inline void softmax_gradient(float (&x)[kCount], const Row &row, float factor, float of_target, int64_t i, int32_t target) {
#pragma unroll
  for (int j = 0; j < kCount; j++) x[j] = exp_for<Float>(x[j] - row.largest) * factor;
  if (i <= target && target < i + kCount) {
#pragma unroll
    for (int j = 0; j < kCount; j++) {
      if (i + j == target) x[j] = of_target;
    }
  }
}

// A block a row; d_logits may be logits
template <class Float, bool kWide>
__global__ void __launch_bounds__(kRowThreads)
    cross_entropy_kernel(float *loss, Float *d_logits, const Float *logits, const int32_t *targets, int64_t N, int64_t V, float scale,
                         int64_t keep) {
  constexpr int kCount = kGroup<Float>;
  LETHE_DYNAMIC_SHARED(Float, kept);
  const int64_t first = static_cast<int64_t>(thread()) * kCount;
  for (int64_t i = blockIdx.x; i < N; i += gridDim.x) {
    const Float *const x = logits + i * V;
    Float *const gradient = d_logits + i * V;
    const int32_t target = targets[i];
    if (target == LETHE_IGNORE) {
      if (thread() == 0) loss[i] = 0.0f;
      const float zeros[kCount] = {};
      for (int64_t at = first; at < V; at += kRowThreads * kCount) store<kWide>(gradient + at, zeros, V - at);
      continue;
    }
    const Row row = row_of<kWide>(x, V, target, kept, keep);
    if (thread() == 0) loss[i] = row.loss();
    const float factor = scale / row.sum(), of_target = -(row.others / row.sum()) * scale;
    const auto write = [&](int64_t at, float(&values)[kCount]) {
      softmax_gradient<Float>(values, row, factor, of_target, at, target);
      store<kWide>(gradient + at, values, V - at);
    };
    for (int64_t at = first; at < keep; at += kRowThreads * kCount) {
      float values[kCount];
      unpack(load_wide(kept + at), values);
      write(at, values);
    }
    block_groups<kWide, 2>(x + keep, V - keep, 0.0f, [&](int64_t at, float(&values)[kCount]) { write(keep + at, values); });
    __syncthreads();  // before the next row is kept
  }
}

// out (N) = sign * loss
template <class Float, bool kWide>
__global__ void __launch_bounds__(kRowThreads)
    loss_kernel(float *out, const Float *logits, const int32_t *targets, int64_t N, int64_t V, float sign) {
  for (int64_t i = blockIdx.x; i < N; i += gridDim.x) {
    const int32_t target = targets[i];
    float loss = 0.0f;
    if (target != LETHE_IGNORE) loss = row_of<kWide, Float>(logits + i * V, V, target, nullptr, 0).loss() * sign;
    if (thread() == 0) out[i] = loss;
  }
}

void launch_loss(lethe_device *device, float *out, const void *logits, const int32_t *targets, int32_t dtype, int64_t N, int64_t V,
                 float sign, lethe_stream *stream) {
  with_type(dtype, [&](auto type) {
    using Float = decltype(type);
    const bool whole = wide(V * static_cast<int64_t>(sizeof(Float)), logits);
    launch(device, stream, grid(N), kRowThreads, 0, whole ? loss_kernel<Float, true> : loss_kernel<Float, false>, out, logits, targets, N, V,
           sign);
  });
}

// loss (N), d_logits (N, V) or NULL, logits (N, V)
lethe_status cross_entropy(lethe_device *device, float *loss, void *d_logits, const void *logits, const int32_t *targets, int32_t dtype,
                           int64_t N, int64_t V, float scale, lethe_stream *stream) {
  if (d_logits == nullptr) {
    launch_loss(device, loss, logits, targets, dtype, N, V, 1.0f, stream);
    return LETHE_OK;
  }
  with_type(dtype, [&](auto type) {
    using Float = decltype(type);
    constexpr int64_t kBytes = sizeof(Float);
    const bool whole = wide(V * kBytes, logits, d_logits);
    const int64_t keep = min(V, kKeptBytes / kBytes), padded = divide_up(keep, kGroup<Float>) * kGroup<Float>;
    launch(device, stream, grid(N), kRowThreads, padded * kBytes,
           whole ? cross_entropy_kernel<Float, true> : cross_entropy_kernel<Float, false>, loss, d_logits, logits, targets, N, V, scale,
           keep);
  });
  return LETHE_OK;
}

// logprobs (N), logits (N, V)
lethe_status token_logprobs(lethe_device *device, float *logprobs, const void *logits, const int32_t *targets, int32_t dtype, int64_t N,
                            int64_t V, lethe_stream *stream) {
  launch_loss(device, logprobs, logits, targets, dtype, N, V, -1.0f, stream);
  return LETHE_OK;
}

}  // namespace lethe::gpu
