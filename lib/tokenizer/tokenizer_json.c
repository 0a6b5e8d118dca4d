/*
 * tokenizer.json of Hugging Face's `tokenizers`, with a model of type BPE, over bytes or as SentencePiece's. Two walks:
 * the first finds the sections, the second reads them in the order in which they are needed. What would change ids and
 * is not known is refused by name.
 */
#include "base/alloc.h"
#include "tokenizer/pretokenize.h"
#include "tokenizer/tokenizer_json.h"
#include <string.h>

enum { TYPE, DROPOUT, UNK_TOKEN, PREFIX, SUFFIX, FUSE_UNK, BYTE_FALLBACK, IGNORE_MERGES, VOCAB, MERGES, N_MODEL };

static llama2_status expect_empty(l2_member *m)
{
    l2_json_string text;
    if (l2_member_is_null(m)) return LLAMA2_OK;
    L2_TRY(l2_json_read_string(&m->at, &text));
    return text.length == 0 ? LLAMA2_OK
                            : l2_fail(LLAMA2_E_UNSUPPORTED, "byte %zu: \"%s\" is not supported", m->at.at, m->name);
}

static llama2_status read_model(l2_json json, l2_member m[N_MODEL], int *fallback)
{
    static const char *const names[] = {"type",
                                        "dropout",
                                        "unk_token",
                                        "continuing_subword_prefix",
                                        "end_of_word_suffix",
                                        "fuse_unk",
                                        "byte_fallback",
                                        "ignore_merges",
                                        "vocab",
                                        "merges"};
    l2_json_string type;
    l2_json whole = json;
    memset(m, 0, N_MODEL * sizeof *m);
    m[TYPE].name = "type"; /* first, since models of other types have other settings */
    L2_TRY(l2_find_members(&whole, NULL, m, 1));
    if (!l2_member_is_null(&m[TYPE])) { /* files of old have no type */
        L2_TRY(l2_json_read_string(&m[TYPE].at, &type));
        if (!l2_json_equal(&type, "BPE")) return l2_unsupported_setting("model type", &m[TYPE].at, &type);
    }
    for (int i = 0; i < N_MODEL; ++i) m[i] = (l2_member){.name = names[i]};
    L2_TRY(l2_find_members(&json, "the model", m, N_MODEL));
    if (!m[VOCAB].found || !m[MERGES].found)
        return l2_fail(LLAMA2_E_FORMAT, "the model has no \"%s\"", m[VOCAB].found ? "merges" : "vocab");
    if (!l2_member_is_null(&m[DROPOUT])) {
        double dropout;
        L2_TRY(l2_json_read_double(&m[DROPOUT].at, &dropout));
        if (dropout != 0) return l2_fail(LLAMA2_E_UNSUPPORTED, "\"dropout\" of merges is not supported");
    }
    L2_TRY(expect_empty(&m[PREFIX]));
    L2_TRY(expect_empty(&m[SUFFIX]));
    return l2_member_flag(m[BYTE_FALLBACK], 0, fallback);
}

/* A byte without a piece becomes the piece that the file names for it, if any. */
static llama2_status read_unknown(llama2_tokenizer *tok, l2_member *name, l2_member fuse)
{
    l2_json_string string;
    int fuses;
    if (l2_member_is_null(name)) return LLAMA2_OK;
    L2_TRY(l2_json_read_string(&name->at, &string));
    if (string.length == 0) return LLAMA2_OK;
    L2_TRY(l2_find_special(tok, &string, &tok->unk));
    if (tok->unk < 0 || !tok->lacks_bytes) return LLAMA2_OK;
    L2_TRY(l2_member_flag(fuse, 0, &fuses));
    if (fuses) return l2_fail(LLAMA2_E_UNSUPPORTED, "\"fuse_unk\" is not supported");
    for (int i = 0; i < 256; ++i)
        if (tok->byte_ids[i] < 0) tok->byte_ids[i] = tok->unk;
    tok->lacks_bytes = 0;
    return LLAMA2_OK;
}

enum { VERSION, ADDED, NORMALIZER, PRE, POST, DECODER, MODEL, N_SECTIONS };

static llama2_status read_sections(l2_json *json, l2_member s[N_SECTIONS])
{
    static const char *const names[] = {"version",        "added_tokens", "normalizer", "pre_tokenizer",
                                        "post_processor", "decoder",      "model"};
    l2_json_string version;
    for (int i = 0; i < N_SECTIONS; ++i) s[i] = (l2_member){.name = names[i]};
    L2_TRY(l2_find_members(json, NULL, s, N_SECTIONS));
    L2_TRY(l2_json_end(json));
    if (!s[MODEL].found) return l2_fail(LLAMA2_E_FORMAT, "no \"model\"; this is not a tokenizer.json");
    if (l2_member_is_null(&s[VERSION])) return LLAMA2_OK;
    L2_TRY(l2_json_read_string(&s[VERSION].at, &version));
    return l2_json_equal(&version, "1.0") ? LLAMA2_OK : l2_unsupported_setting("version", &s[VERSION].at, &version);
}

static llama2_status fill(llama2_tokenizer *tok, const l2_listing *list, l2_member m[N_MODEL],
                          const l2_json_string *bos, const char *config, size_t config_size)
{
    L2_TRY(l2_listing_add(tok, list));
    L2_TRY(l2_read_merges(m[MERGES].at, tok));
    L2_TRY(l2_member_flag(m[IGNORE_MERGES], 0, &tok->ignore_merges));
    if (tok->ignore_merges && !tok->pretokenizer)
        return l2_fail(LLAMA2_E_UNSUPPORTED, "\"ignore_merges\" is not supported with \"byte_fallback\"");
    if (tok->pretokenizer) {
        L2_TRY(l2_byte_level_finish(tok));
        L2_TRY(read_unknown(tok, &m[UNK_TOKEN], m[FUSE_UNK]));
    }
    if (config) {
        llama2_status status = l2_tokenizer_config_read(tok, config, config_size);
        if (status < 0) return l2_fail_in(status, "tokenizer_config.json");
    }
    if (bos->text) {
        L2_TRY(l2_find_special(tok, bos, &tok->bos));
        if (tok->bos < 0) return l2_fail(LLAMA2_E_FORMAT, "the post_processor names a special piece that there is not");
        tok->adds_bos = 1;
    }
    if (!config) l2_guess_specials(tok);
    return LLAMA2_OK;
}

static llama2_status read_all(llama2_context *ctx, l2_json *json, const char *config, size_t config_size,
                              const llama2_tokenizer_options *options, l2_listing *list, llama2_tokenizer **out)
{
    l2_member s[N_SECTIONS], m[N_MODEL];
    l2_json_string bos = {NULL, 0, 0};
    int pretokenizer = L2_PRETOKENIZER_NONE, fallback, metaspace = 0;
    L2_TRY(read_sections(json, s));
    L2_TRY(read_model(s[MODEL].at, m, &fallback));
    if (fallback) {
        L2_TRY(l2_expect_sentencepiece(&s[NORMALIZER], &s[PRE], &s[DECODER], &metaspace));
    } else {
        L2_TRY(l2_expect_type(&s[NORMALIZER], "normalizer", NULL));
        L2_TRY(l2_read_pre_tokenizer(&s[PRE], &pretokenizer));
        L2_TRY(l2_expect_type(&s[DECODER], "decoder", "ByteLevel"));
    }
    L2_TRY(l2_read_post_processor(&s[POST], &bos));
    L2_TRY(l2_listing_read(ctx, &m[VOCAB], &s[ADDED], options, list));
    if (fallback) L2_TRY(l2_type_sentencepiece(list, &m[UNK_TOKEN]));
    L2_TRY(l2_vocabulary_begin(ctx, (int32_t)list->n, list->bytes, out));
    (*out)->pretokenizer = pretokenizer;
    L2_TRY(fill(*out, list, m, &bos, config, config_size));
    return fallback ? l2_finish_sentencepiece(*out, list, metaspace) : LLAMA2_OK;
}

llama2_status l2_tokenizer_json_read(llama2_context *ctx, const char *data, size_t size, const char *config,
                                     size_t config_size, const llama2_tokenizer_options *options,
                                     llama2_tokenizer **out)
{
    l2_listing list = {.text = data, .size = size};
    llama2_tokenizer *tok = NULL;
    l2_json json;
    llama2_status status;
    *out = NULL;
    if (size > options->max_bytes)
        return l2_fail(LLAMA2_E_LIMIT, "tokenizer.json: %zu bytes; llama2_tokenizer_options.max_bytes allows %llu",
                       size, (unsigned long long)options->max_bytes);
    l2_json_begin(&json, data, size);
    L2_CHECK(read_all(ctx, &json, config, config_size, options, &list, &tok));
    *out = tok;
    tok = NULL;
done:
    l2_vocabulary_free(tok);
    l2_free(ctx, list.at);
    l2_free(ctx, list.types);
    return status < 0 ? l2_fail_in(status, "tokenizer.json") : status;
}
