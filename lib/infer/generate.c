/*
 * Continuous batching. There are `n_slots` places; each decodes one sample. A round fills free places (reading the
 * prompts of new samples in one packed forward, once for all samples of a prompt), then reads one token of every place
 * in one forward. What a sample says depends on its id and its prompt alone, so neither the number of places nor who
 * sits beside it changes anything.
 */
#include "infer/generate.h"

#include "base/alloc.h"
#include "base/rng.h"
#include "base/threads.h"
#include "infer/penalties.h"
#include "infer/sampler.h"
#include "infer/stops.h"
#include "model/kv_cache.h"
#include "tokenizer/tokenizer.h"

#include <string.h>

enum { MOST_SLOTS = 64, PREFILL_TOKENS = 4096 };
static const size_t default_cache_bytes = (size_t)2 << 30;

/* A response as it grows, and after that. */
typedef struct response {
    int32_t *tokens; /* NULL until it begins */
    float *logprobs;
    int32_t n;
    uint8_t ended_by; /* LLAMA2_END_* */
} response;

typedef struct slot {
    int32_t sample; /* -1: free */
    l2_kv_sequence sequence;
    llama2_stops *stops;     /* what the response's text has of them; NULL: there are none */
    l2_decode_state decoder; /* of that text */
} slot;

typedef struct engine {
    llama2_context *ctx;
    const llama2_model *model;
    const llama2_batch *prompts;
    const llama2_rollout_options *options;
    const uint64_t *ids; /* of the samples; NULL: counted up */
    int32_t n_samples, next_sample, n_done;
    int64_t n_sampled; /* tokens */
    response *responses;

    int32_t n_slots;
    slot *slots;
    l2_kv_cache cache;

    /* Prompts that have been read: 0 is the one whose samples had not all begun in the last round, the others are new
     * in this one. */
    l2_kv_sequence *prefixes; /* n_slots + 1 */
    char *prefix_logits;      /* (n_slots + 1, V) after each */

    /* One round: a row a place (or prompt). */
    int64_t *offsets, *start, *wanted;
    const int32_t **blocks;
    int32_t *tokens, *row_slot, *row_prefix;
    l2_tensor hidden, logits; /* (n_slots, D), (n_slots, V) */
    float *logits32;          /* logits, or a copy of them in fp32, for the sampler */
    double *logprobs;         /* (n_slots) */
    int32_t *drawn;           /* (n_slots) */
    char *sample_room;        /* of each worker */
    l2_penalties *penalties;  /* of each worker; NULL: not wanted */
} engine;

static int64_t prompt_length(const engine *e, int32_t prompt)
{
    return e->prompts->offsets[prompt + 1] - e->prompts->offsets[prompt];
}

/* Longest response to a prompt: what is asked for, or what the context leaves. */
static int64_t response_limit(const engine *e, int32_t prompt)
{
    int64_t room = e->model->config.max_seq_len - prompt_length(e, prompt);
    return room < e->options->max_new_tokens ? room : e->options->max_new_tokens;
}

/* A worker's, so that the next one's is aligned. */
static size_t sample_room_size(const engine *e)
{
    return (l2_sample_room(e->model->config.vocab_size) + 63) / 64 * 64;
}

static llama2_status set_up(engine *e)
{
    llama2_context *ctx = e->ctx;
    const llama2_config *g = &e->model->config;
    int64_t longest = 0;
    for (int32_t i = 0; i < e->prompts->n_sequences; i++) {
        int64_t n = prompt_length(e, i) + response_limit(e, i);
        if (n > longest) longest = n;
    }
    int32_t most_blocks = l2_kv_blocks_for(longest);
    size_t fit = default_cache_bytes / (l2_kv_block_bytes(g, e->model->dtype) * (size_t)most_blocks);
    int32_t slots = e->options->max_parallel > 0 ? e->options->max_parallel
                    : fit < 1                    ? 1
                    : fit > MOST_SLOTS           ? MOST_SLOTS
                                                 : (int32_t)fit;
    int32_t countable = INT32_MAX / (most_blocks + 1) - 1; /* blocks are counted in 32 bits */
    if (slots > countable) slots = countable;
    e->n_slots = slots < e->n_samples ? slots : e->n_samples;

    size_t n = (size_t)e->n_slots, vocab = (size_t)g->vocab_size, size = l2_dtype_size(e->model->dtype);
    L2_TRY(l2_calloc(ctx, (size_t)e->n_samples, sizeof *e->responses, &e->responses));
    L2_TRY(l2_calloc(ctx, n, sizeof *e->slots, &e->slots));
    for (int32_t i = 0; i < e->n_slots; i++) {
        const llama2_rollout_options *o = e->options;
        e->slots[i].sample = -1;
        if (o->n_stops > 0) L2_TRY(l2_stops_new(ctx, o->stops, o->stop_lengths, o->n_stops, &e->slots[i].stops));
        L2_TRY(l2_alloc(ctx, (size_t)most_blocks, sizeof(int32_t), &e->slots[i].sequence.blocks));
    }
    L2_TRY(l2_calloc(ctx, n + 1, sizeof *e->prefixes, &e->prefixes));
    for (int32_t i = 0; i <= e->n_slots; i++)
        L2_TRY(l2_alloc(ctx, (size_t)most_blocks, sizeof(int32_t), &e->prefixes[i].blocks));
    /* Each place has its own blocks and shares whole ones with its prompt, whose last may be partly filled; and one
     * prompt may wait for places. */
    L2_TRY(l2_kv_cache_init(e->model, (e->n_slots + 1) * (most_blocks + 1), &e->cache));
    L2_TRY(l2_scratch_get(ctx, (n + 1) * vocab * size, &e->prefix_logits));
    L2_TRY(l2_alloc(ctx, n + 1, sizeof *e->offsets, &e->offsets));
    L2_TRY(l2_alloc(ctx, n, sizeof *e->start, &e->start));
    L2_TRY(l2_alloc(ctx, n, sizeof *e->wanted, &e->wanted));
    L2_TRY(l2_alloc(ctx, n, sizeof *e->blocks, &e->blocks));
    L2_TRY(l2_alloc(ctx, n, sizeof *e->tokens, &e->tokens));
    L2_TRY(l2_alloc(ctx, n, sizeof *e->row_slot, &e->row_slot));
    L2_TRY(l2_alloc(ctx, n, sizeof *e->row_prefix, &e->row_prefix));
    L2_TRY(l2_alloc(ctx, n, sizeof *e->logprobs, &e->logprobs));
    L2_TRY(l2_alloc(ctx, n, sizeof *e->drawn, &e->drawn));
    L2_TRY(l2_alloc(ctx, (size_t)l2_workers(ctx), sample_room_size(e), &e->sample_room));
    if (l2_penalties_wanted(e->options->sampling)) {
        L2_TRY(l2_calloc(ctx, (size_t)l2_workers(ctx), sizeof *e->penalties, &e->penalties));
        for (int32_t i = 0; i < l2_workers(ctx); i++) L2_TRY(l2_penalties_init(ctx, g->vocab_size, &e->penalties[i]));
    }
    e->hidden = l2_tensor_2d(e->model->dtype, NULL, e->n_slots, g->dim);
    e->logits = l2_tensor_2d(e->model->dtype, NULL, e->n_slots, g->vocab_size);
    L2_TRY(l2_alloc(ctx, n * (size_t)g->dim, size, &e->hidden.data));
    L2_TRY(l2_scratch_get(ctx, n * vocab * size, &e->logits.data));
    if (e->model->dtype == LLAMA2_F32)
        e->logits32 = e->logits.data;
    else
        L2_TRY(l2_alloc(ctx, n * vocab, sizeof(float), &e->logits32));
    return LLAMA2_OK;
}

static void tear_down(engine *e)
{
    llama2_context *ctx = e->ctx;
    for (int32_t i = 0; e->responses && i < e->n_samples; i++) {
        l2_free(ctx, e->responses[i].tokens);
        l2_free(ctx, e->responses[i].logprobs);
    }
    for (int32_t i = 0; e->slots && i < e->n_slots; i++) {
        l2_stops_release(e->slots[i].stops);
        l2_free(ctx, e->slots[i].sequence.blocks);
    }
    for (int32_t i = 0; e->prefixes && i <= e->n_slots; i++) l2_free(ctx, e->prefixes[i].blocks);
    for (int32_t i = 0; e->penalties && i < l2_workers(ctx); i++) l2_penalties_free(ctx, &e->penalties[i]);
    if (e->logits32 != e->logits.data) l2_free(ctx, e->logits32);
    l2_kv_cache_free(&e->cache);
    l2_scratch_put(ctx, e->logits.data);
    l2_scratch_put(ctx, e->prefix_logits);
    void *rest[] = {e->responses, e->slots,  e->prefixes,    e->offsets,     e->start,
                    e->wanted,    e->blocks, e->tokens,      e->row_slot,    e->row_prefix,
                    e->logprobs,  e->drawn,  e->sample_room, e->hidden.data, e->penalties};
    for (size_t i = 0; i < sizeof rest / sizeof *rest; i++) l2_free(ctx, rest[i]);
}

/* Rows 0 .. n - 1 of the hidden states become logits. */
static llama2_status to_logits(engine *e, int64_t n)
{
    e->logits.shape[0] = n;
    return l2_linear_forward(e->ctx, &e->model->head, &e->hidden, &e->logits, 0);
}

/* Bytes of a row of logits. */
static size_t row_size(const engine *e)
{
    return (size_t)e->model->config.vocab_size * l2_dtype_size(e->model->dtype);
}

static void draw_task(void *arg, int32_t row, int32_t worker)
{
    engine *e = arg;
    const llama2_sampling *o = e->options->sampling;
    int32_t vocab = e->model->config.vocab_size;
    const slot *s = &e->slots[e->row_slot[row]];
    uint64_t id = e->ids ? e->ids[s->sample] : o->sample_id + (uint64_t)s->sample;
    double u = l2_rng_uniform(o->seed, L2_RNG_SAMPLE, id, (uint32_t)s->sequence.length);
    float *logits = e->logits32 + (size_t)row * (size_t)vocab;
    l2_penalties *penalties = e->penalties ? &e->penalties[worker] : NULL;
    if (penalties) {
        int32_t prompt = s->sample / e->options->samples_per_prompt;
        const response *r = &e->responses[s->sample];
        l2_text text = {{e->prompts->tokens + e->prompts->offsets[prompt], r->tokens},
                        {prompt_length(e, prompt), r->n}};
        l2_penalties_apply(penalties, o, &text, logits);
    }
    e->drawn[row] = l2_sample(e->ctx, logits, vocab, o, u, e->sample_room + (size_t)worker * sample_room_size(e));
    if (penalties) l2_penalties_undo(penalties, logits);
}

/* The text of one token, and whether a stop string ends in it. */
typedef struct search {
    llama2_stops *stops;
    int32_t which; /* -1: none so far */
} search;

static void look(void *user, const char *text, size_t length)
{
    search *at = user;
    if (at->which < 0) l2_stops_find(at->stops, text, length, &at->which);
}

static int comes_to_stop(const engine *e, slot *s, int32_t token)
{
    const llama2_tokenizer *tokenizer = e->options->tokenizer;
    search at = {s->stops, -1};
    if (s->stops && token < tokenizer->n_pieces) l2_decode_step(tokenizer, &s->decoder, token, look, &at);
    return at.which >= 0;
}

/* Takes a token in. Is the response complete? */
static int take(engine *e, slot *s, int32_t token, double logprob)
{
    response *r = &e->responses[s->sample];
    int64_t limit = response_limit(e, s->sample / e->options->samples_per_prompt);
    r->tokens[r->n] = token;
    r->logprobs[r->n++] = (float)logprob;
    e->n_sampled++;
    if (l2_model_is_eos(e->model, token))
        r->ended_by = LLAMA2_END_EOS;
    else if (comes_to_stop(e, s, token))
        r->ended_by = LLAMA2_END_STOP;
    else if (r->n < limit)
        return 0;
    else
        r->ended_by = limit < e->options->max_new_tokens ? LLAMA2_END_CONTEXT : LLAMA2_END_LENGTH;
    return 1;
}

/* Draws a token for each of the places row_slot[0 .. n - 1], from rows 0 .. n - 1 of the logits, and takes it in;
 * places whose response is complete become free. The log-probabilities come from the logits as the model has them, as
 * in llama2_model_logprobs. */
static llama2_status draw(engine *e, int32_t n)
{
    const llama2_rollout_options *o = e->options;
    e->logits.shape[0] = n;
    if (e->logits32 != e->logits.data) {
        l2_tensor copy = l2_tensor_2d(LLAMA2_F32, e->logits32, n, e->model->config.vocab_size);
        L2_TRY(l2_op_copy(e->ctx, &e->logits, &copy));
    }
    l2_parallel(e->ctx, n, draw_task, e);
    for (int32_t i = 0; i < n; i++)
        if (e->drawn[i] < 0)
            return l2_fail(LLAMA2_E_NUMERIC, "sample %d: the logits at position %lld are not finite%s",
                           e->slots[e->row_slot[i]].sample, (long long)e->slots[e->row_slot[i]].sequence.length,
                           o->sampling->n_logit_bias > 0 ? ", or the logit bias leaves no token" : "");
    double temperature = o->sampling->temperature > 0 ? o->sampling->temperature : 1;
    L2_TRY(l2_op_logprobs(e->ctx, &e->logits, e->drawn, temperature, e->logprobs, NULL));
    for (int32_t i = 0; i < n; i++) {
        slot *s = &e->slots[e->row_slot[i]];
        if (take(e, s, e->drawn[i], e->logprobs[i])) {
            l2_kv_truncate(&e->cache, &s->sequence, 0);
            s->sample = -1;
            e->n_done++;
        }
    }
    return LLAMA2_OK;
}

static llama2_status begin_response(engine *e, slot *s, int32_t sample, const l2_kv_sequence *prefix)
{
    response *r = &e->responses[sample];
    size_t n = (size_t)response_limit(e, sample / e->options->samples_per_prompt);
    L2_TRY(l2_alloc(e->ctx, n, sizeof *r->tokens, &r->tokens));
    L2_TRY(l2_alloc(e->ctx, n, sizeof *r->logprobs, &r->logprobs));
    l2_kv_fork(&e->cache, prefix, &s->sequence);
    if (s->stops) l2_stops_reset(s->stops);
    l2_decode_begin(&s->decoder, e->options->decode_flags);
    s->sample = sample;
    return LLAMA2_OK;
}

/* One prompt, in pieces: it may be long. Leaves the hidden state of its last token in row 0. */
static llama2_status read_long_prompt(engine *e, int32_t prompt)
{
    const int32_t *tokens = e->prompts->tokens + e->prompts->offsets[prompt];
    int64_t length = prompt_length(e, prompt);
    l2_kv_sequence *prefix = &e->prefixes[1];
    for (int64_t first = 0; first < length; first += PREFILL_TOKENS) {
        int64_t count = length - first < PREFILL_TOKENS ? length - first : PREFILL_TOKENS, offsets[2] = {0, count},
                last = count - 1;
        l2_kv_extend(&e->cache, prefix, first + count);
        const int32_t *blocks = prefix->blocks;
        l2_kv_rows rows = {1, offsets, &first, &blocks};
        L2_TRY(l2_model_forward_cached(e->model, &e->cache, &rows, tokens + first, &last, 1, &e->hidden));
    }
    return LLAMA2_OK;
}

/* Prompts first .. first + n - 1 into prefixes 1 .. n, in one packed forward. */
static llama2_status read_prompts(engine *e, int32_t first, int32_t n)
{
    const int64_t *offsets = e->prompts->offsets + first;
    if (n == 1) {
        L2_TRY(read_long_prompt(e, first));
    } else {
        for (int32_t i = 0; i < n; i++) {
            e->offsets[i] = offsets[i] - offsets[0];
            e->start[i] = 0;
            e->wanted[i] = offsets[i + 1] - offsets[0] - 1;
            l2_kv_extend(&e->cache, &e->prefixes[1 + i], offsets[i + 1] - offsets[i]);
            e->blocks[i] = e->prefixes[1 + i].blocks;
        }
        e->offsets[n] = offsets[n] - offsets[0];
        l2_kv_rows rows = {n, e->offsets, e->start, e->blocks};
        L2_TRY(l2_model_forward_cached(e->model, &e->cache, &rows, e->prompts->tokens + offsets[0], e->wanted, n,
                                       &e->hidden));
    }
    L2_TRY(to_logits(e, n));
    memcpy(e->prefix_logits + row_size(e), e->logits.data, (size_t)n * row_size(e));
    return LLAMA2_OK;
}

/* The last of n new prefixes may still be needed: it becomes prefix 0. The others give their blocks back. */
static void keep_last_prefix(engine *e, int32_t n)
{
    l2_kv_sequence last = e->prefixes[n];
    e->prefixes[n] = e->prefixes[0];
    e->prefixes[0] = last;
    memcpy(e->prefix_logits, e->prefix_logits + (size_t)n * row_size(e), row_size(e));
    for (int32_t i = 1; i <= n; i++) l2_kv_truncate(&e->cache, &e->prefixes[i], 0);
}

/* Gives samples to free places and draws their first tokens. Returns the number of places filled by *filled. */
static llama2_status fill_round(engine *e, int32_t *filled)
{
    int32_t k = e->options->samples_per_prompt, n = 0, n_new = 0, first_sample = e->next_sample;
    size_t row = row_size(e);
    int64_t tokens = 0;
    for (int32_t i = 0; i < e->n_slots && e->next_sample < e->n_samples; i++) {
        if (e->slots[i].sample >= 0) continue;
        if (e->next_sample % k == 0) {
            tokens += prompt_length(e, e->next_sample / k);
            if (n_new > 0 && tokens > PREFILL_TOKENS) break;
            n_new++;
        }
        e->row_slot[n] = i;
        e->row_prefix[n++] = n_new;
        e->next_sample++;
    }
    *filled = n;
    if (n == 0) return LLAMA2_OK;
    if (n_new > 0) L2_TRY(read_prompts(e, (first_sample + k - 1) / k, n_new));
    for (int32_t i = 0; i < n; i++) {
        L2_TRY(begin_response(e, &e->slots[e->row_slot[i]], first_sample + i, &e->prefixes[e->row_prefix[i]]));
        memcpy((char *)e->logits.data + (size_t)i * row, e->prefix_logits + (size_t)e->row_prefix[i] * row, row);
    }
    if (n_new > 0) keep_last_prefix(e, n_new);
    return draw(e, n);
}

static llama2_status report(const engine *e)
{
    llama2_rollout_event event = {sizeof event, 0, e->n_done, e->n_samples, e->n_sampled};
    if (e->options->progress && e->options->progress(e->options->user, &event) != 0)
        return l2_fail(LLAMA2_E_USER, "the rollout's progress callback stopped it after %d of %d samples", e->n_done,
                       e->n_samples);
    return LLAMA2_OK;
}

/* Until no place is free or no sample is left: a response may end with its first token. */
static llama2_status fill_slots(engine *e)
{
    int32_t filled;
    do {
        L2_TRY(l2_context_check(e->ctx)); /* a round of prompts that are read already has no forward */
        L2_TRY(fill_round(e, &filled));
        if (filled > 0) L2_TRY(report(e));
    } while (filled > 0);
    return LLAMA2_OK;
}

/* One token of every place that decodes. */
static llama2_status decode(engine *e)
{
    int32_t n = 0;
    for (int32_t i = 0; i < e->n_slots; i++) {
        slot *s = &e->slots[i];
        if (s->sample < 0) continue;
        const response *r = &e->responses[s->sample];
        e->row_slot[n] = i;
        e->tokens[n] = r->tokens[r->n - 1];
        e->start[n] = s->sequence.length;
        e->offsets[n] = e->wanted[n] = n;
        l2_kv_extend(&e->cache, &s->sequence, s->sequence.length + 1);
        e->blocks[n] = s->sequence.blocks;
        n++;
    }
    if (n == 0) return LLAMA2_OK;
    e->offsets[n] = n;
    l2_kv_rows rows = {n, e->offsets, e->start, e->blocks};
    L2_TRY(l2_model_forward_cached(e->model, &e->cache, &rows, e->tokens, e->wanted, n, &e->hidden));
    L2_TRY(to_logits(e, n));
    L2_TRY(draw(e, n));
    return report(e);
}

static llama2_status collect(const engine *e, llama2_rollouts **out)
{
    llama2_status status;
    llama2_rollouts *all = NULL;
    int32_t *tokens = NULL;
    int32_t k = e->options->samples_per_prompt;
    L2_TRY(l2_rollouts_new(e->ctx, e->n_samples, k, e->options->sampling->temperature, &all));
    L2_CHECK(l2_scratch_get(e->ctx, (size_t)e->model->config.max_seq_len * sizeof *tokens, &tokens));
    for (int32_t i = 0; i < e->n_samples; i++) {
        const response *r = &e->responses[i];
        int64_t length = prompt_length(e, i / k);
        memcpy(tokens, e->prompts->tokens + e->prompts->offsets[i / k], (size_t)length * sizeof *tokens);
        memcpy(tokens + length, r->tokens, (size_t)r->n * sizeof *tokens);
        L2_CHECK(l2_rollouts_append(all, tokens, length + r->n, (int32_t)length, r->logprobs, r->ended_by));
    }
    *out = all;
    all = NULL;
done:
    l2_scratch_put(e->ctx, tokens);
    l2_rollouts_free(all);
    return status;
}

llama2_status l2_generate(llama2_model *model, const llama2_batch *prompts, const llama2_rollout_options *options,
                          const uint64_t *ids, llama2_rollouts **out)
{
    llama2_status status;
    engine e = {.ctx = model->ctx, .model = model, .prompts = prompts, .options = options, .ids = ids};
    e.n_samples = prompts->n_sequences * options->samples_per_prompt;
    L2_CHECK(set_up(&e));
    while (e.n_done < e.n_samples) {
        L2_CHECK(fill_slots(&e));
        L2_CHECK(decode(&e));
    }
    L2_CHECK(collect(&e, out));
done:
    tear_down(&e);
    return status;
}
