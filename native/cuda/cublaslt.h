// The part of cuBLASLt's interface that matrix products use, declared here so that it need not be there when Lethe is built, and
// found when a device is opened. Values and sizes: NVIDIA's cublasLt.h, the same in CUDA 12 and 13.
#pragma once

#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>
#include <string>

namespace lethe::gpu {

using CublasLtHandle = void *;
using CublasLtMatmulDesc = void *;
using CublasLtLayout = void *;
using CublasLtPreference = void *;

// cublasStatus_t
constexpr int kCublasSuccess = 0;
constexpr int kCublasNotInitialized = 1;
constexpr int kCublasAllocFailed = 3;
constexpr int kCublasInvalidValue = 7;
constexpr int kCublasArchMismatch = 8;
constexpr int kCublasExecutionFailed = 13;
constexpr int kCublasNotSupported = 15;

// cudaDataType_t, cublasComputeType_t, cublasOperation_t
constexpr int kCudaR32F = 0;
constexpr int kCudaR16Bf = 14;
constexpr int kCublasCompute32F = 68;
constexpr int32_t kCublasOpN = 0;
constexpr int32_t kCublasOpT = 1;

// cublasLtMatmulDescAttributes_t: int32_t each
constexpr int kMatmulDescTransA = 3;
constexpr int kMatmulDescTransB = 4;

// cublasLtMatmulPreferenceAttributes_t: uint64_t the first, uint32_t the others
constexpr int kPreferenceMaxWorkspaceBytes = 1;
constexpr int kPreferenceMinAlignmentA = 5;
constexpr int kPreferenceMinAlignmentB = 6;
constexpr int kPreferenceMinAlignmentC = 7;
constexpr int kPreferenceMinAlignmentD = 8;

struct CublasLtAlgo {
  uint64_t data[8];
};

struct CublasLtHeuristic {
  CublasLtAlgo algo;
  size_t workspace_bytes;
  int state;  // cublasStatus_t
  float waves;
  int reserved[4];
};
static_assert(sizeof(CublasLtHeuristic) == 96);

// name, result, parameters
#define LETHE_CUBLASLT(X)                                                                                                     \
  X(Create, int, (CublasLtHandle *))                                                                                          \
  X(Destroy, int, (CublasLtHandle))                                                                                           \
  X(GetVersion, size_t, ())                                                                                                   \
  X(GetStatusName, const char *, (int))                                                                                       \
  X(MatmulDescCreate, int, (CublasLtMatmulDesc *, int compute, int scale_type))                                               \
  X(MatmulDescDestroy, int, (CublasLtMatmulDesc))                                                                             \
  X(MatmulDescSetAttribute, int, (CublasLtMatmulDesc, int attribute, const void *value, size_t bytes))                        \
  X(MatrixLayoutCreate, int, (CublasLtLayout *, int type, uint64_t rows, uint64_t columns, int64_t ld))                       \
  X(MatrixLayoutDestroy, int, (CublasLtLayout))                                                                               \
  X(MatmulPreferenceCreate, int, (CublasLtPreference *))                                                                      \
  X(MatmulPreferenceDestroy, int, (CublasLtPreference))                                                                       \
  X(MatmulPreferenceSetAttribute, int, (CublasLtPreference, int attribute, const void *value, size_t bytes))                  \
  X(MatmulAlgoGetHeuristic, int,                                                                                              \
    (CublasLtHandle, CublasLtMatmulDesc, CublasLtLayout a, CublasLtLayout b, CublasLtLayout c, CublasLtLayout d,              \
     CublasLtPreference, int asked, CublasLtHeuristic *results, int *given))                                                  \
  X(Matmul, int,                                                                                                              \
    (CublasLtHandle, CublasLtMatmulDesc, const void *alpha, const void *a, CublasLtLayout, const void *b, CublasLtLayout,     \
     const void *beta, const void *c, CublasLtLayout, void *d, CublasLtLayout, const CublasLtAlgo *, void *workspace,         \
     size_t workspace_bytes, cudaStream_t))

#define LETHE_FIELD(name, result, parameters) result(*name) parameters = nullptr;
struct CublasLt {
  LETHE_CUBLASLT(LETHE_FIELD)
  std::string file;  // where it was found

  std::string version() const;  // "13.1.0"
};
#undef LETHE_FIELD

// The functions of cuBLASLt 12 or 13: of `file`, or where that is empty of the system's. Raises LETHE_UNSUPPORTED with what was
// found instead. (The emulator has its own.)
CublasLt load_cublaslt(const std::string &file);

// name.13, then name.12, each by the system's loader and in the folders that the pattern `toolkits` names, the last of them first.
CublasLt search_cublaslt(const std::string &name, const std::string &toolkits);

}  // namespace lethe::gpu
