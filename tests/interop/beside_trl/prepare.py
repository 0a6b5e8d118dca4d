"""Writes what both sides read (task.py): python prepare.py SMOLLM2.gguf DATA-FOLDER."""
import gzip
import json
import os
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))
import host  # noqa: E402
import task  # noqa: E402
from host import Tokenizer, llama2  # noqa: E402

LONGEST = 192  # tokens of a dialogue


def never_ends(folder):
    """Neither library stops a response before its length."""
    for name in ("config.json", "generation_config.json"):
        path = folder / name
        if path.exists():
            settings = json.loads(path.read_text())
            settings["eos_token_id"] = task.EMPTY
            path.write_text(json.dumps(settings, indent=2))


def read_helpful(path):
    for line in gzip.open(path, "rt"):
        r = json.loads(line)
        yield r["prompt"], [(llama2.LLAMA2_ROLE_USER, r["prompt"])], r["chosen"], r["rejected"], r["rating"]


def read_harmless(path):
    roles = {"Human": llama2.LLAMA2_ROLE_USER, "Assistant": llama2.LLAMA2_ROLE_ASSISTANT}
    for line in gzip.open(path, "rt"):
        r, turns = json.loads(line), []
        for side in ("chosen", "rejected"):
            turns.append([(roles[t.split(": ", 1)[0]], t.split(": ", 1)[1].strip()) for t in r[side].split("\n\n") if t.split(": ", 1)[0] in roles and ": " in t])
        a, b = turns
        fits = len(a) == len(b) > 1 and a[:-1] == b[:-1] and a[-1][0] == roles["Assistant"] and all(x[0] == (llama2.LLAMA2_ROLE_USER, llama2.LLAMA2_ROLE_ASSISTANT)[i % 2] for i, x in enumerate(a))
        if fits:
            yield a[0][1], a[:-1], a[-1][1], b[-1][1], None


def write_pairs(tokenizer, kind, read, path, held_out_prompts):
    """Prompts are held out, not pairs: every fourth or so of those that come, as many pairs as task.KINDS says."""
    total, held = task.KINDS[kind]
    left = {True: held, False: total - held}
    order = np.random.default_rng(1).permutation
    with open(task.WORK / f"{kind}.jsonl", "w") as out:
        records = list(read(path))
        for i in order(len(records)):
            prompt, dialogue, chosen, rejected, rating = records[i]
            is_held = held_out_prompts.setdefault(prompt, hash_of(prompt) % 3 == 0)
            if left[is_held] == 0 or chosen == rejected:
                continue
            try:
                ids = [tokenizer.encode_chat([*dialogue, (llama2.LLAMA2_ROLE_ASSISTANT, answer)]).tolist() for answer in (chosen, rejected)]
            except llama2.Error:  # a marker of the chat format
                continue
            if max(map(len, ids)) > LONGEST:
                continue
            left[is_held] -= 1
            out.write(json.dumps(dict(held_out=is_held, chosen=ids[0], rejected=ids[1], rating=rating, length_chosen=len(chosen), length_rejected=len(rejected))) + "\n")
    if any(left.values()):
        sys.exit(f"{kind}: {left[False]} training and {left[True]} held-out pairs are missing")


def hash_of(text):
    value = 0xCBF29CE484222325  # FNV-1a
    for byte in text.encode():
        value = (value ^ byte) * 0x100000001B3 & 0xFFFFFFFFFFFFFFFF
    return value >> 20


def main(gguf, data):
    task.WORK.mkdir(parents=True, exist_ok=True)
    host.program("convert", "--model", gguf, "--out", task.MODEL, "--type", "f32", "--quiet")
    never_ends(task.MODEL)
    tokenizer = Tokenizer(gguf)
    n_pieces = json.loads((task.MODEL / "config.json").read_text())["vocab_size"]
    np.save(task.WORK / "line-breaks.npy", np.array([b"\n" in tokenizer.decode([i]) for i in range(n_pieces)], np.float32))
    starts, held_out = {}, {}
    for prompt, *_ in read_helpful(data / "helpful-preferences.jsonl.gz"):
        ids = tokenizer.encode(prompt)
        if len(ids) >= task.PPO["prompt"]:
            starts[tuple(int(i) for i in ids[:task.PPO["prompt"]])] = None
    unique = np.array(list(starts), np.int32)
    order = np.random.default_rng(2).permutation(len(unique))
    np.save(task.WORK / "prompts.npy", unique[np.resize(order, task.PPO["episodes"])])
    write_pairs(tokenizer, "helpful", read_helpful, data / "helpful-preferences.jsonl.gz", held_out)
    write_pairs(tokenizer, "harmless", read_harmless, data / "harmless-preferences.jsonl.gz", held_out)
    print(f"{len(unique)} prompts, {task.KINDS} pairs in {task.WORK}")


if __name__ == "__main__":
    main(sys.argv[1], Path(os.environ.get("LLAMA2_TEST_DATA", "../shared/data")) if len(sys.argv) < 3 else Path(sys.argv[2]))
