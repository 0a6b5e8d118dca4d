#!/usr/bin/env python3
"""Marks every seventh of the later pieces of a sentencepiece model as unused (type 5), which no option of spm_train does.

usage: mark_unused_pieces.py FROM TO
"""
import sys

data = open(sys.argv[1], "rb").read()


def varint(at):
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            return value, at


out, at, index = bytearray(), 0, 0
while at < len(data):
    start = at
    tag, at = varint(at)
    length, at = varint(at)
    body = data[at:at + length]
    at += length
    normal = tag == 0x0A and b"\x18" not in body[-2:-1]
    if normal and index > 270 and index % 7 == 0 and length + 2 < 128:
        out += bytes([0x0A, length + 2]) + body + b"\x18\x05"
    else:
        out += data[start:at]
    index += tag == 0x0A
open(sys.argv[2], "wb").write(out)
