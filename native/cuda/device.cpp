// Opening and describing GPUs, their memory, copies, streams, events and graphs.
#include "device.h"

#include <cinttypes>
#include <cstring>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "check.h"
#include "matmul.h"
#include "options.h"

#ifndef LETHE_DEVICE
#define LETHE_DEVICE "cuda"  // the emulator is "simt"
#endif

namespace lethe::gpu {

#define LETHE_DECLARE(name) decltype(lethe_##name) name;
LETHE_KERNELS(LETHE_DECLARE)
#undef LETHE_DECLARE

namespace {

#define LETHE_FIELD(name) .name = name,
const Kernels kernels = {LETHE_KERNELS(LETHE_FIELD)};
#undef LETHE_FIELD

constexpr int64_t kStagingBytes = int64_t{4} << 20;
constexpr int kOldestComputeCapability = 8;

// ---- opening ------------------------------------------------------------------------------------------------------------

struct Options {
  int gpu = 0;
  bool sync = false;
  std::string cublas;  // empty: the system's
};

int parse_gpu(std::string_view value) {
  int gpu = value.empty() ? -1 : 0;
  for (const char digit : value) {
    if (digit < '0' || digit > '9' || gpu > 1000) {
      gpu = -1;
      break;
    }
    gpu = gpu * 10 + (digit - '0');
  }
  if (gpu < 0) {
    raise(LETHE_INVALID_ARGUMENT, "gpu=%.*s is not the number of a GPU, from 0", static_cast<int>(value.size()), value.data());
  }
  return gpu;
}

bool parse_sync(std::string_view value) {
  if (value != "true" && value != "false") {
    raise(LETHE_INVALID_ARGUMENT, "sync=%.*s is neither true nor false", static_cast<int>(value.size()), value.data());
  }
  return value == "true";
}

int hex_digit(char c) {
  return c >= '0' && c <= '9' ? c - '0' : c >= 'A' && c <= 'F' ? c - 'A' + 10 : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

std::string percent_decoded(std::string_view value) {
  std::string decoded;
  for (size_t i = 0; i < value.size(); i++) {
    if (value[i] != '%') {
      decoded += value[i];
      continue;
    }
    const int high = i + 2 < value.size() ? hex_digit(value[i + 1]) : -1, low = i + 2 < value.size() ? hex_digit(value[i + 2]) : -1;
    if (high < 0 || low < 0 || high + low == 0) {
      raise(LETHE_INVALID_ARGUMENT, "cublas=%.*s is not percent-encoded", static_cast<int>(value.size()), value.data());
    }
    decoded += static_cast<char>(high * 16 + low);
    i += 2;
  }
  if (decoded.empty()) raise(LETHE_INVALID_ARGUMENT, "cublas= names no file");
  return decoded;
}

Options parse_options(const char *text) {
  Options options;
  each_option(text, "gpu=N, cublas=FILE and sync=true", [&](std::string_view option) {
    if (option.starts_with("gpu=")) {
      options.gpu = parse_gpu(option.substr(4));
    } else if (option.starts_with("sync=")) {
      options.sync = parse_sync(option.substr(5));
    } else if (option.starts_with("cublas=")) {
      options.cublas = percent_decoded(option.substr(7));
    } else {
      return false;
    }
    return true;
  });
  return options;
}

std::string cuda_version(int version) { return std::to_string(version / 1000) + "." + std::to_string(version % 1000 / 10); }

int driver_version() {
  int version = 0;
  return cudaDriverGetVersion(&version) == cudaSuccess ? version : 0;
}

int runtime_version() {
  int version = 0;
  return cudaRuntimeGetVersion(&version) == cudaSuccess ? version : 0;
}

// Raises what exactly is missing, if this machine cannot run GPU number `gpu`.
void require_gpu(int gpu) {
  int count = 0;
  const cudaError_t status = cudaGetDeviceCount(&count);
  const int driver = driver_version();
  const std::string runtime = cuda_version(runtime_version());
  if (driver == 0) {
    raise(LETHE_UNSUPPORTED, "no NVIDIA driver: libcuda.so.1 is not there or does not start (%s); these kernels are built with CUDA "
          "%s, which takes driver 580 or newer", cudaGetErrorName(status), runtime.c_str());
  }
  if (status == cudaErrorInsufficientDriver) {
    raise(LETHE_UNSUPPORTED, "the NVIDIA driver is too old: it is one for CUDA %s, these kernels are built with CUDA %s, which "
          "takes driver 580 or newer", cuda_version(driver).c_str(), runtime.c_str());
  }
  if (status == cudaErrorNoDevice || (status == cudaSuccess && count == 0)) {
    raise(LETHE_UNSUPPORTED, "no GPU: the NVIDIA driver (for CUDA %s) finds none; see what `nvidia-smi -L` lists and whether "
          "CUDA_VISIBLE_DEVICES hides it", cuda_version(driver).c_str());
  }
  if (status != cudaSuccess) {
    raise(LETHE_UNSUPPORTED, "the NVIDIA driver (for CUDA %s) does not list its GPUs: %s (%s)", cuda_version(driver).c_str(),
          cudaGetErrorName(status), cudaGetErrorString(status));
  }
  if (gpu >= count) raise(LETHE_INVALID_ARGUMENT, "gpu=%d: there are %d, counted from 0", gpu, count);
  cudaDeviceProp properties;
  if (cudaGetDeviceProperties(&properties, gpu) == cudaSuccess && properties.major < kOldestComputeCapability) {
    raise(LETHE_UNSUPPORTED, "%s has compute capability %d.%d, these kernels need 8.0 (Ampere) or newer", properties.name,
          properties.major, properties.minor);
  }
}

std::unique_ptr<lethe_device> open_device(const Options &options) {
  require_gpu(options.gpu);
  return std::make_unique<lethe_device>(options.gpu, options.sync, load_cublaslt(options.cublas));
}

// The errors of which NVIDIA's documentation says that the process must be relaunched.
bool ends_the_context(cudaError_t status) {
  switch (status) {
    case cudaErrorECCUncorrectable:
    case cudaErrorNvlinkUncorrectable:
    case cudaErrorContained:
    case cudaErrorIllegalAddress:
    case cudaErrorLaunchTimeout:
    case cudaErrorContextIsDestroyed:
    case cudaErrorAssert:
    case cudaErrorHardwareStackError:
    case cudaErrorIllegalInstruction:
    case cudaErrorMisalignedAddress:
    case cudaErrorInvalidAddressSpace:
    case cudaErrorInvalidPc:
    case cudaErrorLaunchFailure:
    case cudaErrorTensorMemoryLeak:
    case cudaErrorMpsClientTerminated:
    case cudaErrorExternalDevice:
      return true;
    default:
      return false;
  }
}

lethe_status kind_of(cudaError_t status) {
  if (status == cudaErrorMemoryAllocation) return LETHE_OUT_OF_MEMORY;
  // The driver cannot run what was compiled: no code for this GPU, or PTX newer than the driver.
  if (status == cudaErrorNoKernelImageForDevice || status == cudaErrorUnsupportedPtxVersion) return LETHE_UNSUPPORTED;
  return LETHE_DEVICE_ERROR;
}

std::string json_string(std::string_view text) {
  std::string json = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') json += '\\';
    if (static_cast<unsigned char>(c) >= ' ') json += c;
  }
  return json + "\"";
}

}  // namespace

// Device memory that operations on one stream have one after another. What a graph was recorded with stays the graph's.
class Scratch {
 public:
  Scratch() = default;
  Scratch(Scratch &&other) noexcept { swap(other); }
  Scratch &operator=(Scratch &&other) noexcept {
    swap(other);
    return *this;
  }
  ~Scratch() { clear(); }

  void clear() {
    for (void *block : blocks_) cudaFree(block);
    blocks_.clear();
    bytes_ = 0;
  }

  bool holds(int64_t bytes) const { return bytes <= bytes_; }
  void *latest() const { return blocks_.back(); }

  cudaError_t grow(int64_t bytes) {
    blocks_.reserve(blocks_.size() + 1);
    void *block = nullptr;
    const cudaError_t status = cudaMalloc(&block, static_cast<size_t>(bytes));
    if (status == cudaSuccess) {
      blocks_.push_back(block);
      bytes_ = bytes;
    }
    return status;
  }

 private:
  void swap(Scratch &other) {
    blocks_.swap(other.blocks_);
    std::swap(bytes_, other.bytes_);
  }

  std::vector<void *> blocks_;  // the latest is in use; the others belong to operations recorded before
  int64_t bytes_ = 0;           // of the latest
};

// Two pinned buffers through which pageable host memory is copied: one is filled or emptied while the other is under way.
class Staging {
 public:
  ~Staging() {
    for (Buffer &buffer : buffers_) {
      if (buffer.idle != nullptr) cudaEventDestroy(buffer.idle);
      if (buffer.memory != nullptr) cudaFreeHost(buffer.memory);
    }
  }

  void to_device(lethe_device *device, void *target, const void *source, int64_t bytes, cudaStream_t stream) {
    for (int64_t at = 0; at < bytes; at += kStagingBytes) {
      const size_t part = static_cast<size_t>(bytes - at < kStagingBytes ? bytes - at : kStagingBytes);
      Buffer &buffer = next(device);
      std::memcpy(buffer.memory, static_cast<const char *>(source) + at, part);
      device->check(cudaMemcpyAsync(static_cast<char *>(target) + at, buffer.memory, part, cudaMemcpyHostToDevice, stream),
                    "cudaMemcpyAsync");
      device->check(cudaEventRecord(buffer.idle, stream), "cudaEventRecord");
    }
  }

  void to_host(lethe_device *device, void *target, const void *source, int64_t bytes, cudaStream_t stream) {
    Buffer *under_way = nullptr;
    int64_t start = 0;
    for (int64_t at = 0; at < bytes; at += kStagingBytes) {
      Buffer &buffer = next(device);
      const size_t part = static_cast<size_t>(bytes - at < kStagingBytes ? bytes - at : kStagingBytes);
      device->check(cudaMemcpyAsync(buffer.memory, static_cast<const char *>(source) + at, part, cudaMemcpyDeviceToHost, stream),
                    "cudaMemcpyAsync");
      device->check(cudaEventRecord(buffer.idle, stream), "cudaEventRecord");
      if (under_way != nullptr) empty(device, *under_way, static_cast<char *>(target) + start, at - start);
      under_way = &buffer;
      start = at;
    }
    if (under_way != nullptr) empty(device, *under_way, static_cast<char *>(target) + start, bytes - start);
  }

 private:
  struct Buffer {
    void *memory = nullptr;
    cudaEvent_t idle = nullptr;  // recorded behind the copy that uses it
  };

  Buffer &next(lethe_device *device) {
    Buffer &buffer = buffers_[turn_];
    turn_ = 1 - turn_;
    if (buffer.memory == nullptr) {
      device->check(cudaMallocHost(&buffer.memory, static_cast<size_t>(kStagingBytes)), "cudaMallocHost");
    }
    if (buffer.idle == nullptr) device->check(cudaEventCreateWithFlags(&buffer.idle, cudaEventDisableTiming), "cudaEventCreate");
    device->check(cudaEventSynchronize(buffer.idle), "cudaEventSynchronize");
    return buffer;
  }

  static void empty(lethe_device *device, const Buffer &buffer, void *target, int64_t bytes) {
    device->check(cudaEventSynchronize(buffer.idle), "cudaEventSynchronize");
    std::memcpy(target, buffer.memory, static_cast<size_t>(bytes));
  }

  Buffer buffers_[2];
  int turn_ = 0;
};

}  // namespace lethe::gpu

struct lethe_stream {
  cudaStream_t stream = nullptr;
  lethe::gpu::Scratch scratch;
  std::unique_ptr<lethe::gpu::Scratch> recorded;  // while a graph is being recorded: its scratch

  ~lethe_stream() {
    if (stream != nullptr) cudaStreamDestroy(stream);
  }
};

struct lethe_event {
  cudaEvent_t event = nullptr;
  bool recorded = false;

  ~lethe_event() {
    if (event != nullptr) cudaEventDestroy(event);
  }
};

struct lethe_graph {
  cudaGraphExec_t executable = nullptr;
  lethe::gpu::Scratch scratch;

  ~lethe_graph() {
    if (executable != nullptr) cudaGraphExecDestroy(executable);
  }
};

namespace lethe::gpu {

// Everything alive of one kind, by the address that the caller has.
template <class Handle>
using Handles = std::unordered_map<const Handle *, std::unique_ptr<Handle>>;

template <class Handle>
Handle *keep(Handles<Handle> &handles, std::unique_ptr<Handle> handle) {
  Handle *const address = handle.get();
  handles.emplace(address, std::move(handle));
  return address;
}

struct State {
  int gpu;
  bool sync;
  const std::shared_ptr<char[]> lost = std::make_shared<char[]>(kMessageBytes);  // the first failure that ended the context
  lethe_stream own;
  Staging staging;
  std::unordered_map<void *, int64_t> blocks;  // bytes by address
  int64_t allocated = 0;
  Handles<lethe_stream> streams;
  Handles<lethe_event> events;
  Handles<lethe_graph> graphs;

  ~State() {
    for (const auto &[address, bytes] : blocks) cudaFree(address);
  }

  lethe_stream &of(lethe_stream *stream) { return stream == nullptr ? own : *stream; }

  bool recording() const {
    if (own.recorded != nullptr) return true;
    for (const auto &[address, stream] : streams) {
      if (stream->recorded != nullptr) return true;
    }
    return false;
  }
};

}  // namespace lethe::gpu

using lethe::Check;
using lethe::fail;
using lethe::raise;
using lethe::without_exceptions;

lethe_device::lethe_device(int gpu, bool sync, const lethe::gpu::CublasLt &cublas)
    : kernels(&lethe::gpu::kernels),
      state(std::make_unique<lethe::gpu::State>(gpu, sync)),
      products(std::make_unique<lethe::gpu::MatrixProducts>(this, cublas)) {
  check(cudaSetDevice(gpu), "cudaSetDevice");
  check(cudaStreamCreateWithFlags(&state->own.stream, cudaStreamNonBlocking), "cudaStreamCreateWithFlags");
  check(cudaDeviceGetAttribute(&multiprocessors, cudaDevAttrMultiProcessorCount, gpu), "cudaDeviceGetAttribute");
}

lethe_device::~lethe_device() {
  cudaSetDevice(state->gpu);
  cudaDeviceSynchronize();  // nothing is freed under a kernel
}

bool lethe_device::owns(const lethe_stream *stream) const { return state->streams.contains(stream); }

const char *lethe_device::lost() const { return state->lost[0] == '\0' ? nullptr : state->lost.get(); }

cudaStream_t lethe_device::on(lethe_stream *stream) {
  check(cudaSetDevice(state->gpu), "cudaSetDevice");
  return state->of(stream).stream;
}

void *lethe_device::scratch(lethe_stream *stream, int64_t bytes) {
  const cudaStream_t on_stream = on(stream);
  lethe_stream &its = state->of(stream);
  lethe::gpu::Scratch &scratch = its.recorded != nullptr ? *its.recorded : its.scratch;
  if (!scratch.holds(bytes)) {
    if (its.recorded == nullptr) {
      check(cudaStreamSynchronize(on_stream), "cudaStreamSynchronize");
      scratch.clear();
    }
    const cudaError_t status = scratch.grow(bytes);
    if (status == cudaErrorMemoryAllocation) {
      cudaGetLastError();
      raise(LETHE_OUT_OF_MEMORY, "%" PRId64 " bytes of scratch memory are not to be had, beside %" PRId64 " allocated", bytes,
            state->allocated);
    }
    check(status, "cudaMalloc");
  }
  return scratch.latest();
}

void lethe_device::check(cudaError_t status, const char *call) {
  if (status == cudaSuccess) return;
  cudaGetLastError();  // so that it is not reported again
  const char *name = cudaGetErrorName(status), *text = cudaGetErrorString(status);
  if (!lethe::gpu::ends_the_context(status)) raise(lethe::gpu::kind_of(status), "%s: %s (%s)", call, name, text);
  fail(LETHE_DEVICE_LOST, "%s: %s (%s), %s; the device cannot be used any more", call, name, text,
       state->sync ? "in this operation" : "at or before this operation (lethe.sync=true tells at which)");
  throw lethe::Failure{LETHE_DEVICE_LOST, state->lost};
}

void lethe_device::launched(cudaError_t status, lethe_stream *stream, const char *call) {
  check(status, call);
  const lethe_stream &its = state->of(stream);
  if (state->sync && its.recorded == nullptr) check(cudaStreamSynchronize(its.stream), "cudaStreamSynchronize");
}

int32_t lethe_abi_version(void) { return LETHE_ABI_VERSION; }

const char *lethe_message(void) { return lethe::latest_message(); }

lethe_status lethe_open(const char *options, lethe_device **device) {
  if (device == nullptr) return fail(LETHE_INVALID_ARGUMENT, "open: device is NULL");
  return without_exceptions("open", [&] {
    *device = lethe::gpu::open_device(lethe::gpu::parse_options(options)).release();
    return LETHE_OK;
  });
}

lethe_status lethe_close(lethe_device *device) {
  delete device;
  return LETHE_OK;
}

lethe_status lethe_describe(lethe_device *device, char *buffer, int64_t capacity) {
  if (buffer == nullptr) return fail(LETHE_INVALID_ARGUMENT, "describe: buffer is NULL");
  return without_exceptions("describe", [&] {
    using lethe::gpu::json_string;
    std::unique_ptr<lethe_device> fresh;
    if (device == nullptr) fresh = lethe::gpu::open_device({});
    lethe_device &described = device == nullptr ? *fresh : *device;
    if (described.lost() != nullptr) {
      return fail(LETHE_DEVICE_LOST, "describe: the device is lost since an earlier failure: %s", described.lost());
    }
    described.on(nullptr);
    cudaDeviceProp properties;
    described.check(cudaGetDeviceProperties(&properties, described.state->gpu), "cudaGetDeviceProperties");
    size_t free = 0, total = 0;
    described.check(cudaMemGetInfo(&free, &total), "cudaMemGetInfo");
    const lethe::gpu::CublasLt &cublas = described.products->library();
    const std::string text =
        "{\"device\":\"" LETHE_DEVICE "\",\"name\":" + json_string(properties.name) + ",\"gpu\":" + std::to_string(described.state->gpu) +
        ",\"compute_capability\":\"" + std::to_string(properties.major) + "." + std::to_string(properties.minor) +
        "\",\"multiprocessors\":" + std::to_string(described.multiprocessors) + ",\"memory_bytes\":" + std::to_string(total) +
        ",\"free_bytes\":" + std::to_string(free) + ",\"allocated_bytes\":" + std::to_string(described.state->allocated) +
        ",\"abi\":" + std::to_string(LETHE_ABI_VERSION) + ",\"cuda_driver\":\"" +
        lethe::gpu::cuda_version(lethe::gpu::driver_version()) + "\",\"cuda_runtime\":\"" +
        lethe::gpu::cuda_version(lethe::gpu::runtime_version()) + "\",\"cublas\":" + json_string(cublas.version()) +
        ",\"cublas_file\":" + json_string(cublas.file) + "}";
    if (capacity <= static_cast<int64_t>(text.size())) {
      return fail(LETHE_INVALID_ARGUMENT, "describe: the text takes %zu bytes, the buffer has %" PRId64, text.size() + 1, capacity);
    }
    std::memcpy(buffer, text.c_str(), text.size() + 1);
    return LETHE_OK;
  });
}

// ---- memory -------------------------------------------------------------------------------------------------------------

lethe_status lethe_allocate(lethe_device *device, int64_t bytes, void **address) {
  return Check("allocate", device, nullptr, {{"bytes", bytes}}).that(address != nullptr, "address is NULL").then([&] {
    lethe::gpu::State &state = *device->state;
    if (state.recording()) return fail(LETHE_INVALID_ARGUMENT, "allocate: a graph is being recorded");
    device->on(nullptr);
    void *block = nullptr;
    const cudaError_t status = cudaMalloc(&block, static_cast<size_t>(bytes));
    if (status == cudaErrorMemoryAllocation) {
      cudaGetLastError();
      size_t free = 0, total = 0;
      device->check(cudaMemGetInfo(&free, &total), "cudaMemGetInfo");
      return fail(LETHE_OUT_OF_MEMORY,
                  "allocate: %" PRId64 " bytes were asked for, beside %" PRId64 " allocated; the GPU has %zu, of which %zu are free",
                  bytes, state.allocated, total, free);
    }
    device->check(status, "cudaMalloc");
    try {
      state.blocks.emplace(block, bytes);
    } catch (...) {
      cudaFree(block);
      throw;
    }
    state.allocated += bytes;
    *address = block;
    return LETHE_OK;
  });
}

lethe_status lethe_free(lethe_device *device, void *address) {
  return Check("free", device, nullptr, {}).then([&] {
    lethe::gpu::State &state = *device->state;
    if (address == nullptr) return LETHE_OK;
    const auto found = state.blocks.find(address);
    if (found == state.blocks.end()) {
      return fail(LETHE_INVALID_ARGUMENT, "free: %p was not allocated on this device, or is freed already", address);
    }
    if (state.recording()) return fail(LETHE_INVALID_ARGUMENT, "free: a graph is being recorded");
    device->on(nullptr);
    state.allocated -= found->second;
    state.blocks.erase(found);
    device->check(cudaFree(address), "cudaFree");  // waits for what may still use it
    return LETHE_OK;
  });
}

lethe_status lethe_copy(lethe_device *device, void *target, const void *source, int64_t bytes, int32_t direction,
                        lethe_stream *stream) {
  return Check("copy", device, stream, {})
      .choice("bytes", bytes, 0, INT64_MAX)
      .choice("direction", direction, LETHE_HOST_TO_DEVICE, LETHE_DEVICE_TO_DEVICE)
      .that(target != nullptr, "target is NULL")
      .that(source != nullptr, "source is NULL")
      .then([&] {
        lethe::gpu::State &state = *device->state;
        const cudaStream_t on = device->on(stream);
        if (direction == LETHE_DEVICE_TO_DEVICE) {
          device->launched(cudaMemcpyAsync(target, source, static_cast<size_t>(bytes), cudaMemcpyDeviceToDevice, on), stream,
                           "cudaMemcpyAsync");
        } else if (state.of(stream).recorded != nullptr) {
          return fail(LETHE_INVALID_ARGUMENT, "copy: a graph is being recorded, and this copy is one with the host");
        } else if (direction == LETHE_HOST_TO_DEVICE) {
          state.staging.to_device(device, target, source, bytes, on);
        } else {
          state.staging.to_host(device, target, source, bytes, on);
        }
        return LETHE_OK;
      });
}

// ---- streams and events -------------------------------------------------------------------------------------------------

lethe_status lethe_stream_create(lethe_device *device, lethe_stream **stream) {
  return Check("stream_create", device, nullptr, {}).that(stream != nullptr, "stream is NULL").then([&] {
    device->on(nullptr);
    auto created = std::make_unique<lethe_stream>();
    device->check(cudaStreamCreateWithFlags(&created->stream, cudaStreamNonBlocking), "cudaStreamCreateWithFlags");
    *stream = lethe::gpu::keep(device->state->streams, std::move(created));
    return LETHE_OK;
  });
}

lethe_status lethe_stream_destroy(lethe_device *device, lethe_stream *stream) {
  return Check("stream_destroy", device, stream, {}).that(stream != nullptr, "stream is NULL").then([&] {
    if (stream->recorded != nullptr) return fail(LETHE_INVALID_ARGUMENT, "stream_destroy: a graph is being recorded on it");
    device->check(cudaStreamSynchronize(device->on(stream)), "cudaStreamSynchronize");
    device->state->streams.erase(stream);
    return LETHE_OK;
  });
}

lethe_status lethe_synchronize(lethe_device *device, lethe_stream *stream) {
  return Check("synchronize", device, stream, {}).then([&] {
    if (device->state->of(stream).recorded != nullptr) return fail(LETHE_INVALID_ARGUMENT, "synchronize: a graph is being recorded");
    device->check(cudaStreamSynchronize(device->on(stream)), "cudaStreamSynchronize");
    return LETHE_OK;
  });
}

namespace {

template <class Handle>
bool known(const lethe_device *device, lethe::gpu::Handles<Handle> lethe::gpu::State::*handles, const Handle *handle) {
  return device != nullptr && (device->state.get()->*handles).contains(handle);
}

bool known(const lethe_device *device, const lethe_event *event) { return known(device, &lethe::gpu::State::events, event); }
bool known(const lethe_device *device, const lethe_graph *graph) { return known(device, &lethe::gpu::State::graphs, graph); }

}  // namespace

lethe_status lethe_event_create(lethe_device *device, lethe_event **event) {
  return Check("event_create", device, nullptr, {}).that(event != nullptr, "event is NULL").then([&] {
    device->on(nullptr);
    auto created = std::make_unique<lethe_event>();
    device->check(cudaEventCreateWithFlags(&created->event, cudaEventDefault), "cudaEventCreate");
    *event = lethe::gpu::keep(device->state->events, std::move(created));
    return LETHE_OK;
  });
}

lethe_status lethe_event_destroy(lethe_device *device, lethe_event *event) {
  return Check("event_destroy", device, nullptr, {}).that(known(device, event), "the event is not one of this device").then([&] {
    device->state->events.erase(event);
    return LETHE_OK;
  });
}

lethe_status lethe_event_record(lethe_device *device, lethe_event *event, lethe_stream *stream) {
  return Check("event_record", device, stream, {}).that(known(device, event), "the event is not one of this device").then([&] {
    if (device->state->of(stream).recorded != nullptr) return fail(LETHE_INVALID_ARGUMENT, "event_record: a graph is being recorded");
    device->check(cudaEventRecord(event->event, device->on(stream)), "cudaEventRecord");
    event->recorded = true;
    return LETHE_OK;
  });
}

lethe_status lethe_event_milliseconds(lethe_device *device, lethe_event *from, lethe_event *to, double *milliseconds) {
  return Check("event_milliseconds", device, nullptr, {})
      .that(known(device, from) && known(device, to), "an event is not one of this device")
      .that(milliseconds != nullptr, "milliseconds is NULL")
      .then([&] {
        if (!from->recorded || !to->recorded) return fail(LETHE_INVALID_ARGUMENT, "event_milliseconds: an event is not recorded");
        device->on(nullptr);
        float elapsed = 0;
        for (lethe_event *event : {from, to}) device->check(cudaEventSynchronize(event->event), "cudaEventSynchronize");
        device->check(cudaEventElapsedTime(&elapsed, from->event, to->event), "cudaEventElapsedTime");
        *milliseconds = elapsed;
        return LETHE_OK;
      });
}

// ---- graphs -------------------------------------------------------------------------------------------------------------

lethe_status lethe_graph_begin(lethe_device *device, lethe_stream *stream) {
  return Check("graph_begin", device, stream, {}).then([&] {
    lethe_stream &its = device->state->of(stream);
    if (its.recorded != nullptr) return fail(LETHE_INVALID_ARGUMENT, "graph_begin: a graph is being recorded on this stream already");
    auto recorded = std::make_unique<lethe::gpu::Scratch>();
    // Relaxed: scratch memory may be allocated meanwhile.
    device->check(cudaStreamBeginCapture(device->on(stream), cudaStreamCaptureModeRelaxed), "cudaStreamBeginCapture");
    its.recorded = std::move(recorded);
    return LETHE_OK;
  });
}

lethe_status lethe_graph_end(lethe_device *device, lethe_stream *stream, lethe_graph **graph) {
  return Check("graph_end", device, stream, {}).that(graph != nullptr, "graph is NULL").then([&] {
    lethe_stream &its = device->state->of(stream);
    if (its.recorded == nullptr) return fail(LETHE_INVALID_ARGUMENT, "graph_end: nothing is being recorded on this stream");
    auto made = std::make_unique<lethe_graph>();
    made->scratch = std::move(*its.recorded);
    its.recorded.reset();
    cudaGraph_t recorded = nullptr;
    device->check(cudaStreamEndCapture(device->on(stream), &recorded), "cudaStreamEndCapture");
    const cudaError_t status = cudaGraphInstantiate(&made->executable, recorded, 0);
    cudaGraphDestroy(recorded);
    device->check(status, "cudaGraphInstantiate");
    *graph = lethe::gpu::keep(device->state->graphs, std::move(made));
    return LETHE_OK;
  });
}

lethe_status lethe_graph_launch(lethe_device *device, lethe_graph *graph, lethe_stream *stream) {
  return Check("graph_launch", device, stream, {}).that(known(device, graph), "the graph is not one of this device").then([&] {
    if (device->state->of(stream).recorded != nullptr) return fail(LETHE_INVALID_ARGUMENT, "graph_launch: a graph is being recorded");
    device->launched(cudaGraphLaunch(graph->executable, device->on(stream)), stream, "cudaGraphLaunch");
    return LETHE_OK;
  });
}

lethe_status lethe_graph_destroy(lethe_device *device, lethe_graph *graph) {
  return Check("graph_destroy", device, nullptr, {}).that(known(device, graph), "the graph is not one of this device").then([&] {
    device->on(nullptr);
    device->check(cudaDeviceSynchronize(), "cudaDeviceSynchronize");  // its launches may still use its scratch memory
    device->state->graphs.erase(graph);
    return LETHE_OK;
  });
}
