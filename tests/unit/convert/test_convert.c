/* From each format to each other: the same numbers, the same tokens, or nothing and a reason. */
#include "tokenizer/tokenizer_test.h"

#include "format/faults.h" /* last: it has a ctx of its own */

#include "format/gguf.h"
#include "math/half.h"
#include <llama2/llama2.h>
#include <math.h>

/* Room for the tiny vocabulary with rows to spare; rows of 256 (attention) and of 96 or 100 (second feed-forward). */
static llama2_model *make_model(llama2_context *of, int32_t tied, int32_t ffn_dim)
{
    llama2_model *m;
    llama2_config c;
    llama2_config_init(&c, sizeof c);
    c.vocab_size = TINY_PIECES + 5;
    c.dim = 256;
    c.n_layers = 2;
    c.n_heads = 4;
    c.n_kv_heads = 2;
    c.head_dim = 64;
    c.ffn_dim = ffn_dim;
    c.max_seq_len = 32;
    c.tied = tied;
    c.bos_id = 1;
    c.eos_id = 2;
    c.norm_eps = 1e-6;
    c.rope_theta = 500000;
    ck_ok(llama2_model_create(of, &c, NULL, &m));
    return m;
}

static float through(float x, int32_t dtype)
{
    return dtype == LLAMA2_BF16  ? l2_f32_from_bf16(l2_bf16_from_f32(x))
           : dtype == LLAMA2_F16 ? l2_f32_from_f16(l2_f16_from_f32(x))
                                 : x;
}

/* All tensors of the model at `path` are those of `m`, rounded to dtype (-1: within `most`). */
static void check_weights(const llama2_model *m, const char *path, int32_t dtype, double most)
{
    llama2_model *other;
    llama2_config a = {.struct_size = sizeof a}, b = a;
    ck_ok(llama2_model_load(ctx, path, NULL, &other));
    ck_ok(llama2_model_config(m, &a));
    ck_ok(llama2_model_config(other, &b));
    ck_assert_mem_eq(&a, &b, sizeof a);
    ck_assert_int_eq(llama2_model_tensors(m), llama2_model_tensors(other));
    for (int32_t i = 0; i < llama2_model_tensors(m); i++) {
        llama2_tensor_info info = {.struct_size = sizeof info};
        ck_ok(llama2_model_tensor_info(m, i, &info));
        int64_t n = info.rows * info.columns;
        float *x = malloc((size_t)n * sizeof *x), *y = malloc((size_t)n * sizeof *y);
        ck_ok(llama2_model_get_tensor(m, info.name, x, n, NULL));
        ck_ok(llama2_model_get_tensor(other, info.name, y, n, NULL));
        double lost = 0, all = 0;
        for (int64_t k = 0; k < n; k++) {
            if (dtype >= 0) ck_assert_msg(y[k] == through(x[k], dtype), "%s: element %d", info.name, (int)k);
            lost += ((double)x[k] - (double)y[k]) * ((double)x[k] - (double)y[k]);
            all += (double)x[k] * (double)x[k];
        }
        if (dtype < 0) ck_assert_msg(sqrt(lost / all) < most, "%s: %g", info.name, sqrt(lost / all));
        free(x);
        free(y);
    }
    llama2_model_free(other);
}

static llama2_convert_options options_of(int32_t type)
{
    llama2_convert_options o;
    llama2_convert_options_init(&o, sizeof o);
    o.type = type;
    return o;
}

static void check_same_file(const char *a, const char *b)
{
    bytes x = read_whole(a), y = read_whole(b);
    ck_assert_uint_eq(x.size, y.size);
    ck_assert_mem_eq(x.data, y.data, x.size);
    free(x.data);
    free(y.data);
}

/* Folder -> GGUF -> folder in f32, bf16, f16: each file of weights has the same bytes as at first. */
START_TEST(there_and_back_keeps_every_bit)
{
    static const int32_t dtypes[] = {LLAMA2_F32, LLAMA2_BF16, LLAMA2_F16};
    for (int i = 0; i < 6; i++) {
        int32_t dtype = dtypes[i % 3];
        llama2_model *m = make_model(ctx, i / 3, 96);
        ck_ok(llama2_model_save(m, at("first"), dtype));
        ck_ok(llama2_convert(ctx, at("first"), at("there.gguf"), NULL));
        check_weights(m, at("there.gguf"), dtype, 0);
        ck_ok(llama2_convert(ctx, at("there.gguf"), at("back"), NULL));
        check_same_file(at("first/model.safetensors"), at("back/model.safetensors"));
        check_same_file(at("first/config.json"), at("back/config.json"));
        /* The model in memory makes the same file; so does the file from itself. */
        llama2_convert_options o = options_of(dtype);
        ck_ok(llama2_model_save_gguf(m, NULL, at("memory.gguf"), &o));
        check_same_file(at("there.gguf"), at("memory.gguf"));
        ck_ok(llama2_convert(ctx, at("there.gguf"), at("there.gguf"), NULL));
        check_same_file(at("there.gguf"), at("memory.gguf"));
        llama2_model_free(m);
    }
}
END_TEST

/* Scaled rotary positions and several tokens that end a text: there and back. */
START_TEST(positions_and_ends_go_along)
{
    for (int i = 0; i < 2; i++) {
        llama2_config c;
        llama2_model *m, *back;
        int32_t ids[8], n;
        llama2_config_init(&c, sizeof c);
        c.vocab_size = 16;
        c.dim = c.ffn_dim = c.head_dim = 64;
        c.n_layers = c.n_heads = c.n_kv_heads = 1;
        c.max_seq_len = 32;
        c.rope_theta = 500000;
        c.rope_scaling = i ? LLAMA2_ROPE_SCALING_LINEAR : LLAMA2_ROPE_SCALING_LLAMA3;
        c.rope_factor = 8;
        c.rope_original_len = i ? 0 : 8192;
        c.rope_low_freq_factor = i ? 0 : 1;
        c.rope_high_freq_factor = i ? 0 : 4;
        ck_ok(llama2_model_create(ctx, &c, NULL, &m));
        ck_ok(llama2_model_set_eos_ids(m, (const int32_t[]){5, 3, 9}, 3));
        ck_ok(llama2_model_save_gguf(m, NULL, at("a.gguf"), NULL));
        check_weights(m, at("a.gguf"), LLAMA2_F32, 0);
        ck_ok(llama2_convert(ctx, at("a.gguf"), at("b"), NULL));
        check_weights(m, at("b"), LLAMA2_F32, 0);
        ck_ok(llama2_model_load(ctx, at("b"), NULL, &back));
        ck_ok(llama2_model_eos_ids(back, ids, 8, &n));
        ck_assert(n == 3 && ids[0] == 5 && ids[1] == 3 && ids[2] == 9);
        llama2_model_free(back);
        llama2_model_free(m);
        /* Factors that GGUF files have no place for. */
        if (i) continue;
        c.rope_low_freq_factor = 2;
        ck_ok(llama2_model_create(ctx, &c, NULL, &m));
        ck_fails(llama2_model_save_gguf(m, NULL, at("c.gguf"), NULL), LLAMA2_E_UNSUPPORTED);
        ck_assert_int_eq(l2_path_kind(at("c.gguf")), 0);
        llama2_model_free(m);
    }
}
END_TEST

static void check_type(const char *path, const char *name, int32_t type)
{
    l2_gguf file;
    ck_ok(l2_gguf_open(ctx, path, 0, &file));
    const l2_gguf_tensor *t = l2_gguf_find_tensor(&file, name);
    ck_assert_msg(t && t->type == type, "%s is %s, expected %s", name,
                  t ? l2_ggml_type(t->type, NULL, NULL) : "missing", l2_ggml_type(type, NULL, NULL));
    l2_gguf_close(&file);
}

/* llama.cpp's choices: see llama2_convert_options.type. Of 2 layers, both take more bits in Q4_K_M. */
START_TEST(quantised_types_are_llama_cpps)
{
    static const struct {
        int32_t type, matrix, head, value, down96, down100;
        double most;
    } of[] = {
        {LLAMA2_Q8_0, L2_GGML_Q8_0, L2_GGML_Q8_0, L2_GGML_Q8_0, L2_GGML_Q8_0, L2_GGML_F16, 0.01},
        {LLAMA2_Q4_0, L2_GGML_Q4_0, L2_GGML_Q6_K, L2_GGML_Q4_0, L2_GGML_Q4_0, L2_GGML_F16, 0.09},
        {LLAMA2_Q4_K, L2_GGML_Q4_K, L2_GGML_Q6_K, L2_GGML_Q6_K, L2_GGML_Q8_0, L2_GGML_F16, 0.08},
        {LLAMA2_Q6_K, L2_GGML_Q6_K, L2_GGML_Q6_K, L2_GGML_Q6_K, L2_GGML_Q8_0, L2_GGML_F16, 0.02},
    };
    for (size_t i = 0; i < 4; i++)
        for (int32_t tied = 0; tied < 2; tied++) {
            llama2_model *m = make_model(ctx, tied, tied ? 100 : 96);
            llama2_convert_options o = options_of(of[i].type);
            ck_ok(llama2_model_save_gguf(m, NULL, at("q.gguf"), &o));
            check_weights(m, at("q.gguf"), -1, of[i].most);
            check_type(at("q.gguf"), "blk.0.attn_norm.weight", L2_GGML_F32);
            check_type(at("q.gguf"), "blk.0.attn_q.weight", of[i].matrix);
            check_type(at("q.gguf"), "blk.1.attn_v.weight", of[i].value);
            check_type(at("q.gguf"), "blk.1.ffn_down.weight", tied ? of[i].down100 : of[i].down96);
            check_type(at("q.gguf"), "token_embd.weight", tied ? of[i].head : of[i].matrix);
            if (!tied) check_type(at("q.gguf"), "output.weight", of[i].head);
            /* By way of a file: the same bytes. Of a quantised file a folder in F32. */
            ck_ok(llama2_model_save_gguf(m, NULL, at("f32.gguf"), NULL));
            ck_ok(llama2_convert(ctx, at("f32.gguf"), at("again.gguf"), &o));
            check_same_file(at("q.gguf"), at("again.gguf"));
            ck_ok(llama2_convert(ctx, at("q.gguf"), at("folder"), NULL));
            check_weights(m, at("folder"), -1, of[i].most);
            llama2_model_free(m);
        }
}
END_TEST

/* Q4_K leaves the middle layers' values and down projections in 4 bits: of 16, the first and last two have 6. */
START_TEST(a_deep_model_is_mixed)
{
    static const int six[16] = {1, 1, 0, 0, 1, 0, 0, 1, 0, 0, 1, 0, 0, 1, 1, 1};
    llama2_config c;
    llama2_model *m;
    char name[64];
    llama2_convert_options o = options_of(LLAMA2_Q4_K);
    llama2_config_init(&c, sizeof c);
    c.vocab_size = 8;
    c.dim = c.ffn_dim = 256;
    c.n_layers = 16;
    c.n_heads = c.n_kv_heads = 1;
    c.head_dim = 256;
    c.max_seq_len = 8;
    ck_ok(llama2_model_create(ctx, &c, NULL, &m));
    ck_ok(llama2_model_save_gguf(m, NULL, at("q.gguf"), &o));
    for (int i = 0; i < 16; i++) {
        snprintf(name, sizeof name, "blk.%d.ffn_down.weight", i);
        check_type(at("q.gguf"), name, six[i] ? L2_GGML_Q6_K : L2_GGML_Q4_K);
        snprintf(name, sizeof name, "blk.%d.attn_v.weight", i);
        check_type(at("q.gguf"), name, six[i] ? L2_GGML_Q6_K : L2_GGML_Q4_K);
        snprintf(name, sizeof name, "blk.%d.attn_output.weight", i);
        check_type(at("q.gguf"), name, L2_GGML_Q4_K);
    }
    llama2_model_free(m);
}
END_TEST

/* --- tokenizers ------------------------------------------------------------------------------ */

static void check_same_tokens(const llama2_tokenizer *a, const char *path)
{
    static const char text[] = "the abc [INST] 1234 caf\xC3\xA9 \xF0\x9F\x99\x82  it's  \n\n end";
    int64_t n, m;
    llama2_tokenizer *b;
    ck_ok(llama2_tokenizer_load(ctx, path, NULL, &b));
    int32_t *x = encode(a, text, sizeof text - 1, &n), *y = encode(b, text, sizeof text - 1, &m);
    ck_assert_int_eq(n, m);
    ck_assert_mem_eq(x, y, (size_t)n * sizeof *x);
    ck_assert_int_eq(llama2_tokenizer_bos(a), llama2_tokenizer_bos(b));
    ck_assert_int_eq(llama2_tokenizer_eos(a), llama2_tokenizer_eos(b));
    ck_assert_int_eq(llama2_tokenizer_adds_bos(a), llama2_tokenizer_adds_bos(b));
    for (int32_t id = 0; id < llama2_tokenizer_vocab_size(a); id++) {
        const char *s, *t;
        float score, other;
        int32_t type, other_type;
        ck_ok(llama2_tokenizer_piece(a, id, &s, NULL, &score, &type));
        ck_ok(llama2_tokenizer_piece(b, id, &t, NULL, &other, &other_type));
        ck_assert_str_eq(s, t);
        ck_assert_int_eq(type, other_type);
    }
    free(x);
    free(y);
    llama2_tokenizer_free(b);
}

START_TEST(sentencepiece_goes_along)
{
    llama2_model *m = make_model(ctx, 0, 96);
    llama2_tokenizer *tok = make_tiny(ctx), *padded;
    const char *text;
    int32_t type;
    ck_ok(llama2_model_save_gguf(m, tok, at("a.gguf"), NULL));
    check_same_tokens(tok, at("a.gguf"));
    ck_ok(llama2_tokenizer_load(ctx, at("a.gguf"), NULL, &padded));
    ck_assert_int_eq(llama2_tokenizer_vocab_size(padded), TINY_PIECES + 5); /* as many as the embedding has rows */
    ck_ok(llama2_tokenizer_piece(padded, TINY_PIECES, &text, NULL, NULL, &type));
    ck_assert_int_eq(type, LLAMA2_PIECE_UNUSED);
    llama2_tokenizer_free(padded);
    ck_ok(llama2_convert(ctx, at("a.gguf"), at("b"), NULL));
    check_same_tokens(tok, at("b"));
    ck_assert_int_eq(l2_path_kind(at("b/tokenizer.model")), 1);
    /* One of the host's choice. */
    llama2_convert_options o = options_of(LLAMA2_TYPE_KEEP);
    ck_ok(llama2_tokenizer_save(tok, at("tok.model")));
    ck_ok(llama2_model_save(m, at("c"), LLAMA2_BF16));
    o.tokenizer = at("tok.model");
    ck_ok(llama2_convert(ctx, at("c"), at("c.gguf"), &o));
    check_same_tokens(tok, at("c.gguf"));
    o.tokenizer = at("nowhere");
    ck_fails(llama2_convert(ctx, at("c"), at("d.gguf"), &o), LLAMA2_E_NOT_FOUND);
    llama2_tokenizer_free(tok);
    llama2_model_free(m);
}
END_TEST

START_TEST(byte_level_goes_along)
{
    static const char *const names[] = {"bpe-gpt2", "bpe-llama3", "bpe-smollm"};
    for (int i = 0; i < 3; i++) {
        char path[512];
        llama2_tokenizer *tok;
        llama2_config c;
        llama2_model *m;
        snprintf(path, sizeof path, "%s/reference/tokenizer/%s", LLAMA2_TEST_SOURCE, names[i]);
        ck_ok(llama2_tokenizer_load(ctx, path, NULL, &tok));
        llama2_config_init(&c, sizeof c);
        c.vocab_size = llama2_tokenizer_vocab_size(tok);
        c.dim = c.ffn_dim = 8;
        c.n_layers = 1;
        c.n_heads = c.n_kv_heads = 1;
        c.head_dim = 8;
        c.max_seq_len = 8;
        c.bos_id = c.eos_id = c.pad_id = -1;
        ck_ok(llama2_model_create(ctx, &c, NULL, &m));
        ck_ok(llama2_model_save_gguf(m, tok, at("a.gguf"), NULL));
        check_same_tokens(tok, at("a.gguf"));
        ck_ok(llama2_convert(ctx, at("a.gguf"), at("b"), NULL));
        check_same_tokens(tok, at("b"));
        llama2_model_free(m);
        c.vocab_size--;
        ck_ok(llama2_model_create(ctx, &c, NULL, &m));
        ck_fails(llama2_model_save_gguf(m, tok, at("c.gguf"), NULL), LLAMA2_E_MISMATCH);
        ck_assert_int_eq(l2_path_kind(at("c.gguf")), 0);
        ck_ok(llama2_model_save(m, at("d"), LLAMA2_F32));
        ck_ok(llama2_tokenizer_save(tok, at("d")));
        ck_fails(llama2_convert(ctx, at("d"), at("e"), NULL), LLAMA2_E_MISMATCH);
        ck_assert_int_eq(l2_path_kind(at("e")), 0);
        llama2_model_free(m);
        llama2_tokenizer_free(tok);
    }
}
END_TEST

/* Keys "general.*" of a file stay; those that say what the file is are new. */
START_TEST(name_and_licence_stay)
{
    static const char spaces[32] = "                               ";
    l2_gguf_metadata more;
    l2_gguf file;
    l2_gguf_cursor cursor;
    const char *text;
    size_t length;
    int64_t number;
    llama2_model *m = make_model(ctx, 1, 96);
    llama2_convert_options o = options_of(LLAMA2_Q8_0);
    ck_ok(llama2_model_save_gguf(m, NULL, at("a.gguf"), NULL));
    /* Put after the header; a multiple of the alignment, so that all tensors keep their places. */
    l2_gguf_metadata_begin(&more, ctx);
    l2_gguf_put_array(&more, "general.tags", L2_GGUF_STRING, 2);
    l2_gguf_put_element(&more, "one", 3);
    l2_gguf_put_element(&more, "two", 3);
    size_t rest = 32 - (more.text.length + 8 + 15 + 4 + 8) % 32;
    l2_gguf_put_string(&more, "general.license", spaces, rest);
    ck_assert_uint_eq(more.text.length % 32, 0);
    bytes before = read_whole(at("a.gguf"));
    bytes after = {malloc(before.size + more.text.length), before.size + more.text.length};
    memcpy(after.data, before.data, 24);
    memcpy(after.data + 24, more.text.data, more.text.length);
    memcpy(after.data + 24 + more.text.length, before.data + 24, before.size - 24);
    after.data[16] = (char)(after.data[16] + 2);
    spill(at("b.gguf"), after.data, after.size);
    ck_ok(llama2_convert(ctx, at("b.gguf"), at("c.gguf"), &o));
    ck_ok(l2_gguf_open(ctx, at("c.gguf"), 0, &file));
    ck_ok(l2_gguf_string(l2_gguf_find(&file, "general.license"), &text, &length));
    ck_assert_uint_eq(length, rest);
    ck_ok(l2_gguf_strings(l2_gguf_find(&file, "general.tags"), &cursor));
    ck_assert(l2_gguf_next(&cursor, &text, &length) && l2_gguf_next(&cursor, &text, &length) && length == 3 &&
              memcmp(text, "two", 3) == 0);
    ck_ok(l2_gguf_int(l2_gguf_find(&file, "general.file_type"), &number));
    ck_assert_int_eq(number, 7);
    l2_gguf_close(&file);
    l2_gguf_metadata_free(&more);
    free(before.data);
    free(after.data);
    llama2_model_free(m);
}
END_TEST

/* --- progress, and what ends a conversion early ---------------------------------------------- */

typedef struct watch {
    int64_t last;
    long calls, stop_at;
} watch;

static int32_t on_progress(void *user, const llama2_convert_event *event)
{
    watch *w = user;
    ck_assert_int_gt(event->elements_done, w->last);
    ck_assert_int_le(event->elements_done, event->elements);
    ck_assert(event->tensor >= 0 && event->tensor < event->n_tensors);
    ck_assert(event->struct_size == sizeof *event && event->name[0]);
    w->last = event->elements_done;
    return ++w->calls == w->stop_at;
}

START_TEST(progress_is_told_and_can_stop)
{
    llama2_model *m = make_model(ctx, 0, 96);
    llama2_convert_options o = options_of(LLAMA2_BF16);
    watch w = {0};
    o.progress = on_progress;
    o.progress_user = &w;
    static const char *const names[] = {"out.gguf", "out"};
    ck_ok(llama2_model_save(m, at("in"), LLAMA2_F32));
    for (int i = 0; i < 2; i++) {
        w = (watch){0};
        ck_ok(llama2_convert(ctx, at("in"), at(names[i]), &o));
        ck_assert_int_eq(w.last, llama2_model_parameters(m));
        ck_assert_int_ge(w.calls, llama2_model_tensors(m));
        long calls = w.calls;
        for (long stop = 1; stop <= calls; stop += 5) {
            w = (watch){.stop_at = stop};
            ck_fails(llama2_convert(ctx, at("in"), at(names[i]), &o), LLAMA2_E_USER);
            ck_assert_int_eq(w.calls, stop);
        }
        check_weights(m, at(names[i]), LLAMA2_BF16, 0); /* that of the first time */
    }
    o.progress = NULL;
    llama2_context_cancel(ctx);
    ck_fails(llama2_convert(ctx, at("in"), at("out.gguf"), &o), LLAMA2_E_CANCELLED);
    llama2_context_resume(ctx);
    llama2_model_free(m);
}
END_TEST

START_TEST(refused)
{
    llama2_model *m = make_model(ctx, 0, 96);
    llama2_reward_model *reward;
    llama2_convert_options o = options_of(LLAMA2_Q8_0);
    ck_ok(llama2_model_save(m, at("in"), LLAMA2_F32));
    ck_fails(llama2_convert(ctx, at("in"), at("out"), &o), LLAMA2_E_INVALID);
    ck_assert_int_eq(l2_path_kind(at("out")), 0);
    o.format = LLAMA2_FORMAT_GGUF;
    ck_ok(llama2_convert(ctx, at("in"), at("no-ending"), &o));
    ck_assert_int_eq(l2_path_kind(at("no-ending")), 1);
    static const int32_t types[] = {-2, LLAMA2_F64, 8, 1000};
    for (int i = 0; i < 4; i++) {
        o.type = types[i];
        ck_fails(llama2_convert(ctx, at("in"), at("out"), &o), LLAMA2_E_INVALID);
        ck_fails(llama2_model_save_gguf(m, NULL, at("out"), &o), LLAMA2_E_INVALID);
    }
    o = options_of(LLAMA2_F32);
    o.format = 4;
    ck_fails(llama2_convert(ctx, at("in"), at("out"), &o), LLAMA2_E_INVALID);
    ck_fails(llama2_convert(NULL, at("in"), at("out"), NULL), LLAMA2_E_INVALID);
    ck_fails(llama2_convert(ctx, NULL, at("out"), NULL), LLAMA2_E_INVALID);
    ck_fails(llama2_convert(ctx, at("in"), NULL, NULL), LLAMA2_E_INVALID);
    ck_fails(llama2_model_save_gguf(NULL, NULL, at("out"), NULL), LLAMA2_E_INVALID);
    ck_fails(llama2_model_save_gguf(m, NULL, NULL, NULL), LLAMA2_E_INVALID);
    ck_fails(llama2_convert(ctx, at("nowhere"), at("out"), NULL), LLAMA2_E_NOT_FOUND);
    ck_ok(llama2_reward_model_create(ctx, m, NULL, &reward));
    ck_ok(llama2_reward_model_save(reward, at("reward"), LLAMA2_F32));
    ck_fails(llama2_convert(ctx, at("reward"), at("out.gguf"), NULL), LLAMA2_E_UNSUPPORTED);
    ck_ok(llama2_convert(ctx, at("reward"), at("out"), NULL));
    check_same_file(at("reward/config.json"), at("out/config.json"));
    check_same_file(at("reward/model.safetensors"), at("out/model.safetensors"));
    llama2_reward_model_free(reward);
    /* A number that fp16 has no room for. */
    float *x = calloc(256, sizeof *x);
    x[3] = 70000;
    ck_ok(llama2_model_set_tensor(m, "model.norm.weight", x, 256));
    o = options_of(LLAMA2_Q4_0);
    ck_ok(llama2_model_save_gguf(m, NULL, at("out.gguf"), &o)); /* gains stay F32 */
    float *wide = calloc((TINY_PIECES + 5) * 256, sizeof *wide);
    wide[256 * 7 + 9] = NAN;
    ck_ok(llama2_model_set_tensor(m, "model.embed_tokens.weight", wide, (TINY_PIECES + 5) * 256));
    ck_fails(llama2_model_save_gguf(m, NULL, at("out.gguf"), &o), LLAMA2_E_NUMERIC);
    ck_assert_ptr_nonnull(strstr(llama2_last_error(), "tensor token_embd.weight: row 7: element 9"));
    free(x);
    free(wide);
    llama2_model_free(m);
}
END_TEST

/* Every call of the allocator and of the operating system fails once, or from then on. */
static void each_failure(const char *from, const char *to, const char *weights)
{
    char path[300];
    ck_ok(llama2_convert(ctx, at(from), at("fresh"),
                         &(llama2_convert_options){
                             .struct_size = sizeof(llama2_convert_options),
                             .type = LLAMA2_TYPE_KEEP,
                             .format = weights[0] ? LLAMA2_FORMAT_HUGGINGFACE : LLAMA2_FORMAT_GGUF,
                         }));
    snprintf(path, sizeof path, "%s%s", at("fresh"), weights);
    bytes fresh = read_whole(path);
    for (int mode = 0; mode < 4; mode++) {
        int done = 0;
        for (long n = 0; !done; n++) {
            l2_remove_tree(ctx, at(to));
            if (weights[0]) ck_ok(l2_make_folder(ctx, at(to)));
            snprintf(path, sizeof path, "%s%s", at(to), weights);
            spill_text(path, "old");
            long live = memory.live;
            memory.calls = disk.calls = 0;
            memory.for_ever = disk.for_ever = mode % 2;
            disk.error = n % 2 ? ENOSPC : EIO;
            *(mode < 2 ? &memory.fail_at : &disk.fail_at) = n;
            llama2_status status = llama2_convert(ctx, at(from), at(to), NULL);
            done = mode < 2 ? memory.calls <= n : disk.calls <= n;
            memory.fail_at = disk.fail_at = -1;
            if (done) ck_ok(status);
            ck_assert_msg(status == LLAMA2_OK || status == (mode < 2 ? LLAMA2_E_NOMEM : LLAMA2_E_IO), "%s",
                          llama2_last_error());
            ck_assert_int_eq(memory.live, live);
            snprintf(path, sizeof path, "%s%s.partial", at(to), weights);
            ck_assert(mode == 3 || l2_path_kind(path) == 0); /* 3: removing fails too */
            snprintf(path, sizeof path, "%s%s", at(to), weights);
            bytes now = read_whole(path);
            int is_new = now.size == fresh.size && memcmp(now.data, fresh.data, fresh.size) == 0;
            ck_assert(is_new || (status < 0 && now.size == 3 && memcmp(now.data, "old", 3) == 0));
            free(now.data);
            ck_assert_int_lt(n, 5000);
        }
    }
    free(fresh.data);
    ck_ok(l2_remove_tree(ctx, at("fresh")));
}

START_TEST(each_failure_leaves_whole_files)
{
    llama2_config c;
    llama2_model *m;
    llama2_tokenizer *tok = make_tiny(ctx);
    llama2_config_init(&c, sizeof c);
    c.vocab_size = TINY_PIECES;
    c.dim = c.ffn_dim = 8;
    c.n_layers = c.n_heads = c.n_kv_heads = 1;
    c.head_dim = c.max_seq_len = 8;
    ck_ok(llama2_model_create(ctx, &c, NULL, &m));
    ck_ok(llama2_model_save_gguf(m, tok, at("in.gguf"), NULL));
    ck_ok(llama2_convert(ctx, at("in.gguf"), at("in"), NULL));
    each_failure("in", "out.gguf", "");
    each_failure("in.gguf", "out", "/model.safetensors");
    llama2_tokenizer_free(tok);
    llama2_model_free(m);
}
END_TEST

/* --- a folder that has another model's tokenizer ----------------------------------------------- */

enum { NONE, OLD, NEW };

static int same_file(const char *a, const char *b)
{
    bytes x = read_whole(a), y = read_whole(b);
    int same = x.size == y.size && memcmp(x.data, y.data, x.size) == 0;
    free(x.data);
    free(y.data);
    return same;
}

/* Are the tokenizer's files in `path` all files of the folder `of`? */
static int are_of(const char *path, const char *of)
{
    static const char *const names[] = {"tokenizer.model", "tokenizer.json", "tokenizer_config.json",
                                        "chat_template.jinja"};
    char a[300], b[300];
    for (int i = 0; i < 4; i++) {
        snprintf(a, sizeof a, "%s/%s", path, names[i]);
        snprintf(b, sizeof b, "%s/%s", of, names[i]);
        if (l2_path_kind(a) == 1 && (l2_path_kind(b) != 1 || !same_file(a, b))) return 0;
    }
    return 1;
}

/* NONE where none can be loaded; files of two are an error. */
static int tokenizer_in(const char *path, const char *old, const char *new)
{
    llama2_tokenizer *tok;
    llama2_status status = llama2_tokenizer_load(ctx, path, NULL, &tok);
    if (status == LLAMA2_E_NOT_FOUND) return NONE;
    ck_ok(status);
    llama2_tokenizer_free(tok);
    if (are_of(path, old)) return OLD;
    ck_assert(are_of(path, new));
    return NEW;
}

static int model_in(const char *path, int32_t old_vocab)
{
    llama2_model *m;
    if (llama2_model_load(ctx, path, NULL, &m) < 0) return NONE;
    llama2_config c = {.struct_size = sizeof c};
    ck_ok(llama2_model_config(m, &c));
    llama2_model_free(m);
    return c.vocab_size == old_vocab ? OLD : NEW;
}

/* tok-sp and tok-bpe with models sp.gguf and bpe.gguf, and none.gguf without a tokenizer. */
static void make_two(llama2_tokenizer *toks[2])
{
    static const char *const files[] = {"sp.gguf", "bpe.gguf"}, *const folders[] = {"tok-sp", "tok-bpe"};
    toks[0] = make_tiny(ctx);
    ck_ok(llama2_tokenizer_load(ctx, LLAMA2_TEST_SOURCE "/reference/tokenizer/bpe-smollm", NULL, &toks[1]));
    for (int i = 0; i < 2; i++) {
        llama2_config c;
        llama2_model *m;
        llama2_config_init(&c, sizeof c);
        c.vocab_size = llama2_tokenizer_vocab_size(toks[i]);
        c.dim = c.ffn_dim = 8;
        c.n_layers = c.n_heads = c.n_kv_heads = 1;
        c.head_dim = c.max_seq_len = 8;
        ck_ok(llama2_model_create(ctx, &c, NULL, &m));
        ck_ok(llama2_model_save_gguf(m, toks[i], at(files[i]), NULL));
        if (i) ck_ok(llama2_model_save_gguf(m, NULL, at("none.gguf"), NULL));
        ck_ok(l2_make_folder(ctx, at(folders[i])));
        ck_ok(llama2_tokenizer_save(toks[i], at(folders[i])));
        llama2_model_free(m);
    }
}

/* Each operation on files fails once, or from then on, as if the process had ended there. */
static llama2_status fail_conversion(const char *before, const char *after, int linked, long n, int for_ever, int *done)
{
    ck_ok(l2_remove_tree(ctx, at("out")));
    ck_ok(llama2_convert(ctx, at(before), at("out"), NULL));
    if (linked) {
        char elsewhere[300];
        snprintf(elsewhere, sizeof elsewhere, "%s", at("elsewhere.json"));
        ck_assert_int_eq(rename(at("out/config.json"), elsewhere), 0);
        ck_assert_int_eq(symlink("../elsewhere.json", at("out/config.json")), 0);
    }
    disk.calls = 0;
    disk.for_ever = for_ever;
    disk.error = n % 2 ? ENOSPC : EIO;
    disk.fail_at = n;
    llama2_status status = llama2_convert(ctx, at(after), at("out"), NULL);
    *done = disk.calls <= n;
    disk.fail_at = -1;
    return status;
}

START_TEST(no_model_gets_the_tokenizer_of_another)
{
    static const struct {
        const char *before, *after, *old, *new;
        int linked; /* the older config.json is a link */
    } cases[] = {{"sp.gguf", "bpe.gguf", "tok-sp", "tok-bpe", 0},
                 {"bpe.gguf", "sp.gguf", "tok-bpe", "tok-sp", 1},
                 {"sp.gguf", "none.gguf", "tok-sp", "nowhere", 0}};
    llama2_tokenizer *toks[2];
    make_two(toks);
    int old_vocab = llama2_tokenizer_vocab_size(toks[_i == 1]), kept = 0, replaced = 0;
    for (int for_ever = 0; for_ever < 2; for_ever++) {
        for (long n = 0, done = 0; !done; n++) {
            int last;
            llama2_status status =
                fail_conversion(cases[_i].before, cases[_i].after, cases[_i].linked, n, for_ever, &last);
            done = last;
            int model = model_in(at("out"), old_vocab);
            int tokenizer = tokenizer_in(at("out"), at(cases[_i].old), at(cases[_i].new));
            if (model == OLD) ck_assert(tokenizer == OLD || (for_ever && tokenizer == NONE));
            if (model == NEW) ck_assert_int_ne(tokenizer, OLD);
            if (status == LLAMA2_OK) ck_assert(model == NEW && tokenizer == (_i == 2 ? NONE : NEW));
            if (done) ck_ok(status);
            kept += model == OLD;
            replaced += model == NEW;
        }
    }
    ck_assert(kept > 20 && replaced > 2);
    llama2_tokenizer_free(toks[0]);
    llama2_tokenizer_free(toks[1]);
}
END_TEST

/* Files that wait for a model, and those of the model that is converted where it lies. */
START_TEST(a_model_without_a_tokenizer_takes_none_away)
{
    llama2_tokenizer *toks[2];
    make_two(toks);
    ck_ok(llama2_convert(ctx, at("none.gguf"), at("tok-sp"), NULL));
    ck_assert_int_eq(tokenizer_in(at("tok-sp"), at("tok-sp"), at("nowhere")), OLD);
    ck_ok(llama2_convert(ctx, at("none.gguf"), at("alone"), NULL));
    ck_ok(l2_write_file(ctx, at("alone/chat_template.jinja"), "x", 1));
    ck_ok(llama2_convert(ctx, at("alone"), at("alone"), NULL));
    ck_assert_int_eq(l2_path_kind(at("alone/chat_template.jinja")), 1);
    ck_ok(llama2_convert(ctx, at("none.gguf"), at("alone"), NULL));
    ck_assert_int_eq(l2_path_kind(at("alone/chat_template.jinja")), 0);
    llama2_tokenizer_free(toks[0]);
    llama2_tokenizer_free(toks[1]);
}
END_TEST

/* A tokenizer over one of the other kind: cut off anywhere there is one or none, and after an error the older one. */
START_TEST(tokenizers_are_replaced_as_a_whole)
{
    static const char *const folders[] = {"tok-sp", "tok-bpe"};
    llama2_tokenizer *toks[2];
    make_two(toks);
    for (int for_ever = 0; for_ever < 2; for_ever++) {
        for (long n = 0, done = 0; !done; n++) {
            ck_ok(l2_remove_tree(ctx, at("out")));
            ck_ok(l2_make_folder(ctx, at("out")));
            ck_ok(llama2_tokenizer_save(toks[_i], at("out")));
            disk.calls = 0;
            disk.for_ever = for_ever;
            disk.fail_at = n;
            llama2_status status = llama2_tokenizer_save(toks[!_i], at("out"));
            done = disk.calls <= n;
            disk.fail_at = -1;
            int there = tokenizer_in(at("out"), at(folders[_i]), at(folders[!_i]));
            if (status == LLAMA2_OK) ck_assert_int_eq(there, NEW);
            if (status < 0 && !for_ever) ck_assert_int_eq(there, OLD);
            if (done) ck_ok(status);
        }
    }
    llama2_tokenizer_free(toks[0]);
    llama2_tokenizer_free(toks[1]);
}
END_TEST

Suite *test_suite(void)
{
    Suite *suite = suite_create("convert/convert");
    TCase *tests = tcase_create("convert");
    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_set_timeout(tests, 120);
    tcase_add_test(tests, there_and_back_keeps_every_bit);
    tcase_add_test(tests, positions_and_ends_go_along);
    tcase_add_test(tests, quantised_types_are_llama_cpps);
    tcase_add_test(tests, a_deep_model_is_mixed);
    tcase_add_test(tests, sentencepiece_goes_along);
    tcase_add_test(tests, byte_level_goes_along);
    tcase_add_test(tests, name_and_licence_stay);
    tcase_add_test(tests, progress_is_told_and_can_stop);
    tcase_add_test(tests, refused);
    tcase_add_test(tests, each_failure_leaves_whole_files);
    tcase_add_loop_test(tests, no_model_gets_the_tokenizer_of_another, 0, 3);
    tcase_add_test(tests, a_model_without_a_tokenizer_takes_none_away);
    tcase_add_loop_test(tests, tokenizers_are_replaced_as_a_whole, 0, 2);
    suite_add_tcase(suite, tests);
    return suite;
}
