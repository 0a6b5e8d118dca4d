/* The model's public functions: arguments, tensors by name, evaluation, one model in many threads. */
#include "train/train_test.h"

#include "model/model.h"

#include <pthread.h>
#include <stdatomic.h>
#include <time.h>

START_TEST(null_is_an_error_not_a_crash)
{
    llama2_context *ctx = small_context(1, LLAMA2_ISA_AUTO);
    llama2_model *m = small_model(ctx, 1, LLAMA2_F32), *none;
    llama2_config c = small_config(1);
    llama2_tensor_info info = {.struct_size = sizeof info};
    llama2_loss loss = {.struct_size = sizeof loss};
    small_batch b;
    float out[1];
    small_batch_init(&b);
    ck_fails(llama2_model_create(NULL, &c, NULL, &none), LLAMA2_E_INVALID);
    ck_fails(llama2_model_create(ctx, NULL, NULL, &none), LLAMA2_E_INVALID);
    ck_fails(llama2_model_create(ctx, &c, NULL, NULL), LLAMA2_E_INVALID);
    ck_fails(llama2_model_load(ctx, NULL, NULL, &none), LLAMA2_E_INVALID);
    ck_fails(llama2_model_load(NULL, "x", NULL, &none), LLAMA2_E_INVALID);
    ck_fails(llama2_model_load(ctx, "x", NULL, NULL), LLAMA2_E_INVALID);
    ck_fails(llama2_model_save(NULL, "x", 0), LLAMA2_E_INVALID);
    ck_fails(llama2_model_save(m, NULL, 0), LLAMA2_E_INVALID);
    ck_fails(llama2_model_clone(NULL, &none), LLAMA2_E_INVALID);
    ck_assert_ptr_null(none);
    ck_fails(llama2_model_clone(m, NULL), LLAMA2_E_INVALID);
    ck_fails(llama2_model_copy_weights(NULL, m), LLAMA2_E_INVALID);
    ck_fails(llama2_model_copy_weights(m, NULL), LLAMA2_E_INVALID);
    ck_ok(llama2_model_copy_weights(m, m));
    ck_fails(llama2_model_config(NULL, &c), LLAMA2_E_INVALID);
    ck_fails(llama2_model_config(m, NULL), LLAMA2_E_INVALID);
    ck_fails(llama2_model_tensor_info(NULL, 0, &info), LLAMA2_E_INVALID);
    ck_fails(llama2_model_tensor_info(m, 0, NULL), LLAMA2_E_INVALID);
    ck_fails(llama2_model_tensor_info(m, -1, &info), LLAMA2_E_INVALID);
    ck_fails(llama2_model_tensor_info(m, llama2_model_tensors(m), &info), LLAMA2_E_INVALID);
    ck_fails(llama2_model_get_tensor(NULL, "x", out, 1, NULL), LLAMA2_E_INVALID);
    ck_fails(llama2_model_get_tensor(m, NULL, out, 1, NULL), LLAMA2_E_INVALID);
    ck_fails(llama2_model_set_tensor(m, "model.norm.weight", NULL, 24), LLAMA2_E_INVALID);
    ck_fails(llama2_model_logits(NULL, &b.batch, out), LLAMA2_E_INVALID);
    ck_fails(llama2_model_logits(m, NULL, out), LLAMA2_E_INVALID);
    ck_fails(llama2_model_logits(m, &b.batch, NULL), LLAMA2_E_INVALID);
    ck_fails(llama2_model_hidden(m, &b.batch, NULL), LLAMA2_E_INVALID);
    ck_fails(llama2_model_logprobs(m, &b.batch, 1, NULL, NULL), LLAMA2_E_INVALID);
    ck_fails(llama2_model_logprobs(m, &b.batch, 0, out, NULL), LLAMA2_E_INVALID);
    ck_fails(llama2_model_logprobs(m, &b.batch, NAN, out, NULL), LLAMA2_E_INVALID);
    ck_fails(llama2_model_evaluate(m, &b.batch, NULL), LLAMA2_E_INVALID);
    ck_fails(llama2_model_evaluate(NULL, &b.batch, &loss), LLAMA2_E_INVALID);
    ck_assert(!llama2_model_retain(NULL) && llama2_model_parameters(NULL) == 0 && llama2_model_tensors(NULL) == 0);
    llama2_model_free(NULL);
    llama2_model_free(m);
    llama2_context_free(ctx);
}
END_TEST

static void check_batch(llama2_model *m, llama2_status code, const small_batch *b)
{
    llama2_loss loss = {.struct_size = sizeof loss, .sum = 5};
    ck_fails(llama2_model_evaluate(m, &b->batch, &loss), code);
    ck_assert(loss.sum == 5);
}

#define BAD(code, change)                                                                                              \
    do {                                                                                                               \
        small_batch_init(&b);                                                                                          \
        change;                                                                                                        \
        check_batch(m, code, &b);                                                                                      \
    } while (0)

START_TEST(what_is_no_batch_is_refused)
{
    llama2_context *ctx = small_context(1, LLAMA2_ISA_AUTO);
    llama2_model *m = small_model(ctx, 1, LLAMA2_F32);
    small_batch b;
    BAD(LLAMA2_E_ABI, b.batch.struct_size = 0);
    BAD(LLAMA2_E_INVALID, b.batch.n_sequences = 0);
    BAD(LLAMA2_E_INVALID, b.batch.n_tokens = 0);
    BAD(LLAMA2_E_INVALID, b.batch.tokens = NULL);
    BAD(LLAMA2_E_INVALID, b.batch.offsets = NULL);
    BAD(LLAMA2_E_INVALID, b.offsets[0] = 1);
    BAD(LLAMA2_E_INVALID, b.offsets[2] = b.offsets[1]);
    BAD(LLAMA2_E_INVALID, b.offsets[2] = INT64_MIN);
    BAD(LLAMA2_E_CONTEXT, b.offsets[2] = INT64_MAX);
    BAD(LLAMA2_E_INVALID, b.batch.n_tokens--);
    BAD(LLAMA2_E_INVALID, b.tokens[7] = 37);
    BAD(LLAMA2_E_INVALID, b.tokens[7] = -1);
    BAD(LLAMA2_E_INVALID, b.weights[7] = -1);
    BAD(LLAMA2_E_INVALID, b.weights[7] = NAN);
    int32_t tokens[161] = {0};
    int64_t offsets[] = {0, 161};
    BAD(LLAMA2_E_CONTEXT, (b.batch.tokens = tokens, b.batch.offsets = offsets, b.batch.n_sequences = 1,
                           b.batch.n_tokens = 161, b.batch.loss_weight = NULL));
    llama2_model_free(m);
    llama2_context_free(ctx);
}
END_TEST

START_TEST(tensors_by_name)
{
    llama2_context *ctx = small_context(1, LLAMA2_ISA_AUTO);
    llama2_model *m = small_model(ctx, 0, LLAMA2_F32), *tied = small_model(ctx, 1, LLAMA2_F64);
    int64_t total = 0, needed = 0;
    ck_assert_int_eq(llama2_model_tensors(m), 1 + 2 * 9 + 2);
    ck_assert_int_eq(llama2_model_tensors(tied), 1 + 2 * 9 + 1);
    for (int32_t i = 0; i < llama2_model_tensors(m); i++) {
        llama2_tensor_info info = {.struct_size = sizeof info};
        ck_ok(llama2_model_tensor_info(m, i, &info));
        total += info.rows * info.columns;
        ck_assert_int_eq(info.dtype, LLAMA2_F32);
    }
    ck_assert_int_eq(total, llama2_model_parameters(m));
    float values[40 * 24], got[40 * 24 + 1];
    for (int i = 0; i < 40 * 24; i++) values[i] = (float)i / 3;
    const char *name = "model.layers.1.self_attn.q_proj.weight";
    llama2_model *both[] = {m, tied};
    for (int k = 0; k < 2; k++) {
        ck_ok(llama2_model_set_tensor(both[k], name, values, 40 * 24));
        got[40 * 24] = 77;
        ck_ok(llama2_model_get_tensor(both[k], name, got, 40 * 24, &needed));
        ck_assert_int_eq(needed, 40 * 24);
        ck_assert_mem_eq(got, values, sizeof values);
        ck_assert(got[40 * 24] == 77);
    }
    needed = 0;
    ck_fails(llama2_model_get_tensor(m, name, got, 40 * 24 - 1, &needed), LLAMA2_E_BUFFER);
    ck_assert_int_eq(needed, 40 * 24);
    ck_fails(llama2_model_get_tensor(m, name, got, 0, NULL), LLAMA2_E_BUFFER);
    ck_fails(llama2_model_get_tensor(m, name, NULL, 40 * 24, NULL), LLAMA2_E_BUFFER);
    needed = 0;
    ck_ok(llama2_model_get_tensor(m, name, NULL, 0, &needed)); /* counts */
    ck_assert_int_eq(needed, 40 * 24);
    ck_ok(llama2_model_get_tensor(m, name, NULL, 0, NULL));
    ck_fails(llama2_model_set_tensor(m, name, values, 40 * 24 - 1), LLAMA2_E_MISMATCH);
    ck_fails(llama2_model_get_tensor(m, "model.layers.2.self_attn.q_proj.weight", got, 1, NULL), LLAMA2_E_NOT_FOUND);
    ck_fails(llama2_model_set_tensor(tied, "lm_head.weight", values, 37 * 24), LLAMA2_E_NOT_FOUND);
    llama2_model_free(m);
    llama2_model_free(tied);
    llama2_context_free(ctx);
}
END_TEST

START_TEST(copies_are_independent)
{
    llama2_context *ctx = small_context(2, LLAMA2_ISA_AUTO), *one = small_context(1, LLAMA2_ISA_SCALAR);
    llama2_model *m = small_model(ctx, 0, LLAMA2_F32), *same = small_model(one, 0, LLAMA2_F64),
                 *tied = small_model(ctx, 1, LLAMA2_F32), *copy;
    float one_gain[24] = {0}, got[24];
    ck_assert(same_weights(m, same)); /* of the seed alone, in either precision */
    ck_ok(llama2_model_clone(m, &copy));
    ck_assert(same_weights(m, copy));
    ck_ok(llama2_model_set_tensor(copy, "model.norm.weight", one_gain, 24));
    ck_ok(llama2_model_get_tensor(m, "model.norm.weight", got, 24, NULL));
    ck_assert(got[0] == 1);
    ck_ok(llama2_model_copy_weights(same, copy));
    ck_assert(same_weights(same, copy) && !same_weights(same, m));
    ck_fails(llama2_model_copy_weights(tied, m), LLAMA2_E_MISMATCH);
    llama2_context_free(ctx); /* children keep it alive */
    llama2_model_free(m);
    llama2_model *again = llama2_model_retain(copy);
    llama2_model_free(copy);
    ck_ok(llama2_model_get_tensor(again, "model.norm.weight", got, 24, NULL));
    ck_assert(got[0] == 0);
    llama2_model_free(again);
    llama2_model_free(same);
    llama2_model_free(tied);
    llama2_context_free(one);
}
END_TEST

static void check_ends(const llama2_model *m, int32_t n, const int32_t *expected)
{
    int32_t ids[8], found = -1;
    llama2_config c = {.struct_size = sizeof c};
    ck_ok(llama2_model_eos_ids(m, ids, 8, &found));
    ck_assert_int_eq(found, n);
    ck_ok(llama2_model_config(m, &c));
    ck_assert_int_eq(c.eos_id, n > 0 ? expected[0] : -1);
    for (int32_t token = -1; token < 38; token++) {
        int32_t among = 0;
        for (int32_t i = 0; i < n; i++) among |= expected[i] == token;
        ck_assert_int_eq(llama2_model_is_eos(m, token), among);
    }
    for (int32_t i = 0; i < n; i++) ck_assert_int_eq(ids[i], expected[i]);
}

START_TEST(several_tokens_end_a_text)
{
    static const int32_t three[] = {7, 2, 30}, many[9] = {0}, outside[] = {2, 37}, below[] = {-1};
    char folder[64], path[96];
    llama2_context *ctx = small_context(1, LLAMA2_ISA_AUTO);
    llama2_model *m = small_model(ctx, 0, LLAMA2_F32), *other;
    int32_t ids[2], needed = 0;
    check_ends(m, 1, (const int32_t[]){2});
    ck_ok(llama2_model_set_eos_ids(m, (const int32_t[]){7, 2, 7, 30}, 4));
    check_ends(m, 3, three);
    ck_fails(llama2_model_eos_ids(m, ids, 2, &needed), LLAMA2_E_BUFFER);
    ck_assert_int_eq(needed, 3);
    ck_fails(llama2_model_eos_ids(m, NULL, 8, NULL), LLAMA2_E_BUFFER);
    ck_fails(llama2_model_eos_ids(m, ids, 0, NULL), LLAMA2_E_BUFFER);
    needed = 0;
    ck_ok(llama2_model_eos_ids(m, NULL, 0, &needed));
    ck_assert_int_eq(needed, 3);
    ck_fails(llama2_model_eos_ids(NULL, ids, 2, NULL), LLAMA2_E_INVALID);
    ck_fails(llama2_model_set_eos_ids(m, outside, 2), LLAMA2_E_INVALID);
    ck_fails(llama2_model_set_eos_ids(m, below, 1), LLAMA2_E_INVALID);
    ck_fails(llama2_model_set_eos_ids(m, NULL, 1), LLAMA2_E_INVALID);
    ck_fails(llama2_model_set_eos_ids(m, many, 9), LLAMA2_E_LIMIT);
    ck_fails(llama2_model_set_eos_ids(m, many, -1), LLAMA2_E_LIMIT);
    ck_assert_int_eq(llama2_model_is_eos(NULL, 2), 0);
    ck_ok(l2_model_enter(m, 0));
    ck_fails(llama2_model_set_eos_ids(m, many, 1), LLAMA2_E_BUSY);
    l2_model_leave(m, 0);
    check_ends(m, 3, three); /* what fails changes nothing */
    ck_ok(llama2_model_clone(m, &other));
    check_ends(other, 3, three);
    llama2_model_free(other);
    snprintf(path, sizeof path, "%s/model", scratch_folder(folder));
    ck_ok(llama2_model_save(m, path, LLAMA2_F32));
    ck_ok(llama2_model_load(ctx, path, NULL, &other));
    check_ends(other, 3, three);
    ck_ok(llama2_model_set_eos_ids(other, NULL, 0));
    check_ends(other, 0, NULL);
    ck_ok(llama2_model_save(other, path, LLAMA2_F32));
    llama2_model_free(other);
    ck_ok(llama2_model_load(ctx, path, NULL, &other));
    check_ends(other, 0, NULL);
    llama2_model_free(other);
    llama2_model_free(m);
    ck_ok(l2_remove_tree(ctx, folder));
    llama2_context_free(ctx);
}
END_TEST

static void check_evaluation(int32_t dtype, double tolerance)
{
    enum { N = 30, V = 37, D = 24 };
    llama2_context *ctx = small_context(2, LLAMA2_ISA_AUTO);
    llama2_model *m = small_model(ctx, 0, dtype);
    small_batch b;
    static float logits[N * V], hidden[N * D], head[V * D], logprobs[N], plain[N], entropies[N];
    small_batch_init(&b);
    ck_assert_int_eq(b.batch.n_tokens, N);
    ck_ok(llama2_model_logits(m, &b.batch, logits));
    ck_ok(llama2_model_hidden(m, &b.batch, hidden));
    ck_ok(llama2_model_get_tensor(m, "lm_head.weight", head, V * D, NULL));
    ck_ok(llama2_model_logprobs(m, &b.batch, 0.5, logprobs, entropies));
    ck_ok(llama2_model_logprobs(m, &b.batch, 1, plain, NULL));
    double weighted = 0, sum = 0, weight = 0;
    for (int32_t s = 0; s < 4; s++)
        for (int64_t t = b.offsets[s]; t < b.offsets[s + 1]; t++) {
            for (int v = 0; v < V; v++) { /* logits = head hidden */
                double y = 0;
                for (int d = 0; d < D; d++) y += (double)head[v * D + d] * (double)hidden[t * D + d];
                ck_assert(fabs(y - (double)logits[t * V + v]) < tolerance);
            }
            if (t == b.offsets[s]) {
                ck_assert(logprobs[t] == 0 && entropies[t] == 0 && plain[t] == 0);
                continue;
            }
            double z = 0, entropy = 0; /* log-softmax of the row before, at temperature 1/2 */
            const float *row = logits + (t - 1) * V;
            for (int v = 0; v < V; v++) z += exp(2 * (double)row[v]);
            for (int v = 0; v < V; v++) entropy -= exp(2 * (double)row[v]) / z * (2 * (double)row[v] - log(z));
            ck_assert(fabs(2 * (double)row[b.tokens[t]] - log(z) - (double)logprobs[t]) < tolerance);
            ck_assert(fabs(entropy - (double)entropies[t]) < tolerance);
            weighted -= (double)b.weights[t] * (double)plain[t];
            sum -= (double)plain[t];
            weight += (double)b.weights[t];
        }
    llama2_loss loss = {.struct_size = sizeof loss};
    ck_ok(llama2_model_evaluate(m, &b.batch, &loss));
    ck_assert(fabs(loss.sum - weighted) < 30 * tolerance && loss.weight == weight);
    int64_t positive = 0;
    for (int32_t s = 0; s < 4; s++)
        for (int64_t t = b.offsets[s] + 1; t < b.offsets[s + 1]; t++) positive += b.weights[t] > 0;
    ck_assert_int_eq(loss.targets, positive);
    b.batch.loss_weight = NULL; /* all 1 */
    ck_ok(llama2_model_evaluate(m, &b.batch, &loss));
    ck_assert(fabs(loss.sum - sum) < 30 * tolerance && loss.weight == N - 4 && loss.targets == N - 4);
    llama2_model_free(m);
    llama2_context_free(ctx);
}

START_TEST(evaluation)
{
    check_evaluation(LLAMA2_F32, 2e-5);
    check_evaluation(LLAMA2_F64, 2e-5); /* outputs are fp32 */
}
END_TEST

START_TEST(a_batch_without_targets_has_no_loss)
{
    llama2_context *ctx = small_context(1, LLAMA2_ISA_AUTO);
    llama2_model *m = small_model(ctx, 1, LLAMA2_F32);
    int32_t token = 3;
    int64_t offsets[] = {0, 1};
    llama2_batch b = {sizeof b, 1, 1, &token, offsets, NULL};
    llama2_loss loss = {.struct_size = sizeof loss};
    float logprob = 7;
    ck_ok(llama2_model_evaluate(m, &b, &loss));
    ck_assert(loss.sum == 0 && loss.weight == 0 && loss.targets == 0);
    ck_ok(llama2_model_logprobs(m, &b, 1, &logprob, NULL));
    ck_assert(logprob == 0);
    llama2_model_free(m);
    llama2_context_free(ctx);
}
END_TEST

/* --- threads --------------------------------------------------------------------------------- */

START_TEST(busy_while_it_is_changed)
{
    llama2_context *ctx = small_context(1, LLAMA2_ISA_AUTO);
    llama2_model *m = small_model(ctx, 0, LLAMA2_F32), *other = small_model(ctx, 0, LLAMA2_F32), *none;
    llama2_trainer *trainer = small_trainer(ctx, m, 0.1, NULL);
    llama2_session *session;
    llama2_rollouts *rollouts;
    llama2_loss loss = {.struct_size = sizeof loss};
    llama2_tensor_info info = {.struct_size = sizeof info};
    llama2_config config = {.struct_size = sizeof config};
    small_batch b;
    static float out[64 * 37];
    int32_t token = 1;
    small_batch_init(&b);
    ck_ok(llama2_session_create(m, &session));
    ck_ok(llama2_session_feed(session, &token, 1));
    ck_ok(l2_model_enter(m, L2_KEEPS_WEIGHTS)); /* as a backward in another thread does */
    ck_fails(llama2_model_evaluate(m, &b.batch, &loss), LLAMA2_E_BUSY);
    ck_fails(llama2_model_logits(m, &b.batch, out), LLAMA2_E_BUSY);
    ck_fails(llama2_model_logprobs(m, &b.batch, 1, out, NULL), LLAMA2_E_BUSY);
    ck_fails(llama2_model_get_tensor(m, "model.norm.weight", out, 24, NULL), LLAMA2_E_BUSY);
    ck_fails(llama2_model_set_tensor(m, "model.norm.weight", out, 24), LLAMA2_E_BUSY);
    ck_fails(llama2_model_clone(m, &none), LLAMA2_E_BUSY);
    ck_fails(llama2_model_copy_weights(m, other), LLAMA2_E_BUSY);
    ck_fails(llama2_model_copy_weights(other, m), LLAMA2_E_BUSY);
    ck_fails(llama2_model_save(m, "nowhere", LLAMA2_F32), LLAMA2_E_BUSY);
    ck_fails(llama2_session_feed(session, &token, 1), LLAMA2_E_BUSY);
    ck_fails(llama2_rollout(m, &b.batch, NULL, &rollouts), LLAMA2_E_BUSY);
    ck_fails(llama2_trainer_accumulate(trainer, &b.batch, NULL), LLAMA2_E_BUSY);
    /* what does not look at the weights can be asked */
    ck_ok(llama2_model_tensor_info(m, 0, &info));
    ck_ok(llama2_model_config(m, &config));
    ck_ok(llama2_model_eos_ids(m, &token, 1, NULL));
    ck_assert(llama2_model_is_eos(m, 2));
    ck_ok(llama2_session_sample(session, NULL, &token, NULL));
    l2_model_leave(m, L2_KEEPS_WEIGHTS);
    ck_ok(l2_model_enter(m, L2_READS)); /* a reader: others may read, none may change */
    ck_ok(llama2_model_evaluate(m, &b.batch, &loss));
    ck_ok(llama2_session_feed(session, &token, 1));
    ck_fails(llama2_model_set_tensor(m, "model.norm.weight", out, 24), LLAMA2_E_BUSY);
    ck_fails(llama2_model_copy_weights(m, other), LLAMA2_E_BUSY);
    ck_fails(llama2_trainer_accumulate(trainer, &b.batch, NULL), LLAMA2_E_BUSY);
    l2_model_leave(m, L2_READS);
    ck_ok(llama2_trainer_accumulate(trainer, &b.batch, NULL));
    ck_ok(llama2_trainer_update(trainer, NULL));
    llama2_session_free(session);
    llama2_trainer_free(trainer);
    llama2_model_free(m);
    llama2_model_free(other);
    llama2_context_free(ctx);
}
END_TEST

typedef struct reader {
    llama2_model *model;
    const llama2_batch *batch;
    int alone; /* nobody changes the model: it is never busy, and says the same every time */
    double sum;
    atomic_int *stop;
    const char *error;
} reader;

static void *read_on(void *arg)
{
    reader *r = arg;
    for (int i = 0; i < 30 || (r->stop && !atomic_load(r->stop)); i++) {
        llama2_loss loss = {.struct_size = sizeof loss};
        llama2_status status = llama2_model_evaluate(r->model, r->batch, &loss);
        if (status != LLAMA2_OK && (r->alone || status != LLAMA2_E_BUSY)) r->error = llama2_status_name(status);
        if (status == LLAMA2_OK && r->alone && loss.sum != r->sum) r->error = "another loss";
    }
    return NULL;
}

START_TEST(many_threads_may_read)
{
    llama2_context *ctx = small_context(3, LLAMA2_ISA_AUTO);
    llama2_model *m = small_model(ctx, 0, LLAMA2_F32);
    small_batch b;
    llama2_loss loss = {.struct_size = sizeof loss};
    pthread_t threads[4];
    reader readers[4];
    small_batch_init(&b);
    ck_ok(llama2_model_evaluate(m, &b.batch, &loss));
    for (int i = 0; i < 4; i++) {
        readers[i] = (reader){m, &b.batch, 1, loss.sum, NULL, NULL};
        ck_assert_int_eq(pthread_create(&threads[i], NULL, read_on, &readers[i]), 0);
    }
    for (int i = 0; i < 4; i++) {
        pthread_join(threads[i], NULL);
        ck_assert_msg(!readers[i].error, "%s", readers[i].error);
    }
    llama2_model_free(m);
    llama2_context_free(ctx);
}
END_TEST

typedef struct asker {
    const llama2_model *model;
    atomic_int stop;
    const char *error;
} asker;

static void *ask_on(void *arg)
{
    asker *a = arg;
    while (!atomic_load(&a->stop)) {
        llama2_config c = {.struct_size = sizeof c};
        int32_t ids[8], n = 0;
        if (!llama2_model_is_eos(a->model, 2)) a->error = "2 does not end a text";
        if (llama2_model_eos_ids(a->model, ids, 8, &n) < 0 || ids[n - 1] != 2 || n != (ids[0] == 7 ? 2 : 3))
            a->error = "a mixture of both";
        if (llama2_model_config(a->model, &c) < 0 || (c.eos_id != 7 && c.eos_id != 30)) a->error = "another eos_id";
    }
    return NULL;
}

/* What doesn't look at the weights doesn't enter the model; who asks meanwhile sees the ids of before or after. */
START_TEST(ends_change_at_once)
{
    llama2_context *ctx = small_context(1, LLAMA2_ISA_AUTO);
    llama2_model *m = small_model(ctx, 0, LLAMA2_F32);
    asker a = {m, 0, NULL};
    pthread_t thread;
    ck_ok(llama2_model_set_eos_ids(m, (const int32_t[]){7, 2}, 2));
    ck_assert_int_eq(pthread_create(&thread, NULL, ask_on, &a), 0);
    for (int i = 0; i < 10000; i++) {
        ck_ok(llama2_model_set_eos_ids(m, (const int32_t[]){30, 5, 2}, 3));
        ck_ok(llama2_model_set_eos_ids(m, (const int32_t[]){7, 2}, 2));
    }
    atomic_store(&a.stop, 1);
    pthread_join(thread, NULL);
    ck_assert_msg(!a.error, "%s", a.error);
    llama2_model_free(m);
    llama2_context_free(ctx);
}
END_TEST

/* Readers beside a trainer: each call works or is refused, and training goes the way that it goes alone. */
START_TEST(training_beside_readers)
{
    llama2_context *ctx = small_context(2, LLAMA2_ISA_AUTO);
    llama2_model *m = small_model(ctx, 0, LLAMA2_F32), *alone = small_model(ctx, 0, LLAMA2_F32);
    llama2_trainer *trainer = small_trainer(ctx, m, 0.01, NULL), *quiet = small_trainer(ctx, alone, 0.01, NULL);
    small_batch b;
    atomic_int stop = 0;
    pthread_t thread;
    small_batch_init(&b);
    reader r = {m, &b.batch, 0, 0, &stop, NULL};
    ck_assert_int_eq(pthread_create(&thread, NULL, read_on, &r), 0);
    for (int done = 0; done < 20;) {
        llama2_status status = llama2_trainer_accumulate(trainer, &b.batch, NULL);
        if (status == LLAMA2_OK)
            while ((status = llama2_trainer_update(trainer, NULL)) == LLAMA2_E_BUSY) continue;
        if (status == LLAMA2_E_BUSY) continue;
        ck_ok(status);
        ck_ok(llama2_pretrain_step(quiet, &b.batch, NULL));
        done++;
    }
    atomic_store(&stop, 1);
    pthread_join(thread, NULL);
    ck_assert_msg(!r.error, "%s", r.error);
    ck_assert(same_weights(m, alone));
    llama2_trainer_free(trainer);
    llama2_trainer_free(quiet);
    llama2_model_free(m);
    llama2_model_free(alone);
    llama2_context_free(ctx);
}
END_TEST

static void *cancel_soon(void *ctx)
{
    struct timespec pause = {.tv_nsec = 20000000};
    nanosleep(&pause, NULL);
    llama2_context_cancel(ctx);
    return NULL;
}

START_TEST(cancelled_calls_end_and_leave_things_usable)
{
    llama2_context *ctx = small_context(2, LLAMA2_ISA_AUTO);
    llama2_model *m = small_model(ctx, 0, LLAMA2_F32), *none;
    llama2_config c = small_config(0);
    llama2_loss loss = {.struct_size = sizeof loss};
    small_batch b;
    pthread_t thread;
    llama2_status status = LLAMA2_OK;
    small_batch_init(&b);
    ck_assert_int_eq(pthread_create(&thread, NULL, cancel_soon, ctx), 0);
    while (status == LLAMA2_OK) status = llama2_model_evaluate(m, &b.batch, &loss);
    pthread_join(thread, NULL);
    ck_assert_int_eq(status, LLAMA2_E_CANCELLED);
    ck_fails(llama2_model_clone(m, &none), LLAMA2_E_CANCELLED);
    ck_fails(llama2_model_create(ctx, &c, NULL, &none), LLAMA2_E_CANCELLED);
    ck_assert_ptr_null(none);
    llama2_context_resume(ctx);
    ck_ok(llama2_model_evaluate(m, &b.batch, &loss));
    ck_ok(llama2_model_set_tensor(m, "model.norm.weight", (float[24]){0}, 24)); /* nobody is inside any more */
    llama2_model_free(m);
    llama2_context_free(ctx);
}
END_TEST

Suite *test_suite(void)
{
    Suite *s = suite_create("api/model");
    ADD_CASE(s, "arguments", null_is_an_error_not_a_crash, what_is_no_batch_is_refused);
    ADD_CASE(s, "tensors", tensors_by_name, copies_are_independent, several_tokens_end_a_text);
    ADD_CASE(s, "evaluation", evaluation, a_batch_without_targets_has_no_loss);
    ADD_CASE(s, "threads", busy_while_it_is_changed, ends_change_at_once, many_threads_may_read,
             training_beside_readers, cancelled_calls_end_and_leave_things_usable);
    return s;
}
