/*
 * Models whose weights are as stored: for every type of a GGUF file, and for folders, all that reads a model gives the
 * bits of the same file converted; what would change it is refused; it takes no memory for its matrices.
 */
#include "format/gguf_file.h"
#include "format/huggingface.h"
#include "format/random_blocks.h"
#include "model/model.h"
#include <llama2/llama2.h>

enum { DIM = 256, HEADS = 4, KV = 2, HEAD_DIM = 64, WIDE = 512, VOCAB = 83, LAYERS = 2, LENGTH = 160, TOKENS = 150 };

typedef struct infos {
    gguf_file header, data;
    int32_t type;
    uint64_t n;
} infos;

/* One more tensor: a matrix of the file's type, or a gain near 1. */
static void add(void *user, const char *name, uint64_t columns, uint64_t rows)
{
    infos *f = user;
    uint64_t dims[2] = {columns, rows};
    uint32_t elements, bytes;
    size_t from = f->data.size;
    int32_t type = rows ? f->type : L2_GGML_F32;
    put_tensor(&f->header, name, rows ? 2 : 1, dims, (uint32_t)type, from);
    l2_ggml_type(type, &elements, &bytes);
    put_zeros(&f->data, (size_t)(columns * (rows ? rows : 1) / elements * bytes));
    if (rows)
        fill_blocks(type, f->data.bytes + from, f->data.size - from, f->n, 0.1f);
    else
        for (uint64_t i = 0; i < columns; i++)
            memcpy(f->data.bytes + from + 4 * i, &(float){1 + 0.01f * (float)(i % 7)}, 4);
    put_padding(&f->data, 32);
    f->n++;
}

static void write_file(const char *path, int32_t type, int tied)
{
    gguf_file f = {0};
    infos t = {.type = type};
    put_header(&f, 0, 10);
    put_key_string(&f, "general.architecture", "llama");
    put_key_u32(&f, "llama.block_count", LAYERS);
    put_key_u32(&f, "llama.context_length", LENGTH);
    put_key_u32(&f, "llama.embedding_length", DIM);
    put_key_u32(&f, "llama.feed_forward_length", WIDE);
    put_key_u32(&f, "llama.attention.head_count", HEADS);
    put_key_u32(&f, "llama.attention.head_count_kv", KV);
    put_key_f32(&f, "llama.attention.layer_norm_rms_epsilon", 1e-5f);
    put_key_u32(&f, "llama.vocab_size", VOCAB);
    put_key_u32(&f, "tokenizer.ggml.eos_token_id", 2);
    each_llama_tensor(&(gguf_llama){DIM, HEADS * HEAD_DIM, KV * HEAD_DIM, WIDE, VOCAB, LAYERS, tied}, add, &t);
    l2_put_u64(f.bytes + 8, t.n);
    put(&f, t.header.bytes, t.header.size);
    put_padding(&f, 32);
    put(&f, t.data.bytes, t.data.size);
    spill(path, f.bytes, f.size);
    free(f.bytes);
    free(t.header.bytes);
    free(t.data.bytes);
}

static llama2_status load(llama2_context *c, const char *path, int32_t weights, llama2_model **out)
{
    llama2_model_options o;
    llama2_model_options_init(&o, sizeof o);
    o.weights = weights;
    return llama2_model_load(c, path, &o, out);
}

static void load_both(llama2_context *c, const char *path, llama2_model *m[2])
{
    ck_ok(load(c, path, LLAMA2_WEIGHTS_CONVERTED, &m[0]));
    ck_ok(load(c, path, LLAMA2_WEIGHTS_AS_STORED, &m[1]));
}

static void free_both(llama2_model *m[2])
{
    llama2_model_free(m[0]);
    llama2_model_free(m[1]);
}

/* --- the same bits ---------------------------------------------------------------------------- */

static const int64_t offsets[] = {0, 1, 20, TOKENS};

static llama2_batch batch_of(int32_t *tokens, int32_t sequences)
{
    for (int t = 0; t < TOKENS; t++) tokens[t] = (t * t * 5 + 11 * t + 3) % VOCAB;
    return (llama2_batch){sizeof(llama2_batch), sequences, offsets[sequences], tokens, offsets, NULL};
}

/* Under a sanitizer or valgrind, where every access is checked. */
static int few(void)
{
    return getenv("LLAMA2_TEST_FEW") != NULL;
}

/* Batches of 1, 20 and 150 tokens. */
static void same_evaluation(llama2_model *m[2])
{
    enum { MOST = TOKENS * (DIM > VOCAB ? DIM : VOCAB) };
    int32_t tokens[TOKENS];
    float *out[2] = {malloc(MOST * sizeof(float)), malloc(MOST * sizeof(float))};
    for (int32_t sequences = 1; sequences <= 3; sequences++) {
        llama2_batch b = batch_of(tokens, sequences);
        llama2_loss loss[2] = {{.struct_size = sizeof *loss}, {.struct_size = sizeof *loss}};
        for (int i = 0; i < 2; i++) ck_ok(llama2_model_logits(m[i], &b, out[i]));
        ck_assert_mem_eq(out[0], out[1], (size_t)(b.n_tokens * VOCAB) * sizeof **out);
        if (few() && sequences != 2) continue;
        for (int i = 0; i < 2; i++) ck_ok(llama2_model_hidden(m[i], &b, out[i]));
        ck_assert_mem_eq(out[0], out[1], (size_t)(b.n_tokens * DIM) * sizeof **out);
        for (int i = 0; i < 2; i++) ck_ok(llama2_model_logprobs(m[i], &b, 0.7, out[i], out[i] + TOKENS));
        ck_assert_mem_eq(out[0], out[1], (size_t)b.n_tokens * sizeof **out);
        ck_assert_mem_eq(out[0] + TOKENS, out[1] + TOKENS, (size_t)b.n_tokens * sizeof **out);
        for (int i = 0; i < 2; i++) ck_ok(llama2_model_evaluate(m[i], &b, &loss[i]));
        ck_assert_mem_eq(&loss[0], &loss[1], sizeof *loss);
    }
    free(out[0]);
    free(out[1]);
}

/* A prompt of each length, then tokens one by one. */
static void same_text(llama2_model *m[2])
{
    int32_t tokens[TOKENS];
    batch_of(tokens, 3);
    for (int64_t prompt = 1; prompt < 110; prompt += few() ? 72 : 36) {
        llama2_session *s[2];
        llama2_sampling sampling;
        llama2_sampling_init(&sampling, sizeof sampling);
        for (int i = 0; i < 2; i++) {
            ck_ok(llama2_session_create(m[i], &s[i]));
            ck_ok(llama2_session_feed(s[i], tokens, prompt));
        }
        for (int n = 0; n < 8; n++) {
            float logits[2][VOCAB];
            int32_t id[2];
            float logprob[2];
            for (int i = 0; i < 2; i++) {
                ck_ok(llama2_session_logits(s[i], logits[i], VOCAB, NULL));
                ck_ok(llama2_session_sample(s[i], &sampling, &id[i], &logprob[i]));
            }
            ck_assert_mem_eq(logits[0], logits[1], sizeof logits[0]);
            ck_assert(id[0] == id[1] && memcmp(&logprob[0], &logprob[1], sizeof *logprob) == 0);
            for (int i = 0; i < 2; i++) ck_ok(llama2_session_feed(s[i], &id[i], 1));
        }
        llama2_session_free(s[0]);
        llama2_session_free(s[1]);
    }
}

START_TEST(test_bits_of_a_converted_model)
{
    for (int tied = 0; tied < 2; tied++) {
        write_file(at("m.gguf"), stored_types[_i], tied);
        for (int32_t threads = few() ? 2 : 1; threads <= (few() ? 2 : 3); threads++) {
            llama2_context *c;
            llama2_context_options o;
            llama2_context_options_init(&o, sizeof o);
            o.n_threads = threads;
            ck_ok(llama2_context_create(&o, &c));
            llama2_model *m[2];
            load_both(c, at("m.gguf"), m);
            llama2_context_free(c);
            ck_assert_int_eq(llama2_model_parameters(m[0]), llama2_model_parameters(m[1]));
            same_evaluation(m);
            same_text(m);
            free_both(m);
        }
    }
}
END_TEST

/* The matrices of a folder in shards of a few tensors. */
static void save_shards(llama2_model *m, const char *path, int32_t dtype)
{
    l2_st_entry entries[64];
    ck_ok(llama2_model_save(m, path, LLAMA2_F32));
    for (int32_t i = 0; i < m->n_params; i++) {
        const l2_param *p = &m->params[i];
        entries[i] = (l2_st_entry){.name = p->name,
                                   .dtype = dtype,
                                   .source = LLAMA2_F32,
                                   .n_dims = p->decay ? 2 : 1,
                                   .shape = {p->rows, p->columns},
                                   .data = (float *)m->weights + p->offset};
    }
    ck_ok(l2_hf_write(ctx, path, NULL, entries, (size_t)m->n_params, 600000));
}

START_TEST(test_folders)
{
    static const int32_t dtypes[] = {LLAMA2_F32, LLAMA2_BF16, LLAMA2_F16};
    llama2_model *from, *m[2];
    write_file(at("m.gguf"), L2_GGML_Q8_0, _i % 2);
    ck_ok(load(ctx, at("m.gguf"), LLAMA2_WEIGHTS_CONVERTED, &from));
    for (int i = 0; i < 3; i++) {
        save_shards(from, at("folder"), dtypes[i]);
        load_both(ctx, at("folder"), m);
        ck_assert_uint_gt(m[1]->n_files, 1);
        same_evaluation(m);
        same_text(m);
        free_both(m);
        ck_ok(l2_remove_tree(ctx, at("folder")));
    }
    save_shards(from, at("folder"), LLAMA2_F64);
    ck_fails(load(ctx, at("folder"), LLAMA2_WEIGHTS_AS_STORED, &m[1]), LLAMA2_E_UNSUPPORTED);
    ck_assert_ptr_nonnull(strstr(llama2_last_error(), "is F64"));
    llama2_model_free(from);
}
END_TEST

static void same_tensors(llama2_model *a, llama2_model *b)
{
    ck_assert_int_eq(llama2_model_tensors(a), llama2_model_tensors(b));
    for (int32_t i = 0; i < llama2_model_tensors(a); i++) {
        llama2_tensor_info info = {.struct_size = sizeof info};
        int64_t n;
        ck_ok(llama2_model_tensor_info(a, i, &info));
        ck_ok(llama2_model_get_tensor(b, info.name, NULL, 0, &n));
        ck_assert_int_eq(n, info.rows * info.columns);
        float *x = malloc((size_t)n * sizeof *x), *y = malloc((size_t)n * sizeof *y);
        ck_ok(llama2_model_get_tensor(a, info.name, x, n, NULL));
        ck_ok(llama2_model_get_tensor(b, info.name, y, n, NULL));
        ck_assert_mem_eq(x, y, (size_t)n * sizeof *x);
        free(x);
        free(y);
    }
}

/* llama2.c's file, and Meta's in one shard, whose rotary pairs lie side by side: the logits of the converted model. */
START_TEST(test_other_formats)
{
    enum { MOST = 64 * 256 };
    static const char *const names[] = {"fp32/llama2c.bin", "bf16/shards1"};
    static float logits[2][MOST];
    int32_t tokens[12];
    const int64_t ends[] = {0, 5, 12};
    char path[512];
    for (int i = 0; i < 4; i++) {
        llama2_model *m[2];
        llama2_config c = {.struct_size = sizeof c};
        snprintf(path, sizeof path, "%s/reference/meta/%s", LLAMA2_TEST_SOURCE, names[i % 2]);
        load_both(ctx, path, m);
        ck_assert_ptr_nonnull(m[1]->stored);
        ck_ok(llama2_model_config(m[0], &c));
        ck_assert_int_le(12 * c.vocab_size, MOST);
        for (int t = 0; t < 12; t++) tokens[t] = (t * 7 + i) % c.vocab_size;
        llama2_batch b = {.struct_size = sizeof b, .n_sequences = 2, .n_tokens = 12, .tokens = tokens, .offsets = ends};
        for (int k = 0; k < 2; k++) ck_ok(llama2_model_logits(m[k], &b, logits[k]));
        ck_assert_mem_eq(logits[0], logits[1], 12 * (size_t)c.vocab_size * sizeof **logits);
        same_tensors(m[0], m[1]);
        free_both(m);
    }
    llama2_model *none;
    snprintf(path, sizeof path, "%s/reference/meta/bf16/shards2", LLAMA2_TEST_SOURCE);
    ck_fails(load(ctx, path, LLAMA2_WEIGHTS_AS_STORED, &none), LLAMA2_E_UNSUPPORTED);
    ck_assert_ptr_nonnull(strstr(llama2_last_error(), "divided over 2 files"));
}
END_TEST

static int32_t read_host(void *user, uint64_t offset, uint64_t size, void *buffer)
{
    memcpy(buffer, (const unsigned char *)user + offset, size);
    return 0;
}

/* The host's memory, and what a callback reads from it. */
START_TEST(test_files_of_the_host)
{
    enum { MOST = 4 << 20 };
    unsigned char *bytes = malloc(MOST);
    write_file(at("m.gguf"), L2_GGML_Q4_1, 1);
    llama2_host_file file = {.struct_size = sizeof file, .size = slurp(at("m.gguf"), bytes, MOST)};
    for (int callback = 0; callback < 2; callback++) {
        llama2_model *m[2];
        llama2_model_options o;
        llama2_model_options_init(&o, sizeof o);
        o.weights = LLAMA2_WEIGHTS_AS_STORED;
        file.data = callback ? NULL : bytes;
        file.read = callback ? read_host : NULL;
        file.user = bytes;
        ck_ok(load(ctx, at("m.gguf"), LLAMA2_WEIGHTS_CONVERTED, &m[0]));
        ck_ok(llama2_model_load_host(ctx, &file, &o, &m[1]));
        same_evaluation(m);
        free_both(m);
    }
    free(bytes);
}
END_TEST

/* --- tensors, copies, files ------------------------------------------------------------------- */

START_TEST(test_copies)
{
    llama2_model *m[2], *clone, *saved, *wide, *narrow;
    llama2_model_options o;
    llama2_config config = {.struct_size = sizeof config};
    write_file(at("m.gguf"), L2_GGML_Q5_K, 0);
    load_both(ctx, at("m.gguf"), m);
    same_tensors(m[0], m[1]);
    const int32_t eos[] = {5, 6};
    llama2_model *first;
    ck_ok(llama2_model_set_eos_ids(m[1], eos, 2));
    ck_ok(llama2_model_clone(m[1], &first));
    ck_ok(llama2_model_clone(first, &clone));
    ck_ok(llama2_model_set_eos_ids(m[1], eos, 1));
    ck_assert(llama2_model_is_eos(clone, 6) && !llama2_model_is_eos(m[1], 6));
    llama2_model_free(first);

    ck_ok(llama2_model_save(m[1], at("saved"), LLAMA2_F32));
    ck_ok(load(ctx, at("saved"), LLAMA2_WEIGHTS_CONVERTED, &saved));
    same_tensors(m[0], saved);

    ck_ok(llama2_model_config(m[1], &config));
    llama2_model_options_init(&o, sizeof o);
    ck_ok(llama2_model_create(ctx, &config, &o, &narrow));
    o.dtype = LLAMA2_F64;
    ck_ok(llama2_model_create(ctx, &config, &o, &wide));
    ck_ok(llama2_model_copy_weights(narrow, m[1]));
    ck_ok(llama2_model_copy_weights(wide, m[1]));
    same_tensors(narrow, m[1]);
    same_tensors(wide, m[1]);

    /* The file's name may go, and the other references. */
    ck_ok(l2_remove_tree(ctx, at("m.gguf")));
    llama2_model_free(m[1]);
    m[1] = clone;
    same_evaluation(m);
    free_both(m);
    llama2_model_free(saved);
    llama2_model_free(narrow);
    llama2_model_free(wide);
}
END_TEST

START_TEST(test_reward_models)
{
    int32_t tokens[TOKENS];
    float scores[3][3];
    llama2_model *m[2];
    llama2_reward_model *r[3];
    llama2_model_options o;
    llama2_batch b = batch_of(tokens, 3);
    write_file(at("m.gguf"), L2_GGML_Q6_K, 0);
    load_both(ctx, at("m.gguf"), m);
    for (int i = 0; i < 2; i++) ck_ok(llama2_reward_model_create(ctx, m[i], NULL, &r[i]));
    ck_ok(llama2_reward_model_save(r[0], at("reward"), LLAMA2_F32));
    llama2_model_options_init(&o, sizeof o);
    o.weights = LLAMA2_WEIGHTS_AS_STORED;
    ck_ok(llama2_reward_model_load(ctx, at("reward"), &o, &r[2]));
    for (int i = 0; i < 3; i++) ck_ok(llama2_reward_model_score(r[i], &b, scores[i]));
    ck_assert_mem_eq(scores[0], scores[1], sizeof *scores);
    ck_assert_mem_eq(scores[0], scores[2], sizeof *scores);
    for (int i = 0; i < 3; i++) llama2_reward_model_free(r[i]);
    free_both(m);
}
END_TEST

/* --- what is refused --------------------------------------------------------------------------- */

START_TEST(test_nothing_changes_it)
{
    llama2_model *m[2], *none;
    llama2_optimizer *adamw;
    llama2_trainer *trainer;
    llama2_model_options o;
    llama2_config config = {.struct_size = sizeof config};
    float gain[DIM] = {0};
    write_file(at("m.gguf"), L2_GGML_Q4_0, 1);
    load_both(ctx, at("m.gguf"), m);
    ck_fails(llama2_model_set_tensor(m[1], "model.norm.weight", gain, DIM), LLAMA2_E_UNSUPPORTED);
    ck_fails(llama2_model_copy_weights(m[1], m[0]), LLAMA2_E_UNSUPPORTED);
    ck_ok(llama2_optimizer_create(ctx, NULL, &adamw));
    size_t before = memory.peak = memory.bytes;
    ck_fails(llama2_trainer_create(ctx, m[1], adamw, NULL, &trainer), LLAMA2_E_UNSUPPORTED);
    ck_assert_ptr_nonnull(strstr(llama2_last_error(), "LLAMA2_WEIGHTS_CONVERTED"));
    ck_assert_uint_lt(memory.peak - before, 4096);
    ck_ok(llama2_trainer_create(ctx, m[0], adamw, NULL, &trainer)); /* the optimizer is free still */
    llama2_trainer_free(trainer);
    llama2_optimizer_free(adamw);
    same_evaluation(m);

    llama2_model_options_init(&o, sizeof o);
    o.weights = LLAMA2_WEIGHTS_AS_STORED;
    ck_ok(llama2_model_config(m[0], &config));
    ck_fails(llama2_model_create(ctx, &config, &o, &none), LLAMA2_E_INVALID);
    o.dtype = LLAMA2_F64;
    ck_fails(llama2_model_load(ctx, at("m.gguf"), &o, &none), LLAMA2_E_INVALID);
    ck_fails(load(ctx, at("m.gguf"), 2, &none), LLAMA2_E_INVALID);
    ck_assert_ptr_null(none);
    free_both(m);
}
END_TEST

START_TEST(test_memory)
{
    llama2_model *m;
    write_file(at("m.gguf"), L2_GGML_Q4_0, 0);
    size_t before = memory.peak = memory.bytes;
    ck_ok(load(ctx, at("m.gguf"), LLAMA2_WEIGHTS_AS_STORED, &m));
    ck_assert_int_gt(4 * llama2_model_parameters(m), 4800000); /* that many bytes in fp32 */
    ck_assert_uint_lt(memory.peak - before, 300000);
    llama2_model_free(m);
}
END_TEST

/* A file that was cut is found out when it is opened, and not when its pages are missing. */
START_TEST(test_truncated)
{
    enum { MOST = 4 << 20 };
    unsigned char *bytes = malloc(MOST);
    llama2_model *none;
    write_file(at("m.gguf"), L2_GGML_Q4_K, 0);
    size_t size = slurp(at("m.gguf"), bytes, MOST);
    ck_assert_uint_lt(size, MOST);
    long live = memory.live;
    for (int i = 1; i <= 40; i++) {
        spill(at("cut.gguf"), bytes, i == 1 ? size - 64 : size - size * (size_t)i / 41);
        ck_fails(load(ctx, at("cut.gguf"), LLAMA2_WEIGHTS_AS_STORED, &none), LLAMA2_E_TRUNCATED);
        ck_assert_int_eq(memory.live, live);
    }
    free(bytes);
}
END_TEST

START_TEST(test_each_failure)
{
    write_file(at("m.gguf"), L2_GGML_Q8_0, 0);
    llama2_model *from;
    ck_ok(load(ctx, at("m.gguf"), LLAMA2_WEIGHTS_CONVERTED, &from));
    save_shards(from, at("folder"), LLAMA2_BF16);
    llama2_model_free(from);
    for (int mode = 0; mode < 8; mode++) {
        const char *path = mode / 4 ? at("folder") : at("m.gguf");
        int done = 0;
        for (long n = 0; !done; n++) {
            llama2_model *m;
            long live = memory.live;
            memory.calls = disk.calls = 0;
            memory.for_ever = disk.for_ever = mode % 2;
            *(mode / 2 % 2 ? &memory.fail_at : &disk.fail_at) = n;
            llama2_status status = load(ctx, path, LLAMA2_WEIGHTS_AS_STORED, &m);
            done = mode / 2 % 2 ? memory.calls <= n : disk.calls <= n;
            memory.fail_at = disk.fail_at = -1;
            if (done) ck_ok(status);
            ck_assert(status == LLAMA2_OK || (!m && (status == LLAMA2_E_NOMEM || status == LLAMA2_E_IO)));
            llama2_model_free(m);
            ck_assert_int_eq(memory.live, live);
        }
    }
}
END_TEST

Suite *test_suite(void)
{
    Suite *suite = suite_create("model/as_stored");
    TCase *c = tcase_create("as stored");
    tcase_add_checked_fixture(c, setup, teardown);
    tcase_set_timeout(c, 120);
    tcase_add_loop_test(c, test_bits_of_a_converted_model, 0, N_STORED_TYPES);
    tcase_add_loop_test(c, test_folders, 0, 2);
    tcase_add_test(c, test_other_formats);
    tcase_add_test(c, test_files_of_the_host);
    tcase_add_test(c, test_copies);
    tcase_add_test(c, test_reward_models);
    tcase_add_test(c, test_nothing_changes_it);
    tcase_add_test(c, test_memory);
    tcase_add_test(c, test_truncated);
    tcase_add_test(c, test_each_failure);
    suite_add_tcase(suite, c);
    return suite;
}
