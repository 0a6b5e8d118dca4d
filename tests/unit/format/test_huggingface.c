#include "format/huggingface.h"
#include "faults.h"

#define SIZES                                                                                                          \
    "\"vocab_size\":32,\"hidden_size\":16,\"num_hidden_layers\":2,\"num_attention_heads\":4,\"intermediate_size\":24"
#define LLAMA   "\"model_type\":\"llama\","
#define MISTRAL "\"model_type\":\"mistral\","

static const struct {
    const char *text;
    llama2_status code;
    const char *message;
} bad_configs[] = {
    {"", LLAMA2_E_TRUNCATED, ""},
    {"[]", LLAMA2_E_FORMAT, ""},
    {"{" LLAMA SIZES "} x", LLAMA2_E_FORMAT, ""},
    {"{" SIZES "}", LLAMA2_E_FORMAT, "model_type"},
    {"{" LLAMA "\"vocab_size\":32}", LLAMA2_E_FORMAT, "lacks \"hidden_size\""},
    {"{\"model_type\":\"mixtral\"," SIZES "}", LLAMA2_E_UNSUPPORTED, "\"mixtral\" is not supported"},
    {"{\"model_type\":\"qwen2\"," SIZES "}", LLAMA2_E_UNSUPPORTED, "\"qwen2\" is not supported"},
    {"{" MISTRAL SIZES ",\"num_key_value_heads\":2}", LLAMA2_E_UNSUPPORTED, "\"sliding_window\": 4096"},
    {"{" MISTRAL SIZES ",\"num_key_value_heads\":2,\"sliding_window\":2047,\"max_position_embeddings\":2048}",
     LLAMA2_E_UNSUPPORTED, "\"sliding_window\": 2047"},
    {"{" MISTRAL SIZES ",\"sliding_window\":null}", LLAMA2_E_FORMAT, "num_key_value_heads 8"},
    {"{\"architectures\":[\"GPT2LMHeadModel\"]," SIZES "}", LLAMA2_E_UNSUPPORTED, "GPT2LMHeadModel"},
    {"{" LLAMA SIZES ",\"hidden_act\":\"gelu\"}", LLAMA2_E_UNSUPPORTED, "\"hidden_act\": \"gelu\""},
    {"{" LLAMA SIZES ",\"attention_bias\":true}", LLAMA2_E_UNSUPPORTED, "attention_bias"},
    {"{" LLAMA SIZES ",\"mlp_bias\":true}", LLAMA2_E_UNSUPPORTED, "mlp_bias"},
    {"{" LLAMA SIZES ",\"sliding_window\":2047}", LLAMA2_E_UNSUPPORTED, "sliding_window"},
    {"{" LLAMA SIZES ",\"quantization_config\":{\"bits\":4}}", LLAMA2_E_UNSUPPORTED, "quantization_config"},
    {"{" LLAMA SIZES ",\"sliding_window\":\"4\"}", LLAMA2_E_FORMAT, "sliding_window"},
    {"{" LLAMA SIZES ",\"num_local_experts\":8}", LLAMA2_E_UNSUPPORTED, "one of 8"},
    {"{" LLAMA SIZES ",\"rope_scaling\":{\"type\":\"dynamic\",\"factor\":2.0}}", LLAMA2_E_UNSUPPORTED,
     "rope_type \"dynamic\""},
    {"{" LLAMA SIZES ",\"rope_scaling\":{\"beta_fast\":32,\"rope_type\":\"yarn\",\"factor\":2.0}}",
     LLAMA2_E_UNSUPPORTED, "rope_type \"yarn\""},
    {"{" LLAMA SIZES ",\"rope_parameters\":{\"rope_type\":\"longrope\",\"short_factor\":[1,1]}}", LLAMA2_E_UNSUPPORTED,
     "rope_type \"longrope\""},
    {"{" LLAMA SIZES ",\"rope_parameters\":{\"full_attention\":{\"rope_type\":\"default\"}}}", LLAMA2_E_UNSUPPORTED,
     "\"full_attention\""},
    {"{" LLAMA SIZES ",\"rope_parameters\":{\"rope_type\":\"default\",\"partial_rotary_factor\":0.5}}",
     LLAMA2_E_UNSUPPORTED, "partial_rotary_factor 0.5"},
    {"{" LLAMA SIZES ",\"llama2_score_scale\":0}", LLAMA2_E_FORMAT, "llama2_score_scale is 0"},
    {"{" LLAMA SIZES ",\"llama2_score_scale\":-1}", LLAMA2_E_FORMAT, "llama2_score_scale is -1"},
    {"{" LLAMA SIZES ",\"rope_scaling\":{\"factor\":2.0}}", LLAMA2_E_FORMAT, "no rope_type"},
    {"{" LLAMA SIZES ",\"rope_scaling\":{\"type\":\"linear\"}}", LLAMA2_E_FORMAT, "factor of rope_type \"linear\""},
    {"{" LLAMA SIZES ",\"rope_scaling\":{\"type\":\"linear\",\"factor\":-1}}", LLAMA2_E_FORMAT, "is -1"},
    {"{" LLAMA SIZES ",\"rope_scaling\":{\"rope_type\":\"llama3\",\"factor\":8,\"high_freq_factor\":4,"
     "\"original_max_position_embeddings\":32}}",
     LLAMA2_E_FORMAT, "low_freq_factor is 0"},
    {"{" LLAMA SIZES ",\"rope_scaling\":{\"rope_type\":\"llama3\",\"factor\":8,\"low_freq_factor\":4,"
     "\"high_freq_factor\":1,\"original_max_position_embeddings\":32}}",
     LLAMA2_E_FORMAT, "high_freq_factor 1"},
    {"{" LLAMA SIZES ",\"rope_scaling\":{\"rope_type\":\"llama3\",\"factor\":8,\"low_freq_factor\":1,"
     "\"high_freq_factor\":4,\"original_max_position_embeddings\":-1}}",
     LLAMA2_E_FORMAT, "original_max_position_embeddings is -1"},
    {"{" LLAMA SIZES ",\"rope_parameters\":{\"rope_theta\":-1}}", LLAMA2_E_FORMAT, "rope_theta is -1"},
    {"{" LLAMA SIZES ",\"partial_rotary_factor\":0.5}", LLAMA2_E_UNSUPPORTED, "partial_rotary_factor"},
    {"{\"architectures\":[\"LlamaForSequenceClassification\"]," SIZES ",\"id2label\":{\"0\":\"a\",\"1\":\"b\"}}",
     LLAMA2_E_UNSUPPORTED, "one label"},
    {"{" LLAMA SIZES ",\"vocab_size\":33}", LLAMA2_E_FORMAT, "\"vocab_size\" stands twice"},
    {"{" LLAMA SIZES ",\"num_key_value_heads\":3}", LLAMA2_E_FORMAT, "not a multiple"},
    {"{" LLAMA SIZES ",\"num_key_value_heads\":0}", LLAMA2_E_FORMAT, "num_key_value_heads is 0"},
    {"{" LLAMA SIZES ",\"num_key_value_heads\":-4}", LLAMA2_E_FORMAT, "num_key_value_heads"},
    {"{" LLAMA SIZES ",\"head_dim\":3}", LLAMA2_E_FORMAT, "odd"},
    {"{" LLAMA SIZES ",\"head_dim\":\"8\"}", LLAMA2_E_FORMAT, "\"head_dim\""},
    {"{" LLAMA SIZES ",\"rms_norm_eps\":0}", LLAMA2_E_FORMAT, "rms_norm_eps"},
    {"{" LLAMA SIZES ",\"rms_norm_eps\":-1e-5}", LLAMA2_E_FORMAT, "rms_norm_eps"},
    {"{" LLAMA SIZES ",\"rms_norm_eps\":NaN}", LLAMA2_E_FORMAT, ""},
    {"{" LLAMA SIZES ",\"rope_theta\":0}", LLAMA2_E_FORMAT, "rope_theta"},
    {"{" LLAMA SIZES ",\"bos_token_id\":32}", LLAMA2_E_FORMAT, "bos_token_id is 32"},
    {"{" LLAMA SIZES ",\"eos_token_id\":[2,32]}", LLAMA2_E_FORMAT, "eos_token_id is 32"},
    {"{" LLAMA SIZES ",\"eos_token_id\":[1,2,3,4,5,6,7,8,9]}", LLAMA2_E_LIMIT, "eos_token_id"},
    {"{" LLAMA SIZES ",\"max_position_embeddings\":4294967296}", LLAMA2_E_LIMIT, "max_position_embeddings"},
    {"{" LLAMA
     "\"vocab_size\":32,\"hidden_size\":16,\"num_hidden_layers\":2,\"num_attention_heads\":0,\"intermediate_size\":24}",
     LLAMA2_E_FORMAT, ""},
    {"{" LLAMA
     "\"vocab_size\":32,\"hidden_size\":17,\"num_hidden_layers\":2,\"num_attention_heads\":4,\"intermediate_size\":24}",
     LLAMA2_E_FORMAT, "not a multiple"},
    {"{" LLAMA "\"vocab_size\":32,\"hidden_size\":16,\"num_hidden_layers\":100000,\"num_attention_heads\":4,"
     "\"intermediate_size\":24}",
     LLAMA2_E_LIMIT, "num_hidden_layers"},
    {"{" LLAMA "\"vocab_size\":2147483647,\"hidden_size\":2147483644,\"num_hidden_layers\":2,\"num_attention_heads\":2,"
     "\"intermediate_size\":2147483647}",
     LLAMA2_E_LIMIT, "parameters"},
};

START_TEST(test_bad_configs)
{
    l2_hf_config config = {.vocab_size = -7};
    llama2_status status =
        l2_hf_config_parse(bad_configs[_i].text, strlen(bad_configs[_i].text), "config.json", &config);
    ck_assert_msg(status == bad_configs[_i].code, "%s: %s: %s", bad_configs[_i].text, llama2_status_name(status),
                  llama2_last_error());
    ck_assert_msg(strstr(llama2_last_error(), bad_configs[_i].message), "%s: %s", bad_configs[_i].text,
                  llama2_last_error());
    ck_assert_int_eq(config.vocab_size, -7);
}
END_TEST

START_TEST(test_defaults)
{
    static const char text[] =
        "{" LLAMA SIZES
        ",\"rope_parameters\":{\"rope_type\":\"default\",\"rope_theta\":5e5},\"rope_scaling\":null,\"head_dim\":null,"
        "\"eos_token_id\":[2,3],\"pad_token_id\":-1,\"dtype\":\"bfloat16\",\"unknown\":{\"deep\":[1]}}";
    l2_hf_config c;
    ck_ok(l2_hf_config_parse(text, sizeof text - 1, "config.json", &c));
    ck_assert_int_eq(c.num_key_value_heads, 4);
    ck_assert_int_eq(c.head_dim, 4);
    ck_assert(c.rope.theta == 5e5 && c.rms_norm_eps == 1e-6 && c.initializer_range == 0.02);
    ck_assert(c.n_eos == 2 && c.eos_ids[1] == 3 && c.bos_id == -1 && c.pad_id == -1 && c.dtype == LLAMA2_BF16);
    ck_assert(c.max_position_embeddings == 2048 && !c.tie_word_embeddings && !c.sequence_classification);
    for (size_t n = 0; n < sizeof text - 1; n++) ck_assert_int_lt(l2_hf_config_parse(text, n, "config.json", &c), 0);
}
END_TEST

/* The forms in which transformers has written scaling, and which one goes first. */
START_TEST(test_rope_forms)
{
#define LLAMA3                                                                                                         \
    "\"factor\":8.0,\"low_freq_factor\":1.5,\"high_freq_factor\":4.0,\"original_max_position_embeddings\":8192"
    static const struct {
        const char *text;
        l2_hf_rope rope;
    } forms[] = {
        {"\"rope_scaling\":{\"type\":\"linear\",\"factor\":2.5}", {1e4, 2.5, 0, 0, 0, 1}},
        {"\"rope_theta\":5,\"rope_scaling\":{\"rope_type\":\"linear\",\"factor\":4}", {5, 4, 0, 0, 0, 1}},
        {"\"rope_scaling\":{\"rope_type\":\"llama3\",\"type\":\"x\"," LLAMA3 "},\"rope_theta\":5e5",
         {5e5, 8, 1.5, 4, 8192, 2}},
        {"\"rope_parameters\":{" LLAMA3 ",\"rope_type\":\"llama3\",\"rope_theta\":7}", {7, 8, 1.5, 4, 8192, 2}},
        {"\"rope_theta\":5,\"rope_scaling\":{\"type\":\"linear\",\"factor\":4},"
         "\"rope_parameters\":{\"rope_type\":\"default\",\"rope_theta\":7}",
         {5, 4, 0, 0, 0, 1}},
        {"\"rope_theta\":5,\"rope_parameters\":{\"rope_type\":\"default\",\"rope_theta\":7,\"factor\":null}",
         {7, 0, 0, 0, 0, 0}},
        {"\"rope_parameters\":{\"rope_type\":\"default\",\"partial_rotary_factor\":1.0," LLAMA3 "}",
         {1e4, 0, 0, 0, 0, 0}},
    };
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
        char text[1024];
        l2_hf_config c;
        int n = snprintf(text, sizeof text, "{" LLAMA SIZES ",%s}", forms[i].text);
        ck_ok(l2_hf_config_parse(text, (size_t)n, "config.json", &c));
        ck_assert_msg(memcmp(&c.rope, &forms[i].rope, sizeof c.rope) == 0, "%s", forms[i].text);
    }
}
END_TEST

START_TEST(test_mistral)
{
    static const char *const fine[] = {
        ",\"num_key_value_heads\":2,\"sliding_window\":null", ",\"num_key_value_heads\":null,\"sliding_window\":131072",
        ",\"num_key_value_heads\":2,\"max_position_embeddings\":4096", /* its window is 4096 then */
        ",\"num_key_value_heads\":2,\"architectures\":[\"MistralForCausalLM\"],\"sliding_window\":null"};
    for (size_t i = 0; i < sizeof fine / sizeof *fine; i++) {
        char text[1024];
        l2_hf_config c;
        int n = snprintf(text, sizeof text, "{" MISTRAL SIZES "%s}", fine[i]);
        ck_ok(l2_hf_config_parse(text, (size_t)n, "config.json", &c));
        ck_assert_int_eq(c.num_key_value_heads, i == 1 ? 4 : 2);
        ck_assert_int_eq(c.max_position_embeddings, i == 2 ? 4096 : 131072);
    }
}
END_TEST

START_TEST(test_config_round_trip)
{
    for (int reward = 0; reward < 2; reward++) {
        l2_hf_config a, b;
        l2_hf_config_init(&a);
        a.vocab_size = 32, a.hidden_size = 24, a.num_hidden_layers = 3, a.num_attention_heads = 4,
        a.num_key_value_heads = 2, a.head_dim = 8;
        a.intermediate_size = 40, a.max_position_embeddings = 77, a.rms_norm_eps = 1.1e-5, a.rope.theta = 12345.678,
        a.initializer_range = 0.013;
        a.bos_id = 1, a.eos_ids[0] = 2, a.n_eos = 1 + reward, a.eos_ids[1] = 5 * reward, a.tie_word_embeddings = reward,
        a.dtype = LLAMA2_F16;
        a.sequence_classification = reward;
        a.rope.scaling = 1 + reward, a.rope.factor = 2.5;
        if (reward) a.rope.low_freq_factor = 1.5, a.rope.high_freq_factor = 4, a.rope.original_len = 20;
        if (reward) a.score_shift = 0.1, a.score_scale = 1 / 3.0;
        l2_hf_config_writer w;
        ck_ok(l2_hf_config_prepare(ctx, at("new/model"), &a, &w));
        ck_ok(l2_hf_config_commit(&w));
        ck_ok(l2_hf_config_read(ctx, at("new/model"), &b));
        ck_assert_mem_eq(&a, &b, sizeof a);
    }
}
END_TEST

static const struct {
    const char *text;
    llama2_status code;
    const char *message; /* or, where it is fine, nothing */
    int32_t n_eos;
    int64_t eos;
} generation[] = {
    {"{\"eos_token_id\":[7,8,9],\"temperature\":0.6,\"x\":{\"eos_token_id\":1}}", LLAMA2_OK, "", 3, 7},
    {"{\"eos_token_id\":5}", LLAMA2_OK, "", 1, 5},
    {"{\"eos_token_id\":null}", LLAMA2_OK, "", 2, 2},
    {"{}", LLAMA2_OK, "", 2, 2},
    {"{\"eos_token_id\":[7,32]}", LLAMA2_E_FORMAT, "generation_config.json: eos_token_id is 32", 0, 0},
    {"{\"eos_token_id\":[1,2,3,4,5,6,7,8,9]}", LLAMA2_E_LIMIT, "\"eos_token_id\": more than 8", 0, 0},
    {"{\"eos_token_id\":\"2\"}", LLAMA2_E_FORMAT, "\"eos_token_id\"", 0, 0},
    {"{\"eos_token_id\":[2", LLAMA2_E_TRUNCATED, "generation_config.json", 0, 0},
    {"[]", LLAMA2_E_FORMAT, "generation_config.json", 0, 0},
};

START_TEST(test_generation_config)
{
    l2_hf_config c = {.vocab_size = -7};
    spill_text(at("config.json"), "{" LLAMA SIZES ",\"eos_token_id\":[2,3]}");
    spill_text(at("generation_config.json"), generation[_i].text);
    ck_assert_int_eq(l2_hf_config_read(ctx, folder, &c), generation[_i].code);
    if (generation[_i].code == LLAMA2_OK) {
        ck_assert_int_eq(c.n_eos, generation[_i].n_eos);
        ck_assert_int_eq(c.eos_ids[0], generation[_i].eos);
    } else {
        ck_assert_msg(strstr(llama2_last_error(), generation[_i].message), "%s", llama2_last_error());
        ck_assert_int_eq(c.vocab_size, -7);
    }
}
END_TEST

/* Nothing is read of files that are larger than any of their kind. */
START_TEST(test_large_files)
{
    static const char *const names[] = {"config.json", "model.safetensors.index.json"};
    for (int i = 0; i < 2; i++) {
        l2_hf_config c;
        l2_hf_weights w;
        spill_text(at(names[i]), "");
        ck_assert_int_eq(truncate(at(names[i]), (off_t)100 << 30), 0);
        size_t before = memory.peak = memory.bytes;
        ck_assert_int_eq(i ? l2_hf_weights_open(ctx, folder, 0, &w) : l2_hf_config_read(ctx, folder, &c),
                         LLAMA2_E_LIMIT);
        ck_assert_ptr_nonnull(strstr(llama2_last_error(), names[i]));
        ck_assert_uint_lt(memory.peak - before, 4096);
    }
}
END_TEST

/* --- weights --------------------------------------------------------------------------------- */

static const float values[8] = {1, 2, 3, 4, 5, 6, 7, 8};
static const float others[8] = {-1, -2, -3, -4, -5, -6, -7, -8};

static void make_entries_of(const float data[8], l2_st_entry entries[4])
{
    static const char *const names[] = {"d", "a", "c", "b"};
    for (int i = 0; i < 4; i++)
        entries[i] = (l2_st_entry){.name = names[i],
                                   .dtype = LLAMA2_F32,
                                   .source = LLAMA2_F32,
                                   .n_dims = 1,
                                   .shape = {2},
                                   .data = data + 2 * i};
}

static void make_entries(l2_st_entry entries[4])
{
    make_entries_of(values, entries);
}

static void check_weights(size_t n_files)
{
    l2_hf_weights w;
    l2_st_entry entries[4];
    float out[2];
    make_entries(entries);
    ck_ok(l2_hf_weights_open(ctx, folder, 0, &w));
    ck_assert_uint_eq(w.n_files, n_files);
    ck_assert_uint_eq(w.n_tensors, 4);
    for (int i = 0; i < 4; i++) {
        ck_ok(l2_st_read(ctx, l2_hf_weights_find(&w, entries[i].name), 0, 2, LLAMA2_F32, out));
        ck_assert_mem_eq(out, values + 2 * i, sizeof out);
    }
    ck_assert_ptr_null(l2_hf_weights_find(&w, "e"));
    l2_hf_weights_close(&w);
}

START_TEST(test_shards_and_back)
{
    l2_st_entry entries[4];
    make_entries(entries);
    ck_ok(l2_hf_write(ctx, folder, NULL, entries, 4, 0));
    check_weights(1);
    ck_ok(l2_hf_write(ctx, folder, NULL, entries, 4, 17)); /* two tensors of 8 bytes a file */
    check_weights(2);
    ck_assert_int_ne(access(at("model.safetensors"), F_OK), 0);
    spill_text(at("model-00001-of-00004.safetensors"), "half"); /* of a save that was cut off: the old one holds */
    check_weights(2);
    ck_ok(l2_hf_write(ctx, folder, NULL, entries, 4, 1));
    check_weights(4);
    spill_text(at("model.safetensors.index.json"), "{");
    ck_ok(l2_hf_write(ctx, folder, NULL, entries, 4, 1));
    check_weights(4);
    ck_assert_int_ne(access(at("model-00001-of-00002.safetensors"), F_OK), 0);
    ck_ok(l2_hf_write(ctx, folder, NULL, entries, 4, 0));
    check_weights(1);
    ck_assert_int_ne(access(at("model.safetensors.index.json"), F_OK), 0);
    ck_assert_int_ne(access(at("model-00001-of-00004.safetensors"), F_OK), 0);
}
END_TEST

/* one.st and two.st both hold a, b, c, d; three.st holds e. */
static const struct {
    const char *text;
    llama2_status code;
} bad_indices[] = {
    {"{}", LLAMA2_E_FORMAT},
    {"[]", LLAMA2_E_FORMAT},
    {"{\"weight_map\":{}}", LLAMA2_E_FORMAT},
    {"{\"weight_map\":[]}", LLAMA2_E_FORMAT},
    {"{\"weight_map\":{\"a\":1}}", LLAMA2_E_FORMAT},
    {"{\"weight_map\":{\"a\":\"../one.st\"}}", LLAMA2_E_FORMAT},
    {"{\"weight_map\":{\"a\":\"/etc/passwd\"}}", LLAMA2_E_FORMAT},
    {"{\"weight_map\":{\"a\":\"..\"}}", LLAMA2_E_FORMAT},
    {"{\"weight_map\":{\"a\":\"\"}}", LLAMA2_E_FORMAT},
    {"{\"weight_map\":{\"a\":\"sub\\\\one.st\"}}", LLAMA2_E_FORMAT},
    {"{\"weight_map\":{\"a\":\"one.st\\u0000x\"}}", LLAMA2_E_FORMAT},
    {"{\"weight_map\":{\"a\":\"missing.st\"}}", LLAMA2_E_NOT_FOUND},
    {"{\"weight_map\":{\"e\":\"one.st\"}}", LLAMA2_E_FORMAT},
    {"{\"weight_map\":{\"a\":\"one.st\",\"b\":\"two.st\"}}", LLAMA2_E_FORMAT},
    {"{\"weight_map\":{\"a\":\"one.st\",\"a\":\"one.st\"}}", LLAMA2_E_FORMAT},
    {"{\"weight_map\":{\"a\":\"one.st\"},\"weight_map\":{\"a\":\"one.st\"}}", LLAMA2_E_FORMAT},
    {"{\"weight_map\":{\"a\":\"one.st\"}", LLAMA2_E_TRUNCATED},
    {"{\"weight_map\":{\"a\":\"one.st\"}} {}", LLAMA2_E_FORMAT},
};

START_TEST(test_bad_indices)
{
    l2_st_entry entries[4];
    l2_hf_weights w;
    make_entries(entries);
    ck_ok(l2_safetensors_write(ctx, at("one.st"), entries, 4, NULL));
    ck_ok(l2_safetensors_write(ctx, at("two.st"), entries, 4, NULL));
    spill_text(at("model.safetensors.index.json"), bad_indices[_i].text);
    long live = memory.live;
    llama2_status status = l2_hf_weights_open(ctx, folder, 0, &w);
    ck_assert_msg(status == bad_indices[_i].code, "%s: %s: %s", bad_indices[_i].text, llama2_status_name(status),
                  llama2_last_error());
    ck_assert_ptr_nonnull(strstr(llama2_last_error(), "index.json"));
    ck_assert_int_eq(memory.live, live);
}
END_TEST

/* All of one save, or refused: no weights of two, nor another's config. */
enum { REFUSED, OLD, NEW };

static int what_is_there(const l2_hf_config *old)
{
    l2_hf_config config;
    l2_hf_weights w;
    float out[8];
    llama2_status status = l2_hf_config_read(ctx, folder, &config);
    if (status == LLAMA2_E_NOT_FOUND) return REFUSED;
    ck_ok(status);
    ck_ok(l2_hf_weights_open(ctx, folder, 0, &w));
    for (int i = 0; i < 4; i++)
        ck_ok(l2_st_read(ctx, l2_hf_weights_find(&w, (const char[]){"dacb"[i], 0}), 0, 2, LLAMA2_F32, out + 2 * i));
    int is_old = config.rms_norm_eps == old->rms_norm_eps;
    ck_assert_mem_eq(out, is_old ? others : values, sizeof out);
    l2_hf_weights_close(&w);
    return is_old ? OLD : NEW;
}

/* Has what the config describes, the one file or the shards' index, taken its place? */
static int has_new_file(uint64_t bytes)
{
    l2_safetensors file;
    float first[2];
    if (bytes) return l2_path_kind(at("model.safetensors.index.json")) == 1;
    if (l2_path_kind(at("model.safetensors")) == 0) return 0;
    ck_ok(l2_safetensors_open(ctx, at("model.safetensors"), 0, &file));
    ck_ok(l2_st_read(ctx, l2_safetensors_find(&file, "d"), 0, 2, LLAMA2_F32, first));
    l2_safetensors_close(&file);
    return memcmp(first, values, sizeof first) == 0;
}

/* Bytes a file at most, before and after: one file over one, shards over as many, one over shards and back. Then what
 * of an earlier save may lie there: a first shard that is not read. */
static const struct {
    uint64_t before, after;
    const char *left;
} saves[] = {{0, 0, NULL},
             {17, 17, NULL},
             {17, 0, NULL},
             {0, 17, "model-00001-of-00002.safetensors"},
             {17, 1, "model-00001-of-00004.safetensors"}};

START_TEST(test_each_failure)
{
    l2_st_entry entries[4], before[4];
    l2_hf_config config, old;
    int refused = 0, kept = 0;
    int in_place = saves[_i].before == 17 && saves[_i].after == 17; /* file by file */
    make_entries(entries);
    make_entries_of(others, before);
    ck_ok(l2_hf_config_parse("{" LLAMA SIZES "}", strlen("{" LLAMA SIZES "}"), "", &config));
    old = config;
    old.rms_norm_eps *= 2;
    for (int mode = 0; mode < 4; mode++) {
        int done = 0;
        for (long n = 0; !done; n++) {
            long live = memory.live;
            ck_ok(l2_hf_write(ctx, folder, &old, before, 4, saves[_i].before));
            if (saves[_i].left) spill_text(at(saves[_i].left), "half");
            memory.calls = disk.calls = 0;
            memory.for_ever = disk.for_ever = mode % 2;
            if (mode / 2)
                memory.fail_at = n;
            else
                disk.fail_at = n;
            llama2_status status = l2_hf_write(ctx, folder, &config, entries, 4, saves[_i].after);
            done = mode / 2 ? memory.calls <= n : disk.calls <= n;
            memory.fail_at = disk.fail_at = -1;
            if (done) ck_ok(status);
            ck_assert(status == LLAMA2_OK || status == LLAMA2_E_NOMEM || status == LLAMA2_E_IO);
            ck_assert_int_eq(memory.live, live);
            /* What is there fits together; where no file of another's is in place, memory is not needed to finish. */
            int is = what_is_there(&old);
            ck_assert(is != REFUSED || (status < 0 && (mode / 2 == 0 || in_place)));
            ck_assert(is == NEW || status < 0);
            if (is == REFUSED && mode == 0 && !in_place) ck_assert(has_new_file(saves[_i].after));
            refused += is == REFUSED;
            kept += is == OLD;
        }
    }
    ck_assert_int_gt(kept, in_place ? 0 : refused); /* most of what can fail comes before files take their places */
}
END_TEST

Suite *test_suite(void)
{
    Suite *suite = suite_create("format/huggingface");
    TCase *c = tcase_create("folders");
    tcase_add_checked_fixture(c, setup, teardown);
    tcase_set_timeout(c, 120);
    tcase_add_loop_test(c, test_bad_configs, 0, (int)(sizeof bad_configs / sizeof *bad_configs));
    tcase_add_test(c, test_defaults);
    tcase_add_test(c, test_rope_forms);
    tcase_add_test(c, test_mistral);
    tcase_add_test(c, test_config_round_trip);
    tcase_add_loop_test(c, test_generation_config, 0, (int)(sizeof generation / sizeof *generation));
    tcase_add_test(c, test_large_files);
    tcase_add_test(c, test_shards_and_back);
    tcase_add_loop_test(c, test_bad_indices, 0, (int)(sizeof bad_indices / sizeof *bad_indices));
    tcase_add_loop_test(c, test_each_failure, 0, sizeof saves / sizeof *saves);
    suite_add_tcase(suite, c);
    return suite;
}
