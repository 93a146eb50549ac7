// What is known of every byte, and in the checking build of who touched it last: the checker.
#include "shadow.h"

#include "heap.h"
#include "multiprocessor.h"

#if defined(SIMT_CHECK)
#include <link.h>
#include <sys/mman.h>

#include <atomic>
#include <cstring>
#include <new>

#include "checker.h"
#endif

namespace simt {

#if !defined(SIMT_CHECK)

std::string check_device_range(const void *address, size_t bytes, Access) {
  Heap &heap = Heap::get();
  if (!Heap::contains(address)) return options().strict ? "it is host memory" : "";
  return heap.covers(address, bytes) ? "" : std::to_string(bytes) + " bytes from " + heap.describe(address);
}

#else

namespace {

// Who wrote and who read two bytes last. An epoch is the time between two barriers, blocks and launches; within it, threads of one
// warp are ordered by their warp's epochs.
struct Cell {
  uint32_t write_epoch;
  uint16_t writer;  // the thread, and kAtomic
  uint16_t write_warp_epoch;
  uint32_t read_epoch;
  uint16_t reader;  // the thread; or kWarp and the warp of several threads; or kSeveral, kSeveralBlocks
  uint16_t read_warp_epoch;
};
constexpr uint16_t kAtomic = 0x8000, kWarpBit = 0x4000, kSeveral = 0x7fff, kSeveralBlocks = 0x7ffe;
constexpr size_t kCellBytes = 2;

// Known of a region of memory.
struct Tracked {
  uint8_t *state;
  Cell *cells;

  explicit Tracked(size_t bytes)
      : state(static_cast<uint8_t *>(reserve(bytes))), cells(static_cast<Cell *>(reserve(bytes / kCellBytes * sizeof(Cell)))) {}

  static void *reserve(size_t bytes) {
    void *mapped = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (mapped == MAP_FAILED) throw std::bad_alloc();
    return mapped;
  }
};

Tracked &of_device() {
  static Tracked *tracked = new Tracked(Heap::reserved());
  return *tracked;
}

Tracked &of_shared() {
  static Tracked *tracked = new Tracked(SharedMemory::kBytes);
  return *tracked;
}

const char *name_of(Access access) {
  return access == Access::kRead ? "read" : access == Access::kWrite ? "write" : "atomic";
}

// One access, for the words of what is wrong with it.
struct Seen {
  const char *address;
  size_t bytes;
  Access access;
  Thread &thread;
  bool shared;
  const void *instruction;
};

[[noreturn, gnu::cold]] void wrong(const Seen &seen, const char *kind, const char *format, unsigned other = 0) {
  Multiprocessor &m = *multiprocessor;
  m.checking = true;
  m.current = &seen.thread;
  char more[128] = "", where[64 + sizeof(Site)] = "";
  std::snprintf(more, sizeof more, format, other);
  std::string place;
  if (seen.shared) {
    const SharedMemory::Variable *variable = m.shared.nearest(seen.address);
    place = variable == nullptr ? "shared memory that is no variable's"
                                : std::string("byte ") + std::to_string(seen.address - variable->address) + " of the " +
                                      std::to_string(variable->bytes) + " of " + variable->name + " (shared)";
  } else {
    place = Heap::contains(seen.address) ? Heap::get().describe(seen.address) : "host memory";
  }
  if (seen.instruction == nullptr && seen.thread.site.file != nullptr) {
    std::snprintf(where, sizeof where, ", at %s:%d", seen.thread.site.file, seen.thread.site.line);
  }
  char text[sizeof(Failure::what)];
  std::snprintf(text, sizeof text, "%zu-byte %s of %s%s%s%s", seen.bytes, name_of(seen.access), place.c_str(), where,
                more[0] == '\0' ? "" : "; ", more);
  fail_at(seen.instruction, std::strcmp(kind, "misaligned") == 0 ? cudaErrorMisalignedAddress : cudaErrorIllegalAddress, kind, "%s", text);
}

// Whether what that thread did in that epoch comes before what this one does now.
bool ordered(uint32_t epoch, unsigned thread, uint16_t warp_epoch, const Thread &self, const Multiprocessor &m) {
  if (epoch != m.epoch || thread == self.index) return true;
  return thread / kLanes == self.index / kLanes && warp_epoch != static_cast<uint16_t>(self.warp->epoch);
}

void check_bytes(const Seen &seen, uint8_t *state) {
  for (size_t i = 0; i < seen.bytes; i++) {
    switch (static_cast<Shadow>(state[i])) {
      case Shadow::kDefined: break;
      case Shadow::kOutside: wrong(seen, "out-of-bounds", "");
      case Shadow::kCopying: wrong(seen, "copy-in-flight", "an asynchronous copy to it has not been waited for");
      case Shadow::kUndefined:
        if (seen.access != Access::kWrite) wrong(seen, "uninitialised-read", "");
    }
  }
  if (seen.access != Access::kRead) std::memset(state, static_cast<int>(Shadow::kDefined), seen.bytes);
}

void check_against_write(const Seen &seen, const Cell &cell, const Multiprocessor &m) {
  const bool both_atomic = seen.access == Access::kAtomic && (cell.writer & kAtomic) != 0;
  if (cell.write_epoch < m.launch_epoch || both_atomic) return;
  const unsigned writer = cell.writer & ~kAtomic;
  if (!seen.shared && cell.write_epoch < m.block_epoch) wrong(seen, "race-between-blocks", "thread %u of another block wrote it", writer);
  if (!ordered(cell.write_epoch, writer, cell.write_warp_epoch, seen.thread, m)) {
    wrong(seen, "race", "thread %u wrote it, with no barrier since", writer);
  }
}

void check_against_reads(const Seen &seen, const Cell &cell, const Multiprocessor &m) {
  if (cell.read_epoch < m.launch_epoch) return;
  if (!seen.shared && (cell.reader == kSeveralBlocks || cell.read_epoch < m.block_epoch)) {
    wrong(seen, "race-between-blocks", "another block read it");
  }
  if (cell.read_epoch != m.epoch) return;
  if (cell.reader == kSeveral) wrong(seen, "race", "several warps read it, with no barrier since");
  if ((cell.reader & kWarpBit) == 0) {
    if (!ordered(cell.read_epoch, cell.reader, cell.read_warp_epoch, seen.thread, m)) {
      wrong(seen, "race", "thread %u read it, with no barrier since", cell.reader);
    }
  } else if ((cell.reader & ~kWarpBit) != seen.thread.index / kLanes ||
             cell.read_warp_epoch == static_cast<uint16_t>(seen.thread.warp->epoch)) {
    wrong(seen, "race", "several threads of warp %u read it, with no barrier since", cell.reader & ~unsigned{kWarpBit});
  }
}

void remember_read(const Seen &seen, Cell &cell, const Multiprocessor &m) {
  const uint16_t self = static_cast<uint16_t>(seen.thread.index), warp = static_cast<uint16_t>(seen.thread.index / kLanes);
  if (!seen.shared && cell.read_epoch >= m.launch_epoch && (cell.read_epoch < m.block_epoch || cell.reader == kSeveralBlocks)) {
    cell.reader = kSeveralBlocks;
  } else if (cell.read_epoch != m.epoch) {
    cell.reader = self;
  } else if (cell.reader != self && cell.reader != kSeveral) {
    const unsigned before = (cell.reader & kWarpBit) != 0 ? cell.reader & ~unsigned{kWarpBit} : cell.reader / kLanes;
    cell.reader = before == warp ? static_cast<uint16_t>(kWarpBit | warp) : kSeveral;
  }
  cell.read_epoch = m.epoch;
  cell.read_warp_epoch = static_cast<uint16_t>(seen.thread.warp->epoch);
}

void check_tracked(const Seen &seen, Tracked &tracked, size_t offset) {
  const Multiprocessor &m = *multiprocessor;
  check_bytes(seen, tracked.state + offset);
  for (size_t i = offset / kCellBytes; i <= (offset + seen.bytes - 1) / kCellBytes; i++) {
    Cell &cell = tracked.cells[i];
    check_against_write(seen, cell, m);
    if (seen.access == Access::kRead) {
      remember_read(seen, cell, m);
      continue;
    }
    check_against_reads(seen, cell, m);
    cell.write_epoch = m.epoch;
    cell.writer = static_cast<uint16_t>(seen.thread.index | (seen.access == Access::kAtomic ? kAtomic : 0u));
    cell.write_warp_epoch = static_cast<uint16_t>(seen.thread.warp->epoch);
  }
}

// Whether the address belongs to the program as it was loaded: constants, static variables.
bool in_program(const void *address) {
  struct Range {
    uintptr_t address, begin, end;
  } range = {reinterpret_cast<uintptr_t>(address), 0, 0};
  static std::atomic<uintptr_t> begin = 0, end = 0;  // of where the last one was found
  if (range.address >= begin && range.address < end) return true;
  const auto holds = [](dl_phdr_info *object, size_t, void *data) {
    Range &its = *static_cast<Range *>(data);
    for (int i = 0; i < object->dlpi_phnum; i++) {
      const uintptr_t from = object->dlpi_addr + object->dlpi_phdr[i].p_vaddr, to = from + object->dlpi_phdr[i].p_memsz;
      if (object->dlpi_phdr[i].p_type != PT_LOAD || its.address < from || its.address >= to) continue;
      its.begin = from;
      its.end = to;
      return 1;
    }
    return 0;
  };
  if (dl_iterate_phdr(holds, &range) == 0) return false;
  begin = range.begin;
  end = range.end;
  return true;
}

}  // namespace

void shadow_of_shared(const SharedMemory &shared, const void *address, size_t bytes, Shadow shadow) {
  std::memset(of_shared().state + shared.offset(address), static_cast<int>(shadow), bytes);
}

void shadow_of_device(const void *address, size_t bytes, Shadow shadow) {
  if (Heap::contains(address)) std::memset(of_device().state + Heap::offset(address), static_cast<int>(shadow), bytes);
}

std::string check_device_range(const void *address, size_t bytes, Access access) {
  Heap &heap = Heap::get();
  if (!Heap::contains(address)) return options().strict ? "it is host memory" : "";
  if (!heap.covers(address, bytes)) return std::to_string(bytes) + " bytes from " + heap.describe(address);
  const uint8_t *const state = of_device().state + Heap::offset(address);
  for (size_t i = 0; access == Access::kRead && i < bytes; i++) {
    if (state[i] == static_cast<uint8_t>(Shadow::kUndefined)) {
      return "uninitialised-read of " + heap.describe(static_cast<const char *>(address) + i);
    }
  }
  return "";
}

void check_access(const void *address, size_t bytes, Access access, Thread &thread, const void *instruction) {
  const Multiprocessor &m = *multiprocessor;
  if (m.owns(address)) return;
  const Seen seen = {static_cast<const char *>(address), bytes, access, thread, m.shared.contains(address), instruction};
  if (seen.shared) {
    check_tracked(seen, of_shared(), m.shared.offset(address));
  } else if (Heap::contains(address)) {
    check_tracked(seen, of_device(), Heap::offset(address));
  } else if (options().strict) {
    const Call *const call = m.grid->call;
    const size_t in_call = static_cast<size_t>(seen.address - reinterpret_cast<const char *>(call));
    if (in_call >= call->bytes() && !in_program(address)) wrong(seen, "illegal-address", "it is neither the device's nor the thread's own");
  }
}

void check_aligned(const void *address, size_t bytes, Access access, Thread &thread, const void *instruction) {
  if (reinterpret_cast<uintptr_t>(address) % bytes != 0) {
    wrong({static_cast<const char *>(address), bytes, access, thread, multiprocessor->shared.contains(address), instruction}, "misaligned",
          "the address is not a multiple of its size");
  }
}

#endif

}  // namespace simt
