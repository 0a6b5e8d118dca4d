/* The memory estimate against what an allocator counts: never below it, and near to it where it matters. */
#include "base/files.h"
#include "small_model.h"

#include <stdatomic.h>
#include <stdlib.h>

typedef struct counter {
    atomic_llong now, most;
} counter;

enum { HEADER = 64 };

static void *counting_alloc(void *user, size_t size, size_t alignment)
{
    counter *c = user;
    ck_assert(alignment <= HEADER);
    char *p = aligned_alloc(HEADER, size + HEADER);
    if (!p) return NULL;
    memcpy(p, &size, sizeof size);
    long long now = atomic_fetch_add(&c->now, (long long)size) + (long long)size, most = atomic_load(&c->most);
    while (now > most && !atomic_compare_exchange_weak(&c->most, &most, now)) continue;
    return p + HEADER;
}

static void counting_free(void *user, void *ptr)
{
    counter *c = user;
    size_t size;
    memcpy(&size, (char *)ptr - HEADER, sizeof size);
    atomic_fetch_sub(&c->now, (long long)size);
    free((char *)ptr - HEADER);
}

typedef struct shape {
    const char *name;
    int32_t vocab, dim, layers, heads, kv_heads, ffn, context, tied, dtype, recompute, threads;
    int64_t tokens, sequences, kv_tokens;
    int near; /* the estimate is at most one and a half of what is taken: 1 in training, 2 always */
} shape;

static const shape shapes[] = {
    {"tiny", 37, 24, 2, 4, 2, 33, 160, 0, LLAMA2_F32, 0, 2, 90, 5, 150, 0},
    {"tiny, double", 37, 24, 2, 4, 2, 33, 160, 1, LLAMA2_F64, 0, 3, 90, 5, 160, 0},
    {"pairs of tokens", 50, 32, 1, 4, 4, 64, 64, 1, LLAMA2_F32, 0, 1, 300, 150, 64, 0},
    {"one long sequence", 300, 64, 2, 4, 1, 128, 2048, 1, LLAMA2_F32, 0, 2, 2000, 1, 2000, 0},
    {"long context", 37, 24, 2, 4, 2, 33, 1 << 28, 0, LLAMA2_F32, 0, 2, 90, 5, 150, 0},
    {"recompute", 300, 64, 8, 4, 1, 128, 2048, 1, LLAMA2_F32, 1, 2, 4000, 2, 100, 1},
    {"large vocabulary", 32000, 32, 1, 2, 2, 64, 256, 0, LLAMA2_F32, 0, 2, 256, 2, 10, 2},
    {"wide", 2000, 512, 3, 8, 4, 1376, 512, 1, LLAMA2_F32, 0, 2, 512, 2, 500, 2},
};
enum { SHAPES = sizeof shapes / sizeof *shapes };

static llama2_config config_of(const shape *s)
{
    llama2_config c = small_config(s->tied);
    c.vocab_size = s->vocab;
    c.dim = s->dim;
    c.n_layers = s->layers;
    c.n_heads = s->heads;
    c.n_kv_heads = s->kv_heads;
    c.head_dim = s->dim / s->heads;
    c.ffn_dim = s->ffn;
    c.max_seq_len = s->context;
    c.init_std = 0.02;
    return c;
}

static void fill_batch(llama2_batch *b, const shape *s, int32_t *tokens, int64_t *offsets, int64_t n)
{
    int32_t sequences = (int32_t)(s->sequences < n ? s->sequences : n);
    for (int64_t i = 0; i < n; i++) tokens[i] = (int32_t)((i * 31 + i / 7) % s->vocab);
    for (int32_t i = 0; i <= sequences; i++) offsets[i] = n * i / sequences;
    *b = (llama2_batch){sizeof *b, sequences, n, tokens, offsets, NULL};
}

/* A model of this shape in a folder, as bf16, and from there as stored. */
static void load_stored(llama2_context *ctx, const llama2_config *config, llama2_model **out)
{
    char folder[] = "test-memory-XXXXXX";
    llama2_context *other;
    llama2_model *m;
    llama2_model_options o;
    ck_assert_ptr_nonnull(mkdtemp(folder));
    ck_ok(llama2_context_create(NULL, &other));
    ck_ok(llama2_model_create(other, config, NULL, &m));
    ck_ok(llama2_model_save(m, folder, LLAMA2_BF16));
    llama2_model_options_init(&o, sizeof o);
    o.weights = LLAMA2_WEIGHTS_AS_STORED;
    ck_ok(llama2_model_load(ctx, folder, &o, out));
    ck_ok(l2_remove_tree(other, folder));
    llama2_model_free(m);
    llama2_context_free(other);
}

/* A whole life of a model: created or loaded, trained, or asked for log-probabilities, on batches of many sizes up to
 * s->tokens; then a session. */
static long long live(const shape *s, int train, int32_t weights)
{
    counter c = {0};
    llama2_context *ctx;
    llama2_context_options co;
    llama2_model *m;
    llama2_config config = config_of(s);
    llama2_model_options mo;
    llama2_trainer *trainer = NULL;
    int32_t *tokens = malloc((size_t)s->tokens * sizeof *tokens);
    int64_t *offsets = malloc(((size_t)s->sequences + 1) * sizeof *offsets);
    float *out = malloc((size_t)s->tokens * sizeof *out);
    llama2_context_options_init(&co, sizeof co);
    co.n_threads = s->threads;
    co.alloc = counting_alloc;
    co.dealloc = counting_free;
    co.alloc_user = &c;
    ck_ok(llama2_context_create(&co, &ctx));
    llama2_model_options_init(&mo, sizeof mo);
    mo.dtype = s->dtype;
    if (weights == LLAMA2_WEIGHTS_AS_STORED)
        load_stored(ctx, &config, &m);
    else
        ck_ok(llama2_model_create(ctx, &config, &mo, &m));
    if (train) {
        llama2_optimizer *adamw;
        llama2_trainer_options to;
        llama2_trainer_options_init(&to, sizeof to);
        to.recompute = s->recompute;
        ck_ok(llama2_optimizer_create(ctx, NULL, &adamw));
        ck_ok(llama2_trainer_create(ctx, m, adamw, &to, &trainer));
        llama2_optimizer_free(adamw);
    }
    static const int percent[] = {40, 45, 52, 60, 70, 85, 92, 100, 55, 3, 20, 100};
    for (int i = getenv("LLAMA2_TEST_FEW") ? 9 : s->dim > 100 ? 7 : 0; i < 12; i++) {
        llama2_batch b;
        int64_t n = s->tokens * percent[i] / 100;
        fill_batch(&b, s, tokens, offsets, n < 2 ? 2 : n);
        if (!train) {
            ck_ok(llama2_model_logprobs(m, &b, 1, out, NULL));
            continue;
        }
        llama2_status status = llama2_pretrain_step(trainer, &b, NULL);
        ck_assert(status == LLAMA2_OK || status == LLAMA2_E_STATE); /* a batch without targets has no gradient */
    }
    llama2_session *session;
    ck_ok(llama2_session_create(m, &session));
    for (int64_t i = 0; i < s->kv_tokens; i++) tokens[i % s->tokens] = (int32_t)(i % s->vocab);
    for (int64_t left = s->kv_tokens, n; left > 0; left -= n) {
        n = left < 60 ? left : 60;
        ck_ok(llama2_session_feed(session, tokens, n));
    }
    llama2_session_free(session);
    llama2_trainer_free(trainer);
    llama2_model_free(m);
    llama2_context_free(ctx);
    free(out);
    free(offsets);
    free(tokens);
    ck_assert_int_eq((long)atomic_load(&c.now), 0);
    return atomic_load(&c.most);
}

static void check_shape(const shape *s, int train, int32_t weights)
{
    llama2_config config = config_of(s);
    llama2_memory_options o;
    llama2_memory m = {.struct_size = sizeof m};
    llama2_memory_options_init(&o, sizeof o);
    o.train = train;
    o.recompute = s->recompute;
    o.dtype = s->dtype;
    o.batch_tokens = s->tokens;
    o.batch_sequences = s->sequences;
    o.kv_tokens = s->kv_tokens;
    o.n_threads = s->threads;
    o.weights = weights;
    ck_ok(llama2_memory_estimate(&config, &o, &m));
    ck_assert_int_eq(m.total, m.weights + m.gradients + m.optimizer + m.activations + m.kv_cache + m.scratch);
    long long most = live(s, train, weights);
    ck_assert_msg(m.total >= most, "%s, %s: estimated %lld, taken %lld", s->name, train ? "training" : "inference",
                  (long long)m.total, most);
    int near = s->near + train > 1 && weights == LLAMA2_WEIGHTS_CONVERTED;
    ck_assert_msg(!near || (double)m.total <= 1.5 * (double)most, "%s, %s: estimated %lld, taken %lld", s->name,
                  train ? "training" : "inference", (long long)m.total, most);
}

START_TEST(training_takes_no_more)
{
    check_shape(&shapes[_i], 1, LLAMA2_WEIGHTS_CONVERTED);
}
END_TEST

START_TEST(inference_takes_no_more)
{
    check_shape(&shapes[_i], 0, LLAMA2_WEIGHTS_CONVERTED);
    if (shapes[_i].dtype == LLAMA2_F32) check_shape(&shapes[_i], 0, LLAMA2_WEIGHTS_AS_STORED);
}
END_TEST

/* Against arithmetic by hand, for the 7B model: 6738415616 parameters. */
START_TEST(the_parts_of_7b)
{
    llama2_config c;
    llama2_memory_options o;
    llama2_memory m = {.struct_size = sizeof m};
    llama2_config_init(&c, sizeof c);
    llama2_memory_options_init(&o, sizeof o);
    int64_t arena = INT64_C(6738415616) * 4;
    ck_ok(llama2_memory_estimate(&c, &o, &m));
    ck_assert(m.weights >= arena && m.weights < arena + (1 << 20));
    ck_assert(m.gradients == 0 && m.optimizer == 0 && m.activations == 0 && m.kv_cache == 0 && m.scratch == 0);
    o.weights = LLAMA2_WEIGHTS_AS_STORED;
    ck_ok(llama2_memory_estimate(&c, &o, &m));
    ck_assert(m.weights >= 65 * 4096 * 4 && m.weights < 65 * 4096 * 4 + (1 << 20)); /* the gains */
    o.weights = LLAMA2_WEIGHTS_CONVERTED;
    o.train = 1;
    o.kv_tokens = 4096;
    ck_ok(llama2_memory_estimate(&c, &o, &m));
    ck_assert(m.gradients == arena && m.optimizer == 2 * arena);
    int64_t cache = INT64_C(2) * 32 * 4096 * 4096 * 4; /* keys and values, layers, positions, width */
    ck_assert(m.kv_cache >= cache && m.kv_cache < cache * 3 / 2);
    o.batch_tokens = 4096;
    ck_ok(llama2_memory_estimate(&c, &o, &m));
    int64_t whole = m.activations;
    o.recompute = 1;
    ck_ok(llama2_memory_estimate(&c, &o, &m));
    ck_assert_int_lt(m.activations, whole / 6);
}
END_TEST

/* A small model's cache of more blocks than 32 bits count. */
START_TEST(cache_of_many_blocks)
{
    llama2_config c;
    llama2_memory_options o;
    llama2_memory m = {.struct_size = sizeof m};
    llama2_config_init(&c, sizeof c);
    llama2_memory_options_init(&o, sizeof o);
    c.dim = c.ffn_dim = c.head_dim = 8;
    c.n_layers = c.n_heads = c.n_kv_heads = 1;
    o.kv_tokens = INT64_C(1) << 38;
    ck_ok(llama2_memory_estimate(&c, &o, &m));
    int64_t cache = (INT64_C(1) << 38) * 2 * 8 * 4; /* keys and values, width */
    ck_assert(m.kv_cache >= cache && m.kv_cache < cache * 3 / 2);
}
END_TEST

START_TEST(nonsense_is_refused)
{
    llama2_config c;
    llama2_memory_options o;
    llama2_memory m = {.struct_size = sizeof m};
    llama2_config_init(&c, sizeof c);
    llama2_memory_options_init(&o, sizeof o);
    ck_fails(llama2_memory_estimate(NULL, &o, &m), LLAMA2_E_INVALID);
    ck_fails(llama2_memory_estimate(&c, &o, NULL), LLAMA2_E_INVALID);
    ck_ok(llama2_memory_estimate(&c, NULL, &m));
    o.batch_tokens = -1;
    ck_fails(llama2_memory_estimate(&c, &o, &m), LLAMA2_E_INVALID);
    o.batch_tokens = 10;
    o.batch_sequences = 11;
    ck_fails(llama2_memory_estimate(&c, &o, &m), LLAMA2_E_INVALID);
    o.batch_sequences = 1;
    o.dtype = LLAMA2_BF16;
    ck_fails(llama2_memory_estimate(&c, &o, &m), LLAMA2_E_INVALID);
    o.dtype = LLAMA2_F32;
    o.batch_tokens = INT64_MAX;
    ck_fails(llama2_memory_estimate(&c, &o, &m), LLAMA2_E_LIMIT);
    o.batch_tokens = 10;
    o.kv_tokens = INT64_MAX;
    ck_fails(llama2_memory_estimate(&c, &o, &m), LLAMA2_E_LIMIT);
    o.kv_tokens = 0;
    o.weights = 2;
    ck_fails(llama2_memory_estimate(&c, &o, &m), LLAMA2_E_INVALID);
    o.weights = LLAMA2_WEIGHTS_AS_STORED;
    o.train = 1;
    ck_fails(llama2_memory_estimate(&c, &o, &m), LLAMA2_E_INVALID);
    m.struct_size = 3;
    o.train = 0;
    ck_fails(llama2_memory_estimate(&c, &o, &m), LLAMA2_E_ABI);
}
END_TEST

Suite *test_suite(void)
{
    Suite *s = suite_create("model/memory");
    TCase *tc = tcase_create("bound");
    tcase_set_timeout(tc, 120);
    tcase_add_loop_test(tc, training_takes_no_more, 0, SHAPES);
    tcase_add_loop_test(tc, inference_takes_no_more, 0, SHAPES);
    suite_add_tcase(s, tc);
    ADD_CASE(s, "estimate", the_parts_of_7b, cache_of_many_blocks, nonsense_is_refused);
    return s;
}
