"""Compares libzoft's tokenizer of a GGUF file with llama.cpp's, for development.

    python tests/golden/compare_gguf.py --lib build/libzoft.so --texts DIR [--lines 100000]

Trains a SentencePiece BPE and a byte-level one on the files under --texts, writes both as GGUF vocabularies,
the latter once for each way of cutting texts, and compares the ids of many odd lines (tok_texts.py) that name no control token: zoft finds those in a text, as
every other tokenizer file has it."""
import argparse
import ctypes as C
import io
import json
import tempfile

import gguf
import llama_cpp
import sentencepiece
import tok_kinds
import tok_texts
from compare_sentencepiece import OursDir
from compare_tokenizers import load, prose

PRES = ["gpt-2", "smollm", "llama-bpe", "dbrx", "deepseek-r1-qwen", "tekken", "gpt-4o"]


def pieces(texts):
    out = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(texts), model_writer=out, vocab_size=3000, model_type="bpe", byte_fallback=True,
        normalization_rule_name="identity", remove_extra_whitespaces=False, split_digits=True,
        allow_whitespace_only_pieces=True, minloglevel=2)
    sp = sentencepiece.SentencePieceProcessor(model_proto=out.getvalue())
    kinds = [2 if sp.is_unknown(i) else 3 if sp.is_control(i) else 6 if sp.is_byte(i) else 1 for i in range(len(sp))]
    return [sp.id_to_piece(i) for i in range(len(sp))], [sp.get_score(i) for i in range(len(sp))], kinds


def byte_level(texts):
    t = json.loads(tok_kinds.llama3(3000, texts).to_str())
    vocab = sorted(t["model"]["vocab"].items(), key=lambda x: x[1])
    special = {x["content"] for x in t["added_tokens"]}
    merges = [m if isinstance(m, str) else " ".join(m) for m in t["model"]["merges"]]
    return [k for k, _ in vocab], merges, [3 if k in special else 1 for k, _ in vocab]


def write(path, kind, pre, tokens, types, scores=None, merges=None):
    g = gguf.GGUFWriter(path, "llama")
    g.add_vocab_size(len(tokens))
    g.add_tokenizer_model(kind)
    g.add_tokenizer_pre(pre)
    g.add_token_list(tokens)
    g.add_token_types(types)
    if scores:
        g.add_token_scores(scores)
        g.add_unk_token_id(0)
    else:
        g.add_token_merges(merges)
    g.add_bos_token_id(1)
    g.add_eos_token_id(2)
    g.write_header_to_file()
    g.write_kv_data_to_file()
    g.write_tensors_to_file()
    g.close()


def compare(lib, name, path, lines):
    ours = OursDir(lib, path)
    p = llama_cpp.llama_model_default_params()
    p.vocab_only = True
    vocab = llama_cpp.llama_model_get_vocab(llama_cpp.llama_model_load_from_file(path.encode(), p))
    wrong, shown = 0, 0
    lines = [x for x in lines if "<s>" not in x and "<|" not in x and "<unk>" not in x and "</s>" not in x]
    for text in lines:
        b = text.encode()
        buf = (C.c_int32 * (len(b) + 16))()
        want = list(buf[:llama_cpp.llama_tokenize(vocab, b, len(b), buf, len(b) + 16, False, False)])
        got, _ = ours.encode(b, 0)
        if got == want:
            continue
        wrong += 1
        if shown < 3:
            shown += 1
            at = next((i for i, (x, y) in enumerate(zip(got, want)) if x != y), min(len(got), len(want)))
            print("  ", repr(text)[:160], "at", at, "\n    ours", got[at:at + 8], "want", want[at:at + 8])
    print(f"{name:20} {len(lines)} lines, differences: {wrong}", flush=True)
    return wrong


@llama_cpp.llama_log_callback
def quiet(level, text, data):
    pass


def main():
    a = argparse.ArgumentParser()
    a.add_argument("--lib", required=True)
    a.add_argument("--texts", required=True)
    a.add_argument("--lines", type=int, default=100000)
    a.add_argument("--seed", type=int, default=1)
    o = a.parse_args()
    print("llama-cpp-python", llama_cpp.__version__)
    llama_cpp.llama_log_set(quiet, C.c_void_p(0))
    llama_cpp.llama_backend_init()
    lib, texts = load(o.lib), prose(o.texts)
    train = texts[:: max(1, len(texts) // 6000)] + tok_texts.PHRASES * 3
    m = tok_texts.Maker(o.seed, texts, [])
    lines = [m.line().decode("utf-8", "replace").replace("\0", "") for _ in range(o.lines)]
    total = 0
    with tempfile.TemporaryDirectory() as d:
        tokens, scores, types = pieces([x for x in train if len(x) < 4000])
        write(f"{d}/spm.gguf", "llama", "default", tokens, types, scores=scores)
        total += compare(lib, "llama", f"{d}/spm.gguf", lines)
        tokens, merges, types = byte_level(train)
        for pre in PRES:
            write(f"{d}/{pre}.gguf", "gpt2", pre, tokens, types, merges=merges)
            total += compare(lib, pre, f"{d}/{pre}.gguf", lines)
    print("differences in all:", total)
    return total != 0


if __name__ == "__main__":
    raise SystemExit(main())
