/* The container of rollouts: how it is filled, what it refuses, its file. */
#include "base/files.h"
#include "infer/rollouts.h"
#include "train/train_test.h"

START_TEST(filled_sample_by_sample)
{
    llama2_context *ctx = small_context(1, LLAMA2_ISA_AUTO);
    llama2_rollouts *r;
    static const int32_t a[] = {1, 4, 5}, b[] = {1, 6, 7, 2};
    static const float la[] = {-1, -2}, lb[] = {-3};
    ck_fails(l2_rollouts_new(ctx, 3, 2, 1, &r), LLAMA2_E_INVALID);
    ck_fails(l2_rollouts_new(ctx, 2, 1, -1, &r), LLAMA2_E_INVALID);
    ck_ok(l2_rollouts_new(ctx, 2, 1, 0, &r));
    ck_assert(l2_rollouts_temperature(r) == 1);
    ck_fails(l2_rollouts_append(r, a, 3, 0, la, 0), LLAMA2_E_INVALID);
    ck_fails(l2_rollouts_append(r, a, 3, 3, la, 0), LLAMA2_E_INVALID);
    ck_ok(l2_rollouts_append(r, a, 3, 1, la, LLAMA2_END_CONTEXT));
    ck_fails(l2_rollouts_append(r, b, 4, 3, NULL, 1), LLAMA2_E_INVALID);
    ck_ok(l2_rollouts_append(r, b, 4, 3, lb, LLAMA2_END_STOP));
    ck_fails(l2_rollouts_append(r, b, 4, 3, lb, 1), LLAMA2_E_STATE);
    llama2_rollouts_view v = view_of(r);
    static const int32_t tokens[] = {1, 4, 5, 1, 6, 7, 2};
    static const float logprobs[] = {0, -1, -2, 0, 0, 0, -3};
    static const int64_t offsets[] = {0, 3, 7};
    ck_assert_mem_eq(v.tokens, tokens, sizeof tokens);
    ck_assert_mem_eq(v.logprobs, logprobs, sizeof logprobs);
    ck_assert_mem_eq(v.offsets, offsets, sizeof offsets);
    ck_assert(v.ended[0] == 0 && v.ended[1] == 1);
    ck_assert(v.ended_by[0] == LLAMA2_END_CONTEXT && v.ended_by[1] == LLAMA2_END_STOP);
    ck_assert_ptr_null(v.values);
    llama2_rollouts_free(r);
    llama2_context_free(ctx);
}
END_TEST

START_TEST(host_numbers)
{
    llama2_context *ctx = small_context(1, LLAMA2_ISA_AUTO);
    llama2_rollouts *r;
    static const int32_t tokens[] = {1, 4, 2, 1, 6, 7}, prompts[] = {1, 2}, same[] = {1, 1}, longer[] = {2, 2};
    static const int64_t offsets[] = {0, 3, 6}, bad_offsets[] = {0, 3, 3};
    float values[6] = {9, 9, 9, 9, 9, 9};
    llama2_batch batch = {
        .struct_size = sizeof batch, .n_sequences = 2, .n_tokens = 6, .tokens = tokens, .offsets = bad_offsets};
    ck_fails(llama2_rollouts_create(ctx, &batch, prompts, 1, 2, 1, &r), LLAMA2_E_INVALID);
    ck_assert_ptr_null(r);
    batch.offsets = offsets;
    ck_fails(llama2_rollouts_create(ctx, &batch, prompts, 2, 2, 1, &r), LLAMA2_E_INVALID); /* two prompts */
    ck_fails(llama2_rollouts_create(ctx, &batch, longer, 2, 2, 1, &r), LLAMA2_E_INVALID);  /* as long, and other */
    ck_ok(llama2_rollouts_create(ctx, &batch, longer, 1, 2, 1, &r));
    llama2_rollouts_free(r);
    ck_ok(llama2_rollouts_create(ctx, &batch, same, 2, 2, 1, &r));
    llama2_rollouts_free(r);
    ck_ok(llama2_rollouts_create(ctx, &batch, prompts, 1, 2, 1, &r));
    llama2_rollouts_view v = view_of(r);
    ck_assert(v.ended[0] == 1 && v.ended[1] == 0);
    ck_assert(v.ended_by[0] == LLAMA2_END_EOS && v.ended_by[1] == LLAMA2_END_LENGTH);
    ck_assert_ptr_null(v.logprobs);
    ck_fails(llama2_rollouts_set(r, LLAMA2_ROLLOUTS_VALUES, values, 5), LLAMA2_E_INVALID);
    ck_fails(llama2_rollouts_set(r, LLAMA2_ROLLOUTS_SCORES, values, 6), LLAMA2_E_INVALID);
    ck_fails(llama2_rollouts_set(r, 8, values, 6), LLAMA2_E_INVALID);
    ck_ok(llama2_rollouts_set(r, LLAMA2_ROLLOUTS_VALUES, values, 6));
    v = view_of(r);
    static const float expected[] = {0, 9, 9, 0, 0, 9}; /* 0 on prompts */
    ck_assert_mem_eq(v.values, expected, sizeof expected);
    values[2] = INFINITY;
    ck_fails(llama2_rollouts_set(r, LLAMA2_ROLLOUTS_VALUES, values, 6), LLAMA2_E_NUMERIC);
    v = view_of(r);
    ck_assert_mem_eq(v.values, expected, sizeof expected);
    llama2_rollouts_free(r);
    llama2_context_free(ctx);
}
END_TEST

static int same_array(const float *a, const float *b, int64_t n)
{
    return (!a && !b) || (a && b && memcmp(a, b, (size_t)n * sizeof *a) == 0);
}

START_TEST(saved_and_loaded)
{
    llama2_context *ctx = small_context(2, LLAMA2_ISA_AUTO);
    llama2_model *model = small_model(ctx, 1, LLAMA2_F32);
    llama2_rollouts *r = small_rollouts(model, 3, 2, 0.8, 0), *loaded;
    char folder[64], path[96];
    score_by_tokens(r);
    ck_ok(llama2_rollouts_reference(r, model));
    for (int32_t s = 0; s < 4; s++) { /* all that there are */
        r->ended_by[s] = (uint8_t)s;
        r->ended[s] = l2_rollouts_has_ended(r->ended_by[s]);
    }
    snprintf(path, sizeof path, "%s/rollouts", scratch_folder(folder));
    ck_ok(llama2_rollouts_save(r, path));
    ck_ok(llama2_rollouts_load(ctx, path, &loaded));
    llama2_rollouts_view a = view_of(r), b = view_of(loaded);
    ck_assert_int_eq(a.n_samples, b.n_samples);
    ck_assert_int_eq(a.samples_per_prompt, b.samples_per_prompt);
    ck_assert_int_eq(a.n_tokens, b.n_tokens);
    ck_assert(a.temperature == b.temperature);
    ck_assert_mem_eq(a.tokens, b.tokens, (size_t)a.n_tokens * sizeof *a.tokens);
    ck_assert_mem_eq(a.offsets, b.offsets, ((size_t)a.n_samples + 1) * sizeof *a.offsets);
    ck_assert_mem_eq(a.prompt_lengths, b.prompt_lengths, (size_t)a.n_samples * sizeof *a.prompt_lengths);
    ck_assert_mem_eq(a.ended, b.ended, (size_t)a.n_samples);
    ck_assert_mem_eq(a.ended_by, b.ended_by, (size_t)a.n_samples);
    ck_assert(same_array(a.logprobs, b.logprobs, a.n_tokens) && same_array(a.ref_logprobs, b.ref_logprobs, a.n_tokens));
    ck_assert(same_array(a.values, b.values, a.n_tokens) && same_array(a.advantages, b.advantages, a.n_tokens));
    ck_assert(same_array(a.scores, b.scores, a.n_samples) &&
              same_array(a.helpful_scores, b.helpful_scores, a.n_samples));

    /* every flipped bit of the file is found, and every cut */
    l2_file_view view;
    ck_ok(l2_file_read(ctx, path, UINT64_MAX, &view));
    unsigned char *bytes = malloc(view.size);
    for (size_t bit = 0; bit < 8 * view.size; bit += 37) {
        llama2_rollouts *none;
        memcpy(bytes, view.data, view.size);
        bytes[bit / 8] ^= (unsigned char)(1u << bit % 8);
        ck_ok(l2_write_file(ctx, path, bytes, view.size));
        ck_assert_int_lt(llama2_rollouts_load(ctx, path, &none), 0);
        ck_assert_ptr_null(none);
    }
    for (size_t size = 0; size < view.size; size += 41) {
        llama2_rollouts *none;
        ck_ok(l2_write_file(ctx, path, view.data, size));
        ck_assert_int_lt(llama2_rollouts_load(ctx, path, &none), 0);
    }
    free(bytes);
    l2_file_release(ctx, &view);
    ck_ok(l2_remove_tree(ctx, folder));
    llama2_rollouts_free(r);
    llama2_rollouts_free(loaded);
    llama2_model_free(model);
    llama2_context_free(ctx);
}
END_TEST

static llama2_status save_and_load(const llama2_rollouts *r, const char *path)
{
    llama2_rollouts *none;
    ck_ok(llama2_rollouts_save(r, path));
    llama2_status status = llama2_rollouts_load(r->ctx, path, &none);
    ck_assert_ptr_null(none);
    return status;
}

/* Files whose checksums are right. */
START_TEST(what_no_rollout_has)
{
    llama2_context *ctx = small_context(1, LLAMA2_ISA_AUTO);
    llama2_rollouts *r;
    static const int32_t tokens[] = {1, 4, 5};
    static const float logprobs[] = {-1, -2};
    char folder[64], path[96];
    snprintf(path, sizeof path, "%s/rollouts", scratch_folder(folder));
    ck_ok(l2_rollouts_new(ctx, 4, 1, 1, &r));
    for (int32_t s = 0; s < 4; s++) ck_ok(l2_rollouts_append(r, tokens, 3, 1, logprobs, LLAMA2_END_LENGTH));

    /* each length is above 0 where it wraps */
    static const int64_t wrapping[] = {0, 2, INT64_MIN, -1000, 12}, right[] = {0, 3, 6, 9, 12};
    memcpy(r->offsets, wrapping, sizeof wrapping);
    r->prompt_lengths[3] = 12 + 999;
    ck_fails(save_and_load(r, path), LLAMA2_E_FORMAT);
    memcpy(r->offsets, right, sizeof right);
    r->prompt_lengths[3] = 1;

    static const double temperatures[] = {1e-9, -1, 1e9, NAN, INFINITY};
    for (size_t i = 0; i < sizeof temperatures / sizeof *temperatures; i++) {
        r->temperature = temperatures[i];
        ck_fails(save_and_load(r, path), LLAMA2_E_FORMAT);
        ck_assert_ptr_nonnull(strstr(llama2_last_error(), "rollouts"));
    }
    r->temperature = 1;

    /* what can't be loaded is not saved */
    r->arrays[LLAMA2_ROLLOUTS_LOGPROBS][1] = NAN;
    ck_fails(llama2_rollouts_save(r, path), LLAMA2_E_NUMERIC);
    ck_ok(l2_remove_tree(ctx, folder));
    llama2_rollouts_free(r);
    llama2_context_free(ctx);
}
END_TEST

/* Offsets of prompts whose differences overflow: for the sanitizers. */
START_TEST(prompts_out_of_order)
{
    llama2_context *ctx = small_context(1, LLAMA2_ISA_AUTO);
    llama2_rollouts *r, *moved;
    static const int32_t tokens[] = {1, 4, 5};
    static const int64_t wrapping[] = {0, 1, INT64_MIN, INT64_MIN + 1, 3};
    llama2_batch prompts = {
        .struct_size = sizeof prompts, .n_sequences = 4, .n_tokens = 3, .tokens = tokens, .offsets = wrapping};
    ck_ok(l2_rollouts_new(ctx, 4, 1, 1, &r));
    for (int32_t s = 0; s < 4; s++) ck_ok(l2_rollouts_append(r, tokens, 3, 1, NULL, LLAMA2_END_LENGTH));
    ck_fails(llama2_rollouts_after(r, &prompts, &moved), LLAMA2_E_INVALID);
    llama2_rollouts_free(r);
    llama2_context_free(ctx);
}
END_TEST

Suite *test_suite(void)
{
    Suite *suite = suite_create("rollouts");
    ADD_CASE(suite, "container", filled_sample_by_sample, host_numbers, prompts_out_of_order);
    ADD_CASE(suite, "files", saved_and_loaded, what_no_rollout_has);
    return suite;
}
