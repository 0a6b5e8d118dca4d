/* The list of arms, and of the steps. */
#include "pipeline/ablations.h"

const reward_arm reward_arms[N_REWARD_ARMS] = {
    {"margin-none", MARGINS, 0, LLAMA2_MARGIN_NONE, 0, 1, false, 0, false, 1, false},
    {"margin-small", MARGINS, 0, LLAMA2_MARGIN_SMALL, 0, 1, false, 0, true, 1, false},
    {"margin-large", MARGINS, 0, LLAMA2_MARGIN_LARGE, 0, 1, false, 0, false, 1, false},
    {"auxiliary-off", AUXILIARY, 1, LLAMA2_MARGIN_SMALL, 0, 1, false, 0, false, 1, false},
    {"auxiliary-on", AUXILIARY, 1, LLAMA2_MARGIN_SMALL, 1, 1, false, 0, true, 1, false},
    /* All pairs on the large trunk: margin-small. */
    {"pairs-eighth", SCALING, 0, LLAMA2_MARGIN_SMALL, 0, 0.125, false, 0, false, 1, false},
    {"pairs-quarter", SCALING, 0, LLAMA2_MARGIN_SMALL, 0, 0.25, false, 0, false, 1, false},
    {"pairs-half", SCALING, 0, LLAMA2_MARGIN_SMALL, 0, 0.5, false, 0, false, 1, false},
    {"small-eighth", SCALING, 0, LLAMA2_MARGIN_SMALL, 0, 0.125, true, 0, false, 1, false},
    {"small-quarter", SCALING, 0, LLAMA2_MARGIN_SMALL, 0, 0.25, true, 0, false, 1, false},
    {"small-half", SCALING, 0, LLAMA2_MARGIN_SMALL, 0, 0.5, true, 0, false, 1, false},
    {"small-all", SCALING, 0, LLAMA2_MARGIN_SMALL, 0, 1, true, 0, false, 1, false},
    {"shuffled-1", SHUFFLED, 0, LLAMA2_MARGIN_SMALL, 0, 0.25, false, 1, false, 1, false},
    {"shuffled-2", SHUFFLED, 0, LLAMA2_MARGIN_SMALL, 0, 0.25, false, 2, false, 1, false},
    {"shuffled-3", SHUFFLED, 0, LLAMA2_MARGIN_SMALL, 0, 0.25, false, 3, false, 1, false},
    {"shuffled-4", SHUFFLED, 0, LLAMA2_MARGIN_SMALL, 0, 0.25, false, 4, false, 1, false},
    /* The first epoch of two has the pairs of the one, in the same order. */
    {"two-epochs", PASSES, 0, LLAMA2_MARGIN_SMALL, 0, 1, false, 0, false, 2, false},
    {"two-epochs-none", PASSES, 0, LLAMA2_MARGIN_NONE, 0, 1, false, 0, false, 2, false},
    {"two-epochs-large", PASSES, 0, LLAMA2_MARGIN_LARGE, 0, 1, false, 0, false, 2, false},
    /* Beside margin-small and auxiliary-on, which learn from their own kind alone. */
    {"mix-helpfulness", MIXES, 0, LLAMA2_MARGIN_SMALL, 0, 1, false, 0, false, 1, true},
    {"mix-safety", MIXES, 1, LLAMA2_MARGIN_SMALL, 1, 1, false, 0, false, 1, true},
};

const sft_arm sft_arms[N_SFT_ARMS] = {
    {"share-0", SAFETY_SHARE, REFUSALS, 0},    {"share-1", SAFETY_SHARE, REFUSALS, 0.01},
    {"share-10", SAFETY_SHARE, REFUSALS, 0.1}, {"share-25", SAFETY_SHARE, REFUSALS, 0.25},
    {"share-50", SAFETY_SHARE, REFUSALS, 0.5}, {"share-100", SAFETY_SHARE, REFUSALS, 1},
    {"few-good", QUALITY, FEW_GOOD, 0},        {"few-mixed", QUALITY, FEW_MIXED, 0},
    {"many-poor", QUALITY, MANY_POOR, 0},      {"many-mixed", QUALITY, MANY_MIXED, 0},
    {"sft-longer", LONGER, FOR_LONGER, 0},
};

const small_arm small_arms[N_SMALL_ARMS] = {
    {"small-before", NULL}, {"small-own", "small-sft"}, {"small-from-large", "sft"}};

const pool_arm pool_arms[N_POOL_ARMS] = {
    {"pool-1", "sft", 1, false},    {"own-2", "pool-1", 2, true},   {"own-3", "own-2", 3, true},
    {"own-4", "own-3", 4, true},    {"pool-2", "pool-1", 2, false}, {"pool-3", "pool-2", 3, false},
    {"pool-4", "pool-3", 4, false}, {"back-5", "own-4", 5, false},
};

const ppo_arm ppo_arms[N_PPO_ARMS] = {{"ppo-0", 0}, {"ppo-8", 8}, {"ppo-16", 16}, {"ppo-32", 32}};

static loop_step *add(loop *l, bool (*work)(loop *l), const char *name, int version)
{
    loop_step *s = &l->steps[l->n_steps++];
    *s = (loop_step){.version = version, .run = work};
    snprintf(s->name, sizeof s->name, "%s", name);
    return s;
}

static void plan(loop *l)
{
    add(l, step_pretrain, "pretrain", 0)->goes_on = true;
    add(l, step_sft, "sft", 0)->makes_chat_model = true;
    add(l, step_collect, "collect-1", 1);
    if (!l->margins) {
        add(l, step_small_pretrain, "small-pretrain", 0)->goes_on = true;
        add(l, step_small_sft, "small-sft", 0);
    }
    for (int i = 0; i < N_REWARD_ARMS; i++)
        if (!l->margins || reward_arms[i].of == MARGINS) add(l, step_reward_arm, reward_arms[i].name, i);
    if (l->margins) return;
    for (int i = 0; i < N_SFT_ARMS; i++) add(l, step_sft_arm, sft_arms[i].name, i)->evaluates = sft_arms[i].name;
    for (int i = 0; i < N_SMALL_ARMS; i++)
        add(l, step_small_arm, small_arms[i].name, i)->evaluates = small_arms[i].name;
    for (int i = 0; i < N_POOL_ARMS; i++) add(l, step_pool_arm, pool_arms[i].name, i)->evaluates = pool_arms[i].name;
    for (int i = 0; i < N_PPO_ARMS; i++) add(l, step_ppo_arm, ppo_arms[i].name, i)->evaluates = ppo_arms[i].name;
}

bool ablation_result(loop *l, ablation of, const char *arm, json_t *line)
{
    static const char *const names[N_ABLATIONS] = {"margin", "auxiliary loss", "pairs and size", "shuffled",
                                                   "passes", "mixes",          "safety share",   "quality",
                                                   "longer", "small",          "pools",          "distance"};
    json_object_set_new(line, "stage", json_string("ablation"));
    json_object_set_new(line, "ablation", json_string(names[of]));
    json_object_set_new(line, "arm", json_string(arm));
    json_incref(line);
    bool ok = jsonl_append(l->p->metrics, line) || app_fail(&l->p->app, "metrics.jsonl could not be written");
    return state_write_json(l, "result.json", line) && ok;
}

bool run_ablations(loop *l)
{
    plan(l);
    return run_steps(l) && write_ablations_report(l);
}
