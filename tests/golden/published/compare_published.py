"""Compares libzoft with AutoTokenizer on many odd lines for each directory of checkpoints/, for
development: the goldens hold a few of them.

    python tests/golden/published/compare_published.py --lib build/libzoft.so [--lines 300] [ORG/NAME...]"""
import argparse
import ctypes as C
import os
import sys

from transformers import AutoTokenizer

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, ".."))
import tok_texts  # noqa: E402
from compare_tokenizers import Ours, load  # noqa: E402
from make_published import CHECKPOINTS  # noqa: E402


class Directory(Ours):
    def __init__(self, lib, path):
        self.lib, self.t = lib, C.c_void_p()
        lib.zf_tok_open.argtypes = [C.POINTER(C.c_void_p), C.c_char_p]
        self.check(lib.zf_tok_open(C.byref(self.t), path.encode()))


def differences(ours, theirs, maker, lines):
    """(lines whose ids differ, lines whose text differs, the first of them)."""
    wrong, unlike, first = 0, 0, None
    for _ in range(lines):
        text = maker.text().encode("utf-8", "replace").decode()
        want = theirs(text)["input_ids"]
        got, _ = ours.encode(text.encode(), 1)
        if got != want:
            wrong += 1
            first = first or (text, want, got)
            continue
        back = theirs.decode(want, clean_up_tokenization_spaces=False)
        if ours.decode(want, 0) != back.encode():
            unlike += 1
            first = first or (want, back, ours.decode(want, 0))
    return wrong, unlike, first


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--lib", required=True)
    p.add_argument("--lines", type=int, default=300)
    p.add_argument("names", nargs="*")
    a = p.parse_args()
    lib, bad = load(a.lib), 0
    for name, row in CHECKPOINTS.items():
        if (a.names and name not in a.names) or "no_tokenizer" in row:
            continue
        path = os.path.join(HERE, "checkpoints", name)
        theirs = AutoTokenizer.from_pretrained(path)
        special = [t.content for t in theirs.added_tokens_decoder.values() if t.content != "<FILL_ME>"]
        maker = tok_texts.Maker(len(name), tok_texts.PROSE, special)
        wrong, unlike, first = differences(Directory(lib, path), theirs, maker, a.lines)
        bad += wrong + unlike
        print(f"{name:60} ids {wrong:4} text {unlike:4} of {a.lines}  {first if first else ''}", flush=True)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
