/* The vocabulary of a tokenizer.json: pieces by id, added ones among them, and the merges. */
#include "base/alloc.h"
#include "tokenizer/tokenizer_json.h"
#include <string.h>

llama2_status l2_listing_string(const l2_listing *list, int64_t id, l2_json_string *out)
{
    l2_json json;
    l2_json_begin(&json, list->text, list->size);
    json.at = list->at[id] - 1;
    return l2_json_read_string(&json, out);
}

static llama2_status place(l2_listing *list, const l2_json_string *text, int64_t id, uint8_t type)
{
    char ours[L2_MAX_PIECE], theirs[L2_MAX_PIECE];
    size_t at = (size_t)(text->text - list->text), n, m;
    l2_json_string other;
    if (id < 0 || (uint64_t)id >= list->room)
        return l2_fail(LLAMA2_E_FORMAT, "byte %zu: id %lld, expected 0 to %zu: ids have no gaps", at, (long long)id,
                       list->room - 1);
    if (!list->at[id]) {
        list->at[id] = at;
        list->types[id] = type;
        list->bytes += text->length;
        ++list->n;
        return LLAMA2_OK;
    }
    /* An added piece may stand in the vocabulary too. */
    L2_TRY(l2_listing_string(list, id, &other));
    L2_TRY(l2_unescape_piece(text, ours, &n));
    L2_TRY(l2_unescape_piece(&other, theirs, &m));
    if (type == LLAMA2_PIECE_NORMAL || list->types[id] != LLAMA2_PIECE_NORMAL || n != m || memcmp(ours, theirs, n) != 0)
        return l2_fail(LLAMA2_E_FORMAT, "byte %zu: id %lld is taken by the piece at byte %zu", at, (long long)id,
                       list->at[id]);
    list->types[id] = type;
    return LLAMA2_OK;
}

static llama2_status read_vocab(l2_json json, l2_listing *list)
{
    l2_json_string key;
    int64_t id;
    int more;
    L2_TRY(l2_json_enter(&json, L2_JSON_OBJECT));
    for (;;) {
        L2_TRY(l2_json_next_member(&json, &key, &more));
        if (!more) return LLAMA2_OK;
        L2_TRY(l2_json_read_int(&json, &id));
        L2_TRY(place(list, &key, id, LLAMA2_PIECE_NORMAL));
    }
}

/* Of the pieces that are looked for in text, those that are not normalised come first, wherever they lie: pieces of
 * both kinds would have to be looked for one kind after the other. */
static llama2_status check_normalized(l2_listing *list, l2_member flag, int special)
{
    int normalized;
    L2_TRY(l2_member_flag(flag, !special, &normalized));
    if (special) return LLAMA2_OK;
    if (list->kinds_added & (normalized ? 1 : 2))
        return l2_fail(LLAMA2_E_UNSUPPORTED, "\"normalized\" differs among the added pieces, which is not supported");
    list->kinds_added |= normalized ? 2 : 1;
    return LLAMA2_OK;
}

static llama2_status read_added_piece(l2_json *json, l2_listing *list)
{
    l2_member m[] = {{.name = "id"},     {.name = "content"}, {.name = "special"},   {.name = "single_word"},
                     {.name = "lstrip"}, {.name = "rstrip"},  {.name = "normalized"}};
    l2_json_string content;
    int64_t id;
    int special;
    L2_TRY(l2_find_members(json, "a piece of added_tokens", m, 7));
    if (!m[0].found || !m[1].found) return l2_fail(LLAMA2_E_FORMAT, "a piece of added_tokens has no id or no content");
    L2_TRY(l2_json_read_int(&m[0].at, &id));
    L2_TRY(l2_json_read_string(&m[1].at, &content));
    L2_TRY(l2_member_flag(m[2], 0, &special));
    for (int i = 3; i < 6; ++i) {
        int set;
        L2_TRY(l2_member_flag(m[i], 0, &set));
        if (set && !special) /* special pieces are never looked for in text */
            return l2_fail(LLAMA2_E_UNSUPPORTED, "byte %zu: \"%s\" of an added piece is not supported", m[i].at.at,
                           m[i].name);
    }
    L2_TRY(check_normalized(list, m[6], special));
    return place(list, &content, id, special ? LLAMA2_PIECE_CONTROL : LLAMA2_PIECE_USER_DEFINED);
}

static llama2_status read_added(l2_member *added, l2_listing *list)
{
    int more;
    if (l2_member_is_null(added)) return LLAMA2_OK;
    l2_json json = added->at;
    L2_TRY(l2_json_enter(&json, L2_JSON_ARRAY));
    for (;;) {
        L2_TRY(l2_json_next_element(&json, &more));
        if (!more) return LLAMA2_OK;
        L2_TRY(read_added_piece(&json, list));
    }
}

static llama2_status count(l2_json json, int type, size_t *n)
{
    l2_json_string key;
    int more;
    L2_TRY(l2_json_enter(&json, type));
    for (*n = 0;; ++*n) {
        L2_TRY(type == L2_JSON_OBJECT ? l2_json_next_member(&json, &key, &more) : l2_json_next_element(&json, &more));
        if (!more) return LLAMA2_OK;
        L2_TRY(l2_json_skip(&json));
    }
}

llama2_status l2_listing_read(llama2_context *ctx, l2_member *vocab, l2_member *added,
                              const llama2_tokenizer_options *options, l2_listing *list)
{
    size_t n_vocab, n_added = 0;
    L2_TRY(count(vocab->at, L2_JSON_OBJECT, &n_vocab));
    if (!l2_member_is_null(added)) L2_TRY(count(added->at, L2_JSON_ARRAY, &n_added));
    list->room = n_vocab + n_added;
    if (n_vocab > (size_t)options->max_pieces || list->room > 2 * (size_t)options->max_pieces)
        return l2_fail(LLAMA2_E_LIMIT, "%zu pieces; llama2_tokenizer_options.max_pieces allows %d",
                       n_vocab > n_added ? n_vocab : n_added, (int)options->max_pieces);
    L2_TRY(l2_calloc(ctx, list->room, sizeof *list->at, &list->at));
    L2_TRY(l2_calloc(ctx, list->room, 1, &list->types));
    L2_TRY(read_vocab(vocab->at, list));
    L2_TRY(read_added(added, list));
    if (list->n == 0) return l2_fail(LLAMA2_E_FORMAT, "no pieces");
    if (list->n > (size_t)options->max_pieces)
        return l2_fail(LLAMA2_E_LIMIT, "%zu pieces; llama2_tokenizer_options.max_pieces allows %d", list->n,
                       (int)options->max_pieces);
    for (size_t id = 0; id < list->n; ++id)
        if (!list->at[id])
            return l2_fail(LLAMA2_E_FORMAT, "%zu pieces, but none has the id %zu: ids have no gaps", list->n, id);
    return LLAMA2_OK;
}

llama2_status l2_listing_add(llama2_tokenizer *tok, const l2_listing *list)
{
    char text[L2_MAX_PIECE];
    l2_json_string string;
    size_t n;
    for (size_t id = 0; id < list->n; ++id) {
        L2_TRY(l2_listing_string(list, (int64_t)id, &string));
        L2_TRY(l2_unescape_piece(&string, text, &n));
        llama2_status status = l2_vocabulary_add(tok, text, n, 0, list->types[id]);
        if (status < 0) return l2_fail_in(status, "byte %zu", list->at[id]);
    }
    return LLAMA2_OK;
}

/* --- merges ---------------------------------------------------------------------------------- */

/* "left right", or since tokenizers 0.20 ["left", "right"]. */
static llama2_status read_merge(l2_json *json, llama2_tokenizer *tok)
{
    char left[2 * L2_MAX_PIECE + 1], right[L2_MAX_PIECE];
    size_t n_left, n_right;
    l2_json_string string;
    int type, more;
    L2_TRY(l2_json_peek(json, &type));
    if (type == L2_JSON_STRING) {
        L2_TRY(l2_json_read_string(json, &string));
        if (l2_json_unescape(&string, left, sizeof left, &n_left) < 0)
            return l2_fail(LLAMA2_E_LIMIT, "byte %zu: a merge has %zu bytes, at most %zu are possible", json->at,
                           n_left, sizeof left);
        const char *space = memchr(left, ' ', n_left);
        size_t at = space ? (size_t)(space - left) : 0;
        if (!space || memchr(space + 1, ' ', n_left - at - 1) || at > L2_MAX_PIECE || n_left - at - 1 > L2_MAX_PIECE)
            return l2_fail(LLAMA2_E_FORMAT, "byte %zu: merge %u is not of the form \"left right\"", json->at,
                           (unsigned)tok->n_pairs);
        return l2_merges_add(tok, left, at, space + 1, n_left - at - 1);
    }
    L2_TRY(l2_json_enter(json, L2_JSON_ARRAY));
    for (int i = 0; i < 3; ++i) {
        L2_TRY(l2_json_next_element(json, &more));
        if (more != (i < 2))
            return l2_fail(LLAMA2_E_FORMAT, "byte %zu: merge %u does not have two parts", json->at,
                           (unsigned)tok->n_pairs);
        if (!more) break;
        L2_TRY(l2_json_read_string(json, &string));
        L2_TRY(l2_unescape_piece(&string, i ? right : left, i ? &n_right : &n_left));
    }
    return l2_merges_add(tok, left, n_left, right, n_right);
}

llama2_status l2_read_merges(l2_json json, llama2_tokenizer *tok)
{
    size_t n;
    int more;
    L2_TRY(count(json, L2_JSON_ARRAY, &n));
    L2_TRY(l2_merges_begin(tok, n));
    L2_TRY(l2_json_enter(&json, L2_JSON_ARRAY));
    for (;;) {
        L2_TRY(l2_json_next_element(&json, &more));
        if (!more) return LLAMA2_OK;
        L2_TRY(read_merge(&json, tok));
    }
}
