/* AdamW's state: m and v in the layout of the model's arena. */
#ifndef L2_TRAIN_OPTIMIZER_H
#define L2_TRAIN_OPTIMIZER_H

#include "model/model.h"
#include <llama2/optimizer.h>

struct llama2_optimizer {
    llama2_context *ctx;
    atomic_int references;
    llama2_optimizer_options options; /* lr: the peak */
    int bound;                        /* to a trainer, for ever */
    int32_t dtype;
    int64_t n_elements; /* the model's, and those of a value head behind them */
    void *m, *v;
    int64_t updates; /* t of the bias correction */
};

llama2_status l2_optimizer_create(llama2_context *ctx, const llama2_optimizer_options *options, llama2_optimizer **out);
llama2_optimizer *l2_optimizer_retain(llama2_optimizer *optimizer);
void l2_optimizer_release(llama2_optimizer *optimizer);
llama2_status l2_optimizer_set_lr(llama2_optimizer *optimizer, double lr);

/* Makes the state, zeros, for a model and a value head of so many elements. STATE: it has one already. */
llama2_status l2_optimizer_bind(llama2_optimizer *optimizer, const llama2_model *model, int64_t value_head);
void l2_optimizer_unbind(llama2_optimizer *optimizer);

/* Is an update by these one that the weights' type can hold? An infinite factor would make NaN of every weight that has
 * no gradient, a scale of 0 would leave the gradients out, and a second moment that became infinite would stay so.
 * norm: of the scaled gradients. */
int l2_optimizer_holds(const llama2_optimizer *optimizer, double lr, double grad_scale, double norm);

/* One update of all weights from `gradients` (the arena's layout) times grad_scale; head_lr: of the value head. */
llama2_status l2_optimizer_apply(llama2_optimizer *optimizer, llama2_model *model, void *gradients, double lr,
                                 double head_lr, double grad_scale);

#endif
