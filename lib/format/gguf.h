/*
 * GGUF, versions 2 and 3, little-endian: metadata as keys and values, tensor infos, then the tensors, each at a
 * multiple of the alignment. All that precedes the tensors is checked when the file is opened: sizes, types, every
 * string of every array, that tensors lie inside the file and apart. What a value means is for the reader of the key to
 * check.
 *
 *     l2_gguf file;
 *     const l2_gguf_value *v;
 *     L2_TRY(l2_gguf_open(ctx, path, 0, &file));
 *     L2_CHECK(l2_gguf_require(&file, "llama.block_count", &v));       // FORMAT and a message where there is none
 *     L2_CHECK(l2_gguf_int(v, &layers));
 *     v = l2_gguf_find(&file, "tokenizer.ggml.add_bos_token");         // optional: NULL where there is none
 *     L2_CHECK(l2_gguf_require(&file, "tokenizer.ggml.tokens", &v));
 *     L2_CHECK(l2_gguf_strings(v, &strings));
 *     while (l2_gguf_next(&strings, &text, &length)) ...
 *     const l2_gguf_tensor *t = l2_gguf_find_tensor(&file, "output_norm.weight");
 *     l2_gguf_close(&file);
 *
 * Text of a file is pointer and length: no NUL follows it. Keys and names are valid UTF-8 without a NUL; values need
 * not be. Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
 */
#ifndef L2_FORMAT_GGUF_H
#define L2_FORMAT_GGUF_H

#include "base/files.h"
#include "base/json.h"
#include "base/status.h"
#include "math/stored.h" /* L2_GGML_*: types of tensors that numbers can be made of; others can be listed */

enum { L2_GGUF_MAX_DIMS = 4, L2_GGUF_MAX_KEY = 65535, L2_GGUF_MAX_NAME = 64 };

/* Types of values, as the file numbers them. */
enum {
    L2_GGUF_U8 = 0,
    L2_GGUF_I8,
    L2_GGUF_U16,
    L2_GGUF_I16,
    L2_GGUF_U32,
    L2_GGUF_I32,
    L2_GGUF_F32,
    L2_GGUF_BOOL,
    L2_GGUF_STRING,
    L2_GGUF_ARRAY,
    L2_GGUF_U64,
    L2_GGUF_I64,
    L2_GGUF_F64
};

/* A key and its value; pointers are valid as long as the file is open. Read `data` with the functions below. */
typedef struct l2_gguf_value {
    const char *key;
    const unsigned char *data; /* the scalar, the bytes of the string, the first element of the array */
    uint64_t count;            /* 1, bytes of the string, elements of the array */
    uint32_t key_length;
    int32_t type;    /* L2_GGUF_* */
    int32_t element; /* type of an array's elements, never L2_GGUF_ARRAY; else -1 */
} l2_gguf_value;

typedef struct l2_gguf_tensor {
    const char *name;
    const unsigned char *data; /* perhaps not aligned */
    uint64_t size;             /* bytes */
    uint32_t name_length;
    int32_t type;                    /* L2_GGML_* */
    int32_t n_dims;                  /* 0: a single value */
    int64_t shape[L2_GGUF_MAX_DIMS]; /* shape[0] is the slowest, the reverse of the file's order; the last one is a
                                        multiple of the type's block */
} l2_gguf_tensor;

typedef struct l2_gguf {
    llama2_context *ctx;
    l2_file_view view;
    uint32_t version;
    l2_gguf_value *values; /* sorted by key */
    size_t n_values;
    l2_gguf_tensor *tensors; /* sorted by name */
    size_t n_tensors;
} l2_gguf;

/*
 * in_memory 0 maps the file (another process that cuts a mapped file short ends this one by SIGBUS), 1 reads it. On
 * failure *out is zeroed; closing that is fine. Errors: IO, NOT_FOUND, TRUNCATED (what it declares takes more bytes
 * than there are), LIMIT (dimensions, length of a key or name), UNSUPPORTED (version, byte order, a type that is not
 * known, arrays in arrays), FORMAT.
 */
llama2_status l2_gguf_open(llama2_context *ctx, const char *path, int in_memory, l2_gguf *out);
/* The same on bytes that the caller keeps. */
llama2_status l2_gguf_parse(llama2_context *ctx, const void *data, size_t size, l2_gguf *out);
void l2_gguf_close(l2_gguf *file);

/* Does the file begin as a GGUF does? *yes is 0 for a folder and for what is not there. Errors: IO. */
llama2_status l2_gguf_recognise(llama2_context *ctx, const char *path, int *yes);

/* --- metadata -------------------------------------------------------------------------------- */

/* NULL where there is no such key; sets no message. */
const l2_gguf_value *l2_gguf_find(const l2_gguf *file, const char *key);
/* FORMAT where there is no such key. */
llama2_status l2_gguf_require(const l2_gguf *file, const char *key, const l2_gguf_value **out);

/* Each FORMAT, with the key, where the value has another type. */
llama2_status l2_gguf_int(const l2_gguf_value *value, int64_t *out);   /* any integer type; U64 up to INT64_MAX */
llama2_status l2_gguf_double(const l2_gguf_value *value, double *out); /* F32 or F64; NaN and infinity pass */
llama2_status l2_gguf_bool(const l2_gguf_value *value, int *out);      /* 0 or 1 */
llama2_status l2_gguf_string(const l2_gguf_value *value, const char **text, size_t *length);
int l2_gguf_string_is(const l2_gguf_value *value, const char *text); /* 0 also where it is no string */

/* "u32", "string" ... of L2_GGUF_*. */
const char *l2_gguf_value_type(int32_t type);
/* Bytes of the one at `data`, which is no array. */
size_t l2_gguf_value_size(int32_t type, const unsigned char *data);

/* The strings of an array, in order. */
typedef struct l2_gguf_cursor {
    const unsigned char *at;
    uint64_t left;
} l2_gguf_cursor;

llama2_status l2_gguf_strings(const l2_gguf_value *value, l2_gguf_cursor *out); /* value->count of them */
int l2_gguf_next(l2_gguf_cursor *cursor, const char **text, size_t *length);    /* 0 after the last one */

/* All value->count elements into out: of an F32 array, or of an array of I32, or of U32 up to INT32_MAX (else FORMAT).
 */
llama2_status l2_gguf_floats(const l2_gguf_value *value, float *out);
llama2_status l2_gguf_int32s(const l2_gguf_value *value, int32_t *out);

/* --- tensors --------------------------------------------------------------------------------- */

/* NULL where there is no such tensor; sets no message. */
const l2_gguf_tensor *l2_gguf_find_tensor(const l2_gguf *file, const char *name);
int64_t l2_gguf_count(const l2_gguf_tensor *tensor); /* elements */

/* "Q4_K"; NULL for a number that is no type. A block of `elements` along a row takes `bytes`. */
const char *l2_ggml_type(int32_t type, uint32_t *elements, uint32_t *bytes);

/* --- writing --------------------------------------------------------------------------------- */

/* Keys and values, in the order of the calls. A failure is kept, as in l2_text, and comes out of l2_gguf_write. */
typedef struct l2_gguf_metadata {
    l2_text text;
    uint64_t count;
} l2_gguf_metadata;

void l2_gguf_metadata_begin(l2_gguf_metadata *metadata, llama2_context *ctx);
void l2_gguf_metadata_free(l2_gguf_metadata *metadata);
void l2_gguf_put_u32(l2_gguf_metadata *metadata, const char *key, uint32_t value);
void l2_gguf_put_f32(l2_gguf_metadata *metadata, const char *key, float value);
void l2_gguf_put_bool(l2_gguf_metadata *metadata, const char *key, int value);
void l2_gguf_put_string(l2_gguf_metadata *metadata, const char *key, const char *text, size_t length);
void l2_gguf_put_value(l2_gguf_metadata *metadata, const l2_gguf_value *value); /* of a file, as it is */
/* An array: its head, then `count` elements, each by one of the three. */
void l2_gguf_put_array(l2_gguf_metadata *metadata, const char *key, int32_t element, uint64_t count);
void l2_gguf_put_element(l2_gguf_metadata *metadata, const char *text, size_t length); /* L2_GGUF_STRING */
void l2_gguf_put_element_f32(l2_gguf_metadata *metadata, float value);
void l2_gguf_put_element_i32(l2_gguf_metadata *metadata, int32_t value);

/* Gives rows [first, first + count) of a tensor. */
typedef llama2_status (*l2_gguf_fill)(void *user, int64_t first, int64_t count, float *out);

typedef struct l2_gguf_entry {
    char name[L2_GGUF_MAX_NAME];
    int32_t type;          /* one that l2_quantises; columns are whole blocks */
    int32_t n_dims;        /* 1: one row */
    int64_t rows, columns; /* > 0 */
    int64_t head_dim;      /* > 0: rows come as the library has them and are written as l2_gguf_read expects them */
    l2_gguf_fill fill;     /* called in order, for some rows at a time; whole heads where head_dim > 0 */
    void *user;
} l2_gguf_entry;

/*
 * Writes version 3 atomically: tensors in the order given, a band of rows at a time, so that memory does not depend on
 * their size. Rows become blocks on the context's threads; the bytes do not depend on how many there are. Errors:
 * INVALID (names, shapes, types), NUMERIC (as of l2_quantise), IO, NOMEM, CANCELLED, those of `fill`.
 */
llama2_status l2_gguf_write(llama2_context *ctx, const char *path, const l2_gguf_metadata *metadata,
                            const l2_gguf_entry *entries, size_t n_entries);
/* Bytes of the tensor in the file; INVALID as above. */
llama2_status l2_gguf_entry_size(const l2_gguf_entry *entry, uint64_t *out);

#endif
