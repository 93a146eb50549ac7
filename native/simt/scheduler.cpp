// Runs the threads of a block: each as far as it can go without another, on a fiber that it keeps only while it waits.
#include <sys/mman.h>

#include <cstdarg>
#include <cstdio>
#include <cstring>
#include <new>

#include "multiprocessor.h"
#include "ptx_block.h"
#include "shadow.h"

namespace simt {

thread_local constinit Multiprocessor *multiprocessor = nullptr;

#if defined(SIMT_CHECK)
const Place &here() { return *multiprocessor->current; }
#else
thread_local constinit const Place *current_place = nullptr;
#endif

namespace {

constexpr size_t kPage = 4096;

void set_current(Multiprocessor &m, Thread *thread) {
  m.current = thread;
#if !defined(SIMT_CHECK)
  current_place = thread;
#endif
}

unsigned lowest(uint32_t bits) { return static_cast<unsigned>(__builtin_ctz(bits)); }
unsigned highest(uint32_t bits) { return 31u - static_cast<unsigned>(__builtin_clz(bits)); }

unsigned one_of(uint32_t bits, Multiprocessor &m) {
  for (uint64_t skip = m.random() % static_cast<unsigned>(__builtin_popcount(bits)); skip > 0; skip--) bits &= bits - 1;
  return lowest(bits);
}

unsigned first_of(uint32_t bits, Multiprocessor &m) {
  switch (m.order) {
    case Order::kForward: return lowest(bits);
    case Order::kReverse: return highest(bits);
    case Order::kRandom: break;
  }
  return one_of(bits, m);
}

[[noreturn, gnu::cold]] void deadlock(Multiprocessor &m) {
  char waiting[512];
  int used = 0;
  for (unsigned i = 0, next; i < m.thread_count && used < static_cast<int>(sizeof waiting) - 1; i = next) {
    const auto same = [&](const Thread &a, const Thread &b) { return a.waits_for == b.waits_for && a.site.line == b.site.line; };
    for (next = i + 1; next < m.thread_count && same(m.threads[i], m.threads[next]);) next++;
    const Thread &thread = m.threads[i];
    used += thread.waits_for == Together::kNothing
                ? std::snprintf(waiting + used, sizeof waiting - static_cast<size_t>(used), "; threads %u to %u exited", i, next - 1)
                : std::snprintf(waiting + used, sizeof waiting - static_cast<size_t>(used), "; threads %u to %u wait in %s at %s:%d", i,
                                next - 1, name_of(thread.waits_for), thread.site.file, thread.site.line);
  }
  fail(cudaErrorLaunchTimeout, "deadlock", "no thread of the block can go on%s", waiting);
}

// Takes the thread to run next off the ready ones.
Thread &take_next(Multiprocessor &m) {
  if (m.ready_warps == 0) deadlock(m);
  Warp &warp = m.warps[first_of(m.ready_warps, m)];
  const unsigned lane = first_of(warp.ready, m);
  warp.ready &= ~(1u << lane);
  if (warp.ready == 0) m.ready_warps &= ~(1u << static_cast<unsigned>(&warp - m.warps));
  return warp.threads[lane];
}

void fiber_entry();

Fiber &free_fiber(Multiprocessor &m) {
  if (m.free_fibers.empty()) {
    Fiber &fiber = m.fibers[m.fibers_made];
    prepare(fiber, fiber_entry, m.fibers_made * 192 % kPage);
    m.fibers_made++;
    return fiber;
  }
  Fiber *fiber = m.free_fibers.back();
  m.free_fibers.pop_back();
  return *fiber;
}

Fiber &fiber_of(Multiprocessor &m, Thread &thread) {
  if (thread.fiber == nullptr) thread.fiber = &free_fiber(m);
  return *thread.fiber;
}

void exit_thread(Multiprocessor &m, Thread &thread) {
  Warp &warp = *thread.warp;
  for (int i = 0; i < warp.meetings; i++) {
    const Meeting &meeting = warp.meeting[i];
    if (meeting.mask >> thread.lane & 1u) {
      fail(cudaErrorLaunchFailure, "early-exit", "the thread exits while lanes of its warp wait for it in %s at %s:%d",
           name_of(meeting.what), meeting.site.file, meeting.site.line);
    }
  }
  if (m.barrier.arrived > 0) {
    fail(cudaErrorLaunchFailure, "divergent-barrier", "the thread exits while thread %u waits for it in __syncthreads at %s:%d",
         m.barrier.first, m.barrier.site.file, m.barrier.site.line);
  }
  wait_for_copies_but(-1, {"exit", 0});
  thread.waits_for = Together::kNothing;
  thread.fiber = nullptr;
  warp.live &= ~(1u << thread.lane);
  m.live--;
}

// One thread after another, as long as they do not wait.
void fiber_entry() {
  arrived_in_fiber();
  for (;;) {
    Multiprocessor &m = *multiprocessor;
    Thread &thread = *m.current;
    Fiber &fiber = *thread.fiber;
    if (m.grid->ptx != nullptr) {
      m.ptx_block->run();  // all threads of the block
    } else {
      m.grid->call->run();
      exit_thread(m, thread);
    }
    if (m.live == 0) {
      set_current(m, nullptr);
      m.free_fibers.push_back(&fiber);
      switch_fiber(fiber, m.home);
      continue;
    }
    Thread &next = take_next(m);
    set_current(m, &next);
    if (next.fiber == nullptr) {
      next.fiber = &fiber;
    } else {
      m.free_fibers.push_back(&fiber);
      switch_fiber(fiber, *next.fiber);
    }
  }
}

}  // namespace

const char *name_of(Together what) {
  switch (what) {
    case Together::kNothing: return "nothing";
    case Together::kSyncwarp: return "__syncwarp";
    case Together::kShuffle: return "a shuffle";
    case Together::kVote: return "a vote or reduction";
    case Together::kMatch: return "__match_any_sync";
    case Together::kLoadMatrix: return "ldmatrix";
    case Together::kLoadMatrixTransposed: return "ldmatrix_transposed";
    case Together::kMultiplyAccumulate: return "mma_bf16";
    case Together::kBarrier: return "__syncthreads";
  }
  return "?";
}

void make_ready(Multiprocessor &m, Warp &warp, unsigned lanes) {
  warp.ready |= lanes;
  if (warp.ready != 0) m.ready_warps |= 1u << static_cast<unsigned>(&warp - m.warps);
}

void suspend(Multiprocessor &m) {
  Thread &self = *m.current;
  Thread &next = take_next(m);
  if (&next == &self) return;
  Fiber &fiber = fiber_of(m, next);
  set_current(m, &next);
  switch_fiber(*self.fiber, fiber);
}

void fail_at(const void *instruction, cudaError_t status, const char *kind, const char *format, ...) {
  Multiprocessor &m = *multiprocessor;
  m.failure.status = status;
  m.failure.kind = kind;
  m.failure.instruction = instruction;
  va_list arguments;
  va_start(arguments, format);
  std::vsnprintf(m.failure.what, sizeof m.failure.what, format, arguments);
  va_end(arguments);
  leave_fiber(m.home);
}

void fail(cudaError_t status, const char *kind, const char *format, ...) {
  char what[sizeof(Failure::what)];
  va_list arguments;
  va_start(arguments, format);
  std::vsnprintf(what, sizeof what, format, arguments);
  va_end(arguments);
  fail_at(nullptr, status, kind, "%s", what);
}

void trap(const char *what, Site site) { fail(cudaErrorLaunchFailure, "trap", "%s at %s:%d", what, site.file, site.line); }

Multiprocessor::Multiprocessor() : copies(kMostThreads), fibers(kMostThreads) {
  const size_t threads_bytes = (kMostThreads * sizeof(Thread) + kPage - 1) / kPage * kPage;
  region_bytes = threads_bytes + kMostThreads * kStackBytes;
  void *mapped = mmap(nullptr, region_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (mapped == MAP_FAILED) throw std::bad_alloc();
  region = static_cast<char *>(mapped);
  threads = reinterpret_cast<Thread *>(region);
  for (unsigned i = 0; i < kMostThreads; i++) {
    new (&threads[i]) Thread();
    threads[i].index = i;
    threads[i].lane = i % kLanes;
    threads[i].warp = &warps[i / kLanes];
    fibers[i].stack = region + threads_bytes + i * kStackBytes;
    fibers[i].stack_bytes = kStackBytes;
    mprotect(fibers[i].stack, kPage, PROT_NONE);
  }
  for (unsigned w = 0; w < kMostWarps; w++) {
    warps[w].threads = &threads[w * kLanes];
    warps[w].epoch = 1;
  }
  free_fibers.reserve(kMostThreads);
}

Multiprocessor::~Multiprocessor() { munmap(region, region_bytes); }

void Multiprocessor::begin(const Grid &its_grid) {
  grid = &its_grid;
  const dim3 size = its_grid.block;
  thread_count = size.x * size.y * size.z;
  order = options().order;
  random_state = options().seed * 0x9e3779b97f4a7c15u | 1u;
  failure.status = cudaSuccess;
  failure.instruction = nullptr;
  launch_epoch = ++epoch;
  for (unsigned i = 0; i < thread_count; i++) {
    Thread &thread = threads[i];
    thread.thread = {i % size.x, i / size.x % size.y, i / (size.x * size.y)};
    thread.block_size = size;
    thread.grid_size = its_grid.size;
  }
  if (its_grid.ptx != nullptr) {
    if (ptx_block == nullptr) ptx_block = std::make_unique<ptx::Block>(*this);
    ptx_block->begin(*its_grid.ptx, its_grid.ptx_parameters.data());
  }
}

bool Multiprocessor::run(uint3 its_block) {
  block = its_block;
  checking = false;
  block_epoch = ++epoch;
  shared.begin(grid->shared);
  barrier = {};
  live = thread_count;
  ready_warps = 0;
  for (unsigned i = 0; i < thread_count; i++) {
    Thread &thread = threads[i];
    thread.block = its_block;
    thread.fiber = nullptr;
    thread.waits_for = Together::kNothing;
    thread.groups = 0;
    copies[i].clear();
  }
  for (unsigned w = 0; w * kLanes < thread_count; w++) {
    const unsigned lanes = thread_count - w * kLanes;
    warps[w].live = lanes >= kLanes ? ~0u : (1u << lanes) - 1u;
    warps[w].ready = 0;
    warps[w].meetings = 0;
    warps[w].epoch++;
    make_ready(*this, warps[w], warps[w].live);
  }
  Multiprocessor *const outer = multiprocessor;
  multiprocessor = this;
  Thread &first = take_next(*this);
  set_current(*this, &first);
  switch_fiber(home, fiber_of(*this, first));
  if (failure.status == cudaSuccess) {
    const SharedMemory::Variable *overrun = shared.overrun();
    if (overrun != nullptr) {
      current = &threads[0];
      failure.status = cudaErrorIllegalAddress;
      failure.kind = "out-of-bounds";
      std::snprintf(failure.what, sizeof failure.what, "the block wrote beyond the %zu bytes of %s (shared memory)", overrun->bytes,
                    overrun->name);
    }
  }
  multiprocessor = outer;
#if !defined(SIMT_CHECK)
  current_place = nullptr;
#endif
  if (failure.status == cudaSuccess) return true;
  allow(region, region_bytes);  // what stood on the fibers is gone
  fibers_made = 0;
  free_fibers.clear();
  return false;
}

}  // namespace simt
