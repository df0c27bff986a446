"""LoRA adapters that zoft wrote as GGUF, loaded by llama.cpp: the logits are those of a base with B A added to its
weights, which this script makes without zoft.  Run by hand; needs gguf, llama-cpp-python, numpy, safetensors:

    make build/libzoft.so && python3 tests/golden/peft/check_llamacpp.py build/libzoft.so

Rows of q and k are permuted for llama and not for qwen3; rank and alpha differ between modules; the embedding of llama
has an adapter, too."""
import ctypes
import json
import os
import pathlib
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent / "gguf"))
import llama_cpp
import make_gguf as models
import numpy as np
from safetensors.numpy import save_file

ZOFT = ctypes.CDLL(os.path.abspath(sys.argv[1]))
ZOFT.zf_error_message.restype = ctypes.c_char_p
KEYS = {"attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj", "attn_v": "self_attn.v_proj",
        "attn_output": "self_attn.o_proj", "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj", "ffn_down": "mlp.down_proj"}
IDS = [1, 9, 4, 17, 3, 8]
rng = np.random.default_rng(3)


def call(name, *args):
    args = [arg.encode() if isinstance(arg, str) else arg for arg in args]
    if getattr(ZOFT, name)(*args):
        sys.exit(f"{name}: {ZOFT.zf_error_message().decode()}")


def logits(path, adapter=None):
    model = llama_cpp.llama_model_load_from_file(str(path).encode(), llama_cpp.llama_model_default_params())
    params = llama_cpp.llama_context_default_params()
    params.n_ctx = params.n_batch = params.n_ubatch = 64
    params.n_threads = params.n_threads_batch = 1
    params.flash_attn_type = 0
    params.type_k = params.type_v = 0
    context = llama_cpp.llama_init_from_model(model, params)
    if adapter:
        lora = llama_cpp.llama_adapter_lora_init(model, str(adapter).encode())
        assert lora, "llama.cpp refuses the adapter"
        if hasattr(llama_cpp, "llama_set_adapter_lora"):
            assert llama_cpp.llama_set_adapter_lora(context, lora, 1.0) == 0
        else:
            loras, scales = (ctypes.c_void_p * 1)(lora), (ctypes.c_float * 1)(1.0)
            assert llama_cpp.llama_set_adapters_lora(context, ctypes.cast(loras, ctypes.POINTER(
                llama_cpp.llama_adapter_lora_p_ctypes)), 1, scales) == 0
    batch = llama_cpp.llama_batch_get_one((ctypes.c_int32 * len(IDS))(*IDS), len(IDS))
    assert llama_cpp.llama_decode(context, batch) == 0
    count = llama_cpp.llama_vocab_n_tokens(llama_cpp.llama_model_get_vocab(model))
    return np.ctypeslib.as_array(llama_cpp.llama_get_logits_ith(context, -1), (count,)).copy()


def permute_heads(rows, heads):
    return rows.reshape(heads, 2, rows.shape[0] // heads // 2, -1).swapaxes(1, 2).reshape(rows.shape)


def make_adapter(arch, weights):
    """Tensors and config of a PEFT adapter, and the weights with it added."""
    tensors, merged = {}, dict(weights)
    config = {"peft_type": "LORA", "r": 3, "lora_alpha": 4, "target_modules": list(KEYS.values()),
              "rank_pattern": {"mlp.up_proj": 5}, "alpha_pattern": {"self_attn.k_proj": 7}}
    for name, weight in weights.items():
        words = name.split(".")
        if words[0] == "token_embd" and arch == "llama":
            a, b = (rng.standard_normal(shape).astype(np.float32) * 0.3 for shape in ((3, len(weight)), (len(weight[0]), 3)))
            tensors |= {"base_model.model.model.embed_tokens.lora_embedding_A": a,
                        "base_model.model.model.embed_tokens.lora_embedding_B": b}
            merged[name] = weight + (4 / 3 * (b @ a).T).astype(np.float32)
        if words[0] != "blk" or words[2] not in KEYS or words[3] != "weight":
            continue
        rank = 5 if words[2] == "ffn_up" else 3
        scale = (7 if words[2] == "attn_k" else 4) / rank
        a = rng.standard_normal((rank, weight.shape[1])).astype(np.float32) * 0.3
        b = rng.standard_normal((weight.shape[0], rank)).astype(np.float32) * 0.3
        key = f"base_model.model.model.layers.{words[1]}.{KEYS[words[2]]}.lora_"
        tensors |= {key + "A.weight": a, key + "B.weight": b}
        heads = {"attn_q": models.SIZES["heads"], "attn_k": models.SIZES["kv"]}.get(words[2])
        delta = scale * b.astype(float) @ a
        merged[name] = weight + (permute_heads(delta, heads) if heads and arch == "llama" else delta).astype(np.float32)
    return tensors, config, merged


def check(arch, tmp):
    tokenizer = models.byte_level if arch == "llama" else models.qwen_bytes
    weights = models.weights(len(models.byte_pieces()[0]), False, arch)
    tensors, config, merged = make_adapter(arch, weights)
    paths = [os.path.join(tmp, f"{arch}-{name}.gguf") for name in ("base", "merged", "adapter")]
    for path, values in zip(paths, (weights, merged)):
        models.write(path, values, models.KIND.F32, tokenizer, arch=arch)
    adapter = os.path.join(tmp, arch)
    os.makedirs(adapter)
    save_file(tensors, os.path.join(adapter, "adapter_model.safetensors"))
    with open(os.path.join(adapter, "adapter_config.json"), "w") as file:
        json.dump(config, file)
    opts = ctypes.create_string_buffer(256)
    ctypes.memmove(opts, ctypes.byref(ctypes.c_int(-1)), 4)
    base, read = ctypes.c_void_p(), ctypes.c_void_p()
    call("zf_model_open", ctypes.byref(base), paths[0], opts)
    call("zf_adapter_file_read", ctypes.byref(read), adapter, base)
    call("zf_adapter_file_write_gguf", read, paths[2], base)
    plain, expected, found = logits(paths[0]), logits(paths[1]), logits(paths[0], paths[2])
    print(f"{arch}: {abs(found - expected).max():.2g} from the merged weights, {abs(plain - expected).max():.2g} without")
    assert abs(found - expected).max() < 1e-4 * abs(plain - expected).max()


def main():
    llama_cpp.llama_backend_init()
    models.SIZES["head"] = 8
    with tempfile.TemporaryDirectory() as tmp:
        for arch in ("llama", "qwen3"):
            check(arch, tmp)


if __name__ == "__main__":
    main()
