/*
 * User-defined pieces: the longest one that a text begins with. They lie in the order of their bytes, each with the
 * longest other one that it begins with, so that a look-up costs a search and those that are prefixes of one another.
 */
#include "base/alloc.h"
#include "format/sort.h"
#include "tokenizer/tokenizer.h"
#include <string.h>

static int compare(const void *a, const void *b)
{
    const l2_user_defined *x = a, *y = b;
    return l2_compare_text(x->text, x->length, y->text, y->length);
}

static int begins_with(const char *text, size_t length, const l2_user_defined *piece)
{
    return piece->length <= length && memcmp(text, piece->text, piece->length) == 0;
}

llama2_status l2_user_defined_finish(llama2_tokenizer *tok)
{
    int32_t n = 0;
    if (tok->n_user_defined == 0) return LLAMA2_OK;
    L2_TRY(l2_alloc(tok->ctx, (size_t)tok->n_user_defined, sizeof *tok->user_defined, &tok->user_defined));
    l2_user_defined *all = tok->user_defined;
    for (int32_t id = 0; id < tok->n_pieces; ++id)
        if (tok->types[id] == LLAMA2_PIECE_USER_DEFINED)
            all[n++] = (l2_user_defined){tok->bytes + tok->offsets[id], (uint32_t)l2_piece_length(tok, id), -1};
    l2_sort(all, (size_t)n, sizeof *all, compare);
    /* What a piece begins with, the one before it is or begins with. */
    for (int32_t i = 1; i < n; ++i) {
        int32_t prefix = i - 1;
        while (prefix >= 0 && !begins_with(all[i].text, all[i].length, &all[prefix])) prefix = all[prefix].prefix;
        all[i].prefix = prefix;
    }
    return LLAMA2_OK;
}

static size_t common_length(const char *a, size_t n_a, const char *b, size_t n_b)
{
    size_t n = 0;
    while (n < n_a && n < n_b && a[n] == b[n]) ++n;
    return n;
}

size_t l2_user_defined_at(const llama2_tokenizer *tok, const char *text, size_t length)
{
    if (!tok->n_user_defined || !length || !tok->user_defined_first[(unsigned char)text[0]]) return 0;
    const l2_user_defined *all = tok->user_defined;
    int32_t low = 0, high = tok->n_user_defined; /* pieces before `low` are not after the text, those from `high` are */
    while (low < high) {
        int32_t middle = low + (high - low) / 2;
        if (l2_compare_text(all[middle].text, all[middle].length, text, length) <= 0)
            low = middle + 1;
        else
            high = middle;
    }
    /* What the text begins with, the last piece that is not after it is or begins with. */
    int32_t last = low - 1;
    if (last < 0) return 0;
    size_t common = common_length(all[last].text, all[last].length, text, length);
    while (last >= 0 && all[last].length > common) last = all[last].prefix;
    return last < 0 ? 0 : all[last].length;
}
