#include "check.h"

#include <cinttypes>
#include <cstdarg>
#include <cstdio>

namespace lethe {
namespace {

constexpr int64_t kAddressable = int64_t{1} << 56;  // bytes that a process can have on x86-64, at the very most

}  // namespace

Check::Check(const char *operation, const lethe_device *device, const lethe_stream *stream, std::initializer_list<Size> sizes) {
  const int capacity = static_cast<int>(sizeof what_);
  int used = std::snprintf(what_, sizeof what_, "%s", operation);
  const char *separator = " (";
  for (const Size &size : sizes) {
    if (used >= capacity) break;
    used += std::snprintf(what_ + used, static_cast<size_t>(capacity - used), "%s%s %" PRId64, separator, size.name, size.value);
    separator = ", ";
  }
  if (sizes.size() > 0 && used < capacity) std::snprintf(what_ + used, static_cast<size_t>(capacity - used), ")");
  if (device == nullptr) {
    refuse("device is NULL");
  } else if (device->lost() != nullptr) {
    status_ = fail(LETHE_DEVICE_LOST, "%s: the device is lost since an earlier failure: %s", what_, device->lost());
  } else if (stream != nullptr && !device->owns(stream)) {
    refuse("the stream is not one of this device");
  }
  for (const Size &size : sizes) {
    if (size.value < 1) refuse("%s is %" PRId64 ", at least 1 is needed", size.name, size.value);
  }
}

Check &Check::dtype(const char *name, int32_t dtype) {
  if (dtype != LETHE_F32 && dtype != LETHE_BF16) refuse("%s is %d, neither LETHE_F32 (0) nor LETHE_BF16 (1)", name, dtype);
  return *this;
}

Check &Check::choice(const char *name, int64_t value, int64_t low, int64_t high) {
  if (value < low || value > high) refuse("%s is %" PRId64 ", not in %" PRId64 " to %" PRId64, name, value, low, high);
  return *this;
}

Check &Check::that(bool good, const char *otherwise) {
  if (!good) refuse("%s", otherwise);
  return *this;
}

Check &Check::matrix(const char *name, const void *tensor, int64_t element_bytes, int64_t rows, int64_t width, int64_t ld) {
  if (!good()) return *this;
  int64_t elements, bytes;
  if (width < 1) {
    refuse("the width of %s overflows", name);
  } else if (ld < width) {
    refuse("the rows of %s start %" PRId64 " elements apart, they are %" PRId64 " wide", name, ld, width);
  } else if (__builtin_mul_overflow(rows - 1, ld, &elements) || __builtin_add_overflow(elements, width, &elements) ||
             __builtin_mul_overflow(elements, element_bytes, &bytes) || bytes > kAddressable) {
    refuse("the size of %s overflows", name);
  } else if (tensor == nullptr) {
    refuse("%s is NULL", name);
  } else if (reinterpret_cast<uintptr_t>(tensor) % static_cast<uintptr_t>(element_bytes) != 0) {
    refuse("%s is at %p, not aligned to its elements of %" PRId64 " bytes", name, tensor, element_bytes);
  }
  return *this;
}

Check &Check::indices(const char *name, const int32_t *index, int64_t n, int64_t low, int64_t high, int32_t also) {
  vector(name, index, sizeof *index, n);
  if constexpr (!lethe_device::kHostReadsTensors) return *this;
  for (int64_t i = 0; good() && i < n; i++) {
    if ((index[i] < low || index[i] >= high) && index[i] != also) {
      refuse("%s[%" PRId64 "] is %d, not in %" PRId64 " to %" PRId64, name, i, index[i], low, high - 1);
    }
  }
  return *this;
}

int64_t Check::product(std::initializer_list<int64_t> sizes) {
  int64_t product = 1;
  for (const int64_t size : sizes) {
    if (__builtin_mul_overflow(product, size, &product)) return -1;
  }
  return product;
}

void Check::refuse(const char *format, ...) {
  if (!good()) return;
  char reason[512];
  va_list arguments;
  va_start(arguments, format);
  std::vsnprintf(reason, sizeof reason, format, arguments);
  va_end(arguments);
  status_ = fail(LETHE_INVALID_ARGUMENT, "%s: %s", what_, reason);
}

}  // namespace lethe
