#include "shared_memory.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstring>
#include <new>

#include "shadow.h"

namespace simt {
namespace {

constexpr size_t kPage = 4096, kRedZone = 64;
constexpr unsigned char kRed = 0xa5, kUndefined = 0xff;

bool is_red(const char *zone, size_t bytes) {
  return std::all_of(zone, zone + bytes, [](char c) { return static_cast<unsigned char>(c) == kRed; });
}

size_t round_up(size_t bytes, size_t to) { return (bytes + to - 1) / to * to; }

// Bytes behind a variable that are watched.
size_t zone(const SharedMemory::Variable &variable) { return round_up(variable.bytes, 16) + kRedZone - variable.bytes; }

}  // namespace

SharedMemory::SharedMemory() {
  void *mapped = mmap(nullptr, kBytes + kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (mapped == MAP_FAILED) throw std::bad_alloc();
  begin_ = static_cast<char *>(mapped);
  mprotect(begin_ + kBytes, kPage, PROT_NONE);
  top_ = begin_;
  forbid(begin_, kBytes);
}

SharedMemory::~SharedMemory() {
  allow(begin_, kBytes);
  munmap(begin_, kBytes + kPage);
}

void SharedMemory::give(Variable variable) {
  allow(variable.address, variable.bytes);
  std::memset(variable.address, kUndefined, variable.bytes);
  shadow_of_shared(*this, variable.address, variable.bytes, Shadow::kUndefined);
}

void SharedMemory::begin(size_t dynamic_bytes) {
  for (const Variable &variable : variables_) {
    forbid(variable.address, variable.bytes);
    shadow_of_shared(*this, variable.address, variable.bytes, Shadow::kOutside);
  }
  variables_.clear();
  static_bytes_ = 0;
  top_ = begin_;
  if (dynamic_.bytes > 0) {
    forbid(dynamic_.address, dynamic_.bytes);
    shadow_of_shared(*this, dynamic_.address, dynamic_.bytes, Shadow::kOutside);
  }
  // aligned to 128 bytes, so that up to 127 may lie between its end and the page that faults: they are red
  char *const end = begin_ + kBytes;
  char *const address = end - round_up(dynamic_bytes, 128);
  dynamic_ = {nullptr, "dynamic shared memory", address, dynamic_bytes};
  allow(address + dynamic_bytes, static_cast<size_t>(end - address) - dynamic_bytes);
  std::memset(address + dynamic_bytes, kRed, static_cast<size_t>(end - address) - dynamic_bytes);
  forbid(address + dynamic_bytes, static_cast<size_t>(end - address) - dynamic_bytes);
  if (dynamic_bytes > 0) give(dynamic_);
}

void *SharedMemory::variable(const void *key, size_t bytes, size_t alignment, const char *name) {
  for (const Variable &known : variables_) {
    if (known.key == key) return known.address;
  }
  if (static_bytes_ + bytes > kMostStaticSharedBytes || static_bytes_ + bytes + dynamic_.bytes > kMostSharedBytes) return nullptr;
  static_bytes_ += bytes;
  const size_t at = round_up(static_cast<size_t>(top_ - begin_), std::max(alignment, size_t{16}));
  const Variable fresh = {key, name, begin_ + at, bytes};
  variables_.push_back(fresh);
  allow(fresh.address + bytes, zone(fresh));
  std::memset(fresh.address + bytes, kRed, zone(fresh));
  forbid(fresh.address + bytes, zone(fresh));
  give(fresh);
  top_ = fresh.address + bytes + zone(fresh);
  return fresh.address;
}

const SharedMemory::Variable *SharedMemory::overrun() const {
  const auto ended = [](const Variable &variable, size_t watched) {
    allow(variable.address + variable.bytes, watched);
    const bool whole = is_red(variable.address + variable.bytes, watched);
    forbid(variable.address + variable.bytes, watched);
    return !whole;
  };
  for (const Variable &variable : variables_) {
    if (ended(variable, zone(variable))) return &variable;
  }
  return ended(dynamic_, round_up(dynamic_.bytes, 128) - dynamic_.bytes) ? &dynamic_ : nullptr;
}

bool SharedMemory::covers(const void *address, size_t bytes) const {
  const char *const a = static_cast<const char *>(address);
  const auto in = [&](const Variable &variable) { return a >= variable.address && a + bytes <= variable.address + variable.bytes; };
  return in(dynamic_) || std::ranges::any_of(variables_, in);
}

const SharedMemory::Variable *SharedMemory::nearest(const void *address) const {
  const char *const a = static_cast<const char *>(address);
  for (const Variable &variable : variables_) {
    if (a + 16 > variable.address && a < variable.address + variable.bytes + kRedZone) return &variable;
  }
  return a + 4096 > dynamic_.address && dynamic_.bytes > 0 ? &dynamic_ : nullptr;
}

}  // namespace simt
