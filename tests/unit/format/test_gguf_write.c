/* GGUF files that are written: they read back as what was given, for any number of threads, or nothing is written. */
#include "faults.h"
#include "format/gguf.h"
#include "format/quantised.h"
#include <math.h>

enum { HEAD = 6, ROWS = 12, WIDE = 256, TALL = 5000 }; /* TALL rows of 256 are more than one band */

/* Element k of row r of tensor `user`. */
static float number(int64_t r, int64_t k)
{
    return (float)((r * 37 + k * 11) % 97 - 48) / 64;
}

static int fills_left;

static llama2_status fill(void *user, int64_t first, int64_t count, float *out)
{
    int64_t columns = *(const int64_t *)user;
    if (fills_left-- == 0) return l2_fail(LLAMA2_E_USER, "no more");
    for (int64_t r = 0; r < count; r++)
        for (int64_t k = 0; k < columns; k++) *out++ = number(first + r, k);
    return LLAMA2_OK;
}

static int64_t wide = WIDE, narrow = 3;

static const l2_gguf_entry entries[] = {
    {"gain", L2_GGML_F32, 1, 1, 3, 0, fill, &narrow},      {"rotary", L2_GGML_F16, 2, ROWS, WIDE, HEAD, fill, &wide},
    {"tall", L2_GGML_BF16, 2, TALL, WIDE, 0, fill, &wide}, {"k", L2_GGML_Q4_K, 2, ROWS, WIDE, HEAD, fill, &wide},
    {"odd", L2_GGML_F16, 2, 5, 3, 0, fill, &narrow},
};
enum { N = sizeof entries / sizeof *entries };

static void make_metadata(l2_gguf_metadata *m)
{
    l2_gguf_metadata_begin(m, ctx);
    l2_gguf_put_u32(m, "a.u32", 0xfffffffe);
    l2_gguf_put_f32(m, "a.f32", 0.1f);
    l2_gguf_put_bool(m, "a.yes", 1);
    l2_gguf_put_bool(m, "a.no", 0);
    l2_gguf_put_string(m, "a.text", "x\0y", 3);
    l2_gguf_put_array(m, "a.texts", L2_GGUF_STRING, 2);
    l2_gguf_put_element(m, "one", 3);
    l2_gguf_put_element(m, "", 0);
    l2_gguf_put_array(m, "a.scores", L2_GGUF_F32, 2);
    l2_gguf_put_element_f32(m, -1.5f);
    l2_gguf_put_element_f32(m, 2);
    l2_gguf_put_array(m, "a.types", L2_GGUF_I32, 1);
    l2_gguf_put_element_i32(m, -7);
}

static llama2_status write_file(const char *path)
{
    l2_gguf_metadata m;
    make_metadata(&m);
    fills_left = -1;
    llama2_status status = l2_gguf_write(ctx, path, &m, entries, N);
    l2_gguf_metadata_free(&m);
    return status;
}

static void check_metadata(const l2_gguf *file)
{
    int64_t integer;
    double real;
    int truth;
    const char *text;
    size_t length;
    float scores[2];
    int32_t type;
    l2_gguf_cursor cursor;
    ck_assert_uint_eq(file->n_values, 8);
    ck_ok(l2_gguf_int(l2_gguf_find(file, "a.u32"), &integer));
    ck_assert_int_eq(integer, 0xfffffffe);
    ck_ok(l2_gguf_double(l2_gguf_find(file, "a.f32"), &real));
    ck_assert(real == (double)0.1f);
    ck_ok(l2_gguf_bool(l2_gguf_find(file, "a.yes"), &truth));
    ck_assert_int_eq(truth, 1);
    ck_ok(l2_gguf_bool(l2_gguf_find(file, "a.no"), &truth));
    ck_assert_int_eq(truth, 0);
    ck_ok(l2_gguf_string(l2_gguf_find(file, "a.text"), &text, &length));
    ck_assert_uint_eq(length, 3);
    ck_assert_mem_eq(text, "x\0y", 3);
    ck_ok(l2_gguf_strings(l2_gguf_find(file, "a.texts"), &cursor));
    ck_assert(l2_gguf_next(&cursor, &text, &length) && length == 3 && memcmp(text, "one", 3) == 0);
    ck_assert(l2_gguf_next(&cursor, &text, &length) && length == 0);
    ck_ok(l2_gguf_floats(l2_gguf_find(file, "a.scores"), scores));
    ck_assert(scores[0] == -1.5f && scores[1] == 2);
    ck_ok(l2_gguf_int32s(l2_gguf_find(file, "a.types"), &type));
    ck_assert_int_eq(type, -7);
}

START_TEST(what_is_written_is_what_is_read)
{
    l2_gguf file, copy;
    l2_gguf_metadata m;
    float *out = malloc((size_t)TALL * WIDE * sizeof *out);
    ck_ok(write_file(at("a")));
    ck_ok(l2_gguf_open(ctx, at("a"), 0, &file));
    ck_assert_uint_eq(file.version, 3);
    ck_assert_uint_eq(file.n_tensors, N);
    check_metadata(&file);
    for (int i = 0; i < N; i++) {
        const l2_gguf_entry *e = &entries[i];
        const l2_gguf_tensor *t = l2_gguf_find_tensor(&file, e->name);
        uint64_t size;
        ck_assert_ptr_nonnull(t);
        ck_assert_int_eq(t->type, e->type);
        ck_assert_int_eq(t->n_dims, e->n_dims);
        ck_ok(l2_gguf_entry_size(e, &size));
        ck_assert_uint_eq(size, t->size);
        ck_assert_uint_eq((uint64_t)(t->data - file.view.data) % 32, 0);
        ck_ok(l2_gguf_read(ctx, t, e->head_dim, LLAMA2_F32, out));
        for (int64_t r = 0; r < e->rows; r++)
            for (int64_t k = 0; k < e->columns; k++)
                ck_assert(fabsf(out[r * e->columns + k] - number(r, k)) <= (e->type == L2_GGML_Q4_K ? 0.06f : 0));
    }
    /* In the file the two rows of a pair, 0 and 3 of a head of 6, lie side by side. */
    ck_ok(l2_gguf_read(ctx, l2_gguf_find_tensor(&file, "rotary"), 0, LLAMA2_F32, out));
    ck_assert(out[1 * WIDE + 5] == number(3, 5) && out[2 * WIDE + 5] == number(1, 5));
    /* All values of a file, as they are. */
    l2_gguf_metadata_begin(&m, ctx);
    for (size_t i = 0; i < file.n_values; i++) l2_gguf_put_value(&m, &file.values[i]);
    ck_ok(l2_gguf_write(ctx, at("b"), &m, NULL, 0));
    l2_gguf_metadata_free(&m);
    ck_ok(l2_gguf_open(ctx, at("b"), 1, &copy));
    check_metadata(&copy);
    l2_gguf_close(&copy);
    l2_gguf_close(&file);
    free(out);
}
END_TEST

START_TEST(threads_change_nothing)
{
    static unsigned char a[4 << 20], b[4 << 20];
    llama2_context *one = ctx, *four;
    llama2_context_options o;
    llama2_context_options_init(&o, sizeof o);
    o.n_threads = 4;
    ck_ok(write_file(at("a")));
    ck_ok(llama2_context_create(&o, &four));
    ctx = four;
    ck_ok(write_file(at("b")));
    ctx = one;
    llama2_context_free(four);
    size_t n = slurp(at("a"), a, sizeof a);
    ck_assert(n > 1 << 20 && n < sizeof a);
    ck_assert_uint_eq(slurp(at("b"), b, sizeof b), n);
    ck_assert_mem_eq(a, b, n);
}
END_TEST

static void check_no_trace(const char *path, const char *old)
{
    unsigned char text[64];
    char partial[300];
    snprintf(partial, sizeof partial, "%s.partial", path);
    ck_assert_int_eq(l2_path_kind(partial), 0);
    ck_assert_uint_eq(slurp(path, text, sizeof text), strlen(old));
    ck_assert_mem_eq(text, old, strlen(old));
}

START_TEST(refused)
{
    l2_gguf_entry bad[] = {entries[0], entries[0], entries[0], entries[1], entries[1], entries[3], entries[3]};
    l2_gguf_metadata m;
    bad[0].type = L2_GGML_Q4_1;
    bad[1].rows = 2;
    bad[2].columns = 0;
    bad[3].head_dim = 5;
    bad[4].head_dim = 8;
    bad[5].columns = 32;
    memset(bad[6].name, 'x', sizeof bad[6].name);
    spill_text(at("a"), "old");
    make_metadata(&m);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        ck_fails(l2_gguf_write(ctx, at("a"), &m, &bad[i], 1), LLAMA2_E_INVALID);
        check_no_trace(at("a"), "old");
    }
    for (int n = 0; n < 3; n++) {
        fills_left = n;
        ck_fails(l2_gguf_write(ctx, at("a"), &m, entries, N), LLAMA2_E_USER);
        check_no_trace(at("a"), "old");
    }
    fills_left = -1;
    llama2_context_cancel(ctx);
    ck_fails(l2_gguf_write(ctx, at("a"), &m, entries, N), LLAMA2_E_CANCELLED);
    llama2_context_resume(ctx);
    check_no_trace(at("a"), "old");
    l2_gguf_metadata_free(&m);
}
END_TEST

static llama2_status fill_huge(void *user, int64_t first, int64_t count, float *out)
{
    (void)user;
    for (int64_t i = 0; i < count * WIDE; i++) out[i] = first * WIDE + i == 9 * WIDE + 4 ? 1e6f : 1;
    return LLAMA2_OK;
}

START_TEST(a_number_that_does_not_fit_is_named)
{
    l2_gguf_entry huge = entries[1];
    l2_gguf_metadata m;
    make_metadata(&m);
    huge.fill = fill_huge;
    ck_fails(l2_gguf_write(ctx, at("a"), &m, &huge, 1), LLAMA2_E_NUMERIC);
    /* Row 9 is the fourth of the second head, the second of its first pair. */
    ck_assert_msg(strstr(llama2_last_error(), "tensor rotary: row 7: element 4 is 1e+06"), "%s", llama2_last_error());
    huge.type = L2_GGML_BF16;
    ck_ok(l2_gguf_write(ctx, at("a"), &m, &huge, 1));
    l2_gguf_metadata_free(&m);
}
END_TEST

/* Every call of the allocator and of the operating system fails once, or from then on: the old file is whole. */
START_TEST(each_failure_leaves_the_old_file)
{
    static unsigned char fresh[4 << 20], now[4 << 20];
    ck_ok(write_file(at("fresh")));
    size_t size = slurp(at("fresh"), fresh, sizeof fresh);
    for (int mode = 0; mode < 4; mode++) {
        int done = 0;
        for (long n = 0; !done; n++) {
            spill_text(at("a"), "old");
            long live = memory.live;
            memory.calls = disk.calls = 0;
            memory.for_ever = disk.for_ever = mode % 2;
            disk.error = n % 2 ? ENOSPC : EIO;
            *(mode < 2 ? &memory.fail_at : &disk.fail_at) = n;
            llama2_status status = write_file(at("a"));
            done = mode < 2 ? memory.calls <= n : disk.calls <= n;
            memory.fail_at = disk.fail_at = -1;
            if (done) ck_ok(status);
            ck_assert(status == LLAMA2_OK || status == (mode < 2 ? LLAMA2_E_NOMEM : LLAMA2_E_IO));
            ck_assert_int_eq(memory.live, live);
            size_t length = slurp(at("a"), now, sizeof now);
            int old = length == 3 && memcmp(now, "old", 3) == 0, is_new = length == size && !memcmp(now, fresh, size);
            ck_assert(old || is_new); /* after a failing sync of the folder the new one is there */
            ck_assert(status == LLAMA2_OK ? is_new : 1);
            ck_assert_int_lt(n, 1000);
        }
    }
}
END_TEST

Suite *test_suite(void)
{
    Suite *suite = suite_create("format/gguf_write");
    TCase *tests = tcase_create("files");
    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_set_timeout(tests, 120);
    tcase_add_test(tests, what_is_written_is_what_is_read);
    tcase_add_test(tests, threads_change_nothing);
    tcase_add_test(tests, refused);
    tcase_add_test(tests, a_number_that_does_not_fit_is_named);
    tcase_add_test(tests, each_failure_leaves_the_old_file);
    suite_add_tcase(suite, tests);
    return suite;
}
