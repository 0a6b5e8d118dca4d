/*
 * Conversion from Meta's folders, llama2.c's files and doubles, and to llama2.c's: the same numbers, rounded once, and
 * from whatever it is a few rows of it in memory at a time.
 */
#include "format/huggingface.h"
#include "format/torch_file.h"
#include "model/model.h"
#include <llama2/llama2.h>
#include <math.h>

static llama2_convert_options options_of(int32_t type)
{
    llama2_convert_options o;
    llama2_convert_options_init(&o, sizeof o);
    o.type = type;
    return o;
}

/* What llama2_config_init has, but for the sizes. */
static llama2_model *make_model(int32_t vocab, int32_t dim, int32_t head_dim)
{
    llama2_model *m;
    llama2_config c;
    llama2_config_init(&c, sizeof c);
    c.vocab_size = vocab;
    c.dim = c.ffn_dim = dim;
    c.n_layers = 1;
    c.n_heads = c.n_kv_heads = dim / head_dim;
    c.head_dim = head_dim;
    c.max_seq_len = 8;
    ck_ok(llama2_model_create(ctx, &c, NULL, &m));
    return m;
}

static void check_same_file(const char *a, const char *b)
{
    l2_file_view x, y;
    ck_ok(l2_file_read(ctx, a, UINT64_MAX, &x));
    ck_ok(l2_file_read(ctx, b, UINT64_MAX, &y));
    ck_assert_uint_eq(x.size, y.size);
    ck_assert_mem_eq(x.data, y.data, x.size);
    l2_file_release(ctx, &x);
    l2_file_release(ctx, &y);
}

/* Meta's folders in one and more shards, llama2.c's file: the bytes that the same model in Hugging Face's format gives.
 */
START_TEST(metas_and_llama2cs_numbers_stay)
{
    static const char *const from[][2] = {{"bf16/source", "bf16/shards1"}, {"bf16/source", "bf16/shards2"},
                                          {"bf16/source", "bf16/shards8"}, {"fp16/source", "fp16/shards2"},
                                          {"fp32/source", "fp32/shards4"}, {"fp32/source", "fp32/llama2c.bin"}};
    static const int32_t types[] = {LLAMA2_TYPE_KEEP, LLAMA2_BF16, LLAMA2_F32};
    for (int i = 0; i < 18; i++) {
        char path[2][512];
        llama2_convert_options o = options_of(types[i / 6]);
        for (int k = 0; k < 2; k++)
            snprintf(path[k], sizeof path[k], "%s/reference/meta/%s", LLAMA2_TEST_SOURCE, from[i % 6][k]);
        ck_ok(llama2_convert(ctx, path[0], at("a"), &o));
        ck_ok(llama2_convert(ctx, path[1], at("b"), &o));
        check_same_file(at("a/model.safetensors"), at("b/model.safetensors"));
        /* By way of GGUF, and of llama2.c's file. */
        ck_ok(llama2_convert(ctx, path[1], at("b.gguf"), &o));
        ck_ok(llama2_convert(ctx, at("b.gguf"), at("b"), &o));
        check_same_file(at("a/model.safetensors"), at("b/model.safetensors"));
        if (i % 6 < 4) continue; /* BF16, F16 do not come back by themselves, and some have another theta */
        ck_ok(llama2_convert(ctx, path[1], at("b.bin"), NULL));
        ck_ok(llama2_convert(ctx, at("b.bin"), at("b"), &o));
        check_same_file(at("a/model.safetensors"), at("b/model.safetensors"));
    }
}
END_TEST

/* A folder in doubles. */
static void save_doubles(const llama2_model *m, const double *numbers, const char *path)
{
    l2_st_entry entries[64];
    const double *next = numbers;
    ck_ok(llama2_model_save(m, path, LLAMA2_F32));
    for (int32_t i = 0; i < m->n_params; i++) {
        const l2_param *p = &m->params[i];
        entries[i] = (l2_st_entry){.name = p->name,
                                   .dtype = LLAMA2_F64,
                                   .source = LLAMA2_F64,
                                   .n_dims = p->decay ? 2 : 1,
                                   .shape = {p->rows, p->columns},
                                   .data = next};
        next += p->rows * p->columns;
    }
    ck_ok(l2_hf_write(ctx, path, NULL, entries, (size_t)m->n_params, 0));
}

/* A little more than half way between two numbers of 16 bits, and exactly that in fp32: to be rounded up, once. */
START_TEST(doubles_are_rounded_once)
{
    static const struct {
        int32_t type;
        double number, rounded;
    } of[] = {{LLAMA2_BF16, 1 + 0x1p-8 + 0x1p-40, 1 + 0x1p-7},
              {LLAMA2_F16, 1 + 0x1p-11 + 0x1p-40, 1 + 0x1p-10},
              {LLAMA2_F32, 1 + 0x1p-24 + 0x1p-50, 1 + 0x1p-23}};
    static const char *const to[] = {"out", "out.gguf"};
    llama2_model *m = make_model(40, 64, 32);
    double *numbers = malloc((size_t)m->n_elements * sizeof *numbers);
    for (int i = 0; i < 6; i++) {
        llama2_convert_options o = options_of(of[i % 3].type);
        llama2_model *wide, *out;
        for (int64_t k = 0; k < m->n_elements; k++)
            numbers[k] = ldexp(k % 2 ? -of[i % 3].number : of[i % 3].number, (int)(k % 9) - 4);
        save_doubles(m, numbers, at("in"));
        ck_ok(llama2_convert(ctx, at("in"), at(to[i / 3]), &o));
        ck_ok(llama2_model_load(ctx, at(to[i / 3]), NULL, &out));
        /* Gains of a GGUF are fp32 always. */
        for (int32_t k = 0; k < out->n_params; k++) {
            const l2_param *p = &out->params[k];
            const float *x = (const float *)out->weights + p->offset;
            if (!p->decay && i / 3) continue;
            for (int64_t e = 0; e < p->rows * p->columns; e++) {
                int64_t at_e = p->offset + e;
                double rounded = ldexp(at_e % 2 ? -of[i % 3].rounded : of[i % 3].rounded, (int)(at_e % 9) - 4);
                ck_assert_msg((double)x[e] == rounded, "%s: %a is %a, expected %a", p->name, numbers[at_e],
                              (double)x[e], rounded);
            }
        }
        llama2_model_free(out);
        /* From memory likewise; as they are they become F32, and what is made of that is what is made of these. */
        if (i / 3) {
            llama2_model_options wide_options;
            llama2_model_options_init(&wide_options, sizeof wide_options);
            wide_options.dtype = LLAMA2_F64;
            ck_ok(llama2_model_load(ctx, at("in"), &wide_options, &wide));
            ck_ok(llama2_model_save_gguf(wide, NULL, at("memory.gguf"), &o));
            check_same_file(at("out.gguf"), at("memory.gguf"));
            llama2_model_free(wide);
        }
        ck_ok(llama2_convert(ctx, at("in"), at("f32"), NULL));
        o.type = LLAMA2_Q8_0;
        ck_ok(llama2_convert(ctx, at("in"), at("a.gguf"), &o));
        ck_ok(llama2_convert(ctx, at("f32"), at("b.gguf"), &o));
        check_same_file(at("a.gguf"), at("b.gguf"));
        ck_ok(l2_remove_tree(ctx, at("out")));
    }
    free(numbers);
    llama2_model_free(m);
}
END_TEST

/* Pages of mapped files that are in memory. */
static long mapped_pages(void)
{
    long size, resident, shared;
    FILE *file = fopen("/proc/self/statm", "r");
    ck_assert_ptr_nonnull(file);
    ck_assert_int_eq(fscanf(file, "%ld %ld %ld", &size, &resident, &shared), 3);
    fclose(file);
    return shared;
}

static int32_t on_pages(void *user, const llama2_convert_event *event)
{
    long *most = user, now = mapped_pages();
    (void)event;
    if (now > *most) *most = now;
    return 0;
}

/* Meta's folder "meta1" or "meta2" of that many shards, in BF16, with numbers that repeat. One layer, heads of 32. */
static void write_meta(int n_shards, int64_t vocab, int64_t dim, int64_t wide)
{
    char json[200], name[64];
    const char *path = at(n_shards == 1 ? "meta1" : "meta2");
    const struct {
        const char *name;
        int64_t rows, columns;
    } all[] = {{"tok_embeddings.weight", vocab, dim / n_shards},
               {"output.weight", vocab / n_shards, dim},
               {"norm.weight", dim, 0},
               {"layers.0.attention_norm.weight", dim, 0},
               {"layers.0.ffn_norm.weight", dim, 0},
               {"layers.0.attention.wq.weight", dim / n_shards, dim},
               {"layers.0.attention.wk.weight", dim / n_shards, dim},
               {"layers.0.attention.wv.weight", dim / n_shards, dim},
               {"layers.0.attention.wo.weight", dim, dim / n_shards},
               {"layers.0.feed_forward.w1.weight", wide / n_shards, dim},
               {"layers.0.feed_forward.w2.weight", dim, wide / n_shards},
               {"layers.0.feed_forward.w3.weight", wide / n_shards, dim}};
    enum { N = sizeof all / sizeof *all };
    torch_tensor tensors[N];
    size_t sizes[N];
    char keys[N][4];
    for (int i = 0; i < N; i++) {
        int64_t columns = all[i].columns ? all[i].columns : 1;
        snprintf(keys[i], sizeof keys[i], "%d", i);
        tensors[i] = (torch_tensor){.name = all[i].name,
                                    .type = "BFloat16Storage",
                                    .storage = keys[i],
                                    .count = all[i].rows * columns,
                                    .n_sizes = all[i].columns ? 2 : 1,
                                    .n_strides = all[i].columns ? 2 : 1,
                                    .sizes = {all[i].rows, columns},
                                    .strides = {columns, 1}};
        sizes[i] = 2 * (size_t)tensors[i].count;
    }
    ck_ok(l2_make_folder(ctx, path));
    buffer pickle = pickle_dict(tensors, N);
    archive a = torch_archive(pickle.bytes, pickle.size, sizes, N);
    for (int i = 0; i < n_shards; i++) {
        snprintf(name, sizeof name, "%s/consolidated.%02d.pth", n_shards == 1 ? "meta1" : "meta2", i);
        spill(at(name), a.file.bytes, a.file.size);
    }
    free(a.file.bytes);
    free(pickle.bytes);
    snprintf(json, sizeof json,
             "{\"dim\": %d, \"n_layers\": 1, \"n_heads\": %d, \"multiple_of\": %d, \"ffn_dim_multiplier\": 0.05}",
             (int)dim, (int)dim / 32, (int)wide);
    snprintf(name, sizeof name, "%s/params.json", n_shards == 1 ? "meta1" : "meta2");
    spill_text(at(name), json);
}

/* 101 MB each, 200 in doubles: a.gguf, a.bin, a64, meta1, meta2. */
static void make_large_files(void)
{
    llama2_model *m = make_model(20000, 576, 64); /* 25 M parameters; rows that are no whole pages */
    ck_ok(llama2_model_save_gguf(m, NULL, at("a.gguf"), NULL));
    double *wide = malloc((size_t)m->n_elements * sizeof *wide);
    for (int64_t i = 0; i < m->n_elements; i++) wide[i] = (double)((const float *)m->weights)[i];
    save_doubles(m, wide, at("a64"));
    free(wide);
    ck_ok(llama2_convert(ctx, at("a.gguf"), at("a.bin"), NULL));
    llama2_model_free(m);
    write_meta(1, 40000, 576, 576);
    write_meta(2, 40000, 576, 576);
}

/* Far more weights than memory that is taken: bands of at most 2^20 numbers and their blocks, and the pages of some
 * bands of the source. */
START_TEST(memory_does_not_grow_with_the_model)
{
    static const struct {
        const char *from, *to;
        int32_t type;
    } ways[] = {{"a.gguf", "b.gguf", LLAMA2_Q8_0}, {"a.gguf", "c", LLAMA2_F16},      {"a.bin", "b.gguf", LLAMA2_Q8_0},
                {"a.bin", "c", LLAMA2_F16},        {"a64", "b.gguf", LLAMA2_BF16},   {"a64", "c", LLAMA2_BF16},
                {"meta1", "b.gguf", LLAMA2_BF16},  {"meta1", "c", LLAMA2_TYPE_KEEP}, {"meta2", "b.gguf", LLAMA2_BF16},
                {"meta2", "c", LLAMA2_TYPE_KEEP}};
    long most, page = sysconf(_SC_PAGESIZE);
    make_large_files();
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
        llama2_convert_options o = options_of(ways[i].type);
        o.progress = on_pages;
        o.progress_user = &most;
        memory.peak = memory.bytes;
        size_t before = memory.bytes;
        long pages = most = mapped_pages();
        ck_ok(llama2_convert(ctx, at(ways[i].from), at(ways[i].to), &o));
        ck_assert_msg(memory.peak - before < 12u << 20, "%s: %zu bytes", ways[i].from, memory.peak - before);
        ck_assert_msg((most - pages) * page < 20l << 20, "%s to %s: %ld bytes of the file", ways[i].from, ways[i].to,
                      (most - pages) * page);
        /* Nor does a look at it. */
        llama2_inspection *in;
        memory.peak = before = memory.bytes;
        pages = mapped_pages();
        ck_ok(llama2_inspect(ctx, at(ways[i].from), &in));
        most = mapped_pages();
        llama2_inspection_free(in);
        ck_assert_msg(memory.peak - before < 1u << 20, "%s: %zu bytes", ways[i].from, memory.peak - before);
        ck_assert_msg((most - pages) * page < 2l << 20, "%s: %ld bytes of the file", ways[i].from,
                      (most - pages) * page);
    }
}
END_TEST

static llama2_inspection_tensor tensor_at(const llama2_inspection *in, int32_t i)
{
    llama2_inspection_tensor t = {.struct_size = sizeof t};
    ck_ok(llama2_inspection_get_tensor(in, i, &t));
    return t;
}

static void look(const char *path, llama2_inspection **in, llama2_inspection_summary *s)
{
    *s = (llama2_inspection_summary){.struct_size = sizeof *s};
    ck_ok(llama2_inspect(ctx, path, in));
    ck_ok(llama2_inspection_summarise(*in, s));
}

START_TEST(what_is_in_them)
{
    llama2_inspection *in;
    llama2_inspection_summary s;
    llama2_config c = {.struct_size = sizeof c};
    const char *key, *value;
    write_meta(2, 64, 64, 32);
    look(at("meta2"), &in, &s);
    ck_assert_int_eq(s.format, LLAMA2_FORMAT_META);
    ck_assert_str_eq(s.format_name, "folder as Meta releases models");
    ck_assert_ptr_null(s.problem);
    ck_assert_int_eq(s.n_tensors, 24);
    llama2_inspection_tensor t = tensor_at(in, 13);
    ck_assert_str_eq(t.name, "01/layers.0.attention.wo.weight");
    ck_assert_str_eq(t.type, "BF16");
    ck_assert(t.n_dims == 2 && t.shape[0] == 64 && t.shape[1] == 32 && t.bytes == 2 * 64 * 32);
    ck_assert_int_gt(s.file_bytes, s.tensor_bytes);
    ck_assert_int_eq(s.n_keys, 5);
    ck_ok(llama2_inspection_get_key(in, 2, &key, &value));
    ck_assert_str_eq(key, "n_heads");
    ck_assert_str_eq(value, "2");
    ck_ok(llama2_inspection_config(in, &c));
    ck_assert_int_eq(c.vocab_size, 64);
    llama2_inspection_free(in);

    ck_ok(llama2_convert(ctx, at("meta2"), at("d.bin"), NULL));
    look(at("d.bin"), &in, &s);
    ck_assert_int_eq(s.format, LLAMA2_FORMAT_LLAMA2C);
    ck_assert_str_eq(s.format_name, ".bin of llama2.c, version 0");
    ck_assert_int_eq(s.n_tensors, 12);
    ck_assert_int_eq(s.n_keys, 0);
    ck_assert_int_eq(s.elements, 6 * 64 * 64 + 3 * 64 * 32 + 3 * 64);
    ck_assert_int_eq(s.tensor_bytes, 4 * s.elements);
    ck_assert_int_gt(s.file_bytes, s.tensor_bytes);
    t = tensor_at(in, 0);
    ck_assert_str_eq(t.name, "model.embed_tokens.weight");
    ck_assert(t.n_dims == 2 && t.shape[0] == 64 && t.shape[1] == 64);
    llama2_inspection_free(in);

    /* Of another size than its header says, and a rank that is missing: the first is no model file, the second one that
     * does not load. */
    spill(at("d.bin"), "too short to be a model of llama2.c", 35);
    ck_fails(llama2_inspect(ctx, at("d.bin"), &in), LLAMA2_E_FORMAT);
    ck_assert_int_eq(remove(at("meta2/consolidated.01.pth")), 0);
    look(at("meta2"), &in, &s);
    ck_assert_int_eq(s.n_tensors, 12);
    ck_assert_ptr_nonnull(s.problem);
    llama2_inspection_free(in);
}
END_TEST

/* A number that was changed is found when its tensor's turn comes, and nothing is left of what was written. */
START_TEST(a_checksum_is_looked_at_on_the_way)
{
    static const char *const to[] = {"b.gguf", "c"};
    write_meta(1, 64, 32, 32);
    static unsigned char file[1 << 16];
    size_t n = slurp(at("meta1/consolidated.00.pth"), file, sizeof file);
    unsigned char *name = memmem(file, n, "m/data/9", 8);
    ck_assert_ptr_nonnull(name);
    file[(name - file + 12 + 63) / 64 * 64] ^= 1;
    spill(at("meta1/consolidated.00.pth"), file, n);
    for (int i = 0; i < 2; i++) {
        ck_fails(llama2_convert(ctx, at("meta1"), at(to[i]), NULL), LLAMA2_E_CORRUPT);
        ck_assert_ptr_nonnull(strstr(llama2_last_error(), "meta1: consolidated.00.pth: entry m/data/9"));
        ck_assert_int_eq(l2_path_kind(at(i ? "c/model.safetensors" : "b.gguf")), 0);
    }
}
END_TEST

/* Every call of the allocator and of the operating system fails once, or from then on. */
START_TEST(each_failure)
{
    static const char *const ways[][3] = {{"meta2", "out.gguf", "out.gguf.partial"},
                                          {"meta1", "out", "out/model.safetensors.partial"},
                                          {"doubles", "out.gguf", "out.gguf.partial"},
                                          {"meta1", "out.bin", "out.bin.partial"},
                                          {"in.bin", "out.bin", "out.bin.partial"}};
    llama2_model *m = make_model(12, 32, 32);
    double *numbers = calloc((size_t)m->n_elements, sizeof *numbers);
    write_meta(1, 12, 32, 32);
    write_meta(2, 12, 64, 32);
    save_doubles(m, numbers, at("doubles"));
    ck_ok(llama2_convert(ctx, at("meta1"), at("in.bin"), NULL));
    for (int i = 0; i < 20; i++) {
        int done = 0, mode = i % 4;
        ck_ok(llama2_convert(ctx, at(ways[i / 4][0]), at(ways[i / 4][1]), NULL)); /* what the context keeps is there */
        for (long n = 0; !done; n++) {
            long live = memory.live;
            memory.calls = disk.calls = 0;
            memory.for_ever = disk.for_ever = mode % 2;
            *(mode < 2 ? &memory.fail_at : &disk.fail_at) = n;
            llama2_status status = llama2_convert(ctx, at(ways[i / 4][0]), at(ways[i / 4][1]), NULL);
            done = mode < 2 ? memory.calls <= n : disk.calls <= n;
            memory.fail_at = disk.fail_at = -1;
            if (done) ck_ok(status);
            ck_assert_msg(status == LLAMA2_OK || status == (mode < 2 ? LLAMA2_E_NOMEM : LLAMA2_E_IO), "%s",
                          llama2_last_error());
            ck_assert_int_eq(memory.live, live);
            ck_assert(mode == 3 || l2_path_kind(at(ways[i / 4][2])) == 0); /* 3: removing fails too */
        }
    }
    free(numbers);
    llama2_model_free(m);
}
END_TEST

/* What a .bin can't say is refused, with a reason, before anything is written. */
START_TEST(what_llama2cs_file_cant_say)
{
    static const char *const reasons[] = {"norm_eps 1e-5", "rope_theta 10000", "rope_theta 10000", "dim / n_heads",
                                          "1 for BOS",     "1 for BOS",        "1 for BOS"};
    for (int i = 0; i < 7; i++) {
        llama2_config c;
        llama2_model *m;
        llama2_config_init(&c, sizeof c);
        c.vocab_size = 12, c.dim = c.ffn_dim = 16, c.n_layers = c.n_heads = c.n_kv_heads = 1, c.head_dim = 16;
        c.max_seq_len = 8;
        if (i == 0) c.norm_eps = 1e-6;
        if (i == 1) c.rope_theta = 5e5;
        if (i == 2) c.rope_scaling = LLAMA2_ROPE_SCALING_LINEAR, c.rope_factor = 2;
        if (i == 3) c.head_dim = 8;
        if (i == 4) c.bos_id = 3;
        if (i == 5) c.eos_id = 3;
        ck_ok(llama2_model_create(ctx, &c, NULL, &m));
        if (i == 6) ck_ok(llama2_model_set_eos_ids(m, (const int32_t[]){2, 5}, 2));
        ck_ok(llama2_model_save(m, at("in"), LLAMA2_F32));
        ck_fails(llama2_convert(ctx, at("in"), at("out.bin"), NULL), LLAMA2_E_UNSUPPORTED);
        ck_assert_msg(strstr(llama2_last_error(), reasons[i]), "%d: %s", i, llama2_last_error());
        ck_assert_int_eq(l2_path_kind(at("out.bin")), 0);
        llama2_model_free(m);
    }
    llama2_model *m = make_model(12, 32, 32);
    llama2_reward_model *reward;
    llama2_convert_options o = options_of(LLAMA2_BF16);
    ck_ok(llama2_model_save(m, at("in"), LLAMA2_F32));
    ck_fails(llama2_convert(ctx, at("in"), at("out.bin"), &o), LLAMA2_E_INVALID);
    o = options_of(LLAMA2_TYPE_KEEP);
    o.format = LLAMA2_FORMAT_LLAMA2C;
    ck_ok(llama2_convert(ctx, at("in"), at("no-ending"), &o));
    ck_ok(llama2_convert(ctx, at("in"), at("out.bin"), NULL));
    check_same_file(at("no-ending"), at("out.bin"));
    ck_assert_int_eq(l2_path_kind(at("tokenizer.bin")), 0);
    ck_ok(llama2_reward_model_create(ctx, m, NULL, &reward));
    ck_ok(llama2_reward_model_save(reward, at("reward"), LLAMA2_F32));
    ck_fails(llama2_convert(ctx, at("reward"), at("r.bin"), NULL), LLAMA2_E_UNSUPPORTED);
    llama2_reward_model_free(reward);
    llama2_model_free(m);
}
END_TEST

Suite *test_suite(void)
{
    Suite *suite = suite_create("convert/other_formats");
    TCase *tests = tcase_create("other formats");
    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_set_timeout(tests, 300);
    tcase_add_test(tests, metas_and_llama2cs_numbers_stay);
    tcase_add_test(tests, doubles_are_rounded_once);
    tcase_add_test(tests, memory_does_not_grow_with_the_model);
    tcase_add_test(tests, a_checksum_is_looked_at_on_the_way);
    tcase_add_test(tests, what_is_in_them);
    tcase_add_test(tests, what_llama2cs_file_cant_say);
    tcase_add_test(tests, each_failure);
    suite_add_tcase(suite, tests);
    return suite;
}
