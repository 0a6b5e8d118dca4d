"""libllama2 for Python: the declarations of its headers for ctypes. Made by make_llama2.py.

    import llama2
    lib = llama2.load()
    ctx = llama2.handle(llama2.llama2_context)
    lib.llama2_context_create(None, ctx)

Functions, structs and constants have their C names (a name that is a keyword here ends with an underscore). A function that returns a status raises
llama2.Error when it fails. The headers say what everything means, and who frees what."""
import os
from ctypes import (CDLL, CFUNCTYPE, POINTER, Structure, c_char, c_char_p, c_double, c_float, c_int32, c_int64, c_size_t, c_uint8, c_uint32, c_uint64,
                    c_void_p, sizeof)


class llama2_status(c_int32):
    """Its value is in the exception: functions that return it return None."""


class Error(Exception):
    """A function failed: `code` is one of LLAMA2_E_*, the text says what, where and what would have been right."""

    def __init__(self, code, message):
        super().__init__(message)
        self.code = code


def handle(opaque):
    """A NULL handle. To be given both where one is made (llama2_x **) and where one is used (llama2_x *)."""
    return POINTER(opaque)()


def new(lib, struct, **fields):
    """A struct with its defaults, or zeros where it has none, and with these fields."""
    value = struct(struct_size=sizeof(struct))
    init = getattr(lib, struct.__name__ + "_init", None)
    if init:
        init(value, sizeof(struct))
    for name, content in fields.items():
        if not hasattr(value, name):
            raise AttributeError(f"{struct.__name__} has no field {name}")
        setattr(value, name, content)
    return value


def load(path=None):
    """The library, by default that of the environment's LLAMA2_LIBRARY, else the one that the system's loader finds."""
    lib = CDLL(path or os.environ.get("LLAMA2_LIBRARY") or "libllama2.so.0")

    def check(status, function, arguments):
        if status.value < 0:
            message = lib.llama2_last_error().decode()
            where = "" if message.startswith(function.__name__) else f"{function.__name__}: "
            raise Error(status.value, f"{lib.llama2_status_name(status.value).decode()}: {where}{message}")

    for name, (result, parameters) in FUNCTIONS.items():
        function = getattr(lib, name)
        function.restype, function.argtypes = result, parameters
        if result is llama2_status:
            function.errcheck = check
    return lib


LLAMA2_VERSION_MAJOR = 0
LLAMA2_VERSION_MINOR = 1
LLAMA2_VERSION_PATCH = 0
LLAMA2_OK = 0
LLAMA2_E_NOMEM = -1
LLAMA2_E_INVALID = -2
LLAMA2_E_IO = -3
LLAMA2_E_FORMAT = -4
LLAMA2_E_TRUNCATED = -5
LLAMA2_E_LIMIT = -6
LLAMA2_E_UNSUPPORTED = -7
LLAMA2_E_MISMATCH = -8
LLAMA2_E_CORRUPT = -9
LLAMA2_E_BUSY = -10
LLAMA2_E_STATE = -11
LLAMA2_E_USER = -12
LLAMA2_E_CANCELLED = -13
LLAMA2_E_NUMERIC = -14
LLAMA2_E_ABI = -15
LLAMA2_E_NOT_FOUND = -16
LLAMA2_E_BUFFER = -17
LLAMA2_E_FORKED = -18
LLAMA2_E_CONTEXT = -19
LLAMA2_E_INJECTION = -20
LLAMA2_F32 = 0
LLAMA2_F64 = 1
LLAMA2_BF16 = 2
LLAMA2_F16 = 3
LLAMA2_Q8_0 = 4
LLAMA2_Q4_0 = 5
LLAMA2_Q4_K = 6
LLAMA2_Q6_K = 7
LLAMA2_LOG_ERROR = 0
LLAMA2_LOG_WARN = 1
LLAMA2_LOG_INFO = 2
LLAMA2_LOG_DEBUG = 3
LLAMA2_GEMM_BUILTIN = 0
LLAMA2_GEMM_CBLAS = 1
LLAMA2_ISA_AUTO = 0
LLAMA2_ISA_SCALAR = 1
LLAMA2_ISA_AVX2 = 2
LLAMA2_ISA_AVX512 = 3
LLAMA2_PIECE_NORMAL = 1
LLAMA2_PIECE_UNKNOWN = 2
LLAMA2_PIECE_CONTROL = 3
LLAMA2_PIECE_USER_DEFINED = 4
LLAMA2_PIECE_UNUSED = 5
LLAMA2_PIECE_BYTE = 6
LLAMA2_ENCODE_BOS = 1
LLAMA2_ENCODE_EOS = 2
LLAMA2_DECODE_SPECIALS = 1
LLAMA2_DECODE_CONTINUE = 2
LLAMA2_DECODE_BYTES = 4
LLAMA2_ROLE_SYSTEM = 0
LLAMA2_ROLE_USER = 1
LLAMA2_ROLE_ASSISTANT = 2
LLAMA2_CHAT_COMPLETE = 1
LLAMA2_CHAT_TO_END = 2
LLAMA2_PRESET_7B = 0
LLAMA2_PRESET_13B = 1
LLAMA2_PRESET_34B = 2
LLAMA2_PRESET_70B = 3
LLAMA2_ROPE_SCALING_NONE = 0
LLAMA2_ROPE_SCALING_LINEAR = 1
LLAMA2_ROPE_SCALING_LLAMA3 = 2
LLAMA2_WEIGHTS_CONVERTED = 0
LLAMA2_WEIGHTS_AS_STORED = 1
LLAMA2_FORMAT_AUTO = 0
LLAMA2_FORMAT_HUGGINGFACE = 1
LLAMA2_FORMAT_GGUF = 2
LLAMA2_FORMAT_LLAMA2C = 3
LLAMA2_FORMAT_META = 4
LLAMA2_TYPE_KEEP = -1
LLAMA2_SOURCE_OWN_HELPFUL = 0
LLAMA2_SOURCE_OWN_SAFETY = 1
LLAMA2_SOURCE_OPEN_HELPFUL = 2
LLAMA2_SOURCE_OPEN_HARMLESS = 3
LLAMA2_MIX_ALL = 0
LLAMA2_MIX_WEIGHTS = 1
LLAMA2_MIX_EQUAL = 2
LLAMA2_MIX_HELPFULNESS = 3
LLAMA2_MIX_SAFETY = 4
LLAMA2_MIX_NINE_TO_ONE = 5
LLAMA2_MIX_OPEN_FIRST = 6
LLAMA2_SCHEDULE_COSINE = 0
LLAMA2_SCHEDULE_CONSTANT = 1
LLAMA2_HEAD_NORMAL = 0
LLAMA2_HEAD_ZERO = 1
LLAMA2_RATING_SIGNIFICANTLY = 0
LLAMA2_RATING_BETTER = 1
LLAMA2_RATING_SLIGHTLY = 2
LLAMA2_RATING_NEGLIGIBLY = 3
LLAMA2_MARGIN_NONE = 0
LLAMA2_MARGIN_SMALL = 1
LLAMA2_MARGIN_LARGE = 2
LLAMA2_END_LENGTH = 0
LLAMA2_END_EOS = 1
LLAMA2_END_STOP = 2
LLAMA2_END_CONTEXT = 3
LLAMA2_ROLLOUTS_LOGPROBS = 0
LLAMA2_ROLLOUTS_REF_LOGPROBS = 1
LLAMA2_ROLLOUTS_VALUES = 2
LLAMA2_ROLLOUTS_ADVANTAGES = 3
LLAMA2_ROLLOUTS_RETURNS = 4
LLAMA2_ROLLOUTS_SCORES = 5
LLAMA2_ROLLOUTS_HELPFUL_SCORES = 6
LLAMA2_ROLLOUTS_SAFETY_SCORES = 7
LLAMA2_KIND_HELPFUL = 0
LLAMA2_KIND_SAFETY = 1
LLAMA2_BIN_CHOSEN_SAFE = 0
LLAMA2_BIN_BOTH_SAFE = 1
LLAMA2_BIN_BOTH_UNSAFE = 2
LLAMA2_BIN_OTHER_SAFE = 3
LLAMA2_GATT_SYSTEM = 0
LLAMA2_GATT_USER = 1
LLAMA2_GATT_OPEN = 0
LLAMA2_GATT_DROPPED = 1
LLAMA2_GATT_FULL = 2
LLAMA2_GATT_MARKED = 3
LLAMA2_KL_K1 = 1
LLAMA2_KL_K2 = 2
LLAMA2_KL_K3 = 3


class llama2_context(Structure):
    pass


class llama2_tokenizer(Structure):
    pass


class llama2_model(Structure):
    pass


class llama2_session(Structure):
    pass


class llama2_optimizer(Structure):
    pass


class llama2_reward_model(Structure):
    pass


class llama2_trainer(Structure):
    pass


class llama2_packer(Structure):
    pass


class llama2_rollouts(Structure):
    pass


class llama2_pool(Structure):
    pass


class llama2_preferences(Structure):
    pass


class llama2_comparisons(Structure):
    pass


class llama2_gatt(Structure):
    pass


class llama2_mixture(Structure):
    pass


class llama2_shards(Structure):
    pass


class llama2_checkpoint(Structure):
    pass


class llama2_decoder(Structure):
    pass


class llama2_inspection(Structure):
    pass


class llama2_stops(Structure):
    pass


class llama2_shard_writer(Structure):
    pass


llama2_read_fn = CFUNCTYPE(c_int32, c_void_p, c_uint64, c_uint64, c_void_p)


llama2_alloc_fn = CFUNCTYPE(c_void_p, c_void_p, c_size_t, c_size_t)


llama2_dealloc_fn = CFUNCTYPE(None, c_void_p, c_void_p)


llama2_log_fn = CFUNCTYPE(None, c_void_p, c_int32, c_void_p, c_size_t)


llama2_task_fn = CFUNCTYPE(None, c_void_p, c_int32)


llama2_run_fn = CFUNCTYPE(c_int32, c_void_p, c_int32, llama2_task_fn, c_void_p)


class llama2_convert_event(Structure):
    _fields_ = [
        ("struct_size", c_uint32),
        ("tensor", c_int32),
        ("n_tensors", c_int32),
        ("reserved", c_int32),
        ("elements_done", c_int64),
        ("elements", c_int64),
        ("name", c_char_p),
    ]


llama2_convert_fn = CFUNCTYPE(c_int32, c_void_p, POINTER(llama2_convert_event))


class llama2_rollout_event(Structure):
    _fields_ = [
        ("struct_size", c_uint32),
        ("reserved", c_int32),
        ("samples_done", c_int64),
        ("samples", c_int64),
        ("tokens", c_int64),
    ]


llama2_rollout_fn = CFUNCTYPE(c_int32, c_void_p, POINTER(llama2_rollout_event))


class llama2_host_file(Structure):
    _fields_ = [
        ("struct_size", c_uint32),
        ("reserved", c_int32),
        ("size", c_uint64),
        ("data", c_void_p),
        ("read", llama2_read_fn),
        ("user", c_void_p),
    ]


class llama2_context_options(Structure):
    _fields_ = [
        ("struct_size", c_uint32),
        ("n_threads", c_int32),
        ("seed", c_uint64),
        ("alloc", llama2_alloc_fn),
        ("dealloc", llama2_dealloc_fn),
        ("alloc_user", c_void_p),
        ("log", llama2_log_fn),
        ("log_user", c_void_p),
        ("run", llama2_run_fn),
        ("run_user", c_void_p),
        ("gemm", c_int32),
        ("isa", c_int32),
    ]


class llama2_tokenizer_options(Structure):
    _fields_ = [
        ("struct_size", c_uint32),
        ("max_pieces", c_int32),
        ("max_bytes", c_uint64),
    ]


class llama2_tokenizer_pieces(Structure):
    _fields_ = [
        ("struct_size", c_uint32),
        ("n_pieces", c_int32),
        ("texts", POINTER(c_char_p)),
        ("lengths", POINTER(c_size_t)),
        ("scores", POINTER(c_float)),
        ("types", POINTER(c_int32)),
        ("bos_piece", c_char_p),
        ("eos_piece", c_char_p),
        ("pad_piece", c_char_p),
        ("add_dummy_prefix", c_int32),
        ("remove_extra_whitespaces", c_int32),
    ]


class llama2_chat(Structure):
    _fields_ = [
        ("struct_size", c_uint32),
        ("n_messages", c_int32),
        ("roles", POINTER(c_int32)),
        ("texts", POINTER(c_char_p)),
        ("lengths", POINTER(c_size_t)),
        ("loss_weights", POINTER(c_float)),
        ("date", c_char_p),
    ]


class llama2_batch(Structure):
    _fields_ = [
        ("struct_size", c_uint32),
        ("n_sequences", c_int32),
        ("n_tokens", c_int64),
        ("tokens", POINTER(c_int32)),
        ("offsets", POINTER(c_int64)),
        ("loss_weight", POINTER(c_float)),
    ]


class llama2_packer_options(Structure):
    _fields_ = [
        ("struct_size", c_uint32),
        ("concatenate", c_int32),
        ("max_length", c_int64),
    ]


class llama2_config(Structure):
    _fields_ = [
        ("struct_size", c_uint32),
        ("vocab_size", c_int32),
        ("dim", c_int32),
        ("n_layers", c_int32),
        ("n_heads", c_int32),
        ("n_kv_heads", c_int32),
        ("head_dim", c_int32),
        ("ffn_dim", c_int32),
        ("max_seq_len", c_int32),
        ("tied", c_int32),
        ("bos_id", c_int32),
        ("eos_id", c_int32),
        ("pad_id", c_int32),
        ("reserved", c_int32),
        ("norm_eps", c_double),
        ("rope_theta", c_double),
        ("init_std", c_double),
        ("rope_scaling", c_int32),
        ("rope_original_len", c_int32),
        ("rope_factor", c_double),
        ("rope_low_freq_factor", c_double),
        ("rope_high_freq_factor", c_double),
    ]


class llama2_model_options(Structure):
    _fields_ = [
        ("struct_size", c_uint32),
        ("dtype", c_int32),
        ("weights", c_int32),
        ("reserved", c_int32),
    ]


class llama2_tensor_info(Structure):
    _fields_ = [
        ("struct_size", c_uint32),
        ("dtype", c_int32),
        ("rows", c_int64),
        ("columns", c_int64),
        ("name", c_char_p),
    ]


class llama2_loss(Structure):
    _fields_ = [
        ("struct_size", c_uint32),
        ("reserved", c_int32),
        ("sum", c_double),
        ("weight", c_double),
        ("targets", c_int64),
    ]


class llama2_memory(Structure):
    _fields_ = [
        ("struct_size", c_uint32),
        ("reserved", c_int32),
        ("weights", c_int64),
        ("gradients", c_int64),
        ("optimizer", c_int64),
        ("activations", c_int64),
        ("kv_cache", c_int64),
        ("scratch", c_int64),
        ("total", c_int64),
    ]


class llama2_memory_options(Structure):
    _fields_ = [
        ("struct_size", c_uint32),
        ("train", c_int32),
        ("recompute", c_int32),
        ("dtype", c_int32),
        ("batch_tokens", c_int64),
        ("kv_tokens", c_int64),
        ("batch_sequences", c_int64),
        ("n_threads", c_int32),
        ("weights", c_int32),
    ]


class llama2_convert_options(Structure):
    _fields_ = [
        ("struct_size", c_uint32),
        ("type", c_int32),
        ("format", c_int32),
        ("reserved", c_int32),
        ("tokenizer", c_char_p),
        ("progress", llama2_convert_fn),
        ("progress_user", c_void_p),
    ]


class llama2_inspection_summary(Structure):
    _fields_ = [
        ("struct_size", c_uint32),
        ("format", c_int32),
        ("n_tensors", c_int32),
        ("n_keys", c_int32),
        ("elements", c_int64),
        ("tensor_bytes", c_int64),
        ("file_bytes", c_int64),
        ("format_name", c_char_p),
        ("problem", c_char_p),
        ("tokenizer", c_char_p),
        ("chat", c_char_p),
    ]


class llama2_inspection_tensor(Structure):
    _fields_ = [
        ("struct_size", c_uint32),
        ("n_dims", c_int32),
        ("name", c_char_p),
        ("type", c_char_p),
        ("shape", POINTER(c_int64)),
        ("elements", c_int64),
        ("bytes", c_int64),
    ]


class llama2_sampling(Structure):
    _fields_ = [
        ("struct_size", c_uint32),
        ("top_k", c_int32),
        ("temperature", c_double),
        ("top_p", c_double),
        ("seed", c_uint64),
        ("sample_id", c_uint64),
        ("min_p", c_double),
        ("repetition_penalty", c_double),
        ("presence_penalty", c_double),
        ("frequency_penalty", c_double),
        ("penalty_window", c_int32),
        ("n_logit_bias", c_int32),
        ("penalty_start", c_int64),
        ("logit_bias_ids", POINTER(c_int32)),
        ("logit_bias_values", POINTER(c_float)),
    ]


class llama2_shards_options(Structure):
    _fields_ = [
        ("struct_size", c_uint32),
        ("verify", c_int32),
        ("length", c_int64),
        ("seed", c_uint64),
    ]


class llama2_shards_source(Structure):
    _fields_ = [
        ("struct_size", c_uint32),
        ("share", c_int32),
        ("tokens", c_uint64),
        ("served", c_uint64),
        ("epochs", c_double),
    ]


class llama2_mixture_options(Structure):
    _fields_ = [
        ("struct_size", c_uint32),
        ("recipe", c_int32),
        ("seed", c_uint64),
        ("epoch_items", c_int64),
        ("open_first", c_double),
    ]


class llama2_optimizer_options(Structure):
    _fields_ = [
        ("struct_size", c_uint32),
        ("reserved", c_int32),
        ("lr", c_double),
        ("beta1", c_double),
        ("beta2", c_double),
        ("eps", c_double),
        ("weight_decay", c_double),
    ]


class llama2_trainer_options(Structure):
    _fields_ = [
        ("struct_size", c_uint32),
        ("schedule", c_int32),
        ("warmup_steps", c_int64),
        ("total_steps", c_int64),
        ("min_lr_ratio", c_double),
        ("clip_norm", c_double),
        ("micro_batch_tokens", c_int64),
        ("recompute", c_int32),
        ("max_bad_steps", c_int32),
        ("value_head", POINTER(llama2_reward_model)),
        ("value_head_lr_ratio", c_double),
    ]


class llama2_step_metrics(Structure):
    _fields_ = [
        ("struct_size", c_uint32),
        ("skipped", c_int32),
        ("step", c_int64),
        ("loss", c_double),
        ("weight", c_double),
        ("grad_norm", c_double),
        ("lr", c_double),
        ("tokens", c_int64),
        ("total_tokens", c_int64),
        ("skipped_total", c_int64),
    ]


class llama2_reward_options(Structure):
    _fields_ = [
        ("struct_size", c_uint32),
        ("head", c_int32),
    ]


class llama2_pairs(Structure):
    _fields_ = [
        ("struct_size", c_uint32),
        ("n_pairs", c_int32),
        ("batch", POINTER(llama2_batch)),
        ("margins", POINTER(c_float)),
        ("safe", POINTER(c_int32)),
        ("safety_weight", c_double),
    ]


class llama2_reward_metrics(Structure):
    _fields_ = [
        ("struct_size", c_uint32),
        ("n_pairs", c_int32),
        ("n_left_out", c_int32),
        ("n_labelled", c_int32),
        ("loss", c_double),
        ("ranking_loss", c_double),
        ("safety_loss", c_double),
        ("accuracy", c_double),
        ("mean_margin", c_double),
        ("mean_chosen", c_double),
        ("mean_rejected", c_double),
        ("min_score", c_double),
        ("max_score", c_double),
        ("grad_norm", c_double),
        ("lr", c_double),
        ("step", c_int64),
        ("skipped", c_int32),
        ("reserved", c_int32),
    ]


class llama2_scored_pairs(Structure):
    _fields_ = [
        ("struct_size", c_uint32),
        ("group", c_int32),
        ("n_pairs", c_int64),
        ("scores", POINTER(c_float)),
        ("groups", POINTER(c_int32)),
        ("lengths", POINTER(c_int64)),
        ("safe", POINTER(c_int32)),
    ]


class llama2_reward_card(Structure):
    _fields_ = [
        ("struct_size", c_uint32),
        ("reserved", c_int32),
        ("n_pairs", c_int64),
        ("n_ties", c_int64),
        ("accuracy", c_double),
        ("accuracy_low", c_double),
        ("accuracy_high", c_double),
        ("mean_score", c_double),
        ("min_score", c_double),
        ("max_score", c_double),
        ("mean_chosen", c_double),
        ("mean_rejected", c_double),
        ("mean_margin", c_double),
        ("brier", c_double),
        ("ece", c_double),
        ("longer_wins", c_double),
        ("longer_wins_low", c_double),
        ("longer_wins_high", c_double),
        ("n_length_matched", c_int64),
        ("length_matched_accuracy", c_double),
        ("length_matched_low", c_double),
        ("length_matched_high", c_double),
        ("n_labelled", c_int64),
        ("n_unsafe", c_int64),
        ("safety_accuracy", c_double),
        ("auc", c_double),
        ("unsafe_recall", c_double),
        ("unsafe_precision", c_double),
        ("unsafe_recall_015", c_double),
        ("unsafe_precision_015", c_double),
    ]


class llama2_rollout_options(Structure):
    _fields_ = [
        ("struct_size", c_uint32),
        ("samples_per_prompt", c_int32),
        ("max_new_tokens", c_int32),
        ("top_k", c_int32),
        ("temperature", c_double),
        ("top_p", c_double),
        ("seed", c_uint64),
        ("first_sample_id", c_uint64),
        ("max_parallel", c_int32),
        ("reserved", c_int32),
        ("progress", llama2_rollout_fn),
        ("user", c_void_p),
        ("sampling", POINTER(llama2_sampling)),
        ("tokenizer", POINTER(llama2_tokenizer)),
        ("stops", POINTER(c_char_p)),
        ("stop_lengths", POINTER(c_size_t)),
        ("n_stops", c_int32),
        ("decode_flags", c_uint32),
    ]


class llama2_rollouts_view(Structure):
    _fields_ = [
        ("struct_size", c_uint32),
        ("n_samples", c_int32),
        ("samples_per_prompt", c_int32),
        ("reserved", c_int32),
        ("n_tokens", c_int64),
        ("temperature", c_double),
        ("tokens", POINTER(c_int32)),
        ("offsets", POINTER(c_int64)),
        ("prompt_lengths", POINTER(c_int32)),
        ("ended", POINTER(c_uint8)),
        ("logprobs", POINTER(c_float)),
        ("ref_logprobs", POINTER(c_float)),
        ("values", POINTER(c_float)),
        ("advantages", POINTER(c_float)),
        ("returns", POINTER(c_float)),
        ("scores", POINTER(c_float)),
        ("helpful_scores", POINTER(c_float)),
        ("safety_scores", POINTER(c_float)),
        ("ended_by", POINTER(c_uint8)),
    ]


class llama2_combine_options(Structure):
    _fields_ = [
        ("struct_size", c_uint32),
        ("whiten", c_int32),
        ("threshold", c_double),
        ("missing_eos_penalty", c_double),
    ]


class llama2_preference(Structure):
    _fields_ = [
        ("struct_size", c_uint32),
        ("n_messages", c_int32),
        ("roles", POINTER(c_int32)),
        ("texts", POINTER(c_char_p)),
        ("lengths", POINTER(c_size_t)),
        ("responses", POINTER(c_char_p)),
        ("response_lengths", POINTER(c_size_t)),
        ("models", POINTER(c_char_p)),
        ("temperatures", POINTER(c_double)),
        ("safe", POINTER(c_int32)),
        ("kind", c_int32),
        ("chosen", c_int32),
        ("rating", c_int32),
        ("reserved", c_int32),
        ("id", c_char_p),
        ("annotator", c_char_p),
        ("batch", c_char_p),
        ("guideline", c_char_p),
    ]


class llama2_annotation(Structure):
    _fields_ = [
        ("struct_size", c_uint32),
        ("chosen", c_int32),
        ("rating", c_int32),
        ("bin", c_int32),
        ("annotator", c_char_p),
        ("batch", c_char_p),
        ("guideline", c_char_p),
    ]


class llama2_preference_summary(Structure):
    _fields_ = [
        ("struct_size", c_uint32),
        ("reserved", c_int32),
        ("n_records", c_int64),
        ("n_chosen", c_int64),
        ("n_significantly", c_int64),
        ("n_better", c_int64),
        ("n_slightly", c_int64),
        ("n_negligibly", c_int64),
        ("n_unrated", c_int64),
        ("n_chosen_safe", c_int64),
        ("n_both_safe", c_int64),
        ("n_both_unsafe", c_int64),
        ("n_other_safe", c_int64),
        ("n_unlabelled", c_int64),
        ("n_first", c_int64),
        ("first_share", c_double),
    ]


class llama2_agreement(Structure):
    _fields_ = [
        ("struct_size", c_uint32),
        ("reserved", c_int32),
        ("n_comparisons", c_int64),
        ("n_annotations", c_int64),
        ("share", c_double),
        ("alpha", c_double),
    ]


class llama2_preferences_sample_options(Structure):
    _fields_ = [
        ("struct_size", c_uint32),
        ("max_new_tokens", c_int32),
        ("temperature_a", c_double),
        ("temperature_b", c_double),
        ("top_p", c_double),
        ("top_k", c_int32),
        ("reserved", c_int32),
        ("seed", c_uint64),
        ("first_sample_id", c_uint64),
        ("model_a", c_char_p),
        ("model_b", c_char_p),
        ("batch", c_char_p),
        ("guideline", c_char_p),
        ("kinds", POINTER(c_int32)),
        ("tokenizer_b", POINTER(llama2_tokenizer)),
        ("progress", llama2_rollout_fn),
        ("user", c_void_p),
    ]


class llama2_comparisons_options(Structure):
    _fields_ = [
        ("struct_size", c_uint32),
        ("margin", c_int32),
        ("max_tokens", c_int64),
        ("safety_weight", c_double),
        ("leave_out_unsafe", c_int32),
        ("reserved", c_int32),
    ]


class llama2_comparisons_counts(Structure):
    _fields_ = [
        ("struct_size", c_uint32),
        ("reserved", c_int32),
        ("n_pairs", c_int64),
        ("n_open", c_int64),
        ("n_unsafe", c_int64),
        ("n_long", c_int64),
        ("n_marked", c_int64),
    ]


class llama2_pool_add_options(Structure):
    _fields_ = [
        ("struct_size", c_uint32),
        ("version", c_int32),
        ("keep", c_int32),
        ("leave_out_unsafe", c_int32),
        ("unsafe_below", c_double),
        ("leave_out_unfinished", c_int32),
        ("reserved", c_int32),
        ("is_safety", POINTER(c_uint8)),
    ]


class llama2_pool_metrics(Structure):
    _fields_ = [
        ("struct_size", c_uint32),
        ("n_prompts", c_int32),
        ("n_kept", c_int32),
        ("n_unsafe", c_int32),
        ("mean_score", c_double),
        ("mean_best", c_double),
        ("mean_median", c_double),
        ("n_unfinished", c_int32),
        ("n_duplicates", c_int32),
        ("n_empty", c_int32),
        ("reserved", c_int32),
    ]


class llama2_pool_sample(Structure):
    _fields_ = [
        ("struct_size", c_uint32),
        ("version", c_int32),
        ("prompt_id", c_uint64),
        ("tokens", POINTER(c_int32)),
        ("n_tokens", c_int64),
        ("prompt_length", c_int32),
        ("score", c_float),
        ("rank", c_int32),
        ("ended_by", c_int32),
        ("is_safety", c_int32),
        ("unsafe", c_int32),
    ]


class llama2_distill_metrics(Structure):
    _fields_ = [
        ("struct_size", c_uint32),
        ("n_samples", c_int32),
        ("n_kept", c_int32),
        ("n_equal", c_int32),
        ("kept_share", c_double),
        ("mean_original", c_double),
        ("mean_distilled", c_double),
        ("mean_kept_original", c_double),
        ("mean_kept_distilled", c_double),
    ]


class llama2_gatt_options(Structure):
    _fields_ = [
        ("struct_size", c_uint32),
        ("placement", c_int32),
        ("every_turn", c_int32),
        ("reserved", c_int32),
    ]


class llama2_gatt_dialogues(Structure):
    _fields_ = [
        ("struct_size", c_uint32),
        ("n_dialogues", c_int32),
        ("n_turns", POINTER(c_int32)),
        ("messages", POINTER(c_char_p)),
        ("message_lengths", POINTER(c_size_t)),
        ("instructions", POINTER(c_char_p)),
        ("instruction_lengths", POINTER(c_size_t)),
        ("kept_instructions", POINTER(c_char_p)),
        ("kept_lengths", POINTER(c_size_t)),
        ("answers", POINTER(c_char_p)),
        ("answer_lengths", POINTER(c_size_t)),
    ]


class llama2_gatt_metrics(Structure):
    _fields_ = [
        ("struct_size", c_uint32),
        ("turn", c_int32),
        ("n_answers", c_int32),
        ("n_ended", c_int32),
        ("n_open", c_int32),
        ("n_dropped", c_int32),
        ("n_full", c_int32),
        ("n_marked", c_int32),
    ]


class llama2_gatt_answer(Structure):
    _fields_ = [
        ("struct_size", c_uint32),
        ("state", c_int32),
        ("text", c_char_p),
        ("length", c_size_t),
        ("sampled", c_int32),
        ("ended_by", c_int32),
    ]


class llama2_ppo_options(Structure):
    _fields_ = [
        ("struct_size", c_uint32),
        ("minibatch", c_int32),
        ("beta", c_double),
        ("gamma", c_double),
        ("lambda_", c_double),
        ("clip", c_double),
        ("value_clip", c_double),
        ("missing_eos_penalty", c_double),
        ("whiten_advantages", c_int32),
        ("whiten_rewards", c_int32),
        ("kl_estimator", c_int32),
        ("epochs", c_int32),
        ("seed", c_uint64),
        ("shuffle", c_int32),
        ("reserved", c_int32),
        ("value_coef", c_double),
    ]


class llama2_ppo_metrics(Structure):
    _fields_ = [
        ("struct_size", c_uint32),
        ("n_updates", c_int32),
        ("kl", c_double),
        ("entropy", c_double),
        ("non_score_reward", c_double),
        ("rlhf_reward", c_double),
        ("score", c_double),
        ("policy_loss", c_double),
        ("value_loss", c_double),
        ("approx_kl", c_double),
        ("clip_fraction", c_double),
        ("value_clip_fraction", c_double),
        ("policy_entropy", c_double),
        ("ratio", c_double),
        ("ratio_var", c_double),
        ("explained_variance", c_double),
        ("eos_share", c_double),
        ("response_length", c_double),
        ("policy_grad_norm", c_double),
        ("value_grad_norm", c_double),
        ("policy_lr", c_double),
        ("value_lr", c_double),
        ("step", c_int64),
        ("distinct_1", c_double),
        ("distinct_2", c_double),
        ("repetition", c_double),
        ("policy_skipped", c_int32),
        ("value_skipped", c_int32),
    ]


FUNCTIONS = {
    "llama2_version": (c_char_p, []),
    "llama2_status_name": (c_char_p, [llama2_status]),
    "llama2_last_error": (c_char_p, []),
    "llama2_context_options_init": (None, [POINTER(llama2_context_options), c_size_t]),
    "llama2_context_create": (llama2_status, [POINTER(llama2_context_options), POINTER(POINTER(llama2_context))]),
    "llama2_context_free": (None, [POINTER(llama2_context)]),
    "llama2_context_cancel": (None, [POINTER(llama2_context)]),
    "llama2_context_resume": (None, [POINTER(llama2_context)]),
    "llama2_context_threads": (c_int32, [POINTER(llama2_context)]),
    "llama2_context_describe": (c_char_p, [POINTER(llama2_context)]),
    "llama2_tokenizer_options_init": (None, [POINTER(llama2_tokenizer_options), c_size_t]),
    "llama2_tokenizer_load": (llama2_status, [POINTER(llama2_context), c_char_p, POINTER(llama2_tokenizer_options), POINTER(POINTER(llama2_tokenizer))]),
    "llama2_tokenizer_load_memory": (llama2_status, [POINTER(llama2_context), c_void_p, c_size_t, POINTER(llama2_tokenizer_options), POINTER(POINTER(llama2_tokenizer))]),
    "llama2_tokenizer_load_host": (llama2_status, [POINTER(llama2_context), POINTER(llama2_host_file), POINTER(llama2_tokenizer_options), POINTER(POINTER(llama2_tokenizer))]),
    "llama2_tokenizer_pieces_init": (None, [POINTER(llama2_tokenizer_pieces), c_size_t]),
    "llama2_tokenizer_create": (llama2_status, [POINTER(llama2_context), POINTER(llama2_tokenizer_pieces), POINTER(POINTER(llama2_tokenizer))]),
    "llama2_tokenizer_save": (llama2_status, [POINTER(llama2_tokenizer), c_char_p]),
    "llama2_tokenizer_retain": (POINTER(llama2_tokenizer), [POINTER(llama2_tokenizer)]),
    "llama2_tokenizer_free": (None, [POINTER(llama2_tokenizer)]),
    "llama2_tokenizer_vocab_size": (c_int32, [POINTER(llama2_tokenizer)]),
    "llama2_tokenizer_bos": (c_int32, [POINTER(llama2_tokenizer)]),
    "llama2_tokenizer_eos": (c_int32, [POINTER(llama2_tokenizer)]),
    "llama2_tokenizer_unk": (c_int32, [POINTER(llama2_tokenizer)]),
    "llama2_tokenizer_pad": (c_int32, [POINTER(llama2_tokenizer)]),
    "llama2_tokenizer_adds_bos": (c_int32, [POINTER(llama2_tokenizer)]),
    "llama2_tokenizer_piece": (llama2_status, [POINTER(llama2_tokenizer), c_int32, POINTER(c_char_p), POINTER(c_size_t), POINTER(c_float), POINTER(c_int32)]),
    "llama2_tokenizer_find": (llama2_status, [POINTER(llama2_tokenizer), c_char_p, c_size_t, POINTER(c_int32)]),
    "llama2_tokenizer_encode": (llama2_status, [POINTER(llama2_tokenizer), c_char_p, c_size_t, c_uint32, POINTER(c_int32), c_int64, POINTER(c_int64)]),
    "llama2_tokenizer_encode_offsets": (llama2_status, [POINTER(llama2_tokenizer), c_char_p, c_size_t, c_uint32, POINTER(c_int32), POINTER(c_size_t), POINTER(c_size_t), c_int64, POINTER(c_int64)]),
    "llama2_tokenizer_decode": (llama2_status, [POINTER(llama2_tokenizer), POINTER(c_int32), c_int64, c_uint32, POINTER(c_char), c_size_t, POINTER(c_size_t)]),
    "llama2_decoder_create": (llama2_status, [POINTER(llama2_tokenizer), c_uint32, POINTER(POINTER(llama2_decoder))]),
    "llama2_decoder_free": (None, [POINTER(llama2_decoder)]),
    "llama2_decoder_push": (llama2_status, [POINTER(llama2_decoder), c_int32, POINTER(c_char_p), POINTER(c_size_t)]),
    "llama2_decoder_finish": (llama2_status, [POINTER(llama2_decoder), POINTER(c_char_p), POINTER(c_size_t)]),
    "llama2_chat_init": (None, [POINTER(llama2_chat), c_size_t]),
    "llama2_chat_encode": (llama2_status, [POINTER(llama2_tokenizer), POINTER(llama2_chat), c_uint32, POINTER(c_int32), POINTER(c_float), c_int64, POINTER(c_int64)]),
    "llama2_packer_options_init": (None, [POINTER(llama2_packer_options), c_size_t]),
    "llama2_packer_create": (llama2_status, [POINTER(llama2_context), POINTER(llama2_packer_options), POINTER(POINTER(llama2_packer))]),
    "llama2_packer_free": (None, [POINTER(llama2_packer)]),
    "llama2_packer_add": (llama2_status, [POINTER(llama2_packer), POINTER(c_int32), POINTER(c_float), c_int64]),
    "llama2_packer_batch": (llama2_status, [POINTER(llama2_packer), POINTER(llama2_batch)]),
    "llama2_packer_clear": (None, [POINTER(llama2_packer)]),
    "llama2_packer_tokens": (c_int64, [POINTER(llama2_packer)]),
    "llama2_packer_cut": (c_int64, [POINTER(llama2_packer)]),
    "llama2_config_init": (None, [POINTER(llama2_config), c_size_t]),
    "llama2_config_preset": (llama2_status, [POINTER(llama2_config), c_int32]),
    "llama2_model_options_init": (None, [POINTER(llama2_model_options), c_size_t]),
    "llama2_model_create": (llama2_status, [POINTER(llama2_context), POINTER(llama2_config), POINTER(llama2_model_options), POINTER(POINTER(llama2_model))]),
    "llama2_model_load": (llama2_status, [POINTER(llama2_context), c_char_p, POINTER(llama2_model_options), POINTER(POINTER(llama2_model))]),
    "llama2_model_load_host": (llama2_status, [POINTER(llama2_context), POINTER(llama2_host_file), POINTER(llama2_model_options), POINTER(POINTER(llama2_model))]),
    "llama2_model_save": (llama2_status, [POINTER(llama2_model), c_char_p, c_int32]),
    "llama2_model_retain": (POINTER(llama2_model), [POINTER(llama2_model)]),
    "llama2_model_free": (None, [POINTER(llama2_model)]),
    "llama2_model_clone": (llama2_status, [POINTER(llama2_model), POINTER(POINTER(llama2_model))]),
    "llama2_model_copy_weights": (llama2_status, [POINTER(llama2_model), POINTER(llama2_model)]),
    "llama2_model_config": (llama2_status, [POINTER(llama2_model), POINTER(llama2_config)]),
    "llama2_model_parameters": (c_int64, [POINTER(llama2_model)]),
    "llama2_model_is_eos": (c_int32, [POINTER(llama2_model), c_int32]),
    "llama2_model_eos_ids": (llama2_status, [POINTER(llama2_model), POINTER(c_int32), c_int32, POINTER(c_int32)]),
    "llama2_model_set_eos_ids": (llama2_status, [POINTER(llama2_model), POINTER(c_int32), c_int32]),
    "llama2_model_tensors": (c_int32, [POINTER(llama2_model)]),
    "llama2_model_tensor_info": (llama2_status, [POINTER(llama2_model), c_int32, POINTER(llama2_tensor_info)]),
    "llama2_model_get_tensor": (llama2_status, [POINTER(llama2_model), c_char_p, POINTER(c_float), c_int64, POINTER(c_int64)]),
    "llama2_model_set_tensor": (llama2_status, [POINTER(llama2_model), c_char_p, POINTER(c_float), c_int64]),
    "llama2_model_logits": (llama2_status, [POINTER(llama2_model), POINTER(llama2_batch), POINTER(c_float)]),
    "llama2_model_hidden": (llama2_status, [POINTER(llama2_model), POINTER(llama2_batch), POINTER(c_float)]),
    "llama2_model_logprobs": (llama2_status, [POINTER(llama2_model), POINTER(llama2_batch), c_double, POINTER(c_float), POINTER(c_float)]),
    "llama2_model_evaluate": (llama2_status, [POINTER(llama2_model), POINTER(llama2_batch), POINTER(llama2_loss)]),
    "llama2_memory_options_init": (None, [POINTER(llama2_memory_options), c_size_t]),
    "llama2_memory_estimate": (llama2_status, [POINTER(llama2_config), POINTER(llama2_memory_options), POINTER(llama2_memory)]),
    "llama2_convert_options_init": (None, [POINTER(llama2_convert_options), c_size_t]),
    "llama2_convert": (llama2_status, [POINTER(llama2_context), c_char_p, c_char_p, POINTER(llama2_convert_options)]),
    "llama2_model_save_gguf": (llama2_status, [POINTER(llama2_model), POINTER(llama2_tokenizer), c_char_p, POINTER(llama2_convert_options)]),
    "llama2_inspect": (llama2_status, [POINTER(llama2_context), c_char_p, POINTER(POINTER(llama2_inspection))]),
    "llama2_inspection_free": (None, [POINTER(llama2_inspection)]),
    "llama2_inspection_summarise": (llama2_status, [POINTER(llama2_inspection), POINTER(llama2_inspection_summary)]),
    "llama2_inspection_config": (llama2_status, [POINTER(llama2_inspection), POINTER(llama2_config)]),
    "llama2_inspection_get_tensor": (llama2_status, [POINTER(llama2_inspection), c_int32, POINTER(llama2_inspection_tensor)]),
    "llama2_inspection_get_key": (llama2_status, [POINTER(llama2_inspection), c_int32, POINTER(c_char_p), POINTER(c_char_p)]),
    "llama2_sampling_init": (None, [POINTER(llama2_sampling), c_size_t]),
    "llama2_session_create": (llama2_status, [POINTER(llama2_model), POINTER(POINTER(llama2_session))]),
    "llama2_session_free": (None, [POINTER(llama2_session)]),
    "llama2_session_feed": (llama2_status, [POINTER(llama2_session), POINTER(c_int32), c_int64]),
    "llama2_session_feed_batch": (llama2_status, [POINTER(POINTER(llama2_session)), c_int32, POINTER(c_int32), POINTER(c_int64)]),
    "llama2_session_sync": (llama2_status, [POINTER(llama2_session), POINTER(c_int32), c_int64, POINTER(c_int64)]),
    "llama2_session_sample": (llama2_status, [POINTER(llama2_session), POINTER(llama2_sampling), POINTER(c_int32), POINTER(c_float)]),
    "llama2_session_top": (llama2_status, [POINTER(llama2_session), c_double, c_int32, POINTER(c_int32), POINTER(c_float)]),
    "llama2_session_logits": (llama2_status, [POINTER(llama2_session), POINTER(c_float), c_int64, POINTER(c_int64)]),
    "llama2_session_position": (c_int64, [POINTER(llama2_session)]),
    "llama2_session_rewind": (llama2_status, [POINTER(llama2_session), c_int64]),
    "llama2_session_save": (llama2_status, [POINTER(llama2_session), c_char_p]),
    "llama2_session_save_memory": (llama2_status, [POINTER(llama2_session), c_void_p, c_size_t, POINTER(c_size_t)]),
    "llama2_session_load": (llama2_status, [POINTER(llama2_model), c_char_p, POINTER(POINTER(llama2_session))]),
    "llama2_session_load_memory": (llama2_status, [POINTER(llama2_model), c_void_p, c_size_t, POINTER(POINTER(llama2_session))]),
    "llama2_stops_create": (llama2_status, [POINTER(llama2_context), POINTER(c_char_p), POINTER(c_size_t), c_int32, POINTER(POINTER(llama2_stops))]),
    "llama2_stops_free": (None, [POINTER(llama2_stops)]),
    "llama2_stops_push": (llama2_status, [POINTER(llama2_stops), c_char_p, c_size_t, POINTER(c_char_p), POINTER(c_size_t), POINTER(c_int32)]),
    "llama2_stops_finish": (llama2_status, [POINTER(llama2_stops), POINTER(c_char_p), POINTER(c_size_t)]),
    "llama2_shard_writer_create": (llama2_status, [POINTER(llama2_context), c_char_p, c_int64, POINTER(POINTER(llama2_shard_writer))]),
    "llama2_shard_writer_append": (llama2_status, [POINTER(llama2_shard_writer), POINTER(c_int32), c_int64]),
    "llama2_shard_writer_tokens": (c_int64, [POINTER(llama2_shard_writer)]),
    "llama2_shard_writer_finish": (llama2_status, [POINTER(llama2_shard_writer)]),
    "llama2_shard_writer_free": (None, [POINTER(llama2_shard_writer)]),
    "llama2_shards_options_init": (None, [POINTER(llama2_shards_options), c_size_t]),
    "llama2_shards_create": (llama2_status, [POINTER(llama2_context), POINTER(llama2_shards_options), POINTER(POINTER(llama2_shards))]),
    "llama2_shards_add_source": (llama2_status, [POINTER(llama2_shards), POINTER(c_char_p), c_int32, c_double]),
    "llama2_shards_next": (llama2_status, [POINTER(llama2_shards), c_int64, POINTER(c_int32), POINTER(c_int32)]),
    "llama2_shards_tell": (c_uint64, [POINTER(llama2_shards)]),
    "llama2_shards_seek": (llama2_status, [POINTER(llama2_shards), c_uint64]),
    "llama2_shards_vocab_size": (c_int64, [POINTER(llama2_shards)]),
    "llama2_shards_sources": (c_int32, [POINTER(llama2_shards)]),
    "llama2_shards_source_info": (llama2_status, [POINTER(llama2_shards), c_int32, POINTER(llama2_shards_source)]),
    "llama2_shards_free": (None, [POINTER(llama2_shards)]),
    "llama2_mixture_options_init": (None, [POINTER(llama2_mixture_options), c_size_t]),
    "llama2_mixture_create": (llama2_status, [POINTER(llama2_context), c_int32, POINTER(c_int64), POINTER(c_int32), POINTER(c_double), POINTER(llama2_mixture_options), POINTER(POINTER(llama2_mixture))]),
    "llama2_mixture_epoch_items": (c_int64, [POINTER(llama2_mixture)]),
    "llama2_mixture_draw": (llama2_status, [POINTER(llama2_mixture), c_uint64, c_int64, POINTER(c_int32), POINTER(c_int64)]),
    "llama2_mixture_free": (None, [POINTER(llama2_mixture)]),
    "llama2_optimizer_options_init": (None, [POINTER(llama2_optimizer_options), c_size_t]),
    "llama2_optimizer_create": (llama2_status, [POINTER(llama2_context), POINTER(llama2_optimizer_options), POINTER(POINTER(llama2_optimizer))]),
    "llama2_optimizer_free": (None, [POINTER(llama2_optimizer)]),
    "llama2_optimizer_set_lr": (llama2_status, [POINTER(llama2_optimizer), c_double]),
    "llama2_trainer_options_init": (None, [POINTER(llama2_trainer_options), c_size_t]),
    "llama2_trainer_create": (llama2_status, [POINTER(llama2_context), POINTER(llama2_model), POINTER(llama2_optimizer), POINTER(llama2_trainer_options), POINTER(POINTER(llama2_trainer))]),
    "llama2_trainer_create_for_reward": (llama2_status, [POINTER(llama2_context), POINTER(llama2_reward_model), POINTER(llama2_optimizer), POINTER(llama2_trainer_options), POINTER(POINTER(llama2_trainer))]),
    "llama2_trainer_free": (None, [POINTER(llama2_trainer)]),
    "llama2_trainer_accumulate": (llama2_status, [POINTER(llama2_trainer), POINTER(llama2_batch), POINTER(llama2_loss)]),
    "llama2_trainer_update": (llama2_status, [POINTER(llama2_trainer), POINTER(llama2_step_metrics)]),
    "llama2_trainer_clear": (llama2_status, [POINTER(llama2_trainer)]),
    "llama2_trainer_backward_logprobs": (llama2_status, [POINTER(llama2_trainer), POINTER(llama2_batch), c_double, POINTER(c_float), c_double, c_double]),
    "llama2_trainer_backward_logits": (llama2_status, [POINTER(llama2_trainer), POINTER(llama2_batch), POINTER(c_float), c_double, c_double]),
    "llama2_trainer_backward_values": (llama2_status, [POINTER(llama2_trainer), POINTER(llama2_batch), POINTER(c_float), c_double, c_double]),
    "llama2_trainer_get_gradient": (llama2_status, [POINTER(llama2_trainer), c_char_p, POINTER(c_float), c_int64, POINTER(c_int64)]),
    "llama2_trainer_step": (c_int64, [POINTER(llama2_trainer)]),
    "llama2_pretrain_step": (llama2_status, [POINTER(llama2_trainer), POINTER(llama2_batch), POINTER(llama2_step_metrics)]),
    "llama2_sft_step": (llama2_status, [POINTER(llama2_trainer), POINTER(llama2_batch), POINTER(llama2_step_metrics)]),
    "llama2_reward_options_init": (None, [POINTER(llama2_reward_options), c_size_t]),
    "llama2_reward_model_create": (llama2_status, [POINTER(llama2_context), POINTER(llama2_model), POINTER(llama2_reward_options), POINTER(POINTER(llama2_reward_model))]),
    "llama2_reward_model_create_shared": (llama2_status, [POINTER(llama2_model), POINTER(llama2_reward_options), POINTER(POINTER(llama2_reward_model))]),
    "llama2_reward_model_clone": (llama2_status, [POINTER(llama2_reward_model), POINTER(POINTER(llama2_reward_model))]),
    "llama2_reward_model_load": (llama2_status, [POINTER(llama2_context), c_char_p, POINTER(llama2_model_options), POINTER(POINTER(llama2_reward_model))]),
    "llama2_reward_model_save": (llama2_status, [POINTER(llama2_reward_model), c_char_p, c_int32]),
    "llama2_reward_model_free": (None, [POINTER(llama2_reward_model)]),
    "llama2_reward_model_get_tensor": (llama2_status, [POINTER(llama2_reward_model), c_char_p, POINTER(c_float), c_int64, POINTER(c_int64)]),
    "llama2_reward_model_set_tensor": (llama2_status, [POINTER(llama2_reward_model), c_char_p, POINTER(c_float), c_int64]),
    "llama2_reward_model_set_normalisation": (llama2_status, [POINTER(llama2_reward_model), c_double, c_double]),
    "llama2_reward_model_normalisation": (llama2_status, [POINTER(llama2_reward_model), POINTER(c_double), POINTER(c_double)]),
    "llama2_reward_model_score": (llama2_status, [POINTER(llama2_reward_model), POINTER(llama2_batch), POINTER(c_float)]),
    "llama2_reward_model_values": (llama2_status, [POINTER(llama2_reward_model), POINTER(llama2_batch), POINTER(c_float)]),
    "llama2_reward_margin": (c_float, [c_int32, c_int32]),
    "llama2_reward_accumulate": (llama2_status, [POINTER(llama2_trainer), POINTER(llama2_pairs), POINTER(llama2_reward_metrics)]),
    "llama2_reward_step": (llama2_status, [POINTER(llama2_trainer), POINTER(llama2_pairs), POINTER(llama2_reward_metrics)]),
    "llama2_reward_evaluate": (llama2_status, [POINTER(llama2_reward_model), POINTER(llama2_pairs), POINTER(llama2_reward_metrics), POINTER(c_float)]),
    "llama2_reward_card_make": (llama2_status, [POINTER(llama2_context), POINTER(llama2_scored_pairs), POINTER(llama2_reward_card)]),
    "llama2_reward_calibration": (llama2_status, [POINTER(llama2_scored_pairs), c_int32, POINTER(c_int64), POINTER(c_double), POINTER(c_double), POINTER(c_double), POINTER(c_double)]),
    "llama2_reward_histogram": (llama2_status, [POINTER(llama2_scored_pairs), c_double, c_double, c_int32, POINTER(c_int64), POINTER(c_int64)]),
    "llama2_rollout_options_init": (None, [POINTER(llama2_rollout_options), c_size_t]),
    "llama2_rollout": (llama2_status, [POINTER(llama2_model), POINTER(llama2_batch), POINTER(llama2_rollout_options), POINTER(POINTER(llama2_rollouts))]),
    "llama2_rollouts_create": (llama2_status, [POINTER(llama2_context), POINTER(llama2_batch), POINTER(c_int32), c_int32, c_int32, c_double, POINTER(POINTER(llama2_rollouts))]),
    "llama2_rollouts_free": (None, [POINTER(llama2_rollouts)]),
    "llama2_rollouts_after": (llama2_status, [POINTER(llama2_rollouts), POINTER(llama2_batch), POINTER(POINTER(llama2_rollouts))]),
    "llama2_rollouts_pack": (llama2_status, [POINTER(llama2_rollouts), POINTER(c_uint8), POINTER(llama2_packer)]),
    "llama2_rollouts_view_get": (llama2_status, [POINTER(llama2_rollouts), POINTER(llama2_rollouts_view)]),
    "llama2_rollouts_set": (llama2_status, [POINTER(llama2_rollouts), c_int32, POINTER(c_float), c_int64]),
    "llama2_rollouts_score": (llama2_status, [POINTER(llama2_rollouts), POINTER(llama2_reward_model)]),
    "llama2_rollouts_score_into": (llama2_status, [POINTER(llama2_rollouts), POINTER(llama2_reward_model), c_int32]),
    "llama2_combine_options_init": (None, [POINTER(llama2_combine_options), c_size_t]),
    "llama2_rollouts_combine": (llama2_status, [POINTER(llama2_rollouts), POINTER(c_uint8), POINTER(llama2_combine_options)]),
    "llama2_rollouts_save": (llama2_status, [POINTER(llama2_rollouts), c_char_p]),
    "llama2_rollouts_load": (llama2_status, [POINTER(llama2_context), c_char_p, POINTER(POINTER(llama2_rollouts))]),
    "llama2_preference_init": (None, [POINTER(llama2_preference), c_size_t]),
    "llama2_preference_bin": (c_int32, [POINTER(llama2_preference)]),
    "llama2_preferences_create": (llama2_status, [POINTER(llama2_context), POINTER(POINTER(llama2_preferences))]),
    "llama2_preferences_free": (None, [POINTER(llama2_preferences)]),
    "llama2_preferences_add": (llama2_status, [POINTER(llama2_preferences), POINTER(llama2_preference)]),
    "llama2_preferences_count": (c_int64, [POINTER(llama2_preferences)]),
    "llama2_preferences_get": (llama2_status, [POINTER(llama2_preferences), c_int64, POINTER(llama2_preference)]),
    "llama2_preferences_find": (llama2_status, [POINTER(llama2_preferences), c_char_p, POINTER(c_int64)]),
    "llama2_annotation_init": (None, [POINTER(llama2_annotation), c_size_t]),
    "llama2_preferences_annotate": (llama2_status, [POINTER(llama2_preferences), c_int64, POINTER(llama2_annotation)]),
    "llama2_preferences_save": (llama2_status, [POINTER(llama2_preferences), c_char_p]),
    "llama2_preferences_load": (llama2_status, [POINTER(llama2_context), c_char_p, POINTER(POINTER(llama2_preferences))]),
    "llama2_preferences_summarise": (llama2_status, [POINTER(llama2_preferences), c_int32, POINTER(llama2_preference_summary)]),
    "llama2_preferences_agreement": (llama2_status, [POINTER(llama2_preferences), c_int32, POINTER(llama2_agreement)]),
    "llama2_preferences_sample_options_init": (None, [POINTER(llama2_preferences_sample_options), c_size_t]),
    "llama2_preferences_sample": (llama2_status, [POINTER(llama2_preferences), POINTER(llama2_model), POINTER(llama2_model), POINTER(llama2_tokenizer), POINTER(POINTER(llama2_chat)), c_int32, POINTER(llama2_preferences_sample_options)]),
    "llama2_comparisons_options_init": (None, [POINTER(llama2_comparisons_options), c_size_t]),
    "llama2_comparisons_create": (llama2_status, [POINTER(llama2_preferences), POINTER(llama2_tokenizer), POINTER(c_int64), c_int64, c_int64, POINTER(llama2_comparisons_options), POINTER(llama2_comparisons_counts), POINTER(POINTER(llama2_comparisons))]),
    "llama2_comparisons_free": (None, [POINTER(llama2_comparisons)]),
    "llama2_comparisons_count": (c_int64, [POINTER(llama2_comparisons)]),
    "llama2_comparisons_record": (c_int64, [POINTER(llama2_comparisons), c_int64]),
    "llama2_comparisons_pairs": (llama2_status, [POINTER(llama2_comparisons), POINTER(c_int64), c_int64, c_int32, POINTER(llama2_pairs)]),
    "llama2_pool_create": (llama2_status, [POINTER(llama2_context), POINTER(POINTER(llama2_pool))]),
    "llama2_pool_free": (None, [POINTER(llama2_pool)]),
    "llama2_pool_add_options_init": (None, [POINTER(llama2_pool_add_options), c_size_t]),
    "llama2_pool_add": (llama2_status, [POINTER(llama2_pool), POINTER(llama2_rollouts), POINTER(c_uint64), POINTER(llama2_pool_add_options), POINTER(llama2_pool_metrics)]),
    "llama2_pool_count": (llama2_status, [POINTER(llama2_pool), c_int32, c_int32, POINTER(c_int64)]),
    "llama2_pool_best": (llama2_status, [POINTER(llama2_pool), c_int32, c_int32, c_int64, POINTER(llama2_pool_sample)]),
    "llama2_pool_count_top": (llama2_status, [POINTER(llama2_pool), c_int32, c_int32, c_int32, POINTER(c_int64)]),
    "llama2_pool_top": (llama2_status, [POINTER(llama2_pool), c_int32, c_int32, c_int32, c_int64, POINTER(llama2_pool_sample)]),
    "llama2_pool_size": (llama2_status, [POINTER(llama2_pool), POINTER(c_int64)]),
    "llama2_pool_get": (llama2_status, [POINTER(llama2_pool), c_int64, POINTER(llama2_pool_sample)]),
    "llama2_pool_rollouts": (llama2_status, [POINTER(llama2_pool), POINTER(POINTER(llama2_rollouts))]),
    "llama2_pool_rescore": (llama2_status, [POINTER(llama2_pool), POINTER(llama2_rollouts), POINTER(llama2_pool_add_options)]),
    "llama2_pool_save": (llama2_status, [POINTER(llama2_pool), c_char_p]),
    "llama2_pool_load": (llama2_status, [POINTER(llama2_context), c_char_p, POINTER(POINTER(llama2_pool))]),
    "llama2_distill_gate": (llama2_status, [POINTER(llama2_rollouts), POINTER(llama2_rollouts), POINTER(c_uint8), POINTER(llama2_distill_metrics)]),
    "llama2_distill": (llama2_status, [POINTER(llama2_model), POINTER(llama2_reward_model), POINTER(llama2_batch), POINTER(llama2_batch), POINTER(llama2_rollout_options), POINTER(POINTER(llama2_rollouts)), POINTER(POINTER(llama2_rollouts)), POINTER(c_uint8), POINTER(llama2_distill_metrics)]),
    "llama2_gatt_options_init": (None, [POINTER(llama2_gatt_options), c_size_t]),
    "llama2_gatt_create": (llama2_status, [POINTER(llama2_tokenizer), POINTER(llama2_gatt_dialogues), POINTER(llama2_gatt_options), POINTER(POINTER(llama2_gatt))]),
    "llama2_gatt_free": (None, [POINTER(llama2_gatt)]),
    "llama2_gatt_turn": (llama2_status, [POINTER(llama2_gatt), POINTER(llama2_model), POINTER(llama2_rollout_options), POINTER(llama2_gatt_metrics)]),
    "llama2_gatt_turns_left": (c_int32, [POINTER(llama2_gatt)]),
    "llama2_gatt_answer_get": (llama2_status, [POINTER(llama2_gatt), c_int32, c_int32, POINTER(llama2_gatt_answer)]),
    "llama2_gatt_drop": (llama2_status, [POINTER(llama2_gatt), c_int32]),
    "llama2_gatt_examples": (llama2_status, [POINTER(llama2_gatt), POINTER(POINTER(llama2_rollouts))]),
    "llama2_ppo_options_init": (None, [POINTER(llama2_ppo_options), c_size_t]),
    "llama2_rollouts_reference": (llama2_status, [POINTER(llama2_rollouts), POINTER(llama2_model)]),
    "llama2_rollouts_values": (llama2_status, [POINTER(llama2_rollouts), POINTER(llama2_reward_model)]),
    "llama2_ppo_advantages": (llama2_status, [POINTER(llama2_rollouts), POINTER(llama2_ppo_options), POINTER(llama2_ppo_metrics)]),
    "llama2_ppo_update": (llama2_status, [POINTER(llama2_trainer), POINTER(llama2_trainer), POINTER(llama2_rollouts), POINTER(llama2_ppo_options), POINTER(llama2_ppo_metrics)]),
    "llama2_ppo_adapt_beta": (c_double, [c_double, c_double, c_double, c_double, c_int64]),
    "llama2_checkpoint_begin": (llama2_status, [POINTER(llama2_context), c_char_p, c_int64, POINTER(POINTER(llama2_checkpoint))]),
    "llama2_checkpoint_add_trainer": (llama2_status, [POINTER(llama2_checkpoint), c_char_p, POINTER(llama2_trainer)]),
    "llama2_checkpoint_add_rollouts": (llama2_status, [POINTER(llama2_checkpoint), c_char_p, POINTER(llama2_rollouts)]),
    "llama2_checkpoint_add_bytes": (llama2_status, [POINTER(llama2_checkpoint), c_char_p, c_void_p, c_size_t]),
    "llama2_checkpoint_commit": (llama2_status, [POINTER(llama2_checkpoint), c_int32]),
    "llama2_checkpoint_open": (llama2_status, [POINTER(llama2_context), c_char_p, c_int64, POINTER(POINTER(llama2_checkpoint))]),
    "llama2_checkpoint_step": (c_int64, [POINTER(llama2_checkpoint)]),
    "llama2_checkpoint_get_trainer": (llama2_status, [POINTER(llama2_checkpoint), c_char_p, POINTER(llama2_trainer)]),
    "llama2_checkpoint_get_rollouts": (llama2_status, [POINTER(llama2_checkpoint), c_char_p, POINTER(POINTER(llama2_rollouts))]),
    "llama2_checkpoint_get_bytes": (llama2_status, [POINTER(llama2_checkpoint), c_char_p, c_void_p, c_size_t, POINTER(c_size_t)]),
    "llama2_checkpoint_free": (None, [POINTER(llama2_checkpoint)]),
}
