"""Makes keys.json: logits by llama.cpp of the models beside this file, with other keys of attention
and rotary embeddings put in front of their own.  tests/unit/test_gguf_keys.c puts the same keys in.

    python tests/golden/gguf/make_keys.py

Needs gguf, llama-cpp-python, numpy.  Matrices are expanded to F32, for llama.cpp rounds activations
beside other types.  A case that llama.cpp refuses to load has no logits.
"""
import ctypes
import importlib.metadata
import json
import pathlib
import struct
import tempfile

import gguf
import llama_cpp
import numpy as np

HERE = pathlib.Path(__file__).parent
TYPES = {"u32": (4, "<I"), "i32": (5, "<i"), "f32": (6, "<f"), "bool": (7, "<?")}
IDS = [7, 40, 101, 9, 55, 200, 13, 77, 150, 31, 8, 222, 90, 4, 61, 119, 33, 180, 47, 99]
YARN = [("rope.scaling.type", "str", "yarn"), ("rope.scaling.factor", "f32", 4.0),
        ("rope.scaling.original_context_length", "u32", 8)]

# name: model, keys behind its architecture
CASES = {
    "scale_linear": ("llama-f16", [("rope.scale_linear", "f32", 4.0)]),
    "factor": ("qwen2", [("rope.scaling.factor", "f32", 4.0)]),
    "both": ("llama-f16", [("rope.scale_linear", "f32", 4.0), ("rope.scaling.factor", "f32", 2.0)]),
    "factor_zero": ("llama-f16", [("rope.scale_linear", "f32", 4.0), ("rope.scaling.factor", "f32", 0.0)]),
    "none": ("llama-f16", [("rope.scaling.type", "str", "none"), ("rope.scaling.factor", "f32", 4.0)]),
    "type_alone": ("llama-f16", [("rope.scaling.type", "str", "linear")]),
    "attn_factor": ("llama-f16", [("rope.scaling.attn_factor", "f32", 1.5)]),
    "attn_linear": ("qwen3", [("rope.scaling.attn_factor", "f32", 0.75), ("rope.scaling.factor", "f32", 3.0)]),
    "yarn": ("llama-f16", YARN),
    "yarn_qwen3": ("qwen3", YARN),
    "yarn_attn": ("llama-f16", YARN + [("rope.scaling.attn_factor", "f32", 1.25)]),
    "yarn_alone": ("llama-f16", [("rope.scaling.type", "str", "yarn")]),
    "yarn_shrinks": ("llama-f16", [("rope.scaling.type", "str", "yarn"), ("rope.scaling.factor", "f32", 0.5)]),
    "yarn_log": ("llama-f16", YARN + [("rope.scaling.yarn_log_multiplier", "f32", 0.1)]),
    "yarn_beta": ("llama-f16", YARN + [("rope.scaling.yarn_beta_fast", "f32", 8.0)]),
    "freqs_linear": ("llama3", [("rope.scaling.factor", "f32", 2.0)]),
    "freqs_attn": ("llama3", [("rope.scaling.attn_factor", "f32", 1.5)]),
    "freqs_yarn": ("llama3", YARN),
    "freqs_longrope": ("llama3", [("rope.scaling.type", "str", "longrope")]),
    "tables_linear": ("phi3", [("rope.scaling.factor", "f32", 2.0)]),
    "partial": ("llama-f16", [("rope.dimension_count", "u32", 4)]),
    "gemma_factor": ("gemma", [("rope.scaling.factor", "f32", 2.0)]),
    "gemma2_factor": ("gemma2", [("rope.scaling.factor", "f32", 2.0)]),
    "gemma2_base": ("gemma2", [("rope.freq_base", "f32", 500.0)]),
    "gemma2_local": ("gemma2", [("rope.freq_base_swa", "f32", 500.0)]),
    "gemma3_factor": ("gemma3", [("rope.scaling.factor", "f32", 8.0)]),
    "gemma3_yarn": ("gemma3", YARN),
    "gemma3_local": ("gemma3", [("rope.freq_base_swa", "f32", 500.0)]),
    "gemma3_pattern": ("gemma3", [("attention.sliding_window_pattern", "u32", 2)]),
    "gemma3_all": ("gemma3", [("attention.sliding_window_pattern", "u32", 0)]),
    "gemma3_cap": ("gemma3", [("final_logit_softcapping", "f32", 2.0)]),
    "phi3_window": ("phi3", [("attention.sliding_window", "u32", 6)]),
    "llama_window": ("llama-f16", [("attention.sliding_window", "u32", 6)]),
    "clamp": ("llama-f16", [("attention.clamp_kqv", "f32", 1.0)]),
    "alibi": ("llama-f16", [("attention.max_alibi_bias", "f32", 8.0)]),
    "scale": ("llama-f16", [("attention.scale", "f32", 0.1)]),
    "causal": ("llama-f16", [("attention.causal", "bool", False)]),
    "cap": ("llama-f16", [("attn_logit_softcapping", "f32", 2.0)]),
}


def text(s):
    b = s.encode()
    return struct.pack("<Q", len(b)) + b


def key(name, kind, value):
    if kind == "str":
        return text(name) + struct.pack("<I", 8) + text(value)
    number, form = TYPES[kind]
    return text(name) + struct.pack("<I", number) + struct.pack(form, value)


def expanded(path, out, keys):
    """The file with `keys` in front of its own but for those they replace, and every matrix in F32."""
    r = gguf.GGUFReader(path)
    arch = bytes(r.fields["general.architecture"].parts[-1]).decode()
    data, own, n = path.read_bytes(), b"", 0
    new = {f"{arch}.{k}": key(f"{arch}.{k}", kind, v) for k, kind, v in keys}
    for name, f in r.fields.items():
        if name.startswith("GGUF.") or name in new:
            continue
        own += data[f.offset:f.offset + sum(p.nbytes for p in f.parts)]
        n += 1
    infos, body = b"", b""
    for t in r.tensors:
        x = gguf.quants.dequantize(t.data, t.tensor_type).astype("<f4").reshape([int(d) for d in reversed(t.shape)])
        infos += text(t.name) + struct.pack("<I", len(t.shape)) + b"".join(struct.pack("<Q", int(d)) for d in t.shape)
        infos += struct.pack("<IQ", 0, len(body))
        body += x.tobytes()
        body += b"\0" * (-len(body) % 32)
    head = b"GGUF" + struct.pack("<IQQ", 3, len(r.tensors), n + len(new)) + b"".join(new.values()) + own + infos
    out.write_bytes(head + b"\0" * (-len(head) % 32) + body)


def run(path, ids):
    model = llama_cpp.llama_model_load_from_file(str(path).encode(), llama_cpp.llama_model_default_params())
    if not model:
        return None
    p = llama_cpp.llama_context_default_params()
    p.n_ctx = p.n_batch = p.n_ubatch = 256
    p.n_threads = p.n_threads_batch = 1
    p.flash_attn_type = 0
    p.swa_full = True
    p.type_k = p.type_v = 0
    ctx = llama_cpp.llama_init_from_model(model, p)
    n = llama_cpp.llama_vocab_n_tokens(llama_cpp.llama_model_get_vocab(model))
    arr = (ctypes.c_int32 * len(ids))(*ids)
    assert llama_cpp.llama_decode(ctx, llama_cpp.llama_batch_get_one(arr, len(ids))) == 0
    return np.ctypeslib.as_array(llama_cpp.llama_get_logits_ith(ctx, -1), (n,)).copy()


@llama_cpp.llama_log_callback
def quiet(level, message, data):
    pass


def main():
    llama_cpp.llama_log_set(quiet, ctypes.c_void_p(0))
    llama_cpp.llama_backend_init()
    golden = {"versions": {x: importlib.metadata.version(x) for x in ("llama-cpp-python", "gguf")}, "ids": IDS,
              "cases": {}}
    plain = {}
    for name, (model, keys) in CASES.items():
        with tempfile.TemporaryDirectory() as d:
            path = pathlib.Path(d) / "m.gguf"
            if model not in plain:
                expanded(HERE / f"{model}.gguf", path, [])
                plain[model] = run(path, IDS)
            expanded(HERE / f"{model}.gguf", path, keys)
            logits = run(path, IDS)
        moved = "refused" if logits is None else f"moved by {np.abs(logits - plain[model]).max():.3g}"
        print(f"{name:16} {model:10} {moved}", flush=True)
        golden["cases"][name] = {"model": model, "keys": keys, "logits":
                                 None if logits is None else [round(float(x), 6) for x in logits]}
    with open(HERE / "keys.json", "w") as f:
        json.dump(golden, f)
        f.write("\n")


if __name__ == "__main__":
    main()
