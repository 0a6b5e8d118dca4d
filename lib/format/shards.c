/*
 * A shard, little-endian:
 *
 *     header   "L2SHARD\n", u32 version, u32 bytes a token (2 or 4), u64 vocabulary size, u64 0
 *     tokens   padded with zeros to a multiple of 8
 *     crcs     u32 for each MiB of tokens begun, padded likewise
 *     footer   u64 number of tokens, u32 0, u32 crc (of header, crcs and the first 12 bytes of this), "L2SHEND\n"
 */
#include "format/shards.h"
#include "base/alloc.h"
#include "base/checksum.h"
#include "base/context.h"
#include "format/bytes.h"
#include <inttypes.h>
#include <string.h>

enum { VERSION = 1, HEADER = 32, FOOTER = 24, BLOCK = 1 << 20, PIECE = 2048 };

static const char head_magic[8] = {'L', '2', 'S', 'H', 'A', 'R', 'D', '\n'};
static const char foot_magic[8] = {'L', '2', 'S', 'H', 'E', 'N', 'D', '\n'};
static const unsigned char zeros[8] = {0};

static void make_header(uint32_t token_size, int64_t vocab_size, unsigned char header[HEADER])
{
    memset(header, 0, HEADER);
    memcpy(header, head_magic, sizeof head_magic);
    l2_put_u32(header + 8, VERSION);
    l2_put_u32(header + 12, token_size);
    l2_put_u64(header + 16, (uint64_t)vocab_size);
}

static uint64_t padding(uint64_t length)
{
    return -length & 7;
}

/* --- reading --------------------------------------------------------------------------------- */

static llama2_status check_header(l2_shard_file *file, const unsigned char *data, size_t size)
{
    if (size >= sizeof head_magic && memcmp(data, head_magic, sizeof head_magic) != 0)
        return l2_fail(LLAMA2_E_FORMAT, "this is no shard of tokens: it does not begin with L2SHARD");
    if (size < HEADER + FOOTER) return l2_fail(LLAMA2_E_TRUNCATED, "%zu bytes are too few for a shard of tokens", size);
    uint32_t version = l2_get_u32(data + 8);
    if (version != VERSION)
        return l2_fail(LLAMA2_E_UNSUPPORTED, "a shard of version %" PRIu32 "; %d can be read", version, VERSION);
    file->token_size = l2_get_u32(data + 12);
    uint64_t vocab_size = l2_get_u64(data + 16);
    if (file->token_size != 2 && file->token_size != 4)
        return l2_fail(LLAMA2_E_FORMAT, "%" PRIu32 " bytes a token at byte 12, 2 or 4 are possible", file->token_size);
    if (vocab_size == 0 || vocab_size > (file->token_size == 2 ? 65536 : INT32_MAX) || memcmp(data + 24, zeros, 8) != 0)
        return l2_fail(LLAMA2_E_FORMAT,
                       "vocabulary size %" PRIu64 " at byte 16 does not fit %" PRIu32
                       " bytes a token, or byte 24 is not 0",
                       vocab_size, file->token_size);
    file->vocab_size = (int64_t)vocab_size;
    return LLAMA2_OK;
}

static llama2_status check_footer(l2_shard_file *file, const unsigned char *data, size_t size)
{
    const unsigned char *footer = data + size - FOOTER;
    if (memcmp(footer + 16, foot_magic, sizeof foot_magic) != 0)
        return l2_fail(LLAMA2_E_TRUNCATED,
                       "the file does not end with L2SHEND at byte %zu: it was cut off, or damaged there", size - 8);
    file->count = l2_get_u64(footer);
    uint64_t room = size - HEADER - FOOTER;
    if (file->count > room / file->token_size)
        return l2_fail(LLAMA2_E_TRUNCATED,
                       "%" PRIu64 " tokens of %" PRIu32 " bytes are claimed, %" PRIu64 " bytes are there", file->count,
                       file->token_size, room);
    uint64_t bytes = file->count * file->token_size, end = bytes + padding(bytes),
             table = 4 * ((bytes + BLOCK - 1) / BLOCK);
    if (end + table + padding(table) != room)
        return l2_fail(LLAMA2_E_FORMAT,
                       "%" PRIu64 " tokens and their checksums take %" PRIu64 " bytes, %" PRIu64 " are there",
                       file->count, end + table + padding(table), room);
    file->tokens = data + HEADER;
    file->crcs = file->tokens + end;
    uint32_t crc = l2_crc32c(0, data, HEADER);
    crc = l2_crc32c(crc, file->crcs, (size_t)(table + padding(table)));
    if (l2_crc32c(crc, footer, 12) != l2_get_u32(footer + 12) ||
        memcmp(file->tokens + bytes, zeros, (size_t)padding(bytes)) != 0)
        return l2_fail(LLAMA2_E_CORRUPT, "header, table of checksums and footer do not match the checksum at byte %zu",
                       size - 12);
    return LLAMA2_OK;
}

static int32_t get_token(const l2_shard_file *file, uint64_t index)
{
    const unsigned char *at = file->tokens + index * file->token_size;
    return file->token_size == 2 ? (int32_t)(at[0] | at[1] << 8) : (int32_t)l2_get_u32(at);
}

static llama2_status check_block(l2_shard_file *file, uint64_t block)
{
    uint64_t begin = block * BLOCK, bytes = file->count * file->token_size,
             end = bytes - begin < BLOCK ? bytes : begin + BLOCK;
    if (file->checked[block / 8] >> block % 8 & 1) return LLAMA2_OK;
    if (l2_crc32c(0, file->tokens + begin, (size_t)(end - begin)) != l2_get_u32(file->crcs + 4 * block))
        return l2_fail(LLAMA2_E_CORRUPT,
                       "%s: the tokens at bytes [%" PRIu64 ", %" PRIu64 ") do not match their checksum", file->path,
                       HEADER + begin, HEADER + end);
    for (uint64_t i = begin / file->token_size; i < end / file->token_size; i++) {
        int32_t token = get_token(file, i);
        if (token < 0 || token >= file->vocab_size)
            return l2_fail(LLAMA2_E_CORRUPT, "%s: token %" PRIu64 " is %" PRId32 ", outside the vocabulary of %" PRId64,
                           file->path, i, token, file->vocab_size);
    }
    file->checked[block / 8] |= (unsigned char)(1 << block % 8);
    return LLAMA2_OK;
}

static uint64_t n_blocks(const l2_shard_file *file)
{
    return (file->count * file->token_size + BLOCK - 1) / BLOCK;
}

llama2_status l2_shard_open(llama2_context *ctx, const char *path, int verify, l2_shard_file *out)
{
    llama2_status status;
    memset(out, 0, sizeof *out);
    out->ctx = ctx;
    L2_CHECK(l2_strndup(ctx, path, strlen(path), &out->path));
    L2_CHECK(l2_file_map(ctx, path, &out->view));
    status = check_header(out, out->view.data, out->view.size);
    if (status == LLAMA2_OK) status = check_footer(out, out->view.data, out->view.size);
    if (status < 0) L2_CHECK(l2_fail_in(status, "%s", path));
    if (verify != L2_SHARD_TRUST) L2_CHECK(l2_calloc(ctx, (size_t)(n_blocks(out) / 8 + 1), 1, &out->checked));
    if (verify == L2_SHARD_CHECK_NOW)
        for (uint64_t i = 0; i < n_blocks(out); i++) L2_CHECK(check_block(out, i));
done:
    if (status < 0) l2_shard_close(out);
    return status;
}

llama2_status l2_shard_read(l2_shard_file *file, uint64_t first, uint64_t n, int32_t *out)
{
    if (n > file->count || first > file->count - n)
        return l2_fail(LLAMA2_E_INVALID, "%s has %" PRIu64 " tokens: none at [%" PRIu64 ", +%" PRIu64 ")", file->path,
                       file->count, first, n);
    if (n == 0) return LLAMA2_OK;
    if (file->checked)
        for (uint64_t i = first * file->token_size / BLOCK; i <= (first + n - 1) * file->token_size / BLOCK; i++)
            L2_TRY(check_block(file, i));
    for (uint64_t i = 0; out && i < n; i++) out[i] = get_token(file, first + i);
    return LLAMA2_OK;
}

void l2_shard_close(l2_shard_file *file)
{
    if (!file->ctx) return;
    if (file->view.data) l2_file_release(file->ctx, &file->view);
    l2_free(file->ctx, file->checked);
    l2_free(file->ctx, file->path);
    memset(file, 0, sizeof *file);
}

/* --- writing --------------------------------------------------------------------------------- */

llama2_status l2_shard_create(llama2_context *ctx, const char *path, int64_t vocab_size, llama2_shard_writer **out)
{
    llama2_status status;
    unsigned char header[HEADER];
    llama2_shard_writer *shard;
    L2_TRY(l2_calloc(ctx, 1, sizeof *shard, &shard));
    shard->ctx = l2_context_retain(ctx);
    if (vocab_size <= 0 || vocab_size > INT32_MAX)
        L2_CHECK(l2_fail(LLAMA2_E_INVALID, "vocabulary size %" PRId64 ", it must be in [1, 2^31)", vocab_size));
    shard->vocab_size = vocab_size;
    shard->token_size = vocab_size <= 65536 ? 2 : 4;
    make_header(shard->token_size, vocab_size, header);
    L2_CHECK(l2_writer_open(ctx, path, &shard->file));
    L2_CHECK(l2_writer_write(&shard->file, header, sizeof header));
    *out = shard;
    shard = NULL;
done:
    l2_shard_delete(shard);
    return status;
}

static llama2_status end_block(llama2_shard_writer *shard)
{
    if (shard->n_crcs == shard->capacity) {
        size_t capacity = shard->capacity ? 2 * shard->capacity : 16;
        L2_TRY(l2_realloc(shard->ctx, shard->capacity, capacity, sizeof *shard->crcs, &shard->crcs));
        shard->capacity = capacity;
    }
    shard->crcs[shard->n_crcs++] = shard->crc;
    shard->crc = shard->block_used = 0;
    return LLAMA2_OK;
}

/* Bytes of tokens, cut at the ends of blocks. */
static llama2_status append_bytes(llama2_shard_writer *shard, const unsigned char *bytes, size_t length)
{
    L2_TRY(l2_writer_write(&shard->file, bytes, length));
    while (length) {
        size_t room = BLOCK - shard->block_used, n = length < room ? length : room;
        shard->crc = l2_crc32c(shard->crc, bytes, n);
        shard->block_used += (uint32_t)n;
        bytes += n;
        length -= n;
        if (shard->block_used == BLOCK) L2_TRY(end_block(shard));
    }
    return LLAMA2_OK;
}

llama2_status l2_shard_append(llama2_shard_writer *shard, const int32_t *tokens, int64_t n)
{
    unsigned char bytes[PIECE * 4];
    for (int64_t i = 0; i < n; i++)
        if (tokens[i] < 0 || tokens[i] >= shard->vocab_size)
            return l2_fail(LLAMA2_E_INVALID, "tokens[%" PRId64 "] is %" PRId32 ", outside the vocabulary of %" PRId64,
                           i, tokens[i], shard->vocab_size);
    for (int64_t done = 0; done < n; done += PIECE) {
        size_t count = n - done < PIECE ? (size_t)(n - done) : PIECE, size = shard->token_size;
        for (size_t i = 0; i < count; i++)
            for (size_t b = 0; b < size; b++)
                bytes[i * size + b] = (unsigned char)((uint32_t)tokens[(size_t)done + i] >> 8 * b);
        llama2_status status = append_bytes(shard, bytes, count * size);
        shard->failed = status < 0;
        L2_TRY(status);
        shard->count += count;
    }
    return LLAMA2_OK;
}

static llama2_status write_end(llama2_shard_writer *shard)
{
    unsigned char header[HEADER], entry[4], footer[FOOTER] = {0};
    make_header(shard->token_size, shard->vocab_size, header);
    if (shard->block_used) L2_TRY(end_block(shard));
    L2_TRY(l2_writer_write(&shard->file, zeros, (size_t)padding(shard->count * shard->token_size)));
    uint32_t crc = l2_crc32c(0, header, sizeof header);
    for (size_t i = 0; i < shard->n_crcs; i++) {
        l2_put_u32(entry, shard->crcs[i]);
        crc = l2_crc32c(crc, entry, sizeof entry);
        L2_TRY(l2_writer_write(&shard->file, entry, sizeof entry));
    }
    size_t pad = (size_t)padding(4 * (uint64_t)shard->n_crcs);
    crc = l2_crc32c(crc, zeros, pad);
    L2_TRY(l2_writer_write(&shard->file, zeros, pad));
    l2_put_u64(footer, shard->count);
    l2_put_u32(footer + 12, l2_crc32c(crc, footer, 12));
    memcpy(footer + 16, foot_magic, sizeof foot_magic);
    L2_TRY(l2_writer_write(&shard->file, footer, sizeof footer));
    return l2_writer_commit(&shard->file);
}

llama2_status l2_shard_commit(llama2_shard_writer *shard)
{
    llama2_status status = write_end(shard);
    shard->failed = status < 0;
    shard->finished = status >= 0;
    return status;
}

void l2_shard_delete(llama2_shard_writer *shard)
{
    if (!shard) return;
    llama2_context *ctx = shard->ctx;
    l2_writer_abort(&shard->file);
    l2_free(ctx, shard->crcs);
    l2_free(ctx, shard);
    l2_context_release(ctx);
}
