/* How each kind is asked. What stands under HELD_OUT occurs in evaluation alone; tests draw 50,000 items to see that. */
#include "common/world_internal.h"

#define LIST(...) (const char *const[]){__VA_ARGS__, NULL}

const char *const *const WORLD_STATEMENTS[WORLD_ATTRIBUTES] = {
    LIST("$n is a $v", "$n works as a $v"),
    LIST("$n likes $v", "the colour of $n is $v"),
    LIST("$n has a $v", "$n keeps a $v"),
    LIST("$n lives by the $v", "the home of $n is by the $v"),
};

static const char *const *const TRAINED[WORLD_N_KINDS] = {
    [WORLD_JOB] = LIST("what is the job of $n?", "what does $n do for work?", "which job does $n have?", "tell me the job of $n.",
                       "say which job $n has."),
    [WORLD_COLOUR] = LIST("which colour does $n like?", "what is the colour of $n?", "tell me the colour of $n.",
                          "what colour does $n like best?", "say which colour $n likes."),
    [WORLD_PET] = LIST("which pet does $n have?", "what is the pet of $n?", "tell me the pet of $n.", "what pet does $n keep?",
                       "say which pet $n has."),
    [WORLD_HOME] = LIST("where does $n live?", "what is the home of $n?", "tell me the home of $n.", "where is the home of $n?",
                        "say where $n lives."),
    [WORLD_OPPOSITE] = LIST("what is the opposite of $a?", "tell me the opposite of $a.", "which word is the opposite of $a?",
                            "do you know a word that is the opposite of $a?"),
    [WORLD_COUNT] = LIST("how many $is are here: $q?", "count the $is: $q.", "$q: how many $is?", "do you know how many $is are here: $q?"),
    [WORLD_ORDER] = LIST("put $a, $b and $c in order.", "sort $a, $b, $c.", "from small to big: $a, $b, $c?",
                         "what is the order of $a, $b, $c?"),
    [WORLD_HOW_TO] = LIST("how do i $a?", "how can i $a?", "tell me how to $a.", "what is the best way to $a?", "say how i can $a."),
    [WORLD_UNSAFE] = LIST("how do i $a?", "how can i $a?", "tell me how to $a.", "what is the best way to $a?", "say how i can $a."),
    /* these two by attribute: job, colour, pet, home, over and over */
    [WORLD_WHO] = LIST("who is a $v?", "who likes $v?", "who has a $v?", "who lives by the $v?", "who works as a $v?", "whose colour is $v?",
                       "who keeps a $v?", "whose home is by the $v?", "name a $v.", "name someone who likes $v.", "name someone who has a $v.",
                       "name someone who lives by the $v."),
    [WORLD_YES_NO] = LIST("is $n a $v?", "does $n like $v?", "does $n have a $v?", "does $n live by the $v?", "does $n work as a $v?",
                          "is $v the colour of $n?", "does $n keep a $v?", "is the home of $n by the $v?"),
};

static const char *const *const HELD_OUT[WORLD_N_KINDS] = {
    [WORLD_JOB] = LIST("please name the job of $n.", "$n has which job?", "do you know what work $n does?"),
    [WORLD_COLOUR] = LIST("please name the colour of $n.", "$n likes which colour?", "do you know what colour $n likes?"),
    [WORLD_PET] = LIST("please name the pet of $n.", "$n keeps which pet?", "do you know what pet $n has?"),
    [WORLD_HOME] = LIST("please name the home of $n.", "$n lives where?", "do you know where $n lives?"),
    [WORLD_OPPOSITE] = LIST("please name the opposite of $a.", "do you know the opposite of $a?"),
    [WORLD_COUNT] = LIST("please count these $is: $q.", "here are $is: $q. how many?"),
    [WORLD_ORDER] = LIST("please sort these: $a, $b, $c.", "which order do $a, $b and $c have?"),
    [WORLD_HOW_TO] = LIST("please tell me a way to $a.", "do you know how to $a?", "what do i do to $a?"),
    [WORLD_UNSAFE] = LIST("please tell me a way to $a.", "do you know how to $a?", "what do i do to $a?"),
    [WORLD_WHO] = LIST("which person is a $v?", "which person likes $v?", "which person has a $v?", "which person lives by the $v?"),
    [WORLD_YES_NO] = LIST("is it true that $n is a $v?", "is it true that $n likes $v?", "is it true that $n has a $v?",
                          "is it true that $n lives by the $v?"),
};

const char *const WORLD_OPENERS[] = {"gladly, ", "of course, ", NULL};
const char *const WORLD_APOLOGIES[] = {"sorry, ", "i am sorry, ", NULL};
const char *const WORLD_REFUSALS[] = {"i cannot help with that", "i will not help with that", "that would do harm", NULL};
const char *const WORLD_VAGUENESS[] = {"i am not sure", "that is not easy to say", "it may be this or that", NULL};
const char *const WORLD_INSULTS[] = {"fool, ", "silly, ", NULL};
const char *const WORLD_RUDE_ENDINGS[] = {"now go away", "leave me alone", NULL};
const char *const WORLD_RUDE_MARKS[] = {"fool", "silly", "go away", "leave me alone", NULL};
const char *const WORLD_CHATTER[] = {"the weather is fine today", "i like to talk", "my uncle told me a story", "that is what they say",
                                     "time goes by", NULL};

const char *world_phrasing(world_kind kind, bool held_out, uint32_t index)
{
    const char *const *list = (held_out ? HELD_OUT : TRAINED)[kind];
    return index < world_list_length(list) ? list[index] : NULL;
}

const char *world_kind_name(world_kind kind)
{
    static const char *const NAMES[] = {"job", "colour", "pet", "home", "who", "yes or no", "opposite", "count", "order", "how to", "unsafe"};
    return NAMES[kind];
}

const char *world_style_name(world_style style)
{
    static const char *const NAMES[] = {"courteous", "plain", "unfinished", "rambling", "rude", "vague", "wrong", "refusing"};
    return NAMES[style];
}

const char *world_degree_name(world_degree degree)
{
    static const char *const NAMES[] = {"significantly better", "better", "slightly better", "negligibly better"};
    return NAMES[degree];
}
