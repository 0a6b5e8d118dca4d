/*
 * llama2-world-text [KIND]: prints the world's text, one item a line, as make_tokenizer.sh feeds it to spm_train
 * (without KIND), or the first 2,000 of one kind to look at: documents, demonstrations, evaluation, helpful, safety,
 * hash.
 */
#include "common/args.h"
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
    static const char *const kinds[] = {"documents", "demonstrations", "evaluation", "helpful", "safety", "hash"};
    enum { KINDS = sizeof kinds / sizeof *kinds };
    const args_program program = {.name = "llama2-world-text",
                                  .summary = "Prints the text of the embedded world, one item a line.",
                                  .usage = "[documents | demonstrations | evaluation | helpful | safety | hash]",
                                  .maximum_rest = 1,
                                  .notes =
                                      "Without a kind: what the world's tokenizer is made from. --model, --threads "
                                      "and --seed say nothing here."};
    args_common common;
    int status = args_parse(&program, &common, argc, argv), kind = 0;
    if (status != ARGS_GO) return status;
    while (common.rest.count > 0 && kind < KINDS && strcmp(kinds[kind], common.rest.items[0]) != 0) kind++;
    if (kind == KINDS) return args_usage(&program, "there are no %s", common.rest.items[0]);
    if (common.rest.count == 0)
        print_for_tokenizer();
    else if (kind + 1 == KINDS)
        printf("0x%016llX\n", (unsigned long long)world_hash());
    else
        for (uint64_t i = 0; i < 2000; i++) print_item(kinds[kind], i);
    return ferror(stdout) || fflush(stdout) != 0;
}
