/*
 * Chat formats that are a row of turns, each with the role before its text: ChatML, Llama 3's, Zephyr's. A turn is
 *
 *     [open] before role [close] after text [end] tail
 *
 * with control pieces in brackets. What stands between two control pieces is one text, encoded as a whole.
 */
#include "base/alloc.h"
#include "tokenizer/chat.h"

typedef struct turn_format {
    const char *open, *before, *close, *after, *end, *tail; /* open, close NULL: no piece; end NULL: EOS */
    int begins;                                             /* BOS goes before the first turn */
    int strips;                                             /* Jinja's trim on each text */
    const char *markers[5];
} turn_format;

static const turn_format formats[] = {
    [L2_CHAT_ML] = {"<|im_start|>", "", NULL, "\n", "<|im_end|>", "\n", 0, 0, {"<|im_start|>", "<|im_end|>"}},
    [L2_CHAT_LLAMA3] = {"<|start_header_id|>",
                        "",
                        "<|end_header_id|>",
                        "\n\n",
                        "<|eot_id|>",
                        "",
                        1,
                        1,
                        {"<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"}},
    [L2_CHAT_ZEPHYR] = {NULL, "<|", NULL, "|>\n", NULL, "\n", 0, 0, {"<|system|>", "<|user|>", "<|assistant|>"}},
};

const char *const *l2_chat_turn_markers(const llama2_tokenizer *tok)
{
    return formats[tok->chat_format].markers;
}

/* A dialogue on its way into ids. */
typedef struct writer {
    const llama2_tokenizer *tok;
    const turn_format *format;
    int32_t open, close, end; /* ids, -1: no such piece */
    char *room;               /* the text since the last control piece */
    size_t length, mark;      /* from byte `mark` on it weighs `weight`, before it nothing */
    float weight;
    l2_ids *out;
    float *weights;
} writer;

static void put(writer *w, l2_span s)
{
    w->length = (size_t)(l2_chat_put(w->room + w->length, s) - w->room);
}

static llama2_status flush(writer *w)
{
    int64_t begin = w->out->count, n_before;
    if (w->length == 0) return LLAMA2_OK;
    if (w->mark > w->length) w->mark = w->length;
    L2_TRY(l2_encode(w->tok, w->room, w->length, w->out, w->mark, &n_before));
    l2_chat_weigh(w->weights, w->out->capacity, begin, n_before, 0);
    l2_chat_weigh(w->weights, w->out->capacity, n_before, w->out->count, w->weight);
    w->length = 0;
    w->mark = SIZE_MAX;
    return LLAMA2_OK;
}

static llama2_status control(writer *w, int32_t id, float weight)
{
    L2_TRY(flush(w));
    l2_ids_push(w->out, id);
    l2_chat_weigh(w->weights, w->out->capacity, w->out->count - 1, w->out->count, weight);
    return LLAMA2_OK;
}

/* A turn of a text in n parts; 0 parts: it ends where the text goes, for the model to go on. */
static llama2_status turn(writer *w, int32_t role, const l2_span *parts, size_t n, float weight)
{
    const turn_format *f = w->format;
    if (f->open) L2_TRY(control(w, w->open, 0));
    put(w, l2_span_of(f->before));
    put(w, l2_span_of(l2_chat_role_name(role)));
    if (f->close) L2_TRY(control(w, w->close, 0));
    put(w, l2_span_of(f->after));
    if (n == 0) return LLAMA2_OK;
    w->mark = w->length;
    w->weight = weight;
    for (size_t i = 0; i < n; ++i) put(w, parts[i]);
    L2_TRY(control(w, w->end, weight));
    put(w, l2_span_of(f->tail));
    return LLAMA2_OK;
}

/* The system message where there is one, or what the template says in its place. */
static llama2_status system_turn(writer *w, const l2_span *text, l2_span date)
{
    const llama2_tokenizer *tok = w->tok;
    if (tok->chat_date) {
        l2_span parts[] = {l2_span_of("Cutting Knowledge Date: December 2023\nToday Date: "), date, l2_span_of("\n\n"),
                           text ? *text : (l2_span){NULL, 0}};
        return turn(w, LLAMA2_ROLE_SYSTEM, parts, 4, 0);
    }
    l2_span otherwise = l2_span_of(tok->chat_system ? tok->chat_system : "");
    if (text || tok->chat_system) return turn(w, LLAMA2_ROLE_SYSTEM, text ? text : &otherwise, 1, 0);
    return LLAMA2_OK;
}

static llama2_status write_turns(writer *w, const llama2_chat *chat, uint32_t flags, l2_span date)
{
    int32_t first = chat->roles[0] == LLAMA2_ROLE_SYSTEM;
    if (w->format->begins) L2_TRY(control(w, w->tok->bos, 0));
    for (int32_t i = first - 1; i < chat->n_messages; ++i) {
        l2_span text = i >= 0 ? l2_chat_message(chat, i) : (l2_span){NULL, 0};
        float weight = chat->loss_weights && i >= 0 ? chat->loss_weights[i] : 1;
        if (w->format->strips) text = l2_chat_strip(text);
        if (i < first)
            L2_TRY(system_turn(w, i == 0 ? &text : NULL, date));
        else
            L2_TRY(turn(w, chat->roles[i], &text, 1, chat->roles[i] == LLAMA2_ROLE_ASSISTANT ? weight : 0));
    }
    if (chat->roles[chat->n_messages - 1] != LLAMA2_ROLE_ASSISTANT) L2_TRY(turn(w, LLAMA2_ROLE_ASSISTANT, NULL, 0, 0));
    if (flags & LLAMA2_CHAT_TO_END) w->length = 0; /* the tail alone: the end's piece has flushed the answer */
    return flush(w);
}

static llama2_status find_control(const llama2_tokenizer *tok, const char *text, int32_t *id)
{
    *id = text ? l2_vocabulary_find_control(tok, text) : -1;
    if (!text || *id >= 0) return LLAMA2_OK;
    return l2_fail(LLAMA2_E_STATE, "chat: the vocabulary has no control piece %s, which the format needs", text);
}

llama2_status l2_chat_encode_turns(const llama2_tokenizer *tok, const llama2_chat *chat, uint32_t flags, l2_ids *out,
                                   float *weights)
{
    const turn_format *f = &formats[tok->chat_format];
    writer w = {.tok = tok, .format = f, .mark = SIZE_MAX, .out = out, .weights = weights};
    l2_span date = l2_span_of(chat->date ? chat->date : tok->chat_date ? tok->chat_date : "");
    size_t longest = tok->chat_system ? strlen(tok->chat_system) : 0;
    L2_TRY(find_control(tok, f->open, &w.open));
    L2_TRY(find_control(tok, f->close, &w.close));
    L2_TRY(find_control(tok, f->end, &w.end));
    if (!f->end) w.end = tok->eos;
    if (w.end < 0 || (f->begins && tok->bos < 0))
        return l2_fail(LLAMA2_E_STATE, "chat: the vocabulary has no %s piece, which the format needs",
                       w.end < 0 ? "EOS" : "BOS");
    for (int32_t i = 0; i < chat->n_messages; ++i)
        if (l2_chat_message(chat, i).length > longest) longest = l2_chat_message(chat, i).length;
    L2_TRY(l2_alloc(tok->ctx, longest + date.length + 128, 1, &w.room)); /* what stands around a text is shorter */
    llama2_status status = write_turns(&w, chat, flags, date);
    l2_free(tok->ctx, w.room);
    return status;
}
