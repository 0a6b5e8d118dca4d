/*
 * How config.json scales rotary positions: "rope_scaling" with "type" (transformers before 4.43) or "rope_type",
 * "rope_parameters" (since version 5). What is not "default", "linear" or "llama3" is refused by its name.
 */
#include "base/json.h"
#include "format/huggingface.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

static const char *const names[] = {"default", "linear", "llama3"}; /* by LLAMA2_ROPE_SCALING_* */

static llama2_status not_supported(const char *what, const l2_json_string *text, const char *only)
{
    return l2_fail(LLAMA2_E_UNSUPPORTED, "%s\"%.*s\" is not supported, only %s", what,
                   text->length > 64 ? 64 : (int)text->length, text->text, only);
}

static int find_name(const l2_json_string *text)
{
    for (int32_t i = 0; i < 3; i++)
        if (l2_json_equal(text, names[i])) return i;
    return -1;
}

typedef struct members {
    l2_json_string type, rope_type, odd; /* text NULL: not there */
    double whole;                        /* partial_rotary_factor */
} members;

static llama2_status read_member(l2_json *json, const l2_json_string *key, l2_hf_rope *rope, members *m)
{
    const struct {
        const char *key;
        double *number;
        l2_json_string *text;
    } known[] = {
        {"rope_type", NULL, &m->rope_type},
        {"type", NULL, &m->type},
        {"rope_theta", &rope->theta, NULL},
        {"factor", &rope->factor, NULL},
        {"low_freq_factor", &rope->low_freq_factor, NULL},
        {"high_freq_factor", &rope->high_freq_factor, NULL},
        {"partial_rotary_factor", &m->whole, NULL},
    };
    int type;
    L2_TRY(l2_json_peek(json, &type));
    if (type == L2_JSON_NULL) return l2_json_skip(json);
    if (l2_json_equal(key, "original_max_position_embeddings")) return l2_json_read_int(json, &rope->original_len);
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (l2_json_equal(key, known[i].key))
            return known[i].number ? l2_json_read_double(json, known[i].number)
                                   : l2_json_read_string(json, known[i].text);
    if (!m->odd.text) m->odd = *key;
    return l2_json_skip(json);
}

static llama2_status settle(l2_hf_rope *rope, const members *m)
{
    const l2_json_string *type = m->rope_type.text ? &m->rope_type : &m->type;
    rope->scaling = type->text ? find_name(type) : LLAMA2_ROPE_SCALING_NONE;
    if (rope->scaling < 0) return not_supported("rope_type ", type, "\"default\", \"linear\" and \"llama3\"");
    if (m->odd.text)
        return not_supported("", &m->odd, "the settings of rope_type \"default\", \"linear\" and \"llama3\"");
    if (m->whole != 1)
        return l2_fail(LLAMA2_E_UNSUPPORTED, "partial_rotary_factor %g is not supported, only 1", m->whole);
    if (!type->text && rope->factor != 0 && rope->factor != 1)
        return l2_fail(LLAMA2_E_FORMAT, "has a factor of %g, but no rope_type", rope->factor);
    if (rope->scaling == LLAMA2_ROPE_SCALING_NONE) rope->factor = 0;
    if (rope->scaling != LLAMA2_ROPE_SCALING_LLAMA3) {
        rope->low_freq_factor = rope->high_freq_factor = 0;
        rope->original_len = 0;
    }
    return LLAMA2_OK;
}

llama2_status l2_hf_rope_read(l2_json *json, l2_hf_rope *rope)
{
    members m = {.whole = 1};
    int more;
    *rope = (l2_hf_rope){0};
    L2_TRY(l2_json_enter(json, L2_JSON_OBJECT));
    for (;;) {
        l2_json_string key;
        L2_TRY(l2_json_next_member(json, &key, &more));
        if (!more) return settle(rope, &m);
        L2_TRY(read_member(json, &key, rope, &m));
    }
}

llama2_status l2_hf_rope_check(const l2_hf_rope *r)
{
    if (!isfinite(r->theta) || r->theta <= 0)
        return l2_fail(LLAMA2_E_FORMAT, "rope_theta is %g, it must be positive and finite", r->theta);
    if (r->scaling == LLAMA2_ROPE_SCALING_NONE) return LLAMA2_OK;
    if (!isfinite(r->factor) || r->factor <= 0)
        return l2_fail(LLAMA2_E_FORMAT, "the factor of rope_type \"%s\" is %g, it must be positive and finite",
                       names[r->scaling], r->factor);
    if (r->scaling == LLAMA2_ROPE_SCALING_LINEAR) return LLAMA2_OK;
    if (!(r->low_freq_factor > 0) || !(r->high_freq_factor > r->low_freq_factor) || !isfinite(r->high_freq_factor))
        return l2_fail(LLAMA2_E_FORMAT, "low_freq_factor is %g and high_freq_factor %g, they must be positive and rise",
                       r->low_freq_factor, r->high_freq_factor);
    if (r->original_len < 1 || r->original_len > INT32_MAX)
        return l2_fail(LLAMA2_E_FORMAT, "original_max_position_embeddings is %" PRId64 ", it must be positive",
                       r->original_len);
    return LLAMA2_OK;
}

/* With a fraction always: the first versions of transformers take no integer for a factor. */
static void add_number(l2_text *text, const char *key, double value)
{
    l2_text_format(text, ", \"%s\": ", key);
    if (value == floor(value) && fabs(value) < 1e15)
        l2_text_format(text, "%.1f", value);
    else
        l2_text_double(text, value);
}

/* What "rope_scaling" and "rope_parameters" both hold, in braces but for the last. */
static void add_members(l2_text *text, const char *type_key, const l2_hf_rope *r)
{
    l2_text_format(text, "{\"%s\": \"%s\"", type_key, names[r->scaling]);
    if (r->scaling != LLAMA2_ROPE_SCALING_NONE) add_number(text, "factor", r->factor);
    if (r->scaling != LLAMA2_ROPE_SCALING_LLAMA3) return;
    add_number(text, "low_freq_factor", r->low_freq_factor);
    add_number(text, "high_freq_factor", r->high_freq_factor);
    l2_text_format(text, ", \"original_max_position_embeddings\": %" PRId64, r->original_len);
}

void l2_hf_rope_write(l2_text *text, const l2_hf_rope *r)
{
    l2_text_format(text, "  \"rope_theta\": ");
    l2_text_double(text, r->theta);
    l2_text_format(text, ",\n");
    if (r->scaling != LLAMA2_ROPE_SCALING_NONE) {
        l2_text_format(text, "  \"rope_scaling\": ");
        /* The first versions know two members, "type" and "factor", and allow no others. */
        add_members(text, r->scaling == LLAMA2_ROPE_SCALING_LINEAR ? "type" : "rope_type", r);
        l2_text_format(text, "},\n");
    }
    l2_text_format(text, "  \"rope_parameters\": ");
    add_members(text, "rope_type", r);
    add_number(text, "rope_theta", r->theta);
    l2_text_format(text, "},\n");
}
