// Errors as the CUDA runtime keeps them: the latest of each thread, and the one that lost the context, for all of them.
#include <mutex>

#include "context.h"

namespace simt {
namespace {

struct Errors {
  std::mutex mutex;
  cudaError_t lost = cudaSuccess;
  std::string lost_words;

  static Errors &get() {
    static Errors *errors = new Errors();
    return *errors;
  }
};

thread_local cudaError_t latest = cudaSuccess;
thread_local cudaError_t worded = cudaSuccess;  // what `words` are about
thread_local std::string words;

// After these a process cannot use the GPU any more.
bool loses_context(cudaError_t status) {
  switch (status) {
    case cudaErrorIllegalAddress:
    case cudaErrorLaunchTimeout:
    case cudaErrorAssert:
    case cudaErrorHardwareStackError:
    case cudaErrorIllegalInstruction:
    case cudaErrorMisalignedAddress:
    case cudaErrorInvalidAddressSpace:
    case cudaErrorInvalidPc:
    case cudaErrorLaunchFailure: return true;
    default: return false;
  }
}

struct Named {
  cudaError_t error;
  const char *name, *words;
};

constexpr Named kNamed[] = {
    {cudaSuccess, "cudaSuccess", "no error"},
    {cudaErrorInvalidValue, "cudaErrorInvalidValue", "invalid argument"},
    {cudaErrorMemoryAllocation, "cudaErrorMemoryAllocation", "out of memory"},
    {cudaErrorInitializationError, "cudaErrorInitializationError", "initialization error"},
    {cudaErrorInvalidConfiguration, "cudaErrorInvalidConfiguration", "invalid configuration argument"},
    {cudaErrorInvalidMemcpyDirection, "cudaErrorInvalidMemcpyDirection", "invalid copy direction for memcpy"},
    {cudaErrorInsufficientDriver, "cudaErrorInsufficientDriver", "CUDA driver version is insufficient for CUDA runtime version"},
    {cudaErrorInvalidDeviceFunction, "cudaErrorInvalidDeviceFunction", "invalid device function"},
    {cudaErrorNoDevice, "cudaErrorNoDevice", "no CUDA-capable device is detected"},
    {cudaErrorInvalidDevice, "cudaErrorInvalidDevice", "invalid device ordinal"},
    {cudaErrorInvalidPtx, "cudaErrorInvalidPtx", "a PTX JIT compilation failed"},
    {cudaErrorInvalidResourceHandle, "cudaErrorInvalidResourceHandle", "invalid resource handle"},
    {cudaErrorNotReady, "cudaErrorNotReady", "device not ready"},
    {cudaErrorIllegalAddress, "cudaErrorIllegalAddress", "an illegal memory access was encountered"},
    {cudaErrorLaunchOutOfResources, "cudaErrorLaunchOutOfResources", "too many resources requested for launch"},
    {cudaErrorLaunchTimeout, "cudaErrorLaunchTimeout", "the launch timed out and was terminated"},
    {cudaErrorMisalignedAddress, "cudaErrorMisalignedAddress", "misaligned address"},
    {cudaErrorInvalidAddressSpace, "cudaErrorInvalidAddressSpace", "operation not supported on global/shared address space"},
    {cudaErrorLaunchFailure, "cudaErrorLaunchFailure", "unspecified launch failure"},
    {cudaErrorNotSupported, "cudaErrorNotSupported", "operation not supported"},
    {cudaErrorStreamCaptureUnsupported, "cudaErrorStreamCaptureUnsupported", "operation not permitted when stream is capturing"},
    {cudaErrorStreamCaptureInvalidated, "cudaErrorStreamCaptureInvalidated", "operation failed due to a previous error during capture"},
    {cudaErrorStreamCaptureUnmatched, "cudaErrorStreamCaptureUnmatched", "the capture was not begun on this stream"},
};

const Named *named(cudaError_t error) {
  for (const Named &known : kNamed) {
    if (known.error == error) return &known;
  }
  return nullptr;
}

}  // namespace

cudaError_t failed(cudaError_t status, const std::string &its_words) {
  latest = status;
  worded = status;
  const Named *known = named(status);
  words = std::string(known == nullptr ? "unknown error" : known->words) + " (" + its_words + ")";
  if (loses_context(status)) {
    Errors &errors = Errors::get();
    const std::lock_guard lock(errors.mutex);
    if (errors.lost == cudaSuccess) {
      errors.lost = status;
      errors.lost_words = words;
    }
  }
  return status;
}

cudaError_t failed(cudaError_t status) {
  latest = status;
  worded = cudaSuccess;
  return status;
}

cudaError_t lost() {
  Errors &errors = Errors::get();
  const std::lock_guard lock(errors.mutex);
  if (errors.lost != cudaSuccess) {
    latest = worded = errors.lost;
    words = errors.lost_words;
  }
  return errors.lost;
}

}  // namespace simt

const char *cudaGetErrorName(cudaError_t error) {
  const simt::Named *known = simt::named(error);
  return known == nullptr ? "cudaErrorUnknown" : known->name;
}

const char *cudaGetErrorString(cudaError_t error) {
  if (error != cudaSuccess && error == simt::worded) return simt::words.c_str();
  const simt::Named *known = simt::named(error);
  return known == nullptr ? "unknown error" : known->words;
}

cudaError_t cudaGetLastError() {
  if (const cudaError_t lost = simt::lost(); lost != cudaSuccess) return lost;
  return std::exchange(simt::latest, cudaSuccess);
}

cudaError_t cudaPeekAtLastError() {
  if (const cudaError_t lost = simt::lost(); lost != cudaSuccess) return lost;
  return simt::latest;
}

cudaError_t cudaDeviceReset() {
  simt::Errors &errors = simt::Errors::get();
  const std::lock_guard lock(errors.mutex);
  errors.lost = simt::latest = cudaSuccess;
  return cudaSuccess;
}
