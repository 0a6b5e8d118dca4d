/*
 * Mixing sources of tokens. Sequence number s belongs to block b = s / 65536 of the mixture; in each block source i has
 * its share q_i of slots (sum 65536), which a permutation that depends on (seed, b) spreads over the block: slot x =
 * P_b(s mod 65536), source i with Q_i <= x < Q_i + q_i, Q_i = sum of the shares before. It is the source's sequence
 * number k = b q_i + (its slots that came earlier in the block), of which W windows make an epoch: epoch k / W, window
 * P_{i, epoch}(k mod W). All of it is a function of (seed, s). The count within the block is kept from call to call and
 * made again, at most 65,535 slots, after a jump.
 */
#ifndef L2_TRAIN_SHARDS_H
#define L2_TRAIN_SHARDS_H

#include "base/context.h"
#include "base/status.h"
#include <llama2/shards.h>

enum { L2_MIX_BLOCK = 65536, L2_MAX_SOURCES = 1024 };

/* Where tokens come from. */
typedef struct l2_token_source {
    uint64_t count;
    int64_t vocab_size;
    /* Tokens [first, first + n), within the count; out NULL: only makes sure that they can be had. */
    llama2_status (*read)(void *user, uint64_t first, uint64_t n, int32_t *out);
    void (*close)(llama2_context *ctx, void *user); /* NULL: nothing to close */
    void *user;
} l2_token_source;

typedef struct l2_mixed_source {
    l2_token_source source;
    double weight;
    uint32_t share, before; /* of L2_MIX_BLOCK; sum of the shares before */
    uint64_t windows;       /* of an epoch */
    uint32_t rank;          /* slots in [begin of the block, shards->ranked) */
} l2_mixed_source;

struct llama2_shards {
    llama2_context *ctx;
    llama2_shards_options options;
    l2_mixed_source *sources;
    int32_t n_sources, capacity, started;
    uint64_t position;
    uint64_t ranked; /* the sequence number that the ranks are right for */
};

/* Where a sequence lies. */
typedef struct l2_place {
    int32_t source;
    uint64_t epoch, first; /* first: token of the source */
} l2_place;

llama2_status l2_shards_new(llama2_context *ctx, const llama2_shards_options *options, llama2_shards **out);
/* Takes the source over, unless it fails. */
llama2_status l2_shards_add(llama2_shards *shards, const l2_token_source *source, double weight);
llama2_status l2_shards_add_files(llama2_shards *shards, const char *const *paths, int32_t n_paths, double weight);
void l2_shards_place(llama2_shards *shards, uint64_t sequence, l2_place *out);
llama2_status l2_shards_next(llama2_shards *shards, int64_t n, int32_t *tokens, int32_t *sources);
/* Sequences of a source among the first `position`. */
uint64_t l2_shards_served(const llama2_shards *shards, int32_t source, uint64_t position);
/* What the host is told of a source, at the position. */
void l2_shards_describe(const llama2_shards *shards, int32_t source, llama2_shards_source *out);
void l2_shards_delete(llama2_shards *shards);

/* The permutation of [0, n) that the four keys choose, at index < n: a Feistel network on the next even number of bits,
 * walked until it falls into the range. */
uint64_t l2_permute(const uint32_t keys[4], uint64_t n, uint64_t index);

#endif
