#include "options.h"

#include <algorithm>
#include <cstdlib>
#include <string>
#include <string_view>
#include <thread>

namespace simt {
namespace {

std::string_view variable(const char *name) {
  const char *value = std::getenv((std::string("LETHE_SIMT_") + name).c_str());
  return value == nullptr ? "" : value;
}

uint64_t number(const char *name, uint64_t otherwise) {
  const std::string_view value = variable(name);
  return value.empty() ? otherwise : std::strtoull(value.data(), nullptr, 10);
}

Options from_environment() {
  Options read;
  const std::string_view order = variable("ORDER"), copies = variable("COPIES");
  read.order = order == "reverse" ? Order::kReverse : order == "random" ? Order::kRandom : Order::kForward;
  read.copies = copies == "early" ? CopyTime::kEarly : copies == "random" ? CopyTime::kRandom : CopyTime::kLate;
  read.seed = number("SEED", read.seed);
  const unsigned cores = std::max(1u, std::thread::hardware_concurrency());
  read.threads = static_cast<int>(std::clamp<uint64_t>(number("THREADS", std::min(cores, 2u)), 1, 64));
  read.multiprocessors = static_cast<int>(std::clamp<uint64_t>(number("MULTIPROCESSORS", 4), 1, 1024));
  read.memory_bytes = std::max<uint64_t>(number("MEMORY_MIB", read.memory_bytes >> 20), 1) << 20;
  read.strict = number("STRICT", 0) != 0;
  read.signals = number("SIGNALS", 0) != 0;
  read.ptx = variable("PTX");
  return read;
}

}  // namespace

Options &options() {
  static Options options = from_environment();
  return options;
}

}  // namespace simt
