/* llama2-pretrain: pretraining (section 2 of the paper) on texts or shards of tokens; also further training of a model
 * that is there. */
#include "common/corpus.h"
#include "common/run.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { LOSS, HELD_OUT }; /* in run.extra: the last measured */

typedef struct pretrain {
    app a;
    train_settings set;
    args_list data, weights;
    const char *preset, *tokenizer_path, *eval;
    int64_t steps, length, eval_every, dim, layers, heads, kv_heads, ffn, context;
    bool tied;
    llama2_model *model;
    llama2_tokenizer *tokenizer;
    llama2_config config;
    corpus text, held_out;
    run run;
} pretrain;

static bool preset(pretrain *p, llama2_config *c)
{
    static const char *const names[] = {"7b", "13b", "34b", "70b"};
    for (int32_t i = 0; i < 4; i++)
        if (strcmp(p->preset, names[i]) == 0) return app_try(&p->a, llama2_config_preset(c, i), "preset");
    if (strcmp(p->preset, "110m") == 0)
        c->dim = 768, c->n_layers = c->n_heads = c->n_kv_heads = 12, c->ffn_dim = 2048, c->max_seq_len = 1024;
    else if (strcmp(p->preset, "15m") == 0)
        c->dim = 288, c->n_layers = c->n_heads = c->n_kv_heads = 6, c->ffn_dim = 768, c->max_seq_len = 256;
    else
        return app_fail(&p->a, "--preset %s: expected 15m, 110m, 7b, 13b, 34b or 70b", p->preset);
    return true;
}

/* The shape of a new model: the preset's where nothing else is said. */
static bool new_model(pretrain *p)
{
    llama2_config c;
    llama2_config_init(&c, sizeof c);
    if (!app_try(&p->a, llama2_tokenizer_load(p->a.ctx, p->tokenizer_path, NULL, &p->tokenizer), "tokenizer") ||
        !preset(p, &c))
        return false;
    if (p->dim) c.dim = (int32_t)p->dim, c.ffn_dim = (int32_t)((p->dim * 8 / 3 + 31) / 32 * 32);
    if (p->layers) c.n_layers = (int32_t)p->layers;
    if (p->heads) c.n_heads = c.n_kv_heads = (int32_t)p->heads;
    if (p->kv_heads) c.n_kv_heads = (int32_t)p->kv_heads;
    if (p->ffn) c.ffn_dim = (int32_t)p->ffn;
    if (p->context) c.max_seq_len = (int32_t)p->context;
    c.tied = p->tied;
    c.vocab_size = llama2_tokenizer_vocab_size(p->tokenizer);
    c.bos_id = llama2_tokenizer_bos(p->tokenizer);
    c.eos_id = llama2_tokenizer_eos(p->tokenizer);
    c.pad_id = llama2_tokenizer_pad(p->tokenizer);
    return app_try(&p->a, llama2_model_create(p->a.ctx, &c, NULL, &p->model), "new model");
}

static bool load(pretrain *p)
{
    app *a = &p->a;
    args_list eval = {{p->eval}, p->eval != NULL}, none = {{0}, 0};
    p->config.struct_size = sizeof p->config;
    if (!(a->args.model ? app_load(a, a->args.model, &p->model, &p->tokenizer) : new_model(p))) return false;
    /* A folder of another run is refused before a shard in it is made anew. */
    if (!app_try(a, llama2_model_config(p->model, &p->config), "model") || !run_open(&p->run, a, "pretrain", &p->set))
        return false;
    if (p->length == 0 || p->length > p->config.max_seq_len) p->length = p->config.max_seq_len;
    return corpus_open(a, p->tokenizer, &p->data, &p->weights, p->length, p->set.out, "text", &p->text) &&
           (!p->eval || corpus_open(a, p->tokenizer, &eval, &none, p->length, p->set.out, "eval", &p->held_out));
}

/* The mean loss on up to 64 windows of the held-out text, always the same. */
static bool evaluate(pretrain *p, double *out)
{
    llama2_loss loss = {.struct_size = sizeof loss};
    double sum = 0, weight = 0;
    for (uint64_t i = 0; i < 64 && i < p->held_out.windows; i++) {
        if (!corpus_read(&p->a, &p->held_out, i, 1) ||
            !app_try(&p->a, llama2_model_evaluate(p->model, &p->held_out.batch, &loss), "evaluating"))
            return false;
        sum += loss.sum;
        weight += loss.weight;
    }
    *out = weight > 0 ? sum / weight : NAN;
    return true;
}

static bool steps(pretrain *p, run *r, llama2_trainer *trainer)
{
    app *a = &p->a;
    double *loss = &r->extra[LOSS], *held_out = &r->extra[HELD_OUT];
    char note[64];
    bool ok = true;
    progress_start(&r->bar, "pretrain", "tokens", (uint64_t)(p->steps * p->set.batch * p->length),
                   (uint64_t)(r->step * p->set.batch * p->length), a->args.quiet);
    while (ok && r->step < p->steps) {
        llama2_step_metrics m = {.struct_size = sizeof m};
        ok = corpus_read(a, &p->text, (uint64_t)(r->step * p->set.batch), p->set.batch) &&
             app_try(a, llama2_pretrain_step(trainer, &p->text.batch, &m), "training");
        if (!ok) break;
        json_t *line = run_metrics(&m);
        if (p->eval && ((r->step + 1) % p->eval_every == 0 || r->step + 1 == p->steps)) {
            app_defer(a, true); /* the step is done, but not yet written down */
            r->torn = true;
            ok = evaluate(p, held_out);
            r->torn = !ok;
            app_put(line, "held_out_loss", *held_out);
        }
        *loss = m.loss;
        ok = ok ? run_log(r, line) && run_step(r, r->step + 1 < p->steps) : (json_decref(line), false);
        app_defer(a, false);
        snprintf(note, sizeof note, p->eval && !isnan(*held_out) ? "loss %.3f, held out %.3f" : "loss %.3f", *loss,
                 *held_out);
        progress_update(&r->bar, (uint64_t)m.total_tokens, note);
    }
    return ok;
}

static bool save(void *user)
{
    pretrain *p = user;
    return app_try(&p->a, llama2_model_save(p->model, p->set.out, LLAMA2_F32), "saving") &&
           app_try(&p->a, llama2_tokenizer_save(p->tokenizer, p->set.out), "saving");
}

static bool train(pretrain *p)
{
    run *r = &p->run;
    int64_t key[] = {(int64_t)p->a.args.seed, p->set.batch, p->length};
    llama2_trainer *trainer = run_add(r, "model", p->model, NULL, p->set.lr, p->steps);
    bool ok = trainer && run_start(r, run_hash(p->text.fingerprint, key, sizeof key));
    if (!r->from) r->extra[LOSS] = r->extra[HELD_OUT] = NAN;
    ok = ok && steps(p, r, trainer);
    if (!run_finish(r, ok, save, p)) return false;
    json_t *line = json_pack("{s:s, s:I, s:I, s:I}", "model", p->set.out, "steps", (json_int_t)p->steps, "tokens",
                             (json_int_t)(p->steps * p->set.batch * p->length), "parameters",
                             (json_int_t)llama2_model_parameters(p->model));
    app_put(line, "loss", r->extra[LOSS]);
    if (p->eval) app_put(line, "held_out_loss", r->extra[HELD_OUT]);
    return app_print(&p->a, line);
}

int main(int argc, char **argv)
{
    pretrain p = {.set = {TRAIN_DEFAULTS, .batch = 32, .lr = (double)NAN}, .steps = 1000, .eval_every = 100};
    const args_option options[] = {
        {"data", ARGS_LIST, &p.data, "FILE", "a text, or a shard of llama2-shard; several: several sources", 0, 0},
        {"weight", ARGS_LIST, &p.weights, "X", "share of the source of the same place (default: by size)", 0, 0},
        {"tokenizer", ARGS_TEXT, &p.tokenizer_path, "PATH", "tokenizer.model: begin a new model instead of --model", 0,
         0},
        {"preset", ARGS_TEXT, &p.preset, "NAME",
         "shape of a new model: 15m (default), 110m, 7b, 13b, 34b, 70b; each can be changed:", 0, 0},
        {"dim", ARGS_INTEGER, &p.dim, "N", "  width", 2, 1 << 20},
        {"layers", ARGS_INTEGER, &p.layers, "N", "  layers", 1, 4096},
        {"heads", ARGS_INTEGER, &p.heads, "N", "  query heads", 1, 4096},
        {"kv-heads", ARGS_INTEGER, &p.kv_heads, "N", "  key and value heads (default: as many)", 1, 4096},
        {"ffn", ARGS_INTEGER, &p.ffn, "N", "  width inside the feed-forward block (default: 8/3 of --dim)", 1, 1 << 22},
        {"context", ARGS_INTEGER, &p.context, "N", "  longest sequence", 2, 1 << 24},
        {"tied", ARGS_FLAG, &p.tied, NULL, "  the output head is the embedding", 0, 0},
        TRAIN_OPTIONS(p.set, "sequences a step (32)", "peak learning rate (3e-4; with --preset 34b or 70b 1.5e-4)"),
        TRAIN_SCHEDULE_OPTIONS(p.set),
        {"steps", ARGS_INTEGER, &p.steps, "N", "steps (1000)", 1, 1e15},
        {"length", ARGS_INTEGER, &p.length, "N", "tokens of a sequence (default: the model's context)", 2, 1e9},
        {"eval", ARGS_TEXT, &p.eval, "FILE",
         "held-out text or shard, whose loss (of up to 64 windows) is measured on the way", 0, 0},
        {"eval-every", ARGS_INTEGER, &p.eval_every, "N", "steps between two measurements (100)", 1, 1e15},
        {0},
    };
    const args_program program = {
        .name = "llama2-pretrain",
        .summary = "Trains a model on text: a new one (--tokenizer) or one that is there (--model).",
        .usage = "(--model DIR | --tokenizer PATH [--preset NAME ...]) --data FILE --out DIR [--resume] [options]",
        .options = options,
        .notes = "AdamW (0.9, 0.95, 1e-5), cosine schedule to 10 %, clipping at 1, weight decay 0.1 as in the paper."};
    int status = app_parse(&p.a, &program, argc, argv);
    if (status != ARGS_GO) return status;
    if (!p.a.args.model == !p.tokenizer_path) return args_usage(&program, "either --model or --tokenizer is needed");
    if (p.a.args.model && (p.dim || p.layers || p.heads || p.kv_heads || p.ffn || p.context || p.tied || p.preset))
        return args_usage(&program, "the shape is that of --model; --preset, --dim and the like are for a new one");
    if (!p.preset) p.preset = "15m";
    if (isnan(p.set.lr)) /* the paper's */
        p.set.lr = strcmp(p.preset, "34b") == 0 || strcmp(p.preset, "70b") == 0 ? 1.5e-4 : 3e-4;
    if (p.data.count == 0 || !p.set.out) return args_usage(&program, "--%s is missing", p.set.out ? "data" : "out");
    if (p.weights.count && p.weights.count != p.data.count)
        return args_usage(&program, "--weight once for each --data, or never");
    bool ok = app_begin(&p.a) && load(&p) && train(&p);
    llama2_checkpoint_free(p.run.from);
    corpus_close(&p.text);
    corpus_close(&p.held_out);
    llama2_model_free(p.model);
    llama2_tokenizer_free(p.tokenizer);
    return app_end(&p.a, ok);
}
