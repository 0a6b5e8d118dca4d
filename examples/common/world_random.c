#include "common/world_internal.h"
#include <stdio.h>
#include <string.h>

static uint64_t mix(uint64_t x)
{
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9u;
    x = (x ^ (x >> 27)) * 0x94D049BB133111EBu;
    return x ^ (x >> 31);
}

world_rng world_draws(uint64_t seed, world_purpose purpose, uint64_t index)
{
    return (world_rng){mix(mix(mix(seed + 0x9E3779B97F4A7C15u) ^ (uint64_t)purpose) + index), 0};
}

static uint64_t draw(world_rng *rng)
{
    return mix(rng->key + ++rng->count * 0x9E3779B97F4A7C15u);
}

uint32_t world_below(world_rng *rng, uint32_t n)
{
    return (uint32_t)(((draw(rng) >> 32) * n) >> 32);
}

double world_uniform(world_rng *rng)
{
    return (double)(draw(rng) >> 11) * 0x1p-53;
}

uint32_t world_pick(world_rng *rng, const uint8_t *percent, uint32_t n)
{
    uint32_t at = world_below(rng, 100), i = 0;
    while (i + 1 < n && at >= percent[i]) at -= percent[i++];
    return i;
}

uint32_t world_list_length(const char *const *list)
{
    uint32_t n = 0;
    while (list[n]) n++;
    return n;
}

static const char *word(const world_words *words, char letter)
{
    switch (letter) {
    case 'n': return words->n;
    case 'v': return words->v;
    case 'a': return words->a;
    case 'b': return words->b;
    case 'c': return words->c;
    case 'i': return words->i;
    case 'q': return words->q;
    default: return "";
    }
}

void world_fill(char *text, size_t size, const char *pattern, const world_words *words)
{
    size_t length = 0;
    for (; *pattern && length + 1 < size; pattern++) {
        if (*pattern != '$') {
            text[length++] = *pattern;
            continue;
        }
        const char *value = word(words, *++pattern);
        for (; *value && length + 1 < size; value++) text[length++] = *value;
    }
    text[length] = 0;
}
