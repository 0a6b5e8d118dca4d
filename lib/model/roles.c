#include "model/roles.h"
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
