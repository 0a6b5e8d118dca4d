/* Arms that are PPO from the SFT model with the reward models of the first arms (section 3.2.3), as far as some numbers
 * of iterations take it: beside rejection sampling from the same model with the same ones, at the same distance. */
#include "pipeline/ablations.h"

bool step_ppo_arm(loop *l)
{
    pipeline *p = l->p;
    const ppo_arm *arm = &ppo_arms[l->steps[l->at].version];
    int64_t kept = p->set.ppo_iterations;
    p->set.ppo_iterations = arm->iterations;
    bool ok = load_sft(l, &p->model) && load_sft(l, &p->reference) && load_judges(l) &&
              app_try(&p->app, stage_ppo(p) ? 0 : -1, "PPO");
    p->set.ppo_iterations = kept;
    p->n_seconds = 0;
    json_t *line = ok ? judge_arm(l) : NULL;
    if (line && arm->iterations > 0)
        json_object_set_new(line, "learnt", json_integer((json_int_t)(arm->iterations * p->set.ppo_batch)));
    if (line && arm->iterations == 0 && !judge_cold(l, line)) {
        json_decref(line);
        return false;
    }
    return line && ablation_result(l, DISTANCE, arm->name, line);
}
