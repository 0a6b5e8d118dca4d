#include "convert/convert.h"

#include "base/alloc.h"
#include "model/io_gguf.h"

#include <string.h>
#include <sys/stat.h>

/* --- progress -------------------------------------------------------------------------------- */

typedef struct progress {
    const llama2_model *model;
    const llama2_convert_options *options;
    int64_t done;
    l2_tokenizer_files *tokenizer; /* of the folder that is written, or NULL */
} progress;

/* When all numbers are written, and before the new model can be read, the older tokenizer goes. */
static llama2_status finish_step(const progress *p)
{
    return p->tokenizer && p->done == p->model->n_elements ? l2_tokenizer_files_retract(p->tokenizer) : LLAMA2_OK;
}

static llama2_status step(void *user, const l2_param *param, int64_t rows)
{
    progress *p = user;
    p->done += rows * param->columns;
    if (!p->options->progress) return finish_step(p);
    llama2_convert_event event = {.struct_size = sizeof event,
                                  .tensor = (int32_t)(param - p->model->params),
                                  .n_tensors = p->model->n_params,
                                  .elements_done = p->done,
                                  .elements = p->model->n_elements,
                                  .name = param->name};
    if (p->options->progress(p->options->progress_user, &event) == 0) return finish_step(p);
    return l2_fail(LLAMA2_E_USER, "the progress callback stopped the conversion");
}

/* --- types ----------------------------------------------------------------------------------- */

/* By LLAMA2_F32 ...; -1: not written. */
static const int32_t file_types[] = {L2_GGML_F32,  -1,           L2_GGML_BF16, L2_GGML_F16,
                                     L2_GGML_Q8_0, L2_GGML_Q4_0, L2_GGML_Q4_K, L2_GGML_Q6_K};

/* The type that all matrices have, F32 where they are not all BF16 or all F16. */
static int32_t type_of(const llama2_model *m)
{
    if (!m->stored) return LLAMA2_F32;
    int32_t of_all = m->stored[0].type;
    for (int32_t i = 1; i < m->n_params; i++)
        if (m->params[i].decay && m->stored[i].type != of_all) return LLAMA2_F32;
    return of_all == L2_GGML_BF16 ? LLAMA2_BF16 : of_all == L2_GGML_F16 ? LLAMA2_F16 : LLAMA2_F32;
}

/* --- writing --------------------------------------------------------------------------------- */

/* What else a GGUF file that the model comes from says of it. */
static llama2_status put_general(llama2_context *ctx, const char *from, l2_gguf_metadata *out)
{
    int is_gguf = 0;
    l2_gguf file;
    if (!from || l2_path_kind(from) != 1) return LLAMA2_OK;
    L2_TRY(l2_gguf_recognise(ctx, from, &is_gguf));
    if (!is_gguf) return LLAMA2_OK;
    L2_TRY(l2_gguf_open(ctx, from, 0, &file));
    l2_gguf_put_general(&file, out);
    l2_gguf_close(&file);
    return out->text.status;
}

/* from: the file that the model was read from, or NULL. */
static llama2_status write_gguf(const llama2_model *m, const char *from, const llama2_tokenizer *tokenizer,
                                const char *path, int32_t type, const llama2_convert_options *options)
{
    llama2_status status;
    const llama2_config *c = &m->config;
    const l2_eos *eos = l2_model_eos(m);
    const l2_gguf_ids ids = {c->bos_id, c->pad_id, eos->ids, eos->n};
    progress p = {m, options, 0, NULL};
    l2_gguf_metadata more;
    l2_gguf_metadata_begin(&more, m->ctx);
    L2_CHECK(put_general(m->ctx, from, &more));
    L2_CHECK(l2_gguf_vocabulary_write(tokenizer, c->vocab_size, &ids, &more));
    status = l2_model_write_gguf(m, path, file_types[type], &more, step, &p);
done:
    l2_gguf_metadata_free(&more);
    return status;
}

/* What lies at a path (a link itself, or what it leads to); all 0: nothing. */
typedef struct place {
    dev_t device;
    ino_t file;
} place;

static place place_of(const char *path, int follow)
{
    struct stat s;
    return (follow ? stat(path, &s) : lstat(path, &s)) == 0 ? (place){s.st_dev, s.st_ino} : (place){0, 0};
}

static int same_place(place a, place b)
{
    return a.device == b.device && a.file == b.file;
}

/* The older model goes with its tokenizer, and where it stays so does that. */
static llama2_status replace_folder(const llama2_model *m, double shift, double scale,
                                    const llama2_tokenizer *tokenizer, const char *path, int32_t type,
                                    const llama2_convert_options *options)
{
    llama2_status status;
    l2_tokenizer_files files;
    progress p = {m, options, 0, &files};
    char *config;
    L2_TRY(l2_path_join(m->ctx, path, "config.json", &config));
    const place older = place_of(config, 0);
    L2_CHECK(l2_tokenizer_files_prepare(m->ctx, tokenizer, path, &files));
    status = l2_model_write(m, path, type, shift, scale, step, &p);
    if (status < 0 && same_place(place_of(config, 0), older)) l2_tokenizer_files_put_back(&files);
    if (status >= 0) status = l2_tokenizer_files_commit(&files);
    l2_tokenizer_files_end(&files);
done:
    l2_free(m->ctx, config);
    return status;
}

/* A model without a tokenizer takes none away that is no older model's: its own, or one that was put there for it. */
static llama2_status write_alone(const llama2_model *m, double shift, double scale, const char *from, const char *path,
                                 int32_t type, const llama2_convert_options *options)
{
    progress p = {m, options, 0, NULL};
    char *config;
    L2_TRY(l2_path_join(m->ctx, path, "config.json", &config));
    int replaces = l2_path_kind(config) != 0 && !same_place(place_of(from, 1), place_of(path, 1));
    l2_free(m->ctx, config);
    return replaces ? replace_folder(m, shift, scale, NULL, path, type, options)
                    : l2_model_write(m, path, type, shift, scale, step, &p);
}

static llama2_status write_folder(const llama2_model *m, double shift, double scale, const llama2_tokenizer *tokenizer,
                                  const char *from, const char *path, int32_t type,
                                  const llama2_convert_options *options)
{
    if (type > LLAMA2_F16)
        return l2_fail(LLAMA2_E_INVALID, "a folder holds F32, BF16 or F16; quantised types need a GGUF file");
    if (tokenizer && tokenizer->n_pieces > m->config.vocab_size)
        return l2_fail(LLAMA2_E_MISMATCH, "the tokenizer has %d pieces, the model's vocabulary %d",
                       (int)tokenizer->n_pieces, (int)m->config.vocab_size);
    L2_TRY(l2_make_folder(m->ctx, path));
    return tokenizer ? replace_folder(m, shift, scale, tokenizer, path, type, options)
                     : write_alone(m, shift, scale, from, path, type, options);
}

static llama2_status prepare_beside(llama2_context *ctx, const char *path, const char *data, size_t size,
                                    l2_writer *out)
{
    char *beside;
    L2_TRY(l2_path_beside(ctx, path, "tokenizer.bin", &beside));
    llama2_status status = l2_writer_open(ctx, beside, out);
    if (status >= 0) status = l2_writer_write(out, data, size);
    if (status >= 0) status = l2_writer_sync(out);
    l2_free(ctx, beside);
    return status;
}

/* The tokenizer beside it; it is on the disk before the model is, but for its name, since not every one can be made. */
static llama2_status write_llama2c(const llama2_model *m, const llama2_tokenizer *tokenizer, const char *path,
                                   int32_t type, const llama2_convert_options *options)
{
    llama2_status status = LLAMA2_OK;
    progress p = {m, options, 0, NULL};
    l2_writer beside = {0};
    char *data = NULL;
    size_t size;
    if (type != LLAMA2_F32) return l2_fail(LLAMA2_E_INVALID, "a .bin of llama2.c holds F32 alone");
    if (tokenizer) L2_CHECK(l2_llama2c_write(tokenizer, m->config.vocab_size, &data, &size));
    if (tokenizer) L2_CHECK(prepare_beside(m->ctx, path, data, size, &beside));
    L2_CHECK(l2_model_write_llama2c(m, path, step, &p));
    if (tokenizer) status = l2_writer_commit(&beside);
done:
    l2_writer_abort(&beside);
    l2_free(m->ctx, data);
    return status;
}

llama2_status l2_model_save_gguf(const llama2_model *model, const llama2_tokenizer *tokenizer, const char *path,
                                 const llama2_convert_options *options)
{
    int32_t type = options->type == LLAMA2_TYPE_KEEP ? type_of(model) : options->type;
    return write_gguf(model, NULL, tokenizer, path, type, options);
}

static llama2_status load_tokenizer(llama2_context *ctx, const char *from, const char *named, llama2_tokenizer **out)
{
    llama2_tokenizer_options options;
    llama2_tokenizer_options_init(&options, sizeof options);
    llama2_status status = l2_tokenizer_load(ctx, named ? named : from, &options, out);
    return status == LLAMA2_E_NOT_FOUND && !named ? LLAMA2_OK : status;
}

static int ends_with(const char *path, const char *ending)
{
    size_t n = strlen(path), m = strlen(ending);
    return n >= m && strcmp(path + n - m, ending) == 0;
}

static int32_t format_of(const char *path, int32_t format)
{
    if (format != LLAMA2_FORMAT_AUTO) return format;
    return ends_with(path, ".gguf")  ? LLAMA2_FORMAT_GGUF
           : ends_with(path, ".bin") ? LLAMA2_FORMAT_LLAMA2C
                                     : LLAMA2_FORMAT_HUGGINGFACE;
}

llama2_status l2_convert(llama2_context *ctx, const char *from, const char *to, const llama2_convert_options *options)
{
    llama2_status status;
    llama2_model *m = NULL;
    llama2_tokenizer *tokenizer = NULL;
    double shift, scale;
    L2_TRY(l2_model_open(ctx, from, &m, &shift, &scale));
    L2_CHECK(load_tokenizer(ctx, from, options->tokenizer, &tokenizer));
    int32_t format = format_of(to, options->format), type = options->type;
    if (type == LLAMA2_TYPE_KEEP) type = format == LLAMA2_FORMAT_LLAMA2C ? LLAMA2_F32 : type_of(m);
    status = format == LLAMA2_FORMAT_GGUF      ? write_gguf(m, from, tokenizer, to, type, options)
             : format == LLAMA2_FORMAT_LLAMA2C ? write_llama2c(m, tokenizer, to, type, options)
                                               : write_folder(m, shift, scale, tokenizer, from, to, type, options);
done:
    llama2_tokenizer_free(tokenizer);
    l2_model_release(m);
    return status;
}
