/*
 * libllama2 for C++17: handles that free themselves, errors as exceptions. Nothing else: functions are those of the C
 * headers.
 *
 *     llama2::context ctx;
 *     llama2::check(llama2_context_create(nullptr, ctx.out()));
 *     auto options = llama2::defaults(llama2_trainer_options_init);
 */
#ifndef LLAMA2_LLAMA2_HPP
#define LLAMA2_LLAMA2_HPP

#include "llama2.h"

#include <cstddef>
#include <memory>
#include <stdexcept>

namespace llama2
{

/* A function failed: one of LLAMA2_E_*, and the library's message. */
class error : public std::runtime_error
{
  public:
    error(llama2_status status, const char *message) : std::runtime_error(message), code_(status) {}
    llama2_status code() const noexcept { return code_; }

  private:
    llama2_status code_;
};

inline void check(llama2_status status)
{
    if (status < 0) throw error(status, llama2_last_error());
}

/* An options struct with its defaults, from its init function. */
template <class T> T defaults(void (*init)(T *, std::size_t))
{
    T value{};
    init(&value, sizeof value);
    return value;
}

/* A struct without defaults (a batch, metrics, a view): zeros and its size. */
template <class T> T sized()
{
    T value{};
    value.struct_size = sizeof value;
    return value;
}

/* Owns one reference. Converts to the pointer that the C functions want; out() is for those that make a handle: a
 * call that fails empties the variable, and what it held is freed only after the call, so that a trainer over a living
 * one of the same model is BUSY. */
template <class T, void (*Free)(T *)> class handle
{
    struct deleter {
        void operator()(T *pointer) const noexcept { Free(pointer); }
    };
    /* Lives until the end of the call's full expression, and takes what the call made. */
    class output
    {
      public:
        explicit output(handle &owner) noexcept : owner_(owner) {}
        output(const output &) = delete;
        output &operator=(const output &) = delete;
        ~output() { owner_.pointer_.reset(made_); }
        operator T **() noexcept { return &made_; }

      private:
        handle &owner_;
        T *made_ = nullptr;
    };

  public:
    handle() noexcept = default;
    explicit handle(T *pointer) noexcept : pointer_(pointer) {}
    operator T *() const noexcept { return pointer_.get(); }
    T *get() const noexcept { return pointer_.get(); }
    T *release() noexcept { return pointer_.release(); }
    output out() noexcept { return output(*this); }

  private:
    std::unique_ptr<T, deleter> pointer_;
};

using context = handle<llama2_context, llama2_context_free>;
using tokenizer = handle<llama2_tokenizer, llama2_tokenizer_free>;
using decoder = handle<llama2_decoder, llama2_decoder_free>;
using model = handle<llama2_model, llama2_model_free>;
using session = handle<llama2_session, llama2_session_free>;
using stops = handle<llama2_stops, llama2_stops_free>;
using packer = handle<llama2_packer, llama2_packer_free>;
using shards = handle<llama2_shards, llama2_shards_free>;
using mixture = handle<llama2_mixture, llama2_mixture_free>;
using shard_writer = handle<llama2_shard_writer, llama2_shard_writer_free>;
using optimizer = handle<llama2_optimizer, llama2_optimizer_free>;
using trainer = handle<llama2_trainer, llama2_trainer_free>;
using reward_model = handle<llama2_reward_model, llama2_reward_model_free>;
using rollouts = handle<llama2_rollouts, llama2_rollouts_free>;
using pool = handle<llama2_pool, llama2_pool_free>;
using preferences = handle<llama2_preferences, llama2_preferences_free>;
using comparisons = handle<llama2_comparisons, llama2_comparisons_free>;
using gatt = handle<llama2_gatt, llama2_gatt_free>;
using checkpoint = handle<llama2_checkpoint, llama2_checkpoint_free>;
using inspection = handle<llama2_inspection, llama2_inspection_free>;

} // namespace llama2

#endif
