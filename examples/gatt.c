/* llama2-gatt: Ghost Attention (section 3.3 of the paper), from dialogues to demonstrations. */
#include "common/progress.h"
#include "common/prompts.h"
#include "gatt/instructions.h"

#include <stdlib.h>
#include <string.h>

typedef struct ghost {
    app a;
    args_list data;
    instruction_lists lists;
    const char *out, *instruction, *placement;
    int64_t max_new_tokens;
    double temperature;
    bool keep_answers, every_turn;
    llama2_model *model;
    llama2_tokenizer *tokenizer;
    records dialogues; /* with their instructions */
    llama2_gatt *gatt;
    jsonl_writer *metrics;
    progress bar;
    uint64_t sampled; /* answers of earlier turns */
    int32_t *n_turns; /* of each dialogue */
    int32_t dropped;
    double began;
} ghost;

/* --- dialogues ------------------------------------------------------------------------------- */

static char *copy_text(const char *text)
{
    return strcpy(app_must(malloc(strlen(text) + 1)), text);
}

/* Instructions for the dialogues that bring none. */
static void instruct(ghost *s)
{
    for (size_t i = 0; i < s->dialogues.n; i++) {
        record *r = &s->dialogues.items[i];
        char full[INSTRUCTION_TEXT], kept[INSTRUCTION_TEXT];
        if (r->instruction) continue;
        if (s->instruction) {
            r->instruction = copy_text(s->instruction);
            continue;
        }
        instruction_make(&s->lists, s->a.args.seed, i, full, kept);
        r->instruction = copy_text(full);
        if (!r->kept_instruction) r->kept_instruction = copy_text(kept);
    }
}

/* The user's messages, and the answers between them where they stay. */
static bool create(ghost *s)
{
    const records *all = &s->dialogues;
    size_t n = 0, at = 0;
    for (size_t i = 0; i < all->n; i++) n += (size_t)all->items[i].n_messages;
    const char **messages = app_must(calloc(n, sizeof *messages)), **answers = app_must(calloc(n, sizeof *answers)),
               **instructions = app_must(calloc(all->n, sizeof *instructions)),
               **kept = app_must(calloc(all->n, sizeof *kept));
    s->n_turns = app_must(calloc(all->n, sizeof *s->n_turns));
    llama2_gatt_dialogues d = {.struct_size = sizeof d,
                               .n_dialogues = (int32_t)all->n,
                               .n_turns = s->n_turns,
                               .messages = messages,
                               .instructions = instructions,
                               .kept_instructions = kept,
                               .answers = answers};
    llama2_gatt_options o;
    llama2_gatt_options_init(&o, sizeof o);
    o.placement = s->placement && strcmp(s->placement, "user") == 0 ? LLAMA2_GATT_USER : LLAMA2_GATT_SYSTEM;
    o.every_turn = s->every_turn;
    for (size_t i = 0; i < all->n; i++) {
        const record *r = &all->items[i];
        instructions[i] = r->instruction;
        kept[i] = r->kept_instruction;
        for (int32_t k = 0; k < r->n_messages; k++) {
            if (r->roles[k] == LLAMA2_ROLE_USER) {
                messages[at++] = r->texts[k];
                s->n_turns[i]++;
            } else if (s->keep_answers && k + 1 < r->n_messages) {
                answers[at - 1] = r->texts[k];
            }
        }
    }
    bool ok = app_try(&s->a, llama2_gatt_create(s->tokenizer, &d, &o, &s->gatt), "dialogues");
    free(messages);
    free(answers);
    free(instructions);
    free(kept);
    return ok;
}

static bool load(ghost *s)
{
    app *a = &s->a;
    char error[1024];
    bool ok = app_load_to_read(a, a->args.model, &s->model, &s->tokenizer);
    for (size_t i = 0; ok && i < s->data.count; i++)
        ok = records_read(&s->dialogues, s->data.items[i], RECORD_TURNS, error, sizeof error) ||
             app_fail(a, "%s", error);
    if (ok && s->dialogues.n == 0) ok = app_fail(a, "there is no dialogue");
    if (ok) instruct(s);
    return ok && create(s) && app_make_out(a, s->out);
}

static jsonl_writer *open_file(ghost *s, const char *name)
{
    char path[4096], error[4200];
    snprintf(path, sizeof path, "%s/%s", s->out, name);
    jsonl_writer *writer = jsonl_create(path, false, error, sizeof error);
    if (!writer) app_fail(&s->a, "%s", error);
    return writer;
}

/* --- turns ----------------------------------------------------------------------------------- */

static int32_t show_progress(void *user, const llama2_rollout_event *event)
{
    ghost *s = user;
    progress_update(&s->bar, s->sampled + (uint64_t)event->samples_done, NULL);
    return 0;
}

/* Answers that nobody should learn from: empty ones, and those that did not end or that JSON can't say. */
static bool is_whole(const llama2_gatt_answer *answer)
{
    return (answer->ended_by == LLAMA2_END_EOS || answer->ended_by == LLAMA2_END_STOP) &&
           strspn(answer->text, " \n") < answer->length && !memchr(answer->text, 0, answer->length);
}

/* Drops the dialogues whose answer in this turn is not whole. */
static bool filter(ghost *s, int32_t turn)
{
    for (int32_t d = 0; d < (int32_t)s->dialogues.n; d++) {
        llama2_gatt_answer answer = {.struct_size = sizeof answer};
        if (turn >= s->n_turns[d]) continue;
        if (!app_try(&s->a, llama2_gatt_answer_get(s->gatt, d, turn, &answer), "answers")) return false;
        if (answer.state != LLAMA2_GATT_OPEN || !answer.sampled || is_whole(&answer)) continue;
        if (!app_try(&s->a, llama2_gatt_drop(s->gatt, d), "answers")) return false;
        s->dropped++;
    }
    return true;
}

static bool log_turn(ghost *s, const llama2_gatt_metrics *m)
{
    json_t *line =
        json_pack("{s:s, s:i, s:i, s:i, s:i, s:i, s:i}", "stage", "gatt", "step", m->turn + 1, "answers", m->n_answers,
                  "ended", m->n_ended, "dropped", s->dropped, "full", m->n_full, "marked", m->n_marked);
    app_put(line, "seconds", progress_now() - s->began);
    return jsonl_append(s->metrics, line) || app_fail(&s->a, "metrics.jsonl could not be written");
}

static bool sample(ghost *s)
{
    app *a = &s->a;
    uint64_t all = 0;
    llama2_rollout_options o;
    llama2_rollout_options_init(&o, sizeof o);
    o.max_new_tokens = (int32_t)s->max_new_tokens;
    o.temperature = s->temperature;
    o.seed = a->args.seed;
    o.progress = show_progress;
    o.user = s;
    for (size_t d = 0; d < s->dialogues.n; d++) all += (uint64_t)s->n_turns[d];
    progress_start(&s->bar, "gatt", "answers", all, 0, a->args.quiet);
    bool ok = true;
    while (ok && llama2_gatt_turns_left(s->gatt) > 0) {
        llama2_gatt_metrics m = {.struct_size = sizeof m};
        ok =
            app_try(a, llama2_gatt_turn(s->gatt, s->model, &o, &m), "sampling") && filter(s, m.turn) && log_turn(s, &m);
        s->sampled += (uint64_t)m.n_answers;
    }
    progress_finish(&s->bar, ok ? NULL : "stopped");
    return ok;
}

/* --- demonstrations -------------------------------------------------------------------------- */

/* Without the spaces around it. */
static char *trimmed(const char *text)
{
    char *copy = copy_text(text + strspn(text, " "));
    size_t n = strlen(copy);
    while (n > 0 && copy[n - 1] == ' ') n--;
    copy[n] = 0;
    return copy;
}

/* The dialogue up to its answer `last`, the instruction in its first turn only. */
static bool write_example(ghost *s, int32_t d, int32_t last, jsonl_writer *writer)
{
    const record *r = &s->dialogues.items[d];
    const char *kept = r->kept_instruction ? r->kept_instruction : r->instruction;
    bool in_message = s->placement && strcmp(s->placement, "user") == 0, ok = true;
    int32_t roles[2 * RECORD_MESSAGES + 1], n = 0, turn = 0;
    const char *texts[2 * RECORD_MESSAGES + 1];
    char *answers[RECORD_MESSAGES] = {NULL}, *first = NULL;
    if (!in_message) roles[n] = LLAMA2_ROLE_SYSTEM, texts[n++] = kept;
    for (int32_t i = 0; ok && i < r->n_messages && turn <= last; i++) {
        if (r->roles[i] != LLAMA2_ROLE_USER) continue;
        llama2_gatt_answer answer = {.struct_size = sizeof answer};
        ok = app_try(&s->a, llama2_gatt_answer_get(s->gatt, d, turn, &answer), "answers");
        if (!ok) break;
        roles[n] = LLAMA2_ROLE_USER;
        texts[n++] = r->texts[i];
        if (turn == 0 && in_message) {
            size_t size = strlen(kept) + strlen(r->texts[i]) + 3;
            first = app_must(malloc(size));
            snprintf(first, size, "%s\n\n%s", kept, r->texts[i]);
            texts[n - 1] = first;
        }
        answers[turn] = trimmed(answer.text);
        roles[n] = LLAMA2_ROLE_ASSISTANT;
        texts[n++] = answers[turn++];
    }
    if (ok) {
        records one = {0};
        json_t *line = record_line_last(records_add(&one, roles, texts, n - 1, NULL, NULL), texts[n - 1]);
        json_object_set_new(line, "sampled_under", json_string(r->instruction));
        ok = jsonl_append(writer, line) || app_fail(&s->a, "gatt.jsonl could not be written");
        records_free(&one);
    }
    for (int32_t t = 0; t < turn; t++) free(answers[t]);
    free(first);
    return ok;
}

/* The demonstrations, as llama2_gatt_examples has them as tokens. */
static bool write_examples(ghost *s, int64_t *kept, int64_t *examples)
{
    jsonl_writer *writer = open_file(s, "gatt.jsonl");
    bool ok = writer != NULL;
    for (int32_t d = 0; ok && d < (int32_t)s->dialogues.n; d++) {
        llama2_gatt_answer answer = {.struct_size = sizeof answer};
        for (int32_t t = s->every_turn ? 0 : s->n_turns[d] - 1; ok && t < s->n_turns[d]; t++) {
            ok = app_try(&s->a, llama2_gatt_answer_get(s->gatt, d, t, &answer), "answers");
            if (!ok || answer.state != LLAMA2_GATT_OPEN || !answer.sampled) continue;
            ok = write_example(s, d, t, writer);
            ++*examples;
        }
        *kept += answer.state == LLAMA2_GATT_OPEN;
    }
    if (!jsonl_finish(writer) && ok) ok = app_fail(&s->a, "gatt.jsonl could not be written");
    return ok;
}

static bool work(ghost *s)
{
    int64_t kept = 0, examples = 0;
    s->began = progress_now();
    s->metrics = open_file(s, "metrics.jsonl");
    bool ok = s->metrics && sample(s) && write_examples(s, &kept, &examples);
    if (s->metrics && !jsonl_finish(s->metrics) && ok) ok = app_fail(&s->a, "metrics.jsonl could not be written");
    if (ok && examples == 0 && !s->a.args.quiet)
        fprintf(stderr, "%s: no dialogue was kept: their answers did not end, or did not fit\n", s->a.program->name);
    return ok && app_print(&s->a, json_pack("{s:s, s:I, s:I, s:I, s:I}", "out", s->out, "dialogues",
                                            (json_int_t)s->dialogues.n, "answers", (json_int_t)s->sampled, "kept",
                                            (json_int_t)kept, "examples", (json_int_t)examples));
}

int main(int argc, char **argv)
{
    ghost s = {.max_new_tokens = 256, .temperature = 1};
    const args_option options[] = {
        {"data", ARGS_LIST, &s.data, "FILE", "dialogues, JSON Lines (docs/formats.md); may be given several times", 0,
         0},
        {"out", ARGS_TEXT, &s.out, "DIR", "where gatt.jsonl and metrics.jsonl go", 0, 0},
        {"instruction", ARGS_TEXT, &s.instruction, "TEXT",
         "for dialogues that have none of their own (default: synthetic ones)", 0, 0},
        {"hobby", ARGS_LIST, &s.lists.hobbies, "WORD", "for synthetic instructions, in place of our own list", 0, 0},
        {"language", ARGS_LIST, &s.lists.languages, "WORD", "likewise", 0, 0},
        {"figure", ARGS_LIST, &s.lists.figures, "NAME", "likewise", 0, 0},
        {"placement", ARGS_TEXT, &s.placement, "WHERE",
         "of the instruction in a demonstration: system (the system message, the default) or user (the first message)",
         0, 0},
        {"keep-answers", ARGS_FLAG, &s.keep_answers, NULL,
         "answers in the data stay, and the last one alone is sampled, as in the paper", 0, 0},
        {"every-turn", ARGS_FLAG, &s.every_turn, NULL, "a demonstration for each sampled answer, not for the last only",
         0, 0},
        {"temperature", ARGS_REAL, &s.temperature, "T", "of the answers (1)", 0, 100},
        {"max-new-tokens", ARGS_INTEGER, &s.max_new_tokens, "N", "longest answer in tokens (256)", 1, 1e9},
        {0},
    };
    const args_program program = {
        .name = "llama2-gatt",
        .summary =
            "Ghost Attention: dialogues answered under an instruction that is in every message, to be learnt with "
            "it in the first.",
        .usage = "--model DIR --data FILE --out DIR [--instruction TEXT] [options]",
        .options = options,
        .notes = "gatt.jsonl has the demonstrations for llama2-sft, which learns their last answers alone. A dialogue "
                 "is dropped where an answer is empty or\ndid not end, where it does not fit the context, or where an "
                 "answer holds markers of the chat format."};
    int status = app_parse(&s.a, &program, argc, argv);
    if (status != ARGS_GO) return status;
    if (!s.a.args.model) return args_usage(&program, "--model is missing");
    if (s.data.count == 0) return args_usage(&program, "--data is missing");
    const args_list *lists[] = {&s.lists.hobbies, &s.lists.languages, &s.lists.figures};
    for (size_t i = 0; i < 3; i++)
        for (size_t k = 0; k < lists[i]->count; k++)
            if (strlen(lists[i]->items[k]) > INSTRUCTION_WORD)
                return args_usage(&program, "%s: hobbies, languages and figures have at most %d bytes",
                                  lists[i]->items[k], INSTRUCTION_WORD);
    if (!s.out) return args_usage(&program, "--out is missing");
    if (s.placement && strcmp(s.placement, "system") != 0 && strcmp(s.placement, "user") != 0)
        return args_usage(&program, "--placement %s: expected system or user", s.placement);
    bool ok = app_begin(&s.a) && load(&s) && work(&s);
    llama2_gatt_free(s.gatt);
    records_free(&s.dialogues);
    free(s.n_turns);
    llama2_model_free(s.model);
    llama2_tokenizer_free(s.tokenizer);
    return app_end(&s.a, ok);
}
