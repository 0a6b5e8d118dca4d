"""One PPO iteration from recorded rollouts: rewards, advantages, losses and updates by TRL's PPOTrainer."""

import functools
import os

import numpy as np
import torch
from trl import PPOTrainer
from trl.core import logprobs_from_logits, masked_whiten
from trl.trainer.utils import get_reward

import common
import float64

TEMPERATURE = 0.9
PROMPTS = [4, 4, 7, 7]
RESPONSES = [6, 3, 8, 5]
ENDED = [1, 0, 1, 1]
SCORES = [0.8, -1.3, 0.4, 1.7]
MINIBATCH = 2
CASES = {
    # Recorded by the policy itself: the first minibatch has a ratio of 1.
    "ppo1_on": dict(gamma=1.0, epochs=1, old="policy"),
    # Recorded by a perturbed copy, values too: ratios and values leave their clipping ranges.
    "ppo1_off": dict(gamma=0.97, epochs=2, old="other"),
}


def make(root):
    start = common.LlamaForCausalLM.from_pretrained(os.path.join(root, "gqa_tied"))
    perturb(start, 0.05, 502)
    common.save_folder(start, os.path.join(root, "ppo_reference"))
    for name, case in CASES.items():
        make_case(root, name, **case)


def perturb(model, std, seed):
    random = common.rng(seed)
    with torch.no_grad():
        for _, tensor in sorted(model.named_parameters()):
            tensor.add_(torch.from_numpy(std * random.standard_normal(tensor.shape)).to(tensor.dtype))


def sequences():
    random = common.rng(500)
    prompts = common.random_sequences(random, [PROMPTS[0], PROMPTS[2]])
    out = []
    for i, (length, ended) in enumerate(zip(RESPONSES, ENDED)):
        response = random.randint(3, common.PAD, length)
        if ended:
            response[-1] = common.EOS
        out.append(np.concatenate([prompts[i // 2], response]))
    return common.Packed(out)


# --- (samples, longest response) matrices, as TRL has them ---------------------------------------------------------------------


def padded(rows):
    out = torch.zeros(len(rows), max(RESPONSES), dtype=torch.float64)
    return torch.stack([torch.cat([row, o[len(row):]]) for row, o in zip(rows, out)])


def mask():
    return padded([torch.ones(n, dtype=torch.float64) for n in RESPONSES])


def logits_of(model, batch, chosen):
    """At the positions that predict response tokens, divided by the temperature: (samples, longest response, V)."""
    rows = []
    for s in chosen:
        logits = model(input_ids=common.ids(batch.sequences[s])).logits[0, PROMPTS[s] - 1:-1] / TEMPERATURE
        rows.append(torch.nn.functional.pad(logits, (0, 0, 0, max(RESPONSES) - len(logits))))
    return torch.stack(rows)


def responses(batch, chosen):
    rows = [torch.from_numpy(batch.sequences[s][PROMPTS[s]:].astype(np.int64)) for s in chosen]
    return torch.stack([torch.nn.functional.pad(r, (0, max(RESPONSES) - len(r))) for r in rows])


def logprobs_of(model, batch, chosen):
    logits = logits_of(model, batch, chosen)
    return logprobs_from_logits(logits, responses(batch, chosen)) * mask()[chosen], logits


def values_of(critic, batch, chosen):
    """V(s_t) of response token t: the head at the position of the token before it, by TRL's get_reward."""
    rows = []
    for s in chosen:
        everywhere, _, _ = get_reward(critic, common.ids(batch.sequences[s]), common.PAD, PROMPTS[s])
        rows.append(everywhere[0, PROMPTS[s] - 1:-1, 0])
    return padded(rows)


def packed(matrix, batch):
    """A matrix of responses as a packed array over all tokens, 0 on the prompts."""
    out = np.zeros(int(batch.offsets()[-1]))
    for s, at in enumerate(batch.offsets()[:-1]):
        first = at + PROMPTS[s]
        out[first:first + RESPONSES[s]] = matrix[s, :RESPONSES[s]].detach().numpy()
    return out


# --- the iteration ------------------------------------------------------------------------------------------------------------------


def trl(hyper, **changes):
    """The `self` that PPOTrainer's methods want."""
    h = dict(hyper, **changes)
    settings = common.namespace(gamma=h["gamma"], lam=h["lambda"], cliprange=h["clip"], cliprange_value=h["value_clip"], vf_coef=1.0,
                                whiten_rewards=False, kl_penalty=h.get("kl_penalty", "kl"), ratio_threshold=1e9)
    trainer = common.namespace(config=settings, kl_ctl=common.namespace(value=h["beta"]), whiten_rewards=h.get("whiten_rewards", False))
    trainer._kl_penalty = functools.partial(PPOTrainer._kl_penalty, trainer)
    return trainer


def advantages_of(trainer, recorded):
    scores, logprobs, ref_logprobs, values = recorded
    rewards, non_score, kl = PPOTrainer.compute_rewards(trainer, scores, logprobs, ref_logprobs, mask())
    if trainer.whiten_rewards:
        # As PPOv2Trainer does it. PPOTrainer's own switch leaves whitened padding behind the end, which leaks into the advantages.
        rewards = masked_whiten(rewards, mask(), shift_mean=False) * mask()
    _, advantages, returns = PPOTrainer.compute_advantages(trainer, values, rewards, mask())
    return rewards, non_score, kl, advantages * mask(), returns * mask()


def make_case(root, name, gamma, epochs, old):
    hyper = dict(common.ADAMW, lr=2e-3, warmup_steps=0, value_lr=4e-3, temperature=TEMPERATURE, minibatch=MINIBATCH, beta=0.1,
                 gamma=gamma, clip=0.2, value_clip=0.2, epochs=epochs)
    hyper["lambda"] = 0.95
    batch = sequences()
    every = list(range(len(RESPONSES)))
    policy = common.load_causal_lm(os.path.join(root, "gqa_tied"))
    reference = common.load_causal_lm(os.path.join(root, "ppo_reference"))
    critic = common.load_classifier(os.path.join(root, "reward_start"))

    recorder, old_critic = policy, critic
    if old == "other":
        recorder = common.load_causal_lm(os.path.join(root, "gqa_tied"))
        old_critic = common.load_classifier(os.path.join(root, "reward_start"))
        perturb(recorder, 0.02, 503)
        perturb(old_critic, 0.02, 504)
    with torch.no_grad(), float64.everywhere():
        logprobs, logits = logprobs_of(recorder, batch, every)
        ref_logprobs, _ = logprobs_of(reference, batch, every)
        values = values_of(old_critic, batch, every)
        # What is recorded is float32, as a host sets it; everything from here on starts from these numbers.
        scores = torch.tensor(np.asarray(SCORES, dtype=np.float32).astype(np.float64))
        logprobs, ref_logprobs, values = (round32(x) for x in (logprobs, ref_logprobs, values))
        recorded = (scores, logprobs, ref_logprobs, values)
        rewards, non_score, kl, advantages, returns = advantages_of(trl(hyper), recorded)

    tensors = batch.tensors()
    tensors.update({
        "prompt_lengths": np.asarray(PROMPTS, dtype=np.int32), "ended": np.asarray(ENDED, dtype=np.int32),
        "scores": scores.numpy().astype(np.float32),
        "logprobs": packed(logprobs, batch).astype(np.float32), "ref_logprobs": packed(ref_logprobs, batch).astype(np.float32),
        "values": packed(values, batch).astype(np.float32),
        "rewards": packed(rewards, batch), "advantages": packed(advantages, batch), "returns": packed(returns, batch),
        "raw_advantages": packed(returns - values, batch),
        "objective/kl": kl.sum(1).mean(), "objective/entropy": -(logprobs.sum(1).mean()),
        "objective/non_score_reward": non_score.sum(1).mean(), "objective/scores": scores.mean(),
        "objective/rlhf_reward": (non_score.sum(1) + scores).mean(),
    })
    if name == "ppo1_on":
        tensors.update(variants(hyper, recorded, batch))

    # Rounded once more: llama2_rollouts_set takes float32, and a test of the update alone starts from these.
    advantages, returns = round32(advantages), round32(returns)
    with float64.everywhere():
        tensors.update(update(policy, critic, hyper, batch, (logprobs, values, advantages, returns)))
    common.write_case(os.path.join(root, name), tensors, {
        "case": name, "policy": "gqa_tied", "reference": "ppo_reference", "critic": "reward_start",
        "minibatches": "samples 0 1, then 2 3; the same in each epoch", "hyper": hyper})


def round32(x):
    return torch.from_numpy(x.numpy().astype(np.float32).astype(np.float64))


def variants(hyper, recorded, batch):
    """Advantages and returns under other settings, from the same recorded numbers."""
    out = {}
    for label, changes in (("gamma097", {"gamma": 0.97}), ("lambda0", {"lambda": 0.0}), ("lambda1", {"lambda": 1.0}),
                           ("whiten_rewards", {"whiten_rewards": True}), ("k2", {"kl_penalty": "mse"})):
        _, _, _, advantages, returns = advantages_of(trl(hyper, **changes), recorded)
        out[f"variant/{label}/advantages"] = packed(advantages, batch)
        out[f"variant/{label}/returns"] = packed(returns, batch)
    return out


def update(policy, critic, hyper, batch, recorded):
    """A gradient step on each model a minibatch; statistics are those of TRL before the step."""
    trainers = [common.Trainer(policy, hyper), common.Trainer(critic, dict(hyper, lr=hyper["value_lr"]))]
    names = {"policy_loss": "loss/policy", "value_loss": "loss/value", "approx_kl": "policy/approxkl", "clip_fraction": "policy/clipfrac",
             "value_clip_fraction": "val/clipfrac", "policy_entropy": "policy/entropy"}
    out = {"update/" + key: [] for key in [*names, "ratio", "tokens", "policy_grad_norm", "value_grad_norm"]}
    for step in range(int(hyper["epochs"]) * len(RESPONSES) // MINIBATCH):
        first = step * MINIBATCH % len(RESPONSES)
        chosen = list(range(first, first + MINIBATCH))
        old_logprobs, old_values, advantages, returns = (x[chosen] for x in recorded)
        m = mask()[chosen]
        logprobs, logits = logprobs_of(policy, batch, chosen)
        values = values_of(critic, batch, chosen) * m
        policy_loss, value_loss, stats = PPOTrainer.loss(trl(hyper), old_logprobs, old_values, logits, values, logprobs, m, advantages, returns)
        (policy_loss + value_loss).backward()
        if step == 0 and hyper["epochs"] > 1:
            for prefix, model in (("policy", policy), ("critic", critic)):
                out.update(common.gradients(model, f"{prefix}_grad/", np.float32))
        norms = [trainer.update()[0] for trainer in trainers]
        for key, theirs in names.items():
            out["update/" + key].append(float(stats[theirs]))
        out["update/ratio"].append(float((stats["policy/ratio"] * m).sum() / m.sum()))
        out["update/tokens"].append(m.sum().item())
        for key, norm in zip(("policy_grad_norm", "value_grad_norm"), norms):
            out["update/" + key].append(norm)
    out.update(common.finals(policy, "policy_final/"))
    out.update(common.finals(critic, "critic_final/"))
    return out
