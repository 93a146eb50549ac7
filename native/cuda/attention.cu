// Causal attention with grouped key/value heads, flash style (Dao 2023, FlashAttention-2): see attention.h for the tiles.
//
// For the record, of a layer of Llama2-7b at 8 blocks of 512 tokens (32 heads, D = 128) on an H100 (989 TFLOP/s, 3.35 TB/s):
//   operations   4 D for each of B Hq T (T + 1) / 2 pairs = 17.2 GFLOP; 6% more on hidden pairs of diagonal tiles
//   bytes        q, k, v and out once, 134 MB; a sequence's keys and values are read again by its later tiles, from the L2 cache
//   floor        40 us by memory, 17 us by the tensor cores; from T = 1200 on the tensor cores' is the larger
//   expected     half of the floor at T = 512, 35 to 40% of the datasheet's rate for long T: mma.sync reaches about 62% of what
//                Hopper's wgmma does, shared memory gives 24 KB in 192 clocks for what takes the tensor cores 128, and the softmax
//                lies between products that need it. On an A100, where mma is all there is, 60 to 70%
#include "attention.h"

namespace lethe::gpu {

// ---- bf16 on tensor cores -------------------------------------------------------------------------------------------------

constexpr int kForwardQueries = 128, kForwardThreads = 128;
template <int kD>
constexpr int kForwardKeys = kD > 64 ? 32 : 64;

// A block takes 128 queries of one head, a warp 32 of them: each fragment of keys or values read from shared memory serves two
// products, else shared memory (128 bytes a clock) would be what limits. Tiles of keys and values have two buffers: the next are
// fetched while these are multiplied. 55 KB at D = 64 and 70 KB at 128: with the registers two blocks a multiprocessor on an A100
// or H100, one where there are 99 KB (sm_86, sm_89).
template <int kD>
__global__ void __launch_bounds__(kForwardThreads, 2)
    attention_forward(Bf16 *out, int64_t ld_out, float *lse, const Bf16 *q, int64_t ld_q, const Bf16 *k, const Bf16 *v, int64_t ld_kv,
                      Heads heads) {
  constexpr int kM = 2, kKeys = kForwardKeys<kD>, kN = kKeys / 8;
  LETHE_DYNAMIC_SHARED(Bf16, queries);                     // (128, kD), in the end what is written
  Bf16 *const stages = queries + kForwardQueries * kLd<kD>;  // (2, keys and values, kKeys, kD)

  const Place at(heads.tiles(kForwardQueries), heads.Hq);
  const int first = (heads.tiles(kForwardQueries) - 1 - at.tile) * kForwardQueries;  // the longest first
  const int warp_row = warp() * 16 * kM;
  const int end = first + kForwardQueries < heads.T ? first + kForwardQueries : heads.T;
  k = head_of(k, ld_kv, heads, at.b, at.head / heads.group());
  v = head_of(v, ld_kv, heads, at.b, at.head / heads.group());
  const auto fetch = [&](int key) {
    Bf16 *const stage = stages + key / kKeys % 2 * 2 * kKeys * kLd<kD>;
    load_tile<kKeys, kD, kForwardThreads>(stage, k, ld_kv, key, heads);
    load_tile<kKeys, kD, kForwardThreads>(stage + kKeys * kLd<kD>, v, ld_kv, key, heads);
    commit_copies();
  };
  load_tile<kForwardQueries, kD, kForwardThreads>(queries, head_of(q, ld_q, heads, at.b, at.head), ld_q, first, heads);
  fetch(0);

  const float scale = heads.scale * kLog2E;
  float sums[kM][kD / 8][4], top[kM][2], total[kM][2];  // total: of this lane's keys
  clear(sums);
#pragma unroll
  for (int m = 0; m < kM; m++) {
    top[m][0] = top[m][1] = -kInfinity;
    total[m][0] = total[m][1] = 0.0f;
  }

  for (int key = 0; key < end; key += kKeys) {
    const Bf16 *const keys = stages + key / kKeys % 2 * 2 * kKeys * kLd<kD>;
    Bf16 *const values = stages + (key / kKeys % 2 * 2 + 1) * kKeys * kLd<kD>;
    const bool diagonal = key + kKeys - 1 > first;
    wait_for_copies<0>();
    __syncthreads();  // this stage is there, the other is done with
    if (key + kKeys < end) fetch(key + kKeys);
    if (diagonal && __syncthreads_or(any_nonfinite<kKeys, kD, kForwardThreads>(values))) {
      add_nonfinite<kKeys, kD>(sums, values, [&](int row, int j) { return key + j <= first + warp_row + row; });
      __syncthreads();
      clear_nonfinite<kKeys, kD, kForwardThreads>(values);
      __syncthreads();
    }
    if (key > first + warp_row + 16 * kM - 1) continue;  // hidden from the whole warp

    float p[kM][kN][4];
    clear(p);
    multiply_transposed<kD>(p, queries + warp_row * kLd<kD>, keys);
#pragma unroll
    for (int m = 0; m < kM; m++)
#pragma unroll
      for (int half = 0; half < 2; half++) {
        float most = top[m][half];
#pragma unroll
        for (int n = 0; n < kN; n++)
#pragma unroll
          for (int e = 2 * half; e < 2 * half + 2; e++) {
            p[m][n][e] *= scale;
            if (diagonal && key + column_of(n, e) > first + warp_row + row_of(m, e)) p[m][n][e] = -kInfinity;
            most = fmaxf(most, p[m][n][e]);
          }
        most = fmaxf(most, __shfl_xor_sync(kAll, most, 1));
        most = fmaxf(most, __shfl_xor_sync(kAll, most, 2));
        const float worth = exp2_fast(top[m][half] - most);  // of what was summed so far
        top[m][half] = most;
        total[m][half] *= worth;
#pragma unroll
        for (int n = 0; n < kN; n++)
#pragma unroll
          for (int e = 2 * half; e < 2 * half + 2; e++) {
            p[m][n][e] = exp2_fast(p[m][n][e] - most);
            total[m][half] += p[m][n][e];
          }
#pragma unroll
        for (int n = 0; n < kD / 8; n++) {
          sums[m][n][2 * half] *= worth;
          sums[m][n][2 * half + 1] *= worth;
        }
      }
    multiply<kD>(sums, Left<kM, kN>(p), values);
  }

  float share[kM][2];
#pragma unroll
  for (int m = 0; m < kM; m++)
#pragma unroll
    for (int half = 0; half < 2; half++) {
      float &sum = total[m][half];
      sum += __shfl_xor_sync(kAll, sum, 1);
      sum += __shfl_xor_sync(kAll, sum, 2);
      share[m][half] = __fdividef(1.0f, sum);
      const int row = first + warp_row + row_of(m, 2 * half);
      if (lse != nullptr && lane() % 4 == 0 && row < heads.T) {
        numbers_of(lse, heads, at.b, at.head)[row] = (top[m][half] + log2f(sum)) * kLn2;
      }
    }
  Bf16 *const own = queries + warp_row * kLd<kD>;  // no other warp reads these rows
  __syncwarp();
  round_to_tile<kD>(own, sums, share);
  store_rows<16 * kM, kD>(head_of(out, ld_out, heads, at.b, at.head), ld_out, first + warp_row, heads, own);
}

// ---- fp32, and rows too wide for the above --------------------------------------------------------------------------------

constexpr int kExactForwardTile = 32;

// A block takes 32 queries of one head; keys and values share a buffer. 71 KB at D = 256.
// The operations above on FMA units (67 TFLOP/s), 4 x 2 scores a thread for 6 loads of 128 bits from shared memory: a third of that
// rate is expected. It is the reference; a gradient check or a small model meets it.
template <class Float, int kD>
__global__ void __launch_bounds__(kExactThreads, 2)
    attention_forward_exact(Float *out, int64_t ld_out, float *lse, const Float *q, int64_t ld_q, const Float *k, const Float *v,
                            int64_t ld_kv, Heads heads) {
  constexpr int kTile = kExactForwardTile, kRows = kTile / 8, kColumns = kTile / 16;
  LETHE_DYNAMIC_SHARED(float, queries);                  // (kTile, kD)
  float *const rows = queries + kTile * kExactLd<kD>;    // (kTile, kD): keys, then values
  float *const shares = rows + kTile * kExactLd<kD>;     // (kTile queries, kTile keys), rows kTile + 1 apart

  const Place at(heads.tiles(kTile), heads.Hq);
  const int first = (heads.tiles(kTile) - 1 - at.tile) * kTile;
  k = head_of(k, ld_kv, heads, at.b, at.head / heads.group());
  v = head_of(v, ld_kv, heads, at.b, at.head / heads.group());
  load_exact<kTile, kD>(queries, head_of(q, ld_q, heads, at.b, at.head), ld_q, first, heads);

  const float scale = heads.scale * kLog2E;
  float sums[kRows][kD / 16] = {}, top[kRows], total[kRows];
#pragma unroll
  for (int r = 0; r < kRows; r++) top[r] = -kInfinity, total[r] = 0.0f;
  for (int key = 0; key <= first; key += kTile) {
    const auto sees = [&](int row, int j) { return key + j <= first + row; };
    float p[kRows][kColumns];
    __syncthreads();  // the last values are done with
    load_exact<kTile, kD>(rows, k, ld_kv, key, heads);
    __syncthreads();
    dot_exact<kTile, kD>(p, queries, rows);
    __syncthreads();
    load_exact<kTile, kD>(rows, v, ld_kv, key, heads);
#pragma unroll
    for (int r = 0; r < kRows; r++) {
      const int row = thread_row() * kRows + r;
      float most = top[r];
#pragma unroll
      for (int j = 0; j < kColumns; j++) {
        p[r][j] = sees(row, thread_column() + 16 * j) ? p[r][j] * scale : -kInfinity;
        most = fmaxf(most, p[r][j]);
      }
      most = row_max(most);
      const float worth = exp2f(top[r] - most);  // of what was summed so far
      top[r] = most;
      total[r] *= worth;
#pragma unroll
      for (int j = 0; j < kColumns; j++) {
        p[r][j] = exp2f(p[r][j] - most);
        total[r] += p[r][j];
        shares[row * (kTile + 1) + thread_column() + 16 * j] = p[r][j];
      }
#pragma unroll
      for (int i = 0; i < kD / 16; i++) sums[r][i] *= worth;
    }
    __syncthreads();
    multiply_exact<kTile, kD>(sums, shares, kTile + 1, 1, rows, sees);
  }

  float share[kRows];
#pragma unroll
  for (int r = 0; r < kRows; r++) {
    const float sum = row_sum(total[r]);
    const int row = first + thread_row() * kRows + r;
    share[r] = 1.0f / sum;
    if (lse != nullptr && thread_column() == 0 && row < heads.T) {
      numbers_of(lse, heads, at.b, at.head)[row] = (top[r] + log2f(sum)) * kLn2;
    }
  }
  store_exact<kTile, kD>(head_of(out, ld_out, heads, at.b, at.head), ld_out, first, heads, sums, share);
}

// ---- the operation ------------------------------------------------------------------------------------------------------

lethe_status attention(lethe_device *device, void *out, int64_t ld_out, float *lse, const void *q, int64_t ld_q, const void *k,
                       const void *v, int64_t ld_kv, int32_t dtype, int64_t B, int64_t T, int64_t Hq, int64_t Hkv, int64_t D, float scale,
                       lethe_stream *stream) {
  const int64_t element = dtype == LETHE_BF16 ? 2 : 4;
  const bool pieces = D * element % 16 == 0;
  const Heads heads{static_cast<int>(T), static_cast<int>(Hq), static_cast<int>(Hkv), static_cast<int>(D), scale,
                    pieces && wide(ld_q * element, q) && wide(ld_kv * element, k, v), pieces && wide(ld_out * element, out)};
  const auto run = [&](auto kernel, auto number, int tile, int threads, int64_t shared) {
    using Float = decltype(number);
    launch(device, stream, dim3(static_cast<unsigned>(B * Hq * heads.tiles(tile))), threads, shared, kernel, static_cast<Float *>(out),
           ld_out, lse, static_cast<const Float *>(q), ld_q, static_cast<const Float *>(k), static_cast<const Float *>(v), ld_kv, heads);
  };
  if (has_tensor_core_kernel(dtype, D)) {
    on_tensor_cores(D, [&](auto width) {
      constexpr int kD = decltype(width)::kWidth;
      run(attention_forward<kD>, Bf16{}, kForwardQueries, kForwardThreads,
          (kForwardQueries + 4 * kForwardKeys<kD>) * kLd<kD> * static_cast<int64_t>(sizeof(Bf16)));
    });
  } else {
    without_tensor_cores(dtype, D, [&](auto number, auto width) {
      constexpr int kD = decltype(width)::kWidth, kTile = kExactForwardTile;
      run(attention_forward_exact<decltype(number), kD>, number, kTile, kExactThreads,
          (2 * kTile * kExactLd<kD> + kTile * (kTile + 1)) * static_cast<int64_t>(sizeof(float)));
    });
  }
  return LETHE_OK;
}

}  // namespace lethe::gpu
