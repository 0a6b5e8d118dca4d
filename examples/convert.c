/* llama2-convert: a model from one file format to another, quantised if wanted. */
#include "common/app.h"
#include "common/progress.h"

#include <stdlib.h>
#include <string.h>

static const struct type {
    const char *name;
    int32_t type;
} types[] = {
    {"f32", LLAMA2_F32},   {"f16", LLAMA2_F16},   {"bf16", LLAMA2_BF16}, {"q8_0", LLAMA2_Q8_0},
    {"q4_0", LLAMA2_Q4_0}, {"q4_k", LLAMA2_Q4_K}, {"q6_k", LLAMA2_Q6_K},
};

static bool find_type(const char *name, int32_t *type)
{
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (strcmp(types[i].name, name) == 0) {
            *type = types[i].type;
            return true;
        }
    return false;
}

typedef struct bar {
    progress progress;
    bool started, quiet;
} bar;

static int32_t show(void *user, const llama2_convert_event *event)
{
    bar *b = user;
    char note[128];
    if (!b->started) progress_start(&b->progress, "convert", "parameters", (uint64_t)event->elements, 0, b->quiet);
    b->started = true;
    snprintf(note, sizeof note, "tensor %d of %d", (int)event->tensor + 1, (int)event->n_tensors);
    progress_update(&b->progress, (uint64_t)event->elements_done, note);
    return 0;
}

int main(int argc, char **argv)
{
    const char *out = NULL, *type = NULL, *tokenizer = NULL;
    app a;
    const args_option options[] = {
        {"out", ARGS_TEXT, &out, "PATH",
         "what is written: a GGUF file where PATH ends in .gguf, llama2.c's where it ends in .bin, else a folder", 0,
         0},
        {"type", ARGS_TEXT, &type, "TYPE",
         "f32, f16, bf16, in a GGUF also q8_0, q4_0, q4_k, q6_k (default: as it is; f32 where it is quantised)", 0, 0},
        {"tokenizer", ARGS_TEXT, &tokenizer, "PATH", "tokenizer to go with it (default: the model's own)", 0, 0},
        {0},
    };
    const args_program program = {
        .name = "llama2-convert",
        .summary = "Writes a model in another file format, with its tokenizer and chat template.",
        .usage = "--model PATH --out PATH [--type TYPE]",
        .options = options,
        .notes = "The model is anything that the other programs read; memory stays small whatever its size.\n"
                 "The types are llama.cpp's file types of these names (q4_k: Q4_K_M); rows that are no multiple of 256 "
                 "get Q5_0 for q4_k and Q8_0 for q6_k, as there.",
    };
    llama2_convert_options o;
    bar b = {0};
    int status = app_parse(&a, &program, argc, argv);
    if (status != ARGS_GO) return status;
    llama2_convert_options_init(&o, sizeof o);
    if (!a.args.model || !out) return args_usage(&program, "%s is missing", out ? "--model" : "--out");
    if (type && !find_type(type, &o.type)) return args_usage(&program, "--type %s is none of those below", type);
    b.quiet = a.args.quiet;
    o.tokenizer = tokenizer;
    o.progress = show;
    o.progress_user = &b;
    bool ok = app_begin(&a) && app_try(&a, llama2_convert(a.ctx, a.args.model, out, &o), "converting");
    if (b.started && ok) progress_finish(&b.progress, NULL);
    return app_end(&a, ok);
}
