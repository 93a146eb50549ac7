// What is known of every byte of device and shared memory: to the address sanitizer, and in the checking build to the checker.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#endif

namespace simt {

class SharedMemory;
struct Thread;

// For the address sanitizer: whether the program may touch these bytes.
inline void allow([[maybe_unused]] const void *address, [[maybe_unused]] size_t bytes) {
#if defined(__SANITIZE_ADDRESS__)
  __asan_unpoison_memory_region(address, bytes);
#endif
}
inline void forbid([[maybe_unused]] const void *address, [[maybe_unused]] size_t bytes) {
#if defined(__SANITIZE_ADDRESS__)
  __asan_poison_memory_region(address, bytes);
#endif
}

enum class Shadow : uint8_t { kOutside, kUndefined, kDefined, kCopying };
enum class Access : uint8_t { kRead, kWrite, kAtomic };

// What is wrong with an access by the host side (a copy, a matrix product) to device memory, or "": bounds in every build, in the
// checking build bytes that were never written too, and with strict that it is the device's memory at all.
std::string check_device_range(const void *address, size_t bytes, Access access);

#if defined(SIMT_CHECK)
void shadow_of_shared(const SharedMemory &shared, const void *address, size_t bytes, Shadow shadow);
void shadow_of_device(const void *address, size_t bytes, Shadow shadow);
// What the emulator does for a thread, as if the thread's own code had done it. Fails the launch where it may not.
void check_access(const void *address, size_t bytes, Access access, Thread &thread, const void *instruction = nullptr);
#else
inline void shadow_of_shared(const SharedMemory &, const void *, size_t, Shadow) {}
inline void shadow_of_device(const void *, size_t, Shadow) {}
inline void check_access(const void *, size_t, Access, Thread &, const void * = nullptr) {}
#endif

}  // namespace simt
