/* What a collection holds: counts, the bias of position, and how far annotators agree. */
#include "base/alloc.h"
#include "format/sort.h"
#include "train/preference.h"
#include <inttypes.h>
#include <string.h>

static llama2_status check_kind(int32_t kind)
{
    if (kind >= -1 && kind <= LLAMA2_KIND_SAFETY) return LLAMA2_OK;
    return l2_fail(LLAMA2_E_INVALID, "preferences: kind is %" PRId32 ", expected LLAMA2_KIND_*, or -1: all", kind);
}

llama2_status l2_preferences_summarise(const llama2_preferences *p, int32_t kind, llama2_preference_summary *s)
{
    L2_TRY(check_kind(kind));
    *s = (llama2_preference_summary){.struct_size = sizeof *s, .first_share = 0.5};
    int64_t *const ratings[] = {&s->n_unrated, &s->n_significantly, &s->n_better, &s->n_slightly, &s->n_negligibly};
    int64_t *const bins[] = {&s->n_unlabelled, &s->n_chosen_safe, &s->n_both_safe, &s->n_both_unsafe, &s->n_other_safe};
    for (int64_t i = 0; i < p->n; i++) {
        const llama2_preference *r = p->records[i];
        if (kind >= 0 && r->kind != kind) continue;
        s->n_records++;
        if (r->chosen < 0) continue;
        s->n_chosen++;
        s->n_first += r->chosen == 0;
        ++*ratings[1 + r->rating];
        ++*bins[1 + l2_preference_bin(r)];
    }
    if (s->n_chosen > 0) s->first_share = (double)s->n_first / (double)s->n_chosen;
    return LLAMA2_OK;
}

/* --- agreement ------------------------------------------------------------------------------- */

/* A choice; the responses of a comparison are told apart by their order as bytes, not by where they stood. */
typedef struct vote {
    const llama2_preference *record;
    uint64_t hash; /* of kind, dialogue and both responses: most votes differ in it */
    int64_t index;
    int32_t swapped; /* the second response is the lesser one */
    int32_t reserved;
} vote;

static int compare_responses(const llama2_preference *a, int i, const llama2_preference *b, int k)
{
    return l2_compare_text(a->responses[i], a->response_lengths[i], b->responses[k], b->response_lengths[k]);
}

/* 0: the same comparison. */
static int compare_comparisons(const vote *a, const vote *b)
{
    const llama2_preference *r = a->record, *s = b->record;
    int order = (a->hash > b->hash) - (a->hash < b->hash);
    if (!order) order = (r->kind > s->kind) - (r->kind < s->kind);
    if (!order) order = (r->n_messages > s->n_messages) - (r->n_messages < s->n_messages);
    for (int32_t i = 0; !order && i < r->n_messages; i++) {
        order = (r->roles[i] > s->roles[i]) - (r->roles[i] < s->roles[i]);
        if (!order) order = l2_compare_text(r->texts[i], r->lengths[i], s->texts[i], s->lengths[i]);
    }
    for (int k = 0; !order && k < 2; k++) order = compare_responses(r, k ^ a->swapped, s, k ^ b->swapped);
    return order;
}

/* By comparison, then annotator, then as they were added. */
static int compare_votes(const void *x, const void *y)
{
    const vote *a = x, *b = y;
    int order = compare_comparisons(a, b);
    if (!order) order = strcmp(a->record->annotator, b->record->annotator);
    return order ? order : (a->index > b->index) - (a->index < b->index);
}

static vote make_vote(const llama2_preference *r, int64_t index)
{
    vote v = {.record = r, .index = index, .swapped = compare_responses(r, 0, r, 1) > 0};
    v.hash = l2_preference_hash(0, &r->kind, sizeof r->kind);
    for (int32_t i = 0; i < r->n_messages; i++) v.hash = l2_preference_hash(v.hash, r->texts[i], r->lengths[i]);
    for (int k = 0; k < 2; k++)
        v.hash = l2_preference_hash(v.hash, r->responses[k ^ v.swapped], r->response_lengths[k ^ v.swapped]);
    return v;
}

/* Choices of one comparison into sums. */
typedef struct sums {
    double disagreement; /* sum of 2 a b / (m - 1) */
    double pairs, alike; /* of annotators */
} sums;

static void add_comparison(const vote *votes, int64_t n, sums *all, llama2_agreement *out)
{
    double of[2] = {0};
    for (int64_t i = 0; i < n; i++) {
        /* of one annotator the last */
        if (i + 1 < n && strcmp(votes[i].record->annotator, votes[i + 1].record->annotator) == 0) continue;
        of[votes[i].record->chosen ^ votes[i].swapped]++;
    }
    double m = of[0] + of[1];
    if (m < 2) return;
    out->n_comparisons++;
    out->n_annotations += (int64_t)m;
    all->disagreement += 2 * of[0] * of[1] / (m - 1);
    all->pairs += m * (m - 1) / 2;
    all->alike += m * (m - 1) / 2 - of[0] * of[1];
}

llama2_status l2_preferences_agreement(const llama2_preferences *p, int32_t kind, llama2_agreement *out)
{
    vote *votes;
    int64_t n = 0;
    sums all = {0};
    L2_TRY(check_kind(kind));
    L2_TRY(l2_scratch_get(p->ctx, (size_t)p->n * sizeof *votes, &votes));
    for (int64_t i = 0; i < p->n; i++) {
        const llama2_preference *r = p->records[i];
        if ((kind >= 0 && r->kind != kind) || r->chosen < 0 || !*r->annotator || compare_responses(r, 0, r, 1) == 0)
            continue;
        votes[n++] = make_vote(r, i);
    }
    l2_sort(votes, (size_t)n, sizeof *votes, compare_votes);
    *out = (llama2_agreement){.struct_size = sizeof *out};
    for (int64_t first = 0, end; first < n; first = end) {
        for (end = first + 1; end < n && compare_comparisons(&votes[first], &votes[end]) == 0;) end++;
        add_comparison(votes + first, end - first, &all, out);
    }
    l2_scratch_put(p->ctx, votes);
    if (out->n_comparisons > 0) {
        double annotations = (double)out->n_annotations;
        out->share = all.alike / all.pairs;
        out->alpha = 1 - all.disagreement / annotations * (2 * annotations - 1) / annotations;
    }
    return LLAMA2_OK;
}
