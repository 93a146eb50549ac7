// Runs operations of liblethe_simt on a few odd shapes and compares with references.h: what a planted bug has to fail (../plant).
//   simt_drive [KERNEL]    the cases that launch this kernel; all of them without
// The first failure ends it: `wrong-result in KERNEL ...`, or the library's own words.
#include <algorithm>
#include <cmath>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <random>
#include <string>
#include <utility>

#include "lethe.h"
#include "references.h"

namespace {

using reference::Indices;
using reference::Values;

lethe_device *device = nullptr;  // each case has a fresh one: no scratch memory with what another left there
std::string running;             // the operation, with its sizes

[[noreturn, gnu::format(printf, 1, 2)]] void fail(const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  std::vprintf(format, arguments);
  va_end(arguments);
  std::printf(" [%s]\n", running.c_str());
  std::fflush(stdout);
  std::_Exit(1);
}

void good(lethe_status status) {
  if (status != LETHE_OK) fail("%s", lethe_message());
}

[[gnu::format(printf, 1, 2)]] void run(const char *format, ...) {
  char text[200];
  va_list arguments;
  va_start(arguments, format);
  std::vsnprintf(text, sizeof text, format, arguments);
  va_end(arguments);
  running = text;
}

const char *name(int32_t dtype) { return dtype == LETHE_F32 ? "fp32" : "bf16"; }
int64_t bytes_of(int32_t dtype) { return dtype == LETHE_F32 ? 4 : 2; }

// ---- numbers ------------------------------------------------------------------------------------------------------------

uint32_t bits_of(double x) {
  const float narrow = static_cast<float>(x);
  uint32_t bits;
  std::memcpy(&bits, &narrow, sizeof bits);
  return bits;
}
double number_of(uint32_t bits) {
  float x;
  std::memcpy(&x, &bits, sizeof x);
  return static_cast<double>(x);
}
// As dtype stores it, to nearest even
uint32_t stored(double x, int32_t dtype) {
  const uint32_t bits = bits_of(x);
  return dtype == LETHE_F32 ? bits : (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
}
double loaded(uint32_t bits, int32_t dtype) { return number_of(dtype == LETHE_F32 ? bits : bits << 16); }

Values rounded(Values x, int32_t dtype) {
  for (double &value : x) value = loaded(stored(value, dtype), dtype);
  return x;
}

std::mt19937 generator;  // the same numbers in every run

Values random(int64_t n, int32_t dtype, double from = -1, double to = 1) {
  Values x;
  for (int64_t i = 0; i < n; i++) x.push_back(from + (to - from) * static_cast<double>(generator()) / 4294967296.0);
  return rounded(x, dtype);
}
Indices random_indices(int64_t n, int64_t below) {
  Indices x;
  for (int64_t i = 0; i < n; i++) x.push_back(static_cast<int32_t>(generator() % static_cast<uint64_t>(below)));
  return x;
}

// ---- device memory ------------------------------------------------------------------------------------------------------

constexpr unsigned char kFresh = 0xff;  // what memory never written holds on the emulator

class Memory {
 public:
  explicit Memory(int64_t bytes) { good(lethe_allocate(device, bytes, &address_)); }
  ~Memory() { good(lethe_free(device, address_)); }
  Memory(const Memory &) = delete;
  Memory &operator=(const Memory &) = delete;

  char *at(int64_t byte) const { return static_cast<char *>(address_) + byte; }

 private:
  void *address_ = nullptr;
};

template <class T>
class Numbers {  // of one type of C++, none of them written unless given
 public:
  explicit Numbers(int64_t n) : n_(n), memory_(n * bytes()) {}
  explicit Numbers(const std::vector<T> &x) : Numbers(static_cast<int64_t>(x.size())) {
    good(lethe_copy(device, memory_.at(0), x.data(), n_ * bytes(), LETHE_HOST_TO_DEVICE, nullptr));
  }

  T *data() const { return reinterpret_cast<T *>(memory_.at(0)); }
  std::vector<T> read() const {
    std::vector<T> x(static_cast<size_t>(n_));
    good(lethe_synchronize(device, nullptr));
    good(lethe_copy(device, x.data(), memory_.at(0), n_ * bytes(), LETHE_DEVICE_TO_HOST, nullptr));
    return x;
  }
  // Each is as wanted, exactly, or within a share of it.
  void expect(const char *kernel, const char *what, const std::vector<T> &wanted, double tolerance = 0) const {
    const std::vector<T> found = read();
    for (size_t i = 0; i < wanted.size(); i++) {
      const double x = static_cast<double>(found[i]), y = static_cast<double>(wanted[i]);
      if (!(std::abs(x - y) <= tolerance * std::abs(y))) fail("wrong-result in %s: %s[%zu] is %.9g, not %.9g", kernel, what, i, x, y);
    }
  }

 private:
  static constexpr int64_t bytes() { return static_cast<int64_t>(sizeof(T)); }
  int64_t n_;
  Memory memory_;
};

// Rows of numbers of a dtype, ld apart; what lies between the rows is never written, and must stay so.
class Tensor {
 public:
  Tensor(int32_t dtype, int64_t rows, int64_t width, int64_t ld = 0)
      : dtype_(dtype), rows_(rows), width_(width), ld_(ld == 0 ? width : ld), memory_(((rows - 1) * ld_ + width) * bytes_of(dtype)) {}
  Tensor(int32_t dtype, const Values &x, int64_t width, int64_t ld = 0)
      : Tensor(dtype, static_cast<int64_t>(x.size()) / width, width, ld) {
    const size_t size = static_cast<size_t>(bytes_of(dtype));
    std::vector<unsigned char> row(static_cast<size_t>(width) * size);
    for (int64_t r = 0; r < rows_; r++) {
      for (int64_t i = 0; i < width; i++) {
        const uint32_t bits = stored(x[static_cast<size_t>(r * width + i)], dtype);
        std::memcpy(&row[static_cast<size_t>(i) * size], &bits, size);
      }
      good(lethe_copy(device, memory_.at(r * ld_ * bytes_of(dtype)), row.data(), width * bytes_of(dtype), LETHE_HOST_TO_DEVICE, nullptr));
    }
  }

  void *data() const { return memory_.at(0); }

  // Each is as wanted, within a share of what is wanted and of what is typical of all; 0: exactly, once rounded.
  void expect(const char *kernel, const char *what, const Values &wanted, double tolerance) const {
    const size_t size = static_cast<size_t>(bytes_of(dtype_));
    std::vector<unsigned char> raw(static_cast<size_t>((rows_ - 1) * ld_ + width_) * size);
    good(lethe_synchronize(device, nullptr));
    good(lethe_copy(device, raw.data(), data(), static_cast<int64_t>(raw.size()), LETHE_DEVICE_TO_HOST, nullptr));
    double squares = 0;
    for (const double x : wanted) squares += x * x;
    const double typical = std::sqrt(squares / static_cast<double>(wanted.size()));
    for (int64_t at = 0; at < (rows_ - 1) * ld_ + width_; at++) {
      const int64_t row = at / ld_, column = at % ld_;
      const unsigned char *const place = &raw[static_cast<size_t>(at) * size];
      if (column >= width_) {
        if (std::all_of(place, place + size, [](unsigned char byte) { return byte == kFresh; })) continue;
        fail("wrong-result in %s: %s is written beyond its row %ld", kernel, what, static_cast<long>(row));
      }
      uint32_t bits = 0;
      std::memcpy(&bits, place, size);
      const double x = loaded(bits, dtype_), exact = wanted[static_cast<size_t>(row * width_ + column)];
      const double y = tolerance == 0 ? loaded(stored(exact, dtype_), dtype_) : exact;
      if (!(std::abs(x - y) <= tolerance * (std::abs(y) + typical))) {
        fail("wrong-result in %s: %s[%ld, %ld] is %.9g, not %.9g", kernel, what, static_cast<long>(row), static_cast<long>(column), x, y);
      }
    }
  }

 private:
  int32_t dtype_;
  int64_t rows_, width_, ld_;
  Memory memory_;
};

double tolerance(int32_t dtype) { return dtype == LETHE_F32 ? 2e-5 : 0.016; }
constexpr int32_t kTypes[] = {LETHE_F32, LETHE_BF16};

// ---- moving and converting ----------------------------------------------------------------------------------------------

void copy() {
  const int64_t n = (int64_t{9} << 20) / 4 + 5;  // more than two buffers of staging
  run("copy (%ld numbers)", static_cast<long>(n));
  std::vector<uint32_t> x(static_cast<size_t>(n));
  std::generate(x.begin(), x.end(), std::ref(generator));
  Numbers<uint32_t>(x).expect("copy", "memory", x);
}

void fill() {
  for (const int32_t dtype : kTypes) {
    const int64_t n = 2061;
    run("fill (%s, n=%ld)", name(dtype), static_cast<long>(n));
    const Tensor x(dtype, 1, n);
    good(lethe_fill(device, x.data(), dtype, n, 0.75f, nullptr));
    x.expect("fill_kernel", "x", Values(static_cast<size_t>(n), 0.75), 0);
  }
}

void convert() {
  for (const int32_t from : kTypes) {
    for (const int32_t to : kTypes) {
      const int64_t n = 2063;
      run("convert (%s to %s, n=%ld)", name(from), name(to), static_cast<long>(n));
      const Values x = random(n, from);
      const Tensor source(from, x, n), target(to, 1, n), rest(to, 1, n - 1);
      good(lethe_convert(device, target.data(), to, source.data(), from, n, nullptr));
      target.expect("convert_kernel", "target", x, 0);
      good(lethe_convert(device, rest.data(), to, static_cast<char *>(source.data()) + bytes_of(from), from, n - 1, nullptr));
      rest.expect("convert_kernel", "target from an odd address", Values(x.begin() + 1, x.end()), 0);
    }
  }
}

void halves(const Values &x, std::vector<uint16_t> *hi, std::vector<int16_t> *lo) {
  for (const double value : x) {
    const uint32_t bits = bits_of(value), high = (bits + 0x8000) >> 16;
    hi->push_back(static_cast<uint16_t>(high));
    lo->push_back(static_cast<int16_t>(bits - (high << 16)));
  }
}

void split_and_join() {
  const int64_t n = 2069;
  run("split and join (n=%ld)", static_cast<long>(n));
  const Values x = random(n, LETHE_F32);
  std::vector<uint16_t> high;
  std::vector<int16_t> low;
  halves(x, &high, &low);
  const Tensor whole(LETHE_F32, x, n), joined(LETHE_F32, 1, n);
  const Numbers<uint16_t> hi(n);
  const Numbers<int16_t> lo(n);
  good(lethe_split(device, hi.data(), lo.data(), static_cast<float *>(whole.data()), n, nullptr));
  hi.expect("split_kernel", "hi", high);
  lo.expect("split_kernel", "lo", low);
  good(lethe_join(device, static_cast<float *>(joined.data()), hi.data(), lo.data(), n, nullptr));
  joined.expect("join_kernel", "x", x, 0);
}

void rows() {
  for (const int32_t dtype : kTypes) {
    for (const int64_t width : {24, 133}) {
      const int64_t count = 200, all = 301;
      run("gather and scatter (%s, %ld of %ld rows of %ld)", name(dtype), static_cast<long>(count), static_cast<long>(all),
          static_cast<long>(width));
      Indices index(static_cast<size_t>(all));
      for (size_t i = 0; i < index.size(); i++) index[i] = static_cast<int32_t>(i);
      std::shuffle(index.begin(), index.end(), generator);
      index.resize(static_cast<size_t>(count));
      const Values x = random(all * width, dtype);
      Values gathered, scattered(x.size());
      for (const int32_t row : index) {
        for (int64_t i = row * width; i < (row + 1) * width; i++) {
          gathered.push_back(x[static_cast<size_t>(i)]);
          scattered[static_cast<size_t>(i)] = gathered.back();
        }
      }
      const Tensor table(dtype, x, width), some(dtype, count, width), back(dtype, all, width);
      const Numbers<int32_t> from(index);
      good(lethe_gather_rows(device, some.data(), table.data(), from.data(), dtype, count, all, width, nullptr));
      some.expect("gather_rows_kernel", "target", gathered, 0);
      good(lethe_scatter_rows(device, back.data(), some.data(), from.data(), dtype, count, all, width, nullptr));
      back.expect("gather_rows_kernel, by inverse_kernel", "target", scattered, 0);
    }
  }
}

// ---- the transformer ----------------------------------------------------------------------------------------------------

void embedding_backward() {
  for (const int32_t dtype : kTypes) {
    const int64_t N = 1300, V = 300, d = dtype == LETHE_F32 ? 20 : 19;  // more than a tile of positions, two digits
    run("embedding_backward (%s, N=%ld, V=%ld, d=%ld)", name(dtype), static_cast<long>(N), static_cast<long>(V), static_cast<long>(d));
    const Values d_out = random(N * d, dtype), before = random(V * d, LETHE_F32);
    const Indices tokens = random_indices(N, V - 3);
    Values sums = before;
    for (int64_t i = 0; i < N * d; i++) sums[static_cast<size_t>(tokens[static_cast<size_t>(i / d)] * d + i % d)] += d_out[static_cast<size_t>(i)];
    const Tensor d_table(LETHE_F32, before, d), out(dtype, d_out, d);
    const Numbers<int32_t> index(tokens);
    good(lethe_embedding_backward(device, d_table.data(), out.data(), index.data(), dtype, LETHE_F32, N, V, d, nullptr));
    d_table.expect("embedding_backward_kernel, by count_digits_kernel, exclusive_sums_kernel, place_digits_kernel", "d_table", sums, 2e-5);
  }
}

void rmsnorm() {
  for (const int32_t dtype : kTypes) {
    for (const int64_t d : {72, 75, 2104}) {
      const int64_t N = 3;
      run("rmsnorm (%s, N=%ld, d=%ld)", name(dtype), static_cast<long>(N), static_cast<long>(d));
      const Values x = random(N * d, dtype), residual = random(N * d, dtype), weight = random(d, dtype, 0.5, 1.5);
      const reference::Norm norm = reference::rmsnorm(x, residual, weight, N, d, 1e-5);
      const Tensor in(dtype, x, d), added(dtype, residual, d), by(dtype, weight, d), y(dtype, N, d), sum(dtype, N, d), rstd(LETHE_F32, 1, N);
      good(lethe_rmsnorm(device, y.data(), static_cast<float *>(rstd.data()), sum.data(), in.data(), added.data(), by.data(), dtype, N, d,
                         1e-5f, nullptr));
      sum.expect("rmsnorm_kernel", "sum", norm.sum, 0);
      rstd.expect("rmsnorm_kernel", "rstd", norm.rstd, tolerance(dtype));
      y.expect("rmsnorm_kernel", "y", norm.y, tolerance(dtype));
    }
  }
}

void rmsnorm_backward() {
  for (const int32_t dtype : kTypes) {
    for (const int64_t d : {72, 75, 520}) {
      const int64_t N = 19;
      run("rmsnorm_backward (%s, N=%ld, d=%ld)", name(dtype), static_cast<long>(N), static_cast<long>(d));
      const Values x = random(N * d, dtype), d_y = random(N * d, dtype), residual = random(N * d, dtype), weight = random(d, dtype, 0.5, 1.5),
                   before = random(d, LETHE_F32), rstd = rounded(reference::rmsnorm(x, {}, weight, N, d, 1e-5).rstd, LETHE_F32);
      reference::NormGradients gradients = reference::rmsnorm_backward(d_y, x, weight, rstd, residual, N, d);
      for (size_t i = 0; i < before.size(); i++) gradients.d_weight[i] += before[i];
      const Tensor in(dtype, x, d), out(dtype, d_y, d), added(dtype, residual, d), by(dtype, weight, d), r(LETHE_F32, rstd, N),
          d_x(dtype, N, d), d_weight(LETHE_F32, before, d);
      good(lethe_rmsnorm_backward(device, d_x.data(), d_weight.data(), out.data(), in.data(), by.data(), static_cast<float *>(r.data()),
                                  added.data(), dtype, LETHE_F32, N, d, nullptr));
      d_x.expect("rmsnorm_backward_kernel", "d_x", gradients.d_x, tolerance(dtype));
      d_weight.expect("rmsnorm_weight_kernel, of rmsnorm_backward_kernel's sums", "d_weight", gradients.d_weight, 1e-4);
    }
  }
}

void rope() {
  for (const int32_t dtype : kTypes) {
    for (const int64_t D : {20, 64}) {
      const int64_t N = 7, heads = 3, P = 40, ld = heads * D + 8;
      run("rope (%s, N=%ld, heads=%ld, D=%ld, ld=%ld)", name(dtype), static_cast<long>(N), static_cast<long>(heads), static_cast<long>(D),
          static_cast<long>(ld));
      const Values x = random(N * heads * D, dtype), table = random(P * D, LETHE_F32);
      const Indices positions = random_indices(N, P);
      const Tensor turned(dtype, x, heads * D, ld), turn(LETHE_F32, table, D);
      const Numbers<int32_t> at(positions);
      const bool inverse = D == 64;
      good(lethe_rope(device, turned.data(), ld, static_cast<float *>(turn.data()), at.data(), inverse ? 1 : 0, dtype, N, heads, D, P, nullptr));
      turned.expect("rope_kernel", "x", reference::rope(x, table, positions, inverse, heads, D), tolerance(dtype));
    }
  }
}

void attention_and_backward(int32_t dtype, reference::AttentionShape s, bool backward) {
  const char *const exact = dtype == LETHE_F32 ? "_exact" : "";
  const int64_t gap = s.D % 8, tokens = s.B * s.T;  // rows 128 bits at a time need strides that are so many bytes
  const int64_t ld_q = s.Hq * s.D + 8 + gap, ld_kv = s.Hkv * s.D + 16 + gap, ld_out = s.Hq * s.D + 24 + gap;
  run("attention%s (%s, B=%ld, T=%ld, Hq=%ld, Hkv=%ld, D=%ld)", backward ? "_backward" : "", name(dtype), static_cast<long>(s.B),
      static_cast<long>(s.T), static_cast<long>(s.Hq), static_cast<long>(s.Hkv), static_cast<long>(s.D));
  const Values q = random(tokens * s.Hq * s.D, dtype), k = random(tokens * s.Hkv * s.D, dtype), v = random(tokens * s.Hkv * s.D, dtype);
  const reference::Attended attended = reference::attention(q, k, v, s);
  const Tensor of_q(dtype, q, s.Hq * s.D, ld_q), of_k(dtype, k, s.Hkv * s.D, ld_kv), of_v(dtype, v, s.Hkv * s.D, ld_kv);
  const float scale = static_cast<float>(s.scale());
  if (!backward) {
    const std::string kernel = std::string("attention_forward") + exact;
    const Tensor out(dtype, tokens, s.Hq * s.D, ld_out), lse(LETHE_F32, 1, s.B * s.Hq * s.T);
    good(lethe_attention(device, out.data(), ld_out, static_cast<float *>(lse.data()), of_q.data(), ld_q, of_k.data(), of_v.data(), ld_kv,
                         dtype, s.B, s.T, s.Hq, s.Hkv, s.D, scale, nullptr));
    out.expect(kernel.c_str(), "out", attended.out, tolerance(dtype));
    lse.expect(kernel.c_str(), "lse", attended.lse, tolerance(dtype) / 8);
    return;
  }
  const std::string by_keys = std::string("attention_backward_keys") + exact + ", after attention_delta",
                    by_queries = std::string("attention_backward_queries") + exact + ", after attention_delta";
  const Values out = rounded(attended.out, dtype), lse = rounded(attended.lse, LETHE_F32), d_out = random(tokens * s.Hq * s.D, dtype);
  const reference::AttentionGradients gradients = reference::attention_backward(d_out, out, lse, q, k, v, s);
  const Tensor of_out(dtype, out, s.Hq * s.D, ld_out), of_lse(LETHE_F32, lse, s.B * s.Hq * s.T), of_d_out(dtype, d_out, s.Hq * s.D, ld_q),
      d_q(dtype, tokens, s.Hq * s.D, ld_out), d_k(dtype, tokens, s.Hkv * s.D, ld_kv), d_v(dtype, tokens, s.Hkv * s.D, ld_kv);
  int64_t bytes = 0;
  good(lethe_attention_backward_workspace(device, &bytes, dtype, s.B, s.T, s.Hq, s.Hkv, s.D));
  const Memory workspace(bytes);
  good(lethe_attention_backward(device, d_q.data(), ld_out, d_k.data(), d_v.data(), ld_kv, of_d_out.data(), ld_q, of_out.data(), ld_out,
                                static_cast<float *>(of_lse.data()), of_q.data(), ld_q, of_k.data(), of_v.data(), ld_kv, dtype, s.B, s.T,
                                s.Hq, s.Hkv, s.D, scale, workspace.at(0), bytes, nullptr));
  const double rough = 3 * tolerance(dtype);  // P and dS are rounded too
  d_v.expect(by_keys.c_str(), "d_v", gradients.d_v, rough);
  d_k.expect(by_keys.c_str(), "d_k", gradients.d_k, rough);
  d_q.expect(by_queries.c_str(), "d_q", gradients.d_q, rough);
}

void attention(bool backward) {
  attention_and_backward(LETHE_BF16, {1, 150, 2, 1, 64}, backward);
  attention_and_backward(LETHE_BF16, {2, 37, 2, 1, 20}, backward);
  attention_and_backward(LETHE_BF16, {1, 70, 1, 1, 128}, backward);
}
void attention_exact(bool backward) {
  attention_and_backward(LETHE_F32, {2, 37, 2, 1, 20}, backward);
  attention_and_backward(LETHE_F32, {1, 70, 2, 1, 62}, backward);
}

struct Cached {
  Cached(int32_t type, Indices positions)
      : dtype(type),
        position(std::move(positions)),
        q(random(shape.B * shape.Hq * shape.D, dtype)),
        k(random(shape.B * shape.Hkv * capacity * shape.D, dtype)),
        v(random(shape.B * shape.Hkv * capacity * shape.D, dtype)),
        of_q(dtype, q, shape.Hq * shape.D, ld_q),
        of_k(dtype, k, shape.D),
        of_v(dtype, v, shape.D),
        out(dtype, shape.B * shape.Hq, shape.D),
        at(position) {}

  void attend() const {
    good(lethe_attention_decode(device, out.data(), of_q.data(), ld_q, of_k.data(), of_v.data(), at.data(), dtype, shape.B, shape.Hq, shape.Hkv,
                                shape.D, capacity, static_cast<float>(shape.scale()), nullptr));
  }
  void expect() const {
    out.expect("attention_decode_join, after attention_decode_stripe", "out",
               reference::attention_decode(q, k, v, shape, position, capacity), tolerance(dtype));
  }

  static constexpr int64_t capacity = 130, ld_q = 400;
  const reference::AttentionShape shape = {2, 1, 6, 2, 40};  // three heads share their keys, a block has room for four
  const int32_t dtype;
  const Indices position;
  const Values q, k, v;
  const Tensor of_q, of_k, of_v, out;
  const Numbers<int32_t> at;
};

void attention_decode() {
  for (const int32_t dtype : kTypes) {
    for (const Indices &position : {Indices{60, 100}, Indices{100, 3}}) {  // 60 and 3 leave a stripe empty
      run("attention_decode (%s, positions %d and %d)", name(dtype), position[0], position[1]);
      const Cached cached(dtype, position);
      cached.attend();
      cached.expect();
    }
  }
}

// A graph has scratch memory of its own, whatever becomes of the stream's meanwhile.
void graph() {
  run("attention_decode in a graph");
  const Cached cached(LETHE_BF16, {100, 100});
  cached.attend();
  good(lethe_graph_begin(device, nullptr));
  cached.attend();
  lethe_graph *recorded = nullptr;
  good(lethe_graph_end(device, nullptr, &recorded));
  const Tensor many(LETHE_F32, Values(20000), 20000);
  const Numbers<int32_t> from(Indices(20000));
  good(lethe_scatter_rows(device, many.data(), many.data(), from.data(), LETHE_F32, 1, 20000, 1, nullptr));  // much more scratch memory
  good(lethe_fill(device, cached.out.data(), LETHE_BF16, 16, 0, nullptr));
  good(lethe_graph_launch(device, recorded, nullptr));
  cached.expect();
  good(lethe_graph_destroy(device, recorded));
}

void cache_write() {
  for (const int32_t dtype : kTypes) {
    const int64_t B = 2, T = 3, Hkv = 2, D = dtype == LETHE_F32 ? 24 : 22, capacity = 7, ld = Hkv * D + 8;
    run("cache_write (%s, B=%ld, T=%ld, Hkv=%ld, D=%ld, ld=%ld)", name(dtype), static_cast<long>(B), static_cast<long>(T),
        static_cast<long>(Hkv), static_cast<long>(D), static_cast<long>(ld));
    const Values k = random(B * T * Hkv * D, dtype), v = random(B * T * Hkv * D, dtype), before = random(B * Hkv * capacity * D, dtype);
    const Indices position = {4, 1, 0, 5, 6, 7};  // what does not fit is not written
    const auto after = [&](const Values &x) {
      Values cache = before;
      for (int64_t i = 0; i < B * T * Hkv * D; i++) {
        const int64_t b = i / (T * Hkv * D), t = i / (Hkv * D) % T, h = i / D % Hkv;
        const int64_t line = position[static_cast<size_t>(b * T + t)];
        if (line >= capacity) continue;
        cache[static_cast<size_t>(((b * Hkv + h) * capacity + line) * D + i % D)] = x[static_cast<size_t>(i)];
      }
      return cache;
    };
    const Tensor of_k(dtype, k, Hkv * D, ld), of_v(dtype, v, Hkv * D, ld), k_cache(dtype, before, D), v_cache(dtype, before, D);
    const Numbers<int32_t> at(position);
    good(lethe_cache_write(device, k_cache.data(), v_cache.data(), of_k.data(), of_v.data(), ld, at.data(), dtype, B, T, Hkv, D, capacity,
                           nullptr));
    k_cache.expect("cache_write_pieces", "k_cache", after(k), 0);
    v_cache.expect("cache_write_pieces", "v_cache", after(v), 0);
  }
}

void swiglu() {
  for (const int32_t dtype : kTypes) {
    for (const int64_t F : {1048, 77}) {
      const int64_t N = 3, ld = 2 * F + 8, ld_d = ld + 8;
      run("swiglu (%s, N=%ld, F=%ld, ld=%ld)", name(dtype), static_cast<long>(N), static_cast<long>(F), static_cast<long>(ld));
      const Values gate = random(N * F, dtype, -4, 4), up = random(N * F, dtype), d_out = random(N * F, dtype);
      const Tensor of_gate(dtype, gate, F, ld), of_up(dtype, up, F, ld), of_d_out(dtype, d_out, F), out(dtype, N, F), d_gate(dtype, N, F, ld_d),
          d_up(dtype, N, F, ld_d);
      good(lethe_swiglu(device, out.data(), of_gate.data(), of_up.data(), ld, dtype, N, F, nullptr));
      out.expect("swiglu_kernel", "out", reference::swiglu(gate, up), tolerance(dtype));
      good(lethe_swiglu_backward(device, d_gate.data(), d_up.data(), ld_d, of_d_out.data(), of_gate.data(), of_up.data(), ld, dtype, N, F,
                                 nullptr));
      const reference::SwigluGradients gradients = reference::swiglu_backward(d_out, gate, up);
      d_gate.expect("swiglu_backward_kernel", "d_gate", gradients.d_gate, tolerance(dtype));
      d_up.expect("swiglu_backward_kernel", "d_up", gradients.d_up, tolerance(dtype));
    }
  }
}

void matmul() {
  for (const int32_t dtype : kTypes) {
    for (const int32_t layout : {LETHE_NN, LETHE_NT, LETHE_TN}) {
      const int64_t M = 9, N = 24, K = 40;
      run("matmul (%s, layout %d, M=%ld, N=%ld, K=%ld)", name(dtype), layout, static_cast<long>(M), static_cast<long>(N),
          static_cast<long>(K));
      const Values a = random(M * K, dtype), b = random(K * N, dtype), before = random(M * N, LETHE_F32);
      const int64_t a_width = layout == LETHE_TN ? M : K, b_width = layout == LETHE_NT ? K : N;
      const Tensor of_a(dtype, a, a_width, a_width + 7), of_b(dtype, b, b_width, b_width + 8), c(LETHE_F32, before, N, N + 4),
          fresh(dtype, M, N, N + 6);
      Values product = reference::matmul(a, b, layout, M, N, K);
      good(lethe_matmul(device, fresh.data(), N + 6, dtype, of_a.data(), a_width + 7, of_b.data(), b_width + 8, dtype, layout, 0, M, N, K,
                        nullptr));
      fresh.expect("cublasLtMatmul", "C", product, tolerance(dtype));
      for (size_t i = 0; i < product.size(); i++) product[i] += before[i];
      good(lethe_matmul(device, c.data(), N + 4, LETHE_F32, of_a.data(), a_width + 7, of_b.data(), b_width + 8, dtype, layout, 1, M, N, K,
                        nullptr));
      c.expect("cublasLtMatmul", "C +=", product, 2e-5);
    }
  }
}

// ---- losses, labels, the optimizer --------------------------------------------------------------------------------------

void cross_entropy() {
  for (const int32_t dtype : kTypes) {
    const int64_t N = 3, V = dtype == LETHE_F32 ? 1003 : 40008;  // the second beyond what of a row is kept
    run("cross_entropy (%s, N=%ld, V=%ld)", name(dtype), static_cast<long>(N), static_cast<long>(V));
    const Values logits = random(N * V, dtype, -5, 5);
    const Indices targets = {static_cast<int32_t>(V - 1), LETHE_IGNORE, 2};
    const reference::Losses losses = reference::cross_entropy(logits, targets, V, 0.25);
    Values logprobs = losses.loss;
    for (double &x : logprobs) x = -x;
    const Tensor x(dtype, logits, V), loss(LETHE_F32, 1, N), of_target(LETHE_F32, 1, N);
    const Numbers<int32_t> target(targets);
    good(lethe_token_logprobs(device, static_cast<float *>(of_target.data()), x.data(), target.data(), dtype, N, V, nullptr));
    of_target.expect("loss_kernel", "logprobs", logprobs, 1e-5);
    good(lethe_cross_entropy(device, static_cast<float *>(loss.data()), x.data(), x.data(), target.data(), dtype, N, V, 0.25f, nullptr));
    loss.expect("cross_entropy_kernel", "loss", losses.loss, 1e-5);
    x.expect("cross_entropy_kernel", "d_logits", losses.d_logits, tolerance(dtype));
  }
}

void most_probable() {
  for (const int32_t dtype : kTypes) {
    const int64_t N = 3, V = dtype == LETHE_F32 ? 1003 : 2000, k = 7;
    run("argmax and top_k (%s, N=%ld, V=%ld, k=%ld)", name(dtype), static_cast<long>(N), static_cast<long>(V), static_cast<long>(k));
    Values logits = random(N * V, dtype, -5, 5);
    for (double &x : logits) x = std::min(x, 3.0);  // a fifth are the largest
    const reference::Ranked first = reference::top_k(logits, V, 1), ranked = reference::top_k(logits, V, k);
    const Tensor x(dtype, logits, V), probability(LETHE_F32, N, k);
    const Numbers<int32_t> largest(N), index(N * k);
    good(lethe_argmax(device, largest.data(), x.data(), dtype, N, V, nullptr));
    largest.expect("argmax_kernel", "index", first.index);
    good(lethe_top_k(device, index.data(), static_cast<float *>(probability.data()), x.data(), dtype, N, V, k, nullptr));
    index.expect("top_k_kernel", "index", ranked.index);
    probability.expect("top_k_kernel", "probability", ranked.probability, 1e-4);
  }
}

void generic_labels() {
  for (const int32_t dtype : kTypes) {
    const int64_t T = 6, Tb = 5, V = dtype == LETHE_F32 ? 2501 : 2504;
    run("generic_labels (%s, T=%ld, Tb=%ld, V=%ld)", name(dtype), static_cast<long>(T), static_cast<long>(Tb), static_cast<long>(V));
    const Values baseline = random(Tb * V, dtype), reinforced = random(T * V, dtype);
    const Indices mapping = {0, 4, -1, 2, 3, 4};
    Indices forbidden, after;  // what would win, from some position on
    for (int32_t m = 0; m < Tb; m++) {
      const auto row = baseline.begin() + m * V;
      forbidden.push_back(static_cast<int32_t>(std::max_element(row, row + V) - row));
      after.push_back(m - 1 + m % 2);
    }
    const std::vector<float> alphas = {0.5f, 3.0f, 0.0f};
    const Tensor base(dtype, baseline, V), more(dtype, reinforced, V);
    const Numbers<int32_t> to(mapping), never(forbidden), from(after), labels(static_cast<int64_t>(alphas.size()) * T);
    good(lethe_generic_labels(device, labels.data(), base.data(), more.data(), to.data(), never.data(), from.data(), alphas.data(), dtype, T,
                              Tb, V, Tb, static_cast<int64_t>(alphas.size()), nullptr));
    labels.expect("generic_labels_kernel, after allow_all_kernel, forbid_kernel", "labels",
                  reference::generic_labels(baseline, reinforced, mapping, forbidden, after, alphas, V));
  }
}

void adamw() {
  for (const int32_t dtype : kTypes) {  // whole weights with fp32 moments, halves with bf16 moments
    const int64_t n = 2061, step = 3;
    run("adamw (%s, n=%ld)", name(dtype), static_cast<long>(n));
    const double lr = 0.01, beta1 = 0.9, beta2 = 0.95, eps = 1e-6, decay = 0.1, by = 0.5;
    const Values weight = random(n, LETHE_F32), gradient = random(n, dtype), mean = random(n, dtype), square = random(n, dtype, 0.1, 1);
    Values w = weight, m = mean, v = square;
    for (size_t i = 0; i < w.size(); i++) {
      const double g = gradient[i] * by;
      m[i] = beta1 * m[i] + (1 - beta1) * g;
      v[i] = beta2 * v[i] + (1 - beta2) * g * g;
      const double direction = m[i] / (1 - std::pow(beta1, step)) / (std::sqrt(v[i] / (1 - std::pow(beta2, step))) + eps);
      w[i] -= lr * (direction + decay * w[i]);
    }
    std::vector<uint16_t> high;
    std::vector<int16_t> low;
    halves(weight, &high, &low);
    const Tensor whole(LETHE_F32, weight, n), g(dtype, gradient, n), of_m(dtype, mean, n), of_v(dtype, square, n);
    const Numbers<uint16_t> hi(high);
    const Numbers<int16_t> lo(low);
    const bool halved = dtype == LETHE_BF16;
    good(lethe_adamw(device, halved ? static_cast<void *>(hi.data()) : whole.data(), halved ? lo.data() : nullptr, g.data(), of_m.data(),
                     of_v.data(), dtype, dtype, dtype, n, static_cast<float>(lr), static_cast<float>(beta1), static_cast<float>(beta2),
                     static_cast<float>(eps), static_cast<float>(decay), static_cast<float>(by), step, 17, 5, nullptr));
    of_m.expect("adamw_kernel", "m", m, tolerance(dtype));
    of_v.expect("adamw_kernel", "v", v, tolerance(dtype));
    if (!halved) {
      whole.expect("adamw_kernel", "weight", w, 1e-5);
      continue;
    }
    const std::vector<uint16_t> highs = hi.read();
    const std::vector<int16_t> lows = lo.read();
    Values joined;
    for (size_t i = 0; i < highs.size(); i++) {
      joined.push_back(number_of((static_cast<uint32_t>(highs[i]) << 16) + static_cast<uint32_t>(static_cast<int32_t>(lows[i]))));
    }
    Tensor(LETHE_F32, joined, n).expect("adamw_kernel", "weight", w, 1e-5);
  }
}

void sum_of_squares() {
  for (const int32_t dtype : kTypes) {
    const int64_t n = 16503;  // three blocks, the last with less than an element a thread
    run("sum_of_squares (%s, n=%ld)", name(dtype), static_cast<long>(n));
    const Values x = random(n, dtype);
    double sum = 0;
    for (const double value : x) sum += value * value;
    const Tensor in(dtype, x, n);
    const Numbers<double> result(1);
    good(lethe_sum_of_squares(device, result.data(), in.data(), dtype, n, nullptr));
    result.expect("sum_kernel, of squares_kernel's sums", "result", Values{sum}, 1e-12);
  }
}

struct Case {
  std::vector<const char *> kernels;
  std::function<void()> body;
};

const Case kCases[] = {
    {{"copy"}, copy},
    {{"fill_kernel"}, fill},
    {{"convert_kernel"}, convert},
    {{"split_kernel", "join_kernel"}, split_and_join},
    {{"gather_rows_kernel", "no_source_kernel", "inverse_kernel"}, rows},
    {{"count_digits_kernel", "exclusive_sums_kernel", "place_digits_kernel", "embedding_backward_kernel"}, embedding_backward},
    {{"rmsnorm_kernel"}, rmsnorm},
    {{"rmsnorm_backward_kernel", "rmsnorm_weight_kernel"}, rmsnorm_backward},
    {{"rope_kernel"}, rope},
    {{"attention_forward"}, [] { attention(false); }},
    {{"attention_forward_exact"}, [] { attention_exact(false); }},
    {{"attention_delta", "attention_backward_keys", "attention_backward_queries"}, [] { attention(true); }},
    {{"attention_backward_keys_exact", "attention_backward_queries_exact"}, [] { attention_exact(true); }},
    {{"cache_write_pieces"}, cache_write},
    {{"attention_decode_stripe", "attention_decode_join"}, attention_decode},
    {{"attention_decode_stripe", "attention_decode_join"}, graph},
    {{"swiglu_kernel", "swiglu_backward_kernel"}, swiglu},
    {{"cublasLtMatmul"}, matmul},
    {{"cross_entropy_kernel", "loss_kernel"}, cross_entropy},
    {{"argmax_kernel", "top_k_kernel"}, most_probable},
    {{"allow_all_kernel", "forbid_kernel", "generic_labels_kernel"}, generic_labels},
    {{"adamw_kernel"}, adamw},
    {{"squares_kernel", "sum_kernel"}, sum_of_squares},
};

}  // namespace

int main(int count, char **arguments) {
  const std::string only = count > 1 ? arguments[1] : "";
  int driven = 0;
  for (const Case &its : kCases) {
    if (!only.empty() && std::find(its.kernels.begin(), its.kernels.end(), only) == its.kernels.end()) continue;
    running = its.kernels[0];
    good(lethe_open("sync=true", &device));
    its.body();
    good(lethe_close(device));
    driven++;
  }
  if (driven == 0) {
    std::printf("no case launches '%s'\n", only.c_str());
    return 2;
  }
  std::printf("%d cases are clean\n", driven);
  return 0;
}
