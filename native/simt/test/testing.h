// What the emulator's tests share: expectations that fail with numbers, launches on fresh device memory.
#pragma once

#include <cuda_runtime.h>

#include <cmath>
#include <cstdio>
#include <functional>
#include <string>
#include <vector>

#include "options.h"
#include "simt.h"

namespace testing {

#if defined(SIMT_CHECK)
constexpr bool kChecked = true;
#else
constexpr bool kChecked = false;
#endif
#if defined(__SANITIZE_ADDRESS__)
constexpr bool kSanitized = true;
#else
constexpr bool kSanitized = false;
#endif

inline int failures = 0;
inline const char *running = "";

inline void expect(bool good, const std::string &what, const char *file = __builtin_FILE(), int line = __builtin_LINE()) {
  if (good) return;
  failures++;
  std::fprintf(stderr, "%s:%d: %s: %s\n", file, line, running, what.c_str());
}

template <class A, class B>
void expect_equal(const A &found, const B &wanted, const std::string &what, const char *file = __builtin_FILE(),
                  int line = __builtin_LINE()) {
  expect(found == wanted, what + " is " + std::to_string(found) + ", not " + std::to_string(wanted), file, line);
}

inline void expect_ok(cudaError_t status, const char *file = __builtin_FILE(), int line = __builtin_LINE()) {
  expect(status == cudaSuccess, std::string("unexpected: ") + cudaGetErrorString(status), file, line);
}

// The status, and every one of these words in its text; the context is then as new.
inline void expect_failure(cudaError_t status, cudaError_t wanted, const std::vector<std::string> &words,
                           const char *file = __builtin_FILE(), int line = __builtin_LINE()) {
  const std::string text = cudaGetErrorString(status);
  expect(status == wanted, std::string("gives ") + cudaGetErrorName(status) + " (" + text + "), not " + cudaGetErrorName(wanted), file, line);
  for (const std::string &word : words) expect(text.find(word) != std::string::npos, "'" + text + "' lacks '" + word + "'", file, line);
  cudaDeviceReset();
}

// Device memory of n elements, as long as it is in scope.
template <class T>
class Buffer {
 public:
  explicit Buffer(size_t n) : n_(n) { expect_ok(cudaMalloc(&data_, n * sizeof(T))); }
  explicit Buffer(const std::vector<T> &values) : Buffer(values.size()) {
    expect_ok(cudaMemcpy(data_, values.data(), n_ * sizeof(T), cudaMemcpyHostToDevice));
  }
  ~Buffer() { cudaFree(data_); }
  Buffer(const Buffer &) = delete;
  Buffer &operator=(const Buffer &) = delete;

  T *data() const { return data_; }
  std::vector<T> values() const {
    std::vector<T> values(n_);
    expect_ok(cudaMemcpy(values.data(), data_, n_ * sizeof(T), cudaMemcpyDeviceToHost));
    return values;
  }

 private:
  size_t n_;
  T *data_ = nullptr;
};

struct Test {
  const char *name;
  std::function<void()> body;
};

// Every test in every order of threads, and with every timing of asynchronous copies; the tests must not mind.
inline int run(const std::vector<Test> &tests) {
  using simt::CopyTime;
  using simt::Order;
  simt::Options &options = simt::options();
  const auto all = [&](Order order, CopyTime copies, const char *words) {
    options.order = order;
    options.copies = copies;
    for (const Test &test : tests) {
      const std::string name = std::string(test.name) + " (" + words + ")";
      running = name.c_str();
      test.body();
      options.order = order;
      options.copies = copies;
      options.strict = false;
    }
  };
  all(Order::kForward, CopyTime::kLate, "forward");
  all(Order::kReverse, CopyTime::kEarly, "reverse");
  for (options.seed = 1; options.seed <= 3; options.seed++) all(Order::kRandom, CopyTime::kRandom, "random");
  std::printf("%zu tests, %d failures\n", tests.size(), failures);
  return failures == 0 ? 0 : 1;
}

}  // namespace testing
