/* tokenizer_config.json: the names of special pieces, the chat template. */
#include "base/alloc.h"
#include "tokenizer/tokenizer_json.h"
#include <string.h>

llama2_status l2_find_special(const llama2_tokenizer *tok, const l2_json_string *string, int32_t *id)
{
    char text[L2_MAX_PIECE];
    size_t n;
    L2_TRY(l2_unescape_piece(string, text, &n));
    *id = n ? l2_vocabulary_find(tok, text, n) : -1;
    if (*id >= 0 && tok->types[*id] != LLAMA2_PIECE_CONTROL && tok->types[*id] != LLAMA2_PIECE_UNKNOWN) *id = -1;
    return LLAMA2_OK;
}

/* "text", {"content": "text", ...} or null. */
static llama2_status read_special(const llama2_tokenizer *tok, l2_member *m, int32_t *id)
{
    l2_member content = {.name = "content"};
    l2_json_string string;
    int type;
    if (l2_member_is_null(m)) return LLAMA2_OK;
    L2_TRY(l2_json_peek(&m->at, &type));
    if (type == L2_JSON_OBJECT) {
        L2_TRY(l2_find_members(&m->at, NULL, &content, 1));
        if (l2_member_is_null(&content)) return LLAMA2_OK;
        m = &content;
    }
    L2_TRY(l2_json_read_string(&m->at, &string));
    return l2_find_special(tok, &string, id);
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
static llama2_status read_template_setting(llama2_tokenizer *tok, l2_member *m)
{
    int type, more;
    if (l2_member_is_null(m)) return LLAMA2_OK;
    L2_TRY(l2_json_peek(&m->at, &type));
    if (type == L2_JSON_STRING) return set_template(tok, &m->at);
    L2_TRY(l2_json_enter(&m->at, L2_JSON_ARRAY));
    for (;;) {
        l2_member part[] = {{.name = "name"}, {.name = "template"}};
        l2_json_string name;
        L2_TRY(l2_json_next_element(&m->at, &more));
        if (!more) return LLAMA2_OK;
        L2_TRY(l2_find_members(&m->at, NULL, part, 2));
        if (!part[0].found || !part[1].found) continue;
        L2_TRY(l2_json_read_string(&part[0].at, &name));
        if (l2_json_equal(&name, "default")) return set_template(tok, &part[1].at);
    }
}

llama2_status l2_tokenizer_config_read(llama2_tokenizer *tok, const char *config, size_t size)
{
    l2_member m[] = {{.name = "bos_token"}, {.name = "eos_token"},     {.name = "pad_token"},
                     {.name = "unk_token"}, {.name = "chat_template"}, {.name = "add_bos_token"}};
    l2_json json;
    int adds;
    l2_json_begin(&json, config, size);
    L2_TRY(l2_find_members(&json, NULL, m, 6));
    L2_TRY(l2_json_end(&json));
    L2_TRY(read_special(tok, &m[0], &tok->bos));
    L2_TRY(read_special(tok, &m[1], &tok->eos));
    L2_TRY(read_special(tok, &m[2], &tok->pad));
    L2_TRY(read_special(tok, &m[3], &tok->unk));
    L2_TRY(l2_member_flag(m[5], 0, &adds));
    tok->adds_bos = adds && tok->bos >= 0;
    return read_template_setting(tok, &m[4]);
}

llama2_status l2_tokenizer_config_template(llama2_tokenizer *tok, const char *config, size_t size)
{
    l2_member m = {.name = "chat_template"};
    l2_json json;
    l2_json_begin(&json, config, size);
    llama2_status status = l2_find_members(&json, NULL, &m, 1);
    if (status == LLAMA2_OK) status = l2_json_end(&json);
    if (status == LLAMA2_OK) status = read_template_setting(tok, &m);
    return status < 0 ? l2_fail_in(status, "tokenizer_config.json") : status;
}

void l2_guess_specials(llama2_tokenizer *tok)
{
    static const char *const begins[] = {"<|begin_of_text|>", "<|endoftext|>", "<s>"};
    static const char *const ends[] = {"<|end_of_text|>", "<|endoftext|>", "</s>"};
    for (size_t i = 0; i < 3; ++i) {
        if (tok->bos < 0) tok->bos = l2_vocabulary_find_control(tok, begins[i]);
        if (tok->eos < 0) tok->eos = l2_vocabulary_find_control(tok, ends[i]);
    }
}
