/* Arms that are a fine-tuning of the pretrained model (sections 3.1 and 4.2.3), by what it learns from. */
#include "pipeline/ablations.h"

#include <stdlib.h>

enum { EPOCHS = 2 };            /* the paper's */
enum { FEWER = 8 };             /* few: one for so many poor ones */
static const double GOOD = 0.8; /* right, in one whole sentence, not rude */

/* Source 0, and source 1, of which the items from n on are. */
typedef struct sources {
    example_set examples;
    int64_t n[2];
} sources;

static bool add_source(pipeline *p, const size_t *index, size_t n, int which, sources *out)
{
    records some = {0};
    int64_t left_out;
    size_t before = out->examples.n;
    for (size_t i = 0; i < n; i++) {
        const record *r = &p->data.demonstrations.items[index[i]];
        records_add(&some, r->roles, (const char *const *)r->texts, r->n_messages, r->answer, NULL);
    }
    bool ok =
        n == 0 || examples_encode(&p->app, p->data.tokenizer, &some, 0, p->set.max_tokens, &out->examples, &left_out);
    out->n[which] = (int64_t)(out->examples.n - before);
    records_free(&some);
    return ok;
}

/* *draws: examples to learn in all. Arms of quality learn as many each, those of the safety share as often each, that
 * of the control as often as it takes. */
static bool choose(pipeline *p, const sft_arm *arm, sources *out, int64_t *draws)
{
    size_t all = p->data.demonstrations.n, n[2] = {0, 0}, poor = 0;
    size_t *index[2] = {app_must(malloc((all + 1) * sizeof *index[0])), app_must(malloc((all + 1) * sizeof *index[1]))};
    for (size_t i = 0; i < all; i++) poor += p->data.demonstrated[i].score < GOOD - 1e-9;
    size_t few = poor / FEWER;
    for (size_t i = 0; i < all; i++) {
        const gold *g = &p->data.demonstrated[i];
        bool good = g->score >= GOOD - 1e-9, taken = false;
        int which = arm->from == REFUSALS && g->must_refuse ? 1 : 0;
        switch (arm->from) {
        case REFUSALS: taken = !g->must_refuse || g->refused; break;
        case FEW_GOOD: taken = good && n[0] < few; break;
        case FEW_MIXED: taken = n[0] < few; break;
        case MANY_POOR: taken = !good; break;
        case MANY_MIXED:
        case FOR_LONGER: taken = true; break;
        }
        if (taken) index[which][n[which]++] = i;
    }
    n[1] = (size_t)((double)n[1] * arm->share + 0.5);
    bool ok = add_source(p, index[0], n[0], 0, out) && add_source(p, index[1], n[1], 1, out);
    switch (arm->from) {
    case REFUSALS: *draws = EPOCHS * (int64_t)out->examples.n; break;
    case FOR_LONGER: *draws = p->set.longer_epochs * (int64_t)out->examples.n; break;
    default: *draws = EPOCHS * (int64_t)poor;
    }
    free(index[0]);
    free(index[1]);
    return ok;
}

/* Both sources as one, each item once an epoch. */
static bool train(pipeline *p, const char *label, const sources *s, int64_t draws)
{
    enum { MOST = 256 };
    int64_t batch = p->set.sft_batch < MOST ? p->set.sft_batch : MOST, items[MOST];
    int32_t of[MOST];
    size_t index[MOST];
    llama2_mixture_options o;
    llama2_mixture *mixture = NULL;
    llama2_packer *packer = NULL;
    progress bar;
    llama2_mixture_options_init(&o, sizeof o);
    o.seed = p->app.args.seed + 17;
    llama2_trainer *t = new_trainer(p, p->model, NULL, p->set.sft_lr, (draws + batch - 1) / batch);
    bool ok = t && llama2_mixture_create(p->app.ctx, 2, s->n, NULL, NULL, &o, &mixture) >= 0 &&
              llama2_packer_create(p->app.ctx, NULL, &packer) >= 0;
    progress_start(&bar, label, "examples", (uint64_t)draws, 0, p->app.args.quiet);
    for (int64_t done = 0; ok && done < draws; done += batch) {
        int64_t now = done + batch < draws ? batch : draws - done;
        llama2_batch b;
        llama2_step_metrics m = {.struct_size = sizeof m};
        ok = llama2_mixture_draw(mixture, (uint64_t)done, now, of, items) >= 0;
        for (int64_t i = 0; ok && i < now; i++) index[i] = (size_t)(items[i] + (of[i] == 1 ? s->n[0] : 0));
        ok = ok && examples_batch(&p->app, &s->examples, index, (size_t)now, packer, &b) &&
             llama2_sft_step(t, &b, &m) >= 0;
        if (!ok) break;
        log_step(p, label, m.step, m.loss, m.lr, m.grad_norm, m.total_tokens);
        progress_update(&bar, (uint64_t)(done + now), "");
    }
    progress_finish(&bar, "");
    llama2_packer_free(packer);
    llama2_mixture_free(mixture);
    llama2_trainer_free(t);
    return app_try(&p->app, ok ? 0 : -1, label);
}

bool step_sft_arm(loop *l)
{
    pipeline *p = l->p;
    const loop_step *step = &l->steps[l->at];
    const sft_arm *arm = &sft_arms[step->version];
    sources s = {.n = {0, 0}};
    int64_t draws = 0;
    bool ok = load_step_model(l, "pretrain", &p->model) && choose(p, arm, &s, &draws) && train(p, arm->name, &s, draws);
    json_t *line = ok ? judge_arm(l) : NULL;
    if (line) {
        json_object_set_new(line, "examples", json_integer((json_int_t)s.n[0]));
        json_object_set_new(line, "safety_examples", json_integer((json_int_t)s.n[1]));
        json_object_set_new(line, "learnt", json_integer((json_int_t)draws));
    }
    examples_free(&s.examples);
    if (line && arm->of == SAFETY_SHARE) ok = judge_how_to(p, line);
    if (line && arm->of == LONGER) ok = judge_cold(l, line);
    if (!ok) json_decref(line);
    return line && ok && ablation_result(l, arm->of, arm->name, line);
}
