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

// The sum of e^(x - shift) over n >= 0 elements, in an order that depends on n alone. NaN where one is NaN.
template <class T>
inline float sum_of_exponentials(const T *x, int64_t n, float shift) {
  const Floats by = all(shift);
  Floats a = zero(), b = zero();
  int64_t i = 0;
  for (; i + 2 * W <= n; i += 2 * W) {
    a = a + exp(load(x + i) - by);
    b = b + exp(load(x + i + W) - by);
  }
  vectors(i, n, [&](int64_t j, auto part) { a = a + only(part, exp(load(x + j, part) - by), zero()); });
  return sum(a + b);
}

template <class T>
inline Softmax softmax(const T *row, int64_t V) {
  const float top = largest(row, V);
  return {top, sum_of_exponentials(row, V, top)};
}

}  // namespace
}  // namespace lethe::LETHE_TIER
