"""Compares libzoft's tokenizers with the `tokenizers` package, for development.

    python tests/golden/compare_tokenizers.py --lib build/libzoft.so --texts DIR [--models DIR]
                                              [--lines 100000] [--seed 1] [--only NAME]

Encodes many odd lines (tok_texts.py) with every kind of tokenizer (tok_kinds.py, trained
here on the .txt and .jsonl files under --texts; and each tokenizer.json under --models)
and compares ids, places, and the decoded text.  Broken UTF-8 is given to libzoft as it is
and to the package decoded with errors="replace"."""
import argparse
import codecs
import ctypes as C
import glob
import json
import os
import tokenizers
import tok_kinds
import tok_texts


class Ids(C.Structure):
    _fields_ = [("id", C.POINTER(C.c_int32)), ("begin", C.POINTER(C.c_int32)),
                ("end", C.POINTER(C.c_int32)), ("n", C.c_int64), ("cap", C.c_int64)]


class Buf(C.Structure):
    _fields_ = [("data", C.POINTER(C.c_char)), ("len", C.c_size_t), ("cap", C.c_size_t), ("failed", C.c_int)]


def load(path):
    lib = C.CDLL(path)
    p = C.c_void_p
    lib.zf_error_message.restype = C.c_char_p
    lib.zf_tok_parse.argtypes = [C.POINTER(p), C.c_char_p, C.c_size_t, C.c_char_p]
    lib.zf_tok_encode.argtypes = [p, C.POINTER(Ids), C.c_char_p, C.c_size_t, C.c_uint]
    lib.zf_tok_decode.argtypes = [p, C.POINTER(Buf), C.POINTER(C.c_int32), C.c_int64, C.c_int]
    for f in ("zf_ids_free", "zf_buf_free", "zf_tok_free"):
        getattr(lib, f).argtypes = [p]
    return lib


class Ours:
    def __init__(self, lib, text, name):
        self.lib, self.t = lib, C.c_void_p()
        self.check(lib.zf_tok_parse(C.byref(self.t), text, len(text), name.encode()))

    def check(self, rc):
        if rc:
            raise RuntimeError(f"{rc}: {self.lib.zf_error_message().decode(errors='replace')}")

    def encode(self, b, flags):
        ids = Ids()
        self.check(self.lib.zf_tok_encode(self.t, C.byref(ids), b, len(b), flags))
        places = list(zip(ids.begin[:ids.n], ids.end[:ids.n])) if flags & 2 and ids.n else []
        out = ids.id[:ids.n]
        self.lib.zf_ids_free(C.byref(ids))
        return out, places

    def decode(self, ids, skip):
        b = Buf()
        self.check(self.lib.zf_tok_decode(self.t, C.byref(b), (C.c_int32 * len(ids))(*ids), len(ids), skip))
        out = C.string_at(b.data, b.len) if b.len else b""
        self.lib.zf_buf_free(C.byref(b))
        return out


errors = []
codecs.register_error("note", lambda e: (errors.append((e.start, e.end)), ("\ufffd", e.end))[1])


def decode_bytes(b):
    """The text with broken parts replaced, and the byte at which each character begins."""
    errors.clear()
    text = b.decode("utf-8", "note")
    bad, at, begin, k = list(errors), 0, [], 0
    for c in text:
        begin.append(at)
        if k < len(bad) and bad[k][0] == at:
            at = bad[k][1]
            k += 1
        else:
            at += len(c.encode())
    return text, begin + [at]


def expected(e, begin):
    return [(-1, -1) if special else (begin[a], begin[b])
            for (a, b), special in zip(e.offsets, e.special_tokens_mask)]


def compare(lib, name, t, lines):
    ours = Ours(lib, t.to_str().encode(), name)
    wrong = {"ids": 0, "plain": 0, "places": 0, "decode": 0, "skip": 0}
    shown = 0
    for at in range(0, len(lines), 2000):
        part = [decode_bytes(b) for b in lines[at:at + 2000]]
        full = t.encode_batch([x for x, _ in part])
        plain = t.encode_batch_fast([x for x, _ in part], add_special_tokens=False)
        text = t.decode_batch([e.ids for e in full], skip_special_tokens=False)
        skip = t.decode_batch([e.ids for e in full], skip_special_tokens=True)
        for b, (x, begin), e, p, d, s in zip(lines[at:at + 2000], part, full, plain, text, skip):
            ids, places = ours.encode(b, 3)
            bad = []
            if ids != e.ids:
                bad.append("ids")
            elif places != expected(e, begin):
                bad.append("places")
            if ours.encode(b, 0)[0] != p.ids:
                bad.append("plain")
            if ours.decode(e.ids, 0) != d.encode():
                bad.append("decode")
            if ours.decode(e.ids, 1) != s.encode():
                bad.append("skip")
            for k in bad:
                wrong[k] += 1
            if bad and shown < 4:
                shown += 1
                i = next((i for i, (p, q) in enumerate(zip(ids, e.ids)) if p != q), 0)
                print("  ", bad, repr(x)[:300], "\n     ours", ids[i:i + 8], places[:12], "\n     want", e.ids[i:i + 8],
                      expected(e, begin)[:12], e.tokens[:12])
                if "decode" in bad:
                    print("     ours", ours.decode(e.ids, 0), "\n     want", d.encode())
    print(f"{name:32} {len(lines)} lines, differences: {wrong}", flush=True)
    return sum(wrong.values())


def prose(root):
    out = []
    for path in sorted(glob.glob(os.path.join(root, "**", "*.*"), recursive=True)):
        if path.endswith((".txt", ".jsonl")):
            with open(path, encoding="utf-8", errors="replace") as f:
                lines = [x.rstrip("\n") for _, x in zip(range(3000), f) if x.strip()]
            if path.endswith(".jsonl"):
                lines = [" ".join(v for v in json.loads(x).values() if isinstance(v, str)) for x in lines]
            out += [x[:600] for x in lines]
    return out


def main():
    a = argparse.ArgumentParser()
    a.add_argument("--lib", required=True)
    a.add_argument("--texts", required=True)
    a.add_argument("--models")
    a.add_argument("--lines", type=int, default=100000)
    a.add_argument("--seed", type=int, default=1)
    a.add_argument("--only", default="")
    a.add_argument("--size", type=int, default=3000)
    o = a.parse_args()
    print("tokenizers", tokenizers.__version__)
    lib, texts = load(o.lib), prose(o.texts)
    train = texts[:: max(1, len(texts) // 6000)] + tok_texts.PHRASES * 3
    todo = [(f.__name__, lambda f=f: f(o.size, train)) for f in tok_kinds.KINDS]
    for path in sorted(glob.glob(os.path.join(o.models or "/nonexistent", "*", "tokenizer.json"))):
        todo.append((os.path.basename(os.path.dirname(path)), lambda p=path: tokenizers.Tokenizer.from_file(p)))
    total = 0
    for name, make in todo:
        if o.only not in name:
            continue
        t = make()
        special = [x.content for x in t.get_added_tokens_decoder().values()]
        m = tok_texts.Maker(o.seed, texts, special)
        total += compare(lib, name, t, [m.line() for _ in range(o.lines)])
    print("differences in all:", total)
    return total != 0


if __name__ == "__main__":
    raise SystemExit(main())
