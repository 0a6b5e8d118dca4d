/* Data of the host's own, a folder of files in the formats of docs/formats.md. */
#include "pipeline/pipeline.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_TOKENS = 256 }; /* of a dialogue, and the context of the model */

/* All but the last tenth of a text is trained on; the last tenth is held out. */
static bool add_text(app *a, const char *path, pipeline_data *d)
{
    size_t size;
    int64_t n;
    char *text = app_read(a, path, &size);
    int32_t *ids = text ? app_encode(a, d->tokenizer, text, size, app_document_flags(d->tokenizer), &n) : NULL;
    if (ids) {
        int64_t train = n - n / 10;
        add_tokens(&d->text, &d->n_text, ids, train);
        add_tokens(&d->held_out_text, &d->n_held_out_text, ids + train, n - train);
    }
    free(text);
    free(ids);
    return ids != NULL;
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

/* Demonstrations, and what comparisons prefer, are pretrained on too, a paragraph a message: SFT then begins with their
 * words known. */
static bool add_dialogues(app *a, const records *r, pipeline_data *d)
{
    for (size_t i = 0; i < r->n; i++) {
        const record *one = &r->items[i];
        size_t size = strlen(one->answer), at = 0;
        int64_t n;
        for (int32_t k = 0; k < one->n_messages; k++) size += strlen(one->texts[k]) + 2;
        char *text = app_must(malloc(size + 1));
        for (int32_t k = 0; k < one->n_messages; k++) at += (size_t)sprintf(text + at, "%s\n\n", one->texts[k]);
        strcpy(text + at, one->answer);
        int32_t *ids =
            app_encode(a, d->tokenizer, text, size, app_document_flags(d->tokenizer) | LLAMA2_ENCODE_EOS, &n);
        free(text);
        if (!ids) return false;
        add_tokens(&d->text, &d->n_text, ids, n);
        free(ids);
    }
    return true;
}

/* Prompts of the comparisons, each once: to sample from (those in training) or to evaluate on (held out). */
static void add_prompts(records *to, records_seen *seen, const records *from, bool is_safety, size_t most)
{
    for (size_t i = 0, added = 0; i < from->n && added < most; i++) {
        const record *r = &from->items[i];
        if (!records_see(seen, r->id)) continue;
        records_add(to, r->roles, (const char *const *)r->texts, r->n_messages, NULL, NULL)->is_safety = is_safety;
        added++;
    }
}

/* By the prompt that a dialogue begins with: a held-out one is not the beginning of a longer one that is trained on. */
static bool begins_held_out(const record *r, uint64_t every)
{
    return record_first_prompt(r) % every == 0;
}

static bool load_all(app *a, const char *folder, pipeline_data *d)
{
    struct dirent **names;
    char path[4096], error[4096] = "";
    bool ok = true;
    int n = scandir(folder, &names, NULL, alphasort);
    if (n < 0) return app_fail(a, "%s: is not a folder that can be read", folder);
    for (int i = 0; i < n; i++) {
        const char *name = names[i]->d_name;
        bool jsonl = ends_with(name, ".jsonl") || ends_with(name, ".jsonl.gz");
        snprintf(path, sizeof path, "%s/%s", folder, name);
        if (ok && jsonl && contains(name, "helpful"))
            ok = records_read(&d->helpful, path, RECORD_COMPARISON, error, sizeof error);
        else if (ok && jsonl && (contains(name, "harmless") || contains(name, "safety")))
            ok = records_read(&d->safety, path, RECORD_COMPARISON, error, sizeof error);
        else if (ok && jsonl)
            ok = records_read(&d->demonstrations, path, RECORD_DEMONSTRATION, error, sizeof error);
        else if (ok && ends_with(name, ".txt"))
            ok = add_text(a, path, d);
        free(names[i]);
    }
    free(names);
    return ok || (*error ? app_fail(a, "%s", error) : false);
}

/* What has a marker of the chat format is told at once, not after pretraining. */
static bool check_demonstrations(app *a, const pipeline_data *d)
{
    int32_t tokens[MAX_TOKENS];
    float weights[MAX_TOKENS];
    char place[RECORD_PLACE];
    for (size_t i = 0; i < d->demonstrations.n; i++) {
        const record *r = &d->demonstrations.items[i];
        if (record_encode(d->tokenizer, r, r->answer, tokens, weights, MAX_TOKENS) < 0)
            return app_fail(a, "%s: %s", record_place(r, "demonstration", i, place), llama2_last_error());
    }
    return true;
}

bool data_from_files(app *a, const char *folder, bool tiny, pipeline_data *d, pipeline_settings *s)
{
    char path[4096];
    records unused = {0};
    records_seen helpful = {0}, safety = {0}; /* no prompt is on both sides, so that one set does for both */
    d->name = folder;
    snprintf(path, sizeof path, "%s/llama2-tokenizer.model", folder);
    FILE *there = fopen(path, "rb");
    if (there)
        fclose(there);
    else
        snprintf(path, sizeof path, "%s/tokenizer.model", folder);
    if (!app_try(a, llama2_tokenizer_load(a->ctx, path, NULL, &d->tokenizer), "tokenizer") || !load_all(a, folder, d))
        return false;
    const char *missing = d->n_text < 1000           ? "text (*.txt) to pretrain on"
                          : d->demonstrations.n == 0 ? "demonstrations (*.jsonl)"
                          : d->helpful.n == 0        ? "comparisons for helpfulness (*helpful*.jsonl)"
                          : d->safety.n == 0         ? "comparisons for safety (*harmless*.jsonl or *safety*.jsonl)"
                                                     : NULL;
    if (missing) return app_fail(a, "%s: holds no %s", folder, missing);
    if (!check_demonstrations(a, d)) return false;
    split_by_prompt(&d->demonstrations, &unused, begins_held_out, 10);
    records_free(&unused);
    split_by_prompt(&d->helpful, &d->held_out_helpful, begins_held_out, 10);
    if (!add_dialogues(a, &d->demonstrations, d) || !add_dialogues(a, &d->helpful, d)) return false;
    split_by_prompt(&d->safety, &d->held_out_safety, begins_held_out, 10);
    if (d->held_out_helpful.n == 0 || d->held_out_safety.n == 0)
        return app_fail(a, "%s: has too few comparisons for %s: one prompt in ten is held out, and here none is",
                        folder, d->held_out_helpful.n == 0 ? "helpfulness" : "safety");
    add_prompts(&d->prompts, &helpful, &d->helpful, false, 1500);
    add_prompts(&d->prompts, &safety, &d->safety, true, 500);
    add_prompts(&d->evaluation, &helpful, &d->held_out_helpful, false, 48);
    add_prompts(&d->evaluation, &safety, &d->held_out_safety, true, 48);
    free(helpful.hashes);
    free(safety.hashes);

    *s = (pipeline_settings){
        .pretrain_steps = 1500,
        .pretrain_batch = 16,
        .pretrain_length = 128,
        .pretrain_lr = 2e-3,
        .sft_epochs = 12,
        .sft_batch = 16,
        .sft_lr = 6e-4,
        .pairs = 1200,
        .reward_batch = 32,
        .reward_epochs = 1,
        .reward_lr = 2e-4,
        .safety_weight = 1,
        .reject_prompts = 400,
        .reject_samples = 8,
        .reject_epochs = 2,
        .reject_lr = 2e-4,
        .reject_temperature = 1,
        .ppo_iterations = 12,
        .ppo_batch = 64,
        .ppo_minibatch = 16,
        .ppo_lr = 2e-5,
        .critic_lr = 1e-4,
        .ppo_beta = 0.2,
        .max_tokens = MAX_TOKENS,
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
    s->config.max_seq_len = MAX_TOKENS;
    s->config.tied = 1;
    if (tiny) tiny_settings(s);
    return true;
}

void data_free(pipeline_data *d)
{
    records *all[] = {&d->demonstrations, &d->prompts,          &d->evaluation,     &d->helpful,
                      &d->safety,         &d->held_out_helpful, &d->held_out_safety};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) records_free(all[i]);
    llama2_tokenizer_free(d->tokenizer);
    free(d->demonstrated);
    free(d->text);
    free(d->held_out_text);
    free(d->world);
}
