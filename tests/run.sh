#!/usr/bin/env bash
# Sets up and runs the tests on Debian, as root or with sudo.
#
#   tests/run.sh            build with gcc, quick and full tests
#   tests/run.sh --quick    the quick tier alone
#   tests/run.sh --ci       also: clang, -Werror, address, undefined-behaviour and thread sanitizer, valgrind, the quickstart
#   tests/run.sh --long     also the long tier: the pipeline on real data, and what tests leave out of long texts otherwise
#   tests/run.sh --interop  beside its peers from PyPI (tests/interop/run.sh), no other tests; with --long a full epoch of both reward models too
#
# Real data for tests is looked for in LLAMA2_TEST_DATA (default: ../shared/data beside the checkout); what needs it is skipped without.
set -euo pipefail
cd "$(dirname "$0")/.."

tier=full long=
for argument in "$@"; do
    case $argument in
    --quick) tier=quick ;;
    --ci) tier=ci ;;
    --long) long=1 ;;
    --interop) tier=interop ;;
    *) sed -n '2,10s/^# \{0,1\}//p' "$0"; exit 2 ;;
    esac
done

if [ -n "$long" ]; then
    case $tier in
    full) tier=long ;;
    interop) ;;
    *) echo "--long goes with --interop alone" >&2; exit 2 ;;
    esac
    export LLAMA2_TEST_LONG=1
fi

say() { printf '\n== %s (%s)\n' "$*" "$(date +%T)"; }
jobs=$(nproc)

packages="build-essential cmake ninja-build pkg-config libopenblas-dev check libjansson-dev zlib1g-dev libmicrohttpd-dev libsqlite3-dev python3"
[ $tier != ci ] || packages+=" clang libclang-rt-14-dev valgrind abigail-tools rustc python3-cffi chromium chromium-driver"
[ $tier != interop ] || packages+=" python3-venv"
missing=
for package in $packages; do
    dpkg-query -W -f '${db:Status-Status}\n' "$package" 2>/dev/null | grep -qx installed || missing+=" $package"
done
if [ -n "$missing" ]; then
    say "installing$missing"
    sudo=
    [ "$(id -u)" = 0 ] || sudo=sudo
    $sudo apt-get update -qq
    # shellcheck disable=SC2086
    $sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >/dev/null
fi

export LLAMA2_TEST_DATA=${LLAMA2_TEST_DATA:-$PWD/../shared/data}
[ -d "$LLAMA2_TEST_DATA" ] || echo "no real data in $LLAMA2_TEST_DATA: tests that need it are skipped"

# build NAME OPTION...: configures and builds build-NAME, all of it or $targets
build() {
    local name=$1
    shift
    say "build $name"
    cmake -S . -B "build-$name" -G Ninja -DLLAMA2_WERROR=ON -DLLAMA2_TEST_DATA="$LLAMA2_TEST_DATA" "$@" >/dev/null
    # shellcheck disable=SC2086
    cmake --build "build-$name" -j "$jobs" --target ${targets:-all} -- --quiet
}

# run NAME CTEST-OPTION...: its tests
run() {
    local name=$1
    shift
    say "tests $name"
    ctest --test-dir "build-$name" --output-on-failure -j "$jobs" "$@"
}

build test -DCMAKE_BUILD_TYPE=Release
case $tier in
quick) run test -L quick ;;
interop) exec tests/interop/run.sh build-test ;;
long) run test ;;
*) run test -LE long ;;
esac

if [ $tier != quick ]; then
    say "benchmark: a second thread, and sixteen samples of a prompt" # figures to look at: nothing fails on a busy machine
    build-test/bench/threads
fi

if [ $tier = ci ]; then
    build clang -DCMAKE_BUILD_TYPE=Release -DCMAKE_C_COMPILER=clang
    run clang -L quick

    # Sanitizers run the tests that are about memory, threads and input; those that compare numbers at length run without.
    build asan --preset asan -DLLAMA2_BUILD_BENCH=OFF
    ASAN_OPTIONS=detect_leaks=1 run asan -L quick -LE slow --timeout 900
    threaded=(base/threads base/alloc base/files api/context api/model api/tokenizer infer/session infer/feed infer/generate infer/rollouts
        model/gradients train/trainer train/reward train/ppo train/value_head)
    targets=$(printf 'test_%s ' "${threaded[@]/\//_}") build tsan --preset tsan -DCMAKE_C_COMPILER=clang -DLLAMA2_BUILD_BENCH=OFF -DLLAMA2_BUILD_EXAMPLES=OFF
    run tsan -R "^($(IFS='|' && echo "${threaded[*]}"))$" --timeout 900

    say "valgrind"
    tests/valgrind.sh "$PWD/build-test" "$PWD/examples/world/tokenizer.model"

    # As a new user runs it, up to seven minutes of two cores; on a slow machine everything else has taken the time for that.
    tiny=
    [ $SECONDS -lt 1200 ] || tiny=--tiny
    say "quickstart${tiny:+ --tiny, since the rest took $((SECONDS / 60)) minutes}"
    examples/quickstart.sh --out "$PWD/build-test/quickstart" $tiny
fi
say "all passed"
