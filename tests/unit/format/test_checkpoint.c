#include "format/checkpoint.h"
#include "base/checksum.h"
#include "faults.h"
#include "format/bytes.h"

static const l2_chunk_kind known[] = {{"adamw", 2}, {"counters", 1}};

static void write_state(const char *path, const float *values)
{
    l2_state_writer w;
    ck_ok(l2_state_create(ctx, path, &w));
    ck_ok(l2_state_begin(&w, "adamw", "policy", 2, L2_CHUNK_REQUIRED));
    ck_ok(l2_state_u64(&w, 3));
    ck_ok(l2_state_f32s(&w, values, 3));
    ck_ok(l2_state_end(&w));
    ck_ok(l2_state_begin(&w, "extra", "", 1, 0));
    ck_ok(l2_state_bytes(&w, "abc", 3));
    ck_ok(l2_state_end(&w));
    ck_ok(l2_state_begin(&w, "counters", "policy", 1, L2_CHUNK_REQUIRED));
    ck_ok(l2_state_i64(&w, -5));
    ck_ok(l2_state_f64(&w, 0.1));
    ck_ok(l2_state_u32(&w, 7));
    ck_ok(l2_state_end(&w));
    ck_ok(l2_state_commit(&w));
    l2_state_abort(&w);
}

static const float three[3] = {1, 2, 3};

START_TEST(test_state_round_trip)
{
    l2_state_reader r;
    l2_cursor c;
    uint64_t n;
    int64_t i;
    uint32_t u = 99;
    double d;
    float f[3];
    write_state(at("state"), three);
    ck_ok(l2_state_open(ctx, at("state"), known, 2, &r));
    ck_assert_uint_eq(r.n_chunks, 2);
    ck_assert_ptr_null(l2_state_find(&r, "extra", ""));
    ck_fails(l2_cursor_open(&r, "adamw", "critic", &c), LLAMA2_E_NOT_FOUND);
    ck_ok(l2_cursor_open(&r, "adamw", "policy", &c));
    ck_ok(l2_cursor_u64(&c, &n));
    ck_assert_uint_eq(n, 3);
    ck_fails(l2_cursor_end(&c), LLAMA2_E_FORMAT);
    ck_fails(l2_cursor_f32s(&c, f, 4), LLAMA2_E_TRUNCATED);
    ck_fails(l2_cursor_f32s(&c, f, SIZE_MAX / 2), LLAMA2_E_TRUNCATED);
    ck_ok(l2_cursor_f32s(&c, f, 3));
    ck_assert_mem_eq(f, three, sizeof f);
    ck_fails(l2_cursor_u32(&c, &u), LLAMA2_E_TRUNCATED);
    ck_assert_uint_eq(u, 99);
    ck_ok(l2_cursor_end(&c));
    ck_ok(l2_cursor_open(&r, "counters", "policy", &c));
    ck_ok(l2_cursor_i64(&c, &i));
    ck_ok(l2_cursor_f64(&c, &d));
    ck_ok(l2_cursor_u32(&c, &u));
    ck_assert(i == -5 && d == 0.1 && u == 7);
    l2_state_close(&r);
    ck_fails(l2_state_open(ctx, at("state"), known, 1, &r),
             LLAMA2_E_UNSUPPORTED); /* counters: required and not known */
    ck_assert_ptr_nonnull(strstr(llama2_last_error(), "counters"));
    const l2_chunk_kind others[] = {{"rollouts", 1}}; /* a file of something else */
    ck_fails(l2_state_open(ctx, at("state"), others, 1, &r), LLAMA2_E_FORMAT);
    ck_assert_ptr_nonnull(strstr(llama2_last_error(), "in place of rollouts"));
    const l2_chunk_kind older[] = {{"adamw", 1}, {"counters", 1}};
    ck_fails(l2_state_open(ctx, at("state"), older, 2, &r), LLAMA2_E_UNSUPPORTED);
    ck_fails(l2_state_open(ctx, at("none"), known, 2, &r), LLAMA2_E_NOT_FOUND);
}
END_TEST

START_TEST(test_state_writer_refuses)
{
    l2_state_writer w;
    ck_ok(l2_state_create(ctx, at("state"), &w));
    ck_fails(l2_state_u32(&w, 1), LLAMA2_E_STATE);
    ck_fails(l2_state_end(&w), LLAMA2_E_STATE);
    ck_ok(l2_state_begin(&w, "a", "b", 1, 0));
    ck_fails(l2_state_begin(&w, "a", "c", 1, 0), LLAMA2_E_STATE);
    ck_fails(l2_state_commit(&w), LLAMA2_E_STATE);
    ck_ok(l2_state_end(&w));
    ck_fails(l2_state_begin(&w, "a", "b", 1, 0), LLAMA2_E_INVALID);
    ck_fails(l2_state_begin(&w, "", "b", 1, 0), LLAMA2_E_INVALID);
    l2_state_abort(&w);
    ck_assert_int_eq(access(at("state"), F_OK), -1);
}
END_TEST

/* Every prefix and every single turned bit is an error. */
START_TEST(test_state_truncation_and_flips)
{
    unsigned char bytes[1024];
    l2_state_reader r;
    write_state(at("state"), three);
    size_t size = slurp(at("state"), bytes, sizeof bytes);
    for (size_t n = 0; n < size; n++) {
        unsigned char *exact = malloc(n + 1);
        memcpy(exact, bytes, n);
        ck_fails(l2_state_parse(ctx, exact, n, known, 2, &r), LLAMA2_E_TRUNCATED);
        free(exact);
    }
    for (size_t bit = 0; bit < 8 * size; bit++) {
        bytes[bit / 8] ^= (unsigned char)(1 << bit % 8);
        llama2_status status = l2_state_parse(ctx, bytes, size, known, 2, &r);
        ck_assert_msg(status < 0 && llama2_last_error()[0], "bit %zu", bit);
        bytes[bit / 8] ^= (unsigned char)(1 << bit % 8);
    }
    ck_ok(l2_state_parse(ctx, bytes, size, known, 2, &r));
    l2_state_close(&r);
}
END_TEST

/* Directories that lie, with a right checksum. Places are in the directory: entry of 32 bytes, names of 16. */
static const struct {
    size_t at;
    int width;
    uint64_t value;
    llama2_status code;
} lies[] = {
    {0, 8, 24, LLAMA2_E_FORMAT},
    {0, 8, 0, LLAMA2_E_FORMAT},
    {0, 8, UINT64_MAX - 7, LLAMA2_E_FORMAT},
    {8, 8, UINT64_MAX, LLAMA2_E_FORMAT},
    {8, 8, UINT64_MAX - 15, LLAMA2_E_FORMAT},
    {8, 8, 1 << 20, LLAMA2_E_FORMAT},
    {8, 8, 8, LLAMA2_E_CORRUPT},
    {24, 4, 1, LLAMA2_E_CORRUPT},
    {16, 4, 3, LLAMA2_E_UNSUPPORTED},
    {28, 4, 0, LLAMA2_E_FORMAT},
    {28, 4, 6, LLAMA2_E_FORMAT},
    {28, 4, UINT32_MAX, LLAMA2_E_FORMAT},
    {28, 4, 5000, LLAMA2_E_FORMAT},
    {32, 4, 0, LLAMA2_E_FORMAT},
    {32, 4, 0x78787878, LLAMA2_E_UNSUPPORTED},
    {28, 4, 12, LLAMA2_E_FORMAT},
};

START_TEST(test_state_lies)
{
    unsigned char bytes[1024];
    l2_state_reader r;
    write_state(at("state"), three);
    size_t size = slurp(at("state"), bytes, sizeof bytes), directory = l2_get_u64(bytes + size - 24);
    unsigned char *place = bytes + directory + lies[_i].at;
    if (lies[_i].width == 8)
        l2_put_u64(place, lies[_i].value);
    else
        l2_put_u32(place, (uint32_t)lies[_i].value);
    uint32_t crc = l2_crc32c(l2_crc32c(0, bytes, 16), bytes + directory, size - directory - 12);
    l2_put_u32(bytes + size - 12, crc);
    long live = memory.live;
    ck_fails(l2_state_parse(ctx, bytes, size, known, 2, &r), lies[_i].code);
    ck_assert_int_eq(memory.live, live);
}
END_TEST

/* --- folders --------------------------------------------------------------------------------- */

static llama2_status save_step(int64_t step, float value, int32_t keep)
{
    l2_checkpoint_writer w;
    char path[300];
    l2_state_writer s = {0};
    llama2_status status;
    L2_TRY(l2_checkpoint_begin(ctx, at("root"), step, &w));
    snprintf(path, sizeof path, "%s/policy/deep", w.path);
    L2_CHECK(l2_make_folder(ctx, path));
    snprintf(path, sizeof path, "%s/policy/deep/text", w.path);
    L2_CHECK(l2_write_file(ctx, path, "hello", 5));
    snprintf(path, sizeof path, "%s/empty", w.path);
    L2_CHECK(l2_write_file(ctx, path, "", 0));
    snprintf(path, sizeof path, "%s/state", w.path);
    L2_CHECK(l2_state_create(ctx, path, &s));
    L2_CHECK(l2_state_begin(&s, "counters", "", 1, 0));
    L2_CHECK(l2_state_f64(&s, value));
    L2_CHECK(l2_state_end(&s));
    L2_CHECK(l2_state_commit(&s));
    L2_CHECK(l2_checkpoint_commit(&w, keep));
done:
    l2_state_abort(&s);
    l2_checkpoint_abort(&w);
    return status;
}

/* The value that step -1 or a named one holds; its number in *step. */
static double load_step(int64_t *step, int32_t *passed_over)
{
    l2_checkpoint_reader r;
    l2_state_reader s;
    l2_cursor c;
    double value;
    char path[300];
    ck_ok(l2_checkpoint_open(ctx, at("root"), *step, &r));
    snprintf(path, sizeof path, "%s/state", r.path);
    ck_ok(l2_state_open(ctx, path, known, 2, &s));
    ck_ok(l2_cursor_open(&s, "counters", "", &c));
    ck_ok(l2_cursor_f64(&c, &value));
    *step = r.step;
    if (passed_over) *passed_over = r.passed_over;
    l2_state_close(&s);
    l2_checkpoint_close(&r);
    return value;
}

/* The steps below 100 that have a MANIFEST. */
static void check_steps(int n, int first, int last)
{
    int count = 0, lowest = 0, highest = 0;
    for (int step = 0; step < 100; step++) {
        char name[64];
        snprintf(name, sizeof name, "root/step-%012d/MANIFEST", step);
        if (l2_path_kind(at(name)) != 1) continue;
        if (!count++) lowest = step;
        highest = step;
    }
    ck_assert(count == n && lowest == first && highest == last);
}

START_TEST(test_steps_come_and_go)
{
    int64_t step = -1;
    check_steps(0, 0, 0);
    l2_checkpoint_reader r;
    ck_fails(l2_checkpoint_open(ctx, at("root"), -1, &r), LLAMA2_E_NOT_FOUND);
    for (int i = 1; i <= 5; i++) ck_ok(save_step(10 * i, (float)i, 3));
    check_steps(3, 30, 50);
    ck_assert_double_eq(load_step(&step, NULL), 5);
    ck_assert_int_eq(step, 50);
    step = 40;
    ck_assert_double_eq(load_step(&step, NULL), 4);
    ck_fails(l2_checkpoint_open(ctx, at("root"), 20, &r), LLAMA2_E_NOT_FOUND);
    ck_fails(save_step(60, 6, 1), LLAMA2_E_INVALID);
    check_steps(3, 30, 50);
    /* A run that went back to step 30 keeps what lies ahead, and never removes what it has just written. */
    ck_ok(save_step(35, 3.5f, 2));
    check_steps(4, 30, 50);
    /* The same step again. */
    ck_ok(save_step(50, 55, 2));
    check_steps(2, 40, 50);
    step = 50;
    ck_assert_double_eq(load_step(&step, NULL), 55);
    ck_assert_int_ne(access(at("root/step-000000000050.old"), F_OK), 0);
    /* The last step that there can be. */
    ck_ok(save_step(INT64_MAX, 8, 2));
    step = -1;
    ck_assert_double_eq(load_step(&step, NULL), 8);
    ck_assert_int_eq(step, INT64_MAX);
}
END_TEST

/* Every bit of every file of a checkpoint: turned over, the named step is refused and the newest falls back and says
 * so. */
START_TEST(test_every_flipped_bit_is_found)
{
    static const char *const names[] = {"MANIFEST", "state", "policy/deep/text"};
    ck_ok(save_step(1, 1, 2));
    ck_ok(save_step(2, 2, 2));
    for (int f = 0; f < 3; f++) {
        unsigned char bytes[2048];
        char path[300];
        snprintf(path, sizeof path, "%s/%s", at("root/step-000000000002"), names[f]);
        size_t size = slurp(path, bytes, sizeof bytes);
        ck_assert_uint_lt(size, sizeof bytes);
        for (size_t bit = 0; bit < 8 * size; bit++) {
            l2_checkpoint_reader r;
            bytes[bit / 8] ^= (unsigned char)(1 << bit % 8);
            spill(path, bytes, size);
            ck_assert_msg(l2_checkpoint_open(ctx, at("root"), 2, &r) < 0, "%s bit %zu", names[f], bit);
            bytes[bit / 8] ^= (unsigned char)(1 << bit % 8);
        }
        int64_t step = -1;
        int32_t passed_over = 0;
        int before = warnings;
        ck_assert_double_eq(load_step(&step, &passed_over), 1);
        ck_assert(step == 1 && passed_over == 1 && warnings == before + 1);
        for (size_t n = 0; n < size; n++) { /* and cut off at every byte */
            l2_checkpoint_reader r;
            spill(path, bytes, n);
            ck_assert_msg(l2_checkpoint_open(ctx, at("root"), 2, &r) < 0, "%s cut at %zu", names[f], n);
        }
        spill(path, bytes, size);
        step = -1;
        ck_assert_double_eq(load_step(&step, NULL), 2);
    }
    ck_assert_int_eq(unlink(at("root/step-000000000002/empty")), 0);
    l2_checkpoint_reader r;
    ck_fails(l2_checkpoint_open(ctx, at("root"), 2, &r), LLAMA2_E_CORRUPT);
    ck_assert_ptr_nonnull(strstr(llama2_last_error(), "empty"));
}
END_TEST

static void spill_manifest(const char *step, const char *text)
{
    char whole[512], path[128];
    snprintf(whole, sizeof whole, "%scrc32c %08x\n", text, (unsigned)l2_crc32c(0, text, strlen(text)));
    snprintf(path, sizeof path, "%s/MANIFEST", at(step));
    spill_text(path, whole);
}

/* Manifests with a right checksum and wrong lines. */
static const struct {
    const char *text;
    llama2_status code;
} manifests[] = {
    {"", LLAMA2_E_FORMAT},
    {"llama2-checkpoint x\nstep 1\n", LLAMA2_E_FORMAT},
    {"llama2-checkpoint 2\nstep 1\n", LLAMA2_E_UNSUPPORTED},
    {"llama2-checkpoint 1\n", LLAMA2_E_FORMAT},
    {"llama2-checkpoint 1\nstep 2\n", LLAMA2_E_MISMATCH},
    {"llama2-checkpoint 1\nstep -1\n", LLAMA2_E_FORMAT},
    {"llama2-checkpoint 1\nstep 99999999999999999999\n", LLAMA2_E_FORMAT},
    {"llama2-checkpoint 1\nstep 9223372036854775807\n", LLAMA2_E_MISMATCH},
    {"llama2-checkpoint 1\nstep 9223372036854775808\n", LLAMA2_E_FORMAT},
    {"llama2-checkpoint 1\nstep 1\nfile\n", LLAMA2_E_FORMAT},
    /* one file again and again, by its name or another one */
    {"llama2-checkpoint 1\nstep 1\nfile 0 empty\nfile 0 empty\n", LLAMA2_E_FORMAT},
    {"llama2-checkpoint 1\nstep 1\nfile 0 empty\nfile 0 eaaaa\n", LLAMA2_E_FORMAT},
    {"llama2-checkpoint 1\nstep 1\nfile 0 ./empty\n", LLAMA2_E_FORMAT},
    {"llama2-checkpoint 1\nstep 1\nfile 0 policy/./deep/../../empty\n", LLAMA2_E_FORMAT},
    {"llama2-checkpoint 1\nstep 1\nfile 0 policy//deep/text\n", LLAMA2_E_FORMAT},
    {"llama2-checkpoint 1\nstep 1\nfile 0 empty/\n", LLAMA2_E_FORMAT},
    {"llama2-checkpoint 1\nstep 1\nfile 0 ../../secret\n", LLAMA2_E_FORMAT},
    {"llama2-checkpoint 1\nstep 1\nfile 0 a/../../secret\n", LLAMA2_E_FORMAT},
    {"llama2-checkpoint 1\nstep 1\nfile 0 /secret\n", LLAMA2_E_FORMAT},
    {"llama2-checkpoint 1\nstep 1\nfile 0 \n", LLAMA2_E_FORMAT},
    {"llama2-checkpoint 1\nstep 1\nfile 0 none\n", LLAMA2_E_CORRUPT},
    {"llama2-checkpoint 1\nstep 1\nfile 5 policy/deep/text\n", LLAMA2_E_FORMAT},
    {"llama2-checkpoint 1\nstep 1\nfile 6 policy/deep/text\n00000000\n", LLAMA2_E_TRUNCATED},
    {"llama2-checkpoint 1\nstep 1\nfile 4 policy/deep/text\n00000000\n", LLAMA2_E_CORRUPT},
    {"llama2-checkpoint 1\nstep 1\nfile 5 policy/deep/text\n00000000\n", LLAMA2_E_CORRUPT},
    {"llama2-checkpoint 1\nstep 1\nfile 9000000000000000000 state\n00000000\n", LLAMA2_E_TRUNCATED},
};

START_TEST(test_bad_manifests)
{
    l2_checkpoint_reader r;
    ck_ok(save_step(1, 1, 2));
    long live = memory.live;
    spill_manifest("root/step-000000000001", manifests[_i].text);
    ck_fails(l2_checkpoint_open(ctx, at("root"), 1, &r), manifests[_i].code);
    ck_assert_int_eq(memory.live, live);
}
END_TEST

START_TEST(test_leftovers)
{
    int64_t step = -1;
    ck_ok(save_step(1, 1, 2));
    ck_ok(l2_make_folder(ctx, at("root/.tmp-step-000000000002/policy")));
    ck_ok(l2_make_folder(ctx, at("root/step-2")));            /* not a name of ours */
    ck_ok(l2_make_folder(ctx, at("root/step-000000000009"))); /* ours, without a MANIFEST */
    spill_text(at("root/.tmp-step-000000000002/state"), "half");
    ck_assert_double_eq(load_step(&step, NULL), 1);
    /* Cut off between the two renames of a replacement: the old one is what the step is, and gets its name back. */
    ck_assert_int_eq(rename(at("root/step-000000000001"), at("root/step-000000000001.old")), 0);
    step = -1;
    ck_assert_double_eq(load_step(&step, NULL), 1);
    step = 1;
    ck_assert_double_eq(load_step(&step, NULL), 1);
    ck_ok(save_step(3, 3, 2));
    ck_assert_int_ne(access(at("root/.tmp-step-000000000002"), F_OK), 0);
    ck_assert_int_eq(access(at("root/step-000000000001/MANIFEST"), F_OK), 0);
    ck_assert_int_eq(access(at("root/step-2"), F_OK), 0);
}
END_TEST

START_TEST(test_short_and_interrupted_calls)
{
    int64_t step = 1;
    disk.stingy = 1;
    ck_ok(save_step(1, 1, 2));
    ck_assert_double_eq(load_step(&step, NULL), 1);
}
END_TEST

START_TEST(test_what_is_no_file)
{
    l2_checkpoint_reader r;
    ck_ok(save_step(1, 1, 2));
    ck_assert_int_eq(unlink(at("root/step-000000000001/empty")), 0);
    ck_assert_int_eq(mkfifo(at("root/step-000000000001/empty"), 0600), 0);
    ck_fails(l2_checkpoint_open(ctx, at("root"), 1, &r), LLAMA2_E_IO); /* and does not wait for a writer */
    ck_assert_ptr_nonnull(strstr(llama2_last_error(), "empty: is not a regular file"));
    ck_fails(l2_checkpoint_open(ctx, at("root"), -1, &r), LLAMA2_E_IO); /* it is there: a run does not begin anew */
    ck_assert_ptr_nonnull(strstr(llama2_last_error(), "1 of 1 can't be read"));
    ck_ok(l2_make_folder(ctx, at("root/step-000000000009"))); /* damaged */
    ck_fails(l2_checkpoint_open(ctx, at("root"), -1, &r), LLAMA2_E_IO);
    ck_ok(save_step(0, 5, 2));
    ck_ok(l2_checkpoint_open(ctx, at("root"), -1, &r));
    ck_assert_int_eq(r.step, 0);
    ck_assert_int_eq(r.passed_over, 2);
    l2_checkpoint_close(&r);
}
END_TEST

static long names_left;      /* that listings give until one breaks off; -1: no end of them */
static int listings_recover; /* all but that one are whole */

static struct dirent *break_off(DIR *dir)
{
    if (names_left == 0) {
        if (listings_recover) names_left = -1;
        errno = EIO;
        return NULL;
    }
    names_left -= names_left > 0;
    return readdir(dir);
}

/* Are all files of step 2 in its MANIFEST? */
static int is_all_listed(void)
{
    char manifest[1024] = "";
    size_t n = slurp(at("root/step-000000000002/MANIFEST"), (unsigned char *)manifest, sizeof manifest - 1);
    ck_assert_uint_lt(n, sizeof manifest - 1);
    return strstr(manifest, " empty\n") && strstr(manifest, " policy/deep/text\n") && strstr(manifest, " state\n");
}

/* A listing that breaks off is no short folder: no checkpoint is valid without the files behind that, and none is
 * passed over for it, nor is a leftover. */
START_TEST(test_listings_that_break_off)
{
    l2_checkpoint_reader r;
    double newest = 1, value = 1;
    int failed = 0, done = 0;
    listings_recover = _i;
    ck_ok(save_step(1, 1, 2));
    failing_files.readdir = break_off;
    for (long n = 0; !done; n++) {
        int64_t step = -1;
        ck_ok(l2_make_folder(ctx, at("root/.tmp-step-000000000009")));
        warnings = 0;
        names_left = n;
        llama2_status status = save_step(2, (float)++value, 2);
        done = names_left > 0;
        ck_assert(status == LLAMA2_OK || (status == LLAMA2_E_IO && !done));
        names_left = -1;
        if (status == LLAMA2_OK) {
            newest = value;
            ck_assert(is_all_listed());
            ck_assert(warnings || access(at("root/.tmp-step-000000000009"), F_OK) != 0); /* one that stays is told */
        }
        failed += status < 0;
        ck_assert_double_eq(load_step(&step, NULL), newest);
        names_left = 0;
        ck_fails(l2_checkpoint_open(ctx, at("root"), -1, &r), LLAMA2_E_IO);
        names_left = -1;
    }
    ck_assert_int_ge(failed, 10);
    failing_files.readdir = disk_readdir;
}
END_TEST

/* What a newer library wrote is not damaged: no run begins anew beside it. */
START_TEST(test_a_later_format)
{
    l2_checkpoint_reader r;
    ck_ok(save_step(1, 1, 2));
    spill_manifest("root/step-000000000001", "llama2-checkpoint 2\nstep 1\nwhatever else\n");
    ck_fails(l2_checkpoint_open(ctx, at("root"), 1, &r), LLAMA2_E_UNSUPPORTED);
    ck_fails(l2_checkpoint_open(ctx, at("root"), -1, &r), LLAMA2_E_UNSUPPORTED);
    ck_assert_ptr_nonnull(strstr(llama2_last_error(), "1 of 1 can't be read"));
    ck_ok(save_step(0, 5, 2));
    ck_ok(l2_checkpoint_open(ctx, at("root"), -1, &r));
    ck_assert_int_eq(r.step, 0);
    l2_checkpoint_close(&r);
}
END_TEST

/* A step that was moved elsewhere, with a link in its place; one that leads to itself, or to a disk that is away, can't
 * be read, which is not that there is none. */
START_TEST(test_links_to_steps)
{
    l2_checkpoint_reader r;
    ck_ok(save_step(1, 1, 2));
    ck_assert_int_eq(rename(at("root/step-000000000001"), at("moved")), 0);
    ck_assert_int_eq(symlink("../moved", at("root/step-000000000001")), 0);
    for (int64_t step = -1; step <= 1; step += 2) {
        ck_ok(l2_checkpoint_open(ctx, at("root"), step, &r));
        ck_ok(l2_checkpoint_stands(&r));
        l2_checkpoint_close(&r);
    }
    ck_ok(l2_checkpoint_open(ctx, at("root"), 1, &r));
    l2_checkpoint_reader other;
    for (int i = 0; i < 2; i++) {
        ck_assert_int_eq(unlink(at("root/step-000000000001")), 0);
        ck_fails(l2_checkpoint_stands(&r), LLAMA2_E_STATE);
        ck_assert_int_eq(symlink(i == 0 ? "step-000000000001" : "away", at("root/step-000000000001")), 0);
        ck_fails(l2_checkpoint_stands(&r), i == 0 ? LLAMA2_E_IO : LLAMA2_E_STATE);
        for (int64_t step = -1; step <= 1; step += 2)
            ck_fails(l2_checkpoint_open(ctx, at("root"), step, &other), LLAMA2_E_IO);
    }
    l2_checkpoint_close(&r);
}
END_TEST

/* A replacement that was cut off before the old step was removed: 3 in the place of 2. */
static void replace_halfway(void)
{
    ck_ok(l2_remove_tree(ctx, at("root")));
    ck_ok(save_step(2, 3, 2));
    ck_assert_int_eq(rename(at("root/step-000000000002"), at("root/new")), 0);
    ck_ok(save_step(2, 2, 2));
    ck_assert_int_eq(rename(at("root/step-000000000002"), at("root/step-000000000002.old")), 0);
    ck_assert_int_eq(rename(at("root/new"), at("root/step-000000000002")), 0);
}

/* Whatever fails once while the next save looks at it, the new step stays. */
START_TEST(test_failures_while_settling)
{
    int done = 0;
    for (long n = 0; !done; n++) {
        l2_checkpoint_writer w;
        int64_t step = 2;
        replace_halfway();
        disk.calls = 0;
        disk.fail_at = n;
        llama2_status status = l2_checkpoint_begin(ctx, at("root"), 5, &w);
        done = disk.calls <= n;
        disk.fail_at = -1;
        ck_assert(status == LLAMA2_OK || (!done && status == LLAMA2_E_IO));
        l2_checkpoint_abort(&w);
        ck_assert_double_eq(load_step(&step, NULL), 3);
    }
}
END_TEST

static const char *const unreadable_files[] = {"state", "MANIFEST"};

/* Its state is a FIFO from here on, or (newer) its MANIFEST of another format; the real one waits in "aside". */
static void make_unreadable(const char *name, int newer)
{
    char path[128];
    snprintf(path, sizeof path, "%s/%s", at(name), unreadable_files[newer]);
    ck_assert_int_eq(rename(path, at("aside")), 0);
    if (newer)
        spill_manifest(name, "llama2-checkpoint 2\nstep 2\n");
    else
        ck_assert_int_eq(mkfifo(path, 0600), 0);
}

/* Other steps are saved though the new one can't be read. As soon as it can it is what the step is. */
START_TEST(test_unreadable_replacement_stays)
{
    int64_t step = -1;
    int before = warnings;
    char path[128];
    replace_halfway();
    make_unreadable("root/step-000000000002", _i);
    ck_assert_double_eq(load_step(&step, NULL), 2);
    ck_ok(save_step(3, 30, 2));
    ck_ok(save_step(4, 40, 3));
    ck_assert_int_gt(warnings, before);
    ck_assert_int_eq(access(at("root/step-000000000002.old/MANIFEST"), F_OK), 0);
    snprintf(path, sizeof path, "%s/%s", at("root/step-000000000002"), unreadable_files[_i]);
    ck_assert_int_eq(rename(at("aside"), path), 0);
    ck_ok(save_step(5, 50, 4));
    ck_assert_int_ne(access(at("root/step-000000000002.old"), F_OK), 0);
    step = 2;
    ck_assert_double_eq(load_step(&step, NULL), 3);
}
END_TEST

/* The step itself is saved anew: of the two one that may be whole stays until then, whatever else fails. */
START_TEST(test_unreadable_replacement_is_replaced)
{
    int done = 0;
    for (long n = 0; !done; n++) {
        int64_t step = -1;
        replace_halfway();
        make_unreadable("root/step-000000000002", _i);
        disk.calls = 0;
        disk.fail_at = n;
        disk.for_ever = (int)(n % 2);
        llama2_status status = save_step(2, 20, 2);
        done = disk.calls <= n;
        disk.fail_at = -1;
        double value = load_step(&step, NULL);
        ck_assert(value == 20 || (value == 2 && status == LLAMA2_E_IO && !done));
        ck_ok(save_step(2, 21, 2));
        ck_assert_double_eq(load_step(&step, NULL), 21);
        ck_assert_int_ne(access(at("root/step-000000000002.old"), F_OK), 0);
    }
    replace_halfway();
    make_unreadable("root/step-000000000002", _i);
    spill_text(at("root/step-000000000002.old/state"), "damaged");
    ck_ok(save_step(2, 22, 2));
    replace_halfway();
    make_unreadable("root/step-000000000002", _i);
    make_unreadable("root/step-000000000002.old", _i);
    ck_fails(save_step(2, 23, 2), _i ? LLAMA2_E_UNSUPPORTED : LLAMA2_E_IO); /* which of them is to go? */
    ck_assert_int_eq(access(at("root/step-000000000002/state"), F_OK), 0);
    ck_assert_int_eq(access(at("root/step-000000000002.old/state"), F_OK), 0);
    ck_ok(save_step(3, 30, 2));
}
END_TEST

static int fail_rmdir(const char *path)
{
    (void)path;
    errno = EACCES;
    return -1;
}

/* Nothing of what was removed can be: saves go on. */
START_TEST(test_remains_are_in_nobodys_way)
{
    int64_t step = -1;
    failing_files.rmdir = fail_rmdir;
    for (int i = 1; i <= 6; i++) ck_ok(save_step(i, (float)i, 2));
    check_steps(2, 5, 6);
    for (int i = 0; i < 4; i++) ck_ok(save_step(6, (float)(60 + i), 2)); /* nor those of the same step */
    ck_assert_double_eq(load_step(&step, NULL), 63);
    ck_assert_int_ne(access(at("root/step-000000000006.old"), F_OK), 0);
    ck_ok(save_step(7, 7, 2));
    check_steps(2, 6, 7);
    ck_assert_int_eq(access(at("root/.tmp-step-000000000001.removed-0"), F_OK), 0);
    failing_files.rmdir = disk_rmdir;
    ck_ok(save_step(8, 8, 2));
    step = -1;
    ck_assert_double_eq(load_step(&step, NULL), 8);
    ck_assert_int_ne(access(at("root/.tmp-step-000000000001.removed-0"), F_OK), 0);
    ck_assert_int_ne(access(at("root/.tmp-step-000000000006.removed-2"), F_OK), 0);
}
END_TEST

/* Each file operation, then each allocation, fails once and for ever after: what was there stays usable, nothing leaks,
 * and the next save works. */
START_TEST(test_each_failure_while_saving)
{
    int memory_fails = _i / 4, for_ever = _i / 2 % 2, replace = _i % 2, done = 0;
    for (long n = 0; !done; n++) {
        int64_t step = -1;
        ck_ok(l2_remove_tree(ctx, at("root")));
        ck_ok(save_step(1, 1, 2));
        ck_ok(save_step(2, 2, 2));
        long live = memory.live;
        memory.calls = disk.calls = 0;
        memory.for_ever = disk.for_ever = for_ever;
        disk.error = n % 2 ? ENOSPC : EIO;
        if (memory_fails)
            memory.fail_at = n;
        else
            disk.fail_at = n;
        llama2_status status = save_step(replace ? 2 : 3, 3, 2);
        done = memory_fails ? memory.calls <= n : disk.calls <= n;
        memory.fail_at = disk.fail_at = -1;
        ck_assert_int_eq(memory.live, live);
        double value = load_step(&step, NULL);
        if (status == LLAMA2_OK)
            ck_assert_double_eq(value, 3);
        else
            ck_assert(value == 2 || (for_ever && value == 3)); /* what can't be moved back stays */
        if (!replace && status < 0) {
            step = 2;
            ck_assert_double_eq(load_step(&step, NULL), 2);
        }
        step = 1;
        if (status < 0) ck_assert_double_eq(load_step(&step, NULL), 1);
        ck_ok(save_step(4, 4, 2));
        step = -1;
        ck_assert_double_eq(load_step(&step, NULL), 4);
    }
}
END_TEST

START_TEST(test_each_failure_while_loading)
{
    ck_ok(save_step(1, 1, 2));
    for (int mode = 0; mode < 4; mode++) {
        int done = 0;
        for (long n = 0; !done; n++) {
            l2_checkpoint_reader r;
            long live = memory.live;
            memory.calls = disk.calls = 0;
            memory.for_ever = disk.for_ever = mode % 2;
            if (mode / 2)
                memory.fail_at = n;
            else
                disk.fail_at = n;
            llama2_status status = l2_checkpoint_open(ctx, at("root"), n % 2 ? 1 : -1, &r);
            done = mode / 2 ? memory.calls <= n : disk.calls <= n;
            memory.fail_at = disk.fail_at = -1;
            l2_checkpoint_close(&r);
            if (done) ck_ok(status);
            if (mode / 2 && status < 0)
                ck_assert_int_eq(status, LLAMA2_E_NOMEM); /* never taken for a damaged checkpoint */
            ck_assert_int_eq(memory.live, live);
        }
    }
}
END_TEST

Suite *test_suite(void)
{
    Suite *suite = suite_create("format/checkpoint");
    TCase *c = tcase_create("checkpoints");
    tcase_add_checked_fixture(c, setup, teardown);
    tcase_set_timeout(c, 120);
    tcase_add_test(c, test_state_round_trip);
    tcase_add_test(c, test_state_writer_refuses);
    tcase_add_test(c, test_state_truncation_and_flips);
    tcase_add_loop_test(c, test_state_lies, 0, (int)(sizeof lies / sizeof *lies));
    tcase_add_test(c, test_steps_come_and_go);
    tcase_add_test(c, test_every_flipped_bit_is_found);
    tcase_add_loop_test(c, test_bad_manifests, 0, (int)(sizeof manifests / sizeof *manifests));
    tcase_add_test(c, test_leftovers);
    tcase_add_loop_test(c, test_each_failure_while_saving, 0, 8);
    tcase_add_test(c, test_short_and_interrupted_calls);
    tcase_add_test(c, test_what_is_no_file);
    tcase_add_loop_test(c, test_listings_that_break_off, 0, 2);
    tcase_add_test(c, test_a_later_format);
    tcase_add_test(c, test_links_to_steps);
    tcase_add_test(c, test_failures_while_settling);
    tcase_add_loop_test(c, test_unreadable_replacement_stays, 0, 2);
    tcase_add_loop_test(c, test_unreadable_replacement_is_replaced, 0, 2);
    tcase_add_test(c, test_remains_are_in_nobodys_way);
    tcase_add_test(c, test_each_failure_while_loading);
    suite_add_tcase(suite, c);
    return suite;
}
