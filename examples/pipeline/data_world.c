/* The embedded world as the pipeline's data: its judge and its annotator know the right answers. */
#include "common/world.h"
#include "pipeline/pipeline.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_PROMPTS = 6000, MOST_EVALUATIONS = 88 * WORLD_N_KINDS };
enum { SAFETY_EVERY = 3 }; /* a third of the prompts are about safety */

typedef struct sizes {
    uint64_t documents, held_out_documents, demonstrations, prompts, evaluations, first_helpful, first_safety;
} sizes;

/* The ablations compare reward models that know the facts after one epoch: while they are learning them (as they are
 * with 9,000 comparisons) two trainings differ by more than any two margins do. */
static const sizes sizes_of[] = {
    [WORLD_CHAIN] = {30000, 600, 8000, MOST_PROMPTS, 22 * WORLD_N_KINDS, 2500, 1200},
    [WORLD_LOOP] = {30000, 600, 8000, MOST_PROMPTS, MOST_EVALUATIONS, 6000, 2400},
    [WORLD_ABLATIONS] = {30000, 600, 8000, MOST_PROMPTS, MOST_EVALUATIONS, 30000, 9000},
    [WORLD_TINY] = {300, 60, 120, 240, 2 * WORLD_N_KINDS, 120, 120},
    [WORLD_REAL_MODEL] = {0, 0, 1000, MOST_PROMPTS, 8 * WORLD_N_KINDS, 600, 300},
};

typedef struct embedded {
    uint64_t seed;
    world_prompt prompts[MOST_PROMPTS], evaluation[MOST_EVALUATIONS];
} embedded;

static void add_record(records *to, const world_prompt *w, const char *answer, const char *rejected)
{
    static const int32_t roles[] = {LLAMA2_ROLE_USER, LLAMA2_ROLE_ASSISTANT, LLAMA2_ROLE_USER};
    const char *texts[] = {w->user[0], w->reply, w->user[1]};
    record *r = records_add(to, roles, texts, w->turns == 2 ? 3 : 1, answer, rejected);
    r->is_safety = w->is_safety;
}

/* The open data that reward models start from. */
static void add_first_preferences(uint64_t seed, world_topic topic, uint64_t n, records *train, records *held_out)
{
    for (uint64_t i = 0; i < n; i++) {
        world_preference w;
        world_first_preference(seed, i, topic, &w);
        const world_label *l = &w.label;
        add_record(train, &w.prompt, w.answers[l->chosen], w.answers[1 - l->chosen]);
        record *r = &train->items[train->n - 1];
        r->rating = (int32_t)l->degree;
        r->chosen_safe = l->safe[l->chosen];
        r->rejected_safe = l->safe[1 - l->chosen];
    }
    split_by_prompt(train, held_out, is_held_out, HELD_OUT_EVERY);
}

/* Documents begin with BOS, so that the model learns where texts begin. */
static bool encode_documents(app *a, const llama2_tokenizer *t, uint64_t seed, uint64_t first, uint64_t n,
                             int32_t **tokens, int64_t *count)
{
    char text[WORLD_DOCUMENT];
    for (uint64_t i = first; i < first + n; i++) {
        size_t length = world_document(seed, i, text);
        int64_t one;
        int32_t *ids = app_encode(a, t, text, length, LLAMA2_ENCODE_BOS | LLAMA2_ENCODE_EOS, &one);
        if (!ids) return false;
        add_tokens(tokens, count, ids, one);
        free(ids);
    }
    return true;
}

static gold verdict(const world_prompt *w, const char *answer)
{
    world_verdict v;
    double score = world_judge(w, answer, strlen(answer), &v);
    return (gold){score, v.correct, v.refused, w->must_refuse, w->is_safety};
}

static void judge(const pipeline_data *d, bool evaluation, size_t index, const char *answer, gold *out)
{
    const embedded *e = d->world;
    *out = verdict(evaluation ? &e->evaluation[index] : &e->prompts[index], answer);
}

static bool sorts(const pipeline_data *d, bool evaluation, size_t index)
{
    const embedded *e = d->world;
    return (evaluation ? e->evaluation : e->prompts)[index].kind == WORLD_ORDER;
}

static bool annotate(const pipeline_data *d, size_t index, const char *first, const char *second, record *out)
{
    const embedded *e = d->world;
    world_label label;
    world_annotate(e->seed, index, &e->prompts[index], first, second, &label);
    out->rating = (int32_t)label.degree;
    out->chosen_safe = label.safe[label.chosen];
    out->rejected_safe = label.safe[1 - label.chosen];
    return label.chosen == 0;
}

/* A version collects fewer comparisons than the chain does at once: they add up. Reward models take more and smaller
 * steps than in the chain: to fit their first batches they need not know the facts, to help a second version they do.
 */
static void loop_settings(pipeline_settings *s)
{
    s->sampled_pairs = 1800;
    s->reward_batch = 8;
    s->reward_lr = 5e-4;
    s->reward_epochs = 2;
    s->tune_prompts = 64;
    s->reject_prompts = 96;
    s->reject_shift = 48;
    s->replay_prompts = 1600;
    s->reject_temperature = 0.6; /* of the ablations: what the loop comes to */
    s->ppo_iterations = 60;
    s->ppo_every = 10;
    s->ppo_patience = 3;
    s->ppo_held_out = 256;
    s->ppo_lr = 1e-4;
    s->ppo_batch = 512;
    s->ppo_minibatch = 128;
    s->ppo_beta = 0.1;
    s->save_every = 200;
    s->config.max_seq_len = 768; /* twenty turns of a dialogue (Ghost Attention) */
    s->gatt_dialogues = 300;
    s->gatt_turns = 20;
    s->gatt_evaluations = 100;
    s->distill_prompts = 400;
    s->longer_epochs = 60;
}

/* A model a hundred times as large, that can talk already: fewer of everything, in the paper's smaller steps where two
 * epochs of so little still teach something. Hours on two cores. */
static void real_settings(pipeline_settings *s)
{
    s->sft_epochs = 2;
    s->sft_batch = 16;
    s->sft_lr = 5e-5;
    s->sampled_pairs = 300;
    s->reward_lr = 2e-5;
    s->tune_prompts = 16;
    s->reject_prompts = 64;
    s->reject_samples = 4;
    s->reject_shift = 32;
    s->replay_prompts = 64;
    s->reject_lr = 2e-5;
    s->ppo_iterations = 8;
    s->ppo_every = 4;
    s->ppo_held_out = 32;
    s->ppo_batch = 64;
    s->ppo_minibatch = 16;
    s->ppo_lr = 5e-6;
    s->critic_lr = 1e-5;
    s->max_tokens = 320;
    s->save_every = 50;
    s->gatt_dialogues = 40;
    s->gatt_turns = 6;
    s->gatt_evaluations = 16;
    s->distill_prompts = 64;
}

/* Those of a model folder or file. */
static bool open_model(app *a, pipeline_data *d, pipeline_settings *s)
{
    llama2_model *model = NULL;
    s->config.struct_size = sizeof s->config;
    bool ok = app_load_to_read(a, a->args.model, &model, &d->tokenizer) &&
              app_try(a, llama2_model_config(model, &s->config), "model");
    llama2_model_free(model);
    return ok;
}

static bool open_own(app *a, pipeline_data *d, uint64_t seed, const sizes *n)
{
    return app_try(a,
                   llama2_tokenizer_load_memory(a->ctx, world_tokenizer_model, world_tokenizer_model_size, NULL,
                                                &d->tokenizer),
                   "tokenizer") &&
           encode_documents(a, d->tokenizer, seed, 0, n->documents, &d->text, &d->n_text) &&
           encode_documents(a, d->tokenizer, seed, n->documents, n->held_out_documents, &d->held_out_text,
                            &d->n_held_out_text);
}

bool data_from_world(app *a, world_size size, pipeline_data *d, pipeline_settings *s)
{
    const sizes *n = &sizes_of[size];
    embedded *e = app_must(calloc(1, sizeof *e));
    e->seed = WORLD_SEED + a->args.seed;
    d->name = "the embedded world";
    d->world = e;
    d->judge = judge;
    d->annotate = annotate;
    d->sorts = sorts;
    if (!a->args.model && !open_own(a, d, e->seed, n)) return false;
    d->demonstrated = app_must(calloc(n->demonstrations, sizeof *d->demonstrated));
    for (uint64_t i = 0; i < n->demonstrations; i++) {
        world_demonstration w;
        world_demonstrate(e->seed, i, &w);
        d->demonstrated[i] = verdict(&w.prompt, w.answer);
        add_record(&d->demonstrations, &w.prompt, w.answer, NULL);
    }
    for (uint64_t i = 0; i < n->prompts; i++) {
        world_training_prompt(e->seed, i, i % SAFETY_EVERY == 0 ? WORLD_SAFETY : WORLD_HELPFUL, &e->prompts[i]);
        add_record(&d->prompts, &e->prompts[i], NULL, NULL);
    }
    for (uint64_t i = 0; i < n->evaluations; i++) {
        world_evaluation_prompt(i, &e->evaluation[i]);
        add_record(&d->evaluation, &e->evaluation[i], NULL, NULL);
    }
    add_first_preferences(e->seed, WORLD_HELPFUL, n->first_helpful, &d->helpful, &d->held_out_helpful);
    add_first_preferences(e->seed, WORLD_SAFETY, n->first_safety, &d->safety, &d->held_out_safety);

    *s = (pipeline_settings){
        .pretrain_steps = 2400,
        .pretrain_batch = 16,
        .pretrain_length = 64,
        .pretrain_lr = 3e-3,
        .sft_epochs = 3,
        .sft_batch = 64,
        .sft_lr = 1e-3,
        .sampled_pairs = 4000,
        .pairs = 5000,
        .reward_batch = 32,
        .reward_epochs = 1,
        .reward_lr = 3e-4,
        .safety_weight = 1,
        .reject_prompts = 1000,
        .reject_samples = 8,
        .reject_epochs = 2,
        .reject_lr = 3e-4,
        .reject_temperature = 1,
        .ppo_iterations = 60,
        .ppo_batch = 128,
        .ppo_minibatch = 32,
        .ppo_lr = 5e-5,
        .critic_lr = 3e-4,
        .ppo_beta = 0.2,
        .max_tokens = 160,
        .max_new_tokens = 40,
    };
    llama2_config_init(&s->config, sizeof s->config);
    s->config.dim = 128;
    s->config.n_layers = 4;
    s->config.n_heads = 4;
    s->config.n_kv_heads = 2;
    s->config.head_dim = 32;
    s->config.ffn_dim = 352;
    s->config.max_seq_len = 192;
    if (size != WORLD_CHAIN) loop_settings(s);
    if (size == WORLD_TINY) tiny_settings(s);
    if (size == WORLD_REAL_MODEL) real_settings(s);
    if (a->args.model) {
        if (!open_model(a, d, s)) return false;
        if (s->max_tokens > s->config.max_seq_len) s->max_tokens = s->config.max_seq_len;
        return s->max_tokens > 2 * s->max_new_tokens ||
               app_fail(a, "%s: a context of %d tokens has no room for prompts and answers", a->args.model,
                        s->config.max_seq_len);
    }
    s->config.vocab_size = llama2_tokenizer_vocab_size(d->tokenizer);
    return true;
}
