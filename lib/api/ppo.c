/* include/llama2/ppo.h */
#include "train/ppo.h"
#include "base/options.h"

static const llama2_ppo_options defaults = {
    .struct_size = sizeof defaults,
    .minibatch = 64,
    .beta = 0.01,
    .gamma = 1,
    .lambda = 0.95,
    .clip = 0.2,
    .value_clip = 0.2,
    .whiten_advantages = 1,
    .kl_estimator = LLAMA2_KL_K1,
    .epochs = 1,
    .shuffle = 1,
    .value_coef = 0.1,
};

void llama2_ppo_options_init(llama2_ppo_options *options, size_t size)
{
    l2_options_init(options, size, &defaults, sizeof defaults);
}

llama2_status llama2_rollouts_reference(llama2_rollouts *rollouts, const llama2_model *reference)
{
    if (!rollouts || !reference)
        return l2_fail(LLAMA2_E_INVALID, "llama2_rollouts_reference: rollouts or reference is NULL");
    return l2_rollouts_reference(rollouts, reference);
}

llama2_status llama2_rollouts_values(llama2_rollouts *rollouts, const llama2_reward_model *critic)
{
    if (!rollouts || !critic) return l2_fail(LLAMA2_E_INVALID, "llama2_rollouts_values: rollouts or critic is NULL");
    return l2_rollouts_values(rollouts, critic);
}

/* Each call sets its part of the host's struct: the rest is read first and written back. */
static llama2_status read_metrics(const llama2_ppo_metrics *metrics, llama2_ppo_metrics *full)
{
    *full = (llama2_ppo_metrics){.struct_size = sizeof *full};
    return l2_options_read(metrics, full, sizeof *full, "llama2_ppo_metrics");
}

static llama2_status give_metrics(llama2_ppo_metrics *metrics, const llama2_ppo_metrics *full)
{
    return metrics ? l2_struct_write(metrics, full, sizeof *full, "llama2_ppo_metrics") : LLAMA2_OK;
}

llama2_status llama2_ppo_advantages(llama2_rollouts *rollouts, const llama2_ppo_options *options,
                                    llama2_ppo_metrics *metrics)
{
    llama2_ppo_options o = defaults;
    llama2_ppo_metrics full;
    if (!rollouts) return l2_fail(LLAMA2_E_INVALID, "llama2_ppo_advantages: rollouts is NULL");
    L2_TRY(l2_options_read(options, &o, sizeof o, "llama2_ppo_options"));
    L2_TRY(read_metrics(metrics, &full));
    L2_TRY(l2_ppo_advantages(rollouts, &o, &full));
    return give_metrics(metrics, &full);
}

llama2_status llama2_ppo_update(llama2_trainer *policy, llama2_trainer *critic, const llama2_rollouts *rollouts,
                                const llama2_ppo_options *options, llama2_ppo_metrics *metrics)
{
    llama2_ppo_options o = defaults;
    llama2_ppo_metrics full;
    if (!policy || !rollouts) return l2_fail(LLAMA2_E_INVALID, "llama2_ppo_update: policy or rollouts is NULL");
    L2_TRY(l2_options_read(options, &o, sizeof o, "llama2_ppo_options"));
    L2_TRY(read_metrics(metrics, &full));
    L2_TRY(l2_ppo_update(policy, critic, rollouts, &o, &full));
    return give_metrics(metrics, &full);
}

double llama2_ppo_adapt_beta(double beta, double kl, double target, double horizon, int64_t samples)
{
    return l2_ppo_adapt_beta(beta, kl, target, horizon, samples);
}
