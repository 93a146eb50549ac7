// PTX's instructions of a whole warp, and of a block. The block's own barriers and their meeting lanes are ptx_block.cpp's.
#include "fragments.h"
#include "ptx_block.h"
#include "ptx_instructions.h"

namespace simt::ptx {
namespace {

enum class Move : uint8_t { kUp, kDown, kXor, kIndex };

// shfl.sync: d, p, a, b, c, members; as the PTX ISA has it: c holds in bits 0-4 the last lane, in 8-12 what lanes of a segment share.
template <Move kMove>
void shuffle(Warp &warp, const Instruction &instruction, uint32_t lanes) {
  const Operand *const operand = instruction.operand;
  const uint32_t *const a = warp.at<uint32_t>(operand[2]), *const b = warp.at<uint32_t>(operand[3]), *const c = warp.at<uint32_t>(operand[4]);
  uint32_t result[kLanes], inside = 0;
  each(lanes, [&](unsigned lane) {
    const uint32_t by = b[lane] & 31u, clamp = c[lane] & 31u, segment = c[lane] >> 8 & 31u;
    const int most = static_cast<int>((lane & segment) | (clamp & ~segment)), least = static_cast<int>(lane & segment);
    int from = 0;
    bool valid = false;
    switch (kMove) {
      case Move::kUp:
        from = static_cast<int>(lane) - static_cast<int>(by);
        valid = from >= most;
        break;
      case Move::kDown:
        from = static_cast<int>(lane + by);
        valid = from <= most;
        break;
      case Move::kXor:
        from = static_cast<int>(lane ^ by);
        valid = from <= most;
        break;
      case Move::kIndex:
        from = least | static_cast<int>(by & ~segment);
        valid = from <= most;
        break;
    }
    if (!valid) from = static_cast<int>(lane);
    if ((lanes >> from & 1u) == 0) {
      wrong(warp, lane, instruction, cudaErrorLaunchFailure, "inactive-lane", "lane %u reads lane %d, which takes no part (mask %08x)", lane,
            from, lanes);
    }
    result[lane] = a[from];
    inside |= static_cast<uint32_t>(valid) << lane;
  });
  uint32_t *const d = warp.at<uint32_t>(operand[0]), &p = *warp.at<uint32_t>(operand[1]);
  each(lanes, [&](unsigned lane) { d[lane] = result[lane]; });
  p = (p & ~lanes) | inside;
}

// vote.sync.ballot: d, p, members
void ballot(Warp &warp, const Instruction &instruction, uint32_t lanes) {
  const uint32_t bits = warp.mask(instruction.operand[1]) & lanes;
  uint32_t *const d = warp.at<uint32_t>(instruction.operand[0]);
  each(lanes, [&](unsigned lane) { d[lane] = bits; });
}

// vote.sync.any and .all: p, q, members
template <bool kAll>
void vote(Warp &warp, const Instruction &instruction, uint32_t lanes) {
  const uint32_t bits = warp.mask(instruction.operand[1]) & lanes;
  uint32_t &p = *warp.at<uint32_t>(instruction.operand[0]);
  p = (kAll ? bits == lanes : bits != 0) ? p | lanes : p & ~lanes;
}

// match.any.sync: d, a, members
template <class T>
void match_any(Warp &warp, const Instruction &instruction, uint32_t lanes) {
  const T *const a = warp.at<T>(instruction.operand[1]);
  uint32_t result[kLanes] = {};
  each(lanes, [&](unsigned lane) { each(lanes, [&](unsigned other) { result[lane] |= static_cast<uint32_t>(a[other] == a[lane]) << other; }); });
  uint32_t *const d = warp.at<uint32_t>(instruction.operand[0]);
  each(lanes, [&](unsigned lane) { d[lane] = result[lane]; });
}

// redux.sync: d, a, members
template <class T, class Function>
void reduce(Warp &warp, const Instruction &instruction, uint32_t lanes) {
  constexpr Function combine{};
  const T *const a = warp.at<T>(instruction.operand[1]);
  T result = a[__builtin_ctz(lanes)];
  each(lanes & (lanes - 1), [&](unsigned lane) { result = combine(result, a[lane]); });
  T *const d = warp.at<T>(instruction.operand[0]);
  each(lanes, [&](unsigned lane) { d[lane] = result; });
}
template <class T, class Function>
Opcode reduction(Function) {
  return {reduce<T, Function>, Kind::kCollective, {4, 4, 4}};
}

void sync_warp(Warp &warp, const Instruction &, uint32_t lanes) {
  if (lanes == warp.lanes->live) warp.lanes->epoch++;
}

void active_lanes(Warp &warp, const Instruction &instruction, uint32_t lanes) {
  uint32_t *const d = warp.at<uint32_t>(instruction.operand[0]);
  each(lanes, [&](unsigned lane) { d[lane] = lanes; });
}

// mma: four of d, four of a, two of b, four of c
void multiply_accumulate(Warp &warp, const Instruction &instruction, uint32_t) {
  const auto registers = [&]<class T>(T, int first) {
    return [&warp, operand = instruction.operand + first](unsigned lane, unsigned i) -> T & { return warp.at<T>(operand[i])[lane]; };
  };
  fragments::multiply_accumulate(registers(uint32_t{}, 4), registers(uint32_t{}, 8), registers(float{}, 10), registers(float{}, 0));
}

void trap(Warp &warp, const Instruction &instruction, uint32_t lanes) {
  wrong(warp, static_cast<unsigned>(__builtin_ctz(lanes)), instruction, cudaErrorLaunchFailure, "trap", "the kernel gave up");
}

// bar.red: p, barrier, q; once the block has passed
template <bool kAll>
void barrier_result(Warp &warp, const Instruction &instruction, uint32_t lanes) {
  const BarrierResult &result = warp.block->multiprocessor().barrier_result;
  uint32_t &p = *warp.at<uint32_t>(instruction.operand[0]);
  p = (kAll ? result.all : result.any) ? p | lanes : p & ~lanes;
}

void nothing(Warp &, const Instruction &, uint32_t) {}

}  // namespace

void add_warp(Opcodes &table) {
  table.add("shfl.sync.up.b32", Opcode{shuffle<Move::kUp>, Kind::kCollective, {4, 0, 4, 4, 4, 4}});
  table.add("shfl.sync.down.b32", Opcode{shuffle<Move::kDown>, Kind::kCollective, {4, 0, 4, 4, 4, 4}});
  table.add("shfl.sync.bfly.b32", Opcode{shuffle<Move::kXor>, Kind::kCollective, {4, 0, 4, 4, 4, 4}});
  table.add("shfl.sync.idx.b32", Opcode{shuffle<Move::kIndex>, Kind::kCollective, {4, 0, 4, 4, 4, 4}});
  table.add("vote.sync.ballot.b32", Opcode{ballot, Kind::kCollective, {4, 0, 4}});
  table.add("vote.sync.any.pred", Opcode{vote<false>, Kind::kCollective, {0, 0, 4}});
  table.add("vote.sync.all.pred", Opcode{vote<true>, Kind::kCollective, {0, 0, 4}});
  table.add("match.any.sync.b32", Opcode{match_any<uint32_t>, Kind::kCollective, {4, 4, 4}});
  table.add("match.any.sync.b64", Opcode{match_any<uint64_t>, Kind::kCollective, {4, 8, 4}});
  table.add("redux.sync.add.s32", reduction<uint32_t>([](uint32_t a, uint32_t b) { return a + b; }));
  table.add("redux.sync.min.s32", reduction<int32_t>([](int32_t a, int32_t b) { return a < b ? a : b; }));
  table.add("redux.sync.max.s32", reduction<int32_t>([](int32_t a, int32_t b) { return a > b ? a : b; }));
  table.add("redux.sync.add.u32", reduction<uint32_t>([](uint32_t a, uint32_t b) { return a + b; }));
  table.add("redux.sync.min.u32", reduction<uint32_t>([](uint32_t a, uint32_t b) { return a < b ? a : b; }));
  table.add("redux.sync.max.u32", reduction<uint32_t>([](uint32_t a, uint32_t b) { return a > b ? a : b; }));
  table.add("bar.warp.sync", Opcode{sync_warp, Kind::kCollective, {4}});
  table.add("activemask.b32", Opcode{active_lanes, Kind::kLanes, {4}});
  table.add("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32",
                     Opcode{multiply_accumulate, Kind::kCollective, {4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4}});
  table.add("bar.sync", Opcode{nothing, Kind::kBarrier, {4}});
  table.add("bar.red.or.pred", Opcode{barrier_result<false>, Kind::kBarrier, {0, 4, 0}});
  table.add("bar.red.and.pred", Opcode{barrier_result<true>, Kind::kBarrier, {0, 4, 0}});
  table.add("bra", Opcode{nothing, Kind::kBranch, {}});
  table.add("bra.uni", Opcode{nothing, Kind::kBranch, {}});
  table.add("ret", Opcode{nothing, Kind::kExit, {}});
  table.add("exit", Opcode{nothing, Kind::kExit, {}});
  table.add("trap", Opcode{trap, Kind::kLanes, {}});
  for (const char *fence : {"membar.gl", "membar.cta", "fence.sc.gpu", "fence.acq_rel.gpu"}) {
    table.add(fence, Opcode{nothing, Kind::kLanes, {}});
  }
}

}  // namespace simt::ptx
