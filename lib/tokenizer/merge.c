/*
 * Byte-pair merging: symbols begin as characters, or in byte-level BPE as bytes; the two neighbours whose joined text
 * is the piece with the highest score (byte-level: that come first in the list of merges) are joined, the leftmost
 * among equals, until no two can be. A short segment scans all its pairs; a long one keeps them in a heap: O(n log n).
 */
#include "tokenizer/merge.h"
#include "base/alloc.h"
#include <string.h>

enum { SHORT = 32 }; /* symbols up to which scanning is faster than a heap */

/* A symbol's id: >= 0 a piece, -1 none; a user-defined piece takes no part in merging and stands as FROZEN(id). */
#define FROZEN(id) (-2 - (id))

void l2_merge_space_free(llama2_context *ctx, l2_merge_space *space)
{
    l2_free(ctx, space->next);
    l2_free(ctx, space->previous);
    l2_free(ctx, space->ids);
    l2_free(ctx, space->heap);
    l2_free(ctx, space->unused_left);
    l2_free(ctx, space->stack);
}

/* The piece that two neighbours make, -1: none: by their joined text, or by the list of merges. */
static inline int32_t join(const llama2_tokenizer *tok, const char *text, size_t size, int32_t left, int32_t right,
                           float *score)
{
    if (tok->pairs) return left < 0 || right < 0 ? -1 : l2_merges_find(tok, left, right, score);
    int32_t id = l2_vocabulary_find_text(tok, text, size);
    if (id >= 0) *score = tok->scores[id];
    return id;
}

/* Is the piece given as its parts? Not in byte-level BPE, whatever types its file declares. */
static inline int is_taken_apart(const llama2_tokenizer *tok, int32_t id)
{
    return tok->has_unused && tok->types[id] == LLAMA2_PIECE_UNUSED;
}

static int32_t find_char(const llama2_tokenizer *tok, const char *text, size_t length)
{
    return length == 1 ? tok->ascii_ids[(unsigned char)text[0]] : l2_vocabulary_find_text(tok, text, length);
}

/* Length and id of the symbol at the start of `text`. */
static size_t first_symbol(const llama2_tokenizer *tok, const char *text, size_t length, int32_t *id)
{
    if (tok->pairs) {
        *id = tok->byte_ids[(unsigned char)text[0]];
        return 1;
    }
    size_t n = l2_user_defined_at(tok, text, length);
    if (n) {
        *id = FROZEN(l2_vocabulary_find(tok, text, n));
        return n;
    }
    n = l2_char_length((unsigned char)text[0]);
    *id = find_char(tok, text, n);
    return n;
}

/* --- short segments -------------------------------------------------------------------------- */

typedef struct short_segment {
    const char *text;
    int n;
    size_t at[SHORT + 1]; /* where symbol i begins; at[n] is the end */
    int32_t ids[SHORT];
    int32_t joined[SHORT]; /* the piece that symbols i and i + 1 make, or -1 */
    float scores[SHORT];
} short_segment;

static void score_pair(const llama2_tokenizer *tok, short_segment *s, int i)
{
    s->joined[i] = -1;
    if (s->ids[i] < -1 || s->ids[i + 1] < -1) return;
    s->joined[i] = join(tok, s->text + s->at[i], s->at[i + 2] - s->at[i], s->ids[i], s->ids[i + 1], &s->scores[i]);
}

/* 0: has more than SHORT symbols. */
static int split_short(const llama2_tokenizer *tok, short_segment *s, const char *text, size_t length)
{
    s->text = text;
    s->n = 0;
    for (size_t at = 0; at < length; ++s->n) {
        if (s->n == SHORT) return 0;
        s->at[s->n] = at;
        at += first_symbol(tok, text + at, length - at, &s->ids[s->n]);
    }
    s->at[s->n] = length;
    return 1;
}

static void join_short(const llama2_tokenizer *tok, short_segment *s, int i)
{
    s->ids[i] = s->joined[i];
    int moved = s->n - i - 2; /* symbols after the pair */
    if (moved > 0) {
        memmove(&s->at[i + 1], &s->at[i + 2], (size_t)moved * sizeof *s->at);
        memmove(&s->ids[i + 1], &s->ids[i + 2], (size_t)moved * sizeof *s->ids);
        memmove(&s->joined[i + 1], &s->joined[i + 2], (size_t)(moved - 1) * sizeof *s->joined);
        memmove(&s->scores[i + 1], &s->scores[i + 2], (size_t)(moved - 1) * sizeof *s->scores);
    }
    s->at[s->n - 1] = s->at[s->n];
    --s->n;
    if (i > 0) score_pair(tok, s, i - 1);
    if (i + 1 < s->n) score_pair(tok, s, i);
}

static void merge_short(const llama2_tokenizer *tok, short_segment *s)
{
    for (int i = 0; i + 1 < s->n; ++i) score_pair(tok, s, i);
    for (;;) {
        int best = -1;
        for (int i = 0; i + 1 < s->n; ++i)
            if (s->joined[i] >= 0 && (best < 0 || s->scores[i] > s->scores[best])) best = i;
        if (best < 0) return;
        join_short(tok, s, best);
    }
}

/* --- long segments --------------------------------------------------------------------------- */

static int goes_first(l2_candidate a, l2_candidate b)
{
    return a.score > b.score || (a.score == b.score && a.left < b.left);
}

static void heap_push(l2_merge_space *space, l2_candidate candidate)
{
    l2_candidate *heap = space->heap;
    size_t i = space->heap_used++;
    while (i > 0 && goes_first(candidate, heap[(i - 1) / 2])) {
        heap[i] = heap[(i - 1) / 2];
        i = (i - 1) / 2;
    }
    heap[i] = candidate;
}

static l2_candidate heap_pop(l2_merge_space *space)
{
    l2_candidate *heap = space->heap, top = heap[0], last = heap[--space->heap_used];
    size_t n = space->heap_used, i = 0;
    for (size_t child; (child = 2 * i + 1) < n; i = child) {
        if (child + 1 < n && goes_first(heap[child + 1], heap[child])) ++child;
        if (!goes_first(heap[child], last)) break;
        heap[i] = heap[child];
    }
    heap[i] = last;
    return top;
}

static llama2_status grow_symbols(const llama2_tokenizer *tok, l2_merge_space *space, size_t length)
{
    llama2_context *ctx = tok->ctx;
    if (tok->has_unused && !space->stack) {
        L2_TRY(l2_calloc(ctx, (size_t)tok->n_pieces, sizeof *space->unused_left, &space->unused_left));
        L2_TRY(l2_alloc(ctx, 2 * (size_t)(L2_MAX_PIECE + 1), sizeof *space->stack, &space->stack));
    }
    if (space->bytes >= length) return LLAMA2_OK;
    l2_free(ctx, space->next);
    l2_free(ctx, space->previous);
    l2_free(ctx, space->ids);
    space->next = space->previous = NULL;
    space->ids = NULL;
    space->bytes = 0;
    L2_TRY(l2_alloc(ctx, length + 1, sizeof *space->next, &space->next));
    L2_TRY(l2_alloc(ctx, length + 1, sizeof *space->previous, &space->previous));
    L2_TRY(l2_alloc(ctx, length + 1, sizeof *space->ids, &space->ids));
    space->bytes = length;
    return LLAMA2_OK;
}

/* Each pair once, and each merge takes a candidate away before it adds two. */
static llama2_status grow_heap(llama2_context *ctx, l2_merge_space *space, size_t n_symbols)
{
    space->heap_used = 0;
    if (space->heap_room >= 2 * n_symbols) return LLAMA2_OK;
    l2_free(ctx, space->heap);
    space->heap = NULL;
    space->heap_room = 0;
    L2_TRY(l2_alloc(ctx, 2 * n_symbols, sizeof *space->heap, &space->heap));
    space->heap_room = 2 * n_symbols;
    return LLAMA2_OK;
}

static const uint32_t NONE = UINT32_MAX;

/* The pair of the symbol at `left` and its right neighbour. */
static void add_candidate(const llama2_tokenizer *tok, l2_merge_space *space, const char *text, uint32_t left,
                          uint32_t length)
{
    uint32_t right = space->next[left];
    if (right == length || space->ids[left] < -1 || space->ids[right] < -1) return;
    uint32_t size = space->next[right] - left;
    float score = 0;
    int32_t id = join(tok, text + left, size, space->ids[left], space->ids[right], &score);
    if (id < 0) return;
    heap_push(space, (l2_candidate){score, left, size});
    if (is_taken_apart(tok, id)) space->unused_left[id] = right - left;
}

static llama2_status split_long(const llama2_tokenizer *tok, l2_merge_space *space, const char *text, uint32_t length)
{
    L2_TRY(grow_symbols(tok, space, length));
    size_t n_symbols = 0;
    uint32_t before = NONE;
    for (uint32_t at = 0; at < length; ++n_symbols) {
        uint32_t n = (uint32_t)first_symbol(tok, text + at, length - at, &space->ids[at]);
        space->previous[at] = before;
        space->next[at] = at + n;
        before = at;
        at += n;
    }
    return grow_heap(tok->ctx, space, n_symbols);
}

static llama2_status merge_long(const llama2_tokenizer *tok, l2_merge_space *space, const char *text, uint32_t length)
{
    L2_TRY(split_long(tok, space, text, length));
    uint32_t *next = space->next, *previous = space->previous;
    for (uint32_t at = 0; at < length; at = next[at]) add_candidate(tok, space, text, at, length);
    while (space->heap_used) {
        l2_candidate top = heap_pop(space);
        uint32_t left = top.left, right = next[left];
        /* A symbol that was swallowed has next 0; one that has grown since makes another size. */
        if (right == 0 || right == length || next[right] - left != top.size) continue;
        space->ids[left] = join(tok, text + left, top.size, space->ids[left], space->ids[right], &top.score);
        next[left] = next[right];
        next[right] = 0;
        if (next[left] != length) previous[next[left]] = left;
        if (previous[left] != NONE) add_candidate(tok, space, text, previous[left], length);
        add_candidate(tok, space, text, left, length);
    }
    return LLAMA2_OK;
}

/* A symbol that is an unused piece is given as the parts it was made of, these likewise. */
static void emit_parts(const llama2_tokenizer *tok, l2_merge_space *space, const char *text, uint32_t length,
                       l2_merge_emit emit, void *user)
{
    uint32_t *stack = space->stack, depth = 0;
    stack[depth++] = 0;
    stack[depth++] = length;
    while (depth) {
        uint32_t size = stack[--depth], at = stack[--depth];
        int32_t id = l2_vocabulary_find_text(tok, text + at, size);
        uint32_t left = id >= 0 && is_taken_apart(tok, id) ? space->unused_left[id] : 0;
        if (!left) {
            emit(user, id, text + at, size);
            continue;
        }
        stack[depth++] = at + left;
        stack[depth++] = size - left;
        stack[depth++] = at;
        stack[depth++] = left;
    }
}

llama2_status l2_merge(const llama2_tokenizer *tok, l2_merge_space *space, const char *text, size_t length,
                       l2_merge_emit emit, void *user)
{
    short_segment s;
    if (!tok->has_unused && length <= (size_t)SHORT * 4 && split_short(tok, &s, text, length)) {
        merge_short(tok, &s);
        for (int i = 0; i < s.n; ++i) {
            int32_t id = s.ids[i] < -1 ? FROZEN(s.ids[i]) : s.ids[i];
            emit(user, id, text + s.at[i], s.at[i + 1] - s.at[i]);
        }
        return LLAMA2_OK;
    }
    L2_TRY(merge_long(tok, space, text, (uint32_t)length));
    for (uint32_t at = 0; at < length; at = space->next[at]) {
        int32_t id = space->ids[at];
        uint32_t size = space->next[at] - at;
        if (id >= 0 && is_taken_apart(tok, id)) {
            emit_parts(tok, space, text + at, size, emit, user);
        } else {
            emit(user, id < -1 ? FROZEN(id) : id, text + at, size);
        }
    }
    return LLAMA2_OK;
}
