// The state of one block while it runs: its threads, warps, barrier and shared memory, on one thread of the operating system.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "fiber.h"
#include "options.h"
#include "shared_memory.h"
#include "simt.h"

namespace simt {

namespace ptx {
struct Kernel;
class Block;
}  // namespace ptx

constexpr unsigned kLanes = 32, kMostThreads = 1024, kMostWarps = kMostThreads / kLanes;

// What threads of a warp, or of a block, do together.
enum class Together : uint8_t {
  kNothing,
  kSyncwarp,
  kShuffle,
  kVote,
  kMatch,
  kLoadMatrix,
  kLoadMatrixTransposed,
  kMultiplyAccumulate,
  kBarrier,
};
const char *name_of(Together what);

// An asynchronous copy of 16 bytes to shared memory that its thread has not waited for yet.
struct AsyncCopy {
  char *shared;
  const char *global;
  bool valid;   // else zeros
  bool copied;  // though nobody may know it yet
  int group;
};

struct Warp;

struct Thread : Place {
  Fiber *fiber;  // NULL before it starts
  Warp *warp;
  unsigned index;  // in its block
  unsigned lane;
  Together waits_for;  // until it goes on, though it may be ready to
  Site site;  // of what it waits for
  int groups;  // of asynchronous copies, committed
};

// Threads of a warp that come together to do one thing: those of `mask`.
struct Meeting {
  unsigned mask;
  unsigned arrived;
  Together what;
  int detail;  // must be the same for all of them
  Site site;
};

struct Warp {
  unsigned live;   // lanes that have not exited
  unsigned ready;  // lanes that may go on
  uint32_t epoch;  // counts __syncwarp of all live lanes: what came before is seen by what comes after
  Thread *threads;
  // what each arrived lane brings to its meeting, and takes from it; together, so that one lane reaches them all quickly
  uint64_t value[kLanes], result[kLanes];
  int by[kLanes];
  void *offered[kLanes];
  int meetings;
  Meeting meeting[kLanes];
};

struct BarrierState {
  unsigned arrived;
  unsigned first;  // the thread that came first
  Site site;
  bool any, all;
  int count;
};

// Of the latest barrier that let the block pass; nobody passes the next before all have read it.
struct BarrierResult {
  bool any, all;
  int count;
};

// A launch, as its blocks see it.
struct Grid {
  dim3 size, block;
  size_t shared;  // bytes of dynamic shared memory
  const Call *call;
  const ptx::Kernel *ptx = nullptr;   // that is run instead, where not NULL
  std::vector<char> ptx_parameters = {};
};

// What went wrong.
struct Failure {
  cudaError_t status = cudaSuccess;
  const char *kind = "";
  char what[768];
  const void *instruction = nullptr;  // in the kernel, where known
};

class Multiprocessor {
 public:
  Multiprocessor();
  ~Multiprocessor();
  Multiprocessor(const Multiprocessor &) = delete;
  Multiprocessor &operator=(const Multiprocessor &) = delete;

  // Makes it ready for the blocks of a launch.
  void begin(const Grid &grid);
  // Runs one block to its end. False where it failed: failure then says how, and no other block may follow.
  bool run(uint3 block);

  bool owns(const void *address) const {
    return static_cast<size_t>(static_cast<const char *>(address) - region) < region_bytes;
  }
  uint64_t random() {
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    return random_state ^= random_state << 17;
  }

  char *region;  // threads, then the stacks of fibers
  size_t region_bytes;
  Thread *threads;
  Warp warps[kMostWarps];
  std::unique_ptr<ptx::Block> ptx_block;  // where kernels are run from PTX
  std::vector<std::vector<AsyncCopy>> copies;  // a thread's, which it has not waited for
  SharedMemory shared;
  BarrierState barrier;
  BarrierResult barrier_result;
  Failure failure;

  const Grid *grid = nullptr;
  uint3 block;
  Thread *current = nullptr;  // NULL outside of kernels
  unsigned thread_count;
  unsigned live;         // threads
  uint32_t ready_warps;  // those with a lane that may go on

  // While the checker itself works: the code of the standard library that it shares with kernels is instrumented as theirs is.
  bool checking = false;

  // Clocks of the checker: what two threads do in different epochs of a block is ordered by a barrier between.
  uint32_t epoch = 1, block_epoch = 1, launch_epoch = 1;

  Fiber home;  // the stack that run() was called on
  std::vector<Fiber> fibers;
  std::vector<Fiber *> free_fibers;
  unsigned fibers_made = 0;
  Order order = Order::kForward;
  uint64_t random_state = 1;
};

// The one that runs a block on this thread of the operating system, or NULL.
[[gnu::tls_model("initial-exec")]] extern thread_local constinit Multiprocessor *multiprocessor;

// ---- scheduling (scheduler.cpp) -----------------------------------------------------------------------------------------

// Lets another thread run until the current one is ready again; somebody must have put down what it waits for.
void suspend(Multiprocessor &m);
void make_ready(Multiprocessor &m, Warp &warp, unsigned lanes);

// An atomic operation that has been checked.
template <class Integer>
Integer atomic_unchecked(Atomic how, Integer *address, Integer value);

// ---- failing ------------------------------------------------------------------------------------------------------------

// Ends the launch: the block that runs is left as it stands. Only on a fiber.
[[noreturn, gnu::cold, gnu::format(printf, 3, 4)]] void fail(cudaError_t status, const char *kind, const char *format, ...);
[[noreturn, gnu::cold, gnu::format(printf, 4, 5)]] void fail_at(const void *instruction, cudaError_t status, const char *kind,
                                                                 const char *format, ...);

}  // namespace simt
