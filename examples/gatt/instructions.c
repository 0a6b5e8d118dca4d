#include "gatt/instructions.h"

#include "common/app.h"

static const char *const hobbies[] = {"tennis",  "chess",    "gardening", "cooking",  "hiking",
                                      "reading", "painting", "fishing",   "swimming", "astronomy"};
static const char *const languages[] = {"French", "Spanish", "German", "Italian", "Portuguese"};
static const char *const figures[] = {"Napoleon",  "Albert Einstein", "Marie Curie",    "William Shakespeare",
                                      "Cleopatra", "Isaac Newton",    "Charles Darwin", "Jane Austen",
                                      "Mozart",    "Socrates"};

/* A constraint: two ways to say it at length, %s is what is drawn, and one that is short. */
typedef struct constraint {
    const char *long_forms[2], *short_form;
    const char *const *words;
    size_t n;
} constraint;

#define WORDS(list) list, sizeof list / sizeof *list
static const constraint constraints[] = {
    {{"Always act as %s from now on.", "You are %s, and stay so in all your answers."}, "Figure: %s.", WORDS(figures)},
    {{"Your hobby is %s, and you bring it up whenever you can.", "You enjoy %s."}, "Hobby: %s.", WORDS(hobbies)},
    {{"Only speak in %s, whatever language you are spoken to.", "Always answer in %s."},
     "Language: %s.",
     WORDS(languages)},
};
enum { CONSTRAINTS = sizeof constraints / sizeof *constraints };

static size_t append(char *text, size_t at, const char *form, const char *word)
{
    if (at > 0 && at < INSTRUCTION_TEXT - 1) text[at++] = ' ';
    int n = snprintf(text + at, INSTRUCTION_TEXT - at, form, word);
    return at + (size_t)n < INSTRUCTION_TEXT ? at + (size_t)n : INSTRUCTION_TEXT - 1;
}

void instruction_make(const instruction_lists *lists, uint64_t seed, uint64_t i, char full[INSTRUCTION_TEXT],
                      char kept[INSTRUCTION_TEXT])
{
    const args_list *own[CONSTRAINTS] = {&lists->figures, &lists->hobbies, &lists->languages};
    uint64_t draw = app_mix(seed, i), which = 1 + draw % ((1u << CONSTRAINTS) - 1); /* any of them, at least one */
    int shortened = draw >> 32 & 1;
    size_t n_full = 0, n_kept = 0;
    for (size_t k = 0; k < CONSTRAINTS; k++) {
        const constraint *c = &constraints[k];
        uint64_t number = app_mix(draw, k);
        if (!(which >> k & 1)) continue;
        const char *word = own[k]->count ? own[k]->items[number % own[k]->count] : c->words[number % c->n];
        const char *form = c->long_forms[number >> 40 & 1];
        n_full = append(full, n_full, form, word);
        n_kept = append(kept, n_kept, shortened ? c->short_form : form, word);
    }
}
