// The cache of keys and values, and one new token against it.
//
// position lies on the device and the grid may not depend on it: the blocks are as many as keep the device busy, and each takes its
// stripe of the keys that there are. A second kernel joins the stripes' softmaxes, always in the same order.
//
// For the record: a token reads 2 B Hkv length D elements of the caches once for every four query heads that share them and
// multiplies each twice a query head, 1 FLOP a byte in bf16 for each: the floor is the memory's rate (Llama2-7b, bf16, one sequence
// at 512: 8.4 MB a layer, 2.5 us on an H100). Expected: four fifths of it for caches of megabytes a kernel; below that the two
// launches and the way through memory, some 5 us together, are what is seen. The cache's own write is a copy of one row a token.
#include "attention.h"

namespace lethe::gpu {

// ---- the cache ------------------------------------------------------------------------------------------------------------

constexpr int kCopyThreads = 256;

// A block takes a row of k (blockIdx.y 0) or v, in pieces as wide as addresses allow; D and ld_kv are counted in pieces.
template <class Piece>
__global__ void __launch_bounds__(kCopyThreads)
    cache_write_pieces(Piece *k_cache, Piece *v_cache, const Piece *k, const Piece *v, int64_t ld_kv, const int32_t *position, int T,
                       int Hkv, int D, int64_t capacity) {
  const int row = static_cast<int>(blockIdx.x), b = row / T;
  const int64_t at = position[row];
  if (at < 0 || at >= capacity) return;
  const Piece *const x = (blockIdx.y == 0 ? k : v) + row * ld_kv;
  Piece *const cache = (blockIdx.y == 0 ? k_cache : v_cache) + (static_cast<int64_t>(b) * Hkv * capacity + at) * D;
  for (int i = static_cast<int>(threadIdx.x); i < Hkv * D; i += kCopyThreads) cache[i / D * capacity * D + i % D] = x[i];
}

lethe_status cache_write(lethe_device *device, void *k_cache, void *v_cache, const void *k, const void *v, int64_t ld_kv,
                         const int32_t *position, int32_t dtype, int64_t B, int64_t T, int64_t Hkv, int64_t D, int64_t capacity,
                         lethe_stream *stream) {
  const auto run = [&](auto piece, int64_t elements) {
    using Piece = decltype(piece);
    launch(device, stream, dim3(static_cast<unsigned>(B * T), 2), kCopyThreads, 0, cache_write_pieces<Piece>,
           static_cast<Piece *>(k_cache), static_cast<Piece *>(v_cache), static_cast<const Piece *>(k), static_cast<const Piece *>(v),
           ld_kv / elements, position, T, Hkv, D / elements, capacity);
  };
  const int64_t element = dtype == LETHE_BF16 ? 2 : 4;
  if (wide(D * element, k_cache, v_cache) && wide(ld_kv * element, k, v)) {
    run(uint4{}, 16 / element);
  } else if (dtype == LETHE_BF16) {
    run(uint16_t{}, 1);
  } else {
    run(uint32_t{}, 1);
  }
  return LETHE_OK;
}

// ---- one new token --------------------------------------------------------------------------------------------------------

constexpr int kDecodeThreads = 128, kShortestStripe = 64;

struct Decoding {
  int Hq, Hkv, D, capacity, stripes;
  float scale;
  bool wide;

  __host__ __device__ int group() const { return Hq / Hkv; }
  // Of keys, the new token's included; kept inside the cache.
  __device__ int length(int p) const {
    return p < 0 ? 1 : p < capacity ? p + 1 : capacity;
  }
  __device__ int stripe(int length) const {
    const int each = (length + stripes - 1) / stripes;
    return each < kShortestStripe ? kShortestStripe : each;
  }
  // Where a head's stripe keeps its softmax: D sums, the largest base-2 score, the total.
  __device__ float *partial(float *partials, int64_t row, int s) const { return partials + (row * stripes + s) * (D + 2); }
};

// How the lanes of a warp share rows of up to kD elements: kLanes take a row, 16 bytes at a time.
template <class Float, int kD>
struct Sharing {
  static constexpr int kCount = Wide<Float>::kCount, kPieces = kD / kCount;
  static constexpr int kLanes = kPieces < kWarp ? kPieces : kWarp, kEach = kPieces / kLanes;
  static constexpr int kAtOnce = kDecodeThreads / kLanes;  // rows of a block

  __device__ static int member() { return static_cast<int>(threadIdx.x) % kLanes; }
  __device__ static int column(int piece) { return (piece * kLanes + member()) * kCount; }

  // Zeros beyond D, and where not valid.
  __device__ static void load(Wide<Float> (&to)[kEach], const Float *row, const Decoding &d, bool valid) {
#pragma unroll
    for (int i = 0; i < kEach; i++) {
      if (d.wide) {
        to[i] = valid && column(i) < d.D ? load_wide(row + column(i)) : Wide<Float>{};
      } else {
        float x[kCount];
#pragma unroll
        for (int j = 0; j < kCount; j++) x[j] = valid && column(i) + j < d.D ? to_float(row[column(i) + j]) : 0.0f;
        to[i] = pack(x);
      }
    }
  }

  // The sum of x over the lanes of a row.
  __device__ static float sum(float x) {
#pragma unroll
    for (int offset = kLanes / 2; offset > 0; offset /= 2) x += __shfl_xor_sync(kAll, x, offset);
    return x;
  }
};

// A block takes a stripe for kHeads of the heads that share its keys. The lanes that share a row go over every kAtOnce-th key, four at
// a time so that enough is under way, with a softmax of their own; in the end these are joined.
template <class Float, int kD, int kHeads>
__global__ void __launch_bounds__(kDecodeThreads)
    attention_decode_stripe(float *partials, const Float *q, int64_t ld_q, const Float *k_cache, const Float *v_cache, const int32_t *position,
                            Decoding d) {
  using Lanes = Sharing<Float, kD>;
  constexpr int kCount = Lanes::kCount, kEach = Lanes::kEach, kAtOnce = Lanes::kAtOnce, kUnder = 4;
  LETHE_SHARED(float, sums, [kAtOnce][kHeads][kD]);
  LETHE_SHARED(float, tops, [kAtOnce][kHeads]);
  LETHE_SHARED(float, totals, [kAtOnce][kHeads]);

  const int chunks = (d.group() + kHeads - 1) / kHeads;
  const int stripe = static_cast<int>(blockIdx.x) % d.stripes, chunk = static_cast<int>(blockIdx.x) / d.stripes % chunks;
  const int64_t kv = static_cast<int>(blockIdx.x) / d.stripes / chunks;  // of (B, Hkv)
  const int length = d.length(position[kv / d.Hkv]), each = d.stripe(length);
  const int begin = stripe * each, end = begin + each < length ? begin + each : length;
  if (begin >= end) return;
  const int64_t first_row = kv * d.group() + chunk * kHeads;  // of (B, Hq)
  q += kv / d.Hkv * ld_q + first_row % d.Hq * d.D;
  const int heads = d.group() - chunk * kHeads < kHeads ? d.group() - chunk * kHeads : kHeads;
  k_cache += kv * d.capacity * d.D;
  v_cache += kv * d.capacity * d.D;

  float query[kHeads][kEach][kCount], sum[kHeads][kEach][kCount] = {}, top[kHeads], total[kHeads];
#pragma unroll
  for (int h = 0; h < kHeads; h++) {
    Wide<Float> row[kEach];
    Lanes::load(row, q + h * d.D, d, h < heads);
#pragma unroll
    for (int i = 0; i < kEach; i++) unpack(row[i], query[h][i]);
    top[h] = -kInfinity, total[h] = 0.0f;
  }

  const float scale = d.scale * kLog2E;
  const int own = static_cast<int>(threadIdx.x) / Lanes::kLanes;
  for (int key = begin; key < end; key += kUnder * kAtOnce) {
    Wide<Float> keys[kUnder][kEach], values[kUnder][kEach];
#pragma unroll
    for (int u = 0; u < kUnder; u++) {
      const int at = key + u * kAtOnce + own;
      Lanes::load(keys[u], k_cache + static_cast<int64_t>(at) * d.D, d, at < end);
      Lanes::load(values[u], v_cache + static_cast<int64_t>(at) * d.D, d, at < end);
    }
    float p[kHeads][kUnder];
#pragma unroll
    for (int u = 0; u < kUnder; u++) {
      float x[kEach][kCount];
#pragma unroll
      for (int i = 0; i < kEach; i++) unpack(keys[u][i], x[i]);
#pragma unroll
      for (int h = 0; h < kHeads; h++) {
        float dot = 0.0f;
#pragma unroll
        for (int i = 0; i < kEach; i++)
#pragma unroll
          for (int j = 0; j < kCount; j++) dot = fmaf(query[h][i][j], x[i][j], dot);
        dot = Lanes::sum(dot);
        p[h][u] = key + u * kAtOnce + own < end ? dot * scale : -kInfinity;
      }
    }
#pragma unroll
    for (int h = 0; h < kHeads; h++) {
      float most = top[h];
#pragma unroll
      for (int u = 0; u < kUnder; u++) most = fmaxf(most, p[h][u]);
      const float base = most > -kInfinity ? most : 0.0f;  // these lanes may have met no key so far
      const float worth = exp2f(top[h] - base);
      top[h] = most;
      total[h] *= worth;
#pragma unroll
      for (int u = 0; u < kUnder; u++) total[h] += p[h][u] = exp2f(p[h][u] - base);
#pragma unroll
      for (int i = 0; i < kEach; i++)
#pragma unroll
        for (int j = 0; j < kCount; j++) sum[h][i][j] *= worth;
    }
#pragma unroll
    for (int u = 0; u < kUnder; u++)
#pragma unroll
      for (int i = 0; i < kEach; i++) {
        float x[kCount];
        unpack(values[u][i], x);
#pragma unroll
        for (int h = 0; h < kHeads; h++)
#pragma unroll
          for (int j = 0; j < kCount; j++) sum[h][i][j] = fmaf(p[h][u], x[j], sum[h][i][j]);
      }
  }

#pragma unroll
  for (int h = 0; h < kHeads; h++) {
#pragma unroll
    for (int i = 0; i < kEach; i++)
#pragma unroll
      for (int j = 0; j < kCount; j++) sums[own][h][Lanes::column(i) + j] = sum[h][i][j];
    if (Lanes::member() == 0) tops[own][h] = top[h], totals[own][h] = total[h];
  }
  __syncthreads();
  for (int h = 0; h < heads; h++) {
    float most = -kInfinity, all = 0.0f;
    for (int s = 0; s < kAtOnce; s++) most = fmaxf(most, tops[s][h]);
    const float base = most > -kInfinity ? most : 0.0f;
    for (int s = 0; s < kAtOnce; s++) all += exp2f(tops[s][h] - base) * totals[s][h];
    float *const partial = d.partial(partials, first_row + h, stripe);
    for (int column = static_cast<int>(threadIdx.x); column < d.D; column += kDecodeThreads) {
      float x = 0.0f;
      for (int s = 0; s < kAtOnce; s++) x = fmaf(exp2f(tops[s][h] - base), sums[s][h][column], x);
      partial[column] = x;
    }
    if (threadIdx.x == 0) partial[d.D] = most, partial[d.D + 1] = all;
  }
}

// out (B, Hq, D), a block a row, from the stripes that hold keys.
template <class Float>
__global__ void __launch_bounds__(kDecodeThreads)
    attention_decode_join(Float *out, float *partials, const int32_t *position, Decoding d) {
  const int64_t row = static_cast<int64_t>(blockIdx.x);
  const int length = d.length(position[row / d.Hq]), stripes = (length + d.stripe(length) - 1) / d.stripe(length);
  float most = -kInfinity, total = 0.0f;
  for (int s = 0; s < stripes; s++) most = fmaxf(most, d.partial(partials, row, s)[d.D]);
  const float base = most > -kInfinity ? most : 0.0f;
  for (int s = 0; s < stripes; s++) {
    const float *const partial = d.partial(partials, row, s);
    total = fmaf(exp2f(partial[d.D] - base), partial[d.D + 1], total);
  }
  for (int column = static_cast<int>(threadIdx.x); column < d.D; column += kDecodeThreads) {
    float x = 0.0f;
    for (int s = 0; s < stripes; s++) {
      const float *const partial = d.partial(partials, row, s);
      x = fmaf(exp2f(partial[d.D] - base), partial[column], x);
    }
    out[row * d.D + column] = from_float<Float>(x / total);
  }
}

lethe_status attention_decode(lethe_device *device, void *out, const void *q, int64_t ld_q, const void *k_cache, const void *v_cache,
                              const int32_t *position, int32_t dtype, int64_t B, int64_t Hq, int64_t Hkv, int64_t D, int64_t capacity,
                              float scale, lethe_stream *stream) {
  const int64_t group = Hq / Hkv;
  with_type(dtype, [&](auto number) {
    using Float = decltype(number);
    const auto run = [&](auto width, auto heads_of_block) {
      constexpr int kHeads = decltype(heads_of_block)::kWidth;
      const int64_t units = B * Hkv * divide_up(group, kHeads);
      const int64_t stripes = min(max(divide_up(2 * device->multiprocessors, units), 1), divide_up(capacity, kShortestStripe));
      constexpr int64_t kElement = sizeof(Float);
      const bool pieces = wide(D * kElement, k_cache, v_cache) && wide(ld_q * kElement, q);
      const Decoding d{static_cast<int>(Hq),       static_cast<int>(Hkv),     static_cast<int>(D),
                       static_cast<int>(capacity), static_cast<int>(stripes), scale,
                       pieces};
      const int64_t bytes = B * Hq * stripes * (D + 2) * static_cast<int64_t>(sizeof(float));
      float *const partials = static_cast<float *>(device->scratch(stream, bytes));
      launch(device, stream, dim3(static_cast<unsigned>(units * stripes)), kDecodeThreads, 0,
             attention_decode_stripe<Float, decltype(width)::kWidth, kHeads>, partials, static_cast<const Float *>(q), ld_q,
             static_cast<const Float *>(k_cache), static_cast<const Float *>(v_cache), position, d);
      launch(device, stream, dim3(static_cast<unsigned>(B * Hq)), kDecodeThreads, 0, attention_decode_join<Float>,
             static_cast<Float *>(out), partials, position, d);
    };
    const auto run_at = [&](auto width) { group == 1 ? run(width, Width<1>{}) : run(width, Width<4>{}); };
    D <= 64 ? run_at(Width<64>{}) : D <= 128 ? run_at(Width<128>{}) : run_at(Width<256>{});
  });
  return LETHE_OK;
}

}  // namespace lethe::gpu
