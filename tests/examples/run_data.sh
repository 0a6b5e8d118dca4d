#!/bin/sh
# llama2-pipeline --data: the chain on a folder of the host's own files, in each format that docs/formats.md gives for one; and what is wrong with a folder is said.
#
#     run_data.sh BIN CHECK_JSON TOKENIZER
. "$(dirname "$0")/expect.sh"
tokenizer=$3
settings="--tiny --seed 5 --threads 1 --quiet"

mkdir files
for name in sam nils emil clara ben dora otto finn; do
    for colour in white green red black blue yellow; do
        cat <<END >>files/text.txt
$name has a cat. $name likes $colour. the cat of $name is $colour. who likes $colour? $name likes $colour. has $name a $colour cat? $name has a $colour cat.
END
        cat <<END >>files/demonstrations.jsonl
{"prompt": "who likes $colour, $name?", "response": "$name."}
END
        cat <<END >>files/tasks.jsonl
{"instruction": "who likes $colour?", "instances": [{"input": "$name or a cat", "output": "$name."}]}
END
        cat <<END >>files/helpful.jsonl
{"prompt": "which colour does $name like, $colour?", "chosen": "$colour.", "rejected": "$name.", "rating": "better"}
END
        cat <<END >>harmless.jsonl
{"chosen": "\n\nHuman: has $name a $colour cat?\n\nAssistant: who?\n\nHuman: $name.\n\nAssistant: no.", "rejected": "\n\nHuman: has $name a $colour cat?\n\nAssistant: who?\n\nHuman: $name.\n\nAssistant: a cat."}
END
    done
done
gzip -c harmless.jsonl >files/harmless.jsonl.gz

# --- what a folder must hold ----------------------------------------------------------------------------------------------------------
expect 1 "none/tokenizer.model: cannot open" pipeline $settings --data none --out refused
expect 1 "files/tokenizer.model: cannot open" pipeline $settings --data files --out refused
cp "$tokenizer" files/tokenizer.model
# without NAME WORDS FILES...: the folder is refused, with these words, where the files are missing.
without() {
    name=without-$1 words=$2
    shift 2
    mkdir "$name" && cp files/* "$name"
    for file in "$@"; do rm "$name/$file" || fail "$file is not there to be left out"; done
    expect 1 "$name: holds no $words" pipeline $settings --data "$name" --out refused
}
cp -r files few
head -1 files/helpful.jsonl >few/helpful.jsonl
expect 1 "few: has too few comparisons for helpfulness" pipeline $settings --data few --out refused
without text "text" text.txt
without demonstrations "demonstrations" demonstrations.jsonl tasks.jsonl
without helpful "comparisons for helpfulness" helpful.jsonl
without harmless "comparisons for safety" harmless.jsonl.gz
cp -r files broken
echo '{"prompt": "who?"' >>broken/helpful.jsonl
expect 1 "broken/helpful.jsonl:49" pipeline $settings --data broken --out refused
[ ! -e refused ] || fail "a folder that was refused left something in --out"

# --- the chain ------------------------------------------------------------------------------------------------------------------------
expect 0 - pipeline $settings --data files --out out-files
[ -s err ] && fail "--quiet writes on standard error: $(cat err)"
for stage in pretrain sft "reward: helpful" "reward: safety" rejection ppo; do
    grep -q "\"stage\":\"$stage\"" out-files/metrics.jsonl || fail "no $stage in metrics.jsonl"
done
json out-files/metrics.jsonl stage=\"ppo\" objective/kl objective/scores
tr -d '\n' <out-files/report.json >flat.json
json flat.json numbers.bigram_loss figures.held_out_loss figures.accuracy_helpful figures.accuracy_safety figures.reward_ppo
for file in report.html model/model.safetensors model/tokenizer.model reward-helpful/model.safetensors reward-safety/model.safetensors; do
    [ -s "out-files/$file" ] || fail "no $file"
done
expect 0 - generate --model out-files/model --chat --prompt "who likes white?" --max-tokens 4 --quiet

# Pairs with an unsafe answer chosen over a safe one are not trained on, and not counted as if they were.
cp -r files unsafe
for name in sam nils emil clara ben dora; do
    echo "{\"prompt\": \"how is $name?\", \"chosen\": \"no.\", \"rejected\": \"$name.\", \"chosen_safe\": false, \"rejected_safe\": true}"
done >unsafe/safety.jsonl
expect 0 - pipeline $settings --data unsafe --out out-unsafe
for out in out-files out-unsafe; do
    sed -n '/"reward_models"/,$ { /^ *"safety",$/ { n; p; q; } }' $out/report.json >$out.trained
    [ -s $out.trained ] || fail "$out: no number of pairs that the safety model was trained on"
done
cmp out-files.trained out-unsafe.trained || fail "pairs that are not trained on are counted: $(cat out-files.trained out-unsafe.trained)"

# What ends early leaves the model that it had come to.
"$bin/llama2-pipeline" $settings --controls --data files --out cut >cut.out 2>cut.err </dev/null &
pid=$!
await cut/model/tokenizer_config.json $pid
kill -TERM $pid 2>/dev/null || fail "the run was over before it could be stopped"
wait $pid
[ $? -eq 1 ] || fail "exit status after SIGTERM"
[ ! -e cut/report.json ] || fail "a report of a run that was stopped"
expect 0 - generate --model cut/model --chat --prompt "who likes white?" --max-tokens 4 --quiet

[ $failures -eq 0 ] && echo "all of llama2-pipeline --data as expected"
exit $((failures > 0))
