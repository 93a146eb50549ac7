"""What every kernel has to do by its formula, and how long that takes at best (Williams, Waterman & Patterson 2009).

    python3 roofline.py        prints the table of README.md

The work is Llama2-7b's at 4096 tokens, 8 blocks of 512; AdamW's is that of all weights. A comparison and an e^x count as one operation.
Bytes: every tensor once, by the kernel's types. Rates are the datasheet's of an H100 SXM; nothing here was measured.
"""

from dataclasses import dataclass
from typing import Callable

TENSOR, FP32, FP64 = 989e12, 66.9e12, 33.5e12  # floating-point operations a second: bf16 on tensor cores (dense), fp32, fp64
MEMORY = 3.35e12  # bytes a second
MULTIPROCESSORS = 132

B, T = 8, 512
N = B * T
d, F, V, H = 4096, 11008, 32000, 32  # width, that of SwiGLU, vocabulary, heads
WEIGHTS = 6_738_415_616
PAIRS = B * T * (T + 1) // 2  # of a query and a key that it sees, in one head
CACHED = 4096  # keys that a decoded token sees
SIZES = {"float": 4, "Bf16": 2, "uint4": 2, "unsigned int": 4, "unsigned short": 2}  # bytes an element; uint4 carries bf16 too


@dataclass(frozen=True)
class Work:
    flops: float
    bytes: float
    rate: float = FP32

    @property
    def intensity(self):
        return self.flops / self.bytes

    @property
    def seconds(self):
        return max(self.flops / self.rate, self.bytes / MEMORY)


def elementwise(count, flops, tensors):
    """So many operations an element, and tensors of the kernel's first type."""
    return lambda kind, *_: Work(count * flops, count * tensors * SIZES[kind])


def attention(flops, tensors, numbers, rate=TENSOR):
    """So many operations a pair and column of a head, bf16 tensors (N, d), and fp32 numbers a row of a head."""
    return lambda *_: Work(flops * PAIRS * d, tensors * N * d * 2 + numbers * N * H * 4, rate)


def exact(flops, tensors, numbers):
    return lambda kind, *_: Work(flops * PAIRS * d, tensors * N * d * SIZES[kind] + numbers * N * H * 4)


def labels(kind, alphas, *_):
    return Work((4 + 4 * int(alphas)) * N * V, 2 * N * V * SIZES[kind])


PARTIALS = 2 * MULTIPROCESSORS * d  # RMSNorm's sums for d_weight: a row for each block

# By the kernel's name, of its template's arguments.
WORK: dict[str, Callable[..., Work]] = {
    "fill_kernel": elementwise(N * d, 0, 1),
    "convert_kernel": lambda target, source: Work(0, N * d * (SIZES[target] + SIZES[source])),
    "gather_rows_kernel": elementwise(N * d, 0, 2),
    "embedding_backward_kernel": lambda gradient, kind, *_: Work(N * d, N * d * (SIZES[kind] + 2 * SIZES[gradient])),
    "rmsnorm_kernel": elementwise(N * d, 5, 4),
    "rmsnorm_backward_kernel": lambda kind, *_: Work(12 * N * d, 4 * N * d * SIZES[kind] + 4 * PARTIALS),
    "rmsnorm_weight_kernel": lambda gradient: Work(PARTIALS, 4 * PARTIALS + 2 * d * SIZES[gradient]),
    "rope_kernel": lambda kind, *_: Work(3 * N * d, 2 * N * d * SIZES[kind] + T * d // H * 4),
    "attention_forward": attention(4, 4, 1),
    "attention_delta": lambda kind: Work(2 * N * d, 2 * N * d * SIZES[kind] + N * H * 4),
    "attention_backward_keys": attention(8, 6, 2),
    "attention_backward_queries": attention(6, 5, 2),
    "attention_forward_exact": exact(4, 4, 1),
    "attention_backward_keys_exact": exact(8, 6, 2),
    "attention_backward_queries_exact": exact(6, 5, 2),
    "cache_write_pieces": elementwise(N * d, 0, 4),
    "attention_decode_stripe": lambda kind, *_: Work(4 * CACHED * d, 2 * CACHED * d * SIZES[kind]),
    "swiglu_kernel": elementwise(N * F, 7, 3),
    "swiglu_backward_kernel": elementwise(N * F, 12, 5),
    "cross_entropy_kernel": elementwise(N * V, 22, 2),
    "loss_kernel": elementwise(N * V, 11, 1),
    "argmax_kernel": elementwise(N * V, 1, 1),
    "top_k_kernel": elementwise(N * V, 1, 1),
    "generic_labels_kernel": labels,
    "split_kernel": lambda: Work(0, 8 * WEIGHTS),
    "join_kernel": lambda: Work(0, 8 * WEIGHTS),
    "squares_kernel": lambda kind, *_: Work(2 * WEIGHTS, WEIGHTS * SIZES[kind], FP64),
    "adamw_kernel": lambda weights, gradient, moment: Work(20 * WEIGHTS, WEIGHTS * (8 + SIZES[gradient] + 4 * SIZES[moment])),
}
# Some microseconds, most of them the launch's.
SMALL = {"allow_all_kernel", "forbid_kernel", "no_source_kernel", "inverse_kernel", "count_digits_kernel", "exclusive_sums_kernel",
         "place_digits_kernel", "attention_decode_join", "sum_kernel"}  # fmt: skip


def work(kernel):
    """Of a kernel by its name with template arguments, `swiglu_kernel<Bf16, true>`; None where it is small; KeyError where unknown."""
    name, _, arguments = kernel.partition("<")
    if name in SMALL:
        return None
    return WORK[name](*(arguments.removesuffix(">").split(", ") if arguments else ()))


def layer_products():
    """The matrix products of one layer forward, cuBLASLt's: queries, keys, values, output; gate, up, down."""
    parameters = 4 * d * d + 3 * d * F
    return Work(2 * N * parameters, 2 * parameters + 2 * N * (8 * d + 3 * (d + F)), TENSOR)


def long_attention():
    """The forward over one block of 4096 tokens instead of 8 of 512."""
    flops = 4 * N * (N + 1) // 2 * d
    return Work(flops, 4 * N * d * 2 + N * H * 4, TENSOR)


# What it is, the kernel, its share of the floor's rate to expect, and why.
EXPECTED = [
    ("products of a layer, forward", layer_products(), 72, "cuBLASLt's; what is expected is what the target asks for"),
    ("attention", "attention_forward<128>", 50, "mma.sync, 62% of Hopper's own wgmma; 24 KB from shared memory in 192 clocks for 128 of tensor cores; the softmax between"),
    ("attention, one block of 4096", long_attention(), 35, "the same; FlashAttention-2, of the same instructions, has 35% (Shah et al. 2024)"),
    ("its backward: delta", "attention_delta<Bf16>", 90, "eight lanes a row, all loads on their way at once"),
    ("dK and dV", "attention_backward_keys<128>", 45, "40 KB from shared memory in 320 clocks for 128 of tensor cores: 40% of their rate at most"),
    ("dQ", "attention_backward_queries<128>", 50, "likewise, 37% at most; takes S and dO V^T a second time"),
    ("RMSNorm with residual", "rmsnorm_kernel<Bf16, 16, true>", 85, "a row stays in registers; waits twice a row for the others' sums"),
    ("its backward", "rmsnorm_backward_kernel<Bf16, 16, true>", 85, "the same; the sums for d_weight are 8 d bytes a block"),
    ("d_weight", "rmsnorm_weight_kernel<Bf16>", 30, "4 MB, mostly in the second cache: little more than a launch"),
    ("RoPE, of queries or keys", "rope_kernel<Bf16, true>", 85, "four independent loads a thread; cosines from the first cache"),
    ("SwiGLU", "swiglu_kernel<Bf16, true>", 90, "independent loads; arithmetic takes a third of the issue slots"),
    ("its backward", "swiglu_backward_kernel<Bf16, true>", 90, "the same"),
    ("cross entropy, gradient in place", "cross_entropy_kernel<Bf16, true>", 80, "a row of 32000 is kept in shared memory; one of three blocks reads while another writes"),
    ("log-probabilities", "loss_kernel<Bf16, true>", 80, "read once"),
    ("labels, 4 alphas", "generic_labels_kernel<Bf16, 4, true>", 85, "both rows read once; with 16 alphas arithmetic takes over (40%)"),
    ("argmax", "argmax_kernel<Bf16, true>", 85, "read once"),
    ("top k", "top_k_kernel<Bf16, true>", 20, "a pass over the second cache for each digit; serves evaluation"),
    ("embedding", "gather_rows_kernel<uint4>", 90, "rows of 8 KB"),
    ("its backward, bf16 gradients", "embedding_backward_kernel<Bf16, Bf16, true>", 60, "the most frequent token sets the end; bytes as if every token were another; sorting before it some 30 us"),
    ("cache of keys and values", "cache_write_pieces<uint4>", 85, "a copy by heads"),
    ("decoding against 4096 keys", "attention_decode_stripe<Bf16, 128, 1>", 80, "stripes keep every multiprocessor reading; small caches see the two launches, 5 us"),
    ("fill", "fill_kernel<Bf16>", 90, "one 128-bit store a thread"),
    ("convert, bf16 to fp32", "convert_kernel<float, Bf16>", 90, "nothing to wait for between a load and its store"),
    ("split or join of all weights", "split_kernel", 90, "one group of eight a thread"),
    ("sum of squares, bf16 gradients", "squares_kernel<Bf16, true>", 90, "four loads on their way a thread; fp64, slow on cards with few such units"),
    ("AdamW, bf16 gradients and moments", "adamw_kernel<Halves, Bf16, Bf16>", 90, "a third of the issue slots for arithmetic; 20 bytes a weight with fp32 gradients"),
]  # fmt: skip


def markdown():
    lines = ["| | kernel | GFLOP | MB | FLOP/B | bound by | floor, us | expected | why |", "|---|---|--:|--:|--:|---|--:|--:|---|"]
    for what, kernel, share, why in EXPECTED:
        own = work(kernel) if isinstance(kernel, str) else kernel
        name = f"`{kernel}`" if isinstance(kernel, str) else ""
        bound = "memory" if own.bytes / MEMORY >= own.flops / own.rate else "tensor cores" if own.rate == TENSOR else "arithmetic"
        lines.append(f"| {what} | {name} | {own.flops / 1e9:,.2f} | {own.bytes / 1e6:,.0f} | {own.intensity:,.1f} | {bound} "
                     f"| {own.seconds * 1e6:,.0f} | {share}% | {why} |")  # fmt: skip
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(markdown(), end="")
