#!/bin/sh
# The rules of lib/README.md that a compiler doesn't check: a layer includes only layers to its left, one file sees <cblas.h>, nothing in lib/
# prints or ends the process, and every external symbol has one of the library's prefixes.
# test_layers.sh SOURCE_FOLDER [STATIC_LIBRARY]
set -u
lib=$1/lib
failed=0
complain() { echo "$*" >&2; failed=1; }

# Which layers may include which.
allowed() {
    case $1 in
    base) echo base ;;
    math) echo base math ;;
    format) echo base math format ;;
    tokenizer) echo base math format tokenizer ;;
    model) echo base math format model ;;
    convert) echo base math format tokenizer model convert ;;
    infer) echo base math format tokenizer model infer ;;
    train) echo base math format tokenizer model infer train ;;
    api) echo base math format tokenizer model infer train convert api ;;
    *) return 1 ;;
    esac
}

checked=0
for folder in "$lib"/*/; do
    layer=$(basename "$folder")
    layers=$(allowed "$layer") || { complain "lib/$layer: not a layer of lib/README.md"; continue; }
    for file in $(find "$folder" -name '*.[ch]'); do
        checked=$((checked + 1))
        for included in $(sed -n 's/^[[:space:]]*#[[:space:]]*include[[:space:]]*"\([^"]*\)".*/\1/p' "$file"); do
            case " $layers " in
            *" ${included%%/*} "*) ;;
            *) complain "${file#"$1"/}: includes \"$included\"; $layer may include: $layers (written from lib/)" ;;
            esac
            [ -f "$lib/$included" ] || complain "${file#"$1"/}: \"$included\" is not there"
        done
    done
done
[ "$checked" -gt 10 ] || complain "only $checked source files found in $lib"

cblas=$(grep -rlE '^[[:space:]]*#[[:space:]]*include[[:space:]]*[<"]cblas\.h' "$lib")
[ "$(printf '%s\n' "$cblas" | grep -c .)" -eq 1 ] || complain "<cblas.h> belongs in one file, it is in:" $cblas

# Calls, without comments and strings. Names that end in one of these (l2_fprintf_like) don't match.
forbidden='printf|fprintf|vprintf|vfprintf|puts|fputs|putchar|putc|fputc|perror|exit|_exit|_Exit|quick_exit|abort|assert|raise|signal|sigaction|atexit|setlocale|srand|rand|random|system|pthread_atfork|openblas_set_num_threads|omp_set_num_threads'
for file in $(find "$lib" -name '*.[ch]'); do
    found=$(sed -e 's/\\"//g' -e 's/"[^"]*"/""/g' -e 's://.*$::' "$file" | awk '
        { line = $0
          while (1) {
              if (inside) { end = index(line, "*/"); if (!end) { line = ""; break } line = substr(line, end + 2); inside = 0 }
              begin = index(line, "/*"); if (!begin) { out = out line; break }
              out = out substr(line, 1, begin - 1); line = substr(line, begin + 2); inside = 1
          }
          print NR ":" out; out = "" }' | grep -E "(^|[^A-Za-z0-9_>.])($forbidden)[[:space:]]*\\(|(^|[^A-Za-z0-9_])(stdout|stderr)([^A-Za-z0-9_]|\$)")
    [ -z "$found" ] || complain "${file#"$1"/}: prints, ends the process or changes its state: $found"
done

if [ $# -gt 1 ]; then
    symbols=$(nm -g --defined-only "$2" | awk 'NF == 3 { print $3 }' | grep -vE '^(__asan|__odr_asan|__tsan|__ubsan|__sanitizer)')
    [ -n "$symbols" ] || complain "$2: no symbols"
    foreign=$(printf '%s\n' "$symbols" | grep -vE '^(llama2_|l2_)' | sort -u)
    [ -z "$foreign" ] || complain "$2: external symbols without a prefix of the library:" $foreign
fi
exit $failed
