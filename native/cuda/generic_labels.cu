// Generic labels (Eldan & Russinovich 2023, section 2): argmax of g - alpha max(0, r - g), for several alphas at once.
//
// Operations: 4 an element and 4 more for each alpha. Bytes: both rows read once, and 4 bytes for each group of the vocabulary from
// the second cache; forbidden tokens are looked at once more, by themselves, when the row's mean is known. Floor: bytes / bandwidth.
// Expected: 85% of the rate of reading for up to 4 alphas in bf16; with 16, arithmetic takes over (40%).
#include "largest.h"

namespace lethe::gpu {

constexpr int kLabelThreads = 512;
constexpr int kMostAlphas = 16;

struct Alphas {
  float value[kMostAlphas];
};

// A token is forbidden at positions beyond after[token]; first[g] is the least of the group g of kCount tokens.
__global__ void __launch_bounds__(kLabelThreads) allow_all_kernel(int32_t *after, int64_t n) {
  const int64_t i = static_cast<int64_t>(blockIdx.x) * threads() + thread();
  if (i < n) after[i] = INT32_MAX;
}
__global__ void __launch_bounds__(kLabelThreads)
    forbid_kernel(int32_t *after, int32_t *first, int count, const int32_t *forbidden, const int32_t *forbidden_after, int64_t F) {
  const int64_t i = static_cast<int64_t>(blockIdx.x) * threads() + thread();
  if (i >= F) return;
  atomicMin(after + forbidden[i], forbidden_after[i]);
  atomicMin(first + forbidden[i] / count, forbidden_after[i]);
}

// A block a row: labels[a * T + t] for every a. after and first are NULL where nothing is forbidden.
template <class Float, int kAlphas, bool kWide>
__global__ void __launch_bounds__(kLabelThreads)
    generic_labels_kernel(int32_t *labels, const Float *baseline, const Float *reinforced, const int32_t *mapping,
                          const int32_t *forbidden, const int32_t *forbidden_after, const int32_t *after, const int32_t *first,
                          const Alphas alphas, int64_t T, int64_t V, int64_t F, int64_t A) {
  constexpr int kCount = kGroup<Float>;
  for (int64_t t = blockIdx.x; t < T; t += gridDim.x) {
    const int32_t m = mapping[t];
    if (m < 0) {
      if (thread() < A) labels[thread() * T + t] = LETHE_IGNORE;
      continue;
    }
    const Float *const g_row = baseline + m * V, *const r_row = reinforced + t * V;
    Largest largest[kAlphas];
#pragma unroll
    for (int a = 0; a < kAlphas; a++) largest[a] = Largest::none();
    const auto score = [&](int a, float g, float r) { return fmaf(-alphas.value[a], fmaxf(r - g, 0.0f), g); };  // 0 if both are -inf

    bool nan = false;
    double total = 0.0;
    for (int64_t i = static_cast<int64_t>(thread()) * kCount; i < V; i += kLabelThreads * kCount) {
      float g[kCount], r[kCount], sum = 0.0f;
      load<kWide>(g, g_row + i, V - i);
      load<kWide>(r, r_row + i, V - i);
      const bool some_forbidden = first != nullptr && m > first[i / kCount];
#pragma unroll
      for (int j = 0; j < kCount; j++) {
        nan |= g[j] != g[j] || r[j] != r[j];
        sum += g[j];
        if ((!kWide && i + j >= V) || (some_forbidden && m > after[i + j])) g[j] = -INFINITY;  // no score of it wins
      }
      total += static_cast<double>(sum);
#pragma unroll
      for (int a = 0; a < kAlphas; a++) {
#pragma unroll
        for (int j = 0; j < kCount; j++) largest[a].take(score(a, g[j], r[j]), static_cast<int32_t>(i) + j);
      }
    }
    if (F > 0) {
      total = block_reduce(total, 0.0, [](double a, double b) { return a + b; });
      const float mean = static_cast<float>(total / static_cast<double>(V));
      for (int64_t j = thread(); j < F; j += kLabelThreads) {
        if (m <= forbidden_after[j]) continue;
        const int32_t token = forbidden[j];
        const float r = to_float(r_row[token]);
#pragma unroll
        for (int a = 0; a < kAlphas; a++) largest[a].take_unordered(score(a, mean, r), token);
      }
    }
#pragma unroll
    for (int a = 0; a < kAlphas; a++) {
      if (a < A) {
        const Largest best = block_largest(nan ? Largest::nan() : largest[a]);
        if (thread() == 0) labels[a * T + t] = best.index;
      }
    }
  }
}

template <class Float, bool kWide>
auto labels_kernel(int64_t A) {
  return A == 1   ? generic_labels_kernel<Float, 1, kWide>
         : A <= 4 ? generic_labels_kernel<Float, 4, kWide>
                  : generic_labels_kernel<Float, kMostAlphas, kWide>;
}

// labels (A, T), baseline (Tb, V), reinforced (T, V), mapping (T), forbidden (F)
lethe_status generic_labels(lethe_device *device, int32_t *labels, const void *baseline, const void *reinforced, const int32_t *mapping,
                            const int32_t *forbidden, const int32_t *forbidden_after, const float *alphas, int32_t dtype, int64_t T,
                            int64_t, int64_t V, int64_t F, int64_t A, lethe_stream *stream) {
  Alphas values{};
  for (int64_t a = 0; a < A; a++) values.value[a] = alphas[a];
  with_type(dtype, [&](auto type) {
    using Float = decltype(type);
    const int count = kGroup<Float>;
    int32_t *after = nullptr, *first = nullptr;
    if (F > 0) {
      const int64_t size = V + divide_up(V, count);
      after = static_cast<int32_t *>(device->scratch(stream, size * static_cast<int64_t>(sizeof(int32_t))));
      first = after + V;
      launch(device, stream, grid(divide_up(size, kLabelThreads)), kLabelThreads, 0, allow_all_kernel, after, size);
      launch(device, stream, grid(divide_up(F, kLabelThreads)), kLabelThreads, 0, forbid_kernel, after, first, count, forbidden,
             forbidden_after, F);
    }
    const bool whole = wide(V * static_cast<int64_t>(sizeof(Float)), baseline, reinforced);
    launch(device, stream, grid(T), kLabelThreads, 0, whole ? labels_kernel<Float, true>(A) : labels_kernel<Float, false>(A), labels,
           baseline, reinforced, mapping, forbidden, forbidden_after, after, first, values, T, V, F, A);
  });
  return LETHE_OK;
}

}  // namespace lethe::gpu
