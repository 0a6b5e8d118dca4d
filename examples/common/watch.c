#include "common/watch.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void watch_begin(run *r)
{
    r->extra[WATCH_BEST_STEP] = r->extra[WATCH_EVALUATED_STEP] = -1;
}

bool watch_go_on(run *r)
{
    char path[4096];
    return r->extra[WATCH_BEST_STEP] < 0 || access(run_path(r, "best", path, sizeof path), F_OK) == 0 ||
           app_fail(r->a, "--resume: the best policy so far, of step %.0f, is gone: %s: %s", r->extra[WATCH_BEST_STEP],
                    path, strerror(errno));
}

bool watch_end(run *r)
{
    char path[4096];
    llama2_inspection *best = NULL;
    llama2_status status = llama2_inspect(r->a->ctx, run_path(r, "best", path, sizeof path), &best);
    llama2_inspection_free(best);
    return status >= 0 || app_fail(r->a, "%s has the last policy; the best one, of step %.0f, can't be read: %s",
                                   r->set->out, r->extra[WATCH_BEST_STEP], llama2_last_error());
}

static bool measure(const watch *w, app *a, llama2_ppo_metrics *m)
{
    size_t *index = app_must(malloc((w->n + 1) * sizeof *index));
    float *zeros = NULL;
    llama2_rollouts *rollouts = NULL;
    llama2_rollouts_view v = {.struct_size = sizeof v};
    llama2_batch batch;
    llama2_rollout_options o;
    llama2_ppo_options po;
    for (size_t i = 0; i < w->n; i++) index[i] = w->index ? w->index[i] : i;
    llama2_rollout_options_init(&o, sizeof o);
    o.max_new_tokens = (int32_t)w->max_new_tokens;
    o.temperature = w->temperature;
    o.seed = w->seed;
    o.first_sample_id = (uint64_t)1 << 62; /* no training sample has such a number */
    llama2_ppo_options_init(&po, sizeof po);
    po.beta = w->beta;
    bool ok = prompts_batch(a, w->prompts, index, w->n, &batch) &&
              app_try(a, llama2_rollout(w->policy, &batch, &o, &rollouts), "sampling") &&
              judges_score(a, w->judges, w->prompts, index, false, rollouts) &&
              app_try(a, llama2_rollouts_reference(rollouts, w->reference), "reference") &&
              app_try(a, llama2_rollouts_view_get(rollouts, &v), "scoring");
    if (ok) {
        /* Advantages are not asked for, only the objective. */
        zeros = app_must(calloc((size_t)v.n_tokens, sizeof *zeros));
        ok = app_try(a, llama2_rollouts_set(rollouts, LLAMA2_ROLLOUTS_VALUES, zeros, v.n_tokens), "scoring") &&
             app_try(a, llama2_ppo_advantages(rollouts, &po, m), "scoring");
    }
    free(zeros);
    free(index);
    llama2_rollouts_free(rollouts);
    return ok;
}

static bool evaluate(const watch *w, run *r)
{
    app *a = r->a;
    llama2_ppo_metrics m = {.struct_size = sizeof m};
    char path[4096];
    double began = progress_now();
    if (!measure(w, a, &m)) return false;
    bool better = r->extra[WATCH_BEST_STEP] < 0 || m.rlhf_reward > r->extra[WATCH_BEST_OBJECTIVE];
    if (better) {
        run_path(r, "best", path, sizeof path);
        if (!app_try(a, llama2_model_save(w->policy, path, LLAMA2_F32), "saving") ||
            !app_try(a, llama2_tokenizer_save(w->tokenizer, path), "saving"))
            return false;
        r->extra[WATCH_BEST_OBJECTIVE] = m.rlhf_reward;
        r->extra[WATCH_BEST_STEP] = (double)r->step;
    }
    r->extra[WATCH_WITHOUT_IMPROVEMENT] = better ? 0 : r->extra[WATCH_WITHOUT_IMPROVEMENT] + 1;
    r->extra[WATCH_EVALUATED_STEP] = (double)r->step;
    json_t *line = json_pack("{s:I, s:b}", "step", (json_int_t)r->step, "eval/best", better);
    app_put(line, "eval/objective", m.rlhf_reward);
    app_put(line, "eval/scores", m.score);
    app_put(line, "eval/kl", m.kl);
    app_put(line, "eval/response_length", m.response_length);
    app_put(line, "eval/truncated", 1 - m.eos_share);
    app_put(line, "eval/distinct_1", m.distinct_1);
    app_put(line, "eval/distinct_2", m.distinct_2);
    app_put(line, "eval/repetition", m.repetition);
    app_put(line, "time/eval", progress_now() - began);
    return run_log(r, line);
}

bool watch_step(const watch *w, run *r, bool last)
{
    if (r->extra[WATCH_EVALUATED_STEP] == (double)r->step || (r->step % w->every != 0 && !last)) return true;
    return evaluate(w, r);
}

bool watch_out_of_patience(const watch *w, const run *r)
{
    return w->patience > 0 && r->extra[WATCH_WITHOUT_IMPROVEMENT] >= (double)w->patience;
}
