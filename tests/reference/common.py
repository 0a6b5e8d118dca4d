"""What the cases share: random numbers, model folders, packed batches, the optimizer and its schedule."""

import json
import math
import os
import types

import numpy as np
import torch
from safetensors.numpy import save_file
from transformers import LlamaConfig, LlamaForCausalLM, LlamaForSequenceClassification

import float64

VOCAB = 61
BOS, EOS, PAD = 1, 2, 60


def rng(seed):
    """numpy's legacy generator: its stream is frozen, unlike that of torch."""
    return np.random.RandomState(seed)


def config(**shape):
    rope = {"rope_theta": shape.pop("rope_theta"), **shape.pop("rope", {"rope_type": "default"})}
    return LlamaConfig(vocab_size=VOCAB, intermediate_size=40, max_position_embeddings=64, bos_token_id=BOS, eos_token_id=EOS,
                       rope_parameters=rope, attention_bias=False, mlp_bias=False,
                       **shape)


def randomise(model, seed, std, head_std=None):
    """N(0, std) in every matrix, 1 + N(0, 0.2) in every gain: large enough that nothing is nearly linear."""
    random = rng(seed)
    with torch.no_grad():
        for name, tensor in sorted(model.named_parameters()):
            values = random.standard_normal(tensor.shape)
            if tensor.ndim == 1:
                values = 1 + 0.2 * values
            else:
                values *= head_std if head_std and name == "score.weight" else std
            tensor.copy_(torch.from_numpy(values.astype(np.float32)))


def save_folder(model, folder, old_rope=False):
    """`old_rope`: rope_theta at the top level, as transformers wrote it before version 5; "type" as before 4.43."""
    model.save_pretrained(folder)
    extra = os.path.join(folder, "generation_config.json")
    if os.path.exists(extra):
        os.remove(extra)
    if old_rope:
        path = os.path.join(folder, "config.json")
        with open(path) as file:
            entries = json.load(file)
        rope = entries.pop("rope_parameters")
        entries["rope_theta"] = rope.pop("rope_theta")
        entries["rope_scaling"] = None if rope["rope_type"] == "default" else {"type": rope.pop("rope_type"), **rope}
        with open(path, "w") as file:
            file.write(json.dumps(dict(sorted(entries.items())), indent=2) + "\n")


def new_causal_lm(folder, seed, std=0.3, old_rope=False, **shape):
    model = LlamaForCausalLM(config(**shape)).float()
    randomise(model, seed, std)
    save_folder(model, folder, old_rope)


def new_classifier(folder, seed, std=0.3, head_std=0.3, **shape):
    model = LlamaForSequenceClassification(config(num_labels=1, pad_token_id=PAD, tie_word_embeddings=False, **shape)).float()
    randomise(model, seed, std, head_std)
    save_folder(model, folder)


def load_causal_lm(folder):
    return float64.load(LlamaForCausalLM, folder)


def load_classifier(folder):
    return float64.load(LlamaForSequenceClassification, folder)


class Packed:
    """Sequences one after the other, as in llama2_batch; weight[t] belongs to the target tokens[t]."""

    def __init__(self, sequences, weights=None):
        self.sequences = [np.asarray(s, dtype=np.int32) for s in sequences]
        self.weights = None if weights is None else [np.asarray(w, dtype=np.float32) for w in weights]

    def offsets(self):
        return np.concatenate([[0], np.cumsum([len(s) for s in self.sequences])]).astype(np.int64)

    def tensors(self, prefix=""):
        out = {prefix + "tokens": np.concatenate(self.sequences), prefix + "offsets": self.offsets()}
        if self.weights is not None:
            out[prefix + "loss_weight"] = np.concatenate(self.weights)
        return out


def random_sequences(random, lengths):
    """BOS, then any token but the specials and PAD."""
    return [np.concatenate([[BOS], random.randint(3, PAD, n - 1)]) for n in lengths]


def random_weights(random, lengths, values=(0.0, 1.0, 1.0, 0.5, 0.25, 0.7)):
    """The first token of a sequence has no prediction, so its weight must not matter: it is 1 here."""
    return [np.concatenate([[1.0], random.choice(np.asarray(values), n - 1)]) for n in lengths]


def ids(sequence):
    return torch.as_tensor(np.asarray(sequence), dtype=torch.int64)[None]


def weighted_loss(model, batch):
    """(sum of weight * -log p, sum of weights), by transformers' own loss: a sum over the targets of each distinct weight."""
    total, weight = 0.0, 0.0
    for tokens, weights in zip(batch.sequences, batch.weights):
        w = torch.from_numpy(weights.astype(np.float64))
        w[0] = 0
        logits = model(input_ids=ids(tokens)).logits
        for value in sorted(set(w.tolist()) - {0.0}):
            labels = torch.where(w == value, ids(tokens)[0], torch.tensor(-100))[None]
            total = total + value * model.loss_function(logits=logits, labels=labels, vocab_size=VOCAB, num_items_in_batch=1)
        weight += w.sum().item()
    return total, weight


def parameters(model):
    """By name; a tied head has no entry of its own."""
    return {name: tensor for name, tensor in model.named_parameters()}


def gradients(model, prefix="grad/", dtype=np.float64):
    return {prefix + n: p.grad.numpy().astype(dtype).copy() for n, p in parameters(model).items()}


def finals(model, prefix="final/"):
    return {prefix + n: p.detach().numpy().astype(np.float32).copy() for n, p in parameters(model).items()}


def schedule(step, peak, warmup, total, min_ratio):
    """Learning rate of update step = 0, 1, ...; total None: constant after the warm-up."""
    if step < warmup:
        return peak * (step + 1) / warmup
    if total is None:
        return peak
    x = min(1.0, (step - warmup) / (total - warmup))
    return peak * (min_ratio + (1 - min_ratio) * 0.5 * (1 + math.cos(math.pi * x)))


class Trainer:
    """torch's AdamW and clip_grad_norm_; weight decay on what has two dimensions, none on the gains of norms."""

    def __init__(self, model, hyper):
        matrices = [p for p in model.parameters() if p.ndim == 2]
        gains = [p for p in model.parameters() if p.ndim == 1]
        self.model, self.hyper, self.step = model, hyper, 0
        self.adamw = torch.optim.AdamW(
            [{"params": matrices, "weight_decay": hyper["weight_decay"]}, {"params": gains, "weight_decay": 0.0}],
            lr=hyper["lr"], betas=(hyper["beta1"], hyper["beta2"]), eps=hyper["eps"], foreach=False)

    def update(self):
        """(norm of the gradient before clipping, learning rate)"""
        h = self.hyper
        norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), h["clip_norm"], foreach=False).item()
        lr = schedule(self.step, h["lr"], h["warmup_steps"], h.get("total_steps"), h.get("min_lr_ratio"))
        for group in self.adamw.param_groups:
            group["lr"] = lr
        self.adamw.step()
        self.adamw.zero_grad()
        self.step += 1
        return norm, lr


ADAMW = {"beta1": 0.9, "beta2": 0.95, "eps": 1e-5, "weight_decay": 0.1, "clip_norm": 1.0}


def namespace(**entries):
    """Stands for the `self` of a TRL trainer, whose methods are called without the data loop around them."""
    return types.SimpleNamespace(**entries)


def to_numpy(value):
    if isinstance(value, torch.Tensor):
        value = value.detach().numpy()
    array = np.asarray(value)
    if array.ndim == 0:
        array = array.reshape(1)
    return np.ascontiguousarray(array)


def write_case(folder, tensors, description):
    """expected.safetensors, and case.json with the numbers that a reader wants and a test takes from `hyper/` tensors."""
    os.makedirs(folder, exist_ok=True)
    out = {name: to_numpy(value) for name, value in tensors.items()}
    for name, value in description.get("hyper", {}).items():
        out["hyper/" + name] = np.asarray([value], dtype=np.float64)
    save_file(out, os.path.join(folder, "expected.safetensors"))
    with open(os.path.join(folder, "case.json"), "w") as file:
        file.write(json.dumps(description, indent=2) + "\n")
