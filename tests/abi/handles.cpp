// The handles of llama2.hpp: move only, no larger than a pointer, moved without a throw; errors are std::runtime_error.
#include <llama2/llama2.hpp>
#include <type_traits>

template <class Handle> constexpr bool holds()
{
    return !std::is_copy_constructible<Handle>::value && !std::is_copy_assignable<Handle>::value && std::is_nothrow_move_constructible<Handle>::value &&
           std::is_nothrow_move_assignable<Handle>::value && std::is_nothrow_default_constructible<Handle>::value && sizeof(Handle) == sizeof(void *);
}

static_assert(holds<llama2::context>() && holds<llama2::tokenizer>() && holds<llama2::decoder>() && holds<llama2::model>() && holds<llama2::session>(), "");
static_assert(holds<llama2::packer>() && holds<llama2::shards>() && holds<llama2::shard_writer>() && holds<llama2::optimizer>(), "");
static_assert(holds<llama2::trainer>() && holds<llama2::reward_model>() && holds<llama2::rollouts>() && holds<llama2::pool>(), "");
static_assert(holds<llama2::preferences>() && holds<llama2::comparisons>() && holds<llama2::mixture>() && holds<llama2::gatt>(), "");
static_assert(holds<llama2::checkpoint>(), "");
static_assert(std::is_convertible<llama2::model &, llama2_model *>::value, "a handle goes where its pointer goes");
static_assert(std::is_base_of<std::runtime_error, llama2::error>::value, "");
