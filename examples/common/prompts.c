#include "common/prompts.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

bool prompts_open(app *a, const llama2_tokenizer *tokenizer, const args_list *files, int64_t max_tokens,
                  prompt_set *set)
{
    char error[1024];
    records all = {0};
    bool ok = true;
    *set = (prompt_set){0};
    for (size_t i = 0; ok && i < files->count; i++)
        ok = records_read(&all, files->items[i], RECORD_PROMPT, error, sizeof error) || app_fail(a, "%s", error);
    ok = ok && prompts_encode(a, tokenizer, &all, max_tokens, set);
    set->records = all;
    return ok;
}

bool prompts_encode(app *a, const llama2_tokenizer *tokenizer, const records *all, int64_t max_tokens, prompt_set *set)
{
    bool ok = true;
    *set = (prompt_set){0};
    if (max_tokens < 8)
        return app_fail(a, "the context of the model leaves %lld tokens for a prompt; give a smaller --max-new-tokens",
                        (long long)max_tokens);
    int32_t *tokens = app_must(malloc((size_t)max_tokens * sizeof *tokens));
    set->of = app_must(malloc((all->n + 1) * sizeof *set->of));
    for (size_t i = 0; ok && i < all->n; i++) {
        const record *r = &all->items[i];
        char place[RECORD_PLACE];
        int64_t n = record_encode(tokenizer, r, NULL, tokens, NULL, max_tokens);
        ok = n >= 0 || app_fail(a, "%s: %s", record_place(r, "prompt", i, place), llama2_last_error());
        if (n <= 0) continue;
        set->of[set->tokens.n] = r;
        examples_add(&set->tokens, tokens, NULL, n, n);
    }
    free(tokens);
    if (ok && set->tokens.n == 0)
        ok = app_fail(a, "there is no prompt of at most %lld tokens to sample from", (long long)max_tokens);
    if (ok && set->tokens.n < all->n && !a->args.quiet)
        fprintf(stderr, "%s: %zu of %zu prompts are too long and left out\n", a->program->name, all->n - set->tokens.n,
                all->n);
    return ok && app_try(a, llama2_packer_create(a->ctx, NULL, &set->packer), "packing");
}

bool prompts_batch(app *a, prompt_set *set, const size_t *index, size_t n, llama2_batch *batch)
{
    return examples_batch(a, &set->tokens, index, n, set->packer, batch);
}

char *prompts_answer(app *a, const llama2_tokenizer *tokenizer, const int32_t *ids, int64_t n)
{
    size_t size = 0;
    if (!app_try(a, llama2_tokenizer_decode(tokenizer, ids, n, 0, NULL, 0, &size), "decoding")) return NULL;
    char *text = app_must(malloc(size + 1));
    if (!app_try(a, llama2_tokenizer_decode(tokenizer, ids, n, 0, text, size, &size), "decoding")) {
        free(text);
        return NULL;
    }
    while (size > 0 && text[size - 1] == ' ') size--;
    text[size] = 0;
    size_t first = strspn(text, " ");
    memmove(text, text + first, size - first + 1);
    return text;
}

bool prompts_marked(app *a, const llama2_tokenizer *tokenizer, const char *answer, bool *marked)
{
    static const int32_t roles[] = {LLAMA2_ROLE_USER, LLAMA2_ROLE_ASSISTANT};
    const char *texts[] = {"", answer};
    llama2_chat chat;
    llama2_chat_init(&chat, sizeof chat);
    chat.n_messages = 2;
    chat.roles = roles;
    chat.texts = texts;
    llama2_status status = llama2_chat_encode(tokenizer, &chat, LLAMA2_CHAT_COMPLETE, NULL, NULL, 0, NULL);
    *marked = status == LLAMA2_E_INJECTION;
    return *marked || app_try(a, status, "answer");
}

int32_t prompts_progress(void *bar, const llama2_rollout_event *event)
{
    progress_update(bar, (uint64_t)event->samples_done, "sampling");
    return 0;
}

void prompts_close(prompt_set *set)
{
    llama2_packer_free(set->packer);
    examples_free(&set->tokens);
    records_free(&set->records);
    free(set->of);
    *set = (prompt_set){0};
}

double judges_raw_threshold(const judges *j)
{
    return log(j->threshold / (1 - j->threshold));
}

bool judges_open(app *a, judges *j, const char *out)
{
    return (!out || (app_apart(a, out, "--reward", j->helpful_path) &&
                     (!j->safety_path || app_apart(a, out, "--safety-reward", j->safety_path)))) &&
           app_try(a, llama2_reward_model_load(a->ctx, j->helpful_path, NULL, &j->helpful), "reward model") &&
           (!j->safety_path ||
            app_try(a, llama2_reward_model_load(a->ctx, j->safety_path, NULL, &j->safety), "safety reward model"));
}

bool judges_score_as(app *a, const judges *j, const uint8_t *is_safety, bool whiten, llama2_rollouts *rollouts)
{
    llama2_rollouts_view v = {.struct_size = sizeof v};
    llama2_combine_options o;
    llama2_combine_options_init(&o, sizeof o);
    o.whiten = whiten;
    o.threshold = j->threshold;
    o.missing_eos_penalty = j->eos_penalty;
    if (!app_try(a, llama2_rollouts_score_into(rollouts, j->helpful, LLAMA2_ROLLOUTS_HELPFUL_SCORES), "scoring") ||
        !app_try(a, llama2_rollouts_view_get(rollouts, &v), "scoring"))
        return false;
    /* With one model the two scores are the same, and so is what the combination takes. */
    llama2_status status =
        j->safety ? llama2_rollouts_score_into(rollouts, j->safety, LLAMA2_ROLLOUTS_SAFETY_SCORES)
                  : llama2_rollouts_set(rollouts, LLAMA2_ROLLOUTS_SAFETY_SCORES, v.helpful_scores, v.n_samples);
    return app_try(a, status, "scoring") && app_try(a, llama2_rollouts_combine(rollouts, is_safety, &o), "scoring");
}

bool judges_score(app *a, const judges *j, const prompt_set *set, const size_t *index, bool whiten,
                  llama2_rollouts *rollouts)
{
    llama2_rollouts_view v = {.struct_size = sizeof v};
    if (!app_try(a, llama2_rollouts_view_get(rollouts, &v), "scoring")) return false;
    int32_t n = v.n_samples / v.samples_per_prompt;
    uint8_t *is_safety = app_must(malloc((size_t)n));
    for (int32_t i = 0; i < n; i++) is_safety[i] = set->of[index[i]]->is_safety;
    bool ok = judges_score_as(a, j, is_safety, whiten, rollouts);
    free(is_safety);
    return ok;
}

void judges_close(judges *j)
{
    llama2_reward_model_free(j->helpful);
    llama2_reward_model_free(j->safety);
}
