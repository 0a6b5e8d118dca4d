#include "train_test.h"

static llama2_packer *packer_of(llama2_context *ctx, int32_t concatenate, int64_t max_length)
{
    llama2_packer_options o;
    llama2_packer *packer;
    llama2_packer_options_init(&o, sizeof o);
    o.concatenate = concatenate;
    o.max_length = max_length;
    ck_ok(llama2_packer_create(ctx, &o, &packer));
    return packer;
}

static void add_three(llama2_packer *packer)
{
    static const int32_t a[] = {1, 5, 6}, b[] = {1, 7, 8, 9, 2}, c[] = {1, 3};
    static const float w[] = {1, 0, 0.5f, 1, 1};
    ck_ok(llama2_packer_add(packer, a, NULL, 3));
    ck_ok(llama2_packer_add(packer, b, w, 5));
    ck_ok(llama2_packer_add(packer, c, NULL, 2));
}

START_TEST(examples_apart)
{
    llama2_context *ctx = small_context(1, LLAMA2_ISA_AUTO);
    llama2_packer *packer = packer_of(ctx, 0, 4);
    llama2_batch batch = {.struct_size = sizeof batch};
    ck_fails(llama2_packer_batch(packer, &batch), LLAMA2_E_STATE);
    add_three(packer);
    ck_ok(llama2_packer_batch(packer, &batch));
    static const int32_t tokens[] = {1, 5, 6, 1, 7, 8, 9, 1, 3};
    static const float weights[] = {1, 1, 1, 1, 0, 0.5f, 1, 1, 1};
    static const int64_t offsets[] = {0, 3, 7, 9};
    ck_assert_int_eq(batch.n_sequences, 3);
    ck_assert_int_eq(batch.n_tokens, 9);
    ck_assert_mem_eq(batch.tokens, tokens, sizeof tokens);
    ck_assert_mem_eq(batch.loss_weight, weights, sizeof weights);
    ck_assert_mem_eq(batch.offsets, offsets, sizeof offsets);
    ck_assert_int_eq(llama2_packer_cut(packer), 1);
    llama2_packer_clear(packer);
    ck_assert_int_eq(llama2_packer_tokens(packer), 0);
    add_three(packer);
    ck_assert_int_eq(llama2_packer_tokens(packer), 9);
    llama2_packer_free(packer);
    llama2_context_free(ctx);
}
END_TEST

START_TEST(examples_concatenated)
{
    llama2_context *ctx = small_context(1, LLAMA2_ISA_AUTO);
    llama2_packer *packer = packer_of(ctx, 1, 8);
    llama2_batch batch = {.struct_size = sizeof batch};
    add_three(packer); /* 3 + 5 fill the first, 2 begin the second */
    ck_ok(llama2_packer_batch(packer, &batch));
    static const float weights[] = {1,    1, 1, 0, 0,
                                    0.5f, 1, 1, 1, 1}; /* the second example's first token has lost its weight */
    static const int64_t offsets[] = {0, 8, 10};
    ck_assert_int_eq(batch.n_sequences, 2);
    ck_assert_mem_eq(batch.loss_weight, weights, sizeof weights);
    ck_assert_mem_eq(batch.offsets, offsets, sizeof offsets);
    ck_assert_int_eq(llama2_packer_cut(packer), 0);
    llama2_packer_free(packer);

    packer = packer_of(ctx, 1, 0);
    for (int i = 0; i < 50; i++) add_three(packer);
    ck_ok(llama2_packer_batch(packer, &batch));
    ck_assert_int_eq(batch.n_sequences, 1);
    ck_assert_int_eq(batch.n_tokens, 500);
    llama2_packer_free(packer);
    llama2_context_free(ctx);
}
END_TEST

START_TEST(refused)
{
    llama2_context *ctx = small_context(1, LLAMA2_ISA_AUTO);
    llama2_packer *packer = packer_of(ctx, 0, 0);
    static const int32_t good[] = {1, 2}, bad[] = {1, -2};
    static const float nan_weight[] = {1, NAN}, negative[] = {1, -1};
    ck_fails(llama2_packer_add(packer, good, NULL, 0), LLAMA2_E_INVALID);
    ck_fails(llama2_packer_add(packer, bad, NULL, 2), LLAMA2_E_INVALID);
    ck_fails(llama2_packer_add(packer, good, nan_weight, 2), LLAMA2_E_INVALID);
    ck_fails(llama2_packer_add(packer, good, negative, 2), LLAMA2_E_INVALID);
    ck_assert_int_eq(llama2_packer_tokens(packer), 0);
    llama2_context_free(ctx); /* the packer keeps it */
    llama2_packer_free(packer);
}
END_TEST

Suite *test_suite(void)
{
    Suite *suite = suite_create("packing");
    ADD_CASE(suite, "packer", examples_apart, examples_concatenated, refused);
    return suite;
}
