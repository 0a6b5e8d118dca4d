/* One file of tokens: header, tokens (u16 or u32), a CRC32C per MiB, footer. Read through a map. */
#ifndef L2_FORMAT_SHARDS_H
#define L2_FORMAT_SHARDS_H

#include "base/files.h"
#include "base/status.h"
#include <llama2/shards.h>

enum { L2_SHARD_TRUST = 0, L2_SHARD_CHECK_ON_USE = 1, L2_SHARD_CHECK_NOW = 2 };

typedef struct l2_shard_file {
    llama2_context *ctx;
    l2_file_view view;
    const unsigned char *tokens, *crcs;
    unsigned char *checked; /* a bit a block; NULL: nothing is checked */
    char *path;
    uint64_t count;
    int64_t vocab_size;
    uint32_t token_size; /* 2 or 4 */
} l2_shard_file;

/* On failure *out is zeroed; closing that is fine. Errors: NOT_FOUND, IO, FORMAT, TRUNCATED, CORRUPT, UNSUPPORTED. */
llama2_status l2_shard_open(llama2_context *ctx, const char *path, int verify, l2_shard_file *out);
/* Tokens [first, first + n); out NULL: only checks their blocks. CORRUPT for a block whose checksum, or a token whose
 * id, is wrong; outputs are then untouched. */
llama2_status l2_shard_read(l2_shard_file *file, uint64_t first, uint64_t n, int32_t *out);
void l2_shard_close(l2_shard_file *file);

struct llama2_shard_writer {
    llama2_context *ctx;
    l2_writer file;
    uint32_t *crcs;
    size_t n_crcs, capacity; /* complete blocks */
    uint64_t count;
    int64_t vocab_size;
    uint32_t token_size, block_used, crc; /* of the block at hand */
    int32_t failed, finished;             /* then nothing more can be written */
};

llama2_status l2_shard_create(llama2_context *ctx, const char *path, int64_t vocab_size, llama2_shard_writer **out);
/* INVALID leaves it as it was. */
llama2_status l2_shard_append(llama2_shard_writer *shard, const int32_t *tokens, int64_t n);
llama2_status l2_shard_commit(llama2_shard_writer *shard);
/* Without l2_shard_commit there is no file. */
void l2_shard_delete(llama2_shard_writer *shard);

#endif
