/*
 * A collection as a file: one chunk "preferences": u64 records; each
 *
 *     i32 messages, i32 kind, i32 chosen, i32 rating, i32 safe of both, f64 temperatures of both
 *     each message: i32 role, text; both responses: text
 *     models of both, id, annotator, batch, guideline: text
 *
 * A text is u64 bytes, then these and a NUL.
 */
#include "base/alloc.h"
#include "format/checkpoint.h"
#include "train/preference.h"
#include <inttypes.h>
#include <string.h>

static const char kind[] = "preferences";
enum { VERSION = 1, MESSAGE_HEAD = 13, RECORD_HEAD = 40 + 8 * 9 };

static llama2_status write_text(l2_state_writer *w, const char *text, size_t length)
{
    L2_TRY(l2_state_u64(w, length));
    return l2_state_bytes(w, text, length + 1);
}

static llama2_status write_record(l2_state_writer *w, const llama2_preference *r)
{
    const int32_t head[] = {r->n_messages, r->kind, r->chosen, r->rating, r->safe[0], r->safe[1]};
    const char *const names[] = {r->models[0], r->models[1], r->id, r->annotator, r->batch, r->guideline};
    L2_TRY(l2_state_i32s(w, head, 6));
    for (int k = 0; k < 2; k++) L2_TRY(l2_state_f64(w, r->temperatures[k]));
    for (int32_t i = 0; i < r->n_messages; i++) {
        L2_TRY(l2_state_i32s(w, &r->roles[i], 1));
        L2_TRY(write_text(w, r->texts[i], r->lengths[i]));
    }
    for (int k = 0; k < 2; k++) L2_TRY(write_text(w, r->responses[k], r->response_lengths[k]));
    for (int k = 0; k < 6; k++) L2_TRY(write_text(w, names[k], strlen(names[k])));
    return LLAMA2_OK;
}

static llama2_status write_all(l2_state_writer *w, const llama2_preferences *p)
{
    L2_TRY(l2_state_begin(w, kind, "", VERSION, L2_CHUNK_REQUIRED));
    L2_TRY(l2_state_u64(w, (uint64_t)p->n));
    for (int64_t i = 0; i < p->n; i++) L2_TRY(write_record(w, p->records[i]));
    return l2_state_end(w);
}

llama2_status l2_preferences_save(const llama2_preferences *p, const char *path)
{
    llama2_status status;
    l2_state_writer writer;
    L2_CHECK(l2_state_create(p->ctx, path, &writer));
    L2_CHECK(write_all(&writer, p));
    L2_CHECK(l2_state_commit(&writer));
done:
    l2_state_abort(&writer);
    return status;
}

/* Messages of the record that is being read. */
typedef struct reading {
    llama2_context *ctx;
    l2_cursor cursor;
    int32_t room;
    int32_t *roles;
    const char **texts;
    size_t *lengths;
} reading;

/* Points into the file. */
static llama2_status read_text(reading *in, const char **text, size_t *length)
{
    l2_cursor *c = &in->cursor;
    const unsigned char *bytes;
    uint64_t n;
    L2_TRY(l2_cursor_u64(c, &n));
    if (n >= c->size - c->at)
        return l2_fail(LLAMA2_E_TRUNCATED, "a text of %" PRIu64 " bytes, %zu are left", n, c->size - c->at);
    L2_TRY(l2_cursor_skip(c, (size_t)n + 1, &bytes));
    if (bytes[n] != 0) return l2_fail(LLAMA2_E_FORMAT, "a text that does not end with NUL");
    *text = (const char *)bytes;
    *length = (size_t)n;
    return LLAMA2_OK;
}

static llama2_status read_name(reading *in, const char **name)
{
    size_t length = 0;
    L2_TRY(read_text(in, name, &length));
    if (strlen(*name) != length) return l2_fail(LLAMA2_E_FORMAT, "a name with a NUL in it");
    return LLAMA2_OK;
}

static llama2_status room_for(reading *in, int32_t n)
{
    if (n <= in->room) return LLAMA2_OK;
    L2_TRY(l2_realloc(in->ctx, 0, (size_t)n, sizeof *in->roles, &in->roles));
    L2_TRY(l2_realloc(in->ctx, 0, (size_t)n, sizeof *in->texts, &in->texts));
    L2_TRY(l2_realloc(in->ctx, 0, (size_t)n, sizeof *in->lengths, &in->lengths));
    in->room = n;
    return LLAMA2_OK;
}

static llama2_status read_record(reading *in, llama2_preferences *p)
{
    l2_cursor *c = &in->cursor;
    int32_t head[6];
    const char *responses[2], *models[2];
    size_t response_lengths[2];
    double temperatures[2];
    llama2_preference r = {.struct_size = sizeof r};
    L2_TRY(l2_cursor_i32s(c, head, 6));
    for (int k = 0; k < 2; k++) L2_TRY(l2_cursor_f64(c, &temperatures[k]));
    if (head[0] < 1 || (size_t)head[0] > (c->size - c->at) / MESSAGE_HEAD)
        return l2_fail(LLAMA2_E_FORMAT, "%" PRId32 " messages in %zu bytes", head[0], c->size - c->at);
    L2_TRY(room_for(in, head[0]));
    for (int32_t i = 0; i < head[0]; i++) {
        L2_TRY(l2_cursor_i32s(c, &in->roles[i], 1));
        L2_TRY(read_text(in, &in->texts[i], &in->lengths[i]));
    }
    for (int k = 0; k < 2; k++) L2_TRY(read_text(in, &responses[k], &response_lengths[k]));
    for (int k = 0; k < 2; k++) L2_TRY(read_name(in, &models[k]));
    L2_TRY(read_name(in, &r.id));
    L2_TRY(read_name(in, &r.annotator));
    L2_TRY(read_name(in, &r.batch));
    L2_TRY(read_name(in, &r.guideline));
    r.n_messages = head[0];
    r.kind = head[1];
    r.chosen = head[2];
    r.rating = head[3];
    r.safe = head + 4;
    r.roles = in->roles;
    r.texts = in->texts;
    r.lengths = in->lengths;
    r.responses = responses;
    r.response_lengths = response_lengths;
    r.models = models;
    r.temperatures = temperatures;
    llama2_status status = l2_preferences_add(p, &r);
    return status == LLAMA2_E_INVALID ? LLAMA2_E_FORMAT : status;
}

static llama2_status read_all(reading *in, llama2_preferences *p, const l2_state_reader *reader)
{
    uint64_t n;
    L2_TRY(l2_cursor_open(reader, kind, "", &in->cursor));
    L2_TRY(l2_cursor_u64(&in->cursor, &n));
    if (n > (in->cursor.size - in->cursor.at) / RECORD_HEAD)
        return l2_fail(LLAMA2_E_FORMAT, "preferences: %" PRIu64 " records in %zu bytes", n,
                       in->cursor.size - in->cursor.at);
    while (p->n < (int64_t)n) {
        llama2_status status = read_record(in, p);
        if (status < 0) return l2_fail_in(status, "preferences, record %" PRId64, p->n);
    }
    return l2_cursor_end(&in->cursor);
}

llama2_status l2_preferences_load(llama2_context *ctx, const char *path, llama2_preferences **out)
{
    static const l2_chunk_kind known[] = {{kind, VERSION}};
    l2_state_reader reader = {0};
    reading in = {.ctx = ctx};
    llama2_preferences *p = NULL;
    llama2_status status;
    *out = NULL;
    L2_TRY(l2_preferences_create(ctx, &p));
    L2_CHECK(l2_state_open(ctx, path, known, 1, &reader));
    L2_CHECK(read_all(&in, p, &reader));
    *out = p;
    p = NULL;
done:
    l2_state_close(&reader);
    l2_preferences_free(p);
    l2_free(ctx, in.roles);
    l2_free(ctx, in.texts);
    l2_free(ctx, in.lengths);
    return status;
}
