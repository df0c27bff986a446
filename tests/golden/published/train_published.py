"""Trains a step of every directory of checkpoints/ with zoft and loads the result in Transformers, for
development: ids, special tokens, end tokens and logits are those of the goldens.

    python tests/golden/published/train_published.py build/zoft [ORG/NAME...]

The learning rate is too small to move a logit.  What zoft refuses is told and counted."""
import json
import os
import subprocess
import sys
import tempfile

import torch
from safetensors.torch import load_file
from transformers import AutoConfig, AutoModelForSequenceClassification, AutoTokenizer

import make_published as made

DATA = {"labels": 'type: labels, prompt: "{text}"', "masked": 'type: masked, prompt: "{text}{mask}"',
        "causal": 'type: classification, prompt: "{text}"'}


def data_of(kind, config):
    """(type of data, options) that a class trains on."""
    if "SequenceClassification" in kind.__name__ or "For" not in kind.__name__:
        return "labels", [f"option{i}" for i in range(max(2, config.num_labels))]
    return ("masked", ["a", "b"]) if "MaskedLM" in kind.__name__ else ("causal", [" c", " d"])


def train(zoft, source, to, kind, config):
    """What zoft said on the error output, or None when the run failed."""
    type_, options = data_of(kind, config)
    with open(to + ".jsonl", "w") as f:
        f.writelines(json.dumps({"text": "a b", "label": i % len(options)}) + "\n" for i in range(8))
    with open(to + ".yaml", "w") as f:
        f.write(f"base_model: {source}\noutput_dir: {to}\ndata_dir: /\nmax_steps: 1\nlearning_rate: 1e-12\n"
                f"micro_batch_size: 2\nthreads: 1\neval_steps: never\n"
                f"datasets: [{{path: {to}.jsonl, {DATA[type_]}, options: {json.dumps(options)}}}]\n")
    r = subprocess.run([zoft, "train", to + ".yaml", "-q"], capture_output=True, text=True)
    return r.returncode, r.stderr.strip()


def differences(name, to, kind):
    golden_path = os.path.join(made.HERE, "goldens", name)
    with open(golden_path + ".json") as f:
        golden = json.load(f)
    if "For" not in kind.__name__:  # the run has made a head
        kind, golden["sequences"] = AutoModelForSequenceClassification, []
    model, logits = made.load(kind, to, torch.float32), load_file(golden_path + ".safetensors")
    worst = max((float((made.outputs_of(model, ids).float() - logits[f"logits.{i}"]).abs().max())
                 for i, ids in enumerate(golden["sequences"])), default=0)
    found = [f"logits by {worst:.2g}"] if worst > 2e-4 else []
    if model.can_generate() and made.list_of(model.generation_config.eos_token_id) != golden["ends"]:
        found.append("end tokens")
    if "texts" in golden:
        t = AutoTokenizer.from_pretrained(to)
        found += [f"ids of {x!r}" for x, ids, _ in golden["texts"] if t(x)["input_ids"] != ids]
        found += [k for k in ("bos", "eos", "pad") if getattr(t, k + "_token_id") != golden[k]]
    return found


def main(zoft, *names):
    same = bad = refused = 0
    with tempfile.TemporaryDirectory() as tmp:
        for name in names or made.CHECKPOINTS:
            source, to = os.path.join(made.HERE, "checkpoints", name), os.path.join(tmp, name.replace("/", "--"))
            config = AutoConfig.from_pretrained(source)
            kind = made.class_of(config, made.CHECKPOINTS[name])
            status, said = train(os.path.abspath(zoft), source, to, kind, config)
            found = [] if status else differences(name, to, kind)
            same, bad, refused = same + (not status and not found), bad + bool(found), refused + bool(status)
            if status or found or said:
                print(name, said, *found, flush=True)
    print(f"{same} with the same numbers, {bad} with others, {refused} refused")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
