// Kernels run from PTX: what instructions do, how lanes part and meet, and the mistakes that are found. The PTX is written here;
// what g++ made of the kernels would leave -1, or not fail.
#include <filesystem>
#include <fstream>

#include <unistd.h>

#include "testing.h"

using namespace testing;

extern "C" {
__global__ void numbers(int *out) { out[threadIdx.x] = -1; }
__global__ void loops(int *out) { out[threadIdx.x] = -1; }
__global__ void shared_rows(int *out) { out[threadIdx.x] = -1; }
__global__ void copies(int *out) { out[threadIdx.x] = -1; }
__global__ void arguments(int *out, int8_t small, double large) { out[threadIdx.x] = -static_cast<int>(small + large); }
__global__ void beyond(int *) {}
__global__ void misaligned(int *) {}
__global__ void unwritten(int *) {}
__global__ void no_barrier(int *) {}
__global__ void no_wait(int *) {}
__global__ void lane_gone(int *) {}
__global__ void barrier_of_some(int *) {}
__global__ void barrier_in_shuffle(int *) {}
__global__ void two_collectives(int *) {}
__global__ void unknown_instruction(int *) {}
__global__ void unknown_operands(int *) {}
__global__ void nowhere(int *) {}
}

namespace {

// A kernel of one pointer, %rd1, and the thread's own element at %rd2; %r1 is its number.
std::string kernel(const std::string &name, const std::string &body) {
  return ".visible .entry " + name + "(\n.param .u64 " + name + "_param_0\n)\n.maxntid 64, 1, 1\n{\n" + R"(
    .reg .pred %p<9>;
    .reg .b16 %rs<9>;
    .reg .b32 %r<30>;
    .reg .f32 %f<9>;
    .reg .b64 %rd<9>;
    .loc 1 7 3
    ld.param.u64 %rd1, [)" +
         name + R"(_param_0];
    mov.u32 %r1, %tid.x;
    mul.wide.u32 %rd2, %r1, 4;
    add.s64 %rd2, %rd1, %rd2;
)" + body + "    ret;\n}\n";
}

const char *const kNumbers = R"(
    mov.f32 %f1, 0f3F800000;  // 1 + 2^-24 is 1 to nearest, and below 1 of -2^-25 downwards
    mov.f32 %f2, 0fB3000000;
    fma.rm.f32 %f3, %f1, %f1, %f2;
    fma.rn.f32 %f4, %f1, %f1, %f2;
    setp.lt.f32 %p1, %f3, %f4;
    selp.b32 %r2, 1, 0, %p1;
    mov.f32 %f5, 0f7FC00000;
    setp.neu.f32 %p2, %f5, %f5;
    @%p2 add.s32 %r2, %r2, 2;
    setp.geu.f32 %p3, %f5, %f1;
    @!%p3 add.s32 %r2, %r2, 1000;
    max.f32 %f6, %f5, %f1;
    setp.eq.f32 %p1, %f6, %f1;
    @%p1 add.s32 %r2, %r2, 4;
    cvt.rn.bf16x2.f32 %r3, %f1, %f6;
    setp.eq.s32 %p1, %r3, 1065369472;
    @%p1 add.s32 %r2, %r2, 8;
    mov.u32 %r4, -7;
    shr.s32 %r5, %r4, 40;
    sub.s32 %r2, %r2, %r5;
    div.s32 %r6, %r4, 2;
    mad.lo.s32 %r2, %r6, -16, %r2;
    {
    .reg .pred %p1;
    setp.ne.s32 %p1, %r4, %r4;
    }
    @%p1 add.s32 %r2, %r2, 64;
    prmt.b32 %r7, %r4, %r3, 4180;
    setp.eq.s32 %p4, %r7, -442496;
    @%p4 add.s32 %r2, %r2, 256;
    mov.b64 %rd3, 3;
    bfi.b64 %rd4, %rd3, %rd3, 32, 32;
    shr.u64 %rd5, %rd4, 33;
    cvt.u32.u64 %r8, %rd5;
    shl.b32 %r8, %r8, 7;
    add.s32 %r2, %r2, %r8;
    st.global.u32 [%rd2], %r2;
)";

// Lane l goes round l % 3 + 1 times, with a shuffle in the loop's last round that all make together afterwards.
const char *const kLoops = R"(
    rem.u32 %r2, %r1, 3;
    mov.u32 %r3, 0;
$L_again:
    add.s32 %r3, %r3, 10;
    setp.eq.s32 %p1, %r2, 0;
    @%p1 bra $L_done;
    sub.s32 %r2, %r2, 1;
    bra.uni $L_again;
$L_done:
    mov.u32 %r4, 1;
    mov.u32 %r5, 31;
    mov.u32 %r6, -1;
    shfl.sync.bfly.b32 %r7|%p2, %r3, %r4, %r5, %r6;
    shl.b32 %r7, %r7, 8;
    add.s32 %r3, %r3, %r7;
    setp.gt.s32 %p3, %r1, 3;
    @%p3 bra $L_end;
    vote.sync.ballot.b32 %r8, %p1, 15;
    shl.b32 %r8, %r8, 16;
    add.s32 %r3, %r3, %r8;
$L_end:
    st.global.u32 [%rd2], %r3;
)";

const char *const kSharedRows = R"(
    .shared .align 4 .b8 row[256];
    shl.b32 %r2, %r1, 2;
    mov.u32 %r3, row;
    add.s32 %r4, %r3, %r2;
    st.shared.u32 [%r4], %r1;
    bar.sync 0;
    mov.u32 %r5, 252;
    sub.s32 %r5, %r5, %r2;
    add.s32 %r5, %r5, %r3;
    ld.shared.u32 %r6, [%r5];
    setp.eq.s32 %p1, %r1, 33;
    bar.red.or.pred %p2, 0, %p1;
    @%p2 add.s32 %r6, %r6, 100;
    st.global.u32 [%rd2], %r6;
)";

// Lane l of the first warp copies 16 bytes where l is below 8, and zeros from there on.
const char *const kCopies = R"(
    .shared .align 16 .b8 stage[1024];
    mov.u32 %r2, stage;
    shl.b32 %r3, %r1, 4;
    add.s32 %r2, %r2, %r3;
    cvt.u64.u32 %rd3, %r3;
    add.s64 %rd4, %rd1, %rd3;
    setp.lt.u32 %p1, %r1, 8;
    selp.b32 %r4, 16, 0, %p1;
    cp.async.cg.shared.global [%r2], [%rd4], 16, %r4;
    cp.async.commit_group;
    cp.async.wait_group 0;
    bar.sync 0;
    ld.shared.v4.u32 {%r5, %r6, %r7, %r8}, [%r2];
    add.s32 %r5, %r5, %r8;
    st.global.u32 [%rd2+256], %r5;
)";

std::string all_kernels() {
  return ".version 9.5\n.target sm_80\n.address_size 64\n.file 1 \"/somewhere/told.cu\"\n" + kernel("numbers", kNumbers) + kernel("loops", kLoops) +
         kernel("shared_rows", kSharedRows) + kernel("copies", kCopies) + R"(
.visible .entry arguments(.param .u64 a_0, .param .u8 a_1, .param .f64 a_2)
{
    .reg .b16 %rs<2>;
    .reg .b32 %r<4>;
    .reg .f64 %fd<2>;
    .reg .f32 %f<3>;
    .reg .b64 %rd<3>;
    ld.param.u64 %rd1, [a_0];
    ld.param.s8 %rs1, [a_1];
    ld.param.f64 %fd1, [a_2];
    mov.u32 %r1, %tid.x;
    mul.wide.u32 %rd2, %r1, 4;
    add.s64 %rd2, %rd1, %rd2;
    cvt.s32.s8 %r2, %rs1;
    cvt.rn.f32.f64 %f1, %fd1;
    cvt.rn.f32.s32 %f2, %r2;
    add.f32 %f1, %f1, %f2;
    st.global.f32 [%rd2], %f1;
    ret;
}
)" + kernel("beyond", "    .shared .align 4 .b8 row[64];\n    shl.b32 %r2, %r1, 2;\n    mov.u32 %r3, row;\n    add.s32 %r3, %r3, %r2;\n"
                    "    st.shared.u32 [%r3], %r1;\n") +
         kernel("misaligned", "    ld.global.v2.u32 {%r2, %r3}, [%rd2];\n    st.global.u32 [%rd2], %r3;\n") +
         kernel("unwritten", "    .shared .align 4 .b8 row[64];\n    ld.shared.u32 %r2, [row+12];\n    st.global.u32 [%rd2], %r2;\n") +
         kernel("no_barrier", "    .shared .align 4 .b8 row[64];\n    st.shared.u32 [row], %r1;\n") +
         kernel("no_wait", "    .shared .align 16 .b8 stage[1024];\n    shl.b32 %r2, %r1, 4;\n    mov.u32 %r3, stage;\n    add.s32 %r3, %r3, %r2;\n"
                           "    cp.async.cg.shared.global [%r3], [%rd1], 16, 16;\n    ld.shared.u32 %r4, [%r3];\n") +
         kernel("lane_gone", "    setp.eq.s32 %p1, %r1, 9;\n    @%p1 ret;\n    bar.warp.sync -1;\n") +
         kernel("barrier_of_some", "    setp.gt.s32 %p1, %r1, 40;\n    @%p1 ret;\n    bar.sync 0;\n") +
         kernel("barrier_in_shuffle", "    setp.eq.s32 %p1, %r1, 3;\n    @%p1 bra $L_a;\n    bar.warp.sync -1;\n    bra.uni $L_b;\n$L_a:\n"
                                      "    bar.sync 0;\n$L_b:\n") +
         kernel("two_collectives", "    setp.gt.s32 %p1, %r1, 7;\n    @%p1 bra $L_a;\n    bar.warp.sync -1;\n    bra.uni $L_b;\n$L_a:\n"
                                   "    vote.sync.ballot.b32 %r2, %p1, -1;\n$L_b:\n") +
         kernel("unknown_instruction", "    sin.approx.f32 %f1, %f2;\n") + kernel("unknown_operands", "    add.s32 %r1, %r2, %rd1;\n");
}

std::vector<int> run(void (*kernel)(int *), unsigned threads = 32) {
  Buffer<int> out(std::vector<int>(threads, 0));
  expect_ok(simt::launch(1, threads, 0, nullptr, kernel, out.data()));
  return out.values();
}

void expect_refused(void (*kernel)(int *), cudaError_t status, const std::vector<std::string> &words, unsigned threads = 32) {
  Buffer<int> out(std::vector<int>(256, 0));
  expect_failure(simt::launch(1, threads, 0, nullptr, kernel, out.data()), status, words);
}

void instructions_do_what_the_isa_says() {
  // rounding 1, NaN 2 + 4, bf16 8, shift 1, division 48, the outer predicate 64, a field 128, bytes 256
  for (const int found : run(numbers)) expect_equal(found, 1 + 2 + 4 + 8 + 1 + 48 + 64 + 128 + 256, "the sum");
}

void lanes_meet_again() {
  const std::vector<int> out = run(loops);
  const auto rounds = [](int lane) { return (lane % 3 + 1) * 10; };
  for (int lane = 0; lane < 32; lane++) {
    const int wanted = rounds(lane) + (rounds(lane ^ 1) << 8) + (lane <= 3 ? 15 << 16 : 0);
    expect_equal(out[static_cast<size_t>(lane)], wanted, "lane " + std::to_string(lane));
  }
}

void warps_share_memory() {
  const std::vector<int> out = run(shared_rows, 64);
  for (int i = 0; i < 64; i++) expect_equal(out[static_cast<size_t>(i)], 163 - i, "thread " + std::to_string(i));
}

void copies_arrive() {
  std::vector<int> values(128);
  for (int i = 0; i < 128; i++) values[static_cast<size_t>(i)] = i;
  Buffer<int> x(values);
  expect_ok(simt::launch(1, 32, 0, nullptr, copies, x.data()));
  const std::vector<int> out = x.values();
  for (int i = 0; i < 32; i++) expect_equal(out[static_cast<size_t>(64 + i)], i < 8 ? 8 * i + 3 : 0, "lane " + std::to_string(i));
}

void arguments_have_their_places() {
  Buffer<int> out(32);
  expect_ok(simt::launch(1, 32, 0, nullptr, arguments, out.data(), int8_t{-5}, 7.5));
  for (const int bits : out.values()) expect_equal(__int_as_float(bits), 2.5f, "the sum");
}

void mistakes_are_found() {
  expect_refused(beyond, cudaErrorIllegalAddress, {"out-of-bounds in beyond", "row (shared)", "told.cu:7"});
  expect_refused(misaligned, cudaErrorMisalignedAddress, {"misaligned in misaligned", "ld.global.v2.u32", "told.cu:7"});
  expect_refused(lane_gone, cudaErrorLaunchFailure, {"early-exit in lane_gone", "00000200"});
  expect_refused(barrier_of_some, cudaErrorLaunchFailure, {"divergent-barrier in barrier_of_some"}, 64);
  expect_refused(barrier_in_shuffle, cudaErrorLaunchFailure, {"divergent-barrier in barrier_in_shuffle", "lane 3"});
  expect_refused(two_collectives, cudaErrorLaunchFailure, {"divergent-warp in two_collectives", "vote.sync.ballot.b32"});
}

void the_checker_is_asked() {
  if (!kChecked) return;
  expect_refused(unwritten, cudaErrorIllegalAddress, {"uninitialised-read in unwritten", "byte 12 of the 64 of row (shared), at told.cu:7"});
  expect_refused(no_barrier, cudaErrorIllegalAddress, {"race in no_barrier", "row (shared), at told.cu:7"});
  expect_refused(no_wait, cudaErrorIllegalAddress, {"copy-in-flight in no_wait", "stage (shared)"});
}

void what_is_unknown_is_refused() {
  expect_refused(unknown_instruction, cudaErrorInvalidPtx, {"'sin.approx.f32 %f1, %f2' is not emulated", "no instruction of that name"});
  expect_refused(unknown_operands, cudaErrorInvalidPtx, {"'add.s32 %r1, %r2, %rd1' is not emulated", "other operands"});
  expect_refused(nowhere, cudaErrorInvalidPtx, {"no kernel of that name (nowhere)"});
  expect_refused(numbers, cudaErrorInvalidPtx, {"128 threads", ".maxntid 64"}, 128);
}

}  // namespace

int main() {
  const std::string file = (std::filesystem::temp_directory_path() / ("lethe_ptx_test_" + std::to_string(getpid()) + ".ptx")).string();
  std::ofstream(file) << all_kernels();
  simt::options().ptx = file;
  const int result = run({{"instructions do what the ISA says", instructions_do_what_the_isa_says},
                          {"lanes meet again", lanes_meet_again},
                          {"warps share memory", warps_share_memory},
                          {"copies arrive", copies_arrive},
                          {"arguments have their places", arguments_have_their_places},
                          {"mistakes are found", mistakes_are_found},
                          {"the checker is asked", the_checker_is_asked},
                          {"what is unknown is refused", what_is_unknown_is_refused}});
  std::filesystem::remove(file);
  return result;
}
