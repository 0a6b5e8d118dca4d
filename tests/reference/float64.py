"""transformers' Llama in float64 throughout.

transformers computes some steps of a float64 model in float32: the square mean of RMSNorm, the softmax of attention, the
rotary table and the logits of the loss. Inside `everywhere()` these names mean float64, and any operation that still
gives a float32 tensor is an error.
"""

import contextlib
import types

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from transformers import modeling_rope_utils
from transformers.models.llama import modeling_llama


class _NoFloat32(TorchDispatchMode):
    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(out):
            # Single numbers pass: AdamW counts its steps in a float32, exactly.
            if isinstance(leaf, torch.Tensor) and leaf.ndim > 0 and leaf.dtype in (torch.float32, torch.bfloat16, torch.float16):
                raise RuntimeError(f"{func} gave a tensor of {leaf.dtype}")
        return out


class _Torch64(types.ModuleType):
    """torch as modeling_llama sees it, where float32 is float64."""

    float32 = torch.float64
    float = torch.float64

    def __getattr__(self, name):
        return getattr(torch, name)


@contextlib.contextmanager
def everywhere():
    single, name = torch.Tensor.float, modeling_llama.torch
    torch.Tensor.float = torch.Tensor.double
    modeling_llama.torch = _Torch64("torch")
    try:
        with _NoFloat32():
            yield
    finally:
        torch.Tensor.float = single
        modeling_llama.torch = name


def frequencies(config, rope_type):
    """Of rotary positions, by transformers' own function where they are scaled."""
    if rope_type == "default":
        return config.rope_parameters["rope_theta"] ** -(torch.arange(0, config.head_dim, 2, dtype=torch.float64) / config.head_dim)
    name = modeling_rope_utils.torch
    modeling_rope_utils.torch = _Torch64("torch")
    try:
        return modeling_rope_utils.ROPE_INIT_FUNCTIONS[rope_type](config, None)[0]
    finally:
        modeling_rope_utils.torch = name


def load(kind, folder):
    """A model of transformers (`kind` is its class) from `folder`, in float64, eager attention."""
    model = kind.from_pretrained(folder, dtype=torch.float64, attn_implementation="eager")
    rope = model.model.rotary_emb
    rope.inv_freq = frequencies(model.config, rope.rope_type)
    rope.original_inv_freq = rope.inv_freq.clone()
    if rope.attention_scaling != 1.0:
        raise RuntimeError("a rotary embedding that scales attention")
    for name, tensor in list(model.named_parameters()) + list(model.named_buffers()):
        if tensor.is_floating_point() and tensor.dtype != torch.float64:
            raise RuntimeError(f"{name} is {tensor.dtype}")
    return model.eval()
