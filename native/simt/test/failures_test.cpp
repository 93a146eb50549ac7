// Mistakes are found, and told by kind, kernel, thread and place. What only one build finds is expected there alone.
#include "tensor_core.h"
#include "testing.h"

using namespace testing;

namespace simt_test {

__global__ void barrier_of_some(float *x) {
  if (threadIdx.x < 40) __syncthreads();
  x[threadIdx.x] = 1;
}

__global__ void two_barriers(float *x) {
  if (threadIdx.x < 32) {
    __syncthreads();
  } else {
    __syncthreads();
  }
  x[threadIdx.x] = 1;
}

__global__ void barrier_in_a_warps_shuffle(float *x) {
  if (threadIdx.x == 3) {
    __syncthreads();
  } else {
    x[threadIdx.x] = __shfl_sync(~0u, 1.0f, 3);
  }
}

__global__ void early_exit(float *x) {
  if (threadIdx.x == 9) return;
  x[threadIdx.x] = __shfl_xor_sync(~0u, 1.0f, 1);
}

__global__ void mask_without_me(float *x) { x[threadIdx.x] = __shfl_sync(1u, 1.0f, 0); }

__global__ void two_collectives(float *x) {
  if (threadIdx.x % 2 == 0) {
    __syncwarp();
  } else {
    x[threadIdx.x] = static_cast<float>(__ballot_sync(~0u, 1));
  }
}

__global__ void reads_inactive_lane(float *x) {
  if (threadIdx.x < 16) x[threadIdx.x] = __shfl_sync(0xffffu, 1.0f, 20);
}

__global__ void partial_mma(float *x) {
  float c[4] = {};
  const uint32_t a[4] = {};
  if (threadIdx.x < 31) lethe::gpu::mma_bf16(c, a, 0, 0);
  x[threadIdx.x] = c[0];
}

__global__ void misaligned_load(float *x) { *reinterpret_cast<float4 *>(x) = *reinterpret_cast<const float4 *>(x + 1 + threadIdx.x); }

__global__ void misaligned_tile(float *x) {
  LETHE_SHARED(float, tile, [64]);
  uint32_t tiles[4];
  lethe::gpu::ldmatrix(tiles, tile + 1);
  x[0] = static_cast<float>(tiles[0]);
}

__global__ void tile_in_global_memory(float *x) {
  uint32_t tiles[4];
  lethe::gpu::ldmatrix(tiles, x);
}

__global__ void misaligned_copy(float *x) {
  LETHE_SHARED(float4, stage, [2]);
  lethe::gpu::copy_async(stage, x + 1, true);
}

__global__ void copy_to_global_memory(float *x) { lethe::gpu::copy_async(x, x + 4, true); }

__global__ void trapped(float *) {
  if (threadIdx.x == 5) __trap();
}

__global__ void too_much_shared(float *x) {
  LETHE_SHARED(float, large, [20000]);
  large[threadIdx.x] = x[0];
}

__global__ void index_too_large(float *x, int at) {
  LETHE_SHARED(float, tile, [32]);
  tile[at] = 1;
  x[0] = tile[0];
}

__global__ void behind_dynamic_shared(float *x, int at) {
  LETHE_DYNAMIC_SHARED(float, tile);
  tile[at] = 1;
  x[0] = tile[at];
}

__global__ void write_at(float *x, int64_t at) { x[at] = 1; }
__global__ void read_at(float *out, const float *x, int64_t at) { out[0] = x[at]; }

__global__ void recursion(float *x, int64_t depth) {
  volatile float local[4096];
  local[depth % 4096] = x[0];
  if (depth > 0) recursion(x, depth - 1);
  x[0] = local[depth % 4096] + 1;
}

__global__ void uninitialised_shared(float *x) {
  LETHE_SHARED(float, sums, [32]);
  if (threadIdx.x > 0) sums[threadIdx.x] = 1;
  __syncthreads();
  x[threadIdx.x] = sums[threadIdx.x];
}

__global__ void written_then_read(float *x) {
  LETHE_SHARED(float, held, [64]);
  held[threadIdx.x] = 1;
  __syncthreads();
  held[threadIdx.x] = 2;
  x[threadIdx.x] = held[63 - threadIdx.x];
}

__global__ void read_then_written(float *x) {
  LETHE_SHARED(float, held, [64]);
  held[threadIdx.x] = 1;
  __syncthreads();
  x[threadIdx.x] = held[63 - threadIdx.x];
  held[threadIdx.x] = 2;
}

// As above within a warp, which a __syncwarp between would mend.
__global__ void within_a_warp(float *x, bool mended) {
  LETHE_SHARED(float, held, [32]);
  held[threadIdx.x] = 1;
  if (mended) __syncwarp();
  x[threadIdx.x] = held[threadIdx.x ^ 1u];
}

__global__ void all_write_one(float *x) {
  if (threadIdx.x == 0) x[0] = static_cast<float>(blockIdx.x);
}

__global__ void reads_neighbouring_block(float *x) { x[blockIdx.x] = x[(blockIdx.x + 1) % gridDim.x] + 1; }

__global__ void copy_not_waited_for(float *x, const float *in) {
  LETHE_SHARED(float4, stage, [32]);
  lethe::gpu::copy_async(&stage[threadIdx.x], in + threadIdx.x * 4, true);
  lethe::gpu::commit_copies();
  x[threadIdx.x] = stage[threadIdx.x].x;
}

__global__ void copy_seen_without_barrier(float *x, const float *in) {
  LETHE_SHARED(float4, stage, [64]);
  lethe::gpu::copy_async(&stage[threadIdx.x], in + threadIdx.x * 4, true);
  lethe::gpu::commit_copies();
  lethe::gpu::wait_for_copies<0>();
  x[threadIdx.x] = stage[63 - threadIdx.x].x;
}

}  // namespace simt_test

namespace {

using namespace simt_test;

constexpr size_t kElements = 256;

struct Filled : Buffer<float> {
  Filled() : Buffer(std::vector<float>(kElements, 1.0f)) {}
};

template <class... Parameters, class... Arguments>
cudaError_t launched(int threads, void (*kernel)(Parameters...), Arguments... arguments) {
  return simt::launch(1, static_cast<unsigned>(threads), 0, nullptr, kernel, static_cast<Parameters>(arguments)...);
}

void barriers_must_be_everybodys() {
  Filled x;
  expect_failure(launched(64, barrier_of_some, x.data()), cudaErrorLaunchFailure,
                 {"divergent-barrier in simt_test::barrier_of_some", "block (", "thread (", "failures_test.cpp:"});
  expect_failure(launched(64, two_barriers, x.data()), cudaErrorLaunchFailure,
                 {"divergent-barrier in simt_test::two_barriers", "failures_test.cpp:"});
  expect_failure(launched(32, barrier_in_a_warps_shuffle, x.data()), cudaErrorLaunchFailure,
                 {"divergent-barrier in simt_test::barrier_in_a_warps_shuffle", "a shuffle at", "__syncthreads at"});
}

void warps_must_come_whole() {
  Filled x;
  expect_failure(launched(32, early_exit, x.data()), cudaErrorLaunchFailure, {"early-exit in simt_test::early_exit", "a shuffle at"});
  expect_failure(launched(32, mask_without_me, x.data()), cudaErrorLaunchFailure, {"simt_test::mask_without_me", "00000001"});
  expect_failure(launched(32, two_collectives, x.data()), cudaErrorLaunchFailure, {"divergent-warp in simt_test::two_collectives"});
  expect_failure(launched(32, reads_inactive_lane, x.data()), cudaErrorLaunchFailure,
                 {"inactive-lane in simt_test::reads_inactive_lane", "reads lane 20"});
  expect_failure(launched(32, partial_mma, x.data()), cudaErrorLaunchFailure, {"early-exit in simt_test::partial_mma", "mma_bf16"});
  expect_failure(launched(20, partial_mma, x.data()), cudaErrorLaunchFailure, {"early-exit in simt_test::partial_mma", "000fffff"});
}

void addresses_must_fit() {
  Filled x;
  expect_failure(launched(32, misaligned_tile, x.data()), cudaErrorMisalignedAddress, {"misaligned in simt_test::misaligned_tile"});
  expect_failure(launched(32, tile_in_global_memory, x.data()), cudaErrorInvalidAddressSpace,
                 {"not-shared in simt_test::tile_in_global_memory"});
  expect_failure(launched(1, misaligned_copy, x.data()), cudaErrorMisalignedAddress,
                 {"misaligned in simt_test::misaligned_copy", "failures_test.cpp:"});
  expect_failure(launched(1, copy_to_global_memory, x.data()), cudaErrorInvalidAddressSpace,
                 {"not-shared in simt_test::copy_to_global_memory"});
  if (kSanitized) return;  // their own library ends the process
  expect_failure(launched(1, misaligned_load, x.data()), cudaErrorMisalignedAddress,
                 {"misaligned in simt_test::misaligned_load", "failures_test.cpp:"});
}

void traps_are_told() {
  Filled x;
  expect_failure(launched(32, trapped, x.data()), cudaErrorLaunchFailure, {"trap in simt_test::trapped", "thread (5, 0, 0)"});
}

void launches_must_be_possible() {
  Filled x;
  const auto refused = [&](dim3 grid, dim3 block, size_t shared) {
    expect_failure(simt::launch(grid, block, shared, nullptr, write_at, x.data(), int64_t{0}), cudaErrorInvalidConfiguration,
                   {"simt_test::write_at"});
  };
  refused(1, 1025, 0);
  refused(1, dim3(1, 1, 65), 0);
  refused(0, 32, 0);
  refused(dim3(1, 65536), 32, 0);
  refused(1, 32, 232449);
  expect_ok(cudaGetLastError());
  expect_failure(launched(32, too_much_shared, x.data()), cudaErrorLaunchOutOfResources,
                 {"shared-memory in simt_test::too_much_shared", "80000 bytes of large"});
}

void shared_memory_has_ends() {
  if (kSanitized) return;  // as above
  Filled x;
  expect_failure(simt::launch(1, 1, 12, nullptr, behind_dynamic_shared, x.data(), 3), cudaErrorIllegalAddress,
                 {"out-of-bounds in simt_test::behind_dynamic_shared", "dynamic shared memory"});
  expect_failure(launched(1, index_too_large, x.data(), 32), cudaErrorIllegalAddress,
                 {"out-of-bounds in simt_test::index_too_large", "failures_test.cpp:"});
}

void device_memory_has_ends() {
  if (kSanitized) return;
  Buffer<float> x(std::vector<float>(3, 1.0f));
  cudaError_t status = launched(1, write_at, x.data(), 3);
  if (status == cudaSuccess) status = cudaDeviceSynchronize();  // found by its red zone
  expect_failure(status, cudaErrorIllegalAddress, {"out-of-bounds", "12 bytes"});
  if (!kChecked) return;
  Filled out;
  expect_failure(launched(1, read_at, out.data(), x.data(), -1), cudaErrorIllegalAddress,
                 {"out-of-bounds in simt_test::read_at", "byte -4 of an allocation of 12 bytes", "failures_test.cpp:"});
  float *freed = nullptr;
  expect_ok(cudaMalloc(&freed, 4096));
  expect_ok(cudaMemset(freed, 0, 4096));
  expect_ok(cudaFree(freed));
  expect_failure(launched(1, read_at, out.data(), freed, 10), cudaErrorIllegalAddress,
                 {"out-of-bounds in simt_test::read_at", "byte 40 of an allocation of 4096 bytes, freed"});
}

// Last: x has lost what it had behind it.
void faults_can_be_failures() {
  if (kSanitized || kChecked) return;
  simt::options().signals = true;
  Filled x;
  expect_failure(launched(1, write_at, x.data(), 1024), cudaErrorIllegalAddress,
                 {"fault in simt_test::write_at", "byte 4096 of an allocation of 1024 bytes", "failures_test.cpp:"});
  expect_failure(simt::launch(1, 1, 1024, nullptr, behind_dynamic_shared, x.data(), 256), cudaErrorIllegalAddress,
                 {"fault in simt_test::behind_dynamic_shared", "shared memory"});
  expect_failure(launched(1, recursion, x.data(), 100), cudaErrorIllegalAddress, {"stack-overflow in simt_test::recursion"});
  expect_ok(launched(1, write_at, x.data(), 0));
}

void failures_stay() {
  Filled x;
  expect(launched(32, trapped, x.data()) == cudaErrorLaunchFailure, "a trap does not fail");
  expect(launched(1, write_at, x.data(), 0) == cudaErrorLaunchFailure, "a launch after the context is lost does not fail");
  expect(cudaMemset(x.data(), 0, 4) == cudaErrorLaunchFailure, "a fill after the context is lost does not fail");
  expect_failure(cudaDeviceSynchronize(), cudaErrorLaunchFailure, {"trap in simt_test::trapped"});
  expect_ok(launched(1, write_at, x.data(), 0));
}

// ---- what only the checker finds ----------------------------------------------------------------------------------------

void bytes_must_be_written_before_read() {
  Filled out;
  Buffer<float> fresh(8);
  expect_failure(launched(1, read_at, out.data(), fresh.data(), 2), cudaErrorIllegalAddress,
                 {"uninitialised-read in simt_test::read_at", "byte 8 of an allocation of 32 bytes", "failures_test.cpp:"});
  expect_failure(launched(32, uninitialised_shared, out.data()), cudaErrorIllegalAddress,
                 {"uninitialised-read in simt_test::uninitialised_shared", "byte 0 of the 128 of sums"});
}

void threads_must_be_ordered() {
  Filled x;
  const std::vector<std::string> words = {"4-byte", "of the 256 of held (shared)", "failures_test.cpp:"};
  expect_failure(launched(64, written_then_read, x.data()), cudaErrorIllegalAddress, {"race in simt_test::written_then_read", words[0], words[1], words[2]});
  expect_failure(launched(64, read_then_written, x.data()), cudaErrorIllegalAddress, {"race in simt_test::read_then_written", words[0], words[1], words[2]});
  expect_failure(simt::launch(1, 32, 0, nullptr, within_a_warp, x.data(), false), cudaErrorIllegalAddress, {" in simt_test::within_a_warp"});
  expect_ok(simt::launch(1, 32, 0, nullptr, within_a_warp, x.data(), true));
}

void blocks_must_be_apart() {
  Filled x;
  expect_failure(simt::launch(2, 32, 0, nullptr, all_write_one, x.data()), cudaErrorIllegalAddress, {"race-between-blocks in simt_test::all_write_one"});
  expect_failure(simt::launch(2, 1, 0, nullptr, reads_neighbouring_block, x.data()), cudaErrorIllegalAddress,
                 {"race-between-blocks in simt_test::reads_neighbouring_block"});
  // one after the other is well
  expect_ok(simt::launch(1, 32, 0, nullptr, all_write_one, x.data()));
  expect_ok(simt::launch(1, 32, 0, nullptr, all_write_one, x.data()));
}

void copies_must_be_waited_for() {
  Filled x;
  Buffer<float> in(std::vector<float>(256, 2.0f)), fresh(256);
  expect_failure(simt::launch(1, 32, 0, nullptr, copy_not_waited_for, x.data(), in.data()), cudaErrorIllegalAddress,
                 {"copy-in-flight in simt_test::copy_not_waited_for", "of stage (shared)"});
  expect_failure(simt::launch(1, 64, 0, nullptr, copy_seen_without_barrier, x.data(), in.data()), cudaErrorIllegalAddress,
                 {" in simt_test::copy_seen_without_barrier", "of stage (shared)"});
  expect_failure(simt::launch(1, 32, 0, nullptr, copy_not_waited_for, x.data(), fresh.data()), cudaErrorIllegalAddress,
                 {"uninitialised-read in simt_test::copy_not_waited_for", "failures_test.cpp:"});
}

void memory_must_be_the_devices() {
  Filled x;
  std::vector<float> host(4, 1.0f);
  expect_ok(launched(1, read_at, x.data(), host.data(), 1));
  simt::options().strict = true;
  expect_failure(simt::launch(1, 1, 0, nullptr, read_at, x.data(), host.data(), int64_t{1}), cudaErrorIllegalAddress,
                 {"illegal-address in simt_test::read_at", "host memory"});
  expect_ok(cudaDeviceSynchronize());
  x.data()[0] = 3;
  expect_failure(cudaDeviceSynchronize(), cudaErrorIllegalAddress, {"host-access", "byte 0 of an allocation", "failures_test.cpp:"});
}

}  // namespace

int main() {
  std::vector<Test> tests = {
      {"barriers must be everybody's", barriers_must_be_everybodys},
      {"warps must come whole", warps_must_come_whole},
      {"addresses must fit", addresses_must_fit},
      {"traps are told", traps_are_told},
      {"launches must be possible", launches_must_be_possible},
      {"shared memory has ends", shared_memory_has_ends},
      {"device memory has ends", device_memory_has_ends},
      {"faults can be failures", faults_can_be_failures},
      {"failures stay", failures_stay},
  };
  if (kChecked) {
    tests.insert(tests.end(), {{"bytes must be written before read", bytes_must_be_written_before_read},
                               {"threads must be ordered", threads_must_be_ordered},
                               {"blocks must be apart", blocks_must_be_apart},
                               {"copies must be waited for", copies_must_be_waited_for},
                               {"memory must be the device's", memory_must_be_the_devices}});
  }
  return run(tests);
}
