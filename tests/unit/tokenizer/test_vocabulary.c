/* The index of the vocabulary. */
#include "base/alloc.h"
#include "tokenizer/tokenizer.h"
#include "tokenizer_test.h"

enum { MANY = 1000 };

/* Pieces "a0", "a1", ..., and as a merge each with the next. */
static llama2_tokenizer *make_many(llama2_context *ctx)
{
    llama2_tokenizer *tok;
    ck_ok(l2_vocabulary_begin(ctx, MANY, 5 * MANY, &tok));
    ck_ok(l2_merges_begin(tok, MANY));
    for (int32_t i = 0; i < MANY; ++i) {
        char text[8];
        int n = snprintf(text, sizeof text, "a%d", (int)i);
        ck_ok(l2_vocabulary_add(tok, text, (size_t)n, 0, LLAMA2_PIECE_NORMAL));
        l2_merges_put(tok, (l2_pair){i, i + 1, i, -(float)i});
    }
    return tok;
}

/* Where pieces and merges lie differs from one tokenizer to the next, so no file can be made of those that collide;
 * what is found does not. */
START_TEST(places_are_secret)
{
    llama2_context *ctx = make_context();
    llama2_tokenizer *toks[2] = {make_many(ctx), make_many(ctx)};
    ck_assert(memcmp(toks[0]->slots, toks[1]->slots, toks[0]->n_slots * sizeof *toks[0]->slots) != 0);
    ck_assert(memcmp(toks[0]->pairs, toks[1]->pairs, toks[0]->n_pair_slots * sizeof *toks[0]->pairs) != 0);
    for (int t = 0; t < 2; ++t) {
        float score;
        l2_pair *pairs;
        ck_ok(l2_merges_by_rank(toks[t], &pairs));
        for (int32_t i = 0; i < MANY; ++i) {
            char text[8];
            int n = snprintf(text, sizeof text, "a%d", (int)i);
            ck_assert_int_eq(l2_vocabulary_find(toks[t], text, (size_t)n), i);
            ck_assert_int_eq(l2_merges_find(toks[t], i, i + 1, &score), i);
            ck_assert_int_eq(l2_merges_find(toks[t], i + 1, i, &score), -1);
            ck_assert(score == -(float)i && pairs[i].joined == i);
        }
        ck_assert_int_eq(l2_vocabulary_find(toks[t], "a", 1), -1);
        l2_free(ctx, pairs);
        l2_vocabulary_free(toks[t]);
    }
    llama2_context_free(ctx);
}
END_TEST

Suite *test_suite(void)
{
    Suite *suite = suite_create("tokenizer/vocabulary");
    ADD_CASE(suite, "index", places_are_secret);
    return suite;
}
