// The device's memory: every allocation on pages of its own, which fault behind its end, and for good once it is freed.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <mutex>
#include <string>

namespace simt {

class Heap {
 public:
  static Heap &get();

  // Aligned to 256 bytes, contents undefined (NaN as floating-point numbers). NULL where memory ends.
  void *allocate(size_t bytes);
  // False where no such allocation lives.
  bool release(void *address);
  // Of live allocations.
  size_t used();
  size_t limit() const;

  // Whether the address is one of the device's, allocated or not. Needs no heap to be there yet.
  static bool contains(const void *address) {
    return static_cast<size_t>(static_cast<const char *>(address) - begin_) < reserved_;
  }
  static size_t offset(const void *address) { return static_cast<size_t>(static_cast<const char *>(address) - begin_); }
  static size_t reserved() { return reserved_; }
  // Whether all of these bytes lie in one live allocation.
  bool covers(const void *address, size_t bytes);
  // An allocation outside of which something was written, in words, or "".
  std::string overrun();
  // "byte 128 of an allocation of 64 bytes", for an address in or next to one.
  std::string describe(const void *address);

 private:
  struct Allocation {
    size_t bytes;
    bool live;
  };

  Heap();
  char *pages(size_t bytes);
  void give_back(char *first, size_t bytes);
  static bool mend(char *address, const Allocation &allocation);
  std::string describe_locked(const char *address) const;

  std::mutex mutex_;
  static constinit char *begin_;
  static constinit size_t reserved_;
  size_t next_ = 0;  // offset that no allocation has had
  size_t used_ = 0;
  std::map<char *, Allocation> allocations_;
  std::map<char *, size_t> free_;  // bytes that may be had again, once no fresh ones are left
};

}  // namespace simt
