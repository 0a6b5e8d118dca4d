/*
 * Models as llama2.c's .bin, version 0: seven int32 numbers, then all tensors of a kind after each other, in fp32.
 * There is no magic number, so a file is one only if its size is exactly what its header says. What the format does not
 * say is as llama2.c has it: eps 1e-5, theta 10000. Rotary pairs lie side by side.
 */
#include "base/files.h"
#include "format/bytes.h"
#include "format/joined.h"
#include "model/model.h"
#include "model/roles.h"

#include <inttypes.h>

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

llama2_status l2_model_parse_llama2c(llama2_context *ctx, const l2_file_view *view, int32_t dtype, llama2_model **out)
{
    llama2_config c;
    *out = NULL;
    L2_TRY(read_header(view->data, view->size, &c));
    llama2_status status = l2_config_check(&c);
    if (status < 0) return l2_fail_in(LLAMA2_E_FORMAT, "is no GGUF file, and as a .bin of llama2.c");
    L2_TRY(check_size(&c, view->size));
    L2_TRY(l2_model_new(ctx, &c, dtype, L2_HEAD_LM, out));
    for (int32_t i = 0; i < (*out)->n_params; i++) {
        const l2_param *p = &(*out)->params[i];
        int32_t layer;
        const l2_role *role = l2_role_find(p->name, &layer);
        int64_t at = offset_of(&c, (int)(role - l2_roles), layer);
        l2_part part = {view->data + HEADER + 4 * (size_t)at, p->columns, 1, LLAMA2_F32};
        l2_joined whole = {&part, 1, L2_JOIN_ROWS, p->rows, p->columns, role->rotary ? c.head_dim : 0};
        l2_joined_read(ctx, &whole, 0, p->rows, dtype, l2_param_data(*out, p));
    }
    return LLAMA2_OK;
}

llama2_status l2_model_read_llama2c(llama2_context *ctx, const char *path, int32_t dtype, llama2_model **out)
{
    l2_file_view view;
    *out = NULL;
    L2_TRY(l2_file_map(ctx, path, &view));
    llama2_status status = l2_model_parse_llama2c(ctx, &view, dtype, out);
    l2_file_release(ctx, &view);
    return status < 0 ? l2_fail_in(status, "%s", path) : status;
}
