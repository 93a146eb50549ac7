// The most probable tokens of a row: the first, and the first k.
#include "largest.h"
#include "softmax.h"

namespace lethe::LETHE_TIER {

// index (N), logits (N, V)
lethe_status argmax(lethe_device *device, int32_t *index, const void *logits, int32_t dtype, int64_t N, int64_t V, lethe_stream *) {
  with_type(dtype, [&](auto type) {
    using T = decltype(type);
    parallel(device, N, V, [&](int64_t begin, int64_t end) {
      for (int64_t row = begin; row < end; row++) {
        const T *x = static_cast<const T *>(logits) + row * V;
        Largest largest;
        Mask nan = is_nan(zero());
        vectors(0, V, [&](int64_t i, auto part) {
          const Floats value = load(x + i, part);
          nan = mask_or(nan, is_nan(value));
          largest.take(only(part, value, all(-__builtin_inff())), i);
        });
        index[row] = any(nan) ? -1 : largest.index();
      }
    });
  });
  return LETHE_OK;
}

namespace {

// The k best so far as a heap whose root is the worst of them, in the very arrays of the result.
struct Best {
  float *value;
  int32_t *index;
  int64_t k;

  // a is worse than b: lower, or as high and of a higher index
  bool worse(int64_t a, int64_t b) const { return value[a] < value[b] || (value[a] == value[b] && index[a] > index[b]); }

  void swap(int64_t a, int64_t b) {
    const float v = value[a];
    value[a] = value[b];
    value[b] = v;
    const int32_t i = index[a];
    index[a] = index[b];
    index[b] = i;
  }

  void sink(int64_t at, int64_t size) {
    for (int64_t child = 2 * at + 1; child < size; child = 2 * at + 1) {
      if (child + 1 < size && worse(child + 1, child)) child++;
      if (!worse(child, at)) return;
      swap(child, at);
      at = child;
    }
  }

  void make_heap() {
    for (int64_t at = k / 2 - 1; at >= 0; at--) sink(at, k);
  }

  // x, of an index higher than all before
  void offer(float x, int64_t i) {
    if (!(x > value[0])) return;
    value[0] = x;
    index[0] = static_cast<int32_t>(i);
    sink(0, k);
  }

  // Best first: the worst goes to the end, again and again.
  void sort() {
    for (int64_t size = k - 1; size > 0; size--) {
      swap(0, size);
      sink(0, size);
    }
  }
};

template <class T>
inline void select_best(Best best, const T *x, int64_t V) {
  for (int64_t i = 0; i < best.k; i++) {
    best.value[i] = widen(x[i]);
    best.index[i] = static_cast<int32_t>(i);
  }
  best.make_heap();
  vectors(best.k, V, [&](int64_t i, auto part) {
    const Floats value = only(part, load(x + i, part), all(-__builtin_inff()));
    if (!any(less(all(best.value[0]), value))) return;
    for (int64_t j = i; j < min(i + W, V); j++) best.offer(widen(x[j]), j);
  });
  best.sort();
}

}  // namespace

// index (N, k), probability (N, k), logits (N, V)
lethe_status top_k(lethe_device *device, int32_t *index, float *probability, const void *logits, int32_t dtype, int64_t N, int64_t V,
                   int64_t k, lethe_stream *) {
  with_type(dtype, [&](auto type) {
    using T = decltype(type);
    parallel(device, N, V, [&](int64_t begin, int64_t end) {
      for (int64_t row = begin; row < end; row++) {
        const T *x = static_cast<const T *>(logits) + row * V;
        float *values = probability + row * k;
        select_best(Best{values, index + row * k, k}, x, V);
        const Softmax s = softmax(x, V);
        for (int64_t i = 0; i < k; i++) values[i] = __builtin_expf(values[i] - s.largest) / s.sum;
      }
    });
  });
  return LETHE_OK;
}

}  // namespace lethe::LETHE_TIER
