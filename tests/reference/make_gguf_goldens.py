#!/usr/bin/env python3
"""Makes the files of gguf/ (README.md says what is in them) with the `gguf` package, or with --check compares them to what is made anew."""

import argparse
import filecmp
import json
import os
import sys
import tempfile

import numpy as np
from gguf import GGMLQuantizationType as Type, GGUFWriter, RopeScalingType, dequantize
from gguf.constants import GGML_QUANT_SIZES
from safetensors.numpy import load_file, save_file

HERE = os.path.dirname(os.path.abspath(__file__))
FILES = os.path.join(HERE, "gguf")

TYPES = ["F32", "F16", "BF16", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K", "IQ4_NL"]
# Where the f16 numbers of a block lie: its scales.
SCALES = {"Q4_0": [0], "Q4_1": [0, 2], "Q5_0": [0], "Q5_1": [0, 2], "Q8_0": [0], "IQ4_NL": [0],
          "Q2_K": [80, 82], "Q3_K": [108], "Q4_K": [0, 2], "Q5_K": [0, 2], "Q6_K": [208]}
# Ordinary ones, zeros, the smallest and largest of either kind, infinity.
EXTREMES = [0x0000, 0x8000, 0x0001, 0x83FF, 0x0400, 0x7BFF, 0xFBFF, 0x7C00]


def blocks(name, rng):
    elements, size = GGML_QUANT_SIZES[Type[name]]
    if elements == 1:  # all kinds of numbers but NaN, whose payload processors treat differently
        raw = rng.randint(0, 256, (256, size)).astype(np.uint8)
        numbers = {"F32": lambda b: b.view(np.float32), "F16": lambda b: b.view(np.float16)}.get(name, lambda b: dequantize(b, Type.BF16))(raw)
        raw[np.isnan(numbers).reshape(256)] = 0
        return raw.reshape(1, -1)
    n = len(EXTREMES) + (8 if elements == 32 else 2)
    raw = rng.randint(0, 256, (n, size)).astype(np.uint8)
    for at in SCALES[name]:
        ordinary = (rng.uniform(-1, 1, n - len(EXTREMES)) * 0.1).astype(np.float16)
        extreme = np.array(EXTREMES, dtype=np.uint16).view(np.float16)[rng.permutation(len(EXTREMES))]
        raw[:, at:at + 2] = np.concatenate([ordinary, extreme]).view(np.uint8).reshape(n, 2)
    return raw


def make_blocks(folder):
    """<type>/blocks U8, <type>/values F32: what the package makes of them; F32 of a NaN is the positive quiet one."""
    rng, tensors = np.random.RandomState(20), {}
    for name in TYPES:
        raw = blocks(name, rng)
        with np.errstate(all="ignore"):
            values = np.array(dequantize(raw, Type[name]), dtype=np.float32).reshape(-1)
        values[np.isnan(values)] = np.float32(np.nan)
        tensors[f"{name}/blocks"], tensors[f"{name}/values"] = raw.reshape(-1), values
    save_file(tensors, os.path.join(folder, "blocks.safetensors"), metadata={"format": "pt"})


def interleaved(weight, heads):
    """GGUF keeps the two numbers that a rotation mixes side by side, as Meta's weights do; Hugging Face half a head apart."""
    rows, columns = weight.shape
    return np.ascontiguousarray(weight.reshape(heads, 2, rows // heads // 2, columns).swapaxes(1, 2).reshape(rows, columns))


LAYER = {"self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v", "self_attn.o_proj": "attn_output",
         "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down",
         "input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm"}
REST = {"model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output"}


def llama3_factors(head_dim, theta, rope):
    """What divides the rotary frequencies, as llama.cpp's converter writes it for Llama 3.1."""
    inverse = 1.0 / theta ** (np.arange(0, head_dim, 2, dtype=np.float32) / head_dim)
    low, high, length = rope["low_freq_factor"], rope["high_freq_factor"], rope["original_max_position_embeddings"]
    turns = length * inverse / (2 * np.pi)
    smooth = np.clip((turns - low) / (high - low), 0, 1)
    return (1 / ((1 - smooth) / rope["factor"] + smooth)).astype(np.float32)


def gguf_name(key):
    """The name in GGUF files of a tensor of Hugging Face's name."""
    stem = key.removesuffix(".weight")
    if stem in REST:
        return REST[stem] + ".weight"
    _, _, layer, part = stem.split(".", 3)
    return f"blk.{layer}.{LAYER[part]}.weight"


def write_model(path, name, weights, *, heads, kv_heads, head_dim, theta, eps, rope=None, context=64, stored=lambda name, weight: (weight, None)):
    """Weights by the names of Hugging Face; stored(name, weight) gives what becomes of a tensor in the file: its array and, for bytes, their type."""
    vocab, width = weights["model.embed_tokens.weight"].shape
    writer = GGUFWriter(path, "llama")
    writer.add_name(name)
    writer.add_block_count(1 + max(int(n.split(".")[2]) for n in weights if n.startswith("model.layers.")))
    writer.add_context_length(context)
    writer.add_embedding_length(width)
    writer.add_feed_forward_length(weights["model.layers.0.mlp.up_proj.weight"].shape[0])
    writer.add_head_count(heads)
    writer.add_head_count_kv(kv_heads)
    writer.add_key_length(head_dim)
    writer.add_value_length(head_dim)
    writer.add_rope_dimension_count(head_dim)
    writer.add_rope_freq_base(theta)
    if rope and rope["rope_type"] == "linear":
        writer.add_rope_scaling_type(RopeScalingType.LINEAR)
        writer.add_rope_scaling_factor(rope["factor"])
    if rope and rope["rope_type"] == "llama3":
        writer.add_tensor("rope_freqs.weight", llama3_factors(head_dim, theta, rope))
    if not rope:
        writer.add_rope_scaling_type(RopeScalingType.NONE)
    writer.add_layer_norm_rms_eps(eps)
    writer.add_vocab_size(vocab)
    writer.add_tokenizer_model("llama")
    writer.add_token_list([b"<unk>", b"<s>", b"</s>"] + [b"t%d" % i for i in range(3, vocab)])
    writer.add_token_scores([-float(i) for i in range(vocab)])
    writer.add_token_types([2, 3, 3] + [1] * (vocab - 3))
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    for key in sorted(weights):
        stem, weight = key.removesuffix(".weight"), weights[key]
        if stem.endswith("q_proj"):
            weight = interleaved(weight, heads)
        if stem.endswith("k_proj"):
            weight = interleaved(weight, kv_heads)
        array, dtype = stored(gguf_name(key), weight)
        writer.add_tensor(gguf_name(key), array, raw_dtype=dtype)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def make_model(folder, name, **shape):
    weights = load_file(os.path.join(HERE, "goldens", name, "model.safetensors"))
    write_model(os.path.join(folder, name + ".gguf"), name, weights, **shape)


def make(folder):
    make_blocks(folder)
    make_model(folder, "gqa_untied", heads=4, kv_heads=2, head_dim=8, theta=5e5, eps=1e-6)
    make_model(folder, "mqa_tied", heads=3, kv_heads=1, head_dim=16, theta=1e4, eps=1e-5)
    for name in ("rope_linear", "rope_llama3"):
        with open(os.path.join(HERE, "goldens", name, "case.json")) as file:
            make_model(folder, name, heads=2, kv_heads=1, head_dim=16, theta=300.0, eps=1e-5, rope=json.load(file)["rope"])


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 unless the committed files are what would be made")
    if not parser.parse_args().check:
        os.makedirs(FILES, exist_ok=True)
        make(FILES)
        return 0
    with tempfile.TemporaryDirectory() as made:
        make(made)
        names = sorted(set(os.listdir(made)) | set(os.listdir(FILES)))
        _, different, missing = filecmp.cmpfiles(made, FILES, names, shallow=False)
    print("differ: " + ", ".join(different + missing) if different or missing else f"{len(names)} files match")
    return 1 if different or missing else 0


if __name__ == "__main__":
    sys.exit(main())
