// Causal attention with grouped key/value heads, flash style (Dao 2023, FlashAttention-2), its backward, and one new token
// against a cache.
//
// Forward: a task is a stretch of queries of all query heads that share one key/value head. It walks over tiles of keys, packs a
// tile once for all its rows, and takes kRows rows at a time through scores, softmax (maximum and sum kept online) and values
// while they lie in the first-level cache. Decoding is the same with the group's heads as rows, keys split among tasks.
//
// Backward: a task is a stretch of keys of one key/value head. For a tile of keys it walks over the query tiles that see it:
//   P = exp(scale S - lse), dV += P^T dO, dS = P (dO V^T - delta), dK += dS^T Q, dQ += dS K       delta = rowsum(dO out)
// dK and dV of a tile are complete in its task; dQ is summed a stretch at a time and then over stretches, always in that order.
//
// A pair (query, key) that causality hides is never multiplied where something is not finite: 0 * NaN would show it.
#include "tiles.h"

#include <cmath>
#include <limits>

namespace lethe::LETHE_TIER {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kLog2E = 1.44269504088896341f;
constexpr double kLn2 = 0.693147180559945309;

constexpr int64_t kTile = 128;        // keys that are packed at a time, and the backward's queries
constexpr int64_t kRowsOfTask = 192;  // of the forward, about: a packed tile pays for itself
constexpr int64_t kKeysAnElement = 64;  // multiplied in the time in which simpler kernels pass over one element

// 2^x for x up to 127, 0 from -150 down, NaN for NaN; relative error 8e-8, or 3e-6 where the result is to be rounded to bf16.
template <class A>
Floats power_of_two(Floats x) {
  const Floats clamped = max(all(-160.0f), x);
  const Floats n = round(clamped), f = clamped - n;
  Floats p;
  if constexpr (A::kExact) {
    p = fma(all(1.327647178e-3f), f, all(9.675541333e-3f));
    p = fma(p, f, all(5.550713274e-2f));
    p = fma(p, f, all(2.402211972e-1f));
    p = fma(p, f, all(6.931469671e-1f));
    p = fma(p, f, all(1.000000072f));
  } else {
    p = fma(all(9.570101699e-3f), f, all(5.591786030e-2f));
    p = fma(p, f, all(2.402474483e-1f));
    p = fma(p, f, all(6.931218147e-1f));
    p = fma(p, f, all(9.999992614e-1f));
  }
  return scale_by_power(p, n);
}

// The first `valid` lanes of x (any number), `rest` in the others.
inline Floats keep(int64_t valid, Floats x, Floats rest) {
  if (valid >= W) return x;
  return only(Tail{static_cast<int>(max(valid, 0))}, x, rest);
}

// Asks for n elements, so that their lines come side by side.
template <class T>
void fetch(const T *x, int64_t n) {
  for (int64_t i = 0; i < n; i += 64 / static_cast<int64_t>(sizeof(T))) __builtin_prefetch(x + i);
}

inline int64_t clamp(int64_t x, int64_t low, int64_t high) { return max(low, min(x, high)); }

// The widths of a head in words and in padded elements.
template <class T>
struct Head {
  using A = Arithmetic<T>;
  explicit Head(int64_t size)
      : D(size), words(divide_up(size, A::kPerWord)), ld(round_up(words, W)), wide(round_up(size, W)), panels(round_up(size, kPanel)) {}
  const int64_t D, words, ld, wide, panels;
};

// Cuts a thread's scratch into arrays, each on a cache line of its own; with NULL it only counts.
class Cut {
 public:
  explicit Cut(void *scratch) : at_(static_cast<char *>(scratch)) {}
  template <class E>
  E *take(int64_t n) {
    const int64_t bytes = round_up(n * static_cast<int64_t>(sizeof(E)), 64);
    char *const taken = at_ == nullptr ? nullptr : at_ + bytes_;
    bytes_ += bytes;
    return reinterpret_cast<E *>(taken);
  }
  int64_t bytes() const { return bytes_; }

 private:
  char *const at_;
  int64_t bytes_ = 0;
};

// body(task, its thread's scratch, the scratch of all) for each task of [0, n), begun in that order as threads come free.
// work: about the elements that all of them touch. Returns the scratch of all.
template <class Body>
char *tasks(lethe_device *device, int64_t n, int64_t work, int64_t scratch_bytes, int64_t shared_bytes, Body body) {
  const int threads = static_cast<int>(clamp(work / kElementsPerThread, 1, min(n, device->threads)));
  char *const shared = static_cast<char *>(device->scratch(shared_bytes + threads * scratch_bytes));
  char *const scratch = shared + shared_bytes;
#pragma omp parallel num_threads(threads)
  {
    const Tiles tiles;
#pragma omp for schedule(dynamic, 1)
    for (int64_t task = 0; task < n; ++task) body(task, scratch + omp_get_thread_num() * scratch_bytes, shared);
  }
  return shared;
}

// ---- forward --------------------------------------------------------------------------------------------------------------

// A softmax of scores over some keys: top the largest log2-score, total = sum 2^(score - top), values = sum 2^(score - top) v.
struct Softmax {
  float log_sum_exp() const {
    return static_cast<float>(static_cast<double>(top) * kLn2 + std::log(static_cast<double>(total)));
  }
  template <class T>
  void write(T *out, int64_t D) const {
    const Floats share = all(1.0f / total);
    vectors(0, D, [&](int64_t i, auto part) { store(out + i, load(values + i) * share, part); });
  }

  // This and `other`, over the keys of both.
  void join(const Softmax &other, int64_t D) {
    const float now = other.top > top ? other.top : top, base = now > -kInfinity ? now : 0.0f;
    const Floats mine = power_of_two<Singles>(all(top - base)), theirs = power_of_two<Singles>(all(other.top - base));
    top = now;
    total = max(mine) * total + max(theirs) * other.total;
    for (int64_t i = 0; i < D; i += W) store(values + i, fma(theirs, load(other.values + i), mine * load(values + i)));
  }

  float top, total;
  float *values;  // (D), a multiple of W long
};

// Rows of queries that meet the same keys: what was summed over the keys seen so far.
template <class T>
class Rows {
 public:
  using A = Arithmetic<T>;
  static constexpr int kRows = A::kRows;

  Rows(const Head<T> &head, int64_t most_blocks, float scale, Cut &cut)
      : head_(head),
        scale_(scale * kLog2E),
        blocks_(cut.take<RowBlock>(most_blocks)),
        q_(cut.take<Word>(most_blocks * kRows * head.ld)),
        out_(cut.take<float>(most_blocks * kRows * head.wide)),
        top_(cut.take<float>(most_blocks * W)),
        total_(cut.take<float>(most_blocks * kRows * W)),
        key_rows_(cut.take<Word>(kTile * head.ld)),
        keys_t_(cut.take<Word>(kTile * head.ld)),
        values_(cut.take<Word>(kWords * head.panels)),
        scores_(cut.take<float>(kRows * kTile)),
        p_(cut.take<Word>(kRows * kWords)) {}

  // n <= kRows rows of q; row r sees the keys up to position + r * stride.
  void add(const T *q, int64_t ld_q, int64_t n, int64_t position, int64_t stride) {
    const int64_t b = count_++;
    blocks_[b] = {n, position, stride};
    pack_rows(q_ + b * kRows * head_.ld, head_.ld, n, q, ld_q, n, head_.D);
    std::memset(out_ + b * kRows * head_.wide, 0, static_cast<size_t>(kRows * head_.wide) * sizeof(float));
    std::memset(total_ + b * kRows * W, 0, static_cast<size_t>(kRows * W) * sizeof(float));
    store(top_ + b * W, all(-kInfinity));
  }

  // All rows meet the n keys from position `first`; n is at most kTile.
  void meet(const T *k, const T *v, int64_t ld, int64_t first, int64_t n) {
    pack_rows(key_rows_, head_.ld, round_up(n, W), k, ld, n, head_.D);
    pack_transposed(keys_t_, head_.ld, key_rows_, head_.ld, n);
    pack_contracted(values_, kWords, v, ld, n, head_.D);
    const bool hides = blocks_[0].position < first + n - 1;
    const bool finite = !hides || all_finite(v, ld, n, head_.D);
    for (int64_t b = 0; b < count_; ++b) meet(b, first, n, finite);
  }

  // Row r of block b, over the keys it met.
  Softmax result(int64_t b, int64_t r) const {
    return {top_[b * W + r], sum(load(total_ + (b * kRows + r) * W)), out_ + (b * kRows + r) * head_.wide};
  }

 private:
  static constexpr int64_t kWords = kTile / A::kPerWord;
  struct RowBlock {
    int64_t rows, position, stride;
  };

  void meet(int64_t b, int64_t first, int64_t n, bool finite) {
    const RowBlock &block = blocks_[b];
    const auto seen = [&](int64_t r) { return clamp(block.position + r * block.stride + 1 - first, 0, n); };
    const int64_t visible = seen(block.rows - 1);
    if (visible == 0) return;
    product<A>({scores_, kTile, true, nullptr}, {q_ + b * kRows * head_.ld, head_.ld, 1}, {keys_t_, head_.ld}, block.rows, visible,
               [&](int64_t, int64_t) { return Stretch{0, head_.words}; });
    float factors[W];
    soften(b, visible, seen, factors);
    const Into out{out_ + b * kRows * head_.wide, head_.wide, false, factors};
    const Left p{p_, kWords, 1};
    const Right v{values_, kWords};
    if (finite || seen(0) == visible) {
      const int64_t words = divide_up(visible, A::kPerWord);
      product<A>(out, p, v, block.rows, head_.D, [&](int64_t, int64_t) { return Stretch{0, words}; });
    } else {
      product_of_visible<A>(out, p, v, block.rows, head_.D, visible, [&](int64_t r, int64_t key) { return key < seen(r); });
    }
  }

  // scores -> p = 2^(scores - top), with top the largest so far; factors: what the sums over earlier keys are worth now.
  template <class Seen>
  void soften(int64_t b, int64_t visible, Seen seen, float *factors) {
    const int64_t rows = blocks_[b].rows, width = round_up(visible, W);
    const Floats scale = all(scale_), lowest = all(-kInfinity);
    float tops[W];
    const Floats top_before = load(top_ + b * W);
    store(tops, top_before);
    for (int64_t r = 0; r < rows; ++r) {
      const float *s = scores_ + r * kTile;
      const int64_t valid = seen(r);
      Floats top = lowest;
      int64_t i = 0;
      for (; i + W <= valid; i += W) top = max(load(s + i) * scale, top);
      if (i < valid) top = max(keep(valid - i, load(s + i) * scale, lowest), top);
      const float largest = max(top);
      if (largest > tops[r]) tops[r] = largest;
    }
    const Floats top_now = load(tops);
    store(top_ + b * W, top_now);
    // A row that has met nothing but -infinity stays at sums of 0.
    const Floats base = select(less(lowest, top_now), top_now, zero());
    store(tops, base);
    store(factors, power_of_two<A>(top_before - base));
    for (int64_t r = 0; r < rows; ++r) {
      const float *s = scores_ + r * kTile;
      const int64_t valid = seen(r);
      const Floats minus_top = all(-tops[r]);
      const auto p = [&](int64_t i) {
        const Floats x = power_of_two<A>(fma(load(s + i), scale, minus_top));
        return i + W <= valid ? x : keep(valid - i, x, zero());
      };
      float *total = total_ + (b * kRows + r) * W;
      Floats sums = load(total) * all(factors[r]);
      Word *words = p_ + r * kWords;
      if constexpr (A::kPerWord == 1) {
        for (int64_t i = 0; i < width; i += W) {
          const Floats x = p(i);
          sums += x;
          store_words(words + i, bits_of(x));
        }
#ifdef __AVX512BF16__
      } else {
        for (int64_t i = 0; i < width; i += 2 * W) {
          const Floats x = p(i), y = i + W < width ? p(i + W) : zero();
          sums += x + y;
          store_words(words + i / 2, narrow_both(x, y));
        }
#endif
      }
      store(total, sums);
    }
  }

  const Head<T> head_;
  const float scale_;
  int64_t count_ = 0;
  RowBlock *const blocks_;  // in the order of their positions within a head
  Word *const q_;           // (blocks, kRows, ld)
  float *const out_;        // (blocks, kRows, wide), to be divided by total
  float *const top_;        // (blocks, W): of a row
  float *const total_;      // (blocks, kRows, W): of a row and a lane
  Word *const key_rows_;    // (keys, ld)
  Word *const keys_t_;      // panels (ld, keys)
  Word *const values_;      // panels (keys, D)
  float *const scores_;     // (kRows, keys)
  Word *const p_;           // (kRows, keys)
};

template <class T>
void attend(lethe_device *device, T *out, int64_t ld_out, float *lse, const T *q, int64_t ld_q, const T *k, const T *v, int64_t ld_kv,
            int64_t B, int64_t length, int64_t Hq, int64_t Hkv, int64_t D, float scale) {
  constexpr int kRows = Rows<T>::kRows;
  const Head<T> head(D);
  const int64_t group = Hq / Hkv;
  const int64_t each = min(max(1, kRowsOfTask / group / kRows), divide_up(length, kRows)) * kRows;  // queries of a task
  const int64_t stretches = divide_up(length, each), most_blocks = group * each / kRows;
  Cut counted(nullptr);
  Rows<T>(head, most_blocks, scale, counted);
  tasks(device, B * Hkv * stretches, B * Hq * D * length * divide_up(length, kKeysAnElement), counted.bytes(), 0, [&](int64_t task, void *scratch, void *) {
    // The longest first.
    const int64_t stretch = stretches - 1 - task / (B * Hkv), b = task % (B * Hkv) / Hkv, h = task % Hkv;
    const int64_t begin = stretch * each, end = min(length, begin + each);
    Cut cut(scratch);
    Rows<T> rows(head, most_blocks, scale, cut);
    for (int64_t head_q = h * group; head_q < (h + 1) * group; ++head_q) {
      for (int64_t t = begin; t < end; t += kRows) {
        rows.add(q + (b * length + t) * ld_q + head_q * D, ld_q, min(kRows, end - t), t, 1);
      }
    }
    for (int64_t key = 0; key < end; key += kTile) {
      const int64_t at = (b * length + key) * ld_kv + h * D;
      rows.meet(k + at, v + at, ld_kv, key, min(kTile, end - key));
    }
    int64_t row_block = 0;
    for (int64_t head_q = h * group; head_q < (h + 1) * group; ++head_q) {
      for (int64_t t = begin; t < end; t += kRows, ++row_block) {
        for (int64_t r = 0; r < min(kRows, end - t); ++r) {
          const Softmax result = rows.result(row_block, r);
          result.write(out + (b * length + t + r) * ld_out + head_q * D, D);
          if (lse != nullptr) lse[(b * Hq + head_q) * length + t + r] = result.log_sum_exp();
        }
      }
    }
  });
}

// ---- one new token --------------------------------------------------------------------------------------------------------

template <class T>
void decode(lethe_device *device, T *out, const T *q, int64_t ld_q, const T *k_cache, const T *v_cache, int64_t B, int64_t Hq,
            int64_t Hkv, int64_t D, int64_t capacity, const int32_t *position, float scale) {
  constexpr int64_t kTasks = 12, kKeysOfTask = 256;
  constexpr int kRows = Rows<T>::kRows;
  const Head<T> head(D);
  const int64_t group = Hq / Hkv, blocks = divide_up(group, kRows);
  // A sequence's keys are cut by their number alone: its bits do not depend on the sequences beside it.
  const auto length_of = [&](int64_t b) { return int64_t{position[b]} + 1; };
  const auto each_of = [&](int64_t length) {
    return round_up(divide_up(length, clamp(divide_up(kTasks, Hkv), 1, divide_up(length, kKeysOfTask))), kTile);
  };
  const auto stretches_of = [&](int64_t length) { return divide_up(length, each_of(length)); };
  int64_t stretches = 1, keys = 0;
  for (int64_t b = 0; b < B; ++b) {
    stretches = max(stretches, stretches_of(length_of(b)));
    keys += length_of(b);
  }
  // A partial softmax (B, Hq, stretches): top, total and, from W on, values.
  const int64_t width = W + head.wide, shared = round_up(B * Hq * stretches * width * static_cast<int64_t>(sizeof(float)), 64);
  Cut counted(nullptr);
  Rows<T>(head, blocks, scale, counted);
  const auto task = [&](int64_t index, void *scratch, void *partials) {
    const int64_t stretch = index % stretches, kv = index / stretches;
    const int64_t length = length_of(kv / Hkv), each = each_of(length), begin = stretch * each, end = min(length, begin + each);
    if (begin >= end) return;
    Cut cut(scratch);
    Rows<T> rows(head, blocks, scale, cut);
    const int64_t first = kv * group;  // of the heads (B, Hq)
    const T *own = q + kv / Hkv * ld_q + kv % Hkv * group * D;
    for (int64_t g = 0; g < group; g += kRows) rows.add(own + g * D, D, min(kRows, group - g), length - 1, 0);
    for (int64_t key = begin; key < end; key += kTile) {
      const int64_t at = (kv * capacity + key) * D, n = min(kTile, end - key);
      fetch(k_cache + at, n * D);
      fetch(v_cache + at, n * D);
      rows.meet(k_cache + at, v_cache + at, D, key, n);
    }
    for (int64_t g = 0; g < group; ++g) {
      const Softmax result = rows.result(g / kRows, g % kRows);
      float *const partial = static_cast<float *>(partials) + ((first + g) * stretches + stretch) * width;
      partial[0] = result.top;
      partial[1] = result.total;
      std::memcpy(partial + W, result.values, static_cast<size_t>(head.wide) * sizeof(float));
    }
  };
  float *const partials = reinterpret_cast<float *>(tasks(device, B * Hkv * stretches, 2 * Hkv * keys * D, counted.bytes(), shared, task));
  for (int64_t row = 0; row < B * Hq; ++row) {
    float *const first = partials + row * stretches * width;
    Softmax whole{first[0], first[1], first + W};
    for (int64_t s = 1; s < stretches_of(length_of(row / Hq)); ++s) whole.join({first[s * width], first[s * width + 1], first + s * width + W}, D);
    whole.write(out + row * D, D);
  }
}

// ---- backward -------------------------------------------------------------------------------------------------------------

// How the backward is cut: keys in stretches, so that few heads also keep many threads busy. Depends on shapes alone.
struct Cutting {
  Cutting(int64_t B, int64_t length, int64_t Hkv)
      : tiles(divide_up(length, kTile)), stretches(clamp(divide_up(kTasks, B * Hkv), 1, tiles)) {}
  int64_t begin(int64_t stretch) const { return stretch * tiles / stretches * kTile; }  // the first key of a stretch

  static constexpr int64_t kTasks = 12;
  const int64_t tiles, stretches;
};

// What the backward keeps in its workspace.
struct Workspace {
  Workspace(void *memory, int64_t B, int64_t length, int64_t Hq, int64_t Hkv, int64_t wide) {
    Cut cut(memory);
    delta = cut.take<float>(B * Hq * length);
    d_q = cut.take<float>(B * Hq * Cutting(B, length, Hkv).stretches * length * wide);
    bytes = cut.bytes();
  }
  float *delta;  // (B, Hq, T)
  float *d_q;    // (B, Hq, stretches, T, wide), rows before a stretch's first key unused; to be multiplied by scale
  int64_t bytes;
};

// A tile of keys, and what the queries that see it make of it.
template <class T>
class KeyTile {
 public:
  using A = Arithmetic<T>;
  static constexpr int kRows = A::kRows;

  KeyTile(const Head<T> &head, float scale, Cut &cut)
      : head_(head),
        scale_(scale),
        key_rows_(cut.take<Word>(kTile * head.ld)),
        keys_t_(cut.take<Word>(kTile * head.ld)),
        values_t_(cut.take<Word>(kTile * head.ld)),
        keys_(cut.take<Word>(kWords * head.panels)),
        d_keys_(cut.take<float>(kTile * head.wide)),
        d_values_(cut.take<float>(kTile * head.wide)),
        q_(cut.take<Word>(kTile * head.ld)),
        d_out_(cut.take<Word>(kTile * head.ld)),
        q_down_(cut.take<Word>(kWords * head.panels)),
        d_out_down_(cut.take<Word>(kWords * head.panels)),
        scores_(cut.take<float>(kRows * kTile)),
        d_p_(cut.take<float>(kRows * kTile)),
        p_down_(cut.take<Word>(kWords * kTile)),
        d_s_down_(cut.take<Word>(kWords * kTile)),
        d_s_(A::kPerWord == 1 ? d_s_down_ : cut.take<Word>(kTile * kWords)),
        p_across_(kInTiles ? cut.take<Word>(kTile * kWords) : nullptr),
        d_s_across_(kInTiles ? cut.take<Word>(kTile * kWords) : nullptr) {}

  // n keys from position `first`.
  void begin(const T *k, const T *v, int64_t ld, int64_t first, int64_t n) {
    first_ = first;
    n_ = n;
    pack_rows(key_rows_, head_.ld, round_up(n, W), v, ld, n, head_.D);
    pack_transposed(values_t_, head_.ld, key_rows_, head_.ld, n);
    pack_rows(key_rows_, head_.ld, round_up(n, W), k, ld, n, head_.D);
    pack_transposed(keys_t_, head_.ld, key_rows_, head_.ld, n);
    pack_contracted(keys_, kWords, k, ld, n, head_.D);
    finite_ = all_finite(k, ld, n, head_.D);
    std::memset(d_keys_, 0, static_cast<size_t>(n * head_.wide) * sizeof(float));
    std::memset(d_values_, 0, static_cast<size_t>(n * head_.wide) * sizeof(float));
  }

  // m queries from position t: d_q (m, wide) = or +=, to be multiplied by scale.
  void meet(const T *q, int64_t ld_q, const T *d_out, int64_t ld_dout, const float *lse, const float *delta, int64_t t, int64_t m,
            float *d_q, bool fresh) {
    pack_rows(q_, head_.ld, m, q, ld_q, m, head_.D);
    pack_rows(d_out_, head_.ld, m, d_out, ld_dout, m, head_.D);
    pack_contracted(q_down_, kWords, q, ld_q, m, head_.D);
    pack_contracted(d_out_down_, kWords, d_out, ld_dout, m, head_.D);
    for (int64_t r = 0; r < m; r += kRows) soften(r, min(kRows, m - r), t, lse + r, delta + r);

    const int64_t ahead = first_ - t;  // query r sees key j where j <= r - ahead
    const Left p = from_down(p_down_, p_across_, m), d_s = from_down(d_s_down_, d_s_across_, m);
    const Left d_s_rows = A::kPerWord == 1 ? Left{d_s_, kTile, 1} : Left{d_s_, kWords, 1};
    const Into d_values{d_values_, head_.wide, false, nullptr}, d_keys{d_keys_, head_.wide, false, nullptr};
    const Into to_q{d_q, head_.wide, fresh, nullptr};
    const Right d_out_b{d_out_down_, kWords}, q_b{q_down_, kWords}, keys_b{keys_, kWords};
    if (ahead + n_ <= 1 || (finite_ && all_finite(q, ld_q, m, head_.D) && all_finite(d_out, ld_dout, m, head_.D))) {
      const auto seeing = [&](int64_t key, int64_t) {
        return Stretch{clamp(ahead + key, 0, m) / A::kPerWord, divide_up(m, A::kPerWord)};
      };
      product<A>(d_values, p, d_out_b, n_, head_.D, seeing);
      product<A>(d_keys, d_s, q_b, n_, head_.D, seeing);
      product<A>(to_q, d_s_rows, keys_b, m, head_.D,
                 [&](int64_t, int64_t end) { return Stretch{0, divide_up(clamp(end - ahead, 0, n_), A::kPerWord)}; });
    } else {
      const auto seeing = [&](int64_t key, int64_t query) { return key + ahead <= query; };
      product_of_visible<A>(d_values, p, d_out_b, n_, head_.D, m, seeing);
      product_of_visible<A>(d_keys, d_s, q_b, n_, head_.D, m, seeing);
      product_of_visible<A>(to_q, d_s_rows, keys_b, m, head_.D, n_, [&](int64_t query, int64_t key) { return key + ahead <= query; });
    }
  }

  void finish(T *d_k, T *d_v, int64_t ld) const {
    const Floats scale = all(scale_);
    for (int64_t r = 0; r < n_; ++r) {
      vectors(0, head_.D, [&](int64_t i, auto part) {
        store(d_k + r * ld + i, load(d_keys_ + r * head_.wide + i) * scale, part);
        store(d_v + r * ld + i, load(d_values_ + r * head_.wide + i), part);
      });
    }
  }

 private:
  static constexpr int64_t kWords = kTile / A::kPerWord;
  static constexpr bool kInTiles = A::kStep > 1;

  // The transpose of `down` (words of m queries, keys), which AMX wants laid out so: `across` (keys, words of queries).
  Left from_down([[maybe_unused]] Word *down, [[maybe_unused]] Word *across, [[maybe_unused]] int64_t m) const {
#ifdef __AMX_BF16__
    if constexpr (kInTiles) {
      const int64_t words = divide_up(m, A::kPerWord), height = round_up(words, A::kStep);
      std::memset(down + words * kTile, 0, static_cast<size_t>((height - words) * kTile) * sizeof(Word));
      transpose_words(across, kWords, down, kTile, height, n_);
      return {across, kWords, 1};
    }
#endif
    return {down, 1, kTile};
  }

  // p and d_s of n rows from row `begin` of the query tile that starts at t.
  void soften(int64_t begin, int64_t n, int64_t t, const float *lse, const float *delta) {
    const auto seen = [&](int64_t r) { return r < n ? clamp(t + begin + r + 1 - first_, 0, n_) : 0; };
    const int64_t visible = seen(n - 1);
    const auto of_head = [&](int64_t, int64_t) { return Stretch{0, head_.words}; };
    product<A>({scores_, kTile, true, nullptr}, {q_ + begin * head_.ld, head_.ld, 1}, {keys_t_, head_.ld}, n, visible, of_head);
    product<A>({d_p_, kTile, true, nullptr}, {d_out_ + begin * head_.ld, head_.ld, 1}, {values_t_, head_.ld}, n, visible, of_head);
    const Floats scale = all(scale_);
    struct Both {
      Floats p, d_s;
    };
    const auto both = [&](int64_t r, int64_t i) {
      const int64_t valid = seen(r) - i;
      if (valid <= 0) return Both{zero(), zero()};
      const Floats log_p = fma(load(scores_ + r * kTile + i), scale, all(-lse[r]));
      const Floats p = power_of_two<A>(log_p * all(kLog2E));
      const Floats d_s = p * (load(d_p_ + r * kTile + i) - all(delta[r]));
      return Both{keep(valid, p, zero()), keep(valid, d_s, zero())};
    };
    if constexpr (A::kPerWord == 1) {
      for (int64_t r = 0; r < n; ++r) {
        const int64_t at = (begin + r) * kTile;
        for (int64_t i = 0; i < n_; i += W) {
          const Both x = both(r, i);
          store_words(p_down_ + at + i, bits_of(x.p));
          store_words(d_s_down_ + at + i, bits_of(x.d_s));
        }
      }
#ifdef __AVX512BF16__
    } else {
      for (int64_t r = 0; r < n; r += 2) {
        const int64_t at = (begin + r) / 2 * kTile, row = (begin + r) * kWords;
        for (int64_t i = 0; i < n_; i += 2 * W) {
          const Both a = both(r, i), b = both(r, i + W), c = both(r + 1, i), d = both(r + 1, i + W);
          store_words(p_down_ + at + i, zip(a.p, c.p));
          store_words(p_down_ + at + i + W, zip(b.p, d.p));
          store_words(d_s_down_ + at + i, zip(a.d_s, c.d_s));
          store_words(d_s_down_ + at + i + W, zip(b.d_s, d.d_s));
          store_words(d_s_ + row + i / 2, narrow_both(a.d_s, b.d_s));
          if (r + 1 < n) store_words(d_s_ + row + kWords + i / 2, narrow_both(c.d_s, d.d_s));
        }
      }
#endif
    }
  }

  const Head<T> head_;
  const float scale_;
  int64_t first_ = 0, n_ = 0;
  bool finite_ = true;
  // `down` is packed to be contracted along queries or keys, the other way along D.
  Word *const key_rows_;                          // (keys, ld)
  Word *const keys_t_, *const values_t_;          // panels (ld, keys)
  Word *const keys_;                              // panels (keys, D)
  float *const d_keys_, *const d_values_;         // (keys, wide)
  Word *const q_, *const d_out_;                  // (queries, ld)
  Word *const q_down_, *const d_out_down_;        // panels (queries, D)
  float *const scores_, *const d_p_;              // (kRows, keys)
  Word *const p_down_, *const d_s_down_;          // (words of queries, keys)
  Word *const d_s_;                               // (queries, words of keys)
  Word *const p_across_, *const d_s_across_;      // (keys, words of queries), for AMX
};

template <class T>
struct Gradients {
  T *d_q;
  int64_t ld_dq;
  T *d_k, *d_v;
  int64_t ld_dkv;
  const T *d_out;
  int64_t ld_dout;
  const T *out;
  int64_t ld_out;
  const float *lse;
  const T *q;
  int64_t ld_q;
  const T *k, *v;
  int64_t ld_kv;
  int64_t B, length, Hq, Hkv, D;
  float scale;

  void run(lethe_device *device, void *memory) const {
    const Head<T> head(D);
    const Workspace workspace(memory, B, length, Hq, Hkv, head.wide);
    const Cutting cutting(B, length, Hkv);
    parallel(device, B * length, Hq * D, [&](int64_t begin, int64_t end) {
      for (int64_t row = begin; row < end; ++row) delta(row, workspace);
    });
    Cut counted(nullptr);
    KeyTile<T>(head, scale, counted);
    // The first keys first: most queries see them.
    const int64_t work = B * Hq * D * length * divide_up(length, kKeysAnElement);
    tasks(device, cutting.stretches * B * Hkv, work, counted.bytes(), 0, [&](int64_t task, void *scratch, void *) {
      Cut cut(scratch);
      KeyTile<T> tile(head, scale, cut);
      stretch(task / (B * Hkv), task / Hkv % B, task % Hkv, cutting, workspace, tile);
    });
    parallel(device, B * length, Hq * D, [&](int64_t begin, int64_t end) {
      for (int64_t row = begin; row < end; ++row) sum_of_stretches(row, cutting, workspace);
    });
  }

 private:
  void delta(int64_t row, const Workspace &workspace) const {
    const int64_t b = row / length, t = row % length;
    for (int64_t h = 0; h < Hq; ++h) {
      Floats products = zero();
      const T *x = out + row * ld_out + h * D, *y = d_out + row * ld_dout + h * D;
      vectors(0, D, [&](int64_t i, auto part) { products = fma(load(x + i, part), load(y + i, part), products); });
      workspace.delta[(b * Hq + h) * length + t] = sum(products);
    }
  }

  void stretch(int64_t index, int64_t b, int64_t h, const Cutting &cutting, const Workspace &workspace, KeyTile<T> &tile) const {
    const int64_t begin = cutting.begin(index), end = min(length, cutting.begin(index + 1)), group = Hq / Hkv;
    const int64_t wide = round_up(D, W);
    for (int64_t key = begin; key < end; key += kTile) {
      const int64_t key_row = b * length + key;
      tile.begin(k + key_row * ld_kv + h * D, v + key_row * ld_kv + h * D, ld_kv, key, min(kTile, end - key));
      for (int64_t head_q = h * group; head_q < (h + 1) * group; ++head_q) {
        const int64_t head_row = (b * Hq + head_q) * length;
        float *const sums = workspace.d_q + ((b * Hq + head_q) * cutting.stretches + index) * length * wide;
        for (int64_t t = key; t < length; t += kTile) {
          const int64_t row = b * length + t;
          tile.meet(q + row * ld_q + head_q * D, ld_q, d_out + row * ld_dout + head_q * D, ld_dout, lse + head_row + t,
                    workspace.delta + head_row + t, t, min(kTile, length - t), sums + t * wide, key == begin);
        }
      }
      tile.finish(d_k + key_row * ld_dkv + h * D, d_v + key_row * ld_dkv + h * D, ld_dkv);
    }
  }

  void sum_of_stretches(int64_t row, const Cutting &cutting, const Workspace &workspace) const {
    const int64_t b = row / length, t = row % length, wide = round_up(D, W);
    int64_t seen = 1;
    while (seen < cutting.stretches && cutting.begin(seen) <= t) ++seen;
    for (int64_t h = 0; h < Hq; ++h) {
      const float *sums = workspace.d_q + ((b * Hq + h) * cutting.stretches * length + t) * wide;
      T *to = d_q + row * ld_dq + h * D;
      vectors(0, D, [&](int64_t i, auto part) {
        Floats total = load(sums + i);
        for (int64_t s = 1; s < seen; ++s) total += load(sums + s * length * wide + i);
        store(to + i, total * all(scale), part);
      });
    }
  }
};

}  // namespace

lethe_status attention(lethe_device *device, void *out, int64_t ld_out, float *lse, const void *q, int64_t ld_q, const void *k,
                       const void *v, int64_t ld_kv, int32_t dtype, int64_t B, int64_t T, int64_t Hq, int64_t Hkv, int64_t D,
                       float scale, lethe_stream *) {
  with_type(dtype, [&](auto type) {
    using E = decltype(type);
    attend<E>(device, static_cast<E *>(out), ld_out, lse, static_cast<const E *>(q), ld_q, static_cast<const E *>(k),
              static_cast<const E *>(v), ld_kv, B, T, Hq, Hkv, D, scale);
  });
  return LETHE_OK;
}

lethe_status attention_backward_workspace(lethe_device *, int64_t *bytes, int32_t, int64_t B, int64_t T, int64_t Hq, int64_t Hkv,
                                          int64_t D) {
  *bytes = Workspace(nullptr, B, T, Hq, Hkv, round_up(D, W)).bytes;
  return LETHE_OK;
}

lethe_status attention_backward(lethe_device *device, void *d_q, int64_t ld_dq, void *d_k, void *d_v, int64_t ld_dkv,
                                const void *d_out, int64_t ld_dout, const void *out, int64_t ld_out, const float *lse, const void *q,
                                int64_t ld_q, const void *k, const void *v, int64_t ld_kv, int32_t dtype, int64_t B, int64_t T,
                                int64_t Hq, int64_t Hkv, int64_t D, float scale, void *workspace, int64_t, lethe_stream *) {
  with_type(dtype, [&](auto type) {
    using E = decltype(type);
    const Gradients<E> gradients{static_cast<E *>(d_q),       ld_dq,   static_cast<E *>(d_k),       static_cast<E *>(d_v),
                                 ld_dkv,                      static_cast<const E *>(d_out),        ld_dout,
                                 static_cast<const E *>(out), ld_out,  lse,                         static_cast<const E *>(q),
                                 ld_q,                        static_cast<const E *>(k),            static_cast<const E *>(v),
                                 ld_kv,                       B,       T,                           Hq,
                                 Hkv,                         D,       scale};
    gradients.run(device, workspace);
  });
  return LETHE_OK;
}

lethe_status cache_write(lethe_device *device, void *k_cache, void *v_cache, const void *k, const void *v, int64_t ld_kv,
                         const int32_t *position, int32_t dtype, int64_t B, int64_t T, int64_t Hkv, int64_t D, int64_t capacity, lethe_stream *) {
  const int64_t element = dtype == LETHE_F32 ? 4 : 2;
  parallel(device, B * T, 2 * Hkv * D, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      for (int64_t h = 0; h < Hkv; ++h) {
        const int64_t to = ((row / T * Hkv + h) * capacity + position[row]) * D * element, from = (row * ld_kv + h * D) * element;
        const size_t bytes = static_cast<size_t>(D * element);
        std::memcpy(static_cast<char *>(k_cache) + to, static_cast<const char *>(k) + from, bytes);
        std::memcpy(static_cast<char *>(v_cache) + to, static_cast<const char *>(v) + from, bytes);
      }
    }
  });
  return LETHE_OK;
}

lethe_status attention_decode(lethe_device *device, void *out, const void *q, int64_t ld_q, const void *k_cache, const void *v_cache,
                              const int32_t *position, int32_t dtype, int64_t B, int64_t Hq, int64_t Hkv, int64_t D, int64_t capacity,
                              float scale, lethe_stream *) {
  with_type(dtype, [&](auto type) {
    using E = decltype(type);
    decode<E>(device, static_cast<E *>(out), static_cast<const E *>(q), ld_q, static_cast<const E *>(k_cache),
              static_cast<const E *>(v_cache), B, Hq, Hkv, D, capacity, position, scale);
  });
  return LETHE_OK;
}

}  // namespace lethe::LETHE_TIER
