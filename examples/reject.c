/* llama2-reject: rejection sampling fine-tuning (section 3.2.3 of the paper). */
#include "common/best_of_n.h"
#include "common/pool.h"
#include "common/temperature.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

enum { VERSION, LOSS }; /* in run.extra: of the samples; of the last step */

typedef struct reject {
    app a;
    train_settings set;
    example_steps steps;
    args_list data;
    judges judges;
    const char *pool_path;
    int64_t samples, keep, max_new_tokens, version, first_version, tune;
    int64_t marked; /* chosen answers that are not written down */
    double temperature;
    temperature_rule rule;
    llama2_model *model;
    llama2_tokenizer *tokenizer;
    prompt_set prompts;
    llama2_pool *pool;
    int pool_lock; /* -1: none */
    bool unshared; /* the pool was not to be written to */
    char own_pool[4096], sampled_pool[4096];
} reject;

static bool load(reject *s)
{
    app *a = &s->a;
    llama2_config c = {.struct_size = sizeof c};
    snprintf(s->own_pool, sizeof s->own_pool, "%s/pool", s->set.out);
    snprintf(s->sampled_pool, sizeof s->sampled_pool, "%s/sampled", s->set.out);
    if (!s->pool_path) s->pool_path = s->own_pool;
    return app_load(a, a->args.model, &s->model, &s->tokenizer) &&
           app_try(a, llama2_model_config(s->model, &c), "model") && judges_open(a, &s->judges, s->set.out) &&
           prompts_open(a, s->tokenizer, &s->data, c.max_seq_len - s->max_new_tokens, &s->prompts);
}

/* From reading a shared pool until it is written back it is this run's: what another one added meanwhile would be lost.
 * The lock is on a file of its own, since a save puts a new one in the pool's place. */
static bool lock_pool(reject *s)
{
    char path[4096];
    if (s->pool_path == s->own_pool) return true; /* --out is this run's as a whole */
    if (snprintf(path, sizeof path, "%s.lock", s->pool_path) >= (int)sizeof path)
        return app_fail(&s->a, "--pool: the path is too long: %.200s...", s->pool_path);
    s->pool_lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    if (s->pool_lock >= 0 && (flock(s->pool_lock, LOCK_EX | LOCK_NB) == 0 || errno != EWOULDBLOCK)) return true;
    return app_fail(&s->a, "%s: %s", path,
                    s->pool_lock < 0 ? strerror(errno) : "another process is adding to this pool");
}

/* The pool that versions share; or, where a run goes on, as it was when this run had sampled: other runs may have added
 * to the shared one since, and scored it again. */
static bool open_pool(reject *s, bool goes_on)
{
    if (!lock_pool(s)) return false;
    if (goes_on) return app_try(&s->a, llama2_pool_load(s->a.ctx, s->sampled_pool, &s->pool), "pool");
    if (access(s->pool_path, F_OK) == 0)
        return app_try(&s->a, llama2_pool_load(s->a.ctx, s->pool_path, &s->pool), "pool");
    return app_try(&s->a, llama2_pool_create(s->a.ctx, &s->pool), "pool");
}

/* -1: it is empty. */
static bool newest_version(reject *s, const llama2_pool *pool, int64_t *version)
{
    int64_t n = 0;
    bool ok = app_try(&s->a, llama2_pool_size(pool, &n), "pool");
    *version = -1;
    for (int64_t i = 0; ok && i < n; i++) {
        llama2_pool_sample p = {.struct_size = sizeof p};
        ok = app_try(&s->a, llama2_pool_get(pool, i, &p), "pool");
        if (p.version > *version) *version = p.version;
    }
    return ok;
}

/* Are the samples of `part` all in `pool`, whatever their scores? version -1: of all versions. */
static bool holds(reject *s, const llama2_pool *pool, const llama2_pool *part, int64_t version, bool *all)
{
    const llama2_pool *const both[] = {pool, part};
    records_seen seen = {0};
    bool ok = true;
    *all = true;
    for (int k = 0; ok && k < 2; k++) {
        int64_t n = 0;
        ok = app_try(&s->a, llama2_pool_size(both[k], &n), "pool");
        for (int64_t i = 0; ok && i < n; i++) {
            llama2_pool_sample p = {.struct_size = sizeof p};
            ok = app_try(&s->a, llama2_pool_get(both[k], i, &p), "pool");
            if (!ok || (version >= 0 && p.version != version)) continue;
            uint64_t hash = run_hash(p.prompt_id, &p.version, sizeof p.version);
            if (records_see(&seen, run_hash(hash, p.tokens, (size_t)p.n_tokens * sizeof *p.tokens)) && k == 1)
                *all = false;
        }
    }
    free(seen.hashes);
    return ok;
}

/* Into the shared pool, only once a checkpoint says that it was sampled: a run that is killed before begins anew, from
 * the pool as it was. A run that goes on does not know whether it came to that. The pool then has this run's version,
 * and perhaps later ones; or it is as this run began with it; else it is another pool, or another run has taken the
 * version. */
static bool share_pool(reject *s, bool goes_on)
{
    int64_t newest = -1;
    bool ok = true, ours = true;
    if (goes_on && access(s->pool_path, F_OK) == 0) {
        llama2_pool *there = NULL;
        ok = app_try(&s->a, llama2_pool_load(s->a.ctx, s->pool_path, &there), "pool") &&
             newest_version(s, there, &newest);
        if (ok && newest >= s->version)
            ok = holds(s, there, s->pool, s->version, &ours);
        else if (ok)
            ok = holds(s, s->pool, there, -1, &ours);
        llama2_pool_free(there);
    }
    s->unshared = ok && !ours;
    if (s->unshared && !s->a.args.quiet)
        fprintf(stderr, "%s: %s has samples of other runs in place of this one's, which are in %s and stay there\n",
                s->a.program->name, s->pool_path, s->sampled_pool);
    ok = ok && (s->unshared || newest >= s->version || app_try(&s->a, llama2_pool_save(s->pool, s->pool_path), "pool"));
    if (s->pool_lock >= 0) close(s->pool_lock);
    s->pool_lock = -1;
    return ok;
}

/* With other options than it has sampled by, a run that goes on would say that it had done what it had not. */
static uint64_t fingerprint(const reject *s, const example_set *chosen)
{
    const int64_t key[] = {(int64_t)s->a.args.seed, s->steps.batch, s->first_version, s->keep, s->samples,
                           s->max_new_tokens,       s->tune,        s->rule};
    const double real[] = {s->tune ? 0 : s->temperature, s->judges.threshold, s->judges.eos_penalty};
    uint64_t hash = examples_hash(&s->prompts.tokens, examples_hash(chosen, run_hash(0, key, sizeof key)));
    return run_hash(hash, real, sizeof real);
}

static bool sample_scored(reject *s, run *r, const size_t *index, size_t n, llama2_rollouts **out)
{
    app *a = &s->a;
    llama2_batch batch;
    llama2_rollout_options o;
    llama2_rollout_options_init(&o, sizeof o);
    o.samples_per_prompt = (int32_t)s->samples;
    o.max_new_tokens = (int32_t)s->max_new_tokens;
    o.temperature = s->temperature;
    o.seed = app_mix(a->args.seed, (uint64_t)s->version);
    o.progress = prompts_progress;
    o.user = &r->bar;
    return prompts_batch(a, &s->prompts, index, n, &batch) &&
           app_try(a, llama2_rollout(s->model, &batch, &o, out), "sampling") &&
           judges_score(a, &s->judges, &s->prompts, index, false, *out);
}

/* On the first prompts, with the same random numbers for each temperature. */
static bool tune(reject *s, run *r, const size_t *index, json_t *line)
{
    app *a = &s->a;
    size_t n = s->prompts.tokens.n, few = (size_t)s->tune < n ? (size_t)s->tune : n;
    temperature_curve curve = {0};
    bool ok = true;
    for (int t = 0; ok && t < TEMPERATURES; t++) {
        llama2_rollouts *rollouts = NULL;
        char label[32];
        snprintf(label, sizeof label, "temperature %.1f", temperature_grid[t]);
        progress_start(&r->bar, label, "samples", few * (uint64_t)s->samples, 0, a->args.quiet);
        s->temperature = temperature_grid[t];
        ok = sample_scored(s, r, index, few, &rollouts) && temperature_add(&curve, rollouts);
        progress_finish(&r->bar, ok ? NULL : "stopped");
        llama2_rollouts_free(rollouts);
    }
    if (ok) {
        s->temperature = temperature_choose(&curve, s->rule);
        json_object_set_new(line, "temperatures", app_numbers(temperature_grid, TEMPERATURES));
        json_object_set_new(line, "best_at", app_numbers(curve.best, TEMPERATURES));
    }
    temperature_free(&curve);
    return ok;
}

/* K samples a prompt, scored, into the pool under a version of their own, beside earlier ones as these reward models
 * see them. */
static bool sample(reject *s, run *r, json_t **out)
{
    app *a = &s->a;
    size_t n = s->prompts.tokens.n, *index = app_must(malloc(n * sizeof *index));
    llama2_rollouts *rollouts = NULL;
    llama2_pool_metrics m = {.struct_size = sizeof m};
    json_t *line = *out =
        json_pack("{s:i, s:i, s:I}", "step", 0, "version", (int)s->version, "samples", (json_int_t)s->samples);
    for (size_t i = 0; i < n; i++) index[i] = i;
    bool ok = s->tune == 0 || tune(s, r, index, line);
    if (ok) progress_start(&r->bar, "reject", "samples", n * (uint64_t)s->samples, 0, a->args.quiet);
    ok = ok && sample_scored(s, r, index, n, &rollouts) && pool_rescore(a, &s->judges, s->pool) &&
         pool_add(a, &s->judges, &s->prompts, index, (int32_t)s->version, (int32_t)s->keep, rollouts, s->pool, &m) &&
         app_try(a, llama2_pool_save(s->pool, s->sampled_pool), "pool");
    if (ok) progress_update(&r->bar, n * (uint64_t)s->samples, NULL);
    progress_finish(&r->bar, ok ? NULL : "stopped");
    r->bar.stream = NULL;
    app_put(line, "temperature", s->temperature);
    const struct {
        const char *name;
        int32_t n;
    } counts[] = {{"prompts", m.n_prompts},       {"kept", m.n_kept},
                  {"unsafe", m.n_unsafe},         {"unfinished", m.n_unfinished},
                  {"duplicates", m.n_duplicates}, {"empty", m.n_empty}};
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++)
        json_object_set_new(line, counts[i].name, json_integer(counts[i].n));
    app_put(line, "mean_score", m.mean_score);
    app_put(line, "mean_best", m.mean_best);
    app_put(line, "mean_median", m.mean_median);
    if (ok) {
        const best_of_n curve = best_of_n_of(rollouts);
        json_object_set_new(line, "best_of", app_numbers(curve.best, curve.points));
        json_object_set_new(line, "median_of", app_numbers(curve.median, curve.points));
    }
    llama2_rollouts_free(rollouts);
    free(index);
    return ok;
}

static const record *prompt_of(const reject *s, uint64_t id)
{
    for (size_t i = 0; i < s->prompts.tokens.n; i++)
        if (s->prompts.of[i]->id == id) return s->prompts.of[i];
    return NULL;
}

/* A sample as a demonstration, in the format that llama2-sft reads; where its text holds markers of the chat format no
 * dialogue may have it, and its tokens are learnt from alone. */
static bool write_sample(reject *s, jsonl_writer *writer, const llama2_pool_sample *p)
{
    const record *r = prompt_of(s, p->prompt_id);
    if (!r)
        return true; /* of an earlier version, with other prompts: it is learnt from, but its messages are not known
                        here */
    char *text = prompts_answer(&s->a, s->tokenizer, p->tokens + p->prompt_length, p->n_tokens - p->prompt_length);
    bool marked = false;
    if (!text || !prompts_marked(&s->a, s->tokenizer, text, &marked) || marked) {
        s->marked += marked;
        free(text);
        return marked;
    }
    json_t *line = record_line(r, text);
    json_object_set_new(line, "version", json_integer(p->version));
    app_put(line, "score", (double)p->score);
    free(text);
    return jsonl_append(writer, line) || app_fail(&s->a, "chosen.jsonl could not be written");
}

/* The best samples of all versions, into chosen.jsonl. */
static bool write_chosen(reject *s, run *r)
{
    app *a = &s->a;
    char path[4096], error[4200];
    int64_t n = 0;
    jsonl_writer *writer = jsonl_create(run_path(r, "chosen.jsonl", path, sizeof path), false, error, sizeof error);
    bool ok = writer || app_fail(a, "%s", error);
    int32_t first = (int32_t)s->first_version, last = (int32_t)s->version, top = (int32_t)s->keep;
    ok = ok && app_try(a, llama2_pool_count_top(s->pool, first, last, top, &n), "pool");
    for (int64_t i = 0; ok && i < n; i++) {
        llama2_pool_sample p = {.struct_size = sizeof p};
        ok = app_try(a, llama2_pool_top(s->pool, first, last, top, i, &p), "pool") && write_sample(s, writer, &p);
    }
    if (!jsonl_finish(writer) && ok) ok = app_fail(a, "%s could not be written", path);
    return ok;
}

static bool save(void *user)
{
    reject *s = user;
    return app_try(&s->a, llama2_model_save(s->model, s->set.out, LLAMA2_F32), "saving") &&
           app_try(&s->a, llama2_tokenizer_save(s->tokenizer, s->set.out), "saving");
}

static bool work(reject *s)
{
    app *a = &s->a;
    run r;
    example_set chosen = {0};
    json_t *line = NULL;
    bool ok = run_open(&r, a, "reject", &s->set), fresh = ok && !r.from;
    ok = ok && open_pool(s, !fresh);
    if (ok && fresh && s->version < 0) ok = newest_version(s, s->pool, &s->version) && ++s->version >= 0;
    if (ok && !fresh) s->version = (int64_t)r.extra[VERSION];
    ok = ok && (!fresh || sample(s, &r, &line));
    if (ok) app_defer(a, true); /* until it is written down nothing may make it all be sampled again */
    ok = ok && pool_examples(a, s->pool, (int32_t)s->first_version, (int32_t)s->version, (int32_t)s->keep, &chosen);
    llama2_trainer *trainer =
        ok ? run_add(&r, "model", s->model, NULL, s->set.lr, examples_steps(&chosen, &s->steps)) : NULL;
    r.extra[VERSION] = (double)s->version;
    ok = trainer && run_start(&r, fingerprint(s, &chosen));
    if (ok && fresh) ok = run_log(&r, json_incref(line)) && run_save(&r);
    ok = ok && share_pool(s, !fresh) && write_chosen(s, &r);
    app_defer(a, false);
    ok = ok && examples_train(&r, trainer, &chosen, &s->steps, &r.extra[LOSS]);
    ok = run_finish(&r, ok, save, s);
    json_t *result = json_pack("{s:s, s:I}", "model", s->set.out, "chosen", (json_int_t)chosen.n);
    app_put(result, "loss", r.extra[LOSS]);
    if (s->marked) json_object_set_new(result, "marked", json_integer((json_int_t)s->marked));
    if (s->unshared) json_object_set_new(result, "shared", json_false());
    if (line) json_object_update_missing(result, line);
    json_object_del(result, "step");
    json_decref(line);
    examples_free(&chosen);
    if (ok) return app_print(a, result);
    json_decref(result);
    return false;
}

int main(int argc, char **argv)
{
    reject s = {.set = {TRAIN_DEFAULTS, .batch = 64, .lr = 2e-5},
                .steps = {.epochs = 2},
                .judges = {JUDGES_DEFAULTS},
                .samples = 10,
                .keep = 1,
                .max_new_tokens = 256,
                .version = -1,
                .pool_lock = -1,
                .temperature = 1};
    const char *rule = NULL;
    const args_option options[] = {
        {"data", ARGS_LIST, &s.data, "FILE", "prompts, JSON Lines (docs/formats.md); may be given several times", 0, 0},
        JUDGES_OPTIONS(s.judges),
        {"samples", ARGS_INTEGER, &s.samples, "K", "answers sampled to each prompt (10)", 1, 1e6},
        {"keep", ARGS_INTEGER, &s.keep, "N", "best answers to each prompt that are kept and learnt from (1)", 1, 1e6},
        {"temperature", ARGS_REAL, &s.temperature, "T", "of the samples (1; the paper: 1.2 to 1.3 after RLHF)", 0, 100},
        {"tune", ARGS_INTEGER, &s.tune, "N",
         "choose the temperature, 0.6 to 1.4, on the first N prompts, in place of --temperature (0: do not)", 0, 1e9},
        {"temperature-rule", ARGS_TEXT, &rule, "NAME",
         "with --tune: highest (where the best of K scores highest; default) or lowest (the lowest within a tenth of a "
         "deviation of it)",
         0, 0},
        {"max-new-tokens", ARGS_INTEGER, &s.max_new_tokens, "N", "longest answer in tokens (256)", 1, 1e9},
        {"pool", ARGS_TEXT, &s.pool_path, "FILE",
         "best samples of all versions, read and written back (default: pool in --out)", 0, 0},
        {"pool-version", ARGS_INTEGER, &s.version, "N",
         "number of the model that samples (default: the next one of the pool)", 0, 1e9},
        {"first-version", ARGS_INTEGER, &s.first_version, "N", "oldest version whose samples are learnt from (0)", 0,
         1e9},
        TRAIN_OPTIONS(s.set, "dialogues a step (64)", "peak learning rate (2e-5)"),
        TRAIN_SCHEDULE_OPTIONS(s.set),
        {"epochs", ARGS_INTEGER, &s.steps.epochs, "N", "passes over the chosen samples (2)", 1, 1e6},
        {0},
    };
    const args_program program = {
        .name = "llama2-reject",
        .summary = "Rejection sampling: K answers to each prompt, the best by the reward models, fine-tuning on these.",
        .usage =
            "--model DIR --reward DIR [--safety-reward DIR] --data FILE --out DIR [--pool FILE] [--resume] [options]",
        .options = options,
        .notes = "The chosen samples go to chosen.jsonl in --out as demonstrations. Answers that have "
                 "not ended, and unsafe ones,\nare left out. The pool's earlier samples are scored again by these "
                 "reward models."};
    int status = app_parse(&s.a, &program, argc, argv);
    if (status != ARGS_GO) return status;
    if ((status = run_check(&s.a, &s.set, &s.data))) return status;
    if (!s.judges.helpful_path) return args_usage(&program, "--reward is missing");
    if (rule && s.tune == 0) return args_usage(&program, "--temperature-rule goes with --tune");
    s.rule = rule ? temperature_rule_of(rule) : TEMPERATURE_HIGHEST;
    if (s.rule == TEMPERATURE_RULES)
        return args_usage(&program, "--temperature-rule %s: expected highest or lowest", rule);
    s.steps.batch = s.set.batch;
    bool ok = app_begin(&s.a) && load(&s) && work(&s);
    llama2_pool_free(s.pool);
    judges_close(&s.judges);
    prompts_close(&s.prompts);
    llama2_model_free(s.model);
    llama2_tokenizer_free(s.tokenizer);
    return app_end(&s.a, ok);
}
