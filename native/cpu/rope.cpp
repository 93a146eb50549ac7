// Rotary position embedding (Su et al. 2021), halves paired.
#include "tier.h"

namespace lethe::LETHE_TIER {

// x (N, heads, D) in place, table (P, D/2, 2): x[i], x[i + D/2] = x[i] c - x[i + D/2] s, x[i + D/2] c + x[i] s
lethe_status rope(lethe_device *device, void *x, int64_t ld_x, const float *table, const int32_t *positions, int32_t inverse,
                  int32_t dtype, int64_t N, int64_t heads, int64_t D, int64_t, lethe_stream *) {
  const int64_t half = D / 2;
  constexpr int64_t kBlock = 128;  // pairs turned at a time, cosines and sines taken apart
  with_type(dtype, [&](auto type) {
    using T = decltype(type);
    parallel(device, N, heads * D, [&](int64_t begin, int64_t end) {
      float cosines[kBlock], sines[kBlock];
      for (int64_t row = begin; row < end; row++) {
        for (int64_t at = 0; at < half; at += kBlock) {
          const int64_t width = min(kBlock, half - at);
          const float *pairs = table + (positions[row] * half + at) * 2;
          for (int64_t i = 0; i < width; i++) {
            cosines[i] = pairs[2 * i];
            sines[i] = inverse == 1 ? -pairs[2 * i + 1] : pairs[2 * i + 1];
          }
          for (int64_t head = 0; head < heads; head++) {
            T *low = static_cast<T *>(x) + row * ld_x + head * D + at, *high = low + half;
            vectors(0, width, [&](int64_t i, auto part) {
              const Floats a = load(low + i, part), b = load(high + i, part);
              const Floats c = load(cosines + i, part), s = load(sines + i, part);
              store(low + i, a * c - b * s, part);
              store(high + i, b * c + a * s, part);
            });
          }
        }
      }
    });
  });
  return LETHE_OK;
}

}  // namespace lethe::LETHE_TIER
