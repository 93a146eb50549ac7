"""Generic labels as METHOD.md section 2 has them, written from that text alone, in numpy and float64.

An implementation independent of the Java one, for two uses.

1. Synthetic cases that the Java tests are checked against:

    python java/engine/src/test/python/reference_labels.py golden \\
        java/engine/src/test/resources/org/lethe/unlearn/reference_labels.json

   The file holds, for each case, what goes in (dictionary, a tokenizer as a table of text to tokens, a block, both models'
   logits as whole numbers k, the logit being k / 16) and what must come out. Every step is exact in fp32 too, ties
   included, so labels must agree at every position.

2. The labels of a real text, with torch and transformers in fp32, against a file that `lethe label --dtype f32` wrote:

    python java/engine/src/test/python/reference_labels.py compare --model DIR --reinforced DIR --anchors anchors.json \\
        --labels labels.jsonl --seed 1 --alpha 5

   prints a JSON object: for each key, the positions compared (all but the first of a block), those equal, and their share.
"""

import argparse
import json
import random

import numpy as np

IGNORE = -100


# ---- the dictionary


def prune(dictionary):
    """Drop X's when X is a key; drop a key of several words when each word is itself a key."""
    kept = {}
    for key, value in dictionary.items():
        possessive = key.endswith("'s") and key[: -len("'s")] in dictionary
        words = key.split()
        composed = len(words) >= 2 and all(word in dictionary for word in words)
        if not possessive and not composed:
            kept[key] = [value] if isinstance(value, str) else list(value)
    return kept


def draw(seed, block, expression, n):
    """mix(mix(seed xor fnv1a(expression)) + block) mod n, where mix is one output of SplitMix64."""
    m = (1 << 64) - 1

    def mix(x):
        x = (x + 0x9E3779B97F4A7C15) & m
        x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & m
        x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & m
        return x ^ (x >> 31)

    h = 0xCBF29CE484222325
    for byte in expression.encode("utf-8"):
        h = ((h ^ byte) * 0x100000001B3) & m
    return mix((mix((seed & m) ^ h) + block) & m) % n


def variants(text, encode):
    """[tokens after a space, tokens at the start of a line]"""
    out = []
    for prefix, whole in (("a", "a " + text), ("a\n", "a\n" + text)):
        before, tokens = list(encode(prefix)), list(encode(whole))
        assert tokens[: len(before)] == before and len(tokens) > len(before), (prefix, whole)
        out.append(tokens[len(before) :])
    return out


# ---- translation


def translate(tokens, dictionary, encode, seed, block):
    """(translated tokens, mapping with None for unmapped, per translated position the set of forbidden tokens)"""
    # One flat table, key tokens -> (expression, value tokens, forbidden tokens), first entry of a key wins
    # except that the line-start variant of the same expression overwrites an equal one.
    table = {}
    for expression, values in prune(dictionary).items():
        value = values[draw(seed, block, expression, len(values))]
        value_variants = variants(value, encode)
        forbid = {value_variants[0][0], value_variants[1][0]}
        own = {}
        for key, replacement in zip(variants(expression, encode), value_variants):
            own[tuple(key)] = (expression, replacement, forbid)
        for key, entry in own.items():
            table.setdefault(key, entry)

    translated, mapping, starts = [], {}, []
    seen = set()
    at = 0
    while at < len(tokens):
        for key, (expression, replacement, forbid) in table.items():
            if tuple(tokens[at : at + len(key)]) == key:
                last = at + len(key) - 1
                for inside in range(at, last):
                    mapping[inside] = None
                if expression in seen and at >= 1:
                    mapping[at - 1] = None
                seen.add(expression)
                starts.append((len(translated), forbid))
                translated.extend(replacement)
                mapping[last] = len(translated) - 1
                at += len(key)
                break
        else:
            mapping[at] = len(translated)
            translated.append(tokens[at])
            at += 1

    forbidden = [set().union(*(forbid for p, forbid in starts if j > p)) for j in range(len(translated))]
    return translated, [mapping[i] for i in range(len(tokens))], forbidden


# ---- labels


def labels(baseline, reinforced, mapping, forbidden, alpha):
    """labels[i] is the target predicted from position i - 1."""
    g = np.array(baseline, dtype=np.float64)
    for j, tokens in enumerate(forbidden):
        mean = g[j].mean()  # of the raw logits, before any replacement
        for token in tokens:
            g[j, token] = mean
    r = np.array(reinforced, dtype=np.float64)
    out = [IGNORE] * len(mapping)
    for i in range(len(mapping) - 1):
        if mapping[i] is not None:
            row = g[mapping[i]]
            out[i + 1] = int(np.argmax(row - alpha * np.maximum(0.0, r[i] - row)))  # the first of equals
    return out


# ---- synthetic cases


VOCABULARY = 64
ALPHA = 5.0
CASES = 48
WITH_LOGITS = (6, 7, 8, 16, 24, 26, 32)  # not all: the file stays small


def fake_tokenizer(random_, texts):
    """A table of text to tokens: every expression has 1 to 4 tokens a variant; some have equal variants, some share tokens."""
    a, newline = 1, 2
    table = {"a": [a], "a\n": [a, newline]}
    for text in texts:
        after_space = [random_.randrange(3, 24) for _ in range(random_.randint(1, 4))]
        kind = random_.random()
        if kind < 0.3:
            line_start = list(after_space)
        elif kind < 0.7:
            line_start = [random_.randrange(3, 24)] + after_space[1:]
        else:
            line_start = [random_.randrange(3, 24) for _ in range(random_.randint(1, 4))]
        table["a " + text] = [a] + after_space
        table["a\n" + text] = [a, newline] + line_start
    return table


def fake_dictionary(random_):
    names = ["Ahab", "Ishmael", "Queequeg", "Pequod", "Nantucket", "Moby", "Dick", "Peleg", "white", "whale"]
    keys = names[:] + ["Moby Dick", "Ahab's", "white whale", "white Pequod's", "Peleg's", "Starbuck's", "old Ahab", "Pequod's"]
    random_.shuffle(keys)
    keys = keys[: random_.randint(3, len(keys))]
    stand_ins = ["Jon", "Ole", "Ann", "the Gull", "Port Hill", "Big Fish", "Sam"]
    return {
        key: random_.choice(stand_ins) if random_.random() < 0.4 else random_.sample(stand_ins, random_.randint(1, 3))
        for key in keys
    }


def fake_block(random_, length, keys):
    tokens = []
    while len(tokens) < length:
        if random_.random() < 0.35:
            tokens += random_.choice(keys)
        else:
            tokens.append(random_.randrange(0, VOCABULARY))
    cut = random_.randrange(0, len(tokens) - length + 1)  # keys are cut at both edges
    return tokens[cut : cut + length]


def one_case(number):
    random_ = random.Random(number)
    dictionary = fake_dictionary(random_)
    texts = list(dictionary) + sorted({v for vs in dictionary.values() for v in ([vs] if isinstance(vs, str) else vs)})
    table = fake_tokenizer(random_, texts)
    keys = [variant for key in prune(dictionary) for variant in variants(key, table.__getitem__)]
    keys = keys or [[5]]
    seed, block = random_.randrange(-(1 << 63), 1 << 63), random_.randrange(0, 1000)
    tokens = fake_block(random_, random_.choice([1, 2, 7, 16, 24, 40]), keys)
    translated, mapping, forbidden = translate(tokens, dictionary, table.__getitem__, seed, block)

    case = {
        "seed": seed,
        "block": block,
        "dictionary": dictionary,
        "pruned": [key for key in dictionary if key not in prune(dictionary)],
        "encode": table,
        "tokens": tokens,
        "translated": translated,
        "mapping": [-1 if j is None else j for j in mapping],
        "forbidden_at": [sorted(s) for s in forbidden],
    }
    if number in WITH_LOGITS:
        numbers = np.random.default_rng(number)
        # Multiples of 4 make ties; a forbidden token is often the best; the reinforced model lifts about half the tokens.
        base = np.clip(4 * np.rint(numbers.normal(0, 6, (len(translated), VOCABULARY))), -64, 64).astype(int)
        for j, tokens_ in enumerate(forbidden):
            if tokens_ and random_.random() < 0.5:
                base[j, random_.choice(sorted(tokens_))] = 72
        shared = base[[0 if j is None else j for j in mapping]]
        reinforced = shared + numbers.integers(-4, 5, shared.shape)
        case["baseline"] = base.tolist()
        case["reinforced"] = reinforced.tolist()
        for key, alpha in (("labels", ALPHA), ("labels_0.5", 0.5 * ALPHA), ("labels_2", 2 * ALPHA)):
            case[key] = labels(base / 16, reinforced / 16, mapping, forbidden, alpha)
    return case


def golden(path):
    document = {"vocabulary": VOCABULARY, "alpha": ALPHA, "cases": [one_case(n) for n in range(CASES)]}
    with open(path, "w", encoding="utf-8") as file:
        json.dump(document, file, separators=(",", ":"))
        file.write("\n")


# ---- real models


def load(path):
    """(tokenizer, model in fp32) of a Hugging Face directory"""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    return AutoTokenizer.from_pretrained(path), AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32).eval()


def logits(model, tokens):
    import torch

    with torch.no_grad():
        return model(torch.tensor([tokens])).logits[0].numpy()


def compare(options):
    with open(options.anchors, encoding="utf-8") as file:
        dictionary = {k: v["to"] if isinstance(v, dict) else v for k, v in json.load(file).items()}
    tokenizer, model = load(options.model)
    reinforced = load(options.reinforced)[1]

    def encode(text):
        return tokenizer.encode(text, add_special_tokens=False)

    alphas = {"labels": options.alpha, "labels_0.5": 0.5 * options.alpha, "labels_2": 2 * options.alpha}
    compared, equal = dict.fromkeys(alphas, 0), dict.fromkeys(alphas, 0)
    with open(options.labels, encoding="utf-8") as file:
        for block, line in enumerate(file):
            if block == options.blocks:
                break
            given = json.loads(line)
            tokens = given["input_ids"]
            translated, mapping, forbidden = translate(tokens, dictionary, encode, options.seed, block)
            g, r = logits(model, translated), logits(reinforced, tokens)
            for key, alpha in alphas.items():
                expected = labels(g, r, mapping, forbidden, alpha)
                assert len(given[key]) == len(expected) and given[key][0] == IGNORE, (block, key)
                compared[key] += len(expected) - 1
                equal[key] += sum(a == b for a, b in zip(given[key][1:], expected[1:]))
    print(json.dumps({k: {"compared": n, "equal": equal[k], "share": equal[k] / max(1, n)} for k, n in compared.items()}))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    command = commands.add_parser("golden")
    command.add_argument("out")
    command.set_defaults(run=lambda options: golden(options.out))
    command = commands.add_parser("compare")
    for path in ("--model", "--reinforced", "--anchors", "--labels"):
        command.add_argument(path, required=True)
    command.add_argument("--seed", type=int, default=1)
    command.add_argument("--alpha", type=float, default=ALPHA)
    command.add_argument("--blocks", type=int, default=-1, help="stop after so many")
    command.set_defaults(run=compare)
    options = parser.parse_args()
    options.run(options)


if __name__ == "__main__":
    main()
