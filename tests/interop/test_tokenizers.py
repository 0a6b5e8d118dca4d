"""Token ids beside those of the `tokenizers` and `sentencepiece` libraries."""
import base64
import itertools
import json
import shutil
import time

import pytest
import sentencepiece
from gguf import GGUFReader
from tiktoken import Encoding
from tiktoken.load import load_tiktoken_bpe
from tokenizers import AddedToken, Regex, decoders, models, pre_tokenizers
from tokenizers import Tokenizer as Peer
from transformers import LlamaTokenizerFast
from transformers.convert_slow_tokenizer import TikTokenConverter

import texts
from compare import differing
from host import Tokenizer, lib, llama2

LLAMA3 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
          r"|\s*[\r\n]+|\s+(?!\S)|\s+")
BYTE_LEVEL = ["gpt2", "smollm2", "llama3"]


def byte_level_peer(kind, vocab, merges, specials):
    peer = Peer(models.BPE(vocab=vocab, merges=merges, ignore_merges=kind == "llama3"))
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=kind != "llama3")
    before = {"gpt2": [], "smollm2": [pre_tokenizers.Digits(individual_digits=True)], "llama3": [pre_tokenizers.Split(Regex(LLAMA3), "isolated")]}[kind]
    peer.pre_tokenizer = pre_tokenizers.Sequence([*before, byte_level]) if before else byte_level
    peer.decoder = decoders.ByteLevel()
    peer.add_special_tokens([AddedToken(piece, special=True, normalized=False) for piece in specials])
    peer.encode_special_tokens = True  # text never makes special pieces
    return peer


def from_gguf(path, kind):
    fields = GGUFReader(path).fields
    pieces, types, merges = (fields["tokenizer.ggml." + name].contents() for name in ("tokens", "token_type", "merges"))
    vocab = {piece: i for i, piece in enumerate(pieces)}
    return byte_level_peer(kind, vocab, [tuple(merge.split(" ")) for merge in merges], [piece for piece, type_ in zip(pieces, types) if type_ == 3])


def from_ranks(path):
    """Llama 3's file has pieces in the order in which merges make them; the merge of a piece is what its bytes become with the earlier ones alone."""
    ranks = {base64.b64decode(piece): int(rank) for piece, rank in (line.split() for line in path.read_text().splitlines() if line)}
    shown = bytes_shown()
    show = lambda piece: "".join(shown[byte] for byte in piece)  # noqa: E731
    merges = []
    for piece, rank in ranks.items():
        parts = [piece[i:i + 1] for i in range(len(piece))]
        while len(parts) > 2:
            best = min(range(len(parts) - 1), key=lambda i: ranks.get(parts[i] + parts[i + 1], 1 << 30))
            if ranks.get(parts[best] + parts[best + 1], 1 << 30) >= rank:
                break
            parts[best:best + 2] = [parts[best] + parts[best + 1]]
        if len(parts) == 2:
            merges.append((show(parts[0]), show(parts[1])))
    specials = ["<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"]
    return byte_level_peer("llama3", {show(piece): rank for piece, rank in ranks.items()}, merges, specials)


def bytes_shown():
    """The character that byte-level BPE shows each byte by: printable Latin-1 as it is, the others from U+0100 on."""
    printable = {*range(33, 127), *range(161, 173), *range(174, 256)}
    others = iter(range(256, 512))
    return [chr(byte) if byte in printable else chr(next(others)) for byte in range(256)]


@pytest.fixture(scope="module")
def byte_level(request, data, smollm2, llama3_ranks, tmp_path_factory):
    """kind -> (the library's tokenizer from GGUF or None, from tokenizer.json, the peer)."""
    made = {}

    def get(kind):
        if kind not in made:
            gguf = {"gpt2": data("vocab/ggml-vocab-gpt-2.gguf"), "smollm2": smollm2, "llama3": None}[kind]
            peer = from_gguf(gguf, kind) if gguf else from_ranks(llama3_ranks)
            folder = tmp_path_factory.mktemp(kind)
            peer.save(str(folder / "tokenizer.json"))
            made[kind] = Tokenizer(gguf) if gguf else None, Tokenizer(folder), peer
        return made[kind]
    return get


@pytest.mark.parametrize("kind", BYTE_LEVEL)
def test_byte_level_ids(kind, byte_level, figure):
    gguf, from_json, peer = byte_level(kind)
    lines = texts.lines()
    wanted = [e.ids for e in peer.encode_batch(lines, add_special_tokens=False)]
    for name, own in (("GGUF", gguf), ("tokenizer.json", from_json)):
        if own is None:
            continue
        found = [own.encode(line).tolist() for line in lines]
        wrong = [i for i in range(len(lines)) if found[i] != wanted[i]]
        figure(f"{name}: {len(lines)} lines, {sum(map(len, wanted))} ids,", len(wrong), "lines differ from tokenizers'")
        assert not wrong, (lines[wrong[0]], found[wrong[0]], wanted[wrong[0]])


@pytest.mark.parametrize("kind", BYTE_LEVEL)
def test_byte_level_bytes_come_back(kind, byte_level, figure):
    own = byte_level(kind)[1]
    lacking = [byte for byte in range(256) if not len(own.encode(bytes([byte])))]
    strings = [bytes(byte for byte in string if byte not in lacking) for string in texts.byte_strings()] + [bytes(byte for byte in range(256) if byte not in lacking)]
    wrong = [string for string in strings if own.decode(own.encode(string)) != string]
    figure(len(strings), "byte strings,", len(wrong), "come back changed; bytes without a piece:", len(lacking))
    assert not wrong and len(lacking) == (21 if kind == "smollm2" else 0)


@pytest.fixture(scope="module")
def tiktoken_pair(llama3_ranks):
    """Llama 3's tokenizer.model as Meta releases it, and what transformers makes of it: all pairs of pieces that make a piece, in their order."""
    specials = ["<|begin_of_text|>", "<|end_of_text|>", "<|reserved_special_token_0|>", "<|reserved_special_token_1|>", "<|finetune_right_pad_id|>", "<|step_id|>",
                "<|start_header_id|>", "<|end_header_id|>", "<|eom_id|>", "<|eot_id|>", "<|python_tag|>", "<|image|>"]
    specials += [f"<|reserved_special_token_{i}|>" for i in range(2, 2 + 256 - len(specials))]
    peer = TikTokenConverter(vocab_file=str(llama3_ranks), pattern=LLAMA3, extra_special_tokens=specials).converted()
    peer.encode_special_tokens = True
    return Tokenizer(llama3_ranks), peer, specials


def test_tiktoken_ids(tiktoken_pair, llama3_ranks, tmp_path, figure):
    """Beside tokenizers, tiktoken itself, and the tokenizer.json that the library writes."""
    own, peer, specials = tiktoken_pair
    ranks = load_tiktoken_bpe(str(llama3_ranks))
    tiktoken = Encoding("llama3", pat_str=LLAMA3, mergeable_ranks=ranks, special_tokens={text: len(ranks) + i for i, text in enumerate(specials)})
    lines = texts.lines()
    wanted = [e.ids for e in peer.encode_batch(lines, add_special_tokens=False)]
    own.save(tmp_path)
    again = Tokenizer(tmp_path)
    for name, encode in ("tokenizers", wanted.__getitem__), ("tiktoken", lambda i: tiktoken.encode_ordinary(lines[i])), ("its own tokenizer.json", lambda i: again.encode(lines[i]).tolist()):
        wrong = [i for i in range(len(lines)) if own.encode(lines[i]).tolist() != encode(i)]
        figure(len(lines), "lines,", len(wrong), "differ from", name)
        assert not wrong, (lines[wrong[0]], own.encode(lines[wrong[0]]), encode(wrong[0]))
    for i, text in enumerate(specials):
        assert own.decode([len(ranks) + i], llama2.LLAMA2_DECODE_SPECIALS).decode() == text == peer.id_to_token(len(ranks) + i)
    theirs, ours = (json.loads(parts)["model"]["merges"] for parts in (peer.to_str(), (tmp_path / "tokenizer.json").read_text()))
    figure(len(theirs), "merges in the tokenizer.json of each")
    assert [*map(tuple, theirs)] == [*map(tuple, ours)]


@pytest.fixture(scope="module")
def llama2_pair(data):
    path = data("llama2-tokenizer.model")
    return Tokenizer(path), sentencepiece.SentencePieceProcessor(model_file=str(path))


def test_sentencepiece_ids(llama2_pair, figure):
    own, peer = llama2_pair
    lines = texts.lines()
    wrong = differing(lines, own.encode, peer.encode)
    figure(len(lines), "lines,", len(wrong), "differ from sentencepiece's")
    assert not wrong, wrong[0]


def test_sentencepiece_ids_of_invalid_bytes(llama2_pair, figure):
    own, peer = llama2_pair
    strings = texts.invalid() + texts.byte_strings()
    wrong = differing(strings, own.encode, peer.encode)
    figure(len(strings), "byte strings,", len(wrong), "differ from sentencepiece's")
    assert not wrong, wrong[0]


def test_sentencepiece_gguf_and_model_agree(llama2_pair, data, figure):
    own, _ = llama2_pair
    gguf = Tokenizer(data("vocab/ggml-vocab-llama-spm.gguf"))
    wrong = differing(texts.lines(), gguf.encode, own.encode)
    figure(len(wrong), "of 20000 lines differ between the GGUF and the .model of Llama 2's vocabulary")
    assert not wrong, wrong[0]


FORMS = {
    # Until transformers 4, and in the folders of Llama 2 themselves.
    "normalizers": {"normalizer": {"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": "\u2581"}, {"type": "Replace", "pattern": {"String": " "}, "content": "\u2581"}]},
                    "pre_tokenizer": None, "unk_token": "<unk>"},
    # As transformers 5 writes it: a text that begins with a space gets none before it.
    "Metaspace always": {"normalizer": None, "pre_tokenizer": {"type": "Metaspace", "replacement": "\u2581", "prepend_scheme": "always", "split": False}, "unk_token": None},
    "Metaspace first": {"normalizer": None, "pre_tokenizer": {"type": "Metaspace", "replacement": "\u2581", "prepend_scheme": "first", "split": False}, "unk_token": None},
}


@pytest.fixture
def of_form(data, tmp_path):
    """form -> (folder, the library's tokenizer, the peer) of what transformers makes of a tokenizer.model."""
    def make(form):
        shutil.copy(data("llama2-tokenizer.model"), tmp_path / "tokenizer.model")
        parts = json.loads(LlamaTokenizerFast.from_pretrained(tmp_path).backend_tokenizer.to_str())
        parts |= FORMS[form]
        parts["model"]["unk_token"] = parts.pop("unk_token")
        folder = tmp_path / "json"
        folder.mkdir()
        (folder / "tokenizer.json").write_text(json.dumps(parts))
        peer = Peer.from_file(str(folder / "tokenizer.json"))
        peer.encode_special_tokens = True
        return folder, Tokenizer(folder), peer
    return make


@pytest.mark.parametrize("form", FORMS)
def test_llama2_tokenizer_json(form, of_form, figure):
    folder, own, peer = of_form(form)
    lines = [line for line in texts.lines() if line]
    wrong = differing(lines, own.encode, lambda line: peer.encode(line, add_special_tokens=False).ids)
    figure(len(lines), "lines,", len(wrong), "differ from tokenizers'")
    assert not wrong, wrong[0]
    own.save(folder)
    again = Tokenizer(folder)
    assert all(again.encode(line).tolist() == own.encode(line).tolist() for line in lines[:2000])


def in_characters(text, ranges):
    """Byte ranges as tokenizers counts them: in characters, of which each one that has a byte in a range is in it."""
    begins = [byte & 0xC0 != 0x80 for byte in text.encode()] + [True]
    index = [*itertools.accumulate(begins)]
    return [(index[begin] - 1, index[end] - begins[end]) for begin, end in ranges]


def check_cover(length, ranges):
    """In order, from the first byte to the last."""
    assert ranges[0, 0] == 0 and ranges[-1, 1] == length and (ranges[1:, 0] == ranges[:-1, 1]).all() and (ranges[:, 0] <= ranges[:, 1]).all()


def compare_offsets(own, peer, lines, prefix):
    """The lines whose ranges differ from tokenizers'."""
    wrong = []
    for line in lines:
        ids, ranges = own.encode_offsets(line)
        theirs = peer.encode(line, add_special_tokens=False)
        assert ids.tolist() == own.encode(line).tolist() == theirs.ids, line
        check_cover(len(line.encode()), ranges)
        wanted = theirs.offsets
        if ids[0] == prefix and ranges[0, 1] == 0:  # a dummy prefix that is an id of its own: tokenizers gives it the first character too
            assert wanted[0] == (0, 1)
            wanted[0] = (0, 0)
        if in_characters(line, ranges.tolist()) != wanted:
            wrong.append((line, ranges.tolist(), wanted))
    return wrong


@pytest.mark.parametrize("form", FORMS)
def test_sentencepiece_offsets(form, of_form, figure):
    _, own, peer = of_form(form)
    lines = [line for line in texts.lines() if line]
    wrong = compare_offsets(own, peer, lines, peer.token_to_id("\u2581"))
    figure(len(lines), "lines,", len(wrong), "have other ranges than tokenizers'")
    assert not wrong, wrong[0]


@pytest.mark.parametrize("kind", BYTE_LEVEL)
def test_byte_level_offsets(kind, byte_level, figure):
    """But for lines with a byte that has no piece: after one, tokenizers' ranges are too far to the left."""
    _, own, peer = byte_level(kind)
    lacking = {byte for byte in range(256) if not len(own.encode(bytes([byte])))}
    every = [line for line in texts.lines() if line]
    lines = [line for line in every if lacking.isdisjoint(line.encode())]
    wrong = compare_offsets(own, peer, lines, None)
    figure(len(lines), "lines,", len(wrong), "have other ranges than tokenizers'")
    assert not wrong and len(lines) > 18000, wrong[:1]
    for line in (line.encode() for line in every if not lacking.isdisjoint(line.encode())):
        _, ranges = own.encode_offsets(line)
        covered = bytes(line[i] for begin, end in ranges for i in range(begin, end))
        within = bytes(byte for byte in covered if byte not in lacking)  # a piece may come from both sides of one
        assert within == bytes(byte for byte in line if byte not in lacking)


def test_llama2_folder_of_transformers(llama2_pair, data, tmp_path):
    """A folder as save_pretrained leaves it, with its tokenizer_config.json and without a tokenizer.model."""
    shutil.copy(data("llama2-tokenizer.model"), tmp_path / "tokenizer.model")
    LlamaTokenizerFast.from_pretrained(tmp_path, pad_token="<unk>").save_pretrained(tmp_path / "saved")
    assert not (tmp_path / "saved/tokenizer.model").exists()
    own = Tokenizer(tmp_path / "saved")
    assert [getattr(lib, f"llama2_tokenizer_{name}")(own.handle) for name in ("unk", "bos", "eos", "pad", "vocab_size")] == [0, 1, 2, 0, 32000]
    assert own.encode("Hello world").tolist() == llama2_pair[0].encode("Hello world").tolist()


def test_vectors_of_gpt2(byte_level, data, figure):
    """llama.cpp's own texts and ids."""
    own, from_json, _ = byte_level("gpt2")
    wanted = [[*map(int, line.split())] for line in data("vocab/ggml-vocab-gpt-2.gguf.out").read_text().split("\n")]
    inputs = data("vocab/ggml-vocab-gpt-2.gguf.inp").read_bytes().decode().split("\n__ggml_vocab_test__\n")
    pairs = list(zip(inputs, wanted))
    wrong = [text for text, ids in pairs if own.encode(text).tolist() != ids or from_json.encode(text).tolist() != ids]
    figure(len(pairs), "texts,", len(wrong), "differ from llama.cpp's ids")
    assert len(pairs) > 40 and not wrong, wrong[0]


def seconds(call, rounds=5):
    """The shortest of some rounds, in seconds of this thread's own: other programs may be running."""
    found = []
    for _ in range(rounds):
        begin = time.thread_time()
        call()
        found.append(time.thread_time() - begin)
    return min(found)


@pytest.mark.parametrize("kind", ["llama2", *BYTE_LEVEL])
def test_time_is_linear(kind, byte_level, llama2_pair, figure):
    """100,000 equal characters, and a quarter of them: the times are as 4 when linear, as 16 when quadratic."""
    own = llama2_pair[0] if kind == "llama2" else byte_level(kind)[1]
    worst = slowest = 0.0
    for character in ["a", " ", "\n", "0", ".", "'", "é", "中", "😀", "\u0301", "\u200d"]:
        quarter, whole = (seconds(lambda: own.encode(character * n)) for n in (25_000, 100_000))
        worst, slowest = max(worst, whole / quarter), max(slowest, whole)
    figure(f"100,000 equal characters take {1e3 * slowest:.0f} ms at most; worst ratio to 25,000:", worst)
    assert worst < 8 and slowest < 1


@pytest.mark.parametrize("kind", ["llama2", *BYTE_LEVEL])
def test_speed_on_english(kind, byte_level, llama2_pair, data, figure):
    text = data("tinyshakespeare.txt").read_text()
    if kind == "llama2":
        own, peer = llama2_pair
        peer_encode, name = peer.encode, "sentencepiece"
    else:
        _, own, library = byte_level(kind)
        peer_encode, name = lambda part: library.encode(part, add_special_tokens=False), "tokenizers"
    megabytes = len(text.encode()) / 1e6
    speed, peer_speed = megabytes / seconds(lambda: own.encode(text)), megabytes / seconds(lambda: peer_encode(text), 3)
    figure(f"MB/s on one core: {speed:.1f}, {name} {peer_speed:.1f}")
    assert speed >= 20
