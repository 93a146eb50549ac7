// Matrix products in bf16 with AVX512_BF16 or in tiles of AMX, of any operands, in the manner of Goto and van de Geijn (2008): both are
// packed in blocks, so that the inner loop reads them in order. Blocks of the smaller one are packed by all threads, and read by all of
// them from the last cache; blocks of the larger one by whichever thread is free, for itself, and stay in its own cache. An element's bits
// depend on its row of A, its column of B and K alone.
#include <type_traits>

#include "tiles.h"

namespace lethe::LETHE_TIER {
namespace {

constexpr int64_t kDepth = 2048;             // words that are contracted at a time, at most
constexpr int64_t kShared = 1 << 21;         // words of the block of all threads: 8 MiB
constexpr int64_t kPartsPerThread = 3;       // at least: a core can be slower than its neighbour
constexpr int64_t kWorkPerThread = 1 << 20;  // multiplications worth a thread of their own
#ifdef __AMX_BF16__
constexpr int64_t kStrip = 2 * W;  // rows of a piece of C: two by two tiles
constexpr int64_t kColumns = 2 * W;
constexpr int64_t kOwn = 3 << 16;  // words of a thread's block: 768 KiB
constexpr int64_t kChunk = 288;    // words that are contracted in registers, at most: a unit of so many stays in the first cache
#else
constexpr int64_t kStrip = 8;  // rows of a piece of C
constexpr int kWide = 3;       // its vectors: 24 registers of 32
constexpr int64_t kColumns = int64_t{kWide} * W;
constexpr int64_t kOwn = 1 << 17;  // words of a thread's block: 512 KiB
constexpr int64_t kChunk = kDepth;
#endif

// Element (i, k), k along the contraction, is at first[i * ld + k], or at first[k * ld + i] where `across`.
struct Operand {
  const Bf16 *first;
  int64_t ld;
  bool across;
  int64_t rows, K;
};

struct Range {
  int64_t begin, end;
};

// The W words from word k on of the W rows from row i on; 0 where x has none. In block[j] lies word k + j of each row where `by_word`, else
// row i + j.
template <bool by_word>
[[gnu::always_inline]] inline void gather(Ints *block, const Operand &x, int64_t i, int64_t k) {
  const int64_t n = max(0, min(W, x.rows - i)), element = 2 * k, left = x.K - element;
  if (x.across) {
    const Ints zip = _mm512_add_epi32(_mm512_mullo_epi32(iota(), all(0x00010001)), all(0x00100000));
    const Bf16 *from = x.first + element * x.ld + i;
    const auto zip_rows = [&](auto load_row) {
#pragma GCC unroll 16
      for (int j = 0; j < W; ++j, from += 2 * x.ld) {
        const __m512i low = _mm512_castsi256_si512(load_row(2 * j, from));
        block[j] = _mm512_permutexvar_epi16(zip, _mm512_inserti64x4(low, load_row(2 * j + 1, from + x.ld), 1));
      }
    };
    if (n == W && left >= 2 * W) {
      zip_rows([](int64_t, const Bf16 *row) { return _mm256_loadu_si256(reinterpret_cast<const __m256i *>(row)); });
    } else {
      const auto rows = static_cast<__mmask16>((1u << n) - 1);
      zip_rows([&](int64_t j, const Bf16 *row) { return _mm256_maskz_loadu_epi16(j < left ? rows : 0, row); });
    }
  } else {
    const auto some = left >= 2 * W ? ~__mmask32{0} : (__mmask32{1} << left) - 1;
    const Bf16 *from = x.first + i * x.ld + element;
#pragma GCC unroll 16
    for (int j = 0; j < W; ++j) block[j] = j < n ? _mm512_maskz_loadu_epi16(some, from + j * x.ld) : all(0);
  }
  if (x.across != by_word) transpose(block);
}

// The words of rows of x as Units, `depth` words apart: in the order in which they lie in memory, W words of W rows at a time.
template <class Units>
void pack(Word *out, int64_t depth, const Operand &x, Range rows, Range words) {
  const auto part = [&](int64_t i, int64_t k) { Units::pack(out + (i - rows.begin) * depth, depth, x, i, k, k - words.begin); };
  if (x.across) {
    for (int64_t k = words.begin; k < words.end; k += W) {
      for (int64_t i = rows.begin; i < rows.end; i += Units::kRows) part(i, k);
    }
  } else {
    for (int64_t i = rows.begin; i < rows.end; i += Units::kRows) {
      for (int64_t k = words.begin; k < words.end; k += W) part(i, k);
    }
  }
}

// Where a piece of C goes: to `c`, with what is in `c` added to it where it accumulates, and `sums` where there are any.
template <class C>
struct Piece {
  C *c;
  int64_t ld;
  bool accumulate;
  const float *sums;
  int64_t ld_sums;
  int64_t rows, columns;  // at most kStrip and kColumns

  void fetch(int64_t r) const {
    for (int64_t column = 0; column < kColumns; column += 64 / sizeof(C)) __builtin_prefetch(c + r * ld + column, 1);
  }

  // The vector at row r and column `column`.
  void keep(int64_t r, int64_t column, Floats value) const {
    const int64_t left = columns - column;
    if (left >= W) {
      keep(r, column, value, Full{});
    } else if (left > 0) {
      keep(r, column, value, Tail{static_cast<int>(left)});
    }
  }

 private:
  template <class Part>
  void keep(int64_t r, int64_t column, Floats value, Part part) const {
    C *const to = c + r * ld + column;
    if (sums != nullptr) value = value + load(sums + r * ld_sums + column);
    if (accumulate) value = value + load(to, part);
    store(to, value, part);
  }
};

// A chunk of the contraction: words of a strip and of a panel, whether it is the first or the last of a stretch, and the words of what is
// shared that are read next.
struct Chunk {
  int64_t words;
  bool first, last;
  const Word *next;
  int64_t next_words;
};

#ifdef __AMX_BF16__

constexpr int64_t kTile = W * W;

// A unit: 2 W rows of x, for every W words two tiles.
template <bool by_word>
struct TwoTiles {
  static constexpr int64_t kUnit = 2 * W, kRows = kUnit;
  static void pack(Word *out, int64_t, const Operand &x, int64_t i, int64_t k, int64_t at) {
    Ints block[W];
    for (int64_t tile = 0; tile < 2; ++tile) {
      gather<by_word>(block, x, i + tile * W, k);
      Word *const to = out + (2 * at / W + tile) * kTile;
      for (int64_t j = 0; j < W; ++j) store_words(to + j * W, block[j]);
    }
  }
};

struct Strips : TwoTiles<false> {};  // rows of A, one tile above the other
struct Panels : TwoTiles<true> {};   // columns of B, side by side

inline void store_both(float *to, Floats low, Floats high) {
  store(to, low);
  store(to + W, high);
}
inline void store_both(Bf16 *to, Floats low, Floats high) { _mm512_storeu_si512(to, narrow_both(low, high)); }

// The tiles of a whole piece to C.
template <bool accumulate, class C>
void keep_whole(const Piece<C> &to, const float *sums) {
  C *c = to.c;
  for (int64_t tile = 0; tile < 4; tile += 2) {
#pragma GCC unroll 4
    for (int64_t r = 0; r < W; ++r, c += to.ld) {
      const float *const low = sums + tile * kTile + r * W, *const high = low + kTile;
      if constexpr (accumulate) {
        store_both(c, load(low) + load(c), load(high) + load(c + W));
      } else {
        store_both(c, load(low), load(high));
      }
    }
  }
}

template <class C>
void keep_tiles(const Piece<C> &to, const float *sums) {
  const bool whole = to.rows == kStrip && to.columns == kColumns && to.sums == nullptr;
  if (whole && to.accumulate) {
    keep_whole<true>(to, sums);
  } else if (whole) {
    keep_whole<false>(to, sums);
  } else {
    for (int64_t r = 0; r < to.rows; ++r) {
      const float *const row = sums + (r / W * 2 * W + r % W) * W;
      to.keep(r, 0, load(row));
      to.keep(r, W, load(row + kTile));
    }
  }
}

// A piece of C, of a strip and a panel. Its sums stay in `sums` between chunks. What is each thread's own is read past the first cache, which
// what is shared fills; meanwhile the lines that are needed next come nearer.
template <bool rows_are_own, class C>
[[gnu::noinline]] void multiply_piece(const Piece<C> &to, const Word *a, const Word *b, float *sums, const Chunk &chunk) {
  constexpr int64_t kLine = W * sizeof(Word);
  const int64_t steps = divide_up(chunk.words, W), rows = chunk.last ? to.rows : 0;
  const int64_t rows_a_step = divide_up(rows, steps), words_a_step = round_up(divide_up(chunk.next_words, steps), W);
  asm volatile("" ::: "memory");  // the intrinsics of GCC 12 do not say that tiles are loaded from memory
  if (chunk.first) {
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
  } else {
    _tile_loadd(0, sums, kLine);
    _tile_loadd(1, sums + kTile, kLine);
    _tile_loadd(2, sums + 2 * kTile, kLine);
    _tile_loadd(3, sums + 3 * kTile, kLine);
  }
  const Word *next = chunk.next;
  for (int64_t step = 0, row = 0; step < steps; ++step, a += 2 * kTile, b += 2 * kTile) {
    if constexpr (rows_are_own) {
      _tile_stream_loadd(4, a, kLine);
      _tile_loadd(6, b, kLine);
      _tile_dpbf16ps(0, 4, 6);
      _tile_stream_loadd(5, a + kTile, kLine);
      _tile_dpbf16ps(2, 5, 6);
      _tile_loadd(7, b + kTile, kLine);
      _tile_dpbf16ps(1, 4, 7);
    } else {
      _tile_loadd(4, a, kLine);
      _tile_stream_loadd(6, b, kLine);
      _tile_dpbf16ps(0, 4, 6);
      _tile_stream_loadd(7, b + kTile, kLine);
      _tile_dpbf16ps(1, 4, 7);
      _tile_loadd(5, a + kTile, kLine);
      _tile_dpbf16ps(2, 5, 6);
    }
    _tile_dpbf16ps(3, 5, 7);
    for (const int64_t end = min(row + rows_a_step, rows); row < end; ++row) to.fetch(row);
    for (const Word *const end = next + words_a_step; next < end; next += W) __builtin_prefetch(next, 0, 2);
  }
  _tile_stored(0, sums, kLine);
  _tile_stored(1, sums + kTile, kLine);
  _tile_stored(2, sums + 2 * kTile, kLine);
  _tile_stored(3, sums + 3 * kTile, kLine);
  asm volatile("" ::: "memory");
  if (chunk.last) keep_tiles(to, sums);
}

#else

// Rows of A, 2 kStrip at a time: strips of kStrip, word (r, k) of a strip at [k * kStrip + r].
struct Strips {
  static constexpr int64_t kUnit = kStrip, kRows = W;
  static void pack(Word *out, int64_t depth, const Operand &a, int64_t i, int64_t k, int64_t at) {
    Ints block[W];
    gather<true>(block, a, i, k);
#pragma GCC unroll 16
    for (int64_t j = 0; j < W; ++j) {
      Word *const low = out + (at + j) * kStrip;
      _mm256_storeu_si256(reinterpret_cast<__m256i *>(low), _mm512_castsi512_si256(block[j]));
      _mm256_storeu_si256(reinterpret_cast<__m256i *>(low + depth * kStrip), _mm512_extracti64x4_epi64(block[j], 1));
    }
  }
};

// Columns of B, kColumns at a time: word (k, column) of a panel at [k * kColumns + column].
struct Panels {
  static constexpr int64_t kUnit = kColumns, kRows = kColumns;
  static void pack(Word *out, int64_t, const Operand &b, int64_t i, int64_t k, int64_t at) {
    Ints block[W];
    for (int v = 0; v < kWide; ++v) {
      gather<true>(block, b, i + v * W, k);
#pragma GCC unroll 16
      for (int64_t j = 0; j < W; ++j) store_words(out + (at + j) * kColumns + v * W, block[j]);
    }
  }
};

// A piece of C, of a strip and a panel.
template <bool, class C>
void multiply_piece(const Piece<C> &to, const Word *a, const Word *b, float *, const Chunk &chunk) {
  Floats sum[kStrip][kWide];
#pragma GCC unroll 8
  for (int r = 0; r < kStrip; ++r) {
#pragma GCC unroll 4
    for (int v = 0; v < kWide; ++v) sum[r][v] = zero();
  }
  if (to.accumulate) {
    for (int64_t r = 0; r < to.rows; ++r) to.fetch(r);
  }
  for (int64_t k = 0; k < chunk.words; ++k, a += kStrip, b += kColumns) {
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
#pragma GCC unroll 8
  for (int r = 0; r < kStrip; ++r) {
    if (r >= to.rows) break;
#pragma GCC unroll 4
    for (int v = 0; v < kWide; ++v) to.keep(r, v * W, sum[r][v]);
  }
}

#endif

// C = or += A B; what is Shared and what is each thread's Own are Strips of A and Panels of B, one of each.
template <class Shared, class Own, class C>
class Multiplication {
 public:
  Multiplication(lethe_device *device, C *c, int64_t ld_c, const Operand &shared, const Operand &own, bool accumulate)
      : c_(c), ld_c_(ld_c), shared_(shared), own_(own), accumulate_(accumulate) {
    depth_ = round_up(divide_up(words_, divide_up(words_, kDepth)), W);
    const int64_t shared_units = divide_up(shared.rows, Shared::kRows);
    const int64_t worth = shared.rows * own.rows / max(1, kWorkPerThread / own.K);
    threads_ = static_cast<int>(max(1, min(device->threads, min(worth, own_units_))));
    shared_rows_ = max(1, min(kShared / depth_ / Shared::kRows, shared_units)) * Shared::kRows;
    const int64_t parts = divide_up(own_units_, max(1, kOwn / depth_ / Own::kRows));
    parts_ = min(own_units_, round_up(max(parts, kPartsPerThread * threads_), threads_));
    own_rows_ = divide_up(own_units_, parts_) * Own::kRows;
    apart_ = words_ > depth_ && sizeof(C) != sizeof(float);
    ld_sums_ = kRowsAreOwn ? shared_rows_ : own_units_ * Own::kRows;
    thread_words_ = own_rows_ * depth_ + divide_up(own_rows_, Own::kUnit) * kStrip * kColumns;
    const int64_t sums = apart_ ? round_up(shared_rows_, kColumns) * own_units_ * Own::kRows : 0;
    of_all_ = static_cast<Word *>(device->scratch((shared_rows_ * depth_ + threads_ * thread_words_ + sums) * int64_t{sizeof(Word)}));
    of_threads_ = of_all_ + shared_rows_ * depth_;
    sums_ = reinterpret_cast<float *>(of_threads_ + threads_ * thread_words_);
  }

  void run() const {
#pragma omp parallel num_threads(threads_)
    {
      const Tiles tiles;
      const int64_t thread = omp_get_thread_num(), of = omp_get_num_threads();
      Word *const of_mine = of_threads_ + thread * thread_words_;
      for (int64_t s = 0; s < shared_.rows; s += shared_rows_) {
        const int64_t units = divide_up(min(shared_rows_, shared_.rows - s), Shared::kRows);
        const Range beside{s, s + units * Shared::kRows};
        const Range to_pack{s + units * thread / of * Shared::kRows, s + units * (thread + 1) / of * Shared::kRows};
        for (int64_t begin = 0; begin < words_; begin += depth_) {
          const Range stretch{begin, min(begin + depth_, words_)};
          pack<Shared>(of_all_ + (to_pack.begin - s) * depth_, depth_, shared_, to_pack, stretch);
#pragma omp barrier
#pragma omp for schedule(dynamic)
          for (int64_t p = 0; p < parts_; ++p) {
            const Range part{own_units_ * p / parts_ * Own::kRows, own_units_ * (p + 1) / parts_ * Own::kRows};
            pack<Own>(of_mine, depth_, own_, part, stretch);
            meet(beside, of_mine, part, stretch);
          }
        }
      }
    }
  }

 private:
  static constexpr bool kRowsAreOwn = std::is_same_v<Own, Strips>;

  // All of what is shared with a part of a thread's own, for a stretch of the contraction.
  void meet(Range beside, Word *of_mine, Range part, Range stretch) const {
    float *const sums = reinterpret_cast<float *>(of_mine + own_rows_ * depth_);
    const int64_t words = stretch.end - stretch.begin, chunk_words = round_up(divide_up(words, divide_up(words, kChunk)), W);
    const int64_t pieces = divide_up(min(part.end, own_.rows) - part.begin, Own::kUnit);
    for (int64_t s = beside.begin; s < min(beside.end, shared_.rows); s += Shared::kUnit) {
      for (int64_t k = 0; k < words; k += chunk_words) {
        const Word *const shared = of_all_ + (s - beside.begin) * depth_ + k * Shared::kUnit;
        const int64_t next_words = divide_up(chunk_words * Shared::kUnit, pieces);
        for (int64_t piece = 0; piece < pieces; ++piece) {
          const int64_t o = part.begin + piece * Own::kUnit;
          const Word *const own = of_mine + (o - part.begin) * depth_ + k * Own::kUnit;
          const Chunk chunk{min(chunk_words, words - k), k == 0, k + chunk_words >= words, shared + chunk_words * Shared::kUnit + piece * next_words,
                            next_words};
          float *const kept = sums + piece * kStrip * kColumns;
          if constexpr (kRowsAreOwn) {
            multiply(own, shared, o, s, sums_ + o * ld_sums_ + s - beside.begin, kept, stretch, chunk);
          } else {
            multiply(shared, own, s, o, sums_ + (s - beside.begin) * ld_sums_ + o, kept, stretch, chunk);
          }
        }
      }
    }
  }

  void multiply(const Word *strip, const Word *panel, int64_t row, int64_t column, float *sums, float *kept, Range stretch,
                const Chunk &chunk) const {
    const int64_t M = kRowsAreOwn ? own_.rows : shared_.rows, N = kRowsAreOwn ? shared_.rows : own_.rows;
    const int64_t rows = min(kStrip, M - row), columns = min(kColumns, N - column);
    const bool begins = stretch.begin == 0;
    if (apart_ && stretch.end < words_) {
      multiply_piece<kRowsAreOwn>(Piece<float>{sums, ld_sums_, !begins, nullptr, 0, rows, kColumns}, strip, panel, kept, chunk);
    } else {
      const bool accumulate = accumulate_ || (!begins && !apart_);
      multiply_piece<kRowsAreOwn>(
          Piece<C>{c_ + row * ld_c_ + column, ld_c_, accumulate, apart_ ? sums : nullptr, ld_sums_, rows, columns}, strip, panel, kept, chunk);
    }
  }

  C *const c_;
  const int64_t ld_c_;
  const Operand &shared_, &own_;
  const bool accumulate_;
  const int64_t words_ = divide_up(own_.K, 2), own_units_ = divide_up(own_.rows, Own::kRows);
  int64_t depth_, shared_rows_, own_rows_, parts_, thread_words_, ld_sums_;
  int threads_;
  bool apart_;  // between stretches of the contraction, sums are kept in fp32
  Word *of_all_, *of_threads_;
  float *sums_;
};

}  // namespace

lethe_status many_rows(lethe_device *device, void *C, int64_t ld_c, int32_t c_dtype, const void *A, int64_t ld_a, const void *B,
                       int64_t ld_b, int32_t, int32_t layout, int32_t accumulate, int64_t M, int64_t N, int64_t K, lethe_stream *) {
  const Operand a{static_cast<const Bf16 *>(A), ld_a, layout == LETHE_TN, M, K};
  const Operand b{static_cast<const Bf16 *>(B), ld_b, layout != LETHE_NT, N, K};
  with_type(c_dtype, [&](auto type) {
    auto *const c = static_cast<decltype(type) *>(C);
    if (M < N) {
      Multiplication<Strips, Panels, decltype(type)>(device, c, ld_c, a, b, accumulate == 1).run();
    } else {
      Multiplication<Panels, Strips, decltype(type)>(device, c, ld_c, b, a, accumulate == 1).run();
    }
  });
  return LETHE_OK;
}

}  // namespace lethe::LETHE_TIER
