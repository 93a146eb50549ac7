// SwiGLU (Shazeer 2020): out = silu(gate) * up, silu(x) = x / (1 + e^-x).
#include "tier.h"

namespace lethe::LETHE_TIER {
namespace {

inline Floats sigmoid(Floats x) { return all(1.0f) / (all(1.0f) + exp(zero() - x)); }

// Asks for what lies there in the next row: what cores fetch on their own ends with a page, and begins anew behind it.
template <class T>
inline void fetch_next(const T *p, int64_t ld) {
  __builtin_prefetch(p + ld);
}

}  // namespace

// out (N, F), gate and up (N, F) with row stride ld_gu
lethe_status swiglu(lethe_device *device, void *out, const void *gate, const void *up, int64_t ld_gu, int32_t dtype, int64_t N,
                    int64_t F, lethe_stream *) {
  with_type(dtype, [&](auto type) {
    using T = decltype(type);
    parallel(device, N, F, [&](int64_t begin, int64_t end) {
      for (int64_t row = begin; row < end; row++) {
        const T *g = static_cast<const T *>(gate) + row * ld_gu, *u = static_cast<const T *>(up) + row * ld_gu;
        T *o = static_cast<T *>(out) + row * F;
        vectors(0, F, [&](int64_t i, auto part) {
          const Floats x = load(g + i, part);
          fetch_next(g + i, ld_gu);
          fetch_next(u + i, ld_gu);
          store(o + i, x * sigmoid(x) * load(u + i, part), part);
        });
      }
    });
  });
  return LETHE_OK;
}

// With s = sigmoid(gate): d_up = d_out gate s, d_gate = d_out up s (1 + gate (1 - s))
lethe_status swiglu_backward(lethe_device *device, void *d_gate, void *d_up, int64_t ld_dgu, const void *d_out, const void *gate,
                             const void *up, int64_t ld_gu, int32_t dtype, int64_t N, int64_t F, lethe_stream *) {
  with_type(dtype, [&](auto type) {
    using T = decltype(type);
    parallel(device, N, F, [&](int64_t begin, int64_t end) {
      for (int64_t row = begin; row < end; row++) {
        const T *g = static_cast<const T *>(gate) + row * ld_gu, *u = static_cast<const T *>(up) + row * ld_gu;
        const T *d = static_cast<const T *>(d_out) + row * F;
        T *dg = static_cast<T *>(d_gate) + row * ld_dgu, *du = static_cast<T *>(d_up) + row * ld_dgu;
        vectors(0, F, [&](int64_t i, auto part) {
          const Floats x = load(g + i, part), y = load(u + i, part), dy = load(d + i, part);
          fetch_next(g + i, ld_gu);
          fetch_next(u + i, ld_gu);
          fetch_next(d + i, F);
          const Floats s = sigmoid(x);
          store(dg + i, dy * y * s * fma(x, all(1.0f) - s, all(1.0f)), part);
          store(du + i, dy * x * s, part);
        });
      }
    });
  });
  return LETHE_OK;
}

}  // namespace lethe::LETHE_TIER
