"""Makes what tests/unit/test_gguf.c and tests/cli/gguf.sh read: blocks and their values by the
`gguf` package, and small random models of every architecture with logits and token ids by llama.cpp.

    python tests/golden/gguf/make_gguf.py        (rewrites the files beside this script)

Needs gguf, llama-cpp-python, numpy, safetensors; torch and transformers.
  blocks.safetensors   TYPE.raw U8, TYPE.f32
  llama-f16.gguf       SentencePiece tokenizer with scores; F16, tied
  llama-q8_0.gguf      byte-level tokenizer (smollm); Q8_0, its own head, rows of k shared
  llama-q4_k_m.gguf    Q4_K, Q6_K and Q5_0 as llama.cpp's own quantiser mixes them
  others               the table OTHERS
  golden.json          of each model: ids, logits of their last token (of the dequantised values in
                       F32, for llama.cpp rounds activations beside other types), `own`: its logits
                       on the file itself, texts and their ids; `pres`: texts as each
                       tokenizer.ggml.pre cuts them.  Gemma's are Transformers' on the
                       same values, for llama.cpp takes its GELU from a table of F16.
"""
import ctypes
import importlib.metadata
import json
import pathlib
import tempfile
import zlib

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


def some_blocks(out, kinds, rng):
    for kind, scales in kinds:
        block, size = gguf.GGML_QUANT_SIZES[kind]
        n = 2 * 256 // block
        raw = rng.integers(0, 256, (n, size), dtype=np.uint8)
        for at in scales:
            d = (rng.standard_normal(n) * 0.05).astype(np.float16)
            d[0] = np.float16(3e-7)  # subnormal
            raw[:, at:at + 2] = d.view(np.uint8).reshape(n, 2)
        out[f"{kind.name}.raw"] = raw.reshape(-1)
        out[f"{kind.name}.f32"] = gguf.quants.dequantize(raw, kind).reshape(-1).astype(np.float32)


def blocks():
    out = {}
    some_blocks(out, [(KIND.Q8_0, [0]), (KIND.Q4_0, [0]), (KIND.Q4_K, [0, 2]), (KIND.Q6_K, [208])], rng)
    some_blocks(out, [(KIND.Q4_1, [0, 2]), (KIND.Q5_0, [0]), (KIND.Q5_1, [0, 2]), (KIND.Q2_K, [80, 82]),
                      (KIND.Q3_K, [108]), (KIND.Q5_K, [0, 2])], np.random.default_rng(8))
    some_blocks(out, [(KIND.IQ4_NL, [0]), (KIND.IQ4_XS, [0])], np.random.default_rng(9))
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


def weights(vocab, tied, arch="llama"):
    s = SIZES
    hd = s.get("head", s["hidden"] // s["heads"])
    gemma = arch.startswith("gemma")

    def m(*shape):
        return (rng.standard_normal(shape) * 0.5 * shape[-1] ** -0.5).astype(np.float32)

    def n(size=None):
        return (1 + 0.2 * rng.standard_normal(size or s["hidden"])).astype(np.float32)

    w = {"token_embd.weight": m(vocab, s["hidden"])}
    for i in range(s["layers"]):
        b = {"attn_norm": n()}
        if arch == "phi3":
            b["attn_qkv"] = m(hd * (s["heads"] + 2 * s["kv"]), s["hidden"])
        else:
            b |= {"attn_q": m(hd * s["heads"], s["hidden"]), "attn_k": m(hd * s["kv"], s["hidden"]),
                  "attn_v": m(hd * s["kv"], s["hidden"])}
        b["attn_output"] = m(s["hidden"], hd * s["heads"])
        b["ffn_norm"] = n()
        if arch == "phi3":
            b["ffn_up"] = m(2 * s["ffn"], s["hidden"])
        else:
            b |= {"ffn_gate": m(s["ffn"], s["hidden"]), "ffn_up": m(s["ffn"], s["hidden"])}
        b["ffn_down"] = m(s["hidden"], s["ffn"])
        if arch in ("qwen3", "gemma3"):
            b |= {"attn_q_norm": n(hd), "attn_k_norm": n(hd)}
        if arch in ("gemma2", "gemma3"):
            b |= {"post_attention_norm": n(), "post_ffw_norm": n()}
        w |= {f"blk.{i}.{k}.weight": x for k, x in b.items()}
        if arch == "qwen2":
            w |= {f"blk.{i}.attn_{k}.bias": 0.3 * m(len(b[f"attn_{k}"]), 1)[:, 0] for k in "qkv"}
    w["output_norm.weight"] = n()
    if not (tied or gemma):
        w["output.weight"] = m(vocab, s["hidden"])
    return w


def write(path, w, kind, tokenizer, expanded=False, arch="llama", keys=()):
    s = SIZES
    out = gguf.GGUFWriter(path, arch)
    out.add_context_length(s["context"])
    out.add_embedding_length(s["hidden"])
    out.add_block_count(s["layers"])
    out.add_feed_forward_length(s["ffn"])
    out.add_head_count(s["heads"])
    out.add_head_count_kv(s["kv"])
    out.add_layer_norm_rms_eps(1e-5)
    out.add_rope_dimension_count(s.get("head", s["hidden"] // s["heads"]))
    if "head" in s:
        out.add_key_length(s["head"])
        out.add_value_length(s["head"])
    out.add_vocab_size(len(w["token_embd.weight"]))
    for add, value in keys:
        getattr(out, add)(value)
    tokenizer(out)
    for name, x in w.items():
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


def sentencepiece(out, space=True):
    tokens, scores, types = pieces()
    out.add_tokenizer_model("llama")
    out.add_tokenizer_pre("default")
    out.add_token_list(tokens)
    out.add_token_scores(scores)
    out.add_token_types(types)
    out.add_bos_token_id(1)
    out.add_eos_token_id(2)
    out.add_unk_token_id(0)
    if not space:
        out.add_add_space_prefix(False)


def gemma_pieces(out):
    sentencepiece(out, space=False)


def byte_level(out, pre="smollm"):
    tokens, merges, types = byte_pieces()
    out.add_tokenizer_model("gpt2")
    out.add_tokenizer_pre(pre)
    out.add_token_list(tokens)
    out.add_token_types(types)
    out.add_token_merges(merges)
    out.add_bos_token_id(1)
    out.add_eos_token_id(0)


def qwen_bytes(out):
    byte_level(out, "qwen2")
    out.add_add_bos_token(False)


def llama_bytes(out):
    byte_level(out, "llama-bpe")


def run(path, ids, context=None):
    """Logits of the last token, and the ids of each text, by llama.cpp."""
    model = llama_cpp.llama_model_load_from_file(str(path).encode(), llama_cpp.llama_model_default_params())
    assert model
    p = llama_cpp.llama_context_default_params()
    p.n_ctx = p.n_batch = p.n_ubatch = context or SIZES["context"]
    p.n_threads = p.n_threads_batch = 1
    p.flash_attn_type = 0
    p.swa_full = True
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


def gemma_logits(name, w, kind, keys, ids):
    """By Transformers, whose norms are stored without the 1 that a GGUF file has added."""
    import torch
    import transformers
    s, k = SIZES, dict(keys)
    head = s.get("head", s["hidden"] // s["heads"])
    common = dict(vocab_size=len(w["token_embd.weight"]), hidden_size=s["hidden"], num_hidden_layers=s["layers"],
                  num_attention_heads=s["heads"], num_key_value_heads=s["kv"], head_dim=head,
                  intermediate_size=s["ffn"], max_position_embeddings=s["context"], rms_norm_eps=1e-5)
    if name != "gemma":
        common |= dict(sliding_window=k["add_sliding_window"], query_pre_attn_scalar=head,
                       attn_logit_softcapping=k.get("add_attn_logit_softcapping"),
                       final_logit_softcapping=k.get("add_final_logit_softcapping"))
    if "add_sliding_window_pattern" in k:
        common |= dict(layer_types=["sliding_attention" if x else "full_attention"
                                    for x in k["add_sliding_window_pattern"]])
    if name == "gemma3":
        theta = {"full_attention": k["add_rope_freq_base"], "sliding_attention": 1e4}
        common |= dict(rope_parameters={t: {"rope_type": "default", "rope_theta": x} for t, x in theta.items()})
    kinds = {"gemma": ("GemmaConfig", "GemmaForCausalLM"), "gemma2": ("Gemma2Config", "Gemma2ForCausalLM"),
             "gemma3": ("Gemma3TextConfig", "Gemma3ForCausalLM")}
    config, model = (getattr(transformers, x) for x in kinds[name])
    m = model._from_config(config(**common), attn_implementation="eager").eval()
    old = {"attn_norm": "input_layernorm", "ffn_norm": "pre_feedforward_layernorm" if name != "gemma" else
           "post_attention_layernorm", "post_attention_norm": "post_attention_layernorm",
           "post_ffw_norm": "post_feedforward_layernorm", "attn_output": "self_attn.o_proj",
           **{f"attn_{x}": f"self_attn.{x}_proj" for x in "qkv"}, **{f"attn_{x}_norm": f"self_attn.{x}_norm" for x in "qk"},
           **{f"ffn_{x}": f"mlp.{x}_proj" for x in ("gate", "up", "down")},
           "token_embd": "model.embed_tokens", "output_norm": "model.norm"}
    state = {}
    for key, x in w.items():
        parts = key.split(".")
        to = f"model.layers.{parts[1]}.{old[parts[2]]}" if parts[0] == "blk" else old[parts[0]]
        x = x - 1 if x.ndim == 1 else gguf.quants.dequantize(gguf.quants.quantize(x, kind), kind).astype(np.float32)
        state[f"{to}.weight"] = torch.tensor(np.ascontiguousarray(x))
    left = m.load_state_dict(state, strict=False)
    assert not left.unexpected_keys and set(left.missing_keys) <= {"lm_head.weight"}, left
    m.tie_weights()
    with torch.no_grad():
        return m(torch.tensor([ids])).logits[0, -1].numpy()


def entry(golden, name, ids, logits, own, lines):
    print(f"{name}: {(HERE / name).with_suffix('.gguf').stat().st_size} bytes, logits {np.abs(logits).max():.2f} "
          f"at most, llama.cpp's own on the file differ from those on f32 by {np.abs(own - logits).max():.2g}")
    golden[name] = {"ids": ids, "logits": [round(float(x), 6) for x in logits],
                    "own": [round(float(x), 6) for x in own], "lines": lines}


# One small model each: file, architecture, type, tokenizer, sizes, keys, vectors that are no weights.
def vector(*x):
    return np.array(x, np.float32)


WINDOW = [("add_sliding_window", 8)]
CAPS = [("add_attn_logit_softcapping", 5.0), ("add_final_logit_softcapping", 3.0)]
CHAT = ("{% for m in messages %}<|im_start|>{{ m.role }}: {{ m.content }}\n{% endfor %}"
        "{% if add_generation_prompt %}<|im_start|>assistant: {% endif %}")
LONG = {"rope_factors_short.weight": vector(1, 1.1, 1.3, 2), "rope_factors_long.weight": vector(1.5, 2, 4, 9)}
OTHERS = [
    ("llama3", "llama", KIND.F16, llama_bytes, {}, [("add_rope_freq_base", 5e5)],
     {"rope_freqs.weight": vector(1, 1, 3, 8)}),
    ("qwen2", "qwen2", KIND.Q4_0, qwen_bytes, {}, [("add_rope_freq_base", 1e6)], {}),
    ("qwen3", "qwen3", KIND.Q8_0, qwen_bytes, {"head": 16}, [("add_chat_template", CHAT), ("add_eot_token_id", 7)], {}),
    ("phi3", "phi3", KIND.F16, sentencepiece, {"context": 512}, [("add_rope_scaling_orig_ctx_len", 256)], LONG),
    ("phi3-factor", "phi3", KIND.Q8_0, sentencepiece, {"context": 512},
     [("add_rope_scaling_orig_ctx_len", 256), ("add_rope_scaling_attn_factors", 1.25)], LONG),
    ("gemma", "gemma", KIND.F16, gemma_pieces, {"head": 16}, [], {}),
    ("gemma2", "gemma2", KIND.BF16, gemma_pieces, {"layers": 2}, WINDOW + CAPS + [("add_sliding_window_pattern", [False, True])], {}),
    ("gemma3", "gemma3", KIND.F32, gemma_pieces, {"layers": 6, "hidden": 16, "ffn": 16, "heads": 2, "kv": 1},
     WINDOW + [("add_rope_freq_base", 1e6)], {}),
]


def others(golden):
    global rng
    for name, arch, kind, tokenizer, sizes, keys, vectors in OTHERS:
        SIZES.update(dict(hidden=32, heads=4, kv=2, ffn=32, layers=1, context=64))
        SIZES.pop("head", None)
        SIZES.update(sizes)
        rng = np.random.default_rng(zlib.crc32(name.encode()))
        spm = tokenizer in (sentencepiece, gemma_pieces)
        w = weights(len(pieces()[0] if spm else byte_pieces()[0]), False, arch) | vectors
        path = HERE / f"{name}.gguf"
        write(path, w, kind, tokenizer, arch=arch, keys=keys)
        # Beyond a window of 8, and (phi3) beyond the original context of 256: llama.cpp takes the long
        # factors by the size of its context, a multiple of 256, so it is given one of that side.
        runs = [("", 280, 512), ("short", 20, 256)] if arch == "phi3" else [("", 24, 64)]
        for tag, n, context in runs:
            ids = [int(i) for i in rng.integers(3, 250, n)]
            own, lines = run(path, ids, context)
            with tempfile.TemporaryDirectory() as d:
                wide = pathlib.Path(d) / "wide.gguf"
                write(wide, w, kind, tokenizer, expanded=True, arch=arch, keys=keys)
                logits, _ = run(wide, ids, context)
            if arch.startswith("gemma"):
                wanted = gemma_logits(name, w, kind, keys, ids)
                print(f"{name}: Transformers and llama.cpp on f32 differ by {np.abs(wanted - logits).max():.2g}")
                logits = wanted
            if tag:
                golden[name]["short"] = {"ids": ids, "logits": [round(float(x), 6) for x in logits]}
            else:
                entry(golden, name, ids, logits, own, lines)


PRES = ["gpt-2", "phi-2", "smollm", "llama-bpe", "llama3", "llama-v3", "falcon3", "pixtral", "dbrx", "smaug-bpe",
        "qwen2", "deepseek-r1-qwen", "tekken", "gpt-4o"]
PRE_TEXTS = TEXTS + ["HELLO Hello hELLo HeLLo it's IT'S we'll WE'LL", "12345 1 22 333 \u00b2\u0663", "a/b//c.h!\n/x ?!\r\n\n",
                     "  \n  x\t\ty   ", "don't'test 'tis", "\u00c9cole \u00e9t\u00e9 \u4e2d\u6587 12\u4e2d", "x=1;y+=2//\n\n\tz", "A1b2 AbC dEf"]


def pres(golden):
    """Where texts are cut, by llama.cpp: a vocabulary of bytes and of many pairs of them."""
    tokens, _, types = byte_pieces()
    tokens, types = tokens[:258], types[:258]
    letters = list("ehlotsHEL123'./!\u0120\u010a\u0109") + ["\u00c3", "\u00a9"]
    merges = [f"{a} {b}" for a in letters for b in letters]
    tokens += [m.replace(" ", "") for m in merges]
    types += [1] * len(merges)
    out = {"tokens": tokens, "types": types, "merges": merges, "texts": PRE_TEXTS, "ids": {}}
    for pre in PRES:
        with tempfile.TemporaryDirectory() as d:
            path = pathlib.Path(d) / "vocab.gguf"
            g = gguf.GGUFWriter(path, "llama")
            g.add_vocab_size(len(tokens))
            g.add_tokenizer_model("gpt2")
            g.add_tokenizer_pre(pre)
            g.add_token_list(tokens)
            g.add_token_types(types)
            g.add_token_merges(merges)
            g.add_bos_token_id(1)
            g.add_eos_token_id(0)
            g.write_header_to_file()
            g.write_kv_data_to_file()
            g.write_tensors_to_file()
            g.close()
            p = llama_cpp.llama_model_default_params()
            p.vocab_only = True
            vocab = llama_cpp.llama_model_get_vocab(llama_cpp.llama_model_load_from_file(str(path).encode(), p))
            rows = []
            for text in PRE_TEXTS:
                buf, b = (ctypes.c_int32 * 200)(), text.encode()
                rows.append(list(buf[:llama_cpp.llama_tokenize(vocab, b, len(b), buf, 200, True, False)]))
            out["ids"][pre] = rows
    golden["pres"] = out


def mixed(golden):
    """Q4_K_M, as llama.cpp quantises; its values again in F32."""
    global rng
    rng = np.random.default_rng(100)
    SIZES.update(dict(hidden=256, heads=2, kv=1, ffn=256, layers=1, context=64, head=128))
    w = weights(len(pieces()[0]), True)
    name, ids = "llama-q4_k_m", [int(i) for i in rng.integers(3, 250, 24)]
    path = HERE / f"{name}.gguf"
    with tempfile.TemporaryDirectory() as d:
        whole, wide = pathlib.Path(d) / "whole.gguf", pathlib.Path(d) / "wide.gguf"
        write(whole, w, KIND.F32, sentencepiece)
        p = llama_cpp.llama_model_quantize_default_params()
        p.ftype = llama_cpp.LLAMA_FTYPE_MOSTLY_Q4_K_M
        p.nthread = 1
        assert llama_cpp.llama_model_quantize(str(whole).encode(), str(path).encode(), p) == 0
        read = gguf.GGUFReader(path)
        kinds = {t.name: t.tensor_type for t in read.tensors}
        print({k: v.name for k, v in kinds.items()})
        values = {t.name: gguf.quants.dequantize(t.data, t.tensor_type).reshape(w[t.name].shape) for t in read.tensors}
        write(wide, values, KIND.F32, sentencepiece)
        own, lines = run(path, ids)
        logits, _ = run(wide, ids)
    entry(golden, name, ids, logits, own, lines)


def main():
    llama_cpp.llama_backend_init()
    blocks()
    golden = {"versions": {x: importlib.metadata.version(x) for x in ("llama-cpp-python", "gguf", "transformers")}}
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
        entry(golden, name, ids, logits, own, lines)
    others(golden)
    pres(golden)
    mixed(golden)
    for f in HERE.glob("*.*"):
        f.chmod(0o644)
    (HERE / "golden.json").write_text(json.dumps(golden, ensure_ascii=False, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
