/* A host in C: an SFT step and a PPO iteration with a reward of its own. The other hosts here print the same bits. */
#include <llama2/llama2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void check(llama2_status status)
{
    if (status == LLAMA2_OK) return;
    fprintf(stderr, "%s: %s\n", llama2_status_name(status), llama2_last_error());
    exit(1);
}

static void print_bits(const char *name, double value)
{
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    printf("%s %016llx\n", name, (unsigned long long)bits);
}

/* FNV-1a */
static uint64_t hash(const void *data, size_t size)
{
    uint64_t h = 0xcbf29ce484222325u;
    for (size_t i = 0; i < size; i++) h = (h ^ ((const unsigned char *)data)[i]) * 0x100000001b3u;
    return h;
}

/* The reward: the share of even tokens in the response. */
static float reward(const int32_t *response, int64_t n)
{
    int64_t even = 0;
    for (int64_t t = 0; t < n; t++) even += response[t] % 2 == 0;
    return (float)even / (float)n;
}

int main(void)
{
    llama2_context_options context_options;
    llama2_context_options_init(&context_options, sizeof context_options);
    context_options.seed = 7, context_options.n_threads = 2;
    llama2_context *ctx;
    check(llama2_context_create(&context_options, &ctx));
    llama2_config config;
    llama2_config_init(&config, sizeof config);
    config.vocab_size = 96, config.dim = 32, config.n_layers = 2, config.n_heads = 4, config.n_kv_heads = 2;
    config.head_dim = 8, config.ffn_dim = 64, config.max_seq_len = 64;
    llama2_model *policy, *reference;
    check(llama2_model_create(ctx, &config, NULL, &policy));
    llama2_optimizer *adamw, *critic_adamw;
    check(llama2_optimizer_create(ctx, NULL, &adamw));
    check(llama2_optimizer_create(ctx, NULL, &critic_adamw));
    llama2_trainer *trainer, *critic_trainer;
    check(llama2_trainer_create(ctx, policy, adamw, NULL, &trainer));

    int32_t tokens[48]; /* SFT on 4 examples of 12 tokens, the first 4 of which are the prompt */
    float weights[48];
    for (int32_t i = 0; i < 48; i++) tokens[i] = 3 + (i * i * 7 + i) % 93, weights[i] = i % 12 < 4 ? 0 : 1;
    const int64_t offsets[] = {0, 12, 24, 36, 48};
    llama2_batch batch = {sizeof batch, 4, 48, tokens, offsets, weights};
    llama2_step_metrics step = {.struct_size = sizeof step};
    check(llama2_sft_step(trainer, &batch, &step));
    print_bits("sft loss", step.loss), print_bits("sft gradient norm", step.grad_norm);

    llama2_reward_model *critic;
    check(llama2_model_clone(policy, &reference));
    check(llama2_reward_model_create(ctx, policy, NULL, &critic));
    check(llama2_trainer_create_for_reward(ctx, critic, critic_adamw, NULL, &critic_trainer));
    llama2_rollout_options rollout_options;
    llama2_rollout_options_init(&rollout_options, sizeof rollout_options);
    rollout_options.samples_per_prompt = 3, rollout_options.max_new_tokens = 8, rollout_options.seed = 11;
    llama2_rollouts *rollouts;
    batch = (llama2_batch){sizeof batch, 4, 16, tokens, (const int64_t[]){0, 4, 8, 12, 16}, NULL};
    check(llama2_rollout(policy, &batch, &rollout_options, &rollouts));
    llama2_rollouts_view view = {.struct_size = sizeof view};
    check(llama2_rollouts_view_get(rollouts, &view));
    printf("rollout tokens %016llx\n", (unsigned long long)hash(view.tokens, (size_t)view.n_tokens * sizeof *view.tokens));
    float scores[12];
    for (int32_t s = 0; s < 12; s++) {
        int64_t first = view.offsets[s] + view.prompt_lengths[s];
        scores[s] = reward(view.tokens + first, view.offsets[s + 1] - first);
    }
    check(llama2_rollouts_set(rollouts, LLAMA2_ROLLOUTS_SCORES, scores, 12));
    check(llama2_rollouts_reference(rollouts, reference));
    check(llama2_rollouts_values(rollouts, critic));
    llama2_ppo_options ppo_options;
    llama2_ppo_options_init(&ppo_options, sizeof ppo_options);
    ppo_options.minibatch = 4, ppo_options.epochs = 2;
    llama2_ppo_metrics ppo = {.struct_size = sizeof ppo};
    check(llama2_ppo_advantages(rollouts, &ppo_options, &ppo));
    check(llama2_ppo_update(trainer, critic_trainer, rollouts, &ppo_options, &ppo));
    print_bits("ppo score", ppo.score), print_bits("ppo policy loss", ppo.policy_loss), print_bits("ppo value loss", ppo.value_loss);
    float weight[32 * 32];
    check(llama2_model_get_tensor(policy, "model.layers.0.self_attn.q_proj.weight", weight, 32 * 32, NULL));
    printf("weight %016llx\n", (unsigned long long)hash(weight, sizeof weight));
    llama2_rollouts_free(rollouts), llama2_trainer_free(critic_trainer), llama2_reward_model_free(critic), llama2_optimizer_free(critic_adamw);
    llama2_trainer_free(trainer), llama2_optimizer_free(adamw), llama2_model_free(reference), llama2_model_free(policy), llama2_context_free(ctx);
    return 0;
}
