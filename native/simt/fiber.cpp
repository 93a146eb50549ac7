#include "fiber.h"

#include <cstdint>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/common_interface_defs.h>
#endif

// void simt_switch_stack(void **save, void *to): the callee-saved registers of the System V ABI, and the stack pointer.
asm(R"(
.text
.hidden simt_switch_stack
.globl simt_switch_stack
.type simt_switch_stack, @function
simt_switch_stack:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size simt_switch_stack, . - simt_switch_stack
)");
extern "C" __attribute__((visibility("hidden"))) void simt_switch_stack(void **save, void *to);

namespace simt {

void prepare(Fiber &fiber, void (*entry)(), size_t stagger) {
  const uintptr_t top = (reinterpret_cast<uintptr_t>(fiber.stack) + fiber.stack_bytes - stagger) & ~uintptr_t{63};
  uintptr_t *words = reinterpret_cast<uintptr_t *>(top);
  *--words = 0;  // a return address for entry(), which has none to return to
  *--words = reinterpret_cast<uintptr_t>(entry);
  for (int saved = 0; saved < 6; saved++) *--words = 0;
  fiber.stack_pointer = words;
  fiber.fake_stack = nullptr;
}

#if defined(__SANITIZE_ADDRESS__)

static thread_local Fiber *left = nullptr;  // for another, or NULL where never to come back

// The sanitizer knows the stack that was left: the first one, of which the fiber does not know it yet, too.
static void arrived(void *fake_stack) {
  const void *bottom = nullptr;
  size_t bytes = 0;
  __sanitizer_finish_switch_fiber(fake_stack, &bottom, &bytes);
  if (left == nullptr) return;
  left->stack = static_cast<char *>(const_cast<void *>(bottom));
  left->stack_bytes = bytes;
}

void switch_fiber(Fiber &from, Fiber &to) {
  left = &from;
  __sanitizer_start_switch_fiber(&from.fake_stack, to.stack, to.stack_bytes);
  simt_switch_stack(&from.stack_pointer, to.stack_pointer);
  arrived(from.fake_stack);
}

void leave_fiber(Fiber &to) {
  void *nowhere;
  left = nullptr;
  __sanitizer_start_switch_fiber(nullptr, to.stack, to.stack_bytes);
  simt_switch_stack(&nowhere, to.stack_pointer);
  __builtin_unreachable();
}

void arrived_in_fiber() { arrived(nullptr); }

#else

void switch_fiber(Fiber &from, Fiber &to) { simt_switch_stack(&from.stack_pointer, to.stack_pointer); }

void leave_fiber(Fiber &to) {
  void *nowhere;
  simt_switch_stack(&nowhere, to.stack_pointer);
  __builtin_unreachable();
}

void arrived_in_fiber() {}

#endif

}  // namespace simt
