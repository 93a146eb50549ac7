// The checks of one call, in the order of its parameters; the first that fails is what the caller is told. device.h is the
// library's own: it says what a lethe_device is (kernels, owns, lost, kHostReadsTensors).
#pragma once

#include <initializer_list>

#include "device.h"
#include "failure.h"

namespace lethe {

struct Size {
  const char *name;
  int64_t value;
};

class Check {
 public:
  // Every size must be at least 1.
  Check(const char *operation, const lethe_device *device, const lethe_stream *stream, std::initializer_list<Size> sizes);

  Check &dtype(const char *name, int32_t dtype);
  Check &choice(const char *name, int64_t value, int64_t low, int64_t high);
  Check &that(bool good, const char *otherwise);

  // A tensor of rows rows that start `ld` elements apart: not NULL, aligned to its element, its bytes countable.
  Check &matrix(const char *name, const void *tensor, int64_t element_bytes, int64_t rows, int64_t width, int64_t ld);
  Check &matrix(const char *name, const void *tensor, int64_t element_bytes, int64_t rows, int64_t width) {
    return matrix(name, tensor, element_bytes, rows, width, width);
  }
  Check &vector(const char *name, const void *tensor, int64_t element_bytes, int64_t n) {
    return matrix(name, tensor, element_bytes, 1, n, n);
  }
  // An int32 tensor with values in [low, high), or `also`: read where the host can read tensors.
  Check &indices(const char *name, const int32_t *index, int64_t n, int64_t low, int64_t high, int32_t also);
  Check &indices(const char *name, const int32_t *index, int64_t n, int64_t low, int64_t high) {
    return indices(name, index, n, low, high, static_cast<int32_t>(low));
  }

  // The product of sizes that make one width, -1 where it overflows.
  static int64_t product(std::initializer_list<int64_t> sizes);

  // What failed, or else what body() gives.
  template <class Body>
  lethe_status then(Body body) const {
    return status_ != LETHE_OK ? status_ : without_exceptions(what_, body);
  }

 private:
  bool good() const { return status_ == LETHE_OK; }
  void refuse(const char *format, ...) __attribute__((format(printf, 2, 3)));

  lethe_status status_ = LETHE_OK;
  char what_[320];  // operation (shapes)
};

inline int64_t bytes_of(int32_t dtype) { return dtype == LETHE_BF16 ? 2 : 4; }

}  // namespace lethe
