// RMSNorm (Zhang & Sennrich 2019), with the residual add in front of it.
#include "tier.h"

namespace lethe::LETHE_TIER {
namespace {

constexpr int64_t kStretch = 1024;  // squares are summed stretch by stretch, so that long rows lose no more digits than short ones

// x[i] + residual[i] as kept in T, into sum; gives the sum of the squares. residual and sum may be NULL.
template <class T>
inline float add_residual(T *sum, const T *x, const T *residual, int64_t d) {
  float total = 0;
  for (int64_t begin = 0; begin < d; begin += kStretch) {
    Floats squares = zero();
    vectors(begin, min(d, begin + kStretch), [&](int64_t i, auto part) {
      Floats value = load(x + i, part);
      if (residual != nullptr) value = rounded_to(x, value + load(residual + i, part));
      if (sum != nullptr) store(sum + i, value, part);
      squares = fma(value, value, squares);
    });
    total += lethe::LETHE_TIER::sum(squares);
  }
  return total;
}

// Rows of d_weight's partial sums: each block of rows is summed on its own, the blocks then in order.
constexpr int64_t kMostBlocks = 64;
constexpr int64_t kFewestRows = 16;

}  // namespace

// y (N, d) = sum rstd weight, sum (N, d) = x + residual, rstd (N) = 1 / sqrt(mean(sum^2) + eps)
lethe_status rmsnorm(lethe_device *device, void *y, float *rstd, void *sum, const void *x, const void *residual, const void *weight,
                     int32_t dtype, int64_t N, int64_t d, float eps, lethe_stream *) {
  with_type(dtype, [&](auto type) {
    using T = decltype(type);
    const T *w = static_cast<const T *>(weight);
    parallel(device, N, 2 * d, [&](int64_t begin, int64_t end) {
      for (int64_t row = begin; row < end; row++) {
        const T *in = static_cast<const T *>(x) + row * d;
        const T *added = residual == nullptr ? nullptr : static_cast<const T *>(residual) + row * d;
        T *kept = sum == nullptr ? nullptr : static_cast<T *>(sum) + row * d;
        const float mean = add_residual(kept, in, added, d) / static_cast<float>(d);
        const float r = 1.0f / __builtin_sqrtf(mean + eps);
        if (rstd != nullptr) rstd[row] = r;
        const T *normed = kept == nullptr ? in : kept;
        T *out = static_cast<T *>(y) + row * d;
        vectors(0, d, [&](int64_t i, auto part) { store(out + i, load(normed + i, part) * all(r) * load(w + i, part), part); });
      }
    });
  });
  return LETHE_OK;
}

// With n = x rstd, g = d_y weight: d_x = d_residual + rstd (g - n mean(g n)), d_weight += sum over rows of d_y n
lethe_status rmsnorm_backward(lethe_device *device, void *d_x, void *d_weight, const void *d_y, const void *x, const void *weight,
                              const float *rstd, const void *d_residual, int32_t dtype, int32_t grad_dtype, int64_t N, int64_t d,
                              lethe_stream *) {
  const int64_t blocks = min(kMostBlocks, divide_up(N, kFewestRows));
  const int64_t ld = divide_up(d, W) * W;
  float *partial = static_cast<float *>(device->scratch(blocks * ld * static_cast<int64_t>(sizeof(float))));  // (blocks, ld)
  with_type(dtype, [&](auto type) {
    using T = decltype(type);
    const T *w = static_cast<const T *>(weight);
    parallel(device, blocks, divide_up(N, blocks) * 2 * d, [&](int64_t first_block, int64_t end_block) {
      for (int64_t block = first_block; block < end_block; block++) {
        float *sums = partial + block * ld;
        std::memset(sums, 0, static_cast<size_t>(ld) * sizeof *sums);
        for (int64_t row = block * N / blocks; row < (block + 1) * N / blocks; row++) {
          const T *in = static_cast<const T *>(x) + row * d, *dy = static_cast<const T *>(d_y) + row * d;
          const T *added = d_residual == nullptr ? nullptr : static_cast<const T *>(d_residual) + row * d;
          T *dx = static_cast<T *>(d_x) + row * d;
          const Floats r = all(rstd[row]);
          Floats products = zero();
          vectors(0, d, [&](int64_t i, auto part) {
            const Floats n = load(in + i, part) * r, g = load(dy + i, part);
            products = fma(g * load(w + i, part), n, products);
            store(sums + i, fma(g, n, load(sums + i)));  // ld is whole vectors
          });
          const Floats mean = all(sum(products) / static_cast<float>(d));
          vectors(0, d, [&](int64_t i, auto part) {
            const Floats n = load(in + i, part) * r, g = load(dy + i, part) * load(w + i, part);
            const Floats through = r * (g - n * mean);
            store(dx + i, added == nullptr ? through : load(added + i, part) + through, part);
          });
        }
      }
    });
  });
  with_type(grad_dtype, [&](auto grad_type) {
    using G = decltype(grad_type);
    G *total = static_cast<G *>(d_weight);
    vectors(0, d, [&](int64_t i, auto part) {
      Floats sums = zero();
      for (int64_t block = 0; block < blocks; block++) sums = sums + load(partial + block * ld + i);
      store(total + i, load(total + i, part) + sums, part);
    });
  });
  return LETHE_OK;
}

}  // namespace lethe::LETHE_TIER
