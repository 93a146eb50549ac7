// What the kernels of attention share: heads, tiles of bf16 rows in shared memory, and products of tiles on tensor cores.
//
// A tile's rows lie kD + 8 elements apart: an odd number of 16-byte pieces, so that the eight rows of an ldmatrix meet all banks
// once, at addresses that differ by constants (a swizzle would save 6% of the memory and cost an exclusive-or an access).
//
// Causality inside a tile: a hidden pair gets the probability 0. On tensor cores 0 * NaN would still carry what is not finite in a
// hidden row into the sums of others, so the tiles on the diagonal, and only they, are looked through first; where they hold an
// infinity or a NaN, add_nonfinite gives it to those rows alone that see it, and clear_nonfinite takes it out of the product.
#pragma once

#include "tensor_core.h"

namespace lethe::gpu {

constexpr float kInfinity = __builtin_huge_valf();
constexpr float kLog2E = 1.44269504088896341f;
constexpr float kLn2 = 0.693147180559945309f;

// The sizes of a call. wide: every row of every head that is read (wide_out: written) can be accessed 128 bits at a time.
struct Heads {
  int T, Hq, Hkv, D;
  float scale;
  bool wide, wide_out;

  __host__ __device__ int group() const { return Hq / Hkv; }
  __host__ __device__ int tiles(int rows) const { return (T + rows - 1) / rows; }
};

// Which tile of which head of which sequence a block is to take, out of (B, count, tiles): those of one head beside each other,
// since they read the same rows.
struct Place {
  __device__ Place(int tiles, int count) {
    const int row = static_cast<int>(blockIdx.x) / tiles;
    tile = static_cast<int>(blockIdx.x) % tiles, head = row % count, b = row / count;
  }
  int tile, head, b;
};

// Row 0 of head h in sequence b of a (B*T, heads, D) tensor.
template <class Float>
__device__ inline Float *head_of(Float *x, int64_t ld, const Heads &heads, int b, int h) {
  return x + static_cast<int64_t>(b) * heads.T * ld + static_cast<int64_t>(h) * heads.D;
}

// The (B, Hq, T) numbers of head h in sequence b.
template <class Float>
__device__ inline Float *numbers_of(Float *x, const Heads &heads, int b, int h) {
  return x + (static_cast<int64_t>(b) * heads.Hq + h) * heads.T;
}

__device__ inline int lane() { return static_cast<int>(threadIdx.x) % kWarp; }
// Shuffled, so that the compiler knows it to be one number for the whole warp, and a branch on it to be no divergence.
__device__ inline int warp() { return __shfl_sync(kAll, static_cast<int>(threadIdx.x) / kWarp, 0); }

// ---- tiles --------------------------------------------------------------------------------------------------------------

template <int kD>
constexpr int kLd = kD + 8;

// tile (kRows, kD) = rows from `first` on; zeros beyond the T rows and D columns that there are.
template <int kRows, int kD, int kThreads>
__device__ inline void load_tile(Bf16 *tile, const Bf16 *head, int64_t ld, int first, const Heads &heads) {
  if (heads.wide) {
    constexpr int kPieces = kD / 8, kStep = kThreads / kPieces;
    static_assert(kThreads % kPieces == 0 && kRows % kStep == 0);
    const int row = static_cast<int>(threadIdx.x) / kPieces, column = static_cast<int>(threadIdx.x) % kPieces * 8;
    const int rows = column < heads.D ? heads.T - first - row : 0;  // that there are from this thread's first on
    const Bf16 *from = head + (first + row) * ld + column;
#pragma unroll
    for (int r = 0; r < kRows; r += kStep, from += kStep * ld) copy_async(tile + (row + r) * kLd<kD> + column, from, r < rows);
  } else {
#pragma unroll 1
    for (int i = static_cast<int>(threadIdx.x); i < kRows * kD; i += kThreads) {
      const int row = i / kD, column = i % kD;
      const bool valid = first + row < heads.T && column < heads.D;
      tile[row * kLd<kD> + column] = valid ? head[(first + row) * ld + column] : Bf16{0};
    }
  }
}

// The calling warp writes kRows rows from `first` on, those and as much of them as there is.
template <int kRows, int kD>
__device__ inline void store_rows(Bf16 *head, int64_t ld, int first, const Heads &heads, const Bf16 *tile) {
  if (heads.wide_out) {
    constexpr int kPieces = kD / 8;
#pragma unroll 4
    for (int i = lane(); i < kRows * kPieces; i += kWarp) {
      const int row = i / kPieces, column = i % kPieces * 8;
      if (first + row < heads.T && column < heads.D) {
        store_wide(head + (first + row) * ld + column, load_wide(tile + row * kLd<kD> + column));
      }
    }
  } else {
#pragma unroll 1
    for (int i = lane(); i < kRows * kD; i += kWarp) {
      const int row = i / kD, column = i % kD;
      if (first + row < heads.T && column < heads.D) head[(first + row) * ld + column] = tile[row * kLd<kD> + column];
    }
  }
}

__device__ inline bool nonfinite(uint32_t bf16_pair) {
  return ((bf16_pair & 0x7f80u) == 0x7f80u) | ((bf16_pair & 0x7f800000u) == 0x7f800000u);
}

// Whether this thread's share of the tile holds an infinity or a NaN.
template <int kRows, int kD, int kThreads>
__device__ inline bool any_nonfinite(const Bf16 *tile) {
  constexpr int kPieces = kD / 8;
  bool found = false;
#pragma unroll
  for (int step = 0; step < kRows * kPieces / kThreads; step++) {
    const int i = step * kThreads + static_cast<int>(threadIdx.x);
    const Wide<Bf16> piece = load_wide(tile + i / kPieces * kLd<kD> + i % kPieces * 8);
#pragma unroll
    for (int j = 0; j < 4; j++) found |= nonfinite(piece.word[j]);
  }
  return found;
}

template <int kRows, int kD, int kThreads>
__device__ inline void clear_nonfinite(Bf16 *tile) {
#pragma unroll 1
  for (int i = static_cast<int>(threadIdx.x); i < kRows * kD; i += kThreads) {
    Bf16 &x = tile[i / kD * kLd<kD> + i % kD];
    if (nonfinite(x.bits)) x = Bf16{0};
  }
}

// ---- fragments: what a lane holds of a 16 x 8 piece of an accumulator -----------------------------------------------------

// Element e of piece (m, n) lies in this row and this column of the warp's accumulator.
__device__ inline int row_of(int m, int e) { return m * 16 + e / 2 * 8 + lane() / 4; }
__device__ inline int column_of(int n, int e) { return n * 8 + lane() % 4 * 2 + e % 2; }

template <int kM, int kN>
__device__ inline void clear(float (&c)[kM][kN][4]) {
#pragma unroll
  for (int m = 0; m < kM; m++)
#pragma unroll
    for (int n = 0; n < kN; n++)
#pragma unroll
      for (int e = 0; e < 4; e++) c[m][n][e] = 0.0f;
}

// c (16 kM, 8 kN) += a (16 kM, kD) b (8 kN, kD)^T, both in shared memory
template <int kD, int kM, int kN>
__device__ inline void multiply_transposed(float (&c)[kM][kN][4], const Bf16 *a, const Bf16 *b) {
  const Bf16 *const a_row = a + lane() % 16 * kLd<kD> + lane() / 16 * 8;
  const Bf16 *const b_row = b + (lane() % 8 + lane() / 16 * 8) * kLd<kD> + lane() / 8 % 2 * 8;
#pragma unroll 4
  for (int d = 0; d < kD; d += 16) {
    uint32_t left[kM][4];
#pragma unroll
    for (int m = 0; m < kM; m++) ldmatrix(left[m], a_row + m * 16 * kLd<kD> + d);
#pragma unroll
    for (int n = 0; n < kN; n += 2) {
      uint32_t right[4];
      ldmatrix(right, b_row + n * 8 * kLd<kD> + d);
#pragma unroll
      for (int m = 0; m < kM; m++) {
        mma_bf16(c[m][n], left[m], right[0], right[1]);
        mma_bf16(c[m][n + 1], left[m], right[2], right[3]);
      }
    }
  }
}

// An accumulator (16 kM, 8 kN) rounded to bf16, as the left side of a product: the lanes already hold what they need.
template <int kM, int kN>
struct Left {
  __device__ explicit Left(const float (&c)[kM][kN][4]) {
#pragma unroll
    for (int m = 0; m < kM; m++)
#pragma unroll
      for (int n = 0; n < kN; n++) {
        word[m][n / 2][n % 2 * 2] = pack_bf16(c[m][n][0], c[m][n][1]);
        word[m][n / 2][n % 2 * 2 + 1] = pack_bf16(c[m][n][2], c[m][n][3]);
      }
  }
  uint32_t word[kM][kN / 2][4];
};

// c (16 kM, kD) += a (16 kM, 8 kN) b (8 kN, kD), b in shared memory
template <int kD, int kM, int kN>
__device__ inline void multiply(float (&c)[kM][kD / 8][4], const Left<kM, kN> &a, const Bf16 *b) {
  const Bf16 *const b_row = b + lane() % 16 * kLd<kD> + lane() / 16 * 8;
#pragma unroll
  for (int k = 0; k < kN / 2; k++) {
#pragma unroll
    for (int d = 0; d < kD; d += 16) {
      uint32_t right[4];
      ldmatrix_transposed(right, b_row + k * 16 * kLd<kD> + d);
#pragma unroll
      for (int m = 0; m < kM; m++) {
        mma_bf16(c[m][d / 8], a.word[m][k], right[0], right[1]);
        mma_bf16(c[m][d / 8 + 1], a.word[m][k], right[2], right[3]);
      }
    }
  }
}

// c += what is not finite in the tile (kRows, kD), for rows of c that see it: sees(row of c, row of the tile).
template <int kRows, int kD, int kM, class Sees>
__device__ inline void add_nonfinite(float (&c)[kM][kD / 8][4], const Bf16 *tile, Sees sees) {
#pragma unroll 1
  for (int row = 0; row < kRows; row++) {
#pragma unroll
    for (int n = 0; n < kD / 8; n++)
#pragma unroll
      for (int e = 0; e < 2; e++) {
        const Bf16 x = tile[row * kLd<kD> + column_of(n, e)];
        const float added = nonfinite(x.bits) ? to_float(x) : 0.0f;
#pragma unroll
        for (int m = 0; m < kM; m++) {
          c[m][n][e] += sees(row_of(m, e), row) ? added : 0.0f;
          c[m][n][e + 2] += sees(row_of(m, e + 2), row) ? added : 0.0f;
        }
      }
  }
}

// tile (16 kM, kD) = c, its rows e / 2 of piece m times factor[m][e / 2]; the warp may then read all of it.
template <int kD, int kM>
__device__ inline void round_to_tile(Bf16 *tile, const float (&c)[kM][kD / 8][4], const float (&factor)[kM][2]) {
#pragma unroll
  for (int m = 0; m < kM; m++)
#pragma unroll
    for (int n = 0; n < kD / 8; n++)
#pragma unroll
      for (int half = 0; half < 2; half++) {
        *reinterpret_cast<uint32_t *>(tile + row_of(m, 2 * half) * kLd<kD> + column_of(n, 0)) =
            pack_bf16(c[m][n][2 * half] * factor[m][half], c[m][n][2 * half + 1] * factor[m][half]);
      }
  __syncwarp();
}

// ---- without tensor cores: fp32 tiles, 8 x 16 threads ---------------------------------------------------------------------
//
// A thread holds rows thread_row() * (kTile / 8) + r of a tile's products: of scores the columns thread_column() + 16 c, of sums
// over rows the columns 64 i + 4 thread_column() + e.

constexpr int kExactThreads = 128;
template <int kD>
constexpr int kExactLd = kD + 4;  // an odd number of 16-byte pieces, as above

__device__ inline int thread_row() { return static_cast<int>(threadIdx.x) / 16; }
__device__ inline int thread_column() { return static_cast<int>(threadIdx.x) % 16; }

template <int kTile, int kD, class Float>
__device__ inline void load_exact(float *tile, const Float *head, int64_t ld, int first, const Heads &heads) {
  if (heads.wide) {
    constexpr int kCount = Wide<Float>::kCount, kPieces = kD / kCount;
#pragma unroll 2
    for (int i = static_cast<int>(threadIdx.x); i < kTile * kPieces; i += kExactThreads) {
      const int row = i / kPieces, column = i % kPieces * kCount;
      float x[kCount] = {};
      if (first + row < heads.T && column < heads.D) unpack(load_wide(head + (first + row) * ld + column), x);
#pragma unroll
      for (int j = 0; j < kCount; j += 4) {
        const float part[4] = {x[j], x[j + 1], x[j + 2], x[j + 3]};
        store_wide(tile + row * kExactLd<kD> + column + j, pack(part));
      }
    }
  } else {
#pragma unroll 1
    for (int i = static_cast<int>(threadIdx.x); i < kTile * kD; i += kExactThreads) {
      const int row = i / kD, column = i % kD;
      const bool valid = first + row < heads.T && column < heads.D;
      tile[row * kExactLd<kD> + column] = valid ? to_float(head[(first + row) * ld + column]) : 0.0f;
    }
  }
}

// c = a b^T
template <int kTile, int kD>
__device__ inline void dot_exact(float (&c)[kTile / 8][kTile / 16], const float *a, const float *b) {
  constexpr int kRows = kTile / 8, kColumns = kTile / 16;
#pragma unroll
  for (int r = 0; r < kRows; r++)
#pragma unroll
    for (int j = 0; j < kColumns; j++) c[r][j] = 0.0f;
#pragma unroll 4
  for (int d = 0; d < kD; d += 4) {
    float left[kRows][4], right[kColumns][4];
#pragma unroll
    for (int r = 0; r < kRows; r++) unpack(load_wide(a + (thread_row() * kRows + r) * kExactLd<kD> + d), left[r]);
#pragma unroll
    for (int j = 0; j < kColumns; j++) unpack(load_wide(b + (thread_column() + 16 * j) * kExactLd<kD> + d), right[j]);
#pragma unroll
    for (int e = 0; e < 4; e++)
#pragma unroll
      for (int r = 0; r < kRows; r++)
#pragma unroll
        for (int j = 0; j < kColumns; j++) c[r][j] = fmaf(left[r][e], right[j][e], c[r][j]);
  }
}

// c += p b over the rows of b that a row of c sees: p at p + row * row_step + (row of b) * step
template <int kTile, int kD, class Sees>
__device__ inline void multiply_exact(float (&c)[kTile / 8][kD / 16], const float *p, int row_step, int step, const float *b, Sees sees) {
  constexpr int kRows = kTile / 8;
#pragma unroll 2
  for (int k = 0; k < kTile; k++) {
    float right[kD / 64][4];
#pragma unroll
    for (int i = 0; i < kD / 64; i++) unpack(load_wide(b + k * kExactLd<kD> + 64 * i + 4 * thread_column()), right[i]);
#pragma unroll
    for (int r = 0; r < kRows; r++) {
      const int row = thread_row() * kRows + r;
      const float left = p[row * row_step + k * step];
      if (!sees(row, k)) continue;
#pragma unroll
      for (int i = 0; i < kD / 64; i++)
#pragma unroll
        for (int e = 0; e < 4; e++) c[r][4 * i + e] = fmaf(left, right[i][e], c[r][4 * i + e]);
    }
  }
}

// Rows of c, times a factor each, to rows of the head from `first` on.
template <int kTile, int kD, class Float>
__device__ inline void store_exact(Float *head, int64_t ld, int first, const Heads &heads, const float (&c)[kTile / 8][kD / 16],
                                   const float (&factor)[kTile / 8]) {
#pragma unroll
  for (int r = 0; r < kTile / 8; r++) {
    const int row = first + thread_row() * (kTile / 8) + r;
    if (row >= heads.T) continue;
#pragma unroll
    for (int i = 0; i < kD / 64; i++) {
      const int column = 64 * i + 4 * thread_column();
      Float *const to = head + row * ld + column;
      float x[4];
#pragma unroll
      for (int e = 0; e < 4; e++) x[e] = c[r][4 * i + e] * factor[r];
      if (Wide<Float>::kCount == 4 && heads.wide_out) {
        if (column < heads.D) store_wide(reinterpret_cast<float *>(to), pack(x));
      } else {
#pragma unroll
        for (int e = 0; e < 4; e++) {
          if (column + e < heads.D) to[e] = from_float<Float>(x[e]);
        }
      }
    }
  }
}

// Of x over the 16 threads of a row.
__device__ inline float row_sum(float x) {
#pragma unroll
  for (int offset = 8; offset > 0; offset /= 2) x += __shfl_xor_sync(kAll, x, offset);
  return x;
}
__device__ inline float row_max(float x) {
#pragma unroll
  for (int offset = 8; offset > 0; offset /= 2) x = fmaxf(x, __shfl_xor_sync(kAll, x, offset));
  return x;
}

// ---- which kernel -------------------------------------------------------------------------------------------------------

// body(Width<kD>{}): the narrowest of the widths compiled that holds D.
template <int kD>
struct Width {
  static constexpr int kWidth = kD;
};
template <class Body>
void on_tensor_cores(int64_t D, Body body) {
  D <= 64 ? body(Width<64>{}) : body(Width<128>{});
}

// body(Float{}, Width<kD>{}): fp32, and bf16 rows too wide for the accumulators of tensor cores.
template <class Body>
void without_tensor_cores(int32_t dtype, int64_t D, Body body) {
  if (dtype == LETHE_BF16) return body(Bf16{}, Width<256>{});
  D <= 64 ? body(float{}, Width<64>{}) : D <= 128 ? body(float{}, Width<128>{}) : body(float{}, Width<256>{});
}

inline bool has_tensor_core_kernel(int32_t dtype, int64_t D) { return dtype == LETHE_BF16 && D <= 128; }

}  // namespace lethe::gpu
