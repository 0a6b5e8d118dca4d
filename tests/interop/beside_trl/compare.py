"""What came of both sides: python compare.py ppo OURS.jsonl... -- TRL.jsonl..., the same with measured in place of ppo, or python compare.py reward KIND OURS.jsonl TRL.jsonl."""
import json
import sys
from pathlib import Path

import numpy as np

import task

LAST = 4  # iterations that a run's end is the mean of
MARGIN = 0.02  # no worse than TRL: the interval of the difference lies above so much below it, of accuracy or reward


def read(path):
    return [json.loads(line) for line in Path(path).read_text().splitlines()]


def t_interval(x):
    """Mean and half of its 95 % interval (Student)."""
    t = {2: 12.706, 3: 4.303, 4: 3.182, 5: 2.776, 6: 2.571, 7: 2.447, 8: 2.365}.get(len(x), 1.96)
    return np.mean(x), t * np.std(x, ddof=1) / np.sqrt(len(x)) if len(x) > 1 else np.nan


def end(run):
    return np.mean([line["score"] for line in run[-LAST:]]), np.mean([line["kl"] for line in run[-LAST:]])


def at_kl(run, kl):
    """The score where a run, smoothed over LAST iterations, first reaches this KL; NaN where it does not."""
    score, divergence = (np.convolve([line[key] for line in run], np.ones(LAST) / LAST, "valid") for key in ("score", "kl"))
    above = np.flatnonzero(divergence >= kl)
    if not len(above):
        return np.nan
    i = above[0]
    return score[0] if i == 0 else np.interp(kl, divergence[i - 1:i + 1], score[i - 1:i + 1])


def at_equal_kl(ours, theirs):
    """Ours less theirs at equal KL and half of its 95 % interval, from all lines of the runs: score = a[run] + b sqrt(KL) + c KL by least squares. Runs differ by their a; how much, our
    seeds say, and theirs are taken to differ as much (iterations of one run are no independent samples of it)."""
    runs, n, m = [*ours, *theirs], len(ours), len(theirs)
    kl = np.maximum(0, [line["kl"] for run in runs for line in run])
    of_run = np.repeat(np.eye(n + m), [len(run) for run in runs], axis=0)
    a = np.linalg.lstsq(np.column_stack([np.sqrt(kl), kl, of_run]), [line["score"] for run in runs for line in run], rcond=None)[0][2:]
    half = t_interval(a[:n])[1] * np.sqrt(n) * np.sqrt(1 / n + 1 / m)
    return a[:n].mean() - a[n:].mean(), half


def show_run(run):
    phases = ", ".join(f"{name} {seconds:.0f}" for name, seconds in run[-1]["phases"].items())
    print(f"{run[0]['who']:7} seed {run[0]['seed']}: reward {run[0]['score']:.3f} -> {end(run)[0]:.3f}, KL {end(run)[1]:.2f}; {run[-1]['seconds']:.0f} s ({phases}), {run[-1]['peak'] / 1e9:.1f} GB")


def ppo(ours, theirs):
    ours, theirs = ([read(path) for path in side] for side in (ours, theirs))
    for run in [*ours, *theirs]:
        show_run(run)
    gains = [end(run)[0] - run[0]["score"] for run in ours]
    print("llama2: reward up by %.3f +- %.3f over %d seeds" % (*t_interval(gains), len(gains)))
    print("llama2 - trl at equal KL: %+.3f +- %.3f" % at_equal_kl(ours, theirs))
    for run in theirs:
        kl = min(end(run)[1], *(end(x)[1] for x in ours))
        print("reward where the KL first reaches %.2f: llama2 %.3f +- %.3f, trl %.3f" % (kl, *t_interval([at_kl(x, kl) for x in ours]), at_kl(run, kl)))


def measured(ours, theirs):
    """Policies that were kept, all by the same prompts: ours less theirs at the KL of each of theirs, ours between its two nearest, from the runs that reach it; and from all of them."""
    ours, theirs = ([read(path) for path in side] for side in (ours, theirs))
    for run in [*ours, *theirs]:
        print(f"{run[0]['who']:7} seed {run[0]['seed']}: " + ", ".join(f"{x['score']:.3f} at {x['kl']:.2f}" for x in run) + f" (+- {1.96 * run[-1]['score_error']:.3f}, {1.96 * run[-1]['kl_error']:.2f})")
    for x in [x for run in theirs for x in run[1:]]:
        points = [np.array(sorted((y["kl"], y["score"]) for y in run)).T for run in ours]
        gains = [np.interp(x["kl"], *p) - x["score"] for p in points if p[0, -1] >= x["kl"]]
        print("at KL %.2f: llama2 - trl %+.3f +- %.3f, %d seeds" % (x["kl"], *t_interval(gains), len(gains)))
    gain, half = at_equal_kl(*([run[1:] for run in side] for side in (ours, theirs)))
    print("llama2 - trl at equal KL: %+.3f +- %.3f" % (gain, half))
    if not gain - half > -MARGIN:
        sys.exit(f"the interval reaches {MARGIN} below TRL's reward at equal KL")


def percent(x):
    """A mean in %, with its 95 % interval."""
    p, half = np.mean(x), 1.96 * np.std(x) / np.sqrt(len(x))
    return f"{100 * p:5.1f} ({100 * (p - half):.1f} to {100 * (p + half):.1f})"


def reward(kind, ours, theirs):
    _, held_out = task.pairs(kind)
    sides, right = {"llama2": read(ours), "trl": read(theirs)}, {}
    for who, lines in sides.items():
        right[who] = np.array([line["chosen"] > line["rejected"] for line in lines if "chosen" in line], float)
        last = [line for line in lines if "loss" in line]
        print(f"{who}: first loss {last[0]['loss']:.4f}, last {np.mean([x['loss'] for x in last[-20:]]):.4f}; {last[-1]['seconds']:.0f} s, {last[-1]['peak'] / 1e9:.1f} GB")
    for name, keys in (("losses", ("loss",)), ("scores", ("chosen", "rejected"))):
        a, b = ([[line[key] for key in keys] for line in lines if keys[0] in line] for lines in sides.values())
        print(f"{name} of {len(a)} {'steps' if name == 'losses' else 'pairs'}: {abs(np.subtract(a, b)).max():.5f} apart at most")
    lengths = np.array([[line["length_chosen"], line["length_rejected"]] for line in held_out], float)
    right["longer wins"] = np.where(lengths[:, 0] == lengths[:, 1], 0.5, lengths[:, 0] > lengths[:, 1])
    ratings = [line["rating"] for line in held_out]
    matched = lengths.max(1) <= 1.25 * lengths.min(1)
    groups = {"all": np.ones(len(ratings), bool), "lengths within a quarter": matched}
    groups |= {str(r): np.array([x == r for x in ratings]) for r in ("significantly_better", "better", "slightly_better", "negligibly_better") if r in ratings}
    for name, chosen in groups.items():
        print(f"{kind}, {name}, {chosen.sum()} pairs: " + "; ".join(f"{who} {percent(r[chosen])}" for who, r in right.items()))
        print("    less the longer answer, pair by pair: " + "; ".join(f"{who} {percent((right[who] - right['longer wins'])[chosen])}" for who in sides))
    d = right["llama2"] - right["trl"]
    low = d.mean() - 1.96 * d.std() / np.sqrt(len(d))
    print("llama2 - trl: %.1f points, %.1f at the lower end of the interval" % (100 * d.mean(), 100 * low))
    if not low > -MARGIN:
        sys.exit(f"the interval reaches {100 * MARGIN:.0f} points below TRL")


if __name__ == "__main__":
    if "--" in sys.argv:
        split = sys.argv.index("--")
        {"ppo": ppo, "measured": measured}[sys.argv[1]](sys.argv[2:split], sys.argv[split + 1:])
    else:
        reward(*sys.argv[2:5])
