#include "format/pickle.h"
#include "base/alloc.h"
#include "base/utf8.h"
#include "format/bytes.h"
#include "format/sort.h"
#include <inttypes.h>
#include <stddef.h>
#include <string.h>

/* A value is a kind in its lowest 4 bits and a signed number of 60 bits above. */
typedef int64_t value;

enum kind {
    MARK,
    NONE,
    BOOL,
    INT,
    TEXT,    /* where its length is in the pickle, 4 bytes; the text follows */
    TUPLE,   /* the cell that has its length; the elements follow */
    DICT,    /* its serial number */
    GLOBAL,  /* index in globals[] */
    STORAGE, /* index in the machine */
    TENSOR   /* index in the machine */
};

static const char *const kind_names[] = {"a mark",  "None",   "a bool",   "a number",  "a text",
                                         "a tuple", "a dict", "a global", "a storage", "a tensor"};

enum { ORDERED_DICT, REBUILD_TENSOR, FIRST_STORAGE };

/* All that a pickle may name; dtype: of a storage. */
static const struct global {
    const char *name;
    int32_t dtype;
} globals[] = {
    {"collections OrderedDict", -1},   {"torch._utils _rebuild_tensor_v2", -1}, {"torch FloatStorage", LLAMA2_F32},
    {"torch HalfStorage", LLAMA2_F16}, {"torch BFloat16Storage", LLAMA2_BF16},
};
enum { N_GLOBALS = sizeof globals / sizeof *globals };

enum { REBUILD_ARGUMENTS = 6, STORAGE_ARGUMENTS = 5 };

typedef struct storage {
    value key;
    int64_t count;
    int32_t dtype;
} storage;

typedef struct tensor {
    value shape, stride; /* tuples */
    int64_t offset;
    uint32_t storage;
} tensor;

typedef struct item {
    value key, value;
    uint32_t dict;
} item;

typedef struct machine {
    const unsigned char *bytes;
    size_t size, at;
    uint32_t n_stack, n_memo, n_cells, n_storages, n_tensors, n_items, n_dicts;
    value stack[L2_PICKLE_MAX_STACK], memo[L2_PICKLE_MAX_MEMO], cells[L2_PICKLE_MAX_CELLS];
    storage storages[L2_PICKLE_MAX_TENSORS];
    tensor tensors[L2_PICKLE_MAX_TENSORS];
    item items[L2_PICKLE_MAX_ITEMS];
} machine;

static value make(enum kind kind, int64_t number)
{
    return number * 16 + kind;
}

static enum kind kind_of(value v)
{
    return (enum kind)(v & 15);
}

static int64_t number_of(value v)
{
    return (v - (v & 15)) / 16;
}

static const char *text_of(const machine *m, value v, uint32_t *length)
{
    const unsigned char *p = m->bytes + number_of(v);
    *length = l2_get_u32(p);
    return (const char *)p + 4;
}

static int text_is(const machine *m, value v, const char *text)
{
    uint32_t length;
    const char *own = kind_of(v) == TEXT ? text_of(m, v, &length) : NULL;
    return own && length == strlen(text) && memcmp(own, text, length) == 0;
}

/* The elements of a tuple, in *n their number. */
static const value *elements(const machine *m, value tuple, int64_t *n)
{
    const value *cell = m->cells + number_of(tuple);
    *n = *cell;
    return cell + 1;
}

/* --- opcodes --------------------------------------------------------------------------------- */

/* As pickletools names them, for messages. */
static const char *opcode_name(unsigned char opcode)
{
    static const struct {
        unsigned char code;
        const char *name;
    } names[] = {
        {'(', "MARK"},
        {'.', "STOP"},
        {'0', "POP"},
        {'1', "POP_MARK"},
        {'2', "DUP"},
        {'F', "FLOAT"},
        {'I', "INT"},
        {'J', "BININT"},
        {'K', "BININT1"},
        {'L', "LONG"},
        {'M', "BININT2"},
        {'N', "NONE"},
        {'P', "PERSID"},
        {'Q', "BINPERSID"},
        {'R', "REDUCE"},
        {'S', "STRING"},
        {'T', "BINSTRING"},
        {'U', "SHORT_BINSTRING"},
        {'V', "UNICODE"},
        {'X', "BINUNICODE"},
        {'a', "APPEND"},
        {'b', "BUILD"},
        {'c', "GLOBAL"},
        {'d', "DICT"},
        {'}', "EMPTY_DICT"},
        {'e', "APPENDS"},
        {'g', "GET"},
        {'h', "BINGET"},
        {'i', "INST"},
        {'j', "LONG_BINGET"},
        {'l', "LIST"},
        {']', "EMPTY_LIST"},
        {'o', "OBJ"},
        {'p', "PUT"},
        {'q', "BINPUT"},
        {'r', "LONG_BINPUT"},
        {'s', "SETITEM"},
        {'t', "TUPLE"},
        {')', "EMPTY_TUPLE"},
        {'u', "SETITEMS"},
        {'G', "BINFLOAT"},
        {'B', "BINBYTES"},
        {'C', "SHORT_BINBYTES"},
        {0x80, "PROTO"},
        {0x81, "NEWOBJ"},
        {0x82, "EXT1"},
        {0x83, "EXT2"},
        {0x84, "EXT4"},
        {0x85, "TUPLE1"},
        {0x86, "TUPLE2"},
        {0x87, "TUPLE3"},
        {0x88, "NEWTRUE"},
        {0x89, "NEWFALSE"},
        {0x8a, "LONG1"},
        {0x8b, "LONG4"},
        {0x8c, "SHORT_BINUNICODE"},
        {0x8d, "BINUNICODE8"},
        {0x8e, "BINBYTES8"},
        {0x8f, "EMPTY_SET"},
        {0x90, "ADDITEMS"},
        {0x91, "FROZENSET"},
        {0x92, "NEWOBJ_EX"},
        {0x93, "STACK_GLOBAL"},
        {0x94, "MEMOIZE"},
        {0x95, "FRAME"},
        {0x96, "BYTEARRAY8"},
        {0x97, "NEXT_BUFFER"},
        {0x98, "READONLY_BUFFER"},
    };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (names[i].code == opcode) return names[i].name;
    return "unknown";
}

/* The n bytes after an opcode. */
static llama2_status take(machine *m, uint64_t n, const unsigned char **out)
{
    *out = m->bytes + m->at;
    if (n > m->size - m->at)
        return l2_fail(LLAMA2_E_TRUNCATED, "%" PRIu64 " bytes should follow, %zu do", n, m->size - m->at);
    m->at += (size_t)n;
    return LLAMA2_OK;
}

static llama2_status full(const char *what, int limit)
{
    return l2_fail(LLAMA2_E_LIMIT, "more than %d %s", limit, what);
}

static llama2_status push(machine *m, value v)
{
    if (m->n_stack == L2_PICKLE_MAX_STACK) return full("values on the stack", L2_PICKLE_MAX_STACK);
    m->stack[m->n_stack++] = v;
    return LLAMA2_OK;
}

/* The top n values above the last mark, in order; they are taken off. */
static llama2_status pop(machine *m, uint32_t n, const value **out)
{
    *out = m->stack;
    for (uint32_t i = 0; i < n; i++)
        if (i >= m->n_stack || kind_of(m->stack[m->n_stack - 1 - i]) == MARK)
            return l2_fail(LLAMA2_E_FORMAT, "takes %" PRIu32 " values off the stack, %" PRIu32 " are there", n, i);
    m->n_stack -= n;
    *out += m->n_stack;
    return LLAMA2_OK;
}

/* All values above the last mark, and the mark. */
static llama2_status pop_to_mark(machine *m, const value **out, uint32_t *n)
{
    uint32_t at = m->n_stack;
    while (at > 0 && kind_of(m->stack[at - 1]) != MARK) at--;
    *out = m->stack + at;
    *n = m->n_stack - at;
    if (at == 0) return l2_fail(LLAMA2_E_FORMAT, "no mark is on the stack");
    m->n_stack = at - 1;
    return LLAMA2_OK;
}

/* Pickling numbers the memo from 0 on, so a number that is not the next one is no pickler's. */
static llama2_status put(machine *m, uint32_t id)
{
    if (id > m->n_memo) return l2_fail(LLAMA2_E_FORMAT, "memo %" PRIu32 " follows memo %" PRIu32, id, m->n_memo);
    if (id == L2_PICKLE_MAX_MEMO) return full("values in the memo", L2_PICKLE_MAX_MEMO);
    if (m->n_stack == 0 || kind_of(m->stack[m->n_stack - 1]) == MARK)
        return l2_fail(LLAMA2_E_FORMAT, "no value is on the stack");
    if (id == m->n_memo) m->n_memo++;
    m->memo[id] = m->stack[m->n_stack - 1];
    return LLAMA2_OK;
}

static llama2_status get(machine *m, uint32_t id)
{
    if (id >= m->n_memo) return l2_fail(LLAMA2_E_FORMAT, "memo %" PRIu32 " of %" PRIu32, id, m->n_memo);
    return push(m, m->memo[id]);
}

static llama2_status push_tuple(machine *m, const value *from, uint32_t n)
{
    if (n + 1 > L2_PICKLE_MAX_CELLS - m->n_cells) return full("elements of tuples", L2_PICKLE_MAX_CELLS);
    value *cell = m->cells + m->n_cells;
    value tuple = make(TUPLE, m->n_cells);
    m->n_cells += n + 1;
    *cell = n;
    memcpy(cell + 1, from, n * sizeof *from);
    return push(m, tuple);
}

static llama2_status tuple_of(machine *m, uint32_t n)
{
    const value *from;
    L2_TRY(pop(m, n, &from));
    return push_tuple(m, from, n);
}

static llama2_status tuple_to_mark(machine *m)
{
    const value *from;
    uint32_t n;
    L2_TRY(pop_to_mark(m, &from, &n));
    return push_tuple(m, from, n);
}

/* A signed little-endian number of n bytes. */
static llama2_status push_int(machine *m, uint32_t n, int has_sign)
{
    const unsigned char *p;
    uint64_t number = 0;
    L2_TRY(take(m, n, &p));
    if (n > 8) return l2_fail(LLAMA2_E_LIMIT, "a number of %" PRIu32 " bytes, at most 8 are supported", n);
    for (uint32_t i = n; i-- > 0;) number = number << 8 | p[i];
    if (has_sign && n > 0 && n < 8 && p[n - 1] >> 7) number |= UINT64_MAX << 8 * n;
    int64_t with_sign = (int64_t)number;
    if (with_sign >= INT64_C(1) << 59 || with_sign < -(INT64_C(1) << 59))
        return l2_fail(LLAMA2_E_LIMIT, "the number %" PRId64 ", at most 2^59 is supported", with_sign);
    return push(m, make(INT, with_sign));
}

static llama2_status push_long(machine *m)
{
    const unsigned char *n;
    L2_TRY(take(m, 1, &n));
    return push_int(m, *n, 1);
}

static llama2_status push_text(machine *m)
{
    const unsigned char *length, *text;
    L2_TRY(take(m, 4, &length));
    L2_TRY(take(m, l2_get_u32(length), &text));
    size_t n = l2_get_u32(length);
    if (memchr(text, 0, n) || l2_utf8_valid_prefix((const char *)text, n) != n)
        return l2_fail(LLAMA2_E_FORMAT, "a text that is no UTF-8 or has a NUL");
    return push(m, make(TEXT, length - m->bytes));
}

/* The rest of a line, whose end is passed over. */
static llama2_status take_line(machine *m, const char **line, size_t *length)
{
    *line = (const char *)m->bytes + m->at;
    const char *end = memchr(*line, '\n', m->size - m->at);
    *length = end ? (size_t)(end - *line) : 0;
    if (!end) return l2_fail(LLAMA2_E_TRUNCATED, "a line without its end");
    m->at += *length + 1;
    return LLAMA2_OK;
}

#define QUOTED(text, n) (n) > 64 ? 64 : (int)(n), (text)

static llama2_status push_global(machine *m)
{
    const char *module, *name;
    size_t n_module, n_name;
    L2_TRY(take_line(m, &module, &n_module));
    L2_TRY(take_line(m, &name, &n_name));
    for (int i = 0; i < N_GLOBALS; i++) {
        const char *allowed = globals[i].name, *space = strchr(allowed, ' ');
        if ((size_t)(space - allowed) == n_module && memcmp(allowed, module, n_module) == 0 &&
            strlen(space + 1) == n_name && memcmp(space + 1, name, n_name) == 0)
            return push(m, make(GLOBAL, i));
    }
    if (l2_utf8_valid_prefix(module, n_module) != n_module || l2_utf8_valid_prefix(name, n_name) != n_name)
        return l2_fail(LLAMA2_E_FORMAT, "a name that is no UTF-8");
    return l2_fail(LLAMA2_E_UNSUPPORTED,
                   "%.*s.%.*s is not supported: only tensors of torch.FloatStorage, HalfStorage and BFloat16Storage in "
                   "dicts are, nothing is executed",
                   QUOTED(module, n_module), QUOTED(name, n_name));
}

/* --- objects --------------------------------------------------------------------------------- */

static llama2_status push_dict(machine *m)
{
    return push(m, make(DICT, m->n_dicts++));
}

static llama2_status add_item(machine *m, value dict, value key, value item_value)
{
    if (kind_of(dict) != DICT) return l2_fail(LLAMA2_E_UNSUPPORTED, "sets an item of %s", kind_names[kind_of(dict)]);
    if (kind_of(key) != TEXT)
        return l2_fail(LLAMA2_E_UNSUPPORTED, "a key of a dict is %s, expected a text", kind_names[kind_of(key)]);
    if (m->n_items == L2_PICKLE_MAX_ITEMS) return full("items of dicts", L2_PICKLE_MAX_ITEMS);
    m->items[m->n_items++] = (item){key, item_value, (uint32_t)number_of(dict)};
    return LLAMA2_OK;
}

static llama2_status set_item(machine *m)
{
    const value *v;
    L2_TRY(pop(m, 3, &v));
    m->n_stack++; /* the dict stays */
    return add_item(m, v[0], v[1], v[2]);
}

static llama2_status set_items(machine *m)
{
    const value *v, *dict;
    uint32_t n;
    L2_TRY(pop_to_mark(m, &v, &n));
    L2_TRY(pop(m, 1, &dict));
    m->n_stack++;
    if (n % 2) return l2_fail(LLAMA2_E_FORMAT, "%" PRIu32 " keys and values are no pairs", n);
    for (uint32_t i = 0; i < n; i += 2) L2_TRY(add_item(m, *dict, v[i], v[i + 1]));
    return LLAMA2_OK;
}

/* The attributes of an OrderedDict, as state_dict()'s _metadata: they say nothing of the tensors. */
static llama2_status build(machine *m)
{
    const value *v;
    L2_TRY(pop(m, 2, &v));
    m->n_stack++;
    if (kind_of(v[0]) == DICT && kind_of(v[1]) == DICT) return LLAMA2_OK;
    return l2_fail(LLAMA2_E_UNSUPPORTED, "sets %s with %s", kind_names[kind_of(v[0])], kind_names[kind_of(v[1])]);
}

/* ("storage", type, key, where it was, number of elements) */
static llama2_status push_storage(machine *m)
{
    const value *v;
    int64_t n = 0;
    L2_TRY(pop(m, 1, &v));
    const value *of = kind_of(*v) == TUPLE ? elements(m, *v, &n) : NULL;
    if (n != STORAGE_ARGUMENTS || !text_is(m, of[0], "storage") || kind_of(of[1]) != GLOBAL ||
        number_of(of[1]) < FIRST_STORAGE || kind_of(of[2]) != TEXT || kind_of(of[3]) != TEXT || kind_of(of[4]) != INT)
        return l2_fail(LLAMA2_E_FORMAT, "is no storage: expected (\"storage\", type, key, place, count)");
    if (number_of(of[4]) < 0) return l2_fail(LLAMA2_E_FORMAT, "a storage of %" PRId64 " elements", number_of(of[4]));
    if (m->n_storages == L2_PICKLE_MAX_TENSORS) return full("storages", L2_PICKLE_MAX_TENSORS);
    m->storages[m->n_storages] = (storage){of[2], number_of(of[4]), globals[number_of(of[1])].dtype};
    return push(m, make(STORAGE, m->n_storages++));
}

/* Sizes or strides. */
static llama2_status check_extents(const machine *m, value tuple, int64_t n_dims, const char *what)
{
    int64_t n;
    const value *of = elements(m, tuple, &n);
    if (n != n_dims)
        return l2_fail(LLAMA2_E_FORMAT, "a tensor with %" PRId64 " sizes and %" PRId64 " strides", n_dims, n);
    for (int64_t i = 0; i < n; i++)
        if (kind_of(of[i]) != INT || number_of(of[i]) < 0)
            return l2_fail(LLAMA2_E_FORMAT, "a %s of a tensor is %s", what,
                           kind_of(of[i]) == INT ? "negative" : kind_names[kind_of(of[i])]);
    return LLAMA2_OK;
}

/* (storage, offset, sizes, strides, requires_grad, hooks) */
static llama2_status rebuild_tensor(machine *m, value arguments)
{
    int64_t n, n_dims;
    const value *of = elements(m, arguments, &n);
    if (n != REBUILD_ARGUMENTS || kind_of(of[0]) != STORAGE || kind_of(of[1]) != INT || kind_of(of[2]) != TUPLE ||
        kind_of(of[3]) != TUPLE || kind_of(of[4]) != BOOL || kind_of(of[5]) != DICT)
        return l2_fail(LLAMA2_E_UNSUPPORTED, "_rebuild_tensor_v2 with other arguments than a plain tensor's: storage, "
                                             "offset, sizes, strides, requires_grad, hooks");
    if (number_of(of[1]) < 0) return l2_fail(LLAMA2_E_FORMAT, "a tensor at offset %" PRId64, number_of(of[1]));
    elements(m, of[2], &n_dims);
    if (n_dims > L2_TORCH_MAX_DIMS)
        return l2_fail(LLAMA2_E_LIMIT, "a tensor of %" PRId64 " dimensions, at most %d are supported", n_dims,
                       L2_TORCH_MAX_DIMS);
    L2_TRY(check_extents(m, of[2], n_dims, "size"));
    L2_TRY(check_extents(m, of[3], n_dims, "stride"));
    if (m->n_tensors == L2_PICKLE_MAX_TENSORS) return full("tensors", L2_PICKLE_MAX_TENSORS);
    m->tensors[m->n_tensors] = (tensor){of[2], of[3], number_of(of[1]), (uint32_t)number_of(of[0])};
    return push(m, make(TENSOR, m->n_tensors++));
}

static llama2_status reduce(machine *m)
{
    const value *v;
    int64_t n;
    L2_TRY(pop(m, 2, &v));
    if (kind_of(v[0]) != GLOBAL || kind_of(v[1]) != TUPLE)
        return l2_fail(LLAMA2_E_UNSUPPORTED, "calls %s with %s", kind_names[kind_of(v[0])], kind_names[kind_of(v[1])]);
    if (number_of(v[0]) == REBUILD_TENSOR) return rebuild_tensor(m, v[1]);
    elements(m, v[1], &n);
    if (number_of(v[0]) == ORDERED_DICT && n == 0) return push_dict(m);
    return l2_fail(LLAMA2_E_UNSUPPORTED, "calls %s with %" PRId64 " arguments", globals[number_of(v[0])].name, n);
}

/* --- the machine ----------------------------------------------------------------------------- */

static llama2_status step(machine *m, unsigned char opcode)
{
    const unsigned char *p;
    switch (opcode) {
    case 0x80: L2_TRY(take(m, 1, &p)); return *p == 2 ? LLAMA2_OK : l2_fail(LLAMA2_E_UNSUPPORTED, "protocol %d", *p);
    case '(': return push(m, make(MARK, 0));
    case 'N': return push(m, make(NONE, 0));
    case 0x88: return push(m, make(BOOL, 1));
    case 0x89: return push(m, make(BOOL, 0));
    case 'J': return push_int(m, 4, 1);
    case 'K': return push_int(m, 1, 0);
    case 'M': return push_int(m, 2, 0);
    case 0x8a: return push_long(m);
    case 'X': return push_text(m);
    case 'c': return push_global(m);
    case '}': return push_dict(m);
    case ')': return push_tuple(m, m->stack, 0);
    case 0x85: return tuple_of(m, 1);
    case 0x86: return tuple_of(m, 2);
    case 0x87: return tuple_of(m, 3);
    case 't': return tuple_to_mark(m);
    case 's': return set_item(m);
    case 'u': return set_items(m);
    case 'b': return build(m);
    case 'Q': return push_storage(m);
    case 'R': return reduce(m);
    case 'q': L2_TRY(take(m, 1, &p)); return put(m, *p);
    case 'r': L2_TRY(take(m, 4, &p)); return put(m, l2_get_u32(p));
    case 'h': L2_TRY(take(m, 1, &p)); return get(m, *p);
    case 'j': L2_TRY(take(m, 4, &p)); return get(m, l2_get_u32(p));
    default: return l2_fail(LLAMA2_E_UNSUPPORTED, "is not supported: no state dict needs it");
    }
}

static llama2_status run(machine *m)
{
    for (;;) {
        size_t at = m->at;
        if (at == m->size) return l2_fail(LLAMA2_E_TRUNCATED, "byte %zu: the pickle ends without STOP", at);
        unsigned char opcode = m->bytes[m->at++];
        if (opcode == '.') break;
        llama2_status status = step(m, opcode);
        if (status < 0) return l2_fail_in(status, "byte %zu, opcode 0x%02x (%s)", at, opcode, opcode_name(opcode));
    }
    if (m->at != m->size) return l2_fail(LLAMA2_E_FORMAT, "byte %zu: %zu bytes follow STOP", m->at, m->size - m->at);
    if (m->n_stack != 1 || kind_of(m->stack[0]) != DICT)
        return l2_fail(LLAMA2_E_UNSUPPORTED, "%" PRIu32 " values, the first of them %s, are left; expected a dict",
                       m->n_stack, m->n_stack ? kind_names[kind_of(m->stack[0])] : "nothing");
    return LLAMA2_OK;
}

/* --- tensors --------------------------------------------------------------------------------- */

/* The places of the elements are in the storage: offset + sum of (size - 1) * stride is the last one. */
static llama2_status check_inside(l2_torch_tensor *t)
{
    int64_t last = 0;
    t->extent = 1;
    for (int32_t i = 0; i < t->n_dims; i++)
        if (t->shape[i] == 0) t->extent = 0;
    for (int32_t i = 0; i < t->n_dims && t->extent; i++) {
        if (t->stride[i] && t->shape[i] - 1 > (t->storage_count - last) / t->stride[i])
            t->extent = -1;
        else
            last += (t->shape[i] - 1) * t->stride[i];
        if (t->extent < 0) break;
    }
    if (t->extent > 0) t->extent = last + 1;
    if (t->extent >= 0 && t->offset <= t->storage_count && t->extent <= t->storage_count - t->offset) return LLAMA2_OK;
    return l2_fail(LLAMA2_E_FORMAT, "reaches past the %" PRId64 " elements of its storage", t->storage_count);
}

/* From the smallest stride up, each is at least what the dimensions below it span. */
static llama2_status check_strides(const l2_torch_tensor *t)
{
    int64_t spanned = 1;
    int32_t left = 0;
    for (int32_t i = 0; i < t->n_dims; i++)
        if (t->shape[i] > 1) left |= 1 << i;
    while (t->extent && left) {
        int32_t next = -1;
        for (int32_t i = 0; i < t->n_dims; i++)
            if (left >> i & 1 && (next < 0 || t->stride[i] < t->stride[next])) next = i;
        if (t->stride[next] < spanned)
            return l2_fail(LLAMA2_E_UNSUPPORTED, "its strides put several elements in one place");
        spanned = t->stride[next] * (t->shape[next] - 1) + spanned; /* at most extent */
        left &= ~(1 << next);
    }
    return LLAMA2_OK;
}

static llama2_status describe(const machine *m, const item *from, l2_torch_tensor *t)
{
    const tensor *of = &m->tensors[number_of(from->value)];
    const storage *in = &m->storages[of->storage];
    int64_t n_dims;
    const value *shape = elements(m, of->shape, &n_dims), *stride = elements(m, of->stride, &n_dims);
    t->storage = text_of(m, in->key, &t->storage_length);
    t->storage_count = in->count;
    t->dtype = in->dtype;
    t->offset = of->offset;
    t->n_dims = (int32_t)n_dims;
    for (int32_t i = 0; i < t->n_dims; i++) {
        t->shape[i] = number_of(shape[i]);
        t->stride[i] = number_of(stride[i]);
    }
    L2_TRY(check_inside(t));
    return check_strides(t);
}

static int by_name(const void *a, const void *b)
{
    const l2_torch_tensor *x = a, *y = b;
    return l2_compare_text(x->name, x->name_length, y->name, y->name_length);
}

/* The outermost dict is what the machine has left. */
static int is_outer(const machine *m, const item *it)
{
    return it->dict == (uint32_t)number_of(m->stack[0]);
}

static llama2_status count(const machine *m, size_t *n)
{
    for (uint32_t i = 0; i < m->n_items; i++) *n += (size_t)is_outer(m, &m->items[i]);
    return *n <= L2_PICKLE_MAX_TENSORS ? LLAMA2_OK : full("tensors", L2_PICKLE_MAX_TENSORS);
}

static llama2_status list(const machine *m, l2_torch_tensor *tensors)
{
    size_t n = 0;
    for (uint32_t i = 0; i < m->n_items; i++) {
        const item *it = &m->items[i];
        if (!is_outer(m, it)) continue;
        l2_torch_tensor *t = &tensors[n++];
        t->name = text_of(m, it->key, &t->name_length);
        if (kind_of(it->value) != TENSOR)
            return l2_fail(LLAMA2_E_UNSUPPORTED, "\"%.*s\" is %s, only tensors are read",
                           QUOTED(t->name, t->name_length), kind_names[kind_of(it->value)]);
        llama2_status status = describe(m, it, t);
        if (status < 0) return l2_fail_in(status, "tensor \"%.*s\"", QUOTED(t->name, t->name_length));
    }
    l2_sort(tensors, n, sizeof *tensors, by_name);
    for (size_t i = 1; i < n; i++)
        if (by_name(&tensors[i - 1], &tensors[i]) == 0)
            return l2_fail(LLAMA2_E_FORMAT, "tensor \"%.*s\" stands twice",
                           QUOTED(tensors[i].name, tensors[i].name_length));
    return LLAMA2_OK;
}

llama2_status l2_pickle_read(llama2_context *ctx, const void *data, size_t size, l2_torch_tensor **out,
                             size_t *n_tensors)
{
    machine *m;
    llama2_status status;
    *out = NULL;
    *n_tensors = 0;
    if (size > UINT32_MAX) return l2_fail(LLAMA2_E_LIMIT, "a pickle of %zu bytes", size);
    L2_TRY(l2_alloc(ctx, 1, sizeof *m, &m));
    memset(m, 0, offsetof(machine, stack));
    m->bytes = data;
    m->size = size;
    L2_CHECK(run(m));
    L2_CHECK(count(m, n_tensors));
    L2_CHECK(l2_calloc(ctx, *n_tensors, sizeof **out, out));
    status = list(m, *out);
done:
    l2_free(ctx, m);
    if (status < 0) {
        l2_free(ctx, *out);
        *out = NULL;
        *n_tensors = 0;
    }
    return status;
}
