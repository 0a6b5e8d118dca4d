"""The whole of alignment on a real chat model: SFT, both reward models, rejection sampling and PPO on SmolLM2, at a size that two cores do in half an hour, by the
programs; llama.cpp then answers with what came of it."""
import gzip
import json
import math

import pytest

from compare import compare
from host import Model, Tokenizer, program
from peers import LlamaCpp

MICRO_BATCH = ["--micro-batch", 1024, "--seed", 7, "--quiet"]  # tokens at once: bounds memory


def read_lines(path):
    with gzip.open(path, "rt") if path.suffix == ".gz" else open(path) as file:
        return [json.loads(line) for line in file]


def write_lines(path, records):
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


def size(pair):
    return len(pair.get("prompt", "")) + max(len(pair["chosen"]), len(pair["rejected"]))


def make_data(data, folder):
    """Comparisons of up to a few hundred tokens, every sixth of them held out, and prompts: instructions, and openings of the harmless dialogues."""
    for name, count in (("helpful", 240), ("harmless", 240)):
        pairs = [pair for pair in read_lines(data(f"{name}-preferences.jsonl.gz")) if size(pair) < 900][:count]
        write_lines(folder / f"{name}.jsonl", [pair for i, pair in enumerate(pairs) if i % 6])
        write_lines(folder / f"{name}-held-out.jsonl", pairs[::6])
    tasks = [task for task in read_lines(data("self-instruct-user-oriented.jsonl")) if len(task["instruction"]) + len(task["instances"][0]["input"]) < 400]
    prompts = [{"prompt": "\n\n".join(filter(None, [task["instruction"], task["instances"][0]["input"]]))} for task in tasks[:24]]
    openings = [pair["chosen"].split("\n\nAssistant:")[0].removeprefix("\n\nHuman:").strip() for pair in read_lines(data("harmless-preferences.jsonl.gz"))[:8]]
    write_lines(folder / "prompts.jsonl", prompts + [{"prompt": opening, "is_safety": True} for opening in openings])


def metrics(folder):
    return read_lines(folder / "metrics.jsonl")


@pytest.fixture
def stage(figure, scratch):
    """stage("sft", ..., out): runs a program, gives its metrics and notes what it took."""
    taken = []

    def run(name, *arguments, out):
        done = program(name, *arguments, "--out", scratch / out, *MICRO_BATCH)
        taken.append((done.seconds, done.cpu_seconds))
        figure(f"{out}: {done.seconds:.0f} s, {done.cpu_seconds:.0f} s of processors, {done.memory / 1e9:.2f} GB; {done.output.strip()}")
        return metrics(scratch / out)
    run.taken = taken
    return run


def test_chain(stage, smollm2, data, scratch, figure):
    make_data(data, scratch)
    sft = stage("sft", "--model", smollm2, "--data", data("self-instruct-seed-tasks.jsonl"), "--batch", 16, "--length", 512, out="sft")
    assert sft[-1]["loss"] < sft[0]["loss"]
    for name in ("helpful", "harmless"):
        reward = stage("reward", "--model", scratch / "sft", "--data", scratch / f"{name}.jsonl", "--eval", scratch / f"{name}-held-out.jsonl", "--batch", 20, "--lr", 2e-5,
                       "--length", 384, "--centre", out=name)
        figure(f"{name}: held-out accuracy {reward[-1]['held_out']['accuracy']:.2f}, of the longer answer {reward[-1]['held_out']['longer_wins']:.2f}")
        assert all(math.isfinite(line["loss"]) for line in reward[:-1])
    rewards = ["--reward", scratch / "helpful", "--safety-reward", scratch / "harmless", "--data", scratch / "prompts.jsonl", "--max-new-tokens", 64]
    rejection = stage("reject", "--model", scratch / "sft", *rewards, "--samples", 4, "--batch", 8, out="rejection")
    assert rejection[0]["mean_best"] > rejection[0]["mean_score"] and rejection[-1]["step"] >= 4
    ppo = stage("ppo", "--model", scratch / "rejection", *rewards, "--batch", 32, "--minibatch", 8, "--iterations", 4, out="ppo")
    assert len(ppo) == 4 and all(math.isfinite(line[key]) for line in ppo for key in ("objective/kl", "loss/policy_avg", "loss/value_avg"))
    figure("KL an answer:", *(round(line["objective/kl"], 3) for line in ppo), "; helpful score:", *(round(line["reward/helpful"], 3) for line in ppo))
    figure(f"the chain: {sum(s for s, _ in stage.taken) / 60:.1f} minutes, {sum(cpu for _, cpu in stage.taken) / 60:.1f} of processors")
    assert sum(cpu for _, cpu in stage.taken) <= 2 * 30 * 60  # two cores, thirty minutes: whatever else the machine does
    answers(scratch, figure)


def answers(scratch, figure):
    """The tuned model in llama.cpp: equal logits, and an answer."""
    model, tokenizer = Model(scratch / "ppo"), Tokenizer(scratch / "ppo")
    model.save_gguf(scratch / "tuned.gguf", tokenizer)
    peer = LlamaCpp(scratch / "tuned.gguf", n_ctx=512)
    done = peer.model.create_chat_completion([{"role": "user", "content": "What is the capital of France?"}], max_tokens=64, temperature=0)
    answer = done["choices"][0]["message"]["content"]
    figure("llama.cpp answers with the tuned model:", repr(answer))
    assert answer.strip()
    tokens = tokenizer.encode("<question>What is the capital of France?</question> " + answer)
    worst, tops, far = compare(model.logits(tokens), peer.logits(tokens))
    figure(f"{len(tokens)} tokens, largest difference of a logit to llama.cpp's:", worst)
    assert worst <= 1e-3 and far == 0
