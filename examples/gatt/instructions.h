/*
 * Synthetic instructions for Ghost Attention (section 3.3): a hobby, a language, a public figure, or several of these
 * together; half of them with a less verbose form for the examples.
 */
#ifndef EXAMPLES_INSTRUCTIONS_H
#define EXAMPLES_INSTRUCTIONS_H

#include "common/args.h"

/* What they are drawn from; an empty list: one of ours. The paper asked the model itself for hobbies and figures, so
 * that it knows them. */
typedef struct instruction_lists {
    args_list hobbies, languages, figures;
} instruction_lists;

enum { INSTRUCTION_TEXT = 512, INSTRUCTION_WORD = 100 }; /* bytes: of all; of a word of the lists at most */

/* Instruction i: a function of lists, seed and i alone. `kept` is what the example says: the same, or the short form.
 */
void instruction_make(const instruction_lists *lists, uint64_t seed, uint64_t i, char full[INSTRUCTION_TEXT],
                      char kept[INSTRUCTION_TEXT]);

#endif
