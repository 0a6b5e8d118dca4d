"""The numbers of every quantised type that is read, bit for bit those of the `gguf` package."""
import sys

import numpy as np
import pytest
from gguf import GGMLQuantizationType, dequantize, quantize
from gguf.constants import GGML_QUANT_SIZES

import host
from host import Model

sys.path.insert(0, str(host.ROOT / "tests/reference"))
from make_gguf_goldens import SCALES, TYPES, gguf_name, interleaved, write_model  # noqa: E402

# Two models: the rows of one are multiples of 256, those of the other of 32 only.
SHAPES = {256: dict(dim=256, ffn=768, heads=4, kv_heads=2, head_dim=64, vocab=300), 32: dict(dim=96, ffn=160, heads=3, kv_heads=1, head_dim=32, vocab=131)}
QUANTISED_BY_PEER = ["F32", "F16", "BF16", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0"]


def random_weights(rng, dim, ffn, heads, kv_heads, head_dim, vocab):
    layer = {"self_attn.q_proj": (heads * head_dim, dim), "self_attn.k_proj": (kv_heads * head_dim, dim), "self_attn.v_proj": (kv_heads * head_dim, dim),
             "self_attn.o_proj": (dim, heads * head_dim), "mlp.gate_proj": (ffn, dim), "mlp.up_proj": (ffn, dim), "mlp.down_proj": (dim, ffn),
             "input_layernorm": (dim,), "post_attention_layernorm": (dim,)}
    shapes = {f"model.layers.{i}.{name}.weight": shape for i in range(2) for name, shape in layer.items()}
    shapes |= {"model.embed_tokens.weight": (vocab, dim), "model.norm.weight": (dim,), "lm_head.weight": (vocab, dim)}
    return {name: rng.normal(0, 0.3, shape).astype(np.float32) for name, shape in shapes.items()}


def random_blocks(rng, name, rows, columns):
    """(rows, bytes of a row) of random blocks with finite scales."""
    elements, size = GGML_QUANT_SIZES[GGMLQuantizationType[name]]
    raw = rng.randint(0, 256, (rows, columns // elements, size)).astype(np.uint8)
    for at in SCALES[name]:
        raw[..., at:at + 2] = rng.normal(0, 0.1, raw.shape[:2]).astype(np.float16)[..., None].view(np.uint8)
    return raw.reshape(rows, -1)


CASES = [(name, multiple, made) for name in TYPES for multiple in SHAPES for made in ("quantised", "random")
         if multiple % GGML_QUANT_SIZES[GGMLQuantizationType[name]][0] == 0 and (name in QUANTISED_BY_PEER if made == "quantised" else name in SCALES)]


@pytest.mark.parametrize("name, multiple, made", CASES)
def test_numbers_are_those_of_gguf(name, multiple, made, tmp_path, figure):
    rng, shape, dtype, expected = np.random.RandomState(multiple), SHAPES[multiple], GGMLQuantizationType[name], {}
    weights = random_weights(rng, **shape)

    def stored(tensor, weight):
        if weight.ndim == 1:
            expected[tensor] = weight
            return weight, None
        raw = quantize(weight, dtype) if made == "quantised" else random_blocks(rng, name, *weight.shape)
        expected[tensor] = dequantize(raw, dtype)
        return raw, dtype

    path = tmp_path / "model.gguf"
    write_model(path, name, weights, theta=1e4, eps=1e-5, stored=stored, **{key: shape[key] for key in ("heads", "kv_heads", "head_dim")})
    count = 0
    for key, values in Model(path).tensors():
        heads = {"q_proj": shape["heads"], "k_proj": shape["kv_heads"]}.get(key.split(".")[-2])
        found = interleaved(values, heads) if heads else values
        wanted = np.ascontiguousarray(expected.pop(gguf_name(key)), np.float32).reshape(found.shape)
        assert np.array_equal(found.view(np.uint32), wanted.view(np.uint32)), key
        count += found.size
    assert not expected
    figure(count, "numbers equal")
