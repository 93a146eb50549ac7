// What the environment says of how to emulate (README.md lists the variables).
#pragma once

#include <cstdint>
#include <string>

namespace simt {

enum class Order { kForward, kReverse, kRandom };     // which thread goes first where several may go
enum class CopyTime { kLate, kEarly, kRandom };       // when an asynchronous copy reads and writes

struct Options {
  Order order = Order::kForward;
  CopyTime copies = CopyTime::kLate;
  uint64_t seed = 1;
  int threads = 2;            // of the operating system, on the blocks of one launch
  int multiprocessors = 4;    // that the device claims to have
  uint64_t memory_bytes = uint64_t{8} << 30;  // that the device claims to have
  bool strict = false;        // kernels and copies may touch no memory but the device's
  bool signals = false;       // a segmentation fault in a kernel fails its launch
  std::string ptx;            // files to run kernels from, or a folder of them; empty: as g++ compiled them
};

// Read from the environment by the first call; a test may change them between launches.
Options &options();

}  // namespace simt
