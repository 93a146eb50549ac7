#include "ptx_instructions.h"

#include <algorithm>
#include <unordered_map>

namespace simt::ptx {
namespace {

using Table = std::unordered_map<std::string, std::vector<Opcode>>;

const Table &table() {
  static const Table *const table = [] {
    Opcodes opcodes;
    add_arithmetic(opcodes);
    add_conversions(opcodes);
    add_memory(opcodes);
    add_warp(opcodes);
    auto *const by_name = new Table();
    for (auto &[name, opcode] : opcodes) (*by_name)[name].push_back(std::move(opcode));
    return by_name;
  }();
  return *table;
}

}  // namespace

const Opcode *find_opcode(std::string_view name, const std::vector<int> &widths) {
  const auto found = table().find(std::string(name));
  if (found == table().end()) return nullptr;
  for (const Opcode &opcode : found->second) {
    const auto fits = [](int taken, int given) { return taken == given || given == kAnyWidth; };
    if (std::ranges::equal(opcode.widths, widths, fits)) return &opcode;
  }
  return nullptr;
}

bool is_known(std::string_view name) { return table().contains(std::string(name)); }

}  // namespace simt::ptx
