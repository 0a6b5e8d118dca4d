/* The tensors of a Llama in Meta's and in GGUF files, and under the names of the model, which are those of Hugging
 * Face.
 */
#ifndef L2_MODEL_ROLES_H
#define L2_MODEL_ROLES_H

#include "base/status.h"
#include <llama2/model.h>

enum { L2_ONE, L2_WIDTH, L2_QUERIES, L2_KEYS, L2_FFN, L2_VOCABULARY };

/* How Meta's model-parallel shards divide it: blocks of rows, of columns, or each has it whole. */
enum { L2_SPLIT_ROWS, L2_SPLIT_COLUMNS, L2_COPIED };

/* Whose names. */
enum { L2_NAMES_MODEL, L2_NAMES_META, L2_NAMES_GGUF };

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
void l2_role_name(const l2_role *role, int32_t layer, int names, char name[64]);
/* Walking all layers and roles: is a tensor of this role there? Those of no layer come with layer 0. */
int l2_role_is_there(int role, int32_t layer, int has_output);

/* A tensor that a file has to hold. */
typedef struct l2_expected {
    char name[64];
    int32_t n_dims; /* 1: a vector, columns 1 */
    int64_t rows, columns;
} l2_expected;

l2_expected l2_role_expect(const llama2_config *config, const l2_role *role, int32_t layer, int names);
/* MISMATCH where the file's shape is another; the message says who asks: "config.json asks for". */
llama2_status l2_expected_check(const l2_expected *expected, int32_t n_dims, const int64_t *shape, const char *asks);
llama2_status l2_wrong_shape(const l2_expected *expected, int32_t n_dims, const int64_t *shape, const char *asks);

#endif
