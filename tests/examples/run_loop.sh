#!/bin/sh
# llama2-pipeline --iterations: a run that was killed at several moments, and interrupted, ends with the bits of one at a stretch.
#
#     run_loop.sh BIN CHECK_JSON
. "$(dirname "$0")/expect.sh"

# stop SIGNAL OUT FILE ARGUMENTS...: runs until OUT/state/FILE is there, which may be a pattern, and sends the signal.
stop() {
    signal=$1 out=$2 file=$2/state/$3
    shift 3
    "$bin/llama2-pipeline" $settings --out "$out" --quiet "$@" >cut.out 2>cut.err </dev/null &
    pid=$!
    await "$file" $pid
    kill -"$signal" $pid 2>/dev/null || { fail "the run was over before $file was there: $(cat cut.err)"; }
    wait $pid
    got=$?
}

settings="--iterations 2 --tiny --threads 1 --seed 3"

# --- usage --------------------------------------------------------------------------------------------------------------------------
expect 2 "embedded world" pipeline --iterations 2 --data .
expect 2 "go with --iterations" pipeline --resume
expect 2 "goes without --iterations" pipeline --controls --iterations 1
expect 1 "there is no" pipeline $settings --out nothing --resume

# The chain without versions, from end to end.
expect 0 - pipeline --tiny --seed 3 --out chain --quiet
json chain/metrics.jsonl stage=\"ppo\" objective/kl objective/scores
[ -s chain/report.html ] && [ -s chain/report.json ] || fail "the tiny chain has no report"

# --- at a stretch -------------------------------------------------------------------------------------------------------------------
began=$(date +%s%N)
expect 0 - pipeline $settings --out whole --quiet
stretch=$(($(date +%s%N) - began))
[ -s err ] && fail "--quiet writes on standard error: $(cat err)"
json whole/metrics.jsonl stage model=\"V2\" gold cold_gold cold_win_rate win_rate win_rate_low win_rate_high refusals false_refusals reward/helpful shift/safety
json whole/state/sample-2/sampled.json version=2 temperature n best median
json whole/state/gatt-1/kept.jsonl stage=\"gatt/kept\" model figures turn dialogues kept right
[ "$(grep -c "" whole/state/gatt-1/kept.jsonl)" -eq 18 ] || fail "GAtt is not measured on three models, twice, in three turns: $(cat whole/state/gatt-1/kept.jsonl)"
grep -q '"examples":[1-9]' whole/state/gatt-1/dialogues.json || fail "GAtt has no example: $(cat whole/state/gatt-1/dialogues.json)"
json whole/state/distill-1/gate.jsonl stage=\"distill/gate\" preprompt prompts kept original distilled
for stage in instruct gatt distill; do
    grep -q "\"stage\":\"$stage\",\"step\"" whole/metrics.jsonl || fail "nothing was trained in $stage"
done
differ whole/state/fine-tune-1/model/model.safetensors whole/state/gatt-1/model/model.safetensors "GAtt leaves the model as it was"
differ whole/state/gatt-1/model/model.safetensors whole/state/distill-1/model/model.safetensors "distillation leaves the model as it was"
json whole/state/collect-2/helpful.jsonl messages chosen rejected rating batch=\"V2\" annotator guideline chosen_by rejected_by chosen_temperature
grep -q '"chosen_by":"distill-1"' whole/state/collect-2/helpful.jsonl || fail "V2's comparisons have no answer of the model before V2"
grep -q '"rejected_by":"gatt-1"' whole/state/collect-2/helpful.jsonl || fail "V2's comparisons have no answer of the model before that"
[ "$(grep -c '"done"' whole/state/manifest.jsonl)" -eq 21 ] || fail "manifest: $(cat whole/state/manifest.jsonl)"
for words in "win_rates" "temperatures" "best_of_n" "shift_helpful" "gatt" "gatt_kept" "gatt_learnt" "distill" "distill_gate" "distill_scores" "distill_preprompts" \
    "shift_safety_scatter" "versions_scores" "versions_cold" "trends" "settings"; do
    grep -q "\"name\": \"$words\"" whole/report.json || fail "report.json has no $words"
done
# Each figure has its interval, and what came out is said.
for number in V1/gold V2/win_rate "V2 (no PPO)/correct" "V1 distilled/safety" V1/cold_gold V1/false_how_to rewards-2/helpful/fresh_before rewards-1/safety/held_out sample-1/best/1 \
    "gatt/V1 with GAtt/2" "gatt/V1, instructed, new figures/1" "distill/V1 with GAtt/unsafe"; do
    for end in "" /low /high; do grep -q "\"$number$end\": " whole/report.json || fail "report.json has no number $number$end"; done
done
grep -q '"rewards-1/helpful/fresh_before' whole/report.json && fail "report.json has a number of the reward model before the first one"
for number in tune-1/top tune-2/top; do grep -q "\"$number\": " whole/report.json || fail "report.json has no number $number"; done
for words in "V1 is better than SFT-v1: win rate" "V1 with GAtt is as good as V1: win rate" "V2 is better than V2 (no PPO): win rate" "best of 4 against one sample, V1: reward" "the best temperature rises from V1 to V2" \
    "retraining helps on V2's batch: accuracy of the safety model" "with GAtt the instruction is kept more often than without: turn 2, new figures" "context distillation raises the safety score" \
    "the lowest one within 0.1 deviations of the best" "longer wins" "equal part of safety and open" "critic, advantages" "V1 (best [0-9.]*, used [0-9.]*)" "of them are different"; do
    grep -q "$words" whole/report.json || fail "the report does not say \"$words\""
done
captions whole/report.json
grep -q "docs/\|as above" whole/report.json && fail "a reason is elsewhere: $(grep "docs/\|as above" whole/report.json)"
expect 1 "--resume goes on with it" pipeline $settings --out whole
expect 1 "begun with another seed" pipeline --iterations 2 --tiny --threads 1 --seed 4 --out whole --resume

# --- killed, at the start, within and between steps -----------------------------------------------------------------------------------
stop KILL cut manifest.jsonl
[ $got -eq 137 ] || fail "exit status $got after SIGKILL"
for at in "pretrain/checkpoints/*/MANIFEST" sft/metrics.jsonl evaluate/answers collect-1/metrics.jsonl collect-1/helpful.jsonl rewards-1/helpful/config.json \
    tune-1/metrics.jsonl sample-1/pool fine-tune-1/model/model.safetensors gatt-1/metrics.jsonl gatt-1/kept.jsonl evaluate-gatt-1/metrics.jsonl \
    distill-1/metrics.jsonl distill-1/model/model.safetensors sample-2/metrics.jsonl "ppo-2/checkpoints/*/MANIFEST" evaluate-ppo-2/metrics.jsonl; do
    stop KILL cut "$at" --resume
    [ $got -eq 137 ] || fail "exit status $got after SIGKILL at $at: $(cat cut.err)"
    # What a step left half-way is not looked at when it begins again.
    [ "$at" = sample-1/pool ] && ! grep -q '"sample-1"' cut/state/manifest.jsonl && head -c 100 whole/state/sample-1/pool >cut/state/sample-1/pool
done
expect 0 "going on after" pipeline $settings --out cut --resume
for at in "pretrain/checkpoints/*/MANIFEST" collect-1/metrics.jsonl gatt-1/metrics.jsonl distill-1/metrics.jsonl "ppo-2/checkpoints/*/MANIFEST"; do
    out=term-${at%%/*}
    stop TERM "$out" "$at"
    [ $got -eq 1 ] || fail "exit status $got after SIGTERM at $at, expected 1"
    grep -q -- "--resume" cut.err || fail "the message after SIGTERM at $at does not say --resume: $(cat cut.err)"
    expect 0 "going on after" pipeline $settings --out "$out" --resume
    cmp whole/model/model.safetensors "$out/model/model.safetensors" || fail "another model after SIGTERM at $at"
done

# Everything but times, and the checkpoints, which hold some.
files() { (cd "$1" && find . -type f ! -path '*/checkpoints/*' ! -name metrics.jsonl ! -name manifest.jsonl ! -name 'report.*' | sort); }
# same_run FOLDER WHEN: everything in it is as in the run at a stretch.
same_run() {
    [ "$(files whole)" = "$(files "$1")" ] || fail "other files $2: $(files whole | wc -l), $(files "$1" | wc -l)"
    for file in $(files whole); do cmp "whole/$file" "$1/$file" || fail "$file: other bytes $2"; done
    timeless whole/metrics.jsonl >metrics.a
    timeless "$1/metrics.jsonl" >metrics.b
    cmp metrics.a metrics.b || fail "other metrics $2"
    sed '/"heading": "Time"/,$d' whole/report.json >report.a
    sed '/"heading": "Time"/,$d' "$1/report.json" >report.b
    cmp report.a report.b || fail "another report $2"
}
same_run cut "after a resume"
expect 0 - pipeline $settings --out cut --resume --quiet
cmp whole/model/model.safetensors cut/model/model.safetensors || fail "another model after a resume of what was done"
# What the report needs and does not find is told.
for file in tune-1/temperature.json gatt-1/kept.jsonl; do
    cp "cut/state/$file" before
    echo '{}' >"cut/state/$file"
    expect 1 "$file:.* has no" pipeline $settings --out cut --resume --quiet
    head -1 before >"cut/state/$file"
    [ $file = tune-1/temperature.json ] || expect 1 "$file: has not the same turns" pipeline $settings --out cut --resume --quiet
    cp before "cut/state/$file"
done

# At ten random moments.
same_as_whole() { same_run random "after kills at $moments"; }
kills same_as_whole random state/manifest.jsonl "$stretch" pipeline $settings

# The choice of samples is one: over all versions, or the last one.
expect 0 - pipeline $settings --out last --last-version --quiet
differ whole/model/model.safetensors last/model/model.safetensors "--last-version changes nothing"
grep -q "best over all versions\|prompt over all versions" last/report.json && fail "--last-version: the report says that samples of all versions are learnt from"

# Preferences of a coin: other reward models, from the first version on, and the same held-out pairs.
expect 0 - pipeline $settings --out coin --shuffled --quiet
for file in helpful held-out-helpful safety held-out-safety; do
    cmp whole/state/collect-1/$file.jsonl coin/state/collect-1/$file.jsonl || fail "--shuffled changes what is collected"
done
for kind in helpful safety; do
    differ whole/state/rewards-1/$kind/model.safetensors coin/state/rewards-1/$kind/model.safetensors "--shuffled changes no $kind model"
done
stop KILL coin-cut rewards-1/metrics.jsonl --shuffled
expect 0 "going on after" pipeline $settings --out coin-cut --shuffled --resume
cmp coin/model/model.safetensors coin-cut/model/model.safetensors || fail "--shuffled: another model after a resume"
grep -q '"shuffled/V1/gold"' coin/report.json || fail "the numbers of --shuffled are not called so"
expect 1 "begun with another seed" pipeline $settings --out coin --resume

# --- a model that is there ----------------------------------------------------------------------------------------------------------------
expect 2 "--model goes with --iterations" pipeline --model whole/model --out none
expect 1 "no-model: cannot open" pipeline --iterations 1 --tiny --model no-model --out none
expect 0 - pipeline --iterations 1 --tiny --threads 1 --seed 3 --model whole/model --out taken --quiet
cmp whole/model/model.safetensors taken/state/pretrain/model/model.safetensors || fail "--model does not begin with the model"
differ whole/state/sft/model/model.safetensors taken/state/sft/model/model.safetensors "--model changes nothing"
sed -n '/"name": "shift_helpful"/,/"name": "shift_safety"/p' taken/report.json >shift
grep -q '"V1 (PPO)"' shift || fail "the one version is not shown as it ended: $(grep V1 shift)"
grep -q '"V1"' shift && fail "the one version is shown before PPO among those as they ended"
expect 1 "begun with another seed" pipeline --iterations 1 --tiny --threads 1 --seed 3 --out taken --resume

# --- several runs as one report -----------------------------------------------------------------------------------------------------------
expect 0 - pipeline --iterations 2 --tiny --threads 1 --seed 4 --out other --quiet
"$bin/llama2-world-trends" trends whole/report.json coin/report.json other/report.json >out 2>err || fail "llama2-world-trends: $(cat err)"
grep -q "V1 is better than SFT-v1: win rate  *[-+][0-9.]* (" out || fail "no interval of two seeds: $(cat out)"
grep -q "preferences of a coin bring nothing.* one run: no interval" out || fail "an interval of one run: $(cat out)"
grep -q "2 seeds" trends/report.html || fail "two runs of a seed are not one: $(grep seeds trends/report.html)"
sed -n '/"name": "win_rates"/,/"high"/p' trends/report.json | sed -n '/"low"/,/\]/p' | grep -q "[0-9]" &&
    fail "intervals of two seeds are drawn"
captions trends/report.json
for words in trends control win_rates versions versions_scores versions_length versions_cold best_of_n temperatures accuracy kinds gatt distill; do
    grep -q "\"name\": \"$words\"" trends/report.json || fail "the report of several runs has no $words"
done
# Gains of V1 of 10, 12, 14 and 16 points, of V2 over V1 of -4 each; a coin's V1 loses 0.1, whose other numbers do not count: 13 +- 3.182 * 2.582 / 2.
for seed in 1 2 3 4; do
    gain=$((8 + 2 * seed))
    printf '{"numbers": {"seed": %d, "shuffled": 0, "SFT-v1/win_rate": 0.5, "SFT-v1/win_rate/low": 0.4, "V1/win_rate": 0.%d, "V2/win_rate": 0.%d, "V1/win_rate/low": 0.55, "V2/win_rate/low": 0.5}}' \
        $seed $((50 + gain)) $((46 + gain)) >made-$seed.json
    printf '{"numbers": {"seed": %d, "shuffled": 1, "V1/win_rate": 0.9, "shuffled/V1/cold_gold": 0.4, "shuffled/SFT-v1/cold_gold": 0.5}}' $seed >coin-$seed.json
done
"$bin/llama2-world-trends" made made-1.json made-2.json made-3.json made-4.json coin-1.json coin-2.json coin-3.json coin-4.json >out 2>err || fail "llama2-world-trends: $(cat err)"
grep -q "^V1 is better than SFT-v1: win rate  *+13.00 (+8.89 to +17.11) points  *yes$" out || fail "V1's gain: $(head -1 out)"
grep -q "^V2 is better than V1  *-4.00 (-4.00 to -4.00) points  *no: the reverse$" out || fail "V2's loss: $(sed -n 2p out)"
grep -q "^preferences of a coin bring nothing.*-0.10 (-0.10 to -0.10)  *no gain beyond the interval$" out || fail "the coin: $(grep coin out)"
grep -q "^V1  *by a coin: .* at 0.1 -0.10 (-0.10 to -0.10), .*: gains anywhere: no$" out || fail "the coin's V1: $(grep "by a coin" out)"
grep -q '"falls": 0' made/report.json || fail "V2 is not below V1's interval in any run: $(grep falls made/report.json)"

refused() { # WORDS FILE...
    words=$1
    shift
    "$bin/llama2-world-trends" refused "$@" >out 2>err && fail "llama2-world-trends takes $*"
    grep -q "$words" err || fail "llama2-world-trends $*: no \"$words\": $(cat err)"
}
refused "manifest.jsonl: " whole/state/manifest.jsonl
refused "second report" whole/report.json last/report.json
refused "model of its own" taken/report.json

[ $failures -eq 0 ] && echo "all of llama2-pipeline --iterations as expected"
exit $((failures > 0))
