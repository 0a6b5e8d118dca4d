/* Which file a tokenizer is read from and written to; files are told apart by their content. */
#include "base/alloc.h"
#include "base/context.h"
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

typedef llama2_status (*make_fn)(const llama2_tokenizer *tok, char **data, size_t *size);

/* Cut off anywhere, a folder has one tokenizer or none: what one is read from comes last. */
static const char *const file_names[L2_TOKENIZER_FILES] = {"tokenizer_config.json", "chat_template.jinja",
                                                           "tokenizer.json", "tokenizer.model"};
enum { CONFIG, TEMPLATE, JSON, MODEL };

static int holds(llama2_context *ctx, const char *path, const void *data, size_t size)
{
    l2_file_view there;
    if (l2_path_kind(path) != 1 || l2_file_read(ctx, path, size, &there) < 0) return 0;
    int same = there.size == size && memcmp(there.data, data, size) == 0;
    l2_file_release(ctx, &there);
    return same;
}

/* The bytes as they were read, where they are (original) and are kept, else made; under a temporary name, synced.
 * *changes (or NULL) is set where the file holds others, or is not there. */
static llama2_status prepare_file(const llama2_tokenizer *tok, const char *path, int original, make_fn make,
                                  l2_writer *out, int *changes)
{
    llama2_context *ctx = tok->ctx;
    llama2_status status;
    char *made = NULL;
    size_t size = tok->original_size;
    int as_read = original && tok->original;
    if (!as_read) L2_TRY(make(tok, &made, &size));
    const void *data = as_read ? (const void *)tok->original : made;
    if (changes) *changes |= !holds(ctx, path, data, size);
    L2_CHECK(l2_writer_open(ctx, path, out));
    L2_CHECK(l2_writer_write(out, data, size));
    status = l2_writer_sync(out);
done:
    l2_free(ctx, made);
    return status;
}

static int is_json_kind(const llama2_tokenizer *tok)
{
    return tok->pretokenizer || tok->prefix_unless_space;
}

/* By CONFIG ... MODEL; NULL: the file is not written. */
static llama2_status choose_files(const llama2_tokenizer *tok, make_fn make[L2_TOKENIZER_FILES])
{
    int both = is_json_kind(tok);
    make[CONFIG] = l2_tokenizer_config_write;
    make[MODEL] = both ? NULL : l2_sentencepiece_write;
    /* transformers 5 takes the order of merges from the pieces' ids where there is a tokenizer.model alone, and so
     * makes other ids of Llama 2's spaces. */
    if (!both) L2_TRY(l2_sentencepiece_has_merges(tok, &both));
    make[JSON] = both ? l2_tokenizer_json_write : NULL;
    return LLAMA2_OK;
}

llama2_status l2_tokenizer_files_prepare(llama2_context *ctx, const llama2_tokenizer *tok, const char *folder,
                                         l2_tokenizer_files *out)
{
    llama2_status status;
    make_fn make[L2_TOKENIZER_FILES] = {NULL};
    char *path = NULL;
    *out = (l2_tokenizer_files){.ctx = ctx};
    if (tok) L2_CHECK(choose_files(tok, make));
    for (int i = 0; i < L2_TOKENIZER_FILES; ++i) {
        L2_CHECK(l2_path_join(ctx, folder, file_names[i], &path));
        L2_CHECK(l2_aside_begin(ctx, path, &out->older[i]));
        int original = i == MODEL || (i == JSON && !make[MODEL]);
        if (make[i])
            L2_CHECK(prepare_file(tok, path, original, make[i], &out->newer[i], &out->changes));
        else
            out->changes |= l2_path_kind(path) != 0;
        l2_free(ctx, path);
        path = NULL;
    }
done:
    l2_free(ctx, path);
    if (status < 0) l2_tokenizer_files_end(out);
    return status;
}

llama2_status l2_tokenizer_files_retract(l2_tokenizer_files *files)
{
    for (int i = L2_TOKENIZER_FILES; files->changes && i-- > 0;) {
        llama2_status status = l2_aside_move(&files->older[i]);
        if (status < 0) {
            l2_tokenizer_files_put_back(files);
            return status;
        }
    }
    return LLAMA2_OK;
}

llama2_status l2_tokenizer_files_commit(l2_tokenizer_files *files)
{
    for (int i = 0; i < L2_TOKENIZER_FILES; ++i) {
        if (!files->changes || !files->newer[i].ctx) continue;
        files->placed[i] = 1; /* a commit that fails may have placed it */
        L2_TRY(l2_writer_commit(&files->newer[i]));
    }
    return LLAMA2_OK;
}

void l2_tokenizer_files_put_back(l2_tokenizer_files *files)
{
    for (int i = 0; i < L2_TOKENIZER_FILES; ++i) {
        if (files->placed[i]) files->ctx->files->unlink(files->older[i].path);
        files->placed[i] = 0;
    }
    for (int i = 0; i < L2_TOKENIZER_FILES; ++i) l2_aside_put_back(&files->older[i]);
}

void l2_tokenizer_files_end(l2_tokenizer_files *files)
{
    for (int i = 0; i < L2_TOKENIZER_FILES; ++i) {
        l2_writer_abort(&files->newer[i]);
        l2_aside_end(&files->older[i]);
    }
    *files = (l2_tokenizer_files){.ctx = NULL};
}

static llama2_status save_folder(const llama2_tokenizer *tok, const char *path)
{
    l2_tokenizer_files files;
    L2_TRY(l2_tokenizer_files_prepare(tok->ctx, tok, path, &files));
    llama2_status status = l2_tokenizer_files_retract(&files);
    if (status >= 0) status = l2_sync_folder(tok->ctx, path);
    if (status >= 0) status = l2_tokenizer_files_commit(&files);
    if (status < 0) l2_tokenizer_files_put_back(&files);
    l2_tokenizer_files_end(&files);
    return status;
}

llama2_status l2_tokenizer_save(const llama2_tokenizer *tok, const char *path)
{
    l2_writer file = {0};
    if (l2_path_kind(path) == 2) return save_folder(tok, path);
    llama2_status status =
        prepare_file(tok, path, 1, is_json_kind(tok) ? l2_tokenizer_json_write : l2_sentencepiece_write, &file, NULL);
    if (status >= 0) return l2_writer_commit(&file);
    l2_writer_abort(&file);
    return status;
}
