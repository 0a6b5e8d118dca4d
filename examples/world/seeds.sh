#!/usr/bin/env bash
# Runs `llama2-pipeline --controls` on the embedded world with seeds 1 .. N (default 8), one thread each and as many at once as there are processors, and compares
# the stages over the seeds. Four to seven minutes a seed and processor. Run examples/quickstart.sh first: it builds the programs. A seed whose controls
# were stopped is run again: its report is of the chain alone.
#
#   examples/world/seeds.sh [N [FOLDER]]
set -euo pipefail
cd "$(dirname "$0")/../.."
n=${1:-8}
folder=${2:-out/seeds}
mkdir -p "$folder"
seq 1 "$n" | xargs -P "$(nproc)" -I{} sh -c "grep -qs 'PPO, shuffled' $folder/{}/report.json || build/bin/llama2-pipeline --controls --threads 1 --quiet --seed {} --out $folder/{}"
build/bin/llama2-world-compare $(seq -f "$folder/%g/report.json" 1 "$n")
