/*
 * llama2-world-text [KIND]: prints the world's text, one item a line, as make_tokenizer.sh feeds it to spm_train
 * (without KIND), or the first 2,000 of one kind to look at: documents, demonstrations, evaluation, helpful, safety,
 * hash.
 */
#include "common/world.h"
#include <stdio.h>
#include <string.h>

static void print_pair(uint64_t i, world_topic topic)
{
    char text[WORLD_DOCUMENT];
    world_preference pair;
    world_first_preference(WORLD_SEED, i, topic, &pair);
    const world_label *label = &pair.label;
    world_chat_text(&pair.prompt, "", text);
    printf("%s\n  + %s\n  - %s\n  (%s, safe %d %d)\n", text, pair.answers[label->chosen],
           pair.answers[1 - label->chosen], world_degree_name(label->degree), label->safe[label->chosen],
           label->safe[1 - label->chosen]);
}

static void print_item(const char *kind, uint64_t i)
{
    char text[WORLD_DOCUMENT];
    world_demonstration demonstration;
    world_prompt prompt;
    if (strcmp(kind, "documents") == 0) {
        world_document(WORLD_SEED, i, text);
        puts(text);
    } else if (strcmp(kind, "demonstrations") == 0) {
        world_demonstrate(WORLD_SEED, i, &demonstration);
        world_chat_text(&demonstration.prompt, demonstration.answer, text);
        printf("%5.2f %-10s %s\n",
               world_judge(&demonstration.prompt, demonstration.answer, strlen(demonstration.answer), NULL),
               world_style_name(demonstration.style), text);
    } else if (strcmp(kind, "evaluation") == 0) {
        world_evaluation_prompt(i, &prompt);
        world_right_answer(&prompt, 0, true, text);
        char chat[WORLD_DOCUMENT];
        world_chat_text(&prompt, text, chat);
        printf("%-9s %s\n", world_kind_name(prompt.kind), chat);
    } else
        print_pair(i, strcmp(kind, "safety") == 0 ? WORLD_SAFETY : WORLD_HELPFUL);
}

/* Documents and demonstrations in the chat format, in equal numbers; the first with a system prompt, whose markers are
 * in no other text. */
static void print_for_tokenizer(void)
{
    char text[WORLD_DOCUMENT];
    world_demonstration d;
    for (uint64_t i = 0; i < 10000; i++) {
        world_document(WORLD_SEED, i, text);
        puts(text);
        world_demonstrate(WORLD_SEED, i, &d);
        world_chat_text(&d.prompt, d.answer, text);
        /* in the format the markers of a system prompt stand on lines of their own; spm_train reads lines, so here they
         * are lines */
        if (i % 4 == 0)
            printf("[INST] <<SYS>>\nyou are a kind and safe helper of the village.\n<</SYS>>\n%s\n",
                   text + strlen("[INST] "));
        else
            puts(text);
    }
}

int main(int argc, char **argv)
{
    if (argc < 2)
        print_for_tokenizer();
    else if (strcmp(argv[1], "hash") == 0)
        printf("0x%016llX\n", (unsigned long long)world_hash());
    else
        for (uint64_t i = 0; i < 2000; i++) print_item(argv[1], i);
    return ferror(stdout) || fflush(stdout) != 0;
}
