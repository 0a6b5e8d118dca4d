#!/usr/bin/env python3
"""Makes tests/reference/tokenizer/chat/ anew: chat templates, a small vocabulary like TinyLlama's, and what transformers'
apply_chat_template makes of dialogues with them. Made with transformers 5.23.0 and tokenizers 0.23.3.

llama3.jinja, llama3-first.jinja and zephyr.jinja are as the models publish them (Meta-Llama-3-8B-Instruct now and at first; zephyr-7b-beta and
TinyLlama-1.1B-Chat-v1.0). llama31.jinja holds what the templates of Llama 3.1 to 3.3 say of dialogues without tools.

usage: make_chat_goldens.py OUT [LLAMA3.1-TEMPLATE ...]    OUT holds lines.txt, bpe-llama3/; further templates must give what llama31.jinja gives
"""
import json
import sys
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

OUT = Path(sys.argv[1])
CHAT = OUT / "chat"

LLAMA3_TURNS = (
    "{% set loop_messages = messages %}{% for message in loop_messages %}{% set content = '<|start_header_id|>' + message['role'] + "
    "'<|end_header_id|>\n\n'+ message['content'] | trim + '<|eot_id|>' %}{% if loop.index0 == 0 %}{% set content = bos_token + content %}"
    "{% endif %}{{ content }}{% endfor %}")
LLAMA3_HEADER = "{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}"
ROLE = "{%% %s message['role'] == '%s' %%}\n{{ '<|%s|>\n'%s+ message['content'] + eos_token }}\n"
TEMPLATES = {
    "llama3": LLAMA3_TURNS + "{% if add_generation_prompt %}" + LLAMA3_HEADER + "{% endif %}",
    "llama3-first": LLAMA3_TURNS + LLAMA3_HEADER,
    "llama31": r"""{{- bos_token }}
{%- if not date_string is defined %}
    {%- set date_string = "26 Jul 2024" %}
{%- endif %}
{%- if messages[0]['role'] == 'system' %}
    {%- set system_message = messages[0]['content']|trim %}
    {%- set messages = messages[1:] %}
{%- else %}
    {%- set system_message = "" %}
{%- endif %}
{{- "<|start_header_id|>system<|end_header_id|>\n\n" }}
{{- "Cutting Knowledge Date: December 2023\n" }}
{{- "Today Date: " + date_string + "\n\n" }}
{{- system_message }}
{{- "<|eot_id|>" }}
{%- for message in messages %}
    {{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\n\n'+ message['content'] | trim + '<|eot_id|>' }}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|start_header_id|>assistant<|end_header_id|>\n\n' }}
{%- endif %}
""",
    "zephyr": "{% for message in messages %}\n" + ROLE % ("if", "user", "user", " ") + ROLE % ("elif", "system", "system", " ")
              + ROLE % ("elif", "assistant", "assistant", "  ") + "{% endif %}\n{% if loop.last and add_generation_prompt %}\n"
              "{{ '<|assistant|>' }}\n{% endif %}\n{% endfor %}",
}

# Those of tests/unit/tokenizer/test_chat_turns.c.
DIALOGUES = {
    "user": [("user", "  What is 2 + 2?\n")],
    "system": [("system", " Be brief. \n"), ("user", "\u00a0Hi there\u3000")],
    "turns": [("user", "Hello"), ("assistant", "\n Hi! \u00e9\n"), ("user", "Thanks"), ("assistant", "\U0001f600 ok"), ("user", "\n\nBye")],
    "complete": [("system", "You are a pirate."), ("user", ""), ("assistant", "Arr!\n\nA pirate."), ("user", "0042?"), ("assistant", "")],
}
SPECIALS = ["<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"]


def llama3_tokenizer():
    """bpe-llama3 with the pieces of the chat format after its own."""
    parts = json.loads((OUT / "bpe-llama3" / "tokenizer.json").read_text())
    first = len(parts["model"]["vocab"])
    for i, text in enumerate(SPECIALS):
        parts["added_tokens"].append({"id": first + i, "content": text, "single_word": False, "lstrip": False, "rstrip": False,
                                      "normalized": False, "special": True})
    return PreTrainedTokenizerFast(tokenizer_object=Tokenizer.from_str(json.dumps(parts)), bos_token="<|begin_of_text|>", eos_token="<|eot_id|>")


def zephyr_tokenizer():
    """SentencePiece's BPE as a tokenizer.json, made as transformers converts it: merges are all ways to make a piece of two."""
    specials = ["<unk>", "<s>", "</s>"] + ["<0x%02X>" % i for i in range(256)]
    trained = Tokenizer(models.BPE(unk_token="<unk>"))
    trained.normalizer = normalizers.Sequence([normalizers.Prepend("\u2581"), normalizers.Replace(" ", "\u2581")])
    trained.pre_tokenizer = pre_tokenizers.Split("\u2581", "merged_with_next")
    lines = [line for line in (OUT / "lines.txt").read_text().split("\n") if line.isascii()]
    trained.train_from_iterator(lines, trainers.BpeTrainer(vocab_size=450, special_tokens=specials, show_progress=False))
    pieces = [piece for piece, _ in sorted(trained.get_vocab().items(), key=lambda entry: entry[1])]
    known = set(pieces[len(specials):])
    merges = [(p[:i], p[i:]) for p in pieces[len(specials):] for i in range(1, len(p)) if p[:i] in known and p[i:] in known]
    tok = Tokenizer(models.BPE(vocab={p: i for i, p in enumerate(pieces)}, merges=merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    tok.normalizer = trained.normalizer
    tok.decoder = decoders.Sequence([decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)])
    tok.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    tok.add_special_tokens(specials[:3])
    (CHAT / "zephyr.json").write_text(json.dumps(json.loads(tok.to_str()), ensure_ascii=False, separators=(",", ":")) + "\n")
    return PreTrainedTokenizerFast(tokenizer_object=tok, bos_token="<s>", eos_token="</s>", unk_token="<unk>")


def rows(name, tok, template, end, **settings):
    """ids:weight of each dialogue; answers with the piece that ends them weigh 1."""
    for dialogue, turns in DIALOGUES.items():
        messages = [{"role": role, "content": text} for role, text in turns]
        given = dict(chat_template=template, add_generation_prompt=turns[-1][0] != "assistant", **settings)
        text = tok.apply_chat_template(messages, tokenize=False, **given)
        ids = tok.apply_chat_template(messages, tokenize=True, return_dict=False, **given)
        if name == "llama3-first" and turns[-1][0] == "assistant":  # it asks for one more answer
            text = text.removesuffix(LLAMA3_HEADER[4:-4].replace("'", ""))
            ids = tok(text, add_special_tokens=False)["input_ids"]
        answers, at = [], 0
        for role, content in turns:
            said = (content if end == "</s>" else content.strip()) + end
            at = text.index(said, at)
            if role == "assistant":
                answers.append((at, at + len(said)))
            at += len(said)
        found = tok(text, add_special_tokens=False, return_offsets_mapping=True)
        assert found["input_ids"] == ids
        yield "%s %s %d %s\n" % (name, dialogue, len(ids), " ".join(
            "%d:%d" % (i, any(b < stop <= e for b, e in answers)) for i, (_, stop) in zip(ids, found["offset_mapping"])))


CHAT.mkdir(exist_ok=True)
for name, template in TEMPLATES.items():
    (CHAT / (name + ".jinja")).write_text(template)
llama3, zephyr = llama3_tokenizer(), zephyr_tokenizer()
golden = []
for name, template in TEMPLATES.items():
    golden += rows(name, zephyr if name == "zephyr" else llama3, template, "</s>" if name == "zephyr" else "<|eot_id|>")
golden += rows("llama31-dated", llama3, TEMPLATES["llama31"], "<|eot_id|>", date_string="01 Feb 2026")
(CHAT / "chat.golden").write_text("".join(golden))
for path in sys.argv[2:]:
    made = list(rows("llama31-dated", llama3, Path(path).read_text(), "<|eot_id|>", date_string="01 Feb 2026"))
    print(path, "matches" if made == golden[-len(made):] else "DIFFERS")
