/* Arms that are a reward model (section 3.2.2): trained, and its report card on the same held-out comparisons. */
#include "common/card.h"
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

static bool write_pairs(loop *l, const card *c)
{
    json_t *right = json_array(), *ratings = json_array();
    for (size_t i = 0; i < c->n; i++) {
        float chosen = c->scores[2 * i], other = c->scores[2 * i + 1];
        json_array_append_new(right, json_real(chosen > other ? 1 : chosen < other ? 0 : 0.5));
        json_array_append_new(ratings, json_integer(c->ratings[i]));
    }
    return state_write_json(l, "pairs.json", json_pack("{s:o, s:o}", "right", right, "ratings", ratings));
}

/* What the arm is, behind its card. */
static bool write_card(loop *l, const reward_arm *arm, const card *c, size_t n)
{
    json_t *line = card_json(&l->p->app, c);
    if (!line) return false;
    json_object_set_new(line, "trained_on", json_integer((json_int_t)n));
    json_object_set_new(line, "parameters", json_integer((json_int_t)llama2_model_parameters(l->p->model)));
    return ablation_result(l, arm->of, arm->name, line) && write_pairs(l, c);
}

bool step_reward_arm(loop *l)
{
    pipeline *p = l->p;
    const reward_arm *arm = &reward_arms[l->steps[l->at].version];
    const pipeline_settings kept = p->set;
    char path[4096];
    records all[2] = {{0}, {0}}; /* to train on, held out */
    pair_set sets[2] = {{.n = 0}, {.n = 0}};
    series losses = {0};
    card c = {0};
    copy_records(&all[0], arm->which == 0 ? &p->data.helpful : &p->data.safety);
    copy_records(&all[1], arm->which == 0 ? &p->data.held_out_helpful : &p->data.held_out_safety);
    bool ok =
        read_collected(l, "", arm->which, 1, 1, &all[0]) && read_collected(l, "held-out-", arm->which, 1, 1, &all[1]);
    if (arm->coin) shuffle_preferences(&all[0], p->app.args.seed + 91 + (uint64_t)arm->coin);
    for (int i = 0; ok && i < 2; i++)
        ok = pairs_encode(&p->app, p->data.tokenizer, &all[i], p->set.max_tokens, arm->margin, i == 0, &sets[i]);
    size_t *order = app_shuffled(sets[0].n, p->app.args.seed + 51), n = (size_t)((double)sets[0].n * arm->share);
    p->set.safety_weight = arm->auxiliary;
    ok = ok && load_step_model(l, arm->small ? "small-sft" : "sft", &p->model) &&
         app_try(&p->app, llama2_reward_model_create(p->app.ctx, p->model, NULL, &p->rewards[arm->which]),
                 "reward model") &&
         app_try(&p->app,
                 train_reward(p, arm->which, p->rewards[arm->which], &sets[0], order, n, arm->epochs, p->set.reward_lr,
                              &losses)
                     ? 0
                     : -1,
                 "training") &&
         card_make(&p->app, &sets[1], p->rewards[arm->which], arm->name, &c) && write_card(l, arm, &c, n);
    if (arm->judges)
        ok = ok && app_try(&p->app,
                           llama2_reward_model_save(p->rewards[arm->which], state_path(l, path, "%s/model", arm->name),
                                                    LLAMA2_F32),
                           "saving");
    p->set = kept;
    card_free(&c);
    free(order);
    series_free(&losses);
    for (int i = 0; i < 2; i++) {
        pairs_close(&sets[i]);
        records_free(&all[i]);
    }
    return ok;
}
