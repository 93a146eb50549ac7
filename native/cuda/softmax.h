// A row's largest element and its sum of exponentials: softmax(row)[i] = e^(row[i] - largest) / sum. Taken in one pass, the sum
// scaled down where a larger element comes (Milakov & Gimelshein 2018).
#pragma once

#include <cmath>

#include "gpu.h"

namespace lethe::gpu {

struct Softmax {
  float largest;  // of what was taken
  float sum;      // of e^(x - largest)

  // 0 in place of -infinity, whose difference from itself is no number
  __device__ static float shift(float largest) { return largest == -INFINITY ? 0.0f : largest; }

  __device__ void raise(float x) {
    if (x > largest) {
      sum *= expf(largest - x);
      largest = x;
    }
  }

  template <int kCount>
  __device__ void take(const float (&x)[kCount]) {
    float top = x[0];
#pragma unroll
    for (int i = 1; i < kCount; i++) top = fmaxf(top, x[i]);
    raise(top);
    const float by = shift(largest);
    float more = 0.0f;
#pragma unroll
    for (int i = 0; i < kCount; i++) more += expf(x[i] - by);
    sum += more;
  }
};

template <class Move>
__device__ inline Softmax moved(Softmax x, Move move) {
  return {move(x.largest), move(x.sum)};
}

// Of a whole block, for every thread
__device__ inline Softmax block_softmax(Softmax own) {
  return block_reduce(own, Softmax{-INFINITY, 0.0f}, [](Softmax a, Softmax b) {
    const float largest = fmaxf(a.largest, b.largest), by = Softmax::shift(largest);
    return Softmax{largest, a.sum * expf(a.largest - by) + b.sum * expf(b.largest - by)};
  });
}

}  // namespace lethe::gpu
