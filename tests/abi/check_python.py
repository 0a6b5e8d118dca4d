"""The structs of bindings/python/llama2.py have the layout that layout.c asserts."""
import ctypes
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path[:0] = [str(ROOT / "bindings"), str(ROOT / "bindings" / "python")]
import headers  # noqa: E402
import llama2  # noqa: E402

h = headers.parse()
for name, fields in h.structs:
    struct = getattr(llama2, name)
    rows, size = h.layout(fields)
    assert ctypes.sizeof(struct) == size, name
    for (_, offset, width), (field, _) in zip(rows, struct._fields_, strict=True):
        found = getattr(struct, field)
        assert (found.offset, found.size) == (offset, width), f"{name}.{field}"
