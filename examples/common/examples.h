/* Examples to fine-tune on, as tokens with weights, and the steps over them: SFT, and rejection sampling's last part.
 */
#ifndef EXAMPLES_EXAMPLES_H
#define EXAMPLES_EXAMPLES_H

#include "common/records.h"
#include "common/run.h"

typedef struct example {
    int32_t *tokens;
    float *weights;
    int64_t n;
} example;

typedef struct example_set {
    example *items;
    size_t n, capacity;
} example_set;

/* Copies one; weights NULL: 0 on the first `prompt` tokens, 1 on the others. */
void examples_add(example_set *set, const int32_t *tokens, const float *weights, int64_t prompt, int64_t n);
/* All demonstrations, with the weight `earlier` on answers before the last (0 where a record says so). Those whose last
 * turn does not fit max_tokens are left out and counted in *left_out. */
bool examples_encode(app *a, const llama2_tokenizer *tokenizer, const records *r, float earlier, int64_t max_tokens,
                     example_set *set, int64_t *left_out);
/* examples[index[0 .. n)] as a batch, valid until the packer is used again. */
bool examples_batch(app *a, const example_set *set, const size_t *index, size_t n, llama2_packer *packer,
                    llama2_batch *batch);
/* The mean loss over the tokens with a weight, each example by itself. */
bool examples_evaluate(app *a, const llama2_model *model, const example_set *set, double *loss);
void examples_free(example_set *set);

/* A hash of all tokens and weights. */
uint64_t examples_hash(const example_set *set, uint64_t hash);

typedef struct example_steps {
    int64_t epochs, batch; /* examples a step */
    int64_t concatenate; /* tokens of a sequence that examples fill one after the other, as in the paper; 0: a sequence
                            each */
    const llama2_mixture *mixture; /* which examples an epoch has; NULL: all */
    const size_t *ends;            /* of its sources, one after the other */
} example_steps;

/* Steps in all. */
int64_t examples_steps(const example_set *set, const example_steps *o);

/* Takes the steps from r->step on, in an order that the seed and the epoch, or the mixture, give. *loss: of the last
 * step. */
bool examples_train(run *r, llama2_trainer *trainer, const example_set *set, const example_steps *o, double *loss);

#endif
