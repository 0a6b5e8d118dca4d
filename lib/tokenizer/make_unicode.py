#!/usr/bin/env python3
"""Writes unicode_classes.inc: where the class of a character changes, for pre-tokenisers.

The version is 16.0, that of Oniguruma 6.9.10, the engine of the `tokenizers` library (checked with 0.23.3: all code points agree for \\p{L},
\\p{N} and \\s). Python's own unicodedata is of another version in most Pythons: pip install unicodedata2==16.0.0

usage: make_unicode.py > unicode_classes.inc
"""
import unicodedata2

VERSION = "16.0.0"
# The property White_Space, which is \s; it has not changed since Unicode 6.3.
WHITE = [*range(9, 14), 0x20, 0x85, 0xA0, 0x1680, *range(0x2000, 0x200B), 0x2028, 0x2029, 0x202F, 0x205F, 0x3000]
OTHER, LETTER, NUMBER, SPACE = range(4)


def kind(code):
    if code in WHITE:
        return SPACE
    return {"L": LETTER, "N": NUMBER}.get(unicodedata2.category(chr(code))[0], OTHER)


assert unicodedata2.unidata_version == VERSION, unicodedata2.unidata_version
changes = [(0, kind(0))]
for code in range(1, 0x110000):
    if kind(code) != changes[-1][1]:
        changes.append((code, kind(code)))

print("/* Made by make_unicode.py from Unicode %s: code point << 2 | class, wherever the class changes. */" % VERSION)
line = ""
for code, value in changes:
    item = "0x%X," % (code << 2 | value)
    if len(line) + 1 + len(item) > 120:
        print(line)
        line = ""
    line += (" " if line else "") + item
print(line)
