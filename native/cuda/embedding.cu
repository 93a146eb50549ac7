// Token embedding: rows of a table, and the gradient summed back into them.
//
// Operations: one addition an element backward. Bytes: forward every row read and written once; backward every row of d_out read
// once, and the rows of d_table that occur read and written once. Floor: bytes / bandwidth. Expected: forward 90% of a copy's rate;
// backward 60%: a token's rows are summed one after the other, so the most frequent token of a batch sets the end; sorting costs
// three launches a digit of the token number, some 30 us in all.
#include "gpu.h"

namespace lethe::gpu {

// out (N, d) = table[tokens[i]]
lethe_status embedding(lethe_device *device, void *out, const void *table, const int32_t *tokens, int32_t dtype, int64_t N, int64_t V,
                       int64_t d, lethe_stream *stream) {
  return gather_rows(device, out, table, tokens, dtype, N, V, d, stream);
}

// ---- positions sorted by token, those of a token in order: by digits from the lowest, each pass stable ----------------------

constexpr int kDigitBits = 8;
constexpr int kDigits = 1 << kDigitBits;
constexpr int kTile = 1024;  // positions that one warp takes, in order
constexpr int kScanThreads = 1024;

__device__ inline int digit_of(int32_t token, int shift) { return (token >> shift) % kDigits; }

// counts (kDigits, tiles): how often a tile has a digit. A block is a warp.
__global__ void __launch_bounds__(kWarp) count_digits_kernel(int32_t *counts, const int32_t *tokens, int64_t N, int shift) {
  LETHE_SHARED(int, own, [kDigits]);
  for (int i = thread(); i < kDigits; i += kWarp) own[i] = 0;
  __syncthreads();
  const int64_t begin = static_cast<int64_t>(blockIdx.x) * kTile, end = min(begin + kTile, N);
  for (int64_t i = begin + thread(); i < end; i += kWarp) atomicAdd(&own[digit_of(tokens[i], shift)], 1);
  __syncthreads();
  for (int64_t i = thread(); i < kDigits; i += kWarp) counts[i * gridDim.x + blockIdx.x] = own[i];
}

// x (n) = the sums of what is before each. One block: each thread has neighbouring numbers.
__global__ void __launch_bounds__(kScanThreads) exclusive_sums_kernel(int32_t *x, int64_t n) {
  LETHE_SHARED(int, sums, [kWarp]);
  const int64_t each = divide_up(n, kScanThreads), begin = min(n, thread() * each), end = min(n, begin + each);
  const int lane = thread() % kWarp, warp = thread() / kWarp;
  const auto over_warp = [&](int value) {  // with one's own
    for (int offset = 1; offset < kWarp; offset *= 2) {
      const int before = __shfl_up_sync(kAll, value, offset);
      if (lane >= offset) value += before;
    }
    return value;
  };
  int own = 0;
  for (int64_t i = begin; i < end; i++) own += x[i];
  const int in_warp = over_warp(own);
  if (lane == kWarp - 1) sums[warp] = in_warp;
  __syncthreads();
  const int warps = over_warp(sums[lane]);
  int before = in_warp - own;
  const int before_warp = __shfl_sync(kAll, warps, warp == 0 ? 0 : warp - 1);
  if (warp > 0) before += before_warp;
  for (int64_t i = begin; i < end; i++) {
    const int value = x[i];
    x[i] = before;
    before += value;
  }
}

// Every position to where its digit's go; offsets (kDigits, tiles). positions NULL: 0, 1, 2... A block is a warp.
__global__ void __launch_bounds__(kWarp)
    place_digits_kernel(int32_t *sorted_tokens, int32_t *sorted_positions, const int32_t *tokens, const int32_t *positions,
                        const int32_t *offsets, int64_t N, int shift) {
  LETHE_SHARED(int, next, [kDigits]);
  for (int64_t i = thread(); i < kDigits; i += kWarp) next[i] = offsets[i * gridDim.x + blockIdx.x];
  __syncthreads();
  const int64_t begin = static_cast<int64_t>(blockIdx.x) * kTile, end = min(begin + kTile, N);
  for (int64_t first = begin; first < end; first += kWarp) {
    const int64_t i = first + thread();
    const bool valid = i < end;
    const int32_t token = valid ? tokens[i] : 0;
    const int digit = digit_of(token, shift);
    unsigned same = __ballot_sync(kAll, valid);  // lanes with this digit
    for (int bit = 0; bit < kDigitBits; bit++) {
      const bool set = (digit >> bit) % 2 == 1;
      const unsigned with = __ballot_sync(kAll, set);
      same &= set ? with : ~with;
    }
    const int before = __popc(same & ((1u << thread()) - 1u)), start = next[digit];
    if (valid) {
      sorted_tokens[start + before] = token;
      sorted_positions[start + before] = positions == nullptr ? static_cast<int32_t>(i) : positions[i];
    }
    __syncthreads();
    if (valid && before == 0) next[digit] = start + __popc(same);
    __syncthreads();
  }
}

struct Sorted {
  int32_t *tokens, *positions;
};

Sorted sort(lethe_device *device, const int32_t *tokens, int64_t N, int64_t V, lethe_stream *stream) {
  const int64_t tiles = divide_up(N, kTile);
  auto *scratch = static_cast<int32_t *>(device->scratch(stream, (4 * N + kDigits * tiles) * static_cast<int64_t>(sizeof(int32_t))));
  Sorted from{const_cast<int32_t *>(tokens), nullptr}, to{scratch, scratch + N}, other{scratch + 2 * N, scratch + 3 * N};
  int32_t *const counts = scratch + 4 * N;
  for (int shift = 0; shift == 0 || (shift < 32 && (V - 1) >> shift > 0); shift += kDigitBits) {
    launch(device, stream, grid(tiles), kWarp, 0, count_digits_kernel, counts, from.tokens, N, shift);
    launch(device, stream, grid(1), kScanThreads, 0, exclusive_sums_kernel, counts, kDigits * tiles);
    launch(device, stream, grid(tiles), kWarp, 0, place_digits_kernel, to.tokens, to.positions, from.tokens, from.positions, counts, N,
           shift);
    from = to;
    to = other;
    other = from;
  }
  return from;
}

// ---- sums -----------------------------------------------------------------------------------------------------------------

constexpr int kSumThreads = 128;

// For the first of each token's positions, kSumThreads groups of columns a block: d_table (V, d) += rows of d_out (N, d), in order
template <class Gradient, class Float, bool kWide>
__global__ void __launch_bounds__(kSumThreads)
    embedding_backward_kernel(Gradient *d_table, const Float *d_out, const int32_t *tokens, const int32_t *positions, int64_t N, int64_t d) {
  constexpr int kCount = kGroup<Gradient, Float>;
  constexpr int kBatch = 4;  // rows on their way at once
  const int64_t column = (static_cast<int64_t>(blockIdx.y) * threads() + thread()) * kCount, left = d - column, first = blockIdx.x;
  const int32_t token = tokens[first];
  if (left <= 0 || (first > 0 && tokens[first - 1] == token)) return;
  Gradient *const to = d_table + token * d + column;
  float sums[kCount];
  load<kWide>(sums, to, left);
  for (int64_t i = first; i < N && tokens[i] == token; i += kBatch) {
    float rows[kBatch][kCount];
#pragma unroll
    for (int b = 0; b < kBatch; b++) {
      const bool mine = i + b < N && tokens[i + b] == token;
      load<kWide>(rows[b], d_out + (mine ? positions[i + b] : 0) * d + column, mine ? left : 0, kNothing);
    }
#pragma unroll
    for (int b = 0; b < kBatch; b++) {
#pragma unroll
      for (int j = 0; j < kCount; j++) sums[j] += rows[b][j];
    }
  }
  store<kWide>(to, sums, left);
}

// d_table (V, d) += rows of d_out (N, d)
lethe_status embedding_backward(lethe_device *device, void *d_table, const void *d_out, const int32_t *tokens, int32_t dtype,
                                int32_t grad_dtype, int64_t N, int64_t V, int64_t d, lethe_stream *stream) {
  const Sorted sorted = sort(device, tokens, N, V, stream);
  with_type(dtype, [&](auto type) {
    with_type(grad_dtype, [&](auto grad_type) {
      using Float = decltype(type);
      using Gradient = decltype(grad_type);
      const bool whole = wide(d * static_cast<int64_t>(sizeof(Float)), d_out) && wide(d * static_cast<int64_t>(sizeof(Gradient)), d_table);
      const int64_t columns = divide_up(d, kSumThreads * kGroup<Gradient, Float>);
      launch(device, stream, grid(N, columns), kSumThreads, 0,
             whole ? embedding_backward_kernel<Gradient, Float, true> : embedding_backward_kernel<Gradient, Float, false>, d_table, d_out,
             sorted.tokens, sorted.positions, N, d);
    });
  });
  return LETHE_OK;
}

}  // namespace lethe::gpu
