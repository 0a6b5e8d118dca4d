/* What was said so far, and the file that keeps it between two runs. */
#ifndef EXAMPLES_CHAT_CONVERSATION_H
#define EXAMPLES_CHAT_CONVERSATION_H

#include "common/app.h"
#include "common/records.h"

typedef struct conversation {
    int32_t n, roles[RECORD_MESSAGES];
    char *texts[RECORD_MESSAGES];
    const char *file; /* NULL: none */
} conversation;

void conversation_add(conversation *c, int32_t role, const char *text);
/* Forgets n messages from `first` on. */
void conversation_drop(conversation *c, int32_t first, int32_t n);
/* Messages at the beginning that are not said in turn: 1 where there is a system message. */
int32_t conversation_first(const conversation *c);

/* The conversation of a file, where it exists, or a new one; with this system message (NULL: that of the file). A file
 * that is something else is refused, and left as it is. */
bool conversation_open(conversation *c, app *a, const char *file, const char *system);
/* Writes the file, where there is one, in one step. What is said is a question and its answer, or it is not there. */
bool conversation_save(const conversation *c, app *a);

#endif
