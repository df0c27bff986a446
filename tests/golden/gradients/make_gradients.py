"""Gradients by PyTorch's autograd of tiny checkpoints of tests/golden/families: what
tests/unit/test_back.c compares with.

  python tests/golden/gradients/make_gradients.py        (rewrites the files beside this one)

The loss is the mean cross-entropy of the next tokens of one text; it is computed in f64 on the
values that the checkpoint stores, and gradients are rounded to f32.
"""

import pathlib

import numpy
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

HERE = pathlib.Path(__file__).resolve().parent
FAMILIES = ("llama", "qwen3-tied", "gpt2", "opt-350m", "opt")
LENGTH = 11


def names_of(folder):
    """Tensor names as the file spells them; some checkpoints leave a prefix out."""
    return set().union(*(load_file(p) for p in folder.glob("model*.safetensors")))


def main():
    rng = numpy.random.default_rng(5)
    for family in FAMILIES:
        folder = HERE.parent / "families" / family
        model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float64,
                                                     attn_implementation="eager").eval()
        ids = torch.tensor([[int(i) for i in rng.integers(0, model.config.vocab_size, LENGTH)]])
        loss = model(input_ids=ids, labels=ids).loss
        loss.backward()
        stored = names_of(folder)
        out = {"ids": ids[0].float(), "loss": loss.detach().float().reshape(1)}
        for name, p in model.named_parameters():
            bare = next(n for n in stored if n == name or name.endswith("." + n))
            out[bare] = p.grad.float().contiguous()
        save_file(out, HERE / f"{family}.safetensors")
        print(family, float(loss))


if __name__ == "__main__":
    main()
