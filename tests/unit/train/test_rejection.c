/* Rejection sampling: which samples are kept, over versions, and the pool as a file. */
#include "train_test.h"

#include "base/files.h"

/* n_prompts prompts of K samples; the prompt is one token, the response two, of which the second tells the sample: 100
 * * version + sample. */
static llama2_rollouts *scored(llama2_context *ctx, int32_t n_prompts, int32_t k, int32_t version, const float *scores,
                               const float *safety)
{
    int32_t tokens[96], prompts[32];
    int64_t offsets[33] = {0};
    llama2_rollouts *r;
    int32_t n = n_prompts * k;
    for (int32_t s = 0; s < n; s++) {
        tokens[3 * s] = 1;
        tokens[3 * s + 1] = 7;
        tokens[3 * s + 2] = 100 * version + s;
        prompts[s] = 1;
        offsets[s + 1] = 3 * (s + 1);
    }
    llama2_batch batch = {
        .struct_size = sizeof batch, .n_sequences = n, .n_tokens = 3 * n, .tokens = tokens, .offsets = offsets};
    ck_ok(llama2_rollouts_create(ctx, &batch, prompts, k, 2, 1, &r));
    ck_ok(llama2_rollouts_set(r, LLAMA2_ROLLOUTS_SCORES, scores, n));
    if (safety) ck_ok(llama2_rollouts_set(r, LLAMA2_ROLLOUTS_SAFETY_SCORES, safety, n));
    return r;
}

static const float first_scores[] = {1, 5, 5, 2, /* */ -3, -1, -2, -4, /* */ 0, 0, 0, 0};
static const float first_safety[] = {1, 1, 1, 1, /* */ -3, -2, -1.7f, -3, /* */ -2, -1.8f, -1.74f, -9};
static const uint64_t first_ids[] = {70, 10, UINT64_MAX};

static void check_best(const llama2_pool *pool, int32_t first, int32_t last, int64_t index, uint64_t id,
                       int32_t version, int32_t sample, float score)
{
    llama2_pool_sample s = {.struct_size = sizeof s};
    ck_ok(llama2_pool_best(pool, first, last, index, &s));
    ck_assert(s.prompt_id == id);
    ck_assert_int_eq(s.version, version);
    ck_assert_int_eq(s.n_tokens, 3);
    ck_assert_int_eq(s.prompt_length, 1);
    ck_assert_int_eq(s.tokens[2], 100 * version + sample);
    ck_assert(s.score == score);
}

static int64_t count(const llama2_pool *pool, int32_t first, int32_t last)
{
    int64_t n = -1;
    ck_ok(llama2_pool_count(pool, first, last, &n));
    return n;
}

START_TEST(best_of_k)
{
    llama2_context *ctx = small_context(1, LLAMA2_ISA_AUTO);
    llama2_pool *pool;
    llama2_pool_metrics m = {.struct_size = sizeof m};
    llama2_rollouts *r = scored(ctx, 3, 4, 0, first_scores, first_safety);
    ck_ok(llama2_pool_create(ctx, &pool));
    ck_assert_int_eq(count(pool, 0, 9), 0);
    ck_ok(llama2_pool_add(pool, r, first_ids, NULL, &m));
    ck_assert_int_eq(m.n_prompts, 3);
    ck_assert_int_eq(m.n_kept, 2);
    ck_assert_int_eq(m.n_unsafe, 1); /* the third: all below raw -1.7346 */
    ck_assert_double_eq_tol(m.mean_score, (13.0 / 4 - 10.0 / 4 + 0) / 3, 1e-12);
    ck_assert_double_eq_tol(m.mean_best, (5 - 1 + 0) / 3.0, 1e-12);
    ck_assert_double_eq_tol(m.mean_median, (3.5 - 2.5 + 0) / 3, 1e-12);
    ck_assert_int_eq(count(pool, 0, 0), 2);
    check_best(pool, 0, 0, 0, 10, 0, 5, -1);
    check_best(pool, 0, 0, 1, 70, 0, 1, 5); /* of equal ones the first */
    llama2_pool_sample s = {.struct_size = sizeof s};
    ck_fails(llama2_pool_best(pool, 0, 0, 2, &s), LLAMA2_E_INVALID);
    ck_fails(llama2_pool_best(pool, 1, 0, 0, &s), LLAMA2_E_INVALID);
    llama2_rollouts_free(r);
    llama2_pool_free(pool);
    llama2_context_free(ctx);
}
END_TEST

START_TEST(unsafe_prompts_may_stay)
{
    llama2_context *ctx = small_context(1, LLAMA2_ISA_AUTO);
    llama2_pool *pool;
    llama2_pool_metrics m = {.struct_size = sizeof m};
    llama2_pool_add_options o;
    llama2_rollouts *r = scored(ctx, 3, 4, 0, first_scores, first_safety),
                    *unknown = scored(ctx, 3, 4, 0, first_scores, NULL);
    llama2_pool_add_options_init(&o, sizeof o);
    ck_ok(llama2_pool_create(ctx, &pool));
    ck_ok(llama2_pool_add(pool, unknown, first_ids, &o, &m));
    ck_assert_int_eq(m.n_unsafe, 0);
    o.leave_out_unsafe = 0;
    ck_ok(llama2_pool_add(pool, r, first_ids, &o, &m));
    ck_assert_int_eq(m.n_kept, 3);
    llama2_rollouts_free(r);
    llama2_rollouts_free(unknown);
    llama2_pool_free(pool);
    llama2_context_free(ctx);
}
END_TEST

/* Versions compete, and since V3 the samples of all earlier ones do. */
START_TEST(pools_over_versions_and_files)
{
    llama2_context *ctx = small_context(1, LLAMA2_ISA_AUTO);
    llama2_pool *pool, *loaded;
    llama2_pool_add_options o;
    char folder[64], path[96];
    static const float v1[] = {9, 4, /* */ 2, 1}, v2[] = {9, 3, /* */ -7, -8};
    static const uint64_t ids1[] = {70, 5}, ids2[] = {70, 10};
    llama2_rollouts *r0 = scored(ctx, 3, 4, 0, first_scores, NULL), *r1 = scored(ctx, 2, 2, 1, v1, NULL),
                    *r2 = scored(ctx, 2, 2, 2, v2, NULL);
    llama2_pool_add_options_init(&o, sizeof o);
    ck_ok(llama2_pool_create(ctx, &pool));
    o.keep = 2;
    o.version = 1;
    ck_ok(llama2_pool_add(pool, r1, ids1, &o, NULL));
    o.version = 0;
    ck_ok(llama2_pool_add(pool, r0, first_ids, &o, NULL));
    o.version = 2;
    o.keep = 5; /* more than there are */
    ck_ok(llama2_pool_add(pool, r2, ids2, &o, NULL));
    snprintf(path, sizeof path, "%s/pool", scratch_folder(folder));
    ck_ok(llama2_pool_save(pool, path));
    ck_ok(llama2_pool_load(ctx, path, &loaded));
    for (int way = 0; way < 2; way++) {
        const llama2_pool *p = way ? loaded : pool;
        ck_assert_int_eq(count(p, 0, 2), 4);
        check_best(p, 0, 2, 0, 5, 1, 2, 2);
        check_best(p, 0, 2, 1, 10, 0, 5, -1);
        check_best(p, 0, 2, 2, 70, 2, 0, 9); /* of equal ones the newer version's */
        check_best(p, 0, 1, 2, 70, 1, 0, 9);
        check_best(p, 0, 2, 3, UINT64_MAX, 0, 8, 0);
        ck_assert_int_eq(count(p, 2, 2), 2); /* one version alone, as the paper's V3 */
        check_best(p, 2, 2, 1, 70, 2, 0, 9);
        check_best(p, 2, 2, 0, 10, 2, 2, -7);
        ck_assert_int_eq(count(p, 3, 9), 0);
    }
    /* a changed byte is found */
    l2_file_view view;
    ck_ok(l2_file_read(ctx, path, &view));
    unsigned char *bytes = malloc(view.size);
    memcpy(bytes, view.data, view.size);
    bytes[60] ^= 4;
    ck_ok(l2_write_file(ctx, path, bytes, view.size));
    llama2_pool *none;
    ck_fails(llama2_pool_load(ctx, path, &none), LLAMA2_E_CORRUPT);
    ck_assert_ptr_null(none);
    free(bytes);
    l2_file_release(ctx, &view);
    ck_ok(l2_remove_tree(ctx, folder));
    llama2_rollouts_free(r0);
    llama2_rollouts_free(r1);
    llama2_rollouts_free(r2);
    llama2_pool_free(pool);
    llama2_pool_free(loaded);
    llama2_context_free(ctx);
}
END_TEST

Suite *test_suite(void)
{
    Suite *suite = suite_create("rejection");
    ADD_CASE(suite, "pool", best_of_k, unsafe_prompts_may_stay, pools_over_versions_and_files);
    return suite;
}
