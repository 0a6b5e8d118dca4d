"""What transformers and llama.cpp say about the files that the library writes."""
import gc

import llama_cpp
import numpy as np
import torch
from transformers import AutoModelForCausalLM

import host
from peer_llama_cpp import Llama

GGML_TYPE_F32 = 0
torch.set_num_threads(host.THREADS)


@llama_cpp.llama_log_callback
def quiet(level, text, user):
    pass


llama_cpp.llama_log_set(quiet, None)


class Transformers:
    def __init__(self, folder):
        self.model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()

    @torch.no_grad()
    def logits(self, tokens):
        """(T, V) after each token of one sequence."""
        return self.model(torch.from_numpy(np.asarray(tokens, np.int64))[None]).logits[0].numpy()


class LlamaCpp:
    """llama.cpp with keys and values in f32, so that only its products differ."""

    def __init__(self, path, n_ctx=4096, logits_all=True):
        self.model = Llama(str(path), n_ctx=n_ctx, n_batch=512, n_ubatch=512, logits_all=logits_all, type_k=GGML_TYPE_F32, type_v=GGML_TYPE_F32, n_threads=host.THREADS,
                           n_threads_batch=host.THREADS, verbose=False)

    def logits(self, tokens):
        """(T, V) after each token of one sequence, until the next call."""
        self.model.reset()
        self.model.eval([int(token) for token in tokens])
        return self.model.scores[:len(tokens)]

    def close(self):
        self.model.close()
        gc.collect()
