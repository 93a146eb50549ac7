// A device: one GPU, its streams, the memory given out, and what matrix products keep between calls.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>
#include <memory>

#include "kernels.h"

namespace lethe::gpu {
struct CublasLt;
struct State;  // device.cpp's own
class MatrixProducts;
}  // namespace lethe::gpu

struct lethe_device {
  static constexpr bool kHostReadsTensors = false;

  lethe_device(int gpu, bool sync, const lethe::gpu::CublasLt &cublas);
  ~lethe_device();

  bool owns(const lethe_stream *stream) const;
  // The first failure that cannot be recovered, or NULL.
  const char *lost() const;

  // The stream, with its GPU made the calling thread's; NULL is the device's own.
  cudaStream_t on(lethe_stream *stream);
  // Device memory aligned to 256 bytes, contents undefined, for one operation on that stream; the next one may get the same.
  // Raises a Failure where memory ends.
  void *scratch(lethe_stream *stream, int64_t bytes);
  // Raises a Failure unless status is cudaSuccess, naming the call; a failure that ends the context is remembered.
  void check(cudaError_t status, const char *call);
  // The same after a launch on the stream; with sync=true it waits for the kernel, so that what fails is this one.
  void launched(cudaError_t status, lethe_stream *stream, const char *call);

  int multiprocessors = 0;

  const lethe::Kernels *const kernels;
  const std::unique_ptr<lethe::gpu::State> state;
  const std::unique_ptr<lethe::gpu::MatrixProducts> products;
};
