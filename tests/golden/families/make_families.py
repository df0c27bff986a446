"""Tiny random checkpoints of every family, saved by Transformers, with the logits of its own
forward pass: what tests/unit/test_golden.c compares with.

  python tests/golden/families/make_families.py [NAME...]    (rewrites the folders beside this file)

Weights are wide (so that logits are of the order of ten and every term matters), norm weights
vary round 1 and biases are not zero.  A checkpoint stored in F16 or BF16 is loaded back and run
in f32 on the values that were stored.  Each folder holds config.json, the weights, and
golden.safetensors: ids.N [T] as F32 and logits.N [T, vocab] of three prompts; of a classifier
logits.N [labels].  Of some `greedy`: the last prompt and ten tokens that it goes on with.
"""

import json
import math
import os
import shutil
import sys

import numpy
import torch
import transformers
from safetensors.torch import save_file
from transformers import (AutoModelForCausalLM, AutoModelForMaskedLM,
                          AutoModelForSequenceClassification)
from transformers import (BertConfig, DistilBertConfig, Gemma2Config, Gemma3Config, Gemma3TextConfig, GemmaConfig, GPT2Config,
                          GPTNeoXConfig, GraniteConfig, LlamaConfig, MistralConfig, ModernBertConfig, Olmo2Config,
                          OPTConfig, Phi3Config, Qwen2Config, Qwen3Config, RobertaConfig,
                          SmolLM3Config, StableLmConfig)

HERE = os.path.dirname(os.path.abspath(__file__))
LENGTHS = (1, 5, 10)
NEW = 10
GREEDY = ("mistral-window", "qwen2-window", "gemma2", "gemma3_text", "gpt_neox", "smollm3", "olmo2")

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

# Those whose heads have hidden / heads columns.
EVEN = {k: v for k, v in LLAMA.items() if k != "head_dim"} | {
    "num_attention_heads": 3, "num_key_value_heads": 1}
LAYERED = {k: v for k, v in EVEN.items() if k not in ("rms_norm_eps", "head_dim")}
NEOX = {k: v for k, v in LAYERED.items() if k != "num_key_value_heads"}
GEMMA = {**LLAMA, "tie_word_embeddings": True}
LONG = dict(rope_type="longrope", rope_theta=10000.0)
GEMMA3 = dict(**GEMMA, sliding_window=4, query_pre_attn_scalar=12,
              layer_types=["sliding_attention", "full_attention"], rope_parameters=dict(
                  sliding_attention=dict(rope_type="default", rope_theta=500.0),
                  full_attention=dict(rope_type="linear", factor=4.0, rope_theta=1e5)))
VISION = dict(hidden_size=4, intermediate_size=4, num_hidden_layers=1, num_attention_heads=1,
              image_size=4, patch_size=4)

BERT = dict(vocab_size=97, hidden_size=24, intermediate_size=29, num_hidden_layers=2,
            num_attention_heads=3, max_position_embeddings=20, type_vocab_size=2)
MODERN = dict(vocab_size=97, hidden_size=24, intermediate_size=29, num_hidden_layers=3,
              num_attention_heads=3, max_position_embeddings=20, local_attention=6,
              pad_token_id=0, bos_token_id=1, eos_token_id=2, cls_token_id=1, sep_token_id=2)

LABELS = {**LLAMA, "tie_word_embeddings": True, "pad_token_id": 0, "num_labels": 3}
CLASSIFY = AutoModelForSequenceClassification

# name: (config, stored dtype, save_pretrained options[, class])
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
    "smollm3": (SmolLM3Config(**{**LLAMA, "num_hidden_layers": 3}, pad_token_id=0,
                              no_rope_layers=[1, 0, 1]), "float16", {}),
    "granite": (GraniteConfig(**LLAMA, attention_bias=True, embedding_multiplier=1.7,
                              residual_multiplier=0.6, logits_scaling=1.9,
                              attention_multiplier=0.2), "bfloat16", {}),
    "olmo2": (Olmo2Config(**EVEN, attention_bias=True), "float16", {}),
    "phi3": (Phi3Config(**{**EVEN, "max_position_embeddings": 32}, pad_token_id=0,
                        sliding_window=6, rope_parameters=LONG | dict(
                            short_factor=[1.0, 1.1, 1.3, 1.7], long_factor=[1.2, 2.0, 3.5, 6.0])),
             "bfloat16", {}),
    "phi3-partial": (Phi3Config(**EVEN, pad_token_id=0, rope_parameters=dict(
        rope_type="default", rope_theta=10000.0, partial_rotary_factor=0.75)), "float16", {}),
    "stablelm": (StableLmConfig(**LAYERED, use_qkv_bias=True, layer_norm_eps=1e-5,
                                rope_parameters=dict(rope_type="default", rope_theta=1e4,
                                                     partial_rotary_factor=0.25)), "float16", {}),
    "stablelm-parallel": (StableLmConfig(**LAYERED, use_parallel_residual=True, qk_layernorm=True,
                                         rope_parameters=dict(
                                             rope_type="default", rope_theta=1e4,
                                             partial_rotary_factor=0.5)), "bfloat16", {}),
    "gpt_neox": (GPTNeoXConfig(**NEOX, rope_parameters=dict(
        rope_type="default", rope_theta=1e4, partial_rotary_factor=0.25)), "float16", {}),
    "gpt_neox-serial": (GPTNeoXConfig(**NEOX, use_parallel_residual=False, attention_bias=False,
                                      rope_parameters=dict(rope_type="default", rope_theta=1e4,
                                                           partial_rotary_factor=1.0)),
                        "bfloat16", {}),
    "gemma": (GemmaConfig(**GEMMA), "bfloat16", {}),
    "gemma2": (Gemma2Config(**GEMMA, sliding_window=4, query_pre_attn_scalar=14,
                            attn_logit_softcapping=3.0, final_logit_softcapping=8.0),
               "float16", {}),
    "gemma3_text": (Gemma3TextConfig(**GEMMA3), "bfloat16", {}),
    "gemma3": (Gemma3Config(text_config=dict(GEMMA3), vision_config=VISION,
                            mm_tokens_per_image=1), "bfloat16", {}),
    "llama-dynamic": (LlamaConfig(**EVEN, rope_parameters=dict(
        rope_type="dynamic", factor=2.0, rope_theta=10000.0)), "bfloat16", {}),
    "llama-yarn": (LlamaConfig(**LLAMA, rope_parameters=dict(
        rope_type="yarn", factor=4.0, rope_theta=10000.0, original_max_position_embeddings=8,
        beta_fast=2.0, beta_slow=0.5)), "float16", {}),
    "mistral-window": (MistralConfig(**LLAMA, sliding_window=4), "bfloat16", {}),
    "qwen2-window": (Qwen2Config(**{k: v for k, v in LLAMA.items() if k != "head_dim"},
                                 use_sliding_window=True, sliding_window=3, max_window_layers=1),
                     "float16", {}),
    "llama-classify": (LlamaConfig(**LLAMA, num_labels=3, pad_token_id=0), "bfloat16", {},
                       AutoModelForSequenceClassification),
    "gpt2-classify": (GPT2Config(**GPT2, num_labels=2, pad_token_id=0), "float16", {},
                      AutoModelForSequenceClassification),
    "roberta": (RobertaConfig(**{**BERT, "max_position_embeddings": 22, "type_vocab_size": 1},
                              pad_token_id=1), "float16", {}, AutoModelForMaskedLM),
    "bert": (BertConfig(**BERT), "bfloat16", {}, AutoModelForMaskedLM),
    "distilbert": (DistilBertConfig(vocab_size=97, dim=24, hidden_dim=29, n_layers=2, n_heads=3,
                                    max_position_embeddings=20), "float16", {},
                   AutoModelForMaskedLM),
    "modernbert": (ModernBertConfig(**MODERN), "bfloat16", {}, AutoModelForMaskedLM),
    "modernbert-bias": (ModernBertConfig(**MODERN, norm_bias=True, attention_bias=True,
                                         mlp_bias=True, classifier_bias=True), "float16", {},
                        AutoModelForMaskedLM),
    "roberta-classify": (RobertaConfig(**{**BERT, "max_position_embeddings": 22}, num_labels=3,
                                       pad_token_id=1), "float16", {},
                         AutoModelForSequenceClassification),
    "bert-classify": (BertConfig(**BERT, num_labels=2), "bfloat16", {},
                      AutoModelForSequenceClassification),
    "distilbert-classify": (DistilBertConfig(vocab_size=97, dim=24, hidden_dim=29, n_layers=2,
                                             n_heads=3, max_position_embeddings=20, num_labels=4),
                            "float16", {}, AutoModelForSequenceClassification),
    "modernbert-classify": (ModernBertConfig(**MODERN, num_labels=3), "bfloat16", {},
                            AutoModelForSequenceClassification),
    "llama-dynamic-far": (LlamaConfig(**EVEN | {"max_position_embeddings": 6}, rope_parameters=dict(
        rope_type="dynamic", factor=4.0, rope_theta=10000.0)), "float32", {}),
    "phi3-far": (Phi3Config(**EVEN, pad_token_id=0, original_max_position_embeddings=8, rope_parameters=LONG | dict(
        short_factor=[1.0, 1.1, 1.3, 1.7], long_factor=[1.2, 2.0, 3.5, 6.0])), "float32", {}),
    # heads of labels, with values that matter to them
    "mistral-classify": (MistralConfig(**LABELS, sliding_window=4), "float16", {}, CLASSIFY),
    "qwen2-classify": (Qwen2Config(**{k: v for k, v in LABELS.items() if k != "head_dim"}), "bfloat16", {}, CLASSIFY),
    "qwen3-classify": (Qwen3Config(**LABELS), "float16", {}, CLASSIFY),
    "opt-classify": (OPTConfig(**{**OPT, "activation_function": "gelu"}, num_labels=3), "float16", {}, CLASSIFY),
    "smollm3-classify": (SmolLM3Config(**LABELS, no_rope_layers=[0, 1]), "float16", {}, CLASSIFY),
    "olmo2-classify": (Olmo2Config(**EVEN, pad_token_id=0, num_labels=3), "bfloat16", {}, CLASSIFY),
    "phi3-classify": (Phi3Config(**EVEN, pad_token_id=0, num_labels=3), "float16", {}, CLASSIFY),
    "stablelm-classify": (StableLmConfig(**LAYERED, pad_token_id=0, num_labels=3, rope_parameters=dict(
        rope_type="default", rope_theta=1e4, partial_rotary_factor=0.5)), "bfloat16", {}, CLASSIFY),
    "gpt_neox-classify": (GPTNeoXConfig(**NEOX, pad_token_id=0, num_labels=3, hidden_act="gelu_fast",
                                        rope_parameters=dict(rope_type="default", rope_theta=1e4,
                                                             partial_rotary_factor=0.5)), "float16", {}, CLASSIFY),
    "gemma-classify": (GemmaConfig(**LABELS), "bfloat16", {}, CLASSIFY),
    "gemma2-classify": (Gemma2Config(**LABELS, sliding_window=4, query_pre_attn_scalar=14,
                                     attn_logit_softcapping=3.0, final_logit_softcapping=1.5), "float16", {}, CLASSIFY),
    "gemma3_text-classify": (Gemma3TextConfig(**GEMMA3, pad_token_id=0, num_labels=3, final_logit_softcapping=1.5),
                             "bfloat16", {}, CLASSIFY),
    "roberta-pad": (RobertaConfig(**{**BERT, "max_position_embeddings": 24}, pad_token_id=2), "float16", {},
                    AutoModelForMaskedLM),
    "roberta-pad-classify": (RobertaConfig(**{**BERT, "max_position_embeddings": 24}, pad_token_id=0, num_labels=3),
                             "bfloat16", {}, CLASSIFY),
    "modernbert-act": (ModernBertConfig(**MODERN, classifier_activation="silu"), "float16", {}, AutoModelForMaskedLM),
    "bert-act-classify": (BertConfig(**BERT, num_labels=3, hidden_act="quick_gelu"), "bfloat16", {}, CLASSIFY),
}


# A family's weights stay what they are when others are added.
OLD = ["gpt2", "gpt2-untied", "llama", "llama-gelu", "llama3-bias", "mistral", "opt", "opt-350m",
       "opt-bare", "opt-project", "qwen2", "qwen3", "qwen3-tied"]
SEEDS = OLD + [name for name in FAMILIES if name not in OLD]


def scatter(model, rng, plus):
    """Random weights of a size that keeps activations near 1 and logits near 10."""
    for name, p in model.named_parameters():
        norm = "norm" in name or ".ln_" in name
        wide = 0.9 if any(x in name for x in ("embed", "wte", "wpe", "lm_head", "decoder", "vocab_proj")) else 0
        if p.dim() == 1:
            centre = 1.0 if norm and name.endswith("weight") and not plus else 0.0
            values = centre + rng.normal(0, 0.3, p.shape)
        else:
            values = rng.normal(0, wide or 1.4 / math.sqrt(max(p.shape)), p.shape)
        with torch.no_grad():
            p.copy_(torch.tensor(values, dtype=torch.float32))


def logits_of(model, ids):
    with torch.no_grad():
        return model(torch.tensor([ids])).logits[0].contiguous()


def make(name, config, dtype, options, kind=AutoModelForCausalLM):
    folder = os.path.join(HERE, name)
    shutil.rmtree(folder, ignore_errors=True)
    rng = numpy.random.default_rng(SEEDS.index(name) + 1)
    model = kind.from_config(config, attn_implementation="eager").eval()
    scatter(model, rng, config.model_type.startswith("gemma"))
    model.to(getattr(torch, dtype)).save_pretrained(folder, **options)
    extra = os.path.join(folder, "generation_config.json")
    if os.path.exists(extra):
        os.remove(extra)
    model = kind.from_pretrained(folder, dtype=torch.float32,
                                                 attn_implementation="eager").eval()
    exact = kind.from_pretrained(folder, dtype=torch.float64,
                                                 attn_implementation="eager").eval()
    out, worst, largest = {}, 0.0, 0.0
    low = 0 if kind is AutoModelForCausalLM else 3  # padding would move positions and the last token
    for i, n in enumerate(LENGTHS):
        ids = [int(x) for x in rng.integers(low, config.get_text_config().vocab_size, n)]
        out[f"ids.{i}"] = torch.tensor(ids, dtype=torch.float32)
        out[f"logits.{i}"] = logits_of(model, ids).float()
        wide = logits_of(exact, ids)
        worst = max(worst, float((wide - out[f"logits.{i}"]).abs().max()))
        largest = max(largest, float(wide.abs().max()))
    if name in GREEDY:  # with its key-value cache, past the window
        with torch.no_grad():
            whole = model.generate(torch.tensor([ids]), do_sample=False, max_new_tokens=NEW,
                                   min_new_tokens=NEW, eos_token_id=None)
        assert whole.shape[1] == len(ids) + NEW, whole.shape
        out["greedy"] = whole[0].float()
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
    with open(os.path.join(HERE, "versions.json")) as f:
        report = json.load(f)["families"]
    for name, row in FAMILIES.items():
        if len(sys.argv) > 1 and name not in sys.argv[1:]:
            continue
        worst, largest = make(name, *row)
        report[name] = {"largest_logit": round(largest, 3), "f32_against_f64": float(f"{worst:.2g}")}
        print(f"{name:14} largest logit {largest:8.3f}   f32 against f64 {worst:.2g}")
    if len(sys.argv) > 1:
        return write(report)
    old_spelling("llama", lambda r: {"type": "linear", "factor": r["factor"]})
    old_spelling("llama3-bias",
                 lambda r: {k: v for k, v in r.items() if k != "rope_theta"})
    write(report)


def write(report):
    with open(os.path.join(HERE, "versions.json"), "w") as f:
        json.dump({"transformers": transformers.__version__, "torch": torch.__version__,
                   "numpy": numpy.__version__, "families": report}, f, indent=1)
        f.write("\n")


if __name__ == "__main__":
    main()
