/*
 * SentencePiece's BPE as a list of merges, for a tokenizer.json: all ways to make each piece of two, the pieces in the
 * order of falling scores.
 *
 * Of pairs of equal score SentencePiece joins the leftmost; of a list, those whose merge comes first. Llama 2's runs of
 * spaces are such pieces. There both do the same if longer runs come first: a run grows from its left until it is as
 * long as a piece can be, then the next one does. Other pieces of equal score a list can't tell.
 */
#include "base/alloc.h"
#include "format/sort.h"
#include "tokenizer/tokenizer.h"
#include <string.h>

typedef struct ranked {
    float score;
    int32_t id;
    uint32_t length;
    int is_run; /* of one character */
} ranked;

static int by_rank(const void *left, const void *right)
{
    const ranked *a = left, *b = right;
    if (a->score != b->score) return a->score > b->score ? -1 : 1;
    if (a->length != b->length) return a->length > b->length ? -1 : 1;
    return a->id < b->id ? -1 : 1;
}

/* *known: is each character a piece? A list joins pieces alone, SentencePiece any two texts. */
static ranked rank_piece(const llama2_tokenizer *tok, int32_t id, int *known)
{
    const char *text = tok->bytes + tok->offsets[id];
    size_t length = l2_piece_length(tok, id), first = l2_char_length((unsigned char)text[0]);
    ranked r = {tok->scores[id], id, (uint32_t)length, 1};
    for (size_t at = 0, n; at < length; at += n) {
        n = l2_char_length((unsigned char)text[at]);
        *known &= l2_vocabulary_find_text(tok, text + at, n) >= 0;
        r.is_run &= n == first && memcmp(text + at, text, n) == 0;
    }
    return r;
}

static int has_settings(const llama2_tokenizer *tok)
{
    return !tok->pretokenizer && tok->byte_fallback && tok->add_dummy_prefix && !tok->remove_extra_whitespaces &&
           tok->escape_whitespaces && !tok->prefix_unless_space && !tok->has_unused && !tok->n_user_defined;
}

/* Pieces of more than one character in the order of their merges, the caller's to free; NULL: no list does the same. */
static llama2_status rank_pieces(const llama2_tokenizer *tok, ranked **out, size_t *n)
{
    ranked *pieces;
    int same = 1;
    *out = NULL;
    *n = 0;
    if (!has_settings(tok)) return LLAMA2_OK;
    L2_TRY(l2_alloc(tok->ctx, (size_t)tok->n_pieces, sizeof *pieces, &pieces));
    for (int32_t id = 0; id < tok->n_pieces; ++id)
        if (l2_piece_is_text(tok, id) &&
            l2_piece_length(tok, id) > l2_char_length((unsigned char)tok->bytes[tok->offsets[id]]))
            pieces[(*n)++] = rank_piece(tok, id, &same);
    l2_sort(pieces, *n, sizeof *pieces, by_rank);
    for (size_t i = 0; i < *n; ++i) {
        same &= pieces[i].length <= L2_MAX_SPLIT_PIECE;
        same &= i == 0 || pieces[i].score != pieces[i - 1].score || (pieces[i].is_run && pieces[i - 1].is_run);
    }
    if (same) {
        *out = pieces;
        return LLAMA2_OK;
    }
    l2_free(tok->ctx, pieces);
    *n = 0;
    return LLAMA2_OK;
}

llama2_status l2_sentencepiece_has_merges(const llama2_tokenizer *tok, int *yes)
{
    ranked *pieces;
    size_t n;
    L2_TRY(rank_pieces(tok, &pieces, &n));
    *yes = pieces != NULL;
    l2_free(tok->ctx, pieces);
    return LLAMA2_OK;
}

/* Appends the merges of a piece, fewer than its bytes; longer left parts first: of [ab][a][ba] "aba" is made of the
 * first two. */
static void add_merges(const llama2_tokenizer *tok, int32_t id, l2_pair *pairs, uint32_t *n)
{
    const char *text = tok->bytes + tok->offsets[id];
    size_t length = l2_piece_length(tok, id);
    for (size_t at = length - 1; at > 0; --at) {
        if (((unsigned char)text[at] & 0xC0) == 0x80) continue; /* within a character */
        int32_t left = l2_vocabulary_find_text(tok, text, at), right = -1;
        if (left >= 0) right = l2_vocabulary_find_text(tok, text + at, length - at);
        if (right < 0) continue;
        pairs[*n] = (l2_pair){left, right, id, -(float)*n};
        ++*n;
    }
}

llama2_status l2_sentencepiece_merges(const llama2_tokenizer *tok, l2_pair **out, uint32_t *n)
{
    ranked *pieces;
    size_t n_ranked, most = 0;
    *n = 0;
    L2_TRY(rank_pieces(tok, &pieces, &n_ranked));
    for (size_t i = 0; i < n_ranked; ++i) most += pieces[i].length;
    llama2_status status = l2_alloc(tok->ctx, most, sizeof **out, out);
    for (size_t i = 0; status == LLAMA2_OK && i < n_ranked; ++i) add_merges(tok, pieces[i].id, *out, n);
    l2_free(tok->ctx, pieces);
    return status;
}
