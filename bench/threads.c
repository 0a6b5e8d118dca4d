/*
 * What a second thread is worth: each case on a context with one thread and on one with N, in turn, so that a loud
 * neighbour disturbs both; medians of the paired ratios, beside those of the roofs (multiply-adds, reading memory).
 * Then what the first tokens of 16 samples of one prompt cost beside those of one. tests/run.sh shows it.
 *
 * threads [N]
 */
#include "models.h"
#include "roofs.h"
#include "base/alloc.h"

enum {
    ROUNDS = 5,
    SHORT_ROUNDS = 15,
    MOST_ROUNDS = 15,
    PROMPT = 512,
    DECODED = 16,
    SEQUENCES = 8,
    LENGTH = 256,
    EPISODES = 32,
    MEMORY = 1 << 27
};

typedef struct side {
    llama2_context *ctx;
    llama2_model *model, *reference;
    llama2_reward_model *critic;
    llama2_trainer *trainer, *critic_trainer;
    int32_t *tokens;
    void *memory;
} side;

static llama2_trainer *new_trainer(side *s, llama2_reward_model *reward)
{
    llama2_optimizer *optimizer;
    llama2_trainer *trainer;
    must(llama2_optimizer_create(s->ctx, NULL, &optimizer));
    must(reward ? llama2_trainer_create_for_reward(s->ctx, reward, optimizer, NULL, &trainer)
                : llama2_trainer_create(s->ctx, s->model, optimizer, NULL, &trainer));
    llama2_optimizer_free(optimizer);
    return trainer;
}

static side open_side(int32_t n_threads, const bench_shape *shape)
{
    side s = {.ctx = bench_context(n_threads)};
    s.model = bench_model(s.ctx, shape);
    must(llama2_model_clone(s.model, &s.reference));
    must(llama2_reward_model_create(s.ctx, s.model, NULL, &s.critic));
    s.trainer = new_trainer(&s, NULL);
    s.critic_trainer = new_trainer(&s, s.critic);
    s.tokens = bench_tokens(shape, SEQUENCES * LENGTH + PROMPT);
    must(l2_alloc(s.ctx, MEMORY, 1, &s.memory));
    memset(s.memory, 1, MEMORY);
    return s;
}

static void close_side(side *s)
{
    l2_free(s->ctx, s->memory);
    free(s->tokens);
    llama2_trainer_free(s->trainer);
    llama2_trainer_free(s->critic_trainer);
    llama2_reward_model_free(s->critic);
    llama2_model_free(s->reference);
    llama2_model_free(s->model);
    llama2_context_free(s->ctx);
}

/* --- cases: each returns the seconds that it took ------------------------------------------------ */

static double multiply_adds(side *s)
{
    return 1e9 / roof_flops(s->ctx, 0.01); /* long enough for a second thread to have begun */
}

static double reading(side *s)
{
    return 1e9 / roof_read(s->ctx, s->memory, MEMORY, 0);
}

static double training_step(side *s)
{
    int64_t offsets[SEQUENCES + 1];
    llama2_step_metrics m = {.struct_size = sizeof m};
    for (int64_t i = 0; i <= SEQUENCES; i++) offsets[i] = i * LENGTH;
    llama2_batch batch = {sizeof batch, SEQUENCES, SEQUENCES * LENGTH, s->tokens, offsets, NULL};
    double start = seconds();
    must(llama2_pretrain_step(s->trainer, &batch, &m));
    return seconds() - start;
}

static llama2_session *read_prompt(side *s, double *time)
{
    llama2_session *session;
    must(llama2_session_create(s->model, &session));
    double start = seconds();
    must(llama2_session_feed(session, s->tokens, PROMPT));
    *time = seconds() - start;
    return session;
}

static double prefill(side *s)
{
    double time;
    llama2_session_free(read_prompt(s, &time));
    return time;
}

static double decode(side *s)
{
    double time;
    int32_t token;
    llama2_session *session = read_prompt(s, &time);
    double start = seconds();
    for (int i = 0; i < DECODED; i++) {
        must(llama2_session_sample(session, NULL, &token, NULL));
        must(llama2_session_feed(session, &token, 1));
    }
    time = seconds() - start;
    llama2_session_free(session);
    return time;
}

/* k answers of n tokens to one prompt of `length`. */
static llama2_rollouts *roll_out(side *s, int64_t length, int32_t k, int32_t n)
{
    int64_t offsets[2] = {0, length};
    llama2_batch prompt = {sizeof prompt, 1, length, s->tokens, offsets, NULL};
    llama2_rollouts *rollouts;
    llama2_rollout_options o;
    llama2_rollout_options_init(&o, sizeof o);
    o.samples_per_prompt = k;
    o.max_new_tokens = n;
    must(llama2_rollout(s->model, &prompt, &o, &rollouts));
    return rollouts;
}

static double rollout_16(side *s)
{
    double start = seconds();
    llama2_rollouts_free(roll_out(s, 16, 16, 32));
    return seconds() - start;
}

static double ppo_iteration(side *s)
{
    llama2_ppo_options o;
    llama2_ppo_options_init(&o, sizeof o);
    double start = seconds();
    llama2_rollouts *r = roll_out(s, 16, EPISODES, 32);
    must(llama2_rollouts_score(r, s->critic));
    must(llama2_rollouts_reference(r, s->reference));
    must(llama2_rollouts_values(r, s->critic));
    must(llama2_ppo_advantages(r, &o, NULL));
    must(llama2_ppo_update(s->trainer, s->critic_trainer, r, &o, NULL));
    double time = seconds() - start;
    llama2_rollouts_free(r);
    return time;
}

static double first_token_of_one(side *s)
{
    double start = seconds();
    llama2_rollouts_free(roll_out(s, PROMPT, 1, 1));
    return seconds() - start;
}

static double first_tokens_of_16(side *s)
{
    double start = seconds();
    llama2_rollouts_free(roll_out(s, PROMPT, 16, 1));
    return seconds() - start;
}

/* --- comparison ---------------------------------------------------------------------------------- */

typedef double (*bench_case)(side *s);

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *x, int n)
{
    qsort(x, (size_t)n, sizeof *x, by_value);
    return x[n / 2];
}

/* The median over the rounds of the time of a in x over that of b in y; those of each. */
static double compare(int rounds, bench_case a, side *x, bench_case b, side *y, double *time_a, double *time_b)
{
    double ta[MOST_ROUNDS], tb[MOST_ROUNDS], ratio[MOST_ROUNDS];
    a(x), b(y);
    for (int i = 0; i < rounds; i++) {
        ta[i] = a(x);
        tb[i] = b(y);
        ratio[i] = ta[i] / tb[i];
    }
    *time_a = median(ta, rounds);
    *time_b = median(tb, rounds);
    return median(ratio, rounds);
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        bench_case run;
        int rounds;
    } cases[] = {{"prefill of 512 tokens", prefill, SHORT_ROUNDS},
                 {"decode after them, one sequence", decode, SHORT_ROUNDS},
                 {"rollout, 16 samples of 32 tokens", rollout_16, SHORT_ROUNDS},
                 {"training step, 8 x 256 tokens", training_step, ROUNDS},
                 {"PPO iteration, 32 x 32 tokens", ppo_iteration, ROUNDS}};
    int n = argc > 1 ? atoi(argv[1]) : 2;
    double t1, tn;
    side one = open_side(1, &bench_15m), many = open_side(n, &bench_15m);
    printf("%s, a model of 15M parameters: how many times as fast as one thread; wanted of two: 1.7\n",
           llama2_context_describe(many.ctx));
    printf("  %-36s %23s  %.2f times\n", "roof: multiply-adds", "",
           compare(ROUNDS, multiply_adds, &one, multiply_adds, &many, &t1, &tn));
    printf("  %-36s %23s  %.2f times\n", "roof: reading memory", "",
           compare(ROUNDS, reading, &one, reading, &many, &t1, &tn));
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        double ratio = compare(cases[i].rounds, cases[i].run, &one, cases[i].run, &many, &t1, &tn);
        printf("  %-36s %8.1f ms, %8.1f ms  %.2f times\n", cases[i].name, 1e3 * t1, 1e3 * tn, ratio);
        fflush(stdout);
    }
    double ratio = compare(SHORT_ROUNDS, first_tokens_of_16, &many, first_token_of_one, &many, &tn, &t1);
    printf(
        "first tokens of 16 samples of a prompt of %d: %.2f times the cost of one (%.1f ms, %.1f ms); wanted: 1.15 at "
        "most\n",
        PROMPT, ratio, 1e3 * tn, 1e3 * t1);
    close_side(&one);
    close_side(&many);
    return 0;
}
