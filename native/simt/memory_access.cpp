// Memory that kernels reach through the emulator: shared variables, asynchronous copies, atomics.
#include <algorithm>
#include <cstring>

#include "multiprocessor.h"
#include "shadow.h"

namespace simt {
namespace {

void perform(AsyncCopy &copy) {
  if (copy.valid) {
    std::memcpy(copy.shared, copy.global, 16);
  } else {
    std::memset(copy.shared, 0, 16);
  }
  copy.copied = true;
}

bool early(Multiprocessor &m) {
  const CopyTime time = options().copies;
  return time == CopyTime::kEarly || (time == CopyTime::kRandom && (m.random() & 1u) != 0);
}

}  // namespace

void *shared_variable(const void *key, size_t bytes, size_t alignment, const char *name) {
  Multiprocessor &m = *multiprocessor;
  void *variable = m.shared.variable(key, bytes, alignment, name);
  if (variable == nullptr) {
    fail(cudaErrorLaunchOutOfResources, "shared-memory", "no room for the %zu bytes of %s beside %zu of dynamic shared memory", bytes, name,
         m.shared.dynamic_bytes());
  }
  return variable;
}

void *dynamic_shared() { return multiprocessor->shared.dynamic(); }

void copy_16(void *shared, const void *global, bool valid, Site site) {
  Multiprocessor &m = *multiprocessor;
  Thread &self = *m.current;
  if (reinterpret_cast<uintptr_t>(shared) % 16 != 0 || (valid && reinterpret_cast<uintptr_t>(global) % 16 != 0)) {
    fail(cudaErrorMisalignedAddress, "misaligned", "copy_async at %s:%d: from %p to %p, not both multiples of 16", site.file, site.line,
         global, shared);
  }
  if (!m.shared.contains(shared)) {
    fail(cudaErrorInvalidAddressSpace, "not-shared", "copy_async at %s:%d: the target %p is not in shared memory", site.file, site.line,
         shared);
  }
  if (valid && m.shared.contains(global)) {
    fail(cudaErrorInvalidAddressSpace, "not-global", "copy_async at %s:%d: the source %p is in shared memory", site.file, site.line,
         global);
  }
  self.site = site;
  if (valid) check_access(global, 16, Access::kRead, self);
  check_access(shared, 16, Access::kWrite, self);
  shadow_of_shared(m.shared, shared, 16, Shadow::kCopying);
  AsyncCopy copy = {static_cast<char *>(shared), static_cast<const char *>(global), valid, false, self.groups};
  if (early(m)) perform(copy);
  m.copies[self.index].push_back(copy);
}

void commit_copies() { multiprocessor->current->groups++; }

void wait_for_copies_but(int pending, Site) {
  Multiprocessor &m = *multiprocessor;
  Thread &self = *m.current;
  const auto finished = [&](AsyncCopy &copy) {
    // exiting waits for what was never committed too
    if (pending >= 0 && copy.group >= self.groups - pending) return false;
    if (!copy.copied) perform(copy);
    shadow_of_shared(m.shared, copy.shared, 16, Shadow::kDefined);
    check_access(copy.shared, 16, Access::kWrite, self);
    return true;
  };
  std::erase_if(m.copies[self.index], finished);
}

template <class Integer>
Integer atomic(Atomic how, Integer *address, Integer value) {
  check_access(address, sizeof(Integer), Access::kAtomic, *multiprocessor->current, __builtin_return_address(0));
  return atomic_unchecked(how, address, value);
}

template <class Integer>
Integer atomic_unchecked(Atomic how, Integer *address, Integer value) {
  switch (how) {
    case Atomic::kAdd: return __atomic_fetch_add(address, value, __ATOMIC_RELAXED);
    case Atomic::kAnd: return __atomic_fetch_and(address, value, __ATOMIC_RELAXED);
    case Atomic::kOr: return __atomic_fetch_or(address, value, __ATOMIC_RELAXED);
    case Atomic::kXor: return __atomic_fetch_xor(address, value, __ATOMIC_RELAXED);
    case Atomic::kExchange: return __atomic_exchange_n(address, value, __ATOMIC_RELAXED);
    case Atomic::kMin:
    case Atomic::kMax: break;
  }
  Integer old = __atomic_load_n(address, __ATOMIC_RELAXED);
  while (!__atomic_compare_exchange_n(address, &old, how == Atomic::kMin ? std::min(old, value) : std::max(old, value), true,
                                      __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {
  }
  return old;
}

template <class Integer>
Integer atomic_compare_and_swap(Integer *address, Integer expected, Integer value) {
  check_access(address, sizeof(Integer), Access::kAtomic, *multiprocessor->current, __builtin_return_address(0));
  __atomic_compare_exchange_n(address, &expected, value, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED);
  return expected;
}

#define SIMT_ATOMIC(Integer)                                     \
  template Integer atomic(Atomic, Integer *, Integer);           \
  template Integer atomic_unchecked(Atomic, Integer *, Integer); \
  template Integer atomic_compare_and_swap(Integer *, Integer, Integer);
SIMT_ATOMIC(int)
SIMT_ATOMIC(unsigned)
SIMT_ATOMIC(unsigned long long)
#undef SIMT_ATOMIC

}  // namespace simt
