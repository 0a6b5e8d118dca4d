/* llama2-ppo: reinforcement learning from reward models with PPO (section 3.2.3 of the paper): rollout -> score ->
 * advantages -> update. */
#include "common/watch.h"

#include <stdlib.h>
#include <string.h>

/* How the critic begins. */
enum { CRITIC_REWARD, CRITIC_ZERO, CRITIC_SHARED, N_CRITICS };
static const char *const critics[N_CRITICS] = {"reward", "zero", "shared"};

enum { BETA }; /* in run.extra: as it has been adapted so far */

typedef struct ppo {
    app a;
    train_settings set;
    args_list data;
    judges judges;
    const char *eval, *critic_name;
    int critic_kind;
    int64_t iterations, minibatch, max_new_tokens, epochs, eval_every, patience;
    double critic_lr, beta, target_kl, horizon, temperature, gamma, lambda, clip, value_clip, value_coef;
    llama2_model *policy, *reference;
    llama2_reward_model *critic;
    llama2_tokenizer *tokenizer;
    prompt_set prompts, held_out;
    run r;
} ppo;

/* The reward model, its trunk with a head of zeros, or such a head on the policy's trunk. */
static bool make_critic(ppo *s)
{
    app *a = &s->a;
    llama2_reward_options o;
    int64_t n = 0;
    llama2_reward_options_init(&o, sizeof o);
    o.head = LLAMA2_HEAD_ZERO;
    if (s->critic_kind == CRITIC_SHARED)
        return app_try(a, llama2_reward_model_create_shared(s->policy, &o, &s->critic), "critic");
    if (!app_try(a, llama2_reward_model_clone(s->judges.helpful, &s->critic), "critic")) return false;
    if (s->critic_kind == CRITIC_REWARD) return true;
    llama2_reward_model_get_tensor(s->critic, "score.weight", NULL, 0, &n); /* for its size */
    float *zeros = app_must(calloc((size_t)n, sizeof *zeros));
    bool ok = app_try(a, llama2_reward_model_set_tensor(s->critic, "score.weight", zeros, n), "critic");
    free(zeros);
    return ok;
}

static bool load(ppo *s)
{
    app *a = &s->a;
    args_list eval = {{s->eval}, 1};
    llama2_config c = {.struct_size = sizeof c};
    return app_load(a, a->args.model, &s->policy, &s->tokenizer) &&
           app_try(a, llama2_model_config(s->policy, &c), "model") && judges_open(a, &s->judges, s->set.out) &&
           app_try(a, llama2_model_clone(s->policy, &s->reference), "reference") && make_critic(s) &&
           prompts_open(a, s->tokenizer, &s->data, c.max_seq_len - s->max_new_tokens, &s->prompts) &&
           (!s->eval || prompts_open(a, s->tokenizer, &eval, c.max_seq_len - s->max_new_tokens, &s->held_out));
}

/* The prompts of an iteration: epoch after epoch, each in an order of its own. */
static size_t *choose_prompts(const ppo *s, int64_t iteration)
{
    size_t n = s->prompts.tokens.n, *index = app_must(malloc((size_t)s->set.batch * sizeof *index)), *order = NULL;
    uint64_t in_order = UINT64_MAX;
    for (int64_t k = 0; k < s->set.batch; k++) {
        uint64_t at = (uint64_t)(iteration * s->set.batch + k);
        if (at / n != in_order) {
            free(order);
            in_order = at / n;
            order = app_shuffled(n, app_mix(s->a.args.seed, in_order));
        }
        index[k] = order[at % n];
    }
    free(order);
    return index;
}

/* What an interrupted run had sampled is used; else the responses are sampled now. */
static bool rollout(ppo *s, const size_t *index)
{
    app *a = &s->a;
    llama2_batch batch;
    llama2_rollout_options o;
    if (s->r.held) return true;
    llama2_rollout_options_init(&o, sizeof o);
    o.max_new_tokens = (int32_t)s->max_new_tokens;
    o.temperature = s->temperature;
    o.seed = a->args.seed;
    o.first_sample_id = (uint64_t)(s->r.step * s->set.batch);
    return prompts_batch(a, &s->prompts, index, (size_t)s->set.batch, &batch) &&
           app_try(a, llama2_rollout(s->policy, &batch, &o, &s->r.held), "sampling");
}

/* One iteration. Until the update begins, policy and critic are as they were: Ctrl-C then keeps the rollouts. The
 * update is waited for. */
static bool iterate(ppo *s, json_t **line)
{
    app *a = &s->a;
    run *r = &s->r;
    llama2_ppo_options o;
    llama2_ppo_metrics m = {.struct_size = sizeof m};
    llama2_rollouts_view v = {.struct_size = sizeof v};
    size_t *index = choose_prompts(s, r->step);
    llama2_ppo_options_init(&o, sizeof o);
    o.minibatch = (int32_t)s->minibatch;
    o.epochs = (int32_t)s->epochs;
    o.beta = r->extra[BETA];
    o.gamma = s->gamma;
    o.lambda = s->lambda;
    o.clip = s->clip;
    o.value_clip = s->value_clip;
    o.value_coef = s->value_coef;
    o.seed = app_mix(a->args.seed, (uint64_t)r->step);
    double times[RUN_PPO_TIMES] = {progress_now()};
    bool ok = rollout(s, index);
    times[1] = progress_now();
    ok = ok && judges_score(a, &s->judges, &s->prompts, index, !s->judges.no_whiten, r->held);
    times[2] = progress_now();
    ok = ok && app_try(a, llama2_rollouts_reference(r->held, s->reference), "reference");
    times[3] = progress_now();
    ok = ok && app_try(a, llama2_rollouts_values(r->held, s->critic), "critic") &&
         app_try(a, llama2_ppo_advantages(r->held, &o, &m), "advantages");
    times[4] = progress_now();
    if (ok) {
        app_defer(a, true);
        r->torn = true;
        ok = app_try(a,
                     llama2_ppo_update(r->trainers[0], s->critic_kind == CRITIC_SHARED ? NULL : r->trainers[1], r->held,
                                       &o, &m),
                     "update") &&
             app_try(a, llama2_rollouts_view_get(r->held, &v), "update");
        r->torn = !ok;
        times[5] = progress_now();
        if (ok) {
            *line = json_pack("{s:I}", "episode", (json_int_t)((r->step + 1) * s->set.batch));
            run_put_ppo(*line, &m, &v, times);
            app_put(*line, "beta", o.beta);
        }
        if (ok && s->target_kl > 0)
            r->extra[BETA] = llama2_ppo_adapt_beta(r->extra[BETA], m.kl, s->target_kl, s->horizon, v.n_samples);
        llama2_rollouts_free(r->held); /* learnt from, or half learnt from: in neither case to be kept */
        r->held = NULL;
    }
    free(index);
    return ok;
}

static bool save(void *user)
{
    ppo *s = user;
    char path[4096];
    return app_try(&s->a, llama2_model_save(s->policy, s->set.out, LLAMA2_F32), "saving") &&
           app_try(&s->a, llama2_tokenizer_save(s->tokenizer, s->set.out), "saving") &&
           app_try(&s->a, llama2_reward_model_save(s->critic, run_path(&s->r, "critic", path, sizeof path), LLAMA2_F32),
                   "saving");
}

/* The reward models and their scales; the reference is what the policy begins with, which the run knows. */
static bool hash_judges(ppo *s, uint64_t *hash)
{
    app *a = &s->a;
    const llama2_reward_model *const models[] = {s->judges.helpful, s->judges.safety};
    bool ok = true;
    for (int i = 0; ok && i < 2; i++) {
        double of_scores[2];
        *hash = run_hash(*hash, &i, sizeof i);
        if (!models[i]) continue;
        ok = run_hash_weights(a, NULL, models[i], hash) &&
             app_try(a, llama2_reward_model_normalisation(models[i], &of_scores[0], &of_scores[1]), "reward model");
        if (ok) *hash = run_hash(*hash, of_scores, sizeof of_scores);
    }
    return ok;
}

static bool train(ppo *s)
{
    app *a = &s->a;
    run *r = &s->r;
    json_t *line = NULL;
    char note[96] = "", path[4096];
    double real[] = {s->temperature,
                     (double)s->judges.no_whiten,
                     s->judges.threshold,
                     s->judges.eos_penalty,
                     s->beta,
                     s->target_kl,
                     s->horizon,
                     s->gamma,
                     s->lambda,
                     s->clip,
                     s->value_clip,
                     s->value_coef};
    int64_t key[] = {(int64_t)a->args.seed, s->set.batch,  s->minibatch,   s->max_new_tokens, s->epochs,
                     s->critic_kind,        s->eval_every, s->eval != NULL};
    uint64_t hash = examples_hash(&s->held_out.tokens, examples_hash(&s->prompts.tokens, 0));
    hash = run_hash(run_hash(hash, key, sizeof key), real, sizeof real);
    bool shared = s->critic_kind == CRITIC_SHARED, ok = run_open(r, a, "ppo", &s->set) && hash_judges(s, &hash);
    r->holds = true;
    ok = ok && run_add(r, "policy", s->policy, shared ? s->critic : NULL, s->set.lr, 0) &&
         (shared || run_add(r, "critic", NULL, s->critic, s->critic_lr, 0)) && run_start(r, hash);
    if (ok && !r->from) {
        r->extra[BETA] = s->beta;
        watch_begin(r);
    } else if (ok && s->eval) {
        ok = watch_go_on(r);
    }
    if (ok && r->saved >= 0 && r->saved % 2 == 1)
        ok = app_try(a, llama2_checkpoint_get_rollouts(r->from, "rollouts", &r->held), "checkpoint");
    progress_start(&r->bar, "ppo", "episodes", (uint64_t)(s->iterations * s->set.batch),
                   (uint64_t)(r->step * s->set.batch), a->args.quiet);
    const watch held_out = {.prompts = &s->held_out,
                            .n = s->held_out.tokens.n,
                            .judges = &s->judges,
                            .policy = s->policy,
                            .reference = s->reference,
                            .tokenizer = s->tokenizer,
                            .max_new_tokens = s->max_new_tokens,
                            .every = s->eval_every,
                            .patience = s->patience,
                            .seed = a->args.seed,
                            .beta = s->beta,
                            .temperature = s->temperature};
    while (ok) {
        ok = !s->eval || watch_step(&held_out, r, r->step == s->iterations);
        if (!ok || r->step >= s->iterations || watch_out_of_patience(&held_out, r)) break;
        ok = iterate(s, &line);
        if (!ok) break;
        snprintf(note, sizeof note, "reward %.3f, KL %.3f", json_number_value(json_object_get(line, "reward/helpful")),
                 json_number_value(json_object_get(line, "objective/kl")));
        ok = run_log(r, line) && run_step(r, r->step + 1 < s->iterations);
        app_defer(a, false);
        progress_update(&r->bar, (uint64_t)(r->step * s->set.batch), note);
    }
    if (ok) progress_finish(&r->bar, note);
    if (ok) r->bar.stream = NULL;
    if (!run_finish(r, ok, save, s) || (s->eval && !watch_end(r))) return false;
    line = json_pack("{s:s, s:I, s:I}", "model", s->set.out, "iterations", (json_int_t)r->step, "episodes",
                     (json_int_t)(r->step * s->set.batch));
    if (s->eval) {
        app_put(line, "best_objective", r->extra[WATCH_BEST_OBJECTIVE]);
        json_object_set_new(line, "best_iteration", json_integer((json_int_t)r->extra[WATCH_BEST_STEP]));
        json_object_set_new(line, "best_model", json_string(run_path(r, "best", path, sizeof path)));
    }
    return app_print(a, line);
}

int main(int argc, char **argv)
{
    ppo s = {.set = {TRAIN_DEFAULTS, .batch = 512, .lr = 1e-6},
             .judges = {JUDGES_DEFAULTS},
             .iterations = 200,
             .minibatch = 64,
             .max_new_tokens = 256,
             .epochs = 1,
             .critic_lr = 1e-5,
             .beta = 0.01,
             .horizon = 10000,
             .temperature = 1,
             .gamma = 1,
             .lambda = 0.95,
             .clip = 0.2,
             .value_clip = 0.2,
             .value_coef = 0.1,
             .eval_every = 10,
             .critic_name = critics[CRITIC_REWARD]};
    s.set.save_every = 10;
    const args_option options[] = {
        {"data", ARGS_LIST, &s.data, "FILE", "prompts, JSON Lines (docs/formats.md); may be given several times", 0, 0},
        JUDGES_OPTIONS(s.judges),
        {"no-whiten", ARGS_FLAG, &s.judges.no_whiten, NULL,
         "take the scores as they are, not with mean 0 and variance 1 over a batch", 0, 0},
        TRAIN_OPTIONS(s.set, "episodes an iteration (512)", "learning rate of the policy, constant (1e-6)"),
        {"iterations", ARGS_INTEGER, &s.iterations, "N", "iterations (200)", 1, 1e12},
        {"minibatch", ARGS_INTEGER, &s.minibatch, "N", "episodes of a gradient step (64)", 1, 1e9},
        {"epochs", ARGS_INTEGER, &s.epochs, "N", "passes over the episodes of an iteration (1)", 1, 1000},
        {"max-new-tokens", ARGS_INTEGER, &s.max_new_tokens, "N", "longest answer in tokens (256)", 1, 1e9},
        {"temperature", ARGS_REAL, &s.temperature, "T", "of the policy (1)", 1e-3, 100},
        {"critic", ARGS_TEXT, &s.critic_name, "KIND",
         "how it begins: reward (as the reward model), zero (its trunk, a head of zeros), shared (such a head on the "
         "policy's trunk: half the memory)",
         0, 0},
        {"critic-lr", ARGS_REAL, &s.critic_lr, "X",
         "learning rate of the critic (shared: of its head), constant (1e-5)", 0, 10},
        {"value-coef", ARGS_REAL, &s.value_coef, "X", "weight of the value loss with --critic shared (0.1)", 0, 1e6},
        {"beta", ARGS_REAL, &s.beta, "X", "weight of the KL penalty (0.01; the paper: 0.005 for 34B and 70B)", 0, 1e6},
        {"target-kl", ARGS_REAL, &s.target_kl, "X", "adapt beta to reach this KL an answer (0: beta stays)", 0, 1e6},
        {"horizon", ARGS_REAL, &s.horizon, "N", "episodes over which beta adapts (10000)", 1, 1e12},
        {"gamma", ARGS_REAL, &s.gamma, "X", "discount (1)", 0, 1},
        {"lambda", ARGS_REAL, &s.lambda, "X", "of GAE (0.95)", 0, 1},
        {"clip-ratio", ARGS_REAL, &s.clip, "X", "of the ratio (0.2)", 1e-9, 1e9},
        {"value-clip", ARGS_REAL, &s.value_clip, "X", "of the critic's change (0.2; 0: none)", 0, 1e9},
        {"eval", ARGS_TEXT, &s.eval, "FILE",
         "held-out prompts: reward and KL on them are measured, and the best policy kept in --out/best", 0, 0},
        {"eval-every", ARGS_INTEGER, &s.eval_every, "N", "iterations between measurements (10)", 1, 1e12},
        {"patience", ARGS_INTEGER, &s.patience, "N", "stop after N measurements in a row without a new best (0: never)",
         0, 1e12},
        {0},
    };
    const args_program program = {
        .name = "llama2-ppo",
        .summary = "Trains a chat model with PPO against one or two reward models.",
        .usage = "--model DIR --reward DIR [--safety-reward DIR] --data FILE --out DIR [--resume] [options]",
        .options = options,
        .notes = "The reference is the model as it comes; the critic ends in --out/critic. Ctrl-C waits for an update\n"
                 "that has begun, at most once; --resume goes on in the middle of an iteration too."};
    int status = app_parse(&s.a, &program, argc, argv);
    if (status != ARGS_GO) return status;
    if ((status = run_check(&s.a, &s.set, &s.data))) return status;
    if (!s.judges.helpful_path) return args_usage(&program, "--reward is missing");
    while (s.critic_kind < N_CRITICS && strcmp(s.critic_name, critics[s.critic_kind]) != 0) s.critic_kind++;
    if (s.critic_kind == N_CRITICS)
        return args_usage(&program, "--critic %s: expected reward, zero or shared", s.critic_name);
    if (s.patience > 0 && !s.eval) return args_usage(&program, "--patience needs --eval");
    if (s.critic_kind == CRITIC_SHARED && s.set.lr > 0) s.set.head_lr_ratio = s.critic_lr / s.set.lr;
    bool ok = app_begin(&s.a) && load(&s) && train(&s);
    llama2_rollouts_free(s.r.held);
    judges_close(&s.judges);
    prompts_close(&s.prompts);
    prompts_close(&s.held_out);
    llama2_reward_model_free(s.critic);
    llama2_model_free(s.policy);
    llama2_model_free(s.reference);
    llama2_tokenizer_free(s.tokenizer);
    return app_end(&s.a, ok);
}
