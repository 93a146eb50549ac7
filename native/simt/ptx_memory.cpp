// PTX's accesses to memory. A shared address is an offset in the shared memory's addresses; a generic one is the host's own.
#include <array>
#include <cstring>

#include "fragments.h"
#include "ptx_block.h"
#include "ptx_instructions.h"
#include "shadow.h"

namespace simt::ptx {
namespace {

enum class Space : uint8_t { kGlobal, kShared };  // kGlobal: generic too

using Addresses = std::array<char *, kLanes>;

char *address(Warp &warp, const Instruction &instruction, Space space, Operand base, unsigned lane) {
  if (space == Space::kGlobal) {
    return reinterpret_cast<char *>(warp.at<uint64_t>(base)[lane] + static_cast<uint64_t>(instruction.offset));
  }
  return warp.block->multiprocessor().shared.at(warp.at<uint32_t>(base)[lane] + static_cast<uint32_t>(instruction.offset));
}

// The lanes' addresses, which must be multiples of `bytes`; in shared memory, those of variables.
Addresses addresses(Warp &warp, const Instruction &instruction, Space space, Operand base, uint32_t lanes, size_t bytes, Access access) {
  Multiprocessor &m = warp.block->multiprocessor();
  Addresses at;
  uintptr_t bits = 0;
  char *first = nullptr, *last = nullptr;
  each(lanes, [&](unsigned lane) {
    char *const a = at[lane] = address(warp, instruction, space, base, lane);
    bits |= reinterpret_cast<uintptr_t>(a);
    if (first == nullptr || a < first) first = a;
    if (a > last) last = a;
  });
  if (bits % bytes != 0) {
    each(lanes, [&](unsigned lane) {
      if (reinterpret_cast<uintptr_t>(at[lane]) % bytes == 0) return;
      wrong(warp, lane, instruction, cudaErrorMisalignedAddress, "misaligned", "%zu-byte access to %p, not a multiple of its size", bytes,
            static_cast<void *>(at[lane]));
    });
  }
#if defined(SIMT_CHECK)
  each(lanes, [&](unsigned lane) {
    Thread &thread = warp.thread(lane);
    m.current = &thread;
    thread.site = instruction.site;
    check_access(at[lane], bytes, access, thread);
  });
#else
  static_cast<void>(access);
#endif
  if (space == Space::kShared && !m.shared.covers(first, static_cast<size_t>(last - first) + bytes)) {
    each(lanes, [&](unsigned lane) {
      if (m.shared.covers(at[lane], bytes)) return;
      const SharedMemory::Variable *const near = m.shared.nearest(at[lane]);
      wrong(warp, lane, instruction, cudaErrorIllegalAddress, "out-of-bounds", "%zu bytes at byte %td of the %zu of %s (shared)", bytes,
            near == nullptr ? static_cast<ptrdiff_t>(m.shared.offset(at[lane])) : at[lane] - near->address,
            near == nullptr ? size_t{0} : near->bytes, near == nullptr ? "no variable" : near->name);
    });
  }
  return at;
}

// ld: {registers}, [base + offset]
template <Space kSpace, class Memory, class Register, int kCount>
void load(Warp &warp, const Instruction &instruction, uint32_t lanes) {
  const Operand *const operand = instruction.operand;
  const Addresses at = addresses(warp, instruction, kSpace, operand[kCount], lanes, sizeof(Memory) * kCount, Access::kRead);
  for (int i = 0; i < kCount; i++) {
    Register *const to = warp.at<Register>(operand[i]);
    each(lanes, [&](unsigned lane) {
      Memory value;
      std::memcpy(&value, at[lane] + sizeof(Memory) * static_cast<size_t>(i), sizeof value);
      to[lane] = static_cast<Register>(value);  // a signed one's sign goes on
    });
  }
}

// st: [base + offset], {registers}
template <Space kSpace, class Memory, class Register, int kCount>
void store(Warp &warp, const Instruction &instruction, uint32_t lanes) {
  const Operand *const operand = instruction.operand;
  const Addresses at = addresses(warp, instruction, kSpace, operand[0], lanes, sizeof(Memory) * kCount, Access::kWrite);
  for (int i = 0; i < kCount; i++) {
    const Register *const from = warp.at<Register>(operand[1 + i]);
    each(lanes, [&](unsigned lane) {
      const Memory value = static_cast<Memory>(from[lane]);
      std::memcpy(at[lane] + sizeof(Memory) * static_cast<size_t>(i), &value, sizeof value);
    });
  }
}

// ld.param: {registers}, the offset in the parameters
template <class Memory, class Register, int kCount>
void load_parameter(Warp &warp, const Instruction &instruction, uint32_t lanes) {
  for (int i = 0; i < kCount; i++) {
    Memory value;
    std::memcpy(&value, warp.block->parameters() + instruction.offset + sizeof(Memory) * static_cast<size_t>(i), sizeof value);
    Register *const to = warp.at<Register>(instruction.operand[i]);
    each(lanes, [&](unsigned lane) { to[lane] = static_cast<Register>(value); });
  }
}

Widths registers(int count, int width, Widths before = {}) {
  for (int i = 0; i < count; i++) before.add(width);
  return before;
}
Widths loaded(int count, int width, int address) {
  Widths widths = registers(count, width);
  widths.add(address);
  return widths;
}
Widths stored(int count, int width, int address) { return registers(count, width, {address}); }

template <class Memory, class Register, int kCount>
void add_accesses(Opcodes &table, const std::string &vector, const std::string &type) {
  const std::string end = vector + "." + type;
  constexpr int kRegister = sizeof(Register);
  table.add("ld.param", end, Opcode{load_parameter<Memory, Register, kCount>, Kind::kLanes, registers(kCount, kRegister)});
  for (const char *space : {"ld.global", "ld.global.nc", "ld"}) {
    table.add(space, end, Opcode{load<Space::kGlobal, Memory, Register, kCount>, Kind::kLanes, loaded(kCount, kRegister, 8)});
  }
  table.add("ld.shared", end, Opcode{load<Space::kShared, Memory, Register, kCount>, Kind::kLanes, loaded(kCount, kRegister, 4)});
  if constexpr (std::is_signed_v<Memory>) return;  // stored by their bits
  for (const char *space : {"st.global", "st"}) {
    table.add(space, end, Opcode{store<Space::kGlobal, Memory, Register, kCount>, Kind::kLanes, stored(kCount, kRegister, 8)});
  }
  table.add("st.shared", end, Opcode{store<Space::kShared, Memory, Register, kCount>, Kind::kLanes, stored(kCount, kRegister, 4)});
}

template <class Memory, class Register>
void add_vectors(Opcodes &table, const std::string &type) {
  add_accesses<Memory, Register, 1>(table, "", type);
  add_accesses<Memory, Register, 2>(table, ".v2", type);
  if constexpr (sizeof(Memory) <= 4) add_accesses<Memory, Register, 4>(table, ".v4", type);
}

// Every register that may hold it.
template <class Memory>
void add_type(Opcodes &table, const std::string &type) {
  if constexpr (sizeof(Memory) <= 2) add_vectors<Memory, uint16_t>(table, type);
  if constexpr (sizeof(Memory) <= 4) add_vectors<Memory, uint32_t>(table, type);
  add_vectors<Memory, uint64_t>(table, type);
}

// atom: old, [address], value
template <Space kSpace, Atomic kHow, class Integer>
void atomically(Warp &warp, const Instruction &instruction, uint32_t lanes) {
  const Operand *const operand = instruction.operand;
  const Addresses at = addresses(warp, instruction, kSpace, operand[1], lanes, sizeof(Integer), Access::kAtomic);
  Integer *const old = warp.at<Integer>(operand[0]);
  const Integer *const value = warp.at<Integer>(operand[2]);
  each(lanes, [&](unsigned lane) { old[lane] = atomic_unchecked(kHow, reinterpret_cast<Integer *>(at[lane]), value[lane]); });
}

template <Atomic kHow, class Integer>
void add_atomic(Opcodes &table, const std::string &end) {
  constexpr int kWidth = sizeof(Integer);
  table.add("atom.global.", end, Opcode{atomically<Space::kGlobal, kHow, Integer>, Kind::kLanes, {kWidth, 8, kWidth}});
  table.add("atom.shared.", end, Opcode{atomically<Space::kShared, kHow, Integer>, Kind::kLanes, {kWidth, 4, kWidth}});
}

template <class Body>
void each_thread(Warp &warp, const Instruction &instruction, uint32_t lanes, Body body) {
  each(lanes, [&](unsigned lane) {
    Thread &thread = warp.thread(lane);
    warp.block->multiprocessor().current = &thread;
    thread.site = instruction.site;
    body(lane);
  });
}

// cp.async: [shared], [global], 16, how many bytes of the source there are
void copy_asynchronously(Warp &warp, const Instruction &instruction, uint32_t lanes) {
  const Operand *const operand = instruction.operand;
  const uint32_t *const bytes = warp.at<uint32_t>(operand[2]);
  const uint32_t *const there = warp.at<uint32_t>(operand[3]);
  const Addresses to = addresses(warp, instruction, Space::kShared, operand[0], lanes, 16, Access::kWrite);
  each_thread(warp, instruction, lanes, [&](unsigned lane) {
    if (bytes[lane] != 16 || (there[lane] != 16 && there[lane] != 0)) {
      wrong(warp, lane, instruction, cudaErrorLaunchFailure, "not emulated", "a copy of %u bytes, %u of them there; 16 and 16 or 0 are",
            bytes[lane], there[lane]);
    }
    copy_16(to[lane], reinterpret_cast<const void *>(warp.at<uint64_t>(operand[1])[lane]), there[lane] != 0, instruction.site);
  });
}

void commit(Warp &warp, const Instruction &instruction, uint32_t lanes) {
  each_thread(warp, instruction, lanes, [](unsigned) { commit_copies(); });
}

void wait_for_copies(Warp &warp, const Instruction &instruction, uint32_t lanes) {
  const uint32_t *const pending = warp.at<uint32_t>(instruction.operand[0]);
  each_thread(warp, instruction, lanes, [&](unsigned lane) { wait_for_copies_but(static_cast<int>(pending[lane]), instruction.site); });
}

// ldmatrix: {four registers}, [row]
template <bool kTransposed>
void load_tiles(Warp &warp, const Instruction &instruction, uint32_t lanes) {
  const Addresses rows = addresses(warp, instruction, Space::kShared, instruction.operand[4], lanes, 16, Access::kRead);
  fragments::load_tiles<kTransposed>([&](unsigned lane) { return rows[lane]; },
                                     [&](unsigned lane, unsigned tile) -> uint32_t & {
                                       return warp.at<uint32_t>(instruction.operand[tile])[lane];
                                     });
}

}  // namespace

void add_memory(Opcodes &table) {
  add_type<int8_t>(table, "s8");
  add_type<uint8_t>(table, "u8");
  add_type<uint8_t>(table, "b8");
  add_type<int16_t>(table, "s16");
  add_type<uint16_t>(table, "u16");
  add_type<uint16_t>(table, "b16");
  add_type<int32_t>(table, "s32");
  for (const char *type : {"u32", "b32", "f32"}) add_type<uint32_t>(table, type);
  for (const char *type : {"u64", "b64", "s64", "f64"}) add_type<uint64_t>(table, type);
  add_atomic<Atomic::kAdd, unsigned>(table, "add.u32");
  add_atomic<Atomic::kMin, int>(table, "min.s32");
  add_atomic<Atomic::kMax, int>(table, "max.s32");
  add_atomic<Atomic::kMin, unsigned>(table, "min.u32");
  add_atomic<Atomic::kMax, unsigned>(table, "max.u32");
  add_atomic<Atomic::kOr, unsigned>(table, "or.b32");
  add_atomic<Atomic::kAdd, unsigned long long>(table, "add.u64");
  table.add("cp.async.cg.shared.global", Opcode{copy_asynchronously, Kind::kLanes, {4, 8, 4, 4}});
  table.add("cp.async.commit_group", Opcode{commit, Kind::kLanes, {}});
  table.add("cp.async.wait_group", Opcode{wait_for_copies, Kind::kLanes, {4}});
  const std::string ldmatrix = "ldmatrix.sync.aligned.m8n8.x4";
  table.add(ldmatrix, ".shared.b16", Opcode{load_tiles<false>, Kind::kCollective, {4, 4, 4, 4, 4, 4}});
  table.add(ldmatrix, ".trans.shared.b16", Opcode{load_tiles<true>, Kind::kCollective, {4, 4, 4, 4, 4, 4}});
}

}  // namespace simt::ptx
