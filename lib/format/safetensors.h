/*
 * safetensors: u64 length of the header, a JSON header, the tensors. The header is checked whole when the file is
 * opened: what a tensor says of itself can be relied on afterwards.
 *
 *     l2_safetensors file;
 *     L2_TRY(l2_safetensors_open(ctx, path, 0, &file));
 *     const l2_st_tensor *t = l2_safetensors_find(&file, "model.norm.weight");   // NULL: not there
 *     status = l2_st_read(ctx, t, 0, l2_st_count(t), LLAMA2_F32, out);           // converts
 *     l2_safetensors_close(&file);
 */
#ifndef L2_FORMAT_SAFETENSORS_H
#define L2_FORMAT_SAFETENSORS_H

#include "base/files.h"
#include "base/status.h"

enum { L2_ST_MAX_DIMS = 8 };
enum { L2_ST_MAX_HEADER = 100 * 1000 * 1000 };

/* Types of a file that are none of LLAMA2_F32, _F64, _BF16, _F16: they can be listed, and not read as numbers. */
enum {
    L2_ST_BOOL = 100,
    L2_ST_U8,
    L2_ST_I8,
    L2_ST_I16,
    L2_ST_U16,
    L2_ST_I32,
    L2_ST_U32,
    L2_ST_I64,
    L2_ST_U64,
    L2_ST_F8_E4M3,
    L2_ST_F8_E5M2,
    L2_ST_F8_E8M0,
    L2_ST_C64
};

/* A tensor of a file; pointers are valid as long as the file is open. */
typedef struct l2_st_tensor {
    const char *name;          /* no NUL inside */
    const unsigned char *data; /* little-endian, perhaps not aligned */
    uint64_t size;             /* bytes */
    int32_t dtype;             /* LLAMA2_F32 ... or L2_ST_* */
    int32_t n_dims;            /* 0: a single value */
    int64_t shape[L2_ST_MAX_DIMS];
} l2_st_tensor;

typedef struct l2_safetensors {
    llama2_context *ctx;
    l2_file_view view;
    l2_st_tensor *tensors; /* sorted by name */
    size_t n_tensors;
    char *names;
} l2_safetensors;

/*
 * in_memory 0 maps the file (another process that cuts a mapped file short ends this one by SIGBUS), 1 reads it. On
 * failure *out is zeroed; closing that is fine. Errors: IO, NOT_FOUND, TRUNCATED (ends before its header or tensors
 * do), LIMIT (header, dimensions), UNSUPPORTED (an unknown dtype), FORMAT.
 */
llama2_status l2_safetensors_open(llama2_context *ctx, const char *path, int in_memory, l2_safetensors *out);
/* The same on bytes that the caller keeps. */
llama2_status l2_safetensors_parse(llama2_context *ctx, const void *data, size_t size, l2_safetensors *out);
void l2_safetensors_close(l2_safetensors *file);

/* NULL where there is no such tensor; sets no message. */
const l2_st_tensor *l2_safetensors_find(const l2_safetensors *file, const char *name);

/* "F32", "I64" ...; NULL for a number that is no dtype. */
const char *l2_st_dtype_name(int32_t dtype);
size_t l2_st_dtype_size(int32_t dtype);
int64_t l2_st_count(const l2_st_tensor *tensor); /* elements */

/* Elements [first, first + count) as F32 or F64. Errors: UNSUPPORTED for an L2_ST_* dtype, INVALID for a range outside.
 */
llama2_status l2_st_read(llama2_context *ctx, const l2_st_tensor *tensor, int64_t first, int64_t count, int32_t dtype,
                         void *out);

/* --- writing --------------------------------------------------------------------------------- */

/* Fills elements [first, first + count) of the tensor, in the dtype `source`. */
typedef llama2_status (*l2_st_fill)(void *user, int64_t first, int64_t count, void *out);

typedef struct l2_st_entry {
    const char *name;
    int32_t dtype;  /* in the file: LLAMA2_F32, _F64, _BF16 or _F16; converted, round to nearest even */
    int32_t source; /* of `data` or `fill`: LLAMA2_F32 ... */
    int32_t n_dims;
    int64_t shape[L2_ST_MAX_DIMS];
    const void *data; /* NULL: `fill` is called, piece by piece, in order */
    l2_st_fill fill;
    void *user;
} l2_st_entry;

/* Writes a file atomically, tensors in the order given, with the metadata {"format": "pt"}. Errors: INVALID (names,
 * shapes), IO, NOMEM, those of `fill`. It is committed before described_by (or NULL): l2_writer_commit_before. */
llama2_status l2_safetensors_write(llama2_context *ctx, const char *path, const l2_st_entry *entries, size_t n_entries,
                                   l2_writer *described_by);

/* Bytes of the tensor in the file; INVALID when name, dtypes or shape are not in order. */
llama2_status l2_st_entry_size(const l2_st_entry *entry, uint64_t *out);

#endif
