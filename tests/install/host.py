"""host.c in Python, with ctypes alone; llama2.py is the library's own list of declarations."""
import ctypes
import struct

import llama2
from llama2 import handle

lib = llama2.load()


def new(struct_type, **fields):
    return llama2.new(lib, struct_type, **fields)


def print_bits(name, value):
    print(name, struct.pack(">d", value).hex())


def print_hash(name, data):
    h = 0xCBF29CE484222325  # FNV-1a
    for byte in data:
        h = (h ^ byte) * 0x100000001B3 & 0xFFFFFFFFFFFFFFFF
    print(name, f"{h:016x}")


def reward(response):
    """The share of even tokens in the response."""
    return sum(token % 2 == 0 for token in response) / len(response)


def batch_of(tokens, offsets, weights=None):
    n = len(offsets) - 1
    return new(llama2.llama2_batch, n_sequences=n, n_tokens=offsets[n], tokens=(ctypes.c_int32 * len(tokens))(*tokens),
               offsets=(ctypes.c_int64 * len(offsets))(*offsets), loss_weight=weights and (ctypes.c_float * len(weights))(*weights))


ctx = handle(llama2.llama2_context)
lib.llama2_context_create(new(llama2.llama2_context_options, seed=7, n_threads=2), ctx)
config = new(llama2.llama2_config, vocab_size=96, dim=32, n_layers=2, n_heads=4, n_kv_heads=2, head_dim=8, ffn_dim=64, max_seq_len=64)
policy, reference = handle(llama2.llama2_model), handle(llama2.llama2_model)
lib.llama2_model_create(ctx, config, None, policy)
adamw, critic_adamw = handle(llama2.llama2_optimizer), handle(llama2.llama2_optimizer)
lib.llama2_optimizer_create(ctx, None, adamw)
lib.llama2_optimizer_create(ctx, None, critic_adamw)
trainer, critic_trainer = handle(llama2.llama2_trainer), handle(llama2.llama2_trainer)
lib.llama2_trainer_create(ctx, policy, adamw, None, trainer)

tokens = [3 + (i * i * 7 + i) % 93 for i in range(48)]
weights = [0.0 if i % 12 < 4 else 1.0 for i in range(48)]
step = new(llama2.llama2_step_metrics)
lib.llama2_sft_step(trainer, batch_of(tokens, [0, 12, 24, 36, 48], weights), step)
print_bits("sft loss", step.loss)
print_bits("sft gradient norm", step.grad_norm)

critic = handle(llama2.llama2_reward_model)
lib.llama2_model_clone(policy, reference)
lib.llama2_reward_model_create(ctx, policy, None, critic)
lib.llama2_trainer_create_for_reward(ctx, critic, critic_adamw, None, critic_trainer)
rollouts = handle(llama2.llama2_rollouts)
options = new(llama2.llama2_rollout_options, samples_per_prompt=3, max_new_tokens=8, seed=11)
lib.llama2_rollout(policy, batch_of(tokens, [0, 4, 8, 12, 16]), options, rollouts)
view = new(llama2.llama2_rollouts_view)
lib.llama2_rollouts_view_get(rollouts, view)
print_hash("rollout tokens", struct.pack(f"<{view.n_tokens}i", *view.tokens[:view.n_tokens]))
scores = [reward(view.tokens[view.offsets[s] + view.prompt_lengths[s]:view.offsets[s + 1]]) for s in range(view.n_samples)]
lib.llama2_rollouts_set(rollouts, llama2.LLAMA2_ROLLOUTS_SCORES, (ctypes.c_float * len(scores))(*scores), len(scores))
lib.llama2_rollouts_reference(rollouts, reference)
lib.llama2_rollouts_values(rollouts, critic)
ppo_options = new(llama2.llama2_ppo_options, minibatch=4, epochs=2)
ppo = new(llama2.llama2_ppo_metrics)
lib.llama2_ppo_advantages(rollouts, ppo_options, ppo)
lib.llama2_ppo_update(trainer, critic_trainer, rollouts, ppo_options, ppo)
print_bits("ppo score", ppo.score)
print_bits("ppo policy loss", ppo.policy_loss)
print_bits("ppo value loss", ppo.value_loss)
weight = (ctypes.c_float * (32 * 32))()
lib.llama2_model_get_tensor(policy, b"model.layers.0.self_attn.q_proj.weight", weight, len(weight), None)
print_hash("weight", bytes(weight))
for free, freed in [("rollouts", [rollouts]), ("trainer", [trainer, critic_trainer]), ("optimizer", [adamw, critic_adamw]), ("reward_model", [critic]),
                    ("model", [policy, reference]), ("context", [ctx])]:
    for one in freed:
        getattr(lib, f"llama2_{free}_free")(one)
