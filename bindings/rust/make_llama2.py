#!/usr/bin/env python3
"""Writes llama2.rs, the declarations of the public headers for Rust. make_llama2.py [--check]"""
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
import headers  # noqa: E402

TYPES = {"int32_t": "i32", "uint32_t": "u32", "int64_t": "i64", "uint64_t": "u64", "uint8_t": "u8", "size_t": "usize", "float": "f32",
         "double": "f64", "char": "c_char", "void": "c_void"}
KEYWORDS = {"as", "box", "const", "crate", "dyn", "enum", "extern", "final", "fn", "impl", "in", "let", "loop", "match", "mod", "move", "mut", "priv",
            "pub", "ref", "self", "static", "struct", "super", "trait", "try", "type", "unsafe", "use", "where", "yield"}

HEAD = '''//! libllama2 for Rust: the declarations of its headers. Made by make_llama2.py.
//!
//!     #[path = "llama2.rs"]
//!     mod llama2;
//!
//! Functions, structs and constants have their C names (a name that is a keyword here ends with an underscore). The headers say what everything means,
//! and who frees what.
#![allow(dead_code, non_camel_case_types)]
use std::ffi::CStr;
use std::os::raw::{c_char, c_void};

pub type llama2_status = i32;

/// A function failed: `code` is one of LLAMA2_E_*, the message says what, where and what would have been right.
#[derive(Debug)]
pub struct Error {
    pub code: llama2_status,
    pub message: String,
}

/// A status as a Result.
pub fn check(status: llama2_status) -> Result<(), Error> {
    if status >= 0 {
        return Ok(());
    }
    let message = unsafe { CStr::from_ptr(llama2_last_error()) };
    Err(Error { code: status, message: message.to_string_lossy().into_owned() })
}
'''


def name_of(name):
    return name + "_" if name in KEYWORDS else name


def type_of(type):
    text = TYPES.get(type.base, type.base)
    for const in type.pointers:
        text = ("*const " if const else "*mut ") + text
    return text


def signature(parameters, result):
    text = ", ".join(f"{name_of(name)}: {type_of(type)}" for type, name in parameters)
    return f"({text})" + ("" if result.base == "void" and not result.pointers else f" -> {type_of(result)}")


def main():
    h = headers.parse()
    functions = {name for name, _, _ in h.functions}
    out = [HEAD]
    out += [f"pub const {name}: i32 = {value};" for name, value in h.constants]
    out.append("")
    for name in h.opaque:
        out += ["#[repr(C)]", f"pub struct {name} {{", "    _private: [u8; 0],", "}", ""]
    for name, result, parameters in h.callbacks:
        out += [f"pub type {name} = Option<unsafe extern \"C\" fn{signature(parameters, result)}>;", ""]
    for name, fields in h.structs:
        out += ["#[repr(C)]", "#[derive(Clone, Copy)]", f"pub struct {name} {{"]
        out += [f"    pub {name_of(field)}: {type_of(type)}," for type, field in fields]
        init = f"{name}_init" in functions
        out += ["}", "", f"impl {name} {{", f"    /// {'The defaults' if init else 'Zeros'}, and struct_size.", "    pub fn new() -> Self {",
                "        unsafe {", "            let mut value: Self = std::mem::zeroed();"]
        out.append(f"            {name}_init(&mut value, std::mem::size_of::<Self>());" if init else
                   "            value.struct_size = std::mem::size_of::<Self>() as u32;")
        out += ["            value", "        }", "    }", "}", f"const _: () = assert!(std::mem::size_of::<{name}>() == {h.layout(fields)[1]});", ""]
    out.append('extern "C" {')
    out += [f"    pub fn {name}{signature(parameters, result)};" for name, result, parameters in h.functions]
    out.append("}")
    return headers.write_or_check(HERE / "llama2.rs", "\n".join(out) + "\n", sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
