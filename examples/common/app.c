#include "common/app.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

/* A handler has no argument of its own: these belong to the process, as the signals do. */
static llama2_context *volatile running;
static volatile sig_atomic_t signals, deferred;

static void on_signal(int number)
{
    (void)number;
    signals = signals + 1;
    if (running && (!deferred || signals > 1)) llama2_context_cancel(running);
}

static void on_log(void *user, int32_t level, const char *message, size_t length)
{
    const app *a = user;
    if (level <= LLAMA2_LOG_WARN && !a->args.quiet)
        fprintf(stderr, "%s: %.*s\n", a->program->name, (int)length, message);
}

int app_parse(app *a, const args_program *program, int argc, char **argv)
{
    *a = (app){.program = program, .doing = "cannot begin"};
    return args_parse(program, &a->args, argc, argv);
}

bool app_begin(app *a)
{
    struct sigaction action = {.sa_handler = on_signal}; /* no SA_RESTART: a read from a terminal ends too */
    llama2_context_options o;
    llama2_context_options_init(&o, sizeof o);
    o.n_threads = (int32_t)a->args.threads;
    o.seed = a->args.seed;
    o.log = on_log;
    o.log_user = a;
    if (!app_try(a, llama2_context_create(&o, &a->ctx), "context")) return false;
    running = a->ctx;
    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    signal(SIGXFSZ, SIG_IGN); /* a limit of file sizes is an error of writing, with a message */
    return true;
}

int app_end(app *a, bool ok)
{
    int status = ARGS_OK;
    if (!args_flushed(stdout) && ok) ok = app_fail(a, "standard output could not be written");
    if (!ok && a->message[0])
        status = args_error(a->program, "%s", a->message);
    else if (!ok && app_interrupted())
        status = args_error(a->program, "interrupted");
    else if (!ok)
        status = args_failed(a->program, a->doing);
    running = NULL;
    llama2_context_free(a->ctx);
    return status;
}

bool app_try(app *a, llama2_status status, const char *doing)
{
    if (status < 0) a->doing = doing;
    return status >= 0;
}

bool app_fail(app *a, const char *format, ...)
{
    va_list list;
    va_start(list, format);
    vsnprintf(a->message, sizeof a->message, format, list);
    va_end(list);
    return false;
}

bool app_interrupted(void)
{
    return signals > 0;
}

void app_defer(app *a, bool defer)
{
    deferred = defer;
    if (!defer && signals > 0) llama2_context_cancel(a->ctx);
    if (defer && signals == 1)
        llama2_context_resume(a->ctx); /* it came just before, and waits like one that comes now */
}

/* A format whose weights can't be used as stored is converted. */
static llama2_status load_model(app *a, const char *path, int32_t weights, llama2_model **model)
{
    llama2_model_options o;
    llama2_model_options_init(&o, sizeof o);
    o.weights = weights;
    llama2_status status = llama2_model_load(a->ctx, path, &o, model);
    if (status == LLAMA2_E_UNSUPPORTED && weights != LLAMA2_WEIGHTS_CONVERTED)
        status = load_model(a, path, LLAMA2_WEIGHTS_CONVERTED, model);
    return status;
}

static bool load(app *a, const char *path, int32_t weights, llama2_model **model, llama2_tokenizer **tokenizer)
{
    llama2_config config = {.struct_size = sizeof config};
    if (tokenizer && !app_try(a, llama2_tokenizer_load(a->ctx, path, NULL, tokenizer), "tokenizer")) return false;
    if (!model) return true;
    if (!app_try(a, load_model(a, path, weights, model), "model")) return false;
    if (!app_try(a, llama2_model_config(*model, &config), "model")) return false;
    if (tokenizer && llama2_tokenizer_vocab_size(*tokenizer) > config.vocab_size)
        return app_fail(a, "%s: the tokenizer has %d pieces, the model a vocabulary of %d: they do not belong together",
                        path, (int)llama2_tokenizer_vocab_size(*tokenizer), (int)config.vocab_size);
    return true;
}

bool app_load(app *a, const char *path, llama2_model **model, llama2_tokenizer **tokenizer)
{
    return load(a, path, LLAMA2_WEIGHTS_CONVERTED, model, tokenizer);
}

bool app_load_to_read(app *a, const char *path, llama2_model **model, llama2_tokenizer **tokenizer)
{
    return load(a, path, LLAMA2_WEIGHTS_AS_STORED, model, tokenizer);
}

bool app_context_length(app *a, const char *path, int64_t *length)
{
    llama2_inspection *inspection = NULL;
    llama2_config c = {.struct_size = sizeof c};
    bool ok = app_try(a, llama2_inspect(a->ctx, path, &inspection), path) &&
              app_try(a, llama2_inspection_config(inspection, &c), path);
    llama2_inspection_free(inspection);
    *length = c.max_seq_len;
    return ok;
}

uint32_t app_document_flags(const llama2_tokenizer *tokenizer)
{
    return llama2_tokenizer_adds_bos(tokenizer)   ? LLAMA2_ENCODE_BOS
           : llama2_tokenizer_eos(tokenizer) >= 0 ? LLAMA2_ENCODE_EOS
                                                  : 0;
}

int32_t *app_encode(app *a, const llama2_tokenizer *tokenizer, const char *text, size_t size, uint32_t flags,
                    int64_t *n)
{
    int64_t room = (int64_t)size + 8;
    int32_t *ids = app_must(malloc((size_t)room * sizeof *ids));
    llama2_status status = llama2_tokenizer_encode(tokenizer, text, size, flags, ids, room, n);
    if (status == LLAMA2_E_BUFFER) {
        room = *n;
        ids = app_must(realloc(ids, (size_t)room * sizeof *ids));
        status = llama2_tokenizer_encode(tokenizer, text, size, flags, ids, room, n);
    }
    if (app_try(a, status, "encoding")) return ids;
    free(ids);
    return NULL;
}

char *app_read(app *a, const char *path, size_t *size)
{
    FILE *file = strcmp(path, "-") == 0 ? stdin : fopen(path, "rbe");
    size_t room = 1 << 16, n;
    char *text = app_must(malloc(room));
    *size = 0;
    while (file && (n = fread(text + *size, 1, room - *size - 1, file)) > 0) {
        *size += n;
        if (*size == room - 1) text = app_must(realloc(text, room *= 2));
    }
    if (!file || ferror(file)) {
        app_fail(a, "%s: %s", path, strerror(errno));
        free(text);
        text = NULL;
    } else {
        text[*size] = 0;
    }
    if (file && file != stdin) fclose(file);
    return text;
}

bool app_make_folder(app *a, const char *path)
{
    char part[4096];
    struct stat s;
    if (!*path) return app_fail(a, "the name of a folder is empty");
    if (strlen(path) >= sizeof part) return app_fail(a, "the path is too long: %.200s...", path);
    for (size_t i = 1;; i++) {
        if (path[i - 1] != 0 && path[i] != '/' && path[i] != 0) continue;
        memcpy(part, path, i);
        part[i] = 0;
        if (mkdir(part, 0777) != 0 && errno != EEXIST) return app_fail(a, "%s: %s", part, strerror(errno));
        if (path[i - 1] == 0 || path[i] == 0) break;
    }
    if (stat(path, &s) != 0 || !S_ISDIR(s.st_mode)) return app_fail(a, "%s: is not a folder", path);
    return true;
}

bool app_make_out(app *a, const char *out)
{
    enum { LONGEST = 3800 }; /* names in it fit into 4096 */
    if (strlen(out) > LONGEST) return app_fail(a, "--out is longer than %d bytes: %.200s...", LONGEST, out);
    if (!app_make_folder(a, out)) return false;
    int fd = open(out, O_RDONLY | O_DIRECTORY | O_CLOEXEC); /* until the process ends */
    if (fd >= 0 && (flock(fd, LOCK_EX | LOCK_NB) == 0 || errno != EWOULDBLOCK)) return true; /* or there are no locks */
    return app_fail(a, "%s: %s", out, fd < 0 ? strerror(errno) : "another process works in this folder");
}

bool app_apart(app *a, const char *out, const char *option, const char *path)
{
    static const char *const written[] = {"", "/best", "/critic"};
    struct stat x, y;
    char folder[4096];
    for (size_t i = 0; i < sizeof written / sizeof *written; i++) {
        snprintf(folder, sizeof folder, "%s%s", out, written[i]);
        if (stat(folder, &x) == 0 && stat(path, &y) == 0 && x.st_ino == y.st_ino && x.st_dev == y.st_dev)
            return app_fail(a, "%s is %s: what is read would be written over", folder, option);
    }
    return true;
}

void *app_must(void *ptr)
{
    if (ptr) return ptr;
    fputs("out of memory\n", stderr);
    exit(ARGS_FAILED);
}

uint64_t app_mix(uint64_t seed, uint64_t i)
{
    uint64_t z = seed * 0x9e3779b97f4a7c15u + i * 0xd1342543de82ef95u + 0x632be59bd9b4e019u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

size_t *app_shuffled(size_t n, uint64_t seed)
{
    size_t *order = app_must(malloc((n + 1) * sizeof *order));
    for (size_t i = 0; i < n; i++) order[i] = i;
    for (size_t i = n; i > 1; i--) {
        size_t j = (size_t)(app_mix(seed, i) % i), t = order[i - 1];
        order[i - 1] = order[j];
        order[j] = t;
    }
    return order;
}

void app_put(json_t *object, const char *key, double value)
{
    json_object_set_new(object, key, isfinite(value) ? json_real(value) : json_null());
}

json_t *app_numbers(const double *values, int n)
{
    json_t *array = json_array();
    for (int i = 0; i < n; i++) json_array_append_new(array, json_real(values[i]));
    return array;
}

bool app_print(app *a, json_t *object)
{
    bool good =
        object && json_dumpf(object, stdout, JSON_COMPACT | JSON_REAL_PRECISION(9)) == 0 && putchar('\n') != EOF;
    json_decref(object);
    return good || app_fail(a, "standard output: %s", strerror(errno));
}
