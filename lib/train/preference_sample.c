/*
 * What annotators are shown: one response of each of two models, at two temperatures, in an order that is drawn. Model
 * a samples with the ids of the dialogues, b with these plus 2^63, so that one model at one temperature gives two
 * responses.
 */
#include "base/alloc.h"
#include "base/options.h"
#include "base/rng.h"
#include "infer/generate.h"
#include "infer/sampler.h"
#include "model/forward.h"
#include "tokenizer/chat.h"
#include "train/preference.h"
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static const uint64_t other_model = (uint64_t)1 << 63;

/* Either of the two models. */
typedef struct side {
    llama2_context *ctx; /* of the collection */
    llama2_model *model;
    const llama2_tokenizer *tokenizer;
    const char *name;
    double temperature;
    uint64_t first_id;
    llama2_packer *prompts;
    llama2_rollouts *rollouts;
    char *text; /* the last response's */
    size_t room;
} side;

/* Two rollouts as one to the host. */
typedef struct reporting {
    const llama2_preferences_sample_options *options;
    int64_t before, tokens_before, samples, tokens;
} reporting;

static int32_t report(void *user, const llama2_rollout_event *event)
{
    reporting *r = user;
    const llama2_rollout_event both = {sizeof both, 0, r->before + event->samples_done, r->samples,
                                       r->tokens_before + event->tokens};
    r->tokens = both.tokens;
    return r->options->progress(r->options->user, &both);
}

static llama2_sampling sampling_of(const side *s, const llama2_preferences_sample_options *o)
{
    return (llama2_sampling){.struct_size = sizeof(llama2_sampling),
                             .top_k = o->top_k,
                             .temperature = s->temperature,
                             .top_p = o->top_p,
                             .seed = o->seed,
                             .sample_id = s->first_id};
}

static llama2_status check(const side *s, int32_t n, const llama2_preferences_sample_options *o)
{
    llama2_sampling sampling = sampling_of(s, o);
    int32_t room = s->model->config.max_seq_len;
    L2_TRY(l2_model_check_tokenizer(s->model, s->tokenizer, "llama2_preferences_sample"));
    if (o->max_new_tokens < 1 || o->max_new_tokens >= room)
        return l2_fail(LLAMA2_E_INVALID,
                       "llama2_preferences_sample: max_new_tokens is %" PRId32 ", expected 1 .. %" PRId32
                       ": the model's context less one",
                       o->max_new_tokens, room - 1);
    if (o->first_sample_id > other_model - (uint64_t)n)
        return l2_fail(LLAMA2_E_INVALID,
                       "llama2_preferences_sample: first_sample_id is %" PRIu64 ", of %" PRId32
                       " dialogues the last one not below 2^63",
                       o->first_sample_id, n);
    return l2_sampling_check(&sampling, s->model->config.vocab_size, 0);
}

/* The dialogues as the prompts of a model. */
static llama2_status encode_prompts(side *s, const llama2_chat *dialogues, int32_t n, int64_t max_tokens)
{
    static const llama2_packer_options one_by_one = {.struct_size = sizeof one_by_one};
    llama2_status status = LLAMA2_OK;
    l2_dialogue_encoder encoder = {.tokenizer = s->tokenizer, .max_tokens = max_tokens};
    L2_TRY(l2_packer_create(s->ctx, &one_by_one, &s->prompts));
    for (int32_t i = 0; i < n; i++) {
        const llama2_preference record = {.n_messages = dialogues[i].n_messages,
                                          .roles = dialogues[i].roles,
                                          .texts = dialogues[i].texts,
                                          .lengths = dialogues[i].lengths};
        status = l2_dialogue_encode(&encoder, &record, -1, 0);
        if (status >= 0 && encoder.n == 0)
            status = l2_fail(LLAMA2_E_CONTEXT,
                             "the last turn has more than %" PRId64 " tokens, which is what the context of %" PRId32
                             " leaves before a response",
                             max_tokens, s->model->config.max_seq_len);
        if (status >= 0) status = l2_packer_add(s->prompts, encoder.ids, NULL, encoder.n);
        if (status < 0) {
            l2_fail_in(status, "llama2_preferences_sample: dialogue %" PRId32, i);
            break;
        }
    }
    l2_dialogue_encoder_free(&encoder);
    return status;
}

static llama2_status sample(side *s, const llama2_preferences_sample_options *o, reporting *reports)
{
    llama2_batch prompts;
    llama2_sampling sampling = sampling_of(s, o);
    llama2_rollout_options ro = {
        .struct_size = sizeof ro, .samples_per_prompt = 1, .max_new_tokens = o->max_new_tokens, .sampling = &sampling};
    if (o->progress) {
        ro.progress = report;
        ro.user = reports;
    }
    L2_TRY(l2_packer_batch(s->prompts, &prompts));
    L2_TRY(l2_batch_check(s->model, &prompts));
    L2_TRY(l2_model_enter(s->model, L2_READS));
    llama2_status status = l2_generate(s->model, &prompts, &ro, NULL, &s->rollouts);
    l2_model_leave(s->model, L2_READS);
    return status;
}

static void decode(const side *s, int32_t i, l2_decoded *out)
{
    const llama2_rollouts *r = s->rollouts;
    l2_decode_state state;
    l2_decode_begin(&state, 0);
    for (int64_t t = r->offsets[i] + r->prompt_lengths[i]; t < r->offsets[i + 1]; t++) {
        /* EOS, and what the vocabulary has beyond the tokenizer's pieces, is no text */
        if (r->tokens[t] >= s->tokenizer->n_pieces || l2_model_is_eos(s->model, r->tokens[t])) continue;
        l2_decode_step(s->tokenizer, &state, r->tokens[t], l2_decode_keep, out);
    }
    l2_decode_end(&state, l2_decode_keep, out);
}

/* The text of response i, without white space at its ends. */
static llama2_status response(side *s, int32_t i, l2_span *out)
{
    l2_decoded text = {NULL, 0, 0};
    decode(s, i, &text);
    if (text.length > s->room) {
        L2_TRY(l2_realloc(s->ctx, 0, text.length, 1, &s->text));
        s->room = text.length;
    }
    text = (l2_decoded){s->text, s->room, 0};
    decode(s, i, &text);
    *out = l2_chat_strip((l2_span){s->text ? s->text : "", text.length});
    return LLAMA2_OK;
}

static void name_record(const llama2_preference *r, uint64_t seed, uint64_t sample_id, char id[17])
{
    const uint64_t key[] = {seed, sample_id};
    uint64_t h = l2_preference_hash(0, key, sizeof key);
    for (int32_t i = 0; i < r->n_messages; i++) h = l2_preference_hash(h, r->texts[i], l2_preference_length(r, i));
    for (int k = 0; k < 2; k++) {
        h = l2_preference_hash(h, r->responses[k], r->response_lengths[k]);
        h = l2_preference_hash(h, &r->temperatures[k], sizeof r->temperatures[k]);
        if (r->models[k]) h = l2_preference_hash(h, r->models[k], strlen(r->models[k]));
    }
    if (r->batch) h = l2_preference_hash(h, r->batch, strlen(r->batch));
    snprintf(id, 17, "%016" PRIx64, h);
}

/* The record of dialogue i, but for responses and id. */
static llama2_preference record_of(const llama2_chat *dialogue, int32_t i, const char *const *models,
                                   const double *temperatures, const llama2_preferences_sample_options *o)
{
    return (llama2_preference){.struct_size = sizeof(llama2_preference),
                               .n_messages = dialogue->n_messages,
                               .roles = dialogue->roles,
                               .texts = dialogue->texts,
                               .lengths = dialogue->lengths,
                               .models = models,
                               .temperatures = temperatures,
                               .kind = o->kinds ? o->kinds[i] : LLAMA2_KIND_HELPFUL,
                               .chosen = -1,
                               .rating = -1,
                               .batch = o->batch,
                               .guideline = o->guideline};
}

/* What a record would be refused for is said before anything is sampled. */
static llama2_status check_records(const side sides[2], const llama2_chat *dialogues, int32_t n,
                                   const llama2_preferences_sample_options *o)
{
    const char *const models[] = {sides[0].name, sides[1].name}, *const none[] = {"", ""};
    const double temperatures[] = {sides[0].temperature, sides[1].temperature};
    for (int32_t i = 0; i < n; i++) {
        llama2_preference r = record_of(&dialogues[i], i, models, temperatures, o);
        r.responses = none;
        llama2_status status = l2_preference_check(&r);
        if (status < 0) return l2_fail_in(status, "llama2_preferences_sample: dialogue %" PRId32, i);
    }
    return LLAMA2_OK;
}

static llama2_status add_record(llama2_preferences *p, side sides[2], const llama2_chat *dialogue, int32_t i,
                                const llama2_preferences_sample_options *o)
{
    uint32_t words[4];
    uint64_t sample_id = o->first_sample_id + (uint64_t)i;
    const char *responses[2], *models[2];
    size_t lengths[2];
    double temperatures[2];
    char id[17];
    l2_philox(o->seed, L2_RNG_PLACE, sample_id, 0, words);
    for (uint32_t k = 0; k < 2; k++) {
        side *s = &sides[k ^ (words[0] & 1)];
        l2_span text;
        L2_TRY(response(s, i, &text));
        responses[k] = text.text;
        lengths[k] = text.length;
        models[k] = s->name;
        temperatures[k] = s->temperature;
    }
    llama2_preference r = record_of(dialogue, i, models, temperatures, o);
    r.responses = responses;
    r.response_lengths = lengths;
    name_record(&r, o->seed, sample_id, id);
    r.id = id;
    return l2_preferences_add(p, &r);
}

static llama2_status read_dialogues(const llama2_chat *const *dialogues, int32_t n, llama2_chat *full)
{
    for (int32_t i = 0; i < n; i++) {
        full[i] = (llama2_chat){.struct_size = sizeof *full};
        if (!dialogues[i])
            return l2_fail(LLAMA2_E_INVALID, "llama2_preferences_sample: dialogue %" PRId32 " is NULL", i);
        L2_TRY(l2_options_read(dialogues[i], &full[i], sizeof full[i], "llama2_chat"));
        if (full[i].n_messages < 1 || !full[i].roles || !full[i].texts)
            return l2_fail(LLAMA2_E_INVALID,
                           "llama2_preferences_sample: dialogue %" PRId32 " has %" PRId32
                           " messages, or roles or texts is NULL",
                           i, full[i].n_messages);
        for (int32_t k = 0; k < full[i].n_messages; k++)
            if (!full[i].texts[k])
                return l2_fail(LLAMA2_E_INVALID,
                               "llama2_preferences_sample: dialogue %" PRId32 ", message %" PRId32 " is NULL", i, k);
        L2_TRY(l2_chat_check_roles(&full[i], 0));
    }
    return LLAMA2_OK;
}

llama2_status l2_preferences_sample(llama2_preferences *p, llama2_model *a, llama2_model *b,
                                    const llama2_tokenizer *tokenizer, const llama2_chat *const *dialogues, int32_t n,
                                    const llama2_preferences_sample_options *o)
{
    llama2_status status;
    llama2_context *ctx = p->ctx;
    llama2_chat *full = NULL;
    int64_t before = p->n;
    reporting reports = {.options = o, .samples = 2 * (int64_t)n};
    side sides[2] = {{.ctx = ctx,
                      .model = a,
                      .tokenizer = tokenizer,
                      .name = o->model_a,
                      .temperature = o->temperature_a,
                      .first_id = o->first_sample_id},
                     {.ctx = ctx,
                      .model = b,
                      .tokenizer = o->tokenizer_b ? o->tokenizer_b : tokenizer,
                      .name = o->model_b,
                      .temperature = o->temperature_b,
                      .first_id = o->first_sample_id + other_model}};
    L2_TRY(l2_preferences_check_busy(p));
    L2_CHECK(l2_alloc(ctx, (size_t)n, sizeof *full, &full));
    L2_CHECK(read_dialogues(dialogues, n, full));
    for (int k = 0; k < 2; k++) L2_CHECK(check(&sides[k], n, o));
    L2_CHECK(check_records(sides, full, n, o));
    for (int k = 0; k < 2; k++)
        L2_CHECK(encode_prompts(&sides[k], full, n, sides[k].model->config.max_seq_len - o->max_new_tokens));
    p->busy = 1;
    for (int k = 0; k < 2; k++) {
        L2_CHECK(sample(&sides[k], o, &reports));
        reports.before += n;
        reports.tokens_before = reports.tokens;
    }
    p->busy = 0;
    for (int32_t i = 0; i < n; i++) L2_CHECK(add_record(p, sides, &full[i], i, o));
done:
    p->busy = 0;
    if (status < 0) l2_preferences_truncate(p, before);
    for (int k = 0; k < 2; k++) {
        l2_packer_free(sides[k].prompts);
        l2_rollouts_free(sides[k].rollouts);
        l2_free(ctx, sides[k].text);
    }
    l2_free(ctx, full);
    return status;
}
