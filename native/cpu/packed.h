// Weights packed without loss: three quarters of what the products of decoding read.
//
// Of a weight's bf16 the lower byte tells little apart but the upper one, sign and exponent, is one of a few in any row. Packed, a row is
//   its sixteen most frequent upper bytes; a bit for each block of weights; the blocks, a byte and a half a weight:
//   the lower bytes, then half bytes that say which of the sixteen goes above each.
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

constexpr int64_t kBlock = 4 * W;  // weights: their lower bytes are a vector
constexpr int64_t kBlockBytes = kBlock + kBlock / 2;
constexpr int64_t kUppers = 16;
constexpr int64_t kBlocksPerWord = 64;  // of bits

inline int64_t words_of_bits(int64_t K) { return divide_up(divide_up(K, kBlock), kBlocksPerWord); }
inline int64_t bytes_before_blocks(int64_t K) { return kUppers + words_of_bits(K) * static_cast<int64_t>(sizeof(uint64_t)); }
inline int64_t bytes_of_row(int64_t K) { return bytes_before_blocks(K) + divide_up(K, kBlock) * kBlockBytes; }

// A block in the words that products take, a vector of them each.
constexpr int kPieces = 4 / Arithmetic<Bf16>::kPerWord;
constexpr int64_t kPiece = kBlock / kPieces;  // weights

// Where a block's weight e lies among its lower bytes. Vectors are interleaved sixteen bytes by sixteen: of each sixteen a piece gets the
// same part.
inline int64_t place_of(int64_t e) {
  constexpr int64_t kPart = 16 / kPieces;
  return e % kPiece / kPart * 16 + e / kPiece * kPart + e % kPart;
}

#ifdef __AVX512F__

inline Ints load_bytes(const void *p) { return _mm512_loadu_si512(p); }
inline Ints widen_bytes(const void *p) { return _mm512_cvtepu8_epi16(_mm256_loadu_si256(static_cast<const __m256i *>(p))); }
inline Ints sixteen_bytes(const void *p) { return _mm512_broadcast_i32x4(_mm_loadu_si128(static_cast<const __m128i *>(p))); }
inline Ints all_bytes(char x) { return _mm512_set1_epi8(x); }
inline Ints shift_left_by_4(Ints halves) { return _mm512_slli_epi16(halves, 4); }
inline Ints look_up(Ints table, Ints which) { return _mm512_shuffle_epi8(table, which); }
inline Ints interleave_low(Ints a, Ints b) { return _mm512_unpacklo_epi8(a, b); }
inline Ints interleave_high(Ints a, Ints b) { return _mm512_unpackhi_epi8(a, b); }
inline Ints widen_low(Ints halves) { return _mm512_unpacklo_epi16(all(0), halves); }
inline Ints widen_high(Ints halves) { return _mm512_unpackhi_epi16(all(0), halves); }

#else

inline Ints load_bytes(const void *p) { return _mm256_loadu_si256(static_cast<const __m256i *>(p)); }
inline Ints widen_bytes(const void *p) { return _mm256_cvtepu8_epi16(_mm_loadu_si128(static_cast<const __m128i *>(p))); }
inline Ints sixteen_bytes(const void *p) { return _mm256_broadcastsi128_si256(_mm_loadu_si128(static_cast<const __m128i *>(p))); }
inline Ints all_bytes(char x) { return _mm256_set1_epi8(x); }
inline Ints shift_left_by_4(Ints halves) { return _mm256_slli_epi16(halves, 4); }
inline Ints look_up(Ints table, Ints which) { return _mm256_shuffle_epi8(table, which); }
inline Ints interleave_low(Ints a, Ints b) { return _mm256_unpacklo_epi8(a, b); }
inline Ints interleave_high(Ints a, Ints b) { return _mm256_unpackhi_epi8(a, b); }
inline Ints widen_low(Ints halves) { return _mm256_unpacklo_epi16(all(0), halves); }
inline Ints widen_high(Ints halves) { return _mm256_unpackhi_epi16(all(0), halves); }

#endif

inline void as_words(Ints (&words)[2], Ints low, Ints high) {
  words[0] = low;
  words[1] = high;
}
inline void as_words(Ints (&words)[4], Ints low, Ints high) {
  words[0] = widen_low(low);
  words[1] = widen_high(low);
  words[2] = widen_low(high);
  words[3] = widen_high(high);
}

inline void unpack(Ints (&words)[kPieces], const uint8_t *block, Ints uppers) {
  const Ints halves = widen_bytes(block + kBlock), lower = load_bytes(block);
  const Ints upper = look_up(uppers, bit_and(bit_or(halves, shift_left_by_4(halves)), all_bytes(15)));
  as_words(words, interleave_low(lower, upper), interleave_high(lower, upper));
}

// The packed rows of a weight, and the weight.
struct PackedRows {
  Strided<const uint8_t> packed;
  Strided<const Bf16> weight;

  PackedRows from(int64_t j) const { return {packed.from(j), weight.from(j)}; }
  PackedRows every(int64_t rows) const { return {packed.every(rows), weight.every(rows)}; }

  Ints uppers(int64_t j) const { return sixteen_bytes(packed[j]); }
  uint64_t bits(int64_t j, int64_t word) const {
    uint64_t bits;
    std::memcpy(&bits, packed[j] + kUppers + word * static_cast<int64_t>(sizeof bits), sizeof bits);
    return bits;
  }
};

}  // namespace

decltype(lethe_matmul_packed) few_rows_packed;

}  // namespace lethe::LETHE_TIER
