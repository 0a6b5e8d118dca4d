/* Chat formats: that of Llama 2 (appendix A.2), token for token as in Meta's reference, and ChatML as in SmolLM2. */
#include "base/alloc.h"
#include "base/utf8.h"
#include "tokenizer/tokenizer.h"
#include <math.h>
#include <string.h>

typedef struct span {
    const char *text;
    size_t length;
} span;

static span message(const llama2_chat *chat, int32_t i)
{
    return (span){chat->texts[i], chat->lengths ? chat->lengths[i] : strlen(chat->texts[i])};
}

/* White space as Python's str.strip() sees it, since the reference uses that. */
static int is_white(uint32_t c)
{
    return (c >= 9 && c <= 13) || (c >= 0x1C && c <= 0x20) || c == 0x85 || c == 0xA0 || c == 0x1680 ||
           (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 || c == 0x202F || c == 0x205F || c == 0x3000;
}

static span strip(span s)
{
    uint32_t c;
    int n;
    while ((n = l2_utf8_decode(s.text, s.length, &c)) > 0 && is_white(c)) {
        s.text += n;
        s.length -= (size_t)n;
    }
    while (s.length) {
        size_t back = 1; /* a character's lead byte is at most 4 bytes back */
        while (back < 4 && back < s.length && ((unsigned char)s.text[s.length - back] & 0xC0) == 0x80) ++back;
        n = l2_utf8_decode(s.text + s.length - back, back, &c);
        if (n != (int)back || !is_white(c)) break;
        s.length -= back;
    }
    return s;
}

static const char *role_name(int32_t role)
{
    return role == LLAMA2_ROLE_SYSTEM      ? "system"
           : role == LLAMA2_ROLE_USER      ? "user"
           : role == LLAMA2_ROLE_ASSISTANT ? "assistant"
                                           : "unknown";
}

static llama2_status check_roles(const llama2_chat *chat, uint32_t flags)
{
    int32_t first = chat->n_messages > 0 && chat->roles[0] == LLAMA2_ROLE_SYSTEM ? 1 : 0;
    for (int32_t i = first; i < chat->n_messages; ++i) {
        int32_t expected = (i - first) % 2 ? LLAMA2_ROLE_ASSISTANT : LLAMA2_ROLE_USER;
        if (chat->roles[i] != expected)
            return l2_fail(LLAMA2_E_INVALID,
                           "chat: message %d has the role %s (%d), expected %s; the order is an optional system "
                           "message, then user and assistant in turn",
                           (int)i, role_name(chat->roles[i]), (int)chat->roles[i], role_name(expected));
    }
    int32_t last = flags & LLAMA2_CHAT_COMPLETE ? LLAMA2_ROLE_ASSISTANT : LLAMA2_ROLE_USER;
    if (chat->n_messages <= first)
        return l2_fail(LLAMA2_E_INVALID,
                       "chat: no user message; a dialogue begins with one, after an optional system message");
    if (chat->roles[chat->n_messages - 1] != last)
        return l2_fail(LLAMA2_E_INVALID,
                       "chat: the last message is %s's, expected %s: LLAMA2_CHAT_COMPLETE is for dialogues that end "
                       "with an answer, and only for them",
                       role_name(chat->roles[chat->n_messages - 1]), role_name(last));
    return LLAMA2_OK;
}

static const char *find(span s, const char *marker)
{
    size_t n = strlen(marker);
    while (s.length >= n) {
        const char *at = memchr(s.text, marker[0], s.length - n + 1);
        if (!at) return NULL;
        if (memcmp(at, marker, n) == 0) return at;
        s.length -= (size_t)(at + 1 - s.text);
        s.text = at + 1;
    }
    return NULL;
}

/* The control pieces by their texts: those can't become pieces here, but would where text is encoded otherwise. */
static const char *const llama2_markers[] = {"[INST]", "[/INST]", "<<SYS>>", "<</SYS>>", NULL};
static const char *const ml_markers[] = {"<|im_start|>", "<|im_end|>", NULL};

static llama2_status check_texts(const llama2_chat *chat, const char *const *markers)
{
    for (int32_t i = 0; i < chat->n_messages; ++i) {
        if (!chat->texts[i] && !(chat->lengths && chat->lengths[i] == 0))
            return l2_fail(LLAMA2_E_INVALID, "chat: text of message %d is NULL", (int)i);
        if (chat->loss_weights && !(isfinite(chat->loss_weights[i]) && chat->loss_weights[i] >= 0))
            return l2_fail(LLAMA2_E_INVALID, "chat: loss weight of message %d is %g, expected a finite number >= 0",
                           (int)i, (double)chat->loss_weights[i]);
        span s = message(chat, i);
        for (size_t k = 0; markers[k]; ++k) {
            const char *at = find(s, markers[k]);
            if (at)
                return l2_fail(LLAMA2_E_INJECTION,
                               "chat: message %d (%s) has the marker %s at byte %zu; texts may not hold markers of the "
                               "chat format",
                               (int)i, role_name(chat->roles[i]), markers[k], (size_t)(at - s.text));
        }
    }
    return LLAMA2_OK;
}

static char *put(char *to, span s)
{
    if (s.length) memcpy(to, s.text, s.length);
    return to + s.length;
}

static char *put_text(char *to, const char *text)
{
    return put(to, (span){text, strlen(text)});
}

static void push(l2_ids *out, int32_t id)
{
    if (out->count < out->capacity) out->ids[out->count] = id;
    ++out->count;
}

static void fill(float *weights, int64_t capacity, int64_t from, int64_t to, float value)
{
    for (int64_t t = from; weights && t < to && t < capacity; ++t) weights[t] = value;
}

/* BOS "[INST] " strip(system + user) " [/INST]", and if there is an answer " " strip(answer) " " EOS. `room` holds it
 * all. */
static llama2_status encode_pair(const llama2_tokenizer *tok, const span *system, span user, const span *answer,
                                 float weight, char *room, l2_ids *out, float *weights)
{
    int64_t begin = out->count, n_prompt;
    char *to = put_text(room, "[INST] "), *prompt = to;
    if (system) to = put_text(put(put_text(to, "<<SYS>>\n"), *system), "\n<</SYS>>\n\n");
    to = put(to, user);
    span stripped = strip((span){prompt, (size_t)(to - prompt)});
    memmove(prompt, stripped.text, stripped.length);
    to = put_text(prompt + stripped.length, " [/INST]");
    size_t mark = (size_t)(to - room);
    if (answer) to = put_text(put(put_text(to, " "), strip(*answer)), " ");
    push(out, tok->bos);
    L2_TRY(l2_encode(tok, room, (size_t)(to - room), out, mark, &n_prompt));
    if (answer) push(out, tok->eos);
    fill(weights, out->capacity, begin, n_prompt, 0);
    fill(weights, out->capacity, n_prompt, out->count, weight);
    return LLAMA2_OK;
}

static llama2_status encode_llama2(const llama2_tokenizer *tok, const llama2_chat *chat, l2_ids *out, float *weights)
{
    if (tok->bos < 0 || tok->eos < 0)
        return l2_fail(LLAMA2_E_STATE, "chat: the vocabulary has no %s piece, which the format needs",
                       tok->bos < 0 ? "BOS" : "EOS");
    size_t longest[3] = {0, 0, 0};
    for (int32_t i = 0; i < chat->n_messages; ++i) {
        size_t n = message(chat, i).length;
        if (n > longest[chat->roles[i]]) longest[chat->roles[i]] = n;
    }
    char *room;
    llama2_status status;
    L2_TRY(l2_alloc(tok->ctx, longest[0] + longest[1] + longest[2] + 64, 1, &room));
    int32_t first = chat->roles[0] == LLAMA2_ROLE_SYSTEM ? 1 : 0;
    span system = first ? message(chat, 0) : (span){NULL, 0};
    for (int32_t i = first; i < chat->n_messages; i += 2) {
        int answered = i + 1 < chat->n_messages;
        span answer = answered ? message(chat, i + 1) : (span){NULL, 0};
        float weight = answered && chat->loss_weights ? chat->loss_weights[i + 1] : 1;
        L2_CHECK(encode_pair(tok, i == first && first ? &system : NULL, message(chat, i), answered ? &answer : NULL,
                             weight, room, out, weights));
    }
    status = LLAMA2_OK;
done:
    l2_free(tok->ctx, room);
    return status;
}

/* --- ChatML ---------------------------------------------------------------------------------- */

static int32_t ml_marker(const llama2_tokenizer *tok, int i)
{
    int32_t id = l2_vocabulary_find(tok, ml_markers[i], strlen(ml_markers[i]));
    return id >= 0 && tok->types[id] == LLAMA2_PIECE_CONTROL ? id : -1;
}

/*
 * "<|im_start|>" role "\n" text "<|im_end|>" "\n"; without `text` it ends after the first line end, where an answer
 * goes. The text and <|im_end|> weigh `weight`; `room` holds role and text.
 */
static llama2_status encode_ml_turn(const llama2_tokenizer *tok, const char *role, const span *text, float weight,
                                    char *room, l2_ids *out, float *weights)
{
    int64_t begin = out->count, n_prompt;
    char *to = put_text(put_text(room, role), "\n");
    size_t mark = (size_t)(to - room);
    if (text) to = put(to, *text);
    push(out, ml_marker(tok, 0));
    L2_TRY(l2_encode(tok, room, (size_t)(to - room), out, mark, &n_prompt));
    if (text) push(out, ml_marker(tok, 1));
    fill(weights, out->capacity, begin, n_prompt, 0);
    fill(weights, out->capacity, n_prompt, out->count, weight);
    begin = out->count;
    if (text) L2_TRY(l2_encode(tok, "\n", 1, out, SIZE_MAX, NULL));
    fill(weights, out->capacity, begin, out->count, 0);
    return LLAMA2_OK;
}

static llama2_status encode_ml_turns(const llama2_tokenizer *tok, const llama2_chat *chat, char *room, l2_ids *out,
                                     float *weights)
{
    if (tok->chat_system && chat->roles[0] != LLAMA2_ROLE_SYSTEM) {
        span system = {tok->chat_system, strlen(tok->chat_system)};
        L2_TRY(encode_ml_turn(tok, "system", &system, 0, room, out, weights));
    }
    for (int32_t i = 0; i < chat->n_messages; ++i) {
        span text = message(chat, i);
        float weight = chat->roles[i] != LLAMA2_ROLE_ASSISTANT ? 0 : chat->loss_weights ? chat->loss_weights[i] : 1;
        L2_TRY(encode_ml_turn(tok, role_name(chat->roles[i]), &text, weight, room, out, weights));
    }
    if (chat->roles[chat->n_messages - 1] == LLAMA2_ROLE_ASSISTANT) return LLAMA2_OK;
    return encode_ml_turn(tok, "assistant", NULL, 0, room, out, weights);
}

static llama2_status encode_ml(const llama2_tokenizer *tok, const llama2_chat *chat, l2_ids *out, float *weights)
{
    size_t longest = tok->chat_system ? strlen(tok->chat_system) : 0;
    char *room;
    for (int i = 0; i < 2; ++i)
        if (ml_marker(tok, i) < 0)
            return l2_fail(LLAMA2_E_STATE, "chat: the vocabulary has no control piece %s, which the format needs",
                           ml_markers[i]);
    for (int32_t i = 0; i < chat->n_messages; ++i)
        if (message(chat, i).length > longest) longest = message(chat, i).length;
    L2_TRY(l2_alloc(tok->ctx, longest + 32, 1, &room));
    llama2_status status = encode_ml_turns(tok, chat, room, out, weights);
    l2_free(tok->ctx, room);
    return status;
}

llama2_status l2_chat_encode(const llama2_tokenizer *tok, const llama2_chat *chat, uint32_t flags, l2_ids *out,
                             float *weights)
{
    if (tok->chat_format == L2_CHAT_UNKNOWN && !tok->chat_template)
        return l2_fail(LLAMA2_E_UNSUPPORTED, "chat: the model's files give no chat template");
    if (tok->chat_format == L2_CHAT_UNKNOWN)
        return l2_fail(LLAMA2_E_UNSUPPORTED,
                       "chat: the model's chat template is not known, only Llama 2's and ChatML; it begins \"%.*s\"",
                       120, tok->chat_template);
    L2_TRY(check_roles(chat, flags));
    L2_TRY(check_texts(chat, tok->chat_format == L2_CHAT_ML ? ml_markers : llama2_markers));
    return tok->chat_format == L2_CHAT_ML ? encode_ml(tok, chat, out, weights) : encode_llama2(tok, chat, out, weights);
}
