"""Makes token_files.json: small tokenizers in the files that published checkpoints have, with what
AutoTokenizer of Transformers gives for some lines.

    python tests/golden/make_token_files.py

{"versions", "shared": {name: text of a file}, "directories": [{"name", "files": {file: text, or
{"shared": name}, or {"golden": path beside this script}}, "special": {"bos": id or null, ...},
"template": {"bos_token": text, ...} as chat templates see them, "size": ids of the tokenizer,
"lines": [[text, ids with special tokens, decoded, decoded without special tokens]]}]}"""
import json
import os
import shutil
import sys
import tempfile

import tokenizers
import transformers
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import AutoTokenizer

import tok_texts

HERE = os.path.dirname(os.path.abspath(__file__))
TEXT = tok_texts.PROSE + ["the <mask> is <s> </s>", "user assistant system def return 123 4567"]


def byte_level(size, special):
    """vocab.json and merges.txt of a byte-level BPE, `special` first."""
    t = Tokenizer(models.BPE())
    t.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    t.decoder = decoders.ByteLevel()
    t.train_from_iterator(TEXT, trainers.BpeTrainer(
        vocab_size=size, special_tokens=special, show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))
    model = json.loads(t.to_str())["model"]
    merges = "#version: 0.2\n" + "".join(" ".join(m) + "\n" for m in model["merges"])
    return model["vocab"], merges


def move_last(vocab, names):
    """The same vocabulary with some tokens at its end, as GPT-2 and RoBERTa's <mask> have it."""
    order = [t for t in sorted(vocab, key=vocab.get) if t not in names] + names
    return {t: i for i, t in enumerate(order)}


def dump(x):
    return json.dumps(x, ensure_ascii=False, separators=(",", ":"))


def word_pieces():
    words = sorted({w.strip(",.;:") for line in tok_texts.PROSE for w in line.lower().split()})[:60]
    letters = "abcdefghijklmnopqrstuvwxyzé,.'!?;:-[]<>/ABCMT"
    return (["[PAD]", "[unused0]", "[unused1]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"] + list(letters) +
            ["##" + c for c in letters[:26]] + [w for w in words if len(w) > 1])


SHARED = {}


def shared():
    vocab, merges = byte_level(300, ["<|endoftext|>"])
    SHARED["gpt2.vocab"] = dump(move_last(vocab, ["<|endoftext|>"]))
    SHARED["gpt2.merges"] = merges
    vocab, merges = byte_level(300, ["<s>", "<pad>", "</s>", "<unk>", "<mask>"])
    SHARED["roberta.vocab"] = dump(move_last(vocab, ["<mask>"]))
    SHARED["roberta.merges"] = merges
    vocab, merges = byte_level(290, [])
    SHARED["qwen2.vocab"], SHARED["qwen2.merges"] = dump(vocab), merges
    SHARED["vocab.txt"] = "".join(p + "\n" for p in word_pieces())
    SHARED["cased.txt"] = "".join(p + "\n" for p in word_pieces() + ["The", "In", "She"])


def token(content, **how):
    out = {"content": content, "lstrip": False, "normalized": True, "rstrip": False, "single_word": False}
    return {**out, **how}


def decoder_of(first, names, special=True):
    return {str(first + i): {**token(n, normalized=False), "special": special} for i, n in enumerate(names)}


def size(name):
    return len(json.loads(SHARED[name]))


def as_tokenizer_json(kind, **more):
    """tokenizer.json of one of the shared byte-level models."""
    t = Tokenizer(models.BPE(vocab=json.loads(SHARED[kind + ".vocab"]), merges=[
        tuple(line.split(" ")) for line in SHARED[kind + ".merges"].splitlines()[1:]]))
    t.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    t.decoder = decoders.ByteLevel()
    for special, names in more.items():
        (t.add_special_tokens if special == "special" else t.add_tokens)(names)
    return t.to_str()


def vocab_files(kind):
    return {"vocab.json": {"shared": kind + ".vocab"}, "merges.txt": {"shared": kind + ".merges"}}


def directories():
    gpt2, rob, qwen = vocab_files("gpt2"), vocab_files("roberta"), vocab_files("qwen2")
    end = size("gpt2.vocab") - 1
    last = size("qwen2.vocab")
    chat = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    opt_map = {"bos_token": token("</s>"), "eos_token": token("</s>"), "unk_token": token("</s>"),
               "pad_token": token("<pad>")}
    yield "gpt2-first", {"config.json": {"model_type": "gpt2"}, **gpt2}
    yield "distilgpt2", {"config.json": {"model_type": "gpt2", "bos_token_id": end, "eos_token_id": end},
                         "generation_config.json": {"bos_token_id": end, "eos_token_id": end},
                         "tokenizer_config.json": {"model_max_length": 1024}, **gpt2}
    yield "gpt2", {"config.json": {"model_type": "gpt2"}, "tokenizer_config.json": {"model_max_length": 1024},
                   "tokenizer.json": as_tokenizer_json("gpt2", special=["<|endoftext|>"]), **gpt2}
    yield "gpt2-map", {"config.json": {"model_type": "gpt2"}, "special_tokens_map.json":
                       {k: "<|endoftext|>" for k in ("bos_token", "eos_token", "unk_token")}, **gpt2}
    yield "gpt2-chat", {"config.json": {"model_type": "gpt2"}, "tokenizer_config.json":
                        {"tokenizer_class": "GPT2Tokenizer", "add_prefix_space": False},
                        "special_tokens_map.json": {"bos_token": "<|endoftext|>", "eos_token": "<|endoftext|>",
                                                    "pad_token": "<|pad|>", "additional_special_tokens": ["<|user|>"]},
                        "added_tokens.json": {"<|pad|>": end + 1, "<|user|>": end + 2, "word": end + 3}, **gpt2}
    yield "gpt2-bos", {"config.json": {"model_type": "gpt2"}, "tokenizer_config.json":
                       {"tokenizer_class": "GPT2Tokenizer", "add_bos_token": True, "add_eos_token": True,
                        "add_prefix_space": True, "bos_token": {"__type": "AddedToken", **token("<|endoftext|>")}}, **gpt2}
    yield "gpt2-decoder", {"config.json": {"model_type": "gpt2"}, "tokenizer_config.json":
                           {"tokenizer_class": "GPT2Tokenizer", "added_tokens_decoder": {
                               str(end): {**token("<|endoftext|>"), "special": True},
                               str(end + 1): {**token("  "), "special": False},
                               str(end + 2): {**token("<|b|>", lstrip=True), "special": True}},
                            "eos_token": "<|b|>"},
                           "special_tokens_map.json": {"eos_token": "<|endoftext|>"}, **gpt2}
    yield "roberta-first", {"config.json": {"model_type": "roberta"}, **rob}
    yield "roberta", {"config.json": {"model_type": "roberta", "architectures": ["RobertaForMaskedLM"]},
                      "tokenizer_config.json": {"model_max_length": 512}, **rob}
    yield "roberta-map", {"config.json": {"model_type": "roberta"}, "special_tokens_map.json": {
        "bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "sep_token": "</s>", "pad_token": "<pad>",
        "cls_token": "<s>", "mask_token": {**token("<mask>", lstrip=True)}},
        "tokenizer_config.json": {"model_max_length": 512, "tokenizer_class": "RobertaTokenizer",
                                  "add_prefix_space": True}, **rob}
    yield "roberta-decoder", {"config.json": {"model_type": "roberta"}, "tokenizer_config.json": {
        "tokenizer_class": "RobertaTokenizer", "mask_token": "<mask>", "added_tokens_decoder": {
            "0": {**token("<s>"), "special": True}, "2": {**token("</s>"), "special": True},
            str(size("roberta.vocab") - 1): {**token("<mask>", lstrip=True, normalized=False), "special": True}}}, **rob}
    yield "opt", {"config.json": {"model_type": "opt", "bos_token_id": 2, "eos_token_id": 2},
                  "special_tokens_map.json": opt_map, "tokenizer_config.json": {
                      "errors": "replace", "unk_token": {**token("</s>"), "__type": "AddedToken"},
                      "bos_token": {**token("</s>"), "__type": "AddedToken"},
                      "eos_token": {**token("</s>"), "__type": "AddedToken"}, "pad_token":
                      {**token("<pad>"), "__type": "AddedToken"}, "add_prefix_space": False,
                      "add_bos_token": True, "special_tokens_map_file": None, "tokenizer_class": "GPT2Tokenizer"}, **rob}
    yield "opt-old", {"config.json": {"model_type": "opt", "bos_token_id": 2, "eos_token_id": 2},
                      "special_tokens_map.json": {"bos_token": "</s>", "eos_token": "</s>", "unk_token": "</s>",
                                                  "pad_token": "<pad>"},
                      "tokenizer_config.json": {"add_bos_token": True}, **rob}
    yield "qwen2", {"config.json": {"model_type": "qwen2"}, "tokenizer_config.json": {
        "tokenizer_class": "Qwen2Tokenizer", "add_prefix_space": False, "bos_token": None, "errors": "replace",
        "eos_token": "<|im_end|>", "pad_token": "<|endoftext|>", "unk_token": None, "split_special_tokens": False,
        "additional_special_tokens": ["<|im_start|>", "<|im_end|>"],
        "added_tokens_decoder": decoder_of(last, chat), "clean_up_tokenization_spaces": False}, **qwen}
    yield "qwen3", {"config.json": {"model_type": "qwen3", "bos_token_id": last, "eos_token_id": last + 2},
                    "generation_config.json": {"bos_token_id": last, "pad_token_id": last,
                                               "eos_token_id": [last + 2, last], "do_sample": True},
                    "tokenizer_config.json": {
        "tokenizer_class": "Qwen2Tokenizer", "add_bos_token": False, "bos_token": None, "eos_token": "<|im_end|>",
        "pad_token": "<|endoftext|>", "unk_token": None, "additional_special_tokens": chat[1:],
        "added_tokens_decoder": {**decoder_of(last, chat), **decoder_of(last + 3, ["<think>", "</think>"], False)}},
        **qwen}
    yield "qwen2-old", {"config.json": {"model_type": "qwen2"}, "tokenizer_config.json":
                        {"tokenizer_class": "Qwen2Tokenizer", "eos_token": "<|im_end|>"},
                        "special_tokens_map.json": {"eos_token": "<|im_end|>", "pad_token": "<|endoftext|>",
                                                    "additional_special_tokens": chat[1:]},
                        "added_tokens.json": {c: last + i for i, c in enumerate(chat)}, **qwen}
    yield "gpt_neox", {"config.json": {"model_type": "gpt_neox"}, "tokenizer_config.json":
                       {"tokenizer_class": "GPTNeoXTokenizer", "add_prefix_space": False, "unk_token": "<|endoftext|>",
                        "bos_token": "<|endoftext|>", "eos_token": "<|endoftext|>"},
                       "tokenizer.json": as_tokenizer_json("gpt2", special=["<|endoftext|>"], added=["  ", "    "])}
    yield "json-decoder", {"config.json": {"model_type": "llama"}, "tokenizer_config.json":
                           {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "<|im_end|>",
                            "bos_token": "<|endoftext|>", "added_tokens_decoder": {
                                str(end): {**token("<|endoftext|>"), "special": True},
                                str(end + 1): {**token("<|im_end|>", normalized=False), "special": True},
                                str(end + 2): {**token("<|tool|>", rstrip=True), "special": False}}},
                           "special_tokens_map.json": {"eos_token": "<|endoftext|>"},
                           "tokenizer.json": as_tokenizer_json("gpt2", special=["<|endoftext|>"])}
    yield "json-map", {"config.json": {"model_type": "llama"}, "special_tokens_map.json":
                       {"eos_token": token("<|endoftext|>"), "bos_token": "<|endoftext|>", "pad_token": "<|pad|>"},
                       "tokenizer_config.json": {"tokenizer_class": "PreTrainedTokenizerFast", "add_bos_token": True},
                       "tokenizer.json": as_tokenizer_json("gpt2", special=["<|endoftext|>"])}
    yield "json-added", {"config.json": {"model_type": "mistral"}, "added_tokens.json": {"<extra>": end + 1, "Word": end + 2},
                         "special_tokens_map.json": {"additional_special_tokens": ["<extra>"]},
                         "tokenizer_config.json": {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "<|endoftext|>"},
                         "tokenizer.json": as_tokenizer_json("gpt2", special=["<|endoftext|>"])}
    yield "json-bare", {"config.json": {"model_type": "llama", "eos_token_id": end, "bos_token_id": end},
                        "tokenizer.json": as_tokenizer_json("gpt2", special=["<|endoftext|>"])}
    yield "json-extra", {"config.json": {"model_type": "llama"}, "tokenizer_config.json":
                         {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "<|endoftext|>",
                          "extra_special_tokens": {"image_token": "<image>"}, "boi_token": "<boi>"},
                         "tokenizer.json": as_tokenizer_json("gpt2", special=["<|endoftext|>"])}
    txt = {"vocab.txt": {"shared": "vocab.txt"}}
    yield "bert-first", {"config.json": {"model_type": "bert"}, **txt}
    yield "bert-uncased", {"config.json": {"model_type": "bert"}, "tokenizer_config.json": {"do_lower_case": True}, **txt}
    yield "bert-cased", {"config.json": {"model_type": "bert"}, "tokenizer_config.json": {"do_lower_case": False},
                         "vocab.txt": {"shared": "cased.txt"}}
    yield "distilbert", {"config.json": {"model_type": "distilbert"}, "tokenizer_config.json":
                         {"do_lower_case": True, "model_max_length": 512, "tokenizer_class": "DistilBertTokenizer"}, **txt}
    yield "sentence-transformers", {
        "config.json": {"model_type": "bert"}, "special_tokens_map.json":
        {"unk_token": "[UNK]", "sep_token": "[SEP]", "pad_token": "[PAD]", "cls_token": "[CLS]", "mask_token": "[MASK]"},
        "tokenizer_config.json": {"do_lower_case": True, "unk_token": "[UNK]", "sep_token": "[SEP]", "pad_token": "[PAD]",
                                  "cls_token": "[CLS]", "mask_token": "[MASK]", "tokenize_chinese_chars": True,
                                  "strip_accents": None, "name_or_path": "x", "do_basic_tokenize": True,
                                  "never_split": None, "special_tokens_map_file": "x/special_tokens_map.json",
                                  "tokenizer_class": "BertTokenizer", "model_max_length": 512}, **txt}
    yield "bert-added", {"config.json": {"model_type": "bert"}, "tokenizer_config.json": {
        "tokenizer_class": "BertTokenizer", "do_lower_case": True, "additional_special_tokens": ["[unused1]"],
        "added_tokens_decoder": {"1": {**token("[unused0]"), "special": False}, "2": {**token("[unused1]", normalized=False), "special": True},
                                 str(len(SHARED["vocab.txt"].splitlines())): {**token("Fog"), "special": False}}}, **txt}

    llama = {"tokenizer.model": {"golden": "spm/bpe_llama.model"}}
    yield "llama-1", {"config.json": {"model_type": "llama", "bos_token_id": 1, "eos_token_id": 2}, "tokenizer_config.json": {
        "bos_token": "<s>", "eos_token": "</s>", "model_max_length": 1000000000000000019884624838656, "add_bos_token": True,
        "tokenizer_class": "LLaMATokenizer", "unk_token": "<unk>"}, **llama}
    yield "llama-2", {"config.json": {"model_type": "llama"}, "tokenizer_config.json": {
        "add_bos_token": True, "add_eos_token": False, "bos_token": {"__type": "AddedToken", **token("<s>", normalized=False)},
        "clean_up_tokenization_spaces": False, "eos_token": {"__type": "AddedToken", **token("</s>", normalized=False)},
        "legacy": False, "pad_token": None, "padding_side": "right", "sp_model_kwargs": {},
        "tokenizer_class": "LlamaTokenizer", "unk_token": {"__type": "AddedToken", **token("<unk>", normalized=False)}},
        **llama}
    yield "llama-legacy", {"config.json": {"model_type": "llama"}, "tokenizer_config.json": {
        "add_bos_token": True, "legacy": True, "tokenizer_class": "LlamaTokenizer"}, **llama}
    yield "llama-map", {"config.json": {"model_type": "llama"}, "tokenizer_config.json": {
        "tokenizer_class": "LlamaTokenizer", "add_bos_token": True},
        "special_tokens_map.json": {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "pad_token": "[PAD]"},
        "added_tokens.json": {"[PAD]": 376}, **llama}
    yield "mistral-model", {"config.json": {"model_type": "mistral"}, "tokenizer_config.json": {
        "add_bos_token": True, "add_eos_token": False, "added_tokens_decoder": decoder_of(0, ["<unk>", "<s>", "</s>"]),
        "additional_special_tokens": [], "bos_token": "<s>", "eos_token": "</s>", "legacy": True, "pad_token": None,
        "tokenizer_class": "LlamaTokenizer", "unk_token": "<unk>", "use_default_system_prompt": False}, **llama}
    yield "mistral-first", {"config.json": {"model_type": "mistral"}, "tokenizer_config.json": {
        "add_bos_token": True, "legacy": False, "tokenizer_class": "LlamaTokenizer"}, **llama}
    yield "gemma-model", {"config.json": {"model_type": "gemma"}, "tokenizer_config.json": {
        "add_bos_token": True, "add_eos_token": False, "tokenizer_class": "GemmaTokenizer", "bos_token": "<s>",
        "eos_token": "</s>", "unk_token": "<unk>", "pad_token": None, "mask_token": None},
        "tokenizer.model": {"golden": "spm/bpe_nodummy.model"}}


LINES = ["", "the light of the morning", " The Fog was  thick<|endoftext|>and <|im_start|>user\nHi<|im_end|> 12345",
         "<s>the <mask> of</s>a <unk> <pad>", "[CLS] the [MASK], [unused0] [unused1] naïve fog [SEP]",
         "a <|b|> b  c    d <|pad|><|user|> word Word <|tool|> x<extra> <think>no</think> <image><boi>!",
         "it's 2024's é 你好 \U0001f600"]
KINDS = ["bos", "eos", "pad", "unk", "sep", "cls", "mask"]


def write(path, files):
    os.makedirs(path)
    for name, what in files.items():
        if isinstance(what, dict) and "golden" in what:
            shutil.copy(os.path.join(HERE, what["golden"]), os.path.join(path, name))
            continue
        text = SHARED[what["shared"]] if isinstance(what, dict) and "shared" in what else what
        with open(os.path.join(path, name), "w", encoding="utf-8") as f:
            f.write(text if isinstance(text, str) else json.dumps(text, ensure_ascii=False))


def describe(name, files, path):
    write(path, files)
    t = AutoTokenizer.from_pretrained(path)
    lines = []
    for text in LINES:
        ids = t(text)["input_ids"]
        lines.append([text, ids, t.decode(ids, clean_up_tokenization_spaces=False),
                      t.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)])
    special = {k: getattr(t, k + "_token_id") for k in KINDS}
    template = {k: str(v) for k, v in t.special_tokens_map.items() if isinstance(v, str)}
    out = {"name": name, "class": type(t).__name__, "files": {
        k: v if isinstance(v, str) or set(v) <= {"shared", "golden"} and v else json.dumps(v, ensure_ascii=False)
        for k, v in files.items()}}
    return {**out, "special": special, "template": template, "size": len(t), "lines": lines}


def main():
    shared()
    out = []
    with tempfile.TemporaryDirectory() as tmp:
        for name, files in directories():
            if sys.argv[1:] and name not in sys.argv[1:]:
                continue
            out.append(describe(name, files, os.path.join(tmp, name)))
            print(name, out[-1]["class"], out[-1]["special"], file=sys.stderr)
    versions = {"transformers": transformers.__version__, "tokenizers": tokenizers.__version__}
    with open(os.path.join(HERE, "token_files.json"), "w", encoding="utf-8") as f:
        f.write('{"versions":' + dump(versions) + ',\n"shared":' + dump(SHARED) + ',\n"directories":[\n')
        f.write(",\n".join(dump(d) for d in out) + "\n]}\n")


if __name__ == "__main__":
    main()
