/* What the tests of preference data share: records in one line, and collections that can be compared. */
#ifndef PREFERENCE_TEST_H
#define PREFERENCE_TEST_H

#include "train_test.h"

#include "base/checksum.h"

static const int32_t one_role[] = {LLAMA2_ROLE_USER};

/* A dialogue of one message, `prompt`, two responses, a choice. */
typedef struct small_record {
    const char *texts[1], *responses[2];
    llama2_preference r;
} small_record;

static inline llama2_preference *small_record_init(small_record *s, const char *prompt, const char *first,
                                                   const char *second, int32_t chosen)
{
    llama2_preference_init(&s->r, sizeof s->r);
    s->texts[0] = prompt;
    s->responses[0] = first;
    s->responses[1] = second;
    s->r.n_messages = 1;
    s->r.roles = one_role;
    s->r.texts = s->texts;
    s->r.responses = s->responses;
    s->r.chosen = chosen;
    return &s->r;
}

static inline void add_choice(llama2_preferences *p, const char *prompt, const char *first, const char *second,
                              int32_t chosen, const char *annotator)
{
    small_record s;
    small_record_init(&s, prompt, first, second, chosen)->annotator = annotator;
    ck_ok(llama2_preferences_add(p, &s.r));
}

static inline llama2_preferences *new_preferences(llama2_context *ctx)
{
    llama2_preferences *p;
    ck_ok(llama2_preferences_create(ctx, &p));
    return p;
}

static inline llama2_preference record_at(const llama2_preferences *p, int64_t index)
{
    llama2_preference r = {.struct_size = sizeof r};
    ck_ok(llama2_preferences_get(p, index, &r));
    return r;
}

static inline uint32_t text_crc(uint32_t crc, const char *text)
{
    return l2_crc32c(crc, text, strlen(text) + 1);
}

/* Of everything in a collection. */
static inline uint32_t preferences_crc(const llama2_preferences *p)
{
    uint32_t crc = 0;
    for (int64_t i = 0; i < llama2_preferences_count(p); i++) {
        llama2_preference r = record_at(p, i);
        const int32_t numbers[] = {r.n_messages, r.kind, r.chosen, r.rating, r.safe[0], r.safe[1]};
        crc = l2_crc32c(crc, numbers, sizeof numbers);
        crc = l2_crc32c(crc, r.temperatures, 2 * sizeof *r.temperatures);
        crc = l2_crc32c(crc, r.roles, (size_t)r.n_messages * sizeof *r.roles);
        for (int32_t m = 0; m < r.n_messages; m++) crc = l2_crc32c(crc, r.texts[m], r.lengths[m] + 1);
        for (int k = 0; k < 2; k++) {
            crc = l2_crc32c(crc, r.responses[k], r.response_lengths[k] + 1);
            crc = text_crc(crc, r.models[k]);
        }
        crc = text_crc(text_crc(text_crc(text_crc(crc, r.id), r.annotator), r.batch), r.guideline);
    }
    return crc;
}

#endif
