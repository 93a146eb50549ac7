// Weights packed without loss: three quarters of what the products of decoding read.
//
// Of a weight's bf16 the lower byte tells little apart but the upper one, sign and exponent, is one of a few in any row. Packed, a row is
//   its sixteen most frequent upper bytes; a bit for each block of 64 weights; the blocks, 96 bytes each:
//   64 lower bytes, and 64 half bytes that say which of the sixteen goes above each.
// The bit of a block is set where it holds a weight with another upper byte: such a block is read from the weights themselves.
#pragma once

#include "tiles.h"

namespace lethe::LETHE_TIER {
namespace {

// Row j of an operand or element j of C is at `first` + j * step.
template <class T>
struct Strided {
  T *first;
  int64_t step;

  T *operator[](int64_t j) const { return first + j * step; }
  Strided from(int64_t j) const { return {first + j * step, step}; }
  Strided every(int64_t rows) const { return {first, rows * step}; }
};

#ifdef __AVX512BF16__

constexpr int64_t kBlock = 64;  // weights
constexpr int64_t kBlockBytes = 96;
constexpr int64_t kUppers = 16;
constexpr int64_t kBlocksPerWord = 64;  // of bits

inline int64_t words_of_bits(int64_t K) { return divide_up(divide_up(K, kBlock), kBlocksPerWord); }
inline int64_t bytes_before_blocks(int64_t K) { return kUppers + words_of_bits(K) * static_cast<int64_t>(sizeof(uint64_t)); }
inline int64_t bytes_of_row(int64_t K) { return bytes_before_blocks(K) + divide_up(K, kBlock) * kBlockBytes; }

// Where a block's element e lies among its lower bytes: a vector's bytes are interleaved with others lane by lane, four lanes of 16.
inline int64_t place_of(int64_t e) { return e % 32 / 8 * 16 + e / 32 * 8 + e % 8; }

inline Ints elements(const Bf16 *x, Full) { return _mm512_loadu_si512(x); }
inline Ints elements(const Bf16 *x, Tail t) { return _mm512_maskz_loadu_epi16(t.lanes <= 0 ? 0 : _bzhi_u32(~0u, static_cast<unsigned>(t.lanes)), x); }
inline Full after(Full, int) { return {}; }
inline Tail after(Tail t, int lanes) { return {t.lanes - lanes}; }

// 64 weights in their order
struct Weights {
  Ints low, high;
};

template <class Part>
inline Weights weights_of(const Bf16 *x, Part part) {
  return {elements(x, part), elements(x + 32, after(part, 32))};
}

inline Weights unpacked(const uint8_t *block, Ints uppers) {
  const Ints lower = _mm512_loadu_si512(block);
  const Ints halves = _mm512_cvtepu8_epi16(_mm256_loadu_si256(reinterpret_cast<const __m256i *>(block + kBlock)));
  const Ints which = bit_and(bit_or(halves, _mm512_slli_epi16(halves, 4)), _mm512_set1_epi8(15));
  const Ints upper = _mm512_shuffle_epi8(uppers, which);
  return {_mm512_unpacklo_epi8(lower, upper), _mm512_unpackhi_epi8(lower, upper)};
}

// The packed rows of a weight, and the weight.
struct PackedRows {
  Strided<const uint8_t> packed;
  Strided<const Bf16> weight;

  PackedRows from(int64_t j) const { return {packed.from(j), weight.from(j)}; }
  PackedRows every(int64_t rows) const { return {packed.every(rows), weight.every(rows)}; }

  Ints uppers(int64_t j) const { return _mm512_broadcast_i32x4(_mm_loadu_si128(reinterpret_cast<const __m128i *>(packed[j]))); }
  uint64_t bits(int64_t j, int64_t word) const {
    uint64_t bits;
    std::memcpy(&bits, packed[j] + kUppers + word * static_cast<int64_t>(sizeof bits), sizeof bits);
    return bits;
  }
};

#endif

}  // namespace

#ifdef __AVX512BF16__
decltype(lethe_matmul_packed) few_rows_packed;
#endif

}  // namespace lethe::LETHE_TIER
