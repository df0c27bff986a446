#!/usr/bin/env python3
"""Greedy texts of Transformers with its key-value cache, of every causal checkpoint beside this file,
to the last position that it has: past windows and original lengths.  Writes greedy.json.

zoft's logits are within 2e-4 of Transformers' (tests/unit/test_golden.c), so that the likeliest token
is the same wherever it leads by more than 4e-4; a penalty of 1.3 makes that 6e-4.  Prompts are drawn
until every step of a text leads by MARGIN."""
import json
import os
import sys

import numpy
import torch
import transformers
from transformers import AutoModelForCausalLM

HERE = os.path.dirname(os.path.abspath(__file__))
MARGIN = 1e-3
PENALTY = 1.3


def lead(scores):
    two = torch.stack(scores)[:, 0].topk(2).values
    return float((two[:, 0] - two[:, 1]).min())


def text(model, prompt, length, **how):
    out = model.generate(torch.tensor([prompt]), do_sample=False, max_new_tokens=length - len(prompt),
                         min_new_tokens=0, eos_token_id=None, pad_token_id=0,
                         attention_mask=torch.ones(1, len(prompt), dtype=torch.long),
                         return_dict_in_generate=True, output_scores=True, **how)
    return [int(i) for i in out.sequences[0]], lead(out.scores)


def load(name):
    return AutoModelForCausalLM.from_pretrained(os.path.join(HERE, name), dtype=torch.float32,
                                                attn_implementation="eager").eval()


def make(name):
    model = load(name)
    config = model.config.get_text_config()
    length = config.max_position_embeddings
    rope = getattr(config, "rope_parameters", None) or {}
    if rope.get("rope_type") == "dynamic":
        length = int(length * rope["factor"])
    rows = []
    for how in ({}, {"repetition_penalty": PENALTY}):
        for n in (2, 6):
            for seed in range(200):
                rng = numpy.random.default_rng(seed)
                prompt = [int(i) for i in rng.integers(3, config.vocab_size, n)]
                if rope.get("rope_type") == "dynamic":  # a model keeps the base of its longest text
                    model = load(name)
                ids, margin = text(model, prompt, length, **how)
                if margin > MARGIN and len(ids) == length:
                    rows.append(dict(how, prompt=n, seed=seed, margin=round(margin, 5), ids=ids))
                    break
            else:
                raise SystemExit(f"{name}: no text leads by {MARGIN} all along")
    return rows


def main():
    out = {}
    if len(sys.argv) > 1:
        with open(os.path.join(HERE, "greedy.json")) as f:
            out = json.load(f)["families"]
    for name in sorted(os.listdir(HERE)):
        path = os.path.join(HERE, name, "config.json")
        if not os.path.exists(path) or len(sys.argv) > 1 and name not in sys.argv[1:]:
            continue
        with open(path) as f:
            kind = json.load(f)["architectures"][0]
        if not kind.endswith(("ForCausalLM", "LMHeadModel", "Gemma3ForConditionalGeneration")):
            continue
        out[name] = make(name)
        print(name, [(r["seed"], r["margin"]) for r in out[name]], flush=True)
    with open(os.path.join(HERE, "greedy.json"), "w") as f:
        json.dump({"transformers": transformers.__version__, "families": out}, f)
        f.write("\n")


if __name__ == "__main__":
    main()
