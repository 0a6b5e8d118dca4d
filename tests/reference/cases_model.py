"""Forward, loss and all gradients of small models: every combination of heads and tying."""

import os

import numpy as np
import torch
from trl.core import entropy_from_logits, logprobs_from_logits

import common
import float64

SHAPES = {
    "mha_untied": dict(hidden_size=24, num_hidden_layers=2, num_attention_heads=3, num_key_value_heads=3, head_dim=8, rms_norm_eps=1e-5,
                       rope_theta=10000.0, tie_word_embeddings=False),
    "gqa_untied": dict(hidden_size=24, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2, head_dim=8, rms_norm_eps=1e-6,
                       rope_theta=500000.0, tie_word_embeddings=False),
    "gqa_tied": dict(hidden_size=20, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2, head_dim=10, rms_norm_eps=1e-5,
                     rope_theta=100.0, tie_word_embeddings=True),
    "mqa_tied": dict(hidden_size=30, num_hidden_layers=1, num_attention_heads=3, num_key_value_heads=1, head_dim=16, rms_norm_eps=1e-5,
                     rope_theta=10000.0, tie_word_embeddings=True),
}
# Scaled rotary positions, beyond the context of the pretraining: forward only.
SCALED = {
    "rope_linear": {"rope_type": "linear", "factor": 2.5},
    "rope_llama3": {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
                    "original_max_position_embeddings": 32},
}
SMALL = dict(hidden_size=16, num_hidden_layers=1, num_attention_heads=2, num_key_value_heads=1, head_dim=16, rms_norm_eps=1e-5,
             rope_theta=300.0, tie_word_embeddings=True)
LENGTHS = [1, 3, 17, 9]
TEMPERATURE = 0.7


def make(root):
    for seed, (name, shape) in enumerate(SHAPES.items()):
        folder = os.path.join(root, name)
        common.new_causal_lm(folder, seed=100 + seed, old_rope=name in ("mha_untied", "mqa_tied"), **shape)
        random = common.rng(200 + seed)
        batch = common.Packed(common.random_sequences(random, LENGTHS), common.random_weights(random, LENGTHS))
        model = common.load_causal_lm(folder)
        with float64.everywhere():
            tensors = expected(model, batch)
        common.write_case(folder, tensors, {"case": name, "hyper": {"temperature": TEMPERATURE}})
    for seed, (name, rope) in enumerate(SCALED.items()):
        folder = os.path.join(root, name)
        common.new_causal_lm(folder, seed=110 + seed, old_rope=name == "rope_linear", rope=rope, **SMALL)
        batch = common.Packed(common.random_sequences(common.rng(210 + seed), [60, 2]))
        model = common.load_causal_lm(folder)
        with float64.everywhere(), torch.no_grad():
            logits = torch.cat([model(input_ids=common.ids(tokens)).logits[0] for tokens in batch.sequences])
        common.write_case(folder, {**batch.tensors(), "logits": logits}, {"case": name, "rope": rope})


def expected(model, batch):
    out = batch.tensors()
    out.update(forward(model, batch))
    check_weighted_loss(model, batch)

    loss, weight = common.weighted_loss(model, batch)
    loss.backward()
    out["loss_sum"], out["loss_weight_sum"] = loss, weight
    out.update(common.gradients(model))
    model.zero_grad()
    out.update(host_gradients(model, batch))
    return out


def forward(model, batch):
    rows = {name: [] for name in ("logits", "hidden", "logprobs", "entropies", "logprobs_t", "entropies_t")}
    with torch.no_grad():
        for tokens in batch.sequences:
            input_ids = common.ids(tokens)
            logits = model(input_ids=input_ids).logits
            rows["logits"].append(logits[0])
            rows["hidden"].append(model.model(input_ids=input_ids).last_hidden_state[0])
            for suffix, temperature in (("", 1.0), ("_t", TEMPERATURE)):
                scaled, first = logits[:, :-1] / temperature, torch.zeros(1, dtype=torch.float64)
                rows["logprobs" + suffix].append(torch.cat([first, logprobs_from_logits(scaled, input_ids[:, 1:])[0]]))
                rows["entropies" + suffix].append(torch.cat([first, entropy_from_logits(scaled)[0]]))
    return {name: torch.cat(parts) for name, parts in rows.items()}


def check_weighted_loss(model, batch):
    """With weights 0 and 1 the weighted loss is transformers' own loss on labels, -100 where the weight is 0."""
    with torch.no_grad():
        binary = common.Packed(batch.sequences, [(w > 0).astype(np.float32) for w in batch.weights])
        own, theirs = 0.0, 0.0
        for tokens, weights in zip(binary.sequences, binary.weights):
            if len(tokens) == 1:
                continue
            labels = torch.where(torch.from_numpy(weights > 0), common.ids(tokens), -100)
            theirs += model(input_ids=common.ids(tokens), labels=labels, num_items_in_batch=1).loss.item()
        own = float(common.weighted_loss(model, binary)[0])
    if abs(own - theirs) > 1e-12 * theirs:
        raise RuntimeError(f"weighted loss {own}, transformers' {theirs}")


def host_gradients(model, batch):
    """Backward from derivatives that a host supplies: of the log-probabilities at the temperature, and of the logits."""
    random = common.rng(17)
    n = int(batch.offsets()[-1])
    by_logprob = random.standard_normal(n).astype(np.float32)
    by_logits = random.standard_normal((n, common.VOCAB)).astype(np.float32)
    out = {"host/by_logprob": by_logprob, "host/by_logits": by_logits}

    total, at = 0.0, 0
    for tokens in batch.sequences:
        logits = model(input_ids=common.ids(tokens)).logits[:, :-1] / TEMPERATURE
        factor = torch.from_numpy(by_logprob[at + 1:at + len(tokens)].astype(np.float64))
        total = total + (factor * logprobs_from_logits(logits, common.ids(tokens)[:, 1:])[0]).sum()
        at += len(tokens)
    total.backward()
    out.update(three(model, "host/grad_by_logprob/"))
    model.zero_grad()

    total, at = 0.0, 0
    for tokens in batch.sequences:
        factor = torch.from_numpy(by_logits[at:at + len(tokens)].astype(np.float64))
        total = total + (factor * model(input_ids=common.ids(tokens)).logits[0]).sum()
        at += len(tokens)
    total.backward()
    out.update(three(model, "host/grad_by_logits/"))
    model.zero_grad()
    return out


def three(model, prefix):
    """A matrix of the first layer, the embedding and the last norm: enough for a path whose rest the other gradients check."""
    names = ("model.embed_tokens.weight", "model.layers.0.self_attn.k_proj.weight", "model.norm.weight")
    return {name: value for name, value in common.gradients(model, prefix, np.float32).items() if name[len(prefix):] in names}
