#include "train/preference.h"
#include "base/alloc.h"
#include "base/hash.h"
#include "base/utf8.h"
#include "tokenizer/chat.h"
#include <inttypes.h>
#include <stdio.h>

uint64_t l2_preference_hash(uint64_t hash, const void *data, size_t size)
{
    const unsigned char *bytes = data;
    hash ^= 0xcbf29ce484222325u;
    for (size_t i = 0; i < size; i++) hash = (hash ^ bytes[i]) * 0x100000001b3u;
    return hash;
}

size_t l2_preference_length(const llama2_preference *r, int32_t i)
{
    return r->lengths ? r->lengths[i] : strlen(r->texts[i]);
}

size_t l2_preference_response_length(const llama2_preference *r, int32_t k)
{
    return r->response_lengths ? r->response_lengths[k] : strlen(r->responses[k]);
}

int32_t l2_preference_bin(const llama2_preference *r)
{
    if (r->chosen < 0 || r->chosen > 1 || !r->safe || r->safe[0] < 0 || r->safe[1] < 0) return -1;
    int chosen = r->safe[r->chosen], other = r->safe[1 - r->chosen];
    return chosen  ? other ? LLAMA2_BIN_BOTH_SAFE : LLAMA2_BIN_CHOSEN_SAFE
           : other ? LLAMA2_BIN_OTHER_SAFE
                   : LLAMA2_BIN_BOTH_UNSAFE;
}

/* --- one record ------------------------------------------------------------------------------ */

/* number: of a message or response; -1: there is only one. */
static llama2_status check_text(const char *text, size_t length, const char *what, int32_t number)
{
    char which[16] = "";
    size_t valid = text ? l2_utf8_valid_prefix(text, length) : 0;
    if (text && valid == length) return LLAMA2_OK;
    if (number >= 0) snprintf(which, sizeof which, " %" PRId32, number);
    if (!text) return l2_fail(LLAMA2_E_INVALID, "preference: %s%s is NULL", what, which);
    return l2_fail(LLAMA2_E_INVALID, "preference: %s%s is not UTF-8 at byte %zu", what, which, valid);
}

static llama2_status check_name(const char *name, const char *what)
{
    return name ? check_text(name, strlen(name), what, -1) : LLAMA2_OK;
}

static llama2_status check_texts(const llama2_preference *r)
{
    const llama2_chat chat = {.struct_size = sizeof chat, .n_messages = r->n_messages, .roles = r->roles};
    if (r->n_messages < 1 || !r->roles || !r->texts || !r->responses)
        return l2_fail(LLAMA2_E_INVALID,
                       "preference: %" PRId32 " messages, or roles, texts or responses is NULL: a dialogue and two "
                       "responses are needed",
                       r->n_messages);
    L2_TRY(l2_chat_check_roles(&chat, 0));
    for (int32_t i = 0; i < r->n_messages; i++)
        L2_TRY(check_text(r->texts[i], r->texts[i] ? l2_preference_length(r, i) : 0, "message", i));
    for (int32_t k = 0; k < 2; k++) {
        L2_TRY(check_text(r->responses[k], r->responses[k] ? l2_preference_response_length(r, k) : 0, "response", k));
        if (r->models) L2_TRY(check_name(r->models[k], "the name of a model"));
    }
    L2_TRY(check_name(r->id, "id"));
    L2_TRY(check_name(r->annotator, "annotator"));
    L2_TRY(check_name(r->batch, "batch"));
    return check_name(r->guideline, "guideline");
}

static llama2_status check_range(int32_t value, int32_t first, int32_t last, const char *what)
{
    if (value >= first && value <= last) return LLAMA2_OK;
    return l2_fail(LLAMA2_E_INVALID, "preference: %s is %" PRId32 ", expected %" PRId32 " .. %" PRId32, what, value,
                   first, last);
}

llama2_status l2_preference_check(const llama2_preference *r)
{
    L2_TRY(check_range(r->kind, LLAMA2_KIND_HELPFUL, LLAMA2_KIND_SAFETY, "kind"));
    L2_TRY(check_range(r->chosen, -1, 1, "chosen"));
    L2_TRY(check_range(r->rating, -1, LLAMA2_RATING_NEGLIGIBLY, "rating"));
    if (r->rating >= 0 && r->chosen < 0)
        return l2_fail(LLAMA2_E_INVALID, "preference: rating is %" PRId32 " without a choice", r->rating);
    for (int k = 0; k < 2; k++) {
        double t = r->temperatures ? r->temperatures[k] : -1;
        if (r->safe) L2_TRY(check_range(r->safe[k], -1, 1, "a label of safety"));
        if (t != -1 && !(t >= 0 && t <= 1e6))
            return l2_fail(LLAMA2_E_INVALID, "preference: temperature %d is %g, expected 0 .. 1e6, or -1: not known", k,
                           t);
    }
    return check_texts(r);
}

/* A block is filled from its start: what has 8 bytes, what has 4, then texts. */
static void *take(char **at, size_t size)
{
    void *place = *at;
    *at += size;
    return place;
}

static const char *put_text(char **at, const char *text, size_t length)
{
    char *place = take(at, length + 1);
    if (length) memcpy(place, text, length);
    place[length] = 0;
    return place;
}

static const char *put_name(char **at, const char *name)
{
    return put_text(at, name ? name : "", name ? strlen(name) : 0);
}

static const char *model_of(const llama2_preference *r, int k)
{
    return r->models && r->models[k] ? r->models[k] : "";
}

static llama2_status block_size(const llama2_preference *r, size_t *out)
{
    const char *const names[] = {r->id, r->annotator, r->batch, r->guideline, model_of(r, 0), model_of(r, 1)};
    size_t n = (size_t)r->n_messages, size = sizeof *r + (n + 4) * sizeof(char *) + (n + 2) * sizeof(size_t) +
                                             2 * sizeof(double) + (n + 2) * sizeof(int32_t);
    int wraps = 0;
    for (int32_t i = 0; i < r->n_messages; i++)
        wraps |= __builtin_add_overflow(size, l2_preference_length(r, i) + 1, &size);
    for (int32_t k = 0; k < 2; k++)
        wraps |= __builtin_add_overflow(size, l2_preference_response_length(r, k) + 1, &size);
    for (int i = 0; i < 6; i++) wraps |= __builtin_add_overflow(size, names[i] ? strlen(names[i]) + 1 : 1, &size);
    if (wraps) return l2_fail(LLAMA2_E_NOMEM, "preference: texts of more bytes than there can be");
    *out = size;
    return LLAMA2_OK;
}

/* A checked record and all that it points to, as one block. */
static llama2_status copy_record(llama2_context *ctx, const llama2_preference *r, llama2_preference **out)
{
    size_t size = 0, n = (size_t)r->n_messages;
    char *block, *at;
    L2_TRY(block_size(r, &size));
    L2_TRY(l2_alloc(ctx, size, 1, &block));
    at = block;
    llama2_preference *copy = take(&at, sizeof *copy);
    const char **texts = take(&at, n * sizeof *texts), **responses = take(&at, 2 * sizeof *responses),
               **models = take(&at, 2 * sizeof *models);
    size_t *lengths = take(&at, n * sizeof *lengths), *response_lengths = take(&at, 2 * sizeof *response_lengths);
    double *temperatures = take(&at, 2 * sizeof *temperatures);
    int32_t *roles = take(&at, n * sizeof *roles), *safe = take(&at, 2 * sizeof *safe);
    for (int32_t i = 0; i < r->n_messages; i++) {
        roles[i] = r->roles[i];
        lengths[i] = l2_preference_length(r, i);
        texts[i] = put_text(&at, r->texts[i], lengths[i]);
    }
    for (int32_t k = 0; k < 2; k++) {
        response_lengths[k] = l2_preference_response_length(r, k);
        responses[k] = put_text(&at, r->responses[k], response_lengths[k]);
        models[k] = put_name(&at, model_of(r, k));
        temperatures[k] = r->temperatures ? r->temperatures[k] : -1;
        safe[k] = r->safe ? r->safe[k] : -1;
    }
    *copy = (llama2_preference){
        .struct_size = sizeof *copy,
        .n_messages = r->n_messages,
        .roles = roles,
        .texts = texts,
        .lengths = lengths,
        .responses = responses,
        .response_lengths = response_lengths,
        .models = models,
        .temperatures = temperatures,
        .safe = safe,
        .kind = r->kind,
        .chosen = r->chosen,
        .rating = r->rating,
        .id = put_name(&at, r->id),
        .annotator = put_name(&at, r->annotator),
        .batch = put_name(&at, r->batch),
        .guideline = put_name(&at, r->guideline),
    };
    *out = copy;
    return LLAMA2_OK;
}

/* --- the collection -------------------------------------------------------------------------- */

llama2_status l2_preferences_create(llama2_context *ctx, llama2_preferences **out)
{
    llama2_preferences *p;
    *out = NULL;
    L2_TRY(l2_calloc(ctx, 1, sizeof *p, &p));
    p->ctx = l2_context_retain(ctx);
    p->secret = l2_hash_secret(p);
    *out = p;
    return LLAMA2_OK;
}

void l2_preferences_free(llama2_preferences *p)
{
    if (!p) return;
    llama2_context *ctx = p->ctx;
    for (int64_t i = 0; i < p->n; i++) l2_free(ctx, p->records[i]);
    l2_free(ctx, p->records);
    l2_free(ctx, p->slots);
    l2_free(ctx, p);
    l2_context_release(ctx);
}

llama2_status l2_preferences_check_busy(const llama2_preferences *p)
{
    return p->busy ? l2_fail(LLAMA2_E_BUSY, "preferences: records are being sampled") : LLAMA2_OK;
}

/* Where the id is, or would be. */
static int64_t *slot_of(const llama2_preferences *p, const char *id)
{
    uint64_t mask = (uint64_t)p->n_slots - 1, at = l2_hash_text(p->secret, id, strlen(id));
    for (;; at++) {
        int64_t *slot = &p->slots[at & mask];
        if (*slot == 0 || strcmp(p->records[*slot - 1]->id, id) == 0) return slot;
    }
}

static void fill_slots(llama2_preferences *p)
{
    if (p->n_slots == 0) return;
    memset(p->slots, 0, (size_t)p->n_slots * sizeof *p->slots);
    for (int64_t i = 0; i < p->n; i++)
        if (*p->records[i]->id) *slot_of(p, p->records[i]->id) = i + 1;
}

/* Room for one more. */
static llama2_status reserve(llama2_preferences *p)
{
    int64_t capacity = 2 * p->capacity + 16, n_slots = 64, *slots;
    if (p->n < p->capacity) return LLAMA2_OK;
    while (n_slots < 2 * capacity) n_slots *= 2;
    L2_TRY(l2_alloc(p->ctx, (size_t)n_slots, sizeof *slots, &slots));
    llama2_status status = l2_realloc(p->ctx, (size_t)p->n, (size_t)capacity, sizeof *p->records, &p->records);
    if (status < 0) {
        l2_free(p->ctx, slots);
        return status;
    }
    l2_free(p->ctx, p->slots);
    p->slots = slots;
    p->n_slots = n_slots;
    p->capacity = capacity;
    fill_slots(p);
    return LLAMA2_OK;
}

llama2_status l2_preferences_add(llama2_preferences *p, const llama2_preference *record)
{
    int64_t *slot = NULL;
    L2_TRY(l2_preferences_check_busy(p));
    L2_TRY(l2_preference_check(record));
    L2_TRY(reserve(p));
    if (record->id && *record->id) {
        slot = slot_of(p, record->id);
        if (*slot)
            return l2_fail(LLAMA2_E_INVALID, "preference: the id \"%s\" is that of record %" PRId64 " already",
                           record->id, *slot - 1);
    }
    L2_TRY(copy_record(p->ctx, record, &p->records[p->n]));
    p->n++;
    if (slot) *slot = p->n;
    return LLAMA2_OK;
}

void l2_preferences_truncate(llama2_preferences *p, int64_t n)
{
    for (int64_t i = n; i < p->n; i++) l2_free(p->ctx, p->records[i]);
    p->n = n;
    fill_slots(p);
}

llama2_status l2_preferences_at(const llama2_preferences *p, int64_t index, const llama2_preference **out)
{
    if (index < 0 || index >= p->n)
        return l2_fail(LLAMA2_E_INVALID, "preferences: index %" PRId64 ", of %" PRId64 " records", index, p->n);
    *out = p->records[index];
    return LLAMA2_OK;
}

llama2_status l2_preferences_find(const llama2_preferences *p, const char *id, int64_t *index)
{
    int64_t slot = p->n_slots > 0 && *id ? *slot_of(p, id) : 0;
    if (slot == 0) return l2_fail(LLAMA2_E_NOT_FOUND, "preferences: no record has the id \"%s\"", id);
    *index = slot - 1;
    return LLAMA2_OK;
}

llama2_status l2_preferences_annotate(llama2_preferences *p, int64_t index, const llama2_annotation *a)
{
    const llama2_preference *old = NULL;
    llama2_preference *now;
    int32_t safe[2];
    L2_TRY(l2_preferences_check_busy(p));
    L2_TRY(l2_preferences_at(p, index, &old));
    L2_TRY(check_range(a->chosen, 0, 1, "chosen"));
    L2_TRY(check_range(a->bin, -1, LLAMA2_BIN_OTHER_SAFE, "bin"));
    llama2_preference record = *old;
    record.chosen = a->chosen;
    record.rating = a->rating;
    if (a->bin >= 0) {
        safe[a->chosen] = a->bin == LLAMA2_BIN_CHOSEN_SAFE || a->bin == LLAMA2_BIN_BOTH_SAFE;
        safe[1 - a->chosen] = a->bin == LLAMA2_BIN_OTHER_SAFE || a->bin == LLAMA2_BIN_BOTH_SAFE;
        record.safe = safe;
    }
    if (a->annotator) record.annotator = a->annotator;
    if (a->batch) record.batch = a->batch;
    if (a->guideline) record.guideline = a->guideline;
    L2_TRY(l2_preference_check(&record));
    L2_TRY(copy_record(p->ctx, &record, &now));
    l2_free(p->ctx, p->records[index]);
    p->records[index] = now;
    return LLAMA2_OK;
}
