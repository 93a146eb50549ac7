#include "heap.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstring>
#include <new>

#include "options.h"
#include "shadow.h"

namespace simt {
namespace {

constexpr size_t kPage = 4096, kAlignment = 256;
constexpr unsigned char kRed = 0xa5, kUndefined = 0xff;

size_t round_up(size_t bytes, size_t to) { return (bytes + to - 1) / to * to; }
size_t page_bytes(size_t bytes) { return round_up(round_up(bytes, kAlignment), kPage); }

}  // namespace

constinit char *Heap::begin_ = nullptr;
constinit size_t Heap::reserved_ = 0;

Heap &Heap::get() {
  static Heap *heap = new Heap();  // lives as long as the process: other static objects may still free from it
  return *heap;
}

// Addresses are not used twice before they have all been used once; so there are many more of them than memory.
Heap::Heap() {
  const size_t bytes = 4 * options().memory_bytes;
  void *mapped = mmap(nullptr, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (mapped == MAP_FAILED) throw std::bad_alloc();
  begin_ = static_cast<char *>(mapped);
  reserved_ = bytes;
  next_ = kPage;  // nothing lies before the first allocation
}

size_t Heap::limit() const { return options().memory_bytes; }

size_t Heap::used() {
  const std::lock_guard lock(mutex_);
  return used_;
}

// Fresh ones as long as there are, so that what was freed keeps faulting.
char *Heap::pages(size_t bytes) {
  if (next_ + bytes <= reserved_) {
    char *const fresh = begin_ + next_;
    next_ += bytes;
    return fresh;
  }
  for (const auto &[first, size] : free_) {
    if (size < bytes) continue;
    char *const again = first;
    const size_t rest = size - bytes;
    free_.erase(first);
    if (rest > 0) free_.emplace(again + bytes, rest);
    allocations_.erase(allocations_.lower_bound(again), allocations_.lower_bound(again + bytes));
    return again;
  }
  return nullptr;
}

void Heap::give_back(char *first, size_t bytes) {
  auto after = free_.lower_bound(first);
  if (after != free_.end() && after->first == first + bytes) {
    bytes += after->second;
    after = free_.erase(after);
  }
  if (after != free_.begin() && std::prev(after)->first + std::prev(after)->second == first) {
    std::prev(after)->second += bytes;
  } else {
    free_.emplace(first, bytes);
  }
}

void *Heap::allocate(size_t bytes) {
  const std::lock_guard lock(mutex_);
  if (bytes == 0 || bytes > limit() || used_ + bytes > limit()) return nullptr;
  const size_t pages = page_bytes(bytes);
  char *const first = this->pages(pages + kPage);
  if (first == nullptr) return nullptr;
  if (mprotect(first, pages, PROT_READ | PROT_WRITE) != 0) return nullptr;
  char *const address = first + pages - round_up(bytes, kAlignment);
  allow(first, pages);
  std::memset(first, kRed, static_cast<size_t>(address - first));
  std::memset(address, kUndefined, bytes);
  std::memset(address + bytes, kRed, round_up(bytes, kAlignment) - bytes);
  forbid(first, pages);
  allow(address, bytes);
  shadow_of_device(address, bytes, Shadow::kUndefined);
  allocations_[address] = {bytes, true};
  used_ += bytes;
  return address;
}

bool Heap::release(void *address) {
  const std::lock_guard lock(mutex_);
  const auto found = allocations_.find(static_cast<char *>(address));
  if (found == allocations_.end() || !found->second.live) return false;
  Allocation &allocation = found->second;
  const size_t pages = page_bytes(allocation.bytes);
  char *const first = found->first + round_up(allocation.bytes, kAlignment) - pages;
  shadow_of_device(found->first, allocation.bytes, Shadow::kOutside);
  allow(first, pages);
  madvise(first, pages, MADV_DONTNEED);
  mprotect(first, pages, PROT_NONE);
  allocation.live = false;
  used_ -= allocation.bytes;
  give_back(first, pages + kPage);
  return true;
}

bool Heap::covers(const void *address, size_t bytes) {
  const std::lock_guard lock(mutex_);
  char *const a = const_cast<char *>(static_cast<const char *>(address));
  auto after = allocations_.upper_bound(a);
  if (after == allocations_.begin()) return false;
  const auto &[start, allocation] = *--after;
  return allocation.live && bytes <= allocation.bytes && static_cast<size_t>(a - start) <= allocation.bytes - bytes;
}

// A buffer's red zones are what its pages have beyond it. They are mended, so that a mistake is told once.
bool Heap::mend(char *address, const Allocation &allocation) {
  char *const end = address + round_up(allocation.bytes, kAlignment), *const first = end - page_bytes(allocation.bytes);
  const auto red = [](char *from, char *to) {
    const size_t bytes = static_cast<size_t>(to - from);
    allow(from, bytes);
    const bool good = std::all_of(from, to, [](char c) { return static_cast<unsigned char>(c) == kRed; });
    if (!good) std::memset(from, kRed, bytes);
    forbid(from, bytes);
    return good;
  };
  const bool before = red(first, address), behind = red(address + allocation.bytes, end);
  return before && behind;
}

std::string Heap::overrun() {
  const std::lock_guard lock(mutex_);
  std::string found;
  for (const auto &[address, allocation] : allocations_) {
    if (!allocation.live || mend(address, allocation)) continue;
    found = "something was written outside of an allocation of " + std::to_string(allocation.bytes) + " bytes, next to it";
  }
  return found;
}

std::string Heap::describe(const void *address) {
  const std::lock_guard lock(mutex_);
  return describe_locked(static_cast<const char *>(address));
}

std::string Heap::describe_locked(const char *a) const {
  auto after = allocations_.upper_bound(const_cast<char *>(a));
  const auto text = [&](const char *start, const Allocation &allocation) {
    return "byte " + std::to_string(a - start) + " of an allocation of " + std::to_string(allocation.bytes) + " bytes" +
           (allocation.live ? "" : ", freed");
  };
  if (after != allocations_.end() && after->first - a <= static_cast<ptrdiff_t>(kPage)) {
    const bool nearer = after == allocations_.begin() || a >= std::prev(after)->first + std::prev(after)->second.bytes + kPage;
    if (nearer) return text(after->first, after->second);
  }
  if (after == allocations_.begin()) return "no allocation";
  const auto &[start, allocation] = *std::prev(after);
  return a < start + allocation.bytes + 2 * kPage ? text(start, allocation) : "no allocation";
}

}  // namespace simt
