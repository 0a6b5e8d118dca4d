#include "base/alloc.h"
#include "torch_file.h"
#include "format/pickle.h"

static const torch_tensor matrix = {"w", "FloatStorage", "0", 6, 0, 2, 2, {2, 3}, {3, 1}},
                          transposed = {"t", "HalfStorage", "1", 20, 2, 2, 2, {3, 2}, {1, 4}};

START_TEST(test_state_dict)
{
    l2_torch_tensor *t;
    size_t n;
    buffer p = pickle_dict((const torch_tensor[]){matrix, transposed}, 2);
    ck_ok(l2_pickle_read(ctx, p.bytes, p.size, &t, &n));
    ck_assert_uint_eq(n, 2);
    ck_assert(t[0].name_length == 1 && t[0].name[0] == 't' && t[0].dtype == LLAMA2_F16 && t[0].n_dims == 2);
    ck_assert(t[0].storage_length == 1 && t[0].storage[0] == '1' && t[0].storage_count == 20);
    ck_assert(t[0].offset == 2 && t[0].extent == 7 && t[0].shape[0] == 3 && t[0].stride[1] == 4);
    ck_assert(t[1].name[0] == 'w' && t[1].dtype == LLAMA2_F32 && t[1].offset == 0 && t[1].extent == 6);
    l2_free(ctx, t);
    free(p.bytes);
}
END_TEST

/* What state_dict() of a torch.nn.Module adds, and tensors of odd shapes that are fine. */
START_TEST(test_odd_but_good)
{
    static const char metadata[] = "\x80\x02"
                                   "ccollections\nOrderedDict\nq\0)Rq\1}X\x09\0\0\0_metadatah\0)RX\0\0\0\0}X\7\0\0\0"
                                   "versionK\1sssb.";
    static const torch_tensor odd[] = {
        {"scalar", "BFloat16Storage", "0", 1, 0, 0, 0, {0}, {0}},
        {"empty", "FloatStorage", "1", 4, 4, 2, 2, {0, 7}, {7, 1}},
        {"ones", "FloatStorage", "2", 3, 2, 3, 3, {1, 1, 1}, {900, 0, 5}},
    };
    l2_torch_tensor *t;
    size_t n;
    ck_ok(l2_pickle_read(ctx, metadata, sizeof metadata - 1, &t, &n));
    ck_assert_uint_eq(n, 0);
    l2_free(ctx, t);
    buffer p = pickle_dict(odd, 3);
    ck_ok(l2_pickle_read(ctx, p.bytes, p.size, &t, &n));
    ck_assert_uint_eq(n, 3);
    ck_assert(t[0].extent == 0 && t[1].extent == 1 && t[2].extent == 1);
    l2_free(ctx, t);
    free(p.bytes);
}
END_TEST

/* --- bad pickles ----------------------------------------------------------------------------- */

#define STORAGE                                                                                                        \
    "(X\7\0\0\0storagectorch\nFloatStorage\nX\1\0\0\0"                                                                 \
    "0X\3\0\0\0cpuK\4tQ"
#define REBUILD "ctorch._utils\n_rebuild_tensor_v2\n"
#define HOOKS                                                                                                          \
    "\x89"                                                                                                             \
    "ccollections\nOrderedDict\n)R"

static const struct {
    const char *bytes;
    size_t size;
    llama2_status code;
    const char *message;
} bad[] = {
#define BAD(bytes, code, message)                                                                                      \
    {                                                                                                                  \
        bytes, sizeof(bytes) - 1, LLAMA2_E_##code, message                                                             \
    }
    BAD("", TRUNCATED, "byte 0: the pickle ends without STOP"),
    BAD("\x80\x02}", TRUNCATED, "byte 3: the pickle ends without STOP"),
    BAD("\x80", TRUNCATED, "PROTO"),
    BAD("\x80\x03}.", UNSUPPORTED, "protocol 3"),
    /* Globals. */
    BAD("cos\nsystem\nX\2\0\0\0ls\x85R.", UNSUPPORTED, "byte 0, opcode 0x63 (GLOBAL): os.system is not supported"),
    BAD("cposix\nsystem\n.", UNSUPPORTED, "posix.system"),
    BAD("c__builtin__\neval\n.", UNSUPPORTED, "__builtin__.eval"),
    BAD("cbuiltins\ngetattr\n.", UNSUPPORTED, "builtins.getattr"),
    BAD("ctorch\nload\n.", UNSUPPORTED, "torch.load"),
    BAD("ctorch\nDoubleStorage\n.", UNSUPPORTED, "torch.DoubleStorage"),
    BAD("ctorch\nIntStorage\n.", UNSUPPORTED, "torch.IntStorage"),
    BAD("ctorch._utils\n_rebuild_parameter\n.", UNSUPPORTED, "torch._utils._rebuild_parameter"),
    BAD("ccollections\nOrderedDicts\n.", UNSUPPORTED, "collections.OrderedDicts"),
    BAD("ccollections \nOrderedDict\n.", UNSUPPORTED, "collections .OrderedDict"),
    BAD("ctorch\nFloatStorage.__class__\n.", UNSUPPORTED, "FloatStorage.__class__"),
    BAD("c\n\n.", UNSUPPORTED, "GLOBAL"),
    BAD("cos\nsystem", TRUNCATED, "a line without its end"),
    BAD("cos", TRUNCATED, "a line without its end"),
    BAD("c\xff\nx\n.", FORMAT, "no UTF-8"),
    /* Opcodes. */
    BAD("(ios\nsystem\n.", UNSUPPORTED, "byte 1, opcode 0x69 (INST)"),
    BAD("(o.", UNSUPPORTED, "(OBJ)"),
    BAD(")\x81.", UNSUPPORTED, "opcode 0x81 (NEWOBJ)"),
    BAD("\x92.", UNSUPPORTED, "(NEWOBJ_EX)"),
    BAD("\x93.", UNSUPPORTED, "(STACK_GLOBAL)"),
    BAD("\x82\x01.", UNSUPPORTED, "(EXT1)"),
    BAD("\x94.", UNSUPPORTED, "(MEMOIZE)"),
    BAD("\x95.", UNSUPPORTED, "(FRAME)"),
    BAD("Pid\n.", UNSUPPORTED, "(PERSID)"),
    BAD("I1\n.", UNSUPPORTED, "(INT)"),
    BAD("L1\n.", UNSUPPORTED, "(LONG)"),
    BAD("\x8b\1\0\0\0\1.", UNSUPPORTED, "(LONG4)"),
    BAD("G12345678.", UNSUPPORTED, "(BINFLOAT)"),
    BAD("Vx\n.", UNSUPPORTED, "(UNICODE)"),
    BAD("].", UNSUPPORTED, "(EMPTY_LIST)"),
    BAD("(l.", UNSUPPORTED, "(LIST)"),
    BAD("(d.", UNSUPPORTED, "(DICT)"),
    BAD("}0.", UNSUPPORTED, "(POP)"),
    BAD("}2.", UNSUPPORTED, "(DUP)"),
    BAD("}p0\n.", UNSUPPORTED, "(PUT)"),
    BAD("\x8f.", UNSUPPORTED, "(EMPTY_SET)"),
    BAD("\xff.", UNSUPPORTED, "opcode 0xff (unknown)"),
    /* The stack. */
    BAD(".", UNSUPPORTED, "0 values"),
    BAD("N.", UNSUPPORTED, "None"),
    BAD(").", UNSUPPORTED, "a tuple"),
    BAD("}}.", UNSUPPORTED, "2 values"),
    BAD("(}.", UNSUPPORTED, "a mark"),
    BAD("}.}", FORMAT, "byte 2: 1 bytes follow STOP"),
    BAD("R.", FORMAT, "takes 2 values off the stack, 0 are there"),
    BAD("}R.", FORMAT, "takes 2 values off the stack, 1 are there"),
    BAD("}(K\1R.", FORMAT, "takes 2 values off the stack, 1 are there"),
    BAD("\x85.", FORMAT, "takes 1 values"),
    BAD("}t.", FORMAT, "no mark"),
    BAD("}u.", FORMAT, "no mark"),
    BAD("(u.", FORMAT, "takes 1 values"),
    BAD("q\0.", FORMAT, "no value is on the stack"),
    BAD("(q\0.", FORMAT, "no value is on the stack"),
    /* The memo. */
    BAD("h\0.", FORMAT, "memo 0 of 0"),
    BAD("}q\0h\1.", FORMAT, "memo 1 of 1"),
    BAD("}q\1.", FORMAT, "memo 1 follows memo 0"),
    BAD("}r\0\0\0\x80.", FORMAT, "memo 2147483648 follows memo 0"),
    BAD("}r\xff\xff\xff\xff.", FORMAT, "memo 4294967295"),
    BAD("}q\0j\xff\xff\xff\xff.", FORMAT, "memo 4294967295 of 1"),
    BAD("}q", TRUNCATED, "BINPUT"),
    BAD("}j\0\0\0", TRUNCATED, "LONG_BINGET"),
    /* Numbers and texts. */
    BAD("J\0\0\0", TRUNCATED, "4 bytes should follow, 3 do"),
    BAD("\x8a\x09\0\0\0\0\0\0\0\0\1.", LIMIT, "a number of 9 bytes"),
    BAD("\x8a\x08\0\0\0\0\0\0\0\x08.", LIMIT, "at most 2^59"),
    BAD("\x8a\x08\xff\xff\xff\xff\xff\xff\xff\x80.", LIMIT, "at most 2^59"),
    BAD("\x8a\xff\0.", TRUNCATED, "255 bytes should follow"),
    BAD("X\xff\xff\xff\xff.", TRUNCATED, "4294967295 bytes should follow, 1 do"),
    BAD("X\2\0\0\0.", TRUNCATED, "2 bytes should follow, 1 do"),
    BAD("X\3\0\0\0a\0b.", FORMAT, "has a NUL"),
    BAD("X\1\0\0\0\xff.", FORMAT, "no UTF-8"),
    /* Dicts and calls. */
    BAD("}K\1Ns.", UNSUPPORTED, "a key of a dict is a number"),
    BAD(")X\1\0\0\0aNs.", UNSUPPORTED, "sets an item of a tuple"),
    BAD("}(X\1\0\0\0au.", FORMAT, "are no pairs"),
    BAD("}X\1\0\0\0aK\1s.", UNSUPPORTED, "\"a\" is a number, only tensors"),
    BAD("}X\5\0\0\0model}s.", UNSUPPORTED, "\"model\" is a dict"),
    BAD("}q\0X\1\0\0\0ah\0s.", UNSUPPORTED, "\"a\" is a dict"), /* of itself */
    BAD("}Nb.", UNSUPPORTED, "sets a dict with None"),
    BAD("N}b.", UNSUPPORTED, "sets None with a dict"),
    BAD("K\1)R.", UNSUPPORTED, "calls a number with a tuple"),
    BAD("ccollections\nOrderedDict\nNR.", UNSUPPORTED, "calls a global with None"),
    BAD("ccollections\nOrderedDict\nN\x85R.", UNSUPPORTED, "OrderedDict with 1 arguments"),
    BAD("ctorch\nFloatStorage\n)R.", UNSUPPORTED, "FloatStorage with 0 arguments"),
    /* Storages. */
    BAD("NQ.", FORMAT, "is no storage"),
    BAD("(NNNNNtQ.", FORMAT, "is no storage"),
    BAD("(X\7\0\0\0storagectorch\nFloatStorage\nX\1\0\0\0"
        "0X\3\0\0\0cputQ.",
        FORMAT, "is no storage"),
    BAD("(X\7\0\0\0Storagectorch\nFloatStorage\nX\1\0\0\0"
        "0X\3\0\0\0cpuK\4tQ.",
        FORMAT, "is no storage"),
    BAD("(X\7\0\0\0storageccollections\nOrderedDict\nX\1\0\0\0"
        "0X\3\0\0\0cpuK\4tQ.",
        FORMAT, "is no storage"),
    BAD("(X\7\0\0\0storagectorch\nFloatStorage\nK\0X\3\0\0\0cpuK\4tQ.", FORMAT, "is no storage"),
    BAD("(X\7\0\0\0storagectorch\nFloatStorage\nX\1\0\0\0"
        "0X\3\0\0\0cpuJ\xff\xff\xff\xfftQ.",
        FORMAT, "a storage of -1"),
    /* Tensors. */
    BAD(REBUILD ")R.", UNSUPPORTED, "with other arguments"),
    BAD(REBUILD "(" STORAGE "K\0))\x89tR.", UNSUPPORTED, "with other arguments"),
    BAD(REBUILD "(" STORAGE "K\0))" HOOKS "NtR.", UNSUPPORTED, "with other arguments"),
    BAD(REBUILD "(NK\0))" HOOKS "tR.", UNSUPPORTED, "with other arguments"),
    BAD(REBUILD "(" STORAGE "K\0NN" HOOKS "tR.", UNSUPPORTED, "with other arguments"),
    BAD(REBUILD "(" STORAGE "K\0N\x85K\1\x85" HOOKS "tR.", FORMAT, "a size of a tensor is None"),
};

START_TEST(test_bad_pickles)
{
    l2_torch_tensor *t = (l2_torch_tensor *)&t;
    size_t n = 1;
    long live = memory.live;
    buffer b = {0};
    put(&b, bad[_i].bytes, bad[_i].size);
    unsigned char *bytes = exact(&b);
    llama2_status status = l2_pickle_read(ctx, bytes, bad[_i].size, &t, &n);
    ck_assert_msg(status == bad[_i].code && strstr(llama2_last_error(), bad[_i].message), "%d: %s: %s; expected %s: %s",
                  _i, llama2_status_name(status), llama2_last_error(), llama2_status_name(bad[_i].code),
                  bad[_i].message);
    ck_assert(t == NULL && n == 0);
    ck_assert_int_eq(memory.live, live);
    free(bytes);
    free(b.bytes);
}
END_TEST

#define WIDE (INT64_C(1) << 58)

static const struct {
    torch_tensor tensor;
    llama2_status code;
    const char *message;
} bad_tensors[] = {
    {{"w", "FloatStorage", "0", 6, -1, 1, 1, {2}, {1}}, LLAMA2_E_FORMAT, "at offset -1"},
    {{"w", "FloatStorage", "0", 6, 0, 1, 1, {-2}, {1}}, LLAMA2_E_FORMAT, "a size of a tensor is negative"},
    {{"w", "FloatStorage", "0", 6, 0, 1, 1, {2}, {-1}}, LLAMA2_E_FORMAT, "a stride of a tensor is negative"},
    {{"w", "FloatStorage", "0", 6, 0, 2, 1, {2, 3}, {1}}, LLAMA2_E_FORMAT, "2 sizes and 1 strides"},
    {{"w", "FloatStorage", "0", 6, 0, 5, 5, {1, 1, 1, 1, 1}, {1, 1, 1, 1, 1}}, LLAMA2_E_LIMIT, "5 dimensions"},
    {{"w", "FloatStorage", "0", 6, 0, 1, 1, {7}, {1}}, LLAMA2_E_FORMAT, "\"w\": reaches past the 6 elements"},
    {{"w", "FloatStorage", "0", 6, 1, 2, 2, {2, 3}, {3, 1}}, LLAMA2_E_FORMAT, "reaches past"},
    {{"w", "FloatStorage", "0", 6, 0, 2, 2, {2, 3}, {4, 1}}, LLAMA2_E_FORMAT, "reaches past"},
    {{"w", "FloatStorage", "0", 6, WIDE, 1, 1, {1}, {1}}, LLAMA2_E_FORMAT, "reaches past"},
    {{"w", "FloatStorage", "0", 6, 7, 1, 1, {0}, {1}}, LLAMA2_E_FORMAT, "reaches past"},
    {{"w", "FloatStorage", "0", 0, 0, 0, 0, {0}, {0}}, LLAMA2_E_FORMAT, "reaches past"},
    {{"w", "FloatStorage", "0", 6, 0, 2, 2, {WIDE, WIDE}, {WIDE, 1}}, LLAMA2_E_FORMAT, "reaches past"},
    {{"w", "FloatStorage", "0", 6, 0, 4, 4, {WIDE, 17, 3, 2}, {WIDE, WIDE, WIDE, 1}}, LLAMA2_E_FORMAT, "reaches past"},
    {{"w", "FloatStorage", "0", WIDE, WIDE, 1, 1, {2}, {WIDE}}, LLAMA2_E_FORMAT, "reaches past"},
    {{"w", "FloatStorage", "0", 6, 0, 2, 2, {2, 3}, {0, 1}}, LLAMA2_E_UNSUPPORTED, "several elements in one place"},
    {{"w", "FloatStorage", "0", 6, 0, 2, 2, {2, 3}, {1, 1}}, LLAMA2_E_UNSUPPORTED, "several elements in one place"},
    {{"w", "FloatStorage", "0", 9, 0, 2, 2, {3, 3}, {2, 1}}, LLAMA2_E_UNSUPPORTED, "several elements in one place"},
    {{"w", "FloatStorage", "0", 1, 0, 2, 2, {WIDE, WIDE}, {0, 0}}, LLAMA2_E_UNSUPPORTED, "several elements"},
    {{"w", "DoubleStorage", "0", 6, 0, 1, 1, {6}, {1}}, LLAMA2_E_UNSUPPORTED, "torch.DoubleStorage"},
    {{"w", "ByteStorage", "0", 6, 0, 1, 1, {6}, {1}}, LLAMA2_E_UNSUPPORTED, "torch.ByteStorage"},
};

START_TEST(test_bad_tensors)
{
    l2_torch_tensor *t;
    size_t n;
    buffer p = pickle_dict((const torch_tensor[]){bad_tensors[_i].tensor}, 1);
    llama2_status status = l2_pickle_read(ctx, p.bytes, p.size, &t, &n);
    ck_assert_msg(status == bad_tensors[_i].code && strstr(llama2_last_error(), bad_tensors[_i].message),
                  "%d: %s: %s; expected %s: %s", _i, llama2_status_name(status), llama2_last_error(),
                  llama2_status_name(bad_tensors[_i].code), bad_tensors[_i].message);
    ck_assert(t == NULL && n == 0);
    free(p.bytes);
}
END_TEST

/* --- limits ---------------------------------------------------------------------------------- */

static void refuse(buffer *p, const char *message)
{
    l2_torch_tensor *t;
    size_t n, before = memory.bytes;
    memory.peak = before;
    llama2_status status = l2_pickle_read(ctx, p->bytes, p->size, &t, &n);
    ck_assert_msg(status == LLAMA2_E_LIMIT && strstr(llama2_last_error(), message), "%s", llama2_last_error());
    ck_assert_uint_le(memory.peak - before, 1 << 20);
    free(p->bytes);
}

START_TEST(test_bombs)
{
    buffer p = {0};
    for (int i = 0; i < 1000000; i++) put_u8(&p, '('); /* nesting */
    refuse(&p, "more than 4096 values on the stack");
    p = (buffer){0};
    for (int i = 0; i < 1000000; i++) put_u8(&p, ')');
    refuse(&p, "more than 4096 values on the stack");
    p = (buffer){0};
    put_u8(&p, '}');
    for (uint32_t i = 0; i < 1000000; i++) put_u8(&p, 'r'), put_u32(&p, i);
    refuse(&p, "more than 24576 values in the memo");
    p = (buffer){0};
    put(&p, "Nq\0", 3);
    for (int tuple = 0; tuple < 100; tuple++) { /* each with many elements, all the same */
        put_u8(&p, '(');
        for (int i = 0; i < 3000; i++) put(&p, "h\0", 2);
        put_u8(&p, 't');
    }
    refuse(&p, "more than 40960 elements of tuples");
    p = (buffer){0};
    put(&p, "}X\1\0\0\0aq\0Ns", 11);
    for (int i = 0; i < 5000; i++) put(&p, "h\0Ns", 4);
    refuse(&p, "more than 4096 items of dicts");
    p = (buffer){0};
    put(&p,
        "(X\7\0\0\0storagectorch\nFloatStorage\nX\1\0\0\0"
        "0X\3\0\0\0cpuK\4tq\0",
        52);
    for (int i = 0; i < 3000; i++) put(&p, "h\0Q", 3);
    refuse(&p, "more than 2048 storages");
    p = (buffer){0};
    put(&p, REBUILD "q\0(" STORAGE "K\0))" HOOKS "tq\1}", sizeof(REBUILD "q\0(" STORAGE "K\0))" HOOKS "tq\1}") - 1);
    for (int i = 0; i < 3000; i++) put(&p, "h\0h\1R", 5);
    refuse(&p, "more than 2048 tensors");
}
END_TEST

/* A name twice; tensors as many as fit, in the largest pickle of a real model and more. */
START_TEST(test_many_tensors)
{
    enum { N = 1500 };
    l2_torch_tensor *t;
    size_t n, before = memory.bytes;
    buffer p = pickle_dict((const torch_tensor[]){matrix, transposed, matrix}, 3);
    ck_fails(l2_pickle_read(ctx, p.bytes, p.size, &t, &n), LLAMA2_E_FORMAT);
    ck_assert_ptr_nonnull(strstr(llama2_last_error(), "\"w\" stands twice"));
    free(p.bytes);
    p = (buffer){0};
    put(&p, "\x80\x02}", 3);
    for (int i = 0; i < N; i++) {
        char name[16];
        torch_tensor one = matrix;
        snprintf(name, sizeof name, "%d", i * 7 % N);
        put_u8(&p, '('), pickle_text(&p, name), pickle_tensor(&p, &one), put_u8(&p, 'u');
    }
    put_u8(&p, '.');
    memory.peak = before;
    ck_ok(l2_pickle_read(ctx, p.bytes, p.size, &t, &n));
    ck_assert_uint_eq(n, N);
    ck_assert_uint_le(memory.peak - before, 4 * p.size + (1 << 20));
    l2_free(ctx, t);
    free(p.bytes);
}
END_TEST

/* Every prefix, every byte as another: a status, under a sanitizer. */
START_TEST(test_truncation_and_flips)
{
    l2_torch_tensor *t;
    size_t n;
    buffer p = pickle_dict((const torch_tensor[]){matrix, transposed}, 2);
    for (size_t size = 0; size < p.size; size++) {
        buffer cut = {p.bytes, size, 0};
        unsigned char *bytes = exact(&cut);
        ck_assert_int_lt(l2_pickle_read(ctx, bytes, size, &t, &n), 0);
        free(bytes);
    }
    unsigned char *bytes = exact(&p);
    for (size_t i = 0; i < p.size; i++)
        for (int change = 1; change < 256; change += 3) {
            bytes[i] ^= (unsigned char)change;
            if (l2_pickle_read(ctx, bytes, p.size, &t, &n) == LLAMA2_OK) l2_free(ctx, t);
            bytes[i] ^= (unsigned char)change;
        }
    free(bytes);
    free(p.bytes);
}
END_TEST

Suite *test_suite(void)
{
    Suite *suite = suite_create("format/pickle");
    TCase *bads = tcase_create("bad pickles"), *good = tcase_create("pickles");
    tcase_add_checked_fixture(bads, setup, teardown);
    tcase_add_checked_fixture(good, setup, teardown);
    tcase_set_timeout(good, 120);
    tcase_add_loop_test(bads, test_bad_pickles, 0, (int)(sizeof bad / sizeof *bad));
    tcase_add_loop_test(bads, test_bad_tensors, 0, (int)(sizeof bad_tensors / sizeof *bad_tensors));
    tcase_add_test(good, test_state_dict);
    tcase_add_test(good, test_odd_but_good);
    tcase_add_test(good, test_bombs);
    tcase_add_test(good, test_many_tensors);
    tcase_add_test(good, test_truncation_and_flips);
    suite_add_tcase(suite, bads);
    suite_add_tcase(suite, good);
    return suite;
}
