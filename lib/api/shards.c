/* include/llama2/shards.h: arguments checked, options completed; the work is done in lib/train/shards.c and
 * lib/format/shards.c. */
#include <llama2/shards.h>

#include "base/context.h"
#include "base/options.h"
#include "format/shards.h"
#include "train/shards.h"

#include <inttypes.h>

_Static_assert(sizeof(llama2_shards_options) == 24, "ABI");
_Static_assert(sizeof(llama2_shards_source) == 32, "ABI");

static const llama2_shards_options shards_defaults = {
    .struct_size = sizeof shards_defaults, .verify = 1, .length = 512};

/* --- writing --------------------------------------------------------------------------------- */

llama2_status llama2_shard_writer_create(llama2_context *ctx, const char *path, int64_t vocab_size,
                                         llama2_shard_writer **out)
{
    if (!out) return l2_fail(LLAMA2_E_INVALID, "llama2_shard_writer_create: out is NULL");
    *out = NULL;
    if (!ctx || !path) return l2_fail(LLAMA2_E_INVALID, "llama2_shard_writer_create: %s is NULL", ctx ? "path" : "ctx");
    L2_TRY(l2_context_check(ctx));
    return l2_shard_create(ctx, path, vocab_size, out);
}

static llama2_status check_writer(const llama2_shard_writer *writer, const char *what)
{
    if (!writer) return l2_fail(LLAMA2_E_INVALID, "%s: writer is NULL", what);
    L2_TRY(l2_context_check(writer->ctx));
    if (writer->finished) return l2_fail(LLAMA2_E_STATE, "%s: the shard is finished", what);
    if (writer->failed)
        return l2_fail(LLAMA2_E_STATE, "%s: an earlier call failed, the writer can only be freed", what);
    return LLAMA2_OK;
}

llama2_status llama2_shard_writer_append(llama2_shard_writer *writer, const int32_t *tokens, int64_t n)
{
    L2_TRY(check_writer(writer, "llama2_shard_writer_append"));
    if (n < 0 || (n && !tokens))
        return l2_fail(LLAMA2_E_INVALID, "llama2_shard_writer_append: n is negative, or tokens NULL");
    return l2_shard_append(writer, tokens, n);
}

int64_t llama2_shard_writer_tokens(const llama2_shard_writer *writer)
{
    return writer ? (int64_t)writer->count : 0;
}

llama2_status llama2_shard_writer_finish(llama2_shard_writer *writer)
{
    L2_TRY(check_writer(writer, "llama2_shard_writer_finish"));
    return l2_shard_commit(writer);
}

void llama2_shard_writer_free(llama2_shard_writer *writer)
{
    l2_shard_delete(writer);
}

/* --- reading --------------------------------------------------------------------------------- */

void llama2_shards_options_init(llama2_shards_options *options, size_t size)
{
    l2_options_init(options, size, &shards_defaults, sizeof shards_defaults);
}

llama2_status llama2_shards_create(llama2_context *ctx, const llama2_shards_options *options, llama2_shards **out)
{
    llama2_shards_options full = shards_defaults;
    if (!out) return l2_fail(LLAMA2_E_INVALID, "llama2_shards_create: out is NULL");
    *out = NULL;
    if (!ctx) return l2_fail(LLAMA2_E_INVALID, "llama2_shards_create: ctx is NULL");
    L2_TRY(l2_context_check(ctx));
    L2_TRY(l2_options_read(options, &full, sizeof full, "llama2_shards_options"));
    if (full.verify < 0 || full.verify > 2)
        return l2_fail(LLAMA2_E_INVALID, "llama2_shards_options: verify is %" PRId32 ", expected 0, 1 or 2",
                       full.verify);
    if (full.length < 2 || full.length > INT32_MAX)
        return l2_fail(LLAMA2_E_INVALID,
                       "llama2_shards_options: length is %" PRId64 ", expected at least 2 and less than 2^31",
                       full.length);
    return l2_shards_new(ctx, &full, out);
}

llama2_status llama2_shards_add_source(llama2_shards *shards, const char *const *paths, int32_t n_paths, double weight)
{
    if (!shards || !paths)
        return l2_fail(LLAMA2_E_INVALID, "llama2_shards_add_source: %s is NULL", shards ? "paths" : "shards");
    if (n_paths <= 0)
        return l2_fail(LLAMA2_E_INVALID, "llama2_shards_add_source: n_paths is %" PRId32 ", it must be positive",
                       n_paths);
    for (int32_t i = 0; i < n_paths; i++)
        if (!paths[i]) return l2_fail(LLAMA2_E_INVALID, "llama2_shards_add_source: paths[%" PRId32 "] is NULL", i);
    L2_TRY(l2_context_check(shards->ctx));
    return l2_shards_add_files(shards, paths, n_paths, weight);
}

llama2_status llama2_shards_next(llama2_shards *shards, int64_t n, int32_t *tokens, int32_t *sources)
{
    if (!shards || !tokens)
        return l2_fail(LLAMA2_E_INVALID, "llama2_shards_next: %s is NULL", shards ? "tokens" : "shards");
    if (n < 0) return l2_fail(LLAMA2_E_INVALID, "llama2_shards_next: n is %" PRId64 ", it must not be negative", n);
    L2_TRY(l2_context_check(shards->ctx));
    return l2_shards_next(shards, n, tokens, sources);
}

uint64_t llama2_shards_tell(const llama2_shards *shards)
{
    return shards ? shards->position : 0;
}

llama2_status llama2_shards_seek(llama2_shards *shards, uint64_t position)
{
    if (!shards) return l2_fail(LLAMA2_E_INVALID, "llama2_shards_seek: shards is NULL");
    if (position > (uint64_t)1 << 62)
        return l2_fail(LLAMA2_E_LIMIT, "llama2_shards_seek: position %" PRIu64 " is above 2^62", position);
    shards->position = position;
    return LLAMA2_OK;
}

int64_t llama2_shards_vocab_size(const llama2_shards *shards)
{
    return shards && shards->n_sources ? shards->sources[0].source.vocab_size : 0;
}

int32_t llama2_shards_sources(const llama2_shards *shards)
{
    return shards ? shards->n_sources : 0;
}

llama2_status llama2_shards_source_info(const llama2_shards *shards, int32_t index, llama2_shards_source *info)
{
    if (!shards || !info)
        return l2_fail(LLAMA2_E_INVALID, "llama2_shards_source_info: %s is NULL", shards ? "info" : "shards");
    if (index < 0 || index >= shards->n_sources)
        return l2_fail(LLAMA2_E_INVALID,
                       "llama2_shards_source_info: there is no source %" PRId32 ", there are %" PRId32, index,
                       shards->n_sources);
    llama2_shards_source full;
    l2_shards_describe(shards, index, &full);
    return l2_struct_write(info, &full, sizeof full, "llama2_shards_source");
}

void llama2_shards_free(llama2_shards *shards)
{
    l2_shards_delete(shards);
}
