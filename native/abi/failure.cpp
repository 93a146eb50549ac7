#include "failure.h"

#include <cstdarg>
#include <cstdio>
#include <exception>
#include <memory>
#include <new>

namespace lethe {
namespace {

// On the heap: a library that is loaded late has little room for what each thread has of its own.
char *message() {
  static thread_local const auto text = std::make_unique<char[]>(kMessageBytes);
  return text.get();
}

}  // namespace

const char *latest_message() { return message(); }

lethe_status fail(lethe_status status, const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  std::vsnprintf(message(), kMessageBytes, format, arguments);
  va_end(arguments);
  return status;
}

void raise(lethe_status status, const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  std::vsnprintf(message(), kMessageBytes, format, arguments);
  va_end(arguments);
  throw Failure{status, nullptr};
}

lethe_status status_of_exception(const char *what) noexcept {
  try {
    throw;
  } catch (const Failure &failure) {
    char reason[kMessageBytes];
    std::snprintf(reason, sizeof reason, "%s", message());
    fail(failure.status, "%s: %s", what, reason);
    if (failure.keep != nullptr) std::snprintf(failure.keep.get(), kMessageBytes, "%s", message());
    return failure.status;
  } catch (const std::bad_alloc &) {
    return fail(LETHE_OUT_OF_MEMORY, "%s: the host's memory is used up", what);
  } catch (const std::exception &exception) {
    return fail(LETHE_DEVICE_ERROR, "%s: %s", what, exception.what());
  } catch (...) {
    return fail(LETHE_DEVICE_ERROR, "%s: an unknown exception", what);
  }
}

}  // namespace lethe
