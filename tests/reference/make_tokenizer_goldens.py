#!/usr/bin/env python3
"""Runs sentencepiece's programs on the texts and writes counts and checksums (CRC32C) of ids and of the decoded text; called by
make_tokenizer_goldens.sh.

usage: make_tokenizer_goldens.py DATA OUT SPM_WHOLE
"""
import struct
import subprocess
import sys
from pathlib import Path

DATA, OUT, SPM_WHOLE = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
MODELS = {"llama2": DATA / "llama2-tokenizer.model", "words": OUT / "words.model", "spans": OUT / "spans.model"}

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


def run(command, text):
    return subprocess.run(command, input=text, stdout=subprocess.PIPE, check=True).stdout


def golden(ids, text):
    return "%d %08x %08x" % (len(ids), crc32c(struct.pack("<%di" % len(ids), *ids)), crc32c(text))


def encode_lines(model, text):
    """[(ids, decoded)] of each line, by spm_encode and spm_decode.."""
    encoded = run(["spm_encode", "--model=%s" % model, "--output_format=id"], text)
    lines = [[int(i) for i in line.split()] for line in encoded.split(b"\n")[:-1]]
    decoded = run(["spm_decode", "--model=%s" % model, "--input_format=id"], encoded).split(b"\n")[:-1]
    assert len(decoded) == len(lines)
    return list(zip(lines, decoded))


def encode_whole(model, text):
    ids = run([SPM_WHOLE, str(model), "encode"], text)
    return [int(i) for i in ids.split()], run([SPM_WHOLE, str(model), "decode"], ids)


def each_line(name):
    pairs = encode_lines(MODELS["llama2"], (OUT / (name + ".txt")).read_bytes())
    (OUT / ("llama2.%s.golden" % name)).write_text("".join(golden(*pair) + "\n" for pair in pairs))
    return ["%s %d %d %s\n" % (name, i, len(ids), " ".join(map(str, ids))) for i, (ids, _) in enumerate(pairs) if i % 50 == 3]


def whole_texts():
    texts = [OUT / "lines.txt", OUT / "invalid.txt", OUT / "binary.bin", DATA / "tinyshakespeare.txt"]
    rows = []
    for name, model in MODELS.items():
        for text in texts:
            rows.append("%s %s whole %s\n" % (name, text.name, golden(*encode_whole(model, text.read_bytes()))))
            if text.suffix == ".txt":
                pairs = encode_lines(model, text.read_bytes())
                ids = [i for line, _ in pairs for i in line]
                rows.append("%s %s lines %s\n" % (name, text.name, golden(ids, b"".join(decoded for _, decoded in pairs))))
    (OUT / "texts.golden").write_text("".join(rows))


# Dialogues that tests/unit/tokenizer/test_chat.c has too. The formula is that of Meta's reference, generation.py.
DIALOGUES = {
    "user": [("user", "  What is 2 + 2?\n")],
    "system": [("system", " Be brief. \n"), ("user", " Hi there ")],
    "turns": [("user", "Hello"), ("assistant", " Hi! \U0001F600\n"), ("user", "\u00a0Name three\tcolours.\u3000"), ("assistant", "Red,\ngreen and blue."), ("user", "Thanks")],
    "complete": [("system", "You are a pirate."), ("user", "Who are you?"), ("assistant", "Arr!\n\nA pirate."), ("user", "\u00c9t\u00e9 0042?"), ("assistant", "\U0001F3F4 Aye")],
    "empty": [("user", ""), ("assistant", "")],
}


def chat():
    rows = []
    for name, messages in DIALOGUES.items():
        system = None
        if messages[0][0] == "system":
            system, messages = messages[0][1], messages[1:]
        ids, mask = [], []
        for i in range(0, len(messages), 2):
            user = messages[i][1]
            if i == 0 and system is not None:
                user = "<<SYS>>\n" + system + "\n<</SYS>>\n\n" + user
            prompt = "[INST] %s [/INST]" % user.strip()
            n_prompt = len(encode_whole(MODELS["llama2"], prompt.encode())[0])
            if i + 1 < len(messages):
                pair = [1] + encode_whole(MODELS["llama2"], ("%s %s " % (prompt, messages[i + 1][1].strip())).encode())[0] + [2]
            else:
                pair = [1] + encode_whole(MODELS["llama2"], prompt.encode())[0]
            ids += pair
            mask += [0] * (1 + n_prompt) + [1] * (len(pair) - 1 - n_prompt)
        rows.append("%s %d %s\n" % (name, len(ids), " ".join("%d:%d" % pair for pair in zip(ids, mask))))
    (OUT / "chat.golden").write_text("".join(rows))


(OUT / "llama2.ids.golden").write_text("".join(each_line("lines") + each_line("invalid")))
whole_texts()
chat()
