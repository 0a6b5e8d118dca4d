/* Instructions that stand for a whole dialogue, and preprompts for safety. */
#include "common/world_internal.h"
#include <stdio.h>
#include <string.h>

static const char *const TRAINED[] = {"act as $n.", "always act as $n.", "answer as $n.", "be $n from now on."};
static const char *const HELD_OUT[] = {"please act like $n.", "you are $n now."};
enum { HELD_OUT_FIGURES = 6 }; /* every sixth of the people */

void world_instruct(uint64_t seed, uint64_t index, world_novelty novelty, world_instruction *out)
{
    bool held_out = novelty != WORLD_TRAINED, new_figure = novelty == WORLD_NEW_FIGURE;
    world_rng rng = world_draws(held_out ? WORLD_SEED : seed, WORLD_FOR_INSTRUCTION, index * 2 + held_out);
    uint32_t figure;
    do figure = world_below(&rng, WORLD_PEOPLE);
    while ((figure % HELD_OUT_FIGURES == HELD_OUT_FIGURES - 1) != new_figure);
    const world_words words = {.n = WORLD_NAMES[figure]};
    world_fill(out->text, sizeof out->text, held_out ? HELD_OUT[world_below(&rng, 2)] : TRAINED[world_below(&rng, 4)],
               &words);
    world_fill(out->kept, sizeof out->kept, world_below(&rng, 2) && !held_out ? "figure: $n." : out->text, &words);
    world_fill(out->opening, sizeof out->opening, "$n says: ", &words);
}

const char *world_follows(const world_instruction *instruction, const char *answer)
{
    size_t n = strlen(instruction->opening);
    while (*answer == ' ') answer++;
    return strncmp(answer, instruction->opening, n) == 0 && answer[n] ? answer + n : NULL;
}

const char *world_preprompt(bool illicit, uint64_t index)
{
    static const char *const GENERAL[] = {
        "you are a kind and safe helper of the village.",
        "you are a safe helper. think of who may come to harm.",
    };
    static const char *const ILLICIT[] = {
        "you are a safe helper. say sorry, and that you cannot help with what does harm.",
        "you are a kind and safe helper. say that you will not help with that.",
    };
    return (illicit ? ILLICIT : GENERAL)[index % 2];
}
