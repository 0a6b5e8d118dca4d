/* Stop strings against a search of the whole text: what is shown, when, and what is held back. */
#include "small_model.h"

#include <stdlib.h>

enum { MOST_STOPS = 4, MOST_TEXT = 200 };

static uint32_t dice(uint64_t *state, uint32_t n)
{
    *state = *state * UINT64_C(6364136223846793005) + 1442695040888963407u;
    return (uint32_t)(*state >> 33) % n;
}

typedef struct stop_set {
    int32_t n;
    char bytes[MOST_STOPS][8];
    const char *texts[MOST_STOPS];
    size_t lengths[MOST_STOPS];
} stop_set;

/* Does text[0 .. n) end with the first `length` bytes of the stop? */
static int ends_with(const char *text, size_t n, const char *stop, size_t length)
{
    return length <= n && memcmp(text + n - length, stop, length) == 0;
}

/* Longest end of text[0 .. n) that a stop begins with; it may be all of the stop. */
static size_t beginning(const stop_set *s, const char *text, size_t n)
{
    size_t longest = 0;
    for (int32_t i = 0; i < s->n; i++)
        for (size_t k = 1; k <= s->lengths[i]; k++)
            if (k > longest && ends_with(text, n, s->texts[i], k)) longest = k;
    return longest;
}

/* Where the first stop to be complete ends (0: nowhere), and the longest one there. */
static size_t first_stop(const stop_set *s, const char *text, size_t n, int32_t *which)
{
    for (size_t end = 1; end <= n; end++) {
        *which = -1;
        for (int32_t i = 0; i < s->n; i++)
            if (ends_with(text, end, s->texts[i], s->lengths[i]) && (*which < 0 || s->lengths[i] > s->lengths[*which]))
                *which = i;
        if (*which >= 0) return end;
    }
    return 0;
}

START_TEST(any_pieces_of_any_text)
{
    llama2_context *ctx = small_context(1, LLAMA2_ISA_AUTO);
    uint64_t state = 3;
    int64_t stopped = 0, held = 0;
    for (int run = 0; run < 20000; run++) {
        stop_set s = {.n = (int32_t)dice(&state, MOST_STOPS + 1)};
        uint32_t letters = 2 + dice(&state, 2);
        for (int32_t i = 0; i < s.n; i++) {
            s.texts[i] = s.bytes[i];
            s.lengths[i] = 1 + dice(&state, 8);
            for (size_t k = 0; k < s.lengths[i]; k++) s.bytes[i][k] = (char)dice(&state, letters); /* NUL too */
        }
        char text[MOST_TEXT], all[MOST_TEXT];
        size_t n = dice(&state, MOST_TEXT), n_all = 0, at = 0, n_shown;
        for (size_t i = 0; i < n; i++) text[i] = (char)dice(&state, letters);
        int32_t expected = -1, which = -1;
        size_t end = first_stop(&s, text, n, &expected), cut = end ? end - s.lengths[expected] : n;
        llama2_stops *stops;
        const char *shown;
        ck_ok(llama2_stops_create(ctx, s.texts, s.lengths, s.n, &stops));
        while (at < n && which < 0) {
            size_t piece = dice(&state, 12);
            if (piece > n - at) piece = n - at;
            ck_ok(llama2_stops_push(stops, text + at, piece, &shown, &n_shown, &which));
            ck_assert_int_eq(shown[n_shown], 0);
            memcpy(all + n_all, shown, n_shown);
            n_all += n_shown;
            at += piece;
            if (which >= 0) break;
            ck_assert(end == 0 || at < end); /* it is found at once, */
            size_t back = beginning(&s, text, at);
            ck_assert_uint_eq(n_all, at - back); /* no more is held back than may be cut, */
            held += back > 0;
        }
        if (which >= 0) ck_fails(llama2_stops_push(stops, "x", 1, &shown, &n_shown, &which), LLAMA2_E_STATE);
        ck_assert_int_eq(which, end ? expected : -1);
        ck_ok(llama2_stops_finish(stops, &shown, &n_shown));
        ck_assert(end == 0 || n_shown == 0);
        memcpy(all + n_all, shown, n_shown);
        n_all += n_shown;
        ck_assert_uint_eq(n_all, cut);
        ck_assert_mem_eq(all, text, cut); /* and what is shown is the text before it. */
        stopped += end > 0;
        /* Ready for another. */
        ck_ok(llama2_stops_push(stops, "\x7f", 1, &shown, &n_shown, &which));
        ck_assert(n_shown == 1 && which == -1);
        llama2_stops_free(stops);
    }
    ck_assert_int_gt(stopped, 5000);
    ck_assert_int_gt(held, 5000);
    llama2_context_free(ctx);
}
END_TEST

/* Behind a decoder, with a stop string that begins and ends within tokens. */
START_TEST(behind_a_decoder)
{
    static const char *const texts[] = {"<unk>", "<s>", "</s>", "ab\xE2\x96\x81s", "to", "pxx", "a"};
    static const int32_t types[] = {2, 3, 3, 1, 1, 1, 1}, ids[] = {6, 3, 4, 5, 6};
    const char *const stop[] = {" stop"};
    llama2_context *ctx = small_context(1, LLAMA2_ISA_AUTO);
    llama2_tokenizer *tokenizer;
    llama2_tokenizer_pieces pieces;
    llama2_decoder *decoder;
    llama2_stops *stops;
    const char *text;
    size_t length;
    int32_t which = -1;
    char all[64] = "";
    llama2_tokenizer_pieces_init(&pieces, sizeof pieces);
    pieces.n_pieces = 7, pieces.texts = texts, pieces.types = types;
    ck_ok(llama2_tokenizer_create(ctx, &pieces, &tokenizer));
    ck_ok(llama2_decoder_create(tokenizer, LLAMA2_DECODE_CONTINUE, &decoder));
    ck_ok(llama2_stops_create(ctx, stop, NULL, 1, &stops));
    for (int i = 0; i < 5 && which < 0; i++) {
        ck_ok(llama2_decoder_push(decoder, ids[i], &text, &length));
        ck_ok(llama2_stops_push(stops, text, length, &text, &length, &which));
        strcat(all, text);
    }
    ck_assert_str_eq(all, "aab");
    ck_assert_int_eq(which, 0);
    llama2_stops_free(stops);
    llama2_decoder_free(decoder);
    llama2_tokenizer_free(tokenizer);
    llama2_context_free(ctx);
}
END_TEST

START_TEST(arguments)
{
    llama2_context *ctx = small_context(1, LLAMA2_ISA_AUTO);
    llama2_stops *stops;
    const char *none[] = {"a", NULL}, *empty[] = {"a", ""}, *shown;
    static const size_t lengths[] = {1, 0};
    size_t n;
    int32_t which;
    ck_fails(llama2_stops_create(NULL, none, NULL, 1, &stops), LLAMA2_E_INVALID);
    ck_fails(llama2_stops_create(ctx, none, NULL, -1, &stops), LLAMA2_E_INVALID);
    ck_fails(llama2_stops_create(ctx, NULL, NULL, 1, &stops), LLAMA2_E_INVALID);
    ck_fails(llama2_stops_create(ctx, none, NULL, 2, &stops), LLAMA2_E_INVALID);
    ck_fails(llama2_stops_create(ctx, empty, NULL, 2, &stops), LLAMA2_E_INVALID);
    ck_fails(llama2_stops_create(ctx, empty, lengths, 2, &stops), LLAMA2_E_INVALID);
    ck_assert_ptr_null(stops);
    ck_fails(llama2_stops_create(ctx, none, NULL, 1, NULL), LLAMA2_E_INVALID);
    ck_ok(llama2_stops_create(ctx, NULL, NULL, 0, &stops));
    ck_ok(llama2_stops_push(stops, NULL, 0, &shown, &n, &which));
    ck_assert(n == 0 && shown[0] == 0 && which == -1);
    ck_ok(llama2_stops_push(stops, "ab", 2, &shown, &n, &which));
    ck_assert_str_eq(shown, "ab");
    ck_fails(llama2_stops_push(stops, NULL, 1, &shown, &n, &which), LLAMA2_E_INVALID);
    ck_fails(llama2_stops_push(stops, "a", 1, NULL, &n, &which), LLAMA2_E_INVALID);
    ck_fails(llama2_stops_finish(stops, &shown, NULL), LLAMA2_E_INVALID);
    llama2_stops_free(stops);
    llama2_stops_free(NULL);
    llama2_context_free(ctx);
}
END_TEST

Suite *test_suite(void)
{
    Suite *s = suite_create("infer/stops");
    ADD_CASE(s, "stops", any_pieces_of_any_text, behind_a_decoder, arguments);
    return s;
}
