"""Makes what tests/unit/test_gguf.c and tests/cli/gguf.sh read: blocks and their values by the
`gguf` package, and two small random models with logits and token ids by llama.cpp.

    python tests/golden/gguf/make_gguf.py        (rewrites the files beside this script)

Needs gguf, llama-cpp-python, numpy and safetensors.
  blocks.safetensors   TYPE.raw U8, TYPE.f32
  llama-f16.gguf       SentencePiece tokenizer with scores; F16, tied
  llama-q8_0.gguf      byte-level tokenizer (smollm); Q8_0, its own head, rows of k shared
  golden.json          of each model: ids, logits of their last token (the Q8_0 one: of its
                       dequantised values in F32, for llama.cpp rounds activations beside Q8_0),
                       `own`: its logits on the file itself, texts and their ids
"""
import ctypes
import json
import pathlib
import tempfile

import gguf
import llama_cpp
import numpy as np
from safetensors.numpy import save_file

HERE = pathlib.Path(__file__).parent
KIND = gguf.GGMLQuantizationType
SIZES = dict(hidden=32, heads=4, kv=2, ffn=32, layers=2, context=64)
TEXTS = ["the cat sat on the mat", " two  spaces", "caf\u00e9 \u2603 123456", "", "a\nb\tthe  the",
         "on the on the catcat"]
rng = np.random.default_rng(7)


def blocks():
    out = {}
    for kind, scales in ((KIND.Q8_0, [0]), (KIND.Q4_0, [0]), (KIND.Q4_K, [0, 2]), (KIND.Q6_K, [208])):
        block, size = gguf.GGML_QUANT_SIZES[kind]
        n = 2 * 256 // block
        raw = rng.integers(0, 256, (n, size), dtype=np.uint8)
        for at in scales:
            d = (rng.standard_normal(n) * 0.05).astype(np.float16)
            d[0] = np.float16(3e-7)  # subnormal
            raw[:, at:at + 2] = d.view(np.uint8).reshape(n, 2)
        out[f"{kind.name}.raw"] = raw.reshape(-1)
        out[f"{kind.name}.f32"] = gguf.quants.dequantize(raw, kind).reshape(-1).astype(np.float32)
    save_file(out, HERE / "blocks.safetensors")


def pieces():
    """SentencePiece: unk, bos, eos, bytes, then pieces; single characters score lowest."""
    words = ["\u2581t", "he", "\u2581the", "at", "\u2581c", "\u2581cat", "\u2581s", "\u2581sat", "on", "\u2581on",
             "\u2581m", "\u2581mat", "th", "the", "cat", "\u2581\u2581"]
    chars = list("\u2581ethaosncmb")
    tokens = ["<unk>", "<s>", "</s>"] + [f"<0x{i:02X}>" for i in range(256)] + words + chars
    scores = [0.0] * 259 + [-float(i) for i in range(len(words))] + [-1000.0 - i for i in range(len(chars))]
    types = [2, 3, 3] + [6] * 256 + [1] * (len(words) + len(chars))
    return tokens, scores, types


def byte_pieces():
    """Byte-level: the 256 bytes as GPT-2 spells them, merges, two control tokens."""
    kept = list(range(33, 127)) + list(range(161, 173)) + list(range(174, 256))
    other = [b for b in range(256) if b not in kept]
    spell = {b: chr(b) for b in kept} | {b: chr(256 + i) for i, b in enumerate(other)}
    merges = ["t h", "th e", "\u0120 the", "a t", "\u0120 c", "\u0120c at", "o n", "\u0120 on", "c at", "1 2"]
    tokens = ["<|endoftext|>", "<|im_start|>"] + [spell[b] for b in range(256)] + [m.replace(" ", "") for m in merges]
    return tokens, merges, [3, 3] + [1] * (len(tokens) - 2)


def weights(vocab, tied):
    s = SIZES
    hd = s["hidden"] // s["heads"]

    def m(*shape):
        return (rng.standard_normal(shape) * 0.5 * shape[-1] ** -0.5).astype(np.float32)

    def n():
        return (1 + 0.2 * rng.standard_normal(s["hidden"])).astype(np.float32)

    w = {"token_embd": m(vocab, s["hidden"])}
    for i in range(s["layers"]):
        w |= {f"blk.{i}.attn_norm": n(), f"blk.{i}.attn_q": m(s["hidden"], s["hidden"]),
              f"blk.{i}.attn_k": m(hd * s["kv"], s["hidden"]), f"blk.{i}.attn_v": m(hd * s["kv"], s["hidden"]),
              f"blk.{i}.attn_output": m(s["hidden"], s["hidden"]), f"blk.{i}.ffn_norm": n(),
              f"blk.{i}.ffn_gate": m(s["ffn"], s["hidden"]), f"blk.{i}.ffn_up": m(s["ffn"], s["hidden"]),
              f"blk.{i}.ffn_down": m(s["hidden"], s["ffn"])}
    w["output_norm"] = n()
    if not tied:
        w["output"] = m(vocab, s["hidden"])
    return w


def write(path, w, kind, tokenizer, expanded=False):
    s = SIZES
    out = gguf.GGUFWriter(path, "llama")
    out.add_context_length(s["context"])
    out.add_embedding_length(s["hidden"])
    out.add_block_count(s["layers"])
    out.add_feed_forward_length(s["ffn"])
    out.add_head_count(s["heads"])
    out.add_head_count_kv(s["kv"])
    out.add_layer_norm_rms_eps(1e-5)
    out.add_rope_dimension_count(s["hidden"] // s["heads"])
    out.add_vocab_size(len(w["token_embd"]))
    tokenizer(out)
    for name, x in w.items():
        name += ".weight"
        if x.ndim == 1:
            out.add_tensor(name, x)
            continue
        raw = gguf.quants.quantize(x, kind)
        if expanded:
            out.add_tensor(name, gguf.quants.dequantize(raw, kind).astype(np.float32))
        else:
            out.add_tensor(name, raw, raw_dtype=kind)
    out.write_header_to_file()
    out.write_kv_data_to_file()
    out.write_tensors_to_file()
    out.close()


def sentencepiece(out):
    tokens, scores, types = pieces()
    out.add_tokenizer_model("llama")
    out.add_tokenizer_pre("default")
    out.add_token_list(tokens)
    out.add_token_scores(scores)
    out.add_token_types(types)
    out.add_bos_token_id(1)
    out.add_eos_token_id(2)
    out.add_unk_token_id(0)


def byte_level(out):
    tokens, merges, types = byte_pieces()
    out.add_tokenizer_model("gpt2")
    out.add_tokenizer_pre("smollm")
    out.add_token_list(tokens)
    out.add_token_types(types)
    out.add_token_merges(merges)
    out.add_bos_token_id(1)
    out.add_eos_token_id(0)


def run(path, ids):
    """Logits of the last token, and the ids of each text, by llama.cpp."""
    model = llama_cpp.llama_model_load_from_file(str(path).encode(), llama_cpp.llama_model_default_params())
    assert model
    p = llama_cpp.llama_context_default_params()
    p.n_ctx = p.n_batch = p.n_ubatch = SIZES["context"]
    p.n_threads = p.n_threads_batch = 1
    p.flash_attn_type = 0
    p.type_k = p.type_v = 0  # a cache of F32: F16 would round keys and values
    ctx = llama_cpp.llama_init_from_model(model, p)
    vocab = llama_cpp.llama_model_get_vocab(model)
    n = llama_cpp.llama_vocab_n_tokens(vocab)
    arr = (ctypes.c_int32 * len(ids))(*ids)
    assert llama_cpp.llama_decode(ctx, llama_cpp.llama_batch_get_one(arr, len(ids))) == 0
    logits = np.ctypeslib.as_array(llama_cpp.llama_get_logits_ith(ctx, -1), (n,)).copy()
    lines = []
    for text in TEXTS:
        b = text.encode()
        buf = (ctypes.c_int32 * 200)()
        k = llama_cpp.llama_tokenize(vocab, b, len(b), buf, 200, True, False)
        lines.append([text, list(buf[:k])])
    return logits, lines


def main():
    llama_cpp.llama_backend_init()
    blocks()
    golden = {"versions": {"llama-cpp-python": llama_cpp.__version__}}
    ids = [int(i) for i in rng.integers(3, 250, 12)]
    for name, kind, tokenizer, tied, vocab in (
            ("llama-f16", KIND.F16, sentencepiece, True, len(pieces()[0])),
            ("llama-q8_0", KIND.Q8_0, byte_level, False, len(byte_pieces()[0]))):
        SIZES["layers"] = 1 if tied else 2  # the files stay small
        w = weights(vocab, tied)
        path = HERE / f"{name}.gguf"
        write(path, w, kind, tokenizer)
        own, lines = run(path, ids)
        with tempfile.TemporaryDirectory() as d:
            wide = pathlib.Path(d) / "wide.gguf"
            write(wide, w, kind, tokenizer, expanded=True)
            logits, _ = run(wide, ids)
        print(f"{name}: {path.stat().st_size} bytes, logits {np.abs(logits).max():.2f} at most, "
              f"llama.cpp's own on the file differ from those on f32 by {np.abs(own - logits).max():.2g}")
        golden[name] = {"ids": ids, "logits": [round(float(x), 6) for x in logits],
                        "own": [round(float(x), 6) for x in own], "lines": lines}
    for f in HERE.glob("*.*"):
        f.chmod(0o644)
    (HERE / "golden.json").write_text(json.dumps(golden, ensure_ascii=False, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
