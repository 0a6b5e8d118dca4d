/*
 * The loss of pretraining (section 2.2) and SFT (3.1): sum over targets of weight * -log p(token | before it). The two
 * differ in the data alone: in SFT prompt tokens have weight 0.
 */
#include "base/alloc.h"
#include "train/parts.h"
#include "train/trainer.h"

static llama2_status accumulate(llama2_trainer *trainer, const llama2_batch *batch, llama2_loss *loss)
{
    llama2_context *ctx = trainer->ctx;
    llama2_status status = LLAMA2_OK;
    int64_t *targets = NULL;
    l2_lm_loss lm = {batch->loss_weight, NULL};
    L2_CHECK(l2_scratch_get(ctx, (size_t)batch->n_tokens * sizeof *targets, &targets));
    L2_CHECK(l2_scratch_get(ctx, (size_t)batch->n_tokens * sizeof *lm.losses, &lm.losses));
    int64_t n = l2_batch_targets(batch, 1, targets);
    L2_CHECK(l2_token_loss_in_parts(trainer->model, batch, targets, n, 1, 0, l2_lm_token_loss, &lm, NULL, NULL,
                                    trainer->options.micro_batch_tokens, &trainer->activations));
    *loss = (llama2_loss){.struct_size = sizeof *loss, .targets = n};
    for (int64_t i = 0; i < n; i++) {
        /* One by one into the trainer's sums as well: their bits then do not depend on how batches were split. */
        double weight = l2_lm_weight(&lm, targets[i]);
        loss->sum += lm.losses[targets[i]];
        loss->weight += weight;
        l2_trainer_count(trainer, lm.losses[targets[i]], weight, 0);
    }
    l2_trainer_count(trainer, 0, 0, batch->n_tokens);
done:
    l2_scratch_put(ctx, lm.losses);
    l2_scratch_put(ctx, targets);
    return status;
}

llama2_status l2_lm_accumulate(llama2_trainer *trainer, const llama2_batch *batch, llama2_loss *loss)
{
    L2_TRY(l2_trainer_begin(trainer, batch, L2_HEAD_LM));
    return l2_trainer_end(trainer, accumulate(trainer, batch, loss));
}

llama2_status l2_lm_step(llama2_trainer *trainer, const llama2_batch *batch, llama2_step_metrics *metrics)
{
    llama2_loss loss;
    L2_TRY(l2_trainer_begin(trainer, batch, L2_HEAD_LM));
    return l2_trainer_end_step(trainer, accumulate(trainer, batch, &loss), metrics);
}
