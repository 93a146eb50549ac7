// AdamW (Loshchilov & Hutter 2019), and the weights it moves: exact fp32 as two 16-bit halves.
//
// Operations: some 20 an element. Bytes an element: weights 8 (both halves read and written), gradient 2 or 4, moments 8 or 16.
// Floor: bytes / bandwidth, 6.74e9 weights with bf16 moments and fp32 gradients 135 GB. Expected: 90% of a copy's rate; a third of
// the issue slots for arithmetic, square root and quotient to nearest.
//
// Bits: products and sums are taken as native/cpu/adamw.cpp takes them (fma where it says so, nothing else to contract), the random
// bits are the same function of (seed, step, first + i); so is every result.
#include <cmath>

#include "gpu.h"

namespace lethe::gpu {

// ---- halves ---------------------------------------------------------------------------------------------------------------

// x (8) = the 16-bit numbers from[0] ..., widened with zeros; and back, by their low halves
template <bool kWide>
__device__ inline void load_16(uint32_t (&x)[8], const uint16_t *from, int64_t left) {
  if constexpr (kWide) {
    const Wide<uint16_t> wide = load_wide(from);
#pragma unroll
    for (int i = 0; i < 8; i++) x[i] = i % 2 == 0 ? wide.word[i / 2] & 0xffffu : wide.word[i / 2] >> 16;
  } else {
#pragma unroll
    for (int i = 0; i < 8; i++) x[i] = i < left ? from[i] : 0u;
  }
}
template <bool kWide>
__device__ inline void store_16(uint16_t *to, const uint32_t (&x)[8], int64_t left) {
  if constexpr (kWide) {
    Wide<uint16_t> wide;
#pragma unroll
    for (int i = 0; i < 4; i++) wide.word[i] = (x[2 * i] & 0xffffu) | (x[2 * i + 1] << 16);
    store_wide_global(to, wide);
  } else {
#pragma unroll
    for (int i = 0; i < 8; i++) {
      if (i < left) to[i] = static_cast<uint16_t>(x[i]);
    }
  }
}

// hi = (bits + 0x8000) >> 16, lo = bits - (hi << 16); bits = (hi << 16) + lo with its sign
template <bool kWide>
__device__ inline void store_halves(uint16_t *hi, uint16_t *lo, const float (&x)[8], int64_t left) {
  uint32_t high[8], low[8];
#pragma unroll
  for (int i = 0; i < 8; i++) {
    low[i] = __float_as_uint(x[i]);
    high[i] = (low[i] + 0x8000u) >> 16;
  }
  store_16<kWide>(hi, high, left);
  store_16<kWide>(lo, low, left);
}
template <bool kWide>
__device__ inline void load_halves(float (&x)[8], const uint16_t *hi, const uint16_t *lo, int64_t left) {
  uint32_t high[8], low[8];
  load_16<kWide>(high, hi, left);
  load_16<kWide>(low, lo, left);
#pragma unroll
  for (int i = 0; i < 8; i++) x[i] = __uint_as_float((high[i] << 16) + low[i] - ((low[i] & 0x8000u) << 1));
}

__global__ void __launch_bounds__(kGroupThreads) split_kernel(uint16_t *hi, uint16_t *lo, const float *x, int64_t n, bool wide) {
  own_group<8>(n, wide, [&](auto whole, int64_t i) {
    float values[8];
    load<whole.value>(values, x + i, n - i);
    store_halves<whole.value>(hi + i, lo + i, values, n - i);
  });
}

// hi, lo, x (n)
lethe_status split(lethe_device *device, uint16_t *hi, int16_t *lo, const float *x, int64_t n, lethe_stream *stream) {
  launch(device, stream, group_grid(n, 8), kGroupThreads, 0, split_kernel, hi, reinterpret_cast<uint16_t *>(lo), x, n, wide(0, hi, lo, x));
  return LETHE_OK;
}

__global__ void __launch_bounds__(kGroupThreads) join_kernel(float *x, const uint16_t *hi, const uint16_t *lo, int64_t n, bool wide) {
  own_group<8>(n, wide, [&](auto whole, int64_t i) {
    float values[8];
    load_halves<whole.value>(values, hi + i, lo + i, n - i);
    store<whole.value>(x + i, values, n - i);
  });
}

lethe_status join(lethe_device *device, float *x, const uint16_t *hi, const int16_t *lo, int64_t n, lethe_stream *stream) {
  launch(device, stream, group_grid(n, 8), kGroupThreads, 0, join_kernel, x, hi, reinterpret_cast<const uint16_t *>(lo), n,
         wide(0, hi, lo, x));
  return LETHE_OK;
}

// ---- the step -------------------------------------------------------------------------------------------------------------

// The weights of a call, wherever they are kept.
struct Whole {
  float *weight;

  template <bool kWide, int kCount>
  __device__ void load_at(float (&w)[kCount], int64_t i, int64_t left) const { load<kWide>(w, weight + i, left); }
  template <bool kWide, int kCount>
  __device__ void store_at(int64_t i, const float (&w)[kCount], int64_t left) const { store<kWide>(weight + i, w, left); }
};

struct Halves {
  uint16_t *high, *low;

  template <bool kWide>
  __device__ void load_at(float (&w)[8], int64_t i, int64_t left) const { load_halves<kWide>(w, high + i, low + i, left); }
  template <bool kWide>
  __device__ void store_at(int64_t i, const float (&w)[8], int64_t left) const { store_halves<kWide>(high + i, low + i, w, left); }
};

struct Step {
  float beta1, beta2, rest1, rest2;  // rest = 1 - beta
  float correction1, correction2;    // 1 / (1 - beta^step)
  float minus_lr, eps, weight_decay, gradient_scale;
  uint64_t key;
  int64_t first;
};

// Steele & Vigna's splitmix64
inline uint64_t splitmix(uint64_t x) {
  x += 0x9e3779b97f4a7c15u;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
  return x ^ (x >> 31);
}

// Wellons' lowbias32, a bijection of 32 bits
__device__ inline uint32_t mixed(uint32_t x) {
  x = (x ^ (x >> 16)) * 0x7feb352du;
  x = (x ^ (x >> 15)) * 0x846ca68bu;
  return x ^ (x >> 16);
}

// 32 random bits for parameter i of a step: mixed(mixed(i.low ^ key.low) ^ i.high ^ key.high)
__device__ inline uint32_t random_bits(uint64_t key, int64_t i) {
  const uint64_t index = static_cast<uint64_t>(i);
  const uint32_t inner = mixed(static_cast<uint32_t>(index) ^ static_cast<uint32_t>(key));
  return mixed(inner ^ static_cast<uint32_t>(index >> 32) ^ static_cast<uint32_t>(key >> 32));
}

// x rounded down or up to a bf16, up with the probability of how far it is on the way: random holds 16 bits.
__device__ inline uint32_t rounded_by(float x, uint32_t random) {
  const uint32_t bits = __float_as_uint(x);
  return x != x ? (bits >> 16) | 0x40u : (bits + random) >> 16;
}

template <bool kWide, int kCount>
__device__ inline void store_moments(float *m, float *v, const float (&mean)[kCount], const float (&square)[kCount], uint64_t, int64_t,
                                     int64_t left) {
  store<kWide>(m, mean, left);
  store<kWide>(v, square, left);
}
template <bool kWide>
__device__ inline void store_moments(Bf16 *m, Bf16 *v, const float (&mean)[8], const float (&square)[8], uint64_t key, int64_t index,
                                     int64_t left) {
  uint32_t means[8], squares[8];
#pragma unroll
  for (int j = 0; j < 8; j++) {
    const uint32_t random = random_bits(key, index + j);
    means[j] = rounded_by(mean[j], random & 0xffffu);
    squares[j] = rounded_by(square[j], random >> 16);
  }
  store_16<kWide>(&m->bits, means, left);
  store_16<kWide>(&v->bits, squares, left);
}

template <class Weights, class Gradient, class Moment>
__global__ void __launch_bounds__(kGroupThreads)
    adamw_kernel(Weights weights, const Gradient *gradient, Moment *m, Moment *v, const Step s, int64_t n, bool wide) {
  constexpr int kCount = std::is_same_v<Weights, Halves> ? 8 : kGroup<Gradient, Moment>;
  own_group<kCount>(n, wide, [&](auto whole, int64_t i) {
    float w[kCount], g[kCount], mean[kCount], square[kCount];
    weights.template load_at<whole.value>(w, i, n - i);
    load<whole.value>(g, gradient + i, n - i);
    load<whole.value>(mean, m + i, n - i);
    load<whole.value>(square, v + i, n - i);
#pragma unroll
    for (int j = 0; j < kCount; j++) {
      g[j] *= s.gradient_scale;
      mean[j] = fmaf(s.beta1, mean[j], s.rest1 * g[j]);
      square[j] = fmaf(s.beta2, square[j], s.rest2 * (g[j] * g[j]));
      const float direction = mean[j] * s.correction1 / (sqrtf(square[j] * s.correction2) + s.eps);
      w[j] = fmaf(s.minus_lr, fmaf(s.weight_decay, w[j], direction), w[j]);
    }
    weights.template store_at<whole.value>(i, w, n - i);
    store_moments<whole.value>(m + i, v + i, mean, square, s.key, s.first + i, n - i);
  });
}

// 1 - beta^power
inline double rest(float beta, int64_t power) { return 1.0 - std::pow(static_cast<double>(beta), static_cast<double>(power)); }

// weight, low, gradient, m, v (n). The step itself takes the moments as they are before they are rounded.
lethe_status adamw(lethe_device *device, void *weight, int16_t *low, const void *gradient, void *m, void *v, int32_t dtype,
                   int32_t grad_dtype, int32_t moment_dtype, int64_t n, float lr, float beta1, float beta2, float eps, float weight_decay,
                   float gradient_scale, int64_t step, int64_t seed, int64_t first, lethe_stream *stream) {
  const Step s{beta1,
               beta2,
               static_cast<float>(rest(beta1, 1)),
               static_cast<float>(rest(beta2, 1)),
               static_cast<float>(1.0 / rest(beta1, step)),
               static_cast<float>(1.0 / rest(beta2, step)),
               -lr,
               eps,
               weight_decay,
               gradient_scale,
               splitmix(static_cast<uint64_t>(seed) ^ splitmix(static_cast<uint64_t>(step))),
               first};
  const bool whole = wide(0, weight, low, gradient, m, v);
  with_type(grad_dtype, [&](auto grad_type) {
    with_type(moment_dtype, [&](auto moment_type) {
      using Gradient = decltype(grad_type);
      using Moment = decltype(moment_type);
      if (dtype == LETHE_F32) {
        launch(device, stream, group_grid(n, kGroup<Gradient, Moment>), kGroupThreads, 0, adamw_kernel<Whole, Gradient, Moment>,
               Whole{static_cast<float *>(weight)}, gradient, m, v, s, n, whole);
      } else {
        launch(device, stream, group_grid(n, 8), kGroupThreads, 0, adamw_kernel<Halves, Gradient, Moment>,
               Halves{static_cast<uint16_t *>(weight), reinterpret_cast<uint16_t *>(low)}, gradient, m, v, s, n, whole);
      }
    });
  });
  return LETHE_OK;
}

}  // namespace lethe::gpu
