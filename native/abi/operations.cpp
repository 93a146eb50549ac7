// The operations of lethe.h: each checks its arguments, then calls the kernel. Compiled into every library.
#include "lethe.h"

#include "check.h"

using lethe::bytes_of;
using lethe::Check;

// ---- moving and converting ----------------------------------------------------------------------------------------------

lethe_status lethe_fill(lethe_device *device, void *x, int32_t dtype, int64_t n, float value, lethe_stream *stream) {
  return Check("fill", device, stream, {{"n", n}}).dtype("dtype", dtype).vector("x", x, bytes_of(dtype), n).then([&] {
    return device->kernels->fill(device, x, dtype, n, value, stream);
  });
}

lethe_status lethe_convert(lethe_device *device, void *target, int32_t target_dtype, const void *source, int32_t source_dtype, int64_t n,
                           lethe_stream *stream) {
  return Check("convert", device, stream, {{"n", n}})
      .dtype("target_dtype", target_dtype)
      .dtype("source_dtype", source_dtype)
      .vector("target", target, bytes_of(target_dtype), n)
      .vector("source", source, bytes_of(source_dtype), n)
      .then([&] { return device->kernels->convert(device, target, target_dtype, source, source_dtype, n, stream); });
}

lethe_status lethe_split(lethe_device *device, uint16_t *hi, int16_t *lo, const float *x, int64_t n, lethe_stream *stream) {
  return Check("split", device, stream, {{"n", n}}).vector("hi", hi, 2, n).vector("lo", lo, 2, n).vector("x", x, 4, n).then([&] {
    return device->kernels->split(device, hi, lo, x, n, stream);
  });
}

lethe_status lethe_join(lethe_device *device, float *x, const uint16_t *hi, const int16_t *lo, int64_t n, lethe_stream *stream) {
  return Check("join", device, stream, {{"n", n}}).vector("x", x, 4, n).vector("hi", hi, 2, n).vector("lo", lo, 2, n).then([&] {
    return device->kernels->join(device, x, hi, lo, n, stream);
  });
}

lethe_status lethe_gather_rows(lethe_device *device, void *target, const void *source, const int32_t *index, int32_t dtype, int64_t rows,
                               int64_t source_rows, int64_t width, lethe_stream *stream) {
  return Check("gather_rows", device, stream, {{"rows", rows}, {"source_rows", source_rows}, {"width", width}})
      .dtype("dtype", dtype)
      .matrix("target", target, bytes_of(dtype), rows, width)
      .matrix("source", source, bytes_of(dtype), source_rows, width)
      .indices("index", index, rows, 0, source_rows)
      .then([&] { return device->kernels->gather_rows(device, target, source, index, dtype, rows, source_rows, width, stream); });
}

lethe_status lethe_scatter_rows(lethe_device *device, void *target, const void *source, const int32_t *index, int32_t dtype, int64_t rows,
                                int64_t target_rows, int64_t width, lethe_stream *stream) {
  return Check("scatter_rows", device, stream, {{"rows", rows}, {"target_rows", target_rows}, {"width", width}})
      .dtype("dtype", dtype)
      .matrix("target", target, bytes_of(dtype), target_rows, width)
      .matrix("source", source, bytes_of(dtype), rows, width)
      .indices("index", index, rows, 0, target_rows)
      .then([&] { return device->kernels->scatter_rows(device, target, source, index, dtype, rows, target_rows, width, stream); });
}

// ---- the transformer ----------------------------------------------------------------------------------------------------

lethe_status lethe_embedding(lethe_device *device, void *out, const void *table, const int32_t *tokens, int32_t dtype, int64_t N, int64_t V,
                             int64_t d, lethe_stream *stream) {
  return Check("embedding", device, stream, {{"N", N}, {"V", V}, {"d", d}})
      .dtype("dtype", dtype)
      .matrix("out", out, bytes_of(dtype), N, d)
      .matrix("table", table, bytes_of(dtype), V, d)
      .indices("tokens", tokens, N, 0, V)
      .then([&] { return device->kernels->embedding(device, out, table, tokens, dtype, N, V, d, stream); });
}

lethe_status lethe_embedding_backward(lethe_device *device, void *d_table, const void *d_out, const int32_t *tokens, int32_t dtype,
                                      int32_t grad_dtype, int64_t N, int64_t V, int64_t d, lethe_stream *stream) {
  return Check("embedding_backward", device, stream, {{"N", N}, {"V", V}, {"d", d}})
      .dtype("dtype", dtype)
      .dtype("grad_dtype", grad_dtype)
      .that(N <= INT32_MAX, "N is beyond int32")
      .matrix("d_table", d_table, bytes_of(grad_dtype), V, d)
      .matrix("d_out", d_out, bytes_of(dtype), N, d)
      .indices("tokens", tokens, N, 0, V)
      .then([&] { return device->kernels->embedding_backward(device, d_table, d_out, tokens, dtype, grad_dtype, N, V, d, stream); });
}

lethe_status lethe_rmsnorm(lethe_device *device, void *y, float *rstd, void *sum, const void *x, const void *residual, const void *weight,
                           int32_t dtype, int64_t N, int64_t d, float eps, lethe_stream *stream) {
  Check check("rmsnorm", device, stream, {{"N", N}, {"d", d}});
  check.dtype("dtype", dtype).matrix("y", y, bytes_of(dtype), N, d);
  if (rstd != nullptr) check.vector("rstd", rstd, 4, N);
  if (residual != nullptr) check.matrix("residual", residual, bytes_of(dtype), N, d);
  if (residual != nullptr || sum != nullptr) check.matrix("sum", sum, bytes_of(dtype), N, d);
  return check.matrix("x", x, bytes_of(dtype), N, d).vector("weight", weight, bytes_of(dtype), d).then([&] {
    return device->kernels->rmsnorm(device, y, rstd, sum, x, residual, weight, dtype, N, d, eps, stream);
  });
}

lethe_status lethe_rmsnorm_backward(lethe_device *device, void *d_x, void *d_weight, const void *d_y, const void *x, const void *weight,
                                    const float *rstd, const void *d_residual, int32_t dtype, int32_t grad_dtype, int64_t N, int64_t d,
                                    lethe_stream *stream) {
  Check check("rmsnorm_backward", device, stream, {{"N", N}, {"d", d}});
  check.dtype("dtype", dtype)
      .dtype("grad_dtype", grad_dtype)
      .matrix("d_x", d_x, bytes_of(dtype), N, d)
      .vector("d_weight", d_weight, bytes_of(grad_dtype), d)
      .matrix("d_y", d_y, bytes_of(dtype), N, d)
      .matrix("x", x, bytes_of(dtype), N, d)
      .vector("weight", weight, bytes_of(dtype), d)
      .vector("rstd", rstd, 4, N);
  if (d_residual != nullptr) check.matrix("d_residual", d_residual, bytes_of(dtype), N, d);
  return check.then([&] {
    return device->kernels->rmsnorm_backward(device, d_x, d_weight, d_y, x, weight, rstd, d_residual, dtype, grad_dtype, N, d, stream);
  });
}

lethe_status lethe_rope(lethe_device *device, void *x, int64_t ld_x, const float *table, const int32_t *positions, int32_t inverse,
                        int32_t dtype, int64_t N, int64_t heads, int64_t D, int64_t P, lethe_stream *stream) {
  return Check("rope", device, stream, {{"N", N}, {"heads", heads}, {"D", D}, {"P", P}})
      .dtype("dtype", dtype)
      .choice("inverse", inverse, 0, 1)
      .that(D % 2 == 0, "D is odd, halves are paired")
      .matrix("x", x, bytes_of(dtype), N, Check::product({heads, D}), ld_x)
      .matrix("table", table, 4, P, D)
      .indices("positions", positions, N, 0, P)
      .then([&] { return device->kernels->rope(device, x, ld_x, table, positions, inverse, dtype, N, heads, D, P, stream); });
}

namespace {

// What every call of attention asks of its sizes.
Check &heads(Check &check, int32_t dtype, int64_t Hq, int64_t Hkv, int64_t D) {
  return check.dtype("dtype", dtype).choice("D", D, 1, 256).that(Hkv > 0 && Hq % Hkv == 0, "Hq is not a multiple of Hkv");
}

}  // namespace

lethe_status lethe_attention(lethe_device *device, void *out, int64_t ld_out, float *lse, const void *q, int64_t ld_q, const void *k,
                             const void *v, int64_t ld_kv, int32_t dtype, int64_t B, int64_t T, int64_t Hq, int64_t Hkv, int64_t D,
                             float scale, lethe_stream *stream) {
  Check check("attention", device, stream, {{"B", B}, {"T", T}, {"Hq", Hq}, {"Hkv", Hkv}, {"D", D}});
  const int64_t rows = Check::product({B, T}), q_width = Check::product({Hq, D}), kv_width = Check::product({Hkv, D});
  heads(check, dtype, Hq, Hkv, D)
      .that(rows > 0, "B T overflows")
      .matrix("out", out, bytes_of(dtype), rows, q_width, ld_out)
      .matrix("q", q, bytes_of(dtype), rows, q_width, ld_q)
      .matrix("k", k, bytes_of(dtype), rows, kv_width, ld_kv)
      .matrix("v", v, bytes_of(dtype), rows, kv_width, ld_kv);
  if (lse != nullptr) check.matrix("lse", lse, 4, rows, Hq);
  return check.then([&] {
    return device->kernels->attention(device, out, ld_out, lse, q, ld_q, k, v, ld_kv, dtype, B, T, Hq, Hkv, D, scale, stream);
  });
}

lethe_status lethe_attention_backward_workspace(lethe_device *device, int64_t *bytes, int32_t dtype, int64_t B, int64_t T, int64_t Hq,
                                                int64_t Hkv, int64_t D) {
  Check check("attention_backward_workspace", device, nullptr, {{"B", B}, {"T", T}, {"Hq", Hq}, {"Hkv", Hkv}, {"D", D}});
  return heads(check, dtype, Hq, Hkv, D)
      .that(Check::product({B, T, Hq, D, 1024}) > 0, "B T Hq D overflows")
      .vector("bytes", bytes, sizeof *bytes, 1)
      .then([&] { return device->kernels->attention_backward_workspace(device, bytes, dtype, B, T, Hq, Hkv, D); });
}

lethe_status lethe_attention_backward(lethe_device *device, void *d_q, int64_t ld_dq, void *d_k, void *d_v, int64_t ld_dkv,
                                      const void *d_out, int64_t ld_dout, const void *out, int64_t ld_out, const float *lse, const void *q,
                                      int64_t ld_q, const void *k, const void *v, int64_t ld_kv, int32_t dtype, int64_t B, int64_t T,
                                      int64_t Hq, int64_t Hkv, int64_t D, float scale, void *workspace, int64_t workspace_bytes,
                                      lethe_stream *stream) {
  Check check("attention_backward", device, stream, {{"B", B}, {"T", T}, {"Hq", Hq}, {"Hkv", Hkv}, {"D", D}});
  const int64_t rows = Check::product({B, T}), q_width = Check::product({Hq, D}), kv_width = Check::product({Hkv, D});
  const int64_t element = bytes_of(dtype);
  return heads(check, dtype, Hq, Hkv, D)
      .that(rows > 0, "B T overflows")
      .matrix("d_q", d_q, element, rows, q_width, ld_dq)
      .matrix("d_k", d_k, element, rows, kv_width, ld_dkv)
      .matrix("d_v", d_v, element, rows, kv_width, ld_dkv)
      .matrix("d_out", d_out, element, rows, q_width, ld_dout)
      .matrix("out", out, element, rows, q_width, ld_out)
      .matrix("lse", lse, 4, rows, Hq)
      .matrix("q", q, element, rows, q_width, ld_q)
      .matrix("k", k, element, rows, kv_width, ld_kv)
      .matrix("v", v, element, rows, kv_width, ld_kv)
      .then([&] {
        int64_t needed = 0;
        device->kernels->attention_backward_workspace(device, &needed, dtype, B, T, Hq, Hkv, D);
        check.that(workspace_bytes >= needed, "workspace is smaller than lethe_attention_backward_workspace says");
        if (needed > 0) {
          check.that(workspace != nullptr, "workspace is NULL");
          check.that(reinterpret_cast<uintptr_t>(workspace) % 64 == 0, "workspace is not aligned to 64 bytes");
        }
        return check.then([&] {
          return device->kernels->attention_backward(device, d_q, ld_dq, d_k, d_v, ld_dkv, d_out, ld_dout, out, ld_out, lse, q, ld_q, k, v,
                                                     ld_kv, dtype, B, T, Hq, Hkv, D, scale, workspace, workspace_bytes, stream);
        });
      });
}

lethe_status lethe_cache_write(lethe_device *device, void *k_cache, void *v_cache, const void *k, const void *v, int64_t ld_kv,
                               const int32_t *position, int32_t dtype, int64_t B, int64_t T, int64_t Hkv, int64_t D, int64_t capacity,
                               lethe_stream *stream) {
  const int64_t rows = Check::product({B, T}), cache_rows = Check::product({B, Hkv, capacity});
  return Check("cache_write", device, stream, {{"B", B}, {"T", T}, {"Hkv", Hkv}, {"D", D}, {"capacity", capacity}})
      .dtype("dtype", dtype)
      .that(rows > 0 && cache_rows > 0, "B T, or B Hkv capacity, overflows")
      .that(T <= capacity, "T is beyond capacity")
      .matrix("k_cache", k_cache, bytes_of(dtype), cache_rows, D)
      .matrix("v_cache", v_cache, bytes_of(dtype), cache_rows, D)
      .matrix("k", k, bytes_of(dtype), rows, Check::product({Hkv, D}), ld_kv)
      .matrix("v", v, bytes_of(dtype), rows, Check::product({Hkv, D}), ld_kv)
      .indices("position", position, rows, 0, capacity)
      .then([&] {
        return device->kernels->cache_write(device, k_cache, v_cache, k, v, ld_kv, position, dtype, B, T, Hkv, D, capacity, stream);
      });
}

lethe_status lethe_attention_decode(lethe_device *device, void *out, const void *q, int64_t ld_q, const void *k_cache,
                                    const void *v_cache, const int32_t *position, int32_t dtype, int64_t B, int64_t Hq, int64_t Hkv,
                                    int64_t D, int64_t capacity, float scale, lethe_stream *stream) {
  const int64_t cache_rows = Check::product({B, Hkv, capacity});
  Check check("attention_decode", device, stream, {{"B", B}, {"Hq", Hq}, {"Hkv", Hkv}, {"D", D}, {"capacity", capacity}});
  return heads(check, dtype, Hq, Hkv, D)
      .that(cache_rows > 0, "B Hkv capacity overflows")
      .matrix("out", out, bytes_of(dtype), B, Check::product({Hq, D}))
      .matrix("q", q, bytes_of(dtype), B, Check::product({Hq, D}), ld_q)
      .matrix("k_cache", k_cache, bytes_of(dtype), cache_rows, D)
      .matrix("v_cache", v_cache, bytes_of(dtype), cache_rows, D)
      .indices("position", position, B, 0, capacity)
      .then([&] {
        return device->kernels->attention_decode(device, out, q, ld_q, k_cache, v_cache, position, dtype, B, Hq, Hkv, D, capacity, scale,
                                                 stream);
      });
}

lethe_status lethe_swiglu(lethe_device *device, void *out, const void *gate, const void *up, int64_t ld_gu, int32_t dtype, int64_t N,
                          int64_t F, lethe_stream *stream) {
  return Check("swiglu", device, stream, {{"N", N}, {"F", F}})
      .dtype("dtype", dtype)
      .matrix("out", out, bytes_of(dtype), N, F)
      .matrix("gate", gate, bytes_of(dtype), N, F, ld_gu)
      .matrix("up", up, bytes_of(dtype), N, F, ld_gu)
      .then([&] { return device->kernels->swiglu(device, out, gate, up, ld_gu, dtype, N, F, stream); });
}

lethe_status lethe_swiglu_backward(lethe_device *device, void *d_gate, void *d_up, int64_t ld_dgu, const void *d_out, const void *gate,
                                   const void *up, int64_t ld_gu, int32_t dtype, int64_t N, int64_t F, lethe_stream *stream) {
  return Check("swiglu_backward", device, stream, {{"N", N}, {"F", F}})
      .dtype("dtype", dtype)
      .matrix("d_gate", d_gate, bytes_of(dtype), N, F, ld_dgu)
      .matrix("d_up", d_up, bytes_of(dtype), N, F, ld_dgu)
      .matrix("d_out", d_out, bytes_of(dtype), N, F)
      .matrix("gate", gate, bytes_of(dtype), N, F, ld_gu)
      .matrix("up", up, bytes_of(dtype), N, F, ld_gu)
      .then([&] { return device->kernels->swiglu_backward(device, d_gate, d_up, ld_dgu, d_out, gate, up, ld_gu, dtype, N, F, stream); });
}

static constexpr char kNarrowerC[] = "C is bf16, A and B are fp32: C may be wider, not narrower";

lethe_status lethe_matmul(lethe_device *device, void *C, int64_t ld_c, int32_t c_dtype, const void *A, int64_t ld_a, const void *B,
                          int64_t ld_b, int32_t dtype, int32_t layout, int32_t accumulate, int64_t M, int64_t N, int64_t K,
                          lethe_stream *stream) {
  const bool a_turned = layout == LETHE_TN, b_turned = layout == LETHE_NT;
  return Check("matmul", device, stream, {{"M", M}, {"N", N}, {"K", K}})
      .dtype("c_dtype", c_dtype)
      .dtype("dtype", dtype)
      .that(dtype == LETHE_BF16 || c_dtype == LETHE_F32, kNarrowerC)
      .choice("layout", layout, LETHE_NN, LETHE_TN)
      .choice("accumulate", accumulate, 0, 1)
      .matrix("C", C, bytes_of(c_dtype), M, N, ld_c)
      .matrix("A", A, bytes_of(dtype), a_turned ? K : M, a_turned ? M : K, ld_a)
      .matrix("B", B, bytes_of(dtype), b_turned ? N : K, b_turned ? K : N, ld_b)
      .then([&] {
        return lethe::matmul(device, C, ld_c, c_dtype, A, ld_a, B, ld_b, dtype, layout, accumulate, M, N, K, stream);
      });
}

lethe_status lethe_packed_bytes(lethe_device *device, int64_t *bytes, int32_t dtype, int64_t N, int64_t K) {
  return Check("packed_bytes", device, nullptr, {{"N", N}, {"K", K}})
      .dtype("dtype", dtype)
      .that(Check::product({N, K, 256}) > 0, "N K overflows")
      .vector("bytes", bytes, sizeof *bytes, 1)
      .then([&] { return device->kernels->packed_bytes(device, bytes, dtype, N, K); });
}

namespace {

Check &packed_memory(Check &check, lethe_device *device, const void *packed, int64_t packed_bytes, int32_t dtype, int64_t N, int64_t K) {
  check.that(reinterpret_cast<uintptr_t>(packed) % 64 == 0, "packed is not aligned to 64 bytes");
  int64_t needed = 0;
  if (check.then([&] { return lethe_packed_bytes(device, &needed, dtype, N, K); }) != LETHE_OK || needed == 0) return check;
  return check.that(packed != nullptr, "packed is NULL").that(packed_bytes >= needed, "packed is smaller than lethe_packed_bytes says");
}

}  // namespace

lethe_status lethe_pack(lethe_device *device, void *packed, int64_t packed_bytes, const void *B, int64_t ld_b, int32_t dtype, int64_t N,
                        int64_t K, lethe_stream *stream) {
  Check check("pack", device, stream, {{"N", N}, {"K", K}});
  check.dtype("dtype", dtype).matrix("B", B, bytes_of(dtype), N, K, ld_b);
  return packed_memory(check, device, packed, packed_bytes, dtype, N, K).then([&] {
    return device->kernels->pack(device, packed, packed_bytes, B, ld_b, dtype, N, K, stream);
  });
}

lethe_status lethe_matmul_packed(lethe_device *device, void *C, int64_t ld_c, int32_t c_dtype, const void *A, int64_t ld_a,
                                 const void *packed, int64_t packed_bytes, const void *B, int64_t ld_b, int32_t dtype, int64_t M, int64_t N,
                                 int64_t K, lethe_stream *stream) {
  Check check("matmul_packed", device, stream, {{"M", M}, {"N", N}, {"K", K}});
  check.dtype("c_dtype", c_dtype)
      .dtype("dtype", dtype)
      .that(dtype == LETHE_BF16 || c_dtype == LETHE_F32, kNarrowerC)
      .matrix("C", C, bytes_of(c_dtype), M, N, ld_c)
      .matrix("A", A, bytes_of(dtype), M, K, ld_a)
      .matrix("B", B, bytes_of(dtype), N, K, ld_b);
  return packed_memory(check, device, packed, packed_bytes, dtype, N, K).then([&] {
    return device->kernels->matmul_packed(device, C, ld_c, c_dtype, A, ld_a, packed, packed_bytes, B, ld_b, dtype, M, N, K, stream);
  });
}

// ---- losses and labels --------------------------------------------------------------------------------------------------

lethe_status lethe_cross_entropy(lethe_device *device, float *loss, void *d_logits, const void *logits, const int32_t *targets,
                                 int32_t dtype, int64_t N, int64_t V, float scale, lethe_stream *stream) {
  Check check("cross_entropy", device, stream, {{"N", N}, {"V", V}});
  check.dtype("dtype", dtype).vector("loss", loss, 4, N).matrix("logits", logits, bytes_of(dtype), N, V);
  if (d_logits != nullptr) check.matrix("d_logits", d_logits, bytes_of(dtype), N, V);
  return check.indices("targets", targets, N, 0, V, LETHE_IGNORE).then([&] {
    return device->kernels->cross_entropy(device, loss, d_logits, logits, targets, dtype, N, V, scale, stream);
  });
}

lethe_status lethe_token_logprobs(lethe_device *device, float *logprobs, const void *logits, const int32_t *targets, int32_t dtype,
                                  int64_t N, int64_t V, lethe_stream *stream) {
  return Check("token_logprobs", device, stream, {{"N", N}, {"V", V}})
      .dtype("dtype", dtype)
      .vector("logprobs", logprobs, 4, N)
      .matrix("logits", logits, bytes_of(dtype), N, V)
      .indices("targets", targets, N, 0, V, LETHE_IGNORE)
      .then([&] { return device->kernels->token_logprobs(device, logprobs, logits, targets, dtype, N, V, stream); });
}

lethe_status lethe_top_k(lethe_device *device, int32_t *index, float *probability, const void *logits, int32_t dtype, int64_t N, int64_t V,
                         int64_t k, lethe_stream *stream) {
  return Check("top_k", device, stream, {{"N", N}, {"V", V}, {"k", k}})
      .dtype("dtype", dtype)
      .that(k <= V, "k is more than V")
      .that(V <= INT32_MAX, "V is beyond int32")
      .matrix("index", index, 4, N, k)
      .matrix("probability", probability, 4, N, k)
      .matrix("logits", logits, bytes_of(dtype), N, V)
      .then([&] { return device->kernels->top_k(device, index, probability, logits, dtype, N, V, k, stream); });
}

lethe_status lethe_argmax(lethe_device *device, int32_t *index, const void *logits, int32_t dtype, int64_t N, int64_t V,
                          lethe_stream *stream) {
  return Check("argmax", device, stream, {{"N", N}, {"V", V}})
      .dtype("dtype", dtype)
      .that(V <= INT32_MAX, "V is beyond int32")
      .vector("index", index, 4, N)
      .matrix("logits", logits, bytes_of(dtype), N, V)
      .then([&] { return device->kernels->argmax(device, index, logits, dtype, N, V, stream); });
}

lethe_status lethe_generic_labels(lethe_device *device, int32_t *labels, const void *baseline, const void *reinforced,
                                  const int32_t *mapping, const int32_t *forbidden, const int32_t *forbidden_after, const float *alphas,
                                  int32_t dtype, int64_t T, int64_t Tb, int64_t V, int64_t F, int64_t A, lethe_stream *stream) {
  Check check("generic_labels", device, stream, {{"T", T}, {"Tb", Tb}, {"V", V}, {"A", A}});
  check.dtype("dtype", dtype)
      .choice("F", F, 0, INT32_MAX)
      .choice("A", A, 1, 16)
      .that(V <= INT32_MAX, "V is beyond int32")
      .matrix("labels", labels, 4, A, T)
      .matrix("baseline", baseline, bytes_of(dtype), Tb, V)
      .matrix("reinforced", reinforced, bytes_of(dtype), T, V)
      .indices("mapping", mapping, T, -1, Tb)
      .vector("alphas", alphas, 4, A);
  if (F > 0) check.indices("forbidden", forbidden, F, 0, V).vector("forbidden_after", forbidden_after, 4, F);
  return check.then([&] {
    return device->kernels->generic_labels(device, labels, baseline, reinforced, mapping, forbidden, forbidden_after, alphas, dtype, T, Tb,
                                           V, F, A, stream);
  });
}

// ---- the optimizer ------------------------------------------------------------------------------------------------------

lethe_status lethe_adamw(lethe_device *device, void *weight, int16_t *low, const void *gradient, void *m, void *v, int32_t dtype,
                         int32_t grad_dtype, int32_t moment_dtype, int64_t n, float lr, float beta1, float beta2, float eps,
                         float weight_decay, float gradient_scale, int64_t step, int64_t seed, int64_t first, lethe_stream *stream) {
  Check check("adamw", device, stream, {{"n", n}, {"step", step}});
  check.dtype("dtype", dtype)
      .dtype("grad_dtype", grad_dtype)
      .dtype("moment_dtype", moment_dtype)
      .choice("first", first, 0, INT64_MAX - (n > 0 ? n : 0))
      .vector("weight", weight, bytes_of(dtype), n)
      .vector("gradient", gradient, bytes_of(grad_dtype), n)
      .vector("m", m, bytes_of(moment_dtype), n)
      .vector("v", v, bytes_of(moment_dtype), n);
  if (dtype == LETHE_BF16) {
    check.vector("low", low, 2, n);
  } else {
    check.that(low == nullptr, "low is given with fp32 weights, which are whole");
  }
  return check.then([&] {
    return device->kernels->adamw(device, weight, low, gradient, m, v, dtype, grad_dtype, moment_dtype, n, lr, beta1, beta2, eps,
                                  weight_decay, gradient_scale, step, seed, first, stream);
  });
}

lethe_status lethe_sum_of_squares(lethe_device *device, double *result, const void *x, int32_t dtype, int64_t n, lethe_stream *stream) {
  return Check("sum_of_squares", device, stream, {{"n", n}})
      .dtype("dtype", dtype)
      .vector("result", result, 8, 1)
      .vector("x", x, bytes_of(dtype), n)
      .then([&] { return device->kernels->sum_of_squares(device, result, x, dtype, n, stream); });
}
