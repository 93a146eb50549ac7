// lethe_matmul by the tier's own kernels, or by oneDNN. Nothing here belongs to a tier: oneDNN generates its code at run time, within the
// cap set for it.
#include "matmul.h"

#include <omp.h>

#include <array>
#include <cstring>
#include <dnnl.hpp>
#include <mutex>
#include <unordered_map>

#include "check.h"

namespace lethe {
namespace {

using dnnl::memory;

constexpr size_t kMostPrimitives = 1024;

dnnl::engine &engine() {
  static dnnl::engine cpu(dnnl::engine::kind::cpu, 0);
  return cpu;
}

memory::data_type type_of(int32_t dtype) { return dtype == LETHE_BF16 ? memory::data_type::bf16 : memory::data_type::f32; }

memory::desc describe(int64_t rows, int64_t columns, int32_t dtype, int64_t ld, bool transposed) {
  return transposed ? memory::desc({rows, columns}, type_of(dtype), memory::dims{1, ld})
                    : memory::desc({rows, columns}, type_of(dtype), memory::dims{ld, 1});
}

// oneDNN asks OpenMP how many threads there are, for the calling thread.
class OpenMpThreads {
 public:
  explicit OpenMpThreads(int threads) : before_(omp_get_max_threads()) { omp_set_num_threads(threads); }
  ~OpenMpThreads() { omp_set_num_threads(before_); }
  OpenMpThreads(const OpenMpThreads &) = delete;
  OpenMpThreads &operator=(const OpenMpThreads &) = delete;

 private:
  const int before_;
};

// oneDNN has bf16 products from AVX-512 on.
bool widens(const lethe_device &device, int32_t dtype) {
  return dtype == LETHE_BF16 && std::strcmp(device.tier.name, "avx2") == 0;
}

int64_t aligned(int64_t bytes) { return (bytes + 63) / 64 * 64; }

int64_t bytes(int32_t dtype, int64_t elements) { return elements * bytes_of(dtype); }

// target (rows, width) = source (rows, width), from one dtype to the other, each with its row stride
void convert(lethe_device &device, void *target, int32_t target_dtype, int64_t ld_target, const void *source, int32_t source_dtype,
             int64_t ld_source, int64_t rows, int64_t width) {
  if (ld_target == width && ld_source == width) {
    device.kernels->convert(&device, target, target_dtype, source, source_dtype, rows * width, nullptr);
    return;
  }
#pragma omp parallel for num_threads(device.threads) schedule(static)
  for (int64_t r = 0; r < rows; r++) {
    device.kernels->convert(&device, static_cast<char *>(target) + bytes(target_dtype, r * ld_target), target_dtype,
                            static_cast<const char *>(source) + bytes(source_dtype, r * ld_source), source_dtype, width, nullptr);
  }
}

struct Hash {
  size_t operator()(const Product &p) const {
    size_t hash = 0;
    for (const int64_t part : {p.M, p.N, p.K, p.ld_a, p.ld_b, p.ld_c,
                               int64_t{p.dtype} | p.c_dtype << 1 | p.layout << 2 | p.accumulate << 4}) {
      hash = (hash ^ static_cast<size_t>(part)) * 0x9e3779b97f4a7c15u;
      hash ^= hash >> 29;
    }
    return hash;
  }
};

}  // namespace

class MatrixProducts::Primitives {
 public:
  struct Primitive {
    dnnl::matmul run;
    memory::desc a, b, c, scratchpad;

    int64_t scratch_bytes() const { return static_cast<int64_t>(scratchpad.get_size()) + 1; }  // never none
  };

  const Primitive &of(const Product &product) {
    const auto found = known_.find(product);
    if (found != known_.end()) return found->second;
    if (known_.size() >= kMostPrimitives) known_.clear();
    return known_.emplace(product, make(product)).first->second;
  }

  void run(const Primitive &primitive, void *c, const void *a, const void *b, void *scratch) {
    const auto view = [](const memory::desc &desc, const void *data) { return memory(desc, engine(), const_cast<void *>(data)); };
    primitive.run.execute(stream_, {{DNNL_ARG_SRC, view(primitive.a, a)},
                                    {DNNL_ARG_WEIGHTS, view(primitive.b, b)},
                                    {DNNL_ARG_DST, view(primitive.c, c)},
                                    {DNNL_ARG_SCRATCHPAD, view(primitive.scratchpad, scratch)}});
    stream_.wait();
  }

 private:
  static Primitive make(const Product &p) {
    const memory::desc a = describe(p.M, p.K, p.dtype, p.ld_a, p.layout == LETHE_TN);
    const memory::desc b = describe(p.K, p.N, p.dtype, p.ld_b, p.layout == LETHE_NT);
    const memory::desc c = describe(p.M, p.N, p.c_dtype, p.ld_c, false);
    dnnl::primitive_attr attributes;
    attributes.set_scratchpad_mode(dnnl::scratchpad_mode::user);
    attributes.set_fpmath_mode(dnnl::fpmath_mode::strict);
    if (p.accumulate == 1) {
      dnnl::post_ops sum;
      sum.append_sum(1.0f);
      attributes.set_post_ops(sum);
    }
    const dnnl::matmul::primitive_desc chosen(engine(), a, b, c, attributes);
    return {dnnl::matmul(chosen), a, b, c, chosen.scratchpad_desc()};
  }

  dnnl::stream stream_{engine()};
  std::unordered_map<Product, Primitive, Hash> known_;
};

MatrixProducts::MatrixProducts() : primitives_(std::make_unique<Primitives>()) {}
MatrixProducts::~MatrixProducts() = default;

namespace {

dnnl::cpu_isa isa_of(const Tier &tier) {
  if (std::strcmp(tier.name, "avx2") == 0) return dnnl::cpu_isa::avx2;
  if (std::strcmp(tier.name, "avx512") == 0) return dnnl::cpu_isa::avx512_core_vnni;
  if (std::strcmp(tier.name, "avx512_bf16") == 0) return dnnl::cpu_isa::avx512_core_bf16;
  return dnnl::cpu_isa::isa_default;
}

// oneDNN's instruction sets are sets of bits; its default is no cap.
bool within(dnnl::cpu_isa cap, dnnl::cpu_isa isa) {
  return cap == dnnl::cpu_isa::isa_default || (static_cast<unsigned>(isa) & ~static_cast<unsigned>(cap)) == 0;
}

}  // namespace

void MatrixProducts::cap(const Tier &tier) {
  static std::mutex mutex;
  static const Tier *first = nullptr;  // oneDNN's own state: it settles on an instruction set once a process
  const std::lock_guard lock(mutex);
  if (first == &tier) return;
  if (first != nullptr) {
    raise(LETHE_UNSUPPORTED, "oneDNN runs on tier %s in this process already; tier %s needs a process of its own",
          first->name, tier.name);
  }
  // Another copy of this library may have settled it.
  if (dnnl::set_max_cpu_isa(isa_of(tier)) != dnnl::status::success && !within(isa_of(tier), dnnl::get_effective_cpu_isa())) {
    raise(LETHE_UNSUPPORTED, "oneDNN was used in this process before; it cannot be held to tier %s any more", tier.name);
  }
  first = &tier;
}

std::string MatrixProducts::version() {
  const dnnl_version_t *v = dnnl_version();
  return std::to_string(v->major) + "." + std::to_string(v->minor) + "." + std::to_string(v->patch);
}

const char *MatrixProducts::isa(const Tier &tier) {
  switch (isa_of(tier)) {
    case dnnl::cpu_isa::avx2: return "avx2";
    case dnnl::cpu_isa::avx512_core_vnni: return "avx512_core_vnni";
    case dnnl::cpu_isa::avx512_core_bf16: return "avx512_core_bf16";
    default: return "all";
  }
}

void MatrixProducts::multiply(lethe_device &device, const Product &product, void *c, const void *a, const void *b) {
  const OpenMpThreads threads(device.threads);
  if (widens(device, product.dtype)) {
    multiply_widened(device, product, c, a, b);
  } else {
    const Primitives::Primitive &primitive = primitives_->of(product);
    primitives_->run(primitive, c, a, b, device.scratch(primitive.scratch_bytes()));
  }
}

// A and B in fp32 and without gaps, C as well where it is bf16, one after the other in the device's scratch memory.
void MatrixProducts::multiply_widened(lethe_device &device, const Product &narrow, void *c, const void *a, const void *b) {
  const auto [M, N, K] = std::array{narrow.M, narrow.N, narrow.K};
  const int64_t a_rows = narrow.layout == LETHE_TN ? K : M, a_width = narrow.layout == LETHE_TN ? M : K;
  const int64_t b_rows = narrow.layout == LETHE_NT ? N : K, b_width = narrow.layout == LETHE_NT ? K : N;
  const bool rounds = narrow.c_dtype == LETHE_BF16;
  const Product wide{M, N, K, a_width, b_width, rounds ? N : narrow.ld_c, LETHE_F32, LETHE_F32, narrow.layout, narrow.accumulate};
  const Primitives::Primitive &primitive = primitives_->of(wide);

  const int64_t a_bytes = aligned(a_rows * a_width * 4), b_bytes = aligned(b_rows * b_width * 4);
  const int64_t c_bytes = rounds ? aligned(M * N * 4) : 0;
  char *wide_a = static_cast<char *>(device.scratch(a_bytes + b_bytes + c_bytes + primitive.scratch_bytes()));
  char *wide_b = wide_a + a_bytes, *wide_c = wide_b + b_bytes, *rest = wide_c + c_bytes;
  convert(device, wide_a, LETHE_F32, a_width, a, LETHE_BF16, narrow.ld_a, a_rows, a_width);
  convert(device, wide_b, LETHE_F32, b_width, b, LETHE_BF16, narrow.ld_b, b_rows, b_width);
  if (rounds && narrow.accumulate == 1) convert(device, wide_c, LETHE_F32, N, c, LETHE_BF16, narrow.ld_c, M, N);
  primitives_->run(primitive, rounds ? wide_c : c, wide_a, wide_b, rest);
  if (rounds) convert(device, c, LETHE_BF16, narrow.ld_c, wide_c, LETHE_F32, N, M, N);
}

lethe_status matmul(lethe_device *device, void *C, int64_t ld_c, int32_t c_dtype, const void *A, int64_t ld_a, const void *B, int64_t ld_b,
                    int32_t dtype, int32_t layout, int32_t accumulate, int64_t M, int64_t N, int64_t K, lethe_stream *stream) {
  if (M <= device->tier.few && layout == LETHE_NT && accumulate == 0) {
    return device->tier.few_rows(device, C, ld_c, c_dtype, A, ld_a, B, ld_b, dtype, layout, accumulate, M, N, K, stream);
  }
  if (dtype == LETHE_BF16 && device->tier.many_rows != nullptr) {
    return device->tier.many_rows(device, C, ld_c, c_dtype, A, ld_a, B, ld_b, dtype, layout, accumulate, M, N, K, stream);
  }
  device->products->multiply(*device, {M, N, K, ld_a, ld_b, ld_c, dtype, c_dtype, layout, accumulate}, C, A, B);
  return LETHE_OK;
}

}  // namespace lethe
