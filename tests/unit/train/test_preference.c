/* Preference records: what a collection keeps, refuses and counts, and the collection as a file. */
#include "preference_test.h"

#include "base/fixture.h"

#include "format/checkpoint.h"
#include "train/preference.h"

static const int32_t roles[] = {LLAMA2_ROLE_SYSTEM, LLAMA2_ROLE_USER, LLAMA2_ROLE_ASSISTANT, LLAMA2_ROLE_USER};
static const char *const texts[] = {"be kind", "a\0b and more", "", "who?"};
static const size_t lengths[] = {7, 3, 0, 4};
static const char *const responses[] = {"sam", "ben, of course"};
static const size_t response_lengths[] = {3, 3};
static const char *const models[] = {"V2", "V3"};
static const double temperatures[] = {0.7, 1.2};
static const int32_t safe[] = {1, 0};

static llama2_preference whole_record(void)
{
    llama2_preference r;
    llama2_preference_init(&r, sizeof r);
    r.n_messages = 4;
    r.roles = roles;
    r.texts = texts;
    r.lengths = lengths;
    r.responses = responses;
    r.response_lengths = response_lengths;
    r.models = models;
    r.temperatures = temperatures;
    r.safe = safe;
    r.kind = LLAMA2_KIND_SAFETY;
    r.chosen = 1;
    r.rating = LLAMA2_RATING_SLIGHTLY;
    r.id = "w7-1";
    r.annotator = "ann";
    r.batch = "2023-W07";
    r.guideline = "safety first";
    return r;
}

static void check_whole(const llama2_preference *r)
{
    ck_assert_int_eq(r->n_messages, 4);
    for (int i = 0; i < 4; i++) {
        ck_assert_int_eq(r->roles[i], roles[i]);
        ck_assert_uint_eq(r->lengths[i], lengths[i]);
        ck_assert_mem_eq(r->texts[i], texts[i], lengths[i]);
        ck_assert_int_eq(r->texts[i][lengths[i]], 0);
    }
    ck_assert_str_eq(r->responses[0], "sam");
    ck_assert_str_eq(r->responses[1], "ben");
    ck_assert_str_eq(r->models[0], "V2");
    ck_assert_str_eq(r->models[1], "V3");
    ck_assert(r->temperatures[0] == 0.7 && r->temperatures[1] == 1.2);
    ck_assert(r->safe[0] == 1 && r->safe[1] == 0);
    ck_assert_int_eq(r->kind, LLAMA2_KIND_SAFETY);
    ck_assert_int_eq(r->chosen, 1);
    ck_assert_int_eq(r->rating, LLAMA2_RATING_SLIGHTLY);
    ck_assert_int_eq(llama2_preference_bin(r), LLAMA2_BIN_OTHER_SAFE);
    ck_assert_str_eq(r->id, "w7-1");
    ck_assert_str_eq(r->annotator, "ann");
    ck_assert_str_eq(r->batch, "2023-W07");
    ck_assert_str_eq(r->guideline, "safety first");
}

START_TEST(records_are_copied)
{
    llama2_context *ctx = small_context(1, LLAMA2_ISA_AUTO);
    llama2_preferences *p = new_preferences(ctx);
    llama2_preference r = whole_record();
    char id[] = "w7-1";
    r.id = id;
    ck_ok(llama2_preferences_add(p, &r));
    id[0] = 'x';
    add_choice(p, "a", "b", "", -1, NULL);
    ck_assert_int_eq(llama2_preferences_count(p), 2);
    r = record_at(p, 0);
    check_whole(&r);
    r = record_at(p, 1); /* what is not known is there, and empty */
    ck_assert(r.temperatures[0] == -1 && r.temperatures[1] == -1 && r.safe[0] == -1 && r.safe[1] == -1);
    ck_assert_str_eq(r.models[1], "");
    ck_assert_str_eq(r.id, "");
    ck_assert_str_eq(r.annotator, "");
    ck_assert_str_eq(r.responses[1], "");
    ck_assert_int_eq(llama2_preference_bin(&r), -1);
    ck_fails(llama2_preferences_get(p, 2, &r), LLAMA2_E_INVALID);
    ck_fails(llama2_preferences_get(p, -1, &r), LLAMA2_E_INVALID);
    llama2_preferences_free(p);
    llama2_preferences_free(NULL);
    llama2_context_free(ctx);
}
END_TEST

START_TEST(wrong_records_are_refused)
{
    llama2_context *ctx = small_context(1, LLAMA2_ISA_AUTO);
    llama2_preferences *p = new_preferences(ctx);
    static const char *const cut[] = {"sam", "be\xC3"}, *const missing[] = {"sam", NULL};
    static const int32_t order[] = {1, 2, 1, 1}, labels[] = {1, 2};
    static const double cold[] = {1, -0.5}, hot[] = {1, INFINITY};
#define REFUSED(change, says)                                                                                          \
    do {                                                                                                               \
        llama2_preference r = whole_record();                                                                          \
        change;                                                                                                        \
        ck_fails(llama2_preferences_add(p, &r), LLAMA2_E_INVALID);                                                     \
        ck_assert_msg(strstr(llama2_last_error(), says) != NULL, "%s", llama2_last_error());                           \
    } while (0)
    REFUSED(r.n_messages = 0, "0 messages");
    REFUSED(r.n_messages = 3, "expected user");
    REFUSED(r.roles = order, "message 3");
    REFUSED(r.roles = NULL, "NULL");
    REFUSED(r.responses = NULL, "NULL");
    REFUSED(r.responses = missing; r.response_lengths = NULL, "response 1 is NULL");
    REFUSED(r.responses = cut, "response 1 is not UTF-8 at byte 2");
    REFUSED(r.id = "\xFF", "id is not UTF-8");
    REFUSED(r.chosen = 2, "chosen is 2");
    REFUSED(r.chosen = -1, "without a choice");
    REFUSED(r.rating = 4, "rating is 4");
    REFUSED(r.kind = 2, "kind is 2");
    REFUSED(r.safe = labels, "is 2");
    REFUSED(r.temperatures = cold, "temperature 1 is -0.5");
    REFUSED(r.temperatures = hot, "temperature 1 is inf");
    const llama2_preference taken = whole_record();
    ck_ok(llama2_preferences_add(p, &taken));
    REFUSED(r.rating = -1, "\"w7-1\" is that of record 0");
    ck_assert_int_eq(llama2_preferences_count(p), 1);
    llama2_preferences_free(p);
    llama2_context_free(ctx);
}
END_TEST

START_TEST(ids_are_found)
{
    llama2_context *ctx = small_context(1, LLAMA2_ISA_AUTO);
    llama2_preferences *p = new_preferences(ctx);
    int64_t index = -5;
    ck_fails(llama2_preferences_find(p, "0", &index), LLAMA2_E_NOT_FOUND);
    for (int i = 0; i < 1000; i++) {
        char id[16];
        small_record s;
        snprintf(id, sizeof id, "%d", 7 * i);
        small_record_init(&s, "a", "b", "c", -1)->id = i % 3 ? id : NULL;
        ck_ok(llama2_preferences_add(p, &s.r));
    }
    for (int i = 0; i < 1000; i++) {
        char id[16];
        snprintf(id, sizeof id, "%d", 7 * i);
        if (i % 3 == 0) {
            ck_fails(llama2_preferences_find(p, id, &index), LLAMA2_E_NOT_FOUND);
            continue;
        }
        ck_ok(llama2_preferences_find(p, id, &index));
        ck_assert_int_eq(index, i);
    }
    ck_fails(llama2_preferences_find(p, "", &index), LLAMA2_E_NOT_FOUND);
    llama2_preferences_free(p);
    llama2_context_free(ctx);
}
END_TEST

/* Where ids lie differs from one collection to the next, so no file can be made of those that collide. */
START_TEST(places_of_ids_are_secret)
{
    llama2_context *ctx = small_context(1, LLAMA2_ISA_AUTO);
    llama2_preferences *p[2] = {new_preferences(ctx), new_preferences(ctx)};
    for (int i = 0; i < 200; i++) {
        char id[16];
        small_record s;
        snprintf(id, sizeof id, "%d", i);
        small_record_init(&s, "a", "b", "c", -1)->id = id;
        for (int k = 0; k < 2; k++) ck_ok(llama2_preferences_add(p[k], &s.r));
    }
    ck_assert(memcmp(p[0]->slots, p[1]->slots, (size_t)p[0]->n_slots * sizeof *p[0]->slots) != 0);
    ck_assert_uint_eq(preferences_crc(p[0]), preferences_crc(p[1]));
    for (int k = 0; k < 2; k++) llama2_preferences_free(p[k]);
    llama2_context_free(ctx);
}
END_TEST

START_TEST(choices_are_set)
{
    llama2_context *ctx = small_context(1, LLAMA2_ISA_AUTO);
    llama2_preferences *p = new_preferences(ctx);
    llama2_annotation a;
    small_record s;
    int64_t index;
    small_record_init(&s, "a", "b", "c", -1)->id = "x";
    s.r.batch = "W1";
    ck_ok(llama2_preferences_add(p, &s.r));
    llama2_annotation_init(&a, sizeof a);
    ck_fails(llama2_preferences_annotate(p, 0, &a), LLAMA2_E_INVALID); /* no choice */
    for (int32_t chosen = 0; chosen < 2; chosen++)
        for (int32_t bin = 0; bin < 4; bin++) {
            a.chosen = chosen;
            a.rating = bin;
            a.bin = bin;
            a.annotator = "ann";
            a.guideline = "short answers";
            ck_ok(llama2_preferences_annotate(p, 0, &a));
            llama2_preference r = record_at(p, 0);
            ck_assert_int_eq(r.chosen, chosen);
            ck_assert_int_eq(r.rating, bin);
            ck_assert_int_eq(llama2_preference_bin(&r), bin);
            ck_assert_int_eq(r.safe[chosen], bin == LLAMA2_BIN_CHOSEN_SAFE || bin == LLAMA2_BIN_BOTH_SAFE);
            ck_assert_str_eq(r.annotator, "ann");
            ck_assert_str_eq(r.batch, "W1");
            ck_assert_str_eq(r.guideline, "short answers");
        }
    uint32_t before = preferences_crc(p);
    a.rating = 4;
    ck_fails(llama2_preferences_annotate(p, 0, &a), LLAMA2_E_INVALID);
    a.rating = -1;
    a.bin = 4;
    ck_fails(llama2_preferences_annotate(p, 0, &a), LLAMA2_E_INVALID);
    a.bin = -1;
    ck_fails(llama2_preferences_annotate(p, 1, &a), LLAMA2_E_INVALID);
    a.annotator = "\xFF";
    ck_fails(llama2_preferences_annotate(p, 0, &a), LLAMA2_E_INVALID);
    ck_assert_uint_eq(preferences_crc(p), before);
    a.annotator = NULL;
    ck_ok(llama2_preferences_annotate(p, 0, &a)); /* labels stay, the degree is taken back */
    llama2_preference r = record_at(p, 0);
    ck_assert_int_eq(llama2_preference_bin(&r), LLAMA2_BIN_OTHER_SAFE);
    ck_assert_int_eq(r.rating, -1);
    ck_ok(llama2_preferences_find(p, "x", &index));
    ck_assert_int_eq(index, 0);
    llama2_preferences_free(p);
    llama2_context_free(ctx);
}
END_TEST

static void check_file(llama2_context *ctx, const char *path, const llama2_preferences *p)
{
    llama2_preferences *loaded;
    ck_ok(llama2_preferences_save(p, path));
    ck_ok(llama2_preferences_load(ctx, path, &loaded));
    ck_assert_int_eq(llama2_preferences_count(loaded), llama2_preferences_count(p));
    ck_assert_uint_eq(preferences_crc(loaded), preferences_crc(p));
    llama2_preferences_free(loaded);
}

START_TEST(file_there_and_back)
{
    llama2_context *ctx = small_context(1, LLAMA2_ISA_AUTO);
    llama2_preferences *p = new_preferences(ctx), *loaded;
    char folder[64], path[96];
    llama2_preference r = whole_record();
    int64_t index;
    snprintf(path, sizeof path, "%s/preferences", scratch_folder(folder));
    check_file(ctx, path, p);
    ck_ok(llama2_preferences_add(p, &r));
    for (int i = 0; i < 100; i++) add_choice(p, i % 2 ? "a" : "b", "c", "d", i % 3 - 1, i % 5 ? "ann" : NULL);
    check_file(ctx, path, p);
    ck_ok(llama2_preferences_load(ctx, path, &loaded));
    r = record_at(loaded, 0);
    check_whole(&r);
    ck_ok(llama2_preferences_find(loaded, "w7-1", &index));
    ck_assert_int_eq(index, 0);
    llama2_preferences_free(loaded);
    ck_fails(llama2_preferences_load(ctx, folder, &loaded), LLAMA2_E_IO);
    ck_ok(l2_remove_tree(ctx, folder));
    ck_fails(llama2_preferences_load(ctx, path, &loaded), LLAMA2_E_NOT_FOUND);
    ck_assert_ptr_null(loaded);
    llama2_preferences_free(p);
    llama2_context_free(ctx);
}
END_TEST

/* Thousands of real syncs would only wait for the disk. */
static int no_sync(int fd)
{
    (void)fd;
    return 0;
}

static void without_syncs(llama2_context *ctx)
{
    static l2_file_ops files;
    files = l2_posix_files;
    files.fsync = no_sync;
    ctx->files = &files;
}

/* Every byte changed, every length cut. */
START_TEST(damaged_files_are_told)
{
    llama2_context *ctx = small_context(1, LLAMA2_ISA_AUTO);
    llama2_preferences *p = new_preferences(ctx), *none;
    char folder[64], path[96];
    l2_file_view view;
    llama2_preference r = whole_record();
    without_syncs(ctx);
    snprintf(path, sizeof path, "%s/preferences", scratch_folder(folder));
    ck_ok(llama2_preferences_add(p, &r));
    add_choice(p, "a", "b", "c", 0, NULL);
    ck_ok(llama2_preferences_save(p, path));
    ck_ok(l2_file_read(ctx, path, UINT64_MAX, &view));
    unsigned char *bytes = malloc(view.size);
    for (size_t i = 0; i < view.size; i++) {
        memcpy(bytes, view.data, view.size);
        bytes[i] ^= 4;
        ck_ok(l2_write_file(ctx, path, bytes, view.size));
        llama2_status status = llama2_preferences_load(ctx, path, &none);
        ck_assert_msg(status == LLAMA2_E_CORRUPT || status == LLAMA2_E_FORMAT || status == LLAMA2_E_TRUNCATED ||
                          status == LLAMA2_E_UNSUPPORTED,
                      "byte %zu: %s", i, llama2_status_name(status));
        ck_assert(!none && (i < 16 || i >= 200 || status == LLAMA2_E_CORRUPT));
    }
    for (size_t n = 0; n < view.size; n++) {
        ck_ok(l2_write_file(ctx, path, view.data, n));
        ck_assert_int_lt(llama2_preferences_load(ctx, path, &none), 0);
        ck_assert_ptr_null(none);
    }
    free(bytes);
    l2_file_release(ctx, &view);
    ck_ok(l2_remove_tree(ctx, folder));
    llama2_preferences_free(p);
    llama2_context_free(ctx);
}
END_TEST

/* Wrong bytes under right checksums: a record, or a code; never anything else. */
START_TEST(forged_files)
{
    static const l2_chunk_kind known[] = {{"preferences", 1}};
    static const unsigned char flips[] = {1, 0x80, 0xFF};
    enum { NUL_OF_FIRST = 8 + 24 + 16 + 4 + 8 + 7 }; /* count, numbers, temperatures, role, length, "be kind" */
    llama2_context *ctx = small_context(1, LLAMA2_ISA_AUTO);
    llama2_preferences *p = new_preferences(ctx), *loaded;
    llama2_preference r = whole_record();
    char folder[64], path[96];
    l2_state_reader reader;
    l2_state_writer writer;
    l2_cursor c;
    int refused = 0, taken = 0;
    without_syncs(ctx);
    snprintf(path, sizeof path, "%s/preferences", scratch_folder(folder));
    ck_ok(llama2_preferences_add(p, &r));
    ck_ok(llama2_preferences_save(p, path));
    ck_ok(l2_state_open(ctx, path, known, 1, &reader));
    ck_ok(l2_cursor_open(&reader, "preferences", "", &c));
    unsigned char *bytes = malloc(c.size);
    for (size_t i = 0; i < 3 * c.size + 2; i++) {
        size_t size = i == 3 * c.size ? c.size - 1 : c.size;
        memcpy(bytes, c.data, size);
        if (i < 3 * c.size) bytes[i / 3] ^= flips[i % 3];
        ck_ok(l2_state_create(ctx, path, &writer));
        ck_ok(l2_state_begin(&writer, "preferences", "", 1, L2_CHUNK_REQUIRED));
        ck_ok(l2_state_bytes(&writer, bytes, size));
        if (i > 3 * c.size) ck_ok(l2_state_u32(&writer, 0));
        ck_ok(l2_state_end(&writer));
        ck_ok(l2_state_commit(&writer));
        l2_state_abort(&writer);
        llama2_status status = llama2_preferences_load(ctx, path, &loaded);
        ck_assert_msg(status == LLAMA2_OK || status == LLAMA2_E_FORMAT || status == LLAMA2_E_TRUNCATED, "%zu: %s", i,
                      llama2_last_error());
        ck_assert(i < 3 * c.size || status < 0);
        if (i / 3 == NUL_OF_FIRST) ck_assert_int_eq(status, LLAMA2_E_FORMAT);
        refused += status < 0;
        taken += status >= 0;
        llama2_preferences_free(loaded);
    }
    ck_assert(refused > 200 && taken > 50); /* lengths, ranges and ends are refused; other letters are other texts */
    free(bytes);
    l2_state_close(&reader);
    ck_ok(l2_remove_tree(ctx, folder));
    llama2_preferences_free(p);
    llama2_context_free(ctx);
}
END_TEST

/* Every allocation fails: NOMEM, nothing leaks, and what was there is there. */
START_TEST(every_allocation_fails)
{
    fault_allocator memory = {0};
    char folder[64], path[96];
    llama2_context *ctx = make_context(&memory, 1);
    without_syncs(ctx);
    snprintf(path, sizeof path, "%s/preferences", scratch_folder(folder));
    for (long n = 1, done = 0; !done; n++) {
        llama2_preferences *p = new_preferences(ctx), *loaded = NULL;
        llama2_annotation a;
        llama2_agreement agreement = {.struct_size = sizeof agreement};
        llama2_preference r = whole_record();
        int64_t added = 0;
        llama2_annotation_init(&a, sizeof a);
        a.chosen = 0;
        memory.fail_after = _i;
        memory.fail_at = atomic_load(&memory.calls) + n;
        llama2_status status = llama2_preferences_add(p, &r);
        for (int i = 0; status >= 0 && i < 40; i++) {
            small_record s;
            added++;
            small_record_init(&s, "a", "b", "c", i % 2)->annotator = i % 3 ? "ann" : "ben";
            status = llama2_preferences_add(p, &s.r);
        }
        ck_assert_int_eq(llama2_preferences_count(p), added + (status >= 0));
        if (status >= 0) status = llama2_preferences_annotate(p, 0, &a);
        if (status >= 0) status = llama2_preferences_agreement(p, -1, &agreement);
        if (status >= 0) status = llama2_preferences_save(p, path);
        if (status >= 0) status = llama2_preferences_load(ctx, path, &loaded);
        done = status >= 0;
        memory.fail_at = 0;
        ck_assert_msg(status == LLAMA2_OK || (status == LLAMA2_E_NOMEM && !loaded), "allocation %ld: %s", n,
                      llama2_last_error());
        if (status < 0 && added > 0) {
            r = record_at(p, 0);
            ck_assert_str_eq(r.id, "w7-1");
        }
        ck_assert_int_lt(n, 1000);
        llama2_preferences_free(loaded);
        llama2_preferences_free(p);
    }
    ck_ok(l2_remove_tree(ctx, folder));
    llama2_context_free(ctx);
    ck_assert_int_eq(atomic_load(&memory.live), 0);
}
END_TEST

Suite *test_suite(void)
{
    Suite *suite = suite_create("preference");
    ADD_CASE(suite, "records", records_are_copied, wrong_records_are_refused, ids_are_found, places_of_ids_are_secret,
             choices_are_set);
    ADD_CASE(suite, "files", file_there_and_back, damaged_files_are_told, forged_files);
    TCase *tc = tcase_create("failing allocations");
    tcase_set_timeout(tc, 60);
    tcase_add_loop_test(tc, every_allocation_fails, 0, 2);
    suite_add_tcase(suite, tc);
    return suite;
}
