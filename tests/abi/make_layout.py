#!/usr/bin/env python3
"""Writes layout.c: what the headers promise in numbers, as assertions. make_layout.py [--check]

After a change of the headers run it and read the difference of layout.c: only new lines, and larger sizes of structs that grew at their end, keep the
ABI (docs/abi.md)."""
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent.parent / "bindings"))
import headers  # noqa: E402


def main():
    h = headers.parse()
    lines = ["/* Made by make_layout.py. Sizes, offsets and constants of the ABI on LP64; each field begins where the one before it ends: no hidden padding. */",
             "#include <llama2/llama2.h>", "",
             "#define SIZE(type, size) _Static_assert(sizeof(type) == (size) && (size) % 8 == 0, \"size of \" #type)",
             "#define FIELD(type, field, offset, size) \\",
             "    _Static_assert(offsetof(type, field) == (offset) && sizeof(((type *)0)->field) == (size), #type \".\" #field)",
             "#define CONSTANT(name, value) _Static_assert((name) == (value), #name)", ""]
    for name, fields in h.structs:
        if fields[0][1] != "struct_size" or fields[0][0].base != "uint32_t":
            raise ValueError(f"{name}: the first field is not uint32_t struct_size")
        try:
            rows, size = h.layout(fields)
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from None
        lines.append(f"SIZE({name}, {size});")
        lines += [f"FIELD({name}, {field}, {offset}, {bytes});" for field, offset, bytes in rows]
        lines.append("")
    lines += [f"CONSTANT({name}, {value});" for name, value in h.constants]
    return headers.write_or_check(HERE / "layout.c", "\n".join(lines) + "\n", sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
