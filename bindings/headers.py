"""Reads the declarations of include/llama2/*.h, which are plain enough for it: anonymous enums of constants, opaque handles, callback types, structs
of scalars and pointers, functions. Whatever else stands in a header is an error, so that nothing is left out in silence."""
import re
from pathlib import Path

INCLUDE = Path(__file__).resolve().parent.parent / "include" / "llama2"

# C type: size on LP64, which is its alignment too
SCALARS = {"int32_t": 4, "uint32_t": 4, "int64_t": 8, "uint64_t": 8, "uint8_t": 1, "size_t": 8, "float": 4, "double": 8, "char": 1, "void": 0,
           "llama2_status": 4}


class Type:
    """`base` with one bool a level of pointer, from the inside out: is what it points to const?"""

    def __init__(self, base, pointers=()):
        self.base, self.pointers = base, tuple(pointers)


class Headers:
    def __init__(self):
        self.constants = []  # (name, value), in order
        self.opaque = []     # names
        self.callbacks = []  # (name, result, [(type, name)])
        self.structs = []    # (name, [(type, field)])
        self.functions = []  # (name, result, [(type, name)])

    def size(self, type):
        if type.pointers or type.base in (name for name, _, _ in self.callbacks):
            return 8
        return SCALARS[type.base]

    def layout(self, fields):
        """[(field, offset, size)] and the size of the struct; hidden padding is an error."""
        at, rows = 0, []
        for type, name in fields:
            size = self.size(type)
            if at % size:
                raise ValueError(f"field {name} at offset {at} would have padding before it: add an explicit reserved field")
            rows.append((name, at, size))
            at += size
        if at % 8:
            raise ValueError(f"the size {at} is no multiple of 8: add an explicit reserved field at the end")
        return rows, at


def parse_declarator(text):
    """'const char *const *texts' -> (Type, 'texts')"""
    match = re.fullmatch(r"(const )?(\w+)\s*((?:\*\s*(?:const\b)?\s*)*)(\w+)?", text.strip())
    if not match:
        raise ValueError(f"can't read the declaration: {text!r}")
    const, base, stars, name = match.groups()
    pointers = []
    is_const = bool(const)
    for star in re.findall(r"\*\s*(const)?", stars):
        pointers.append(is_const)
        is_const = star == "const"
    return Type(base, pointers), name


def parse_parameters(text):
    text = text.strip()
    return [] if text == "void" else [parse_declarator(p) for p in text.split(",")]


def parse_struct(body):
    fields = []
    for line in filter(None, (part.strip() for part in body.split(";"))):
        first, *rest = line.split(",")
        type, name = parse_declarator(first)
        fields.append((type, name))
        for more in rest:
            stars, more_name = re.fullmatch(r"\s*((?:\*\s*)*)(\w+)", more).groups()
            const = type.pointers[:1] if type.pointers else (line.startswith("const "),)
            fields.append((Type(type.base, (const[0],) * stars.count("*")), more_name))
    return fields


def public_headers():
    """In the order of the umbrella."""
    umbrella = (INCLUDE / "llama2.h").read_text()
    return [INCLUDE / name for name in re.findall(r'#include "(\w+\.h)"', umbrella)]


def check_since(text, where):
    """The comment above a function, or above the group that it stands in, says since when it exists."""
    comment = ""
    for match in re.finditer(r"/\*(.*?)\*/|LLAMA2_API [\w *]+?(llama2_\w+)\(|\b(?:typedef|enum)\b", text, flags=re.S):
        if not match[2]:
            comment = match[1] or ""
        elif not re.search(r"Since[\s*]+\d+\.\d+", comment):
            raise ValueError(f"{where}: {match[2]} does not say since when it exists")


def parse():
    headers = Headers()
    for path in public_headers():
        text = path.read_text()
        check_since(text, path.name)
        text = re.sub(r"/\*.*?\*/", " ", text, flags=re.S)
        text = re.sub(r"#ifdef __cplusplus.*?#endif", " ", text, flags=re.S)
        text = re.sub(r"^[ \t]*#(?:.*\\\n)*.*$", " ", text, flags=re.M)
        parse_text(headers, re.sub(r"\s+", " ", text).strip(), path.name)
    check_types(headers)
    return headers


def check_types(headers):
    """Only fixed-width types, and no struct by value."""
    callbacks = {name for name, _, _ in headers.callbacks}
    behind_pointers = set(headers.opaque) | {name for name, _ in headers.structs}
    uses = [(name, type) for name, fields in headers.structs for type, _ in fields]
    for name, result, parameters in headers.functions + headers.callbacks:
        uses += [(name, result)] + [(name, type) for type, _ in parameters]
    for name, type in uses:
        if type.base not in SCALARS and type.base not in callbacks and not (type.base in behind_pointers and type.pointers):
            raise ValueError(f"{name}: the type {type.base} may not be used like this in the ABI")


def parse_text(headers, text, where):
    patterns = [
        (r"enum \{([^}]*)\} ?;", add_enum),
        (r"typedef struct (\w+) \{([^}]*)\} (\w+) ?;", lambda h, tag, body, name: h.structs.append((name, parse_struct(body)))),
        (r"typedef struct (\w+) (\w+) ?;", lambda h, tag, name: h.opaque.append(name)),
        (r"typedef int32_t llama2_status ?;", lambda h: None),
        (r"typedef ([\w ]+?[ *]+)\(\*(\w+)\)\(([^)]*)\) ?;",
         lambda h, result, name, parameters: h.callbacks.append((name, parse_declarator(result)[0], parse_parameters(parameters)))),
        (r"LLAMA2_API ([\w ]+?[ *]+)(llama2_\w+)\(([^)]*)\) ?;",
         lambda h, result, name, parameters: h.functions.append((name, parse_declarator(result)[0], parse_parameters(parameters)))),
    ]
    while text:
        for pattern, add in patterns:
            match = re.match(pattern, text)
            if match:
                add(headers, *match.groups())
                text = text[match.end():].strip()
                break
        else:
            raise ValueError(f"{where}: can't read what begins with {text[:100]!r}")


def add_enum(headers, body):
    for entry in filter(None, (e.strip() for e in body.split(","))):
        name, value = re.fullmatch(r"(\w+) = (-?\d+)", entry).groups()  # every value is written out
        headers.constants.append((name, int(value)))


def write_or_check(path, text, arguments):
    """The main of the generators: writes the file, or with --check says whether it is up to date. Returns an exit status."""
    if "--check" not in arguments:
        path.write_text(text)
        return 0
    if path.exists() and path.read_text() == text:
        return 0
    print(f"{path} is not what the headers say: run its generator again and look at the difference")
    return 1
