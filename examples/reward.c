/* llama2-reward: a reward model (section 3.2.2 of the paper) from comparisons. */
#include "common/mixed.h"
#include "common/card.h"

#include <stdlib.h>
#include <string.h>

typedef struct reward {
    app a;
    train_settings set;
    args_list kinds[4], eval, weights; /* kinds: files by LLAMA2_SOURCE_* */
    const char *margin, *mix, *reward, *report;
    int64_t epochs, length, limit;
    double safety_weight;
    bool further, centre, normalise, evaluate_only;
    args_list data; /* all files of `kinds`, in their order */
    llama2_reward_model *model;
    llama2_tokenizer *tokenizer;
    llama2_mixture *mixture; /* NULL: all pairs, shuffled */
    pair_set train, held_out[ARGS_MAX];
    card cards[ARGS_MAX]; /* of the held-out sets */
    size_t an_epoch;      /* pairs */
} reward;

static const char *const kind_names[] = {"own_helpful", "own_safety", "open_helpful", "open_harmless"};

static int32_t kind_of(const reward *s, size_t file)
{
    int32_t kind = 0;
    for (; file >= s->kinds[kind].count; kind++) file -= s->kinds[kind].count;
    return kind;
}

/* --- which pairs, in which order ------------------------------------------------------------- */

static const char *const mix_names[] = {
    [LLAMA2_MIX_WEIGHTS] = "weights",         [LLAMA2_MIX_EQUAL] = "equal",
    [LLAMA2_MIX_HELPFULNESS] = "helpfulness", [LLAMA2_MIX_SAFETY] = "safety",
    [LLAMA2_MIX_NINE_TO_ONE] = "nine-to-one", [LLAMA2_MIX_OPEN_FIRST] = "open-first"};

/* 0: no such recipe. */
static int32_t recipe_of(const char *name)
{
    for (int32_t i = LLAMA2_MIX_WEIGHTS; i <= LLAMA2_MIX_OPEN_FIRST; i++)
        if (strcmp(name, mix_names[i]) == 0) return i;
    return 0;
}

static size_t first_of(const pair_set *set, size_t file)
{
    return file ? set->ends[file - 1] : 0;
}

static bool open_mixture(reward *s)
{
    int64_t counts[ARGS_MAX];
    int32_t kinds[ARGS_MAX];
    double weights[ARGS_MAX] = {0};
    llama2_mixture_options o;
    llama2_mixture_options_init(&o, sizeof o);
    o.recipe = recipe_of(s->mix);
    o.seed = s->a.args.seed;
    for (size_t i = 0; i < s->data.count; i++) {
        counts[i] = (int64_t)(s->train.ends[i] - first_of(&s->train, i));
        kinds[i] = kind_of(s, i);
    }
    return mixed_weights(&s->a, &s->weights, weights) &&
           app_try(&s->a,
                   llama2_mixture_create(s->a.ctx, (int32_t)s->data.count, counts, kinds, weights, &o, &s->mixture),
                   "--mix");
}

/* The pairs of an epoch, to be freed; NULL: failed. With --pairs those that begin the first epoch, in each epoch in
 * another order. */
static size_t *order_of(reward *s, int64_t epoch)
{
    uint64_t seed = s->a.args.seed;
    size_t n = s->train.n, *order, *within;
    bool *kept;
    if (s->mixture) {
        bool whole = s->an_epoch == (size_t)llama2_mixture_epoch_items(s->mixture);
        order = app_must(malloc(s->an_epoch * sizeof *order));
        if (!mixed_draw(&s->a, s->mixture, s->train.ends, whole ? (uint64_t)epoch * s->an_epoch : 0, s->an_epoch,
                        order))
            return free(order), NULL;
        if (whole || epoch == 0) return order;
        within = app_shuffled(s->an_epoch, app_mix(seed, (uint64_t)epoch));
        for (size_t i = 0; i < s->an_epoch; i++) within[i] = order[within[i]];
        free(order);
        return within;
    }
    order = app_shuffled(n, app_mix(seed, (uint64_t)epoch));
    if (s->an_epoch == n || epoch == 0) return order;
    within = app_shuffled(n, app_mix(seed, 0));
    kept = app_must(calloc(n, sizeof *kept));
    for (size_t i = 0; i < s->an_epoch; i++) kept[within[i]] = true;
    for (size_t i = n = 0; i < s->train.n; i++)
        if (kept[order[i]]) order[n++] = order[i];
    free(within);
    free(kept);
    return order;
}

/* What was drawn from where, over all epochs; NULL: failed. */
static json_t *drawn_sources(reward *s)
{
    int64_t drawn[ARGS_MAX] = {0};
    json_t *all = json_array();
    for (int64_t epoch = 0; epoch < s->epochs; epoch++) {
        size_t *order = order_of(s, epoch);
        if (!order) return json_decref(all), NULL;
        for (size_t i = 0, file; i < s->an_epoch; i++) {
            for (file = 0; order[i] >= s->train.ends[file];) file++;
            drawn[file]++;
        }
        free(order);
    }
    for (size_t i = 0; i < s->data.count; i++)
        json_array_append_new(
            all, json_pack("{s:s, s:s, s:I, s:I}", "file", s->data.items[i], "kind", kind_names[kind_of(s, i)], "pairs",
                           (json_int_t)(s->train.ends[i] - first_of(&s->train, i)), "drawn", (json_int_t)drawn[i]));
    return all;
}

/* --- loading --------------------------------------------------------------------------------- */

static int32_t margin_of(const reward *s)
{
    return strcmp(s->margin, "none") == 0    ? LLAMA2_MARGIN_NONE
           : strcmp(s->margin, "small") == 0 ? LLAMA2_MARGIN_SMALL
                                             : LLAMA2_MARGIN_LARGE;
}

static bool load_held_out(reward *s)
{
    bool ok = true;
    for (size_t i = 0; ok && i < s->eval.count; i++) {
        const args_list one = {{s->eval.items[i]}, 1};
        ok = pairs_open(&s->a, s->tokenizer, &one, s->length, margin_of(s), false, &s->held_out[i]);
    }
    return ok;
}

static bool load(reward *s)
{
    app *a = &s->a;
    llama2_model *model = NULL;
    int64_t context = 0;
    const char *path = s->evaluate_only ? s->reward : a->args.model;
    bool made = s->evaluate_only || s->further;
    bool ok = app_load(a, path, made ? NULL : &model, &s->tokenizer) && app_context_length(a, path, &context) &&
              app_try(a,
                      made ? llama2_reward_model_load(a->ctx, path, NULL, &s->model)
                           : llama2_reward_model_create(a->ctx, model, NULL, &s->model),
                      "reward model");
    if (s->length == 0 || s->length > context) s->length = context;
    llama2_model_free(model);
    if (!ok || s->evaluate_only) return ok && load_held_out(s);
    if (!pairs_open(a, s->tokenizer, &s->data, s->length, margin_of(s), true, &s->train) ||
        (s->mix && !open_mixture(s)) || !load_held_out(s))
        return false;
    s->an_epoch = s->mixture ? (size_t)llama2_mixture_epoch_items(s->mixture) : s->train.n;
    if (s->limit && (size_t)s->limit < s->an_epoch) s->an_epoch = (size_t)s->limit;
    return true;
}

/* Held-out figures of the model, one object, or of several sets an object each under its file; drawn with --report.
 * NULL: failed. */
static json_t *evaluate(reward *s)
{
    app *a = &s->a;
    json_t *sets = json_object(), *one = NULL;
    bool ok = true;
    for (size_t i = 0; ok && i < s->eval.count; i++) {
        ok = card_make(a, &s->held_out[i], s->model, s->eval.items[i], &s->cards[i]) &&
             (one = card_json(a, &s->cards[i])) != NULL;
        if (ok) json_object_set_new(sets, s->eval.items[i], one);
    }
    if (ok && s->report)
        ok = cards_report(a, s->cards, s->eval.count, s->evaluate_only ? s->reward : s->set.out, s->report);
    if (ok && s->eval.count > 1) return sets;
    if (ok) json_incref(one);
    json_decref(sets);
    return ok ? one : NULL;
}

/* --- training -------------------------------------------------------------------------------- */

static int64_t steps_of_epoch(const reward *s)
{
    return ((int64_t)s->an_epoch + s->set.batch - 1) / s->set.batch;
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
    if (m->skipped) json_object_set_new(line, "skipped", json_true());
    return run_log(r, line);
}

static bool steps(reward *s, run *r, llama2_trainer *trainer)
{
    app *a = &s->a;
    char note[64];
    size_t *order = NULL, n = s->an_epoch, batch = (size_t)s->set.batch;
    int64_t in_order = -1, per_epoch = steps_of_epoch(s);
    bool ok = true;
    progress_start(&r->bar, "reward", "pairs", n * (uint64_t)s->epochs,
                   (uint64_t)(r->step / per_epoch) * n + (uint64_t)(r->step % per_epoch) * batch, a->args.quiet);
    while (ok && r->step < per_epoch * s->epochs) {
        int64_t epoch = r->step / per_epoch;
        size_t first = (size_t)(r->step % per_epoch) * batch, count = n - first < batch ? n - first : batch;
        llama2_reward_metrics m = {.struct_size = sizeof m};
        if (in_order != epoch) {
            free(order);
            if (!(order = order_of(s, epoch))) return false;
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

/* Over the responses of the first epoch. */
static bool centre(reward *s, double *accuracy)
{
    size_t n = s->an_epoch, *order = NULL;
    bool chosen = s->mixture || n < s->train.n; /* else all, as they lie: the sum has its order */
    bool ok = (!chosen || (order = order_of(s, 0)) != NULL) &&
              pairs_centre(&s->a, &s->train, order, n, s->normalise, s->model, accuracy);
    free(order);
    return ok;
}

/* Of everything that a resume needs unchanged. */
static bool fingerprint(reward *s, uint64_t *out)
{
    double extra[] = {(double)s->train.margin, s->safety_weight};
    int64_t key[] = {(int64_t)s->a.args.seed, s->set.batch};
    uint64_t hash;
    if (!pairs_hash(&s->a, &s->train, &hash)) return false;
    hash = run_hash(run_hash(hash, key, sizeof key), extra, sizeof extra);
    if (s->limit) hash = run_hash(hash, &s->limit, sizeof s->limit);
    if (s->mix) hash = run_hash(hash, s->mix, strlen(s->mix));
    for (size_t i = 0; s->mix && i < s->data.count; i++) {
        int64_t source[] = {kind_of(s, i), (int64_t)s->train.ends[i]};
        hash = run_hash(hash, source, sizeof source);
        if (i < s->weights.count) hash = run_hash(hash, s->weights.items[i], strlen(s->weights.items[i]));
    }
    *out = hash;
    return true;
}

static bool save(void *user)
{
    reward *s = user;
    return app_try(&s->a, llama2_reward_model_save(s->model, s->set.out, LLAMA2_F32), "saving") &&
           app_try(&s->a, llama2_tokenizer_save(s->tokenizer, s->set.out), "saving");
}

static bool work(reward *s)
{
    app *a = &s->a;
    run r;
    json_t *held_out = NULL, *drawn = NULL;
    double accuracy = 0;
    uint64_t hash = 0;
    bool ok = run_open(&r, a, "reward", &s->set) && fingerprint(s, &hash);
    llama2_trainer *trainer =
        ok ? run_add(&r, "reward", NULL, s->model, s->set.lr, steps_of_epoch(s) * s->epochs) : NULL;
    ok = trainer && run_start(&r, hash) && steps(s, &r, trainer);
    run_close_steps(&r);
    ok = ok && (!s->centre || centre(s, &accuracy));
    if (ok && s->centre) {
        json_t *centred = json_pack("{s:I}", "step", (json_int_t)r.step);
        app_put(centred, "train_accuracy", accuracy);
        ok = run_log(&r, centred);
    }
    if (ok && s->mix)
        ok = (drawn = drawn_sources(s)) != NULL &&
             run_log(&r, json_pack("{s:I, s:O}", "step", (json_int_t)r.step, "sources", drawn));
    if (ok && s->eval.count)
        ok = (held_out = evaluate(s)) != NULL &&
             run_log(&r, json_pack("{s:I, s:O}", "step", (json_int_t)r.step, "held_out", held_out));
    ok = run_finish(&r, ok, save, s);
    json_t *line = json_pack("{s:s, s:I, s:I}", "model", s->set.out, "steps",
                             (json_int_t)(steps_of_epoch(s) * s->epochs), "pairs", (json_int_t)s->an_epoch);
    if (s->centre) app_put(line, "train_accuracy", accuracy);
    if (drawn) json_object_set_new(line, "sources", drawn);
    if (held_out) json_object_set_new(line, "held_out", held_out);
    if (ok) return app_print(a, line);
    json_decref(line);
    return false;
}

static bool only_evaluate(reward *s)
{
    json_t *held_out = evaluate(s);
    return held_out && app_print(&s->a, json_pack("{s:s, s:o}", "model", s->reward, "held_out", held_out));
}

/* 0, or the exit status of a wrong use. */
static int check(reward *s)
{
    const args_program *program = s->a.program;
    int status;
    size_t count = 0;
    for (int k = 0; k < 4; k++) count += s->kinds[k].count;
    if (count > ARGS_MAX) return args_usage(program, "%zu files of comparisons, there can be %d", count, ARGS_MAX);
    for (int k = 0; k < 4; k++)
        for (size_t i = 0; i < s->kinds[k].count; i++) s->data.items[s->data.count++] = s->kinds[k].items[i];
    if (s->evaluate_only) {
        if (!s->reward || s->eval.count == 0) return args_usage(program, "--evaluate-only needs --reward and --eval");
        if (s->data.count || s->set.out) return args_usage(program, "--evaluate-only goes without --data and --out");
    } else if (s->reward) {
        return args_usage(program, "--reward is for --evaluate-only; to train on, --model with --further");
    } else if ((status = run_check(&s->a, &s->set, &s->data))) {
        return status;
    }
    if (strcmp(s->margin, "none") != 0 && strcmp(s->margin, "small") != 0 && strcmp(s->margin, "large") != 0)
        return args_usage(program, "--margin %s: expected none, small or large", s->margin);
    if (s->mix && !recipe_of(s->mix))
        return args_usage(program, "--mix %s: expected helpfulness, safety, nine-to-one, open-first, equal or weights",
                          s->mix);
    if (s->weights.count && (!s->mix || strcmp(s->mix, "weights") != 0))
        return args_usage(program, "--weight needs --mix weights");
    if (s->mix && strcmp(s->mix, "weights") == 0 && s->weights.count != s->data.count)
        return args_usage(program, "--mix weights needs a --weight for each of the %zu files of comparisons",
                          s->data.count);
    if (s->report && s->eval.count == 0) return args_usage(program, "--report needs --eval");
    return 0;
}

int main(int argc, char **argv)
{
    reward s = {.set = {TRAIN_DEFAULTS, .batch = 512, .lr = 1e-5}, .margin = "small", .epochs = 1};
    const args_option options[] = {
        {"data", ARGS_LIST, &s.kinds[LLAMA2_SOURCE_OWN_HELPFUL], "FILE",
         "comparisons, JSON Lines (docs/formats.md), also .gz; may be given several times, as the next three", 0, 0},
        {"safety", ARGS_LIST, &s.kinds[LLAMA2_SOURCE_OWN_SAFETY], "FILE", "comparisons for safety", 0, 0},
        {"open", ARGS_LIST, &s.kinds[LLAMA2_SOURCE_OPEN_HELPFUL], "FILE", "open-source comparisons", 0, 0},
        {"open-harmless", ARGS_LIST, &s.kinds[LLAMA2_SOURCE_OPEN_HARMLESS], "FILE",
         "open-source comparisons for harmlessness", 0, 0},
        {"mix", ARGS_TEXT, &s.mix, "NAME",
         "how the four are mixed: helpfulness, safety (the paper's), nine-to-one, open-first, equal, weights (all)", 0,
         0},
        {"weight", ARGS_LIST, &s.weights, "X", "with --mix weights: of each file, in the order of the four options", 0,
         0},
        {"pairs", ARGS_INTEGER, &s.limit, "N", "train on the first N pairs of the first epoch alone (default: all)", 1,
         1e9},
        {"eval", ARGS_LIST, &s.eval, "FILE", "held-out comparisons: report card; several: each by itself", 0, 0},
        {"report", ARGS_TEXT, &s.report, "DIR", "draw the report card into DIR/report.html", 0, 0},
        {"evaluate-only", ARGS_FLAG, &s.evaluate_only, NULL, "only --eval, of the reward model --reward", 0, 0},
        {"reward", ARGS_TEXT, &s.reward, "DIR", "reward model to evaluate", 0, 0},
        {"margin", ARGS_TEXT, &s.margin, "KIND",
         "none, small (1, 2/3, 1/3, 0; default) or large (3, 2, 1, 0) by rating", 0, 0},
        {"safety-weight", ARGS_REAL, &s.safety_weight, "X", "of the safe/unsafe loss, where labels are (0)", 0, 1e6},
        TRAIN_OPTIONS(s.set, "comparisons a step (512)", "peak learning rate (1e-5)"),
        TRAIN_SCHEDULE_OPTIONS(s.set),
        {"epochs", ARGS_INTEGER, &s.epochs, "N", "passes over the data (1: more over-fits)", 1, 1e6},
        {"length", ARGS_INTEGER, &s.length, "N", "longest dialogue in tokens (default: the model's context)", 8, 1e9},
        {"further", ARGS_FLAG, &s.further, NULL, "--model is a reward model already: train it on", 0, 0},
        {"centre", ARGS_FLAG, &s.centre, NULL, "shift the scores so that their mean over the data is 0", 0, 0},
        {"normalise", ARGS_FLAG, &s.normalise, NULL, "the same, and scale them so that their deviation is 1", 0, 0},
        {0},
    };
    const args_program program = {.name = "llama2-reward",
                                  .summary = "Trains a reward model on comparisons, from a chat model.",
                                  .usage = "--model DIR --data FILE --out DIR [--eval FILE] [--resume] [options]\n"
                                           "       llama2-reward --evaluate-only --reward DIR --eval FILE [options]",
                                  .options = options,
                                  .notes = "Defaults are the paper's: one epoch, 512 pairs a step, cosine schedule to "
                                           "10 %, warm-up 3 % of the steps and at least 5."};
    int status = app_parse(&s.a, &program, argc, argv);
    if (status != ARGS_GO) return status;
    s.centre = s.centre || s.normalise;
    if ((status = check(&s))) return status;
    bool ok = app_begin(&s.a) && load(&s) && (s.evaluate_only ? only_evaluate(&s) : work(&s));
    pairs_close(&s.train);
    for (size_t i = 0; i < s.eval.count; i++) {
        pairs_close(&s.held_out[i]);
        card_free(&s.cards[i]);
    }
    llama2_mixture_free(s.mixture);
    llama2_reward_model_free(s.model);
    llama2_tokenizer_free(s.tokenizer);
    return app_end(&s.a, ok);
}
