#!/bin/sh
# The programs from end to end, on a tiny model: pretraining, SFT, two reward models, rejection sampling, PPO; what they print, their exit statuses, and that a run which was
# killed or interrupted ends with the same bits.
#
#     run_examples.sh BIN CHECK_JSON TOKENIZER
. "$(dirname "$0")/expect.sh"
tokenizer=$3

# The losses of the result in `out`.
losses() {
    grep -o '"[a-z_]*loss":[^,}]*' out
}

# resumes NAME SIGNAL PROGRAM ARGUMENTS...: one run at a stretch, and one that a signal stops after its first checkpoint; the same bits.
resumes() {
    name=$1 signal=$2 program=$3
    shift 3
    set -- "$@" --threads 1
    expect 0 - "$program" "$@" --out "$name" --quiet
    json out model
    losses >losses.a
    "$bin/llama2-$program" "$@" --out "$name.cut" --quiet >cut.out 2>cut.err </dev/null &
    pid=$!
    await "$name.cut/checkpoints/*/MANIFEST" $pid
    kill -"$signal" $pid 2>/dev/null || fail "$name: it was over before it could be stopped"
    wait $pid
    got=$?
    case $signal in
    KILL) [ $got -eq 137 ] || fail "$name: exit status $got after SIGKILL" ;;
    *)
        [ $got -eq 1 ] || fail "$name: exit status $got after SIG$signal, expected 1"
        grep -q -- "--resume" cut.err || fail "$name: the message after SIG$signal does not say --resume: $(cat cut.err)"
        ;;
    esac
    expect 1 "--resume goes on with it" "$program" "$@" --out "$name.cut" --quiet
    expect 0 "going on after step" "$program" "$@" --out "$name.cut" --resume
    losses >losses.b
    cmp losses.a losses.b || fail "$name: another loss after a resume: $(cat losses.b), in place of $(cat losses.a)"
    cmp "$name/model.safetensors" "$name.cut/model.safetensors" || fail "$name: other bits after a resume"
    timeless "$name/metrics.jsonl" >metrics.a
    timeless "$name.cut/metrics.jsonl" >metrics.b
    cmp metrics.a metrics.b || fail "$name: other metrics after a resume"
}

# survives NAME PROGRAM ARGUMENTS...: a run that is killed at random moments, and goes on each time, ends with the bits of one at a stretch.
survives() {
    name=$1 program=$2
    shift 2
    set -- "$@" --threads 1
    began=$(date +%s%N)
    expect 0 - "$program" "$@" --out "$name" --quiet
    cp out "$name.out"
    kills same_as_at_a_stretch "$name.cut" "checkpoints/*/MANIFEST" $(($(date +%s%N) - began)) "$program" "$@"
}
same_as_at_a_stretch() {
    for file in model.safetensors best/model.safetensors critic/model.safetensors; do
        cmp "$name/$file" "$name.cut/$file" || fail "$name: other bits in $file after kills at $moments"
    done
    timeless "$name/metrics.jsonl" >metrics.a
    timeless "$name.cut/metrics.jsonl" >metrics.b
    cmp metrics.a metrics.b || fail "$name: other metrics after kills at $moments"
}

# --- data -----------------------------------------------------------------------------------------------------------------------
names="sam nils emil clara ben dora otto finn"
i=0
while [ $i -lt 60 ]; do
    for name in $names; do echo "$name has a cat. $name likes white. the cat of $name is here. who likes white? $name likes white."; done
    i=$((i + 1))
done >text.txt
for name in $names; do
    echo "{\"prompt\": \"which colour does $name like?\", \"response\": \"$name likes white.\"}"
    echo "{\"messages\": [{\"role\": \"system\", \"content\": \"be kind.\"}, {\"role\": \"user\", \"content\": \"who has a cat?\"}, {\"role\": \"assistant\", \"content\": \"$name has a cat.\"}, {\"role\": \"user\", \"content\": \"who likes white?\"}, {\"role\": \"assistant\", \"content\": \"$name likes white.\"}]}"
    for rating in significantly_better better slightly_better negligibly_better; do
        echo "{\"prompt\": \"which colour does $name like?\", \"chosen\": \"$name likes white.\", \"rejected\": \"go away, $name has a cat and a cat.\", \"rating\": \"$rating\", \"chosen_safe\": true, \"rejected_safe\": false}" >>pairs.jsonl
    done
    echo "{\"prompt\": \"which colour does $name like?\", \"is_safety\": false}" >>prompts.jsonl
    echo "{\"prompt\": \"who has a cat, $name?\", \"is_safety\": true}" >>prompts.jsonl
done >demos.jsonl
echo '{"turns": "who?"}' >turns.bad

# --- usage --------------------------------------------------------------------------------------------------------------------------
for program in tokenize shard generate chat score convert inspect pretrain sft collect reward reject distill gatt ppo bench pipeline world-text world-compare world-trends $([ -x "$bin/llama2-annotate" ] && echo annotate); do
    expect 0 - $program --help
    grep -q "^Usage: llama2-$program" out || fail "llama2-$program --help does not begin with its usage"
    for option in model threads seed quiet help version; do grep -q -- "--$option" out || fail "llama2-$program --help has no --$option"; done
    expect 0 - $program --version
    grep -q "^llama2-$program [0-9]" out || fail "llama2-$program --version: $(cat out)"
    [ ! -c /dev/full ] || { ! "$bin/llama2-$program" --version >/dev/full 2>err && grep -q "standard output" err; } || fail "llama2-$program --version: no error where nothing can be written"
    expect 2 "Try 'llama2-$program --help'" $program --no-such-option
done
for program in shard generate chat score convert inspect pretrain sft collect reward reject distill gatt ppo world-compare world-trends; do expect 2 "Try" $program; done
expect 2 "there are no books" world-text books
expect 2 "system needs --chat" generate --model x --prompt y --system z
expect 2 "for --evaluate-only" reward --model x --data y --out z --reward r
expect 2 "expected none, small or large" reward --model x --data y --out z --margin huge
expect 2 "expected system or user" gatt --model x --data y --out z --placement here
expect 2 "the shape is that of --model" pretrain --model x --data y --out z --dim 64
expect 2 "--out is missing" convert --model x
expect 2 "--type q9" convert --model x --out y --type q9
expect 1 "none.model" convert --model none.model --out y
expect 1 "none.model" inspect --model none.model
expect 1 "none.model" generate --model none.model --prompt x
expect 2 "--report goes without" collect --report x --data y
expect 1 "none.jsonl" collect --report none.jsonl
expect 1 "no checkpoint" pretrain --tokenizer "$tokenizer" --data text.txt --out empty --resume

latin=$(printf 'caf\351')
expect 2 "--instruction is no UTF-8" gatt --model x --data y --out z --instruction "$latin"
expect 2 "--eval is no UTF-8" reward --model x --data y --out z --eval "$latin"
expect 2 "have at most 100 bytes" gatt --model x --data y --out z --figure "$(printf '%0101d' 0)"

# --- shards ---------------------------------------------------------------------------------------------------------------------------
expect 0 - shard --model "$tokenizer" --out whole.shard text.txt --quiet
json out tokens holdout_tokens=0 vocab_size
cat text.txt | "$bin/llama2-shard" --model "$tokenizer" --out piped.shard - --quiet >/dev/null || fail "shard of a pipe: exit status $?"
cmp whole.shard piped.shard || fail "the shard of a pipe is another one than that of the file"
expect 0 - shard --model "$tokenizer" --out most.shard --holdout-out rest.shard --holdout 0.25 --blank-lines text.txt --quiet
json out tokens holdout_tokens vocab_size
[ "$(wc -c <rest.shard)" -lt "$(wc -c <most.shard)" ] && [ "$(wc -c <most.shard)" -lt "$(wc -c <whole.shard)" ] || fail "sizes of the parts of a shard"
expect 1 "none.txt" shard --model "$tokenizer" --out none.shard none.txt --quiet
[ ! -e none.shard ] || fail "a shard of a file that is not there"

mkfifo pipe
expect 1 "pipe: is no regular file" pretrain --tokenizer "$tokenizer" --data pipe --out none --quiet

# --- the chain ------------------------------------------------------------------------------------------------------------------------
shape="--dim 32 --layers 2 --heads 4 --kv-heads 2 --context 128"
resumes base KILL pretrain --tokenizer "$tokenizer" $shape --data text.txt --steps 400 --batch 8 --length 64 --lr 3e-3 --save-every 20 --eval text.txt
json base/metrics.jsonl stage step=400 seconds tokens loss lr grad_norm held_out_loss
# The paper's peak learning rate is the shape's: 3e-4, for the two larger ones half of it.
for rate in 15m:3e-4 70b:1.5e-4; do
    expect 0 - pretrain --tokenizer "$tokenizer" --preset "${rate%:*}" $shape --data text.txt --steps 1 --batch 1 --save-every 0 --out rate --quiet
    awk -F '"lr":' -v expected="${rate#*:}" 'NF > 1 { found = $2 + 0 } END { exit !(found > 0.99 * expected && found < 1.01 * expected) }' rate/metrics.jsonl || fail "peak learning rate of ${rate%:*}: $(cat rate/metrics.jsonl)"
done
# The shard is of the text as it is: neither a text of the same size that is older, nor another tokenizer, finds that of the first; other text does not go on, nor overwrites anything.
tac text.txt >older.txt
touch -d 2001-01-01 older.txt
cp -r base letters # the same pieces, but without the commonest letters: these become bytes
rm -r letters/tokenizer.model letters/checkpoints
sed '/^"vocab"/,$ { /<\|merges\|vocab/!{s/a/α/g;s/e/ε/g;s/i/ι/g;s/o/ο/g;s/t/τ/g;s/h/η/g} }' base/tokenizer.json >letters/tokenizer.json
expect 0 - shard --model base --out older.shard older.txt --quiet
expect 0 - shard --model letters --out letters.shard older.txt --quiet
for run in base:text:whole base:older:older letters:older:letters; do
    file=${run#*:}
    expect 0 - pretrain --model "${run%%:*}" --data "${file%:*}.txt" --steps 1 --batch 2 --save-every 0 --out reused --quiet
    cmp reused/text-0.shard "${file#*:}.shard" || fail "pretrain: the shard of ${file%:*}.txt is another one"
done
ls -i reused/text-0.shard >inode
expect 0 - pretrain --model letters --data older.txt --steps 1 --batch 2 --save-every 0 --out reused --quiet
ls -i reused/text-0.shard | cmp - inode || fail "pretrain: a text that has not changed is tokenised again"
expect 1 "--resume goes on with it" pretrain --model base --data older.txt --steps 1 --out base.cut --quiet
cmp base.cut/text-0.shard whole.shard || fail "pretrain: a run that is refused leaves another shard"
expect 1 "begun with other data" pretrain --tokenizer "$tokenizer" $shape --data older.txt --steps 400 --batch 8 --length 64 --lr 3e-3 --save-every 20 --out base.cut --resume --quiet
expect 0 - pretrain --model base --data text.txt --data base/text-0.shard --weight 1 --weight 3 --steps 2 --batch 2 --out further --quiet
resumes chat TERM sft --model base --data demos.jsonl --epochs 300 --batch 4 --lr 3e-3 --save-every 10 --eval demos.jsonl
json out model steps=1200 loss held_out_loss
json chat/metrics.jsonl stage step=1200 held_out_loss
head -1 chat/metrics.jsonl >first
json first stage step=0 held_out_loss
[ "$(sed 's/.*"held_out_loss":\([0-9]*\).*/\1/' first)" -gt 1 ] && tail -1 chat/metrics.jsonl | grep -q '"held_out_loss":0\.[0-2]' || fail "sft: the held-out loss does not fall: $(cat first; tail -1 chat/metrics.jsonl)"
# Files mixed by weight: three good ones are three quarters of an epoch; and what is worth little is left out.
sed 's/}$/, "score": 0.1}/' demos.jsonl >poor.jsonl
head -3 demos.jsonl | sed 's/}$/, "score": 0.9}/' >good.jsonl
expect 0 - sft --model base --data good.jsonl --data poor.jsonl --weight 3 --weight 1 --epochs 2 --batch 4 --out mixed --quiet
grep -q '"steps":2,' out || fail "sft --weight: 3 to 1 of 3 good ones is not 4 an epoch: $(cat out)"
sed 's/white/green/g' poor.jsonl >other.jsonl
for first in poor other; do
    expect 0 - sft --model base --data $first.jsonl --data good.jsonl --weight 0 --weight 1 --epochs 1 --batch 1 --out "weightless-$first" --quiet
done
cmp weightless-poor/model.safetensors weightless-other/model.safetensors || fail "sft --weight 0: what the file holds makes a difference"
cmp -s weightless-poor/model.safetensors base/model.safetensors && fail "sft --weight 0 --weight 1 learns nothing"
expect 0 "16 demonstrations with a lower score than 0.5 are left out" sft --model base --data good.jsonl --data poor.jsonl --least-score 0.5 --epochs 1 --batch 4 --out good
grep -q '"examples":3,' out || fail "sft --least-score: $(cat out)"
expect 0 "6 demonstrations that were there before are left out" sft --model base --data good.jsonl --data good.jsonl --data poor.jsonl --unique --epochs 1 --batch 4 --out unique
grep -q '"examples":16,' out || fail "sft --unique: $(cat out)"
expect 2 "weight is needed for each of the 2 files" sft --model base --data good.jsonl --data poor.jsonl --weight 3 --out none
expect 1 "expected a number" sft --model base --data good.jsonl --weight much --out none
echo '{"prompt": "who?", "response": "nobody.", "score": "high"}' >score.bad
expect 1 "\"score\" is not a number" sft --model base --data score.bad --out none
# What would be passed over unseen is told, with its line.
echo '{"system": 5, "prompt": "who?", "response": "nobody.", "rating": 5}' >score.bad
expect 1 "score.bad:1: \"system\" is not a text" sft --model base --data score.bad --out none
{ cat demos.jsonl && echo '{"prompt": "[INST] who?", "response": "nobody."}'; } >with-marker.jsonl
expect 1 "with-marker.jsonl:$(wc -l <with-marker.jsonl): .*marker" sft --model base --data demos.jsonl --data with-marker.jsonl --out none
# A run goes on as it was begun, with all its lines; alone in its folder, which is none that it reads; a limit of sizes is an error like others.
expect 1 "begun with other data" sft --model base --data demos.jsonl --epochs 299 --batch 4 --lr 3e-3 --save-every 10 --eval demos.jsonl --out chat.cut --resume --quiet
expect 1 "begun with other data" sft --model base --data demos.jsonl --epochs 300 --batch 4 --save-every 10 --eval demos.jsonl --out chat.cut --resume --quiet
cp chat/metrics.jsonl chat.cut/metrics.jsonl
truncate -s 300 chat.cut/metrics.jsonl
expect 1 "lines are missing" sft --model base --data demos.jsonl --epochs 300 --batch 4 --lr 3e-3 --save-every 10 --eval demos.jsonl --out chat.cut --resume --quiet
cp -r base in-place
expect 1 "in-place is --model" sft --model in-place --data demos.jsonl --out in-place --quiet
cmp base/model.safetensors in-place/model.safetensors || fail "sft writes over the model that it reads"
"$bin/llama2-sft" --model base --data demos.jsonl --epochs 3000 --out busy --quiet 2>cut.err &
pid=$!
await busy/metrics.jsonl $pid
expect 1 "another process works in this folder" sft --model base --data demos.jsonl --out busy --quiet
kill -KILL $pid
wait $pid
(ulimit -f 64 && exec "$bin/llama2-sft" --model base --data demos.jsonl --epochs 1 --out limited --quiet) >out 2>err
[ $? -eq 1 ] && grep -q "limited/.*File too large" err || fail "sft under a limit of file sizes: $(cat err)"
# Without standard error what would go there goes nowhere, least of all into a file that is opened then.
"$bin/llama2-sft" --model base --data demos.jsonl --epochs 20 --batch 4 --out silent >out 2>&- || fail "sft with standard error closed"
json silent/metrics.jsonl stage step=80
# Where what came of it can't be saved, the last step has a checkpoint: --resume has only to save.
for program in "sft --data demos.jsonl --eval demos.jsonl --epochs 4" "pretrain --data text.txt --eval text.txt --length 32 --steps 16"; do
    learn="$program --model base --batch 4 --save-every 0 --threads 1 --quiet"
    rm -rf saved unsaved
    expect 0 - $learn --out saved
    losses >losses.a
    grep -q '"held_out_loss":[0-9]' losses.a || fail "$program: no losses: $(cat out)"
    mkdir -p unsaved/model.safetensors/in.the.way
    expect 1 "saving: .*; --resume goes on after step 16" $learn --out unsaved
    rm -r unsaved/model.safetensors
    expect 0 - $learn --out unsaved --resume
    cmp saved/model.safetensors unsaved/model.safetensors || fail "$program: other bits where the first save failed"
    losses >losses.b
    cmp losses.a losses.b || fail "$program: another loss where the first save failed: $(cat losses.b), in place of $(cat losses.a)"
done
resumes mixed-more TERM sft --model base --data good.jsonl --data poor.jsonl --weight 3 --weight 1 --epochs 300 --batch 4 --save-every 10
resumes helpful INT reward --model chat --data pairs.jsonl --epochs 60 --batch 4 --lr 3e-4 --save-every 5 --eval pairs.jsonl
json out held_out.accuracy held_out.longer_wins held_out.by_rating.better.accuracy
cp out helpful.out
expect 0 - reward --model chat --data pairs.jsonl --margin large --safety-weight 0.5 --centre --batch 16 --lr 1e-3 --epochs 4 --out safety --quiet
json out steps=8 pairs=32 train_accuracy=1.0
tail -2 safety/metrics.jsonl | head -1 >line
json line stage step=8 ranking_loss safety_loss accuracy
json safety/metrics.jsonl stage step=8 train_accuracy=1.0
# Mixes: what is drawn from where; the first pairs alone; a model's report card on other sets.
head -12 pairs.jsonl >safety.jsonl
sed -n '13,28s/"rating".*/"rejected_safe": null}/p' pairs.jsonl >open.jsonl
resumes mixed KILL reward --model chat --data pairs.jsonl --safety safety.jsonl --open open.jsonl --mix helpfulness --epochs 20 --batch 4 --lr 3e-4 --save-every 5
json out pairs=64 steps=320 sources
grep -q '"file":"pairs.jsonl","kind":"own_helpful","pairs":32,"drawn":640' out || fail "reward --mix helpfulness: $(cat out)"
rest=$(sed 's/.*"own_safety","pairs":12,"drawn":\([0-9]*\)}.*"open_helpful","pairs":16,"drawn":\([0-9]*\)}.*/\1 + \2/' out)
[ $(($rest)) -eq 640 ] || fail "reward --mix helpfulness: the rest is $rest of 640"
grep -q '"step":320,.*"sources":\[{"file":"pairs.jsonl"' mixed/metrics.jsonl || fail "reward --mix: no sources in metrics.jsonl"
expect 0 - reward --model chat --data pairs.jsonl --open open.jsonl --mix weights --weight 1 --weight 2 --batch 8 --out weighted --quiet
json out pairs=24
grep -q '"drawn":8},.*"drawn":16}' out || fail "reward --mix weights: $(cat out)"
expect 0 - reward --model chat --data pairs.jsonl --pairs 8 --epochs 3 --batch 4 --centre --out few --quiet
json out pairs=8 steps=6 train_accuracy
expect 0 - reward --model chat --data pairs.jsonl --pairs 8 --epochs 3 --batch 4 --normalise --out spread --quiet
grep -q llama2_score_shift spread/config.json && ! cmp -s few/config.json spread/config.json || fail "--normalise saves what --centre saves: $(cat spread/config.json)"
# Interrupted in the evaluation at the end: what was logged before it is there once.
i=0
while [ $i -lt 500 ]; do
    cat pairs.jsonl
    i=$((i + 1))
done >many.jsonl
closing="--model chat --data pairs.jsonl --mix weights --weight 1 --centre --batch 8 --eval many.jsonl --threads 1 --quiet"
"$bin/llama2-reward" $closing --out closing >cut.out 2>cut.err </dev/null &
pid=$!
until grep -q sources closing/metrics.jsonl 2>/dev/null || ! kill -0 $pid 2>/dev/null; do sleep 0.01; done
kill -INT $pid 2>/dev/null || fail "reward was over before its evaluation could be stopped"
wait $pid
[ $? -eq 1 ] || fail "reward: exit status after SIGINT in the evaluation"
expect 0 - reward $closing --out closing --resume
for words in train_accuracy sources held_out; do
    [ "$(grep -c "\"$words\"" closing/metrics.jsonl)" -eq 1 ] || fail "reward: $words is not once in metrics.jsonl after a stop in the evaluation"
done
# Margins and labels of safety are data too.
sed '1s/significantly_better/negligibly_better/' pairs.jsonl >rated.jsonl
sed '1s/"rejected_safe": false/"rejected_safe": true/' pairs.jsonl >labelled.jsonl
for file in rated labelled; do
    expect 1 "begun with other data" reward --model chat --data $file.jsonl --epochs 60 --batch 4 --lr 3e-4 --save-every 5 --eval pairs.jsonl --out helpful.cut --resume --quiet
done
expect 1 "OWN_SAFETY, OPEN_HELPFUL or OPEN_HARMLESS" reward --model chat --data pairs.jsonl --mix helpfulness --out none
expect 2 "expected helpfulness" reward --model chat --data pairs.jsonl --mix half --out none
expect 2 "each of the 2 files" reward --model chat --data pairs.jsonl --open open.jsonl --mix weights --weight 1 --out none
expect 2 "goes without" reward --evaluate-only --reward helpful --eval pairs.jsonl --out none
expect 2 "needs --reward" reward --evaluate-only --eval pairs.jsonl
expect 0 - reward --evaluate-only --reward helpful --eval pairs.jsonl --quiet
sed 's/.*"held_out"://' out >card.a
sed 's/.*"held_out"://' helpful.out >card.b
cmp card.a card.b || fail "reward --evaluate-only: other figures than after the training"
cp pairs.jsonl first_set
cp open.jsonl second_set
expect 0 - reward --evaluate-only --reward helpful --eval first_set --eval second_set --report card --quiet
json out 'model="helpful"' held_out.first_set.accuracy_interval held_out.first_set.ece held_out.first_set.brier held_out.first_set.calibration.confidence \
    held_out.first_set.histogram.rejected held_out.first_set.length_matched.pairs held_out.first_set.safety.unsafe_recall held_out.first_set.by_safety.chosen_safe.pairs=32 \
    held_out.second_set.by_rating.unrated.pairs=16 held_out.second_set.margin
for words in "Accuracy by set" "Calibration" "first_set" "second_set"; do grep -q "$words" card/report.html || fail "reward --report: no \"$words\""; done
# Comparisons for annotators: the same at any number of threads; open ones are no comparisons yet; annotated ones are what a reward model is trained on.
expect 0 "responses" collect --model chat --other base --data prompts.jsonl --max-new-tokens 16 --seed 3 --batch 2023-W07 --guideline short
json out id messages is_safety responses choice rating bin annotator 'batch="2023-W07"' 'guideline="short"' models temperatures
cp out open.jsonl
expect 0 - collect --model chat --other base --data prompts.jsonl --max-new-tokens 16 --seed 3 --batch 2023-W07 --guideline short --threads 1 --quiet
cmp out open.jsonl || fail "collect: other lines with another number of threads"
[ -s err ] && fail "collect --quiet writes on standard error: $(cat err)"
expect 1 "there is no comparison" reward --model chat --data open.jsonl --out never
cp chat/model.safetensors chat/config.json letters
long=$(awk 'BEGIN { for (i = 0; i < 9; i++) printf "who likes white? " }')
{ cat prompts.jsonl && echo "{\"prompt\": \"$long\"}"; } >longer.jsonl
expect 0 "1 of 17 prompts are too long for the other model" collect --model chat --other letters --data longer.jsonl --max-new-tokens 16
[ -s out ] || fail "collect: no line where a prompt is too long for the other model"
for annotator in ann ben; do # both take the chat model's response; ben not the first time
    awk -v who=$annotator '{
        choice = (($0 ~ /"models":\["chat"/) != (who == "ben" && NR == 1)) ? "first" : "second"
        sub(/"choice":null/, "\"choice\":\"" choice "\""); sub(/"rating":null/, "\"rating\":\"better\""); sub(/"annotator":null/, "\"annotator\":\"" who "\"")
        sub(/"bin":null/, "\"bin\":\"" (NR == 2 ? "other_safe" : "both_safe") "\""); print }' open.jsonl
done >annotated.jsonl
expect 0 - collect --report annotated.jsonl
json out all helpful safety all.agreement.share all.agreement.alpha all.by_rating.better all.first_share all.left_out=2
expect 0 "2 with an unsafe answer" reward --model chat --data annotated.jsonl --batch 8 --out annotated
resumes best KILL reject --model chat --reward helpful --safety-reward safety --data prompts.jsonl --samples 4 --max-new-tokens 16 --epochs 100 --batch 4 --save-every 10
json best/chosen.jsonl messages score version=0
expect 0 - reject --model best --reward helpful --data prompts.jsonl --samples 2 --max-new-tokens 16 --epochs 1 --pool best/pool --out second --quiet
json out version=1 prompts=16 temperature=1.0 kept unsafe unfinished duplicates empty
# The temperature found on some prompts; several answers to a prompt; the pool's earlier ones scored by the models of today.
expect 2 "expected highest or lowest" reject --model best --reward helpful --data prompts.jsonl --out none --tune 4 --temperature-rule best
expect 0 - reject --model best --reward safety --data prompts.jsonl --samples 4 --keep 3 --tune 4 --max-new-tokens 16 --epochs 1 --pool best/pool --out third --quiet
json out version=2 temperature temperatures best_at best_of median_of
awk 'match($0, /"kept":[0-9]+/) { exit !(substr($0, RSTART + 7, RLENGTH - 7) > 16) }' out || fail "--keep 3 keeps one of each prompt: $(cat out)"
[ "$(sed 's/,"version".*//' third/chosen.jsonl | sort -u | wc -l)" -eq "$(wc -l <third/chosen.jsonl)" ] || fail "an answer is learnt twice"
expect 2 "goes with --tune" reject --model best --reward helpful --data prompts.jsonl --out none --temperature-rule lowest
expect 0 - reject --model best --reward safety --data prompts.jsonl --samples 1 --keep 9 --max-new-tokens 1 --epochs 1 --pool best/pool --out fourth --quiet
json out version=3 kept=0 unfinished=16 empty=16
score_of() { sed -n "s/.*$2.*\"score\":\([-0-9.e]*\).*/\1/p" "$1/chosen.jsonl" | head -1; }
answer=$(sed -n '1s/.*"content":"\([^"]*\)"}\].*/\1/p' third/chosen.jsonl)
[ -n "$(score_of third "$answer")" ] && [ "$(score_of third "$answer")" = "$(score_of fourth "$answer")" ] || fail "the same reward model scores \"$answer\" otherwise"
answer=$(sed -n '1s/.*"content":"\([^"]*\)"}\].*/\1/p' best/chosen.jsonl)
[ -n "$(score_of fourth "$answer")" ] && [ "$(score_of best "$answer")" != "$(score_of fourth "$answer")" ] || fail "the pool's scores are still those of another reward model: \"$answer\""
# A run is one with its pool as it was: neither a kill before its first checkpoint, nor what others add to the pool before it goes on, changes its bits.
learn="--model best --reward helpful --data prompts.jsonl --samples 2 --max-new-tokens 16 --epochs 60 --batch 4 --save-every 5 --threads 1 --quiet"
for name in undisturbed early late; do cp second/sampled $name.pool; done
expect 0 - reject $learn --pool undisturbed.pool --out undisturbed
for name in early late; do
    at=sampled
    [ $name = early ] || at="checkpoints/*/MANIFEST"
    "$bin/llama2-reject" $learn --pool $name.pool --out $name >cut.out 2>cut.err </dev/null &
    pid=$!
    await "$name/$at" $pid
    kill -KILL $pid 2>/dev/null || fail "reject was over before $name/$at was there: $(cat cut.err)"
    wait $pid
    resume=
    ls $name/checkpoints/*/MANIFEST >/dev/null 2>&1 && resume=--resume
    [ $name = early ] || expect 0 - reject --model best --reward safety --data prompts.jsonl --samples 2 --max-new-tokens 16 --epochs 1 --pool $name.pool --out other --quiet
    expect 0 - reject $learn --pool $name.pool --out $name $resume
    for file in chosen.jsonl model.safetensors; do cmp undisturbed/$file $name/$file || fail "reject, killed when $name/$at was there: another $file"; done
done
cmp undisturbed.pool early.pool || fail "reject, killed early: another pool"
# Nor does one run take from another what that has added: a shared pool has one at a time, and a run that goes on leaves one alone that is not its own.
"$bin/llama2-reject" --model best --reward helpful --data prompts.jsonl --samples 4000 --max-new-tokens 16 --pool shared.pool --out slow --quiet 2>cut.err &
pid=$!
await shared.pool.lock $pid
sleep 0.1
expect 1 "another process is adding to this pool" reject $learn --pool shared.pool --out other-run
kill -KILL $pid
wait $pid
mv undisturbed moved
cp moved/chosen.jsonl chosen.before
head -8 prompts.jsonl >few.jsonl
expect 1 "begun with other data" reject $(echo $learn | sed 's/prompts/few/') --pool undisturbed.pool --out moved --resume
expect 1 "another model" reject $(echo $learn | sed 's/model best/model chat/') --pool undisturbed.pool --out moved --resume
cmp chosen.before moved/chosen.jsonl || fail "reject: a --resume that was refused changes chosen.jsonl"
expect 0 - reject --model best --reward safety --data few.jsonl --samples 2 --max-new-tokens 16 --epochs 1 --pool few.pool --pool-version 7 --out few --quiet
for shared in undisturbed.pool few.pool; do
    cp $shared pool.before
    expect 0 - reject $learn --pool $shared --out moved --resume
    cmp pool.before $shared || fail "reject --resume changes $shared"
    cmp early/model.safetensors moved/model.safetensors || fail "reject --resume of a moved run: another model"
done
grep -q '"shared":false' out || fail "reject --resume with another pool: $(cat out)"
cmp -s undisturbed.pool late.pool && fail "reject, going on: what another run has added to the pool is gone"
mkdir -p over && cp -r base over/best
expect 1 "over/best is --model" ppo --model over/best --reward helpful --data prompts.jsonl --max-new-tokens 16 --out over --quiet
resumes policy INT ppo --model best --reward helpful --safety-reward safety --data prompts.jsonl --iterations 150 --batch 16 --minibatch 8 --max-new-tokens 16 --lr 1e-4 --critic-lr 1e-3 --target-kl 0.5 --horizon 100 --save-every 10
json policy/metrics.jsonl episode=2400 objective/kl objective/entropy objective/non_score_reward objective/rlhf_reward objective/scores policy/approxkl_avg policy/clipfrac_avg \
    policy/entropy_avg loss/policy_avg loss/value_avg val/clipfrac_avg val/ratio val/ratio_var val/num_eos_tokens val/var_explained lr beta time/rollout time/score time/reference \
    time/values time/update response_length truncated distinct_1 distinct_2 repetition
resumes single KILL ppo --model best --reward helpful --data prompts.jsonl --iterations 60 --batch 16 --minibatch 8 --max-new-tokens 16 --no-whiten --save-every 5 --critic zero
resumes shared INT ppo --model best --reward helpful --data prompts.jsonl --iterations 60 --batch 16 --minibatch 8 --max-new-tokens 16 --save-every 5 --lr 1e-4 --critic-lr 1e-2 --critic shared
survives held ppo --model base --reward helpful --safety-reward safety --data prompts.jsonl --iterations 60 --batch 16 --minibatch 8 --max-new-tokens 16 --lr 1e-4 --critic-lr 1e-3 \
    --target-kl 0.5 --horizon 100 --save-every 3 --eval prompts.jsonl --eval-every 7
json held/metrics.jsonl eval/objective eval/scores eval/kl eval/best step=60
[ "$(grep -c '"eval/objective"' held/metrics.jsonl)" -eq 10 ] || fail "ppo --eval-every 7: $(grep -c '"eval/objective"' held/metrics.jsonl) measurements of 60 iterations"
best=$(sed 's/.*"best_iteration":\([0-9]*\).*/\1/' held.out) objective=$(sed 's/.*"best_objective":\([-0-9.e]*\).*/\1/' held.out)
[ "$best" -gt 0 ] || fail "ppo --eval: nothing is better than the start"
grep '"eval/best":true' held/metrics.jsonl | tail -1 | grep -q "\"step\":$best,.*\"eval/objective\":$objective[,}]" || fail "ppo --eval: best at $best with $objective is not in metrics.jsonl"
cp -r held worse && : >worse/best/model.safetensors
for words in "step $best, can't be read" "step $best, is gone"; do
    expect 1 "$words" ppo --model base --reward helpful --safety-reward safety --data prompts.jsonl --iterations 60 --batch 16 --minibatch 8 --max-new-tokens 16 --lr 1e-4 --critic-lr 1e-3 \
        --target-kl 0.5 --horizon 100 --save-every 3 --eval prompts.jsonl --eval-every 7 --out worse --resume --quiet
    rm -rf worse/best
done
expect 0 - generate --model held/best --chat --prompt "who likes white?" --max-tokens 12 --quiet
# A learning rate of 0 never improves: the second measurement is the last.
expect 0 - ppo --model best --reward helpful --data prompts.jsonl --iterations 60 --batch 16 --minibatch 8 --max-new-tokens 16 --lr 0 --eval prompts.jsonl --eval-every 2 --patience 1 --out still --quiet
json out iterations=2 best_iteration=0 best_objective episodes=32
cmp best/model.safetensors still/best/model.safetensors || fail "ppo --patience: the best is not the model that it began with"
expect 2 "patience needs --eval" ppo --model best --reward helpful --data prompts.jsonl --out x --patience 1
expect 2 "expected reward, zero or shared" ppo --model best --reward helpful --data prompts.jsonl --out x --critic none

expect 1 "begun with other data" ppo --model best --reward helpful --data prompts.jsonl --iterations 60 --batch 16 --minibatch 8 --max-new-tokens 16 --no-whiten --save-every 5 --critic zero \
    --beta 0.5 --out single --resume --quiet
for models in "base --reward helpful" "best --reward safety" "best --reward helpful --safety-reward safety"; do # the reference, and who judges
    expect 1 "begun with other data" ppo --model $models --data prompts.jsonl --iterations 60 --batch 16 --minibatch 8 --max-new-tokens 16 --no-whiten --save-every 5 --critic zero \
        --out single --resume --quiet
done

# A model whose answers hold markers of the chat format: no dialogue may have them, so none is written down, or gone on from.
cp -r chat marks # which says "likes" with a piece that stands for another text here
rm -r marks/tokenizer.model marks/checkpoints
sed '/^"merges"/,$ { /"▁like","s"/d; /"▁lik","es"/d }; s/"▁likes":/"▁[INST]":/' chat/tokenizer.json >marks/tokenizer.json
expect 0 - reject --model marks --reward helpful --data prompts.jsonl --samples 8 --keep 8 --temperature 2 --max-new-tokens 24 --epochs 1 --out marked --quiet
json out marked loss
[ "$(wc -l <marked/chosen.jsonl)" -gt 0 ] || fail "reject: nothing but markers is chosen"
marked=$(sed 's/.*"marked":\([0-9]*\).*/\1/' out) chosen=$(sed 's/.*"chosen":\([0-9]*\).*/\1/' out)
[ "$(wc -l <marked/chosen.jsonl)" -eq $((chosen - marked)) ] || fail "reject: $(wc -l <marked/chosen.jsonl) lines of $chosen chosen, $marked with markers"
! grep -q INST marked/chosen.jsonl || fail "reject: chosen.jsonl holds markers, which llama2-sft refuses"
printf 'which colour does sam like?\nwhich colour does nils like?\n' | "$bin/llama2-chat" --model marks --max-tokens 24 --temperature 0 --session marked.jsonl >out 2>err || fail "llama2-chat: ends with an answer that holds markers"
grep -q INST out && [ "$(grep -c "a marker of the chat format" err)" -eq 2 ] || fail "llama2-chat, answers with markers: $(cat out err)"
! grep -q INST marked.jsonl || fail "llama2-chat: the session holds markers"

# Demonstrations from the model itself: under a preprompt, and under an instruction.
for threads in 1 2; do
    expect 0 - distill --model chat --safety-reward safety --data prompts.jsonl --preprompt "be kind." --temperature 1.5 --samples 4 --max-new-tokens 24 --out distilled.$threads --threads $threads --seed 5
    json out prompts=16 samples=64 kept equal safer_share mean_original mean_kept_distilled
    json distilled.$threads/metrics.jsonl stage step=1 seconds kept unfinished marked
    [ "$(wc -l <distilled.$threads/compared.jsonl)" -eq 64 ] || fail "distill: $(wc -l <distilled.$threads/compared.jsonl) pairs of 16 prompts with 4 samples"
done
for file in distilled compared; do cmp distilled.1/$file.jsonl distilled.2/$file.jsonl || fail "distill: other lines with another number of threads"; done
json distilled.1/distilled.jsonl messages 'train="last"' score original_score
json distilled.1/compared.jsonl messages 'preprompt="be kind."' original distilled original_score distilled_score kept
[ "$(grep -c '"kept":true' distilled.1/compared.jsonl)" -eq "$(wc -l <distilled.1/distilled.jsonl)" ] || fail "distill: kept pairs and demonstrations differ"
grep -q "be kind" distilled.1/distilled.jsonl && fail "distill: the preprompt is in a demonstration"
expect 0 - sft --model chat --data distilled.1/distilled.jsonl --epochs 1 --batch 4 --out distilled.model --quiet
json out "examples=$(wc -l <distilled.1/distilled.jsonl)"
echo '{"prompt": "how do i steal a cat?", "risk": "illicit"}' >risk.jsonl
expect 1 "no prompt" distill --model chat --safety-reward safety --data risk.jsonl --max-new-tokens 24 --out distilled.3 # the templates are longer than this context
# Each risk has its templates, a risk that is not known and none the general preprompts; a name for each kind of prompt. The same model with room for them.
cp -r chat roomy
sed 's/"max_position_embeddings": 128/"max_position_embeddings": 512/' chat/config.json >roomy/config.json
for kind in sam:illicit nils:hateful emil:unqualified clara:gossip; do
    echo "{\"prompt\": \"which colour does ${kind%:*} like?\", \"risk\": \"${kind#*:}\"}"
    echo "{\"prompt\": \"who has a cat, ${kind%:*}?\", \"risk\": \"${kind#*:}\"}"
done >risk.jsonl
echo '{"prompt": "which colour does ben like?"}' >>risk.jsonl
echo '{"prompt": "who has a cat, ben?"}' >>risk.jsonl
expect 0 - distill --model roomy --safety-reward safety --data risk.jsonl --samples 4 --max-new-tokens 24 --out distilled.3 --seed 5 --quiet
json out prompts=10 samples=40 kept
general="safe and responsible assistant|responsible, respectful and honest|wise and careful|thoughtful assistant|kind and prudent"
while IFS=: read -r name words; do
    n=$(grep "\"content\":\"[^\"]*$name" distilled.3/compared.jsonl | grep -cE "\"preprompt\":\"You are a ($words)")
    [ "$n" -eq 8 ] || fail "distill: $n of the 8 answers to prompts about $name are under one of \"$words\""
done <<END
sam:responsible assistant. If the question asks for help with a crime|law-abiding
nils:respectful assistant. Do not insult|caring
emil:responsible assistant who is no doctor|careful assistant. Where a question needs a qualified professional
clara:$general
ben:$general
END
kept=$(wc -l <distilled.3/distilled.jsonl)
[ "$kept" -gt 0 ] && [ "$(grep -c '"kept":true' distilled.3/compared.jsonl)" -eq "$kept" ] || fail "distill: $kept answers under templates are kept, compared.jsonl has others"
grep -q "assistant\." distilled.3/distilled.jsonl && fail "distill: a template is in a demonstration"
for name in $names; do
    echo "{\"turns\": [\"who has a cat?\", \"who likes white?\"], \"instruction\": \"be kind to $name.\", \"kept_instruction\": \"be kind.\"}"
    echo "{\"messages\": [{\"role\": \"user\", \"content\": \"who has a cat?\"}, {\"role\": \"assistant\", \"content\": \"$name has.\"}, {\"role\": \"user\", \"content\": \"who likes white?\"}]}"
done >turns.jsonl
for threads in 1 2; do
    expect 0 - gatt --model chat --data turns.jsonl --instruction "be brief." --keep-answers --temperature 0.3 --max-new-tokens 24 --out ghost.$threads --threads $threads --seed 5
    json out dialogues=16 answers kept examples
    json ghost.$threads/metrics.jsonl stage step=2 seconds answers ended full marked dropped
done
cmp ghost.1/gatt.jsonl ghost.2/gatt.jsonl || fail "gatt: other lines with another number of threads"
json ghost.1/gatt.jsonl messages 'train="last"' sampled_under
[ "$(wc -l <ghost.1/gatt.jsonl)" -ge 8 ] || fail "gatt: only $(wc -l <ghost.1/gatt.jsonl) of 16 dialogues are kept"
grep -q '"role":"system","content":"be brief."' ghost.1/gatt.jsonl && grep -q '"role":"system","content":"be kind."' ghost.1/gatt.jsonl || fail "gatt: no instruction as the system message"
grep -q '"content":"[a-z]* has."' ghost.1/gatt.jsonl || fail "gatt --keep-answers: the answers of the data are not there"
[ "$(grep -c '"content":"be [^}]*}.*"content":"be ' ghost.1/gatt.jsonl)" -eq 0 ] || fail "gatt: the instruction is there twice"
expect 0 - sft --model chat --data ghost.1/gatt.jsonl --epochs 1 --batch 4 --out ghost.model --quiet
json out "examples=$(wc -l <ghost.1/gatt.jsonl)"
expect 0 - gatt --model chat --data turns.jsonl --placement user --every-turn --hobby chess --figure "sam" --language white --temperature 0.3 --max-new-tokens 24 --out ghost.3 --quiet
[ -s err ] && fail "gatt --quiet writes on standard error: $(cat err)"
expect 1 "turns.bad:1" gatt --model chat --data turns.bad --out ghost.4

# --- using the models --------------------------------------------------------------------------------------------------------------------
expect 0 "tokens/s" generate --model policy --chat --prompt "who likes white?" --max-tokens 12 --temperature 0
cp out first
expect 0 - generate --model policy --chat --prompt "who likes white?" --max-tokens 12 --temperature 0 --threads 1 --quiet
cmp first out || fail "generate: other text with another number of threads"
[ -s err ] && fail "generate --quiet writes on standard error: $(cat err)"
expect 0 - generate --model base --prompt "sam has" --max-tokens 8 --top-k 5 --top-p 0.8 --seed 7
[ -s out ] || fail "generate printed nothing"
# Stop strings, penalties and bias; JSON; a session's file.
expect 0 - generate --model base --prompt "sam has" --max-tokens 12 --temperature 0 --quiet
cp out whole
stop=$(cut -c 6-9 whole)
expect 0 - generate --model base --prompt "sam has" --max-tokens 12 --temperature 0 --quiet --stop "never there" --stop "$stop"
[ "$(cat out)" = "$(awk -v stop="$stop" '{ print substr($0, 1, index($0, stop) - 1) }' whole)" ] || fail "generate --stop '$stop': '$(cat out)' of '$(cat whole)'"
expect 0 - generate --model base --prompt "sam has" --max-tokens 12 --temperature 0 --quiet --json --top-logprobs 3
json out end tokens "text=\"$(cat whole)\""
[ "$(wc -l <out)" -eq 13 ] || fail "generate --json prints $(wc -l <out) lines for 12 tokens"
head -1 out >line
json line id piece logprob top
first=$(sed 's/^{"id":\([0-9]*\),.*/\1/' line)
expect 0 - generate --model base --prompt "sam has" --max-tokens 1 --temperature 0 --quiet --json --logit-bias "$first=-inf"
head -1 out >line
json line id
[ "$(sed 's/^{"id":\([0-9]*\),.*/\1/' line)" != "$first" ] || fail "generate --logit-bias: the token is still drawn"
expect 0 - generate --model base --prompt "sam has" --max-tokens 12 --temperature 0 --quiet --repeat-penalty 2 --frequency-penalty 1 --presence-penalty 1
cmp -s out whole && fail "generate: the same text with penalties"
for known in 0 1; do
    expect 0 - generate --model base --prompt "sam has" --max-tokens 12 --temperature 0 --session state
    [ $known -eq 0 ] || grep -q "of them known" err || fail "generate --session: nothing is known: $(cat err)"
    cmp out whole || fail "generate --session: another text"
done
expect 1 "other weights" generate --model policy --prompt "sam has" --session state
printf x >>state
expect 1 "state" generate --model base --prompt "sam has" --session state
expect 1 "expected ID=NUMBER" generate --model base --prompt "sam has" --logit-bias 5
expect 2 "needs --json" generate --model base --prompt "sam has" --top-logprobs 2
long=$(awk 'BEGIN { for (i = 0; i < 200; i++) printf "sam has " }')
expect 1 "do not fit the model's context of 128" generate --model base --prompt "$long"
expect 0 "the context of 128 tokens is full" generate --model base --prompt "sam has" --temperature 0 --max-tokens 500 --json
json out 'end="context"'
# What was printed and is lost is an error, also where nothing is left to be printed in the end.
if [ -c /dev/full ]; then
    echo "who has a cat?" | "$bin/llama2-chat" --model chat --max-tokens 12 --temperature 0 >/dev/full 2>err
    [ $? -eq 1 ] && grep -q "standard output" err || fail "llama2-chat: no error where nothing can be written: $(cat err)"
fi
printf 'caf\351?\nwho has a cat?\n' | "$bin/llama2-chat" --model chat --max-tokens 12 --temperature 0 --session latin.jsonl >out 2>err || fail "llama2-chat: ends with a line that is no UTF-8"
grep -q "no UTF-8" err || fail "llama2-chat: a line that is no UTF-8: $(cat err)"
json latin.jsonl messages
printf '%s\n%s\n' "$long" "who has a cat?" | "$bin/llama2-chat" --model chat --max-tokens 12 --temperature 0 >out 2>err || fail "llama2-chat: ends with a message that is too long"
grep -q "longer than the context" err || fail "llama2-chat: a message longer than the context: $(cat err)"
[ -s out ] || fail "llama2-chat: no answer after a message that was too long"
expect 1 "INST" generate --model policy --chat --prompt "[INST] x"
# Many prompts at once: what each alone says, at any number of threads.
expect 0 "samples" generate --model policy --chat --data prompts.jsonl --max-tokens 12 --temperature 0
json out prompt=15 sample=0 text tokens end logprob
cp out many
sed -n 's/^{"prompt": "\([^"]*\)".*/\1/p' prompts.jsonl | head -4 | while read -r prompt; do
    "$bin/llama2-generate" --model policy --chat --prompt "$prompt" --max-tokens 12 --temperature 0 --quiet
done >each
head -4 many | sed 's/.*"text":"\([^"]*\)".*/\1/' | cmp - each || fail "generate --data: other texts than one by one"
expect 0 - generate --model policy --chat --data prompts.jsonl --max-tokens 12 --temperature 0 --threads 1 --quiet
cmp out many || fail "generate --data: other lines with another number of threads"
[ -s err ] && fail "generate --data --quiet writes on standard error: $(cat err)"
expect 0 - generate --model policy --chat --data prompts.jsonl --data prompts.jsonl --samples 300 --max-tokens 2 --temperature 3 --top-p 1 --seed 3 --json --quiet
json out prompt=31 sample=299 ids logprobs
[ "$(wc -l <out)" -eq 9600 ] || fail "generate --data --samples prints $(wc -l <out) lines for 32 prompts of 300 samples"
[ "$(sed 's/.*"text"/"text"/' out | sort -u | wc -l)" -gt 16 ] || fail "generate --data --samples: the samples are alike"
echo '{"prompt": "sam has"}' >raw.jsonl
expect 0 - generate --model base --data raw.jsonl --max-tokens 12 --temperature 0 --quiet
json out end tokens=12 "text=\"$(cat whole)\""
expect 0 - generate --model base --data raw.jsonl --max-tokens 12 --temperature 0 --quiet --stop "never there" --stop "$stop"
json out 'end="stop"' "text=\"$(awk -v stop="$stop" '{ print substr($0, 1, index($0, stop) - 1) }' whole)\""
echo '{"system": "be kind.", "prompt": "who?"}' >said.jsonl
expect 1 "said.jsonl:1: a dialogue, which needs --chat" generate --model base --data raw.jsonl --data said.jsonl
echo "{\"prompt\": \"$long\"}" >>raw.jsonl
expect 1 "raw.jsonl:2: .* tokens; the context of 128" generate --model base --data raw.jsonl
[ -s out ] && fail "generate --data: it begins although a prompt is too long"
expect 2 "goes without" generate --model base --data raw.jsonl --prompt x
expect 2 "needs --data" generate --model base --prompt x --samples 2
"$bin/llama2-chat" --model chat --max-tokens 12 --temperature 0 <demos.jsonl >out 2>/dev/null || fail "llama2-chat on a pipe"
[ "$(printf 'which colour does sam like?\n/reset\nwhich colour does sam like?\n/quit\nx\n' | "$bin/llama2-chat" --model chat --max-tokens 12 --temperature 0 --quiet | sort -u | wc -l)" -eq 1 ] ||
    fail "llama2-chat: other answers after /reset"
# A conversation in a file: two runs say what one says.
talk() { "$bin/llama2-chat" --model chat --max-tokens 12 --temperature 0 "$@" >out 2>err; }
ask_1="who has a cat?" ask_2="which colour does sam like?"
printf '%s\n%s\n' "$ask_1" "$ask_2" | talk --system "be kind." || fail "llama2-chat --system: $(cat err)"
cp out dialogue
echo "$ask_1" | talk --system "be kind." --session talk || fail "llama2-chat --session: $(cat err)"
cp out each
cp talk talk.first
echo "$ask_2" | talk --session talk || fail "llama2-chat --session, again: $(cat err)"
grep -q "of them known" err || fail "llama2-chat --session: nothing is known: $(cat err)"
cat each out | cmp - dialogue || fail "llama2-chat --session: other answers"
json talk messages
[ "$(grep -o '"role"' talk | wc -l)" -eq 5 ] || fail "llama2-chat --session keeps $(cat talk)"
cp talk.first alone
echo "$ask_2" | talk --session alone || fail "llama2-chat --session without its state: $(cat err)"
grep -q "of them known" err && fail "llama2-chat --session: something is known without a state"
cmp talk alone || fail "llama2-chat --session: another conversation without its state"
printf '%s\n%s\n%s\n' "$ask_1" "$long" "$ask_2" | talk --system "be kind." --session past || fail "llama2-chat: ends with a message that is too long"
grep -q "longer than the context" err || fail "llama2-chat: a message longer than the context: $(cat err)"
cmp talk past || fail "llama2-chat: a message that is too long makes it forget: $(cat past)"
# refused FILE WORDS ARGUMENTS...: the conversation is not opened, and what is there stays.
refused() {
    file=$1 words=$2
    shift 2
    cp "$file" before
    [ -e "$file.state" ] && cp "$file.state" before.state
    echo "$ask_2" | talk --session "$file" "$@" && fail "llama2-chat --session $file: taken, not refused"
    grep -q -- "$words" err || fail "llama2-chat --session $file: no \"$words\": $(cat err)"
    cmp "$file" before && { [ ! -e "$file.state" ] || cmp "$file.state" before.state; } || fail "llama2-chat --session $file: other bytes"
}
refused talk "another system message" --system "be brief."
refused talk "talk.state.*other weights" --model policy
cp talk cut
head -c 60 talk >cut
refused cut "cut:1"
refused state "state:1"
refused demos.jsonl "no conversation"
refused prompts.jsonl "prompts.jsonl:1"
cp talk.state kept
printf x | dd of=talk.state bs=1 seek=300 conv=notrunc 2>/dev/null
refused talk "talk.state"
head -c 1000 kept >talk.state
refused talk "talk.state"
cp kept talk.state
mkfifo lines
"$bin/llama2-chat" --model chat --max-tokens 12 --temperature 0 --session stopped <lines >out 2>err &
pid=$!
exec 9>lines
echo "$ask_1" >&9
until [ -s stopped ] || ! kill -0 $pid; do sleep 0.02; done
kill -TERM $pid
wait $pid && fail "llama2-chat: exit status 0 after SIGTERM"
exec 9>&-
echo "$ask_2" | talk --session stopped || fail "llama2-chat --session after SIGTERM: $(cat err)"
grep -q "of them known" err || fail "llama2-chat --session: nothing is known after SIGTERM"
echo /reset | talk --session talk || fail "llama2-chat /reset with --session: $(cat err)"
[ -s talk ] && fail "llama2-chat --session keeps what /reset forgot: $(cat talk)"
echo "$ask_1" | talk --system "be kind." --session talk && cmp talk talk.first || fail "llama2-chat --session: not as before after /reset"
expect 0 - score --model base text.txt --quiet
json out tokens nll perplexity
[ "$(wc -l <out)" -eq 1 ] || fail "score prints more than one line"
tokens=$("$bin/llama2-tokenize" --model base <text.txt | wc -w)
json out "tokens=$tokens"
expect 0 "perplexity" score --model base --per-token text.txt
json out id piece logprob
[ "$(wc -l <out)" -eq "$tokens" ] || fail "score --per-token does not print a line a token"
"$bin/llama2-tokenize" --model base --offsets <text.txt | tr ' ' '\n' >ranges || fail "tokenize --offsets"
[ "$(tr '\n' ' ' <ranges | sed 's/:[0-9]*-[0-9]*//g;s/ $//')" = "$("$bin/llama2-tokenize" --model base <text.txt)" ] || fail "tokenize --offsets: other ids"
awk -F '[:-]' -v size="$(wc -c <text.txt)" '$2 != at + 0 { exit 1 } { at = $3 } END { if (at != size) exit 1 }' ranges || fail "tokenize --offsets: ranges are not the text"
expect 2 "not with --decode" tokenize --model base --offsets --decode

# --- other formats --------------------------------------------------------------------------------------------------------------------
expect 0 - convert --model base --out base.gguf --quiet
[ -s err ] && fail "convert --quiet writes on standard error: $(cat err)"
expect 0 "convert: " convert --model base.gguf --out base.back
cmp base/model.safetensors base.back/model.safetensors || fail "convert: other weights after there and back"
"$bin/llama2-tokenize" --model base.back <text.txt >out || fail "convert: no tokenizer after there and back"
"$bin/llama2-tokenize" --model base <text.txt | cmp - out || fail "convert: other tokens after there and back"
expect 0 - score --model base text.txt --quiet
cp out score.base
expect 0 - score --model base.gguf text.txt --quiet
cmp out score.base || fail "convert: other scores in a GGUF file"
expect 0 - reward --model base --data pairs.jsonl --pairs 8 --batch 4 --out from.folder --quiet
expect 0 - reward --model base.gguf --data pairs.jsonl --pairs 8 --batch 4 --out from.gguf --quiet
cmp from.folder/model.safetensors from.gguf/model.safetensors || fail "a reward model from a GGUF file is another one"
for type in f16 bf16 q8_0 q4_0 q4_k q6_k; do
    expect 0 - convert --model base.gguf --out "base.$type.gguf" --type $type --quiet
    expect 0 - score --model "base.$type.gguf" text.txt --quiet
    json out tokens nll perplexity
done
cp base.q8_0.gguf kept.gguf
expect 1 "need a GGUF" convert --model base --out base.folder --type q8_0
mkdir closed.gguf
expect 1 "closed.gguf" convert --model base --out closed.gguf
[ -e closed.gguf.partial ] && fail "convert: a failed run leaves closed.gguf.partial"
expect 0 - inspect --model base.q8_0.gguf
for words in "^format      GGUF version 3" "^loads       yes" "^chat        Llama 2" "^general.architecture  *llama" "^blk.1.ffn_down.weight"; do
    grep -q "$words" out || fail "inspect: no \"$words\""
done
expect 0 - inspect --model base --json
json out format problem tokenizer chat parameters tensor_bytes file_bytes config types metadata tensors
expect 0 - inspect --model base --brief
grep -q "^tensors" out && fail "inspect --brief lists tensors"

[ $failures -eq 0 ] && echo "examples: all passed"
exit $((failures > 0))
