// The most probable tokens of a row: the first, and the first k.
//
// Bytes: argmax reads every logit once, top_k once and, from the second cache, once for each digit it needs (one to eight) and once
// to collect. Floor: bytes / bandwidth. Expected: argmax 85% of the rate of reading; top_k 20%: it serves evaluation, a few rows.
#include "largest.h"
#include "softmax.h"

namespace lethe::gpu {

constexpr int kRankThreads = 512;

// A block a row
template <class Float, bool kWide>
__global__ void __launch_bounds__(kRankThreads) argmax_kernel(int32_t *index, const Float *logits, int64_t N, int64_t V) {
  constexpr int kCount = kGroup<Float>;
  for (int64_t row = blockIdx.x; row < N; row += gridDim.x) {
    Largest largest = Largest::none();
    bool nan = false;
    block_groups<kWide, 2>(logits + row * V, V, -INFINITY, [&](int64_t i, const float(&x)[kCount]) {
#pragma unroll
      for (int j = 0; j < kCount; j++) {
        nan |= x[j] != x[j];
        largest.take(x[j], static_cast<int32_t>(i) + j);
      }
    });
    largest = block_largest(nan ? Largest::nan() : largest);
    if (thread() == 0) index[row] = largest.index;
  }
}

// index (N), logits (N, V)
lethe_status argmax(lethe_device *device, int32_t *index, const void *logits, int32_t dtype, int64_t N, int64_t V, lethe_stream *stream) {
  with_type(dtype, [&](auto type) {
    using Float = decltype(type);
    const bool whole = wide(V * static_cast<int64_t>(sizeof(Float)), logits);
    launch(device, stream, grid(N), kRankThreads, 0, whole ? argmax_kernel<Float, true> : argmax_kernel<Float, false>, index, logits, N, V);
  });
  return LETHE_OK;
}

// A logit and its index as one number: higher logits, then lower indices, are higher; no two of a row are equal. NaN is lowest.
__device__ inline uint64_t rank_key(float x, int64_t i) {
  const uint32_t bits = __float_as_uint(x == 0.0f ? 0.0f : x);  // the zeros are equal
  const uint32_t order = x != x ? 0u : (bits & 0x80000000u) != 0 ? ~bits : bits | 0x80000000u;
  return static_cast<uint64_t>(order) << 32 | (0xffffffffu - static_cast<uint32_t>(i));
}
__device__ inline int32_t index_of(uint64_t key) { return static_cast<int32_t>(0xffffffffu - static_cast<uint32_t>(key)); }

constexpr int kDigitBits = 8;
constexpr int kDigits = 1 << kDigitBits;

struct Bucket {
  int digit;   // the highest digit with at least `wanted` keys at or above it
  int within;  // how many of its own keys are wanted
  int count;   // how many it has
};

// In counts (kDigits), by one warp
__device__ inline Bucket place(const int *counts, int wanted) {
  constexpr int kEach = kDigits / kWarp;
  const int lane = thread() % kWarp, last = kDigits - 1 - lane * kEach;  // lane 0 has the highest digits
  int own = 0;
  for (int j = 0; j < kEach; j++) own += counts[last - j];
  int above = own;
  for (int offset = 1; offset < kWarp; offset *= 2) {
    const int other = __shfl_up_sync(kAll, above, offset);
    if (lane >= offset) above += other;
  }
  above -= own;
  Bucket found{0, 0, 0};
  const bool mine = above < wanted && wanted <= above + own;
  for (int j = 0; j < kEach && found.count == 0; j++) {
    const int count = counts[last - j];
    if (mine && wanted <= above + count) found = {last - j, wanted - above, count};
    above += count;
  }
  const int from = __ffs(static_cast<int>(__ballot_sync(kAll, mine))) - 1;
  return {__shfl_sync(kAll, found.digit, from), __shfl_sync(kAll, found.within, from), __shfl_sync(kAll, found.count, from)};
}

// The k-th highest key of a row (or a number between it and the next lower one), digit by digit from the top
template <class Float>
__device__ inline uint64_t threshold(const Float *logits, int64_t V, int k) {
  LETHE_SHARED(int, counts, [kDigits]);
  LETHE_SHARED(Bucket, shared_place, [1]);
  uint64_t prefix = 0;
  int wanted = k, shift = 64;
  do {
    shift -= kDigitBits;
    for (int i = thread(); i < kDigits; i += threads()) counts[i] = 0;
    __syncthreads();
    for (int64_t i = thread(); i < V; i += threads()) {
      const uint64_t upper = rank_key(to_float(logits[i]), i) >> shift;
      if (upper >> kDigitBits == prefix) atomicAdd(&counts[upper % kDigits], 1);
    }
    __syncthreads();
    if (thread() < kWarp) {
      const Bucket found = place(counts, wanted);
      if (thread() == 0) shared_place[0] = found;
    }
    __syncthreads();
    const Bucket found = shared_place[0];
    prefix = prefix << kDigitBits | static_cast<uint64_t>(found.digit);
    wanted = found.within;
    if (found.count == found.within) break;  // all that begin so
    __syncthreads();
  } while (shift > 0);
  return prefix << shift;
}

// A block a row: the k keys from the threshold up go to candidates (N, k) in any order; each one's place is how many are higher.
template <class Float, bool kWide>
__global__ void __launch_bounds__(kRankThreads)
    top_k_kernel(int32_t *index, float *probability, uint64_t *candidates, const Float *logits, int64_t N, int64_t V, int64_t k) {
  constexpr int kCount = kGroup<Float>;
  LETHE_SHARED(int, found, [1]);
  for (int64_t row = blockIdx.x; row < N; row += gridDim.x) {
    const Float *const x = logits + row * V;
    uint64_t *const best = candidates + row * k;
    Softmax softmax{-INFINITY, 0.0f};
    block_groups<kWide, 2>(x, V, -INFINITY, [&](int64_t, const float(&values)[kCount]) { softmax.take(values); });
    softmax = block_softmax(softmax);

    if (thread() == 0) found[0] = 0;
    const uint64_t from = threshold(x, V, static_cast<int>(k));
    for (int64_t i = thread(); i < V; i += threads()) {
      const uint64_t key = rank_key(to_float(x[i]), i);
      if (key >= from) best[atomicAdd(&found[0], 1)] = key;
    }
    __syncthreads();
    for (int64_t i = thread(); i < k; i += threads()) {
      const uint64_t key = best[i];
      int64_t place = 0;
      for (int64_t other = 0; other < k; other++) place += best[other] > key ? 1 : 0;
      const int32_t token = index_of(key);
      index[row * k + place] = token;
      probability[row * k + place] = expf(to_float(x[token]) - softmax.largest) / softmax.sum;
    }
    __syncthreads();
  }
}

// index (N, k), probability (N, k), logits (N, V)
lethe_status top_k(lethe_device *device, int32_t *index, float *probability, const void *logits, int32_t dtype, int64_t N, int64_t V,
                   int64_t k, lethe_stream *stream) {
  auto *candidates = static_cast<uint64_t *>(device->scratch(stream, N * k * static_cast<int64_t>(sizeof(uint64_t))));
  with_type(dtype, [&](auto type) {
    using Float = decltype(type);
    const bool whole = wide(V * static_cast<int64_t>(sizeof(Float)), logits);
    launch(device, stream, grid(N), kRankThreads, 0, whole ? top_k_kernel<Float, true> : top_k_kernel<Float, false>, index, probability,
           candidates, logits, N, V, k);
  });
  return LETHE_OK;
}

}  // namespace lethe::gpu
