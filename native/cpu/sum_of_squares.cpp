// The sum of squares, in double.
#include "tier.h"

namespace lethe::LETHE_TIER {
namespace {

constexpr int64_t kBlock = 4096;  // elements summed on their own; the blocks then in order
constexpr int64_t kLanes = 16;    // partial sums of a block, whatever the tier

template <class T>
inline double block(const T *x, int64_t n) {
  double lanes[kLanes] = {};
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    for (int64_t lane = 0; lane < kLanes; lane++) {
      const double value = static_cast<double>(widen(x[i + lane]));
      lanes[lane] += value * value;
    }
  }
  for (int64_t lane = 0; i + lane < n; lane++) {
    const double value = static_cast<double>(widen(x[i + lane]));
    lanes[lane] += value * value;
  }
  for (int64_t half = kLanes / 2; half > 0; half /= 2) {
    for (int64_t lane = 0; lane < half; lane++) lanes[lane] += lanes[lane + half];
  }
  return lanes[0];
}

}  // namespace

// result (1) = sum of x^2
lethe_status sum_of_squares(lethe_device *device, double *result, const void *x, int32_t dtype, int64_t n, lethe_stream *) {
  const int64_t blocks = divide_up(n, kBlock);
  double *sums = static_cast<double *>(device->scratch(blocks * static_cast<int64_t>(sizeof(double))));
  with_type(dtype, [&](auto type) {
    using T = decltype(type);
    parallel(device, blocks, kBlock, [&](int64_t begin, int64_t end) {
      for (int64_t b = begin; b < end; b++) sums[b] = block(static_cast<const T *>(x) + b * kBlock, min(kBlock, n - b * kBlock));
    });
  });
  double total = 0.0;
  for (int64_t b = 0; b < blocks; b++) total += sums[b];
  *result = total;
  return LETHE_OK;
}

}  // namespace lethe::LETHE_TIER
