/* Products against their definition in fused multiply-adds, bit for bit, and against double; memory bounds; the BLAS.
 */
#include "gradcheck.h"
#include "base/alloc.h"
#include "math/gemm.h"
#include <sys/mman.h>
#include <unistd.h>

static const int sizes[] = {1, 3, 17, 64, 65, 255}, depths[] = {1, 3, 17, 64, 255, L2_GEMM_BLOCK + 3};
enum { N_SIZES = sizeof sizes / sizeof *sizes };

/* A product: operands as they lie, bit 0 of the layout transposing a, bit 1 b. */
typedef struct product {
    int64_t m, n, k;
    l2_matrix a, b;
    void *pa, *pb, *start, *c;
    int32_t dtype;
} product;

static l2_matrix lie(void *data, int64_t rows, int64_t columns, int transposed)
{
    return transposed ? (l2_matrix){data, 1, rows} : (l2_matrix){data, columns, 1};
}

/* One product at a time; its memory is used again by the next. */
static double arena[4][800000];

static void *numbers(int32_t dtype, int which, int64_t n, uint64_t seed)
{
    ck_assert((size_t)n * l2_dtype_size(dtype) <= sizeof arena[which]);
    for (int64_t i = 0; i < n; i++) {
        if (dtype == LLAMA2_F64)
            arena[which][i] = test_random(seed, (uint64_t)i);
        else
            ((float *)(void *)arena[which])[i] = (float)test_random(seed, (uint64_t)i);
    }
    return arena[which];
}

static product make(int32_t dtype, int64_t m, int64_t n, int64_t k, int layout)
{
    product p = {.m = m, .n = n, .k = k, .dtype = dtype};
    p.pa = numbers(dtype, 0, m * k, 1);
    p.pb = numbers(dtype, 1, k * n, 2);
    p.start = numbers(dtype, 2, m * n, 3);
    p.c = numbers(dtype, 3, m * n, 4);
    p.a = lie(p.pa, m, k, layout & 1);
    p.b = lie(p.pb, k, n, layout & 2);
    return p;
}

static void run(llama2_context *ctx, product *p, int mode)
{
    memcpy(p->c, p->start, (size_t)(p->m * p->n) * l2_dtype_size(p->dtype));
    ck_ok(l2_gemm(ctx, p->dtype, p->m, p->n, p->k, p->a, p->b, p->c, p->n, mode));
}

/* Products k0 .. k1 of element (i, j), as a chain that starts from `chain`. */
static float go_on(const product *p, int64_t i, int64_t j, int64_t k0, int64_t k1, float chain)
{
    const float *a = p->a.data, *b = p->b.data;
    for (int64_t q = k0; q < k1; q++)
        chain = fmaf(a[i * p->a.row_stride + q * p->a.column_stride], b[q * p->b.row_stride + j * p->b.column_stride],
                     chain);
    return chain;
}

static float definition(const product *p, int64_t i, int64_t j, int mode)
{
    float c = ((float *)p->start)[i * p->n + j];
    if (mode == L2_GEMM_CONTINUE) return go_on(p, i, j, 0, p->k, c);
    for (int64_t k0 = 0; k0 < p->k; k0 += L2_GEMM_BLOCK) {
        float sum = go_on(p, i, j, k0, k0 + L2_GEMM_BLOCK < p->k ? k0 + L2_GEMM_BLOCK : p->k, 0);
        c = k0 == 0 && mode == L2_GEMM_ZERO ? sum : c + sum;
    }
    return c;
}

/* Against the definition, and a sum of products in double. */
static void check_product(const char *name, const product *p, int mode, int bits)
{
    for (int64_t i = 0; i < p->m; i++) {
        for (int64_t j = 0; j < p->n; j++) {
            int64_t at = i * p->n + j;
            const float *a = p->a.data, *b = p->b.data;
            double sum = mode == L2_GEMM_ZERO ? 0 : (double)((float *)p->start)[at];
            for (int64_t q = 0; q < p->k; q++)
                sum += (double)a[i * p->a.row_stride + q * p->a.column_stride] *
                       (double)b[q * p->b.row_stride + j * p->b.column_stride];
            float c = ((float *)p->c)[at], defined = definition(p, i, j, mode);
            ck_each(fabs((double)c - sum) <= 2e-7 * (double)(p->k + 4),
                    "%s: %lld x %lld x %lld, element %lld, %lld: %.9g, not %.9g", name, (long long)p->m,
                    (long long)p->n, (long long)p->k, (long long)i, (long long)j, (double)c, sum);
            if (bits) ck_same_bits(name, &c, &defined, 1, 4);
        }
    }
}

static void check_all_sizes(int32_t isa)
{
    llama2_context *ctx = test_context(isa, 2);
    if (!ctx) return;
    for (int x = 0; x < N_SIZES; x++) {
        for (int y = 0; y < N_SIZES; y++) {
            for (int z = 0; z < N_SIZES; z++) {
                if (x + y + z > 2 * N_SIZES) continue;
                for (int layout = 0; layout < 4; layout++) {
                    product p = make(LLAMA2_F32, sizes[x], sizes[y], depths[z], layout);
                    for (int mode = 0; mode < 3; mode++) {
                        run(ctx, &p, mode);
                        check_product("gemm", &p, mode, 1);
                    }
                }
            }
        }
    }
    llama2_context_free(ctx);
}

START_TEST(scalar)
{
    check_all_sizes(LLAMA2_ISA_SCALAR);
}
END_TEST
START_TEST(avx2)
{
    check_all_sizes(LLAMA2_ISA_AVX2);
}
END_TEST
START_TEST(avx512)
{
    check_all_sizes(LLAMA2_ISA_AVX512);
}
END_TEST

START_TEST(few_rows)
{
    for (int32_t isa = LLAMA2_ISA_SCALAR; isa <= LLAMA2_ISA_AVX512; isa++) {
        llama2_context *ctx = test_context(isa, 2);
        if (!ctx) continue;
        for (int m = 1; m <= 14; m++) {
            for (int layout = 0; layout < 4; layout++) {
                product p = make(LLAMA2_F32, m, 131, 530, layout);
                for (int mode = 0; mode < 3; mode++) {
                    run(ctx, &p, mode);
                    check_product("few rows", &p, mode, 1);
                }
            }
        }
        llama2_context_free(ctx);
    }
}
END_TEST

/* Every number of rows of the path with a's transpose, and what comes after it; columns that leave groups of 4 and
 * single ones. */
START_TEST(some_rows)
{
    for (int32_t isa = LLAMA2_ISA_SCALAR; isa <= LLAMA2_ISA_AVX512; isa++) {
        llama2_context *ctx = test_context(isa, 2);
        if (!ctx) continue;
        for (int m = 9; m <= 66; m++) {
            const int n[] = {1, 30, 101}, k[] = {1, 37, 530};
            for (int i = 0; i < 9; i++) {
                product p = make(LLAMA2_F32, m, n[i / 3], k[i % 3], 2);
                for (int mode = 0; mode < 3; mode++) {
                    run(ctx, &p, mode);
                    check_product("some rows", &p, mode, 1);
                }
            }
        }
        llama2_context_free(ctx);
    }
}
END_TEST

START_TEST(threads_change_no_bit)
{
    const int64_t shapes[][3] = {{300, 700, 530}, {1, 1000, 600}, {70, 65, 1100}, {7, 4000, 64}, {37, 700, 530}};
    const int32_t threads[] = {1, 2, 3, 8};
    for (int s = 0; s < 5; s++) {
        for (int layout = 0; layout < 4; layout++) {
            product p = make(LLAMA2_F32, shapes[s][0], shapes[s][1], shapes[s][2], layout);
            float *first = test_alloc(p.m * p.n, 4);
            for (int t = 0; t < 4; t++) {
                llama2_context *ctx = test_context(LLAMA2_ISA_AUTO, threads[t]);
                run(ctx, &p, 1);
                if (t == 0) memcpy(first, p.c, (size_t)(p.m * p.n) * 4);
                ck_same_bits("threads", first, p.c, p.m * p.n, 4);
                if (t == 0 && s == 2) check_product("several steps in k", &p, 1, 1);
                llama2_context_free(ctx);
            }
            free(first);
        }
    }
}
END_TEST

START_TEST(a_row_alone_is_a_row_among_300)
{
    llama2_context *ctx = test_context(LLAMA2_ISA_AUTO, 2);
    for (int layout = 0; layout < 4; layout += 2) {
        product p = make(LLAMA2_F32, 300, 333, 600, layout);
        run(ctx, &p, 0);
        float *some = test_alloc(p.n * 20, 4);
        for (int64_t rows = 1; rows <= 20; rows += 3) {
            for (int64_t i = 0; i + rows <= p.m; i += 41) {
                l2_matrix a = p.a;
                a.data = (float *)p.pa + i * p.k;
                ck_ok(l2_gemm(ctx, LLAMA2_F32, rows, p.n, p.k, a, p.b, some, p.n, 0));
                ck_same_bits("rows", some, (float *)p.c + i * p.n, rows * p.n, 4);
            }
        }
        free(some);
    }
    llama2_context_free(ctx);
}
END_TEST

START_TEST(doubles)
{
    llama2_context *ctx = test_context(LLAMA2_ISA_AUTO, 2);
    for (int layout = 0; layout < 4; layout++) {
        for (int64_t m = 1; m <= 65; m += 16) {
            product p = make(LLAMA2_F64, m, 65, 530, layout);
            run(ctx, &p, 1);
            const double *a = p.pa, *b = p.pb;
            for (int64_t i = 0; i < m * 65; i++) {
                double c = ((double *)p.start)[i], chain = 0;
                for (int64_t q = 0; q < p.k; q++) {
                    if (q == L2_GEMM_BLOCK) c += chain, chain = 0;
                    chain = fma(a[i / 65 * p.a.row_stride + q * p.a.column_stride],
                                b[q * p.b.row_stride + i % 65 * p.b.column_stride], chain);
                }
                c += chain;
                ck_same_bits("double", &c, (double *)p.c + i, 1, 8);
            }
        }
    }
    llama2_context_free(ctx);
}
END_TEST

START_TEST(nothing_to_add)
{
    llama2_context *ctx = test_context(LLAMA2_ISA_AUTO, 1);
    float c[20];
    for (int i = 0; i < 20; i++) c[i] = 7;
    ck_ok(l2_gemm(ctx, LLAMA2_F32, 4, 5, 0, (l2_matrix){c, 1, 1}, (l2_matrix){c, 1, 1}, c, 5, 1));
    ck_assert(c[0] == 7 && c[19] == 7);
    ck_ok(l2_gemm(ctx, LLAMA2_F32, 4, 5, 0, (l2_matrix){c, 1, 1}, (l2_matrix){c, 1, 1}, c, 5, 0));
    for (int i = 0; i < 20; i++) ck_assert(c[i] == 0);
    llama2_context_free(ctx);
}
END_TEST

/* `bytes` that end where the process may not read any more. */
static void *at_the_edge(size_t bytes, void **map, size_t *mapped)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE), whole = (bytes + page - 1) / page * page;
    *mapped = whole + page;
    char *p = mmap(NULL, *mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    ck_assert(p != MAP_FAILED);
    ck_assert_int_eq(mprotect(p + whole, page, PROT_NONE), 0);
    *map = p;
    return p + whole - bytes;
}

START_TEST(reads_nothing_beyond_the_operands)
{
    const int64_t shapes[][3] = {{1, 17, 19}, {3, 65, 33}, {8, 47, 65}, {13, 31, 50}, {65, 70, 17}, {5, 20, 530}};
    for (int32_t isa = LLAMA2_ISA_SCALAR; isa <= LLAMA2_ISA_AVX512; isa++) {
        llama2_context *ctx = test_context(isa, 1);
        if (!ctx) continue;
        for (int s = 0; s < 6; s++) {
            for (int layout = 0; layout < 4; layout++) {
                product p = make(LLAMA2_F32, shapes[s][0], shapes[s][1], shapes[s][2], layout);
                void *maps[3], *parts[3];
                size_t mapped[3],
                    bytes[3] = {(size_t)(p.m * p.k) * 4, (size_t)(p.k * p.n) * 4, (size_t)(p.m * p.n) * 4};
                for (int i = 0; i < 3; i++) parts[i] = at_the_edge(bytes[i], &maps[i], &mapped[i]);
                p.a.data = memcpy(parts[0], p.pa, bytes[0]);
                p.b.data = memcpy(parts[1], p.pb, bytes[1]);
                memcpy(parts[2], p.start, bytes[2]);
                ck_ok(l2_gemm(ctx, LLAMA2_F32, p.m, p.n, p.k, p.a, p.b, parts[2], p.n, 1));
                memcpy(p.c, parts[2], bytes[2]);
                check_product("edge", &p, 1, 1);
                for (int i = 0; i < 3; i++) munmap(maps[i], mapped[i]);
            }
        }
        llama2_context_free(ctx);
    }
}
END_TEST

static int memory_is_short;

static void *short_alloc(void *user, size_t size, size_t alignment)
{
    (void)user;
    return memory_is_short ? NULL : aligned_alloc(alignment, size);
}

static void short_free(void *user, void *ptr)
{
    (void)user;
    free(ptr);
}

START_TEST(without_memory_the_same_bits)
{
    llama2_context_options options;
    llama2_context_options_init(&options, sizeof options);
    options.alloc = short_alloc;
    options.dealloc = short_free;
    options.n_threads = 2;
    llama2_context *ctx;
    ck_ok(llama2_context_create(&options, &ctx));
    for (int layout = 0; layout < 4; layout++) {
        product p = make(LLAMA2_F32, 40, 130, 600, layout);
        for (int mode = 0; mode < 3; mode++) {
            memory_is_short = 1;
            run(ctx, &p, mode);
            memory_is_short = 0;
            check_product("no memory", &p, mode, 1);
        }
    }
    llama2_context_free(ctx);
}
END_TEST

START_TEST(blas)
{
    llama2_context_options options;
    llama2_context_options_init(&options, sizeof options);
    options.gemm = LLAMA2_GEMM_CBLAS;
    llama2_context *ctx;
    if (!l2_gemm_has_cblas()) {
        ck_fails(llama2_context_create(&options, &ctx), LLAMA2_E_UNSUPPORTED);
        return;
    }
    ck_ok(llama2_context_create(&options, &ctx));
    for (int x = 0; x < N_SIZES; x++) {
        for (int y = 0; y < N_SIZES; y++) {
            for (int layout = 0; layout < 4; layout++) {
                product p = make(LLAMA2_F32, sizes[x], sizes[y], depths[(x + 2 * y) % N_SIZES], layout);
                for (int mode = 0; mode < 3; mode++) {
                    run(ctx, &p, mode);
                    check_product("cblas", &p, mode, 0);
                }
            }
        }
    }
    llama2_context_free(ctx);
}
END_TEST

Suite *test_suite(void)
{
    Suite *suite = suite_create("math/gemm");
    ADD_CASE(suite, "values", scalar, avx2, avx512, few_rows, some_rows, doubles, nothing_to_add);
    ADD_CASE(suite, "bits", threads_change_no_bit, a_row_alone_is_a_row_among_300);
    ADD_CASE(suite, "memory", reads_nothing_beyond_the_operands, without_memory_the_same_bits);
    ADD_CASE(suite, "blas", blas);
    return suite;
}
