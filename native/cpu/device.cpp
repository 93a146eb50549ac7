// Opening and describing devices, their memory, streams and events.
#include "device.h"

#include <cpuid.h>
#include <omp.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cinttypes>
#include <cstdio>
#include <cstring>
#include <functional>
#include <iterator>
#include <string>
#include <string_view>
#include <unordered_set>

#include "check.h"
#include "matmul.h"
#include "memory.h"
#include "options.h"

namespace lethe {
namespace avx2 {
extern const Kernels kernels;
decltype(lethe_matmul) few_rows;
}
namespace avx512 {
extern const Kernels kernels;
decltype(lethe_matmul) few_rows;
}
namespace avx512_bf16 {
extern const Kernels kernels;
decltype(lethe_matmul) few_rows, many_rows;
}
namespace avx512_amx {
extern const Kernels kernels;
decltype(lethe_matmul) few_rows, many_rows;
}

namespace {

constexpr int kMostThreads = 1024;

// Highest first.
const Tier tiers[] = {
    {"avx512_amx", "AVX-512 (F, BW, CD, DQ, VL), AVX512_BF16 and AMX (TILE, BF16)", &avx512_amx::kernels, &avx512_amx::few_rows, 16,
     &avx512_amx::many_rows},
    {"avx512_bf16", "AVX-512 (F, BW, CD, DQ, VL) and AVX512_BF16", &avx512_bf16::kernels, &avx512_bf16::few_rows, 64,
     &avx512_bf16::many_rows},
    {"avx512", "AVX-512 (F, BW, CD, DQ, VL)", &avx512::kernels, &avx512::few_rows, 64, nullptr},
    {"avx2", "AVX2, FMA, F16C, BMI1 and BMI2", &avx2::kernels, &avx2::few_rows, 64, nullptr},
};

// Linux gives a process the tiles' registers when it asks for them.
bool amx_runs_here() {
  constexpr int kRequestPermission = 0x1023, kTileData = 18;  // ARCH_REQ_XCOMP_PERM of <asm/prctl.h>, the state component
  unsigned int a = 0, b = 0, c = 0, d = 0;
  if (__get_cpuid_count(7, 0, &a, &b, &c, &d) == 0) return false;
  if ((d & bit_AMX_TILE) == 0 || (d & bit_AMX_BF16) == 0) return false;
  return syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
}

// As the CPU and the operating system together allow.
bool runs_here(const Tier &tier) {
  __builtin_cpu_init();
  if (tier.kernels == &avx2::kernels) return __builtin_cpu_supports("x86-64-v3") && __builtin_cpu_supports("f16c");
  if (tier.kernels == &avx512::kernels) return __builtin_cpu_supports("x86-64-v4");
  const bool bf16 = __builtin_cpu_supports("x86-64-v4") && __builtin_cpu_supports("avx512bf16");
  return bf16 && (tier.kernels == &avx512_bf16::kernels || amx_runs_here());
}

const Tier &highest_tier() {
  for (const Tier &tier : tiers) {
    if (runs_here(tier)) return tier;
  }
  raise(LETHE_UNSUPPORTED, "this CPU lacks %s: there are no kernels for it", std::end(tiers)[-1].needs);
}

struct Options {
  const Tier *tier = nullptr;  // NULL: the highest
  int threads = 0;             // 0: the cores this process may run on
};

int parse_threads(std::string_view value) {
  int threads = 0;
  for (const char digit : value) {
    if (digit < '0' || digit > '9' || threads > kMostThreads) {
      threads = 0;
      break;
    }
    threads = threads * 10 + (digit - '0');
  }
  if (threads < 1 || threads > kMostThreads) {
    raise(LETHE_INVALID_ARGUMENT, "threads=%.*s is not a whole number from 1 to %d", static_cast<int>(value.size()),
          value.data(), kMostThreads);
  }
  return threads;
}

const Tier *parse_tier(std::string_view value) {
  for (const Tier &tier : tiers) {
    if (value == tier.name) return &tier;
  }
  raise(LETHE_INVALID_ARGUMENT, "tier=%.*s is not one of avx2, avx512, avx512_bf16, avx512_amx", static_cast<int>(value.size()),
        value.data());
}

Options parse_options(const char *text) {
  Options options;
  each_option(text, "threads=N and tier=T", [&](std::string_view option) {
    if (option.starts_with("threads=")) {
      options.threads = parse_threads(option.substr(8));
    } else if (option.starts_with("tier=")) {
      options.tier = parse_tier(option.substr(5));
    } else {
      return false;
    }
    return true;
  });
  return options;
}

const Tier &tier_for(const Options &options) {
  const Tier &tier = options.tier != nullptr ? *options.tier : highest_tier();
  if (!runs_here(tier)) raise(LETHE_UNSUPPORTED, "tier=%s needs %s, which this machine lacks", tier.name, tier.needs);
  return tier;
}

std::unique_ptr<lethe_device> make_device(const Options &options) {
  const int cores = omp_get_num_procs();
  const int threads = options.threads > 0 ? options.threads : cores < kMostThreads ? cores : kMostThreads;
  const char *why = options.tier != nullptr ? "asked for" : "the highest this machine has";
  return std::make_unique<lethe_device>(tier_for(options), why, threads);
}

// From the CPU itself; what JSON would have to escape is left out.
std::string cpu_name() {
  unsigned int words[12] = {};
  for (unsigned int i = 0; i < 3; i++) {
    unsigned int *w = words + 4 * i;
    if (__get_cpuid(0x80000002u + i, w, w + 1, w + 2, w + 3) == 0) return "unknown x86-64";
  }
  char raw[sizeof words + 1] = {};
  std::memcpy(raw, words, sizeof words);
  std::string name;
  for (const char c : std::string_view(raw)) {
    if (c >= ' ' && c <= '~' && c != '"' && c != '\\' && (c != ' ' || (!name.empty() && name.back() != ' '))) name += c;
  }
  while (!name.empty() && name.back() == ' ') name.pop_back();
  return name;
}

// Large copies are dealt to all threads, a huge page at a time: one alone does not reach the memory's rate, and fresh pages, which cost
// more than what goes into them, are cleared by whoever touches them first.
void copy_bytes(const lethe_device &device, char *target, const char *source, int64_t bytes) {
  constexpr int64_t kPiece = 2 << 20, kShared = 4 * kPiece;
  const bool apart = std::less_equal<>{}(target + bytes, source) || std::less_equal<>{}(source + bytes, target);
  if (bytes < kShared || !apart) {
    std::memmove(target, source, static_cast<size_t>(bytes));
    return;
  }
#pragma omp parallel for num_threads(device.threads) schedule(static)
  for (int64_t i = 0; i < bytes; i += kPiece) {
    std::memcpy(target + i, source + i, static_cast<size_t>(std::min(kPiece, bytes - i)));
  }
}

}  // namespace
}  // namespace lethe

struct lethe_stream {};

struct lethe_event {
  bool recorded = false;
  std::chrono::steady_clock::time_point time;
};

struct lethe_device::Handles {
  std::unordered_set<const lethe_stream *> streams;
  std::unordered_set<const lethe_event *> events;

  ~Handles() {
    for (const lethe_stream *stream : streams) delete stream;
    for (const lethe_event *event : events) delete event;
  }
};

using lethe::Check;
using lethe::fail;
using lethe::without_exceptions;

lethe_device::lethe_device(const lethe::Tier &its_tier, const char *its_why, int its_threads)
    : tier(its_tier),
      why(its_why),
      threads(its_threads),
      kernels(its_tier.kernels),
      memory(std::make_unique<lethe::Memory>()),
      products(std::make_unique<lethe::MatrixProducts>()),
      handles(std::make_unique<Handles>()) {}

lethe_device::~lethe_device() = default;

void *lethe_device::scratch(int64_t bytes) {
  void *scratch = memory->scratch(bytes);
  if (scratch == nullptr) {
    lethe::raise(LETHE_OUT_OF_MEMORY, "%" PRId64 " bytes of scratch memory are not to be had, beside %" PRId64 " allocated", bytes,
                 memory->allocated_bytes());
  }
  return scratch;
}

bool lethe_device::owns(const lethe_stream *stream) const { return handles->streams.contains(stream); }

int32_t lethe_abi_version(void) { return LETHE_ABI_VERSION; }

const char *lethe_message(void) { return lethe::latest_message(); }

lethe_status lethe_open(const char *options, lethe_device **device) {
  if (device == nullptr) return fail(LETHE_INVALID_ARGUMENT, "open: device is NULL");
  return without_exceptions("open", [&] {
    const lethe::Options parsed = lethe::parse_options(options);
    lethe::MatrixProducts::cap(lethe::tier_for(parsed));
    *device = lethe::make_device(parsed).release();
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
    std::unique_ptr<lethe_device> fresh;
    if (device == nullptr) fresh = lethe::make_device({});
    const lethe_device &described = device == nullptr ? *fresh : *device;
    char text[1024];
    const int length = std::snprintf(
        text, sizeof text,
        R"({"device":"cpu","name":"%s","tier":"%s","why":"%s","threads":%d,"memory_bytes":%)" PRId64 R"(,"allocated_bytes":%)" PRId64
        R"(,"abi":%d,"onednn":"%s","onednn_isa":"%s","compiler":"g++ %s"})",
        lethe::cpu_name().c_str(), described.tier.name, described.why, described.threads, lethe::physical_memory_bytes(),
        described.memory->allocated_bytes(), LETHE_ABI_VERSION, lethe::MatrixProducts::version().c_str(),
        lethe::MatrixProducts::isa(described.tier), __VERSION__);
    if (capacity <= length) {
      return fail(LETHE_INVALID_ARGUMENT, "describe: the text takes %d bytes, the buffer has %" PRId64, length + 1, capacity);
    }
    std::memcpy(buffer, text, static_cast<size_t>(length) + 1);
    return LETHE_OK;
  });
}

lethe_status lethe_allocate(lethe_device *device, int64_t bytes, void **address) {
  return Check("allocate", device, nullptr, {{"bytes", bytes}}).that(address != nullptr, "address is NULL").then([&] {
    *address = device->memory->allocate(bytes);
    if (*address != nullptr) return LETHE_OK;
    return fail(LETHE_OUT_OF_MEMORY, "allocate: %" PRId64 " bytes were asked for, beside %" PRId64 " allocated; the machine has %" PRId64,
                bytes, device->memory->allocated_bytes(), lethe::physical_memory_bytes());
  });
}

lethe_status lethe_free(lethe_device *device, void *address) {
  return Check("free", device, nullptr, {}).then([&] {
    if (address == nullptr || device->memory->release(address)) return LETHE_OK;
    return fail(LETHE_INVALID_ARGUMENT, "free: %p was not allocated on this device, or is freed already", address);
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
        lethe::copy_bytes(*device, static_cast<char *>(target), static_cast<const char *>(source), bytes);
        return LETHE_OK;
      });
}

lethe_status lethe_stream_create(lethe_device *device, lethe_stream **stream) {
  return Check("stream_create", device, nullptr, {}).that(stream != nullptr, "stream is NULL").then([&] {
    auto created = std::make_unique<lethe_stream>();
    device->handles->streams.insert(created.get());
    *stream = created.release();
    return LETHE_OK;
  });
}

lethe_status lethe_stream_destroy(lethe_device *device, lethe_stream *stream) {
  return Check("stream_destroy", device, stream, {}).that(stream != nullptr, "stream is NULL").then([&] {
    device->handles->streams.erase(stream);
    delete stream;
    return LETHE_OK;
  });
}

lethe_status lethe_synchronize(lethe_device *device, lethe_stream *stream) {
  return Check("synchronize", device, stream, {}).then([] { return LETHE_OK; });
}

namespace {

bool known(const lethe_device *device, const lethe_event *event) {
  return device != nullptr && device->handles->events.contains(event);
}

}  // namespace

lethe_status lethe_event_create(lethe_device *device, lethe_event **event) {
  return Check("event_create", device, nullptr, {}).that(event != nullptr, "event is NULL").then([&] {
    auto created = std::make_unique<lethe_event>();
    device->handles->events.insert(created.get());
    *event = created.release();
    return LETHE_OK;
  });
}

lethe_status lethe_event_destroy(lethe_device *device, lethe_event *event) {
  return Check("event_destroy", device, nullptr, {}).that(known(device, event), "the event is not one of this device").then([&] {
    device->handles->events.erase(event);
    delete event;
    return LETHE_OK;
  });
}

lethe_status lethe_event_record(lethe_device *device, lethe_event *event, lethe_stream *stream) {
  return Check("event_record", device, stream, {}).that(known(device, event), "the event is not one of this device").then([&] {
    event->time = std::chrono::steady_clock::now();
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
        *milliseconds = std::chrono::duration<double, std::milli>(to->time - from->time).count();
        return LETHE_OK;
      });
}

lethe_status lethe_graph_begin(lethe_device *device, lethe_stream *stream) {
  return Check("graph_begin", device, stream, {}).then([] { return fail(LETHE_UNSUPPORTED, "graph_begin: a CPU has no graphs"); });
}

// There is no graph that could be given to these.
lethe_status lethe_graph_end(lethe_device *device, lethe_stream *stream, lethe_graph **) {
  return Check("graph_end", device, stream, {}).that(false, "nothing is being recorded").then([] { return LETHE_OK; });
}

lethe_status lethe_graph_launch(lethe_device *device, lethe_graph *, lethe_stream *stream) {
  return Check("graph_launch", device, stream, {}).that(false, "the graph is not one of this device").then([] { return LETHE_OK; });
}

lethe_status lethe_graph_destroy(lethe_device *device, lethe_graph *) {
  return Check("graph_destroy", device, nullptr, {}).that(false, "the graph is not one of this device").then([] { return LETHE_OK; });
}
