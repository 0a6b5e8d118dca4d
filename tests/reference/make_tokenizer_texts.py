#!/usr/bin/env python3
"""Writes the texts that the tokenizer is compared with sentencepiece on: lines.txt (2,000 different lines, valid UTF-8), invalid.txt (lines
that are not) and binary.bin (NUL bytes among others). The same bytes each time.

usage: make_tokenizer_texts.py FOLDER
"""
import random
import sys
from pathlib import Path

WORDS = {
    "en": "the of and to a in is that it was for on are with as his they be at one have this from or had by hot but some what there we can out other were all your when up use word how said an each she which do their time if will way about many then them would write like so these her long make thing see him two has look more day could go come did my sound no most number who over know water than call first people may down side been now find any new work part take get place made live where after back little only round man year came show every good me give our under name very through just form much great think say help low line before turn cause same mean differ move right boy old too does tell",
    "fr": "être avoir garçon où déjà l'été naïveté cœur ça français élève hôtel Noël maïs œuvre à très août événement",
    "de": "Straße über größer Mädchen Fußgängerübergänge Äpfel schön ß Donaudampfschifffahrtsgesellschaftskapitän",
    "es": "¿qué? ¡hola! niño corazón mañana pingüino español además",
    "pl": "zażółć gęślą jaźń łódź źdźbło ćma",
    "tr": "İstanbul ıspanak şeker çağdaş ğ öğretmen",
    "vi": "Tiếng Việt được nghiêng những người đường phố",
    "ru": "привет мир человек ёлка объявление съёмка Москва который время",
    "uk": "їжак ґанок Київ є",
    "el": "καλημέρα κόσμε ἀρχή Ὀδύσσεια φιλοσοφία",
    "he": "שלום עולם עִבְרִית ספר",
    "ar": "مرحبا بالعالم اللغة العربية كِتَاب ٣٤٥",
    "fa": "سلام دنیا می‌خواهم",
    "hi": "नमस्ते दुनिया हिन्दी क्षेत्र विद्यार्थी १२३",
    "ta": "வணக்கம் உலகம் தமிழ்",
    "th": "สวัสดีชาวโลก ภาษาไทย ก็ น้ำ",
    "ka": "გამარჯობა მსოფლიო",
    "hy": "բարեւ աշխարհ",
    "am": "ሰላም ልዑል",
    "ja": "こんにちは世界 日本語 カタカナ ﾊﾝｶｸ 東京都 が が",
    "zh": "你好世界 汉字 漢字 简体中文 繁體 𠀀 𪚥 龘",
    "ko": "안녕하세요 세계 한국어 각",
    "mn": "ᠮᠣᠩᠭᠣᠯ",
    "chr": "ᏣᎳᎩ",
    "math": "∑ ∫ √2 ≤ ≠ ∞ 𝔘𝔫𝔦𝔠𝔬𝔡𝔢 𝒜 ½ x² ⁿ Å Å ﬁ ﬀ №",
    "boxes": "┌─┐ │ ▁ ▁▁ ▂ █ ▀ ☃ ♥ → ⟶ ⇒ ◌̈",
}
EMOJI = ["😀", "👍🏽", "👨‍👩‍👧‍👦", "🏳️‍🌈", "🇩🇪", "🇺🇳", "❤️", "❤", "🤷🏿‍♀️", "👩🏻‍🚀", "1️⃣", "🧑‍🤝‍🧑", "🏴󠁧󠁢󠁳󠁣󠁴󠁿", "☺️", "🫠", "🦄", "👁️‍🗨️"]
CODE = [
    "int main(int argc, char **argv) {", "    return x->y[i++] + 0x1F; // 0b1010", "#include <stdio.h>", "def f(x: int = 3) -> List[str]:", "\tfor i in range(10):",
    "if (a&&b||!c) { d <<= 2; }", "SELECT * FROM t WHERE id = 'x''y';", "<div class=\"a b\">&nbsp;</div>", "echo \"$HOME\" | sed -e 's/a\\/b/c/g'", "{\"k\": [1, 2.5e-10, null]}",
    "x = [i**2 for i in y if i % 2 == 0]", "fn main() -> Result<(), Box<dyn Error>> {", "\\begin{equation} \\frac{a}{b} \\end{equation}", "https://example.org/a?b=c&d=%20#e", "10.1234/abc-2023.07 v1.2.3-rc1+build",
    "a_b_c aBcDeF ABC_DEF __init__", "================", "--------", "....", "\\n\\t\\\\", "printf(\"%5.2f\\n\", x);", "// ---- <<<<<<< HEAD", "     x", "        y = 1", "\t\t\tz", "0000000000", "3.14159265358979", "1,000,000", "2023-07-18T09:30:00Z",
]
MARKERS = ["<s>", "</s>", "<unk>", "<0x41>", "<pad>", "[INST]", "<<SYS>>", "▁", "▁▁▁", "⁇"]
SPACES = [" ", "  ", "    ", "\t", "\u00a0", "\u3000", "\u200b", "\u200d", "\ufeff", "\r", "\v", "\f", "\u2028", "\u0085", " " * 17]


def words(rng, count):
    language = rng.choice(list(WORDS))
    return [rng.choice(WORDS[language].split()) for _ in range(count)]


def english(rng):
    line = " ".join(rng.choice(WORDS["en"].split()) for _ in range(rng.randint(1, 12)))
    return rng.choice([line, line.capitalize() + ".", line.upper(), line.title() + "!?", '"' + line + '," he said'])


def line_of(rng, kind):
    if kind == 0:
        return english(rng)
    if kind == 1:
        return rng.choice([" ", "", "、", ", "]).join(words(rng, rng.randint(1, 8)))
    if kind == 2:
        return "".join(rng.choice(EMOJI) + rng.choice(["", " ", "!"]) for _ in range(rng.randint(1, 6))) + rng.choice(["", english(rng)])
    if kind == 3:
        return rng.choice(["", "    ", "\t"]) + rng.choice(CODE) + rng.choice(["", " " + rng.choice(CODE)])
    if kind == 4:
        return "".join(rng.choice(SPACES) + rng.choice(["", "a", "word", "中"]) for _ in range(rng.randint(1, 8)))
    if kind == 5:
        return "".join(rng.choice(MARKERS) + rng.choice(["", " ", "x"]) for _ in range(rng.randint(1, 4)))
    if kind == 6:
        return "".join(chr(c) for c in (rng.choice([rng.randrange(0x20, 0x7F), rng.randrange(0xA0, 0xD800), rng.randrange(0xE000, 0x110000)]) for _ in range(rng.randint(1, 12))) if chr(c) != "\n")
    if kind == 7:
        return rng.choice("aeilnt .-=0ab#") * rng.randint(1, 80)
    return "".join(rng.choice("abcdefghijklmnopqrstuvwxyzABCXYZ0123456789'-_ ") for _ in range(rng.randint(1, 40)))


def invalid_of(rng):
    pieces = [b"\x80", b"\xff", b"\xc0\xaf", b"\xc3", b"\xe2\x82", b"\xed\xa0\x80", b"\xf0\x9f\x98", b"\xf4\x90\x80\x80", b"\xf8\x88\x80\x80\x80", b"\xfe", b"\xe0\x80\xaf", b"\xe2\x96", b"\xf0\x80\x80\x80",
              b"abc", b" ", "é".encode(), "😀".encode(), "▁".encode(), b"the word", "\ufffd".encode(), bytes([rng.randrange(128, 256)]), bytes(rng.choice([b for b in range(1, 256) if b != 10]) for _ in range(6))]
    return b"".join(rng.choice(pieces) for _ in range(rng.randint(1, 10)))


def main():
    folder = Path(sys.argv[1])
    rng = random.Random(2307)
    lines = ["", " ", "  ", "▁", "a", " a", "a "]
    seen = set(lines)
    for i in range(1993):
        line = line_of(rng, i % 9)
        while line in seen:
            line = line_of(rng, i % 9)
        seen.add(line)
        lines.append(line)
    (folder / "lines.txt").write_bytes("".join(line + "\n" for line in lines).encode())
    (folder / "invalid.txt").write_bytes(b"".join(invalid_of(rng) + b"\n" for _ in range(300)))
    binary = b"\0a\0\0 b \0" + bytes(range(256)) + bytes(rng.randrange(256) for _ in range(3000)) + b"\0"
    (folder / "binary.bin").write_bytes(binary)


if __name__ == "__main__":
    main()
