/*
 * The chunked state file, and the folders of checkpoints.
 *
 * A state file is [header | payloads, each padded to 8 bytes | directory | footer], little-endian. The directory has
 * for each chunk: kind, name, version, flags, offset, length, CRC32C. It stands at the end so that payloads can be
 * streamed without knowing their lengths.
 */
#ifndef L2_FORMAT_CHECKPOINT_H
#define L2_FORMAT_CHECKPOINT_H

#include "base/files.h"
#include "base/status.h"

/* --- state file: writing --------------------------------------------------------------------- */

enum { L2_CHUNK_REQUIRED = 1 }; /* a reader that does not know the kind, or the version, refuses the file */

typedef struct l2_chunk {
    const char *kind, *name; /* kind: what it is ("adamw"); name: whose ("policy") */
    uint32_t version, flags, crc;
    uint64_t offset, length;
} l2_chunk;

typedef struct l2_state_writer {
    llama2_context *ctx;
    l2_writer file;
    l2_chunk *chunks;
    size_t n_chunks, capacity;
    int open; /* a chunk has begun */
} l2_state_writer;

/* As l2_writer: after a failure, and when done, call l2_state_abort. Kind and name together are unique. */
llama2_status l2_state_create(llama2_context *ctx, const char *path, l2_state_writer *out);
/* Into a buffer, as l2_writer_memory. */
llama2_status l2_state_create_memory(llama2_context *ctx, void *buffer, size_t capacity, size_t *needed,
                                     l2_state_writer *out);
llama2_status l2_state_begin(l2_state_writer *writer, const char *kind, const char *name, uint32_t version,
                             uint32_t flags);
llama2_status l2_state_bytes(l2_state_writer *writer, const void *data, size_t size);
llama2_status l2_state_u32(l2_state_writer *writer, uint32_t value);
llama2_status l2_state_u64(l2_state_writer *writer, uint64_t value);
llama2_status l2_state_i64(l2_state_writer *writer, int64_t value);
llama2_status l2_state_f64(l2_state_writer *writer, double value);
llama2_status l2_state_f32s(l2_state_writer *writer, const float *values, size_t count);
llama2_status l2_state_i32s(l2_state_writer *writer, const int32_t *values, size_t count);
llama2_status l2_state_i64s(l2_state_writer *writer, const int64_t *values, size_t count);
llama2_status l2_state_end(l2_state_writer *writer);
llama2_status l2_state_commit(l2_state_writer *writer);
void l2_state_abort(l2_state_writer *writer);

/* --- state file: reading --------------------------------------------------------------------- */

/* A kind that the caller can read, up to a version. */
typedef struct l2_chunk_kind {
    const char *kind;
    uint32_t version;
} l2_chunk_kind;

typedef struct l2_state_reader {
    llama2_context *ctx;
    l2_file_view view;
    const unsigned char *data;
    l2_chunk *chunks; /* those of known kinds, sorted by kind and name */
    size_t n_chunks;
} l2_state_reader;

/*
 * Opens and checks everything, checksums included. Chunks of a kind or version that is not in `known` (n_known of them)
 * are passed over, or refused where they are marked as required. On failure *out is zeroed; closing that is fine.
 * Errors: TRUNCATED, FORMAT, CORRUPT (a checksum), UNSUPPORTED, LIMIT, IO, NOT_FOUND.
 */
llama2_status l2_state_open(llama2_context *ctx, const char *path, const l2_chunk_kind *known, size_t n_known,
                            l2_state_reader *out);
/* The same on bytes that the caller keeps. */
llama2_status l2_state_parse(llama2_context *ctx, const void *data, size_t size, const l2_chunk_kind *known,
                             size_t n_known, l2_state_reader *out);
void l2_state_close(l2_state_reader *reader);

/* NULL: none; no message. */
const l2_chunk *l2_state_find(const l2_state_reader *reader, const char *kind, const char *name);

/* Reads a chunk from its start; every read is checked against its end (LLAMA2_E_TRUNCATED, outputs untouched). */
typedef struct l2_cursor {
    const unsigned char *data;
    size_t size, at;
    const char *kind, *name;
} l2_cursor;

void l2_cursor_begin(const l2_state_reader *reader, const l2_chunk *chunk, l2_cursor *out);
/* Finds and begins; NOT_FOUND where there is no such chunk. */
llama2_status l2_cursor_open(const l2_state_reader *reader, const char *kind, const char *name, l2_cursor *out);
llama2_status l2_cursor_bytes(l2_cursor *cursor, void *out, size_t size);
llama2_status l2_cursor_skip(l2_cursor *cursor, size_t size, const unsigned char **data); /* data may be NULL */
llama2_status l2_cursor_u32(l2_cursor *cursor, uint32_t *out);
llama2_status l2_cursor_u64(l2_cursor *cursor, uint64_t *out);
llama2_status l2_cursor_i64(l2_cursor *cursor, int64_t *out);
llama2_status l2_cursor_f64(l2_cursor *cursor, double *out);
llama2_status l2_cursor_f32s(l2_cursor *cursor, float *out, size_t count);
llama2_status l2_cursor_i32s(l2_cursor *cursor, int32_t *out, size_t count);
llama2_status l2_cursor_i64s(l2_cursor *cursor, int64_t *out, size_t count);
llama2_status l2_cursor_end(const l2_cursor *cursor); /* FORMAT when something is left */

/* --- folders --------------------------------------------------------------------------------- */

/*
 * root/step-000000000100/MANIFEST and whatever the caller put beside it. A step is assembled in
 * root/.tmp-step-000000000100; all files and folders are synced, MANIFEST (name and size of each file, a CRC32C per 4
 * MiB, and its own) is written, all is read back, the folder is renamed and root synced. A step that is written again
 * replaces the older one, which is step-000000000100.old in between.
 */
typedef struct l2_checkpoint_writer {
    llama2_context *ctx;
    char *root, *path; /* path: the temporary folder, to write files and folders into */
    int64_t step;
    int fd; /* of the temporary folder */
} l2_checkpoint_writer;

/* Removes what an interrupted write left, or another writer is at, which has lost its folder then. step >= 0. */
llama2_status l2_checkpoint_begin(llama2_context *ctx, const char *root, int64_t step, l2_checkpoint_writer *out);
/* STATE where another begin has removed the folder, FORKED in a child. */
llama2_status l2_checkpoint_check(const l2_checkpoint_writer *writer);
/*
 * Verifies the checkpoint by reading it back, makes it valid, then removes all but the `keep` (>= 2) newest of the
 * steps up to this one; steps above it stay. On failure the older ones are as they were. The writer is spent either
 * way; LLAMA2_E_CORRUPT: what was written does not read back.
 */
llama2_status l2_checkpoint_commit(l2_checkpoint_writer *writer, int32_t keep);
/* Fine on a zeroed writer and after commit. */
void l2_checkpoint_abort(l2_checkpoint_writer *writer);

typedef struct l2_checkpoint_reader {
    llama2_context *ctx;
    char *path;
    int64_t step;
    int32_t passed_over; /* newer steps that are not valid */
    int fd;              /* of the folder */
} l2_checkpoint_reader;

/* step -1: the newest that is valid; each that is passed over is logged as a warning. A named step: that one, or an
 * error. All checksums are verified. Errors: NOT_FOUND (no step, or all are damaged); IO, or UNSUPPORTED
 * of a newer library (none is valid, and not all are damaged); of a named step also CORRUPT, TRUNCATED, FORMAT. */
llama2_status l2_checkpoint_open(llama2_context *ctx, const char *root, int64_t step, l2_checkpoint_reader *out);
/* STATE where it has been replaced or removed since, IO where that can't be told: what is read at its path now belongs
 * to another. */
llama2_status l2_checkpoint_stands(const l2_checkpoint_reader *reader);
void l2_checkpoint_close(l2_checkpoint_reader *reader);

#endif
