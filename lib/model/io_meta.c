/*
 * Models as Meta releases them: params.json, and consolidated.NN.pth, one a rank of model-parallel training. A linear
 * layer is divided by rows of its output (wq, wk, wv, w1, w3, output) or by columns of its input (wo, w2); the
 * embedding by columns, since Llama 3 by rows, which its shape shows; gains are in each file. Rotary pairs lie side by
 * side.
 */
#include "base/alloc.h"
#include "base/json.h"
#include "base/threads.h"
#include "format/joined.h"
#include "format/torch_pth.h"
#include "model/model.h"
#include "model/roles.h"

#include <inttypes.h>
#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

enum { MAX_SHARDS = 16, MAX_PARAMS = 1 << 20 };

/* What is a low frequency, in turns within the context of Llama 3's pretraining. */
enum { LOW_FREQUENCIES = 1 };

/* Of Llama 3, <|begin_of_text|>, <|end_of_text|> and <|eot_id|>: the last two end a text in Meta's programs. */
enum { LLAMA3_VOCABULARY = 128256, LLAMA3_BOS = 128000, LLAMA3_EOS = 128001, LLAMA3_EOT = 128009 };

typedef struct checkpoint {
    l2_source source; /* first: it is the checkpoint's address */
    llama2_context *ctx;
    char *folder;
    llama2_config config;
    l2_torch_file shards[MAX_SHARDS];
    unsigned char *checked[MAX_SHARDS]; /* a byte for each entry: its CRC has been */
    int32_t n_shards;
    int32_t embedding_split; /* L2_SPLIT_* */
} checkpoint;

/* --- params.json ----------------------------------------------------------------------------- */

/* The defaults are those of ModelArgs in Meta's code; 0, -1 or NaN: from elsewhere. */
typedef struct params {
    int64_t dim, n_layers, n_heads, n_kv_heads, vocab_size, multiple_of, max_seq_len, max_batch_size;
    double ffn_dim_multiplier, norm_eps, rope_theta, rope_scaling_factor, rope_high_freq_factor;
    int use_scaled_rope;
} params;

static const struct key {
    const char *name;
    size_t offset;
    char type; /* 'i'nteger, 'd'ouble, 'b'ool */
} keys[] = {
    {"dim", offsetof(params, dim), 'i'},
    {"n_layers", offsetof(params, n_layers), 'i'},
    {"n_heads", offsetof(params, n_heads), 'i'},
    {"n_kv_heads", offsetof(params, n_kv_heads), 'i'},
    {"vocab_size", offsetof(params, vocab_size), 'i'},
    {"multiple_of", offsetof(params, multiple_of), 'i'},
    {"max_seq_len", offsetof(params, max_seq_len), 'i'},
    {"max_batch_size", offsetof(params, max_batch_size), 'i'},
    {"ffn_dim_multiplier", offsetof(params, ffn_dim_multiplier), 'd'},
    {"norm_eps", offsetof(params, norm_eps), 'd'},
    {"rope_theta", offsetof(params, rope_theta), 'd'},
    {"use_scaled_rope", offsetof(params, use_scaled_rope), 'b'},
    {"rope_scaling_factor", offsetof(params, rope_scaling_factor), 'd'},
    {"rope_high_freq_factor", offsetof(params, rope_high_freq_factor), 'd'},
};

static llama2_status read_key(l2_json *json, const l2_json_string *name, params *p)
{
    int type;
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        void *to = (char *)p + keys[i].offset;
        if (!l2_json_equal(name, keys[i].name)) continue;
        L2_TRY(l2_json_peek(json, &type));
        if (type == L2_JSON_NULL) return l2_json_skip(json);
        return keys[i].type == 'i'   ? l2_json_read_int(json, to)
               : keys[i].type == 'd' ? l2_json_read_double(json, to)
                                     : l2_json_read_bool(json, to);
    }
    return l2_fail(LLAMA2_E_UNSUPPORTED, "is not known");
}

static llama2_status parse_params(const char *text, size_t length, params *p)
{
    l2_json json;
    int more;
    l2_json_begin(&json, text, length);
    L2_TRY(l2_json_enter(&json, L2_JSON_OBJECT));
    for (;;) {
        l2_json_string name;
        L2_TRY(l2_json_next_member(&json, &name, &more));
        if (!more) return l2_json_end(&json);
        llama2_status status = read_key(&json, &name, p);
        if (status < 0) return l2_fail_in(status, "\"%.*s\"", name.length > 64 ? 64 : (int)name.length, name.text);
    }
}

static llama2_status check_size(const char *name, int64_t size, int64_t limit)
{
    if (size < 1) return l2_fail(LLAMA2_E_FORMAT, "\"%s\" is %" PRId64 ", it must be positive", name, size);
    if (size > limit)
        return l2_fail(LLAMA2_E_LIMIT, "\"%s\" is %" PRId64 ", at most %" PRId64 " is supported", name, size, limit);
    return LLAMA2_OK;
}

static llama2_status check_params(params *p)
{
    if (!p->n_kv_heads) p->n_kv_heads = p->n_heads;
    L2_TRY(check_size("dim", p->dim, 1 << 20));
    L2_TRY(check_size("n_layers", p->n_layers, 1 << 16));
    L2_TRY(check_size("n_heads", p->n_heads, 1 << 16));
    L2_TRY(check_size("n_kv_heads", p->n_kv_heads, 1 << 16));
    L2_TRY(check_size("multiple_of", p->multiple_of, 1 << 20));
    if (p->vocab_size != -1) L2_TRY(check_size("vocab_size", p->vocab_size, 1 << 24));
    if (p->max_seq_len) L2_TRY(check_size("max_seq_len", p->max_seq_len, 1 << 28));
    if (p->n_heads % p->n_kv_heads)
        return l2_fail(LLAMA2_E_FORMAT, "\"n_heads\" %" PRId64 " is no multiple of \"n_kv_heads\" %" PRId64, p->n_heads,
                       p->n_kv_heads);
    if (p->dim % (2 * p->n_heads))
        return l2_fail(LLAMA2_E_FORMAT, "\"dim\" %" PRId64 " is no even multiple of \"n_heads\" %" PRId64, p->dim,
                       p->n_heads);
    if (!(p->norm_eps > 0) || !isfinite(p->norm_eps))
        return l2_fail(LLAMA2_E_FORMAT, "\"norm_eps\" is %g, it must be positive and finite", p->norm_eps);
    if (!(p->rope_theta > 0) || !isfinite(p->rope_theta))
        return l2_fail(LLAMA2_E_FORMAT, "\"rope_theta\" is %g, it must be positive and finite", p->rope_theta);
    if (!(p->ffn_dim_multiplier > 0) || p->ffn_dim_multiplier > 1000)
        return l2_fail(LLAMA2_E_FORMAT, "\"ffn_dim_multiplier\" is %g, expected above 0 and at most 1000",
                       p->ffn_dim_multiplier);
    if (!isnan(p->rope_scaling_factor) && !(p->rope_scaling_factor > 0 && isfinite(p->rope_scaling_factor)))
        return l2_fail(LLAMA2_E_FORMAT, "\"rope_scaling_factor\" is %g, it must be positive and finite",
                       p->rope_scaling_factor);
    if (!(p->rope_high_freq_factor > LOW_FREQUENCIES) || !isfinite(p->rope_high_freq_factor))
        return l2_fail(LLAMA2_E_FORMAT, "\"rope_high_freq_factor\" is %g, expected above %d and finite",
                       p->rope_high_freq_factor, LOW_FREQUENCIES);
    return LLAMA2_OK;
}

/* 2/3 of 4 dim, times the multiplier, up to a multiple. */
static int64_t ffn_dim(const params *p)
{
    int64_t hidden = (int64_t)(p->ffn_dim_multiplier * (double)(2 * 4 * p->dim / 3));
    return (hidden + p->multiple_of - 1) / p->multiple_of * p->multiple_of;
}

/* Meta gives the length to the program that runs the model: that of Llama 2, Llama 3, Code Llama by their theta, and of
 * Llama 3.1 and later. */
static int64_t context_length(const params *p)
{
    if (p->max_seq_len) return p->max_seq_len;
    if (p->use_scaled_rope) return 131072;
    return p->rope_theta == 5e5 ? 8192 : p->rope_theta == 1e6 ? 16384 : 4096;
}

/*
 * By which factor frequencies are lowered is not in the folders of Llama 3.1 to 3.3. Meta's code has 8, which is that
 * of all of them but the two small models of 3.2, whose factor is 32 by Meta's own Hugging Face folders.
 */
static double rope_factor(const params *p)
{
    static const struct {
        int64_t dim, n_layers;
    } of_32[] = {{2048, 16}, {3072, 28}};
    if (!isnan(p->rope_scaling_factor)) return p->rope_scaling_factor;
    for (size_t i = 0; i < sizeof of_32 / sizeof *of_32; i++)
        if (p->dim == of_32[i].dim && p->n_layers == of_32[i].n_layers) return 32;
    return 8;
}

static void scale_rope(const params *p, llama2_config *c)
{
    c->rope_scaling = LLAMA2_ROPE_SCALING_LLAMA3;
    c->rope_factor = rope_factor(p);
    c->rope_low_freq_factor = LOW_FREQUENCIES;
    c->rope_high_freq_factor = p->rope_high_freq_factor;
    c->rope_original_len = 8192;
}

static llama2_status read_params(checkpoint *c)
{
    char *path = NULL;
    l2_file_view view = {.data = NULL};
    params p = {.vocab_size = -1,
                .multiple_of = 256,
                .ffn_dim_multiplier = 1,
                .norm_eps = 1e-5,
                .rope_theta = 1e4,
                .rope_scaling_factor = NAN,
                .rope_high_freq_factor = 4};
    llama2_status status;
    L2_CHECK(l2_path_join(c->ctx, c->folder, "params.json", &path));
    L2_CHECK(l2_file_read(c->ctx, path, MAX_PARAMS, &view));
    status = parse_params((const char *)view.data, view.size, &p);
    if (status == LLAMA2_OK) status = check_params(&p);
    if (status < 0) {
        l2_fail_in(status, "%s", path);
        goto done;
    }
    c->config = (llama2_config){
        .struct_size = sizeof c->config,
        .vocab_size = (int32_t)p.vocab_size,
        .dim = (int32_t)p.dim,
        .n_layers = (int32_t)p.n_layers,
        .n_heads = (int32_t)p.n_heads,
        .n_kv_heads = (int32_t)p.n_kv_heads,
        .head_dim = (int32_t)(p.dim / p.n_heads),
        .ffn_dim = ffn_dim(&p) > INT32_MAX ? INT32_MAX : (int32_t)ffn_dim(&p),
        .max_seq_len = (int32_t)context_length(&p),
        .pad_id = -1,
        .norm_eps = p.norm_eps,
        .rope_theta = p.rope_theta,
        .init_std = 0.02,
    };
    if (p.use_scaled_rope) scale_rope(&p, &c->config);
done:
    l2_file_release(c->ctx, &view);
    l2_free(c->ctx, path);
    return status;
}

/* --- shards ---------------------------------------------------------------------------------- */

static llama2_status shard_path(const checkpoint *c, int32_t shard, char **path)
{
    char name[32];
    snprintf(name, sizeof name, "consolidated.%02d.pth", shard);
    return l2_path_join(c->ctx, c->folder, name, path);
}

static llama2_status open_shard(checkpoint *c)
{
    char *path;
    L2_TRY(shard_path(c, c->n_shards, &path));
    l2_torch_file *shard = &c->shards[c->n_shards];
    llama2_status status = l2_torch_open(c->ctx, path, 0, shard);
    l2_free(c->ctx, path);
    L2_TRY(status);
    status = l2_calloc(c->ctx, shard->zip.n_entries, 1, &c->checked[c->n_shards]);
    c->n_shards++;
    return status;
}

static llama2_status require(const l2_torch_file *shard, const char *name, const l2_torch_tensor **out)
{
    *out = l2_torch_find(shard, name);
    return *out ? LLAMA2_OK : l2_fail(LLAMA2_E_NOT_FOUND, "tensor \"%s\" is missing", name);
}

/* How many shards there are, from the rows of queries that the first one has; all of them opened. */
static llama2_status open_shards(checkpoint *c)
{
    const l2_torch_tensor *q;
    const l2_expected all = l2_role_expect(&c->config, &l2_roles[L2_ROLE_Q], 0, L2_NAMES_META);
    char *path = NULL;
    L2_TRY(open_shard(c));
    L2_TRY(require(&c->shards[0], all.name, &q));
    if (q->n_dims != 2 || q->shape[0] < 1 || all.rows % q->shape[0])
        return l2_wrong_shape(&all, q->n_dims, q->shape, "expected");
    int64_t n = all.rows / q->shape[0];
    if (n > MAX_SHARDS || c->config.n_kv_heads % n)
        return l2_fail(LLAMA2_E_UNSUPPORTED,
                       "the shapes of consolidated.00.pth are those of %" PRId64
                       " shards; at most %d are supported, and whole heads in each (n_kv_heads is %d)",
                       n, MAX_SHARDS, c->config.n_kv_heads);
    while (c->n_shards < n) {
        llama2_status status = open_shard(c);
        if (status < 0)
            return l2_fail_in(status, "by the shapes of consolidated.00.pth there are %" PRId64 " shards", n);
    }
    L2_TRY(shard_path(c, c->n_shards, &path));
    int more = l2_path_kind(path) == 1;
    l2_free(c->ctx, path);
    if (!more) return LLAMA2_OK;
    return l2_fail(LLAMA2_E_MISMATCH, "there is consolidated.%02d.pth, but consolidated.00.pth has shapes of %d shards",
                   c->n_shards, c->n_shards);
}

/* What the embedding says: the vocabulary, and how it is divided. */
static llama2_status read_vocabulary(checkpoint *c)
{
    const l2_torch_tensor *t, *output = l2_torch_find(&c->shards[0], "output.weight");
    llama2_config *config = &c->config;
    const l2_expected part = {"tok_embeddings.weight", 2, config->vocab_size, config->dim / c->n_shards};
    L2_TRY(require(&c->shards[0], part.name, &t));
    int by_rows = t->n_dims == 2 && t->shape[1] == config->dim;
    int64_t rows = t->n_dims == 2 && t->shape[0] <= INT32_MAX ? t->shape[0] * (by_rows ? c->n_shards : 1) : 0;
    if (rows < 1 || (!by_rows && t->shape[1] * c->n_shards != config->dim) ||
        (config->vocab_size >= 0 && rows != config->vocab_size))
        return l2_wrong_shape(&part, t->n_dims, t->shape, "expected");
    L2_TRY(check_size("rows of tok_embeddings", rows, 1 << 24));
    c->embedding_split = by_rows ? L2_SPLIT_ROWS : L2_SPLIT_COLUMNS;
    config->vocab_size = (int32_t)rows;
    config->tied = !output || (c->n_shards == 1 && output->data == t->data);
    /* The ids of the tokenizers: Llama 3's, else SentencePiece's. */
    config->bos_id = rows == LLAMA3_VOCABULARY ? LLAMA3_BOS : rows > 2 ? 1 : -1;
    config->eos_id = config->bos_id < 0 ? -1 : config->bos_id + 1;
    return LLAMA2_OK;
}

/* --- tensors --------------------------------------------------------------------------------- */

static int split_of(const checkpoint *c, const l2_role *role)
{
    return role == &l2_roles[L2_ROLE_EMBEDDING] ? c->embedding_split : role->split;
}

static llama2_status check_tensor(const checkpoint *c, const l2_torch_file *shard, const l2_role *role, int32_t layer,
                                  char *used, uint64_t *bytes)
{
    const l2_torch_tensor *t;
    l2_expected part = l2_role_expect(&c->config, role, layer, L2_NAMES_META);
    int32_t n = c->n_shards, split = split_of(c, role);
    if (split == L2_SPLIT_ROWS) part.rows = part.rows % n ? -1 : part.rows / n;
    if (split == L2_SPLIT_COLUMNS) part.columns = part.columns % n ? -1 : part.columns / n;
    L2_TRY(require(shard, part.name, &t));
    L2_TRY(l2_expected_check(&part, t->n_dims, t->shape, "expected"));
    used[t - shard->tensors] = 1;
    *bytes += (uint64_t)(part.rows * part.columns) * l2_dtype_size(t->dtype);
    return LLAMA2_OK;
}

/* Tables that the library computes itself. */
static int is_harmless(const l2_torch_tensor *t)
{
    static const char table[] = "rope.freqs";
    const size_t n = sizeof table - 1;
    return t->name_length >= n && memcmp(t->name + t->name_length - n, table, n) == 0;
}

/* All tensors there, of the right shapes, and no others, before memory for the model is taken. */
static llama2_status check_shard(const checkpoint *c, const l2_torch_file *shard)
{
    llama2_status status = LLAMA2_OK;
    uint64_t bytes = 0;
    char *used;
    L2_TRY(l2_calloc(c->ctx, shard->n_tensors, 1, &used));
    for (int32_t layer = 0; layer < c->config.n_layers; layer++)
        for (int i = 0; i < L2_N_ROLES; i++) {
            if (!l2_role_is_there(i, layer, !c->config.tied)) continue;
            L2_CHECK(check_tensor(c, shard, &l2_roles[i], layer, used, &bytes));
        }
    for (size_t i = 0; i < shard->n_tensors; i++) {
        const l2_torch_tensor *t = &shard->tensors[i];
        int is_tied = c->config.tied && t == l2_torch_find(shard, "output.weight");
        if (!used[i] && !is_tied && !is_harmless(t))
            L2_CHECK(l2_fail(LLAMA2_E_UNSUPPORTED, "tensor \"%.*s\" is not part of the Llama architecture",
                             t->name_length > 64 ? 64 : (int)t->name_length, t->name));
    }
    if (bytes > shard->view.size)
        status = l2_fail(LLAMA2_E_UNSUPPORTED, "several of its tensors are the same numbers in the file");
done:
    l2_free(c->ctx, used);
    return status;
}

static llama2_status check_shards(const checkpoint *c)
{
    for (int32_t i = 0; i < c->n_shards; i++) {
        llama2_status status = check_shard(c, &c->shards[i]);
        if (status < 0) return l2_fail_in(status, "consolidated.%02d.pth", i);
    }
    return LLAMA2_OK;
}

/* --- numbers --------------------------------------------------------------------------------- */

static const l2_torch_tensor *find_tensor(const checkpoint *c, const l2_param *p, int32_t shard, const l2_role **role)
{
    char name[64];
    int32_t layer;
    *role = l2_role_find(p->name, &layer);
    l2_role_name(*role, layer, L2_NAMES_META, name);
    return l2_torch_find(&c->shards[shard], name);
}

enum { CHECKED_AT_ONCE = 16 }; /* parameters, so that checking runs on all threads and not far ahead of reading */

typedef struct check_job {
    const l2_zip_entry *entries[CHECKED_AT_ONCE * MAX_SHARDS];
    const l2_file_view *views[CHECKED_AT_ONCE * MAX_SHARDS];
    unsigned char shards[CHECKED_AT_ONCE * MAX_SHARDS], failed[CHECKED_AT_ONCE * MAX_SHARDS];
} check_job;

static void check_entry(void *arg, int32_t task, int32_t worker)
{
    check_job *job = arg;
    (void)worker;
    job->failed[task] = l2_zip_entry_check(job->entries[task], job->views[task]) < 0;
}

/* The CRCs of the storages of n parameters, those that have not been checked before. */
static llama2_status check_numbers(checkpoint *c, const l2_param *first, int32_t n)
{
    check_job job = {.failed = {0}};
    int32_t n_entries = 0;
    for (int32_t i = 0; i < n * c->n_shards; i++) {
        const l2_role *role;
        l2_torch_file *shard = &c->shards[i % c->n_shards];
        const l2_zip_entry *entry = find_tensor(c, first + i / c->n_shards, i % c->n_shards, &role)->entry;
        unsigned char *checked = &c->checked[i % c->n_shards][entry - shard->zip.entries];
        if (*checked) continue;
        *checked = 1;
        job.entries[n_entries] = entry;
        job.views[n_entries] = &shard->view;
        job.shards[n_entries++] = (unsigned char)(i % c->n_shards);
    }
    if (n_entries > 0) l2_parallel(c->ctx, n_entries, check_entry, &job);
    for (int32_t i = 0; i < n_entries; i++)
        if (job.failed[i]) /* again, for the message */
            return l2_fail_in(l2_zip_entry_check(job.entries[i], job.views[i]), "consolidated.%02d.pth", job.shards[i]);
    return LLAMA2_OK;
}

/* Rows [first, first + n) of a parameter. */
static void read_rows(const checkpoint *c, const l2_param *p, int64_t first, int64_t n, int32_t dtype, void *out)
{
    l2_part parts[MAX_SHARDS];
    const l2_role *role = NULL;
    for (int32_t i = 0; i < c->n_shards; i++) {
        const l2_torch_tensor *t = find_tensor(c, p, i, &role);
        parts[i] = (l2_part){t->data, t->stride[0], t->n_dims > 1 ? t->stride[1] : 1, t->dtype};
    }
    int split = split_of(c, role);
    l2_joined whole = {.parts = parts,
                       .n_parts = split == L2_COPIED ? 1 : c->n_shards,
                       .axis = split == L2_SPLIT_COLUMNS ? L2_JOIN_COLUMNS : L2_JOIN_ROWS,
                       .rows = p->rows,
                       .columns = p->columns,
                       .head_dim = role->rotary ? c->config.head_dim : 0};
    l2_joined_read(c->ctx, &whole, first, n, dtype, out);
}

/* --- matrices as stored: those of a single file, row by row ---------------------------------- */

static int32_t stored_type(const l2_torch_tensor *t)
{
    return t->dtype == LLAMA2_BF16 ? L2_GGML_BF16 : t->dtype == LLAMA2_F16 ? L2_GGML_F16 : L2_GGML_F32;
}

static llama2_status keep_stored(const checkpoint *c, llama2_model *m, const l2_param *p)
{
    const l2_role *role;
    const l2_torch_tensor *t = find_tensor(c, p, 0, &role);
    if (t->stride[1] != 1 || t->stride[0] != p->columns)
        return l2_fail(LLAMA2_E_UNSUPPORTED, "tensor \"%.*s\" lies transposed in its file and can't be used as stored",
                       (int)t->name_length, t->name);
    m->stored[p - m->params] = (l2_stored){stored_type(t), t->data, (size_t)p->columns * l2_dtype_size(t->dtype),
                                           role->rotary ? c->config.head_dim : 0};
    return LLAMA2_OK;
}

/* --- matrices for one pass: joined where they are read --------------------------------------- */

static void close_checkpoint(checkpoint *c)
{
    llama2_context *ctx = c->ctx;
    for (int32_t i = 0; i < c->n_shards; i++) {
        l2_torch_close(&c->shards[i]);
        l2_free(ctx, c->checked[i]);
    }
    l2_free(ctx, c->folder);
    l2_free(ctx, c);
}

static llama2_status read_source(l2_source *source, const l2_param *p, int64_t first, int64_t n, int32_t dtype,
                                 void *out)
{
    checkpoint *c = (checkpoint *)source;
    llama2_status status = check_numbers(c, p, 1);
    if (status < 0) return l2_fail_in(status, "%s", c->folder);
    read_rows(c, p, first, n, dtype, out);
    return LLAMA2_OK;
}

static void forget_source(l2_source *source, const l2_param *p, int64_t first, int64_t n)
{
    const checkpoint *c = (const checkpoint *)source;
    for (int32_t i = 0; i < c->n_shards; i++) {
        const l2_role *role;
        const l2_torch_tensor *t = find_tensor(c, p, i, &role);
        int64_t begin = first, end = first + n, rows = t->shape[0], size = (int64_t)l2_dtype_size(t->dtype);
        if (split_of(c, role) == L2_SPLIT_ROWS) begin -= i * rows, end -= i * rows;
        begin = begin < 0 ? 0 : begin;
        end = end > rows ? rows : end;
        if (end <= begin) continue;
        /* Rows of a transposed matrix lie in all of its pages, which go with the last one. */
        int transposed = t->stride[0] < t->stride[1];
        int64_t from = transposed ? 0 : begin * t->stride[0], to = end < rows ? end * t->stride[0] : t->extent;
        if (!transposed || end == rows)
            l2_file_forget(&c->shards[i].view, t->data + from * size, (size_t)((to - from) * size));
    }
}

static void close_source(l2_source *source)
{
    close_checkpoint((checkpoint *)source);
}

/* The type that all its parts have, else one that holds the numbers of each. */
static int32_t joined_type(const checkpoint *c, const l2_param *p)
{
    const l2_role *role;
    int32_t type = stored_type(find_tensor(c, p, 0, &role));
    for (int32_t i = 1; i < c->n_shards; i++)
        if (stored_type(find_tensor(c, p, i, &role)) != type) return L2_GGML_F32;
    return type;
}

/* --- models ---------------------------------------------------------------------------------- */

static llama2_status read_param(checkpoint *c, llama2_model *m, const l2_param *p, int32_t weights)
{
    if (p->decay && weights == L2_WEIGHTS_ONE_PASS) {
        m->stored[p - m->params].type = joined_type(c, p);
        return LLAMA2_OK;
    }
    if (p->decay && weights == LLAMA2_WEIGHTS_AS_STORED) return keep_stored(c, m, p);
    int32_t left = m->n_params - (int32_t)(p - m->params), converted = weights == LLAMA2_WEIGHTS_CONVERTED;
    if (!converted || (p - m->params) % CHECKED_AT_ONCE == 0)
        L2_TRY(check_numbers(c, p, !converted ? 1 : left < CHECKED_AT_ONCE ? left : CHECKED_AT_ONCE));
    read_rows(c, p, 0, p->rows, m->dtype, l2_param_data(m, p));
    return LLAMA2_OK;
}

static llama2_status check_stored(const checkpoint *c, int32_t weights)
{
    if (weights != LLAMA2_WEIGHTS_AS_STORED || c->n_shards == 1) return LLAMA2_OK;
    return l2_fail(LLAMA2_E_UNSUPPORTED,
                   "matrices are divided over %d files and can't be used as stored; llama2_convert joins them",
                   c->n_shards);
}

static llama2_status read_model(checkpoint *c, const llama2_model_options *options, llama2_model **out)
{
    L2_TRY(read_params(c));
    L2_TRY(open_shards(c));
    L2_TRY(check_stored(c, options->weights));
    L2_TRY(read_vocabulary(c));
    L2_TRY(l2_config_check_limits(&c->config, "params.json"));
    L2_TRY(check_shards(c));
    L2_TRY(l2_model_new_for(c->ctx, &c->config, options, L2_HEAD_LM, 1, out));
    llama2_model *m = *out;
    if (c->config.vocab_size == LLAMA3_VOCABULARY)
        L2_TRY(l2_model_set_eos(m, (const int32_t[]){LLAMA3_EOS, LLAMA3_EOT}, 2));
    for (int32_t i = 0; i < m->n_params; i++) {
        L2_TRY(l2_context_check(c->ctx));
        L2_TRY(read_param(c, m, &m->params[i], options->weights));
    }
    return LLAMA2_OK;
}

/* What the model still needs of the files goes to it; returns the checkpoint, or NULL where that is the whole. */
static checkpoint *hand_over(checkpoint *c, llama2_model *m, int32_t weights)
{
    if (weights == LLAMA2_WEIGHTS_AS_STORED) {
        m->files[0] = c->shards[0].view;
        c->shards[0].view = (l2_file_view){.data = NULL};
    }
    if (weights != L2_WEIGHTS_ONE_PASS) return c;
    m->source = &c->source;
    return NULL;
}

llama2_status l2_model_recognise_meta(llama2_context *ctx, const char *folder, int *yes)
{
    static const char *const names[] = {"config.json", "params.json", "consolidated.00.pth"};
    int there[3] = {0};
    for (int i = 0; i < 3; i++) {
        char *path;
        L2_TRY(l2_path_join(ctx, folder, names[i], &path));
        there[i] = l2_path_kind(path) == 1;
        l2_free(ctx, path);
    }
    *yes = !there[0] && (there[1] || there[2]);
    return LLAMA2_OK;
}

llama2_status l2_model_read_meta(llama2_context *ctx, const char *folder, const llama2_model_options *options,
                                 llama2_model **out)
{
    checkpoint *c;
    *out = NULL;
    L2_TRY(l2_calloc(ctx, 1, sizeof *c, &c));
    c->source = (l2_source){read_source, forget_source, close_source};
    c->ctx = ctx;
    llama2_status status = l2_strndup(ctx, folder, strlen(folder), &c->folder);
    if (status == LLAMA2_OK) status = read_model(c, options, out);
    if (status == LLAMA2_OK) {
        c = hand_over(c, *out, options->weights);
    } else {
        l2_fail_in(status, "%s", folder);
        l2_model_release(*out);
        *out = NULL;
    }
    if (c) close_checkpoint(c);
    return status;
}
