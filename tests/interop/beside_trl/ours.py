"""libllama2's side: python ours.py ppo SEED OUT, or python ours.py reward KIND OUT; and python ours.py measure WHO SEED OUT for the policies of either side (JSON Lines)."""
import ctypes
import shutil
import sys
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))
import host  # noqa: E402
import task  # noqa: E402
from host import Model, lib, llama2, new, pointer  # noqa: E402


def trainer_for(ctx, model, reward_model, lr, betas, eps, weight_decay, clip_norm):
    adamw, trainer = llama2.handle(llama2.llama2_optimizer), llama2.handle(llama2.llama2_trainer)
    lib.llama2_optimizer_create(ctx, new(llama2.llama2_optimizer_options, lr=lr, beta1=betas[0], beta2=betas[1], eps=eps, weight_decay=weight_decay), adamw)
    options = new(llama2.llama2_trainer_options, clip_norm=clip_norm)
    if model:
        lib.llama2_trainer_create(ctx, model, adamw, options, trainer)
    else:
        lib.llama2_trainer_create_for_reward(ctx, reward_model, adamw, options, trainer)
    return trainer


def reward_model_of(model, head):
    reward_model = llama2.handle(llama2.llama2_reward_model)
    lib.llama2_reward_model_create(model.ctx, model.handle, new(llama2.llama2_reward_options, head=head), reward_model)
    return reward_model


def sample(policy, prompts, seed, first, samples=1):
    """Rollouts of llama2_rollout, and the reward of each."""
    rollouts, view = llama2.handle(llama2.llama2_rollouts), new(llama2.llama2_rollouts_view)
    sampling = new(llama2.llama2_rollout_options, max_new_tokens=task.PPO["response"], samples_per_prompt=samples, seed=seed, first_sample_id=first)
    lib.llama2_rollout(policy.handle, policy.batch(*prompts), sampling, rollouts)
    lib.llama2_rollouts_view_get(rollouts, view)
    return rollouts, np.cumprod(1 - task.line_breaks()[by_sample(view.tokens, view)[:, task.PPO["prompt"]:]], 1).mean(1)


def by_sample(array, view):
    """(N, prompt + response): all samples have as many tokens."""
    return np.ctypeslib.as_array(array, (view.n_tokens,)).reshape(view.n_samples, -1)


def measure(who, seed, out):
    """Reward and KL of the policies that a run has kept, by two answers to each prompt, the same ones for all. A policy is removed then."""
    reference, prompts = Model(task.MODEL), np.unique(task.prompts(), axis=0)
    for episode in range(0, task.PPO["episodes"] + 1, task.SAVED):
        folder = task.policy(who, seed, episode) if episode else task.MODEL
        rollouts, scores = sample(Model(folder, ctx=reference.ctx), prompts, 1000, 0, 2)
        view = new(llama2.llama2_rollouts_view)
        lib.llama2_rollouts_reference(rollouts, reference.handle)
        lib.llama2_rollouts_view_get(rollouts, view)
        kl = (by_sample(view.logprobs, view) - by_sample(view.ref_logprobs, view)).sum(1)
        error = [float(np.std(x.reshape(-1, 2).mean(1), ddof=1) / np.sqrt(len(prompts))) for x in (scores, kl)]
        lib.llama2_rollouts_free(rollouts)
        task.log(out, who=who, seed=int(seed), episode=episode, samples=len(scores), score=float(scores.mean()), kl=float(kl.mean()), score_error=error[0], kl_error=error[1])
        if episode:
            shutil.rmtree(folder)


def ppo(seed, out):
    s, prompts = task.PPO, task.prompts()
    policy, reference = Model(task.MODEL), Model(task.MODEL)
    critic = reward_model_of(policy, llama2.LLAMA2_HEAD_ZERO)
    shared = dict(betas=(s["beta1"], s["beta2"]), eps=s["eps"], weight_decay=0.0, clip_norm=0.0)
    trainer, critic_trainer = trainer_for(policy.ctx, policy.handle, None, s["lr"], **shared), trainer_for(policy.ctx, None, critic, s["critic_lr"], **shared)
    clock, begin = task.Clock(), time.monotonic()
    for step in range(s["episodes"] // s["batch"]):
        first = step * s["batch"]
        rollouts, scores = clock("rollout", lambda: sample(policy, prompts[first:first + s["batch"]], seed, first))
        lib.llama2_rollouts_set(rollouts, llama2.LLAMA2_ROLLOUTS_SCORES, pointer(scores, ctypes.c_float), len(scores))
        options = new(llama2.llama2_ppo_options, minibatch=s["minibatch"], beta=s["beta"], lambda_=s["lam"], clip=s["clip"], seed=seed + step)
        metrics = new(llama2.llama2_ppo_metrics)
        clock("reference", lambda: lib.llama2_rollouts_reference(rollouts, reference.handle))
        clock("values", lambda: lib.llama2_rollouts_values(rollouts, critic))
        clock("advantages", lambda: lib.llama2_ppo_advantages(rollouts, options, metrics))
        clock("update", lambda: lib.llama2_ppo_update(trainer, critic_trainer, rollouts, options, metrics))
        lib.llama2_rollouts_free(rollouts)
        task.log(out, who="llama2", seed=seed, episode=first + s["batch"], score=metrics.score, kl=metrics.kl, seconds=time.monotonic() - begin, phases=clock.phases, peak=task.peak_bytes())
        if (first + s["batch"]) % task.SAVED == 0:
            policy.save(task.policy("llama2", seed, first + s["batch"]))


def pairs_of(model, lines):
    batch = model.batch(*[np.array(line[side], np.int32) for line in lines for side in ("chosen", "rejected")])
    return new(llama2.llama2_pairs, n_pairs=len(lines), batch=ctypes.pointer(batch)), batch


def reward(kind, out):
    s, (train, held_out) = task.REWARD, task.pairs(kind)
    model = Model(task.MODEL)
    scorer = reward_model_of(model, llama2.LLAMA2_HEAD_NORMAL)
    lib.llama2_reward_model_save(scorer, str(task.WORK / f"start-{kind}").encode(), llama2.LLAMA2_F32)  # where TRL begins too
    trainer = trainer_for(model.ctx, None, scorer, s["lr"], (s["beta1"], s["beta2"]), s["eps"], s["weight_decay"], s["clip_norm"])
    begin = time.monotonic()
    for step in range(len(train) // s["batch"]):
        pairs, _ = pairs_of(model, train[step * s["batch"]:(step + 1) * s["batch"]])
        metrics = new(llama2.llama2_reward_metrics)
        lib.llama2_reward_step(trainer, pairs, metrics)
        task.log(out, who="llama2", kind=kind, step=step, loss=metrics.loss, seconds=time.monotonic() - begin, peak=task.peak_bytes())
    for line in held_out:
        pairs, _ = pairs_of(model, [line])
        scores = np.empty(2, np.float32)
        lib.llama2_reward_evaluate(scorer, pairs, new(llama2.llama2_reward_metrics), pointer(scores, ctypes.c_float))
        task.log(out, who="llama2", kind=kind, chosen=float(scores[0]), rejected=float(scores[1]))


if __name__ == "__main__":
    with open(sys.argv[-1], "w") as out:
        {"ppo": lambda seed: ppo(int(seed), out), "reward": lambda kind: reward(kind, out), "measure": lambda who, seed: measure(who, seed, out)}[sys.argv[1]](*sys.argv[2:-1])
