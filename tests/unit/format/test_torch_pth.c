#include "torch_file.h"
#include "format/torch_pth.h"

static const torch_tensor matrix = {"w", "FloatStorage", "0", 6, 0, 2, 2, {2, 3}, {3, 1}},
                          gain = {"g", "HalfStorage", "1", 4, 1, 1, 1, {3}, {1}};

static archive make(const torch_tensor *tensors, int n, size_t size_0, size_t size_1)
{
    buffer p = pickle_dict(tensors, n);
    archive a = torch_archive(p.bytes, p.size, (const size_t[]){size_0, size_1}, 2);
    free(p.bytes);
    return a;
}

static archive sample(void)
{
    return make((const torch_tensor[]){matrix, gain}, 2, 24, 8);
}

START_TEST(test_good_files)
{
    archive a = sample();
    spill(at("a.pth"), a.file.bytes, a.file.size);
    for (int in_memory = 0; in_memory < 2; in_memory++) {
        l2_torch_file file;
        ck_ok(l2_torch_open(ctx, at("a.pth"), in_memory, &file));
        ck_assert_uint_eq(file.n_tensors, 2);
        const l2_torch_tensor *w = l2_torch_find(&file, "w"), *g = l2_torch_find(&file, "g");
        ck_assert(w && g && w->data[0] == 0 && w->data[23] == 23 && g->data[0] == 2 && g->entry->size == 8);
        ck_assert(!l2_torch_find(&file, "") && !l2_torch_find(&file, "ww"));
        l2_torch_close(&file);
        l2_torch_close(&file);
    }
    free(a.file.bytes);
}
END_TEST

/* Tied weights; two halves of a storage; what torch itself wrote (any of the committed files). */
START_TEST(test_shared_storages)
{
    l2_torch_file file;
    torch_tensor tied = matrix, first = gain, second = gain;
    char path[4096];
    tied.name = "tied";
    first.offset = 0, first.sizes[0] = 2;
    second.name = "h", second.offset = second.sizes[0] = 2;
    archive a = make((const torch_tensor[]){matrix, tied, first, second}, 4, 24, 8);
    ck_ok(l2_torch_parse(ctx, a.file.bytes, a.file.size, &file));
    ck_assert_ptr_eq(l2_torch_find(&file, "w")->data, l2_torch_find(&file, "tied")->data);
    l2_torch_close(&file);
    free(a.file.bytes);
    snprintf(path, sizeof path, "%s/reference/meta/fp16/shards2/consolidated.01.pth", LLAMA2_TEST_SOURCE);
    ck_ok(l2_torch_open(ctx, path, 0, &file));
    const l2_torch_tensor *wo = l2_torch_find(&file, "layers.0.attention.wo.weight");
    ck_assert(wo && wo->offset == 8 && wo->shape[1] == 8 && wo->stride[0] == 16);
    l2_torch_close(&file);
}
END_TEST

/* --- bad files ------------------------------------------------------------------------------- */

enum bad {
    NO_PICKLE,
    PICKLE_DEEPER,
    BIG_ENDIAN_FILE,
    PICKLE_CRC,
    PICKLE_EVIL,
    STORAGE_MISSING,
    STORAGE_ELSEWHERE,
    STORAGE_LONG_NAME,
    STORAGE_SHORTER,
    STORAGE_LONGER,
    STORAGE_UNEVEN,
    STORAGE_OTHER_TYPE,
    STORAGE_2_58,
    OVERLAP,
    OVERLAP_INSIDE,
    OVERLAP_TYPES,
    N_BAD
};

static expected overlap(archive *a, int64_t offset, int64_t size, const char *type, int64_t count)
{
    torch_tensor other = {"x", type, "0", count, offset, 1, 1, {size}, {1}};
    free(a->file.bytes);
    *a = make((const torch_tensor[]){other, matrix}, 2, 24, 8);
    return (expected){LLAMA2_E_UNSUPPORTED, "overlap in their storage"};
}

static expected make_bad(archive *a, enum bad which)
{
    static char long_name[300];
    torch_tensor t = matrix;
    size_t size = 24;
    const char *message;
    buffer *f = &a->file;
    switch (which) {
    case NO_PICKLE:
        memcpy(f->bytes + a->local[0] + 30, "m/data.pkk", 10), memcpy(f->bytes + a->central[0] + 46, "m/data.pkk", 10);
        return (expected){LLAMA2_E_FORMAT, "no <folder>/data.pkl"};
    case PICKLE_DEEPER:
        free(f->bytes);
        *a = (archive){0};
        archive_add(a, "m/n/data.pkl", "}.", 2);
        archive_end(a);
        return (expected){LLAMA2_E_FORMAT, "no <folder>/data.pkl"};
    case BIG_ENDIAN_FILE:
        free(f->bytes);
        *a = (archive){0};
        archive_add(a, "m/data.pkl", "}.", 2);
        archive_add(a, "m/byteorder", "big", 3);
        archive_end(a);
        return (expected){LLAMA2_E_UNSUPPORTED, "byteorder is \"big\""};
    case PICKLE_CRC: f->bytes[a->central[0] + 16] ^= 1; return (expected){LLAMA2_E_CORRUPT, "m/data.pkl: its CRC"};
    case PICKLE_EVIL:
        free(f->bytes);
        *a = (archive){0};
        archive_add(a, "m/data.pkl", "cos\nsystem\n(X\2\0\0\0lstR.", 22);
        archive_end(a);
        return (expected){LLAMA2_E_UNSUPPORTED, "data.pkl: byte 0, opcode 0x63 (GLOBAL): os.system is not supported"};
    case STORAGE_MISSING: t.storage = "2", message = "\"w\": its storage \"data/2\" is not in the file"; break;
    case STORAGE_ELSEWHERE: t.storage = "../data.pkl", message = "is not in the file"; break;
    case STORAGE_LONG_NAME:
        memset(long_name, 'k', sizeof long_name - 1);
        t.storage = long_name, message = "is not in the file";
        break;
    case STORAGE_SHORTER: size = 20, message = "6 elements of 4 bytes has 20 bytes"; break;
    case STORAGE_LONGER: size = 28, message = "6 elements of 4 bytes has 28 bytes"; break;
    case STORAGE_UNEVEN: size = 25, message = "6 elements of 4 bytes has 25 bytes"; break;
    case STORAGE_OTHER_TYPE: t.type = "HalfStorage", message = "6 elements of 2 bytes has 24 bytes"; break;
    case STORAGE_2_58: t.count = INT64_C(1) << 58, message = "has 24 bytes"; break;
    case OVERLAP: return overlap(a, 5, 1, "FloatStorage", 6);
    case OVERLAP_INSIDE: return overlap(a, 1, 2, "FloatStorage", 6);
    default: return overlap(a, 0, 12, "HalfStorage", 12);
    }
    free(f->bytes);
    *a = make(&t, 1, size, 8);
    return (expected){LLAMA2_E_FORMAT, message};
}

START_TEST(test_bad_files)
{
    l2_torch_file file;
    archive a = sample();
    expected want = make_bad(&a, (enum bad)_i);
    unsigned char *bytes = exact(&a.file);
    size_t before = memory.bytes;
    memory.peak = before;
    llama2_status status = l2_torch_parse(ctx, bytes, a.file.size, &file);
    ck_assert_msg(status == want.code && strstr(llama2_last_error(), want.message), "%d: %s: %s; expected %s: %s", _i,
                  llama2_status_name(status), llama2_last_error(), llama2_status_name(want.code), want.message);
    ck_assert(file.tensors == NULL && file.zip.entries == NULL);
    ck_assert_uint_eq(memory.bytes, before);
    ck_assert_uint_le(memory.peak - before, 4 * a.file.size + (1 << 20));
    free(bytes);
    free(a.file.bytes);
}
END_TEST

START_TEST(test_truncation_and_flips)
{
    l2_torch_file file;
    archive a = sample();
    for (size_t size = 0; size < a.file.size; size++) {
        buffer cut = {a.file.bytes, size, 0};
        unsigned char *bytes = exact(&cut);
        ck_assert_int_lt(l2_torch_parse(ctx, bytes, size, &file), 0);
        free(bytes);
    }
    unsigned char *bytes = exact(&a.file);
    for (size_t i = 0; i < a.file.size; i++)
        for (int bit = 0; bit < 8; bit++) {
            bytes[i] ^= (unsigned char)(1 << bit);
            if (l2_torch_parse(ctx, bytes, a.file.size, &file) == LLAMA2_OK) l2_torch_close(&file);
            bytes[i] ^= (unsigned char)(1 << bit);
        }
    free(bytes);
    free(a.file.bytes);
}
END_TEST

START_TEST(test_each_failure_while_reading)
{
    archive a = sample();
    spill(at("a"), a.file.bytes, a.file.size);
    for (int mode = 0; mode < 8; mode++) {
        int done = 0;
        for (long n = 0; !done; n++) {
            l2_torch_file file;
            long live = memory.live;
            memory.calls = disk.calls = 0;
            memory.for_ever = disk.for_ever = mode % 2;
            *(mode / 2 % 2 ? &memory.fail_at : &disk.fail_at) = n;
            llama2_status status = l2_torch_open(ctx, at("a"), mode / 4, &file);
            done = mode / 2 % 2 ? memory.calls <= n : disk.calls <= n;
            memory.fail_at = disk.fail_at = -1;
            l2_torch_close(&file);
            if (done) ck_ok(status);
            ck_assert(status == LLAMA2_OK || status == LLAMA2_E_NOMEM || status == LLAMA2_E_IO);
            ck_assert_int_eq(memory.live, live);
        }
    }
    free(a.file.bytes);
}
END_TEST

Suite *test_suite(void)
{
    Suite *suite = suite_create("format/torch_pth");
    TCase *bad = tcase_create("bad files"), *good = tcase_create("files");
    tcase_add_checked_fixture(bad, setup, teardown);
    tcase_add_checked_fixture(good, setup, teardown);
    tcase_set_timeout(good, 120);
    tcase_add_loop_test(bad, test_bad_files, 0, N_BAD);
    tcase_add_test(good, test_good_files);
    tcase_add_test(good, test_shared_storages);
    tcase_add_test(good, test_truncation_and_flips);
    tcase_add_test(good, test_each_failure_while_reading);
    suite_add_tcase(suite, bad);
    suite_add_tcase(suite, good);
    return suite;
}
