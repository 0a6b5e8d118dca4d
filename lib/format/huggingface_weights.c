/* The weights of a Hugging Face folder: one file, or shards and an index. */
#include "base/alloc.h"
#include "base/context.h"
#include "base/json.h"
#include "format/huggingface.h"
#include "format/sort.h"
#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { MAX_SHARDS = 10000, MAX_INDEX = 100 * 1000 * 1000 };

static const char single_name[] = "model.safetensors";
static const char index_name[] = "model.safetensors.index.json";

/* --- reading --------------------------------------------------------------------------------- */

typedef struct mapping {
    const char *tensor, *file;
} mapping;

typedef struct index_file {
    l2_file_view view;
    char *names;
    mapping *map; /* sorted by file, then tensor */
    size_t n;
} index_file;

static int by_file(const void *a, const void *b)
{
    const mapping *x = a, *y = b;
    int order = strcmp(x->file, y->file);
    return order ? order : strcmp(x->tensor, y->tensor);
}

static int by_tensor_name(const void *a, const void *b)
{
    return strcmp((*(const l2_st_tensor *const *)a)->name, (*(const l2_st_tensor *const *)b)->name);
}

static int name_to_tensor(const void *key, const void *element)
{
    return strcmp(key, (*(const l2_st_tensor *const *)element)->name);
}

int64_t l2_hf_weights_index(const l2_hf_weights *weights, const char *name)
{
    const l2_st_tensor **found =
        l2_search(name, weights->tensors, weights->n_tensors, sizeof *weights->tensors, name_to_tensor);
    return found ? found - weights->tensors : -1;
}

const l2_st_tensor *l2_hf_weights_find(const l2_hf_weights *weights, const char *name)
{
    int64_t i = l2_hf_weights_index(weights, name);
    return i < 0 ? NULL : weights->tensors[i];
}

/* A copy with a NUL after it at *at, which moves on. */
static llama2_status take_name(const l2_json_string *text, char **at, const char **out)
{
    size_t length;
    L2_TRY(l2_json_unescape(text, *at, text->length, &length));
    (*at)[length] = 0;
    if (strlen(*at) != length) return l2_fail(LLAMA2_E_FORMAT, "the name \"%s\" has a NUL after it", *at);
    *out = *at;
    *at += length + 1;
    return LLAMA2_OK;
}

static llama2_status check_shard_name(const char *name)
{
    if (name[0] && name[0] != '.' && !strchr(name, '/') && !strchr(name, '\\')) return LLAMA2_OK;
    return l2_fail(LLAMA2_E_FORMAT, "the shard \"%.100s\" is not the name of a file in the folder", name);
}

/* First pass (index->map NULL): counts. Second: fills. */
static llama2_status read_weight_map(l2_json *json, index_file *index, char **names)
{
    int more;
    size_t n = 0;
    L2_TRY(l2_json_enter(json, L2_JSON_OBJECT));
    for (;; n++) {
        l2_json_string tensor, file;
        L2_TRY(l2_json_next_member(json, &tensor, &more));
        if (!more) break;
        L2_TRY(l2_json_read_string(json, &file));
        if (!index->map) continue;
        L2_TRY(take_name(&tensor, names, &index->map[n].tensor));
        L2_TRY(take_name(&file, names, &index->map[n].file));
        L2_TRY(check_shard_name(index->map[n].file));
    }
    index->n = n;
    return LLAMA2_OK;
}

static llama2_status read_index_pass(index_file *index, char **names)
{
    l2_json json;
    int more, seen = 0;
    l2_json_begin(&json, (const char *)index->view.data, index->view.size);
    L2_TRY(l2_json_enter(&json, L2_JSON_OBJECT));
    for (;;) {
        l2_json_string key;
        L2_TRY(l2_json_next_member(&json, &key, &more));
        if (!more) break;
        if (!l2_json_equal(&key, "weight_map")) {
            L2_TRY(l2_json_skip(&json));
            continue;
        }
        if (seen++) return l2_fail(LLAMA2_E_FORMAT, "\"weight_map\" stands twice");
        L2_TRY(read_weight_map(&json, index, names));
    }
    if (!seen || index->n == 0) return l2_fail(LLAMA2_E_FORMAT, "lacks a \"weight_map\" with entries");
    return l2_json_end(&json);
}

static llama2_status read_index(llama2_context *ctx, const char *path, index_file *index)
{
    L2_TRY(l2_file_read(ctx, path, MAX_INDEX, &index->view));
    L2_TRY(read_index_pass(index, NULL));
    /* Names without their quotes, with a NUL: never longer than the text. */
    L2_TRY(l2_alloc(ctx, index->view.size, 1, &index->names));
    L2_TRY(l2_alloc(ctx, index->n, sizeof *index->map, &index->map));
    char *names = index->names;
    L2_TRY(read_index_pass(index, &names));
    l2_sort(index->map, index->n, sizeof *index->map, by_file);
    for (size_t i = 1; i < index->n; i++)
        if (by_file(&index->map[i - 1], &index->map[i]) == 0)
            return l2_fail(LLAMA2_E_FORMAT, "tensor %s stands twice in \"weight_map\"", index->map[i].tensor);
    return LLAMA2_OK;
}

/* Each shard once, and each tensor in the shard that the index names. */
static llama2_status open_shards(l2_hf_weights *weights, const char *folder, int in_memory, const index_file *index)
{
    size_t n_files = 1;
    for (size_t i = 1; i < index->n; i++) n_files += strcmp(index->map[i - 1].file, index->map[i].file) != 0;
    if (n_files > MAX_SHARDS)
        return l2_fail(LLAMA2_E_LIMIT, "%zu shards, at most %d are supported", n_files, MAX_SHARDS);
    L2_TRY(l2_calloc(weights->ctx, n_files, sizeof *weights->files, &weights->files));
    for (size_t i = 0; i < index->n; i++) {
        const mapping *m = &index->map[i];
        if (i == 0 || strcmp(m[-1].file, m->file) != 0) {
            char *path;
            L2_TRY(l2_path_join(weights->ctx, folder, m->file, &path));
            llama2_status status =
                l2_safetensors_open(weights->ctx, path, in_memory, &weights->files[weights->n_files]);
            l2_free(weights->ctx, path);
            if (status < 0) return status;
            weights->n_files++;
        }
        if (!l2_safetensors_find(&weights->files[weights->n_files - 1], m->tensor))
            return l2_fail(LLAMA2_E_FORMAT, "tensor %s is not in %s, where the index says", m->tensor, m->file);
    }
    return LLAMA2_OK;
}

static llama2_status collect_tensors(l2_hf_weights *weights)
{
    size_t n = 0;
    for (size_t i = 0; i < weights->n_files; i++) weights->n_tensors += weights->files[i].n_tensors;
    L2_TRY(l2_alloc(weights->ctx, weights->n_tensors, sizeof *weights->tensors, &weights->tensors));
    for (size_t i = 0; i < weights->n_files; i++)
        for (size_t k = 0; k < weights->files[i].n_tensors; k++) weights->tensors[n++] = &weights->files[i].tensors[k];
    l2_sort(weights->tensors, n, sizeof *weights->tensors, by_tensor_name);
    for (size_t i = 1; i < n; i++)
        if (strcmp(weights->tensors[i - 1]->name, weights->tensors[i]->name) == 0)
            return l2_fail(LLAMA2_E_FORMAT, "tensor %s is in two shards", weights->tensors[i]->name);
    return LLAMA2_OK;
}

static void free_index(llama2_context *ctx, index_file *index)
{
    l2_file_release(ctx, &index->view);
    l2_free(ctx, index->names);
    l2_free(ctx, index->map);
}

static llama2_status open_sharded(l2_hf_weights *weights, const char *folder, const char *path, int in_memory)
{
    llama2_status status;
    index_file index = {0};
    L2_CHECK(read_index(weights->ctx, path, &index));
    L2_CHECK(open_shards(weights, folder, in_memory, &index));
done:
    free_index(weights->ctx, &index);
    return status < 0 ? l2_fail_in(status, "%s", path) : status;
}

llama2_status l2_hf_weights_open(llama2_context *ctx, const char *folder, int in_memory, l2_hf_weights *out)
{
    llama2_status status;
    char *single = NULL, *index = NULL;
    memset(out, 0, sizeof *out);
    out->ctx = ctx;
    L2_CHECK(l2_path_join(ctx, folder, single_name, &single));
    L2_CHECK(l2_path_join(ctx, folder, index_name, &index));
    if (l2_path_kind(single) == 0 && l2_path_kind(index) == 1) {
        L2_CHECK(open_sharded(out, folder, index, in_memory));
    } else {
        L2_CHECK(l2_calloc(ctx, 1, sizeof *out->files, &out->files));
        L2_CHECK(l2_safetensors_open(ctx, single, in_memory, &out->files[0]));
        out->n_files = 1;
    }
    status = collect_tensors(out);
    if (status < 0) l2_fail_in(status, "%s", out->n_files > 1 ? index : single);
done:
    l2_free(ctx, single);
    l2_free(ctx, index);
    if (status < 0) l2_hf_weights_close(out);
    return status;
}

void l2_hf_weights_close(l2_hf_weights *weights)
{
    if (!weights->ctx) return;
    for (size_t i = 0; i < weights->n_files; i++) l2_safetensors_close(&weights->files[i]);
    l2_free(weights->ctx, weights->files);
    l2_free(weights->ctx, (void *)weights->tensors);
    memset(weights, 0, sizeof *weights);
}

/* --- writing --------------------------------------------------------------------------------- */

static llama2_status remove_path(llama2_context *ctx, const char *path)
{
    if (ctx->files->unlink(path) == 0 || errno == ENOENT) return LLAMA2_OK;
    return l2_fail(LLAMA2_E_IO, "%s: can't be removed: %s", path, l2_strerror(errno));
}

static llama2_status remove_file(llama2_context *ctx, const char *folder, const char *name)
{
    char *path;
    L2_TRY(l2_path_join(ctx, folder, name, &path));
    llama2_status status = remove_path(ctx, path);
    l2_free(ctx, path);
    return status;
}

static void name_shard(size_t number, size_t of, char name[64])
{
    snprintf(name, 64, "model-%05zu-of-%05zu.safetensors", number, of);
}

/* Removes shards of a save into another number of files (0: of any), which would only take space. */
static llama2_status remove_old_shards(llama2_context *ctx, const char *folder, size_t n_kept)
{
    llama2_status status = LLAMA2_OK;
    DIR *dir = opendir(folder);
    if (!dir) return l2_fail(LLAMA2_E_IO, "%s: can't be listed: %s", folder, l2_strerror(errno));
    for (const char *name;;) {
        unsigned number, of;
        char tail[16], exact[64];
        L2_CHECK(l2_folder_next(ctx, dir, folder, &name));
        if (!name) break;
        if (sscanf(name, "model-%5u-of-%5u.%15s", &number, &of, tail) != 3) continue;
        name_shard(number, of, exact);
        if (strcmp(exact, name) == 0 && of != n_kept) L2_CHECK(remove_file(ctx, folder, name));
    }
done:
    closedir(dir);
    return status;
}

/* Entries [first, *next) go into one file: as many as fit, at least one. */
static llama2_status next_shard(const l2_st_entry *entries, size_t n, size_t first, uint64_t limit, size_t *next,
                                uint64_t *bytes)
{
    uint64_t sum = 0, size;
    for (*next = first; *next < n; ++*next) {
        L2_TRY(l2_st_entry_size(&entries[*next], &size));
        if (*next > first && (sum > limit || size > limit - sum)) break;
        sum += size;
    }
    *bytes = sum;
    return LLAMA2_OK;
}

/* Are shards of these names what a folder would be read from now? One whose index can't be read is refused already. */
static llama2_status are_read(llama2_context *ctx, const char *folder, size_t n_files, int *out)
{
    llama2_status status;
    char *single = NULL, *path = NULL, first[64];
    index_file index = {0};
    *out = 0;
    name_shard(1, n_files, first);
    L2_CHECK(l2_path_join(ctx, folder, single_name, &single));
    L2_CHECK(l2_path_join(ctx, folder, index_name, &path));
    if (l2_path_kind(single) != 0 || l2_path_kind(path) == 0) goto done;
    status = read_index(ctx, path, &index);
    *out = status < 0;
    for (size_t i = 0; i < index.n && status >= 0; i++) *out |= strcmp(index.map[i].file, first) == 0;
    if (status != LLAMA2_E_NOMEM && status != LLAMA2_E_IO) status = LLAMA2_OK;
done:
    free_index(ctx, &index);
    l2_free(ctx, single);
    l2_free(ctx, path);
    return status;
}

/* The older config (where `config` is not NULL) is gone before the file is in place. */
static llama2_status write_named(llama2_context *ctx, const char *folder, const char *name, const l2_st_entry *entries,
                                 size_t n, l2_writer *config)
{
    char *path;
    L2_TRY(l2_path_join(ctx, folder, name, &path));
    llama2_status status = l2_safetensors_write(ctx, path, entries, n, config);
    l2_free(ctx, path);
    return status;
}

static llama2_status write_shards(llama2_context *ctx, const char *folder, const l2_st_entry *entries, size_t n,
                                  uint64_t limit, size_t n_files, uint64_t total, l2_writer *config)
{
    llama2_status status;
    l2_text text;
    l2_writer index = {0};
    char name[64], *single = NULL;
    uint64_t bytes;
    int replaced;
    l2_text_begin(&text, ctx);
    L2_CHECK(are_read(ctx, folder, n_files, &replaced));
    l2_text_format(&text, "{\n  \"metadata\": {\"total_size\": %" PRIu64 "},\n  \"weight_map\": {", total);
    for (size_t first = 0, next, file = 1; first < n; first = next, file++) {
        L2_CHECK(next_shard(entries, n, first, limit, &next, &bytes));
        name_shard(file, n_files, name);
        L2_CHECK(write_named(ctx, folder, name, entries + first, next - first, replaced ? config : NULL));
        for (size_t i = first; i < next; i++) {
            l2_text_format(&text, "%s\n    ", i ? "," : "");
            l2_text_json_string(&text, entries[i].name, strlen(entries[i].name));
            l2_text_format(&text, ": \"%s\"", name);
        }
    }
    l2_text_format(&text, "\n  }\n}\n");
    L2_CHECK(l2_text_prepare(&text, folder, index_name, &index));
    L2_CHECK(l2_path_join(ctx, folder, single_name, &single));
    L2_CHECK(l2_writer_commit_before(&index, config)); /* once it is in place no memory is needed */
    status = remove_path(ctx, single);
    if (status >= 0) status = l2_sync_folder(ctx, folder);
done:
    l2_writer_abort(&index);
    l2_free(ctx, single);
    l2_text_free(&text);
    return status;
}

llama2_status l2_hf_write(llama2_context *ctx, const char *folder, const l2_hf_config *config,
                          const l2_st_entry *entries, size_t n_entries, uint64_t max_shard_bytes)
{
    llama2_status status;
    l2_hf_config_writer writer = {0};
    uint64_t limit = max_shard_bytes ? max_shard_bytes : 5000000000u, total = 0, bytes;
    size_t n_files = 0;
    for (size_t first = 0; first < n_entries; n_files++) {
        L2_TRY(next_shard(entries, n_entries, first, limit, &first, &bytes));
        if (bytes > INT64_MAX - total) return l2_fail(LLAMA2_E_INVALID, "the tensors exceed 2^63 bytes");
        total += bytes;
    }
    if (n_files > MAX_SHARDS)
        return l2_fail(LLAMA2_E_LIMIT, "%zu files of %" PRIu64 " bytes, at most %d are written", n_files, limit,
                       MAX_SHARDS);
    L2_TRY(config ? l2_hf_config_prepare(ctx, folder, config, &writer) : l2_make_folder(ctx, folder));
    l2_writer *described_by = config ? &writer.config : NULL;
    if (n_files <= 1) {
        L2_CHECK(write_named(ctx, folder, single_name, entries, n_entries, described_by));
        if (config) L2_CHECK(l2_hf_config_commit(&writer));
        L2_CHECK(remove_file(ctx, folder, index_name));
        L2_CHECK(remove_old_shards(ctx, folder, 0));
    } else {
        L2_CHECK(write_shards(ctx, folder, entries, n_entries, limit, n_files, total, described_by));
        if (config) L2_CHECK(l2_hf_config_commit(&writer));
        L2_CHECK(remove_old_shards(ctx, folder, n_files));
    }
    status = l2_sync_folder(ctx, folder);
done:
    l2_hf_config_abort(&writer);
    return status;
}
