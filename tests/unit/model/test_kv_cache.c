/* Blocks of the cache: handed out, shared, given back, kept while the cache grows. */
#include "small_model.h"

#include "model/kv_cache.h"

typedef struct fixture {
    llama2_context *ctx;
    llama2_model *m;
    l2_kv_cache cache;
    int32_t blocks[4][64];
    l2_kv_sequence s[4];
} fixture;

static void set_up(fixture *f, int32_t n_blocks)
{
    memset(f, 0, sizeof *f);
    f->ctx = small_context(1, LLAMA2_ISA_AUTO);
    f->m = small_model(f->ctx, 0, LLAMA2_F32);
    for (int i = 0; i < 4; i++) f->s[i].blocks = f->blocks[i];
    ck_ok(l2_kv_cache_init(f->m, n_blocks, &f->cache));
}

static void tear_down(fixture *f)
{
    l2_kv_cache_free(&f->cache);
    l2_kv_cache_free(&f->cache); /* harmless */
    llama2_model_free(f->m);
    llama2_context_free(f->ctx);
}

enum { BLOCK_FLOATS = 2 * 10 * L2_KV_BLOCK }; /* kv heads, head_dim */

static float *block_of(const fixture *f, int layer, int values, int32_t b)
{
    const l2_kv_layer *l = &f->cache.layers[layer];
    return (float *)l->blocks[b] + (values ? l->values : l->keys);
}

static void fill_block(const fixture *f, int32_t b, float number)
{
    for (int layer = 0; layer < 2; layer++)
        for (int values = 0; values < 2; values++)
            for (int i = 0; i < BLOCK_FLOATS; i++)
                block_of(f, layer, values, b)[i] = number + (float)(layer * 2 + values);
}

static void check_block(const fixture *f, int32_t b, float number)
{
    for (int layer = 0; layer < 2; layer++)
        for (int values = 0; values < 2; values++)
            for (int i = 0; i < BLOCK_FLOATS; i++)
                ck_assert(block_of(f, layer, values, b)[i] == number + (float)(layer * 2 + values));
}

START_TEST(blocks_come_at_their_borders)
{
    fixture f;
    set_up(&f, 6);
    static const int64_t lengths[] = {1, 63, 64, 65, 128, 129};
    static const int32_t blocks[] = {1, 1, 1, 2, 2, 3};
    for (int i = 0; i < 6; i++) {
        l2_kv_extend(&f.cache, &f.s[0], lengths[i]);
        ck_assert_int_eq(f.s[0].n_blocks, blocks[i]);
        ck_assert_int_eq(f.s[0].length, lengths[i]);
        ck_assert_int_eq(f.cache.n_free, 6 - blocks[i]);
    }
    for (int32_t i = 0; i < 3; i++) ck_assert_int_eq(f.s[0].blocks[i], i); /* rising: neighbours in memory */
    l2_kv_extend(&f.cache, &f.s[0], 10);                                   /* never shorter */
    ck_assert_int_eq(f.s[0].length, 129);
    for (int i = 5; i >= 0; i--) {
        l2_kv_truncate(&f.cache, &f.s[0], lengths[i]);
        ck_assert_int_eq(f.s[0].n_blocks, blocks[i]);
        ck_assert_int_eq(f.s[0].length, lengths[i]);
    }
    l2_kv_truncate(&f.cache, &f.s[0], 0);
    ck_assert(f.s[0].n_blocks == 0 && f.cache.n_free == 6);
    tear_down(&f);
}
END_TEST

START_TEST(a_fork_shares_whole_blocks_and_copies_the_last)
{
    fixture f;
    set_up(&f, 10);
    l2_kv_extend(&f.cache, &f.s[0], 140); /* two whole, 12 positions in the third */
    for (int32_t i = 0; i < 3; i++) fill_block(&f, f.s[0].blocks[i], 10.0f * (float)i);
    l2_kv_fork(&f.cache, &f.s[0], &f.s[1]);
    l2_kv_fork(&f.cache, &f.s[0], &f.s[2]);
    ck_assert_int_eq(f.cache.n_free, 5);
    for (int j = 1; j < 3; j++) {
        ck_assert(f.s[j].n_blocks == 3 && f.s[j].length == 140);
        ck_assert(f.s[j].blocks[0] == f.s[0].blocks[0] && f.s[j].blocks[1] == f.s[0].blocks[1] &&
                  f.s[j].blocks[2] != f.s[0].blocks[2]);
        check_block(&f, f.s[j].blocks[2], 20);
    }
    ck_assert_int_ne(f.s[1].blocks[2], f.s[2].blocks[2]);
    ck_assert_int_eq(f.cache.owners[f.s[0].blocks[0]], 3);
    ck_assert_int_eq(f.cache.owners[f.s[0].blocks[2]], 1);

    /* The owner leaves first; what the others share stays. */
    int32_t shared = f.s[0].blocks[0];
    l2_kv_truncate(&f.cache, &f.s[0], 0);
    ck_assert_int_eq(f.cache.n_free, 6);
    l2_kv_truncate(&f.cache, &f.s[1], 0);
    ck_assert(f.cache.n_free == 7 && f.cache.owners[shared] == 1);
    check_block(&f, shared, 0);
    l2_kv_truncate(&f.cache, &f.s[2], 0);
    ck_assert(f.cache.n_free == 10 && f.cache.owners[shared] == 0);

    /* At a border there is nothing to copy: no block is taken. */
    l2_kv_extend(&f.cache, &f.s[0], 128);
    l2_kv_fork(&f.cache, &f.s[0], &f.s[1]);
    ck_assert(f.s[1].n_blocks == 2 && f.cache.n_free == 8);
    tear_down(&f);
}
END_TEST

START_TEST(growing_keeps_what_is_there)
{
    fixture f;
    set_up(&f, 2);
    l2_kv_extend(&f.cache, &f.s[0], 100);
    fill_block(&f, f.s[0].blocks[0], 5);
    fill_block(&f, f.s[0].blocks[1], 50);
    ck_assert_int_eq(f.cache.n_free, 0);
    ck_ok(l2_kv_cache_grow(&f.cache, 3));
    ck_assert(f.cache.n_free == 3 && f.cache.n_blocks == 5);
    check_block(&f, f.s[0].blocks[0], 5);
    check_block(&f, f.s[0].blocks[1], 50);
    l2_kv_extend(&f.cache, &f.s[1], 190);
    for (int i = 0; i < 3; i++) {
        ck_assert_int_eq(f.s[1].blocks[i], 2 + i);
        fill_block(&f, f.s[1].blocks[i], 7);
    }
    check_block(&f, f.s[0].blocks[1], 50);
    l2_kv_truncate(&f.cache, &f.s[0], 0);
    l2_kv_truncate(&f.cache, &f.s[1], 0);
    ck_assert_int_eq(f.cache.n_free, 5);
    tear_down(&f);
}
END_TEST

START_TEST(sizes)
{
    llama2_config c;
    llama2_config_init(&c, sizeof c);
    c.head_dim = 128;
    /* 7B: keys and values of 32 layers, 64 positions, 4096 wide. */
    ck_assert_uint_eq(l2_kv_block_bytes(&c, LLAMA2_F32), (size_t)2 * 32 * 64 * 4096 * 4);
    ck_assert_uint_eq(l2_kv_block_bytes(&c, LLAMA2_F64), (size_t)2 * 32 * 64 * 4096 * 8);
    ck_assert(l2_kv_blocks_for(0) == 0 && l2_kv_blocks_for(1) == 1 && l2_kv_blocks_for(64) == 1 &&
              l2_kv_blocks_for(65) == 2);
}
END_TEST

Suite *test_suite(void)
{
    Suite *s = suite_create("model/kv_cache");
    ADD_CASE(s, "blocks", blocks_come_at_their_borders, a_fork_shares_whole_blocks_and_copies_the_last,
             growing_keeps_what_is_there, sizes);
    return s;
}
