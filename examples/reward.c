/* llama2-reward: a reward model (section 3.2.2 of the paper) from comparisons. */
#include "common/pairs.h"

#include <stdlib.h>
#include <string.h>

typedef struct reward {
    app a;
    train_settings set;
    args_list data;
    const char *margin, *eval;
    int64_t epochs, length;
    double safety_weight;
    bool further, centre;
    llama2_reward_model *model;
    llama2_tokenizer *tokenizer;
    pair_set train, held_out;
} reward;

static bool load(reward *s)
{
    app *a = &s->a;
    llama2_model *model = NULL;
    args_list eval = {{s->eval}, 1};
    int32_t margin = strcmp(s->margin, "none") == 0    ? LLAMA2_MARGIN_NONE
                     : strcmp(s->margin, "small") == 0 ? LLAMA2_MARGIN_SMALL
                                                       : LLAMA2_MARGIN_LARGE;
    int64_t context = 0;
    bool ok = app_load(a, a->args.model, s->further ? NULL : &model, &s->tokenizer) &&
              app_context_length(a, a->args.model, &context) &&
              app_try(a,
                      s->further ? llama2_reward_model_load(a->ctx, a->args.model, NULL, &s->model)
                                 : llama2_reward_model_create(a->ctx, model, NULL, &s->model),
                      "reward model");
    if (s->length == 0 || s->length > context) s->length = context;
    llama2_model_free(model);
    return ok && pairs_open(a, s->tokenizer, &s->data, s->length, margin, true, &s->train) &&
           (!s->eval || pairs_open(a, s->tokenizer, &eval, s->length, margin, false, &s->held_out));
}

static int64_t an_epoch(const reward *s)
{
    return ((int64_t)s->train.n + s->set.batch - 1) / s->set.batch;
}

static bool log_step(run *r, const llama2_reward_metrics *m)
{
    json_t *line = json_pack("{s:i, s:i}", "pairs", m->n_pairs, "left_out", m->n_left_out);
    app_put(line, "loss", m->loss);
    app_put(line, "ranking_loss", m->ranking_loss);
    app_put(line, "safety_loss", m->safety_loss);
    app_put(line, "accuracy", m->accuracy);
    app_put(line, "margin", m->mean_margin);
    app_put(line, "mean_chosen", m->mean_chosen);
    app_put(line, "mean_rejected", m->mean_rejected);
    app_put(line, "min_score", m->min_score);
    app_put(line, "max_score", m->max_score);
    app_put(line, "lr", m->lr);
    app_put(line, "grad_norm", m->grad_norm);
    return run_log(r, line);
}

static bool steps(reward *s, run *r, llama2_trainer *trainer)
{
    app *a = &s->a;
    char note[64];
    size_t *order = NULL, n = s->train.n, batch = (size_t)s->set.batch;
    int64_t in_order = -1, per_epoch = an_epoch(s);
    bool ok = true;
    progress_start(&r->bar, "reward", "pairs", n * (uint64_t)s->epochs,
                   (uint64_t)(r->step / per_epoch) * n + (uint64_t)(r->step % per_epoch) * batch, a->args.quiet);
    while (ok && r->step < per_epoch * s->epochs) {
        int64_t epoch = r->step / per_epoch;
        size_t first = (size_t)(r->step % per_epoch) * batch, count = n - first < batch ? n - first : batch;
        llama2_reward_metrics m = {.struct_size = sizeof m};
        if (in_order != epoch) {
            free(order);
            order = app_shuffled(n, app_mix(a->args.seed, (uint64_t)epoch));
            in_order = epoch;
        }
        ok = pairs_batch(a, &s->train, order + first, 0, count, s->safety_weight) &&
             app_try(a, llama2_reward_step(trainer, &s->train.pairs, &m), "training");
        if (!ok) break;
        ok = log_step(r, &m) && run_step(r, r->step + 1 < per_epoch * s->epochs);
        snprintf(note, sizeof note, "loss %.3f, accuracy %.2f", m.loss, m.accuracy);
        progress_update(&r->bar, (uint64_t)epoch * n + first + count, note);
    }
    free(order);
    return ok;
}

/* The mean score over the responses becomes 0; the shift is saved with the model. On the way: the accuracy. */
static bool centre(reward *s, double *accuracy)
{
    double sum = 0, right = 0;
    for (size_t first = 0; first < s->train.n; first += 64) {
        llama2_reward_metrics m = {.struct_size = sizeof m};
        size_t n = s->train.n - first < 64 ? s->train.n - first : 64;
        if (!pairs_batch(&s->a, &s->train, NULL, first, n, 0) ||
            !app_try(&s->a, llama2_reward_evaluate(s->model, &s->train.pairs, &m, s->train.scores), "centring"))
            return false;
        for (size_t i = 0; i < 2 * n; i++) sum += (double)s->train.scores[i];
        right += m.accuracy * (double)n;
    }
    *accuracy = right / (double)s->train.n;
    return app_try(&s->a, llama2_reward_model_set_normalisation(s->model, sum / (2 * (double)s->train.n), 1),
                   "centring");
}

static bool work(reward *s)
{
    app *a = &s->a;
    run r;
    json_t *held_out = NULL;
    double accuracy = 0;
    double extra[] = {(double)s->train.margin, s->safety_weight};
    int64_t key[] = {(int64_t)a->args.seed, s->set.batch};
    uint64_t fingerprint = 0;
    bool ok = run_open(&r, a, "reward", &s->set) && pairs_hash(a, &s->train, &fingerprint);
    fingerprint = run_hash(run_hash(fingerprint, key, sizeof key), extra, sizeof extra);
    llama2_trainer *trainer = ok ? run_add(&r, "reward", NULL, s->model, s->set.lr, an_epoch(s) * s->epochs) : NULL;
    ok = trainer && run_start(&r, fingerprint) && steps(s, &r, trainer) && (!s->centre || centre(s, &accuracy));
    if (ok && s->centre) {
        json_t *centred = json_pack("{s:I}", "step", (json_int_t)r.step);
        app_put(centred, "train_accuracy", accuracy);
        ok = run_log(&r, centred);
    }
    if (ok && s->eval)
        ok = (held_out = pairs_evaluate(a, &s->held_out, s->model)) != NULL &&
             run_log(&r, json_pack("{s:I, s:O}", "step", (json_int_t)r.step, "held_out", held_out));
    ok = run_stop(&r, ok) && app_try(a, llama2_reward_model_save(s->model, s->set.out, LLAMA2_F32), "saving") &&
         app_try(a, llama2_tokenizer_save(s->tokenizer, s->set.out), "saving");
    json_t *line = json_pack("{s:s, s:I, s:I}", "model", s->set.out, "steps", (json_int_t)(an_epoch(s) * s->epochs),
                             "pairs", (json_int_t)s->train.n);
    if (s->centre) app_put(line, "train_accuracy", accuracy);
    if (held_out) json_object_set_new(line, "held_out", held_out);
    if (ok) return app_print(a, line);
    json_decref(line);
    return false;
}

int main(int argc, char **argv)
{
    reward s = {.set = {TRAIN_DEFAULTS, .batch = 512, .lr = 1e-5}, .margin = "small", .epochs = 1};
    const args_option options[] = {
        {"data", ARGS_LIST, &s.data, "FILE",
         "comparisons, JSON Lines (docs/formats.md), also .gz; may be given several times", 0, 0},
        {"eval", ARGS_TEXT, &s.eval, "FILE", "held-out comparisons: accuracy by rating, beside \"longer wins\"", 0, 0},
        {"margin", ARGS_TEXT, &s.margin, "KIND",
         "none, small (1, 2/3, 1/3, 0; default) or large (3, 2, 1, 0) by rating", 0, 0},
        {"safety-weight", ARGS_REAL, &s.safety_weight, "X", "of the safe/unsafe loss, where labels are (0)", 0, 1e6},
        TRAIN_OPTIONS(s.set, "comparisons a step (512)", "peak learning rate (1e-5)"),
        TRAIN_SCHEDULE_OPTIONS(s.set),
        {"epochs", ARGS_INTEGER, &s.epochs, "N", "passes over the data (1: more over-fits)", 1, 1e6},
        {"length", ARGS_INTEGER, &s.length, "N", "longest dialogue in tokens (default: the model's context)", 8, 1e9},
        {"further", ARGS_FLAG, &s.further, NULL, "--model is a reward model already: train it on", 0, 0},
        {"centre", ARGS_FLAG, &s.centre, NULL, "shift the scores so that their mean over the data is 0", 0, 0},
        {0},
    };
    const args_program program = {.name = "llama2-reward",
                                  .summary = "Trains a reward model on comparisons, from a chat model.",
                                  .usage = "--model DIR --data FILE --out DIR [--eval FILE] [--resume] [options]",
                                  .options = options,
                                  .notes = "Defaults are the paper's: one epoch, 512 pairs a step, cosine schedule to "
                                           "10 %, warm-up 3 % of the steps and at least 5."};
    int status = app_parse(&s.a, &program, argc, argv);
    if (status != ARGS_GO) return status;
    if ((status = run_check(&s.a, &s.set, &s.data))) return status;
    if (strcmp(s.margin, "none") != 0 && strcmp(s.margin, "small") != 0 && strcmp(s.margin, "large") != 0)
        return args_usage(&program, "--margin %s: expected none, small or large", s.margin);
    bool ok = app_begin(&s.a) && load(&s) && work(&s);
    pairs_close(&s.train);
    pairs_close(&s.held_out);
    llama2_reward_model_free(s.model);
    llama2_tokenizer_free(s.tokenizer);
    return app_end(&s.a, ok);
}
