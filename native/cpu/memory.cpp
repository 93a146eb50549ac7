#include "memory.h"

#include <sys/mman.h>
#include <unistd.h>

#include <iterator>

namespace lethe {
namespace {

constexpr size_t kHugePage = size_t{2} << 20;
constexpr size_t kHugeFrom = 2 * kHugePage;

size_t round_up(size_t bytes, size_t to) { return (bytes + to - 1) / to * to; }

bool is_large(int64_t bytes) { return static_cast<size_t>(bytes) >= kHugeFrom; }

// What a block of so many bytes takes.
size_t mapped(int64_t bytes) {
  return round_up(static_cast<size_t>(bytes), is_large(bytes) ? kHugePage : static_cast<size_t>(sysconf(_SC_PAGESIZE)));
}

void *map(size_t bytes, int protection) {
  void *start = mmap(nullptr, bytes, protection, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  return start == MAP_FAILED ? nullptr : start;
}

}  // namespace

int64_t physical_memory_bytes() { return int64_t{sysconf(_SC_PHYS_PAGES)} * sysconf(_SC_PAGESIZE); }

Memory::Memory() = default;

Memory::~Memory() {
  for (const auto &[address, bytes] : blocks_) {
    if (!is_large(bytes)) munmap(address, mapped(bytes));
  }
  if (reserve_ != nullptr) munmap(reserve_, static_cast<size_t>(end_ - reserve_));
}

// The first free range that has so many bytes, or the end.
void *Memory::take_large(size_t bytes) {
  for (auto range = free_.begin(); range != free_.end(); ++range) {
    const auto [start, size] = *range;
    if (size < bytes) continue;
    free_.erase(range);
    if (size > bytes) free_.emplace(start + bytes, size - bytes);
    return start;
  }
  return extend(bytes);
}

// So many bytes at the end, a free range there among them.
void *Memory::extend(size_t bytes) {
  if (reserve_ == nullptr) {
    // Addresses cost nothing. Twice the memory, since blocks of other sizes leave gaps; less where a limit is set on addresses.
    size_t size = round_up(2 * static_cast<size_t>(physical_memory_bytes()), kHugePage);
    while ((reserve_ = static_cast<char *>(map(size + kHugePage, PROT_NONE))) == nullptr && size / 2 >= bytes) {
      size = round_up(size / 2, kHugePage);
    }
    if (reserve_ == nullptr) return nullptr;
    end_ = reserve_ + size + kHugePage;
    top_ = reinterpret_cast<char *>(round_up(reinterpret_cast<size_t>(reserve_), kHugePage));
    madvise(top_, static_cast<size_t>(end_ - top_), MADV_HUGEPAGE);  // a wish: refused, small pages do
  }
  char *start = top_;
  if (!free_.empty()) {
    const auto [last, size] = *std::prev(free_.end());
    if (last + size == top_) start = last;
  }
  const size_t fresh = bytes - static_cast<size_t>(top_ - start);
  if (fresh > static_cast<size_t>(end_ - top_) || mprotect(top_, fresh, PROT_READ | PROT_WRITE) != 0) return nullptr;
  top_ += fresh;
  free_.erase(start);
  for (const auto &[other, size] : free_) madvise(other, size, MADV_DONTNEED);
  return start;
}

void Memory::put_back(char *start, size_t bytes) {
  madvise(start, bytes, MADV_FREE);  // refused, it stays what it is
  auto range = free_.emplace(start, bytes).first;
  const auto next = std::next(range);
  if (next != free_.end() && start + bytes == next->first) {
    range->second += next->second;
    free_.erase(next);
  }
  if (range == free_.begin()) return;
  const auto before = std::prev(range);
  if (before->first + before->second == start) {
    before->second += range->second;
    free_.erase(range);
  }
}

void *Memory::allocate(int64_t bytes) {
  // A mapping beyond the machine's memory may well succeed, and the process be killed when it is touched.
  if (bytes > physical_memory_bytes() - allocated_) return nullptr;
  const size_t size = mapped(bytes);
  void *address = is_large(bytes) ? take_large(size) : map(size, PROT_READ | PROT_WRITE);
  if (address == nullptr) return nullptr;
  blocks_.emplace(address, bytes);
  allocated_ += bytes;
  return address;
}

bool Memory::release(void *address) {
  const auto found = blocks_.find(address);
  if (found == blocks_.end()) return false;
  const int64_t bytes = found->second;
  allocated_ -= bytes;
  blocks_.erase(found);
  if (is_large(bytes)) {
    put_back(static_cast<char *>(address), mapped(bytes));
  } else {
    munmap(address, mapped(bytes));
  }
  return true;
}

void *Memory::scratch(int64_t bytes) {
  if (bytes > scratch_bytes_) {
    if (scratch_ != nullptr) {
      release(scratch_);
      allocated_ += scratch_bytes_;
    }
    scratch_bytes_ = 0;
    scratch_ = allocate(bytes);
    if (scratch_ == nullptr) return nullptr;
    allocated_ -= bytes;
    scratch_bytes_ = bytes;
  }
  return scratch_;
}

}  // namespace lethe
