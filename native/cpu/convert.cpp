// Filling and converting.
#include "tier.h"

namespace lethe::LETHE_TIER {

// x (n) = value
lethe_status fill(lethe_device *device, void *x, int32_t dtype, int64_t n, float value, lethe_stream *) {
  with_type(dtype, [&](auto type) {
    using T = decltype(type);
    parallel_elements(device, n, [&](int64_t begin, int64_t end) {
      vectors(begin, end, [&](int64_t i, auto part) { store(static_cast<T *>(x) + i, all(value), part); });
    });
  });
  return LETHE_OK;
}

// target (n) = source (n)
lethe_status convert(lethe_device *device, void *target, int32_t target_dtype, const void *source, int32_t source_dtype, int64_t n,
                     lethe_stream *) {
  with_type(target_dtype, [&](auto target_type) {
    with_type(source_dtype, [&](auto source_type) {
      using Target = decltype(target_type);
      using Source = decltype(source_type);
      parallel_elements(device, n, [&](int64_t begin, int64_t end) {
        vectors(begin, end, [&](int64_t i, auto part) {
          store(static_cast<Target *>(target) + i, load(static_cast<const Source *>(source) + i, part), part);
        });
      });
    });
  });
  return LETHE_OK;
}

}  // namespace lethe::LETHE_TIER
