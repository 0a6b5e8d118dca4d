/*
 * A training run in its folder --out: metrics.jsonl, checkpoints, and in the end the model. A run that was stopped, or
 * killed, goes on with --resume and ends with the same bits.
 *
 *     run r;
 *     run_open(&r, &a, "sft", &settings)            // makes the folder; finds the checkpoint to go on from
 *     run_add(&r, "policy", trainer)                // one or two
 *     run_start(&r, fingerprint)                    // restores the trainers, opens metrics.jsonl
 *     while (ok && r.step < steps) ok = work() && run_log(...) && run_step(&r, ...);
 *     run_stop(&r, ok)                              // after Ctrl-C: writes a checkpoint
 */
#ifndef EXAMPLES_RUN_H
#define EXAMPLES_RUN_H

#include "common/app.h"
#include "common/progress.h"

/* What training programs take as options; a program sets its own defaults. */
typedef struct train_settings {
    const char *out;
    bool resume, recompute;
    bool part; /* of a larger run: goes on where there is a checkpoint, else begins */
    int64_t save_every, batch, warmup, micro_batch; /* warmup -1: 3 % of the steps, at least 5 */
    double lr, min_lr_ratio, weight_decay, clip;
    double head_lr_ratio; /* of a value head, to lr */
} train_settings;

#define TRAIN_DEFAULTS                                                                                                 \
    .save_every = 100, .warmup = -1, .micro_batch = 8192, .min_lr_ratio = 0.1, .weight_decay = 0.1, .clip = 1,         \
    .head_lr_ratio = 1

#define TRAIN_OPTIONS(t, batch_help, lr_help)                                                                            \
    {"out", ARGS_TEXT, &(t).out, "DIR", "where the result, metrics.jsonl and checkpoints go", 0, 0},                     \
        {"resume", ARGS_FLAG, &(t).resume, NULL, "go on from the newest checkpoint in --out, with the same bits", 0, 0}, \
        {"save-every",                                                                                                   \
         ARGS_INTEGER,                                                                                                   \
         &(t).save_every,                                                                                                \
         "N",                                                                                                            \
         "steps between checkpoints (100, of PPO 10; 0: none but on Ctrl-C)",                                            \
         0,                                                                                                              \
         1e15},                                                                                                          \
        {"batch", ARGS_INTEGER, &(t).batch, "N", batch_help, 1, 1e9}, {"lr", ARGS_REAL, &(t).lr, "X", lr_help, 0, 10},   \
        {"weight-decay", ARGS_REAL, &(t).weight_decay, "X", "of AdamW (0.1)", 0, 10},                                    \
        {"clip", ARGS_REAL, &(t).clip, "X", "largest norm of the gradient (1; 0: any)", 0, 1e9},                         \
        {"micro-batch",                                                                                                  \
         ARGS_INTEGER,                                                                                                   \
         &(t).micro_batch,                                                                                               \
         "N",                                                                                                            \
         "tokens that are worked off at once, to bound memory (8192; 0: all)",                                           \
         0,                                                                                                              \
         1e9},                                                                                                           \
    {                                                                                                                    \
        "recompute", ARGS_FLAG, &(t).recompute, NULL,                                                                    \
            "keep fewer activations and compute them again: less memory, a third slower", 0, 0                           \
    }

#define TRAIN_SCHEDULE_OPTIONS(t)                                                                                      \
    {"warmup", ARGS_INTEGER, &(t).warmup, "N", "steps of warm-up (default: 3 % of the steps, at least 5)", 0, 1e15},   \
    {                                                                                                                  \
        "min-lr-ratio", ARGS_REAL, &(t).min_lr_ratio, "X",                                                             \
            "share of the learning rate at the end of the cosine (0.1)", 0, 1                                          \
    }

enum { RUN_TRAINERS = 2, RUN_EXTRA = 5 };

typedef struct run {
    app *a;
    const char *stage;
    const train_settings *set;
    const char *names[RUN_TRAINERS];
    llama2_trainer *trainers[RUN_TRAINERS]; /* the run's own: freed by run_stop */
    int64_t totals[RUN_TRAINERS];           /* steps of their schedules */
    double lrs[RUN_TRAINERS];               /* their peak learning rates */
    uint64_t start;                         /* hash of the weights that they begin with */
    int n_trainers;
    llama2_checkpoint *from; /* between run_open and run_stop: what it goes on from; NULL: from the start */
    jsonl_writer *metrics;
    progress bar;
    int64_t step, saved; /* steps done; number of the newest checkpoint, -1: none */
    bool holds; /* can have rollouts in a checkpoint: their numbers are then twice the steps, and one more with rollouts
                 */
    int64_t metrics_size;    /* of metrics.jsonl before the closing lines; -1: there are none yet */
    bool torn;               /* in the middle of an update: not to be saved */
    bool finished;           /* what came of it is saved: a signal comes too late */
    llama2_rollouts *held;   /* sampled, but not learnt from yet: goes into a checkpoint after Ctrl-C; the program's */
    double extra[RUN_EXTRA]; /* of the program's own, kept over a resume */
    uint64_t fingerprint;
    double began; /* now minus the seconds of the run, earlier sittings included */
} run;

/* 0 while the table of options is right; else the exit status of a wrong use: --model, --data, --out are needed. */
int run_check(const app *a, const train_settings *set, const args_list *data);

/* Where it goes on from a checkpoint, r->from is that, and step and extra are its. */
bool run_open(run *r, app *a, const char *stage, const train_settings *set);

/* A trainer of a model or (model NULL) a reward model, or of a model with `reward` as the value head on its trunk; with
 * total steps of a cosine; total 0: constant, no warm-up. NULL: failed. */
llama2_trainer *run_trainer(app *a, const train_settings *set, llama2_model *model, llama2_reward_model *reward,
                            double lr, int64_t total);
/* The same, kept by the run. */
llama2_trainer *run_add(run *r, const char *name, llama2_model *model, llama2_reward_model *reward, double lr,
                        int64_t total);

/* fingerprint: of everything that a resume needs unchanged, data above all; the settings, schedules and first weights
 * of the trainers come on top. */
bool run_start(run *r, uint64_t fingerprint);

/* Appends to metrics.jsonl: stage, step and seconds stand first. Takes the reference over. */
bool run_log(run *r, json_t *line);
/* All steps are done: what is logged from here on is logged again by a run that goes on from a checkpoint of now. */
void run_close_steps(run *r);
/* loss, lr, grad_norm, tokens of a step. */
json_t *run_metrics(const llama2_step_metrics *m);
/* Sets what an iteration of PPO measured, under TRL's names; responses: that it sampled; times: when it began, and when
 * it had sampled, scored, asked the reference, asked the critic, updated. */
enum { RUN_PPO_TIMES = 6 };
void run_put_ppo(json_t *line, const llama2_ppo_metrics *m, const llama2_rollouts_view *responses,
                 const double times[RUN_PPO_TIMES]);

/* One step more is done; writes a checkpoint when it is time. `due` false: not now. */
bool run_step(run *r, bool due);
/* A checkpoint of the present state, unless there is one. */
bool run_save(run *r);

/* Ends it. After a signal the last complete step is saved first, and false returned; else ok. */
bool run_stop(run *r, bool ok);
/* The same for a run that has done its steps if ok: `save` writes what came of them, and the first signal waits for it.
 * Where it fails the last step has a checkpoint, so that --resume has only to save. */
bool run_finish(run *r, bool ok, bool (*save)(void *user), void *user);

/* The path of a file in --out. */
const char *run_path(const run *r, const char *name, char *buffer, size_t size);

/* FNV-1a, to make a fingerprint: begin with 0. */
uint64_t run_hash(uint64_t hash, const void *data, size_t size);
/* Adds a model or (model NULL) a reward model: one matrix, or the head. Any training changes these, of a model in 16
 * bits too: they stand for all of it. */
bool run_hash_weights(app *a, const llama2_model *model, const llama2_reward_model *reward, uint64_t *hash);

#endif
