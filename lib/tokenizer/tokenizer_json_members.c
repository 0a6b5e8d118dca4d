/* Objects of tokenizer.json: their members in any order, and flags, texts and types of them. */
#include "tokenizer/tokenizer_json.h"

llama2_status l2_find_members(l2_json *json, const char *what, l2_member *members, size_t n)
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

int l2_member_is_null(l2_member *m)
{
    int type;
    return !m->found || (l2_json_peek(&m->at, &type) == LLAMA2_OK && type == L2_JSON_NULL);
}

llama2_status l2_member_flag(l2_member m, int missing, int *out)
{
    *out = missing;
    return l2_member_is_null(&m) ? LLAMA2_OK : l2_json_read_bool(&m.at, out);
}

llama2_status l2_unescape_piece(const l2_json_string *string, char *text, size_t *length)
{
    if (l2_json_unescape(string, text, L2_MAX_PIECE, length) == LLAMA2_OK) return LLAMA2_OK;
    return l2_fail(LLAMA2_E_LIMIT, "a piece has %zu bytes, at most %d are possible", *length, L2_MAX_PIECE);
}

llama2_status l2_unsupported_setting(const char *section, const l2_json *json, const l2_json_string *name)
{
    return l2_fail(LLAMA2_E_UNSUPPORTED, "byte %zu: the %s \"%.*s\" is not supported", json->at, section,
                   (int)(name->length < 200 ? name->length : 200), name->text);
}

llama2_status l2_member_type(l2_member *type, const char *section, l2_json_string *name)
{
    if (type->found) return l2_json_read_string(&type->at, name);
    return l2_fail(LLAMA2_E_FORMAT, "a %s has no \"type\"", section);
}

llama2_status l2_expect_type(l2_member *m, const char *section, const char *only)
{
    l2_member type = {.name = "type"};
    l2_json_string name;
    if (l2_member_is_null(m))
        return only ? l2_fail(LLAMA2_E_UNSUPPORTED, "without the %s \"%s\" it is not supported", section, only)
                    : LLAMA2_OK;
    l2_json whole = m->at;
    L2_TRY(l2_find_members(&whole, NULL, &type, 1));
    L2_TRY(l2_member_type(&type, section, &name));
    return only && l2_json_equal(&name, only) ? LLAMA2_OK : l2_unsupported_setting(section, &type.at, &name);
}
