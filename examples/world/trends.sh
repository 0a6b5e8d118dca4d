#!/usr/bin/env bash
# Runs `llama2-pipeline --iterations 5`, the same with preferences of a coin, and `--ablations` on the embedded world with seeds 1 .. N (default 4), one thread
# each and as many at once as there are processors, and writes a report of what of the paper's trends holds over the seeds. With MORE (default 0) the margins, of
# which little can be said from few trainings, have seeds N + 1 .. N + MORE too, and with LOOPS (default 0) the loop N + 1 .. N + LOOPS. Run
# examples/quickstart.sh first: it builds the programs. A run that was stopped goes on.
#
#   examples/world/trends.sh [N [FOLDER [MORE [LOOPS]]]]
set -euo pipefail
cd "$(dirname "$0")/../.."
n=${1:-4} more=${3:-0} loops=${4:-0}
[ $((3 * n + more + loops)) -le 63 ] || { echo "at most 63 runs, three a seed: a report of theirs takes no more" >&2; exit 2; }
export folder=${2:-out/trends} bin=build/bin
run() { # loop|shuffled|ablations|margins SEED
    local out=$folder/$1-$2 kind=--ablations
    case $1 in
        loop) kind="--iterations 5" ;;
        shuffled) kind="--iterations 5 --shuffled" ;;
        margins) kind="--ablations --margins" ;;
    esac
    [ -e "$out/report.json" ] || $bin/llama2-pipeline $kind --threads 1 --quiet --seed "$2" --out "$out" $([ ! -e "$out/state/manifest.jsonl" ] || echo --resume)
}
export -f run
mkdir -p "$folder"
{
    for seed in $(seq 1 "$n"); do printf '%s\n' "loop $seed" "ablations $seed" "shuffled $seed"; done
    for seed in $(seq $((n + 1)) $((n + loops))); do echo "loop $seed"; done
    for seed in $(seq $((n + 1)) $((n + more))); do echo "margins $seed"; done
} | xargs -P "$(nproc)" -L1 bash -euc 'run "$@"' run
for seed in $(seq 1 "$n"); do reports+=("$folder"/{loop,ablations,shuffled}-"$seed"/report.json); done
for seed in $(seq $((n + 1)) $((n + loops))); do reports+=("$folder/loop-$seed/report.json"); done
for seed in $(seq $((n + 1)) $((n + more))); do reports+=("$folder/margins-$seed/report.json"); done
$bin/llama2-world-trends "$folder" "${reports[@]}"
