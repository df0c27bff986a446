"""Does Transformers load what zoft saved, with the same log-probabilities as `zoft score`?

    python tests/golden/check_saved.py build/zoft MODEL_DIR TEXT_FILE
    python tests/golden/check_saved.py build/zoft --families

With --families every causal checkpoint of tests/golden/families is given a small tokenizer, trained a few
steps, and its result compared.  Prints the largest difference over all tokens of all non-empty lines; fails above 1e-4 nats (f32
on both sides: a sum of a few hundred products of magnitude one has rounding errors of some 1e-6)."""

import glob
import json
import os
import shutil
import subprocess
import sys
import tempfile

import tokenizers
import torch
import transformers
from transformers import AutoModelForCausalLM, AutoTokenizer


def main(zoft, model_dir, text_file, load_tokenizer=AutoTokenizer.from_pretrained):
    lines = subprocess.run([zoft, "score", model_dir, "--text", text_file, "--json"],
                           capture_output=True, check=True, text=True).stdout.splitlines()
    model = AutoModelForCausalLM.from_pretrained(model_dir, dtype=torch.float32).eval()
    tokenizer = load_tokenizer(model_dir)
    worst = tokens = differ = 0
    for line in map(json.loads, lines):
        ids = torch.tensor([line["ids"]])
        differ += tokenizer(line["text"])["input_ids"] != line["ids"]
        with torch.no_grad():
            logp = model(ids).logits[0].double().log_softmax(-1)
        want = logp[:-1].gather(1, ids[0, 1:, None])[:, 0]
        got = torch.tensor(line["logprobs"], dtype=torch.float64)
        if len(got):  # a text of one token has none to compare
            worst = max(worst, (got - want).abs().max().item())
        tokens += len(got)
    print(f"transformers {transformers.__version__}, torch {torch.__version__}: {len(lines)} texts, "
          f"{tokens} tokens, largest difference {worst:.2e}, {differ} texts with other ids")
    return 1 if worst > 1e-4 or differ else 0


WORDS = "the cat sat on mat a dog ran and it was".split()


def with_tokenizer(source, to):
    shutil.copytree(source, to, ignore=shutil.ignore_patterns("golden*"))
    vocab = {w: i for i, w in enumerate(["<unk>"] + WORDS)}
    t = tokenizers.Tokenizer(tokenizers.models.WordLevel(vocab, unk_token="<unk>"))
    t.pre_tokenizer = tokenizers.pre_tokenizers.WhitespaceSplit()
    t.save(f"{to}/tokenizer.json")
    with open(f"{to}/tokenizer_config.json", "w") as f:
        json.dump({"tokenizer_class": "TokenizersBackend", "unk_token": "<unk>"}, f)


def families(zoft):
    zoft, bad = os.path.abspath(zoft), 0
    here = os.path.join(os.path.dirname(os.path.abspath(__file__)), "families")
    with tempfile.TemporaryDirectory() as d:
        with open(f"{d}/t.txt", "w") as f:
            f.writelines(" ".join(WORDS[(i * 7 + j * (i + 3)) % len(WORDS)] for j in range(12)) + "\n" for i in range(40))
        with open(f"{d}/c.yaml", "w") as f:
            f.write("datasets: [{path: t.txt, type: text}]\nlearning_rate: 1e-5\nmax_steps: 5\n")
        for source in sorted(glob.glob(here + "/*/")):
            name = os.path.basename(source[:-1])
            with open(source + "config.json") as f:
                cls = json.load(f)["architectures"][0]
            if not any(x in cls for x in ("Causal", "LMHead", "Conditional")):
                continue
            with_tokenizer(source, f"{d}/{name}")
            subprocess.run([zoft, "train", f"{d}/c.yaml", f"base_model={d}/{name}", f"data_dir={d}",
                            f"output_dir={d}/{name}.out", "-q"], check=True, capture_output=True)
            print(f"{name:20}", end=" ", flush=True)
            bad += main(zoft, f"{d}/{name}.out", f"{d}/t.txt", lambda m: transformers.PreTrainedTokenizerFast(
                tokenizer_file=f"{m}/tokenizer.json"))
    return bad


if __name__ == "__main__":
    sys.exit(families(sys.argv[1]) if sys.argv[2] == "--families" else main(*sys.argv[1:]))
