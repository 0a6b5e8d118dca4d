/* config.json and generation_config.json. */
#include "format/huggingface.h"
#include "base/alloc.h"
#include "base/json.h"
#include <inttypes.h>
#include <math.h>
#include <string.h>

enum { MAX_CONFIG = 16 << 20, MAX_LAYERS = 1 << 16 }; /* layers: as many as a llama2_config has */

void l2_hf_config_init(l2_hf_config *config)
{
    memset(config, 0, sizeof *config);
    config->max_position_embeddings = 2048;
    config->rms_norm_eps = 1e-6;
    config->rope.theta = 10000;
    config->initializer_range = 0.02;
    config->bos_id = config->pad_id = -1;
    config->dtype = -1;
    config->score_scale = 1;
}

/* --- reading --------------------------------------------------------------------------------- */

typedef struct reader {
    l2_json json;
    l2_hf_config *config;
    uint64_t seen, named; /* bit i: field i has been read; stands in the file, if only as null */
    int is_llama, labels; /* labels: -1 not said */
    int is_mistral;
    int64_t window;                 /* sliding_window; 0: none */
    l2_hf_rope scaling, parameters; /* rope_scaling, rope_parameters */
    int scaling_seen;
} reader;

typedef llama2_status (*read_fn)(reader *r, void *at);

static const char *const dtype_names[] = {"float32", "float64", "bfloat16", "float16"}; /* by LLAMA2_F32 ... */

static llama2_status read_int(reader *r, void *at)
{
    return l2_json_read_int(&r->json, at);
}

static llama2_status read_double(reader *r, void *at)
{
    return l2_json_read_double(&r->json, at);
}

static llama2_status read_flag(reader *r, void *at)
{
    int value;
    L2_TRY(l2_json_read_bool(&r->json, &value));
    *(int32_t *)at = value;
    return LLAMA2_OK;
}

/* An id, or a negative number for none, as some files have it. */
static llama2_status read_id(reader *r, void *at)
{
    int64_t id;
    L2_TRY(l2_json_read_int(&r->json, &id));
    *(int64_t *)at = id < 0 ? -1 : id;
    return LLAMA2_OK;
}

static llama2_status read_eos(reader *r, void *at)
{
    int type, more;
    l2_hf_config *config = r->config;
    (void)at;
    L2_TRY(l2_json_peek(&r->json, &type));
    if (type != L2_JSON_ARRAY) {
        int64_t id;
        L2_TRY(read_id(r, &id));
        if (id >= 0) config->eos_ids[config->n_eos++] = id;
        return LLAMA2_OK;
    }
    L2_TRY(l2_json_enter(&r->json, L2_JSON_ARRAY));
    for (;;) {
        L2_TRY(l2_json_next_element(&r->json, &more));
        if (!more) return LLAMA2_OK;
        if (config->n_eos == L2_HF_MAX_EOS) return l2_fail(LLAMA2_E_LIMIT, "more than %d ids", L2_HF_MAX_EOS);
        int64_t id;
        L2_TRY(l2_json_read_int(&r->json, &id));
        config->eos_ids[config->n_eos++] = id;
    }
}

static llama2_status read_dtype(reader *r, void *at)
{
    l2_json_string text;
    L2_TRY(l2_json_read_string(&r->json, &text));
    for (int32_t i = 0; i < 4; i++)
        if (l2_json_equal(&text, dtype_names[i])) *(int32_t *)at = i;
    return LLAMA2_OK;
}

static llama2_status unsupported(const l2_json_string *text, const char *supported)
{
    return l2_fail(LLAMA2_E_UNSUPPORTED, "\"%.*s\" is not supported, only %s",
                   text->length > 64 ? 64 : (int)text->length, text->text, supported);
}

static llama2_status read_model_type(reader *r, void *at)
{
    l2_json_string text;
    (void)at;
    L2_TRY(l2_json_read_string(&r->json, &text));
    r->is_mistral = l2_json_equal(&text, "mistral");
    if (!r->is_mistral && !l2_json_equal(&text, "llama")) return unsupported(&text, "\"llama\" and \"mistral\"");
    r->is_llama = 1;
    return LLAMA2_OK;
}

static llama2_status read_architectures(reader *r, void *at)
{
    int more;
    (void)at;
    L2_TRY(l2_json_enter(&r->json, L2_JSON_ARRAY));
    for (;;) {
        l2_json_string text;
        L2_TRY(l2_json_next_element(&r->json, &more));
        if (!more) return LLAMA2_OK;
        L2_TRY(l2_json_read_string(&r->json, &text));
        if (l2_json_equal(&text, "LlamaForSequenceClassification"))
            r->config->sequence_classification = 1;
        else if (!l2_json_equal(&text, "LlamaForCausalLM") && !l2_json_equal(&text, "LlamaModel") &&
                 !l2_json_equal(&text, "MistralForCausalLM"))
            return unsupported(&text, "LlamaForCausalLM, LlamaForSequenceClassification and MistralForCausalLM");
        r->is_llama = 1;
    }
}

static llama2_status read_hidden_act(reader *r, void *at)
{
    l2_json_string text;
    (void)at;
    L2_TRY(l2_json_read_string(&r->json, &text));
    return l2_json_equal(&text, "silu") ? LLAMA2_OK : unsupported(&text, "\"silu\"");
}

static llama2_status refuse_true(reader *r, void *at)
{
    int value;
    (void)at;
    L2_TRY(l2_json_read_bool(&r->json, &value));
    return value ? l2_fail(LLAMA2_E_UNSUPPORTED, "true is not supported, only false") : LLAMA2_OK;
}

static llama2_status refuse_set(reader *r, void *at)
{
    (void)at;
    L2_TRY(l2_json_skip(&r->json));
    return l2_fail(LLAMA2_E_UNSUPPORTED, "is set; only null is supported");
}

static llama2_status refuse_experts(reader *r, void *at)
{
    int64_t n;
    (void)at;
    L2_TRY(l2_json_read_int(&r->json, &n));
    return n > 1 ? l2_fail(LLAMA2_E_UNSUPPORTED, "mixtures of experts are not supported, this is one of %" PRId64, n)
                 : LLAMA2_OK;
}

static llama2_status read_whole_rotary(reader *r, void *at)
{
    double factor;
    (void)at;
    L2_TRY(l2_json_read_double(&r->json, &factor));
    return factor == 1 ? LLAMA2_OK : l2_fail(LLAMA2_E_UNSUPPORTED, "%g is not supported, only 1", factor);
}

static llama2_status read_rope_scaling(reader *r, void *at)
{
    (void)at;
    r->scaling_seen = 1;
    return l2_hf_rope_read(&r->json, &r->scaling);
}

static llama2_status read_rope_parameters(reader *r, void *at)
{
    (void)at;
    return l2_hf_rope_read(&r->json, &r->parameters);
}

static llama2_status read_window(reader *r, void *at)
{
    (void)at;
    return l2_json_read_int(&r->json, &r->window);
}

static llama2_status read_num_labels(reader *r, void *at)
{
    int64_t n;
    (void)at;
    L2_TRY(l2_json_read_int(&r->json, &n));
    r->labels = n == 1 ? 1 : 2;
    return LLAMA2_OK;
}

static llama2_status read_labels(reader *r, void *at)
{
    int more, n = 0;
    (void)at;
    L2_TRY(l2_json_enter(&r->json, L2_JSON_OBJECT));
    for (;; n += n < 2) {
        l2_json_string key;
        L2_TRY(l2_json_next_member(&r->json, &key, &more));
        if (!more) break;
        L2_TRY(l2_json_skip(&r->json));
    }
    r->labels = n == 1 ? 1 : 2;
    return LLAMA2_OK;
}

#define AT(member) offsetof(l2_hf_config, member)

static const struct field {
    const char *key;
    read_fn read;
    size_t at;
} fields[] = {
    {"vocab_size", read_int, AT(vocab_size)},
    {"hidden_size", read_int, AT(hidden_size)},
    {"num_hidden_layers", read_int, AT(num_hidden_layers)},
    {"num_attention_heads", read_int, AT(num_attention_heads)},
    {"intermediate_size", read_int, AT(intermediate_size)}, /* up to here: required */
    {"num_key_value_heads", read_int, AT(num_key_value_heads)},
    {"head_dim", read_int, AT(head_dim)},
    {"max_position_embeddings", read_int, AT(max_position_embeddings)},
    {"rms_norm_eps", read_double, AT(rms_norm_eps)},
    {"rope_theta", read_double, AT(rope.theta)},
    {"initializer_range", read_double, AT(initializer_range)},
    {"tie_word_embeddings", read_flag, AT(tie_word_embeddings)},
    {"bos_token_id", read_id, AT(bos_id)},
    {"pad_token_id", read_id, AT(pad_id)},
    {"eos_token_id", read_eos, 0},
    {"torch_dtype", read_dtype, AT(dtype)},
    {"dtype", read_dtype, AT(dtype)},
    {"llama2_score_shift", read_double, AT(score_shift)},
    {"llama2_score_scale", read_double, AT(score_scale)},
    {"model_type", read_model_type, 0},
    {"architectures", read_architectures, 0},
    {"hidden_act", read_hidden_act, 0},
    {"attention_bias", refuse_true, 0},
    {"mlp_bias", refuse_true, 0},
    {"rope_scaling", read_rope_scaling, 0},
    {"rope_parameters", read_rope_parameters, 0},
    {"partial_rotary_factor", read_whole_rotary, 0},
    {"sliding_window", read_window, 0},
    {"quantization_config", refuse_set, 0},
    {"num_local_experts", refuse_experts, 0},
    {"num_labels", read_num_labels, 0},
    {"id2label", read_labels, 0},
};

enum { N_REQUIRED = 5, N_FIELDS = sizeof fields / sizeof *fields };
_Static_assert(N_FIELDS <= 64, "a bit a field");

static int was_named(const reader *r, const char *key)
{
    int i = 0;
    while (strcmp(fields[i].key, key) != 0) i++;
    return (int)(r->named >> i & 1);
}

static llama2_status read_member(reader *r, const l2_json_string *key)
{
    int type;
    for (int i = 0; i < N_FIELDS; i++) {
        if (!l2_json_equal(key, fields[i].key)) continue;
        L2_TRY(l2_json_peek(&r->json, &type));
        r->named |= (uint64_t)1 << i;
        if (type == L2_JSON_NULL) return l2_json_skip(&r->json); /* as good as absent */
        if (r->seen >> i & 1) return l2_fail(LLAMA2_E_FORMAT, "the key \"%s\" stands twice", fields[i].key);
        r->seen |= (uint64_t)1 << i;
        llama2_status status = fields[i].read(r, (char *)r->config + fields[i].at);
        return status < 0 ? l2_fail_in(status, "\"%s\"", fields[i].key) : status;
    }
    return l2_json_skip(&r->json);
}

/* As in transformers: rope_scaling goes before rope_parameters, their own theta before the config's. */
static void settle_rope(reader *r)
{
    double theta = r->config->rope.theta;
    r->config->rope = r->scaling_seen ? r->scaling : r->parameters;
    if (r->config->rope.theta == 0) r->config->rope.theta = theta;
}

/* What a MistralConfig has where the file says nothing. */
static void settle_mistral(reader *r)
{
    if (!r->is_mistral) return;
    if (!was_named(r, "num_key_value_heads")) r->config->num_key_value_heads = 8;
    if (!was_named(r, "max_position_embeddings")) r->config->max_position_embeddings = 131072;
    if (!was_named(r, "sliding_window")) r->window = 4096;
}

/* Attention sees the last `window` tokens: all of them if the context is no longer. */
static llama2_status check_window(const reader *r)
{
    if (r->window == 0 || r->window >= r->config->max_position_embeddings) return LLAMA2_OK;
    return l2_fail(LLAMA2_E_UNSUPPORTED,
                   "\"sliding_window\": %" PRId64 " is not supported, only null or max_position_embeddings, %" PRId64
                   ", and above",
                   r->window, r->config->max_position_embeddings);
}

static llama2_status read_config(reader *r)
{
    int more;
    l2_hf_config *config = r->config;
    L2_TRY(l2_json_enter(&r->json, L2_JSON_OBJECT));
    for (;;) {
        l2_json_string key;
        L2_TRY(l2_json_next_member(&r->json, &key, &more));
        if (!more) break;
        L2_TRY(read_member(r, &key));
    }
    L2_TRY(l2_json_end(&r->json));
    if (!r->is_llama) return l2_fail(LLAMA2_E_FORMAT, "lacks \"model_type\": \"llama\"");
    for (int i = 0; i < N_REQUIRED; i++)
        if (!(r->seen >> i & 1)) return l2_fail(LLAMA2_E_FORMAT, "lacks \"%s\"", fields[i].key);
    if (config->sequence_classification && r->labels == 2)
        return l2_fail(LLAMA2_E_UNSUPPORTED, "\"id2label\": a classifier with one label, a reward model, is supported");
    settle_rope(r);
    settle_mistral(r);
    if (config->num_key_value_heads == 0 && !(r->seen >> 5 & 1))
        config->num_key_value_heads = config->num_attention_heads;
    if (config->head_dim == 0 && !(r->seen >> 6 & 1) && config->num_attention_heads > 0) {
        if (config->hidden_size % config->num_attention_heads)
            return l2_fail(LLAMA2_E_FORMAT,
                           "hidden_size %" PRId64 " is not a multiple of num_attention_heads %" PRId64
                           " and there is no head_dim",
                           config->hidden_size, config->num_attention_heads);
        config->head_dim = config->hidden_size / config->num_attention_heads;
    }
    L2_TRY(l2_hf_config_check(config));
    return check_window(r);
}

llama2_status l2_hf_config_parse(const char *text, size_t length, const char *where, l2_hf_config *out)
{
    l2_hf_config config;
    reader r = {.config = &config, .labels = -1};
    l2_hf_config_init(&config);
    l2_json_begin(&r.json, text, length);
    llama2_status status = read_config(&r);
    if (status < 0) return l2_fail_in(status, "%s", where);
    *out = config;
    return LLAMA2_OK;
}

static llama2_status check_id(const char *key, int64_t id, int64_t lowest, int64_t vocab_size)
{
    if (id >= lowest && id < vocab_size) return LLAMA2_OK;
    return l2_fail(LLAMA2_E_FORMAT, "%s is %" PRId64 ", outside the vocabulary of %" PRId64, key, id, vocab_size);
}

static llama2_status check_eos(const l2_hf_config *c)
{
    for (int32_t i = 0; i < c->n_eos; i++) L2_TRY(check_id("eos_token_id", c->eos_ids[i], 0, c->vocab_size));
    return LLAMA2_OK;
}

/* The tokens that end a text, where generation_config.json names some: it goes before config.json. */
static llama2_status read_generation_config(reader *r)
{
    int more, type;
    L2_TRY(l2_json_enter(&r->json, L2_JSON_OBJECT));
    for (;;) {
        l2_json_string key;
        L2_TRY(l2_json_next_member(&r->json, &key, &more));
        if (!more) break;
        L2_TRY(l2_json_peek(&r->json, &type));
        if (!l2_json_equal(&key, "eos_token_id") || type == L2_JSON_NULL) {
            L2_TRY(l2_json_skip(&r->json));
            continue;
        }
        r->config->n_eos = 0;
        llama2_status status = read_eos(r, NULL);
        if (status < 0) return l2_fail_in(status, "\"eos_token_id\"");
    }
    L2_TRY(l2_json_end(&r->json));
    return check_eos(r->config);
}

static llama2_status parse_generation_config(const char *text, size_t length, const char *where, l2_hf_config *config)
{
    reader r = {.config = config};
    l2_json_begin(&r.json, text, length);
    llama2_status status = read_generation_config(&r);
    return status < 0 ? l2_fail_in(status, "%s", where) : status;
}

static llama2_status read_file(llama2_context *ctx, const char *folder, const char *name, int optional,
                               llama2_status (*parse)(const char *text, size_t length, const char *where,
                                                      l2_hf_config *config),
                               l2_hf_config *config)
{
    llama2_status status = LLAMA2_OK;
    l2_file_view view = {0};
    char *path;
    L2_TRY(l2_path_join(ctx, folder, name, &path));
    if (optional && l2_path_kind(path) != 1) goto done;
    L2_CHECK(l2_file_read(ctx, path, MAX_CONFIG, &view));
    status = parse((const char *)view.data, view.size, path, config);
done:
    if (view.data) l2_file_release(ctx, &view);
    l2_free(ctx, path);
    return status;
}

llama2_status l2_hf_config_read(llama2_context *ctx, const char *folder, l2_hf_config *out)
{
    l2_hf_config config;
    L2_TRY(read_file(ctx, folder, "config.json", 0, l2_hf_config_parse, &config));
    if (!config.sequence_classification)
        L2_TRY(read_file(ctx, folder, "generation_config.json", 1, parse_generation_config, &config));
    *out = config;
    return LLAMA2_OK;
}

/* --- checking -------------------------------------------------------------------------------- */

static llama2_status check_size(const char *key, int64_t value, int64_t limit)
{
    if (value <= 0) return l2_fail(LLAMA2_E_FORMAT, "%s is %" PRId64 ", it must be positive", key, value);
    if (value > limit)
        return l2_fail(LLAMA2_E_LIMIT, "%s is %" PRId64 ", at most %" PRId64 " is supported", key, value, limit);
    return LLAMA2_OK;
}

static llama2_status check_positive(const char *key, double value)
{
    if (isfinite(value) && value > 0) return LLAMA2_OK;
    return l2_fail(LLAMA2_E_FORMAT, "%s is %g, it must be positive and finite", key, value);
}

llama2_status l2_hf_config_check(const l2_hf_config *c)
{
    L2_TRY(check_size("vocab_size", c->vocab_size, INT32_MAX));
    L2_TRY(check_size("hidden_size", c->hidden_size, INT32_MAX));
    L2_TRY(check_size("num_hidden_layers", c->num_hidden_layers, MAX_LAYERS));
    L2_TRY(check_size("num_attention_heads", c->num_attention_heads, INT32_MAX));
    L2_TRY(check_size("num_key_value_heads", c->num_key_value_heads, INT32_MAX));
    L2_TRY(check_size("head_dim", c->head_dim, INT32_MAX));
    L2_TRY(check_size("intermediate_size", c->intermediate_size, INT32_MAX));
    L2_TRY(check_size("max_position_embeddings", c->max_position_embeddings, INT32_MAX));
    if (c->num_attention_heads % c->num_key_value_heads)
        return l2_fail(LLAMA2_E_FORMAT,
                       "num_attention_heads %" PRId64 " is not a multiple of num_key_value_heads %" PRId64,
                       c->num_attention_heads, c->num_key_value_heads);
    if (c->head_dim % 2)
        return l2_fail(LLAMA2_E_FORMAT, "head_dim %" PRId64 " is odd, rotary positions need pairs", c->head_dim);
    /* In double, so that nothing wraps; far below 2^63 bytes, so that nothing wraps later. */
    double width = (double)c->hidden_size, heads = (double)c->num_attention_heads + (double)c->num_key_value_heads;
    double layer = 2 * width * heads * (double)c->head_dim + 3 * width * (double)c->intermediate_size;
    double total = (double)c->num_hidden_layers * layer + 2 * width * (double)c->vocab_size;
    if (!(total < 0x1p56))
        return l2_fail(LLAMA2_E_LIMIT, "these sizes make %.3g parameters, at most 2^56 are supported", total);
    L2_TRY(check_positive("rms_norm_eps", c->rms_norm_eps));
    L2_TRY(l2_hf_rope_check(&c->rope));
    if (!isfinite(c->initializer_range) || c->initializer_range < 0)
        return l2_fail(LLAMA2_E_FORMAT, "initializer_range is %g, it must be finite and not negative",
                       c->initializer_range);
    if (!isfinite(c->score_shift)) return l2_fail(LLAMA2_E_FORMAT, "llama2_score_shift is not finite");
    L2_TRY(check_positive("llama2_score_scale", c->score_scale));
    L2_TRY(check_id("bos_token_id", c->bos_id, -1, c->vocab_size));
    L2_TRY(check_id("pad_token_id", c->pad_id, -1, c->vocab_size));
    return check_eos(c);
}

/* --- writing --------------------------------------------------------------------------------- */

static void add_int(l2_text *text, const char *key, int64_t value)
{
    l2_text_format(text, "  \"%s\": %" PRId64 ",\n", key, value);
}

static void add_double(l2_text *text, const char *key, double value)
{
    l2_text_format(text, "  \"%s\": ", key);
    l2_text_double(text, value);
    l2_text_format(text, ",\n");
}

static void add_id(l2_text *text, const char *key, int64_t id)
{
    if (id < 0)
        l2_text_format(text, "  \"%s\": null,\n", key);
    else
        add_int(text, key, id);
}

static void add_ids(l2_text *text, const l2_hf_config *c)
{
    add_id(text, "bos_token_id", c->bos_id);
    if (c->n_eos <= 1) {
        add_id(text, "eos_token_id", c->n_eos ? c->eos_ids[0] : -1);
    } else {
        l2_text_format(text, "  \"eos_token_id\": [");
        for (int32_t i = 0; i < c->n_eos; i++) l2_text_format(text, "%s%" PRId64, i ? ", " : "", c->eos_ids[i]);
        l2_text_format(text, "],\n");
    }
    add_id(text, "pad_token_id", c->pad_id);
}

static void make_config(l2_text *text, const l2_hf_config *c)
{
    l2_text_format(text, "{\n  \"architectures\": [\"%s\"],\n",
                   c->sequence_classification ? "LlamaForSequenceClassification" : "LlamaForCausalLM");
    l2_text_format(text, "  \"model_type\": \"llama\",\n  \"hidden_act\": \"silu\",\n  \"attention_bias\": false,\n  "
                         "\"mlp_bias\": false,\n");
    add_int(text, "vocab_size", c->vocab_size);
    add_int(text, "hidden_size", c->hidden_size);
    add_int(text, "num_hidden_layers", c->num_hidden_layers);
    add_int(text, "num_attention_heads", c->num_attention_heads);
    add_int(text, "num_key_value_heads", c->num_key_value_heads);
    add_int(text, "head_dim", c->head_dim);
    add_int(text, "intermediate_size", c->intermediate_size);
    add_int(text, "max_position_embeddings", c->max_position_embeddings);
    add_double(text, "rms_norm_eps", c->rms_norm_eps);
    add_double(text, "initializer_range", c->initializer_range);
    l2_hf_rope_write(text, &c->rope);
    add_ids(text, c);
    if (c->dtype >= 0 && c->dtype < 4) l2_text_format(text, "  \"torch_dtype\": \"%s\",\n", dtype_names[c->dtype]);
    if (c->sequence_classification) {
        l2_text_format(text, "  \"id2label\": {\"0\": \"LABEL_0\"},\n  \"label2id\": {\"LABEL_0\": 0},\n  "
                             "\"problem_type\": \"regression\",\n");
        add_double(text, "llama2_score_shift", c->score_shift);
        add_double(text, "llama2_score_scale", c->score_scale);
    }
    l2_text_format(text, "  \"tie_word_embeddings\": %s\n}\n", c->tie_word_embeddings ? "true" : "false");
}

static void make_generation_config(l2_text *text, const l2_hf_config *c)
{
    l2_text_format(text, "{\n");
    add_ids(text, c);
    l2_text_format(text, "  \"_from_model_config\": true\n}\n");
}

static llama2_status prepare(llama2_context *ctx, const char *folder, const char *name, const l2_hf_config *config,
                             void (*make)(l2_text *text, const l2_hf_config *config), l2_writer *out)
{
    l2_text text;
    l2_text_begin(&text, ctx);
    make(&text, config);
    llama2_status status = l2_text_prepare(&text, folder, name, out);
    l2_text_free(&text);
    return status;
}

llama2_status l2_hf_config_prepare(llama2_context *ctx, const char *folder, const l2_hf_config *config,
                                   l2_hf_config_writer *out)
{
    memset(out, 0, sizeof *out);
    llama2_status status = l2_hf_config_check(config);
    if (status < 0) return l2_fail_in(status, "config.json");
    L2_CHECK(l2_make_folder(ctx, folder));
    L2_CHECK(prepare(ctx, folder, "config.json", config, make_config, &out->config));
    if (!config->sequence_classification)
        L2_CHECK(prepare(ctx, folder, "generation_config.json", config, make_generation_config, &out->generation));
done:
    if (status < 0) l2_hf_config_abort(out);
    return status;
}

llama2_status l2_hf_config_commit(l2_hf_config_writer *w)
{
    if (w->generation.ctx) L2_TRY(l2_writer_commit(&w->generation));
    return l2_writer_commit(&w->config);
}

void l2_hf_config_abort(l2_hf_config_writer *w)
{
    l2_writer_abort(&w->config);
    l2_writer_abort(&w->generation);
}
