/*
 * Every allocation of a call fails, once and for ever after: the call says NOMEM, nothing leaks, and when it is made
 * again with memory the outcome is that of a call that never failed. One row of the table is one call.
 * (tests/unit/train/test_nomem.c does the same to a whole run.)
 */
#include "train/preference_test.h"

#include "base/fixture.h"

#include "base/checksum.h"

#include <unistd.h>

enum { CELLS = 30 * 37 };

/* Whatever the calls need or make; freed as a whole. */
typedef struct world {
    fault_allocator memory;
    llama2_context *ctx;
    llama2_config config;
    llama2_model_options model_options;
    small_batch batch;
    llama2_model *model, *made;
    llama2_session *session, *other;
    llama2_optimizer *optimizer, *critic_optimizer;
    llama2_trainer *trainer, *critic_trainer;
    llama2_reward_model *reward;
    llama2_tokenizer *tokenizer;
    llama2_rollouts *rollouts, *moved;
    llama2_preferences *preferences;
    llama2_comparisons *comparisons;
    llama2_gatt *gatt;
    llama2_packer *packer;
    uint8_t keep[16];
    float out[CELLS], more[CELLS];
    double number;
    int32_t token;
    char path[96];
} world;

typedef struct call {
    const char *name;
    int32_t dtype;
    void (*prepare)(world *w); /* may be NULL */
    llama2_status (*run)(world *w);
    int least; /* allocations that it makes, at least: the test is about something */
    int keeps; /* 1: a part of the work may stay done, the outcome is not compared */
} call;

/* --- calls ----------------------------------------------------------------------------------- */

static llama2_status create(world *w)
{
    return llama2_model_create(w->ctx, &w->config, &w->model_options, &w->made);
}
static llama2_status clone(world *w)
{
    return llama2_model_clone(w->model, &w->made);
}
static llama2_status save(world *w)
{
    return llama2_model_save(w->model, w->path, LLAMA2_BF16);
}
static void saved(world *w)
{
    ck_ok(llama2_model_save(w->model, w->path, LLAMA2_F32));
}
static llama2_status load(world *w)
{
    return llama2_model_load(w->ctx, w->path, &w->model_options, &w->made);
}
static llama2_status logits(world *w)
{
    return llama2_model_logits(w->model, &w->batch.batch, w->out);
}
static llama2_status hidden(world *w)
{
    return llama2_model_hidden(w->model, &w->batch.batch, w->out);
}
static llama2_status logprobs(world *w)
{
    return llama2_model_logprobs(w->model, &w->batch.batch, 0.9, w->out, w->more);
}

static llama2_status evaluate(world *w)
{
    llama2_loss loss = {.struct_size = sizeof loss};
    llama2_status status = llama2_model_evaluate(w->model, &w->batch.batch, &loss);
    w->number = loss.sum;
    return status;
}

static llama2_status session_create(world *w)
{
    return llama2_session_create(w->model, &w->session);
}

static void with_session(world *w)
{
    ck_ok(llama2_session_create(w->model, &w->session));
    for (int i = 0; i < 8; i++)
        ck_ok(llama2_session_feed(w->session, w->batch.tokens, 30)); /* 240 of 320 positions, nearly all blocks used */
}

static llama2_status session_feed(world *w)
{
    int64_t before = llama2_session_position(w->session);
    float row[37];
    ck_ok(llama2_session_logits(w->session, w->out, 37, NULL));
    llama2_status status = llama2_session_feed(w->session, w->batch.tokens, 30);
    if (status < 0) { /* as if it had not been called */
        ck_assert_int_eq(llama2_session_position(w->session), before);
        ck_ok(llama2_session_logits(w->session, row, 37, NULL));
        ck_assert_mem_eq(row, w->out, sizeof row);
        return status;
    }
    ck_ok(llama2_session_logits(w->session, w->more, 37, NULL));
    return status;
}

static void with_sessions(world *w)
{
    with_session(w);
    ck_ok(llama2_session_create(w->model, &w->other));
}

/* Whoever comes first keeps nothing of it where the other fails. */
static llama2_status session_feed_batch(world *w)
{
    llama2_session *const both[] = {w->session, w->other};
    static const int64_t offsets[] = {0, 20, 30}; /* the first one grows */
    int64_t before = llama2_session_position(w->session);
    llama2_status status = llama2_session_feed_batch(both, 2, w->batch.tokens, offsets);
    if (status < 0) {
        ck_assert_int_eq(llama2_session_position(w->session), before);
        ck_assert_int_eq(llama2_session_position(w->other), 0);
        return status;
    }
    ck_ok(llama2_session_logits(w->session, w->more, 37, NULL));
    ck_ok(llama2_session_logits(w->other, w->out, 37, NULL));
    return status;
}

static llama2_status session_sample(world *w)
{
    llama2_sampling o;
    llama2_sampling_init(&o, sizeof o);
    o.presence_penalty = 1;
    return llama2_session_sample(w->session, &o, &w->token, w->out);
}

static llama2_status session_top(world *w)
{
    int32_t ids[5];
    return llama2_session_top(w->session, 1, 5, ids, w->out);
}

static void with_tokenizer(world *w)
{
    w->tokenizer = small_tokenizer(w->ctx);
}

/* Stop strings where there is a tokenizer. */
static llama2_status rollout(world *w)
{
    static const char *const stops[] = {"abb", "ba"};
    llama2_rollout_options o;
    llama2_rollout_options_init(&o, sizeof o);
    o.samples_per_prompt = 2;
    o.max_new_tokens = 6;
    o.max_parallel = 3;
    o.tokenizer = w->tokenizer;
    o.stops = stops;
    o.n_stops = w->tokenizer ? 2 : 0;
    return llama2_rollout(w->model, &w->batch.batch, &o, &w->rollouts);
}

static void with_optimizer(world *w)
{
    ck_ok(llama2_optimizer_create(w->ctx, NULL, &w->optimizer));
}
static llama2_status trainer_create(world *w)
{
    return llama2_trainer_create(w->ctx, w->model, w->optimizer, NULL, &w->trainer);
}

static void with_trainer(world *w)
{
    with_optimizer(w);
    ck_ok(trainer_create(w));
}

static llama2_status accumulate(world *w)
{
    llama2_loss loss = {.struct_size = sizeof loss};
    llama2_status status = llama2_trainer_accumulate(w->trainer, &w->batch.batch, &loss);
    w->number = loss.sum;
    if (status < 0) ck_fails(llama2_trainer_update(w->trainer, NULL), LLAMA2_E_STATE); /* nothing of it is left */
    return status;
}

static void with_gradients(world *w)
{
    with_trainer(w);
    ck_ok(llama2_trainer_accumulate(w->trainer, &w->batch.batch, NULL));
}

static llama2_status update(world *w)
{
    return llama2_trainer_update(w->trainer, NULL);
}
static llama2_status pretrain(world *w)
{
    return llama2_pretrain_step(w->trainer, &w->batch.batch, NULL);
}
static llama2_status reward_create(world *w)
{
    return llama2_reward_model_create(w->ctx, w->model, NULL, &w->reward);
}

static void with_critic(world *w)
{
    ck_ok(reward_create(w));
    ck_ok(llama2_optimizer_create(w->ctx, NULL, &w->critic_optimizer));
    ck_ok(llama2_trainer_create_for_reward(w->ctx, w->reward, w->critic_optimizer, NULL, &w->critic_trainer));
}

static llama2_status reward_step(world *w)
{
    llama2_pairs pairs = {.struct_size = sizeof pairs, .n_pairs = 2, .batch = &w->batch.batch};
    return llama2_reward_step(w->critic_trainer, &pairs, NULL);
}

static llama2_status score(world *w)
{
    return llama2_reward_model_score(w->reward, &w->batch.batch, w->out);
}

static void with_rollouts(world *w)
{
    with_critic(w);
    ck_ok(rollout(w));
}

static llama2_status rollouts_score(world *w)
{
    return llama2_rollouts_score(w->rollouts, w->reward);
}
static llama2_status reference(world *w)
{
    return llama2_rollouts_reference(w->rollouts, w->model);
}
static llama2_status values(world *w)
{
    return llama2_rollouts_values(w->rollouts, w->reward);
}

static llama2_status after(world *w)
{
    return llama2_rollouts_after(w->rollouts, &w->batch.batch, &w->moved);
}

static void with_packer(world *w)
{
    with_rollouts(w);
    ck_ok(llama2_packer_create(w->ctx, NULL, &w->packer));
    ck_ok(llama2_packer_add(w->packer, w->batch.tokens, NULL, 20));
}

static llama2_status pack(world *w)
{
    llama2_status status = llama2_rollouts_pack(w->rollouts, NULL, w->packer);
    if (status < 0) ck_assert_int_eq(llama2_packer_tokens(w->packer), 20);
    w->number = (double)llama2_packer_tokens(w->packer);
    return status;
}

static llama2_status distill(world *w)
{
    llama2_rollout_options o;
    llama2_rollout_options_init(&o, sizeof o);
    o.max_new_tokens = 4;
    return llama2_distill(w->model, w->reward, &w->batch.batch, &w->batch.batch, &o, &w->moved, &w->rollouts, w->keep,
                          NULL);
}

static llama2_status gatt_create(world *w)
{
    static const int32_t turns[] = {2, 1};
    static const char *const messages[] = {"a", "b", "ab"}, *const instructions[] = {"abb", "ba"};
    const llama2_gatt_dialogues d = {.struct_size = sizeof d,
                                     .n_dialogues = 2,
                                     .n_turns = turns,
                                     .messages = messages,
                                     .instructions = instructions};
    return llama2_gatt_create(w->tokenizer, &d, NULL, &w->gatt);
}

static void with_gatt(world *w)
{
    with_tokenizer(w);
    ck_ok(gatt_create(w));
}

static llama2_status gatt_turn(world *w)
{
    llama2_rollout_options o;
    llama2_gatt_answer a = {.struct_size = sizeof a};
    int32_t left = llama2_gatt_turns_left(w->gatt), turn = 2 - left;
    llama2_rollout_options_init(&o, sizeof o);
    o.max_new_tokens = 5;
    llama2_status status = llama2_gatt_turn(w->gatt, w->model, &o, NULL);
    ck_ok(llama2_gatt_answer_get(w->gatt, 0, turn, &a));
    if (status < 0) ck_assert(llama2_gatt_turns_left(w->gatt) == left && !a.text); /* as if it had not been called */
    return status;
}

static void with_turns(world *w)
{
    with_gatt(w);
    ck_ok(gatt_turn(w));
    ck_ok(gatt_turn(w));
}

static llama2_status gatt_examples(world *w)
{
    return llama2_gatt_examples(w->gatt, &w->rollouts);
}

static void with_values(world *w)
{
    with_rollouts(w);
    ck_ok(rollouts_score(w));
    ck_ok(reference(w));
    ck_ok(values(w));
}

static llama2_status advantages(world *w)
{
    return llama2_ppo_advantages(w->rollouts, NULL, NULL);
}

static void with_advantages(world *w)
{
    with_values(w);
    with_trainer(w);
    ck_ok(advantages(w));
}

static llama2_status ppo_update(world *w)
{
    return llama2_ppo_update(w->trainer, w->critic_trainer, w->rollouts, NULL, NULL);
}

static void with_preferences(world *w)
{
    with_tokenizer(w);
    ck_ok(llama2_preferences_create(w->ctx, &w->preferences));
    add_choice(w->preferences, "ab", "a", "bb", 1, "ann");
    add_choice(w->preferences, "b", "a", "bb", 0, NULL);
}

static llama2_status preferences_sample(world *w)
{
    static const char *const texts[] = {"a", "abb"};
    const llama2_chat chats[] = {
        {.struct_size = sizeof *chats, .n_messages = 1, .roles = one_role, .texts = texts},
        {.struct_size = sizeof *chats, .n_messages = 1, .roles = one_role, .texts = texts + 1},
    };
    const llama2_chat *const both[] = {&chats[0], &chats[1]};
    llama2_preferences_sample_options o;
    llama2_preferences_sample_options_init(&o, sizeof o);
    o.max_new_tokens = 5;
    llama2_status status = llama2_preferences_sample(w->preferences, w->model, w->model, w->tokenizer, both, 2, &o);
    ck_assert_int_eq(llama2_preferences_count(w->preferences), status < 0 ? 2 : 4);
    return status;
}

static llama2_status comparisons_create(world *w)
{
    llama2_status status =
        llama2_comparisons_create(w->preferences, w->tokenizer, NULL, 0, 2, NULL, NULL, &w->comparisons);
    ck_assert(status == LLAMA2_OK || !w->comparisons);
    return status;
}

static void with_comparisons(world *w)
{
    with_preferences(w);
    ck_ok(comparisons_create(w));
}

static llama2_status comparisons_pairs(world *w)
{
    llama2_pairs pairs = {.struct_size = sizeof pairs};
    llama2_status status = llama2_comparisons_pairs(w->comparisons, NULL, 0, 2, &pairs);
    if (status >= 0) w->number = (double)pairs.batch->n_tokens + (double)pairs.margins[0];
    return status;
}

static const call calls[] = {
    {"model_create", LLAMA2_F32, NULL, create, 5, 0},
    {"model_clone", LLAMA2_F32, NULL, clone, 5, 0},
    {"model_save", LLAMA2_F32, NULL, save, 5, 0},
    {"model_save over another", LLAMA2_F64, saved, save, 5, 0},
    {"model_load", LLAMA2_F32, saved, load, 10, 0},
    {"model_load, double", LLAMA2_F64, saved, load, 10, 0},
    {"model_logits", LLAMA2_F32, NULL, logits, 5, 0},
    {"model_logits, double", LLAMA2_F64, NULL, logits, 6, 0},
    {"model_hidden", LLAMA2_F32, NULL, hidden, 5, 0},
    {"model_logprobs", LLAMA2_F32, NULL, logprobs, 8, 0},
    {"model_evaluate", LLAMA2_F32, NULL, evaluate, 8, 0},
    {"session_create", LLAMA2_F32, NULL, session_create, 8, 0},
    {"session_create, double", LLAMA2_F64, NULL, session_create, 9, 0},
    {"session_feed", LLAMA2_F32, with_session, session_feed, 4, 0},
    {"session_feed, double", LLAMA2_F64, with_session, session_feed, 4, 0},
    {"session_feed_batch", LLAMA2_F32, with_sessions, session_feed_batch, 4, 0},
    {"session_feed_batch, double", LLAMA2_F64, with_sessions, session_feed_batch, 4, 0},
    {"session_sample with penalties", LLAMA2_F32, with_session, session_sample, 2, 0},
    {"session_top", LLAMA2_F32, with_session, session_top, 2, 0},
    {"rollout", LLAMA2_F32, NULL, rollout, 40, 0},
    {"rollout with stop strings", LLAMA2_F32, with_tokenizer, rollout, 60, 0},
    {"rollout, double", LLAMA2_F64, NULL, rollout, 40, 0},
    {"trainer_create", LLAMA2_F32, with_optimizer, trainer_create, 4, 0},
    {"trainer_accumulate", LLAMA2_F32, with_trainer, accumulate, 10, 0},
    {"trainer_update", LLAMA2_F32, with_gradients, update, 0, 0},
    {"pretrain_step", LLAMA2_F32, with_trainer, pretrain, 10, 0},
    {"reward_model_create", LLAMA2_F32, NULL, reward_create, 6, 0},
    {"reward_step", LLAMA2_F32, with_critic, reward_step, 10, 0},
    {"reward_model_score", LLAMA2_F32, with_critic, score, 6, 0},
    {"rollouts_score", LLAMA2_F32, with_rollouts, rollouts_score, 1, 0},
    {"rollouts_reference", LLAMA2_F32, with_rollouts, reference, 1, 0},
    {"rollouts_values", LLAMA2_F32, with_rollouts, values, 1, 0},
    {"rollouts_after", LLAMA2_F32, with_rollouts, after, 5, 0},
    {"rollouts_pack", LLAMA2_F32, with_packer, pack, 3, 0},
    {"distill", LLAMA2_F32, with_critic, distill, 80, 0},
    {"gatt_create", LLAMA2_F32, with_tokenizer, gatt_create, 15, 0},
    {"gatt_turn", LLAMA2_F32, with_gatt, gatt_turn, 40, 0},
    {"gatt_examples", LLAMA2_F32, with_turns, gatt_examples, 8, 0},
    {"ppo_advantages", LLAMA2_F32, with_values, advantages, 2, 0},
    {"ppo_update", LLAMA2_F32, with_advantages, ppo_update, 5, 1},
    {"preferences_sample", LLAMA2_F32, with_preferences, preferences_sample, 60, 0},
    {"comparisons_create", LLAMA2_F32, with_preferences, comparisons_create, 12, 0},
    {"comparisons_pairs", LLAMA2_F32, with_comparisons, comparisons_pairs, 5, 0},
};
enum { CALLS = sizeof calls / sizeof *calls };

/* --- the test -------------------------------------------------------------------------------- */

static void make_world(world *w, const call *c, const char *folder)
{
    memset(w, 0, sizeof *w);
    w->ctx = make_context(&w->memory, 1);
    w->config = small_config(c->dtype == LLAMA2_F64);
    w->config.n_layers = 1;
    w->config.max_seq_len = 320;
    llama2_model_options_init(&w->model_options, sizeof w->model_options);
    w->model_options.dtype = c->dtype;
    small_batch_init(&w->batch);
    snprintf(w->path, sizeof w->path, "%s/model", folder);
    ck_ok(llama2_model_create(w->ctx, &w->config, &w->model_options, &w->model));
    if (c->prepare) c->prepare(w);
}

static void free_world(world *w)
{
    llama2_comparisons_free(w->comparisons);
    llama2_preferences_free(w->preferences);
    llama2_rollouts_free(w->rollouts);
    llama2_rollouts_free(w->moved);
    llama2_gatt_free(w->gatt);
    llama2_packer_free(w->packer);
    llama2_tokenizer_free(w->tokenizer);
    llama2_session_free(w->session);
    llama2_session_free(w->other);
    llama2_trainer_free(w->trainer);
    llama2_trainer_free(w->critic_trainer);
    llama2_optimizer_free(w->optimizer);
    llama2_optimizer_free(w->critic_optimizer);
    llama2_reward_model_free(w->reward);
    llama2_model_free(w->made);
    llama2_model_free(w->model);
    llama2_context_free(w->ctx);
}

static uint32_t add_weights(uint32_t crc, const llama2_model *m)
{
    int64_t n;
    float *all = all_weights(m, &n);
    crc = l2_crc32c(crc, all, (size_t)n * sizeof *all);
    free(all);
    return crc;
}

static uint32_t add_array(uint32_t crc, const void *array, size_t bytes)
{
    return array ? l2_crc32c(crc, array, bytes) : crc + 1;
}

static uint32_t add_rollouts(uint32_t crc, const llama2_rollouts *rollouts)
{
    llama2_rollouts_view v = view_of(rollouts);
    size_t tokens = (size_t)v.n_tokens * 4, samples = (size_t)v.n_samples * 4;
    crc = add_array(add_array(add_array(crc, v.tokens, tokens), v.logprobs, tokens), v.ref_logprobs, tokens);
    crc = add_array(add_array(add_array(crc, v.values, tokens), v.advantages, tokens), v.scores, samples);
    return add_array(crc, v.safety_scores, samples);
}

/* Of everything that the calls make or change. */
static uint32_t outcome(const world *w)
{
    uint32_t crc = add_weights(0, w->model);
    if (w->made) crc = add_weights(crc, w->made);
    if (w->trainer) {
        int64_t n;
        float *all = all_gradients(w->trainer, w->model, &n);
        crc = l2_crc32c(crc, all, (size_t)n * sizeof *all);
        free(all);
    }
    if (w->reward) {
        float head[24];
        ck_ok(llama2_reward_model_get_tensor(w->reward, "score.weight", head, 24, NULL));
        crc = l2_crc32c(crc, head, sizeof head);
    }
    if (w->moved) crc = add_rollouts(crc, w->moved);
    if (w->rollouts) crc = add_rollouts(crc, w->rollouts);
    for (int32_t turn = 0; w->gatt && turn < 2; turn++) {
        llama2_gatt_answer a = {.struct_size = sizeof a};
        ck_ok(llama2_gatt_answer_get(w->gatt, 0, turn, &a));
        crc = add_array(crc, a.text, a.length);
    }
    if (w->preferences) crc = add_array(crc, &(uint32_t){preferences_crc(w->preferences)}, sizeof crc);
    if (w->comparisons) crc += (uint32_t)llama2_comparisons_count(w->comparisons);
    crc = l2_crc32c(crc, w->keep, sizeof w->keep);
    crc = l2_crc32c(l2_crc32c(crc, w->out, sizeof w->out), w->more, sizeof w->more);
    return l2_crc32c(crc, &w->number, sizeof w->number);
}

static void check_call(const call *c, const char *folder, int for_ever)
{
    static world w; /* large */
    make_world(&w, c, folder);
    long before = atomic_load(&w.memory.calls);
    ck_ok(c->run(&w));
    long n = atomic_load(&w.memory.calls) - before;
    uint32_t expected = outcome(&w);
    free_world(&w);
    ck_assert_msg(n >= c->least, "%s: %ld allocations, expected %d", c->name, n, c->least);
    long failed = 0;
    for (long i = 1; i <= n; i++) {
        make_world(&w, c, folder);
        w.memory.fail_after = for_ever;
        w.memory.fail_at = atomic_load(&w.memory.calls) + i;
        llama2_status status = c->run(&w);
        w.memory.fail_at = 0;
        ck_assert_msg(status == LLAMA2_OK || status == LLAMA2_E_NOMEM, "%s, allocation %ld: %s: %s", c->name, i,
                      llama2_status_name(status), llama2_last_error());
        failed += status < 0;
        if (status < 0) {
            ck_assert_msg(!w.made && (c->run != rollout || !w.rollouts) && !w.moved &&
                              (c->run != session_create || !w.session),
                          "%s: a handle in spite of it", c->name);
            ck_ok(c->run(&w));
        }
        if (!c->keeps)
            ck_assert_msg(outcome(&w) == expected, "%s, allocation %ld (%s): another outcome", c->name, i,
                          llama2_status_name(status));
        free_world(&w);
        ck_assert_msg(atomic_load(&w.memory.live) == 0, "%s, allocation %ld: %ld are left", c->name, i,
                      atomic_load(&w.memory.live));
    }
    ck_assert_msg(c->least == 0 || failed > 0, "%s: no failure", c->name);
}

START_TEST(every_allocation_fails)
{
    char folder[64];
    scratch_folder(folder);
    check_call(&calls[_i], folder, 0);
    check_call(&calls[_i], folder, 1);
    llama2_context *ctx = small_context(1, LLAMA2_ISA_AUTO);
    ck_ok(l2_remove_tree(ctx, folder));
    llama2_context_free(ctx);
}
END_TEST

/* Saving over a model fails anywhere: what is there can still be loaded, and is the old or the new one. */
START_TEST(a_failed_save_leaves_a_model)
{
    static const call over = {"save", LLAMA2_F32, saved, save, 0, 0};
    char folder[64];
    world w;
    scratch_folder(folder);
    for (long i = 1;; i++) {
        make_world(&w, &over, folder);
        ck_ok(llama2_model_set_tensor(w.model, "model.norm.weight", (float[24]){0}, 24));
        w.memory.fail_at = atomic_load(&w.memory.calls) + i;
        llama2_status status = save(&w);
        w.memory.fail_at = 0;
        ck_ok(load(&w));
        float gain[24];
        ck_ok(llama2_model_get_tensor(w.made, "model.norm.weight", gain, 24, NULL));
        ck_assert(gain[0] == 0 || (status < 0 && gain[0] == 1));
        ck_ok(l2_remove_tree(w.ctx, w.path));
        free_world(&w);
        if (status == LLAMA2_OK) break;
        ck_assert_int_lt(i, 1000);
    }
    rmdir(folder);
}
END_TEST

Suite *test_suite(void)
{
    Suite *s = suite_create("api/allocation");
    TCase *tc = tcase_create("failing allocations");
    tcase_set_timeout(tc, 120);
    tcase_add_loop_test(tc, every_allocation_fails, 0, CALLS);
    tcase_add_test(tc, a_failed_save_leaves_a_model);
    suite_add_tcase(s, tc);
    return s;
}
