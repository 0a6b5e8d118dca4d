/* The tokenizer.json and tokenizer_config.json that Hugging Face's libraries read. */
#include "base/alloc.h"
#include "base/json.h"
#include "tokenizer/pretokenize.h"
#include "tokenizer/tokenizer.h"
#include <string.h>

static void put(l2_text *text, const char *plain)
{
    l2_text_add(text, plain, strlen(plain));
}

static void put_piece(l2_text *text, const llama2_tokenizer *tok, int32_t id)
{
    l2_text_json_string(text, tok->bytes + tok->offsets[id], l2_piece_length(tok, id));
}

static void put_added(l2_text *text, const llama2_tokenizer *tok)
{
    const char *comma = "";
    put(text, "\"added_tokens\":[");
    for (int32_t id = 0; id < tok->n_pieces; ++id) {
        int type = tok->types[id], special = type == LLAMA2_PIECE_CONTROL || type == LLAMA2_PIECE_UNKNOWN;
        if (!special && type != LLAMA2_PIECE_USER_DEFINED) continue;
        l2_text_format(text, "%s\n{\"id\":%d,\"content\":", comma, (int)id);
        put_piece(text, tok, id);
        l2_text_format(text,
                       ",\"single_word\":false,\"lstrip\":false,\"rstrip\":false,\"normalized\":false,\"special\":%s}",
                       special ? "true" : "false");
        comma = ",";
    }
    put(text, "]");
}

/* SentencePiece: what l2_expect_sentencepiece() reads. Not transformers' Metaspace, which would put no space before a
 * text that begins with one. */
static void put_normalizer(l2_text *text)
{
    put(text, "\"normalizer\":{\"type\":\"Sequence\",\"normalizers\":[{\"type\":\"Prepend\",\"prepend\":\"" L2_SPACE
              "\"},{\"type\":\"Replace\",\"pattern\":{\"String\":\" \"},\"content\":\"" L2_SPACE
              "\"}]},\n\"pre_tokenizer\":null");
}

static void put_pre_tokenizer(l2_text *text, int pretokenizer)
{
    put(text, "\"normalizer\":null,\n\"pre_tokenizer\":{\"type\":\"Sequence\",\"pretokenizers\":[");
    if (pretokenizer == L2_PRETOKENIZER_SMOLLM) put(text, "{\"type\":\"Digits\",\"individual_digits\":true},");
    if (pretokenizer == L2_PRETOKENIZER_LLAMA3) {
        put(text, "{\"type\":\"Split\",\"pattern\":{\"Regex\":");
        l2_text_json_string(text, L2_REGEX_LLAMA3, strlen(L2_REGEX_LLAMA3));
        put(text, "},\"behavior\":\"Isolated\",\"invert\":false},");
    }
    l2_text_format(text, "{\"type\":\"ByteLevel\",\"add_prefix_space\":false,\"trim_offsets\":true,\"use_regex\":%s}]}",
                   pretokenizer == L2_PRETOKENIZER_LLAMA3 ? "false" : "true");
}

static void put_post_processor(l2_text *text, const llama2_tokenizer *tok)
{
    put(text, ",\n\"post_processor\":");
    if (!tok->adds_bos) {
        put(text, "null");
        return;
    }
    static const char *const parts[] = {
        "{\"type\":\"TemplateProcessing\",\"single\":[{\"SpecialToken\":{\"id\":",
        ",\"type_id\":0}},{\"Sequence\":{\"id\":\"A\",\"type_id\":0}}],\"pair\":[{\"SpecialToken\":{\"id\":",
        (",\"type_id\":0}},{\"Sequence\":{\"id\":\"A\",\"type_id\":0}},{\"Sequence\":{\"id\":\"B\",\"type_id\":1}}],"
         "\"special_tokens\":{"),
        ":{\"id\":"};
    for (size_t i = 0; i < 4; ++i) {
        put(text, parts[i]);
        put_piece(text, tok, tok->bos);
    }
    l2_text_format(text, ",\"ids\":[%d],\"tokens\":[", (int)tok->bos);
    put_piece(text, tok, tok->bos);
    put(text, "]}}}");
}

static void put_decoder(l2_text *text, int byte_level)
{
    if (byte_level)
        put(text,
            ",\n\"decoder\":{\"type\":\"ByteLevel\",\"add_prefix_space\":true,\"trim_offsets\":true,\"use_regex\":"
            "true}");
    else
        put(text, ",\n\"decoder\":{\"type\":\"Sequence\",\"decoders\":[{\"type\":\"Replace\",\"pattern\":{\"String\":"
                  "\"" L2_SPACE "\"},\"content\":\" \"},{\"type\":\"ByteFallback\"},{\"type\":\"Fuse\"},{\"type\":"
                  "\"Strip\",\"content\":\" \",\"start\":1,\"stop\":0}]}");
}

static void put_model(l2_text *text, const llama2_tokenizer *tok, const l2_pair *merges, uint32_t n_merges)
{
    int names_unk = !tok->pretokenizer;
    const char *fallback = tok->pretokenizer ? "false" : "true";
    for (int i = 0; i < 256; ++i) names_unk |= tok->unk >= 0 && tok->byte_ids[i] == tok->unk;
    put(text, ",\n\"model\":{\"type\":\"BPE\",\"dropout\":null,\"unk_token\":");
    if (names_unk)
        put_piece(text, tok, tok->unk);
    else
        put(text, "null");
    l2_text_format(text,
                   ",\"continuing_subword_prefix\":null,\"end_of_word_suffix\":null,\"fuse_unk\":%s,"
                   "\"byte_fallback\":%s,\"ignore_merges\":%s,\n\"vocab\":{",
                   fallback, fallback, tok->ignore_merges ? "true" : "false");
    for (int32_t id = 0; id < tok->n_pieces; ++id) {
        put(text, id ? ",\n" : "\n");
        put_piece(text, tok, id);
        l2_text_format(text, ":%d", (int)id);
    }
    put(text, "},\n\"merges\":[");
    for (uint32_t i = 0; i < n_merges; ++i) {
        put(text, i ? ",\n[" : "\n[");
        put_piece(text, tok, merges[i].left);
        put(text, ",");
        put_piece(text, tok, merges[i].right);
        put(text, "]");
    }
    put(text, "]}}\n");
}

static llama2_status finish(l2_text *text, char **data, size_t *size)
{
    llama2_status status = text->status;
    if (status < 0) {
        l2_text_free(text);
        return status;
    }
    *data = text->data;
    *size = text->length;
    return LLAMA2_OK;
}

llama2_status l2_tokenizer_json_write(const llama2_tokenizer *tok, char **data, size_t *size)
{
    l2_pair *merges;
    uint32_t n_merges = tok->n_pairs;
    l2_text text;
    L2_TRY(tok->pretokenizer ? l2_merges_by_rank(tok, &merges) : l2_sentencepiece_merges(tok, &merges, &n_merges));
    l2_text_begin(&text, tok->ctx);
    put(&text, "{\"version\":\"1.0\",\"truncation\":null,\"padding\":null,\n");
    put_added(&text, tok);
    put(&text, ",\n");
    if (tok->pretokenizer)
        put_pre_tokenizer(&text, tok->pretokenizer);
    else
        put_normalizer(&text);
    put_post_processor(&text, tok);
    put_decoder(&text, tok->pretokenizer);
    put_model(&text, tok, merges, n_merges);
    l2_free(tok->ctx, merges);
    return finish(&text, data, size);
}

llama2_status l2_tokenizer_config_write(const llama2_tokenizer *tok, char **data, size_t *size)
{
    const struct {
        const char *name;
        int32_t id;
    } specials[] = {{"bos_token", tok->bos}, {"eos_token", tok->eos}, {"pad_token", tok->pad}, {"unk_token", tok->unk}};
    l2_text text;
    int as_written = tok->pretokenizer; /* transformers is to take the tokenizer.json as it stands */
    if (!as_written) L2_TRY(l2_sentencepiece_has_merges(tok, &as_written));
    l2_text_begin(&text, tok->ctx);
    l2_text_format(&text, "{\"tokenizer_class\":\"%s\"", as_written ? "PreTrainedTokenizerFast" : "LlamaTokenizer");
    for (size_t i = 0; i < 4; ++i) {
        if (specials[i].id < 0) continue;
        l2_text_format(&text, ",\n\"%s\":", specials[i].name);
        put_piece(&text, tok, specials[i].id);
    }
    l2_text_format(&text, ",\n\"add_bos_token\":%s", tok->adds_bos ? "true" : "false");
    if (tok->chat_template) {
        put(&text, ",\n\"chat_template\":");
        l2_text_json_string(&text, tok->chat_template, strlen(tok->chat_template));
    }
    put(&text, "}\n");
    return finish(&text, data, size);
}
