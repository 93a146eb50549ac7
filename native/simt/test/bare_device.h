// A lethe_device without host code, for a program that calls one operation's file alone.
#pragma once

#include <cstdio>
#include <cstdlib>
#include <new>

#include "device.h"

namespace lethe::gpu {
struct State {
  void *scratch = nullptr;
};
}  // namespace lethe::gpu

inline lethe_device::lethe_device(std::unique_ptr<lethe::gpu::State> its_state)
    : multiprocessors(4), kernels(nullptr), state(std::move(its_state)) {}
inline lethe_device::~lethe_device() { cudaFree(state->scratch); }
inline bool lethe_device::owns(const lethe_stream *stream) const { return stream == nullptr; }
inline const char *lethe_device::lost() const { return nullptr; }
inline cudaStream_t lethe_device::on(lethe_stream *) const { return nullptr; }
inline void *lethe_device::scratch(lethe_stream *, int64_t bytes) {
  cudaFree(state->scratch);
  if (cudaMalloc(&state->scratch, static_cast<size_t>(bytes)) != cudaSuccess) throw std::bad_alloc();
  return state->scratch;
}
inline void lethe_device::check(cudaError_t status, const char *call) {
  if (status == cudaSuccess) return;
  std::fprintf(stderr, "%s: %s\n", call, cudaGetErrorString(status));
  std::exit(1);
}
