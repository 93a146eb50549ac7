// The CUDA runtime's device and memory calls, on the emulated device.
#include <cstdlib>
#include <cstring>

#include "context.h"
#include "heap.h"
#include "shadow.h"

using simt::failed;
using simt::Heap;

namespace simt {
namespace {

constexpr int kMajor = 9, kMinor = 0;  // as an H100
constexpr int kVersion = 13000;

// A failure found afterwards: something lies in a red zone.
cudaError_t settled() {
  if (const cudaError_t status = lost(); status != cudaSuccess) return status;
  const std::string overrun = Heap::get().overrun();
  return overrun.empty() ? cudaSuccess : failed(cudaErrorIllegalAddress, "out-of-bounds: " + overrun);
}

// What a copy or a fill may not do with these bytes, or "".
std::string refused(const void *address, size_t bytes, bool device, const char *role) {
  Heap &heap = Heap::get();
  char text[160];
  if (Heap::contains(address)) {
    if (heap.covers(address, bytes)) return device ? "" : std::string("the ") + role + " is device memory, the direction says host";
    std::snprintf(text, sizeof text, "the %s, %zu bytes, begins at %s", role, bytes, heap.describe(address).c_str());
    return text;
  }
  return device && options().strict ? std::string("the ") + role + " is host memory, the direction says device" : "";
}

cudaError_t copy(void *target, const void *source, size_t bytes, cudaMemcpyKind kind, cudaStream_t stream) {
  if (bytes == 0) return lost();
  const bool known = kind == cudaMemcpyDefault;
  const bool to_device = known ? Heap::contains(target) : kind == cudaMemcpyHostToDevice || kind == cudaMemcpyDeviceToDevice;
  const bool from_device = known ? Heap::contains(source) : kind == cudaMemcpyDeviceToHost || kind == cudaMemcpyDeviceToDevice;
  std::string why = refused(target, bytes, to_device, "target");
  if (why.empty()) why = refused(source, bytes, from_device, "source");
  if (!why.empty()) return failed(cudaErrorInvalidValue, "memcpy: " + why);
  return issue(stream, [target, source, bytes] {
    std::memmove(target, source, bytes);
    shadow_of_device(target, bytes, Shadow::kDefined);
    return cudaSuccess;
  });
}

}  // namespace
}  // namespace simt

cudaError_t cudaGetDeviceCount(int *count) {
  if (count == nullptr) return failed(cudaErrorInvalidValue);
  *count = 1;
  return cudaSuccess;
}

cudaError_t cudaGetDevice(int *device) {
  if (device == nullptr) return failed(cudaErrorInvalidValue);
  *device = 0;
  return cudaSuccess;
}

cudaError_t cudaSetDevice(int device) { return device == 0 ? cudaSuccess : failed(cudaErrorInvalidDevice); }

cudaError_t cudaGetDeviceProperties(cudaDeviceProp *properties, int device) {
  if (properties == nullptr) return failed(cudaErrorInvalidValue);
  if (device != 0) return failed(cudaErrorInvalidDevice);
  *properties = {};
  std::snprintf(properties->name, sizeof properties->name, "Lethe's emulator of a GPU");
  properties->totalGlobalMem = Heap::get().limit();
  properties->sharedMemPerBlock = simt::kMostStaticSharedBytes;
  properties->sharedMemPerBlockOptin = simt::kMostSharedBytes;
  properties->sharedMemPerMultiprocessor = simt::kMostSharedBytes + 1024;
  properties->regsPerBlock = 65536;
  properties->warpSize = simt::kLanes;
  properties->maxThreadsPerBlock = simt::kMostThreads;
  properties->maxThreadsPerMultiProcessor = 2048;
  properties->major = simt::kMajor;
  properties->minor = simt::kMinor;
  properties->multiProcessorCount = simt::options().multiprocessors;
  properties->l2CacheSize = 50 << 20;
  properties->memoryBusWidth = 5120;
  return cudaSuccess;
}

cudaError_t cudaDeviceGetAttribute(int *value, cudaDeviceAttr attribute, int device) {
  if (value == nullptr) return failed(cudaErrorInvalidValue);
  cudaDeviceProp properties;
  if (const cudaError_t status = cudaGetDeviceProperties(&properties, device); status != cudaSuccess) return status;
  switch (attribute) {
    case cudaDevAttrMaxThreadsPerBlock: *value = properties.maxThreadsPerBlock; break;
    case cudaDevAttrMaxSharedMemoryPerBlock: *value = static_cast<int>(properties.sharedMemPerBlock); break;
    case cudaDevAttrWarpSize: *value = properties.warpSize; break;
    case cudaDevAttrClockRate: *value = 1980000; break;
    case cudaDevAttrMultiProcessorCount: *value = properties.multiProcessorCount; break;
    case cudaDevAttrMemoryClockRate: *value = 2619000; break;
    case cudaDevAttrGlobalMemoryBusWidth: *value = properties.memoryBusWidth; break;
    case cudaDevAttrL2CacheSize: *value = properties.l2CacheSize; break;
    case cudaDevAttrMaxThreadsPerMultiProcessor: *value = properties.maxThreadsPerMultiProcessor; break;
    case cudaDevAttrComputeCapabilityMajor: *value = properties.major; break;
    case cudaDevAttrComputeCapabilityMinor: *value = properties.minor; break;
    case cudaDevAttrMaxSharedMemoryPerMultiprocessor: *value = static_cast<int>(properties.sharedMemPerMultiprocessor); break;
    case cudaDevAttrMaxSharedMemoryPerBlockOptin: *value = static_cast<int>(properties.sharedMemPerBlockOptin); break;
    default: return failed(cudaErrorInvalidValue);
  }
  return cudaSuccess;
}

cudaError_t cudaDriverGetVersion(int *version) {
  if (version == nullptr) return failed(cudaErrorInvalidValue);
  *version = simt::kVersion;
  return cudaSuccess;
}

cudaError_t cudaRuntimeGetVersion(int *version) { return cudaDriverGetVersion(version); }

cudaError_t cudaDeviceSynchronize() { return simt::settled(); }

cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
  return simt::is_recording(stream) ? failed(cudaErrorStreamCaptureUnsupported) : simt::settled();
}

cudaError_t cudaMalloc(void **address, size_t bytes) {
  if (address == nullptr) return failed(cudaErrorInvalidValue);
  if (const cudaError_t status = simt::lost(); status != cudaSuccess) return status;
  *address = nullptr;
  if (bytes == 0) return cudaSuccess;
  *address = Heap::get().allocate(bytes);
  return *address == nullptr ? failed(cudaErrorMemoryAllocation) : cudaSuccess;
}

cudaError_t cudaFree(void *address) {
  if (address == nullptr) return simt::lost();
  const cudaError_t status = simt::settled();
  if (!Heap::get().release(address)) return failed(cudaErrorInvalidValue, "cudaFree: " + Heap::get().describe(address));
  return status;
}

cudaError_t cudaHostAlloc(void **address, size_t bytes, unsigned) {
  if (address == nullptr) return failed(cudaErrorInvalidValue);
  if (const cudaError_t status = simt::lost(); status != cudaSuccess) return status;
  *address = std::aligned_alloc(256, (bytes + 255) / 256 * 256);
  return *address == nullptr ? failed(cudaErrorMemoryAllocation) : cudaSuccess;
}

cudaError_t cudaMallocHost(void **address, size_t bytes) { return cudaHostAlloc(address, bytes, cudaHostAllocDefault); }

cudaError_t cudaFreeHost(void *address) {
  std::free(address);
  return simt::lost();
}

cudaError_t cudaMemGetInfo(size_t *free, size_t *total) {
  if (free == nullptr || total == nullptr) return failed(cudaErrorInvalidValue);
  Heap &heap = Heap::get();
  *total = heap.limit();
  *free = heap.limit() - heap.used();
  return simt::lost();
}

cudaError_t cudaMemcpyAsync(void *target, const void *source, size_t bytes, cudaMemcpyKind kind, cudaStream_t stream) {
  return simt::copy(target, source, bytes, kind, stream);
}

cudaError_t cudaMemcpy(void *target, const void *source, size_t bytes, cudaMemcpyKind kind) {
  return simt::copy(target, source, bytes, kind, nullptr);
}

cudaError_t cudaMemsetAsync(void *target, int value, size_t bytes, cudaStream_t stream) {
  if (bytes == 0) return simt::lost();
  const std::string why = simt::refused(target, bytes, true, "target");
  if (!why.empty()) return failed(cudaErrorInvalidValue, "memset: " + why);
  return simt::issue(stream, [target, value, bytes] {
    std::memset(target, value, bytes);
    simt::shadow_of_device(target, bytes, simt::Shadow::kDefined);
    return cudaSuccess;
  });
}

cudaError_t cudaMemset(void *target, int value, size_t bytes) { return cudaMemsetAsync(target, value, bytes, nullptr); }

cudaError_t cudaFuncSetAttribute(const void *kernel, cudaFuncAttribute attribute, int value) {
  if (kernel == nullptr) return failed(cudaErrorInvalidDeviceFunction);
  if (attribute == cudaFuncAttributeMaxDynamicSharedMemorySize && (value < 0 || value > static_cast<int>(simt::kMostSharedBytes))) {
    return failed(cudaErrorInvalidValue);
  }
  return simt::lost();
}
