/*
 * tokenizer.json of Hugging Face's `tokenizers`, with a model of type BPE, over bytes or as SentencePiece's. Two walks:
 * the first finds the sections, the second reads them in the order in which they are needed. What would change ids and
 * is not known is refused by name.
 */
#include "base/alloc.h"
#include "base/json.h"
#include "tokenizer/pretokenize.h"
#include "tokenizer/tokenizer.h"
#include <string.h>

/* A member of an object that is looked for, and the parser as it stands before its value. */
typedef struct member {
    const char *name;
    int found;
    l2_json at;
} member;

/* Finds the members of an object; `what` names the object where others are refused, NULL: they are passed over. */
static llama2_status find_members(l2_json *json, const char *what, member *members, size_t n)
{
    l2_json_string key;
    int more;
    L2_TRY(l2_json_enter(json, L2_JSON_OBJECT));
    for (;;) {
        L2_TRY(l2_json_next_member(json, &key, &more));
        if (!more) return LLAMA2_OK;
        size_t i = 0;
        while (i < n && !l2_json_equal(&key, members[i].name)) ++i;
        if (i < n) {
            if (members[i].found)
                return l2_fail(LLAMA2_E_FORMAT, "byte %zu: a second \"%s\"", json->at, members[i].name);
            members[i].found = 1;
            members[i].at = *json;
        } else if (what) {
            return l2_fail(LLAMA2_E_UNSUPPORTED, "byte %zu: %s has the setting \"%.*s\", which is not supported",
                           json->at, what, (int)(key.length < 60 ? key.length : 60), key.text);
        }
        L2_TRY(l2_json_skip(json));
    }
}

static int is_null(member *m)
{
    int type;
    return !m->found || (l2_json_peek(&m->at, &type) == LLAMA2_OK && type == L2_JSON_NULL);
}

static llama2_status read_flag(member m, int missing, int *out)
{
    *out = missing;
    return is_null(&m) ? LLAMA2_OK : l2_json_read_bool(&m.at, out);
}

/* Text of a string of at most L2_MAX_PIECE bytes. */
static llama2_status unescape(const l2_json_string *string, char *text, size_t *length)
{
    if (l2_json_unescape(string, text, L2_MAX_PIECE, length) == LLAMA2_OK) return LLAMA2_OK;
    return l2_fail(LLAMA2_E_LIMIT, "a piece has %zu bytes, at most %d are possible", *length, L2_MAX_PIECE);
}

static llama2_status unsupported(const char *section, const l2_json *json, const l2_json_string *name)
{
    return l2_fail(LLAMA2_E_UNSUPPORTED, "byte %zu: the %s \"%.*s\" is not supported", json->at, section,
                   (int)(name->length < 200 ? name->length : 200), name->text);
}

static llama2_status read_type(member *type, const char *section, l2_json_string *name)
{
    if (type->found) return l2_json_read_string(&type->at, name);
    return l2_fail(LLAMA2_E_FORMAT, "a %s has no \"type\"", section);
}

/* --- pre_tokenizer --------------------------------------------------------------------------- */

/* The steps of a pre-tokeniser, one letter each: g ByteLevel that cuts, b ByteLevel that does not, 2 and 3 Split by the
 * expressions of GPT-2 and Llama 3, d Digits one by one. */
typedef struct steps {
    char letters[8];
    size_t n;
} steps;

static llama2_status read_split(l2_json json, char *step)
{
    member m[] = {{.name = "type"}, {.name = "pattern"}, {.name = "behavior"}, {.name = "invert"}};
    member regex = {.name = "Regex"};
    l2_json_string text, behaviour;
    int invert;
    L2_TRY(find_members(&json, "the pre_tokenizer Split", m, 4));
    if (!m[1].found || !m[2].found) return l2_fail(LLAMA2_E_FORMAT, "Split has no pattern or no behavior");
    L2_TRY(find_members(&m[1].at, "the pattern of Split", &regex, 1));
    if (!regex.found) return l2_fail(LLAMA2_E_FORMAT, "the pattern of Split has no Regex");
    L2_TRY(l2_json_read_string(&regex.at, &text));
    L2_TRY(l2_json_read_string(&m[2].at, &behaviour));
    L2_TRY(read_flag(m[3], 0, &invert));
    *step = l2_json_equal(&text, L2_REGEX_GPT2) ? '2' : l2_json_equal(&text, L2_REGEX_LLAMA3) ? '3' : 0;
    if (!*step) return unsupported("regular expression", &regex.at, &text);
    if (!l2_json_equal(&behaviour, "Isolated") || invert) return unsupported("behavior of Split", &m[2].at, &behaviour);
    return LLAMA2_OK;
}

static llama2_status read_byte_level(l2_json json, char *step)
{
    member m[] = {{.name = "type"}, {.name = "add_prefix_space"}, {.name = "trim_offsets"}, {.name = "use_regex"}};
    int prefix, cuts;
    L2_TRY(find_members(&json, "the pre_tokenizer ByteLevel", m, 4));
    L2_TRY(read_flag(m[1], 1, &prefix));
    L2_TRY(read_flag(m[3], 1, &cuts));
    if (prefix)
        return l2_fail(LLAMA2_E_UNSUPPORTED, "the pre_tokenizer ByteLevel with add_prefix_space is not supported");
    *step = cuts ? 'g' : 'b';
    return LLAMA2_OK;
}

static llama2_status read_digits(l2_json json, char *step)
{
    member m[] = {{.name = "type"}, {.name = "individual_digits"}};
    int individual;
    L2_TRY(find_members(&json, "the pre_tokenizer Digits", m, 2));
    L2_TRY(read_flag(m[1], 0, &individual));
    if (!individual)
        return l2_fail(LLAMA2_E_UNSUPPORTED, "the pre_tokenizer Digits without individual_digits is not supported");
    *step = 'd';
    return LLAMA2_OK;
}

static llama2_status read_step(l2_json json, steps *s)
{
    member type = {.name = "type"};
    l2_json_string name;
    l2_json whole = json;
    char step = 0;
    L2_TRY(find_members(&whole, NULL, &type, 1));
    L2_TRY(read_type(&type, "pre_tokenizer", &name));
    if (l2_json_equal(&name, "ByteLevel"))
        L2_TRY(read_byte_level(json, &step));
    else if (l2_json_equal(&name, "Split"))
        L2_TRY(read_split(json, &step));
    else if (l2_json_equal(&name, "Digits"))
        L2_TRY(read_digits(json, &step));
    else
        return unsupported("pre_tokenizer", &type.at, &name);
    if (s->n == sizeof s->letters - 1)
        return l2_fail(LLAMA2_E_UNSUPPORTED, "a pre_tokenizer of more than %zu steps is not supported", s->n);
    s->letters[s->n++] = step;
    return LLAMA2_OK;
}

static llama2_status read_pre_tokenizer(member *pre, int *pretokenizer)
{
    static const struct {
        const char *letters;
        int kind;
    } known[] = {{"g", L2_PRETOKENIZER_GPT2},
                 {"2b", L2_PRETOKENIZER_GPT2},
                 {"3b", L2_PRETOKENIZER_LLAMA3},
                 {"dg", L2_PRETOKENIZER_SMOLLM},
                 {"d2b", L2_PRETOKENIZER_SMOLLM}};
    member m[] = {{.name = "type"}, {.name = "pretokenizers"}};
    l2_json_string name;
    steps s = {.n = 0};
    if (is_null(pre)) return l2_fail(LLAMA2_E_UNSUPPORTED, "a BPE without a pre_tokenizer is not supported");
    l2_json whole = pre->at;
    L2_TRY(find_members(&whole, NULL, m, 2));
    L2_TRY(read_type(&m[0], "pre_tokenizer", &name));
    if (l2_json_equal(&name, "Sequence")) {
        int more;
        if (!m[1].found) return l2_fail(LLAMA2_E_FORMAT, "the pre_tokenizer Sequence has no \"pretokenizers\"");
        L2_TRY(l2_json_enter(&m[1].at, L2_JSON_ARRAY));
        for (;;) {
            L2_TRY(l2_json_next_element(&m[1].at, &more));
            if (!more) break;
            L2_TRY(read_step(m[1].at, &s));
            L2_TRY(l2_json_skip(&m[1].at));
        }
    } else {
        L2_TRY(read_step(pre->at, &s));
    }
    for (size_t i = 0; i < sizeof known / sizeof *known; ++i)
        if (strcmp(s.letters, known[i].letters) == 0) {
            *pretokenizer = known[i].kind;
            return LLAMA2_OK;
        }
    return l2_fail(LLAMA2_E_UNSUPPORTED,
                   "byte %zu: a pre_tokenizer of these steps in this order is not supported, only GPT-2's, Llama 3's "
                   "and SmolLM2's",
                   pre->at.at);
}

/* --- post_processor, decoder ----------------------------------------------------------------- */

/* What a template puts around a text: nothing, or one special piece before it. */
static llama2_status read_template(l2_json json, l2_json_string *bos)
{
    member m[] = {{.name = "type"}, {.name = "single"}, {.name = "pair"}, {.name = "special_tokens"}};
    int more, after = 0;
    L2_TRY(find_members(&json, "the post_processor TemplateProcessing", m, 4));
    if (!m[1].found) return l2_fail(LLAMA2_E_FORMAT, "TemplateProcessing has no \"single\"");
    L2_TRY(l2_json_enter(&m[1].at, L2_JSON_ARRAY));
    for (;;) {
        member part[] = {{.name = "SpecialToken"}, {.name = "Sequence"}}, id = {.name = "id"};
        L2_TRY(l2_json_next_element(&m[1].at, &more));
        if (!more) return LLAMA2_OK;
        L2_TRY(find_members(&m[1].at, "a part of TemplateProcessing", part, 2));
        if (part[1].found) {
            after = 1;
        } else if (!part[0].found || after || bos->text) {
            return l2_fail(LLAMA2_E_UNSUPPORTED,
                           "byte %zu: a post_processor that puts more than one special piece before a text is not "
                           "supported",
                           m[1].at.at);
        } else {
            L2_TRY(find_members(&part[0].at, NULL, &id, 1));
            if (!id.found) return l2_fail(LLAMA2_E_FORMAT, "a SpecialToken of TemplateProcessing has no \"id\"");
            L2_TRY(l2_json_read_string(&id.at, bos));
        }
    }
}

/* ByteLevel changes offsets only. */
static llama2_status read_processor(l2_json json, l2_json_string *bos)
{
    member type = {.name = "type"};
    l2_json_string name;
    l2_json whole = json;
    L2_TRY(find_members(&whole, NULL, &type, 1));
    L2_TRY(read_type(&type, "post_processor", &name));
    if (l2_json_equal(&name, "ByteLevel")) return LLAMA2_OK;
    if (l2_json_equal(&name, "TemplateProcessing")) return read_template(json, bos);
    return unsupported("post_processor", &type.at, &name);
}

static llama2_status read_post_processor(member *post, l2_json_string *bos)
{
    member m[] = {{.name = "type"}, {.name = "processors"}};
    l2_json_string name;
    int more;
    if (is_null(post)) return LLAMA2_OK;
    l2_json whole = post->at;
    L2_TRY(find_members(&whole, NULL, m, 2));
    L2_TRY(read_type(&m[0], "post_processor", &name));
    if (!l2_json_equal(&name, "Sequence")) return read_processor(post->at, bos);
    if (!m[1].found) return l2_fail(LLAMA2_E_FORMAT, "the post_processor Sequence has no \"processors\"");
    L2_TRY(l2_json_enter(&m[1].at, L2_JSON_ARRAY));
    for (;;) {
        L2_TRY(l2_json_next_element(&m[1].at, &more));
        if (!more) return LLAMA2_OK;
        L2_TRY(read_processor(m[1].at, bos));
        L2_TRY(l2_json_skip(&m[1].at));
    }
}

/* A section that may only be null (`only` NULL) or of one type. */
static llama2_status expect_type(member *m, const char *section, const char *only)
{
    member type = {.name = "type"};
    l2_json_string name;
    if (is_null(m))
        return only ? l2_fail(LLAMA2_E_UNSUPPORTED, "without the %s \"%s\" it is not supported", section, only)
                    : LLAMA2_OK;
    l2_json whole = m->at;
    L2_TRY(find_members(&whole, NULL, &type, 1));
    L2_TRY(read_type(&type, section, &name));
    return only && l2_json_equal(&name, only) ? LLAMA2_OK : unsupported(section, &type.at, &name);
}

/* --- the vocabulary -------------------------------------------------------------------------- */

/* Where the texts of pieces stand, by id. */
typedef struct listing {
    const char *text;
    size_t size;
    size_t *at; /* offset of the text's opening quote + 1; 0: no such id yet */
    uint8_t *types;
    size_t n, room, bytes;
} listing;

static llama2_status string_at(const listing *list, int64_t id, l2_json_string *out)
{
    l2_json json;
    l2_json_begin(&json, list->text, list->size);
    json.at = list->at[id] - 1;
    return l2_json_read_string(&json, out);
}

static llama2_status place(listing *list, const l2_json_string *text, int64_t id, uint8_t type)
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
    L2_TRY(string_at(list, id, &other));
    L2_TRY(unescape(text, ours, &n));
    L2_TRY(unescape(&other, theirs, &m));
    if (type == LLAMA2_PIECE_NORMAL || list->types[id] != LLAMA2_PIECE_NORMAL || n != m || memcmp(ours, theirs, n) != 0)
        return l2_fail(LLAMA2_E_FORMAT, "byte %zu: id %lld is taken by the piece at byte %zu", at, (long long)id,
                       list->at[id]);
    list->types[id] = type;
    return LLAMA2_OK;
}

static llama2_status read_vocab(l2_json json, listing *list)
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

static llama2_status read_added_piece(l2_json *json, listing *list)
{
    member m[] = {{.name = "id"},     {.name = "content"}, {.name = "special"},   {.name = "single_word"},
                  {.name = "lstrip"}, {.name = "rstrip"},  {.name = "normalized"}};
    l2_json_string content;
    int64_t id;
    int special;
    L2_TRY(find_members(json, "a piece of added_tokens", m, 7));
    if (!m[0].found || !m[1].found) return l2_fail(LLAMA2_E_FORMAT, "a piece of added_tokens has no id or no content");
    L2_TRY(l2_json_read_int(&m[0].at, &id));
    L2_TRY(l2_json_read_string(&m[1].at, &content));
    L2_TRY(read_flag(m[2], 0, &special));
    for (int i = 3; i < 6; ++i) {
        int set;
        L2_TRY(read_flag(m[i], 0, &set));
        if (set && !special) /* special pieces are never looked for in text */
            return l2_fail(LLAMA2_E_UNSUPPORTED, "byte %zu: \"%s\" of an added piece is not supported", m[i].at.at,
                           m[i].name);
    }
    return place(list, &content, id, special ? LLAMA2_PIECE_CONTROL : LLAMA2_PIECE_USER_DEFINED);
}

static llama2_status read_added(member *added, listing *list)
{
    int more;
    if (is_null(added)) return LLAMA2_OK;
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

static llama2_status list_pieces(llama2_context *ctx, member *vocab, member *added,
                                 const llama2_tokenizer_options *options, listing *list)
{
    size_t n_vocab, n_added = 0;
    L2_TRY(count(vocab->at, L2_JSON_OBJECT, &n_vocab));
    if (!is_null(added)) L2_TRY(count(added->at, L2_JSON_ARRAY, &n_added));
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

static llama2_status add_pieces(llama2_tokenizer *tok, const listing *list)
{
    char text[L2_MAX_PIECE];
    l2_json_string string;
    size_t n;
    for (size_t id = 0; id < list->n; ++id) {
        L2_TRY(string_at(list, (int64_t)id, &string));
        L2_TRY(unescape(&string, text, &n));
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
        L2_TRY(unescape(&string, i ? right : left, i ? &n_right : &n_left));
    }
    return l2_merges_add(tok, left, n_left, right, n_right);
}

static llama2_status read_merges(l2_json json, llama2_tokenizer *tok)
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

/* --- special pieces -------------------------------------------------------------------------- */

/* The control piece that a string names; -1 where it is none. */
static llama2_status find_special(const llama2_tokenizer *tok, const l2_json_string *string, int32_t *id)
{
    char text[L2_MAX_PIECE];
    size_t n;
    L2_TRY(unescape(string, text, &n));
    *id = n ? l2_vocabulary_find(tok, text, n) : -1;
    if (*id >= 0 && tok->types[*id] != LLAMA2_PIECE_CONTROL) *id = -1;
    return LLAMA2_OK;
}

/* "text", {"content": "text", ...} or null. */
static llama2_status read_special(const llama2_tokenizer *tok, member *m, int32_t *id)
{
    member content = {.name = "content"};
    l2_json_string string;
    int type;
    if (is_null(m)) return LLAMA2_OK;
    L2_TRY(l2_json_peek(&m->at, &type));
    if (type == L2_JSON_OBJECT) {
        L2_TRY(find_members(&m->at, NULL, &content, 1));
        if (is_null(&content)) return LLAMA2_OK;
        m = &content;
    }
    L2_TRY(l2_json_read_string(&m->at, &string));
    return find_special(tok, &string, id);
}

static llama2_status set_template(llama2_tokenizer *tok, l2_json *json)
{
    l2_json_string string;
    char *text;
    size_t n;
    L2_TRY(l2_json_read_string(json, &string));
    L2_TRY(l2_alloc(tok->ctx, string.length, 1, &text));
    llama2_status status = l2_json_unescape(&string, text, string.length, &n);
    if (status == LLAMA2_OK) status = l2_chat_template_set(tok, text, n);
    l2_free(tok->ctx, text);
    return status;
}

/* A string, or a list of {name, template} of which "default" is taken. */
static llama2_status read_template_setting(llama2_tokenizer *tok, member *m)
{
    int type, more;
    if (is_null(m)) return LLAMA2_OK;
    L2_TRY(l2_json_peek(&m->at, &type));
    if (type == L2_JSON_STRING) return set_template(tok, &m->at);
    L2_TRY(l2_json_enter(&m->at, L2_JSON_ARRAY));
    for (;;) {
        member part[] = {{.name = "name"}, {.name = "template"}};
        l2_json_string name;
        L2_TRY(l2_json_next_element(&m->at, &more));
        if (!more) return LLAMA2_OK;
        L2_TRY(find_members(&m->at, NULL, part, 2));
        if (!part[0].found || !part[1].found) continue;
        L2_TRY(l2_json_read_string(&part[0].at, &name));
        if (l2_json_equal(&name, "default")) return set_template(tok, &part[1].at);
    }
}

static llama2_status read_config(llama2_tokenizer *tok, const char *config, size_t size)
{
    member m[] = {{.name = "bos_token"}, {.name = "eos_token"},     {.name = "pad_token"},
                  {.name = "unk_token"}, {.name = "chat_template"}, {.name = "add_bos_token"}};
    l2_json json;
    int adds;
    l2_json_begin(&json, config, size);
    L2_TRY(find_members(&json, NULL, m, 6));
    L2_TRY(l2_json_end(&json));
    L2_TRY(read_special(tok, &m[0], &tok->bos));
    L2_TRY(read_special(tok, &m[1], &tok->eos));
    L2_TRY(read_special(tok, &m[2], &tok->pad));
    L2_TRY(read_special(tok, &m[3], &tok->unk));
    L2_TRY(read_flag(m[5], 0, &adds));
    tok->adds_bos = adds && tok->bos >= 0;
    return read_template_setting(tok, &m[4]);
}

llama2_status l2_tokenizer_config_template(llama2_tokenizer *tok, const char *config, size_t size)
{
    member m = {.name = "chat_template"};
    l2_json json;
    l2_json_begin(&json, config, size);
    llama2_status status = find_members(&json, NULL, &m, 1);
    if (status == LLAMA2_OK) status = l2_json_end(&json);
    if (status == LLAMA2_OK) status = read_template_setting(tok, &m);
    return status < 0 ? l2_fail_in(status, "tokenizer_config.json") : status;
}

/* Without a tokenizer_config.json: the names that models give them. */
static void guess_specials(llama2_tokenizer *tok)
{
    static const char *const begins[] = {"<|begin_of_text|>", "<|endoftext|>", "<s>"};
    static const char *const ends[] = {"<|end_of_text|>", "<|endoftext|>", "</s>"};
    for (size_t i = 0; i < 3; ++i) {
        int32_t bos = l2_vocabulary_find(tok, begins[i], strlen(begins[i])),
                eos = l2_vocabulary_find(tok, ends[i], strlen(ends[i]));
        if (tok->bos < 0 && bos >= 0 && tok->types[bos] == LLAMA2_PIECE_CONTROL) tok->bos = bos;
        if (tok->eos < 0 && eos >= 0 && tok->types[eos] == LLAMA2_PIECE_CONTROL) tok->eos = eos;
    }
}

/* --- the whole ------------------------------------------------------------------------------- */

enum { TYPE, DROPOUT, UNK_TOKEN, PREFIX, SUFFIX, FUSE_UNK, BYTE_FALLBACK, IGNORE_MERGES, VOCAB, MERGES, N_MODEL };

static llama2_status expect_empty(member *m)
{
    l2_json_string text;
    if (is_null(m)) return LLAMA2_OK;
    L2_TRY(l2_json_read_string(&m->at, &text));
    return text.length == 0 ? LLAMA2_OK
                            : l2_fail(LLAMA2_E_UNSUPPORTED, "byte %zu: \"%s\" is not supported", m->at.at, m->name);
}

static llama2_status read_model(l2_json json, member m[N_MODEL], int *fallback)
{
    static const char *const names[] = {"type",
                                        "dropout",
                                        "unk_token",
                                        "continuing_subword_prefix",
                                        "end_of_word_suffix",
                                        "fuse_unk",
                                        "byte_fallback",
                                        "ignore_merges",
                                        "vocab",
                                        "merges"};
    l2_json_string type;
    l2_json whole = json;
    memset(m, 0, N_MODEL * sizeof *m);
    m[TYPE].name = "type"; /* first, since models of other types have other settings */
    L2_TRY(find_members(&whole, NULL, m, 1));
    if (!is_null(&m[TYPE])) { /* files of old have no type */
        L2_TRY(l2_json_read_string(&m[TYPE].at, &type));
        if (!l2_json_equal(&type, "BPE")) return unsupported("model type", &m[TYPE].at, &type);
    }
    for (int i = 0; i < N_MODEL; ++i) m[i] = (member){.name = names[i]};
    L2_TRY(find_members(&json, "the model", m, N_MODEL));
    if (!m[VOCAB].found || !m[MERGES].found)
        return l2_fail(LLAMA2_E_FORMAT, "the model has no \"%s\"", m[VOCAB].found ? "merges" : "vocab");
    if (!is_null(&m[DROPOUT])) {
        double dropout;
        L2_TRY(l2_json_read_double(&m[DROPOUT].at, &dropout));
        if (dropout != 0) return l2_fail(LLAMA2_E_UNSUPPORTED, "\"dropout\" of merges is not supported");
    }
    L2_TRY(expect_empty(&m[PREFIX]));
    L2_TRY(expect_empty(&m[SUFFIX]));
    return read_flag(m[BYTE_FALLBACK], 0, fallback);
}

/* A byte without a piece becomes the piece that the file names for it, if any. */
static llama2_status read_unknown(llama2_tokenizer *tok, member *name, member fuse)
{
    l2_json_string string;
    int fuses;
    if (is_null(name)) return LLAMA2_OK;
    L2_TRY(l2_json_read_string(&name->at, &string));
    if (string.length == 0) return LLAMA2_OK;
    L2_TRY(find_special(tok, &string, &tok->unk));
    if (tok->unk < 0 || !tok->lacks_bytes) return LLAMA2_OK;
    L2_TRY(read_flag(fuse, 0, &fuses));
    if (fuses) return l2_fail(LLAMA2_E_UNSUPPORTED, "\"fuse_unk\" is not supported");
    for (int i = 0; i < 256; ++i)
        if (tok->byte_ids[i] < 0) tok->byte_ids[i] = tok->unk;
    tok->lacks_bytes = 0;
    return LLAMA2_OK;
}

/* --- SentencePiece's BPE in a tokenizer.json ------------------------------------------------- */

/* Do the members of an object have these texts? A list of (name, text), NULL at its end. */
static llama2_status has_texts(l2_json json, const char *const *pairs, int *yes)
{
    for (*yes = 1; *yes && *pairs; pairs += 2) {
        member m = {.name = pairs[0]};
        l2_json_string text;
        l2_json whole = json;
        int type;
        L2_TRY(find_members(&whole, NULL, &m, 1));
        if (!m.found) break;
        L2_TRY(l2_json_peek(&m.at, &type));
        if (type != L2_JSON_STRING) break;
        L2_TRY(l2_json_read_string(&m.at, &text));
        *yes = l2_json_equal(&text, pairs[1]);
    }
    *yes = *yes && !*pairs;
    return LLAMA2_OK;
}

/* A Sequence whose steps have these texts. */
static llama2_status expect_steps(member *section, const char *list, const char *const expected[][5], int n)
{
    member m = {.name = list};
    int more, yes = 0;
    if (!is_null(section)) {
        l2_json whole = section->at;
        L2_TRY(find_members(&whole, NULL, &m, 1));
    }
    if (m.found) L2_TRY(l2_json_enter(&m.at, L2_JSON_ARRAY));
    for (int i = 0; m.found && i <= n; ++i) {
        L2_TRY(l2_json_next_element(&m.at, &more));
        yes = more == (i < n);
        if (!yes || !more) break;
        L2_TRY(has_texts(m.at, expected[i], &yes));
        if (!yes) break;
        L2_TRY(l2_json_skip(&m.at));
    }
    return yes ? LLAMA2_OK
               : l2_fail(LLAMA2_E_UNSUPPORTED, "byte %zu: with \"byte_fallback\" only the %s of Llama 2 are supported",
                         section->at.at, list);
}

/* What stands around Llama 2's pieces: spaces become U+2581, one more goes before a text; decoding undoes it. */
static llama2_status expect_sentencepiece(member *normaliser, member *pre, member *decoder)
{
    static const char *const normalisers[][5] = {{"type", "Prepend", "prepend", L2_SPACE, NULL},
                                                 {"type", "Replace", "content", L2_SPACE, NULL}};
    static const char *const decoders[][5] = {
        {"type", "Replace", "content", " ", NULL}, {"type", "ByteFallback"}, {"type", "Fuse"}, {"type", "Strip"}};
    L2_TRY(expect_steps(normaliser, "normalizers", normalisers, 2));
    L2_TRY(expect_type(pre, "pre_tokenizer", NULL));
    return expect_steps(decoder, "decoders", decoders, 4);
}

/*
 * The merges of such a file are all ways to make each piece of two, in the order of the pieces' scores. So the scores
 * come back from the ranks, if that is what the merges are: all of a piece in a row, and none missing.
 */
static llama2_status scores_from_merges(llama2_tokenizer *tok, int32_t *n_merges)
{
    float score;
    for (int32_t id = 0; id < tok->n_pieces; ++id) tok->scores[id] = -(float)tok->n_pairs;
    for (uint32_t i = 0; i < tok->n_pair_slots; ++i) {
        const l2_pair *pair = &tok->pairs[i];
        if (pair->left < 0) continue;
        ++n_merges[pair->joined];
        if (pair->score > tok->scores[pair->joined]) tok->scores[pair->joined] = pair->score;
    }
    for (uint32_t i = 0; i < tok->n_pair_slots; ++i) {
        const l2_pair *pair = &tok->pairs[i];
        if (pair->left >= 0 && tok->scores[pair->joined] - pair->score >= (float)n_merges[pair->joined])
            return l2_fail(LLAMA2_E_UNSUPPORTED, "merge %d is apart from the others that make piece %d",
                           (int)-pair->score, (int)pair->joined);
    }
    for (int32_t id = 0; id < tok->n_pieces; ++id) {
        if (!l2_piece_is_text(tok, id)) continue;
        const char *text = tok->bytes + tok->offsets[id];
        size_t length = l2_piece_length(tok, id);
        for (size_t n = l2_char_length((unsigned char)text[0]); n < length;
             n += l2_char_length((unsigned char)text[n])) {
            int32_t left = l2_vocabulary_find_text(tok, text, n),
                    right = l2_vocabulary_find_text(tok, text + n, length - n);
            if (left >= 0 && right >= 0 && l2_merges_find(tok, left, right, &score) != id)
                return l2_fail(LLAMA2_E_UNSUPPORTED, "no merge makes piece %d of pieces %d and %d", (int)id, (int)left,
                               (int)right);
        }
    }
    return LLAMA2_OK;
}

static llama2_status copy_name(const llama2_tokenizer *tok, int32_t id, const char *otherwise, char **out)
{
    const char *text = id >= 0 ? tok->bytes + tok->offsets[id] : otherwise;
    return l2_strndup(tok->ctx, text, strlen(text), out);
}

static llama2_status finish_sentencepiece(llama2_tokenizer *tok)
{
    int32_t *n_merges;
    int adds_bos = tok->adds_bos;
    L2_TRY(l2_calloc(tok->ctx, (size_t)tok->n_pieces, sizeof *n_merges, &n_merges));
    llama2_status status = scores_from_merges(tok, n_merges);
    l2_free(tok->ctx, n_merges);
    L2_TRY(status);
    l2_free(tok->ctx, tok->pairs);
    tok->pairs = NULL;
    tok->n_pairs = tok->n_pair_slots = 0;
    tok->byte_fallback = 1;
    tok->remove_extra_whitespaces = 0;
    L2_TRY(copy_name(tok, tok->bos, "<s>", &tok->bos_piece));
    L2_TRY(copy_name(tok, tok->eos, "</s>", &tok->eos_piece));
    L2_TRY(copy_name(tok, tok->pad, "<pad>", &tok->pad_piece));
    L2_TRY(l2_strndup(tok->ctx, " \xE2\x81\x87 ", 5, &tok->unk_surface));
    L2_TRY(l2_vocabulary_finish(tok));
    tok->adds_bos = adds_bos;
    return LLAMA2_OK;
}

/* Types that the file does not tell: bytes by their form, unk by its name. */
static llama2_status type_sentencepiece(listing *list, member *unk)
{
    static const char digits[] = "0123456789ABCDEF";
    l2_json_string name, text;
    if (is_null(unk)) return l2_fail(LLAMA2_E_UNSUPPORTED, "\"byte_fallback\" without \"unk_token\" is not supported");
    L2_TRY(l2_json_read_string(&unk->at, &name));
    for (size_t id = 0; id < list->n; ++id) {
        L2_TRY(string_at(list, (int64_t)id, &text));
        if (list->types[id] == LLAMA2_PIECE_USER_DEFINED)
            return l2_fail(LLAMA2_E_UNSUPPORTED,
                           "byte %zu: an added piece that is not special is not supported with \"byte_fallback\"",
                           list->at[id]);
        if (text.length == name.length && memcmp(text.text, name.text, name.length) == 0)
            list->types[id] = LLAMA2_PIECE_UNKNOWN;
        else if (text.length == 6 && memcmp(text.text, "<0x", 3) == 0 && memchr(digits, text.text[3], 16) &&
                 memchr(digits, text.text[4], 16) && text.text[5] == '>')
            list->types[id] = LLAMA2_PIECE_BYTE;
    }
    return LLAMA2_OK;
}

enum { VERSION, ADDED, NORMALIZER, PRE, POST, DECODER, MODEL, N_SECTIONS };

static llama2_status read_sections(l2_json *json, member s[N_SECTIONS])
{
    static const char *const names[] = {"version",        "added_tokens", "normalizer", "pre_tokenizer",
                                        "post_processor", "decoder",      "model"};
    l2_json_string version;
    for (int i = 0; i < N_SECTIONS; ++i) s[i] = (member){.name = names[i]};
    L2_TRY(find_members(json, NULL, s, N_SECTIONS));
    L2_TRY(l2_json_end(json));
    if (!s[MODEL].found) return l2_fail(LLAMA2_E_FORMAT, "no \"model\"; this is not a tokenizer.json");
    if (is_null(&s[VERSION])) return LLAMA2_OK;
    L2_TRY(l2_json_read_string(&s[VERSION].at, &version));
    return l2_json_equal(&version, "1.0") ? LLAMA2_OK : unsupported("version", &s[VERSION].at, &version);
}

static llama2_status fill(llama2_tokenizer *tok, const listing *list, member m[N_MODEL], const l2_json_string *bos,
                          const char *config, size_t config_size)
{
    L2_TRY(add_pieces(tok, list));
    L2_TRY(read_merges(m[MERGES].at, tok));
    if (tok->pretokenizer) {
        L2_TRY(read_flag(m[IGNORE_MERGES], 0, &tok->ignore_merges));
        L2_TRY(l2_byte_level_finish(tok));
        L2_TRY(read_unknown(tok, &m[UNK_TOKEN], m[FUSE_UNK]));
    }
    if (config) {
        llama2_status status = read_config(tok, config, config_size);
        if (status < 0) return l2_fail_in(status, "tokenizer_config.json");
    }
    if (bos->text) {
        L2_TRY(find_special(tok, bos, &tok->bos));
        if (tok->bos < 0) return l2_fail(LLAMA2_E_FORMAT, "the post_processor names a special piece that there is not");
        tok->adds_bos = 1;
    }
    if (!config) guess_specials(tok);
    return LLAMA2_OK;
}

static llama2_status read_all(llama2_context *ctx, l2_json *json, const char *config, size_t config_size,
                              const llama2_tokenizer_options *options, listing *list, llama2_tokenizer **out)
{
    member s[N_SECTIONS], m[N_MODEL];
    l2_json_string bos = {NULL, 0, 0};
    int pretokenizer = L2_PRETOKENIZER_NONE, fallback;
    L2_TRY(read_sections(json, s));
    L2_TRY(read_model(s[MODEL].at, m, &fallback));
    if (fallback) {
        L2_TRY(expect_sentencepiece(&s[NORMALIZER], &s[PRE], &s[DECODER]));
    } else {
        L2_TRY(expect_type(&s[NORMALIZER], "normalizer", NULL));
        L2_TRY(read_pre_tokenizer(&s[PRE], &pretokenizer));
        L2_TRY(expect_type(&s[DECODER], "decoder", "ByteLevel"));
    }
    L2_TRY(read_post_processor(&s[POST], &bos));
    L2_TRY(list_pieces(ctx, &m[VOCAB], &s[ADDED], options, list));
    if (fallback) L2_TRY(type_sentencepiece(list, &m[UNK_TOKEN]));
    L2_TRY(l2_vocabulary_begin(ctx, (int32_t)list->n, list->bytes, out));
    (*out)->pretokenizer = pretokenizer;
    L2_TRY(fill(*out, list, m, &bos, config, config_size));
    return fallback ? finish_sentencepiece(*out) : LLAMA2_OK;
}

llama2_status l2_tokenizer_json_read(llama2_context *ctx, const char *data, size_t size, const char *config,
                                     size_t config_size, const llama2_tokenizer_options *options,
                                     llama2_tokenizer **out)
{
    listing list = {.text = data, .size = size};
    llama2_tokenizer *tok = NULL;
    l2_json json;
    llama2_status status;
    *out = NULL;
    if (size > options->max_bytes)
        return l2_fail(LLAMA2_E_LIMIT, "tokenizer.json: %zu bytes; llama2_tokenizer_options.max_bytes allows %llu",
                       size, (unsigned long long)options->max_bytes);
    l2_json_begin(&json, data, size);
    L2_CHECK(read_all(ctx, &json, config, config_size, options, &list, &tok));
    *out = tok;
    tok = NULL;
done:
    l2_vocabulary_free(tok);
    l2_free(ctx, list.at);
    l2_free(ctx, list.types);
    return status < 0 ? l2_fail_in(status, "tokenizer.json") : status;
}
