"""What the library writes: the same numbers after a round trip, and the same model in transformers and llama.cpp."""
import ctypes
import shutil

import llama_cpp
import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

import host
import texts
from compare import compare, loss
from host import Model, Tokenizer, program
from peers import LlamaCpp, Transformers

DTYPES = {"f32": torch.float32, "f16": torch.float16, "bf16": torch.bfloat16}
# llama.cpp's file types of these names.
QUANTISED = {"q8_0": 7, "q4_0": 2, "q4_k": 15, "q6_k": 18}


@pytest.fixture(scope="module")
def untied(data, tmp_path_factory):
    """folder(dtype): a random model with four query heads for each key, an untied head and Llama 2's vocabulary, of transformers."""
    torch.manual_seed(20)
    model = LlamaForCausalLM(LlamaConfig(vocab_size=32000, hidden_size=256, num_hidden_layers=3, num_attention_heads=8, num_key_value_heads=2, head_dim=32, intermediate_size=768,
                                         rms_norm_eps=1e-5, max_position_embeddings=2048, bos_token_id=1, eos_token_id=2, initializer_range=0.05))

    def folder(dtype):
        path = tmp_path_factory.mktemp("untied")
        model.to(DTYPES[dtype]).save_pretrained(path)
        shutil.copy(data("llama2-tokenizer.model"), path / "tokenizer.model")
        return path
    return folder


@pytest.fixture(scope="module")
def smollm2_folder(smollm2, tmp_path_factory):
    path = tmp_path_factory.mktemp("smollm2")
    Model(smollm2).save(path)
    Tokenizer(smollm2).save(path)
    return path


def convert(source, target, dtype=None):
    return program("convert", "--model", source, "--out", target, "--quiet", *(["--type", dtype] if dtype else []))


def bits(folder):
    return {name: tensor.view(torch.int32 if tensor.dtype == torch.float32 else torch.int16) for path in folder.glob("*.safetensors") for name, tensor in load_file(path).items()}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("model", ["untied", "smollm2"])
def test_round_trip_keeps_bits(model, dtype, untied, smollm2, smollm2_folder, scratch, figure):
    if model == "untied":
        source = untied(dtype)
    else:
        source = scratch / "source"
        convert(smollm2_folder, source, dtype)
    convert(source, scratch / "model.gguf")
    convert(scratch / "model.gguf", scratch / "back")
    before, after = bits(source), bits(scratch / "back")
    # Gains are F32 in GGUF files of llama.cpp's kind: they come back as they were, in either width.
    wrong = [name for name in before if name not in after or before[name].dtype != after[name].dtype or not torch.equal(before[name], after[name])]
    figure(len(before), "tensors,", len(wrong), "differ in a bit")
    assert before.keys() == after.keys() and not wrong, wrong[:3]


@pytest.fixture(scope="module")
def passages(smollm2, data):
    """4 x 1024 tokens to take perplexities of."""
    tokens = Tokenizer(smollm2).encode(data("tinyshakespeare.txt").read_bytes()[:40000])
    return [tokens[i:i + 1024] for i in range(0, 4096, 1024)]


def perplexity(logits, passages):
    return float(np.exp(sum(loss(logits(tokens), tokens) for tokens in passages) / sum(len(tokens) - 1 for tokens in passages)))


def quantise_by_peer(source, target, file_type):
    params = llama_cpp.llama_model_quantize_default_params()
    params.ftype, params.nthread = file_type, host.THREADS
    assert llama_cpp.llama_model_quantize(str(source).encode(), str(target).encode(), ctypes.byref(params)) == 0


@pytest.mark.parametrize("dtype", QUANTISED)
def test_quantised_file_in_llama_cpp(dtype, smollm2_folder, passages, scratch, figure):
    """SmolLM2's rows of 576 are no multiple of 256: the types of the fall-backs are in these files too."""
    done = convert(smollm2_folder, scratch / "own.gguf", dtype)
    convert(smollm2_folder, scratch / "f32.gguf", "f32")
    quantise_by_peer(scratch / "f32.gguf", scratch / "peer.gguf", QUANTISED[dtype])
    own, peer = (perplexity(LlamaCpp(scratch / name, n_ctx=1024).logits, passages) for name in ("own.gguf", "peer.gguf"))
    sizes = [(scratch / name).stat().st_size / 1e6 for name in ("own.gguf", "peer.gguf")]
    figure(f"perplexity in llama.cpp {own:.4f}, of its own quantiser's file {peer:.4f} ({100 * (own / peer - 1):+.2f} %); {sizes[0]:.1f} and {sizes[1]:.1f} MB; "
           f"{done.seconds:.1f} s, {done.memory / 1e6:.0f} MB of memory")
    assert own <= 1.005 * peer


@pytest.mark.parametrize("dtype", QUANTISED)
def test_quantised_rows_of_256(dtype, untied, data, scratch, figure):
    """The same types without fall-backs: each tensor's error beside that of llama.cpp's own quantiser, and the same types."""
    from gguf import GGUFReader, dequantize
    source = untied("f32")
    convert(source, scratch / "own.gguf", dtype)
    convert(source, scratch / "f32.gguf", "f32")
    quantise_by_peer(scratch / "f32.gguf", scratch / "peer.gguf", QUANTISED[dtype])
    exact, own, peer = ({t.name: t for t in GGUFReader(scratch / name).tensors} for name in ("f32.gguf", "own.gguf", "peer.gguf"))
    assert {name: t.tensor_type for name, t in own.items()} == {name: t.tensor_type for name, t in peer.items()}
    numbers = lambda t: dequantize(t.data, t.tensor_type).astype(np.float64)  # noqa: E731
    error = lambda file: np.sqrt(sum(((numbers(t) - numbers(exact[name])) ** 2).sum() for name, t in file.items()))  # noqa: E731
    ratio = error(own) / error(peer)
    figure("error of the weights beside that of llama.cpp's quantiser:", float(ratio))
    assert ratio <= 1.01
    tokens = Tokenizer(source).encode(data("tinyshakespeare.txt").read_bytes()[:2000], 1)[:256]
    assert np.isfinite(LlamaCpp(scratch / "own.gguf", n_ctx=512).logits(tokens)).all()


@pytest.mark.parametrize("model", ["untied", "smollm2"])
def test_written_files_in_transformers_and_llama_cpp(model, untied, smollm2, smollm2_folder, data, scratch, figure):
    """A folder and a GGUF that the library wrote: equal logits, equal ids, the chat template."""
    source = untied("f32") if model == "untied" else smollm2
    convert(source, scratch / "folder", "f32")
    convert(source, scratch / "f32.gguf", "f32")
    own, tokenizer = Model(scratch / "folder"), Tokenizer(scratch / "folder")
    peer = LlamaCpp(scratch / "f32.gguf", n_ctx=1024)
    tokens = tokenizer.encode(data("tinyshakespeare.txt").read_bytes()[:4000])[:1000]
    for name, other in (("transformers", Transformers(scratch / "folder")), ("llama.cpp", peer)):
        worst, _, far = compare(own.logits(tokens), other.logits(tokens))
        figure(f"{len(tokens)} tokens, largest difference of a logit to that of {name}:", worst)
        assert worst <= 1e-3 and far == 0
    auto = AutoTokenizer.from_pretrained(scratch / "folder").backend_tokenizer
    auto.encode_special_tokens = True  # text never makes special pieces
    # transformers 5 and llama.cpp differ from sentencepiece where a text begins with a space.
    lines = [line for line in texts.lines(4000) if line and line[0] not in " \u2581"]
    wanted = [tokenizer.encode(line).tolist() for line in lines]
    by_transformers = [auto.encode(line, add_special_tokens=False).ids for line in lines]
    by_llama_cpp = [peer.model.tokenize(line.encode(), add_bos=False, special=False) for line in lines]
    wrong = [sum(a != b for a, b in zip(found, wanted)) for found in (by_transformers, by_llama_cpp)]
    figure(f"{len(lines)} lines, {wrong[0]} differ in transformers, {wrong[1]} in llama.cpp")
    assert wrong == [0, 0], next((line, a, b) for line, a, b in zip(lines, by_transformers if wrong[0] else by_llama_cpp, wanted) if a != b)


def test_chat_template_is_kept(smollm2, scratch):
    convert(smollm2, scratch / "folder", "f32")
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hello"}]
    text = AutoTokenizer.from_pretrained(scratch / "folder").apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    assert text == "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHello<|im_end|>\n<|im_start|>assistant\n"
