// The functions of cuBLASLt that the host code calls (cuda/cublaslt.h): products accumulated in fp32, k after k, of exactly what
// the descriptions say, which are checked (sizes, strides, alignment), and its workspace used up.
#include "../cuda/cublaslt.h"

#include <algorithm>
#include <cstdarg>
#include <cstring>
#include <vector>

#include "context.h"
#include "heap.h"
#include "shadow.h"

namespace simt {
namespace {

using namespace lethe::gpu;

constexpr size_t kVersion = 130000;
constexpr uint64_t kMagic = 0x7369'6d74'6c74;   // what an algorithm of ours carries
constexpr size_t kWorkspaceUsed = size_t{64} << 10, kWorkspaceAlignment = 256;

struct Desc {
  int32_t transpose_a = kCublasOpN, transpose_b = kCublasOpN;
};

// Column-major.
struct Layout {
  int type;
  int64_t rows, columns, ld;

  size_t element() const { return type == kCudaR16Bf ? 2 : 4; }
  size_t bytes() const { return (static_cast<size_t>(ld) * static_cast<size_t>(columns - 1) + static_cast<size_t>(rows)) * element(); }
  auto operator<=>(const Layout &) const = default;
};

struct Preference {
  uint64_t workspace_bytes = 0;
  uint32_t alignment[4] = {256, 256, 256, 256};
};

thread_local std::string why;

[[gnu::format(printf, 2, 3)]] int refuse(int status, const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  char text[256];
  std::vsnprintf(text, sizeof text, format, arguments);
  why = text;
  va_end(arguments);
  return status;
}

const char *status_name(int status) {
  static thread_local std::string text;
  const char *name = status == kCublasSuccess           ? "CUBLAS_STATUS_SUCCESS"
                     : status == kCublasNotInitialized  ? "CUBLAS_STATUS_NOT_INITIALIZED"
                     : status == kCublasAllocFailed     ? "CUBLAS_STATUS_ALLOC_FAILED"
                     : status == kCublasInvalidValue    ? "CUBLAS_STATUS_INVALID_VALUE"
                     : status == kCublasArchMismatch    ? "CUBLAS_STATUS_ARCH_MISMATCH"
                     : status == kCublasExecutionFailed ? "CUBLAS_STATUS_EXECUTION_FAILED"
                                                        : "CUBLAS_STATUS_NOT_SUPPORTED";
  text = name;
  if (!why.empty()) text += ": " + why;
  why.clear();
  return text.c_str();
}

template <class T, class Handle>
int make(Handle *handle, T value) {
  if (handle == nullptr) return refuse(kCublasInvalidValue, "the handle is NULL");
  *handle = new T(value);
  return kCublasSuccess;
}

template <class T>
int destroy(void *handle) {
  delete static_cast<T *>(handle);
  return kCublasSuccess;
}

int make_desc(CublasLtMatmulDesc *desc, int compute, int scale_type) {
  if (compute != kCublasCompute32F || scale_type != kCudaR32F) {
    return refuse(kCublasNotSupported, "compute type %d with scale type %d; the emulator has 68 with 0 (fp32)", compute, scale_type);
  }
  return make(desc, Desc());
}

int set_desc(CublasLtMatmulDesc desc, int attribute, const void *value, size_t bytes) {
  if (bytes != sizeof(int32_t) || value == nullptr) return refuse(kCublasInvalidValue, "attribute %d given by %zu bytes", attribute, bytes);
  int32_t operation;
  std::memcpy(&operation, value, sizeof operation);
  if (operation != kCublasOpN && operation != kCublasOpT) return refuse(kCublasInvalidValue, "operation %d", operation);
  Desc &its = *static_cast<Desc *>(desc);
  if (attribute == kMatmulDescTransA) {
    its.transpose_a = operation;
  } else if (attribute == kMatmulDescTransB) {
    its.transpose_b = operation;
  } else {
    return refuse(kCublasNotSupported, "attribute %d of a product", attribute);
  }
  return kCublasSuccess;
}

int make_layout(CublasLtLayout *layout, int type, uint64_t rows, uint64_t columns, int64_t ld) {
  if (type != kCudaR32F && type != kCudaR16Bf) return refuse(kCublasNotSupported, "element type %d", type);
  if (rows == 0 || columns == 0 || rows > INT32_MAX || columns > INT32_MAX || ld < static_cast<int64_t>(rows)) {
    return refuse(kCublasInvalidValue, "%llu rows, %llu columns with leading dimension %lld", static_cast<unsigned long long>(rows),
                  static_cast<unsigned long long>(columns), static_cast<long long>(ld));
  }
  return make(layout, Layout{type, static_cast<int64_t>(rows), static_cast<int64_t>(columns), ld});
}

int set_preference(CublasLtPreference preference, int attribute, const void *value, size_t bytes) {
  Preference &its = *static_cast<Preference *>(preference);
  if (attribute == kPreferenceMaxWorkspaceBytes && bytes == sizeof its.workspace_bytes) {
    std::memcpy(&its.workspace_bytes, value, bytes);
    return kCublasSuccess;
  }
  const int operand = attribute - kPreferenceMinAlignmentA;
  if (operand < 0 || operand > 3 || bytes != sizeof(uint32_t)) {
    return refuse(kCublasInvalidValue, "preference %d given by %zu bytes", attribute, bytes);
  }
  std::memcpy(&its.alignment[operand], value, bytes);
  return kCublasSuccess;
}

// Whether the layouts make a product: D (m, n) = op(A) (m, k) op(B) (k, n).
int check_layouts(const Desc &desc, const Layout &a, const Layout &b, const Layout &c, const Layout &d) {
  const bool turned_a = desc.transpose_a == kCublasOpT, turned_b = desc.transpose_b == kCublasOpT;
  const int64_t m = turned_a ? a.columns : a.rows, k = turned_a ? a.rows : a.columns;
  const int64_t k_of_b = turned_b ? b.columns : b.rows, n = turned_b ? b.rows : b.columns;
  if (k != k_of_b || c.rows != m || c.columns != n || d.rows != m || d.columns != n) {
    return refuse(kCublasInvalidValue, "op(A) (%lld, %lld) op(B) (%lld, %lld) into C (%lld, %lld), D (%lld, %lld)", static_cast<long long>(m),
                  static_cast<long long>(k), static_cast<long long>(k_of_b), static_cast<long long>(n), static_cast<long long>(c.rows),
                  static_cast<long long>(c.columns), static_cast<long long>(d.rows), static_cast<long long>(d.columns));
  }
  if (a.type != b.type || c.type != d.type || (a.type == kCudaR32F && c.type != kCudaR32F)) {
    return refuse(kCublasNotSupported, "element types %d, %d into %d, %d", a.type, b.type, c.type, d.type);
  }
  return kCublasSuccess;
}

// An algorithm remembers what it was found for, as NVIDIA's is only good for that.
struct Found {
  uint64_t magic;
  uint64_t layouts;
  uint64_t workspace_bytes;
  uint32_t alignment[4];
};
static_assert(sizeof(Found) <= sizeof(CublasLtAlgo));

uint64_t mix(std::initializer_list<int64_t> values) {
  uint64_t hash = kMagic;
  for (const int64_t value : values) hash = (hash ^ static_cast<uint64_t>(value)) * 0x9e3779b97f4a7c15u;
  return hash;
}

uint64_t mix(const Desc &desc, const Layout &a, const Layout &b, const Layout &c, const Layout &d) {
  return mix({desc.transpose_a, desc.transpose_b, a.type, a.rows, a.columns, a.ld, b.rows, b.columns, b.ld, c.type, c.ld, d.ld});
}

int heuristic(CublasLtHandle, CublasLtMatmulDesc desc, CublasLtLayout a, CublasLtLayout b, CublasLtLayout c, CublasLtLayout d,
              CublasLtPreference preference, int asked, CublasLtHeuristic *results, int *given) {
  if (asked < 1 || results == nullptr || given == nullptr) return refuse(kCublasInvalidValue, "%d results are asked for", asked);
  const Desc &its = *static_cast<Desc *>(desc);
  const Layout &la = *static_cast<Layout *>(a), &lb = *static_cast<Layout *>(b), &lc = *static_cast<Layout *>(c),
               &ld = *static_cast<Layout *>(d);
  const Preference &wanted = *static_cast<Preference *>(preference);
  if (const int status = check_layouts(its, la, lb, lc, ld); status != kCublasSuccess) return status;
  Found found = {kMagic, mix(its, la, lb, lc, ld), std::min<uint64_t>(kWorkspaceUsed, wanted.workspace_bytes), {}};
  std::copy_n(wanted.alignment, 4, found.alignment);
  results[0] = {};
  std::memcpy(results[0].algo.data, &found, sizeof found);
  results[0].workspace_bytes = found.workspace_bytes;
  results[0].state = kCublasSuccess;
  *given = 1;
  return kCublasSuccess;
}

// op(X) as fp32, (outer, k) with k contiguous where `k_contiguous`, else (k, outer).
std::vector<float> packed(const void *matrix, const Layout &layout, bool turned, bool k_contiguous, bool left) {
  const int64_t rows = layout.rows, columns = layout.columns;
  const bool k_is_row = left == turned;  // of the matrix as it is stored: A^T and B have k along their rows
  const int64_t outer = k_is_row ? columns : rows, k = k_is_row ? rows : columns;
  std::vector<float> result(static_cast<size_t>(outer * k));
  for (int64_t column = 0; column < columns; column++) {
    for (int64_t row = 0; row < rows; row++) {
      const int64_t from = column * layout.ld + row;
      const int64_t at_k = k_is_row ? row : column, at = k_is_row ? column : row;
      result[static_cast<size_t>(k_contiguous ? at * k + at_k : at_k * outer + at)] =
          layout.type == kCudaR32F ? static_cast<const float *>(matrix)[from]
                                   : __uint_as_float(static_cast<unsigned>(static_cast<const uint16_t *>(matrix)[from]) << 16);
    }
  }
  return result;
}

struct Operands {
  Desc desc;
  Layout a, b, c, d;
  const void *a_data, *b_data, *c_data;
  void *d_data;
  float alpha, beta;
};

void multiply(const Operands &o) {
  const int64_t m = o.d.rows, n = o.d.columns;
  const std::vector<float> left = packed(o.a_data, o.a, o.desc.transpose_a == kCublasOpT, false, true);   // (k, m)
  const std::vector<float> right = packed(o.b_data, o.b, o.desc.transpose_b == kCublasOpT, true, false);  // (n, k)
  const int64_t k = static_cast<int64_t>(right.size()) / n;
  constexpr int64_t kRows = 32;
  for (int64_t column = 0; column < n; column++) {
    for (int64_t row = 0; row < m; row += kRows) {
      const int64_t rows = std::min(kRows, m - row);
      float sum[kRows] = {};
      const float *const of_column = right.data() + column * k;
      const float *of_row = left.data() + row;
      if (rows == kRows) {
        for (int64_t i = 0; i < k; i++, of_row += m) {
          for (int64_t r = 0; r < kRows; r++) sum[r] = std::fma(of_row[r], of_column[i], sum[r]);
        }
      } else {
        for (int64_t i = 0; i < k; i++, of_row += m) {
          for (int64_t r = 0; r < rows; r++) sum[r] = std::fma(of_row[r], of_column[i], sum[r]);
        }
      }
      for (int64_t r = 0; r < rows; r++) {
        const int64_t from = column * o.c.ld + row + r, to = column * o.d.ld + row + r;
        const float before = o.beta == 0.0f ? 0.0f
                             : o.c.type == kCudaR32F
                                 ? static_cast<const float *>(o.c_data)[from]
                                 : __uint_as_float(static_cast<unsigned>(static_cast<const uint16_t *>(o.c_data)[from]) << 16);
        const float value = o.beta == 0.0f ? o.alpha * sum[r] : o.alpha * sum[r] + o.beta * before;
        if (o.d.type == kCudaR32F) {
          static_cast<float *>(o.d_data)[to] = value;
        } else {
          static_cast<uint16_t *>(o.d_data)[to] = static_cast<uint16_t>(bf16_of(value));
        }
      }
    }
  }
}

struct Touched {
  const char *name;
  const void *data;
  const Layout &layout;
  Access access;
};

// What is wrong with the matrices' memory, or "".
std::string fault(std::initializer_list<Touched> matrices) {
  for (const Touched &matrix : matrices) {
    const size_t column = static_cast<size_t>(matrix.layout.rows) * matrix.layout.element();
    for (int64_t i = 0; i < matrix.layout.columns; i++) {
      const char *const at = static_cast<const char *>(matrix.data) + static_cast<size_t>(i * matrix.layout.ld) * matrix.layout.element();
      const std::string what = check_device_range(at, column, matrix.access);
      if (!what.empty()) return std::string("matrix product, ") + matrix.name + ": " + what;
    }
  }
  return "";
}

int matmul(CublasLtHandle handle, CublasLtMatmulDesc desc, const void *alpha, const void *a, CublasLtLayout a_layout, const void *b,
           CublasLtLayout b_layout, const void *beta, const void *c, CublasLtLayout c_layout, void *d, CublasLtLayout d_layout,
           const CublasLtAlgo *algo, void *workspace, size_t workspace_bytes, cudaStream_t stream) {
  if (handle == nullptr) return refuse(kCublasNotInitialized, "the handle is NULL");
  if (alpha == nullptr || beta == nullptr || a == nullptr || b == nullptr || c == nullptr || d == nullptr || algo == nullptr) {
    return refuse(kCublasInvalidValue, "an argument is NULL");
  }
  Operands o = {*static_cast<Desc *>(desc), *static_cast<Layout *>(a_layout), *static_cast<Layout *>(b_layout),
                *static_cast<Layout *>(c_layout), *static_cast<Layout *>(d_layout), a, b, c, d, 0, 0};
  std::memcpy(&o.alpha, alpha, sizeof o.alpha);
  std::memcpy(&o.beta, beta, sizeof o.beta);
  if (const int status = check_layouts(o.desc, o.a, o.b, o.c, o.d); status != kCublasSuccess) return status;
  Found found;
  std::memcpy(&found, algo->data, sizeof found);
  if (found.magic != kMagic || found.layouts != mix(o.desc, o.a, o.b, o.c, o.d)) {
    return refuse(kCublasInvalidValue, "the algorithm was found for another product");
  }
  if (workspace_bytes < found.workspace_bytes || reinterpret_cast<uintptr_t>(workspace) % kWorkspaceAlignment != 0 ||
      (found.workspace_bytes > 0 && workspace == nullptr)) {
    return refuse(kCublasInvalidValue, "the algorithm needs %llu bytes of workspace, aligned to 256; given are %zu at %p",
                  static_cast<unsigned long long>(found.workspace_bytes), workspace_bytes, workspace);
  }
  const void *const addresses[] = {a, b, c, d};
  for (int i = 0; i < 4; i++) {
    if (reinterpret_cast<uintptr_t>(addresses[i]) % found.alignment[i] != 0) {
      return refuse(kCublasInvalidValue, "%c at %p is not aligned to the %u bytes that the algorithm was found for", "ABCD"[i],
                    addresses[i], found.alignment[i]);
    }
  }
  const cudaError_t status = issue(stream, [o, workspace, used = static_cast<size_t>(found.workspace_bytes)] {
    const std::string what = fault({{"A", o.a_data, o.a, Access::kRead},
                                    {"B", o.b_data, o.b, Access::kRead},
                                    {"C", o.c_data, o.c, o.beta == 0.0f ? Access::kWrite : Access::kRead},
                                    {"D", o.d_data, o.d, Access::kWrite}});
    if (!what.empty()) return failed(cudaErrorIllegalAddress, what);
    if (used > 0) {
      const std::string short_of = check_device_range(workspace, used, Access::kWrite);
      if (!short_of.empty()) return failed(cudaErrorIllegalAddress, "matrix product, workspace: " + short_of);
      std::memset(workspace, 0xff, used);
    }
    multiply(o);
    for (int64_t i = 0; i < o.d.columns; i++) {
      shadow_of_device(static_cast<char *>(o.d_data) + static_cast<size_t>(i * o.d.ld) * o.d.element(),
                       static_cast<size_t>(o.d.rows) * o.d.element(), Shadow::kDefined);
    }
    return cudaSuccess;
  });
  return status == cudaSuccess ? kCublasSuccess : refuse(kCublasExecutionFailed, "%s", cudaGetErrorString(status));
}

}  // namespace
}  // namespace simt

namespace lethe::gpu {

std::string CublasLt::version() const { return "13.0.0"; }

CublasLt load_cublaslt(const std::string &) {
  CublasLt table;
  table.Create = [](CublasLtHandle *handle) { return simt::make(handle, 0); };
  table.Destroy = simt::destroy<int>;
  table.GetVersion = [] { return simt::kVersion; };
  table.GetStatusName = simt::status_name;
  table.MatmulDescCreate = simt::make_desc;
  table.MatmulDescDestroy = simt::destroy<simt::Desc>;
  table.MatmulDescSetAttribute = simt::set_desc;
  table.MatrixLayoutCreate = simt::make_layout;
  table.MatrixLayoutDestroy = simt::destroy<simt::Layout>;
  table.MatmulPreferenceCreate = [](CublasLtPreference *preference) { return simt::make(preference, simt::Preference()); };
  table.MatmulPreferenceDestroy = simt::destroy<simt::Preference>;
  table.MatmulPreferenceSetAttribute = simt::set_preference;
  table.MatmulAlgoGetHeuristic = simt::heuristic;
  table.Matmul = simt::matmul;
  table.file = "the emulator's";
  return table;
}

}  // namespace lethe::gpu
