// A launch: its blocks, dealt to threads of the operating system, and what is said when one fails.
#include <cxxabi.h>
#include <dlfcn.h>
#include <link.h>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <thread>

#include "context.h"

namespace simt {
namespace {

// Multiprocessors that no launch uses at the moment.
class Spare {
 public:
  std::unique_ptr<Multiprocessor> take() {
    const std::lock_guard lock(mutex_);
    if (spare_.empty()) return std::make_unique<Multiprocessor>();
    std::unique_ptr<Multiprocessor> taken = std::move(spare_.back());
    spare_.pop_back();
    return taken;
  }
  void give(std::unique_ptr<Multiprocessor> m) {
    const std::lock_guard lock(mutex_);
    spare_.push_back(std::move(m));
  }

  static Spare &get() {
    static Spare *spare = new Spare();
    return *spare;
  }

 private:
  std::mutex mutex_;
  std::vector<std::unique_ptr<Multiprocessor>> spare_;
};

// The blocks of a grid that are still to run, and the first failure.
class Work {
 public:
  explicit Work(const Grid &grid) : grid_(grid), blocks_(static_cast<uint64_t>(grid.size.x) * grid.size.y * grid.size.z) {}

  void run() {
    std::unique_ptr<Multiprocessor> m = Spare::get().take();
    catch_signals();
    m->begin(grid_);
    for (uint64_t next; !stop_ && (next = next_++) < blocks_;) {
      const uint64_t index = options().order == Order::kReverse ? blocks_ - 1 - next : next;
      const uint64_t x = grid_.size.x, y = grid_.size.y;
      const uint3 block = {static_cast<unsigned>(index % x), static_cast<unsigned>(index / x % y), static_cast<unsigned>(index / (x * y))};
      if (!m->run(block)) {
        keep(*m);
        break;
      }
    }
    Spare::get().give(std::move(m));
  }

  uint64_t blocks() const { return blocks_; }
  cudaError_t result() const { return status_ == cudaSuccess ? cudaSuccess : failed(status_, words_); }

 private:
  void keep(const Multiprocessor &m) {
    const std::lock_guard lock(mutex_);
    stop_ = true;
    if (status_ != cudaSuccess) return;
    const Failure &failure = m.failure;
    const uint3 thread = m.current == nullptr ? uint3{0, 0, 0} : m.current->thread;
    char place[192];
    std::snprintf(place, sizeof place, ", block (%u, %u, %u), thread (%u, %u, %u): ", m.block.x, m.block.y, m.block.z, thread.x, thread.y,
                  thread.z);
    status_ = failure.status;
    words_ = std::string(failure.kind) + " in " + name_of_kernel(grid_.call->kernel) + place + failure.what;
    if (failure.instruction != nullptr) words_ += ", at " + place_of(failure.instruction);
  }

  const Grid &grid_;
  const uint64_t blocks_;
  std::atomic<uint64_t> next_ = 0;
  std::atomic<bool> stop_ = false;
  std::mutex mutex_;
  cudaError_t status_ = cudaSuccess;
  std::string words_;
};

// Threads that help with one launch at a time. They are never joined: a process ends without asking a library first.
class Helpers {
 public:
  explicit Helpers(int count) {
    for (int i = 0; i < count; i++) std::thread([this] { serve(); }).detach();
  }

  // work.run() on this thread and on helpers. False where they help another launch.
  bool run(Work &work) {
    const std::unique_lock one_launch(launch_, std::try_to_lock);
    if (!one_launch) return false;
    {
      const std::lock_guard lock(mutex_);
      work_ = &work;
      round_++;
    }
    wake_.notify_all();
    work.run();
    std::unique_lock lock(mutex_);
    work_ = nullptr;  // who has not begun yet need not
    done_.wait(lock, [this] { return busy_ == 0; });
    return true;
  }

 private:
  void serve() {
    std::unique_lock lock(mutex_);
    for (uint64_t seen = 0;;) {
      wake_.wait(lock, [&] { return work_ != nullptr && round_ != seen; });
      seen = round_;
      Work &work = *work_;
      busy_++;
      lock.unlock();
      work.run();
      lock.lock();
      if (--busy_ == 0) done_.notify_all();
    }
  }

  std::mutex launch_, mutex_;
  std::condition_variable wake_, done_;
  Work *work_ = nullptr;
  uint64_t round_ = 0;
  int busy_ = 0;
};

}  // namespace

std::string symbol_of(const void *kernel) {
  Dl_info info;
  return dladdr(kernel, &info) != 0 && info.dli_sname != nullptr && info.dli_saddr == kernel ? info.dli_sname : "";
}

std::string name_of_kernel(const void *kernel) {
  const std::string symbol = symbol_of(kernel);
  if (symbol.empty()) return "an unnamed kernel";
  int status = 0;
  const std::unique_ptr<char, decltype(&std::free)> readable(abi::__cxa_demangle(symbol.c_str(), nullptr, nullptr, &status), std::free);
  std::string name = status == 0 ? readable.get() : symbol;
  if (name.starts_with("void ")) name.erase(0, 5);
  const size_t parameters = name.find('(');
  return parameters == std::string::npos ? name : name.substr(0, parameters);
}

std::string place_of(const void *after_instruction) {
  const char *const instruction = static_cast<const char *>(after_instruction) - 1;
  Dl_info info;
  if (dladdr(instruction, &info) == 0) return "an unknown place";
  // a position-independent object's addresses count from where it was loaded
  const auto *const header = static_cast<const ElfW(Ehdr) *>(info.dli_fbase);
  const char *const base = header->e_type == ET_DYN ? static_cast<const char *>(info.dli_fbase) : nullptr;
  char text[512];
  std::snprintf(text, sizeof text, "addr2line -s -i -e '%s' %#tx 2>/dev/null", info.dli_fname, instruction - base);
  std::string place;
  const std::unique_ptr<FILE, int (*)(FILE *)> lines(popen(text, "re"), pclose);
  while (lines != nullptr && std::fgets(text, sizeof text, lines.get()) != nullptr) {
    const std::string_view line(text, std::strcspn(text, " \n"));  // without (discriminator 3)
    place += (place.empty() ? "" : ", in ") + std::string(line);
  }
  if (!place.empty()) return place;
  std::snprintf(text, sizeof text, "%s+%#tx", info.dli_fname, instruction - static_cast<const char *>(info.dli_fbase));
  return text;
}

cudaError_t run_grid(const Grid &grid) {
  Work work(grid);
#if defined(SIMT_CHECK)
  static std::mutex one_at_a_time;  // the checker's clocks are one multiprocessor's
  const std::lock_guard lock(one_at_a_time);
  work.run();
#else
  constexpr uint64_t kThreadsWorthHelp = 2048;  // fewer are done before a helper wakes up
  static Helpers *const helpers = options().threads > 1 ? new Helpers(options().threads - 1) : nullptr;
  const uint64_t threads = work.blocks() * grid.block.x * grid.block.y * grid.block.z;
  const bool helped = helpers != nullptr && work.blocks() > 1 && threads >= kThreadsWorthHelp && helpers->run(work);
  if (!helped) work.run();
#endif
  return work.result();
}

}  // namespace simt
