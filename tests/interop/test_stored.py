"""Inference from quantised weights as they are stored: the perplexity of SmolLM2, and a 7B model beside llama.cpp."""
import json
import subprocess
import sys

import numpy as np
import pytest
from gguf import GGMLQuantizationType

import host
from compare import loss
from host import Model, Tokenizer, llama2
from peers import LlamaCpp

sys.path.insert(0, str(host.ROOT / "tests/reference"))
from make_gguf_goldens import write_model  # noqa: E402


@pytest.fixture(scope="module")
def passages(smollm2, data):
    """4 x 1024 tokens."""
    tokens = Tokenizer(smollm2).encode(data("tinyshakespeare.txt").read_bytes()[:40000])
    return [tokens[i:i + 1024] for i in range(0, 4096, 1024)]


def perplexity(losses, passages):
    return float(np.exp(sum(losses) / sum(len(tokens) - 1 for tokens in passages)))


def test_perplexity_of_stored_weights(smollm2, passages, figure):
    stored, converted, peer = Model(smollm2, weights=llama2.LLAMA2_WEIGHTS_AS_STORED), Model(smollm2), LlamaCpp(smollm2, n_ctx=1024)
    own, fp32, theirs = (perplexity(losses, passages) for losses in (map(stored.loss, passages), map(converted.loss, passages), (loss(peer.logits(t), t) for t in passages)))
    figure(f"Q4_1 as stored {own:.5f}, in fp32 {fp32:.5f} ({100 * (own / fp32 - 1):+.3f} %); llama.cpp {theirs:.5f}")
    assert abs(own / fp32 - 1) <= 0.005


SHAPE = dict(dim=4096, ffn=11008, layers=32, heads=32, vocab=32000)


def write_7b(path):
    """Llama 2's 7B in Q4_0 with random weights of standard deviation 0.02; matrices of one shape are alike, since speed and memory don't care."""
    dim, ffn, vocab = SHAPE["dim"], SHAPE["ffn"], SHAPE["vocab"]
    layer = {"self_attn.q_proj": (dim, dim), "self_attn.k_proj": (dim, dim), "self_attn.v_proj": (dim, dim), "self_attn.o_proj": (dim, dim), "mlp.gate_proj": (ffn, dim),
             "mlp.up_proj": (ffn, dim), "mlp.down_proj": (dim, ffn), "input_layernorm": (dim,), "post_attention_layernorm": (dim,)}
    shapes = {f"model.layers.{i}.{name}.weight": shape for i in range(SHAPE["layers"]) for name, shape in layer.items()}
    shapes |= {"model.embed_tokens.weight": (vocab, dim), "model.norm.weight": (dim,), "lm_head.weight": (vocab, dim)}
    rng, made = np.random.default_rng(20), {}

    def stored(name, weight):
        if weight.ndim == 1:
            return np.ones(weight.shape, np.float32), None
        if weight.shape not in made:
            raw = rng.integers(0, 256, (weight.shape[0], weight.shape[1] // 32, 18), np.uint8)
            raw[..., :2] = np.full(raw.shape[:2], 0.02 / 4.6, np.float16)[..., None].view(np.uint8)
            made[weight.shape] = raw.reshape(weight.shape[0], -1)
        return made[weight.shape], GGMLQuantizationType.Q4_0

    write_model(path, "7B", {name: np.broadcast_to(np.float32(1), shape) for name, shape in shapes.items()}, heads=SHAPE["heads"], kv_heads=SHAPE["heads"],
                head_dim=dim // SHAPE["heads"], theta=1e4, eps=1e-5, context=4096, stored=stored)


def test_7b_q4_0(scratch, figure):
    """Opens, generates and scores in the memory of this machine."""
    path = scratch / "7b.gguf"
    write_7b(path)
    figure(f"file {path.stat().st_size / 1e9:.2f} GB")
    taken = {}
    for engine in ("llama2", "llama.cpp", "llama2", "llama.cpp"):  # the first round is for the page cache
        done = subprocess.run([sys.executable, host.ROOT / "tests/interop/measure_start.py", engine, path], check=True, capture_output=True, text=True)
        taken[engine] = json.loads(done.stdout)
    for engine, t in taken.items():
        figure(f"{engine}: first token after {t['first']:.2f} s, then {1 / t['each']:.2f} tokens/s; {t['peak'] / 1e9:.2f} GB with the file's pages, {t['own'] / 1e9:.2f} GB "
               f"without; -log p {t['nll']:.4f} a token")
    own, peer = taken["llama2"], taken["llama.cpp"]
    assert own["own"] < 2e9 and abs(own["nll"] - peer["nll"]) < 0.02 * peer["nll"]
