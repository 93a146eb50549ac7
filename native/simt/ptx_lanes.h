// Instructions that every lane does for itself, from a function of one lane's numbers.
#pragma once

#include <cfenv>
#include <type_traits>
#include <utility>

#include "ptx_block.h"
#include "ptx_instructions.h"

namespace simt::ptx {

template <class T>
constexpr int kWidth = std::is_same_v<T, bool> ? 0 : static_cast<int>(sizeof(T));

// What the lanes of a warp read from an operand.
template <class T>
struct Values {
  const T *value;
  Values(Warp &warp, Operand operand) : value(warp.at<T>(operand)) {}
  T operator[](unsigned lane) const { return value[lane]; }
};
template <>
struct Values<bool> {
  uint32_t bits;
  Values(Warp &warp, Operand operand) : bits(warp.mask(operand)) {}
  bool operator[](unsigned lane) const { return (bits >> lane & 1u) != 0; }
};

// A destination overlaps a source only lane on lane, so that lanes may go side by side.
template <class Function, class D, class... S, size_t... kIndex>
void do_lanes(Warp &warp, const Operand *operand, uint32_t lanes, std::index_sequence<kIndex...>) {
  constexpr Function function{};
  const auto over = [&](auto... source) {
    if constexpr (std::is_same_v<D, bool>) {
      uint32_t bits = 0;
      for (unsigned lane = 0; lane < kLanes; lane++) bits |= static_cast<uint32_t>(function(source[lane]...)) << lane;
      uint32_t &to = *warp.at<uint32_t>(operand[0]);
      to = (to & ~lanes) | (bits & lanes);
    } else {
      D *const to = warp.at<D>(operand[0]);
      if (lanes == ~0u) {
#pragma GCC ivdep
        for (unsigned lane = 0; lane < kLanes; lane++) to[lane] = function(source[lane]...);
      } else {
        each(lanes, [&](unsigned lane) { to[lane] = function(source[lane]...); });
      }
    }
  };
  over(Values<S>(warp, operand[1 + kIndex])...);
}

template <class Function, class D, class... S>
void execute_lanes(Warp &warp, const Instruction &instruction, uint32_t lanes) {
  do_lanes<Function, D, S...>(warp, instruction.operand, lanes, std::index_sequence_for<S...>());
}

template <class Function, class D, class... S>
Opcode opcode_of(D (Function::*)(S...) const) {
  return {execute_lanes<Function, D, S...>, Kind::kLanes, {kWidth<D>, kWidth<S>...}};
}

// d = function(a, b...) in every lane; the types say the operands' widths, bool that one is a predicate.
template <class Function>
Opcode lanes(Function) {
  return opcode_of(&Function::operator());
}

// The same with another rounding: that of the processor meanwhile. Between the two calls nothing but this is done.
template <int kRounding, class Function, class D, class... S>
void execute_rounding(Warp &warp, const Instruction &instruction, uint32_t lanes) {
  std::fesetround(kRounding);
  execute_lanes<Function, D, S...>(warp, instruction, lanes);
  std::fesetround(FE_TONEAREST);
}
template <int kRounding, class Function, class D, class... S>
Opcode rounding_opcode_of(D (Function::*)(S...) const) {
  return {execute_rounding<kRounding, Function, D, S...>, Kind::kLanes, {kWidth<D>, kWidth<S>...}};
}
template <int kRounding, class Function>
Opcode lanes_rounding(Function) {
  return rounding_opcode_of<kRounding>(&Function::operator());
}

}  // namespace simt::ptx
