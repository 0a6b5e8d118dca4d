//! libllama2 for Rust: the declarations of its headers. Made by make_llama2.py.
//!
//!     #[path = "llama2.rs"]
//!     mod llama2;
//!
//! Functions, structs and constants have their C names (a name that is a keyword here ends with an underscore). The headers say what everything means,
//! and who frees what.
#![allow(dead_code, non_camel_case_types)]
use std::ffi::CStr;
use std::os::raw::{c_char, c_void};

pub type llama2_status = i32;

/// A function failed: `code` is one of LLAMA2_E_*, the message says what, where and what would have been right.
#[derive(Debug)]
pub struct Error {
    pub code: llama2_status,
    pub message: String,
}

/// A status as a Result.
pub fn check(status: llama2_status) -> Result<(), Error> {
    if status >= 0 {
        return Ok(());
    }
    let message = unsafe { CStr::from_ptr(llama2_last_error()) };
    Err(Error { code: status, message: message.to_string_lossy().into_owned() })
}

pub const LLAMA2_VERSION_MAJOR: i32 = 0;
pub const LLAMA2_VERSION_MINOR: i32 = 1;
pub const LLAMA2_VERSION_PATCH: i32 = 0;
pub const LLAMA2_OK: i32 = 0;
pub const LLAMA2_E_NOMEM: i32 = -1;
pub const LLAMA2_E_INVALID: i32 = -2;
pub const LLAMA2_E_IO: i32 = -3;
pub const LLAMA2_E_FORMAT: i32 = -4;
pub const LLAMA2_E_TRUNCATED: i32 = -5;
pub const LLAMA2_E_LIMIT: i32 = -6;
pub const LLAMA2_E_UNSUPPORTED: i32 = -7;
pub const LLAMA2_E_MISMATCH: i32 = -8;
pub const LLAMA2_E_CORRUPT: i32 = -9;
pub const LLAMA2_E_BUSY: i32 = -10;
pub const LLAMA2_E_STATE: i32 = -11;
pub const LLAMA2_E_USER: i32 = -12;
pub const LLAMA2_E_CANCELLED: i32 = -13;
pub const LLAMA2_E_NUMERIC: i32 = -14;
pub const LLAMA2_E_ABI: i32 = -15;
pub const LLAMA2_E_NOT_FOUND: i32 = -16;
pub const LLAMA2_E_BUFFER: i32 = -17;
pub const LLAMA2_E_FORKED: i32 = -18;
pub const LLAMA2_E_CONTEXT: i32 = -19;
pub const LLAMA2_E_INJECTION: i32 = -20;
pub const LLAMA2_F32: i32 = 0;
pub const LLAMA2_F64: i32 = 1;
pub const LLAMA2_BF16: i32 = 2;
pub const LLAMA2_F16: i32 = 3;
pub const LLAMA2_Q8_0: i32 = 4;
pub const LLAMA2_Q4_0: i32 = 5;
pub const LLAMA2_Q4_K: i32 = 6;
pub const LLAMA2_Q6_K: i32 = 7;
pub const LLAMA2_LOG_ERROR: i32 = 0;
pub const LLAMA2_LOG_WARN: i32 = 1;
pub const LLAMA2_LOG_INFO: i32 = 2;
pub const LLAMA2_LOG_DEBUG: i32 = 3;
pub const LLAMA2_GEMM_BUILTIN: i32 = 0;
pub const LLAMA2_GEMM_CBLAS: i32 = 1;
pub const LLAMA2_ISA_AUTO: i32 = 0;
pub const LLAMA2_ISA_SCALAR: i32 = 1;
pub const LLAMA2_ISA_AVX2: i32 = 2;
pub const LLAMA2_ISA_AVX512: i32 = 3;
pub const LLAMA2_PIECE_NORMAL: i32 = 1;
pub const LLAMA2_PIECE_UNKNOWN: i32 = 2;
pub const LLAMA2_PIECE_CONTROL: i32 = 3;
pub const LLAMA2_PIECE_USER_DEFINED: i32 = 4;
pub const LLAMA2_PIECE_UNUSED: i32 = 5;
pub const LLAMA2_PIECE_BYTE: i32 = 6;
pub const LLAMA2_ENCODE_BOS: i32 = 1;
pub const LLAMA2_ENCODE_EOS: i32 = 2;
pub const LLAMA2_DECODE_SPECIALS: i32 = 1;
pub const LLAMA2_DECODE_CONTINUE: i32 = 2;
pub const LLAMA2_DECODE_BYTES: i32 = 4;
pub const LLAMA2_ROLE_SYSTEM: i32 = 0;
pub const LLAMA2_ROLE_USER: i32 = 1;
pub const LLAMA2_ROLE_ASSISTANT: i32 = 2;
pub const LLAMA2_CHAT_COMPLETE: i32 = 1;
pub const LLAMA2_CHAT_TO_END: i32 = 2;
pub const LLAMA2_PRESET_7B: i32 = 0;
pub const LLAMA2_PRESET_13B: i32 = 1;
pub const LLAMA2_PRESET_34B: i32 = 2;
pub const LLAMA2_PRESET_70B: i32 = 3;
pub const LLAMA2_ROPE_SCALING_NONE: i32 = 0;
pub const LLAMA2_ROPE_SCALING_LINEAR: i32 = 1;
pub const LLAMA2_ROPE_SCALING_LLAMA3: i32 = 2;
pub const LLAMA2_WEIGHTS_CONVERTED: i32 = 0;
pub const LLAMA2_WEIGHTS_AS_STORED: i32 = 1;
pub const LLAMA2_FORMAT_AUTO: i32 = 0;
pub const LLAMA2_FORMAT_HUGGINGFACE: i32 = 1;
pub const LLAMA2_FORMAT_GGUF: i32 = 2;
pub const LLAMA2_FORMAT_LLAMA2C: i32 = 3;
pub const LLAMA2_FORMAT_META: i32 = 4;
pub const LLAMA2_TYPE_KEEP: i32 = -1;
pub const LLAMA2_SOURCE_OWN_HELPFUL: i32 = 0;
pub const LLAMA2_SOURCE_OWN_SAFETY: i32 = 1;
pub const LLAMA2_SOURCE_OPEN_HELPFUL: i32 = 2;
pub const LLAMA2_SOURCE_OPEN_HARMLESS: i32 = 3;
pub const LLAMA2_MIX_ALL: i32 = 0;
pub const LLAMA2_MIX_WEIGHTS: i32 = 1;
pub const LLAMA2_MIX_EQUAL: i32 = 2;
pub const LLAMA2_MIX_HELPFULNESS: i32 = 3;
pub const LLAMA2_MIX_SAFETY: i32 = 4;
pub const LLAMA2_MIX_NINE_TO_ONE: i32 = 5;
pub const LLAMA2_MIX_OPEN_FIRST: i32 = 6;
pub const LLAMA2_SCHEDULE_COSINE: i32 = 0;
pub const LLAMA2_SCHEDULE_CONSTANT: i32 = 1;
pub const LLAMA2_HEAD_NORMAL: i32 = 0;
pub const LLAMA2_HEAD_ZERO: i32 = 1;
pub const LLAMA2_RATING_SIGNIFICANTLY: i32 = 0;
pub const LLAMA2_RATING_BETTER: i32 = 1;
pub const LLAMA2_RATING_SLIGHTLY: i32 = 2;
pub const LLAMA2_RATING_NEGLIGIBLY: i32 = 3;
pub const LLAMA2_MARGIN_NONE: i32 = 0;
pub const LLAMA2_MARGIN_SMALL: i32 = 1;
pub const LLAMA2_MARGIN_LARGE: i32 = 2;
pub const LLAMA2_END_LENGTH: i32 = 0;
pub const LLAMA2_END_EOS: i32 = 1;
pub const LLAMA2_END_STOP: i32 = 2;
pub const LLAMA2_END_CONTEXT: i32 = 3;
pub const LLAMA2_ROLLOUTS_LOGPROBS: i32 = 0;
pub const LLAMA2_ROLLOUTS_REF_LOGPROBS: i32 = 1;
pub const LLAMA2_ROLLOUTS_VALUES: i32 = 2;
pub const LLAMA2_ROLLOUTS_ADVANTAGES: i32 = 3;
pub const LLAMA2_ROLLOUTS_RETURNS: i32 = 4;
pub const LLAMA2_ROLLOUTS_SCORES: i32 = 5;
pub const LLAMA2_ROLLOUTS_HELPFUL_SCORES: i32 = 6;
pub const LLAMA2_ROLLOUTS_SAFETY_SCORES: i32 = 7;
pub const LLAMA2_KIND_HELPFUL: i32 = 0;
pub const LLAMA2_KIND_SAFETY: i32 = 1;
pub const LLAMA2_BIN_CHOSEN_SAFE: i32 = 0;
pub const LLAMA2_BIN_BOTH_SAFE: i32 = 1;
pub const LLAMA2_BIN_BOTH_UNSAFE: i32 = 2;
pub const LLAMA2_BIN_OTHER_SAFE: i32 = 3;
pub const LLAMA2_GATT_SYSTEM: i32 = 0;
pub const LLAMA2_GATT_USER: i32 = 1;
pub const LLAMA2_GATT_OPEN: i32 = 0;
pub const LLAMA2_GATT_DROPPED: i32 = 1;
pub const LLAMA2_GATT_FULL: i32 = 2;
pub const LLAMA2_GATT_MARKED: i32 = 3;
pub const LLAMA2_KL_K1: i32 = 1;
pub const LLAMA2_KL_K2: i32 = 2;
pub const LLAMA2_KL_K3: i32 = 3;

#[repr(C)]
pub struct llama2_context {
    _private: [u8; 0],
}

#[repr(C)]
pub struct llama2_tokenizer {
    _private: [u8; 0],
}

#[repr(C)]
pub struct llama2_model {
    _private: [u8; 0],
}

#[repr(C)]
pub struct llama2_session {
    _private: [u8; 0],
}

#[repr(C)]
pub struct llama2_optimizer {
    _private: [u8; 0],
}

#[repr(C)]
pub struct llama2_reward_model {
    _private: [u8; 0],
}

#[repr(C)]
pub struct llama2_trainer {
    _private: [u8; 0],
}

#[repr(C)]
pub struct llama2_packer {
    _private: [u8; 0],
}

#[repr(C)]
pub struct llama2_rollouts {
    _private: [u8; 0],
}

#[repr(C)]
pub struct llama2_pool {
    _private: [u8; 0],
}

#[repr(C)]
pub struct llama2_preferences {
    _private: [u8; 0],
}

#[repr(C)]
pub struct llama2_comparisons {
    _private: [u8; 0],
}

#[repr(C)]
pub struct llama2_gatt {
    _private: [u8; 0],
}

#[repr(C)]
pub struct llama2_mixture {
    _private: [u8; 0],
}

#[repr(C)]
pub struct llama2_shards {
    _private: [u8; 0],
}

#[repr(C)]
pub struct llama2_checkpoint {
    _private: [u8; 0],
}

#[repr(C)]
pub struct llama2_decoder {
    _private: [u8; 0],
}

#[repr(C)]
pub struct llama2_inspection {
    _private: [u8; 0],
}

#[repr(C)]
pub struct llama2_stops {
    _private: [u8; 0],
}

#[repr(C)]
pub struct llama2_shard_writer {
    _private: [u8; 0],
}

pub type llama2_read_fn = Option<unsafe extern "C" fn(user: *mut c_void, offset: u64, length: u64, buffer: *mut c_void) -> i32>;

pub type llama2_alloc_fn = Option<unsafe extern "C" fn(user: *mut c_void, size: usize, alignment: usize) -> *mut c_void>;

pub type llama2_dealloc_fn = Option<unsafe extern "C" fn(user: *mut c_void, ptr: *mut c_void)>;

pub type llama2_log_fn = Option<unsafe extern "C" fn(user: *mut c_void, level: i32, message: *const c_char, length: usize)>;

pub type llama2_task_fn = Option<unsafe extern "C" fn(arg: *mut c_void, index: i32)>;

pub type llama2_run_fn = Option<unsafe extern "C" fn(user: *mut c_void, n_tasks: i32, task: llama2_task_fn, arg: *mut c_void) -> i32>;

pub type llama2_convert_fn = Option<unsafe extern "C" fn(user: *mut c_void, event: *const llama2_convert_event) -> i32>;

pub type llama2_rollout_fn = Option<unsafe extern "C" fn(user: *mut c_void, event: *const llama2_rollout_event) -> i32>;

#[repr(C)]
#[derive(Clone, Copy)]
pub struct llama2_host_file {
    pub struct_size: u32,
    pub reserved: i32,
    pub size: u64,
    pub data: *const c_void,
    pub read: llama2_read_fn,
    pub user: *mut c_void,
}

impl llama2_host_file {
    /// Zeros, and struct_size.
    pub fn new() -> Self {
        unsafe {
            let mut value: Self = std::mem::zeroed();
            value.struct_size = std::mem::size_of::<Self>() as u32;
            value
        }
    }
}
const _: () = assert!(std::mem::size_of::<llama2_host_file>() == 40);

#[repr(C)]
#[derive(Clone, Copy)]
pub struct llama2_context_options {
    pub struct_size: u32,
    pub n_threads: i32,
    pub seed: u64,
    pub alloc: llama2_alloc_fn,
    pub dealloc: llama2_dealloc_fn,
    pub alloc_user: *mut c_void,
    pub log: llama2_log_fn,
    pub log_user: *mut c_void,
    pub run: llama2_run_fn,
    pub run_user: *mut c_void,
    pub gemm: i32,
    pub isa: i32,
}

impl llama2_context_options {
    /// The defaults, and struct_size.
    pub fn new() -> Self {
        unsafe {
            let mut value: Self = std::mem::zeroed();
            llama2_context_options_init(&mut value, std::mem::size_of::<Self>());
            value
        }
    }
}
const _: () = assert!(std::mem::size_of::<llama2_context_options>() == 80);

#[repr(C)]
#[derive(Clone, Copy)]
pub struct llama2_tokenizer_options {
    pub struct_size: u32,
    pub max_pieces: i32,
    pub max_bytes: u64,
}

impl llama2_tokenizer_options {
    /// The defaults, and struct_size.
    pub fn new() -> Self {
        unsafe {
            let mut value: Self = std::mem::zeroed();
            llama2_tokenizer_options_init(&mut value, std::mem::size_of::<Self>());
            value
        }
    }
}
const _: () = assert!(std::mem::size_of::<llama2_tokenizer_options>() == 16);

#[repr(C)]
#[derive(Clone, Copy)]
pub struct llama2_tokenizer_pieces {
    pub struct_size: u32,
    pub n_pieces: i32,
    pub texts: *const *const c_char,
    pub lengths: *const usize,
    pub scores: *const f32,
    pub types: *const i32,
    pub bos_piece: *const c_char,
    pub eos_piece: *const c_char,
    pub pad_piece: *const c_char,
    pub add_dummy_prefix: i32,
    pub remove_extra_whitespaces: i32,
}

impl llama2_tokenizer_pieces {
    /// The defaults, and struct_size.
    pub fn new() -> Self {
        unsafe {
            let mut value: Self = std::mem::zeroed();
            llama2_tokenizer_pieces_init(&mut value, std::mem::size_of::<Self>());
            value
        }
    }
}
const _: () = assert!(std::mem::size_of::<llama2_tokenizer_pieces>() == 72);

#[repr(C)]
#[derive(Clone, Copy)]
pub struct llama2_chat {
    pub struct_size: u32,
    pub n_messages: i32,
    pub roles: *const i32,
    pub texts: *const *const c_char,
    pub lengths: *const usize,
    pub loss_weights: *const f32,
    pub date: *const c_char,
}

impl llama2_chat {
    /// The defaults, and struct_size.
    pub fn new() -> Self {
        unsafe {
            let mut value: Self = std::mem::zeroed();
            llama2_chat_init(&mut value, std::mem::size_of::<Self>());
            value
        }
    }
}
const _: () = assert!(std::mem::size_of::<llama2_chat>() == 48);

#[repr(C)]
#[derive(Clone, Copy)]
pub struct llama2_batch {
    pub struct_size: u32,
    pub n_sequences: i32,
    pub n_tokens: i64,
    pub tokens: *const i32,
    pub offsets: *const i64,
    pub loss_weight: *const f32,
}

impl llama2_batch {
    /// Zeros, and struct_size.
    pub fn new() -> Self {
        unsafe {
            let mut value: Self = std::mem::zeroed();
            value.struct_size = std::mem::size_of::<Self>() as u32;
            value
        }
    }
}
const _: () = assert!(std::mem::size_of::<llama2_batch>() == 40);

#[repr(C)]
#[derive(Clone, Copy)]
pub struct llama2_packer_options {
    pub struct_size: u32,
    pub concatenate: i32,
    pub max_length: i64,
}

impl llama2_packer_options {
    /// The defaults, and struct_size.
    pub fn new() -> Self {
        unsafe {
            let mut value: Self = std::mem::zeroed();
            llama2_packer_options_init(&mut value, std::mem::size_of::<Self>());
            value
        }
    }
}
const _: () = assert!(std::mem::size_of::<llama2_packer_options>() == 16);

#[repr(C)]
#[derive(Clone, Copy)]
pub struct llama2_config {
    pub struct_size: u32,
    pub vocab_size: i32,
    pub dim: i32,
    pub n_layers: i32,
    pub n_heads: i32,
    pub n_kv_heads: i32,
    pub head_dim: i32,
    pub ffn_dim: i32,
    pub max_seq_len: i32,
    pub tied: i32,
    pub bos_id: i32,
    pub eos_id: i32,
    pub pad_id: i32,
    pub reserved: i32,
    pub norm_eps: f64,
    pub rope_theta: f64,
    pub init_std: f64,
    pub rope_scaling: i32,
    pub rope_original_len: i32,
    pub rope_factor: f64,
    pub rope_low_freq_factor: f64,
    pub rope_high_freq_factor: f64,
}

impl llama2_config {
    /// The defaults, and struct_size.
    pub fn new() -> Self {
        unsafe {
            let mut value: Self = std::mem::zeroed();
            llama2_config_init(&mut value, std::mem::size_of::<Self>());
            value
        }
    }
}
const _: () = assert!(std::mem::size_of::<llama2_config>() == 112);

#[repr(C)]
#[derive(Clone, Copy)]
pub struct llama2_model_options {
    pub struct_size: u32,
    pub dtype: i32,
    pub weights: i32,
    pub reserved: i32,
}

impl llama2_model_options {
    /// The defaults, and struct_size.
    pub fn new() -> Self {
        unsafe {
            let mut value: Self = std::mem::zeroed();
            llama2_model_options_init(&mut value, std::mem::size_of::<Self>());
            value
        }
    }
}
const _: () = assert!(std::mem::size_of::<llama2_model_options>() == 16);

#[repr(C)]
#[derive(Clone, Copy)]
pub struct llama2_tensor_info {
    pub struct_size: u32,
    pub dtype: i32,
    pub rows: i64,
    pub columns: i64,
    pub name: *const c_char,
}

impl llama2_tensor_info {
    /// Zeros, and struct_size.
    pub fn new() -> Self {
        unsafe {
            let mut value: Self = std::mem::zeroed();
            value.struct_size = std::mem::size_of::<Self>() as u32;
            value
        }
    }
}
const _: () = assert!(std::mem::size_of::<llama2_tensor_info>() == 32);

#[repr(C)]
#[derive(Clone, Copy)]
pub struct llama2_loss {
    pub struct_size: u32,
    pub reserved: i32,
    pub sum: f64,
    pub weight: f64,
    pub targets: i64,
}

impl llama2_loss {
    /// Zeros, and struct_size.
    pub fn new() -> Self {
        unsafe {
            let mut value: Self = std::mem::zeroed();
            value.struct_size = std::mem::size_of::<Self>() as u32;
            value
        }
    }
}
const _: () = assert!(std::mem::size_of::<llama2_loss>() == 32);

#[repr(C)]
#[derive(Clone, Copy)]
pub struct llama2_memory {
    pub struct_size: u32,
    pub reserved: i32,
    pub weights: i64,
    pub gradients: i64,
    pub optimizer: i64,
    pub activations: i64,
    pub kv_cache: i64,
    pub scratch: i64,
    pub total: i64,
}

impl llama2_memory {
    /// Zeros, and struct_size.
    pub fn new() -> Self {
        unsafe {
            let mut value: Self = std::mem::zeroed();
            value.struct_size = std::mem::size_of::<Self>() as u32;
            value
        }
    }
}
const _: () = assert!(std::mem::size_of::<llama2_memory>() == 64);

#[repr(C)]
#[derive(Clone, Copy)]
pub struct llama2_memory_options {
    pub struct_size: u32,
    pub train: i32,
    pub recompute: i32,
    pub dtype: i32,
    pub batch_tokens: i64,
    pub kv_tokens: i64,
    pub batch_sequences: i64,
    pub n_threads: i32,
    pub weights: i32,
}

impl llama2_memory_options {
    /// The defaults, and struct_size.
    pub fn new() -> Self {
        unsafe {
            let mut value: Self = std::mem::zeroed();
            llama2_memory_options_init(&mut value, std::mem::size_of::<Self>());
            value
        }
    }
}
const _: () = assert!(std::mem::size_of::<llama2_memory_options>() == 48);

#[repr(C)]
#[derive(Clone, Copy)]
pub struct llama2_convert_event {
    pub struct_size: u32,
    pub tensor: i32,
    pub n_tensors: i32,
    pub reserved: i32,
    pub elements_done: i64,
    pub elements: i64,
    pub name: *const c_char,
}

impl llama2_convert_event {
    /// Zeros, and struct_size.
    pub fn new() -> Self {
        unsafe {
            let mut value: Self = std::mem::zeroed();
            value.struct_size = std::mem::size_of::<Self>() as u32;
            value
        }
    }
}
const _: () = assert!(std::mem::size_of::<llama2_convert_event>() == 40);

#[repr(C)]
#[derive(Clone, Copy)]
pub struct llama2_convert_options {
    pub struct_size: u32,
    pub type_: i32,
    pub format: i32,
    pub reserved: i32,
    pub tokenizer: *const c_char,
    pub progress: llama2_convert_fn,
    pub progress_user: *mut c_void,
}

impl llama2_convert_options {
    /// The defaults, and struct_size.
    pub fn new() -> Self {
        unsafe {
            let mut value: Self = std::mem::zeroed();
            llama2_convert_options_init(&mut value, std::mem::size_of::<Self>());
            value
        }
    }
}
const _: () = assert!(std::mem::size_of::<llama2_convert_options>() == 40);

#[repr(C)]
#[derive(Clone, Copy)]
pub struct llama2_inspection_summary {
    pub struct_size: u32,
    pub format: i32,
    pub n_tensors: i32,
    pub n_keys: i32,
    pub elements: i64,
    pub tensor_bytes: i64,
    pub file_bytes: i64,
    pub format_name: *const c_char,
    pub problem: *const c_char,
    pub tokenizer: *const c_char,
    pub chat: *const c_char,
}

impl llama2_inspection_summary {
    /// Zeros, and struct_size.
    pub fn new() -> Self {
        unsafe {
            let mut value: Self = std::mem::zeroed();
            value.struct_size = std::mem::size_of::<Self>() as u32;
            value
        }
    }
}
const _: () = assert!(std::mem::size_of::<llama2_inspection_summary>() == 72);

#[repr(C)]
#[derive(Clone, Copy)]
pub struct llama2_inspection_tensor {
    pub struct_size: u32,
    pub n_dims: i32,
    pub name: *const c_char,
    pub type_: *const c_char,
    pub shape: *const i64,
    pub elements: i64,
    pub bytes: i64,
}

impl llama2_inspection_tensor {
    /// Zeros, and struct_size.
    pub fn new() -> Self {
        unsafe {
            let mut value: Self = std::mem::zeroed();
            value.struct_size = std::mem::size_of::<Self>() as u32;
            value
        }
    }
}
const _: () = assert!(std::mem::size_of::<llama2_inspection_tensor>() == 48);

#[repr(C)]
#[derive(Clone, Copy)]
pub struct llama2_sampling {
    pub struct_size: u32,
    pub top_k: i32,
    pub temperature: f64,
    pub top_p: f64,
    pub seed: u64,
    pub sample_id: u64,
    pub min_p: f64,
    pub repetition_penalty: f64,
    pub presence_penalty: f64,
    pub frequency_penalty: f64,
    pub penalty_window: i32,
    pub n_logit_bias: i32,
    pub penalty_start: i64,
    pub logit_bias_ids: *const i32,
    pub logit_bias_values: *const f32,
}

impl llama2_sampling {
    /// The defaults, and struct_size.
    pub fn new() -> Self {
        unsafe {
            let mut value: Self = std::mem::zeroed();
            llama2_sampling_init(&mut value, std::mem::size_of::<Self>());
            value
        }
    }
}
const _: () = assert!(std::mem::size_of::<llama2_sampling>() == 104);

#[repr(C)]
#[derive(Clone, Copy)]
pub struct llama2_shards_options {
    pub struct_size: u32,
    pub verify: i32,
    pub length: i64,
    pub seed: u64,
}

impl llama2_shards_options {
    /// The defaults, and struct_size.
    pub fn new() -> Self {
        unsafe {
            let mut value: Self = std::mem::zeroed();
            llama2_shards_options_init(&mut value, std::mem::size_of::<Self>());
            value
        }
    }
}
const _: () = assert!(std::mem::size_of::<llama2_shards_options>() == 24);

#[repr(C)]
#[derive(Clone, Copy)]
pub struct llama2_shards_source {
    pub struct_size: u32,
    pub share: i32,
    pub tokens: u64,
    pub served: u64,
    pub epochs: f64,
}

impl llama2_shards_source {
    /// Zeros, and struct_size.
    pub fn new() -> Self {
        unsafe {
            let mut value: Self = std::mem::zeroed();
            value.struct_size = std::mem::size_of::<Self>() as u32;
            value
        }
    }
}
const _: () = assert!(std::mem::size_of::<llama2_shards_source>() == 32);

#[repr(C)]
#[derive(Clone, Copy)]
pub struct llama2_mixture_options {
    pub struct_size: u32,
    pub recipe: i32,
    pub seed: u64,
    pub epoch_items: i64,
    pub open_first: f64,
}

impl llama2_mixture_options {
    /// The defaults, and struct_size.
    pub fn new() -> Self {
        unsafe {
            let mut value: Self = std::mem::zeroed();
            llama2_mixture_options_init(&mut value, std::mem::size_of::<Self>());
            value
        }
    }
}
const _: () = assert!(std::mem::size_of::<llama2_mixture_options>() == 32);

#[repr(C)]
#[derive(Clone, Copy)]
pub struct llama2_optimizer_options {
    pub struct_size: u32,
    pub reserved: i32,
    pub lr: f64,
    pub beta1: f64,
    pub beta2: f64,
    pub eps: f64,
    pub weight_decay: f64,
}

impl llama2_optimizer_options {
    /// The defaults, and struct_size.
    pub fn new() -> Self {
        unsafe {
            let mut value: Self = std::mem::zeroed();
            llama2_optimizer_options_init(&mut value, std::mem::size_of::<Self>());
            value
        }
    }
}
const _: () = assert!(std::mem::size_of::<llama2_optimizer_options>() == 48);

#[repr(C)]
#[derive(Clone, Copy)]
pub struct llama2_trainer_options {
    pub struct_size: u32,
    pub schedule: i32,
    pub warmup_steps: i64,
    pub total_steps: i64,
    pub min_lr_ratio: f64,
    pub clip_norm: f64,
    pub micro_batch_tokens: i64,
    pub recompute: i32,
    pub max_bad_steps: i32,
    pub value_head: *mut llama2_reward_model,
    pub value_head_lr_ratio: f64,
}

impl llama2_trainer_options {
    /// The defaults, and struct_size.
    pub fn new() -> Self {
        unsafe {
            let mut value: Self = std::mem::zeroed();
            llama2_trainer_options_init(&mut value, std::mem::size_of::<Self>());
            value
        }
    }
}
const _: () = assert!(std::mem::size_of::<llama2_trainer_options>() == 72);

#[repr(C)]
#[derive(Clone, Copy)]
pub struct llama2_step_metrics {
    pub struct_size: u32,
    pub skipped: i32,
    pub step: i64,
    pub loss: f64,
    pub weight: f64,
    pub grad_norm: f64,
    pub lr: f64,
    pub tokens: i64,
    pub total_tokens: i64,
    pub skipped_total: i64,
}

impl llama2_step_metrics {
    /// Zeros, and struct_size.
    pub fn new() -> Self {
        unsafe {
            let mut value: Self = std::mem::zeroed();
            value.struct_size = std::mem::size_of::<Self>() as u32;
            value
        }
    }
}
const _: () = assert!(std::mem::size_of::<llama2_step_metrics>() == 72);

#[repr(C)]
#[derive(Clone, Copy)]
pub struct llama2_reward_options {
    pub struct_size: u32,
    pub head: i32,
}

impl llama2_reward_options {
    /// The defaults, and struct_size.
    pub fn new() -> Self {
        unsafe {
            let mut value: Self = std::mem::zeroed();
            llama2_reward_options_init(&mut value, std::mem::size_of::<Self>());
            value
        }
    }
}
const _: () = assert!(std::mem::size_of::<llama2_reward_options>() == 8);

#[repr(C)]
#[derive(Clone, Copy)]
pub struct llama2_pairs {
    pub struct_size: u32,
    pub n_pairs: i32,
    pub batch: *const llama2_batch,
    pub margins: *const f32,
    pub safe: *const i32,
    pub safety_weight: f64,
}

impl llama2_pairs {
    /// Zeros, and struct_size.
    pub fn new() -> Self {
        unsafe {
            let mut value: Self = std::mem::zeroed();
            value.struct_size = std::mem::size_of::<Self>() as u32;
            value
        }
    }
}
const _: () = assert!(std::mem::size_of::<llama2_pairs>() == 40);

#[repr(C)]
#[derive(Clone, Copy)]
pub struct llama2_reward_metrics {
    pub struct_size: u32,
    pub n_pairs: i32,
    pub n_left_out: i32,
    pub n_labelled: i32,
    pub loss: f64,
    pub ranking_loss: f64,
    pub safety_loss: f64,
    pub accuracy: f64,
    pub mean_margin: f64,
    pub mean_chosen: f64,
    pub mean_rejected: f64,
    pub min_score: f64,
    pub max_score: f64,
    pub grad_norm: f64,
    pub lr: f64,
    pub step: i64,
    pub skipped: i32,
    pub reserved: i32,
}

impl llama2_reward_metrics {
    /// Zeros, and struct_size.
    pub fn new() -> Self {
        unsafe {
            let mut value: Self = std::mem::zeroed();
            value.struct_size = std::mem::size_of::<Self>() as u32;
            value
        }
    }
}
const _: () = assert!(std::mem::size_of::<llama2_reward_metrics>() == 120);

#[repr(C)]
#[derive(Clone, Copy)]
pub struct llama2_scored_pairs {
    pub struct_size: u32,
    pub group: i32,
    pub n_pairs: i64,
    pub scores: *const f32,
    pub groups: *const i32,
    pub lengths: *const i64,
    pub safe: *const i32,
}

impl llama2_scored_pairs {
    /// Zeros, and struct_size.
    pub fn new() -> Self {
        unsafe {
            let mut value: Self = std::mem::zeroed();
            value.struct_size = std::mem::size_of::<Self>() as u32;
            value
        }
    }
}
const _: () = assert!(std::mem::size_of::<llama2_scored_pairs>() == 48);

#[repr(C)]
#[derive(Clone, Copy)]
pub struct llama2_reward_card {
    pub struct_size: u32,
    pub reserved: i32,
    pub n_pairs: i64,
    pub n_ties: i64,
    pub accuracy: f64,
    pub accuracy_low: f64,
    pub accuracy_high: f64,
    pub mean_score: f64,
    pub min_score: f64,
    pub max_score: f64,
    pub mean_chosen: f64,
    pub mean_rejected: f64,
    pub mean_margin: f64,
    pub brier: f64,
    pub ece: f64,
    pub longer_wins: f64,
    pub longer_wins_low: f64,
    pub longer_wins_high: f64,
    pub n_length_matched: i64,
    pub length_matched_accuracy: f64,
    pub length_matched_low: f64,
    pub length_matched_high: f64,
    pub n_labelled: i64,
    pub n_unsafe: i64,
    pub safety_accuracy: f64,
    pub auc: f64,
    pub unsafe_recall: f64,
    pub unsafe_precision: f64,
    pub unsafe_recall_015: f64,
    pub unsafe_precision_015: f64,
}

impl llama2_reward_card {
    /// Zeros, and struct_size.
    pub fn new() -> Self {
        unsafe {
            let mut value: Self = std::mem::zeroed();
            value.struct_size = std::mem::size_of::<Self>() as u32;
            value
        }
    }
}
const _: () = assert!(std::mem::size_of::<llama2_reward_card>() == 232);

#[repr(C)]
#[derive(Clone, Copy)]
pub struct llama2_rollout_event {
    pub struct_size: u32,
    pub reserved: i32,
    pub samples_done: i64,
    pub samples: i64,
    pub tokens: i64,
}

impl llama2_rollout_event {
    /// Zeros, and struct_size.
    pub fn new() -> Self {
        unsafe {
            let mut value: Self = std::mem::zeroed();
            value.struct_size = std::mem::size_of::<Self>() as u32;
            value
        }
    }
}
const _: () = assert!(std::mem::size_of::<llama2_rollout_event>() == 32);

#[repr(C)]
#[derive(Clone, Copy)]
pub struct llama2_rollout_options {
    pub struct_size: u32,
    pub samples_per_prompt: i32,
    pub max_new_tokens: i32,
    pub top_k: i32,
    pub temperature: f64,
    pub top_p: f64,
    pub seed: u64,
    pub first_sample_id: u64,
    pub max_parallel: i32,
    pub reserved: i32,
    pub progress: llama2_rollout_fn,
    pub user: *mut c_void,
    pub sampling: *const llama2_sampling,
    pub tokenizer: *const llama2_tokenizer,
    pub stops: *const *const c_char,
    pub stop_lengths: *const usize,
    pub n_stops: i32,
    pub decode_flags: u32,
}

impl llama2_rollout_options {
    /// The defaults, and struct_size.
    pub fn new() -> Self {
        unsafe {
            let mut value: Self = std::mem::zeroed();
            llama2_rollout_options_init(&mut value, std::mem::size_of::<Self>());
            value
        }
    }
}
const _: () = assert!(std::mem::size_of::<llama2_rollout_options>() == 112);

#[repr(C)]
#[derive(Clone, Copy)]
pub struct llama2_rollouts_view {
    pub struct_size: u32,
    pub n_samples: i32,
    pub samples_per_prompt: i32,
    pub reserved: i32,
    pub n_tokens: i64,
    pub temperature: f64,
    pub tokens: *const i32,
    pub offsets: *const i64,
    pub prompt_lengths: *const i32,
    pub ended: *const u8,
    pub logprobs: *const f32,
    pub ref_logprobs: *const f32,
    pub values: *const f32,
    pub advantages: *const f32,
    pub returns: *const f32,
    pub scores: *const f32,
    pub helpful_scores: *const f32,
    pub safety_scores: *const f32,
    pub ended_by: *const u8,
}

impl llama2_rollouts_view {
    /// Zeros, and struct_size.
    pub fn new() -> Self {
        unsafe {
            let mut value: Self = std::mem::zeroed();
            value.struct_size = std::mem::size_of::<Self>() as u32;
            value
        }
    }
}
const _: () = assert!(std::mem::size_of::<llama2_rollouts_view>() == 136);

#[repr(C)]
#[derive(Clone, Copy)]
pub struct llama2_combine_options {
    pub struct_size: u32,
    pub whiten: i32,
    pub threshold: f64,
    pub missing_eos_penalty: f64,
}

impl llama2_combine_options {
    /// The defaults, and struct_size.
    pub fn new() -> Self {
        unsafe {
            let mut value: Self = std::mem::zeroed();
            llama2_combine_options_init(&mut value, std::mem::size_of::<Self>());
            value
        }
    }
}
const _: () = assert!(std::mem::size_of::<llama2_combine_options>() == 24);

#[repr(C)]
#[derive(Clone, Copy)]
pub struct llama2_preference {
    pub struct_size: u32,
    pub n_messages: i32,
    pub roles: *const i32,
    pub texts: *const *const c_char,
    pub lengths: *const usize,
    pub responses: *const *const c_char,
    pub response_lengths: *const usize,
    pub models: *const *const c_char,
    pub temperatures: *const f64,
    pub safe: *const i32,
    pub kind: i32,
    pub chosen: i32,
    pub rating: i32,
    pub reserved: i32,
    pub id: *const c_char,
    pub annotator: *const c_char,
    pub batch: *const c_char,
    pub guideline: *const c_char,
}

impl llama2_preference {
    /// The defaults, and struct_size.
    pub fn new() -> Self {
        unsafe {
            let mut value: Self = std::mem::zeroed();
            llama2_preference_init(&mut value, std::mem::size_of::<Self>());
            value
        }
    }
}
const _: () = assert!(std::mem::size_of::<llama2_preference>() == 120);

#[repr(C)]
#[derive(Clone, Copy)]
pub struct llama2_annotation {
    pub struct_size: u32,
    pub chosen: i32,
    pub rating: i32,
    pub bin: i32,
    pub annotator: *const c_char,
    pub batch: *const c_char,
    pub guideline: *const c_char,
}

impl llama2_annotation {
    /// The defaults, and struct_size.
    pub fn new() -> Self {
        unsafe {
            let mut value: Self = std::mem::zeroed();
            llama2_annotation_init(&mut value, std::mem::size_of::<Self>());
            value
        }
    }
}
const _: () = assert!(std::mem::size_of::<llama2_annotation>() == 40);

#[repr(C)]
#[derive(Clone, Copy)]
pub struct llama2_preference_summary {
    pub struct_size: u32,
    pub reserved: i32,
    pub n_records: i64,
    pub n_chosen: i64,
    pub n_significantly: i64,
    pub n_better: i64,
    pub n_slightly: i64,
    pub n_negligibly: i64,
    pub n_unrated: i64,
    pub n_chosen_safe: i64,
    pub n_both_safe: i64,
    pub n_both_unsafe: i64,
    pub n_other_safe: i64,
    pub n_unlabelled: i64,
    pub n_first: i64,
    pub first_share: f64,
}

impl llama2_preference_summary {
    /// Zeros, and struct_size.
    pub fn new() -> Self {
        unsafe {
            let mut value: Self = std::mem::zeroed();
            value.struct_size = std::mem::size_of::<Self>() as u32;
            value
        }
    }
}
const _: () = assert!(std::mem::size_of::<llama2_preference_summary>() == 120);

#[repr(C)]
#[derive(Clone, Copy)]
pub struct llama2_agreement {
    pub struct_size: u32,
    pub reserved: i32,
    pub n_comparisons: i64,
    pub n_annotations: i64,
    pub share: f64,
    pub alpha: f64,
}

impl llama2_agreement {
    /// Zeros, and struct_size.
    pub fn new() -> Self {
        unsafe {
            let mut value: Self = std::mem::zeroed();
            value.struct_size = std::mem::size_of::<Self>() as u32;
            value
        }
    }
}
const _: () = assert!(std::mem::size_of::<llama2_agreement>() == 40);

#[repr(C)]
#[derive(Clone, Copy)]
pub struct llama2_preferences_sample_options {
    pub struct_size: u32,
    pub max_new_tokens: i32,
    pub temperature_a: f64,
    pub temperature_b: f64,
    pub top_p: f64,
    pub top_k: i32,
    pub reserved: i32,
    pub seed: u64,
    pub first_sample_id: u64,
    pub model_a: *const c_char,
    pub model_b: *const c_char,
    pub batch: *const c_char,
    pub guideline: *const c_char,
    pub kinds: *const i32,
    pub tokenizer_b: *const llama2_tokenizer,
    pub progress: llama2_rollout_fn,
    pub user: *mut c_void,
}

impl llama2_preferences_sample_options {
    /// The defaults, and struct_size.
    pub fn new() -> Self {
        unsafe {
            let mut value: Self = std::mem::zeroed();
            llama2_preferences_sample_options_init(&mut value, std::mem::size_of::<Self>());
            value
        }
    }
}
const _: () = assert!(std::mem::size_of::<llama2_preferences_sample_options>() == 120);

#[repr(C)]
#[derive(Clone, Copy)]
pub struct llama2_comparisons_options {
    pub struct_size: u32,
    pub margin: i32,
    pub max_tokens: i64,
    pub safety_weight: f64,
    pub leave_out_unsafe: i32,
    pub reserved: i32,
}

impl llama2_comparisons_options {
    /// The defaults, and struct_size.
    pub fn new() -> Self {
        unsafe {
            let mut value: Self = std::mem::zeroed();
            llama2_comparisons_options_init(&mut value, std::mem::size_of::<Self>());
            value
        }
    }
}
const _: () = assert!(std::mem::size_of::<llama2_comparisons_options>() == 32);

#[repr(C)]
#[derive(Clone, Copy)]
pub struct llama2_comparisons_counts {
    pub struct_size: u32,
    pub reserved: i32,
    pub n_pairs: i64,
    pub n_open: i64,
    pub n_unsafe: i64,
    pub n_long: i64,
    pub n_marked: i64,
}

impl llama2_comparisons_counts {
    /// Zeros, and struct_size.
    pub fn new() -> Self {
        unsafe {
            let mut value: Self = std::mem::zeroed();
            value.struct_size = std::mem::size_of::<Self>() as u32;
            value
        }
    }
}
const _: () = assert!(std::mem::size_of::<llama2_comparisons_counts>() == 48);

#[repr(C)]
#[derive(Clone, Copy)]
pub struct llama2_pool_add_options {
    pub struct_size: u32,
    pub version: i32,
    pub keep: i32,
    pub leave_out_unsafe: i32,
    pub unsafe_below: f64,
    pub leave_out_unfinished: i32,
    pub reserved: i32,
    pub is_safety: *const u8,
}

impl llama2_pool_add_options {
    /// The defaults, and struct_size.
    pub fn new() -> Self {
        unsafe {
            let mut value: Self = std::mem::zeroed();
            llama2_pool_add_options_init(&mut value, std::mem::size_of::<Self>());
            value
        }
    }
}
const _: () = assert!(std::mem::size_of::<llama2_pool_add_options>() == 40);

#[repr(C)]
#[derive(Clone, Copy)]
pub struct llama2_pool_metrics {
    pub struct_size: u32,
    pub n_prompts: i32,
    pub n_kept: i32,
    pub n_unsafe: i32,
    pub mean_score: f64,
    pub mean_best: f64,
    pub mean_median: f64,
    pub n_unfinished: i32,
    pub n_duplicates: i32,
    pub n_empty: i32,
    pub reserved: i32,
}

impl llama2_pool_metrics {
    /// Zeros, and struct_size.
    pub fn new() -> Self {
        unsafe {
            let mut value: Self = std::mem::zeroed();
            value.struct_size = std::mem::size_of::<Self>() as u32;
            value
        }
    }
}
const _: () = assert!(std::mem::size_of::<llama2_pool_metrics>() == 56);

#[repr(C)]
#[derive(Clone, Copy)]
pub struct llama2_pool_sample {
    pub struct_size: u32,
    pub version: i32,
    pub prompt_id: u64,
    pub tokens: *const i32,
    pub n_tokens: i64,
    pub prompt_length: i32,
    pub score: f32,
    pub rank: i32,
    pub ended_by: i32,
    pub is_safety: i32,
    pub unsafe_: i32,
}

impl llama2_pool_sample {
    /// Zeros, and struct_size.
    pub fn new() -> Self {
        unsafe {
            let mut value: Self = std::mem::zeroed();
            value.struct_size = std::mem::size_of::<Self>() as u32;
            value
        }
    }
}
const _: () = assert!(std::mem::size_of::<llama2_pool_sample>() == 56);

#[repr(C)]
#[derive(Clone, Copy)]
pub struct llama2_distill_metrics {
    pub struct_size: u32,
    pub n_samples: i32,
    pub n_kept: i32,
    pub n_equal: i32,
    pub kept_share: f64,
    pub mean_original: f64,
    pub mean_distilled: f64,
    pub mean_kept_original: f64,
    pub mean_kept_distilled: f64,
}

impl llama2_distill_metrics {
    /// Zeros, and struct_size.
    pub fn new() -> Self {
        unsafe {
            let mut value: Self = std::mem::zeroed();
            value.struct_size = std::mem::size_of::<Self>() as u32;
            value
        }
    }
}
const _: () = assert!(std::mem::size_of::<llama2_distill_metrics>() == 56);

#[repr(C)]
#[derive(Clone, Copy)]
pub struct llama2_gatt_options {
    pub struct_size: u32,
    pub placement: i32,
    pub every_turn: i32,
    pub reserved: i32,
}

impl llama2_gatt_options {
    /// The defaults, and struct_size.
    pub fn new() -> Self {
        unsafe {
            let mut value: Self = std::mem::zeroed();
            llama2_gatt_options_init(&mut value, std::mem::size_of::<Self>());
            value
        }
    }
}
const _: () = assert!(std::mem::size_of::<llama2_gatt_options>() == 16);

#[repr(C)]
#[derive(Clone, Copy)]
pub struct llama2_gatt_dialogues {
    pub struct_size: u32,
    pub n_dialogues: i32,
    pub n_turns: *const i32,
    pub messages: *const *const c_char,
    pub message_lengths: *const usize,
    pub instructions: *const *const c_char,
    pub instruction_lengths: *const usize,
    pub kept_instructions: *const *const c_char,
    pub kept_lengths: *const usize,
    pub answers: *const *const c_char,
    pub answer_lengths: *const usize,
}

impl llama2_gatt_dialogues {
    /// Zeros, and struct_size.
    pub fn new() -> Self {
        unsafe {
            let mut value: Self = std::mem::zeroed();
            value.struct_size = std::mem::size_of::<Self>() as u32;
            value
        }
    }
}
const _: () = assert!(std::mem::size_of::<llama2_gatt_dialogues>() == 80);

#[repr(C)]
#[derive(Clone, Copy)]
pub struct llama2_gatt_metrics {
    pub struct_size: u32,
    pub turn: i32,
    pub n_answers: i32,
    pub n_ended: i32,
    pub n_open: i32,
    pub n_dropped: i32,
    pub n_full: i32,
    pub n_marked: i32,
}

impl llama2_gatt_metrics {
    /// Zeros, and struct_size.
    pub fn new() -> Self {
        unsafe {
            let mut value: Self = std::mem::zeroed();
            value.struct_size = std::mem::size_of::<Self>() as u32;
            value
        }
    }
}
const _: () = assert!(std::mem::size_of::<llama2_gatt_metrics>() == 32);

#[repr(C)]
#[derive(Clone, Copy)]
pub struct llama2_gatt_answer {
    pub struct_size: u32,
    pub state: i32,
    pub text: *const c_char,
    pub length: usize,
    pub sampled: i32,
    pub ended_by: i32,
}

impl llama2_gatt_answer {
    /// Zeros, and struct_size.
    pub fn new() -> Self {
        unsafe {
            let mut value: Self = std::mem::zeroed();
            value.struct_size = std::mem::size_of::<Self>() as u32;
            value
        }
    }
}
const _: () = assert!(std::mem::size_of::<llama2_gatt_answer>() == 32);

#[repr(C)]
#[derive(Clone, Copy)]
pub struct llama2_ppo_options {
    pub struct_size: u32,
    pub minibatch: i32,
    pub beta: f64,
    pub gamma: f64,
    pub lambda: f64,
    pub clip: f64,
    pub value_clip: f64,
    pub missing_eos_penalty: f64,
    pub whiten_advantages: i32,
    pub whiten_rewards: i32,
    pub kl_estimator: i32,
    pub epochs: i32,
    pub seed: u64,
    pub shuffle: i32,
    pub reserved: i32,
    pub value_coef: f64,
}

impl llama2_ppo_options {
    /// The defaults, and struct_size.
    pub fn new() -> Self {
        unsafe {
            let mut value: Self = std::mem::zeroed();
            llama2_ppo_options_init(&mut value, std::mem::size_of::<Self>());
            value
        }
    }
}
const _: () = assert!(std::mem::size_of::<llama2_ppo_options>() == 96);

#[repr(C)]
#[derive(Clone, Copy)]
pub struct llama2_ppo_metrics {
    pub struct_size: u32,
    pub n_updates: i32,
    pub kl: f64,
    pub entropy: f64,
    pub non_score_reward: f64,
    pub rlhf_reward: f64,
    pub score: f64,
    pub policy_loss: f64,
    pub value_loss: f64,
    pub approx_kl: f64,
    pub clip_fraction: f64,
    pub value_clip_fraction: f64,
    pub policy_entropy: f64,
    pub ratio: f64,
    pub ratio_var: f64,
    pub explained_variance: f64,
    pub eos_share: f64,
    pub response_length: f64,
    pub policy_grad_norm: f64,
    pub value_grad_norm: f64,
    pub policy_lr: f64,
    pub value_lr: f64,
    pub step: i64,
    pub distinct_1: f64,
    pub distinct_2: f64,
    pub repetition: f64,
    pub policy_skipped: i32,
    pub value_skipped: i32,
}

impl llama2_ppo_metrics {
    /// Zeros, and struct_size.
    pub fn new() -> Self {
        unsafe {
            let mut value: Self = std::mem::zeroed();
            value.struct_size = std::mem::size_of::<Self>() as u32;
            value
        }
    }
}
const _: () = assert!(std::mem::size_of::<llama2_ppo_metrics>() == 208);

extern "C" {
    pub fn llama2_version() -> *const c_char;
    pub fn llama2_status_name(status: llama2_status) -> *const c_char;
    pub fn llama2_last_error() -> *const c_char;
    pub fn llama2_context_options_init(options: *mut llama2_context_options, size: usize);
    pub fn llama2_context_create(options: *const llama2_context_options, out: *mut *mut llama2_context) -> llama2_status;
    pub fn llama2_context_free(ctx: *mut llama2_context);
    pub fn llama2_context_cancel(ctx: *mut llama2_context);
    pub fn llama2_context_resume(ctx: *mut llama2_context);
    pub fn llama2_context_threads(ctx: *const llama2_context) -> i32;
    pub fn llama2_context_describe(ctx: *const llama2_context) -> *const c_char;
    pub fn llama2_tokenizer_options_init(options: *mut llama2_tokenizer_options, size: usize);
    pub fn llama2_tokenizer_load(ctx: *mut llama2_context, path: *const c_char, options: *const llama2_tokenizer_options, out: *mut *mut llama2_tokenizer) -> llama2_status;
    pub fn llama2_tokenizer_load_memory(ctx: *mut llama2_context, data: *const c_void, size: usize, options: *const llama2_tokenizer_options, out: *mut *mut llama2_tokenizer) -> llama2_status;
    pub fn llama2_tokenizer_load_host(ctx: *mut llama2_context, file: *const llama2_host_file, options: *const llama2_tokenizer_options, out: *mut *mut llama2_tokenizer) -> llama2_status;
    pub fn llama2_tokenizer_pieces_init(pieces: *mut llama2_tokenizer_pieces, size: usize);
    pub fn llama2_tokenizer_create(ctx: *mut llama2_context, pieces: *const llama2_tokenizer_pieces, out: *mut *mut llama2_tokenizer) -> llama2_status;
    pub fn llama2_tokenizer_save(tokenizer: *const llama2_tokenizer, path: *const c_char) -> llama2_status;
    pub fn llama2_tokenizer_retain(tokenizer: *mut llama2_tokenizer) -> *mut llama2_tokenizer;
    pub fn llama2_tokenizer_free(tokenizer: *mut llama2_tokenizer);
    pub fn llama2_tokenizer_vocab_size(tokenizer: *const llama2_tokenizer) -> i32;
    pub fn llama2_tokenizer_bos(tokenizer: *const llama2_tokenizer) -> i32;
    pub fn llama2_tokenizer_eos(tokenizer: *const llama2_tokenizer) -> i32;
    pub fn llama2_tokenizer_unk(tokenizer: *const llama2_tokenizer) -> i32;
    pub fn llama2_tokenizer_pad(tokenizer: *const llama2_tokenizer) -> i32;
    pub fn llama2_tokenizer_adds_bos(tokenizer: *const llama2_tokenizer) -> i32;
    pub fn llama2_tokenizer_piece(tokenizer: *const llama2_tokenizer, id: i32, text: *mut *const c_char, length: *mut usize, score: *mut f32, type_: *mut i32) -> llama2_status;
    pub fn llama2_tokenizer_find(tokenizer: *const llama2_tokenizer, text: *const c_char, length: usize, id: *mut i32) -> llama2_status;
    pub fn llama2_tokenizer_encode(tokenizer: *const llama2_tokenizer, text: *const c_char, length: usize, flags: u32, ids: *mut i32, capacity: i64, needed: *mut i64) -> llama2_status;
    pub fn llama2_tokenizer_encode_offsets(tokenizer: *const llama2_tokenizer, text: *const c_char, length: usize, flags: u32, ids: *mut i32, begins: *mut usize, ends: *mut usize, capacity: i64, needed: *mut i64) -> llama2_status;
    pub fn llama2_tokenizer_decode(tokenizer: *const llama2_tokenizer, ids: *const i32, n: i64, flags: u32, buffer: *mut c_char, capacity: usize, needed: *mut usize) -> llama2_status;
    pub fn llama2_decoder_create(tokenizer: *mut llama2_tokenizer, flags: u32, out: *mut *mut llama2_decoder) -> llama2_status;
    pub fn llama2_decoder_free(decoder: *mut llama2_decoder);
    pub fn llama2_decoder_push(decoder: *mut llama2_decoder, id: i32, text: *mut *const c_char, length: *mut usize) -> llama2_status;
    pub fn llama2_decoder_finish(decoder: *mut llama2_decoder, text: *mut *const c_char, length: *mut usize) -> llama2_status;
    pub fn llama2_chat_init(chat: *mut llama2_chat, size: usize);
    pub fn llama2_chat_encode(tokenizer: *const llama2_tokenizer, chat: *const llama2_chat, flags: u32, ids: *mut i32, weights: *mut f32, capacity: i64, needed: *mut i64) -> llama2_status;
    pub fn llama2_packer_options_init(options: *mut llama2_packer_options, size: usize);
    pub fn llama2_packer_create(ctx: *mut llama2_context, options: *const llama2_packer_options, out: *mut *mut llama2_packer) -> llama2_status;
    pub fn llama2_packer_free(packer: *mut llama2_packer);
    pub fn llama2_packer_add(packer: *mut llama2_packer, tokens: *const i32, weights: *const f32, n: i64) -> llama2_status;
    pub fn llama2_packer_batch(packer: *const llama2_packer, batch: *mut llama2_batch) -> llama2_status;
    pub fn llama2_packer_clear(packer: *mut llama2_packer);
    pub fn llama2_packer_tokens(packer: *const llama2_packer) -> i64;
    pub fn llama2_packer_cut(packer: *const llama2_packer) -> i64;
    pub fn llama2_config_init(config: *mut llama2_config, size: usize);
    pub fn llama2_config_preset(config: *mut llama2_config, preset: i32) -> llama2_status;
    pub fn llama2_model_options_init(options: *mut llama2_model_options, size: usize);
    pub fn llama2_model_create(ctx: *mut llama2_context, config: *const llama2_config, options: *const llama2_model_options, out: *mut *mut llama2_model) -> llama2_status;
    pub fn llama2_model_load(ctx: *mut llama2_context, path: *const c_char, options: *const llama2_model_options, out: *mut *mut llama2_model) -> llama2_status;
    pub fn llama2_model_load_host(ctx: *mut llama2_context, file: *const llama2_host_file, options: *const llama2_model_options, out: *mut *mut llama2_model) -> llama2_status;
    pub fn llama2_model_save(model: *const llama2_model, path: *const c_char, dtype: i32) -> llama2_status;
    pub fn llama2_model_retain(model: *mut llama2_model) -> *mut llama2_model;
    pub fn llama2_model_free(model: *mut llama2_model);
    pub fn llama2_model_clone(model: *const llama2_model, out: *mut *mut llama2_model) -> llama2_status;
    pub fn llama2_model_copy_weights(to: *mut llama2_model, from: *const llama2_model) -> llama2_status;
    pub fn llama2_model_config(model: *const llama2_model, config: *mut llama2_config) -> llama2_status;
    pub fn llama2_model_parameters(model: *const llama2_model) -> i64;
    pub fn llama2_model_is_eos(model: *const llama2_model, token: i32) -> i32;
    pub fn llama2_model_eos_ids(model: *const llama2_model, ids: *mut i32, capacity: i32, needed: *mut i32) -> llama2_status;
    pub fn llama2_model_set_eos_ids(model: *mut llama2_model, ids: *const i32, n: i32) -> llama2_status;
    pub fn llama2_model_tensors(model: *const llama2_model) -> i32;
    pub fn llama2_model_tensor_info(model: *const llama2_model, index: i32, info: *mut llama2_tensor_info) -> llama2_status;
    pub fn llama2_model_get_tensor(model: *const llama2_model, name: *const c_char, buffer: *mut f32, capacity: i64, needed: *mut i64) -> llama2_status;
    pub fn llama2_model_set_tensor(model: *mut llama2_model, name: *const c_char, values: *const f32, count: i64) -> llama2_status;
    pub fn llama2_model_logits(model: *const llama2_model, batch: *const llama2_batch, out: *mut f32) -> llama2_status;
    pub fn llama2_model_hidden(model: *const llama2_model, batch: *const llama2_batch, out: *mut f32) -> llama2_status;
    pub fn llama2_model_logprobs(model: *const llama2_model, batch: *const llama2_batch, temperature: f64, logprobs: *mut f32, entropies: *mut f32) -> llama2_status;
    pub fn llama2_model_evaluate(model: *const llama2_model, batch: *const llama2_batch, loss: *mut llama2_loss) -> llama2_status;
    pub fn llama2_memory_options_init(options: *mut llama2_memory_options, size: usize);
    pub fn llama2_memory_estimate(config: *const llama2_config, options: *const llama2_memory_options, out: *mut llama2_memory) -> llama2_status;
    pub fn llama2_convert_options_init(options: *mut llama2_convert_options, size: usize);
    pub fn llama2_convert(ctx: *mut llama2_context, from: *const c_char, to: *const c_char, options: *const llama2_convert_options) -> llama2_status;
    pub fn llama2_model_save_gguf(model: *const llama2_model, tokenizer: *const llama2_tokenizer, path: *const c_char, options: *const llama2_convert_options) -> llama2_status;
    pub fn llama2_inspect(ctx: *mut llama2_context, path: *const c_char, out: *mut *mut llama2_inspection) -> llama2_status;
    pub fn llama2_inspection_free(inspection: *mut llama2_inspection);
    pub fn llama2_inspection_summarise(inspection: *const llama2_inspection, summary: *mut llama2_inspection_summary) -> llama2_status;
    pub fn llama2_inspection_config(inspection: *const llama2_inspection, config: *mut llama2_config) -> llama2_status;
    pub fn llama2_inspection_get_tensor(inspection: *const llama2_inspection, index: i32, tensor: *mut llama2_inspection_tensor) -> llama2_status;
    pub fn llama2_inspection_get_key(inspection: *const llama2_inspection, index: i32, key: *mut *const c_char, value: *mut *const c_char) -> llama2_status;
    pub fn llama2_sampling_init(sampling: *mut llama2_sampling, size: usize);
    pub fn llama2_session_create(model: *mut llama2_model, out: *mut *mut llama2_session) -> llama2_status;
    pub fn llama2_session_free(session: *mut llama2_session);
    pub fn llama2_session_feed(session: *mut llama2_session, tokens: *const i32, n: i64) -> llama2_status;
    pub fn llama2_session_feed_batch(sessions: *const *mut llama2_session, n_sessions: i32, tokens: *const i32, offsets: *const i64) -> llama2_status;
    pub fn llama2_session_sync(session: *mut llama2_session, tokens: *const i32, n: i64, reused: *mut i64) -> llama2_status;
    pub fn llama2_session_sample(session: *mut llama2_session, sampling: *const llama2_sampling, token: *mut i32, logprob: *mut f32) -> llama2_status;
    pub fn llama2_session_top(session: *mut llama2_session, temperature: f64, n: i32, ids: *mut i32, logprobs: *mut f32) -> llama2_status;
    pub fn llama2_session_logits(session: *const llama2_session, buffer: *mut f32, capacity: i64, needed: *mut i64) -> llama2_status;
    pub fn llama2_session_position(session: *const llama2_session) -> i64;
    pub fn llama2_session_rewind(session: *mut llama2_session, n: i64) -> llama2_status;
    pub fn llama2_session_save(session: *const llama2_session, path: *const c_char) -> llama2_status;
    pub fn llama2_session_save_memory(session: *const llama2_session, buffer: *mut c_void, capacity: usize, needed: *mut usize) -> llama2_status;
    pub fn llama2_session_load(model: *mut llama2_model, path: *const c_char, out: *mut *mut llama2_session) -> llama2_status;
    pub fn llama2_session_load_memory(model: *mut llama2_model, data: *const c_void, size: usize, out: *mut *mut llama2_session) -> llama2_status;
    pub fn llama2_stops_create(ctx: *mut llama2_context, texts: *const *const c_char, lengths: *const usize, n: i32, out: *mut *mut llama2_stops) -> llama2_status;
    pub fn llama2_stops_free(stops: *mut llama2_stops);
    pub fn llama2_stops_push(stops: *mut llama2_stops, text: *const c_char, length: usize, shown: *mut *const c_char, n_shown: *mut usize, which: *mut i32) -> llama2_status;
    pub fn llama2_stops_finish(stops: *mut llama2_stops, shown: *mut *const c_char, n_shown: *mut usize) -> llama2_status;
    pub fn llama2_shard_writer_create(ctx: *mut llama2_context, path: *const c_char, vocab_size: i64, out: *mut *mut llama2_shard_writer) -> llama2_status;
    pub fn llama2_shard_writer_append(writer: *mut llama2_shard_writer, tokens: *const i32, n: i64) -> llama2_status;
    pub fn llama2_shard_writer_tokens(writer: *const llama2_shard_writer) -> i64;
    pub fn llama2_shard_writer_finish(writer: *mut llama2_shard_writer) -> llama2_status;
    pub fn llama2_shard_writer_free(writer: *mut llama2_shard_writer);
    pub fn llama2_shards_options_init(options: *mut llama2_shards_options, size: usize);
    pub fn llama2_shards_create(ctx: *mut llama2_context, options: *const llama2_shards_options, out: *mut *mut llama2_shards) -> llama2_status;
    pub fn llama2_shards_add_source(shards: *mut llama2_shards, paths: *const *const c_char, n_paths: i32, weight: f64) -> llama2_status;
    pub fn llama2_shards_next(shards: *mut llama2_shards, n: i64, tokens: *mut i32, sources: *mut i32) -> llama2_status;
    pub fn llama2_shards_tell(shards: *const llama2_shards) -> u64;
    pub fn llama2_shards_seek(shards: *mut llama2_shards, position: u64) -> llama2_status;
    pub fn llama2_shards_vocab_size(shards: *const llama2_shards) -> i64;
    pub fn llama2_shards_sources(shards: *const llama2_shards) -> i32;
    pub fn llama2_shards_source_info(shards: *const llama2_shards, index: i32, info: *mut llama2_shards_source) -> llama2_status;
    pub fn llama2_shards_free(shards: *mut llama2_shards);
    pub fn llama2_mixture_options_init(options: *mut llama2_mixture_options, size: usize);
    pub fn llama2_mixture_create(ctx: *mut llama2_context, n_sources: i32, counts: *const i64, kinds: *const i32, weights: *const f64, options: *const llama2_mixture_options, out: *mut *mut llama2_mixture) -> llama2_status;
    pub fn llama2_mixture_epoch_items(mixture: *const llama2_mixture) -> i64;
    pub fn llama2_mixture_draw(mixture: *const llama2_mixture, position: u64, n: i64, sources: *mut i32, items: *mut i64) -> llama2_status;
    pub fn llama2_mixture_free(mixture: *mut llama2_mixture);
    pub fn llama2_optimizer_options_init(options: *mut llama2_optimizer_options, size: usize);
    pub fn llama2_optimizer_create(ctx: *mut llama2_context, options: *const llama2_optimizer_options, out: *mut *mut llama2_optimizer) -> llama2_status;
    pub fn llama2_optimizer_free(optimizer: *mut llama2_optimizer);
    pub fn llama2_optimizer_set_lr(optimizer: *mut llama2_optimizer, lr: f64) -> llama2_status;
    pub fn llama2_trainer_options_init(options: *mut llama2_trainer_options, size: usize);
    pub fn llama2_trainer_create(ctx: *mut llama2_context, model: *mut llama2_model, optimizer: *mut llama2_optimizer, options: *const llama2_trainer_options, out: *mut *mut llama2_trainer) -> llama2_status;
    pub fn llama2_trainer_create_for_reward(ctx: *mut llama2_context, reward_model: *mut llama2_reward_model, optimizer: *mut llama2_optimizer, options: *const llama2_trainer_options, out: *mut *mut llama2_trainer) -> llama2_status;
    pub fn llama2_trainer_free(trainer: *mut llama2_trainer);
    pub fn llama2_trainer_accumulate(trainer: *mut llama2_trainer, batch: *const llama2_batch, loss: *mut llama2_loss) -> llama2_status;
    pub fn llama2_trainer_update(trainer: *mut llama2_trainer, metrics: *mut llama2_step_metrics) -> llama2_status;
    pub fn llama2_trainer_clear(trainer: *mut llama2_trainer) -> llama2_status;
    pub fn llama2_trainer_backward_logprobs(trainer: *mut llama2_trainer, batch: *const llama2_batch, temperature: f64, grad: *const f32, loss: f64, weight: f64) -> llama2_status;
    pub fn llama2_trainer_backward_logits(trainer: *mut llama2_trainer, batch: *const llama2_batch, grad: *const f32, loss: f64, weight: f64) -> llama2_status;
    pub fn llama2_trainer_backward_values(trainer: *mut llama2_trainer, batch: *const llama2_batch, grad: *const f32, loss: f64, weight: f64) -> llama2_status;
    pub fn llama2_trainer_get_gradient(trainer: *const llama2_trainer, name: *const c_char, buffer: *mut f32, capacity: i64, needed: *mut i64) -> llama2_status;
    pub fn llama2_trainer_step(trainer: *const llama2_trainer) -> i64;
    pub fn llama2_pretrain_step(trainer: *mut llama2_trainer, batch: *const llama2_batch, metrics: *mut llama2_step_metrics) -> llama2_status;
    pub fn llama2_sft_step(trainer: *mut llama2_trainer, batch: *const llama2_batch, metrics: *mut llama2_step_metrics) -> llama2_status;
    pub fn llama2_reward_options_init(options: *mut llama2_reward_options, size: usize);
    pub fn llama2_reward_model_create(ctx: *mut llama2_context, model: *const llama2_model, options: *const llama2_reward_options, out: *mut *mut llama2_reward_model) -> llama2_status;
    pub fn llama2_reward_model_create_shared(model: *mut llama2_model, options: *const llama2_reward_options, out: *mut *mut llama2_reward_model) -> llama2_status;
    pub fn llama2_reward_model_clone(reward_model: *const llama2_reward_model, out: *mut *mut llama2_reward_model) -> llama2_status;
    pub fn llama2_reward_model_load(ctx: *mut llama2_context, path: *const c_char, options: *const llama2_model_options, out: *mut *mut llama2_reward_model) -> llama2_status;
    pub fn llama2_reward_model_save(reward_model: *const llama2_reward_model, path: *const c_char, dtype: i32) -> llama2_status;
    pub fn llama2_reward_model_free(reward_model: *mut llama2_reward_model);
    pub fn llama2_reward_model_get_tensor(reward_model: *const llama2_reward_model, name: *const c_char, buffer: *mut f32, capacity: i64, needed: *mut i64) -> llama2_status;
    pub fn llama2_reward_model_set_tensor(reward_model: *mut llama2_reward_model, name: *const c_char, values: *const f32, count: i64) -> llama2_status;
    pub fn llama2_reward_model_set_normalisation(reward_model: *mut llama2_reward_model, shift: f64, scale: f64) -> llama2_status;
    pub fn llama2_reward_model_normalisation(reward_model: *const llama2_reward_model, shift: *mut f64, scale: *mut f64) -> llama2_status;
    pub fn llama2_reward_model_score(reward_model: *const llama2_reward_model, batch: *const llama2_batch, scores: *mut f32) -> llama2_status;
    pub fn llama2_reward_model_values(reward_model: *const llama2_reward_model, batch: *const llama2_batch, values: *mut f32) -> llama2_status;
    pub fn llama2_reward_margin(scheme: i32, rating: i32) -> f32;
    pub fn llama2_reward_accumulate(trainer: *mut llama2_trainer, pairs: *const llama2_pairs, metrics: *mut llama2_reward_metrics) -> llama2_status;
    pub fn llama2_reward_step(trainer: *mut llama2_trainer, pairs: *const llama2_pairs, metrics: *mut llama2_reward_metrics) -> llama2_status;
    pub fn llama2_reward_evaluate(reward_model: *const llama2_reward_model, pairs: *const llama2_pairs, metrics: *mut llama2_reward_metrics, scores: *mut f32) -> llama2_status;
    pub fn llama2_reward_card_make(ctx: *mut llama2_context, pairs: *const llama2_scored_pairs, card: *mut llama2_reward_card) -> llama2_status;
    pub fn llama2_reward_calibration(pairs: *const llama2_scored_pairs, n_bins: i32, counts: *mut i64, confidence: *mut f64, accuracy: *mut f64, low: *mut f64, high: *mut f64) -> llama2_status;
    pub fn llama2_reward_histogram(pairs: *const llama2_scored_pairs, low: f64, high: f64, n_bins: i32, chosen: *mut i64, rejected: *mut i64) -> llama2_status;
    pub fn llama2_rollout_options_init(options: *mut llama2_rollout_options, size: usize);
    pub fn llama2_rollout(policy: *mut llama2_model, prompts: *const llama2_batch, options: *const llama2_rollout_options, out: *mut *mut llama2_rollouts) -> llama2_status;
    pub fn llama2_rollouts_create(ctx: *mut llama2_context, sequences: *const llama2_batch, prompt_lengths: *const i32, samples_per_prompt: i32, eos_id: i32, temperature: f64, out: *mut *mut llama2_rollouts) -> llama2_status;
    pub fn llama2_rollouts_free(rollouts: *mut llama2_rollouts);
    pub fn llama2_rollouts_after(rollouts: *const llama2_rollouts, prompts: *const llama2_batch, out: *mut *mut llama2_rollouts) -> llama2_status;
    pub fn llama2_rollouts_pack(rollouts: *const llama2_rollouts, keep: *const u8, packer: *mut llama2_packer) -> llama2_status;
    pub fn llama2_rollouts_view_get(rollouts: *const llama2_rollouts, view: *mut llama2_rollouts_view) -> llama2_status;
    pub fn llama2_rollouts_set(rollouts: *mut llama2_rollouts, array: i32, values: *const f32, n: i64) -> llama2_status;
    pub fn llama2_rollouts_score(rollouts: *mut llama2_rollouts, reward_model: *const llama2_reward_model) -> llama2_status;
    pub fn llama2_rollouts_score_into(rollouts: *mut llama2_rollouts, reward_model: *const llama2_reward_model, array: i32) -> llama2_status;
    pub fn llama2_combine_options_init(options: *mut llama2_combine_options, size: usize);
    pub fn llama2_rollouts_combine(rollouts: *mut llama2_rollouts, is_safety: *const u8, options: *const llama2_combine_options) -> llama2_status;
    pub fn llama2_rollouts_save(rollouts: *const llama2_rollouts, path: *const c_char) -> llama2_status;
    pub fn llama2_rollouts_load(ctx: *mut llama2_context, path: *const c_char, out: *mut *mut llama2_rollouts) -> llama2_status;
    pub fn llama2_preference_init(record: *mut llama2_preference, size: usize);
    pub fn llama2_preference_bin(record: *const llama2_preference) -> i32;
    pub fn llama2_preferences_create(ctx: *mut llama2_context, out: *mut *mut llama2_preferences) -> llama2_status;
    pub fn llama2_preferences_free(preferences: *mut llama2_preferences);
    pub fn llama2_preferences_add(preferences: *mut llama2_preferences, record: *const llama2_preference) -> llama2_status;
    pub fn llama2_preferences_count(preferences: *const llama2_preferences) -> i64;
    pub fn llama2_preferences_get(preferences: *const llama2_preferences, index: i64, record: *mut llama2_preference) -> llama2_status;
    pub fn llama2_preferences_find(preferences: *const llama2_preferences, id: *const c_char, index: *mut i64) -> llama2_status;
    pub fn llama2_annotation_init(annotation: *mut llama2_annotation, size: usize);
    pub fn llama2_preferences_annotate(preferences: *mut llama2_preferences, index: i64, annotation: *const llama2_annotation) -> llama2_status;
    pub fn llama2_preferences_save(preferences: *const llama2_preferences, path: *const c_char) -> llama2_status;
    pub fn llama2_preferences_load(ctx: *mut llama2_context, path: *const c_char, out: *mut *mut llama2_preferences) -> llama2_status;
    pub fn llama2_preferences_summarise(preferences: *const llama2_preferences, kind: i32, summary: *mut llama2_preference_summary) -> llama2_status;
    pub fn llama2_preferences_agreement(preferences: *const llama2_preferences, kind: i32, agreement: *mut llama2_agreement) -> llama2_status;
    pub fn llama2_preferences_sample_options_init(options: *mut llama2_preferences_sample_options, size: usize);
    pub fn llama2_preferences_sample(preferences: *mut llama2_preferences, a: *mut llama2_model, b: *mut llama2_model, tokenizer: *const llama2_tokenizer, dialogues: *const *const llama2_chat, n: i32, options: *const llama2_preferences_sample_options) -> llama2_status;
    pub fn llama2_comparisons_options_init(options: *mut llama2_comparisons_options, size: usize);
    pub fn llama2_comparisons_create(preferences: *const llama2_preferences, tokenizer: *const llama2_tokenizer, indices: *const i64, first: i64, n: i64, options: *const llama2_comparisons_options, counts: *mut llama2_comparisons_counts, out: *mut *mut llama2_comparisons) -> llama2_status;
    pub fn llama2_comparisons_free(comparisons: *mut llama2_comparisons);
    pub fn llama2_comparisons_count(comparisons: *const llama2_comparisons) -> i64;
    pub fn llama2_comparisons_record(comparisons: *const llama2_comparisons, i: i64) -> i64;
    pub fn llama2_comparisons_pairs(comparisons: *mut llama2_comparisons, indices: *const i64, first: i64, n: i32, pairs: *mut llama2_pairs) -> llama2_status;
    pub fn llama2_pool_create(ctx: *mut llama2_context, out: *mut *mut llama2_pool) -> llama2_status;
    pub fn llama2_pool_free(pool: *mut llama2_pool);
    pub fn llama2_pool_add_options_init(options: *mut llama2_pool_add_options, size: usize);
    pub fn llama2_pool_add(pool: *mut llama2_pool, rollouts: *const llama2_rollouts, prompt_ids: *const u64, options: *const llama2_pool_add_options, metrics: *mut llama2_pool_metrics) -> llama2_status;
    pub fn llama2_pool_count(pool: *const llama2_pool, first: i32, last: i32, count: *mut i64) -> llama2_status;
    pub fn llama2_pool_best(pool: *const llama2_pool, first: i32, last: i32, index: i64, sample: *mut llama2_pool_sample) -> llama2_status;
    pub fn llama2_pool_count_top(pool: *const llama2_pool, first: i32, last: i32, top: i32, count: *mut i64) -> llama2_status;
    pub fn llama2_pool_top(pool: *const llama2_pool, first: i32, last: i32, top: i32, index: i64, sample: *mut llama2_pool_sample) -> llama2_status;
    pub fn llama2_pool_size(pool: *const llama2_pool, size: *mut i64) -> llama2_status;
    pub fn llama2_pool_get(pool: *const llama2_pool, index: i64, sample: *mut llama2_pool_sample) -> llama2_status;
    pub fn llama2_pool_rollouts(pool: *const llama2_pool, out: *mut *mut llama2_rollouts) -> llama2_status;
    pub fn llama2_pool_rescore(pool: *mut llama2_pool, scored: *const llama2_rollouts, options: *const llama2_pool_add_options) -> llama2_status;
    pub fn llama2_pool_save(pool: *const llama2_pool, path: *const c_char) -> llama2_status;
    pub fn llama2_pool_load(ctx: *mut llama2_context, path: *const c_char, out: *mut *mut llama2_pool) -> llama2_status;
    pub fn llama2_distill_gate(original: *const llama2_rollouts, distilled: *const llama2_rollouts, keep: *mut u8, metrics: *mut llama2_distill_metrics) -> llama2_status;
    pub fn llama2_distill(policy: *mut llama2_model, safety: *const llama2_reward_model, prompts: *const llama2_batch, preprompted: *const llama2_batch, options: *const llama2_rollout_options, original: *mut *mut llama2_rollouts, distilled: *mut *mut llama2_rollouts, keep: *mut u8, metrics: *mut llama2_distill_metrics) -> llama2_status;
    pub fn llama2_gatt_options_init(options: *mut llama2_gatt_options, size: usize);
    pub fn llama2_gatt_create(tokenizer: *mut llama2_tokenizer, dialogues: *const llama2_gatt_dialogues, options: *const llama2_gatt_options, out: *mut *mut llama2_gatt) -> llama2_status;
    pub fn llama2_gatt_free(gatt: *mut llama2_gatt);
    pub fn llama2_gatt_turn(gatt: *mut llama2_gatt, policy: *mut llama2_model, options: *const llama2_rollout_options, metrics: *mut llama2_gatt_metrics) -> llama2_status;
    pub fn llama2_gatt_turns_left(gatt: *const llama2_gatt) -> i32;
    pub fn llama2_gatt_answer_get(gatt: *const llama2_gatt, dialogue: i32, turn: i32, answer: *mut llama2_gatt_answer) -> llama2_status;
    pub fn llama2_gatt_drop(gatt: *mut llama2_gatt, dialogue: i32) -> llama2_status;
    pub fn llama2_gatt_examples(gatt: *const llama2_gatt, out: *mut *mut llama2_rollouts) -> llama2_status;
    pub fn llama2_ppo_options_init(options: *mut llama2_ppo_options, size: usize);
    pub fn llama2_rollouts_reference(rollouts: *mut llama2_rollouts, reference: *const llama2_model) -> llama2_status;
    pub fn llama2_rollouts_values(rollouts: *mut llama2_rollouts, critic: *const llama2_reward_model) -> llama2_status;
    pub fn llama2_ppo_advantages(rollouts: *mut llama2_rollouts, options: *const llama2_ppo_options, metrics: *mut llama2_ppo_metrics) -> llama2_status;
    pub fn llama2_ppo_update(policy: *mut llama2_trainer, critic: *mut llama2_trainer, rollouts: *const llama2_rollouts, options: *const llama2_ppo_options, metrics: *mut llama2_ppo_metrics) -> llama2_status;
    pub fn llama2_ppo_adapt_beta(beta: f64, kl: f64, target: f64, horizon: f64, samples: i64) -> f64;
    pub fn llama2_checkpoint_begin(ctx: *mut llama2_context, root: *const c_char, step: i64, out: *mut *mut llama2_checkpoint) -> llama2_status;
    pub fn llama2_checkpoint_add_trainer(checkpoint: *mut llama2_checkpoint, name: *const c_char, trainer: *const llama2_trainer) -> llama2_status;
    pub fn llama2_checkpoint_add_rollouts(checkpoint: *mut llama2_checkpoint, name: *const c_char, rollouts: *const llama2_rollouts) -> llama2_status;
    pub fn llama2_checkpoint_add_bytes(checkpoint: *mut llama2_checkpoint, name: *const c_char, data: *const c_void, size: usize) -> llama2_status;
    pub fn llama2_checkpoint_commit(checkpoint: *mut llama2_checkpoint, keep: i32) -> llama2_status;
    pub fn llama2_checkpoint_open(ctx: *mut llama2_context, root: *const c_char, step: i64, out: *mut *mut llama2_checkpoint) -> llama2_status;
    pub fn llama2_checkpoint_step(checkpoint: *const llama2_checkpoint) -> i64;
    pub fn llama2_checkpoint_get_trainer(checkpoint: *mut llama2_checkpoint, name: *const c_char, trainer: *mut llama2_trainer) -> llama2_status;
    pub fn llama2_checkpoint_get_rollouts(checkpoint: *mut llama2_checkpoint, name: *const c_char, out: *mut *mut llama2_rollouts) -> llama2_status;
    pub fn llama2_checkpoint_get_bytes(checkpoint: *mut llama2_checkpoint, name: *const c_char, buffer: *mut c_void, capacity: usize, needed: *mut usize) -> llama2_status;
    pub fn llama2_checkpoint_free(checkpoint: *mut llama2_checkpoint);
}
