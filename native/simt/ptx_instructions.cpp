#include "ptx_instructions.h"

#include <algorithm>

namespace simt::ptx {
namespace {

const Opcodes &opcodes() {
  static const Opcodes *const opcodes = [] {
    auto *const all = new Opcodes();
    add_arithmetic(*all);
    add_conversions(*all);
    add_memory(*all);
    add_warp(*all);
    return all;
  }();
  return *opcodes;
}

}  // namespace

void Opcodes::add(std::string_view name, std::string_view type, const Opcode &opcode) {
  by_name_[std::string(name).append(type)].push_back(opcode);
}

const std::vector<Opcode> *Opcodes::find(const std::string &name) const {
  const auto found = by_name_.find(name);
  return found == by_name_.end() ? nullptr : &found->second;
}

const Opcode *find_opcode(std::string_view name, const std::vector<int> &widths) {
  const std::vector<Opcode> *const named = opcodes().find(std::string(name));
  if (named == nullptr) return nullptr;
  for (const Opcode &opcode : *named) {
    const auto fits = [](int taken, int given) { return taken == given || given == kAnyWidth; };
    if (std::ranges::equal(opcode.widths, widths, fits)) return &opcode;
  }
  return nullptr;
}

bool is_known(std::string_view name) { return opcodes().find(std::string(name)) != nullptr; }

}  // namespace simt::ptx
