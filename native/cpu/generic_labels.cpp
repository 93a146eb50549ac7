// Generic labels (Eldan & Russinovich 2023, section 2): argmax of g - alpha max(0, r - g), for several alphas at once.
#include "largest.h"

namespace lethe::LETHE_TIER {
namespace {

constexpr int64_t kBlock = 2048;  // tokens of a row at a time: g and r - g, widened, stay in the first cache
constexpr int64_t kMostAlphas = 16;

struct Forbidden {
  int32_t token;
  int32_t after;  // in force at positions beyond
};

// Every forbidden token once, with its earliest position, in ascending order: what a pass over the vocabulary meets in turn.
struct ForbiddenTokens {
  Forbidden *list;
  int64_t count = 0;
  int32_t earliest = INT32_MAX;
};

ForbiddenTokens arrange(lethe_device *device, const int32_t *forbidden, const int32_t *after, int64_t F, int64_t V) {
  ForbiddenTokens tokens{static_cast<Forbidden *>(device->scratch(F * static_cast<int64_t>(sizeof(Forbidden)) + V * 4))};
  auto *of = reinterpret_cast<int32_t *>(tokens.list + F);  // (V), INT32_MAX: never
  for (int64_t v = 0; v < V; v++) of[v] = INT32_MAX;
  for (int64_t j = 0; j < F; j++) {
    if (after[j] < of[forbidden[j]]) of[forbidden[j]] = after[j];
    if (after[j] < tokens.earliest) tokens.earliest = after[j];
  }
  for (int64_t v = 0; v < V; v++) {
    if (of[v] != INT32_MAX) tokens.list[tokens.count++] = {static_cast<int32_t>(v), of[v]};
  }
  return tokens;
}

// Blocks are summed in fp32, their sums in double.
template <class T>
inline float mean(const T *x, int64_t V) {
  double total = 0.0;
  for (int64_t at = 0; at < V; at += kBlock) {
    Floats block = zero();
    vectors(at, min(V, at + kBlock), [&](int64_t i, auto part) { block = block + load(x + i, part); });
    total += static_cast<double>(sum(block));
  }
  return static_cast<float>(total / static_cast<double>(V));
}

// labels[a * T] for every a: baseline and reinforced (V), m the row's position in the translated block
template <class T>
inline void label_row(int32_t *labels, int64_t ld_labels, const T *baseline, const T *reinforced, int32_t m, const ForbiddenTokens &tokens,
                      const float *alphas, int64_t A, int64_t V) {
  const bool some_forbidden = m > tokens.earliest;
  const float instead = some_forbidden ? mean(baseline, V) : 0.0f;
  const Forbidden *next = tokens.list, *const end = tokens.list + (some_forbidden ? tokens.count : 0);
  Largest largest[kMostAlphas];
  Mask nan = is_nan(zero());
  float g[kBlock], excess[kBlock];
  for (int64_t at = 0; at < V; at += kBlock) {
    const int64_t width = min(kBlock, V - at);
    vectors(0, width, [&](int64_t i, auto part) {
      const Floats value = load(baseline + at + i, part);
      nan = mask_or(nan, is_nan(value));
      store(g + i, value, part);
    });
    for (; next != end && next->token < at + width; next++) {
      if (m > next->after) g[next->token - at] = instead;
    }
    vectors(0, width, [&](int64_t i, auto part) {
      const Floats r = load(reinforced + at + i, part);
      nan = mask_or(nan, is_nan(r));
      store(excess + i, max(r - load(g + i, part), zero()), part);  // 0 where both are -infinity
    });
    for (int64_t a = 0; a < A; a++) {
      const Floats minus_alpha = all(-alphas[a]);
      Largest here = largest[a];
      vectors(0, width, [&](int64_t i, auto part) {
        const Floats score = fma(minus_alpha, load(excess + i, part), load(g + i, part));
        here.take(only(part, score, all(-__builtin_inff())), at + i);
      });
      largest[a] = here;
    }
  }
  for (int64_t a = 0; a < A; a++) labels[a * ld_labels] = any(nan) ? -1 : largest[a].index();
}

}  // namespace

// labels (A, T), baseline (Tb, V), reinforced (T, V), mapping (T), forbidden (F)
lethe_status generic_labels(lethe_device *device, int32_t *labels, const void *baseline, const void *reinforced, const int32_t *mapping,
                            const int32_t *forbidden, const int32_t *forbidden_after, const float *alphas, int32_t dtype, int64_t T,
                            int64_t, int64_t V, int64_t F, int64_t A, lethe_stream *) {
  const ForbiddenTokens tokens = F == 0 ? ForbiddenTokens{nullptr} : arrange(device, forbidden, forbidden_after, F, V);
  with_type(dtype, [&](auto type) {
    using Logit = decltype(type);
    parallel(device, T, (A + 2) * V, [&](int64_t begin, int64_t end) {
      for (int64_t t = begin; t < end; t++) {
        const int32_t m = mapping[t];
        if (m < 0) {
          for (int64_t a = 0; a < A; a++) labels[a * T + t] = LETHE_IGNORE;
        } else {
          label_row(labels + t, T, static_cast<const Logit *>(baseline) + m * V, static_cast<const Logit *>(reinforced) + t * V, m, tokens,
                    alphas, A, V);
        }
      }
    });
  });
  return LETHE_OK;
}

}  // namespace lethe::LETHE_TIER
