// Kernels as nvcc compiled them: PTX, decoded once, then executed by whole warps instead of what g++ made of the same source.
#pragma once

#include <cstdint>
#include <deque>
#include <string>
#include <vector>

#include "simt.h"

namespace simt::ptx {

struct Warp;
struct Instruction;

// Does an instruction for these lanes.
using Execute = void (*)(Warp &warp, const Instruction &instruction, uint32_t lanes);

enum class Kind : uint8_t {
  kLanes,       // each lane for itself
  kBranch,
  kExit,
  kBarrier,     // of the block
  kCollective,  // once the lanes of a mask, its last operand, are there
};

// Where the values of an operand lie, one after another for the 32 lanes: an offset in the warp's registers or, with kConstant, in
// what all warps share. A predicate is one word, a bit a lane.
using Operand = uint32_t;
constexpr Operand kConstant = 1;

struct Instruction {
  Execute execute;
  const Operand *operand;  // destinations first; vectors as their elements
  int64_t offset;          // of an address, or in the parameters
  uint32_t target;         // of a branch
  Operand guard;
  bool guarded, guard_inverted;
  int8_t members;    // of a collective: the operand that is its mask
  int8_t predicate;  // of a barrier: the operand that it reduces, or -1
  Kind kind;
  const char *text;  // as nvcc wrote it
  Site site;         // in the source, as nvcc says
};

// The same for all lanes: a number, or where a shared variable lies (known once a block begins).
struct Constant {
  uint64_t value;
  int variable;  // its index, or -1
  int width;     // bytes; 0 of a predicate
  Operand operand;
};

struct SharedVariable {
  std::string name;
  size_t bytes, alignment;  // no bytes: the dynamic shared memory
};

struct Parameter {
  size_t offset, bytes;
};

// %tid.x, %laneid...: registers that a block finds filled.
enum class Special : uint8_t { kTidX, kTidY, kTidZ, kNtidX, kNtidY, kNtidZ, kCtaidX, kCtaidY, kCtaidZ, kNctaidX, kNctaidY, kNctaidZ, kLane };
struct SpecialRegister {
  Special special;
  Operand operand;
};

struct Kernel {
  std::string name;  // mangled
  std::vector<Instruction> code;
  std::deque<std::vector<Operand>> operands;
  std::deque<std::string> texts;
  std::vector<Constant> constants;
  std::vector<SharedVariable> variables;
  std::vector<Parameter> parameters;
  std::vector<SpecialRegister> specials;
  size_t parameter_bytes = 0, register_bytes = 0, constant_bytes = 0;
  unsigned most_threads = 1024;  // .maxntid
};

// The kernel with that symbol in any of the files ("a.ptx:b.ptx", or a folder of them), which are read once. NULL where there is none
// or a file cannot be decoded: `why` says it.
const Kernel *find_kernel(const std::string &files, const std::string &symbol, std::string &why);

// The arguments of a call, laid out as the kernel's parameters. Empty where they do not fit: `why` says it.
std::vector<char> parameters_of(const Kernel &kernel, const Call &call, std::string &why);

}  // namespace simt::ptx
