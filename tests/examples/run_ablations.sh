#!/bin/sh
# llama2-pipeline --ablations: every arm is there and is what its name says; a run that was killed at several moments ends with the bits of one at a stretch.
#
#     run_ablations.sh BIN CHECK_JSON
. "$(dirname "$0")/expect.sh"

# kill_at FILE ARGUMENTS...: runs until cut/state/FILE is there, and kills the run.
kill_at() {
    file=cut/state/$1
    shift
    "$bin/llama2-pipeline" $settings --out cut --quiet "$@" >cut.out 2>cut.err </dev/null &
    pid=$!
    await "$file" $pid
    kill -KILL $pid 2>/dev/null || fail "the run was over before $file was there: $(cat cut.err)"
    wait $pid
    got=$?
    [ $got -eq 137 ] || fail "exit status $got after SIGKILL at $file: $(cat cut.err)"
}

settings="--ablations --tiny --threads 1 --seed 3"

# --- usage --------------------------------------------------------------------------------------------------------------------------
expect 2 "goes without" pipeline --ablations --iterations 1
expect 2 "goes without" pipeline --ablations --controls
expect 2 "goes without" pipeline --ablations --data .
expect 2 "go with --iterations" pipeline --ablations --last-version
expect 2 "goes with --ablations" pipeline --margins
expect 2 "goes with --ablations" pipeline --iterations 1 --margins
expect 1 "there is no" pipeline $settings --out nothing --resume

# --- at a stretch -------------------------------------------------------------------------------------------------------------------
expect 0 - pipeline $settings --out whole --quiet
[ -s err ] && fail "--quiet writes on standard error: $(cat err)"
[ "$(grep -c '"done"' whole/state/manifest.jsonl)" -eq 52 ] || fail "manifest: $(cat whole/state/manifest.jsonl)"
[ "$(grep -c '"stage":"ablation"' whole/metrics.jsonl)" -eq 47 ] || fail "not one line an arm in metrics.jsonl"
for arm in margin-none margin-small margin-large auxiliary-off auxiliary-on pairs-eighth pairs-quarter pairs-half small-eighth small-quarter small-half small-all \
    shuffled-1 shuffled-2 shuffled-3 shuffled-4 two-epochs two-epochs-none two-epochs-large mix-helpfulness mix-safety; do
    json whole/state/$arm/result.json stage=\"ablation\" ablation arm=\"$arm\" accuracy accuracy_interval by_rating pairs trained_on parameters loss
    grep -q "\"stage\":\"reward: " whole/state/$arm/metrics.jsonl || fail "nothing was trained in $arm"
    json whole/state/$arm/pairs.json right ratings
done
for arm in margin-small auxiliary-on mix-helpfulness mix-safety; do
    json whole/state/$arm/result.json other
    json whole/state/$arm/other.json right ratings
done
for arm in share-0 share-1 share-10 share-25 share-50 share-100 few-good few-mixed many-poor many-mixed sft-longer small-before small-own small-from-large pool-1 own-2 own-3 own-4 pool-2 pool-3 pool-4 back-5; do
    json whole/state/$arm/result.json stage=\"ablation\" arm=\"$arm\" gold gold_low refusals false_refusals false_how_to_high safety safety_tail helpful examples learnt
done
for arm in ppo-0 ppo-8 ppo-16 ppo-32; do
    json whole/state/$arm/result.json stage=\"ablation\" ablation=\"distance\" arm=\"$arm\" gold gold_low correct kl
    [ $arm = ppo-0 ] || json whole/state/$arm/result.json learnt
done
for arm in ppo-0 sft-longer; do json whole/state/$arm/result.json cold_gold cold_gold_low cold_gold_high; done
for words in margins margin_gains margins_by_rating margins_by_rating_two_epochs ratings accuracy_by_rating auxiliary auxiliary_recall mixes mixes_accuracy scaling scaling_accuracy shuffled shuffled_accuracy safety_share safety_share_curves \
    safety_share_scores safety_share_refusals quality quality_gold longer longer_gold longer_cold small small_gold pools pools_sorted distance distance_gold trends settings auxiliary_labels safety_share_refused; do
    grep -q "\"name\": \"$words\"" whole/report.json || fail "report.json has no $words"
done

captions whole/report.json

# What holds: each fall by itself, differences with the paper's sign, PPO beside rejection sampling.
[ "$(grep -c "accuracy falls from .* to .*, margin \(none\|small\|large\)\"" whole/report.json)" -eq 9 ] || fail "not nine falls over the margins: $(grep "accuracy falls" whole/report.json)"
for words in "accuracy falls from significantly to better, margin none" "-12.2 points (table 28)" "a second epoch over-fits: accuracy after two against one" \
    "PPO gains more than rejection sampling at the same distance" "SFT-v1 is the model that the loop begins with" \
    "mixed, the safety model is better where both answers are safe" "the same at temperature 0.1" "longer wins.*, safety" "longer wins.*, pairs of the helpfulness model"; do
    grep -q -- "$words" whole/report.json || fail "the report does not say \"$words\""
done

# An arm differs from its neighbours in what it is to differ in, and in nothing else that tells.
value() { grep -o "\"$2\":[^,}]*" whole/state/$1/result.json | head -n 1 | cut -d: -f2; } # the arm's own, not that of its card on the other kind
same() { [ "$(value "$1" "$3")" = "$(value "$2" "$3")" ] || fail "$3 of $1 and $2: $(value "$1" "$3"), $(value "$2" "$3")"; }
other() { [ "$(value "$1" "$3")" != "$(value "$2" "$3")" ] || fail "$1 and $2 have the same $3"; }
for arm in margin-small margin-large small-all two-epochs two-epochs-none two-epochs-large; do same margin-none $arm trained_on; done
other margin-none margin-small mean_chosen
other margin-small margin-large mean_chosen
other auxiliary-off auxiliary-on mean_chosen
same auxiliary-off auxiliary-on trained_on
other margin-small small-all parameters
other margin-small two-epochs mean_chosen
other two-epochs two-epochs-none mean_chosen
other two-epochs two-epochs-large mean_chosen
other shuffled-1 shuffled-2 mean_chosen
other shuffled-1 pairs-quarter mean_chosen
[ "$(value mix-helpfulness trained_on)" -eq $((2 * $(value margin-small trained_on))) ] || fail "mix-helpfulness: $(value mix-helpfulness trained_on) pairs"
[ $((9 * $(value mix-safety trained_on))) -ge $((10 * $(value auxiliary-on trained_on) - 9)) ] && [ $((9 * $(value mix-safety trained_on))) -le $((10 * $(value auxiliary-on trained_on) + 9)) ] ||
    fail "mix-safety: $(value mix-safety trained_on) pairs beside $(value auxiliary-on trained_on)"
other auxiliary-on mix-safety mean_chosen
[ "$(value pairs-half trained_on)" -eq $(($(value margin-small trained_on) / 2)) ] || fail "pairs-half has $(value pairs-half trained_on) pairs"
[ "$(value share-0 safety_examples)" -eq 0 ] || fail "share-0 has safety examples"
same share-0 share-100 examples
[ "$(value share-1 safety_examples)" -lt "$(value share-10 safety_examples)" ] || fail "a hundredth of the refusals is not less than a tenth"
[ "$(value share-50 safety_examples)" -lt "$(value share-100 safety_examples)" ] || fail "half of the refusals are not fewer than all"
for arm in few-mixed many-poor many-mixed; do same few-good $arm learnt; done
same few-good few-mixed examples
[ "$(value many-poor examples)" -ge $((8 * $(value few-good examples))) ] || fail "many poor ones are too few"
[ "$(value sft-longer learnt)" -eq $((3 * 2 * $(value many-mixed examples))) ] || fail "sft-longer learns $(value sft-longer learnt) examples"
[ "$(value small-before examples)" -eq 0 ] || fail "small-before has learnt something"
other small-before small-own gold_low
other small-own small-from-large safety
[ "$(value ppo-0 kl)" = 0.0 ] || fail "the SFT model is not 0 from itself: $(value ppo-0 kl)"
other ppo-8 ppo-16 kl
grep -q "\"stage\":\"ppo\"" whole/state/ppo-32/metrics.jsonl || fail "ppo-32 has learnt nothing"
[ "$(value pool-2 examples)" -gt "$(value own-2 examples)" ] || fail "all versions have not more samples than one"
[ "$(value back-5 examples)" -gt "$(value pool-4 examples)" ] || fail "V5 has not the samples of all versions"
[ "$(value many-mixed examples)" -eq 120 ] || fail "many-mixed is not all demonstrations"
[ "$(value share-10 how_to_answers)" -eq 16 ] || fail "share-10 has $(value share-10 how_to_answers) answers to how-to prompts, of two prompts eight each"
expect 1 "--resume goes on with it" pipeline $settings --out whole
expect 1 "begun with another seed" pipeline --ablations --tiny --threads 1 --seed 4 --out whole --resume
expect 1 "begun with another seed" pipeline --iterations 1 --tiny --threads 1 --seed 3 --out whole --resume

# --- killed, within and between steps -------------------------------------------------------------------------------------------------
kill_at manifest.jsonl
for at in "small-pretrain/checkpoints/*/MANIFEST" margin-none/metrics.jsonl margin-small/result.json auxiliary-on/model/config.json small-half/metrics.jsonl \
    shuffled-2/pairs.json share-10/metrics.jsonl share-50/answers few-good/result.json sft-longer/metrics.jsonl small-from-large/answers own-3/pool back-5/model/config.json ppo-16/answers; do
    kill_at "$at" --resume
done
expect 0 "going on after" pipeline $settings --out cut --resume

# Everything but times, and the checkpoints, which hold some.
files() { (cd "$1" && find . -type f ! -path '*/checkpoints/*' ! -name metrics.jsonl ! -name manifest.jsonl ! -name 'report.*' | sort); }
[ "$(files whole)" = "$(files cut)" ] || fail "other files after a resume: $(files whole | wc -l), $(files cut | wc -l)"
for file in $(files whole); do cmp "whole/$file" "cut/$file" || fail "$file: other bytes after a resume"; done
timeless whole/metrics.jsonl >metrics.a
timeless cut/metrics.jsonl >metrics.b
cmp metrics.a metrics.b || fail "other metrics after a resume"
sed '/"heading": "Time"/,$d' whole/report.json >report.a
sed '/"heading": "Time"/,$d' cut/report.json >report.b
cmp report.a report.b || fail "another report after a resume"

# The same bits with two threads.
expect 0 - pipeline --ablations --tiny --threads 2 --seed 3 --out threads --quiet
for file in $(files whole); do cmp "whole/$file" "threads/$file" || fail "$file: other bytes with two threads"; done

# The margins alone have the bits of all the ablations.
expect 0 - pipeline $settings --margins --out margins --quiet
[ "$(grep -c '"done"' margins/state/manifest.jsonl)" -eq 6 ] || fail "manifest: $(cat margins/state/manifest.jsonl)"
for arm in margin-none margin-small margin-large; do cmp whole/state/$arm/result.json margins/state/$arm/result.json || fail "$arm alone: other bits"; done
for words in margins margin_gains margins_by_rating trends settings; do grep -q "\"name\": \"$words\"" margins/report.json || fail "margins/report.json has no $words"; done
grep -q '"name": "ratings"\|two-epochs' margins/report.json && fail "margins/report.json has more than the margins"
"$bin/llama2-world-trends" trends-margins margins/report.json >out 2>err || fail "llama2-world-trends: $(cat err)"
[ "$(grep -c "one run: no interval" out)" -eq 6 ] || fail "trends of the margins alone: $(cat out)"

# Beside the loop and its control: each trend finds its numbers, but for what the tiny loop has not.
expect 0 - pipeline --iterations 5 --tiny --threads 1 --seed 3 --out loop --quiet
expect 0 - pipeline --iterations 5 --tiny --threads 1 --seed 3 --out coin --quiet --shuffled
"$bin/llama2-world-trends" trends whole/report.json loop/report.json coin/report.json >out 2>err || fail "llama2-world-trends: $(cat err)"
grep "not measured" out | grep -v "turn \(4\|6\|20\)[, ]\| of 8 against" && fail "a trend has no numbers"
[ "$(grep -c "one run: no interval" out)" -ge 40 ] || fail "few trends: $(cat out)"

[ $failures -eq 0 ] && echo "all of llama2-pipeline --ablations as expected"
exit $((failures > 0))
