"""One engine in a process of its own: opens a model, reads 16 tokens, generates 16, scores 128; prints what it took as JSON.

usage: measure_start.py llama2|llama.cpp MODEL.gguf"""
import json
import sys
import time
from pathlib import Path

import numpy as np

PROMPT, TEXT = np.arange(300, 316, dtype=np.int32), np.arange(1000, 1128, dtype=np.int32)


def status(name):
    return next(int(line.split()[1]) for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(name)) * 1024


def by_llama2(path):
    import ctypes

    from host import Model, lib, llama2, new, pointer
    begin = time.perf_counter()
    model = Model(path, weights=llama2.LLAMA2_WEIGHTS_AS_STORED)
    session, token, greedy = llama2.handle(llama2.llama2_session), ctypes.c_int32(), new(llama2.llama2_sampling, temperature=0)
    lib.llama2_session_create(model.handle, session)
    lib.llama2_session_feed(session, pointer(PROMPT, ctypes.c_int32), len(PROMPT))
    lib.llama2_session_sample(session, greedy, token, None)
    yield time.perf_counter() - begin
    begin = time.perf_counter()
    for _ in range(16):
        lib.llama2_session_feed(session, token, 1)
        lib.llama2_session_sample(session, greedy, token, None)
    yield (time.perf_counter() - begin) / 16
    yield model.loss(TEXT) / (len(TEXT) - 1)


def by_llama_cpp(path):
    from compare import loss
    from host import THREADS
    from peer_llama_cpp import Llama
    begin = time.perf_counter()
    model = Llama(path, n_ctx=512, n_threads=THREADS, n_threads_batch=THREADS, verbose=False)
    model.eval(PROMPT.tolist())
    token = model.sample(temp=0)
    yield time.perf_counter() - begin
    begin = time.perf_counter()
    for _ in range(16):
        model.eval([token])
        token = model.sample(temp=0)
    yield (time.perf_counter() - begin) / 16
    model = Llama(path, n_ctx=512, n_threads=THREADS, n_threads_batch=THREADS, logits_all=True, verbose=False)
    model.eval(TEXT.tolist())
    yield loss(model.scores[:len(TEXT)], TEXT) / (len(TEXT) - 1)


before = status("RssAnon")
engine = (by_llama2 if sys.argv[1] == "llama2" else by_llama_cpp)(sys.argv[2])
result = {"first": next(engine), "each": next(engine), "peak": status("VmHWM"), "own": status("RssAnon") - before}
print(json.dumps(result | {"nll": next(engine)}))
