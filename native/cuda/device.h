// A device: one GPU, its streams, the memory given out, and what matrix products keep between calls.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>
#include <memory>

#include "kernels.h"

namespace lethe::gpu {
struct State;  // device.cu's own
}

struct lethe_stream;

struct lethe_device {
  static constexpr bool kHostReadsTensors = false;

  explicit lethe_device(std::unique_ptr<lethe::gpu::State> state);
  ~lethe_device();

  bool owns(const lethe_stream *stream) const;
  // The first failure that cannot be recovered, or NULL.
  const char *lost() const;

  // NULL is the device's own.
  cudaStream_t on(lethe_stream *stream) const;
  // Device memory aligned to 256 bytes, contents undefined, for one operation on that stream; the next one may get the same.
  // Raises a Failure where memory ends.
  void *scratch(lethe_stream *stream, int64_t bytes);
  // Raises a Failure unless status is cudaSuccess, naming the call; a failure that ends the context is remembered.
  void check(cudaError_t status, const char *call);

  int multiprocessors = 0;

  const lethe::Kernels *const kernels;
  const std::unique_ptr<lethe::gpu::State> state;
};
