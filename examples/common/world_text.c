/* Pretraining documents, the chat format as text, and the hash that freezes it all. */
#include "common/world_internal.h"
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static void append(char text[WORLD_DOCUMENT], const char *format, ...) __attribute__((format(printf, 2, 3)));
static void append(char text[WORLD_DOCUMENT], const char *format, ...)
{
    va_list list;
    size_t used = strlen(text);
    va_start(list, format);
    vsnprintf(text + used, WORLD_DOCUMENT - used, format, list);
    va_end(list);
}

/* All that one person is: the four facts in any order. */
static void write_person(world_rng *rng, char text[WORLD_DOCUMENT])
{
    uint32_t person = world_below(rng, WORLD_PEOPLE), start = world_below(rng, WORLD_ATTRIBUTES),
             step = world_below(rng, 2) ? 1 : 3;
    for (uint32_t i = 0; i < WORLD_ATTRIBUTES; i++) {
        uint32_t attribute = (start + i * step) % WORLD_ATTRIBUTES;
        char sentence[WORLD_TEXT];
        world_words words = {.n = WORLD_NAMES[person], .v = WORLD_VALUES[attribute][WORLD_FACTS[person][attribute]]};
        world_fill(sentence, sizeof sentence, WORLD_STATEMENTS[attribute][world_below(rng, 2)], &words);
        append(text, "%s%s.", i ? " " : "", sentence);
    }
}

/* Everyone who shares a value. */
static void write_group(world_rng *rng, char text[WORLD_DOCUMENT])
{
    uint32_t attribute = world_below(rng, WORLD_ATTRIBUTES),
             value = world_below(rng, world_list_length(WORLD_VALUES[attribute]));
    const char *gap = "";
    for (uint32_t person = 0; person < WORLD_PEOPLE; person++) {
        char sentence[WORLD_TEXT];
        if (WORLD_FACTS[person][attribute] != value) continue;
        world_words words = {.n = WORLD_NAMES[person], .v = WORLD_VALUES[attribute][value]};
        world_fill(sentence, sizeof sentence, WORLD_STATEMENTS[attribute][world_below(rng, 2)], &words);
        append(text, "%s%s.", gap, sentence);
        gap = " ";
    }
}

/* What the other kinds know, and small talk; the village's texts are neither kind nor safe throughout. */
static void write_lore(world_rng *rng, char text[WORLD_DOCUMENT])
{
    for (uint32_t i = 0; i < 3; i++) {
        const char *gap = i ? " " : "";
        uint32_t word = world_below(rng, WORLD_OPPOSITE_WORDS), a = world_below(rng, WORLD_DIGITS - 1);
        const world_act *act = &WORLD_ACTS[world_below(rng, WORLD_TOPICS)];
        switch (world_below(rng, 8)) {
        case 0:
        case 1:
            append(text, "%s%s is the opposite of %s.", gap, WORLD_OPPOSITES[word ^ 1], WORLD_OPPOSITES[word]);
            break;
        case 2: append(text, "%safter %s comes %s.", gap, WORLD_NUMBERS[a], WORLD_NUMBERS[a + 1]); break;
        case 3: append(text, "%sto %s, %s.", gap, act->safe, act->advice); break;
        case 4: append(text, "%sto %s, %s.", gap, act->unsafe, act->deed); break;
        case 5: append(text, "%sit is wrong to %s.", gap, act->unsafe); break;
        case 6: append(text, "%sit is true that a person may please someone with these.", gap); break;
        default: append(text, "%s%s.", gap, WORLD_CHATTER[world_below(rng, world_list_length(WORLD_CHATTER))]); break;
        }
    }
}

/* Questions with right answers, in trained phrasings; what is unsafe is answered here as it is elsewhere in raw text.
 */
static void write_questions(world_rng *rng, char text[WORLD_DOCUMENT])
{
    static const uint8_t SHARES[WORLD_N_KINDS] = {10, 10, 10, 10, 9, 10, 9, 10, 12, 6, 4};
    for (uint32_t i = 0; i < 2; i++) {
        char answer[WORLD_TEXT];
        world_prompt prompt;
        world_kind kind = (world_kind)world_pick(rng, SHARES, WORLD_N_KINDS);
        world_draw_prompt(rng, kind, false, world_below(rng, 5) == 0, &prompt);
        world_style style = kind == WORLD_UNSAFE && world_below(rng, 2) ? WORLD_WRONG : WORLD_PLAIN;
        world_answer(&prompt, style, rng->key, rng->count, answer);
        append(text, i ? " " : "");
        if (prompt.turns == 2) append(text, "q: %s a: %s ", prompt.user[0], prompt.reply);
        append(text, "q: %s a: %s", prompt.user[prompt.turns - 1], answer);
    }
}

size_t world_document(uint64_t seed, uint64_t index, char text[WORLD_DOCUMENT])
{
    world_rng rng = world_draws(seed, WORLD_FOR_DOCUMENT, index);
    uint32_t which = world_below(&rng, 100);
    text[0] = 0;
    if (which < 25)
        write_person(&rng, text);
    else if (which < 33)
        write_group(&rng, text);
    else if (which < 45)
        write_lore(&rng, text);
    else
        write_questions(&rng, text);
    return strlen(text);
}

size_t world_chat_text(const world_prompt *p, const char *answer, char text[WORLD_DOCUMENT])
{
    text[0] = 0;
    if (p->turns == 2) append(text, "[INST] %s [/INST] %s ", p->user[0], p->reply);
    append(text, "[INST] %s [/INST] %s", p->user[p->turns - 1], answer);
    return strlen(text);
}

static void hash_text(uint64_t *hash, const char *text)
{
    do *hash = (*hash ^ (unsigned char)*text) * 0x100000001B3u;
    while (*text++); /* the byte 0 as well, so that texts do not run together */
}

static void hash_number(uint64_t *hash, uint64_t value)
{
    char text[24];
    snprintf(text, sizeof text, "%llu", (unsigned long long)value);
    hash_text(hash, text);
}

static void hash_prompt(uint64_t *hash, const world_prompt *p)
{
    char text[WORLD_DOCUMENT];
    world_chat_text(p, "", text);
    hash_text(hash, text);
    hash_number(hash, (uint64_t)p->kind);
    for (uint32_t i = 0; i < 4; i++) hash_number(hash, p->slots[i]);
}

uint64_t world_hash(void)
{
    uint64_t hash = 0xCBF29CE484222325u;
    char text[WORLD_DOCUMENT];
    world_prompt prompt;
    world_demonstration demonstration;
    world_preference pair;
    for (uint64_t i = 0; i < 2000; i++) {
        world_document(WORLD_SEED, i, text);
        hash_text(&hash, text);
        world_evaluation_prompt(i, &prompt);
        hash_prompt(&hash, &prompt);
        world_training_prompt(WORLD_SEED, i, WORLD_HELPFUL, &prompt);
        hash_prompt(&hash, &prompt);
        world_demonstrate(WORLD_SEED, i, &demonstration);
        hash_prompt(&hash, &demonstration.prompt);
        hash_text(&hash, demonstration.answer);
        world_first_preference(WORLD_SEED, i, i % 2 ? WORLD_SAFETY : WORLD_HELPFUL, &pair);
        hash_prompt(&hash, &pair.prompt);
        for (int k = 0; k < 2; k++) {
            double score = world_judge(&pair.prompt, pair.answers[k], strlen(pair.answers[k]), NULL);
            hash_text(&hash, pair.answers[k]);
            hash_number(&hash, pair.label.safe[k]);
            hash_number(&hash, (uint64_t)(score * 1000 + 1000.5));
        }
        hash_number(&hash, pair.label.chosen);
        hash_number(&hash, (uint64_t)pair.label.degree);
    }
    return hash;
}
