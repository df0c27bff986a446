"""Makes tokenizers/*.json: a small tokenizer of each kind with what the `tokenizers`
package gives for some odd lines.

    python tests/golden/make_tokenizers.py [NAME...]

Each file: "versions"; "tokenizer", the tokenizer.json; "lines", each [text, or {"hex": bytes
that are not UTF-8}; ids with special tokens; begins; ends (bytes of the text, -1 for added
special tokens); decoded; decoded without special tokens]."""
import json
import os
import sys
import unicodedata

import tokenizers
import tok_kinds
import tok_texts
from compare_tokenizers import decode_bytes, expected

SIZES = {"gpt2": 420, "llama2": 440, "metaspace": 440, "words": 200, "metaspace_first": 260,
         "t5": 300, "unigram_bytes": 200, "wordlevel": 120, "scripts": 120, "ctc": 60, "bert_cased": 260}
LINES = 10


def line(t, b):
    text, begin = decode_bytes(b)
    e = t.encode(text)
    places = expected(e, begin)
    key = text if text.encode() == b else {"hex": b.hex()}
    return [key, e.ids, [p[0] for p in places], [p[1] for p in places],
            t.decode(e.ids, skip_special_tokens=False), t.decode(e.ids, skip_special_tokens=True)]


def main():
    here = os.path.join(os.path.dirname(os.path.abspath(__file__)), "tokenizers")
    os.makedirs(here, exist_ok=True)
    total = 0
    for make in tok_kinds.KINDS:
        name = make.__name__
        if sys.argv[1:] and name not in sys.argv[1:]:
            continue
        t = make(SIZES.get(name, 400), tok_texts.PROSE + tok_texts.PHRASES)
        special = [x.content for x in t.get_added_tokens_decoder().values()]
        m = tok_texts.Maker(len(name), tok_texts.PROSE, special)
        made = [b for b in (m.line() for _ in range(LINES * 9)) if len(b) < 110 and 0 not in b][:LINES]
        made += [b"", b" ", b"a" * 60, b"\xf0\x9f\x98 \xed\xa0\x80x\xff", "e\u0301 \ufb01 \uac00\u11a8".encode()]
        made += [p.encode() for p in tok_texts.PHRASES[len(name) % 5::5]]
        out = {"versions": {"tokenizers": tokenizers.__version__, "unicode": unicodedata.unidata_version},
               "tokenizer": json.loads(t.to_str()), "lines": [line(t, b) for b in made]}
        path = os.path.join(here, name + ".json")
        with open(path, "w", encoding="utf-8") as f:
            head = json.dumps({k: out[k] for k in ("versions", "tokenizer")}, ensure_ascii=False, separators=(",", ":"))
            rows = ",\n".join(json.dumps(x, ensure_ascii=False, separators=(",", ":")) for x in out["lines"])
            f.write(head[:-1] + ',"lines":[\n' + rows + "\n]}\n")
        total += os.path.getsize(path)
        print(f"{name:20} {os.path.getsize(path):8}")
    print("total", total)


if __name__ == "__main__":
    main()
