// lethe_matmul by oneDNN. Nothing here belongs to a tier: oneDNN generates its code at run time, within the cap set for it.
#include "matmul.h"

#include <omp.h>

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

// target (rows, width) fp32, without gaps, = source (rows, width) bf16
void widen(lethe_device &device, float *target, const void *source, int64_t rows, int64_t width, int64_t ld) {
  const auto *from = static_cast<const uint16_t *>(source);
  if (ld == width) {
    device.kernels->convert(&device, target, LETHE_F32, from, LETHE_BF16, rows * width, nullptr);
    return;
  }
#pragma omp parallel for num_threads(device.threads) schedule(static)
  for (int64_t r = 0; r < rows; r++) {
    device.kernels->convert(&device, target + r * width, LETHE_F32, from + r * ld, LETHE_BF16, width, nullptr);
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
  };

  const Primitive &of(const Product &product) {
    const auto found = known_.find(product);
    if (found != known_.end()) return found->second;
    if (known_.size() >= kMostPrimitives) known_.clear();
    return known_.emplace(product, make(product)).first->second;
  }

  dnnl::stream &stream() { return stream_; }

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
  return dnnl::cpu_isa::isa_default;  // with what lies above: AMX
}

}  // namespace

void MatrixProducts::cap(const Tier &tier) {
  static std::mutex mutex;
  static const Tier *first = nullptr;  // oneDNN's own state: it settles on an instruction set once a process
  const std::lock_guard lock(mutex);
  if (first == &tier) return;
  if (first != nullptr) {
    raise(LETHE_UNSUPPORTED, "open: oneDNN runs on tier %s in this process already; tier %s needs a process of its own",
          first->name, tier.name);
  }
  if (dnnl::set_max_cpu_isa(isa_of(tier)) != dnnl::status::success && isa_of(tier) != dnnl::cpu_isa::isa_default) {
    raise(LETHE_UNSUPPORTED, "open: oneDNN was used in this process before; it cannot be held to tier %s any more", tier.name);
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
    default: return "all";
  }
}

void MatrixProducts::multiply(lethe_device &device, const Product &product, void *c, const void *a, const void *b) {
  const OpenMpThreads threads(device.threads);
  Product p = product;
  int64_t a_bytes = 0, b_bytes = 0, c_bytes = 0;
  const int64_t a_rows = p.layout == LETHE_TN ? p.K : p.M, a_width = p.layout == LETHE_TN ? p.M : p.K;
  const int64_t b_rows = p.layout == LETHE_NT ? p.N : p.K, b_width = p.layout == LETHE_NT ? p.K : p.N;
  const bool widened = widens(device, p.dtype), rounded = widened && p.c_dtype == LETHE_BF16;
  if (widened) {
    a_bytes = aligned(a_rows * a_width * 4);
    b_bytes = aligned(b_rows * b_width * 4);
    p.dtype = LETHE_F32;
    p.ld_a = a_width;
    p.ld_b = b_width;
    if (rounded) {
      c_bytes = aligned(p.M * p.N * 4);
      p.c_dtype = LETHE_F32;
      p.ld_c = p.N;
    }
  }
  const Primitives::Primitive &primitive = primitives_->of(p);
  char *scratch = static_cast<char *>(
      device.scratch(a_bytes + b_bytes + c_bytes + static_cast<int64_t>(primitive.scratchpad.get_size()) + 64));
  void *target = c;
  if (widened) {
    float *wide_a = reinterpret_cast<float *>(scratch), *wide_b = reinterpret_cast<float *>(scratch + a_bytes);
    widen(device, wide_a, a, a_rows, a_width, product.ld_a);
    widen(device, wide_b, b, b_rows, b_width, product.ld_b);
    a = wide_a;
    b = wide_b;
    if (rounded) {
      target = scratch + a_bytes + b_bytes;
      if (p.accumulate == 1) widen(device, static_cast<float *>(target), c, p.M, p.N, product.ld_c);
    }
  }
  const auto view = [](const memory::desc &desc, const void *data) { return memory(desc, engine(), const_cast<void *>(data)); };
  primitive.run.execute(primitives_->stream(), {{DNNL_ARG_SRC, view(primitive.a, a)},
                                                {DNNL_ARG_WEIGHTS, view(primitive.b, b)},
                                                {DNNL_ARG_DST, view(primitive.c, target)},
                                                {DNNL_ARG_SCRATCHPAD, view(primitive.scratchpad, scratch + a_bytes + b_bytes + c_bytes)}});
  primitives_->stream().wait();
  if (rounded) {
    for (int64_t r = 0; r < p.M; r++) {
      device.kernels->convert(&device, static_cast<uint16_t *>(c) + r * product.ld_c, LETHE_BF16,
                              static_cast<const float *>(target) + r * p.N, LETHE_F32, p.N, nullptr);
    }
  }
}

}  // namespace lethe
