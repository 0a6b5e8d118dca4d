/* A session's state: it goes on with the same bits; what is damaged, hostile or of another model is refused. */
#include "small_model.h"

#include "format/faults.h"

#include "base/checksum.h"
#include "format/bytes.h"
#include "infer/session.h"

enum { VOCAB = 37, CONTEXT = 800 };

static llama2_model *model_of(llama2_config c, int32_t dtype)
{
    llama2_model *m;
    llama2_model_options o;
    llama2_model_options_init(&o, sizeof o);
    o.dtype = dtype;
    ck_ok(llama2_model_create(ctx, &c, &o, &m));
    return m;
}

static llama2_config config_of(int32_t context)
{
    llama2_config c = small_config(0);
    c.max_seq_len = context;
    return c;
}

static llama2_session *session_of(llama2_model *m, int64_t n)
{
    llama2_session *s;
    int32_t tokens[CONTEXT];
    for (int64_t i = 0; i < n; i++) tokens[i] = (int32_t)((i * 11 + i * i / 3) % VOCAB);
    ck_ok(llama2_session_create(m, &s));
    if (n) ck_ok(llama2_session_feed(s, tokens, n));
    return s;
}

/* The state as bytes, to be freed. */
static unsigned char *bytes_of(const llama2_session *s, size_t *n)
{
    size_t again;
    ck_ok(llama2_session_save_memory(s, NULL, 0, n));
    unsigned char *bytes = malloc(*n);
    ck_fails(llama2_session_save_memory(s, bytes, *n - 1, &again), LLAMA2_E_BUFFER);
    ck_assert_uint_eq(again, *n);
    ck_fails(llama2_session_save_memory(s, bytes, 0, &again), LLAMA2_E_BUFFER);
    ck_ok(llama2_session_save_memory(s, bytes, *n, &again));
    ck_assert_uint_eq(again, *n);
    return bytes;
}

static void check_same(llama2_session *a, llama2_session *b, int has_logits)
{
    float x[VOCAB], y[VOCAB];
    ck_assert_int_eq(llama2_session_position(a), llama2_session_position(b));
    for (int i = 0; i < 70; i++) {
        int32_t t, u;
        if (i || has_logits) {
            ck_ok(llama2_session_logits(a, x, VOCAB, NULL));
            ck_ok(llama2_session_logits(b, y, VOCAB, NULL));
            ck_assert_mem_eq(x, y, sizeof x);
            ck_ok(llama2_session_sample(a, NULL, &t, NULL));
            ck_ok(llama2_session_sample(b, NULL, &u, NULL));
            ck_assert_int_eq(t, u);
        } else {
            ck_fails(llama2_session_logits(b, y, VOCAB, NULL), LLAMA2_E_STATE);
            t = 3;
        }
        ck_ok(llama2_session_feed(a, &t, 1));
        ck_ok(llama2_session_feed(b, &t, 1));
    }
    /* The ids are there too: a text that goes on from them is not read again. */
    int32_t tokens[CONTEXT];
    int64_t n = llama2_session_position(b), reused;
    memcpy(tokens, a->tokens, (size_t)n * sizeof *tokens);
    tokens[n] = 5;
    ck_ok(llama2_session_sync(b, tokens, n + 1, &reused));
    ck_assert_int_eq(reused, n);
}

static void check_round_trip(int32_t dtype)
{
    static const int64_t lengths[] = {0, 1, 63, 64, 65, 130, 511, 512, 513, 700};
    char path[96];
    snprintf(path, sizeof path, "%s/state", folder);
    llama2_model *m = model_of(config_of(CONTEXT), dtype), *same = model_of(config_of(CONTEXT - 20), dtype);
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        llama2_session *s = session_of(m, lengths[i]), *from_file, *from_memory, *rewound;
        size_t n, m_bytes;
        unsigned char *bytes = bytes_of(s, &n), *again;
        ck_ok(llama2_session_save(s, path));
        ck_ok(llama2_session_load(same, path, &from_file)); /* another context length: no other model */
        ck_ok(llama2_session_load_memory(m, bytes, n, &from_memory));
        again = bytes_of(from_file, &m_bytes);
        ck_assert_uint_eq(m_bytes, n);
        ck_assert_mem_eq(again, bytes, n);
        free(again);
        free(bytes);
        check_same(s, from_file, lengths[i] > 0);
        llama2_session_free(s);
        s = session_of(m, lengths[i]);
        check_same(s, from_memory, lengths[i] > 0);
        /* Rewound, so without logits; blocks beyond the end are not read. */
        ck_ok(llama2_session_rewind(s, lengths[i] / 2));
        bytes = bytes_of(s, &n);
        ck_ok(llama2_session_load_memory(m, bytes, n, &rewound));
        check_same(s, rewound, 0);
        free(bytes);
        llama2_session_free(rewound);
        llama2_session_free(from_memory);
        llama2_session_free(from_file);
        llama2_session_free(s);
    }
    llama2_model_free(same);
    llama2_model_free(m);
}

START_TEST(it_goes_on_with_the_same_bits)
{
    check_round_trip(LLAMA2_F32);
    check_round_trip(LLAMA2_F64);
}
END_TEST

static void refuse(llama2_model *m, const unsigned char *bytes, size_t n, llama2_status code, const char *words)
{
    llama2_session *s = (llama2_session *)&n;
    ck_fails(llama2_session_load_memory(m, bytes, n, &s), code);
    ck_assert_ptr_null(s);
    ck_assert_msg(strstr(llama2_last_error(), words) != NULL, "%s", llama2_last_error());
}

START_TEST(another_model_is_refused)
{
    llama2_config c = config_of(CONTEXT);
    llama2_model *m = model_of(c, LLAMA2_F32), *other;
    llama2_session *s = session_of(m, 100);
    size_t n;
    unsigned char *bytes = bytes_of(s, &n);
#define OTHER(change, code, words)                                                                                     \
    do {                                                                                                               \
        c = config_of(CONTEXT);                                                                                        \
        change;                                                                                                        \
        other = model_of(c, LLAMA2_F32);                                                                               \
        refuse(other, bytes, n, code, words);                                                                          \
        llama2_model_free(other);                                                                                      \
    } while (0)
    OTHER(c.n_layers = 3, LLAMA2_E_MISMATCH,
          "2 layers of 2 kv heads of 10 and 37 pieces; this one has 3, 2, 10 and 37");
    OTHER(c.n_kv_heads = 4, LLAMA2_E_MISMATCH, "this one has 2, 4");
    OTHER(c.head_dim = 12, LLAMA2_E_MISMATCH, "this one has 2, 2, 12");
    OTHER(c.vocab_size = 38, LLAMA2_E_MISMATCH, "and 38");
    OTHER(c.rope_theta = 5e5, LLAMA2_E_MISMATCH, "other weights, settings");
    OTHER(c.norm_eps = 1e-6, LLAMA2_E_MISMATCH, "other weights, settings");
    OTHER(c.init_std = 0.3, LLAMA2_E_MISMATCH, "other weights, settings");
    OTHER(c.max_seq_len = 99, LLAMA2_E_CONTEXT, "100 tokens, the model's context 99");
    c = config_of(CONTEXT);
    other = model_of(c, LLAMA2_F64);
    refuse(other, bytes, n, LLAMA2_E_MISMATCH, "data type");
    llama2_model_free(other);
    /* Every tensor counts. */
    for (int32_t i = 0; i < llama2_model_tensors(m); i++) {
        llama2_tensor_info info = {.struct_size = sizeof info};
        float values[64 * 64], last;
        ck_ok(llama2_model_tensor_info(m, i, &info));
        int64_t size = info.rows * info.columns;
        ck_ok(llama2_model_get_tensor(m, info.name, values, 64 * 64, NULL));
        last = values[size - 1];
        values[size - 1] += 1;
        ck_ok(llama2_model_set_tensor(m, info.name, values, size));
        refuse(m, bytes, n, LLAMA2_E_MISMATCH, "other weights");
        values[size - 1] = last;
        ck_ok(llama2_model_set_tensor(m, info.name, values, size));
    }
    llama2_session_free(s);
    ck_ok(llama2_session_load_memory(m, bytes, n, &s));
    llama2_session_free(s);
    free(bytes);
    llama2_model_free(m);
}
END_TEST

/* Weights as stored give the bits of converted ones: a state goes from one to the other. */
START_TEST(stored_and_converted_weights_are_one_model)
{
    static const char file[] = LLAMA2_TEST_SOURCE "/reference/gguf/gqa_untied.gguf";
    static const int32_t tokens[] = {3, 1, 4, 1, 5};
    llama2_model *models[2];
    llama2_model_options o;
    llama2_model_options_init(&o, sizeof o);
    ck_ok(llama2_model_load(ctx, file, &o, &models[0]));
    o.weights = LLAMA2_WEIGHTS_AS_STORED;
    ck_ok(llama2_model_load(ctx, file, &o, &models[1]));
    for (int i = 0; i < 2; i++) {
        llama2_session *s, *other;
        size_t n;
        ck_ok(llama2_session_create(models[i], &s));
        ck_ok(llama2_session_feed(s, tokens, 5));
        unsigned char *bytes = bytes_of(s, &n);
        ck_ok(llama2_session_load_memory(models[1 - i], bytes, n, &other));
        free(bytes);
        for (int k = 0; k < 20; k++) {
            int32_t t, u;
            float p, q;
            ck_ok(llama2_session_sample(s, NULL, &t, &p));
            ck_ok(llama2_session_sample(other, NULL, &u, &q));
            ck_assert(t == u && p == q);
            ck_ok(llama2_session_feed(s, &t, 1));
            ck_ok(llama2_session_feed(other, &t, 1));
        }
        llama2_session_free(other);
        llama2_session_free(s);
    }
    llama2_model_free(models[0]);
    llama2_model_free(models[1]);
}
END_TEST

START_TEST(damaged_bytes_are_refused)
{
    llama2_model *m = model_of(config_of(CONTEXT), LLAMA2_F32);
    llama2_session *s = session_of(m, 3);
    size_t n;
    unsigned char *bytes = bytes_of(s, &n);
    llama2_session_free(s);
    for (size_t i = 0; i < n; i++) {
        bytes[i] ^= 0x10;
        ck_assert_msg(llama2_session_load_memory(m, bytes, n, &s) < 0, "byte %zu", i);
        ck_assert_ptr_null(s);
        bytes[i] ^= 0x10;
        ck_assert_msg(llama2_session_load_memory(m, bytes, i, &s) < 0, "%zu bytes", i);
    }
    free(bytes);
    llama2_model_free(m);
}
END_TEST

enum { PAYLOAD = 16, LAYERS = 20, LOGITS = 36, FINGERPRINT = 40, TOKENS = 48, IDS = 56, FOOTER = 24 };

/* Puts the checksums of a file with one chunk right. */
static void mend(unsigned char *bytes, size_t n)
{
    size_t directory = (size_t)l2_get_u64(bytes + n - FOOTER);
    l2_put_u32(bytes + directory + 24, l2_crc32c(0, bytes + PAYLOAD, directory - PAYLOAD));
    uint32_t crc = l2_crc32c(l2_crc32c(0, bytes, PAYLOAD), bytes + directory, n - directory - 12);
    l2_put_u32(bytes + n - 12, crc);
}

START_TEST(hostile_numbers_are_refused)
{
    llama2_model *m = model_of(config_of(CONTEXT), LLAMA2_F32);
    llama2_session *s = session_of(m, 3), *made;
    size_t n;
    unsigned char *bytes = bytes_of(s, &n), *bad = malloc(n);
    mend(bytes, n);
    ck_ok(llama2_session_load_memory(m, bytes, n, &made));
    llama2_session_free(made);
#define HOSTILE(put, at, value, code, words)                                                                           \
    do {                                                                                                               \
        memcpy(bad, bytes, n);                                                                                         \
        put(bad + (at), value);                                                                                        \
        mend(bad, n);                                                                                                  \
        size_t before = memory.bytes;                                                                                  \
        memory.peak = before;                                                                                          \
        refuse(m, bad, n, code, words);                                                                                \
        ck_assert_uint_lt(memory.peak - before, 1 << 20);                                                              \
    } while (0)
    HOSTILE(l2_put_u64, TOKENS, 4, LLAMA2_E_FORMAT, "4 tokens");
    HOSTILE(l2_put_u64, TOKENS, 2, LLAMA2_E_FORMAT, "2 tokens");
    HOSTILE(l2_put_u64, TOKENS, UINT64_MAX, LLAMA2_E_FORMAT, "tokens");
    HOSTILE(l2_put_u64, TOKENS, UINT64_C(1) << 62, LLAMA2_E_FORMAT, "tokens");
    HOSTILE(l2_put_u32, LOGITS, 0, LLAMA2_E_FORMAT, "tokens");
    HOSTILE(l2_put_u32, LOGITS, 2, LLAMA2_E_FORMAT, "tokens");
    HOSTILE(l2_put_u32, LAYERS, UINT32_MAX, LLAMA2_E_MISMATCH, "layers");
    HOSTILE(l2_put_u32, IDS + 4, VOCAB, LLAMA2_E_FORMAT, "token 1 is 37");
    HOSTILE(l2_put_u32, IDS, UINT32_MAX, LLAMA2_E_FORMAT, "token 0 is -1");
    HOSTILE(l2_put_u64, FINGERPRINT, 1, LLAMA2_E_MISMATCH, "0000000000000001");
    size_t directory = (size_t)l2_get_u64(bytes + n - FOOTER);
    HOSTILE(l2_put_u32, directory + 16, 2, LLAMA2_E_UNSUPPORTED, "version");
    ck_fails(llama2_session_load_memory(NULL, bytes, n, &made), LLAMA2_E_INVALID);
    ck_fails(llama2_session_load_memory(m, NULL, n, &made), LLAMA2_E_INVALID);
    ck_fails(llama2_session_load_memory(m, bytes, n, NULL), LLAMA2_E_INVALID);
    ck_fails(llama2_session_load(m, NULL, &made), LLAMA2_E_INVALID);
    ck_fails(llama2_session_load(m, "none.state", &made), LLAMA2_E_NOT_FOUND);
    ck_fails(llama2_session_save(s, NULL), LLAMA2_E_INVALID);
    ck_fails(llama2_session_save(NULL, "x"), LLAMA2_E_INVALID);
    ck_fails(llama2_session_save_memory(s, NULL, 1, &n), LLAMA2_E_INVALID);
    llama2_session_free(s);
    free(bad);
    free(bytes);
    llama2_model_free(m);
}
END_TEST

static char path[96];
static llama2_model *shared;
static llama2_session *saved;
static unsigned char *state;
static size_t state_size;

static llama2_status save_file(void)
{
    return llama2_session_save(saved, path);
}

static llama2_status load_file(void)
{
    llama2_session *s;
    llama2_status status = llama2_session_load(shared, path, &s);
    ck_assert(status == LLAMA2_OK || !s);
    llama2_session_free(s);
    return status;
}

static llama2_status load_bytes(void)
{
    llama2_session *s;
    llama2_status status = llama2_session_load_memory(shared, state, state_size, &s);
    llama2_session_free(s);
    return status;
}

/* Each allocation or each operation on files fails, once and for ever: an error, nothing is left, what was there
 * before can be read. */
static void every_failure(llama2_status (*call)(void), int of_files, int for_ever)
{
    long failed = 0;
    ck_ok(call()); /* the context's scratch is there */
    for (long n = 0, done = 0; !done; n++) {
        long live = memory.live, *calls = of_files ? &disk.calls : &memory.calls;
        *calls = 0;
        memory.for_ever = disk.for_ever = for_ever;
        *(of_files ? &disk.fail_at : &memory.fail_at) = n;
        llama2_status status = call();
        done = *calls <= n;
        memory.fail_at = disk.fail_at = -1;
        if (done) ck_ok(status);
        if (status < 0 && !of_files) ck_assert_int_eq(status, LLAMA2_E_NOMEM);
        failed += status < 0;
        ck_assert_int_eq(memory.live, live);
        ck_ok(load_file());
    }
    ck_assert_int_gt(failed, 1);
}

START_TEST(failing_memory_and_files)
{
    snprintf(path, sizeof path, "%s/state", folder);
    shared = model_of(config_of(CONTEXT), LLAMA2_F64);
    saved = session_of(shared, 600);
    state = bytes_of(saved, &state_size);
    ck_ok(save_file());
    for (int for_ever = 0; for_ever < 2; for_ever++) {
        every_failure(save_file, 0, for_ever);
        every_failure(save_file, 1, for_ever);
        every_failure(load_file, 0, for_ever);
        every_failure(load_file, 1, for_ever);
        every_failure(load_bytes, 0, for_ever);
    }
    free(state);
    llama2_session_free(saved);
    llama2_model_free(shared);
}
END_TEST

Suite *test_suite(void)
{
    Suite *s = suite_create("infer/session_io");
    TCase *c = tcase_create("state");
    tcase_add_checked_fixture(c, setup, teardown);
    tcase_set_timeout(c, 120);
    tcase_add_test(c, it_goes_on_with_the_same_bits);
    tcase_add_test(c, another_model_is_refused);
    tcase_add_test(c, stored_and_converted_weights_are_one_model);
    tcase_add_test(c, damaged_bytes_are_refused);
    tcase_add_test(c, hostile_numbers_are_refused);
    tcase_add_test(c, failing_memory_and_files);
    suite_add_tcase(s, c);
    return s;
}
