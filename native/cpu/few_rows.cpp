// The matrix products of decoding: few rows against all of a weight, whose every element is used a few times only. What counts is to
// read it once, at the speed of memory.
#include "packed.h"

namespace lethe::LETHE_TIER {
namespace {

constexpr int kRowsOfA = W == 16 ? 6 : 2;  // in registers at a time
constexpr int kRowsOfB = 4;

// Asks for so many bytes that lie `ahead` of p: what cores fetch on their own does not keep up with the memory.
template <int64_t ahead, int64_t bytes>
inline void fetch(const void *p) {
  for (int64_t line = 0; line < bytes; line += 64) __builtin_prefetch(static_cast<const char *>(p) + ahead + line);
}

// sums (m, n) += A (m, K) B (n, K)^T, a vector of them each
template <int m, int n, class T>
inline __attribute__((always_inline)) void add_products(Floats (&sums)[m][n], const Strided<const T> &a, const Strided<const T> &b,
                                                        int64_t K) {
  using A = Arithmetic<T>;
  A::vectors_of_words(K, [&](int64_t, int64_t k, auto part) {
    Ints right[n];
#pragma GCC unroll 8
    for (int j = 0; j < n; ++j) {
      right[j] = A::words(b[j] + k, part);
      fetch<1024, sizeof(Ints)>(b[j] + k);
    }
#pragma GCC unroll 8
    for (int i = 0; i < m; ++i) {
      const Ints left = A::words(a[i] + k, part);
#pragma GCC unroll 8
      for (int j = 0; j < n; ++j) sums[i][j] = A::multiply_add(sums[i][j], left, right[j]);
    }
  });
}

// The same, weight for weight in the same order, of B packed.
template <int m, int n>
inline __attribute__((always_inline)) void add_products(Floats (&sums)[m][n], const Strided<const Bf16> &a, const PackedRows &b,
                                                        int64_t K) {
  using A = Arithmetic<Bf16>;
  const int64_t before = bytes_before_blocks(K), blocks = divide_up(K, kBlock);
  Ints uppers[n];
#pragma GCC unroll 8
  for (int j = 0; j < n; ++j) uppers[j] = b.uppers(j);

  const auto whole_block = [&](int64_t block) __attribute__((always_inline)) {
#pragma GCC unroll 8
    for (int j = 0; j < n; ++j) {
      const uint8_t *packed = b.packed[j] + before + block * kBlockBytes;
      fetch<2048, kBlockBytes>(packed);
      Ints words[kPieces];
      unpack(words, packed, uppers[j]);
#pragma GCC unroll 8
      for (int piece = 0; piece < kPieces; ++piece) {
#pragma GCC unroll 8
        for (int i = 0; i < m; ++i) {
          sums[i][j] = A::multiply_add(sums[i][j], A::words(a[i] + block * kBlock + piece * kPiece, Full{}), words[piece]);
        }
      }
    }
  };
  // A block that is not whole, or lacks a weight: `bits` says in which rows.
  const auto other_block = [&](int64_t block, const uint64_t (&bits)[n]) __attribute__((always_inline)) {
#pragma GCC unroll 8
    for (int j = 0; j < n; ++j) {
      Ints words[kPieces];
      unpack(words, b.packed[j] + before + block * kBlockBytes, uppers[j]);
      for (int piece = 0; piece < kPieces; ++piece) {
        const int64_t k = block * kBlock + piece * kPiece;
        const auto add = [&](auto part) __attribute__((always_inline)) {
          const bool there = (bits[j] >> block % kBlocksPerWord & 1) == 0;
          const Ints right = there ? words[piece] : A::words(b.weight[j] + k, part);
#pragma GCC unroll 8
          for (int i = 0; i < m; ++i) sums[i][j] = A::multiply_add(sums[i][j], A::words(a[i] + k, part), right);
        };
        if (k + kPiece <= K) {
          add(Full{});
        } else if (k < K) {
          add(Tail{static_cast<int>(K - k)});
        }
      }
    }
  };
  for (int64_t first = 0; first < blocks; first += kBlocksPerWord) {
    uint64_t bits[n], any = 0;
#pragma GCC unroll 8
    for (int j = 0; j < n; ++j) any |= bits[j] = b.bits(j, first / kBlocksPerWord);
    const int64_t end = min(blocks, first + kBlocksPerWord);
    for (int64_t block = first; block < end; ++block, any >>= 1) {
      if (__builtin_expect((any & 1) == 0 && (block + 1) * kBlock <= K, 1)) {
        whole_block(block);
      } else {
        other_block(block, bits);
      }
    }
  }
}

// C (m, n) = A (m, K) B (n, K)^T, all of it in registers: an element's bits do not depend on what is beside it.
template <class T, class B, class C, int m, int n>
void dots(C *c, int64_t ld_c, int64_t step_c, const Strided<const T> &a, const B &b, int64_t K) {
  Floats sums[m][n];
#pragma GCC unroll 8
  for (int i = 0; i < m; ++i) {
#pragma GCC unroll 8
    for (int j = 0; j < n; ++j) sums[i][j] = zero();
  }
  add_products(sums, a, b, K);
#pragma GCC unroll 8
  for (int i = 0; i < m; ++i) {
#pragma GCC unroll 8
    for (int j = 0; j < n; ++j) store_scalar(c + i * ld_c + j * step_c, sum(sums[i][j]));
  }
}

template <class T, class B, class C>
using Dots = void (*)(C *, int64_t, int64_t, const Strided<const T> &, const B &, int64_t);

template <class T, class B, class C, int n, class Rows = std::make_integer_sequence<int, kRowsOfA>>
struct DotsOf;
template <class T, class B, class C, int n, int... m>
struct DotsOf<T, B, C, n, std::integer_sequence<int, m...>> {
  static constexpr Dots<T, B, C> rows[] = {&dots<T, B, C, m + 1, n>...};
};

// The columns of C that are `step` apart, n of them from c and b on.
template <int n, class T, class B, class C>
void columns(C *c, int64_t ld_c, int64_t step, const Strided<const T> &a, int64_t M, const B &b, int64_t K) {
  for (int64_t i = 0; i < M; i += kRowsOfA) {
    DotsOf<T, B, C, n>::rows[min(kRowsOfA, M - i) - 1](c + i * ld_c, ld_c, step, a.from(i), b, K);
  }
}

// The rows of B that are multiplied together lie a stretch apart: the hardware fetches four distant streams ahead in full, and of four
// neighbouring rows two thirds (27 against 38 GB/s).
template <class T, class B, class C>
void multiply_rows(lethe_device *device, C *c, int64_t ld_c, const Strided<const T> &a, const B &b, int64_t M, int64_t N, int64_t K) {
  parallel(device, N, K, [&](int64_t begin, int64_t end) {
    const int64_t stretch = (end - begin) / kRowsOfB, rest = begin + stretch * kRowsOfB;
    for (int64_t j = begin; j < begin + stretch; ++j) columns<kRowsOfB>(c + j, ld_c, stretch, a, M, b.from(j).every(stretch), K);
    for (int64_t j = rest; j < end; ++j) columns<1>(c + j, ld_c, 0, a, M, b.from(j), K);
  });
}

}  // namespace

lethe_status few_rows(lethe_device *device, void *C, int64_t ld_c, int32_t c_dtype, const void *A, int64_t ld_a, const void *B,
                      int64_t ld_b, int32_t dtype, int32_t, int32_t, int64_t M, int64_t N, int64_t K, lethe_stream *) {
  with_type(dtype, [&](auto type) {
    using T = decltype(type);
    const Strided<const T> a{static_cast<const T *>(A), ld_a}, b{static_cast<const T *>(B), ld_b};
    with_type(c_dtype, [&](auto c_type) {
      using To = decltype(c_type);
      multiply_rows(device, static_cast<To *>(C), ld_c, a, b, M, N, K);
    });
  });
  return LETHE_OK;
}

lethe_status few_rows_packed(lethe_device *device, void *C, int64_t ld_c, int32_t c_dtype, const void *A, int64_t ld_a, const void *packed,
                             int64_t, const void *B, int64_t ld_b, int32_t, int64_t M, int64_t N, int64_t K, lethe_stream *) {
  const Strided<const Bf16> a{static_cast<const Bf16 *>(A), ld_a};
  const PackedRows b{{static_cast<const uint8_t *>(packed), bytes_of_row(K)}, {static_cast<const Bf16 *>(B), ld_b}};
  with_type(c_dtype, [&](auto c_type) {
    using To = decltype(c_type);
    multiply_rows(device, static_cast<To *>(C), ld_c, a, b, M, N, K);
  });
  return LETHE_OK;
}

}  // namespace lethe::LETHE_TIER
