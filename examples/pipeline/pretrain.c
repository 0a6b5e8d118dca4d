/* Pretraining (section 2.2 of the paper). */
#include "pipeline/pipeline.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

bool held_out_loss(pipeline *p, double *out)
{
    enum { WINDOWS = 64 };
    int64_t length = p->set.pretrain_length, n = p->data.n_held_out_text / length;
    int64_t offsets[WINDOWS + 1];
    llama2_loss loss = {.struct_size = sizeof loss}, sum = {0};
    for (int64_t first = 0; first < n; first += WINDOWS) {
        int32_t count = n - first < WINDOWS ? (int32_t)(n - first) : WINDOWS;
        for (int32_t i = 0; i <= count; i++) offsets[i] = i * length;
        llama2_batch batch = {sizeof batch, count, count * length, p->data.held_out_text + first * length,
                              offsets,      NULL};
        if (llama2_model_evaluate(p->model, &batch, &loss) < 0) return false;
        sum.sum += loss.sum;
        sum.weight += loss.weight;
    }
    *out = sum.weight > 0 ? sum.sum / sum.weight : NAN;
    return true;
}

/* Windows at random places of the text. */
bool pretrain_step(pipeline *p, llama2_trainer *t, int64_t step, llama2_step_metrics *m)
{
    int64_t n = p->set.pretrain_batch, length = p->set.pretrain_length;
    int32_t *tokens = app_must(malloc((size_t)(n * length) * sizeof *tokens));
    int64_t *offsets = app_must(malloc((size_t)(n + 1) * sizeof *offsets));
    for (int64_t i = 0; i < n; i++) {
        uint64_t at = app_mix(p->app.args.seed + 1, (uint64_t)(step * n + i)) % (uint64_t)(p->data.n_text - length);
        memcpy(tokens + i * length, p->data.text + at, (size_t)length * sizeof *tokens);
    }
    for (int64_t i = 0; i <= n; i++) offsets[i] = i * length;
    llama2_batch batch = {sizeof batch, (int32_t)n, n * length, tokens, offsets, NULL};
    bool ok = llama2_pretrain_step(t, &batch, m) >= 0;
    free(offsets);
    free(tokens);
    return ok;
}

bool stage_pretrain(pipeline *p)
{
    const pipeline_settings *s = &p->set;
    double began = progress_now(), smooth = 0;
    progress bar;
    char note[64] = "";
    llama2_trainer *t = new_trainer(p, p->model, NULL, s->pretrain_lr, s->pretrain_steps);
    bool ok = t != NULL;
    progress_start(&bar, "pretrain", "tokens", (uint64_t)(s->pretrain_steps * s->pretrain_batch * s->pretrain_length),
                   0, p->app.args.quiet);
    for (int64_t step = 0; ok && step < s->pretrain_steps; step++) {
        llama2_step_metrics m = {.struct_size = sizeof m};
        ok = pretrain_step(p, t, step, &m);
        if (!ok) break;
        smooth = step == 0 ? m.loss : 0.95 * smooth + 0.05 * m.loss;
        if (step % 5 == 0) series_add(&p->pretrain_loss, (double)m.total_tokens, m.loss);
        if (step % (s->pretrain_steps / 8 + 1) == 0 || step + 1 == s->pretrain_steps) {
            ok = held_out_loss(p, &p->held_out_loss);
            series_add(&p->pretrain_held_out, (double)m.total_tokens, p->held_out_loss);
        }
        log_step(p, "pretrain", m.step, m.loss, m.lr, m.grad_norm, m.total_tokens);
        snprintf(note, sizeof note, "loss %.3f, held out %.3f", smooth, p->held_out_loss);
        progress_update(&bar, (uint64_t)m.total_tokens, note);
    }
    progress_finish(&bar, note);
    llama2_trainer_free(t);
    ok = ok && llama2_model_clone(p->model, &p->base) >= 0;
    p->bigram_loss =
        bigram_loss(p->data.text, p->data.n_text, p->data.held_out_text, p->data.n_held_out_text, s->config.vocab_size);
    took(p, "pretraining", began);
    return ok;
}
