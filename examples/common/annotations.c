#include "common/annotations.h"

#include "common/jsonl.h"

#include <stdio.h>

static json_t *text_or_null(const char *text)
{
    return *text ? json_string(text) : json_null();
}

static json_t *word(const char *const *words, int32_t i)
{
    return i < 0 ? json_null() : json_string(words[i]);
}

json_t *annotation_line(const record *dialogue, const llama2_preference *p)
{
    json_t *line = json_pack("{s:o}", "id", text_or_null(p->id)), *of_dialogue = record_line(dialogue, NULL);
    json_object_update(line, of_dialogue);
    json_decref(of_dialogue);
    json_object_set_new(line, "is_safety", json_boolean(p->kind == LLAMA2_KIND_SAFETY));
    json_object_set_new(line, "responses", json_pack("[s, s]", p->responses[0], p->responses[1]));
    json_object_set_new(line, "choice", word(record_choices, p->chosen));
    json_object_set_new(line, "rating", word(record_ratings, p->rating));
    json_object_set_new(line, "bin", word(record_bins, llama2_preference_bin(p)));
    json_object_set_new(line, "annotator", text_or_null(p->annotator));
    json_object_set_new(line, "batch", text_or_null(p->batch));
    json_object_set_new(line, "guideline", text_or_null(p->guideline));
    json_object_set_new(line, "models", json_pack("[o, o]", text_or_null(p->models[0]), text_or_null(p->models[1])));
    json_object_set_new(line, "temperatures", json_pack("[f, f]", p->temperatures[0], p->temperatures[1]));
    return line;
}

static const char *text_at(const json_t *line, const char *key)
{
    return json_string_value(json_object_get(line, key));
}

const char *annotations_add(llama2_preferences *all, const json_t *line)
{
    const json_t *responses = json_object_get(line, "responses"), *models = json_object_get(line, "models"),
                 *temperatures = json_object_get(line, "temperatures");
    const char *texts[2], *names[2], *id = text_at(line, "id"), *annotator = text_at(line, "annotator");
    double degrees[2];
    int32_t chosen, rating, labels[2]; /* of the chosen response, and of the other */
    char whole_id[512];
    records dialogue = {0};
    llama2_preference p;
    if (!responses) return "no \"responses\": which of two stood first is not known";
    const char *wrong = record_annotation(line, &chosen, &rating, &labels[0], &labels[1]);
    if (!wrong) wrong = records_add_prompt(&dialogue, line);
    if (wrong) return wrong;
    const record *r = &dialogue.items[0];
    for (size_t k = 0; k < 2; k++) {
        const json_t *degree = json_array_get(temperatures, k);
        texts[k] = json_string_value(json_array_get(responses, k));
        names[k] = json_string_value(json_array_get(models, k));
        degrees[k] = json_is_number(degree) ? json_number_value(degree) : -1;
    }
    llama2_preference_init(&p, sizeof p);
    p.n_messages = r->n_messages;
    p.roles = r->roles;
    p.texts = (const char *const *)r->texts;
    p.responses = texts;
    p.models = names;
    p.temperatures = degrees;
    p.kind = r->is_safety ? LLAMA2_KIND_SAFETY : LLAMA2_KIND_HELPFUL;
    p.chosen = chosen;
    p.rating = rating;
    p.safe = (const int32_t[]){labels[chosen == 1], labels[chosen != 1]};
    snprintf(whole_id, sizeof whole_id, "%s %s", id ? id : "", annotator ? annotator : "");
    p.id = id ? whole_id : NULL;
    p.annotator = annotator;
    p.batch = text_at(line, "batch");
    p.guideline = text_at(line, "guideline");
    llama2_status status = llama2_preferences_add(all, &p);
    records_free(&dialogue);
    return status < 0 ? llama2_last_error() : NULL;
}

bool annotations_read(llama2_preferences *all, const char *path, char *error, size_t error_size)
{
    jsonl_reader *reader = jsonl_open(path, error, error_size);
    json_t *line;
    int status;
    if (!reader) return false;
    while ((status = jsonl_next(reader, &line)) == JSONL_LINE) {
        const char *wrong = annotations_add(all, line);
        json_decref(line);
        if (!wrong) continue;
        status = jsonl_fail(reader, "%s", wrong);
        break;
    }
    if (status == JSONL_ERROR) snprintf(error, error_size, "%s", jsonl_error(reader));
    jsonl_close(reader);
    return status != JSONL_ERROR;
}
