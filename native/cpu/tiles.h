// Matrix products of tiles that stay in cache, C (R, V W) += A B, the inside of attention.
//
// Operands are 32-bit words: a float, or a pair of bf16 that are neighbours in the contracted dimension, which AVX512_BF16
// multiplies and adds in one instruction, and AMX in tiles of 16 rows of 16 words. A is read word by word at any two strides (by AMX
// in rows of words). B lies in panels of kPanel columns, one row a word of the contraction: word (k, c) is at
// b[(c / kPanel * height + k) * kPanel + c % kPanel].
#pragma once

#include <utility>

#include "tier.h"

namespace lethe::LETHE_TIER {
namespace {

using Word = uint32_t;

constexpr int kVectors = W == 16 ? 4 : 2;  // vectors of a row of C in registers
constexpr int64_t kPanel = kVectors * W;

inline int64_t round_up(int64_t n, int64_t to) { return divide_up(n, to) * to; }

inline Ints load_words(const Word *p) {
#ifdef __AVX512F__
  return _mm512_loadu_si512(p);
#else
  return _mm256_loadu_si256(reinterpret_cast<const __m256i *>(p));
#endif
}
inline void store_words(Word *p, Ints x) {
#ifdef __AVX512F__
  _mm512_storeu_si512(p, x);
#else
  _mm256_storeu_si256(reinterpret_cast<__m256i *>(p), x);
#endif
}

// ---- the arithmetics ------------------------------------------------------------------------------------------------------

// A word is a float.
struct Singles {
  static constexpr int kRows = 6;      // rows of C in registers: 24 of 32, or 12 of 16
  static constexpr int64_t kStep = 1;  // words that are contracted at a time: both operands are zeros up to a multiple of it
  static constexpr int64_t kPerWord = 1;
  static constexpr bool kExact = true;

  static Floats multiply_add(Floats sum, Ints a, Ints b) { return fma(floats_of(a), floats_of(b), sum); }
  static float element(Word w, int64_t) {
    float x;
    std::memcpy(&x, &w, sizeof x);
    return x;
  }

  // body(word, element, part) for each vector of words of a row of D elements.
  template <class Body>
  static void vectors_of_words(int64_t D, Body body) {
    vectors(0, D, [&](int64_t i, auto part) { body(i, i, part); });
  }
  template <class T, class Part>
  static Ints words(const T *x, Part part) { return bits_of(load(x, part)); }
};

#ifdef __AVX512BF16__

// A word is two bf16, the earlier one in the lower half.
struct Pairs {
#ifdef __AMX_BF16__
  static constexpr int kRows = 16;
  static constexpr int64_t kStep = 16;
#else
  static constexpr int kRows = 6;
  static constexpr int64_t kStep = 1;
#endif
  static constexpr int64_t kPerWord = 2;
  static constexpr bool kExact = false;

  static Floats multiply_add(Floats sum, Ints a, Ints b) {
    return _mm512_dpbf16_ps(sum, reinterpret_cast<__m512bh>(a), reinterpret_cast<__m512bh>(b));
  }
  static float element(Word w, int64_t half) { return widen(Bf16{static_cast<uint16_t>(half == 0 ? w : w >> 16)}); }

  template <class Body>
  static void vectors_of_words(int64_t D, Body body) {
    int64_t i = 0;
    for (; i + 2 * W <= D; i += 2 * W) body(i / 2, i, Full{});
    if (i < D) body(i / 2, i, Tail{static_cast<int>(D - i)});
  }
  static Ints words(const Bf16 *x, Full) { return _mm512_loadu_si512(x); }
  static Ints words(const Bf16 *x, Tail t) { return _mm512_maskz_loadu_epi16((1u << t.lanes) - 1u, x); }

  // Word i pairs element i, or W + i, of low with that of high.
  static Ints zip_low(Ints low, Ints high) { return _mm512_permutex2var_epi16(low, zip_order(), high); }
  static Ints zip_high(Ints low, Ints high) {
    return _mm512_permutex2var_epi16(low, _mm512_add_epi16(zip_order(), _mm512_set1_epi16(W)), high);
  }

 private:
  static Ints zip_order() { return _mm512_add_epi32(_mm512_mullo_epi32(iota(), all(0x00010001)), all(0x00200000)); }
};

// 32 bf16 in order: those of low, then those of high
inline Ints narrow_both(Floats low, Floats high) { return reinterpret_cast<Ints>(_mm512_cvtne2ps_pbh(high, low)); }

// Lane i pairs x[i] with y[i].
inline Ints zip(Floats x, Floats y) {
  const Ints order = _mm512_add_epi32(_mm512_mullo_epi32(iota(), all(0x00010001)), all(0x00100000));
  return _mm512_permutexvar_epi16(order, narrow_both(x, y));
}

#endif

template <class T>
struct ArithmeticOf {
  using Type = Singles;
};
#ifdef __AVX512BF16__
template <>
struct ArithmeticOf<Bf16> {
  using Type = Pairs;
};
#endif
template <class T>
using Arithmetic = typename ArithmeticOf<T>::Type;

// ---- packing --------------------------------------------------------------------------------------------------------------

// out (n, ld_out) = the words of the rows of x (n, D), contracted along D; zeros up to ld_out, a multiple of W, and in rows n to
// `height`.
template <class T>
void pack_rows(Word *out, int64_t ld_out, int64_t height, const T *x, int64_t ld_x, int64_t n, int64_t D) {
  for (int64_t r = 0; r < n; ++r) {
    Word *to = out + r * ld_out;
    const T *from = x + r * ld_x;
    Arithmetic<T>::vectors_of_words(D, [&](int64_t word, int64_t i, auto part) {
      store_words(to + word, Arithmetic<T>::words(from + i, part));
    });
  }
  for (Word *zeros = out + n * ld_out; zeros < out + height * ld_out; zeros += W) store_words(zeros, all(0));
}

// out = panels of x (n, D) contracted along n, filled up with zeros to whole steps of words; columns up to a multiple of W are zeros.
template <class T>
void pack_contracted(Word *out, int64_t height, const T *x, int64_t ld_x, int64_t n, int64_t D) {
  using A = Arithmetic<T>;
  for (int64_t r = 0; r < n; r += A::kPerWord) {
    const T *from = x + r * ld_x;
    Word *row = out + r / A::kPerWord * kPanel;
    A::vectors_of_words(D, [&](int64_t, int64_t i, auto part) {
      Word *to = row + i / kPanel * height * kPanel + i % kPanel;
      if constexpr (A::kPerWord == 1) {
        store_words(to, A::words(from + i, part));
      } else {
        const Ints low = A::words(from + i, part), high = r + 1 < n ? A::words(from + ld_x + i, part) : all(0);
        store_words(to, A::zip_low(low, high));
        if (i + W < D) store_words(to + W, A::zip_high(low, high));
      }
    });
  }
  const int64_t words = divide_up(n, A::kPerWord);
  const size_t rest = static_cast<size_t>((round_up(words, A::kStep) - words) * kPanel) * sizeof(Word);
  for (int64_t i = 0; rest != 0 && i < D; i += kPanel) std::memset(out + (i / kPanel * height + words) * kPanel, 0, rest);
}

#ifdef __AVX512F__

// x (16, 16) = its transpose
inline void transpose(Ints *x) {
  Ints t[16], u[16];
#pragma GCC unroll 8
  for (int i = 0; i < 16; i += 2) {
    t[i] = _mm512_unpacklo_epi32(x[i], x[i + 1]);
    t[i + 1] = _mm512_unpackhi_epi32(x[i], x[i + 1]);
  }
#pragma GCC unroll 4
  for (int i = 0; i < 16; i += 4) {
    u[i] = _mm512_unpacklo_epi64(t[i], t[i + 2]);
    u[i + 1] = _mm512_unpackhi_epi64(t[i], t[i + 2]);
    u[i + 2] = _mm512_unpacklo_epi64(t[i + 1], t[i + 3]);
    u[i + 3] = _mm512_unpackhi_epi64(t[i + 1], t[i + 3]);
  }
#pragma GCC unroll 4
  for (int c = 0; c < 4; ++c) {
    const Ints even = _mm512_shuffle_i32x4(u[c], u[4 + c], 0x88), odd = _mm512_shuffle_i32x4(u[c], u[4 + c], 0xdd);
    const Ints even2 = _mm512_shuffle_i32x4(u[8 + c], u[12 + c], 0x88), odd2 = _mm512_shuffle_i32x4(u[8 + c], u[12 + c], 0xdd);
    x[c] = _mm512_shuffle_i32x4(even, even2, 0x88);
    x[4 + c] = _mm512_shuffle_i32x4(odd, odd2, 0x88);
    x[8 + c] = _mm512_shuffle_i32x4(even, even2, 0xdd);
    x[12 + c] = _mm512_shuffle_i32x4(odd, odd2, 0xdd);
  }
}

#else

// x (8, 8) = its transpose
inline void transpose(Ints *x) {
  Ints t[8], u[8];
#pragma GCC unroll 4
  for (int i = 0; i < 8; i += 2) {
    t[i] = _mm256_unpacklo_epi32(x[i], x[i + 1]);
    t[i + 1] = _mm256_unpackhi_epi32(x[i], x[i + 1]);
  }
#pragma GCC unroll 2
  for (int i = 0; i < 8; i += 4) {
    u[i] = _mm256_unpacklo_epi64(t[i], t[i + 2]);
    u[i + 1] = _mm256_unpackhi_epi64(t[i], t[i + 2]);
    u[i + 2] = _mm256_unpacklo_epi64(t[i + 1], t[i + 3]);
    u[i + 3] = _mm256_unpackhi_epi64(t[i + 1], t[i + 3]);
  }
#pragma GCC unroll 4
  for (int c = 0; c < 4; ++c) {
    x[c] = _mm256_permute2x128_si256(u[c], u[4 + c], 0x20);
    x[4 + c] = _mm256_permute2x128_si256(u[c], u[4 + c], 0x31);
  }
}

#endif

// out (W rows, ld_out) = the transpose of x (W rows, ld_x)
inline void transpose_block(Word *out, int64_t ld_out, const Word *x, int64_t ld_x) {
  Ints block[W];
#pragma GCC unroll 16
  for (int i = 0; i < W; ++i) block[i] = load_words(x + i * ld_x);
  transpose(block);
#pragma GCC unroll 16
  for (int i = 0; i < W; ++i) store_words(out + i * ld_out, block[i]);
}

// out = panels whose columns are the first n rows of x (n rounded up to W, ld_x a multiple of W): B = x^T, contracted along rows.
inline void pack_transposed(Word *out, int64_t height, const Word *x, int64_t ld_x, int64_t n) {
  for (int64_t c = 0; c < n; c += W) {
    Word *column = out + c / kPanel * height * kPanel + c % kPanel;
    for (int64_t k = 0; k < ld_x; k += W) transpose_block(column + k * kPanel, kPanel, x + c * ld_x + k, ld_x);
  }
}

#ifdef __AMX_BF16__
// out (columns, ld_out) = x (rows, ld_x) transposed; rows and columns are filled up to multiples of W.
inline void transpose_words(Word *out, int64_t ld_out, const Word *x, int64_t ld_x, int64_t rows, int64_t columns) {
  for (int64_t c = 0; c < columns; c += W) {
    for (int64_t r = 0; r < rows; r += W) transpose_block(out + c * ld_out + r, ld_out, x + r * ld_x + c, ld_x);
  }
}
#endif

template <class T>
bool all_finite(const T *x, int64_t ld_x, int64_t n, int64_t D) {
  Ints differences = all(0);  // x - x is 0, or NaN where x is not finite
  for (int64_t r = 0; r < n; ++r) {
    vectors(0, D, [&](int64_t i, auto part) {
      const Floats value = load(x + r * ld_x + i, part);
      differences = bit_or(differences, bits_of(value - value));
    });
  }
  return !any(is_nan(floats_of(differences)));
}

// ---- the product ----------------------------------------------------------------------------------------------------------

// A: word k of row r is at words[r * row + k * step].
struct Left {
  const Word *words;
  int64_t row, step;
};
// B: panels.
struct Right {
  const Word *words;
  int64_t height;
};
// C: starts at 0 where fresh, else at what it is, times a row's factor where there are factors.
struct Into {
  float *sums;
  int64_t ld;
  bool fresh;
  const float *factors;  // (rows) or NULL
};

template <class A, int R, int V>
void block(const Into &c, const Left &a, const Word *b, int64_t k) {
  Floats sum[R][V];
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r) {
#pragma GCC unroll 4
    for (int v = 0; v < V; ++v) sum[r][v] = c.fresh ? zero() : load(c.sums + r * c.ld + v * W);
  }
  if (c.factors != nullptr) {
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) {
#pragma GCC unroll 4
      for (int v = 0; v < V; ++v) sum[r][v] *= all(c.factors[r]);
    }
  }
  const Word *words = a.words;
  const int64_t row = a.row;
  for (int64_t i = 0; i < k; ++i, words += a.step, b += kPanel) {
    Ints right[V];
#pragma GCC unroll 4
    for (int v = 0; v < V; ++v) right[v] = load_words(b + v * W);
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) {
      const Ints left = all(static_cast<int32_t>(words[r * row]));
#pragma GCC unroll 4
      for (int v = 0; v < V; ++v) sum[r][v] = A::multiply_add(sum[r][v], left, right[v]);
    }
  }
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r) {
#pragma GCC unroll 4
    for (int v = 0; v < V; ++v) store(c.sums + r * c.ld + v * W, sum[r][v]);
  }
}

template <class A>
using Block = void (*)(const Into &, const Left &, const Word *, int64_t);

template <class A, class Indices = std::make_integer_sequence<int, A::kRows * kVectors>>
struct Blocks;
template <class A, int... i>
struct Blocks<A, std::integer_sequence<int, i...>> {
  static constexpr Block<A> of[] = {&block<A, i / kVectors + 1, i % kVectors + 1>...};
};

// rows <= A::kRows rows of C, `vectors` vectors wide
template <class A>
struct Multiply {
  static void block(const Into &c, const Left &a, const Word *b, int64_t k, int64_t rows, int64_t vectors) {
    Blocks<A>::of[(rows - 1) * kVectors + vectors - 1](c, a, b, k);
  }
};

#ifdef __AMX_BF16__

// What LDTILECFG reads: eight tiles of 16 rows of 16 words.
struct alignas(64) TileSetting {
  uint8_t palette = 1, start_row = 0, reserved[14] = {};
  uint16_t bytes_of_row[16] = {64, 64, 64, 64, 64, 64, 64, 64};
  uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
};
constexpr TileSetting kTileSetting;

// This thread's tiles, as long as it lives.
class Tiles {
 public:
  Tiles() { _tile_loadconfig(&kTileSetting); }
  ~Tiles() { _tile_release(); }
  Tiles(const Tiles &) = delete;
  Tiles &operator=(const Tiles &) = delete;
};

// Tiles 0 to 3 are C (16, 64), 4 is A, 5 and 6 are B in turn. A's rows beyond C's are read and of no consequence.
template <int V>
void tiles(float *c, int64_t ld, bool fresh, const Left &a, const Word *b, int64_t k) {
  constexpr int64_t kWord = sizeof(Word);
  asm volatile("" ::: "memory");  // the intrinsics of GCC 12 do not say that tiles are loaded from memory
  if (fresh) {
    _tile_zero(0);
    if constexpr (V > 1) _tile_zero(1);
    if constexpr (V > 2) _tile_zero(2);
    if constexpr (V > 3) _tile_zero(3);
  } else {
    _tile_loadd(0, c, ld * kWord);
    if constexpr (V > 1) _tile_loadd(1, c + W, ld * kWord);
    if constexpr (V > 2) _tile_loadd(2, c + 2 * W, ld * kWord);
    if constexpr (V > 3) _tile_loadd(3, c + 3 * W, ld * kWord);
  }
  for (int64_t i = 0; i < k; i += Pairs::kStep, b += Pairs::kStep * kPanel) {
    _tile_loadd(4, a.words + i, a.row * kWord);
    _tile_loadd(5, b, kPanel * kWord);
    _tile_dpbf16ps(0, 4, 5);
    if constexpr (V > 1) {
      _tile_loadd(6, b + W, kPanel * kWord);
      _tile_dpbf16ps(1, 4, 6);
    }
    if constexpr (V > 2) {
      _tile_loadd(5, b + 2 * W, kPanel * kWord);
      _tile_dpbf16ps(2, 4, 5);
    }
    if constexpr (V > 3) {
      _tile_loadd(6, b + 3 * W, kPanel * kWord);
      _tile_dpbf16ps(3, 4, 6);
    }
  }
  _tile_stored(0, c, ld * kWord);
  if constexpr (V > 1) _tile_stored(1, c + W, ld * kWord);
  if constexpr (V > 2) _tile_stored(2, c + 2 * W, ld * kWord);
  if constexpr (V > 3) _tile_stored(3, c + 3 * W, ld * kWord);
}

template <>
struct Multiply<Pairs> {
  // a.step is 1
  static void block(const Into &c, const Left &a, const Word *b, int64_t k, int64_t rows, int64_t vectors) {
    float copy[Pairs::kRows * kPanel];  // of fewer rows than a tile has
    const bool whole = rows == Pairs::kRows;
    float *const sums = whole ? c.sums : copy;
    const int64_t ld = whole ? c.ld : kPanel;
    if (!c.fresh && (!whole || c.factors != nullptr)) {
      for (int64_t r = 0; r < rows; ++r) {
        const Floats factor = all(c.factors == nullptr ? 1.0f : c.factors[r]);
        for (int64_t v = 0; v < vectors; ++v) store(sums + r * ld + v * W, load(c.sums + r * c.ld + v * W) * factor);
      }
    }
    switch (vectors) {
      case 1: tiles<1>(sums, ld, c.fresh, a, b, k); break;
      case 2: tiles<2>(sums, ld, c.fresh, a, b, k); break;
      case 3: tiles<3>(sums, ld, c.fresh, a, b, k); break;
      default: tiles<4>(sums, ld, c.fresh, a, b, k); break;
    }
    if (whole) return;
    for (int64_t r = 0; r < rows; ++r) {
      for (int64_t v = 0; v < vectors; ++v) store(c.sums + r * c.ld + v * W, load(copy + r * kPanel + v * W));
    }
  }
};

#else

struct Tiles {
  Tiles() {}  // so that one is not an unused variable
};

#endif

// The words [begin, end) of the contraction that matter to a stretch of rows.
struct Stretch {
  int64_t begin, end;
};

// C (rows, columns, written up to a multiple of W) = or += A B; stretch(r, r + n) for the n <= A::kRows rows from r.
template <class A, class StretchOf>
void product(const Into &c, const Left &a, const Right &b, int64_t rows, int64_t columns, StretchOf stretch_of) {
  for (int64_t p = 0; p < columns; p += kPanel) {
    const int64_t vectors = divide_up(min(columns - p, kPanel), W);
    const Word *panel = b.words + p * b.height;
    for (int64_t r = 0; r < rows; r += A::kRows) {
      const int64_t n = min(A::kRows, rows - r);
      const Stretch k = stretch_of(r, r + n);
      const int64_t begin = k.begin / A::kStep * A::kStep, end = round_up(k.end, A::kStep);
      const Into to{c.sums + r * c.ld + p, c.ld, c.fresh, c.factors == nullptr ? nullptr : c.factors + r};
      const Left from{a.words + r * a.row + begin * a.step, a.row, a.step};
      Multiply<A>::block(to, from, panel + begin * kPanel, end - begin, n, vectors);
    }
  }
}

// The same where (row, element of the contraction) pairs are left out altogether: not multiplied by 0, which would spread a NaN.
template <class A, class Visible>
void product_of_visible(const Into &c, const Left &a, const Right &b, int64_t rows, int64_t columns, int64_t elements,
                        Visible visible) {
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t i = 0; i < columns; ++i) {
      float *sum = c.sums + r * c.ld + i;
      if (c.fresh) *sum = 0.0f;
      if (c.factors != nullptr) *sum *= c.factors[r];
      const Word *column = b.words + i / kPanel * b.height * kPanel + i % kPanel;
      for (int64_t e = 0; e < elements; ++e) {
        if (!visible(r, e)) continue;
        const int64_t word = e / A::kPerWord, part = e % A::kPerWord;
        *sum += A::element(a.words[r * a.row + word * a.step], part) * A::element(column[word * kPanel], part);
      }
    }
  }
}

}  // namespace
}  // namespace lethe::LETHE_TIER
