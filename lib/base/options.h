/* Options, metrics and other structs that begin with struct_size: rule 4 of the ABI (docs/abi.md). */
#ifndef L2_BASE_OPTIONS_H
#define L2_BASE_OPTIONS_H

#include "base/status.h"

/* llama2_x_options_init: the defaults, at most `size` bytes of them; the rest of the caller's struct becomes 0. Sets
 * struct_size. */
void l2_options_init(void *options, size_t size, const void *defaults, size_t known);

/*
 * Reads a caller's struct over `full`, which holds defaults and has `known` bytes: the bytes that both sides know. NULL
 * leaves the defaults. LLAMA2_E_ABI for a struct_size that no struct has (below 8, above 65536, no multiple of 8: a
 * field would be cut), for a caller's bytes beyond `known` that are not 0, and for a reserved field that is not. `name`
 * is that of the struct.
 */
llama2_status l2_options_read(const void *options, void *full, size_t known, const char *name);

/* Says whether l2_struct_write will take `out`, before the work is done whose result it is; NULL will do. */
llama2_status l2_struct_check(const void *out, const char *name);

/* Writes a result into a caller's struct, as many bytes as its struct_size says and are known; the rest becomes 0.
 * struct_size stays. INVALID for NULL. */
llama2_status l2_struct_write(void *out, const void *full, size_t known, const char *name);

#endif
