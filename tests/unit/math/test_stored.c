/*
 * Matrices as they lie in a file: the numbers are those of format/quantised.c bit for bit, whichever instruction set
 * makes them, and so are products, for any number of rows and threads.
 */
#include "format/quantised.h"
#include "format/random_blocks.h"
#include "gradcheck.h"
#include "math/ops.h"
#include <sys/mman.h>
#include <unistd.h>

enum { F = LLAMA2_F32 };

typedef struct matrix {
    l2_stored stored;
    unsigned char *data, *at;
    int64_t rows, columns;
    float *plain; /* what l2_dequantise makes of it, rows in the order of the library */
} matrix;

/* Where row `row` of heads of 2 half rows lies: 0 2 4 ... | 1 3 5 .... */
static int64_t row_in_file(int64_t row, int64_t head_dim)
{
    if (!head_dim) return row;
    int64_t in_head = row % head_dim, half = head_dim / 2;
    return row - in_head + (in_head < half ? 2 * in_head : 2 * (in_head - half) + 1);
}

/* The rows begin at an odd address, as a file may have them. */
static matrix make(int32_t type, int64_t rows, int64_t columns, int64_t head_dim, uint64_t seed, float range)
{
    uint32_t elements, bytes;
    ck_assert_ptr_nonnull(l2_ggml_type(type, &elements, &bytes));
    ck_assert_int_eq(columns % elements, 0);
    size_t row_bytes = (size_t)(columns / elements) * bytes;
    matrix m = {.rows = rows, .columns = columns, .data = test_alloc((int64_t)row_bytes * rows + 1, 1)};
    m.at = m.data + (type != L2_GGML_F32);
    fill_blocks(type, m.at, row_bytes * (size_t)rows, seed, range);
    m.stored = (l2_stored){type, m.at, row_bytes, head_dim};
    m.plain = test_alloc(rows * columns, 4);
    for (int64_t r = 0; r < rows; r++)
        ck_ok(l2_dequantise(type, m.at + (size_t)row_in_file(r, head_dim) * row_bytes, columns, m.plain + r * columns));
    return m;
}

static void drop(matrix *m)
{
    free(m->data);
    free(m->plain);
}

/* Any NaN is as good as another. */
static void same_numbers(int32_t type, const float *want, const float *got, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        ck_each(memcmp(want + i, got + i, 4) == 0 || (isnan(want[i]) && isnan(got[i])),
                "type %d: element %lld is %a, expected %a", type, (long long)i, (double)got[i], (double)want[i]);
}

/* Any bits, so that every scale, sign and bit of every block occurs; rows in ranges and one by one. */
START_TEST(numbers)
{
    int32_t type = stored_types[_i];
    for (int32_t isa = LLAMA2_ISA_SCALAR; isa <= LLAMA2_ISA_AVX512; isa++) {
        llama2_context *ctx = test_context(isa, 2);
        if (!ctx) continue;
        for (uint64_t seed = 0; seed < 20; seed++) {
            int64_t rows = 1 + (int64_t)seed * 2, columns = _i < 3 && seed % 2 ? 77 : 768;
            matrix m = make(type, rows, columns, 0, seed, 0);
            float *got = test_alloc(rows * columns, 4);
            l2_stored_read(ctx, &m.stored, columns, NULL, 0, rows, got);
            same_numbers(type, m.plain, got, rows * columns);
            int64_t first = rows / 3, n = rows / 2;
            l2_stored_read(ctx, &m.stored, columns, NULL, first, n, got);
            same_numbers(type, m.plain + first * columns, got, n * columns);
            free(got);
            drop(&m);
        }
        llama2_context_free(ctx);
    }
}
END_TEST

START_TEST(rows_of_rotary_pairs)
{
    enum { ROWS = 36, COLUMNS = 96 };
    llama2_context *ctx = test_context(LLAMA2_ISA_AUTO, 2);
    for (int64_t head_dim = 2; head_dim <= ROWS; head_dim += head_dim == 2 ? 10 : 24) {
        matrix m = make(L2_GGML_Q8_0, ROWS, COLUMNS, head_dim, 3, 1);
        float *got = test_alloc(ROWS * COLUMNS, 4), *whole = test_alloc(ROWS * COLUMNS, 4);
        l2_gguf_tensor t = {.type = L2_GGML_Q8_0, .n_dims = 2, .shape = {ROWS, COLUMNS}, .data = m.at};
        t.size = m.stored.row_bytes * ROWS;
        l2_stored_read(ctx, &m.stored, COLUMNS, NULL, 0, ROWS, got);
        ck_ok(l2_gguf_read(ctx, &t, head_dim, F, whole));
        ck_same_bits("rows", whole, got, ROWS * COLUMNS, 4);
        ck_same_bits("rows", m.plain, got, ROWS * COLUMNS, 4);
        free(got);
        free(whole);
        drop(&m);
    }
    llama2_context_free(ctx);
}
END_TEST

START_TEST(embedding)
{
    enum { V = 19, T = 70, D = 256 };
    int32_t tokens[T];
    float *got = test_alloc(T * D, 4);
    llama2_context *ctx = test_context(LLAMA2_ISA_AUTO, 2);
    matrix m = make(stored_types[_i], V, D, 0, 5, 1);
    for (int t = 0; t < T; t++) tokens[t] = (t * t + 3 * t) % V;
    l2_linear w = {.weight = l2_tensor_2d(F, NULL, V, D), .stored = &m.stored};
    l2_tensor y = l2_tensor_2d(F, got, T, D);
    ck_ok(l2_op_embedding_forward(ctx, &w, tokens, &y));
    for (int t = 0; t < T; t++) ck_same_bits("row", m.plain + tokens[t] * D, got + t * D, D, 4);
    free(got);
    drop(&m);
    llama2_context_free(ctx);
}
END_TEST

/* --- products --------------------------------------------------------------------------------- */

static void check_product(llama2_context *ctx, const matrix *m, int64_t rows, int accumulate)
{
    int64_t n = m->rows, k = m->columns;
    float *x = test_numbers(F, rows * k, 8, 1), *want = test_numbers(F, rows * n, 9, 1),
          *got = test_numbers(F, rows * n, 9, 1);
    l2_linear dense = {.weight = l2_tensor_2d(F, m->plain, n, k)},
              stored = {.weight = l2_tensor_2d(F, NULL, n, k), .stored = &m->stored};
    l2_tensor xs = l2_tensor_2d(F, x, rows, k), a = l2_tensor_2d(F, want, rows, n), b = l2_tensor_2d(F, got, rows, n);
    ck_ok(l2_linear_forward(ctx, &dense, &xs, &a, accumulate));
    ck_ok(l2_linear_forward(ctx, &stored, &xs, &b, accumulate));
    ck_same_bits("y", want, got, rows * n, 4);
    free(x);
    free(want);
    free(got);
}

static const int64_t row_counts[] = {1, 2, 6, 7, 8, 9, 33, 64, 65, 130, 400};
enum { N_ROW_COUNTS = sizeof row_counts / sizeof *row_counts };

START_TEST(products)
{
    int32_t type = stored_types[_i];
    for (int32_t isa = LLAMA2_ISA_SCALAR; isa <= LLAMA2_ISA_AVX512; isa++) {
        llama2_context *ctx = test_context(isa, 1 + isa % 3);
        if (!ctx) continue;
        for (int i = 0; i < N_ROW_COUNTS; i++) {
            matrix m = make(type, i % 3 == 0 ? 150 : i % 3 == 1 ? 5 : 64, i % 2 ? 768 : 256, i % 4 == 3 ? 2 : 0, 7, 1);
            if (isa != LLAMA2_ISA_SCALAR || row_counts[i] < 70) check_product(ctx, &m, row_counts[i], i % 2);
            drop(&m);
        }
        if (_i < 3) { /* rows that fill no 16 bytes */
            matrix m = make(type, 37, 91, 0, 7, 1);
            check_product(ctx, &m, 3, 0);
            check_product(ctx, &m, 70, 1);
            drop(&m);
        }
        llama2_context_free(ctx);
    }
}
END_TEST

START_TEST(any_number_of_threads)
{
    for (int32_t threads = 1; threads <= 3; threads++) {
        llama2_context *ctx = test_context(LLAMA2_ISA_AUTO, threads);
        matrix m = make(L2_GGML_Q4_K, 700, 1024, 0, 7, 1);
        for (int i = 0; i < N_ROW_COUNTS; i += 3) check_product(ctx, &m, row_counts[i], 0);
        drop(&m);
        llama2_context_free(ctx);
    }
}
END_TEST

/* Weights of three types, one of them dense, that multiply the same rows. */
START_TEST(several_at_once)
{
    enum { K = 256, MOST = 3 };
    static const int64_t heights[MOST] = {96, 130, 40};
    static const int32_t types[MOST] = {L2_GGML_Q4_K, L2_GGML_Q6_K, L2_GGML_Q8_0};
    llama2_context *ctx = test_context(LLAMA2_ISA_AUTO, 2);
    for (int i = 0; i < N_ROW_COUNTS; i++)
        for (int dense = 0; dense <= MOST; dense++) {
            int64_t rows = row_counts[i];
            matrix m[MOST];
            l2_linear w[MOST];
            l2_tensor x = l2_tensor_2d(F, test_numbers(F, rows * K, 9, 1), rows, K), one[MOST], all[MOST];
            for (int j = 0; j < MOST; j++) {
                int64_t n = heights[j];
                m[j] = make(types[j], n, K, 0, 1, 1);
                w[j] = (l2_linear){.weight = l2_tensor_2d(F, m[j].plain, n, K)};
                one[j] = l2_tensor_2d(F, test_alloc(rows * n, 4), rows, n);
                all[j] = l2_tensor_2d(F, test_alloc(rows * n, 4), rows, n);
                ck_ok(l2_linear_forward(ctx, &w[j], &x, &one[j], 0));
                if (j < dense) continue;
                w[j].stored = &m[j].stored;
                w[j].weight.data = NULL;
            }
            ck_ok(l2_linears_forward(ctx, MOST, (const l2_linear *[]){&w[0], &w[1], &w[2]}, &x,
                                     (l2_tensor *[]){&all[0], &all[1], &all[2]}));
            for (int j = 0; j < MOST; j++) {
                ck_same_bits("y", one[j].data, all[j].data, rows * heights[j], 4);
                free(one[j].data), free(all[j].data), drop(&m[j]);
            }
            free(x.data);
        }
    llama2_context_free(ctx);
}
END_TEST

static void *no_memory(void *user, size_t size, size_t alignment)
{
    return *(int *)user ? NULL : aligned_alloc(alignment, (size + alignment - 1) / alignment * alignment);
}

static void give_back(void *user, void *ptr)
{
    (void)user;
    free(ptr);
}

/* A product can't fail: without scratch memory the panel is on the stack. */
START_TEST(without_memory)
{
    int failing = 0;
    llama2_context *ctx;
    llama2_context_options o;
    llama2_context_options_init(&o, sizeof o);
    o.n_threads = 2;
    o.alloc = no_memory;
    o.dealloc = give_back;
    o.alloc_user = &failing;
    ck_ok(llama2_context_create(&o, &ctx));
    failing = 1;
    for (int t = 0; t < N_STORED_TYPES; t++) {
        for (int64_t columns = t < 3 ? 1 : 768; columns <= 768; columns += 767) {
            matrix m = make(stored_types[t], 150, columns, 0, 7, 1);
            check_product(ctx, &m, 130, 0);
            drop(&m);
        }
    }
    llama2_context_free(ctx);
}
END_TEST

/* The last row ends where the process may not read any more. */
START_TEST(reads_nothing_beyond_the_rows)
{
    enum { ROWS = 21, COLUMNS = 256, T = 3 };
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    for (int32_t isa = LLAMA2_ISA_SCALAR; isa <= LLAMA2_ISA_AVX512; isa++) {
        llama2_context *ctx = test_context(isa, 1);
        if (!ctx) continue;
        matrix m = make(stored_types[_i], ROWS, COLUMNS, 0, 5, 1);
        size_t bytes = m.stored.row_bytes * ROWS, whole = (bytes + page - 1) / page * page;
        unsigned char *map = mmap(NULL, whole + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        ck_assert(map != MAP_FAILED);
        ck_assert_int_eq(mprotect(map + whole, page, PROT_NONE), 0);
        memcpy(map + whole - bytes, m.at, bytes);
        m.stored.data = map + whole - bytes;
        check_product(ctx, &m, T, 0);
        check_product(ctx, &m, 70, 0);
        float *got = test_alloc(ROWS * COLUMNS, 4);
        l2_stored_read(ctx, &m.stored, COLUMNS, NULL, 0, ROWS, got);
        ck_same_bits("rows", m.plain, got, ROWS * COLUMNS, 4);
        free(got);
        munmap(map, whole + page);
        drop(&m);
        llama2_context_free(ctx);
    }
}
END_TEST

Suite *test_suite(void)
{
    Suite *suite = suite_create("math/stored");
    TCase *types = tcase_create("types");
    tcase_set_timeout(types, 120);
    tcase_add_loop_test(types, numbers, 0, N_STORED_TYPES);
    tcase_add_loop_test(types, embedding, 0, N_STORED_TYPES);
    tcase_add_loop_test(types, products, 0, N_STORED_TYPES);
    tcase_add_loop_test(types, reads_nothing_beyond_the_rows, 0, N_STORED_TYPES);
    suite_add_tcase(suite, types);
    ADD_CASE(suite, "products", rows_of_rotary_pairs, any_number_of_threads, several_at_once, without_memory);
    return suite;
}
