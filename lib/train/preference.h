/* Preference data (section 3.2.1): the collection, what it holds, and records as tokens. */
#ifndef L2_TRAIN_PREFERENCE_H
#define L2_TRAIN_PREFERENCE_H

#include "tokenizer/tokenizer.h"
#include "train/packing.h"
#include <llama2/preference.h>

struct llama2_preferences {
    llama2_context *ctx;
    int64_t n, capacity;
    llama2_preference **records; /* each is one block with all that it points to */
    int64_t *slots;              /* ids by their hash: index + 1, or 0; open addressing */
    int64_t n_slots;             /* a power of two, at least twice the capacity; 0: no slots yet */
    uint64_t secret;             /* of the hash */
    int busy;                    /* records are being sampled; the progress callback may not change the collection */
};

/* FNV-1a: begin with 0. */
uint64_t l2_preference_hash(uint64_t hash, const void *data, size_t size);
/* The length of message i, and of response k. */
size_t l2_preference_length(const llama2_preference *record, int32_t i);
size_t l2_preference_response_length(const llama2_preference *record, int32_t k);
int32_t l2_preference_bin(const llama2_preference *record);

llama2_status l2_preferences_create(llama2_context *ctx, llama2_preferences **out);
void l2_preferences_free(llama2_preferences *preferences);
llama2_status l2_preferences_check_busy(const llama2_preferences *preferences);
/* What l2_preferences_add refuses whatever the collection holds. */
llama2_status l2_preference_check(const llama2_preference *record);
llama2_status l2_preferences_add(llama2_preferences *preferences, const llama2_preference *record);
/* Drops the records from n on. */
void l2_preferences_truncate(llama2_preferences *preferences, int64_t n);
/* The record, or INVALID. */
llama2_status l2_preferences_at(const llama2_preferences *preferences, int64_t index, const llama2_preference **out);
llama2_status l2_preferences_find(const llama2_preferences *preferences, const char *id, int64_t *index);
llama2_status l2_preferences_annotate(llama2_preferences *preferences, int64_t index,
                                      const llama2_annotation *annotation);

/* preference_io.c */
llama2_status l2_preferences_save(const llama2_preferences *preferences, const char *path);
llama2_status l2_preferences_load(llama2_context *ctx, const char *path, llama2_preferences **out);

/* agreement.c */
llama2_status l2_preferences_summarise(const llama2_preferences *preferences, int32_t kind,
                                       llama2_preference_summary *summary);
llama2_status l2_preferences_agreement(const llama2_preferences *preferences, int32_t kind,
                                       llama2_agreement *agreement);

/* preference_sample.c; options and models are checked there */
llama2_status l2_preferences_sample(llama2_preferences *preferences, llama2_model *a, llama2_model *b,
                                    const llama2_tokenizer *tokenizer, const llama2_chat *const *dialogues, int32_t n,
                                    const llama2_preferences_sample_options *options);

/* --- comparisons.c --------------------------------------------------------------------------- */

/* Encodes dialogues, with or without a response, into memory of its own. */
typedef struct l2_dialogue_encoder {
    const llama2_tokenizer *tokenizer;
    int64_t max_tokens; /* 0: no limit */
    int32_t *ids;       /* of the last dialogue */
    int64_t n, capacity;
    int32_t first;  /* message that it begins with, the system message apart */
    int32_t *roles; /* its messages, a response among them */
    const char **texts;
    size_t *lengths;
    int32_t room;
} l2_dialogue_encoder;

/* The dialogue of `record` with response k, or (-1) up to where the response begins, from message `first` on. What does
 * not fit loses earliest turns first, the system message stays; n is 0 where the last turn alone does not fit. */
llama2_status l2_dialogue_encode(l2_dialogue_encoder *encoder, const llama2_preference *record, int32_t k,
                                 int32_t first);
void l2_dialogue_encoder_free(l2_dialogue_encoder *encoder);

struct llama2_comparisons {
    llama2_context *ctx;
    llama2_comparisons_options options;
    int64_t n, capacity;
    llama2_packer *all; /* sequence 2 i: pair i's dialogue with the chosen response, 2 i + 1: with the other */
    int64_t *records;
    float *margins;
    int32_t *safe; /* 2 n */

    /* What llama2_comparisons_pairs gave last. */
    llama2_packer *packed;
    llama2_batch batch;
    int32_t room;
    float *batch_margins;
    int32_t *batch_safe;
};

llama2_status l2_comparisons_create(const llama2_preferences *preferences, const llama2_tokenizer *tokenizer,
                                    const int64_t *indices, int64_t first, int64_t n,
                                    const llama2_comparisons_options *options, llama2_comparisons_counts *counts,
                                    llama2_comparisons **out);
void l2_comparisons_free(llama2_comparisons *comparisons);
llama2_status l2_comparisons_pairs(llama2_comparisons *comparisons, const int64_t *indices, int64_t first, int32_t n,
                                   llama2_pairs *pairs);

#endif
