"""llama.cpp, as far as this machine can run it.

Where the processor says that it has AMX, llama.cpp copies quantised weights for it; in some virtual machines its products then end with an illegal instruction. There it multiplies them
as they lie."""
import sys
from pathlib import Path

import llama_cpp
from llama_cpp import Llama, llama_cpp as functions

AMX = " amx_tile" in Path("/proc/cpuinfo").read_text()
defaults = functions.llama_model_default_params


def without_copies():
    params = defaults()
    params.use_extra_bufts = False
    return params


if AMX:
    functions.llama_model_default_params = llama_cpp.llama_model_default_params = without_copies
    print("llama.cpp without AMX: it runs on the weights as they lie", file=sys.stderr)

__all__ = ["Llama"]
