#!/bin/sh
# Makes tokenizer.model and common/world_tokenizer.inc from the world's text with Debian's spm_train (package sentencepiece).
# usage: examples/world/make_tokenizer.sh [BUILD_DIR] [VOCABULARY]
set -eu
here=$(cd "$(dirname "$0")" && pwd)
build=${1:-$here/../../build}
size=${2:-768}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$build/bin/llama2-world-text" > "$work/text.txt"
# as Llama 2's: BPE with byte fallback, digits apart, dummy prefix, no normalisation, no removal of spaces
spm_train --input="$work/text.txt" --model_prefix="$work/tokenizer" --model_type=bpe --vocab_size="$size" --byte_fallback=true \
  --character_coverage=1.0 --split_digits=true --add_dummy_prefix=true --normalization_rule_name=identity \
  --remove_extra_whitespaces=false --allow_whitespace_only_pieces=true --max_sentence_length=4192 --num_threads=1 \
  --unk_id=0 --bos_id=1 --eos_id=2 --pad_id=-1 --minloglevel=1
# the path of the text would make the file differ from run to run: the trainer's note on its input is dropped
python3 - "$work/tokenizer.model" "$here/tokenizer.model" <<'PY'
import sys
def varint(data, at):
    value = shift = 0
    while True:
        byte = data[at]; at += 1
        value |= (byte & 127) << shift; shift += 7
        if byte < 128: return value, at
def fields(data):
    at = 0
    while at < len(data):
        start = at
        key, at = varint(data, at)
        if key & 7 == 0: _, at = varint(data, at)
        elif key & 7 == 1: at += 8
        elif key & 7 == 5: at += 4
        else:
            n, at = varint(data, at); body = at; at += n
            yield key >> 3, data[start:at], data[body:at]
            continue
        yield key >> 3, data[start:at], b''
def encode(n):
    out = b''
    while n > 127: out += bytes([n & 127 | 128]); n >>= 7
    return out + bytes([n])
data = open(sys.argv[1], 'rb').read()
out = b''
for number, whole, body in fields(data):
    if number == 2:  # trainer_spec; 1 input, 2 model_prefix
        body = b''.join(w for n, w, _ in fields(body) if n not in (1, 2))
        whole = b'\x12' + encode(len(body)) + body
    out += whole
open(sys.argv[2], 'wb').write(out)
PY
od -An -v -tu1 -w24 "$here/tokenizer.model" | sed 's/ \+/,/g; s/^,//; s/$/,/' > "$here/../common/world_tokenizer.inc"
ls -l "$here/tokenizer.model"
