// What every kernel file sees: the declarations of its tier, how work is spread over threads, and how a dtype becomes a type.
//
// A kernel file is compiled once a tier, with LETHE_TIER naming the namespace. The linker keeps one copy of a weak symbol
// (inline functions, templates), whichever object it comes from: an AVX-512 copy must never reach code for lesser machines.
// So whatever is not a kernel lies in an anonymous namespace, and the build refuses a tier object with weak symbols.
#pragma once

#include <omp.h>

#include "device.h"
#include "kernels.h"
#include "simd.h"

namespace lethe::LETHE_TIER {

#define LETHE_DECLARE(name) decltype(lethe_##name) name;
LETHE_KERNELS(LETHE_DECLARE)
#undef LETHE_DECLARE

namespace {

inline int64_t min(int64_t a, int64_t b) { return a < b ? a : b; }
inline int64_t max(int64_t a, int64_t b) { return a > b ? a : b; }
inline int64_t divide_up(int64_t a, int64_t b) { return (a + b - 1) / b; }

// Elements worth a thread of their own: below it, waking one costs more than it brings.
constexpr int64_t kElementsPerThread = 16384;

// body(begin, end) over [0, n) in one stretch a thread; cost: elements that one of the n touches. Stretches depend on the
// thread count, so body's results must not depend on where they are cut.
template <class Body>
inline void parallel(const lethe_device *device, int64_t n, int64_t cost, Body body) {
  const int64_t worth = n / max(1, kElementsPerThread / max(1, cost));
  const int threads = static_cast<int>(min(device->threads, min(n, worth)));
  if (threads <= 1) {
    body(0, n);
    return;
  }
#pragma omp parallel num_threads(threads)
  {
    const int64_t thread = omp_get_thread_num(), of = omp_get_num_threads();
    const int64_t each = n / of, rest = n % of;
    const int64_t begin = thread * each + min(thread, rest);
    body(begin, begin + each + (thread < rest ? 1 : 0));
  }
}

// The same over n elements, cut at whole cache lines of the narrowest type.
template <class Body>
inline void parallel_elements(const lethe_device *device, int64_t n, Body body) {
  constexpr int64_t kLine = 64;
  parallel(device, divide_up(n, kLine), kLine, [&](int64_t begin, int64_t end) { body(begin * kLine, min(n, end * kLine)); });
}

// body(Float{}) with float or Bf16 for Float.
template <class Body>
inline void with_type(int32_t dtype, Body body) {
  if (dtype == LETHE_F32) {
    body(float{});
  } else {
    body(Bf16{});
  }
}

// body(i, n) for each vector of [begin, end): n is W, or what is left at the end.
template <class Body>
inline void vectors(int64_t begin, int64_t end, Body body) {
  int64_t i = begin;
  for (; i + W <= end; i += W) body(i, Full{});
  if (i < end) body(i, Tail{static_cast<int>(end - i)});
}

}  // namespace
}  // namespace lethe::LETHE_TIER
