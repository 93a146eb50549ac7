// The shared memory of a block: variables with red zones between them, and the dynamic part, which ends at a page that faults.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace simt {

constexpr size_t kMostSharedBytes = 232448;       // a block's, static and dynamic, on sm_90
constexpr size_t kMostStaticSharedBytes = 49152;  // of variables

class SharedMemory {
 public:
  struct Variable {
    const void *key;
    const char *name;
    char *address;
    size_t bytes;
  };

  SharedMemory();
  ~SharedMemory();
  SharedMemory(const SharedMemory &) = delete;
  SharedMemory &operator=(const SharedMemory &) = delete;

  // For a fresh block: no variables, contents undefined (NaN as floating-point numbers).
  void begin(size_t dynamic_bytes);
  // NULL where static shared memory ends.
  void *variable(const void *key, size_t bytes, size_t alignment, const char *name);
  char *dynamic() const { return dynamic_.address; }
  size_t dynamic_bytes() const { return dynamic_.bytes; }

  // The variable after whose end something was written, or NULL.
  const Variable *overrun() const;

  bool contains(const void *address) const { return offset(address) < kBytes; }
  size_t offset(const void *address) const { return static_cast<size_t>(static_cast<const char *>(address) - begin_); }
  char *at(uint32_t offset) const { return begin_ + offset; }
  // Whether all of these bytes are one variable's.
  bool covers(const void *address, size_t bytes) const;
  // The variable that the address lies in or next to, or NULL.
  const Variable *nearest(const void *address) const;

  static constexpr size_t kBytes = 512 << 10;  // of addresses

 private:
  void give(Variable variable);

  char *begin_;
  char *top_;  // of the variables
  Variable dynamic_ = {};
  size_t static_bytes_ = 0;
  std::vector<Variable> variables_;
};

}  // namespace simt
