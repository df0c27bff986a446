"""Prompt processing of llama.cpp on the random llama checkpoint, beside zoft's plain forward.

    python tests/bench/llama_prompt.py DIR [--tokens 512] [--threads 2] [--repeat 5]
        [--type bf16|f32] [--zoft build/zoft]

Needs llama-cpp-python and gguf.  Writes DIR/TYPE.gguf once (llama architecture; the rows of q and
k in llama.cpp's order of rotary pairs), then times llama_decode of one batch of random tokens
with logits of the last alone.  zoft runs `bench step` with one sequence of as many tokens: the
line "without the head".
"""
import argparse
import ctypes
import json
import pathlib
import random
import statistics
import subprocess
import time

import gguf
import llama_cpp
import numpy as np

ap = argparse.ArgumentParser()
ap.add_argument("model", type=pathlib.Path)
ap.add_argument("--tokens", type=int, default=512)
ap.add_argument("--threads", type=int, default=2)
ap.add_argument("--repeat", type=int, default=5)
ap.add_argument("--type", default="bf16", choices=["bf16", "f32"])
ap.add_argument("--zoft")
ap.add_argument("--compute", default="bf16", help="arithmetic of zoft")
a = ap.parse_args()

NAMES = {"self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
         "self_attn.o_proj": "attn_output", "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up",
         "mlp.down_proj": "ffn_down", "input_layernorm": "attn_norm",
         "post_attention_layernorm": "ffn_norm"}


def tensors(path):
    """Name and f32 array of every tensor of a safetensors file that holds f32."""
    raw = path.read_bytes()
    n = int.from_bytes(raw[:8], "little")
    for name, t in json.loads(raw[8:8 + n]).items():
        if name == "__metadata__":
            continue
        assert t["dtype"] == "F32", "make the checkpoint with f32"
        begin, end = t["data_offsets"]
        yield name, np.frombuffer(raw, np.float32, (end - begin) // 4, 8 + n + begin).reshape(t["shape"])


def pairs(w, heads):
    """Rows of a rotated projection: halves of a head become neighbours."""
    return w.reshape(heads, 2, -1, w.shape[1]).swapaxes(1, 2).reshape(w.shape)


def convert(path):
    c = json.loads((a.model / "config.json").read_text())
    out = gguf.GGUFWriter(path, "llama")
    out.add_context_length(c["max_position_embeddings"])
    out.add_embedding_length(c["hidden_size"])
    out.add_block_count(c["num_hidden_layers"])
    out.add_feed_forward_length(c["intermediate_size"])
    out.add_head_count(c["num_attention_heads"])
    out.add_head_count_kv(c["num_key_value_heads"])
    out.add_layer_norm_rms_eps(c["rms_norm_eps"])
    out.add_rope_dimension_count(c["hidden_size"] // c["num_attention_heads"])
    out.add_vocab_size(c["vocab_size"])
    out.add_tokenizer_model("no_vocab")
    for name, w in tensors(a.model / "model.safetensors"):
        if name == "model.embed_tokens.weight":
            name = "token_embd.weight"
        elif name == "model.norm.weight":
            name = "output_norm.weight"
        else:
            _, _, layer, rest = name.split(".", 3)
            rest = rest.removesuffix(".weight")
            if rest == "self_attn.q_proj":
                w = pairs(w, c["num_attention_heads"])
            if rest == "self_attn.k_proj":
                w = pairs(w, c["num_key_value_heads"])
            name = f"blk.{layer}.{NAMES[rest]}.weight"
        if a.type == "bf16" and w.ndim == 2:
            kind = gguf.GGMLQuantizationType.BF16
            out.add_tensor(name, gguf.quants.quantize(np.ascontiguousarray(w), kind), raw_dtype=kind)
        else:
            out.add_tensor(name, np.ascontiguousarray(w))
    out.write_header_to_file()
    out.write_kv_data_to_file()
    out.write_tensors_to_file()
    out.close()
    return c


def zoft():
    out = subprocess.run([a.zoft, "bench", "step", f"base_model={a.model}", "micro_batch_size=1",
                          f"sequence_len={a.tokens}", "objective=lm", f"threads={a.threads}", f"compute={a.compute}",
                          "--repeat", "3", "--json", "-q"],
                         check=True, capture_output=True, text=True)
    return a.tokens / json.loads(out.stdout)["forward_body_ms"] * 1e3


path = a.model / f"{a.type}.gguf"
if not path.exists():
    convert(path)
vocab = json.loads((a.model / "config.json").read_text())["vocab_size"]
llama_cpp.llama_backend_init()
model = llama_cpp.llama_model_load_from_file(str(path).encode(), llama_cpp.llama_model_default_params())
assert model, "llama.cpp cannot load the file"
params = llama_cpp.llama_context_default_params()
params.n_ctx = params.n_batch = params.n_ubatch = a.tokens
params.n_threads = params.n_threads_batch = a.threads
ctx = llama_cpp.llama_init_from_model(model, params)
random.seed(1)
ids = (ctypes.c_int32 * a.tokens)(*(random.randrange(vocab) for _ in range(a.tokens)))
memory = llama_cpp.llama_get_memory(ctx)


def decode():
    llama_cpp.llama_memory_clear(memory, True)
    start = time.perf_counter()
    assert llama_cpp.llama_decode(ctx, llama_cpp.llama_batch_get_one(ids, a.tokens)) == 0
    llama_cpp.llama_synchronize(ctx)
    return a.tokens / (time.perf_counter() - start)


decode()
ours, theirs = [], []
for _ in range(a.repeat):
    theirs.append(decode())
    if a.zoft:
        ours.append(zoft())
print(f"llama-cpp-python {llama_cpp.__version__}, {a.type}, {a.tokens} tokens, {a.threads} threads: "
      f"{statistics.median(theirs):.0f} tokens/s")
if ours:
    ratio = statistics.median(o / t for t, o in zip(theirs, ours))
    print(f"zoft: {statistics.median(ours):.0f} tokens/s; zoft / llama.cpp {ratio:.2f}")
