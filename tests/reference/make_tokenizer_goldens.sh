#!/bin/sh
# Makes tests/reference/tokenizer/ anew: texts, two small models, and what sentencepiece makes of the texts with them and with Llama 2's own model.
# Needs python3, g++ and Debian's sentencepiece and libsentencepiece-dev (made with 0.1.97).
#
# usage: make_tokenizer_goldens.sh DATA        DATA holds llama2-tokenizer.model and tinyshakespeare.txt
set -eu
data=$1
here=$(cd "$(dirname "$0")" && pwd)
out=$here/tokenizer
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

python3 "$here/make_tokenizer_texts.py" "$out"
LC_ALL=C grep -av '[^ -~]' "$out/lines.txt" > "$work/train.txt"
# Relative names, since a model holds those of its making. words: as spm_train makes them by default, with user-defined pieces and without byte fallback. spans: pieces that span words, some of them unused.
(cd "$work" && spm_train --input=train.txt --model_type=bpe --normalization_rule_name=identity --num_threads=1 --minloglevel=2 --model_prefix=words \
    --vocab_size=600 --pad_id=3 --user_defined_symbols='<sep>,ab,abc,the▁end,▁▁x')
(cd "$work" && spm_train --input=train.txt --model_type=bpe --normalization_rule_name=identity --num_threads=1 --minloglevel=2 --model_prefix=spans \
    --vocab_size=900 --byte_fallback=true --split_by_whitespace=false --remove_extra_whitespaces=false --add_dummy_prefix=false --user_defined_symbols='[x],▁q')
cp "$work/words.model" "$out/words.model"
python3 "$here/mark_unused_pieces.py" "$work/spans.model" "$out/spans.model"
g++ -O2 -o "$work/spm_whole" "$here/spm_whole.cc" $(pkg-config --cflags --libs sentencepiece)
python3 "$here/make_tokenizer_goldens.py" "$data" "$out" "$work/spm_whole"
