// The words of kernels do what CUDA says they do.
#include "tensor_core.h"
#include "testing.h"

using namespace testing;

// Kernels have external names: the emulator tells them apart by their symbols.
namespace simt_test {

__global__ void shuffles(int *out, int width, int by) {
  const int lane = static_cast<int>(threadIdx.x), value = 100 + lane;
  out[lane] = __shfl_sync(~0u, value, by, width);
  out[32 + lane] = __shfl_up_sync(~0u, value, static_cast<unsigned>(by), width);
  out[64 + lane] = __shfl_down_sync(~0u, value, static_cast<unsigned>(by), width);
  out[96 + lane] = __shfl_xor_sync(~0u, value, by, width);
}

__global__ void half_warps(int *out) {
  const unsigned lane = threadIdx.x, mask = lane < 16 ? 0xffffu : 0xffff0000u;
  int sum = static_cast<int>(lane);
  // the halves come as often as they like
  for (int i = 0; i < (lane < 16 ? 4 : 8); i++) sum = __shfl_xor_sync(mask, sum, i % 4 == 0 ? 1 : 2) + 1;
  out[lane] = sum;
}

__global__ void votes(unsigned *out) {
  const unsigned lane = threadIdx.x;
  const int negative = -static_cast<int>(lane);
  unsigned *o = out + lane * 12;
  o[0] = __ballot_sync(~0u, lane % 3 == 0);
  o[1] = static_cast<unsigned>(__any_sync(~0u, lane == 7));
  o[2] = static_cast<unsigned>(__all_sync(~0u, lane == 7));
  o[3] = static_cast<unsigned>(__all_sync(~0u, 4));
  o[4] = __reduce_add_sync(~0u, lane);
  o[5] = __reduce_max_sync(~0u, lane * 2);
  o[6] = static_cast<unsigned>(__reduce_min_sync(~0u, negative));
  o[7] = __reduce_or_sync(~0u, lane);
  o[8] = __reduce_and_sync(~0u, lane | 64u);
  o[9] = __reduce_xor_sync(~0u, lane + 1);
  o[10] = __match_any_sync(~0u, lane % 4);
  o[11] = static_cast<unsigned>(__reduce_max_sync(~0u, negative));
}

// Results of barriers directly after each other must not mix.
__global__ void counting_barriers(int *out) {
  const int i = static_cast<int>(threadIdx.x);
  int sum = 0;
  for (int round = 0; round < 5; round++) {
    sum += __syncthreads_count(i % 5 <= round) * 1000;
    sum += __syncthreads_or(i == 3 && round == 2) * 100;
    sum += __syncthreads_and(round < 4 || i != 9) * 10;
  }
  out[i] = sum;
}

__global__ void reversed(int *x) {
  LETHE_SHARED(int, held, [256]);
  LETHE_DYNAMIC_SHARED(int, more);
  const unsigned i = threadIdx.x + blockDim.x * threadIdx.y, n = blockDim.x * blockDim.y;
  int *const mine = x + blockIdx.x * n;
  held[i] = mine[i];
  __syncthreads();
  more[i] = held[n - 1 - i] + static_cast<int>(blockIdx.y);
  __syncwarp();
  mine[i] = more[i];
}

__global__ void load_tiles(unsigned *out, bool transposed) {
  LETHE_SHARED(uint16_t, tile, [32][8]);
  const unsigned lane = threadIdx.x;
  for (unsigned j = 0; j < 8; j++) tile[lane][j] = static_cast<uint16_t>(lane * 8 + j);
  __syncwarp();
  uint32_t tiles[4];
  if (transposed) {
    lethe::gpu::ldmatrix_transposed(tiles, tile[lane]);
  } else {
    lethe::gpu::ldmatrix(tiles, tile[lane]);
  }
  for (unsigned t = 0; t < 4; t++) out[lane * 4 + t] = tiles[t];
}

// d (16, 8) = a (16, 16) b^T (8, 16) + 1, all row-major
__global__ void multiply(float *d, const uint16_t *a, const uint16_t *b) {
  LETHE_SHARED(uint16_t, left, [16][16]);
  const unsigned lane = threadIdx.x;
  for (unsigned i = lane; i < 32; i += 32) {
    const uint16_t *row = a + i / 2 * 16 + i % 2 * 8;
    lethe::gpu::copy_async(&left[i / 2][i % 2 * 8], row, true);
  }
  lethe::gpu::commit_copies();
  lethe::gpu::wait_for_copies<0>();
  __syncwarp();
  uint32_t fragment[4];
  lethe::gpu::ldmatrix(fragment, &left[lane % 16][lane / 16 * 8]);
  const unsigned g = lane / 4, t = lane % 4 * 2;
  const uint32_t b0 = b[g * 16 + t] | static_cast<uint32_t>(b[g * 16 + t + 1]) << 16;
  const uint32_t b1 = b[g * 16 + t + 8] | static_cast<uint32_t>(b[g * 16 + t + 9]) << 16;
  float c[4] = {1, 1, 1, 1};
  lethe::gpu::mma_bf16(c, fragment, b0, b1);
  d[g * 8 + t] = c[0];
  d[g * 8 + t + 1] = c[1];
  d[(g + 8) * 8 + t] = c[2];
  d[(g + 8) * 8 + t + 1] = c[3];
}

// Two groups of copies; the first is waited for alone.
__global__ void pipelined(float *out, const float *in) {
  LETHE_SHARED(float4, stage, [2][32]);
  const unsigned lane = threadIdx.x;
  for (unsigned s = 0; s < 2; s++) {
    lethe::gpu::copy_async(&stage[s][lane], in + (s * 32 + lane) * 4, lane != 5);
    lethe::gpu::commit_copies();
  }
  lethe::gpu::wait_for_copies<1>();
  out[lane] = stage[0][lane].y;
  lethe::gpu::wait_for_copies<0>();
  out[32 + lane] = stage[1][lane].y;
}

__global__ void peek_before_wait(unsigned *out, const unsigned *in) {
  LETHE_DYNAMIC_SHARED(unsigned, stage);
  lethe::gpu::copy_async(stage, in, true);
  out[0] = *const_cast<volatile unsigned *>(stage);
}

__global__ void count(unsigned *counters, unsigned long long *wide, int *signed_ones) {
  const unsigned i = blockIdx.x * blockDim.x + threadIdx.x;
  atomicAdd(&counters[0], 1u);
  atomicMax(&counters[1], i);
  atomicMin(&counters[2], i + 3);
  atomicOr(&counters[3], 1u << i % 32);
  atomicExch(&counters[4], 9u);
  for (unsigned seen = 0, old; (old = atomicCAS(&counters[5], seen, seen + 2)) != seen; seen = old) {
  }
  atomicAdd(wide, 1ull << 33);
  atomicMin(&signed_ones[0], -static_cast<int>(i));
  atomicSub(&signed_ones[1], 2);
}

__global__ void places(unsigned *out) {
  const unsigned block = blockIdx.x + gridDim.x * (blockIdx.y + gridDim.y * blockIdx.z);
  const unsigned thread = threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z);
  const unsigned threads = blockDim.x * blockDim.y * blockDim.z;
  out[block * threads + thread] = blockIdx.z << 20 | blockIdx.y << 16 | blockIdx.x << 12 | threadIdx.z << 8 | threadIdx.y << 4 | threadIdx.x;
}

// What the order of threads decides, so that an order that is asked for is seen to be had.
__global__ void who_is_first(unsigned *out) {
  unsigned nobody = ~0u;
  atomicCAS(&out[0], nobody, threadIdx.x);
}

}  // namespace simt_test

namespace {

using namespace simt_test;

int expected_source(int mode, int lane, int by, int width) {
  const int base = lane / width * width, at = lane % width;
  switch (mode) {
    case 0: return base + by % width;
    case 1: return at - by >= 0 ? lane - by : lane;
    case 2: return at + by < width ? lane + by : lane;
    // a lane of an earlier group may be read, one of a later group may not
    default: return (lane ^ by) < base + width ? lane ^ by : lane;
  }
}

void shuffles_as_documented() {
  for (const int width : {32, 16, 8, 2}) {
    for (const int by : {0, 1, 3, 8, 17}) {
      Buffer<int> out(128);
      expect_ok(simt::launch(1, 32, 0, nullptr, shuffles, out.data(), width, by));
      const std::vector<int> got = out.values();
      for (int mode = 0; mode < 4; mode++) {
        for (int lane = 0; lane < 32; lane++) {
          expect_equal(got[static_cast<size_t>(mode * 32 + lane)], 100 + expected_source(mode, lane, by, width),
                       "shuffle " + std::to_string(mode) + " of lane " + std::to_string(lane) + " by " + std::to_string(by) + " in " +
                           std::to_string(width));
        }
      }
    }
  }
}

void halves_of_a_warp_shuffle_apart() {
  Buffer<int> out(32);
  expect_ok(simt::launch(1, 32, 0, nullptr, half_warps, out.data()));
  const std::vector<int> got = out.values();
  for (int lane = 0; lane < 32; lane++) {
    // xor by 1 and three times by 2, once or twice
    const int swapped = lane < 16 ? lane ^ 1 ^ 2 : lane;
    expect_equal(got[static_cast<size_t>(lane)], swapped + (lane < 16 ? 4 : 8), "lane " + std::to_string(lane));
  }
}

void votes_and_reductions() {
  Buffer<unsigned> out(32 * 12);
  expect_ok(simt::launch(1, 32, 0, nullptr, votes, out.data()));
  const std::vector<unsigned> got = out.values();
  unsigned thirds = 0;
  for (unsigned lane = 0; lane < 32; lane += 3) thirds |= 1u << lane;
  for (unsigned lane = 0; lane < 32; lane++) {
    const unsigned wanted[12] = {thirds, 1, 0, 1, 496, 62, static_cast<unsigned>(-31), 31, 64, 32, 0x11111111u << lane % 4, 0};
    for (size_t i = 0; i < 12; i++) expect_equal(got[lane * 12 + i], wanted[i], "result " + std::to_string(i));
  }
}

void barriers_count() {
  Buffer<int> out(96);
  expect_ok(simt::launch(1, 96, 0, nullptr, counting_barriers, out.data()));
  int wanted = 0;
  for (int round = 0; round < 5; round++) {
    int count = 0;
    for (int i = 0; i < 96; i++) count += i % 5 <= round;
    wanted += count * 1000 + (round == 2) * 100 + (round < 4) * 10;
  }
  for (const int got : out.values()) expect_equal(got, wanted, "sum");
}

void shared_memory_is_a_blocks() {
  std::vector<int> values(256 * 8);
  for (size_t i = 0; i < values.size(); i++) values[i] = static_cast<int>(i);
  Buffer<int> x(values);
  expect_ok(simt::launch(8, dim3(64, 4), 1024, nullptr, reversed, x.data()));
  const std::vector<int> got = x.values();
  for (size_t i = 0; i < got.size(); i++) expect_equal(got[i], static_cast<int>(i / 256 * 256 + 255 - i % 256), "element");
}

void matrices_load_as_the_isa_says() {
  for (const bool transposed : {false, true}) {
    Buffer<unsigned> out(128);
    expect_ok(simt::launch(1, 32, 0, nullptr, load_tiles, out.data(), transposed));
    const std::vector<unsigned> got = out.values();
    for (unsigned lane = 0; lane < 32; lane++) {
      for (unsigned t = 0; t < 4; t++) {
        const unsigned i = lane / 4, j = lane % 4 * 2;
        const unsigned low = transposed ? (t * 8 + j) * 8 + i : (t * 8 + i) * 8 + j;
        const unsigned high = transposed ? (t * 8 + j + 1) * 8 + i : (t * 8 + i) * 8 + j + 1;
        expect_equal(got[lane * 4 + t], low | high << 16, "tile " + std::to_string(t) + " of lane " + std::to_string(lane));
      }
    }
  }
}

void tensor_cores_multiply() {
  std::vector<uint16_t> a(256), b(128);
  const auto value = [](size_t i) { return static_cast<float>(static_cast<int>(i * 37 % 31) - 15) / 8; };
  const auto bits = [&](size_t i) { return static_cast<uint16_t>(simt::bf16_of(value(i))); };
  for (size_t i = 0; i < a.size(); i++) a[i] = bits(i);
  for (size_t i = 0; i < b.size(); i++) b[i] = bits(i + 1000);
  Buffer<uint16_t> da(a), db(b);
  Buffer<float> d(128);
  expect_ok(simt::launch(1, 32, 0, nullptr, multiply, d.data(), da.data(), db.data()));
  const std::vector<float> got = d.values();
  for (size_t i = 0; i < 16; i++) {
    for (size_t j = 0; j < 8; j++) {
      float sum = 1;  // exact: multiples of 1/64 below 2^10
      for (size_t k = 0; k < 16; k++) sum += value(i * 16 + k) * value(1000 + j * 16 + k);
      expect_equal(got[i * 8 + j], sum, "d[" + std::to_string(i) + "][" + std::to_string(j) + "]");
    }
  }
}

void copies_arrive_when_waited_for() {
  std::vector<float> values(256);
  for (size_t i = 0; i < values.size(); i++) values[i] = static_cast<float>(i);
  Buffer<float> in(values), out(64);
  expect_ok(simt::launch(1, 32, 0, nullptr, pipelined, out.data(), in.data()));
  const std::vector<float> got = out.values();
  for (size_t i = 0; i < 64; i++) expect_equal(got[i], i % 32 == 5 ? 0.0f : static_cast<float>(i * 4 + 1), "element " + std::to_string(i));
}

void copies_may_be_late_or_early() {
  if (kChecked) return;  // there it is a failure (failures_test)
  Buffer<unsigned> in(std::vector<unsigned>(4, 7)), out(1);
  simt::options().copies = simt::CopyTime::kLate;
  expect_ok(simt::launch(1, 1, 16, nullptr, peek_before_wait, out.data(), in.data()));
  expect_equal(out.values()[0], ~0u, "what a late copy has brought");
  simt::options().copies = simt::CopyTime::kEarly;
  expect_ok(simt::launch(1, 1, 16, nullptr, peek_before_wait, out.data(), in.data()));
  expect_equal(out.values()[0], 7u, "what an early copy has brought");
}

void atomics_are_atomic_across_blocks() {
  Buffer<unsigned> counters(std::vector<unsigned>{0, 0, 1000000, 0, 0, 0});
  Buffer<unsigned long long> wide(std::vector<unsigned long long>{0});
  Buffer<int> signed_ones(std::vector<int>{0, 0});
  expect_ok(simt::launch(40, 128, 0, nullptr, count, counters.data(), wide.data(), signed_ones.data()));
  const std::vector<unsigned> got = counters.values(), wanted = {5120, 5119, 3, ~0u, 9, 10240};
  for (size_t i = 0; i < wanted.size(); i++) expect_equal(got[i], wanted[i], "counter " + std::to_string(i));
  expect_equal(wide.values()[0], 5120ull << 33, "the wide counter");
  expect_equal(signed_ones.values()[0], -5119, "the least");
  expect_equal(signed_ones.values()[1], -10240, "the difference");
}

void threads_know_their_places() {
  const dim3 grid(3, 2, 2), block(5, 3, 2);
  Buffer<unsigned> out(12 * 30);
  expect_ok(simt::launch(grid, block, 0, nullptr, places, out.data()));
  const std::vector<unsigned> got = out.values();
  for (unsigned i = 0; i < got.size(); i++) {
    const unsigned b = i / 30, t = i % 30;
    expect_equal(got[i], b / 6 << 20 | b / 3 % 2 << 16 | b % 3 << 12 | t / 15 << 8 | t / 5 % 3 << 4 | t % 5, "place");
  }
}

void orders_are_had() {
  const auto first = [](simt::Order order, uint64_t seed) {
    simt::Options &options = simt::options();
    const uint64_t before = std::exchange(options.seed, seed);
    options.order = order;
    Buffer<unsigned> out(std::vector<unsigned>{~0u});
    expect_ok(simt::launch(1, 512, 0, nullptr, who_is_first, out.data()));
    options.seed = before;
    return out.values()[0];
  };
  expect_equal(first(simt::Order::kForward, 1), 0u, "the first thread, forward");
  expect_equal(first(simt::Order::kReverse, 1), 511u, "the first thread, in reverse");
  expect_equal(first(simt::Order::kRandom, 7), first(simt::Order::kRandom, 7), "the first thread of one seed");
  bool differ = false;
  for (uint64_t seed = 2; seed < 10; seed++) differ |= first(simt::Order::kRandom, seed) != first(simt::Order::kRandom, 1);
  expect(differ, "eight seeds begin with the same thread");
}

void numbers_round_as_on_the_gpu() {
  expect_equal(simt::pack_bf16(1.0f + 0x1p-8f, -1.0f - 0x1p-7f), 0xbf813f80u, "ties go to even");
  expect_equal(simt::pack_bf16(NAN, 3.4e38f), 0x7f807fffu, "NaN stays, what is too large is infinite");
  expect_equal(simt::exp2_fast(-126.5f), 0.0f, "2^-126.5");
  expect_equal(simt::exp2_fast(3.0f), 8.0f, "2^3");
  expect_equal(__byte_perm(0x33221100u, 0x77665544u, 0x7250u), 0x77225500u, "permuted bytes");
  expect_equal(__funnelshift_l(0x80000000u, 1u, 1), 3u, "shifted left");
  expect_equal(__brev(1u), 0x80000000u, "reversed bits");
  expect_equal(__float2int_rn(2.5f), 2, "2.5 rounded");
  expect_equal(__float2int_rn(3e9f), INT32_MAX, "3e9 clamped");
}

}  // namespace

int main() {
  return run({
      {"shuffles as documented", shuffles_as_documented},
      {"halves of a warp shuffle apart", halves_of_a_warp_shuffle_apart},
      {"votes and reductions", votes_and_reductions},
      {"barriers count", barriers_count},
      {"shared memory is a block's", shared_memory_is_a_blocks},
      {"matrices load as the ISA says", matrices_load_as_the_isa_says},
      {"tensor cores multiply", tensor_cores_multiply},
      {"copies arrive when waited for", copies_arrive_when_waited_for},
      {"copies may be late or early", copies_may_be_late_or_early},
      {"atomics are atomic across blocks", atomics_are_atomic_across_blocks},
      {"threads know their places", threads_know_their_places},
      {"orders are had", orders_are_had},
      {"numbers round as on the GPU", numbers_round_as_on_the_gpu},
  });
}
