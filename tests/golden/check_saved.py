"""Does Transformers load what zoft saved, with the same log-probabilities as `zoft score`?

    python tests/golden/check_saved.py build/zoft MODEL_DIR TEXT_FILE

Prints the largest difference over all tokens of all non-empty lines; fails above 1e-4 nats (f32
on both sides: a sum of a few hundred products of magnitude one has rounding errors of some 1e-6)."""

import json
import subprocess
import sys

import torch
import transformers
from transformers import AutoModelForCausalLM, AutoTokenizer


def main(zoft, model_dir, text_file):
    lines = subprocess.run([zoft, "score", model_dir, "--text", text_file, "--json"],
                           capture_output=True, check=True, text=True).stdout.splitlines()
    model = AutoModelForCausalLM.from_pretrained(model_dir, dtype=torch.float32).eval()
    tokenizer = AutoTokenizer.from_pretrained(model_dir)
    worst = tokens = differ = 0
    for line in map(json.loads, lines):
        ids = torch.tensor([line["ids"]])
        differ += tokenizer(line["text"])["input_ids"] != line["ids"]
        with torch.no_grad():
            logp = model(ids).logits[0].double().log_softmax(-1)
        want = logp[:-1].gather(1, ids[0, 1:, None])[:, 0]
        got = torch.tensor(line["logprobs"], dtype=torch.float64)
        worst = max(worst, (got - want).abs().max().item())
        tokens += len(got)
    print(f"transformers {transformers.__version__}, torch {torch.__version__}: {len(lines)} texts, "
          f"{tokens} tokens, largest difference {worst:.2e}, {differ} texts with other ids")
    return 1 if worst > 1e-4 or differ else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
