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

# kills SAME OUT MARK NANOSECONDS PROGRAM ARGUMENTS...: kills a run, which takes so long at a stretch, at ten random moments; each time it goes on if OUT/MARK, a pattern, is there.
# SAME compares its end with what it should be. If that comes before the tenth kill it begins anew.
kills() {
    same=$1 out=$2 mark=$2/$3 whole=$4 program=$5
    shift 5
    killed=0 tried=0 resume= moments=
    while [ $killed -lt 10 ]; do
        tried=$((tried + 1))
        [ $tried -le 50 ] || { fail "$out: killed $killed times only, at $moments"; break; }
        moment=$(awk -v whole="$whole" -v seed=$$ -v tried=$tried 'BEGIN { srand(seed * 100 + tried); printf "%.3f", rand() * whole / 4e9 }')
        "$bin/llama2-$program" "$@" --out "$out" --quiet $resume >cut.out 2>cut.err </dev/null &
        pid=$!
        sleep "$moment"
        kill -KILL $pid 2>/dev/null
        wait $pid
        got=$?
        case $got in
        137) killed=$((killed + 1)) moments="$moments $moment" ;;
        0) $same; rm -rf "$out" ;;
        *) fail "$out: exit status $got where it was to be killed at $moments $moment: $(cat cut.err)" ;;
        esac
        resume=
        ls $mark >/dev/null 2>&1 && resume=--resume
    done
    expect 0 - "$program" "$@" --out "$out" --quiet $resume
    $same
}

# differ FILE FILE WORDS: both are there, and are not the same.
differ() {
    cmp -s "$1" "$2"
    [ $? -eq 1 ] || fail "$3"
}

# What must be equal in metrics.jsonl: everything but time.
timeless() { sed 's/"\(seconds\|time\/[a-z]*\)":[^,}]*//g' "$1"; }

# await PATTERN PID: until there is such a file, a minute at most, or the process has ended.
await() {
    waited=0
    until ls $1 >/dev/null 2>&1; do
        kill -0 "$2" 2>/dev/null && [ $waited -lt 6000 ] || break
        sleep 0.01
        waited=$((waited + 1))
    done
}

# captions REPORT: each chart says what the paper has, and what was expected.
captions() {
    grep -q '"caption": "' "$1" || fail "$1: no captions"
    sed -n 's/^ *"caption": //p' "$1" | while read -r caption; do
        case $caption in *[Pp]aper*[Ee]xpected* | *[Ee]xpected*[Pp]aper*) ;; *) echo "$caption" ;; esac
    done >lacking
    [ -s lacking ] && fail "$1: captions without the paper or what was expected: $(cat lacking)"
}
