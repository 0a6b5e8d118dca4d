/* Which file a tokenizer is read from and written to; files are told apart by their content. */
#include "base/alloc.h"
#include "base/files.h"
#include "format/gguf.h"
#include "tokenizer/tokenizer.h"
#include <string.h>

static llama2_status read_file(llama2_context *ctx, const char *path, const llama2_tokenizer_options *options,
                               l2_file_view *view)
{
    llama2_status status = l2_file_read(ctx, path, options->max_bytes, view);
    return status == LLAMA2_E_LIMIT ? l2_fail_in(status, "llama2_tokenizer_options.max_bytes") : status;
}

llama2_status l2_path_beside(llama2_context *ctx, const char *path, const char *name, char **out)
{
    const char *slash = strrchr(path, '/');
    char *folder;
    *out = NULL;
    L2_TRY(l2_strndup(ctx, slash ? path : ".", slash ? (size_t)(slash - path) + 1 : 1, &folder));
    llama2_status status = l2_path_join(ctx, folder, name, out);
    l2_free(ctx, folder);
    return status;
}

/* The file beside `path`; an empty view where there is none. */
static llama2_status read_beside(llama2_context *ctx, const char *path, const char *name,
                                 const llama2_tokenizer_options *options, l2_file_view *view)
{
    char *file;
    *view = (l2_file_view){.data = NULL};
    L2_TRY(l2_path_beside(ctx, path, name, &file));
    llama2_status status = l2_path_kind(file) == 1 ? read_file(ctx, file, options, view) : LLAMA2_OK;
    l2_free(ctx, file);
    return status;
}

/* A first byte that neither protobuf's messages of a tokenizer.model nor GGUF can begin with. */
static int is_json(const void *data, size_t size)
{
    return size > 0 && *(const char *)data == '{';
}

/* With what stands beside it: the chat template, and for a tokenizer.json the names of special pieces. */
static llama2_status parse_file(llama2_context *ctx, const char *path, const l2_file_view *view,
                                const llama2_tokenizer_options *options, llama2_tokenizer **out)
{
    l2_file_view config = {.data = NULL}, template = {.data = NULL};
    llama2_tokenizer *tok = NULL;
    llama2_status status;
    L2_CHECK(read_beside(ctx, path, "tokenizer_config.json", options, &config));
    L2_CHECK(read_beside(ctx, path, "chat_template.jinja", options, &template));
    if (is_json(view->data, view->size)) {
        L2_CHECK(l2_tokenizer_json_read(ctx, (const char *)view->data, view->size, (const char *)config.data,
                                        config.size, options, &tok));
    } else {
        L2_CHECK(l2_tokenizer_parse(ctx, view->data, view->size, options, &tok));
        if (config.data) L2_CHECK(l2_tokenizer_config_template(tok, (const char *)config.data, config.size));
    }
    if (template.data) L2_CHECK(l2_chat_template_set(tok, (const char *)template.data, template.size));
    *out = tok;
    tok = NULL;
done:
    l2_vocabulary_free(tok);
    l2_file_release(ctx, &config);
    l2_file_release(ctx, &template);
    return status;
}

static llama2_status load_gguf(llama2_context *ctx, const char *path, const llama2_tokenizer_options *options,
                               llama2_tokenizer **out)
{
    l2_gguf file;
    L2_TRY(l2_gguf_open(ctx, path, 0, &file));
    llama2_status status = l2_gguf_vocabulary_read(ctx, &file, options, out);
    l2_gguf_close(&file);
    return status < 0 ? l2_fail_in(status, "%s", path) : status;
}

static llama2_status load_plain(llama2_context *ctx, const char *path, const llama2_tokenizer_options *options,
                                llama2_tokenizer **out)
{
    l2_file_view view;
    L2_TRY(read_file(ctx, path, options, &view));
    llama2_status status = parse_file(ctx, path, &view, options, out);
    l2_file_release(ctx, &view);
    return status < 0 ? l2_fail_in(status, "%s", path) : status;
}

static llama2_status is_model(llama2_context *ctx, const char *path, int *yes)
{
    l2_file_view view;
    L2_TRY(l2_file_map(ctx, path, &view));
    *yes = l2_llama2c_is_model(view.data, view.size);
    l2_file_release(ctx, &view);
    return LLAMA2_OK;
}

static llama2_status load_file(llama2_context *ctx, const char *path, const llama2_tokenizer_options *options,
                               llama2_tokenizer **out)
{
    int gguf, model;
    char *beside;
    L2_TRY(l2_gguf_recognise(ctx, path, &gguf));
    if (gguf) return load_gguf(ctx, path, options, out);
    L2_TRY(is_model(ctx, path, &model));
    if (!model) return load_plain(ctx, path, options, out);
    L2_TRY(l2_path_beside(ctx, path, "tokenizer.bin", &beside));
    llama2_status status = load_plain(ctx, beside, options, out);
    l2_free(ctx, beside);
    return status;
}

llama2_status l2_tokenizer_load(llama2_context *ctx, const char *path, const llama2_tokenizer_options *options,
                                llama2_tokenizer **out)
{
    char *model = NULL, *json = NULL;
    llama2_status status;
    if (l2_path_kind(path) != 2) return load_file(ctx, path, options, out);
    L2_CHECK(l2_path_join(ctx, path, "tokenizer.model", &model));
    L2_CHECK(l2_path_join(ctx, path, "tokenizer.json", &json));
    status = load_file(ctx, l2_path_kind(model) != 1 && l2_path_kind(json) == 1 ? json : model, options, out);
done:
    l2_free(ctx, model);
    l2_free(ctx, json);
    return status;
}

llama2_status l2_tokenizer_parse(llama2_context *ctx, const void *data, size_t size,
                                 const llama2_tokenizer_options *options, llama2_tokenizer **out)
{
    l2_gguf file;
    if (is_json(data, size)) return l2_tokenizer_json_read(ctx, data, size, NULL, 0, options, out);
    if (l2_llama2c_recognise(data, size)) return l2_llama2c_read(ctx, data, size, options, out);
    if (l2_tiktoken_recognise(data, size)) return l2_tiktoken_read(ctx, data, size, options, out);
    if (size < 4 || memcmp(data, "GGUF", 4) != 0) return l2_sentencepiece_read(ctx, data, size, options, out);
    if (size > options->max_bytes)
        return l2_fail(LLAMA2_E_LIMIT, "GGUF: %zu bytes; llama2_tokenizer_options.max_bytes allows %llu", size,
                       (unsigned long long)options->max_bytes);
    L2_TRY(l2_gguf_parse(ctx, data, size, &file));
    llama2_status status = l2_gguf_vocabulary_read(ctx, &file, options, out);
    l2_gguf_close(&file);
    return status;
}

/* --- writing --------------------------------------------------------------------------------- */

static llama2_status write_data(const llama2_tokenizer *tok, const char *path, const char *name, int original,
                                llama2_status (*make)(const llama2_tokenizer *tok, char **data, size_t *size))
{
    llama2_context *ctx = tok->ctx;
    char *file = NULL, *data = NULL;
    size_t size;
    llama2_status status;
    if (l2_path_kind(path) == 2)
        L2_CHECK(l2_path_join(ctx, path, name, &file));
    else
        L2_CHECK(l2_strndup(ctx, path, strlen(path), &file));
    if (original && tok->original) {
        status = l2_write_file(ctx, file, tok->original, tok->original_size);
    } else {
        L2_CHECK(make(tok, &data, &size));
        status = l2_write_file(ctx, file, data, size);
    }
done:
    l2_free(ctx, data);
    l2_free(ctx, file);
    return status;
}

/* What an earlier save of another tokenizer left. */
static llama2_status remove_other(const llama2_tokenizer *tok, const char *folder, const char *name)
{
    char *file;
    L2_TRY(l2_path_join(tok->ctx, folder, name, &file));
    llama2_status status = l2_path_kind(file) == 1 ? l2_remove_tree(tok->ctx, file) : LLAMA2_OK;
    l2_free(tok->ctx, file);
    return status;
}

llama2_status l2_tokenizer_save(const llama2_tokenizer *tok, const char *path)
{
    int json = tok->pretokenizer || tok->prefix_unless_space, folder = l2_path_kind(path) == 2, both = 0;
    if (folder) L2_TRY(write_data(tok, path, "tokenizer_config.json", 0, l2_tokenizer_config_write));
    L2_TRY(write_data(tok, path, json ? "tokenizer.json" : "tokenizer.model", 1,
                      json ? l2_tokenizer_json_write : l2_sentencepiece_write));
    if (!folder) return LLAMA2_OK;
    /* transformers 5 takes the order of merges from the pieces' ids where there is a tokenizer.model alone, and so
     * makes other ids of Llama 2's spaces. */
    if (!json) L2_TRY(l2_sentencepiece_has_merges(tok, &both));
    if (both)
        L2_TRY(write_data(tok, path, "tokenizer.json", 0, l2_tokenizer_json_write));
    else
        L2_TRY(remove_other(tok, path, json ? "tokenizer.model" : "tokenizer.json"));
    return remove_other(tok, path, "chat_template.jinja");
}
