#include "common/run.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Kept in each checkpoint beside the trainers. */
typedef struct run_state {
    uint64_t fingerprint;
    int64_t step,
        metrics_size; /* size of metrics.jsonl then: what was written later belongs to steps that are done again */
    double seconds, extra[RUN_EXTRA];
} run_state;

int run_check(const app *a, const train_settings *set, const args_list *data)
{
    if (!a->args.model) return args_usage(a->program, "--model is missing");
    if (data && data->count == 0) return args_usage(a->program, "--data is missing");
    if (!set->out) return args_usage(a->program, "--out is missing");
    return 0;
}

const char *run_path(const run *r, const char *name, char *buffer, size_t size)
{
    snprintf(buffer, size, "%s/%s", r->set->out, name);
    return buffer;
}

uint64_t run_hash(uint64_t hash, const void *data, size_t size)
{
    const unsigned char *c = data;
    hash ^= 0xcbf29ce484222325u;
    for (size_t i = 0; i < size; i++) hash = (hash ^ c[i]) * 0x100000001b3u;
    return hash;
}

bool run_hash_weights(app *a, const llama2_model *model, const llama2_reward_model *reward, uint64_t *hash)
{
    const char *name = model ? "model.layers.0.mlp.up_proj.weight" : "score.weight";
    int64_t n = 0;
    float *values = NULL;
    llama2_status status = LLAMA2_OK;
    for (int i = 0; status >= 0 && i < 2; i++) { /* the size, then the values */
        if (i > 0) values = app_must(malloc((size_t)n * sizeof *values));
        status = model ? llama2_model_get_tensor(model, name, values, i > 0 ? n : 0, &n)
                       : llama2_reward_model_get_tensor(reward, name, values, i > 0 ? n : 0, &n);
    }
    if (status >= 0) *hash = run_hash(*hash, values, (size_t)n * sizeof *values);
    free(values);
    return app_try(a, status, model ? "model" : "reward model");
}

static bool read_state(run *r, run_state *s)
{
    size_t size = 0;
    llama2_status status = llama2_checkpoint_get_bytes(r->from, "run", s, sizeof *s, &size);
    if (status == LLAMA2_E_BUFFER || (status >= 0 && size != sizeof *s))
        return app_fail(r->a, "--resume: the checkpoint in %s is that of another version of this program", r->set->out);
    return app_try(r->a, status, "checkpoint");
}

bool run_open(run *r, app *a, const char *stage, const train_settings *set)
{
    char path[4096];
    *r = (run){.a = a, .stage = stage, .set = set, .saved = -1, .metrics_size = -1, .began = progress_now()};
    if (!(set->part ? app_make_folder(a, set->out) : app_make_out(a, set->out))) return false;
    if (a->args.model && !app_apart(a, set->out, "--model", a->args.model)) return false;
    run_path(r, "checkpoints", path, sizeof path);
    llama2_status status = llama2_checkpoint_open(a->ctx, path, -1, &r->from);
    if (status == LLAMA2_E_NOT_FOUND && set->resume && !set->part)
        return app_fail(a, "--resume: there is no checkpoint in %s: %s", path, llama2_last_error());
    if (status == LLAMA2_E_NOT_FOUND) return true;
    if (!app_try(a, status, "checkpoint")) return false;
    if (!set->resume && !set->part)
        return app_fail(a,
                        "%s holds checkpoints of an earlier run: --resume goes on with it; for a new run choose "
                        "another --out, or remove them",
                        path);
    run_state s;
    r->saved = llama2_checkpoint_step(r->from);
    if (!read_state(r, &s)) return false;
    r->step = s.step;
    memcpy(r->extra, s.extra, sizeof r->extra);
    return true;
}

/* 3 % of the steps, at least 5, but not more than half of them. */
static int64_t warmup(int64_t total)
{
    int64_t steps = total * 3 / 100 > 5 ? total * 3 / 100 : 5;
    return steps < total / 2 ? steps : total / 2;
}

llama2_trainer *run_trainer(app *a, const train_settings *set, llama2_model *model, llama2_reward_model *reward,
                            double lr, int64_t total)
{
    llama2_optimizer_options oo;
    llama2_trainer_options to;
    llama2_optimizer *optimizer = NULL;
    llama2_trainer *trainer = NULL;
    llama2_optimizer_options_init(&oo, sizeof oo);
    llama2_trainer_options_init(&to, sizeof to);
    oo.lr = lr;
    oo.weight_decay = set->weight_decay;
    to.schedule = total > 0 ? LLAMA2_SCHEDULE_COSINE : LLAMA2_SCHEDULE_CONSTANT;
    to.total_steps = total;
    to.warmup_steps = total == 0 ? 0 : set->warmup >= 0 ? set->warmup : warmup(total);
    to.min_lr_ratio = set->min_lr_ratio;
    to.clip_norm = set->clip;
    to.micro_batch_tokens = set->micro_batch;
    to.recompute = set->recompute;
    to.value_head = model ? reward : NULL;
    to.value_head_lr_ratio = set->head_lr_ratio;
    if (app_try(a, llama2_optimizer_create(a->ctx, &oo, &optimizer), "optimizer")) {
        llama2_status status = model ? llama2_trainer_create(a->ctx, model, optimizer, &to, &trainer)
                                     : llama2_trainer_create_for_reward(a->ctx, reward, optimizer, &to, &trainer);
        app_try(a, status, "trainer");
    }
    llama2_optimizer_free(optimizer);
    return trainer;
}

llama2_trainer *run_add(run *r, const char *name, llama2_model *model, llama2_reward_model *reward, double lr,
                        int64_t total)
{
    if (!run_hash_weights(r->a, model, reward, &r->start)) return NULL;
    llama2_trainer *trainer = run_trainer(r->a, r->set, model, reward, lr, total);
    if (!trainer) return NULL;
    r->names[r->n_trainers] = name;
    r->totals[r->n_trainers] = total;
    r->lrs[r->n_trainers] = lr;
    r->trainers[r->n_trainers++] = trainer;
    return trainer;
}

static bool restore(run *r)
{
    run_state s;
    if (!read_state(r, &s)) return false;
    if (s.fingerprint != r->fingerprint)
        return app_fail(r->a,
                        "--resume: the run in %s was begun with other data, another model or other options, or by "
                        "another version of this program; give it the same",
                        r->set->out);
    for (int i = 0; i < r->n_trainers; i++)
        if (!app_try(r->a, llama2_checkpoint_get_trainer(r->from, r->names[i], r->trainers[i]), "checkpoint"))
            return false;
    r->began -= s.seconds;
    char path[4096];
    struct stat there;
    run_path(r, "metrics.jsonl", path, sizeof path);
    bool has_lines = stat(path, &there) == 0; /* else a new file begins with what comes now */
    if (has_lines && there.st_size < s.metrics_size)
        return app_fail(
            r->a,
            "--resume: %s has %lld bytes, and had %lld at the checkpoint: lines are missing; put them back, "
            "or remove the file to go on without",
            path, (long long)there.st_size, (long long)s.metrics_size);
    if (has_lines && there.st_size > s.metrics_size && truncate(path, s.metrics_size) != 0)
        return app_fail(r->a, "%s: %s", path, strerror(errno));
    if (!r->a->args.quiet) fprintf(stderr, "%s: going on after step %lld\n", r->a->program->name, (long long)r->step);
    return true;
}

bool run_start(run *r, uint64_t fingerprint)
{
    char path[4096], error[4200];
    const train_settings *t = r->set;
    const double settings[] = {t->weight_decay, t->clip, t->min_lr_ratio, t->head_lr_ratio, (double)t->warmup};
    r->fingerprint = run_hash(fingerprint ^ r->start, settings, sizeof settings);
    r->fingerprint = run_hash(r->fingerprint, r->lrs, sizeof r->lrs);
    r->fingerprint = run_hash(r->fingerprint, r->totals, sizeof r->totals);
    if (r->from && !restore(r)) return false;
    r->metrics = jsonl_create(run_path(r, "metrics.jsonl", path, sizeof path), r->from != NULL, error, sizeof error);
    return r->metrics || app_fail(r->a, "%s", error);
}

bool run_log(run *r, json_t *line)
{
    json_t *whole = json_pack("{s:s, s:I, s:f}", "stage", r->stage, "step", (json_int_t)r->step + 1, "seconds",
                              progress_now() - r->began);
    if (whole && line) json_object_update(whole, line);
    json_decref(line);
    return jsonl_append(r->metrics, whole) || app_fail(r->a, "%s/metrics.jsonl could not be written", r->set->out);
}

json_t *run_metrics(const llama2_step_metrics *m)
{
    json_t *line = json_pack("{s:I}", "tokens", (json_int_t)m->total_tokens);
    app_put(line, "loss", m->loss);
    app_put(line, "lr", m->lr);
    app_put(line, "grad_norm", m->grad_norm);
    if (m->skipped) json_object_set_new(line, "skipped", json_true());
    return line;
}

static double mean(const float *x, int32_t n)
{
    double sum = 0;
    for (int32_t i = 0; i < n; i++) sum += (double)x[i];
    return sum / n;
}

void run_put_ppo(json_t *line, const llama2_ppo_metrics *m, const llama2_rollouts_view *responses,
                 const double times[RUN_PPO_TIMES])
{
    static const char *const phases[] = {"time/rollout", "time/score", "time/reference", "time/values", "time/update"};
    int32_t n = responses->n_samples;
    json_object_set_new(line, "updates", json_integer((json_int_t)m->step));
    if (m->policy_skipped) json_object_set_new(line, "skipped", json_integer(m->policy_skipped));
    if (m->value_skipped) json_object_set_new(line, "critic_skipped", json_integer(m->value_skipped));
    if (responses->helpful_scores) app_put(line, "reward/helpful", mean(responses->helpful_scores, n));
    if (responses->safety_scores) app_put(line, "reward/safety", mean(responses->safety_scores, n));
    app_put(line, "objective/kl", m->kl);
    app_put(line, "objective/entropy", m->entropy);
    app_put(line, "objective/non_score_reward", m->non_score_reward);
    app_put(line, "objective/rlhf_reward", m->rlhf_reward);
    app_put(line, "objective/scores", m->score);
    app_put(line, "policy/approxkl_avg", m->approx_kl);
    app_put(line, "policy/clipfrac_avg", m->clip_fraction);
    app_put(line, "policy/entropy_avg", m->policy_entropy);
    app_put(line, "loss/policy_avg", m->policy_loss);
    app_put(line, "loss/value_avg", m->value_loss);
    app_put(line, "val/clipfrac_avg", m->value_clip_fraction);
    app_put(line, "val/ratio", m->ratio);
    app_put(line, "val/ratio_var", m->ratio_var);
    app_put(line, "val/var_explained", m->explained_variance);
    app_put(line, "val/num_eos_tokens", m->eos_share * n);
    app_put(line, "lr", m->policy_lr);
    app_put(line, "critic_lr", m->value_lr);
    app_put(line, "grad_norm", m->policy_grad_norm);
    app_put(line, "critic_grad_norm", m->value_grad_norm);
    app_put(line, "response_length", m->response_length);
    app_put(line, "truncated", 1 - m->eos_share);
    app_put(line, "distinct_1", m->distinct_1);
    app_put(line, "distinct_2", m->distinct_2);
    app_put(line, "repetition", m->repetition);
    for (int i = 0; i + 1 < RUN_PPO_TIMES; i++) app_put(line, phases[i], times[i + 1] - times[i]);
}

static int64_t size_of_metrics(const run *r)
{
    char path[4096];
    struct stat there = {0};
    stat(run_path(r, "metrics.jsonl", path, sizeof path), &there);
    return there.st_size;
}

void run_close_steps(run *r)
{
    r->metrics_size = size_of_metrics(r);
}

static int64_t checkpoint_number(const run *r)
{
    return r->holds ? 2 * r->step + (r->held != NULL) : r->step;
}

bool run_save(run *r)
{
    char path[4096];
    int64_t number = checkpoint_number(r);
    llama2_checkpoint *c = NULL;
    if (number == r->saved) return true;
    if (!jsonl_sync(r->metrics)) /* their size is in the checkpoint */
        return app_fail(r->a, "%s/metrics.jsonl could not be written", r->set->out);
    run_state s = {.fingerprint = r->fingerprint,
                   .step = r->step,
                   .metrics_size = r->metrics_size < 0 ? size_of_metrics(r) : r->metrics_size,
                   .seconds = progress_now() - r->began};
    memcpy(s.extra, r->extra, sizeof s.extra);
    llama2_status status =
        llama2_checkpoint_begin(r->a->ctx, run_path(r, "checkpoints", path, sizeof path), number, &c);
    for (int i = 0; status >= 0 && i < r->n_trainers; i++)
        status = llama2_checkpoint_add_trainer(c, r->names[i], r->trainers[i]);
    if (status >= 0 && r->held) status = llama2_checkpoint_add_rollouts(c, "rollouts", r->held);
    if (status >= 0) status = llama2_checkpoint_add_bytes(c, "run", &s, sizeof s);
    if (status >= 0) status = llama2_checkpoint_commit(c, 2);
    llama2_checkpoint_free(c);
    if (status >= 0) r->saved = number;
    return app_try(r->a, status, "checkpoint");
}

bool run_step(run *r, bool due)
{
    r->step++;
    return !due || r->set->save_every == 0 || r->step % r->set->save_every != 0 || run_save(r);
}

static bool save_interrupted(run *r)
{
    llama2_context_resume(r->a->ctx);
    if (r->torn)
        return app_fail(r->a, "interrupted in the middle of an update; %s",
                        r->saved >= 0 ? "--resume goes on from the newest checkpoint" : "there is no checkpoint yet");
    for (int i = 0; i < r->n_trainers; i++) llama2_trainer_clear(r->trainers[i]);
    if (r->step == 0 && !r->held && r->saved < 0) return app_fail(r->a, "interrupted before the first step was done");
    if (r->saved < checkpoint_number(r) && !run_save(r)) return false;
    return app_fail(r->a,
                    r->held ? "interrupted in the middle of step %lld; --resume goes on from there"
                            : "interrupted after step %lld; --resume goes on from there",
                    (long long)(r->step + (r->held != NULL)));
}

bool run_stop(run *r, bool ok)
{
    if (r->bar.stream) progress_finish(&r->bar, ok ? NULL : "stopped");
    if (app_interrupted() && r->metrics && !r->finished) ok = save_interrupted(r);
    if (!jsonl_finish(r->metrics) && ok) ok = app_fail(r->a, "%s/metrics.jsonl could not be written", r->set->out);
    for (int i = 0; i < r->n_trainers; i++) llama2_trainer_free(r->trainers[i]);
    llama2_checkpoint_free(r->from);
    r->metrics = NULL;
    r->n_trainers = 0;
    r->from = NULL;
    return ok;
}

bool run_finish(run *r, bool ok, bool (*save)(void *user), void *user)
{
    if (ok) {
        app_defer(r->a, true);
        r->finished = ok = save(user);
        if (!ok && !app_interrupted()) {
            char why[1024];
            snprintf(why, sizeof why, "%s: %s", r->a->doing, llama2_last_error());
            if (run_save(r))
                app_fail(r->a, "%s; --resume goes on after step %lld", why, (long long)r->step);
            else
                app_fail(r->a, "%s", why);
        }
        app_defer(r->a, false);
    }
    return run_stop(r, ok);
}
