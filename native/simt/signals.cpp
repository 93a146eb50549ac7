// With the option `signals`: a segmentation fault in a kernel fails its launch, instead of ending the process. For programs of
// tests only: a JVM has handlers of its own, which must stay.
#include "context.h"

#if defined(__SANITIZE_ADDRESS__)

void simt::catch_signals() {}  // the sanitizer has handlers of its own

#else

#include <signal.h>
#include <ucontext.h>

#include <cstdio>
#include <cstring>
#include <mutex>

#include "heap.h"

namespace simt {
namespace {

constexpr size_t kSignalStackBytes = 64 << 10;

// Where the thread goes on after the handler: on the fiber's stack, from its top, since nothing on it is needed any more.
[[noreturn]] void abandon() { leave_fiber(multiprocessor->home); }

void faulted(int signal, siginfo_t *info, void *context) {
  Multiprocessor *const m = multiprocessor;
  if (m == nullptr || m->current == nullptr || m->current->fiber == nullptr) {
    ::signal(signal, SIG_DFL);
    return;  // and faults again
  }
  greg_t *const registers = static_cast<ucontext_t *>(context)->uc_mcontext.gregs;
  const Fiber &fiber = *m->current->fiber;
  m->failure.status = cudaErrorIllegalAddress;
  m->failure.kind = "fault";
  m->failure.instruction = reinterpret_cast<void *>(registers[REG_RIP] + 1);
  const char *const address = static_cast<const char *>(info->si_addr);
  if (address >= fiber.stack && address < fiber.stack + 4096) {
    m->failure.kind = "stack-overflow";
    std::snprintf(m->failure.what, sizeof m->failure.what, "the thread's local memory is beyond %zu bytes", kStackBytes);
  } else if (m->shared.contains(address) || m->shared.offset(address) < SharedMemory::kBytes + 4096) {
    std::snprintf(m->failure.what, sizeof m->failure.what, "beyond the end of shared memory");
  } else if (Heap::contains(address)) {
    std::snprintf(m->failure.what, sizeof m->failure.what, "%s", Heap::get().describe(address).c_str());
  } else {
    std::snprintf(m->failure.what, sizeof m->failure.what, "address %p, which is not the device's", info->si_addr);
  }
  registers[REG_RSP] = static_cast<greg_t>((reinterpret_cast<uintptr_t>(fiber.stack) + fiber.stack_bytes - 4096) & ~uintptr_t{63}) - 8;
  registers[REG_RIP] = reinterpret_cast<greg_t>(&abandon);
}

}  // namespace

void catch_signals() {
  if (!options().signals) return;
  struct SignalStack {
    alignas(64) char bytes[kSignalStackBytes];
  };
  // of every thread that runs blocks, for a fiber's own may be what has overflowed
  static thread_local std::unique_ptr<SignalStack> stack;
  if (stack != nullptr) return;
  stack = std::make_unique<SignalStack>();
  const stack_t alternative = {.ss_sp = stack->bytes, .ss_flags = 0, .ss_size = kSignalStackBytes};
  sigaltstack(&alternative, nullptr);
  static std::once_flag installed;
  std::call_once(installed, [] {
    struct sigaction action = {};
    action.sa_sigaction = faulted;
    action.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER;
    sigaction(SIGSEGV, &action, nullptr);
    sigaction(SIGBUS, &action, nullptr);
  });
}

}  // namespace simt

#endif
