/* Which chat format a model's Jinja template is: by comparing with known ones, since no Jinja is run here. */
#include "base/alloc.h"
#include "base/utf8.h"
#include "tokenizer/tokenizer.h"
#include <string.h>

/* ChatML with a system message for dialogues that have none (SmolLM2): what stands before and after that message. */
#define ML_TURN                                                                                                        \
    "{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}{% endfor %}"               \
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
#define ML_LOOP "{% for message in messages %}"

static const char system_before[] =
    ML_LOOP "{% if loop.first and messages[0]['role'] != 'system' %}{{ '<|im_start|>system\n";
static const char system_after[] = "<|im_end|>\n' }}{% endif %}" ML_TURN;

/* Templates as a whole, compared without spaces: between a template's words they mean nothing, and these have none in
 * strings. Llama 3's first one puts the assistant's header after every dialogue. */
#define LLAMA3_TURN                                                                                                    \
    "{% set loop_messages = messages %}{% for message in loop_messages %}{% set content = '<|start_header_id|>' + "    \
    "message['role'] + '<|end_header_id|>\n\n' + message['content'] | trim + '<|eot_id|>' %}{% if loop.index0 == 0 "   \
    "%}{% set content = bos_token + content %}{% endif %}{{ content }}{% endfor %}"
#define LLAMA3_HEADER     "{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}"
#define LLAMA3_WHOLE      LLAMA3_TURN "{% if add_generation_prompt %}" LLAMA3_HEADER "{% endif %}"
#define ZEPHYR_TURN(role) "{{'<|" role "|>\n'+message['content']+eos_token}}\n"

static const struct known {
    const char *text;
    int32_t format;
} whole[] = {
    {"{%formessageinmessages%}{{'<|im_start|>'+message['role']+'\n'+message['content']+'<|im_end|>'+'\n'}}{%endfor%}"
     "{%ifadd_generation_prompt%}{{'<|im_start|>assistant\n'}}{%endif%}",
     L2_CHAT_ML},
    {LLAMA3_TURN LLAMA3_HEADER, L2_CHAT_LLAMA3},
    {LLAMA3_WHOLE, L2_CHAT_LLAMA3},
    {"{%formessageinmessages%}\n{%ifmessage['role']=='user'%}\n" ZEPHYR_TURN(
         "user") "{%elifmessage['role']=='system'%}\n" ZEPHYR_TURN("system") "{%elifmessage['role']=='assistant'%}"
                                                                             "\n" ZEPHYR_TURN("assistant") "{%endif%}"
                                                                                                           "\n{%ifloop."
                                                                                                           "lastandadd_"
                                                                                                           "generation_"
                                                                                                           "prompt%}\n{"
                                                                                                           "{'<|"
                                                                                                           "assistant|>"
                                                                                                           "'}}\n{%"
                                                                                                           "endif%}\n{%"
                                                                                                           "endfor%}",
     L2_CHAT_ZEPHYR},
};

/* What the template of Llama 3.1 to 3.3 says of a dialogue without tools, in this order, again without spaces. */
static const char *const llama31[] = {
    "{{-bos_token}}",
    "setdate_string=\"",
    "messages[0]['role']=='system'",
    "setsystem_message=messages[0]['content']|trim",
    "setsystem_message=\"\"",
    "{{-\"<|start_header_id|>system<|end_header_id|>\n\n\"}}",
    "{{-\"CuttingKnowledgeDate:December2023\n\"}}",
    "{{-\"TodayDate:\"+date_string+\"\n\n\"}}",
    "{{-system_message}}",
    "{{-\"<|eot_id|>\"}}",
    "formessageinmessages",
    "{{-'<|start_header_id|>'+message['role']+'<|end_header_id|>\n\n'+message['content']|trim+'<|eot_id|>'}}",
    "ifadd_generation_prompt",
    "{{-'<|start_header_id|>assistant<|end_header_id|>\n\n'}}",
};

/* The same template stands in files with line ends as such, or as Jinja's \n within strings. */
static size_t resolve_line_ends(char *text, size_t length)
{
    size_t n = 0;
    for (size_t i = 0; i < length; ++i) {
        int escape = text[i] == '\\' && i + 1 < length && text[i + 1] == 'n';
        text[n++] = escape ? '\n' : text[i];
        i += (size_t)escape;
    }
    while (n && text[n - 1] == '\n') --n;
    text[n] = 0;
    return n;
}

static void drop_spaces(char *text)
{
    char *to = text;
    for (; *text; ++text)
        if (*text != ' ') *to++ = *text;
    *to = 0;
}

static int is_known(const char *spaceless, const char *known)
{
    for (; *known; ++known)
        if (*known != ' ' && *spaceless++ != *known) return 0;
    return *spaceless == 0;
}

static int is_llama31(const char *spaceless)
{
    for (size_t i = 0; i < sizeof llama31 / sizeof *llama31; ++i) {
        spaceless = strstr(spaceless, llama31[i]);
        if (!spaceless) return 0;
        spaceless += strlen(llama31[i]);
    }
    return 1;
}

/* The date that the template has for a caller who names none. */
static llama2_status copy_date(llama2_tokenizer *tok, const char *text)
{
    static const char set[] = "set date_string = \"";
    const char *date = strstr(text, set), *end = date ? strchr(date + sizeof set - 1, '"') : NULL;
    if (!end) return LLAMA2_OK;
    date += sizeof set - 1;
    tok->chat_format = L2_CHAT_LLAMA3;
    return l2_strndup(tok->ctx, date, (size_t)(end - date), &tok->chat_date);
}

static llama2_status copy_system(llama2_tokenizer *tok, const char *text, size_t length)
{
    size_t before = sizeof system_before - 1, after = sizeof system_after - 1;
    if (length < before + after || memcmp(text, system_before, before) != 0 ||
        memcmp(text + length - after, system_after, after) != 0)
        return LLAMA2_OK;
    size_t n = length - before - after;
    if (n && (memchr(text + before, '\'', n) || memchr(text + before, '\\', n))) return LLAMA2_OK;
    tok->chat_format = L2_CHAT_ML;
    return l2_strndup(tok->ctx, text + before, n, &tok->chat_system);
}

/* text: with line ends resolved; lost. */
static llama2_status recognise(llama2_tokenizer *tok, char *text, size_t length)
{
    tok->chat_format = L2_CHAT_UNKNOWN;
    /* Llama 2's own template has been published in several wordings; its markers are in each. */
    if (!tok->pretokenizer && strstr(text, "[INST]") && strstr(text, "<<SYS>>")) tok->chat_format = L2_CHAT_LLAMA2;
    L2_TRY(copy_system(tok, text, length));
    if (tok->chat_format != L2_CHAT_UNKNOWN) return LLAMA2_OK;
    char *spaceless;
    L2_TRY(l2_strndup(tok->ctx, text, length, &spaceless));
    drop_spaces(spaceless);
    for (size_t i = 0; i < sizeof whole / sizeof *whole; ++i)
        if (is_known(spaceless, whole[i].text)) tok->chat_format = whole[i].format;
    llama2_status status = is_llama31(spaceless) ? copy_date(tok, text) : LLAMA2_OK;
    l2_free(tok->ctx, spaceless);
    return status;
}

/* As pieces: else no JSON file could hold it. */
static llama2_status check_text(const char *text, size_t length)
{
    const char *nul = length ? memchr(text, 0, length) : NULL;
    if (nul) return l2_fail(LLAMA2_E_FORMAT, "the chat template has a NUL at its byte %td", nul - text);
    size_t valid = l2_utf8_valid_prefix(text, length);
    if (valid == length) return LLAMA2_OK;
    return l2_fail(LLAMA2_E_FORMAT, "the chat template is not UTF-8 at its byte %zu", valid);
}

llama2_status l2_chat_template_set(llama2_tokenizer *tok, const char *text, size_t length)
{
    char *resolved;
    L2_TRY(check_text(text, length));
    l2_free(tok->ctx, tok->chat_template);
    l2_free(tok->ctx, tok->chat_system);
    l2_free(tok->ctx, tok->chat_date);
    tok->chat_template = tok->chat_system = tok->chat_date = NULL;
    L2_TRY(l2_strndup(tok->ctx, text, length, &tok->chat_template));
    L2_TRY(l2_strndup(tok->ctx, text, length, &resolved));
    llama2_status status = recognise(tok, resolved, resolve_line_ends(resolved, length));
    l2_free(tok->ctx, resolved);
    return status;
}

llama2_status l2_chat_template_llama3(llama2_tokenizer *tok)
{
    return l2_chat_template_set(tok, LLAMA3_WHOLE, sizeof LLAMA3_WHOLE - 1);
}

const char *l2_chat_name(const llama2_tokenizer *tok)
{
    static const char *const names[] = {[L2_CHAT_LLAMA2] = "Llama 2",
                                        [L2_CHAT_ML] = "ChatML",
                                        [L2_CHAT_LLAMA3] = "Llama 3",
                                        [L2_CHAT_ZEPHYR] = "Zephyr"};
    if (tok->chat_format != L2_CHAT_UNKNOWN) return names[tok->chat_format];
    return tok->chat_template ? "unknown" : "none";
}
