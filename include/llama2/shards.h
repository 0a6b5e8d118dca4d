/*
 * Token shards: text that was tokenised once, mapped from disk; several sources mixed by weight. A convenience for
 * hosts: nothing in the library asks for data by itself.
 *
 * Sequence number s = 0, 1, 2, ... is a pure function of the seed, the length, the sources and s: source, epoch and
 * window follow from s without history, so that a run resumes from one number, in milliseconds, however far it was.
 */
#ifndef LLAMA2_SHARDS_H
#define LLAMA2_SHARDS_H

#include "types.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct llama2_shard_writer llama2_shard_writer;

/* --- writing a shard ------------------------------------------------------------------------- */

/* Begins a file of tokens in [0, vocab_size), 2 bytes each up to 65,536, else 4. It appears under its name when it is
 * finished. Since 0.1. */
LLAMA2_API llama2_status llama2_shard_writer_create(llama2_context *ctx, const char *path, int64_t vocab_size,
                                                    llama2_shard_writer **out);
/* Appends n tokens. INVALID (a token outside the vocabulary) and CANCELLED append nothing; after any other failure the
 * writer can only be freed. Since 0.1. */
LLAMA2_API llama2_status llama2_shard_writer_append(llama2_shard_writer *writer, const int32_t *tokens, int64_t n);
/* Tokens appended so far. Since 0.1. */
LLAMA2_API int64_t llama2_shard_writer_tokens(const llama2_shard_writer *writer);
/* Completes the file. Since 0.1. */
LLAMA2_API llama2_status llama2_shard_writer_finish(llama2_shard_writer *writer);
/* Without finish nothing is left on disk. Since 0.1. */
LLAMA2_API void llama2_shard_writer_free(llama2_shard_writer *writer);

/* --- reading sequences ----------------------------------------------------------------------- */

typedef struct llama2_shards_options {
    uint32_t struct_size;
    int32_t verify; /* 1 (default): a block's checksum and token ids are checked when it is first used; 2: all when the
                       file is opened; 0: never, tokens are then taken as they are */
    int64_t length; /* tokens of a sequence, >= 2 and below 2^31; default 512 */
    uint64_t seed;  /* of the order; default 0 */
} llama2_shards_options;

/* Writes the defaults into at most `size` bytes. Since 0.1. */
LLAMA2_API void llama2_shards_options_init(llama2_shards_options *options, size_t size);

/* An empty mixture. Since 0.1. */
LLAMA2_API llama2_status llama2_shards_create(llama2_context *ctx, const llama2_shards_options *options,
                                              llama2_shards **out);

/*
 * Adds a source: n_paths shard files read as one text, of one vocabulary size, with at least `length` tokens in all.
 * Its share of the sequences is its weight, above 0 and at most 1e100, divided by the sum of all, to 1/65,536 (at least
 * that). At most 1,024 sources, and before the first llama2_shards_next: STATE afterwards. The files stay mapped until
 * llama2_shards_free: replacing or removing one by its name does no harm, writing into one or cutting it short does
 * (SIGBUS). On failure the mixture is as it was. Errors: NOT_FOUND, IO, FORMAT, TRUNCATED, CORRUPT, UNSUPPORTED
 * (another version), LIMIT, MISMATCH (vocabularies differ), INVALID. Since 0.1.
 */
LLAMA2_API llama2_status llama2_shards_add_source(llama2_shards *shards, const char *const *paths, int32_t n_paths,
                                                  double weight);

/* Copies the next n sequences: tokens is (n, length), sources (n, may be NULL) says where each came from. On failure
 * the position stays. A source is read in windows of `length` tokens, each once an epoch, in an order that differs from
 * epoch to epoch. Errors: STATE (no source), CORRUPT, CANCELLED. Since 0.1. */
LLAMA2_API llama2_status llama2_shards_next(llama2_shards *shards, int64_t n, int32_t *tokens, int32_t *sources);

/* The position: the number of the next sequence. With the same options, files and order of sources it says all that a
 * resume needs. seek: LIMIT above 2^62. Since 0.1. */
LLAMA2_API uint64_t llama2_shards_tell(const llama2_shards *shards);
LLAMA2_API llama2_status llama2_shards_seek(llama2_shards *shards, uint64_t position);

/* Vocabulary size of the files, 0 without a source; number of sources. Since 0.1. */
LLAMA2_API int64_t llama2_shards_vocab_size(const llama2_shards *shards);
LLAMA2_API int32_t llama2_shards_sources(const llama2_shards *shards);

typedef struct llama2_shards_source {
    uint32_t struct_size;
    int32_t share;   /* of 65,536 */
    uint64_t tokens; /* that the source has */
    uint64_t served; /* tokens served before the present position: a function of the position, so that it is right after
                        a seek too */
    double epochs;   /* served / tokens of an epoch */
} llama2_shards_source;

/* Set info->struct_size first. Since 0.1. */
LLAMA2_API llama2_status llama2_shards_source_info(const llama2_shards *shards, int32_t index,
                                                   llama2_shards_source *info);

LLAMA2_API void llama2_shards_free(llama2_shards *shards);

#ifdef __cplusplus
}
#endif

#endif
