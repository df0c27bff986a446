"""Makes the adapters of this directory with PEFT, over tiny random models.

    python3 tests/golden/peft/make_adapters.py [NAME ...]

Each directory holds what PEFT's save_pretrained writes, without the README, and expected.json: module, part, shape,
first and last value of each trained parameter of PEFT's model.  lora.gguf and mlx are `lora` in those formats; `models` holds the config.json of
each base.  All values that a method starts at zero or one are replaced by random ones, so that a transposed or
forgotten tensor shows.  versions.json names the packages."""
import importlib.metadata
import json
import os
import re
import shutil
import sys

import gguf
import torch
from safetensors.torch import load_file, save_file
from transformers import (BertConfig, BertForSequenceClassification, GPT2Config, GPT2LMHeadModel, GPTNeoXConfig,
                          GPTNeoXForCausalLM, LlamaConfig, LlamaForCausalLM, LlamaForSequenceClassification)
import peft
from peft import (IA3Config, LNTuningConfig, LoraConfig, PrefixTuningConfig, PromptTuningConfig, TrainableTokensConfig,
                  VeraConfig, get_peft_model)

HERE = os.path.dirname(os.path.abspath(__file__))
LM = dict(task_type="CAUSAL_LM")


def llama_config(**more):
    return LlamaConfig(vocab_size=40, hidden_size=16, intermediate_size=24, num_hidden_layers=2, num_attention_heads=4,
                       num_key_value_heads=2, max_position_embeddings=64, bos_token_id=1, eos_token_id=2, **more)


def gpt2_config():
    return GPT2Config(vocab_size=40, n_embd=16, n_layer=2, n_head=4, n_positions=32, bos_token_id=1, eos_token_id=2)


def gpt_neox_config():
    return GPTNeoXConfig(vocab_size=40, hidden_size=16, intermediate_size=24, num_hidden_layers=2,
                         num_attention_heads=4, max_position_embeddings=64, bos_token_id=1, eos_token_id=2)


def bert_config():
    return BertConfig(vocab_size=40, hidden_size=16, intermediate_size=24, num_hidden_layers=2, num_attention_heads=4,
                      max_position_embeddings=32, num_labels=3)


BASES = {
    "llama": (llama_config, LlamaForCausalLM),
    "gpt2": (gpt2_config, GPT2LMHeadModel),
    "gpt_neox": (gpt_neox_config, GPTNeoXForCausalLM),
    "bert": (bert_config, BertForSequenceClassification),
    "llama_cls": (lambda: llama_config(num_labels=3, pad_token_id=0), LlamaForSequenceClassification),
}

ADAPTERS = {
    "lora": ("llama", LoraConfig(r=4, lora_alpha=6, target_modules=["q_proj", "v_proj", "down_proj"], **LM)),
    "lora_rslora": ("llama", LoraConfig(r=2, lora_alpha=4, use_rslora=True, target_modules="all-linear", **LM)),
    "lora_layers": ("llama", LoraConfig(r=2, lora_alpha=4, target_modules=["up_proj"], layers_to_transform=[1],
                                        layers_pattern="layers", **LM)),
    "lora_patterns": ("llama", LoraConfig(r=2, lora_alpha=4, target_modules=r".*\.(q|k)_proj",
                                          rank_pattern={r"layers\.0\.self_attn\.q_proj": 3},
                                          alpha_pattern={r"k_proj": 8.5}, exclude_modules=["layers.1.self_attn.k_proj"],
                                          **LM)),
    "lora_dora": ("llama", LoraConfig(r=2, lora_alpha=4, use_dora=True, target_modules=["o_proj"], **LM)),
    "lora_conv1d": ("gpt2", LoraConfig(r=2, lora_alpha=4, fan_in_fan_out=True, target_modules=["c_attn", "c_fc"], **LM)),
    "lora_neox": ("gpt_neox", LoraConfig(r=2, lora_alpha=4, bias="lora_only", init_lora_weights="gaussian",
                                         target_modules=["query_key_value"], **LM)),
    "lora_embed": ("llama", LoraConfig(r=2, lora_alpha=4, target_modules=["embed_tokens", "lm_head", "k_proj"], **LM)),
    "lora_saved": ("bert", LoraConfig(r=2, lora_alpha=4, target_modules=["query", "value"],
                                      modules_to_save=["classifier"], task_type="SEQ_CLS")),
    "lora_cls": ("llama_cls", LoraConfig(r=2, lora_alpha=4, target_modules=["q_proj"], task_type="SEQ_CLS")),
    "lora_bias": ("bert", LoraConfig(r=2, lora_alpha=4, bias="all", target_modules=["query"], task_type="SEQ_CLS")),
    "lora_tokens": ("llama", LoraConfig(r=2, lora_alpha=4, target_modules=["q_proj"], trainable_token_indices=[3, 7],
                                        **LM)),
    "ia3": ("llama", IA3Config(target_modules=["k_proj", "v_proj", "down_proj"], feedforward_modules=["down_proj"],
                               **LM)),
    "prefix": ("llama", PrefixTuningConfig(num_virtual_tokens=3, **LM)),
    "prompt": ("gpt2", PromptTuningConfig(num_virtual_tokens=5, **LM)),
    "ln": ("llama", LNTuningConfig(target_modules=["input_layernorm", "norm"], **LM)),
    "ln_bias": ("gpt2", LNTuningConfig(target_modules=["ln_1"], **LM)),
    "vera": ("llama", VeraConfig(r=5, target_modules=["q_proj", "v_proj"], d_initial=0.25, projection_prng_key=11,
                                 **LM)),
    "tokens": ("llama", TrainableTokensConfig(token_indices=[2, 5, 9], target_modules=["embed_tokens"], **LM)),
}


def make_base(name):
    config, model = BASES[name]
    torch.manual_seed(sum(map(ord, name)))
    return model(config())


def randomize(model):
    torch.manual_seed(5)
    with torch.no_grad():
        for param in model.parameters():
            if param.requires_grad:
                param.copy_(torch.randn(param.shape) * 0.5 + 0.25)


WORDS = {"lora_A", "lora_B", "lora_embedding_A", "lora_embedding_B", "lora_magnitude_vector", "ia3_l", "vera_lambda_b",
         "vera_lambda_d", "trainable_tokens_delta"}
WRAPPERS = {"ln_tuning_layers", "modules_to_save", "base_layer", "token_adapter"}


def name_parameter(name):
    """Path of the module and part of a parameter of the PEFT model."""
    words = [word for word in name.removeprefix("base_model.model.").split(".") if word != "default"]
    if words[0] == "prompt_encoder":
        return "", "prompt_embeddings"
    part = next((word for word in words if word in WORDS), words[-1])
    end = next((i for i, word in enumerate(words) if word in WORDS | WRAPPERS), len(words) - 1)
    return ".".join(words[:end]), part


def describe(model):
    """Module, part, shape, first and last value of every trained parameter."""
    rows = []
    for name, param in model.named_parameters():
        if param.requires_grad:
            values = param.detach().flatten()
            rows.append([*name_parameter(name), list(param.shape), values[0].item(), values[-1].item()])
    return sorted(rows)


def clean_config(path):
    """Paths of this machine leave the config, and names are sorted: PEFT keeps them as a set."""
    with open(path) as file:
        config = json.load(file)
    for key, value in config.items():
        if key.endswith("modules") and isinstance(value, list):
            config[key] = sorted(value)
    config["base_model_name_or_path"] = "tiny/base"
    with open(path, "w") as file:
        json.dump(config, file, indent=2, sort_keys=True)
        file.write("\n")


def make(name):
    base, config = ADAPTERS[name]
    model = get_peft_model(make_base(base), config)
    randomize(model)
    out = os.path.join(HERE, name)
    shutil.rmtree(out, ignore_errors=True)
    model.save_pretrained(out)
    os.remove(os.path.join(out, "README.md"))
    clean_config(os.path.join(out, "adapter_config.json"))
    with open(os.path.join(out, "expected.json"), "w") as file:
        file.write("[\n" + ",\n".join(map(json.dumps, describe(model))) + "\n]\n")


def make_model_configs():
    for name, (config, _) in BASES.items():
        made = config()
        made.architectures = [BASES[name][1].__name__]
        made.save_pretrained(os.path.join(HERE, "models", name))


def read_tensors(name):
    return load_file(os.path.join(HERE, name, "adapter_model.safetensors"))


def permute_heads(weight, heads):
    """llama.cpp's order of the rows of q and k."""
    return weight.reshape(heads, 2, weight.shape[0] // heads // 2, -1).swapaxes(1, 2).reshape(weight.shape)


GGUF_NAMES = {"self_attn.q_proj": "attn_q", "self_attn.v_proj": "attn_v", "self_attn.k_proj": "attn_k",
              "mlp.down_proj": "ffn_down"}


def make_gguf():
    """The adapter `lora` as llama.cpp's convert_lora_to_gguf.py lays it out, and one of f16 whose alpha is 0."""
    for name, alpha, dtype in (("lora.gguf", 6.0, "float32"), ("lora_f16.gguf", 0.0, "float16")):
        writer = gguf.GGUFWriter(os.path.join(HERE, name), "llama")
        writer.add_type("adapter")
        writer.add_string("adapter.type", "lora")
        writer.add_float32("adapter.lora.alpha", alpha)
        for key, tensor in read_tensors("lora").items():
            layer, module, part = re.fullmatch(r".*layers\.(\d+)\.(.*)\.lora_(.)\.weight", key).groups()
            value = tensor.numpy()
            if part == "B" and module == "self_attn.q_proj":
                value = permute_heads(value, 4)
            writer.add_tensor(f"blk.{layer}.{GGUF_NAMES[module]}.weight.lora_{part.lower()}", value.astype(dtype))
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()


def make_mlx():
    """The adapter `lora` as mlx-lm lays it out, in f16."""
    out = os.path.join(HERE, "mlx")
    os.makedirs(out, exist_ok=True)
    tensors = {}
    for key, tensor in read_tensors("lora").items():
        name = key.removeprefix("base_model.model.").replace("lora_A.weight", "lora_a").replace("lora_B.weight", "lora_b")
        tensors[name] = tensor.T.contiguous().half()
    save_file(tensors, os.path.join(out, "adapters.safetensors"))
    config = {"fine_tune_type": "lora", "model": "tiny/base", "num_layers": 2, "adapter_path": "adapters",
              "lora_parameters": {"rank": 4, "scale": 1.5, "dropout": 0.0, "keys": ["self_attn.q_proj"]}}
    with open(os.path.join(out, "adapter_config.json"), "w") as file:
        json.dump(config, file, indent=4)
        file.write("\n")


SEEDS = ["lora_patterns", "lora_dora", "lora_bias", "lora_tokens", "ia3", "prefix", "prompt", "ln", "vera", "tokens"]


def write_seeds():
    """Seeds of tests/fuzz/fuzz_adapter.c: 'p', the config, a zero byte, the tensors."""
    out = os.path.join(HERE, "../../fuzz/corpus/adapter")
    os.makedirs(out, exist_ok=True)
    for name in SEEDS:
        read = lambda file: open(os.path.join(HERE, name, file), "rb").read()
        with open(os.path.join(out, name), "wb") as file:
            file.write(b"p" + read("adapter_config.json") + b"\0" + read("adapter_model.safetensors"))
    name = "mlx"
    with open(os.path.join(out, name), "wb") as file:
        file.write(b"m" + read("adapter_config.json") + b"\0" + read("adapters.safetensors"))
    name = ""
    with open(os.path.join(out, "gguf"), "wb") as file:
        file.write(b"g" + read("lora_f16.gguf"))


def main():
    make_model_configs()
    for name in sys.argv[1:] or ADAPTERS:
        make(name)
    make_gguf()
    make_mlx()
    write_seeds()
    versions = {package: importlib.metadata.version(package) for package in ("gguf", "peft", "torch", "transformers")}
    with open(os.path.join(HERE, "versions.json"), "w") as file:
        json.dump(versions, file, indent=1)
        file.write("\n")


if __name__ == "__main__":
    main()
