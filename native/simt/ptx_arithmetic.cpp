// PTX's arithmetic, comparisons, selections and bits.
#include <cmath>

#include "ptx_lanes.h"

namespace simt::ptx {
namespace {

// Predicates, all lanes in one word.
template <class Function>
void execute_masks(Warp &warp, const Instruction &instruction, uint32_t lanes) {
  constexpr Function function{};
  const Operand *const operand = instruction.operand;
  uint32_t &to = *warp.at<uint32_t>(operand[0]);
  uint32_t bits;
  if constexpr (std::is_invocable_v<Function, uint32_t, uint32_t>) {
    bits = function(warp.mask(operand[1]), warp.mask(operand[2]));
  } else {
    bits = function(warp.mask(operand[1]));
  }
  to = (to & ~lanes) | (bits & lanes);
}
template <class Function>
Opcode masks(Function) {
  if constexpr (std::is_invocable_v<Function, uint32_t, uint32_t>) {
    return {execute_masks<Function>, Kind::kLanes, {0, 0, 0}};
  } else {
    return {execute_masks<Function>, Kind::kLanes, {0, 0}};
  }
}

template <class T>
T shifted_left(T x, uint32_t by) {
  return by < sizeof(T) * 8 ? static_cast<T>(x << by) : T{0};
}
template <class T>
T shifted_right(T x, uint32_t by) {  // arithmetically where T is signed
  constexpr uint32_t kBits = sizeof(T) * 8;
  return by < kBits ? static_cast<T>(x >> by) : x < 0 ? static_cast<T>(-1) : T{0};
}

// By zero all bits are set, as the GPU has it; PTX leaves it open.
template <class T>
T quotient(T a, T b) {
  if constexpr (std::is_signed_v<T>) {
    if (b == -1) return static_cast<T>(std::make_unsigned_t<T>{0} - static_cast<std::make_unsigned_t<T>>(a));
  }
  return b == 0 ? static_cast<T>(~T{0}) : static_cast<T>(a / b);
}
template <class T>
T remainder(T a, T b) {
  if constexpr (std::is_signed_v<T>) {
    if (b == -1) return 0;
  }
  return b == 0 ? a : static_cast<T>(a % b);
}

template <class T>
T inserted(T a, T b, uint32_t position, uint32_t length) {
  position &= 0xff;
  length &= 0xff;
  constexpr uint32_t kBits = sizeof(T) * 8;
  const T ones = length >= kBits ? static_cast<T>(~T{0}) : static_cast<T>((T{1} << length) - 1);
  const T field = shifted_left(ones, position);
  return (b & ~field) | (shifted_left(a, position) & field);
}

uint32_t permuted(uint32_t a, uint32_t b, uint32_t selector) {
  const uint64_t bytes = a | static_cast<uint64_t>(b) << 32;
  uint32_t result = 0;
  for (unsigned i = 0; i < 4; i++) {
    const uint32_t nibble = selector >> 4 * i & 15u;
    uint32_t byte = static_cast<uint32_t>(bytes >> 8 * (nibble & 7u)) & 0xffu;
    if ((nibble & 8u) != 0) byte = (byte & 0x80u) != 0 ? 0xffu : 0u;  // its sign, all over
    result |= byte << 8 * i;
  }
  return result;
}

uint32_t reversed(uint32_t x) {
  uint32_t y = 0;
  for (unsigned i = 0; i < 32; i++) y |= (x >> i & 1u) << (31 - i);
  return y;
}

// NaN only of two NaN; +0 is more than -0.
float larger(float a, float b) {
  if (a == b) return std::signbit(a) ? b : a;
  return a > b || b != b ? a : b;
}
float smaller(float a, float b) {
  if (a == b) return std::signbit(a) ? a : b;
  return a < b || b != b ? a : b;
}

template <class T>
void add_integers(Opcodes &table, const std::string &type) {
  using U = std::make_unsigned_t<T>;
  table.add("add.", type, lanes([](U a, U b) { return static_cast<U>(a + b); }));
  table.add("sub.", type, lanes([](U a, U b) { return static_cast<U>(a - b); }));
  if constexpr (sizeof(T) >= 4) {
    table.add("mul.lo.", type, lanes([](U a, U b) { return a * b; }));
    table.add("mad.lo.", type, lanes([](U a, U b, U c) { return a * b + c; }));
  }
  table.add("div.", type, lanes([](T a, T b) { return quotient(a, b); }));
  table.add("rem.", type, lanes([](T a, T b) { return remainder(a, b); }));
  table.add("min.", type, lanes([](T a, T b) { return a < b ? a : b; }));
  table.add("max.", type, lanes([](T a, T b) { return a > b ? a : b; }));
  table.add("shr.", type, lanes([](T x, uint32_t by) { return shifted_right(x, by); }));
  if constexpr (std::is_signed_v<T>) {
    table.add("neg.", type, lanes([](U x) { return static_cast<U>(U{0} - x); }));
    table.add("abs.", type, lanes([](T x) { return x < 0 ? static_cast<U>(U{0} - static_cast<U>(x)) : static_cast<U>(x); }));
  }
  if constexpr (sizeof(T) == 4) {
    using W = std::conditional_t<std::is_signed_v<T>, int64_t, uint64_t>;
    table.add("mul.wide.", type, lanes([](T a, T b) { return static_cast<W>(a) * static_cast<W>(b); }));
    table.add("mul.hi.", type, lanes([](T a, T b) { return static_cast<T>(static_cast<W>(a) * static_cast<W>(b) >> 32); }));
    table.add("mad.wide.", type, lanes([](T a, T b, uint64_t c) {
      return static_cast<uint64_t>(static_cast<W>(a) * static_cast<W>(b)) + c;
    }));
  }
  table.add("selp.", type, lanes([](T a, T b, bool first) { return first ? a : b; }));
  table.add("setp.eq.", type, lanes([](T a, T b) { return a == b; }));
  table.add("setp.ne.", type, lanes([](T a, T b) { return a != b; }));
  table.add("setp.lt.", type, lanes([](T a, T b) { return a < b; }));
  table.add("setp.le.", type, lanes([](T a, T b) { return a <= b; }));
  table.add("setp.gt.", type, lanes([](T a, T b) { return a > b; }));
  table.add("setp.ge.", type, lanes([](T a, T b) { return a >= b; }));
}

template <class U>
void add_bits(Opcodes &table, const std::string &type) {
  table.add("mov.", type, lanes([](U x) { return x; }));
  table.add("and.", type, lanes([](U a, U b) { return static_cast<U>(a & b); }));
  table.add("or.", type, lanes([](U a, U b) { return static_cast<U>(a | b); }));
  table.add("xor.", type, lanes([](U a, U b) { return static_cast<U>(a ^ b); }));
  table.add("not.", type, lanes([](U x) { return static_cast<U>(~x); }));
  table.add("shl.", type, lanes([](U x, uint32_t by) { return shifted_left(x, by); }));
  table.add("shr.", type, lanes([](U x, uint32_t by) { return shifted_right(x, by); }));
  table.add("selp.", type, lanes([](U a, U b, bool first) { return first ? a : b; }));
  table.add("setp.eq.", type, lanes([](U a, U b) { return a == b; }));
  table.add("setp.ne.", type, lanes([](U a, U b) { return a != b; }));
}

template <class F>
void add_floats(Opcodes &table, const std::string &type) {
  for (const char *rounded : {"", "rn."}) {
    table.add("add.", rounded + type, lanes([](F a, F b) { return a + b; }));
    table.add("sub.", rounded + type, lanes([](F a, F b) { return a - b; }));
    table.add("mul.", rounded + type, lanes([](F a, F b) { return a * b; }));
  }
  table.add("fma.rn.", type, lanes([](F a, F b, F c) { return std::fma(a, b, c); }));
  table.add("div.rn.", type, lanes([](F a, F b) { return a / b; }));
  table.add("rcp.rn.", type, lanes([](F x) { return F{1} / x; }));
  table.add("sqrt.rn.", type, lanes([](F x) { return std::sqrt(x); }));
  table.add("neg.", type, lanes([](F x) { return -x; }));
  table.add("abs.", type, lanes([](F x) { return std::fabs(x); }));
  table.add("mov.", type, lanes([](F x) { return x; }));
  table.add("selp.", type, lanes([](F a, F b, bool first) { return first ? a : b; }));
  table.add("setp.eq.", type, lanes([](F a, F b) { return a == b; }));
  table.add("setp.ne.", type, lanes([](F a, F b) { return a < b || a > b; }));
  table.add("setp.lt.", type, lanes([](F a, F b) { return a < b; }));
  table.add("setp.le.", type, lanes([](F a, F b) { return a <= b; }));
  table.add("setp.gt.", type, lanes([](F a, F b) { return a > b; }));
  table.add("setp.ge.", type, lanes([](F a, F b) { return a >= b; }));
  // the same, or where one is NaN
  table.add("setp.equ.", type, lanes([](F a, F b) { return !(a < b || a > b); }));
  table.add("setp.neu.", type, lanes([](F a, F b) { return a != b; }));
  table.add("setp.ltu.", type, lanes([](F a, F b) { return !(a >= b); }));
  table.add("setp.leu.", type, lanes([](F a, F b) { return !(a > b); }));
  table.add("setp.gtu.", type, lanes([](F a, F b) { return !(a <= b); }));
  table.add("setp.geu.", type, lanes([](F a, F b) { return !(a < b); }));
  table.add("setp.nan.", type, lanes([](F a, F b) { return a != a || b != b; }));
  table.add("setp.num.", type, lanes([](F a, F b) { return a == a && b == b; }));
}

}  // namespace

void add_arithmetic(Opcodes &table) {
  add_integers<int16_t>(table, "s16");
  add_integers<uint16_t>(table, "u16");
  add_integers<int32_t>(table, "s32");
  add_integers<uint32_t>(table, "u32");
  add_integers<int64_t>(table, "s64");
  add_integers<uint64_t>(table, "u64");
  add_bits<uint16_t>(table, "b16");
  add_bits<uint32_t>(table, "b32");
  add_bits<uint64_t>(table, "b64");
  add_floats<float>(table, "f32");
  add_floats<double>(table, "f64");

  table.add("mov.u16", lanes([](uint16_t x) { return x; }));
  table.add("mov.u32", lanes([](uint32_t x) { return x; }));
  table.add("mov.u64", lanes([](uint64_t x) { return x; }));
  table.add("cvta.to.global.u64", lanes([](uint64_t x) { return x; }));

  table.add("mov.pred", masks([](uint32_t a) { return a; }));
  table.add("not.pred", masks([](uint32_t a) { return ~a; }));
  table.add("and.pred", masks([](uint32_t a, uint32_t b) { return a & b; }));
  table.add("or.pred", masks([](uint32_t a, uint32_t b) { return a | b; }));
  table.add("xor.pred", masks([](uint32_t a, uint32_t b) { return a ^ b; }));

  table.add("min.f32", lanes([](float a, float b) { return smaller(a, b); }));
  table.add("max.f32", lanes([](float a, float b) { return larger(a, b); }));
  table.add("fma.rm.f32", lanes_rounding<FE_DOWNWARD>([](float a, float b, float c) { return std::fma(a, b, c); }));
  table.add("add.rz.f32", lanes_rounding<FE_TOWARDZERO>([](float a, float b) { return a + b; }));
  // Approximations are this machine's exact values, but where the GPU's have another range.
  table.add("div.approx.f32", lanes([](float a, float b) {
    return std::fabs(b) > 0x1p126f && std::fabs(b) < HUGE_VALF ? (std::fabs(a) < HUGE_VALF ? 0.0f : NAN) : a / b;
  }));
  table.add("ex2.approx.f32", lanes([](float x) { return std::exp2(x); }));
  table.add("ex2.approx.ftz.f32", lanes([](float x) { return exp2_fast(x); }));

  table.add("bfi.b32", lanes([](uint32_t a, uint32_t b, uint32_t at, uint32_t length) { return inserted(a, b, at, length); }));
  table.add("bfi.b64", lanes([](uint64_t a, uint64_t b, uint32_t at, uint32_t length) { return inserted(a, b, at, length); }));
  table.add("prmt.b32", lanes([](uint32_t a, uint32_t b, uint32_t selector) { return permuted(a, b, selector); }));
  table.add("brev.b32", lanes([](uint32_t x) { return reversed(x); }));
  table.add("popc.b32", lanes([](uint32_t x) { return static_cast<uint32_t>(__builtin_popcount(x)); }));
  table.add("clz.b32", lanes([](uint32_t x) { return x == 0 ? 32u : static_cast<uint32_t>(__builtin_clz(x)); }));
  table.add("bfind.u32", lanes([](uint32_t x) { return x == 0 ? ~0u : 31u - static_cast<uint32_t>(__builtin_clz(x)); }));
  table.add("bfind.shiftamt.u32", lanes([](uint32_t x) { return x == 0 ? ~0u : static_cast<uint32_t>(__builtin_clz(x)); }));
}

}  // namespace simt::ptx
