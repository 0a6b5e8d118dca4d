"""A full epoch of both reward models on SmolLM2 over all real comparisons, and each on both test sets (table 7 of the paper). Two hours on two cores: with
tests/run.sh --interop --long only; what was stopped goes on from its last checkpoint in the peers' folder."""
import gzip
import json
import os
import re
import shutil

import pytest

import conftest
import host

KINDS = ("helpful", "harmless")
RATINGS = ("significantly_better", "better", "slightly_better", "negligibly_better")
HELD_OUT = 5  # one in so many prompts
SETTINGS = ("--batch", 16, "--lr", 2e-5, "--length", 320, "--micro-batch", 2048, "--seed", 7, "--save-every", 20)


def prompt_of(kind, line):
    record = json.loads(line)
    return record["prompt"] if kind == "helpful" else re.split(r"\n\nAssistant:", record["chosen"], maxsplit=1)[0]


def split(kind, source, folder):
    """All comparisons in two files, by prompt: what is held out never stands on both sides. (train, held out) paths."""
    held_out, paths = {}, [folder / f"{kind}.jsonl", folder / f"{kind}-held-out.jsonl"]
    files = [path.open("w") for path in paths]
    for line in gzip.open(source, "rt"):
        files[held_out.setdefault(prompt_of(kind, line), len(held_out) % HELD_OUT == 0)].write(line)
    for file in files:
        file.close()
    return paths


def percent(share, interval):
    return f"{100 * share:.1f} % ({100 * interval[0]:.1f} to {100 * interval[1]:.1f})"


@pytest.mark.skipif("LLAMA2_TEST_LONG" not in os.environ, reason="two hours: LLAMA2_TEST_LONG=1")
def test_epoch(smollm2, data, figure):
    folder = conftest.PEERS / "epoch"
    folder.mkdir(exist_ok=True)
    files = {kind: split(kind, data(f"{kind}-preferences.jsonl.gz"), folder) for kind in KINDS}
    for kind in KINDS:
        evals = [argument for other in KINDS for argument in ("--eval", files[other][1])]
        resume = ["--resume"] if (folder / kind / "checkpoints").exists() else []
        run = host.program("reward", "--model", smollm2, "--data", files[kind][0], "--out", folder / kind, *evals, *SETTINGS, *resume)
        lines = [json.loads(line) for line in (folder / kind / "metrics.jsonl").read_text().splitlines()]
        losses, cards = [line["ranking_loss"] for line in lines if "ranking_loss" in line], lines[-1]["held_out"]
        seconds = max(line["seconds"] for line in lines if "ranking_loss" in line)  # of the training, sittings before included
        pairs = sum(line.get("pairs", 0) for line in lines)
        figure(f"{kind}: {pairs} pairs in {len(losses)} steps, {seconds / 60:.1f} minutes, {run.memory / 1e9:.2f} GB")
        for other in KINDS:
            card = cards[str(files[other][1])]
            figure(f"{kind} model on {card['pairs']} held-out {other} pairs:", percent(card["accuracy"], card["accuracy_interval"]), "the longer answer:",
                   percent(card["longer_wins"], card["longer_wins_interval"]))
            if kind == other:
                for name, group in {"of like length": card["length_matched"], **{rating: card["by_rating"][rating] for rating in RATINGS if rating in card.get("by_rating", {})}}.items():
                    longer = f" the longer answer {100 * group['longer_wins']:.1f} %" if "longer_wins" in group else ""
                    figure(f"  {name}, {group['pairs']} pairs: {percent(group['accuracy'], group['accuracy_interval'])}{longer}")
                assert card["accuracy_interval"][0] > 0.5
    shutil.rmtree(folder)
