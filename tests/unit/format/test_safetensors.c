#include "format/safetensors.h"
#include "format/bytes.h"
#include "faults.h"
#include <inttypes.h>

/* --- writing and reading --------------------------------------------------------------------- */

static const float values[6] = {0, 1, -2.5f, 3.1415927f, 65504, -1e-3f};

static l2_st_entry entry(const char *name, int32_t dtype, int64_t rows, int64_t columns, const float *data)
{
    return (l2_st_entry){
        .name = name, .dtype = dtype, .source = LLAMA2_F32, .n_dims = 2, .shape = {rows, columns}, .data = data};
}

static void write_sample(const char *path)
{
    const l2_st_entry entries[] = {entry("w", LLAMA2_F32, 2, 3, values), entry("h", LLAMA2_BF16, 3, 2, values)};
    ck_ok(l2_safetensors_write(ctx, path, entries, 2, NULL));
}

START_TEST(test_bytes_of_a_file)
{
    unsigned char bytes[512];
    static const char header[] =
        "{\"__metadata__\":{\"format\":\"pt\"},\"w\":{\"dtype\":\"F32\",\"shape\":[2,3],\"data_offsets\":[0,24]},"
        "\"h\":{\"dtype\":\"BF16\",\"shape\":[3,2],\"data_offsets\":[24,36]}}";
    write_sample(at("a.safetensors"));
    size_t size = slurp(at("a.safetensors"), bytes, sizeof bytes), length = l2_get_u64(bytes);
    ck_assert_uint_eq(length % 8, 0);
    ck_assert_uint_lt(length - strlen(header), 8);
    ck_assert_mem_eq(bytes + 8, header, strlen(header));
    for (size_t i = strlen(header); i < length; i++) ck_assert_int_eq(bytes[8 + i], ' ');
    ck_assert_uint_eq(size, 8 + length + 36);
    ck_assert_mem_eq(bytes + 8 + length, values, 24);
    /* bf16 of 1, -2.5, pi (0x40490fdb, rounded to even), 65504 (0x477fe000, rounded up) */
    const unsigned char half[] = {0, 0, 0x80, 0x3f, 0x20, 0xc0, 0x49, 0x40, 0x80, 0x47};
    ck_assert_mem_eq(bytes + 8 + length + 24, half, sizeof half);
}
END_TEST

START_TEST(test_every_conversion_comes_back)
{
    const int32_t dtypes[] = {LLAMA2_F32, LLAMA2_F64, LLAMA2_BF16, LLAMA2_F16};
    const float exact[5] = {0, 1, -2.5f, 0.125f, 1024};
    const double exact64[5] = {0, 1, -2.5, 0.125, 1024};
    for (int from = 0; from < 2; from++)
        for (int to = 0; to < 4; to++) {
            l2_st_entry e = {
                .name = "x", .dtype = dtypes[to], .source = from ? LLAMA2_F64 : LLAMA2_F32, .n_dims = 1, .shape = {5}};
            e.data = from ? (const void *)exact64 : exact;
            l2_safetensors file;
            float out[5];
            double out64[3];
            ck_ok(l2_safetensors_write(ctx, at("c"), &e, 1, NULL));
            ck_ok(l2_safetensors_open(ctx, at("c"), to % 2, &file));
            const l2_st_tensor *t = l2_safetensors_find(&file, "x");
            ck_assert_ptr_nonnull(t);
            ck_assert_int_eq(t->dtype, dtypes[to]);
            ck_ok(l2_st_read(ctx, t, 0, 5, LLAMA2_F32, out));
            ck_assert_mem_eq(out, exact, sizeof exact);
            ck_ok(l2_st_read(ctx, t, 2, 3, LLAMA2_F64, out64));
            ck_assert_mem_eq(out64, exact64 + 2, sizeof out64);
            ck_fails(l2_st_read(ctx, t, 3, 3, LLAMA2_F32, out), LLAMA2_E_INVALID);
            ck_fails(l2_st_read(ctx, t, -1, 3, LLAMA2_F32, out), LLAMA2_E_INVALID);
            ck_assert_ptr_null(l2_safetensors_find(&file, "y"));
            l2_safetensors_close(&file);
        }
}
END_TEST

static llama2_status fill_squares(void *user, int64_t first, int64_t count, void *out)
{
    int64_t *next = user;
    ck_assert_int_eq(first, *next);
    for (int64_t i = 0; i < count; i++) ((float *)out)[i] = (float)((first + i) % 1000);
    *next += count;
    return *next > 90000 ? LLAMA2_E_USER : LLAMA2_OK;
}

START_TEST(test_filled_piece_by_piece)
{
    int64_t next = 0;
    l2_safetensors file;
    float *out = malloc(50000 * sizeof *out);
    l2_st_entry e = {.name = "x",
                     .dtype = LLAMA2_F16,
                     .source = LLAMA2_F32,
                     .n_dims = 1,
                     .shape = {50000},
                     .fill = fill_squares,
                     .user = &next};
    ck_ok(l2_safetensors_write(ctx, at("x"), &e, 1, NULL));
    ck_assert_int_eq(next, 50000);
    ck_ok(l2_safetensors_open(ctx, at("x"), 0, &file));
    ck_ok(l2_st_read(ctx, file.tensors, 0, 50000, LLAMA2_F32, out));
    for (int i = 0; i < 50000; i++) ck_assert_float_eq(out[i], (float)(i % 1000));
    l2_safetensors_close(&file);
    free(out);
    /* A fill that fails leaves the old file. */
    next = 0;
    e.shape[0] = 100000;
    ck_assert_int_eq(l2_safetensors_write(ctx, at("x"), &e, 1, NULL), LLAMA2_E_USER);
    ck_ok(l2_safetensors_open(ctx, at("x"), 0, &file));
    ck_assert_int_eq(l2_st_count(file.tensors), 50000);
    l2_safetensors_close(&file);
}
END_TEST

START_TEST(test_writer_refuses)
{
    l2_st_entry good = entry("w", LLAMA2_F32, 2, 3, values), bad[2] = {good, good};
    ck_fails(l2_safetensors_write(ctx, at("b"), bad, 2, NULL), LLAMA2_E_INVALID);
    bad[0].name = "";
    ck_fails(l2_safetensors_write(ctx, at("b"), bad, 1, NULL), LLAMA2_E_INVALID);
    bad[0] = good, bad[0].name = "__metadata__";
    ck_fails(l2_safetensors_write(ctx, at("b"), bad, 1, NULL), LLAMA2_E_INVALID);
    bad[0] = good, bad[0].shape[0] = 0;
    ck_fails(l2_safetensors_write(ctx, at("b"), bad, 1, NULL), LLAMA2_E_INVALID);
    bad[0] = good, bad[0].shape[0] = INT64_MAX;
    ck_fails(l2_safetensors_write(ctx, at("b"), bad, 1, NULL), LLAMA2_E_INVALID);
    bad[0] = good, bad[0].dtype = L2_ST_I64;
    ck_fails(l2_safetensors_write(ctx, at("b"), bad, 1, NULL), LLAMA2_E_INVALID);
    bad[0] = good, bad[0].data = NULL;
    ck_fails(l2_safetensors_write(ctx, at("b"), bad, 1, NULL), LLAMA2_E_INVALID);
    bad[0] = good, bad[0].n_dims = 9;
    ck_fails(l2_safetensors_write(ctx, at("b"), bad, 1, NULL), LLAMA2_E_INVALID);
    ck_fails(l2_safetensors_write(ctx, at("missing/b"), &good, 1, NULL), LLAMA2_E_NOT_FOUND);
    ck_assert_int_eq(access(at("b"), F_OK), -1);
}
END_TEST

/* --- bad files ------------------------------------------------------------------------------- */

#define T(name, dtype, shape, begin, end)                                                                              \
    "\"" name "\":{\"dtype\":\"" dtype "\",\"shape\":" shape ",\"data_offsets\":[" #begin "," #end "]}"

static const struct {
    const char *header;
    size_t data;
    llama2_status code;
    const char *message; /* a part of it */
} bad_headers[] = {
    {"", 0, LLAMA2_E_FORMAT, "'{'"},
    {" {}", 0, LLAMA2_E_FORMAT, "'{'"},
    {"[]", 0, LLAMA2_E_FORMAT, "'{'"},
    {"{", 0, LLAMA2_E_TRUNCATED, ""},
    {"{}x", 0, LLAMA2_E_FORMAT, ""},
    {"{}{}", 0, LLAMA2_E_FORMAT, ""},
    {"{}", 1, LLAMA2_E_FORMAT, "1 bytes follow"},
    {"{\"a\":1}", 0, LLAMA2_E_FORMAT, ""},
    {"{\"a\":{}}", 0, LLAMA2_E_FORMAT, "lacks \"dtype\""},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1]}}", 4, LLAMA2_E_FORMAT, "lacks \"data_offsets\""},
    {"{\"a\":{\"dtype\":\"F32\",\"data_offsets\":[0,4]}}", 4, LLAMA2_E_FORMAT, "lacks \"shape\""},
    {"{\"a\":{\"dtype\":\"F32\",\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}", 4, LLAMA2_E_FORMAT,
     "repeated"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4],\"x\":1}}", 4, LLAMA2_E_FORMAT,
     "unknown key \"x\""},
    {"{" T("a", "F31", "[1]", 0, 4) "}", 4, LLAMA2_E_UNSUPPORTED, "tensor a: unknown dtype \"F31\""},
    {"{" T("a", "f32", "[1]", 0, 4) "}", 4, LLAMA2_E_UNSUPPORTED, "\"f32\""},
    {"{" T("a", "F32", "[1]", 0, 4) "," T("a", "F32", "[1]", 4, 8) "}", 8, LLAMA2_E_FORMAT, "tensor a stands twice"},
    {"{" T("a", "F32", "[1]", 0, 4) "," T("\\u0061", "F32", "[1]", 4, 8) "}", 8, LLAMA2_E_FORMAT,
     "tensor a stands twice"},
    {"{" T("a\\u0000b", "F32", "[1]", 0, 4) "}", 4, LLAMA2_E_FORMAT, "NUL"},
    {"{" T("\\ud800", "F32", "[1]", 0, 4) "}", 4, LLAMA2_E_FORMAT, ""},
    {"{" T("\xff", "F32", "[1]", 0, 4) "}", 4, LLAMA2_E_FORMAT, ""},
    {"{" T("\xed\xa0\x80", "F32", "[1]", 0, 4) "}", 4, LLAMA2_E_FORMAT, ""},
    {"{" T("a", "F32", "[1]", 4, 0) "}", 4, LLAMA2_E_FORMAT, "is no range"},
    {"{" T("a", "F32", "[1]", -4, 0) "}", 4, LLAMA2_E_FORMAT, "is no range"},
    {"{" T("a", "F32", "[1]", 0.0, 4) "}", 4, LLAMA2_E_FORMAT, ""},
    {"{" T("a", "F32", "[1]", 0, 4e0) "}", 4, LLAMA2_E_FORMAT, ""},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0]}}", 4, LLAMA2_E_FORMAT, "1 values"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4,8]}}", 4, LLAMA2_E_FORMAT, "more than two"},
    {"{" T("a", "F32", "[2]", 0, 8) "}", 4, LLAMA2_E_TRUNCATED, "ends at byte 8"},
    {"{" T("a", "F32", "[2]", 0, 9223372036854775807) "}", 4, LLAMA2_E_TRUNCATED, "tensor a"},
    {"{" T("a", "F32", "[2]", 0, 18446744073709551616) "}", 4, LLAMA2_E_LIMIT, ""},
    {"{" T("a", "F32", "[1]", 0, 4) "," T("b", "F32", "[1]", 2, 6) "}", 6, LLAMA2_E_FORMAT,
     "tensor b begins at byte 2"},
    {"{" T("a", "F32", "[1]", 0, 4) "," T("b", "F32", "[1]", 0, 4) "}", 4, LLAMA2_E_FORMAT, "before the end"},
    {"{" T("a", "F32", "[1]", 0, 4) "," T("b", "F32", "[1]", 8, 12) "}", 12, LLAMA2_E_FORMAT, "a hole after"},
    {"{" T("a", "F32", "[1]", 4, 8) "}", 8, LLAMA2_E_FORMAT, "a hole after"},
    {"{" T("a", "F32", "[1]", 0, 4) "}", 8, LLAMA2_E_FORMAT, "4 bytes follow the last tensor"},
    {"{" T("a", "F32", "[2]", 0, 4) "}", 4, LLAMA2_E_FORMAT, "takes 8 bytes"},
    {"{" T("a", "F32", "[-1]", 0, 4) "}", 4, LLAMA2_E_FORMAT, "negative"},
    {"{" T("a", "F32", "[1.5]", 0, 4) "}", 4, LLAMA2_E_FORMAT, ""},
    {"{" T("a", "F32", "[\"1\"]", 0, 4) "}", 4, LLAMA2_E_FORMAT, ""},
    {"{" T("a", "F32", "1", 0, 4) "}", 4, LLAMA2_E_FORMAT, ""},
    {"{" T("a", "F32", "[4294967296,4294967296,4]", 0, 0) "}", 0, LLAMA2_E_FORMAT, "exceeds 2^63"},
    {"{" T("a", "F32", "[4611686018427387905]", 0, 4) "}", 4, LLAMA2_E_FORMAT, "exceeds 2^63"},
    {"{" T("a", "F32", "[1,1,1,1,1,1,1,1,1]", 0, 4) "}", 4, LLAMA2_E_LIMIT, "more than 8"},
    {"{\"__metadata__\":{\"a\":1}}", 0, LLAMA2_E_FORMAT, ""},
    {"{\"__metadata__\":[]}", 0, LLAMA2_E_FORMAT, ""},
    {"{\"__metadata__\":{},\"__metadata__\":{}}", 0, LLAMA2_E_FORMAT, "stands twice"},
    {"{" T("a", "F32", "[1]", 0, 4) ",}", 4, LLAMA2_E_FORMAT, ""},
};

static size_t make_file(const char *header, size_t data, unsigned char *out)
{
    l2_put_u64(out, strlen(header));
    memcpy(out + 8, header, strlen(header));
    memset(out + 8 + strlen(header), 0, data);
    return 8 + strlen(header) + data;
}

START_TEST(test_bad_headers)
{
    unsigned char bytes[1024];
    l2_safetensors file;
    size_t size = make_file(bad_headers[_i].header, bad_headers[_i].data, bytes);
    long live = memory.live;
    memory.peak = memory.bytes;
    size_t before = memory.bytes;
    llama2_status status = l2_safetensors_parse(ctx, bytes, size, &file);
    ck_assert_msg(status == bad_headers[_i].code, "%s: %s: %s", bad_headers[_i].header, llama2_status_name(status),
                  llama2_last_error());
    ck_assert_msg(strstr(llama2_last_error(), bad_headers[_i].message) && llama2_last_error()[0], "%s: %s",
                  bad_headers[_i].header, llama2_last_error());
    ck_assert_int_eq(memory.live, live);
    ck_assert_uint_le(memory.peak - before, 4 * size + (1 << 20));
}
END_TEST

START_TEST(test_bad_lengths)
{
    unsigned char bytes[64] = {0};
    l2_safetensors file;
    ck_fails(l2_safetensors_parse(ctx, bytes, 0, &file), LLAMA2_E_TRUNCATED);
    ck_fails(l2_safetensors_parse(ctx, bytes, 7, &file), LLAMA2_E_TRUNCATED);
    l2_put_u64(bytes, 57);
    ck_fails(l2_safetensors_parse(ctx, bytes, 64, &file), LLAMA2_E_TRUNCATED);
    l2_put_u64(bytes, 100000001);
    ck_fails(l2_safetensors_parse(ctx, bytes, 64, &file), LLAMA2_E_LIMIT);
    l2_put_u64(bytes, UINT64_MAX);
    ck_fails(l2_safetensors_parse(ctx, bytes, 64, &file), LLAMA2_E_LIMIT);
    ck_fails(l2_safetensors_open(ctx, at("none"), 0, &file), LLAMA2_E_NOT_FOUND);
    ck_assert_ptr_nonnull(strstr(llama2_last_error(), "none"));
    l2_safetensors_close(&file);
}
END_TEST

/* A hundred thousand brackets: an error, without recursion. */
START_TEST(test_deep_nesting)
{
    size_t depth = 1000000;
    unsigned char *bytes = malloc(depth + 64);
    l2_safetensors file;
    l2_put_u64(bytes, depth + 5);
    memcpy(bytes + 8, "{\"a\":", 5);
    memset(bytes + 13, '[', depth);
    ck_fails(l2_safetensors_parse(ctx, bytes, depth + 13, &file), LLAMA2_E_LIMIT);
    free(bytes);
}
END_TEST

START_TEST(test_odd_but_good)
{
    unsigned char bytes[1024];
    l2_safetensors file;
    /* out of order, empty tensors, a scalar, an unusual type, blanks after the header */
    size_t size =
        make_file("{" T("z", "F32", "[]", 0, 4) "," T("e", "F32", "[0,7]", 4, 4) "," T("m", "I64", "[1]", 8, 16) "," T(
                      "b", "BF16", "[2]", 4, 8) "," T("f", "F32", "[0]", 0, 0) "}   ",
                  16, bytes);
    ck_ok(l2_safetensors_parse(ctx, bytes, size, &file));
    ck_assert_uint_eq(file.n_tensors, 5);
    ck_assert_int_eq(l2_st_count(l2_safetensors_find(&file, "z")), 1);
    ck_assert_int_eq(l2_st_count(l2_safetensors_find(&file, "e")), 0);
    ck_assert_int_eq(l2_safetensors_find(&file, "m")->dtype, L2_ST_I64);
    float out;
    ck_fails(l2_st_read(ctx, l2_safetensors_find(&file, "m"), 0, 1, LLAMA2_F32, &out), LLAMA2_E_UNSUPPORTED);
    for (size_t i = 1; i < file.n_tensors; i++)
        ck_assert_int_lt(strcmp(file.tensors[i - 1].name, file.tensors[i].name), 0);
    l2_safetensors_close(&file);
    size = make_file("{}", 0, bytes);
    ck_ok(l2_safetensors_parse(ctx, bytes, size, &file));
    ck_assert_uint_eq(file.n_tensors, 0);
    l2_safetensors_close(&file);
}
END_TEST

/* Cut off at every byte: an error each time. Any bit turned over: an error or a file, never a crash. */
START_TEST(test_truncation_and_flips)
{
    unsigned char bytes[512], copy[512];
    l2_safetensors file;
    write_sample(at("a"));
    size_t size = slurp(at("a"), bytes, sizeof bytes);
    for (size_t n = 0; n < size; n++) {
        unsigned char *exact = malloc(n + 1); /* so that ASan sees a read past the end */
        memcpy(exact, bytes, n);
        ck_fails(l2_safetensors_parse(ctx, exact, n, &file), LLAMA2_E_TRUNCATED);
        free(exact);
    }
    for (size_t bit = 0; bit < 8 * size; bit++) {
        memcpy(copy, bytes, size);
        copy[bit / 8] ^= (unsigned char)(1 << bit % 8);
        if (l2_safetensors_parse(ctx, copy, size, &file) == LLAMA2_OK) l2_safetensors_close(&file);
    }
}
END_TEST

/* A million members of five bytes, none of which is a tensor, behind one that is. */
START_TEST(test_many_members)
{
    enum { N = 1000000 };
    char *header = malloc((size_t)N * 5 + 100);
    unsigned char *bytes = malloc((size_t)N * 5 + 100);
    size_t length = (size_t)sprintf(header, "{" T("a", "F32", "[]", 0, 4));
    for (int i = 0; i < N; i++) length += (size_t)sprintf(header + length, ",\"\":0");
    strcpy(header + length, "}");
    size_t size = make_file(header, 4, bytes), before = memory.bytes;
    l2_safetensors file;
    memory.peak = before;
    ck_fails(l2_safetensors_parse(ctx, bytes, size, &file), LLAMA2_E_FORMAT);
    ck_assert_uint_le(memory.peak - before, 4 * size + (1 << 20));
    free(header);
    free(bytes);
}
END_TEST

/* 100,000 tensors: memory within 4 x file + 1 MiB, time far from quadratic; sorted, reversed and equal names. */
START_TEST(test_many_tensors)
{
    enum { N = 100000 };
    char *header = malloc((size_t)N * 70);
    unsigned char *bytes = malloc((size_t)N * 70);
    for (int kind = 0; kind < 3; kind++) {
        size_t length = (size_t)sprintf(header, "{");
        for (int i = 0; i < N; i++)
            length += (size_t)sprintf(
                header + length, "%s\"%05x\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[0,0]}", i ? "," : "",
                kind == 0   ? i
                : kind == 1 ? N - i
                            : 7);
        strcpy(header + length, "}");
        size_t size = make_file(header, 0, bytes), before = memory.bytes;
        l2_safetensors file;
        memory.peak = before;
        llama2_status status = l2_safetensors_parse(ctx, bytes, size, &file);
        ck_assert_int_eq(status, kind == 2 ? LLAMA2_E_FORMAT : LLAMA2_OK);
        ck_assert_uint_le(memory.peak - before, 4 * size + (1 << 20));
        l2_safetensors_close(&file);
    }
    free(header);
    free(bytes);
}
END_TEST

/* --- faults ---------------------------------------------------------------------------------- */

static const float second_values[6] = {9, 8, 7, 6, 5, 4};

/* Is the file whole, and either the old or (if allowed) the new one? */
static void check_intact(const char *path, int may_be_new)
{
    l2_safetensors file;
    float out[6];
    ck_ok(l2_safetensors_open(ctx, path, 0, &file));
    ck_ok(l2_st_read(ctx, l2_safetensors_find(&file, "w"), 0, 6, LLAMA2_F32, out));
    ck_assert(memcmp(out, values, sizeof out) == 0 || (may_be_new && memcmp(out, second_values, sizeof out) == 0));
    l2_safetensors_close(&file);
}

START_TEST(test_each_failure_while_writing)
{
    const l2_st_entry again = entry("w", LLAMA2_F16, 2, 3, second_values);
    for (int mode = 0; mode < 4; mode++) {
        int done = 0;
        for (long n = 0; !done; n++) {
            write_sample(at("a"));
            long live = memory.live;
            memory.calls = disk.calls = 0;
            memory.for_ever = disk.for_ever = mode % 2;
            disk.error = n % 2 ? ENOSPC : EIO;
            if (mode < 2)
                memory.fail_at = n;
            else
                disk.fail_at = n;
            llama2_status status = l2_safetensors_write(ctx, at("a"), &again, 1, NULL);
            done = mode < 2 ? memory.calls <= n : disk.calls <= n;
            memory.fail_at = disk.fail_at = -1;
            if (done) ck_ok(status);
            ck_assert(status == LLAMA2_OK || status == (mode < 2 ? LLAMA2_E_NOMEM : LLAMA2_E_IO));
            ck_assert_int_eq(memory.live, live);
            check_intact(at("a"), 1); /* after a failing sync of the folder the new one is there */
            ck_assert_int_lt(n, 1000);
        }
    }
}
END_TEST

START_TEST(test_each_failure_while_reading)
{
    write_sample(at("a"));
    for (int mode = 0; mode < 8; mode++) {
        int done = 0;
        for (long n = 0; !done; n++) {
            l2_safetensors file;
            float out[6];
            long live = memory.live;
            memory.calls = disk.calls = 0;
            memory.for_ever = disk.for_ever = mode % 2;
            if (mode / 2 % 2)
                memory.fail_at = n;
            else
                disk.fail_at = n;
            llama2_status status = l2_safetensors_open(ctx, at("a"), mode / 4, &file);
            if (status == LLAMA2_OK) status = l2_st_read(ctx, l2_safetensors_find(&file, "h"), 0, 6, LLAMA2_F32, out);
            done = mode / 2 % 2 ? memory.calls <= n : disk.calls <= n;
            memory.fail_at = disk.fail_at = -1;
            l2_safetensors_close(&file);
            if (done) ck_ok(status);
            ck_assert(status == LLAMA2_OK || status == LLAMA2_E_NOMEM || status == LLAMA2_E_IO);
            ck_assert_int_eq(memory.live, live);
        }
    }
}
END_TEST

START_TEST(test_short_and_interrupted_calls)
{
    disk.stingy = 1;
    write_sample(at("a"));
    check_intact(at("a"), 0);
}
END_TEST

Suite *test_suite(void)
{
    Suite *suite = suite_create("format/safetensors");
    TCase *bad = tcase_create("bad files"), *rest = tcase_create("files");
    tcase_add_checked_fixture(bad, setup, teardown);
    tcase_add_checked_fixture(rest, setup, teardown);
    tcase_set_timeout(rest, 120);
    tcase_add_loop_test(bad, test_bad_headers, 0, (int)(sizeof bad_headers / sizeof *bad_headers));
    tcase_add_test(bad, test_bad_lengths);
    tcase_add_test(rest, test_bytes_of_a_file);
    tcase_add_test(rest, test_every_conversion_comes_back);
    tcase_add_test(rest, test_filled_piece_by_piece);
    tcase_add_test(rest, test_writer_refuses);
    tcase_add_test(rest, test_deep_nesting);
    tcase_add_test(rest, test_odd_but_good);
    tcase_add_test(rest, test_truncation_and_flips);
    tcase_add_test(rest, test_many_members);
    tcase_add_test(rest, test_many_tensors);
    tcase_add_test(rest, test_each_failure_while_writing);
    tcase_add_test(rest, test_each_failure_while_reading);
    tcase_add_test(rest, test_short_and_interrupted_calls);
    suite_add_tcase(suite, bad);
    suite_add_tcase(suite, rest);
    return suite;
}
