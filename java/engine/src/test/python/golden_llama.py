"""Makes the golden files of GoldenLlamaTest and GoldenTrainingTest: what PyTorch and transformers compute on two small Llamas.

    pip install torch==2.15.0 transformers==5.24.0 safetensors numpy
    python golden_llama.py            writes ../resources/org/lethe/model/golden-NAME.{json,safetensors}

Everything is fp32 (transformers' RMSNorm, softmax and RoPE are fp32 whatever the model's dtype). Weights are no files: both
sides compute them from their names by the formula of `weight`, which TinyLlama.java repeats.
"""

import json
import pathlib

import numpy as np
import torch
from safetensors.numpy import save_file
from transformers import LlamaConfig, LlamaForCausalLM
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

OUT = pathlib.Path(__file__).parent.parent / "resources/org/lethe/model"
STEPS = 10
ADAMW = dict(lr=3e-3, betas=(0.9, 0.98), eps=1e-8)

MODELS = {
    "tied": dict(
        vocab_size=257, hidden_size=32, intermediate_size=56, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, head_dim=8, max_position_embeddings=64, rms_norm_eps=1e-5, tie_word_embeddings=True,
        rope_parameters={"rope_type": "default", "rope_theta": 10000.0},
    ),
    "untied": dict(
        vocab_size=131, hidden_size=42, intermediate_size=52, num_hidden_layers=2, num_attention_heads=6,
        num_key_value_heads=2, head_dim=10, max_position_embeddings=64, rms_norm_eps=1e-6, tie_word_embeddings=False,
        rope_parameters={
            "rope_type": "llama3", "rope_theta": 500000.0, "factor": 8.0, "low_freq_factor": 1.0,
            "high_freq_factor": 4.0, "original_max_position_embeddings": 32,
        },
    ),
}
# Final weights are kept for one weight decay a model, losses for both.
KEPT_DECAY = {"tied": 0.0, "untied": 0.1}


def noise(name, n):
    """n numbers in [-1, 1), exact in fp32: the top 24 bits of splitmix64 at positions 0, 1, ... of a stream named `name` (FNV-1a)."""
    h = 0xCBF29CE484222325
    for byte in name.encode():
        h = (h ^ byte) * 0x100000001B3 & 0xFFFFFFFFFFFFFFFF
    with np.errstate(over="ignore"):
        z = np.uint64(h) + (np.arange(1, n + 1, dtype=np.uint64)) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z = z ^ (z >> np.uint64(31))
    return (z >> np.uint64(40)).astype(np.float32) / np.float32(1 << 23) - np.float32(1)


def weight(name, shape):
    """Norms lie around 1, embeddings in [-1, 1), other matrices in [-1/4, 1/4)."""
    x = noise(name, int(np.prod(shape))).reshape(shape)
    if len(shape) == 1:
        return np.float32(1) + np.float32(0.25) * x
    return x if "embed" in name else np.float32(0.25) * x


def model(sizes):
    llama = LlamaForCausalLM(LlamaConfig(**sizes, attn_implementation="eager", use_cache=False)).float()
    with torch.no_grad():
        for name, p in llama.named_parameters():
            p.copy_(torch.from_numpy(weight(name, tuple(p.shape))))
    return llama


def batch(sizes, blocks=2, length=20):
    """Tokens, and labels (label i is predicted from position i - 1) of which a third, and the first, are ignored."""
    n = blocks * length
    tokens = ((noise("tokens", n) + 1) / 2 * sizes["vocab_size"]).astype(np.int64).reshape(blocks, length)
    labels = ((noise("labels", n) + 1) / 2 * sizes["vocab_size"]).astype(np.int64).reshape(blocks, length)
    labels[noise("ignored", n).reshape(blocks, length) < -1 / 3] = -100
    labels[:, 0] = -100
    return torch.from_numpy(tokens), torch.from_numpy(labels)


def curve(sizes, tokens, labels, decay):
    """AdamW on one batch over and over, learning rate lr (1 - s/S)."""
    llama = model(sizes)
    optimizer = torch.optim.AdamW(llama.parameters(), weight_decay=decay, foreach=False, **ADAMW)
    losses = []
    for step in range(STEPS):
        for group in optimizer.param_groups:
            group["lr"] = ADAMW["lr"] * (1 - step / STEPS)
        optimizer.zero_grad()
        loss = llama(tokens, labels=labels).loss
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses, {name: p.detach().numpy().copy() for name, p in llama.named_parameters()}


def main():
    torch.manual_seed(0)
    torch.use_deterministic_algorithms(True)
    OUT.mkdir(parents=True, exist_ok=True)
    for name, sizes in MODELS.items():
        tokens, labels = batch(sizes)
        llama = model(sizes)
        out = llama(tokens, labels=labels)
        out.loss.backward()
        tensors = {"logits": out.logits.detach().reshape(-1, sizes["vocab_size"]).numpy()}
        for p_name, p in llama.named_parameters():
            tensors["gradient." + p_name] = p.grad.numpy()
        losses = {}
        for decay in (0.0, 0.1):
            losses[str(decay)], final = curve(sizes, tokens, labels, decay)
            if decay == KEPT_DECAY[name]:
                tensors |= {"trained." + p_name: p for p_name, p in final.items()}
        save_file({k: np.ascontiguousarray(v) for k, v in tensors.items()}, OUT / f"golden-{name}.safetensors")
        golden = {
            "config": sizes,
            "tokens": tokens.tolist(),
            "labels": labels.tolist(),
            "loss": out.loss.item(),
            "inv_freq": llama.model.rotary_emb.inv_freq.tolist(),
            "adamw": {"lr": ADAMW["lr"], "betas": ADAMW["betas"], "eps": ADAMW["eps"]},
            "trained_decay": KEPT_DECAY[name],
            "losses": losses,
        }
        if name == "untied":  # the frequencies of the published Llama 3.1, all three of its bands
            config = LlamaConfig(
                hidden_size=4096, num_attention_heads=32, head_dim=128, max_position_embeddings=131072,
                rope_parameters={
                    "rope_type": "llama3", "rope_theta": 500000.0, "factor": 8.0, "low_freq_factor": 1.0,
                    "high_freq_factor": 4.0, "original_max_position_embeddings": 8192,
                },
            )
            golden["inv_freq_llama_3_1"] = ROPE_INIT_FUNCTIONS["llama3"](config, None)[0].tolist()
        (OUT / f"golden-{name}.json").write_text(json.dumps(golden) + "\n")


if __name__ == "__main__":
    main()
