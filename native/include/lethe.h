/*
 * lethe.h: the one C ABI of Lethe's kernels.
 *
 * A library that exports these functions is a Lethe device library. Kernels are primitives: they know tensors, not models.
 *
 * The contract, once for all of them:
 *
 *   Status      Every call returns a lethe_status, LETHE_OK (0) when good. lethe_message() then tells what failed, with the
 *               operation's name and shapes; the text belongs to the calling thread and lives until its next failing call.
 *   Checks      Null and misaligned pointers, sizes below their minimum, products of sizes that overflow, and unknown dtypes are
 *               always refused with LETHE_INVALID_ARGUMENT before anything is written. Index tensors (tokens, targets, rows,
 *               positions) must be in range: a CPU library checks them, others cannot, so callers check as well.
 *   Memory      Pointers to tensors are device addresses from lethe_allocate (on a CPU any host address works). Alignment asked
 *               for is that of the element. Outputs must not overlap inputs except where a parameter says "may alias".
 *   Layout      Row-major. Where a parameter `ld_x` is given, row r of x starts at x + r * ld_x (elements, ld_x >= row width).
 *   Writing     `=` outputs are overwritten; `+=` outputs are accumulated into. Parameter gradients are `+=`, all else `=`.
 *   Streams     The stream comes last; NULL is the device's own. Kernels are asynchronous on a GPU and done on return on a CPU.
 *               Calls on one device are serialised by its owner.
 *   Bits        Same inputs, same device, same thread count: same bits. No floating-point atomics.
 *   Losing it   After a failure that cannot be recovered every call on the device returns LETHE_DEVICE_LOST and the message of
 *               the first failure.
 *   dtypes      `dtype` is the storage type of the activations and weights of a call; arithmetic accumulates in fp32. Norm
 *               statistics, log-sum-exps and losses are fp32 whatever the dtype.
 */
#ifndef LETHE_H
#define LETHE_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(_WIN32)
#define LETHE_API __declspec(dllexport)
#else
#define LETHE_API __attribute__((visibility("default")))
#endif

#define LETHE_ABI_VERSION 4

typedef int32_t lethe_status;
#define LETHE_OK 0
#define LETHE_INVALID_ARGUMENT 1 /* a check on the arguments failed; nothing was written */
#define LETHE_OUT_OF_MEMORY 2    /* the device could not allocate what was asked */
#define LETHE_UNSUPPORTED 3      /* this device or this machine cannot do it; the message says what is missing */
#define LETHE_DEVICE_ERROR 4     /* the operation failed on the device */
#define LETHE_DEVICE_LOST 5      /* an earlier failure made the device unusable */

#define LETHE_F32 0
#define LETHE_BF16 1

#define LETHE_NN 0 /* C = A   B   : A (M, K), B (K, N) */
#define LETHE_NT 1 /* C = A   B^T : A (M, K), B (N, K) */
#define LETHE_TN 2 /* C = A^T B   : A (K, M), B (K, N) */

#define LETHE_HOST_TO_DEVICE 0
#define LETHE_DEVICE_TO_HOST 1
#define LETHE_DEVICE_TO_DEVICE 2

#define LETHE_IGNORE (-100) /* a target that asks for nothing: loss 0, gradient 0 */

typedef struct lethe_device lethe_device; /* opaque */
typedef struct lethe_stream lethe_stream; /* opaque */
typedef struct lethe_event lethe_event;   /* opaque */
typedef struct lethe_graph lethe_graph;   /* opaque */

/* ---- the library and its devices ---------------------------------------------------------------------------------------- */

LETHE_API int32_t lethe_abi_version(void);

/* UTF-8, NUL-terminated, never NULL; the calling thread's latest failure. */
LETHE_API const char *lethe_message(void);

/*
 * Opens a device. `options` is "key=value" pairs separated by one space, NULL or "" for the defaults; an unknown key or a value
 * out of range is LETHE_INVALID_ARGUMENT. Keys of a CPU library:
 *   threads=N   1 to 1024; default: the cores this process may run on
 *   tier=T      avx2 | avx512 | avx512_bf16; default: the highest this machine has. It also caps the matrix-product library,
 *               which takes the first tier of a process for good: another one afterwards is LETHE_UNSUPPORTED.
 * Keys of a CUDA library:
 *   gpu=N       the number of the GPU, from 0, the default
 *   sync=true   waits for every kernel, so that what fails is reported by the operation that failed; false is the default
 *   cublas=FILE libcublasLt.so of CUDA 12 or 13, percent-encoded; default: the system's (libcublasLt.so.13, then .12)
 */
LETHE_API lethe_status lethe_open(const char *options, lethe_device **device);

/* Frees the device and what is still allocated on it. NULL is allowed. */
LETHE_API lethe_status lethe_close(lethe_device *device);

/*
 * Writes one JSON object (device, name, memory_bytes, allocated_bytes, abi; a CPU's tier, why, threads; a GPU's
 * compute_capability; versions...) with its NUL into buffer; device is what liblethe_NAME is called by: cpu, cuda, simt.
 * device may be NULL: then what lethe_open would take by default. Too small a buffer is LETHE_INVALID_ARGUMENT.
 */
LETHE_API lethe_status lethe_describe(lethe_device *device, char *buffer, int64_t capacity);

/* Fresh device memory, aligned to 64 bytes, contents undefined. bytes >= 1. */
LETHE_API lethe_status lethe_allocate(lethe_device *device, int64_t bytes, void **address);
/* NULL is allowed; an address that lethe_allocate did not give is LETHE_INVALID_ARGUMENT. A device may keep the memory for later. */
LETHE_API lethe_status lethe_free(lethe_device *device, void *address);

/* bytes >= 0. Host memory may be pageable: the call returns when the host side may be reused or read. */
LETHE_API lethe_status lethe_copy(lethe_device *device, void *target, const void *source, int64_t bytes, int32_t direction,
                                  lethe_stream *stream);

LETHE_API lethe_status lethe_stream_create(lethe_device *device, lethe_stream **stream);
LETHE_API lethe_status lethe_stream_destroy(lethe_device *device, lethe_stream *stream);
/* Waits for everything on the stream, and reports what failed on it since the last wait. */
LETHE_API lethe_status lethe_synchronize(lethe_device *device, lethe_stream *stream);

LETHE_API lethe_status lethe_event_create(lethe_device *device, lethe_event **event);
LETHE_API lethe_status lethe_event_destroy(lethe_device *device, lethe_event *event);
LETHE_API lethe_status lethe_event_record(lethe_device *device, lethe_event *event, lethe_stream *stream);
/* Device time between two recorded events; waits for the second. */
LETHE_API lethe_status lethe_event_milliseconds(lethe_device *device, lethe_event *from, lethe_event *to, double *milliseconds);

/*
 * A graph: from lethe_graph_begin to lethe_graph_end operations on the stream are recorded instead of done; lethe_graph_launch
 * then does all of them at once, with the addresses and sizes recorded, as often as it is asked. Copies to and from the host,
 * allocating and freeing, recording events, other graphs and lethe_synchronize are refused while recording. A device without
 * graphs says LETHE_UNSUPPORTED at the beginning.
 */
LETHE_API lethe_status lethe_graph_begin(lethe_device *device, lethe_stream *stream);
LETHE_API lethe_status lethe_graph_end(lethe_device *device, lethe_stream *stream, lethe_graph **graph);
LETHE_API lethe_status lethe_graph_launch(lethe_device *device, lethe_graph *graph, lethe_stream *stream);
LETHE_API lethe_status lethe_graph_destroy(lethe_device *device, lethe_graph *graph);

/* ---- moving and converting ---------------------------------------------------------------------------------------------- */

/* x (n) = value */
LETHE_API lethe_status lethe_fill(lethe_device *device, void *x, int32_t dtype, int64_t n, float value, lethe_stream *stream);

/* target (n) = source (n), rounded to nearest even where narrowed; NaN stays NaN. */
LETHE_API lethe_status lethe_convert(lethe_device *device, void *target, int32_t target_dtype, const void *source,
                                     int32_t source_dtype, int64_t n, lethe_stream *stream);

/*
 * Exact fp32 as two 16-bit halves: hi = (bits + 0x8000) >> 16, the bf16 nearest (ties away from zero), and
 * lo = int16(bits - (hi << 16)). Undone by bits = (hi << 16) + lo, sign-extended, all modulo 2^32: join(split(x)) == x for
 * every bit pattern (within half a unit of overflow hi alone is infinite).
 */
LETHE_API lethe_status lethe_split(lethe_device *device, uint16_t *hi, int16_t *lo, const float *x, int64_t n, lethe_stream *stream);
LETHE_API lethe_status lethe_join(lethe_device *device, float *x, const uint16_t *hi, const int16_t *lo, int64_t n,
                                  lethe_stream *stream);

/* target (rows, width) = source[index[r]] : source (source_rows, width), index (rows) */
LETHE_API lethe_status lethe_gather_rows(lethe_device *device, void *target, const void *source, const int32_t *index, int32_t dtype,
                                         int64_t rows, int64_t source_rows, int64_t width, lethe_stream *stream);

/* target (target_rows, width) = 0, then target[index[r]] = source[r] : source (rows, width), index (rows) without repeats */
LETHE_API lethe_status lethe_scatter_rows(lethe_device *device, void *target, const void *source, const int32_t *index, int32_t dtype,
                                          int64_t rows, int64_t target_rows, int64_t width, lethe_stream *stream);

/* ---- the transformer ---------------------------------------------------------------------------------------------------- */

/* out (N, d) = table[tokens[i]] : table (V, d), tokens (N) */
LETHE_API lethe_status lethe_embedding(lethe_device *device, void *out, const void *table, const int32_t *tokens, int32_t dtype,
                                       int64_t N, int64_t V, int64_t d, lethe_stream *stream);

/* d_table (V, d) in grad_dtype += rows of d_out (N, d), repeated tokens summed in order of position */
LETHE_API lethe_status lethe_embedding_backward(lethe_device *device, void *d_table, const void *d_out, const int32_t *tokens,
                                                int32_t dtype, int32_t grad_dtype, int64_t N, int64_t V, int64_t d,
                                                lethe_stream *stream);

/*
 * RMSNorm (Zhang & Sennrich 2019) with the residual add in front of it:
 *   sum (N, d) = x (N, d) + residual (N, d), rounded to dtype     residual NULL: sum is x and need not be given
 *   rstd (N)   = 1 / sqrt(mean(sum^2) + eps)                       NULL: not kept
 *   y (N, d)   = sum * rstd * weight (d)
 * sum may alias x or residual.
 */
LETHE_API lethe_status lethe_rmsnorm(lethe_device *device, void *y, float *rstd, void *sum, const void *x, const void *residual,
                                     const void *weight, int32_t dtype, int64_t N, int64_t d, float eps, lethe_stream *stream);

/*
 * d_x (N, d) = d_residual (N, d) + gradient through the norm; d_residual NULL: nothing is added; d_x may alias d_residual or d_y.
 * d_weight (d) in grad_dtype +=. x is what the norm saw (sum).
 */
LETHE_API lethe_status lethe_rmsnorm_backward(lethe_device *device, void *d_x, void *d_weight, const void *d_y, const void *x,
                                              const void *weight, const float *rstd, const void *d_residual, int32_t dtype,
                                              int32_t grad_dtype, int64_t N, int64_t d, lethe_stream *stream);

/*
 * Rotary position embedding (Su et al. 2021), halves paired as Hugging Face's Llama does, in place:
 *   for i < D/2, c = table[p][i][0], s = table[p][i][1], p = positions[row]:
 *   x[i], x[i + D/2] = x[i] c - x[i + D/2] s, x[i + D/2] c + x[i] s
 * x (N, heads, D) with row stride ld_x; table (P, D/2, 2) fp32; positions (N). inverse = 1 turns the other way (the backward).
 */
LETHE_API lethe_status lethe_rope(lethe_device *device, void *x, int64_t ld_x, const float *table, const int32_t *positions,
                                  int32_t inverse, int32_t dtype, int64_t N, int64_t heads, int64_t D, int64_t P,
                                  lethe_stream *stream);

/*
 * Causal attention with grouped key/value heads, flash style (Dao 2023): no T x T matrix in memory.
 *   out[b, t, h] = softmax(scale * q[b, t, h] . k[b, 0..t, h / (Hq / Hkv)]) v
 * q (B*T, Hq, D), k and v (B*T, Hkv, D), out (B*T, Hq, D), each with its row stride (k and v share ld_kv);
 * lse (B, Hq, T) fp32 = log-sum-exp of the scaled scores, NULL: not kept. Hq % Hkv == 0, 1 <= D <= 256.
 */
LETHE_API lethe_status lethe_attention(lethe_device *device, void *out, int64_t ld_out, float *lse, const void *q, int64_t ld_q,
                                       const void *k, const void *v, int64_t ld_kv, int32_t dtype, int64_t B, int64_t T, int64_t Hq,
                                       int64_t Hkv, int64_t D, float scale, lethe_stream *stream);

/* Bytes that lethe_attention_backward needs in workspace for these shapes on this device (0 is possible). */
LETHE_API lethe_status lethe_attention_backward_workspace(lethe_device *device, int64_t *bytes, int32_t dtype, int64_t B, int64_t T,
                                                          int64_t Hq, int64_t Hkv, int64_t D);

/* d_q, d_k, d_v = ; shaped as q, k, v, with their own row strides. workspace: as the call above says, aligned to 64 bytes. */
LETHE_API lethe_status lethe_attention_backward(lethe_device *device, void *d_q, int64_t ld_dq, void *d_k, void *d_v, int64_t ld_dkv,
                                                const void *d_out, int64_t ld_dout, const void *out, int64_t ld_out, const float *lse,
                                                const void *q, int64_t ld_q, const void *k, const void *v, int64_t ld_kv,
                                                int32_t dtype, int64_t B, int64_t T, int64_t Hq, int64_t Hkv, int64_t D, float scale,
                                                void *workspace, int64_t workspace_bytes, lethe_stream *stream);

/*
 * cache (B, Hkv, capacity, D)[b, h, position[b T + t]] = x (B*T, Hkv, D)[b, t, h], for keys and for values. position (B*T), those of a
 * sequence all different and below capacity: a CPU checks that they are below, others write nothing that does not fit.
 */
LETHE_API lethe_status lethe_cache_write(lethe_device *device, void *k_cache, void *v_cache, const void *k, const void *v,
                                         int64_t ld_kv, const int32_t *position, int32_t dtype, int64_t B, int64_t T, int64_t Hkv,
                                         int64_t D, int64_t capacity, lethe_stream *stream);

/*
 * One new token per sequence, that of sequence b at position[b], against its cached ones 0..position[b]: out (B, Hq, D) = ,
 * q (B, Hq, D) with row stride ld_q. position (B), each from 0 to below capacity. Where it lies on the device, one recorded graph
 * decodes any number of tokens.
 */
LETHE_API lethe_status lethe_attention_decode(lethe_device *device, void *out, const void *q, int64_t ld_q, const void *k_cache,
                                              const void *v_cache, const int32_t *position, int32_t dtype, int64_t B, int64_t Hq,
                                              int64_t Hkv, int64_t D, int64_t capacity, float scale, lethe_stream *stream);

/* SwiGLU (Shazeer 2020): out (N, F) = silu(gate) * up; gate and up (N, F) with row stride ld_gu */
LETHE_API lethe_status lethe_swiglu(lethe_device *device, void *out, const void *gate, const void *up, int64_t ld_gu, int32_t dtype,
                                    int64_t N, int64_t F, lethe_stream *stream);

/* d_gate and d_up (N, F) with row stride ld_dgu; they may alias gate and up (then ld_dgu == ld_gu). */
LETHE_API lethe_status lethe_swiglu_backward(lethe_device *device, void *d_gate, void *d_up, int64_t ld_dgu, const void *d_out,
                                             const void *gate, const void *up, int64_t ld_gu, int32_t dtype, int64_t N, int64_t F,
                                             lethe_stream *stream);

/*
 * Matrix product: C (M, N) = op(A) op(B), or += when accumulate is 1. layout: LETHE_NN, LETHE_NT, LETHE_TN.
 * A and B share dtype; C may be wider (fp32) or the same. ld in elements.
 */
LETHE_API lethe_status lethe_matmul(lethe_device *device, void *C, int64_t ld_c, int32_t c_dtype, const void *A, int64_t ld_a,
                                    const void *B, int64_t ld_b, int32_t dtype, int32_t layout, int32_t accumulate, int64_t M,
                                    int64_t N, int64_t K, lethe_stream *stream);

/*
 * Weights packed without loss, beside themselves: for products of few rows, whose time is that of reading the weights. What packed memory
 * holds is the device's own affair, and good for the weights it was made of while they stay as they were.
 */

/* Bytes that B (N, K) takes packed; 0 where the device has no packed form of it. */
LETHE_API lethe_status lethe_packed_bytes(lethe_device *device, int64_t *bytes, int32_t dtype, int64_t N, int64_t K);

/* packed = B (N, K); as many bytes as the call above says, aligned to 64 bytes; where that is 0, NULL will do. */
LETHE_API lethe_status lethe_pack(lethe_device *device, void *packed, int64_t packed_bytes, const void *B, int64_t ld_b, int32_t dtype,
                                  int64_t N, int64_t K, lethe_stream *stream);

/* C (M, N) = A (M, K) B (N, K)^T with the bits that lethe_matmul gives; packed is what lethe_pack made of B. */
LETHE_API lethe_status lethe_matmul_packed(lethe_device *device, void *C, int64_t ld_c, int32_t c_dtype, const void *A, int64_t ld_a,
                                           const void *packed, int64_t packed_bytes, const void *B, int64_t ld_b, int32_t dtype, int64_t M,
                                           int64_t N, int64_t K, lethe_stream *stream);

/* ---- losses and labels -------------------------------------------------------------------------------------------------- */

/*
 * Cross entropy fused with its gradient: loss (N) fp32 = log-sum-exp(logits[i]) - logits[i][targets[i]], and
 * d_logits (N, V) = (softmax(logits) - onehot(targets)) * scale. Rows whose target is LETHE_IGNORE: loss 0, gradient 0.
 * d_logits may alias logits (in place), or be NULL (no gradient). Both have `dtype`.
 */
LETHE_API lethe_status lethe_cross_entropy(lethe_device *device, float *loss, void *d_logits, const void *logits,
                                           const int32_t *targets, int32_t dtype, int64_t N, int64_t V, float scale,
                                           lethe_stream *stream);

/* logprobs (N) fp32 = log softmax(logits (N, V))[targets[i]]; LETHE_IGNORE gives 0 */
LETHE_API lethe_status lethe_token_logprobs(lethe_device *device, float *logprobs, const void *logits, const int32_t *targets,
                                            int32_t dtype, int64_t N, int64_t V, lethe_stream *stream);

/* The k most probable tokens of each row, most probable first, ties to the lower index: index (N, k), probability (N, k) */
LETHE_API lethe_status lethe_top_k(lethe_device *device, int32_t *index, float *probability, const void *logits, int32_t dtype,
                                   int64_t N, int64_t V, int64_t k, lethe_stream *stream);

/* index (N) = the largest logit's index, ties to the lower; -1 where the row holds a NaN */
LETHE_API lethe_status lethe_argmax(lethe_device *device, int32_t *index, const void *logits, int32_t dtype, int64_t N, int64_t V,
                                    lethe_stream *stream);

/*
 * Generic labels (Eldan & Russinovich 2023, section 2): for every row t < T with m = mapping[t] >= 0
 *   g = baseline[m], except g[f] = mean over the vocabulary of baseline[m] for every f = forbidden[j] with m > forbidden_after[j]
 *   labels[a, t] = argmax over v of g[v] - alphas[a] * max(0, reinforced[t][v] - g[v])       ties to the lower index
 * and labels[a, t] = LETHE_IGNORE where mapping[t] is -1; -1 where a row holds a NaN.
 * baseline (Tb, V), reinforced (T, V); forbidden (F) may repeat; alphas (A), a host pointer, 1 <= A <= 16; labels (A, T).
 */
LETHE_API lethe_status lethe_generic_labels(lethe_device *device, int32_t *labels, const void *baseline, const void *reinforced,
                                            const int32_t *mapping, const int32_t *forbidden, const int32_t *forbidden_after,
                                            const float *alphas, int32_t dtype, int64_t T, int64_t Tb, int64_t V, int64_t F, int64_t A,
                                            lethe_stream *stream);

/* ---- the optimizer ------------------------------------------------------------------------------------------------------ */

/*
 * AdamW (Loshchilov & Hutter 2019), bias-corrected, step s from 1, g = gradient * gradient_scale:
 *   m = beta1 m + (1 - beta1) g, v = beta2 v + (1 - beta2) g^2
 *   w = w - lr (m / (1 - beta1^s) / (sqrt(v / (1 - beta2^s)) + eps) + weight_decay w)
 * Weights are exact fp32: `weight` fp32 with low NULL (dtype LETHE_F32), or `weight` the high and `low` the low halves of
 * lethe_split (dtype LETHE_BF16). bf16 moments are rounded stochastically by a counter-based generator of
 * (seed, s, first + i), so that any partition of the parameters gives the same bits.
 */
LETHE_API lethe_status lethe_adamw(lethe_device *device, void *weight, int16_t *low, const void *gradient, void *m, void *v,
                                   int32_t dtype, int32_t grad_dtype, int32_t moment_dtype, int64_t n, float lr, float beta1,
                                   float beta2, float eps, float weight_decay, float gradient_scale, int64_t step, int64_t seed,
                                   int64_t first, lethe_stream *stream);

/* result (1), device memory, = sum of x^2 in double over the n elements, in an order that depends on n alone */
LETHE_API lethe_status lethe_sum_of_squares(lethe_device *device, double *result, const void *x, int32_t dtype, int64_t n,
                                            lethe_stream *stream);

#ifdef __cplusplus
}
#endif

#endif
