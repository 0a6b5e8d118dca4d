"""SmolLM2's logits beside those of transformers and llama.cpp, from what the library writes."""
import json

import numpy as np
import pytest

from compare import compare
from host import Model, Tokenizer
from peers import LlamaCpp, Transformers

LENGTHS = 10 * [1000]  # tokens of the sequences


@pytest.fixture(scope="module")
def written(smollm2, tmp_path_factory):
    """SmolLM2 in F32 as a Hugging Face folder and as a GGUF file."""
    folder = tmp_path_factory.mktemp("smollm2")
    model, tokenizer = Model(smollm2), Tokenizer(smollm2)
    model.save(folder / "hf")
    tokenizer.save(folder / "hf")
    model.save_gguf(folder / "f32.gguf", tokenizer)
    return folder


@pytest.fixture(scope="module")
def sequences(smollm2, data):
    """Verse and instructions."""
    tokenizer = Tokenizer(smollm2)
    verse = tokenizer.encode(data("tinyshakespeare.txt").read_bytes())
    tasks = [json.loads(line) for line in data("self-instruct-seed-tasks.jsonl").read_text().splitlines()]
    prose = tokenizer.encode("\n\n".join(task["instruction"] + "\n" + task["instances"][0]["input"] + "\n" + task["instances"][0]["output"] for task in tasks))
    found, at = [], [0, 0]
    for i, n in enumerate(LENGTHS):
        source = verse if i % 2 == 0 else prose
        found.append(np.ascontiguousarray(source[at[i % 2]:at[i % 2] + n]))
        at[i % 2] += n
        assert len(found[-1]) == n
    return found


@pytest.mark.parametrize("peer", ["transformers", "llama.cpp"])
def test_logits(peer, written, sequences, figure):
    own, other = Model(written / "hf"), Transformers(written / "hf") if peer == "transformers" else LlamaCpp(written / "f32.gguf")
    worst, tops, far = zip(*(compare(own.logits(tokens), other.logits(tokens)) for tokens in sequences))
    figure(f"{sum(LENGTHS)} tokens, largest difference of a logit to {peer}'s:", max(worst), "; top token another:", sum(tops), "; of these not a near tie:", sum(far))
    assert max(worst) <= 1e-3 and sum(far) == 0
