#!/bin/sh
# Runs the unit tests named below, and a program of each stage from end to end on a tiny model, under valgrind: a leak, or anything that depends on memory which was never
# written, fails. Left out are tests that compute at length and those whose children end with threads that are not there any more (api/context, base/threads).
#
#     valgrind.sh BUILD TOKENIZER
set -u
build=$1 tokenizer=$2
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
export CK_FORK=no CK_DEFAULT_TIMEOUT=0 LLAMA2_TEST_FEW=1

# Blocks of code as long as the vector kernels' are more than valgrind 3.19 takes, unless it is told to cut them.
cat >"$dir/check" <<'EOF'
#!/bin/sh
valgrind --quiet --vex-guest-max-insns=25 --error-exitcode=9 --leak-check=full --show-leak-kinds=definite,indirect --errors-for-leak-kinds=definite,indirect "$@" >"$LOG" 2>&1 && exit 0
echo "FAILED under valgrind: $*"
cat "$LOG"
exit 1
EOF
chmod +x "$dir/check"

units() {
    for name in base_alloc base_files base_json base_options base_status base_utf8 format_huggingface format_safetensors format_checkpoint tokenizer_chat model_config \
        model_io model_kv_cache infer_session infer_rollouts train_packing train_advantages train_rejection train_reward train_trainer train_ppo train_nomem train_shards \
        api_tokenizer api_checkpoint examples_jsonl examples_records reference_goldens_train reference_goldens_ppo; do
        echo "$build/tests/test_$name"
    done | tr '\n' '\0' | LOG=$dir/log xargs -0 -P "$(nproc)" -n 1 sh -c 'LOG=$LOG.$$ "$0" "$1"' "$dir/check"
}

# program NAME ARGUMENTS...: small batches, quietly
program() {
    name=$1
    shift
    LOG=$dir/log.programs ./check "$build/bin/llama2-$name" --quiet --threads 2 "$@" || exit 1
}
programs() (
    cd "$dir" || exit 1
    i=0
    while [ $i -lt 40 ]; do echo "anna has a cat. anna likes white. who likes white? anna likes white."; i=$((i + 1)); done >text.txt
    for name in anna carl; do
        echo "{\"prompt\": \"what does $name like?\", \"response\": \"$name likes white.\"}" >>demos.jsonl
        echo "{\"prompt\": \"what does $name like?\", \"chosen\": \"white.\", \"rejected\": \"go away.\", \"rating\": \"better\", \"chosen_safe\": true, \"rejected_safe\": false}" >>pairs.jsonl
        echo "{\"prompt\": \"who has a cat, $name?\", \"is_safety\": false}" >>prompts.jsonl
    done
    program pretrain --tokenizer "$tokenizer" --dim 32 --layers 2 --heads 4 --kv-heads 2 --context 64 --data text.txt --steps 2 --batch 2 --length 32 --out base
    program sft --model base --data demos.jsonl --epochs 12 --lr 3e-2 --batch 2 --out chat # its answers end by then
    program reward --model chat --data pairs.jsonl --epochs 1 --batch 2 --safety-weight 1 --out reward
    program reject --model chat --reward reward --data prompts.jsonl --samples 4 --max-new-tokens 12 --epochs 1 --out best
    program ppo --model best --reward reward --data prompts.jsonl --iterations 1 --batch 2 --minibatch 2 --max-new-tokens 4 --out policy
    program generate --model policy --chat --prompt "who has a cat?" --max-tokens 4
    program score --model policy text.txt
)

programs & # valgrind runs one thread at a time, of a program with two as well
units
status=$?
wait $! && [ $status = 0 ] || exit 1
echo "valgrind: all passed"
