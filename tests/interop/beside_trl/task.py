"""What both sides are given: model, prompts, reward and settings of PPO; pairs, order and settings of the reward models. Both read what prepare.py has written, so
that neither library's tokenizer or sampler of the data stands between."""
import json
import os
import resource
import sys
import time
from pathlib import Path

import numpy as np

WORK = Path(os.environ.get("LLAMA2_BESIDE_TRL", "build-beside-trl"))
MODEL = WORK / "model"  # SmolLM2 in fp32; its end of text is a token that never comes, so that every response has its 32 tokens
EMPTY = 3  # "<repo_name>": the padding of TRL

PPO = dict(episodes=1024, batch=64, minibatch=16, prompt=16, response=32, lr=3e-5, critic_lr=3e-5, beta=0.05, lam=0.95, clip=0.2, beta1=0.9, beta2=0.999, eps=1e-8)
REWARD = dict(batch=8, lr=1e-5, beta1=0.9, beta2=0.95, eps=1e-5, weight_decay=0.1, clip_norm=1.0)
KINDS = {"helpful": (1200, 400), "harmless": (600, 200)}  # pairs, how many of them are held out


def line_breaks():
    """(V,) 1 where the token has a line break: a response's reward is its share before its first line break. 1 is the most, and the reference needs log(1 / 0.39) of KL for it."""
    return np.load(WORK / "line-breaks.npy")


def prompts():
    """(episodes, prompt) ids."""
    return np.load(WORK / "prompts.npy")


def pairs(kind):
    """Training and held-out pairs: dictionaries with ids of both dialogues, rating and lengths."""
    lines = [json.loads(line) for line in (WORK / f"{kind}.jsonl").read_text().splitlines()]
    return [line for line in lines if not line["held_out"]], [line for line in lines if line["held_out"]]


SAVED = 256  # episodes from one policy that is kept, for `ours.py measure`, to the next


def policy(who, seed, episode):
    """Where it is kept."""
    return WORK / f"policy-{who}-{seed}-{episode}"


class Clock:
    """Seconds in each phase."""

    def __init__(self):
        self.phases = {}

    def __call__(self, phase, work):
        begin = time.monotonic()
        result = work()
        self.phases[phase] = self.phases.get(phase, 0) + time.monotonic() - begin
        return result


def peak_bytes():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def log(out, **line):
    out.write(json.dumps(line) + "\n")
    out.flush()
    if sys.stderr.isatty():
        print(line, file=sys.stderr)
