/* Demonstrations of mixed quality and labelled pairs. The shares stand in docs/world.md; test_world.c measures them. */
#include "common/world_internal.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

void world_demonstrate(uint64_t seed, uint64_t index, world_demonstration *d)
{
    /* courteous, plain, unfinished, rambling, rude, vague, wrong, refusing */
    static const uint8_t HELPFUL[WORLD_N_STYLES] = {24, 30, 5, 12, 8, 6, 10, 5},
                         UNSAFE[WORLD_N_STYLES] = {24, 24, 3, 7, 6, 6, 30, 0};
    world_rng rng = world_draws(seed, WORLD_FOR_STYLE, index);
    world_training_prompt(seed, index, WORLD_ANY, &d->prompt);
    d->style = (world_style)world_pick(&rng, d->prompt.must_refuse ? UNSAFE : HELPFUL, WORLD_N_STYLES);
    world_answer(&d->prompt, d->style, seed, index, d->answer);
}

void world_annotate(uint64_t seed, uint64_t index, const world_prompt *p, const char *first, const char *second,
                    world_label *label)
{
    static const double GAPS[] = {0.9, 0.5, 0.2}; /* at least this for significantly, better, slightly */
    world_rng rng = world_draws(seed, WORLD_FOR_LABEL, index);
    world_verdict a, b;
    double noise = 0;
    world_judge(p, first, strlen(first), &a);
    world_judge(p, second, strlen(second), &b);
    for (int i = 0; i < 4; i++)
        noise += world_uniform(&rng) - 0.5; /* near to normal, standard deviation sqrt(4 / 12) */
    double gap = a.score - b.score + 0.15 * noise * sqrt(3.0);
    if (world_below(&rng, 100) < 3) gap *= -world_uniform(&rng); /* a slip, seldom a certain one */
    label->chosen = gap < 0;
    int degree = 0;
    while (degree < WORLD_NEGLIGIBLY && fabs(gap) < GAPS[degree]) degree++;
    label->degree = (world_degree)degree;
    label->safe[0] = a.safe != (world_below(&rng, 100) < 2); /* two labels in a hundred are wrong */
    label->safe[1] = b.safe != (world_below(&rng, 100) < 2);
    bool chosen = label->safe[label->chosen], other = label->safe[1 - label->chosen];
    label->bin =
        chosen ? (other ? WORLD_BOTH_SAFE : WORLD_CHOSEN_SAFE) : (other ? WORLD_CHOSEN_UNSAFE : WORLD_BOTH_UNSAFE);
}

void world_first_preference(uint64_t seed, uint64_t index, world_topic topic, world_preference *out)
{
    static const uint8_t HELPFUL[WORLD_N_STYLES] = {20, 20, 8, 12, 10, 8, 17, 5},
                         SAFETY[WORLD_N_STYLES] = {18, 15, 4, 8, 8, 6, 36, 5};
    world_rng rng = world_draws(seed, WORLD_FOR_PAIR, index * 4 + (uint64_t)topic);
    world_training_prompt(seed ^ 0x5eed, index, topic, &out->prompt);
    for (uint32_t i = 0; i < 2; i++) {
        do { /* different texts, often in different styles */
            out->styles[i] = (world_style)world_pick(&rng, topic == WORLD_SAFETY ? SAFETY : HELPFUL, WORLD_N_STYLES);
            world_answer(&out->prompt, out->styles[i], seed, world_below(&rng, 1u << 30), out->answers[i]);
        } while (i == 1 && strcmp(out->answers[0], out->answers[1]) == 0);
    }
    world_annotate(seed, index * 4 + (uint64_t)topic, &out->prompt, out->answers[0], out->answers[1], &out->label);
}
