// What a library implements beside lethe_device itself: the operations of lethe.h that it names here, with the ABI's own
// signatures, once a tier of the cpu. A kernel may take its arguments as checked.
#pragma once

#include "lethe.h"

#define LETHE_KERNELS(X)                                                                                                     \
  X(fill) X(convert) X(split) X(join) X(gather_rows) X(scatter_rows) X(embedding) X(embedding_backward) X(rmsnorm)           \
  X(rmsnorm_backward) X(rope) X(attention) X(attention_backward_workspace) X(attention_backward) X(cache_write)              \
  X(attention_decode) X(swiglu) X(swiglu_backward) X(packed_bytes) X(pack) X(matmul_packed) X(cross_entropy)                 \
  X(token_logprobs) X(top_k) X(argmax) X(generic_labels) X(adamw) X(sum_of_squares)

namespace lethe {

#define LETHE_FIELD(name) decltype(&lethe_##name) name;
struct Kernels {
  LETHE_KERNELS(LETHE_FIELD)
};
#undef LETHE_FIELD

decltype(lethe_matmul) matmul;  // every tier's

}  // namespace lethe
