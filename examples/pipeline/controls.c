/* Controls: what may not do as well as the chain. */
#include "pipeline/pipeline.h"

#include <stdlib.h>
#include <string.h>

static bool begin_from_sft(pipeline *p)
{
    llama2_model_free(p->model);
    p->model = NULL;
    return llama2_model_clone(p->reference, &p->model) >= 0;
}

/* Reward models that learnt from a coin. */
static bool train_shuffled_rewards(pipeline *p)
{
    const records *all[2] = {&p->data.helpful, &p->data.safety};
    bool ok = true;
    for (int which = 0; ok && which < 2; which++) {
        records coin = {0};
        pair_set train;
        copy_records(&coin, all[which]);
        shuffle_preferences(&coin, p->app.args.seed + 91);
        ok = pairs_encode(&p->app, p->data.tokenizer, &coin, p->set.max_tokens, LLAMA2_MARGIN_SMALL, false, &train);
        size_t n = train.n < (size_t)p->set.pairs ? train.n : (size_t)p->set.pairs,
               *order = app_shuffled(train.n, p->app.args.seed + 51);
        ok = ok && llama2_reward_model_create(p->app.ctx, p->reference, NULL, &p->rewards[which]) >= 0 &&
             train_reward(p, which, p->rewards[which], &train, order, n, p->set.reward_epochs, p->set.reward_lr, NULL);
        free(order);
        pairs_close(&train);
        records_free(&coin);
    }
    return ok;
}

/* SFT for as long again, and the same chain after reward models that know nothing. All are scored by the real ones. */
bool stage_controls(pipeline *p)
{
    pipeline c = *p; /* its curves and pool are its own */
    c.n_seconds = 0;
    c.model = NULL;
    c.pool = NULL;
    series *own[] = {&c.sft_loss, &c.reject_loss, &c.ppo_score, &c.ppo_kl, &c.ppo_gold, &c.best_of};
    for (size_t i = 0; i < sizeof own / sizeof *own; i++) *own[i] = (series){0};
    bool ok = begin_from_sft(&c) && fine_tune(&c, "sft again", &c.sft_loss) &&
              evaluate(&c, c.model, CONTROL_SFT, "SFT, twice as long");
    ok = ok && begin_from_sft(&c) && train_shuffled_rewards(&c) && stage_rejection(&c);
    for (int k = 0; ok && k < 2; k++) {
        llama2_reward_model *coin[2] = {c.rewards[0], c.rewards[1]};
        ok = k == 0 || stage_ppo(&c);
        memcpy(c.rewards, p->rewards, sizeof c.rewards);
        ok = ok && evaluate(&c, c.model, k == 0 ? CONTROL_REJECTION : CONTROL_PPO,
                            k == 0 ? "rejection, shuffled" : "PPO, shuffled");
        memcpy(c.rewards, coin, sizeof c.rewards);
    }
    for (int which = 0; which < 2; which++)
        if (c.rewards[which] != p->rewards[which]) llama2_reward_model_free(c.rewards[which]);
    for (size_t i = 0; i < sizeof own / sizeof *own; i++) series_free(own[i]);
    memcpy(p->outcomes, c.outcomes, sizeof p->outcomes);
    p->app = c.app; /* with the message, if there is one */
    llama2_pool_free(c.pool);
    llama2_model_free(c.model);
    return ok;
}
