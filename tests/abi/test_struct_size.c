/*
 * struct_size of every public struct: any multiple of 8 from 8 up to 65536 is accepted, zeros beyond what the library
 * knows too; a set byte there, or a size that no struct has, is LLAMA2_E_ABI. Nothing outside a struct is read or
 * written. headers.sh checks that no struct of the headers is missing here. A reserved field that is set is ABI too.
 */
#include "check_main.h"

#include <llama2/llama2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* What the calls below need. */
static llama2_context *ctx;
static llama2_config config;
static llama2_model *model, *critic_trunk;
static llama2_optimizer *optimizer, *critic_optimizer;
static llama2_trainer *trainer, *reward_trainer;
static llama2_reward_model *reward_model;
static llama2_tokenizer *tokenizer;
static llama2_rollouts *rollouts;
static llama2_pool *pool;
static llama2_preferences *preferences;
static llama2_comparisons *comparisons;
static llama2_packer *packer;
static llama2_shards *shards;
static char *shard_path;
static char gguf_path[64];
static llama2_inspection *inspection;

static const int32_t tokens[] = {3, 1, 4, 1, 5, 9, 2, 6};
static const int64_t offsets[] = {0, 4, 8};
static const llama2_batch batch = {
    .struct_size = sizeof batch, .n_sequences = 2, .n_tokens = 8, .tokens = tokens, .offsets = offsets};
static const llama2_pairs pairs = {.struct_size = sizeof pairs, .n_pairs = 1, .batch = &batch};

static const float scored_pairs_scores[] = {1, 0, 2, 3};
static const llama2_scored_pairs scored_pairs = {
    .struct_size = sizeof scored_pairs, .n_pairs = 2, .scores = scored_pairs_scores};
/* A record, and the dialogue of it. */
static const int32_t record_role[] = {LLAMA2_ROLE_USER};
static const char *const record_texts[] = {"a"}, *const record_responses[] = {"a", ""};
static const llama2_preference record = {.struct_size = sizeof record,
                                         .n_messages = 1,
                                         .roles = record_role,
                                         .texts = record_texts,
                                         .responses = record_responses};
static const llama2_chat dialogue = {
    .struct_size = sizeof dialogue, .n_messages = 1, .roles = record_role, .texts = record_texts};
static const llama2_annotation annotation = {.struct_size = sizeof annotation};

/* A model as llama2.c's .bin: its header, and numbers that are all 0. */
static const int32_t model_file[45] = {2, 1, 1, 1, 1, 4, 1};
static const llama2_host_file host_file = {
    .struct_size = sizeof host_file, .size = sizeof model_file, .data = model_file};

static void set_up(void)
{
    static const int32_t prompt_lengths[] = {2, 2};
    static const float scores[] = {1, 2}, zeros[8] = {0};
    static const char *const texts[] = {"<unk>", "<s>", "</s>", "a"};
    static const int32_t types[] = {LLAMA2_PIECE_UNKNOWN, LLAMA2_PIECE_CONTROL, LLAMA2_PIECE_CONTROL,
                                    LLAMA2_PIECE_NORMAL};
    static const uint64_t prompt_ids[] = {0, 1};
    llama2_tokenizer_pieces pieces;
    ck_ok(llama2_context_create(NULL, &ctx));
    llama2_config_init(&config, sizeof config);
    config.vocab_size = 11, config.dim = 8, config.n_layers = 1, config.n_heads = 2, config.n_kv_heads = 1,
    config.head_dim = 4, config.ffn_dim = 8;
    config.max_seq_len = 16;
    ck_ok(llama2_model_create(ctx, &config, NULL, &model));
    ck_ok(llama2_model_clone(model, &critic_trunk));
    ck_ok(llama2_reward_model_create(ctx, critic_trunk, NULL, &reward_model));
    ck_ok(llama2_optimizer_create(ctx, NULL, &optimizer));
    ck_ok(llama2_optimizer_create(ctx, NULL, &critic_optimizer));
    ck_ok(llama2_trainer_create(ctx, model, optimizer, NULL, &trainer));
    ck_ok(llama2_trainer_create_for_reward(ctx, reward_model, critic_optimizer, NULL, &reward_trainer));
    llama2_tokenizer_pieces_init(&pieces, sizeof pieces);
    pieces.n_pieces = 4, pieces.texts = texts, pieces.types = types;
    ck_ok(llama2_tokenizer_create(ctx, &pieces, &tokenizer));
    ck_ok(llama2_rollouts_create(ctx, &batch, prompt_lengths, 1, 2, 1, &rollouts));
    ck_ok(llama2_rollouts_set(rollouts, LLAMA2_ROLLOUTS_SCORES, scores, 2));
    ck_ok(llama2_rollouts_set(rollouts, LLAMA2_ROLLOUTS_HELPFUL_SCORES, scores, 2));
    ck_ok(llama2_rollouts_set(rollouts, LLAMA2_ROLLOUTS_SAFETY_SCORES, scores, 2));
    ck_ok(llama2_rollouts_set(rollouts, LLAMA2_ROLLOUTS_LOGPROBS, zeros, 8));
    ck_ok(llama2_rollouts_set(rollouts, LLAMA2_ROLLOUTS_REF_LOGPROBS, zeros, 8));
    ck_ok(llama2_rollouts_set(rollouts, LLAMA2_ROLLOUTS_VALUES, zeros, 8));
    ck_ok(llama2_ppo_advantages(rollouts, NULL, NULL));
    ck_ok(llama2_pool_create(ctx, &pool));
    llama2_pool_add_options po;
    llama2_pool_add_options_init(&po, sizeof po);
    po.leave_out_unfinished = 0;
    ck_ok(llama2_pool_add(pool, rollouts, prompt_ids, &po, NULL));
    ck_ok(llama2_preferences_create(ctx, &preferences));
    ck_ok(llama2_preferences_add(preferences, &record));
    ck_ok(llama2_comparisons_create(preferences, tokenizer, NULL, 0, 1, NULL, NULL, &comparisons));
    ck_ok(llama2_packer_create(ctx, NULL, &packer));
    ck_ok(llama2_packer_add(packer, tokens, NULL, 8));
    llama2_shard_writer *writer;
    llama2_shards_options shards_options;
    char template[] = "/tmp/llama2-struct-size-XXXXXX";
    int file = mkstemp(template);
    ck_assert(file >= 0);
    close(file);
    shard_path = strdup(template);
    ck_ok(llama2_shard_writer_create(ctx, shard_path, 11, &writer));
    ck_ok(llama2_shard_writer_append(writer, tokens, 8));
    ck_ok(llama2_shard_writer_finish(writer));
    llama2_shard_writer_free(writer);
    llama2_shards_options_init(&shards_options, sizeof shards_options);
    shards_options.length = 4;
    ck_ok(llama2_shards_create(ctx, &shards_options, &shards));
    ck_ok(llama2_shards_add_source(shards, (const char *const[]){shard_path}, 1, 1));
    snprintf(gguf_path, sizeof gguf_path, "%s.gguf", shard_path);
    ck_ok(llama2_model_save_gguf(critic_trunk, NULL, gguf_path, NULL));
    ck_ok(llama2_inspect(ctx, gguf_path, &inspection));
}

static void tear_down(void)
{
    remove(gguf_path);
    llama2_inspection_free(inspection);
    remove(shard_path);
    free(shard_path);
    llama2_shards_free(shards);
    llama2_packer_free(packer);
    llama2_comparisons_free(comparisons);
    llama2_preferences_free(preferences);
    llama2_pool_free(pool);
    llama2_rollouts_free(rollouts);
    llama2_tokenizer_free(tokenizer);
    llama2_trainer_free(reward_trainer);
    llama2_trainer_free(trainer);
    llama2_optimizer_free(critic_optimizer);
    llama2_optimizer_free(optimizer);
    llama2_reward_model_free(reward_model);
    llama2_model_free(critic_trunk);
    llama2_model_free(model);
    llama2_context_free(ctx);
}

/* --- one call for each struct ---------------------------------------------------------------- */

/* Of a handle that a call made: only its status matters here. */
#define MAKES(type, call)                                                                                              \
    type *made = NULL;                                                                                                 \
    llama2_status status = call;                                                                                       \
    ck_assert(status == LLAMA2_OK || made == NULL);                                                                    \
    type##_free(made);                                                                                                 \
    return status

static llama2_status use_context(void *s)
{
    MAKES(llama2_context, llama2_context_create(s, &made));
}
static llama2_status use_tokenizer_options(void *s)
{
    MAKES(llama2_tokenizer, llama2_tokenizer_load_memory(ctx, "", 0, s, &made));
}
static llama2_status use_pieces(void *s)
{
    MAKES(llama2_tokenizer, llama2_tokenizer_create(ctx, s, &made));
}
static llama2_status use_packer(void *s)
{
    MAKES(llama2_packer, llama2_packer_create(ctx, s, &made));
}
static llama2_status use_model(void *s)
{
    MAKES(llama2_model, llama2_model_create(ctx, &config, s, &made));
}
static llama2_status use_shards(void *s)
{
    MAKES(llama2_shards, llama2_shards_create(ctx, s, &made));
}
static llama2_status use_optimizer(void *s)
{
    MAKES(llama2_optimizer, llama2_optimizer_create(ctx, s, &made));
}
static llama2_status use_reward(void *s)
{
    MAKES(llama2_reward_model, llama2_reward_model_create(ctx, model, s, &made));
}
static llama2_status use_rollout(void *s)
{
    MAKES(llama2_rollouts, llama2_rollout(critic_trunk, &batch, s, &made));
}

static llama2_status use_config(void *s)
{
    llama2_memory memory = {.struct_size = sizeof memory};
    return llama2_memory_estimate(s, NULL, &memory);
}

static llama2_status use_memory_options(void *s)
{
    llama2_memory memory = {.struct_size = sizeof memory};
    return llama2_memory_estimate(&config, s, &memory);
}

static llama2_status use_trainer(void *s)
{
    llama2_optimizer *own;
    llama2_trainer *made = NULL;
    ck_ok(llama2_optimizer_create(ctx, NULL, &own));
    llama2_status status = llama2_trainer_create(ctx, critic_trunk, own, s, &made);
    llama2_trainer_free(made);
    llama2_optimizer_free(own);
    return status;
}

static llama2_status use_sampling(void *s)
{
    llama2_session *session;
    int32_t token;
    ck_ok(llama2_session_create(critic_trunk, &session));
    ck_ok(llama2_session_feed(session, tokens, 2));
    llama2_status status = llama2_session_sample(session, s, &token, NULL);
    llama2_session_free(session);
    return status;
}

static llama2_status use_chat(void *s)
{
    int64_t n;
    return llama2_chat_encode(tokenizer, s, 0, NULL, NULL, 0, &n);
}
static llama2_status use_combine(void *s)
{
    return llama2_rollouts_combine(rollouts, NULL, s);
}
static llama2_status use_pool_add(void *s)
{
    return llama2_pool_add(pool, rollouts, (const uint64_t[]){0, 1}, s, NULL);
}
static llama2_status use_preference(void *s)
{
    return llama2_preferences_add(preferences, s);
}
static llama2_status use_annotation(void *s)
{
    return llama2_preferences_annotate(preferences, 0, s);
}
static llama2_status use_comparisons(void *s)
{
    MAKES(llama2_comparisons, llama2_comparisons_create(preferences, tokenizer, NULL, 0, 1, s, NULL, &made));
}

static llama2_status sample(const llama2_chat *chat, const llama2_preferences_sample_options *options)
{
    llama2_preferences *made;
    ck_ok(llama2_preferences_create(ctx, &made));
    llama2_status status = llama2_preferences_sample(made, critic_trunk, critic_trunk, tokenizer, &chat, 1, options);
    llama2_preferences_free(made);
    return status;
}
static llama2_status use_preferences_sample(void *s)
{
    return sample(&dialogue, s);
}
static llama2_status use_dialogue(void *s)
{
    llama2_preferences_sample_options o;
    llama2_preferences_sample_options_init(&o, sizeof o);
    o.max_new_tokens = 2;
    return sample(s, &o);
}
static llama2_status use_ppo_advantages(void *s)
{
    return llama2_ppo_advantages(rollouts, s, NULL);
}
static llama2_status use_ppo_update(void *s)
{
    return llama2_ppo_update(trainer, reward_trainer, rollouts, s, NULL);
}
static llama2_status use_batch_logits(void *s)
{
    static float out[8 * 11];
    return llama2_model_logits(critic_trunk, s, out);
}
static llama2_status use_batch_sft(void *s)
{
    return llama2_sft_step(trainer, s, NULL);
}
static llama2_status use_batch_score(void *s)
{
    static float out[2];
    return llama2_reward_model_score(reward_model, s, out);
}
static llama2_status use_batch_rollout(void *s)
{
    MAKES(llama2_rollouts, llama2_rollout(critic_trunk, s, NULL, &made));
}
static llama2_status use_convert(void *s)
{
    return llama2_model_save_gguf(critic_trunk, NULL, gguf_path, s);
}
static llama2_status use_batch_rollouts(void *s)
{
    MAKES(llama2_rollouts, llama2_rollouts_create(ctx, s, (const int32_t[]){2, 2}, 1, 2, 1, &made));
}
static llama2_status use_batch_gradients(void *s)
{
    static const float grad[8];
    return llama2_trainer_backward_logprobs(trainer, s, 1, grad, 0, 1);
}
static llama2_status use_pairs_step(void *s)
{
    return llama2_reward_step(reward_trainer, s, NULL);
}
static llama2_status use_pairs_evaluate(void *s)
{
    return llama2_reward_evaluate(reward_model, s, NULL, NULL);
}

static llama2_status use_batch_of_pairs(void *s)
{
    llama2_pairs own = pairs;
    own.batch = s;
    return llama2_reward_evaluate(reward_model, &own, NULL, NULL);
}

static llama2_status use_mixture(void *s)
{
    MAKES(llama2_mixture, llama2_mixture_create(ctx, 1, offsets + 1, NULL, NULL, s, &made));
}
static llama2_status use_card(void *s)
{
    llama2_reward_card card = {.struct_size = sizeof card};
    return llama2_reward_card_make(ctx, s, &card);
}
static llama2_status use_calibration(void *s)
{
    static int64_t count;
    static double confidence, accuracy;
    return llama2_reward_calibration(s, 1, &count, &confidence, &accuracy, NULL, NULL);
}
static llama2_status use_histogram(void *s)
{
    static int64_t chosen, rejected;
    return llama2_reward_histogram(s, 0, 1, 1, &chosen, &rejected);
}

static llama2_status use_host_file(void *s)
{
    MAKES(llama2_model, llama2_model_load_host(ctx, s, NULL, &made));
}

static const int32_t turns[] = {1};
static const char *const words[] = {"a"};
static const llama2_gatt_dialogues dialogues = {
    .struct_size = sizeof dialogues, .n_dialogues = 1, .n_turns = turns, .messages = words, .instructions = words};
static llama2_status use_gatt(void *s)
{
    MAKES(llama2_gatt, llama2_gatt_create(tokenizer, &dialogues, s, &made));
}
static llama2_status use_dialogues(void *s)
{
    MAKES(llama2_gatt, llama2_gatt_create(tokenizer, s, NULL, &made));
}
static llama2_status use_batch_after(void *s)
{
    MAKES(llama2_rollouts, llama2_rollouts_after(rollouts, s, &made));
}

static llama2_status use_batch_distill(void *s)
{
    uint8_t keep[2];
    MAKES(llama2_rollouts, llama2_distill(critic_trunk, reward_model, s, s, NULL, NULL, &made, keep, NULL));
}

static llama2_status use_rollout_distill(void *s)
{
    uint8_t keep[2];
    MAKES(llama2_rollouts, llama2_distill(critic_trunk, reward_model, &batch, &batch, s, NULL, &made, keep, NULL));
}

static llama2_status get_distilled(void *s)
{
    uint8_t keep[2];
    return llama2_distill_gate(rollouts, rollouts, keep, s);
}

/* A turn, or an answer, of a new dialogue. */
static llama2_status get_gatt(void *s, int turn)
{
    llama2_gatt *gatt;
    llama2_model *wide;
    llama2_config c = config;
    c.max_seq_len = 64;
    ck_ok(llama2_model_create(ctx, &c, NULL, &wide));
    ck_ok(llama2_gatt_create(tokenizer, &dialogues, NULL, &gatt));
    llama2_status status = turn ? llama2_gatt_turn(gatt, wide, NULL, s) : llama2_gatt_answer_get(gatt, 0, 0, s);
    ck_assert_int_eq(llama2_gatt_turns_left(gatt), !(turn && status == LLAMA2_OK));
    llama2_gatt_free(gatt);
    llama2_model_free(wide);
    return status;
}

static llama2_status get_gatt_turn(void *s)
{
    return get_gatt(s, 1);
}
static llama2_status get_gatt_answer(void *s)
{
    return get_gatt(s, 0);
}

static llama2_status get_batch(void *s)
{
    return llama2_packer_batch(packer, s);
}
static llama2_status get_config(void *s)
{
    return llama2_model_config(model, s);
}
static llama2_status get_preset(void *s)
{
    return llama2_config_preset(s, LLAMA2_PRESET_13B);
}
static llama2_status get_tensor_info(void *s)
{
    return llama2_model_tensor_info(model, 0, s);
}
static llama2_status get_summary(void *s)
{
    return llama2_inspection_summarise(inspection, s);
}
static llama2_status get_inspected_tensor(void *s)
{
    return llama2_inspection_get_tensor(inspection, 0, s);
}
static llama2_status get_inspected_config(void *s)
{
    return llama2_inspection_config(inspection, s);
}
static llama2_status get_loss(void *s)
{
    return llama2_model_evaluate(critic_trunk, &batch, s);
}
static llama2_status get_loss_accumulated(void *s)
{
    return llama2_trainer_accumulate(trainer, &batch, s);
}
static llama2_status get_memory(void *s)
{
    return llama2_memory_estimate(&config, NULL, s);
}
static llama2_status get_source(void *s)
{
    return llama2_shards_source_info(shards, 0, s);
}
static llama2_status get_step(void *s)
{
    return llama2_sft_step(trainer, &batch, s);
}
static llama2_status get_reward(void *s)
{
    return llama2_reward_step(reward_trainer, &pairs, s);
}
static llama2_status get_reward_evaluated(void *s)
{
    return llama2_reward_evaluate(reward_model, &pairs, s, NULL);
}
static llama2_status get_card(void *s)
{
    return llama2_reward_card_make(ctx, &scored_pairs, s);
}
static llama2_status get_view(void *s)
{
    return llama2_rollouts_view_get(rollouts, s);
}
static llama2_status get_pool(void *s)
{
    return llama2_pool_add(pool, rollouts, (const uint64_t[]){0, 1}, NULL, s);
}
static llama2_status get_sample(void *s)
{
    return llama2_pool_best(pool, 0, 0, 0, s);
}
static llama2_status get_preference(void *s)
{
    return llama2_preferences_get(preferences, 0, s);
}
static llama2_status get_preference_summary(void *s)
{
    return llama2_preferences_summarise(preferences, -1, s);
}
static llama2_status get_agreement(void *s)
{
    return llama2_preferences_agreement(preferences, -1, s);
}
static llama2_status get_comparisons(void *s)
{
    MAKES(llama2_comparisons, llama2_comparisons_create(preferences, tokenizer, NULL, 0, 1, NULL, s, &made));
}
static llama2_status get_pairs(void *s)
{
    return llama2_comparisons_pairs(comparisons, NULL, 0, 1, s);
}
static llama2_status get_ppo(void *s)
{
    return llama2_ppo_advantages(rollouts, NULL, s);
}

/* --- the table ------------------------------------------------------------------------------- */

typedef void (*init_fn)(void *options, size_t size);
typedef llama2_status (*use_fn)(void *value);

typedef struct in_row {
    const char *name;
    size_t size;
    init_fn init;        /* or NULL: */
    const void *example; /* what a struct without defaults holds */
    use_fn use;
} in_row;

typedef struct out_row {
    const char *name;
    size_t size;
    use_fn get;
} out_row;

#define OPTIONS(type, use)                                                                                             \
    {                                                                                                                  \
#type, sizeof(type), init_##type, NULL, use                                                                    \
    }
#define VIEW(type, example, use)                                                                                       \
    {                                                                                                                  \
#type, sizeof(type), NULL, example, use                                                                        \
    }
#define OUT(type, get)                                                                                                 \
    {                                                                                                                  \
#type, sizeof(type), get                                                                                       \
    }

/* The init functions by one type. */
#define INIT(type)                                                                                                     \
    static void init_##type(void *options, size_t size)                                                                \
    {                                                                                                                  \
        type##_init(options, size);                                                                                    \
    }
INIT(llama2_context_options)
INIT(llama2_tokenizer_options)
INIT(llama2_tokenizer_pieces)
INIT(llama2_chat)
INIT(llama2_packer_options)
INIT(llama2_gatt_options)
INIT(llama2_config)
INIT(llama2_model_options)
INIT(llama2_memory_options)
INIT(llama2_sampling)
INIT(llama2_shards_options)
INIT(llama2_mixture_options)
INIT(llama2_optimizer_options)
INIT(llama2_trainer_options)
INIT(llama2_reward_options)
INIT(llama2_rollout_options)
INIT(llama2_combine_options)
INIT(llama2_pool_add_options)
INIT(llama2_preference)
INIT(llama2_annotation)
INIT(llama2_preferences_sample_options)
INIT(llama2_comparisons_options)
INIT(llama2_ppo_options)
INIT(llama2_convert_options)

static const in_row in_rows[] = {
    OPTIONS(llama2_context_options, use_context),
    OPTIONS(llama2_tokenizer_options, use_tokenizer_options),
    OPTIONS(llama2_tokenizer_pieces, use_pieces),
    OPTIONS(llama2_chat, use_chat),
    OPTIONS(llama2_packer_options, use_packer),
    OPTIONS(llama2_config, use_config),
    OPTIONS(llama2_model_options, use_model),
    OPTIONS(llama2_memory_options, use_memory_options),
    OPTIONS(llama2_sampling, use_sampling),
    OPTIONS(llama2_shards_options, use_shards),
    OPTIONS(llama2_optimizer_options, use_optimizer),
    OPTIONS(llama2_trainer_options, use_trainer),
    OPTIONS(llama2_reward_options, use_reward),
    OPTIONS(llama2_rollout_options, use_rollout),
    OPTIONS(llama2_combine_options, use_combine),
    OPTIONS(llama2_pool_add_options, use_pool_add),
    OPTIONS(llama2_ppo_options, use_ppo_advantages),
    OPTIONS(llama2_ppo_options, use_ppo_update),
    VIEW(llama2_batch, &batch, use_batch_logits),
    VIEW(llama2_batch, &batch, use_batch_sft),
    VIEW(llama2_batch, &batch, use_batch_score),
    VIEW(llama2_batch, &batch, use_batch_rollout),
    VIEW(llama2_batch, &batch, use_batch_rollouts),
    VIEW(llama2_batch, &batch, use_batch_gradients),
    VIEW(llama2_batch, &batch, use_batch_of_pairs),
    VIEW(llama2_pairs, &pairs, use_pairs_step),
    VIEW(llama2_pairs, &pairs, use_pairs_evaluate),
    VIEW(llama2_host_file, &host_file, use_host_file),
    OPTIONS(llama2_convert_options, use_convert),
    OPTIONS(llama2_mixture_options, use_mixture),
    VIEW(llama2_scored_pairs, &scored_pairs, use_card),
    VIEW(llama2_scored_pairs, &scored_pairs, use_calibration),
    VIEW(llama2_scored_pairs, &scored_pairs, use_histogram),
    VIEW(llama2_preference, &record, use_preference),
    OPTIONS(llama2_preference, use_preference),
    VIEW(llama2_annotation, &annotation, use_annotation),
    OPTIONS(llama2_annotation, use_annotation),
    OPTIONS(llama2_comparisons_options, use_comparisons),
    OPTIONS(llama2_preferences_sample_options, use_preferences_sample),
    VIEW(llama2_chat, &dialogue, use_dialogue),
    OPTIONS(llama2_gatt_options, use_gatt),
    OPTIONS(llama2_rollout_options, use_rollout_distill),
    VIEW(llama2_gatt_dialogues, &dialogues, use_dialogues),
    VIEW(llama2_batch, &batch, use_batch_after),
    VIEW(llama2_batch, &batch, use_batch_distill),
};

static const out_row out_rows[] = {
    OUT(llama2_batch, get_batch),
    OUT(llama2_config, get_config),
    OUT(llama2_config, get_preset),
    OUT(llama2_tensor_info, get_tensor_info),
    OUT(llama2_loss, get_loss),
    OUT(llama2_loss, get_loss_accumulated),
    OUT(llama2_memory, get_memory),
    OUT(llama2_shards_source, get_source),
    OUT(llama2_step_metrics, get_step),
    OUT(llama2_reward_metrics, get_reward),
    OUT(llama2_reward_metrics, get_reward_evaluated),
    OUT(llama2_reward_card, get_card),
    OUT(llama2_rollouts_view, get_view),
    OUT(llama2_pool_metrics, get_pool),
    OUT(llama2_pool_sample, get_sample),
    OUT(llama2_distill_metrics, get_distilled),
    OUT(llama2_gatt_metrics, get_gatt_turn),
    OUT(llama2_gatt_answer, get_gatt_answer),
    OUT(llama2_ppo_metrics, get_ppo),
    OUT(llama2_preference, get_preference),
    OUT(llama2_preference_summary, get_preference_summary),
    OUT(llama2_agreement, get_agreement),
    OUT(llama2_comparisons_counts, get_comparisons),
    OUT(llama2_pairs, get_pairs),
    OUT(llama2_inspection_summary, get_summary),
    OUT(llama2_inspection_tensor, get_inspected_tensor),
    OUT(llama2_config, get_inspected_config),
};
/* llama2_rollout_event and llama2_convert_event are given by the library: struct_size says how much of them there is.
 * See test_event. */

enum { N_IN = sizeof in_rows / sizeof *in_rows, N_OUT = sizeof out_rows / sizeof *out_rows, TAIL = 64 };
static const uint32_t no_sizes[] = {0, 1, 4, 7, 9, 12, 20, 65544, 0xfffffff8};

static void set_size(void *value, uint32_t size)
{
    memcpy(value, &size, sizeof size);
}

/* A struct of exactly `size` bytes on the heap, so that a sanitizer or valgrind sees what goes beyond. */
static unsigned char *full_struct(const in_row *row, size_t size)
{
    unsigned char *value = calloc(1, size), whole[1024] = {0};
    ck_assert(value && row->size <= sizeof whole);
    if (row->init)
        row->init(whole, row->size);
    else
        memcpy(whole, row->example, row->size);
    memcpy(value, whole, size < row->size ? size : row->size);
    set_size(value, (uint32_t)size);
    return value;
}

START_TEST(test_init)
{
    const in_row *row = &in_rows[_i];
    if (!row->init) return;
    unsigned char whole[1024], part[1024 + TAIL];
    uint32_t written;
    row->init(whole, row->size);
    row->init(NULL, row->size);
    for (size_t size = 0; size <= row->size + TAIL; size++) {
        memset(part, 0x5a, sizeof part);
        row->init(part, size);
        for (size_t i = size; i < sizeof part; i++)
            ck_assert_msg(part[i] == 0x5a, "%s: init of %zu bytes wrote byte %zu", row->name, size, i);
        if (size < sizeof written) {
            ck_assert_msg(part[0] == 0x5a, "%s: init of %zu bytes wrote something", row->name, size);
            continue;
        }
        memcpy(&written, part, sizeof written);
        ck_assert_uint_eq(written, size);
        for (size_t i = sizeof written; i < size; i++)
            ck_assert_msg(part[i] == (i < row->size ? whole[i] : 0),
                          "%s: init of %zu bytes: byte %zu is not its default", row->name, size, i);
    }
}
END_TEST

START_TEST(test_in)
{
    const in_row *row = &in_rows[_i];
    for (size_t size = 8; size <= row->size + TAIL; size += 8) {
        unsigned char *value = full_struct(row, size);
        llama2_status status = row->use(value);
        ck_assert_msg(status != LLAMA2_E_ABI, "%s of %zu bytes: %s", row->name, size, llama2_last_error());
        free(value);
    }
    for (size_t byte = row->size; byte < row->size + TAIL; byte++) {
        unsigned char *value = full_struct(row, row->size + TAIL);
        value[byte] = 1;
        ck_fails(row->use(value), LLAMA2_E_ABI);
        ck_assert_msg(strstr(llama2_last_error(), row->name) != NULL, "the message does not name %s: %s", row->name,
                      llama2_last_error());
        free(value);
    }
    for (size_t i = 0; i < sizeof no_sizes / sizeof *no_sizes; i++) {
        unsigned char *value = full_struct(row, row->size);
        set_size(value, no_sizes[i]);
        ck_fails(row->use(value), LLAMA2_E_ABI);
        free(value);
    }
}
END_TEST

/* A whole struct is accepted: else the sizes above would pass for another reason. The defaults of some are no
 * vocabulary, no file, no dialogue, no record, no choice, and longer than this model's context. */
START_TEST(test_whole)
{
    const in_row *row = &in_rows[_i];
    int empty = row->use == use_pieces || row->use == use_tokenizer_options || row->use == use_chat ||
                row->use == use_preferences_sample ||
                (row->init && (row->use == use_preference || row->use == use_annotation));
    unsigned char *value = full_struct(row, row->size);
    llama2_status status = row->use(value);
    ck_assert_msg(empty ? status < 0 && status != LLAMA2_E_ABI : status == LLAMA2_OK, "%s: %s", row->name,
                  llama2_last_error());
    free(value);
}
END_TEST

/* Where layout.c has the reserved field of a struct; 0: it has none. */
static size_t reserved_field(const char *struct_name)
{
    char line[256], name[128];
    size_t at = 0;
    FILE *layout = fopen(LLAMA2_TEST_SOURCE "/abi/layout.c", "r");
    ck_assert_ptr_nonnull(layout);
    while (!at && fgets(line, sizeof line, layout))
        if (sscanf(line, "FIELD(%127[a-z0-9_], reserved, %zu, 4);", name, &at) == 2 && strcmp(name, struct_name) != 0)
            at = 0;
    fclose(layout);
    return at;
}

START_TEST(test_reserved)
{
    const in_row *row = &in_rows[_i];
    size_t at = reserved_field(row->name);
    if (!at) return;
    unsigned char *value = full_struct(row, row->size);
    value[at + 3] = 1;
    ck_fails(row->use(value), LLAMA2_E_ABI);
    ck_assert_msg(strstr(llama2_last_error(), row->name) && strstr(llama2_last_error(), "reserved"), "%s: %s",
                  row->name, llama2_last_error());
    /* What ends before it is older, and has no such field. */
    set_size(value, (uint32_t)(at / 8 * 8));
    if (at >= 8) ck_assert_msg(row->use(value) != LLAMA2_E_ABI, "%s: %s", row->name, llama2_last_error());
    free(value);
}
END_TEST

START_TEST(test_out)
{
    const out_row *row = &out_rows[_i];
    for (size_t size = 8; size <= row->size + TAIL; size += 8) {
        unsigned char *value = calloc(1, size);
        uint32_t kept;
        set_size(value, (uint32_t)size);
        ck_ok(row->get(value));
        memcpy(&kept, value, sizeof kept);
        ck_assert_uint_eq(kept, size);
        for (size_t i = row->size; i < size; i++) ck_assert_msg(value[i] == 0, "%s: byte %zu is set", row->name, i);
        free(value);
    }
    for (size_t i = 0; i < sizeof no_sizes / sizeof *no_sizes; i++) {
        unsigned char *value = calloc(1, row->size), *before = calloc(1, row->size);
        int64_t step = llama2_trainer_step(trainer);
        set_size(value, no_sizes[i]);
        set_size(before, no_sizes[i]);
        ck_fails(row->get(value), LLAMA2_E_ABI);
        ck_assert_mem_eq(value, before, row->size);
        ck_assert_int_eq(llama2_trainer_step(trainer), step); /* refused before the work, not after it */
        free(before);
        free(value);
    }
}
END_TEST

static int32_t on_event(void *user, const llama2_rollout_event *event)
{
    uint32_t *size = user;
    *size = event->struct_size;
    return 0;
}

START_TEST(test_event)
{
    llama2_rollout_options options;
    llama2_rollouts *made;
    uint32_t size = 0;
    llama2_rollout_options_init(&options, sizeof options);
    options.max_new_tokens = 2, options.progress = on_event, options.user = &size;
    ck_ok(llama2_rollout(critic_trunk, &batch, &options, &made));
    llama2_rollouts_free(made);
    ck_assert_uint_eq(size, sizeof(llama2_rollout_event));
}
END_TEST

Suite *test_suite(void)
{
    Suite *suite = suite_create("abi/struct_size");
    TCase *all = tcase_create("struct_size");
    tcase_set_timeout(all, 120);
    tcase_add_checked_fixture(all, set_up, tear_down);
    tcase_add_loop_test(all, test_init, 0, N_IN);
    tcase_add_loop_test(all, test_in, 0, N_IN);
    tcase_add_loop_test(all, test_whole, 0, N_IN);
    tcase_add_loop_test(all, test_reserved, 0, N_IN);
    tcase_add_loop_test(all, test_out, 0, N_OUT);
    tcase_add_test(all, test_event);
    suite_add_tcase(suite, all);
    return suite;
}
