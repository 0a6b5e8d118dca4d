/* SFT (section 3.1 of the paper); its steps serve rejection sampling too. */
#include "pipeline/pipeline.h"

#include <stdlib.h>

bool train_on_examples(pipeline *p, const char *label, const example_set *examples, int64_t epochs, double lr,
                       series *losses)
{
    progress bar;
    char note[64] = "";
    size_t n = examples->n, batch_size = (size_t)p->set.sft_batch;
    llama2_packer *packer = NULL;
    const example_steps count = {.epochs = epochs, .batch = p->set.sft_batch};
    llama2_trainer *t = new_trainer(p, p->model, NULL, lr, examples_steps(examples, &count));
    bool ok = t && llama2_packer_create(p->app.ctx, NULL, &packer) >= 0;
    progress_start(&bar, label, "examples", n * (uint64_t)epochs, 0, p->app.args.quiet);
    for (int64_t epoch = 0; ok && epoch < epochs; epoch++) {
        size_t *order = app_shuffled(n, p->app.args.seed + 17 + (uint64_t)epoch);
        for (size_t first = 0; ok && first < n; first += batch_size) {
            size_t now = first + batch_size < n ? batch_size : n - first;
            llama2_batch batch;
            llama2_step_metrics m = {.struct_size = sizeof m};
            ok = examples_batch(&p->app, examples, order + first, now, packer, &batch) &&
                 llama2_sft_step(t, &batch, &m) >= 0;
            if (!ok) break;
            series_add(losses, (double)m.step, m.loss);
            log_step(p, label, m.step, m.loss, m.lr, m.grad_norm, m.total_tokens);
            snprintf(note, sizeof note, "loss %.3f", m.loss);
            progress_update(&bar, (uint64_t)epoch * n + first + now, note);
        }
        free(order);
    }
    progress_finish(&bar, note);
    llama2_packer_free(packer);
    llama2_trainer_free(t);
    return ok;
}

bool fine_tune(pipeline *p, const char *label, series *losses)
{
    example_set examples = {0};
    int64_t left_out;
    bool ok = examples_encode(&p->app, p->data.tokenizer, &p->data.demonstrations, 0, p->set.max_tokens, &examples,
                              &left_out) &&
              train_on_examples(p, label, &examples, p->set.sft_epochs, p->set.sft_lr, losses);
    examples_free(&examples);
    return ok;
}

bool stage_sft(pipeline *p)
{
    double began = progress_now();
    bool ok = fine_tune(p, "sft", &p->sft_loss) && llama2_model_clone(p->model, &p->reference) >= 0;
    took(p, "SFT", began);
    return ok;
}
