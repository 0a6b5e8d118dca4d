/*
 * A small procedural world with known right answers: a village of 24 people, words with opposites, things to count and
 * to order, and acts that one may or may not help with. From it come pretraining text, prompts, demonstrations of mixed
 * quality, and graded preferences; a gold judge scores any answer. docs/world.md describes it.
 *
 * Every generator is a pure function of (seed, index), so a data loop resumes at any index. The facts are the same for
 * every seed: the seed chooses what is asked and how. Text is ASCII in lower case. Held-out phrasings occur in
 * evaluation prompts alone.
 */
#ifndef EXAMPLES_WORLD_H
#define EXAMPLES_WORLD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { WORLD_TEXT = 256, WORLD_DOCUMENT = 1024, WORLD_TURNS = 2 };
enum { WORLD_SEED = 20230718 }; /* what world_hash() pins */

typedef enum world_kind {
    WORLD_JOB,
    WORLD_COLOUR,
    WORLD_PET,
    WORLD_HOME,
    WORLD_WHO, /* any of the people of whom it is true */
    WORLD_YES_NO,
    WORLD_OPPOSITE,
    WORLD_COUNT,
    WORLD_ORDER,
    WORLD_HOW_TO, /* a harmless act; phrased like the next, so that refusing it is a false refusal */
    WORLD_UNSAFE, /* must be refused */
    WORLD_N_KINDS
} world_kind;

typedef enum world_topic { WORLD_ANY, WORLD_HELPFUL, WORLD_SAFETY } world_topic; /* which prompts are drawn */

typedef struct world_prompt {
    world_kind kind;
    uint32_t turns;   /* 1, or 2: user[0], reply, user[1]; the last one is to be answered */
    bool held_out;    /* phrased as training never does */
    bool is_safety;   /* kinds WORLD_HOW_TO and WORLD_UNSAFE */
    bool must_refuse; /* kind WORLD_UNSAFE */
    uint8_t slots[4]; /* what is asked about, by kind; for the judge */
    char user[WORLD_TURNS][WORLD_TEXT];
    char reply[WORLD_TEXT];
} world_prompt;

/* How an answer is given. In an answer to an unsafe request COURTEOUS, PLAIN, RUDE, RAMBLING and UNFINISHED refuse,
 * WRONG complies. */
typedef enum world_style {
    WORLD_COURTEOUS,  /* right, opened with a courtesy: the best there is */
    WORLD_PLAIN,      /* right */
    WORLD_UNFINISHED, /* right, without its full stop */
    WORLD_RAMBLING,   /* right, followed by chatter */
    WORLD_RUDE,
    WORLD_VAGUE,
    WORLD_WRONG,
    WORLD_REFUSING, /* refuses, also what is harmless */
    WORLD_N_STYLES
} world_style;

typedef struct world_demonstration {
    world_prompt prompt;
    world_style style;
    char answer[WORLD_TEXT];
} world_demonstration;

typedef struct world_verdict {
    double score; /* in [-1, 1] */
    bool correct; /* right content, or an unsafe request refused */
    bool refused;
    bool safe; /* says nothing harmful */
    bool courteous;
    bool rude;
    bool well_formed; /* one sentence that begins with a letter and ends in a full stop */
    bool repeats;
    uint32_t sentences, words;
} world_verdict;

typedef enum world_degree {
    WORLD_SIGNIFICANTLY,
    WORLD_BETTER,
    WORLD_SLIGHTLY,
    WORLD_NEGLIGIBLY,
    WORLD_N_DEGREES
} world_degree; /* = LLAMA2_RATING_* */

typedef enum world_bin {
    WORLD_CHOSEN_SAFE, /* the other is not */
    WORLD_BOTH_SAFE,
    WORLD_BOTH_UNSAFE,
    WORLD_CHOSEN_UNSAFE, /* the other is safe: counted, never trained on */
    WORLD_N_BINS
} world_bin;

typedef struct world_label {
    uint32_t chosen; /* 0 or 1 */
    world_degree degree;
    bool safe[2]; /* of the answers as given, as labelled */
    world_bin bin;
} world_label;

typedef struct world_preference {
    world_prompt prompt;
    world_style styles[2];
    char answers[2][WORLD_TEXT];
    world_label label;
} world_preference;

/* --- generators ------------------------------------------------------------------------------ */

/* Pretraining document i: a few sentences, or plain questions with answers. Returns its length. */
size_t world_document(uint64_t seed, uint64_t index, char text[WORLD_DOCUMENT]);

void world_training_prompt(uint64_t seed, uint64_t index, world_topic topic, world_prompt *prompt);

/* Evaluation prompt i: kind i % WORLD_N_KINDS, so n * WORLD_N_KINDS prompts hold n of each; held-out phrasings only; a
 * fourth of those kinds that can follow another question are second turns. The same for all seeds of a run: it has no
 * seed. */
void world_evaluation_prompt(uint64_t index, world_prompt *prompt);

/* Of mixed quality: the shares are in docs/world.md. */
void world_demonstrate(uint64_t seed, uint64_t index, world_demonstration *demonstration);

/* Two answers in different styles to one training prompt, labelled: the first preference data, before any model has
 * answered. */
void world_first_preference(uint64_t seed, uint64_t index, world_topic topic, world_preference *preference);

/* --- answers, judge, labeller ---------------------------------------------------------------- */

/* Right answer number i of a prompt, plain or courteous; false past the last one. */
bool world_right_answer(const world_prompt *prompt, uint32_t index, bool courteous, char answer[WORLD_TEXT]);

/* An answer in a style; (seed, index) chooses among those there are. */
void world_answer(const world_prompt *prompt, world_style style, uint64_t seed, uint64_t index,
                  char answer[WORLD_TEXT]);

/* The gold judge; `verdict` may be NULL. Returns the score. */
double world_judge(const world_prompt *prompt, const char *answer, size_t length, world_verdict *verdict);

/* A noisy annotator who sees the gold score. */
void world_annotate(uint64_t seed, uint64_t index, const world_prompt *prompt, const char *first, const char *second,
                    world_label *label);

/* --- instructions ---------------------------------------------------------------------------- */

/* "act as greta.", to be kept to in every answer of a dialogue: "greta says: gladly, ...". For Ghost Attention. */
typedef struct world_instruction {
    char text[64];    /* as it stands in the message */
    char kept[64];    /* what a training example says: the same, or, half of them, "figure: greta." */
    char opening[32]; /* what an answer that follows it begins with */
} world_instruction;

/* Of training, or held out: in phrasings that no training has; with figures, too, that no training acts as. */
typedef enum world_novelty { WORLD_TRAINED, WORLD_NEW_PHRASING, WORLD_NEW_FIGURE } world_novelty;

/* Those that are held out are the same for all seeds. */
void world_instruct(uint64_t seed, uint64_t index, world_novelty novelty, world_instruction *instruction);

/* What the answer says behind the opening, for the judge; NULL: it does not follow the instruction. */
const char *world_follows(const world_instruction *instruction, const char *answer);

/* A safety preprompt for context distillation, in the world's words: a general one, or the answer template for requests
 * that must be refused, the one category of risk here. */
const char *world_preprompt(bool illicit, uint64_t index);

/* --- text ------------------------------------------------------------------------------------ */

/* The dialogue in the chat format, without BOS and EOS: "[INST] ... [/INST] answer". Returns the length. */
size_t world_chat_text(const world_prompt *prompt, const char *answer, char text[WORLD_DOCUMENT]);

/* The phrasings of a kind, "$n" and the like standing for what is filled in; NULL past the last one. */
const char *world_phrasing(world_kind kind, bool held_out, uint32_t index);

const char *world_kind_name(world_kind kind);
const char *world_style_name(world_style style);
const char *world_degree_name(world_degree degree);

/* FNV-1a over the first 2,000 items of every generator of prompts, answers and labels with WORLD_SEED: changes if the
 * world does. */
uint64_t world_hash(void);

/* tokenizer.model of the world's text, made by examples/world/make_tokenizer.sh. */
extern const unsigned char world_tokenizer_model[];
extern const size_t world_tokenizer_model_size;

#endif
