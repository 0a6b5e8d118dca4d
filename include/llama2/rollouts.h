/*
 * Rollouts: responses sampled from a model, with everything that the RLHF stages compute on them. Rejection sampling
 * and PPO both begin here:
 *
 *     rollout -> score -> advantages -> update        (PPO)
 *     rollout -> score -> pool -> SFT                 (rejection sampling)
 *
 * A host can put its own reward, filter or advantage between any two, and save the handle and go on later.
 */
#ifndef LLAMA2_ROLLOUTS_H
#define LLAMA2_ROLLOUTS_H

#include "batch.h"
#include "model.h"
#include "reward.h"
#include "session.h"
#include "tokenizer.h"
#include "types.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct llama2_rollout_event {
    uint32_t struct_size;
    int32_t reserved;
    int64_t samples_done, samples; /* responses */
    int64_t tokens;                /* sampled so far */
} llama2_rollout_event;

/* Called now and then while sampling, on the calling thread; types.h says what it may do. Non-zero stops with
 * LLAMA2_E_USER. */
typedef int32_t (*llama2_rollout_fn)(void *user, const llama2_rollout_event *event);

typedef struct llama2_rollout_options {
    uint32_t struct_size;
    int32_t samples_per_prompt; /* K; default 1 */
    int32_t max_new_tokens;     /* longest response, its EOS included; default 256 */
    int32_t top_k;              /* as in llama2_sampling; default 0 */
    double temperature;         /* default 1; 0: greedy; else 1e-6 .. 1e6 */
    double top_p;               /* default 1 */
    uint64_t seed;              /* default 0 */
    uint64_t first_sample_id;   /* sample k of prompt i has the id first_sample_id + i * K + k: what it says depends on
                                   this alone; default 0 */
    int32_t max_parallel;       /* sequences decoded at once; 0 (default): the library's choice */
    int32_t reserved;
    llama2_rollout_fn progress; /* NULL: none */
    void *user;
    const llama2_sampling *sampling; /* NULL (default): as above. Else all of it is taken from here, min-p,
                                               penalties and bias too, sample_id as the first id, and the five fields
                                               above that it has (top_k ... first_sample_id) are not looked at */
    /* Stop strings: as llama2_stops behind llama2_decoder_create(tokenizer, decode_flags, ...). Tokenizer and texts are
     * only read, and until the call returns; a tokenizer may serve many threads. */
    const llama2_tokenizer *tokenizer; /* of this model; needed where there are stop strings */
    const char *const *stops;          /* n_stops texts, any bytes, none of them empty */
    const size_t *stop_lengths;        /* NULL: the texts end with NUL */
    int32_t n_stops;                   /* default 0 */
    uint32_t decode_flags;             /* LLAMA2_DECODE_*, how that text is read; 0 (default): a space that begins the
                                          response is not seen */
} llama2_rollout_options;

/* Writes the defaults into at most `size` bytes. Since 0.1. */
LLAMA2_API void llama2_rollout_options_init(llama2_rollout_options *options, size_t size);

/*
 * Samples K responses to each sequence of `prompts` (weights are not used; the first K samples belong to the first
 * prompt). A response ends with EOS, which is part of it, or at max_new_tokens or the context length. A prompt is read
 * once for its K samples. The log-probabilities are those of the full distribution at the temperature (at 1 when it is
 * 0), before bias, penalties, top-k, top-p and min-p.
 *
 * With stop strings a response also ends with the token by which its text comes to one. All its tokens stay, those of
 * the stop string and what the last one has behind it too: an episode is what was sampled, no more and no less, with a
 * log-probability each. It has `ended`, as with EOS, which is what counts for missing_eos_penalty. Where the text is
 * wanted without the stop string, llama2_stops cuts it. EOS itself, and a token that the tokenizer does not have, are
 * no text.
 *
 * Errors: INVALID for options or prompts that can't be, a token that the model does not have among them; CONTEXT when a
 * prompt leaves no room; LIMIT for more than INT32_MAX responses; MISMATCH when the tokenizer has more pieces than the
 * model; BUSY while the model is being trained by another call; NUMERIC when logits are not finite, or the bias leaves
 * no token; USER when `progress` stopped it; CANCELLED; NOMEM. Since 0.1.
 */
LLAMA2_API llama2_status llama2_rollout(llama2_model *policy, const llama2_batch *prompts,
                                        const llama2_rollout_options *options, llama2_rollouts **out);

/* Rollouts from recorded sequences: prompt and response in one, prompt_lengths[s] >= 1 tokens of prompt, then at least
 * one of response; K samples a prompt, all after that prompt, n_sequences a multiple of K. A response has ended when
 * its last token is eos_id. The arrays below are then set by llama2_rollouts_set. Errors: INVALID; NOMEM. Since 0.1. */
LLAMA2_API llama2_status llama2_rollouts_create(llama2_context *ctx, const llama2_batch *sequences,
                                                const int32_t *prompt_lengths, int32_t samples_per_prompt,
                                                int32_t eos_id, double temperature, llama2_rollouts **out);
LLAMA2_API void llama2_rollouts_free(llama2_rollouts *rollouts);

/*
 * The same responses after other prompts: prompt i of `prompts` (weights are not used) in place of prompt i of
 * `rollouts`, tokens of the responses, ended, ended_by, samples_per_prompt and temperature as they are. Numbers that
 * belong to the old prompts (log-probabilities, values, scores, ...) are not carried over. What was sampled under an
 * instruction is learnt without it so: context distillation (distill.h) and Ghost Attention (gatt.h) are this. Errors:
 * MISMATCH for another number of prompts; INVALID. Since 0.1.
 */
LLAMA2_API llama2_status llama2_rollouts_after(const llama2_rollouts *rollouts, const llama2_batch *prompts,
                                               llama2_rollouts **out);

/* Adds the samples with keep[s] != 0 (n_samples of them; NULL: all) to a packer as examples for llama2_sft_step: weight
 * 1 on the tokens of the response, 0 on those of the prompt. On failure the packer is as it was. Errors: INVALID for a
 * recorded token below 0; LIMIT as of llama2_packer_add; NOMEM. Since 0.1. */
LLAMA2_API llama2_status llama2_rollouts_pack(const llama2_rollouts *rollouts, const uint8_t *keep,
                                              llama2_packer *packer);

/* What ended a response. */
enum {
    LLAMA2_END_LENGTH = 0, /* max_new_tokens; or not known, in rollouts from recorded sequences */
    LLAMA2_END_EOS = 1,    /* a token that ends texts, the last one */
    LLAMA2_END_STOP = 2,   /* a stop string */
    LLAMA2_END_CONTEXT = 3 /* the model's context is full */
};

/* What the handle holds. Pointers are valid until the handle is changed or freed; NULL where nothing has been computed
 * or set. Per-token arrays have n_tokens values, 0 on the prompt. */
typedef struct llama2_rollouts_view {
    uint32_t struct_size;
    int32_t n_samples, samples_per_prompt;
    int32_t reserved;
    int64_t n_tokens;
    double temperature;
    const int32_t *tokens;         /* prompt and response of each sample */
    const int64_t *offsets;        /* n_samples + 1 */
    const int32_t *prompt_lengths; /* n_samples */
    const uint8_t *ended;          /* n_samples; 1: the response ends with EOS or a stop string */
    const float *logprobs;         /* of the policy that sampled */
    const float *ref_logprobs;     /* of the reference */
    const float *values;           /* at response token t: the critic's value of the state before it */
    const float *advantages, *returns;
    const float *scores;                         /* n_samples: what the stages maximise */
    const float *helpful_scores, *safety_scores; /* n_samples: what the combination takes */
    const uint8_t *ended_by;                     /* n_samples, LLAMA2_END_* */
} llama2_rollouts_view;

/* Set view->struct_size first. Since 0.1. */
LLAMA2_API llama2_status llama2_rollouts_view_get(const llama2_rollouts *rollouts, llama2_rollouts_view *view);

enum {
    LLAMA2_ROLLOUTS_LOGPROBS = 0,
    LLAMA2_ROLLOUTS_REF_LOGPROBS = 1,
    LLAMA2_ROLLOUTS_VALUES = 2,
    LLAMA2_ROLLOUTS_ADVANTAGES = 3,
    LLAMA2_ROLLOUTS_RETURNS = 4,
    LLAMA2_ROLLOUTS_SCORES = 5,
    LLAMA2_ROLLOUTS_HELPFUL_SCORES = 6,
    LLAMA2_ROLLOUTS_SAFETY_SCORES = 7
};

/* Puts the host's own numbers into an array: n must be n_tokens or n_samples. All finite, else NUMERIC. Errors: INVALID
 * for another n or no array; the array is then as it was. Since 0.1. */
LLAMA2_API llama2_status llama2_rollouts_set(llama2_rollouts *rollouts, int32_t array, const float *values, int64_t n);

/* --- scores ---------------------------------------------------------------------------------- */

/* scores = the reward model's, after shift and scale. It reads the tokens as they are, so that its tokenizer must be
 * the policy's: the library can't check it. Errors: INVALID for a token that it does not have; CONTEXT when a
 * sample does not fit its context; BUSY while it is being trained by another call; NUMERIC when a score is not finite,
 * and SCORES are then as they were; CANCELLED. Since 0.1. */
LLAMA2_API llama2_status llama2_rollouts_score(llama2_rollouts *rollouts, const llama2_reward_model *reward_model);

/* The same into one of SCORES, HELPFUL_SCORES, SAFETY_SCORES. Since 0.1. */
LLAMA2_API llama2_status llama2_rollouts_score_into(llama2_rollouts *rollouts, const llama2_reward_model *reward_model,
                                                    int32_t array);

/*
 * The paper's combination (3.2.3): Rc = Rs if the prompt is about safety or Rs < threshold, else Rh; scores =
 * WHITEN(LOGIT(Rc)). On scores before the sigmoid, which the logit undoes exactly: the threshold 0.15 is -1.7346. A
 * reward model's shift and scale count: comparisons alone leave open where 0 lies, and a model that was centred puts
 * the threshold 1.7346 below its mean answer.
 */
typedef struct llama2_combine_options {
    uint32_t struct_size;
    int32_t whiten;             /* 1 (default): mean 0, variance 1 (unbiased, n - 1) over these rollouts; 0: raw */
    double threshold;           /* on sigmoid(Rs); default 0.15 */
    double missing_eos_penalty; /* taken from the score of a response that has not ended, after the whitening; what
                                   llama2_ppo_options takes comes on top; at most FLT_MAX; default 0 */
} llama2_combine_options;

/* Writes the defaults into at most `size` bytes. Since 0.1. */
LLAMA2_API void llama2_combine_options_init(llama2_combine_options *options, size_t size);

/* Needs HELPFUL_SCORES and SAFETY_SCORES. is_safety: one a prompt (n_samples / K), or NULL: none. Errors: INVALID;
 * STATE when an array is not there; NUMERIC when a score is not finite as a float, and SCORES are then as they were.
 * Since 0.1. */
LLAMA2_API llama2_status llama2_rollouts_combine(llama2_rollouts *rollouts, const uint8_t *is_safety,
                                                 const llama2_combine_options *options);

/* --- files ----------------------------------------------------------------------------------- */

/* One file with everything in the handle, written atomically, checked by checksums when read. Errors: IO, NOT_FOUND,
 * NOMEM; of saving NUMERIC (a number that is not finite), BUSY; of a file FORMAT (also for a pool, or another state),
 * TRUNCATED, CORRUPT, UNSUPPORTED (of a newer version). Since 0.1. */
LLAMA2_API llama2_status llama2_rollouts_save(const llama2_rollouts *rollouts, const char *path);
LLAMA2_API llama2_status llama2_rollouts_load(llama2_context *ctx, const char *path, llama2_rollouts **out);

#ifdef __cplusplus
}
#endif

#endif
