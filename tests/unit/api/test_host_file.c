/* Models and tokenizers from files of the host: in its memory, and read by its callback. */
#include "format/gguf_file.h"
#include "model/model.h"
#include <llama2/llama2.h>

/* A file of the tests, and what its reader was asked for. */
typedef struct held {
    unsigned char *bytes;
    size_t size;
    uint64_t at, fail_at; /* where the next piece should begin; the piece with this byte fails */
    int calls, cancels;
} held;

static int32_t read_held(void *user, uint64_t offset, uint64_t length, void *buffer)
{
    held *h = user;
    h->calls++;
    ck_assert(offset == h->at && length > 0 && length <= h->size - offset);
    if (h->cancels) llama2_context_cancel(ctx);
    if (h->fail_at - offset < length) return 77;
    memcpy(buffer, h->bytes + offset, length);
    h->at += length;
    return 0;
}

static held hold(const char *path)
{
    held h = {.bytes = malloc(1 << 20), .fail_at = UINT64_MAX};
    h.size = slurp(path, h.bytes, 1 << 20);
    ck_assert_msg(h.size < 1 << 20, "%s", path);
    return h;
}

static held hold_reference(const char *name)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/reference/%s", LLAMA2_TEST_SOURCE, name);
    return hold(path);
}

static llama2_host_file in_memory(const held *h)
{
    return (llama2_host_file){.struct_size = sizeof(llama2_host_file), .size = h->size, .data = h->bytes};
}

static llama2_host_file by_callback(held *h)
{
    h->at = 0;
    h->calls = 0;
    return (llama2_host_file){.struct_size = sizeof(llama2_host_file), .size = h->size, .read = read_held, .user = h};
}

START_TEST(test_models)
{
    static const char *const names[] = {"gguf/gqa_untied.gguf", "meta/fp32/llama2c.bin"};
    for (int i = 0; i < 2; i++) {
        char path[4096];
        llama2_model *of_path, *m;
        held h = hold_reference(names[i]);
        snprintf(path, sizeof path, "%s/reference/%s", LLAMA2_TEST_SOURCE, names[i]);
        ck_ok(llama2_model_load(ctx, path, NULL, &of_path));
        for (int how = 0; how < 2; how++) {
            llama2_host_file file = how ? by_callback(&h) : in_memory(&h);
            ck_ok(llama2_model_load_host(ctx, &file, NULL, &m));
            ck_assert_mem_eq(&of_path->config, &m->config, sizeof m->config);
            ck_assert_mem_eq(of_path->weights, m->weights, (size_t)m->n_elements * sizeof(float));
            if (how) ck_assert(h.calls == 1 && h.at == h.size);
            llama2_model_free(m);
        }
        llama2_model_free(of_path);
        free(h.bytes);
    }
}
END_TEST

START_TEST(test_tokenizers)
{
    static const char *const names[] = {"tokenizer/words.model", "tokenizer/bpe-gpt2/tokenizer.json",
                                        "gguf/gqa_untied.gguf"};
    for (int i = 0; i < 3; i++) {
        llama2_tokenizer *of_memory, *tok;
        held h = hold_reference(names[i]);
        for (int how = 0; how < 2; how++) {
            llama2_host_file file = how ? by_callback(&h) : in_memory(&h);
            int32_t ids[2][64];
            int64_t n[2];
            ck_ok(llama2_tokenizer_load_memory(ctx, h.bytes, h.size, NULL, &of_memory));
            ck_ok(llama2_tokenizer_load_host(ctx, &file, NULL, &tok));
            ck_ok(llama2_tokenizer_encode(of_memory, "the words", 9, 0, ids[0], 64, &n[0]));
            ck_ok(llama2_tokenizer_encode(tok, "the words", 9, 0, ids[1], 64, &n[1]));
            ck_assert(n[0] == n[1] && memcmp(ids[0], ids[1], (size_t)n[0] * 4) == 0);
            llama2_tokenizer_free(of_memory);
            llama2_tokenizer_free(tok);
        }
        free(h.bytes);
    }
}
END_TEST

/* A file of several pieces: they are asked for in order, and whichever fails ends the call. */
START_TEST(test_failing_reader)
{
    enum { PIECE = 16 << 20, SIZE = 2 * PIECE + 100 };
    llama2_model *m = (llama2_model *)&m;
    held h = {.bytes = calloc(SIZE, 1), .size = SIZE, .fail_at = UINT64_MAX};
    llama2_host_file file = by_callback(&h);
    size_t before = memory.bytes;
    ck_fails(llama2_model_load_host(ctx, &file, NULL, &m), LLAMA2_E_FORMAT);
    ck_assert(h.calls == 3 && h.at == SIZE && m == NULL);
    for (int piece = 0; piece < 3; piece++) {
        file = by_callback(&h);
        h.fail_at = (uint64_t)piece * PIECE + 50;
        m = (llama2_model *)&m;
        ck_fails(llama2_model_load_host(ctx, &file, NULL, &m), LLAMA2_E_USER);
        ck_assert_ptr_nonnull(strstr(llama2_last_error(), "returned 77"));
        ck_assert(h.calls == piece + 1 && m == NULL);
    }
    file = by_callback(&h);
    h.fail_at = UINT64_MAX;
    h.cancels = 1;
    ck_fails(llama2_model_load_host(ctx, &file, NULL, &m), LLAMA2_E_CANCELLED);
    ck_assert_int_eq(h.calls, 1);
    ck_assert_uint_eq(memory.bytes, before);
    free(h.bytes);
}
END_TEST

START_TEST(test_wrong_arguments)
{
    llama2_model *m;
    llama2_tokenizer *tok;
    llama2_tokenizer_options o;
    held h = hold_reference("tokenizer/words.model");
    llama2_host_file file = in_memory(&h);
    ck_fails(llama2_model_load_host(NULL, &file, NULL, &m), LLAMA2_E_INVALID);
    ck_fails(llama2_model_load_host(ctx, &file, NULL, NULL), LLAMA2_E_INVALID);
    ck_fails(llama2_model_load_host(ctx, NULL, NULL, &m), LLAMA2_E_INVALID);
    ck_fails(llama2_tokenizer_load_host(NULL, &file, NULL, &tok), LLAMA2_E_INVALID);
    ck_fails(llama2_tokenizer_load_host(ctx, &file, NULL, NULL), LLAMA2_E_INVALID);
    ck_fails(llama2_tokenizer_load_host(ctx, NULL, NULL, &tok), LLAMA2_E_INVALID);
    ck_fails(llama2_model_load_host(ctx, &file, NULL, &m), LLAMA2_E_FORMAT); /* a tokenizer is no model */
    file.read = read_held;
    ck_fails(llama2_model_load_host(ctx, &file, NULL, &m), LLAMA2_E_INVALID);
    file.read = NULL, file.data = NULL;
    ck_fails(llama2_model_load_host(ctx, &file, NULL, &m), LLAMA2_E_INVALID);
    file = by_callback(&h);
    file.size = UINT64_MAX;
    ck_fails(llama2_model_load_host(ctx, &file, NULL, &m), LLAMA2_E_LIMIT);
    file.struct_size = 12;
    ck_fails(llama2_model_load_host(ctx, &file, NULL, &m), LLAMA2_E_ABI);
    file = (llama2_host_file){.struct_size = sizeof file};
    ck_fails(llama2_model_load_host(ctx, &file, NULL, &m), LLAMA2_E_FORMAT); /* an empty file */
    llama2_tokenizer_options_init(&o, sizeof o);
    o.max_bytes = h.size - 1;
    file = by_callback(&h);
    ck_fails(llama2_tokenizer_load_host(ctx, &file, &o, &tok), LLAMA2_E_LIMIT);
    ck_assert_int_eq(h.calls, 0);
    free(h.bytes);
}
END_TEST

START_TEST(test_each_allocation_fails)
{
    held h = hold_reference("gguf/mqa_tied.gguf");
    for (int how = 0; how < 2; how++) {
        int done = 0;
        for (long n = 0; !done; n++) {
            llama2_model *m;
            llama2_host_file file = how ? by_callback(&h) : in_memory(&h);
            long live = memory.live;
            memory.calls = 0;
            memory.fail_at = n;
            llama2_status status = llama2_model_load_host(ctx, &file, NULL, &m);
            done = memory.calls <= n;
            memory.fail_at = -1;
            ck_assert(status == (done ? LLAMA2_OK : LLAMA2_E_NOMEM) && (done || !m));
            llama2_model_free(m);
            ck_assert_int_eq(memory.live, live);
        }
    }
    free(h.bytes);
}
END_TEST

Suite *test_suite(void)
{
    Suite *suite = suite_create("api/host_file");
    TCase *files = tcase_create("files");
    tcase_add_checked_fixture(files, setup, teardown);
    tcase_set_timeout(files, 120);
    tcase_add_test(files, test_models);
    tcase_add_test(files, test_tokenizers);
    tcase_add_test(files, test_failing_reader);
    tcase_add_test(files, test_wrong_arguments);
    tcase_add_test(files, test_each_allocation_fails);
    suite_add_tcase(suite, files);
    return suite;
}
