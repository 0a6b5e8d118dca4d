#!/bin/sh
# Each public header compiles by itself, as C11 and C++17, without a warning; layout.c and handles.cpp hold; test_struct_size.c
# has every struct. headers.sh INCLUDE_FOLDER SCRATCH_FOLDER COMPILER...
set -u
include=$1 scratch=$2
shift 2
here=$(cd "$(dirname "$0")" && pwd)
failed=0
mkdir -p "$scratch"

compile() { # LANGUAGE STANDARD FILE
    "$compiler" -x "$1" -std="$2" -Wall -Wextra -pedantic -Werror -fsyntax-only -I"$include" "$3" || { echo "$compiler -std=$2: $3 does not compile"; failed=1; }
}

done_with=" "
for compiler in gcc clang "$@"; do
    command -v "$compiler" >/dev/null || { echo "no $compiler here: not tested with it"; continue; }
    program=$(readlink -f "$(command -v "$compiler")")
    case $done_with in *" $program "*) continue ;; esac
    done_with="$done_with$program "
    for header in "$include"/llama2/*.h "$include"/llama2/*.hpp; do
        [ -e "$header" ] || continue
        name=$(basename "$header")
        echo "#include <llama2/$name>" >"$scratch/alone.c"
        case $name in *.h) compile c c11 "$scratch/alone.c" ;; esac
        compile c++ c++17 "$scratch/alone.c"
    done
    compile c c11 "$here/layout.c"
    compile c++ c++17 "$here/handles.cpp"
done

for struct in $(cat "$include"/llama2/*.h | sed -n 's/^typedef struct \(llama2_[a-z0-9_]*\) {.*/\1/p'); do
    grep -qw "$struct" "$here/test_struct_size.c" || { echo "test_struct_size.c has no row for $struct"; failed=1; }
done
exit $failed
