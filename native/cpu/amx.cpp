// The tier avx512_amx: the kernels of avx512_bf16, with attention multiplied in tiles. Decoding has too few rows for them: of one sequence, a
// token took 12% longer.
#include "device.h"

namespace lethe {

namespace avx512_bf16 {
extern const Kernels kernels;
}

namespace avx512_amx {

extern const Kernels kernels;

decltype(lethe_attention) attention;
decltype(lethe_attention_backward) attention_backward;
decltype(lethe_attention_backward_workspace) attention_backward_workspace;

const Kernels kernels = [] {
  Kernels table = avx512_bf16::kernels;
  table.attention = &attention;
  table.attention_backward = &attention_backward;
  table.attention_backward_workspace = &attention_backward_workspace;
  return table;
}();

}  // namespace avx512_amx
}  // namespace lethe
