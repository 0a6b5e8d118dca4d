#!/bin/sh
# Installs the build into a prefix, moves the prefix elsewhere, and there makes the same program in C (shared and static), C++, Python and Rust: all must
# print the same bits. run.sh SOURCE_FOLDER BUILD_FOLDER
set -eu
source=$1 build=$2
CC=${CC:-cc}
scratch=$(mktemp -d) # a path without spaces, wherever the sources lie: flags of pkg-config are words
trap 'rm -rf "$scratch"' EXIT
mkdir -p "$scratch/outside/package"

DESTDIR="$scratch/stage" cmake --install "$build" --prefix /prefix >"$scratch/install.log"
mv "$scratch/stage/prefix" "$scratch/moved"
prefix=$scratch/moved
if grep -rIlF -e "$build" -e "$source/lib/" -e "$source/include/" "$prefix"; then echo "these installed files name the folder that they were built in"; exit 1; fi
for program in "$prefix"/bin/llama2-*; do
    [ -e "$program" ] || continue # built without examples
    "$program" --version >/dev/null || { echo "$program does not run where it was moved to"; exit 1; }
done
PKG_CONFIG_PATH=$(dirname "$(find "$prefix" -name llama2.pc)")
export PKG_CONFIG_PATH
libdir=$(pkg-config --variable=libdir llama2)
bindings=$(pkg-config --variable=bindingsdir llama2)
LD_LIBRARY_PATH=$libdir${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
export LD_LIBRARY_PATH
cp "$source"/tests/install/host.* "$scratch/outside"
cd "$scratch/outside"
for host in host.*; do [ "$(wc -l <"$host")" -lt 100 ] || { echo "$host has 100 lines or more"; exit 1; }; done

same() { # LANGUAGE COMMAND...
    language=$1
    shift
    "$@" >"$language.out" || { echo "the host in $language failed"; exit 1; }
    diff c.out "$language.out" || { echo "the host in $language (>) does not print the bits of the host in C (<)"; exit 1; }
    echo "$language: the bits of the host in C"
}

# shellcheck disable=SC2046 # flags are words
"$CC" -std=c11 -Wall -Wextra -pedantic -Werror host.c $(pkg-config --cflags --libs llama2) -o host-c
./host-c >c.out
[ "$(wc -l <c.out)" -eq 7 ]
cat c.out

# The README's example, of which the error is looked at: it needs a model to do more.
awk '/^```c$/ { c = 1; next } /^```/ { c = 0 } c' "$source/README.md" >readme.c
# shellcheck disable=SC2046
"$CC" -std=c11 -Wall -Wextra -pedantic -Werror readme.c $(pkg-config --cflags --libs llama2) -o readme
if ./readme no-such-model hello 2>readme.err; then echo "the README's example succeeds without a model"; exit 1; fi
grep -q no-such-model readme.err || { echo "the README's example: $(cat readme.err)"; exit 1; }

# The static library by its file name: -lllama2 means the shared one where both are.
# shellcheck disable=SC2046
"$CC" -std=c11 host.c $(pkg-config --static --cflags --libs llama2 | sed 's/-lllama2/-l:libllama2.a/') -o host-static
if ldd host-static | grep libllama2; then echo "host-static is not static"; exit 1; fi
same static ./host-static

cat >package/CMakeLists.txt <<'END'
cmake_minimum_required(VERSION 3.20)
project(host LANGUAGES CXX)
find_package(llama2 0.1 REQUIRED)
set(CMAKE_CXX_STANDARD 17)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
add_compile_options(-Wall -Wextra -pedantic -Werror)
foreach(kind llama2 llama2_static)
  add_executable(host_${kind} ../host.cpp)
  target_link_libraries(host_${kind} PRIVATE llama2::${kind})
endforeach()
END
cmake -S package -B package/build -DCMAKE_PREFIX_PATH="$prefix" >package.log || { cat package.log; exit 1; }
cmake --build package/build >>package.log || { cat package.log; exit 1; }
same C++ package/build/host_llama2
same C++-static package/build/host_llama2_static

if command -v python3 >/dev/null; then
    same Python env PYTHONPATH="$bindings" LLAMA2_LIBRARY="$libdir/libllama2.so" python3 -B host.py
else
    echo "no python3 here: the host in Python is skipped"
fi

if command -v rustc >/dev/null; then
    cp "$bindings/llama2.rs" .
    # shellcheck disable=SC2046
    rustc --edition 2021 -D warnings host.rs -o host-rust $(pkg-config --libs llama2)
    same Rust ./host-rust
else
    echo "no rustc here: the host in Rust is skipped"
fi
