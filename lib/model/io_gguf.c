/*
 * Models as GGUF files of the architecture "llama". What a key or a tensor would change in the computation and the
 * library does not do is refused by its name. Rotary pairs lie side by side in these files (Meta's order); they are put
 * half a head apart, as the model has them, while they are read.
 */
#include "base/alloc.h"
#include "base/json.h"
#include "format/quantised.h"
#include "model/io_gguf.h"
#include "model/roles.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

static const char prefix[] = "llama.", rope_factors[] = "rope_freqs.weight";
enum { PREFIX = sizeof prefix - 1 };

/* --- metadata -------------------------------------------------------------------------------- */

/* Keys after "llama." that are read below, or say nothing about the computation. */
static const char *const known_keys[] = {
    "block_count",
    "context_length",
    "embedding_length",
    "feed_forward_length",
    "vocab_size",
    "attention.head_count",
    "attention.head_count_kv",
    "attention.key_length",
    "attention.value_length",
    "attention.layer_norm_rms_epsilon",
    "attention.sliding_window",
    "rope.dimension_count",
    "rope.freq_base",
    "rope.scaling.type",
    "rope.scaling.factor",
    "rope.scaling.original_context_length",
    "rope.scaling.finetuned",
    "tensor_data_layout",
};

/* Keys whose value has to be the one that changes nothing. */
static const struct neutral {
    const char *key;
    double value;
} neutral_keys[] = {
    {"expert_count", 0},
    {"expert_used_count", 0},
    {"attention.causal", 1},
    {"attention.clamp_kqv", 0},
    {"attention.max_alibi_bias", 0},
    {"rope.scale_linear", 1},
    {"use_parallel_residual", 0},
    {"leading_dense_block_count", 0},
    {"embedding_scale", 1},
    {"residual_scale", 1},
    {"logit_scale", 1},
};

#define COUNT(array) (sizeof(array) / sizeof *(array))
#define KEY(value)   (value)->key_length > 64 ? 64 : (int)(value)->key_length, (value)->key

static int key_is(const l2_gguf_value *value, const char *rest)
{
    size_t length = strlen(rest);
    return value->key_length == PREFIX + length && memcmp(value->key + PREFIX, rest, length) == 0;
}

static llama2_status read_number(const l2_gguf_value *value, double *out)
{
    int64_t integer;
    int truth;
    if (value->type == L2_GGUF_F32 || value->type == L2_GGUF_F64) return l2_gguf_double(value, out);
    if (value->type == L2_GGUF_BOOL) {
        L2_TRY(l2_gguf_bool(value, &truth));
        *out = truth;
        return LLAMA2_OK;
    }
    L2_TRY(l2_gguf_int(value, &integer));
    *out = (double)integer;
    return LLAMA2_OK;
}

static llama2_status check_key(const l2_gguf_value *value)
{
    double number;
    for (size_t i = 0; i < COUNT(known_keys); i++)
        if (key_is(value, known_keys[i])) return LLAMA2_OK;
    for (size_t i = 0; i < COUNT(neutral_keys); i++) {
        if (!key_is(value, neutral_keys[i].key)) continue;
        L2_TRY(read_number(value, &number));
        if (number == neutral_keys[i].value) return LLAMA2_OK;
        return l2_fail(LLAMA2_E_UNSUPPORTED, "%.*s is %g; only %g is supported", KEY(value), number,
                       neutral_keys[i].value);
    }
    return l2_fail(LLAMA2_E_UNSUPPORTED, "the key %.*s is not known", KEY(value));
}

static llama2_status check_string(const l2_gguf *file, const char *key, const char *expected)
{
    const char *text;
    size_t length;
    const l2_gguf_value *value = l2_gguf_find(file, key);
    if (!value) return LLAMA2_OK;
    L2_TRY(l2_gguf_string(value, &text, &length));
    if (l2_gguf_string_is(value, expected)) return LLAMA2_OK;
    return l2_fail(LLAMA2_E_UNSUPPORTED, "%s is \"%.*s\"; only \"%s\" is supported", key,
                   length > 64 ? 64 : (int)length, text, expected);
}

/* A size; where the key is missing, `otherwise`, and FORMAT if that is 0. */
static llama2_status read_size(const l2_gguf *file, const char *key, int64_t otherwise, int32_t *out)
{
    const l2_gguf_value *value = l2_gguf_find(file, key);
    int64_t size = otherwise;
    if (!value && !otherwise) return l2_gguf_require(file, key, &value);
    if (value && value->type == L2_GGUF_ARRAY)
        return l2_fail(LLAMA2_E_UNSUPPORTED, "%s is an array; layers of different sizes are not supported", key);
    if (value) L2_TRY(l2_gguf_int(value, &size));
    if (size <= 0) return l2_fail(LLAMA2_E_FORMAT, "%s is %" PRId64 ", it must be positive", key, size);
    if (size > INT32_MAX)
        return l2_fail(LLAMA2_E_LIMIT, "%s is %" PRId64 ", at most %d is supported", key, size, INT32_MAX);
    *out = (int32_t)size;
    return LLAMA2_OK;
}

/*
 * A number that its writer had in decimal or double and the file has in fp32: the shortest decimal that rounds to it,
 * so that 1e-5 is what config.json says and not 9.99999974738e-06.
 */
static llama2_status read_double(const l2_gguf *file, const char *key, double *out)
{
    const l2_gguf_value *value = l2_gguf_find(file, key);
    double number = *out;
    if (value) L2_TRY(l2_gguf_double(value, &number));
    if (!isfinite(number) || number <= 0)
        return l2_fail(LLAMA2_E_FORMAT, "%s is %g, it must be positive and finite", key, number);
    *out = number;
    if (!value || value->type != L2_GGUF_F32) return LLAMA2_OK;
    l2_text text;
    l2_text_begin(&text, file->ctx);
    for (int digits = 6; digits <= 9; digits++) {
        text.length = 0;
        l2_text_format(&text, "%.*g", digits, number);
        if (text.status < 0) break;
        *out = l2_parse_double(text.data);
        if ((float)*out == (float)number) break;
    }
    llama2_status status = text.status;
    l2_text_free(&text);
    return status;
}

/* Without a type a factor means linear scaling; 0 stands for none. */
static llama2_status read_rope_scaling(const l2_gguf *file, llama2_config *c)
{
    const l2_gguf_value *type = l2_gguf_find(file, "llama.rope.scaling.type"),
                        *value = l2_gguf_find(file, "llama.rope.scaling.factor");
    double factor = 1;
    if (type && l2_gguf_string_is(type, "none")) return LLAMA2_OK;
    L2_TRY(check_string(file, "llama.rope.scaling.type", "linear"));
    if (value) L2_TRY(read_number(value, &factor));
    if (factor == 0 || factor == 1) return LLAMA2_OK;
    c->rope_scaling = LLAMA2_ROPE_SCALING_LINEAR;
    return read_double(file, "llama.rope.scaling.factor", &c->rope_factor);
}

/* Divisors of the frequencies, in which Llama 3.1's scaling stands in GGUF files. */
static llama2_status read_rope_factors(const l2_gguf *file, llama2_config *c)
{
    const l2_gguf_tensor *t = l2_gguf_find_tensor(file, rope_factors);
    llama2_status status;
    double *factors;
    if (!t) return LLAMA2_OK;
    if (t->n_dims != 1 || t->shape[0] != c->head_dim / 2 || !l2_dequantises(t->type))
        return l2_fail(LLAMA2_E_MISMATCH, "tensor \"%s\": expected a factor for each of the %d pairs of a head",
                       rope_factors, c->head_dim / 2);
    if (c->rope_scaling != LLAMA2_ROPE_SCALING_NONE)
        return l2_fail(LLAMA2_E_UNSUPPORTED, "tensor \"%s\" and llama.rope.scaling.factor together are not supported",
                       rope_factors);
    L2_TRY(l2_alloc(file->ctx, (size_t)c->head_dim / 2, sizeof *factors, &factors));
    L2_CHECK(l2_gguf_read(file->ctx, t, 0, LLAMA2_F64, factors));
    if (!l2_config_fit_llama3(c, factors))
        status = l2_fail(LLAMA2_E_UNSUPPORTED,
                         "tensor \"%s\" is not Llama 3.1's scaling of rotary positions, the only one supported",
                         rope_factors);
done:
    l2_free(file->ctx, factors);
    return status;
}

static llama2_status read_id(const l2_gguf *file, const char *key, int32_t vocab_size, int32_t *out)
{
    const l2_gguf_value *value = l2_gguf_find(file, key);
    int64_t id;
    *out = -1;
    if (!value) return LLAMA2_OK;
    L2_TRY(l2_gguf_int(value, &id));
    if (id < 0 || id >= vocab_size)
        return l2_fail(LLAMA2_E_FORMAT, "%s is %" PRId64 ", the vocabulary has %d tokens", key, id, vocab_size);
    *out = (int32_t)id;
    return LLAMA2_OK;
}

/* Ends of turns and documents: those that keys name, and control tokens by their text, as in llama.cpp. */
static llama2_status read_eos(const l2_gguf *file, int32_t vocab_size, int32_t ids[L2_MAX_EOS], int32_t *n)
{
    static const char *const keys[] = {"tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id",
                                       "tokenizer.ggml.eom_token_id"};
    static const char *const texts[] = {"<|eot_id|>", "<|im_end|>", "<|eom_id|>", "<|end_of_text|>", "<|endoftext|>"};
    const l2_gguf_value *tokens = l2_gguf_find(file, "tokenizer.ggml.tokens");
    l2_gguf_cursor cursor;
    const char *text;
    size_t length;
    _Static_assert(COUNT(keys) + COUNT(texts) <= L2_MAX_EOS, "each of them may be there");
    *n = 0;
    for (size_t i = 0; i < COUNT(keys); i++) {
        L2_TRY(read_id(file, keys[i], vocab_size, &ids[*n]));
        *n += ids[*n] >= 0;
    }
    if (!tokens) return LLAMA2_OK;
    L2_TRY(l2_gguf_strings(tokens, &cursor));
    for (int32_t id = 0; id < vocab_size && *n < L2_MAX_EOS && l2_gguf_next(&cursor, &text, &length); id++)
        for (size_t i = 0; i < COUNT(texts); i++)
            if (length == strlen(texts[i]) && memcmp(text, texts[i], length) == 0) ids[(*n)++] = id;
    return LLAMA2_OK;
}

static llama2_status read_heads(const l2_gguf *file, llama2_config *c)
{
    int32_t value_dim, rotated;
    L2_TRY(read_size(file, "llama.attention.head_count", 0, &c->n_heads));
    L2_TRY(read_size(file, "llama.attention.head_count_kv", c->n_heads, &c->n_kv_heads));
    if (c->n_heads % c->n_kv_heads)
        return l2_fail(LLAMA2_E_FORMAT, "llama.attention.head_count %d is not a multiple of head_count_kv %d",
                       c->n_heads, c->n_kv_heads);
    if (!l2_gguf_find(file, "llama.attention.key_length") && c->dim % c->n_heads)
        return l2_fail(LLAMA2_E_FORMAT, "llama.embedding_length %d is not a multiple of attention.head_count %d",
                       c->dim, c->n_heads);
    L2_TRY(read_size(file, "llama.attention.key_length", c->dim / c->n_heads, &c->head_dim));
    L2_TRY(read_size(file, "llama.attention.value_length", c->head_dim, &value_dim));
    L2_TRY(read_size(file, "llama.rope.dimension_count", c->head_dim, &rotated));
    if (c->head_dim % 2)
        return l2_fail(LLAMA2_E_FORMAT, "heads of %d are odd, rotary positions need pairs", c->head_dim);
    if (value_dim != c->head_dim)
        return l2_fail(LLAMA2_E_UNSUPPORTED, "llama.attention.value_length is %d, only that of keys, %d, is supported",
                       value_dim, c->head_dim);
    if (rotated != c->head_dim)
        return l2_fail(LLAMA2_E_UNSUPPORTED, "llama.rope.dimension_count is %d, only whole heads, %d, are supported",
                       rotated, c->head_dim);
    return LLAMA2_OK;
}

static llama2_status check_scope(const l2_gguf *file)
{
    const l2_gguf_value *value;
    int64_t parts = 1;
    L2_TRY(l2_gguf_require(file, "general.architecture", &value));
    L2_TRY(check_string(file, "general.architecture", "llama"));
    value = l2_gguf_find(file, "split.count");
    if (value) L2_TRY(l2_gguf_int(value, &parts));
    if (parts > 1)
        return l2_fail(LLAMA2_E_UNSUPPORTED, "is one of %" PRId64 " files of a split model; merge them first", parts);
    for (size_t i = 0; i < file->n_values; i++) {
        value = &file->values[i];
        if (value->key_length > PREFIX && memcmp(value->key, prefix, PREFIX) == 0) L2_TRY(check_key(value));
    }
    return LLAMA2_OK;
}

/* Attention sees the last tokens of the window: all of them if the context is no longer. */
static llama2_status check_window(const l2_gguf *file, int32_t context)
{
    const l2_gguf_value *value = l2_gguf_find(file, "llama.attention.sliding_window");
    int64_t window = 0;
    if (value) L2_TRY(l2_gguf_int(value, &window));
    if (window == 0 || window >= context) return LLAMA2_OK;
    return l2_fail(LLAMA2_E_UNSUPPORTED,
                   "llama.attention.sliding_window is %" PRId64 "; only 0 or the context, %d, and above are supported",
                   window, context);
}

static llama2_status read_config(const l2_gguf *file, llama2_config *c)
{
    const l2_gguf_value *tokens = l2_gguf_find(file, "tokenizer.ggml.tokens"), *value;
    int64_t n_tokens = tokens && tokens->count <= INT64_MAX ? (int64_t)tokens->count : 0;
    *c = (llama2_config){.struct_size = sizeof *c, .eos_id = -1, .rope_theta = 10000, .init_std = 0.02};
    L2_TRY(check_scope(file));
    L2_TRY(read_size(file, "llama.vocab_size", n_tokens, &c->vocab_size));
    L2_TRY(read_size(file, "llama.embedding_length", 0, &c->dim));
    L2_TRY(read_size(file, "llama.block_count", 0, &c->n_layers));
    L2_TRY(read_size(file, "llama.feed_forward_length", 0, &c->ffn_dim));
    L2_TRY(read_size(file, "llama.context_length", 0, &c->max_seq_len));
    L2_TRY(check_window(file, c->max_seq_len));
    L2_TRY(read_heads(file, c));
    L2_TRY(l2_gguf_require(file, "llama.attention.layer_norm_rms_epsilon", &value));
    L2_TRY(read_double(file, "llama.attention.layer_norm_rms_epsilon", &c->norm_eps));
    L2_TRY(read_double(file, "llama.rope.freq_base", &c->rope_theta));
    L2_TRY(read_rope_scaling(file, c));
    L2_TRY(read_id(file, "tokenizer.ggml.bos_token_id", c->vocab_size, &c->bos_id));
    L2_TRY(read_id(file, "tokenizer.ggml.padding_token_id", c->vocab_size, &c->pad_id));
    c->tied = !l2_gguf_find_tensor(file, "output.weight");
    L2_TRY(l2_config_check_limits(c, "metadata"));
    return read_rope_factors(file, c);
}

/* --- tensors --------------------------------------------------------------------------------- */

static llama2_status check_tensor(const l2_gguf *file, l2_expected expected, char *used)
{
    const l2_gguf_tensor *t = l2_gguf_find_tensor(file, expected.name);
    if (!t) return l2_fail(LLAMA2_E_NOT_FOUND, "tensor \"%s\" is missing", expected.name);
    L2_TRY(l2_expected_check(&expected, t->n_dims, t->shape, "the metadata ask for"));
    if (!l2_dequantises(t->type))
        return l2_fail(LLAMA2_E_UNSUPPORTED, "tensor \"%s\" is %s, which can't be read as numbers", expected.name,
                       l2_ggml_type(t->type, NULL, NULL));
    used[t - file->tensors] = 1;
    return LLAMA2_OK;
}

/* All tensors there, of the right shapes, and no others: before memory for the model is taken. Ends at the first layer
 * that is not in the file, so that a huge block_count costs nothing. */
static llama2_status check_tensors(const l2_gguf *file, const llama2_config *c)
{
    llama2_status status = LLAMA2_OK;
    char *used;
    L2_TRY(l2_calloc(file->ctx, file->n_tensors, 1, &used));
    for (int32_t layer = 0; layer < c->n_layers; layer++)
        for (int i = 0; i < L2_N_ROLES; i++) {
            if (!l2_role_is_there(i, layer, !c->tied)) continue;
            L2_CHECK(check_tensor(file, l2_role_expect(c, &l2_roles[i], layer, L2_NAMES_GGUF), used));
        }
    const l2_gguf_tensor *factors = l2_gguf_find_tensor(file, rope_factors); /* has been read with the metadata */
    if (factors) used[factors - file->tensors] = 1;
    for (size_t i = 0; i < file->n_tensors; i++)
        if (!used[i])
            L2_CHECK(l2_fail(LLAMA2_E_UNSUPPORTED, "tensor \"%.*s\" is not part of the Llama architecture",
                             (int)file->tensors[i].name_length, file->tensors[i].name));
done:
    l2_free(file->ctx, used);
    return status;
}

llama2_status l2_gguf_name(const l2_param *p, char name[64], int32_t *layer, int *rotary)
{
    const l2_role *role = l2_role_find(p->name, layer);
    if (!role) return l2_fail(LLAMA2_E_UNSUPPORTED, "no tensor of a GGUF file is the model's \"%s\"", p->name);
    l2_role_name(role, *layer, L2_NAMES_GGUF, name);
    *rotary = role->rotary;
    return LLAMA2_OK;
}

/* What the file says of itself is left out. */
void l2_gguf_put_general(const l2_gguf *file, l2_gguf_metadata *out)
{
    static const char *const own[] = {"general.architecture", "general.type", "general.file_type",
                                      "general.quantization_version", "general.alignment"};
    for (size_t i = 0; i < file->n_values; i++) {
        const l2_gguf_value *value = &file->values[i];
        int keep = value->key_length > 8 && memcmp(value->key, "general.", 8) == 0;
        for (size_t k = 0; k < COUNT(own); k++)
            if (value->key_length == strlen(own[k]) && memcmp(value->key, own[k], value->key_length) == 0) keep = 0;
        if (keep) l2_gguf_put_value(out, value);
    }
}

/* Into the arena; a matrix of a model whose weights are as stored stays where it lies. */
static llama2_status read_param(llama2_model *m, const l2_param *p, const l2_gguf *file)
{
    char name[64];
    int32_t layer;
    int rotary = 0;
    L2_TRY(l2_gguf_name(p, name, &layer, &rotary));
    const l2_gguf_tensor *t = l2_gguf_find_tensor(file, name); /* check_tensors has found it */
    int64_t head_dim = rotary ? m->config.head_dim : 0;
    if (m->stored && p->decay) {
        m->stored[p - m->params] = (l2_stored){t->type, t->data, (size_t)(t->size / (uint64_t)p->rows), head_dim};
        return LLAMA2_OK;
    }
    return l2_gguf_read(m->ctx, t, head_dim, m->dtype,
                        (char *)m->weights + (size_t)p->offset * l2_dtype_size(m->dtype));
}

/* Closes the file. */
static llama2_status read_model(llama2_context *ctx, l2_gguf *file, const llama2_model_options *options,
                                llama2_model **out)
{
    llama2_status status;
    llama2_config config;
    int32_t eos[L2_MAX_EOS], n_eos;
    llama2_model *m = NULL;
    L2_CHECK(read_config(file, &config));
    L2_CHECK(read_eos(file, config.vocab_size, eos, &n_eos));
    L2_CHECK(check_tensors(file, &config));
    L2_CHECK(l2_model_new_for(ctx, &config, options, L2_HEAD_LM, 1, &m));
    L2_CHECK(l2_model_set_eos(m, eos, n_eos));
    for (int32_t i = 0; i < m->n_params; i++) {
        L2_CHECK(l2_context_check(ctx));
        L2_CHECK(read_param(m, &m->params[i], file));
    }
    if (m->stored) { /* the model keeps the file */
        m->files[0] = file->view;
        file->view = (l2_file_view){.data = NULL};
    }
    *out = m;
    m = NULL;
done:
    l2_gguf_close(file);
    l2_model_release(m);
    return status;
}

llama2_status l2_model_read_gguf(llama2_context *ctx, const char *path, const llama2_model_options *options,
                                 llama2_model **out)
{
    l2_gguf file;
    *out = NULL;
    L2_TRY(l2_gguf_open(ctx, path, 0, &file));
    llama2_status status = read_model(ctx, &file, options, out);
    return status < 0 ? l2_fail_in(status, "%s", path) : status;
}

llama2_status l2_model_parse_gguf(llama2_context *ctx, l2_file_view *view, const llama2_model_options *options,
                                  llama2_model **out)
{
    l2_gguf file;
    *out = NULL;
    L2_TRY(l2_gguf_parse(ctx, view->data, view->size, &file));
    file.view = *view;
    *view = (l2_file_view){.data = NULL};
    return read_model(ctx, &file, options, out);
}
