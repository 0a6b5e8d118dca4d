#include "infer/rollouts.h"
#include "base/alloc.h"
#include "model/forward.h"
#include <inttypes.h>
#include <math.h>
#include <string.h>

static const char *const array_names[L2_ROLLOUTS_ARRAYS] = {
    "LOGPROBS", "REF_LOGPROBS", "VALUES", "ADVANTAGES", "RETURNS", "SCORES", "HELPFUL_SCORES", "SAFETY_SCORES",
};

llama2_status l2_rollouts_new(llama2_context *ctx, int32_t n_samples, int32_t samples_per_prompt, double temperature,
                              llama2_rollouts **out)
{
    llama2_status status = LLAMA2_OK;
    llama2_rollouts *rollouts = NULL;
    *out = NULL;
    if (samples_per_prompt < 1 || n_samples < 1 || n_samples % samples_per_prompt != 0) {
        return l2_fail(LLAMA2_E_INVALID,
                       "rollouts: %" PRId32 " samples with %" PRId32
                       " a prompt: the number of samples must be a positive multiple",
                       n_samples, samples_per_prompt);
    }
    if (temperature != 0) L2_TRY(l2_temperature_check(temperature));
    L2_TRY(l2_calloc(ctx, 1, sizeof *rollouts, &rollouts));
    rollouts->ctx = l2_context_retain(ctx);
    rollouts->n_samples = n_samples;
    rollouts->samples_per_prompt = samples_per_prompt;
    rollouts->temperature = temperature;
    L2_CHECK(l2_calloc(ctx, (size_t)n_samples + 1, sizeof *rollouts->offsets, &rollouts->offsets));
    L2_CHECK(l2_calloc(ctx, (size_t)n_samples, sizeof *rollouts->prompt_lengths, &rollouts->prompt_lengths));
    L2_CHECK(l2_calloc(ctx, (size_t)n_samples, sizeof *rollouts->ended_by, &rollouts->ended_by));
    L2_CHECK(l2_calloc(ctx, (size_t)n_samples, sizeof *rollouts->ended, &rollouts->ended));
    *out = rollouts;
    rollouts = NULL;
done:
    l2_rollouts_free(rollouts);
    return status;
}

void l2_rollouts_free(llama2_rollouts *rollouts)
{
    if (!rollouts) return;
    llama2_context *ctx = rollouts->ctx;
    for (int32_t i = 0; i < L2_ROLLOUTS_ARRAYS; i++) l2_free(ctx, rollouts->arrays[i]);
    l2_free(ctx, rollouts->tokens);
    l2_free(ctx, rollouts->offsets);
    l2_free(ctx, rollouts->prompt_lengths);
    l2_free(ctx, rollouts->ended_by);
    l2_free(ctx, rollouts->ended);
    l2_free(ctx, rollouts);
    l2_context_release(ctx);
}

/* Room for `needed` tokens, and log-probabilities where the samples have them. */
static llama2_status reserve(llama2_rollouts *rollouts, int64_t needed, int logprobs)
{
    float **recorded = &rollouts->arrays[LLAMA2_ROLLOUTS_LOGPROBS];
    size_t used = (size_t)rollouts->n_tokens;
    if (needed > rollouts->capacity) {
        int64_t capacity = rollouts->capacity * 2 > needed ? rollouts->capacity * 2 : needed;
        L2_TRY(l2_realloc(rollouts->ctx, used, (size_t)capacity, sizeof *rollouts->tokens, &rollouts->tokens));
        if (*recorded) L2_TRY(l2_realloc(rollouts->ctx, used, (size_t)capacity, sizeof **recorded, recorded));
        rollouts->capacity = capacity;
    }
    if (logprobs && !*recorded)
        L2_TRY(l2_calloc(rollouts->ctx, (size_t)rollouts->capacity, sizeof **recorded, recorded));
    return LLAMA2_OK;
}

llama2_status l2_rollouts_append(llama2_rollouts *rollouts, const int32_t *tokens, int64_t n_tokens,
                                 int32_t prompt_length, const float *logprobs, uint8_t ended_by)
{
    int32_t s = rollouts->n_done;
    if (s == rollouts->n_samples)
        return l2_fail(LLAMA2_E_STATE, "rollouts: all %" PRId32 " samples are there already", rollouts->n_samples);
    if (prompt_length < 1 || prompt_length >= n_tokens) {
        return l2_fail(LLAMA2_E_INVALID,
                       "rollouts, sample %" PRId32 ": a prompt of %" PRId32 " of %" PRId64
                       " tokens: both prompt and response need one",
                       s, prompt_length, n_tokens);
    }
    if (s > 0 && (rollouts->arrays[LLAMA2_ROLLOUTS_LOGPROBS] != NULL) != (logprobs != NULL)) {
        return l2_fail(LLAMA2_E_INVALID, "rollouts, sample %" PRId32 ": log-probabilities for all samples or for none",
                       s);
    }
    L2_TRY(reserve(rollouts, rollouts->n_tokens + n_tokens, logprobs != NULL));
    memcpy(rollouts->tokens + rollouts->n_tokens, tokens, (size_t)n_tokens * sizeof *tokens);
    if (logprobs) {
        float *to = rollouts->arrays[LLAMA2_ROLLOUTS_LOGPROBS] + rollouts->n_tokens;
        memset(to, 0, (size_t)prompt_length * sizeof *to);
        memcpy(to + prompt_length, logprobs, (size_t)(n_tokens - prompt_length) * sizeof *to);
    }
    rollouts->prompt_lengths[s] = prompt_length;
    rollouts->ended_by[s] = ended_by;
    rollouts->ended[s] = l2_rollouts_has_ended(ended_by);
    rollouts->n_tokens += n_tokens;
    rollouts->offsets[s + 1] = rollouts->n_tokens;
    rollouts->n_done++;
    return LLAMA2_OK;
}

llama2_status l2_rollouts_from_batch(llama2_context *ctx, const llama2_batch *b, const int32_t *prompt_lengths,
                                     int32_t samples_per_prompt, int32_t eos_id, double temperature,
                                     llama2_rollouts **out)
{
    llama2_status status = LLAMA2_OK;
    llama2_rollouts *rollouts = NULL;
    L2_CHECK(l2_rollouts_new(ctx, b->n_sequences, samples_per_prompt, temperature, &rollouts));
    for (int32_t s = 0; s < b->n_sequences; s++) {
        int64_t first = b->offsets[s], end = b->offsets[s + 1];
        if (first != rollouts->n_tokens || end <= first || end > b->n_tokens) {
            L2_CHECK(l2_fail(LLAMA2_E_INVALID,
                             "llama2_rollouts_create: sequence %" PRId32 " is tokens %" PRId64 " .. %" PRId64
                             " of %" PRId64,
                             s, first, end, b->n_tokens));
        }
        L2_CHECK(l2_rollouts_append(rollouts, b->tokens + first, end - first, prompt_lengths[s], NULL,
                                    b->tokens[end - 1] == eos_id ? LLAMA2_END_EOS : LLAMA2_END_LENGTH));
        int32_t g = s - s % samples_per_prompt;
        if (prompt_lengths[s] != prompt_lengths[g] ||
            memcmp(b->tokens + first, b->tokens + b->offsets[g], (size_t)prompt_lengths[s] * sizeof *b->tokens) != 0) {
            L2_CHECK(l2_fail(LLAMA2_E_INVALID,
                             "llama2_rollouts_create: sequence %" PRId32 " has another prompt than sequence %" PRId32
                             ", the first of its %" PRId32 " samples",
                             s, g, samples_per_prompt));
        }
    }
    if (rollouts->n_tokens != b->n_tokens) {
        L2_CHECK(l2_fail(LLAMA2_E_INVALID, "llama2_rollouts_create: offsets end at %" PRId64 ", n_tokens is %" PRId64,
                         rollouts->n_tokens, b->n_tokens));
    }
    *out = rollouts;
    rollouts = NULL;
done:
    l2_rollouts_free(rollouts);
    return status;
}

static llama2_status check_prompts(const llama2_batch *b, int32_t n)
{
    if (b->n_sequences != n) {
        return l2_fail(LLAMA2_E_MISMATCH, "rollouts: %" PRId32 " prompts for responses to %" PRId32, b->n_sequences, n);
    }
    if (!b->tokens || !b->offsets) return l2_fail(LLAMA2_E_INVALID, "rollouts: tokens or offsets of prompts is NULL");
    if (b->offsets[0] != 0 || b->offsets[n] != b->n_tokens) {
        return l2_fail(LLAMA2_E_INVALID,
                       "rollouts: the offsets of prompts are %" PRId64 " .. %" PRId64 ", expected 0 .. %" PRId64,
                       b->offsets[0], b->offsets[n], b->n_tokens);
    }
    for (int32_t p = 0; p < n; p++) {
        /* In order before they are subtracted, which could overflow. */
        if (b->offsets[p + 1] <= b->offsets[p] || b->offsets[p + 1] - b->offsets[p] > INT32_MAX) {
            return l2_fail(LLAMA2_E_INVALID,
                           "rollouts: prompt %" PRId32 " is tokens %" PRId64 " .. %" PRId64 ", expected 1 .. %" PRId32
                           " of them",
                           p, b->offsets[p], b->offsets[p + 1], INT32_MAX);
        }
    }
    return LLAMA2_OK;
}

llama2_status l2_rollouts_after(const llama2_rollouts *from, const llama2_batch *prompts, llama2_rollouts **out)
{
    llama2_status status = LLAMA2_OK;
    llama2_rollouts *all = NULL;
    int32_t k = from->samples_per_prompt, *tokens = NULL;
    int64_t longest = 0;
    *out = NULL;
    L2_TRY(check_prompts(prompts, from->n_samples / k));
    for (int32_t s = 0; s < from->n_samples; s++) {
        int64_t n = from->offsets[s + 1] - from->offsets[s] + prompts->offsets[s / k + 1] - prompts->offsets[s / k];
        if (n > longest) longest = n;
    }
    L2_CHECK(l2_rollouts_new(from->ctx, from->n_samples, k, from->temperature, &all));
    L2_CHECK(l2_scratch_get(from->ctx, (size_t)longest * sizeof *tokens, &tokens));
    for (int32_t s = 0; s < from->n_samples; s++) {
        int64_t first = from->offsets[s] + from->prompt_lengths[s], n = from->offsets[s + 1] - first;
        int64_t prompt = prompts->offsets[s / k], length = prompts->offsets[s / k + 1] - prompt;
        memcpy(tokens, prompts->tokens + prompt, (size_t)length * sizeof *tokens);
        memcpy(tokens + length, from->tokens + first, (size_t)n * sizeof *tokens);
        L2_CHECK(l2_rollouts_append(all, tokens, length + n, (int32_t)length, NULL, from->ended_by[s]));
        all->ended[s] = from->ended[s];
    }
    *out = all;
    all = NULL;
done:
    l2_scratch_put(from->ctx, tokens);
    l2_rollouts_free(all);
    return status;
}

uint8_t l2_rollouts_has_ended(uint8_t ended_by)
{
    return ended_by == LLAMA2_END_EOS || ended_by == LLAMA2_END_STOP;
}

void l2_rollouts_batch(const llama2_rollouts *rollouts, llama2_batch *out)
{
    *out = (llama2_batch){
        .struct_size = sizeof *out,
        .n_sequences = rollouts->n_done,
        .n_tokens = rollouts->n_tokens,
        .tokens = rollouts->tokens,
        .offsets = rollouts->offsets,
    };
}

double l2_rollouts_temperature(const llama2_rollouts *rollouts)
{
    return rollouts->temperature > 0 ? rollouts->temperature : 1;
}

int64_t l2_rollouts_length(const llama2_rollouts *rollouts, int32_t array)
{
    return array < LLAMA2_ROLLOUTS_SCORES ? rollouts->n_tokens : rollouts->n_samples;
}

llama2_status l2_rollouts_make(llama2_rollouts *rollouts, int32_t array, float **out)
{
    if (!rollouts->arrays[array]) {
        size_t n = (size_t)(array < LLAMA2_ROLLOUTS_SCORES ? rollouts->capacity : rollouts->n_samples);
        L2_TRY(l2_calloc(rollouts->ctx, n, sizeof(float), &rollouts->arrays[array]));
    }
    *out = rollouts->arrays[array];
    return LLAMA2_OK;
}

llama2_status l2_rollouts_need(const llama2_rollouts *rollouts, int32_t array, const float **out)
{
    if (!rollouts->arrays[array]) {
        return l2_fail(LLAMA2_E_STATE, "rollouts: LLAMA2_ROLLOUTS_%s is needed and has neither been computed nor set",
                       array_names[array]);
    }
    *out = rollouts->arrays[array];
    return LLAMA2_OK;
}

llama2_status l2_rollouts_put(llama2_rollouts *rollouts, int32_t array, const float *values, int64_t n)
{
    if (array < 0 || array >= L2_ROLLOUTS_ARRAYS) {
        return l2_fail(LLAMA2_E_INVALID, "rollouts: array %" PRId32 " is none of LLAMA2_ROLLOUTS_*, 0 .. %d", array,
                       L2_ROLLOUTS_ARRAYS - 1);
    }
    int64_t length = l2_rollouts_length(rollouts, array);
    if (n != length) {
        return l2_fail(LLAMA2_E_INVALID, "rollouts: %" PRId64 " values for %s, which has %" PRId64, n,
                       array_names[array], length);
    }
    for (int64_t i = 0; i < n; i++) {
        if (!isfinite(values[i]))
            return l2_fail(LLAMA2_E_NUMERIC, "rollouts: value %" PRId64 " for %s is not finite", i, array_names[array]);
    }
    float *to;
    L2_TRY(l2_rollouts_make(rollouts, array, &to));
    memmove(to, values, (size_t)n * sizeof *to);
    if (array < LLAMA2_ROLLOUTS_SCORES) {
        for (int32_t s = 0; s < rollouts->n_done; s++) {
            memset(to + rollouts->offsets[s], 0, (size_t)rollouts->prompt_lengths[s] * sizeof *to);
        }
    }
    return LLAMA2_OK;
}
