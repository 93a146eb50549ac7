// The matrix products of decoding: few rows against all of a weight, whose every element is used a few times only. What counts is to
// read it once, at the speed of memory.
#include "tiles.h"

namespace lethe::LETHE_TIER {
namespace {

constexpr int kRowsOfA = W == 16 ? 6 : 2;  // in registers at a time
constexpr int kRowsOfB = 4;
constexpr int64_t kAhead = 1024;  // bytes: what cores fetch on their own does not keep up with the memory

// Row j of an operand or element j of C is at `first` + j * step.
template <class T>
struct Strided {
  T *first;
  int64_t step;

  T *operator[](int64_t j) const { return first + j * step; }
  Strided from(int64_t j) const { return {first + j * step, step}; }
};

// C (m, n) = A (m, K) B (n, K)^T, all of it in registers: an element's bits do not depend on what is beside it.
template <class T, class C, int m, int n>
void dots(C *c, int64_t ld_c, int64_t step_c, const Strided<const T> &a, const Strided<const T> &b, int64_t K) {
  using A = Arithmetic<T>;
  Floats sums[m][n];
#pragma GCC unroll 8
  for (int i = 0; i < m; ++i) {
#pragma GCC unroll 8
    for (int j = 0; j < n; ++j) sums[i][j] = zero();
  }
  A::vectors_of_words(K, [&](int64_t, int64_t k, auto part) {
    Ints right[n];
#pragma GCC unroll 8
    for (int j = 0; j < n; ++j) {
      right[j] = A::words(b[j] + k, part);
      __builtin_prefetch(reinterpret_cast<const char *>(b[j] + k) + kAhead);
    }
#pragma GCC unroll 8
    for (int i = 0; i < m; ++i) {
      const Ints left = A::words(a[i] + k, part);
#pragma GCC unroll 8
      for (int j = 0; j < n; ++j) sums[i][j] = A::multiply_add(sums[i][j], left, right[j]);
    }
  });
#pragma GCC unroll 8
  for (int i = 0; i < m; ++i) {
#pragma GCC unroll 8
    for (int j = 0; j < n; ++j) store_scalar(c + i * ld_c + j * step_c, sum(sums[i][j]));
  }
}

template <class T, class C>
using Dots = void (*)(C *, int64_t, int64_t, const Strided<const T> &, const Strided<const T> &, int64_t);

template <class T, class C, int n, class Rows = std::make_integer_sequence<int, kRowsOfA>>
struct DotsOf;
template <class T, class C, int n, int... m>
struct DotsOf<T, C, n, std::integer_sequence<int, m...>> {
  static constexpr Dots<T, C> rows[] = {&dots<T, C, m + 1, n>...};
};

// The columns of C that are `step` apart, n of them from c and b on.
template <int n, class T, class C>
void columns(C *c, int64_t ld_c, int64_t step, const Strided<const T> &a, int64_t M, const Strided<const T> &b, int64_t K) {
  for (int64_t i = 0; i < M; i += kRowsOfA) {
    DotsOf<T, C, n>::rows[min(kRowsOfA, M - i) - 1](c + i * ld_c, ld_c, step, a.from(i), b, K);
  }
}

// The rows of B that are multiplied together lie a stretch apart: the hardware fetches four distant streams ahead in full, and of four
// neighbouring rows two thirds (27 against 38 GB/s).
template <class T, class C>
void multiply_rows(lethe_device *device, C *c, int64_t ld_c, const Strided<const T> &a, const Strided<const T> &b, int64_t M, int64_t N,
                   int64_t K) {
  parallel(device, N, K, [&](int64_t begin, int64_t end) {
    const int64_t stretch = (end - begin) / kRowsOfB, rest = begin + stretch * kRowsOfB;
    for (int64_t j = begin; j < begin + stretch; ++j) {
      columns<kRowsOfB>(c + j, ld_c, stretch, a, M, Strided<const T>{b[j], stretch * b.step}, K);
    }
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

}  // namespace lethe::LETHE_TIER
