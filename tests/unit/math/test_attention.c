#include "gradcheck.h"
#include "math/ops.h"

/* Tensors of one call, and what they hold. */
typedef struct problem {
    int32_t dtype, n_sequences;
    int64_t heads, kv_heads, dh, n;
    int64_t offsets[16];
    void *q, *k, *v, *o, *lse, *d_o, *dq, *dk, *dv;
} problem;

typedef struct shape {
    int64_t heads, kv_heads, dh;
} shape;

static const shape shapes[] = {{1, 1, 2}, {2, 2, 6}, {4, 2, 16}, {4, 1, 64}, {3, 1, 80}, {2, 1, 128}, {6, 3, 16}};
enum { N_SHAPES = sizeof shapes / sizeof *shapes };

static problem make(int32_t dtype, shape s, int n_sequences, const int64_t *lengths, double scale)
{
    problem p = {.dtype = dtype, .n_sequences = n_sequences, .heads = s.heads, .kv_heads = s.kv_heads, .dh = s.dh};
    for (int i = 0; i < n_sequences; i++) p.offsets[i + 1] = p.offsets[i] + lengths[i];
    p.n = p.offsets[n_sequences];
    size_t size = l2_dtype_size(dtype);
    int64_t nq = p.n * p.heads * p.dh, nk = p.n * p.kv_heads * p.dh;
    p.q = test_numbers(dtype, nq, 1, 2 * scale);
    p.k = test_numbers(dtype, nk, 2, 2);
    p.v = test_numbers(dtype, nk, 3, 1);
    p.d_o = test_numbers(dtype, nq, 4, 1);
    p.o = test_alloc(nq, size);
    p.lse = test_alloc(p.n * p.heads, size);
    p.dq = test_alloc(nq, size);
    p.dk = test_alloc(nk, size);
    p.dv = test_alloc(nk, size);
    return p;
}

static void drop(problem *p)
{
    void *all[] = {p->q, p->k, p->v, p->o, p->lse, p->d_o, p->dq, p->dk, p->dv};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) free(all[i]);
}

static l2_tensor of_queries(const problem *p, void *data)
{
    return l2_tensor_3d(p->dtype, data, p->n, p->heads, p->dh);
}
static l2_tensor of_keys(const problem *p, void *data)
{
    return l2_tensor_3d(p->dtype, data, p->n, p->kv_heads, p->dh);
}

static llama2_status forward(llama2_context *ctx, problem *p)
{
    l2_tensor q = of_queries(p, p->q), k = of_keys(p, p->k), v = of_keys(p, p->v), o = of_queries(p, p->o);
    l2_tensor lse = l2_tensor_2d(p->dtype, p->lse, p->n, p->heads);
    l2_packing packing = {p->n_sequences, p->offsets};
    return l2_op_attention_forward(ctx, &q, &k, &v, &packing, &o, &lse);
}

static llama2_status backward(llama2_context *ctx, problem *p)
{
    l2_tensor q = of_queries(p, p->q), k = of_keys(p, p->k), v = of_keys(p, p->v), o = of_queries(p, p->o),
              d_o = of_queries(p, p->d_o);
    l2_tensor dq = of_queries(p, p->dq), dk = of_keys(p, p->dk), dv = of_keys(p, p->dv);
    l2_tensor lse = l2_tensor_2d(p->dtype, p->lse, p->n, p->heads);
    l2_packing packing = {p->n_sequences, p->offsets};
    return l2_op_attention_backward(ctx, &q, &k, &v, &o, &lse, &d_o, &packing, &dq, &dk, &dv);
}

static double get(const problem *p, const void *x, int64_t i)
{
    return p->dtype == LLAMA2_F64 ? ((const double *)x)[i] : (double)((const float *)x)[i];
}

static void same_bits(const char *what, const problem *a, const problem *b, int gradients)
{
    size_t size = l2_dtype_size(a->dtype);
    int64_t nq = a->n * a->heads * a->dh, nk = a->n * a->kv_heads * a->dh;
    ck_same_bits(what, a->o, b->o, nq, size);
    ck_same_bits(what, a->lse, b->lse, a->n * a->heads, size);
    if (!gradients) return;
    ck_same_bits(what, a->dq, b->dq, nq, size);
    ck_same_bits(what, a->dk, b->dk, nk, size);
    ck_same_bits(what, a->dv, b->dv, nk, size);
}

/* The definition, two passes over the keys in double; returns the largest error of o and lse. */
static double error_of(const problem *p)
{
    double worst = 0, *w = test_alloc(p->n, sizeof *w);
    for (int32_t s = 0; s < p->n_sequences; s++) {
        int64_t first = p->offsets[s];
        for (int64_t t = first; t < p->offsets[s + 1]; t++) {
            for (int64_t h = 0; h < p->heads; h++) {
                int64_t kv = h / (p->heads / p->kv_heads);
                double top = -INFINITY, sum = 0;
                for (int64_t u = first; u <= t; u++) {
                    double dot = 0;
                    for (int64_t d = 0; d < p->dh; d++) {
                        dot += get(p, p->q, (t * p->heads + h) * p->dh + d) *
                               get(p, p->k, (u * p->kv_heads + kv) * p->dh + d);
                    }
                    w[u] = dot / sqrt((double)p->dh);
                    top = fmax(top, w[u]);
                }
                for (int64_t u = first; u <= t; u++) sum += w[u] = exp(w[u] - top);
                for (int64_t d = 0; d < p->dh; d++) {
                    double o = 0;
                    for (int64_t u = first; u <= t; u++)
                        o += w[u] / sum * get(p, p->v, (u * p->kv_heads + kv) * p->dh + d);
                    double off = fabs(o - get(p, p->o, (t * p->heads + h) * p->dh + d));
                    worst = isnan(off) ? INFINITY : fmax(worst, off);
                }
                double off = fabs(top + log(sum) - get(p, p->lse, t * p->heads + h)) / fmax(1, fabs(top));
                worst = isnan(off) ? INFINITY : fmax(worst, off);
            }
        }
    }
    free(w);
    return worst;
}

static const int64_t odd_lengths[] = {1, 3, 17, 0, 64, 65, 2, 140};
enum { N_ODD = sizeof odd_lengths / sizeof *odd_lengths };

START_TEST(forward_is_the_definition)
{
    llama2_context *ctx = test_context(LLAMA2_ISA_AUTO, 2);
    static const int64_t singles[] = {1, 3, 17, 255};
    for (int i = 0; i < N_SHAPES; i++) {
        for (int32_t dtype = LLAMA2_F32; dtype <= LLAMA2_F64; dtype++) {
            double tolerance = dtype == LLAMA2_F64 ? 1e-13 : 3e-6;
            for (int j = 0; j <= 4; j++) {
                problem p =
                    j < 4 ? make(dtype, shapes[i], 1, &singles[j], 1) : make(dtype, shapes[i], N_ODD, odd_lengths, 1);
                ck_ok(forward(ctx, &p));
                ck_assert_double_le(error_of(&p), tolerance);
                drop(&p);
            }
        }
    }
    llama2_context_free(ctx);
}
END_TEST

/* Scores of several hundred: exp of them alone would overflow. */
START_TEST(large_scores)
{
    llama2_context *ctx = test_context(LLAMA2_ISA_AUTO, 1);
    int64_t length = 200;
    problem p = make(LLAMA2_F32, (shape){2, 1, 16}, 1, &length, 200);
    ck_ok(forward(ctx, &p));
    ck_assert_double_le(error_of(&p), 2e-3); /* a score of 400 has an error of some 1e-4 */
    drop(&p);
    llama2_context_free(ctx);
}
END_TEST

typedef struct check {
    llama2_context *ctx;
    problem *p;
} check;

static double loss(void *user)
{
    check *c = user;
    ck_ok(forward(c->ctx, c->p));
    double sum = 0;
    for (int64_t i = 0; i < c->p->n * c->p->heads * c->p->dh; i++)
        sum += ((double *)c->p->o)[i] * ((double *)c->p->d_o)[i];
    return sum;
}

static void check_gradient(llama2_context *ctx, shape s, int n_sequences, const int64_t *lengths, int64_t most)
{
    problem p = make(LLAMA2_F64, s, n_sequences, lengths, 1);
    check c = {ctx, &p};
    int64_t nq = p.n * p.heads * p.dh, nk = p.n * p.kv_heads * p.dh;
    ck_ok(forward(ctx, &p));
    ck_ok(backward(ctx, &p));
    gradcheck("dq", loss, &c, p.q, p.dq, nq, most, 1e-7);
    gradcheck("dk", loss, &c, p.k, p.dk, nk, most, 1e-7);
    gradcheck("dv", loss, &c, p.v, p.dv, nk, most, 1e-7);
    drop(&p);
}

START_TEST(gradients)
{
    llama2_context *ctx = test_context(LLAMA2_ISA_AUTO, 2);
    static const int64_t small[] = {1, 3, 17}, mixed[] = {17, 1, 70, 3};
    for (int i = 0; i < N_SHAPES; i++) {
        for (int j = 0; j < 3; j++) check_gradient(ctx, shapes[i], 1, &small[j], 20);
        check_gradient(ctx, shapes[i], 4, mixed, 6);
    }
    llama2_context_free(ctx);
}
END_TEST

/* Over several blocks, and (300) over two segments. */
START_TEST(gradients_of_long_sequences)
{
    llama2_context *ctx = test_context(LLAMA2_ISA_AUTO, 2);
    static const int64_t lengths[] = {255, 300};
    check_gradient(ctx, (shape){2, 2, 6}, 1, &lengths[0], 15);
    check_gradient(ctx, (shape){4, 1, 2}, 1, &lengths[1], 15);
    llama2_context_free(ctx);
}
END_TEST

static const int64_t long_lengths[] = {300, 5, 131, 64};

START_TEST(bits_do_not_depend_on_threads)
{
    static const int64_t lengths[] = {1100, 3, 530, 65};
    problem ref = {0};
    static const int32_t threads[] = {1, 2, 3, 8};
    for (int i = 0; i < 4; i++) {
        llama2_context *ctx = test_context(LLAMA2_ISA_AUTO, threads[i]);
        problem p = make(LLAMA2_F32, (shape){6, 2, 48}, 4, lengths, 1);
        ck_ok(forward(ctx, &p));
        ck_ok(backward(ctx, &p));
        if (i == 0) {
            ref = p;
        } else {
            same_bits("threads", &ref, &p, 1);
            drop(&p);
        }
        llama2_context_free(ctx);
    }
    drop(&ref);
}
END_TEST

START_TEST(bits_do_not_depend_on_the_instruction_set)
{
    static const shape some[] = {{4, 2, 16}, {3, 1, 6}, {2, 1, 80}};
    for (int j = 0; j < 3; j++) {
        llama2_context *ctx = test_context(LLAMA2_ISA_SCALAR, 2);
        problem ref = make(LLAMA2_F32, some[j], 4, long_lengths, 1);
        ck_ok(forward(ctx, &ref));
        ck_ok(backward(ctx, &ref));
        llama2_context_free(ctx);
        for (int32_t isa = LLAMA2_ISA_AVX2; isa <= LLAMA2_ISA_AVX512; isa++) {
            ctx = test_context(isa, 2);
            if (!ctx) continue;
            problem p = make(LLAMA2_F32, some[j], 4, long_lengths, 1);
            ck_ok(forward(ctx, &p));
            ck_ok(backward(ctx, &p));
            same_bits(isa == LLAMA2_ISA_AVX2 ? "avx2" : "avx512", &ref, &p, 1);
            drop(&p);
            llama2_context_free(ctx);
        }
        drop(&ref);
    }
}
END_TEST

static problem alone(const problem *all, int s)
{
    int64_t length = all->offsets[s + 1] - all->offsets[s];
    problem p = make(all->dtype, (shape){all->heads, all->kv_heads, all->dh}, 1, &length, 1);
    size_t size = l2_dtype_size(all->dtype), q = (size_t)(all->heads * all->dh) * size,
           k = (size_t)(all->kv_heads * all->dh) * size;
    size_t first = (size_t)all->offsets[s], n = (size_t)length;
    memcpy(p.q, (char *)all->q + first * q, n * q);
    memcpy(p.k, (char *)all->k + first * k, n * k);
    memcpy(p.v, (char *)all->v + first * k, n * k);
    memcpy(p.d_o, (char *)all->d_o + first * q, n * q);
    return p;
}

START_TEST(bits_do_not_depend_on_neighbours)
{
    llama2_context *ctx = test_context(LLAMA2_ISA_AUTO, 2);
    for (int i = 0; i < N_SHAPES; i++) {
        problem all = make(LLAMA2_F32, shapes[i], 4, long_lengths, 1);
        ck_ok(forward(ctx, &all));
        ck_ok(backward(ctx, &all));
        for (int s = 0; s < 4; s++) {
            problem one = alone(&all, s), part = one;
            ck_ok(forward(ctx, &one));
            ck_ok(backward(ctx, &one));
            int64_t first = all.offsets[s];
            part.o = (float *)all.o + first * all.heads * all.dh;
            part.lse = (float *)all.lse + first * all.heads;
            part.dq = (float *)all.dq + first * all.heads * all.dh;
            part.dk = (float *)all.dk + first * all.kv_heads * all.dh;
            part.dv = (float *)all.dv + first * all.kv_heads * all.dh;
            same_bits("alone", &one, &part, 1);
            drop(&one);
        }
        drop(&all);
    }
    llama2_context_free(ctx);
}
END_TEST

/* NaN at later positions reaches no earlier one. */
START_TEST(the_future_is_not_touched)
{
    llama2_context *ctx = test_context(LLAMA2_ISA_AUTO, 2);
    int64_t length = 150;
    for (int i = 0; i < N_SHAPES; i++) {
        for (int64_t bad = 60; bad < 68; bad++) {
            problem a = make(LLAMA2_F32, shapes[i], 1, &length, 1), b = make(LLAMA2_F32, shapes[i], 1, &length, 1);
            int64_t row = a.kv_heads * a.dh;
            for (int64_t j = bad * row; j < length * row; j++) ((float *)b.k)[j] = ((float *)b.v)[j] = NAN;
            ck_ok(forward(ctx, &a));
            ck_ok(forward(ctx, &b));
            ck_same_bits("past", a.o, b.o, bad * a.heads * a.dh, sizeof(float));
            ck_same_bits("past lse", a.lse, b.lse, bad * a.heads, sizeof(float));
            ck_assert(isnan(((float *)b.o)[bad * a.heads * a.dh]));
            drop(&a);
            drop(&b);
        }
    }
    llama2_context_free(ctx);
}
END_TEST

/* --- the cache ------------------------------------------------------------------------------- */

enum { CACHE_BLOCKS = 24 };

typedef struct cache {
    l2_kv_layer layer;
    void *memory[CACHE_BLOCKS];
    int32_t blocks[4][8];
    const int32_t *tables[4];
} cache;

/* Memory that was never written holds NaN. Blocks are handed out in no order. */
static void make_cache(const problem *p, cache *c)
{
    int64_t part = p->kv_heads * p->dh * L2_KV_BLOCK;
    c->layer = (l2_kv_layer){p->dtype, p->kv_heads, p->dh, c->memory, part, 2 * part};
    for (int b = 0; b < CACHE_BLOCKS; b++) {
        float *block = test_alloc(3 * part, sizeof *block);
        for (int64_t i = 0; i < 3 * part; i++) block[i] = NAN;
        c->memory[b] = block;
    }
    for (int s = 0; s < 4; s++) {
        for (int b = 0; b < 6; b++) c->blocks[s][b] = (s * 6 + b) * 7 % CACHE_BLOCKS;
    }
}

static void drop_cache(cache *c)
{
    for (int b = 0; b < CACHE_BLOCKS; b++) free(c->memory[b]);
}

/* Feeds `count[s]` new rows of each sequence from position `start[s]` on. */
static void feed(llama2_context *ctx, const problem *p, cache *c, const int64_t *start, const int64_t *count, float *o)
{
    int64_t offsets[5] = {0}, rq = p->heads * p->dh, rk = p->kv_heads * p->dh;
    for (int s = 0; s < p->n_sequences; s++) {
        offsets[s + 1] = offsets[s] + count[s];
        c->tables[s] = c->blocks[s];
    }
    int64_t n = offsets[p->n_sequences];
    float *q = test_alloc(n * rq, 4), *k = test_alloc(n * rk, 4), *v = test_alloc(n * rk, 4),
          *out = test_alloc(n * rq, 4);
    for (int s = 0; s < p->n_sequences; s++) {
        int64_t from = p->offsets[s] + start[s];
        memcpy(q + offsets[s] * rq, (float *)p->q + from * rq, (size_t)(count[s] * rq) * 4);
        memcpy(k + offsets[s] * rk, (float *)p->k + from * rk, (size_t)(count[s] * rk) * 4);
        memcpy(v + offsets[s] * rk, (float *)p->v + from * rk, (size_t)(count[s] * rk) * 4);
    }
    l2_kv_rows rows = {p->n_sequences, offsets, start, c->tables};
    l2_tensor tq = l2_tensor_3d(LLAMA2_F32, q, n, p->heads, p->dh),
              to = l2_tensor_3d(LLAMA2_F32, out, n, p->heads, p->dh);
    l2_tensor tk = l2_tensor_3d(LLAMA2_F32, k, n, p->kv_heads, p->dh),
              tv = l2_tensor_3d(LLAMA2_F32, v, n, p->kv_heads, p->dh);
    ck_ok(l2_op_kv_store(ctx, &tk, &tv, &rows, &c->layer));
    ck_ok(l2_op_attention_cached(ctx, &tq, &c->layer, &rows, &to));
    for (int s = 0; s < p->n_sequences; s++) {
        memcpy(o + (p->offsets[s] + start[s]) * rq, out + offsets[s] * rq, (size_t)(count[s] * rq) * 4);
    }
    free(q);
    free(k);
    free(v);
    free(out);
}

/* In steps of at most `step` rows a sequence, the sequences out of step with each other. */
static void check_cached(llama2_context *ctx, const problem *p, int64_t step)
{
    cache c;
    make_cache(p, &c);
    int64_t start[4] = {0}, count[4], left = 1;
    float *o = test_alloc(p->n * p->heads * p->dh, 4);
    for (int64_t round = 0; left > 0; round++) {
        left = 0;
        for (int s = 0; s < p->n_sequences; s++) {
            int64_t length = p->offsets[s + 1] - p->offsets[s], most = 1 + (round + s) % step;
            if (step == 1) most = 1;
            count[s] = length - start[s] < most ? length - start[s] : most;
        }
        feed(ctx, p, &c, start, count, o);
        for (int s = 0; s < p->n_sequences; s++) {
            start[s] += count[s];
            left += p->offsets[s + 1] - p->offsets[s] - start[s];
        }
    }
    ck_same_bits("cached", p->o, o, p->n * p->heads * p->dh, sizeof(float));
    free(o);
    drop_cache(&c);
}

START_TEST(cached_equals_forward)
{
    llama2_context *ctx = test_context(LLAMA2_ISA_AUTO, 2);
    for (int i = 0; i < N_SHAPES; i++) {
        problem p = make(LLAMA2_F32, shapes[i], 4, long_lengths, 1);
        ck_ok(forward(ctx, &p));
        static const int64_t steps[] = {1, 7, 64, 100, 512};
        for (int j = 0; j < 5; j++) check_cached(ctx, &p, steps[j]);
        drop(&p);
    }
    llama2_context_free(ctx);
}
END_TEST

/* Few rows are given out several kv heads together, as many as a task has room for and what is left over. */
START_TEST(few_rows_of_many_heads)
{
    static const int64_t length = 70;
    for (int threads = 1; threads <= 3; threads++) {
        llama2_context *ctx = test_context(LLAMA2_ISA_AUTO, threads);
        problem p = make(LLAMA2_F32, (shape){106, 53, 5}, 1, &length, 1);
        ck_ok(forward(ctx, &p));
        check_cached(ctx, &p, 1);
        check_cached(ctx, &p, 4);
        drop(&p);
        llama2_context_free(ctx);
    }
}
END_TEST

/* The first block of both sequences is one block, written once. */
START_TEST(sequences_share_blocks)
{
    llama2_context *ctx = test_context(LLAMA2_ISA_AUTO, 2);
    static const int64_t lengths[] = {150, 97};
    problem p = make(LLAMA2_F32, (shape){4, 2, 16}, 2, lengths, 1);
    size_t row = (size_t)(p.kv_heads * p.dh) * sizeof(float);
    memcpy((char *)p.k + 150 * row, p.k, 64 * row);
    memcpy((char *)p.v + 150 * row, p.v, 64 * row);
    ck_ok(forward(ctx, &p));
    cache c;
    make_cache(&p, &c);
    c.blocks[1][0] = c.blocks[0][0];
    float *o = test_alloc(p.n * p.heads * p.dh, 4);
    feed(ctx, &p, &c, (int64_t[]){0, 0}, (int64_t[]){64, 0}, o);
    feed(ctx, &p, &c, (int64_t[]){64, 64}, (int64_t[]){80, 33}, o);
    feed(ctx, &p, &c, (int64_t[]){144, 97}, (int64_t[]){6, 0}, o);
    int64_t rq = p.heads * p.dh;
    ck_same_bits("owner", p.o, o, 150 * rq, sizeof(float));
    ck_same_bits("sharer", (float *)p.o + 214 * rq, o + 214 * rq, 33 * rq, sizeof(float));
    free(o);
    drop_cache(&c);
    drop(&p);
    llama2_context_free(ctx);
}
END_TEST

/* --- no memory ------------------------------------------------------------------------------- */

typedef struct budget {
    int left; /* allocations before they fail; negative: never */
} budget;

static void *limited_alloc(void *user, size_t size, size_t alignment)
{
    budget *b = user;
    if (b->left == 0) return NULL;
    if (b->left > 0) b->left--;
    return aligned_alloc(alignment, (size + alignment - 1) / alignment * alignment);
}

static void limited_free(void *user, void *p)
{
    (void)user;
    free(p);
}

START_TEST(no_memory_changes_nothing)
{
    int64_t length = 300;
    int failures = 0;
    for (int left = 0; left < 12; left++) {
        budget b = {-1};
        llama2_context_options options;
        llama2_context_options_init(&options, sizeof options);
        options.n_threads = 1;
        options.alloc = limited_alloc;
        options.dealloc = limited_free;
        options.alloc_user = &b;
        llama2_context *ctx;
        ck_ok(llama2_context_create(&options, &ctx));
        problem p = make(LLAMA2_F32, (shape){2, 1, 6}, 1, &length, 1),
                untouched = make(LLAMA2_F32, (shape){2, 1, 6}, 1, &length, 1);
        b.left = left;
        for (int back = 0; back < 2; back++) {
            llama2_status status = back ? backward(ctx, &p) : forward(ctx, &p);
            if (status == LLAMA2_OK) continue;
            ck_assert_int_eq(status, LLAMA2_E_NOMEM);
            failures++;
            if (back) {
                ck_same_bits("dq", p.dq, untouched.dq, p.n * 12, sizeof(float));
                ck_same_bits("dk", p.dk, untouched.dk, p.n * 6, sizeof(float));
            } else {
                ck_same_bits("o", p.o, untouched.o, p.n * 12, sizeof(float));
            }
        }
        b.left = -1;
        drop(&p);
        drop(&untouched);
        llama2_context_free(ctx);
    }
    ck_assert_int_ge(failures, 8);
}
END_TEST

Suite *test_suite(void)
{
    Suite *suite = suite_create("math/attention");
    ADD_CASE(suite, "values", forward_is_the_definition, large_scores);
    ADD_CASE(suite, "gradients", gradients, gradients_of_long_sequences);
    ADD_CASE(suite, "bits", bits_do_not_depend_on_threads, bits_do_not_depend_on_the_instruction_set,
             bits_do_not_depend_on_neighbours, the_future_is_not_touched);
    ADD_CASE(suite, "cache", cached_equals_forward, few_rows_of_many_heads, sequences_share_blocks);
    ADD_CASE(suite, "memory", no_memory_changes_nothing);
    return suite;
}
