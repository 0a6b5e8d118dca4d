/* What a file holds is told right, also of files that can't be loaded. */
#include "format/gguf_file.h"
#include <llama2/llama2.h>

static int32_t pieces;

static void make_files(void)
{
    llama2_config c;
    llama2_model *m;
    llama2_tokenizer *tok;
    llama2_convert_options o;
    ck_ok(llama2_tokenizer_load(ctx, LLAMA2_TEST_SOURCE "/reference/tokenizer/bpe-smollm", NULL, &tok));
    llama2_config_init(&c, sizeof c);
    c.vocab_size = pieces = llama2_tokenizer_vocab_size(tok);
    c.dim = c.ffn_dim = 32;
    c.n_layers = c.n_heads = c.n_kv_heads = 1;
    c.head_dim = 32;
    c.max_seq_len = 8;
    ck_ok(llama2_model_create(ctx, &c, NULL, &m));
    llama2_convert_options_init(&o, sizeof o);
    o.type = LLAMA2_Q8_0;
    ck_ok(llama2_model_save_gguf(m, tok, at("a.gguf"), &o));
    ck_ok(llama2_model_save(m, at("a"), LLAMA2_BF16));
    llama2_tokenizer_free(tok);
    llama2_model_free(m);
}

static llama2_inspection_summary summary_of(const llama2_inspection *in)
{
    llama2_inspection_summary s = {.struct_size = sizeof s};
    ck_ok(llama2_inspection_summarise(in, &s));
    return s;
}

static const char *value_of(const llama2_inspection *in, const char *wanted)
{
    llama2_inspection_summary s = summary_of(in);
    for (int32_t i = 0; i < s.n_keys; i++) {
        const char *key, *value;
        ck_ok(llama2_inspection_get_key(in, i, &key, &value));
        if (strcmp(key, wanted) == 0) return value;
    }
    ck_abort_msg("no key %s", wanted);
    return NULL;
}

static llama2_inspection_tensor tensor_of(const llama2_inspection *in, const char *name)
{
    llama2_inspection_summary s = summary_of(in);
    llama2_inspection_tensor t = {.struct_size = sizeof t};
    for (int32_t i = 0; i < s.n_tensors; i++) {
        ck_ok(llama2_inspection_get_tensor(in, i, &t));
        if (strcmp(t.name, name) == 0) return t;
    }
    ck_abort_msg("no tensor %s", name);
    return t;
}

START_TEST(gguf)
{
    llama2_inspection *in;
    llama2_config c = {.struct_size = sizeof c};
    make_files();
    ck_ok(llama2_inspect(ctx, at("a.gguf"), &in));
    llama2_inspection_summary s = summary_of(in);
    ck_assert_int_eq(s.format, LLAMA2_FORMAT_GGUF);
    ck_assert_str_eq(s.format_name, "GGUF version 3");
    ck_assert_ptr_null(s.problem);
    char expected[64];
    snprintf(expected, sizeof expected, "byte-level BPE (SmolLM2), %d pieces", (int)pieces);
    ck_assert_str_eq(s.tokenizer, expected);
    ck_assert_str_eq(s.chat, "ChatML");
    ck_assert_int_eq(s.n_tensors, 12);
    int64_t matrices = 2 * pieces * 32 + 7 * 32 * 32;
    ck_assert_int_eq(s.elements, matrices + 3 * 32);
    ck_assert_int_eq(s.tensor_bytes, matrices / 32 * 34 + 3 * 32 * 4);
    ck_assert_int_gt(s.file_bytes, s.tensor_bytes);
    ck_ok(llama2_inspection_config(in, &c));
    ck_assert_int_eq(c.dim, 32);
    ck_assert_str_eq(value_of(in, "llama.embedding_length"), "32");
    ck_assert_str_eq(value_of(in, "llama.attention.layer_norm_rms_epsilon"), "1e-05");
    ck_assert_str_eq(value_of(in, "general.architecture"), "llama");
    ck_assert_str_eq(value_of(in, "tokenizer.ggml.add_bos_token"), "false");
    snprintf(expected, sizeof expected, "[%d string]", (int)pieces);
    ck_assert_str_eq(value_of(in, "tokenizer.ggml.tokens"), expected);
    llama2_inspection_tensor t = tensor_of(in, "token_embd.weight");
    ck_assert_str_eq(t.type, "Q8_0");
    ck_assert(t.n_dims == 2 && t.shape[0] == pieces && t.shape[1] == 32 && t.elements == pieces * 32);
    ck_assert_int_eq(t.bytes, pieces * 34);
    ck_fails(llama2_inspection_get_tensor(in, s.n_tensors, &t), LLAMA2_E_INVALID);
    ck_fails(llama2_inspection_get_tensor(in, -1, &t), LLAMA2_E_INVALID);
    ck_fails(llama2_inspection_get_tensor(NULL, 0, &t), LLAMA2_E_INVALID);
    ck_fails(llama2_inspection_get_key(in, s.n_keys, NULL, NULL), LLAMA2_E_INVALID);
    ck_fails(llama2_inspection_summarise(NULL, &s), LLAMA2_E_INVALID);
    ck_fails(llama2_inspection_config(NULL, &c), LLAMA2_E_INVALID);
    ck_fails(llama2_inspection_get_tensor(in, 0, NULL), LLAMA2_E_INVALID);
    ck_fails(llama2_inspection_summarise(in, NULL), LLAMA2_E_INVALID);
    ck_fails(llama2_inspection_config(in, NULL), LLAMA2_E_INVALID);
    llama2_inspection_free(in);
    llama2_inspection_free(NULL);
}
END_TEST

START_TEST(folder_of_hugging_face)
{
    llama2_inspection *in;
    make_files();
    ck_ok(llama2_inspect(ctx, at("a"), &in));
    llama2_inspection_summary s = summary_of(in);
    ck_assert_int_eq(s.format, LLAMA2_FORMAT_HUGGINGFACE);
    ck_assert_ptr_null(s.problem);
    ck_assert_str_eq(s.tokenizer, "none");
    ck_assert_str_eq(s.chat, "none");
    ck_assert_str_eq(value_of(in, "hidden_size"), "32");
    ck_assert_str_eq(value_of(in, "architectures"), "[\"LlamaForCausalLM\"]");
    ck_assert_str_eq(tensor_of(in, "model.norm.weight").type, "BF16");
    llama2_inspection_free(in);
}
END_TEST

/* Of dimensions whose product is 0 the others may be anything. */
START_TEST(empty_tensor)
{
    static const char header[] = "{\"x\":{\"dtype\":\"F32\",\"shape\":[4611686018427387904,4,0],\"data_offsets\":[0,0]}}";
    unsigned char file[8 + sizeof header - 1];
    llama2_inspection *in;
    make_files();
    l2_put_u64(file, sizeof header - 1);
    memcpy(file + 8, header, sizeof header - 1);
    ck_ok(l2_write_file(ctx, at("a/model.safetensors"), file, sizeof file));
    ck_ok(llama2_inspect(ctx, at("a"), &in));
    llama2_inspection_tensor t = tensor_of(in, "x");
    ck_assert(t.n_dims == 3 && t.elements == 0 && t.bytes == 0);
    ck_assert_int_eq(summary_of(in).elements, 0);
    llama2_inspection_free(in);
}
END_TEST

/* Another architecture, a text that is no UTF-8, a type that is not read: shown, with the reason why it does not load.
 */
START_TEST(what_does_not_load_is_shown)
{
    llama2_inspection *in;
    llama2_config c = {.struct_size = sizeof c};
    gguf_file f = {0};
    put_header(&f, 1, 5);
    put_key_string(&f, "general.architecture", "gemma");
    put_key_string(&f, "odd",
                   "a\xff"
                   "b\xc3");
    put_key(&f, "big", L2_GGUF_U64), put_u64(&f, UINT64_MAX);
    put_key(&f, "empty", L2_GGUF_STRING), put_text(&f, "");
    put_key(&f, "whole", L2_GGUF_F64), put(&f, &(double){0.1}, 8);
    put_tensor(&f, "w", 2, (const uint64_t[]){256, 2}, 16, 0);
    put_padding(&f, 32);
    for (int i = 0; i < 2 * 66; i++) put_u8(&f, 0);
    spill(at("b.gguf"), f.bytes, f.size);
    free(f.bytes);
    ck_ok(llama2_inspect(ctx, at("b.gguf"), &in));
    llama2_inspection_summary s = summary_of(in);
    ck_assert_ptr_nonnull(strstr(s.problem, "gemma"));
    ck_assert_str_eq(s.tokenizer, "none");
    ck_assert_str_eq(value_of(in, "odd"), "a\xEF\xBF\xBD"
                                          "b\xEF\xBF\xBD");
    ck_assert_str_eq(value_of(in, "big"), "above 2^63");
    ck_assert_str_eq(value_of(in, "empty"), "");
    ck_assert_str_eq(value_of(in, "whole"), "0.1");
    ck_assert_str_eq(tensor_of(in, "w").type, "IQ2_XXS");
    ck_fails(llama2_inspection_config(in, &c), LLAMA2_E_UNSUPPORTED);
    ck_assert_ptr_nonnull(strstr(llama2_last_error(), "gemma"));
    llama2_inspection_free(in);
    spill_text(at("text"), "no model");
    ck_fails(llama2_inspect(ctx, at("text"), &in), LLAMA2_E_FORMAT);
    ck_assert_ptr_null(in);
    ck_fails(llama2_inspect(ctx, at("nowhere"), &in), LLAMA2_E_NOT_FOUND);
    ck_fails(llama2_inspect(NULL, at("text"), &in), LLAMA2_E_INVALID);
    ck_fails(llama2_inspect(ctx, NULL, &in), LLAMA2_E_INVALID);
    ck_fails(llama2_inspect(ctx, at("text"), NULL), LLAMA2_E_INVALID);
}
END_TEST

/* As long for a text of NULs as for another: a time that grows with its square would not end here. */
START_TEST(text_of_nuls)
{
    enum { N = 4 << 20 };
    llama2_inspection *in;
    gguf_file f = {0};
    char *nuls = calloc(N, 1);
    memcpy(nuls, "a\0\xC3\0\xFF", 5);
    put_header(&f, 0, 2);
    put_key_string(&f, "general.architecture", "gemma");
    put_key(&f, "nuls", L2_GGUF_STRING), put_u64(&f, N), put(&f, nuls, N);
    spill(at("b.gguf"), f.bytes, f.size);
    ck_ok(llama2_inspect(ctx, at("b.gguf"), &in));
    const char *value = value_of(in, "nuls");
    ck_assert_uint_eq(strlen(value), 1 + 3 * (N - 1));
    ck_assert_int_eq(value[0], 'a');
    for (size_t i = 1; value[i]; i += 3) ck_assert(memcmp(value + i, "\xEF\xBF\xBD", 3) == 0);
    llama2_inspection_free(in);
    free(f.bytes);
    free(nuls);
}
END_TEST

START_TEST(each_failure_frees_all)
{
    static const char *const names[] = {"a.gguf", "a"};
    make_files();
    for (int mode = 0; mode < 8; mode++) {
        int done = 0;
        for (long n = 0; !done; n++) {
            llama2_inspection *in;
            long live = memory.live;
            memory.calls = disk.calls = 0;
            memory.for_ever = disk.for_ever = mode % 2;
            *(mode / 2 % 2 ? &memory.fail_at : &disk.fail_at) = n;
            llama2_status status = llama2_inspect(ctx, at(names[mode / 4]), &in);
            done = (mode / 2 % 2 ? memory.calls : disk.calls) <= n;
            memory.fail_at = disk.fail_at = -1;
            if (done) ck_ok(status);
            ck_assert(status == LLAMA2_OK || status == LLAMA2_E_NOMEM || status == LLAMA2_E_IO);
            llama2_inspection_free(in);
            ck_assert_int_eq(memory.live, live);
        }
    }
}
END_TEST

Suite *test_suite(void)
{
    Suite *suite = suite_create("convert/inspect");
    TCase *tests = tcase_create("inspect");
    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_set_timeout(tests, 120);
    tcase_add_test(tests, gguf);
    tcase_add_test(tests, folder_of_hugging_face);
    tcase_add_test(tests, empty_tensor);
    tcase_add_test(tests, what_does_not_load_is_shown);
    tcase_add_test(tests, text_of_nuls);
    tcase_add_test(tests, each_failure_frees_all);
    suite_add_tcase(suite, tests);
    return suite;
}
