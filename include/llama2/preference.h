/*
 * Preference data by the binary comparison protocol (section 3.2.1): an annotator sees two responses to a prompt,
 * sampled from two model variants at two temperatures, picks one and says how much better it is.
 *
 *     sample -> (shown to annotators) -> annotate -> summarise, agreement -> comparisons -> llama2_reward_step
 *
 * A collection keeps records whole: dialogue, both responses in the order in which they were shown, where they came
 * from, what was chosen, by whom, in which batch, by which guideline. Nothing that was collected is dropped from it;
 * what may not be trained on is left out when comparisons are made.
 */
#ifndef LLAMA2_PREFERENCE_H
#define LLAMA2_PREFERENCE_H

#include "chat.h"
#include "model.h"
#include "reward.h"
#include "rollouts.h"
#include "types.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Helpfulness and safety are collected apart, with guidelines of their own. */
enum { LLAMA2_KIND_HELPFUL = 0, LLAMA2_KIND_SAFETY = 1 };

/* Which responses are safe. In the paper's safety data 18, 47 and 35 %; of the last bin it has none. */
enum {
    LLAMA2_BIN_CHOSEN_SAFE = 0, /* the chosen response is safe, the other is not */
    LLAMA2_BIN_BOTH_SAFE = 1,
    LLAMA2_BIN_BOTH_UNSAFE = 2,
    LLAMA2_BIN_OTHER_SAFE = 3 /* the chosen response is not safe, the other is: kept and counted, never trained on */
};

/*
 * A record, a view. Given to the library: the caller's memory for the length of a call. Got from it: pointers are valid
 * until the record is annotated or the collection freed; no string is NULL then ("": not known), all texts end with
 * NUL, and all arrays are there.
 */
typedef struct llama2_preference {
    uint32_t struct_size;
    int32_t n_messages;             /* of the dialogue: history and prompt, in order as in llama2_chat, the last one the
                                       user's */
    const int32_t *roles;           /* LLAMA2_ROLE_* */
    const char *const *texts;       /* UTF-8 */
    const size_t *lengths;          /* bytes; NULL: the texts end with NUL */
    const char *const *responses;   /* two, in the order in which they are shown; UTF-8, may be empty */
    const size_t *response_lengths; /* two, bytes; NULL: the responses end with NUL */
    const char *const *models;      /* two: the version of the model that gave each; NULL (default): not known */
    const double *temperatures;     /* two, at which each was sampled, 0 .. 1e6, or -1: not known; NULL (default) */
    const int32_t *safe;            /* two: 1 safe, 0 unsafe, -1 not known; NULL (default): not known */
    int32_t kind;                   /* LLAMA2_KIND_*; default HELPFUL */
    int32_t chosen;                 /* 0 the first response, 1 the second, -1 (default) none yet */
    int32_t rating;                 /* LLAMA2_RATING_*, how much better the chosen one is; -1 (default): not known */
    int32_t reserved;               /* 0 */
    const char *id;                 /* the record's name; in a collection there is no other with it. NULL: none */
    const char *annotator;          /* NULL: not known; likewise below */
    const char *batch;              /* what was collected together, e.g. "2023-W07" */
    const char *guideline;          /* that the annotator followed: its text, or the name of a long one */
} llama2_preference;

/* Writes the defaults into at most `size` bytes. Since 0.1. */
LLAMA2_API void llama2_preference_init(llama2_preference *record, size_t size);

/* LLAMA2_BIN_* by `chosen` and `safe`; -1 where there is no choice, or a label is not known. Since 0.1. */
LLAMA2_API int32_t llama2_preference_bin(const llama2_preference *record);

/* An empty collection. Since 0.1. */
LLAMA2_API llama2_status llama2_preferences_create(llama2_context *ctx, llama2_preferences **out);
LLAMA2_API void llama2_preferences_free(llama2_preferences *preferences);

/* Adds a copy, as the last record. Another annotator's choice on the same two responses is a record of its own, with
 * another id. Errors: INVALID (roles out of order, text that is not UTF-8, a number out of range, an id that is there
 * already, a rating without a choice); BUSY from the progress callback of llama2_preferences_sample. Since 0.1. */
LLAMA2_API llama2_status llama2_preferences_add(llama2_preferences *preferences, const llama2_preference *record);

LLAMA2_API int64_t llama2_preferences_count(const llama2_preferences *preferences);
/* index in [0, count); set record->struct_size first. Since 0.1. */
LLAMA2_API llama2_status llama2_preferences_get(const llama2_preferences *preferences, int64_t index,
                                                llama2_preference *record);
/* The index of an id. Errors: NOT_FOUND. Since 0.1. */
LLAMA2_API llama2_status llama2_preferences_find(const llama2_preferences *preferences, const char *id, int64_t *index);

/* What an annotator says of a record. */
typedef struct llama2_annotation {
    uint32_t struct_size;
    int32_t chosen;        /* 0 the first response, 1 the second, as they are shown; default -1, which is refused */
    int32_t rating;        /* LLAMA2_RATING_*; -1 (default): not said */
    int32_t bin;           /* LLAMA2_BIN_*; -1 (default): the labels of the responses stay as they are */
    const char *annotator; /* NULL (default): stays as it is; likewise below */
    const char *batch;
    const char *guideline;
} llama2_annotation;

/* Writes the defaults into at most `size` bytes. Since 0.1. */
LLAMA2_API void llama2_annotation_init(llama2_annotation *annotation, size_t size);

/* Sets, or changes, the choice of a record. Errors: INVALID; BUSY from the progress callback of
 * llama2_preferences_sample; the record then stays as it was. Since 0.1. */
LLAMA2_API llama2_status llama2_preferences_annotate(llama2_preferences *preferences, int64_t index,
                                                     const llama2_annotation *annotation);

/* Everything in the collection as one file, written atomically and checked by checksums when read. Errors: IO,
 * NOT_FOUND; of a file FORMAT, TRUNCATED, CORRUPT, UNSUPPORTED (of a newer version), LIMIT. Since 0.1. */
LLAMA2_API llama2_status llama2_preferences_save(const llama2_preferences *preferences, const char *path);
LLAMA2_API llama2_status llama2_preferences_load(llama2_context *ctx, const char *path, llama2_preferences **out);

/* --- what a collection holds ----------------------------------------------------------------- */

typedef struct llama2_preference_summary {
    uint32_t struct_size;
    int32_t reserved;
    int64_t n_records, n_chosen; /* all, and those with a choice, of which are: */
    int64_t n_significantly, n_better, n_slightly, n_negligibly, n_unrated;
    int64_t n_chosen_safe, n_both_safe, n_both_unsafe, n_other_safe, n_unlabelled; /* n_other_safe: left out when
                                                                                      comparisons are made */
    int64_t n_first;    /* where the response that was shown first was chosen */
    double first_share; /* n_first / n_chosen: the bias of position, 0.5 where there is none, with a standard error of
                           0.5 / sqrt(n_chosen); 0.5 too where nothing was chosen */
} llama2_preference_summary;

/* Of the records of a kind, LLAMA2_KIND_*; -1: of all. Set summary->struct_size first. Since 0.1. */
LLAMA2_API llama2_status llama2_preferences_summarise(const llama2_preferences *preferences, int32_t kind,
                                                      llama2_preference_summary *summary);

/*
 * How far annotators agree on which response is better: over comparisons (records of equal kind with the same dialogue
 * and the same two responses, in either order) that at least two annotators chose in. Of one annotator's choices in the
 * same comparison the last record counts; records without an annotator, and with two equal responses, don't.
 *
 * alpha is Krippendorff's, since each comparison has annotators of its own, any number of them: Cohen's kappa is for
 * two who judge everything, Fleiss' for an equal number on everything. 1: they agree; 0: as by chance; below: they
 * contradict each other. The two responses of a comparison are no categories that comparisons have in common, and which
 * of them is called the first says nothing. So each comparison counts under both names: chance is an even coin, and
 * alpha does not depend on the order of responses or records. With m annotators on a comparison, of whom a and b = m -
 * a chose either response, and N annotations in all:
 *
 *     alpha = 1 - D_o / D_e,  D_o = 1/N sum 2 a b / (m - 1),  D_e = N / (2 N - 1)
 */
typedef struct llama2_agreement {
    uint32_t struct_size;
    int32_t reserved;
    int64_t n_comparisons, n_annotations; /* with at least two annotators; choices in these */
    double share;                         /* of pairs of annotators on a comparison: who chose alike; 0 without any */
    double alpha;                         /* 0 without any */
} llama2_agreement;

/* kind as above; set agreement->struct_size first. Since 0.1. */
LLAMA2_API llama2_status llama2_preferences_agreement(const llama2_preferences *preferences, int32_t kind,
                                                      llama2_agreement *agreement);

/* --- sampling what annotators are shown ------------------------------------------------------- */

typedef struct llama2_preferences_sample_options {
    uint32_t struct_size;
    int32_t max_new_tokens;              /* longest response, its EOS included; below the context of either model, else
                                            INVALID; default 256 */
    double temperature_a, temperature_b; /* of the two models; 0: greedy; else 1e-6 .. 1e6; default 1 and 1 */
    double top_p;                        /* default 1 */
    int32_t top_k;                       /* default 0: all */
    int32_t reserved;                    /* 0 */
    uint64_t seed;                       /* default 0 */
    uint64_t first_sample_id;      /* dialogue i has the id first_sample_id + i, all below 2^63: what is sampled, and
                                      which response stands first, depends on seed, id and models alone; default
                                      0 */
    const char *model_a, *model_b; /* versions, for the records; NULL (default): not known */
    const char *batch, *guideline; /* for the records; NULL (default): not known */
    const int32_t *kinds;          /* one a dialogue, LLAMA2_KIND_*; NULL (default): all HELPFUL */
    const llama2_tokenizer *tokenizer_b; /* of b where it has another one; NULL (default): that of a */
    llama2_rollout_fn progress;          /* NULL: none; two responses a dialogue */
    void *user;
} llama2_preferences_sample_options;

/* Writes the defaults into at most `size` bytes. Since 0.1. */
LLAMA2_API void llama2_preferences_sample_options_init(llama2_preferences_sample_options *options, size_t size);

/*
 * Samples one response of model a and one of model b (which may be the same) to each of n dialogues, which end with the
 * user's message (loss_weights and date are not used), and adds n records without a choice, in the order of the
 * dialogues. Which response stands first is drawn for each dialogue, so that the place tells nothing of the model.
 * Responses lose white space at both ends; two may be equal. One that max_new_tokens cut is kept as it is, and becomes
 * a comparison that ends with EOS like any other: give responses room to end. The id of a record is 16 hexadecimal
 * digits, a hash of seed, sample id, batch and all that was sampled, so the same call twice into one collection is
 * refused for its ids. A dialogue that leaves no room for max_new_tokens is read without its earliest turns; the record
 * has them all.
 *
 * The same bits for any number of threads. On failure nothing is added. Errors: CONTEXT when the last turn of a
 * dialogue alone leaves no room; MISMATCH when a tokenizer has more pieces than its model; BUSY from the progress
 * callback of another one on the same collection; those of llama2_chat_encode, llama2_preferences_add and
 * llama2_rollout. What can be told is told before the first response is sampled. Since 0.1.
 */
LLAMA2_API llama2_status llama2_preferences_sample(llama2_preferences *preferences, llama2_model *a, llama2_model *b,
                                                   const llama2_tokenizer *tokenizer,
                                                   const llama2_chat *const *dialogues, int32_t n,
                                                   const llama2_preferences_sample_options *options);

/* --- what a reward model is trained on -------------------------------------------------------- */

typedef struct llama2_comparisons_options {
    uint32_t struct_size;
    int32_t margin;           /* LLAMA2_MARGIN_*, by rating; 0 without a rating; default SMALL */
    int64_t max_tokens;       /* of a dialogue with a response; where one of the two is longer both lose their earliest
                                 turns, the same; a pair with one whose last turn does not fit is left out; 0
                                 (default): no limit */
    double safety_weight;     /* of the pairs: what the auxiliary loss on `safe` counts, finite and >= 0; default 0 */
    int32_t leave_out_unsafe; /* 1 (default): no pair of LLAMA2_BIN_OTHER_SAFE; 0: they are there, to be evaluated
                                 (llama2_reward_step passes over them all the same) */
    int32_t reserved;         /* 0 */
} llama2_comparisons_options;

/* Writes the defaults into at most `size` bytes. Since 0.1. */
LLAMA2_API void llama2_comparisons_options_init(llama2_comparisons_options *options, size_t size);

/* What became of the records. */
typedef struct llama2_comparisons_counts {
    uint32_t struct_size;
    int32_t reserved;
    int64_t n_pairs;                  /* there */
    int64_t n_open, n_unsafe, n_long; /* left out: without a choice; LLAMA2_BIN_OTHER_SAFE; longer than max_tokens */
    int64_t n_marked;                 /* left out: a text has a marker of the chat format (LLAMA2_E_INJECTION) */
} llama2_comparisons_counts;

/*
 * Records as tokens, in the chat format of the tokenizer: record indices[0 .. n), or (indices NULL) first .. first + n
 * - 1. Each dialogue ends with the piece that ends an answer, as sampled ones do (LLAMA2_CHAT_TO_END): the token that
 * scores are read at. The handle has copies: the collection may change or go. counts may be NULL. Errors: INVALID (an
 * index, an option out of its range), those of llama2_chat_encode but INJECTION; its message names the record. Since
 * 0.1.
 */
LLAMA2_API llama2_status llama2_comparisons_create(const llama2_preferences *preferences,
                                                   const llama2_tokenizer *tokenizer, const int64_t *indices,
                                                   int64_t first, int64_t n, const llama2_comparisons_options *options,
                                                   llama2_comparisons_counts *counts, llama2_comparisons **out);
LLAMA2_API void llama2_comparisons_free(llama2_comparisons *comparisons);

/* Pairs in the handle, and the index of pair i's record in the collection (-1: no such pair). Since 0.1. */
LLAMA2_API int64_t llama2_comparisons_count(const llama2_comparisons *comparisons);
LLAMA2_API int64_t llama2_comparisons_record(const llama2_comparisons *comparisons, int64_t i);

/*
 * Pairs indices[0 .. n), or (indices NULL) first .. first + n - 1, as what llama2_reward_step and
 * llama2_reward_evaluate take: batch, margins and labels. Set pairs->struct_size first. All that it points to belongs
 * to the handle and is valid until the next call on it. Errors: INVALID. Since 0.1.
 */
LLAMA2_API llama2_status llama2_comparisons_pairs(llama2_comparisons *comparisons, const int64_t *indices,
                                                  int64_t first, int32_t n, llama2_pairs *pairs);

#ifdef __cplusplus
}
#endif

#endif
