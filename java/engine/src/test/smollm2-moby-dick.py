"""Makes smollm2-moby-dick.tsv: llama.cpp's own tokenization of the whole of Moby-Dick, file by file.

    python smollm2-moby-dick.py MODEL.gguf FOLDER > resources/org/lethe/text/smollm2-moby-dick.tsv

A line a file: its name, how many tokens it has, and the first 16 hexadecimal digits of the
SHA-256 of the tokens as little-endian 32-bit integers. FOLDER is the npm package's data. Neither BOS nor
special tokens; llama-cpp-python 0.3.36.
"""
import hashlib
import pathlib
import struct
import sys

from llama_cpp import Llama

model, folder = sys.argv[1], pathlib.Path(sys.argv[2])
llama = Llama(model, vocab_only=True, verbose=False)
for file in sorted(folder.glob("*.txt")):
    tokens = llama.tokenize(file.read_bytes(), add_bos=False, special=False)
    digest = hashlib.sha256(struct.pack(f"<{len(tokens)}i", *tokens)).hexdigest()
    print(file.name, len(tokens), digest[:16], sep="\t")
