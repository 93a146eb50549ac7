"""What a user would run instead of Lethe: PyTorch + transformers on the same model, the same work.

Usage: torch_bench.py MODEL_DIR fp32|bf16 [compile]
MODEL_DIR is a Hugging Face directory. Needs torch, transformers, safetensors. Prints trained, forward and decoded tokens a
second at 4 blocks of 512 tokens (medians), and the rate of a 2048 cubed matrix product.
"""

import sys
import time

import torch
from transformers import AutoModelForCausalLM

BLOCKS, LENGTH, DECODED = 4, 512, 64


def timed(work, repeats):
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - start)
    return sorted(seconds)[len(seconds) // 2]


def main():
    folder, name = sys.argv[1], sys.argv[2]
    dtype = {"fp32": torch.float32, "bf16": torch.bfloat16}[name]
    a, b = torch.randn(2048, 2048, dtype=dtype), torch.randn(2048, 2048, dtype=dtype)
    a @ b
    print(f"matmul  {2 * 2048**3 / timed(lambda: a @ b, 10) / 1e9:8.0f} GFLOP/s")

    model = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype, attn_implementation="sdpa")
    ids = torch.randint(0, model.config.vocab_size, (BLOCKS, LENGTH))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-6, fused=True)
    run = torch.compile(model) if "compile" in sys.argv else model

    def step():
        optimizer.zero_grad(set_to_none=True)
        run(input_ids=ids, labels=ids).loss.backward()
        optimizer.step()

    model.train()
    step()
    print(f"train   {BLOCKS * LENGTH / timed(step, 5):8.1f} tokens/s", flush=True)
    model.eval()
    with torch.no_grad():
        run(input_ids=ids, labels=ids, use_cache=False)
        print(f"forward {BLOCKS * LENGTH / timed(lambda: run(input_ids=ids, labels=ids, use_cache=False), 5):8.1f} tokens/s")
        decode = lambda: model.generate(  # noqa: E731
            ids[:1, :16], max_new_tokens=DECODED, min_new_tokens=DECODED, do_sample=False
        )
        decode()
        print(f"decode  {DECODED / timed(decode, 3):8.1f} tokens/s")


main()
