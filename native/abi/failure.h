// How an operation fails: a status, and a text kept for lethe_message of the calling thread.
#pragma once

#include <memory>

#include "lethe.h"

namespace lethe {

constexpr int kMessageBytes = 1024;

struct Failure {
  lethe_status status;
  std::shared_ptr<char[]> keep = nullptr;  // kMessageBytes, where the text goes as well: a device's first failure
};

// Keeps the text and gives back the status.
[[gnu::format(printf, 2, 3)]] lethe_status fail(lethe_status status, const char *format, ...);
// Keeps the text and throws a Failure: without_exceptions puts its own text in front.
[[noreturn, gnu::format(printf, 2, 3)]] void raise(lethe_status status, const char *format, ...);

const char *latest_message();

// The status of the exception being handled.
lethe_status status_of_exception(const char *what) noexcept;

// body(), with what it throws turned into a status; `what` names the operation and its shapes.
template <class Body>
lethe_status without_exceptions(const char *what, Body body) noexcept {
  try {
    return body();
  } catch (...) {
    return status_of_exception(what);
  }
}

}  // namespace lethe
