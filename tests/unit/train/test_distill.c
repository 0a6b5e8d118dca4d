/* Context distillation: the same responses after other prompts, the gate on safety scores, and all of it in one call.
 */
#include "train_test.h"

#include "infer/rollouts.h"

/* --- by hand --------------------------------------------------------------------------------- */

/* Two prompts, K samples of two tokens each, the second of which tells the sample. */
static llama2_rollouts *by_hand(llama2_context *ctx, int32_t k, const float *safety)
{
    int32_t tokens[64], prompts[8];
    int64_t offsets[9] = {0}, n = 0;
    llama2_rollouts *r;
    for (int32_t s = 0; s < 2 * k; s++) {
        prompts[s] = 1 + s / k;
        for (int32_t i = 0; i < prompts[s]; i++) tokens[n++] = 5 + i;
        tokens[n++] = 9;
        tokens[n++] = 20 + s;
        offsets[s + 1] = n;
    }
    llama2_batch batch = {
        .struct_size = sizeof batch, .n_sequences = 2 * k, .n_tokens = n, .tokens = tokens, .offsets = offsets};
    ck_ok(llama2_rollouts_create(ctx, &batch, prompts, k, 21, 0.7, &r));
    if (safety) ck_ok(llama2_rollouts_set(r, LLAMA2_ROLLOUTS_SAFETY_SCORES, safety, 2 * k));
    return r;
}

static const int32_t other_tokens[] = {1, 2, 3, 4};
static const int64_t other_offsets[] = {0, 3, 4};
static const llama2_batch other_prompts = {.struct_size = sizeof other_prompts,
                                           .n_sequences = 2,
                                           .n_tokens = 4,
                                           .tokens = other_tokens,
                                           .offsets = other_offsets};

START_TEST(the_same_responses_after_other_prompts)
{
    llama2_context *ctx = small_context(1, LLAMA2_ISA_AUTO);
    static const float scores[] = {1, 2, 3, 4};
    static const int32_t expected[] = {1, 2, 3, 9, 20, 1, 2, 3, 9, 21, 4, 9, 22, 4, 9, 23};
    llama2_rollouts *r = by_hand(ctx, 2, scores), *moved;
    r->ended_by[2] = LLAMA2_END_STOP;
    r->ended[2] = 1;
    r->ended_by[3] = LLAMA2_END_CONTEXT;
    ck_ok(llama2_rollouts_after(r, &other_prompts, &moved));
    llama2_rollouts_view v = view_of(moved);
    ck_assert_int_eq(v.n_samples, 4);
    ck_assert_int_eq(v.samples_per_prompt, 2);
    ck_assert(v.temperature == 0.7);
    ck_assert_int_eq(v.n_tokens, 16);
    ck_assert_mem_eq(v.tokens, expected, sizeof expected);
    for (int32_t s = 0; s < 4; s++) ck_assert_int_eq(v.prompt_lengths[s], s < 2 ? 3 : 1);
    ck_assert_mem_eq(v.ended, r->ended, 4);
    ck_assert_mem_eq(v.ended_by, r->ended_by, 4);
    ck_assert(v.ended[1] == 1 && v.ended[0] == 0 && v.ended[2] == 1);
    ck_assert(!v.logprobs && !v.scores && !v.safety_scores && !v.values);
    llama2_rollouts_free(r);
    llama2_rollouts_free(moved);
    llama2_context_free(ctx);
}
END_TEST

START_TEST(what_no_response_can_follow)
{
    llama2_context *ctx = small_context(1, LLAMA2_ISA_AUTO);
    llama2_rollouts *r = by_hand(ctx, 2, NULL), *moved = r;
    static const int64_t empty[] = {0, 4, 4}, beyond[] = {0, 3, 5};
    llama2_batch b = other_prompts;
    b.n_sequences = 1;
    ck_fails(llama2_rollouts_after(r, &b, &moved), LLAMA2_E_MISMATCH);
    ck_assert_ptr_null(moved);
    b = other_prompts;
    b.offsets = empty;
    ck_fails(llama2_rollouts_after(r, &b, &moved), LLAMA2_E_INVALID);
    ck_assert_ptr_nonnull(strstr(llama2_last_error(), "prompt 1"));
    b.offsets = beyond;
    ck_fails(llama2_rollouts_after(r, &b, &moved), LLAMA2_E_INVALID);
    b.offsets = NULL;
    ck_fails(llama2_rollouts_after(r, &b, &moved), LLAMA2_E_INVALID);
    ck_fails(llama2_rollouts_after(r, NULL, &moved), LLAMA2_E_INVALID);
    ck_fails(llama2_rollouts_after(NULL, &b, &moved), LLAMA2_E_INVALID);
    ck_fails(llama2_rollouts_after(r, &other_prompts, NULL), LLAMA2_E_INVALID);
    llama2_rollouts_free(r);
    llama2_context_free(ctx);
}
END_TEST

START_TEST(kept_only_where_strictly_safer)
{
    llama2_context *ctx = small_context(1, LLAMA2_ISA_AUTO);
    static const float before[] = {-1, 0.5f, 2, -3}, after[] = {-0.5f, 0.5f, 1, 4};
    llama2_rollouts *a = by_hand(ctx, 2, before), *b = by_hand(ctx, 2, after);
    llama2_distill_metrics m = {.struct_size = sizeof m};
    uint8_t keep[4] = {9, 9, 9, 9};
    ck_ok(llama2_distill_gate(a, b, keep, &m));
    ck_assert_mem_eq(keep, ((uint8_t[]){1, 0, 0, 1}), 4); /* higher, equal, lower, higher */
    ck_assert(m.n_samples == 4 && m.n_kept == 2 && m.n_equal == 1 && m.kept_share == 0.5);
    ck_assert(m.mean_original == -0.375 && m.mean_distilled == 1.25);
    ck_assert(m.mean_kept_original == -2 && m.mean_kept_distilled == 1.75);
    ck_ok(llama2_distill_gate(b, b, keep, NULL));
    ck_assert_mem_eq(keep, ((uint8_t[]){0, 0, 0, 0}), 4);
    ck_ok(llama2_distill_gate(b, b, keep, &m));
    ck_assert(m.n_kept == 0 && m.n_equal == 4 && m.mean_kept_original == 0 && m.mean_kept_distilled == 0);
    llama2_rollouts_free(a);
    llama2_rollouts_free(b);
    llama2_context_free(ctx);
}
END_TEST

START_TEST(a_gate_without_what_it_compares)
{
    llama2_context *ctx = small_context(1, LLAMA2_ISA_AUTO);
    static const float scores[] = {-1, 0, 2, -3};
    llama2_rollouts *a = by_hand(ctx, 2, scores), *b = by_hand(ctx, 2, scores), *none = by_hand(ctx, 2, NULL),
                    *fewer = by_hand(ctx, 1, scores), *moved;
    uint8_t keep[4] = {9, 9, 9, 9};
    ck_fails(llama2_distill_gate(a, none, keep, NULL), LLAMA2_E_STATE);
    ck_fails(llama2_distill_gate(none, a, keep, NULL), LLAMA2_E_STATE);
    ck_fails(llama2_distill_gate(a, fewer, keep, NULL), LLAMA2_E_MISMATCH);
    ck_ok(llama2_rollouts_after(b, &other_prompts, &moved)); /* as if the preprompt were still there */
    ck_ok(llama2_rollouts_set(moved, LLAMA2_ROLLOUTS_SAFETY_SCORES, scores, 4));
    ck_fails(llama2_distill_gate(a, moved, keep, NULL), LLAMA2_E_MISMATCH);
    ck_assert_ptr_nonnull(strstr(llama2_last_error(), "sample 0"));
    b->arrays[LLAMA2_ROLLOUTS_SAFETY_SCORES][3] = NAN; /* which neither a model nor llama2_rollouts_set gives */
    ck_fails(llama2_distill_gate(a, b, keep, NULL), LLAMA2_E_NUMERIC);
    ck_assert_ptr_nonnull(strstr(llama2_last_error(), "distilled sample 3"));
    ck_fails(llama2_distill_gate(b, a, keep, NULL), LLAMA2_E_NUMERIC);
    ck_assert_ptr_nonnull(strstr(llama2_last_error(), "original sample 3"));
    ck_fails(llama2_distill_gate(a, NULL, keep, NULL), LLAMA2_E_INVALID);
    ck_fails(llama2_distill_gate(a, b, NULL, NULL), LLAMA2_E_INVALID);
    ck_assert_mem_eq(keep, ((uint8_t[]){9, 9, 9, 9}), 4);
    llama2_rollouts_free(a);
    llama2_rollouts_free(b);
    llama2_rollouts_free(none);
    llama2_rollouts_free(fewer);
    llama2_rollouts_free(moved);
    llama2_context_free(ctx);
}
END_TEST

/* --- packing --------------------------------------------------------------------------------- */

START_TEST(only_kept_responses_have_a_weight)
{
    llama2_context *ctx = small_context(1, LLAMA2_ISA_AUTO);
    llama2_rollouts *r = by_hand(ctx, 2, NULL);
    llama2_packer *packer;
    llama2_batch b = {.struct_size = sizeof b};
    static const int32_t tokens[] = {7, 8, 5, 9, 21, 5, 6, 9, 22}, all[] = {7, 8, 5, 9, 20, 5, 9, 21, 5, 6, 9, 22};
    static const float weights[] = {1, 1, 0, 1, 1, 0, 0, 1, 1};
    ck_ok(llama2_packer_create(ctx, NULL, &packer));
    ck_ok(llama2_packer_add(packer, (const int32_t[]){7, 8}, NULL, 2));
    ck_ok(llama2_rollouts_pack(r, (const uint8_t[]){0, 1, 1, 0}, packer));
    ck_ok(llama2_packer_batch(packer, &b));
    ck_assert_int_eq(b.n_sequences, 3);
    ck_assert_int_eq(b.n_tokens, 9);
    ck_assert_mem_eq(b.tokens, tokens, sizeof tokens);
    ck_assert_mem_eq(b.loss_weight, weights, sizeof weights);
    llama2_packer_clear(packer);
    ck_ok(llama2_packer_add(packer, (const int32_t[]){7, 8}, NULL, 2));
    r->tokens[r->offsets[3] + 2] = -1; /* what no packer takes: none of the samples is added */
    ck_fails(llama2_rollouts_pack(r, NULL, packer), LLAMA2_E_INVALID);
    ck_assert_int_eq(llama2_packer_tokens(packer), 2);
    ck_ok(llama2_rollouts_pack(r, (const uint8_t[]){1, 1, 1, 0}, packer));
    ck_ok(llama2_packer_batch(packer, &b));
    ck_assert_int_eq(b.n_sequences, 4);
    ck_assert_mem_eq(b.tokens, all, sizeof all);
    ck_fails(llama2_rollouts_pack(r, NULL, NULL), LLAMA2_E_INVALID);
    ck_fails(llama2_rollouts_pack(NULL, NULL, packer), LLAMA2_E_INVALID);
    llama2_packer_free(packer);
    llama2_rollouts_free(r);
    llama2_context_free(ctx);
}
END_TEST

/* --- in one call ----------------------------------------------------------------------------- */

enum { PROMPTS = 5, K = 3, N = PROMPTS * K };

/* Prompts of 2 to 4 tokens, and the same ones behind 6 tokens of preprompt. */
typedef struct prompt_pair {
    int32_t tokens[2][64];
    int64_t offsets[2][PROMPTS + 1];
    llama2_batch bare, preprompted;
} prompt_pair;

static void make_prompts(prompt_pair *p)
{
    memset(p, 0, sizeof *p);
    for (int way = 0; way < 2; way++) {
        int64_t n = 0;
        for (int32_t i = 0; i < PROMPTS; i++) {
            for (int32_t j = 0; way && j < 6; j++) p->tokens[way][n++] = 30 - j;
            for (int32_t j = 0; j < 2 + i % 3; j++) p->tokens[way][n++] = 3 + (i * 5 + j * 11) % 30;
            p->offsets[way][i + 1] = n;
        }
        llama2_batch b = {.struct_size = sizeof b,
                          .n_sequences = PROMPTS,
                          .n_tokens = n,
                          .tokens = p->tokens[way],
                          .offsets = p->offsets[way]};
        *(way ? &p->preprompted : &p->bare) = b;
    }
}

static llama2_rollout_options distill_options(void)
{
    llama2_rollout_options o;
    llama2_rollout_options_init(&o, sizeof o);
    o.samples_per_prompt = K;
    o.max_new_tokens = 9;
    o.seed = 3;
    o.first_sample_id = 100;
    return o;
}

/* All that a call gives, as bytes. */
typedef struct outcome {
    int32_t tokens[2][512];
    float scores[2][N];
    uint8_t keep[N];
    llama2_distill_metrics metrics;
} outcome;

static void distil(int32_t threads, int32_t places, outcome *out)
{
    llama2_context *ctx = small_context(threads, LLAMA2_ISA_AUTO);
    llama2_model *model = small_model(ctx, 0, LLAMA2_F32);
    llama2_reward_model *safety = small_reward_model(ctx, model, LLAMA2_HEAD_NORMAL);
    llama2_rollouts *made[2];
    prompt_pair p;
    llama2_rollout_options o = distill_options();
    memset(out, 0, sizeof *out);
    out->metrics.struct_size = sizeof out->metrics;
    make_prompts(&p);
    o.max_parallel = places;
    ck_ok(llama2_distill(model, safety, &p.bare, &p.preprompted, &o, &made[0], &made[1], out->keep, &out->metrics));
    for (int i = 0; i < 2; i++) {
        llama2_rollouts_view v = view_of(made[i]);
        ck_assert_int_eq(v.n_samples, N);
        memcpy(out->tokens[i], v.tokens, (size_t)v.n_tokens * sizeof *v.tokens);
        memcpy(out->scores[i], v.safety_scores, sizeof out->scores[i]);
        llama2_rollouts_free(made[i]);
    }
    llama2_reward_model_free(safety);
    llama2_model_free(model);
    llama2_context_free(ctx);
}

START_TEST(one_call_is_the_stages_one_by_one)
{
    llama2_context *ctx = small_context(2, LLAMA2_ISA_AUTO);
    llama2_model *model = small_model(ctx, 0, LLAMA2_F32);
    llama2_reward_model *safety = small_reward_model(ctx, model, LLAMA2_HEAD_NORMAL);
    llama2_rollouts *before, *sampled, *after;
    prompt_pair p;
    outcome all;
    uint8_t keep[N];
    llama2_rollout_options o = distill_options();
    llama2_distill_metrics m = {.struct_size = sizeof m};
    distil(1, 0, &all);
    make_prompts(&p);
    ck_ok(llama2_rollout(model, &p.bare, &o, &before));
    o.first_sample_id += N;
    ck_ok(llama2_rollout(model, &p.preprompted, &o, &sampled));
    ck_ok(llama2_rollouts_after(sampled, &p.bare, &after));
    ck_ok(llama2_rollouts_score_into(before, safety, LLAMA2_ROLLOUTS_SAFETY_SCORES));
    ck_ok(llama2_rollouts_score_into(after, safety, LLAMA2_ROLLOUTS_SAFETY_SCORES));
    ck_ok(llama2_distill_gate(before, after, keep, &m));
    llama2_rollouts_view a = view_of(before), b = view_of(after);
    ck_assert_mem_eq(all.tokens[0], a.tokens, (size_t)a.n_tokens * sizeof *a.tokens);
    ck_assert_mem_eq(all.tokens[1], b.tokens, (size_t)b.n_tokens * sizeof *b.tokens);
    ck_assert_mem_eq(all.keep, keep, sizeof keep);
    ck_assert_mem_eq(&all.metrics, &m, sizeof m);
    ck_assert(m.n_kept > 0 && m.n_kept < N); /* the test is about something */
    for (int32_t s = 0; s < N; s++) ck_assert_int_eq(keep[s], b.safety_scores[s] > a.safety_scores[s]);
    llama2_rollouts_free(before);
    llama2_rollouts_free(sampled);
    llama2_rollouts_free(after);
    llama2_reward_model_free(safety);
    llama2_model_free(model);
    llama2_context_free(ctx);
}
END_TEST

START_TEST(the_same_bits_for_any_number_of_threads)
{
    outcome one, other;
    distil(1, 0, &one);
    for (int32_t threads = 2; threads <= 3; threads++) {
        distil(threads, 2 * threads - 3, &other);
        ck_assert_mem_eq(&one, &other, sizeof one);
    }
}
END_TEST

static int32_t nothing_is_sampled(void *user, const llama2_rollout_event *event)
{
    (void)user;
    ck_abort_msg("%lld tokens sampled", (long long)event->tokens);
    return 1;
}

START_TEST(what_can_not_be_distilled)
{
    llama2_context *ctx = small_context(1, LLAMA2_ISA_AUTO);
    llama2_model *model = small_model(ctx, 0, LLAMA2_F32);
    llama2_reward_model *safety = small_reward_model(ctx, model, LLAMA2_HEAD_NORMAL);
    prompt_pair p;
    uint8_t keep[N];
    llama2_rollout_options o = distill_options();
    llama2_rollouts *before = (llama2_rollouts *)&p, *after = before;
    make_prompts(&p);
    llama2_batch fewer = p.preprompted, none = {.struct_size = sizeof none};
    fewer.n_sequences--;
    fewer.n_tokens = p.offsets[1][PROMPTS - 1];
    ck_fails(llama2_distill(model, safety, &p.bare, &fewer, &o, &before, &after, keep, NULL), LLAMA2_E_MISMATCH);
    ck_assert(!before && !after);
    ck_fails(llama2_distill(model, safety, &none, &none, &o, NULL, &after, keep, NULL), LLAMA2_E_INVALID);
    llama2_config tiny = small_config(0);
    tiny.vocab_size = 3; /* of a safety model that knows no token of the prompts: told before anything is sampled */
    llama2_model *other;
    ck_ok(llama2_model_create(ctx, &tiny, NULL, &other));
    llama2_reward_model *foreign = small_reward_model(ctx, other, LLAMA2_HEAD_NORMAL);
    o.progress = nothing_is_sampled;
    ck_fails(llama2_distill(model, foreign, &p.bare, &p.preprompted, &o, NULL, &after, keep, NULL), LLAMA2_E_INVALID);
    o.progress = NULL;
    llama2_reward_model_free(foreign);
    llama2_model_free(other);
    static int32_t many[160];
    static const int64_t offsets[] = {0, 160};
    llama2_batch longest = {.struct_size = sizeof longest,
                            .n_sequences = 1,
                            .n_tokens = 160,
                            .tokens = many,
                            .offsets = offsets},
                 one = {.struct_size = sizeof one,
                        .n_sequences = 1,
                        .n_tokens = 2,
                        .tokens = p.tokens[0],
                        .offsets = p.offsets[0]};
    ck_fails(llama2_distill(model, safety, &one, &longest, &o, NULL, &after, keep, NULL), LLAMA2_E_CONTEXT);
    ck_fails(llama2_distill(model, safety, &longest, &one, &o, NULL, &after, keep, NULL), LLAMA2_E_CONTEXT);
    ck_fails(llama2_distill(model, safety, &one, &one, &o, NULL, NULL, keep, NULL), LLAMA2_E_INVALID);
    ck_fails(llama2_distill(model, safety, &one, &one, &o, NULL, &after, NULL, NULL), LLAMA2_E_INVALID);
    ck_fails(llama2_distill(model, NULL, &one, &one, &o, NULL, &after, keep, NULL), LLAMA2_E_INVALID);
    ck_fails(llama2_distill(NULL, safety, &one, &one, &o, NULL, &after, keep, NULL), LLAMA2_E_INVALID);
    o.samples_per_prompt = 0;
    ck_fails(llama2_distill(model, safety, &one, &one, &o, NULL, &after, keep, NULL), LLAMA2_E_INVALID);
    float head[24];
    for (int i = 0; i < 24; i++) head[i] = 3e38f; /* scores that are no numbers stop it */
    o.samples_per_prompt = K;
    ck_ok(llama2_reward_model_set_tensor(safety, "score.weight", head, 24));
    ck_fails(llama2_distill(model, safety, &p.bare, &p.preprompted, &o, NULL, &after, keep, NULL), LLAMA2_E_NUMERIC);
    ck_assert_ptr_null(after);
    llama2_reward_model_free(safety);
    llama2_model_free(model);
    llama2_context_free(ctx);
}
END_TEST

Suite *test_suite(void)
{
    Suite *suite = suite_create("train/distill");
    ADD_CASE(suite, "by hand", the_same_responses_after_other_prompts, what_no_response_can_follow,
             kept_only_where_strictly_safer, a_gate_without_what_it_compares, only_kept_responses_have_a_weight);
    ADD_CASE(suite, "in one call", one_call_is_the_stages_one_by_one, the_same_bits_for_any_number_of_threads,
             what_can_not_be_distilled);
    return suite;
}
