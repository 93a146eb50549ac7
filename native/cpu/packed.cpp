// Packing weights, and their products.
#include "packed.h"

namespace lethe::LETHE_TIER {
namespace {

// Rows of A that a weight is read packed for: with more, what unpacking takes is more than what memory saves.
constexpr int64_t kMostRows = Arithmetic<Bf16>::kPerWord == 2 ? 6 : W == 16 ? 4 : 1;

constexpr uint8_t kNone = 0xff;

// Puts a row's upper bytes there, the sixteen most frequent where there are more; returns how many.
int choose(uint8_t *uppers, const Bf16 *x, int64_t K) {
  bool seen[256] = {};
  for (int64_t k = 0; k < K; ++k) seen[x[k].bits >> 8] = true;
  int count = 0;
  for (int upper = 0; upper < 256; ++upper) {
    if (seen[upper] && count++ < kUppers) uppers[count - 1] = static_cast<uint8_t>(upper);
  }
  if (count <= kUppers) return count;

  int64_t times[256] = {};
  for (int64_t k = 0; k < K; ++k) ++times[x[k].bits >> 8];
  for (int i = 0; i < kUppers; ++i) {
    int most = 0;
    for (int upper = 1; upper < 256; ++upper) {
      if (times[upper] > times[most]) most = upper;
    }
    uppers[i] = static_cast<uint8_t>(most);
    times[most] = 0;
  }
  return kUppers;
}

// One block of n weights, filled up with what does no harm; returns whether each upper byte has a code.
bool pack_block(uint8_t *packed, const Bf16 *x, int64_t n, const uint8_t *codes, uint8_t filler) {
  uint8_t which[kBlock], codes_seen = 0;
  for (int64_t e = 0; e < kBlock; ++e) {
    const uint16_t bits = e < n ? x[e].bits : static_cast<uint16_t>(filler << 8);
    const uint8_t code = codes[bits >> 8];
    packed[place_of(e)] = static_cast<uint8_t>(bits);
    which[place_of(e)] = code & 15;
    codes_seen |= code;
  }
  for (int64_t i = 0; i < kBlock / 2; ++i) packed[kBlock + i] = static_cast<uint8_t>(which[2 * i] | which[2 * i + 1] << 4);
  return codes_seen < kUppers;
}

void pack_row(uint8_t *packed, const Bf16 *x, int64_t K) {
  std::memset(packed, 0, static_cast<size_t>(bytes_before_blocks(K)));
  uint8_t codes[256];
  std::memset(codes, kNone, sizeof codes);
  const int count = choose(packed, x, K);
  for (int i = 0; i < count; ++i) codes[packed[i]] = static_cast<uint8_t>(i);
  uint8_t *block = packed + bytes_before_blocks(K);
  for (int64_t b = 0; b * kBlock < K; ++b, block += kBlockBytes) {
    if (!pack_block(block, x + b * kBlock, min(kBlock, K - b * kBlock), codes, packed[0])) {
      packed[kUppers + b / 8] = static_cast<uint8_t>(packed[kUppers + b / 8] | 1 << b % 8);
    }
  }
}

}  // namespace

lethe_status packed_bytes(lethe_device *, int64_t *bytes, int32_t dtype, int64_t N, int64_t K) {
  *bytes = dtype == LETHE_BF16 ? N * bytes_of_row(K) : 0;
  return LETHE_OK;
}

lethe_status pack(lethe_device *device, void *packed, int64_t, const void *B, int64_t ld_b, int32_t dtype, int64_t N, int64_t K,
                  lethe_stream *) {
  if (dtype != LETHE_BF16) return LETHE_OK;
  parallel(device, N, K, [&](int64_t begin, int64_t end) {
    for (int64_t j = begin; j < end; ++j) {
      pack_row(static_cast<uint8_t *>(packed) + j * bytes_of_row(K), static_cast<const Bf16 *>(B) + j * ld_b, K);
    }
  });
  return LETHE_OK;
}

lethe_status matmul_packed(lethe_device *device, void *C, int64_t ld_c, int32_t c_dtype, const void *A, int64_t ld_a, const void *packed,
                           int64_t packed_bytes, const void *B, int64_t ld_b, int32_t dtype, int64_t M, int64_t N, int64_t K,
                           lethe_stream *stream) {
  if (dtype == LETHE_BF16 && M <= kMostRows) {
    return few_rows_packed(device, C, ld_c, c_dtype, A, ld_a, packed, packed_bytes, B, ld_b, dtype, M, N, K, stream);
  }
  return lethe::matmul(device, C, ld_c, c_dtype, A, ld_a, B, ld_b, dtype, LETHE_NT, 0, M, N, K, stream);
}

}  // namespace lethe::LETHE_TIER
