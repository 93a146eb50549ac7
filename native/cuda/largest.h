// The running maximum of a row and its index; ties go to the lower one.
#pragma once

#include <cmath>

#include "gpu.h"

namespace lethe::gpu {

struct Largest {
  float value;
  int32_t index;

  // A row of -infinity alone: 0
  __device__ static Largest none() { return {-INFINITY, 0}; }
  // A row with a NaN: nothing is larger, no index lower
  __device__ static Largest nan() { return {INFINITY, -1}; }

  // x, of an index higher than all before. NaN never wins.
  __device__ void take(float x, int32_t i) {
    if (x > value) {
      value = x;
      index = i;
    }
  }

  // x of any index
  __device__ void take_unordered(float x, int32_t i) {
    if (x > value || (x == value && i < index)) {
      value = x;
      index = i;
    }
  }
};

template <class Move>
__device__ inline Largest moved(Largest x, Move move) {
  return {move(x.value), move(x.index)};
}

// Of a whole block, for every thread
__device__ inline Largest block_largest(Largest own) {
  return block_reduce(own, Largest::none(), [](Largest a, Largest b) {
    a.take_unordered(b.value, b.index);
    return a;
  });
}

}  // namespace lethe::gpu
