/*
 * PPO on held-out prompts: how the policy does, which one was the best, and when to stop. What is measured is the mean
 * score - beta KL of one answer to each prompt, from the same sample ids each time; scores are raw: whitened ones would
 * always have the mean 0. beta is that of the start: an adapted one would move the measure.
 */
#ifndef EXAMPLES_WATCH_H
#define EXAMPLES_WATCH_H

#include "common/prompts.h"
#include "common/run.h"

/* What of it a run keeps over a resume: places in run.extra; the first one is the program's own. */
enum { WATCH_BEST_OBJECTIVE = 1, WATCH_BEST_STEP, WATCH_WITHOUT_IMPROVEMENT, WATCH_EVALUATED_STEP };

typedef struct watch {
    prompt_set *prompts;
    const size_t *index; /* which of them; NULL: all */
    size_t n;
    const judges *judges;
    llama2_model *policy;
    const llama2_model *reference;
    const llama2_tokenizer *tokenizer;
    int64_t max_new_tokens, every, patience; /* iterations between measurements; patience 0: for ever */
    uint64_t seed;
    double beta, temperature;
} watch;

/* Of a run from the start. */
void watch_begin(run *r);
/* What was kept as the best policy by an earlier sitting is still there: before a run goes on, its folder (files of it
 * may be half replaced, and will be again); at the end, all of it. */
bool watch_go_on(run *r);
bool watch_end(run *r);
/* Between two iterations: measures when it is time, logs a line of its own, and saves the policy as --out/best if none
 * before was as good. */
bool watch_step(const watch *w, run *r, bool last);
/* So many measurements in a row without a new best. */
bool watch_out_of_patience(const watch *w, const run *r);

#endif
