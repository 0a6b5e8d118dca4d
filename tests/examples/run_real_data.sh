#!/bin/sh
# llama2-pipeline --data on real text, demonstrations and comparisons: it must end within the test's limit of 20 minutes, have learnt more of the text than an interpolated bigram
# model, and both reward models must fit 64 pairs. How they do on held-out pairs stands beside "longer wins" and is printed.
#
#     run_real_data.sh BIN DATA
. "$(dirname "$0")/expect.sh"
data=$2
[ -e "$data/llama2-tokenizer.model" ] || { echo "skipped: no real data in $data"; exit 77; }

expect 0 - pipeline --data "$data" --out real --quiet
# number NAME: of report.json
number() { sed -n "s/^ *\"$1\": \([-0-9.e]*\),\{0,1\}\$/\1/p" real/report.json | head -1; }
for name in held_out_loss bigram_loss fits_64_helpful fits_64_safety accuracy_helpful longer_wins_helpful accuracy_safety longer_wins_safety total_seconds; do
    [ -n "$(number $name)" ] || fail "report.json has no $name"
    echo "$name $(number $name)"
done
awk "BEGIN { exit !($(number held_out_loss) < $(number bigram_loss)) }" || fail "the held-out loss is not below the bigram model's"
for name in fits_64_helpful fits_64_safety; do awk "BEGIN { exit !($(number $name) >= 0.95) }" || fail "$name is below 0.95"; done
exit $((failures > 0))
