"""Compares libzoft's reading of tokenizer.model with the `sentencepiece` package, for development.

    python tests/golden/compare_sentencepiece.py --lib build/libzoft.so --texts DIR [--lines 100000]
                                                 [--golden tests/golden/spm]

Trains small models of each kind on the files under --texts and compares the ids of many odd
lines (tok_texts.py; lines that name a control piece are left out, see lib/text/spm.c) and, where
nothing is unknown, the decoded text.  With --golden writes the models, trained on a few English
lines, and some lines with their ids: what tests/unit/test_spm.c reads."""
import argparse
import ctypes as C
import json
import os
import tempfile

import sentencepiece
import tok_kinds
import tok_texts
from compare_tokenizers import Ours, load, prose

KINDS = {
    "unigram": dict(model_type="unigram"),
    "unigram_bytes": dict(model_type="unigram", byte_fallback=True, normalization_rule_name="identity",
                          remove_extra_whitespaces=False),
    "bpe": dict(model_type="bpe"),
    "bpe_llama": dict(model_type="bpe", byte_fallback=True, normalization_rule_name="identity",
                      remove_extra_whitespaces=False, split_digits=True, allow_whitespace_only_pieces=True),
    "bpe_nodummy": dict(model_type="bpe", byte_fallback=True, add_dummy_prefix=False,
                        user_defined_symbols=["<tool>", "==="]),
    "unigram_cf": dict(model_type="unigram", normalization_rule_name="nmt_nfkc_cf",
                       user_defined_symbols=["<tool>"], eos_id=-1),
}


class OursDir(Ours):
    def __init__(self, lib, path):
        self.lib, self.t = lib, C.c_void_p()
        lib.zf_tok_open.argtypes = [C.POINTER(C.c_void_p), C.c_char_p]
        self.check(lib.zf_tok_open(C.byref(self.t), path.encode()))


def compare(ours, sp, lines):
    wrong = {"ids": 0, "decode": 0}
    shown = 0
    for b in lines:
        text = b.decode("utf-8", "replace")
        want = sp.encode(text)
        got, _ = ours.encode(b, 0)
        if got != want:
            wrong["ids"] += 1
        elif sp.unk_id() not in want and ours.decode(want, 0) != sp.decode(want).encode():
            wrong["decode"] += 1
        else:
            continue
        if shown < 3:
            shown += 1
            print("  ", repr(text)[:200], "\n    ours", got[:16], ours.decode(want, 0)[:80], "\n    want", want[:16],
                  sp.id_to_piece(want)[:16], repr(sp.decode(want))[:80])
    return wrong


def golden(root):
    os.makedirs(root, exist_ok=True)
    for name, options in KINDS.items():
        options = dict(options)
        if "normalization_rule_name" not in options or options["normalization_rule_name"] != "identity":
            options.pop("normalization_rule_name", None)
            options["normalization_rule_tsv"] = rules()
        model = tok_kinds.spm_train(tok_texts.PROSE, vocab_size=120 + 256 * ("byte_fallback" in options), **options)
        sp = sentencepiece.SentencePieceProcessor(model_proto=model)
        m = tok_texts.Maker(len(name), tok_texts.PROSE, ["<tool>", "==="])
        lines = [x.decode() for x in (m.line() for _ in range(400)) if len(x) < 100 and ok(x)][:16]
        lines += ["", " ", "  a  b  ", "\u00bd \u2026 \ufb01 e\u0301 \u00ad\u200bx"]
        with open(os.path.join(root, name + ".model"), "wb") as f:
            f.write(model)
        with open(os.path.join(root, name + ".json"), "w", encoding="utf-8") as f:
            rows = [json.dumps([x, sp.encode(x), sp.decode(sp.encode(x)), sp.unk_id() in sp.encode(x)],
                               ensure_ascii=False) for x in lines]
            f.write("[" + ",\n".join(rows) + "]\n")


def rules():
    with tempfile.NamedTemporaryFile("w", suffix=".tsv", delete=False, encoding="utf-8") as f:
        for a, b in tok_kinds.RULES:
            f.write(" ".join(f"{ord(c):04X}" for c in a) + "\t" + " ".join(f"{ord(c):04X}" for c in b) + "\n")
    return f.name


def ok(b):
    try:
        b.decode()
    except UnicodeDecodeError:
        return False
    return 0 not in b


def main():
    a = argparse.ArgumentParser()
    a.add_argument("--lib")
    a.add_argument("--texts")
    a.add_argument("--lines", type=int, default=100000)
    a.add_argument("--size", type=int, default=3000)
    a.add_argument("--only", default="")
    a.add_argument("--golden")
    o = a.parse_args()
    if o.golden:
        return golden(o.golden)
    print("sentencepiece", sentencepiece.__version__)
    lib, texts = load(o.lib), prose(o.texts)
    train = texts[:: max(1, len(texts) // 6000)] + tok_texts.PHRASES * 3
    for name, options in KINDS.items():
        if o.only not in name:
            continue
        model = tok_kinds.spm_train(train, vocab_size=o.size, character_coverage=0.999, **options)
        with tempfile.TemporaryDirectory() as d:
            with open(os.path.join(d, "tokenizer.model"), "wb") as f:
                f.write(model)
            ours = OursDir(lib, d)
        sp = sentencepiece.SentencePieceProcessor(model_proto=model)
        m = tok_texts.Maker(1, texts, ["<tool>", "==="])
        lines = [x for x in (m.line() for _ in range(o.lines)) if not any(k in x for k in (b"<s>", b"</s>", b"<unk>"))]
        print(f"{name:16} {len(lines)} lines, differences: {compare(ours, sp, lines)}", flush=True)


if __name__ == "__main__":
    main()
