/* Data of the host's own, a folder of files in the formats of docs/formats.md. */
#include "pipeline/pipeline.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool fail(char *error, size_t size, const char *text, const char *what)
{
    snprintf(error, size, "%s%s", text, what);
    return false;
}

static bool read_file(const char *path, char **text, size_t *size)
{
    FILE *f = fopen(path, "rb");
    if (!f) return false;
    fseek(f, 0, SEEK_END);
    long n = ftell(f);
    rewind(f);
    *text = malloc((size_t)n + 1);
    *size = *text ? fread(*text, 1, (size_t)n, f) : 0;
    fclose(f);
    return *text && *size == (size_t)n;
}

/* All but the last tenth of a text is trained on; the last tenth is held out. */
static bool add_text(const char *path, pipeline_data *d, char *error, size_t error_size)
{
    char *text;
    size_t size;
    int64_t n;
    if (!read_file(path, &text, &size)) return fail(error, error_size, path, ": cannot be read");
    int32_t *ids = malloc((size + 8) * sizeof *ids);
    bool ok =
        ids && llama2_tokenizer_encode(d->tokenizer, text, size, LLAMA2_ENCODE_BOS, ids, (int64_t)size + 8, &n) >= 0;
    if (ok) {
        int64_t train = n - n / 10;
        d->text = realloc(d->text, (size_t)(d->n_text + train) * sizeof *ids);
        d->held_out_text = realloc(d->held_out_text, (size_t)(d->n_held_out_text + n - train) * sizeof *ids);
        ok = d->text && d->held_out_text;
        if (ok) {
            memcpy(d->text + d->n_text, ids, (size_t)train * sizeof *ids);
            memcpy(d->held_out_text + d->n_held_out_text, ids + train, (size_t)(n - train) * sizeof *ids);
            d->n_text += train;
            d->n_held_out_text += n - train;
        }
    }
    free(ids);
    free(text);
    return ok || fail(error, error_size, path, ": the text could not be encoded");
}

static bool contains(const char *name, const char *part)
{
    return strstr(name, part) != NULL;
}

static bool ends_with(const char *name, const char *end)
{
    size_t n = strlen(name), m = strlen(end);
    return n >= m && strcmp(name + n - m, end) == 0;
}

/* A tenth of all prompts, by their hash, is held out, across files: the same prompt is on one side everywhere. */
static bool is_held_out(const record *r)
{
    return r->id % 10 == 0;
}

static void split(records *all, records *held_out)
{
    size_t kept = 0;
    for (size_t i = 0; i < all->n; i++) {
        record *r = &all->items[i];
        if (!is_held_out(r)) {
            all->items[kept++] = *r;
            continue;
        }
        if (held_out->n == held_out->capacity) {
            held_out->capacity = held_out->capacity ? 2 * held_out->capacity : 64;
            held_out->items = realloc(held_out->items, held_out->capacity * sizeof *r);
            if (!held_out->items) abort();
        }
        held_out->items[held_out->n++] = *r;
    }
    all->n = kept;
}

/* Prompts of the comparisons, each once: to sample from (those in training) or to evaluate on (held out). */
static void add_prompts(records *to, const records *from, bool is_safety, size_t most)
{
    for (size_t i = 0, added = 0; i < from->n && added < most; i++) {
        const record *r = &from->items[i];
        bool known = false;
        for (size_t k = to->n; k > 0 && k + 32 > to->n && !known; k--) known = to->items[k - 1].id == r->id;
        if (known) continue;
        records_add(to, r->roles, (const char *const *)r->texts, r->n_messages, NULL, NULL)->is_safety = is_safety;
        added++;
    }
}

static bool load_all(const char *folder, pipeline_data *d, records *comparisons, char *error, size_t error_size)
{
    struct dirent **names;
    char path[4096];
    bool ok = true;
    int n = scandir(folder, &names, NULL, alphasort);
    if (n < 0) return fail(error, error_size, folder, ": is not a folder that can be read");
    for (int i = 0; i < n; i++) {
        const char *name = names[i]->d_name;
        bool jsonl = ends_with(name, ".jsonl") || ends_with(name, ".jsonl.gz");
        snprintf(path, sizeof path, "%s/%s", folder, name);
        if (ok && jsonl && contains(name, "helpful"))
            ok = records_read(&comparisons[0], path, RECORD_COMPARISON, error, error_size);
        else if (ok && jsonl && (contains(name, "harmless") || contains(name, "safety")))
            ok = records_read(&comparisons[1], path, RECORD_COMPARISON, error, error_size);
        else if (ok && jsonl)
            ok = records_read(&d->demonstrations, path, RECORD_DEMONSTRATION, error, error_size);
        else if (ok && ends_with(name, ".txt"))
            ok = add_text(path, d, error, error_size);
        free(names[i]);
    }
    free(names);
    return ok;
}

bool data_from_files(llama2_context *ctx, const char *folder, uint64_t seed, pipeline_data *d, pipeline_settings *s,
                     char *error, size_t error_size)
{
    char path[4096];
    records unused = {0};
    (void)seed;
    d->name = folder;
    snprintf(path, sizeof path, "%s/llama2-tokenizer.model", folder);
    FILE *there = fopen(path, "rb");
    if (there)
        fclose(there);
    else
        snprintf(path, sizeof path, "%s/tokenizer.model", folder);
    if (llama2_tokenizer_load(ctx, path, NULL, &d->tokenizer) < 0)
        return fail(error, error_size, llama2_last_error(), "");
    records comparisons[2] = {{0}, {0}};
    if (!load_all(folder, d, comparisons, error, error_size)) return false;
    d->helpful = comparisons[0];
    d->safety = comparisons[1];
    if (d->n_text < 1000) return fail(error, error_size, folder, ": holds no text (*.txt) to pretrain on");
    if (d->demonstrations.n == 0) return fail(error, error_size, folder, ": holds no demonstrations (*.jsonl)");
    if (d->helpful.n == 0)
        return fail(error, error_size, folder, ": holds no comparisons for helpfulness (*helpful*.jsonl)");
    if (d->safety.n == 0)
        return fail(error, error_size, folder,
                    ": holds no comparisons for safety (*harmless*.jsonl or *safety*.jsonl)");
    split(&d->demonstrations, &unused);
    records_free(&unused);
    split(&d->helpful, &d->held_out_helpful);
    split(&d->safety, &d->held_out_safety);
    add_prompts(&d->prompts, &d->helpful, false, 1500);
    add_prompts(&d->prompts, &d->safety, true, 500);
    add_prompts(&d->evaluation, &d->held_out_helpful, false, 48);
    add_prompts(&d->evaluation, &d->held_out_safety, true, 16);

    *s = (pipeline_settings){
        .pretrain_steps = 600,
        .pretrain_batch = 16,
        .pretrain_length = 128,
        .pretrain_lr = 2e-3,
        .sft_epochs = 2,
        .sft_batch = 16,
        .sft_lr = 3e-4,
        .pairs = 1200,
        .reward_batch = 32,
        .reward_epochs = 1,
        .reward_lr = 2e-4,
        .reject_prompts = 96,
        .reject_samples = 4,
        .reject_epochs = 2,
        .reject_lr = 1e-4,
        .reject_temperature = 1,
        .ppo_iterations = 8,
        .ppo_batch = 64,
        .ppo_minibatch = 16,
        .ppo_lr = 2e-5,
        .critic_lr = 1e-4,
        .ppo_beta = 0.2,
        .max_tokens = 256,
        .max_new_tokens = 64,
    };
    llama2_config_init(&s->config, sizeof s->config);
    s->config.vocab_size = llama2_tokenizer_vocab_size(d->tokenizer);
    s->config.dim = 128;
    s->config.n_layers = 4;
    s->config.n_heads = 4;
    s->config.n_kv_heads = 2;
    s->config.head_dim = 32;
    s->config.ffn_dim = 352;
    s->config.max_seq_len = 256;
    s->config.tied = 1;
    return true;
}

void data_free(pipeline_data *d)
{
    records *all[] = {&d->demonstrations, &d->prompts,          &d->evaluation,     &d->helpful,
                      &d->safety,         &d->held_out_helpful, &d->held_out_safety};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) records_free(all[i]);
    llama2_tokenizer_free(d->tokenizer);
    free(d->text);
    free(d->held_out_text);
    free(d->world);
}
