// Streams, events and graphs: what is issued is done at once, or recorded while its stream is being captured.
#include <chrono>
#include <unordered_set>

#include "context.h"
#include "ptx.h"

struct CUgraph_st {
  std::vector<std::function<cudaError_t()>> work;
};

struct CUgraphExec_st {
  std::vector<std::function<cudaError_t()>> work;
};

struct CUstream_st {
  std::unique_ptr<CUgraph_st> recording;
};

struct CUevent_st {
  bool timed;
  bool recorded = false;
  std::chrono::steady_clock::time_point time;
};

namespace simt {
namespace {

template <class T>
cudaError_t created(T **handle, T *fresh) {
  if (handle == nullptr) {
    delete fresh;
    return failed(cudaErrorInvalidValue);
  }
  *handle = fresh;
  return cudaSuccess;
}

template <class T>
cudaError_t destroyed(T *handle) {
  if (handle == nullptr) return failed(cudaErrorInvalidResourceHandle);
  delete handle;
  return cudaSuccess;
}

cudaError_t run_all(const std::vector<std::function<cudaError_t()>> &work) {
  for (const auto &step : work) {
    if (const cudaError_t status = step(); status != cudaSuccess) return status;
  }
  return cudaSuccess;
}

}  // namespace

cudaError_t issue(cudaStream_t stream, std::function<cudaError_t()> work) {
  if (const cudaError_t status = lost(); status != cudaSuccess) return status;
  if (!is_recording(stream)) return work();
  stream->recording->work.push_back(std::move(work));
  return cudaSuccess;
}

bool is_recording(cudaStream_t stream) { return stream != nullptr && stream->recording != nullptr; }

// Has the kernel run from PTX, or says why it cannot be.
static std::string take_ptx(Grid &grid) {
  std::string why;
  grid.ptx = ptx::find_kernel(options().ptx, symbol_of(grid.call->kernel), why);
  if (grid.ptx == nullptr) return why;
  if (const unsigned threads = grid.block.x * grid.block.y * grid.block.z; threads > grid.ptx->most_threads) {
    return "a block of " + std::to_string(threads) + " threads, its PTX says .maxntid " + std::to_string(grid.ptx->most_threads);
  }
  grid.ptx_parameters = ptx::parameters_of(*grid.ptx, *grid.call, why);
  return why;
}

cudaError_t launch(dim3 grid, dim3 block, size_t shared, cudaStream_t stream, std::shared_ptr<const Call> call) {
  const uint64_t threads = static_cast<uint64_t>(block.x) * block.y * block.z;
  const uint64_t blocks = static_cast<uint64_t>(grid.x) * grid.y * grid.z;
  if (threads == 0 || threads > kMostThreads || block.z > 64 || blocks == 0 || grid.x > 0x7fffffffu || grid.y > 65535 || grid.z > 65535 ||
      shared > kMostSharedBytes) {
    char words[256];
    std::snprintf(words, sizeof words,
                  "grid (%u, %u, %u) of blocks (%u, %u, %u) with %zu bytes of dynamic shared memory; a block has 1 to %u threads, at most "
                  "%zu bytes, and a grid at most 2147483647, 65535, 65535 blocks",
                  grid.x, grid.y, grid.z, block.x, block.y, block.z, shared, kMostThreads, kMostSharedBytes);
    return failed(cudaErrorInvalidConfiguration, name_of_kernel(call->kernel) + ": " + words);
  }
  Grid work = {grid, block, shared, call.get()};
  if (!options().ptx.empty()) {
    if (const std::string why = take_ptx(work); !why.empty()) return failed(cudaErrorInvalidPtx, name_of_kernel(call->kernel) + ": " + why);
  }
  return issue(stream, [work, call] { return run_grid(work); });
}

}  // namespace simt

using simt::created;
using simt::destroyed;
using simt::failed;

cudaError_t cudaStreamCreate(cudaStream_t *stream) { return created(stream, new CUstream_st()); }
cudaError_t cudaStreamCreateWithFlags(cudaStream_t *stream, unsigned) { return created(stream, new CUstream_st()); }
cudaError_t cudaStreamDestroy(cudaStream_t stream) { return destroyed(stream); }

cudaError_t cudaStreamQuery(cudaStream_t stream) {
  if (simt::is_recording(stream)) return failed(cudaErrorStreamCaptureUnsupported);
  return simt::lost();
}

cudaError_t cudaStreamWaitEvent(cudaStream_t, cudaEvent_t event, unsigned) {
  return event == nullptr ? failed(cudaErrorInvalidResourceHandle) : cudaSuccess;
}

cudaError_t cudaEventCreate(cudaEvent_t *event) { return created(event, new CUevent_st{true, false, {}}); }
cudaError_t cudaEventCreateWithFlags(cudaEvent_t *event, unsigned flags) {
  return created(event, new CUevent_st{(flags & cudaEventDisableTiming) == 0, false, {}});
}
cudaError_t cudaEventDestroy(cudaEvent_t event) { return destroyed(event); }

cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  if (event == nullptr) return failed(cudaErrorInvalidResourceHandle);
  return simt::issue(stream, [event] {
    event->time = std::chrono::steady_clock::now();
    event->recorded = true;
    return cudaSuccess;
  });
}

cudaError_t cudaEventSynchronize(cudaEvent_t event) {
  return event == nullptr ? failed(cudaErrorInvalidResourceHandle) : simt::lost();
}

cudaError_t cudaEventQuery(cudaEvent_t event) { return cudaEventSynchronize(event); }

cudaError_t cudaEventElapsedTime(float *milliseconds, cudaEvent_t from, cudaEvent_t to) {
  if (milliseconds == nullptr) return failed(cudaErrorInvalidValue);
  if (from == nullptr || to == nullptr || !from->timed || !to->timed || !from->recorded || !to->recorded) {
    return failed(cudaErrorInvalidResourceHandle);
  }
  *milliseconds = std::chrono::duration<float, std::milli>(to->time - from->time).count();
  return simt::lost();
}

cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode) {
  if (stream == nullptr) return failed(cudaErrorStreamCaptureUnsupported);
  if (simt::is_recording(stream)) return failed(cudaErrorInvalidValue);
  stream->recording = std::make_unique<CUgraph_st>();
  return cudaSuccess;
}

cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t *graph) {
  if (graph == nullptr) return failed(cudaErrorInvalidValue);
  *graph = nullptr;
  if (!simt::is_recording(stream)) return failed(cudaErrorStreamCaptureUnmatched);
  *graph = stream->recording.release();
  return simt::lost();
}

cudaError_t cudaStreamIsCapturing(cudaStream_t stream, cudaStreamCaptureStatus *status) {
  if (status == nullptr) return failed(cudaErrorInvalidValue);
  *status = simt::is_recording(stream) ? cudaStreamCaptureStatusActive : cudaStreamCaptureStatusNone;
  return cudaSuccess;
}

cudaError_t cudaGraphInstantiate(cudaGraphExec_t *executable, cudaGraph_t graph, unsigned long long) {
  if (graph == nullptr) return failed(cudaErrorInvalidValue);
  return created(executable, new CUgraphExec_st{graph->work});
}

cudaError_t cudaGraphLaunch(cudaGraphExec_t executable, cudaStream_t stream) {
  if (executable == nullptr) return failed(cudaErrorInvalidResourceHandle);
  return simt::issue(stream, [work = executable->work] { return simt::run_all(work); });
}

cudaError_t cudaGraphDestroy(cudaGraph_t graph) { return destroyed(graph); }
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t executable) { return destroyed(executable); }
