#include "model/roles.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const l2_role l2_roles[L2_N_ROLES] = {
    {"model.embed_tokens.weight", "tok_embeddings.weight", "token_embd.weight", 0, L2_VOCABULARY, L2_WIDTH, 0,
     L2_SPLIT_COLUMNS},
    {"model.norm.weight", "norm.weight", "output_norm.weight", 0, L2_WIDTH, L2_ONE, 0, L2_COPIED},
    {"lm_head.weight", "output.weight", "output.weight", 0, L2_VOCABULARY, L2_WIDTH, 0, L2_SPLIT_ROWS},
    {"input_layernorm.weight", "attention_norm.weight", "attn_norm.weight", 1, L2_WIDTH, L2_ONE, 0, L2_COPIED},
    {"self_attn.q_proj.weight", "attention.wq.weight", "attn_q.weight", 1, L2_QUERIES, L2_WIDTH, 1, L2_SPLIT_ROWS},
    {"self_attn.k_proj.weight", "attention.wk.weight", "attn_k.weight", 1, L2_KEYS, L2_WIDTH, 1, L2_SPLIT_ROWS},
    {"self_attn.v_proj.weight", "attention.wv.weight", "attn_v.weight", 1, L2_KEYS, L2_WIDTH, 0, L2_SPLIT_ROWS},
    {"self_attn.o_proj.weight", "attention.wo.weight", "attn_output.weight", 1, L2_WIDTH, L2_QUERIES, 0,
     L2_SPLIT_COLUMNS},
    {"post_attention_layernorm.weight", "ffn_norm.weight", "ffn_norm.weight", 1, L2_WIDTH, L2_ONE, 0, L2_COPIED},
    {"mlp.gate_proj.weight", "feed_forward.w1.weight", "ffn_gate.weight", 1, L2_FFN, L2_WIDTH, 0, L2_SPLIT_ROWS},
    {"mlp.up_proj.weight", "feed_forward.w3.weight", "ffn_up.weight", 1, L2_FFN, L2_WIDTH, 0, L2_SPLIT_ROWS},
    {"mlp.down_proj.weight", "feed_forward.w2.weight", "ffn_down.weight", 1, L2_WIDTH, L2_FFN, 0, L2_SPLIT_COLUMNS},
};

int64_t l2_role_extent(const llama2_config *c, int of)
{
    switch (of) {
    case L2_WIDTH: return c->dim;
    case L2_QUERIES: return (int64_t)c->n_heads * c->head_dim;
    case L2_KEYS: return (int64_t)c->n_kv_heads * c->head_dim;
    case L2_FFN: return c->ffn_dim;
    case L2_VOCABULARY: return c->vocab_size;
    default: return 1;
    }
}

const l2_role *l2_role_find(const char *of_model, int32_t *layer)
{
    static const char layers[] = "model.layers.";
    int in_layer = strncmp(of_model, layers, sizeof layers - 1) == 0;
    char *end = NULL;
    *layer = in_layer ? (int32_t)strtol(of_model + sizeof layers - 1, &end, 10) : 0;
    if (in_layer) of_model = end + 1;
    for (size_t i = 0; i < L2_N_ROLES; i++)
        if (l2_roles[i].layer == in_layer && strcmp(l2_roles[i].of_model, of_model) == 0) return &l2_roles[i];
    return NULL;
}

void l2_role_name(const l2_role *role, int32_t layer, int names, char name[64])
{
    static const char *const layers[] = {"model.layers.", "layers.", "blk."};
    const char *const within[] = {role->of_model, role->meta, role->gguf};
    if (role->layer)
        snprintf(name, 64, "%s%d.%s", layers[names], layer, within[names]);
    else
        snprintf(name, 64, "%s", within[names]);
}

int l2_role_is_there(int role, int32_t layer, int has_output)
{
    return l2_roles[role].layer || (layer == 0 && (role != L2_ROLE_OUTPUT || has_output));
}

l2_expected l2_role_expect(const llama2_config *c, const l2_role *role, int32_t layer, int names)
{
    l2_expected e = {.n_dims = role->columns == L2_ONE ? 1 : 2,
                     .rows = l2_role_extent(c, role->rows),
                     .columns = l2_role_extent(c, role->columns)};
    l2_role_name(role, layer, names, e.name);
    return e;
}

llama2_status l2_expected_check(const l2_expected *e, int32_t n_dims, const int64_t *shape, const char *asks)
{
    if (n_dims == e->n_dims && shape[0] == e->rows && (n_dims == 1 || shape[1] == e->columns)) return LLAMA2_OK;
    return l2_wrong_shape(e, n_dims, shape, asks);
}

llama2_status l2_wrong_shape(const l2_expected *e, int32_t n_dims, const int64_t *shape, const char *asks)
{
    return l2_fail(LLAMA2_E_MISMATCH,
                   "tensor \"%s\" has %d dimensions (%" PRId64 ", %" PRId64 "), %s (%" PRId64 ", %" PRId64 ")", e->name,
                   n_dims, n_dims > 0 ? shape[0] : 1, n_dims > 1 ? shape[1] : 1, asks, e->rows, e->columns);
}
