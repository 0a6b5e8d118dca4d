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

static size_t longest_of(char (*pieces)[24], int n, const char *text, size_t length)
{
    size_t longest = 0;
    for (int i = 0; i < n; ++i) {
        size_t m = strlen(pieces[i]);
        if (m > longest && m <= length && memcmp(pieces[i], text, m) == 0) longest = m;
    }
    return longest;
}

/* Pieces of two letters, many of which others begin with, and at each place of a text what a plain search finds. */
START_TEST(user_defined_pieces_are_found)
{
    enum { N = 60, LENGTH = 400 };
    uint64_t state = 3;
    for (int round = 0; round < 40; ++round) {
        llama2_context *ctx = make_context();
        llama2_tokenizer *tok;
        char pieces[N][24], text[LENGTH];
        int n = 0, most = 2 + round % 20;
        ck_ok(l2_vocabulary_begin(ctx, N, N * 24, &tok));
        for (int i = 0; i < N; ++i) {
            size_t length = 1 + next_random(&state) % (size_t)most;
            for (size_t k = 0; k < length; ++k) pieces[n][k] = next_random(&state) % 4 ? 'a' : 'b';
            pieces[n][length] = 0;
            if (l2_vocabulary_find(tok, pieces[n], length) >= 0) continue;
            ck_ok(l2_vocabulary_add(tok, pieces[n], length, 0, LLAMA2_PIECE_USER_DEFINED));
            ++n;
        }
        ck_ok(l2_user_defined_finish(tok));
        for (int i = 0; i < LENGTH; ++i) text[i] = "aaaaaabbbc"[next_random(&state) % 10];
        for (size_t at = 0; at <= LENGTH; ++at)
            ck_assert_uint_eq(l2_user_defined_at(tok, text + at, LENGTH - at),
                              longest_of(pieces, n, text + at, LENGTH - at));
        l2_vocabulary_free(tok);
        llama2_context_free(ctx);
    }
}
END_TEST

Suite *test_suite(void)
{
    Suite *suite = suite_create("tokenizer/vocabulary");
    ADD_CASE(suite, "index", places_are_secret, user_defined_pieces_are_found);
    return suite;
}
