/* Dialogues: their check, and Llama 2's own format (appendix A.2), token for token as in Meta's reference. */
#include "tokenizer/chat.h"
#include "base/alloc.h"
#include "base/utf8.h"
#include <math.h>

/* White space as Python's str.strip() sees it, since the reference uses that. */
static int is_white(uint32_t c)
{
    return (c >= 9 && c <= 13) || (c >= 0x1C && c <= 0x20) || c == 0x85 || c == 0xA0 || c == 0x1680 ||
           (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 || c == 0x202F || c == 0x205F || c == 0x3000;
}

l2_span l2_chat_strip(l2_span s)
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

const char *l2_chat_role_name(int32_t role)
{
    return role == LLAMA2_ROLE_SYSTEM      ? "system"
           : role == LLAMA2_ROLE_USER      ? "user"
           : role == LLAMA2_ROLE_ASSISTANT ? "assistant"
                                           : "unknown";
}

llama2_status l2_chat_check_roles(const llama2_chat *chat, uint32_t flags)
{
    int32_t first = chat->n_messages > 0 && chat->roles[0] == LLAMA2_ROLE_SYSTEM ? 1 : 0;
    for (int32_t i = first; i < chat->n_messages; ++i) {
        int32_t expected = (i - first) % 2 ? LLAMA2_ROLE_ASSISTANT : LLAMA2_ROLE_USER;
        if (chat->roles[i] != expected)
            return l2_fail(LLAMA2_E_INVALID,
                           "chat: message %d has the role %s (%d), expected %s; the order is an optional system "
                           "message, then user and assistant in turn",
                           (int)i, l2_chat_role_name(chat->roles[i]), (int)chat->roles[i], l2_chat_role_name(expected));
    }
    int32_t last = flags & LLAMA2_CHAT_COMPLETE ? LLAMA2_ROLE_ASSISTANT : LLAMA2_ROLE_USER;
    if (chat->n_messages <= first)
        return l2_fail(LLAMA2_E_INVALID,
                       "chat: no user message; a dialogue begins with one, after an optional system message");
    if (chat->roles[chat->n_messages - 1] != last)
        return l2_fail(LLAMA2_E_INVALID,
                       "chat: the last message is %s's, expected %s: LLAMA2_CHAT_COMPLETE is for dialogues that end "
                       "with an answer, and only for them",
                       l2_chat_role_name(chat->roles[chat->n_messages - 1]), l2_chat_role_name(last));
    return LLAMA2_OK;
}

/* Is the marker at the start of the text, as the model would read it: without the bytes that the vocabulary lacks? */
static int begins_with(const llama2_tokenizer *tok, const char *text, const char *end, const char *marker)
{
    for (; *marker && text < end; ++text) {
        if (*text == *marker)
            ++marker;
        else if (!tok->lacks_bytes || tok->byte_ids[(unsigned char)*text] >= 0)
            return 0;
    }
    return !*marker;
}

static const char *find(const llama2_tokenizer *tok, l2_span s, const char *marker)
{
    if (s.length == 0) return NULL;
    const char *end = s.text + s.length;
    for (const char *at = s.text; at < end && (at = memchr(at, marker[0], (size_t)(end - at))); ++at)
        if (begins_with(tok, at, end, marker)) return at;
    return NULL;
}

/* Control pieces by their texts are among the markers: they can't become pieces here, but would where text is encoded
 * otherwise. */
static llama2_status check_markers(const llama2_tokenizer *tok, l2_span s, const char *const *markers, const char *what,
                                   int32_t index)
{
    for (size_t k = 0; markers[k]; ++k) {
        const char *at = find(tok, s, markers[k]);
        if (at)
            return l2_fail(LLAMA2_E_INJECTION,
                           "chat: message %d (%s) has the marker %s at byte %zu; texts may not hold markers of the "
                           "chat format",
                           (int)index, what, markers[k], (size_t)(at - s.text));
    }
    return LLAMA2_OK;
}

static llama2_status check_texts(const llama2_tokenizer *tok, const llama2_chat *chat, const char *const *markers,
                                 const char *end)
{
    const char *const ends[] = {end, NULL};
    if (chat->date) L2_TRY(check_markers(tok, l2_span_of(chat->date), markers, "the date", -1));
    for (int32_t i = 0; i < chat->n_messages; ++i) {
        if (!chat->texts[i] && !(chat->lengths && chat->lengths[i] == 0))
            return l2_fail(LLAMA2_E_INVALID, "chat: text of message %d is NULL", (int)i);
        if (chat->loss_weights && !(isfinite(chat->loss_weights[i]) && chat->loss_weights[i] >= 0))
            return l2_fail(LLAMA2_E_INVALID, "chat: loss weight of message %d is %g, expected a finite number >= 0",
                           (int)i, (double)chat->loss_weights[i]);
        l2_span s = l2_chat_message(chat, i);
        L2_TRY(check_markers(tok, s, markers, l2_chat_role_name(chat->roles[i]), i));
        L2_TRY(check_markers(tok, s, ends, l2_chat_role_name(chat->roles[i]), i));
    }
    return LLAMA2_OK;
}

static char *put_text(char *to, const char *text)
{
    return l2_chat_put(to, l2_span_of(text));
}

/* BOS "[INST] " strip(system + user) " [/INST]", and if there is an answer " " strip(answer) " " EOS. `room` holds it
 * all. */
static llama2_status encode_pair(const llama2_tokenizer *tok, const l2_span *system, l2_span user,
                                 const l2_span *answer, float weight, char *room, l2_ids *out, float *weights)
{
    int64_t begin = out->count, n_prompt;
    char *to = put_text(room, "[INST] "), *prompt = to;
    if (system) to = put_text(l2_chat_put(put_text(to, "<<SYS>>\n"), *system), "\n<</SYS>>\n\n");
    to = l2_chat_put(to, user);
    l2_span stripped = l2_chat_strip((l2_span){prompt, (size_t)(to - prompt)});
    memmove(prompt, stripped.text, stripped.length);
    to = put_text(prompt + stripped.length, " [/INST]");
    size_t mark = (size_t)(to - room);
    if (answer) to = put_text(l2_chat_put(put_text(to, " "), l2_chat_strip(*answer)), " ");
    l2_ids_push(out, tok->bos);
    L2_TRY(l2_encode(tok, room, (size_t)(to - room), out, mark, &n_prompt));
    if (answer) l2_ids_push(out, tok->eos);
    l2_chat_weigh(weights, out->capacity, begin, n_prompt, 0);
    l2_chat_weigh(weights, out->capacity, n_prompt, out->count, weight);
    return LLAMA2_OK;
}

static llama2_status encode_llama2(const llama2_tokenizer *tok, const llama2_chat *chat, l2_ids *out, float *weights)
{
    if (tok->bos < 0 || tok->eos < 0)
        return l2_fail(LLAMA2_E_STATE, "chat: the vocabulary has no %s piece, which the format needs",
                       tok->bos < 0 ? "BOS" : "EOS");
    size_t longest[3] = {0, 0, 0};
    for (int32_t i = 0; i < chat->n_messages; ++i) {
        size_t n = l2_chat_message(chat, i).length;
        if (n > longest[chat->roles[i]]) longest[chat->roles[i]] = n;
    }
    char *room;
    llama2_status status;
    L2_TRY(l2_alloc(tok->ctx, longest[0] + longest[1] + longest[2] + 64, 1, &room));
    int32_t first = chat->roles[0] == LLAMA2_ROLE_SYSTEM ? 1 : 0;
    l2_span system = first ? l2_chat_message(chat, 0) : (l2_span){NULL, 0};
    for (int32_t i = first; i < chat->n_messages; i += 2) {
        int answered = i + 1 < chat->n_messages;
        l2_span answer = answered ? l2_chat_message(chat, i + 1) : (l2_span){NULL, 0};
        float weight = answered && chat->loss_weights ? chat->loss_weights[i + 1] : 1;
        L2_CHECK(encode_pair(tok, i == first && first ? &system : NULL, l2_chat_message(chat, i),
                             answered ? &answer : NULL, weight, room, out, weights));
    }
    status = LLAMA2_OK;
done:
    l2_free(tok->ctx, room);
    return status;
}

static const char *const llama2_markers[] = {"[INST]", "[/INST]", "<<SYS>>", "<</SYS>>", NULL};

llama2_status l2_chat_encode(const llama2_tokenizer *tok, const llama2_chat *chat, uint32_t flags, l2_ids *out,
                             float *weights)
{
    if (tok->chat_format == L2_CHAT_UNKNOWN && !tok->chat_template)
        return l2_fail(LLAMA2_E_UNSUPPORTED, "chat: the model's files give no chat template");
    if (tok->chat_format == L2_CHAT_UNKNOWN)
        return l2_fail(LLAMA2_E_UNSUPPORTED,
                       "chat: the model's chat template is not known, only those of Llama 2, Llama 3, ChatML and "
                       "Zephyr; it begins \"%.*s\"",
                       120, tok->chat_template);
    L2_TRY(l2_chat_check_roles(chat, flags));
    if (tok->chat_format == L2_CHAT_LLAMA2) {
        L2_TRY(check_texts(tok, chat, llama2_markers, NULL));
        return encode_llama2(tok, chat, out, weights);
    }
    /* Zephyr's turns end with EOS. */
    const char *end = tok->chat_format == L2_CHAT_ZEPHYR && tok->eos >= 0 ? tok->bytes + tok->offsets[tok->eos] : NULL;
    L2_TRY(check_texts(tok, chat, l2_chat_turn_markers(tok), end));
    return l2_chat_encode_turns(tok, chat, flags, out, weights);
}
