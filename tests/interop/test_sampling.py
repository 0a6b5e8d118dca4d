"""What is drawn under bias, penalties and truncation beside transformers' processors and llama.cpp's samplers, on the same logits."""
import ctypes

import llama_cpp
import numpy as np
import pytest
import torch
import transformers as hf

from host import lib, llama2, make_context, new, pointer

VOCAB = 300


class Session:
    """On a small random model."""

    def __init__(self):
        self.ctx, self.model, self.handle = make_context(1), llama2.handle(llama2.llama2_model), llama2.handle(llama2.llama2_session)
        config = new(llama2.llama2_config, vocab_size=VOCAB, dim=32, n_layers=2, n_heads=4, n_kv_heads=2, head_dim=8, ffn_dim=64, max_seq_len=128, init_std=0.3)
        lib.llama2_model_create(self.ctx, config, None, self.model)
        lib.llama2_session_create(self.model, self.handle)

    def logits(self, tokens):
        """After these tokens alone."""
        out = np.empty(VOCAB, np.float32)
        lib.llama2_session_sync(self.handle, pointer(tokens, ctypes.c_int32), len(tokens), None)
        lib.llama2_session_logits(self.handle, pointer(out, ctypes.c_float), VOCAB, None)
        return out

    def sample(self, bias, **options):
        ids, values = np.array(list(bias), np.int32), np.array(list(bias.values()), np.float32)
        sampling = new(llama2.llama2_sampling, n_logit_bias=len(ids), logit_bias_ids=pointer(ids, ctypes.c_int32), logit_bias_values=pointer(values, ctypes.c_float), **options)
        token = ctypes.c_int32()
        lib.llama2_session_sample(self.handle, sampling, token, None)
        return token.value

    def __del__(self):
        lib.llama2_session_free(self.handle)
        lib.llama2_model_free(self.model)


def some_bias(rng, ids, scale):
    return {int(i): float(np.float32(v)) for i, v in zip(rng.choice(ids, 3, replace=False), rng.normal(0, scale, 3))}


@pytest.mark.parametrize("trial", range(20))
def test_counts_are_those_of_transformers(trial):
    """3000 draws: none outside what transformers keeps, as often as it says (chi-squared within 5 sigma; the seeds are fixed)."""
    rng, session, draws = np.random.default_rng(trial), Session(), 3000
    tokens = rng.integers(0, 60, 40).astype(np.int32)
    bias, temperature, repetition = some_bias(rng, VOCAB, 3), float(rng.uniform(.5, 2)), float(rng.choice([1, 1.3, .8]))
    top_k, top_p, min_p = int(rng.choice([0, 7, 80])), float(rng.choice([1, .9, .7])), float(rng.choice([0, .02, .1]))
    scores, ids = torch.from_numpy(session.logits(tokens))[None], torch.from_numpy(tokens.astype(np.int64))[None]
    steps = [hf.SequenceBiasLogitsProcessor({(i,): v for i, v in bias.items()})]
    steps += [hf.RepetitionPenaltyLogitsProcessor(repetition)] if repetition != 1 else []
    steps += [hf.TemperatureLogitsWarper(temperature)]
    steps += [hf.TopKLogitsWarper(top_k)] if top_k else []
    steps += [hf.TopPLogitsWarper(top_p)] if top_p < 1 else []
    steps += [hf.MinPLogitsWarper(min_p)] if min_p else []
    for step in steps:
        scores = step(ids, scores)
    expected = draws * torch.softmax(scores.double(), -1)[0].numpy()
    counts = np.bincount([session.sample(bias, temperature=temperature, top_k=top_k, top_p=top_p, min_p=min_p, repetition_penalty=repetition, sample_id=i) for i in range(draws)], minlength=VOCAB)
    assert counts[expected == 0].sum() == 0
    often = expected > 5
    chi = ((counts - expected)[often] ** 2 / expected[often]).sum()
    assert chi < often.sum() + 5 * np.sqrt(2 * often.sum() + 1)


def test_greedy_is_that_of_llama_cpp():
    """The likeliest after llama.cpp's logit bias and penalties, on 500 texts."""
    rng, session, changed = np.random.default_rng(0), Session(), 0
    for _ in range(500):
        tokens = rng.integers(0, int(rng.choice([40, VOCAB])), int(rng.integers(5, 100))).astype(np.int32)
        logits = session.logits(tokens)
        bias = some_bias(rng, np.argsort(-logits)[:30], 1)
        window, repetition = int(rng.integers(1, 120)), float(rng.choice([1, 1.5, 2]))
        frequency, presence = float(rng.uniform(-.3, .5)), float(rng.uniform(-.3, .8))
        best = likeliest_of_llama_cpp(logits, tokens, bias, window, repetition, frequency, presence)
        assert session.sample(bias, temperature=0, penalty_window=window, repetition_penalty=repetition, frequency_penalty=frequency, presence_penalty=presence) == best
        changed += best != logits.argmax()
    assert changed > 50


def likeliest_of_llama_cpp(logits, tokens, bias, window, repetition, frequency, presence):
    data = (llama_cpp.llama_token_data * VOCAB)(*[llama_cpp.llama_token_data(i, float(x), 0) for i, x in enumerate(logits)])
    candidates = llama_cpp.llama_token_data_array(data, VOCAB, -1, False)
    biases = (llama_cpp.llama_logit_bias * len(bias))(*[llama_cpp.llama_logit_bias(i, v) for i, v in bias.items()])
    penalties = llama_cpp.llama_sampler_init_penalties(VOCAB, window, repetition, frequency, presence)
    for token in tokens:
        llama_cpp.llama_sampler_accept(penalties, int(token))
    for sampler in llama_cpp.llama_sampler_init_logit_bias(VOCAB, len(bias), biases), penalties:
        llama_cpp.llama_sampler_apply(sampler, ctypes.byref(candidates))
        llama_cpp.llama_sampler_free(sampler)
    return int(np.argmax([data[i].logit for i in range(VOCAB)]))
