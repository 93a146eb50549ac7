// The instructions that are executed: by their whole name with every modifier, so that none is taken for another.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "ptx.h"

namespace simt::ptx {

// The widths of an instruction's operands in bytes, as decoded; 0 a predicate. In place: there are thousands, and each is code to compile.
class Widths {
 public:
  constexpr Widths(std::initializer_list<int> widths) {
    for (const int width : widths) add(width);
  }
  constexpr void add(int width) { width_[count_++] = static_cast<int8_t>(width); }
  const int8_t *begin() const { return width_; }
  const int8_t *end() const { return width_ + count_; }
  int operator[](size_t operand) const { return width_[operand]; }

 private:
  int8_t width_[16] = {};
  size_t count_ = 0;
};

// What a name means for operands of certain widths.
struct Opcode {
  Execute execute;
  Kind kind;
  Widths widths;
};

constexpr int kAnyWidth = -1;  // of an immediate operand

// NULL where no instruction of that name takes such operands.
const Opcode *find_opcode(std::string_view name, const std::vector<int> &widths);
bool is_known(std::string_view name);

class Opcodes {
 public:
  void add(std::string_view name, const Opcode &opcode) { add(name, "", opcode); }
  void add(std::string_view name, std::string_view type, const Opcode &opcode);
  const std::vector<Opcode> *find(const std::string &name) const;

 private:
  std::unordered_map<std::string, std::vector<Opcode>> by_name_;
};

void add_arithmetic(Opcodes &opcodes);   // ptx_arithmetic.cpp
void add_conversions(Opcodes &opcodes);  // ptx_conversions.cpp
void add_memory(Opcodes &opcodes);       // ptx_memory.cpp
void add_warp(Opcodes &opcodes);         // ptx_warp.cpp

}  // namespace simt::ptx
