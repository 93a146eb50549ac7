// Token embedding: rows of a table, and the gradient summed back into them.
#include "tier.h"

namespace lethe::LETHE_TIER {

// out (N, d) = table[tokens[i]]
lethe_status embedding(lethe_device *device, void *out, const void *table, const int32_t *tokens, int32_t dtype, int64_t N, int64_t V,
                       int64_t d, lethe_stream *stream) {
  return gather_rows(device, out, table, tokens, dtype, N, V, d, stream);
}

namespace {

// Columns summed at a time: the sums of a token stay in fp32 until all its positions are in.
constexpr int64_t kBlock = 512;

// The positions of each token in ascending order, tokens in ascending order: a counting sort by chains.
// next[i] is the following position of the token of i, or -1; heads lists the first position of each token that occurs.
struct Chains {
  int32_t *next, *heads;
  int64_t count;
};

Chains chain(lethe_device *device, const int32_t *tokens, int64_t N, int64_t V) {
  auto *first = static_cast<int32_t *>(device->scratch((V + 2 * N) * static_cast<int64_t>(sizeof(int32_t))));
  Chains chains{first + V, first + V + N, 0};
  for (int64_t v = 0; v < V; v++) first[v] = -1;
  for (int64_t i = N - 1; i >= 0; i--) {
    chains.next[i] = first[tokens[i]];
    first[tokens[i]] = static_cast<int32_t>(i);
  }
  for (int64_t i = 0; i < N; i++) {
    if (first[tokens[i]] == i) chains.heads[chains.count++] = static_cast<int32_t>(i);
  }
  return chains;
}

}  // namespace

// d_table (V, d) += rows of d_out (N, d): every token belongs to one thread, which adds its positions in order
lethe_status embedding_backward(lethe_device *device, void *d_table, const void *d_out, const int32_t *tokens, int32_t dtype,
                                int32_t grad_dtype, int64_t N, int64_t V, int64_t d, lethe_stream *) {
  const Chains chains = chain(device, tokens, N, V);
  with_type(dtype, [&](auto type) {
    with_type(grad_dtype, [&](auto grad_type) {
      using T = decltype(type);
      using G = decltype(grad_type);
      parallel(device, chains.count, d * (N / chains.count), [&](int64_t begin, int64_t end) {
        float sums[kBlock];
        for (int64_t h = begin; h < end; h++) {
          const int32_t head = chains.heads[h];
          for (int64_t column = 0; column < d; column += kBlock) {
            const int64_t width = min(kBlock, d - column);
            G *row = static_cast<G *>(d_table) + tokens[head] * d + column;
            vectors(0, width, [&](int64_t i, auto part) { store(sums + i, load(row + i, part), part); });
            for (int32_t position = head; position >= 0; position = chains.next[position]) {
              const T *from = static_cast<const T *>(d_out) + position * d + column;
              vectors(0, width, [&](int64_t i, auto part) { store(sums + i, load(sums + i, part) + load(from + i, part), part); });
            }
            vectors(0, width, [&](int64_t i, auto part) { store(row + i, load(sums + i, part), part); });
          }
        }
      });
    });
  });
  return LETHE_OK;
}

}  // namespace lethe::LETHE_TIER
