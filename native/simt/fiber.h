// Fibers: stacks of their own, on which CUDA threads run until they wait for each other.
#pragma once

#include <cstddef>

namespace simt {

#if defined(__SANITIZE_ADDRESS__)
constexpr size_t kStackBytes = 256 << 10;
#else
constexpr size_t kStackBytes = 64 << 10;
#endif

struct Fiber {
  void *stack_pointer = nullptr;  // while it does not run
  char *stack = nullptr;          // lowest address; the page there is a guard
  size_t stack_bytes = 0;
  void *fake_stack = nullptr;  // the address sanitizer's
};

// Lays a fresh start on the stack: the first switch to the fiber calls entry(), which must never return. `stagger` in
// [0, 4096) moves the top of the stack down, so that the stacks of a block's threads do not share the sets of the cache.
void prepare(Fiber &fiber, void (*entry)(), size_t stagger);

// Goes on in `to`; returns when something switches back to `from`.
void switch_fiber(Fiber &from, Fiber &to);
// The same, never to come back.
[[noreturn]] void leave_fiber(Fiber &to);
// First thing in entry().
void arrived_in_fiber();

}  // namespace simt
