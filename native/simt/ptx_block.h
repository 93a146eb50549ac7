// A block whose kernel is executed from PTX, warp by warp.
#pragma once

#include <memory>

#include "multiprocessor.h"
#include "ptx.h"

namespace simt::ptx {

class Block;

struct Warp {
  Block *block;
  char *base[2];  // of registers, of constants
  simt::Warp *lanes;  // the emulator's own: epoch, live lanes, threads
  std::vector<uint64_t> registers;
  uint32_t runnable, waiting, at_barrier;  // lanes
  const Instruction *barrier;              // that those at_barrier wait in
  uint32_t pc[kLanes];

  template <class T>
  T *at(Operand operand) {
    return reinterpret_cast<T *>(base[operand & kConstant] + (operand & ~kConstant));
  }
  uint32_t mask(Operand predicate) { return *at<uint32_t>(predicate); }
  Thread &thread(unsigned lane) { return lanes->threads[lane]; }
};

class Block {
 public:
  explicit Block(Multiprocessor &m) : m_(m) {}

  // For the blocks of a launch.
  void begin(const Kernel &kernel, const char *parameters);
  // Runs the multiprocessor's block to its end, on a fiber that a failure may leave.
  void run();

  Multiprocessor &multiprocessor() { return m_; }
  const char *parameters() const { return parameters_; }

 private:
  void start();
  void place_variables();
  void run_warp(Warp &warp);
  bool meet(Warp &warp, const Instruction &instruction, uint32_t pc, uint32_t lanes);
  void arrive(Warp &warp, const Instruction &instruction, uint32_t pc, uint32_t lanes);
  void release();
  void exit(Warp &warp, uint32_t lanes);
  [[noreturn]] void stuck(Warp &warp);
  Warp &next(uint64_t warps);

  Multiprocessor &m_;
  const Kernel *kernel_ = nullptr;
  const char *parameters_ = nullptr;
  std::vector<uint64_t> constants_;
  std::vector<Warp> warps_;
};

// Fails the launch for what a lane does in an instruction: "<what>, in <instruction> at file:line".
[[noreturn, gnu::cold, gnu::format(printf, 6, 7)]] void wrong(Warp &warp, unsigned lane, const Instruction &instruction,
                                                                cudaError_t status, const char *kind, const char *format, ...);

template <class Body>
void each(uint32_t lanes, Body body) {
  for (uint32_t rest = lanes; rest != 0; rest &= rest - 1) body(static_cast<unsigned>(__builtin_ctz(rest)));
}

}  // namespace simt::ptx
