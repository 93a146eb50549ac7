// The memory a device gives out. Large blocks that come back are kept for the next that fits, never more in all than was once in use at
// a time: a fresh page must be cleared, and in a virtual machine found, at a tenth of the memory's speed. Meanwhile the system may take
// what is in them.
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
  struct Block {
    void *start;
    size_t mapped;
    int64_t asked;
  };

  Block take(size_t bytes);
  void unmap_kept(size_t most);

  std::unordered_map<void *, Block> blocks_;
  std::multimap<size_t, void *> kept_;  // by size; where they start
  size_t kept_bytes_ = 0, used_bytes_ = 0, most_used_ = 0;
  int64_t allocated_ = 0;  // without the scratch
  void *scratch_ = nullptr;
  int64_t scratch_bytes_ = 0;
};

// Of the machine.
int64_t physical_memory_bytes();

}  // namespace lethe
