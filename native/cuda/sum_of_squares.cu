// The sum of squares, in double.
//
// Operations: 2 an element, in double. Bytes: every element read once. Floor: bytes / bandwidth. Expected: 90% of the rate of
// reading: four loads on their way a thread; a card with few units for double (1/64) stays below its bandwidth too.
#include "gpu.h"

namespace lethe::gpu {

constexpr int kSumThreads = 256;
constexpr int64_t kFewest = 32 * kSumThreads;  // elements worth a block
constexpr int64_t kMostSums = 2048;

__device__ inline double block_sum(double x) {
  return block_reduce(x, 0.0, [](double a, double b) { return a + b; });
}

// sums (blocks): each of its own `each` neighbouring elements
template <class Float, bool kWide>
__global__ void __launch_bounds__(kSumThreads) squares_kernel(double *sums, const Float *x, int64_t n, int64_t each) {
  const int64_t begin = blockIdx.x * each;
  double sum = 0.0;
  const auto take = [&](int64_t, const auto &values) {
#pragma unroll
    for (const float value : values) sum = fma(static_cast<double>(value), static_cast<double>(value), sum);
  };
  const int64_t count = min(each, n - begin), whole = count - count % kGroup<Float>;
  block_groups<kWide, 4>(x + begin, whole, 0.0f, take);
  if (whole < count && thread() == 0) {
    float rest[kGroup<Float>];
    load<false>(rest, x + begin + whole, count - whole);
    take(0, rest);
  }
  sum = block_sum(sum);
  if (thread() == 0) sums[blockIdx.x] = sum;
}

__global__ void __launch_bounds__(kSumThreads) sum_kernel(double *result, const double *sums, int64_t n) {
  double sum = 0.0;
  for (int64_t i = thread(); i < n; i += threads()) sum += sums[i];
  sum = block_sum(sum);
  if (thread() == 0) *result = sum;
}

// result (1) = sum of x^2
lethe_status sum_of_squares(lethe_device *device, double *result, const void *x, int32_t dtype, int64_t n, lethe_stream *stream) {
  const int64_t each = divide_up(max(kFewest, divide_up(n, kMostSums)), 8) * 8, blocks = divide_up(n, each);
  auto *sums = static_cast<double *>(device->scratch(stream, blocks * static_cast<int64_t>(sizeof(double))));
  with_type(dtype, [&](auto type) {
    using Float = decltype(type);
    launch(device, stream, grid(blocks), kSumThreads, 0, wide(0, x) ? squares_kernel<Float, true> : squares_kernel<Float, false>, sums, x,
           n, each);
  });
  launch(device, stream, grid(1), kSumThreads, 0, sum_kernel, result, sums, blocks);
  return LETHE_OK;
}

}  // namespace lethe::gpu
