// A device: a tier, a number of threads, the memory given out, and what matrix products keep between calls.
#pragma once

#include <cstdint>
#include <memory>

#include "kernels.h"

namespace lethe {

struct Tier {
  const char *name;
  const char *needs;  // what a machine must have for it
  const Kernels *kernels;
  decltype(lethe_matmul) *few_rows;  // A B^T, afresh, whatever M is
  int64_t few;                       // the M up to which it is faster than what first lays out B anew
  decltype(lethe_matmul) *many_rows; // any product in bf16; null where oneDNN is faster
};

class Memory;
class MatrixProducts;

}  // namespace lethe

struct lethe_device {
  lethe_device(const lethe::Tier &tier, const char *why, int threads);
  ~lethe_device();

  // 64-byte aligned, contents undefined, good until the next call of scratch. Throws where memory ends.
  void *scratch(int64_t bytes);
  bool owns(const lethe_stream *stream) const;
  const char *lost() const { return nullptr; }

  static constexpr bool kHostReadsTensors = true;

  const lethe::Tier &tier;
  const char *const why;
  const int threads;
  const lethe::Kernels *const kernels;
  const std::unique_ptr<lethe::Memory> memory;
  const std::unique_ptr<lethe::MatrixProducts> products;

  struct Handles;
  const std::unique_ptr<Handles> handles;  // the streams and events that are alive
};
