#!/bin/sh
# Describes the ABI of the sources with abidw: builds them with debug information and writes OUTPUT (tests/abi/libllama2.abi without one).
# make_baseline.sh [SCRATCH_FOLDER [OUTPUT]]
set -eu
here=$(cd "$(dirname "$0")" && pwd)
source=$(cd "$here/../.." && pwd)
scratch=${1:-$source/build/tests/abi/baseline}
output=${2:-$here/libllama2.abi}
mkdir -p "$scratch"
# Optimisation and CBLAS change nothing in the interface. Without -g abidiff would miss a field inserted in the middle of a struct.
cmake -S "$source" -B "$scratch/build" -DCMAKE_BUILD_TYPE=Debug -DCMAKE_C_FLAGS_DEBUG="-g -O0" -DLLAMA2_CBLAS=OFF -DLLAMA2_BUILD_TESTS=OFF \
    -DLLAMA2_BUILD_EXAMPLES=OFF -DLLAMA2_BUILD_BENCH=OFF >"$scratch/log" || { cat "$scratch/log"; exit 1; }
cmake --build "$scratch/build" --target llama2 -j 2 >>"$scratch/log" || { cat "$scratch/log"; exit 1; }
abidw --suppressions "$here/opaque.abignore" --exported-interfaces-only --drop-undefined-syms --no-show-locs --no-comp-dir-path --no-corpus-path --no-elf-needed \
    --no-parameter-names "$scratch/build/lib/libllama2.so" | sed "s| path='[^']*/lib/| path='lib/|" >"$output"
grep -q "name='llama2_trainer_options' size-in-bits" "$output" || { echo "abidw did not see the structs"; exit 1; }
