// One vector of W floats, 8 (AVX2) or 16 (AVX-512), and little else: + - * / work on Floats as they are.
#pragma once

#include <immintrin.h>

#include <cstdint>
#include <cstring>

namespace lethe::LETHE_TIER {
namespace {

struct Bf16 {
  uint16_t bits;
};

// How much of a vector a load or store touches: all of it, or the first `lanes` (1 to W - 1). Nothing past them is read or
// written; lanes not loaded are 0.
struct Full {};
struct Tail {
  int lanes;
};

#ifdef __AVX512F__

constexpr int W = 16;
using Floats = __m512;
using Ints = __m512i;
using Mask = __mmask16;  // one bit a lane

inline Mask first(Tail t) { return static_cast<Mask>((1u << t.lanes) - 1u); }
inline Mask first(Full) { return static_cast<Mask>(0xffff); }

inline Floats all(float x) { return _mm512_set1_ps(x); }
inline Ints all(int32_t x) { return _mm512_set1_epi32(x); }
inline Ints iota() { return _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15); }
inline Ints bits_of(Floats x) { return _mm512_castps_si512(x); }
inline Floats floats_of(Ints x) { return _mm512_castsi512_ps(x); }

inline Floats load(const float *p, Full = {}) { return _mm512_loadu_ps(p); }
inline Floats load(const float *p, Tail t) { return _mm512_maskz_loadu_ps(first(t), p); }
inline void store(float *p, Floats x, Full = {}) { _mm512_storeu_ps(p, x); }
inline void store(float *p, Floats x, Tail t) { _mm512_mask_storeu_ps(p, first(t), x); }

// W 16-bit numbers, widened with zeros or with their sign; stored by their low halves.
inline Ints load_u16(const void *p, Full = {}) { return _mm512_cvtepu16_epi32(_mm256_loadu_si256(static_cast<const __m256i *>(p))); }
inline Ints load_u16(const void *p, Tail t) { return _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(first(t), p)); }
inline Ints load_i16(const void *p, Full = {}) { return _mm512_cvtepi16_epi32(_mm256_loadu_si256(static_cast<const __m256i *>(p))); }
inline Ints load_i16(const void *p, Tail t) { return _mm512_cvtepi16_epi32(_mm256_maskz_loadu_epi16(first(t), p)); }
inline void store_16(void *p, Ints x, Full = {}) { _mm256_storeu_si256(static_cast<__m256i *>(p), _mm512_cvtepi32_epi16(x)); }
inline void store_16(void *p, Ints x, Tail t) { _mm256_mask_storeu_epi16(p, first(t), _mm512_cvtepi32_epi16(x)); }

inline Ints add(Ints a, Ints b) { return _mm512_add_epi32(a, b); }
inline Ints subtract(Ints a, Ints b) { return _mm512_sub_epi32(a, b); }
inline Ints multiply(Ints a, Ints b) { return _mm512_mullo_epi32(a, b); }
inline Ints bit_and(Ints a, Ints b) { return _mm512_and_si512(a, b); }
inline Ints bit_or(Ints a, Ints b) { return _mm512_or_si512(a, b); }
inline Ints bit_xor(Ints a, Ints b) { return _mm512_xor_si512(a, b); }
template <int n>
inline Ints shift_left(Ints a) { return _mm512_slli_epi32(a, n); }
template <int n>
inline Ints shift_right(Ints a) { return _mm512_srli_epi32(a, n); }  // logical

inline Floats fma(Floats a, Floats b, Floats c) { return _mm512_fmadd_ps(a, b, c); }  // a b + c
inline Floats sqrt(Floats a) { return _mm512_sqrt_ps(a); }
inline Floats max(Floats a, Floats b) { return _mm512_max_ps(a, b); }  // b where either is NaN
inline Floats min(Floats a, Floats b) { return _mm512_min_ps(a, b); }  // b where either is NaN

inline Mask less(Floats a, Floats b) { return _mm512_cmp_ps_mask(a, b, _CMP_LT_OQ); }
inline Mask is_nan(Floats a) { return _mm512_cmp_ps_mask(a, a, _CMP_UNORD_Q); }
inline Mask mask_and(Mask a, Mask b) { return static_cast<Mask>(a & b); }
inline Mask mask_or(Mask a, Mask b) { return static_cast<Mask>(a | b); }
inline bool any(Mask m) { return m != 0; }
inline Floats select(Mask m, Floats yes, Floats no) { return _mm512_mask_blend_ps(m, no, yes); }
inline Ints select(Mask m, Ints yes, Ints no) { return _mm512_mask_blend_epi32(m, no, yes); }

inline Floats round(Floats a) { return _mm512_roundscale_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
// a 2^n, n whole, with gradual underflow
inline Floats scale_by_power(Floats a, Floats n) { return _mm512_scalef_ps(a, n); }

inline float sum(Floats x) { return _mm512_reduce_add_ps(x); }
inline float max(Floats x) { return _mm512_reduce_max_ps(x); }

#else

constexpr int W = 8;
using Floats = __m256;
using Ints = __m256i;
using Mask = __m256i;  // all bits of a lane

inline Ints all(int32_t x) { return _mm256_set1_epi32(x); }
inline Floats all(float x) { return _mm256_set1_ps(x); }
inline Ints iota() { return _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7); }
inline Ints bits_of(Floats x) { return _mm256_castps_si256(x); }
inline Floats floats_of(Ints x) { return _mm256_castsi256_ps(x); }

inline Mask first(Tail t) { return _mm256_cmpgt_epi32(all(t.lanes), iota()); }
inline Mask first(Full) { return all(-1); }

inline Floats load(const float *p, Full = {}) { return _mm256_loadu_ps(p); }
inline Floats load(const float *p, Tail t) { return _mm256_maskload_ps(p, first(t)); }
inline void store(float *p, Floats x, Full = {}) { _mm256_storeu_ps(p, x); }
inline void store(float *p, Floats x, Tail t) { _mm256_maskstore_ps(p, first(t), x); }

// AVX2 has no masked 16-bit access: a tail goes through a copy.
inline __m128i load_tail_16(const void *p, Tail t) {
  __m128i x = _mm_setzero_si128();
  std::memcpy(&x, p, static_cast<size_t>(t.lanes) * 2);
  return x;
}
inline __m128i low_halves(Ints x) {
  const __m256i packed = _mm256_packus_epi32(_mm256_and_si256(x, _mm256_set1_epi32(0xffff)), _mm256_setzero_si256());
  return _mm256_castsi256_si128(_mm256_permute4x64_epi64(packed, 0x08));
}
// W 16-bit numbers, widened with zeros or with their sign; stored by their low halves.
inline Ints load_u16(const void *p, Full = {}) { return _mm256_cvtepu16_epi32(_mm_loadu_si128(static_cast<const __m128i *>(p))); }
inline Ints load_u16(const void *p, Tail t) { return _mm256_cvtepu16_epi32(load_tail_16(p, t)); }
inline Ints load_i16(const void *p, Full = {}) { return _mm256_cvtepi16_epi32(_mm_loadu_si128(static_cast<const __m128i *>(p))); }
inline Ints load_i16(const void *p, Tail t) { return _mm256_cvtepi16_epi32(load_tail_16(p, t)); }
inline void store_16(void *p, Ints x, Full = {}) { _mm_storeu_si128(static_cast<__m128i *>(p), low_halves(x)); }
inline void store_16(void *p, Ints x, Tail t) {
  const __m128i halves = low_halves(x);
  std::memcpy(p, &halves, static_cast<size_t>(t.lanes) * 2);
}

inline Ints add(Ints a, Ints b) { return _mm256_add_epi32(a, b); }
inline Ints subtract(Ints a, Ints b) { return _mm256_sub_epi32(a, b); }
inline Ints multiply(Ints a, Ints b) { return _mm256_mullo_epi32(a, b); }
inline Ints bit_and(Ints a, Ints b) { return _mm256_and_si256(a, b); }
inline Ints bit_or(Ints a, Ints b) { return _mm256_or_si256(a, b); }
inline Ints bit_xor(Ints a, Ints b) { return _mm256_xor_si256(a, b); }
template <int n>
inline Ints shift_left(Ints a) { return _mm256_slli_epi32(a, n); }
template <int n>
inline Ints shift_right(Ints a) { return _mm256_srli_epi32(a, n); }  // logical

inline Floats fma(Floats a, Floats b, Floats c) { return _mm256_fmadd_ps(a, b, c); }  // a b + c
inline Floats sqrt(Floats a) { return _mm256_sqrt_ps(a); }
inline Floats max(Floats a, Floats b) { return _mm256_max_ps(a, b); }  // b where either is NaN
inline Floats min(Floats a, Floats b) { return _mm256_min_ps(a, b); }  // b where either is NaN

inline Mask less(Floats a, Floats b) { return bits_of(_mm256_cmp_ps(a, b, _CMP_LT_OQ)); }
inline Mask is_nan(Floats a) { return bits_of(_mm256_cmp_ps(a, a, _CMP_UNORD_Q)); }
inline Mask mask_and(Mask a, Mask b) { return bit_and(a, b); }
inline Mask mask_or(Mask a, Mask b) { return bit_or(a, b); }
inline bool any(Mask m) { return _mm256_movemask_ps(floats_of(m)) != 0; }
inline Floats select(Mask m, Floats yes, Floats no) { return _mm256_blendv_ps(no, yes, floats_of(m)); }
inline Ints select(Mask m, Ints yes, Ints no) { return _mm256_blendv_epi8(no, yes, m); }

inline Floats round(Floats a) { return _mm256_round_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
// a 2^n, n whole and within +-252, in two steps so that underflow is gradual
inline Floats scale_by_power(Floats a, Floats n) {
  const Ints whole = _mm256_cvtps_epi32(n), half = _mm256_srai_epi32(whole, 1);
  const Ints bias = all(127);
  return a * floats_of(shift_left<23>(add(half, bias))) * floats_of(shift_left<23>(add(subtract(whole, half), bias)));
}

inline float sum(Floats x) {
  const __m128 four = _mm_add_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
  const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
}
inline float max(Floats x) {
  const __m128 four = _mm_max_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
  const __m128 two = _mm_max_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_max_ss(two, _mm_movehdup_ps(two)));
}

#endif

inline Floats zero() { return all(0.0f); }

// ---- bf16: the upper half of a float --------------------------------------------------------------------------------------

inline float widen(Bf16 x) {
  const uint32_t bits = static_cast<uint32_t>(x.bits) << 16;
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}
inline float widen(float x) { return x; }

// To the nearest, ties to even; NaN stays (quiet) NaN.
inline Ints narrow(Floats x) {
  const Ints bits = bits_of(x);
  const Ints odd = bit_and(shift_right<16>(bits), all(1));
  const Ints rounded = shift_right<16>(add(bits, add(all(0x7fff), odd)));
  return select(is_nan(x), bit_or(shift_right<16>(bits), all(0x40)), rounded);
}
inline Bf16 narrow(float x) {
  uint32_t bits;
  std::memcpy(&bits, &x, sizeof bits);
  const uint32_t rounded = x != x ? (bits >> 16) | 0x40u : (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
  return Bf16{static_cast<uint16_t>(rounded)};
}

#ifdef __AVX512BF16__
// The same in W halves. The instruction takes denormals for zeros: where there are any, it is not used.
inline __m256i narrow_halves(Floats x) {
  constexpr int kDenormal = 0x20;
  if (__builtin_expect(_mm512_fpclass_ps_mask(x, kDenormal) != 0, 0)) return _mm512_cvtepi32_epi16(narrow(x));
  return reinterpret_cast<__m256i>(_mm512_cvtneps_pbh(x));
}
inline Floats widen(__m256i halves) { return floats_of(shift_left<16>(_mm512_cvtepu16_epi32(halves))); }
inline void store_halves(Bf16 *p, Floats x, Full) { _mm256_storeu_si256(reinterpret_cast<__m256i *>(p), narrow_halves(x)); }
inline void store_halves(Bf16 *p, Floats x, Tail t) { _mm256_mask_storeu_epi16(p, first(t), narrow_halves(x)); }
#else
template <class Part>
inline void store_halves(Bf16 *p, Floats x, Part part) { store_16(p, narrow(x), part); }
#endif

template <class Part = Full>
inline Floats load(const Bf16 *p, Part part = {}) { return floats_of(shift_left<16>(load_u16(p, part))); }
template <class Part = Full>
inline void store(Bf16 *p, Floats x, Part part = {}) { store_halves(p, x, part); }

inline void store_scalar(float *p, float x) { *p = x; }
inline void store_scalar(Bf16 *p, float x) { *p = narrow(x); }

// x as it reads back after a store to T
inline Floats rounded_to(const float *, Floats x) { return x; }
#ifdef __AVX512BF16__
inline Floats rounded_to(const Bf16 *, Floats x) { return widen(narrow_halves(x)); }
#else
inline Floats rounded_to(const Bf16 *, Floats x) { return floats_of(shift_left<16>(narrow(x))); }
#endif

// Lanes that the part holds keep x, the others become `rest`.
template <class Part>
inline Floats only(Part part, Floats x, Floats rest) { return select(first(part), x, rest); }
inline Floats only(Full, Floats x, Floats) { return x; }

// ---- exp ------------------------------------------------------------------------------------------------------------------

// e^x within 1 ulp or so: x = n ln 2 + r with |r| <= ln 2 / 2 (ln 2 in two parts), Cephes' polynomial for e^r, times 2^n.
// +-infinity, NaN, overflow and gradual underflow come out as they should.
inline Floats exp(Floats x) {
  const Floats clamped = min(all(89.0f), max(all(-105.0f), x));  // NaN passes both
  const Floats n = round(clamped * all(1.44269504088896341f));
  const Floats r = fma(n, all(2.12194440e-4f), fma(n, all(-0.693359375f), clamped));
  Floats p = all(1.9875691500e-4f);
  p = fma(p, r, all(1.3981999507e-3f));
  p = fma(p, r, all(8.3334519073e-3f));
  p = fma(p, r, all(4.1665795894e-2f));
  p = fma(p, r, all(1.6666665459e-1f));
  p = fma(p, r, all(5.0000001201e-1f));
  return scale_by_power(fma(p, r * r, r + all(1.0f)), n);
}

}  // namespace
}  // namespace lethe::LETHE_TIER
