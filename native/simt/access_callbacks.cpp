// What the compiler calls before every access of instrumented code (-fsanitize=thread), answered by the checker.
#if defined(SIMT_CHECK)

#include <cstddef>
#include <cstdint>

#include "checker.h"
#include "context.h"
#include "heap.h"

namespace {

using simt::Access;

[[gnu::tls_model("initial-exec")]] thread_local constinit bool telling = false;  // of host code, which must not be told of again

void on_access(const void *address, size_t bytes, Access access, bool aligned, const void *instruction) {
  simt::Multiprocessor *const m = simt::multiprocessor;
  if (m != nullptr && m->current != nullptr) {
    if (m->checking) return;
    m->checking = true;
    if (aligned) simt::check_aligned(address, bytes, access, *m->current, instruction);
    simt::check_access(address, bytes, access, *m->current, instruction);
    m->checking = false;
  } else if (simt::Heap::contains(address) && !telling) {
    telling = true;
    if (simt::lost() == cudaSuccess) {
      simt::failed(cudaErrorIllegalAddress, "host-access: the host's code touches device memory, " + simt::Heap::get().describe(address) +
                                                ", at " + simt::place_of(instruction));
    }
    telling = false;
  }
}

}  // namespace

// GCC's names and signatures; all hidden, since a real thread sanitizer has the same.
#pragma GCC visibility push(hidden)
#pragma GCC diagnostic ignored "-Wmissing-declarations"
extern "C" {

#define SIMT_ACCESS(bytes)                                                                                                               \
  void __tsan_read##bytes(void *address) { on_access(address, bytes, Access::kRead, true, __builtin_return_address(0)); }               \
  void __tsan_write##bytes(void *address) { on_access(address, bytes, Access::kWrite, true, __builtin_return_address(0)); }             \
  void __tsan_unaligned_read##bytes(void *address) { on_access(address, bytes, Access::kRead, false, __builtin_return_address(0)); }    \
  void __tsan_unaligned_write##bytes(void *address) { on_access(address, bytes, Access::kWrite, false, __builtin_return_address(0)); }  \
  void __tsan_volatile_read##bytes(void *address) { on_access(address, bytes, Access::kRead, true, __builtin_return_address(0)); }      \
  void __tsan_volatile_write##bytes(void *address) { on_access(address, bytes, Access::kWrite, true, __builtin_return_address(0)); }
SIMT_ACCESS(1)
SIMT_ACCESS(2)
SIMT_ACCESS(4)
SIMT_ACCESS(8)
SIMT_ACCESS(16)
#undef SIMT_ACCESS

void __tsan_read_range(void *address, size_t bytes) {
  on_access(address, bytes, Access::kRead, false, __builtin_return_address(0));
}
void __tsan_write_range(void *address, size_t bytes) {
  on_access(address, bytes, Access::kWrite, false, __builtin_return_address(0));
}

void __tsan_init() {}
void __tsan_func_entry(void *) {}
void __tsan_func_exit() {}
void __tsan_vptr_update(void **, void *) {}
void __tsan_vptr_read(void **) {}

// The host code's atomic operations (shared pointers), as they are. Memory orders are the strongest.
#define SIMT_ATOMIC(bits, Integer)                                                                                              \
  Integer __tsan_atomic##bits##_load(const volatile Integer *address, int) { return __atomic_load_n(address, __ATOMIC_SEQ_CST); } \
  void __tsan_atomic##bits##_store(volatile Integer *address, Integer value, int) {                                             \
    __atomic_store_n(address, value, __ATOMIC_SEQ_CST);                                                                         \
  }                                                                                                                             \
  Integer __tsan_atomic##bits##_exchange(volatile Integer *address, Integer value, int) {                                       \
    return __atomic_exchange_n(address, value, __ATOMIC_SEQ_CST);                                                               \
  }                                                                                                                             \
  Integer __tsan_atomic##bits##_fetch_add(volatile Integer *address, Integer value, int) {                                      \
    return __atomic_fetch_add(address, value, __ATOMIC_SEQ_CST);                                                                \
  }                                                                                                                             \
  Integer __tsan_atomic##bits##_fetch_sub(volatile Integer *address, Integer value, int) {                                      \
    return __atomic_fetch_sub(address, value, __ATOMIC_SEQ_CST);                                                                \
  }                                                                                                                             \
  int __tsan_atomic##bits##_compare_exchange_strong(volatile Integer *address, Integer *expected, Integer value, int, int) {    \
    return __atomic_compare_exchange_n(address, expected, value, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);                    \
  }                                                                                                                             \
  int __tsan_atomic##bits##_compare_exchange_weak(volatile Integer *address, Integer *expected, Integer value, int, int) {      \
    return __atomic_compare_exchange_n(address, expected, value, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);                    \
  }
SIMT_ATOMIC(8, unsigned char)
SIMT_ATOMIC(32, unsigned)
SIMT_ATOMIC(64, unsigned long)
#undef SIMT_ATOMIC

void __tsan_atomic_thread_fence(int) { __atomic_thread_fence(__ATOMIC_SEQ_CST); }
}
#pragma GCC visibility pop

#endif
