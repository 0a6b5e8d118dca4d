/*
 * What the programs have in common around the library: a context from the arguments, Ctrl-C, messages, the exit status,
 * files of a model folder.
 *
 *     app a;
 *     int status = app_parse(&a, &program, argc, argv);      // --help, --version, wrong arguments
 *     if (status != ARGS_GO) return status;
 *     return app_end(&a, app_begin(&a) && work(&a));
 */
#ifndef EXAMPLES_APP_H
#define EXAMPLES_APP_H

#include "common/args.h"
#include "common/jsonl.h"

#include <llama2/llama2.h>

typedef struct app {
    const args_program *program;
    args_common args;
    llama2_context *ctx;
    const char *doing;  /* stands before the library's message */
    char message[2048]; /* of the program itself; "": the library's counts */
} app;

int app_parse(app *a, const args_program *program, int argc, char **argv);

/* Makes the context; from then on SIGINT and SIGTERM cancel what it does. The library's warnings go to standard error,
 * unless --quiet. */
bool app_begin(app *a);

/* Prints what failed, frees the context, returns the exit status. Flushes standard output, which can fail too. */
int app_end(app *a, bool ok);

/* True if the status is no failure; else what was being done is kept for the message. */
bool app_try(app *a, llama2_status status, const char *doing);
/* Keeps a message of the program itself; returns false. */
bool app_fail(app *a, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* A signal has come. */
bool app_interrupted(void);
/* Between true and false the first signal waits; a second one cancels all the same. */
void app_defer(app *a, bool defer);

/* The model folder `path` and the tokenizer.model in it; either output may be NULL. Their vocabularies must agree. */
bool app_load(app *a, const char *path, llama2_model **model, llama2_tokenizer **tokenizer);
/* The same for a model that is not trained: its weights are as stored where the format allows it. */
bool app_load_to_read(app *a, const char *path, llama2_model **model, llama2_tokenizer **tokenizer);

/* The context length of the model at `path`, of a reward model too. */
bool app_context_length(app *a, const char *path, int64_t *length);

/* LLAMA2_ENCODE_*: what keeps documents apart: BOS before each where the model's texts begin with it, else EOS after it,
 * where there is such a piece. */
uint32_t app_document_flags(const llama2_tokenizer *tokenizer);
/* Text into ids; to be freed. NULL: failed. */
int32_t *app_encode(app *a, const llama2_tokenizer *tokenizer, const char *text, size_t size, uint32_t flags,
                    int64_t *n);
/* A file as a whole, with a NUL behind it; to be freed. "-": standard input. NULL: failed. */
char *app_read(app *a, const char *path, size_t *size);
/* Makes a folder and those above it. */
bool app_make_folder(app *a, const char *path);
/* The same of --out, which is this process's alone until it ends. */
bool app_make_out(app *a, const char *out);
/* `path`, which an option names, must be none of the folders of --out that models are written to. */
bool app_apart(app *a, const char *out, const char *option, const char *path);

/* Ends the program where there is no memory. */
void *app_must(void *ptr);

/* Number i of an order that is a function of the seed alone. */
uint64_t app_mix(uint64_t seed, uint64_t i);
/* 0 .. n - 1 in an order drawn from the seed; to be freed. */
size_t *app_shuffled(size_t n, uint64_t seed);

/* Sets a number; one that is not finite becomes null, which JSON can say. */
void app_put(json_t *object, const char *key, double value);
/* An array of them. */
json_t *app_numbers(const double *values, int n);
/* One line of JSON on standard output; takes the reference over. */
bool app_print(app *a, json_t *object);

#endif
