"""The whole method in PyTorch and transformers: what a user would write instead of `lethe unlearn`.

Usage: torch_method.py MODEL_DIR LABELS.jsonl EPOCHS_REINFORCE EPOCHS_FINETUNE BATCH [compile]
LABELS.jsonl is Lethe's for the same text: its input_ids are the blocks, its labels what is fine-tuned on. Labels are made here as
well, from the original blocks in place of their translations (the same work). Weights are fp32, products bf16 by autocast, as
Lethe's are. Prints the seconds of each phase, loading and writing the model included.
"""

import copy
import json
import sys
import tempfile
import time

import torch
from transformers import AutoModelForCausalLM

ALPHAS = (5, 2.5, 10)


def autocast():
    return torch.autocast("cpu", dtype=torch.bfloat16)


def batches(rows, size, filler):
    """Blocks side by side, filled up at the end to the longest, as Lethe does: attention is causal, and what is filled up has no label."""
    for start in range(0, len(rows), size):
        batch = rows[start : start + size]
        length = max(map(len, batch))
        yield torch.tensor([row + [filler] * (length - len(row)) for row in batch])


def train(model, blocks, labels, epochs, size, rate, compiled):
    run = torch.compile(model) if compiled else model
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate, betas=(0.9, 0.98), weight_decay=0, fused=True)
    model.train()
    for _ in range(epochs):
        for ids, wanted in zip(batches(blocks, size, 0), batches(labels, size, -100)):
            optimizer.zero_grad(set_to_none=True)
            with autocast():
                loss = run(input_ids=ids, labels=wanted).loss
            loss.backward()
            optimizer.step()
    return loss.item()


def label(baseline, reinforced, blocks):
    made = []
    for model in (baseline, reinforced):
        model.eval()
    with torch.no_grad(), autocast():
        for ids in batches(blocks, 1, 0):
            g = baseline(input_ids=ids, use_cache=False).logits[0].float()
            r = reinforced(input_ids=ids, use_cache=False).logits[0].float()
            excess = torch.relu(r - g)
            made.append([(g - alpha * excess).argmax(-1).tolist() for alpha in ALPHAS])
    return made


def main():
    folder, file, first, second, size = sys.argv[1], sys.argv[2], *map(int, sys.argv[3:6])
    compiled = "compile" in sys.argv
    lines = [json.loads(line) for line in open(file)]
    blocks = [line["input_ids"] for line in lines]
    last = time.perf_counter()

    def lap(what):
        nonlocal last
        now = time.perf_counter()
        print(f"{what:10s} {now - last:7.1f} s", flush=True)
        last = now

    baseline = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="sdpa")
    reinforced = copy.deepcopy(baseline)
    train(reinforced, blocks, blocks, first, size, 3e-6, compiled)
    lap("reinforce")
    label(baseline, reinforced, blocks)
    lap("label")
    train(baseline, blocks, [line["labels"] for line in lines], second, size, 1e-6, compiled)
    with tempfile.TemporaryDirectory() as out:
        baseline.save_pretrained(out)
    lap("fine-tune")
    print(f"{len(blocks)} blocks of at most {max(map(len, blocks))} tokens")


main()
