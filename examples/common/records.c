#include "common/records.h"

#include "common/jsonl.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const role_names[] = {"system", "user", "assistant"}; /* LLAMA2_ROLE_* */
const char *const record_ratings[4] = {"significantly_better", "better", "slightly_better", "negligibly_better"};
const char *const record_choices[2] = {"first", "second"};
const char *const record_bins[4] = {"chosen_safe", "both_safe", "both_unsafe", "other_safe"};

static void *must(void *p)
{
    if (p) return p;
    fputs("out of memory\n", stderr);
    exit(1);
}

static char *copy_text(const char *text)
{
    return text ? strcpy(must(malloc(strlen(text) + 1)), text) : NULL;
}

/* FNV-1a, from h on. */
static uint64_t hash_message(uint64_t h, int32_t role, const char *text)
{
    h = (h ^ (uint64_t)role) * 0x100000001b3u;
    for (const char *c = text; *c; c++) h = (h ^ (unsigned char)*c) * 0x100000001b3u;
    return h;
}

static uint64_t hash_dialogue(const record *r)
{
    uint64_t h = 0xcbf29ce484222325u;
    for (int32_t i = 0; i < r->n_messages; i++) h = hash_message(h, r->roles[i], r->texts[i]);
    return h;
}

uint64_t record_first_prompt(const record *r)
{
    int32_t first = r->n_messages > 1 && r->roles[0] == LLAMA2_ROLE_SYSTEM;
    const record alone = {.n_messages = 1, .roles = r->roles + first, .texts = r->texts + first};
    return hash_dialogue(&alone);
}

record *records_add(records *all, const int32_t *roles, const char *const *texts, int32_t n, const char *answer,
                    const char *rejected)
{
    if (all->n == all->capacity) {
        all->capacity = all->capacity ? 2 * all->capacity : 256;
        all->items = must(realloc(all->items, all->capacity * sizeof *all->items));
    }
    record *r = &all->items[all->n++];
    *r = (record){.n_messages = n, .rating = -1, .chosen_safe = -1, .rejected_safe = -1, .score = NAN};
    r->roles = must(malloc((size_t)n * sizeof *r->roles));
    r->texts = must(malloc((size_t)n * sizeof *r->texts));
    for (int32_t i = 0; i < n; i++) {
        r->roles[i] = roles[i];
        r->texts[i] = copy_text(texts[i]);
    }
    r->answer = copy_text(answer);
    r->rejected = copy_text(rejected);
    r->id = hash_dialogue(r);
    return r;
}

static void free_record(record *r)
{
    for (int32_t i = 0; i < r->n_messages; i++) free(r->texts[i]);
    free(r->texts);
    free(r->roles);
    free(r->answer);
    free(r->rejected);
    free(r->risk);
    free(r->instruction);
    free(r->kept_instruction);
}

void records_free(records *all)
{
    for (size_t i = 0; i < all->n; i++) free_record(&all->items[i]);
    for (size_t i = 0; i < all->n_files; i++) free(all->files[i]);
    free(all->files);
    free(all->items);
    *all = (records){0};
}

const char *record_place(const record *r, const char *what, size_t index, char place[RECORD_PLACE])
{
    if (r->file)
        snprintf(place, RECORD_PLACE, "%s:%llu", r->file, (unsigned long long)r->line);
    else
        snprintf(place, RECORD_PLACE, "%s %zu", what, index + 1);
    return place;
}

size_t records_drop_below(records *all, double least)
{
    size_t kept = 0, n = all->n;
    for (size_t i = 0; i < n; i++) {
        if (all->items[i].score < least)
            free_record(&all->items[i]);
        else
            all->items[kept++] = all->items[i];
    }
    all->n = kept;
    return n - kept;
}

bool records_see(records_seen *s, uint64_t hash)
{
    if (2 * (s->n + 1) > s->places) {
        records_seen larger = {.places = s->places ? 2 * s->places : 1024};
        larger.hashes = must(calloc(larger.places, sizeof *larger.hashes));
        for (size_t i = 0; i < s->places; i++)
            if (s->hashes[i]) records_see(&larger, s->hashes[i]);
        free(s->hashes);
        *s = larger;
    }
    hash += hash == 0;
    size_t at = (size_t)hash & (s->places - 1);
    for (; s->hashes[at]; at = (at + 1) & (s->places - 1))
        if (s->hashes[at] == hash) return false;
    s->hashes[at] = hash;
    s->n++;
    return true;
}

size_t records_drop_seen(records *all, records_seen *seen)
{
    size_t kept = 0, n = all->n;
    for (size_t i = 0; i < n; i++) {
        record *r = &all->items[i];
        if (records_see(seen, r->answer ? hash_message(r->id, LLAMA2_ROLE_ASSISTANT, r->answer) : r->id))
            all->items[kept++] = *r;
        else
            free_record(r);
    }
    all->n = kept;
    return n - kept;
}

static void add_message(json_t *messages, int32_t role, const char *text)
{
    json_array_append_new(messages, json_pack("{s:s, s:s}", "role", role_names[role], "content", text));
}

json_t *record_line(const record *r, const char *answer)
{
    json_t *messages = json_array();
    for (int32_t i = 0; i < r->n_messages; i++) add_message(messages, r->roles[i], r->texts[i]);
    if (answer) add_message(messages, LLAMA2_ROLE_ASSISTANT, answer);
    return json_pack("{s:o}", "messages", messages);
}

json_t *record_line_last(const record *r, const char *answer)
{
    json_t *line = record_line(r, answer);
    json_object_set_new(line, "train", json_string("last"));
    return line;
}

/* --- reading --------------------------------------------------------------------------------- */

/* Messages of one line as they are read; the texts belong to the line, or to `own`. */
typedef struct dialogue {
    int32_t n;
    int32_t roles[RECORD_MESSAGES];
    const char *texts[RECORD_MESSAGES];
    char *own;
} dialogue;

static bool push(dialogue *d, int32_t role, const char *text)
{
    if (d->n == RECORD_MESSAGES) return false;
    d->roles[d->n] = role;
    d->texts[d->n++] = text;
    return true;
}

static int32_t role_of(const char *name)
{
    for (int32_t i = 0; name && i < 3; i++)
        if (strcmp(name, role_names[i]) == 0) return i;
    return -1;
}

static const char *string_at(const json_t *line, const char *key)
{
    return json_string_value(json_object_get(line, key));
}

/* Of what may be left out: with another type it would be passed over, and nobody would know. NULL, or what is wrong. */
static const char *check_types(const json_t *line, record_kind kind)
{
    enum { DEMONSTRATION = 1, COMPARISON = 2, PROMPT = 4, TURNS = 8 }; /* by record_kind */
    static const struct {
        const char *key, *wrong;
        int text, kinds;
    } types[] = {
        {"system", "\"system\" is not a text", 1, DEMONSTRATION | COMPARISON | PROMPT},
        {"rating", "\"rating\" is not a text", 1, COMPARISON},
        {"risk", "\"risk\" is not a text", 1, PROMPT},
        {"instruction", "\"instruction\" is not a text", 1, TURNS},
        {"kept_instruction", "\"kept_instruction\" is not a text", 1, TURNS},
        {"is_safety", "\"is_safety\" is neither true nor false", 0, COMPARISON | PROMPT},
        {"chosen_safe", "\"chosen_safe\" is neither true nor false", 0, COMPARISON},
        {"rejected_safe", "\"rejected_safe\" is neither true nor false", 0, COMPARISON},
    };
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        const json_t *value = json_object_get(line, types[i].key);
        if ((types[i].kinds & 1 << kind) && value && !json_is_null(value) &&
            !(types[i].text ? json_is_string(value) : json_is_boolean(value)))
            return types[i].wrong;
    }
    return NULL;
}

/* "messages", or "prompt" with an optional "system". NULL, or what is wrong. */
static const char *read_dialogue(const json_t *line, dialogue *d)
{
    const json_t *messages = json_object_get(line, "messages");
    const char *system = string_at(line, "system"), *prompt = string_at(line, "prompt");
    if (messages) {
        size_t i;
        json_t *m;
        if (!json_is_array(messages)) return "\"messages\" is not an array";
        json_array_foreach(messages, i, m)
        {
            int32_t role = role_of(string_at(m, "role"));
            const char *text = string_at(m, "content");
            if (role < 0 || !text) return "a message needs \"role\" (system, user or assistant) and \"content\"";
            if (!push(d, role, text)) return "more than 256 messages";
        }
        return d->n > 0 ? NULL : "\"messages\" is empty";
    }
    if (!prompt) return "neither \"messages\" nor \"prompt\"";
    if (system) push(d, LLAMA2_ROLE_SYSTEM, system);
    push(d, LLAMA2_ROLE_USER, prompt);
    return NULL;
}

/* "\n\nHuman: ...\n\nAssistant: ..." */
static const char *read_transcript(const char *text, dialogue *d)
{
    static const char *const marks[] = {"", "\n\nHuman:", "\n\nAssistant:"};
    d->own = copy_text(text);
    char *at = d->own;
    int32_t role = LLAMA2_ROLE_USER;
    if (strncmp(at, marks[role], strlen(marks[role])) != 0) return "a transcript begins with \"\\n\\nHuman:\"";
    while (at) {
        at += strlen(marks[role]);
        if (!push(d, role, at)) return "more than 256 messages";
        /* A speaker who goes on under a mark of his own keeps it as text: turns alternate. */
        role = role == LLAMA2_ROLE_USER ? LLAMA2_ROLE_ASSISTANT : LLAMA2_ROLE_USER;
        char *next = strstr(at, marks[role]);
        if (next) *next = 0; /* the mark's first byte ends the text before it */
        at = next;
    }
    return NULL;
}

static int32_t label_at(const json_t *line, const char *key)
{
    const json_t *v = json_object_get(line, key);
    return json_is_boolean(v) ? json_is_true(v) : -1;
}

int32_t record_word(const json_t *line, const char *key, const char *const *words, int32_t n)
{
    const json_t *value = json_object_get(line, key);
    if (!value || json_is_null(value)) return -1;
    for (int32_t i = 0; json_is_string(value) && i < n; i++)
        if (strcmp(json_string_value(value), words[i]) == 0) return i;
    return -2;
}

static int32_t rating_at(const json_t *line)
{
    int32_t rating = record_word(line, "rating", record_ratings, 4);
    return rating < 0 ? -1 : rating;
}

/* A dialogue for the chat format has its roles in turn. */
static const char *check_turns(const dialogue *d, int32_t last)
{
    int32_t first = d->n > 0 && d->roles[0] == LLAMA2_ROLE_SYSTEM;
    for (int32_t i = first; i < d->n; i++)
        if (d->roles[i] != ((i - first) % 2 ? LLAMA2_ROLE_ASSISTANT : LLAMA2_ROLE_USER))
            return "user and assistant do not take turns";
    return d->n > first && d->roles[d->n - 1] == last ? NULL
           : last == LLAMA2_ROLE_USER                 ? "does not end with a user message"
                                                      : "does not end with an answer";
}

static const char *add_demonstrations(records *all, const json_t *line)
{
    dialogue d = {0};
    const char *instruction = string_at(line, "instruction"), *wrong = check_types(line, RECORD_DEMONSTRATION);
    if (wrong) return wrong;
    if (instruction) {
        size_t i;
        json_t *instance;
        if (json_array_size(json_object_get(line, "instances")) == 0)
            return "an \"instruction\" without \"instances\", which hold its inputs and outputs";
        json_array_foreach(json_object_get(line, "instances"), i, instance)
        {
            const char *input = string_at(instance, "input"), *output = string_at(instance, "output");
            if (!output) return "an instance has no \"output\"";
            const json_t *other = json_object_get(instance, "input");
            if (!input && other && !json_is_null(other)) return "\"input\" is not a text";
            size_t size = strlen(instruction) + (input ? strlen(input) : 0) + 3;
            char *text = must(malloc(size));
            snprintf(text, size, input && *input ? "%s\n\n%s" : "%s", instruction, input);
            const char *texts[] = {text};
            records_add(all, (const int32_t[]){LLAMA2_ROLE_USER}, texts, 1, output, NULL);
            free(text);
        }
        return NULL;
    }
    if ((wrong = read_dialogue(line, &d))) return wrong;
    const char *response = string_at(line, "response");
    if (response && !push(&d, LLAMA2_ROLE_ASSISTANT, response)) return "more than 256 messages";
    if ((wrong = check_turns(&d, LLAMA2_ROLE_ASSISTANT))) return wrong;
    const char *train = string_at(line, "train");
    bool last = train && strcmp(train, "last") == 0;
    if (json_object_get(line, "train") && !last && (!train || strcmp(train, "all") != 0))
        return "\"train\" is neither \"all\" nor \"last\"";
    const json_t *score = json_object_get(line, "score");
    if (score && !json_is_number(score)) return "\"score\" is not a number";
    record *r = records_add(all, d.roles, d.texts, d.n - 1, d.texts[d.n - 1], NULL);
    r->last_only = last;
    if (score) r->score = json_number_value(score);
    return NULL;
}

static const char *add_transcripts(records *all, const char *chosen, const char *rejected)
{
    dialogue a = {0}, b = {0};
    const char *wrong = read_transcript(chosen, &a);
    if (!wrong) wrong = read_transcript(rejected, &b);
    if (!wrong) wrong = check_turns(&a, LLAMA2_ROLE_ASSISTANT);
    if (!wrong) wrong = check_turns(&b, LLAMA2_ROLE_ASSISTANT);
    /* The two may part before the last answer: the history is then the shared one, and the rest belongs to neither. */
    int32_t shared = 0;
    while (!wrong && shared < a.n && shared < b.n && strcmp(a.texts[shared], b.texts[shared]) == 0) shared++;
    if (!wrong && (shared == a.n || shared == b.n))
        wrong = "chosen and rejected are the same, or one is the beginning of the other";
    if (!wrong && shared % 2 == 0) wrong = "chosen and rejected part before the assistant speaks";
    if (!wrong) records_add(all, a.roles, a.texts, shared, a.texts[shared], b.texts[shared]);
    free(a.own);
    free(b.own);
    return wrong;
}

const char *record_annotation(const json_t *line, int32_t *chosen, int32_t *rating, int32_t *chosen_safe,
                              int32_t *other_safe)
{
    const json_t *responses = json_object_get(line, "responses");
    int32_t bin = record_word(line, "bin", record_bins, 4);
    const char *wrong = check_types(line, RECORD_COMPARISON);
    *chosen = record_word(line, "choice", record_choices, 2);
    *rating = *chosen < 0 ? -1 : rating_at(line);
    *chosen_safe = bin < 0 ? -1 : bin == LLAMA2_BIN_CHOSEN_SAFE || bin == LLAMA2_BIN_BOTH_SAFE;
    *other_safe = bin < 0 ? -1 : bin == LLAMA2_BIN_OTHER_SAFE || bin == LLAMA2_BIN_BOTH_SAFE;
    if (wrong) return wrong;
    if (json_array_size(responses) != 2 || !json_is_string(json_array_get(responses, 0)) ||
        !json_is_string(json_array_get(responses, 1)))
        return "\"responses\" is not an array of two texts";
    if (*chosen < -1) return "\"choice\" is not first, second or null";
    if (bin < -1) return "\"bin\" is not chosen_safe, both_safe, both_unsafe, other_safe or null";
    return bin >= 0 && *chosen < 0 ? "\"bin\" without a \"choice\"" : NULL;
}

/* A line of llama2-collect; without a choice it is no comparison yet, and passed over. */
static const char *add_annotated(records *all, const json_t *line)
{
    dialogue d = {0};
    int32_t chosen, rating, chosen_safe, other_safe;
    const char *wrong = record_annotation(line, &chosen, &rating, &chosen_safe, &other_safe);
    if (!wrong) wrong = read_dialogue(line, &d);
    if (!wrong) wrong = check_turns(&d, LLAMA2_ROLE_USER);
    if (wrong || chosen < 0) return wrong;
    const json_t *responses = json_object_get(line, "responses");
    record *r = records_add(all, d.roles, d.texts, d.n, json_string_value(json_array_get(responses, (size_t)chosen)),
                            json_string_value(json_array_get(responses, 1 - (size_t)chosen)));
    r->rating = rating;
    r->chosen_safe = chosen_safe;
    r->rejected_safe = other_safe;
    r->is_safety = json_is_true(json_object_get(line, "is_safety"));
    return NULL;
}

static const char *add_comparison(records *all, const json_t *line)
{
    dialogue d = {0};
    const char *chosen = string_at(line, "chosen"), *rejected = string_at(line, "rejected"),
               *wrong = check_types(line, RECORD_COMPARISON);
    if (json_object_get(line, "responses")) return add_annotated(all, line);
    if (wrong) return wrong;
    if (!chosen || !rejected) return "\"chosen\" or \"rejected\" is missing";
    if (!json_object_get(line, "prompt") && !json_object_get(line, "messages")) {
        wrong = add_transcripts(all, chosen, rejected);
    } else {
        wrong = read_dialogue(line, &d);
        if (!wrong) wrong = check_turns(&d, LLAMA2_ROLE_USER);
        if (!wrong) records_add(all, d.roles, d.texts, d.n, chosen, rejected);
    }
    if (wrong) return wrong;
    record *r = &all->items[all->n - 1];
    r->rating = rating_at(line);
    r->chosen_safe = label_at(line, "chosen_safe");
    r->rejected_safe = label_at(line, "rejected_safe");
    r->is_safety = json_is_true(json_object_get(line, "is_safety"));
    return NULL;
}

const char *records_add_prompt(records *all, const json_t *line)
{
    dialogue d = {0};
    const char *wrong = check_types(line, RECORD_PROMPT);
    if (!wrong) wrong = read_dialogue(line, &d);
    if (!wrong) wrong = check_turns(&d, LLAMA2_ROLE_USER);
    if (wrong) return wrong;
    record *r = records_add(all, d.roles, d.texts, d.n, NULL, NULL);
    r->is_safety = json_is_true(json_object_get(line, "is_safety"));
    r->risk = copy_text(string_at(line, "risk"));
    return NULL;
}

/* "turns", the user's messages alone, or a dialogue that may end with either. */
static const char *add_turns(records *all, const json_t *line)
{
    dialogue d = {0};
    const json_t *turns = json_object_get(line, "turns");
    const char *wrong = check_types(line, RECORD_TURNS);
    size_t i;
    json_t *text;
    if (wrong) return wrong;
    if (turns && !json_is_array(turns)) return "\"turns\" is not an array";
    json_array_foreach(turns, i, text)
    {
        if (!json_is_string(text)) return "\"turns\" are the texts of the user";
        if (!push(&d, LLAMA2_ROLE_USER, json_string_value(text))) return "more than 256 messages";
    }
    if (turns && d.n == 0) return "\"turns\" is empty";
    if (!turns) {
        wrong = read_dialogue(line, &d);
        if (!wrong) wrong = check_turns(&d, d.roles[d.n - 1]);
        if (!wrong && d.roles[0] == LLAMA2_ROLE_SYSTEM) wrong = "a system message, whose place is the instruction's";
    }
    if (wrong) return wrong;
    record *r = records_add(all, d.roles, d.texts, d.n, NULL, NULL);
    r->instruction = copy_text(string_at(line, "instruction"));
    r->kept_instruction = copy_text(string_at(line, "kept_instruction"));
    return NULL;
}

static const char *add_line(records *all, const json_t *line, record_kind kind)
{
    return kind == RECORD_DEMONSTRATION ? add_demonstrations(all, line)
           : kind == RECORD_COMPARISON  ? add_comparison(all, line)
           : kind == RECORD_TURNS       ? add_turns(all, line)
                                        : records_add_prompt(all, line);
}

bool records_read(records *all, const char *path, record_kind kind, char *error, size_t error_size)
{
    jsonl_reader *reader = jsonl_open(path, error, error_size);
    json_t *line;
    int status;
    if (!reader) return false;
    all->files = must(realloc(all->files, (all->n_files + 1) * sizeof *all->files));
    const char *file = all->files[all->n_files++] = copy_text(path);
    while ((status = jsonl_next(reader, &line)) == JSONL_LINE) {
        size_t first = all->n;
        const char *wrong = add_line(all, line, kind);
        for (size_t i = first; i < all->n; i++) {
            all->items[i].file = file;
            all->items[i].line = jsonl_line_number(reader);
        }
        json_decref(line);
        if (wrong) {
            status = jsonl_fail(reader, "%s", wrong);
            break;
        }
    }
    if (status == JSONL_ERROR) snprintf(error, error_size, "%s", jsonl_error(reader));
    jsonl_close(reader);
    return status != JSONL_ERROR;
}

/* --- encoding -------------------------------------------------------------------------------- */

static llama2_status encode_from(const llama2_tokenizer *tokenizer, const record *r, int32_t system, int32_t first,
                                 const char *answer, float earlier, int32_t *tokens, float *weights, int64_t capacity,
                                 int64_t *needed)
{
    int32_t roles[RECORD_MESSAGES + 1], n = 0;
    const char *texts[RECORD_MESSAGES + 1];
    float message_weights[RECORD_MESSAGES + 1] = {0};
    llama2_chat chat;
    if (system) roles[n] = r->roles[0], texts[n++] = r->texts[0];
    for (int32_t i = first; i < r->n_messages; i++) {
        roles[n] = r->roles[i];
        texts[n] = r->texts[i];
        message_weights[n++] = earlier;
    }
    if (answer) {
        roles[n] = LLAMA2_ROLE_ASSISTANT;
        texts[n] = answer;
        message_weights[n++] = 1;
    }
    llama2_chat_init(&chat, sizeof chat);
    chat.n_messages = n;
    chat.roles = roles;
    chat.texts = texts;
    chat.loss_weights = message_weights;
    return llama2_chat_encode(tokenizer, &chat, answer ? LLAMA2_CHAT_COMPLETE : 0, tokens, weights, capacity, needed);
}

int64_t record_encode(const llama2_tokenizer *tokenizer, const record *r, const char *answer, int32_t *tokens,
                      float *weights, int64_t max_tokens)
{
    return record_encode_turns(tokenizer, r, answer, 0, tokens, weights, max_tokens);
}

int64_t record_encode_turns(const llama2_tokenizer *tokenizer, const record *r, const char *answer, float earlier,
                            int32_t *tokens, float *weights, int64_t max_tokens)
{
    int32_t system = r->n_messages > 0 && r->roles[0] == LLAMA2_ROLE_SYSTEM;
    for (int32_t first = system; first < r->n_messages; first += 2) {
        int64_t needed;
        llama2_status status =
            encode_from(tokenizer, r, system, first, answer, earlier, tokens, weights, max_tokens, &needed);
        if (status >= 0) return needed;
        if (status != LLAMA2_E_BUFFER) return -1;
    }
    return 0;
}
