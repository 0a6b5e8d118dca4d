/* llama2-sft: supervised fine-tuning (section 3.1 of the paper) on demonstrations. */
#include "common/examples.h"
#include "common/mixed.h"

#include <math.h>
#include <string.h>

enum { LOSS }; /* in run.extra: of the last step */

typedef struct sft {
    app a;
    train_settings set;
    example_steps steps;
    args_list data, weights;
    const char *eval;
    double least_score;
    int64_t length, low, repeated; /* left out for their score; since they were there before */
    bool unique, last_answer, concatenate;
    records_seen seen;
    llama2_model *model;
    llama2_tokenizer *tokenizer;
    llama2_mixture *mixture;
    example_set examples, held_out;
    size_t ends[ARGS_MAX]; /* of each file's examples */
} sft;

static bool load_examples(sft *s, const args_list *files, example_set *set, size_t *ends)
{
    app *a = &s->a;
    char error[1024];
    int64_t left_out;
    bool ok = true;
    for (size_t i = 0; ok && i < files->count; i++) {
        records r = {0};
        ok = records_read(&r, files->items[i], RECORD_DEMONSTRATION, error, sizeof error) || app_fail(a, "%s", error);
        if (ends) s->low += (int64_t)records_drop_below(&r, s->least_score);
        if (ends && s->unique) s->repeated += (int64_t)records_drop_seen(&r, &s->seen);
        ok = ok && examples_encode(a, s->tokenizer, &r, s->last_answer ? 0 : 1, s->length, set, &left_out);
        if (ends) ends[i] = set->n;
        records_free(&r);
    }
    return ok;
}

/* --weight: each file's share of an epoch. */
static bool open_mixture(sft *s)
{
    int64_t counts[ARGS_MAX];
    double weights[ARGS_MAX] = {0};
    llama2_mixture_options o;
    llama2_mixture_options_init(&o, sizeof o);
    o.recipe = LLAMA2_MIX_WEIGHTS;
    o.seed = s->a.args.seed;
    for (size_t i = 0; i < s->data.count; i++) counts[i] = (int64_t)(s->ends[i] - (i > 0 ? s->ends[i - 1] : 0));
    s->steps.ends = s->ends;
    bool ok =
        mixed_weights(&s->a, &s->weights, weights) &&
        app_try(&s->a, llama2_mixture_create(s->a.ctx, (int32_t)s->data.count, counts, NULL, weights, &o, &s->mixture),
                "--weight");
    s->steps.mixture = s->mixture;
    return ok;
}

static bool load(sft *s)
{
    app *a = &s->a;
    args_list eval = {{s->eval}, s->eval != NULL};
    llama2_config c = {.struct_size = sizeof c};
    bool ok =
        app_load(a, a->args.model, &s->model, &s->tokenizer) && app_try(a, llama2_model_config(s->model, &c), "model");
    if (ok && (s->length == 0 || s->length > c.max_seq_len)) s->length = c.max_seq_len;
    if (s->concatenate) s->steps.concatenate = s->length;
    ok = ok && load_examples(s, &s->data, &s->examples, s->ends) && load_examples(s, &eval, &s->held_out, NULL);
    if (ok && s->examples.n == 0) ok = app_fail(a, "there is no demonstration to learn from");
    if (ok && s->low && !s->a.args.quiet)
        fprintf(stderr, "%s: %lld demonstrations with a lower score than %g are left out\n", a->program->name,
                (long long)s->low, s->least_score);
    if (ok && s->repeated && !s->a.args.quiet)
        fprintf(stderr, "%s: %lld demonstrations that were there before are left out\n", a->program->name,
                (long long)s->repeated);
    if (ok && s->eval && s->held_out.n == 0) ok = app_fail(a, "%s: holds no demonstration that fits", s->eval);
    return ok && (s->weights.count == 0 || open_mixture(s));
}

/* The held-out loss, as a line of its own: before the first step and after the last. */
static bool evaluate(sft *s, run *r, int64_t step, double *held_out)
{
    if (!s->eval) return true;
    if (!examples_evaluate(&s->a, s->model, &s->held_out, held_out)) return false;
    json_t *line = json_pack("{s:I}", "step", (json_int_t)step);
    app_put(line, "held_out_loss", *held_out);
    return run_log(r, line);
}

static bool save(void *user)
{
    sft *s = user;
    return app_try(&s->a, llama2_model_save(s->model, s->set.out, LLAMA2_F32), "saving") &&
           app_try(&s->a, llama2_tokenizer_save(s->tokenizer, s->set.out), "saving");
}

static bool train(sft *s)
{
    run r;
    double held_out = 0;
    int64_t steps = examples_steps(&s->examples, &s->steps),
            key[] = {(int64_t)s->a.args.seed, s->steps.batch, s->steps.concatenate};
    uint64_t hash = run_hash(0, key, sizeof key);
    for (size_t i = 0; i < s->weights.count; i++) {
        hash = run_hash(hash, &s->ends[i], sizeof s->ends[i]);
        hash = run_hash(hash, s->weights.items[i], strlen(s->weights.items[i]) + 1);
    }
    bool ok = run_open(&r, &s->a, "sft", &s->set);
    llama2_trainer *trainer = ok ? run_add(&r, "model", s->model, NULL, s->set.lr, steps) : NULL;
    ok = trainer && run_start(&r, examples_hash(&s->examples, hash)) && (r.from || evaluate(s, &r, 0, &held_out)) &&
         examples_train(&r, trainer, &s->examples, &s->steps, &r.extra[LOSS]);
    run_close_steps(&r);
    ok = ok && evaluate(s, &r, steps, &held_out);
    if (!run_finish(&r, ok, save, s)) return false;
    json_t *line = json_pack("{s:s, s:I, s:I}", "model", s->set.out, "steps", (json_int_t)steps, "examples",
                             (json_int_t)s->examples.n);
    app_put(line, "loss", r.extra[LOSS]);
    if (s->eval) app_put(line, "held_out_loss", held_out);
    return app_print(&s->a, line);
}

int main(int argc, char **argv)
{
    sft s = {.set = {TRAIN_DEFAULTS, .batch = 64, .lr = 2e-5}, .steps = {.epochs = 2}, .least_score = -INFINITY};
    const args_option options[] = {
        {"data", ARGS_LIST, &s.data, "FILE", "demonstrations, JSON Lines (docs/formats.md); may be given several times",
         0, 0},
        {"weight", ARGS_LIST, &s.weights, "X",
         "a file's share of an epoch, for each --data in its order: an epoch is then as long as it can be without "
         "learning "
         "one twice",
         0, 0},
        {"least-score", ARGS_REAL, &s.least_score, "X", "leave out demonstrations whose \"score\" is lower", -1e30,
         1e30},
        {"unique", ARGS_FLAG, &s.unique, NULL, "leave out demonstrations that are there twice, over all files", 0, 0},
        {"eval", ARGS_TEXT, &s.eval, "FILE", "held-out demonstrations, whose loss is measured before and after", 0, 0},
        TRAIN_OPTIONS(s.set, "dialogues a step (64)", "peak learning rate (2e-5)"),
        TRAIN_SCHEDULE_OPTIONS(s.set),
        {"epochs", ARGS_INTEGER, &s.steps.epochs, "N", "passes over the data (2)", 1, 1e6},
        {"length", ARGS_INTEGER, &s.length, "N", "longest dialogue in tokens (default: the model's context)", 8, 1e9},
        {"last-answer", ARGS_FLAG, &s.last_answer, NULL, "learn from the last answer of a dialogue only, not from all",
         0, 0},
        {"concatenate", ARGS_FLAG, &s.concatenate, NULL,
         "fill sequences of --length with dialogues that see each other, as the paper does", 0, 0},
        {0},
    };
    const args_program program = {
        .name = "llama2-sft",
        .summary = "Fine-tunes a model on demonstrations: dialogues whose answers it learns to give.",
        .usage = "--model DIR --data FILE --out DIR [--eval FILE] [--resume] [options]",
        .options = options,
        .notes = "Defaults are the paper's: cosine schedule to 10 %, weight decay 0.1, 64 dialogues a step, 2 epochs, "
                 "no loss on prompts."};
    int status = app_parse(&s.a, &program, argc, argv);
    if (status != ARGS_GO) return status;
    if ((status = run_check(&s.a, &s.set, &s.data))) return status;
    if (s.weights.count && s.weights.count != s.data.count)
        return args_usage(&program, "a --weight is needed for each of the %zu files of --data", s.data.count);
    s.steps.batch = s.set.batch;
    bool ok = app_begin(&s.a) && load(&s) && train(&s);
    free(s.seen.hashes);
    examples_free(&s.examples);
    examples_free(&s.held_out);
    llama2_mixture_free(s.mixture);
    llama2_model_free(s.model);
    llama2_tokenizer_free(s.tokenizer);
    return app_end(&s.a, ok);
}
