/*
 * llama2-pipeline: the whole chain of the paper in one run, over the public API: pretrain -> SFT -> two reward models
 * -> rejection sampling -> PPO, each evaluated on the same held-out prompts. What it runs on comes from data_world.c or
 * data_files.c; what each stage does is in the file of its name; what is shown in show.c.
 */
#ifndef EXAMPLES_PIPELINE_H
#define EXAMPLES_PIPELINE_H

#include "common/best_of_n.h"
#include "common/pairs.h"
#include "common/pool.h"

/* Sizes of a run. Where they differ from the paper's, the run is small: the report says so. */
typedef struct pipeline_settings {
    llama2_config config;
    int64_t pretrain_steps, pretrain_batch, pretrain_length; /* sequences a step, tokens a sequence */
    double pretrain_lr;
    int64_t sft_epochs, sft_batch;
    double sft_lr;
    int64_t sampled_pairs; /* comparisons of the model's own answers, over both kinds; in the loop, of each version */
    int64_t pairs, reward_batch, reward_epochs; /* most comparisons for each reward model */
    double reward_lr, safety_weight;            /* safety_weight: of the safety model's auxiliary loss */
    int64_t reject_prompts, reject_samples, reject_epochs;
    double reject_lr, reject_temperature;
    int64_t ppo_iterations, ppo_batch, ppo_minibatch;
    int64_t ppo_every, ppo_patience, ppo_held_out; /* in the loop: iterations between measurements on so many prompts */
    double ppo_lr, critic_lr, ppo_beta;
    int64_t max_tokens; /* of a dialogue */
    int64_t max_new_tokens;
    /* Of the loop: prompts to choose a temperature on; prompts that a version samples on and the one before has not;
     * prompts whose answers are mixed in where something else is taught; steps between checkpoints; dialogues of
     * Ghost Attention, of at most how many turns, and dialogues to measure it on; prompts to distil. Of the ablations:
     * epochs of an SFT that takes as long as the loop. */
    int64_t tune_prompts, reject_shift, replay_prompts, save_every;
    int64_t gatt_dialogues, gatt_turns, gatt_evaluations, distill_prompts, longer_epochs;
} pipeline_settings;

/* What a judge who knows the right answers says of one. */
typedef struct gold {
    double score;
    bool correct, refused, must_refuse, is_safety;
} gold;

typedef struct pipeline_data {
    const char *name;
    llama2_tokenizer *tokenizer;
    int32_t *text, *held_out_text; /* tokens to pretrain on */
    int64_t n_text, n_held_out_text;
    records demonstrations;
    gold *demonstrated; /* what the judge says of each demonstration; NULL: there is none */
    records prompts;    /* to sample from */
    records evaluation; /* prompts that no training sees */
    records helpful, safety, held_out_helpful, held_out_safety; /* comparisons that are there already */
    void *world;                                                /* of the embedded world */
    /* The judge of answers to prompts[i] or evaluation[i]; NULL: there is none. */
    void (*judge)(const struct pipeline_data *data, bool evaluation, size_t index, const char *answer, gold *out);
    /* The annotator: which of two answers to prompts[i] is better; fills rating and safety of the record. */
    bool (*annotate)(const struct pipeline_data *data, size_t index, const char *first, const char *second,
                     record *out);
    /* Is one to put numbers in order in prompts[i] or evaluation[i]? It is the ability that the ablation of pools does
     * without for a while. */
    bool (*sorts)(const struct pipeline_data *data, bool evaluation, size_t index);
} pipeline_data;

/* How much of the embedded world, and the settings that go with it. */
typedef enum world_size { WORLD_CHAIN, WORLD_LOOP, WORLD_ABLATIONS, WORLD_TINY, WORLD_REAL_MODEL } world_size;

/* a->args.model: the tokenizer and the shape are those of this model, and there is no text to pretrain on. */
bool data_from_world(app *a, world_size size, pipeline_data *data, pipeline_settings *settings);
bool data_from_files(app *a, const char *folder, bool tiny, pipeline_data *data, pipeline_settings *settings);
/* Of settings for either: to see in seconds that it runs, and goes on after a stop; it learns nothing. */
void tiny_settings(pipeline_settings *settings);
void data_free(pipeline_data *data);

typedef struct series {
    double *x, *y;
    size_t n, capacity;
} series;

/* How a model does on the evaluation prompts. */
typedef struct outcome {
    const char *stage;
    double gold, correct, refusals, false_refusals; /* means; of unsafe and of harmless safety prompts */
    double helpful, safety, combined;               /* mean raw scores; combined: the paper's Rc without whitening */
    double kl;                                      /* to the SFT model, a response */
    double length, ended;
    char **answers; /* one each of the evaluation prompts */
    double *scores; /* gold where there is a judge, else combined */
    size_t n;
} outcome;

/* The chain, and the controls: what may not do as well. */
enum { STAGE_PRETRAINED, STAGE_SFT, STAGE_REJECTION, STAGE_PPO, N_STAGES };
enum { CONTROL_SFT = N_STAGES, CONTROL_REJECTION, CONTROL_PPO, N_OUTCOMES };

typedef struct reward_report {
    int32_t n_train;
    double fit64; /* accuracy on 64 pairs that it was trained on long enough */
    pair_figures held_out;
    double cross; /* accuracy on the other model's held-out comparisons */
} reward_report;

typedef struct pipeline {
    app app;
    const char *out;
    pipeline_settings set;
    pipeline_data data;
    prompt_set prompts, evaluation; /* those of the data that are short enough */
    jsonl_writer *metrics;
    double began;
    llama2_model *model;             /* the policy as it goes along */
    llama2_model *base, *reference;  /* as it was after pretraining, after SFT */
    llama2_reward_model *rewards[2]; /* helpful, safety */
    llama2_pool *pool;
    series pretrain_loss, pretrain_held_out, sft_loss, reward_loss[2], reject_loss, ppo_score, ppo_kl, ppo_gold;
    series best_of; /* samples a prompt against the mean best reward */
    double held_out_loss, bigram_loss; /* the second: of the same held-out text */
    reward_report reward_reports[2];
    llama2_pool_metrics pool_metrics;
    outcome outcomes[N_OUTCOMES];
    bool controls; /* run them */
    double seconds[8];
    const char *seconds_of[8];
    int n_seconds;
} pipeline;

/* The stages: each false after an error, with the library's message set. */
bool stage_pretrain(pipeline *p);
bool stage_sft(pipeline *p);
bool stage_rewards(pipeline *p);
bool stage_rejection(pipeline *p);
bool stage_ppo(pipeline *p);
bool stage_controls(pipeline *p);
/* Answers of a model to the evaluation prompts, judged. */
bool evaluate(pipeline *p, llama2_model *model, int stage, const char *name);
/* Its two halves: one answer to each prompt; what the judge, and the reward models and the reference where there are
 * some, say of them. */
bool evaluation_answers(pipeline *p, llama2_model *model, double temperature, llama2_rollouts **answers);
bool judge_answers(pipeline *p, llama2_rollouts *answers, const char *name, outcome *out);
void outcome_free(outcome *o);

/* pretrain.c */
bool pretrain_step(pipeline *p, llama2_trainer *trainer, int64_t step, llama2_step_metrics *m);
bool held_out_loss(pipeline *p, double *loss);

/* sft.c: the model learns the examples; all demonstrations. */
bool train_on_examples(pipeline *p, const char *label, const example_set *examples, int64_t epochs, double lr,
                       series *losses);
bool fine_tune(pipeline *p, const char *label, series *losses);

/* bigram.c: nats a token of the held-out text by an interpolated bigram model of the text; NAN: there is too little. */
double bigram_loss(const int32_t *text, int64_t n, const int32_t *held_out, int64_t m, int32_t vocab_size);

/* rewards.c: trains on pairs order[0 .. n); losses NULL: without a trace. */
bool train_reward(pipeline *p, int which, llama2_reward_model *rm, pair_set *pairs, const size_t *order, size_t n,
                  int64_t epochs, double lr, series *losses);

/* Adds copies of comparisons. */
void copy_records(records *to, const records *from);
/* A coin says which answer is the better one; without the labels of safety, which would tell what the coin hides. */
void shuffle_preferences(records *all, uint64_t seed);

/* ppo.c: one iteration on some of the prompts (NULL: on all); its reward, KL and gold score go to the end of
 * p->ppo_score, p->ppo_kl and p->ppo_gold, and what it measured into *line. *updating is left true by a failure in the
 * middle of the update, after which policy and critic are neither old nor new. */
bool ppo_iteration(pipeline *p, const size_t *prompts, size_t n_prompts, llama2_trainer *policy,
                   llama2_trainer *critic_trainer, llama2_reward_model *critic, int64_t iteration, bool *updating,
                   json_t **line);

/* shared.c */
void series_add(series *s, double x, double y);
void series_free(series *s);
/* Mean and its 95 % interval. */
void mean_interval(const double *values, size_t n, double *mean, double *low, double *high);
void add_tokens(int32_t **to, int64_t *n, const int32_t *ids, int64_t count);
/* steps 0: a constant learning rate. */
llama2_trainer *new_trainer(pipeline *p, llama2_model *model, llama2_reward_model *reward, double lr, int64_t steps);
/* Of metrics.jsonl: what a line begins with; that of a training step. */
json_t *log_line(const pipeline *p, const char *stage, int64_t step);
void log_step(pipeline *p, const char *stage, int64_t step, double loss, double lr, double grad_norm, int64_t tokens);
/* One prompt in so many, by its hash: whatever is answered to it is on one side, in all comparisons of a run. */
enum { HELD_OUT_EVERY = 5 };
bool is_held_out(const record *r, uint64_t every);
/* Moves the records of such prompts: is_held_out, or another rule. */
void split_by_prompt(records *all, records *held, bool (*is_held)(const record *r, uint64_t every), uint64_t every);
void took(pipeline *p, const char *stage, double began);
/* The text of sample i; to be freed. */
char *response_text(pipeline *p, const llama2_rollouts_view *view, int32_t sample);
/* p->rewards, with the defaults; to be scored with, not closed. */
judges pipeline_judges(const pipeline *p);
/* Scores by both reward models, combined as the paper does. */
bool score_rollouts(pipeline *p, const prompt_set *prompts, const size_t *index, bool whiten,
                    llama2_rollouts *rollouts);
/* The judge on an answer to prompt i of a set. */
void judge_answer(pipeline *p, const prompt_set *prompts, size_t i, const char *answer, gold *out);

/* show.c */
bool write_report(pipeline *p);

#endif
