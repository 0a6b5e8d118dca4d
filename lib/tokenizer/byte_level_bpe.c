/*
 * The vocabulary of byte-level BPE (GPT-2, Llama 3, SmolLM2): merges by rank, and the characters by which pieces show
 * bytes. Printable bytes of Latin-1 stand for themselves; the other 68, in order, are U+0100 ... U+0143.
 */
#include "base/alloc.h"
#include "base/utf8.h"
#include "format/sort.h"
#include "tokenizer/pretokenize.h"
#include "tokenizer/tokenizer.h"
#include <string.h>

enum { MOST_MERGES = 1 << 24 }; /* a float holds all ranks below exactly */

static uint32_t shown_as(unsigned byte)
{
    if (byte <= 32) return 256 + byte;
    if (byte >= 127 && byte <= 160) return 256 + 33 + (byte - 127);
    return byte == 173 ? 256 + 67 : byte;
}

/* The byte that a character stands for, -1: none. */
static int byte_of(uint32_t code)
{
    if (code >= 256 && code <= 256 + 32) return (int)code - 256;
    if (code >= 256 + 33 && code <= 256 + 66) return (int)code - 256 - 33 + 127;
    if (code == 256 + 67) return 173;
    return code < 256 && shown_as(code) == code ? (int)code : -1;
}

llama2_status l2_merges_begin(llama2_tokenizer *tok, size_t n_merges)
{
    if (n_merges >= MOST_MERGES)
        return l2_fail(LLAMA2_E_LIMIT, "%zu merges, at most %d are possible", n_merges, MOST_MERGES - 1);
    uint32_t n = 1;
    while (n < n_merges + n_merges / 2 + 1) n *= 2;
    L2_TRY(l2_alloc(tok->ctx, n, sizeof *tok->pairs, &tok->pairs));
    for (uint32_t i = 0; i < n; ++i) tok->pairs[i].left = -1;
    tok->n_pair_slots = n;
    return LLAMA2_OK;
}

void l2_merges_put(llama2_tokenizer *tok, l2_pair pair)
{
    uint32_t i = l2_pair_slot(tok, pair.left, pair.right);
    while (tok->pairs[i].left >= 0) i = (i + 1) & (tok->n_pair_slots - 1);
    tok->pairs[i] = pair;
    ++tok->n_pairs;
}

static llama2_status find_part(const llama2_tokenizer *tok, const char *text, size_t length, const char *what,
                               int32_t *id)
{
    *id = length ? l2_vocabulary_find(tok, text, length) : -1;
    if (*id < 0)
        return l2_fail(LLAMA2_E_FORMAT, "merge %u: %s \"%.*s\" is not in the vocabulary", (unsigned)tok->n_pairs, what,
                       (int)(length < 60 ? length : 60), text);
    /* Text never makes a control piece. */
    if (!l2_piece_is_text(tok, *id))
        return l2_fail(LLAMA2_E_UNSUPPORTED, "merge %u: %s \"%.*s\" is a special piece, which no merge may make",
                       (unsigned)tok->n_pairs, what, (int)(length < 60 ? length : 60), text);
    return LLAMA2_OK;
}

llama2_status l2_merges_add(llama2_tokenizer *tok, const char *left, size_t n_left, const char *right, size_t n_right)
{
    char joined[2 * L2_MAX_PIECE];
    int32_t a, b, ab;
    float score;
    L2_TRY(find_part(tok, left, n_left, "the left part", &a));
    L2_TRY(find_part(tok, right, n_right, "the right part", &b));
    memcpy(joined, left, n_left);
    memcpy(joined + n_left, right, n_right);
    L2_TRY(find_part(tok, joined, n_left + n_right, "the result", &ab));
    if (l2_merges_find(tok, a, b, &score) >= 0)
        return l2_fail(LLAMA2_E_FORMAT, "merge %u is merge %d again", (unsigned)tok->n_pairs, (int)-score);
    l2_merges_put(tok, (l2_pair){a, b, ab, -(float)tok->n_pairs});
    return LLAMA2_OK;
}

static int compare_ranks(const void *a, const void *b)
{
    const l2_pair *x = a, *y = b;
    if (x->score != y->score) return x->score > y->score ? -1 : 1;
    return (x->left > y->left) - (x->left < y->left);
}

llama2_status l2_merges_by_rank(const llama2_tokenizer *tok, l2_pair **out)
{
    L2_TRY(l2_alloc(tok->ctx, tok->n_pairs, sizeof **out, out));
    size_t n = 0;
    for (uint32_t i = 0; i < tok->n_pair_slots; ++i)
        if (tok->pairs[i].left >= 0) (*out)[n++] = tok->pairs[i];
    l2_sort(*out, n, sizeof **out, compare_ranks);
    return LLAMA2_OK;
}

/* The bytes of a piece; one that holds other characters too stands for its own text. */
static char *put_bytes(char *to, const char *text, size_t length)
{
    char *begin = to;
    for (size_t at = 0; at < length;) {
        uint32_t code = 0;
        at += (size_t)l2_utf8_decode(text + at, length - at, &code);
        int byte = byte_of(code);
        if (byte < 0) {
            memcpy(begin, text, length);
            return begin + length;
        }
        *to++ = (char)byte;
    }
    return to;
}

static llama2_status build_shown(llama2_tokenizer *tok)
{
    L2_TRY(l2_alloc(tok->ctx, tok->offsets[tok->n_pieces], 1, &tok->shown));
    L2_TRY(l2_alloc(tok->ctx, (size_t)tok->n_pieces + 1, sizeof *tok->shown_at, &tok->shown_at));
    char *to = tok->shown;
    for (int32_t id = 0; id < tok->n_pieces; ++id) {
        const char *text = tok->bytes + tok->offsets[id];
        size_t length = l2_piece_length(tok, id);
        tok->shown_at[id] = (uint32_t)(to - tok->shown);
        if (tok->types[id] == LLAMA2_PIECE_NORMAL || tok->types[id] == LLAMA2_PIECE_UNUSED) {
            to = put_bytes(to, text, length);
        } else if (tok->types[id] != LLAMA2_PIECE_CONTROL) {
            memcpy(to, text, length);
            to += length;
        }
    }
    tok->shown_at[tok->n_pieces] = (uint32_t)(to - tok->shown);
    return LLAMA2_OK;
}

size_t l2_byte_level_show(const char *text, size_t length, char *shown)
{
    size_t n = 0;
    for (size_t i = 0; i < length; ++i) n += (size_t)l2_utf8_encode(shown_as((unsigned char)text[i]), shown + n);
    return n;
}

int32_t l2_byte_level_find(const llama2_tokenizer *tok, const char *text, size_t length)
{
    char shown[2 * L2_MAX_PIECE];
    if (length > tok->longest) return -1;
    return l2_vocabulary_find_text(tok, shown, l2_byte_level_show(text, length, shown));
}

llama2_status l2_byte_level_finish(llama2_tokenizer *tok)
{
    for (int32_t id = 0; id < tok->n_pieces; ++id)
        if (tok->types[id] == LLAMA2_PIECE_BYTE)
            return l2_fail(LLAMA2_E_FORMAT, "piece %d is of type byte, which a byte-level vocabulary has no use for",
                           (int)id);
    for (int i = 0; i < 256; ++i) {
        char byte = (char)i;
        tok->byte_ids[i] = l2_byte_level_find(tok, &byte, 1);
        tok->lacks_bytes |= tok->byte_ids[i] < 0;
    }
    tok->chat_format = tok->chat_template ? tok->chat_format : L2_CHAT_UNKNOWN;
    tok->has_unused = 0; /* merges alone say what becomes of text */
    L2_TRY(l2_user_defined_finish(tok));
    if (!tok->unk_surface) L2_TRY(l2_strndup(tok->ctx, "", 0, &tok->unk_surface));
    return build_shown(tok);
}
