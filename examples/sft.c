/* llama2-sft: supervised fine-tuning (section 3.1 of the paper) on demonstrations. */
#include "common/examples.h"

typedef struct sft {
    app a;
    train_settings set;
    example_steps steps;
    args_list data;
    const char *eval;
    int64_t length;
    bool last_answer, concatenate;
    llama2_model *model;
    llama2_tokenizer *tokenizer;
    example_set examples, held_out;
} sft;

static bool load_examples(sft *s, const args_list *files, example_set *set)
{
    app *a = &s->a;
    char error[1024];
    records r = {0};
    int64_t left_out;
    bool ok = true;
    for (size_t i = 0; ok && i < files->count; i++)
        ok = records_read(&r, files->items[i], RECORD_DEMONSTRATION, error, sizeof error) || app_fail(a, "%s", error);
    ok = ok && examples_encode(a, s->tokenizer, &r, s->last_answer ? 0 : 1, s->length, set, &left_out);
    records_free(&r);
    return ok;
}

static bool load(sft *s)
{
    app *a = &s->a;
    args_list eval = {{s->eval}, s->eval != NULL};
    llama2_config c = {.struct_size = sizeof c};
    bool ok =
        app_load(a, a->args.model, &s->model, &s->tokenizer) && app_try(a, llama2_model_config(s->model, &c), "model");
    if (ok && (s->length == 0 || s->length > c.max_seq_len)) s->length = c.max_seq_len;
    if (s->concatenate) s->steps.concatenate = s->length;
    ok = ok && load_examples(s, &s->data, &s->examples) && load_examples(s, &eval, &s->held_out);
    if (ok && s->examples.n == 0) ok = app_fail(a, "there is no demonstration to learn from");
    if (ok && s->eval && s->held_out.n == 0) ok = app_fail(a, "%s: holds no demonstration that fits", s->eval);
    return ok;
}

/* The held-out loss, as a line of its own: before the first step and after the last. */
static bool evaluate(sft *s, run *r, int64_t step, double *held_out)
{
    if (!s->eval) return true;
    if (!examples_evaluate(&s->a, s->model, &s->held_out, held_out)) return false;
    json_t *line = json_pack("{s:I}", "step", (json_int_t)step);
    app_put(line, "held_out_loss", *held_out);
    return run_log(r, line);
}

static bool train(sft *s)
{
    run r;
    double loss = 0, held_out = 0;
    int64_t steps = examples_steps(&s->examples, &s->steps),
            key[] = {(int64_t)s->a.args.seed, s->steps.batch, s->steps.concatenate};
    bool ok = run_open(&r, &s->a, "sft", &s->set);
    llama2_trainer *trainer = ok ? run_add(&r, "model", s->model, NULL, s->set.lr, steps) : NULL;
    ok = trainer && run_start(&r, examples_hash(&s->examples, run_hash(0, key, sizeof key))) &&
         (r.from || evaluate(s, &r, 0, &held_out)) && examples_train(&r, trainer, &s->examples, &s->steps, &loss) &&
         evaluate(s, &r, steps, &held_out);
    ok = run_stop(&r, ok) && app_try(&s->a, llama2_model_save(s->model, s->set.out, LLAMA2_F32), "saving") &&
         app_try(&s->a, llama2_tokenizer_save(s->tokenizer, s->set.out), "saving");
    if (!ok) return false;
    json_t *line = json_pack("{s:s, s:I, s:I}", "model", s->set.out, "steps", (json_int_t)steps, "examples",
                             (json_int_t)s->examples.n);
    app_put(line, "loss", loss);
    if (s->eval) app_put(line, "held_out_loss", held_out);
    return app_print(&s->a, line);
}

int main(int argc, char **argv)
{
    sft s = {.set = {TRAIN_DEFAULTS, .batch = 64, .lr = 2e-5}, .steps = {.epochs = 2}};
    const args_option options[] = {
        {"data", ARGS_LIST, &s.data, "FILE", "demonstrations, JSON Lines (docs/formats.md); may be given several times",
         0, 0},
        {"eval", ARGS_TEXT, &s.eval, "FILE", "held-out demonstrations, whose loss is measured before and after", 0, 0},
        TRAIN_OPTIONS(s.set, "dialogues a step (64)", "peak learning rate (2e-5)"),
        TRAIN_SCHEDULE_OPTIONS(s.set),
        {"epochs", ARGS_INTEGER, &s.steps.epochs, "N", "passes over the data (2)", 1, 1e6},
        {"length", ARGS_INTEGER, &s.length, "N", "longest dialogue in tokens (default: the model's context)", 8, 1e9},
        {"last-answer", ARGS_FLAG, &s.last_answer, NULL, "learn from the last answer of a dialogue only, not from all",
         0, 0},
        {"concatenate", ARGS_FLAG, &s.concatenate, NULL,
         "fill sequences of --length with dialogues that see each other, as the paper does", 0, 0},
        {0},
    };
    const args_program program = {
        .name = "llama2-sft",
        .summary = "Fine-tunes a model on demonstrations: dialogues whose answers it learns to give.",
        .usage = "--model DIR --data FILE --out DIR [--eval FILE] [--resume] [options]",
        .options = options,
        .notes = "Defaults are the paper's: cosine schedule to 10 %, weight decay 0.1, 64 dialogues a step, 2 epochs, "
                 "no loss on prompts."};
    int status = app_parse(&s.a, &program, argc, argv);
    if (status != ARGS_GO) return status;
    if ((status = run_check(&s.a, &s.set, &s.data))) return status;
    s.steps.batch = s.set.batch;
    bool ok = app_begin(&s.a) && load(&s) && train(&s);
    examples_free(&s.examples);
    examples_free(&s.held_out);
    llama2_model_free(s.model);
    llama2_tokenizer_free(s.tokenizer);
    return app_end(&s.a, ok);
}
