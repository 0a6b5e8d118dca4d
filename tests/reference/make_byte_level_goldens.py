#!/usr/bin/env python3
"""Makes the byte-level BPE part of tests/reference/tokenizer/ anew with the `tokenizers` library: three small vocabularies, a text of
characters whose class matters, and what the library makes of both texts and of dialogues. Made with tokenizers 0.23.3; with the pip package
gguf also what it makes of them with the vocabularies of GGUF files.

usage: make_byte_level_goldens.py OUT [GPT2.gguf SMOLLM2.gguf]       OUT holds lines.txt
"""
import json
import random
import struct
import sys
from pathlib import Path

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, processors, trainers

OUT = Path(sys.argv[1])
LLAMA3 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
          r"|\s*[\r\n]+|\s+(?!\S)|\s+")
CHATML = ("{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}{{ '<|im_start|>system\n"
          "You are kind.<|im_end|>\n' }}{% endif %}{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}"
          "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}")

TABLE = []
for i in range(256):
    for _ in range(8):
        i = i >> 1 ^ (0x82F63B78 if i & 1 else 0)
    TABLE.append(i)


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc = TABLE[(crc ^ byte) & 255] ^ crc >> 8
    return crc ^ 0xFFFFFFFF


def cutter(kind):
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=kind != "llama3")
    if kind == "smollm":
        return pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), byte_level])
    if kind == "llama3":
        return pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(LLAMA3), "isolated"), byte_level])
    return byte_level


def train(kind, specials, whole_alphabet):
    tok = Tokenizer(models.BPE(ignore_merges=kind == "llama3"))
    tok.pre_tokenizer = cutter(kind)
    tok.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet() if whole_alphabet else ["\u010a"]  # a line end
    trainer = trainers.BpeTrainer(vocab_size=600, special_tokens=specials, initial_alphabet=alphabet, show_progress=False)
    lines = (OUT / "lines.txt").read_text().split("\n")
    tok.train_from_iterator(lines[: len(lines) // 2], trainer)
    return tok


def save(kind, tok, config):
    folder = OUT / ("bpe-" + kind)
    folder.mkdir(exist_ok=True)
    (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=1) + "\n")
    parts = json.loads(tok.to_str())
    if kind == "llama3":  # a piece that no merge makes
        parts["model"]["vocab"]["\u0120qwzx"] = len(parts["model"]["vocab"])
    (folder / "tokenizer.json").write_text(json.dumps(parts, ensure_ascii=kind == "gpt2", separators=(",", ":")) + "\n")
    tok = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tok.encode_special_tokens = True  # special pieces are never made from text
    return tok


def make_models():
    found = {}
    tok = train("gpt2", ["<|endoftext|>"], True)
    tok.add_tokens([AddedToken("[sep]", normalized=False), AddedToken(" [sep] x", normalized=False)])
    found["gpt2"] = save("gpt2", tok, {"bos_token": "<|endoftext|>", "eos_token": {"content": "<|endoftext|>"}})
    tok = train("smollm", ["<|endoftext|>", "<|im_start|>", "<|im_end|>"], False)
    found["smollm"] = save("smollm", tok, {"bos_token": "<|im_start|>", "eos_token": "<|im_end|>", "unk_token": "<|endoftext|>",
                                           "chat_template": CHATML})
    tok = train("llama3", ["<|begin_of_text|>", "<|end_of_text|>"], True)
    tok.post_processor = processors.Sequence([
        processors.ByteLevel(trim_offsets=False),
        processors.TemplateProcessing(single="<|begin_of_text|> $A", special_tokens=[("<|begin_of_text|>", 0)])])
    found["llama3"] = save("llama3", tok, {"eos_token": "<|end_of_text|>"})
    return found


def from_gguf(path, kind):
    from gguf import GGUFReader
    fields = GGUFReader(path).fields
    pieces, types, merges = (fields["tokenizer.ggml." + name].contents() for name in ("tokens", "token_type", "merges"))
    tok = Tokenizer(models.BPE(vocab={piece: i for i, piece in enumerate(pieces)}, merges=[tuple(m.split(" ")) for m in merges]))
    tok.pre_tokenizer = cutter(kind)
    tok.decoder = decoders.ByteLevel()
    tok.add_special_tokens([AddedToken(piece, special=True) for piece, type_ in zip(pieces, types) if type_ == 3])
    tok.encode_special_tokens = True
    return tok


def write_classes():
    random.seed(20)
    pool = " \t\r\u00a0\u3000\u2028''''sStTreveLLmMdD019\u0663\u00b2a\u00e9Z!?.<|>\u017f\U0001d7d8\u4e2d\u0301\x04\x06\x1d\x0b\x85"
    lines = ["".join(random.choice(pool) for _ in range(random.randint(1, 40))) for _ in range(500)]
    for low, high in ((0x20, 0x3000), (0x3000, 0xD800), (0xE000, 0x12000), (0x12000, 0x20000), (0x20000, 0x110000)):
        lines += ["".join(chr(random.randrange(low, high)) for _ in range(12)) for _ in range(60)]
    lines += ["a [sep] x[sep]b", "[sep][sep] [sep]", " qwzx qwzx", "<|endoftext|><|im_start|> <|begin_of_text|>", "it'\u017fx it'Sx it'lLx"]
    (OUT / "classes.txt").write_text("\n".join(lines) + "\n", newline="\n")


def rows(name, tok):
    """Each 20 lines of both texts, then both texts whole: the count of ids and their checksum."""
    for text in ("lines.txt", "classes.txt"):
        whole = (OUT / text).read_bytes().decode()
        lines = whole.split("\n")[:-1]
        for first in range(0, len(lines), 20):
            ids = [i for e in tok.encode_batch(lines[first:first + 20], add_special_tokens=False) for i in e.ids]
            yield "%s %s %d %d %08x\n" % (name, text, first, len(ids), crc32c(struct.pack("<%di" % len(ids), *ids)))
        ids = tok.encode(whole, add_special_tokens=False).ids
        yield "%s %s -1 %d %08x\n" % (name, text, len(ids), crc32c(struct.pack("<%di" % len(ids), *ids)))


# Those of tests/unit/tokenizer/test_byte_level_chat.c.
DIALOGUES = {
    "user": [("user", "  What is 2 + 2?\n")],
    "system": [("system", " Be brief. \n"), ("user", " Hi there ")],
    "turns": [("user", "Hello"), ("assistant", "\n Hi! \u00e9\n"), ("user", "Thanks")],
    "complete": [("user", ""), ("assistant", "You are welcome.")],
}


def chat(tok):
    """ids:weight of each dialogue; answers with their <|im_end|> weigh 1."""
    tok.encode_special_tokens = False
    for name, turns in DIALOGUES.items():
        text, answers = "", []
        if turns[0][0] != "system":
            text = "<|im_start|>system\nYou are kind.<|im_end|>\n"
        for role, content in turns:
            text += "<|im_start|>" + role + "\n"
            begin = len(text)
            text += content + "<|im_end|>"
            if role == "assistant":
                answers.append((begin, len(text)))
            text += "\n"
        if turns[-1][0] != "assistant":
            text += "<|im_start|>assistant\n"
        found = tok.encode(text)
        yield "%s %d %s\n" % (name, len(found.ids), " ".join(
            "%d:%d" % (i, any(b < end <= e for b, e in answers)) for i, (_, end) in zip(found.ids, found.offsets)))


def unicode_classes():
    """A byte for each code point, by the expressions themselves: 1 \\p{L}, 2 \\p{N}, 3 \\s, else 0."""
    classes = bytearray(0x110000)
    text = "".join(chr(i) for i in range(0x110000) if not 0xD800 <= i < 0xE000)
    for value, expression in enumerate((r"\p{L}", r"\p{N}", r"\s"), 1):
        for part, _ in pre_tokenizers.Split(Regex(expression), "removed", invert=True).pre_tokenize_str(text):
            for character in part:
                classes[ord(character)] = value
    return "unicode classes 0 %d %08x\n" % (len(classes), crc32c(bytes(classes)))


write_classes()
tokenizers = make_models()
golden = [unicode_classes()]
golden += [row for name, tok in tokenizers.items() for row in rows(name, tok)]
if len(sys.argv) > 2:
    golden += list(rows("gpt2.gguf", from_gguf(sys.argv[2], "gpt2"))) + list(rows("smollm2.gguf", from_gguf(sys.argv[3], "smollm")))
(OUT / "bpe.golden").write_text("".join(golden))
(OUT / "bpe-chat.golden").write_text("".join(chat(tokenizers["smollm"])))
