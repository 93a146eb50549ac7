// SwiGLU (Shazeer 2020): out = silu(gate) * up, silu(x) = x / (1 + e^-x).
//
// Operations: 6 an element and one e^x forward, 11 and one backward. Bytes: 3 elements an element forward, 5 backward. Floor: bytes /
// bandwidth. Expected: 90% of a copy's rate: all loads of a thread are independent, arithmetic takes a third of the issue slots.
#include "gpu.h"

namespace lethe::gpu {

constexpr int kSwigluThreads = 128;

template <class Float>
__device__ inline float sigmoid(float x) {
  return divide_for<Float>(1.0f, 1.0f + exp_for<Float>(-x));
}

// A block takes kSwigluThreads groups of a row.
template <class Float, bool kWide>
__global__ void __launch_bounds__(kSwigluThreads)
    swiglu_kernel(Float *out, const Float *gate, const Float *up, int64_t ld_gu, int64_t N, int64_t F) {
  constexpr int kCount = kGroup<Float>;
  const int64_t i = (static_cast<int64_t>(blockIdx.x) * threads() + thread()) * kCount, left = F - i;
  for (int64_t row = blockIdx.y; row < N; row += gridDim.y) {
    float g[kCount], u[kCount];
    load<kWide>(g, gate + row * ld_gu + i, left);
    load<kWide>(u, up + row * ld_gu + i, left);
#pragma unroll
    for (int j = 0; j < kCount; j++) u[j] = g[j] * sigmoid<Float>(g[j]) * u[j];
    store<kWide>(out + row * F + i, u, left);
  }
}

// out (N, F), gate and up (N, F) with row stride ld_gu
lethe_status swiglu(lethe_device *device, void *out, const void *gate, const void *up, int64_t ld_gu, int32_t dtype, int64_t N,
                    int64_t F, lethe_stream *stream) {
  with_type(dtype, [&](auto type) {
    using Float = decltype(type);
    constexpr int64_t kBytes = sizeof(Float);
    const bool whole = wide(F * kBytes, out) && wide(ld_gu * kBytes, gate, up);
    launch(device, stream, grid(divide_up(F, kSwigluThreads * kGroup<Float>), N), kSwigluThreads, 0,
           whole ? swiglu_kernel<Float, true> : swiglu_kernel<Float, false>, out, gate, up, ld_gu, N, F);
  });
  return LETHE_OK;
}

// With s = sigmoid(gate): d_up = d_out gate s, d_gate = d_out up s (1 + gate (1 - s))
template <class Float, bool kWide>
__global__ void __launch_bounds__(kSwigluThreads)
    swiglu_backward_kernel(Float *d_gate, Float *d_up, int64_t ld_dgu, const Float *d_out, const Float *gate, const Float *up,
                           int64_t ld_gu, int64_t N, int64_t F) {
  constexpr int kCount = kGroup<Float>;
  const int64_t i = (static_cast<int64_t>(blockIdx.x) * threads() + thread()) * kCount, left = F - i;
  for (int64_t row = blockIdx.y; row < N; row += gridDim.y) {
    float g[kCount], u[kCount], d[kCount];
    load<kWide>(g, gate + row * ld_gu + i, left);
    load<kWide>(u, up + row * ld_gu + i, left);
    load<kWide>(d, d_out + row * F + i, left);
#pragma unroll
    for (int j = 0; j < kCount; j++) {
      const float s = sigmoid<Float>(g[j]), through = d[j] * s;
      d[j] = d[j] * u[j] * s * fmaf(g[j], 1.0f - s, 1.0f);
      u[j] = through * g[j];
    }
    store<kWide>(d_gate + row * ld_dgu + i, d, left);
    store<kWide>(d_up + row * ld_dgu + i, u, left);
  }
}

// d_gate and d_up (N, F) with row stride ld_dgu, d_out (N, F)
lethe_status swiglu_backward(lethe_device *device, void *d_gate, void *d_up, int64_t ld_dgu, const void *d_out, const void *gate,
                             const void *up, int64_t ld_gu, int32_t dtype, int64_t N, int64_t F, lethe_stream *stream) {
  with_type(dtype, [&](auto type) {
    using Float = decltype(type);
    constexpr int64_t kBytes = sizeof(Float);
    const bool whole = wide(F * kBytes, d_out) && wide(ld_gu * kBytes, gate, up) && wide(ld_dgu * kBytes, d_gate, d_up);
    launch(device, stream, grid(divide_up(F, kSwigluThreads * kGroup<Float>), N), kSwigluThreads, 0,
           whole ? swiglu_backward_kernel<Float, true> : swiglu_backward_kernel<Float, false>, d_gate, d_up, ld_dgu, d_out, gate, up, ld_gu,
           N, F);
  });
  return LETHE_OK;
}

}  // namespace lethe::gpu
