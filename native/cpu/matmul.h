// Matrix products by oneDNN, one primitive a shape.
#pragma once

#include <memory>
#include <string>

#include "device.h"

namespace lethe {

struct Product {
  int64_t M, N, K;
  int64_t ld_a, ld_b, ld_c;
  int32_t dtype, c_dtype, layout, accumulate;

  bool operator==(const Product &) const = default;
};

class MatrixProducts {
 public:
  MatrixProducts();
  ~MatrixProducts();

  // Holds oneDNN to the tier's instructions. The first tier of the process stays; throws UNSUPPORTED for another one.
  static void cap(const Tier &tier);
  static std::string version();
  // The instruction set that oneDNN is held to under this tier.
  static const char *isa(const Tier &tier);

  void multiply(lethe_device &device, const Product &product, void *c, const void *a, const void *b);

 private:
  class Primitives;

  void multiply_widened(lethe_device &device, const Product &narrow, void *c, const void *a, const void *b);

  const std::unique_ptr<Primitives> primitives_;
};

}  // namespace lethe
