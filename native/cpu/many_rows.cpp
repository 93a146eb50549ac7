// Matrix products in bf16 with AVX512_BF16, of any operands, in the manner of Goto and van de Geijn (2008): both are packed in blocks, so
// that the inner loop reads them in order. Blocks of the smaller one are packed by all threads, and read by all of them from the last
// cache; blocks of the larger one by each thread for itself, and stay in its own cache. An element's bits depend on its row of A, its
// column of B and K alone.
#include <type_traits>

#include "tiles.h"

namespace lethe::LETHE_TIER {
namespace {

constexpr int kStrip = 8;  // rows of a tile of C
constexpr int kWide = 3;   // its vectors: 24 registers of 32
constexpr int64_t kColumns = int64_t{kWide} * W;
constexpr int64_t kDepth = 2048;             // words that are contracted at a time, at most
constexpr int64_t kOwn = 1 << 17;            // words of a thread's block: 512 KiB
constexpr int64_t kShared = 1 << 21;         // words of the block of all threads: 8 MiB
constexpr int64_t kWorkPerThread = 1 << 20;  // multiplications worth a thread of their own

// Element (i, k), k along the contraction, is at first[i * ld + k], or at first[k * ld + i] where `across`.
struct Operand {
  const Bf16 *first;
  int64_t ld;
  bool across;
  int64_t rows, K;
};

// keep(k, words begin + k of the rows i to i + W of x), for words up to a multiple of W; 0 where x has none.
template <class Keep>
void gather(const Operand &x, int64_t i, int64_t begin, int64_t words, Keep keep) {
  const int64_t n = min(W, x.rows - i);
  if (n <= 0) {
    for (int64_t k = 0; k < words; ++k) keep(k, all(0));
  } else if (x.across) {
    const auto zip_rows = [&](auto part) {
      for (int64_t k = 0; k < words; ++k) {
        const int64_t row = 2 * (begin + k);
        const Bf16 *from = x.first + row * x.ld + i;
        const Ints low = load_u16(from, part), high = row + 1 < x.K ? load_u16(from + x.ld, part) : all(0);
        keep(k, bit_or(low, shift_left<16>(high)));
      }
    };
    if (n == W) {
      zip_rows(Full{});
    } else {
      zip_rows(Tail{static_cast<int>(n)});
    }
  } else {
    for (int64_t k = 0; k < words; k += W) {
      const int64_t element = 2 * (begin + k), left = x.K - element;
      const Bf16 *from = x.first + i * x.ld + element;
      const auto some = left >= 2 * W ? ~__mmask32{0} : (__mmask32{1} << left) - 1;
      Ints block[W];
#pragma GCC unroll 16
      for (int j = 0; j < W; ++j) block[j] = j < n ? _mm512_maskz_loadu_epi16(some, from + j * x.ld) : all(0);
      transpose(block);
#pragma GCC unroll 16
      for (int j = 0; j < W; ++j) keep(k + j, block[j]);
    }
  }
}

// Rows of A, 2 kStrip at a time: strips of kStrip, word (r, k) of a strip at [k * kStrip + r].
struct Strips {
  static constexpr int64_t kRows = W;
  static void pack(Word *out, int64_t depth, const Operand &a, int64_t i, int64_t begin, int64_t words) {
    gather(a, i, begin, words, [&](int64_t k, Ints rows) {
      Word *const low = out + k * kStrip;
      _mm256_storeu_si256(reinterpret_cast<__m256i *>(low), _mm512_castsi512_si256(rows));
      _mm256_storeu_si256(reinterpret_cast<__m256i *>(low + depth * kStrip), _mm512_extracti64x4_epi64(rows, 1));
    });
  }
};

// Columns of B, kColumns at a time: word (k, column) of a panel at [k * kColumns + column].
struct Panels {
  static constexpr int64_t kRows = kColumns;
  static void pack(Word *out, int64_t, const Operand &b, int64_t i, int64_t begin, int64_t words) {
    for (int v = 0; v < kWide; ++v) {
      gather(b, i + v * W, begin, words, [&](int64_t k, Ints columns) { store_words(out + k * kColumns + v * W, columns); });
    }
  }
};

// Where a tile of C goes: to `c`, with what is in `c` added to it where it accumulates, and `sums` where there are any.
template <class C>
struct Tile {
  C *c;
  int64_t ld;
  bool accumulate;
  const float *sums;
  int64_t ld_sums;
  int64_t rows, columns;  // at most kStrip and kColumns
};

// A tile, of a strip and a panel of so many words.
template <class C>
void multiply_tile(const Tile<C> &to, const Word *a, const Word *b, int64_t words) {
  Floats sum[kStrip][kWide];
#pragma GCC unroll 8
  for (int r = 0; r < kStrip; ++r) {
#pragma GCC unroll 4
    for (int v = 0; v < kWide; ++v) sum[r][v] = zero();
    if (r < to.rows && to.accumulate) {
      for (int line = 0; line < kWide; ++line) __builtin_prefetch(to.c + r * to.ld + line * W, 1);
    }
  }
  for (int64_t k = 0; k < words; ++k, a += kStrip, b += kColumns) {
    Ints right[kWide];
#pragma GCC unroll 4
    for (int v = 0; v < kWide; ++v) right[v] = load_words(b + v * W);
#pragma GCC unroll 8
    for (int r = 0; r < kStrip; ++r) {
      const Ints left = all(static_cast<int32_t>(a[r]));
#pragma GCC unroll 4
      for (int v = 0; v < kWide; ++v) sum[r][v] = Pairs::multiply_add(sum[r][v], right[v], left);
    }
  }
  const auto finish = [&](int r, int v, auto part) {
    C *c = to.c + r * to.ld + v * W;
    Floats value = sum[r][v];
    if (to.sums != nullptr) value = value + load(to.sums + r * to.ld_sums + v * W);
    if (to.accumulate) value = value + load(c, part);
    store(c, value, part);
  };
#pragma GCC unroll 8
  for (int r = 0; r < kStrip; ++r) {
    if (r >= to.rows) break;
#pragma GCC unroll 4
    for (int v = 0; v < kWide; ++v) {
      const int64_t left = to.columns - v * W;
      if (left >= W) {
        finish(r, v, Full{});
      } else if (left > 0) {
        finish(r, v, Tail{static_cast<int>(left)});
      }
    }
  }
}

struct Range {
  int64_t begin, end;
};

// C = or += A B; what is Shared and what is each thread's Own are Strips of A and Panels of B, one of each.
template <class Shared, class Own, class C>
void multiply(lethe_device *device, C *c, int64_t ld_c, const Operand &shared, const Operand &own, bool accumulate) {
  constexpr bool rows_are_own = std::is_same_v<Own, Strips>;
  const int64_t words = divide_up(own.K, 2), depth = round_up(divide_up(words, divide_up(words, kDepth)), W);
  const auto block = [&](int64_t most, int64_t unit, int64_t n) { return min(max(most / depth / unit, 1) * unit, round_up(n, unit)); };
  const int64_t shared_rows = block(kShared, Shared::kRows, shared.rows), own_rows = block(kOwn, Own::kRows, own.rows);
  const int64_t worth = shared.rows * own.rows / max(1, kWorkPerThread / own.K), units = divide_up(own.rows, Own::kRows);
  const int threads = static_cast<int>(max(1, min(device->threads, min(worth, units))));
  // Between stretches of the contraction, sums are kept in fp32.
  const bool apart = words > depth && sizeof(C) != sizeof(float);
  const int64_t ld_sums = rows_are_own ? shared_rows : units * Own::kRows;
  const int64_t sums_words = apart ? round_up(shared_rows, kColumns) * units * Own::kRows : 0;
  Word *const of_all =
      static_cast<Word *>(device->scratch((shared_rows * depth + threads * own_rows * depth + sums_words) * int64_t{sizeof(Word)}));
  Word *const of_threads = of_all + shared_rows * depth;
  float *const sums = apart ? reinterpret_cast<float *>(of_threads + threads * own_rows * depth) : nullptr;

  // The tiles of a block of A and one of B, where they meet in C, for a stretch of the contraction.
  const int64_t M = rows_are_own ? own.rows : shared.rows, N = rows_are_own ? shared.rows : own.rows;
  const auto tiles = [&](const Word *strips, Range rows, const Word *panels, Range columns, int64_t k, bool first, bool last) {
    const int64_t right = min(columns.end, N), bottom = min(rows.end, M);
    for (int64_t column = columns.begin; column < right; column += kColumns) {
      const Word *const panel = panels + (column - columns.begin) * depth;
      for (int64_t row = rows.begin; row < bottom; row += kStrip) {
        const Word *const strip = strips + (row - rows.begin) * depth;
        const int64_t n = min(kStrip, bottom - row);
        const int64_t of_sums = rows_are_own ? row * ld_sums + column - columns.begin : (row - rows.begin) * ld_sums + column;
        float *const kept = apart ? sums + of_sums : nullptr;
        if (apart && !last) {
          multiply_tile(Tile<float>{kept, ld_sums, !first, nullptr, 0, n, kColumns}, strip, panel, k);
        } else {
          multiply_tile(Tile<C>{c + row * ld_c + column, ld_c, accumulate || (!first && !apart), first ? nullptr : kept, ld_sums, n,
                                min(kColumns, right - column)},
                        strip, panel, k);
        }
      }
    }
  };

#pragma omp parallel num_threads(threads)
  {
    const int64_t thread = omp_get_thread_num(), of = omp_get_num_threads();
    const Range mine{units * thread / of * Own::kRows, units * (thread + 1) / of * Own::kRows};
    Word *const of_mine = of_threads + thread * own_rows * depth;
    for (int64_t s = 0; s < shared.rows; s += shared_rows) {
      const Range beside{s, min(s + shared_rows, round_up(shared.rows, Shared::kRows))};
      for (int64_t begin = 0; begin < words; begin += depth) {
        const int64_t k = min(depth, words - begin);
#pragma omp for schedule(static)
        for (int64_t i = beside.begin; i < beside.end; i += Shared::kRows) {
          Shared::pack(of_all + (i - s) * depth, depth, shared, i, begin, k);
        }
        for (int64_t o = mine.begin; o < mine.end; o += own_rows) {
          const Range part{o, min(o + own_rows, mine.end)};
          for (int64_t i = part.begin; i < part.end; i += Own::kRows) Own::pack(of_mine + (i - o) * depth, depth, own, i, begin, k);
          if constexpr (rows_are_own) {
            tiles(of_mine, part, of_all, beside, k, begin == 0, begin + k == words);
          } else {
            tiles(of_all, beside, of_mine, part, k, begin == 0, begin + k == words);
          }
        }
#pragma omp barrier
      }
    }
  }
}

}  // namespace

lethe_status many_rows(lethe_device *device, void *C, int64_t ld_c, int32_t c_dtype, const void *A, int64_t ld_a, const void *B,
                       int64_t ld_b, int32_t, int32_t layout, int32_t accumulate, int64_t M, int64_t N, int64_t K, lethe_stream *) {
  const Operand a{static_cast<const Bf16 *>(A), ld_a, layout == LETHE_TN, M, K};
  const Operand b{static_cast<const Bf16 *>(B), ld_b, layout != LETHE_NT, N, K};
  with_type(c_dtype, [&](auto type) {
    auto *const c = static_cast<decltype(type) *>(C);
    if (M < N) {
      multiply<Strips, Panels>(device, c, ld_c, a, b, accumulate == 1);
    } else {
      multiply<Panels, Strips>(device, c, ld_c, b, a, accumulate == 1);
    }
  });
  return LETHE_OK;
}

}  // namespace lethe::LETHE_TIER
