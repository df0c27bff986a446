"""Directories of well-known checkpoints as they are published, round small random weights and small
vocabularies, with what Transformers makes of each: what tests/unit/test_published.c compares with.

    python tests/golden/published/make_published.py [ORG/NAME...]   (rewrites checkpoints/ and goldens/)

checkpoints/ORG/NAME has the files of the published directory: config.json, generation_config.json,
tokenizer_config.json, special_tokens_map.json, added_tokens.json key for key, the tokenizer's files
of the same kinds, the weights under the same names, dtype and sharding.  Different are the sizes,
the ids of tokens (they follow the small vocabulary) and chat templates (short ones of our own).

goldens/ORG/NAME.json: "texts", each [text, ids, ids without special tokens] by AutoTokenizer;
"bos", "eos", "pad" of the tokenizer; "ends", the end tokens of generation; "sequences" of ids.  A row with
"no_tokenizer" names why AutoTokenizer gives none.
goldens/ORG/NAME.safetensors: logits.N of sequence N in f32, by the class that "architectures" names
(of a headless model its last hidden state)."""
import json
import math
import os
import shutil
import sys
import unicodedata
import zlib

import numpy
import sentencepiece
import tokenizers
import torch
import transformers
from safetensors.torch import save_file
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
import classic  # noqa: E402
import llamas  # noqa: E402
import more  # noqa: E402
import others  # noqa: E402
from facts import resolve  # noqa: E402

CHECKPOINTS = {**classic.CHECKPOINTS, **llamas.CHECKPOINTS, **others.CHECKPOINTS, **more.CHECKPOINTS}
LENGTHS = (1, 6)
TEXTS = ["The lighthouse keeper counts 1234 ships.", "  leading and trailing  ", "",
         "Zażółć naïve Съешь 你好，世界", "👍🏽 emoji 👨‍👩‍👧 ok", "line one\n\nline two\r\n\ttabbed\n",
         "He said: don't, I'LL 3.14159 x=10000000", "a     b        c", "if x  1:\n    10   200\n", "e\u0301 \ufb01 \u2460 \uff21 don \u00a0t"]


def write_json(path, value, indent=2):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", encoding="utf-8") as f:
        json.dump(value, f, ensure_ascii=False, indent=indent)
        f.write("\n")


# --- weights ---

def scatter(model, rng, plus):
    """Random weights of a size that keeps activations near 1 and logits near 10."""
    for name, p in model.named_parameters():
        norm = "norm" in name.lower() or ".ln_" in name
        wide = any(x in name for x in ("embed", "wte", "wpe", "lm_head", "vocab_proj")) or name.endswith("decoder.weight")
        if p.dim() == 1:
            centre = 1.0 if norm and name.endswith("weight") and not plus else 0.0
            values = centre + rng.normal(0, 0.3, p.shape)
        else:
            values = rng.normal(0, 0.9 if wide and p.dim() == 2 else 1.4 / math.sqrt(max(p.shape)), p.shape)
        with torch.no_grad():
            p.copy_(torch.tensor(values, dtype=torch.float32))


def distinct(model):
    """The state without what is tied to something before it."""
    seen, out = set(), {}
    for name, t in model.state_dict().items():
        if t.data_ptr() not in seen:
            out[name] = t.clone()
        seen.add(t.data_ptr())
    return out


def renamed(state, *pairs):
    out = {}
    for name, t in state.items():
        for old, new in pairs:
            if old in name:
                name = name.replace(old, new, 1)
                break
        out[name] = t
    return out


def mask(n, dtype):
    return torch.ones(n, n, dtype=torch.float32).tril().to(dtype).reshape(1, 1, n, n)


def layers_of(config):
    return range(config.num_hidden_layers)


def gpt2_masks(state, config, prefix="transformer."):
    return state | {f"{prefix}h.{i}.attn.bias": mask(config.n_positions, torch.float32) for i in layers_of(config)}


def gpt2_bare(state, config):
    return gpt2_masks(renamed(state, ("transformer.", "")), config, "")


def rotary(config, rot):
    return 1.0 / (10000 ** (torch.arange(0, rot, 2, dtype=torch.float32) / rot))


def neox(state, config):
    state = renamed(state, ("lm_head.", "embed_out."))  # what releases up to 4 call it
    rot = config.hidden_size // config.num_attention_heads // 4
    for i in layers_of(config):
        at = f"gpt_neox.layers.{i}.attention."
        state |= {at + "bias": mask(16, torch.uint8), at + "masked_bias": torch.tensor(-1e9),
                  at + "rotary_emb.inv_freq": rotary(config, rot)}
    return state


def inv_freq(state, config):
    rot = config.hidden_size // config.num_attention_heads
    return state | {f"model.layers.{i}.self_attn.rotary_emb.inv_freq": rotary(config, rot) for i in layers_of(config)}


def positions(state, config):
    prefix = "" if "embeddings.word_embeddings.weight" in state else config.model_type + "."
    return state | {prefix + "embeddings.position_ids": torch.arange(config.max_position_embeddings).reshape(1, -1)}


def pooler(state, config, prefix):
    C = config.hidden_size
    return state | {prefix + "pooler.dense.weight": torch.zeros(C, C), prefix + "pooler.dense.bias": torch.zeros(C)}


def bert_2018(state, config):
    state = renamed(state, ("LayerNorm.weight", "LayerNorm.gamma"), ("LayerNorm.bias", "LayerNorm.beta"))
    state |= {"cls.seq_relationship.weight": torch.zeros(2, config.hidden_size),
              "cls.seq_relationship.bias": torch.zeros(2)}
    return pooler(state, config, "bert.")


def roberta(state, config):
    return positions(pooler(state, config, "roberta."), config)


def head(state, config):
    return state | {"lm_head.weight": state["model.embed_tokens.weight"].clone()}


def gemma3(state, config):
    return renamed(state, ("model.language_model.", "language_model.model."),
                   ("model.vision_tower.embeddings", "vision_tower.vision_model.embeddings"),
                   ("model.vision_tower.encoder", "vision_tower.vision_model.encoder"),
                   ("model.vision_tower.post", "vision_tower.vision_model.post"), ("model.", ""))


TENSORS = {
    "gpt2-bare": gpt2_bare, "gpt2-masks": gpt2_masks, "neox": neox, "inv_freq": inv_freq, "positions": positions,
    "bert-2018": bert_2018, "roberta": roberta, "head": head, "gemma3": gemma3,
    "opt-decoder": lambda state, config: renamed(state, ("model.decoder.", "decoder.")),
    "bare-model": lambda state, config: renamed(state, ("model.", ""))}


def save_weights(folder, state, dtype, shards):
    state = {k: (t.to(getattr(torch, dtype)) if t.is_floating_point() else t).contiguous() for k, t in state.items()}
    meta = {"format": "pt"}
    if not shards:
        return save_file(state, os.path.join(folder, "model.safetensors"), meta)
    names, table = list(state), {}
    for i in range(shards):
        file = f"model-{i + 1:05}-of-{shards:05}.safetensors"
        part = names[len(names) * i // shards:len(names) * (i + 1) // shards]
        table |= dict.fromkeys(part, file)
        save_file({k: state[k] for k in part}, os.path.join(folder, file), meta)
    total = sum(t.numel() * t.element_size() for t in state.values())
    write_json(os.path.join(folder, "model.safetensors.index.json"),
               {"metadata": {"total_size": total}, "weight_map": dict(sorted(table.items()))})


# --- a directory ---

def class_of(config, row):
    """The class that "architectures" names; where there is none, the row does."""
    if "auto" in row:
        return getattr(transformers, "AutoModelFor" + row["auto"])
    return getattr(transformers, config.architectures[0], AutoModelForCausalLM)


def write_files(folder, row, vocabulary):
    files = {"config.json": "config", "generation_config.json": "generation", "tokenizer_config.json": "tokenizer",
             "special_tokens_map.json": "special", "added_tokens.json": "added"}
    for file, key in files.items():
        if key in row:
            write_json(os.path.join(folder, file), resolve(row[key], vocabulary))
    for file, data in vocabulary.files.items():
        with open(os.path.join(folder, file), "wb") as f:
            f.write(data if isinstance(data, bytes) else data.encode())
    if "chat" in row:
        with open(os.path.join(folder, "chat_template.jinja"), "w", encoding="utf-8") as f:
            f.write(row["chat"])


def make(name, row, seed):
    folder = os.path.join(HERE, "checkpoints", name)
    shutil.rmtree(folder, ignore_errors=True)
    write_files(folder, row, row["vocabulary"]())
    config = AutoConfig.from_pretrained(folder)
    kind = class_of(config, row)
    rng = numpy.random.default_rng(seed)
    build = kind if hasattr(kind, "base_model_prefix") else kind.from_config
    model = build(config).eval()
    scatter(model, rng, config.model_type.startswith("gemma"))
    state = distinct(model)
    if "tensors" in row:
        state = TENSORS[row["tensors"]](state, config)
    save_weights(folder, state, row["dtype"], row.get("shards"))
    return folder, kind, rng


# --- what Transformers makes of it ---

def load(kind, folder, dtype):
    """An encoder's pooler, of which no result here depends, may be missing."""
    model, report = kind.from_pretrained(folder, dtype=dtype, attn_implementation="eager", output_loading_info=True)
    missing = [x for x in report["missing_keys"] if "pooler" not in x]
    assert not missing and not report["mismatched_keys"], report
    return model.eval()


def outputs_of(model, ids):
    with torch.no_grad():
        out = model(torch.tensor([ids]))
    names = [n for n in ("logits", "start_logits", "last_hidden_state") if hasattr(out, n)]
    return out[names[0]][0].contiguous()


def special_text(t):
    """A text with the special and added tokens in it: glued, between blanks, at the end."""
    names = [x.content for _, x in sorted(t.added_tokens_decoder.items())]
    names = [n for n in dict.fromkeys(names + t.all_special_tokens) if n.strip() and n != "<FILL_ME>"][-9:]
    return "x".join(f"a{n} the {n}" if i % 2 else f"{n}\n{n}" for i, n in enumerate(names))


def list_of(x):
    return x if isinstance(x, list) else [] if x is None else [x]


def tokens_of(t):
    """"texts", "bos", "eos", "pad" of a golden."""
    texts = [[x, t(x)["input_ids"], t(x, add_special_tokens=False)["input_ids"]] for x in TEXTS + [special_text(t)]]
    return {"tokenizer": type(t).__name__, "texts": texts, "bos": t.bos_token_id, "eos": t.eos_token_id,
            "pad": t.pad_token_id}


def golden(name, row, folder, kind, rng):
    t = None if "no_tokenizer" in row else AutoTokenizer.from_pretrained(folder)
    model = load(kind, folder, torch.float32)
    # GPT-2's upcast attention is f32 whatever its weights are.
    exact = load(kind, folder, torch.float32 if getattr(model.config, "reorder_and_upcast_attn", False) else torch.float64)
    size = model.config.get_text_config().vocab_size
    avoid = {*t.all_special_ids, *t.added_tokens_decoder} if t else set()
    free = [i for i in range(4, min(size, len(t) if t else size)) if i not in avoid]
    ends = model.generation_config.eos_token_id if model.can_generate() else None
    sequences = [[int(free[i]) for i in rng.integers(0, len(free), n)] for n in LENGTHS]
    out = {f"logits.{i}": outputs_of(model, ids).float() for i, ids in enumerate(sequences)}
    worst = max(float((outputs_of(exact, ids) - out[f"logits.{i}"]).abs().max()) for i, ids in enumerate(sequences))
    path = os.path.join(HERE, "goldens", name)
    write_json(path + ".json", {"class": type(model).__name__, "ends": list_of(ends), "sequences": sequences,
                                **(tokens_of(t) if t else {"no_tokenizer": row["no_tokenizer"]})}, None)
    save_file(out, path + ".safetensors")
    return worst, max(float(x.abs().max()) for x in out.values())


def main():
    torch.manual_seed(0)
    torch.set_num_threads(1)
    path = os.path.join(HERE, "versions.json")
    report = {}
    if os.path.exists(path):
        with open(path) as f:
            report = json.load(f)["checkpoints"]
    wanted = sys.argv[1:] or list(CHECKPOINTS)
    for name in wanted:
        seed = zlib.crc32(name.encode())
        folder, kind, rng = make(name, CHECKPOINTS[name], seed)
        worst, largest = golden(name, CHECKPOINTS[name], folder, kind, rng)
        report[name] = {"largest": round(largest, 3), "f32_against_f64": float(f"{worst:.2g}")}
        print(f"{name:60} largest {largest:8.3f}   f32 against f64 {worst:.2g}", flush=True)
    write_json(path, {"transformers": transformers.__version__, "torch": torch.__version__,
                      "tokenizers": tokenizers.__version__, "sentencepiece": sentencepiece.__version__,
                      "numpy": numpy.__version__, "unicode": unicodedata.unidata_version,
                      "checkpoints": {n: report[n] for n in CHECKPOINTS if n in report}})


if __name__ == "__main__":
    main()
