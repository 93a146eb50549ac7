// Runs a block from PTX: each warp as far as it can go, its lanes together where they are at the same instruction.
#include "ptx_block.h"

#include <algorithm>
#include <cstdarg>
#include <cstdio>
#include <cstring>

#include "ptx_instructions.h"

namespace simt::ptx {
namespace {

constexpr size_t kWord = sizeof(uint64_t);

// The value in all lanes.
void fill(char *to, int width, uint64_t value) {
  for (unsigned lane = 0; lane < (width == 0 ? 1 : kLanes); lane++) {
    std::memcpy(to + lane * static_cast<unsigned>(width), &value, width == 0 ? sizeof(uint32_t) : static_cast<size_t>(width));
  }
}

uint32_t special_value(Special special, const Thread &thread) {
  switch (special) {
    case Special::kTidX: return thread.thread.x;
    case Special::kTidY: return thread.thread.y;
    case Special::kTidZ: return thread.thread.z;
    case Special::kNtidX: return thread.block_size.x;
    case Special::kNtidY: return thread.block_size.y;
    case Special::kNtidZ: return thread.block_size.z;
    case Special::kCtaidX: return thread.block.x;
    case Special::kCtaidY: return thread.block.y;
    case Special::kCtaidZ: return thread.block.z;
    case Special::kNctaidX: return thread.grid_size.x;
    case Special::kNctaidY: return thread.grid_size.y;
    case Special::kNctaidZ: return thread.grid_size.z;
    case Special::kLane: return thread.lane;
  }
  return 0;
}

uint32_t members_of(Warp &warp, const Instruction &instruction, Operand members, unsigned lane) {
  const uint32_t mask = warp.at<uint32_t>(members)[lane];
  if ((mask >> lane & 1u) == 0) {
    wrong(warp, lane, instruction, cudaErrorLaunchFailure, "bad-mask", "the mask %08x leaves out the calling lane %u", mask, lane);
  }
  if ((mask & ~warp.lanes->live) != 0) {
    wrong(warp, lane, instruction, cudaErrorLaunchFailure, "early-exit", "the mask is %08x, of whose lanes %08x have exited or never were", mask,
          mask & ~warp.lanes->live);
  }
  return mask;
}

bool same_place(Site a, Site b) { return a.line == b.line && std::strcmp(a.file, b.file) == 0; }

}  // namespace

void wrong(Warp &warp, unsigned lane, const Instruction &instruction, cudaError_t status, const char *kind, const char *format, ...) {
  Multiprocessor &m = warp.block->multiprocessor();
  m.current = &warp.thread(lane);
  char what[400];
  va_list arguments;
  va_start(arguments, format);
  std::vsnprintf(what, sizeof what, format, arguments);
  va_end(arguments);
  fail(status, kind, "%s, in '%s' at %s:%d", what, instruction.text, instruction.site.file, instruction.site.line);
}

void Block::begin(const Kernel &kernel, const char *parameters) {
  kernel_ = &kernel;
  parameters_ = parameters;
  constants_.resize(kernel.constant_bytes / kWord + 1);
  for (const Constant &constant : kernel.constants) {
    fill(reinterpret_cast<char *>(constants_.data()) + (constant.operand & ~kConstant), constant.width, constant.value);
  }
  warps_.resize((m_.thread_count + kLanes - 1) / kLanes);
  for (size_t w = 0; w < warps_.size(); w++) {
    Warp &warp = warps_[w];
    warp.block = this;
    warp.lanes = &m_.warps[w];
    warp.registers.assign(kernel.register_bytes / kWord + 1, ~uint64_t{0});  // NaN
    warp.base[0] = reinterpret_cast<char *>(warp.registers.data());
    warp.base[1] = reinterpret_cast<char *>(constants_.data());
  }
}

void Block::place_variables() {
  std::vector<uint64_t> offsets;
  for (const SharedVariable &variable : kernel_->variables) {
    const void *const at = variable.bytes == 0 ? dynamic_shared()
                                               : shared_variable(&variable, variable.bytes, variable.alignment, variable.name.c_str());
    offsets.push_back(m_.shared.offset(at));
  }
  for (const Constant &constant : kernel_->constants) {
    if (constant.variable < 0) continue;
    fill(reinterpret_cast<char *>(constants_.data()) + (constant.operand & ~kConstant), constant.width,
         offsets[static_cast<size_t>(constant.variable)] + constant.value);
  }
}

void Block::start() {
  place_variables();
  for (Warp &warp : warps_) {
    warp.runnable = warp.lanes->live;
    warp.waiting = warp.at_barrier = 0;
    warp.lanes->ready = 0;
    std::ranges::fill(warp.pc, 0u);
    for (const SpecialRegister &special : kernel_->specials) {
      uint32_t *const to = warp.at<uint32_t>(special.operand);
      each(warp.lanes->live, [&](unsigned lane) { to[lane] = special_value(special.special, warp.thread(lane)); });
    }
  }
  m_.ready_warps = 0;  // they are none of the scheduler of fibers
}

Warp &Block::next(uint64_t warps) {
  const auto count = static_cast<unsigned>(__builtin_popcountll(warps));
  unsigned skip = 0;
  switch (m_.order) {
    case Order::kForward: break;
    case Order::kReverse: skip = count - 1; break;
    case Order::kRandom: skip = static_cast<unsigned>(m_.random() % count); break;
  }
  for (; skip > 0; skip--) warps &= warps - 1;
  return warps_[static_cast<size_t>(__builtin_ctzll(warps))];
}

void Block::run() {
  m_.checking = true;  // the checker is asked by the instructions themselves
  start();
  while (m_.live > 0) {
    for (uint64_t ready = (uint64_t{1} << warps_.size()) - 1; ready != 0;) {
      Warp &warp = next(ready);
      ready &= ~(uint64_t{1} << (&warp - warps_.data()));
      run_warp(warp);
      if (warp.waiting != 0) stuck(warp);
    }
    if (m_.live > 0) release();  // whoever lives has arrived at the barrier
  }
}

// The lanes that are furthest behind go first, as long as they are: so those that part at a branch meet again where it ends.
void Block::run_warp(Warp &warp) {
  const Instruction *const code = kernel_->code.data();
  while (warp.runnable != 0) {
    uint32_t pc = ~0u, next = ~0u, lanes = 0;
    each(warp.runnable, [&](unsigned lane) { pc = std::min(pc, warp.pc[lane]); });
    each(warp.runnable, [&](unsigned lane) {
      if (warp.pc[lane] == pc) {
        lanes |= 1u << lane;
      } else {
        next = std::min(next, warp.pc[lane]);
      }
    });
    const auto set = [&](uint32_t those, uint32_t to) { each(those, [&](unsigned lane) { warp.pc[lane] = to; }); };
    for (bool together = true; together;) {
      if (pc >= next) {
        set(lanes, pc);
        break;
      }
      const Instruction &instruction = code[pc];
      uint32_t active = lanes;
      if (instruction.guarded) active &= instruction.guard_inverted ? ~warp.mask(instruction.guard) : warp.mask(instruction.guard);
      if (active == 0 || instruction.kind == Kind::kLanes) {
        if (active != 0) instruction.execute(warp, instruction, active);
        pc++;
        continue;
      }
      if (instruction.kind == Kind::kBranch && active == lanes) {
        pc = instruction.target;
        continue;
      }
      if (instruction.kind == Kind::kCollective && active == lanes && warp.waiting == 0 && meet(warp, instruction, pc, lanes)) {
        pc++;
        continue;
      }
      together = false;
      set(lanes & ~active, pc + 1);
      switch (instruction.kind) {
        case Kind::kLanes: break;
        case Kind::kBranch: set(active, instruction.target); break;
        case Kind::kExit: exit(warp, active); break;
        case Kind::kBarrier: arrive(warp, instruction, pc, active); break;
        case Kind::kCollective: meet(warp, instruction, pc, active); break;
      }
    }
  }
}

// The lanes come to a collective, where others may wait already; those whose mask is complete do it. True where all did that came.
bool Block::meet(Warp &warp, const Instruction &instruction, uint32_t pc, uint32_t lanes) {
  const Operand members = instruction.operand[instruction.members];
  uint32_t here = lanes, done = 0;
  each(warp.waiting, [&](unsigned lane) { here |= static_cast<uint32_t>(warp.pc[lane] == pc) << lane; });
  for (uint32_t rest = here; rest != 0;) {
    const auto first = static_cast<unsigned>(__builtin_ctz(rest));
    const uint32_t mask = members_of(warp, instruction, members, first);
    uint32_t same = 0;
    each(rest, [&](unsigned lane) { same |= static_cast<uint32_t>(warp.at<uint32_t>(members)[lane] == mask) << lane; });
    rest &= ~same;
    if (same != mask) continue;
    instruction.execute(warp, instruction, mask);
    done |= mask;
  }
  each(here, [&](unsigned lane) { warp.pc[lane] = pc + (done >> lane & 1u); });
  warp.waiting = (warp.waiting | here) & ~done;
  warp.runnable = (warp.runnable & ~here) | done;
  return done == lanes;
}

void Block::arrive(Warp &warp, const Instruction &instruction, uint32_t pc, uint32_t lanes) {
  const auto first = static_cast<unsigned>(__builtin_ctz(lanes));
  const auto fail_divergent = [&](const char *text, unsigned number, Site site) {
    char where[300];
    std::snprintf(where, sizeof where, text, number, site.file, site.line);
    wrong(warp, first, instruction, cudaErrorLaunchFailure, "divergent-barrier", "%s", where);
  };
  BarrierState &state = m_.barrier;
  if (m_.live != m_.thread_count) fail_divergent("%u threads of the block have exited", m_.thread_count - m_.live, {"", 0});
  if (state.arrived == 0) {
    state = {0, warp.thread(first).index, instruction.site, false, true, 0};
  } else if (!same_place(state.site, instruction.site)) {
    fail_divergent("thread %u waits in the one at %s:%d", state.first, state.site);
  }
  if (instruction.predicate >= 0) {
    const uint32_t bits = warp.mask(instruction.operand[instruction.predicate]) & lanes;
    state.any |= bits != 0;
    state.all &= bits == lanes;
  }
  state.arrived += static_cast<unsigned>(__builtin_popcount(lanes));
  warp.barrier = &instruction;
  warp.at_barrier |= lanes;
  warp.runnable &= ~lanes;
  each(lanes, [&](unsigned lane) { warp.pc[lane] = pc + 1; });
}

void Block::release() {
  m_.barrier_result = {m_.barrier.any, m_.barrier.all, 0};
  m_.barrier.arrived = 0;
  m_.epoch++;
  for (Warp &warp : warps_) {
    warp.barrier->execute(warp, *warp.barrier, warp.at_barrier);
    warp.runnable = warp.at_barrier;
    warp.at_barrier = 0;
  }
}

void Block::exit(Warp &warp, uint32_t lanes) {
  each(lanes, [&](unsigned lane) {
    Thread &thread = warp.thread(lane);
    m_.current = &thread;
    if (m_.barrier.arrived > 0) {
      fail(cudaErrorLaunchFailure, "divergent-barrier", "the thread exits while thread %u waits for it in __syncthreads at %s:%d",
           m_.barrier.first, m_.barrier.site.file, m_.barrier.site.line);
    }
    wait_for_copies_but(-1, {"exit", 0});
  });
  warp.runnable &= ~lanes;
  warp.lanes->live &= ~lanes;
  m_.live -= static_cast<unsigned>(__builtin_popcount(lanes));
}

// Lanes of the warp wait for others that will not come.
void Block::stuck(Warp &warp) {
  const auto first = static_cast<unsigned>(__builtin_ctz(warp.waiting));
  const Instruction &instruction = kernel_->code[warp.pc[first]];
  const uint32_t mask = members_of(warp, instruction, instruction.operand[instruction.members], first);
  uint32_t missing = mask;
  each(warp.waiting, [&](unsigned lane) { missing &= ~(static_cast<uint32_t>(warp.pc[lane] == warp.pc[first]) << lane); });
  if ((missing & warp.at_barrier) != 0) {
    wrong(warp, first, instruction, cudaErrorLaunchFailure, "divergent-barrier", "waits for lane %d, which waits in __syncthreads at %s:%d",
          __builtin_ctz(missing & warp.at_barrier), warp.barrier->site.file, warp.barrier->site.line);
  }
  const Instruction &other = kernel_->code[warp.pc[missing == 0 ? first : static_cast<unsigned>(__builtin_ctz(missing))]];
  wrong(warp, first, instruction, cudaErrorLaunchFailure, "divergent-warp", "the mask is %08x, and lanes %08x of it wait in '%s' at %s:%d", mask,
        missing, other.text, other.site.file, other.site.line);
}

}  // namespace simt::ptx
