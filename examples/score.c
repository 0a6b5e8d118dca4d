/* llama2-score: how well a model predicts a text. */
#include "common/app.h"
#include "common/progress.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct scoring {
    app *a;
    llama2_model *model;
    llama2_tokenizer *tokenizer;
    int64_t window, stride; /* tokens of a window, BOS included; tokens that each window after the first adds */
    bool per_token;
} scoring;

/* log p of ids[0 .. n), each given what its window holds before it; NAN where there is nothing. */
static bool windows(scoring *s, const int32_t *ids, int64_t n, float *logprobs)
{
    int32_t bos = llama2_tokenizer_bos(s->tokenizer), head = llama2_tokenizer_adds_bos(s->tokenizer);
    int32_t *tokens = app_must(malloc((size_t)s->window * sizeof *tokens));
    float *out = app_must(malloc((size_t)s->window * sizeof *out));
    progress bar;
    bool ok = true;
    progress_start(&bar, "score", "tokens", (uint64_t)n, 0, s->a->args.quiet);
    for (int64_t done = 0; ok && done < n;) {
        int64_t room = s->window - head, added = done == 0 ? room : s->stride;
        if (added > n - done) added = n - done;
        int64_t before = done < room - added ? done : room - added, length = head + before + added;
        int64_t offsets[2] = {0, length};
        if (head) tokens[0] = bos;
        memcpy(tokens + head, ids + done - before, (size_t)(before + added) * sizeof *ids);
        llama2_batch batch = {sizeof batch, 1, length, tokens, offsets, NULL};
        ok = app_try(s->a, llama2_model_logprobs(s->model, &batch, 1, out, NULL), "scoring");
        if (!ok) break;
        memcpy(logprobs + done, out + head + before, (size_t)added * sizeof *out);
        if (done == 0 && !head) logprobs[0] = NAN;
        done += added;
        progress_update(&bar, (uint64_t)done, NULL);
    }
    progress_finish(&bar, NULL);
    free(tokens);
    free(out);
    return ok;
}

static bool print_token(scoring *s, int32_t id, float logprob)
{
    const char *text;
    size_t length;
    if (!app_try(s->a, llama2_tokenizer_piece(s->tokenizer, id, &text, &length, NULL, NULL), "vocabulary"))
        return false;
    json_t *line = json_pack("{s:I, s:o}", "id", (json_int_t)id, "piece", json_stringn(text, length));
    app_put(line, "logprob", (double)logprob);
    return app_print(s->a, line);
}

static bool report(scoring *s, const int32_t *ids, const float *logprobs, int64_t n)
{
    double sum = 0;
    int64_t scored = 0;
    for (int64_t t = 0; t < n; t++) {
        if (s->per_token && !print_token(s, ids[t], logprobs[t])) return false;
        if (isnan(logprobs[t])) continue;
        sum -= (double)logprobs[t];
        scored++;
    }
    double nll = scored > 0 ? sum / (double)scored : NAN;
    if (s->per_token) {
        if (!s->a->args.quiet)
            fprintf(stderr, "%lld tokens, %.6f nats a token, perplexity %.4f\n", (long long)scored, nll, exp(nll));
        return true;
    }
    json_t *line = json_pack("{s:I}", "tokens", (json_int_t)scored);
    app_put(line, "nll", nll);
    app_put(line, "perplexity", exp(nll));
    return app_print(s->a, line);
}

static bool run(scoring *s, const char *path)
{
    size_t size;
    int64_t n = 0;
    llama2_config c = {.struct_size = sizeof c};
    if (!app_load_to_read(s->a, s->a->args.model, &s->model, &s->tokenizer) ||
        !app_try(s->a, llama2_model_config(s->model, &c), "model"))
        return false;
    char *text = app_read(s->a, path, &size);
    int32_t *ids = text ? app_encode(s->a, s->tokenizer, text, size, 0, &n) : NULL;
    float *logprobs = app_must(malloc((size_t)(n + 1) * sizeof *logprobs));
    bool ok = ids != NULL;
    if (s->window == 0 || s->window > c.max_seq_len) s->window = c.max_seq_len;
    if (s->stride == 0) s->stride = s->window / 2;
    if (s->stride > s->window - 1) s->stride = s->window - 1;
    if (ok && n == 0) ok = app_fail(s->a, "%s: the text is empty", path);
    ok = ok && windows(s, ids, n, logprobs) && report(s, ids, logprobs, n);
    free(text);
    free(ids);
    free(logprobs);
    return ok;
}

int main(int argc, char **argv)
{
    scoring s = {0};
    app a;
    const args_option options[] = {
        {"per-token", ARGS_FLAG, &s.per_token, NULL, "a line a token instead: {\"id\", \"piece\", \"logprob\"}", 0, 0},
        {"window", ARGS_INTEGER, &s.window, "N", "tokens of a window (default: the context of the model)", 2, 1e9},
        {"stride", ARGS_INTEGER, &s.stride, "N", "tokens that each further window adds (default: half a window)", 1,
         1e9},
        {0},
    };
    const args_program program = {
        .name = "llama2-score",
        .summary = "Prints {\"tokens\", \"nll\", \"perplexity\"} of a text: nll is the mean of -log p over its tokens, "
                   "in nats.",
        .usage = "--model DIR [--per-token] FILE",
        .options = options,
        .minimum_rest = 1,
        .maximum_rest = 1,
        .notes =
            "FILE is one text, - standard input. Where the model's texts begin with BOS, it stands before it and is "
            "not counted; else the first token is not.\nA text longer than the context is read in windows: the first "
            "is full; each further one begins with BOS, if there is one, and the tokens that\njust came before, and "
            "adds --stride new ones, so that every token is scored once and, after the first window, has at least "
            "window - stride - 1 tokens\nof the text before it. The weights stay in their file as they are, quantised "
            "ones too: the numbers are those of the same weights in fp32."};
    int status = app_parse(&a, &program, argc, argv);
    if (status != ARGS_GO) return status;
    if (!a.args.model) return args_usage(&program, "--model is missing");
    s.a = &a;
    bool ok = app_begin(&a) && run(&s, a.args.rest.items[0]);
    llama2_model_free(s.model);
    llama2_tokenizer_free(s.tokenizer);
    return app_end(&a, ok);
}
