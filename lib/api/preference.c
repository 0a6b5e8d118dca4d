/* include/llama2/preference.h */
#include "train/preference.h"
#include "base/options.h"

static const llama2_preference record_defaults = {.struct_size = sizeof record_defaults, .chosen = -1, .rating = -1};
static const llama2_annotation annotation_defaults = {
    .struct_size = sizeof annotation_defaults, .chosen = -1, .rating = -1, .bin = -1};
static const llama2_preferences_sample_options sample_defaults = {
    .struct_size = sizeof sample_defaults, .max_new_tokens = 256, .temperature_a = 1, .temperature_b = 1, .top_p = 1};
static const llama2_comparisons_options comparisons_defaults = {
    .struct_size = sizeof comparisons_defaults, .margin = LLAMA2_MARGIN_SMALL, .leave_out_unsafe = 1};

void llama2_preference_init(llama2_preference *record, size_t size)
{
    l2_options_init(record, size, &record_defaults, sizeof record_defaults);
}

void llama2_annotation_init(llama2_annotation *annotation, size_t size)
{
    l2_options_init(annotation, size, &annotation_defaults, sizeof annotation_defaults);
}

void llama2_preferences_sample_options_init(llama2_preferences_sample_options *options, size_t size)
{
    l2_options_init(options, size, &sample_defaults, sizeof sample_defaults);
}

void llama2_comparisons_options_init(llama2_comparisons_options *options, size_t size)
{
    l2_options_init(options, size, &comparisons_defaults, sizeof comparisons_defaults);
}

int32_t llama2_preference_bin(const llama2_preference *record)
{
    llama2_preference r = record_defaults;
    if (l2_options_read(record, &r, sizeof r, "llama2_preference") < 0) return -1;
    return l2_preference_bin(&r);
}

llama2_status llama2_preferences_create(llama2_context *ctx, llama2_preferences **out)
{
    if (!out) return l2_fail(LLAMA2_E_INVALID, "llama2_preferences_create: out is NULL");
    *out = NULL;
    if (!ctx) return l2_fail(LLAMA2_E_INVALID, "llama2_preferences_create: ctx is NULL");
    L2_TRY(l2_context_check(ctx));
    return l2_preferences_create(ctx, out);
}

void llama2_preferences_free(llama2_preferences *preferences)
{
    l2_preferences_free(preferences);
}

llama2_status llama2_preferences_add(llama2_preferences *preferences, const llama2_preference *record)
{
    llama2_preference r = record_defaults;
    if (!preferences || !record)
        return l2_fail(LLAMA2_E_INVALID, "llama2_preferences_add: preferences or record is NULL");
    L2_TRY(l2_options_read(record, &r, sizeof r, "llama2_preference"));
    return l2_preferences_add(preferences, &r);
}

int64_t llama2_preferences_count(const llama2_preferences *preferences)
{
    return preferences ? preferences->n : 0;
}

llama2_status llama2_preferences_get(const llama2_preferences *preferences, int64_t index, llama2_preference *record)
{
    const llama2_preference *full = NULL;
    if (!preferences || !record)
        return l2_fail(LLAMA2_E_INVALID, "llama2_preferences_get: preferences or record is NULL");
    L2_TRY(l2_preferences_at(preferences, index, &full));
    return l2_struct_write(record, full, sizeof *full, "llama2_preference");
}

llama2_status llama2_preferences_find(const llama2_preferences *preferences, const char *id, int64_t *index)
{
    if (!preferences || !id || !index) return l2_fail(LLAMA2_E_INVALID, "llama2_preferences_find: an argument is NULL");
    return l2_preferences_find(preferences, id, index);
}

llama2_status llama2_preferences_annotate(llama2_preferences *preferences, int64_t index,
                                          const llama2_annotation *annotation)
{
    llama2_annotation a = annotation_defaults;
    if (!preferences || !annotation)
        return l2_fail(LLAMA2_E_INVALID, "llama2_preferences_annotate: preferences or annotation is NULL");
    L2_TRY(l2_options_read(annotation, &a, sizeof a, "llama2_annotation"));
    return l2_preferences_annotate(preferences, index, &a);
}

llama2_status llama2_preferences_save(const llama2_preferences *preferences, const char *path)
{
    if (!preferences || !path) return l2_fail(LLAMA2_E_INVALID, "llama2_preferences_save: preferences or path is NULL");
    L2_TRY(l2_context_check(preferences->ctx));
    return l2_preferences_save(preferences, path);
}

llama2_status llama2_preferences_load(llama2_context *ctx, const char *path, llama2_preferences **out)
{
    if (!out) return l2_fail(LLAMA2_E_INVALID, "llama2_preferences_load: out is NULL");
    *out = NULL;
    if (!ctx || !path) return l2_fail(LLAMA2_E_INVALID, "llama2_preferences_load: ctx or path is NULL");
    L2_TRY(l2_context_check(ctx));
    return l2_preferences_load(ctx, path, out);
}

llama2_status llama2_preferences_summarise(const llama2_preferences *preferences, int32_t kind,
                                           llama2_preference_summary *summary)
{
    llama2_preference_summary full;
    if (!preferences || !summary)
        return l2_fail(LLAMA2_E_INVALID, "llama2_preferences_summarise: preferences or summary is NULL");
    L2_TRY(l2_preferences_summarise(preferences, kind, &full));
    return l2_struct_write(summary, &full, sizeof full, "llama2_preference_summary");
}

llama2_status llama2_preferences_agreement(const llama2_preferences *preferences, int32_t kind,
                                           llama2_agreement *agreement)
{
    llama2_agreement full;
    if (!preferences || !agreement)
        return l2_fail(LLAMA2_E_INVALID, "llama2_preferences_agreement: preferences or agreement is NULL");
    L2_TRY(l2_context_check(preferences->ctx));
    L2_TRY(l2_preferences_agreement(preferences, kind, &full));
    return l2_struct_write(agreement, &full, sizeof full, "llama2_agreement");
}

llama2_status llama2_preferences_sample(llama2_preferences *preferences, llama2_model *a, llama2_model *b,
                                        const llama2_tokenizer *tokenizer, const llama2_chat *const *dialogues,
                                        int32_t n, const llama2_preferences_sample_options *options)
{
    llama2_preferences_sample_options o = sample_defaults;
    if (!preferences || !a || !b || !tokenizer || !dialogues)
        return l2_fail(LLAMA2_E_INVALID, "llama2_preferences_sample: an argument is NULL");
    if (n < 1) return l2_fail(LLAMA2_E_INVALID, "llama2_preferences_sample: %d dialogues; at least one is needed", n);
    L2_TRY(l2_context_check(preferences->ctx));
    L2_TRY(l2_options_read(options, &o, sizeof o, "llama2_preferences_sample_options"));
    return l2_preferences_sample(preferences, a, b, tokenizer, dialogues, n, &o);
}

llama2_status llama2_comparisons_create(const llama2_preferences *preferences, const llama2_tokenizer *tokenizer,
                                        const int64_t *indices, int64_t first, int64_t n,
                                        const llama2_comparisons_options *options, llama2_comparisons_counts *counts,
                                        llama2_comparisons **out)
{
    llama2_comparisons_options o = comparisons_defaults;
    llama2_comparisons_counts full;
    if (!out) return l2_fail(LLAMA2_E_INVALID, "llama2_comparisons_create: out is NULL");
    *out = NULL;
    if (!preferences || !tokenizer)
        return l2_fail(LLAMA2_E_INVALID, "llama2_comparisons_create: preferences or tokenizer is NULL");
    if (n < 0) return l2_fail(LLAMA2_E_INVALID, "llama2_comparisons_create: n is %lld, less than 0", (long long)n);
    L2_TRY(l2_context_check(preferences->ctx));
    L2_TRY(l2_options_read(options, &o, sizeof o, "llama2_comparisons_options"));
    L2_TRY(l2_struct_check(counts, "llama2_comparisons_counts"));
    L2_TRY(l2_comparisons_create(preferences, tokenizer, indices, first, n, &o, &full, out));
    return counts ? l2_struct_write(counts, &full, sizeof full, "llama2_comparisons_counts") : LLAMA2_OK;
}

void llama2_comparisons_free(llama2_comparisons *comparisons)
{
    l2_comparisons_free(comparisons);
}

int64_t llama2_comparisons_count(const llama2_comparisons *comparisons)
{
    return comparisons ? comparisons->n : 0;
}

int64_t llama2_comparisons_record(const llama2_comparisons *comparisons, int64_t i)
{
    return comparisons && i >= 0 && i < comparisons->n ? comparisons->records[i] : -1;
}

llama2_status llama2_comparisons_pairs(llama2_comparisons *comparisons, const int64_t *indices, int64_t first,
                                       int32_t n, llama2_pairs *pairs)
{
    llama2_pairs full;
    if (!comparisons || !pairs)
        return l2_fail(LLAMA2_E_INVALID, "llama2_comparisons_pairs: comparisons or pairs is NULL");
    L2_TRY(l2_struct_check(pairs, "llama2_pairs"));
    L2_TRY(l2_comparisons_pairs(comparisons, indices, first, n, &full));
    return l2_struct_write(pairs, &full, sizeof full, "llama2_pairs");
}
