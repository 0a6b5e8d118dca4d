/* The synthetic instructions of llama2-gatt (section 3.3): constraints combined, half of them with a shorter form. */
#include "check_main.h"
#include "gatt/instructions.h"

#include <math.h>
#include <string.h>

enum { DRAWS = 4096, CONSTRAINTS = 3, COMBINATIONS = 1 << CONSTRAINTS };

/* One word each, that is in no form. */
static const instruction_lists own = {
    .hobbies = {{"chess"}, 1}, .languages = {{"Frisian"}, 1}, .figures = {{"Ada Lovelace"}, 1}};

/* Which constraints a text has, a bit each. */
static unsigned constraints_in(const char *text)
{
    return (strstr(text, own.figures.items[0]) ? 1u : 0) | (strstr(text, own.hobbies.items[0]) ? 2u : 0) |
           (strstr(text, own.languages.items[0]) ? 4u : 0);
}

/* A share of n draws that should be p, within five standard deviations: with a fixed seed it holds or it doesn't. */
static void check_share(size_t count, double n, double p)
{
    double share = (double)count / n, bound = 5 * sqrt(p * (1 - p) / n);
    ck_assert_msg(fabs(share - p) < bound, "%g of %g, expected %g +- %g", share, n, p, bound);
}

START_TEST(half_of_them_are_shortened)
{
    size_t shortened = 0, of[COMBINATIONS] = {0}, shortened_of[COMBINATIONS] = {0};
    char full[INSTRUCTION_TEXT], kept[INSTRUCTION_TEXT];
    for (uint64_t i = 0; i < DRAWS; i++) {
        instruction_make(&own, 7, i, full, kept);
        unsigned which = constraints_in(full);
        ck_assert_uint_eq(constraints_in(kept), which); /* nothing is lost */
        int other = strcmp(full, kept) != 0;
        if (other) ck_assert_msg(strlen(kept) < strlen(full), "\"%s\" for \"%s\"", kept, full);
        shortened += (size_t)other;
        of[which]++;
        shortened_of[which] += (size_t)other;
    }
    check_share(shortened, DRAWS, 0.5);
    ck_assert_uint_eq(of[0], 0); /* at least one */
    for (int which = 1; which < COMBINATIONS; which++) {
        check_share(of[which], DRAWS, 1.0 / (COMBINATIONS - 1));
        check_share(shortened_of[which], (double)of[which], 0.5); /* whatever is combined */
    }
}
END_TEST

/* Each short form says what it is about and the word, nothing else, in the order of the long ones. */
START_TEST(short_forms)
{
    static const char *const forms[] = {"Figure: Ada Lovelace.", "Hobby: chess.", "Language: Frisian."};
    char full[INSTRUCTION_TEXT], kept[INSTRUCTION_TEXT], expected[INSTRUCTION_TEXT];
    unsigned seen = 0;
    for (uint64_t i = 0; i < 256; i++) {
        instruction_make(&own, 3, i, full, kept);
        unsigned which = constraints_in(full);
        if (strcmp(full, kept) == 0) continue;
        *expected = 0;
        for (int k = 0; k < CONSTRAINTS; k++)
            if (which >> k & 1) strcat(strcat(expected, *expected ? " " : ""), forms[k]);
        ck_assert_str_eq(kept, expected);
        ck_assert_ptr_null(strstr(full, "Figure:"));
        seen |= 1u << which;
    }
    ck_assert_uint_eq(seen, (1u << COMBINATIONS) - 2); /* all but that of none */
}
END_TEST

/* How often each of our words is drawn where the caller has none. */
START_TEST(words_are_drawn_evenly)
{
    static const char *const hobbies[] = {"tennis",  "chess",    "gardening", "cooking",  "hiking",
                                          "reading", "painting", "fishing",   "swimming", "astronomy"};
    static const char *const languages[] = {"French", "Spanish", "German", "Italian", "Portuguese"};
    static const instruction_lists none;
    size_t n_hobbies = 0, n_languages = 0, of_hobby[10] = {0}, of_language[5] = {0}, full_and_short[2] = {0};
    char full[INSTRUCTION_TEXT], kept[INSTRUCTION_TEXT];
    for (uint64_t i = 0; i < DRAWS; i++) {
        instruction_make(&none, 1, i, full, kept);
        for (int k = 0; k < 10; k++)
            if (strstr(full, hobbies[k])) of_hobby[k]++, n_hobbies++;
        for (int k = 0; k < 5; k++)
            if (strstr(full, languages[k])) of_language[k]++, n_languages++;
        full_and_short[0] += strstr(full, "Your hobby is") != NULL;
        full_and_short[1] += strstr(full, "You enjoy") != NULL;
    }
    check_share(n_hobbies, DRAWS, 4.0 / 7);
    check_share(n_languages, DRAWS, 4.0 / 7);
    for (int k = 0; k < 10; k++) check_share(of_hobby[k], (double)n_hobbies, 0.1);
    for (int k = 0; k < 5; k++) check_share(of_language[k], (double)n_languages, 0.2);
    ck_assert_uint_eq(full_and_short[0] + full_and_short[1], n_hobbies);
    check_share(full_and_short[0], (double)n_hobbies, 0.5); /* both ways to say it */
}
END_TEST

START_TEST(the_seed_decides)
{
    static const instruction_lists none;
    char full[INSTRUCTION_TEXT], kept[INSTRUCTION_TEXT], again[INSTRUCTION_TEXT], kept_again[INSTRUCTION_TEXT];
    int others = 0, neighbours = 0;
    for (uint64_t i = 200; i-- > 0;) {
        instruction_make(&none, 11, i, full, kept);
        memset(again, 'x', sizeof again);
        memset(kept_again, 'x', sizeof kept_again);
        instruction_make(&none, 11, i, again, kept_again); /* whatever was made before, and was in the texts */
        ck_assert_str_eq(full, again);
        ck_assert_str_eq(kept, kept_again);
        instruction_make(&none, 12, i, again, kept_again);
        others += strcmp(full, again) != 0;
        instruction_make(&none, 11, i + 1, again, kept_again);
        neighbours += strcmp(full, again) != 0;
    }
    ck_assert_int_gt(others, 180); /* two may be alike by chance */
    ck_assert_int_gt(neighbours, 180);
}
END_TEST

/* Words that are too long are cut, and the text still ends. */
START_TEST(texts_end_in_their_room)
{
    char word[2 * INSTRUCTION_TEXT], full[INSTRUCTION_TEXT + 1], kept[INSTRUCTION_TEXT + 1];
    instruction_lists lists = own;
    memset(word, 'w', sizeof word);
    for (size_t length = INSTRUCTION_TEXT - 100; length < INSTRUCTION_TEXT + 100; length++) {
        word[length] = 0;
        lists.figures.items[0] = lists.hobbies.items[0] = lists.languages.items[0] = word;
        for (uint64_t i = 0; i < 16; i++) {
            full[INSTRUCTION_TEXT] = kept[INSTRUCTION_TEXT] = '!';
            instruction_make(&lists, length, i, full, kept);
            ck_assert(memchr(full, 0, INSTRUCTION_TEXT) && memchr(kept, 0, INSTRUCTION_TEXT));
            ck_assert(full[INSTRUCTION_TEXT] == '!' && kept[INSTRUCTION_TEXT] == '!');
        }
        word[length] = 'w';
    }
}
END_TEST

Suite *test_suite(void)
{
    Suite *suite = suite_create("instructions");
    ADD_CASE(suite, "instructions", half_of_them_are_shortened, short_forms, words_are_drawn_evenly, the_seed_decides,
             texts_end_in_their_room);
    return suite;
}
