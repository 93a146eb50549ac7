// The memory a device gives out. Large blocks lie side by side in a range of addresses that is reserved once, and what comes back is for
// the next: a fresh page must be cleared, and in a virtual machine found, at a tenth of the memory's speed. Meanwhile the system may take
// what is in it; and before the range grows, what did not fit is given up, so that no more is kept than was once in use at a time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <unordered_map>

namespace lethe {

class Memory {
 public:
  Memory();
  ~Memory();
  Memory(const Memory &) = delete;
  Memory &operator=(const Memory &) = delete;

  // 64-byte aligned; 2 MiB aligned, and in huge pages where the kernel has them, from 4 MiB up. NULL where memory ends.
  void *allocate(int64_t bytes);
  // false: allocate did not give this address.
  bool release(void *address);

  // What one operation needs while it runs: grows, is kept. NULL where memory ends.
  void *scratch(int64_t bytes);

  int64_t allocated_bytes() const { return allocated_; }

 private:
  using Ranges = std::map<char *, size_t>;  // where they start, their bytes

  void *take_large(size_t bytes);
  void *extend(size_t bytes);
  void put_back(char *start, size_t bytes);

  std::unordered_map<void *, int64_t> blocks_;  // their bytes, as asked for
  char *reserve_ = nullptr, *top_ = nullptr, *end_ = nullptr;
  Ranges free_;  // between reserve_ and top_; no two touch
  int64_t allocated_ = 0;  // without the scratch
  void *scratch_ = nullptr;
  int64_t scratch_bytes_ = 0;
};

// Of the machine.
int64_t physical_memory_bytes();

}  // namespace lethe
