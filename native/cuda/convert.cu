// Filling and converting.
//
// Operations: none. Bytes: what is named, once. Floor: bytes / bandwidth. Expected: 90% of a copy's rate, one 128-bit access a
// thread and nothing to wait for between a load and its store.
#include "gpu.h"

namespace lethe::gpu {

template <class Float>
__global__ void __launch_bounds__(kGroupThreads) fill_kernel(Float *x, int64_t n, float value, bool wide) {
  constexpr int kCount = kGroup<Float>;
  own_group<kCount>(n, wide, [&](auto whole, int64_t i) {
    float values[kCount];
#pragma unroll
    for (int j = 0; j < kCount; j++) values[j] = value;
    store<whole.value>(x + i, values, n - i);
  });
}

// x (n) = value
lethe_status fill(lethe_device *device, void *x, int32_t dtype, int64_t n, float value, lethe_stream *stream) {
  with_type(dtype, [&](auto type) {
    using Float = decltype(type);
    launch(device, stream, group_grid(n, kGroup<Float>), kGroupThreads, 0, fill_kernel<Float>, x, n, value, wide(0, x));
  });
  return LETHE_OK;
}

template <class Target, class Source>
__global__ void __launch_bounds__(kGroupThreads) convert_kernel(Target *target, const Source *source, int64_t n, bool wide) {
  constexpr int kCount = kGroup<Target, Source>;
  own_group<kCount>(n, wide, [&](auto whole, int64_t i) {
    float x[kCount];
    load<whole.value>(x, source + i, n - i);
    store<whole.value>(target + i, x, n - i);
  });
}

// target (n) = source (n)
lethe_status convert(lethe_device *device, void *target, int32_t target_dtype, const void *source, int32_t source_dtype, int64_t n,
                     lethe_stream *stream) {
  with_type(target_dtype, [&](auto target_type) {
    with_type(source_dtype, [&](auto source_type) {
      using Target = decltype(target_type);
      using Source = decltype(source_type);
      launch(device, stream, group_grid(n, kGroup<Target, Source>), kGroupThreads, 0, convert_kernel<Target, Source>, target, source, n,
             wide(0, target, source));
    });
  });
  return LETHE_OK;
}

}  // namespace lethe::gpu
