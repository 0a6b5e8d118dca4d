/* Names, shapes and order of the parameters; the arena that holds them. */
#include "model/model.h"

#include "base/alloc.h"
#include "model/roles.h"

#include <string.h>

/* Lays parameters out one after the other. */
typedef struct layout {
    l2_param *params;
    int32_t n;
    int64_t elements;
} layout;

static void place(layout *l, l2_expected e)
{
    l2_param *p = &l->params[l->n++];
    memcpy(p->name, e.name, sizeof p->name);
    p->rows = e.rows;
    p->columns = e.columns;
    p->decay = e.n_dims == 2;
    p->offset = l->elements;
    l->elements += e.rows * e.columns;
}

enum { MATRICES_A_LAYER = 7, GAINS_A_LAYER = 2 };
static const unsigned char matrices[MATRICES_A_LAYER] = {L2_ROLE_Q,    L2_ROLE_K,  L2_ROLE_V,   L2_ROLE_O,
                                                         L2_ROLE_GATE, L2_ROLE_UP, L2_ROLE_DOWN};
static const unsigned char gains[GAINS_A_LAYER] = {L2_ROLE_ATTENTION_NORM, L2_ROLE_FFN_NORM};

static void place_role(layout *l, const llama2_config *c, int role, int32_t layer)
{
    place(l, l2_role_expect(c, &l2_roles[role], layer, L2_NAMES_MODEL));
}

static void place_all(layout *l, const llama2_config *c, int32_t head_kind)
{
    place_role(l, c, L2_ROLE_EMBEDDING, 0);
    for (int32_t i = 0; i < c->n_layers; i++)
        for (int j = 0; j < MATRICES_A_LAYER; j++) place_role(l, c, matrices[j], i);
    for (int32_t i = 0; i < c->n_layers; i++)
        for (int j = 0; j < GAINS_A_LAYER; j++) place_role(l, c, gains[j], i);
    place_role(l, c, L2_ROLE_NORM, 0);
    if (head_kind == L2_HEAD_SCORE)
        place(l, (l2_expected){"score.weight", 2, 1, c->dim});
    else if (!c->tied)
        place_role(l, c, L2_ROLE_OUTPUT, 0);
}

/* No data for a stored matrix, and for a gradient without an arena. */
static l2_tensor view(const llama2_model *m, void *arena, const l2_param *p)
{
    int there = arena && !(m->stored && p->decay);
    void *data = there ? (char *)arena + (size_t)p->offset * l2_dtype_size(m->dtype) : NULL;
    return p->decay ? l2_tensor_2d(m->dtype, data, p->rows, p->columns) : l2_tensor_1d(m->dtype, data, p->rows);
}

/* Points every weight (or gradient) of the model into `arena`, in the order of place_all. */
static void bind(llama2_model *m, void *arena, int gradients)
{
    const l2_param *p = m->params;
#define NEXT_LINEAR(linear) (*(gradients ? &(linear).grad : &(linear).weight) = view(m, arena, p++))
    NEXT_LINEAR(m->embedding);
    for (int32_t i = 0; i < m->config.n_layers; i++) {
        l2_layer *l = &m->layers[i];
        NEXT_LINEAR(l->q);
        NEXT_LINEAR(l->k);
        NEXT_LINEAR(l->v);
        NEXT_LINEAR(l->o);
        NEXT_LINEAR(l->gate);
        NEXT_LINEAR(l->up);
        NEXT_LINEAR(l->down);
    }
    for (int32_t i = 0; i < m->config.n_layers; i++) {
        NEXT_LINEAR(m->layers[i].attention_norm);
        NEXT_LINEAR(m->layers[i].ffn_norm);
    }
    NEXT_LINEAR(m->norm);
    if (p < m->params + m->n_params)
        NEXT_LINEAR(m->head);
    else
        *(gradients ? &m->head.grad : &m->head.weight) = gradients ? m->embedding.grad : m->embedding.weight; /* tied */
#undef NEXT_LINEAR
}

/* Matrices in the order of place_all: the embedding is parameter 0, then come 7 a layer; the head is last. */
static void bind_stored(llama2_model *m)
{
    const l2_stored *s = m->stored;
    m->embedding.stored = s++;
    for (int32_t i = 0; i < m->config.n_layers; i++) {
        l2_layer *l = &m->layers[i];
        l2_linear *const all[MATRICES_A_LAYER] = {&l->q, &l->k, &l->v, &l->o, &l->gate, &l->up, &l->down};
        for (int j = 0; j < MATRICES_A_LAYER; j++) all[j]->stored = s++;
    }
    m->head.stored = m->params[m->n_params - 1].decay ? &m->stored[m->n_params - 1] : m->stored;
}

/* The arena of a model whose matrices are stored begins with the first gain. Returns its elements. */
static int64_t gather_gains(llama2_model *m)
{
    int64_t n = 0;
    for (int32_t i = 0; i < m->n_params; i++) {
        if (m->params[i].decay) continue;
        m->params[i].offset = n;
        n += m->params[i].rows;
    }
    return n;
}

void l2_model_attach_gradients(llama2_model *model, void *arena)
{
    bind(model, arena, 1);
}

static llama2_status take_trunk(llama2_model *m, llama2_model *trunk)
{
    int unshared = 0;
    if (!atomic_compare_exchange_strong(&trunk->shared, &unshared, 1))
        return l2_fail(LLAMA2_E_BUSY, "the model has a head on its trunk already: free that first");
    m->trunk = l2_model_retain(trunk);
    m->weights = trunk->weights;
    m->params[m->n_params - 1].offset = trunk->n_elements;
    m->n_elements = trunk->n_elements + m->config.dim;
    return LLAMA2_OK;
}

static llama2_status make_model(llama2_context *ctx, const llama2_config *config, int32_t dtype, int32_t head_kind,
                                int stored, llama2_model *trunk, llama2_model **out)
{
    llama2_status status;
    llama2_model *m = NULL;
    *out = NULL;
    L2_TRY(l2_config_check(config));
    L2_CHECK(l2_calloc(ctx, 1, sizeof *m, &m));
    m->ctx = l2_context_retain(ctx);
    atomic_init(&m->references, 1);
    m->config = *config;
    m->config.struct_size = sizeof m->config;
    m->dtype = dtype;
    m->head_kind = head_kind;
    int32_t max_params = 1 + config->n_layers * (MATRICES_A_LAYER + GAINS_A_LAYER) + 2;
    L2_CHECK(l2_calloc(ctx, (size_t)max_params, sizeof *m->params, &m->params));
    layout l = {m->params, 0, 0};
    place_all(&l, config, head_kind);
    m->n_params = l.n;
    m->n_elements = l.elements;
    L2_CHECK(l2_calloc(ctx, (size_t)config->n_layers, sizeof *m->layers, &m->layers));
    size_t size = l2_dtype_size(dtype);
    int64_t in_arena = m->n_elements;
    if (stored) {
        L2_CHECK(l2_calloc(ctx, (size_t)m->n_params, sizeof *m->stored, &m->stored));
        in_arena = gather_gains(m);
    }
    if (trunk)
        L2_CHECK(take_trunk(m, trunk));
    else /* with room for the head of l2_model_share */
        L2_CHECK(l2_alloc(ctx, (size_t)(in_arena + config->dim), size, &m->weights));
    bind(m, m->weights, 0);
    bind(m, NULL, 1);
    if (stored) bind_stored(m);
    L2_CHECK(l2_alloc(ctx, (size_t)config->head_dim / 2, sizeof *m->frequencies, &m->frequencies));
    l2_config_frequencies(config, m->frequencies);
    L2_CHECK(l2_model_set_eos(m, &config->eos_id, config->eos_id >= 0));
    *out = m;
    m = NULL;
done:
    l2_model_release(m);
    return status;
}

llama2_status l2_model_new(llama2_context *ctx, const llama2_config *config, int32_t dtype, int32_t head_kind,
                           llama2_model **out)
{
    return make_model(ctx, config, dtype, head_kind, 0, NULL, out);
}

/* What ends a text of `from` for the new model too, which is released where that fails. */
static llama2_status take_eos(const llama2_model *from, llama2_model **out)
{
    const l2_eos *eos = l2_model_eos(from);
    llama2_status status = l2_model_set_eos(*out, eos->ids, eos->n);
    if (status >= 0) return status;
    l2_model_release(*out);
    *out = NULL;
    return status;
}

llama2_status l2_model_share(llama2_model *from, llama2_model **out)
{
    *out = NULL;
    L2_TRY(l2_model_check_changeable(from));
    L2_TRY(make_model(from->ctx, &from->config, from->dtype, L2_HEAD_SCORE, 0, from, out));
    return take_eos(from, out);
}

llama2_status l2_model_new_like(llama2_context *ctx, const llama2_model *from, int32_t head_kind, llama2_model **out)
{
    L2_TRY(l2_model_new(ctx, &from->config, from->dtype, head_kind, out));
    return take_eos(from, out);
}

/* The gains are copied, the matrices stay where they lie. */
static void share_stored(llama2_model *m, const llama2_model *from)
{
    for (int32_t i = 0; i < m->n_params; i++) {
        const l2_param *p = &m->params[i];
        m->stored[i] = from->stored[i];
        if (!p->decay) memcpy(l2_param_data(m, p), l2_param_data(from, p), (size_t)p->rows * l2_dtype_size(m->dtype));
    }
    m->stored_by = l2_model_retain(from->stored_by ? from->stored_by : (llama2_model *)(uintptr_t)from);
}

llama2_status l2_model_clone(const llama2_model *from, llama2_model **out)
{
    llama2_status status;
    llama2_model *m = NULL;
    *out = NULL;
    L2_CHECK(make_model(from->ctx, &from->config, from->dtype, from->head_kind, from->stored != NULL, NULL, &m));
    L2_CHECK(take_eos(from, &m));
    if (from->stored)
        share_stored(m, from);
    else
        L2_CHECK(l2_model_copy(m, from));
    *out = m;
    m = NULL;
done:
    l2_model_release(m);
    return status;
}

llama2_status l2_model_new_for(llama2_context *ctx, const llama2_config *config, const llama2_model_options *options,
                               int32_t head_kind, size_t n_files, llama2_model **out)
{
    int stored = options->weights != LLAMA2_WEIGHTS_CONVERTED;
    L2_TRY(make_model(ctx, config, options->dtype, head_kind, stored, NULL, out));
    if (!stored) return LLAMA2_OK;
    llama2_status status = l2_calloc(ctx, n_files, sizeof *(*out)->files, &(*out)->files);
    if (status >= 0) {
        (*out)->n_files = n_files;
        return status;
    }
    l2_model_release(*out);
    *out = NULL;
    return status;
}

llama2_model *l2_model_retain(llama2_model *model)
{
    atomic_fetch_add_explicit(&model->references, 1, memory_order_relaxed);
    return model;
}

void l2_model_release(llama2_model *m)
{
    if (!m || atomic_fetch_sub_explicit(&m->references, 1, memory_order_acq_rel) != 1) return;
    llama2_context *ctx = m->ctx;
    for (size_t i = 0; i < m->n_files; i++) l2_file_release(ctx, &m->files[i]);
    l2_model_release(m->stored_by);
    if (m->source) m->source->close(m->source);
    l2_free(ctx, m->files);
    l2_free(ctx, m->stored);
    l2_free(ctx, m->frequencies);
    if (m->trunk) {
        atomic_store(&m->trunk->shared, 0);
        l2_model_release(m->trunk);
    } else {
        l2_free(ctx, m->weights);
    }
    l2_model_free_eos(m);
    l2_free(ctx, m->layers);
    l2_free(ctx, m->params);
    l2_free(ctx, m);
    l2_context_release(ctx);
}

const l2_param *l2_model_find(const llama2_model *model, const char *name)
{
    for (int32_t i = 0; i < model->n_params; i++)
        if (strcmp(model->params[i].name, name) == 0) return &model->params[i];
    l2_fail(LLAMA2_E_NOT_FOUND, "no tensor is named \"%.64s\"; names are those of transformers, such as \"%s\"", name,
            model->params[0].name);
    return NULL;
}

llama2_status l2_model_read_rows(const llama2_model *m, const l2_param *p, int64_t first, int64_t n, int32_t dtype,
                                 void *out)
{
    enum { PIECE = 1 << 16 };
    if (!m->stored || !p->decay) {
        l2_tensor from = l2_tensor_1d(m->dtype, m->weights, n * p->columns),
                  to = l2_tensor_1d(dtype, out, n * p->columns);
        from.data = (char *)m->weights + (size_t)(p->offset + first * p->columns) * l2_dtype_size(m->dtype);
        return l2_op_copy(m->ctx, &from, &to);
    }
    if (m->source) return m->source->read(m->source, p, first, n, dtype, out);
    const l2_stored *s = &m->stored[p - m->params];
    if (dtype == LLAMA2_F32) {
        l2_stored_read(m->ctx, s, p->columns, NULL, first, n, out);
        return LLAMA2_OK;
    }
    float *piece = NULL;
    int64_t rows = 1 + PIECE / p->columns;
    L2_TRY(l2_scratch_get(m->ctx, (size_t)(rows * p->columns) * sizeof *piece, &piece));
    for (int64_t at = 0; at < n; at += rows) {
        int64_t count = n - at < rows ? n - at : rows;
        l2_stored_read(m->ctx, s, p->columns, NULL, first + at, count, piece);
        for (int64_t i = 0; i < count * p->columns; i++) ((double *)out)[at * p->columns + i] = (double)piece[i];
    }
    l2_scratch_put(m->ctx, piece);
    return LLAMA2_OK;
}

void l2_model_forget_rows(const llama2_model *m, const l2_param *p, int64_t first, int64_t n)
{
    if (!m->stored || !p->decay) return;
    /* Whole heads: in a file the rows of one may have another order. */
    int64_t unit = m->config.head_dim, end = (first + n + unit - 1) / unit * unit;
    first = first / unit * unit;
    n = (end < p->rows ? end : p->rows) - first;
    if (m->source) {
        m->source->forget(m->source, p, first, n);
        return;
    }
    const l2_stored *s = &m->stored[p - m->params];
    for (size_t i = 0; i < m->n_files; i++)
        l2_file_forget(&m->files[i], s->data + (size_t)first * s->row_bytes, (size_t)n * s->row_bytes);
}

llama2_status l2_model_check_changeable(const llama2_model *model)
{
    if (!model->stored) return LLAMA2_OK;
    return l2_fail(LLAMA2_E_UNSUPPORTED, "the model's weights are as stored in its file and can't be trained or set: "
                                         "load it with weights = LLAMA2_WEIGHTS_CONVERTED, the default");
}

/* The model that has the weights. */
static llama2_model *owner_of(const llama2_model *model)
{
    return model->trunk ? model->trunk : (llama2_model *)(uintptr_t)model;
}

/* users > 0: that many readers; -1: one that changes; 0: idle. */
llama2_status l2_model_enter(const llama2_model *model, int change)
{
    atomic_int *users = &owner_of(model)->users;
    int now = atomic_load_explicit(users, memory_order_relaxed);
    do {
        if (change ? now != 0 : now < 0)
            return l2_fail(LLAMA2_E_BUSY, now < 0 ? "the model is being trained by another call"
                                                  : "the model is in use by another call and can't be changed");
    } while (!atomic_compare_exchange_weak_explicit(users, &now, change ? -1 : now + 1, memory_order_acquire,
                                                    memory_order_relaxed));
    return LLAMA2_OK;
}

void l2_model_leave(const llama2_model *model, int change)
{
    llama2_model *owner = owner_of(model);
    if (change == L2_CHANGES) atomic_fetch_add_explicit(&owner->changes, 1, memory_order_relaxed);
    if (change)
        atomic_store_explicit(&owner->users, 0, memory_order_release);
    else
        atomic_fetch_sub_explicit(&owner->users, 1, memory_order_release);
}

uint64_t l2_model_changes(const llama2_model *model)
{
    return atomic_load_explicit(&owner_of(model)->changes, memory_order_relaxed);
}
