"""Gradients by PyTorch's autograd, through PEFT, of the adapters of this folder: what
tests/unit/test_back_adapter.c compares with.

    python3 make_gradients.py DIR [FAMILY ...]

Reads DIR/FAMILY/base and DIR/FAMILY/METHOD as make_adapters.py wrote them, and writes
DIR/FAMILY/METHOD/gradients.safetensors: the gradient of each trained tensor, rounded to f32, under the
name that it has in adapter_model.safetensors.  The loss is the mean cross-entropy of the tokens of IDS
behind the first; of BERT, which is no causal model, of the tokens themselves, shifted by one.  Everything
is computed in f64 on the values that the files hold.  Needs torch, transformers, peft."""
import os
import sys

import peft
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoModelForMaskedLM

from make_adapters import FAMILIES, IDS



def open_adapter(folder, method):
    maker = AutoModelForMaskedLM if folder.endswith("bert") else AutoModelForCausalLM
    base = maker.from_pretrained(f"{folder}/base", dtype=torch.float64, attn_implementation="eager")
    model = peft.PeftModel.from_pretrained(base, f"{folder}/{method}", autocast_adapter_dtype=False)
    for module in model.modules():
        if isinstance(module, torch.nn.Embedding):
            module.padding_idx = None  # a text may hold the token of padding: it is one as any other
    return model.double().eval()


def stored_name(name, stored):
    """A parameter's name in the file, into which PEFT puts the adapter's name and wrappers; None: it is not
    there."""
    if "prompt_encoder" in name and "prompt_embeddings" in stored:
        return "prompt_embeddings"
    if "original_module" in name or (".base_layer.weight" in name and "embed" in name):
        return None
    name = name.replace(".default", "").replace(".modules_to_save", "")
    plain = name.replace(".base_layer", "")
    tries = (name, plain, plain + ".weight", plain.removesuffix(".weight"))
    return next((t for t in tries if t in stored), None)


def gradients(folder, method):
    model = open_adapter(folder, method)
    stored = load_file(f"{folder}/{method}/adapter_model.safetensors")
    keys = {stored_name(name, stored): parameter for name, parameter in model.named_parameters()}
    keys.pop(None, None)
    for parameter in keys.values():
        parameter.requires_grad_(True)
    logits = model(input_ids=torch.tensor([IDS])).logits[0][-len(IDS):]
    loss = torch.nn.functional.cross_entropy(logits[:-1], torch.tensor(IDS[1:]))
    loss.backward()
    out = {"loss": loss.detach().float().reshape(1)}
    for key, parameter in keys.items():
        assert parameter.grad.shape == stored[key].shape, key
        out[key] = parameter.grad.float().contiguous()
    missing = sorted(set(stored) - set(out))
    return out, missing


def main(where, *families):
    for family in families or FAMILIES:
        for method in sorted(os.listdir(f"{where}/{family}")):
            folder = f"{where}/{family}/{method}"
            if method == "base" or not os.path.isdir(folder):
                continue
            out, missing = gradients(f"{where}/{family}", method)
            save_file(out, f"{folder}/gradients.safetensors")
            print(f"{family} {method}: loss {float(out['loss']):.6f}, {len(out) - 1} tensors"
                  + (f", without {missing}" if missing else ""))


if __name__ == "__main__":
    main(*sys.argv[1:])
