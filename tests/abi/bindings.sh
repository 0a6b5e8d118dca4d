#!/bin/sh
# What is made from the headers is up to date, and other readers of headers can read them. bindings.sh SOURCE_FOLDER SCRATCH_FOLDER COMPILER
set -u
source=$1 scratch=$2 compiler=$3
failed=0
command -v python3 >/dev/null || { echo "no python3 here: skipped"; exit 77; }
mkdir -p "$scratch/empty"

for generator in tests/abi/make_layout.py bindings/python/make_llama2.py bindings/rust/make_llama2.py; do
    python3 -B "$source/$generator" --check || failed=1
done
python3 -B "$source/tests/abi/check_python.py" || failed=1

# Types of the C library are what a foreign function interface knows by itself: its headers are left empty.
for name in stddef.h stdint.h; do : >"$scratch/empty/$name"; done
"$compiler" -E -P -nostdinc -I"$scratch/empty" -I"$source/include" -include llama2/llama2.h -x c /dev/null >"$scratch/preprocessed.h" || failed=1
if python3 -c 'import cffi' 2>/dev/null; then
    python3 - "$scratch/preprocessed.h" <<'END' || { echo "cffi can't read the preprocessed headers"; failed=1; }
import sys, cffi
ffi = cffi.FFI()
ffi.cdef(open(sys.argv[1]).read())
assert ffi.sizeof("llama2_trainer_options") >= 56
END
elif python3 -c 'import pycparser' 2>/dev/null; then
    { for type in size_t int32_t uint32_t int64_t uint64_t uint8_t; do echo "typedef int $type;"; done; cat "$scratch/preprocessed.h"; } >"$scratch/standalone.h"
    python3 -c 'import sys, pycparser; pycparser.CParser().parse(open(sys.argv[1]).read())' "$scratch/standalone.h" || { echo "pycparser can't read the preprocessed headers"; failed=1; }
else
    echo "neither cffi nor pycparser here: preprocessed headers not read"
fi
exit $failed
