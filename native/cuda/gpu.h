// What every kernel file sees: the words in which kernels are written, for nvcc and for the emulator (native/simt) alike.
//
// A kernel file holds __global__ functions in lethe::gpu (named, never anonymous namespaces: the emulator finds nvcc's PTX of a
// kernel by its mangled name) and the operations that launch them, with the ABI's own signatures.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>
#include <type_traits>

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

__host__ __device__ inline int64_t divide_up(int64_t a, int64_t b) { return (a + b - 1) / b; }
__host__ __device__ inline int64_t min(int64_t a, int64_t b) { return a < b ? a : b; }
__host__ __device__ inline int64_t max(int64_t a, int64_t b) { return a > b ? a : b; }

// ---- on the host --------------------------------------------------------------------------------------------------------

// x y blocks, or the most that CUDA allows of either: kernels of rows go on by gridDim where there are more.
inline dim3 grid(int64_t x, int64_t y = 1) {
  return dim3(static_cast<unsigned>(min(x, INT32_MAX)), static_cast<unsigned>(min(y, 65535)), 1);
}

// Launches kernel(arguments...) on the stream, with `shared` bytes of dynamic shared memory.
template <class... Parameters, class... Arguments>
void launch(lethe_device *device, lethe_stream *stream, dim3 grid, int block, int64_t shared, void (*kernel)(Parameters...),
            Arguments... arguments) {
  const cudaStream_t on = device->on(stream);
#if defined(__CUDACC__)
  if (shared > 0) {  // unasked, 48 KiB hold what the kernel declares itself as well
    device->check(cudaFuncSetAttribute(reinterpret_cast<const void *>(kernel), cudaFuncAttributeMaxDynamicSharedMemorySize,
                                       static_cast<int>(shared)),
                  "cudaFuncSetAttribute");
  }
  kernel<<<grid, block, static_cast<size_t>(shared), on>>>(static_cast<Parameters>(arguments)...);
  const cudaError_t status = cudaGetLastError();
#else
  const cudaError_t status =
      simt::launch(grid, block, static_cast<size_t>(shared), on, kernel, static_cast<Parameters>(arguments)...);
#endif
  device->launched(status, stream, "launch");
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

// A 128-bit access: 4 words, 8 bf16 or 4 floats.
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

// The same to global memory, in one instruction for certain: the compiler leaves four of 32 bits where it finds them hard to join.
template <class Float>
__device__ inline void store_wide_global(Float *address, const Wide<Float> &wide) {
#if defined(__CUDACC__)
  asm volatile("st.global.v4.u32 [%0], {%1, %2, %3, %4};"
               :
               : "l"(__cvta_generic_to_global(address)), "r"(wide.word[0]), "r"(wide.word[1]), "r"(wide.word[2]), "r"(wide.word[3])
               : "memory");
#else
  store_wide(address, wide);
#endif
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

// x everywhere; x is one of the few numbers that are as exact in bf16
template <class Float>
__device__ inline Wide<Float> wide_of(float x) {
  uint32_t word = __float_as_uint(x);
  if constexpr (sizeof(Float) == 2) word |= word >> 16;
  return {{word, word, word, word}};
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

// e^x and a / b as exactly as a result of Float is worth: for bf16 to some units in the last place of fp32.
template <class Float>
__device__ inline float exp_for(float x) {
  if constexpr (sizeof(Float) == 2) {
    return __expf(x);
  } else {
    return expf(x);
  }
}
template <class Float>
__device__ inline float divide_for(float a, float b) {
  if constexpr (sizeof(Float) == 2) {
    return __fdividef(a, b);  // 0 where b is above 2^126
  } else {
    return a / b;
  }
}

// ---- on the device: groups of elements ----------------------------------------------------------------------------------

// What a thread takes at a time: as many elements as the narrowest of the types has in 128 bits.
template <class... Floats>
constexpr int kGroup = ((sizeof(Floats) == 2) || ...) ? 8 : 4;

constexpr float kNothing = -0.0f;  // what added leaves every number as it is, -0 too

// x = from[0] ... from[kCount - 1], of which `left` lie before the end; those beyond become `rest`. kWide: 128 bits at a time,
// where left is at least kCount or not above 0. Else element by element: what is computed does not depend on it.
template <bool kWide, int kCount, class Float>
__device__ inline void load(float (&x)[kCount], const Float *from, int64_t left, float rest = 0.0f) {
  static_assert(kCount % Wide<Float>::kCount == 0, "whole accesses of 128 bits");
  if constexpr (kWide) {
    constexpr int kEach = Wide<Float>::kCount;
#pragma unroll
    for (int i = 0; i < kCount; i += kEach) {
      Wide<Float> raw = wide_of<Float>(rest);
      if (left > 0) raw = load_wide(from + i);  // and nothing that would wait for it: all loads of a thread go out together
      float part[kEach];
      unpack(raw, part);
#pragma unroll
      for (int j = 0; j < kEach; j++) x[i + j] = part[j];
    }
  } else {
#pragma unroll
    for (int i = 0; i < kCount; i++) x[i] = i < left ? to_float(from[i]) : rest;
  }
}

// The same the other way, to global memory: elements beyond the end are not written.
template <bool kWide, int kCount, class Float>
__device__ inline void store(Float *to, const float (&x)[kCount], int64_t left) {
  static_assert(kCount % Wide<Float>::kCount == 0, "whole accesses of 128 bits");
  if constexpr (kWide) {
    constexpr int kEach = Wide<Float>::kCount;
#pragma unroll
    for (int i = 0; i < kCount; i += kEach) {
      float part[kEach];
#pragma unroll
      for (int j = 0; j < kEach; j++) part[j] = x[i + j];
      if (left > 0) store_wide_global(to + i, pack(part));
    }
  } else {
#pragma unroll
    for (int i = 0; i < kCount; i++) {
      if (i < left) to[i] = from_float<Float>(x[i]);
    }
  }
}

// x as it reads back after a store to Float
template <class Float, int kCount>
__device__ inline void round_to(float (&x)[kCount]) {
  if constexpr (sizeof(Float) == 2) {
    const Wide<Bf16> rounded = pack(x);
    unpack(rounded, x);
  }
}

__device__ inline int thread() { return static_cast<int>(threadIdx.x); }
__device__ inline int threads() { return static_cast<int>(blockDim.x); }

// body(kWide, i) for the one group, at i of n elements, that is this thread's in the whole grid. kWide as load and store want it.
template <int kCount, class Body>
__device__ inline void own_group(int64_t n, bool wide, Body body) {
  const int64_t i = (static_cast<int64_t>(blockIdx.x) * threads() + thread()) * kCount;
  if (wide && i + kCount <= n) {
    body(std::bool_constant<true>(), i);
  } else if (i < n) {
    body(std::bool_constant<false>(), i);
  }
}
constexpr int kGroupThreads = 256;
// The grid for it, in blocks of kGroupThreads
inline dim3 group_grid(int64_t n, int count) { return grid(divide_up(n, int64_t{count} * kGroupThreads)); }

// body(i, x) for every group of a row that is this thread's in the block, several loads on their way at once; elements beyond the
// row's end are `rest`.
template <bool kWide, int kBatch, class Float, class Body>
__device__ inline void block_groups(const Float *row, int64_t n, float rest, Body body) {
  constexpr int kCount = kGroup<Float>;
  const int64_t step = static_cast<int64_t>(threads()) * kCount;
  for (int64_t first = static_cast<int64_t>(thread()) * kCount; first < n; first += kBatch * step) {
    float x[kBatch][kCount];
#pragma unroll
    for (int b = 0; b < kBatch; b++) load<kWide>(x[b], row + first + b * step, n - first - b * step, rest);
#pragma unroll
    for (int b = 0; b < kBatch; b++) {
      if (first + b * step < n) body(first + b * step, x[b]);
    }
  }
}

// ---- on the device: threads together ------------------------------------------------------------------------------------

// move(x), for each number that a value is made of; structs have their own.
template <class T, class Move>
__device__ inline T moved(T x, Move move) {
  return move(x);
}

// The values of a block of whole warps combined, for every thread; in an order of its own, so the same bits every time.
template <class T, class Combine>
__device__ inline T block_reduce(T x, T identity, Combine combine) {
  LETHE_SHARED(T, parts, [kWarp]);
  const auto over_warp = [&](T value) {
#pragma unroll
    for (int offset = kWarp / 2; offset > 0; offset /= 2) {
      value = combine(value, moved(value, [&](auto number) { return __shfl_xor_sync(kAll, number, offset); }));
    }
    return value;
  };
  const int lane = thread() % kWarp, warp = thread() / kWarp, warps = threads() / kWarp;
  x = over_warp(x);
  __syncthreads();  // what was reduced before may still be read
  if (lane == 0) parts[warp] = x;
  __syncthreads();
  x = over_warp(lane < warps ? parts[lane] : identity);
  return moved(x, [](auto number) { return __shfl_sync(kAll, number, 0); });  // lanes may have combined in either order
}

__device__ inline float block_sum(float x) {
  return block_reduce(x, 0.0f, [](float a, float b) { return a + b; });
}

}  // namespace lethe::gpu
