"""Adapters that zoft wrote, loaded by PEFT: the logits are those of the adapter that PEFT wrote, to the bit, and not
those of the base.  Run by hand:

    make build/libzoft.so && python3 tests/golden/peft/check_written.py build/libzoft.so

Every golden is read and written by the library.  LoRA goldens of Llama also go through the other formats: PEFT's
adapter -> zoft -> GGUF or MLX -> values compared with a conversion in numpy."""
import ctypes
import json
import os
import re
import sys
import tempfile
import warnings

import gguf
import numpy
import torch
from safetensors.numpy import load_file
from peft import PeftModel

import make_adapters as made

ZOFT = ctypes.CDLL(os.path.abspath(sys.argv[1]))
ZOFT.zf_error_message.restype = ctypes.c_char_p


def call(name, *args):
    args = [arg.encode() if isinstance(arg, str) else arg for arg in args]
    if getattr(ZOFT, name)(*args):
        sys.exit(f"{name}: {ZOFT.zf_error_message().decode()}")


def read(path, base=None):
    out = ctypes.c_void_p()
    call("zf_adapter_file_read", ctypes.byref(out), path, base)
    return out


def logits(name, path):
    base = made.make_base(made.ADAPTERS[name][0]).eval()
    ids = torch.tensor([[3, 7, 11, 2, 9, 5]])
    with torch.no_grad():
        plain = base(input_ids=ids).logits
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            model = PeftModel.from_pretrained(base, path).eval()
        for warning in caught:
            if "missing" in str(warning.message) or "unexpected" in str(warning.message).lower():
                sys.exit(f"{path}: {warning.message}")
        return plain, model(input_ids=ids).logits


def check_peft(name, tmp):
    path = os.path.join(made.HERE, name)
    out = os.path.join(tmp, name)
    call("zf_adapter_file_write_peft", read(path), out, None, ctypes.c_int64(0))
    plain, theirs = logits(name, path)
    _, ours = logits(name, out)
    assert torch.equal(theirs, ours), name
    assert plain.shape != ours.shape or not torch.equal(plain, ours), f"{name} changes nothing"
    shift = (ours[:, -plain.shape[1]:] - plain).abs().max() # virtual tokens stand before the others
    print(f"{name}: PEFT's logits are equal, {shift.item():.3g} from the base")


def open_base(tmp):
    """A zf_model of random weights for the config of the Llama base."""
    path = os.path.join(tmp, "base")
    call("zf_model_init", os.path.join(made.HERE, "models/llama/config.json"), path, ctypes.c_uint64(1), 0)
    opts = ctypes.create_string_buffer(256)
    ctypes.memmove(opts, ctypes.byref(ctypes.c_int(-1)), 4)
    model = ctypes.c_void_p()
    call("zf_model_open", ctypes.byref(model), path, opts)
    return model


def deltas(name):
    """s B A of every module of a golden, in double."""
    tensors = load_file(os.path.join(made.HERE, name, "adapter_model.safetensors"))
    with open(os.path.join(made.HERE, name, "adapter_config.json")) as file:
        config = json.load(file)
    for key, value in tensors.items():
        if not key.endswith("lora_A.weight"):
            continue
        module = key.removeprefix("base_model.model.").removesuffix(".lora_A.weight")
        alpha = next((v for k, v in config["alpha_pattern"].items() if re.fullmatch(rf"(.*\.)?({k})", module)),
                     config["lora_alpha"])
        rank = len(value)
        scale = alpha / (rank ** 0.5 if config["use_rslora"] else rank)
        yield module, scale * tensors[key.replace("lora_A", "lora_B")].astype(float) @ value.astype(float)


def check_close(name, module, expected, found):
    worst = numpy.abs(expected - found).max()
    assert worst <= 2.0 ** -22 * numpy.abs(expected).max(), (name, module, worst)


GGUF_NAMES = made.GGUF_NAMES | {"self_attn.o_proj": "attn_output", "mlp.up_proj": "ffn_up", "mlp.gate_proj": "ffn_gate"}


def check_gguf(name, tmp, base):
    path = os.path.join(tmp, name + ".gguf")
    call("zf_adapter_file_write_gguf", read(os.path.join(made.HERE, name)), path, base)
    reader = gguf.GGUFReader(path)
    alpha = reader.fields["adapter.lora.alpha"].contents()
    tensors = {tensor.name: tensor.data.astype(float) for tensor in reader.tensors}
    for module, delta in deltas(name):
        layer, rest = re.fullmatch(r"model\.layers\.(\d+)\.(.*)", module).groups()
        stem = f"blk.{layer}.{GGUF_NAMES[rest]}.weight"
        a, b = tensors.pop(stem + ".lora_a"), tensors.pop(stem + ".lora_b")
        heads = {"self_attn.q_proj": 4, "self_attn.k_proj": 2}.get(rest)
        check_close(name, module, made.permute_heads(delta, heads) if heads else delta, alpha / b.shape[1] * b @ a)
    assert not tensors
    print(f"{name}: the GGUF adapter has the same products")


def check_mlx(name, tmp):
    path = os.path.join(tmp, name + "-mlx")
    call("zf_adapter_file_write_mlx", read(os.path.join(made.HERE, name)), path)
    tensors = load_file(os.path.join(path, "adapters.safetensors"))
    with open(os.path.join(path, "adapter_config.json")) as file:
        config = json.load(file)
    for module, delta in deltas(name):
        a, b = (tensors.pop(f"{module}.lora_{part}").astype(float) for part in "ab")
        assert a.shape[1] == b.shape[0] == config["lora_parameters"]["rank"]
        assert module.split(".", 3)[3] in config["lora_parameters"]["keys"]
        check_close(name, module, delta.T, config["lora_parameters"]["scale"] * a @ b)
    assert not tensors
    print(f"{name}: the MLX adapter has the same products")


def main():
    with tempfile.TemporaryDirectory() as tmp:
        for name in made.ADAPTERS:
            check_peft(name, tmp)
        base = open_base(tmp)
        for name in ("lora", "lora_layers", "lora_patterns", "lora_rslora"):
            check_gguf(name, tmp, base)
            check_mlx(name, tmp)


if __name__ == "__main__":
    main()
