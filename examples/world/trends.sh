#!/usr/bin/env bash
# Runs `llama2-pipeline --iterations 5`, the same with preferences of a coin, and `--ablations` on the embedded world with seeds 1 .. N (default 4), one thread
# each and as many at once as there are processors, and writes a report of what of the paper's trends holds over the seeds. Run examples/quickstart.sh first: it
# builds the programs. A run that was stopped goes on.
#
#   examples/world/trends.sh [N [FOLDER]]
set -euo pipefail
cd "$(dirname "$0")/../.."
n=${1:-4}
[ "$n" -le 21 ] || { echo "at most 21 seeds: a report of theirs takes 63 of the runs'" >&2; exit 2; }
export folder=${2:-out/trends} bin=build/bin
run() { # loop|shuffled|ablations SEED
    local out=$folder/$1-$2 kind=--ablations
    case $1 in
        loop) kind="--iterations 5" ;;
        shuffled) kind="--iterations 5 --shuffled" ;;
    esac
    [ -e "$out/report.json" ] || $bin/llama2-pipeline $kind --threads 1 --quiet --seed "$2" --out "$out" $([ ! -e "$out/state/manifest.jsonl" ] || echo --resume)
}
export -f run
mkdir -p "$folder"
for seed in $(seq 1 "$n"); do printf '%s\n' "loop $seed" "ablations $seed" "shuffled $seed"; done | xargs -P "$(nproc)" -L1 bash -euc 'run "$@"' run
for seed in $(seq 1 "$n"); do reports+=("$folder"/{loop,ablations,shuffled}-"$seed"/report.json); done
$bin/llama2-world-trends "$folder" "${reports[@]}"
