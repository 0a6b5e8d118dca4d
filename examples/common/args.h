/*
 * Arguments of the llama2-<name> programs: `--name VALUE`, `--name=VALUE`, flags, positional arguments, `--` before
 * those that begin with a dash. The options that every program has are parsed here: --model PATH --threads N --seed N
 * --quiet --help --version.
 *
 *     int64_t steps = 100;
 *     const char *out = NULL;
 *     const args_option options[] = {
 *         {"steps", ARGS_INTEGER, &steps, "N", "steps to take", 1, 1e9},
 *         {"out", ARGS_TEXT, &out, "DIR", "folder for the results"},
 *         {0},
 *     };
 *     const args_program program = {"llama2-sft", "Fine-tunes a model on demonstrations.", "--model DIR --data FILE",
 * options}; args_common common; int status = args_parse(&program, &common, argc, argv); if (status != ARGS_GO) return
 * status;
 *
 * Defaults are what the variables hold before. The last of several equal options wins, except ARGS_LIST, which
 * collects.
 */
#ifndef EXAMPLES_ARGS_H
#define EXAMPLES_ARGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

enum { ARGS_GO = -1, ARGS_OK = 0, ARGS_FAILED = 1, ARGS_USAGE = 2 };

typedef enum args_kind {
    ARGS_FLAG,    /* bool: no value */
    ARGS_TEXT,    /* const char *: points into argv */
    ARGS_INTEGER, /* int64_t */
    ARGS_REAL,    /* double */
    ARGS_LIST     /* args_list: each occurrence is one more text */
} args_kind;

enum { ARGS_MAX = 64 };

typedef struct args_list {
    const char *items[ARGS_MAX];
    size_t count;
} args_list;

typedef struct args_option {
    const char *name; /* without the dashes; NULL ends the table */
    args_kind kind;
    void *value;
    const char *meta; /* what the value is called in --help */
    const char *help;
    double minimum, maximum; /* of a number, inclusive; both 0: any */
} args_option;

typedef struct args_program {
    const char *name;           /* "llama2-sft" */
    const char *summary;        /* first line of --help */
    const char *usage;          /* what follows the name in the usage line */
    const args_option *options; /* of this program alone; may be NULL */
    size_t minimum_rest;        /* number of positional arguments */
    size_t maximum_rest;
    const char *notes; /* printed below the options; may be NULL */
} args_program;

typedef struct args_common {
    const char *model; /* NULL if not given */
    uint32_t threads;  /* 0: as many as the machine has cores */
    uint64_t seed;     /* 0 if not given */
    bool seed_given;
    bool quiet;
    args_list rest; /* positional arguments */
} args_common;

/*
 * ARGS_GO, or the exit status: ARGS_OK after --help or --version (on standard output; ARGS_FAILED where that is lost),
 * ARGS_USAGE after a message on standard error. Fills *common with defaults first.
 */
int args_parse(const args_program *program, args_common *common, int argc, char **argv);
int args_parse_to(const args_program *program, args_common *common, int argc, char **argv, FILE *out, FILE *err);

/* Is it UTF-8? Options that are texts or names of files must be: results are JSON. */
bool args_is_text(const char *text);

/* Is all that was printed written? */
bool args_flushed(FILE *out);
/* The exit status of a program that has done its work if ok: lost output is an error, which is said. */
int args_end(const args_program *program, bool ok);

/* "llama2-sft: message" and where to find help, on standard error; returns ARGS_USAGE. For checks that the table cannot
 * say. */
int args_usage(const args_program *program, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* "llama2-sft: doing: the library's message" on standard error; returns ARGS_FAILED. */
int args_failed(const args_program *program, const char *doing);

/* "llama2-sft: message" on standard error; returns ARGS_FAILED. */
int args_error(const args_program *program, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
