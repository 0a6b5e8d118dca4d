#!/usr/bin/env python3
"""Writes llama2.py, the declarations of the public headers for ctypes. make_llama2.py [--check]"""
import keyword
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
import headers  # noqa: E402

TYPES = {"int32_t": "c_int32", "uint32_t": "c_uint32", "int64_t": "c_int64", "uint64_t": "c_uint64", "uint8_t": "c_uint8", "size_t": "c_size_t",
         "float": "c_float", "double": "c_double", "char": "c_char", "llama2_status": "llama2_status"}

HEAD = '''"""libllama2 for Python: the declarations of its headers for ctypes. Made by make_llama2.py.

    import llama2
    lib = llama2.load()
    ctx = llama2.handle(llama2.llama2_context)
    lib.llama2_context_create(None, ctx)

Functions, structs and constants have their C names (a name that is a keyword here ends with an underscore). A function that returns a status raises
llama2.Error when it fails. The headers say what everything means, and who frees what."""
import os
from ctypes import (CDLL, CFUNCTYPE, POINTER, Structure, c_char, c_char_p, c_double, c_float, c_int32, c_int64, c_size_t, c_uint8, c_uint32, c_uint64,
                    c_void_p, sizeof)


class llama2_status(c_int32):
    """Its value is in the exception: functions that return it return None."""


class Error(Exception):
    """A function failed: `code` is one of LLAMA2_E_*, the text says what, where and what would have been right."""

    def __init__(self, code, message):
        super().__init__(message)
        self.code = code


def handle(opaque):
    """A NULL handle. To be given both where one is made (llama2_x **) and where one is used (llama2_x *)."""
    return POINTER(opaque)()


def new(lib, struct, **fields):
    """A struct with its defaults, or zeros where it has none, and with these fields."""
    value = struct(struct_size=sizeof(struct))
    init = getattr(lib, struct.__name__ + "_init", None)
    if init:
        init(value, sizeof(struct))
    for name, content in fields.items():
        if not hasattr(value, name):
            raise AttributeError(f"{struct.__name__} has no field {name}")
        setattr(value, name, content)
    return value


def load(path=None):
    """The library, by default that of the environment's LLAMA2_LIBRARY, else the one that the system's loader finds."""
    lib = CDLL(path or os.environ.get("LLAMA2_LIBRARY") or "libllama2.so.SOVERSION")

    def check(status, function, arguments):
        if status.value < 0:
            message = lib.llama2_last_error().decode()
            where = "" if message.startswith(function.__name__) else f"{function.__name__}: "
            raise Error(status.value, f"{lib.llama2_status_name(status.value).decode()}: {where}{message}")

    for name, (result, parameters) in FUNCTIONS.items():
        function = getattr(lib, name)
        function.restype, function.argtypes = result, parameters
        if result is llama2_status:
            function.errcheck = check
    return lib
'''


def name_of(name):
    return name + "_" if keyword.iskeyword(name) else name


def type_of(type):
    if not type.pointers:
        return TYPES.get(type.base, type.base)
    if type.base == "void":
        text, left = "c_void_p", len(type.pointers) - 1
    elif type.base == "char" and type.pointers[0]:
        text, left = "c_char_p", len(type.pointers) - 1
    else:
        text, left = TYPES.get(type.base, type.base), len(type.pointers)
    return "POINTER(" * left + text + ")" * left


def result_of(type):
    return "None" if type.base == "void" and not type.pointers else type_of(type)


def soversion():
    import re
    return re.search(r"LLAMA2_SOVERSION (\d+)", (HERE.parent.parent / "CMakeLists.txt").read_text()).group(1)


def main():
    h = headers.parse()
    out = [HEAD.replace("SOVERSION", soversion()), ""]
    out += [f"{name} = {value}" for name, value in h.constants]
    out += ["", ""]
    for name in h.opaque:
        out += [f"class {name}(Structure):", "    pass", "", ""]
    structs = {name for name, _ in h.structs}
    declared = set()
    for name, result, parameters in h.callbacks:  # an event struct is declared before the callback that gets it
        for type, _ in parameters:
            if type.base in structs and type.base not in declared:
                declared.add(type.base)
                out += struct(type.base, dict(h.structs)[type.base])
        out.append(f"{name} = CFUNCTYPE({', '.join([result_of(result)] + [callback_type(t) for t, _ in parameters])})")
        out += ["", ""]
    for name, fields in h.structs:
        if name not in declared:
            out += struct(name, fields)
    out.append("FUNCTIONS = {")
    for name, result, parameters in h.functions:
        out.append(f'    "{name}": ({result_of(result)}, [{", ".join(type_of(t) for t, _ in parameters)}]),')
    out.append("}")
    return headers.write_or_check(HERE / "llama2.py", "\n".join(out) + "\n", sys.argv[1:])


def callback_type(type):
    """A callback gets text by pointer and length: it stays a pointer."""
    return "c_void_p" if type.base == "char" else type_of(type)


def struct(name, fields):
    return [f"class {name}(Structure):", "    _fields_ = ["] + [f'        ("{name_of(field)}", {type_of(type)}),' for type, field in fields] + ["    ]", "", ""]


if __name__ == "__main__":
    sys.exit(main())
