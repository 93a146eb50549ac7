// The runtime's calls and the matrix products, as the host code uses them.
#include "testing.h"

#include "../../cuda/cublaslt.h"

using namespace testing;
using namespace lethe::gpu;

namespace simt_test {

__global__ void add(float *x, float by, int n) {
  const int i = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  if (i < n) x[i] += by;
}

}  // namespace simt_test

namespace {

using simt_test::add;

void memory_is_counted_and_bounded() {
  size_t free = 0, total = 0, less = 0;
  expect_ok(cudaMemGetInfo(&free, &total));
  expect_equal(total, static_cast<size_t>(simt::options().memory_bytes), "the device's memory");
  {
    Buffer<char> some(1 << 20);
    expect(reinterpret_cast<uintptr_t>(some.data()) % 256 == 0, "memory is not aligned to 256 bytes");
    expect_ok(cudaMemGetInfo(&less, &total));
    expect_equal(free - less, size_t{1} << 20, "what is taken");
  }
  expect_ok(cudaMemGetInfo(&less, &total));
  expect_equal(less, free, "what is free again");
  void *address = nullptr;
  expect_failure(cudaMalloc(&address, total + 1), cudaErrorMemoryAllocation, {"out of memory"});
  expect(address == nullptr, "memory that is not to be had has an address");
  int host = 0;
  expect_failure(cudaFree(&host), cudaErrorInvalidValue, {"cudaFree"});
  expect_ok(cudaMalloc(&address, 100));
  expect_ok(cudaFree(address));
  expect_failure(cudaFree(address), cudaErrorInvalidValue, {"an allocation of 100 bytes, freed"});
}

void copies_stay_within_memory() {
  std::vector<float> host(16, 3.0f);
  Buffer<float> x(16), y(16);
  expect_ok(cudaMemcpy(x.data(), host.data(), 64, cudaMemcpyHostToDevice));
  expect_ok(cudaMemcpy(y.data(), x.data(), 64, cudaMemcpyDeviceToDevice));
  expect_ok(cudaMemset(y.data(), 0, 4));
  expect_equal(y.values()[0], 0.0f, "the filled element");
  expect_equal(y.values()[15], 3.0f, "the copied element");
  expect_failure(cudaMemcpy(x.data() + 1, host.data(), 64, cudaMemcpyHostToDevice), cudaErrorInvalidValue,
                 {"the target, 64 bytes, begins at byte 4 of an allocation of 64 bytes"});
  expect_failure(cudaMemcpy(x.data(), y.data(), 64, cudaMemcpyDeviceToHost), cudaErrorInvalidValue, {"the target is device memory"});
  expect_failure(cudaMemset(x.data(), 0, 65), cudaErrorInvalidValue, {"memset"});
  simt::options().strict = true;
  expect_failure(cudaMemcpy(host.data(), x.data(), 64, cudaMemcpyHostToDevice), cudaErrorInvalidValue, {"the target is host memory"});
}

void graphs_replay() {
  cudaStream_t stream = nullptr;
  cudaGraph_t graph = nullptr;
  cudaGraphExec_t executable = nullptr;
  Buffer<float> x(std::vector<float>(100, 1.0f)), y(std::vector<float>(100, 0.0f));
  expect_ok(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
  expect_ok(cudaStreamBeginCapture(stream, cudaStreamCaptureModeRelaxed));
  expect_ok(simt::launch(1, 128, 0, stream, add, x.data(), 2.0f, 100));
  expect_ok(cudaMemcpyAsync(y.data(), x.data(), 400, cudaMemcpyDeviceToDevice, stream));
  expect_failure(cudaStreamSynchronize(stream), cudaErrorStreamCaptureUnsupported, {"capturing"});
  cudaStreamCaptureStatus status;
  expect_ok(cudaStreamIsCapturing(stream, &status));
  expect_equal(static_cast<int>(status), 1, "the status");
  expect_ok(cudaStreamEndCapture(stream, &graph));
  expect_equal(x.values()[99], 1.0f, "the element while it was recorded");
  expect_ok(cudaGraphInstantiate(&executable, graph, 0));
  expect_ok(cudaGraphDestroy(graph));
  for (int i = 0; i < 3; i++) expect_ok(cudaGraphLaunch(executable, stream));
  expect_ok(cudaStreamSynchronize(stream));
  expect_equal(y.values()[99], 7.0f, "the element after three launches");
  expect_failure(cudaStreamEndCapture(stream, &graph), cudaErrorStreamCaptureUnmatched, {"capture"});
  expect_ok(cudaGraphExecDestroy(executable));
  expect_ok(cudaStreamDestroy(stream));
}

void events_take_time() {
  cudaEvent_t from = nullptr, to = nullptr;
  expect_ok(cudaEventCreate(&from));
  expect_ok(cudaEventCreate(&to));
  float milliseconds = -1;
  expect_failure(cudaEventElapsedTime(&milliseconds, from, to), cudaErrorInvalidResourceHandle, {"handle"});
  expect_ok(cudaEventRecord(from));
  expect_ok(cudaEventRecord(to));
  expect_ok(cudaEventSynchronize(to));
  expect_ok(cudaEventElapsedTime(&milliseconds, from, to));
  expect(milliseconds >= 0, "time goes back");
  expect_ok(cudaEventDestroy(from));
  expect_ok(cudaEventDestroy(to));
}

void the_device_describes_itself() {
  cudaDeviceProp properties;
  expect_ok(cudaGetDeviceProperties(&properties, 0));
  int multiprocessors = 0;
  expect_ok(cudaDeviceGetAttribute(&multiprocessors, cudaDevAttrMultiProcessorCount, 0));
  expect_equal(multiprocessors, properties.multiProcessorCount, "multiprocessors");
  expect_failure(cudaSetDevice(1), cudaErrorInvalidDevice, {"device"});
  expect_failure(cudaFuncSetAttribute(reinterpret_cast<const void *>(add), cudaFuncAttributeMaxDynamicSharedMemorySize, 232449),
                 cudaErrorInvalidValue, {"argument"});
}

// D (m, n) = op(A) (m, k) op(B) (k, n) + beta C, column-major, as the host code would ask for it.
class Product {
 public:
  int64_t m = 37, n = 21, k = 45;
  int32_t turn_a = kCublasOpN, turn_b = kCublasOpN;
  int type = kCudaR32F, d_type = kCudaR32F;
  float beta = 0;
  uint32_t alignment = 2;
  int64_t more_ld = 3, less_workspace = 0, shift_a = 0;

  int run() {
    const CublasLt lt = load_cublaslt("");
    CublasLtHandle handle = nullptr;
    CublasLtMatmulDesc desc = nullptr;
    CublasLtPreference preference = nullptr;
    CublasLtLayout la = nullptr, lb = nullptr, ld = nullptr;
    const uint64_t workspace_bytes = 1 << 20;
    Buffer<char> workspace(workspace_bytes);
    int status = lt.Create(&handle);
    const auto then = [&](int next) { status = status == kCublasSuccess ? next : status; };
    then(lt.MatmulDescCreate(&desc, kCublasCompute32F, kCudaR32F));
    then(lt.MatmulDescSetAttribute(desc, kMatmulDescTransA, &turn_a, sizeof turn_a));
    then(lt.MatmulDescSetAttribute(desc, kMatmulDescTransB, &turn_b, sizeof turn_b));
    const int64_t rows_a = turn_a == kCublasOpT ? k : m, rows_b = turn_b == kCublasOpT ? n : k;
    ld_a = rows_a + more_ld;
    ld_b = rows_b + 1;
    ld_d = m + 2;
    const auto count = [](int64_t rows, int64_t columns) { return static_cast<uint64_t>(rows * columns / rows); };
    then(lt.MatrixLayoutCreate(&la, type, static_cast<uint64_t>(rows_a), count(rows_a, turn_a == kCublasOpT ? m : k), ld_a));
    then(lt.MatrixLayoutCreate(&lb, type, static_cast<uint64_t>(rows_b), count(rows_b, turn_b == kCublasOpT ? k : n), ld_b));
    then(lt.MatrixLayoutCreate(&ld, d_type, static_cast<uint64_t>(m), static_cast<uint64_t>(n), ld_d));
    then(lt.MatmulPreferenceCreate(&preference));
    then(lt.MatmulPreferenceSetAttribute(preference, kPreferenceMaxWorkspaceBytes, &workspace_bytes, sizeof workspace_bytes));
    for (int operand = 0; operand < 4; operand++) {
      then(lt.MatmulPreferenceSetAttribute(preference, kPreferenceMinAlignmentA + operand, &alignment, sizeof alignment));
    }
    CublasLtHeuristic first = {};
    int given = 0;
    if (status == kCublasSuccess) then(lt.MatmulAlgoGetHeuristic(handle, desc, la, lb, ld, ld, preference, 1, &first, &given));
    const float alpha = 1;
    if (status == kCublasSuccess) {
      const Buffer<char> a(bytes(type, ld_a * (turn_a == kCublasOpT ? m : k) + 8, 1)), b(bytes(type, ld_b * (turn_b == kCublasOpT ? k : n), 2));
      const std::vector<char> before = bytes(d_type, ld_d * n, 3);
      const Buffer<char> d(before);
      status = lt.Matmul(handle, desc, &alpha, a.data() + shift_a, la, b.data(), lb, &beta, d.data(), ld, d.data(), ld, &first.algo, workspace.data(),
                         static_cast<size_t>(less_workspace > 0 ? first.workspace_bytes - 1 : workspace_bytes), nullptr);
      if (status == kCublasSuccess) compare(a.values(), b.values(), before, d.values());
    }
    text = lt.GetStatusName(status);
    for (void *layout : {la, lb, ld}) {
      if (layout != nullptr) lt.MatrixLayoutDestroy(layout);
    }
    lt.MatmulPreferenceDestroy(preference);
    lt.MatmulDescDestroy(desc);
    lt.Destroy(handle);
    return status;
  }

  std::string text;

 private:
  static std::vector<char> bytes(int type, int64_t elements, int seed) {
    std::vector<char> bytes(static_cast<size_t>(elements * (type == kCudaR32F ? 4 : 2)));
    for (int64_t i = 0; i < elements; i++) {
      const float value = static_cast<float>((i * 29 + seed * 7) % 23 - 11) / 4;  // exact in bf16
      const uint32_t bits = __float_as_uint(value);
      if (type == kCudaR32F) {
        std::memcpy(bytes.data() + i * 4, &bits, 4);
      } else {
        const uint16_t high = static_cast<uint16_t>(bits >> 16);
        std::memcpy(bytes.data() + i * 2, &high, 2);
      }
    }
    return bytes;
  }

  static double at(const std::vector<char> &bytes, int type, int64_t i) {
    uint32_t bits = 0;
    if (type == kCudaR32F) {
      std::memcpy(&bits, bytes.data() + i * 4, 4);
    } else {
      uint16_t high;
      std::memcpy(&high, bytes.data() + i * 2, 2);
      bits = static_cast<uint32_t>(high) << 16;
    }
    return static_cast<double>(__uint_as_float(bits));
  }

  void compare(const std::vector<char> &a, const std::vector<char> &b, const std::vector<char> &before, const std::vector<char> &d) const {
    for (int64_t j = 0; j < n; j++) {
      for (int64_t i = 0; i < m; i++) {
        double wanted = static_cast<double>(beta) * at(before, d_type, j * ld_d + i);
        for (int64_t l = 0; l < k; l++) {
          wanted += at(a, type, turn_a == kCublasOpT ? i * ld_a + l : l * ld_a + i) * at(b, type, turn_b == kCublasOpT ? l * ld_b + j : j * ld_b + l);
        }
        const double got = at(d, d_type, j * ld_d + i), tolerance = d_type == kCudaR32F ? 0 : std::fabs(wanted) / 256;
        expect(std::fabs(got - wanted) <= tolerance, "d(" + std::to_string(i) + ", " + std::to_string(j) + ") is " + std::to_string(got) +
                                                         ", not " + std::to_string(wanted));
      }
      for (int64_t i = m; i < ld_d; i++) {
        expect(at(d, d_type, j * ld_d + i) == at(before, d_type, j * ld_d + i), "something is written between the columns");
      }
    }
  }

  int64_t ld_a = 0, ld_b = 0, ld_d = 0;
};

void products_are_right() {
  for (const int32_t turn_a : {kCublasOpN, kCublasOpT}) {
    for (const int32_t turn_b : {kCublasOpN, kCublasOpT}) {
      for (const auto &[type, d_type] : {std::pair{kCudaR32F, kCudaR32F}, {kCudaR16Bf, kCudaR16Bf}, {kCudaR16Bf, kCudaR32F}}) {
        for (const float beta : {0.0f, 1.0f}) {
          Product product;
          product.turn_a = turn_a;
          product.turn_b = turn_b;
          product.type = type;
          product.d_type = d_type;
          product.beta = beta;
          expect(product.run() == kCublasSuccess, product.text);
        }
      }
    }
  }
}

void wrong_products_are_refused() {
  const auto refused = [](Product product, int status, const std::string &words) {
    expect_equal(product.run(), status, "the status");
    expect(product.text.find(words) != std::string::npos, "'" + product.text + "' lacks '" + words + "'");
  };
  Product product;
  product.more_ld = -1;
  refused(product, kCublasInvalidValue, "leading dimension 36");
  product = {};
  product.less_workspace = 1;
  refused(product, kCublasInvalidValue, "needs 65536 bytes of workspace");
  product = {};
  product.alignment = 16;
  product.shift_a = 4;
  refused(product, kCublasInvalidValue, "A at");
  product = {};
  product.d_type = kCudaR16Bf;
  refused(product, kCublasNotSupported, "element types");
}

}  // namespace

int main() {
  return run({
      {"memory is counted and bounded", memory_is_counted_and_bounded},
      {"copies stay within memory", copies_stay_within_memory},
      {"graphs replay", graphs_replay},
      {"events take time", events_take_time},
      {"the device describes itself", the_device_describes_itself},
      {"products are right", products_are_right},
      {"wrong products are refused", wrong_products_are_refused},
  });
}
