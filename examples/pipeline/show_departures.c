#include "pipeline/show_departures.h"

#include <stdarg.h>

enum { MOST = 64, HERE = 96 };

typedef struct departures {
    const char *name[MOST], *paper[MOST], *why[MOST];
    char here[MOST][HERE];
    size_t n;
} departures;

__attribute__((format(printf, 5, 6))) static void departs(departures *d, const char *name, const char *paper,
                                                          const char *why, const char *here, ...)
{
    va_list args;
    if (d->n == MOST) return;
    d->name[d->n] = name;
    d->paper[d->n] = paper;
    d->why[d->n] = why;
    va_start(args, here);
    vsnprintf(d->here[d->n++], HERE, here, args);
    va_end(args);
}

static void show(const departures *d, const char *text, report *r)
{
    static const char *const columns[] = {"setting", "here", "in the paper", "why"};
    const char *table[4 * MOST];
    for (size_t i = 0; i < d->n; i++) {
        table[4 * i] = d->name[i];
        table[4 * i + 1] = d->here[i];
        table[4 * i + 2] = d->paper[i];
        table[4 * i + 3] = d->why[i];
    }
    report_section(r, "Where this run departs from the paper", text);
    report_add_table(r, "settings", NULL, columns, 4, table, d->n);
}

/* --- what all runs have ---------------------------------------------------------------------- */

static void add_pretraining(departures *d, const pipeline *p)
{
    const pipeline_settings *s = &p->set;
    if (p->app.args.model) {
        departs(d, "pretraining", "2e12 tokens", "the model knows language already",
                "none: it begins with a model that is there");
        return;
    }
    departs(d, "pretraining: tokens", "2e12",
            p->data.world ? "the world is small: its facts are learnt by then" : "minutes on two cores", "%lld",
            (long long)(s->pretrain_steps * s->pretrain_batch * s->pretrain_length));
    departs(d, "pretraining: tokens a step", "4e6", "few tokens in all: more of them in one step would leave few steps",
            "%lld", (long long)(s->pretrain_batch * s->pretrain_length));
    departs(d, "pretraining: tokens a sequence", "4,096", "attention costs its square", "%lld",
            (long long)s->pretrain_length);
    departs(d, "pretraining: learning rate", "3e-4", "a small model takes, and needs, larger steps", "%g",
            s->pretrain_lr);
}

static void add_model(departures *d, const pipeline *p, double parameters)
{
    const pipeline_settings *s = &p->set;
    bool own = p->app.args.model == NULL;
    departs(d, "parameters", "7e9 .. 7e10", own ? "minutes on two cores" : "hours on two cores", "%.0f", parameters);
    departs(d, "context", "4,096",
            own ? "what the longest dialogue takes; attention costs its square" : "the model's own", "%d",
            (int)s->config.max_seq_len);
    departs(d, "vocabulary", "32,000",
            s->config.vocab_size == 32000 ? "as in the paper"
            : p->app.args.model           ? "the model's own"
            : p->data.world               ? "the world has few words"
                                          : "that of the tokenizer in the folder",
            "%d", (int)s->config.vocab_size);
    add_pretraining(d, p);
    departs(d, "warm-up of pretraining and SFT", "2,000 steps; not stated",
            "few steps: the paper's rule for reward models, which have it here too", "3 %% of the steps, at least 5");
    departs(d, "SFT: demonstrations", "27,540",
            p->data.annotate ? "as many as time allows" : "those that there are", "%zu", p->data.demonstrations.n);
    departs(d, "SFT: epochs", "2",
            s->sft_epochs == 2 ? "as in the paper" : "fewer and shorter demonstrations than 27,540: other steps",
            "%lld", (long long)s->sft_epochs);
    departs(d, "SFT: demonstrations a step", "64",
            s->sft_batch == 64 ? "as in the paper" : "fewer demonstrations, more steps", "%lld",
            (long long)s->sft_batch);
    departs(d, "SFT: a sequence", "examples up to 4,096 tokens",
            "nothing is padded, so that one alone costs no more, and sees no other", "one example");
    departs(d, "SFT: learning rate", "2e-5",
            own ? "a small model takes, and needs, larger steps" : "few examples, learnt in larger steps", "%g",
            s->sft_lr);
    departs(d, "tokens of a dialogue, at most", "4,096",
            "attention costs its square; longer ones lose their earliest turns, or are left out", "%lld",
            (long long)s->max_tokens);
}

static void add_rewards(departures *d, const pipeline *p, const char *trunk, const char *why_trunk, int64_t epochs,
                        const char *why_epochs)
{
    const pipeline_settings *s = &p->set;
    departs(d, "reward models: learning rate", "1e-5",
            p->app.args.model ? "few pairs, learnt in larger steps" : "a small model takes, and needs, larger steps",
            "%g", s->reward_lr);
    departs(d, "reward models: pairs a step", "512",
            "thousands of pairs, not millions: in few large steps they teach style, not facts", "%lld",
            (long long)s->reward_batch);
    departs(d, "reward models: trunk", "chat model checkpoints", why_trunk, "%s", trunk);
    departs(d, "reward models: epochs", "1, more may over-fit", why_epochs, "%lld", (long long)epochs);
}

static void add_ppo(departures *d, const pipeline *p, int64_t iterations, const char *why_fewer, const char *stop,
                    const char *why_stop)
{
    const pipeline_settings *s = &p->set;
    const judges j = {JUDGES_DEFAULTS};
    departs(d, "PPO: iterations", "200 .. 400", iterations >= 200 ? "as in the paper" : why_fewer, "%lld",
            (long long)iterations);
    departs(d, "PPO: early stop", "on held-out prompts", why_stop, "%s", stop);
    departs(d, "PPO: answers an iteration / a step", "512 / 64",
            s->ppo_batch == 512 ? "larger minibatches: fewer, surer steps" : "time", "%lld / %lld",
            (long long)s->ppo_batch, (long long)s->ppo_minibatch);
    departs(d, "PPO: learning rate", "1e-6", "a small model takes, and needs, larger steps", "%g", s->ppo_lr);
    departs(d, "PPO: the critic's learning rate", "not stated",
            "the critic begins as a reward model, which has to learn what partial answers are worth", "%g",
            s->critic_lr);
    departs(d, "PPO: beta", "0.01 (7B, 13B)",
            "steps are larger, and reward models surer of less: it is held nearer to where it begins", "%g",
            s->ppo_beta);
    departs(d, "penalty for an answer without an end", "none stated",
            "answers that ramble on till they are cut have no score below their own otherwise", "%g", j.eos_penalty);
}

/* --- the chain ------------------------------------------------------------------------------- */

void show_chain_departures(const pipeline *p, report *r)
{
    const pipeline_settings *s = &p->set;
    departures d = {.n = 0};
    add_model(&d, p, (double)llama2_model_parameters(p->model));
    departs(&d, "comparisons a reward model", "about 1.5e6 of one's own, as many open ones",
            p->data.annotate ? "as many as time allows; an annotator who is a function" : "those that there are",
            "%d / %d", p->reward_reports[0].n_train, p->reward_reports[1].n_train);
    add_rewards(&d, p, "the SFT model", "as in the paper", s->reward_epochs, "as in the paper");
    departs(&d, "samples a prompt (rejection)", "10 .. 100", "time; the curve above says what more would bring", "%lld",
            (long long)s->reject_samples);
    departs(&d, "their temperature", "the best one, chosen again after each version",
            "one version: nothing to choose again", "%g", s->reject_temperature);
    departs(&d, "versions before PPO", "4, and a fifth one under PPO", "one round of each; --iterations 5 has them all",
            "1");
    add_ppo(&d, p, s->ppo_iterations, "time: larger steps, and fewer", "none", "time: a fixed number of iterations");
    show(&d, "Small models and little data, so larger and fewer steps.", r);
}

/* --- the loop -------------------------------------------------------------------------------- */

static void add_comparisons(departures *d, const loop *l)
{
    const pipeline *p = l->p;
    departs(d, "who says which answer is better", "annotators",
            l->shuffled ? "a control"
                        : "an answer at once; it knows the right ones, and errs as annotators do, alike when asked "
                          "again about a prompt",
            "%s", l->shuffled ? "a coin" : "a function, with noise");
    departs(d, "comparisons of a version", "about 1e5 in a weekly batch; a version has several",
            "as many as time allows", "%lld", (long long)p->set.sampled_pairs);
    departs(d, "answers of the first version's comparisons", "two variants of the model",
            "there is no version before it", "SFT-v1 twice, at temperatures 0.7 and 1.2");
    departs(d, "comparisons before any model", "about 1.5e6, open data",
            "made by the same annotator from texts of the world", "%zu", p->data.helpful.n + p->data.safety.n);
    departs(d, "a reward model's comparisons (3.2.2)",
            "helpfulness: its own, and an equal part of safety and open; safety: 90 % safety, 10 % helpfulness",
            "half the steps; llama2-pipeline --ablations has the paper's mixes beside it",
            "all of its own kind so far, the first ones included");
    departs(d, "their order", "open ones first, own batches merged in as they come",
            "each version's models begin anew, from SFT-v1, with all there are", "one at random");
    departs(d, "weight of the safety auxiliary loss", "not stated", "as much as the ranking", "%g",
            p->set.safety_weight);
    add_rewards(d, p, "SFT-v1",
                "a version that learnt from few answers knows less: from V5's trunk fewer clear pairs were told right",
                p->set.reward_epochs, "few pairs: the facts that tell clear pairs apart are learnt in the second one");
    departs(d, "reward models: zero of the scores", "not stated",
            "one model's score stands in for the other's in the combination; the ranking loss fixes no zero", "%s",
            l->shuffled ? "mean 0 over training answers, both"
                        : "helpfulness: mean 0 over training answers; safety: its labels");
}

static void add_sampling(departures *d, const loop *l)
{
    bool highest = l->temperature == TEMPERATURE_HIGHEST;
    const pipeline_settings *s = &l->p->set;
    departs(d, "samples a prompt (rejection)", "10 .. 100", "what V1 gains from 8 is enough to see; it sets the time",
            "%lld", (long long)s->reject_samples);
    departs(d, "prompts of a version; new ones", "not stated",
            "a version leaves something for the next one, and for PPO", "%lld; %lld", (long long)s->reject_prompts,
            (long long)s->reject_shift);
    departs(d, "temperatures to choose from, on how many prompts", "not stated", "time", "0.6, 0.8, .., 1.4; %lld",
            (long long)s->tune_prompts);
    departs(d, "the temperature", "the highest best of K",
            highest ? "as in the paper"
                    : "the curve is flat, and wrong facts that the reward models do not see grow with the temperature",
            "%s", highest ? "the highest best of K" : "the lowest one within 0.1 deviations of the best");
    departs(d, "answers left out of the pool", "not stated",
            "what was cut off would be learnt as an answer; a duplicate is no choice",
            "unfinished, duplicates, unsafe ones");
    departs(d, "samples chosen over", "V1 .. V3: the version before; then all",
            l->last_version ? "an option" : "few prompts a version: the newest one's alone are too few to learn from",
            "%s", l->last_version ? "the last version's" : "all versions'");
    departs(d, "fine-tuned from", "not stated (\"similar to SFT\")",
            l->from_sft ? "an option"
                        : "a version that begins anew has less from its reward models than one that goes on",
            "%s", l->from_sft ? "SFT-v1" : "the version before");
    departs(d, "fine-tuning on the best: learning rate; epochs", "2e-5; not stated",
            "a small model takes, and needs, larger steps", "%g; %lld", s->reject_lr, (long long)s->reject_epochs);
}

static void add_steps_between(departures *d, const loop *l)
{
    const pipeline_settings *s = &l->p->set;
    departs(d, "GAtt: instructions", "hobbies, languages, public figures, and several at once",
            "one kind, which a program can check, of persons of the world", "to act as a figure");
    departs(d, "GAtt: who answers the dialogues", "the latest RLHF model",
            "no text of the world has an instruction, or more than two turns: it has to learn first that there are",
            "V%d, fine-tuned on instructions that stand with the question, and on long dialogues", l->gatt);
    departs(d, "GAtt: dialogues; turns", "not stated",
            "as many turns as it is measured in; few dialogues keep to their instruction that long", "%lld; 1 .. %lld",
            (long long)s->gatt_dialogues, (long long)s->gatt_turns);
    departs(d, "GAtt: learnt of a dialogue", "the last answer",
            "few dialogues: each answer is an example, earlier turns without loss", "all answers");
    departs(d, "GAtt: learning rate; epochs", "not stated", "SFT's rate: a new ability, not a correction", "%g; %lld",
            s->sft_lr, (long long)s->reject_epochs);
    departs(d, "distillation: learning rate; epochs", "not stated", "those of fine-tuning on the best", "%g; %lld",
            s->reject_lr, (long long)s->reject_epochs);
    departs(d, "GAtt, distillation: mixed with", "not stated", "so that nothing else is forgotten",
            "chosen samples, %lld answers of its own", (long long)s->replay_prompts);
    departs(d, "distillation: prompts", "adversarial ones",
            "different ones about safety; at harmless ones one sees what the general preprompt does",
            "%lld, at most, harmless ones among them", (long long)s->distill_prompts);
    departs(d, "distillation: when", "with the safety data of RLHF",
            "before the last version, whose samples set right what it costs", "after V%d", l->distilled);
}

void show_loop_departures(const loop *l, report *r)
{
    const pipeline *p = l->p;
    departures d = {.n = 0};
    add_model(&d, p, (double)llama2_model_parameters(p->model));
    add_comparisons(&d, l);
    add_sampling(&d, l);
    add_steps_between(&d, l);
    char stop[HERE];
    snprintf(stop, sizeof stop, "by %lld held-out prompts each %lld iterations; the best is kept",
             (long long)p->set.ppo_held_out, (long long)p->set.ppo_every);
    add_ppo(&d, p, p->set.ppo_iterations,
            p->app.args.model ? "time" : "larger steps; in one run 200 raised the reward, but not the judge's score",
            stop, "the paper does not say how; it ends after some without a better one");
    departs(&d, "win rates are against", "ChatGPT", "there is no other model in this world", "SFT-v1");
    departs(&d, "who judges win rates", "annotators, GPT-4, and the own reward models",
            "it knows the right answers; no step asks it, but defaults were chosen by what it said of earlier runs",
            "a function without noise, and the own reward models");
    show(&d, "What is left out here is as in the paper.", r);
}

/* --- the ablations --------------------------------------------------------------------------- */

static void add_other_arms(departures *d, const pipeline *p)
{
    const pipeline_settings *s = &p->set;
    departs(d, "a reward model's comparisons (3.2.2)", "mixed, and open ones among them",
            "what an arm changes alone differs; two arms are mixed", "all of its own kind, the first ones included");
    departs(d, "sizes of reward models (fig. 6)", "7B, 13B, 70B", "two that can be trained in minutes",
            "this trunk, and one of half the width and layers");
    departs(d, "few good against many demonstrations (3.1)", "27,540 against millions",
            "the demonstrations that there are", "1 against 8");
    departs(d, "SFT arms: epochs", "2", "as in the paper; the control for as long as the loop takes has more",
            "2; %lld", (long long)s->longer_epochs);
    departs(d, "samples a prompt (rejection); temperature", "10 .. 100; the best one",
            "time; what the loop's rule comes to", "%lld; %g", (long long)s->reject_samples, s->reject_temperature);
    departs(d, "the ability that may be lost (3.2.3)", "rhyming lines",
            "the world has no rhymes; a program sees the order", "numbers put in order");
    add_ppo(d, p, 32, "time: larger steps, and fewer", "none",
            "arms end after a given number of iterations, to be compared at the same distance");
    departs(d, "PPO: begins with", "the last version by rejection sampling", "both methods from the same model",
            "the SFT model");
}

void show_ablation_departures(const pipeline *p, double parameters, bool margins, report *r)
{
    const pipeline_settings *s = &p->set;
    departures d = {.n = 0};
    add_model(&d, p, parameters);
    departs(&d, "who says which answer is better", "annotators",
            "an answer at once; it knows the right ones, and errs as annotators do", "a function, with noise");
    departs(&d, "comparisons before any model", "about 1.5e6, open data",
            "made by the same annotator from texts of the world", "%zu", p->data.helpful.n + p->data.safety.n);
    departs(&d, "comparisons of the SFT model's answers", "about 1e5 in a weekly batch", "as many as time allows",
            "%lld", (long long)s->sampled_pairs);
    add_rewards(&d, p, "the SFT model", "as in the paper", 1,
                margins ? "as in the paper" : "as in the paper; three arms have two");
    if (!margins) add_other_arms(&d, p);
    show(&d, "What is left out here is as in the paper.", r);
}
