"""The library as the tests use it: a few calls over bindings/python/llama2.py, numpy arrays in and out."""
import ctypes
import json
import os
import subprocess
import sys
from collections import namedtuple
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "bindings/python"))
import llama2  # noqa: E402

BUILD = Path(os.environ.get("LLAMA2_BUILD", ROOT / "build-test"))
THREADS = int(os.environ.get("LLAMA2_THREADS", os.cpu_count() or 1))
lib = llama2.load(str(BUILD / "lib/libllama2.so"))


def new(struct_type, **fields):
    return llama2.new(lib, struct_type, **fields)


def make_context(n_threads=THREADS):
    ctx = llama2.handle(llama2.llama2_context)
    lib.llama2_context_create(new(llama2.llama2_context_options, n_threads=n_threads), ctx)
    return ctx


def pointer(array, ctype):
    return array.ctypes.data_as(ctypes.POINTER(ctype))


# A process of its own between: what a process takes at most begins with what the one that starts it has.
MEASURE = """import json, os, sys, time
begin = time.monotonic()
_, status, usage = os.wait4(os.posix_spawn(sys.argv[2], sys.argv[2:], os.environ), 0)
taken = time.monotonic() - begin, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024
os.write(int(sys.argv[1]), json.dumps([os.waitstatus_to_exitcode(status), *taken]).encode())"""


def run(*command):
    """Runs a program by its path: its standard output, and what it and its children took: seconds, seconds of processors, bytes of memory of the largest one at
    most. What it said on standard error is in the exception when it fails."""
    command = [*map(str, command)]
    read, write = os.pipe()
    with open(read, "rb") as taken:
        done = subprocess.run([sys.executable, "-SEc", MEASURE, str(write), *command], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, pass_fds=[write])
        os.close(write)
        status, *taken = json.loads(taken.read())
    if status:
        raise RuntimeError(f"{' '.join(command)}: exit status {status}\n{done.stderr.decode(errors='replace')[-2000:]}")
    return Run(done.stdout.decode(), *taken)


def program(name, *arguments):
    """Runs llama2-<name>."""
    return run(BUILD / "bin" / f"llama2-{name}", *arguments)


Run = namedtuple("Run", "output seconds cpu_seconds memory")


class Tokenizer:
    def __init__(self, path, ctx=None):
        self.ctx, self.handle = ctx or make_context(1), llama2.handle(llama2.llama2_tokenizer)
        lib.llama2_tokenizer_load(self.ctx, os.fsencode(path), None, self.handle)

    def encode(self, text, flags=0):
        """ids of a text, str or bytes."""
        data = text.encode() if isinstance(text, str) else text
        ids, n = np.empty(3 * len(data) + 5, np.int32), ctypes.c_int64()
        lib.llama2_tokenizer_encode(self.handle, data, len(data), flags, pointer(ids, ctypes.c_int32), len(ids), n)
        return ids[:n.value]

    def encode_offsets(self, text, flags=0):
        """ids of a text, and the byte ranges that they come from, (n, 2)."""
        data = text.encode() if isinstance(text, str) else text
        room, n = 3 * len(data) + 5, ctypes.c_int64()
        ids, (begins, ends) = np.empty(room, np.int32), np.empty((2, room), np.uintp)
        lib.llama2_tokenizer_encode_offsets(self.handle, data, len(data), flags, pointer(ids, ctypes.c_int32), pointer(begins, ctypes.c_size_t), pointer(ends, ctypes.c_size_t), room, n)
        return ids[:n.value], np.stack([begins[:n.value], ends[:n.value]], 1).astype(np.int64)

    def encode_chat(self, messages):
        """ids of a dialogue [(role, text), ...] that is to be answered, or that ends with the assistant's answer, as a sampled one does; roles are LLAMA2_ROLE_*."""
        roles, texts = zip(*messages)
        chat = new(llama2.llama2_chat, n_messages=len(roles), roles=(ctypes.c_int32 * len(roles))(*roles), texts=(ctypes.c_char_p * len(roles))(*[text.encode() for text in texts]))
        flags = llama2.LLAMA2_CHAT_COMPLETE | llama2.LLAMA2_CHAT_TO_END if roles[-1] == llama2.LLAMA2_ROLE_ASSISTANT else 0
        ids, n = np.empty(8192, np.int32), ctypes.c_int64()
        lib.llama2_chat_encode(self.handle, chat, flags, pointer(ids, ctypes.c_int32), None, len(ids), n)
        return ids[:n.value]

    def decode(self, ids, flags=llama2.LLAMA2_DECODE_BYTES):
        ids = np.ascontiguousarray(ids, np.int32)
        n = ctypes.c_size_t()
        lib.llama2_tokenizer_decode(self.handle, pointer(ids, ctypes.c_int32), len(ids), flags, None, 0, n)
        buffer = ctypes.create_string_buffer(n.value + 1)
        lib.llama2_tokenizer_decode(self.handle, pointer(ids, ctypes.c_int32), len(ids), flags, buffer, len(buffer), n)
        return buffer.raw[:n.value]

    def save(self, path):
        lib.llama2_tokenizer_save(self.handle, os.fsencode(path))

    def __del__(self):
        lib.llama2_tokenizer_free(self.handle)


class Model:
    def __init__(self, path, ctx=None, **options):
        self.ctx, self.handle = ctx or make_context(), llama2.handle(llama2.llama2_model)
        lib.llama2_model_load(self.ctx, os.fsencode(path), new(llama2.llama2_model_options, **options), self.handle)
        self.config = llama2.llama2_config(struct_size=ctypes.sizeof(llama2.llama2_config))
        lib.llama2_model_config(self.handle, self.config)

    def save(self, path, dtype=llama2.LLAMA2_F32):
        lib.llama2_model_save(self.handle, os.fsencode(path), dtype)

    def save_gguf(self, path, tokenizer=None, dtype=llama2.LLAMA2_F32):
        options = new(llama2.llama2_convert_options, type=dtype)
        lib.llama2_model_save_gguf(self.handle, tokenizer.handle if tokenizer else None, os.fsencode(path), options)

    def logits(self, tokens):
        """(T, V) after each token of one sequence."""
        tokens = np.ascontiguousarray(tokens, np.int32)
        out = np.empty((len(tokens), self.config.vocab_size), np.float32)
        lib.llama2_model_logits(self.handle, self.batch(tokens), pointer(out, ctypes.c_float))
        return out

    def loss(self, tokens):
        """-log p summed over the tokens of one sequence, but the first."""
        loss = new(llama2.llama2_loss)
        lib.llama2_model_evaluate(self.handle, self.batch(np.ascontiguousarray(tokens, np.int32)), loss)
        return loss.sum

    def batch(self, *sequences):
        tokens, offsets = np.concatenate(sequences, dtype=np.int32), np.cumsum([0, *map(len, sequences)], dtype=np.int64)
        batch = new(llama2.llama2_batch, n_sequences=len(sequences), n_tokens=len(tokens), tokens=pointer(tokens, ctypes.c_int32), offsets=pointer(offsets, ctypes.c_int64))
        batch.arrays = tokens, offsets
        return batch

    def tensors(self):
        """(name, fp32 array) of each tensor, in the library's order."""
        for index in range(lib.llama2_model_tensors(self.handle)):
            info = new(llama2.llama2_tensor_info)
            lib.llama2_model_tensor_info(self.handle, index, info)
            values = np.empty((info.rows, info.columns), np.float32)
            lib.llama2_model_get_tensor(self.handle, info.name, pointer(values, ctypes.c_float), values.size, None)
            yield info.name.decode(), values

    def __del__(self):
        lib.llama2_model_free(self.handle)


class Rollouts:
    """K sampled answers of a model to each prompt (ids)."""

    def __init__(self, model, prompts, samples, max_new_tokens, temperature, seed):
        self.model, self.handle = model, llama2.handle(llama2.llama2_rollouts)
        options = new(llama2.llama2_rollout_options, samples_per_prompt=samples, max_new_tokens=max_new_tokens, temperature=temperature, seed=seed)
        lib.llama2_rollout(model.handle, model.batch(*prompts), options, self.handle)

    def view(self):
        view = new(llama2.llama2_rollouts_view)
        lib.llama2_rollouts_view_get(self.handle, view)
        return view

    def scores(self, reward_model):
        """A score for each answer, from a reward model's folder."""
        judge = llama2.handle(llama2.llama2_reward_model)
        lib.llama2_reward_model_load(self.model.ctx, os.fsencode(reward_model), None, judge)
        lib.llama2_rollouts_score_into(self.handle, judge, llama2.LLAMA2_ROLLOUTS_HELPFUL_SCORES)
        lib.llama2_reward_model_free(judge)
        view = self.view()
        return np.ctypeslib.as_array(view.helpful_scores, (view.n_samples,)).copy()

    def __del__(self):
        lib.llama2_rollouts_free(self.handle)
