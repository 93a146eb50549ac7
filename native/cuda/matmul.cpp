// lethe_matmul by cuBLASLt. It thinks in columns: a row-major matrix is its transpose there, so what is computed is
// C^T (N, M) = op(B)^T op(A)^T, with B as its first operand and A as its second.
#include "matmul.h"

#include "check.h"

namespace lethe::gpu {
namespace {

constexpr int64_t kWorkspaceBytes = int64_t{32} << 20;
constexpr size_t kMostPlans = 4096;

lethe_status kind_of(int status) {
  return status == kCublasAllocFailed                                      ? LETHE_OUT_OF_MEMORY
         : status == kCublasNotSupported || status == kCublasArchMismatch ? LETHE_UNSUPPORTED
                                                                            : LETHE_DEVICE_ERROR;
}

int type_of(int32_t dtype) { return dtype == LETHE_BF16 ? kCudaR16Bf : kCudaR32F; }

// The largest power of two up to 16 that divides the address: no product of these types looks at more.
uint32_t alignment(const void *address) {
  const uintptr_t bits = reinterpret_cast<uintptr_t>(address) | 16;
  return static_cast<uint32_t>(bits & (~bits + 1));
}

}  // namespace

// A product's descriptions and the algorithm that the heuristic gave first. It is never timed, so that bits repeat.
class MatrixProducts::Plan {
 public:
  Plan(MatrixProducts *products, lethe_device *device, const Product &p) : products_(products), device_(device) {
    try {
      make(p);
    } catch (...) {
      destroy();
      throw;
    }
  }
  ~Plan() { destroy(); }
  Plan(const Plan &) = delete;
  Plan &operator=(const Plan &) = delete;

  void run(void *c, const void *a, const void *b, float beta, lethe_stream *stream) const {
    const float alpha = 1.0f;
    void *workspace = device_->scratch(stream, kWorkspaceBytes);
    check(lt().Matmul(products_->handle_, product_, &alpha, b, b_, a, a_, &beta, c, c_, c, c_, &algo_, workspace,
                      static_cast<size_t>(kWorkspaceBytes), device_->on(stream)),
          "cublasLtMatmul");
    device_->launched(cudaSuccess, stream, "cublasLtMatmul");
  }

 private:
  const CublasLt &lt() const { return products_->cublas_; }
  void check(int status, const char *call) const { products_->check(device_, status, call); }

  void make(const Product &p) {
    const int32_t turn_b = p.layout == LETHE_NT ? kCublasOpT : kCublasOpN, turn_a = p.layout == LETHE_TN ? kCublasOpT : kCublasOpN;
    check(lt().MatmulDescCreate(&product_, kCublasCompute32F, kCudaR32F), "cublasLtMatmulDescCreate");
    check(lt().MatmulDescSetAttribute(product_, kMatmulDescTransA, &turn_b, sizeof turn_b), "cublasLtMatmulDescSetAttribute");
    check(lt().MatmulDescSetAttribute(product_, kMatmulDescTransB, &turn_a, sizeof turn_a), "cublasLtMatmulDescSetAttribute");
    // rows x columns as columns are stored one after another
    layout(&b_, p.dtype, turn_b == kCublasOpT ? p.K : p.N, turn_b == kCublasOpT ? p.N : p.K, p.ld_b);
    layout(&a_, p.dtype, turn_a == kCublasOpT ? p.M : p.K, turn_a == kCublasOpT ? p.K : p.M, p.ld_a);
    layout(&c_, p.c_dtype, p.N, p.M, p.ld_c);
    check(lt().MatmulPreferenceCreate(&preference_), "cublasLtMatmulPreferenceCreate");
    prefer(kPreferenceMaxWorkspaceBytes, uint64_t{kWorkspaceBytes});
    prefer(kPreferenceMinAlignmentA, p.align_b);
    prefer(kPreferenceMinAlignmentB, p.align_a);
    prefer(kPreferenceMinAlignmentC, p.align_c);
    prefer(kPreferenceMinAlignmentD, p.align_c);
    CublasLtHeuristic first = {};
    int given = 0;
    check(lt().MatmulAlgoGetHeuristic(products_->handle_, product_, b_, a_, c_, c_, preference_, 1, &first, &given),
          "cublasLtMatmulAlgoGetHeuristic");
    if (given < 1) raise(LETHE_UNSUPPORTED, "cublasLtMatmulAlgoGetHeuristic: cuBLASLt has no algorithm for these sizes and strides");
    check(first.state, "cublasLtMatmulAlgoGetHeuristic");
    algo_ = first.algo;
  }

  void layout(CublasLtLayout *layout, int32_t dtype, int64_t rows, int64_t columns, int64_t ld) {
    check(lt().MatrixLayoutCreate(layout, type_of(dtype), static_cast<uint64_t>(rows), static_cast<uint64_t>(columns), ld),
          "cublasLtMatrixLayoutCreate");
  }

  template <class Value>
  void prefer(int attribute, Value value) {
    check(lt().MatmulPreferenceSetAttribute(preference_, attribute, &value, sizeof value), "cublasLtMatmulPreferenceSetAttribute");
  }

  void destroy() {
    if (preference_ != nullptr) lt().MatmulPreferenceDestroy(preference_);
    for (const CublasLtLayout layout : {a_, b_, c_}) {
      if (layout != nullptr) lt().MatrixLayoutDestroy(layout);
    }
    if (product_ != nullptr) lt().MatmulDescDestroy(product_);
  }

  MatrixProducts *const products_;
  lethe_device *const device_;
  CublasLtMatmulDesc product_ = nullptr;
  CublasLtLayout a_ = nullptr, b_ = nullptr, c_ = nullptr;
  CublasLtPreference preference_ = nullptr;
  CublasLtAlgo algo_ = {};
};

MatrixProducts::MatrixProducts(lethe_device *device, const CublasLt &cublas) : cublas_(cublas) {
  device->on(nullptr);
  check(device, cublas_.Create(&handle_), "cublasLtCreate");
}

MatrixProducts::~MatrixProducts() {
  plans_.clear();
  if (handle_ != nullptr) cublas_.Destroy(handle_);
}

void MatrixProducts::check(lethe_device *device, int status, const char *call) const {
  if (status == kCublasSuccess) return;
  if (kind_of(status) == LETHE_DEVICE_ERROR) device->check(cudaDeviceSynchronize(), call);  // what is behind it
  raise(kind_of(status), "%s: %s (cuBLASLt %s)", call, cublas_.GetStatusName(status), cublas_.version().c_str());
}

void MatrixProducts::multiply(lethe_device *device, const Product &product, void *c, const void *a, const void *b, float beta,
                              lethe_stream *stream) {
  auto plan = plans_.find(product);
  if (plan == plans_.end()) {
    if (plans_.size() >= kMostPlans) plans_.clear();
    plan = plans_.try_emplace(product, this, device, product).first;
  }
  plan->second.run(c, a, b, beta, stream);
}

}  // namespace lethe::gpu

lethe_status lethe::matmul(lethe_device *device, void *C, int64_t ld_c, int32_t c_dtype, const void *A, int64_t ld_a, const void *B,
                           int64_t ld_b, int32_t dtype, int32_t layout, int32_t accumulate, int64_t M, int64_t N, int64_t K,
                           lethe_stream *stream) {
  using gpu::alignment;
  const gpu::Product product = {M,     N,       K,      ld_a,         ld_b,         ld_c,
                                dtype, c_dtype, layout, alignment(A), alignment(B), alignment(C)};
  device->products->multiply(device, product, C, A, B, accumulate == 1 ? 1.0f : 0.0f, stream);
  return LETHE_OK;
}

// GPUs have no packed form of weights.
namespace lethe::gpu {

decltype(lethe_packed_bytes) packed_bytes;
decltype(lethe_pack) pack;
decltype(lethe_matmul_packed) matmul_packed;

lethe_status packed_bytes(lethe_device *, int64_t *bytes, int32_t, int64_t, int64_t) {
  *bytes = 0;
  return LETHE_OK;
}

lethe_status pack(lethe_device *, void *, int64_t, const void *, int64_t, int32_t, int64_t, int64_t, lethe_stream *) { return LETHE_OK; }

lethe_status matmul_packed(lethe_device *device, void *C, int64_t ld_c, int32_t c_dtype, const void *A, int64_t ld_a, const void *,
                           int64_t, const void *B, int64_t ld_b, int32_t dtype, int64_t M, int64_t N, int64_t K, lethe_stream *stream) {
  return matmul(device, C, ld_c, c_dtype, A, ld_a, B, ld_b, dtype, LETHE_NT, 0, M, N, K, stream);
}

}  // namespace lethe::gpu
