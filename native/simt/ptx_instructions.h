// The instructions that are executed: by their whole name with every modifier, so that none is taken for another.
#pragma once

#include <string_view>

#include "ptx.h"

namespace simt::ptx {

// What a name means for operands of certain widths.
struct Opcode {
  Execute execute;
  Kind kind;
  std::vector<int> widths;  // of its operands in bytes, as decoded; 0 a predicate
};

constexpr int kAnyWidth = -1;  // of an immediate operand

// NULL where no instruction of that name takes such operands.
const Opcode *find_opcode(std::string_view name, const std::vector<int> &widths);
bool is_known(std::string_view name);

using Opcodes = std::vector<std::pair<std::string, Opcode>>;
void add_arithmetic(Opcodes &opcodes);   // ptx_arithmetic.cpp
void add_conversions(Opcodes &opcodes);  // ptx_conversions.cpp
void add_memory(Opcodes &opcodes);       // ptx_memory.cpp
void add_warp(Opcodes &opcodes);         // ptx_warp.cpp

}  // namespace simt::ptx
