/*
 * Models as llama2.c's .bin, version 0: seven int32 numbers, then all tensors of a kind after each other, in fp32.
 * There is no magic number, so a file is one only if its size is exactly what its header says. What the format does not
 * say is as llama2.c has it: eps 1e-5, theta 10000. Rotary pairs lie side by side.
 */
#include "base/alloc.h"
#include "base/files.h"
#include "format/bytes.h"
#include "format/joined.h"
#include "model/model.h"
#include "model/roles.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

enum { HEADER = 7 * 4, TABLES = L2_N_ROLES };

/* The order of the file. A negative vocab_size says that the head is there; TABLES: cosines and sines, which are not
 * read, as llama2.c doesn't. */
static const unsigned char order[] = {
    L2_ROLE_EMBEDDING, L2_ROLE_ATTENTION_NORM, L2_ROLE_Q,  L2_ROLE_K,    L2_ROLE_V, L2_ROLE_O,     L2_ROLE_FFN_NORM,
    L2_ROLE_GATE,      L2_ROLE_DOWN,           L2_ROLE_UP, L2_ROLE_NORM, TABLES,    L2_ROLE_OUTPUT};
enum { N_KINDS = sizeof order };

static int64_t count_of(const llama2_config *c, int role)
{
    if (role == TABLES) return (int64_t)c->max_seq_len * c->head_dim;
    return l2_role_extent(c, l2_roles[role].rows) * l2_role_extent(c, l2_roles[role].columns);
}

/* Elements before tensor `role` of a layer; TABLES + 1: of all. Products are below 2^63 in a checked config. */
static int64_t offset_of(const llama2_config *c, int role, int32_t layer)
{
    int64_t at = 0;
    for (int i = 0; i < N_KINDS; i++) {
        if (order[i] == role) return at + layer * count_of(c, role);
        int32_t layers = order[i] != TABLES && l2_roles[order[i]].layer ? c->n_layers : 1;
        if (order[i] != L2_ROLE_OUTPUT || !c->tied) at += layers * count_of(c, order[i]);
    }
    return at;
}

static llama2_status no_model(const char *reason)
{
    return l2_fail(LLAMA2_E_FORMAT, "is no GGUF file, which begins with \"GGUF\", and no .bin of llama2.c: %s", reason);
}

static llama2_status read_header(const unsigned char *bytes, size_t size, llama2_config *c)
{
    int32_t h[7];
    if (size < HEADER) return no_model("its header has 28 bytes");
    for (int i = 0; i < 7; i++) h[i] = (int32_t)l2_get_u32(bytes + 4 * i);
    if (h[0] == 0x616b3432)
        return l2_fail(LLAMA2_E_UNSUPPORTED, "is a .bin of llama2.c of version %" PRId32 ", only version 0 is read",
                       h[1]);
    if (h[0] <= 0 || h[3] <= 0 || h[5] == 0 || h[5] == INT32_MIN || h[0] % h[3])
        return no_model("its first numbers are no dim, n_heads and vocab_size");
    *c = (llama2_config){
        .struct_size = sizeof *c,
        .dim = h[0],
        .ffn_dim = h[1],
        .n_layers = h[2],
        .n_heads = h[3],
        .n_kv_heads = h[4],
        .head_dim = h[0] / h[3],
        .vocab_size = h[5] < 0 ? -h[5] : h[5],
        .tied = h[5] > 0,
        .max_seq_len = h[6],
        .bos_id = 1,
        .eos_id = 2,
        .pad_id = -1,
        .norm_eps = 1e-5,
        .rope_theta = 10000,
        .init_std = 0.02,
    };
    return LLAMA2_OK;
}

static llama2_status check_size(const llama2_config *c, size_t size)
{
    uint64_t expected = HEADER + 4 * (uint64_t)offset_of(c, TABLES + 1, 0);
    if (size == expected) return LLAMA2_OK;
    return l2_fail(size < expected ? LLAMA2_E_TRUNCATED : LLAMA2_E_FORMAT,
                   "as a .bin of llama2.c (dim %d, %d layers, vocabulary %d) it should have %" PRIu64
                   " bytes, it has %zu",
                   c->dim, c->n_layers, c->vocab_size, expected, size);
}

/* Into the arena; a matrix of a model whose weights are as stored stays where it lies. */
static void read_param(llama2_model *m, const l2_param *p, const unsigned char *bytes)
{
    int32_t layer;
    const l2_role *role = l2_role_find(p->name, &layer);
    const unsigned char *data = bytes + HEADER + 4 * (size_t)offset_of(&m->config, (int)(role - l2_roles), layer);
    int64_t head_dim = role->rotary ? m->config.head_dim : 0;
    if (m->stored && p->decay) {
        m->stored[p - m->params] = (l2_stored){L2_GGML_F32, data, 4 * (size_t)p->columns, head_dim};
        return;
    }
    l2_part part = {data, p->columns, 1, LLAMA2_F32};
    l2_joined whole = {&part, 1, L2_JOIN_ROWS, p->rows, p->columns, head_dim};
    l2_joined_read(m->ctx, &whole, 0, p->rows, m->dtype, l2_param_data(m, p));
}

llama2_status l2_model_parse_llama2c(llama2_context *ctx, l2_file_view *view, const llama2_model_options *options,
                                     llama2_model **out)
{
    llama2_config c;
    llama2_model *m;
    *out = NULL;
    L2_TRY(read_header(view->data, view->size, &c));
    llama2_status status = l2_config_check(&c);
    if (status < 0) return l2_fail_in(LLAMA2_E_FORMAT, "is no GGUF file, and as a .bin of llama2.c");
    L2_TRY(check_size(&c, view->size));
    L2_TRY(l2_model_new_for(ctx, &c, options, L2_HEAD_LM, 1, &m));
    for (int32_t i = 0; i < m->n_params; i++) {
        status = l2_context_check(ctx);
        if (status < 0) {
            l2_model_release(m);
            return status;
        }
        read_param(m, &m->params[i], view->data);
    }
    if (m->stored) { /* the model keeps the file */
        m->files[0] = *view;
        *view = (l2_file_view){.data = NULL};
    }
    *out = m;
    return LLAMA2_OK;
}

llama2_status l2_model_read_llama2c(llama2_context *ctx, const char *path, const llama2_model_options *options,
                                    llama2_model **out)
{
    l2_file_view view;
    *out = NULL;
    L2_TRY(l2_file_map(ctx, path, &view));
    llama2_status status = l2_model_parse_llama2c(ctx, &view, options, out);
    l2_file_release(ctx, &view);
    return status < 0 ? l2_fail_in(status, "%s", path) : status;
}

/* --- writing --------------------------------------------------------------------------------- */

static llama2_status check_writable(const llama2_model *m)
{
    const llama2_config *c = &m->config;
    const l2_eos *eos = l2_model_eos(m);
    const struct {
        const char *what;
        int fits;
    } all[] = {
        {"a language model's head", m->head_kind == L2_HEAD_LM},
        {"norm_eps 1e-5", c->norm_eps == 1e-5},
        {"rope_theta 10000 without scaling", c->rope_theta == 10000 && c->rope_scaling == LLAMA2_ROPE_SCALING_NONE},
        {"heads of dim / n_heads", (int64_t)c->n_heads * c->head_dim == c->dim},
        {"the tokens 1 for BOS and 2 for EOS", c->bos_id == 1 && eos->n == 1 && eos->ids[0] == 2},
    };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        if (!all[i].fits)
            return l2_fail(LLAMA2_E_UNSUPPORTED, "a .bin of llama2.c is for models with %s, which this one has not",
                           all[i].what);
    return LLAMA2_OK;
}

static llama2_status write_header(const llama2_config *c, l2_writer *w)
{
    const int32_t h[7] = {c->dim,        c->ffn_dim,    c->n_layers,
                          c->n_heads,    c->n_kv_heads, c->tied ? c->vocab_size : -c->vocab_size,
                          c->max_seq_len};
    unsigned char bytes[HEADER];
    for (int i = 0; i < 7; i++) l2_put_u32(bytes + 4 * i, (uint32_t)h[i]);
    return l2_writer_write(w, bytes, sizeof bytes);
}

static llama2_status write_floats(l2_writer *w, const float *x, int64_t n)
{
    enum { PIECE = 256 };
    unsigned char bytes[4 * PIECE];
    for (int64_t at = 0, count; at < n; at += count) {
        count = n - at < PIECE ? n - at : PIECE;
        for (int64_t i = 0; i < count; i++) {
            uint32_t bits;
            memcpy(&bits, &x[at + i], sizeof bits);
            l2_put_u32(bytes + 4 * i, bits);
        }
        L2_TRY(l2_writer_write(w, bytes, 4 * (size_t)count));
    }
    return LLAMA2_OK;
}

/* cos and sin of each position and pair, for what still reads them. */
static llama2_status write_tables(const llama2_model *m, l2_writer *w)
{
    for (int sine = 0; sine < 2; sine++)
        for (int32_t t = 0; t < m->config.max_seq_len; t++)
            for (int32_t i = 0; i < m->config.head_dim / 2; i++) {
                double angle = t * m->frequencies[i];
                float number = (float)(sine ? sin(angle) : cos(angle));
                L2_TRY(write_floats(w, &number, 1));
            }
    return LLAMA2_OK;
}

/* Some whole heads of rows at a time, in the order of the file. */
static llama2_status write_param(const llama2_model *m, const l2_param *p, int rotary, l2_model_step step, void *user,
                                 l2_writer *w)
{
    enum { BAND = 1 << 18 };
    llama2_status status = LLAMA2_OK;
    int64_t head = m->config.head_dim, most = (BAND / p->columns / head + 1) * head;
    float *rows;
    L2_TRY(l2_scratch_get(m->ctx, (size_t)(most * p->columns) * sizeof *rows, &rows));
    for (int64_t first = 0, n; first < p->rows; first += n) {
        n = p->rows - first < most ? p->rows - first : most;
        L2_CHECK(l2_context_check(m->ctx));
        L2_CHECK(l2_model_read_rows(m, p, first, n, LLAMA2_F32, rows));
        l2_model_forget_rows(m, p, first, n);
        for (int64_t i = 0; i < n; i++)
            L2_CHECK(write_floats(w, rows + (rotary ? l2_rotary_row(i, head) : i) * p->columns, p->columns));
        if (step) L2_CHECK(step(user, p, n));
    }
done:
    l2_scratch_put(m->ctx, rows);
    return status;
}

static llama2_status write_kind(const llama2_model *m, int kind, l2_model_step step, void *user, l2_writer *w)
{
    if (kind == TABLES) return write_tables(m, w);
    const l2_role *role = &l2_roles[kind];
    int32_t layers = kind == L2_ROLE_OUTPUT && m->config.tied ? 0 : role->layer ? m->config.n_layers : 1;
    for (int32_t layer = 0; layer < layers; layer++) {
        char name[64];
        l2_role_name(role, layer, L2_NAMES_MODEL, name);
        const l2_param *p = l2_model_find(m, name);
        if (!p) return LLAMA2_E_NOT_FOUND;
        L2_TRY(write_param(m, p, role->rotary, step, user, w));
    }
    return LLAMA2_OK;
}

llama2_status l2_model_write_llama2c(const llama2_model *m, const char *path, l2_model_step step, void *user)
{
    l2_writer w = {0};
    llama2_status status;
    L2_CHECK(check_writable(m));
    L2_CHECK(l2_writer_open(m->ctx, path, &w));
    L2_CHECK(write_header(&m->config, &w));
    for (int i = 0; i < N_KINDS; i++) L2_CHECK(write_kind(m, order[i], step, user, &w));
    L2_CHECK(l2_writer_commit(&w));
done:
    l2_writer_abort(&w);
    return status < 0 ? l2_fail_in(status, "%s", path) : status;
}
