/* Records as tokens: what annotators chose as pairs for the reward model. */
#include "base/alloc.h"
#include "train/preference.h"
#include "train/reward.h"
#include <inttypes.h>
#include <math.h>
#include <string.h>

/* --- dialogues ------------------------------------------------------------------------------- */

static llama2_status take_messages(l2_dialogue_encoder *e, const llama2_preference *r, int32_t k)
{
    llama2_context *ctx = e->tokenizer->ctx;
    int32_t n = r->n_messages + (k >= 0);
    if (n > e->room) {
        L2_TRY(l2_realloc(ctx, 0, (size_t)n, sizeof *e->roles, &e->roles));
        L2_TRY(l2_realloc(ctx, 0, (size_t)n, sizeof *e->texts, &e->texts));
        L2_TRY(l2_realloc(ctx, 0, (size_t)n, sizeof *e->lengths, &e->lengths));
        e->room = n;
    }
    for (int32_t i = 0; i < r->n_messages; i++) {
        e->roles[i] = r->roles[i];
        e->texts[i] = r->texts[i];
        e->lengths[i] = l2_preference_length(r, i);
    }
    if (k < 0) return LLAMA2_OK;
    e->roles[n - 1] = LLAMA2_ROLE_ASSISTANT;
    e->texts[n - 1] = r->responses[k];
    e->lengths[n - 1] = l2_preference_response_length(r, k);
    return LLAMA2_OK;
}

/* Messages first .. n - 1, all of their ids where they are at most max_tokens. *needed: how many they are. */
static llama2_status encode_from(l2_dialogue_encoder *e, int32_t first, int32_t n, uint32_t flags, int64_t *needed)
{
    llama2_chat chat = {.struct_size = sizeof chat, .n_messages = n - first, .roles = e->roles + first};
    chat.texts = e->texts + first;
    chat.lengths = e->lengths + first;
    for (;;) {
        l2_ids out = {.ids = e->ids, .capacity = e->capacity};
        L2_TRY(l2_context_check(e->tokenizer->ctx));
        L2_TRY(l2_chat_encode(e->tokenizer, &chat, flags, &out, NULL));
        *needed = out.count;
        if (out.count <= e->capacity || (e->max_tokens > 0 && out.count > e->max_tokens)) return LLAMA2_OK;
        int64_t capacity = 2 * e->capacity > out.count ? 2 * e->capacity : out.count;
        L2_TRY(l2_realloc(e->tokenizer->ctx, 0, (size_t)capacity, sizeof *e->ids, &e->ids));
        e->capacity = capacity;
    }
}

/* Does what is left from message `first` on fit? The system message stands before it, in the place of the message that
 * is left out there. */
static llama2_status fits_from(l2_dialogue_encoder *e, const llama2_preference *r, int32_t k, int32_t first, int *fits)
{
    int32_t n = r->n_messages + (k >= 0), system = r->roles[0] == LLAMA2_ROLE_SYSTEM, at = first - system;
    int64_t needed;
    int32_t role = e->roles[at];
    const char *text = e->texts[at];
    size_t length = e->lengths[at];
    if (system) {
        e->roles[at] = LLAMA2_ROLE_SYSTEM;
        e->texts[at] = r->texts[0];
        e->lengths[at] = l2_preference_length(r, 0);
    }
    /* A response ends where a sampled one does, at the token that its score is read at. */
    uint32_t flags = k >= 0 ? LLAMA2_CHAT_COMPLETE | LLAMA2_CHAT_TO_END : 0;
    llama2_status status = encode_from(e, at, n, flags, &needed);
    e->roles[at] = role;
    e->texts[at] = text;
    e->lengths[at] = length;
    if (status < 0) return status;
    *fits = e->max_tokens == 0 || needed <= e->max_tokens;
    if (!*fits) return LLAMA2_OK;
    e->n = needed;
    e->first = first;
    return LLAMA2_OK;
}

llama2_status l2_dialogue_encode(l2_dialogue_encoder *e, const llama2_preference *r, int32_t k, int32_t first)
{
    int32_t system = r->roles[0] == LLAMA2_ROLE_SYSTEM;
    int fits;
    L2_TRY(take_messages(e, r, k));
    e->n = 0;
    if (first < system) first = system;
    if (first >= r->n_messages) return LLAMA2_OK;
    L2_TRY(fits_from(e, r, k, first, &fits)); /* sees all messages, and so all markers */
    if (fits) return LLAMA2_OK;
    int32_t too_long = first, short_enough = first + (r->n_messages - 1 - first) / 2 * 2; /* if any is: the last turn */
    if (short_enough == too_long) return LLAMA2_OK;
    L2_TRY(fits_from(e, r, k, short_enough, &fits));
    if (!fits || short_enough - too_long == 2) return LLAMA2_OK;
    while (short_enough - too_long > 2) { /* turns of two messages */
        int32_t middle = too_long + (short_enough - too_long) / 4 * 2;
        L2_TRY(fits_from(e, r, k, middle, &fits));
        *(fits ? &short_enough : &too_long) = middle;
    }
    return fits_from(e, r, k, short_enough, &fits); /* its ids, which those of a longer one have written over */
}

void l2_dialogue_encoder_free(l2_dialogue_encoder *e)
{
    llama2_context *ctx = e->tokenizer->ctx;
    l2_free(ctx, e->ids);
    l2_free(ctx, e->roles);
    l2_free(ctx, e->texts);
    l2_free(ctx, e->lengths);
}

/* --- comparisons ----------------------------------------------------------------------------- */

static llama2_status new_comparisons(llama2_context *ctx, const llama2_comparisons_options *options,
                                     llama2_comparisons **out)
{
    static const llama2_packer_options one_by_one = {.struct_size = sizeof one_by_one};
    llama2_status status;
    llama2_comparisons *c = NULL;
    L2_TRY(l2_calloc(ctx, 1, sizeof *c, &c));
    c->ctx = l2_context_retain(ctx);
    c->options = *options;
    L2_CHECK(l2_packer_create(ctx, &one_by_one, &c->all));
    L2_CHECK(l2_packer_create(ctx, &one_by_one, &c->packed));
    *out = c;
    c = NULL;
done:
    l2_comparisons_free(c);
    return status;
}

void l2_comparisons_free(llama2_comparisons *c)
{
    if (!c) return;
    llama2_context *ctx = c->ctx;
    l2_packer_free(c->all);
    l2_packer_free(c->packed);
    l2_free(ctx, c->records);
    l2_free(ctx, c->margins);
    l2_free(ctx, c->safe);
    l2_free(ctx, c->batch_margins);
    l2_free(ctx, c->batch_safe);
    l2_free(ctx, c);
    l2_context_release(ctx);
}

static llama2_status reserve(llama2_comparisons *c)
{
    int64_t capacity = 2 * c->capacity + 64;
    size_t used = (size_t)c->n, room = (size_t)capacity;
    if (c->n < c->capacity) return LLAMA2_OK;
    L2_TRY(l2_realloc(c->ctx, used, room, sizeof *c->records, &c->records));
    L2_TRY(l2_realloc(c->ctx, used, room, sizeof *c->margins, &c->margins));
    L2_TRY(l2_realloc(c->ctx, 2 * used, 2 * room, sizeof *c->safe, &c->safe));
    c->capacity = capacity;
    return LLAMA2_OK;
}

static llama2_status add_pair(llama2_comparisons *c, l2_dialogue_encoder encoders[2], const llama2_preference *r,
                              int64_t index)
{
    L2_TRY(reserve(c));
    for (int side = 0; side < 2; side++) L2_TRY(l2_packer_add(c->all, encoders[side].ids, NULL, encoders[side].n));
    c->records[c->n] = index;
    c->margins[c->n] = l2_reward_margin(c->options.margin, r->rating);
    c->safe[2 * c->n] = r->safe[r->chosen];
    c->safe[2 * c->n + 1] = r->safe[1 - r->chosen];
    c->n++;
    return LLAMA2_OK;
}

/* Both dialogues of a record, chosen first; they lose the same turns, or it is no comparison. n is 0: too long. */
static llama2_status encode_pair(l2_dialogue_encoder encoders[2], const llama2_preference *r)
{
    l2_dialogue_encoder *chosen = &encoders[0], *other = &encoders[1];
    L2_TRY(l2_dialogue_encode(chosen, r, r->chosen, 0));
    L2_TRY(l2_dialogue_encode(other, r, 1 - r->chosen, chosen->n > 0 ? chosen->first : 0));
    if (chosen->n == 0 || other->n == 0 || other->first == chosen->first) return LLAMA2_OK;
    return l2_dialogue_encode(chosen, r, r->chosen, other->first);
}

/* One record, as a pair or as a count of what is left out. */
static llama2_status take_record(llama2_comparisons *c, l2_dialogue_encoder encoders[2], const llama2_preference *r,
                                 int64_t index, llama2_comparisons_counts *counts)
{
    if (r->chosen < 0) {
        counts->n_open++;
        return LLAMA2_OK;
    }
    if (c->options.leave_out_unsafe && l2_preference_bin(r) == LLAMA2_BIN_OTHER_SAFE) {
        counts->n_unsafe++;
        return LLAMA2_OK;
    }
    llama2_status status = encode_pair(encoders, r);
    if (status == LLAMA2_E_INJECTION) {
        counts->n_marked++;
        return LLAMA2_OK;
    }
    if (status < 0) return l2_fail_in(status, "preferences, record %" PRId64, index);
    if (encoders[0].n == 0 || encoders[1].n == 0)
        counts->n_long++;
    else
        L2_TRY(add_pair(c, encoders, r, index));
    return LLAMA2_OK;
}

llama2_status l2_comparisons_create(const llama2_preferences *p, const llama2_tokenizer *tokenizer,
                                    const int64_t *indices, int64_t first, int64_t n,
                                    const llama2_comparisons_options *o, llama2_comparisons_counts *counts,
                                    llama2_comparisons **out)
{
    llama2_status status;
    llama2_comparisons *c = NULL;
    l2_dialogue_encoder encoders[2] = {{.tokenizer = tokenizer, .max_tokens = o->max_tokens},
                                       {.tokenizer = tokenizer, .max_tokens = o->max_tokens}};
    *counts = (llama2_comparisons_counts){.struct_size = sizeof *counts};
    if (o->margin < LLAMA2_MARGIN_NONE || o->margin > LLAMA2_MARGIN_LARGE)
        return l2_fail(LLAMA2_E_INVALID, "comparisons: margin is %" PRId32 ", none of LLAMA2_MARGIN_*", o->margin);
    if (o->max_tokens < 0)
        return l2_fail(LLAMA2_E_INVALID, "comparisons: max_tokens is %" PRId64 ", less than 0", o->max_tokens);
    if (!(o->safety_weight >= 0) || isinf(o->safety_weight))
        return l2_fail(LLAMA2_E_INVALID, "comparisons: safety_weight is %g, not finite and >= 0", o->safety_weight);
    L2_CHECK(new_comparisons(p->ctx, o, &c));
    for (int64_t i = 0; i < n; i++) {
        L2_CHECK(l2_context_check(p->ctx));
        const llama2_preference *r = NULL;
        int64_t index = indices ? indices[i] : first + i;
        L2_CHECK(l2_preferences_at(p, index, &r));
        L2_CHECK(take_record(c, encoders, r, index, counts));
    }
    counts->n_pairs = c->n;
    *out = c;
    c = NULL;
done:
    l2_dialogue_encoder_free(&encoders[0]);
    l2_dialogue_encoder_free(&encoders[1]);
    l2_comparisons_free(c);
    return status;
}

llama2_status l2_comparisons_pairs(llama2_comparisons *c, const int64_t *indices, int64_t first, int32_t n,
                                   llama2_pairs *pairs)
{
    if (n < 1) return l2_fail(LLAMA2_E_INVALID, "comparisons: %" PRId32 " pairs; at least one is needed", n);
    if (n > c->room) {
        L2_TRY(l2_realloc(c->ctx, 0, (size_t)n, sizeof *c->batch_margins, &c->batch_margins));
        L2_TRY(l2_realloc(c->ctx, 0, 2 * (size_t)n, sizeof *c->batch_safe, &c->batch_safe));
        c->room = n;
    }
    l2_packer_clear(c->packed);
    for (int32_t i = 0; i < n; i++) {
        int64_t k = indices ? indices[i] : first + i;
        if (k < 0 || k >= c->n)
            return l2_fail(LLAMA2_E_INVALID, "comparisons: index %" PRId64 ", of %" PRId64 " pairs", k, c->n);
        for (int side = 0; side < 2; side++) {
            const int64_t *at = c->all->offsets + 2 * k + side;
            L2_TRY(l2_packer_add(c->packed, c->all->tokens + at[0], NULL, at[1] - at[0]));
            c->batch_safe[2 * i + side] = c->safe[2 * k + side];
        }
        c->batch_margins[i] = c->margins[k];
    }
    L2_TRY(l2_packer_batch(c->packed, &c->batch));
    *pairs = (llama2_pairs){.struct_size = sizeof *pairs,
                            .n_pairs = n,
                            .batch = &c->batch,
                            .margins = c->batch_margins,
                            .safe = c->batch_safe,
                            .safety_weight = c->options.safety_weight};
    return LLAMA2_OK;
}
