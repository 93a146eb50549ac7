// Prints how much dynamic shared memory kernels are launched with at most: "MANGLED_NAME THREADS BYTES", a line a launch.
//
// The kernels' objects, linked with this file in the place of CUDA's runtime (whose entry points nvcc's host code calls) and of
// device.cpp, run their own host code; nothing is computed. Operations whose kernels use dynamic shared memory are called below;
// gates.py says so where one is missing.
#include <cstdio>
#include <map>
#include <string>

#include "device.h"

// ---- CUDA's runtime, as nvcc's host code sees it (crt/host_runtime.h) -------------------------------------------------------

namespace {

std::map<const void *, std::string> &names() {  // of kernels, by their host stubs; in a function: objects register before main
  static std::map<const void *, std::string> all;
  return all;
}

struct Launch {
  dim3 grid, block;
  size_t shared;
  cudaStream_t stream;
} configured;

}  // namespace

extern "C" {

void **__cudaRegisterFatBinary(void *) { return nullptr; }
void __cudaRegisterFatBinaryEnd(void **) {}
void __cudaUnregisterFatBinary(void **) {}
void __cudaRegisterFunction(void **, const char *stub, char *, const char *name, int, uint3 *, uint3 *, dim3 *, dim3 *, int *) {
  names()[stub] = name;
}
unsigned __cudaPushCallConfiguration(dim3 grid, dim3 block, size_t shared, cudaStream_t stream) {
  configured = {grid, block, shared, stream};
  return 0;
}
cudaError_t __cudaPopCallConfiguration(dim3 *grid, dim3 *block, size_t *shared, cudaStream_t *stream) {
  *grid = configured.grid, *block = configured.block, *shared = configured.shared, *stream = configured.stream;
  return cudaSuccess;
}
cudaError_t __cudaGetKernel(cudaKernel_t *kernel, const void *stub) {
  *kernel = static_cast<cudaKernel_t>(const_cast<void *>(stub));
  return cudaSuccess;
}
cudaError_t __cudaLaunchKernel(cudaKernel_t kernel, dim3, dim3 block, void **, size_t shared, cudaStream_t) {
  std::printf("%s %u %zu\n", names().at(kernel).c_str(), block.x * block.y * block.z, shared);
  return cudaSuccess;
}

}  // extern "C"

cudaError_t cudaGetLastError() { return cudaSuccess; }
cudaError_t cudaFuncSetAttribute(const void *, cudaFuncAttribute, int) { return cudaSuccess; }

// ---- a device, as operations see it -----------------------------------------------------------------------------------------

namespace lethe::gpu {
struct CublasLt {};
struct State {};
class MatrixProducts {};
}  // namespace lethe::gpu

lethe_device::lethe_device(int, bool, const lethe::gpu::CublasLt &) : kernels(nullptr) { multiprocessors = 132; }
lethe_device::~lethe_device() = default;
cudaStream_t lethe_device::on(lethe_stream *) { return nullptr; }
void *lethe_device::scratch(lethe_stream *, int64_t) { return nullptr; }
void lethe_device::check(cudaError_t, const char *) {}
void lethe_device::launched(cudaError_t, lethe_stream *, const char *) {}

namespace lethe::gpu {
#define LETHE_DECLARE(name) decltype(lethe_##name) name;
LETHE_KERNELS(LETHE_DECLARE)
#undef LETHE_DECLARE
}  // namespace lethe::gpu

int main() {
  lethe_device device(0, false, {});
  alignas(16) char memory[16];  // addresses, which nobody reads at
  for (const int32_t dtype : {LETHE_F32, LETHE_BF16}) {
    for (const int64_t D : {64, 128, 256}) {
      lethe::gpu::attention(&device, memory, D, nullptr, memory, D, memory, memory, D, dtype, 1, 1, 1, 1, D, 1.0f, nullptr);
      lethe::gpu::attention_backward(&device, memory, D, memory, memory, D, memory, D, memory, D, nullptr, memory, D, memory, memory, D,
                                     dtype, 1, 1, 1, 1, D, 1.0f, memory, 0, nullptr);
    }
    for (const int64_t V : {1 << 20, (1 << 20) + 1}) {  // with rows aligned to 128 bits and without
      lethe::gpu::cross_entropy(&device, nullptr, memory, memory, nullptr, dtype, 1, V, 1.0f, nullptr);
    }
  }
}
