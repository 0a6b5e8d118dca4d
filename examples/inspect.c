/* llama2-inspect: what a model file or folder holds. */
#include "common/app.h"
#include "common/progress.h"

#include <stdlib.h>
#include <string.h>

enum { MAX_TYPES = 64, WIDTH = 100 }; /* WIDTH: bytes of a value that the table shows */

typedef struct type_total {
    const char *type;
    int64_t tensors, elements, bytes;
} type_total;

typedef struct view {
    app *a;
    const llama2_inspection *in;
    llama2_inspection_summary summary;
    llama2_config config;
    bool has_config;
    type_total totals[MAX_TYPES];
    int n_totals;
} view;

static bool get_tensor(const view *v, int32_t i, llama2_inspection_tensor *t)
{
    *t = (llama2_inspection_tensor){.struct_size = sizeof *t};
    return app_try(v->a, llama2_inspection_get_tensor(v->in, i, t), "tensors");
}

static bool look(view *v)
{
    v->summary.struct_size = sizeof v->summary;
    v->config.struct_size = sizeof v->config;
    if (!app_try(v->a, llama2_inspection_summarise(v->in, &v->summary), "inspecting")) return false;
    v->has_config = llama2_inspection_config(v->in, &v->config) == LLAMA2_OK;
    for (int32_t i = 0; i < v->summary.n_tensors; i++) {
        llama2_inspection_tensor t;
        int k = 0;
        if (!get_tensor(v, i, &t)) return false;
        while (k < v->n_totals && strcmp(v->totals[k].type, t.type) != 0) k++;
        if (k == MAX_TYPES) k--;
        if (k == v->n_totals) v->totals[v->n_totals++].type = t.type;
        v->totals[k].tensors++;
        v->totals[k].elements += t.elements;
        v->totals[k].bytes += t.bytes;
    }
    return true;
}

/* --- JSON ------------------------------------------------------------------------------------ */

static json_t *config_json(const llama2_config *c)
{
    json_t *object =
        json_pack("{s:i, s:i, s:i, s:i, s:i, s:i, s:i, s:i, s:b, s:i, s:i, s:i}", "vocab_size", c->vocab_size, "dim",
                  c->dim, "n_layers", c->n_layers, "n_heads", c->n_heads, "n_kv_heads", c->n_kv_heads, "head_dim",
                  c->head_dim, "ffn_dim", c->ffn_dim, "max_seq_len", c->max_seq_len, "tied", c->tied, "bos_id",
                  c->bos_id, "eos_id", c->eos_id, "pad_id", c->pad_id);
    app_put(object, "norm_eps", c->norm_eps);
    app_put(object, "rope_theta", c->rope_theta);
    return object;
}

static bool tensors_json(const view *v, json_t *list)
{
    for (int32_t i = 0; i < v->summary.n_tensors; i++) {
        llama2_inspection_tensor t;
        if (!get_tensor(v, i, &t)) return false;
        json_t *shape = json_array();
        for (int32_t d = 0; d < t.n_dims; d++) json_array_append_new(shape, json_integer((json_int_t)t.shape[d]));
        json_array_append_new(list, json_pack("{s:s, s:s, s:o, s:I}", "name", t.name, "type", t.type, "shape", shape,
                                              "bytes", (json_int_t)t.bytes));
    }
    return true;
}

static bool print_json(const view *v)
{
    const llama2_inspection_summary *s = &v->summary;
    json_t *types = json_object(), *metadata = json_object(), *tensors = json_array();
    for (int i = 0; i < v->n_totals; i++) {
        const type_total *t = &v->totals[i];
        json_object_set_new(types, t->type,
                            json_pack("{s:I, s:I, s:I}", "tensors", (json_int_t)t->tensors, "parameters",
                                      (json_int_t)t->elements, "bytes", (json_int_t)t->bytes));
    }
    for (int32_t i = 0; i < s->n_keys; i++) {
        const char *key = "", *value = "";
        if (!app_try(v->a, llama2_inspection_get_key(v->in, i, &key, &value), "metadata")) return false;
        json_object_set_new(metadata, key, json_string(value));
    }
    if (!tensors_json(v, tensors)) return false;
    json_t *line =
        json_pack("{s:s, s:o, s:s, s:s, s:I, s:I, s:I, s:o, s:o, s:o, s:o}", "format", s->format_name, "problem",
                  s->problem ? json_string(s->problem) : json_null(), "tokenizer", s->tokenizer, "chat", s->chat,
                  "parameters", (json_int_t)s->elements, "tensor_bytes", (json_int_t)s->tensor_bytes, "file_bytes",
                  (json_int_t)s->file_bytes, "config", v->has_config ? config_json(&v->config) : json_null(), "types",
                  types, "metadata", metadata, "tensors", tensors);
    return app_print(v->a, line);
}

/* --- text ------------------------------------------------------------------------------------ */

static void print_config(const llama2_config *c)
{
    printf("model       %d layers, dim %d, %d heads of %d (%d key/value), ffn %d, context %d%s\n", c->n_layers, c->dim,
           c->n_heads, c->head_dim, c->n_kv_heads, c->ffn_dim, c->max_seq_len, c->tied ? ", tied head" : "");
    printf("            vocabulary %d, bos %d, eos %d, pad %d, norm eps %g, rope theta %g\n", c->vocab_size, c->bos_id,
           c->eos_id, c->pad_id, c->norm_eps, c->rope_theta);
}

/* One line, cut at WIDTH bytes, never within a character. */
static void print_value(const char *value)
{
    size_t n = strlen(value), shown = n > WIDTH ? WIDTH : n;
    while (shown < n && ((unsigned char)value[shown] & 0xC0) == 0x80) shown--;
    for (size_t i = 0; i < shown; i++) {
        unsigned char c = (unsigned char)value[i];
        if (c == '\n')
            fputs("\\n", stdout);
        else
            putchar(c < 32 || c == 127 ? ' ' : c);
    }
    if (shown < n) printf("... (%zu bytes)", n);
    putchar('\n');
}

static void print_summary(const view *v)
{
    const llama2_inspection_summary *s = &v->summary;
    char count[24];
    progress_count((double)s->file_bytes, count, sizeof count);
    printf("format      %s, %sB\n", s->format_name, count);
    progress_count((double)s->elements, count, sizeof count);
    printf("parameters  %s in %d tensors, %.3f bits each\n", count, s->n_tensors,
           s->elements ? 8 * (double)s->tensor_bytes / (double)s->elements : 0);
    for (int i = 0; i < v->n_totals; i++) {
        const type_total *t = &v->totals[i];
        char bytes[24];
        progress_count((double)t->elements, count, sizeof count);
        progress_count((double)t->bytes, bytes, sizeof bytes);
        printf("            %-7s %5lld tensors, %s parameters, %sB\n", t->type, (long long)t->tensors, count, bytes);
    }
    if (v->has_config) print_config(&v->config);
    printf("tokenizer   %s\nchat        %s\n", s->tokenizer, s->chat);
    printf("loads       %s%s\n", s->problem ? "no: " : "yes", s->problem ? s->problem : "");
}

static bool print_text(const view *v, bool brief)
{
    print_summary(v);
    if (brief) return true;
    printf("\nmetadata\n");
    for (int32_t i = 0; i < v->summary.n_keys; i++) {
        const char *key = "", *value = "";
        if (!app_try(v->a, llama2_inspection_get_key(v->in, i, &key, &value), "metadata")) return false;
        printf("%-44s ", key);
        print_value(value);
    }
    printf("\ntensors\n");
    for (int32_t i = 0; i < v->summary.n_tensors; i++) {
        llama2_inspection_tensor t;
        char shape[200] = "", *end = shape;
        if (!get_tensor(v, i, &t)) return false;
        for (int32_t d = 0; d < t.n_dims; d++)
            end += snprintf(end, 24, "%s%lld", d ? " x " : "", (long long)t.shape[d]);
        printf("%-44s %-7s %20s %14lld bytes\n", t.name, t.type, shape, (long long)t.bytes);
    }
    return true;
}

int main(int argc, char **argv)
{
    bool json = false, brief = false;
    app a;
    const args_option options[] = {
        {"json", ARGS_FLAG, &json, NULL, "one JSON object instead, with whole values", 0, 0},
        {"brief", ARGS_FLAG, &brief, NULL, "no metadata and no tensors", 0, 0},
        {0},
    };
    const args_program program = {
        .name = "llama2-inspect",
        .summary = "Shows what a model file holds: format, config, tokenizer, chat format, metadata, tensors.",
        .usage = "--model PATH [--brief | --json]",
        .options = options,
        .notes = "PATH is a folder of Hugging Face or of Meta, a GGUF file or a .bin of llama2.c; "
                 "\"loads\" says whether the library can use it. Weights are not read.",
    };
    llama2_inspection *in = NULL;
    int status = app_parse(&a, &program, argc, argv);
    if (status != ARGS_GO) return status;
    if (!a.args.model) return args_usage(&program, "--model is missing");
    bool ok = app_begin(&a) && app_try(&a, llama2_inspect(a.ctx, a.args.model, &in), "inspecting");
    view v = {.a = &a, .in = in};
    ok = ok && look(&v) && (json ? print_json(&v) : print_text(&v, brief));
    llama2_inspection_free(in);
    return app_end(&a, ok);
}
