/* Models in llama2.c's .bin: the numbers of the source; what is none is refused, since there is no magic number. */
#include "format/gguf_file.h"
#include "model/model.h"
#include <llama2/llama2.h>

enum { DIM = 8, HEADS = 2, KV = 1, WIDE = 12, VOCAB = 16, LAYERS = 2, LENGTH = 10, HEAD = DIM / HEADS };

/* With a head of its own, vocab is -VOCAB. */
static gguf_file small_file(int32_t vocab)
{
    gguf_file f = {0};
    const int32_t header[] = {DIM, WIDE, LAYERS, HEADS, KV, vocab, LENGTH};
    int64_t n = VOCAB * DIM + LAYERS * (2 * DIM + 2 * DIM * DIM + 2 * KV * HEAD * DIM + 3 * WIDE * DIM) + DIM +
                LENGTH * HEAD + (vocab < 0 ? VOCAB * DIM : 0);
    for (int i = 0; i < 7; i++) put_u32(&f, (uint32_t)header[i]);
    for (int64_t i = 0; i < n; i++) put_f32(&f, (float)i);
    return f;
}

static llama2_status load(const gguf_file *f, llama2_model **out)
{
    spill(at("m.bin"), f->bytes, f->size);
    return llama2_model_load(ctx, at("m.bin"), NULL, out);
}

static void check_first(const llama2_model *m, const char *name, float first)
{
    static float values[VOCAB * DIM];
    ck_ok(llama2_model_get_tensor(m, name, values, VOCAB * DIM, NULL));
    ck_assert_msg(values[0] == first, "%s begins with %g, expected %g", name, (double)values[0], (double)first);
}

START_TEST(test_places)
{
    for (int tied = 0; tied < 2; tied++) {
        llama2_model *m;
        llama2_config c = {.struct_size = sizeof c};
        gguf_file f = small_file(tied ? VOCAB : -VOCAB);
        ck_ok(load(&f, &m));
        ck_ok(llama2_model_config(m, &c));
        ck_assert(c.vocab_size == VOCAB && c.dim == DIM && c.n_layers == LAYERS && c.n_heads == HEADS);
        ck_assert(c.n_kv_heads == KV && c.head_dim == HEAD && c.ffn_dim == WIDE && c.max_seq_len == LENGTH);
        ck_assert(c.tied == tied && c.bos_id == 1 && c.eos_id == 2 && c.norm_eps == 1e-5 && c.rope_theta == 1e4);
        check_first(m, "model.embed_tokens.weight", 0);
        check_first(m, "model.layers.0.input_layernorm.weight", 128);
        check_first(m, "model.layers.1.input_layernorm.weight", 136);
        check_first(m, "model.layers.0.self_attn.q_proj.weight", 144);
        check_first(m, "model.layers.1.self_attn.q_proj.weight", 208);
        check_first(m, "model.layers.0.self_attn.k_proj.weight", 272);
        check_first(m, "model.layers.1.self_attn.v_proj.weight", 368);
        check_first(m, "model.layers.0.self_attn.o_proj.weight", 400);
        check_first(m, "model.layers.0.post_attention_layernorm.weight", 528);
        check_first(m, "model.layers.0.mlp.gate_proj.weight", 544);
        check_first(m, "model.layers.0.mlp.down_proj.weight", 736);
        check_first(m, "model.layers.1.mlp.up_proj.weight", 1024);
        check_first(m, "model.norm.weight", 1120);
        if (!tied) check_first(m, "lm_head.weight", 1168);
        llama2_model_free(m);
        free(f.bytes);
    }
}
END_TEST

/* What Python wrote has the bits of the same model as a Hugging Face folder. */
START_TEST(test_golden)
{
    llama2_model *source, *m;
    char path[4096];
    snprintf(path, sizeof path, "%s/reference/meta/fp32/source", LLAMA2_TEST_SOURCE);
    ck_ok(llama2_model_load(ctx, path, NULL, &source));
    snprintf(path, sizeof path, "%s/reference/meta/fp32/llama2c.bin", LLAMA2_TEST_SOURCE);
    ck_ok(llama2_model_load(ctx, path, NULL, &m));
    ck_assert_int_eq(source->n_elements, m->n_elements);
    ck_assert_mem_eq(source->weights, m->weights, (size_t)m->n_elements * sizeof(float));
    ck_assert_int_eq(m->config.max_seq_len, 32);
    llama2_model_free(source);
    llama2_model_free(m);
}
END_TEST

/* --- bad files ------------------------------------------------------------------------------- */

static const struct {
    int field; /* of the header; -1: none */
    int32_t value;
    int longer; /* bytes more, or fewer */
    llama2_status code;
    const char *message;
} bad[] = {
    {-1, 0, -1, LLAMA2_E_TRUNCATED, "it should have 5212 bytes, it has 5211"},
    {-1, 0, 1, LLAMA2_E_FORMAT, "it should have 5212 bytes, it has 5213"},
    {-1, 0, -5184, LLAMA2_E_TRUNCATED, "it has 28"},
    {-1, 0, -5185, LLAMA2_E_FORMAT, "its header has 28 bytes"},
    {-1, 0, -5212, LLAMA2_E_FORMAT, "its header has 28 bytes"},
    {0, 0, 0, LLAMA2_E_FORMAT, "no dim, n_heads and vocab_size"},
    {0, -8, 0, LLAMA2_E_FORMAT, "no dim, n_heads and vocab_size"},
    {0, 9, 0, LLAMA2_E_FORMAT, "no dim, n_heads and vocab_size"},
    {0, INT32_MAX - 1, 0, LLAMA2_E_FORMAT, "dim is 2147483646"},
    {0, 0x616b3432, 0, LLAMA2_E_UNSUPPORTED, "of version 12, only version 0"},
    {0, 0x67676d6c, 0, LLAMA2_E_FORMAT, "dim is"}, /* an older format of llama.cpp */
    {1, 0, 0, LLAMA2_E_FORMAT, "ffn_dim is 0"},
    {1, -1, 0, LLAMA2_E_FORMAT, "ffn_dim is -1"},
    {1, 13, 0, LLAMA2_E_TRUNCATED, "it should have 5404"},
    {2, 0, 0, LLAMA2_E_FORMAT, "n_layers is 0"},
    {2, 1, 0, LLAMA2_E_FORMAT, "1 layers"},
    {2, 65536, 0, LLAMA2_E_TRUNCATED, "65536 layers"},
    {2, INT32_MAX, 0, LLAMA2_E_FORMAT, "n_layers is 2147483647"},
    {3, 0, 0, LLAMA2_E_FORMAT, "no dim, n_heads and vocab_size"},
    {3, -2, 0, LLAMA2_E_FORMAT, "no dim, n_heads and vocab_size"},
    {3, 8, 0, LLAMA2_E_FORMAT, "head_dim 1 is odd"},
    {4, 0, 0, LLAMA2_E_FORMAT, "n_kv_heads is 0"},
    {4, 3, 0, LLAMA2_E_FORMAT, "n_kv_heads is 3"},
    {4, 2, 0, LLAMA2_E_TRUNCATED, "it should have"},
    {5, 0, 0, LLAMA2_E_FORMAT, "no dim, n_heads and vocab_size"},
    {5, INT32_MIN, 0, LLAMA2_E_FORMAT, "no dim, n_heads and vocab_size"},
    {5, INT32_MAX, 0, LLAMA2_E_FORMAT, "vocab_size is 2147483647"},
    {5, VOCAB, 0, LLAMA2_E_FORMAT, "it should have 4700 bytes, it has 5212"},
    {6, 0, 0, LLAMA2_E_FORMAT, "max_seq_len is 0"},
    {6, INT32_MAX, 0, LLAMA2_E_FORMAT, "max_seq_len is 2147483647"},
    {6, 1 << 28, 0, LLAMA2_E_TRUNCATED, "it should have 4294972348 bytes"},
    {0, 1 << 17, 0, LLAMA2_E_TRUNCATED, "dim 131072"},
};

START_TEST(test_bad_files)
{
    llama2_model *none = (llama2_model *)&none;
    gguf_file f = small_file(-VOCAB);
    put_zeros(&f, 1);
    f.size += (size_t)(bad[_i].longer - 1);
    if (bad[_i].field >= 0) l2_put_u32(f.bytes + 4 * bad[_i].field, (uint32_t)bad[_i].value);
    size_t before = memory.bytes;
    memory.peak = before;
    llama2_status status = load(&f, &none);
    ck_assert_msg(status == bad[_i].code && strstr(llama2_last_error(), bad[_i].message) &&
                      strstr(llama2_last_error(), "m.bin: "),
                  "%d: %s: %s; expected %s: %s", _i, llama2_status_name(status), llama2_last_error(),
                  llama2_status_name(bad[_i].code), bad[_i].message);
    ck_assert_ptr_null(none);
    ck_assert_uint_le(memory.peak - before, 4096);
    free(f.bytes);
}
END_TEST

START_TEST(test_each_failure_while_loading)
{
    gguf_file f = small_file(VOCAB);
    spill(at("m.bin"), f.bytes, f.size);
    free(f.bytes);
    fail_each_load(at("m.bin"));
}
END_TEST

Suite *test_suite(void)
{
    Suite *suite = suite_create("model/io_llama2c");
    TCase *bads = tcase_create("bad files"), *good = tcase_create("files");
    tcase_add_checked_fixture(bads, setup, teardown);
    tcase_add_checked_fixture(good, setup, teardown);
    tcase_add_loop_test(bads, test_bad_files, 0, (int)(sizeof bad / sizeof *bad));
    tcase_add_test(good, test_places);
    tcase_add_test(good, test_golden);
    tcase_add_test(good, test_each_failure_while_loading);
    suite_add_tcase(suite, bads);
    suite_add_tcase(suite, good);
    return suite;
}
