/* GGUF files that a test puts together: a header, keys, tensor infos, data. */
#ifndef GGUF_FILE_H
#define GGUF_FILE_H

#include "faults.h"
#include "format/bytes.h"
#include "format/gguf.h"

typedef struct gguf_file {
    unsigned char *bytes;
    size_t size, capacity;
} gguf_file;

static inline void put(gguf_file *f, const void *bytes, size_t n)
{
    if (f->size + n > f->capacity) f->bytes = realloc(f->bytes, f->capacity = 2 * (f->size + n));
    if (n) memcpy(f->bytes + f->size, bytes, n);
    f->size += n;
}

static inline void put_u8(gguf_file *f, unsigned value)
{
    put(f, &(unsigned char){(unsigned char)value}, 1);
}

static inline void put_u32(gguf_file *f, uint32_t value)
{
    unsigned char bytes[4];
    l2_put_u32(bytes, value);
    put(f, bytes, 4);
}

static inline void put_u64(gguf_file *f, uint64_t value)
{
    unsigned char bytes[8];
    l2_put_u64(bytes, value);
    put(f, bytes, 8);
}

static inline void put_f32(gguf_file *f, float value)
{
    put(f, &value, 4);
}

static inline void put_text(gguf_file *f, const char *text)
{
    put_u64(f, strlen(text));
    put(f, text, strlen(text));
}

static inline void put_header(gguf_file *f, uint64_t n_tensors, uint64_t n_values)
{
    put(f, "GGUF", 4);
    put_u32(f, 3);
    put_u64(f, n_tensors);
    put_u64(f, n_values);
}

static inline void put_key(gguf_file *f, const char *key, uint32_t type)
{
    put_text(f, key);
    put_u32(f, type);
}

static inline void put_key_u32(gguf_file *f, const char *key, uint32_t value)
{
    put_key(f, key, L2_GGUF_U32);
    put_u32(f, value);
}

static inline void put_key_f32(gguf_file *f, const char *key, float value)
{
    put_key(f, key, L2_GGUF_F32);
    put_f32(f, value);
}

static inline void put_key_string(gguf_file *f, const char *key, const char *value)
{
    put_key(f, key, L2_GGUF_STRING);
    put_text(f, value);
}

static inline void put_array(gguf_file *f, const char *key, uint32_t element, uint64_t count)
{
    put_key(f, key, L2_GGUF_ARRAY);
    put_u32(f, element);
    put_u64(f, count);
}

/* Dimensions in the order of the file: the fastest first. */
static inline void put_tensor(gguf_file *f, const char *name, uint32_t n_dims, const uint64_t *dims, uint32_t type,
                              uint64_t offset)
{
    put_text(f, name);
    put_u32(f, n_dims);
    for (uint32_t i = 0; i < n_dims; i++) put_u64(f, dims[i]);
    put_u32(f, type);
    put_u64(f, offset);
}

static inline void put_padding(gguf_file *f, size_t alignment)
{
    while (f->size % alignment) put_u8(f, 0);
}

static inline void put_zeros(gguf_file *f, size_t n)
{
    while (n-- > 0) put_u8(f, 0);
}

/* --- the tensors of a Llama ------------------------------------------------------------------- */

typedef struct gguf_llama {
    uint64_t dim, queries, keys, wide, vocab;
    int layers, tied;
} gguf_llama;

/* Calls add(user, name, columns, rows) for each of them; rows 0: a gain. */
static inline void each_llama_tensor(const gguf_llama *l, void (*add)(void *, const char *, uint64_t, uint64_t),
                                     void *user)
{
    const struct {
        const char *name;
        uint64_t columns, rows;
    } of_layer[] = {{"attn_norm", l->dim, 0},      {"attn_q", l->dim, l->queries},      {"attn_k", l->dim, l->keys},
                    {"attn_v", l->dim, l->keys},   {"attn_output", l->queries, l->dim}, {"ffn_norm", l->dim, 0},
                    {"ffn_gate", l->dim, l->wide}, {"ffn_up", l->dim, l->wide},         {"ffn_down", l->wide, l->dim}};
    char name[64];
    add(user, "token_embd.weight", l->dim, l->vocab);
    if (!l->tied) add(user, "output.weight", l->dim, l->vocab);
    add(user, "output_norm.weight", l->dim, 0);
    for (int layer = 0; layer < l->layers; layer++)
        for (size_t i = 0; i < sizeof of_layer / sizeof *of_layer; i++) {
            snprintf(name, sizeof name, "blk.%d.%s.weight", layer, of_layer[i].name);
            add(user, name, of_layer[i].columns, of_layer[i].rows);
        }
}

#endif
