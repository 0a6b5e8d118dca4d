#!/usr/bin/env bash
# Runs `llama2-pipeline --iterations 5` on the embedded world with seeds 1 .. N (default 4), one thread each and as many at once as there are processors, and
# compares the versions over the seeds. Run examples/quickstart.sh first: it builds the programs. A run that was stopped goes on.
#
#   examples/world/loop_seeds.sh [N [FOLDER [options of llama2-pipeline]]]
set -euo pipefail
cd "$(dirname "$0")/../.."
n=${1:-4}
folder=${2:-out/loop-seeds}
shift $(($# < 2 ? $# : 2))
mkdir -p "$folder"
export options="$*"
seq 1 "$n" | xargs -P "$(nproc)" -I{} sh -c "[ -e $folder/{}/report.json ] || build/bin/llama2-pipeline --iterations 5 --threads 1 --quiet --seed {} --out $folder/{} \
    \$options \$([ -e $folder/{}/state/manifest.jsonl ] && echo --resume)"
build/bin/llama2-world-compare-loops $(seq -f "$folder/%g/report.json" 1 "$n")
