// Matrix products: cuBLASLt's, one plan a shape.
#pragma once

#include <compare>
#include <map>

#include "cublaslt.h"
#include "device.h"

namespace lethe::gpu {

struct Product {
  int64_t M, N, K;
  int64_t ld_a, ld_b, ld_c;
  int32_t dtype, c_dtype, layout;
  uint32_t align_a, align_b, align_c;  // bytes that the addresses are multiples of, at most 16

  auto operator<=>(const Product &) const = default;
};

class MatrixProducts {
 public:
  MatrixProducts(lethe_device *device, const CublasLt &cublas);
  ~MatrixProducts();
  MatrixProducts(const MatrixProducts &) = delete;
  MatrixProducts &operator=(const MatrixProducts &) = delete;

  const CublasLt &library() const { return cublas_; }

  // c = a b + beta c
  void multiply(lethe_device *device, const Product &product, void *c, const void *a, const void *b, float beta, lethe_stream *stream);

 private:
  class Plan;

  void check(lethe_device *device, int status, const char *call) const;

  const CublasLt cublas_;
  CublasLtHandle handle_ = nullptr;
  std::map<Product, Plan> plans_;
};

}  // namespace lethe::gpu
