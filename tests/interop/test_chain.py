"""The whole of alignment on a real chat model, by the commands of docs/real-model.md as they stand there: SFT, both reward models, rejection sampling and PPO on
SmolLM2, at a size that two cores do in half an hour. What each stage came to; then the tuned model in llama.cpp and transformers."""
import json
import math
import os
import re
import sys

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

import host
from compare import compare
from host import Model, Rollouts, Tokenizer, llama2
from peers import LlamaCpp

SAMPLES, TOKENS, TEMPERATURE = 3, 48, 0.7  # the last two as on the page
QUESTIONS = ["What is the capital of France?", "Write a short poem about the sea.", "How do I boil an egg?", "Is 17 a prime number?", "Give three names for a black cat."]


def commands():
    """(title, text) of each block of commands of the page, but the first one, which names the files that are the reader's own."""
    page = (host.ROOT / "docs/real-model.md").read_text()
    blocks = [(title, block) for title, text in re.findall(r"^## (.+?)\n(.*?)(?=^## |\Z)", page, re.M | re.S) for block in re.findall(r"^```sh\n(.*?)^```$", text, re.M | re.S)]
    return blocks[1:]


def read_lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def above_chance(right, n):
    """Whether the 95 % interval of a share (Wilson) lies above one half."""
    share, z = right / n, 1.96
    low = (share + z * z / (2 * n) - z * np.sqrt(share * (1 - share) / n + (z / (2 * n)) ** 2)) / (1 + z * z / n)
    return low > 0.5


@pytest.fixture(scope="module")
def chain(smollm2, data, tmp_path_factory):
    """The folder in which the page's commands have run, and what each block took."""
    for name in ("self-instruct-seed-tasks.jsonl", "helpful-preferences.jsonl.gz", "harmless-preferences.jsonl.gz"):
        folder = data(name).parent
    where = tmp_path_factory.mktemp("chain")
    path = f"{host.BUILD / 'bin'}:{os.path.dirname(sys.executable)}:{os.environ['PATH']}"
    begin = f"cd '{where}'\nexport PATH='{path}' DATA='{folder}' MODEL='{smollm2}'\n"
    return where, [(title, host.run("/bin/bash", "-euc", begin + block)) for title, block in commands()]


def test_stages(chain, figure):
    where, done = chain
    for title, run in done:
        figure(f"{title}: {run.seconds:.0f} s, {run.cpu_seconds:.0f} s of processors, {run.memory / 1e9:.2f} GB")
    seconds, cpu_seconds = sum(run.seconds for _, run in done), sum(run.cpu_seconds for _, run in done)
    figure(f"in all {seconds / 60:.1f} minutes, {cpu_seconds / 60:.1f} of processors")
    assert cpu_seconds <= 2 * 30 * 60  # two cores, thirty minutes: whatever else the machine does

    finite = lambda lines, *keys: all(math.isfinite(line[key]) for line in lines for key in keys if key in line)  # noqa: E731
    sft = read_lines(where / "sft/metrics.jsonl")
    assert finite(sft, "loss", "held_out_loss")
    figure("SFT: held-out loss before and after:", sft[0]["held_out_loss"], sft[-1]["held_out_loss"])
    assert sft[-1]["held_out_loss"] < sft[0]["held_out_loss"] - 0.05

    for kind in ("helpful", "harmless"):
        lines = read_lines(where / kind / "metrics.jsonl")
        pairs = sum(line.get("pairs", 0) for line in lines)
        trained, held_out = next(line["train_accuracy"] for line in lines if "train_accuracy" in line), lines[-1]["held_out"]
        figure(f"{kind}: accuracy on the {pairs} pairs it was trained on {trained:.2f}; on {held_out['pairs']} held-out ones {held_out['accuracy']:.2f}, "
               f"of the longer answer {held_out['longer_wins']:.2f}")
        assert finite(lines, "loss", "ranking_loss", "margin") and above_chance(trained * pairs, pairs)
    sampling, *steps = read_lines(where / "rejection/metrics.jsonl")
    figure("rejection sampling: mean score of all and of the best:", sampling["mean_score"], sampling["mean_best"], f"; {sampling['kept']} of {sampling['prompts']} prompts kept")
    # The best of four is above their mean; learning the same answers a second time begins where the first time ended.
    assert sampling["mean_best"] > sampling["mean_score"] and len(steps) >= 4 and finite(steps, "loss")
    assert np.mean([line["loss"] for line in steps[len(steps) // 2:]]) < np.mean([line["loss"] for line in steps[:len(steps) // 2]])

    ppo = read_lines(where / "ppo/metrics.jsonl")
    for key in ("objective/kl", "reward/helpful", "reward/safety", "val/num_eos_tokens", "response_length", "policy/clipfrac_avg", "loss/value_avg", "val/var_explained"):
        figure(f"PPO: {key}:", *(f"{line[key]:.3g}" for line in ppo))
    assert len(ppo) == 8 and all(math.isfinite(line[key]) for line in ppo for key in ("objective/kl", "loss/policy_avg", "loss/value_avg"))
    assert ppo[0]["objective/kl"] == 0 and ppo[0]["val/ratio"] == pytest.approx(1, abs=0.02)  # the reference is the model as it came
    assert 0 < ppo[-1]["objective/kl"] < 5
    assert ppo[-1]["loss/value_avg"] < ppo[0]["loss/value_avg"]


def test_rewards_of_held_out_prompts(chain, figure):
    """The models of three stages answer prompts that nothing was trained on, the same samples' seeds each: the score that the paper maximises, before and after."""
    where, _ = chain
    prompts = read_lines(where / "prompts-held-out.jsonl")
    tokenizer = Tokenizer(where / "sft")
    ids = [tokenizer.encode_chat([(llama2.LLAMA2_ROLE_USER, prompt["prompt"])]) for prompt in prompts]
    is_safety = np.repeat([prompt.get("is_safety", False) for prompt in prompts], SAMPLES)
    scores = {}
    for stage in ("sft", "rejection", "ppo"):
        rollouts = Rollouts(Model(where / stage), ids, SAMPLES, TOKENS, TEMPERATURE, seed=11)
        helpful, safety = rollouts.scores(where / "helpful"), rollouts.scores(where / "harmless")
        view = rollouts.view()
        ended = np.ctypeslib.as_array(view.ended, (view.n_samples,))
        # Section 3.2.3: the safety score counts on prompts about safety, and where it says unsafe; an answer that did not end loses 1, as in llama2-ppo.
        scores[stage] = np.where(is_safety | (safety < np.log(0.15 / 0.85)), safety, helpful) - (1 - ended)
        figure(f"{stage}: score {scores[stage].mean():.3f}, helpful {helpful.mean():.3f}, safety {safety.mean():.3f}; {ended.mean():.2f} of {len(ended)} answers ended")
    by_prompt = (scores["ppo"] - scores["sft"]).reshape(len(prompts), SAMPLES).mean(axis=1)
    gain, error = by_prompt.mean(), by_prompt.std(ddof=1) / np.sqrt(len(prompts))
    figure(f"PPO over SFT: {gain:+.3f}, 95 % interval [{gain - 1.96 * error:+.3f}, {gain + 1.96 * error:+.3f}]")
    assert gain - 1.96 * error > 0


def test_tuned_model_in_llama_cpp(chain, figure):
    """The file that was written answers there as here: the same tokens, up to a near-tie, and equal logits."""
    where, done = chain
    own, peer = Model(where / "tuned.gguf"), LlamaCpp(where / "tuned.gguf", n_ctx=512)
    tokenizer, same, worst = Tokenizer(where / "tuned.gguf"), 0, 0
    for question in QUESTIONS:
        prompt = tokenizer.encode_chat([(llama2.LLAMA2_ROLE_USER, question)])
        lines = [json.loads(line) for line in host.program("generate", "--model", where / "tuned.gguf", "--chat", "--prompt", question, "--temperature", 0, "--max-tokens", 64, "--json").output.splitlines()]
        ours = [line["id"] for line in lines[:-1]]
        theirs = peer.model.create_chat_completion([{"role": "user", "content": question}], max_tokens=64, temperature=0)["choices"][0]
        assert peer.model.tokenize(chat_text(peer, question).encode(), add_bos=False, special=True) == prompt.tolist()
        tokens = np.concatenate([prompt, np.array(ours, np.int32)])
        logits, by_peer = own.logits(tokens), peer.logits(tokens)
        different, _, far = compare(logits, by_peer)
        worst = max(worst, different)
        assert far == 0
        greedy = by_peer[len(prompt) - 1:len(tokens) - 1].argmax(axis=1)
        text, end = theirs["message"]["content"], {"eos": "stop", "length": "length"}[lines[-1]["end"]]
        if (greedy == ours).all():  # no near-tie on the way
            assert text.strip() == lines[-1]["text"].strip() and theirs["finish_reason"] == end
            same += 1
        figure(f"{question} {text!r} ({end})")
    figure(f"{same} of {len(QUESTIONS)} answers are the same token by token; largest difference of a logit to llama.cpp's:", worst)
    assert same >= len(QUESTIONS) - 1 and worst <= 1e-3
    said = done[-1][1].output
    assert said.strip(), "the page's last command prints llama.cpp's answer"
    peer.close()


def chat_text(peer, question):
    """The dialogue as the chat template in the file makes it, by llama-cpp-python's Jinja."""
    from llama_cpp.llama_chat_format import Jinja2ChatFormatter
    template = peer.model.metadata["tokenizer.chat_template"]
    return Jinja2ChatFormatter(template=template, eos_token="<|im_end|>", bos_token="<|im_start|>")(messages=[{"role": "user", "content": question}]).prompt


def test_tuned_model_in_transformers(chain, figure):
    """The folder that was written: chat template, end of text and answers."""
    where, _ = chain
    auto, peer = AutoTokenizer.from_pretrained(where / "ppo"), AutoModelForCausalLM.from_pretrained(where / "ppo", dtype=torch.float32).eval()
    own, tokenizer, same = Model(where / "ppo"), Tokenizer(where / "ppo"), 0
    for question in QUESTIONS:
        prompt = auto.apply_chat_template([{"role": "user", "content": question}], add_generation_prompt=True, return_tensors="pt", return_dict=True)
        assert prompt["input_ids"][0].tolist() == tokenizer.encode_chat([(llama2.LLAMA2_ROLE_USER, question)]).tolist()
        with torch.no_grad():
            tokens = peer.generate(**prompt, max_new_tokens=64, do_sample=False)[0].numpy()  # ends where generation_config.json says
            logits = peer(torch.from_numpy(tokens)[None]).logits[0].numpy()
        lines = host.program("generate", "--model", where / "ppo", "--chat", "--prompt", question, "--temperature", 0, "--max-tokens", 64, "--json").output.splitlines()
        ours, end = [json.loads(line)["id"] for line in lines[:-1]], json.loads(lines[-1])["end"]
        theirs = tokens[prompt["input_ids"].shape[1]:].tolist()
        worst, _, far = compare(own.logits(tokens), logits)
        assert worst <= 1e-3 and far == 0
        same += ours == theirs[:-1] if end == "eos" else ours == theirs
    figure(f"{same} of {len(QUESTIONS)} answers of transformers are the same token by token")
    assert same >= len(QUESTIONS) - 1
