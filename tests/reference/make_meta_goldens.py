#!/usr/bin/env python3
"""Makes the files of meta/ (README.md says what is in them) with torch, or with --check compares them to what is made anew."""

import argparse
import filecmp
import json
import os
import sys
import tempfile

import numpy as np
import torch
from safetensors.torch import save_file

HERE = os.path.dirname(os.path.abspath(__file__))
FILES = os.path.join(HERE, "meta")

# Meta's names, and those of transformers.
LAYER = {"attention.wq": "self_attn.q_proj", "attention.wk": "self_attn.k_proj", "attention.wv": "self_attn.v_proj", "attention.wo": "self_attn.o_proj",
         "feed_forward.w1": "mlp.gate_proj", "feed_forward.w2": "mlp.down_proj", "feed_forward.w3": "mlp.up_proj",
         "attention_norm": "input_layernorm", "ffn_norm": "post_attention_layernorm"}
REST = {"tok_embeddings": "model.embed_tokens", "norm": "model.norm", "output": "lm_head"}
# The dimension along which a matrix is divided, as fairscale's ColumnParallelLinear and RowParallelLinear have it.
SPLIT = {"wq": 0, "wk": 0, "wv": 0, "w1": 0, "w3": 0, "output": 0, "wo": 1, "w2": 1}


def ffn_dim(params):
    hidden = int(2 * 4 * params["dim"] / 3)
    hidden = int(params.get("ffn_dim_multiplier", 1) * hidden)
    multiple = params["multiple_of"]
    return multiple * ((hidden + multiple - 1) // multiple)


def make_weights(params, vocab, dtype, seed):
    """Weights under Meta's names and in Meta's order of rotary pairs."""
    rng, dim = np.random.RandomState(seed), params["dim"]
    head_dim, ffn = dim // params["n_heads"], ffn_dim(params)
    kv = params.get("n_kv_heads", params["n_heads"]) * head_dim
    shapes = {"tok_embeddings": (vocab, dim), "norm": (dim,), "output": (vocab, dim)}
    for i in range(params["n_layers"]):
        for name, shape in {"attention.wq": (dim, dim), "attention.wk": (kv, dim), "attention.wv": (kv, dim), "attention.wo": (dim, dim),
                            "feed_forward.w1": (ffn, dim), "feed_forward.w2": (dim, ffn), "feed_forward.w3": (ffn, dim),
                            "attention_norm": (dim,), "ffn_norm": (dim,)}.items():
            shapes[f"layers.{i}.{name}"] = shape
    draw = lambda shape: 1 + rng.normal(0, 0.2, shape) if len(shape) == 1 else rng.normal(0, 0.3, shape)
    return {name + ".weight": torch.tensor(draw(shape)).to(dtype) for name, shape in shapes.items()}


def logits(params, weights, tokens):
    """Meta's Transformer.forward in float64: rotations as products of complex numbers whose parts lie side by side."""
    w = {name: x.double() for name, x in weights.items()}
    heads, dim = params["n_heads"], params["dim"]
    kv_heads, n, head_dim = params.get("n_kv_heads", heads), len(tokens), dim // heads
    eps, theta = params["norm_eps"], params.get("rope_theta", 10000.0)
    norm = lambda x, gain: x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + eps) * gain
    angles = torch.outer(torch.arange(n).double(), 1 / theta ** (torch.arange(0, head_dim, 2).double() / head_dim))
    turns = torch.polar(torch.ones_like(angles), angles)[:, None, :]
    rotate = lambda x: torch.view_as_real(torch.view_as_complex(x.reshape(n, -1, head_dim // 2, 2)) * turns).reshape(n, -1, head_dim)
    mask = torch.full((n, n), float("-inf"), dtype=torch.float64).triu(1)
    x = w["tok_embeddings.weight"][tokens]
    for i in range(params["n_layers"]):
        part = lambda name: w[f"layers.{i}.{name}.weight"]
        h = norm(x, part("attention_norm"))
        q, k = rotate(h @ part("attention.wq").T), rotate(h @ part("attention.wk").T)
        v = (h @ part("attention.wv").T).reshape(n, kv_heads, head_dim)
        k, v = (torch.repeat_interleave(t, heads // kv_heads, dim=1) for t in (k, v))
        scores = torch.einsum("qhd,khd->hqk", q, k) / head_dim ** 0.5 + mask
        x = x + torch.einsum("hqk,khd->qhd", scores.softmax(-1), v).reshape(n, dim) @ part("attention.wo").T
        h = norm(x, part("ffn_norm"))
        x = x + (torch.nn.functional.silu(h @ part("feed_forward.w1").T) * (h @ part("feed_forward.w3").T)) @ part("feed_forward.w2").T
    return norm(x, w["norm.weight"]) @ w["output.weight"].T


def half_split(weight, heads):
    """Hugging Face's order: the two numbers of a pair half a head apart."""
    rows, columns = weight.shape
    return weight.reshape(heads, rows // heads // 2, 2, columns).transpose(1, 2).reshape(rows, columns).contiguous()


def save_source(folder, params, weights, vocab):
    """The same model as transformers has it."""
    heads, out = params["n_heads"], {}
    kv_heads = params.get("n_kv_heads", heads)
    for name, x in weights.items():
        stem = name.removesuffix(".weight")
        if stem in REST:
            out[REST[stem] + ".weight"] = x
            continue
        _, layer, part = stem.split(".", 2)
        if part in ("attention.wq", "attention.wk"):
            x = half_split(x, heads if part == "attention.wq" else kv_heads)
        out[f"model.layers.{layer}.{LAYER[part]}.weight"] = x
    os.makedirs(folder, exist_ok=True)
    save_file(out, os.path.join(folder, "model.safetensors"), metadata={"format": "pt"})
    config = {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": params["dim"], "num_hidden_layers": params["n_layers"],
              "num_attention_heads": heads, "num_key_value_heads": kv_heads, "intermediate_size": ffn_dim(params), "vocab_size": vocab,
              "max_position_embeddings": 8192 if params.get("rope_theta") == 500000.0 else 4096, "rms_norm_eps": params["norm_eps"],
              "rope_theta": params.get("rope_theta", 10000.0), "tie_word_embeddings": False, "bos_token_id": 1, "eos_token_id": 2}
    with open(os.path.join(folder, "config.json"), "w") as f:
        json.dump(config, f, indent=1)


def save_shards(folder, params, weights, n, embedding_dim, as_views):
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, "params.json"), "w") as f:
        json.dump(params, f)
    for shard in range(n):
        out = {}
        for name, x in weights.items():
            part = name.split(".")[-2]
            dim = embedding_dim if part == "tok_embeddings" else SPLIT.get(part)
            x = x if dim is None else x.chunk(n, dim)[shard]
            out[name] = x if as_views else x.clone()
        head_dim = params["dim"] // params["n_heads"]
        out["rope.freqs"] = (1 / 10000 ** (torch.arange(0, head_dim, 2).float() / head_dim)).to(weights["norm.weight"].dtype)
        torch.save(out, os.path.join(folder, f"consolidated.{shard:02d}.pth"))


def save_llama2c(path, params, weights, vocab, length):
    """llama2.c's version 0: a header, the tensors of a kind after each other, the tables of rotary positions."""
    head_dim, layers = params["dim"] // params["n_heads"], range(params["n_layers"])
    angles = torch.outer(torch.arange(length).float(), 1 / 10000 ** (torch.arange(0, head_dim, 2).float() / head_dim))
    kinds = ["attention_norm", "attention.wq", "attention.wk", "attention.wv", "attention.wo", "ffn_norm", "feed_forward.w1", "feed_forward.w2", "feed_forward.w3"]
    with open(path, "wb") as f:
        # A negative vocabulary: the head is not the embedding.
        f.write(np.array([params["dim"], ffn_dim(params), params["n_layers"], params["n_heads"], params.get("n_kv_heads", params["n_heads"]), -vocab, length],
                         dtype="<i4").tobytes())
        for x in [weights["tok_embeddings.weight"], *(weights[f"layers.{i}.{kind}.weight"] for kind in kinds for i in layers), weights["norm.weight"],
                  angles.cos(), angles.sin(), weights["output.weight"]]:
            f.write(x.numpy().astype("<f4").tobytes())


def make_model(folder, name, params, vocab, dtype, shards, *, embedding_dim=1, as_views=False, seed=1, n_tokens=24):
    weights = make_weights(params, vocab, dtype, seed)
    tokens = torch.tensor([(i * i * 7 + 5 * i + 1) % vocab for i in range(n_tokens)])
    save_source(os.path.join(folder, name, "source"), params, weights, vocab)
    save_file({"tokens": tokens.int(), "logits": logits(params, weights, tokens).contiguous()}, os.path.join(folder, name, "expected.safetensors"))
    for n in shards:
        save_shards(os.path.join(folder, name, f"shards{n}"), params, weights, n, embedding_dim, as_views)
    if dtype == torch.float32:
        save_llama2c(os.path.join(folder, name, "llama2c.bin"), params, weights, vocab, 32)


def make(folder):
    # Llama 2: the vocabulary is the tokenizer's, the embedding is divided by columns. 16 heads on 8 of keys, as 64 on 8 in the 70B.
    make_model(folder, "bf16", {"dim": 64, "multiple_of": 8, "ffn_dim_multiplier": 0.4, "n_heads": 16, "n_kv_heads": 8, "n_layers": 1, "norm_eps": 1e-05,
                                "vocab_size": -1}, 56, torch.bfloat16, [1, 2, 8])
    # Llama 3: by rows. Views into whole matrices: strides.
    make_model(folder, "fp16", {"dim": 16, "multiple_of": 16, "n_heads": 4, "n_kv_heads": 2, "n_layers": 2, "norm_eps": 1e-05, "rope_theta": 500000.0,
                                "vocab_size": 32}, 32, torch.float16, [2], embedding_dim=0, as_views=True)
    # Llama 1: no grouped queries, no key for them.
    make_model(folder, "fp32", {"dim": 16, "multiple_of": 16, "n_heads": 4, "n_layers": 2, "norm_eps": 1e-05, "vocab_size": 32}, 32, torch.float32, [4])


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 unless the committed files are what would be made")
    if not parser.parse_args().check:
        make(FILES)
        return 0
    with tempfile.TemporaryDirectory() as made:
        make(made)
        names = sorted({os.path.relpath(os.path.join(path, f), top) for top in (made, FILES) for path, _, files in os.walk(top) for f in files})
        _, different, missing = filecmp.cmpfiles(made, FILES, names, shallow=False)
    print("differ: " + ", ".join(different + missing) if different or missing else f"{len(names)} files match")
    return 1 if different or missing else 0


if __name__ == "__main__":
    sys.exit(main())
