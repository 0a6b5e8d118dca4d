/* Byte-pair merging of one segment of normalised text, or of one stretch of byte-level BPE. */
#ifndef L2_TOKENIZER_MERGE_H
#define L2_TOKENIZER_MERGE_H

#include "tokenizer/tokenizer.h"

typedef struct l2_candidate {
    float score;
    uint32_t left, size; /* offset of the left symbol, bytes of both */
} l2_candidate;

/* Memory that grows with the longest segment; zeroed to begin with. */
typedef struct l2_merge_space {
    uint32_t *next, *previous; /* by the offset at which a symbol begins */
    int32_t *ids;
    size_t bytes;
    l2_candidate *heap;
    size_t heap_room, heap_used;
    uint32_t *unused_left; /* by id of an unused piece: bytes of the left part that it was last made of; only where
                              there are such pieces */
    uint32_t *stack;
} l2_merge_space;

void l2_merge_space_free(llama2_context *ctx, l2_merge_space *space);

/* One token of a segment: id >= 0, or -1 for characters that no piece has. */
typedef void (*l2_merge_emit)(void *user, int32_t id, const char *text, size_t length);

/* `text` is valid UTF-8 (any bytes in byte-level BPE) of at most L2_MAX_SEGMENT bytes; `length` > 0. Tokens come in
 * order. */
llama2_status l2_merge(const llama2_tokenizer *tok, l2_merge_space *space, const char *text, size_t length,
                       l2_merge_emit emit, void *user);

#endif
