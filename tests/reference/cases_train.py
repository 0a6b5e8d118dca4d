"""Twenty AdamW steps of SFT, and of the reward model with each margin and with the auxiliary safety loss."""

import os

import numpy as np
import torch
import torch.nn.functional as F
from trl import RewardTrainer

import common
import float64

STEPS = 20
SCHEDULE = "update t = 0, 1, ...: t < warmup: lr (t + 1) / warmup; else x = (t - warmup) / (total - warmup), " \
           "lr (r + (1 - r) (1 + cos(pi x)) / 2) with r = min_lr_ratio"
MARGINS = {"none": (0.0, 0.0, 0.0, 0.0), "small": (1.0, 2 / 3, 1 / 3, 0.0), "large": (3.0, 2.0, 1.0, 0.0)}
RATINGS = [0, 1, 2, 3, 2, 0]
SAFE = [1, 0, 1, 1, -1, -1, 0, 0, 1, -1, 1, 0]


def make(root):
    for name, start in (("sft20", "gqa_untied"), ("sft20_tied", "gqa_tied")):
        make_sft(root, name, start)
    common.new_classifier(os.path.join(root, "reward_start"), seed=300, hidden_size=24, num_hidden_layers=2, num_attention_heads=4,
                          num_key_value_heads=2, head_dim=8, rms_norm_eps=1e-5, rope_theta=10000.0)
    for name, margin, safety_weight in (("none", "none", 0.0), ("small", "small", 0.0), ("large", "large", 0.0), ("safety", "small", 1.0)):
        make_reward(root, "reward20_" + name, margin, safety_weight)


# --- SFT ------------------------------------------------------------------------------------------------------------------


def sft_batches():
    """Three batches of unequal weight, in turn: a prompt of weight 0, then the answer."""
    random = common.rng(400)
    out = []
    for lengths, prompts in (([5, 12, 8], [2, 7, 3]), ([15, 3], [6, 1]), ([9, 6, 4, 10], [4, 2, 2, 5])):
        weights = [np.concatenate([np.zeros(p), np.ones(n - p)]) for n, p in zip(lengths, prompts)]
        out.append(common.Packed(common.random_sequences(random, lengths), weights))
    return out


def make_sft(root, name, start):
    hyper = dict(common.ADAMW, lr=5e-3, warmup_steps=2, total_steps=STEPS, min_lr_ratio=0.1)
    batches = sft_batches()
    tensors, series = {}, {"loss": [], "weight": [], "grad_norm": [], "lr": []}
    for i, batch in enumerate(batches):
        tensors.update(batch.tensors(f"batch{i}/"))
    model = common.load_causal_lm(os.path.join(root, start))
    with float64.everywhere():
        trainer = common.Trainer(model, hyper)
        for step in range(STEPS):
            loss, weight = common.weighted_loss(model, batches[step % len(batches)])
            (loss / weight).backward()
            norm, lr = trainer.update()
            for key, value in zip(series, (loss.item() / weight, weight, norm, lr)):
                series[key].append(value)
    tensors.update({key: np.asarray(values) for key, values in series.items()})
    tensors.update(common.finals(model))
    common.write_case(os.path.join(root, name), tensors, {
        "case": name, "start": start, "batches": "update t takes batch t mod 3", "schedule": SCHEDULE, "hyper": hyper})


# --- reward model ------------------------------------------------------------------------------------------------------------


def pairs():
    """Six comparisons; sequence 2i is pair i's prompt with the chosen response, 2i + 1 with the rejected one."""
    random = common.rng(401)
    sequences = []
    for prompt, chosen, rejected in ((4, 6, 3), (2, 1, 9), (7, 5, 5), (3, 8, 2), (5, 2, 7), (1, 4, 10)):
        head = common.random_sequences(random, [prompt])[0]
        for length in (chosen, rejected):
            sequences.append(np.concatenate([head, random.randint(3, common.PAD, length - 1), [common.EOS]]))
    return common.Packed(sequences)


def pad(sequences):
    longest = max(len(s) for s in sequences)
    tokens = torch.full((len(sequences), longest), common.PAD)
    for row, sequence in zip(tokens, sequences):
        row[:len(sequence)] = torch.from_numpy(sequence)
    return tokens, (tokens != common.PAD).to(torch.int64)


def reward_loss(model, batch, margins, safe, safety_weight):
    """(total, ranking, safety, chosen, rejected). The ranking loss and the scores come from TRL's RewardTrainer."""
    chosen_ids, chosen_mask = pad(batch.sequences[0::2])
    rejected_ids, rejected_mask = pad(batch.sequences[1::2])
    # Margins are (pairs, 1) like the scores: TRL's own collator makes them (pairs), which broadcasts to (pairs, pairs).
    inputs = {"input_ids_chosen": chosen_ids, "attention_mask_chosen": chosen_mask, "input_ids_rejected": rejected_ids,
              "attention_mask_rejected": rejected_mask, "margin": margins[:, None]}
    trainer = common.namespace(use_reward_data_collator=True, args=common.namespace(center_rewards_coefficient=None))
    ranking, outputs = RewardTrainer.compute_loss(trainer, model, inputs, return_outputs=True)
    chosen, rejected = outputs["rewards_chosen"][:, 0], outputs["rewards_rejected"][:, 0]
    scores = torch.stack([chosen, rejected], dim=1).reshape(-1)
    labelled = safe >= 0
    safety = F.binary_cross_entropy_with_logits(scores[labelled], safe[labelled].to(torch.float64))
    return ranking + safety_weight * safety if safety_weight else ranking, ranking, safety, chosen, rejected


def make_reward(root, name, margin, safety_weight):
    hyper = dict(common.ADAMW, lr=8e-4, warmup_steps=5, total_steps=STEPS, min_lr_ratio=0.1, safety_weight=safety_weight)
    batch = pairs()
    margins = torch.tensor([MARGINS[margin][r] for r in RATINGS], dtype=torch.float64)
    margins = margins.numpy().astype(np.float32)  # what a host passes; the reference takes the same numbers
    safe = np.asarray(SAFE, dtype=np.int32)
    tensors = batch.tensors()
    tensors.update({"ratings": np.asarray(RATINGS, dtype=np.int32), "margins": margins, "safe": safe})
    series = {key: [] for key in ("loss", "ranking_loss", "safety_loss", "accuracy", "mean_margin", "grad_norm", "lr")}
    scores = []
    model = common.load_classifier(os.path.join(root, "reward_start"))
    with float64.everywhere():
        check_scores(model, batch)
        trainer = common.Trainer(model, hyper)
        m64 = torch.from_numpy(margins.astype(np.float64))
        for step in range(STEPS):
            total, ranking, safety, chosen, rejected = reward_loss(model, batch, m64, torch.from_numpy(safe), safety_weight)
            total.backward()
            if step == 0 and safety_weight:
                tensors.update(common.gradients(model, dtype=np.float32))
            norm, lr = trainer.update()
            gap = (chosen - rejected).detach()
            accuracy = ((gap > 0).double() + 0.5 * (gap == 0).double()).mean()
            for key, value in zip(series, (total, ranking, safety if safety_weight else 0.0, accuracy, gap.mean(), norm, lr)):
                series[key].append(value.item() if isinstance(value, torch.Tensor) else value)
            scores.append(torch.stack([chosen, rejected], dim=1).reshape(-1).detach().numpy())
    tensors.update({key: np.asarray(values) for key, values in series.items()})
    tensors["scores"] = np.stack(scores)
    tensors.update(common.finals(model))
    common.write_case(os.path.join(root, name), tensors, {
        "case": name, "start": "reward_start", "margin": margin,
        "loss": "mean over pairs of -log sigmoid(chosen - rejected - margin) + safety_weight * mean over responses with a label of "
                "binary_cross_entropy_with_logits(score, safe)",
        "schedule": SCHEDULE, "hyper": hyper})


def check_scores(model, batch):
    """Padding and pooling of the padded batch give the scores of each sequence alone."""
    with torch.no_grad():
        tokens, mask = pad(batch.sequences)
        padded = model(input_ids=tokens, attention_mask=mask).logits[:, 0]
        alone = torch.cat([model(input_ids=common.ids(s)).logits[0] for s in batch.sequences])
    if (padded - alone).abs().max() > 1e-12:
        raise RuntimeError("padding changes scores")
