/* Models in Hugging Face folders: what is saved is what is read, and what does not fit is refused by its name. */
#include "train/train_test.h"

#include "format/faults.h"
#include "format/safetensors.h"
#include "math/half.h"
#include "model/model.h"

typedef struct fixture {
    llama2_context *ctx;
    char folder[64], path[96];
} fixture;

static void set_up(fixture *f)
{
    f->ctx = small_context(2, LLAMA2_ISA_AUTO);
    snprintf(f->path, sizeof f->path, "%s/model", scratch_folder(f->folder));
}

static void tear_down(fixture *f)
{
    ck_ok(l2_remove_tree(f->ctx, f->folder));
    llama2_context_free(f->ctx);
}

static float through_half(float x, int32_t dtype)
{
    return dtype == LLAMA2_BF16  ? l2_f32_from_bf16(l2_bf16_from_f32(x))
           : dtype == LLAMA2_F16 ? l2_f32_from_f16(l2_f16_from_f32(x))
                                 : x;
}

static void check_round_trip(int32_t tied, int32_t dtype)
{
    fixture f;
    llama2_model *again, *wide;
    llama2_model_options o;
    set_up(&f);
    llama2_model *m = small_model(f.ctx, tied, LLAMA2_F32);
    ck_ok(llama2_model_save(m, f.path, dtype));
    ck_ok(llama2_model_load(f.ctx, f.path, NULL, &again));
    llama2_config a = {.struct_size = sizeof a}, b = a;
    ck_ok(llama2_model_config(m, &a));
    ck_ok(llama2_model_config(again, &b));
    ck_assert_mem_eq(&a, &b, sizeof a);
    int64_t n, n2;
    float *before = all_weights(m, &n), *after = all_weights(again, &n2);
    ck_assert_int_eq(n, n2);
    for (int64_t i = 0; i < n; i++) ck_assert(after[i] == through_half(before[i], dtype));
    /* In double: the same numbers. And on top of an older save of another kind. */
    llama2_model_options_init(&o, sizeof o);
    o.dtype = LLAMA2_F64;
    ck_ok(llama2_model_load(f.ctx, f.path, &o, &wide));
    ck_assert(same_weights(again, wide));
    ck_ok(llama2_model_save(wide, f.path, LLAMA2_F32));
    llama2_model_free(again);
    ck_ok(llama2_model_load(f.ctx, f.path, NULL, &again));
    ck_assert(same_weights(again, wide));
    free(before);
    free(after);
    llama2_model_free(wide);
    llama2_model_free(again);
    llama2_model_free(m);
    tear_down(&f);
}

START_TEST(what_is_saved_is_what_is_read)
{
    for (int32_t tied = 0; tied < 2; tied++) {
        check_round_trip(tied, LLAMA2_F32);
        check_round_trip(tied, LLAMA2_BF16);
        check_round_trip(tied, LLAMA2_F16);
    }
}
END_TEST

START_TEST(reward_models_and_language_models_are_told_apart)
{
    fixture f;
    llama2_reward_model *reward;
    llama2_model *none = (llama2_model *)&f;
    set_up(&f);
    llama2_model *m = small_model(f.ctx, 0, LLAMA2_F32);
    ck_ok(llama2_reward_model_create(f.ctx, m, NULL, &reward));
    ck_ok(llama2_reward_model_set_normalisation(reward, 0.25, 3));
    ck_ok(llama2_reward_model_save(reward, f.path, LLAMA2_F32));
    ck_fails(llama2_model_load(f.ctx, f.path, NULL, &none), LLAMA2_E_MISMATCH);
    ck_assert_ptr_null(none);
    ck_assert_ptr_nonnull(strstr(llama2_last_error(), "reward model"));
    llama2_reward_model_free(reward);
    double shift, scale;
    ck_ok(llama2_reward_model_load(f.ctx, f.path, NULL, &reward));
    ck_ok(llama2_reward_model_normalisation(reward, &shift, &scale));
    ck_assert(shift == 0.25 && scale == 3);
    llama2_reward_model_free(reward);
    ck_ok(llama2_model_save(m, f.path, LLAMA2_F32));
    ck_fails(llama2_reward_model_load(f.ctx, f.path, NULL, &reward), LLAMA2_E_MISMATCH);
    ck_assert_ptr_null(reward);
    llama2_model_free(m);
    tear_down(&f);
}
END_TEST

/* Writes the model's tensors over the saved ones; entry `changed` is what the test made of it, `more` is one that the
 * model has not. */
static void write_weights(const fixture *f, const llama2_model *m, int32_t changed, const l2_st_entry *with,
                          const l2_st_entry *more)
{
    l2_st_entry entries[32];
    size_t n = 0;
    char path[128];
    for (int32_t i = 0; i < m->n_params; i++) {
        const l2_param *p = &m->params[i];
        if (i == changed) {
            if (with) entries[n++] = *with;
            continue;
        }
        entries[n++] = (l2_st_entry){.name = p->name,
                                     .n_dims = p->decay ? 2 : 1,
                                     .shape = {p->rows, p->columns},
                                     .data = (float *)m->weights + p->offset};
    }
    if (more) entries[n++] = *more;
    snprintf(path, sizeof path, "%s/model.safetensors", f->path);
    ck_ok(l2_safetensors_write(f->ctx, path, entries, n, NULL));
}

static void check_refused(const fixture *f, llama2_status code, const char *word)
{
    llama2_model *none = (llama2_model *)(uintptr_t)f;
    ck_fails(llama2_model_load(f->ctx, f->path, NULL, &none), code);
    ck_assert_ptr_null(none);
    ck_assert_msg(strstr(llama2_last_error(), word) && strstr(llama2_last_error(), f->path), "%s", llama2_last_error());
}

START_TEST(tensors_that_do_not_fit_are_refused)
{
    fixture f;
    set_up(&f);
    llama2_model *m = small_model(f.ctx, 0, LLAMA2_F32), *ok;
    ck_ok(llama2_model_save(m, f.path, LLAMA2_F32));
    static const float zeros[64 * 64];
    const l2_param *p = &m->params[3];
    write_weights(&f, m, 3, NULL, NULL);
    check_refused(&f, LLAMA2_E_NOT_FOUND, p->name);
    l2_st_entry e = {.name = p->name, .n_dims = 2, .shape = {p->columns, p->rows}, .data = zeros}; /* transposed */
    ck_assert_int_ne(p->rows, p->columns);
    write_weights(&f, m, 3, &e, NULL);
    check_refused(&f, LLAMA2_E_MISMATCH, p->name);
    e = (l2_st_entry){.name = p->name, .n_dims = 1, .shape = {p->rows * p->columns}, .data = zeros};
    write_weights(&f, m, 3, &e, NULL);
    check_refused(&f, LLAMA2_E_MISMATCH, p->name);
    int32_t gain = m->n_params - 2; /* the last norm; then the head */
    e = (l2_st_entry){.name = m->params[gain].name, .n_dims = 2, .shape = {24, 1}, .data = zeros};
    write_weights(&f, m, gain, &e, NULL);
    check_refused(&f, LLAMA2_E_MISMATCH, "model.norm.weight");
    e = (l2_st_entry){.name = "model.layers.0.self_attn.q_proj.bias", .n_dims = 1, .shape = {40}, .data = zeros};
    write_weights(&f, m, -1, NULL, &e);
    check_refused(&f, LLAMA2_E_UNSUPPORTED, "q_proj.bias");
    e = (l2_st_entry){.name = "model.layers.1.self_attn.rotary_emb.inv_freq",
                      .n_dims = 1,
                      .shape = {5},
                      .data = zeros}; /* of old exports */
    write_weights(&f, m, -1, NULL, &e);
    ck_ok(llama2_model_load(f.ctx, f.path, NULL, &ok));
    ck_assert(same_weights(m, ok));
    llama2_model_free(ok);
    llama2_model_free(m);
    tear_down(&f);
}
END_TEST

START_TEST(folders_that_are_none)
{
    fixture f;
    set_up(&f);
    llama2_model *m = small_model(f.ctx, 1, LLAMA2_F32);
    check_refused(&f, LLAMA2_E_NOT_FOUND, "config.json");
    ck_fails(llama2_model_save(m, f.path, LLAMA2_F64), LLAMA2_E_INVALID);
    ck_fails(llama2_model_save(m, f.path, 17), LLAMA2_E_INVALID);
    ck_assert_int_eq(l2_path_kind(f.path), 0); /* nothing was made */
    ck_ok(llama2_model_save(m, f.path, LLAMA2_F32));
    char file[128];
    snprintf(file, sizeof file, "%s/model.safetensors", f.path);
    ck_ok(l2_remove_tree(f.ctx, file));
    check_refused(&f, LLAMA2_E_NOT_FOUND, "model.safetensors");
    snprintf(file, sizeof file, "%s/config.json", f.path);
    ck_fails(llama2_model_save(m, file, LLAMA2_F32), LLAMA2_E_IO);
    llama2_model_free(m);
    tear_down(&f);
}
END_TEST

/* Sizes that config.json gives, with weights that are not there, and what is said. */
static const struct {
    const char *sizes;
    llama2_status code;
    const char *message;
} sizes[] = {
    {"\"vocab_size\":32000,\"hidden_size\":8192,\"num_hidden_layers\":80,\"num_attention_heads\":64,"
     "\"intermediate_size\":28672",
     LLAMA2_E_NOT_FOUND, "tensor \"model.embed_tokens.weight\" is missing"},
    {"\"vocab_size\":20000000,\"hidden_size\":16,\"num_hidden_layers\":2,\"num_attention_heads\":4,"
     "\"intermediate_size\":24",
     LLAMA2_E_LIMIT, "config.json: config: vocab_size is 20000000"},
    {"\"vocab_size\":32,\"hidden_size\":16,\"num_hidden_layers\":2,\"num_attention_heads\":4,"
     "\"intermediate_size\":24,\"max_position_embeddings\":1000000000",
     LLAMA2_E_LIMIT, "max_seq_len is 1000000000"},
};

/* Nothing is allocated for a model before its tensors have been found. */
START_TEST(sizes_alone_take_no_memory)
{
    char text[512];
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        llama2_model *none;
        snprintf(text, sizeof text, "{\"model_type\":\"llama\",%s}", sizes[i].sizes);
        spill_text(at("config.json"), text);
        spill(at("model.safetensors"), "\2\0\0\0\0\0\0\0{}", 10);
        size_t before = memory.peak = memory.bytes;
        ck_fails(llama2_model_load(ctx, folder, NULL, &none), sizes[i].code);
        ck_assert_msg(strstr(llama2_last_error(), sizes[i].message), "%s", llama2_last_error());
        ck_assert_uint_le(memory.peak - before, 1 << 20);
    }
}
END_TEST

static void *map_and_cancel(void *to, size_t length, int protection, int flags, int fd, off_t offset)
{
    llama2_context_cancel(ctx);
    return l2_posix_files.mmap(to, length, protection, flags, fd, offset);
}

/* As soon as the weights are looked at somebody has enough, whatever the format. */
START_TEST(loading_can_be_cancelled)
{
    static const char *const models[] = {"meta/fp32/source", "meta/fp32/shards4", "meta/fp32/llama2c.bin",
                                         "gguf/gqa_untied.gguf"};
    failing_files.mmap = map_and_cancel;
    for (size_t i = 0; i < sizeof models / sizeof *models; i++) {
        char path[512];
        llama2_model *m = (llama2_model *)&m;
        snprintf(path, sizeof path, "%s/reference/%s", LLAMA2_TEST_SOURCE, models[i]);
        long live = memory.live;
        ck_fails(llama2_model_load(ctx, path, NULL, &m), LLAMA2_E_CANCELLED);
        ck_assert_ptr_null(m);
        llama2_context_resume(ctx);
        ck_assert_int_le(memory.live, live + 8); /* scratch that is kept */
    }
}
END_TEST

START_TEST(creating_can_be_cancelled)
{
    canceller c;
    llama2_config config;
    llama2_context *created = cancelling_context(&c);
    llama2_config_init(&config, sizeof config);
    config.vocab_size = 512, config.dim = 256, config.n_layers = 2, config.n_heads = config.n_kv_heads = 2;
    config.ffn_dim = 512;
    for (int job = 1; job <= 3; job++) {
        llama2_model *m = (llama2_model *)&m;
        cancel_at(&c, job);
        ck_fails(llama2_model_create(created, &config, NULL, &m), LLAMA2_E_CANCELLED);
        ck_assert_ptr_null(m);
        ck_assert_int_eq(c.jobs, job);
        llama2_context_resume(created);
        ck_ok(llama2_model_create(created, &config, NULL, &m));
        llama2_model_free(m);
    }
    llama2_context_free(created);
}
END_TEST

Suite *test_suite(void)
{
    Suite *s = suite_create("model/io");
    TCase *c = tcase_create("memory");
    tcase_add_checked_fixture(c, setup, teardown);
    tcase_add_test(c, sizes_alone_take_no_memory);
    tcase_add_test(c, loading_can_be_cancelled);
    tcase_add_test(c, creating_can_be_cancelled);
    suite_add_tcase(s, c);
    ADD_CASE(s, "folders", what_is_saved_is_what_is_read, reward_models_and_language_models_are_told_apart,
             tensors_that_do_not_fit_are_refused, folders_that_are_none);
    return s;
}
