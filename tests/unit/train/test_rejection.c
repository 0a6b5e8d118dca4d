/* Rejection sampling: which samples are kept, over versions, and the pool as a file. */
#include "train_test.h"

#include "base/files.h"

enum { EOS = 2, OTHER = 3 };

/* n_prompts prompts of K samples; the prompt is one token, the response three: 7, what `says` tells of the sample, and
 * EOS, or another token where `ended` says so (NULL: all have ended). */
static llama2_rollouts *saying(llama2_context *ctx, int32_t n_prompts, int32_t k, const int32_t *says,
                               const uint8_t *ended, const float *scores, const float *safety)
{
    int32_t tokens[128], prompts[32];
    int64_t offsets[33] = {0};
    llama2_rollouts *r;
    int32_t n = n_prompts * k;
    for (int32_t s = 0; s < n; s++) {
        tokens[4 * s] = 1;
        tokens[4 * s + 1] = 7;
        tokens[4 * s + 2] = says[s];
        tokens[4 * s + 3] = !ended || ended[s] ? EOS : OTHER;
        prompts[s] = 1;
        offsets[s + 1] = 4 * (s + 1);
    }
    llama2_batch batch = {
        .struct_size = sizeof batch, .n_sequences = n, .n_tokens = 4 * n, .tokens = tokens, .offsets = offsets};
    ck_ok(llama2_rollouts_create(ctx, &batch, prompts, k, EOS, 1, &r));
    ck_ok(llama2_rollouts_set(r, LLAMA2_ROLLOUTS_SCORES, scores, n));
    if (safety) ck_ok(llama2_rollouts_set(r, LLAMA2_ROLLOUTS_SAFETY_SCORES, safety, n));
    return r;
}

/* Each sample says something else: 100 * version + sample. */
static llama2_rollouts *scored(llama2_context *ctx, int32_t n_prompts, int32_t k, int32_t version, const float *scores,
                               const float *safety)
{
    int32_t says[32];
    for (int32_t s = 0; s < n_prompts * k; s++) says[s] = 100 * version + s;
    return saying(ctx, n_prompts, k, says, NULL, scores, safety);
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
    ck_assert_int_eq(s.n_tokens, 4);
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
    /* The second prompt's best one, -1, has -2, its next one -1.7, which is not below raw -1.7346; the third has none.
     */
    ck_assert_int_eq(m.n_unsafe, 5);
    ck_assert_int_eq(m.n_empty, 1);
    ck_assert_double_eq_tol(m.mean_score, (13.0 / 4 - 10.0 / 4 + 0) / 3, 1e-12);
    ck_assert_double_eq_tol(m.mean_best, (5 - 1 + 0) / 3.0, 1e-12);
    ck_assert_double_eq_tol(m.mean_median, (3.5 - 2.5 + 0) / 3, 1e-12);
    ck_assert_int_eq(count(pool, 0, 0), 2);
    check_best(pool, 0, 0, 0, 10, 0, 6, -2);
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
    o.version = 1;
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
    ck_ok(l2_file_read(ctx, path, UINT64_MAX, &view));
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

/* A sample of each prompt at rank: what it says. */
static void check_top(const llama2_pool *pool, int32_t last, int32_t top, int64_t index, int32_t rank, int32_t says)
{
    llama2_pool_sample s = {.struct_size = sizeof s};
    ck_ok(llama2_pool_top(pool, 0, last, top, index, &s));
    ck_assert_int_eq(s.rank, rank);
    ck_assert_int_eq(s.tokens[2], says);
}

/* What did not end is no answer, and what was said twice is one answer: of a prompt's samples, of a version that is
 * added twice, and of two versions that are asked for together. */
START_TEST(no_unfinished_ones_and_no_duplicates)
{
    llama2_context *ctx = small_context(1, LLAMA2_ISA_AUTO);
    llama2_pool *pool;
    llama2_pool_metrics m = {.struct_size = sizeof m};
    llama2_pool_add_options o;
    int64_t n;
    static const int32_t says[] = {10, 11, 10, 12, 13, 14, /* */ 20, 21, 22, 23, 24, 25};
    static const uint8_t ended[] = {1, 1, 1, 1, 0, 1, /* */ 0, 0, 0, 0, 0, 0};
    static const float scores[] = {5, 4, 5, 3, 9, 2, /* */ 1, 2, 3, 4, 5, 6};
    static const uint64_t ids[] = {1, 2};
    static const uint8_t is_safety[] = {1, 0};
    llama2_rollouts *r = saying(ctx, 2, 6, says, ended, scores, NULL);
    llama2_pool_add_options_init(&o, sizeof o);
    o.keep = 3;
    o.is_safety = is_safety;
    ck_ok(llama2_pool_create(ctx, &pool));
    ck_ok(llama2_pool_add(pool, r, ids, &o, &m));
    ck_assert_int_eq(m.n_kept, 3); /* 10, 11, 12 */
    ck_assert_int_eq(m.n_duplicates, 1);
    ck_assert_int_eq(m.n_unfinished, 7);
    ck_assert_int_eq(m.n_empty, 1);
    for (int again = 0; again < 2; again++) {
        ck_ok(llama2_pool_add(pool, r, ids, &o, &m));
        ck_assert_int_eq(m.n_kept, 0);
        ck_assert_int_eq(m.n_duplicates, 4);
        ck_ok(llama2_pool_size(pool, &n));
        ck_assert_int_eq(n, 3);
    }
    o.version = 1;
    ck_ok(llama2_pool_add(pool, r, ids, &o, &m));
    ck_assert_int_eq(m.n_kept, 3); /* of another version: the pool says of each who said what */
    ck_ok(llama2_pool_size(pool, &n));
    ck_assert_int_eq(n, 6);
    ck_ok(llama2_pool_count_top(pool, 0, 1, 9, &n));
    ck_assert_int_eq(n, 3);
    ck_ok(llama2_pool_count_top(pool, 0, 1, 2, &n));
    ck_assert_int_eq(n, 2);
    for (int32_t i = 0; i < 3; i++) check_top(pool, 1, 9, i, i, 10 + i);
    check_top(pool, 0, 2, 1, 1, 11);
    llama2_pool_sample s = {.struct_size = sizeof s};
    ck_ok(llama2_pool_best(pool, 0, 1, 0, &s));
    ck_assert_int_eq(s.version, 1);
    ck_assert_int_eq(s.is_safety, 1);
    ck_assert_int_eq(s.ended_by, LLAMA2_END_EOS);
    ck_fails(llama2_pool_count_top(pool, 0, 1, 0, &n), LLAMA2_E_INVALID);
    o.leave_out_unfinished = 0;
    o.keep = 6;
    ck_ok(llama2_pool_add(pool, r, ids, &o, &m));
    ck_assert_int_eq(m.n_kept, 2 + 6); /* 13, 14 and all of the second prompt */
    ck_assert_int_eq(m.n_unfinished, 0);
    ck_ok(llama2_pool_best(pool, 1, 1, 0, &s));
    ck_assert_int_eq(s.tokens[2], 13);
    ck_assert_int_eq(s.ended_by, LLAMA2_END_LENGTH);
    llama2_rollouts_free(r);
    llama2_pool_free(pool);
    llama2_context_free(ctx);
}
END_TEST

/* Newer reward models think otherwise: order and what is safe are theirs, of all versions' samples alike. */
START_TEST(scores_of_newer_reward_models)
{
    llama2_context *ctx = small_context(1, LLAMA2_ISA_AUTO);
    llama2_pool *pool;
    llama2_pool_add_options o;
    char folder[64], path[96];
    int64_t n;
    static const int32_t says[] = {10, 11, 12, 13};
    static const uint8_t ended[] = {1, 1, 1, 0};
    static const float before[] = {4, 3, 2, 1};
    static const uint64_t ids[] = {1, 2};
    llama2_rollouts *r = saying(ctx, 2, 2, says, ended, before, NULL), *all;
    llama2_rollouts_view v = {.struct_size = sizeof v};
    llama2_pool_add_options_init(&o, sizeof o);
    o.keep = 2;
    o.leave_out_unfinished = 0;
    ck_ok(llama2_pool_create(ctx, &pool));
    ck_fails(llama2_pool_rollouts(pool, &all), LLAMA2_E_STATE);
    ck_assert_ptr_null(all);
    ck_ok(llama2_pool_add(pool, r, ids, &o, NULL));
    check_best(pool, 0, 0, 0, 1, 0, 10, 4);
    ck_ok(llama2_pool_rollouts(pool, &all));
    ck_ok(llama2_rollouts_view_get(all, &v));
    ck_assert_int_eq(v.n_samples, 4);
    ck_assert_int_eq(v.samples_per_prompt, 1);
    for (int32_t i = 0; i < 4; i++) {
        llama2_pool_sample s = {.struct_size = sizeof s};
        ck_ok(llama2_pool_get(pool, i, &s));
        ck_assert_int_eq(s.tokens[2], v.tokens[v.offsets[i] + 2]);
        ck_assert_int_eq(v.ended[i], ended[i]); /* what a penalty for the missing EOS goes by */
        ck_assert_int_eq(s.rank, i % 2);
    }
    ck_fails(llama2_pool_rescore(pool, all, NULL), LLAMA2_E_STATE);
    static const float now[] = {1, 2, 7, 8}, safety[] = {0, 0, 0, -9};
    ck_ok(llama2_rollouts_set(all, LLAMA2_ROLLOUTS_SCORES, now, 4));
    ck_ok(llama2_rollouts_set(all, LLAMA2_ROLLOUTS_SAFETY_SCORES, safety, 4));
    ck_ok(llama2_pool_rescore(pool, all, NULL));
    check_best(pool, 0, 0, 0, 1, 0, 11, 2);
    check_best(pool, 0, 0, 1, 2, 0, 12, 7); /* 13 is unsafe by now */
    ck_ok(llama2_pool_count_top(pool, 0, 0, 2, &n));
    ck_assert_int_eq(n, 3);
    ck_fails(llama2_pool_rescore(pool, all, NULL), LLAMA2_E_MISMATCH); /* the order is another one now */
    ck_fails(llama2_pool_rescore(pool, r, NULL), LLAMA2_E_MISMATCH);
    llama2_rollouts_free(all);

    /* The file keeps it; a later model may find it safe again. */
    snprintf(path, sizeof path, "%s/pool", scratch_folder(folder));
    ck_ok(llama2_pool_save(pool, path));
    llama2_pool_free(pool);
    ck_ok(llama2_pool_load(ctx, path, &pool));
    check_best(pool, 0, 0, 1, 2, 0, 12, 7);
    ck_ok(llama2_pool_rollouts(pool, &all));
    ck_ok(llama2_rollouts_view_get(all, &v));
    float scores[4];
    for (int32_t i = 0; i < 4; i++) scores[i] = (float)v.tokens[v.offsets[i] + 2];
    ck_ok(llama2_rollouts_set(all, LLAMA2_ROLLOUTS_SCORES, scores, 4));
    ck_ok(llama2_pool_rescore(pool, all, NULL));
    check_best(pool, 0, 0, 1, 2, 0, 12, 12); /* without a word on safety 13 stays unsafe, until a host says so */
    llama2_rollouts_free(all);
    ck_ok(llama2_pool_rollouts(pool, &all));
    ck_ok(llama2_rollouts_view_get(all, &v));
    for (int32_t i = 0; i < 4; i++) scores[i] = (float)v.tokens[v.offsets[i] + 2];
    ck_ok(llama2_rollouts_set(all, LLAMA2_ROLLOUTS_SCORES, scores, 4));
    ck_ok(llama2_rollouts_set(all, LLAMA2_ROLLOUTS_SAFETY_SCORES, (float[4]){0}, 4));
    ck_ok(llama2_pool_rescore(pool, all, NULL));
    check_best(pool, 0, 0, 1, 2, 0, 13, 13);
    ck_ok(llama2_rollouts_set(all, LLAMA2_ROLLOUTS_SAFETY_SCORES, (float[4]){-9, -9, -9, -9}, 4));
    o.leave_out_unsafe = 0;
    ck_ok(llama2_pool_rescore(pool, all, &o));
    check_best(pool, 0, 0, 1, 2, 0, 13, 13);
    ck_ok(l2_remove_tree(ctx, folder));
    llama2_rollouts_free(all);
    llama2_rollouts_free(r);
    llama2_pool_free(pool);
    llama2_context_free(ctx);
}
END_TEST

Suite *test_suite(void)
{
    Suite *suite = suite_create("rejection");
    ADD_CASE(suite, "pool", best_of_k, unsafe_prompts_may_stay, pools_over_versions_and_files,
             no_unfinished_ones_and_no_duplicates, scores_of_newer_reward_models);
    return suite;
}
