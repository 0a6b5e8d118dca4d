/* Ids into text, at once and token by token. */
#include "base/utf8.h"
#include "tokenizer_test.h"

static bytes decode_pushed(llama2_decoder *decoder, const int32_t *ids, int64_t n)
{
    bytes b = {malloc(64 * (size_t)n + 64), 0};
    const char *text;
    size_t length;
    for (int64_t i = 0; i <= n; ++i) {
        if (i < n)
            ck_ok(llama2_decoder_push(decoder, ids[i], &text, &length));
        else
            ck_ok(llama2_decoder_finish(decoder, &text, &length));
        ck_assert_msg(l2_utf8_valid_prefix(text, length) == length, "half a character after id %ld", (long)i);
        ck_assert_int_eq(text[length], 0);
        memcpy(b.data + b.size, text, length);
        b.size += length;
    }
    return b;
}

static void check_equal(bytes a, bytes b)
{
    ck_assert_uint_eq(a.size, b.size);
    ck_assert_int_eq(memcmp(a.data, b.data, a.size), 0);
    free(a.data);
    free(b.data);
}

/* Random ids, mostly bytes, so that characters begin, break off and are invalid in all ways. */
START_TEST(pushes_equal_decode)
{
    llama2_context *ctx = make_context();
    llama2_tokenizer *toks[2] = {make_tiny(ctx), load_llama2(ctx)};
    uint64_t random = 3;
    for (int k = 0; k < 2; ++k) {
        for (uint32_t flags = 0; toks[k] && flags < 4; ++flags) {
            llama2_decoder *decoder;
            ck_ok(llama2_decoder_create(toks[k], flags, &decoder));
            for (int round = 0; round < 3000; ++round) {
                int32_t ids[24];
                int64_t n = (int64_t)(next_random(&random) % 25);
                for (int64_t i = 0; i < n; ++i) {
                    uint64_t r = next_random(&random);
                    uint32_t vocab = (uint32_t)llama2_tokenizer_vocab_size(toks[k]);
                    ids[i] = r % 8 ? 3 + (int32_t)((r % 3 ? 0x80 + (r >> 8) % 128 : (r >> 8) % 256))
                                   : (int32_t)((r >> 8) % vocab);
                }
                check_equal(decode_pushed(decoder, ids, n), decode(toks[k], ids, n, flags));
            }
            llama2_decoder_free(decoder);
        }
    }
    llama2_tokenizer_free(toks[0]);
    llama2_tokenizer_free(toks[1]);
    llama2_context_free(ctx);
}
END_TEST

/* Every text of the reference, pushed. */
START_TEST(lines_pushed)
{
    llama2_context *ctx = make_context();
    llama2_tokenizer *tok = load_llama2(ctx);
    if (tok) {
        bytes text = read_reference("lines.txt");
        llama2_decoder *decoder;
        ck_ok(llama2_decoder_create(tok, 0, &decoder));
        for (size_t at = 0, length; at < text.size; at += length + 1) {
            length = strcspn(text.data + at, "\n");
            int64_t n;
            int32_t *ids = encode(tok, text.data + at, length, &n);
            check_equal(decode_pushed(decoder, ids, n), decode(tok, ids, n, 0));
            free(ids);
        }
        llama2_decoder_free(decoder);
        free(text.data);
    }
    llama2_tokenizer_free(tok);
    llama2_context_free(ctx);
}
END_TEST

/* What is held back comes as soon as it is decided, not later. */
START_TEST(held_back)
{
    llama2_context *ctx = make_context();
    llama2_tokenizer *tok = make_tiny(ctx);
    llama2_decoder *decoder;
    static const struct {
        int byte;
        const char *text;
    } steps[] = {{0xF0, ""},
                 {0x9F, ""},
                 {0x98, ""},
                 {0x80, "\xF0\x9F\x98\x80"},
                 {'a', "a"},
                 {0x80, "\xEF\xBF\xBD"},
                 {0xE2, ""},
                 {'b', "\xEF\xBF\xBD"
                       "b"},
                 {0xED, ""},
                 {0xA0, "\xEF\xBF\xBD\xEF\xBF\xBD"},
                 {0xC3, ""},
                 {0xC3, "\xEF\xBF\xBD"},
                 {0xA9, "\xC3\xA9"},
                 {0xF4, ""},
                 {0x90, "\xEF\xBF\xBD\xEF\xBF\xBD"},
                 {0xE2, ""},
                 {0x82, ""}};
    const char *text;
    size_t length;
    ck_ok(llama2_decoder_create(tok, 0, &decoder));
    for (size_t i = 0; i < sizeof steps / sizeof *steps; ++i) {
        ck_ok(llama2_decoder_push(decoder, 3 + steps[i].byte, &text, &length));
        ck_assert_str_eq(text, steps[i].text);
        ck_assert_uint_eq(length, strlen(steps[i].text));
    }
    ck_fails(llama2_decoder_push(decoder, TINY_PIECES, &text, &length), LLAMA2_E_INVALID);
    ck_fails(llama2_decoder_push(decoder, -1, &text, &length), LLAMA2_E_INVALID);
    ck_ok(llama2_decoder_finish(decoder, &text, &length));
    ck_assert_str_eq(text, "\xEF\xBF\xBD\xEF\xBF\xBD");
    ck_ok(llama2_decoder_push(decoder, TINY_FIRST + 22, &text, &length)); /* another text: its dummy space goes again */
    ck_assert_str_eq(text, "the");
    llama2_tokenizer_free(tok); /* the decoder keeps it */
    ck_ok(llama2_decoder_push(decoder, TINY_FIRST + 22, &text, &length));
    ck_assert_str_eq(text, " the");
    llama2_decoder_free(decoder);
    llama2_context_free(ctx);
}
END_TEST

START_TEST(flags)
{
    llama2_context *ctx = make_context();
    llama2_tokenizer *tok = make_tiny(ctx);
    const int32_t ids[] = {1, TINY_FIRST + 22, TINY_FIRST + 22, 0, 2};
    static const char *const expected[] = {"the the \xE2\x81\x87 ", "<s>the the \xE2\x81\x87 </s>",
                                           " the the \xE2\x81\x87 ", "<s> the the \xE2\x81\x87 </s>"};
    for (uint32_t f = 0; f < 4; ++f) {
        bytes b = decode(tok, ids, 5, f);
        ck_assert_str_eq(b.data, expected[f]);
        free(b.data);
    }
    llama2_tokenizer_free(tok);
    llama2_context_free(ctx);
}
END_TEST

Suite *test_suite(void)
{
    Suite *suite = suite_create("tokenizer/decode");
    ADD_CASE(suite, "streaming", pushes_equal_decode, lines_pushed, held_back);
    ADD_CASE(suite, "flags", flags);
    return suite;
}
