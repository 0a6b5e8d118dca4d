"""Folders as Meta released Llama 2 and 3, made with torch: params.json and consolidated.NN.pth, parallel shards in bf16."""
import json
import shutil

import llama_cpp
import numpy as np
import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

import texts
from compare import compare
from host import Model, Tokenizer, program
from peers import Transformers

HEADS, KV_HEADS, HEAD_DIM, LAYERS, FFN, VOCAB = 64, 8, 16, 2, 2816, 32000
DIM = HEADS * HEAD_DIM
# Which dimension a matrix is cut in: columns of its input or rows of its output; None: each shard has the whole.
PARTS = {"attention.wq": ("self_attn.q_proj", 0), "attention.wk": ("self_attn.k_proj", 0), "attention.wv": ("self_attn.v_proj", 0), "attention.wo": ("self_attn.o_proj", 1),
         "feed_forward.w1": ("mlp.gate_proj", 0), "feed_forward.w2": ("mlp.down_proj", 1), "feed_forward.w3": ("mlp.up_proj", 0),
         "attention_norm": ("input_layernorm", None), "ffn_norm": ("post_attention_layernorm", None)}
WHOLE = {"tok_embeddings": ("model.embed_tokens", 1), "norm": ("model.norm", None), "output": ("lm_head", 0)}


def make_source(folder, spread=0.05, **config):
    """A random model of transformers whose weights bf16 holds exactly, saved; its config and weights."""
    torch.manual_seed(20)
    model = LlamaForCausalLM(LlamaConfig(rms_norm_eps=1e-5, bos_token_id=1, eos_token_id=2, initializer_range=spread, **config))
    with torch.no_grad():
        for name, tensor in model.named_parameters():
            if "norm" in name:
                tensor.add_(0.2 * torch.randn_like(tensor))
    model.to(torch.bfloat16).save_pretrained(folder)
    return model.config, {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    folder = tmp_path_factory.mktemp("source")
    config, weights = make_source(folder, vocab_size=VOCAB, hidden_size=DIM, num_hidden_layers=LAYERS, num_attention_heads=HEADS, num_key_value_heads=KV_HEADS, head_dim=HEAD_DIM,
                                  intermediate_size=FFN, max_position_embeddings=2048)
    return folder, config, weights


def interleaved(weight, heads):
    """Meta's rows: the two numbers that a rotation mixes lie side by side, where Hugging Face has them half a head apart."""
    rows, columns = weight.shape
    return weight.view(heads, 2, rows // heads // 2, columns).transpose(1, 2).reshape(rows, columns)


def write_meta(folder, config, weights, shards, **params):
    heads, kv_heads, layers = config.num_attention_heads, config.num_key_value_heads, config.num_hidden_layers
    names = {f"layers.{i}.{ours}.weight": (f"model.layers.{i}.{theirs}.weight", cut) for i in range(layers) for ours, (theirs, cut) in PARTS.items()}
    names |= {f"{ours}.weight": (f"{theirs}.weight", cut) for ours, (theirs, cut) in WHOLE.items()}
    parts = [{} for _ in range(shards)]
    for ours, (theirs, cut) in names.items():
        weight = weights[theirs]
        if ".wq." in ours or ".wk." in ours:
            weight = interleaved(weight, heads if ".wq." in ours else kv_heads)
        for part, piece in zip(parts, [weight] * shards if cut is None else weight.chunk(shards, cut)):
            part[ours] = piece.clone()
    for i, part in enumerate(parts):
        part["rope.freqs"] = 1 / 10000 ** (torch.arange(0, config.head_dim, 2).float() / config.head_dim)
        torch.save(part, folder / f"consolidated.{i:02d}.pth")
    params = {"dim": config.hidden_size, "multiple_of": 256, "n_heads": heads, "n_kv_heads": kv_heads, "n_layers": layers, "norm_eps": 1e-5, "vocab_size": -1} | params
    (folder / "params.json").write_text(json.dumps(params))


@pytest.mark.parametrize("shards", [1, 2, 8])
def test_meta_folder(shards, source, data, scratch, figure):
    hugging_face, config, weights = source
    write_meta(scratch, config, weights, shards)
    shutil.copy(data("llama2-tokenizer.model"), scratch / "tokenizer.model")
    own = Model(scratch)
    tensors = dict(own.tensors())
    for name, tensor in weights.items():
        wanted = tensor.float().numpy().reshape(tensors[name].shape)
        assert np.array_equal(tensors.pop(name).view(np.uint32), wanted.view(np.uint32)), name
    assert not tensors
    tokens = Tokenizer(scratch).encode(data("tinyshakespeare.txt").read_bytes()[:4000], 1)[:1000]
    worst, _, far = compare(own.logits(tokens), Transformers(hugging_face).logits(tokens))
    figure(f"{len(weights)} tensors equal bit for bit; {len(tokens)} tokens, largest difference of a logit to transformers':", worst)
    assert worst <= 1e-3 and far == 0


@pytest.mark.parametrize("dim, layers, factor", [(512, 2, 8), (2048, 16, 32)])
def test_scaled_rope(dim, layers, factor, scratch, figure):
    """use_scaled_rope of Llama 3.1 and later; the factor is not in the folder: 32 for the shapes of Llama 3.2's small models, else 8."""
    meta, hugging_face = scratch / "meta", scratch / "source"
    meta.mkdir()
    rope = {"rope_type": "llama3", "rope_theta": 5e5, "factor": float(factor), "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 8192}
    config, weights = make_source(hugging_face, spread=0.02, vocab_size=512, hidden_size=dim, num_hidden_layers=layers, num_attention_heads=dim // 64,
                                  num_key_value_heads=8, head_dim=64, intermediate_size=64, max_position_embeddings=131072, rope_parameters=rope)
    write_meta(meta, config, weights, 1, rope_theta=500000.0, use_scaled_rope=True, multiple_of=64, ffn_dim_multiplier=0.01)
    ours, theirs = Model(meta), Model(hugging_face)
    other = [name for name, _ in ours.config._fields_ if name != "init_std" and getattr(ours.config, name) != getattr(theirs.config, name)]
    assert not other and ours.config.rope_factor == factor
    tokens = np.random.default_rng(5).integers(3, 512, 1000).astype(np.int32)
    logits = ours.logits(tokens)
    assert np.array_equal(logits, theirs.logits(tokens))
    del theirs
    worst, _, far = compare(logits, Transformers(hugging_face).logits(tokens))
    figure(f"rope factor {factor}, {len(tokens)} tokens, largest difference of a logit to transformers':", worst)
    assert worst <= 1e-4 and far == 0


def test_llama3_folder(llama3_ranks, scratch, figure):
    """A folder of Llama 3 with its tokenizer.model, as it is and converted: the ids of each, and llama.cpp's of the GGUF."""
    meta, hugging_face, gguf = scratch / "meta", scratch / "converted", scratch / "converted.gguf"
    meta.mkdir()
    config, weights = make_source(scratch / "source", vocab_size=128256, hidden_size=64, num_hidden_layers=1, num_attention_heads=4, num_key_value_heads=2, head_dim=16,
                                  intermediate_size=256, max_position_embeddings=8192, rope_theta=500000.0)
    write_meta(meta, config, weights, 1, rope_theta=500000.0)
    shutil.copy(llama3_ranks, meta / "tokenizer.model")
    program("convert", "--model", meta, "--out", hugging_face)
    program("convert", "--model", meta, "--out", gguf)
    own = Tokenizer(meta)
    others = {"Hugging Face folder": Tokenizer(hugging_face).encode, "GGUF": Tokenizer(gguf).encode}
    peer = llama_cpp.Llama(str(gguf), vocab_only=True, verbose=False)
    others["llama.cpp"] = lambda line: peer.tokenize(line.encode(), add_bos=False, special=False)
    lines = [line for line in texts.lines(4000) if line and "\0" not in line]
    for name, encode in others.items():
        wrong = [line for line in lines if own.encode(line).tolist() != list(encode(line))]
        figure(len(lines), "lines,", len(wrong), "have other ids by", name)
        assert not wrong, (name, wrong[0])
    assert peer.token_bos() == 128000 and peer.token_eos() == 128001
    tokens = own.encode("The quick brown fox jumps over the lazy dog.", 1)
    assert tokens[0] == 128000
    logits = Model(meta).logits(tokens)
    assert np.array_equal(logits, Model(hugging_face).logits(tokens)) and np.array_equal(logits, Model(gguf).logits(tokens))
    peer.close()
