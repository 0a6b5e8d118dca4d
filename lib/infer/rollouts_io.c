/*
 * The chunk: u32 samples, u32 samples a prompt, f64 temperature, u64 tokens, u32 mask of arrays; i64 offsets, i32
 * prompt lengths, u8 what ended each, i32 tokens; then the arrays of the mask in order, f32.
 */
#include "infer/rollouts_io.h"
#include "base/alloc.h"
#include "model/forward.h"
#include <inttypes.h>
#include <math.h>

/* One code for a file that says so, another for a model that has computed it. */
static llama2_status check_finite(const llama2_rollouts *r, const char *name, llama2_status code)
{
    for (int32_t i = 0; i < L2_ROLLOUTS_ARRAYS; i++) {
        for (int64_t k = 0; r->arrays[i] && k < l2_rollouts_length(r, i); k++) {
            if (!isfinite(r->arrays[i][k]))
                return l2_fail(code, "rollouts \"%s\": value %" PRId64 " of array %" PRId32 " is not finite", name, k,
                               i);
        }
    }
    return LLAMA2_OK;
}

llama2_status l2_rollouts_write(const llama2_rollouts *r, l2_state_writer *w, const char *name)
{
    uint32_t mask = 0;
    if (r->n_done != r->n_samples)
        return l2_fail(LLAMA2_E_STATE, "rollouts: %" PRId32 " of %" PRId32 " samples are there", r->n_done,
                       r->n_samples);
    L2_TRY(check_finite(r, name, LLAMA2_E_NUMERIC));
    for (int32_t i = 0; i < L2_ROLLOUTS_ARRAYS; i++) {
        if (r->arrays[i]) mask |= 1u << i;
    }
    L2_TRY(l2_state_begin(w, L2_ROLLOUTS_KIND, name, L2_ROLLOUTS_VERSION, L2_CHUNK_REQUIRED));
    L2_TRY(l2_state_u32(w, (uint32_t)r->n_samples));
    L2_TRY(l2_state_u32(w, (uint32_t)r->samples_per_prompt));
    L2_TRY(l2_state_f64(w, r->temperature));
    L2_TRY(l2_state_u64(w, (uint64_t)r->n_tokens));
    L2_TRY(l2_state_u32(w, mask));
    L2_TRY(l2_state_i64s(w, r->offsets, (size_t)r->n_samples + 1));
    L2_TRY(l2_state_i32s(w, r->prompt_lengths, (size_t)r->n_samples));
    L2_TRY(l2_state_bytes(w, r->ended_by, (size_t)r->n_samples));
    L2_TRY(l2_state_i32s(w, r->tokens, (size_t)r->n_tokens));
    for (int32_t i = 0; i < L2_ROLLOUTS_ARRAYS; i++) {
        if (r->arrays[i]) L2_TRY(l2_state_f32s(w, r->arrays[i], (size_t)l2_rollouts_length(r, i)));
    }
    return l2_state_end(w);
}

/* Bytes that a chunk with these numbers has after its head; 0 where they can't be. */
static uint64_t body_size(uint32_t n_samples, uint64_t n_tokens, uint32_t mask)
{
    uint64_t size = 8 * ((uint64_t)n_samples + 1) + 5 * (uint64_t)n_samples + 4 * n_tokens;
    for (int32_t i = 0; i < L2_ROLLOUTS_ARRAYS; i++) {
        if (mask & 1u << i) size += 4 * (i < LLAMA2_ROLLOUTS_SCORES ? n_tokens : n_samples);
    }
    return size;
}

static llama2_status check(const llama2_rollouts *r, const char *name)
{
    if (r->offsets[0] != 0)
        return l2_fail(LLAMA2_E_FORMAT, "rollouts \"%s\": the first offset is %" PRId64 ", not 0", name, r->offsets[0]);
    for (int32_t s = 0; s < r->n_samples; s++) {
        /* In order before they are subtracted, which could overflow. */
        if (r->offsets[s + 1] <= r->offsets[s] || r->offsets[s + 1] > r->n_tokens || r->prompt_lengths[s] < 1 ||
            r->prompt_lengths[s] >= r->offsets[s + 1] - r->offsets[s] || r->ended_by[s] > LLAMA2_END_CONTEXT) {
            return l2_fail(LLAMA2_E_FORMAT,
                           "rollouts \"%s\", sample %" PRId32 ": tokens %" PRId64 " .. %" PRId64
                           " with a prompt of %" PRId32 " are no sample",
                           name, s, r->offsets[s], r->offsets[s + 1], r->prompt_lengths[s]);
        }
    }
    if (r->offsets[r->n_samples] != r->n_tokens) {
        return l2_fail(LLAMA2_E_FORMAT, "rollouts \"%s\": offsets end at %" PRId64 ", of %" PRId64 " tokens", name,
                       r->offsets[r->n_samples], r->n_tokens);
    }
    return check_finite(r, name, LLAMA2_E_FORMAT);
}

llama2_status l2_rollouts_read(llama2_context *ctx, const l2_state_reader *reader, const char *name,
                               llama2_rollouts **out)
{
    llama2_status status = LLAMA2_OK;
    llama2_rollouts *r = NULL;
    l2_cursor c;
    uint32_t n_samples, samples_per_prompt, mask;
    uint64_t n_tokens;
    double temperature;
    *out = NULL;
    L2_TRY(l2_cursor_open(reader, L2_ROLLOUTS_KIND, name, &c));
    L2_TRY(l2_cursor_u32(&c, &n_samples));
    L2_TRY(l2_cursor_u32(&c, &samples_per_prompt));
    L2_TRY(l2_cursor_f64(&c, &temperature));
    L2_TRY(l2_cursor_u64(&c, &n_tokens));
    L2_TRY(l2_cursor_u32(&c, &mask));
    if (n_samples < 1 || n_samples > INT32_MAX || samples_per_prompt < 1 || n_samples % samples_per_prompt != 0 ||
        mask >> L2_ROLLOUTS_ARRAYS != 0 || n_tokens > c.size || body_size(n_samples, n_tokens, mask) != c.size - c.at) {
        return l2_fail(LLAMA2_E_FORMAT,
                       "rollouts \"%s\": %" PRIu32 " samples, %" PRIu32 " a prompt, %" PRIu64
                       " tokens, arrays %#" PRIx32 " do not make the %zu bytes that follow",
                       name, n_samples, samples_per_prompt, n_tokens, mask, c.size - c.at);
    }
    if (temperature != 0 && l2_temperature_check(temperature) < 0)
        return l2_fail_in(LLAMA2_E_FORMAT, "rollouts \"%s\"", name);
    L2_TRY(l2_rollouts_new(ctx, (int32_t)n_samples, (int32_t)samples_per_prompt, temperature, &r));
    L2_CHECK(l2_alloc(ctx, (size_t)n_tokens, sizeof *r->tokens, &r->tokens));
    r->n_tokens = r->capacity = (int64_t)n_tokens;
    L2_CHECK(l2_cursor_i64s(&c, r->offsets, (size_t)n_samples + 1));
    L2_CHECK(l2_cursor_i32s(&c, r->prompt_lengths, n_samples));
    L2_CHECK(l2_cursor_bytes(&c, r->ended_by, n_samples));
    for (uint32_t s = 0; s < n_samples; s++) r->ended[s] = l2_rollouts_has_ended(r->ended_by[s]);
    L2_CHECK(l2_cursor_i32s(&c, r->tokens, (size_t)n_tokens));
    for (int32_t i = 0; i < L2_ROLLOUTS_ARRAYS; i++) {
        float *array;
        if (!(mask & 1u << i)) continue;
        L2_CHECK(l2_rollouts_make(r, i, &array));
        L2_CHECK(l2_cursor_f32s(&c, array, (size_t)l2_rollouts_length(r, i)));
    }
    L2_CHECK(l2_cursor_end(&c));
    r->n_done = r->n_samples;
    L2_CHECK(check(r, name));
    *out = r;
    r = NULL;
done:
    l2_rollouts_free(r);
    return status;
}

llama2_status l2_rollouts_save(const llama2_rollouts *rollouts, const char *path)
{
    llama2_status status;
    l2_state_writer writer;
    L2_CHECK(l2_state_create(rollouts->ctx, path, &writer));
    L2_CHECK(l2_rollouts_write(rollouts, &writer, ""));
    L2_CHECK(l2_state_commit(&writer));
done:
    l2_state_abort(&writer);
    return status;
}

llama2_status l2_rollouts_load(llama2_context *ctx, const char *path, llama2_rollouts **out)
{
    static const l2_chunk_kind known[] = {{L2_ROLLOUTS_KIND, L2_ROLLOUTS_VERSION}};
    l2_state_reader reader;
    *out = NULL;
    llama2_status status = l2_state_open(ctx, path, known, 1, &reader);
    if (status >= 0) status = l2_rollouts_read(ctx, &reader, "", out);
    l2_state_close(&reader);
    return status;
}
