"""Tiny random checkpoints of every family, saved by Transformers, with the logits of its own
forward pass: what tests/unit/test_golden.c compares with.

  python tests/golden/families/make_families.py        (rewrites the folders beside this file)

Weights are wide (so that logits are of the order of ten and every term matters), norm weights
vary round 1 and biases are not zero.  A checkpoint stored in F16 or BF16 is loaded back and run
in f32 on the values that were stored.  Each folder holds config.json, the weights, and
golden.safetensors: ids.N [T] as F32 and logits.N [T, vocab] of three prompts.
"""

import json
import math
import os
import shutil

import numpy
import torch
import transformers
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM
from transformers import (GPT2Config, LlamaConfig, MistralConfig, OPTConfig, Qwen2Config,
                          Qwen3Config)

HERE = os.path.dirname(os.path.abspath(__file__))
LENGTHS = (1, 5, 10)

LLAMA = dict(vocab_size=97, hidden_size=24, intermediate_size=29, num_hidden_layers=2,
             num_attention_heads=6, num_key_value_heads=2, head_dim=10, max_position_embeddings=32,
             rms_norm_eps=1e-5, bos_token_id=1, eos_token_id=2, tie_word_embeddings=False)
LLAMA3 = dict(rope_type="llama3", rope_theta=500000.0, factor=8.0, low_freq_factor=1.0,
              high_freq_factor=4.0, original_max_position_embeddings=16)
OPT = dict(vocab_size=97, hidden_size=24, ffn_dim=33, num_hidden_layers=2, num_attention_heads=3,
           max_position_embeddings=20, word_embed_proj_dim=24, dropout=0.0, bos_token_id=2,
           eos_token_id=2, pad_token_id=1)
GPT2 = dict(vocab_size=101, n_embd=24, n_layer=2, n_head=3, n_positions=20, bos_token_id=0,
            eos_token_id=[5, 6])

# name: (config, stored dtype, save_pretrained options)
FAMILIES = {
    "llama": (LlamaConfig(**LLAMA, rope_parameters=dict(
        rope_type="linear", factor=2.5, rope_theta=10000.0)), "float32", {}),
    "llama3-bias": (LlamaConfig(**{**LLAMA, "tie_word_embeddings": True, "vocab_size": 101},
                                attention_bias=True, mlp_bias=True, rope_parameters=LLAMA3),
                    "bfloat16", {}),
    "llama-gelu": (LlamaConfig(**{**LLAMA, "head_dim": None, "num_key_value_heads": None,
                                  "num_hidden_layers": 1, "tie_word_embeddings": True},
                               hidden_act="gelu_pytorch_tanh"), "float16", {}),
    "mistral": (MistralConfig(**LLAMA, sliding_window=10), "float16", dict(max_shard_size="8KB")),
    "qwen2": (Qwen2Config(**{k: v for k, v in LLAMA.items() if k != "head_dim"}
                          | {"tie_word_embeddings": True, "num_key_value_heads": 3},
                          rope_parameters=dict(rope_type="default", rope_theta=1e6)),
              "bfloat16", dict(max_shard_size="8KB")),
    "qwen3": (Qwen3Config(**LLAMA, attention_bias=True), "bfloat16", {}),
    "qwen3-tied": (Qwen3Config(**{**LLAMA, "tie_word_embeddings": True, "num_key_value_heads": 6,
                                  "head_dim": 6}, hidden_act="gelu"), "float16", {}),
    "gpt2": (GPT2Config(**GPT2, scale_attn_by_inverse_layer_idx=True), "bfloat16", {}),
    "gpt2-untied": (GPT2Config(**GPT2, n_inner=41, activation_function="gelu",
                               scale_attn_weights=False, tie_word_embeddings=False), "float16",
                    dict(max_shard_size="10KB")),
    "opt": (OPTConfig(**OPT), "float16", {}),
    "opt-350m": (OPTConfig(**{**OPT, "word_embed_proj_dim": 18}, do_layer_norm_before=False),
                 "float16", {}),
    "opt-project": (OPTConfig(**{**OPT, "word_embed_proj_dim": 40, "tie_word_embeddings": False},
                              activation_function="gelu_new"), "bfloat16", {}),
    "opt-bare": (OPTConfig(**OPT, _remove_final_layer_norm=True, enable_bias=False,
                           layer_norm_elementwise_affine=False), "bfloat16", {}),
}


def scatter(model, rng):
    """Random weights of a size that keeps activations near 1 and logits near 10."""
    for name, p in model.named_parameters():
        norm = "norm" in name or ".ln_" in name
        wide = 0.9 if "embed" in name or "wte" in name or "wpe" in name or "lm_head" in name else 0
        if p.dim() == 1:
            values = (1.0 if norm and name.endswith("weight") else 0.0) + rng.normal(0, 0.3, p.shape)
        else:
            values = rng.normal(0, wide or 1.4 / math.sqrt(max(p.shape)), p.shape)
        with torch.no_grad():
            p.copy_(torch.tensor(values, dtype=torch.float32))


def logits_of(model, ids):
    with torch.no_grad():
        return model(torch.tensor([ids])).logits[0].float().contiguous()


def make(name, config, dtype, options):
    folder = os.path.join(HERE, name)
    shutil.rmtree(folder, ignore_errors=True)
    rng = numpy.random.default_rng(sorted(FAMILIES).index(name) + 1)
    model = AutoModelForCausalLM.from_config(config, attn_implementation="eager").eval()
    scatter(model, rng)
    model.to(getattr(torch, dtype)).save_pretrained(folder, **options)
    extra = os.path.join(folder, "generation_config.json")
    if os.path.exists(extra):
        os.remove(extra)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32,
                                                 attn_implementation="eager").eval()
    exact = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float64,
                                                 attn_implementation="eager").eval()
    out, worst, largest = {}, 0.0, 0.0
    for i, n in enumerate(LENGTHS):
        ids = [int(x) for x in rng.integers(0, config.vocab_size, n)]
        out[f"ids.{i}"] = torch.tensor(ids, dtype=torch.float32)
        out[f"logits.{i}"] = logits_of(model, ids)
        with torch.no_grad():
            wide = exact(torch.tensor([ids])).logits[0]
        worst = max(worst, float((wide - out[f"logits.{i}"]).abs().max()))
        largest = max(largest, float(wide.abs().max()))
    save_file(out, os.path.join(folder, "golden.safetensors"))
    return worst, largest


def old_spelling(name, scaling):
    """config-old.json: the same rotary settings as releases before 5 wrote them.  Transformers
    itself must read them alike."""
    folder = os.path.join(HERE, name)
    with open(os.path.join(folder, "config.json")) as f:
        config = json.load(f)
    rope = config.pop("rope_parameters")
    config["rope_theta"] = rope["rope_theta"]
    config["rope_scaling"] = scaling(rope)
    config["torch_dtype"] = config.pop("dtype")
    with open(os.path.join(folder, "config-old.json"), "w") as f:
        json.dump(config, f, indent=2)
    new = LlamaConfig.from_pretrained(folder)
    old = LlamaConfig.from_dict(dict(config))
    a, b = ({k: v for k, v in x.rope_parameters.items() if k != "type"} for x in (new, old))
    assert a == b, (a, b)


def main():
    torch.manual_seed(0)
    torch.set_num_threads(1)
    report = {}
    for name, (config, dtype, options) in FAMILIES.items():
        worst, largest = make(name, config, dtype, options)
        report[name] = {"largest_logit": round(largest, 3), "f32_against_f64": float(f"{worst:.2g}")}
        print(f"{name:14} largest logit {largest:8.3f}   f32 against f64 {worst:.2g}")
    old_spelling("llama", lambda r: {"type": "linear", "factor": r["factor"]})
    old_spelling("llama3-bias",
                 lambda r: {k: v for k, v in r.items() if k != "rope_theta"})
    with open(os.path.join(HERE, "versions.json"), "w") as f:
        json.dump({"transformers": transformers.__version__, "torch": torch.__version__,
                   "numpy": numpy.__version__, "families": report}, f, indent=1)
        f.write("\n")


if __name__ == "__main__":
    main()
