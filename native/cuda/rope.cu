// Rotary position embedding (Su et al. 2021), halves paired.
//
// Operations: 3 an element. Bytes: every element read and written once; the table's row, D fp32, is read once from memory and for
// each two heads from the first cache. Expected: 85% of a copy's rate, four independent 128-bit loads a thread.
#include "gpu.h"

namespace lethe::gpu {

constexpr int kRopeThreads = 256;
constexpr int kRopeHeads = 2;  // turned by one thread, with the same cosines and sines

// x (N, heads, 2 half) in place, table (P, half, 2); sign: -1 turns the other way
template <class Float, bool kWide>
__global__ void __launch_bounds__(kRopeThreads)
    rope_kernel(Float *x, int64_t ld_x, const float *table, const int32_t *positions, float sign, int64_t N, int64_t heads, int64_t half) {
  constexpr int kCount = kGroup<Float>;
  const int64_t groups = divide_up(half, kCount), row_items = groups * divide_up(heads, kRopeHeads);
  const int64_t item = static_cast<int64_t>(blockIdx.x) * threads() + thread(), row = item / row_items;
  if (row >= N) return;
  const int64_t in_row = item - row * row_items, chunk = in_row / groups;
  const int64_t at = (in_row - chunk * groups) * kCount, left = half - at, head = chunk * kRopeHeads;

  float turn[2 * kCount];  // cosine and sine by turns
  load<kWide>(turn, table + (positions[row] * half + at) * 2, 2 * left);
  Float *const first = x + row * ld_x + head * 2 * half + at;
  float low[kRopeHeads][kCount], high[kRopeHeads][kCount];
#pragma unroll
  for (int h = 0; h < kRopeHeads; h++) {
    const int64_t here = head + h < heads ? left : 0;
    load<kWide>(low[h], first + h * 2 * half, here);
    load<kWide>(high[h], first + (h * 2 + 1) * half, here);
  }
#pragma unroll
  for (int h = 0; h < kRopeHeads; h++) {
    const int64_t here = head + h < heads ? left : 0;
#pragma unroll
    for (int i = 0; i < kCount; i++) {
      const float a = low[h][i], b = high[h][i], c = turn[2 * i], s = turn[2 * i + 1] * sign;
      low[h][i] = a * c - b * s;
      high[h][i] = b * c + a * s;
    }
    store<kWide>(first + h * 2 * half, low[h], here);
    store<kWide>(first + (h * 2 + 1) * half, high[h], here);
  }
}

// x (N, heads, D) in place, table (P, D/2, 2): x[i], x[i + D/2] = x[i] c - x[i + D/2] s, x[i + D/2] c + x[i] s
lethe_status rope(lethe_device *device, void *x, int64_t ld_x, const float *table, const int32_t *positions, int32_t inverse,
                  int32_t dtype, int64_t N, int64_t heads, int64_t D, int64_t, lethe_stream *stream) {
  const int64_t half = D / 2;
  with_type(dtype, [&](auto type) {
    using Float = decltype(type);
    constexpr int64_t kBytes = sizeof(Float);
    const bool whole = wide(half * kBytes, x, table) && wide(ld_x * kBytes);
    const int64_t items = N * divide_up(half, kGroup<Float>) * divide_up(heads, kRopeHeads);
    launch(device, stream, grid(divide_up(items, kRopeThreads)), kRopeThreads, 0,
           whole ? rope_kernel<Float, true> : rope_kernel<Float, false>, x, ld_x, table, positions, inverse == 1 ? -1.0f : 1.0f, N, heads,
           half);
  });
  return LETHE_OK;
}

}  // namespace lethe::gpu
