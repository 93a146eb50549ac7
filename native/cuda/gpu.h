// What every kernel file sees: the words in which kernels are written, for nvcc and for the emulator (native/simt) alike.
//
// A kernel file holds __global__ functions in lethe::gpu (named, never anonymous namespaces: the emulator finds nvcc's PTX of a
// kernel by its mangled name) and the operations that launch them, with the ABI's own signatures.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

#include "device.h"
#include "kernels.h"

#if defined(__CUDACC__)
// LETHE_SHARED(float, tile, [32][33]);  LETHE_SHARED(int, flag, );  the emulator has its own, which it watches
#define LETHE_SHARED(type, name, ...) __shared__ type name __VA_ARGS__
#define LETHE_DYNAMIC_SHARED(type, name)                                \
  extern __shared__ __align__(128) unsigned char lethe_dynamic_shared[]; \
  type *const name = reinterpret_cast<type *>(lethe_dynamic_shared)
#else
#include "simt.h"
#endif

namespace lethe::gpu {

#define LETHE_DECLARE(name) decltype(lethe_##name) name;
LETHE_KERNELS(LETHE_DECLARE)
#undef LETHE_DECLARE

// ---- on the host --------------------------------------------------------------------------------------------------------

inline int64_t divide_up(int64_t a, int64_t b) { return (a + b - 1) / b; }
inline int64_t min(int64_t a, int64_t b) { return a < b ? a : b; }
inline int64_t max(int64_t a, int64_t b) { return a > b ? a : b; }

// Launches kernel(arguments...) on the stream, with `shared` bytes of dynamic shared memory.
template <class... Parameters, class... Arguments>
void launch(lethe_device *device, lethe_stream *stream, dim3 grid, int block, int64_t shared, void (*kernel)(Parameters...),
            Arguments... arguments) {
#if defined(__CUDACC__)
  if (shared > 48 * 1024) {
    device->check(cudaFuncSetAttribute(reinterpret_cast<const void *>(kernel), cudaFuncAttributeMaxDynamicSharedMemorySize,
                                       static_cast<int>(shared)),
                  "cudaFuncSetAttribute");
  }
  kernel<<<grid, block, static_cast<size_t>(shared), device->on(stream)>>>(static_cast<Parameters>(arguments)...);
  device->check(cudaGetLastError(), "launch");
#else
  device->check(simt::launch(grid, block, static_cast<size_t>(shared), device->on(stream), kernel,
                             static_cast<Parameters>(arguments)...),
                "launch");
#endif
}

// Whether 128-bit accesses fit: every address and every row stride (in bytes) a multiple of 16.
template <class... Address>
bool wide(int64_t stride_bytes, Address... address) {
  return stride_bytes % 16 == 0 && ((reinterpret_cast<uintptr_t>(address) % 16 == 0) && ...);
}

// ---- on the device: numbers ---------------------------------------------------------------------------------------------

constexpr int kWarp = 32;
constexpr unsigned kAll = 0xffffffffu;  // every lane of a warp

struct Bf16 {
  uint16_t bits;
};

__device__ inline float to_float(float x) { return x; }
__device__ inline float to_float(Bf16 x) { return __uint_as_float(static_cast<uint32_t>(x.bits) << 16); }

// Two floats as two bf16, the first in the low half; to nearest even, NaN stays NaN.
__device__ inline uint32_t pack_bf16(float low, float high) {
#if defined(__CUDACC__)
  uint32_t packed;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(packed) : "f"(high), "f"(low));
  return packed;
#else
  return simt::pack_bf16(low, high);
#endif
}

template <class Float>
__device__ inline Float from_float(float x);
template <>
__device__ inline float from_float<float>(float x) {
  return x;
}
template <>
__device__ inline Bf16 from_float<Bf16>(float x) {
  return Bf16{static_cast<uint16_t>(pack_bf16(x, 0.0f))};
}

// A 128-bit access: 8 bf16 or 4 floats.
template <class Float>
struct alignas(16) Wide {
  static constexpr int kCount = 16 / static_cast<int>(sizeof(Float));
  uint32_t word[4];
};

template <class Float>
__device__ inline Wide<Float> load_wide(const Float *address) {
  const uint4 raw = *reinterpret_cast<const uint4 *>(address);
  return {{raw.x, raw.y, raw.z, raw.w}};
}
template <class Float>
__device__ inline void store_wide(Float *address, const Wide<Float> &wide) {
  *reinterpret_cast<uint4 *>(address) = make_uint4(wide.word[0], wide.word[1], wide.word[2], wide.word[3]);
}

__device__ inline void unpack(const Wide<float> &wide, float (&x)[4]) {
#pragma unroll
  for (int i = 0; i < 4; i++) x[i] = __uint_as_float(wide.word[i]);
}
__device__ inline void unpack(const Wide<Bf16> &wide, float (&x)[8]) {
#pragma unroll
  for (int i = 0; i < 4; i++) {
    x[2 * i] = __uint_as_float(wide.word[i] << 16);
    x[2 * i + 1] = __uint_as_float(wide.word[i] & 0xffff0000u);
  }
}
__device__ inline Wide<float> pack(const float (&x)[4]) {
  return {{__float_as_uint(x[0]), __float_as_uint(x[1]), __float_as_uint(x[2]), __float_as_uint(x[3])}};
}
__device__ inline Wide<Bf16> pack(const float (&x)[8]) {
  return {{pack_bf16(x[0], x[1]), pack_bf16(x[2], x[3]), pack_bf16(x[4], x[5]), pack_bf16(x[6], x[7])}};
}

// body(Float{}) with float or Bf16 for Float.
template <class Body>
void with_type(int32_t dtype, Body body) {
  if (dtype == LETHE_F32) {
    body(float{});
  } else {
    body(Bf16{});
  }
}

// ---- on the device: threads together ------------------------------------------------------------------------------------

__device__ inline float warp_sum(float x) {
#pragma unroll
  for (int offset = kWarp / 2; offset > 0; offset /= 2) x += __shfl_xor_sync(kAll, x, offset);
  return x;
}

__device__ inline float warp_max(float x) {
#pragma unroll
  for (int offset = kWarp / 2; offset > 0; offset /= 2) x = fmaxf(x, __shfl_xor_sync(kAll, x, offset));
  return x;
}

// The sum over a block of whole warps, for every thread; in an order of its own, so the same bits every time.
__device__ inline float block_sum(float x) {
  LETHE_SHARED(float, sums, [kWarp]);
  const int lane = static_cast<int>(threadIdx.x) % kWarp, warp = static_cast<int>(threadIdx.x) / kWarp;
  const int warps = static_cast<int>(blockDim.x) / kWarp;
  x = warp_sum(x);
  __syncthreads();  // an earlier sum may still be read
  if (lane == 0) sums[warp] = x;
  __syncthreads();
  return warp_sum(lane < warps ? sums[lane] : 0.0f);
}

}  // namespace lethe::gpu
