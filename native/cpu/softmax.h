// A row's largest element and its sum of exponentials: softmax(row)[i] = e^(row[i] - largest) / sum.
#pragma once

#include "tier.h"

namespace lethe::LETHE_TIER {
namespace {

struct Softmax {
  float largest;  // max of the row
  float sum;      // of e^(x - largest)
};

template <class T>
inline float largest(const T *row, int64_t V) {
  const Floats lowest = all(-__builtin_inff());
  Floats a = lowest, b = lowest, c = lowest, d = lowest;
  int64_t i = 0;
  for (; i + 4 * W <= V; i += 4 * W) {
    a = max(load(row + i), a);
    b = max(load(row + i + W), b);
    c = max(load(row + i + 2 * W), c);
    d = max(load(row + i + 3 * W), d);
  }
  vectors(i, V, [&](int64_t j, auto part) { a = max(only(part, load(row + j, part), lowest), a); });
  return max(max(max(a, b), max(c, d)));
}

// A NaN in the row makes sum NaN. Sums are kept a lane of two vectors each, then added in the order of a tree.
template <class T>
inline Softmax softmax(const T *row, int64_t V) {
  const float top = largest(row, V);
  const Floats shift = all(top);
  Floats a = zero(), b = zero();
  int64_t i = 0;
  for (; i + 2 * W <= V; i += 2 * W) {
    a = a + exp(load(row + i) - shift);
    b = b + exp(load(row + i + W) - shift);
  }
  vectors(i, V, [&](int64_t j, auto part) { a = a + only(part, exp(load(row + j, part) - shift), zero()); });
  return {top, sum(a + b)};
}

}  // namespace
}  // namespace lethe::LETHE_TIER
