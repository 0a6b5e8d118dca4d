/* Token shards: the file format, the mixture, the public calls. */
#include "train/shards.h"
#include "../format/faults.h"
#include "format/bytes.h"
#include "format/shards.h"
#include <math.h>

/* --- files ----------------------------------------------------------------------------------- */

static llama2_status write_shard(const char *path, int64_t vocab_size, int64_t n, int32_t first)
{
    llama2_shard_writer *w;
    llama2_status status;
    L2_TRY(llama2_shard_writer_create(ctx, path, vocab_size, &w));
    int32_t tokens[1000];
    for (int64_t done = 0; done < n;) {
        int64_t count = n - done < 777 ? n - done : 777;
        for (int64_t i = 0; i < count; i++) tokens[i] = (int32_t)((first + done + i) % vocab_size);
        L2_CHECK(llama2_shard_writer_append(w, tokens, count));
        done += count;
    }
    L2_CHECK(llama2_shard_writer_finish(w));
done:
    llama2_shard_writer_free(w);
    return status;
}

START_TEST(test_file_round_trip)
{
    const int64_t vocab_sizes[] = {7, 65536, 65537, 100003}, sizes[] = {0, 1, 3, 1000, 524288, 1200001};
    int32_t *out = malloc(1200001 * sizeof *out);
    for (int v = 0; v < 4; v++)
        for (int s = 0; s < 6; s++) {
            l2_shard_file file;
            ck_ok(write_shard(at("s"), vocab_sizes[v], sizes[s], 5));
            ck_ok(l2_shard_open(ctx, at("s"), s % 3, &file));
            ck_assert_uint_eq(file.count, (uint64_t)sizes[s]);
            ck_assert_int_eq(file.vocab_size, vocab_sizes[v]);
            ck_assert_uint_eq(file.token_size, v < 2 ? 2 : 4);
            ck_ok(l2_shard_read(&file, 0, file.count, out));
            int64_t wrong = 0; /* an assertion a token takes minutes */
            for (int64_t i = 0; i < sizes[s]; i++) wrong += out[i] != (5 + i) % vocab_sizes[v];
            ck_assert_int_eq(wrong, 0);
            ck_fails(l2_shard_read(&file, 1, file.count, out), LLAMA2_E_INVALID);
            ck_fails(l2_shard_read(&file, UINT64_MAX, 1, out), LLAMA2_E_INVALID);
            l2_shard_close(&file);
        }
    free(out);
}
END_TEST

START_TEST(test_file_truncation_and_flips)
{
    unsigned char bytes[512];
    l2_shard_file file;
    int32_t out[51];
    ck_ok(write_shard(at("s"), 1000, 51, 0));
    size_t size = slurp(at("s"), bytes, sizeof bytes);
    for (size_t n = 0; n < size; n++) {
        spill(at("s"), bytes, n);
        ck_fails(l2_shard_open(ctx, at("s"), 1, &file), LLAMA2_E_TRUNCATED);
    }
    for (size_t bit = 0; bit < 8 * size; bit++) {
        bytes[bit / 8] ^= (unsigned char)(1 << bit % 8);
        spill(at("s"), bytes, size);
        llama2_status status = l2_shard_open(ctx, at("s"), 1 + (int)(bit & 1), &file);
        if (status == LLAMA2_OK) status = l2_shard_read(&file, 0, 51, out);
        l2_shard_close(&file);
        ck_assert_msg(status < 0, "bit %zu", bit);
        bytes[bit / 8] ^= (unsigned char)(1 << bit % 8);
    }
}
END_TEST

static const struct {
    size_t at; /* from the start; above 1000: from the end */
    uint64_t value;
    llama2_status code;
} bad_fields[] = {
    {0, 0, LLAMA2_E_FORMAT},
    {8, 2 | (uint64_t)2 << 32, LLAMA2_E_UNSUPPORTED},
    {8, 1 | (uint64_t)3 << 32, LLAMA2_E_FORMAT},
    {8, 1, LLAMA2_E_FORMAT},
    {16, 0, LLAMA2_E_FORMAT},
    {16, 65537, LLAMA2_E_FORMAT},
    {16, UINT64_MAX, LLAMA2_E_FORMAT},
    {24, 1, LLAMA2_E_FORMAT},
    {1024, UINT64_MAX, LLAMA2_E_TRUNCATED},
    {1024, (uint64_t)1 << 63, LLAMA2_E_TRUNCATED},
    {1024, 1, LLAMA2_E_FORMAT},
    {1024, 50, LLAMA2_E_CORRUPT},
    {1016, 0, LLAMA2_E_CORRUPT},
    {1008, 0, LLAMA2_E_TRUNCATED},
};

START_TEST(test_file_bad_fields)
{
    unsigned char bytes[512];
    l2_shard_file file;
    ck_ok(write_shard(at("s"), 1000, 51, 0));
    size_t size = slurp(at("s"), bytes, sizeof bytes), place = bad_fields[_i].at;
    l2_put_u64(bytes + (place >= 1000 ? size - (place - 1000) : place), bad_fields[_i].value);
    spill(at("s"), bytes, size);
    long live = memory.live;
    ck_fails(l2_shard_open(ctx, at("s"), 1, &file), bad_fields[_i].code);
    ck_assert_int_eq(memory.live, live);
}
END_TEST

START_TEST(test_each_failure_of_files)
{
    for (int mode = 0; mode < 4; mode++) {
        int done = 0;
        ck_ok(write_shard(at("s"), 1000, 51, 0));
        for (long n = 0; !done; n++) {
            l2_shard_file file;
            long live = memory.live;
            memory.calls = disk.calls = 0;
            memory.for_ever = disk.for_ever = mode % 2;
            if (mode / 2)
                memory.fail_at = n;
            else
                disk.fail_at = n;
            llama2_status status = write_shard(at("s"), 1000, 52, 0);
            done = mode / 2 ? memory.calls <= n : disk.calls <= n;
            memory.fail_at = disk.fail_at = -1;
            ck_assert_int_eq(memory.live, live);
            if (done) ck_ok(status);
            ck_ok(l2_shard_open(ctx, at("s"), 2, &file)); /* the old or the new one, whole */
            ck_assert(file.count == 52 || (status < 0 && file.count == 51));
            l2_shard_close(&file);
        }
    }
}
END_TEST

/* --- permutation ----------------------------------------------------------------------------- */

START_TEST(test_permutation)
{
    static const uint64_t sizes[] = {1, 2, 3, 4, 5, 17, 255, 256, 257, 1000, 65536, 70001};
    unsigned char *seen = malloc(70001);
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++)
        for (uint32_t k = 0; k < 3; k++) {
            const uint32_t keys[4] = {k, 2, 3, 4};
            memset(seen, 0, sizes[s]);
            uint64_t wrong = 0;
            for (uint64_t i = 0; i < sizes[s]; i++) {
                uint64_t x = l2_permute(keys, sizes[s], i);
                wrong += x >= sizes[s] || seen[x]++;
            }
            ck_assert_uint_eq(wrong, 0);
        }
    free(seen);
    /* Mixed well: the mean distance between where neighbours land is n / 3. */
    const uint32_t keys[4] = {1, 2, 3, 4};
    double sum = 0;
    for (uint64_t i = 0; i < 65535; i++)
        sum += fabs((double)l2_permute(keys, 65536, i) - (double)l2_permute(keys, 65536, i + 1));
    ck_assert_double_eq_tol(sum / 65535 / 65536, 1.0 / 3, 0.005);
    /* Ranges near 2^63 too. */
    uint64_t n = ((uint64_t)1 << 63) - 25;
    for (uint64_t i = 0; i < 100; i++) ck_assert_uint_lt(l2_permute(keys, n, n - 1 - i), n);
}
END_TEST

/* --- mixture --------------------------------------------------------------------------------- */

/* A source without memory: token i is i mod 1000. */
static llama2_status read_mock(void *user, uint64_t first, uint64_t n, int32_t *out)
{
    const uint64_t *count = user;
    ck_assert(n <= *count && first <= *count - n);
    for (uint64_t i = 0; out && i < n; i++) out[i] = (int32_t)((first + i) % 1000);
    return LLAMA2_OK;
}

static void add_mock(llama2_shards *shards, uint64_t *count, double weight)
{
    l2_token_source source = {.count = *count, .vocab_size = 1000, .read = read_mock, .user = count};
    ck_ok(l2_shards_add(shards, &source, weight));
}

static llama2_shards *make_mixture(int64_t length, uint64_t seed)
{
    llama2_shards_options options;
    llama2_shards *shards;
    llama2_shards_options_init(&options, sizeof options);
    options.length = length;
    options.seed = seed;
    ck_ok(llama2_shards_create(ctx, &options, &shards));
    return shards;
}

START_TEST(test_each_window_once_an_epoch)
{
    uint64_t counts[2] = {1003, 517};
    llama2_shards *shards = make_mixture(10, 7);
    add_mock(shards, &counts[0], 3);
    add_mock(shards, &counts[1], 1);
    static int seen[2][40][1003];
    int order_differs = 0;
    uint64_t served[2] = {0, 0}, first_of[2][2] = {{0}};
    for (uint64_t s = 0; s < 4000; s++) {
        l2_place p;
        l2_shards_place(shards, s, &p);
        ck_assert_int_lt(p.source, 2);
        ck_assert_uint_lt(p.epoch, 40);
        ck_assert_uint_le(p.first + 10, counts[p.source]);
        ck_assert_int_eq(seen[p.source][p.epoch][p.first]++, 0);
        if (p.epoch < 2) first_of[p.source][p.epoch] += p.first * (s % 97);
        served[p.source]++;
    }
    order_differs = first_of[0][0] != first_of[0][1];
    ck_assert(order_differs);
    ck_assert_uint_eq(served[0] + served[1], 4000);
    ck_assert_double_eq_tol((double)served[0] / 4000, 0.75, 0.02);
    for (int i = 0; i < 2; i++) ck_assert_uint_eq(l2_shards_served(shards, i, 4000), served[i]);
    /* Over a whole block the shares are exact, and the windows of complete epochs tile the source without overlap. */
    ck_assert_uint_eq(l2_shards_served(shards, 0, 65536), 49152);
    ck_assert_uint_eq(l2_shards_served(shards, 1, 3 * 65536), 3 * 16384);
    int covered[1003] = {0};
    for (uint64_t s = 0; s < 65536; s++) {
        l2_place p;
        l2_shards_place(shards, s, &p);
        if (p.source == 0 && p.epoch == 1)
            for (int i = 0; i < 10; i++) covered[p.first + (uint64_t)i]++;
    }
    int sum = 0;
    for (int i = 0; i < 1003; i++) {
        ck_assert_int_le(covered[i], 1);
        sum += covered[i];
    }
    ck_assert_int_eq(sum, 1000);
    llama2_shards_free(shards);
}
END_TEST

/* Past 2^41 tokens: no repetition, no overflow, and a resume at any place gives what a run without a stop gives. */
START_TEST(test_resume_past_two_to_the_41)
{
    uint64_t counts[3] = {((uint64_t)1 << 43) + 12345, ((uint64_t)1 << 42) + 1, 5000};
    const uint64_t positions[] = {
        0, 1, 65535, 65536, ((uint64_t)1 << 41) / 8 - 3, ((uint64_t)1 << 41) - 1, ((uint64_t)1 << 61) + 17};
    llama2_shards *a = make_mixture(8, 3), *b = make_mixture(8, 3), *other = make_mixture(8, 4);
    for (int i = 0; i < 3; i++) {
        add_mock(a, &counts[i], i + 1);
        add_mock(b, &counts[i], i + 1);
        add_mock(other, &counts[i], i + 1);
    }
    for (size_t p = 0; p < sizeof positions / sizeof *positions; p++) {
        int32_t tokens[2][40 * 8], sources[2][40], differ[40 * 8];
        ck_ok(llama2_shards_seek(a, positions[p]));
        ck_ok(llama2_shards_next(a, 40, tokens[0], sources[0]));
        ck_assert_uint_eq(llama2_shards_tell(a), positions[p] + 40);
        ck_ok(llama2_shards_seek(b, positions[p]));
        for (int i = 0; i < 40; i++) { /* one by one, stopped and taken up in between */
            uint64_t cursor = llama2_shards_tell(b);
            ck_ok(llama2_shards_seek(b, 0));
            ck_ok(llama2_shards_seek(b, cursor));
            ck_ok(llama2_shards_next(b, 1, tokens[1] + 8 * i, sources[1] + i));
        }
        ck_assert_mem_eq(tokens[0], tokens[1], sizeof tokens[0]);
        ck_assert_mem_eq(sources[0], sources[1], sizeof sources[0]);
        ck_ok(llama2_shards_seek(other, positions[p]));
        ck_ok(llama2_shards_next(other, 40, differ, NULL));
        ck_assert_mem_ne(tokens[0], differ, sizeof differ);
    }
    llama2_shards_source info = {.struct_size = sizeof info};
    ck_ok(llama2_shards_seek(a, (uint64_t)1 << 41));
    uint64_t sum = 0;
    for (int i = 0; i < 3; i++) {
        ck_ok(llama2_shards_source_info(a, i, &info));
        sum += info.served;
        ck_assert_double_eq_tol((double)info.share / 65536, (i + 1) / 6.0, 1.0 / 65536);
        ck_assert_uint_eq(info.served, ((uint64_t)1 << 41) / 65536 * (uint64_t)info.share * 8);
    }
    ck_assert_uint_eq(sum, (uint64_t)8 << 41);
    ck_fails(llama2_shards_seek(a, ((uint64_t)1 << 62) + 1), LLAMA2_E_LIMIT);
    llama2_shards_free(a);
    llama2_shards_free(b);
    llama2_shards_free(other);
}
END_TEST

START_TEST(test_shares)
{
    static uint64_t count = 100;
    llama2_shards *shards = make_mixture(10, 0);
    for (int i = 0; i < 1024; i++) add_mock(shards, &count, i == 5 ? 1e9 : i % 3 ? 1 : 1e-9);
    int64_t sum = 0;
    for (int i = 0; i < 1024; i++) {
        ck_assert_uint_ge(shards->sources[i].share, 1);
        ck_assert_uint_eq(shards->sources[i].before, (uint64_t)sum);
        sum += shards->sources[i].share;
    }
    ck_assert_int_eq(sum, 65536);
    l2_token_source source = {.count = 100, .vocab_size = 1000, .read = read_mock, .user = &count};
    ck_fails(l2_shards_add(shards, &source, 1), LLAMA2_E_LIMIT);
    llama2_shards_free(shards);
}
END_TEST

/* --- public calls on files ------------------------------------------------------------------- */

START_TEST(test_files_as_one_text)
{
    const char *const paths[] = {at("a"), at("b"), at("c")};
    ck_ok(write_shard(paths[0], 1000, 33, 0));
    ck_ok(write_shard(paths[1], 1000, 4, 33));
    ck_ok(write_shard(paths[2], 1000, 64, 37));
    llama2_shards *shards = make_mixture(7, 1);
    int32_t tokens[14 * 7], last = -1;
    ck_ok(llama2_shards_add_source(shards, paths, 3, 2.5));
    ck_assert_int_eq(llama2_shards_vocab_size(shards), 1000);
    ck_ok(llama2_shards_next(shards, 14, tokens, NULL));
    for (int s = 0; s < 14; s++) {
        for (int i = 1; i < 7; i++) ck_assert_int_eq(tokens[7 * s + i], tokens[7 * s] + i); /* across the files' ends */
        ck_assert_int_ne(tokens[7 * s], last);
        last = tokens[7 * s];
    }
    ck_fails(llama2_shards_add_source(shards, paths, 3, 1), LLAMA2_E_STATE);
    llama2_shards_free(shards);
}
END_TEST

START_TEST(test_refusals)
{
    const char *paths[] = {at("a"), at("b"), NULL, at("none")};
    int32_t tokens[64], sources[8];
    llama2_shards_options options;
    llama2_shards *shards;
    ck_ok(write_shard(paths[0], 1000, 33, 0));
    ck_ok(write_shard(paths[1], 1001, 33, 0));
    shards = make_mixture(8, 0);
    long live = memory.live;
    ck_fails(llama2_shards_next(shards, 1, tokens, NULL), LLAMA2_E_STATE);
    ck_fails(llama2_shards_add_source(shards, paths, 2, 1), LLAMA2_E_MISMATCH);
    ck_fails(llama2_shards_add_source(shards, paths, 3, 1), LLAMA2_E_INVALID);
    ck_fails(llama2_shards_add_source(shards, paths + 3, 1, 1), LLAMA2_E_NOT_FOUND);
    ck_fails(llama2_shards_add_source(shards, paths, 0, 1), LLAMA2_E_INVALID);
    ck_fails(llama2_shards_add_source(shards, paths, 1, 0), LLAMA2_E_INVALID);
    ck_fails(llama2_shards_add_source(shards, paths, 1, -1), LLAMA2_E_INVALID);
    ck_fails(llama2_shards_add_source(shards, paths, 1, NAN), LLAMA2_E_INVALID);
    ck_fails(llama2_shards_add_source(shards, paths, 1, INFINITY), LLAMA2_E_INVALID);
    ck_fails(llama2_shards_add_source(NULL, paths, 1, 1), LLAMA2_E_INVALID);
    ck_assert_int_eq(memory.live, live);
    ck_ok(llama2_shards_add_source(shards, paths, 1, 1));
    ck_fails(llama2_shards_add_source(shards, paths + 1, 1, 1), LLAMA2_E_MISMATCH);
    ck_assert_int_eq(llama2_shards_sources(shards), 1);
    ck_fails(llama2_shards_next(shards, -1, tokens, NULL), LLAMA2_E_INVALID);
    ck_fails(llama2_shards_next(shards, 1, NULL, NULL), LLAMA2_E_INVALID);
    ck_ok(llama2_shards_next(shards, 0, tokens, NULL));
    llama2_context_cancel(ctx);
    ck_fails(llama2_shards_next(shards, 1, tokens, sources), LLAMA2_E_CANCELLED);
    ck_assert_uint_eq(llama2_shards_tell(shards), 0);
    llama2_context_resume(ctx);
    llama2_shards_source info = {.struct_size = 4};
    ck_fails(llama2_shards_source_info(shards, 0, &info), LLAMA2_E_ABI);
    info.struct_size = sizeof info;
    ck_fails(llama2_shards_source_info(shards, 1, &info), LLAMA2_E_INVALID);
    llama2_shards_free(shards);
    llama2_shards_free(NULL);
    llama2_shards_options_init(&options, sizeof options);
    options.length = 1;
    ck_fails(llama2_shards_create(ctx, &options, &shards), LLAMA2_E_INVALID);
    ck_assert_ptr_null(shards);
    options.length = 100;
    ck_ok(llama2_shards_create(ctx, &options, &shards));
    ck_fails(llama2_shards_add_source(shards, paths, 1, 1), LLAMA2_E_INVALID); /* shorter than a sequence */
    llama2_shards_free(shards);
    llama2_shard_writer *w;
    ck_fails(llama2_shard_writer_create(ctx, paths[0], 0, &w), LLAMA2_E_INVALID);
    ck_fails(llama2_shard_writer_create(ctx, at("no/folder"), 5, &w), LLAMA2_E_NOT_FOUND);
    ck_ok(llama2_shard_writer_create(ctx, at("w"), 5, &w));
    ck_fails(llama2_shard_writer_append(w, (const int32_t[]){1, 5}, 2), LLAMA2_E_INVALID);
    ck_fails(llama2_shard_writer_append(w, (const int32_t[]){-1}, 1), LLAMA2_E_INVALID);
    ck_assert_int_eq(llama2_shard_writer_tokens(w), 0);
    ck_ok(llama2_shard_writer_append(w, (const int32_t[]){1, 4}, 2));
    ck_ok(llama2_shard_writer_finish(w));
    ck_assert_int_eq(llama2_shard_writer_tokens(w), 2);
    ck_fails(llama2_shard_writer_finish(w), LLAMA2_E_STATE);
    llama2_shard_writer_free(w);
    ck_ok(llama2_shard_writer_create(ctx, at("never"), 5, &w));
    llama2_shard_writer_free(w);
    ck_assert_int_ne(access(at("never"), F_OK), 0);
}
END_TEST

/* A damaged block is found when it is used; outputs and position stay. */
START_TEST(test_damage_found_on_use)
{
    unsigned char *bytes = malloc(4 << 20);
    const char *path = at("big");
    ck_ok(write_shard(path, 1000, 1500000, 0));
    size_t size = slurp(path, bytes, 4 << 20);
    bytes[32 + (1 << 20) + 77] ^= 4;
    spill(path, bytes, size);
    free(bytes);
    llama2_shards *shards = make_mixture(1000, 9);
    ck_ok(llama2_shards_add_source(shards, &path, 1, 1));
    int32_t tokens[1000];
    int found = 0, good = 0;
    for (int i = 0; i < 30; i++) {
        memset(tokens, 0xff, sizeof tokens);
        ck_ok(llama2_shards_seek(shards, (uint64_t)i));
        llama2_status status = llama2_shards_next(shards, 1, tokens, NULL);
        if (status == LLAMA2_OK) {
            good++;
            continue;
        }
        found++;
        ck_assert_int_eq(status, LLAMA2_E_CORRUPT);
        ck_assert_uint_eq(llama2_shards_tell(shards), (uint64_t)i);
        for (int k = 0; k < 1000; k++) ck_assert_int_eq(tokens[k], -1);
    }
    ck_assert(found > 0 && good > 0);
    llama2_shards_free(shards);
}
END_TEST

Suite *test_suite(void)
{
    Suite *suite = suite_create("train/shards");
    TCase *c = tcase_create("shards");
    tcase_add_checked_fixture(c, setup, teardown);
    tcase_set_timeout(c, 120);
    tcase_add_test(c, test_file_round_trip);
    tcase_add_test(c, test_file_truncation_and_flips);
    tcase_add_loop_test(c, test_file_bad_fields, 0, (int)(sizeof bad_fields / sizeof *bad_fields));
    tcase_add_test(c, test_each_failure_of_files);
    tcase_add_test(c, test_permutation);
    tcase_add_test(c, test_each_window_once_an_epoch);
    tcase_add_test(c, test_resume_past_two_to_the_41);
    tcase_add_test(c, test_shares);
    tcase_add_test(c, test_files_as_one_text);
    tcase_add_test(c, test_refusals);
    tcase_add_test(c, test_damage_found_on_use);
    suite_add_tcase(suite, c);
    return suite;
}
