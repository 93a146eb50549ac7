#include "memory.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <iterator>

namespace lethe {
namespace {

constexpr size_t kHugePage = size_t{2} << 20;
constexpr size_t kHugeFrom = 2 * kHugePage;

size_t round_up(size_t bytes, size_t to) { return (bytes + to - 1) / to * to; }

}  // namespace

int64_t physical_memory_bytes() { return int64_t{sysconf(_SC_PHYS_PAGES)} * sysconf(_SC_PAGESIZE); }

Memory::Memory() = default;

Memory::~Memory() {
  unmap_kept(0);
  for (const auto &[address, block] : blocks_) munmap(block.start, block.mapped);
}

// Unmaps the largest kept blocks until they are no more than `most` bytes.
void Memory::unmap_kept(size_t most) {
  while (kept_bytes_ > most) {
    const auto largest = std::prev(kept_.end());
    munmap(largest->second, largest->first);
    kept_bytes_ -= largest->first;
    kept_.erase(largest);
  }
}

// A mapping of at least so many bytes: a kept one of which it is a quarter or more, or a fresh one.
Memory::Block Memory::take(size_t bytes) {
  Block block{MAP_FAILED, bytes, 0};
  const auto kept = kept_.lower_bound(bytes);
  if (kept != kept_.end() && kept->first / 4 <= bytes) {
    block = {kept->second, kept->first, 0};
    kept_bytes_ -= kept->first;
    kept_.erase(kept);
  } else {
    const size_t used = used_bytes_ + bytes;
    unmap_kept(most_used_ > used ? most_used_ - used : 0);
    const auto map = [bytes] { return mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0); };
    block.start = map();
    if (block.start == MAP_FAILED && kept_bytes_ > 0) {
      unmap_kept(0);
      block.start = map();
    }
    if (block.start == MAP_FAILED) return block;
  }
  used_bytes_ += block.mapped;
  most_used_ = std::max(most_used_, used_bytes_);
  return block;
}

void *Memory::allocate(int64_t bytes) {
  // A mapping beyond the machine's memory may well succeed, and the process be killed when it is touched.
  if (bytes > physical_memory_bytes() - allocated_) return nullptr;
  const bool huge = static_cast<size_t>(bytes) >= kHugeFrom;
  const size_t page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  const size_t mapped = huge ? round_up(static_cast<size_t>(bytes), kHugePage) + kHugePage : round_up(static_cast<size_t>(bytes), page);
  Block block = take(mapped);
  if (block.start == MAP_FAILED) return nullptr;
  block.asked = bytes;
  void *address = block.start;
  if (huge) {
    address = reinterpret_cast<void *>(round_up(reinterpret_cast<size_t>(block.start), kHugePage));
    madvise(address, round_up(static_cast<size_t>(bytes), kHugePage), MADV_HUGEPAGE);  // a wish: refused, small pages do
  }
  try {
    blocks_.emplace(address, block);
  } catch (...) {
    munmap(block.start, block.mapped);
    used_bytes_ -= block.mapped;
    return nullptr;
  }
  allocated_ += bytes;
  return address;
}

bool Memory::release(void *address) {
  const auto found = blocks_.find(address);
  if (found == blocks_.end()) return false;
  const Block block = found->second;
  allocated_ -= block.asked;
  used_bytes_ -= block.mapped;
  blocks_.erase(found);
  if (block.mapped < kHugeFrom) {
    munmap(block.start, block.mapped);
    return true;
  }
  madvise(block.start, block.mapped, MADV_FREE);  // refused, it stays what it is
  try {
    kept_.emplace(block.mapped, block.start);
    kept_bytes_ += block.mapped;
  } catch (...) {
    munmap(block.start, block.mapped);
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
