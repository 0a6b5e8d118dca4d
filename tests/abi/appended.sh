#!/bin/sh
# A client compiled against today's header still runs after fields were appended: makes a copy of the library with one more field in an options struct, a metrics
# struct and the batch, and runs clients of both headers with both libraries. appended.sh SOURCE_FOLDER LIBRARY_FOLDER SCRATCH_FOLDER COMPILER
set -eu
source=$1 today=$2 scratch=$3 compiler=$4
here=$source/tests/abi
copy=$scratch/copy
mkdir -p "$copy"
for part in CMakeLists.txt cmake lib include; do rm -rf "${copy:?}/$part"; cp -Rp "$source/$part" "$copy/$part"; done

change() { # FILE PATTERN REPLACEMENT: exactly one line changes
    sed "s/$2/$3/" "$copy/$1" >"$scratch/changed"
    [ "$(diff "$copy/$1" "$scratch/changed" | grep -c '^<')" -eq 1 ] || { echo "$1 has no line (or several) like: $2; mend this test"; exit 1; }
    cp "$scratch/changed" "$copy/$1"
    newer=$source/$1 # a second run of this test then compiles nothing again
    [ "$0" -nt "$newer" ] && newer=$0
    touch -r "$newer" "$copy/$1"
}
change include/llama2/trainer.h '^} llama2_trainer_options;' '    double appended; &'
change include/llama2/trainer.h '^} llama2_step_metrics;' '    double appended; &'
change include/llama2/batch.h '^} llama2_batch;' '    const float *appended; &'
change lib/api/trainer.c '\.max_bad_steps = 5' '&, .appended = 7'
change lib/train/trainer.c '\.total_tokens = trainer->total_tokens,' '&.appended = trainer->options.appended,'

cmake -S "$copy" -B "$scratch/build" -DCMAKE_BUILD_TYPE=Debug -DCMAKE_C_FLAGS_DEBUG=-O0 -DCMAKE_C_COMPILER="$compiler" -DLLAMA2_CBLAS=OFF \
    -DLLAMA2_BUILD_TESTS=OFF -DLLAMA2_BUILD_EXAMPLES=OFF -DLLAMA2_BUILD_BENCH=OFF >"$scratch/log" || { cat "$scratch/log"; exit 1; }
cmake --build "$scratch/build" --target llama2 -j 2 >>"$scratch/log" || { cat "$scratch/log"; exit 1; }
later=$scratch/build/lib

"$compiler" -std=c11 -Wall -Wextra -pedantic -Werror "$here/client.c" -I"$source/include" -L"$today" -lllama2 -o "$scratch/client-of-today"
"$compiler" -std=c11 -Wall -Wextra -pedantic -Werror -DAPPENDED "$here/client.c" -I"$copy/include" -L"$later" -lllama2 -o "$scratch/client-of-later"

failed=0
expect() { # WHAT CLIENT LIBRARY ARGUMENT EXPECTED-PATTERN
    found=$(LD_LIBRARY_PATH="$3${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}" "$scratch/$2" $4) || true
    echo "$1: $found"
    printf '%s\n' "$found" | grep -qx "$5" || { echo "    expected $5"; failed=1; }
}
ran='step 1 tokens 6 lr 0.00015 struct_size kept'
expect "today's client, today's library" client-of-today "$today" "" "$ran"
expect "today's client, a later library" client-of-today "$later" "" "$ran"
expect "a later client, a later library: the default" client-of-later "$later" "" "$ran appended 7"
expect "a later client, a later library: the field set" client-of-later "$later" set "$ran appended 3"
expect "a later client, today's library: the field not set" client-of-later "$today" "" "$ran appended 0"
expect "a later client, today's library: the field set" client-of-later "$today" set \
    'trainer_create LLAMA2_E_ABI: llama2_trainer_options: byte [0-9]* is set, this library knows [0-9]* bytes.*'
exit $failed
