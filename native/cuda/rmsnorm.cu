// RMSNorm (Zhang & Sennrich 2019), with the residual add in front of it.
//
// Operations: 5 an element forward, 12 backward. Bytes: forward 2 to 4 elements an element (x, y; residual, sum), backward 3 or 4
// (d_y, x, d_x; d_residual). Floor: bytes / bandwidth. Expected: 85% of a copy's rate; a block keeps its row in registers, so that
// every byte moves once, and waits twice a row for the others' sums while other blocks load. The backward's partial sums of
// d_weight add 8 d bytes a block.
#include "gpu.h"

namespace lethe::gpu {

// Elements of a row that one thread keeps in registers, none: it reads them twice (rows too long, or not aligned). Which thread
// has which element, and so every sum, depends on the block alone.
constexpr int kNone = 0;

template <class Float, int kKept>
constexpr int kKeptGroups = kKept / kGroup<Float>;

// Threads for a row of d elements, `each` or a few groups each
inline int row_threads(int64_t d, int64_t each, int64_t most) {
  return static_cast<int>(min(most, divide_up(divide_up(d, each), kWarp) * kWarp));
}

// x + residual, rounded to Float, into sum; gives the sum of the squares. residual and sum may be NULL.
template <bool kWide, class Float, int kCount>
__device__ inline float add_residual(float (&x)[kCount], const float (&added)[kCount], Float *sum, const Float *residual, int64_t left) {
  if (residual != nullptr) {
#pragma unroll
    for (int j = 0; j < kCount; j++) x[j] += added[j];
    round_to<Float>(x);
  }
  if (sum != nullptr) store<kWide>(sum, x, left);
  float squares = 0.0f;
#pragma unroll
  for (int j = 0; j < kCount; j++) squares = fmaf(x[j], x[j], squares);
  return squares;
}

template <bool kWide, class Float, int kCount>
__device__ inline void scale(Float *y, float (&x)[kCount], float r, const float (&w)[kCount], int64_t left) {
#pragma unroll
  for (int j = 0; j < kCount; j++) x[j] = x[j] * r * w[j];
  store<kWide>(y, x, left);
}

constexpr int kForwardThreads = 512;

// A block a row
template <class Float, int kKept, bool kWide>
__global__ void __launch_bounds__(kForwardThreads)
    rmsnorm_kernel(Float *y, float *rstd, Float *sum, const Float *x, const Float *residual, const Float *weight, int64_t N, int64_t d,
                   float eps) {
  constexpr int kCount = kGroup<Float>, kGroups = kKeptGroups<Float, kKept>;
  const int64_t first = static_cast<int64_t>(thread()) * kCount, step = static_cast<int64_t>(threads()) * kCount;
  for (int64_t row = blockIdx.x; row < N; row += gridDim.x) {
    const Float *const in = x + row * d, *const added = residual == nullptr ? nullptr : residual + row * d;
    Float *const kept = sum == nullptr ? nullptr : sum + row * d, *const out = y + row * d;
    float squares = 0.0f;
    if constexpr (kKept != kNone) {
      float values[kGroups][kCount], more[kGroups][kCount] = {}, w[kGroups][kCount];
#pragma unroll
      for (int g = 0; g < kGroups; g++) {
        const int64_t i = first + g * step;
        load<kWide>(values[g], in + i, d - i);
        if (added != nullptr) load<kWide>(more[g], added + i, d - i);
        load<kWide>(w[g], weight + i, d - i);
      }
#pragma unroll
      for (int g = 0; g < kGroups; g++) {
        const int64_t i = first + g * step;
        squares += add_residual<kWide>(values[g], more[g], kept == nullptr ? nullptr : kept + i, added, d - i);
      }
      const float r = 1.0f / sqrtf(block_sum(squares) / static_cast<float>(d) + eps);
      if (rstd != nullptr && thread() == 0) rstd[row] = r;
#pragma unroll
      for (int g = 0; g < kGroups; g++) {
        const int64_t i = first + g * step;
        scale<kWide>(out + i, values[g], r, w[g], d - i);
      }
    } else {
      for (int64_t i = first; i < d; i += step) {
        float values[kCount], more[kCount] = {};
        load<kWide>(values, in + i, d - i);
        if (added != nullptr) load<kWide>(more, added + i, d - i);
        squares += add_residual<kWide>(values, more, kept == nullptr ? nullptr : kept + i, added, d - i);
      }
      const float r = 1.0f / sqrtf(block_sum(squares) / static_cast<float>(d) + eps);
      if (rstd != nullptr && thread() == 0) rstd[row] = r;
      const Float *const normed = kept == nullptr ? in : kept;
      for (int64_t i = first; i < d; i += step) {
        float values[kCount], w[kCount];
        load<kWide>(values, normed + i, d - i);
        load<kWide>(w, weight + i, d - i);
        scale<kWide>(out + i, values, r, w, d - i);
      }
    }
  }
}

// y (N, d) = sum rstd weight, sum (N, d) = x + residual, rstd (N) = 1 / sqrt(mean(sum^2) + eps)
lethe_status rmsnorm(lethe_device *device, void *y, float *rstd, void *sum, const void *x, const void *residual, const void *weight,
                     int32_t dtype, int64_t N, int64_t d, float eps, lethe_stream *stream) {
  with_type(dtype, [&](auto type) {
    using Float = decltype(type);
    const bool whole = wide(d * static_cast<int64_t>(sizeof(Float)), y, sum, x, residual, weight);
    const int64_t kept = d <= 8 * 256 ? 8 : 16;
    const auto kernel = !whole                       ? rmsnorm_kernel<Float, kNone, false>
                        : d > 16 * kForwardThreads ? rmsnorm_kernel<Float, kNone, true>
                        : kept == 8                  ? rmsnorm_kernel<Float, 8, true>
                                                     : rmsnorm_kernel<Float, 16, true>;
    launch(device, stream, grid(N), row_threads(d, kept, kForwardThreads), 0, kernel, y, rstd, sum, x, residual, weight, N, d, eps);
  });
  return LETHE_OK;
}

constexpr int kBackwardThreads = 512;

// A block takes neighbouring rows, each thread the same columns of all. With n = x rstd, g = d_y weight:
// d_x = d_residual + rstd (g - n mean(g n)), partial (blocks, d) = sums over the block's rows of d_y n
template <class Float, int kKept, bool kWide>
__global__ void __launch_bounds__(kBackwardThreads)
    rmsnorm_backward_kernel(Float *d_x, float *partial, const Float *d_y, const Float *x, const Float *weight, const float *rstd,
                            const Float *d_residual, int64_t N, int64_t d, float inverse_d) {
  constexpr int kCount = kGroup<Float>, kGroups = kKeptGroups<Float, kKept>;
  const int64_t first = static_cast<int64_t>(thread()) * kCount, step = static_cast<int64_t>(threads()) * kCount;
  const int64_t blocks = gridDim.x, block = blockIdx.x, end = (block + 1) * N / blocks;
  const Float *const residual = d_residual == nullptr ? x : d_residual;  // not read if there is none
  float *const block_sums = partial + block * d;
  if constexpr (kKept != kNone) {
    float sums[kGroups][kCount] = {}, w[kGroups][kCount];
#pragma unroll
    for (int g = 0; g < kGroups; g++) load<kWide>(w[g], weight + first + g * step, d - first - g * step);
    for (int64_t row = block * N / blocks; row < end; row++) {
      const float r = rstd[row];
      float n[kGroups][kCount], dy[kGroups][kCount], added[kGroups][kCount];
#pragma unroll
      for (int g = 0; g < kGroups; g++) {
        const int64_t i = first + g * step;
        load<kWide>(n[g], x + row * d + i, d - i);
        load<kWide>(dy[g], d_y + row * d + i, d - i);
        load<kWide>(added[g], residual + row * d + i, d_residual == nullptr ? 0 : d - i, kNothing);
      }
      float products = 0.0f;
#pragma unroll
      for (int g = 0; g < kGroups; g++) {
#pragma unroll
        for (int j = 0; j < kCount; j++) {
          n[g][j] *= r;
          sums[g][j] = fmaf(dy[g][j], n[g][j], sums[g][j]);
          dy[g][j] *= w[g][j];
          products = fmaf(dy[g][j], n[g][j], products);
        }
      }
      const float mean = block_sum(products) * inverse_d;
#pragma unroll
      for (int g = 0; g < kGroups; g++) {
#pragma unroll
        for (int j = 0; j < kCount; j++) dy[g][j] = fmaf(r, fmaf(-n[g][j], mean, dy[g][j]), added[g][j]);
        store<kWide>(d_x + row * d + first + g * step, dy[g], d - first - g * step);
      }
    }
#pragma unroll
    for (int g = 0; g < kGroups; g++) store<kWide>(block_sums + first + g * step, sums[g], d - first - g * step);
  } else {
    const float zeros[kCount] = {};
    for (int64_t i = first; i < d; i += step) store<kWide>(block_sums + i, zeros, d - i);
    for (int64_t row = block * N / blocks; row < end; row++) {
      const float r = rstd[row];
      float products = 0.0f;
      for (int64_t i = first; i < d; i += step) {
        float n[kCount], dy[kCount], w[kCount], sums[kCount];
        load<kWide>(n, x + row * d + i, d - i);
        load<kWide>(dy, d_y + row * d + i, d - i);
        load<kWide>(w, weight + i, d - i);
        load<kWide>(sums, block_sums + i, d - i);
#pragma unroll
        for (int j = 0; j < kCount; j++) {
          n[j] *= r;
          sums[j] = fmaf(dy[j], n[j], sums[j]);
          products = fmaf(dy[j] * w[j], n[j], products);
        }
        store<kWide>(block_sums + i, sums, d - i);
      }
      const float mean = block_sum(products) * inverse_d;
      for (int64_t i = first; i < d; i += step) {
        float n[kCount], dy[kCount], w[kCount], added[kCount];
        load<kWide>(n, x + row * d + i, d - i);
        load<kWide>(dy, d_y + row * d + i, d - i);
        load<kWide>(w, weight + i, d - i);
        load<kWide>(added, residual + row * d + i, d_residual == nullptr ? 0 : d - i, kNothing);
#pragma unroll
        for (int j = 0; j < kCount; j++) dy[j] = fmaf(r, fmaf(-(n[j] * r), mean, dy[j] * w[j]), added[j]);
        store<kWide>(d_x + row * d + i, dy, d - i);
      }
    }
  }
}

constexpr int kColumnThreads = 512;

// d_weight (d) += the blocks' partial sums, 32 columns a block: each warp a share of the rows, the warps' sums then in order
template <class Gradient>
__global__ void __launch_bounds__(kColumnThreads)
    rmsnorm_weight_kernel(Gradient *d_weight, const float *partial, int64_t blocks, int64_t d) {
  constexpr int kWarps = kColumnThreads / kWarp;
  LETHE_SHARED(float, sums, [kWarps][kWarp]);
  const int lane = thread() % kWarp, warp = thread() / kWarp;
  const int64_t column = static_cast<int64_t>(blockIdx.x) * kWarp + lane;
  float sum = 0.0f;
  if (column < d) {
    for (int64_t block = warp; block < blocks; block += kWarps) sum += partial[block * d + column];
  }
  sums[warp][lane] = sum;
  __syncthreads();
  if (warp != 0 || column >= d) return;
  for (int other = 1; other < kWarps; other++) sum += sums[other][lane];
  d_weight[column] = from_float<Gradient>(to_float(d_weight[column]) + sum);
}

// d_x (N, d), d_weight (d) +=
lethe_status rmsnorm_backward(lethe_device *device, void *d_x, void *d_weight, const void *d_y, const void *x, const void *weight,
                              const float *rstd, const void *d_residual, int32_t dtype, int32_t grad_dtype, int64_t N, int64_t d,
                              lethe_stream *stream) {
  const int64_t blocks = min(N, 2 * device->multiprocessors);
  auto *partial = static_cast<float *>(device->scratch(stream, blocks * d * static_cast<int64_t>(sizeof(float))));
  with_type(dtype, [&](auto type) {
    using Float = decltype(type);
    const bool whole = wide(d * static_cast<int64_t>(sizeof(Float)), d_x, d_y, x, weight, d_residual);
    const int64_t kept = d <= 8 * 256 ? 8 : 16;
    const auto kernel = !whole                       ? rmsnorm_backward_kernel<Float, kNone, false>
                        : d > 16 * kBackwardThreads ? rmsnorm_backward_kernel<Float, kNone, true>
                        : kept == 8                  ? rmsnorm_backward_kernel<Float, 8, true>
                                                     : rmsnorm_backward_kernel<Float, 16, true>;
    launch(device, stream, grid(blocks), row_threads(d, kept, kBackwardThreads), 0, kernel, d_x, partial, d_y, x, weight, rstd,
           d_residual, N, d, 1.0f / static_cast<float>(d));
  });
  with_type(grad_dtype, [&](auto type) {
    launch(device, stream, grid(divide_up(d, kWarp)), kColumnThreads, 0, rmsnorm_weight_kernel<decltype(type)>, d_weight, partial, blocks,
           d);
  });
  return LETHE_OK;
}

}  // namespace lethe::gpu
