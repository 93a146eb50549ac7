// The running maximum of a row and its index; ties go to the lower one.
#pragma once

#include "tier.h"

namespace lethe::LETHE_TIER {
namespace {

class Largest {
 public:
  // The next vector of the row: elements i to i + W - 1. Lanes past the row's end must be -infinity. NaN never wins.
  void take(Floats x, int64_t i) {
    const Mask better = less(best_, x);
    best_ = select(better, x, best_);
    index_ = select(better, add(all(static_cast<int32_t>(i)), iota()), index_);
  }

  int32_t index() const {
    float values[W];
    int32_t indices[W];
    store(values, best_);
    std::memcpy(indices, &index_, sizeof indices);
    int lane = 0;
    for (int other = 1; other < W; other++) {
      if (values[other] > values[lane] || (values[other] == values[lane] && indices[other] < indices[lane])) lane = other;
    }
    return indices[lane];
  }

 private:
  Floats best_ = all(-__builtin_inff());
  Ints index_ = iota();  // a row of -infinity alone: 0
};

}  // namespace
}  // namespace lethe::LETHE_TIER
