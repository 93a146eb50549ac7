// The words of CUDA kernels for a C++ compiler: what nvcc knows by itself (threadIdx, __syncthreads, __shfl_xor_sync...), and the
// emulator's counterparts of what Lethe's own headers write as PTX (gpu.h, tensor_core.h).
#pragma once

#include <cuda_runtime.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstring>
#include <memory>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

namespace simt {

// Where a kernel calls something, for the text of a failure.
struct Site {
  const char *file;
  int line;
};
#define SIMT_SITE const char *simt_file = __builtin_FILE(), int simt_line = __builtin_LINE()
#define SIMT_HERE (::simt::Site{simt_file, simt_line})

// ---- who a thread is ----------------------------------------------------------------------------------------------------

struct Place {
  uint3 thread;
  uint3 block;
  dim3 block_size;
  dim3 grid_size;
};

#if defined(SIMT_CHECK)
// Out of line, or its reading would be checked as the kernel's own.
[[gnu::const]] const Place &here();
#else
[[gnu::tls_model("initial-exec")]] extern thread_local constinit const Place *current_place;
inline const Place &here() { return *current_place; }
#endif

// ---- launching ----------------------------------------------------------------------------------------------------------

struct Argument {
  const void *address;
  size_t bytes;
};

// A kernel with its arguments.
struct Call {
  explicit Call(const void *its_kernel) : kernel(its_kernel) {}
  virtual ~Call() = default;
  virtual void run() const = 0;
  virtual std::vector<Argument> arguments() const = 0;
  virtual size_t bytes() const = 0;

  const void *const kernel;
};

template <class... Parameters>
struct CallOf final : Call {
  CallOf(void (*its_function)(Parameters...), Parameters... its_values)
      : Call(reinterpret_cast<const void *>(its_function)), function(its_function), values(its_values...) {}
  void run() const override { std::apply(function, values); }
  std::vector<Argument> arguments() const override {
    return std::apply([](const auto &...value) { return std::vector<Argument>{{&value, sizeof value}...}; }, values);
  }
  size_t bytes() const override { return sizeof *this; }

  void (*const function)(Parameters...);
  const std::tuple<Parameters...> values;
};

cudaError_t launch(dim3 grid, dim3 block, size_t shared, cudaStream_t stream, std::shared_ptr<const Call> call);

// kernel<<<grid, block, shared, stream>>>(arguments...); the status is that of the run, which is over on return.
template <class... Parameters, class... Arguments>
cudaError_t launch(dim3 grid, dim3 block, size_t shared, cudaStream_t stream, void (*kernel)(Parameters...), Arguments &&...arguments) {
  static_assert(sizeof...(Parameters) == sizeof...(Arguments), "the kernel takes another number of arguments");
  return launch(grid, block, shared, stream,
                std::make_shared<const CallOf<Parameters...>>(kernel, static_cast<Parameters>(std::forward<Arguments>(arguments))...));
}

// ---- shared memory ------------------------------------------------------------------------------------------------------

// The block's variable with that key, made by the first thread that comes.
void *shared_variable(const void *key, size_t bytes, size_t alignment, const char *name);
void *dynamic_shared();

// ---- threads together ---------------------------------------------------------------------------------------------------

enum class Shuffle : uint8_t { kIndex, kUp, kDown, kXor };
enum class Vote : uint8_t { kBallot, kAny, kAll, kAdd, kMin, kMax, kSignedMin, kSignedMax, kAnd, kOr, kXor };
enum class Barrier : uint8_t { kPlain, kOr, kAnd, kCount };

uint64_t shuffle(unsigned mask, uint64_t value, Shuffle how, int by, int width, Site site);
unsigned vote(unsigned mask, Vote how, unsigned value, Site site);
unsigned match_any(unsigned mask, uint64_t value, Site site);
void sync_warp(unsigned mask, Site site);
int barrier(Barrier how, int predicate, Site site);
unsigned active_mask();
[[noreturn]] void trap(const char *what, Site site);

template <class T>
T shuffled(unsigned mask, T value, Shuffle how, int by, int width, Site site) {
  static_assert(sizeof(T) <= 8 && std::is_trivially_copyable_v<T>, "a shuffle moves 1 to 8 bytes");
  uint64_t bits = 0;
  std::memcpy(&bits, &value, sizeof(T));
  bits = shuffle(mask, bits, how, by, width, site);
  std::memcpy(&value, &bits, sizeof(T));
  return value;
}

// ---- atomics (relaxed, as CUDA's are) -----------------------------------------------------------------------------------

enum class Atomic : uint8_t { kAdd, kMin, kMax, kAnd, kOr, kXor, kExchange };

template <class Integer>
Integer atomic(Atomic how, Integer *address, Integer value);
template <class Integer>
Integer atomic_compare_and_swap(Integer *address, Integer expected, Integer value);

// ---- what tensor_core.h and gpu.h have as PTX ---------------------------------------------------------------------------

// Two floats as two bf16, the first in the low half; to nearest even, NaN stays NaN (0x7fff, as the GPU's).
inline uint32_t bf16_of(float x) {
  uint32_t bits;
  std::memcpy(&bits, &x, sizeof bits);
  return (bits & 0x7fffffffu) > 0x7f800000u ? 0x7fffu : (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
}
inline uint32_t pack_bf16(float low, float high) { return bf16_of(low) | bf16_of(high) << 16; }

void load_matrix(uint32_t *tiles, const void *row, bool transposed, Site site);
void multiply_accumulate(float *c, const uint32_t *a, uint32_t b0, uint32_t b1, Site site);
void copy_16(void *shared, const void *global, bool valid, Site site);
void wait_for_copies_but(int pending, Site site);
void commit_copies();

inline void ldmatrix(uint32_t (&tiles)[4], const void *row, SIMT_SITE) { load_matrix(tiles, row, false, SIMT_HERE); }
inline void ldmatrix_transposed(uint32_t (&tiles)[4], const void *row, SIMT_SITE) { load_matrix(tiles, row, true, SIMT_HERE); }
inline void mma_bf16(float (&c)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1, SIMT_SITE) {
  multiply_accumulate(c, a, b0, b1, SIMT_HERE);
}
inline void copy_async(void *shared, const void *global, bool valid, SIMT_SITE) { copy_16(shared, global, valid, SIMT_HERE); }
template <int kPending>
void wait_for_copies(SIMT_SITE) {
  wait_for_copies_but(kPending, SIMT_HERE);
}

// Subnormal numbers are zero, going in and coming out.
inline float exp2_fast(float x) {
  const float y = exp2f(std::fabs(x) < 0x1p-126f ? 0.0f : x);
  return y < 0x1p-126f ? 0.0f : y;
}

}  // namespace simt

#define LETHE_SHARED(type, name, ...)             \
  using name##_shared_t = type __VA_ARGS__;       \
  static const char name##_shared_key = 0;        \
  name##_shared_t &name = *static_cast<name##_shared_t *>( \
      ::simt::shared_variable(&name##_shared_key, sizeof(name##_shared_t), alignof(name##_shared_t), #name))
#define LETHE_DYNAMIC_SHARED(type, name) type *const name = static_cast<type *>(::simt::dynamic_shared())

// ---- CUDA's own names ---------------------------------------------------------------------------------------------------

#define threadIdx (::simt::here().thread)
#define blockIdx (::simt::here().block)
#define blockDim (::simt::here().block_size)
#define gridDim (::simt::here().grid_size)
constexpr int warpSize = 32;

inline void __syncthreads(SIMT_SITE) { simt::barrier(simt::Barrier::kPlain, 0, SIMT_HERE); }
inline int __syncthreads_or(int predicate, SIMT_SITE) { return simt::barrier(simt::Barrier::kOr, predicate, SIMT_HERE); }
inline int __syncthreads_and(int predicate, SIMT_SITE) { return simt::barrier(simt::Barrier::kAnd, predicate, SIMT_HERE); }
inline int __syncthreads_count(int predicate, SIMT_SITE) { return simt::barrier(simt::Barrier::kCount, predicate, SIMT_HERE); }
inline void __syncwarp(unsigned mask = 0xffffffffu, SIMT_SITE) { simt::sync_warp(mask, SIMT_HERE); }
inline void __threadfence() { std::atomic_thread_fence(std::memory_order_seq_cst); }
inline void __threadfence_block() { std::atomic_thread_fence(std::memory_order_seq_cst); }
[[noreturn]] inline void __trap(SIMT_SITE) { simt::trap("__trap", SIMT_HERE); }

template <class T>
T __shfl_sync(unsigned mask, T value, int lane, int width = 32, SIMT_SITE) {
  return simt::shuffled(mask, value, simt::Shuffle::kIndex, lane, width, SIMT_HERE);
}
template <class T>
T __shfl_up_sync(unsigned mask, T value, unsigned by, int width = 32, SIMT_SITE) {
  return simt::shuffled(mask, value, simt::Shuffle::kUp, static_cast<int>(by), width, SIMT_HERE);
}
template <class T>
T __shfl_down_sync(unsigned mask, T value, unsigned by, int width = 32, SIMT_SITE) {
  return simt::shuffled(mask, value, simt::Shuffle::kDown, static_cast<int>(by), width, SIMT_HERE);
}
template <class T>
T __shfl_xor_sync(unsigned mask, T value, int with, int width = 32, SIMT_SITE) {
  return simt::shuffled(mask, value, simt::Shuffle::kXor, with, width, SIMT_HERE);
}

inline unsigned __activemask() { return simt::active_mask(); }
inline unsigned __ballot_sync(unsigned mask, int predicate, SIMT_SITE) {
  return simt::vote(mask, simt::Vote::kBallot, predicate != 0, SIMT_HERE);
}
inline int __any_sync(unsigned mask, int predicate, SIMT_SITE) {
  return static_cast<int>(simt::vote(mask, simt::Vote::kAny, predicate != 0, SIMT_HERE));
}
inline int __all_sync(unsigned mask, int predicate, SIMT_SITE) {
  return static_cast<int>(simt::vote(mask, simt::Vote::kAll, predicate != 0, SIMT_HERE));
}
inline unsigned __reduce_add_sync(unsigned mask, unsigned value, SIMT_SITE) {
  return simt::vote(mask, simt::Vote::kAdd, value, SIMT_HERE);
}
inline int __reduce_add_sync(unsigned mask, int value, SIMT_SITE) {
  return static_cast<int>(simt::vote(mask, simt::Vote::kAdd, static_cast<unsigned>(value), SIMT_HERE));
}
inline unsigned __reduce_min_sync(unsigned mask, unsigned value, SIMT_SITE) {
  return simt::vote(mask, simt::Vote::kMin, value, SIMT_HERE);
}
inline int __reduce_min_sync(unsigned mask, int value, SIMT_SITE) {
  return static_cast<int>(simt::vote(mask, simt::Vote::kSignedMin, static_cast<unsigned>(value), SIMT_HERE));
}
inline unsigned __reduce_max_sync(unsigned mask, unsigned value, SIMT_SITE) {
  return simt::vote(mask, simt::Vote::kMax, value, SIMT_HERE);
}
inline int __reduce_max_sync(unsigned mask, int value, SIMT_SITE) {
  return static_cast<int>(simt::vote(mask, simt::Vote::kSignedMax, static_cast<unsigned>(value), SIMT_HERE));
}
inline unsigned __reduce_and_sync(unsigned mask, unsigned value, SIMT_SITE) {
  return simt::vote(mask, simt::Vote::kAnd, value, SIMT_HERE);
}
inline unsigned __reduce_or_sync(unsigned mask, unsigned value, SIMT_SITE) {
  return simt::vote(mask, simt::Vote::kOr, value, SIMT_HERE);
}
inline unsigned __reduce_xor_sync(unsigned mask, unsigned value, SIMT_SITE) {
  return simt::vote(mask, simt::Vote::kXor, value, SIMT_HERE);
}
template <class T>
unsigned __match_any_sync(unsigned mask, T value, SIMT_SITE) {
  static_assert(sizeof(T) == 4 || sizeof(T) == 8, "match compares 4 or 8 bytes");
  uint64_t bits = 0;
  std::memcpy(&bits, &value, sizeof(T));
  return simt::match_any(mask, bits, SIMT_HERE);
}

#define SIMT_ATOMICS(Integer)                                                                                             \
  inline Integer atomicAdd(Integer *address, Integer value) { return simt::atomic(simt::Atomic::kAdd, address, value); } \
  inline Integer atomicMin(Integer *address, Integer value) { return simt::atomic(simt::Atomic::kMin, address, value); } \
  inline Integer atomicMax(Integer *address, Integer value) { return simt::atomic(simt::Atomic::kMax, address, value); } \
  inline Integer atomicAnd(Integer *address, Integer value) { return simt::atomic(simt::Atomic::kAnd, address, value); } \
  inline Integer atomicOr(Integer *address, Integer value) { return simt::atomic(simt::Atomic::kOr, address, value); }   \
  inline Integer atomicXor(Integer *address, Integer value) { return simt::atomic(simt::Atomic::kXor, address, value); } \
  inline Integer atomicExch(Integer *address, Integer value) {                                                            \
    return simt::atomic(simt::Atomic::kExchange, address, value);                                                         \
  }                                                                                                                       \
  inline Integer atomicCAS(Integer *address, Integer expected, Integer value) {                                           \
    return simt::atomic_compare_and_swap(address, expected, value);                                                       \
  }
SIMT_ATOMICS(int)
SIMT_ATOMICS(unsigned)
SIMT_ATOMICS(unsigned long long)
#undef SIMT_ATOMICS
inline int atomicSub(int *address, int value) { return atomicAdd(address, -value); }
inline unsigned atomicSub(unsigned *address, unsigned value) { return atomicAdd(address, 0u - value); }

// Loads and stores with a hint for the caches.
template <class T>
T __ldg(const T *address) {
  return *address;
}
template <class T>
T __ldca(const T *address) {
  return *address;
}
template <class T>
T __ldcg(const T *address) {
  return *address;
}
template <class T>
T __ldcs(const T *address) {
  return *address;
}
template <class T>
void __stcg(T *address, T value) {
  *address = value;
}
template <class T>
void __stcs(T *address, T value) {
  *address = value;
}
template <class T>
void __stwt(T *address, T value) {
  *address = value;
}

// Bits as another type.
inline unsigned __float_as_uint(float x) { return __builtin_bit_cast(unsigned, x); }
inline int __float_as_int(float x) { return __builtin_bit_cast(int, x); }
inline float __uint_as_float(unsigned x) { return __builtin_bit_cast(float, x); }
inline float __int_as_float(int x) { return __builtin_bit_cast(float, x); }
inline long long __double_as_longlong(double x) { return __builtin_bit_cast(long long, x); }
inline double __longlong_as_double(long long x) { return __builtin_bit_cast(double, x); }

// Bits counted, found and moved.
inline int __popc(unsigned x) { return __builtin_popcount(x); }
inline int __popcll(unsigned long long x) { return __builtin_popcountll(x); }
inline int __clz(int x) { return x == 0 ? 32 : __builtin_clz(static_cast<unsigned>(x)); }
inline int __clzll(long long x) { return x == 0 ? 64 : __builtin_clzll(static_cast<unsigned long long>(x)); }
inline int __ffs(int x) { return __builtin_ffs(x); }
inline int __ffsll(long long x) { return __builtin_ffsll(x); }
inline unsigned __umulhi(unsigned a, unsigned b) { return static_cast<unsigned>(static_cast<uint64_t>(a) * b >> 32); }
inline unsigned long long __umul64hi(unsigned long long a, unsigned long long b) {
  __extension__ using Wide = unsigned __int128;
  return static_cast<unsigned long long>(static_cast<Wide>(a) * b >> 64);
}
inline unsigned __brev(unsigned x) {
  unsigned y = 0;
  for (int i = 0; i < 32; i++) y |= (x >> i & 1u) << (31 - i);
  return y;
}
inline unsigned __byte_perm(unsigned x, unsigned y, unsigned selector) {
  const uint64_t bytes = x | static_cast<uint64_t>(y) << 32;
  unsigned result = 0;
  for (int i = 0; i < 4; i++) result |= static_cast<unsigned>(bytes >> 8 * (selector >> 4 * i & 7u) & 0xffu) << 8 * i;
  return result;
}
inline unsigned __funnelshift_l(unsigned low, unsigned high, unsigned by) {
  return static_cast<unsigned>((static_cast<uint64_t>(high) << 32 | low) << (by & 31u) >> 32);
}
inline unsigned __funnelshift_r(unsigned low, unsigned high, unsigned by) {
  return static_cast<unsigned>((static_cast<uint64_t>(high) << 32 | low) >> (by & 31u));
}

// Arithmetic. The fast functions are macros because glibc declares these very names for itself.
#define __expf(x) expf(x)
#define __exp10f(x) exp10f(x)
#define __logf(x) logf(x)
#define __log2f(x) log2f(x)
#define __log10f(x) log10f(x)
#define __powf(x, y) powf(x, y)
#define __sinf(x) sinf(x)
#define __cosf(x) cosf(x)
#define __tanf(x) tanf(x)
inline float rsqrtf(float x) { return 1.0f / std::sqrt(x); }
inline double rsqrt(double x) { return 1.0 / std::sqrt(x); }
inline float __frsqrt_rn(float x) { return static_cast<float>(1.0 / std::sqrt(static_cast<double>(x))); }
inline float __fsqrt_rn(float x) { return std::sqrt(x); }
inline float __frcp_rn(float x) { return 1.0f / x; }
inline float __fdividef(float a, float b) { return a / b; }
inline float __fdiv_rn(float a, float b) { return a / b; }
inline float __fmaf_rn(float a, float b, float c) { return std::fma(a, b, c); }
inline double __fma_rn(double a, double b, double c) { return std::fma(a, b, c); }
// Never contracted into a fused multiply-add.
[[gnu::optimize("fp-contract=off")]] inline float __fmul_rn(float a, float b) { return a * b; }
[[gnu::optimize("fp-contract=off")]] inline float __fadd_rn(float a, float b) { return a + b; }
[[gnu::optimize("fp-contract=off")]] inline float __fsub_rn(float a, float b) { return a - b; }
inline float __saturatef(float x) { return x > 0.0f ? std::min(x, 1.0f) : 0.0f; }

// Conversions, out-of-range values clamped, NaN to 0.
inline int __float2int_rn(float x) {
  return x != x ? 0 : x >= 0x1p31f ? INT32_MAX : x <= -0x1p31f ? INT32_MIN : static_cast<int>(std::nearbyint(x));
}
inline int __float2int_rz(float x) {
  return x != x ? 0 : x >= 0x1p31f ? INT32_MAX : x <= -0x1p31f ? INT32_MIN : static_cast<int>(x);
}
inline float __int2float_rn(int x) { return static_cast<float>(x); }
inline float __uint2float_rn(unsigned x) { return static_cast<float>(x); }
inline float __double2float_rn(double x) { return static_cast<float>(x); }

inline int min(int a, int b) { return a < b ? a : b; }
inline int max(int a, int b) { return a > b ? a : b; }
inline unsigned min(unsigned a, unsigned b) { return a < b ? a : b; }
inline unsigned max(unsigned a, unsigned b) { return a > b ? a : b; }
inline long long min(long long a, long long b) { return a < b ? a : b; }
inline long long max(long long a, long long b) { return a > b ? a : b; }
inline unsigned long long min(unsigned long long a, unsigned long long b) { return a < b ? a : b; }
inline unsigned long long max(unsigned long long a, unsigned long long b) { return a > b ? a : b; }
inline float min(float a, float b) { return fminf(a, b); }
inline float max(float a, float b) { return fmaxf(a, b); }
inline double min(double a, double b) { return fmin(a, b); }
inline double max(double a, double b) { return fmax(a, b); }
