#!/usr/bin/env bash
# Installs what is needed on Debian (as root or with sudo), builds libllama2, and runs the whole chain of the paper on a small embedded world: pretraining,
# SFT, two reward models, rejection sampling, PPO. Five to seven minutes on two cores, the longer without AVX-512. Says where the report is.
#
#   examples/quickstart.sh [--out DIR] [other options of llama2-pipeline]
set -euo pipefail
here=$PWD
cd "$(dirname "$0")/.."

missing=
for package in build-essential cmake ninja-build pkg-config libopenblas-dev libjansson-dev zlib1g-dev libmicrohttpd-dev libsqlite3-dev; do
    dpkg-query -W -f '${db:Status-Status}\n' "$package" 2>/dev/null | grep -qx installed || missing+=" $package"
done
if [ -n "$missing" ]; then
    echo "installing$missing"
    sudo=
    [ "$(id -u)" = 0 ] || sudo=sudo
    $sudo apt-get update -qq
    # shellcheck disable=SC2086
    $sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >/dev/null
fi

cmake -S . -B build -G Ninja -DCMAKE_BUILD_TYPE=Release -DLLAMA2_BUILD_TESTS=OFF -DLLAMA2_BUILD_BENCH=OFF >/dev/null
cmake --build build -- --quiet
root=$PWD
cd "$here"
case " $* " in
*" --out "* | *" --out="*) exec "$root/build/bin/llama2-pipeline" "$@" ;;
*) exec "$root/build/bin/llama2-pipeline" --out out "$@" ;;
esac
