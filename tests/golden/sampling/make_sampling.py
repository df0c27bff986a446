#!/usr/bin/env python3
"""Shares of tokens after the logits processors of Transformers, in its order, on random logits with
ties.  Writes golden.json beside itself.  No cumulative share lies within 1e-5 of a top-p bound, nor a
share of a min-p bound, but in the cases of equal logits, where all sums are exact."""
import json
import os

import numpy
import torch
import transformers
from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM

HERE = os.path.dirname(os.path.abspath(__file__))
V = 40
MODEL = LlamaForCausalLM(LlamaConfig(vocab_size=V, hidden_size=8, intermediate_size=8,
                                     num_hidden_layers=1, num_attention_heads=1))


def shares(logits, past, how):
    config = GenerationConfig(do_sample=True, **{"top_k": 0, **how})
    config.eos_token_id = None
    ids = torch.tensor([past])
    chain = MODEL._get_logits_processor(generation_config=config, input_ids_seq_length=len(past))
    out = chain(ids, torch.tensor([logits], dtype=torch.float32))
    return torch.softmax(out, -1)[0].double(), [type(c).__name__ for c in chain]


def near(logits, past, how):
    """Does rounding decide what is kept?"""
    p = shares(logits, past, {k: v for k, v in how.items() if k not in ("top_p", "min_p")})[0]
    up = torch.sort(p).values.cumsum(0)
    bad = "top_p" in how and bool(((up - (1 - how["top_p"])).abs() < 1e-5).any())
    return bad or "min_p" in how and bool(((p[p < p.max()] / p.max() - how["min_p"]).abs() < 1e-5).any())


def main():
    rng = numpy.random.default_rng(7)
    ways = [dict(), dict(temperature=0.7), dict(top_k=5), dict(top_k=39), dict(top_k=1),
            dict(top_p=0.9), dict(top_p=0.3), dict(min_p=0.1), dict(min_p=1.0),
            dict(temperature=1.7, top_k=12, top_p=0.8), dict(temperature=0.5, top_p=0.95, min_p=0.05),
            dict(repetition_penalty=1.3), dict(repetition_penalty=0.8, temperature=0.9),
            dict(temperature=1.3, top_k=20, top_p=0.9, min_p=0.02, repetition_penalty=1.2)]
    cases, order = [], []
    for how in ways:
        for ties in range(3):
            while True:
                x = rng.normal(0, 3, V).astype(numpy.float32)
                if ties == 1:
                    x = numpy.round(x)
                if ties == 2:
                    x[rng.integers(0, V, 12)] = x.max()
                past = [int(i) for i in rng.integers(0, V, 6)]
                if not near(x, past, how):
                    break
            cases.append((x, past, how))
    flat = numpy.zeros(V, dtype=numpy.float32)
    flat[8:] = -200
    for how in (dict(top_p=0.5), dict(top_p=0.25), dict(top_k=3), dict(min_p=1.0), dict(top_p=1.0)):
        cases.append((flat, [1], how))
    rows = []
    for x, past, how in cases:
        p, names = shares(x, past, how)
        order = max(order, names, key=len)
        rows.append(dict(how, logits=[float(v) for v in x], past=past,
                         shares=[float(v) for v in p]))
    with open(os.path.join(HERE, "golden.json"), "w") as f:
        json.dump({"transformers": transformers.__version__, "order": order, "cases": rows}, f)
        f.write("\n")
    print(len(rows), "cases;", order)


if __name__ == "__main__":
    main()
