/* The tensors of a Llama in Meta's and in GGUF files, and under the names of the model, which are those of Hugging
 * Face.
 */
#ifndef L2_MODEL_ROLES_H
#define L2_MODEL_ROLES_H

#include <llama2/model.h>

enum { L2_ONE, L2_WIDTH, L2_QUERIES, L2_KEYS, L2_FFN, L2_VOCABULARY };

/* How Meta's model-parallel shards divide it: blocks of rows, of columns, or each has it whole. */
enum { L2_SPLIT_ROWS, L2_SPLIT_COLUMNS, L2_COPIED };

/* A tensor of a layer, or (layer 0) of the model. */
typedef struct l2_role {
    const char *of_model, *meta, *gguf; /* names, within the layer */
    unsigned char layer, rows, columns; /* L2_ONE ...; columns L2_ONE: a vector */
    unsigned char rotary;               /* Meta and llama2.c have the two rows of a pair side by side */
    unsigned char split;
} l2_role;

enum {
    L2_ROLE_EMBEDDING,
    L2_ROLE_NORM,
    L2_ROLE_OUTPUT,
    L2_ROLE_ATTENTION_NORM,
    L2_ROLE_Q,
    L2_ROLE_K,
    L2_ROLE_V,
    L2_ROLE_O,
    L2_ROLE_FFN_NORM,
    L2_ROLE_GATE,
    L2_ROLE_UP,
    L2_ROLE_DOWN,
    L2_N_ROLES
};
extern const l2_role l2_roles[L2_N_ROLES];

/* The role of a parameter of the model, and its layer; NULL: none. */
const l2_role *l2_role_find(const char *of_model, int32_t *layer);
int64_t l2_role_extent(const llama2_config *config, int of);

#endif
