// host.c in C++17: handles free themselves, errors are exceptions.
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <llama2/llama2.hpp>
#include <vector>

using llama2::check;

static void print_bits(const char *name, double value)
{
    unsigned long long bits;
    std::memcpy(&bits, &value, sizeof bits);
    std::printf("%s %016llx\n", name, bits);
}

static void print_hash(const char *name, const void *data, std::size_t size) // FNV-1a
{
    unsigned long long h = 0xcbf29ce484222325u;
    for (std::size_t i = 0; i < size; i++) h = (h ^ static_cast<const unsigned char *>(data)[i]) * 0x100000001b3u;
    std::printf("%s %016llx\n", name, h);
}

static float reward(const std::int32_t *begin, const std::int32_t *end) // the share of even tokens in the response
{
    int even = 0;
    for (auto token = begin; token != end; ++token) even += *token % 2 == 0;
    return static_cast<float>(even) / static_cast<float>(end - begin);
}

static llama2_batch batch_of(const std::vector<std::int32_t> &tokens, const std::vector<std::int64_t> &offsets, const float *weights)
{
    auto batch = llama2::sized<llama2_batch>();
    batch.n_sequences = static_cast<std::int32_t>(offsets.size()) - 1, batch.n_tokens = offsets.back();
    batch.tokens = tokens.data(), batch.offsets = offsets.data(), batch.loss_weight = weights;
    return batch;
}

static void run()
{
    auto context_options = llama2::defaults(llama2_context_options_init);
    context_options.seed = 7, context_options.n_threads = 2;
    llama2::context ctx;
    check(llama2_context_create(&context_options, ctx.out()));
    auto config = llama2::defaults(llama2_config_init);
    config.vocab_size = 96, config.dim = 32, config.n_layers = 2, config.n_heads = 4, config.n_kv_heads = 2;
    config.head_dim = 8, config.ffn_dim = 64, config.max_seq_len = 64;
    llama2::model policy, reference;
    check(llama2_model_create(ctx, &config, nullptr, policy.out()));
    llama2::optimizer adamw, critic_adamw;
    llama2::trainer trainer, critic_trainer;
    for (auto one : {&adamw, &critic_adamw}) check(llama2_optimizer_create(ctx, nullptr, one->out()));
    check(llama2_trainer_create(ctx, policy, adamw, nullptr, trainer.out()));

    std::vector<std::int32_t> tokens(48);
    std::vector<float> weights(48);
    for (std::int32_t i = 0; i < 48; i++) tokens[i] = 3 + (i * i * 7 + i) % 93, weights[i] = i % 12 < 4 ? 0.f : 1.f;
    const std::vector<std::int64_t> examples{0, 12, 24, 36, 48}, prompts{0, 4, 8, 12, 16};
    auto batch = batch_of(tokens, examples, weights.data());
    auto step = llama2::sized<llama2_step_metrics>();
    check(llama2_sft_step(trainer, &batch, &step));
    print_bits("sft loss", step.loss), print_bits("sft gradient norm", step.grad_norm);

    llama2::reward_model critic;
    check(llama2_model_clone(policy, reference.out()));
    check(llama2_reward_model_create(ctx, policy, nullptr, critic.out()));
    check(llama2_trainer_create_for_reward(ctx, critic, critic_adamw, nullptr, critic_trainer.out()));
    auto rollout_options = llama2::defaults(llama2_rollout_options_init);
    rollout_options.samples_per_prompt = 3, rollout_options.max_new_tokens = 8, rollout_options.seed = 11;
    llama2::rollouts rollouts;
    batch = batch_of(tokens, prompts, nullptr);
    check(llama2_rollout(policy, &batch, &rollout_options, rollouts.out()));
    auto view = llama2::sized<llama2_rollouts_view>();
    check(llama2_rollouts_view_get(rollouts, &view));
    print_hash("rollout tokens", view.tokens, static_cast<std::size_t>(view.n_tokens) * sizeof *view.tokens);
    std::vector<float> scores;
    for (int s = 0; s < view.n_samples; s++)
        scores.push_back(reward(view.tokens + view.offsets[s] + view.prompt_lengths[s], view.tokens + view.offsets[s + 1]));
    check(llama2_rollouts_set(rollouts, LLAMA2_ROLLOUTS_SCORES, scores.data(), view.n_samples));
    check(llama2_rollouts_reference(rollouts, reference));
    check(llama2_rollouts_values(rollouts, critic));
    auto ppo_options = llama2::defaults(llama2_ppo_options_init);
    ppo_options.minibatch = 4, ppo_options.epochs = 2;
    auto ppo = llama2::sized<llama2_ppo_metrics>();
    check(llama2_ppo_advantages(rollouts, &ppo_options, &ppo));
    check(llama2_ppo_update(trainer, critic_trainer, rollouts, &ppo_options, &ppo));
    print_bits("ppo score", ppo.score), print_bits("ppo policy loss", ppo.policy_loss), print_bits("ppo value loss", ppo.value_loss);
    std::vector<float> weight(32 * 32);
    check(llama2_model_get_tensor(policy, "model.layers.0.self_attn.q_proj.weight", weight.data(), 32 * 32, nullptr));
    print_hash("weight", weight.data(), weight.size() * sizeof weight[0]);
}

int main()
try {
    run();
} catch (const llama2::error &failure) {
    std::fprintf(stderr, "%d: %s\n", failure.code(), failure.what());
    return 1;
}
