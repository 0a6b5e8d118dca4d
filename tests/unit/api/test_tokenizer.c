/* llama2/tokenizer.h as a host sees it: arguments, buffers, references, threads, allocations that fail. */
#include "../tokenizer/tokenizer_test.h"
#include <pthread.h>

START_TEST(pieces_and_ids)
{
    llama2_context *ctx = make_context();
    llama2_tokenizer *tok = make_tiny(ctx);
    const char *text;
    size_t length;
    float score;
    int32_t type, id;
    ck_assert_int_eq(llama2_tokenizer_vocab_size(tok), TINY_PIECES);
    ck_assert_int_eq(llama2_tokenizer_bos(tok), 1);
    ck_assert_int_eq(llama2_tokenizer_eos(tok), 2);
    ck_assert_int_eq(llama2_tokenizer_unk(tok), 0);
    ck_assert_int_eq(llama2_tokenizer_pad(tok), -1);
    for (int32_t i = 0; i < TINY_PIECES; ++i) {
        ck_ok(llama2_tokenizer_piece(tok, i, &text, &length, &score, &type));
        ck_assert_uint_eq(strlen(text), length);
        ck_ok(llama2_tokenizer_find(tok, text, length, &id));
        ck_assert_int_eq(id, i);
    }
    ck_ok(llama2_tokenizer_piece(tok, 3 + 0x41, &text, NULL, NULL, &type));
    ck_assert_str_eq(text, "<0x41>");
    ck_assert_int_eq(type, LLAMA2_PIECE_BYTE);
    ck_ok(llama2_tokenizer_piece(tok, TINY_FIRST + 19, NULL, NULL, &score, NULL));
    ck_assert(score == -19);
    ck_fails(llama2_tokenizer_piece(tok, TINY_PIECES, &text, NULL, NULL, NULL), LLAMA2_E_INVALID);
    ck_fails(llama2_tokenizer_piece(tok, -1, &text, NULL, NULL, NULL), LLAMA2_E_INVALID);
    ck_fails(llama2_tokenizer_find(tok, "nothing", 7, &id), LLAMA2_E_NOT_FOUND);
    ck_fails(llama2_tokenizer_find(tok, "", 0, &id), LLAMA2_E_NOT_FOUND);
    llama2_tokenizer_free(tok);
    llama2_context_free(ctx);
}
END_TEST

START_TEST(buffers)
{
    llama2_context *ctx = make_context();
    llama2_tokenizer *tok = make_tiny(ctx);
    static const char text[] = "the the abc xyz \xC3\xA9";
    const size_t length = sizeof text - 1;
    const uint32_t both = LLAMA2_ENCODE_BOS | LLAMA2_ENCODE_EOS;
    int32_t ids[64], part[64];
    int64_t n, needed;
    ck_ok(llama2_tokenizer_encode(tok, text, length, both, NULL, 0, &n));
    ck_ok(llama2_tokenizer_encode(tok, text, length, both, ids, n, &needed));
    ck_assert_int_eq(n, needed);
    ck_assert(ids[0] == 1 && ids[n - 1] == 2);
    for (int64_t room = 0; room < n; ++room) {
        part[room] = -7;
        needed = 0;
        ck_fails(llama2_tokenizer_encode(tok, text, length, both, part, room, &needed), LLAMA2_E_BUFFER);
        ck_assert_int_eq(needed, n);
        ck_assert_int_eq(part[room], -7);
    }
    char back[64], cut[64];
    size_t size, wanted;
    ck_ok(llama2_tokenizer_decode(tok, ids, n, 0, back, sizeof back, &size));
    ck_assert(size == length && memcmp(back, text, length) == 0);
    for (size_t room = 0; room < size; ++room) {
        cut[room] = '#';
        ck_fails(llama2_tokenizer_decode(tok, ids, n, 0, cut, room, &wanted), LLAMA2_E_BUFFER);
        ck_assert_uint_eq(wanted, size);
        ck_assert_int_eq(cut[room], '#');
    }
    ck_ok(llama2_tokenizer_encode(tok, NULL, 0, both, ids, 2, NULL));
    ck_ok(llama2_tokenizer_decode(tok, NULL, 0, 0, NULL, 0, &size));
    ck_assert_uint_eq(size, 0);
    llama2_tokenizer_free(tok);
    llama2_context_free(ctx);
}
END_TEST

START_TEST(wrong_arguments)
{
    llama2_context *ctx = make_context();
    llama2_tokenizer *tok = make_tiny(ctx), *none;
    llama2_decoder *decoder;
    int32_t ids[8] = {0, TINY_PIECES};
    char buffer[8];
    size_t size;
    int64_t n;
    ck_fails(llama2_tokenizer_load(NULL, "x", NULL, &none), LLAMA2_E_INVALID);
    ck_fails(llama2_tokenizer_load(ctx, NULL, NULL, &none), LLAMA2_E_INVALID);
    ck_fails(llama2_tokenizer_load(ctx, "x", NULL, NULL), LLAMA2_E_INVALID);
    ck_fails(llama2_tokenizer_load_memory(ctx, NULL, 3, NULL, &none), LLAMA2_E_INVALID);
    ck_fails(llama2_tokenizer_load_memory(ctx, NULL, 0, NULL, &none), LLAMA2_E_TRUNCATED);
    ck_fails(llama2_tokenizer_create(ctx, NULL, &none), LLAMA2_E_INVALID);
    ck_fails(llama2_tokenizer_encode(NULL, "a", 1, 0, ids, 8, &n), LLAMA2_E_INVALID);
    ck_fails(llama2_tokenizer_encode(tok, NULL, 1, 0, ids, 8, &n), LLAMA2_E_INVALID);
    ck_fails(llama2_tokenizer_encode(tok, "a", 1, 4, ids, 8, &n), LLAMA2_E_INVALID);
    ck_fails(llama2_tokenizer_encode(tok, "a", 1, 0, NULL, 8, &n), LLAMA2_E_INVALID);
    ck_fails(llama2_tokenizer_encode(tok, "a", 1, 0, ids, -1, &n), LLAMA2_E_INVALID);
    ck_fails(llama2_tokenizer_decode(tok, ids, 2, 0, buffer, 8, &size), LLAMA2_E_INVALID);
    ck_assert_ptr_nonnull(strstr(llama2_last_error(), "ids[1]"));
    ck_fails(llama2_tokenizer_decode(tok, ids, -1, 0, buffer, 8, &size), LLAMA2_E_INVALID);
    ck_fails(llama2_tokenizer_decode(tok, ids, 1, 8, buffer, 8, &size), LLAMA2_E_INVALID);
    ck_fails(llama2_tokenizer_decode(tok, ids, 1, 0, NULL, 8, &size), LLAMA2_E_INVALID);
    ck_fails(llama2_decoder_create(NULL, 0, &decoder), LLAMA2_E_INVALID);
    ck_fails(llama2_decoder_create(tok, 8, &decoder), LLAMA2_E_INVALID);
    ck_fails(llama2_tokenizer_save(tok, NULL), LLAMA2_E_INVALID);
    llama2_tokenizer_free(NULL);
    llama2_decoder_free(NULL);
    ck_assert_ptr_null(llama2_tokenizer_retain(NULL));
    llama2_context_cancel(ctx);
    ck_fails(llama2_tokenizer_encode(tok, "a", 1, 0, ids, 8, &n), LLAMA2_E_CANCELLED);
    llama2_context_resume(ctx);
    ck_ok(llama2_tokenizer_encode(tok, "a", 1, 0, ids, 8, &n));
    llama2_tokenizer_free(tok);
    llama2_context_free(ctx);
}
END_TEST

/* Changes one thing of the tiny vocabulary. */
static void refuses(llama2_context *ctx, tiny *t, llama2_status code, const char *says)
{
    llama2_tokenizer *tok = (llama2_tokenizer *)t;
    ck_fails(llama2_tokenizer_create(ctx, &t->pieces, &tok), code);
    ck_assert_ptr_null(tok);
    ck_assert_msg(strstr(llama2_last_error(), says) != NULL, "%s: %s", says, llama2_last_error());
    fill_tiny(t);
}

START_TEST(pieces_that_do_not_fit)
{
    llama2_context *ctx = make_context();
    static char longest[8002];
    tiny t;
    fill_tiny(&t);
    t.pieces.n_pieces = 0;
    refuses(ctx, &t, LLAMA2_E_INVALID, "n_pieces is 0");
    t.pieces.texts = NULL;
    refuses(ctx, &t, LLAMA2_E_INVALID, "texts is NULL");
    t.pieces.types = NULL;
    refuses(ctx, &t, LLAMA2_E_INVALID, "types is NULL");
    t.texts[7] = NULL;
    refuses(ctx, &t, LLAMA2_E_INVALID, "piece 7 is NULL");
    t.texts[260] = "";
    refuses(ctx, &t, LLAMA2_E_INVALID, "piece 260 is empty");
    t.texts[261] = "a";
    refuses(ctx, &t, LLAMA2_E_INVALID, "piece 261 has the text of piece 260");
    t.types[261] = 7;
    refuses(ctx, &t, LLAMA2_E_INVALID, "type 7");
    t.types[0] = LLAMA2_PIECE_NORMAL;
    refuses(ctx, &t, LLAMA2_E_INVALID, "no piece is of type unknown");
    t.types[3 + 0x20] = LLAMA2_PIECE_NORMAL;
    refuses(ctx, &t, LLAMA2_E_INVALID, "<0x20> is missing");
    t.texts[262] = "\xFF";
    refuses(ctx, &t, LLAMA2_E_INVALID, "not UTF-8");
    memset(longest, 'x', 8001);
    t.texts[262] = longest;
    refuses(ctx, &t, LLAMA2_E_LIMIT, "8001 bytes");
    llama2_tokenizer *tok;
    t.pieces.bos_piece = "a"; /* not a control piece */
    ck_ok(llama2_tokenizer_create(ctx, &t.pieces, &tok));
    ck_assert_int_eq(llama2_tokenizer_bos(tok), -1);
    int64_t n;
    ck_fails(llama2_tokenizer_encode(tok, "a", 1, LLAMA2_ENCODE_BOS, NULL, 0, &n), LLAMA2_E_STATE);
    llama2_tokenizer_free(tok);
    llama2_context_free(ctx);
}
END_TEST

/* --- references and threads ------------------------------------------------------------------ */

START_TEST(any_order_of_frees)
{
    counting c = {0};
    llama2_context *ctx;
    ck_ok(counting_context(&c, &ctx));
    llama2_tokenizer *tok = make_tiny(ctx), *second = llama2_tokenizer_retain(tok);
    llama2_decoder *decoder;
    ck_ok(llama2_decoder_create(tok, 0, &decoder));
    llama2_context_free(ctx);
    llama2_tokenizer_free(tok);
    ck_assert_int_eq(llama2_tokenizer_vocab_size(second), TINY_PIECES);
    llama2_tokenizer_free(second);
    ck_assert_int_gt(c.live, 0);
    llama2_decoder_free(decoder);
    ck_assert_int_eq(c.live, 0);
}
END_TEST

typedef struct job {
    llama2_tokenizer *tok;
    const bytes *text;
    const int32_t *ids;
    int64_t n;
    int good;
} job;

static void *work(void *arg)
{
    job *j = arg;
    size_t room = 3 * j->text->size + 5;
    int32_t *ids = malloc(room * sizeof *ids);
    j->good = 1;
    for (int i = 0; i < 20; ++i) {
        int64_t n = 0;
        llama2_tokenizer *held = llama2_tokenizer_retain(j->tok);
        if (llama2_tokenizer_encode(held, j->text->data, j->text->size, 0, ids, (int64_t)room, &n) < 0 || n != j->n ||
            memcmp(ids, j->ids, (size_t)n * sizeof *ids) != 0)
            j->good = 0;
        llama2_tokenizer_free(held);
    }
    free(ids);
    return NULL;
}

START_TEST(many_threads)
{
    enum { THREADS = 4 };
    llama2_context *ctx = make_context();
    llama2_tokenizer *tok = make_tiny(ctx);
    bytes text = read_reference("lines.txt");
    int64_t n;
    int32_t *ids = encode(tok, text.data, text.size, &n);
    pthread_t threads[THREADS];
    job jobs[THREADS];
    for (int i = 0; i < THREADS; ++i) {
        jobs[i] = (job){tok, &text, ids, n, 0};
        ck_assert_int_eq(pthread_create(&threads[i], NULL, work, &jobs[i]), 0);
    }
    for (int i = 0; i < THREADS; ++i) {
        pthread_join(threads[i], NULL);
        ck_assert(jobs[i].good);
    }
    free(ids);
    free(text.data);
    llama2_tokenizer_free(tok);
    llama2_context_free(ctx);
}
END_TEST

/* --- every allocation fails ------------------------------------------------------------------ */

/* All that a host can do with a tokenizer; stops at the first failure, which must be NOMEM, and frees what it has. */
static llama2_status everything(counting *c, const bytes *model, const char *text, size_t length)
{
    llama2_context *ctx = NULL;
    llama2_tokenizer *tok = NULL, *created = NULL;
    llama2_decoder *decoder = NULL;
    llama2_chat chat;
    const int32_t role = LLAMA2_ROLE_USER;
    const char *const hello = "hello";
    tiny t;
    int64_t n;
    llama2_chat_init(&chat, sizeof chat);
    chat.n_messages = 1;
    chat.roles = &role;
    chat.texts = &hello;
    fill_tiny(&t);
    llama2_status status = counting_context(c, &ctx);
    if (status == LLAMA2_OK) status = llama2_tokenizer_load_memory(ctx, model->data, model->size, NULL, &tok);
    if (status == LLAMA2_OK) status = llama2_tokenizer_encode(tok, text, length, 0, NULL, 0, &n);
    if (status == LLAMA2_OK) status = llama2_tokenizer_create(ctx, &t.pieces, &created);
    if (status == LLAMA2_OK) status = llama2_tokenizer_encode(created, text, length, 0, NULL, 0, &n);
    if (status == LLAMA2_OK) status = llama2_decoder_create(created, 0, &decoder);
    if (status == LLAMA2_OK) status = llama2_chat_encode(created, &chat, 0, NULL, NULL, 0, &n);
    llama2_decoder_free(decoder);
    llama2_tokenizer_free(created);
    llama2_tokenizer_free(tok);
    llama2_context_free(ctx);
    return status;
}

START_TEST(allocations_that_fail)
{
    bytes model = read_reference("spans.model"), text = read_reference("lines.txt");
    counting c = {0};
    ck_assert_int_eq(everything(&c, &model, text.data, 5000), LLAMA2_OK);
    ck_assert_int_eq(c.live, 0);
    long calls = c.calls;
    ck_assert_int_gt(calls, 30);
    for (int once = 0; once < 2; ++once) {
        for (long at = 1; at <= calls; ++at) {
            c = (counting){.fail_at = at, .fail_once = once};
            llama2_status status = everything(&c, &model, text.data, 5000);
            ck_assert_msg(status == LLAMA2_E_NOMEM, "allocation %ld of %ld failed: %s", at, calls,
                          llama2_status_name(status));
            ck_assert_msg(c.live == 0, "allocation %ld of %ld failed: %ld blocks leak", at, calls, c.live);
        }
    }
    free(model.data);
    free(text.data);
}
END_TEST

Suite *test_suite(void)
{
    Suite *suite = suite_create("api/tokenizer");
    ADD_CASE(suite, "calls", pieces_and_ids, buffers, wrong_arguments, pieces_that_do_not_fit);
    ADD_CASE(suite, "handles", any_order_of_frees, many_threads);
    ADD_CASE(suite, "memory", allocations_that_fail);
    return suite;
}
