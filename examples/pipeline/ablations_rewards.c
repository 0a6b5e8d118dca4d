/* Arms that are a reward model (section 3.2.2): trained, and its report card on the same held-out comparisons. */
#include "common/card.h"
#include "common/mixed.h"
#include "pipeline/ablations.h"

#include <stdlib.h>

/* Half the width, half the layers: about a fifth of the parameters. */
static void make_small(llama2_config *c)
{
    c->dim /= 2;
    c->n_layers /= 2;
    c->head_dim /= 2;
    c->ffn_dim /= 2;
}

bool step_small_pretrain(loop *l)
{
    llama2_config kept = l->p->set.config;
    make_small(&l->p->set.config);
    bool ok = step_pretrain(l);
    l->p->set.config = kept;
    return ok;
}

bool step_small_sft(loop *l)
{
    series losses = {0};
    bool ok = load_step_model(l, "small-pretrain", &l->p->model) && fine_tune(l->p, "small-sft", &losses) &&
              save_chat_model(l, l->p->model);
    series_free(&losses);
    return ok;
}

static bool write_pairs(loop *l, const char *file, const card *c)
{
    json_t *right = json_array(), *ratings = json_array();
    for (size_t i = 0; i < c->n; i++) {
        float chosen = c->scores[2 * i], other = c->scores[2 * i + 1];
        json_array_append_new(right, json_real(chosen > other ? 1 : chosen < other ? 0 : 0.5));
        json_array_append_new(ratings, json_integer(c->ratings[i]));
    }
    return state_write_json(l, file, json_pack("{s:o, s:o}", "right", right, "ratings", ratings));
}

/* Comparisons of a kind: the first ones, and those of the SFT model's answers. */
static bool add_comparisons(loop *l, int which, bool held_out, records *out)
{
    const pipeline_data *d = &l->p->data;
    const records *first[2][2] = {{&d->helpful, &d->held_out_helpful}, {&d->safety, &d->held_out_safety}};
    copy_records(out, first[which][held_out]);
    return read_collected(l, held_out ? "held-out-" : "", which, 1, 1, out);
}

/* The order that an epoch learns the pairs in: those before `own` are of the model's kind. To be freed. NULL: failed.
 */
static size_t *epoch_order(pipeline *p, const reward_arm *arm, size_t own, size_t n_pairs, size_t *n)
{
    uint64_t seed = p->app.args.seed + 51;
    if (!arm->mixed) {
        *n = (size_t)((double)n_pairs * arm->share);
        return app_shuffled(n_pairs, seed);
    }
    const int64_t counts[] = {(int64_t)own, (int64_t)(n_pairs - own)};
    const int32_t kinds[2][2] = {{LLAMA2_SOURCE_OWN_HELPFUL, LLAMA2_SOURCE_OWN_SAFETY},
                                 {LLAMA2_SOURCE_OWN_SAFETY, LLAMA2_SOURCE_OWN_HELPFUL}};
    const size_t ends[] = {own, n_pairs};
    llama2_mixture *mixture = NULL;
    llama2_mixture_options o;
    llama2_mixture_options_init(&o, sizeof o);
    o.recipe = arm->which == 0 ? LLAMA2_MIX_HELPFULNESS : LLAMA2_MIX_SAFETY;
    o.seed = seed;
    bool ok = app_try(&p->app, llama2_mixture_create(p->app.ctx, 2, counts, kinds[arm->which], NULL, &o, &mixture),
                      "mixture");
    *n = (size_t)llama2_mixture_epoch_items(mixture);
    size_t *order = app_must(malloc((*n + 1) * sizeof *order));
    ok = ok && mixed_draw(&p->app, mixture, ends, 0, *n, order);
    llama2_mixture_free(mixture);
    if (ok) return order;
    free(order);
    return NULL;
}

/* What an arm learns from, and its order; what it is tested on. */
typedef struct arm_data {
    records records[3]; /* to train on; held out; held out, of the other kind */
    pair_set sets[3];
    size_t *order, n;
} arm_data;

/* Mixes are tested on both kinds, and what they are beside. */
static bool tests_both(const reward_arm *arm)
{
    return arm->mixed || arm->judges;
}

static bool open_arm(loop *l, const reward_arm *arm, arm_data *d)
{
    pipeline *p = l->p;
    size_t own, kept = 0;
    bool ok = add_comparisons(l, arm->which, false, &d->records[0]);
    own = d->records[0].n;
    if (arm->coin) shuffle_preferences(&d->records[0], p->app.args.seed + 91 + (uint64_t)arm->coin);
    ok = ok && (!arm->mixed || add_comparisons(l, 1 - arm->which, false, &d->records[0])) &&
         add_comparisons(l, arm->which, true, &d->records[1]) &&
         add_comparisons(l, 1 - arm->which, true, &d->records[2]);
    for (int i = 0; ok && i < (tests_both(arm) ? 3 : 2); i++)
        ok = pairs_encode(&p->app, p->data.tokenizer, &d->records[i], p->set.max_tokens, arm->margin, i == 0,
                          &d->sets[i]);
    if (!ok) return false;
    while (kept < d->sets[0].n && d->sets[0].of[kept] < d->records[0].items + own) kept++;
    d->order = epoch_order(p, arm, kept, d->sets[0].n, &d->n);
    return d->order != NULL;
}

static void close_arm(arm_data *d)
{
    free(d->order);
    for (int i = 0; i < 3; i++) {
        pairs_close(&d->sets[i]);
        records_free(&d->records[i]);
    }
}

/* The cards on both kinds, the other one's within the own one's; and what the arm is. */
static bool write_cards(loop *l, const reward_arm *arm, arm_data *d)
{
    app *a = &l->p->app;
    card own = {0}, other = {0};
    json_t *line = NULL;
    bool both = tests_both(arm),
         ok = card_make(a, &d->sets[1], l->p->rewards[arm->which], arm->name, &own) &&
              (!both || card_make(a, &d->sets[2], l->p->rewards[arm->which], arm->name, &other));
    if (ok) line = card_json(a, &own);
    json_t *inner = line && both ? card_json(a, &other) : NULL;
    ok = line && (!both || inner);
    if (inner) json_object_set_new(line, "other", inner);
    if (ok) {
        json_object_set_new(line, "trained_on", json_integer((json_int_t)d->n));
        json_object_set_new(line, "parameters", json_integer((json_int_t)llama2_model_parameters(l->p->model)));
        ok = ablation_result(l, arm->of, arm->name, line) && write_pairs(l, "pairs.json", &own) &&
             (!both || write_pairs(l, "other.json", &other));
    } else {
        json_decref(line);
    }
    card_free(&own);
    card_free(&other);
    return ok;
}

bool step_reward_arm(loop *l)
{
    pipeline *p = l->p;
    const reward_arm *arm = &reward_arms[l->steps[l->at].version];
    llama2_reward_model **model = &p->rewards[arm->which];
    double kept = p->set.safety_weight;
    char path[4096];
    arm_data d = {.order = NULL};
    series losses = {0};
    p->set.safety_weight = arm->auxiliary;
    bool ok =
        open_arm(l, arm, &d) && load_step_model(l, arm->small ? "small-sft" : "sft", &p->model) &&
        app_try(&p->app, llama2_reward_model_create(p->app.ctx, p->model, NULL, model), "reward model") &&
        app_try(&p->app,
                train_reward(p, arm->which, *model, &d.sets[0], d.order, d.n, arm->epochs, p->set.reward_lr, &losses)
                    ? 0
                    : -1,
                "training") &&
        write_cards(l, arm, &d);
    if (arm->judges)
        ok = ok &&
             app_try(&p->app, llama2_reward_model_save(*model, state_path(l, path, "%s/model", arm->name), LLAMA2_F32),
                     "saving");
    p->set.safety_weight = kept;
    close_arm(&d);
    series_free(&losses);
    return ok;
}
