#!/usr/bin/env bash
# Trains reward models and by PPO beside TRL: the same model, pairs, order, prompts and settings (task.py). About two hours on two cores.
#
#   tests/interop/beside_trl/run.sh BUILD [ppo|reward]
#
# BUILD is a build with the shared library and the programs; SmolLM2 comes from what tests/interop/run.sh --setup has fetched into LLAMA2_PEERS (default: build-peers).
# TRL is installed from PyPI into LLAMA2_BESIDE_TRL (default: build-beside-trl), where the results are too.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../../.." && pwd)
build=$(cd "${1:?usage: tests/interop/beside_trl/run.sh BUILD [ppo|reward]}" && pwd)
what=${2:-all}
export LLAMA2_BUILD=$build LLAMA2_PEERS=${LLAMA2_PEERS:-$root/build-peers} LLAMA2_BESIDE_TRL=${LLAMA2_BESIDE_TRL:-$root/build-beside-trl}
export LLAMA2_TEST_DATA=${LLAMA2_TEST_DATA:-$root/../shared/data}
mkdir -p "$LLAMA2_BESIDE_TRL"
python=$LLAMA2_BESIDE_TRL/venv/bin/python
[ -x "$python" ] || python3 -m venv "$LLAMA2_BESIDE_TRL/venv"
if ! cmp -s "$here/requirements.txt" "$LLAMA2_BESIDE_TRL/venv/installed.txt"; then
    "$python" -m pip install -q -r "$here/requirements.txt"
    cp "$here/requirements.txt" "$LLAMA2_BESIDE_TRL/venv/installed.txt"
fi
cd "$LLAMA2_BESIDE_TRL"
[ -e harmless.jsonl ] || "$python" "$here/prepare.py" "$LLAMA2_PEERS/smollm2/SmolLM2-135M-Instruct.Q4_1.gguf" "$LLAMA2_TEST_DATA"

# once SCRIPT ARGUMENT... RESULT: what was done is not done again
once() {
    local result=${*: -1}
    [ -e "$result" ] || { "$python" "$here/$1" "${@:2:$#-2}" "$result.part" && mv "$result.part" "$result"; }
}
status=0 # what compares unfavourably is said in the end
if [ "$what" != reward ]; then
    for seed in 1 2 3 4; do
        once ours.py ppo $seed ppo-ours-$seed.jsonl
        once ours.py measure llama2 $seed measured-ours-$seed.jsonl
    done
    once theirs.py ppo 1 ppo-trl-1.jsonl
    once ours.py measure trl 1 measured-trl-1.jsonl
    "$python" "$here/compare.py" ppo ppo-ours-?.jsonl -- ppo-trl-?.jsonl
    "$python" "$here/compare.py" measured measured-ours-?.jsonl -- measured-trl-?.jsonl || status=1
fi
if [ "$what" != ppo ]; then
    for kind in helpful harmless; do
        once ours.py reward $kind reward-ours-$kind.jsonl
        once theirs.py reward $kind reward-trl-$kind.jsonl
        "$python" "$here/compare.py" reward $kind reward-ours-$kind.jsonl reward-trl-$kind.jsonl || status=1
    done
fi
exit $status
