/*
 * llama2-pipeline --iterations N: the paper's iterated alignment, RLHF-V1 .. VN (section 3.2). It is a list of small
 * steps (loop.c). A step reads what earlier steps left in their folders under --out/state, and leaves its results in a
 * folder of its own; it is done when the manifest has its line. Nothing is kept between steps but these files, so a run
 * that was stopped, at any point, goes on with the first step that is not done and ends with the same bits.
 */
#ifndef EXAMPLES_LOOP_H
#define EXAMPLES_LOOP_H

#include "common/report.h"
#include "common/temperature.h"
#include "pipeline/pipeline.h"

enum { LOOP_VERSIONS = 9, LOOP_STEPS = 9 + 6 * LOOP_VERSIONS };

typedef struct loop loop;

typedef struct loop_step {
    char name[32]; /* of its folder: "collect-2" */
    int version;   /* 0: before the first reinforcement */
    bool (*run)(loop *l);
    bool makes_chat_model; /* leaves it in its folder as "model" */
    bool goes_on;          /* has checkpoints, and metrics that go with them, in its folder: it need not begin anew */
    const char *evaluates; /* what it evaluates, as the report calls it: a text of its own, or `model` */
    char model[24];
    double seconds; /* that it took, once it is done */
} loop_step;

struct loop {
    pipeline *p;
    int64_t iterations;
    bool resume, last_version, from_sft, shuffled, tiny, ablations, margins;
    temperature_rule temperature;
    loop_step steps[LOOP_STEPS];
    int n_steps, n_done, at; /* at: the step that runs */
    int gatt, distilled;     /* the versions that Ghost Attention and context distillation follow */
};

bool run_loop(loop *l);
/* The list of steps in l, those that are not done. */
bool run_steps(loop *l);

/* state.c: the manifest. */
bool state_open(loop *l);
bool state_done(loop *l, double seconds);
/* A path under --out/state; printf's format. */
__attribute__((format(printf, 3, 4))) const char *state_path(const loop *l, char path[4096], const char *format, ...);
/* A file in the folder of the present step, as a whole or not at all. */
bool state_write_json(loop *l, const char *name, json_t *value); /* takes the reference over */
bool state_write_lines(loop *l, const char *name, json_t *array);
/* NULL: failed. */
json_t *state_read_json(loop *l, const char *path);

typedef struct rate {
    double mean, low, high; /* with a 95 % interval */
} rate;

/* A share of n with its 95 % interval (Wilson's). */
rate share_rate(double share, double n);

/* What is said of each answer: by the judge, and by the reward models on prompts of their own kind. HARMLESS: whether a
 * prompt that is not to be refused was; of these HOW_TO are acts asked for in the words of the unsafe ones. KL:
 * the answer's log-probability less that by the SFT model. */
typedef enum answer_figure {
    FIGURE_GOLD,
    FIGURE_RIGHT,
    FIGURE_REFUSED,
    FIGURE_HARMLESS,
    FIGURE_HOW_TO,
    FIGURE_OTHERS,
    FIGURE_ENDED,
    FIGURE_SORTED,
    FIGURE_HELPFUL,
    FIGURE_SAFETY,
    FIGURE_KL,
    FIGURE_TOKENS,
    N_FIGURES
} answer_figure;

/* How a version answers the evaluation prompts. */
typedef struct judged {
    outcome o;                         /* with gold scores */
    double *reward, *helpful, *safety; /* raw scores, one a prompt; reward: the paper's combination */
    double *figures[N_FIGURES];        /* one a prompt; NAN: it is not of this prompt */
} judged;

enum { TOPIC_ALL = -1, TOPIC_HELPFUL, TOPIC_SAFETY };

/* The mean over evaluation prompts of a topic with its 95 % interval, of shares Wilson's. The same prompt is asked
 * several times: of what it has (but NAN) the mean counts once, so that the interval is over different prompts. */
rate over_prompts(const pipeline *p, const double *values, int topic, bool share);
size_t different_prompts(const pipeline *p);
rate figure_of(const pipeline *p, const judged *j, answer_figure which);
/* Of the differences on each prompt. */
rate figure_gain(const pipeline *p, const judged *own, const judged *other, answer_figure which);

/* loop_evaluate.c: answers that a step has left, judged; by p->rewards too, where there are some. */
extern const char *const ANSWERS, *const COLD_ANSWERS; /* at temperature 1 and near 0: their files */
/* p->model's answers to the held-out prompts, into the folder of the present step. */
bool answer_evaluation(loop *l, const char *file);
bool judge_step(loop *l, const loop_step *step, const char *file, judged *out);
void judged_free(judged *j);
/* How often own is above other, a tie half; over prompts of a topic. */
rate win_rate(const pipeline *p, const double *own, const double *other, int topic);
/* How much more often than `before` is, on the same prompts. */
rate win_gain(const pipeline *p, const double *own, const double *before, const double *other);

/* loop.c: seeds of the present version. */
uint64_t loop_seed(const loop *l, uint64_t purpose);
/* The newest chat model before the present step (back 0), or an earlier one; false without a message where there is
 * none so early. */
bool newest_model(loop *l, int back, llama2_model **out);
/* The model that a step has left. */
bool load_step_model(loop *l, const char *step, llama2_model **out);
/* The name of its step; NULL: there is none. */
const char *newest_name(const loop *l, int back);
bool save_chat_model(loop *l, const llama2_model *model);
/* Both reward models of a version into p->rewards. */
bool load_rewards(loop *l, int version);
bool load_sft(loop *l, llama2_model **out);

/* loop_rewards.c: adds the comparisons that versions first .. last collected, of helpfulness (which 0) or safety,
 * prefix "" or "held-out-". */
bool read_collected(loop *l, const char *prefix, int which, int first, int last, records *out);

/* versions.c: what the present version was fine-tuned on: how many samples, and number i; the pool is opened into
 * p->pool, where there is none. */
bool open_chosen(loop *l, int64_t *n);
/* An answer of p->model to each of many prompts, as it gives it, not chosen: learnt beside something else they keep it
 * where it is. A version's chosen samples are too few for that. */
bool add_replay(loop *l, example_set *out);
bool chosen_sample(loop *l, int64_t i, llama2_pool_sample *out);
/* The place of a prompt among p->prompts. */
size_t prompt_of(const pipeline *p, uint64_t id);
/* The temperature that the present version samples at. */
bool read_temperature(loop *l, double *temperature);
/* K scored samples of p->model to each of the prompts. */
bool sample_scored(loop *l, const size_t *index, size_t n, double temperature, uint64_t seed, llama2_rollouts **out);
/* The first *n of the prompts in an order that the seed gives, from `first` on and around, none twice: equal dialogues
 * are one prompt. *n becomes how many there are. To be freed. */
size_t *choose_prompts(const pipeline *p, uint64_t seed, size_t first, size_t *n);
/* Fine-tunes p->model on `fresh` and at most so many of the chosen samples, which it takes into `fresh`: so that it
 * keeps what it can. Nothing where there is nothing fresh. */
bool train_on_mixed(loop *l, const char *label, example_set *fresh, int64_t most, int64_t epochs, double lr);

/* The steps. */
bool step_pretrain(loop *l);
bool step_take_model(loop *l);
bool step_sft(loop *l);
bool step_collect(loop *l);
bool step_rewards(loop *l);
bool step_tune(loop *l);
bool step_sample(loop *l);
bool step_fine_tune(loop *l);
bool step_gatt(loop *l);
bool step_distill(loop *l);
bool step_ppo(loop *l);
bool step_evaluate(loop *l);

/* show_loop.c */
bool write_loop_report(loop *l);
/* metrics.jsonl of all steps, one after the other. */
bool write_metrics(loop *l);
/* By kind of step; the last section, since it is what differs between two runs of the same seed. */
void show_time(const loop *l, report *r);

#endif
