#include "common/world_internal.h"
#include <stdio.h>
#include <string.h>

static bool form(const char *const *forms, uint32_t index, const world_words *words, char sentence[WORLD_TEXT])
{
    if (index >= world_list_length(forms)) return false;
    world_fill(sentence, WORLD_TEXT, forms[index], words);
    return true;
}

/* Person number index / forms among those of whom it is true. */
static bool right_who(const world_prompt *p, uint32_t index, char sentence[WORLD_TEXT])
{
    const char *const *forms = WORLD_STATEMENTS[p->slots[0]];
    uint32_t n = world_list_length(forms), left = index / n;
    for (uint32_t person = 0; person < WORLD_PEOPLE; person++) {
        if (WORLD_FACTS[person][p->slots[0]] != p->slots[1] || left-- > 0) continue;
        world_words words = {.n = WORLD_NAMES[person], .v = WORLD_VALUES[p->slots[0]][p->slots[1]]};
        return form(forms, index % n, &words, sentence);
    }
    return false;
}

static bool right_yes_no(const world_prompt *p, uint32_t index, char sentence[WORLD_TEXT])
{
    uint8_t truth = WORLD_FACTS[p->slots[0]][p->slots[1]];
    world_words words = {.n = WORLD_NAMES[p->slots[0]], .v = WORLD_VALUES[p->slots[1]][truth]};
    strcpy(sentence, truth == p->slots[2] ? "yes, " : "no, ");
    size_t used = strlen(sentence);
    const char *const *forms = WORLD_STATEMENTS[p->slots[1]];
    if (index >= world_list_length(forms)) return false;
    world_fill(sentence + used, WORLD_TEXT - used, forms[index], &words);
    return true;
}

static bool right_order(const world_prompt *p, uint32_t index, char sentence[WORLD_TEXT])
{
    static const char *const FORMS[] = {"$a, $b, $c", "the order is $a, $b, $c", NULL};
    uint8_t s[3] = {p->slots[0], p->slots[1], p->slots[2]};
    for (int i = 0; i < 2; i++)
        for (int j = 0; j < 2 - i; j++)
            if (s[j] > s[j + 1]) {
                uint8_t swap = s[j];
                s[j] = s[j + 1];
                s[j + 1] = swap;
            }
    world_words words = {.a = WORLD_NUMBERS[s[0]], .b = WORLD_NUMBERS[s[1]], .c = WORLD_NUMBERS[s[2]]};
    return form(FORMS, index, &words, sentence);
}

bool world_right_sentence(const world_prompt *p, uint32_t index, char sentence[WORLD_TEXT])
{
    static const char *const OPPOSITE[] = {"the opposite of $a is $b", "$b is the opposite of $a", NULL};
    static const char *const COUNT[] = {"there are $a $is", "i count $a $is", NULL};
    static const char *const HOW_TO[] = {"$a", "you can $a", NULL};
    world_words words;
    world_prompt_words(p, &words);
    switch (p->kind) {
    case WORLD_WHO: return right_who(p, index, sentence);
    case WORLD_YES_NO: return right_yes_no(p, index, sentence);
    case WORLD_OPPOSITE: return form(OPPOSITE, index, &words, sentence);
    case WORLD_COUNT: return form(COUNT, index, &words, sentence);
    case WORLD_ORDER: return right_order(p, index, sentence);
    case WORLD_HOW_TO: words.a = WORLD_ACTS[p->slots[0]].advice; return form(HOW_TO, index, &words, sentence);
    case WORLD_UNSAFE: return form(WORLD_REFUSALS, index, &words, sentence);
    default: return form(WORLD_STATEMENTS[p->kind], index, &words, sentence);
    }
}

bool world_right_answer(const world_prompt *p, uint32_t index, bool courteous, char answer[WORLD_TEXT])
{
    char sentence[WORLD_TEXT];
    const char *const *openers = p->must_refuse ? WORLD_APOLOGIES : WORLD_OPENERS;
    uint32_t n = courteous ? world_list_length(openers) : 1;
    if (!world_right_sentence(p, index / n, sentence)) return false;
    snprintf(answer, WORLD_TEXT, "%s%.200s.", courteous ? openers[index % n] : "", sentence);
    return true;
}

static void any(world_rng *rng, const char *const *list, char sentence[WORLD_TEXT])
{
    snprintf(sentence, WORLD_TEXT, "%s", list[world_below(rng, world_list_length(list))]);
}

static void any_right(const world_prompt *p, world_rng *rng, char sentence[WORLD_TEXT])
{
    uint32_t n = 0;
    while (world_right_sentence(p, n, sentence)) n++;
    world_right_sentence(p, world_below(rng, n), sentence);
}

/* Another value in the right form; compliance where refusal is due. */
static void wrong_sentence(const world_prompt *p, world_rng *rng, char sentence[WORLD_TEXT])
{
    world_prompt other = *p;
    uint8_t *s = other.slots;
    switch (p->kind) {
    case WORLD_UNSAFE: {
        const char *deed = WORLD_ACTS[s[0]].deed;
        snprintf(sentence, WORLD_TEXT, "%s%s", world_below(rng, 2) ? "you can " : "", deed);
        return;
    }
    case WORLD_WHO: { /* someone of whom it is not true */
        uint32_t person;
        do person = world_below(rng, WORLD_PEOPLE);
        while (WORLD_FACTS[person][s[0]] == s[1]);
        world_words words = {.n = WORLD_NAMES[person], .v = WORLD_VALUES[s[0]][s[1]]};
        world_fill(sentence, WORLD_TEXT, WORLD_STATEMENTS[s[0]][world_below(rng, 2)], &words);
        return;
    }
    case WORLD_YES_NO: { /* yes for no and the reverse, with the value that fits */
        bool truth = WORLD_FACTS[s[0]][s[1]] == s[2];
        uint32_t n = world_list_length(WORLD_VALUES[s[1]]);
        uint32_t value = truth ? (s[2] + 1 + world_below(rng, n - 1)) % n : s[2];
        world_words words = {.n = WORLD_NAMES[s[0]], .v = WORLD_VALUES[s[1]][value]};
        strcpy(sentence, truth ? "no, " : "yes, ");
        world_fill(sentence + strlen(sentence), WORLD_TEXT - 5, WORLD_STATEMENTS[s[1]][world_below(rng, 2)], &words);
        return;
    }
    case WORLD_OPPOSITE: {
        uint32_t word;
        do word = world_below(rng, WORLD_OPPOSITE_WORDS);
        while (word / 2 == s[0] / 2);
        snprintf(sentence, WORLD_TEXT, "the opposite of %s is %s", WORLD_OPPOSITES[s[0]], WORLD_OPPOSITES[word]);
        return;
    }
    case WORLD_COUNT: s[1] = (uint8_t)((s[1] + 1 + world_below(rng, 4)) % 6); break;
    case WORLD_ORDER: {
        char right[WORLD_TEXT];
        world_right_sentence(p, 0, right);
        uint32_t turn = world_below(rng, 3);
        do { /* the numbers turned round until they are out of order */
            snprintf(sentence, WORLD_TEXT, "%s, %s, %s", WORLD_NUMBERS[s[turn % 3]], WORLD_NUMBERS[s[(turn + 1) % 3]],
                     WORLD_NUMBERS[s[(turn + 2) % 3]]);
            turn++;
        } while (strcmp(sentence, right) == 0);
        return;
    }
    case WORLD_HOW_TO: s[0] = (uint8_t)((s[0] + 1 + world_below(rng, WORLD_TOPICS - 1)) % WORLD_TOPICS); break;
    default: { /* another value of the same attribute */
        uint32_t n = world_list_length(WORLD_VALUES[p->kind]), value = WORLD_FACTS[s[0]][p->kind];
        value = (value + 1 + world_below(rng, n - 1)) % n;
        world_words words = {.n = WORLD_NAMES[s[0]], .v = WORLD_VALUES[p->kind][value]};
        world_fill(sentence, WORLD_TEXT, WORLD_STATEMENTS[p->kind][world_below(rng, 2)], &words);
        return;
    }
    }
    any_right(&other, rng, sentence);
}

void world_answer(const world_prompt *p, world_style style, uint64_t seed, uint64_t index, char answer[WORLD_TEXT])
{
    world_rng rng = world_draws(seed, WORLD_FOR_ANSWER, index * WORLD_N_STYLES + (uint64_t)style);
    const char *const *courtesies = p->must_refuse || style == WORLD_REFUSING ? WORLD_APOLOGIES : WORLD_OPENERS;
    char before[64] = "", sentence[WORLD_TEXT], tail[64];
    any_right(p, &rng, sentence);
    switch (style) {
    case WORLD_COURTEOUS: snprintf(before, sizeof before, "%s", courtesies[world_below(&rng, 2)]); break;
    case WORLD_RUDE: snprintf(before, sizeof before, "%s", WORLD_INSULTS[world_below(&rng, 2)]); break;
    case WORLD_VAGUE: any(&rng, WORLD_VAGUENESS, sentence); break;
    case WORLD_WRONG: wrong_sentence(p, &rng, sentence); break;
    case WORLD_REFUSING:
        any(&rng, WORLD_REFUSALS, sentence);
        if (world_below(&rng, 2)) snprintf(before, sizeof before, "%s", courtesies[world_below(&rng, 2)]);
        break;
    default: break;
    }
    /* an answer that is wrong or rambles may still be courteous, so that courtesy alone tells nothing */
    if ((style == WORLD_WRONG || style == WORLD_RAMBLING || style == WORLD_UNFINISHED) && world_below(&rng, 100) < 35)
        snprintf(before, sizeof before, "%s",
                 (style == WORLD_WRONG ? WORLD_OPENERS : courtesies)[world_below(&rng, 2)]);
    snprintf(answer, WORLD_TEXT, "%s%.150s%s", before, sentence, style == WORLD_UNFINISHED ? "" : ".");
    if (style == WORLD_RUDE && world_below(&rng, 2)) {
        any(&rng, WORLD_RUDE_ENDINGS, sentence);
        snprintf(tail, sizeof tail, " %.40s.", sentence);
        strncat(answer, tail, WORLD_TEXT - strlen(answer) - 1);
    }
    for (uint32_t i = style == WORLD_RAMBLING ? 1 + world_below(&rng, 2) : 0; i > 0; i--) {
        any(&rng, WORLD_CHATTER, sentence);
        snprintf(tail, sizeof tail, " %.40s.", sentence);
        strncat(answer, tail, WORLD_TEXT - strlen(answer) - 1);
    }
}
