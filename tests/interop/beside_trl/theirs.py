"""TRL's side, as ours.py: python theirs.py ppo SEED OUT, or python theirs.py reward KIND OUT."""
import os
import sys
import time
from types import SimpleNamespace

os.environ["HF_HUB_OFFLINE"] = "1"
import torch  # noqa: E402
import trl.trainer.ppo_trainer as module  # noqa: E402
from datasets import Dataset  # noqa: E402
from torch.utils.data import SequentialSampler  # noqa: E402
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer, TrainerCallback  # noqa: E402
from trl import PPOConfig, PPOTrainer, RewardConfig, RewardTrainer  # noqa: E402

import task  # noqa: E402

torch.set_num_threads(int(os.environ.get("LLAMA2_THREADS", os.cpu_count())))


class BeforeLineBreak(torch.nn.Module):
    """A reward model to TRL: at each position the share of a whole response that has come before its first line break."""

    base_model_prefix = "backbone"

    def __init__(self):
        super().__init__()
        self.line_breaks = torch.from_numpy(task.line_breaks())
        self.score = torch.nn.Identity()

    def backbone(self, input_ids, **_):
        before = (1 - self.line_breaks[input_ids[:, task.PPO["prompt"]:]]).cumprod(1).cumsum(1) / task.PPO["response"]
        return SimpleNamespace(hidden_states=[torch.nn.functional.pad(before, (task.PPO["prompt"], 0)).unsqueeze(-1)])


def tokenizer_of(folder):
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.pad_token = tokenizer.convert_ids_to_tokens(task.EMPTY)
    return tokenizer


def ppo(seed, out):
    s, clock, begin = task.PPO, task.Clock(), time.monotonic()
    load = dict(dtype=torch.float32, attn_implementation="sdpa")
    policy, reference = (AutoModelForCausalLM.from_pretrained(task.MODEL, **load) for _ in range(2))
    value = AutoModelForSequenceClassification.from_pretrained(task.MODEL, num_labels=1, **load)
    value.score.weight.data.zero_()
    for name, phase in (("batch_generation", "rollout"), ("get_reward", "values")):
        function = getattr(module, name)
        setattr(module, name, lambda *args, function=function, phase=phase: clock(phase, lambda: function(*args)))

    class Log(TrainerCallback):
        def on_log(self, args, state, control, logs=None, **_):
            if "objective/scores" in logs:
                phases = {**clock.phases, "reference and update": time.monotonic() - start - sum(clock.phases.values())}
                task.log(out, who="trl", seed=seed, episode=logs["episode"], score=logs["objective/scores"], kl=logs["objective/kl"], seconds=time.monotonic() - begin, phases=phases,
                         peak=task.peak_bytes())
                if logs["episode"] % task.SAVED == 0:
                    policy.save_pretrained(task.policy("trl", seed, logs["episode"]))

    config = PPOConfig(
        output_dir=str(task.WORK / "trl-ppo"), seed=seed, total_episodes=s["episodes"], per_device_train_batch_size=s["batch"], gradient_accumulation_steps=1,
        num_mini_batches=s["batch"] // s["minibatch"], num_ppo_epochs=1, local_rollout_forward_batch_size=s["batch"], response_length=s["response"], temperature=1.0, kl_coef=s["beta"],
        lam=s["lam"], gamma=1.0, cliprange=s["clip"], learning_rate=s["lr"], lr_scheduler_type="constant", adam_beta1=s["beta1"], adam_beta2=s["beta2"], adam_epsilon=s["eps"],
        weight_decay=0.0, num_sample_generations=0, save_strategy="no", report_to=[], use_cpu=True, bf16=False, gradient_checkpointing=False, logging_steps=1)
    data = Dataset.from_dict({"input_ids": task.prompts().tolist()})
    trainer = PPOTrainer(args=config, processing_class=tokenizer_of(task.MODEL), model=policy, ref_model=reference, reward_model=BeforeLineBreak(), value_model=value, train_dataset=data,
                         eval_dataset=data.select(range(s["batch"])), callbacks=[Log()])
    start = time.monotonic()
    trainer.train()


class InOrder(RewardTrainer):
    def _get_train_sampler(self, *_):
        return SequentialSampler(self.train_dataset)


def reward(kind, out):
    s, (train, held_out) = task.REWARD, task.pairs(kind)
    folder = task.WORK / f"start-{kind}"
    model = AutoModelForSequenceClassification.from_pretrained(folder, num_labels=1, dtype=torch.float32, attn_implementation="sdpa")
    model.config.pad_token_id = task.EMPTY
    model.model.embed_tokens.padding_idx = None  # config.json's is the piece that ends an answer, whose embedding would not be trained
    begin = time.monotonic()

    class Log(TrainerCallback):
        def on_log(self, args, state, control, logs=None, **_):
            if "loss" in logs:
                task.log(out, who="trl", kind=kind, step=state.global_step - 1, loss=logs["loss"], seconds=time.monotonic() - begin, peak=task.peak_bytes())

    config = RewardConfig(
        output_dir=str(task.WORK / "trl-reward"), per_device_train_batch_size=s["batch"], num_train_epochs=1, learning_rate=s["lr"], lr_scheduler_type="constant", adam_beta1=s["beta1"],
        adam_beta2=s["beta2"], adam_epsilon=s["eps"], weight_decay=s["weight_decay"], max_grad_norm=s["clip_norm"], max_length=None, logging_steps=1, save_strategy="no", report_to=[],
        use_cpu=True, bf16=False, gradient_checkpointing=False)
    data = Dataset.from_dict({"chosen_input_ids": [line["chosen"] for line in train], "rejected_input_ids": [line["rejected"] for line in train]})
    trainer = InOrder(model=model, args=config, processing_class=tokenizer_of(task.MODEL), train_dataset=data, callbacks=[Log()])
    begin = time.monotonic()
    trainer.train()
    model.eval()
    with torch.no_grad():
        for line in held_out:
            chosen, rejected = (model(torch.tensor([line[side]])).logits.item() for side in ("chosen", "rejected"))
            task.log(out, who="trl", kind=kind, chosen=chosen, rejected=rejected)


if __name__ == "__main__":
    with open(sys.argv[3], "w") as out:
        ppo(int(sys.argv[2]), out) if sys.argv[1] == "ppo" else reward(sys.argv[2], out)
