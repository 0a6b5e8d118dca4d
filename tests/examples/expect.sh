# What the tests of the programs begin with; they are called with BIN CHECK_JSON, and run in a folder of their own.
set -u
bin=$1 check=$2
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir" || exit 1
failures=0

fail() {
    echo "FAILED: $*" >&2
    failures=$((failures + 1))
}

# expect STATUS WORDS PROGRAM ARGUMENTS...: exit status, and words on standard error (or - for none asked). Output in out, err.
expect() {
    status=$1 words=$2 program=$3
    shift 3
    "$bin/llama2-$program" "$@" >out 2>err </dev/null
    got=$?
    [ $got -eq "$status" ] || { fail "llama2-$program $*: exit status $got, expected $status"; cat err >&2; }
    [ "$words" = - ] || grep -q -- "$words" err || { fail "llama2-$program $*: no \"$words\" on standard error"; cat err >&2; }
}

json() { "$check" "$@" || fail "json: $*"; }

# differ FILE FILE WORDS: both are there, and are not the same.
differ() {
    cmp -s "$1" "$2"
    [ $? -eq 1 ] || fail "$3"
}
