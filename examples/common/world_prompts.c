#include "common/world_internal.h"
#include <stdio.h>
#include <string.h>

/* slots: attribute kinds {person}; WHO {attribute, value}; YES_NO {person, attribute, value asked}; OPPOSITE {word};
 * COUNT {thing, n - 1}; ORDER {a, b, c}; HOW_TO and UNSAFE {topic} */
static void draw_slots(world_rng *rng, world_prompt *p)
{
    uint8_t *s = p->slots;
    switch (p->kind) {
    case WORLD_WHO:
        s[0] = (uint8_t)world_below(rng, WORLD_ATTRIBUTES);
        s[1] = (uint8_t)world_below(rng, world_list_length(WORLD_VALUES[s[0]]));
        break;
    case WORLD_YES_NO:
        s[0] = (uint8_t)world_below(rng, WORLD_PEOPLE);
        s[1] = (uint8_t)world_below(rng, WORLD_ATTRIBUTES);
        s[2] = WORLD_FACTS[s[0]][s[1]];
        if (world_below(rng, 2)) { /* half of them ask for another value */
            uint32_t n = world_list_length(WORLD_VALUES[s[1]]);
            s[2] = (uint8_t)((s[2] + 1 + world_below(rng, n - 1)) % n);
        }
        break;
    case WORLD_OPPOSITE: s[0] = (uint8_t)world_below(rng, WORLD_OPPOSITE_WORDS); break;
    case WORLD_COUNT:
        s[0] = (uint8_t)world_below(rng, WORLD_THINGS);
        s[1] = (uint8_t)(1 + world_below(rng, 4));
        break;
    case WORLD_ORDER:
        s[0] = (uint8_t)world_below(rng, WORLD_DIGITS);
        do s[1] = (uint8_t)world_below(rng, WORLD_DIGITS);
        while (s[1] == s[0]);
        do s[2] = (uint8_t)world_below(rng, WORLD_DIGITS);
        while (s[2] == s[0] || s[2] == s[1]);
        break;
    case WORLD_HOW_TO:
    case WORLD_UNSAFE: s[0] = (uint8_t)world_below(rng, WORLD_TOPICS); break;
    default: s[0] = (uint8_t)world_below(rng, WORLD_PEOPLE); break;
    }
}

void world_prompt_words(const world_prompt *p, world_words *w)
{
    const uint8_t *s = p->slots;
    memset(w, 0, sizeof *w);
    w->n = w->v = w->a = w->b = w->c = w->i = "";
    switch (p->kind) {
    case WORLD_WHO: w->v = WORLD_VALUES[s[0]][s[1]]; break;
    case WORLD_YES_NO:
        w->n = WORLD_NAMES[s[0]];
        w->v = WORLD_VALUES[s[1]][s[2]];
        break;
    case WORLD_OPPOSITE:
        w->a = WORLD_OPPOSITES[s[0]];
        w->b = WORLD_OPPOSITES[s[0] ^ 1];
        break;
    case WORLD_COUNT:
        w->i = WORLD_ITEMS[s[0]];
        w->a = WORLD_NUMBERS[s[1]];
        for (int i = 0; i <= s[1]; i++) {
            size_t used = strlen(w->q);
            snprintf(w->q + used, sizeof w->q - used, "%s%s", i ? " " : "", w->i);
        }
        break;
    case WORLD_ORDER:
        w->a = WORLD_NUMBERS[s[0]];
        w->b = WORLD_NUMBERS[s[1]];
        w->c = WORLD_NUMBERS[s[2]];
        break;
    case WORLD_HOW_TO: w->a = WORLD_ACTS[s[0]].safe; break;
    case WORLD_UNSAFE: w->a = WORLD_ACTS[s[0]].unsafe; break;
    default:
        w->n = WORLD_NAMES[s[0]];
        w->v = WORLD_VALUES[p->kind][WORLD_FACTS[s[0]][p->kind]];
        break;
    }
}

static void draw_question(world_rng *rng, const world_prompt *p, char text[WORLD_TEXT])
{
    world_words words;
    uint32_t n = 0, at, step = 1, offset = 0;
    if (p->kind == WORLD_WHO || p->kind == WORLD_YES_NO) { /* phrasings by attribute */
        step = WORLD_ATTRIBUTES;
        offset = p->slots[p->kind == WORLD_WHO ? 0 : 1];
    }
    while (world_phrasing(p->kind, p->held_out, n)) n++;
    at = offset + step * world_below(rng, n / step);
    /* openers of training, so that "please" is a known word */
    uint32_t opener = p->held_out ? 9 : world_below(rng, 10);
    strcpy(text, opener == 0 ? "please, " : opener == 1 ? "hello. " : "");
    world_prompt_words(p, &words);
    world_fill(text + strlen(text), WORLD_TEXT - strlen(text), world_phrasing(p->kind, p->held_out, at), &words);
}

/* A second question about the same person: "and the pet?" */
static void draw_follow_up(world_rng *rng, const world_prompt *p, char text[WORLD_TEXT])
{
    static const char *const TRAINED[] = {"and the $v?", "and what is the $v?", "what about the $v?"};
    static const char *const HELD_OUT[] = {"now the $v, please.", "and which $v?"};
    world_words words = {.v = WORLD_ATTRIBUTE_NAMES[p->kind]};
    world_fill(text, WORLD_TEXT, p->held_out ? HELD_OUT[world_below(rng, 2)] : TRAINED[world_below(rng, 3)], &words);
}

void world_draw_prompt(world_rng *rng, world_kind kind, bool held_out, bool two, world_prompt *p)
{
    bool attribute = kind <= WORLD_HOME;
    memset(p, 0, sizeof *p);
    p->kind = kind;
    p->held_out = held_out;
    p->must_refuse = kind == WORLD_UNSAFE;
    p->is_safety = kind == WORLD_UNSAFE || kind == WORLD_HOW_TO;
    p->turns = two && (attribute || p->is_safety) ? 2 : 1;
    draw_slots(rng, p);
    if (p->turns == 2) {
        world_prompt first;
        world_kind other = (world_kind)world_below(rng, WORLD_ATTRIBUTES);
        if (attribute) other = (world_kind)((kind + 1 + world_below(rng, 3)) % WORLD_ATTRIBUTES);
        world_draw_prompt(rng, other, held_out, false, &first);
        if (attribute) { /* about the same person */
            first.slots[0] = p->slots[0];
            draw_question(rng, &first, first.user[0]);
        }
        strcpy(p->user[0], first.user[0]);
        uint32_t form = world_below(rng, 2);
        world_right_answer(&first, form, world_below(rng, 2), p->reply);
    }
    if (p->turns == 2 && attribute)
        draw_follow_up(rng, p, p->user[1]);
    else
        draw_question(rng, p, p->user[p->turns - 1]);
}

void world_training_prompt(uint64_t seed, uint64_t index, world_topic topic, world_prompt *prompt)
{
    static const uint8_t SHARES[][WORLD_N_KINDS] = {
        [WORLD_ANY] = {9, 9, 9, 9, 8, 9, 8, 8, 7, 10, 14},
        [WORLD_HELPFUL] = {12, 12, 12, 12, 10, 11, 11, 10, 10, 0, 0},
        [WORLD_SAFETY] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 40, 60},
    };
    world_rng rng = world_draws(seed, WORLD_FOR_PROMPT, index * 4 + (uint64_t)topic);
    world_kind kind = (world_kind)world_pick(&rng, SHARES[topic], WORLD_N_KINDS);
    bool two = world_below(&rng, 100) < 25;
    world_draw_prompt(&rng, kind, false, two, prompt);
}

void world_evaluation_prompt(uint64_t index, world_prompt *prompt)
{
    world_rng rng = world_draws(WORLD_SEED, WORLD_FOR_EVALUATION, index);
    world_draw_prompt(&rng, (world_kind)(index % WORLD_N_KINDS), true, index / WORLD_N_KINDS % 4 == 3, prompt);
}
