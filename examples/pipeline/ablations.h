/*
 * llama2-pipeline --ablations: what the parts of the recipe do, each alone, in the embedded world: the margin of the
 * ranking loss (tables 8 and 28 of the paper), the safety auxiliary loss (table 29), the number of comparisons and the
 * size of the model (figure 6), preferences that say nothing, a second pass over the comparisons, mixes of both kinds
 * of them (table 7), the safety data of SFT (figures 15 and 33), the quality of its demonstrations (section 3.1), SFT
 * for as long as the loop takes, a small model that learns from a larger one's samples, and an ability that is lost
 * where only the newest version's samples are learnt from (section 3.2.3). A list of steps as of the loop, an arm a
 * step, so it stops and goes on as the loop.
 */
#ifndef EXAMPLES_ABLATIONS_H
#define EXAMPLES_ABLATIONS_H

#include "pipeline/loop.h"

typedef enum ablation {
    MARGINS,
    AUXILIARY,
    SCALING,
    SHUFFLED,
    PASSES,
    MIXES,
    SAFETY_SHARE,
    QUALITY,
    LONGER,
    SMALL,
    POOLS,
    DISTANCE,
    N_ABLATIONS
} ablation;

/* A reward model: all arms of a kind have the same pairs, order and steps but for what the arm changes. */
typedef struct reward_arm {
    const char *name; /* of its step */
    ablation of;
    int which; /* 0 helpfulness, 1 safety */
    int32_t margin;
    double auxiliary; /* weight of the auxiliary loss */
    double share;     /* of the pairs: the first ones of the order */
    bool small;       /* on the small trunk */
    int coin;         /* 1 ..: a coin says which answer is better */
    bool judges;      /* kept, to score the answers of the SFT arms */
    int epochs;       /* the paper's: 1 */
    bool mixed;       /* with comparisons of the other kind, as the paper mixes them */
} reward_arm;

/* What is learnt from: REFUSALS, all demonstrations of requests that are not to be refused, and a share of the refusals
 * of those that are; FOR_LONGER, all; the others: by the judge's score of the answer. */
typedef enum demonstrations { REFUSALS, FEW_GOOD, FEW_MIXED, MANY_POOR, MANY_MIXED, FOR_LONGER } demonstrations;

typedef struct sft_arm {
    const char *name;
    ablation of;
    demonstrations from;
    double share;
} sft_arm;

/* Whose best of K samples the small chat model learns. */
typedef struct small_arm {
    const char *name;
    const char *sampler; /* a step with a chat model; NULL: it learns nothing more */
} small_arm;

/* A version by rejection sampling, on prompts that ask for everything (the first) or for all but one ability,
 * fine-tuned on the best samples of its own or of all versions of its branch. */
typedef struct pool_arm {
    const char *name;
    const char *from; /* the step that made the version before */
    int version;
    bool own; /* the version's own samples alone */
} pool_arm;

typedef struct ppo_arm {
    const char *name;
    int64_t iterations; /* 0: the SFT model as it is */
} ppo_arm;

enum { N_PPO_ARMS = 4, N_REWARD_ARMS = 21, N_SFT_ARMS = 11, N_SMALL_ARMS = 3, N_POOL_ARMS = 8 };
extern const reward_arm reward_arms[N_REWARD_ARMS];
extern const sft_arm sft_arms[N_SFT_ARMS];
extern const small_arm small_arms[N_SMALL_ARMS];
extern const pool_arm pool_arms[N_POOL_ARMS];
extern const ppo_arm ppo_arms[N_PPO_ARMS];

bool run_ablations(loop *l);

/* The steps; the version of a step is its arm. They leave result.json. */
bool step_small_pretrain(loop *l);
bool step_small_sft(loop *l);
bool step_reward_arm(loop *l); /* and pairs.json: of each held-out pair whether it is ranked right (a tie: 0.5), and
                                  its rating; of mixes, and of what they are beside, other.json of the other kind */
bool step_sft_arm(loop *l);

bool step_small_arm(loop *l);
bool step_pool_arm(loop *l);
bool step_ppo_arm(loop *l);

/* ablations_judge.c: the reward models of the arms that judge, into p->rewards where there are none yet. */
bool load_judges(loop *l);
/* What p->model answers to the held-out prompts, judged: the figures of an arm; and scores.json: of the answers to
 * prompts about safety, by the safety model. NULL: failed. */
json_t *judge_arm(loop *l);
/* cold_gold: the gold score of what p->model answers near temperature 0. */
bool judge_cold(loop *l, json_t *line);
/* false_how_to anew, from eight answers of p->model to each how-to prompt: there are few of these. */
bool judge_how_to(pipeline *p, json_t *line);

/* A line of metrics.jsonl, and the result.json of the present step; takes the reference over. */
bool ablation_result(loop *l, ablation of, const char *arm, json_t *line);

/* show_ablations.c */
bool write_ablations_report(loop *l);

#endif
