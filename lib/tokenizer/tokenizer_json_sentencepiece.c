/* SentencePiece's BPE in a tokenizer.json: what stands around it, and scores from the ranks of merges. */
#include "base/alloc.h"
#include "tokenizer/tokenizer_json.h"
#include <string.h>

/* Do the members of an object have these texts? A list of (name, text), NULL at its end. */
static llama2_status has_texts(l2_json json, const char *const *pairs, int *yes)
{
    for (*yes = 1; *yes && *pairs; pairs += 2) {
        l2_member m = {.name = pairs[0]};
        l2_json_string text;
        l2_json whole = json;
        int type;
        L2_TRY(l2_find_members(&whole, NULL, &m, 1));
        if (!m.found) break;
        L2_TRY(l2_json_peek(&m.at, &type));
        if (type != L2_JSON_STRING) break;
        L2_TRY(l2_json_read_string(&m.at, &text));
        *yes = l2_json_equal(&text, pairs[1]);
    }
    *yes = *yes && !*pairs;
    return LLAMA2_OK;
}

/* One of the steps around the pieces: its texts; what it looks for where it replaces; what it strips of a text. */
typedef struct step {
    const char *texts[5], *pattern;
    int strips_one; /* at the start, none at the end */
} step;

/* Is "pattern" {"String": text}? */
static llama2_status has_pattern(l2_json json, const char *text, int *yes)
{
    const char *const string[] = {"String", text, NULL};
    l2_member m = {.name = "pattern"};
    int type;
    *yes = 0;
    L2_TRY(l2_find_members(&json, NULL, &m, 1));
    if (!m.found) return LLAMA2_OK;
    L2_TRY(l2_json_peek(&m.at, &type));
    return type == L2_JSON_OBJECT ? has_texts(m.at, string, yes) : LLAMA2_OK;
}

static llama2_status strips_one(l2_json json, int *yes)
{
    l2_member m[] = {{.name = "start"}, {.name = "stop"}};
    int64_t start, stop;
    L2_TRY(l2_find_members(&json, NULL, m, 2));
    *yes = m[0].found && m[1].found;
    if (!*yes) return LLAMA2_OK;
    L2_TRY(l2_json_read_int(&m[0].at, &start));
    L2_TRY(l2_json_read_int(&m[1].at, &stop));
    *yes = start == 1 && stop == 0;
    return LLAMA2_OK;
}

static llama2_status is_step(l2_json json, const step *expected, int *yes)
{
    L2_TRY(has_texts(json, expected->texts, yes));
    if (*yes && expected->pattern) L2_TRY(has_pattern(json, expected->pattern, yes));
    if (*yes && expected->strips_one) L2_TRY(strips_one(json, yes));
    return LLAMA2_OK;
}

/* A Sequence of these steps. */
static llama2_status expect_steps(l2_member *section, const char *list, const step *expected, int n)
{
    l2_member m = {.name = list};
    int more, yes = 0;
    if (!l2_member_is_null(section)) {
        l2_json whole = section->at;
        L2_TRY(l2_find_members(&whole, NULL, &m, 1));
    }
    if (m.found) L2_TRY(l2_json_enter(&m.at, L2_JSON_ARRAY));
    for (int i = 0; m.found && i <= n; ++i) {
        L2_TRY(l2_json_next_element(&m.at, &more));
        yes = more == (i < n);
        if (!yes || !more) break;
        L2_TRY(is_step(m.at, &expected[i], &yes));
        if (!yes) break;
        L2_TRY(l2_json_skip(&m.at));
    }
    return yes ? LLAMA2_OK
               : l2_fail(LLAMA2_E_UNSUPPORTED, "byte %zu: with \"byte_fallback\" only the %s of Llama 2 are supported",
                         section->at.at, list);
}

/* Metaspace, as transformers 5 writes it: a text that begins with a space gets none before it. */
static llama2_status read_metaspace(l2_member *pre)
{
    static const char *const always[] = {"replacement", L2_SPACE, "prepend_scheme", "always", NULL};
    static const char *const first[] = {"replacement", L2_SPACE, "prepend_scheme", "first", NULL};
    l2_member split = {.name = "split"};
    l2_json whole = pre->at;
    int cuts, is_always, is_first;
    L2_TRY(l2_expect_type(pre, "pre_tokenizer", "Metaspace"));
    L2_TRY(l2_find_members(&whole, NULL, &split, 1));
    L2_TRY(l2_member_flag(split, 1, &cuts));
    L2_TRY(has_texts(pre->at, always, &is_always));
    L2_TRY(has_texts(pre->at, first, &is_first));
    if (!cuts && (is_always || is_first)) return LLAMA2_OK;
    return l2_fail(LLAMA2_E_UNSUPPORTED,
                   "byte %zu: the pre_tokenizer Metaspace is supported with replacement \"" L2_SPACE
                   "\", prepend_scheme \"always\" or \"first\" and split false",
                   pre->at.at);
}

/* What stands around Llama 2's pieces: spaces become U+2581, one more goes before a text; decoding undoes it. */
llama2_status l2_expect_sentencepiece(l2_member *normaliser, l2_member *pre, l2_member *decoder, int *metaspace)
{
    static const step normalisers[] = {{{"type", "Prepend", "prepend", L2_SPACE}, NULL, 0},
                                       {{"type", "Replace", "content", L2_SPACE}, " ", 0}};
    static const step decoders[] = {{{"type", "Replace", "content", " "}, L2_SPACE, 0},
                                    {{"type", "ByteFallback"}, NULL, 0},
                                    {{"type", "Fuse"}, NULL, 0},
                                    {{"type", "Strip", "content", " "}, NULL, 1}};
    *metaspace = l2_member_is_null(normaliser) && !l2_member_is_null(pre);
    if (*metaspace) {
        L2_TRY(read_metaspace(pre));
    } else {
        L2_TRY(expect_steps(normaliser, "normalizers", normalisers, 2));
        L2_TRY(l2_expect_type(pre, "pre_tokenizer", NULL));
    }
    return expect_steps(decoder, "decoders", decoders, 4);
}

/*
 * The merges of such a file are all ways to make each piece of two, in the order of the pieces' scores. So the scores
 * come back from the ranks, if that is what the merges are: all of a piece in a row, and none missing.
 */
static llama2_status scores_from_merges(llama2_tokenizer *tok, int32_t *n_merges)
{
    float score;
    const l2_pair *apart = NULL; /* the first in the file: the order of slots is a random one */
    for (int32_t id = 0; id < tok->n_pieces; ++id) tok->scores[id] = -(float)tok->n_pairs;
    for (uint32_t i = 0; i < tok->n_pair_slots; ++i) {
        const l2_pair *pair = &tok->pairs[i];
        if (pair->left < 0) continue;
        ++n_merges[pair->joined];
        if (pair->score > tok->scores[pair->joined]) tok->scores[pair->joined] = pair->score;
    }
    for (uint32_t i = 0; i < tok->n_pair_slots; ++i) {
        const l2_pair *pair = &tok->pairs[i];
        if (pair->left >= 0 && tok->scores[pair->joined] - pair->score >= (float)n_merges[pair->joined] &&
            (!apart || pair->score > apart->score))
            apart = pair;
    }
    if (apart)
        return l2_fail(LLAMA2_E_UNSUPPORTED, "merge %d is apart from the others that make piece %d", (int)-apart->score,
                       (int)apart->joined);
    for (int32_t id = 0; id < tok->n_pieces; ++id) {
        if (!l2_piece_is_text(tok, id)) continue;
        const char *text = tok->bytes + tok->offsets[id];
        size_t length = l2_piece_length(tok, id);
        if (length > L2_MAX_SPLIT_PIECE)
            return l2_fail(LLAMA2_E_LIMIT, "piece %d has %zu bytes, with \"byte_fallback\" at most %d are possible",
                           (int)id, length, L2_MAX_SPLIT_PIECE);
        for (size_t n = l2_char_length((unsigned char)text[0]); n < length;
             n += l2_char_length((unsigned char)text[n])) {
            int32_t left = l2_vocabulary_find_text(tok, text, n), right = -1;
            if (left >= 0) right = l2_vocabulary_find_text(tok, text + n, length - n);
            if (right >= 0 && l2_merges_find(tok, left, right, &score) != id)
                return l2_fail(LLAMA2_E_UNSUPPORTED, "no merge makes piece %d of pieces %d and %d", (int)id, (int)left,
                               (int)right);
        }
    }
    return LLAMA2_OK;
}

llama2_status l2_finish_sentencepiece(llama2_tokenizer *tok, const l2_listing *list, int metaspace)
{
    int32_t *n_merges;
    int adds_bos = tok->adds_bos;
    int32_t pad = tok->pad;
    L2_TRY(l2_calloc(tok->ctx, (size_t)tok->n_pieces, sizeof *n_merges, &n_merges));
    llama2_status status = scores_from_merges(tok, n_merges);
    l2_free(tok->ctx, n_merges);
    L2_TRY(status);
    l2_free(tok->ctx, tok->pairs);
    tok->pairs = NULL;
    tok->n_pairs = tok->n_pair_slots = 0;
    tok->byte_fallback = 1;
    tok->remove_extra_whitespaces = 0;
    L2_TRY(l2_vocabulary_name_specials(tok, l2_piece_text(tok, tok->bos), l2_piece_text(tok, tok->eos),
                                       l2_piece_text(tok, tok->pad)));
    L2_TRY(l2_vocabulary_finish(tok));
    tok->adds_bos = adds_bos;
    tok->pad = pad; /* "<unk>" in many folders, which is no control piece */
    tok->prefix_unless_space = metaspace;
    if (!metaspace) return LLAMA2_OK;
    L2_TRY(l2_alloc(tok->ctx, list->size, 1, &tok->original));
    memcpy(tok->original, list->text, list->size);
    tok->original_size = list->size;
    return LLAMA2_OK;
}

/* Types that the file does not tell: bytes by their form, unk by its name. */
llama2_status l2_type_sentencepiece(l2_listing *list, l2_member *unk)
{
    l2_json_string name = {"<unk>", 5, 0}, text;
    if (!l2_member_is_null(unk)) L2_TRY(l2_json_read_string(&unk->at, &name));
    for (size_t id = 0; id < list->n; ++id) {
        L2_TRY(l2_listing_string(list, (int64_t)id, &text));
        if (list->types[id] == LLAMA2_PIECE_USER_DEFINED)
            return l2_fail(LLAMA2_E_UNSUPPORTED,
                           "byte %zu: an added piece that is not special is not supported with \"byte_fallback\"",
                           list->at[id]);
        if (text.length == name.length && memcmp(text.text, name.text, name.length) == 0)
            list->types[id] = LLAMA2_PIECE_UNKNOWN;
        else if (l2_byte_of_piece(text.text, text.length) >= 0)
            list->types[id] = LLAMA2_PIECE_BYTE;
    }
    return LLAMA2_OK;
}
