// The backward of attention (attention.cu), from the log-sum-exps that it kept (Dao 2023, FlashAttention-2):
//   P = exp(scale S - lse), delta = rowsum(dO out), dS = P (dO V^T - delta), dV = P^T dO, dK = scale dS^T Q, dQ = scale dS K
//
// Three kernels: delta; dK and dV, a block for a tile of keys, which walks over the queries that see it; dQ, a block for a tile of
// queries, which walks over the keys that they see. The last takes S and dO V^T a second time: 7 products instead of 5. The other
// ways to the same bits every time are to add each key tile's part of dQ in turn, for which blocks wait on each other, or to keep
// the parts apart: fp32 parts of dQ, T / 64 of them, written and read again, take longer than the products do from T = 512 on.
//
// For the record, of a layer of Llama2-7b at 8 blocks of 512 tokens (32 heads, D = 128) on an H100 (989 TFLOP/s, 3.35 TB/s):
//   operations   a product is 2 D for each of B Hq T (T + 1) / 2 pairs, 8.6 GFLOP: 5 of them are 43, ours 7 are 60
//   bytes        q, k, v, out, d_out and d_q, d_k, d_v once, 268 MB; our three kernels 67 + 201 + 168 = 436 MB
//   floor        80 us by memory, 43 us by the tensor cores
//   expected     a third of the floor. delta: nine tenths of its bytes at the memory's rate. Keys: 40 KB from shared memory in 320
//                clocks for what takes the tensor cores 128, so at most 40% of the datasheet's rate, and queries 37% likewise; wider
//                warp tiles would halve that but want more registers than there are. Forward and backward are 1.5% of a step's operations
#include "attention.h"

namespace lethe::gpu {

// ---- delta --------------------------------------------------------------------------------------------------------------

constexpr int kDeltaThreads = 256, kDeltaLanes = 8;  // lanes that share a row of a head

// delta (B, Hq, T) = rowsum(d_out out)
template <class Float>
__global__ void __launch_bounds__(kDeltaThreads)
    attention_delta(float *delta, const Float *d_out, int64_t ld_dout, const Float *out, int64_t ld_out, Heads heads, int64_t rows) {
  const int64_t index = static_cast<int64_t>(blockIdx.x) * (kDeltaThreads / kDeltaLanes) + static_cast<int>(threadIdx.x) / kDeltaLanes;
  const int64_t row = index / heads.Hq;  // of (B*T)
  const int head = static_cast<int>(index % heads.Hq), member = static_cast<int>(threadIdx.x) % kDeltaLanes;
  d_out += row * ld_dout + static_cast<int64_t>(head) * heads.D;
  out += row * ld_out + static_cast<int64_t>(head) * heads.D;
  float sum = 0.0f;
  if (row < rows) {
    constexpr int kCount = Wide<Float>::kCount;
    for (int d = member * kCount; d < heads.D; d += kDeltaLanes * kCount) {
      float x[kCount], y[kCount];
      if (heads.wide) {
        load<true>(x, d_out + d, heads.D - d);
        load<true>(y, out + d, heads.D - d);
      } else {
        load<false>(x, d_out + d, heads.D - d);
        load<false>(y, out + d, heads.D - d);
      }
#pragma unroll
      for (int j = 0; j < kCount; j++) sum = fmaf(x[j], y[j], sum);
    }
  }
#pragma unroll
  for (int offset = kDeltaLanes / 2; offset > 0; offset /= 2) sum += __shfl_xor_sync(kAll, sum, offset);
  if (row < rows && member == 0) numbers_of(delta, heads, static_cast<int>(row / heads.T), head)[row % heads.T] = sum;
}

// ---- bf16 on tensor cores -------------------------------------------------------------------------------------------------

constexpr int kBackwardThreads = 128, kBackwardRows = 64;  // keys of a block for dK and dV, queries of one for dQ
template <int kD>
constexpr int kBackwardStep = kD > 64 ? 32 : 64;  // rows of the other side that are there at a time

// A warp takes 16 keys and holds their dK and dV; S and dS are taken with keys as rows, so that they turn into the left sides of
// the products that follow without leaving the registers. The heads that share the keys follow one another. 57 KB at D = 64 and 70
// KB at 128: with the registers two blocks a multiprocessor.
template <int kD>
__global__ void __launch_bounds__(kBackwardThreads, 2)
    attention_backward_keys(Bf16 *d_k, Bf16 *d_v, int64_t ld_dkv, const Bf16 *d_out, int64_t ld_dout, const float *lse, const float *delta,
                            const Bf16 *q, int64_t ld_q, const Bf16 *k, const Bf16 *v, int64_t ld_kv, Heads heads) {
  constexpr int kQueries = kBackwardStep<kD>, kN = kQueries / 8, kStage = 2 * kQueries * kLd<kD>;
  LETHE_DYNAMIC_SHARED(Bf16, keys);                           // (64, kD), in the end dK
  Bf16 *const values = keys + kBackwardRows * kLd<kD>;        // (64, kD), in the end dV
  Bf16 *const stages = values + kBackwardRows * kLd<kD>;      // (2, q and d_out, kQueries, kD)
  float *const numbers = reinterpret_cast<float *>(stages + 2 * kStage);  // (2, base-2 lse and delta, kQueries)

  const Place at(heads.tiles(kBackwardRows), heads.Hkv);
  const int first = at.tile * kBackwardRows, warp_row = warp() * 16;  // the longest first
  const int first_head = at.head * heads.group(), end_head = first_head + heads.group();
  load_tile<kBackwardRows, kD, kBackwardThreads>(keys, head_of(k, ld_kv, heads, at.b, at.head), ld_kv, first, heads);
  load_tile<kBackwardRows, kD, kBackwardThreads>(values, head_of(v, ld_kv, heads, at.b, at.head), ld_kv, first, heads);
  const auto fetch = [&](int stage, int head, int query) {
    Bf16 *const tile = stages + stage * kStage;
    load_tile<kQueries, kD, kBackwardThreads>(tile, head_of(q, ld_q, heads, at.b, head), ld_q, query, heads);
    load_tile<kQueries, kD, kBackwardThreads>(tile + kStage / 2, head_of(d_out, ld_dout, heads, at.b, head), ld_dout, query, heads);
    commit_copies();
  };
  // The number of the query that this thread brings: half of the threads lse, half delta. Beyond T both make P and dS zero.
  const int brings = static_cast<int>(threadIdx.x) % kQueries, which = static_cast<int>(threadIdx.x) / kQueries;
  const auto number = [&](int head, int query) {
    const bool there = query + brings < heads.T;
    if (which == 0) return there ? numbers_of(lse, heads, at.b, head)[query + brings] * kLog2E : kInfinity;
    return there && which == 1 ? numbers_of(delta, heads, at.b, head)[query + brings] : 0.0f;
  };
  const auto keep = [&](int stage, float x) {
    if (which < 2) numbers[(stage * 2 + which) * kQueries + brings] = x;
  };
  fetch(0, first_head, first);
  keep(0, number(first_head, first));

  const float scale = heads.scale * kLog2E;
  float d_keys[1][kD / 8][4], d_values[1][kD / 8][4];
  clear(d_keys);
  clear(d_values);
  for (int head = first_head, query = first, stage = 0; head < end_head; stage ^= 1) {
    Bf16 *const queries = stages + stage * kStage, *const d_outs = queries + kStage / 2;
    const float *const lse2 = numbers + stage * 2 * kQueries, *const deltas = lse2 + kQueries;
    const bool last = query + kQueries >= heads.T;
    const int next_head = last ? head + 1 : head, next_query = last ? first : query + kQueries;
    const bool more = next_head < end_head;
    wait_for_copies<0>();
    __syncthreads();  // this stage is there, the other is done with
    float next = 0.0f;
    if (more) {
      fetch(stage ^ 1, next_head, next_query);
      next = number(next_head, next_query);
    }

    float p[1][kN][4], d_s[1][kN][4];  // keys by queries
    clear(p);
    multiply_transposed<kD>(p, keys + warp_row * kLd<kD>, queries);
    clear(d_s);
    multiply_transposed<kD>(d_s, values + warp_row * kLd<kD>, d_outs);
    const bool diagonal = query < first + kBackwardRows - 1;
#pragma unroll
    for (int n = 0; n < kN; n++)
#pragma unroll
      for (int e = 0; e < 4; e++) {
        const int column = column_of(n, e);
        const bool hidden = diagonal && query + column < first + warp_row + row_of(0, e);
        p[0][n][e] = hidden ? 0.0f : exp2_fast(fmaf(p[0][n][e], scale, -lse2[column]));
        d_s[0][n][e] = hidden ? 0.0f : p[0][n][e] * (d_s[0][n][e] - deltas[column]);
      }
    if (diagonal && __syncthreads_or(any_nonfinite<kQueries, kD, kBackwardThreads>(queries) |
                                     any_nonfinite<kQueries, kD, kBackwardThreads>(d_outs))) {
      const auto sees = [&](int row, int i) { return first + warp_row + row <= query + i; };
      add_nonfinite<kQueries, kD>(d_keys, queries, sees);
      add_nonfinite<kQueries, kD>(d_values, d_outs, sees);
      __syncthreads();
      clear_nonfinite<kQueries, kD, kBackwardThreads>(queries);
      clear_nonfinite<kQueries, kD, kBackwardThreads>(d_outs);
      __syncthreads();
    }
    multiply<kD>(d_values, Left<1, kN>(p), d_outs);
    multiply<kD>(d_keys, Left<1, kN>(d_s), queries);
    if (more) keep(stage ^ 1, next);
    head = next_head, query = next_query;
  }

  Bf16 *const own_keys = keys + warp_row * kLd<kD>, *const own_values = values + warp_row * kLd<kD>;  // no other warp reads these rows
  const float scales[1][2] = {{heads.scale, heads.scale}}, ones[1][2] = {{1.0f, 1.0f}};
  __syncwarp();
  round_to_tile<kD>(own_keys, d_keys, scales);
  round_to_tile<kD>(own_values, d_values, ones);
  store_rows<16, kD>(head_of(d_k, ld_dkv, heads, at.b, at.head), ld_dkv, first + warp_row, heads, own_keys);
  store_rows<16, kD>(head_of(d_v, ld_dkv, heads, at.b, at.head), ld_dkv, first + warp_row, heads, own_values);
}

// A warp takes 16 queries and holds their q, d_out and dQ. 55 KB at D = 64 and 70 KB at 128.
template <int kD>
__global__ void __launch_bounds__(kBackwardThreads, 3)
    attention_backward_queries(Bf16 *d_q, int64_t ld_dq, const Bf16 *d_out, int64_t ld_dout, const float *lse, const float *delta,
                               const Bf16 *q, int64_t ld_q, const Bf16 *k, const Bf16 *v, int64_t ld_kv, Heads heads) {
  constexpr int kKeys = kBackwardStep<kD>, kN = kKeys / 8, kStage = 2 * kKeys * kLd<kD>;
  LETHE_DYNAMIC_SHARED(Bf16, queries);                       // (64, kD), in the end dQ
  Bf16 *const d_outs = queries + kBackwardRows * kLd<kD>;    // (64, kD)
  Bf16 *const stages = d_outs + kBackwardRows * kLd<kD>;     // (2, keys and values, kKeys, kD)

  const Place at(heads.tiles(kBackwardRows), heads.Hq);
  const int first = (heads.tiles(kBackwardRows) - 1 - at.tile) * kBackwardRows, warp_row = warp() * 16;  // the longest first
  const int end = first + kBackwardRows < heads.T ? first + kBackwardRows : heads.T;
  k = head_of(k, ld_kv, heads, at.b, at.head / heads.group());
  v = head_of(v, ld_kv, heads, at.b, at.head / heads.group());
  const auto fetch = [&](int key) {
    Bf16 *const tile = stages + key / kKeys % 2 * kStage;
    load_tile<kKeys, kD, kBackwardThreads>(tile, k, ld_kv, key, heads);
    load_tile<kKeys, kD, kBackwardThreads>(tile + kStage / 2, v, ld_kv, key, heads);
    commit_copies();
  };
  load_tile<kBackwardRows, kD, kBackwardThreads>(queries, head_of(q, ld_q, heads, at.b, at.head), ld_q, first, heads);
  load_tile<kBackwardRows, kD, kBackwardThreads>(d_outs, head_of(d_out, ld_dout, heads, at.b, at.head), ld_dout, first, heads);
  fetch(0);
  float lse2[2], deltas[2];
#pragma unroll
  for (int half = 0; half < 2; half++) {
    const int row = first + warp_row + row_of(0, 2 * half);
    lse2[half] = row < heads.T ? numbers_of(lse, heads, at.b, at.head)[row] * kLog2E : kInfinity;
    deltas[half] = row < heads.T ? numbers_of(delta, heads, at.b, at.head)[row] : 0.0f;
  }

  const float scale = heads.scale * kLog2E;
  float d_queries[1][kD / 8][4];
  clear(d_queries);
  for (int key = 0; key < end; key += kKeys) {
    Bf16 *const keys = stages + key / kKeys % 2 * kStage;
    const bool diagonal = key + kKeys - 1 > first;
    wait_for_copies<0>();
    __syncthreads();  // this stage is there, the other is done with
    if (key + kKeys < end) fetch(key + kKeys);

    float p[1][kN][4], d_s[1][kN][4];
    clear(p);
    multiply_transposed<kD>(p, queries + warp_row * kLd<kD>, keys);
    clear(d_s);
    multiply_transposed<kD>(d_s, d_outs + warp_row * kLd<kD>, keys + kStage / 2);
#pragma unroll
    for (int n = 0; n < kN; n++)
#pragma unroll
      for (int e = 0; e < 4; e++) {
        const bool hidden = diagonal && key + column_of(n, e) > first + warp_row + row_of(0, e);
        const float share = exp2_fast(fmaf(p[0][n][e], scale, -lse2[e / 2]));
        d_s[0][n][e] = hidden ? 0.0f : share * (d_s[0][n][e] - deltas[e / 2]);
      }
    if (diagonal && __syncthreads_or(any_nonfinite<kKeys, kD, kBackwardThreads>(keys))) {
      add_nonfinite<kKeys, kD>(d_queries, keys, [&](int row, int j) { return key + j <= first + warp_row + row; });
      __syncthreads();
      clear_nonfinite<kKeys, kD, kBackwardThreads>(keys);
      __syncthreads();
    }
    multiply<kD>(d_queries, Left<1, kN>(d_s), keys);
  }

  Bf16 *const own = queries + warp_row * kLd<kD>;  // no other warp reads these rows
  const float scales[1][2] = {{heads.scale, heads.scale}};
  __syncwarp();
  round_to_tile<kD>(own, d_queries, scales);
  store_rows<16, kD>(head_of(d_q, ld_dq, heads, at.b, at.head), ld_dq, first + warp_row, heads, own);
}

// ---- fp32, and rows too wide for the above --------------------------------------------------------------------------------

template <int kD>
constexpr int kExactTile = kD > 128 ? 16 : 32;  // keys and queries; four tiles lie in shared memory

// What both kernels share: P and dS of a tile of queries by a tile of keys, in shared memory.
template <int kD>
struct ExactPair {
  static constexpr int kTile = kExactTile<kD>, kRows = kTile / 8, kColumns = kTile / 16, kRowStep = kTile + 1;
  static constexpr int kFloats = 4 * kTile * kExactLd<kD> + 2 * kTile * kRowStep;

  __device__ explicit ExactPair(float *shared)
      : queries(shared),
        d_outs(queries + kTile * kExactLd<kD>),
        keys(d_outs + kTile * kExactLd<kD>),
        values(keys + kTile * kExactLd<kD>),
        p(values + kTile * kExactLd<kD>),
        d_s(p + kTile * kRowStep) {}

  // lse and delta are the head's. The block must wait before p and d_s are read.
  __device__ void take(const float *lse, const float *delta, int query, int key, const Heads &heads) {
    float scores[kRows][kColumns], d_p[kRows][kColumns];
    dot_exact<kTile, kD>(scores, queries, keys);
    dot_exact<kTile, kD>(d_p, d_outs, values);
#pragma unroll
    for (int r = 0; r < kRows; r++) {
      const int row = thread_row() * kRows + r;
      const bool there = query + row < heads.T;
      const float lse2 = there ? lse[query + row] * kLog2E : kInfinity, rest = there ? delta[query + row] : 0.0f;
#pragma unroll
      for (int j = 0; j < kColumns; j++) {
        const int column = thread_column() + 16 * j;
        const bool hidden = key + column > query + row;
        const float share = hidden ? 0.0f : exp2f(fmaf(scores[r][j], heads.scale * kLog2E, -lse2));
        p[row * kRowStep + column] = share;
        d_s[row * kRowStep + column] = hidden ? 0.0f : share * (d_p[r][j] - rest);
      }
    }
  }

  float *const queries, *const d_outs, *const keys, *const values;  // (kTile, kD)
  float *const p, *const d_s;                                       // (kTile queries, kTile keys)
};

template <class Float, int kD>
__global__ void __launch_bounds__(kExactThreads, 2)
    attention_backward_keys_exact(Float *d_k, Float *d_v, int64_t ld_dkv, const Float *d_out, int64_t ld_dout, const float *lse,
                                  const float *delta, const Float *q, int64_t ld_q, const Float *k, const Float *v, int64_t ld_kv,
                                  Heads heads) {
  using Pair = ExactPair<kD>;
  constexpr int kTile = Pair::kTile, kRows = Pair::kRows;
  LETHE_DYNAMIC_SHARED(float, shared);
  Pair pair(shared);
  const Place at(heads.tiles(kTile), heads.Hkv);
  const int first = at.tile * kTile;
  load_exact<kTile, kD>(pair.keys, head_of(k, ld_kv, heads, at.b, at.head), ld_kv, first, heads);
  load_exact<kTile, kD>(pair.values, head_of(v, ld_kv, heads, at.b, at.head), ld_kv, first, heads);
  float d_keys[kRows][kD / 16] = {}, d_values[kRows][kD / 16] = {};
  for (int head = at.head * heads.group(); head < (at.head + 1) * heads.group(); head++) {
    for (int query = first; query < heads.T; query += kTile) {
      __syncthreads();  // the last tiles are done with
      load_exact<kTile, kD>(pair.queries, head_of(q, ld_q, heads, at.b, head), ld_q, query, heads);
      load_exact<kTile, kD>(pair.d_outs, head_of(d_out, ld_dout, heads, at.b, head), ld_dout, query, heads);
      __syncthreads();
      pair.take(numbers_of(lse, heads, at.b, head), numbers_of(delta, heads, at.b, head), query, first, heads);
      __syncthreads();
      const auto sees = [&](int row, int i) { return first + row <= query + i; };
      multiply_exact<kTile, kD>(d_values, pair.p, 1, Pair::kRowStep, pair.d_outs, sees);
      multiply_exact<kTile, kD>(d_keys, pair.d_s, 1, Pair::kRowStep, pair.queries, sees);
    }
  }
  float scales[kRows], ones[kRows];
#pragma unroll
  for (int r = 0; r < kRows; r++) scales[r] = heads.scale, ones[r] = 1.0f;
  store_exact<kTile, kD>(head_of(d_k, ld_dkv, heads, at.b, at.head), ld_dkv, first, heads, d_keys, scales);
  store_exact<kTile, kD>(head_of(d_v, ld_dkv, heads, at.b, at.head), ld_dkv, first, heads, d_values, ones);
}

template <class Float, int kD>
__global__ void __launch_bounds__(kExactThreads, 2)
    attention_backward_queries_exact(Float *d_q, int64_t ld_dq, const Float *d_out, int64_t ld_dout, const float *lse, const float *delta,
                                     const Float *q, int64_t ld_q, const Float *k, const Float *v, int64_t ld_kv, Heads heads) {
  using Pair = ExactPair<kD>;
  constexpr int kTile = Pair::kTile, kRows = Pair::kRows;
  LETHE_DYNAMIC_SHARED(float, shared);
  Pair pair(shared);
  const Place at(heads.tiles(kTile), heads.Hq);
  const int first = (heads.tiles(kTile) - 1 - at.tile) * kTile;
  load_exact<kTile, kD>(pair.queries, head_of(q, ld_q, heads, at.b, at.head), ld_q, first, heads);
  load_exact<kTile, kD>(pair.d_outs, head_of(d_out, ld_dout, heads, at.b, at.head), ld_dout, first, heads);
  float d_queries[kRows][kD / 16] = {};
  for (int key = 0; key <= first; key += kTile) {
    __syncthreads();  // the last tiles are done with
    load_exact<kTile, kD>(pair.keys, head_of(k, ld_kv, heads, at.b, at.head / heads.group()), ld_kv, key, heads);
    load_exact<kTile, kD>(pair.values, head_of(v, ld_kv, heads, at.b, at.head / heads.group()), ld_kv, key, heads);
    __syncthreads();
    pair.take(numbers_of(lse, heads, at.b, at.head), numbers_of(delta, heads, at.b, at.head), first, key, heads);
    __syncthreads();
    multiply_exact<kTile, kD>(d_queries, pair.d_s, Pair::kRowStep, 1, pair.keys,
                              [&](int row, int j) { return key + j <= first + row; });
  }
  float scales[kRows];
#pragma unroll
  for (int r = 0; r < kRows; r++) scales[r] = heads.scale;
  store_exact<kTile, kD>(head_of(d_q, ld_dq, heads, at.b, at.head), ld_dq, first, heads, d_queries, scales);
}

// ---- the operation ------------------------------------------------------------------------------------------------------

lethe_status attention_backward_workspace(lethe_device *, int64_t *bytes, int32_t, int64_t B, int64_t T, int64_t Hq, int64_t, int64_t) {
  *bytes = B * Hq * T * static_cast<int64_t>(sizeof(float));  // delta
  return LETHE_OK;
}

lethe_status attention_backward(lethe_device *device, void *d_q, int64_t ld_dq, void *d_k, void *d_v, int64_t ld_dkv, const void *d_out,
                                int64_t ld_dout, const void *out, int64_t ld_out, const float *lse, const void *q, int64_t ld_q,
                                const void *k, const void *v, int64_t ld_kv, int32_t dtype, int64_t B, int64_t T, int64_t Hq, int64_t Hkv,
                                int64_t D, float scale, void *workspace, int64_t, lethe_stream *stream) {
  const int64_t element = dtype == LETHE_BF16 ? 2 : 4;
  const auto pieces = [&](int64_t ld, auto... address) { return wide(D * element, nullptr) && wide(ld * element, address...); };
  const Heads heads{static_cast<int>(T),
                    static_cast<int>(Hq),
                    static_cast<int>(Hkv),
                    static_cast<int>(D),
                    scale,
                    pieces(ld_dout, d_out) && pieces(ld_out, out) && pieces(ld_q, q) && pieces(ld_kv, k, v),
                    pieces(ld_dq, d_q) && pieces(ld_dkv, d_k, d_v)};
  float *const delta = static_cast<float *>(workspace);
  const auto run = [&](auto number, auto by_keys, auto by_queries, int rows, int threads, int64_t keys_shared, int64_t queries_shared) {
    using Float = decltype(number);
    const auto in = [](const void *x) { return static_cast<const Float *>(x); };
    const int64_t tiles = heads.tiles(rows);
    launch(device, stream, dim3(static_cast<unsigned>(divide_up(B * T * Hq, kDeltaThreads / kDeltaLanes))), kDeltaThreads, 0,
           attention_delta<Float>, delta, in(d_out), ld_dout, in(out), ld_out, heads, B * T);
    launch(device, stream, dim3(static_cast<unsigned>(B * Hkv * tiles)), threads, keys_shared, by_keys, static_cast<Float *>(d_k),
           static_cast<Float *>(d_v), ld_dkv, in(d_out), ld_dout, lse, delta, in(q), ld_q, in(k), in(v), ld_kv, heads);
    launch(device, stream, dim3(static_cast<unsigned>(B * Hq * tiles)), threads, queries_shared, by_queries, static_cast<Float *>(d_q),
           ld_dq, in(d_out), ld_dout, lse, delta, in(q), ld_q, in(k), in(v), ld_kv, heads);
  };
  if (has_tensor_core_kernel(dtype, D)) {
    on_tensor_cores(D, [&](auto width) {
      constexpr int kD = decltype(width)::kWidth, kStep = kBackwardStep<kD>;
      constexpr int64_t kTiles = (2 * kBackwardRows + 4 * kStep) * kLd<kD> * static_cast<int64_t>(sizeof(Bf16));
      constexpr int64_t kNumbers = 4 * kStep * static_cast<int64_t>(sizeof(float));
      run(Bf16{}, attention_backward_keys<kD>, attention_backward_queries<kD>, kBackwardRows, kBackwardThreads, kTiles + kNumbers, kTiles);
    });
  } else {
    without_tensor_cores(dtype, D, [&](auto number, auto width) {
      using Float = decltype(number);
      constexpr int kD = decltype(width)::kWidth;
      constexpr int64_t kShared = ExactPair<kD>::kFloats * static_cast<int64_t>(sizeof(float));
      run(number, attention_backward_keys_exact<Float, kD>, attention_backward_queries_exact<Float, kD>, kExactTile<kD>, kExactThreads,
          kShared, kShared);
    });
  }
  return LETHE_OK;
}

}  // namespace lethe::gpu
