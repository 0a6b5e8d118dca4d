#include "train/gatt.h"
#include "base/alloc.h"
#include "base/utf8.h"
#include "infer/generate.h"
#include "infer/stops.h"
#include "model/model.h"
#include "tokenizer/chat.h"
#include <inttypes.h>
#include <string.h>

/* --- dialogues ------------------------------------------------------------------------------- */

static int32_t turns_of(const llama2_gatt *g, int32_t dialogue)
{
    return (int32_t)(g->first[dialogue + 1] - g->first[dialogue]);
}

static l2_gatt_exchange *turn_of(const llama2_gatt *g, int32_t dialogue, int32_t turn)
{
    return &g->turns[g->first[dialogue] + turn];
}

/* Text i of an array of the host's. */
static l2_span host_text(const char *const *texts, const size_t *lengths, int64_t i)
{
    const char *text = texts ? texts[i] : NULL;
    return (l2_span){text, !text ? 0 : lengths ? lengths[i] : strlen(text)};
}

/* instruction "\n\n" message */
static llama2_status join(llama2_context *ctx, l2_span instruction, l2_span message, l2_gatt_text *out)
{
    out->length = instruction.length + 2 + message.length;
    L2_TRY(l2_alloc(ctx, out->length + 1, 1, &out->text));
    char *end = l2_chat_put(l2_chat_put(l2_chat_put(out->text, instruction), l2_span_of("\n\n")), message);
    *end = 0;
    return LLAMA2_OK;
}

static llama2_status copy(llama2_context *ctx, l2_span from, l2_gatt_text *out)
{
    out->length = from.length;
    return l2_strndup(ctx, from.text, from.length, &out->text);
}

static llama2_status copy_dialogue(llama2_gatt *g, const llama2_gatt_dialogues *from, int32_t d)
{
    l2_span instruction = host_text(from->instructions, from->instruction_lengths, d),
            kept = host_text(from->kept_instructions, from->kept_lengths, d);
    if (!kept.text) kept = instruction;
    if (instruction.length == 0 || kept.length == 0)
        return l2_fail(LLAMA2_E_INVALID, "gatt: the instruction of dialogue %" PRId32 " is NULL or empty", d);
    for (int32_t t = 0; t < turns_of(g, d); t++) {
        l2_gatt_exchange *turn = turn_of(g, d, t);
        l2_span message = host_text(from->messages, from->message_lengths, g->first[d] + t),
                answer = host_text(from->answers, from->answer_lengths, g->first[d] + t);
        if (!message.text)
            return l2_fail(LLAMA2_E_INVALID, "gatt: message %" PRId32 " of dialogue %" PRId32 " is NULL", t, d);
        turn->bare = instruction.length + 2;
        L2_TRY(join(g->ctx, instruction, message, &turn->message));
        if (answer.text) L2_TRY(copy(g->ctx, answer, &turn->answer));
        if (answer.text && t == turns_of(g, d) - 1) {
            return l2_fail(LLAMA2_E_INVALID,
                           "gatt: the last answer of dialogue %" PRId32 " is given; it is what is sampled and learnt",
                           d);
        }
        if (t == 0 && g->options.placement == LLAMA2_GATT_USER) L2_TRY(join(g->ctx, kept, message, &g->kept[d]));
    }
    return g->kept[d].text ? LLAMA2_OK : copy(g->ctx, kept, &g->kept[d]);
}

static void put_message(const llama2_gatt *g, llama2_chat *chat, int32_t role, const char *text, size_t length)
{
    g->roles[chat->n_messages] = role;
    g->texts[chat->n_messages] = text;
    g->lengths[chat->n_messages++] = length;
}

/* A dialogue up to message `turn`, which is to be answered: as it is sampled from, or as an example has it. */
static llama2_status encode(const llama2_gatt *g, int32_t d, int32_t turn, int example, l2_ids *out)
{
    llama2_chat chat = {.struct_size = sizeof chat, .roles = g->roles, .texts = g->texts, .lengths = g->lengths};
    const l2_gatt_text *kept = &g->kept[d];
    int in_message = example && g->options.placement == LLAMA2_GATT_USER;
    if (example && !in_message) put_message(g, &chat, LLAMA2_ROLE_SYSTEM, kept->text, kept->length);
    for (int32_t t = 0; t <= turn; t++) {
        const l2_gatt_exchange *at = turn_of(g, d, t);
        size_t from = example ? at->bare : 0;
        if (t == 0 && in_message)
            put_message(g, &chat, LLAMA2_ROLE_USER, kept->text, kept->length);
        else
            put_message(g, &chat, LLAMA2_ROLE_USER, at->message.text + from, at->message.length - from);
        if (t < turn)
            put_message(g, &chat, LLAMA2_ROLE_ASSISTANT, at->answer.text ? at->answer.text : "", at->answer.length);
    }
    llama2_status status = l2_chat_encode(g->tokenizer, &chat, 0, out, NULL);
    return status < 0 ? l2_fail_in(status, "gatt: dialogue %" PRId32, d) : LLAMA2_OK;
}

static llama2_status count(const llama2_gatt *g, int32_t d, int32_t turn, int example, int64_t *n)
{
    l2_ids ids = {.ids = NULL};
    L2_TRY(encode(g, d, turn, example, &ids));
    *n = ids.count;
    return LLAMA2_OK;
}

/* What can't become a prompt is told before anything is sampled. */
static llama2_status check_texts(const llama2_gatt *g)
{
    int64_t n;
    for (int32_t d = 0; d < g->n_dialogues; d++) {
        L2_TRY(count(g, d, turns_of(g, d) - 1, 0, &n));
        L2_TRY(count(g, d, turns_of(g, d) - 1, 1, &n));
    }
    return LLAMA2_OK;
}

static llama2_status check_dialogues(const llama2_gatt_dialogues *from, const llama2_gatt_options *o)
{
    if (o->placement != LLAMA2_GATT_SYSTEM && o->placement != LLAMA2_GATT_USER) {
        return l2_fail(LLAMA2_E_INVALID, "gatt: placement is %" PRId32 ", neither LLAMA2_GATT_SYSTEM nor _USER",
                       o->placement);
    }
    if (from->n_dialogues < 1 || !from->n_turns || !from->messages || !from->instructions) {
        return l2_fail(LLAMA2_E_INVALID,
                       "gatt: %" PRId32 " dialogues, or n_turns, messages or instructions is NULL; at least one is "
                       "needed",
                       from->n_dialogues);
    }
    for (int32_t d = 0; d < from->n_dialogues; d++) {
        if (from->n_turns[d] < 1 || from->n_turns[d] > INT32_MAX / 4) {
            return l2_fail(LLAMA2_E_INVALID, "gatt: dialogue %" PRId32 " has %" PRId32 " turns, expected 1 .. %" PRId32,
                           d, from->n_turns[d], INT32_MAX / 4);
        }
    }
    return LLAMA2_OK;
}

llama2_status l2_gatt_create(llama2_tokenizer *tokenizer, const llama2_gatt_dialogues *from,
                             const llama2_gatt_options *options, llama2_gatt **out)
{
    llama2_context *ctx = tokenizer->ctx;
    llama2_status status = LLAMA2_OK;
    llama2_gatt *g = NULL;
    size_t n = (size_t)from->n_dialogues, longest = 0;
    *out = NULL;
    L2_TRY(check_dialogues(from, options));
    L2_TRY(l2_calloc(ctx, 1, sizeof *g, &g));
    g->ctx = l2_context_retain(ctx);
    g->tokenizer = l2_tokenizer_retain(tokenizer);
    g->options = *options;
    g->temperature = 1;
    L2_CHECK(l2_calloc(ctx, n + 1, sizeof *g->first, &g->first));
    for (size_t d = 0; d < n; d++) {
        size_t turns = (size_t)from->n_turns[d];
        g->first[d + 1] = g->first[d] + from->n_turns[d];
        if (turns > longest) longest = turns;
    }
    L2_CHECK(l2_calloc(ctx, (size_t)g->first[n], sizeof *g->turns, &g->turns));
    L2_CHECK(l2_calloc(ctx, n, sizeof *g->kept, &g->kept));
    g->n_dialogues = from->n_dialogues;
    L2_CHECK(l2_calloc(ctx, n, sizeof *g->states, &g->states));
    L2_CHECK(l2_alloc(ctx, 2 * longest, sizeof *g->roles, &g->roles)); /* the last turn has no answer here */
    L2_CHECK(l2_alloc(ctx, 2 * longest, sizeof *g->texts, &g->texts));
    L2_CHECK(l2_alloc(ctx, 2 * longest, sizeof *g->lengths, &g->lengths));
    for (int32_t d = 0; d < g->n_dialogues; d++) L2_CHECK(copy_dialogue(g, from, d));
    L2_CHECK(check_texts(g));
    *out = g;
    g = NULL;
done:
    l2_gatt_free(g);
    return status;
}

static void free_answer(llama2_gatt *g, l2_gatt_exchange *turn)
{
    l2_free(g->ctx, turn->answer.text);
    l2_free(g->ctx, turn->tokens);
    turn->answer = (l2_gatt_text){NULL, 0};
    turn->tokens = NULL;
    turn->n_tokens = 0;
    turn->ended_by = 0;
}

void l2_gatt_free(llama2_gatt *g)
{
    if (!g) return;
    llama2_context *ctx = g->ctx;
    for (int64_t i = 0; i < (g->n_dialogues ? g->first[g->n_dialogues] : 0); i++) {
        l2_free(ctx, g->turns[i].message.text);
        free_answer(g, &g->turns[i]);
    }
    for (int32_t d = 0; d < g->n_dialogues; d++) l2_free(ctx, g->kept[d].text);
    void *rest[] = {g->first, g->turns, g->kept, g->states, g->roles, (void *)g->texts, g->lengths};
    for (size_t i = 0; i < sizeof rest / sizeof *rest; i++) l2_free(ctx, rest[i]);
    l2_tokenizer_release(g->tokenizer);
    l2_free(ctx, g);
    l2_context_release(ctx);
}

int32_t l2_gatt_turns_left(const llama2_gatt *g)
{
    int32_t most = 0;
    for (int32_t d = 0; d < g->n_dialogues; d++) {
        int32_t left = turns_of(g, d) - g->n_done;
        if (g->states[d] == LLAMA2_GATT_OPEN && left > most) most = left;
    }
    return most;
}

static llama2_status check_dialogue(const llama2_gatt *g, int32_t dialogue)
{
    if (dialogue >= 0 && dialogue < g->n_dialogues) return LLAMA2_OK;
    return l2_fail(LLAMA2_E_INVALID, "gatt: dialogue %" PRId32 " of %" PRId32 ", counted from 0", dialogue,
                   g->n_dialogues);
}

llama2_status l2_gatt_answer(const llama2_gatt *g, int32_t dialogue, int32_t turn, llama2_gatt_answer *answer)
{
    L2_TRY(check_dialogue(g, dialogue));
    if (turn < 0 || turn >= turns_of(g, dialogue)) {
        return l2_fail(LLAMA2_E_INVALID,
                       "gatt: turn %" PRId32 " of dialogue %" PRId32 ", which has %" PRId32 ", counted from 0", turn,
                       dialogue, turns_of(g, dialogue));
    }
    const l2_gatt_exchange *at = turn_of(g, dialogue, turn);
    *answer = (llama2_gatt_answer){
        .struct_size = sizeof *answer,
        .state = g->states[dialogue],
        .text = at->answer.text,
        .length = at->answer.length,
        .sampled = at->tokens != NULL,
        .ended_by = at->ended_by,
    };
    return LLAMA2_OK;
}

static llama2_status check_busy(const llama2_gatt *g)
{
    return g->busy ? l2_fail(LLAMA2_E_BUSY, "gatt: a turn is being sampled") : LLAMA2_OK;
}

llama2_status l2_gatt_drop(llama2_gatt *g, int32_t dialogue)
{
    L2_TRY(check_busy(g));
    L2_TRY(check_dialogue(g, dialogue));
    if (g->states[dialogue] == LLAMA2_GATT_OPEN) g->states[dialogue] = LLAMA2_GATT_DROPPED;
    return LLAMA2_OK;
}

/* --- a turn ---------------------------------------------------------------------------------- */

/* Is there an example that ends with this answer, if it is sampled? */
static int ends_example(const llama2_gatt *g, int32_t dialogue, int32_t turn)
{
    return g->options.every_turn || turn == turns_of(g, dialogue) - 1;
}

/* The prompts of one turn, and whose they are. */
typedef struct rows {
    int32_t n;
    int32_t *dialogues;
    uint64_t *ids;
    int64_t *offsets; /* n + 1 */
    int32_t *tokens;
    int64_t capacity;
} rows;

static llama2_status begin_rows(const llama2_gatt *g, rows *r)
{
    size_t n = (size_t)g->n_dialogues;
    *r = (rows){.n = 0};
    L2_TRY(l2_alloc(g->ctx, n, sizeof *r->dialogues, &r->dialogues));
    L2_TRY(l2_alloc(g->ctx, n, sizeof *r->ids, &r->ids));
    return l2_calloc(g->ctx, n + 1, sizeof *r->offsets, &r->offsets);
}

static void free_rows(const llama2_gatt *g, rows *r)
{
    l2_free(g->ctx, r->dialogues);
    l2_free(g->ctx, r->ids);
    l2_free(g->ctx, r->offsets);
    l2_free(g->ctx, r->tokens);
}

/* Room for n tokens more behind `used`. */
static llama2_status reserve(const llama2_gatt *g, int64_t used, int64_t n, int64_t *capacity, int32_t **tokens)
{
    if (used + n <= *capacity) return LLAMA2_OK;
    int64_t more = 2 * *capacity > used + n ? 2 * *capacity : used + n;
    L2_TRY(l2_realloc(g->ctx, (size_t)used, (size_t)more, sizeof **tokens, tokens));
    *capacity = more;
    return LLAMA2_OK;
}

/* The prompt of a dialogue as one more row, if it leaves room in `context`; else the dialogue is full. */
static llama2_status add_row(const llama2_gatt *g, int32_t d, int64_t context, uint64_t id, rows *r, uint8_t *state)
{
    int64_t n, used = r->offsets[r->n];
    L2_TRY(count(g, d, g->n_done, 0, &n));
    if (n >= context) {
        *state = LLAMA2_GATT_FULL;
        return LLAMA2_OK;
    }
    L2_TRY(reserve(g, used, n, &r->capacity, &r->tokens));
    l2_ids ids = {.ids = r->tokens + used, .capacity = n};
    L2_TRY(encode(g, d, g->n_done, 0, &ids));
    r->dialogues[r->n] = d;
    r->ids[r->n++] = id;
    r->offsets[r->n] = used + n;
    return LLAMA2_OK;
}

/* Can this be a message of a dialogue? */
static llama2_status find_markers(const llama2_gatt *g, const l2_gatt_text *answer, uint8_t *state)
{
    static const int32_t roles[] = {LLAMA2_ROLE_USER, LLAMA2_ROLE_ASSISTANT};
    const char *texts[] = {"", answer->text};
    const size_t lengths[] = {0, answer->length};
    llama2_chat chat = {
        .struct_size = sizeof chat, .n_messages = 2, .roles = roles, .texts = texts, .lengths = lengths};
    l2_ids ids = {.ids = NULL};
    llama2_status status = l2_chat_encode(g->tokenizer, &chat, LLAMA2_CHAT_COMPLETE, &ids, NULL);
    if (status == LLAMA2_E_INJECTION) *state = LLAMA2_GATT_MARKED;
    return status == LLAMA2_E_INJECTION ? LLAMA2_OK : status;
}

/* Where the text ends that a stop string ended: before it, and before a character of which it is a part. */
static size_t before_stop(llama2_stops *stops, const char *text, size_t length)
{
    int32_t which;
    l2_stops_reset(stops);
    size_t end = l2_stops_find(stops, text, length, &which);
    return which >= 0 ? l2_utf8_valid_prefix(text, end - stops->stops[which].length) : length;
}

/* Sample s of the rollouts as the answer of a dialogue. */
static llama2_status keep_answer(const llama2_gatt *g, int32_t d, const llama2_rollouts *r, int32_t s, int64_t context,
                                 uint32_t flags, llama2_stops *stops, uint8_t *state)
{
    l2_gatt_exchange *turn = turn_of(g, d, g->n_done);
    const int32_t *tokens = r->tokens + r->offsets[s] + r->prompt_lengths[s];
    int64_t prompt = 0;
    l2_decoded text = {NULL, 0, 0};
    turn->n_tokens = (int32_t)(r->offsets[s + 1] - r->offsets[s] - r->prompt_lengths[s]);
    turn->ended_by = r->ended_by[s];
    L2_TRY(l2_alloc(g->ctx, (size_t)turn->n_tokens, sizeof *tokens, &turn->tokens));
    memcpy(turn->tokens, tokens, (size_t)turn->n_tokens * sizeof *tokens);
    int32_t n = turn->n_tokens - (turn->ended_by == LLAMA2_END_EOS); /* which is no text */
    l2_decode(g->tokenizer, tokens, n, flags, &text);
    L2_TRY(l2_alloc(g->ctx, text.length + 1, 1, &turn->answer.text));
    text = (l2_decoded){turn->answer.text, text.length, 0};
    l2_decode(g->tokenizer, tokens, n, flags, &text);
    if (turn->ended_by == LLAMA2_END_STOP) text.length = before_stop(stops, text.text, text.length);
    text.text[text.length] = 0;
    turn->answer.length = text.length;
    L2_TRY(find_markers(g, &turn->answer, state));
    if (ends_example(g, d, g->n_done)) L2_TRY(count(g, d, g->n_done, 1, &prompt));
    if (prompt + turn->n_tokens > context) *state = LLAMA2_GATT_FULL;
    return LLAMA2_OK;
}

static void measure(const llama2_gatt *g, const llama2_rollouts *r, llama2_gatt_metrics *m)
{
    *m = (llama2_gatt_metrics){.struct_size = sizeof *m, .turn = g->n_done - 1, .n_answers = r ? r->n_samples : 0};
    for (int32_t s = 0; s < m->n_answers; s++) m->n_ended += r->ended[s];
    for (int32_t d = 0; d < g->n_dialogues; d++) {
        m->n_open += g->states[d] == LLAMA2_GATT_OPEN;
        m->n_dropped += g->states[d] == LLAMA2_GATT_DROPPED;
        m->n_full += g->states[d] == LLAMA2_GATT_FULL;
        m->n_marked += g->states[d] == LLAMA2_GATT_MARKED;
    }
}

static llama2_status check_turn(const llama2_gatt *g, const llama2_model *policy, const llama2_rollout_options *o)
{
    L2_TRY(check_busy(g));
    if (l2_gatt_turns_left(g) == 0)
        return l2_fail(LLAMA2_E_STATE, "gatt: no open dialogue has a turn left after %" PRId32, g->n_done);
    if (o->samples_per_prompt != 1) {
        return l2_fail(LLAMA2_E_INVALID,
                       "gatt: %" PRId32 " samples a prompt, expected 1: several versions of a dialogue are several "
                       "dialogues",
                       o->samples_per_prompt);
    }
    L2_TRY(l2_model_check_tokenizer(policy, g->tokenizer, "gatt"));
    if (o->decode_flags & (LLAMA2_DECODE_SPECIALS | LLAMA2_DECODE_BYTES)) {
        return l2_fail(LLAMA2_E_INVALID,
                       "gatt: decode_flags %#" PRIx32 " has LLAMA2_DECODE_SPECIALS or _BYTES, but an answer is the "
                       "text of a message",
                       o->decode_flags);
    }
    return l2_rollout_options_check(policy, o); /* in a turn too in which the host has all answers */
}

llama2_status l2_gatt_turn(llama2_gatt *g, llama2_model *policy, const llama2_rollout_options *o,
                           llama2_gatt_metrics *metrics)
{
    llama2_status status = LLAMA2_OK;
    int32_t context = policy->config.max_seq_len;
    llama2_rollouts *rollouts = NULL;
    llama2_stops *stops = NULL;
    uint8_t *states = NULL;
    rows r = {.n = 0};
    L2_TRY(check_turn(g, policy, o));
    if (o->n_stops > 0) L2_CHECK(l2_stops_new(g->ctx, o->stops, o->stop_lengths, o->n_stops, &stops));
    L2_CHECK(begin_rows(g, &r));
    L2_CHECK(l2_alloc(g->ctx, (size_t)g->n_dialogues, 1, &states));
    memcpy(states, g->states, (size_t)g->n_dialogues);
    for (int32_t d = 0; d < g->n_dialogues; d++) {
        if (states[d] != LLAMA2_GATT_OPEN || g->n_done >= turns_of(g, d) || turn_of(g, d, g->n_done)->answer.text)
            continue;
        L2_CHECK(add_row(g, d, context, o->sampling->sample_id + (uint64_t)d, &r, &states[d]));
    }
    if (r.n > 0) {
        llama2_batch prompts = {.struct_size = sizeof prompts,
                                .n_sequences = r.n,
                                .n_tokens = r.offsets[r.n],
                                .tokens = r.tokens,
                                .offsets = r.offsets};
        g->busy = 1;
        status = l2_rollout(policy, &prompts, o, r.ids, &rollouts);
        g->busy = 0;
        if (status < 0) goto done;
    }
    for (int32_t s = 0; s < r.n; s++)
        L2_CHECK(keep_answer(g, r.dialogues[s], rollouts, s, context, o->decode_flags, stops, &states[r.dialogues[s]]));
    memcpy(g->states, states, (size_t)g->n_dialogues);
    g->temperature = o->sampling->temperature;
    g->n_done++;
    measure(g, rollouts, metrics);
done:
    if (status < 0) {
        for (int32_t s = 0; s < r.n; s++) free_answer(g, turn_of(g, r.dialogues[s], g->n_done));
    }
    l2_stops_release(stops);
    l2_rollouts_free(rollouts);
    l2_free(g->ctx, states);
    free_rows(g, &r);
    return status;
}

/* --- examples -------------------------------------------------------------------------------- */

static int gives_example(const llama2_gatt *g, int32_t dialogue, int32_t turn)
{
    return g->states[dialogue] == LLAMA2_GATT_OPEN && turn_of(g, dialogue, turn)->tokens &&
           ends_example(g, dialogue, turn);
}

static llama2_status add_example(const llama2_gatt *g, int32_t d, int32_t t, int64_t *capacity, int32_t **tokens,
                                 llama2_rollouts *to)
{
    const l2_gatt_exchange *turn = turn_of(g, d, t);
    int64_t prompt;
    L2_TRY(count(g, d, t, 1, &prompt));
    L2_TRY(reserve(g, 0, prompt + turn->n_tokens, capacity, tokens));
    l2_ids ids = {.ids = *tokens, .capacity = prompt};
    L2_TRY(encode(g, d, t, 1, &ids));
    memcpy(*tokens + prompt, turn->tokens, (size_t)turn->n_tokens * sizeof **tokens);
    return l2_rollouts_append(to, *tokens, prompt + turn->n_tokens, (int32_t)prompt, NULL, turn->ended_by);
}

llama2_status l2_gatt_examples(const llama2_gatt *g, llama2_rollouts **out)
{
    llama2_status status = LLAMA2_OK;
    llama2_rollouts *all = NULL;
    int32_t *tokens = NULL, left = l2_gatt_turns_left(g);
    int64_t n = 0, capacity = 0;
    *out = NULL;
    if (left > 0) return l2_fail(LLAMA2_E_STATE, "gatt: %" PRId32 " turns are left; llama2_gatt_turn takes them", left);
    for (int32_t d = 0; d < g->n_dialogues; d++)
        for (int32_t t = 0; t < turns_of(g, d); t++) n += gives_example(g, d, t);
    if (n == 0)
        return l2_fail(LLAMA2_E_STATE, "gatt: none of %" PRId32 " dialogues is open, so there is no example",
                       g->n_dialogues);
    if (n > INT32_MAX) return l2_fail(LLAMA2_E_LIMIT, "gatt: %" PRId64 " examples, more than %" PRId32, n, INT32_MAX);
    L2_CHECK(l2_rollouts_new(g->ctx, (int32_t)n, 1, g->temperature, &all));
    for (int32_t d = 0; d < g->n_dialogues; d++)
        for (int32_t t = 0; t < turns_of(g, d); t++)
            if (gives_example(g, d, t)) L2_CHECK(add_example(g, d, t, &capacity, &tokens, all));
    *out = all;
    all = NULL;
done:
    l2_free(g->ctx, tokens);
    l2_rollouts_free(all);
    return status;
}
