"""Makes golden.json, which tests/unit/test_image.c reads: tiny models of random weights, written as GGUF files
by zoft, and llama.cpp's logits on those files.

    python tests/golden/image/make_image.py [FAMILY ...]     (needs build/zoft, llama-cpp-python, numpy)

The weights are those of `zoft init` with the config and its seed, so that a test makes them again.  Of each
model: config.json, ids, every eighth of llama.cpp's logits behind the last of them, or the logits of all labels,
all in F32.
"""
import ctypes
import importlib.metadata
import json
import pathlib
import subprocess
import sys
import tempfile

import llama_cpp
import numpy as np

HERE = pathlib.Path(__file__).parent
ROOT = HERE.parents[2]
DEMO = ROOT / "datasets/demo/model"
IDS = [5, 300, 17, 512, 900, 44, 45, 1001]
COMMON = dict(vocab_size=1024, initializer_range=0.2, bos_token_id=0, eos_token_id=0, pad_token_id=0,
              tie_word_embeddings=False)
LLAMA = dict(COMMON, hidden_size=48, num_hidden_layers=3, num_attention_heads=6, num_key_value_heads=2,
             intermediate_size=80, max_position_embeddings=64, hidden_act="silu", rms_norm_eps=1e-5)
LLAMA3 = dict(rope_type="llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0,
              original_max_position_embeddings=32, rope_theta=10000.0)
GEMMA = dict(LLAMA, head_dim=8, hidden_activation="gelu_pytorch_tanh", tie_word_embeddings=True,
             query_pre_attn_scalar=8, sliding_window=4)
LABELS = dict(vocab_size=1024, initializer_range=0.2, hidden_size=48, num_hidden_layers=3, num_attention_heads=6,
              intermediate_size=80, type_vocab_size=2, hidden_act="gelu", layer_norm_eps=1e-12,
              id2label={"0": "bad", "1": "fair", "2": "good"})
MODELS = {
    "bert": dict(LABELS, architectures=["BertForSequenceClassification"], max_position_embeddings=64),
    "modernbert": dict(LABELS, architectures=["ModernBertForSequenceClassification"], max_position_embeddings=64,
                       num_hidden_layers=4, local_attention=4, global_attn_every_n_layers=3, pad_token_id=0),
    "roberta": dict(LABELS, architectures=["RobertaForSequenceClassification"], max_position_embeddings=66,
                    pad_token_id=1),
    "llama": dict(LLAMA, rope_scaling=LLAMA3),
    "mistral": dict(LLAMA, sliding_window=None, head_dim=8),
    "qwen2": LLAMA,
    "qwen3": dict(LLAMA, head_dim=16),
    "granite": dict(LLAMA, attention_multiplier=0.2, embedding_multiplier=3.0, residual_multiplier=0.7,
                    logits_scaling=2.5),
    "olmo2": dict(LLAMA, tie_word_embeddings=True),
    "smollm3": dict(LLAMA, num_hidden_layers=4),
    "phi3": dict(LLAMA, sliding_window=None, rope_scaling=None),
    "stablelm": dict(LLAMA, num_key_value_heads=6, layer_norm_eps=1e-5, partial_rotary_factor=0.5,
                     use_qkv_bias=True),
    "gpt2": dict(COMMON, n_embd=48, n_layer=3, n_head=6, n_positions=64, activation_function="gelu_new",
                 layer_norm_epsilon=1e-5),
    "gpt_neox": dict(LLAMA, hidden_act="gelu", rotary_pct=0.5, layer_norm_eps=1e-5),
    "gemma": dict(GEMMA, hidden_act="gelu_pytorch_tanh"),
    "gemma2": GEMMA,
    "gemma3_text": dict(GEMMA, num_hidden_layers=7, rope_theta=1e6, rope_local_base_freq=1e4),
}


@llama_cpp.llama_log_callback
def silent(level, text, data):
    pass


def logits(path, ids, labels):
    llama_cpp.llama_log_set(silent, ctypes.c_void_p())
    mp = llama_cpp.llama_model_default_params()
    mp.use_extra_bufts = False  # repacked weights have other roundings
    model = llama_cpp.llama_model_load_from_file(str(path).encode(), mp)
    if not model:
        sys.exit(f"{path}: llama.cpp does not load it")
    cp = llama_cpp.llama_context_default_params()
    cp.n_ctx, cp.n_batch, cp.n_ubatch, cp.n_threads = 64, 64, 64, 1
    cp.type_k = cp.type_v = 0
    cp.flash_attn_type = llama_cpp.LLAMA_FLASH_ATTN_TYPE_DISABLED
    if labels:
        cp.embeddings, cp.pooling_type = True, llama_cpp.LLAMA_POOLING_TYPE_RANK
    context = llama_cpp.llama_init_from_model(model, cp)
    tokens = (llama_cpp.llama_token * len(ids))(*ids)
    batch = llama_cpp.llama_batch_get_one(tokens, len(ids))
    if (llama_cpp.llama_encode if labels else llama_cpp.llama_decode)(context, batch):
        sys.exit(f"{path}: llama.cpp does not run it")
    row = llama_cpp.llama_get_embeddings_seq(context, 0) if labels else llama_cpp.llama_get_logits_ith(context, -1)
    count = llama_cpp.llama_model_n_cls_out(model) if labels else 1024
    out = np.ctypeslib.as_array(ctypes.cast(row, ctypes.POINTER(ctypes.c_float)), (count,)).astype(float)
    llama_cpp.llama_free(context)
    llama_cpp.llama_model_free(model)
    return [float(f"{x:.7g}") for x in (out if labels else out[::8])]


def make(family, config, work):
    # llama.cpp wants special tokens where general.name, that of the directory, has "phi3" in it
    directory, file = work / family / "tiny", work / f"{family}.gguf"
    (work / "config.json").write_text(json.dumps(dict(config, model_type=family)))
    for words in (["init", work / "config.json", "--out", directory, "--tokenizer", DEMO],
                  ["export", directory, "--to", file, "--type", "f32"]):
        subprocess.run([ROOT / "build/zoft", *map(str, words), "-q"], check=True, stdout=subprocess.DEVNULL)
    return dict(config=dict(config, model_type=family), ids=IDS, logits=logits(file, IDS, "id2label" in config))


def main():
    version = "llama-cpp-python " + importlib.metadata.version("llama-cpp-python")
    chosen = sys.argv[1:] or MODELS
    with tempfile.TemporaryDirectory() as work:
        golden = {name: make(name, MODELS[name], pathlib.Path(work)) for name in chosen}
    (HERE / "golden.json").write_text(json.dumps(dict(version=version, models=golden), indent=0) + "\n")


main()
