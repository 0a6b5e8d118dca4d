#!/bin/sh
# The shared library exports what lib/llama2.map lists, which is what the headers declare, and asks for nothing but the C library and a CBLAS.
# symbols.sh SOURCE_FOLDER SHARED_LIBRARY SONAME SCRATCH_FOLDER
set -u
source=$1 library=$2 soname=$3 scratch=$4
failed=0
mkdir -p "$scratch"

same() { # WHAT FILE FILE
    diff "$2" "$3" >"$scratch/difference" || { echo "$1:"; grep '^[<>]' "$scratch/difference"; failed=1; }
}

sed -n '/global:/,/local:/s/^ *\([a-z0-9_]*\);$/\1/p' "$source/lib/llama2.map" >"$scratch/listed"
cat "$source"/include/llama2/*.h | sed -n 's/^LLAMA2_API [^(]*[ *]\(llama2_[a-z0-9_]*\)(.*/\1/p' | LC_ALL=C sort >"$scratch/declared"
nm -D --defined-only "$library" | awk '$2 == "T" {sub(/@.*/, "", $3); print $3}' | LC_ALL=C sort >"$scratch/exported"
LC_ALL=C sort "$scratch/listed" >"$scratch/listed.sorted"
[ -s "$scratch/exported" ] || { echo "nm found no symbol in $library"; exit 1; }
same "lib/llama2.map is not sorted" "$scratch/listed" "$scratch/listed.sorted"
same "listed in lib/llama2.map (<) and declared in the headers (>)" "$scratch/listed.sorted" "$scratch/declared"
same "listed in lib/llama2.map (<) and exported (>)" "$scratch/listed.sorted" "$scratch/exported"

others=$(nm -D --defined-only "$library" | awk '$2 != "T" && $2 != "A" {print $2, $3}')
[ -z "$others" ] || { echo "exported, but not functions: $others"; failed=1; }

# Versioned by glibc (libc, libm, libpthread, the loader), the linker's own, or CBLAS.
foreign=$(nm -D --undefined-only "$library" | awk '{print $NF}' | grep -Ev '@GLIBC_|^(_ITM_|__gmon_start__$|__cxa_finalize|cblas_)')
[ -z "$foreign" ] || { echo "needed from elsewhere:" $foreign; failed=1; }

found=$(objdump -p "$library" | awk '$1 == "SONAME" {print $2}')
[ "$found" = "$soname" ] || { echo "the SONAME is $found, expected $soname"; failed=1; }
exit $failed
