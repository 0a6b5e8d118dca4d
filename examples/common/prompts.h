/* Prompts to sample from, and the reward models that judge what was sampled: rejection sampling and PPO. */
#ifndef EXAMPLES_PROMPTS_H
#define EXAMPLES_PROMPTS_H

#include "common/examples.h"

typedef struct prompt_set {
    records records;
    example_set tokens; /* prompt i; the weights are not used */
    const record **of;  /* its record */
    llama2_packer *packer;
} prompt_set;

/* Reads prompts from all files. Those with more than max_tokens lose their earliest turns, or are left out. */
bool prompts_open(app *a, const llama2_tokenizer *tokenizer, const args_list *files, int64_t max_tokens,
                  prompt_set *out);
/* The same of prompts that are there already; they must outlive the set. */
bool prompts_encode(app *a, const llama2_tokenizer *tokenizer, const records *all, int64_t max_tokens, prompt_set *out);
/* prompts[index[0 .. n)] as a batch, valid until the next call. */
bool prompts_batch(app *a, prompt_set *set, const size_t *index, size_t n, llama2_batch *batch);
/* The text of an answer's tokens, without the spaces around it; to be freed. NULL: failed. */
char *prompts_answer(app *a, const llama2_tokenizer *tokenizer, const int32_t *ids, int64_t n);
/* Does the text of an answer hold markers of the chat format? No dialogue may have it then. */
bool prompts_marked(app *a, const llama2_tokenizer *tokenizer, const char *answer, bool *marked);
/* Reports sampling to a progress bar: the progress and user fields of llama2_rollout_options. */
int32_t prompts_progress(void *bar, const llama2_rollout_event *event);
void prompts_close(prompt_set *set);

/* Which helpfulness and which safety model judge; safety may be missing. */
typedef struct judges {
    const char *helpful_path, *safety_path;
    bool no_whiten;
    double threshold, eos_penalty;
    llama2_reward_model *helpful, *safety;
} judges;

#define JUDGES_DEFAULTS .threshold = 0.15, .eos_penalty = 1

#define JUDGES_OPTIONS(j)                                                                                              \
    {"reward", ARGS_TEXT, &(j).helpful_path, "DIR", "reward model for helpfulness, of llama2-reward", 0, 0},           \
        {"safety-reward",                                                                                              \
         ARGS_TEXT,                                                                                                    \
         &(j).safety_path,                                                                                             \
         "DIR",                                                                                                        \
         "reward model for safety: used on prompts with is_safety, and where it falls below the threshold",            \
         0,                                                                                                            \
         0},                                                                                                           \
        {"safety-threshold", ARGS_REAL, &(j).threshold, "P", "on the sigmoid of the safety score (0.15)", 1e-9,        \
         0.999999999},                                                                                                 \
    {                                                                                                                  \
        "eos-penalty", ARGS_REAL, &(j).eos_penalty, "X", "taken from the score of an answer that did not end (1)", 0,  \
            1e9                                                                                                        \
    }

/* Their threshold on the score before the sigmoid. */
double judges_raw_threshold(const judges *j);
/* `out`: --out, which none of them may be; NULL: there is none. */
bool judges_open(app *a, judges *j, const char *out);
/* Scores rollouts as the paper combines the two models; index: which prompts they answer. */
bool judges_score(app *a, const judges *j, const prompt_set *set, const size_t *index, bool whiten,
                  llama2_rollouts *rollouts);
/* The same of prompts that are not at hand: is_safety, one of each. */
bool judges_score_as(app *a, const judges *j, const uint8_t *is_safety, bool whiten, llama2_rollouts *rollouts);
void judges_close(judges *j);

#endif
