/* Models as Meta releases them: the logits of the source, shards joined; what does not fit is refused. */
#include "reference/golden.h"
#include "format/faults.h"
#include "model/model.h"

static const char *meta_path(const char *name)
{
    static char path[4096];
    snprintf(path, sizeof path, "%s/reference/meta/%s", LLAMA2_TEST_SOURCE, name);
    return path;
}

static llama2_model *load(const char *name, int32_t dtype)
{
    llama2_model *m;
    llama2_model_options o;
    llama2_model_options_init(&o, sizeof o);
    o.dtype = dtype;
    ck_ok(llama2_model_load(ctx, meta_path(name), &o, &m));
    return m;
}

/* --- goldens --------------------------------------------------------------------------------- */

/* The bits of the model in Hugging Face's format. */
static void check_source(const char *name, const char *shards)
{
    char path[64];
    for (int32_t dtype = LLAMA2_F32; dtype <= LLAMA2_F64; dtype++) {
        llama2_model *source, *joined;
        llama2_config a = {.struct_size = sizeof a}, b = a;
        snprintf(path, sizeof path, "%s/source", name);
        source = load(path, dtype);
        snprintf(path, sizeof path, "%s/%s", name, shards);
        joined = load(path, dtype);
        ck_ok(llama2_model_config(source, &a));
        ck_ok(llama2_model_config(joined, &b));
        ck_assert_mem_eq(&a, &b, sizeof a);
        ck_assert_int_eq(source->n_elements, joined->n_elements);
        ck_assert_mem_eq(source->weights, joined->weights, (size_t)source->n_elements * l2_dtype_size(dtype));
        llama2_model_free(source);
        llama2_model_free(joined);
    }
}

/* The logits that the formulas of Meta's own code give. */
static void check_logits(const char *name, const char *shards)
{
    enum { MAX = 24 * 64 };
    static const struct {
        int32_t dtype;
        double limit;
    } kinds[] = {{LLAMA2_F32, 1e-5}, {LLAMA2_F64, 1e-6}};
    static float logits[MAX];
    char path[64];
    for (size_t i = 0; i < 2; i++) {
        golden g = {.ctx = ctx, .name = name};
        snprintf(path, sizeof path, "%s/expected.safetensors", name);
        ck_ok(l2_safetensors_open(ctx, meta_path(path), 1, &g.file));
        int64_t offsets[] = {0, golden_count(&g, "tokens")};
        llama2_batch batch = {.struct_size = sizeof batch, .n_sequences = 1, .n_tokens = offsets[1]};
        batch.tokens = golden_integers(&g, "tokens", L2_ST_I32);
        batch.offsets = offsets;
        ck_assert_int_le(golden_count(&g, "logits"), MAX);
        snprintf(path, sizeof path, "%s/%s", name, shards);
        llama2_model *m = load(path, kinds[i].dtype);
        ck_ok(llama2_model_logits(m, &batch, logits));
        golden_check_floats(&g, "logits", logits, kinds[i].limit);
        llama2_model_free(m);
        golden_close(&g);
    }
}

static const struct {
    const char *name, *shards;
} goldens[] = {{"bf16", "shards1"}, {"bf16", "shards2"}, {"bf16", "shards8"}, {"fp16", "shards2"}, {"fp32", "shards4"}};

START_TEST(test_goldens)
{
    check_source(goldens[_i].name, goldens[_i].shards);
    check_logits(goldens[_i].name, goldens[_i].shards);
}
END_TEST

Suite *test_suite(void)
{
    Suite *suite = suite_create("model/io_meta");
    TCase *good = tcase_create("goldens");
    tcase_add_checked_fixture(good, setup, teardown);
    tcase_add_loop_test(good, test_goldens, 0, (int)(sizeof goldens / sizeof *goldens));
    suite_add_tcase(suite, good);
    return suite;
}
