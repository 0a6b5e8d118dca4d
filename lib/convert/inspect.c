#include "convert/inspect.h"

#include "base/alloc.h"
#include "base/utf8.h"
#include "format/gguf.h"
#include "format/huggingface.h"
#include "format/torch_pth.h"
#include "model/model.h"
#include "tokenizer/pretokenize.h"
#include "tokenizer/tokenizer.h"
#include <llama2/convert.h>

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { MAX_CONFIG = 16 << 20 };

/* --- texts ----------------------------------------------------------------------------------- */

/* Where the next NUL from `at` on is; `length`: there is none. */
static size_t find_nul(const char *bytes, size_t at, size_t length)
{
    const char *nul = memchr(bytes + at, 0, length - at);
    return nul ? (size_t)(nul - bytes) : length;
}

/* Bytes of a file as UTF-8 without NUL: each byte that is none becomes U+FFFD. No byte is looked at again for each NUL
 * before it. */
static void add_clean(l2_text *text, const char *bytes, size_t length)
{
    size_t nul = length ? find_nul(bytes, 0, length) : 0;
    for (size_t at = 0; at < length;) {
        size_t valid = l2_utf8_valid_prefix(bytes + at, nul - at);
        l2_text_add(text, bytes + at, valid);
        at += valid;
        if (at == length) break;
        l2_text_add(text, "\xEF\xBF\xBD", 3);
        if (at++ == nul) nul = find_nul(bytes, at, length);
    }
}

/* The text, which the caller frees; *text is empty afterwards. */
static llama2_status take(l2_text *text, char **out)
{
    l2_text_add(text, "", 0); /* an empty one too has its NUL */
    llama2_status status = text->status;
    if (status < 0) {
        l2_text_free(text);
        return status;
    }
    *out = text->data;
    l2_text_begin(text, text->ctx);
    return LLAMA2_OK;
}

static llama2_status copy(llama2_context *ctx, const char *bytes, size_t length, char **out)
{
    l2_text text;
    l2_text_begin(&text, ctx);
    add_clean(&text, bytes, length);
    return take(&text, out);
}

/* --- GGUF ------------------------------------------------------------------------------------ */

static llama2_status show_value(llama2_context *ctx, const l2_gguf_value *value, char **out)
{
    l2_text text;
    int64_t integer;
    double number;
    int truth;
    l2_text_begin(&text, ctx);
    switch (value->type) {
    case L2_GGUF_STRING: add_clean(&text, (const char *)value->data, (size_t)value->count); break;
    case L2_GGUF_ARRAY:
        l2_text_format(&text, "[%" PRIu64 " %s]", value->count, l2_gguf_value_type(value->element));
        break;
    case L2_GGUF_BOOL:
        l2_gguf_bool(value, &truth);
        l2_text_format(&text, "%s", truth ? "true" : "false");
        break;
    case L2_GGUF_F32:
    case L2_GGUF_F64:
        l2_gguf_double(value, &number);
        l2_text_format(&text, value->type == L2_GGUF_F32 ? "%.7g" : "%.16g", number);
        break;
    default:
        if (l2_gguf_int(value, &integer) < 0)
            l2_text_format(&text, "above 2^63");
        else
            l2_text_format(&text, "%" PRId64, integer);
    }
    return take(&text, out);
}

static llama2_status list_gguf_keys(llama2_inspection *in, const l2_gguf *file)
{
    if (file->n_values > INT32_MAX) return l2_fail(LLAMA2_E_LIMIT, "%zu keys", file->n_values);
    L2_TRY(l2_calloc(in->ctx, file->n_values, sizeof *in->keys, &in->keys));
    in->n_keys = (int32_t)file->n_values;
    for (size_t i = 0; i < file->n_values; i++) {
        const l2_gguf_value *value = &file->values[i];
        l2_inspected_key *key = &in->keys[i];
        L2_TRY(copy(in->ctx, value->key, value->key_length, &key->key));
        L2_TRY(show_value(in->ctx, value, &key->value));
    }
    return LLAMA2_OK;
}

static llama2_status add_tensor(llama2_inspection *in, const char *name, size_t length, const char *type,
                                int32_t n_dims, const int64_t *shape, uint64_t bytes)
{
    l2_inspected_tensor *t = &in->tensors[in->n_tensors];
    L2_TRY(copy(in->ctx, name, length, &t->name));
    in->n_tensors++;
    t->type = type;
    t->n_dims = n_dims;
    t->elements = bytes > 0;
    for (int32_t i = 0; i < n_dims; i++) t->shape[i] = shape[i];
    for (int32_t i = 0; i < n_dims && bytes; i++) t->elements *= shape[i]; /* else a dimension is 0, others are large */
    t->bytes = (int64_t)bytes;
    in->elements += t->elements;
    in->tensor_bytes += t->bytes;
    return LLAMA2_OK;
}

static llama2_status list_gguf(llama2_inspection *in, const l2_gguf *file)
{
    l2_text text;
    in->format = LLAMA2_FORMAT_GGUF;
    in->file_bytes = (int64_t)file->view.size;
    l2_text_begin(&text, in->ctx);
    l2_text_format(&text, "GGUF version %" PRIu32, file->version);
    L2_TRY(take(&text, &in->format_name));
    L2_TRY(list_gguf_keys(in, file));
    if (file->n_tensors > INT32_MAX) return l2_fail(LLAMA2_E_LIMIT, "%zu tensors", file->n_tensors);
    L2_TRY(l2_calloc(in->ctx, file->n_tensors, sizeof *in->tensors, &in->tensors));
    for (size_t i = 0; i < file->n_tensors; i++) {
        const l2_gguf_tensor *t = &file->tensors[i];
        L2_TRY(
            add_tensor(in, t->name, t->name_length, l2_ggml_type(t->type, NULL, NULL), t->n_dims, t->shape, t->size));
    }
    return LLAMA2_OK;
}

static llama2_status inspect_gguf(llama2_inspection *in, const char *path)
{
    l2_gguf file;
    L2_TRY(l2_gguf_open(in->ctx, path, 0, &file));
    llama2_status status = list_gguf(in, &file);
    l2_gguf_close(&file);
    return status;
}

/* --- Hugging Face ---------------------------------------------------------------------------- */

/* First pass (in->keys NULL): counts. */
static llama2_status read_members(llama2_inspection *in, const l2_file_view *view, int32_t *n)
{
    l2_json json;
    int more, type;
    l2_json_begin(&json, (const char *)view->data, view->size);
    L2_TRY(l2_json_enter(&json, L2_JSON_OBJECT));
    for (*n = 0;; ++*n) {
        l2_json_string key;
        L2_TRY(l2_json_next_member(&json, &key, &more));
        if (!more) return l2_json_end(&json);
        L2_TRY(l2_json_peek(&json, &type));
        size_t begin = json.at;
        L2_TRY(l2_json_skip(&json));
        if (!in->keys) continue;
        l2_inspected_key *to = &in->keys[*n];
        in->n_keys = *n + 1;
        L2_TRY(copy(in->ctx, key.text, key.length, &to->key));
        L2_TRY(copy(in->ctx, json.text + begin, json.at - begin, &to->value));
    }
}

static llama2_status list_members(llama2_inspection *in, const char *path)
{
    l2_file_view view;
    int32_t n;
    llama2_status status;
    L2_TRY(l2_file_read(in->ctx, path, MAX_CONFIG, &view));
    L2_CHECK(read_members(in, &view, &n));
    L2_CHECK(l2_calloc(in->ctx, (size_t)n, sizeof *in->keys, &in->keys));
    L2_CHECK(read_members(in, &view, &n));
done:
    l2_file_release(in->ctx, &view);
    return status < 0 ? l2_fail_in(status, "%s", path) : status;
}

static llama2_status list_weights(llama2_inspection *in, const l2_hf_weights *weights)
{
    for (size_t i = 0; i < weights->n_files; i++) in->file_bytes += (int64_t)weights->files[i].view.size;
    if (weights->n_tensors > INT32_MAX) return l2_fail(LLAMA2_E_LIMIT, "%zu tensors", weights->n_tensors);
    L2_TRY(l2_calloc(in->ctx, weights->n_tensors, sizeof *in->tensors, &in->tensors));
    for (size_t i = 0; i < weights->n_tensors; i++) {
        const l2_st_tensor *t = weights->tensors[i];
        L2_TRY(add_tensor(in, t->name, strlen(t->name), l2_st_dtype_name(t->dtype), t->n_dims, t->shape, t->size));
    }
    return LLAMA2_OK;
}

static llama2_status inspect_folder(llama2_inspection *in, const char *path)
{
    static const char name[] = "Hugging Face folder";
    llama2_status status;
    char *config = NULL;
    l2_hf_weights weights = {0};
    in->format = LLAMA2_FORMAT_HUGGINGFACE;
    L2_CHECK(copy(in->ctx, name, sizeof name - 1, &in->format_name));
    L2_CHECK(l2_path_join(in->ctx, path, "config.json", &config));
    L2_CHECK(list_members(in, config));
    L2_CHECK(l2_hf_weights_open(in->ctx, path, 0, &weights));
    L2_CHECK(list_weights(in, &weights));
done:
    l2_hf_weights_close(&weights);
    l2_free(in->ctx, config);
    return status;
}

/* --- Meta, llama2.c -------------------------------------------------------------------------- */

static llama2_status list_shard(llama2_inspection *in, const l2_torch_file *file, int32_t shard)
{
    static const char *const types[] = {[LLAMA2_F32] = "F32", [LLAMA2_BF16] = "BF16", [LLAMA2_F16] = "F16"};
    char name[256];
    in->file_bytes += (int64_t)file->view.size;
    L2_TRY(l2_realloc(in->ctx, (size_t)in->n_tensors, (size_t)in->n_tensors + file->n_tensors, sizeof *in->tensors,
                      &in->tensors));
    for (size_t i = 0; i < file->n_tensors; i++) {
        const l2_torch_tensor *t = &file->tensors[i];
        uint64_t bytes = l2_dtype_size(t->dtype);
        for (int32_t d = 0; d < t->n_dims; d++) bytes *= (uint64_t)t->shape[d];
        snprintf(name, sizeof name, "%02d/%.*s", (int)shard, (int)t->name_length, t->name);
        L2_TRY(add_tensor(in, name, strlen(name), types[t->dtype], t->n_dims, t->shape, bytes));
    }
    return LLAMA2_OK;
}

/* Each rank's file has a part of each tensor: "00/norm.weight". */
static llama2_status list_shards(llama2_inspection *in, const char *path)
{
    llama2_status status = LLAMA2_OK;
    for (int32_t i = 0; status == LLAMA2_OK; i++) {
        char name[32], *shard;
        l2_torch_file file = {0};
        snprintf(name, sizeof name, "consolidated.%02d.pth", (int)i);
        L2_TRY(l2_path_join(in->ctx, path, name, &shard));
        int there = l2_path_kind(shard) == 1;
        if (there) status = l2_torch_open(in->ctx, shard, 0, &file);
        if (there && status == LLAMA2_OK) status = list_shard(in, &file, i);
        l2_torch_close(&file);
        l2_free(in->ctx, shard);
        if (!there) break;
    }
    return status;
}

static llama2_status inspect_meta(llama2_inspection *in, const char *path)
{
    static const char name[] = "folder as Meta releases models";
    char *params;
    in->format = LLAMA2_FORMAT_META;
    L2_TRY(copy(in->ctx, name, sizeof name - 1, &in->format_name));
    L2_TRY(l2_path_join(in->ctx, path, "params.json", &params));
    llama2_status status = list_members(in, params);
    l2_free(in->ctx, params);
    return status < 0 ? status : list_shards(in, path);
}

/* Without names or types in the file: what `m` has been read from. */
static llama2_status list_llama2c(llama2_inspection *in, const llama2_model *m)
{
    static const char name[] = ".bin of llama2.c, version 0";
    in->format = LLAMA2_FORMAT_LLAMA2C;
    L2_TRY(copy(in->ctx, name, sizeof name - 1, &in->format_name));
    L2_TRY(l2_calloc(in->ctx, (size_t)m->n_params, sizeof *in->tensors, &in->tensors));
    for (int32_t i = 0; i < m->n_params; i++) {
        const l2_param *p = &m->params[i];
        int64_t shape[2] = {p->rows, p->columns};
        L2_TRY(add_tensor(in, p->name, strlen(p->name), "F32", p->columns == 1 ? 1 : 2, shape,
                          (uint64_t)(4 * p->rows * p->columns)));
    }
    return LLAMA2_OK;
}

static llama2_status inspect_llama2c(llama2_inspection *in, const char *path)
{
    llama2_model *m;
    l2_file_view view;
    double shift, scale;
    L2_TRY(l2_model_open(in->ctx, path, &m, &shift, &scale));
    llama2_status status = list_llama2c(in, m);
    l2_model_release(m);
    L2_TRY(status);
    L2_TRY(l2_file_map(in->ctx, path, &view));
    in->file_bytes = (int64_t)view.size;
    l2_file_release(in->ctx, &view);
    return LLAMA2_OK;
}

/* --- what the library makes of it ------------------------------------------------------------ */

/* A failure that says something about the file and not about the machine. */
static int is_finding(llama2_status status)
{
    return status != LLAMA2_E_NOMEM && status != LLAMA2_E_CANCELLED && status != LLAMA2_E_FORKED;
}

static llama2_status try_model(llama2_inspection *in, const char *path)
{
    llama2_model *m;
    double shift, scale;
    in->loads = l2_model_open(in->ctx, path, &m, &shift, &scale);
    if (in->loads >= 0) {
        in->config = l2_model_config(m);
        l2_model_release(m);
        return LLAMA2_OK;
    }
    if (!is_finding(in->loads)) return in->loads;
    const char *message = llama2_last_error();
    return copy(in->ctx, message, strlen(message), &in->problem);
}

static llama2_status describe_tokenizer(llama2_inspection *in, const llama2_tokenizer *tok)
{
    static const char *const kinds[] = {"SentencePiece BPE", "byte-level BPE (GPT-2)", "byte-level BPE (Llama 3)",
                                        "byte-level BPE (SmolLM2)"}; /* by L2_PRETOKENIZER_* */
    l2_text text;
    in->chat = l2_chat_name(tok);
    l2_text_begin(&text, in->ctx);
    l2_text_format(&text, "%s, %d pieces", kinds[tok->pretokenizer], (int)tok->n_pieces);
    return take(&text, &in->tokenizer);
}

static llama2_status try_tokenizer(llama2_inspection *in, const char *path)
{
    llama2_tokenizer *tok;
    llama2_tokenizer_options options;
    llama2_tokenizer_options_init(&options, sizeof options);
    in->chat = "none";
    llama2_status status = l2_tokenizer_load(in->ctx, path, &options, &tok);
    if (status == LLAMA2_OK) {
        status = describe_tokenizer(in, tok);
        llama2_tokenizer_free(tok);
        return status;
    }
    if (!is_finding(status)) return status;
    const char *message = status == LLAMA2_E_NOT_FOUND ? "none" : llama2_last_error();
    return copy(in->ctx, message, strlen(message), &in->tokenizer);
}

llama2_status l2_inspect(llama2_context *ctx, const char *path, llama2_inspection **out)
{
    llama2_status status;
    llama2_inspection *in;
    int is_meta = 0, is_gguf = 0;
    *out = NULL;
    L2_TRY(l2_calloc(ctx, 1, sizeof *in, &in));
    in->ctx = l2_context_retain(ctx);
    if (l2_path_kind(path) == 1) {
        L2_CHECK(l2_gguf_recognise(ctx, path, &is_gguf));
        L2_CHECK(is_gguf ? inspect_gguf(in, path) : inspect_llama2c(in, path));
    } else {
        L2_CHECK(l2_model_recognise_meta(ctx, path, &is_meta));
        L2_CHECK(is_meta ? inspect_meta(in, path) : inspect_folder(in, path));
    }
    L2_CHECK(try_model(in, path));
    L2_CHECK(try_tokenizer(in, path));
    *out = in;
    in = NULL;
done:
    l2_inspection_free(in);
    return status;
}

void l2_inspection_free(llama2_inspection *in)
{
    if (!in) return;
    llama2_context *ctx = in->ctx;
    for (int32_t i = 0; i < in->n_keys; i++) {
        l2_free(ctx, in->keys[i].key);
        l2_free(ctx, in->keys[i].value);
    }
    for (int32_t i = 0; i < in->n_tensors; i++) l2_free(ctx, in->tensors[i].name);
    void *const owned[] = {in->keys, in->tensors, in->format_name, in->problem, in->tokenizer, in};
    for (size_t i = 0; i < sizeof owned / sizeof *owned; i++) l2_free(ctx, owned[i]);
    l2_context_release(ctx);
}
