"""Writes tiny random base models, adapters over them in PEFT's format, and the logits of Transformers with
PEFT, which tests/unit/test_adapter.c compares.

    python3 make_adapters.py DIR [FAMILY ...]

DIR/FAMILY/base, DIR/FAMILY/METHOD (an adapter) and DIR/FAMILY/METHOD/logits.safetensors: logits [T, V] of
the token ids below.  Needs torch, transformers, peft."""
import json
import os
import shutil
import sys

import peft
import safetensors.torch
import torch
import transformers
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForMaskedLM

IDS = [3, 17, 5, 9, 22, 1, 14, 8, 3]
VOCAB, HIDDEN = 24, 16

COMMON = dict(vocab_size=VOCAB, hidden_size=HIDDEN, intermediate_size=24, num_hidden_layers=2,
              num_attention_heads=4, max_position_embeddings=32, pad_token_id=0, bos_token_id=1,
              eos_token_id=2, initializer_range=0.3)
FAMILIES = {
    "llama": dict(COMMON, num_key_value_heads=2),
    "qwen2": dict(COMMON, num_key_value_heads=2),
    "qwen3": dict(COMMON, num_key_value_heads=2, head_dim=4),
    "gemma3_text": dict(COMMON, num_key_value_heads=2, head_dim=4, sliding_window=8,
                        query_pre_attn_scalar=4),
    "phi3": dict(COMMON, num_key_value_heads=2),
    "gpt2": dict(vocab_size=VOCAB, n_embd=HIDDEN, n_layer=2, n_head=4, n_positions=32,
                 initializer_range=0.3, bos_token_id=1, eos_token_id=2),
    "gpt_neox": dict(COMMON, rotary_pct=0.5),
    "opt": dict(vocab_size=VOCAB, hidden_size=HIDDEN, ffn_dim=24, num_hidden_layers=2,
                num_attention_heads=4, max_position_embeddings=32, word_embed_proj_dim=HIDDEN,
                init_std=0.3, pad_token_id=1, bos_token_id=2, eos_token_id=2),
    "bert": COMMON,
}
EMBEDDING = {"gpt2": "wte", "gpt_neox": "embed_in", "bert": "word_embeddings"}
NORMS = {"gpt2": ["ln_1", "ln_2", "ln_f"], "gpt_neox": ["input_layernorm", "post_attention_layernorm"],
         "opt": ["self_attn_layer_norm", "final_layer_norm"], "bert": ["LayerNorm"],
         "llama": ["input_layernorm", "post_attention_layernorm", "norm"]}
TARGETS = {"gpt2": ["c_attn"], "gpt_neox": ["query_key_value"], "bert": ["query", "value"],
           "phi3": ["qkv_proj"]}
ALL = "all-linear"


def methods(family):
    fan = family == "gpt2"
    first = TARGETS.get(family, ["q_proj", "v_proj"])
    task = None if family == "bert" else "CAUSAL_LM"
    yield "lora", peft.LoraConfig(r=4, lora_alpha=8, target_modules=first, fan_in_fan_out=fan, task_type=task)
    yield "lora_all", peft.LoraConfig(r=3, lora_alpha=5, target_modules=ALL, use_rslora=True,
                                      fan_in_fan_out=fan, task_type=task)
    yield "dora", peft.LoraConfig(r=3, lora_alpha=6, target_modules=ALL, use_dora=True, fan_in_fan_out=fan,
                                  task_type=task)
    yield "embedding", peft.LoraConfig(r=2, lora_alpha=4, fan_in_fan_out=fan, task_type=task,
                                       target_modules=first + [EMBEDDING.get(family, "embed_tokens")])
    yield "bias", peft.LoraConfig(r=2, lora_alpha=4, target_modules=first, bias="all", fan_in_fan_out=fan,
                                  task_type=task)
    ia3 = {} if family not in ("qwen3", "gemma3_text", "phi3", "bert", "gpt_neox") else {
        "qwen3": dict(target_modules=["k_proj", "v_proj", "down_proj"], feedforward_modules=["down_proj"]),
        "gemma3_text": dict(target_modules=["q_proj", "v_proj", "down_proj"], feedforward_modules=["down_proj"]),
        "phi3": dict(target_modules=["qkv_proj", "o_proj", "down_proj"], feedforward_modules=["down_proj"]),
        "bert": dict(target_modules=["key", "value", "output.dense"], feedforward_modules=["output.dense"]),
        "gpt_neox": dict(target_modules=["query_key_value", "dense_4h_to_h"], feedforward_modules=["dense_4h_to_h"]),
    }[family]
    yield "ia3", peft.IA3Config(task_type=task, fan_in_fan_out=fan, **ia3)
    yield "ln", peft.LNTuningConfig(task_type=task, target_modules=NORMS.get(family, NORMS["llama"]))
    if family not in ("phi3", "gpt_neox"):
        yield "vera", peft.VeraConfig(r=3, target_modules=first, fan_in_fan_out=fan, task_type=task,
                                      save_projection=True)
    if task:
        yield "prompt", peft.PromptTuningConfig(num_virtual_tokens=3, task_type=task)
        yield "prefix", peft.PrefixTuningConfig(num_virtual_tokens=3, task_type=task)
    if family != "bert":  # PEFT 0.21.2 leaves the bias of a tied head out of its result
        yield "tokens", peft.TrainableTokensConfig(token_indices=[3, 9], task_type=task,
                                                   target_modules=[EMBEDDING.get(family, "embed_tokens")])


def randomize(model):
    generator = torch.Generator().manual_seed(7)
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            noise = torch.randn(parameter.shape, generator=generator)
            plain = any(word in name for word in ("lora_", "vera_lambda", "prompt", "delta"))
            plain = plain and "magnitude" not in name
            parameter.data = 0.3 * noise if plain else parameter.data + 0.2 * noise


def base_model(family):
    config = AutoConfig.for_model(family, **FAMILIES[family])
    torch.manual_seed(1)
    maker = AutoModelForMaskedLM if family == "bert" else AutoModelForCausalLM
    model = maker.from_config(config, attn_implementation="eager").eval()
    for name, parameter in model.named_parameters():  # norms and biases are 1 and 0 otherwise
        if parameter.ndim == 1:
            parameter.data += 0.1 * torch.randn(parameter.shape)
    return model


def logits(model):
    with torch.no_grad():
        out = model(input_ids=torch.tensor([IDS])).logits[0]
    return out[-len(IDS):].contiguous()


def write(where, family):
    os.makedirs(where, exist_ok=True)
    model = base_model(family)
    model.save_pretrained(f"{where}/base")
    for name in ("generation_config.json",):
        if os.path.exists(f"{where}/base/{name}"):
            os.remove(f"{where}/base/{name}")
    for method, config in methods(family):
        model = base_model(family)
        try:
            tuned = peft.get_peft_model(model, config)
        except Exception as error:  # a method that PEFT does not have for the family
            print(f"{family} {method}: PEFT refuses: {error}")
            continue
        randomize(tuned)
        tuned.eval()
        try:
            result = logits(tuned)
        except Exception as error:
            print(f"{family} {method}: PEFT fails: {type(error).__name__} {error}")
            continue
        path = f"{where}/{method}"
        shutil.rmtree(path, ignore_errors=True)
        tuned.save_pretrained(path)
        safetensors.torch.save_file({"logits": result.float()}, f"{path}/logits.safetensors")
        if os.path.exists(f"{path}/README.md"):
            os.remove(f"{path}/README.md")
        print(f"{family} {method}: ok")


def main(where, *families):
    for family in families or FAMILIES:
        write(f"{where}/{family}", family)
    versions = {"torch": torch.__version__, "transformers": transformers.__version__,
                "peft": peft.__version__}
    with open(f"{where}/versions.json", "w") as file:
        json.dump(versions, file, indent=1)
        file.write("\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
