#include "torch_file.h"
#include "format/torch_zip.h"

static archive sample(void)
{
    archive a = {0};
    archive_add(&a, "m/data.pkl", "pickle", 6);
    archive_add(&a, "m/data/0", "0123456789", 10);
    archive_add(&a, "m/version", "3\n", 2);
    archive_end(&a);
    return a;
}

START_TEST(test_good_archives)
{
    l2_torch_zip zip;
    archive a = sample();
    ck_ok(l2_torch_zip_parse(ctx, a.file.bytes, a.file.size, &zip));
    ck_assert_uint_eq(zip.n_entries, 3);
    const l2_zip_entry *e = l2_torch_zip_find(&zip, "m/data/0");
    ck_assert(e && e->size == 10 && memcmp(e->data, "0123456789", 10) == 0);
    ck_assert_uint_eq((size_t)(e->data - a.file.bytes) % 64, 0);
    ck_ok(l2_zip_entry_check(e, NULL));
    ck_ok(l2_zip_entry_check(e, &(l2_file_view){.data = NULL})); /* bytes of no file: nothing is let go */
    ck_assert_ptr_null(l2_torch_zip_find(&zip, "m/data"));
    ck_assert_ptr_null(l2_torch_zip_find(&zip, "m/data/00"));
    a.file.bytes[e->data - a.file.bytes] ^= 1;
    ck_fails(l2_zip_entry_check(e, NULL), LLAMA2_E_CORRUPT);
    l2_torch_zip_close(&zip);
    l2_torch_zip_close(&zip);
    free(a.file.bytes);
}
END_TEST

/* Without the records of zip64; with numbers that only those have; with no CRC, as torch writes it on request. */
START_TEST(test_odd_but_good)
{
    l2_torch_zip zip;
    archive a = sample();
    memset(a.file.bytes + a.end + 8, 0xff, 12);
    ck_ok(l2_torch_zip_parse(ctx, a.file.bytes, a.file.size, &zip));
    l2_torch_zip_close(&zip);
    l2_put_u32(a.file.bytes + a.central[1] + 16, 0);
    ck_ok(l2_torch_zip_parse(ctx, a.file.bytes, a.file.size, &zip));
    ck_ok(l2_zip_entry_check(l2_torch_zip_find(&zip, "m/data/0"), NULL));
    l2_torch_zip_close(&zip);
    free(a.file.bytes);
    a = sample();
    memmove(a.file.bytes + a.end_64, a.file.bytes + a.end, 22);
    ck_ok(l2_torch_zip_parse(ctx, a.file.bytes, a.end_64 + 22, &zip));
    ck_assert_uint_eq(zip.n_entries, 3);
    l2_torch_zip_close(&zip);
    free(a.file.bytes);
}
END_TEST

/* Sizes and place of the last entry in a zip64 field, as of files above 4 GiB. */
static archive with_field(uint32_t id, uint32_t length, uint64_t full, uint64_t stored, uint64_t place)
{
    archive a = {0};
    archive_add(&a, "m/data.pkl", "pickle", 6);
    archive_add(&a, "m/data/0", "0123456789", 10);
    unsigned char *record = a.directory.bytes + a.central[1];
    memset(record + 20, 0xff, 8);
    memset(record + 42, 0xff, 4);
    record[30] = 28;
    put_u8(&a.directory, id), put_u8(&a.directory, 0), put_u8(&a.directory, length), put_u8(&a.directory, 0);
    put_u64(&a.directory, full), put_u64(&a.directory, stored), put_u64(&a.directory, place);
    size_t local = a.local[1];
    archive_end(&a);
    a.local[1] = local;
    return a;
}

START_TEST(test_zip64_sizes)
{
    l2_torch_zip zip;
    archive a = sample();
    size_t place = a.local[1];
    free(a.file.bytes);
    a = with_field(1, 24, 10, 10, place);
    ck_ok(l2_torch_zip_parse(ctx, a.file.bytes, a.file.size, &zip));
    ck_assert_uint_eq(l2_torch_zip_find(&zip, "m/data/0")->size, 10);
    l2_torch_zip_close(&zip);
    free(a.file.bytes);
}
END_TEST

/* --- bad archives ---------------------------------------------------------------------------- */

enum bad {
    EMPTY,
    TEXT,
    CUT_HALF,
    CUT_LAST,
    CUT_FIRST,
    COMMENT,
    PARTS,
    PARTS_COUNT,
    PARTS_64,
    LOCATOR_LIES,
    LOCATOR_2_64,
    END_64_MAGIC,
    END_64_SIZE,
    ENDS_COUNT,
    ENDS_SIZE,
    ENDS_PLACE,
    DIRECTORY_2_63,
    DIRECTORY_LATER,
    DIRECTORY_LONGER,
    SHORT_DIRECTORY_LATER,
    COUNT_2_64,
    COUNT_MORE,
    COUNT_LESS,
    CENTRAL_MAGIC,
    NAME_EMPTY,
    NAME_LONG,
    EXTRA_LONG,
    NAME_DOTS,
    NAME_ABSOLUTE,
    NAME_BACKSLASH,
    NAME_NUL,
    NAME_NO_UTF8,
    ENCRYPTED,
    DEFLATED,
    METHOD_99,
    LOCAL_DEFLATED,
    STORED_LESS,
    NO_FIELD,
    FIELD_OTHER,
    FIELD_CUT,
    FIELD_LONG,
    FIELD_2_63,
    FIELD_PLACE_2_64,
    PLACE_PAST_END,
    PLACE_IN_DIRECTORY,
    PLACE_OTHER,
    LOCAL_MAGIC,
    LOCAL_NAME,
    LOCAL_SIZE,
    LOCAL_EXTRA,
    SIZE_PAST_DIRECTORY,
    OVERLAP,
    TWICE,
    N_BAD
};

#define FORMAT(message)      ((expected){LLAMA2_E_FORMAT, message})
#define TRUNCATED(message)   ((expected){LLAMA2_E_TRUNCATED, message})
#define UNSUPPORTED(message) ((expected){LLAMA2_E_UNSUPPORTED, message})

static expected bad_end(archive *a, enum bad which)
{
    unsigned char *b = a->file.bytes, *end = b + a->end, *long_end = b + a->end_64;
    switch (which) {
    case EMPTY: a->file.size = 0; return FORMAT("does not begin as a zip archive");
    case TEXT: memcpy(b, "text", 4), a->file.size = 100; return FORMAT("does not begin as a zip archive");
    case CUT_HALF: a->file.size /= 2; return TRUNCATED("do not end with the directory");
    case CUT_LAST: a->file.size--; return TRUNCATED("do not end with the directory");
    case CUT_FIRST: a->file.size = 4; return TRUNCATED("4 bytes do not end");
    case COMMENT: end[20] = 5; return TRUNCATED("comment");
    case PARTS: end[4] = 1; return UNSUPPORTED("several parts");
    case PARTS_COUNT: end[8] = 1; return UNSUPPORTED("several parts");
    case PARTS_64: long_end[16] = 1; return UNSUPPORTED("several parts");
    case LOCATOR_LIES: b[a->locator + 8]++; return FORMAT("is said to be at byte");
    case LOCATOR_2_64: memset(b + a->locator + 8, 0xff, 8); return FORMAT("at byte 18446744073709551615");
    case END_64_MAGIC: long_end[0] = 'p'; return FORMAT("no end of a zip64 directory");
    case END_64_SIZE: long_end[4]++; return FORMAT("no end of a zip64 directory");
    case ENDS_COUNT: end[8]++, end[10]++; return FORMAT("disagree");
    case ENDS_SIZE: end[12]++; return FORMAT("disagree");
    case ENDS_PLACE: end[16]++; return FORMAT("disagree");
    case DIRECTORY_2_63:
        memset(end + 16, 0xff, 4), l2_put_u64(long_end + 48, UINT64_C(1) << 63);
        return FORMAT("from byte 9223372036854775808 on");
    case DIRECTORY_LATER: end[16]++, long_end[48]++; return FORMAT("do not end here");
    case DIRECTORY_LONGER: end[12]++, long_end[40]++; return FORMAT("do not end here");
    case SHORT_DIRECTORY_LATER: b[a->locator] = 'p'; return FORMAT("do not end here");
    case COUNT_2_64:
        memset(end + 8, 0xff, 4), memset(long_end + 24, 0xff, 16);
        return FORMAT("18446744073709551615 entries");
    case COUNT_MORE: end[8]++, end[10]++, long_end[24]++, long_end[32]++; return FORMAT("can't have 4 entries");
    default: end[8]--, end[10]--, long_end[24]--, long_end[32]--; return FORMAT("goes on after its 2 entries");
    }
}

static expected bad_entry(archive *a, enum bad which)
{
    unsigned char *b = a->file.bytes, *central = b + a->central[1], *local = b + a->local[1];
    switch (which) {
    case CENTRAL_MAGIC: central[2] = 9; return FORMAT("no entry of the directory");
    case NAME_EMPTY: central[28] = 0; return FORMAT("without a name");
    case NAME_LONG: central[29] = 0xff; return FORMAT("longer than the directory");
    case EXTRA_LONG: central[31] = 0xff; return FORMAT("longer than the directory");
    case NAME_DOTS: memcpy(central + 46, "m/../../", 8); return FORMAT("leads out");
    case NAME_ABSOLUTE: central[46] = '/'; return FORMAT("leads out");
    case NAME_BACKSLASH: central[47] = '\\'; return FORMAT("leads out");
    case NAME_NUL: central[47] = 0; return FORMAT("NUL");
    case NAME_NO_UTF8: central[47] = 0xff; return FORMAT("no UTF-8");
    case ENCRYPTED: central[8] |= 1; return UNSUPPORTED("m/data/0: is encrypted");
    case DEFLATED: central[10] = 8; return UNSUPPORTED("m/data/0: is compressed (method 8, deflated)");
    case METHOD_99: central[10] = 99; return UNSUPPORTED("method 99");
    case LOCAL_DEFLATED: local[8] = 8; return UNSUPPORTED("deflated");
    case STORED_LESS: central[20]--; return FORMAT("in 9 bytes of 10");
    case NO_FIELD: memset(central + 20, 0xff, 8); return FORMAT("zip64 field, which is not there");
    case PLACE_PAST_END: l2_put_u32(central + 42, 0x7fffffff); return FORMAT("no header is at byte 2147483647");
    case PLACE_IN_DIRECTORY: l2_put_u32(central + 42, (uint32_t)a->central[0]); return FORMAT("no header is at");
    case PLACE_OTHER: l2_put_u32(central + 42, (uint32_t)a->local[0]); return FORMAT("has another name");
    case LOCAL_MAGIC: local[3] = 5; return FORMAT("no header is at");
    case LOCAL_NAME: local[30] = 'n'; return FORMAT("has another name");
    case LOCAL_SIZE: local[18] = local[22] = 9; return FORMAT("says 9 bytes, the directory 10");
    case LOCAL_EXTRA: local[29] = 0xff; return TRUNCATED("exceed the");
    case SIZE_PAST_DIRECTORY:
        l2_put_u32(central + 20, 100000), l2_put_u32(central + 24, 100000);
        return TRUNCATED("its 100000 bytes from byte");
    default: l2_put_u32(central + 20, 64), l2_put_u32(central + 24, 64); return FORMAT("m/version overlap");
    }
}

static expected bad_field(archive *a, enum bad which)
{
    free(a->file.bytes);
    switch (which) {
    case FIELD_OTHER: *a = with_field(2, 24, 10, 10, 64); return FORMAT("which is not there");
    case FIELD_CUT: *a = with_field(1, 12, 10, 10, 64); return FORMAT("zip64 sizes are cut off");
    case FIELD_LONG: *a = with_field(1, 25, 10, 10, 64); return FORMAT("extra fields end within one");
    case FIELD_2_63:
        *a = with_field(1, 24, UINT64_C(1) << 63, UINT64_C(1) << 63, 0);
        return TRUNCATED("its 9223372036854775808 bytes");
    default: *a = with_field(1, 24, 10, 10, UINT64_MAX); return FORMAT("no header is at byte 18446744073709551615");
    }
}

static expected make_bad(archive *a, enum bad which)
{
    if (which < CENTRAL_MAGIC) return bad_end(a, which);
    if (which >= FIELD_OTHER && which <= FIELD_PLACE_2_64) return bad_field(a, which);
    if (which != TWICE) return bad_entry(a, which);
    free(a->file.bytes);
    *a = (archive){0};
    archive_add(a, "m/data/0", "a", 1);
    archive_add(a, "m/data/0", "b", 1);
    archive_end(a);
    return FORMAT("m/data/0 stands twice");
}

START_TEST(test_bad_archives)
{
    l2_torch_zip zip;
    archive a = sample();
    expected want = make_bad(&a, (enum bad)_i);
    unsigned char *bytes = exact(&a.file);
    memory.peak = memory.bytes;
    size_t before = memory.bytes;
    llama2_status status = l2_torch_zip_parse(ctx, bytes, a.file.size, &zip);
    ck_assert_msg(status == want.code && strstr(llama2_last_error(), want.message), "%d: %s: %s; expected %s: %s", _i,
                  llama2_status_name(status), llama2_last_error(), llama2_status_name(want.code), want.message);
    ck_assert_ptr_null(zip.entries);
    ck_assert_uint_le(memory.peak - before, 4 * a.file.size);
    free(bytes);
    free(a.file.bytes);
}
END_TEST

/* Many entries: memory within the limit, time far from quadratic. */
START_TEST(test_many)
{
    enum { N = 60000 };
    char name[32];
    l2_torch_zip zip;
    archive a = {0};
    for (int i = 0; i < N; i++) {
        snprintf(name, sizeof name, "m/data/%d", (i * 7919) % N);
        archive_add(&a, name, "x", 1);
    }
    archive_end(&a);
    size_t before = memory.bytes;
    memory.peak = before;
    ck_ok(l2_torch_zip_parse(ctx, a.file.bytes, a.file.size, &zip));
    ck_assert_uint_eq(zip.n_entries, N);
    ck_assert_ptr_nonnull(l2_torch_zip_find(&zip, "m/data/59999"));
    ck_assert_uint_le(memory.peak - before, 4 * a.file.size);
    l2_torch_zip_close(&zip);
    free(a.file.bytes);
}
END_TEST

Suite *test_suite(void)
{
    Suite *suite = suite_create("format/torch_zip");
    TCase *bad = tcase_create("bad archives"), *good = tcase_create("archives");
    tcase_add_checked_fixture(bad, setup, teardown);
    tcase_add_checked_fixture(good, setup, teardown);
    tcase_add_loop_test(bad, test_bad_archives, 0, N_BAD);
    tcase_add_test(good, test_good_archives);
    tcase_add_test(good, test_odd_but_good);
    tcase_add_test(good, test_zip64_sizes);
    tcase_add_test(good, test_many);
    suite_add_tcase(suite, bad);
    suite_add_tcase(suite, good);
    return suite;
}
