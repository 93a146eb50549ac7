#include "memory.h"

#include <sys/mman.h>
#include <unistd.h>

namespace lethe {
namespace {

constexpr size_t kHugePage = size_t{2} << 20;
constexpr size_t kHugeFrom = 2 * kHugePage;

size_t round_up(size_t bytes, size_t to) { return (bytes + to - 1) / to * to; }

}  // namespace

int64_t physical_memory_bytes() { return int64_t{sysconf(_SC_PHYS_PAGES)} * sysconf(_SC_PAGESIZE); }

Memory::Memory() = default;

Memory::~Memory() {
  for (const auto &[address, block] : blocks_) munmap(block.start, block.mapped);
}

void *Memory::allocate(int64_t bytes) {
  // A mapping beyond the machine's memory may well succeed, and the process be killed when it is touched.
  if (bytes > physical_memory_bytes() - allocated_) return nullptr;
  const bool huge = static_cast<size_t>(bytes) >= kHugeFrom;
  const size_t page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  const size_t mapped = huge ? round_up(static_cast<size_t>(bytes), kHugePage) + kHugePage : round_up(static_cast<size_t>(bytes), page);
  void *start = mmap(nullptr, mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (start == MAP_FAILED) return nullptr;
  void *address = start;
  if (huge) {
    address = reinterpret_cast<void *>(round_up(reinterpret_cast<size_t>(start), kHugePage));
    madvise(address, round_up(static_cast<size_t>(bytes), kHugePage), MADV_HUGEPAGE);  // a wish: refused, small pages do
  }
  try {
    blocks_.emplace(address, Block{start, mapped, bytes});
  } catch (...) {
    munmap(start, mapped);
    return nullptr;
  }
  allocated_ += bytes;
  return address;
}

bool Memory::release(void *address) {
  const auto found = blocks_.find(address);
  if (found == blocks_.end()) return false;
  munmap(found->second.start, found->second.mapped);
  allocated_ -= found->second.asked;
  blocks_.erase(found);
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
