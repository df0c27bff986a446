"""What each key of each supported family's config class does to a forward pass, by Transformers itself:
what tests/unit/test_config_keys.c compares with.

    python tests/golden/config/make_keys.py    (writes keys.json beside this file)

For every family and head a small random model is made.  Then each key of the config class, and of
config.json's older spellings, takes other values, one at a time; the model is made again from the
same weights, and its logits are compared.  keys.json holds, of each:
  base      the config.json of the small model
  changes   [key, value] under which logits differ by more than 1e-5, or a shape does not fit
  none      [key, value] under which they do not
  defaults  the class' own value of each key, for a file that leaves it out
"""
import json
import pathlib
import warnings

import torch
import transformers
from transformers import (AutoModelForCausalLM, AutoModelForMaskedLM, AutoModelForSequenceClassification,
                          CONFIG_MAPPING)

warnings.filterwarnings("ignore")
transformers.logging.set_verbosity(50)
HERE = pathlib.Path(__file__).parent
IDS = [7, 3, 21, 9, 40, 11, 3, 18, 30, 5, 44, 13]

SIZES = dict(vocab_size=53, hidden_size=16, intermediate_size=20, num_hidden_layers=4, num_attention_heads=4,
             num_key_value_heads=2, max_position_embeddings=40)
WINDOW = dict(SIZES, sliding_window=5, max_window_layers=2)
WIDE = dict(SIZES, hidden_size=32, num_attention_heads=2)  # a quarter of a head is two rotary pairs
NO_KV = {k: v for k, v in SIZES.items() if k != "num_key_value_heads"}
PAD = dict(pad_token_id=0, bos_token_id=1, eos_token_id=2)
FAMILIES = {
    "llama": SIZES, "mistral": dict(SIZES, sliding_window=5), "qwen2": WINDOW,
    "qwen3": dict(WINDOW, head_dim=8),
    "gpt2": dict(vocab_size=53, n_embd=16, n_layer=4, n_head=4, n_positions=40),
    "opt": dict(vocab_size=53, hidden_size=16, ffn_dim=20, num_hidden_layers=4, num_attention_heads=4,
                max_position_embeddings=40, word_embed_proj_dim=16, dropout=0.0),
    "smollm3": dict(SIZES, sliding_window=5), "granite": SIZES, "olmo2": SIZES, "phi3": SIZES, "stablelm": WIDE,
    "gpt_neox": {k: v for k, v in WIDE.items() if k != "num_key_value_heads"},
    "gemma": dict(SIZES, head_dim=4), "gemma2": dict(SIZES, head_dim=4, sliding_window=5),
    "gemma3_text": dict(SIZES, head_dim=4, sliding_window=5, sliding_window_pattern=2), "bert": NO_KV, "roberta": dict(NO_KV),
    "distilbert": dict(vocab_size=53, dim=16, hidden_dim=20, n_layers=4, n_heads=4, max_position_embeddings=40),
    "modernbert": dict(NO_KV, local_attention=6, cls_token_id=1, sep_token_id=2),
}
ENCODERS = {"bert", "roberta", "distilbert", "modernbert"}
# Other values of what a class declares with a null, a list or a text; by key.
OTHERS = {
    "sliding_window": [3, None], "layer_types": [["full_attention"] * 4, ["sliding_attention"] * 4],
    "no_rope_layers": [[1, 1, 0, 0], None], "no_rope_layer_interval": [2, 3], "classifier_pooling": ["mean", "cls"],
    "classifier_activation": ["relu", "gelu_new"], "hidden_act": ["relu", "gelu", "gelu_new"],
    "hidden_activation": ["relu", "gelu"], "activation_function": ["gelu_new", "relu"], "activation": ["relu", "gelu"],
    "final_logit_softcapping": [2.0, None], "attn_logit_softcapping": [0.5, None], "n_inner": [24],
    "use_bidirectional_attention": [True], "head_dim": [8], "num_key_value_heads": [1, 4], "pad_token_id": [3, 5],
    "query_pre_attn_scalar": [3], "rope_parameters": [dict(rope_type="linear", rope_theta=1e4, factor=2.0),
                                                    dict(rope_type="default", rope_theta=500.0)],
    "max_position_embeddings": [], "n_positions": [], "vocab_size": [], "problem_type": ["regression"],
    "summary_type": ["last"], "dtype": [], "torch_dtype": [], "original_max_position_embeddings": [8],
}
# Keys that classes take without declaring them, and older spellings.
OLD = {
    "rope_theta": [500.0], "rope_scaling": [dict(type="linear", factor=2.0), dict(rope_type="linear", factor=2.0)],
    "partial_rotary_factor": [0.5], "rotary_pct": [0.5], "rotary_emb_base": [500.0], "rope_local_base_freq": [500.0],
    "sliding_window_pattern": [3], "global_rope_theta": [500.0], "local_rope_theta": [500.0],
    "global_attn_every_n_layers": [2], "position_embedding_type": ["relative_key"], "use_mrope": [True],
    "multi_query": [True], "rope_pct": [0.5], "num_labels": [3], "cache_implementation": ["hybrid"],
    "hidden_activation": ["relu", None], "attention_bias": [True], "mlp_bias": [True], "max_sequence_length": [30],
    "max_window_layers": [1], "use_sliding_window": [True], "scale_attn_by_inverse_layer_idx": [True],
    "n_ctx": [30], "hidden_size": [], "rope_interleaved": [True], "no_bias": [True], "qk_norm": [True],
    "use_qk_norm": [True], "mup_width_scale": [0.5], "attention_multiplier": [0.5], "is_decoder": [True],
}
SKIP = {"transformers_version", "architectures", "model_type", "id2label", "label2id", "output_hidden_states",
        "return_dict", "output_attentions", "_name_or_path", "is_encoder_decoder", "use_cache", "add_cross_attention",
        "chunk_size_feed_forward"}


def classes(family):
    return [("lm", AutoModelForMaskedLM if family in ENCODERS else AutoModelForCausalLM),
            ("labels", AutoModelForSequenceClassification)]


def make(kind, family, config):
    c = CONFIG_MAPPING[family].from_dict(json.loads(json.dumps(config)))
    return kind.from_config(c, attn_implementation="eager").eval()


def logits(m):
    with torch.no_grad():
        return m(torch.tensor([IDS])).logits


def values_of(key, v):
    if key in OTHERS:
        return OTHERS[key]
    if key in OLD:
        return OLD[key]
    if isinstance(v, bool):
        return [not v]
    if isinstance(v, int):
        return [v * 2 if v else 1]
    if isinstance(v, float):
        return [v * 4 if v else 0.25] if v < 1e-2 else [v * 0.5]
    return []


def effect(kind, family, base, weights, want, key, value):
    """1: logits or shapes change; 0: nothing does; None: the class refuses."""
    config = dict(base)
    config[key] = value
    try:
        m = make(kind, family, config)
        left = m.load_state_dict(weights, strict=False)
        if left.missing_keys or left.unexpected_keys:
            return 1
        got = logits(m)
    except RuntimeError as e:
        return 1 if "size mismatch" in str(e) else None
    except Exception:
        return None
    return int(got.shape != want.shape or bool((got - want).abs().max() > 1e-5))


def study(family, head, kind):
    base = dict(FAMILIES[family], **PAD)
    if family == "roberta":
        base["pad_token_id"] = 1
    torch.manual_seed(len(family))
    m = make(kind, family, base)
    for p in m.parameters():
        with torch.no_grad():
            p.copy_(torch.randn(p.shape) * (0.4 if p.dim() > 1 else 0.3) + (1 if p.dim() == 1 else 0))
    m.tie_weights()
    want, weights = logits(m), {k: v.clone() for k, v in m.state_dict().items()}
    declared = CONFIG_MAPPING[family]().to_dict()
    declared = {k: v for k, v in declared.items() if k not in SKIP}
    changes, none = [], []
    for key in sorted(set(declared) | set(OLD)):
        now = m.config.to_dict().get(key, declared.get(key))
        for value in values_of(key, now):
            what = effect(kind, family, base, weights, want, key, value)
            if what is not None:
                (changes if what else none).append([key, value])
    base["architectures"] = [type(m).__name__]
    base["model_type"] = family
    return {"base": base, "changes": changes, "none": none, "defaults": declared}


def main():
    torch.set_num_threads(1)
    out = {"transformers": transformers.__version__, "studies": []}
    for family in FAMILIES:
        for head, kind in classes(family):
            if head == "labels" and family == "granite":
                continue
            row = study(family, head, kind)
            out["studies"].append({"family": family, "head": head, **row})
            print(family, head, "changes:", " ".join(f"{k}={v}" for k, v in row["changes"]), flush=True)
    (HERE / "keys.json").write_text(json.dumps(out, indent=None) + "\n")


if __name__ == "__main__":
    main()
