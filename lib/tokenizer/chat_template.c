/* Which chat format a model's Jinja template is: by comparing with known ones, since no Jinja is run here. */
#include "base/alloc.h"
#include "tokenizer/tokenizer.h"
#include <string.h>

#define ML_TURN                                                                                                        \
    "{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}{% endfor %}"               \
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
#define ML_LOOP "{% for message in messages %}"

/* ChatML with a system message for dialogues that have none (SmolLM2): what stands before and after that message. */
static const char system_before[] =
    ML_LOOP "{% if loop.first and messages[0]['role'] != 'system' %}{{ '<|im_start|>system\n";
static const char system_after[] = "<|im_end|>\n' }}{% endif %}" ML_TURN;
static const char plain[] = ML_LOOP ML_TURN;

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
    return n;
}

static llama2_status recognise(llama2_tokenizer *tok, const char *text, size_t length)
{
    size_t before = sizeof system_before - 1, after = sizeof system_after - 1;
    tok->chat_format = L2_CHAT_UNKNOWN;
    if (length == sizeof plain - 1 && memcmp(text, plain, length) == 0) {
        tok->chat_format = L2_CHAT_ML;
    } else if (length >= before + after && memcmp(text, system_before, before) == 0 &&
               memcmp(text + length - after, system_after, after) == 0) {
        size_t n = length - before - after;
        if (n && (memchr(text + before, '\'', n) || memchr(text + before, '\\', n))) return LLAMA2_OK;
        tok->chat_format = L2_CHAT_ML;
        return l2_strndup(tok->ctx, text + before, n, &tok->chat_system);
    }
    return LLAMA2_OK;
}

llama2_status l2_chat_template_set(llama2_tokenizer *tok, const char *text, size_t length)
{
    char *resolved;
    l2_free(tok->ctx, tok->chat_template);
    l2_free(tok->ctx, tok->chat_system);
    tok->chat_template = tok->chat_system = NULL;
    L2_TRY(l2_strndup(tok->ctx, text, length, &tok->chat_template));
    L2_TRY(l2_strndup(tok->ctx, text, length, &resolved));
    llama2_status status = recognise(tok, resolved, resolve_line_ends(resolved, length));
    /* Llama 2's own template has been published in several wordings; its markers are in each. */
    if (status == LLAMA2_OK && !tok->pretokenizer && strstr(resolved, "[INST]") && strstr(resolved, "<<SYS>>"))
        tok->chat_format = L2_CHAT_LLAMA2;
    l2_free(tok->ctx, resolved);
    return status;
}
