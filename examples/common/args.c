#include "common/args.h"
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <llama2/types.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef struct parse {
    const args_program *program;
    const args_option *common;
    FILE *err;
} parse;

static int usage_error(const parse *p, const char *format, ...) __attribute__((format(printf, 2, 3)));
static int usage_error(const parse *p, const char *format, ...)
{
    va_list list;
    fprintf(p->err, "%s: ", p->program->name);
    va_start(list, format);
    vfprintf(p->err, format, list);
    va_end(list);
    fprintf(p->err, "\nTry '%s --help'.\n", p->program->name);
    return ARGS_USAGE;
}

static const args_option *find(const args_option *table, const char *name, size_t length)
{
    for (; table && table->name; table++)
        if (strlen(table->name) == length && strncmp(table->name, name, length) == 0) return table;
    return NULL;
}

static int out_of_range(const parse *p, const args_option *option, const char *text)
{
    return usage_error(p, "--%s %s: expected a number from %.15g to %.15g", option->name, text, option->minimum,
                       option->maximum);
}

static int set_value(const parse *p, const args_option *option, const char *text)
{
    bool bounded = option->minimum != 0 || option->maximum != 0;
    char *end = NULL;
    errno = 0;
    if ((option->kind == ARGS_TEXT || option->kind == ARGS_LIST) && !args_is_text(text))
        return usage_error(p, "--%s is no UTF-8", option->name); /* results, reports and data files could not say it */
    switch (option->kind) {
    case ARGS_FLAG: *(bool *)option->value = true; return ARGS_GO;
    case ARGS_TEXT: *(const char **)option->value = text; return ARGS_GO;
    case ARGS_LIST: {
        args_list *list = option->value;
        if (list->count == ARGS_MAX) return usage_error(p, "--%s is given more than %d times", option->name, ARGS_MAX);
        list->items[list->count++] = text;
        return ARGS_GO;
    }
    case ARGS_INTEGER: {
        long long value = strtoll(text, &end, 10);
        if (end == text || *end || errno) return usage_error(p, "--%s %s: expected an integer", option->name, text);
        if (bounded && ((double)value < option->minimum || (double)value > option->maximum))
            return out_of_range(p, option, text);
        *(int64_t *)option->value = value;
        return ARGS_GO;
    }
    case ARGS_REAL: {
        double value = strtod(text, &end);
        if (end == text || *end || !(value - value == 0))
            return usage_error(p, "--%s %s: expected a number", option->name, text);
        if (bounded && (value < option->minimum || value > option->maximum)) return out_of_range(p, option, text);
        *(double *)option->value = value;
        return ARGS_GO;
    }
    }
    return usage_error(p, "--%s has no kind", option->name);
}

static void print_options(const args_option *table, FILE *out)
{
    for (; table && table->name; table++) {
        char left[64];
        snprintf(left, sizeof left, "--%s%s%s", table->name, table->kind == ARGS_FLAG ? "" : " ",
                 table->kind == ARGS_FLAG ? ""
                 : table->meta            ? table->meta
                                          : "VALUE");
        fprintf(out, "  %-26s %s\n", left, table->help ? table->help : "");
    }
}

static void print_help(const args_program *program, const args_option *common, FILE *out)
{
    fprintf(out, "Usage: %s %s\n\n%s\n", program->name, program->usage ? program->usage : "[options]",
            program->summary);
    if (program->options && program->options->name) {
        fprintf(out, "\nOptions:\n");
        print_options(program->options, out);
    }
    fprintf(out, "\nOptions of every program:\n");
    print_options(common, out);
    if (program->notes) fprintf(out, "\n%s\n", program->notes);
    fprintf(out, "\nResults go to standard output, progress and statistics to standard error.\n"
                 "Exit status: 0, 1 if something failed, 2 for wrong arguments.\n");
}

static int add_rest(const parse *p, args_list *rest, const char *text)
{
    if (rest->count >= p->program->maximum_rest || rest->count == ARGS_MAX)
        return usage_error(p, "unexpected argument '%s'", text);
    rest->items[rest->count++] = text;
    return ARGS_GO;
}

/* One option at argv[*i]; advances *i over its value. */
static int take_option(const parse *p, int argc, char **argv, int *i)
{
    const char *name = argv[*i] + 2, *equals = strchr(name, '=');
    size_t length = equals ? (size_t)(equals - name) : strlen(name);
    const args_option *option = find(p->program->options, name, length);
    if (!option) option = find(p->common, name, length);
    if (!option) return usage_error(p, "unknown option '%.*s'", (int)length + 2, argv[*i]);
    if (option->kind == ARGS_FLAG) {
        if (equals) return usage_error(p, "--%s takes no value", option->name);
        return set_value(p, option, NULL);
    }
    if (equals) return set_value(p, option, equals + 1);
    if (*i + 1 >= argc)
        return usage_error(p, "--%s needs a value (%s)", option->name, option->meta ? option->meta : "VALUE");
    return set_value(p, option, argv[++*i]);
}

static int take_seed(const parse *p, const char *text, args_common *common)
{
    char *end = NULL;
    errno = 0;
    common->seed = strtoull(text, &end, 0);
    common->seed_given = true;
    if (end == text || *end || errno || strchr(text, '-'))
        return usage_error(p, "--seed %s: expected an integer from 0 to 2^64 - 1", text);
    return ARGS_GO;
}

int args_parse_to(const args_program *program, args_common *common, int argc, char **argv, FILE *out, FILE *err)
{
    int64_t threads = 0;
    const char *seed = NULL;
    bool help = false, version = false, literal = false;
    const args_option shared[] = {
        {"model", ARGS_TEXT, &common->model, "PATH",
         "model folder, GGUF file or llama2.c's .bin (or a tokenizer.model or .json where only that is needed)", 0, 0},
        {"threads", ARGS_INTEGER, &threads, "N", "threads to compute with (0: one for each core)", 0, 256},
        {"seed", ARGS_TEXT, &seed, "N", "seed of everything random (0)", 0, 0},
        {"quiet", ARGS_FLAG, &common->quiet, NULL, "no progress on standard error", 0, 0},
        {"help", ARGS_FLAG, &help, NULL, "this text", 0, 0},
        {"version", ARGS_FLAG, &version, NULL, "the library's version", 0, 0},
        {0},
    };
    const parse p = {program, shared, err};
    memset(common, 0, sizeof *common);
    for (int i = 1; i < argc; i++) {
        int status;
        bool dashed = !literal && argv[i][0] == '-' && argv[i][1] != 0; /* a lone "-" is a positional argument */
        if (dashed && strcmp(argv[i], "--") == 0) {
            literal = true;
            continue;
        }
        if (dashed && argv[i][1] != '-')
            return usage_error(&p, "unknown option '%s' (options begin with two dashes)", argv[i]);
        status = dashed ? take_option(&p, argc, argv, &i) : add_rest(&p, &common->rest, argv[i]);
        if (status != ARGS_GO) return status;
        if (help) print_help(program, shared, out);
        if (version) fprintf(out, "%s %s\n", program->name, llama2_version());
        if ((help || version) && !args_flushed(out)) {
            fprintf(err, "%s: standard output could not be written\n", program->name);
            return ARGS_FAILED;
        }
        if (help || version) return ARGS_OK;
    }
    common->threads = (uint32_t)threads;
    if (seed && take_seed(&p, seed, common) != ARGS_GO) return ARGS_USAGE;
    if (common->rest.count < program->minimum_rest)
        return usage_error(&p, "expected %zu argument%s, found %zu: %s %s", program->minimum_rest,
                           program->minimum_rest == 1 ? "" : "s", common->rest.count, program->name, program->usage);
    return ARGS_GO;
}

bool args_flushed(FILE *out)
{
    return fflush(out) == 0 && !ferror(out); /* what an earlier flush lost, the last one does not say */
}

int args_end(const args_program *program, bool ok)
{
    if (!args_flushed(stdout)) return args_error(program, "standard output could not be written");
    return ok ? ARGS_OK : ARGS_FAILED;
}

bool args_is_text(const char *text)
{
    json_t *checked = json_string(text);
    json_decref(checked);
    return checked != NULL;
}

/* Where a stream was closed, the next file that is opened would get its number, and what is printed would go there. For
 * reading alone: writing fails as it did. */
static void occupy_streams(void)
{
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
        if (fcntl(fd, F_GETFD) < 0) open("/dev/null", O_RDONLY); /* the lowest number that is free: this one */
}

int args_parse(const args_program *program, args_common *common, int argc, char **argv)
{
    occupy_streams();
    return args_parse_to(program, common, argc, argv, stdout, stderr);
}

static void print_message(const args_program *program, const char *format, va_list list)
{
    fprintf(stderr, "%s: ", program->name);
    vfprintf(stderr, format, list);
    fputc('\n', stderr);
}

int args_usage(const args_program *program, const char *format, ...)
{
    va_list list;
    va_start(list, format);
    print_message(program, format, list);
    va_end(list);
    fprintf(stderr, "Try '%s --help'.\n", program->name);
    return ARGS_USAGE;
}

int args_error(const args_program *program, const char *format, ...)
{
    va_list list;
    va_start(list, format);
    print_message(program, format, list);
    va_end(list);
    return ARGS_FAILED;
}

int args_failed(const args_program *program, const char *doing)
{
    return args_error(program, "%s: %s", doing, llama2_last_error());
}
