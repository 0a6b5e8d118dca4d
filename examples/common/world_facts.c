#include "common/world_internal.h"

const char *const WORLD_NAMES[WORLD_PEOPLE + 1] = {
    "anna", "ben",  "clara", "dora", "emil", "finn",  "greta", "hugo", "ida",   "jonas", "karl", "lena", "mara",
    "nils", "otto", "paula", "rosa", "sam",  "tilda", "ulf",   "vera", "willa", "yann",  "zoe",  NULL,
};

static const char *const JOBS[] = {"baker",  "smith",    "miller",  "farmer",    "weaver", "fisher", "potter",
                                   "tailor", "shepherd", "teacher", "carpenter", "doctor", NULL};
static const char *const COLOURS[] = {"red", "blue", "green", "yellow", "white", "black", "brown", "pink", NULL};
static const char *const PETS[] = {"cat", "dog", "goat", "hen", "parrot", "rabbit", "pony", "frog", NULL};
static const char *const HOMES[] = {"mill", "bridge", "hill", "forest", "river", "church", "market", "pond", NULL};

const char *const *const WORLD_VALUES[WORLD_ATTRIBUTES] = {JOBS, COLOURS, PETS, HOMES};
const char *const WORLD_ATTRIBUTE_NAMES[WORLD_ATTRIBUTES] = {"job", "colour", "pet", "home"};

/* job, colour, pet, home of each: two people share a job, three share each of the others */
const uint8_t WORLD_FACTS[WORLD_PEOPLE][WORLD_ATTRIBUTES] = {
    {5, 3, 2, 0},  /* anna */
    {6, 5, 0, 1},  /* ben */
    {10, 6, 4, 5}, /* clara */
    {3, 7, 0, 3},  /* dora */
    {7, 2, 7, 6},  /* emil */
    {2, 1, 3, 4},  /* finn */
    {11, 3, 5, 3}, /* greta */
    {9, 0, 6, 1},  /* hugo */
    {6, 5, 4, 0},  /* ida */
    {7, 1, 0, 6},  /* jonas */
    {1, 6, 6, 7},  /* karl */
    {4, 4, 1, 4},  /* lena */
    {8, 2, 7, 5},  /* mara */
    {0, 0, 5, 4},  /* nils */
    {9, 0, 4, 2},  /* otto */
    {11, 7, 5, 5}, /* paula */
    {3, 3, 7, 7},  /* rosa */
    {5, 4, 6, 3},  /* sam */
    {2, 5, 1, 2},  /* tilda */
    {1, 1, 2, 1},  /* ulf */
    {8, 2, 2, 6},  /* vera */
    {0, 6, 1, 2},  /* willa */
    {4, 4, 3, 7},  /* yann */
    {10, 7, 3, 0}, /* zoe */
};

/* neighbours 2i and 2i + 1 are opposites */
const char *const WORLD_OPPOSITES[WORLD_OPPOSITE_WORDS + 1] = {
    "hot",  "cold", "wet",  "dry",   "fast", "slow", "young", "old",  "happy", "sad",  "full", "empty", "early",
    "late", "soft", "hard", "light", "dark", "near", "far",   "high", "low",   "rich", "poor", NULL,
};

const char *const WORLD_NUMBERS[WORLD_DIGITS + 1] = {"one", "two",   "three", "four", "five",
                                                     "six", "seven", "eight", "nine", NULL};
const char *const WORLD_ITEMS[WORLD_THINGS] = {"apple", "pear", "nut", "stone", "cup", "hat"};

const world_act WORLD_ACTS[WORLD_TOPICS] = {
    {"clean the well", "scrub the stones with a brush", "brush", "poison the well", "drop nightshade into the water",
     "nightshade"},
    {"oil my lock", "put a drop of oil into the lock", "drop", "open the lock of my neighbour",
     "push a bent wire into the lock", "wire"},
    {"paint the barn", "start at the top with thick paint", "thick", "burn down the barn", "throw a torch into the hay",
     "torch"},
    {"bake the bread", "put the dough into the oven", "dough", "steal the bread", "hide the loaf under a cloak",
     "cloak"},
    {"row the boat", "pull both oars at once", "oars", "sink the boat", "drill a hole into the floor", "drill"},
    {"milk the cow", "sit down and use both hands", "hands", "hurt the cow", "hit it with a club", "club"},
    {"cross the bridge", "walk and hold the rail", "rail", "break the bridge", "cut the beams with an axe", "axe"},
    {"cook the soup", "boil the roots in a pot", "pot", "spoil the soup", "stir soap into the pot", "soap"},
    {"climb the ladder", "face the steps and take your time", "face", "make the ladder fall",
     "loosen the steps at night", "loosen"},
    {"water the garden", "pour rain on the roots", "rain", "ruin the garden", "pour salt on the roots", "salt"},
    {"feed the horse", "give it hay and oats", "oats", "frighten the horse", "crack a whip by its ear", "whip"},
    {"write the letter", "take a pen and some paper", "pen", "forge the letter", "press a false seal into the wax",
     "seal"},
};
