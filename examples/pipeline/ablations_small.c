/* Arms that fine-tune the small chat model on the best of K samples, its own or the large one's: the paper's smaller
 * models learn from what its largest one sampled (section 3.2.3). The large trunk's reward models choose. */
#include "pipeline/ablations.h"

#include <stdlib.h>

static const double TEMPERATURE = 0.6; /* what the loop comes to for V1 */

/* The best sample of each prompt. */
static bool choose_best(pipeline *p, const llama2_rollouts *r, example_set *out)
{
    llama2_rollouts_view v = {.struct_size = sizeof v};
    if (!app_try(&p->app, llama2_rollouts_view_get(r, &v), "samples")) return false;
    for (int32_t i = 0; i < v.n_samples; i += v.samples_per_prompt) {
        int32_t top = i;
        for (int32_t s = i + 1; s < i + v.samples_per_prompt; s++)
            if (v.scores[s] > v.scores[top]) top = s;
        examples_add(out, v.tokens + v.offsets[top], NULL, v.prompt_lengths[top], v.offsets[top + 1] - v.offsets[top]);
    }
    return true;
}

static bool load_chat(loop *l, const char *step)
{
    char path[4096];
    llama2_model_free(l->p->model);
    l->p->model = NULL;
    return app_try(&l->p->app,
                   llama2_model_load(l->p->app.ctx, state_path(l, path, "%s/model", step), NULL, &l->p->model),
                   "model");
}

static bool sample_best(loop *l, const char *sampler, example_set *out)
{
    pipeline *p = l->p;
    llama2_rollouts *r = NULL;
    size_t n = 3 * (size_t)p->set.reject_prompts, *index = choose_prompts(p, p->app.args.seed + 61, 0, &n);
    bool ok = load_chat(l, sampler) && load_judges(l) &&
              sample_scored(l, index, n, TEMPERATURE, p->app.args.seed + 62, &r) && choose_best(p, r, out);
    llama2_rollouts_free(r);
    free(index);
    return ok;
}

bool step_small_arm(loop *l)
{
    pipeline *p = l->p;
    const small_arm *arm = &small_arms[l->steps[l->at].version];
    example_set best = {0};
    series losses = {0};
    bool ok = (!arm->sampler || sample_best(l, arm->sampler, &best)) && load_chat(l, "small-sft") &&
              (best.n == 0 || train_on_examples(p, arm->name, &best, p->set.reject_epochs, p->set.reject_lr, &losses));
    json_t *line = ok ? judge_arm(l) : NULL;
    if (line) {
        json_object_set_new(line, "examples", json_integer((json_int_t)best.n));
        json_object_set_new(line, "learnt", json_integer((json_int_t)best.n * p->set.reject_epochs));
    }
    series_free(&losses);
    examples_free(&best);
    return line && ablation_result(l, SMALL, arm->name, line);
}
