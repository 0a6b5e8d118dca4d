/*
 * Ghost Attention (section 3.3), on the version that it follows:
 *
 * 1. "act as greta." is nothing that this model has met. It learns it first where the instruction stands with the
 *    question, from its own chosen answers: what the paper's V3 could do already.
 * 2. Dialogues with the instruction in every message of the user, answered by that model; one that breaks its
 *    instruction is dropped. The others are learnt with the instruction in the first turn only.
 *
 * Measured as in Table 30: the share of dialogues whose answer in a turn follows an instruction that was given once, in
 * phrasings that no training has, on questions that no training has; once with figures that training acts as, once with
 * others.
 */
#include "common/world.h"
#include "pipeline/loop.h"

#include <stdlib.h>
#include <string.h>

enum { MOST_TURNS = 32, MOST_MESSAGES = 2 * MOST_TURNS + 1 };

/* Questions of one message, of the helpful kind. */
static size_t *questions(const prompt_set *prompts, size_t *n)
{
    size_t *index = app_must(malloc((prompts->tokens.n + 1) * sizeof *index));
    *n = 0;
    for (size_t i = 0; i < prompts->tokens.n; i++)
        if (prompts->of[i]->n_messages == 1 && !prompts->of[i]->is_safety) index[(*n)++] = i;
    return index;
}

/* --- how long an instruction is kept ----------------------------------------------------------- */

typedef struct dialogue {
    world_instruction instruction;
    int32_t n, roles[MOST_MESSAGES]; /* messages so far */
    char *texts[MOST_MESSAGES];
    bool closed; /* its next turn does not fit, or an answer holds markers of the chat format */
} dialogue;

static void say(dialogue *d, int32_t role, const char *text)
{
    d->roles[d->n] = role;
    d->texts[d->n++] = strcpy(app_must(malloc(strlen(text) + 1)), text);
}

/* The dialogues that are open, as prompts; open[i]: which one prompt i is. */
static void encode_open(const pipeline *p, dialogue *all, size_t n, size_t *open, example_set *prompts)
{
    enum { LONGEST = 4096 };
    int64_t room = p->set.config.max_seq_len - p->set.max_new_tokens;
    int32_t *tokens = app_must(malloc(LONGEST * sizeof *tokens));
    for (size_t i = 0; i < n; i++) {
        dialogue *d = &all[i];
        records one = {0};
        if (d->closed) continue;
        const record *r = records_add(&one, d->roles, (const char *const *)d->texts, d->n, NULL, NULL);
        int64_t length = record_encode(p->data.tokenizer, r, NULL, tokens, NULL, LONGEST);
        d->closed = length <= 0 || length > room || length == LONGEST; /* at LONGEST it may have been cut */
        if (!d->closed) {
            open[prompts->n] = i;
            examples_add(prompts, tokens, NULL, length, length);
        }
        records_free(&one);
    }
    free(tokens);
}

typedef struct turn_counts {
    int64_t answers, kept, right; /* right: kept, and the rest of the answer is right */
} turn_counts;

/* Each open dialogue is asked its question and answers. */
static bool take_turn(loop *l, dialogue *all, size_t n, const size_t *asked, uint64_t seed, turn_counts *counts)
{
    pipeline *p = l->p;
    size_t *open = app_must(malloc((n + 1) * sizeof *open)), *index = app_must(malloc((n + 1) * sizeof *index));
    example_set prompts = {0};
    llama2_packer *packer = NULL;
    llama2_batch batch;
    llama2_rollouts_view v = {.struct_size = sizeof v};
    llama2_rollouts *r = NULL;
    llama2_rollout_options o;
    llama2_rollout_options_init(&o, sizeof o);
    o.max_new_tokens = (int32_t)p->set.max_new_tokens;
    o.seed = seed;
    for (size_t i = 0; i < n; i++) {
        index[i] = i;
        if (!all[i].closed) say(&all[i], LLAMA2_ROLE_USER, p->evaluation.of[asked[i]]->texts[0]);
    }
    encode_open(p, all, n, open, &prompts);
    bool ok = app_try(&p->app, llama2_packer_create(p->app.ctx, NULL, &packer), "packing");
    if (ok && prompts.n > 0)
        ok = examples_batch(&p->app, &prompts, index, prompts.n, packer, &batch) &&
             app_try(&p->app, llama2_rollout(p->model, &batch, &o, &r), "sampling") &&
             app_try(&p->app, llama2_rollouts_view_get(r, &v), "sampling");
    for (size_t i = 0; ok && i < prompts.n; i++) {
        dialogue *d = &all[open[i]];
        char *answer = response_text(p, &v, (int32_t)i);
        const char *rest = world_follows(&d->instruction, answer);
        gold g = {0};
        if (rest) judge_answer(p, &p->evaluation, asked[open[i]], rest, &g);
        counts->answers++;
        counts->kept += rest != NULL;
        counts->right += g.correct;
        say(d, LLAMA2_ROLE_ASSISTANT, answer);
        free(answer);
    }
    llama2_rollouts_free(r);
    llama2_packer_free(packer);
    examples_free(&prompts);
    free(open);
    free(index);
    return ok;
}

/* A line for each turn, into `lines` and the metrics. */
static bool measure_on(loop *l, const char *model, world_novelty novelty, json_t *lines)
{
    pipeline *p = l->p;
    size_t n = (size_t)p->set.gatt_evaluations, n_questions, *from = questions(&p->evaluation, &n_questions),
           *asked = app_must(malloc(n * sizeof *asked));
    dialogue *all = app_must(calloc(n, sizeof *all));
    bool ok = n_questions > 0 || app_fail(&p->app, "no held-out question can be asked in a dialogue");
    for (size_t i = 0; i < n; i++) {
        world_instruct(0, i, novelty, &all[i].instruction);
        say(&all[i], LLAMA2_ROLE_SYSTEM, all[i].instruction.text);
    }
    for (int64_t turn = 0; ok && turn < p->set.gatt_turns; turn++) {
        turn_counts c = {0};
        for (size_t i = 0; i < n; i++) asked[i] = from[app_mix(301 + (uint64_t)turn, i) % n_questions];
        ok = take_turn(l, all, n, asked, loop_seed(l, 291 + MOST_TURNS * (uint64_t)novelty + (uint64_t)turn), &c);
        if (!ok) break;
        json_t *line = json_pack("{s:s, s:s, s:s, s:I, s:I}", "stage", "gatt/kept", "model", model, "figures",
                                 novelty == WORLD_NEW_FIGURE ? "new" : "known", "turn", (json_int_t)(turn + 1),
                                 "dialogues", (json_int_t)c.answers);
        app_put(line, "kept", (double)c.kept / (double)c.answers);
        app_put(line, "right", (double)c.right / (double)c.answers);
        json_array_append(lines, line);
        ok = jsonl_append(p->metrics, line) || app_fail(&p->app, "metrics.jsonl could not be written");
    }
    for (size_t i = 0; i < n; i++)
        for (int32_t k = 0; k < all[i].n; k++) free(all[i].texts[k]);
    free(all);
    free(asked);
    free(from);
    return ok;
}

/* Phrasings are new in both, figures in the second. */
static bool measure(loop *l, const char *model, json_t *lines)
{
    return measure_on(l, model, WORLD_NEW_PHRASING, lines) && measure_on(l, model, WORLD_NEW_FIGURE, lines);
}

/* --- following in the same turn ------------------------------------------------------------------ */

/* The chosen answers to single questions. */
static bool read_answers(loop *l, records *out)
{
    static const int32_t user = LLAMA2_ROLE_USER;
    pipeline *p = l->p;
    int64_t n = 0, room = p->set.config.max_seq_len;
    int32_t *tokens = app_must(malloc((size_t)room * sizeof *tokens));
    float *weights = app_must(malloc((size_t)room * sizeof *weights));
    bool ok = open_chosen(l, &n);
    for (int64_t i = 0; ok && i < n; i++) {
        llama2_pool_sample s = {.struct_size = sizeof s};
        ok = chosen_sample(l, i, &s);
        const record *asked = ok ? p->prompts.of[prompt_of(p, s.prompt_id)] : NULL;
        if (!ok || asked->n_messages > 1 || asked->is_safety) continue;
        char *text = app_must(
            prompts_answer(&p->app, p->data.tokenizer, s.tokens + s.prompt_length, s.n_tokens - s.prompt_length));
        /* What was sampled as tokens may, as a text, hold markers of the chat format. */
        if (record_encode(p->data.tokenizer, asked, text, tokens, weights, room) >= 0)
            records_add(out, &user, (const char *const *)asked->texts, 1, text, NULL);
        free(text);
    }
    free(tokens);
    free(weights);
    return ok && (out->n > 0 || app_fail(&p->app, "no answer to a single question was chosen"));
}

/* Each under an instruction: in the system message, or before the question. */
static void add_instructed(const loop *l, const records *answers, records *out)
{
    static const int32_t roles[] = {LLAMA2_ROLE_SYSTEM, LLAMA2_ROLE_USER};
    for (size_t i = 0; i < 2 * answers->n; i++) {
        const record *r = &answers->items[i / 2];
        world_instruction w;
        char joined[2 * WORLD_TEXT], answer[2 * WORLD_TEXT];
        world_instruct(l->p->app.args.seed, i, WORLD_TRAINED, &w);
        snprintf(joined, sizeof joined, "%s\n\n%s", w.text, r->texts[0]);
        snprintf(answer, sizeof answer, "%s%s", w.opening, r->answer);
        const char *texts[] = {w.text, r->texts[0]}, *one[] = {joined};
        bool system = i % 2 == 0;
        records_add(out, system ? roles : roles + 1, system ? texts : one, system ? 2 : 1, answer, NULL);
    }
}

/* Several after one another, half of them with an instruction that stands with the last question: this model has met no
 * dialogue of more than two turns. */
static void add_talks(loop *l, const records *answers, records *out)
{
    int32_t roles[MOST_MESSAGES];
    const char *texts[MOST_MESSAGES];
    for (int32_t k = 0; k < MOST_MESSAGES; k++) roles[k] = k % 2 == 0 ? LLAMA2_ROLE_USER : LLAMA2_ROLE_ASSISTANT;
    for (uint64_t i = 0; i < (uint64_t)l->p->set.gatt_dialogues; i++) {
        int32_t turns = 1 + (int32_t)(app_mix(loop_seed(l, 286), i) % (uint64_t)l->p->set.gatt_turns), last = 2 * turns;
        world_instruction w;
        char joined[2 * WORLD_TEXT], answer[2 * WORLD_TEXT];
        for (int32_t k = 0; k < turns; k++) {
            const record *r = &answers->items[app_mix(loop_seed(l, 287), i * MOST_TURNS + (uint64_t)k) % answers->n];
            texts[2 * k] = r->texts[0];
            texts[2 * k + 1] = r->answer;
        }
        if (i % 2 == 0) {
            world_instruct(l->p->app.args.seed, ((uint64_t)1 << 33) + i, WORLD_TRAINED, &w);
            snprintf(joined, sizeof joined, "%s\n\n%s", w.text, texts[last - 2]);
            snprintf(answer, sizeof answer, "%s%s", w.opening, texts[last - 1]);
            texts[last - 2] = joined;
            texts[last - 1] = answer;
        }
        records_add(out, roles, texts, last - 1, texts[last - 1], NULL);
    }
}

/* What V3 of the paper could do already: follow an instruction that stands with the question, and talk for long. */
static bool prepare(loop *l, example_set *out)
{
    pipeline *p = l->p;
    records answers = {0}, under = {0}, talks = {0};
    int64_t left_out;
    bool ok = read_answers(l, &answers);
    if (ok) {
        add_instructed(l, &answers, &under);
        add_talks(l, &answers, &talks);
    }
    ok = ok && examples_encode(&p->app, p->data.tokenizer, &under, 0, p->set.config.max_seq_len, out, &left_out) &&
         examples_encode(&p->app, p->data.tokenizer, &talks, 1, p->set.config.max_seq_len, out, &left_out);
    records_free(&answers);
    records_free(&under);
    records_free(&talks);
    return ok;
}

/* --- the dialogues --------------------------------------------------------------------------------- */

static bool create_dialogues(loop *l, world_instruction *w, int32_t *turns, llama2_gatt **out)
{
    pipeline *p = l->p;
    size_t n = (size_t)p->set.gatt_dialogues, most = n * (size_t)p->set.gatt_turns, at = 0, n_questions,
           *from = questions(&p->prompts, &n_questions);
    const char **messages = app_must(malloc(most * sizeof *messages)), **texts = app_must(malloc(n * sizeof *texts)),
               **kept = app_must(malloc(n * sizeof *kept));
    const llama2_gatt_dialogues d = {.struct_size = sizeof d,
                                     .n_dialogues = (int32_t)n,
                                     .n_turns = turns,
                                     .messages = messages,
                                     .instructions = texts,
                                     .kept_instructions = kept};
    llama2_gatt_options o;
    llama2_gatt_options_init(&o, sizeof o);
    o.every_turn = 1;
    bool ok = n_questions > 0 || app_fail(&p->app, "no question can be asked in a dialogue");
    for (size_t i = 0; ok && i < n; i++) {
        world_instruct(p->app.args.seed, ((uint64_t)1 << 32) + i, WORLD_TRAINED, &w[i]);
        texts[i] = w[i].text;
        kept[i] = w[i].kept;
        turns[i] = 1 + (int32_t)(app_mix(loop_seed(l, 283), i) % (uint64_t)p->set.gatt_turns);
        for (int32_t k = 0; k < turns[i]; k++)
            messages[at++] =
                p->prompts.of[from[app_mix(loop_seed(l, 284), i * MOST_TURNS + (uint64_t)k) % n_questions]]->texts[0];
    }
    ok = ok && app_try(&p->app, llama2_gatt_create(p->data.tokenizer, &d, &o, out), "dialogues");
    free(messages);
    free(texts);
    free(kept);
    free(from);
    return ok;
}

/* Those go whose answer in this turn did not end, or broke the instruction. A tiny run would keep none. */
static bool drop_broken(loop *l, llama2_gatt *gatt, const world_instruction *w, const int32_t *turns, int32_t turn)
{
    app *a = &l->p->app;
    for (int32_t i = 0; i < (int32_t)l->p->set.gatt_dialogues && !l->tiny; i++) {
        llama2_gatt_answer answer = {.struct_size = sizeof answer};
        if (turn >= turns[i]) continue;
        if (!app_try(a, llama2_gatt_answer_get(gatt, i, turn, &answer), "answers")) return false;
        if (answer.state != LLAMA2_GATT_OPEN ||
            (answer.ended_by == LLAMA2_END_EOS && world_follows(&w[i], answer.text)))
            continue;
        if (!app_try(a, llama2_gatt_drop(gatt, i), "answers")) return false;
    }
    return true;
}

static bool collect_examples(loop *l, llama2_gatt *gatt, example_set *out)
{
    app *a = &l->p->app;
    llama2_rollouts *r = NULL;
    llama2_rollouts_view v = {.struct_size = sizeof v};
    bool ok = app_try(a, llama2_gatt_examples(gatt, &r), "examples") &&
              app_try(a, llama2_rollouts_view_get(r, &v), "examples");
    for (int32_t i = 0; ok && i < v.n_samples; i++)
        examples_add(out, v.tokens + v.offsets[i], NULL, v.prompt_lengths[i], v.offsets[i + 1] - v.offsets[i]);
    llama2_rollouts_free(r);
    return ok;
}

/* by_turn: how many dialogues have a turn that is learnt from: they are long enough and never broke the instruction. */
static bool sample_dialogues(loop *l, example_set *out, json_t *by_turn)
{
    pipeline *p = l->p;
    size_t n = (size_t)p->set.gatt_dialogues;
    world_instruction *w = app_must(malloc(n * sizeof *w));
    int32_t *turns = app_must(calloc(n, sizeof *turns)), open = 0, learnt[MOST_TURNS] = {0};
    llama2_gatt *gatt = NULL;
    llama2_rollout_options o;
    llama2_rollout_options_init(&o, sizeof o);
    o.max_new_tokens = (int32_t)p->set.max_new_tokens;
    o.seed = loop_seed(l, 285);
    bool ok = read_temperature(l, &o.temperature) && create_dialogues(l, w, turns, &gatt);
    while (ok && llama2_gatt_turns_left(gatt) > 0) {
        llama2_gatt_metrics m = {.struct_size = sizeof m};
        ok = app_try(&p->app, llama2_gatt_turn(gatt, p->model, &o, &m), "sampling") &&
             drop_broken(l, gatt, w, turns, m.turn);
        if (!ok) break;
        json_t *line = json_pack("{s:s, s:i, s:i, s:i, s:i, s:i}", "stage", "gatt", "turn", m.turn + 1, "answers",
                                 m.n_answers, "ended", m.n_ended, "full", m.n_full, "marked", m.n_marked);
        ok = jsonl_append(p->metrics, line) || app_fail(&p->app, "metrics.jsonl could not be written");
    }
    for (int32_t i = 0; ok && i < (int32_t)n; i++) {
        llama2_gatt_answer answer = {.struct_size = sizeof answer};
        ok = app_try(&p->app, llama2_gatt_answer_get(gatt, i, 0, &answer), "answers");
        open += answer.state == LLAMA2_GATT_OPEN;
        for (int32_t k = 0; ok && answer.state == LLAMA2_GATT_OPEN && k < turns[i]; k++) learnt[k]++;
    }
    for (int64_t k = 0; k < p->set.gatt_turns; k++) json_array_append_new(by_turn, json_integer(learnt[k]));
    ok = ok && (open == 0 || collect_examples(l, gatt, out));
    llama2_gatt_free(gatt);
    free(turns);
    free(w);
    return ok;
}

static void add_examples(example_set *to, const example_set *from)
{
    for (size_t i = 0; i < from->n; i++)
        examples_add(to, from->items[i].tokens, from->items[i].weights, 0, from->items[i].n);
}

bool step_gatt(loop *l)
{
    pipeline *p = l->p;
    char names[3][32];
    int version = l->steps[l->at].version;
    json_t *lines = json_array(), *by_turn = json_array();
    example_set replay = {0}, in_turn = {0}, dialogues = {0};
    snprintf(names[0], sizeof names[0], "V%d", version);
    snprintf(names[1], sizeof names[1], "V%d, instructed", version);
    snprintf(names[2], sizeof names[2], "V%d with GAtt", version);
    bool ok =
        newest_model(l, 0, &p->model) && add_replay(l, &replay) && measure(l, names[0], lines) && prepare(l, &in_turn);
    int64_t n = (int64_t)in_turn.n;
    add_examples(&in_turn, &replay);
    ok = ok && train_on_mixed(l, "instruct", &in_turn, n, p->set.sft_epochs, p->set.sft_lr) &&
         measure(l, names[1], lines) && sample_dialogues(l, &dialogues, by_turn);
    n = (int64_t)dialogues.n;
    add_examples(&dialogues, &replay);
    ok = ok && train_on_mixed(l, "gatt", &dialogues, n, p->set.reject_epochs, p->set.sft_lr) &&
         measure(l, names[2], lines) && save_chat_model(l, p->model);
    examples_free(&replay);
    examples_free(&in_turn);
    examples_free(&dialogues);
    if (ok)
        return state_write_lines(l, "kept.jsonl", lines) &&
               state_write_json(l, "dialogues.json",
                                json_pack("{s:I, s:I, s:o}", "dialogues", (json_int_t)p->set.gatt_dialogues, "examples",
                                          (json_int_t)n, "learnt_by_turn", by_turn));
    json_decref(lines);
    json_decref(by_turn);
    return false;
}
