/* How a tokenizer.json says that text is cut before merging, and what is put before it. */
#include "tokenizer/pretokenize.h"
#include "tokenizer/tokenizer_json.h"
#include <string.h>

/* The steps of a pre-tokeniser, one letter each: g ByteLevel that cuts, b ByteLevel that does not, 2 and 3 Split by the
 * expressions of GPT-2 and Llama 3, d Digits one by one. */
typedef struct steps {
    char letters[8];
    size_t n;
} steps;

static llama2_status read_split(l2_json json, char *step)
{
    l2_member m[] = {{.name = "type"}, {.name = "pattern"}, {.name = "behavior"}, {.name = "invert"}};
    l2_member regex = {.name = "Regex"};
    l2_json_string text, behaviour;
    int invert;
    L2_TRY(l2_find_members(&json, "the pre_tokenizer Split", m, 4));
    if (!m[1].found || !m[2].found) return l2_fail(LLAMA2_E_FORMAT, "Split has no pattern or no behavior");
    L2_TRY(l2_find_members(&m[1].at, "the pattern of Split", &regex, 1));
    if (!regex.found) return l2_fail(LLAMA2_E_FORMAT, "the pattern of Split has no Regex");
    L2_TRY(l2_json_read_string(&regex.at, &text));
    L2_TRY(l2_json_read_string(&m[2].at, &behaviour));
    L2_TRY(l2_member_flag(m[3], 0, &invert));
    *step = l2_json_equal(&text, L2_REGEX_GPT2) ? '2' : l2_json_equal(&text, L2_REGEX_LLAMA3) ? '3' : 0;
    if (!*step) return l2_unsupported_setting("regular expression", &regex.at, &text);
    if (!l2_json_equal(&behaviour, "Isolated") || invert)
        return l2_unsupported_setting("behavior of Split", &m[2].at, &behaviour);
    return LLAMA2_OK;
}

static llama2_status read_byte_level(l2_json json, char *step)
{
    l2_member m[] = {{.name = "type"}, {.name = "add_prefix_space"}, {.name = "trim_offsets"}, {.name = "use_regex"}};
    int prefix, cuts;
    L2_TRY(l2_find_members(&json, "the pre_tokenizer ByteLevel", m, 4));
    L2_TRY(l2_member_flag(m[1], 1, &prefix));
    L2_TRY(l2_member_flag(m[3], 1, &cuts));
    if (prefix)
        return l2_fail(LLAMA2_E_UNSUPPORTED, "the pre_tokenizer ByteLevel with add_prefix_space is not supported");
    *step = cuts ? 'g' : 'b';
    return LLAMA2_OK;
}

static llama2_status read_digits(l2_json json, char *step)
{
    l2_member m[] = {{.name = "type"}, {.name = "individual_digits"}};
    int individual;
    L2_TRY(l2_find_members(&json, "the pre_tokenizer Digits", m, 2));
    L2_TRY(l2_member_flag(m[1], 0, &individual));
    if (!individual)
        return l2_fail(LLAMA2_E_UNSUPPORTED, "the pre_tokenizer Digits without individual_digits is not supported");
    *step = 'd';
    return LLAMA2_OK;
}

static llama2_status read_step(l2_json json, steps *s)
{
    l2_member type = {.name = "type"};
    l2_json_string name;
    l2_json whole = json;
    char step = 0;
    L2_TRY(l2_find_members(&whole, NULL, &type, 1));
    L2_TRY(l2_member_type(&type, "pre_tokenizer", &name));
    if (l2_json_equal(&name, "ByteLevel"))
        L2_TRY(read_byte_level(json, &step));
    else if (l2_json_equal(&name, "Split"))
        L2_TRY(read_split(json, &step));
    else if (l2_json_equal(&name, "Digits"))
        L2_TRY(read_digits(json, &step));
    else
        return l2_unsupported_setting("pre_tokenizer", &type.at, &name);
    if (s->n == sizeof s->letters - 1)
        return l2_fail(LLAMA2_E_UNSUPPORTED, "a pre_tokenizer of more than %zu steps is not supported", s->n);
    s->letters[s->n++] = step;
    return LLAMA2_OK;
}

llama2_status l2_read_pre_tokenizer(l2_member *pre, int *pretokenizer)
{
    static const struct {
        const char *letters;
        int kind;
    } known[] = {{"g", L2_PRETOKENIZER_GPT2},
                 {"2b", L2_PRETOKENIZER_GPT2},
                 {"3b", L2_PRETOKENIZER_LLAMA3},
                 {"dg", L2_PRETOKENIZER_SMOLLM},
                 {"d2b", L2_PRETOKENIZER_SMOLLM}};
    l2_member m[] = {{.name = "type"}, {.name = "pretokenizers"}};
    l2_json_string name;
    steps s = {.n = 0};
    if (l2_member_is_null(pre)) return l2_fail(LLAMA2_E_UNSUPPORTED, "a BPE without a pre_tokenizer is not supported");
    l2_json whole = pre->at;
    L2_TRY(l2_find_members(&whole, NULL, m, 2));
    L2_TRY(l2_member_type(&m[0], "pre_tokenizer", &name));
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
    l2_member m[] = {{.name = "type"}, {.name = "single"}, {.name = "pair"}, {.name = "special_tokens"}};
    int more, after = 0;
    L2_TRY(l2_find_members(&json, "the post_processor TemplateProcessing", m, 4));
    if (!m[1].found) return l2_fail(LLAMA2_E_FORMAT, "TemplateProcessing has no \"single\"");
    L2_TRY(l2_json_enter(&m[1].at, L2_JSON_ARRAY));
    for (;;) {
        l2_member part[] = {{.name = "SpecialToken"}, {.name = "Sequence"}}, id = {.name = "id"};
        L2_TRY(l2_json_next_element(&m[1].at, &more));
        if (!more) return LLAMA2_OK;
        L2_TRY(l2_find_members(&m[1].at, "a part of TemplateProcessing", part, 2));
        if (part[1].found) {
            after = 1;
        } else if (!part[0].found || after || bos->text) {
            return l2_fail(LLAMA2_E_UNSUPPORTED,
                           "byte %zu: a post_processor that puts more than one special piece before a text is not "
                           "supported",
                           m[1].at.at);
        } else {
            L2_TRY(l2_find_members(&part[0].at, NULL, &id, 1));
            if (!id.found) return l2_fail(LLAMA2_E_FORMAT, "a SpecialToken of TemplateProcessing has no \"id\"");
            L2_TRY(l2_json_read_string(&id.at, bos));
        }
    }
}

/* ByteLevel changes offsets only. */
static llama2_status read_processor(l2_json json, l2_json_string *bos)
{
    l2_member type = {.name = "type"};
    l2_json_string name;
    l2_json whole = json;
    L2_TRY(l2_find_members(&whole, NULL, &type, 1));
    L2_TRY(l2_member_type(&type, "post_processor", &name));
    if (l2_json_equal(&name, "ByteLevel")) return LLAMA2_OK;
    if (l2_json_equal(&name, "TemplateProcessing")) return read_template(json, bos);
    return l2_unsupported_setting("post_processor", &type.at, &name);
}

llama2_status l2_read_post_processor(l2_member *post, l2_json_string *bos)
{
    l2_member m[] = {{.name = "type"}, {.name = "processors"}};
    l2_json_string name;
    int more;
    if (l2_member_is_null(post)) return LLAMA2_OK;
    l2_json whole = post->at;
    L2_TRY(l2_find_members(&whole, NULL, m, 2));
    L2_TRY(l2_member_type(&m[0], "post_processor", &name));
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
