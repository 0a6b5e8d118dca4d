// host.c in Rust, with rustc alone; llama2.rs is the library's own list of declarations.
#[path = "llama2.rs"]
mod llama2;
use llama2::*;
use std::ptr::{null, null_mut};

fn print_bits(name: &str, value: f64) {
    println!("{} {:016x}", name, value.to_bits());
}

fn print_hash(name: &str, bytes: impl Iterator<Item = u8>) {
    let h = bytes.fold(0xcbf29ce484222325u64, |h, byte| (h ^ byte as u64).wrapping_mul(0x100000001b3)); // FNV-1a
    println!("{} {:016x}", name, h);
}

/// The share of even tokens in the response.
fn reward(response: &[i32]) -> f32 {
    response.iter().filter(|&token| token % 2 == 0).count() as f32 / response.len() as f32
}

fn batch_of(tokens: &[i32], offsets: &[i64], weights: *const f32) -> llama2_batch {
    let mut batch = llama2_batch::new();
    batch.n_sequences = offsets.len() as i32 - 1;
    batch.n_tokens = offsets[offsets.len() - 1];
    batch.tokens = tokens.as_ptr();
    batch.offsets = offsets.as_ptr();
    batch.loss_weight = weights;
    batch
}

unsafe fn run() -> Result<(), Error> {
    let options = llama2_context_options { seed: 7, n_threads: 2, ..llama2_context_options::new() };
    let mut ctx = null_mut();
    check(llama2_context_create(&options, &mut ctx))?;
    let shape = llama2_config { vocab_size: 96, dim: 32, n_layers: 2, n_heads: 4, n_kv_heads: 2, ..llama2_config::new() };
    let config = llama2_config { head_dim: 8, ffn_dim: 64, max_seq_len: 64, ..shape };
    let (mut policy, mut reference, mut critic) = (null_mut(), null_mut(), null_mut());
    check(llama2_model_create(ctx, &config, null(), &mut policy))?;
    let (mut adamw, mut critic_adamw) = (null_mut(), null_mut());
    check(llama2_optimizer_create(ctx, null(), &mut adamw))?;
    check(llama2_optimizer_create(ctx, null(), &mut critic_adamw))?;
    let (mut trainer, mut critic_trainer) = (null_mut(), null_mut());
    check(llama2_trainer_create(ctx, policy, adamw, null(), &mut trainer))?;

    let tokens: Vec<i32> = (0..48).map(|i| 3 + (i * i * 7 + i) % 93).collect();
    let weights: Vec<f32> = (0..48).map(|i| if i % 12 < 4 { 0.0 } else { 1.0 }).collect();
    let batch = batch_of(&tokens, &[0, 12, 24, 36, 48], weights.as_ptr());
    let mut step = llama2_step_metrics::new();
    check(llama2_sft_step(trainer, &batch, &mut step))?;
    print_bits("sft loss", step.loss);
    print_bits("sft gradient norm", step.grad_norm);

    check(llama2_model_clone(policy, &mut reference))?;
    check(llama2_reward_model_create(ctx, policy, null(), &mut critic))?;
    check(llama2_trainer_create_for_reward(ctx, critic, critic_adamw, null(), &mut critic_trainer))?;
    let options = llama2_rollout_options { samples_per_prompt: 3, max_new_tokens: 8, seed: 11, ..llama2_rollout_options::new() };
    let mut rollouts = null_mut();
    check(llama2_rollout(policy, &batch_of(&tokens, &[0, 4, 8, 12, 16], null()), &options, &mut rollouts))?;
    let mut view = llama2_rollouts_view::new();
    check(llama2_rollouts_view_get(rollouts, &mut view))?;
    let sampled = std::slice::from_raw_parts(view.tokens, view.n_tokens as usize).to_vec();
    print_hash("rollout tokens", sampled.iter().flat_map(|token| token.to_ne_bytes()));
    let mut scores = Vec::new();
    for s in 0..view.n_samples as usize {
        let first = *view.offsets.add(s) + *view.prompt_lengths.add(s) as i64;
        scores.push(reward(&sampled[first as usize..*view.offsets.add(s + 1) as usize]));
    }
    check(llama2_rollouts_set(rollouts, LLAMA2_ROLLOUTS_SCORES, scores.as_ptr(), scores.len() as i64))?;
    check(llama2_rollouts_reference(rollouts, reference))?;
    check(llama2_rollouts_values(rollouts, critic))?;
    let ppo_options = llama2_ppo_options { minibatch: 4, epochs: 2, ..llama2_ppo_options::new() };
    let mut ppo = llama2_ppo_metrics::new();
    check(llama2_ppo_advantages(rollouts, &ppo_options, &mut ppo))?;
    check(llama2_ppo_update(trainer, critic_trainer, rollouts, &ppo_options, &mut ppo))?;
    print_bits("ppo score", ppo.score);
    print_bits("ppo policy loss", ppo.policy_loss);
    print_bits("ppo value loss", ppo.value_loss);
    let mut weight = vec![0f32; 32 * 32];
    let name = b"model.layers.0.self_attn.q_proj.weight\0".as_ptr().cast();
    check(llama2_model_get_tensor(policy, name, weight.as_mut_ptr(), weight.len() as i64, null_mut()))?;
    print_hash("weight", weight.iter().flat_map(|value| value.to_ne_bytes()));
    llama2_rollouts_free(rollouts);
    [trainer, critic_trainer].into_iter().for_each(|one| llama2_trainer_free(one));
    [adamw, critic_adamw].into_iter().for_each(|one| llama2_optimizer_free(one));
    llama2_reward_model_free(critic);
    [policy, reference].into_iter().for_each(|one| llama2_model_free(one));
    llama2_context_free(ctx);
    Ok(())
}

fn main() {
    if let Err(failure) = unsafe { run() } {
        eprintln!("{}: {}", failure.code, failure.message);
        std::process::exit(1);
    }
}
